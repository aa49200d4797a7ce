/* Handlers: which function gets the messages of which filter.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/host.h"

static struct m5_client_handler *handler_of(struct m5_list *node)
{
    return M5_CONTAINER_OF(node, struct m5_client_handler, node);
}

/* ---- handlers ---- */

static void free_handler(struct mqtt5_client *client, struct m5_client_handler *handler)
{
    m5_list_remove(&handler->node);
    if (handler->fn != NULL)
        m5_route_remove(&client->route, &handler->route);
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

static enum mqtt5_error add_handler(struct mqtt5_client *client, struct mqtt5_bytes filter,
                                    const struct m5_client_handler *draft)
{
    struct m5_client_handler *handler = m5_alloc(client->allocator, sizeof *handler + filter.len);
    if (handler == NULL)
        return MQTT5_ERR_NOMEM;
    *handler = *draft;
    handler->number = ++client->handler_count_ever;
    handler->filter_size = filter.len;
    m5_copy(handler->filter, filter);
    const enum mqtt5_error error =
        handler->fn != NULL ? m5_route_add(&client->route, filter, &handler->route) : MQTT5_OK;
    if (error != MQTT5_OK) {
        m5_free(client->allocator, handler, sizeof *handler + filter.len);
        return error;
    }
    m5_list_push_back(&client->handlers, &handler->node);
    return MQTT5_OK;
}

enum mqtt5_error m5_client_host_add_handlers(struct mqtt5_client *client,
                                             const struct mqtt5_subscribe *subscribe,
                                             const struct mqtt5_subscription_handler *handlers,
                                             bool each, struct m5_client_op *op)
{
    enum mqtt5_error error = MQTT5_OK;
    for (uint32_t i = 0; i < subscribe->count && error == MQTT5_OK; i++) {
        const struct mqtt5_subscription_handler *handler = &handlers[each ? i : 0];
        const struct m5_client_handler draft = {
            .op = op, .index = i, .fn = handler->on_message, .ctx = handler->ctx};
        error = add_handler(client, subscribe->items[i].filter, &draft);
    }
    return error;
}

void m5_client_host_drop_filter(struct mqtt5_client *client, struct mqtt5_bytes filter)
{
    struct m5_list *node = client->handlers.next, *next;
    for (; node != &client->handlers; node = next) {
        struct m5_client_handler *handler = handler_of(node);
        next = node->next;
        if (handler->op == NULL && m5_bytes_equal(filter_of(handler), filter))
            free_handler(client, handler);
    }
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
