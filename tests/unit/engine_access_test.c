/* Rights are asked at every path: connect, publish, subscribe, will, and again at each delivery,
 * whatever the message waited for in between.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/engine_peer.h"

#include "base/bytes.h"
#include "support/unit.h"

#include <stdlib.h>

#define V5   MQTT5_VERSION_5
#define V311 MQTT5_VERSION_3_1_1

#define CONNECT   1u
#define PUBLISH   2u
#define SUBSCRIBE 4u
#define DELIVER   8u

/* Denies @p actions to @p who (NULL: everybody) on @p topic (NULL: any). */
struct rule {
    const char *who, *topic;
    unsigned actions;
};

static struct policy {
    struct rule rules[4];
    unsigned count;
    enum mqtt5_reason_code connect_reason;
    bool asks_elsewhere; /* who may connect is not known at once */
} policy;

static struct engine_rig *rig;

static enum m5_access_answer decide(const void *ctx, const struct m5_principal *who,
                                    struct mqtt5_bytes topic, unsigned action)
{
    const struct policy *from = ctx;
    for (unsigned i = 0; i < from->count; i++) {
        const struct rule *rule = &from->rules[i];
        if ((rule->actions & action) != 0 &&
            (rule->who == NULL || m5_bytes_equal(m5_bytes_of(rule->who), who->client_id)) &&
            (rule->topic == NULL || m5_bytes_equal(m5_bytes_of(rule->topic), topic)))
            return M5_ACCESS_DENY;
    }
    return M5_ACCESS_ALLOW;
}

static enum m5_access_answer may_connect(void *ctx, const struct m5_credentials *shown,
                                         enum mqtt5_reason_code *reason)
{
    const struct m5_principal who = {.client_id = shown->client_id, .anonymous = shown->anonymous};
    *reason = policy.connect_reason;
    if (policy.asks_elsewhere)
        return M5_ACCESS_PENDING;
    return decide(ctx, &who, m5_bytes_of(""), CONNECT);
}

static enum m5_access_answer may_publish(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic, uint8_t qos, bool retain)
{
    (void)qos;
    (void)retain;
    return decide(ctx, who, topic, PUBLISH);
}

static enum m5_access_answer may_subscribe(void *ctx, const struct m5_principal *who,
                                           struct mqtt5_bytes filter, uint8_t qos)
{
    (void)qos;
    return decide(ctx, who, filter, SUBSCRIBE);
}

static enum m5_access_answer may_deliver(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic)
{
    return decide(ctx, who, topic, DELIVER);
}

static void deny(const char *who, const char *topic, unsigned actions)
{
    policy.rules[policy.count++] = (struct rule){.who = who, .topic = topic, .actions = actions};
}

static int set_up(void **state)
{
    rig = malloc(sizeof *rig);
    assert_non_null(rig);
    policy = (struct policy){.connect_reason = MQTT5_REASON_NOT_AUTHORIZED};
    engine_rig_init(rig, *(const uint32_t *)*state);
    rig->has_access = true;
    rig->access = (struct m5_access){.ctx = &policy,
                                     .connect = may_connect,
                                     .publish = may_publish,
                                     .subscribe = may_subscribe,
                                     .deliver = may_deliver};
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

/* ---- connect ---- */

static void connect_denied_says_why_and_makes_no_session(void **state)
{
    (void)state;
    deny("mallory", NULL, CONNECT);
    policy.connect_reason = MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD;
    struct engine_peer *five = guest_open(rig, V5), *four = guest_open(rig, V311);
    struct mqtt5_connect connect = guest_connect_packet(V5, "mallory");
    assert_int_equal(guest_say_connect(five, &connect), MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD);
    connect.version = V311;
    assert_int_equal(guest_say_connect(four, &connect), 4);
    assert_true(five->closed && four->closed);
    assert_int_equal(engine_stats(rig).denied_connect, 2);
    assert_int_equal(engine_stats(rig).sessions, 0);
    guest_connect(rig, V5, "alice");
}

/* ---- credentials that take time ---- */

/* The only connection that waits for its credentials, and what they are. */
static struct m5_conn *take_check(struct m5_credentials *out)
{
    struct m5_conn *found = NULL;
    for (uint32_t i = 0; i < rig->shards; i++) {
        struct m5_conn *conn;
        struct m5_credentials credentials;
        while ((conn = m5_shard_next_check(m5_engine_shard(rig->engine, i), &credentials))) {
            assert_null(found);
            found = conn;
            *out = credentials;
        }
    }
    return found;
}

static struct engine_peer *say_connect_and_publish(uint8_t version)
{
    struct engine_peer *peer = guest_open(rig, version);
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT};
    packet.as.connect = guest_connect_packet(version, "alice");
    packet.as.connect.has_username = packet.as.connect.has_password = true;
    packet.as.connect.username = m5_bytes_of("name");
    packet.as.connect.password = m5_bytes_of("word");
    guest_send_packet(peer, &packet);
    packet = (struct mqtt5_packet){.type = MQTT5_PUBLISH,
                                   .as.publish = {.topic = m5_bytes_of("t"), .qos = 1}};
    packet.as.publish.packet_id = 7;
    guest_send_packet(peer, &packet);
    return peer;
}

static void a_connect_waits_for_its_credentials(void **state)
{
    (void)state;
    policy.asks_elsewhere = true;
    struct engine_peer *peer = say_connect_and_publish(V5);
    struct m5_credentials credentials;
    struct m5_conn *conn = take_check(&credentials);
    assert_non_null(conn);
    assert_false(credentials.anonymous);
    assert_true(m5_bytes_equal(credentials.client_id, m5_bytes_of("alice")));
    assert_true(m5_bytes_equal(credentials.username, m5_bytes_of("name")));
    assert_true(m5_bytes_equal(credentials.password, m5_bytes_of("word")));
    assert_null(take_check(&credentials)); /* once */
    assert_false(m5_conn_reading(conn));
    assert_quiet(peer);
    assert_int_equal(engine_stats(rig).sessions, 0);
    m5_conn_verified(conn, &(struct m5_verdict){.kind = M5_VERDICT_ALLOW});
    engine_pump(rig);
    struct mqtt5_packet packet;
    assert_true(guest_take(peer, &packet));
    assert_int_equal(packet.type, MQTT5_CONNACK);
    assert_int_equal(packet.as.connack.reason_code, 0);
    assert_true(guest_take(peer, &packet)); /* what followed the CONNECT is read now */
    assert_int_equal(packet.type, MQTT5_PUBACK);
    assert_int_equal(packet.as.ack.packet_id, 7);
    assert_int_equal(engine_stats(rig).packets_received, 2);
}

static void a_connect_whose_credentials_are_wrong_is_refused(void **state)
{
    (void)state;
    policy.asks_elsewhere = true;
    struct engine_peer *peer = say_connect_and_publish(V5);
    struct m5_credentials credentials;
    struct m5_conn *conn = take_check(&credentials);
    m5_conn_verified(conn, &(struct m5_verdict){.kind = M5_VERDICT_DENY,
                                                .reason = MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD});
    engine_pump(rig);
    struct mqtt5_packet packet;
    assert_true(guest_take(peer, &packet));
    assert_int_equal(packet.type, MQTT5_CONNACK);
    assert_int_equal(packet.as.connack.reason_code, MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD);
    assert_true(peer->closed);
    assert_int_equal(engine_stats(rig).denied_connect, 1);
    assert_int_equal(engine_stats(rig).publish_received, 0);
    assert_int_equal(engine_stats(rig).sessions, 0);
}

static void who_goes_while_credentials_are_checked_is_gone(void **state)
{
    (void)state;
    policy.asks_elsewhere = true;
    struct m5_credentials credentials;
    struct engine_peer *peer = say_connect_and_publish(V311);
    guest_lose(peer); /* before anybody has asked */
    assert_null(take_check(&credentials));
    peer = say_connect_and_publish(V311);
    assert_non_null(take_check(&credentials));
    guest_lose(peer);
    assert_int_equal(engine_stats(rig).connections, 0);
}

static void credentials_have_the_time_of_a_connect(void **state)
{
    (void)state;
    policy.asks_elsewhere = true;
    struct engine_peer *peer = say_connect_and_publish(V5);
    struct m5_credentials credentials;
    assert_non_null(take_check(&credentials));
    engine_advance(rig, rig->config.connect_timeout_ms + 2000);
    assert_true(peer->closed);
    assert_int_equal(engine_stats(rig).limit_connect_timeout, 1);
    peer = say_connect_and_publish(V5); /* nobody takes the question */
    engine_advance(rig, rig->config.connect_timeout_ms + 2000);
    assert_true(peer->closed);
    assert_null(take_check(&credentials));
}

static struct engine_peer *connect_as(uint8_t version, const char *id, const char *username,
                                      unsigned *reason)
{
    struct engine_peer *peer = guest_open(rig, version);
    struct mqtt5_connect connect = guest_connect_packet(version, id);
    connect.clean_start = false;
    connect.has_username = username != NULL;
    if (username != NULL)
        connect.username = m5_bytes_of(username);
    if (version == V5) {
        MQTT5_SET(&connect.properties, SESSION_EXPIRY_INTERVAL);
        connect.properties.session_expiry_interval_s = 1000;
    }
    *reason = guest_say_connect(peer, &connect);
    return peer;
}

static void session_of_another_principal_is_refused_and_untouched(void **state)
{
    (void)state;
    static const char *const others[] = {"bob", "", NULL};
    unsigned reason;
    struct engine_peer *owner = connect_as(V5, "device", "alice", &reason);
    assert_int_equal(reason, 0);
    assert_int_equal(guest_subscribe(owner, "a", 1), 1);
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    for (unsigned i = 0; i < 3; i++) {
        struct engine_peer *thief = connect_as(V5, "device", others[i], &reason);
        assert_int_equal(reason, MQTT5_REASON_NOT_AUTHORIZED);
        assert_int_equal(guest_end(thief), 0);
        thief = connect_as(V311, "device", others[i], &reason);
        assert_int_equal(reason, 5);
        assert_quiet(owner); /* not taken over */
    }
    assert_int_equal(engine_stats(rig).denied_connect, 6);
    guest_lose(owner);
    assert_int_equal(guest_publish(publisher, "a", "kept", 1), 0);
    connect_as(V5, "device", "bob", &reason);
    assert_int_equal(reason, MQTT5_REASON_NOT_AUTHORIZED);
    owner = connect_as(V5, "device", "alice", &reason);
    assert_int_equal(reason, 0);
    assert_true(owner->session_present);
    assert_message(owner, "a", "kept", 1);
}

static void anonymous_session_is_not_for_a_name(void **state)
{
    (void)state;
    unsigned reason;
    struct engine_peer *owner = connect_as(V5, "device", NULL, &reason);
    connect_as(V5, "device", "bob", &reason);
    assert_int_equal(reason, MQTT5_REASON_NOT_AUTHORIZED);
    connect_as(V5, "device", "", &reason); /* an empty name is a name */
    assert_int_equal(reason, MQTT5_REASON_NOT_AUTHORIZED);
    assert_quiet(owner);
}

/* ---- publish ---- */

static void publish_denied_v5_is_answered_and_goes_nowhere(void **state)
{
    (void)state;
    deny("publisher", "secret", PUBLISH);
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *subscriber = guest_connect(rig, V5, "subscriber");
    guest_subscribe(subscriber, "#", 2);
    guest_publish(publisher, "secret", "0", 0);
    assert_int_equal(guest_publish(publisher, "secret", "1", 1), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(guest_publish(publisher, "secret", "2", 2), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(guest_retain(publisher, "secret", "r", 1), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(engine_stats(rig).denied_publish, 4);
    assert_int_equal(engine_stats(rig).retained_messages, 0);
    assert_quiet(subscriber);
    assert_quiet(publisher);
    assert_int_equal(guest_publish(publisher, "open", "after", 2), 0);
    assert_message(subscriber, "open", "after", 2);
}

/* [MQTT-4.3.3-9]: a PUBREC with an error ends the exchange, so the identifier is free. */
static void publish_denied_at_qos2_frees_the_identifier(void **state)
{
    (void)state;
    deny("publisher", "secret", PUBLISH);
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *subscriber = guest_connect(rig, V5, "subscriber");
    guest_subscribe(subscriber, "#", 0);
    struct mqtt5_publish publish = {
        .qos = 2, .packet_id = 7, .topic = m5_bytes_of("secret"), .payload = m5_bytes_of("x")};
    assert_int_equal(guest_say_publish(publisher, &publish), MQTT5_REASON_NOT_AUTHORIZED);
    publish.topic = m5_bytes_of("open");
    assert_int_equal(guest_say_publish(publisher, &publish), 0);
    assert_message(subscriber, "open", "x", 0);
}

static void publish_denied_v311_is_acknowledged_and_dropped(void **state)
{
    (void)state;
    deny("publisher", "secret", PUBLISH);
    struct engine_peer *publisher = guest_connect(rig, V311, "publisher");
    struct engine_peer *subscriber = guest_connect(rig, V5, "subscriber");
    guest_subscribe(subscriber, "#", 2);
    guest_publish(publisher, "secret", "0", 0);
    assert_int_equal(guest_publish(publisher, "secret", "1", 1), 0);
    assert_int_equal(guest_publish(publisher, "secret", "2", 2), 0);
    assert_quiet(subscriber);
    assert_quiet(publisher);
    assert_int_equal(engine_stats(rig).denied_publish, 3);
}

/* A run is one right asked per message, not one per run. */
static void publish_denied_in_the_middle_of_a_burst(void **state)
{
    (void)state;
    deny("publisher", "b", PUBLISH);
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *subscriber = guest_connect(rig, V5, "subscriber");
    guest_subscribe(subscriber, "#", 0);
    guest_send_hex(publisher, "30 [0001'a' 00 '1'] 30 [0001'b' 00 '2'] 30 [0001'b' 00 '3']"
                              "30 [0001'a' 00 '4']");
    assert_message(subscriber, "a", "1", 0);
    assert_message(subscriber, "a", "4", 0);
    assert_quiet(subscriber);
    assert_int_equal(engine_stats(rig).denied_publish, 2);
}

/* ---- subscribe ---- */

static void subscribe_denied_v5_and_v311(void **state)
{
    (void)state;
    deny(NULL, "secret/#", SUBSCRIBE);
    struct engine_peer *five = guest_connect(rig, V5, "five");
    struct engine_peer *four = guest_connect(rig, V311, "four");
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    assert_int_equal(guest_subscribe(five, "secret/#", 1), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(guest_subscribe(four, "secret/#", 1), 0x80);
    assert_int_equal(engine_stats(rig).denied_subscribe, 2);
    assert_int_equal(engine_stats(rig).subscriptions, 0);
    assert_int_equal(guest_publish(publisher, "secret/x", "1", 1),
                     MQTT5_REASON_NO_MATCHING_SUBSCRIBERS);
    assert_quiet(five);
    assert_quiet(four);
}

static void subscribe_again_after_revocation_is_denied_and_the_old_one_stays(void **state)
{
    (void)state;
    struct engine_peer *subscriber = guest_connect(rig, V5, "subscriber");
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    assert_int_equal(guest_subscribe(subscriber, "a", 0), 0);
    deny("subscriber", "a", SUBSCRIBE);
    assert_int_equal(guest_subscribe(subscriber, "a", 2), MQTT5_REASON_NOT_AUTHORIZED);
    guest_publish(publisher, "a", "1", 1);
    assert_message(subscriber, "a", "1", 0); /* still at QoS 0 */
}

/* A shared filter is authorised as the filter in it. */
static void subscribe_shared_is_asked_as_its_filter(void **state)
{
    (void)state;
    deny(NULL, "secret", SUBSCRIBE);
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    assert_int_equal(guest_subscribe(peer, "$share/g/secret", 1), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(guest_subscribe(peer, "$share/g/open", 1), 1);
    assert_int_equal(engine_stats(rig).denied_subscribe, 1);
    assert_int_equal(engine_stats(rig).shared_subscriptions, 1);
}

/* ---- will ---- */

static struct mqtt5_connect with_will(const char *id, uint32_t delay_s)
{
    struct mqtt5_connect connect = guest_connect_packet(V5, id);
    connect.has_will = true;
    connect.will =
        (struct mqtt5_will){.qos = 1, .topic = m5_bytes_of("will"), .payload = m5_bytes_of("gone")};
    MQTT5_SET(&connect.properties, SESSION_EXPIRY_INTERVAL);
    connect.properties.session_expiry_interval_s = 100;
    MQTT5_SET(&connect.will.properties, WILL_DELAY_INTERVAL);
    connect.will.properties.will_delay_interval_s = delay_s;
    return connect;
}

static void will_denied_at_connect(void **state)
{
    (void)state;
    deny("dying", "will", PUBLISH);
    struct engine_peer *peer = guest_open(rig, V5);
    const struct mqtt5_connect connect = with_will("dying", 0);
    assert_int_equal(guest_say_connect(peer, &connect), MQTT5_REASON_NOT_AUTHORIZED);
    assert_true(peer->closed);
    assert_int_equal(engine_stats(rig).denied_connect, 1);
    assert_int_equal(engine_stats(rig).sessions, 0);
}

static void will_denied_when_due(void **state)
{
    (void)state;
    struct engine_peer *watcher = guest_connect(rig, V5, "watcher");
    guest_subscribe(watcher, "will", 1);
    for (uint32_t delay_s = 0; delay_s <= 5; delay_s += 5) {
        struct engine_peer *peer = guest_open(rig, V5);
        const struct mqtt5_connect connect = with_will("dying", delay_s);
        policy.count = 0;
        assert_int_equal(guest_say_connect(peer, &connect), 0);
        deny("dying", "will", PUBLISH);
        const uint64_t denied = engine_stats(rig).denied_publish;
        guest_lose(peer);
        engine_advance(rig, 6000);
        assert_int_equal(engine_stats(rig).denied_publish, denied + 1);
        assert_quiet(watcher);
    }
    policy.count = 0; /* and it is not kept for better times */
    engine_advance(rig, 200000);
    assert_quiet(watcher);
}

static void will_is_delivered_only_to_whom_it_may_be(void **state)
{
    (void)state;
    struct engine_peer *one = guest_connect(rig, V5, "one"), *two = guest_connect(rig, V5, "two");
    guest_subscribe(one, "#", 1);
    guest_subscribe(two, "#", 1);
    deny("two", "will", DELIVER);
    struct engine_peer *peer = guest_open(rig, V5);
    const struct mqtt5_connect connect = with_will("dying", 0);
    assert_int_equal(guest_say_connect(peer, &connect), 0);
    guest_lose(peer);
    assert_message(one, "will", "gone", 1);
    assert_quiet(two);
    assert_int_equal(engine_stats(rig).denied_deliver, 1);
}

/* ---- delivery ---- */

static void live_messages_of_a_denied_subtree_are_not_delivered(void **state)
{
    (void)state;
    deny("subscriber", "a/secret", DELIVER);
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *subscriber = guest_connect(rig, V5, "subscriber");
    struct engine_peer *other = guest_connect(rig, V311, "other");
    guest_subscribe(subscriber, "#", 2);
    guest_subscribe(subscriber, "a/+", 1); /* overlapping: another way through the engine */
    guest_subscribe(other, "a/#", 0);
    for (uint8_t qos = 0; qos < 3; qos++) {
        guest_publish(publisher, "a/secret", "no", qos);
        assert_message(other, "a/secret", "no", 0);
        guest_publish(publisher, "a/open", "yes", qos);
        assert_message(other, "a/open", "yes", 0);
        assert_message(subscriber, "a/open", "yes", qos);
    }
    assert_quiet(subscriber);
    assert_int_equal(engine_stats(rig).denied_deliver, 3);
}

static void queued_offline_then_revoked_is_not_delivered(void **state)
{
    (void)state;
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *subscriber = guest_resume(rig, V5, "subscriber");
    guest_subscribe(subscriber, "#", 2);
    guest_lose(subscriber);
    guest_publish(publisher, "secret", "1", 1);
    guest_publish(publisher, "open", "2", 1);
    guest_publish(publisher, "secret", "3", 2);
    guest_publish(publisher, "open", "4", 2);
    assert_int_equal(engine_stats(rig).messages_queued, 4);
    deny("subscriber", "secret", DELIVER);
    subscriber = guest_resume(rig, V5, "subscriber");
    assert_true(subscriber->session_present);
    assert_message(subscriber, "open", "2", 1);
    assert_message(subscriber, "open", "4", 2);
    assert_quiet(subscriber);
    assert_int_equal(engine_stats(rig).denied_deliver, 2);
    assert_int_equal(engine_stats(rig).messages_queued, 0);
    guest_publish(publisher, "open", "5", 1);
    assert_message(subscriber, "open", "5", 1);
}

static struct engine_peer *connect_window(const char *id, uint16_t window)
{
    struct engine_peer *peer = guest_open(rig, V5);
    struct mqtt5_connect connect = guest_connect_packet(V5, id);
    MQTT5_SET(&connect.properties, RECEIVE_MAXIMUM);
    connect.properties.receive_maximum = window;
    assert_int_equal(guest_say_connect(peer, &connect), 0);
    return peer;
}

static void queued_behind_a_full_window_then_revoked_is_not_delivered(void **state)
{
    (void)state;
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *subscriber = connect_window("subscriber", 1);
    guest_subscribe(subscriber, "#", 2);
    guest_publish(publisher, "secret", "1", 1);
    guest_publish(publisher, "secret", "2", 2);
    guest_publish(publisher, "open", "3", 2);
    const uint16_t packet_id = assert_message_held(subscriber, "secret", "1", 1);
    assert_quiet(subscriber);
    deny("subscriber", "secret", DELIVER);
    guest_send_ack(subscriber, MQTT5_PUBACK, packet_id, 0);
    assert_message(subscriber, "open", "3", 2);
    assert_quiet(subscriber);
    assert_int_equal(engine_stats(rig).denied_deliver, 1);
    assert_int_equal(engine_stats(rig).messages_inflight, 0);
}

static void sent_then_revoked_is_not_sent_again(void **state)
{
    (void)state;
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *subscriber = guest_resume(rig, V5, "subscriber");
    guest_subscribe(subscriber, "#", 2);
    guest_publish(publisher, "secret", "1", 1);
    guest_publish(publisher, "secret", "2", 2);
    guest_publish(publisher, "open", "3", 1);
    guest_lose(subscriber); /* nothing acknowledged */
    deny("subscriber", "secret", DELIVER);
    subscriber = guest_resume(rig, V5, "subscriber");
    struct mqtt5_packet packet;
    assert_true(guest_take(subscriber, &packet));
    assert_int_equal(packet.type, MQTT5_PUBLISH);
    assert_true(packet.as.publish.dup);
    assert_int_equal(packet.as.publish.packet_id, 3);
    assert_true(m5_bytes_equal(packet.as.publish.topic, m5_bytes_of("open")));
    guest_send_ack(subscriber, MQTT5_PUBACK, 3, 0);
    assert_quiet(subscriber);
    assert_int_equal(engine_stats(rig).denied_deliver, 2);
}

/* The client has the message already: only its release is missing [MQTT-4.3.3-4]. */
static void received_at_qos2_then_revoked_is_still_released(void **state)
{
    (void)state;
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *subscriber = guest_resume(rig, V5, "subscriber");
    guest_subscribe(subscriber, "#", 2);
    guest_publish(publisher, "secret", "1", 2);
    const uint16_t packet_id = assert_message_held(subscriber, "secret", "1", 2);
    guest_send_ack(subscriber, MQTT5_PUBREC, packet_id, 0);
    guest_lose(subscriber);
    deny("subscriber", "secret", DELIVER);
    subscriber = guest_resume(rig, V5, "subscriber");
    struct mqtt5_packet packet;
    assert_true(guest_take(subscriber, &packet));
    assert_int_equal(packet.type, MQTT5_PUBREL);
    assert_int_equal(packet.as.ack.packet_id, packet_id);
    assert_quiet(subscriber);
}

static void retained_of_a_denied_subtree_is_not_delivered(void **state)
{
    (void)state;
    deny("subscriber", "secret", DELIVER);
    deny("subscriber", "hidden", DELIVER);
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *subscriber = guest_connect(rig, V5, "subscriber");
    guest_retain(publisher, "secret", "1", 1);
    guest_retain(publisher, "hidden", "3", 0);
    guest_retain(publisher, "open", "2", 0);
    guest_subscribe(subscriber, "+", 1);
    assert_message(subscriber, "open", "2", 0);
    assert_quiet(subscriber);
    assert_int_equal(engine_stats(rig).denied_deliver, 2);
}

static void retained_collected_then_revoked_is_not_delivered(void **state)
{
    (void)state;
    static const char *const topics[] = {"r/1", "r/2", "r/3", "r/4"};
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(guest_retain(publisher, topics[i], "x", 1),
                         MQTT5_REASON_NO_MATCHING_SUBSCRIBERS);
    struct engine_peer *subscriber = connect_window("subscriber", 1);
    guest_subscribe(subscriber, "r/+", 1);
    struct mqtt5_packet packet;
    assert_true(guest_take(subscriber, &packet));
    assert_int_equal(packet.type, MQTT5_PUBLISH);
    assert_true(packet.as.publish.retain);
    const uint16_t packet_id = packet.as.publish.packet_id;
    assert_quiet(subscriber);
    deny("subscriber", NULL, DELIVER);
    guest_send_ack(subscriber, MQTT5_PUBACK, packet_id, 0);
    assert_quiet(subscriber);
    assert_int_equal(engine_stats(rig).denied_deliver, 3);
}

/* ---- shared subscriptions ---- */

/* The group lives on the publisher's shard or on the member's, or all are apart. */
static void shared_messages_are_not_delivered_to_the_denied(void **state)
{
    (void)state;
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    for (uint32_t shard = 0; shard < rig->shards; shard++) {
        char id[ENGINE_ID_SIZE];
        engine_text_on(rig, "m", shard, 0, id);
        policy.count = 0;
        struct engine_peer *member = guest_connect(rig, V5, id);
        assert_int_equal(guest_subscribe(member, "$share/g/#", 2), 2);
        const uint64_t before = engine_stats(rig).denied_deliver;
        deny(id, "secret", DELIVER);
        for (uint8_t qos = 0; qos < 3; qos++) {
            guest_publish(publisher, "secret", "no", qos);
            guest_publish(publisher, "open", "yes", qos);
            assert_message(member, "open", "yes", qos);
        }
        assert_quiet(member);
        assert_int_equal(engine_stats(rig).denied_deliver, before + 3);
        guest_lose(member);
    }
}

static void shared_messages_queued_then_revoked_are_not_delivered(void **state)
{
    (void)state;
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    for (uint32_t shard = 0; shard < rig->shards; shard++) {
        char id[ENGINE_ID_SIZE];
        engine_text_on(rig, "m", shard, 0, id);
        policy.count = 0;
        struct engine_peer *member = guest_resume(rig, V5, id);
        assert_int_equal(guest_subscribe(member, "$share/g/#", 1), 1);
        guest_lose(member);
        guest_publish(publisher, "secret", "no", 1);
        guest_publish(publisher, "open", "yes", 1);
        deny(id, "secret", DELIVER);
        member = guest_resume(rig, V5, id);
        assert_message(member, "open", "yes", 1);
        assert_quiet(member);
        assert_int_equal(guest_unsubscribe(member, "$share/g/#"), 0);
    }
}

#define TEST(name) ENGINE_TEST(name, &one, &three, " on 3 shards")

int main(void)
{
    static const uint32_t one = 1, three = 3;
    const struct CMUnitTest tests[] = {
        TEST(connect_denied_says_why_and_makes_no_session),
        TEST(a_connect_waits_for_its_credentials),
        TEST(a_connect_whose_credentials_are_wrong_is_refused),
        TEST(who_goes_while_credentials_are_checked_is_gone),
        TEST(credentials_have_the_time_of_a_connect),
        TEST(session_of_another_principal_is_refused_and_untouched),
        TEST(anonymous_session_is_not_for_a_name),
        TEST(publish_denied_v5_is_answered_and_goes_nowhere),
        TEST(publish_denied_at_qos2_frees_the_identifier),
        TEST(publish_denied_v311_is_acknowledged_and_dropped),
        TEST(publish_denied_in_the_middle_of_a_burst),
        TEST(subscribe_denied_v5_and_v311),
        TEST(subscribe_again_after_revocation_is_denied_and_the_old_one_stays),
        TEST(subscribe_shared_is_asked_as_its_filter),
        TEST(will_denied_at_connect),
        TEST(will_denied_when_due),
        TEST(will_is_delivered_only_to_whom_it_may_be),
        TEST(live_messages_of_a_denied_subtree_are_not_delivered),
        TEST(queued_offline_then_revoked_is_not_delivered),
        TEST(queued_behind_a_full_window_then_revoked_is_not_delivered),
        TEST(sent_then_revoked_is_not_sent_again),
        TEST(received_at_qos2_then_revoked_is_still_released),
        TEST(retained_of_a_denied_subtree_is_not_delivered),
        TEST(retained_collected_then_revoked_is_not_delivered),
        TEST(shared_messages_are_not_delivered_to_the_denied),
        TEST(shared_messages_queued_then_revoked_are_not_delivered),
    };
    return cmocka_run_group_tests_name("engine access", tests, NULL, NULL);
}
