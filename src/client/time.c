/* Time: keep-alive, the limits of waits, the clock of all that.
 *
 * PINGREQ goes out when we, or the server, have been silent for three quarters of the interval. The
 * server has the same three quarters again to show a sign of life, counted from when the PINGREQ
 * was taken by the transport, so that a long output before it is not held against the server; an
 * output that makes no progress for one and a half intervals is a dead connection as well.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/state.h"

/* Keep-alive in quarters of its interval: PINGREQ goes out after three, which leaves the answer's
 * way and a late timer one; three more without a sign of the server, and it is gone. */
#define PING_QUARTERS    3u
#define MS_PER_QUARTER_S 250u

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t quarters_ms(const struct m5_client *client)
{
    return (uint64_t)client->info.keep_alive_s * PING_QUARTERS * MS_PER_QUARTER_S;
}

/* When PINGREQ is due: we have been silent [MQTT-3.1.2-20], or the server has and was not asked. */
static uint64_t ping_due_ms(const struct m5_client *client)
{
    return earlier(client->sent_at_ms, client->received_at_ms) + quarters_ms(client);
}

static uint64_t dead_at_ms(const struct m5_client *client)
{
    if (!client->ping_outstanding)
        return UINT64_MAX;
    return client->ping_left > 0 ? client->progress_at_ms + 2 * quarters_ms(client)
                                 : client->pinged_at_ms + quarters_ms(client);
}

static uint64_t connection_deadline_ms(const struct m5_client *client)
{
    switch (client->state) {
    case MQTT5_CLIENT_WAITING:
    case MQTT5_CLIENT_DISCONNECTED: return UINT64_MAX;
    case MQTT5_CLIENT_CONNECTING: return client->opened_at_ms + client->config.connect_timeout_ms;
    case MQTT5_CLIENT_CONNECTED:
        if (client->info.keep_alive_s == 0)
            return UINT64_MAX;
        return client->ping_outstanding ? dead_at_ms(client) : ping_due_ms(client);
    case MQTT5_CLIENT_CLOSING: return client->progress_at_ms + M5_CLIENT_CLOSE_GRACE_MS;
    }
    M5_UNREACHABLE();
}

uint64_t m5_client_deadline_ms(const struct m5_client *client)
{
    return earlier(connection_deadline_ms(client), client->deferrals.lapse_due_ms);
}

bool m5_client_send_ping(struct m5_client *client)
{
    const struct mqtt5_packet ping = {.type = MQTT5_PINGREQ};
    if (!m5_client_send_packet(client, &ping))
        return false;
    client->pings_sent++;
    if (client->ping_outstanding)
        return true; /* the first one's answer is still due */
    client->ping_outstanding = true;
    client->pinged_at_ms = client->now_ms;
    client->ping_left = m5_client_buffer_size(&client->out);
    return true;
}

static void keep_alive(struct m5_client *client)
{
    if (client->now_ms >= dead_at_ms(client)) {
        m5_client_close_with(client, MQTT5_ERR_TIMEOUT);
        return;
    }
    if (!client->ping_outstanding)
        (void)m5_client_send_ping(client); /* without memory the connection has ended */
}

void m5_client_tick(struct m5_client *client, uint64_t now_ms)
{
    if (now_ms > client->now_ms)
        client->now_ms = now_ms;
    if (client->now_ms >= client->deferrals.lapse_due_ms)
        m5_client_deferrals_lapse(client);
    if (client->now_ms < connection_deadline_ms(client))
        return;
    switch (client->state) {
    case MQTT5_CLIENT_WAITING:
    case MQTT5_CLIENT_DISCONNECTED: break;
    case MQTT5_CLIENT_CONNECTING: m5_client_close_with(client, MQTT5_ERR_TIMEOUT); break;
    case MQTT5_CLIENT_CONNECTED: keep_alive(client); break;
    case MQTT5_CLIENT_CLOSING: client->drop_output = true; break;
    }
}
