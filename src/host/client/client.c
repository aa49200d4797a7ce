/* The public client: one lock, one pump, and the forms of every operation.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/host.h"
#include "host/client/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* ---- memory ---- */

static void *libc_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void libc_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct mqtt5_allocator libc_allocator = {.alloc = libc_alloc, .free = libc_free};

/* ---- life ---- */

static void init_lock(struct mqtt5_client *client)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&client->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&client->lock, NULL);
}

/* Gives everything back; the lock is held, nobody else is inside. */
static void destroy(struct mqtt5_client *client)
{
    client->free_asked = false;
    client->pumping = true;
    client->pump = pthread_self();
    m5_client_host_drop_link(client);
    m5_client_abandon(client->engine);
    m5_client_host_drain(client); /* what was not complete ends here */
    m5_client_host_free_handlers(client);
    pthread_mutex_unlock(&client->lock);
    m5_client_free(client->engine);
    pthread_mutex_destroy(&client->lock);
    pthread_cond_destroy(&client->changed);
    close(client->wake_fd);
    m5_free(client->allocator, client, sizeof *client);
}

enum mqtt5_error mqtt5_client_new(const struct mqtt5_client_options *config,
                                  struct mqtt5_client **out)
{
    *out = NULL;
    if (config->struct_size != sizeof *config)
        return MQTT5_ERR_CONFIG;
    const struct mqtt5_allocator *allocator =
        config->allocator != NULL ? config->allocator : &libc_allocator;
    struct mqtt5_client *client = m5_alloc_zero(allocator, sizeof *client);
    if (client == NULL)
        return MQTT5_ERR_NOMEM;
    client->allocator = allocator;
    client->config = *config;
    client->link.fd = -1;
    m5_list_init(&client->handlers);
    enum mqtt5_error error =
        m5_client_new(config, allocator, m5_client_host_clock_ms(), &client->engine);
    if (error == MQTT5_OK) {
        client->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (client->wake_fd < 0)
            error = MQTT5_ERR_IO;
    }
    if (error != MQTT5_OK) {
        m5_client_free(client->engine);
        m5_free(allocator, client, sizeof *client);
        return error;
    }
    init_lock(client);
    *out = client;
    return MQTT5_OK;
}

/* ---- the pump ---- */

static void pump_begin(struct mqtt5_client *client)
{
    client->pumping = true;
    client->pump = pthread_self();
}

static void pump_end(struct mqtt5_client *client)
{
    client->pumping = false;
    pthread_cond_broadcast(&client->changed);
}

static void *run_thread(void *argument)
{
    struct mqtt5_client *client = argument;
    pthread_mutex_lock(&client->lock);
    while (client->pumping && !client->stopping && !client->free_asked)
        pthread_cond_wait(&client->changed, &client->lock);
    pump_begin(client);
    while (!client->stopping && !client->free_asked) {
        if (!m5_client_host_turn(client))
            m5_client_host_sleep(client, MQTT5_FOREVER);
    }
    pump_end(client);
    if (client->free_asked) { /* by a callback: nobody will join this thread */
        pthread_detach(pthread_self());
        destroy(client);
    } else {
        pthread_mutex_unlock(&client->lock);
    }
    return NULL;
}

static enum mqtt5_error start_thread(struct mqtt5_client *client)
{
    if (!client->config.own_thread || client->has_thread)
        return MQTT5_OK;
    if (pthread_create(&client->thread, NULL, run_thread, client) != 0)
        return MQTT5_ERR_NOMEM;
    client->has_thread = true;
    return MQTT5_OK;
}

static void wait_until(struct mqtt5_client *client, uint64_t deadline_ms)
{
    const struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000),
                                   .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    if (deadline_ms == UINT64_MAX)
        pthread_cond_wait(&client->changed, &client->lock);
    else
        pthread_cond_timedwait(&client->changed, &client->lock, &until);
}

static uint64_t deadline_after(uint32_t timeout_ms)
{
    return timeout_ms == MQTT5_FOREVER ? UINT64_MAX : m5_client_host_clock_ms() + timeout_ms;
}

/* Does one turn as the pump, sleeping first when the last one found nothing to do. */
static void pump_once(struct mqtt5_client *client, uint64_t deadline_ms)
{
    pump_begin(client);
    if (!m5_client_host_turn(client) && !client->free_asked) {
        const uint64_t now = m5_client_host_clock_ms();
        const uint64_t left = deadline_ms > now ? deadline_ms - now : 0;
        m5_client_host_sleep(client, left < MQTT5_FOREVER ? (uint32_t)left : MQTT5_FOREVER);
        m5_client_host_turn(client);
    }
    pump_end(client);
}

/* What a blocking form waits for. */
typedef bool is_over_fn(const struct mqtt5_client *client, const struct m5_client_op *op);

static bool op_is_over(const struct mqtt5_client *client, const struct m5_client_op *op)
{
    (void)client;
    return op->finished;
}

static bool connection_is_over(const struct mqtt5_client *client, const struct m5_client_op *op)
{
    (void)op;
    return m5_client_state(client->engine) == MQTT5_CLIENT_DISCONNECTED;
}

/* A message of a session that is kept outlives its connection, but nobody should wait for that. */
static bool op_or_connection_is_over(const struct mqtt5_client *client,
                                     const struct m5_client_op *op)
{
    return op->finished || connection_is_over(client, op);
}

/* Waits, as the pump while nobody else is. False after the deadline, or when the client is to be
 * freed. */
static bool wait_for(struct mqtt5_client *client, is_over_fn *is_over,
                     const struct m5_client_op *op, uint32_t timeout_ms)
{
    const uint64_t deadline_ms = deadline_after(timeout_ms);
    m5_client_host_nudge(client);
    while (!is_over(client, op) && !client->free_asked) {
        if (m5_client_host_clock_ms() >= deadline_ms)
            return false;
        if (client->pumping || client->has_thread)
            wait_until(client, deadline_ms);
        else
            pump_once(client, deadline_ms);
    }
    return is_over(client, op);
}

/* Leaves a blocking form: lets the lock go, or frees the client as a callback has asked for. */
static enum mqtt5_error leave(struct mqtt5_client *client, enum mqtt5_error error)
{
    if (client->free_asked && !client->has_thread && !client->pumping) {
        destroy(client);
        return MQTT5_ERR_CLOSED;
    }
    pthread_mutex_unlock(&client->lock);
    return error;
}

void mqtt5_client_free(struct mqtt5_client *client)
{
    if (client == NULL)
        return;
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_in_callback(client)) {
        client->free_asked = true; /* the pump does it */
        pthread_mutex_unlock(&client->lock);
        return;
    }
    client->stopping = true;
    mqtt5_client_wake(client);
    pthread_cond_broadcast(&client->changed);
    if (client->has_thread) {
        pthread_mutex_unlock(&client->lock);
        pthread_join(client->thread, NULL);
        pthread_mutex_lock(&client->lock);
        client->has_thread = false;
    }
    while (client->pumping)
        pthread_cond_wait(&client->changed, &client->lock);
    destroy(client);
}

enum mqtt5_error mqtt5_client_process(struct mqtt5_client *client, uint32_t timeout_ms)
{
    const uint64_t deadline_ms = deadline_after(timeout_ms);
    pthread_mutex_lock(&client->lock);
    if (client->config.own_thread || m5_client_host_in_callback(client)) {
        pthread_mutex_unlock(&client->lock);
        return MQTT5_ERR_INVALID_STATE;
    }
    while (client->pumping && m5_client_host_clock_ms() < deadline_ms)
        wait_until(client, deadline_ms);
    if (!client->pumping)
        pump_once(client, deadline_ms);
    return leave(client, MQTT5_OK);
}

void mqtt5_client_wake(struct mqtt5_client *client)
{
    const uint64_t one = 1;
    (void)!write(client->wake_fd, &one, sizeof one); /* full: a wake-up is pending already */
}

/* ---- connect, disconnect ---- */

static enum mqtt5_error begin_connect(struct mqtt5_client *client, const char *url,
                                      struct m5_client_op *op)
{
    struct m5_url where;
    enum mqtt5_error error = m5_url_parse(url, &where, client->why, sizeof client->why);
    if (error == MQTT5_OK && client->config.dial == NULL)
        error = m5_url_built(&where, client->why, sizeof client->why);
    if (error == MQTT5_OK)
        error = start_thread(client);
    if (error == MQTT5_OK)
        error = m5_client_open(client->engine, M5_CLIENT_START_AS_CONFIGURED,
                               m5_client_host_clock_ms());
    if (error != MQTT5_OK)
        return error;
    client->why[0] = 0;
    client->link.endpoint = where.endpoint;
    m5_url_format(&where, client->url, sizeof client->url);
    client->link.state = M5_LINK_RESOLVE;
    client->connecting = op;
    m5_client_host_nudge(client);
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_client_connect_async(struct mqtt5_client *client, const char *url,
                                            mqtt5_client_done_fn *done, void *ctx)
{
    pthread_mutex_lock(&client->lock);
    struct m5_client_op *op = m5_client_host_op_new(client, done, ctx, 0);
    const enum mqtt5_error error = op == NULL ? MQTT5_ERR_NOMEM : begin_connect(client, url, op);
    if (error != MQTT5_OK)
        m5_client_host_op_free(client, op);
    pthread_mutex_unlock(&client->lock);
    return error;
}

/* Waits for @p op, which is then freed, or left to whoever finishes it. */
static enum mqtt5_error await(struct mqtt5_client *client, struct m5_client_op *op,
                              uint32_t timeout_ms, uint8_t *reasons)
{
    enum mqtt5_error error = MQTT5_ERR_TIMEOUT;
    if (wait_for(client, op_is_over, op, timeout_ms)) {
        error = op->error;
        if (reasons != NULL && op->count > 0)
            memcpy(reasons, op->reason_codes, op->count);
        m5_client_host_op_free(client, op);
    } else {
        op->waited_for = false;
    }
    return error;
}

enum mqtt5_error mqtt5_client_connect(struct mqtt5_client *client, const char *url,
                                      uint32_t timeout_ms)
{
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_in_callback(client))
        return leave(client, MQTT5_ERR_INVALID_STATE);
    struct m5_client_op *op = m5_client_host_op_new(client, NULL, NULL, 0);
    if (op == NULL)
        return leave(client, MQTT5_ERR_NOMEM);
    op->waited_for = true;
    enum mqtt5_error error = begin_connect(client, url, op);
    if (error != MQTT5_OK) {
        m5_client_host_op_free(client, op);
        return leave(client, error);
    }
    error = await(client, op, timeout_ms, NULL);
    if (error == MQTT5_ERR_TIMEOUT && !client->free_asked) {
        /* The caller has given up, so the attempt ends; its operation finishes when that is shown.
         */
        m5_client_fail(client->engine, MQTT5_ERR_TIMEOUT);
        m5_client_host_nudge(client);
        wait_for(client, connection_is_over, NULL, client->config.connect_timeout_ms);
    }
    return leave(client, error);
}

static enum mqtt5_error begin_disconnect(struct mqtt5_client *client,
                                         const struct mqtt5_reasoned *disconnect)
{
    const enum mqtt5_error error = m5_client_disconnect(client->engine, disconnect);
    if (error == MQTT5_OK)
        m5_client_host_nudge(client);
    return error;
}

enum mqtt5_error mqtt5_client_disconnect_async(struct mqtt5_client *client,
                                               const struct mqtt5_reasoned *disconnect)
{
    pthread_mutex_lock(&client->lock);
    const enum mqtt5_error error = begin_disconnect(client, disconnect);
    pthread_mutex_unlock(&client->lock);
    return error;
}

enum mqtt5_error mqtt5_client_disconnect(struct mqtt5_client *client,
                                         const struct mqtt5_reasoned *disconnect,
                                         uint32_t timeout_ms)
{
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_in_callback(client))
        return leave(client, MQTT5_ERR_INVALID_STATE);
    enum mqtt5_error error = begin_disconnect(client, disconnect);
    if (error == MQTT5_OK && !wait_for(client, connection_is_over, NULL, timeout_ms))
        error = MQTT5_ERR_TIMEOUT;
    return leave(client, error);
}

/* ---- publish ---- */

enum mqtt5_error mqtt5_client_publish_async(struct mqtt5_client *client,
                                            const struct mqtt5_publish *publish,
                                            mqtt5_client_done_fn *done, void *ctx)
{
    pthread_mutex_lock(&client->lock);
    struct m5_client_op *op = NULL;
    enum mqtt5_error error = MQTT5_OK;
    if (done != NULL && (op = m5_client_host_op_new(client, done, ctx, 0)) == NULL)
        error = MQTT5_ERR_NOMEM;
    if (error == MQTT5_OK)
        error = m5_client_publish(client->engine, publish, op);
    if (error == MQTT5_OK)
        m5_client_host_nudge(client);
    else
        m5_client_host_op_free(client, op);
    pthread_mutex_unlock(&client->lock);
    return error;
}

enum mqtt5_error mqtt5_client_publish(struct mqtt5_client *client,
                                      const struct mqtt5_publish *publish, uint32_t timeout_ms,
                                      uint8_t *reason)
{
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_in_callback(client))
        return leave(client, MQTT5_ERR_INVALID_STATE);
    struct m5_client_op *op = m5_client_host_op_new(client, NULL, NULL, 0);
    if (op == NULL)
        return leave(client, MQTT5_ERR_NOMEM);
    op->waited_for = true;
    enum mqtt5_error error = m5_client_publish(client->engine, publish, op);
    if (error != MQTT5_OK) {
        m5_client_host_op_free(client, op);
        return leave(client, error);
    }
    const bool over = wait_for(client, op_or_connection_is_over, op, timeout_ms);
    if (op->finished && reason != NULL)
        *reason = op->reason_code;
    error = await(client, op, 0, NULL);
    return leave(client, over && error == MQTT5_ERR_TIMEOUT ? MQTT5_ERR_CLOSED : error);
}

/* ---- subscribe, unsubscribe ---- */

static enum mqtt5_error begin_subscribe(struct mqtt5_client *client,
                                        const struct mqtt5_subscribe *subscribe,
                                        const struct mqtt5_subscribe_callbacks *callbacks,
                                        struct m5_client_op *op)
{
    enum mqtt5_error error = MQTT5_OK;
    if (op == NULL)
        return MQTT5_ERR_NOMEM;
    if (subscribe->count == 0 || subscribe->items == NULL)
        error = MQTT5_ERR_EMPTY_LIST;
    else if (!m5_client_host_add_handlers(client, subscribe, callbacks, op))
        error = MQTT5_ERR_NOMEM;
    else /* the handlers are there before it: messages may come together with the SUBACK */
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

enum mqtt5_error mqtt5_client_subscribe_async(struct mqtt5_client *client,
                                              const struct mqtt5_subscribe *subscribe,
                                              const struct mqtt5_subscribe_callbacks *callbacks)
{
    pthread_mutex_lock(&client->lock);
    struct m5_client_op *op =
        m5_client_host_op_new(client, callbacks->done, callbacks->done_ctx, subscribe->count);
    const enum mqtt5_error error = begin_subscribe(client, subscribe, callbacks, op);
    pthread_mutex_unlock(&client->lock);
    return error;
}

enum mqtt5_error mqtt5_client_subscribe(struct mqtt5_client *client,
                                        const struct mqtt5_subscribe *subscribe,
                                        mqtt5_message_fn *on_message, void *ctx,
                                        uint32_t timeout_ms, uint8_t *reasons)
{
    const struct mqtt5_subscribe_callbacks callbacks = {.on_message = on_message,
                                                        .message_ctx = ctx};
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_in_callback(client))
        return leave(client, MQTT5_ERR_INVALID_STATE);
    struct m5_client_op *op = m5_client_host_op_new(client, NULL, NULL, subscribe->count);
    if (op != NULL)
        op->waited_for = true;
    enum mqtt5_error error = begin_subscribe(client, subscribe, &callbacks, op);
    if (error == MQTT5_OK)
        error = await(client, op, timeout_ms, reasons);
    return leave(client, error);
}

static enum mqtt5_error begin_unsubscribe(struct mqtt5_client *client,
                                          const struct mqtt5_unsubscribe *unsubscribe,
                                          struct m5_client_op *op)
{
    if (op == NULL)
        return MQTT5_ERR_NOMEM;
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
    if (m5_client_host_in_callback(client))
        return leave(client, MQTT5_ERR_INVALID_STATE);
    struct m5_client_op *op = m5_client_host_op_new(client, NULL, NULL, unsubscribe->count);
    if (op != NULL)
        op->waited_for = true;
    enum mqtt5_error error = begin_unsubscribe(client, unsubscribe, op);
    if (error == MQTT5_OK)
        error = await(client, op, timeout_ms, reasons);
    return leave(client, error);
}

/* ---- looking ---- */

void mqtt5_client_get_info(struct mqtt5_client *client, struct mqtt5_client_info *out)
{
    pthread_mutex_lock(&client->lock);
    m5_client_info(client->engine, out);
    pthread_mutex_unlock(&client->lock);
}

size_t mqtt5_client_id(struct mqtt5_client *client, char *out, size_t size)
{
    pthread_mutex_lock(&client->lock);
    const struct mqtt5_bytes id = m5_client_id(client->engine);
    if (size > 0)
        snprintf(out, size, "%.*s", (int)id.len, (const char *)id.data);
    pthread_mutex_unlock(&client->lock);
    return id.len;
}

void mqtt5_client_why(struct mqtt5_client *client, char *out, size_t size)
{
    pthread_mutex_lock(&client->lock);
    snprintf(out, size, "%s", client->why);
    pthread_mutex_unlock(&client->lock);
}
