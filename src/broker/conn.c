/* Connections: framing of input, queueing of output, closing.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/conn.h"

#include "broker/shard.h"

/* A packet larger than this is read into a buffer of its own instead of the shard's. */
#define LARGE_PACKET            (M5_READ_BUFFER / 2)
/* What is read at a time where it may have to wait: then it is copied to and fro. */
#define METERED_READ            (16u * 1024u)
#define LINGER_MS               5000u /* for the last packets to a peer that does not read */
#define CONNECTIONS_REFUSED_MAX 256u  /* beyond connections_max, to be told so by CONNACK */

/* ---- life ---- */

static uint64_t connections(const struct m5_shard *shard)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < shard->engine->shard_count; i++)
        sum += m5_get(&shard->engine->shards[i].counters.connections);
    return sum;
}

static void apply_limits(struct m5_conn *conn, const struct m5_conn_limits *limits)
{
    if (limits == NULL)
        return;
    conn->keep_alive_s = limits->keep_alive_max_s;
    if (limits->maximum_packet_size != 0 && limits->maximum_packet_size < conn->input_size_max)
        conn->input_size_max = limits->maximum_packet_size;
}

struct m5_conn *m5_conn_open(struct m5_shard *shard, void *host,
                             const struct m5_conn_origin *origin)
{
    uint64_t max = shard->config->connections_max;
    uint64_t count = max == 0 ? 0 : connections(shard);
    if (shard->draining)
        return NULL;
    if (max != 0 && count >= max + CONNECTIONS_REFUSED_MAX) {
        M5_COUNT(shard, limit_connections, 1);
        return NULL;
    }
    struct m5_conn *conn = m5_pool_take(&shard->conn_pool);
    if (conn == NULL) {
        M5_COUNT(shard, limit_memory, 1);
        return NULL;
    }
    *conn = (struct m5_conn){.shard = shard,
                             .host = host,
                             .packet_size_max = UINT32_MAX,
                             .input_size_max = shard->config->maximum_packet_size,
                             .listener = (uint16_t)origin->listener,
                             .problem_information = true,
                             .will_kept = true,
                             .over_limit = max != 0 && count >= max,
                             .last_packet_ms = shard->now_ms};
    m5_list_init(&conn->dirty);
    m5_list_init(&conn->leaving);
    m5_list_init(&conn->resumed);
    m5_list_push_back(&shard->open, &conn->open);
    apply_limits(conn, origin->limits);
    m5_conn_readdress(conn, origin->peer);
    m5_alarm_init(&conn->alarm, M5_ALARM_CONN);
    m5_timer_start(&shard->wheel, &conn->alarm.timer,
                   shard->now_ms + shard->config->connect_timeout_ms);
    shard->conn_count++;
    M5_COUNT(shard, connections, 1);
    M5_COUNT(shard, connections_opened, 1);
    return conn;
}

void m5_conn_readdress(struct m5_conn *conn, struct mqtt5_bytes peer)
{
    conn->peer_size = (uint8_t)(peer.len < sizeof conn->peer ? peer.len : sizeof conn->peer);
    m5_copy(conn->peer, m5_bytes(peer.data, conn->peer_size));
}

void *m5_conn_host(const struct m5_conn *conn)
{
    return conn->host;
}

struct mqtt5_bytes m5_conn_peer(const struct m5_conn *conn)
{
    return m5_bytes(conn->peer, conn->peer_size);
}

uint32_t m5_conn_listener(const struct m5_conn *conn)
{
    return conn->listener;
}

static void drop_partial(struct m5_conn *conn)
{
    m5_free(conn->shard->allocator, conn->partial, conn->partial_capacity);
    conn->partial = NULL;
    conn->partial_size = conn->partial_capacity = conn->packet_awaited = 0;
}

static void report_end(struct m5_conn *conn, bool had_session)
{
    enum m5_event_type type = !had_session                     ? M5_EVENT_CONNECTION_DROPPED
                              : conn->state == M5_CONN_CLOSING ? M5_EVENT_CLIENT_DISCONNECTED
                                                               : M5_EVENT_CLIENT_LOST;
    struct m5_event *event = m5_event_new(conn->shard, type, conn);
    if (event == NULL)
        return;
    event->reason_code = conn->close_reason;
    event->error = conn->error;
}

void m5_conn_detach(struct m5_conn *conn)
{
    struct m5_session *session = conn->session;
    if (m5_list_linked(&conn->leaving))
        m5_list_remove(&conn->leaving);
    if (session == NULL)
        return;
    report_end(conn, true);
    conn->session = NULL;
    session->conn = NULL;
    M5_UNCOUNT(conn->shard, clients_connected, 1);
    m5_session_offline(conn->shard, session, conn->will_kept);
}

void m5_conn_free(struct m5_conn *conn)
{
    struct m5_shard *shard = conn->shard;
    if (conn->session != NULL)
        m5_conn_detach(conn);
    else if ((conn->version == 0 || m5_exchange_waits(conn)) && conn->state != M5_CONN_MOVING)
        report_end(conn, false);
    m5_timer_stop(&shard->wheel, &conn->alarm.timer);
    m5_quota_detach(conn);
    m5_output_clear(&conn->output, &shard->chunks);
    drop_partial(conn);
    m5_suback_free(conn);
    m5_exchange_free(conn);
    m5_hold_forget(shard, &conn->held);
    m5_alias_in_fini(&conn->alias_in, shard->allocator);
    m5_alias_out_free(conn->alias_out, shard->allocator);
    m5_list_remove(&conn->dirty);
    m5_list_remove(&conn->open);
    m5_list_remove(&conn->resumed);
    shard->conn_count--;
    M5_UNCOUNT(shard, connections, 1);
    m5_pool_give(&shard->conn_pool, conn);
}

void m5_conn_lost(struct m5_conn *conn)
{
    if (conn->state == M5_CONN_OPEN)
        conn->error = MQTT5_ERR_CLOSED;
    m5_conn_free(conn);
}

/* ---- output ---- */

void m5_conn_touch(struct m5_conn *conn)
{
    if (!m5_list_linked(&conn->dirty))
        m5_list_push_back(&conn->shard->dirty, &conn->dirty);
}

enum m5_want m5_conn_want(const struct m5_conn *conn)
{
    if (conn->state == M5_CONN_MOVING)
        return M5_WANT_MOVE;
    if (conn->corked)
        return M5_WANT_NOTHING;
    if (conn->output.size > 0)
        return M5_WANT_FLUSH;
    if (conn->held != NULL)
        return M5_WANT_NOTHING;
    return conn->state == M5_CONN_CLOSING ? M5_WANT_CLOSE : M5_WANT_NOTHING;
}

size_t m5_conn_output(const struct m5_conn *conn, struct mqtt5_bytes *views, size_t max)
{
    return m5_output_views(&conn->output, views, max);
}

/* The peer asks and does not read the answers: until it does, nothing is read from it. Messages
 * stop at output_bytes_max, answers at twice as much. */
static bool is_deaf(const struct m5_conn *conn)
{
    return conn->output.size / 2 >= conn->shard->config->output_bytes_max;
}

void m5_conn_sent(struct m5_conn *conn, size_t size)
{
    struct m5_shard *shard = conn->shard;
    bool was_deaf = is_deaf(conn);
    m5_output_sent(&conn->output, &shard->chunks, size);
    if (was_deaf && !is_deaf(conn))
        m5_conn_resume_later(conn);
    M5_COUNT(shard, bytes_sent, size);
    struct m5_session *session = conn->session;
    if (conn->state != M5_CONN_OPEN || conn->output.size >= M5_OUTPUT_HIGH_WATER / 2)
        return;
    if (session->waiting > 0)
        m5_delivery_pump(shard, session);
    if (session->retained != NULL)
        m5_retained_continue(shard, session);
}

static void begin_closing(struct m5_conn *conn)
{
    struct m5_shard *shard = conn->shard;
    conn->state = M5_CONN_CLOSING;
    conn->silent = true;
    m5_quota_detach(conn);
    if (conn->corked) { /* what is not known to be true is not said */
        m5_output_clear(&conn->output, &shard->chunks);
        m5_hold_forget(shard, &conn->held);
        conn->corked = false;
    }
    if (conn->session != NULL)
        m5_list_push_back(&shard->leaving, &conn->leaving);
    m5_timer_start(&shard->wheel, &conn->alarm.timer, shard->now_ms + LINGER_MS);
    m5_conn_touch(conn);
}

void m5_conn_abort(struct m5_conn *conn)
{
    if (conn->state == M5_CONN_CLOSING)
        return;
    conn->error = MQTT5_ERR_NOMEM;
    conn->close_reason = MQTT5_REASON_SERVER_BUSY;
    M5_COUNT(conn->shard, limit_memory, 1);
    m5_output_clear(&conn->output, &conn->shard->chunks);
    m5_hold_forget(conn->shard, &conn->held);
    begin_closing(conn);
}

uint8_t *m5_conn_packet_room(struct m5_conn *conn, size_t size)
{
    if (conn->silent)
        return NULL;
    uint8_t *at = m5_output_reserve(&conn->output, &conn->shard->chunks, size);
    if (at == NULL) {
        m5_conn_abort(conn);
        return NULL;
    }
    M5_COUNT(conn->shard, packets_sent, 1);
    m5_conn_touch(conn);
    return at;
}

/* The same for an answer, which may have to wait. */
static uint8_t *answer_room(struct m5_conn *conn, size_t size, uint64_t position)
{
    bool first = conn->held == NULL || conn->held->answers.size == 0;
    if (m5_hold_reached(conn->shard, position) && first)
        return m5_conn_packet_room(conn, size);
    if (conn->silent)
        return NULL;
    uint8_t *at = m5_hold_answer(conn, size, position);
    if (at == NULL)
        m5_conn_abort(conn);
    else
        M5_COUNT(conn->shard, packets_sent, 1);
    return at;
}

static struct mqtt5_properties *properties_of(struct mqtt5_packet *packet)
{
    switch (packet->type) {
    case MQTT5_CONNACK: return &packet->as.connack.properties;
    case MQTT5_PUBACK:
    case MQTT5_PUBREC:
    case MQTT5_PUBREL:
    case MQTT5_PUBCOMP: return &packet->as.ack.properties;
    case MQTT5_SUBACK:
    case MQTT5_UNSUBACK: return &packet->as.suback.properties;
    case MQTT5_DISCONNECT: return &packet->as.disconnect.properties;
    case MQTT5_AUTH: return &packet->as.auth.properties;
    default: M5_UNREACHABLE();
    }
}

static void leave_out_reasons(struct mqtt5_properties *properties)
{
    properties->present &= ~((uint64_t)1 << MQTT5_PROPERTY_REASON_STRING |
                             (uint64_t)1 << MQTT5_PROPERTY_USER_PROPERTY);
}

void m5_conn_resume_later(struct m5_conn *conn)
{
    if (!m5_list_linked(&conn->resumed))
        m5_list_push_back(&conn->shard->resumed, &conn->resumed);
    m5_conn_touch(conn);
}

/* PINGRESP and CONNACK wait for nothing. */
static uint8_t *room_for(struct m5_conn *conn, const struct mqtt5_packet *packet, size_t size,
                         uint64_t position)
{
    bool answer = packet->type != MQTT5_PINGRESP && packet->type != MQTT5_CONNACK;
    return answer ? answer_room(conn, size, position) : m5_conn_packet_room(conn, size);
}

bool m5_conn_send(struct m5_conn *conn, struct mqtt5_packet *packet)
{
    return m5_conn_send_answer(conn, packet, 0);
}

bool m5_conn_send_answer(struct m5_conn *conn, struct mqtt5_packet *packet, uint64_t position)
{
    uint8_t version = conn->version == 0 ? (uint8_t)MQTT5_VERSION_3_1_1 : conn->version;
    bool plain = packet->type == MQTT5_PINGRESP;
    if (!plain && !conn->problem_information && packet->type != MQTT5_CONNACK &&
        packet->type != MQTT5_DISCONNECT)
        leave_out_reasons(properties_of(packet)); /* [MQTT-3.1.2-29] */
    size_t size = mqtt5_packet_size(packet, version);
    if (size > conn->packet_size_max && !plain) {
        /* [MQTT-3.2.2-19] [MQTT-3.2.2-20] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2]
         * [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3]
         * [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2] [MQTT-3.14.2-3]
         * [MQTT-3.14.2-4] [MQTT-3.15.2-2] [MQTT-3.15.2-3] */
        leave_out_reasons(properties_of(packet));
        size = mqtt5_packet_size(packet, version);
    }
    M5_ASSERT(size > 0);
    if (size > conn->packet_size_max) {
        M5_COUNT(conn->shard, limit_packet_size, 1);
        return false;
    }
    uint8_t *at = room_for(conn, packet, size, position);
    if (at == NULL)
        return false;
    mqtt5_packet_write(packet, version, at, size);
    return true;
}

/* Chooses the alias, if the client allows some [MQTT-3.1.2-26] [MQTT-3.1.2-27]. True: a new one,
 * which has to be undone when the packet is not sent. */
static bool choose_alias(struct m5_conn *conn, struct mqtt5_bytes topic,
                         struct m5_publish_shape *shape)
{
    uint32_t hash = (uint32_t)m5_shard_hash(conn->shard, topic);
    bool known;
    shape->alias = m5_alias_out_get(conn->alias_out, conn->shard->allocator, topic, hash, &known);
    shape->topic_known = shape->alias != 0 && known;
    return shape->alias != 0 && !known;
}

enum m5_write m5_conn_write_message(struct m5_conn *conn, const struct m5_message_view *message,
                                    struct m5_publish_shape *shape)
{
    struct m5_shard *shard = conn->shard;
    bool fresh = conn->alias_out != NULL && choose_alias(conn, message->topic, shape);
    uint32_t size = m5_publish_frame_size(message, shape);
    if (size > conn->packet_size_max && shape->alias != 0) { /* it may fit without */
        if (fresh)
            m5_alias_out_undo(conn->alias_out, shard->allocator);
        fresh = shape->topic_known = false;
        shape->alias = 0;
        size = m5_publish_frame_size(message, shape);
    }
    enum m5_write result = M5_WRITE_OK;
    uint8_t *at = NULL;
    if (size > conn->packet_size_max)
        result = M5_WRITE_TOO_LARGE;
    else if ((at = m5_conn_packet_room(conn, size)) == NULL)
        result = M5_WRITE_FAILED;
    if (result != M5_WRITE_OK) {
        if (fresh)
            m5_alias_out_undo(conn->alias_out, shard->allocator);
        return result;
    }
    m5_publish_frame_write(message, shape, shard->now_ms, at, NULL);
    M5_COUNT(shard, publish_sent, 1);
    M5_COUNT(shard, publish_bytes_sent, message->payload.len);
    if (conn->meter != NULL)
        m5_meter_sent(conn, size);
    return M5_WRITE_OK;
}

/* ---- closing ---- */

static void send_disconnect(struct m5_conn *conn, uint8_t reason, const char *text)
{
    struct mqtt5_packet packet = {.type = MQTT5_DISCONNECT, .as.disconnect.reason_code = reason};
    if (text != NULL) {
        MQTT5_SET(&packet.as.disconnect.properties, REASON_STRING);
        packet.as.disconnect.properties.reason_string = m5_bytes_of(text);
    }
    m5_conn_send(conn, &packet);
}

void m5_conn_close(struct m5_conn *conn, uint8_t reason, const char *text)
{
    if (conn->state == M5_CONN_CLOSING)
        return;
    conn->close_reason = reason;
    if (conn->state == M5_CONN_OPEN && conn->version == MQTT5_VERSION_5 && !conn->by_client)
        send_disconnect(conn, reason, text);
    if (conn->state != M5_CONN_CLOSING)
        begin_closing(conn);
}

void m5_count_error(struct m5_shard *shard, enum mqtt5_error error)
{
    if (error == MQTT5_ERR_TOPIC_LEVELS) {
        M5_COUNT(shard, limit_topic_levels, 1);
        return;
    }
    switch (mqtt5_error_reason(error)) {
    case MQTT5_REASON_MALFORMED_PACKET: M5_COUNT(shard, errors_malformed, 1); break;
    case MQTT5_REASON_PACKET_TOO_LARGE: M5_COUNT(shard, limit_packet_size, 1); break;
    case MQTT5_REASON_RECEIVE_MAXIMUM_EXCEEDED: M5_COUNT(shard, limit_receive_maximum, 1); break;
    case MQTT5_REASON_QUOTA_EXCEEDED: M5_COUNT(shard, limit_user_properties, 1); break;
    default: M5_COUNT(shard, errors_protocol, 1);
    }
}

void m5_conn_fail(struct m5_conn *conn, enum mqtt5_error error)
{
    if (error == MQTT5_ERR_NOMEM) {
        m5_conn_abort(conn);
        return;
    }
    if (conn->state == M5_CONN_CLOSING)
        return;
    conn->error = error;
    m5_count_error(conn->shard, error);
    m5_conn_close(conn, (uint8_t)mqtt5_error_reason(error), mqtt5_error_text(error));
}

/* It has sent more than it may: until that is paid for, nothing is read from it. */
static bool is_throttled(const struct m5_conn *conn)
{
    return conn->meter != NULL && m5_meter_stops(conn->meter);
}

void m5_conn_alarm(struct m5_conn *conn)
{
    struct m5_shard *shard = conn->shard;
    if (conn->state == M5_CONN_CLOSING) {
        m5_output_clear(&conn->output, &shard->chunks);
        m5_hold_forget(shard, &conn->held);
        m5_conn_touch(conn);
        return;
    }
    if (conn->state == M5_CONN_NEW) {
        M5_COUNT(shard, limit_connect_timeout, 1);
        conn->error = MQTT5_ERR_TIMEOUT;
        m5_conn_close(conn, MQTT5_REASON_SUCCESS, NULL);
        return;
    }
    if (conn->state != M5_CONN_OPEN)
        return;
    /* One and a half times the keep-alive [MQTT-3.1.2-22]. The alarm is not moved by every packet:
     * it looks when it rings. */
    if (is_throttled(conn) || conn->corked)
        conn->last_packet_ms = shard->now_ms; /* we do not listen, or it waits for us */
    uint64_t due = conn->last_packet_ms + conn->keep_alive_s * 1500u;
    m5_delivery_trim(shard, conn->session);
    if (due > shard->now_ms) {
        m5_timer_start(&shard->wheel, &conn->alarm.timer, due);
        return;
    }
    M5_COUNT(shard, limit_keep_alive, 1);
    conn->error = MQTT5_ERR_TIMEOUT;
    m5_conn_close(conn, MQTT5_REASON_KEEP_ALIVE_TIMEOUT, NULL);
}

/* ---- packets ---- */

uint8_t *m5_conn_ack_room(struct m5_conn *conn, uint32_t count, uint64_t position)
{
    uint8_t *at = answer_room(conn, 4 * (size_t)count, position);
    if (at != NULL)
        M5_COUNT(conn->shard, packets_sent, count - 1);
    return at;
}

void m5_conn_answer(struct m5_conn *conn, uint8_t type, uint16_t packet_id, uint8_t reason,
                    uint64_t position)
{
    bool with_reason = reason != MQTT5_REASON_SUCCESS && conn->version == MQTT5_VERSION_5;
    uint8_t *at = answer_room(conn, with_reason ? 5 : 4, position);
    if (at == NULL)
        return;
    at[0] = (uint8_t)(type << 4 | (type == MQTT5_PUBREL ? 2 : 0));
    at[1] = with_reason ? 3 : 2;
    m5_write_u16(at + 2, packet_id);
    if (with_reason)
        at[4] = reason;
}

static void apply_ack(struct m5_conn *conn, uint8_t type, uint16_t packet_id, uint8_t reason)
{
    struct m5_shard *shard = conn->shard;
    struct m5_session *session = conn->session;
    switch (type) {
    case MQTT5_PUBACK: m5_delivery_puback(shard, session, packet_id); break;
    case MQTT5_PUBREC:
        if (!m5_delivery_pubrec(shard, session, packet_id, reason >= 0x80) && reason < 0x80)
            m5_conn_answer(conn, MQTT5_PUBREL, packet_id, MQTT5_REASON_PACKET_IDENTIFIER_NOT_FOUND,
                           0);
        break;
    case MQTT5_PUBREL:
        m5_run_flush(shard); /* its PUBREC goes first */
        reason = m5_id_set_remove(&session->incoming, packet_id)
                     ? MQTT5_REASON_SUCCESS
                     : MQTT5_REASON_PACKET_IDENTIFIER_NOT_FOUND;
        m5_persist_incoming_gone(shard, session, packet_id);
        m5_conn_answer(conn, MQTT5_PUBCOMP, packet_id, reason,
                       m5_persist_position(shard, session, true)); /* [MQTT-4.3.3-11] */
        break;
    default: m5_delivery_pubcomp(shard, session, packet_id);
    }
}

static void handle_ack(struct m5_conn *conn, const struct mqtt5_frame *frame)
{
    struct mqtt5_decode_limits limits = m5_shard_limits(conn->shard);
    struct mqtt5_ack ack;
    enum mqtt5_error error = mqtt5_ack_decode(frame, conn->version, &limits, &ack);
    if (error == MQTT5_OK)
        apply_ack(conn, frame->type, ack.packet_id, ack.reason_code);
    else
        m5_conn_fail(conn, error);
}

static void handle_disconnect(struct m5_conn *conn, const struct mqtt5_reasoned *packet)
{
    struct m5_session *session = conn->session;
    if (MQTT5_HAS(&packet->properties, SESSION_EXPIRY_INTERVAL)) {
        uint32_t expiry_s = packet->properties.session_expiry_interval_s;
        if (session->expiry_s == 0 && expiry_s != 0) {
            m5_conn_fail(conn, MQTT5_ERR_PROTOCOL);
            return;
        }
        session->expiry_s = expiry_s < conn->shard->config->session_expiry_max_s
                                ? expiry_s
                                : conn->shard->config->session_expiry_max_s;
    }
    /* Reason code 0 takes the will back [MQTT-3.14.4-3] [MQTT-3.1.2-10]. */
    conn->will_kept = packet->reason_code != MQTT5_REASON_SUCCESS;
    conn->by_client = true;
    m5_conn_close(conn, packet->reason_code, NULL);
}

static void handle_other(struct m5_conn *conn, const struct mqtt5_frame *frame)
{
    if (frame->type == MQTT5_AUTH) {
        m5_handle_auth(conn, frame);
        return;
    }
    struct mqtt5_decode_limits limits = m5_shard_limits(conn->shard);
    struct mqtt5_packet packet;
    enum mqtt5_error error = mqtt5_packet_decode(frame, conn->version, &limits, &packet);
    if (error != MQTT5_OK) {
        m5_conn_fail(conn, error);
        return;
    }
    struct mqtt5_packet pong = {.type = MQTT5_PINGRESP};
    if (conn->meter != NULL && frame->type == MQTT5_SUBSCRIBE)
        m5_meter_took(conn, packet.as.subscribe.count, frame->size, true);
    else if (conn->meter != NULL && frame->type == MQTT5_UNSUBSCRIBE)
        m5_meter_took(conn, packet.as.unsubscribe.count, frame->size, true);
    switch (frame->type) {
    case MQTT5_SUBSCRIBE: m5_handle_subscribe(conn, &packet.as.subscribe); break;
    case MQTT5_UNSUBSCRIBE: m5_handle_unsubscribe(conn, &packet.as.unsubscribe); break;
    case MQTT5_PINGREQ:
        m5_conn_send(conn, &pong); /* [MQTT-3.12.4-1] */
        break;
    case MQTT5_DISCONNECT: handle_disconnect(conn, &packet.as.disconnect); break;
    default:
        /* A second CONNECT [MQTT-3.1.0-2], or a packet that only a server sends. */
        m5_conn_fail(conn, MQTT5_ERR_PROTOCOL);
    }
}

/* An acknowledgement of four bytes, as almost all are; false: not one of these. */
static bool handle_short_ack(struct m5_conn *conn, const uint8_t *packet)
{
    uint8_t type = packet[0] >> 4;
    uint16_t packet_id = m5_read_u16(packet + 2);
    if (type < MQTT5_PUBACK || type > MQTT5_PUBCOMP || packet[1] != 2 || packet_id == 0 ||
        (packet[0] & 15) != (type == MQTT5_PUBREL ? 2 : 0))
        return false;
    apply_ack(conn, type, packet_id, MQTT5_REASON_SUCCESS);
    return true;
}

static void handle_packet(struct m5_conn *conn, const struct mqtt5_frame *frame)
{
    switch (frame->type) {
    case MQTT5_PUBLISH: m5_handle_publish(conn, frame); return;
    case MQTT5_PUBACK:
    case MQTT5_PUBREC:
    case MQTT5_PUBREL:
    case MQTT5_PUBCOMP: handle_ack(conn, frame); return;
    default: m5_run_flush(conn->shard); handle_other(conn, frame);
    }
}

/* ---- input ---- */

static uint32_t size_limit(const struct m5_conn *conn)
{
    return conn->state == M5_CONN_NEW ? conn->shard->config->connect_packet_max
                                      : conn->input_size_max;
}

/* Only CONNECT may come first [MQTT-3.1.0-1]; nothing but it may be said before it is read. */
static bool first_byte_fits(const struct m5_conn *conn, uint8_t byte)
{
    return conn->state != M5_CONN_NEW || byte == (MQTT5_CONNECT << 4) || m5_exchange_waits(conn);
}

/* mqtt5_frame_read() for a packet of less than 128 bytes that is there; else the real one. */
static enum mqtt5_error read_frame(const struct m5_conn *conn, struct mqtt5_bytes stream,
                                   struct mqtt5_frame *frame)
{
    uint32_t max = size_limit(conn);
    const uint8_t *at = stream.data;
    if (stream.len < 2 || at[1] >= 128 || stream.len < 2u + at[1] || max < 2u + at[1])
        return mqtt5_frame_read(stream, max, frame);
    frame->type = at[0] >> 4;
    frame->flags = at[0] & 15;
    frame->header_size = 2;
    frame->size = 2u + at[1];
    frame->body = m5_bytes(at + 2, at[1]);
    return MQTT5_OK;
}

static bool is_checking(const struct m5_conn *conn)
{
    return conn->state == M5_CONN_NEW &&
           (conn->check == M5_CHECK_WANTED || conn->check == M5_CHECK_ASKED);
}

/* Handles the whole packets in @p input; returns how many bytes they took. */
static size_t process(struct m5_conn *conn, struct mqtt5_bytes input)
{
    size_t at = 0;
    uint64_t packets = 0;
    conn->packet_awaited = 0;
    while (at < input.len && m5_conn_reading(conn)) {
        struct mqtt5_frame frame;
        if (conn->state == M5_CONN_OPEN && input.len - at >= 4 &&
            handle_short_ack(conn, input.data + at)) {
            at += 4;
            packets++;
            continue;
        }
        if (!first_byte_fits(conn, input.data[at])) {
            m5_conn_fail(conn, MQTT5_ERR_PROTOCOL);
            break;
        }
        enum mqtt5_error error =
            read_frame(conn, m5_bytes(input.data + at, input.len - at), &frame);
        if (error == MQTT5_NEED_MORE) {
            conn->packet_awaited = frame.size;
            break;
        }
        if (error != MQTT5_OK) {
            m5_run_flush(conn->shard);
            m5_conn_fail(conn, error);
            break;
        }
        if (conn->state != M5_CONN_NEW)
            handle_packet(conn, &frame);
        else if (m5_exchange_waits(conn))
            m5_handle_instead(conn, &frame);
        else
            m5_handle_connect(conn, &frame);
        if (is_checking(conn) && !m5_exchange_waits(conn))
            break; /* the CONNECT is read again when there is an answer */
        packets += !conn->counted;
        conn->counted = false;
        if (conn->state == M5_CONN_MOVING)
            break; /* the CONNECT goes along */
        at += frame.size;
    }
    m5_run_flush(conn->shard);
    M5_COUNT(conn->shard, packets_received, packets);
    if (packets > 0) /* half a packet keeps nothing alive */
        conn->last_packet_ms = conn->shard->now_ms;
    return at;
}

static void keep_partial(struct m5_conn *conn, struct mqtt5_bytes rest)
{
    if (rest.len > conn->partial_capacity) {
        uint8_t *larger = m5_alloc(conn->shard->allocator, rest.len);
        if (larger == NULL) {
            m5_conn_abort(conn);
            return;
        }
        m5_free(conn->shard->allocator, conn->partial, conn->partial_capacity);
        conn->partial = larger;
        conn->partial_capacity = (uint32_t)rest.len;
    }
    if (rest.len > 0)
        memmove(conn->partial, rest.data, rest.len);
    conn->partial_size = (uint32_t)rest.len;
    if (rest.len == 0 && conn->partial != NULL)
        drop_partial(conn);
}

static void process_and_keep(struct m5_conn *conn, struct mqtt5_bytes input)
{
    size_t used = process(conn, input);
    if (conn->state == M5_CONN_CLOSING) {
        drop_partial(conn);
        m5_shard_settle(conn->shard);
        return;
    }
    uint32_t awaited = conn->packet_awaited;
    keep_partial(conn, m5_bytes(input.data + used, input.len - used));
    conn->packet_awaited = awaited;
    m5_shard_settle(conn->shard);
}

/* Its answers wait for a store that has too much to do: it is not asked for more. */
static bool waits_for_store(const struct m5_conn *conn)
{
    return conn->held != NULL && m5_journal_full(conn->shard);
}

bool m5_conn_reading(const struct m5_conn *conn)
{
    return (conn->state == M5_CONN_NEW || conn->state == M5_CONN_OPEN) && !conn->paused &&
           !is_checking(conn) && !is_deaf(conn) && !waits_for_store(conn) && !is_throttled(conn) &&
           !m5_list_linked(&conn->resumed);
}

/* Room for more of a large packet in the connection's own buffer: it grows with what has really
 * come, so that an announced length alone costs nothing. */
static bool grow_large(struct m5_conn *conn)
{
    if (conn->partial_size < conn->partial_capacity)
        return true;
    uint64_t wanted = (uint64_t)conn->partial_capacity * 2;
    if (wanted < M5_READ_BUFFER)
        wanted = M5_READ_BUFFER;
    if (wanted > conn->packet_awaited)
        wanted = conn->packet_awaited;
    uint8_t *larger =
        m5_resize(conn->shard->allocator, conn->partial, conn->partial_capacity, (size_t)wanted);
    if (larger == NULL)
        return false;
    conn->partial = larger;
    conn->partial_capacity = (uint32_t)wanted;
    return true;
}

struct m5_span m5_conn_read_space(struct m5_conn *conn)
{
    struct m5_shard *shard = conn->shard;
    if (conn->packet_awaited > LARGE_PACKET && grow_large(conn)) {
        shard->read_base = NULL;
        uint32_t end = conn->partial_capacity < conn->packet_awaited ? conn->partial_capacity
                                                                     : conn->packet_awaited;
        return (struct m5_span){conn->partial + conn->partial_size, end - conn->partial_size};
    }
    if (conn->partial_size > LARGE_PACKET) { /* no memory for more of a large packet */
        m5_conn_abort(conn);
        drop_partial(conn);
    }
    m5_copy(shard->read_buffer, m5_bytes(conn->partial, conn->partial_size));
    shard->read_base = shard->read_buffer;
    size_t room = M5_READ_BUFFER - conn->partial_size;
    if (conn->meter != NULL && room > METERED_READ)
        room = METERED_READ;
    return (struct m5_span){shard->read_buffer + conn->partial_size, room};
}

void m5_conn_received(struct m5_conn *conn, size_t size)
{
    struct m5_shard *shard = conn->shard;
    M5_COUNT(shard, bytes_received, size);
    if (!m5_conn_reading(conn))
        return;
    if (shard->read_base != NULL) {
        process_and_keep(conn, m5_bytes(shard->read_base, conn->partial_size + size));
        return;
    }
    conn->partial_size += (uint32_t)size;
    if (conn->partial_size >= conn->packet_awaited)
        m5_conn_resume_input(conn);
}

void m5_conn_resume_input(struct m5_conn *conn)
{
    m5_exchange_resume(conn);
    uint8_t *input = conn->partial;
    uint32_t size = conn->partial_size, capacity = conn->partial_capacity;
    conn->partial = NULL;
    conn->partial_size = conn->partial_capacity = conn->packet_awaited = 0;
    struct m5_shard *shard = conn->shard;
    if (size > 0)
        process_and_keep(conn, m5_bytes(input, size));
    m5_free(shard->allocator, input, capacity);
    m5_conn_touch(conn);
}

/* Appends to what is unread; aborts without memory. */
static void keep_more(struct m5_conn *conn, struct mqtt5_bytes bytes)
{
    uint32_t size = conn->partial_size + (uint32_t)bytes.len;
    uint8_t *larger =
        m5_resize(conn->shard->allocator, conn->partial, conn->partial_capacity, size);
    if (larger == NULL) {
        m5_conn_abort(conn);
        return;
    }
    m5_copy(larger + conn->partial_size, bytes);
    M5_COUNT(conn->shard, bytes_received, bytes.len);
    conn->partial = larger;
    conn->partial_size = conn->partial_capacity = size;
}

void m5_conn_feed(struct m5_conn *conn, struct mqtt5_bytes bytes)
{
    while (bytes.len > 0 && m5_conn_reading(conn)) {
        struct m5_span span = m5_conn_read_space(conn);
        if (!m5_conn_reading(conn))
            return;
        size_t part = bytes.len < span.size ? bytes.len : span.size;
        memcpy(span.data, bytes.data, part);
        m5_conn_received(conn, part);
        bytes = m5_bytes(bytes.data + part, bytes.len - part);
    }
    if (bytes.len > 0 && conn->state != M5_CONN_CLOSING)
        keep_more(conn, bytes);
}

void m5_conn_refeed(struct m5_conn *conn, struct mqtt5_bytes bytes)
{
    struct m5_shard *shard = conn->shard;
    uint64_t before = m5_get(&shard->counters.bytes_received);
    conn->counted = true;
    m5_conn_feed(conn, bytes);
    M5_UNCOUNT(shard, bytes_received, m5_get(&shard->counters.bytes_received) - before);
}

uint32_t m5_conn_target(const struct m5_conn *conn)
{
    return conn->target;
}

struct mqtt5_bytes m5_conn_unread(const struct m5_conn *conn)
{
    return m5_bytes(conn->partial, conn->partial_size);
}
