/* Enhanced authentication (section 4.12) as the broker takes part in it, names that transports
 * prove, and what listeners allow.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "broker/exchange.h"
#include "support/engine_peer.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define V5 MQTT5_VERSION_5

static struct engine_rig *rig;

/* A method "m" that does what its data says: "more", "deny", "allow", "allow NAME", "role", "wait".
 * Notes what it was asked. */
static struct seen {
    unsigned count;
    bool going, again, secure, has_data, anonymous;
    char method[16], username[16], identity[16], client_id[16];
    uint32_t listener;
    struct m5_conn *conn; /* "wait" */
} seen;

static void copy(char out[16], struct mqtt5_bytes from)
{
    snprintf(out, 16, "%.*s", (int)from.len, (const char *)from.data);
}

static bool begins(struct mqtt5_bytes data, const char *word)
{
    return data.len >= strlen(word) && memcmp(data.data, word, strlen(word)) == 0;
}

static void on_check(struct m5_conn *conn, const struct m5_credentials *shown)
{
    seen.count++;
    seen.going = shown->going;
    seen.again = shown->again;
    seen.secure = shown->secure;
    seen.has_data = shown->has_data;
    seen.anonymous = shown->anonymous;
    seen.listener = shown->listener;
    seen.conn = conn;
    copy(seen.method, shown->method);
    copy(seen.username, shown->username);
    copy(seen.identity, shown->identity);
    copy(seen.client_id, shown->client_id);
    struct m5_verdict verdict = {.kind = M5_VERDICT_DENY,
                                 .reason = MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD};
    if (begins(shown->data, "wait"))
        return;
    if (begins(shown->data, "more"))
        verdict = (struct m5_verdict){
            .kind = M5_VERDICT_CONTINUE, .has_data = true, .data = m5_bytes_of("ask")};
    if (begins(shown->data, "allow"))
        verdict = (struct m5_verdict){
            .kind = M5_VERDICT_ALLOW, .has_data = true, .data = m5_bytes_of("bye")};
    if (begins(shown->data, "allow ")) {
        verdict.named = true;
        verdict.username = m5_bytes(shown->data.data + 6, shown->data.len - 6);
    }
    if (begins(shown->data, "role"))
        verdict = (struct m5_verdict){.kind = M5_VERDICT_ALLOW, .roles = m5_bytes("r1\0r2\0", 6)};
    m5_conn_verified(conn, &verdict);
}

/* Whom the engine last asked about. */
static struct {
    char username[16], roles[16];
    bool anonymous, proved, has_roles;
    uint32_t serial, listener;
} last;

static enum m5_access_answer may_connect(void *ctx, const struct m5_credentials *shown,
                                         enum mqtt5_reason_code *reason)
{
    (void)ctx;
    *reason = MQTT5_REASON_BAD_AUTHENTICATION_METHOD;
    if (!shown->has_method)
        return M5_ACCESS_ALLOW;
    return m5_bytes_equal(shown->method, m5_bytes_of("m")) || shown->method.len == 0
               ? M5_ACCESS_PENDING
               : M5_ACCESS_DENY;
}

static enum m5_access_answer may_publish(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic, uint8_t qos, bool retain)
{
    (void)ctx, (void)qos, (void)retain;
    copy(last.username, who->username);
    last.anonymous = who->anonymous;
    last.proved = who->proved;
    last.serial = who->serial;
    last.listener = who->listener;
    last.has_roles = who->roles != NULL;
    if (last.has_roles)
        memcpy(last.roles, who->roles, 7);
    return m5_bytes_equal(topic, m5_bytes_of("forbidden")) ? M5_ACCESS_DENY : M5_ACCESS_ALLOW;
}

static enum m5_access_answer may_subscribe(void *ctx, const struct m5_principal *who,
                                           struct mqtt5_bytes filter, uint8_t qos)
{
    (void)ctx, (void)who, (void)filter, (void)qos;
    return M5_ACCESS_ALLOW;
}

static enum m5_access_answer may_deliver(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic)
{
    (void)ctx, (void)who, (void)topic;
    return M5_ACCESS_ALLOW;
}

static int set_up(void **state)
{
    rig = malloc(sizeof *rig);
    assert_non_null(rig);
    seen = (struct seen){0};
    memset(&last, 0, sizeof last);
    engine_rig_init(rig, *(const uint32_t *)*state);
    rig->has_access = true;
    rig->access = (struct m5_access){.connect = may_connect,
                                     .publish = may_publish,
                                     .subscribe = may_subscribe,
                                     .deliver = may_deliver};
    rig->on_check = on_check;
    return 0;
}

static int set_up_started(void **state)
{
    set_up(state);
    engine_rig_start(rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    engine_rig_fini(rig);
    free(rig);
    return 0;
}

/* ---- words ---- */

static struct mqtt5_connect connect_packet(const char *id, const char *method, const char *data)
{
    struct mqtt5_connect connect = guest_connect_packet(V5, id);
    MQTT5_SET(&connect.properties, AUTHENTICATION_METHOD);
    connect.properties.authentication_method = m5_bytes_of(method);
    if (data == NULL)
        return connect;
    MQTT5_SET(&connect.properties, AUTHENTICATION_DATA);
    connect.properties.authentication_data = m5_bytes_of(data);
    return connect;
}

static void say_auth(struct engine_peer *peer, uint8_t reason, const char *method, const char *data)
{
    struct mqtt5_packet packet = {.type = MQTT5_AUTH, .as.auth.reason_code = reason};
    MQTT5_SET(&packet.as.auth.properties, AUTHENTICATION_METHOD);
    packet.as.auth.properties.authentication_method = m5_bytes_of(method);
    if (data != NULL) {
        MQTT5_SET(&packet.as.auth.properties, AUTHENTICATION_DATA);
        packet.as.auth.properties.authentication_data = m5_bytes_of(data);
    }
    guest_send_packet(peer, &packet);
}

static void say_more(struct engine_peer *peer, const char *data)
{
    say_auth(peer, MQTT5_REASON_CONTINUE_AUTHENTICATION, "m", data);
}

/* The next packet is an AUTH with this reason code, our method and this data. */
static void assert_auth(struct engine_peer *peer, uint8_t reason, const char *data)
{
    struct mqtt5_packet packet;
    assert_true(guest_take(peer, &packet));
    if (packet.type == MQTT5_DISCONNECT)
        fail_msg("DISCONNECT 0x%02x", packet.as.disconnect.reason_code);
    assert_int_equal(packet.type, MQTT5_AUTH);
    assert_int_equal(packet.as.auth.reason_code, reason);
    const struct mqtt5_properties *properties = &packet.as.auth.properties;
    assert_true(MQTT5_HAS(properties, AUTHENTICATION_METHOD)); /* [MQTT-4.12.0-5] */
    assert_true(m5_bytes_equal(properties->authentication_method, m5_bytes_of("m")));
    assert_int_equal(MQTT5_HAS(properties, AUTHENTICATION_DATA), data != NULL);
    if (data != NULL)
        assert_true(m5_bytes_equal(properties->authentication_data, m5_bytes_of(data)));
}

static unsigned connack(struct engine_peer *peer, struct mqtt5_packet *packet)
{
    if (!guest_take(peer, packet))
        return GUEST_OPEN;
    assert_int_equal(packet->type, MQTT5_CONNACK);
    return packet->as.connack.reason_code;
}

static struct engine_peer *begin(const char *id, const char *data)
{
    struct engine_peer *peer = guest_open(rig, V5);
    const struct mqtt5_packet packet = {.type = MQTT5_CONNECT,
                                        .as.connect = connect_packet(id, "m", data)};
    guest_send_packet(peer, &packet);
    return peer;
}

static struct engine_peer *log_in(const char *id, const char *data)
{
    struct mqtt5_packet packet;
    struct engine_peer *peer = begin(id, data);
    assert_int_equal(connack(peer, &packet), 0);
    return peer;
}

/* ---- the first exchange ---- */

/* [MQTT-4.12.0-5] */
static void who_proves_it_at_once_is_who_the_verdict_says(void **state)
{
    (void)state;
    struct mqtt5_packet packet;
    struct engine_peer *peer = begin("c", "allow alice");
    assert_int_equal(connack(peer, &packet), 0);
    const struct mqtt5_properties *properties = &packet.as.connack.properties;
    assert_true(MQTT5_HAS(properties, AUTHENTICATION_METHOD));
    assert_true(m5_bytes_equal(properties->authentication_method, m5_bytes_of("m")));
    assert_true(m5_bytes_equal(properties->authentication_data, m5_bytes_of("bye")));
    assert_int_equal(guest_publish(peer, "t", "x", 1), MQTT5_REASON_NO_MATCHING_SUBSCRIBERS);
    assert_string_equal(last.username, "alice");
    assert_true(!last.anonymous && last.proved);
    assert_int_equal(seen.count, 1);
    assert_false(seen.going || seen.again);
    assert_true(seen.anonymous && seen.has_data);
    assert_string_equal(seen.method, "m");
    assert_string_equal(seen.client_id, "c");
}

/* [MQTT-4.12.0-2] [MQTT-4.12.0-3]: and CONNACK says, after the exchange, what it would have said at
 * once; the will is there, the client's limits hold. */
static void connect_after_an_exchange_is_a_whole_connect(void **state)
{
    (void)state;
    struct engine_peer *watcher = guest_connect(rig, V5, "watcher");
    assert_int_equal(guest_subscribe(watcher, "will", 0), 0);
    struct engine_peer *peer = guest_open(rig, V5);
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT,
                                  .as.connect = connect_packet("c", "m", "more")};
    struct mqtt5_connect *connect = &packet.as.connect;
    connect->has_will = true;
    connect->will =
        (struct mqtt5_will){.topic = m5_bytes_of("will"), .payload = m5_bytes_of("gone")};
    MQTT5_SET(&connect->properties, RECEIVE_MAXIMUM);
    connect->properties.receive_maximum = 1;
    connect->keep_alive_s = 100;
    guest_send_packet(peer, &packet);
    assert_auth(peer, MQTT5_REASON_CONTINUE_AUTHENTICATION, "ask");
    say_more(peer, "more");
    assert_true(seen.going);
    assert_auth(peer, MQTT5_REASON_CONTINUE_AUTHENTICATION, "ask");
    assert_int_equal(engine_stats(rig).sessions, 1);
    say_more(peer, "allow bob");
    assert_int_equal(connack(peer, &packet), 0);
    const struct mqtt5_properties *properties = &packet.as.connack.properties;
    assert_true(MQTT5_HAS(properties, AUTHENTICATION_METHOD));
    assert_int_equal(properties->receive_maximum, rig->config.receive_maximum);
    assert_int_equal(properties->maximum_packet_size, rig->config.maximum_packet_size);
    assert_int_equal(properties->topic_alias_maximum, rig->config.topic_alias_maximum);
    assert_int_equal(seen.count, 3);
    assert_int_equal(guest_subscribe(peer, "q", 1), 1);
    guest_publish(watcher, "q", "1", 1);
    guest_publish(watcher, "q", "2", 1);
    const uint16_t id = assert_message_held(peer, "q", "1", 1);
    assert_quiet(peer); /* receive maximum 1 [MQTT-3.3.4-9] */
    guest_send_ack(peer, MQTT5_PUBACK, id, 0);
    assert_message(peer, "q", "2", 1);
    guest_lose(peer);
    assert_message(watcher, "will", "gone", 0);
}

/* [MQTT-4.12.0-4] */
static void a_refusal_at_any_step_closes(void **state)
{
    (void)state;
    struct mqtt5_packet packet;
    struct engine_peer *peer = begin("c", "deny");
    assert_int_equal(connack(peer, &packet), MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD);
    assert_true(peer->closed);
    peer = begin("c", "more");
    assert_auth(peer, MQTT5_REASON_CONTINUE_AUTHENTICATION, "ask");
    say_more(peer, NULL);
    assert_false(seen.has_data);
    assert_int_equal(connack(peer, &packet), MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD);
    assert_true(peer->closed);
    assert_int_equal(engine_stats(rig).denied_connect, 2);
    assert_int_equal(engine_stats(rig).sessions, 0);
}

/* [MQTT-4.12.0-1] */
static void a_method_that_is_not_known_is_refused(void **state)
{
    (void)state;
    struct mqtt5_connect connect = connect_packet("c", "other", NULL);
    struct engine_peer *peer = guest_open(rig, V5);
    assert_int_equal(guest_say_connect(peer, &connect), MQTT5_REASON_BAD_AUTHENTICATION_METHOD);
    assert_true(peer->closed);
    assert_int_equal(seen.count, 0);
    connect = connect_packet("c", "", "allow"); /* an empty one is a method */
    assert_int_equal(guest_say_connect(guest_open(rig, V5), &connect), 0);
    assert_string_equal(seen.method, "");
}

/* What comes instead of the AUTH that is awaited: [MQTT-3.1.2-30] [MQTT-4.12.0-3] [MQTT-4.12.0-5]
 * [MQTT-3.15.1-1] [MQTT-3.15.2-1] */
static void an_exchange_takes_nothing_but_its_auth(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        unsigned reason;
    } cases[] = {
        {"c0 00", MQTT5_REASON_PROTOCOL_ERROR},                     /* PINGREQ */
        {"30 04 00 01 74 00", MQTT5_REASON_PROTOCOL_ERROR},         /* PUBLISH */
        {"f0 06 19 04 15 00 01 6d", MQTT5_REASON_PROTOCOL_ERROR},   /* begins anew */
        {"f0 06 00 04 15 00 01 6d", MQTT5_REASON_PROTOCOL_ERROR},   /* success is ours to say */
        {"f0 06 18 04 15 00 01 6e", MQTT5_REASON_PROTOCOL_ERROR},   /* another method */
        {"f0 02 18 00", MQTT5_REASON_PROTOCOL_ERROR},               /* none */
        {"f1 06 18 04 15 00 01 6d", MQTT5_REASON_MALFORMED_PACKET}, /* flags */
        {"f0 06 17 04 15 00 01 6d", MQTT5_REASON_PROTOCOL_ERROR},   /* reason code */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mqtt5_packet packet;
        struct engine_peer *peer = begin("c", "more");
        assert_auth(peer, MQTT5_REASON_CONTINUE_AUTHENTICATION, "ask");
        guest_send_hex(peer, cases[i].hex);
        const unsigned reason = connack(peer, &packet);
        if (reason != cases[i].reason && reason != MQTT5_REASON_MALFORMED_PACKET)
            fail_msg("%s: 0x%02x", cases[i].hex, reason);
        assert_true(peer->closed);
        guest_lose(peer);
    }
    struct engine_peer *peer = begin("c", "more");
    assert_auth(peer, MQTT5_REASON_CONTINUE_AUTHENTICATION, "ask");
    guest_send_hex(peer, "e0 00");
    assert_int_equal(guest_end(peer), 0); /* closed without a word */
    assert_int_equal(engine_stats(rig).connections, 0);
}

static void an_exchange_has_the_time_of_a_connect(void **state)
{
    (void)state;
    struct engine_peer *peer = begin("c", "more"), *other = begin("d", "wait");
    assert_auth(peer, MQTT5_REASON_CONTINUE_AUTHENTICATION, "ask");
    engine_advance(rig, rig->config.connect_timeout_ms - 100);
    say_more(peer, "more");
    assert_auth(peer, MQTT5_REASON_CONTINUE_AUTHENTICATION, "ask");
    engine_advance(rig, 2000);
    assert_true(peer->closed && other->closed);
    assert_int_equal(engine_stats(rig).limit_connect_timeout, 2);
    assert_int_equal(engine_stats(rig).connections, 0);
}

static void who_goes_in_an_exchange_is_gone(void **state)
{
    (void)state;
    guest_lose(begin("c", "more"));
    guest_lose(begin("c", "wait"));
    struct engine_peer *peer = begin("c", "more");
    say_more(peer, "wait");
    guest_lose(peer);
    peer = log_in("c", "allow");
    say_auth(peer, MQTT5_REASON_RE_AUTHENTICATE, "m", "wait");
    guest_lose(peer);
    assert_int_equal(engine_stats(rig).connections, 0);
    assert_int_equal(engine_stats(rig).sessions, 0);
}

/* What stands in the way of a client is looked at as for any other CONNECT. */
static void checks_come_after_an_exchange_too(void **state)
{
    (void)state;
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT,
                                  .as.connect = connect_packet("c", "m", "more")};
    packet.as.connect.has_will = true;
    packet.as.connect.will = (struct mqtt5_will){.topic = m5_bytes_of("forbidden")};
    struct engine_peer *peer = guest_open(rig, V5);
    guest_send_packet(peer, &packet);
    assert_auth(peer, MQTT5_REASON_CONTINUE_AUTHENTICATION, "ask");
    say_more(peer, "allow eve");
    assert_int_equal(connack(peer, &packet), MQTT5_REASON_NOT_AUTHORIZED);
    assert_string_equal(last.username, "eve");
    assert_true(peer->closed);
}

/* An AUTH larger than the client takes is not sent [MQTT-3.1.2-24]. */
static void a_client_that_takes_small_packets_only(void **state)
{
    (void)state;
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT,
                                  .as.connect = connect_packet("c", "m", "more")};
    MQTT5_SET(&packet.as.connect.properties, MAXIMUM_PACKET_SIZE);
    packet.as.connect.properties.maximum_packet_size = 8;
    struct engine_peer *peer = guest_open(rig, V5);
    guest_send_packet(peer, &packet);
    assert_int_equal(guest_end(peer), 0);
    assert_int_equal(engine_stats(rig).limit_packet_size, 1);
}

/* ---- sessions and principals ---- */

static unsigned resume_as(const char *name, bool *present)
{
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT};
    char data[32];
    snprintf(data, sizeof data, "allow %s", name);
    packet.as.connect = connect_packet("device", "m", data);
    packet.as.connect.clean_start = false;
    MQTT5_SET(&packet.as.connect.properties, SESSION_EXPIRY_INTERVAL);
    packet.as.connect.properties.session_expiry_interval_s = 1000;
    struct engine_peer *peer = guest_open(rig, V5);
    guest_send_packet(peer, &packet);
    const unsigned reason = connack(peer, &packet);
    *present = packet.as.connack.session_present;
    guest_lose(peer);
    return reason;
}

static void a_session_belongs_to_the_name_that_was_proved(void **state)
{
    (void)state;
    bool present;
    assert_int_equal(resume_as("alice", &present), 0);
    assert_false(present);
    assert_int_equal(resume_as("bob", &present), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(resume_as("alice", &present), 0);
    assert_true(present);
    struct mqtt5_connect liar = guest_connect_packet(V5, "device"); /* says so, proves nothing */
    liar.clean_start = false;
    liar.has_username = true;
    liar.username = m5_bytes_of("alice");
    assert_int_equal(guest_say_connect(guest_open(rig, V5), &liar), MQTT5_REASON_NOT_AUTHORIZED);
    liar.client_id = m5_bytes_of("other");
    struct engine_peer *peer = guest_open(rig, V5);
    assert_int_equal(guest_say_connect(peer, &liar), 0);
    guest_publish(peer, "t", "x", 1);
    assert_false(last.proved);
}

static void roles_come_with_the_login_and_go_with_the_next(void **state)
{
    (void)state;
    struct engine_peer *peer = log_in("c", "role");
    guest_publish(peer, "t", "x", 1);
    assert_memory_equal(last.roles, "r1\0r2\0", 7);
    const uint32_t serial = last.serial;
    assert_int_not_equal(serial, 0);
    say_auth(peer, MQTT5_REASON_RE_AUTHENTICATE, "m", "allow");
    assert_auth(peer, MQTT5_REASON_SUCCESS, "bye");
    guest_publish(peer, "t", "x", 1);
    assert_false(last.has_roles);
    assert_int_not_equal(last.serial, serial);
}

/* ---- re-authentication ---- */

/* [MQTT-4.12.1-1] */
static void a_client_proves_anew_who_it_is_while_traffic_goes_on(void **state)
{
    (void)state;
    struct engine_peer *peer = log_in("c", "allow alice");
    assert_int_equal(guest_subscribe(peer, "t", 1), 1);
    say_auth(peer, MQTT5_REASON_RE_AUTHENTICATE, "m", "wait");
    assert_true(seen.again && !seen.going);
    assert_string_equal(seen.username, "alice");
    assert_int_equal(guest_publish(peer, "t", "meanwhile", 1), 0);
    assert_message(peer, "t", "meanwhile", 1);
    m5_conn_verified(seen.conn, &(struct m5_verdict){.kind = M5_VERDICT_CONTINUE});
    engine_pump(rig);
    assert_auth(peer, MQTT5_REASON_CONTINUE_AUTHENTICATION, NULL);
    assert_int_equal(guest_publish(peer, "t", "still", 1), 0);
    assert_message(peer, "t", "still", 1);
    say_more(peer, "allow alice");
    assert_true(seen.again && seen.going);
    assert_auth(peer, MQTT5_REASON_SUCCESS, "bye");
    engine_advance(rig, 3 * rig->config.connect_timeout_ms);
    assert_quiet(peer);
    say_auth(peer, MQTT5_REASON_RE_AUTHENTICATE, "m", "allow"); /* and again */
    assert_auth(peer, MQTT5_REASON_SUCCESS, "bye");
}

/* [MQTT-4.12.1-2] */
static void who_fails_to_prove_it_anew_is_disconnected(void **state)
{
    (void)state;
    static const char *const lies[] = {"deny", "allow bob", NULL};
    for (size_t i = 0; i < 3; i++) {
        struct engine_peer *peer = log_in("c", "allow alice");
        say_auth(peer, MQTT5_REASON_RE_AUTHENTICATE, "m", lies[i]);
        assert_int_equal(guest_end(peer), MQTT5_REASON_NOT_AUTHORIZED);
        guest_lose(peer);
    }
    struct engine_peer *peer = log_in("c", "allow alice");
    say_auth(peer, MQTT5_REASON_RE_AUTHENTICATE, "m", "wait");
    engine_advance(rig, rig->config.connect_timeout_ms + 1000);
    assert_int_equal(guest_end(peer), MQTT5_REASON_NOT_AUTHORIZED);
}

/* [MQTT-4.12.0-7] [MQTT-4.12.1-1] [MQTT-4.12.0-3] */
static void auth_out_of_turn_is_a_protocol_error(void **state)
{
    (void)state;
    struct engine_peer *peer = guest_connect(rig, V5, "plain");
    say_auth(peer, MQTT5_REASON_RE_AUTHENTICATE, "m", "allow");
    assert_int_equal(guest_end(peer), MQTT5_REASON_PROTOCOL_ERROR);
    static const struct {
        uint8_t reason;
        const char *method;
    } cases[] = {{MQTT5_REASON_RE_AUTHENTICATE, "n"},
                 {MQTT5_REASON_CONTINUE_AUTHENTICATION, "m"},
                 {MQTT5_REASON_SUCCESS, "m"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer = log_in("c", "allow");
        say_auth(peer, cases[i].reason, cases[i].method, "allow");
        assert_int_equal(guest_end(peer), MQTT5_REASON_PROTOCOL_ERROR);
        guest_lose(peer);
    }
    static const uint8_t second[] = {MQTT5_REASON_RE_AUTHENTICATE,
                                     MQTT5_REASON_CONTINUE_AUTHENTICATION};
    for (size_t i = 0; i < 2; i++) { /* the host has not answered yet */
        peer = log_in("c", "allow");
        say_auth(peer, MQTT5_REASON_RE_AUTHENTICATE, "m", "wait");
        say_auth(peer, second[i], "m", "allow");
        assert_int_equal(guest_end(peer), MQTT5_REASON_PROTOCOL_ERROR);
        guest_lose(peer);
    }
}

/* ---- what the transport and the listener say ---- */

static void a_name_of_the_transport_is_the_user_name(void **state)
{
    rig->identity = "device-7";
    rig->secure = true;
    rig->listener = 5;
    engine_rig_start(rig);
    (void)state;
    for (unsigned i = 0; i < 4; i++) { /* some of them move to another shard */
        char id[16];
        snprintf(id, sizeof id, "c%u", i);
        struct engine_peer *peer = guest_open_on(rig, V5, 0);
        struct mqtt5_connect connect = guest_connect_packet(V5, id);
        connect.has_username = true;
        connect.username = m5_bytes_of("somebody else");
        assert_int_equal(guest_say_connect(peer, &connect), 0);
        guest_publish(peer, "t", "x", 1);
        assert_string_equal(last.username, "device-7");
        assert_true(!last.anonymous && last.proved);
        assert_int_equal(last.listener, 5);
    }
    guest_lose(begin("d", "more"));
    assert_string_equal(seen.identity, "device-7");
    assert_true(seen.secure);
    assert_int_equal(seen.listener, 5);
    struct m5_conn *conn = m5_conn_open(m5_engine_shard(rig->engine, 0), NULL,
                                        &(struct m5_conn_origin){.peer = m5_bytes_of("p")});
    assert_false(m5_conn_identify(conn, m5_bytes("a\0b", 3), true)); /* SECURITY-CASES 17 */
    assert_false(m5_conn_identify(conn, m5_bytes("\xff", 1), true));
    m5_conn_free(conn);
}

static void a_listener_lowers_the_limits(void **state)
{
    (void)state;
    rig->limits = (struct m5_conn_limits){.maximum_packet_size = 100, .keep_alive_max_s = 30};
    engine_rig_start(rig);
    static const struct {
        uint16_t wanted, given;
    } cases[] = {{0, 30}, {60, 30}, {30, 30}, {10, 10}};
    struct engine_peer *peer = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mqtt5_packet packet = {.type = MQTT5_CONNECT,
                                      .as.connect = guest_connect_packet(V5, "c")};
        packet.as.connect.keep_alive_s = cases[i].wanted;
        peer = guest_open(rig, V5);
        guest_send_packet(peer, &packet);
        assert_int_equal(connack(peer, &packet), 0);
        const struct mqtt5_properties *properties = &packet.as.connack.properties;
        assert_int_equal(properties->maximum_packet_size, 100); /* [MQTT-3.2.2-15] */
        assert_int_equal(MQTT5_HAS(properties, SERVER_KEEP_ALIVE),
                         cases[i].wanted != cases[i].given);
        if (cases[i].wanted != cases[i].given)
            assert_int_equal(properties->server_keep_alive_s, cases[i].given);
    }
    char payload[95];
    memset(payload, 'x', 94);
    payload[94] = 0;
    guest_publish(peer, "t", payload, 0); /* 100 bytes */
    assert_quiet(peer);
    struct mqtt5_publish publish = {.topic = m5_bytes_of("tt"), .payload = m5_bytes_of(payload)};
    guest_say_publish(peer, &publish);
    assert_int_equal(guest_end(peer), MQTT5_REASON_PACKET_TOO_LARGE);
    peer = guest_connect(rig, V5, "slow");
    engine_advance(rig, 46000);
    assert_int_equal(guest_end(peer), MQTT5_REASON_KEEP_ALIVE_TIMEOUT);
}

/* ---- memory ---- */

static void tell_a_story(void)
{
    struct engine_peer *peer = begin("c", "more");
    say_more(peer, "more");
    say_more(peer, "role");
    say_auth(peer, MQTT5_REASON_RE_AUTHENTICATE, "m", "more");
    say_more(peer, "role");
    struct mqtt5_packet packet;
    while (guest_take(peer, &packet))
        ;
    guest_lose(peer);
}

static void when_memory_runs_out_nothing_leaks(void **state)
{
    (void)state;
    rig->identity = NULL;
    engine_rig_start(rig);
    for (uint64_t nth = 1;; nth++) {
        assert_in_range(nth, 1, 1000);
        test_allocator_fail_nth(&rig->memory, nth);
        tell_a_story();
        const bool failed = test_allocator_failed(&rig->memory);
        test_allocator_fail_nth(&rig->memory, 0);
        assert_int_equal(engine_stats(rig).connections, 0);
        if (!failed)
            return;
    }
}

#define TEST(name)                                      \
    {                                                   \
#name, name, set_up_started, tear_down, &shards \
    }
#define PREPARE(name)                           \
    {                                           \
#name, name, set_up, tear_down, &shards \
    }

int main(void)
{
    static uint32_t shards;
    const struct CMUnitTest tests[] = {
        TEST(who_proves_it_at_once_is_who_the_verdict_says),
        TEST(connect_after_an_exchange_is_a_whole_connect),
        TEST(a_refusal_at_any_step_closes),
        TEST(a_method_that_is_not_known_is_refused),
        TEST(an_exchange_takes_nothing_but_its_auth),
        TEST(an_exchange_has_the_time_of_a_connect),
        TEST(who_goes_in_an_exchange_is_gone),
        TEST(checks_come_after_an_exchange_too),
        TEST(a_client_that_takes_small_packets_only),
        TEST(a_session_belongs_to_the_name_that_was_proved),
        TEST(roles_come_with_the_login_and_go_with_the_next),
        TEST(a_client_proves_anew_who_it_is_while_traffic_goes_on),
        TEST(who_fails_to_prove_it_anew_is_disconnected),
        TEST(auth_out_of_turn_is_a_protocol_error),
        PREPARE(a_name_of_the_transport_is_the_user_name),
        PREPARE(a_listener_lowers_the_limits),
        PREPARE(when_memory_runs_out_nothing_leaks),
    };
    int failed = 0;
    for (shards = 1; shards <= 3; shards += 2)
        failed += cmocka_run_group_tests_name(shards == 1 ? "one shard" : "three shards", tests,
                                              NULL, NULL);
    return failed;
}
