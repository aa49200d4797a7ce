/* Retained messages: a table of topics, and a trie of their levels for filters with wildcards.
 *
 * Everything but the references of a record is guarded by the lock. A branch of the trie lives
 * while it has a record, a child or a visitor. A collection goes through the trie in chunks and
 * lets the lock go between them, so that "#" over a million topics holds nobody up: it stays on a
 * branch as its visitor. What is set meanwhile it may meet or not; whoever collects is in the route
 * index already and gets that live. Even an empty store is asked under the lock, because that is
 * what orders the subscriber's entry in the index against the publisher's look at it.
 *
 * The walk needs no stack: from a branch it goes on to a child, or to the next sibling of the
 * nearest ancestor that was reached by a wildcard.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/retained.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/list.h"
#include "broker/journal.h"
#include "broker/record.h"
#include "broker/spin.h"
#include "broker/table.h"
#include "broker/trie.h"

#define CHUNK            256u /* branches or records looked at in one hold of the lock */
#define LIST_COUNT_MIN   16u
#define LOOKS_PER_EXPIRY 16u /* records looked at for each one that a sweep may remove */

struct branch;

struct record {
    struct m5_retained shared; /* first: what holders see */
    struct m5_list expiring;   /* linked while it is stored and expires some day */
    struct branch *branch;     /* where it is stored */
};

struct branch {
    struct m5_edge edge; /* first: the edge table's values are edges */
    struct branch *first_child, *next, *previous;
    struct record *record; /* NULL: only a way to others */
    uint32_t visitors;     /* collections that rest here */
    uint8_t level[];
};

struct m5_retained_store {
    const struct mqtt5_allocator *allocator; /* borrowed */
    struct m5_hash_key key;
    struct m5_retained_limits limits;
    struct m5_spin lock;
    struct m5_table topics; /* branches with a record, by topic */
    struct m5_table edges;  /* all branches but the root, by path */
    struct branch *root;
    struct m5_list expiring; /* records that expire, in the order in which a sweep looks at them */
    uint32_t expiring_count;
    uint64_t wall_ms;
    uint64_t number;                        /* last one given to a stored record */
    struct m5_batch *changes, *last_change; /* for the store */
    _Atomic bool unannounced;               /* since m5_retained_announce() there are more */
    _Atomic uint64_t count;
    _Atomic size_t bytes;
};

/* ---- records ---- */

static bool is_expired(const struct record *record, uint64_t now_ms)
{
    return record->shared.value.expires_at_ms <= now_ms;
}

static struct mqtt5_bytes append(uint8_t **at, struct mqtt5_bytes bytes)
{
    const struct mqtt5_bytes copy = m5_bytes(*at, bytes.len);
    *at = m5_copy(*at, bytes);
    return copy;
}

static struct record *record_new(const struct m5_retained_store *store,
                                 const struct m5_retained_value *value)
{
    const size_t size = sizeof(struct record) + value->topic.len + value->properties.len +
                        value->payload.len + value->publisher.len;
    struct record *record = m5_alloc(store->allocator, size);
    if (record == NULL)
        return NULL;
    uint8_t *at = (uint8_t *)(record + 1);
    record->shared.value = *value;
    record->shared.value.topic = append(&at, value->topic);
    record->shared.value.properties = append(&at, value->properties);
    record->shared.value.payload = append(&at, value->payload);
    record->shared.value.publisher = append(&at, value->publisher);
    record->shared.size = size;
    record->branch = NULL;
    atomic_init(&record->shared.references, 1);
    atomic_init(&record->shared.superseded, false);
    m5_list_init(&record->expiring);
    return record;
}

static struct record *record_of(struct m5_list *node)
{
    return M5_CONTAINER_OF(node, struct record, expiring);
}

/* ---- the store's copy ---- */

/* Under the lock: the order of changes is that of what they say. */
static void note(struct m5_retained_store *store, struct m5_batch *change)
{
    change->next = NULL;
    if (store->changes == NULL)
        store->changes = change;
    else
        store->last_change->next = change;
    store->last_change = change;
    atomic_store_explicit(&store->unannounced, true, memory_order_release);
}

static struct m5_record_key key_of(uint64_t number)
{
    return m5_key_of(M5_RECORD_RETAINED, number, 0);
}

/* A change that writes @p record; its number is filled in under the lock, as is the DELETE of what
 * it replaces. NULL without memory. */
static struct m5_batch *change_of(const struct m5_retained_store *store,
                                  const struct m5_retained_value *value)
{
    struct m5_retained_record record = {.publisher = value->publisher,
                                        .view = {.topic = value->topic,
                                                 .properties = value->properties,
                                                 .payload = value->payload,
                                                 .expires_at_ms = value->expires_at_ms,
                                                 .qos = value->qos,
                                                 .retain = true}};
    struct m5_record_key key = key_of(0);
    uint8_t *at;
    struct m5_batch *change =
        m5_batch_single(store->allocator, M5_STORE_PUT_NEW, m5_key_bytes(&key),
                        m5_retained_record_size(&record), &at);
    if (change != NULL)
        m5_retained_record_write(&record, store->wall_ms, at);
    return change;
}

/* A change that only deletes; its key is filled in when it is known. */
static struct m5_batch *strike_of(const struct m5_retained_store *store)
{
    struct m5_record_key key = key_of(0);
    uint8_t *at;
    return m5_batch_single(store->allocator, M5_STORE_DELETE, m5_key_bytes(&key), 0, &at);
}

static void drop_change(const struct m5_retained_store *store, struct m5_batch *change)
{
    if (change != NULL)
        m5_batch_free(store->allocator, change);
}

static void number_change(struct m5_batch *change, uint64_t number)
{
    struct m5_record_key key = key_of(number);
    m5_batch_rename(change, m5_key_bytes(&key));
}

bool m5_retained_strike(struct m5_retained_store *store, uint64_t number)
{
    struct m5_batch *change = strike_of(store);
    if (change == NULL)
        return false;
    number_change(change, number);
    m5_spin_lock(&store->lock);
    note(store, change);
    m5_spin_unlock(&store->lock);
    return true;
}

bool m5_retained_announce(struct m5_retained_store *store)
{
    return atomic_load_explicit(&store->unannounced, memory_order_relaxed) &&
           atomic_exchange_explicit(&store->unannounced, false, memory_order_acquire);
}

struct m5_batch *m5_retained_take(struct m5_retained_store *store)
{
    m5_spin_lock(&store->lock);
    struct m5_batch *changes = store->changes;
    store->changes = store->last_change = NULL;
    m5_spin_unlock(&store->lock);
    return changes;
}

/* Releases the records of a list that was filled under the lock: they have expired. Without memory
 * the store keeps its copy until the next start, which drops it. */
static void release_all(struct m5_retained_store *store, struct m5_list *dead)
{
    for (struct m5_list *node; (node = m5_list_pop_front(dead)) != NULL;) {
        struct m5_retained *record = &record_of(node)->shared;
        if (record->value.stored)
            m5_retained_strike(store, record->value.number);
        m5_retained_release(store, record);
    }
}

/* ---- the trie, under the lock ---- */

static struct branch *parent_of(const struct branch *branch)
{
    return M5_CONTAINER_OF(branch->edge.parent, struct branch, edge);
}

static struct branch *branch_new(const struct m5_retained_store *store, struct branch *parent,
                                 struct mqtt5_bytes level, uint64_t hash)
{
    struct branch *branch = m5_alloc_zero(store->allocator, sizeof *branch + level.len);
    if (branch == NULL)
        return NULL;
    m5_copy(branch->level, level);
    branch->edge = (struct m5_edge){
        .parent = parent == NULL ? NULL : &parent->edge,
        .hash = hash,
        .level = m5_bytes(branch->level, level.len),
    };
    return branch;
}

static void branch_free(const struct m5_retained_store *store, struct branch *branch)
{
    m5_free(store->allocator, branch, sizeof *branch + branch->edge.level.len);
}

/* The child of @p parent for @p level, found or made; NULL without memory. */
static struct branch *grow_child(struct m5_retained_store *store, struct branch *parent,
                                 struct mqtt5_bytes level)
{
    const uint64_t level_hash = m5_hash(&store->key, level);
    struct branch *child = m5_edge_find(&store->edges, &parent->edge, level, level_hash);
    if (child != NULL)
        return child;
    if (!m5_table_reserve(&store->edges))
        return NULL;
    child = branch_new(store, parent, level, m5_edge_hash(&parent->edge, level_hash));
    if (child == NULL)
        return NULL;
    m5_table_insert(&store->edges, child->edge.hash, child);
    child->next = parent->first_child;
    if (child->next != NULL)
        child->next->previous = child;
    parent->first_child = child;
    return child;
}

/* Frees @p branch and what is above it as far as nothing needs them. */
static void prune(struct m5_retained_store *store, struct branch *branch)
{
    while (branch != store->root && branch->record == NULL && branch->first_child == NULL &&
           branch->visitors == 0) {
        struct branch *parent = parent_of(branch);
        if (branch->next != NULL)
            branch->next->previous = branch->previous;
        if (branch->previous != NULL)
            branch->previous->next = branch->next;
        else
            parent->first_child = branch->next;
        m5_table_remove(&store->edges, branch->edge.hash, branch);
        branch_free(store, branch);
        branch = parent;
    }
}

/* The branch of @p topic, made as far as it is missing; NULL without memory. */
static struct branch *grow(struct m5_retained_store *store, struct mqtt5_bytes topic)
{
    struct branch *branch = store->root;
    struct m5_levels levels = m5_levels_of(topic);
    while (m5_levels_left(&levels)) {
        struct branch *child = grow_child(store, branch, m5_levels_next(&levels));
        if (child == NULL) {
            prune(store, branch);
            return NULL;
        }
        branch = child;
    }
    return branch;
}

/* ---- storing, under the lock ---- */

static bool same_topic(const void *value, const void *key)
{
    const struct branch *branch = value;
    const struct mqtt5_bytes *topic = key;
    return m5_bytes_equal(branch->record->shared.value.topic, *topic);
}

static struct branch *find(const struct m5_retained_store *store, struct mqtt5_bytes topic)
{
    return m5_table_find(&store->topics, m5_hash(&store->key, topic), same_topic, &topic);
}

static void account(struct m5_retained_store *store, const struct record *added,
                    const struct record *removed)
{
    if (added != NULL && added->shared.value.exempt)
        added = NULL;
    if (removed != NULL && removed->shared.value.exempt)
        removed = NULL;
    const uint64_t count = m5_retained_count(store) + (added != NULL) - (removed != NULL);
    const size_t bytes = m5_retained_bytes(store) + (added == NULL ? 0 : added->shared.size) -
                         (removed == NULL ? 0 : removed->shared.size);
    atomic_store_explicit(&store->count, count, memory_order_relaxed);
    atomic_store_explicit(&store->bytes, bytes, memory_order_relaxed);
}

static void set_record(struct m5_retained_store *store, struct branch *branch,
                       struct record *record)
{
    struct record *old = branch->record;
    account(store, record, old);
    branch->record = record;
    if (old != NULL) {
        atomic_store_explicit(&old->shared.superseded, true, memory_order_relaxed);
        if (m5_list_linked(&old->expiring)) {
            m5_list_remove(&old->expiring);
            store->expiring_count--;
        }
    }
    if (record == NULL)
        return;
    record->branch = branch;
    if (record->shared.value.expires_at_ms != UINT64_MAX) {
        m5_list_push_back(&store->expiring, &record->expiring);
        store->expiring_count++;
    }
}

/* Removes the record of @p branch, whose reference goes to the caller; the branch stays. */
static struct record *take_out(struct m5_retained_store *store, struct branch *branch)
{
    struct record *record = branch->record;
    m5_table_remove(&store->topics, m5_hash(&store->key, record->shared.value.topic), branch);
    set_record(store, branch, NULL);
    return record;
}

static bool fits(const struct m5_retained_store *store, const struct record *added,
                 const struct record *replaced)
{
    const struct m5_retained_limits *limits = &store->limits;
    if (added->shared.value.exempt)
        return true;
    if (replaced != NULL && replaced->shared.value.exempt)
        replaced = NULL; /* it was not counted */
    const uint64_t count = m5_retained_count(store) + (replaced == NULL);
    const size_t bytes = m5_retained_bytes(store) - (replaced == NULL ? 0 : replaced->shared.size);
    return (limits->messages_max == 0 || count <= limits->messages_max) &&
           (limits->bytes_max == 0 ||
            (bytes <= limits->bytes_max && added->shared.size <= limits->bytes_max - bytes));
}

/* Stores @p record; *old is what the topic had, whose reference goes to the caller. */
static enum mqtt5_error put(struct m5_retained_store *store, struct record *record,
                            struct record **old)
{
    const struct mqtt5_bytes topic = record->shared.value.topic;
    struct branch *branch = find(store, topic);
    *old = branch == NULL ? NULL : branch->record;
    if (!fits(store, record, *old))
        return MQTT5_ERR_QUOTA;
    if (branch == NULL) {
        if (!m5_table_reserve(&store->topics))
            return MQTT5_ERR_NOMEM;
        branch = grow(store, topic);
        if (branch == NULL)
            return MQTT5_ERR_NOMEM;
    }
    set_record(store, branch, record);
    if (*old == NULL)
        m5_table_insert(&store->topics, m5_hash(&store->key, topic), branch);
    return MQTT5_OK;
}

/* @p change: a strike_of(), taken when the store has the record; NULL: there is no store. */
static void clear(struct m5_retained_store *store, struct mqtt5_bytes topic,
                  struct m5_batch **change)
{
    struct record *record = NULL;
    m5_spin_lock(&store->lock);
    struct branch *branch = find(store, topic);
    if (branch != NULL) {
        record = take_out(store, branch);
        prune(store, branch);
    }
    if (record != NULL && record->shared.value.stored && *change != NULL) {
        number_change(*change, record->shared.value.number);
        note(store, *change);
        *change = NULL;
        record->shared.value.stored = false;
    }
    m5_spin_unlock(&store->lock);
    if (record == NULL)
        return;
    if (record->shared.value.stored) /* the topic is stored no more */
        m5_retained_strike(store, record->shared.value.number);
    m5_retained_release(store, &record->shared);
}

/* Under the lock: the store's side of put(). */
static void note_put(struct m5_retained_store *store, struct record *record,
                     const struct record *old, struct m5_batch *change)
{
    record->shared.value.number = ++store->number;
    number_change(change, store->number);
    if (old != NULL && old->shared.value.stored) {
        struct m5_record_key key = key_of(old->shared.value.number);
        m5_batch_add_delete(change, m5_key_bytes(&key));
    }
    note(store, change);
}

/* ---- collecting ---- */

struct level {
    struct mqtt5_bytes text;
    uint64_t hash;
    bool is_plus;
};

enum progress { WALK_PAUSED, WALK_LIST_IS_FULL, WALK_DONE };

struct collection {
    struct m5_retained_store *store;
    struct m5_retained_list *list;
    uint64_t now_ms;
    struct level *levels; /* of the filter, a "#" at the end left out */
    uint32_t level_count;
    size_t levels_size; /* bytes */
    bool is_multi;      /* the filter ends in "#" */
    struct branch *branch;
    uint32_t depth;      /* levels that lead to the branch */
    struct m5_list dead; /* expired records that were met, to be released without the lock */
};

static bool grow_list(const struct m5_retained_store *store, struct m5_retained_list *list)
{
    const uint32_t capacity = list->capacity == 0 ? LIST_COUNT_MIN : list->capacity * 2;
    struct m5_retained **items =
        m5_resize(store->allocator, list->items, list->capacity * sizeof(struct m5_retained *),
                  capacity * sizeof(struct m5_retained *));
    if (items == NULL)
        return false;
    list->items = items;
    list->capacity = capacity;
    return true;
}

/* Takes a reference to the branch's record, or takes the record out when it has expired; false
 * when the list is full. */
static bool visit(struct m5_retained_store *store, struct branch *branch, uint64_t now_ms,
                  struct m5_retained_list *list, struct m5_list *dead)
{
    struct record *record = branch->record;
    if (is_expired(record, now_ms)) {
        m5_list_push_back(dead, &take_out(store, branch)->expiring);
        return true;
    }
    if (list->count == list->capacity)
        return false;
    atomic_fetch_add_explicit(&record->shared.references, 1, memory_order_relaxed);
    list->items[list->count++] = &record->shared;
    return true;
}

static enum mqtt5_error collect_exact(struct m5_retained_store *store, struct mqtt5_bytes topic,
                                      uint64_t now_ms, struct m5_retained_list *list)
{
    if (list->count == list->capacity && !grow_list(store, list))
        return MQTT5_ERR_NOMEM;
    struct m5_list dead;
    m5_list_init(&dead);
    m5_spin_lock(&store->lock);
    struct branch *branch = find(store, topic);
    if (branch != NULL) {
        visit(store, branch, now_ms, list, &dead);
        prune(store, branch);
    }
    m5_spin_unlock(&store->lock);
    release_all(store, &dead);
    return MQTT5_OK;
}

/* True when all children of a branch at @p depth are in question, not a certain one. */
static bool takes_all_children(const struct collection *c, uint32_t depth)
{
    return depth < c->level_count ? c->levels[depth].is_plus : c->is_multi;
}

/* A topic that starts with '$' is not met by a wildcard at the first level [MQTT-4.7.2-1]. */
static bool is_hidden(const struct collection *c)
{
    const struct mqtt5_bytes level = c->branch->edge.level;
    return c->depth == 1 && takes_all_children(c, 0) && level.len > 0 && level.data[0] == '$';
}

/* "a/#" matches "a" and all below it. */
static bool is_matched(const struct collection *c)
{
    return c->depth == c->level_count || (c->depth > c->level_count && c->is_multi);
}

static struct branch *first_child(const struct collection *c)
{
    if (is_hidden(c))
        return NULL;
    if (takes_all_children(c, c->depth))
        return c->branch->first_child;
    if (c->depth >= c->level_count)
        return NULL;
    const struct level *level = &c->levels[c->depth];
    return m5_edge_find(&c->store->edges, &c->branch->edge, level->text, level->hash);
}

/* Moves on to the next branch that the filter leads to; false when there is none. */
static bool advance(struct collection *c)
{
    struct branch *next = first_child(c);
    if (next != NULL) {
        c->branch = next;
        c->depth++;
        return true;
    }
    for (; c->branch != c->store->root; c->branch = parent_of(c->branch), c->depth--) {
        if (takes_all_children(c, c->depth - 1) && c->branch->next != NULL) {
            c->branch = c->branch->next;
            return true;
        }
    }
    return false;
}

/* Goes through up to CHUNK branches. A branch that is left behind empty is pruned only then: what
 * comes next hangs on another branch, or on its parent. */
static enum progress walk_chunk(struct collection *c)
{
    for (unsigned i = 0; i < CHUNK; i++) {
        struct branch *branch = c->branch;
        if (branch->record != NULL && is_matched(c) && !is_hidden(c) &&
            !visit(c->store, branch, c->now_ms, c->list, &c->dead))
            return WALK_LIST_IS_FULL;
        const bool is_more = advance(c);
        prune(c->store, branch);
        if (!is_more)
            return WALK_DONE;
    }
    return WALK_PAUSED;
}

/* One hold of the lock; between two of them the collection is a visitor of its branch. */
static enum progress walk(struct collection *c)
{
    m5_spin_lock(&c->store->lock);
    c->branch->visitors--;
    const enum progress progress = walk_chunk(c);
    if (progress != WALK_DONE)
        c->branch->visitors++;
    m5_spin_unlock(&c->store->lock);
    release_all(c->store, &c->dead);
    return progress;
}

static void enter(struct collection *c)
{
    m5_spin_lock(&c->store->lock);
    c->branch = c->store->root;
    c->branch->visitors++;
    m5_spin_unlock(&c->store->lock);
}

static void leave(struct collection *c)
{
    m5_spin_lock(&c->store->lock);
    c->branch->visitors--;
    prune(c->store, c->branch);
    m5_spin_unlock(&c->store->lock);
}

static enum mqtt5_error walk_all(struct collection *c)
{
    enter(c);
    for (;;) {
        switch (walk(c)) {
        case WALK_DONE: return MQTT5_OK;
        case WALK_PAUSED: m5_spin_pause(); break;
        case WALK_LIST_IS_FULL:
            if (!grow_list(c->store, c->list)) {
                leave(c);
                return MQTT5_ERR_NOMEM;
            }
            break;
        }
    }
}

static bool split_filter(struct collection *c, struct mqtt5_bytes filter)
{
    uint32_t level_count = 1;
    for (size_t i = 0; i < filter.len; i++)
        level_count += filter.data[i] == '/';
    c->levels_size = level_count * sizeof *c->levels;
    c->levels = m5_alloc(c->store->allocator, c->levels_size);
    if (c->levels == NULL)
        return false;
    struct m5_levels levels = m5_levels_of(filter);
    while (m5_levels_left(&levels)) {
        const struct mqtt5_bytes level = m5_levels_next(&levels);
        c->is_multi = m5_level_is(level, '#');
        if (c->is_multi)
            break;
        c->levels[c->level_count++] = (struct level){
            .text = level,
            .hash = m5_hash(&c->store->key, level),
            .is_plus = m5_level_is(level, '+'),
        };
    }
    return true;
}

static bool has_wildcard(struct mqtt5_bytes filter)
{
    return memchr(filter.data, '+', filter.len) != NULL ||
           memchr(filter.data, '#', filter.len) != NULL;
}

/* ---- the store ---- */

struct m5_retained_store *m5_retained_new(const struct mqtt5_allocator *allocator,
                                          const struct m5_hash_key *key,
                                          const struct m5_retained_limits *limits, uint64_t wall_ms)
{
    struct m5_retained_store *store = m5_alloc_zero(allocator, sizeof *store);
    if (store == NULL)
        return NULL;
    store->allocator = allocator;
    store->key = *key;
    store->limits = *limits;
    store->wall_ms = wall_ms;
    m5_spin_init(&store->lock);
    m5_table_init(&store->topics, allocator, NULL, 0);
    m5_table_init(&store->edges, allocator, NULL, 0);
    m5_list_init(&store->expiring);
    store->root = branch_new(store, NULL, m5_bytes(NULL, 0), 0);
    if (store->root == NULL) {
        m5_free(allocator, store, sizeof *store);
        return NULL;
    }
    return store;
}

void m5_retained_free(struct m5_retained_store *store)
{
    if (store == NULL)
        return;
    for (struct branch *branch = store->root; branch != NULL;) {
        if (branch->first_child != NULL) {
            branch = branch->first_child;
            continue;
        }
        struct branch *parent = branch == store->root ? NULL : parent_of(branch);
        if (parent != NULL)
            parent->first_child = branch->next;
        if (branch->record != NULL)
            m5_retained_release(store, &branch->record->shared);
        branch_free(store, branch);
        branch = parent;
    }
    m5_table_fini(&store->topics);
    m5_table_fini(&store->edges);
    for (struct m5_batch *change = store->changes, *next; change != NULL; change = next) {
        next = change->next;
        m5_batch_free(store->allocator, change);
    }
    m5_free(store->allocator, store, sizeof *store);
}

static enum mqtt5_error remove_topic(struct m5_retained_store *store,
                                     const struct m5_retained_value *value)
{
    struct m5_batch *change = value->stored ? strike_of(store) : NULL;
    if (value->stored && change == NULL)
        return MQTT5_ERR_NOMEM;
    clear(store, value->topic, &change);
    drop_change(store, change);
    return MQTT5_OK;
}

enum mqtt5_error m5_retained_set(struct m5_retained_store *store,
                                 const struct m5_retained_value *value)
{
    M5_ASSERT(value->topic.len > 0);
    if (value->payload.len == 0)
        return remove_topic(store, value);
    if (store->limits.payload_max != 0 && value->payload.len > store->limits.payload_max)
        return MQTT5_ERR_QUOTA;
    struct record *record = record_new(store, value);
    struct m5_batch *change = value->stored ? change_of(store, value) : NULL;
    enum mqtt5_error error =
        record == NULL || (value->stored && change == NULL) ? MQTT5_ERR_NOMEM : MQTT5_OK;
    struct record *old = NULL;
    if (error == MQTT5_OK) {
        m5_spin_lock(&store->lock);
        error = put(store, record, &old);
        if (error == MQTT5_OK && change != NULL)
            note_put(store, record, old, change);
        m5_spin_unlock(&store->lock);
    }
    if (error != MQTT5_OK)
        drop_change(store, change);
    struct record *released = error == MQTT5_OK ? old : record;
    if (released == NULL)
        return error;
    if (released == old && change == NULL && old->shared.value.stored)
        m5_retained_strike(store, old->shared.value.number); /* the topic is stored no more */
    m5_retained_release(store, &released->shared);
    return error;
}

enum mqtt5_error m5_retained_restore(struct m5_retained_store *store,
                                     const struct m5_retained_value *value, uint64_t *superseded)
{
    *superseded = 0;
    if (store->number < value->number)
        store->number = value->number;
    const struct branch *branch = find(store, value->topic);
    if (branch != NULL) /* numbers come in ascending order */
        *superseded = branch->record->shared.value.number;
    struct record *record = record_new(store, value);
    if (record == NULL)
        return MQTT5_ERR_NOMEM;
    struct record *old = NULL;
    const enum mqtt5_error error = put(store, record, &old);
    struct record *released = error == MQTT5_OK ? old : record;
    if (released != NULL)
        m5_retained_release(store, &released->shared);
    return error;
}

enum mqtt5_error m5_retained_collect(struct m5_retained_store *store, struct mqtt5_bytes filter,
                                     uint64_t now_ms, struct m5_retained_list *list)
{
    M5_ASSERT(filter.len > 0);
    if (!has_wildcard(filter))
        return collect_exact(store, filter, now_ms, list);
    struct collection c = {.store = store, .list = list, .now_ms = now_ms};
    m5_list_init(&c.dead);
    if (!split_filter(&c, filter))
        return MQTT5_ERR_NOMEM;
    const enum mqtt5_error error = walk_all(&c);
    m5_free(store->allocator, c.levels, c.levels_size);
    return error;
}

void m5_retained_release(struct m5_retained_store *store, struct m5_retained *record)
{
    if (atomic_fetch_sub_explicit(&record->references, 1, memory_order_acq_rel) == 1)
        m5_free(store->allocator, record, record->size);
}

void m5_retained_list_fini(struct m5_retained_store *store, struct m5_retained_list *list,
                           uint32_t from)
{
    for (uint32_t i = from; i < list->count; i++)
        m5_retained_release(store, list->items[i]);
    m5_free(store->allocator, list->items, list->capacity * sizeof(struct m5_retained *));
    *list = (struct m5_retained_list){0};
}

/* Looks at the first record of the sweep's list: it goes if it has expired, else to the end. */
static bool sweep_one(struct m5_retained_store *store, uint64_t now_ms, struct m5_list *dead)
{
    struct record *record = record_of(store->expiring.next);
    m5_list_remove(&record->expiring);
    m5_list_push_back(&store->expiring, &record->expiring);
    if (!is_expired(record, now_ms))
        return false;
    struct branch *branch = record->branch;
    m5_list_push_back(dead, &take_out(store, branch)->expiring);
    prune(store, branch);
    return true;
}

/* One hold of the lock, for up to CHUNK looks; returns how many records went. */
static uint32_t sweep_chunk(struct m5_retained_store *store, uint64_t now_ms, uint32_t budget)
{
    uint32_t removed = 0;
    struct m5_list dead;
    m5_list_init(&dead);
    m5_spin_lock(&store->lock);
    for (unsigned i = 0; i < CHUNK && removed < budget && store->expiring_count > 0; i++)
        removed += sweep_one(store, now_ms, &dead);
    m5_spin_unlock(&store->lock);
    release_all(store, &dead);
    return removed;
}

static uint32_t expiring_count(struct m5_retained_store *store)
{
    m5_spin_lock(&store->lock);
    const uint32_t count = store->expiring_count;
    m5_spin_unlock(&store->lock);
    return count;
}

uint32_t m5_retained_expire(struct m5_retained_store *store, uint64_t now_ms, uint32_t budget)
{
    const uint64_t looks_max = (uint64_t)budget * LOOKS_PER_EXPIRY;
    const uint64_t count = expiring_count(store);
    const uint64_t looks = count < looks_max ? count : looks_max;
    uint32_t removed = 0;
    for (uint64_t looked = 0; looked < looks && removed < budget; looked += CHUNK)
        removed += sweep_chunk(store, now_ms, budget - removed);
    return removed;
}

uint64_t m5_retained_count(const struct m5_retained_store *store)
{
    return atomic_load_explicit(&store->count, memory_order_relaxed);
}

size_t m5_retained_bytes(const struct m5_retained_store *store)
{
    return atomic_load_explicit(&store->bytes, memory_order_relaxed);
}
