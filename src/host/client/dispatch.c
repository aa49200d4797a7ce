/* Who gets what: messages to the callbacks of their filters, results to who asked.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/host.h"

#include <mqtt5/topic.h>

#include <stdio.h>

static struct m5_client_handler *handler_of(struct m5_list *node)
{
    return M5_CONTAINER_OF(node, struct m5_client_handler, node);
}

/* ---- handlers ---- */

static void free_handler(struct mqtt5_client *client, struct m5_client_handler *handler)
{
    m5_list_remove(&handler->node);
    m5_free(client->allocator, handler, sizeof *handler + handler->filter_size);
}

void m5_client_host_free_handlers(struct mqtt5_client *client)
{
    while (!m5_list_empty(&client->handlers))
        free_handler(client, handler_of(client->handlers.next));
}

static struct mqtt5_bytes filter_of(const struct m5_client_handler *handler)
{
    return m5_bytes(handler->filter, handler->filter_size);
}

static bool add_handler(struct mqtt5_client *client, struct mqtt5_bytes filter,
                        const struct mqtt5_subscribe_callbacks *callbacks,
                        const struct m5_client_handler *draft)
{
    struct mqtt5_filter parsed;
    struct m5_client_handler *handler = m5_alloc(client->allocator, sizeof *handler + filter.len);
    if (handler == NULL)
        return false;
    *handler = *draft;
    handler->fn = callbacks->on_message;
    handler->ctx = callbacks->message_ctx;
    handler->number = ++client->handler_count_ever;
    handler->filter_size = filter.len;
    m5_copy(handler->filter, filter);
    if (mqtt5_filter_parse(filter_of(handler), UINT16_MAX, &parsed) == MQTT5_OK)
        handler->match_offset = (size_t)(parsed.filter.data - handler->filter);
    m5_list_push_back(&client->handlers, &handler->node);
    return true;
}

bool m5_client_host_add_handlers(struct mqtt5_client *client,
                                 const struct mqtt5_subscribe *subscribe,
                                 const struct mqtt5_subscribe_callbacks *callbacks,
                                 struct m5_client_op *op)
{
    for (uint32_t i = 0; i < subscribe->count; i++) {
        const struct m5_client_handler draft = {.op = op, .index = i};
        if (!add_handler(client, subscribe->items[i].filter, callbacks, &draft))
            return false;
    }
    return true;
}

/* Removes handlers for the filter of @p kept that are older. */
static void replace(struct mqtt5_client *client, const struct m5_client_handler *kept)
{
    struct m5_list *node = client->handlers.next, *next;
    for (; node != &client->handlers; node = next) {
        struct m5_client_handler *handler = handler_of(node);
        next = node->next;
        if (handler->number < kept->number && m5_bytes_equal(filter_of(handler), filter_of(kept)))
            free_handler(client, handler);
    }
}

static bool is_refused(const struct m5_client_op *op, uint32_t index)
{
    return op->error != MQTT5_OK || (index < op->count && op->reason_codes[index] >= 0x80);
}

void m5_client_host_settle_handlers(struct mqtt5_client *client, const struct m5_client_op *op)
{
    struct m5_list *node = client->handlers.next, *next;
    for (; node != &client->handlers; node = next) {
        struct m5_client_handler *handler = handler_of(node);
        next = node->next;
        const bool gone = (handler->op == op && is_refused(op, handler->index)) ||
                          (handler->leaving == op && op->error == MQTT5_OK);
        if (gone) {
            free_handler(client, handler);
            continue;
        }
        if (handler->leaving == op)
            handler->leaving = NULL;
        if (handler->op == op) {
            handler->op = NULL;
            replace(client, handler); /* only older ones: `next` stays */
        }
    }
}

void m5_client_host_mark_leaving(struct mqtt5_client *client,
                                 const struct mqtt5_unsubscribe *unsubscribe,
                                 struct m5_client_op *op)
{
    for (uint32_t i = 0; i < unsubscribe->count; i++) {
        struct m5_list *node = client->handlers.next;
        for (; node != &client->handlers; node = node->next) {
            struct m5_client_handler *handler = handler_of(node);
            if (m5_bytes_equal(filter_of(handler), unsubscribe->items[i]))
                handler->leaving = op;
        }
    }
}

/* ---- messages ---- */

/* The first handler after @p number whose filter matches, or NULL. */
static const struct m5_client_handler *next_match(const struct mqtt5_client *client,
                                                  struct mqtt5_bytes topic, uint64_t number)
{
    struct m5_list *node = client->handlers.next;
    for (; node != &client->handlers; node = node->next) {
        const struct m5_client_handler *handler = handler_of(node);
        const struct mqtt5_bytes filter = m5_bytes(handler->filter + handler->match_offset,
                                                   handler->filter_size - handler->match_offset);
        if (handler->number > number && handler->fn != NULL && mqtt5_filter_matches(filter, topic))
            return handler;
    }
    return NULL;
}

static void call(struct mqtt5_client *client, mqtt5_message_fn *fn, void *ctx,
                 const struct mqtt5_message *message)
{
    client->calling_back = true;
    pthread_mutex_unlock(&client->lock);
    fn(ctx, message);
    pthread_mutex_lock(&client->lock);
    client->calling_back = false;
}

/* The list may change while a callback runs, so the next handler is looked for by its number. */
static void dispatch_message(struct mqtt5_client *client, const struct mqtt5_publish *publish)
{
    const struct mqtt5_message message = {.publish = publish};
    const struct m5_client_handler *handler;
    uint64_t number = 0;
    while (!client->free_asked && (handler = next_match(client, publish->topic, number)) != NULL) {
        number = handler->number;
        call(client, handler->fn, handler->ctx, &message);
    }
    if (number == 0 && client->config.on_message != NULL)
        call(client, client->config.on_message, client->config.ctx, &message);
}

/* ---- changes ---- */

static const char *v3_text(uint8_t code)
{
    switch (code) {
    case MQTT5_V3_UNACCEPTABLE_PROTOCOL_VERSION: return "unacceptable protocol version";
    case MQTT5_V3_IDENTIFIER_REJECTED: return "identifier rejected";
    case MQTT5_V3_SERVER_UNAVAILABLE: return "server unavailable";
    case MQTT5_V3_BAD_USER_NAME_OR_PASSWORD: return "bad user name or password";
    case MQTT5_V3_NOT_AUTHORIZED: return "not authorized";
    default: return "unknown return code";
    }
}

/* Says in words how the connection ended, unless the link has said it better. */
static void explain(struct mqtt5_client *client, const struct m5_client_event *event)
{
    const struct mqtt5_client_result *result = &event->result;
    const struct mqtt5_bytes reason = MQTT5_HAS(&result->properties, REASON_STRING)
                                          ? result->properties.reason_string
                                          : (struct mqtt5_bytes){0};
    const bool v5 = client->config.version == MQTT5_VERSION_5;
    const char *separator = reason.len > 0 ? ": " : "";
    if (event->by_server)
        snprintf(client->why, sizeof client->why, "the server %s: %s (0x%02X)%s%.*s",
                 result->error == MQTT5_ERR_REFUSED ? "refused" : "disconnected us",
                 v5 ? mqtt5_reason_text(result->reason_code) : v3_text(result->reason_code),
                 result->reason_code, separator, (int)reason.len,
                 reason.len > 0 ? (const char *)reason.data : "");
    else if (result->error == MQTT5_OK)
        client->why[0] = 0;
    else if (result->error != MQTT5_ERR_IO)
        snprintf(client->why, sizeof client->why, "%s",
                 result->error == MQTT5_ERR_CLOSED ? "the server closed the connection"
                                                   : mqtt5_error_text(result->error));
}

static void dispatch_change(struct mqtt5_client *client, const struct m5_client_event *event)
{
    const bool up = event->type == M5_CLIENT_CONNECTED;
    const struct mqtt5_client_change change = {
        .state = up ? MQTT5_CLIENT_CONNECTED : MQTT5_CLIENT_DISCONNECTED,
        .by_server = event->by_server,
        .result = event->result,
    };
    if (!up)
        explain(client, event);
    struct m5_client_op *op = client->connecting;
    struct mqtt5_client_result result = event->result;
    if (!up && result.error == MQTT5_OK)
        result.error = MQTT5_ERR_CLOSED; /* we ended it ourselves: not what a connect waits for */
    client->connecting = NULL;
    pthread_cond_broadcast(&client->changed);
    m5_client_host_op_finish(client, op, &result);
    if (client->config.on_change == NULL)
        return;
    client->calling_back = true;
    pthread_mutex_unlock(&client->lock);
    client->config.on_change(client->config.ctx, &change);
    pthread_mutex_lock(&client->lock);
    client->calling_back = false;
}

void m5_client_host_dispatch(struct mqtt5_client *client, const struct m5_client_event *event)
{
    switch (event->type) {
    case M5_CLIENT_MESSAGE: dispatch_message(client, &event->publish); break;
    case M5_CLIENT_COMPLETED: m5_client_host_op_finish(client, event->ctx, &event->result); break;
    case M5_CLIENT_CONNECTED:
    case M5_CLIENT_DISCONNECTED: dispatch_change(client, event); break;
    }
}
