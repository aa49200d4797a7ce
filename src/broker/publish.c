/* PUBLISH from clients: checks, aliases, QoS 2 identifiers, retained messages; then into a run.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/shard.h"

#define RATE_EXCEEDED "message rate too high"

/* ---- answers ---- */

void m5_publish_acknowledge(struct m5_conn *conn, uint8_t qos, uint16_t packet_id, uint8_t reason,
                            uint64_t position)
{
    /* The same identifier, in the packet that the QoS asks for [MQTT-2.2.1-5] [MQTT-3.3.4-1]
     * [MQTT-4.3.2-4] [MQTT-4.3.3-8]. */
    if (qos == 2 && reason >= 0x80 && conn->version == MQTT5_VERSION_5 && conn->session != NULL)
        m5_id_set_remove(&conn->session->incoming, packet_id); /* [MQTT-4.3.3-9] */
    m5_conn_answer(conn, qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC, packet_id, reason, position);
}

/* The message is not taken. At QoS 0, and in 3.1.1, there is no way to say so. */
static void turn_down(struct m5_conn *conn, const struct mqtt5_publish *publish, uint8_t reason)
{
    M5_COUNT(conn->shard, publish_dropped, 1);
    if (publish->qos == 0)
        return;
    m5_run_flush(conn->shard); /* answers stand in the order of the messages */
    m5_publish_acknowledge(conn, publish->qos, publish->packet_id, reason, 0);
}

/* ---- properties ---- */

bool m5_topic_reserved(struct mqtt5_bytes topic)
{
    static const char *const roots[] = {"$SYS", "$CONTROL", "$share"};
    if (topic.len == 0 || topic.data[0] != '$')
        return false;
    for (size_t i = 0; i < M5_COUNT_OF(roots); i++) {
        struct mqtt5_bytes root = m5_bytes_of(roots[i]);
        if (topic.len >= root.len && memcmp(topic.data, root.data, root.len) == 0 &&
            (topic.len == root.len || topic.data[root.len] == '/'))
            return true;
    }
    return false;
}

#define NOT_FORWARDED                                    \
    ((uint64_t)1 << MQTT5_PROPERTY_TOPIC_ALIAS |         \
     (uint64_t)1 << MQTT5_PROPERTY_WILL_DELAY_INTERVAL | \
     (uint64_t)1 << MQTT5_PROPERTY_MESSAGE_EXPIRY_INTERVAL)

bool m5_properties_forwardable(const struct mqtt5_properties *properties)
{
    return (properties->present & NOT_FORWARDED) == 0;
}

struct m5_message *m5_message_of(struct m5_shard *shard, const struct m5_message_view *view,
                                 const struct mqtt5_properties *properties)
{
    struct m5_message_view whole = *view;
    whole.properties = properties->present == 0 ? (struct mqtt5_bytes){0} : properties->raw;
    struct m5_message *message = m5_message_new(&shard->messages, &whole);
    if (message == NULL || m5_properties_forwardable(properties))
        return message;
    /* What is not for subscribers is cut out of the copy; the rest keeps its order
     * [MQTT-3.1.3-10]. */
    uint8_t *start = message->data + message->topic_size, *to = start;
    struct mqtt5_bytes rest = properties->raw;
    struct mqtt5_property property;
    while (mqtt5_property_next(&rest, &property))
        if ((NOT_FORWARDED >> (unsigned)property.id & 1u) == 0)
            to = m5_copy(to, property.whole);
    m5_copy(to, view->payload);
    message->properties_size = (uint32_t)(to - start);
    return message;
}

/* ---- checks ---- */

/* Puts the topic in place of its alias, or remembers it [MQTT-3.3.2-7] [MQTT-3.3.2-12]. False:
 * closing. */
static bool resolve_alias(struct m5_conn *conn, struct mqtt5_publish *publish)
{
    struct m5_shard *shard = conn->shard;
    uint32_t alias = publish->properties.topic_alias;
    if (alias == 0 || alias > shard->config->topic_alias_maximum) {
        m5_conn_fail(conn, MQTT5_ERR_TOPIC_ALIAS); /* [MQTT-3.3.2-9] */
        return false;
    }
    if (publish->topic.len == 0) {
        publish->topic = m5_alias_in_get(&conn->alias_in, (uint16_t)alias);
        if (publish->topic.len > 0)
            return true;
        m5_conn_fail(conn, MQTT5_ERR_PROTOCOL);
        return false;
    }
    m5_run_flush(shard); /* its topic may be the one that is replaced */
    if (m5_alias_in_set(&conn->alias_in, shard->allocator, (uint16_t)alias, publish->topic))
        return true;
    m5_conn_abort(conn);
    return false;
}

/* What closes the connection. */
static enum mqtt5_error check(const struct m5_conn *conn, const struct mqtt5_publish *publish)
{
    if (MQTT5_HAS(&publish->properties, SUBSCRIPTION_IDENTIFIER))
        return MQTT5_ERR_PROTOCOL; /* [MQTT-3.3.4-6] */
    /* Clients of 3.1.1 cannot know the window: theirs is all there are identifiers for. */
    uint32_t window =
        conn->version == MQTT5_VERSION_5 ? conn->shard->config->receive_maximum : UINT16_MAX;
    if (publish->qos > 0 && conn->session->incoming.count >= window &&
        !m5_id_set_has(&conn->session->incoming, publish->packet_id))
        return MQTT5_ERR_RECEIVE_MAXIMUM; /* [MQTT-3.3.4-7] */
    return MQTT5_OK;
}

/* Switched-off capabilities close the connection with a reason of their own. False: closing. */
static bool capable(struct m5_conn *conn, const struct mqtt5_publish *publish)
{
    const struct mqtt5_broker_config *config = conn->shard->config;
    uint8_t reason;
    if (publish->qos > config->maximum_qos)
        reason = MQTT5_REASON_QOS_NOT_SUPPORTED; /* [MQTT-3.2.2-11] */
    else if (publish->retain && !config->retain_available)
        reason = MQTT5_REASON_RETAIN_NOT_SUPPORTED; /* [MQTT-3.2.2-14] */
    else
        return true;
    m5_run_flush(conn->shard);
    M5_COUNT(conn->shard, errors_protocol, 1);
    m5_conn_close(conn, reason, NULL);
    return false;
}

/* True when the message would have to be stored, and the store does not work. */
static bool cannot_store(struct m5_shard *shard, const struct mqtt5_publish *publish)
{
    if (!m5_journal_broken(shard) || !m5_is_stored_topic(shard, publish->topic))
        return false;
    bool stored = publish->retain;
    if (!stored && publish->qos > 0) {
        struct m5_match *match = &shard->mail_run.match;
        stored =
            !m5_index_match(shard->engine->routes, publish->topic, match) || match->stored != 0;
    }
    if (stored)
        M5_COUNT(shard, limit_store, 1);
    return stored;
}

/* Why the message is not taken, or MQTT5_REASON_SUCCESS. */
static uint8_t refusal(struct m5_conn *conn, const struct mqtt5_publish *publish)
{
    struct m5_shard *shard = conn->shard;
    const struct m5_access *access = shard->access;
    bool control = m5_is_control(shard, publish->topic);
    bool denied = control ? access->allow_everything : m5_topic_reserved(publish->topic);
    if (!denied && !access->allow_everything)
        denied = access->publish(access->ctx, &conn->session->principal, publish->topic,
                                 publish->qos, publish->retain) == M5_ACCESS_DENY;
    if (denied) {
        M5_COUNT(shard, denied_publish, 1);
        return MQTT5_REASON_NOT_AUTHORIZED;
    }
    /* The last eighth of the memory is for what was taken already. */
    if (shard->budget.used > shard->memory_soft) {
        M5_COUNT(shard, limit_memory, 1);
        m5_event_limit(shard, conn, "memory_max");
        return MQTT5_REASON_QUOTA_EXCEEDED;
    }
    return MQTT5_REASON_SUCCESS;
}

/* ---- routing ---- */

static bool store_retained(struct m5_conn *conn, const struct m5_message_view *view)
{
    struct m5_shard *shard = conn->shard;
    if (m5_retain(shard, conn->session, view))
        return true;
    m5_event_limit(shard, conn, "retained");
    return false;
}

/* A message whose properties have to be cut is copied at once; others stay views. */
static void add_to_run(struct m5_conn *conn, const struct mqtt5_publish *publish,
                       struct m5_message_view view, struct mqtt5_bytes wire)
{
    struct m5_shard *shard = conn->shard;
    struct m5_run *run = &shard->run;
    struct m5_message *message = NULL;
    if (!m5_properties_forwardable(&publish->properties)) {
        message = m5_message_of(shard, &view, &publish->properties);
        if (message == NULL) {
            M5_COUNT(shard, limit_memory, 1);
            turn_down(conn, publish, MQTT5_REASON_QUOTA_EXCEEDED);
            return;
        }
        view = m5_message_read(message);
    }
    /* Stored first, then routed: see retained.h; without RETAIN the store is not touched
     * [MQTT-3.3.1-8]. */
    if (view.retain) {
        m5_run_flush(shard);
        if (!store_retained(conn, &view)) {
            turn_down(conn, publish, MQTT5_REASON_QUOTA_EXCEEDED);
            if (message != NULL)
                m5_message_release(&shard->messages, message);
            return;
        }
    }
    if (run->count > 0 && (m5_run_full(run) || !m5_bytes_equal(run->topic, view.topic)))
        m5_run_flush(shard);
    if (run->count == 0)
        m5_run_begin(shard, conn->session, conn, publish->topic);
    run->allowed_qos = publish->qos;
    m5_run_add(run, &view, publish->packet_id, wire);
    run->items[run->count - 1].message = message;
    if (view.retain)
        m5_run_flush(shard);
}

/* The packet as it came, when it is also what a v5 subscriber at QoS 0 is sent: nothing in it is
 * for us alone. The expiry interval may stay, as no time has passed. */
static struct mqtt5_bytes wire_of(const struct m5_conn *conn, const struct mqtt5_frame *frame,
                                  const struct mqtt5_publish *publish)
{
    if (conn->version != MQTT5_VERSION_5 || frame->flags != 0 ||
        MQTT5_HAS(&publish->properties, TOPIC_ALIAS))
        return (struct mqtt5_bytes){0};
    return m5_bytes(frame->body.data - frame->header_size, frame->size);
}

static uint64_t expiry_of(const struct m5_shard *shard, const struct mqtt5_properties *properties)
{
    if (!MQTT5_HAS(properties, MESSAGE_EXPIRY_INTERVAL))
        return M5_NEVER;
    return shard->now_ms + (uint64_t)properties->message_expiry_interval_s * 1000u;
}

/* True when a QoS 2 message is new; else it is only acknowledged again [MQTT-4.3.3-10], expired or
 * not [MQTT-4.3.3-13]. */
static bool begin_qos2(struct m5_conn *conn, const struct mqtt5_publish *publish)
{
    struct m5_id_set *incoming = &conn->session->incoming;
    if (m5_id_set_has(incoming, publish->packet_id)) {
        m5_run_flush(conn->shard);
        m5_publish_acknowledge(conn, 2, publish->packet_id, MQTT5_REASON_SUCCESS,
                               m5_persist_position(conn->shard, conn->session, true));
        return false;
    }
    if (m5_id_set_add(incoming, conn->shard->allocator, publish->packet_id))
        return true;
    M5_COUNT(conn->shard, limit_memory, 1);
    turn_down(conn, publish, MQTT5_REASON_QUOTA_EXCEEDED);
    return false;
}

/* The policy has been asked for the message that began the run; within a run it stays with that. */
static inline bool is_allowed(const struct m5_shard *shard, uint8_t qos)
{
    return shard->access->allow_everything || shard->run.allowed_qos == qos;
}

/* The common case by far: the next message of a run, without DUP, RETAIN and properties. */
static bool extend_run(struct m5_conn *conn, const struct mqtt5_frame *frame)
{
    struct m5_shard *shard = conn->shard;
    struct m5_run *run = &shard->run;
    const uint8_t *body = frame->body.data;
    uint8_t qos = frame->flags >> 1;
    size_t start = 2 + run->topic.len + (qos > 0 ? 2u : 0u) + 1; /* of the payload */
    if (run->count == 0 || (frame->flags & 9) != 0 || qos > shard->config->maximum_qos ||
        conn->version != MQTT5_VERSION_5 || m5_run_full(run) ||
        shard->budget.used > shard->memory_soft || !is_allowed(shard, qos) ||
        (conn->meter != NULL && !m5_meter_admits(conn)) || shard->journal.failing ||
        frame->body.len < start || m5_read_u16(body) != run->topic.len || body[start - 1] != 0 ||
        memcmp(body + 2, run->topic.data, run->topic.len) != 0)
        return false;
    uint16_t packet_id = qos > 0 ? m5_read_u16(body + start - 3) : 0;
    struct m5_id_set *incoming = &conn->session->incoming;
    if (qos > 0 && (packet_id == 0 || incoming->count >= shard->config->receive_maximum))
        return false;
    if (qos == 2 && (m5_id_set_has(incoming, packet_id) ||
                     !m5_id_set_add(incoming, shard->allocator, packet_id)))
        return false;
    struct m5_message_view view = {.topic = run->topic,
                                   .payload = m5_bytes(body + start, frame->body.len - start),
                                   .expires_at_ms = M5_NEVER,
                                   .qos = qos};
    struct mqtt5_bytes wire = {0};
    if (qos == 0)
        wire = m5_bytes(body - frame->header_size, frame->size);
    M5_COUNT(shard, publish_received, 1);
    M5_COUNT(shard, publish_bytes_received, view.payload.len);
    m5_run_add(run, &view, packet_id, wire);
    if (conn->meter != NULL)
        m5_meter_took(conn, 1, frame->size, shard->config->rate_action == MQTT5_RATE_WAIT);
    return true;
}

/* For the host: it is acknowledged when it is kept, and routed to nobody, retained or not. */
static void control(struct m5_conn *conn, const struct mqtt5_publish *publish)
{
    uint8_t reason = m5_control_keep(conn, publish);
    if (reason != MQTT5_REASON_SUCCESS) {
        turn_down(conn, publish, reason);
        return;
    }
    m5_run_flush(conn->shard);
    if (publish->qos > 0)
        m5_publish_acknowledge(conn, publish->qos, publish->packet_id, reason, 0);
}

/* Levels over the limit: the decoder has read everything else. */
static void too_deep(struct m5_conn *conn, const struct mqtt5_publish *publish)
{
    if (publish->qos > 0 && conn->version == MQTT5_VERSION_5) {
        M5_COUNT(conn->shard, limit_topic_levels, 1);
        turn_down(conn, publish, MQTT5_REASON_TOPIC_NAME_INVALID);
        return;
    }
    m5_run_flush(conn->shard);
    m5_conn_fail(conn, MQTT5_ERR_TOPIC_LEVELS);
}

/* What is acknowledged is kept. 3.x cannot be told that this is not: it sends it again. */
static void refuse_unstored(struct m5_conn *conn, const struct mqtt5_publish *publish)
{
    if (conn->version == MQTT5_VERSION_5 || publish->qos == 0) {
        turn_down(conn, publish, MQTT5_REASON_QUOTA_EXCEEDED);
        return;
    }
    m5_run_flush(conn->shard);
    if (publish->qos == 2)
        m5_id_set_remove(&conn->session->incoming, publish->packet_id);
    m5_conn_close(conn, MQTT5_REASON_QUOTA_EXCEEDED, NULL);
}

/* It comes too soon, and may not wait. */
static void turn_away(struct m5_conn *conn, const struct mqtt5_publish *publish)
{
    struct m5_shard *shard = conn->shard;
    m5_meter_refused(conn);
    m5_run_flush(shard); /* answers stand in the order of the messages */
    if (shard->config->rate_action == MQTT5_RATE_DISCONNECT) {
        m5_conn_close(conn, MQTT5_REASON_MESSAGE_RATE_TOO_HIGH, RATE_EXCEEDED);
        return;
    }
    M5_COUNT(shard, publish_dropped, 1);
    if (publish->qos == 0)
        return;
    if (publish->qos == 2)
        m5_id_set_remove(&conn->session->incoming, publish->packet_id); /* [MQTT-4.3.3-9] */
    struct mqtt5_packet packet = {
        .type = publish->qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC,
        .as.ack = {.packet_id = publish->packet_id, .reason_code = MQTT5_REASON_QUOTA_EXCEEDED}};
    MQTT5_SET(&packet.as.ack.properties, REASON_STRING);
    packet.as.ack.properties.reason_string = m5_bytes_of(RATE_EXCEEDED);
    m5_conn_send(conn, &packet);
}

/* Counts a message of a connection whose rates are limited; false: it is not taken. */
static bool meter(struct m5_conn *conn, const struct mqtt5_publish *publish, uint64_t size)
{
    enum mqtt5_rate_action action = conn->shard->config->rate_action;
    bool deaf = action == MQTT5_RATE_REFUSE && publish->qos > 0 && /* to refusals */
                conn->version != MQTT5_VERSION_5;
    if (!deaf && !m5_meter_admits(conn)) {
        turn_away(conn, publish);
        return false;
    }
    m5_meter_took(conn, 1, size, deaf || action == MQTT5_RATE_WAIT);
    return true;
}

void m5_handle_publish(struct m5_conn *conn, const struct mqtt5_frame *frame)
{
    struct m5_shard *shard = conn->shard;
    if (extend_run(conn, frame))
        return;
    struct mqtt5_decode_limits limits = m5_shard_limits(shard);
    struct mqtt5_publish publish;
    enum mqtt5_error error = mqtt5_publish_decode(frame, conn->version, &limits, &publish);
    M5_COUNT(shard, publish_received, 1);
    if (error == MQTT5_ERR_TOPIC_LEVELS) {
        too_deep(conn, &publish);
        return;
    }
    if (error == MQTT5_OK)
        error = check(conn, &publish);
    if (error != MQTT5_OK) {
        m5_run_flush(shard);
        m5_conn_fail(conn, error);
        return;
    }
    M5_COUNT(shard, publish_bytes_received, publish.payload.len);
    if (MQTT5_HAS(&publish.properties, TOPIC_ALIAS) && !resolve_alias(conn, &publish))
        return;
    if (!capable(conn, &publish))
        return;
    if (publish.qos == 2 && !begin_qos2(conn, &publish))
        return;
    if (conn->meter != NULL && !meter(conn, &publish, frame->size))
        return;
    uint8_t reason = refusal(conn, &publish);
    if (reason != MQTT5_REASON_SUCCESS) {
        turn_down(conn, &publish, reason);
        return;
    }
    if (m5_is_control(shard, publish.topic)) {
        control(conn, &publish);
        return;
    }
    if (cannot_store(shard, &publish)) {
        refuse_unstored(conn, &publish);
        return;
    }
    struct m5_message_view view = {.topic = publish.topic,
                                   .payload = publish.payload,
                                   .expires_at_ms = expiry_of(shard, &publish.properties),
                                   .qos = publish.qos,
                                   .retain = publish.retain};
    if (publish.properties.present != 0)
        view.properties = publish.properties.raw;
    add_to_run(conn, &publish, view, wire_of(conn, frame, &publish));
}
