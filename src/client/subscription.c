/* What the server has granted, so that it can be asked for again when it has lost the session.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/subscription.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "client/state.h"

#define FILTERS_PER_PACKET 64u
#define BYTES_PER_PACKET   16384u /* of filters, unless one alone has more */

/* ---- the table ---- */

static struct m5_client_subscription *subscription_of(struct m5_list *node)
{
    return M5_CONTAINER_OF(node, struct m5_client_subscription, node);
}

static bool is_same(const void *value, const void *key)
{
    const struct m5_client_subscription *subscription = value;
    const struct mqtt5_bytes *filter = key;
    return m5_bytes_equal(m5_bytes(subscription->filter, subscription->size), *filter);
}

/* The filters are the user's own: nobody gains by making them collide. */
static uint32_t hash_of(struct mqtt5_bytes filter)
{
    return (uint32_t)m5_hash(&(struct m5_hash_key){0}, filter);
}

void m5_client_subscriptions_init(struct m5_client_subscriptions *subscriptions,
                                  const struct mqtt5_allocator *allocator)
{
    m5_list_init(&subscriptions->list);
    m5_map_init(&subscriptions->map, allocator);
}

static void drop(struct m5_client_subscriptions *subscriptions,
                 struct m5_client_subscription *subscription)
{
    m5_list_remove(&subscription->node);
    m5_map_remove(&subscriptions->map, subscription->hash, subscription);
    m5_free(subscriptions->map.allocator, subscription, sizeof *subscription + subscription->size);
}

void m5_client_subscriptions_clear(struct m5_client_subscriptions *subscriptions)
{
    while (!m5_list_empty(&subscriptions->list))
        drop(subscriptions, subscription_of(subscriptions->list.next));
}

void m5_client_subscriptions_fini(struct m5_client_subscriptions *subscriptions)
{
    m5_client_subscriptions_clear(subscriptions);
    m5_map_fini(&subscriptions->map);
}

static struct m5_client_subscription *add(struct m5_client_subscriptions *subscriptions,
                                          struct mqtt5_bytes filter)
{
    const struct mqtt5_allocator *allocator = subscriptions->map.allocator;
    struct m5_client_subscription *subscription =
        m5_alloc(allocator, sizeof *subscription + filter.len);
    if (subscription == NULL)
        return NULL;
    *subscription =
        (struct m5_client_subscription){.hash = hash_of(filter), .size = (uint32_t)filter.len};
    m5_copy(subscription->filter, filter);
    if (!m5_map_add(&subscriptions->map, subscription->hash, subscription)) {
        m5_free(allocator, subscription, sizeof *subscription + filter.len);
        return NULL;
    }
    m5_list_push_back(&subscriptions->list, &subscription->node);
    return subscription;
}

bool m5_client_subscriptions_put(struct m5_client_subscriptions *subscriptions,
                                 const struct mqtt5_subscription_request *request,
                                 uint32_t identifier)
{
    struct m5_client_subscription *subscription =
        m5_map_find(&subscriptions->map, hash_of(request->filter), is_same, &request->filter);
    if (subscription == NULL)
        subscription = add(subscriptions, request->filter);
    if (subscription == NULL)
        return false;
    subscription->identifier = identifier;
    subscription->qos = request->qos;
    subscription->retain_handling = request->retain_handling;
    subscription->no_local = request->no_local;
    subscription->retain_as_published = request->retain_as_published;
    return true;
}

void m5_client_subscriptions_remove(struct m5_client_subscriptions *subscriptions,
                                    struct mqtt5_bytes filter)
{
    struct m5_client_subscription *subscription =
        m5_map_find(&subscriptions->map, hash_of(filter), is_same, &filter);
    if (subscription != NULL)
        drop(subscriptions, subscription);
}

/* ---- what was granted ---- */

static uint32_t identifier_of(const struct mqtt5_properties *properties)
{
    return MQTT5_HAS(properties, SUBSCRIPTION_IDENTIFIER) ? properties->subscription_identifier : 0;
}

static bool settle_subscribe(struct m5_client *client, const struct mqtt5_subscribe *subscribe,
                             struct mqtt5_bytes codes)
{
    struct mqtt5_bytes rest = subscribe->raw;
    struct mqtt5_subscription_request request;
    for (size_t i = 0; mqtt5_subscribe_next(&rest, client->version, &request); i++) {
        if (i < codes.len && codes.data[i] >= 0x80)
            m5_client_subscriptions_remove(&client->subscriptions, request.filter);
        else if (!m5_client_subscriptions_put(&client->subscriptions, &request,
                                              identifier_of(&subscribe->properties)))
            return false;
    }
    return true;
}

bool m5_client_subscriptions_settle(struct m5_client *client,
                                    const struct m5_client_request *request,
                                    struct mqtt5_bytes reason_codes)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet packet;
    if (!client->config.reconnect.enabled)
        return true; /* the user connects, and subscribes, by hand */
    const enum mqtt5_error error = m5_client_packet_check(m5_bytes(request->bytes, request->size),
                                                          client->version, &frame, &packet);
    M5_ASSERT(error == MQTT5_OK); /* it was read when it was made */
    if (packet.type == MQTT5_SUBSCRIBE)
        return settle_subscribe(client, &packet.as.subscribe, reason_codes);
    struct mqtt5_bytes rest = packet.as.unsubscribe.raw, filter;
    for (size_t i = 0; mqtt5_unsubscribe_next(&rest, &filter); i++) {
        if (i >= reason_codes.len || reason_codes.data[i] < 0x80)
            m5_client_subscriptions_remove(&client->subscriptions, filter);
    }
    return true;
}

/* ---- asking again ---- */

static bool enqueue(struct m5_client *client, const struct mqtt5_subscription_request *items,
                    uint32_t count, uint32_t identifier)
{
    struct mqtt5_packet packet = {.type = MQTT5_SUBSCRIBE,
                                  .as.subscribe = {.packet_id = 1, .count = count, .items = items}};
    struct m5_client_request *request;
    if (identifier != 0 && client->identifiers) {
        packet.as.subscribe.properties.subscription_identifier = identifier;
        MQTT5_SET(&packet.as.subscribe.properties, SUBSCRIPTION_IDENTIFIER);
    }
    if (m5_client_request_new(client->allocator, &packet, client->version, client->now_ms,
                              &request) != MQTT5_OK)
        return false;
    request->internal = true;
    client->info.queued_messages++;
    client->info.queued_bytes += m5_client_request_memory(request->size);
    m5_list_push_back(&client->control, &request->node);
    return true;
}

/* Collects what fits into one packet with the subscription at *node, and moves *node behind it. */
static uint32_t collect(const struct m5_client *client, struct m5_list **node,
                        struct mqtt5_subscription_request items[FILTERS_PER_PACKET])
{
    const struct m5_list *end = &client->subscriptions.list;
    const uint32_t identifier = subscription_of(*node)->identifier;
    const size_t room = client->info.maximum_packet_size < BYTES_PER_PACKET
                            ? client->info.maximum_packet_size / 2
                            : BYTES_PER_PACKET;
    uint32_t count = 0;
    for (size_t bytes = 0; *node != end && count < FILTERS_PER_PACKET; *node = (*node)->next) {
        const struct m5_client_subscription *subscription = subscription_of(*node);
        bytes += subscription->size + 3;
        if (count > 0 && (subscription->identifier != identifier || bytes > room))
            break;
        items[count++] = (struct mqtt5_subscription_request){
            .filter = m5_bytes(subscription->filter, subscription->size),
            .qos = subscription->qos,
            .no_local = subscription->no_local,
            .retain_as_published = subscription->retain_as_published,
            .retain_handling = subscription->retain_handling};
    }
    return count;
}

bool m5_client_resubscribe(struct m5_client *client)
{
    struct m5_list *node = client->subscriptions.list.next;
    while (node != &client->subscriptions.list) {
        struct mqtt5_subscription_request items[FILTERS_PER_PACKET];
        const uint32_t identifier = subscription_of(node)->identifier;
        const uint32_t count = collect(client, &node, items);
        if (!enqueue(client, items, count, identifier))
            return false;
    }
    return true;
}
