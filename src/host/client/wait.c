/* Blocking forms: waiting for an end, doing the client's work meanwhile where nobody else does.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/host.h"

#include <string.h>
#include <time.h>

void m5_client_host_pump_begin(struct mqtt5_client *client)
{
    client->pumping = true;
    client->pump = pthread_self();
}

void m5_client_host_pump_end(struct mqtt5_client *client)
{
    client->pumping = false;
    pthread_cond_broadcast(&client->changed);
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

static uint64_t deadline_after(const struct mqtt5_client *client, uint32_t timeout_ms)
{
    return timeout_ms == MQTT5_FOREVER ? UINT64_MAX : m5_client_host_now(client) + timeout_ms;
}

/* Does a turn as the pump, sleeping when it found nothing to do, and one more then. */
static void pump_once(struct mqtt5_client *client, uint64_t deadline_ms)
{
    m5_client_host_pump_begin(client);
    const bool progress = m5_client_host_turn(client);
    if (!client->free_asked) {
        const uint64_t now = m5_client_host_now(client);
        const uint64_t left = deadline_ms > now && !progress ? deadline_ms - now : 0;
        m5_client_host_sleep(client, left < MQTT5_FOREVER ? (uint32_t)left : MQTT5_FOREVER);
        if (!progress)
            m5_client_host_turn(client);
    }
    if (!client->free_asked)
        m5_client_host_watch(client); /* the user's loop may be what waits next */
    m5_client_host_pump_end(client);
}

static bool is_driven(const struct mqtt5_client *client)
{
    return client->has_thread || client->loop != NULL;
}

bool m5_client_host_wait(struct mqtt5_client *client, m5_client_over_fn *is_over, const void *ctx,
                         uint32_t timeout_ms)
{
    const uint64_t deadline_ms = deadline_after(client, timeout_ms);
    client->waiters++;
    m5_client_host_nudge(client);
    while (!is_over(client, ctx) && !client->free_asked && !client->stopping) {
        if (m5_client_host_now(client) >= deadline_ms)
            break;
        if (client->pumping || is_driven(client))
            wait_until(client, deadline_ms);
        else
            pump_once(client, deadline_ms);
    }
    client->waiters--;
    if (client->stopping)
        pthread_cond_broadcast(&client->changed);
    return is_over(client, ctx);
}

static bool op_is_over(const struct mqtt5_client *client, const void *ctx)
{
    const struct m5_client_op *op = ctx;
    (void)client;
    return op->finished;
}

enum mqtt5_error m5_client_host_await(struct mqtt5_client *client, struct m5_client_op *op,
                                      uint32_t timeout_ms, struct m5_client_op *out,
                                      uint8_t *reasons)
{
    if (!m5_client_host_wait(client, op_is_over, op, timeout_ms)) {
        op->waited_for = false;
        return client->stopping ? MQTT5_ERR_CLOSED : MQTT5_ERR_TIMEOUT;
    }
    const enum mqtt5_error error = op->error;
    if (out != NULL)
        *out = *op;
    if (reasons != NULL && op->count > 0)
        memcpy(reasons, op->reason_codes, op->count);
    m5_client_host_op_free(client, op);
    return error;
}

enum mqtt5_error m5_client_host_leave(struct mqtt5_client *client, enum mqtt5_error error)
{
    if (client->free_asked && !client->pumping && !is_driven(client)) {
        m5_client_host_destroy(client);
        return MQTT5_ERR_CLOSED;
    }
    pthread_mutex_unlock(&client->lock);
    return error;
}

enum mqtt5_error mqtt5_client_process(struct mqtt5_client *client, uint32_t timeout_ms)
{
    pthread_mutex_lock(&client->lock);
    const uint64_t deadline_ms = deadline_after(client, timeout_ms);
    if (client->config->own_thread || client->loop != NULL || m5_client_host_in_callback(client)) {
        pthread_mutex_unlock(&client->lock);
        return MQTT5_ERR_INVALID_STATE;
    }
    client->waiters++;
    while (client->pumping && !client->stopping && m5_client_host_now(client) < deadline_ms)
        wait_until(client, deadline_ms);
    client->waiters--;
    if (client->stopping)
        pthread_cond_broadcast(&client->changed);
    else if (!client->pumping)
        pump_once(client, deadline_ms);
    return m5_client_host_leave(client, MQTT5_OK);
}
