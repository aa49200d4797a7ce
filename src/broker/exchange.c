/* Proof of who a client is: credentials for the host, its verdicts, exchanges of AUTH packets.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/exchange.h"

#include "broker/shard.h"

#include <mqtt5/topic.h>

/* ---- owned copies ---- */

static void drop(struct m5_conn *conn, struct mqtt5_bytes *copy)
{
    m5_free(conn->shard->allocator, (void *)(uintptr_t)copy->data, copy->len);
    *copy = (struct mqtt5_bytes){0};
}

static bool keep(struct m5_conn *conn, struct mqtt5_bytes *copy, struct mqtt5_bytes bytes)
{
    uint8_t *data = NULL;
    if (bytes.len > 0 && (data = m5_alloc(conn->shard->allocator, bytes.len)) == NULL)
        return false;
    m5_copy(data, bytes);
    drop(conn, copy); /* what is copied may lie in it */
    *copy = m5_bytes(data, bytes.len);
    return true;
}

static struct m5_exchange *exchange_of(struct m5_conn *conn)
{
    if (conn->exchange != NULL)
        return conn->exchange;
    struct m5_exchange *exchange = m5_alloc_zero(conn->shard->allocator, sizeof *exchange);
    if (exchange == NULL)
        return NULL;
    exchange->conn = conn;
    m5_list_init(&exchange->node);
    m5_alarm_init(&exchange->alarm, M5_ALARM_EXCHANGE);
    conn->exchange = exchange;
    return exchange;
}

static bool has_method(const struct m5_conn *conn)
{
    return conn->exchange != NULL && conn->exchange->method.data != NULL;
}

void m5_exchange_free(struct m5_conn *conn)
{
    struct m5_exchange *exchange = conn->exchange;
    if (exchange == NULL)
        return;
    m5_list_remove(&exchange->node);
    m5_timer_stop(&conn->shard->wheel, &exchange->alarm.timer);
    drop(conn, &exchange->identity);
    drop(conn, &exchange->method);
    drop(conn, &exchange->connect);
    drop(conn, &exchange->data);
    drop(conn, &exchange->username);
    drop(conn, &exchange->roles);
    m5_free(conn->shard->allocator, exchange, sizeof *exchange);
    conn->exchange = NULL;
}

void m5_exchange_settle(struct m5_conn *conn)
{
    struct m5_exchange *exchange = conn->exchange;
    if (exchange == NULL)
        return;
    if (conn->state != M5_CONN_OPEN || !has_method(conn)) {
        m5_exchange_free(conn);
        return;
    }
    drop(conn, &exchange->identity);
    drop(conn, &exchange->connect);
    drop(conn, &exchange->data);
    drop(conn, &exchange->username);
    drop(conn, &exchange->roles);
    exchange->named = exchange->has_data = false;
}

/* ---- what the transport knows ---- */

bool m5_conn_identify(struct m5_conn *conn, struct mqtt5_bytes identity, bool secure)
{
    conn->secure = secure;
    if (identity.len == 0)
        return true;
    return identity.len <= UINT16_MAX && mqtt5_utf8_check(identity) == MQTT5_OK &&
           exchange_of(conn) != NULL && keep(conn, &conn->exchange->identity, identity);
}

struct mqtt5_bytes m5_conn_identity(const struct m5_conn *conn)
{
    return conn->exchange == NULL ? (struct mqtt5_bytes){0} : conn->exchange->identity;
}

bool m5_conn_secure(const struct m5_conn *conn)
{
    return conn->secure;
}

/* ---- for CONNECT ---- */

bool m5_exchange_waits(const struct m5_conn *conn)
{
    return conn->exchange != NULL && conn->exchange->connect.len > 0;
}

bool m5_exchange_begin(struct m5_conn *conn, struct mqtt5_bytes method)
{
    struct m5_exchange *exchange = exchange_of(conn);
    /* An empty method is one, too. */
    return exchange != NULL &&
           (has_method(conn) ||
            keep(conn, &exchange->method, method.len > 0 ? method : m5_bytes("", 1)));
}

/* The method as the client wrote it. */
static struct mqtt5_bytes method_of(const struct m5_exchange *exchange)
{
    bool empty = exchange->method.data[0] == 0; /* no text of MQTT has a zero */
    return m5_bytes(exchange->method.data, empty ? 0 : exchange->method.len);
}

struct m5_principal m5_exchange_principal(const struct m5_conn *conn,
                                          const struct mqtt5_connect *connect,
                                          struct mqtt5_bytes client_id)
{
    const struct m5_exchange *exchange = conn->exchange;
    struct m5_principal who = {
        .client_id = client_id, .anonymous = !connect->has_username, .listener = conn->listener};
    if (connect->has_username)
        who.username = connect->username;
    who.proved = conn->check == M5_CHECK_ALLOWED && connect->has_username;
    if (exchange == NULL)
        return who;
    if (exchange->named || exchange->identity.len > 0) {
        who.username = exchange->named ? exchange->username : exchange->identity;
        who.anonymous = false;
        who.proved = true;
    }
    who.roles = (const char *)exchange->roles.data;
    return who;
}

struct m5_credentials m5_exchange_credentials(const struct m5_conn *conn,
                                              const struct mqtt5_connect *connect)
{
    const struct mqtt5_properties *properties = &connect->properties;
    struct m5_credentials out = {.client_id = connect->client_id,
                                 .identity = m5_conn_identity(conn),
                                 .listener = conn->listener,
                                 .anonymous = !connect->has_username,
                                 .has_password = connect->has_password,
                                 .has_method = MQTT5_HAS(properties, AUTHENTICATION_METHOD),
                                 .has_data = MQTT5_HAS(properties, AUTHENTICATION_DATA),
                                 .secure = conn->secure};
    if (connect->has_username)
        out.username = connect->username;
    if (connect->has_password)
        out.password = connect->password;
    if (out.has_method)
        out.method = properties->authentication_method;
    if (out.has_data)
        out.data = properties->authentication_data;
    return out;
}

void m5_exchange_announce(const struct m5_conn *conn, struct mqtt5_properties *out)
{
    if (!has_method(conn))
        return;
    MQTT5_SET(out, AUTHENTICATION_METHOD);
    out->authentication_method = method_of(conn->exchange);
    if (!conn->exchange->has_data)
        return;
    MQTT5_SET(out, AUTHENTICATION_DATA);
    out->authentication_data = conn->exchange->data;
}

void m5_exchange_resume(struct m5_conn *conn)
{
    struct mqtt5_frame frame;
    bool decided = conn->check == M5_CHECK_ALLOWED || conn->check == M5_CHECK_DENIED;
    if (conn->state != M5_CONN_NEW || !decided || !m5_exchange_waits(conn))
        return;
    if (mqtt5_frame_read(conn->exchange->connect, UINT32_MAX, &frame) != MQTT5_OK)
        M5_UNREACHABLE(); /* it was read when it came */
    m5_handle_connect(conn, &frame);
    m5_run_flush(conn->shard);
    m5_shard_settle(conn->shard);
}

/* ---- for the host ---- */

static void read_connect(const struct m5_conn *conn, struct mqtt5_packet *out)
{
    struct mqtt5_decode_limits limits = m5_shard_limits(conn->shard);
    struct mqtt5_frame frame;
    struct mqtt5_bytes input = m5_exchange_waits(conn)
                                   ? conn->exchange->connect
                                   : m5_bytes(conn->partial, conn->partial_size);
    if (mqtt5_frame_read(input, UINT32_MAX, &frame) != MQTT5_OK ||
        mqtt5_packet_decode(&frame, 0, &limits, out) != MQTT5_OK)
        M5_UNREACHABLE(); /* it was decoded when it came */
}

static void read_credentials(const struct m5_conn *conn, struct m5_credentials *out)
{
    struct mqtt5_packet packet;
    if (conn->state == M5_CONN_NEW) {
        read_connect(conn, &packet);
        *out = m5_exchange_credentials(conn, &packet.as.connect);
        if (!m5_exchange_waits(conn))
            return;
    } else {
        const struct m5_principal *who = &conn->session->principal;
        *out = (struct m5_credentials){.client_id = who->client_id,
                                       .username = who->username,
                                       .method = method_of(conn->exchange),
                                       .listener = conn->listener,
                                       .anonymous = who->anonymous,
                                       .has_method = true,
                                       .secure = conn->secure,
                                       .again = true};
    }
    out->going = conn->exchange->going;
    out->data = conn->exchange->data;
    out->has_data = conn->exchange->has_data;
}

static struct m5_conn *next_new(struct m5_shard *shard)
{
    struct m5_list *node;
    while ((node = m5_list_pop_front(&shard->checks)) != NULL) {
        struct m5_conn *conn = M5_CONTAINER_OF(node, struct m5_conn, resumed);
        if (conn->state == M5_CONN_NEW)
            return conn; /* else its time was over */
    }
    return NULL;
}

static struct m5_conn *next_open(struct m5_shard *shard)
{
    struct m5_list *node;
    while ((node = m5_list_pop_front(&shard->exchanges)) != NULL) {
        struct m5_conn *conn = M5_CONTAINER_OF(node, struct m5_exchange, node)->conn;
        if (conn->state == M5_CONN_OPEN)
            return conn;
    }
    return NULL;
}

struct m5_conn *m5_shard_next_check(struct m5_shard *shard, struct m5_credentials *out)
{
    struct m5_conn *conn = next_new(shard);
    if (conn == NULL)
        conn = next_open(shard);
    if (conn == NULL)
        return NULL;
    conn->check = M5_CHECK_ASKED;
    read_credentials(conn, out);
    return conn;
}

/* ---- verdicts ---- */

/* False when nothing could be sent: the connection is then closing. */
static bool send_auth(struct m5_conn *conn, uint8_t reason, const struct m5_verdict *verdict)
{
    struct mqtt5_packet packet = {.type = MQTT5_AUTH, .as.auth.reason_code = reason};
    struct mqtt5_properties *properties = &packet.as.auth.properties;
    MQTT5_SET(properties, AUTHENTICATION_METHOD); /* [MQTT-4.12.0-5] */
    properties->authentication_method = method_of(conn->exchange);
    if (verdict->has_data) {
        MQTT5_SET(properties, AUTHENTICATION_DATA);
        properties->authentication_data = verdict->data;
    }
    if (m5_conn_send(conn, &packet))
        return true;
    m5_conn_close(conn, MQTT5_REASON_PACKET_TOO_LARGE, NULL);
    return false;
}

/* From the first CONTINUE on CONNECT stays here, and what comes next is read. */
static bool keep_connect(struct m5_conn *conn)
{
    struct mqtt5_packet packet;
    struct mqtt5_frame frame;
    struct mqtt5_bytes input = m5_bytes(conn->partial, conn->partial_size);
    if (m5_exchange_waits(conn))
        return true;
    if (mqtt5_frame_read(input, UINT32_MAX, &frame) != MQTT5_OK)
        M5_UNREACHABLE();
    if (!keep(conn, &conn->exchange->connect, m5_bytes(conn->partial, frame.size)))
        return false;
    conn->partial_size -= frame.size;
    memmove(conn->partial, conn->partial + frame.size, conn->partial_size);
    M5_COUNT(conn->shard, packets_received, !conn->counted);
    conn->counted = false;
    read_connect(conn, &packet);
    const struct mqtt5_properties *properties = &packet.as.connect.properties;
    conn->version = MQTT5_VERSION_5;
    if (MQTT5_HAS(properties, MAXIMUM_PACKET_SIZE))
        conn->packet_size_max = properties->maximum_packet_size;
    return true;
}

/* CONNECT is on its way: [MQTT-4.12.0-2]. */
static void go_on(struct m5_conn *conn, const struct m5_verdict *verdict)
{
    M5_ASSERT(has_method(conn)); /* [MQTT-4.12.0-6] */
    if (!keep_connect(conn)) {
        m5_conn_abort(conn);
        return;
    }
    if (!send_auth(conn, MQTT5_REASON_CONTINUE_AUTHENTICATION, verdict))
        return;
    conn->check = M5_CHECK_CONTINUED;
    conn->exchange->going = true;
    m5_conn_resume_later(conn);
}

static bool keep_roles(struct m5_conn *conn, struct mqtt5_bytes roles)
{
    drop(conn, &conn->exchange->roles);
    if (roles.len == 0)
        return true;
    uint8_t *copy = m5_alloc_zero(conn->shard->allocator, roles.len + 1);
    if (copy == NULL)
        return false;
    m5_copy(copy, roles);
    conn->exchange->roles = m5_bytes(copy, roles.len + 1);
    return true;
}

/* For who is made of what was found out; false without memory. */
static bool keep_verdict(struct m5_conn *conn, const struct m5_verdict *verdict)
{
    if (conn->exchange != NULL)
        conn->exchange->has_data = false; /* the client's */
    if (!verdict->has_data && !verdict->named && verdict->roles.len == 0)
        return true;
    struct m5_exchange *exchange = exchange_of(conn);
    if (exchange == NULL || !keep(conn, &exchange->username, verdict->username) ||
        !keep_roles(conn, verdict->roles))
        return false;
    exchange->has_data = verdict->has_data;
    exchange->named = verdict->named;
    return keep(conn, &exchange->data, verdict->data); /* in which the others may have been */
}

static void verified_new(struct m5_conn *conn, const struct m5_verdict *verdict)
{
    if (verdict->kind == M5_VERDICT_CONTINUE) {
        go_on(conn, verdict);
        return;
    }
    conn->check_reason = verdict->reason;
    conn->check = verdict->kind == M5_VERDICT_ALLOW ? M5_CHECK_ALLOWED : M5_CHECK_DENIED;
    if (verdict->kind == M5_VERDICT_ALLOW && !keep_verdict(conn, verdict)) {
        m5_conn_abort(conn);
        return;
    }
    m5_conn_resume_later(conn);
}

/* A re-authentication that fails ends the connection [MQTT-4.12.1-2]. */
static void expel(struct m5_conn *conn, uint8_t reason)
{
    M5_COUNT(conn->shard, denied_connect, 1);
    m5_conn_close(conn,
                  mqtt5_reason_allowed(reason, MQTT5_DISCONNECT)
                      ? reason
                      : (uint8_t)MQTT5_REASON_NOT_AUTHORIZED,
                  NULL);
}

static bool same_client(const struct m5_session *session, const struct m5_verdict *verdict)
{
    return !verdict->named || (!session->principal.anonymous &&
                               m5_bytes_equal(session->principal.username, verdict->username));
}

static void verified_again(struct m5_conn *conn, const struct m5_verdict *verdict)
{
    struct m5_shard *shard = conn->shard;
    if (verdict->kind == M5_VERDICT_CONTINUE) {
        if (send_auth(conn, MQTT5_REASON_CONTINUE_AUTHENTICATION, verdict)) {
            conn->check = M5_CHECK_CONTINUED;
            conn->exchange->going = true;
        }
        return;
    }
    conn->check = M5_CHECK_NONE;
    conn->exchange->going = false;
    m5_timer_stop(&shard->wheel, &conn->exchange->alarm.timer);
    if (verdict->kind == M5_VERDICT_DENY || !same_client(conn->session, verdict)) {
        expel(conn, verdict->kind == M5_VERDICT_DENY ? verdict->reason
                                                     : (uint8_t)MQTT5_REASON_NOT_AUTHORIZED);
        return;
    }
    if (!m5_session_logged_in(shard, conn->session, conn->listener, verdict->roles)) {
        m5_conn_abort(conn);
        return;
    }
    send_auth(conn, MQTT5_REASON_SUCCESS, verdict);
    drop(conn, &conn->exchange->data);
}

void m5_conn_verified(struct m5_conn *conn, const struct m5_verdict *verdict)
{
    M5_ASSERT(verdict->kind != M5_VERDICT_DENY || verdict->reason >= 0x80);
    if (conn->check != M5_CHECK_ASKED)
        return;
    if (conn->state == M5_CONN_NEW)
        verified_new(conn, verdict);
    else if (conn->state == M5_CONN_OPEN)
        verified_again(conn, verdict);
}

/* ---- AUTH comes ---- */

/* The host is to be asked about what the client has sent. */
static void want_check(struct m5_conn *conn, const struct mqtt5_properties *properties)
{
    struct m5_shard *shard = conn->shard;
    struct m5_exchange *exchange = conn->exchange;
    exchange->has_data = MQTT5_HAS(properties, AUTHENTICATION_DATA);
    struct mqtt5_bytes data =
        exchange->has_data ? properties->authentication_data : (struct mqtt5_bytes){0};
    if (data.len > shard->config->connect_packet_max) {
        m5_conn_object(conn, MQTT5_ERR_PACKET_TOO_LARGE);
        return;
    }
    if (!keep(conn, &exchange->data, data)) {
        m5_conn_abort(conn);
        return;
    }
    conn->check = M5_CHECK_WANTED;
    if (conn->state == M5_CONN_NEW)
        m5_list_push_back(&shard->checks, &conn->resumed);
    else
        m5_list_push_back(&shard->exchanges, &exchange->node);
}

/* The method of CONNECT in every AUTH [MQTT-4.12.0-5] [MQTT-4.12.1-1]. */
static bool same_method(const struct m5_conn *conn, const struct mqtt5_properties *properties)
{
    return has_method(conn) && MQTT5_HAS(properties, AUTHENTICATION_METHOD) &&
           m5_bytes_equal(properties->authentication_method, method_of(conn->exchange));
}

void m5_handle_auth(struct m5_conn *conn, const struct mqtt5_frame *frame)
{
    struct mqtt5_decode_limits limits = m5_shard_limits(conn->shard);
    struct mqtt5_packet packet;
    enum mqtt5_error error = mqtt5_packet_decode(frame, conn->version, &limits, &packet);
    const struct mqtt5_reasoned *auth = &packet.as.auth;
    /* Whose turn it is: the client begins anew only when nothing is under way, and continues only
     * what we asked it to [MQTT-4.12.0-3]. Without a method there is no AUTH [MQTT-4.12.0-7]. */
    bool begins = auth->reason_code == MQTT5_REASON_RE_AUTHENTICATE &&
                  conn->state == M5_CONN_OPEN && conn->check == M5_CHECK_NONE;
    bool continues = auth->reason_code == MQTT5_REASON_CONTINUE_AUTHENTICATION &&
                     conn->check == M5_CHECK_CONTINUED;
    if (error == MQTT5_OK && (!same_method(conn, &auth->properties) || (!begins && !continues)))
        error = MQTT5_ERR_PROTOCOL;
    if (error != MQTT5_OK) {
        m5_conn_object(conn, error);
        return;
    }
    if (begins)
        m5_timer_start(&conn->shard->wheel, &conn->exchange->alarm.timer,
                       conn->shard->now_ms + conn->shard->config->connect_timeout_ms);
    want_check(conn, &auth->properties);
}

void m5_handle_instead(struct m5_conn *conn, const struct mqtt5_frame *frame)
{
    if (frame->type == MQTT5_AUTH) {
        m5_handle_auth(conn, frame);
        return;
    }
    /* Nothing else is allowed before CONNACK [MQTT-3.1.2-30]. */
    if (frame->type == MQTT5_DISCONNECT)
        m5_conn_close(conn, MQTT5_REASON_SUCCESS, NULL);
    else
        m5_conn_object(conn, MQTT5_ERR_PROTOCOL);
}

struct mqtt5_bytes m5_exchange_roles(const struct m5_conn *conn)
{
    const struct m5_exchange *exchange = conn->exchange;
    return exchange == NULL || exchange->roles.len == 0
               ? (struct mqtt5_bytes){0}
               : m5_bytes(exchange->roles.data, exchange->roles.len - 1);
}

void m5_exchange_alarm(struct m5_exchange *exchange)
{
    struct m5_conn *conn = exchange->conn;
    if (conn->state != M5_CONN_OPEN || conn->check == M5_CHECK_NONE)
        return;
    M5_COUNT(conn->shard, limit_connect_timeout, 1);
    conn->error = MQTT5_ERR_TIMEOUT;
    expel(conn, MQTT5_REASON_NOT_AUTHORIZED);
}
