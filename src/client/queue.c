/* The queue of messages: its limits, what goes when it is full, what expires in it.
 *
 * A message that makes room ends with MQTT5_ERR_DROPPED. While its end has not been shown it keeps
 * its head, without its bytes, and no longer counts as queued; as many of those as of queued
 * messages are allowed, so that memory stays bounded by what the user has set.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "client/state.h"

/* ---- expiry ---- */

void m5_client_expire(struct m5_client *client)
{
    struct m5_list *node = client->waiting.next, *next;
    for (; node != &client->waiting; node = next) {
        struct m5_client_request *request = m5_client_request_of(node);
        next = node->next;
        if (request->sent_before || client->now_ms < request->expires_at_ms)
            continue;
        client->info.expired_messages++;
        if (request->ctx != NULL) {
            m5_client_finish(client, request, MQTT5_ERR_EXPIRED, 0);
            continue;
        }
        m5_client_unlink(client, request);
        m5_client_drop_request(client, request); /* nobody waits for its end: room at once */
    }
}

bool m5_client_age(struct m5_client *client, struct m5_client_request *request)
{
    if (request->expiry_offset == 0)
        return true;
    const bool over = client->now_ms >= request->expires_at_ms;
    if (over && !request->sent_before) {
        client->info.expired_messages++;
        m5_client_finish(client, request, MQTT5_ERR_EXPIRED, 0);
        return false;
    }
    /* What was sent before has to be sent again [MQTT-4.4.0-1], as a message that hardly lives. */
    const uint64_t left_ms = over ? 1 : request->expires_at_ms - client->now_ms;
    m5_write_u32(request->bytes + request->expiry_offset, (uint32_t)((left_ms + 999) / 1000));
    return true;
}

/* ---- room ---- */

static bool fits(const struct m5_client *client, size_t memory)
{
    return client->info.queued_messages - client->dropped < client->config.queued_messages_max &&
           memory <= client->config.queued_bytes_max &&
           client->info.queued_bytes <= client->config.queued_bytes_max - memory;
}

/* Gives back the bytes of @p request, which is unlinked; it moves. */
static struct m5_client_request *shrink(struct m5_client *client, struct m5_client_request *request)
{
    const size_t before = m5_client_request_memory(request->size);
    m5_list_remove(&request->node);
    struct m5_client_request *small =
        m5_resize(client->allocator, request, before, m5_client_request_memory(0));
    if (small == NULL)
        return request;
    small->size = 0;
    m5_list_init(&small->node);
    client->info.queued_bytes -= before - m5_client_request_memory(0);
    return small;
}

static void drop(struct m5_client *client, struct m5_client_request *request)
{
    client->info.dropped_messages++;
    m5_client_unlink(client, request);
    if (request->ctx == NULL) {
        m5_client_drop_request(client, request);
        return;
    }
    request = shrink(client, request);
    request->state = M5_REQUEST_DONE;
    request->error = MQTT5_ERR_DROPPED;
    request->was_dropped = true;
    client->dropped++;
    m5_list_push_back(&client->done, &request->node);
}

/* Drops messages that were never sent, oldest first, until @p memory bytes fit. */
static void drop_oldest(struct m5_client *client, size_t memory)
{
    struct m5_list *node = client->waiting.next, *next;
    for (; node != &client->waiting && !fits(client, memory); node = next) {
        struct m5_client_request *request = m5_client_request_of(node);
        next = node->next;
        if (!request->sent_before && client->dropped < client->config.queued_messages_max)
            drop(client, request);
    }
}

/* Makes room as the policy says; MQTT5_ERR_DROPPED: the new message goes. */
static enum mqtt5_error make_room(struct m5_client *client, uint8_t kind, size_t memory)
{
    if (fits(client, memory))
        return MQTT5_OK;
    m5_client_expire(client);
    if (kind == MQTT5_PUBLISH && client->config.overflow == MQTT5_OVERFLOW_DROP_OLDEST &&
        memory <= client->config.queued_bytes_max)
        drop_oldest(client, memory);
    if (fits(client, memory))
        return MQTT5_OK;
    return kind == MQTT5_PUBLISH && client->config.overflow == MQTT5_OVERFLOW_DROP_NEWEST
               ? MQTT5_ERR_DROPPED
               : MQTT5_ERR_QUEUE_FULL;
}

/* The new message goes: its end is shown like any other. */
static enum mqtt5_error drop_newest(struct m5_client *client, void *ctx)
{
    if (ctx != NULL) {
        if (client->dropped >= client->config.queued_messages_max)
            return MQTT5_ERR_QUEUE_FULL;
        struct m5_client_request *request = m5_client_bare_request(client, MQTT5_PUBLISH, ctx);
        if (request == NULL)
            return MQTT5_ERR_NOMEM;
        request->state = M5_REQUEST_DONE;
        request->error = MQTT5_ERR_DROPPED;
        request->was_dropped = true;
        client->dropped++;
        m5_list_push_back(&client->done, &request->node);
    }
    client->info.dropped_messages++;
    return MQTT5_OK;
}

/* ---- requests ---- */

static void count(struct m5_client *client, const struct m5_client_request *request)
{
    client->info.queued_messages++;
    client->info.queued_bytes += m5_client_request_memory(request->size);
}

struct m5_client_request *m5_client_bare_request(struct m5_client *client, uint8_t kind, void *ctx)
{
    struct m5_client_request *request = m5_alloc(client->allocator, m5_client_request_memory(0));
    if (request == NULL)
        return NULL;
    *request = (struct m5_client_request){
        .kind = kind, .ctx = ctx, .state = M5_REQUEST_SENT, .expires_at_ms = UINT64_MAX};
    m5_list_init(&request->node);
    count(client, request);
    return request;
}

/* Whether a full queue that drops nothing has to be tried at all: a copy for nothing is dear. */
static bool may_fit(struct m5_client *client, const struct mqtt5_packet *packet)
{
    const size_t size = mqtt5_packet_size(packet, client->version);
    return client->config.overflow != MQTT5_OVERFLOW_FAIL || size == 0 ||
           make_room(client, packet->type, m5_client_request_memory(size)) == MQTT5_OK;
}

/* The request is made first, which checks the packet: what is not valid makes nothing go. */
enum mqtt5_error m5_client_enqueue(struct m5_client *client, const struct mqtt5_packet *packet,
                                   uint16_t alias, void *ctx, struct m5_list *list)
{
    struct m5_client_request *request;
    const bool hopeless = !may_fit(client, packet);
    enum mqtt5_error error = hopeless
                                 ? MQTT5_ERR_QUEUE_FULL
                                 : m5_client_request_new(client->allocator, packet, client->version,
                                                         client->now_ms, &request);
    if (error != MQTT5_OK)
        return error;
    error = make_room(client, packet->type, m5_client_request_memory(request->size));
    if (error != MQTT5_OK) {
        m5_client_request_free(client->allocator, request);
        return error == MQTT5_ERR_DROPPED ? drop_newest(client, ctx) : error;
    }
    request->ctx = ctx;
    request->alias = alias;
    count(client, request);
    m5_list_push_back(list, &request->node);
    return MQTT5_OK;
}

bool m5_client_has_room(const struct m5_client *client)
{
    return client->info.queued_messages - client->dropped <=
               client->config.queued_messages_max / 2 &&
           client->info.queued_bytes <= client->config.queued_bytes_max / 2;
}
