/* Subscribing, unsubscribing, pings and exchanges of AUTH, in all their forms.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/client/host.h"
#include "host/client/mock.h"

/* ---- subscribe ---- */

static enum mqtt5_error obey_rules(struct mqtt5_client *client, struct mqtt5_bytes filter)
{
    struct mqtt5_namespace_fault fault;
    if (client->config->rules == NULL)
        return MQTT5_OK;
    const enum mqtt5_error error =
        mqtt5_namespace_check_filter(client->config->rules, filter, &fault);
    if (error != MQTT5_OK)
        mqtt5_namespace_explain(&fault, client->why, sizeof client->why);
    return error;
}

static enum mqtt5_error check_subscribe(struct mqtt5_client *client,
                                        const struct mqtt5_subscribe *subscribe)
{
    enum mqtt5_error error = MQTT5_OK;
    if (subscribe->count == 0 || subscribe->items == NULL)
        return MQTT5_ERR_EMPTY_LIST;
    for (uint32_t i = 0; i < subscribe->count && error == MQTT5_OK; i++) {
        m5_client_mock_note(client, MQTT5_MOCK_SUBSCRIBE, NULL, &subscribe->items[i].filter,
                            subscribe->items[i].qos);
        error = obey_rules(client, subscribe->items[i].filter);
    }
    return error;
}

enum mqtt5_error m5_client_host_subscribe(struct mqtt5_client *client,
                                          const struct mqtt5_subscribe *subscribe,
                                          const struct mqtt5_subscription_handler *handlers,
                                          bool each, struct m5_client_op *op)
{
    if (op == NULL)
        return MQTT5_ERR_NOMEM;
    enum mqtt5_error error = check_subscribe(client, subscribe);
    if (error == MQTT5_OK)
        error = m5_client_host_add_handlers(client, subscribe, handlers, each, op);
    if (error == MQTT5_OK) /* the handlers are there first: messages may come with the SUBACK */
        error = m5_client_subscribe(client->engine, subscribe, op);
    if (error == MQTT5_OK) {
        m5_client_host_nudge(client);
        return MQTT5_OK;
    }
    op->error = error;
    m5_client_host_settle_handlers(client, op);
    m5_client_host_op_free(client, op);
    return error;
}

static enum mqtt5_error subscribe_async(struct mqtt5_client *client,
                                        const struct mqtt5_subscribe *subscribe,
                                        const struct mqtt5_subscription_handler *handlers,
                                        bool each, mqtt5_client_done_fn *done, void *ctx)
{
    pthread_mutex_lock(&client->lock);
    struct m5_client_op *op = m5_client_host_op_new(client, done, ctx, subscribe->count);
    const enum mqtt5_error error = m5_client_host_subscribe(client, subscribe, handlers, each, op);
    pthread_mutex_unlock(&client->lock);
    return error;
}

enum mqtt5_error mqtt5_client_subscribe_async(struct mqtt5_client *client,
                                              const struct mqtt5_subscribe *subscribe,
                                              const struct mqtt5_subscribe_callbacks *callbacks)
{
    const struct mqtt5_subscription_handler handler = {.on_message = callbacks->on_message,
                                                       .ctx = callbacks->message_ctx};
    return subscribe_async(client, subscribe, &handler, false, callbacks->done,
                           callbacks->done_ctx);
}

enum mqtt5_error mqtt5_client_subscribe_each_async(
    struct mqtt5_client *client, const struct mqtt5_subscribe *subscribe,
    const struct mqtt5_subscription_handler *handlers, mqtt5_client_done_fn *done, void *ctx)
{
    return subscribe_async(client, subscribe, handlers, true, done, ctx);
}

static enum mqtt5_error subscribe_and_wait(struct mqtt5_client *client,
                                           const struct mqtt5_subscribe *subscribe,
                                           const struct mqtt5_subscription_handler *handler,
                                           uint32_t timeout_ms, uint16_t *packet_id,
                                           uint8_t *reasons)
{
    struct m5_client_op ended = {0};
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_may_not_wait(client))
        return m5_client_host_leave(client, MQTT5_ERR_INVALID_STATE);
    struct m5_client_op *op = m5_client_host_op_new(client, NULL, NULL, subscribe->count);
    if (op != NULL)
        op->waited_for = true;
    enum mqtt5_error error = m5_client_host_subscribe(client, subscribe, handler, false, op);
    if (error == MQTT5_OK)
        error = m5_client_host_await(client, op, timeout_ms, &ended, reasons);
    if (packet_id != NULL)
        *packet_id = ended.packet_id;
    return m5_client_host_leave(client, error);
}

enum mqtt5_error mqtt5_client_subscribe(struct mqtt5_client *client,
                                        const struct mqtt5_subscribe *subscribe,
                                        mqtt5_message_fn *on_message, void *ctx,
                                        uint32_t timeout_ms, uint8_t *reasons)
{
    const struct mqtt5_subscription_handler handler = {.on_message = on_message, .ctx = ctx};
    return subscribe_and_wait(client, subscribe, &handler, timeout_ms, NULL, reasons);
}

enum mqtt5_error mqtt5_client_subscribe_one(struct mqtt5_client *client, const char *filter,
                                            uint8_t qos, mqtt5_message_fn *on_message, void *ctx,
                                            uint32_t timeout_ms, uint16_t *packet_id,
                                            uint8_t *granted)
{
    const struct mqtt5_subscription_handler handler = {.on_message = on_message, .ctx = ctx};
    const struct mqtt5_subscription_request item = {.filter = m5_bytes_of(filter), .qos = qos};
    const struct mqtt5_subscribe subscribe = {.count = 1, .items = &item};
    return subscribe_and_wait(client, &subscribe, &handler, timeout_ms, packet_id, granted);
}

/* ---- unsubscribe ---- */

static enum mqtt5_error begin_unsubscribe(struct mqtt5_client *client,
                                          const struct mqtt5_unsubscribe *unsubscribe,
                                          struct m5_client_op *op)
{
    if (op == NULL)
        return MQTT5_ERR_NOMEM;
    for (uint32_t i = 0; unsubscribe->items != NULL && i < unsubscribe->count; i++)
        m5_client_mock_note(client, MQTT5_MOCK_UNSUBSCRIBE, NULL, &unsubscribe->items[i], 0);
    const enum mqtt5_error error = m5_client_unsubscribe(client->engine, unsubscribe, op);
    if (error != MQTT5_OK) {
        m5_client_host_op_free(client, op);
        return error;
    }
    m5_client_host_mark_leaving(client, unsubscribe, op);
    m5_client_host_nudge(client);
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_client_unsubscribe_async(struct mqtt5_client *client,
                                                const struct mqtt5_unsubscribe *unsubscribe,
                                                mqtt5_client_done_fn *done, void *ctx)
{
    pthread_mutex_lock(&client->lock);
    struct m5_client_op *op = m5_client_host_op_new(client, done, ctx, unsubscribe->count);
    const enum mqtt5_error error = begin_unsubscribe(client, unsubscribe, op);
    pthread_mutex_unlock(&client->lock);
    return error;
}

enum mqtt5_error mqtt5_client_unsubscribe(struct mqtt5_client *client,
                                          const struct mqtt5_unsubscribe *unsubscribe,
                                          uint32_t timeout_ms, uint8_t *reasons)
{
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_may_not_wait(client))
        return m5_client_host_leave(client, MQTT5_ERR_INVALID_STATE);
    struct m5_client_op *op = m5_client_host_op_new(client, NULL, NULL, unsubscribe->count);
    if (op != NULL)
        op->waited_for = true;
    enum mqtt5_error error = begin_unsubscribe(client, unsubscribe, op);
    if (error == MQTT5_OK)
        error = m5_client_host_await(client, op, timeout_ms, NULL, reasons);
    return m5_client_host_leave(client, error);
}

/* ---- pings ---- */

static enum mqtt5_error begin_ping(struct mqtt5_client *client, struct m5_client_op *op)
{
    m5_client_mock_note(client, MQTT5_MOCK_PING, NULL, NULL, 0);
    const enum mqtt5_error error =
        op == NULL ? MQTT5_ERR_NOMEM : m5_client_ping(client->engine, op);
    if (error != MQTT5_OK)
        m5_client_host_op_free(client, op);
    else
        m5_client_host_nudge(client);
    return error;
}

enum mqtt5_error mqtt5_client_ping_async(struct mqtt5_client *client, mqtt5_client_done_fn *done,
                                         void *ctx)
{
    pthread_mutex_lock(&client->lock);
    const enum mqtt5_error error = begin_ping(client, m5_client_host_op_new(client, done, ctx, 0));
    pthread_mutex_unlock(&client->lock);
    return error;
}

enum mqtt5_error mqtt5_client_ping(struct mqtt5_client *client, uint32_t timeout_ms)
{
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_may_not_wait(client))
        return m5_client_host_leave(client, MQTT5_ERR_INVALID_STATE);
    struct m5_client_op *op = m5_client_host_op_new(client, NULL, NULL, 0);
    if (op != NULL)
        op->waited_for = true;
    enum mqtt5_error error = begin_ping(client, op);
    if (error == MQTT5_OK)
        error = m5_client_host_await(client, op, timeout_ms, NULL, NULL);
    return m5_client_host_leave(client, error);
}

/* ---- authentication ---- */

/* The handler's first data is asked for on this thread: it is a callback like any other, but comes
 * from a call of the user's. */
enum mqtt5_error mqtt5_client_reauthenticate_async(struct mqtt5_client *client,
                                                   mqtt5_client_done_fn *done, void *ctx)
{
    struct mqtt5_bytes data = {0};
    if (client->config->auth_method == NULL)
        return MQTT5_ERR_INVALID_STATE;
    enum mqtt5_error error = client->config->auth(client->config->auth_ctx, MQTT5_AUTH_AGAIN,
                                                  (struct mqtt5_bytes){0}, &data);
    if (error != MQTT5_OK)
        return error;
    pthread_mutex_lock(&client->lock);
    struct m5_client_op *op = m5_client_host_op_new(client, done, ctx, 0);
    error = op == NULL ? MQTT5_ERR_NOMEM : m5_client_reauthenticate(client->engine, data, op);
    if (error != MQTT5_OK)
        m5_client_host_op_free(client, op);
    else
        m5_client_host_nudge(client);
    pthread_mutex_unlock(&client->lock);
    return error;
}
