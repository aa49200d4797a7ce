/* Events for the host's log: a bounded ring; what does not fit is counted.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/shard.h"

void m5_event_text(uint8_t *out, size_t max, size_t *size, struct mqtt5_bytes text)
{
    *size = text.len < max ? text.len : max;
    m5_copy(out, m5_bytes(text.data, *size));
}

struct m5_event *m5_event_new(struct m5_shard *shard, enum m5_event_type type,
                              const struct m5_conn *conn)
{
    if (shard->events == NULL)
        return NULL;
    if (shard->event_count == M5_EVENTS_MAX) {
        M5_COUNT(shard, events_dropped, 1);
        return NULL;
    }
    struct m5_event *event =
        &shard->events[(shard->event_first + shard->event_count++) % M5_EVENTS_MAX];
    event->type = type;
    event->reason_code = 0;
    event->version = 0;
    event->clean_start = event->session_present = false;
    event->keep_alive_s = 0;
    event->error = MQTT5_OK;
    event->text = NULL;
    event->client_id_size = event->peer_size = event->topic_size = 0;
    if (conn == NULL)
        return event;
    event->version = conn->version;
    m5_event_text(event->peer, sizeof event->peer, &event->peer_size, m5_conn_peer(conn));
    if (conn->session != NULL)
        m5_event_text(event->client_id, sizeof event->client_id, &event->client_id_size,
                      conn->session->principal.client_id);
    return event;
}

void m5_event_limit(struct m5_shard *shard, const struct m5_conn *conn, const char *name)
{
    struct m5_event *event = m5_event_new(shard, M5_EVENT_LIMIT, conn);
    if (event != NULL)
        event->text = name;
}

bool m5_shard_next_event(struct m5_shard *shard, struct m5_event *out)
{
    if (shard->event_count == 0)
        return false;
    *out = shard->events[shard->event_first];
    shard->event_first = (shard->event_first + 1) % M5_EVENTS_MAX;
    shard->event_count--;
    return true;
}
