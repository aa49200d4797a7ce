/* CONNECT: checks, takeover, session, CONNACK.
 *
 * The steps and their order:
 *   1. what is malformed or of an unknown version is refused in the peer's own dialect;
 *   2. an empty client identifier gets one that hashes to this shard;
 *   3. a connection whose client identifier belongs to another shard moves there, unread;
 *   4. capabilities, limits and the access policy decide [MQTT-3.1.4-2];
 *   5. an existing connection of the session is taken over [MQTT-3.1.4-3];
 *   6. the session is discarded, resumed or made [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6];
 *   7. CONNACK, then what is unacknowledged, then what waited.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/shard.h"

/* ---- refusing ---- */

static void refuse(struct m5_conn *conn, uint8_t version, uint8_t reason, enum mqtt5_error error)
{
    struct m5_shard *shard = conn->shard;
    bool v5 = version == MQTT5_VERSION_5;
    struct mqtt5_packet packet = {.type = MQTT5_CONNACK};
    packet.as.connack.reason_code = v5 ? reason : (uint8_t)mqtt5_reason_to_v3(reason);
    if (v5 && error != MQTT5_OK) {
        MQTT5_SET(&packet.as.connack.properties, REASON_STRING);
        packet.as.connack.properties.reason_string = m5_bytes_of(mqtt5_error_text(error));
    }
    conn->version = version;
    conn->error = error;
    m5_conn_send(conn, &packet);
    struct m5_event *event = m5_event_new(shard, M5_EVENT_CLIENT_REFUSED, conn);
    if (event != NULL) {
        event->reason_code = reason;
        event->error = error;
    }
    m5_conn_close(conn, reason, NULL); /* [MQTT-3.2.2-7] [MQTT-3.1.4-6] */
}

void m5_conn_object(struct m5_conn *conn, enum mqtt5_error error)
{
    if (conn->state != M5_CONN_NEW) {
        m5_conn_fail(conn, error);
        return;
    }
    m5_count_error(conn->shard, error);
    refuse(conn, MQTT5_VERSION_5, (uint8_t)mqtt5_error_reason(error), error);
    m5_exchange_settle(conn);
}

/* Version 5 shape for versions from 5 on, which can read it; 3.1.1 shape below. */
static uint8_t dialect(uint8_t version, enum mqtt5_error error)
{
    bool unread = version == 0 && error != MQTT5_ERR_PROTOCOL_VERSION;
    return unread || version >= MQTT5_VERSION_5 ? (uint8_t)MQTT5_VERSION_5
                                                : (uint8_t)MQTT5_VERSION_3_1_1;
}

static void refuse_undecoded(struct m5_conn *conn, enum mqtt5_error error, uint8_t version)
{
    if (error == MQTT5_ERR_PROTOCOL_NAME) {
        m5_conn_fail(conn, error); /* whatever this is, it is not MQTT [MQTT-3.1.2-1] */
        return;
    }
    m5_count_error(conn->shard, error);
    bool v3 = version == MQTT5_VERSION_3_1 || version == MQTT5_VERSION_3_1_1;
    if (v3 && error != MQTT5_ERR_PROTOCOL_VERSION && error != MQTT5_ERR_CLIENT_ID) {
        conn->error = error; /* 3.1.1 has no return code for it [MQTT-3.1.4-1] */
        m5_conn_close(conn, MQTT5_REASON_SUCCESS, NULL);
        return;
    }
    refuse(conn, dialect(version, error), (uint8_t)mqtt5_error_reason(error), error);
}

/* ---- checks ---- */

static bool will_refused(const struct m5_shard *shard, const struct mqtt5_connect *connect,
                         uint8_t *reason)
{
    if (!connect->has_will)
        return false;
    if (connect->will.qos > shard->config->maximum_qos)
        *reason = MQTT5_REASON_QOS_NOT_SUPPORTED; /* [MQTT-3.2.2-12] */
    else if (connect->will.retain && !shard->config->retain_available)
        *reason = MQTT5_REASON_RETAIN_NOT_SUPPORTED; /* [MQTT-3.2.2-13] */
    else if (mqtt5_topic_check(connect->will.topic, shard->config->topic_levels_max) != MQTT5_OK)
        *reason = MQTT5_REASON_TOPIC_NAME_INVALID;
    else if (m5_topic_reserved(connect->will.topic))
        *reason = MQTT5_REASON_NOT_AUTHORIZED; /* names that belong to the server */
    else
        return false;
    return true;
}

static bool limits_refuse(struct m5_shard *shard, const struct m5_conn *conn,
                          const struct mqtt5_connect *connect, uint8_t *reason)
{
    if (conn->over_limit) {
        M5_COUNT(shard, limit_connections, 1);
        m5_event_limit(shard, conn, "connections_max");
        *reason = MQTT5_REASON_SERVER_BUSY;
    } else if (connect->client_id.len > shard->config->client_id_size_max) {
        M5_COUNT(shard, limit_client_ids, 1);
        *reason = MQTT5_REASON_CLIENT_IDENTIFIER_NOT_VALID;
    } else if (m5_engine_memory_full(shard->engine)) {
        M5_COUNT(shard, limit_memory, 1);
        m5_event_limit(shard, conn, "memory_max");
        *reason = MQTT5_REASON_SERVER_BUSY;
    } else if (shard->journal.bytes / 2 >= shard->config->store_bytes_max) {
        M5_COUNT(shard, limit_store, 1);
        m5_event_limit(shard, conn, "store_bytes_max");
        *reason = MQTT5_REASON_SERVER_BUSY;
    } else {
        return false;
    }
    return true;
}

static enum m5_access_answer may_connect(struct m5_conn *conn, const struct mqtt5_connect *connect,
                                         enum mqtt5_reason_code *why)
{
    const struct m5_access *access = conn->shard->access;
    const struct m5_credentials credentials = m5_exchange_credentials(conn, connect);
    if (conn->check == M5_CHECK_DENIED)
        *why = (enum mqtt5_reason_code)conn->check_reason;
    if (conn->check != M5_CHECK_NONE)
        return conn->check == M5_CHECK_ALLOWED ? M5_ACCESS_ALLOW : M5_ACCESS_DENY;
    if (access->connect == NULL) {
        bool allowed = conn->shard->config->allow_anonymous || credentials.identity.len > 0;
        if (credentials.has_method)
            *why = MQTT5_REASON_BAD_AUTHENTICATION_METHOD; /* [MQTT-4.12.0-1] */
        return allowed && !credentials.has_method ? M5_ACCESS_ALLOW : M5_ACCESS_DENY;
    }
    enum m5_access_answer answer = access->connect(access->ctx, &credentials, why);
    if (answer == M5_ACCESS_DENY || !credentials.has_method ||
        m5_exchange_begin(conn, credentials.method))
        return answer;
    M5_COUNT(conn->shard, limit_memory, 1);
    *why = MQTT5_REASON_SERVER_BUSY;
    return M5_ACCESS_DENY;
}

/* A refusal closes [MQTT-4.12.0-4]. True also while it is not decided yet: conn->check says so. */
static bool access_refuses(struct m5_conn *conn, const struct mqtt5_connect *connect,
                           const struct m5_principal *who, uint8_t *reason)
{
    struct m5_shard *shard = conn->shard;
    const struct m5_access *access = shard->access;
    enum mqtt5_reason_code why = MQTT5_REASON_NOT_AUTHORIZED;
    enum m5_access_answer answer = may_connect(conn, connect, &why);
    if (answer == M5_ACCESS_PENDING) {
        conn->check = M5_CHECK_WANTED;
        m5_list_push_back(&shard->checks, &conn->resumed);
        return true;
    }
    bool denied = answer == M5_ACCESS_DENY;
    if (!denied && connect->has_will && !access->allow_everything)
        denied = access->publish(access->ctx, who, connect->will.topic, connect->will.qos,
                                 connect->will.retain) == M5_ACCESS_DENY;
    if (denied) {
        M5_COUNT(shard, denied_connect, 1);
        *reason = (uint8_t)why;
    }
    return denied;
}

/* ---- the client identifier ---- */

static uint32_t shard_of(const struct m5_shard *shard, struct mqtt5_bytes client_id)
{
    return m5_place_of(shard, client_id, shard->engine->shard_count);
}

#define ASSIGNED_ID_SIZE 36u /* "auto-" and 31 hexadecimal digits */

/* 124 bits that strangers cannot guess, made until they belong to this shard and are not in use
 * [MQTT-3.1.3-6] [MQTT-3.2.2-16]. */
static struct mqtt5_bytes assign_id(struct m5_shard *shard, uint8_t out[ASSIGNED_ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    struct mqtt5_bytes id = m5_bytes(out, ASSIGNED_ID_SIZE);
    do {
        uint64_t seed[2] = {m5_rng_next(&shard->rng), ++shard->serial};
        uint64_t bits[2];
        for (unsigned i = 0; i < 2; i++) {
            seed[1] = seed[1] << 1 | i;
            bits[i] = m5_hash_strong(&shard->engine->id_key, m5_bytes(seed, sizeof seed));
        }
        m5_copy(out, m5_bytes_of("auto-"));
        for (unsigned i = 0; i < ASSIGNED_ID_SIZE - 5; i++)
            out[5 + i] = (uint8_t)digits[bits[i / 16] >> (i % 16 * 4) & 15u];
    } while (shard_of(shard, id) != shard->index || m5_session_find(shard, id) != NULL);
    return id;
}

/* ---- session ---- */

static uint32_t expiry_of(const struct m5_shard *shard, const struct mqtt5_connect *connect)
{
    uint32_t expiry_s = 0;
    if (connect->version != MQTT5_VERSION_5)
        expiry_s = connect->clean_start ? 0 : M5_EXPIRY_NEVER;
    else if (MQTT5_HAS(&connect->properties, SESSION_EXPIRY_INTERVAL))
        expiry_s = connect->properties.session_expiry_interval_s;
    return expiry_s < shard->config->session_expiry_max_s ? expiry_s
                                                          : shard->config->session_expiry_max_s;
}

/* The connection that has the session gets DISCONNECT 0x8E and closes. Its will: published now if
 * it has no delay; else resumption cancels it and a clean start ends its session. */
static void take_over(struct m5_shard *shard, struct m5_session *session)
{
    struct m5_conn *old = session->conn;
    struct m5_event *event = m5_event_new(shard, M5_EVENT_SESSION_TAKEN_OVER, old);
    (void)event;
    m5_conn_close(old, MQTT5_REASON_SESSION_TAKEN_OVER, NULL);
    if (session->will.message != NULL && session->will.delay_s == 0 && old->will_kept)
        m5_session_publish_will(shard, session);
    /* Detached by hand: the session goes on to the new connection. */
    if (m5_list_linked(&old->leaving))
        m5_list_remove(&old->leaving);
    old->session = NULL;
    session->conn = NULL;
    M5_UNCOUNT(shard, clients_connected, 1);
    m5_delivery_rewind(shard, session);
    m5_delivery_trim(shard, session);
}

static bool other_principal(const struct m5_session *session, const struct m5_principal *who)
{
    return session->principal.anonymous != who->anonymous ||
           session->principal.proved != who->proved ||
           !m5_bytes_equal(session->principal.username, who->username);
}

static bool sessions_full(struct m5_shard *shard)
{
    uint64_t max = shard->config->sessions_max, sum = 0;
    if (max == 0)
        return false;
    for (uint32_t i = 0; i < shard->engine->shard_count; i++)
        sum += m5_get(&shard->engine->shards[i].counters.sessions);
    if (sum < max)
        return false;
    M5_COUNT(shard, limit_sessions, 1);
    return true;
}

/* Clean Start and Session Present [MQTT-3.1.4-4] [MQTT-3.2.2-3].
 * The session for this CONNECT, without a connection yet; NULL: refused, *@p reason says why. */
static struct m5_session *session_for(struct m5_shard *shard, const struct mqtt5_connect *connect,
                                      const struct m5_principal *who, bool *present,
                                      uint8_t *reason)
{
    struct m5_session *session = m5_session_find(shard, who->client_id);
    if (session != NULL && other_principal(session, who)) {
        M5_COUNT(shard, denied_connect, 1);
        *reason = MQTT5_REASON_NOT_AUTHORIZED;
        return NULL;
    }
    if (session != NULL && session->conn != NULL)
        take_over(shard, session);
    /* A session that was to end with its connection has ended with it just now. */
    if (session != NULL && (connect->clean_start || session->expiry_s == 0)) {
        m5_session_end(shard, session);
        session = NULL;
    }
    *present = session != NULL;
    if (session != NULL) {
        m5_session_drop_will(shard, session); /* [MQTT-3.1.3-9] */
        return session;
    }
    *reason = MQTT5_REASON_QUOTA_EXCEEDED;
    if (sessions_full(shard))
        return NULL;
    const struct mqtt5_bytes *username = who->anonymous ? NULL : &who->username;
    session = m5_session_new(shard, who->client_id, username);
    if (session != NULL) {
        session->principal.proved = who->proved;
        return session;
    }
    M5_COUNT(shard, limit_memory, 1);
    *reason = MQTT5_REASON_SERVER_BUSY;
    return NULL;
}

/* Stored with the session until it is due or taken back [MQTT-3.1.2-7]. */
static bool keep_will(struct m5_shard *shard, struct m5_session *session,
                      const struct mqtt5_connect *connect)
{
    if (!connect->has_will)
        return true;
    const struct mqtt5_properties *properties = &connect->will.properties;
    struct m5_message_view view = {.topic = connect->will.topic,
                                   .payload = connect->will.payload,
                                   .expires_at_ms = M5_NEVER,
                                   .qos = connect->will.qos,
                                   .retain = connect->will.retain};
    session->will.message = m5_message_of(shard, &view, properties);
    session->will.delay_s =
        MQTT5_HAS(properties, WILL_DELAY_INTERVAL) ? properties->will_delay_interval_s : 0;
    session->will.expiry_s = MQTT5_HAS(properties, MESSAGE_EXPIRY_INTERVAL)
                                 ? properties->message_expiry_interval_s
                                 : UINT32_MAX;
    session->will.expires = MQTT5_HAS(properties, MESSAGE_EXPIRY_INTERVAL);
    m5_persist_will(shard, session);
    return session->will.message != NULL;
}

/* ---- accepting ---- */

static uint16_t lowered(uint16_t wanted_s, uint16_t max_s)
{
    return max_s != 0 && (wanted_s == 0 || wanted_s > max_s) ? max_s : wanted_s;
}

/* What the server imposes can only be told to version 5; what it allows at most, as a broker and on
 * this listener, is a guard for all. */
static uint16_t keep_alive_of(const struct m5_conn *conn, const struct mqtt5_connect *connect)
{
    const struct mqtt5_broker_config *config = conn->shard->config;
    uint16_t listener_max_s = conn->keep_alive_s;
    if (config->server_keep_alive_s != 0 && connect->version == MQTT5_VERSION_5)
        return lowered(config->server_keep_alive_s, listener_max_s);
    return lowered(lowered(connect->keep_alive_s, config->keep_alive_max_s), listener_max_s);
}

#define ANNOUNCE(properties, NAME, field_name, number) \
    do {                                               \
        MQTT5_SET(properties, NAME);                   \
        (properties)->field_name = (number);           \
    } while (0)

static void announce(const struct m5_conn *conn, const struct mqtt5_connect *connect,
                     struct mqtt5_properties *out)
{
    const struct m5_session *session = conn->session;
    const struct mqtt5_broker_config *config = conn->shard->config;
    uint32_t asked = MQTT5_HAS(&connect->properties, SESSION_EXPIRY_INTERVAL)
                         ? connect->properties.session_expiry_interval_s
                         : 0;
    if (session->expiry_s != asked)
        ANNOUNCE(out, SESSION_EXPIRY_INTERVAL, session_expiry_interval_s, session->expiry_s);
    if (config->receive_maximum != UINT16_MAX)
        ANNOUNCE(out, RECEIVE_MAXIMUM, receive_maximum, config->receive_maximum);
    if (config->maximum_qos < 2)
        ANNOUNCE(out, MAXIMUM_QOS, maximum_qos, config->maximum_qos); /* [MQTT-3.2.2-9] */
    if (!config->retain_available)
        ANNOUNCE(out, RETAIN_AVAILABLE, retain_available, 0);
    ANNOUNCE(out, MAXIMUM_PACKET_SIZE, maximum_packet_size, conn->input_size_max);
    if (config->topic_alias_maximum > 0)
        ANNOUNCE(out, TOPIC_ALIAS_MAXIMUM, topic_alias_maximum, config->topic_alias_maximum);
    if (!config->wildcard_subscription_available)
        ANNOUNCE(out, WILDCARD_SUBSCRIPTION_AVAILABLE, wildcard_subscription_available, 0);
    if (!config->subscription_identifier_available)
        ANNOUNCE(out, SUBSCRIPTION_IDENTIFIERS_AVAILABLE, subscription_identifiers_available, 0);
    if (!config->shared_subscription_available)
        ANNOUNCE(out, SHARED_SUBSCRIPTION_AVAILABLE, shared_subscription_available, 0);
    if (conn->keep_alive_s != connect->keep_alive_s)
        ANNOUNCE(out, SERVER_KEEP_ALIVE, server_keep_alive_s, conn->keep_alive_s);
    if (connect->client_id.len == 0) /* [MQTT-3.1.3-7] */
        ANNOUNCE(out, ASSIGNED_CLIENT_IDENTIFIER, assigned_client_identifier,
                 session->principal.client_id);
    m5_exchange_announce(conn, out);
    const char *information = conn->shard->engine->response_information;
    if (information != NULL && MQTT5_HAS(&connect->properties, REQUEST_RESPONSE_INFORMATION) &&
        connect->properties.request_response_information == 1) /* [MQTT-3.1.2-28] */
        ANNOUNCE(out, RESPONSE_INFORMATION, response_information, m5_bytes_of(information));
}

static void apply(struct m5_conn *conn, const struct mqtt5_connect *connect,
                  struct m5_session *session)
{
    struct m5_shard *shard = conn->shard;
    const struct mqtt5_properties *properties = &connect->properties;
    conn->version = connect->version;
    conn->keep_alive_s = keep_alive_of(conn, connect); /* [MQTT-3.2.2-22] */
    if (MQTT5_HAS(properties, MAXIMUM_PACKET_SIZE))
        conn->packet_size_max = properties->maximum_packet_size;
    if (MQTT5_HAS(properties, REQUEST_PROBLEM_INFORMATION))
        conn->problem_information = properties->request_problem_information == 1;
    uint16_t aliases =
        MQTT5_HAS(properties, TOPIC_ALIAS_MAXIMUM) ? (uint16_t)properties->topic_alias_maximum : 0;
    /* Never more than the client allows [MQTT-3.3.2-11]. */
    if (aliases > shard->config->topic_alias_outgoing_max)
        aliases = shard->config->topic_alias_outgoing_max;
    if (aliases > 0)
        conn->alias_out = m5_alias_out_new(shard->allocator, aliases);
    uint16_t window = MQTT5_HAS(properties, RECEIVE_MAXIMUM) ? (uint16_t)properties->receive_maximum
                                                             : UINT16_MAX; /* [MQTT-4.9.0-1] */
    session->window = window < shard->config->inflight_max ? window : shard->config->inflight_max;
    session->expiry_s = expiry_of(shard, connect);
    bool store = shard->journal.on && session->expiry_s > 0;
    if (!store)
        m5_persist_session_gone(shard, session);
    shard->stored_sessions += store && !session->stored;
    session->stored = store;
}

static void start_keep_alive(struct m5_conn *conn)
{
    struct m5_shard *shard = conn->shard;
    if (conn->keep_alive_s == 0)
        m5_timer_stop(&shard->wheel, &conn->alarm.timer);
    else
        m5_timer_start(&shard->wheel, &conn->alarm.timer,
                       shard->now_ms + conn->keep_alive_s * 1500u);
}

static void report_connected(const struct m5_conn *conn, const struct mqtt5_connect *connect,
                             bool present)
{
    struct m5_event *event = m5_event_new(conn->shard, M5_EVENT_CLIENT_CONNECTED, conn);
    if (event == NULL)
        return;
    event->clean_start = connect->clean_start;
    event->session_present = present;
    event->keep_alive_s = conn->keep_alive_s;
}

static void attach(struct m5_conn *conn, struct m5_session *session)
{
    struct m5_shard *shard = conn->shard;
    conn->state = M5_CONN_OPEN;
    conn->check = M5_CHECK_NONE;
    conn->session = session;
    session->conn = conn;
    session->expires_at_ms = session->will_at_ms = M5_NEVER;
    m5_timer_stop(&shard->wheel, &session->alarm.timer);
    M5_COUNT(shard, clients_connected, 1);
    if (m5_get(&shard->counters.clients_connected) > m5_get(&shard->counters.clients_connected_max))
        M5_COUNT(shard, clients_connected_max, 1);
    start_keep_alive(conn);
}

/* "Session present" is said when the session as it is now is durable, the opposite when the end of
 * every session that has been there is. False: no memory. */
static bool promise(struct m5_conn *conn, uint64_t position)
{
    struct m5_shard *shard = conn->shard;
    position = m5_durability_position(shard->config->durability, position);
    if (m5_hold_reached(shard, position) || m5_hold_conn(conn, position))
        return true;
    m5_conn_abort(conn);
    return false;
}

static void accept(struct m5_conn *conn, const struct mqtt5_connect *connect,
                   const struct m5_principal *who)
{
    struct m5_shard *shard = conn->shard;
    bool present = false;
    uint8_t reason = 0;
    struct m5_session *session = NULL;
    if (m5_quota_attach(conn, who, &reason))
        session = session_for(shard, connect, who, &present, &reason);
    if (session == NULL) {
        refuse(conn, connect->version, reason, MQTT5_OK);
        return;
    }
    apply(conn, connect, session);
    if (!keep_will(shard, session, connect) ||
        !m5_session_logged_in(shard, session, conn->listener, m5_exchange_roles(conn))) {
        M5_COUNT(shard, limit_memory, 1);
        m5_session_drop_will(shard, session);
        if (!present)
            m5_session_end(shard, session);
        else
            m5_session_offline(shard, session, false);
        refuse(conn, connect->version, MQTT5_REASON_SERVER_BUSY, MQTT5_OK);
        return;
    }
    attach(conn, session);
    m5_persist_session(shard, session);
    if (!promise(conn, present ? session->position : shard->ended_position))
        return;
    struct mqtt5_packet packet = {.type = MQTT5_CONNACK, .as.connack.session_present = present};
    if (conn->version == MQTT5_VERSION_5)
        announce(conn, connect, &packet.as.connack.properties);
    else if (conn->version == MQTT5_VERSION_3_1)
        packet.as.connack.session_present = false; /* 3.1 has no such flag */
    if (!m5_conn_send(conn, &packet)) {            /* [MQTT-3.1.4-5] [MQTT-3.2.0-1] */
        conn->silent = true;
        m5_conn_close(conn, MQTT5_REASON_PACKET_TOO_LARGE, NULL);
    }
    report_connected(conn, connect, present);
    if (!present || conn->state != M5_CONN_OPEN)
        return;
    m5_share_status(shard, session, true);
    m5_delivery_resume(shard, session);
    if (session->retained != NULL)
        m5_retained_continue(shard, session);
}

/* ---- entry ---- */

static void move_away(struct m5_conn *conn, uint32_t target)
{
    conn->state = M5_CONN_MOVING;
    conn->target = (uint16_t)target;
    m5_timer_stop(&conn->shard->wheel, &conn->alarm.timer);
    m5_conn_touch(conn);
}

static void handle(struct m5_conn *conn, const struct mqtt5_frame *frame)
{
    struct m5_shard *shard = conn->shard;
    struct mqtt5_decode_limits limits = m5_shard_limits(shard);
    struct mqtt5_packet packet;
    enum mqtt5_error error = mqtt5_packet_decode(frame, 0, &limits, &packet);
    const struct mqtt5_connect *connect = &packet.as.connect;
    if (error != MQTT5_OK) {
        refuse_undecoded(conn, error, connect->version);
        return;
    }
    uint8_t assigned[ASSIGNED_ID_SIZE];
    struct mqtt5_bytes client_id = connect->client_id;
    if (client_id.len == 0) {
        /* 3.1.1 wants a clean session with it; 3.1 has no empty identifiers at all
         * [MQTT-3.1.3-8]. */
        if (connect->version == MQTT5_VERSION_3_1 ||
            (connect->version == MQTT5_VERSION_3_1_1 && !connect->clean_start)) {
            refuse(conn, connect->version, MQTT5_REASON_CLIENT_IDENTIFIER_NOT_VALID,
                   MQTT5_ERR_CLIENT_ID);
            return;
        }
        client_id = assign_id(shard, assigned);
    }
    uint32_t target = shard_of(shard, client_id);
    if (target != shard->index) {
        move_away(conn, target);
        return;
    }
    struct m5_principal who = m5_exchange_principal(conn, connect, client_id);
    uint8_t reason = 0;
    if (limits_refuse(shard, conn, connect, &reason) || will_refused(shard, connect, &reason) ||
        access_refuses(conn, connect, &who, &reason)) {
        if (conn->check != M5_CHECK_WANTED)
            refuse(conn, connect->version, reason, MQTT5_OK);
        return;
    }
    accept(conn, connect, &who);
}

void m5_handle_connect(struct m5_conn *conn, const struct mqtt5_frame *frame)
{
    handle(conn, frame);
    if (conn->state == M5_CONN_OPEN || conn->state == M5_CONN_CLOSING)
        m5_exchange_settle(conn);
}
