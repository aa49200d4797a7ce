/* Publishing, in all its forms.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/host.h"
#include "host/client/mock.h"
#include "host/client/queue_file.h"

#include <stdio.h>

/* ---- what is checked and added here ---- */

static enum mqtt5_error obey_rules(struct mqtt5_client *client, struct mqtt5_bytes topic)
{
    struct mqtt5_namespace_fault fault;
    if (client->config->rules == NULL)
        return MQTT5_OK;
    const enum mqtt5_error error =
        mqtt5_namespace_check_topic(client->config->rules, topic, &fault);
    if (error != MQTT5_OK)
        mqtt5_namespace_explain(&fault, client->why, sizeof client->why);
    return error;
}

/* Makes room for a message that has found none, if somebody asks; remembers that it was asked. */
static enum mqtt5_error want_room(struct mqtt5_client *client, enum mqtt5_error error)
{
    if (error == MQTT5_ERR_QUEUE_FULL)
        client->room_wanted = true;
    return error;
}

static enum mqtt5_error enqueue(struct mqtt5_client *client, const struct mqtt5_publish *publish,
                                struct m5_client_op *op)
{
    enum mqtt5_error error = op != NULL ? m5_client_queue_add(client, publish, op) : MQTT5_OK;
    if (error == MQTT5_OK)
        error = m5_client_publish(client->engine, publish, op);
    if (error != MQTT5_OK && op != NULL)
        m5_client_queue_done(client, op);
    return want_room(client, error);
}

/* Adds the user properties of the trace hook behind those of the message. */
static enum mqtt5_error enqueue_traced(struct mqtt5_client *client,
                                       const struct mqtt5_publish *publish, struct m5_client_op *op)
{
    struct mqtt5_user_property added[MQTT5_TRACE_PROPERTIES_MAX];
    const uint32_t extra = client->config->on_trace_publish(client->config->trace_ctx, publish,
                                                            added, MQTT5_TRACE_PROPERTIES_MAX);
    if (extra == 0 || extra > MQTT5_TRACE_PROPERTIES_MAX)
        return enqueue(client, publish, op);
    const uint32_t own = publish->properties.user_property.count;
    const size_t size = ((size_t)own + extra) * sizeof *added;
    struct mqtt5_user_property *all = m5_alloc(client->allocator, size);
    if (all == NULL)
        return MQTT5_ERR_NOMEM;
    if (own > 0)
        memcpy(all, publish->properties.user_property.items, own * sizeof *all);
    memcpy(all + own, added, extra * sizeof *all);
    struct mqtt5_publish traced = *publish;
    traced.properties.user_property =
        (struct mqtt5_user_properties){.items = all, .count = own + extra};
    MQTT5_SET(&traced.properties, USER_PROPERTY);
    const enum mqtt5_error error = enqueue(client, &traced, op);
    m5_free(client->allocator, all, size);
    return error;
}

enum mqtt5_error m5_client_host_publish(struct mqtt5_client *client,
                                        const struct mqtt5_publish *publish,
                                        struct m5_client_op *op)
{
    enum mqtt5_error error = m5_client_mock_note_publish(client, publish);
    if (error == MQTT5_OK)
        error = obey_rules(client, publish->topic);
    if (error != MQTT5_OK)
        return error;
    const bool traces =
        client->config->on_trace_publish != NULL && client->config->version == MQTT5_VERSION_5;
    error = traces ? enqueue_traced(client, publish, op) : enqueue(client, publish, op);
    if (error == MQTT5_OK)
        m5_client_host_nudge(client);
    return error;
}

/* ---- forms ---- */

/* An operation is made when somebody waits for its end, or the file has to be told of it. */
static bool needs_op(const struct mqtt5_client *client, const struct mqtt5_publish *publish,
                     mqtt5_client_done_fn *done)
{
    return done != NULL || (client->spool != NULL && publish->qos > 0);
}

enum mqtt5_error mqtt5_client_publish_async(struct mqtt5_client *client,
                                            const struct mqtt5_publish *publish,
                                            mqtt5_client_done_fn *done, void *ctx)
{
    pthread_mutex_lock(&client->lock);
    struct m5_client_op *op = NULL;
    enum mqtt5_error error = MQTT5_OK;
    if (needs_op(client, publish, done) &&
        (op = m5_client_host_op_new(client, done, ctx, 0)) == NULL)
        error = MQTT5_ERR_NOMEM;
    if (error == MQTT5_OK)
        error = m5_client_host_publish(client, publish, op);
    if (error != MQTT5_OK)
        m5_client_host_op_free(client, op);
    pthread_mutex_unlock(&client->lock);
    return error;
}

/* A message of a session that is kept outlives its connection; nobody should wait for another that
 * nothing will make. */
static bool op_or_connection_is_over(const struct mqtt5_client *client, const void *ctx)
{
    const struct m5_client_op *op = ctx;
    return op->finished || m5_client_host_is_down(client);
}

static bool has_room(const struct mqtt5_client *client, const void *ctx)
{
    (void)ctx;
    return m5_client_has_room(client->engine) || m5_client_host_is_down(client);
}

static uint32_t left_of(const struct mqtt5_client *client, uint64_t deadline_ms)
{
    const uint64_t now = m5_client_host_now(client);
    if (deadline_ms == UINT64_MAX)
        return MQTT5_FOREVER;
    return deadline_ms > now ? (uint32_t)(deadline_ms - now) : 0;
}

/* Queues, waiting for room as long as there is time. */
static enum mqtt5_error queue_in_time(struct mqtt5_client *client,
                                      const struct mqtt5_publish *publish, struct m5_client_op *op,
                                      uint64_t deadline_ms)
{
    enum mqtt5_error error = m5_client_host_publish(client, publish, op);
    while (error == MQTT5_ERR_QUEUE_FULL && left_of(client, deadline_ms) > 0 && !client->stopping &&
           !client->free_asked && !m5_client_host_is_down(client)) {
        m5_client_host_wait(client, has_room, NULL, left_of(client, deadline_ms));
        error = m5_client_host_publish(client, publish, op);
    }
    return error;
}

enum mqtt5_error mqtt5_client_publish(struct mqtt5_client *client,
                                      const struct mqtt5_publish *publish, uint32_t timeout_ms,
                                      uint8_t *reason)
{
    struct m5_client_op ended;
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_may_not_wait(client))
        return m5_client_host_leave(client, MQTT5_ERR_INVALID_STATE);
    struct m5_client_op *op = m5_client_host_op_new(client, NULL, NULL, 0);
    if (op == NULL)
        return m5_client_host_leave(client, MQTT5_ERR_NOMEM);
    const uint64_t deadline_ms =
        timeout_ms == MQTT5_FOREVER ? UINT64_MAX : m5_client_host_now(client) + timeout_ms;
    op->waited_for = true;
    enum mqtt5_error error = queue_in_time(client, publish, op, deadline_ms);
    if (error != MQTT5_OK) {
        m5_client_host_op_free(client, op);
        return m5_client_host_leave(client, error);
    }
    const bool over =
        m5_client_host_wait(client, op_or_connection_is_over, op, left_of(client, deadline_ms));
    const bool finished = op->finished;
    error = m5_client_host_await(client, op, 0, &ended, NULL);
    if (finished && reason != NULL)
        *reason = ended.reason_code;
    return m5_client_host_leave(client,
                                over && error == MQTT5_ERR_TIMEOUT ? MQTT5_ERR_CLOSED : error);
}

static bool has_half(const struct mqtt5_client *client, const void *ctx)
{
    (void)ctx;
    return m5_client_has_room(client->engine);
}

enum mqtt5_error mqtt5_client_wait_room(struct mqtt5_client *client, uint32_t timeout_ms)
{
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_may_not_wait(client))
        return m5_client_host_leave(client, MQTT5_ERR_INVALID_STATE);
    client->room_wanted = client->room_wanted || !has_half(client, NULL);
    const bool room = m5_client_host_wait(client, has_half, NULL, timeout_ms);
    return m5_client_host_leave(client, room ? MQTT5_OK : MQTT5_ERR_TIMEOUT);
}

/* ---- deferred acknowledgement ---- */

enum mqtt5_error mqtt5_message_defer(const struct mqtt5_message *message,
                                     struct mqtt5_ack_token *out)
{
    struct mqtt5_client *client = message->client;
    enum mqtt5_error error = MQTT5_OK;
    pthread_mutex_lock(&client->lock);
    const uint64_t number = client->message_number;
    if (message->publish->qos == 0)
        error = MQTT5_ERR_INVALID_ARGUMENT;
    else if (!client->config->deferred_acks || !m5_client_host_in_callback(client))
        error = MQTT5_ERR_INVALID_STATE;
    else if (number == 0)
        error = MQTT5_ERR_NOMEM;
    else
        error = m5_client_defer(client->engine, number);
    *out = (struct mqtt5_ack_token){.number = error == MQTT5_OK ? number : 0};
    pthread_mutex_unlock(&client->lock);
    return error;
}

enum mqtt5_error mqtt5_client_ack(struct mqtt5_client *client, struct mqtt5_ack_token token,
                                  uint8_t reason_code)
{
    pthread_mutex_lock(&client->lock);
    const enum mqtt5_error error = m5_client_acknowledge(client->engine, token.number, reason_code);
    if (error == MQTT5_OK)
        m5_client_host_nudge(client);
    pthread_mutex_unlock(&client->lock);
    return error;
}

/* ---- copies ---- */

/* The clone's properties are views into its own block; user properties stay encoded in `raw`, as
 * decoding gives them, or become items when they came as such. */
struct clone {
    struct mqtt5_publish publish; /* first: the clone is known by it */
    size_t size;
};

static uint8_t *take(struct mqtt5_bytes *view, uint8_t *at)
{
    const struct mqtt5_bytes old = *view;
    if (old.data != NULL)
        view->data = at;
    return m5_copy(at, old);
}

static void for_each_view(struct mqtt5_publish *publish, uint8_t **at, size_t *size)
{
    struct mqtt5_properties *p = &publish->properties;
    struct mqtt5_bytes *views[] = {&publish->topic,
                                   &publish->payload,
                                   &p->raw,
                                   MQTT5_HAS(p, CONTENT_TYPE) ? &p->content_type : NULL,
                                   MQTT5_HAS(p, RESPONSE_TOPIC) ? &p->response_topic : NULL,
                                   MQTT5_HAS(p, CORRELATION_DATA) ? &p->correlation_data : NULL};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        if (views[i] == NULL)
            continue;
        *size += views[i]->len;
        if (*at != NULL)
            *at = take(views[i], *at);
    }
}

struct mqtt5_publish *mqtt5_publish_clone(const struct mqtt5_publish *publish,
                                          const struct mqtt5_allocator *allocator)
{
    struct mqtt5_publish copy = *publish;
    size_t size = sizeof(struct clone);
    uint8_t *at = NULL;
    const uint32_t items = publish->properties.user_property.items != NULL
                               ? publish->properties.user_property.count
                               : 0;
    size += items * sizeof(struct mqtt5_user_property);
    for (uint32_t i = 0; i < items; i++)
        size += publish->properties.user_property.items[i].name.len +
                publish->properties.user_property.items[i].value.len;
    for_each_view(&copy, &at, &size);
    struct clone *clone = m5_alloc(allocator != NULL ? allocator : &m5_client_host_malloc, size);
    if (clone == NULL)
        return NULL;
    *clone = (struct clone){.publish = copy, .size = size};
    struct mqtt5_user_property *user = (struct mqtt5_user_property *)(clone + 1);
    at = (uint8_t *)(user + items);
    for (uint32_t i = 0; i < items; i++) {
        user[i] = publish->properties.user_property.items[i];
        at = take(&user[i].name, at);
        at = take(&user[i].value, at);
    }
    if (items > 0)
        clone->publish.properties.user_property.items = user;
    for_each_view(&clone->publish, &at, &size);
    return &clone->publish;
}

void mqtt5_publish_free(struct mqtt5_publish *clone, const struct mqtt5_allocator *allocator)
{
    if (clone != NULL)
        m5_free(allocator != NULL ? allocator : &m5_client_host_malloc, clone,
                ((struct clone *)clone)->size);
}
