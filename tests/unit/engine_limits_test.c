/* Every limit of a broker: kept at the limit, answered and counted one past it, and nobody else
 * notices.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/engine_peer.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#define V5   MQTT5_VERSION_5
#define V311 MQTT5_VERSION_3_1_1

static struct engine_rig *rig;
static struct engine_peer *talker, *listener; /* two clients who must not notice anything */

static int set_up(void **state)
{
    (void)state;
    rig = malloc(sizeof *rig);
    assert_non_null(rig);
    engine_rig_init(rig, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    engine_rig_fini(rig);
    free(rig);
    return 0;
}

static void start(void)
{
    engine_rig_start(rig);
    talker = guest_connect(rig, V5, "talker");
    listener = guest_connect(rig, V5, "listener");
    assert_int_equal(guest_subscribe(listener, "witness", 2), 2);
}

static void assert_others_served(void)
{
    for (uint8_t qos = 0; qos < 3; qos++) {
        guest_publish(talker, "witness", "w", qos);
        assert_message(listener, "witness", "w", qos);
    }
    assert_quiet(talker);
    assert_quiet(listener);
}

static unsigned try_connect(uint8_t version, const char *id)
{
    struct engine_peer *peer = guest_open(rig, version);
    const struct mqtt5_connect connect = guest_connect_packet(version, id);
    const unsigned reason = guest_say_connect(peer, &connect);
    assert_int_equal(peer->closed, reason != 0);
    return reason;
}

/* ---- who ---- */

static void connections_max(void **state)
{
    (void)state;
    rig->config.connections_max = 4;
    start();
    guest_connect(rig, V5, "third");
    struct engine_peer *fourth = guest_connect(rig, V311, "fourth");
    assert_int_equal(engine_stats(rig).limit_connections, 0);
    assert_int_equal(try_connect(V5, "fifth"), MQTT5_REASON_SERVER_BUSY);
    assert_int_equal(try_connect(V311, "fifth"), 3);
    assert_int_equal(engine_stats(rig).limit_connections, 2);
    assert_int_equal(engine_stats(rig).connections, 4);
    assert_others_served();
    guest_lose(fourth);
    assert_int_equal(try_connect(V5, "fifth"), 0);
}

/* One who holds the connections that are only there to be told so gets none at all. */
static void connections_beyond_what_can_be_told_are_closed(void **state)
{
    (void)state;
    rig->config.connections_max = 2;
    start();
    for (unsigned i = 0; i < 256; i++)
        assert_false(guest_open(rig, V5)->closed);
    struct engine_peer *last = guest_open(rig, V5);
    assert_true(last->closed);
    assert_int_equal(engine_stats(rig).limit_connections, 1);
    assert_int_equal(engine_stats(rig).connections, 258);
    assert_others_served();
    engine_advance(rig, rig->config.connect_timeout_ms);
    assert_int_equal(engine_stats(rig).connections, 2);
}

static void sessions_max(void **state)
{
    (void)state;
    rig->config.sessions_max = 4;
    start();
    struct engine_peer *third = guest_resume(rig, V5, "third");
    guest_connect(rig, V5, "fourth");
    assert_int_equal(try_connect(V5, "fifth"), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(try_connect(V311, "fifth"), 3);
    assert_int_equal(engine_stats(rig).limit_sessions, 2);
    guest_lose(third); /* its session stays */
    assert_int_equal(try_connect(V5, "fifth"), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(try_connect(V5, "fourth"), 0); /* takeover needs no other session */
    third = guest_resume(rig, V5, "third");
    assert_true(third->session_present);
    assert_others_served();
    guest_lose(third);
    engine_advance(rig, 1000 * 1000);
    assert_int_equal(try_connect(V5, "fifth"), 0);
}

static void client_id_size_max(void **state)
{
    (void)state;
    rig->config.client_id_size_max = 23;
    start();
    assert_int_equal(try_connect(V5, "12345678901234567890123"), 0);
    assert_int_equal(try_connect(V5, "123456789012345678901234"),
                     MQTT5_REASON_CLIENT_IDENTIFIER_NOT_VALID);
    assert_int_equal(try_connect(V311, "123456789012345678901234"), 2);
    assert_int_equal(engine_stats(rig).limit_client_ids, 2);
    assert_others_served();
}

/* ---- subscriptions ---- */

static void subscriptions_max(void **state)
{
    (void)state;
    rig->config.subscriptions_max = 3;
    start(); /* one of them is the listener's */
    struct engine_peer *one = guest_connect(rig, V5, "one"), *two = guest_connect(rig, V5, "two");
    struct engine_peer *old = guest_connect(rig, V311, "old");
    assert_int_equal(guest_subscribe(one, "a", 1), 1);
    assert_int_equal(guest_subscribe(two, "$share/g/a", 1), 1);
    assert_int_equal(guest_subscribe(one, "b", 1), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(guest_subscribe(two, "$share/g/b", 1), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(guest_subscribe(old, "b", 1), 0x80);
    assert_int_equal(guest_subscribe(one, "a", 2), 2); /* replaces, needs no room */
    assert_int_equal(engine_stats(rig).limit_subscriptions, 3);
    assert_int_equal(engine_stats(rig).subscriptions, 3);
    assert_others_served();
    assert_int_equal(guest_unsubscribe(two, "$share/g/a"), 0);
    assert_int_equal(guest_subscribe(one, "b", 1), 1);
}

static void subscriptions_per_session_max(void **state)
{
    (void)state;
    rig->config.subscriptions_per_session_max = 2;
    start();
    struct engine_peer *one = guest_connect(rig, V5, "one"), *two = guest_connect(rig, V5, "two");
    assert_int_equal(guest_subscribe(one, "a", 1), 1);
    assert_int_equal(guest_subscribe(one, "$share/g/a", 1), 1);
    assert_int_equal(guest_subscribe(one, "b", 1), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(engine_stats(rig).limit_subscriptions, 1);
    assert_int_equal(guest_subscribe(two, "b", 1), 1); /* each session has its own */
    assert_int_equal(guest_unsubscribe(one, "a"), 0);
    assert_int_equal(guest_subscribe(one, "b", 1), 1);
    assert_others_served();
}

/* ---- topics ---- */

static void topic_levels_max_of_publish(void **state)
{
    (void)state;
    rig->config.topic_levels_max = 4;
    start();
    struct engine_peer *five = guest_connect(rig, V5, "five");
    struct engine_peer *four = guest_connect(rig, V311, "four");
    guest_subscribe(listener, "1/#", 0);
    assert_int_equal(guest_publish(five, "1/2/3/4", "x", 1), 0);
    assert_message(listener, "1/2/3/4", "x", 0);
    assert_int_equal(guest_publish(five, "1/2/3/4/5", "x", 1), MQTT5_REASON_TOPIC_NAME_INVALID);
    assert_int_equal(guest_publish(five, "1/2/3/4/5", "x", 2), MQTT5_REASON_TOPIC_NAME_INVALID);
    assert_int_equal(guest_publish(five, "1/2/3/4", "y", 2), 0);
    assert_message(listener, "1/2/3/4", "y", 0);
    guest_publish(five, "1/2/3/4/5", "x", 0); /* no way to answer but to close */
    assert_int_equal(guest_end(five), MQTT5_REASON_TOPIC_NAME_INVALID);
    guest_publish(four, "1/2/3/4/5", "x", 1);
    assert_int_equal(guest_end(four), 0);
    assert_int_equal(engine_stats(rig).limit_topic_levels, 4);
    assert_others_served();
}

static void topic_levels_max_of_subscribe_and_unsubscribe(void **state)
{
    (void)state;
    rig->config.topic_levels_max = 4;
    start();
    struct engine_peer *five = guest_connect(rig, V5, "five");
    struct engine_peer *four = guest_connect(rig, V311, "four");
    assert_int_equal(guest_subscribe(five, "1/2/3/4", 1), 1);
    assert_int_equal(guest_subscribe(five, "$share/g/1/2/3/4", 1), 1);
    assert_int_equal(guest_subscribe(five, "1/2/3/4/5", 1), MQTT5_REASON_TOPIC_FILTER_INVALID);
    assert_int_equal(guest_subscribe(five, "$share/g/1/2/3/4/5", 1),
                     MQTT5_REASON_TOPIC_FILTER_INVALID);
    assert_int_equal(guest_subscribe(four, "1/2/3/4/5", 1), 0x80);
    assert_int_equal(engine_stats(rig).limit_topic_levels, 3);
    assert_int_equal(guest_unsubscribe(five, "1/2/3/4/5"), MQTT5_REASON_TOPIC_FILTER_INVALID);
    assert_int_equal(guest_unsubscribe(four, "1/2/3/4/5"), 0);
    assert_int_equal(engine_stats(rig).limit_topic_levels, 5);
    assert_int_equal(guest_unsubscribe(five, "1/2/3/4"), 0);
    assert_others_served();
}

static void topic_levels_max_of_a_will(void **state)
{
    (void)state;
    rig->config.topic_levels_max = 4;
    start();
    struct engine_peer *peer = guest_open(rig, V5);
    struct mqtt5_connect connect = guest_connect_packet(V5, "peer");
    connect.has_will = true;
    connect.will = (struct mqtt5_will){.topic = m5_bytes_of("1/2/3/4/5")};
    assert_int_equal(guest_say_connect(peer, &connect), MQTT5_REASON_TOPIC_NAME_INVALID);
    assert_true(peer->closed);
    assert_int_equal(engine_stats(rig).limit_topic_levels, 1);
    peer = guest_open(rig, V5);
    connect.will.topic = m5_bytes_of("1/2/3/4");
    assert_int_equal(guest_say_connect(peer, &connect), 0);
    assert_others_served();
}

#define USER "26 0001'k' 0001'v'"

static void user_properties_max_of_packets(void **state)
{
    (void)state;
    static const char *const packets[][2] = {
        {"30 [0001'a' [" USER USER "]]", "30 [0001'a' [" USER USER USER "]]"},
        {"82 [0001 [" USER USER "] 0001'a' 00]", "82 [0001 [" USER USER USER "] 0001'a' 00]"},
        {"a2 [0001 [" USER USER "] 0001'a']", "a2 [0001 [" USER USER USER "] 0001'a']"},
        {"40 [0001 00 [" USER USER "]]", "40 [0001 00 [" USER USER USER "]]"},
        {"62 [0001 00 [" USER USER "]]", "62 [0001 00 [" USER USER USER "]]"},
    };
    rig->config.user_properties_max = 2;
    start();
    for (unsigned i = 0; i < M5_COUNT_OF(packets); i++) {
        struct engine_peer *peer = guest_connect(rig, V5, "peer");
        guest_send_hex(peer, packets[i][0]);
        assert_false(peer->closed);
        assert_int_equal(engine_stats(rig).limit_user_properties, i);
        guest_send_hex(peer, packets[i][1]);
        assert_int_equal(guest_end(peer), MQTT5_REASON_QUOTA_EXCEEDED);
        assert_int_equal(engine_stats(rig).limit_user_properties, i + 1);
        guest_lose(peer);
    }
    assert_others_served();
}

static void user_properties_max_of_connect_and_will(void **state)
{
    (void)state;
    static const struct mqtt5_user_property items[3] = {{{0}, {0}}, {{0}, {0}}, {{0}, {0}}};
    rig->config.user_properties_max = 2;
    start();
    for (uint32_t count = 2; count <= 3; count++) {
        const unsigned expected = count == 2 ? 0 : MQTT5_REASON_QUOTA_EXCEEDED;
        struct mqtt5_connect connect = guest_connect_packet(V5, "peer");
        MQTT5_SET(&connect.properties, USER_PROPERTY);
        connect.properties.user_property.items = items;
        connect.properties.user_property.count = count;
        assert_int_equal(guest_say_connect(guest_open(rig, V5), &connect), expected);
        connect.properties.present = 0;
        connect.has_will = true;
        connect.will.topic = m5_bytes_of("w");
        MQTT5_SET(&connect.will.properties, USER_PROPERTY);
        connect.will.properties.user_property.items = items;
        connect.will.properties.user_property.count = count;
        assert_int_equal(guest_say_connect(guest_open(rig, V5), &connect), expected);
    }
    assert_int_equal(engine_stats(rig).limit_user_properties, 2);
    assert_others_served();
}

/* ---- windows ---- */

static void receive_maximum(void **state)
{
    (void)state;
    rig->config.receive_maximum = 2;
    start();
    struct engine_peer *five = guest_connect(rig, V5, "five");
    struct engine_peer *four = guest_connect(rig, V311, "four");
    guest_send_hex(five, "34 [0001'a' 0001 00] 34 [0001'a' 0002 00] 3c [0001'a' 0002 00]");
    assert_quiet((guest_drain(five), five)); /* at the limit, and one of them once more */
    guest_send_hex(four, "34 [0001'a' 0001] 34 [0001'a' 0002] 34 [0001'a' 0003]");
    assert_false(four->closed); /* 3.1.1 has no such limit */
    assert_int_equal(engine_stats(rig).limit_receive_maximum, 0);
    guest_send_hex(five, "34 [0001'a' 0003 00]");
    assert_int_equal(guest_end(five), MQTT5_REASON_RECEIVE_MAXIMUM_EXCEEDED);
    assert_int_equal(engine_stats(rig).limit_receive_maximum, 1);
    assert_others_served();
}

/* QoS 1 is acknowledged as it comes: it never fills the window by itself, but needs a place. */
static void receive_maximum_counts_qos1_beside_qos2(void **state)
{
    (void)state;
    rig->config.receive_maximum = 2;
    start();
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    guest_send_hex(peer, "32 [0001'a' 0001 00] 32 [0001'a' 0002 00] 32 [0001'a' 0003 00]");
    guest_send_hex(peer, "34 [0001'a' 0004 00] 32 [0001'a' 0005 00]");
    assert_false(peer->closed);
    guest_send_hex(peer, "34 [0001'a' 0006 00] 32 [0001'a' 0007 00]");
    assert_int_equal(guest_end(peer), MQTT5_REASON_RECEIVE_MAXIMUM_EXCEEDED);
    assert_others_served();
}

static void inflight_max(void **state)
{
    (void)state;
    rig->config.inflight_max = 2;
    start();
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    guest_subscribe(peer, "a", 2);
    guest_publish(talker, "a", "1", 1);
    guest_publish(talker, "a", "2", 2);
    guest_publish(talker, "a", "3", 1);
    const uint16_t first = assert_message_held(peer, "a", "1", 1);
    assert_message_held(peer, "a", "2", 2);
    assert_quiet(peer);
    assert_int_equal(engine_stats(rig).messages_inflight, 2);
    guest_send_ack(peer, MQTT5_PUBACK, first, 0);
    assert_message(peer, "a", "3", 1);
    assert_others_served();
}

/* ---- queues ---- */

static void publish_three_to_an_absent(void)
{
    struct engine_peer *absent = guest_resume(rig, V5, "absent");
    guest_subscribe(absent, "q", 1);
    guest_lose(absent);
    assert_int_equal(guest_publish(talker, "q", "1", 1), 0);
    assert_int_equal(guest_publish(talker, "q", "2", 1), 0);
    assert_int_equal(engine_stats(rig).limit_queued, 0);
    assert_int_equal(guest_publish(talker, "q", "3", 1), 0);
}

static void assert_two_of_three(const char *first, const char *second)
{
    assert_int_equal(engine_stats(rig).limit_queued, 1);
    assert_int_equal(engine_stats(rig).publish_dropped, 1);
    struct engine_peer *back = guest_resume(rig, V5, "absent");
    assert_message(back, "q", first, 1);
    assert_message(back, "q", second, 1);
    assert_quiet(back);
    assert_int_equal(engine_stats(rig).messages_queued, 0);
    assert_int_equal(engine_stats(rig).messages_queued_bytes, 0);
    assert_others_served();
}

static void queued_messages_max_drops_the_newest(void **state)
{
    (void)state;
    rig->config.queued_messages_max = 2;
    start();
    publish_three_to_an_absent();
    assert_two_of_three("1", "2");
}

static void queued_messages_max_drops_the_oldest(void **state)
{
    (void)state;
    rig->config.queued_messages_max = 2;
    rig->config.queue_policy = MQTT5_QUEUE_DROP_OLDEST;
    start();
    publish_three_to_an_absent();
    assert_two_of_three("2", "3");
}

/* What a message takes in a queue is the engine's affair: it is measured first. */
static size_t size_of_two_queued(void)
{
    start();
    struct engine_peer *absent = guest_resume(rig, V5, "absent");
    guest_subscribe(absent, "q", 1);
    guest_lose(absent);
    guest_publish(talker, "q", "1", 1);
    guest_publish(talker, "q", "2", 1);
    const size_t size = engine_stats(rig).messages_queued_bytes;
    engine_rig_fini(rig);
    engine_rig_init(rig, 1);
    return size;
}

static void queued_bytes_max_drops_the_newest(void **state)
{
    (void)state;
    rig->config.queued_bytes_max = size_of_two_queued();
    start();
    publish_three_to_an_absent();
    assert_two_of_three("1", "2");
}

static void queued_bytes_max_drops_the_oldest(void **state)
{
    (void)state;
    const size_t size = size_of_two_queued();
    rig->config.queued_bytes_max = size;
    rig->config.queue_policy = MQTT5_QUEUE_DROP_OLDEST;
    start();
    publish_three_to_an_absent();
    assert_two_of_three("2", "3");
}

/* Dropping all others would not make room for it. */
static void queued_bytes_max_one_message_that_never_fits(void **state)
{
    (void)state;
    static char large[20000];
    memset(large, 'x', sizeof large - 1);
    rig->config.queued_bytes_max = 10000;
    rig->config.queue_policy = MQTT5_QUEUE_DROP_OLDEST;
    start();
    struct engine_peer *absent = guest_resume(rig, V5, "absent");
    guest_subscribe(absent, "q", 1);
    guest_lose(absent);
    guest_publish(talker, "q", "1", 1);
    guest_publish(talker, "q", large, 1);
    assert_int_equal(engine_stats(rig).limit_queued, 1);
    absent = guest_resume(rig, V5, "absent");
    assert_message(absent, "q", "1", 1);
    assert_quiet(absent);
}

/* One who does not read: QoS 0 is dropped, QoS 1 waits as messages, memory has a bound. */
static void output_bytes_max(void **state)
{
    (void)state;
    static char payload[1001];
    memset(payload, 'p', sizeof payload - 1);
    rig->config.output_bytes_max = 64 * 1024;
    start();
    struct engine_peer *slow = guest_connect(rig, V5, "slow");
    guest_subscribe(slow, "s", 1);
    slow->stuck = true;
    const unsigned sent = 200, kept = 20;
    for (unsigned i = 0; i < sent; i++)
        guest_publish(talker, "s", payload, 0);
    const uint64_t dropped = engine_stats(rig).limit_output;
    assert_in_range(dropped, sent - 68, sent - 64);
    assert_int_equal(engine_stats(rig).publish_dropped, dropped);
    for (unsigned i = 0; i < kept; i++)
        assert_int_equal(guest_publish(talker, "s", payload, 1), 0);
    assert_others_served();
    slow->stuck = false;
    engine_pump(rig);
    assert_int_equal(guest_drain(slow), sent - dropped + kept);
    assert_int_equal(engine_stats(rig).limit_output, dropped);
    guest_publish(talker, "s", "again", 0);
    assert_message(slow, "s", "again", 0);
}

/* ---- retained ---- */

static void retained_messages_max(void **state)
{
    (void)state;
    rig->config.retained_messages_max = 2;
    start();
    struct engine_peer *old = guest_connect(rig, V311, "old");
    assert_int_equal(guest_retain(talker, "a", "1", 1), 0x10);
    assert_int_equal(guest_retain(talker, "b", "1", 1), 0x10);
    assert_int_equal(guest_retain(talker, "c", "1", 1), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(guest_retain(talker, "c", "1", 2), MQTT5_REASON_QUOTA_EXCEEDED);
    guest_retain(talker, "c", "1", 0);
    assert_int_equal(guest_retain(old, "c", "1", 1), 0); /* 3.1.1 cannot say it */
    assert_int_equal(engine_stats(rig).limit_retained, 4);
    assert_int_equal(guest_retain(talker, "a", "2", 1), 0x10); /* replaces, at the limit */
    struct engine_peer *late = guest_connect(rig, V5, "late");
    guest_subscribe(late, "a", 1);
    assert_message(late, "a", "2", 1);
    guest_subscribe(late, "c", 1);
    assert_quiet(late);
    assert_int_equal(guest_retain(talker, "b", "", 1), 0x10); /* removes */
    assert_int_equal(guest_retain(talker, "c", "3", 1), 0);
    assert_message(late, "c", "3", 1);
    assert_int_equal(engine_stats(rig).retained_messages, 2);
    assert_others_served();
}

static void retained_bytes_max(void **state)
{
    (void)state;
    start();
    guest_retain(talker, "a", "12345", 1);
    const size_t size = engine_stats(rig).retained_bytes;
    assert_in_range(size, 6, 1000);
    engine_rig_fini(rig);
    engine_rig_init(rig, 1);
    rig->config.retained_bytes_max = 2 * size;
    start();
    assert_int_equal(guest_retain(talker, "a", "12345", 1), 0x10);
    assert_int_equal(guest_retain(talker, "b", "12345", 1), 0x10);
    assert_int_equal(engine_stats(rig).retained_bytes, 2 * size);
    assert_int_equal(guest_retain(talker, "c", "1", 1), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(guest_retain(talker, "a", "54321", 1), 0x10); /* replaces what is as large */
    assert_int_equal(guest_retain(talker, "a", "a larger payload than there is room for", 1),
                     MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(engine_stats(rig).limit_retained, 2);
    struct engine_peer *late = guest_connect(rig, V5, "late");
    guest_subscribe(late, "a", 1);
    assert_message(late, "a", "54321", 1); /* what was there stays */
    assert_others_served();
}

static void retained_message_size_max(void **state)
{
    (void)state;
    rig->config.retained_message_size_max = 5;
    start();
    assert_int_equal(guest_retain(talker, "a", "12345", 1), 0x10);
    assert_int_equal(guest_retain(talker, "a", "123456", 1), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(engine_stats(rig).limit_retained, 1);
    assert_int_equal(guest_publish(talker, "a", "123456", 1), 0x10); /* not retained: no matter */
    struct engine_peer *late = guest_connect(rig, V5, "late");
    guest_subscribe(late, "a", 1);
    assert_message(late, "a", "12345", 1);
    assert_others_served();
}

/* ---- memory ---- */

/* Publishes until one is refused; how many were taken. */
static unsigned fill(const char *topic, const char *payload, bool retain)
{
    for (unsigned count = 0; count < 100000; count++) {
        char name[32];
        snprintf(name, sizeof name, "%s/%u", topic, count);
        const unsigned reason = retain ? guest_retain(talker, name, payload, 1)
                                       : guest_publish(talker, name, payload, 1);
        if (reason == MQTT5_REASON_QUOTA_EXCEEDED)
            return count;
        assert_in_range(reason, 0, 0x10);
    }
    fail_msg("memory has no end");
    return 0;
}

static void memory_max_refuses_publishes_and_recovers(void **state)
{
    (void)state;
    static char payload[1001];
    memset(payload, 'p', sizeof payload - 1);
    rig->config.memory_max = (size_t)8 << 20;
    start();
    struct engine_peer *absent = guest_resume(rig, V5, "absent");
    guest_subscribe(absent, "m/#", 1);
    guest_lose(absent);
    const unsigned taken = fill("m", payload, false);
    assert_in_range(taken, 2000, 8000);
    assert_int_equal(engine_stats(rig).publish_dropped, 1);
    assert_int_equal(engine_stats(rig).limit_memory, 1);
    assert_true(engine_stats(rig).memory_used <= rig->config.memory_max);
    assert_int_equal(guest_publish(talker, "witness", "w", 2), MQTT5_REASON_QUOTA_EXCEEDED);
    guest_publish(talker, "witness", "w", 0);
    assert_quiet(listener);
    assert_quiet(talker);
    /* What was taken is delivered, and then there is room again. */
    absent = guest_resume(rig, V5, "absent");
    assert_int_equal(guest_drain(absent), taken);
    engine_advance(rig, 10000); /* empty pools give their memory back now and then */
    assert_int_equal(guest_publish(talker, "m/again", payload, 1), 0);
    assert_int_equal(guest_drain(absent), 1);
    assert_others_served();
}

static void memory_max_refuses_subscriptions_and_connects(void **state)
{
    (void)state;
    rig->config.memory_max = (size_t)2 << 20;
    start();
    struct engine_peer *greedy = guest_connect(rig, V5, "greedy");
    unsigned filters = 0;
    char filter[32];
    do {
        snprintf(filter, sizeof filter, "filter/%u/+", filters++);
        assert_in_range(filters, 1, 100000);
    } while (guest_subscribe(greedy, filter, 0) == 0);
    assert_in_range(filters, 1000, 20000);
    assert_int_equal(guest_subscribe(greedy, "one/more", 0), MQTT5_REASON_QUOTA_EXCEEDED);
    const uint64_t refused = engine_stats(rig).limit_memory;
    assert_in_range(refused, 2, 1000);
    assert_int_equal(try_connect(V5, "too late"), MQTT5_REASON_SERVER_BUSY);
    assert_int_equal(try_connect(V311, "too late"), 3);
    assert_int_equal(engine_stats(rig).limit_memory, refused + 2);
    assert_quiet(greedy);
    assert_quiet(listener);
    guest_lose(greedy);
    guest_lose(listener); /* the last subscription */
    engine_advance(rig, 10000);
    listener = guest_connect(rig, V5, "listener");
    assert_int_equal(guest_subscribe(listener, "witness", 2), 2);
    assert_others_served();
}

static void memory_max_holds_for_retained_messages(void **state)
{
    (void)state;
    static char payload[1001];
    memset(payload, 'p', sizeof payload - 1);
    rig->config.memory_max = (size_t)2 << 20;
    start();
    const unsigned taken = fill("r", payload, true);
    assert_in_range(taken, 1000, 2000);
    assert_true(engine_stats(rig).memory_used <= rig->config.memory_max + 4096);
    assert_true(engine_stats(rig).limit_memory > 0);
    assert_int_equal(guest_retain(talker, "r/0", "", 1), 0x10); /* to remove needs no room */
    assert_int_equal(engine_stats(rig).retained_messages, taken - 1);
}

/* ---- time ---- */

static void connect_timeout(void **state)
{
    (void)state;
    start();
    struct engine_peer *silent = guest_open(rig, V5), *trickling = guest_open(rig, V5);
    guest_send_hex(trickling, "10 20 0004");
    engine_advance(rig, 9999);
    guest_send_hex(trickling, "'M'"); /* bytes do not make it longer */
    assert_false(silent->closed || trickling->closed);
    engine_advance(rig, 1);
    assert_int_equal(guest_end(silent), 0);
    assert_int_equal(guest_end(trickling), 0);
    assert_int_equal(silent->output.size + trickling->output.size, 0);
    assert_int_equal(engine_stats(rig).limit_connect_timeout, 2);
    assert_others_served();
}

static void connect_packet_max(void **state)
{
    (void)state;
    char id[128];
    rig->config.connect_packet_max = 100;
    start();
    /* Fixed header 2, protocol 7, flags 1, keep-alive 2, properties 1, length 2, identifier. */
    memset(id, 'i', sizeof id);
    id[100 - 15] = 0;
    assert_int_equal(try_connect(V5, id), 0);
    id[100 - 15] = 'i';
    id[101 - 15] = 0;
    assert_int_equal(try_connect(V5, id), GUEST_OPEN); /* closed without a word */
    assert_int_equal(engine_stats(rig).limit_packet_size, 1);
    struct engine_peer *peer = guest_open(rig, V5);
    guest_send_hex(peer, "10 63"); /* 101 bytes are announced: nobody waits for them */
    assert_true(peer->closed);
    assert_others_served();
}

static struct engine_peer *connect_alive(uint16_t keep_alive_s, unsigned *announced)
{
    struct engine_peer *peer = guest_open(rig, V5);
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT,
                                  .as.connect = guest_connect_packet(V5, "alive")};
    packet.as.connect.keep_alive_s = keep_alive_s;
    guest_send_packet(peer, &packet);
    assert_true(guest_take(peer, &packet));
    assert_int_equal(packet.type, MQTT5_CONNACK);
    *announced = MQTT5_HAS(&packet.as.connack.properties, SERVER_KEEP_ALIVE)
                     ? packet.as.connack.properties.server_keep_alive_s
                     : 0;
    return peer;
}

static void assert_dies_after(struct engine_peer *peer, uint64_t ms)
{
    const uint64_t before = engine_stats(rig).limit_keep_alive;
    engine_advance(rig, ms - 1);
    assert_quiet(peer);
    engine_advance(rig, 1);
    assert_int_equal(guest_end(peer), MQTT5_REASON_KEEP_ALIVE_TIMEOUT);
    assert_int_equal(engine_stats(rig).limit_keep_alive, before + 1);
}

static void keep_alive_max(void **state)
{
    (void)state;
    unsigned announced;
    rig->config.keep_alive_max_s = 10;
    engine_rig_start(rig); /* others would be under the same limit */
    struct engine_peer *peer = connect_alive(11, &announced);
    assert_int_equal(announced, 10);
    assert_dies_after(peer, 15000);
    peer = connect_alive(0, &announced);
    assert_int_equal(announced, 10);
    assert_dies_after(peer, 15000);
    peer = connect_alive(10, &announced);
    assert_int_equal(announced, 0);
    assert_dies_after(peer, 15000);
    peer = connect_alive(2, &announced);
    assert_int_equal(announced, 0);
    assert_dies_after(peer, 3000);
}

static void server_keep_alive(void **state)
{
    (void)state;
    unsigned announced;
    rig->config.server_keep_alive_s = 4;
    engine_rig_start(rig);
    struct engine_peer *peer = connect_alive(2, &announced);
    assert_int_equal(announced, 4);
    assert_dies_after(peer, 6000);
    peer = connect_alive(0, &announced);
    assert_int_equal(announced, 4);
    assert_dies_after(peer, 6000);
}

static void session_expiry_max(void **state)
{
    (void)state;
    rig->config.session_expiry_max_s = 10;
    start();
    for (uint32_t wanted = 10; wanted <= 11; wanted++) {
        struct engine_peer *peer = guest_open(rig, V5);
        struct mqtt5_packet packet = {.type = MQTT5_CONNECT,
                                      .as.connect = guest_connect_packet(V5, "brief")};
        MQTT5_SET(&packet.as.connect.properties, SESSION_EXPIRY_INTERVAL);
        packet.as.connect.properties.session_expiry_interval_s = wanted;
        guest_send_packet(peer, &packet);
        assert_true(guest_take(peer, &packet));
        const struct mqtt5_properties *properties = &packet.as.connack.properties;
        assert_int_equal(MQTT5_HAS(properties, SESSION_EXPIRY_INTERVAL), wanted == 11);
        if (wanted == 11)
            assert_int_equal(properties->session_expiry_interval_s, 10);
        const uint64_t others = engine_stats(rig).sessions;
        guest_lose(peer);
        engine_advance(rig, 9999);
        assert_int_equal(engine_stats(rig).sessions, others);
        engine_advance(rig, 1);
        assert_int_equal(engine_stats(rig).sessions, others - 1);
    }
    struct engine_peer *forever = guest_resume(rig, V311, "forever"); /* 3.1.1: no end by itself */
    const uint64_t others = engine_stats(rig).sessions;
    guest_lose(forever);
    engine_advance(rig, 10000);
    assert_int_equal(engine_stats(rig).sessions, others - 1);
    assert_others_served();
}

/* DISCONNECT may make it longer, but not longer than the limit. */
static void session_expiry_max_of_disconnect(void **state)
{
    (void)state;
    rig->config.session_expiry_max_s = 10;
    start();
    struct engine_peer *peer = guest_open(rig, V5);
    struct mqtt5_connect connect = guest_connect_packet(V5, "brief");
    MQTT5_SET(&connect.properties, SESSION_EXPIRY_INTERVAL);
    connect.properties.session_expiry_interval_s = 1;
    assert_int_equal(guest_say_connect(peer, &connect), 0);
    guest_send_hex(peer, "e0 [00 [11 00000014]]");
    const uint64_t sessions = engine_stats(rig).sessions;
    engine_advance(rig, 9999);
    assert_int_equal(engine_stats(rig).sessions, sessions);
    engine_advance(rig, 1);
    assert_int_equal(engine_stats(rig).sessions, sessions - 1);
}

/* ---- packets ---- */

static void maximum_packet_size(void **state)
{
    (void)state;
    char payload[128];
    rig->config.maximum_packet_size = 100;
    start();
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    struct engine_peer *old = guest_connect(rig, V311, "old");
    guest_subscribe(listener, "a", 0);
    memset(payload, 'p', sizeof payload);
    payload[100 - 6] = 0; /* fixed header 2, topic 3, properties 1 */
    guest_publish(peer, "a", payload, 0);
    assert_message(listener, "a", payload, 0);
    payload[100 - 6] = 'p';
    payload[101 - 6] = 0;
    guest_publish(peer, "a", payload, 0);
    assert_int_equal(guest_end(peer), MQTT5_REASON_PACKET_TOO_LARGE);
    guest_send_hex(old, "30 64");
    assert_int_equal(guest_end(old), 0);
    assert_int_equal(engine_stats(rig).limit_packet_size, 2);
    assert_others_served();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(connections_max),
        TEST(connections_beyond_what_can_be_told_are_closed),
        TEST(sessions_max),
        TEST(client_id_size_max),
        TEST(subscriptions_max),
        TEST(subscriptions_per_session_max),
        TEST(topic_levels_max_of_publish),
        TEST(topic_levels_max_of_subscribe_and_unsubscribe),
        TEST(topic_levels_max_of_a_will),
        TEST(user_properties_max_of_packets),
        TEST(user_properties_max_of_connect_and_will),
        TEST(receive_maximum),
        TEST(receive_maximum_counts_qos1_beside_qos2),
        TEST(inflight_max),
        TEST(queued_messages_max_drops_the_newest),
        TEST(queued_messages_max_drops_the_oldest),
        TEST(queued_bytes_max_drops_the_newest),
        TEST(queued_bytes_max_drops_the_oldest),
        TEST(queued_bytes_max_one_message_that_never_fits),
        TEST(output_bytes_max),
        TEST(retained_messages_max),
        TEST(retained_bytes_max),
        TEST(retained_message_size_max),
        TEST(memory_max_refuses_publishes_and_recovers),
        TEST(memory_max_refuses_subscriptions_and_connects),
        TEST(memory_max_holds_for_retained_messages),
        TEST(connect_timeout),
        TEST(connect_packet_max),
        TEST(keep_alive_max),
        TEST(server_keep_alive),
        TEST(session_expiry_max),
        TEST(session_expiry_max_of_disconnect),
        TEST(maximum_packet_size),
    };
    return cmocka_run_group_tests_name("engine limits", tests, NULL, NULL);
}
