/* The engine's events as log lines.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/log_event.h"

#include "base/bytes.h"

#include <mqtt5/reason_code.h>

/* The name of each event in the log. */
static enum m5_log_event log_event_of(enum m5_event_type type)
{
    switch (type) {
    case M5_EVENT_CLIENT_CONNECTED: return M5_LOG_CLIENT_CONNECTED;
    case M5_EVENT_CLIENT_REFUSED: return M5_LOG_CLIENT_REFUSED;
    case M5_EVENT_CLIENT_DISCONNECTED: return M5_LOG_CLIENT_DISCONNECTED;
    case M5_EVENT_CLIENT_LOST: return M5_LOG_CLIENT_LOST;
    case M5_EVENT_CONNECTION_DROPPED: return M5_LOG_CONNECTION_DROPPED;
    case M5_EVENT_SESSION_TAKEN_OVER: return M5_LOG_SESSION_TAKEN_OVER;
    case M5_EVENT_SESSION_EXPIRED: return M5_LOG_SESSION_EXPIRED;
    case M5_EVENT_SUBSCRIBED: return M5_LOG_CLIENT_SUBSCRIBED;
    case M5_EVENT_UNSUBSCRIBED: return M5_LOG_CLIENT_UNSUBSCRIBED;
    case M5_EVENT_QUEUE_FULL: return M5_LOG_QUEUE_FULL;
    case M5_EVENT_LIMIT: return M5_LOG_LIMIT_REACHED;
    }
    return M5_LOG_LIMIT_REACHED;
}

static struct mqtt5_bytes cut(const uint8_t *bytes, size_t size, size_t size_max)
{
    return m5_bytes(bytes, size < size_max ? size : size_max);
}

static void put_view(struct m5_log *log, const char *name, struct mqtt5_bytes value)
{
    if (value.len > 0)
        m5_log_text(log, name, value);
}

/* Addresses are ours and end in a zero here: they need no quotes. */
static void put_peer(struct m5_log *log, struct mqtt5_bytes peer)
{
    char text[sizeof((struct m5_event *)NULL)->peer + 1];
    if (peer.len == 0)
        return;
    *m5_copy((uint8_t *)text, peer) = 0;
    m5_log_word(log, "peer", text);
}

static void put_connect(struct m5_log *log, const struct m5_event *event)
{
    m5_log_number(log, "version", event->version);
    m5_log_word(log, "clean_start", event->clean_start ? "true" : "false");
    m5_log_word(log, "session_present", event->session_present ? "true" : "false");
    m5_log_number(log, "keep_alive_s", event->keep_alive_s);
}

static void put_reason(struct m5_log *log, const struct m5_event *event)
{
    static const char digits[] = "0123456789abcdef";
    if (event->reason_code != 0) {
        const char hex[] = {'0', 'x', digits[event->reason_code >> 4],
                            digits[event->reason_code & 15], 0};
        m5_log_word(log, "reason", hex);
        m5_log_text(log, "reason_text", m5_bytes_of(mqtt5_reason_text(event->reason_code)));
    }
    if (event->error != MQTT5_OK)
        m5_log_text(log, "error", m5_bytes_of(mqtt5_error_text(event->error)));
}

static void put_event(struct m5_log *log, const struct m5_event *event)
{
    if (!m5_log_begin(log, log_event_of(event->type)))
        return;
    put_view(log, "client", cut(event->client_id, event->client_id_size, sizeof event->client_id));
    put_peer(log, cut(event->peer, event->peer_size, sizeof event->peer));
    if (event->type == M5_EVENT_CLIENT_CONNECTED)
        put_connect(log, event);
    put_view(log, "topic", cut(event->topic, event->topic_size, sizeof event->topic));
    put_reason(log, event);
    if (event->text != NULL)
        m5_log_text(log, event->type == M5_EVENT_LIMIT ? "limit" : "why", m5_bytes_of(event->text));
    m5_log_end(log);
}

void m5_log_shard_events(struct m5_log *log, struct m5_shard *shard)
{
    struct m5_event event;
    while (m5_shard_next_event(shard, &event))
        put_event(log, &event);
}
