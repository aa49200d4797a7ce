/* Subscription records and the lists of the route index.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/subscription.h"

#include "broker/shard.h"

#define LIST_CAPACITY_MIN 1u
#define LINGERERS_MIN     16u

static size_t list_size(uint32_t capacity)
{
    return sizeof(struct m5_sub_list) + capacity * sizeof(struct m5_sub_entry);
}

/* ---- lists ---- */

struct m5_sub_list *m5_sub_list_pin(struct m5_shard *shard, const struct mqtt5_filter *filter,
                                    struct m5_index_node **node)
{
    *node = m5_index_pin(shard->engine->routes, shard->index, filter);
    if (*node == NULL)
        return NULL;
    struct m5_sub_list **slot = &(*node)->lists[shard->index];
    if (*slot != NULL)
        return *slot;
    *slot = m5_alloc(shard->allocator, list_size(LIST_CAPACITY_MIN));
    if (*slot == NULL) {
        m5_index_unpin(shard->engine->routes, shard->index, *node);
        return NULL;
    }
    **slot = (struct m5_sub_list){.capacity = LIST_CAPACITY_MIN};
    return *slot;
}

void m5_sub_list_settle(struct m5_shard *shard, struct m5_index_node *node)
{
    struct m5_sub_list *list = node->lists[shard->index];
    if (list == NULL || list->count > 0 || list->groups != NULL || list->lingering > 0)
        return;
    m5_free(shard->allocator, list, list_size(list->capacity));
    node->lists[shard->index] = NULL;
    m5_index_unpin(shard->engine->routes, shard->index, node);
}

void m5_sub_list_stored(struct m5_shard *shard, struct m5_index_node *node, int change)
{
    struct m5_sub_list *list = node->lists[shard->index];
    bool before = list->stored > 0;
    list->stored += (uint32_t)change;
    if ((list->stored > 0) != before)
        m5_index_mark_stored(node, shard->index, !before);
}

static bool is_stored(const struct m5_subscription *subscription)
{
    return subscription->session->stored && subscription->options.qos > 0;
}

static bool list_add(struct m5_shard *shard, struct m5_index_node *node,
                     const struct m5_sub_entry *entry)
{
    struct m5_sub_list *list = node->lists[shard->index];
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity * 2;
        list = m5_resize(shard->allocator, list, list_size(list->capacity), list_size(capacity));
        if (list == NULL)
            return false;
        list->capacity = capacity;
        node->lists[shard->index] = list;
    }
    entry->subscription->position = list->count;
    list->entries[list->count++] = *entry;
    return true;
}

/* The last entry takes the place of the one that goes; a list that was long gives memory back. */
static void list_remove(struct m5_shard *shard, struct m5_index_node *node, uint32_t position)
{
    struct m5_sub_list *list = node->lists[shard->index];
    M5_ASSERT(position < list->count);
    list->entries[position] = list->entries[--list->count];
    list->entries[position].subscription->position = position;
    if (list->capacity > 16 && list->count < list->capacity / 4) {
        uint32_t capacity = list->capacity / 2;
        struct m5_sub_list *smaller =
            m5_resize(shard->allocator, list, list_size(list->capacity), list_size(capacity));
        if (smaller != NULL) {
            smaller->capacity = capacity;
            node->lists[shard->index] = smaller;
        }
    }
    m5_sub_list_settle(shard, node);
}

/* ---- lingering ---- */

static bool grow(struct m5_shard *shard, struct m5_lingerers *ring)
{
    uint32_t capacity = ring->capacity == 0 ? LINGERERS_MIN : ring->capacity * 2;
    struct m5_lingerer *items = m5_alloc(shard->allocator, capacity * sizeof *items);
    if (items == NULL)
        return false;
    for (uint64_t at = ring->head; at != ring->tail; at++)
        items[at & (capacity - 1)] = ring->items[at & (ring->capacity - 1)];
    m5_free(shard->allocator, ring->items, ring->capacity * sizeof *items);
    ring->items = items;
    ring->capacity = capacity;
    return true;
}

/* The node has one stored subscriber less as soon as @p position is stored. Without memory at once:
 * what it would guard against takes a crash as well. */
static void end_stored(struct m5_shard *shard, struct m5_index_node *node, uint64_t position)
{
    const struct m5_journal *journal = &shard->journal;
    struct m5_lingerers *ring = &shard->lingerers;
    if (!journal->on || journal->restoring || position <= journal->stored ||
        (ring->tail - ring->head == ring->capacity && !grow(shard, ring))) {
        m5_sub_list_stored(shard, node, -1);
        return;
    }
    ring->items[ring->tail++ & (ring->capacity - 1)] = (struct m5_lingerer){node, position};
    node->lists[shard->index]->lingering++;
}

void m5_lingerers_release(struct m5_shard *shard, uint64_t position)
{
    struct m5_lingerers *ring = &shard->lingerers;
    if (ring->head == ring->tail)
        return;
    while (ring->head != ring->tail) {
        const struct m5_lingerer *first = &ring->items[ring->head & (ring->capacity - 1)];
        if (first->position > position)
            return;
        ring->head++;
        first->node->lists[shard->index]->lingering--;
        m5_sub_list_stored(shard, first->node, -1);
        m5_sub_list_settle(shard, first->node);
    }
    m5_free(shard->allocator, ring->items, ring->capacity * sizeof *ring->items);
    *ring = (struct m5_lingerers){0};
}

void m5_lingerers_fini(struct m5_shard *shard)
{
    m5_lingerers_release(shard, UINT64_MAX);
}

/* ---- records ---- */

struct key {
    const struct m5_session *session;
    const struct mqtt5_filter *filter;
};

static bool is_same(const void *value, const void *key)
{
    const struct m5_subscription *subscription = value;
    const struct key *wanted = key;
    if (subscription->session != wanted->session)
        return false;
    struct mqtt5_bytes name = {0};
    if (subscription->shared != NULL)
        name = subscription->shared->name;
    return m5_bytes_equal(name, wanted->filter->share_name) &&
           m5_bytes_equal(m5_subscription_filter(subscription), wanted->filter->filter);
}

static uint32_t hash_of(const struct m5_shard *shard, const struct m5_session *session,
                        const struct mqtt5_filter *filter)
{
    uint64_t hash = m5_shard_hash(shard, filter->filter) ^ session->serial * 0x9E3779B97F4A7C15u;
    return (uint32_t)(hash ^ hash >> 32);
}

struct m5_subscription *m5_subscription_find(const struct m5_shard *shard,
                                             const struct m5_session *session,
                                             const struct mqtt5_filter *filter)
{
    if (m5_list_empty(&session->subscriptions))
        return NULL;
    struct key key = {.session = session, .filter = filter};
    return m5_map_find(&shard->subscriptions, hash_of(shard, session, filter), is_same, &key);
}

static bool has_serial(const void *value, const void *key)
{
    const struct m5_subscription *subscription = value;
    return subscription->serial == *(const uint64_t *)key;
}

struct m5_subscription *m5_shared_find(const struct m5_shard *shard, uint64_t serial)
{
    return m5_map_find(&shard->shared, (uint32_t)serial, has_serial, &serial);
}

static struct m5_shared *shared_new(struct m5_shard *shard, const struct mqtt5_filter *filter)
{
    size_t size = sizeof(struct m5_shared) + filter->share_name.len + filter->filter.len;
    struct m5_shared *shared = m5_alloc(shard->allocator, size);
    if (shared == NULL)
        return NULL;
    *shared = (struct m5_shared){.size = size, .home = m5_share_home(shard, filter->filter)};
    uint8_t *end = m5_copy(shared->strings, filter->share_name);
    m5_copy(end, filter->filter);
    shared->name = m5_bytes(shared->strings, filter->share_name.len);
    shared->filter = m5_bytes(end, filter->filter.len);
    return shared;
}

/* Makes the part that only a shared subscription has, and its name. */
static bool share(struct m5_shard *shard, struct m5_subscription *subscription,
                  const struct mqtt5_filter *filter)
{
    subscription->shared = shared_new(shard, filter);
    if (subscription->shared == NULL)
        return false;
    if (m5_map_add(&shard->shared, (uint32_t)subscription->serial, subscription))
        return true;
    m5_free(shard->allocator, subscription->shared, subscription->shared->size);
    subscription->shared = NULL;
    return false;
}

/* Puts a plain subscription into its node's list. */
static bool enlist(struct m5_shard *shard, struct m5_subscription *subscription,
                   const struct mqtt5_filter *filter)
{
    struct m5_index_node *node;
    if (m5_sub_list_pin(shard, filter, &node) == NULL)
        return false;
    struct m5_sub_entry entry = {.session = subscription->session,
                                 .subscription = subscription,
                                 .options = subscription->options};
    if (!list_add(shard, node, &entry)) {
        m5_sub_list_settle(shard, node);
        return false;
    }
    subscription->node = node;
    return true;
}

struct m5_subscription *m5_subscription_add(struct m5_shard *shard, struct m5_session *session,
                                            const struct mqtt5_filter *filter,
                                            struct m5_sub_options options, uint64_t serial)
{
    struct m5_subscription *subscription = m5_pool_take(&shard->subscription_pool);
    if (subscription == NULL)
        return NULL;
    *subscription = (struct m5_subscription){.session = session,
                                             .serial = serial != 0 ? serial : m5_serial_next(shard),
                                             .options = options,
                                             .hash = hash_of(shard, session, filter)};
    bool shared = filter->share_name.len > 0;
    if (!m5_quota_subscribed(shard, &session->principal))
        goto fail_record;
    if (!m5_map_add(&shard->subscriptions, subscription->hash, subscription))
        goto fail_quota;
    if (shared ? !share(shard, subscription, filter) : !enlist(shard, subscription, filter))
        goto fail_map;
    m5_list_push_back(&session->subscriptions, &subscription->in_session);
    session->subscription_count++;
    M5_COUNT(shard, subscriptions, 1);
    if (shared) {
        session->share_count++;
        M5_COUNT(shard, shared_subscriptions, 1);
    } else if (is_stored(subscription)) {
        m5_sub_list_stored(shard, subscription->node, 1);
    }
    return subscription;

fail_map:
    m5_map_remove(&shard->subscriptions, subscription->hash, subscription);
fail_quota:
    m5_quota_unsubscribed(shard, &session->principal);
fail_record:
    m5_pool_give(&shard->subscription_pool, subscription);
    return NULL;
}

void m5_subscription_change(struct m5_shard *shard, struct m5_subscription *subscription,
                            struct m5_sub_options options)
{
    bool was_stored = is_stored(subscription);
    subscription->options = options;
    if (subscription->node != NULL) {
        if (was_stored && !is_stored(subscription)) /* its record comes next */
            end_stored(shard, subscription->node, shard->journal.position + 1);
        else if (!was_stored && is_stored(subscription))
            m5_sub_list_stored(shard, subscription->node, 1);
        struct m5_sub_list *list = subscription->node->lists[shard->index];
        list->entries[subscription->position].options = options;
    }
}

void m5_subscriptions_stored(struct m5_shard *shard, struct m5_session *session, bool stored)
{
    M5_ASSERT(session->stored != stored || m5_list_empty(&session->subscriptions));
    for (struct m5_list *at = session->subscriptions.next; at != &session->subscriptions;
         at = at->next) {
        struct m5_subscription *subscription =
            M5_CONTAINER_OF(at, struct m5_subscription, in_session);
        if (subscription->node == NULL || subscription->options.qos == 0)
            continue;
        if (stored)
            m5_sub_list_stored(shard, subscription->node, 1);
        else
            end_stored(shard, subscription->node, shard->journal.position);
    }
}

void m5_subscription_remove(struct m5_shard *shard, struct m5_subscription *subscription)
{
    struct m5_session *session = subscription->session;
    m5_map_remove(&shard->subscriptions, subscription->hash, subscription);
    m5_list_remove(&subscription->in_session);
    m5_quota_unsubscribed(shard, &session->principal);
    session->subscription_count--;
    M5_UNCOUNT(shard, subscriptions, 1);
    if (subscription->shared != NULL) {
        session->share_count--;
        M5_UNCOUNT(shard, shared_subscriptions, 1);
        m5_map_remove(&shard->shared, (uint32_t)subscription->serial, subscription);
        m5_free(shard->allocator, subscription->shared, subscription->shared->size);
    } else {
        if (is_stored(subscription))
            end_stored(shard, subscription->node, shard->journal.position);
        list_remove(shard, subscription->node, subscription->position);
    }
    m5_pool_give(&shard->subscription_pool, subscription);
}
