/* Faults that other brokers shipped, each as a test of our engine, by its number in the list of
 * security cases.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/engine_peer.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "support/seed.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#define V5   MQTT5_VERSION_5
#define V311 MQTT5_VERSION_3_1_1

static struct engine_rig *rig;
static bool revoked; /* nobody may publish to or be sent "secret" any more */

static enum m5_access_answer may_publish(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic, uint8_t qos, bool retain)
{
    (void)ctx;
    (void)who;
    (void)qos;
    (void)retain;
    return revoked && m5_bytes_equal(topic, m5_bytes_of("secret")) ? M5_ACCESS_DENY
                                                                   : M5_ACCESS_ALLOW;
}

static enum m5_access_answer may_deliver(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic)
{
    return may_publish(ctx, who, topic, 0, false);
}

static enum m5_access_answer may_subscribe(void *ctx, const struct m5_principal *who,
                                           struct mqtt5_bytes filter, uint8_t qos)
{
    return may_publish(ctx, who, filter, qos, false);
}

static int set_up(void **state)
{
    rig = malloc(sizeof *rig);
    assert_non_null(rig);
    engine_rig_init(rig, *(const uint32_t *)*state);
    revoked = false;
    return 0;
}

static void start_with_access(void)
{
    rig->has_access = true;
    rig->access = (struct m5_access){
        .publish = may_publish, .subscribe = may_subscribe, .deliver = may_deliver};
    engine_rig_start(rig);
}

static int tear_down(void **state)
{
    (void)state;
    engine_rig_fini(rig);
    free(rig);
    return 0;
}

static void say_little(struct engine_peer *peer, unsigned *end)
{
    engine_pump(rig);
    *end = guest_end(peer);
    guest_lose(peer);
}

/* A thousand times the same bytes in one sending. */
static void send_thousandfold(struct engine_peer *peer, const uint8_t *bytes, size_t size)
{
    uint8_t *all = malloc(1000 * size);
    assert_non_null(all);
    for (size_t i = 0; i < 1000; i++)
        memcpy(all + i * size, bytes, size);
    guest_send(peer, m5_bytes(all, 1000 * size));
    free(all);
    peer->output.size = 0; /* whatever came */
}

/* ---- memory ---- */

static void security_case_01_qos2_same_id_again_and_again_costs_nothing(void **state)
{
    (void)state;
    static const uint8_t publish[] = {0x3c, 7, 0, 1, 'a', 0, 9, 0, 'x'};
    engine_rig_start(rig);
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    struct engine_peer *subscriber = guest_connect(rig, V5, "subscriber");
    guest_subscribe(subscriber, "a", 2);
    send_thousandfold(peer, publish, sizeof publish);
    const size_t before = rig->memory.bytes;
    for (unsigned i = 0; i < 100; i++) /* PUBREC is never answered */
        send_thousandfold(peer, publish, sizeof publish);
    assert_in_range(rig->memory.bytes, 0, before);
    assert_message_held(subscriber, "a", "x", 2);
    assert_quiet(subscriber);
    assert_int_equal(engine_stats(rig).publish_received, 101000);
}

static void security_case_02_nothing_is_allocated_for_what_is_announced_first(void **state)
{
    (void)state;
    engine_rig_start(rig);
    const size_t before = rig->memory.bytes;
    size_t open = 0;
    for (unsigned first = 0; first < 256; first++) {
        struct engine_peer *peer = guest_open(rig, V5);
        open = rig->memory.bytes;
        const uint8_t bytes[] = {(uint8_t)first, 0xff, 0xff, 0xff, 0x7f, 0};
        guest_send(peer, m5_bytes(bytes, sizeof bytes));
        assert_true(peer->closed); /* CONNECT too: it is over connect_packet_max */
        assert_int_equal(peer->output.size, 0);
        assert_in_range(rig->memory.bytes, before, open);
        guest_lose(peer);
    }
    assert_int_equal(engine_stats(rig).connections, 0);
}

static void security_case_18_announced_lengths_cost_what_has_come(void **state)
{
    (void)state;
    static const uint8_t large[] = {0x30, 0x80, 0x80, 0x80, 0x07, 0, 1, 'a', 0};
    engine_rig_start(rig);
    struct engine_peer *peers[100];
    char id[16];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "peer%u", i);
        peers[i] = guest_connect(rig, V5, id);
    }
    const size_t before = rig->memory.bytes;
    for (unsigned i = 0; i < 100; i++)
        guest_send(peers[i], m5_bytes(large, sizeof large));
    assert_false(peers[0]->closed || peers[99]->closed);
    assert_in_range(rig->memory.bytes, before, before + 100 * 1024);
}

static void security_case_31_expired_sessions_leave_nothing(void **state)
{
    (void)state;
    engine_rig_start(rig);
    const size_t before = rig->memory.bytes;
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    for (unsigned i = 0; i < 50; i++) {
        char id[16];
        snprintf(id, sizeof id, "absent%u", i);
        struct engine_peer *peer = guest_resume(rig, V5, id);
        guest_subscribe(peer, "q/#", 2);
        guest_publish(publisher, "q/1", "sent and not acknowledged", 2);
        guest_lose(peer);
    }
    for (unsigned i = 0; i < 20; i++)
        guest_publish(publisher, "q/2", "queued", 2);
    assert_in_range(engine_stats(rig).messages_queued, 50 * 20, 50 * 71);
    guest_lose(publisher);
    engine_advance(rig, 1000 * 1000 + 20000);
    const struct m5_stats stats = engine_stats(rig);
    assert_int_equal(stats.sessions, 0);
    assert_int_equal(stats.sessions_expired, 50);
    assert_int_equal(stats.subscriptions, 0);
    assert_int_equal(stats.messages_queued, 0);
    assert_int_equal(stats.messages_queued_bytes, 0);
    /* Tables and one batch to each other shard stay: not what 50 sessions took. */
    const size_t kept = (size_t)rig->shards * (rig->shards * 66 + 40) * 1024;
    assert_in_range(rig->memory.bytes, before, before + kept);
}

static void security_case_33_retained_bytes_have_one_budget(void **state)
{
    (void)state;
    rig->config.retained_bytes_max = 20000;
    engine_rig_start(rig);
    struct engine_peer *publishers[3];
    unsigned refused = 0;
    for (unsigned i = 0; i < 3; i++) {
        char id[16];
        snprintf(id, sizeof id, "publisher%u", i);
        publishers[i] = guest_connect(rig, V5, id);
    }
    for (unsigned i = 0; i < 300; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "r/%u", i);
        refused += guest_retain(publishers[i % 3], topic, "0123456789", 1) == 0x97;
        assert_in_range(engine_stats(rig).retained_bytes, 0, 20000);
    }
    assert_in_range(refused, 1, 299);
    assert_int_equal(engine_stats(rig).limit_retained, refused);
    assert_int_equal(engine_stats(rig).retained_messages, 300 - refused);
}

static void security_case_41_refused_connects_leave_no_connection(void **state)
{
    (void)state;
    rig->config.allow_anonymous = false;
    engine_rig_start(rig);
    size_t before = 0;
    for (unsigned i = 0; i < 2000; i++) {
        struct engine_peer *peer = guest_open(rig, V5);
        const struct mqtt5_connect connect = guest_connect_packet(V5, "peer");
        assert_int_equal(guest_say_connect(peer, &connect), MQTT5_REASON_NOT_AUTHORIZED);
        assert_true(peer->closed);
        guest_lose(peer);
        if (i == 10)
            before = rig->memory.bytes;
    }
    assert_int_equal(rig->memory.bytes, before);
    assert_int_equal(engine_stats(rig).connections, 0);
    assert_int_equal(engine_stats(rig).sessions, 0);
}

static size_t output_size(const struct engine_peer *peer)
{
    struct mqtt5_bytes views[64];
    const size_t count = m5_conn_output(peer->conn, views, M5_COUNT_OF(views));
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += views[i].len;
    return size;
}

/* One who asks and never reads: no more is read from him when his answers wait unsent. */
static void security_case_28_answers_that_nobody_reads_have_a_bound(void **state)
{
    (void)state;
    static const uint8_t ping[] = {0xc0, 0}, release[] = {0x62, 2, 0, 7};
    rig->config.output_bytes_max = 64 * 1024;
    engine_rig_start(rig);
    struct engine_peer *talker = guest_connect(rig, V5, "talker");
    struct engine_peer *listener = guest_connect(rig, V5, "listener");
    guest_subscribe(listener, "t", 1);
    struct engine_peer *deaf[] = {guest_connect(rig, V5, "deaf1"), guest_connect(rig, V5, "deaf2")};
    const size_t before = rig->memory.bytes;
    deaf[0]->stuck = deaf[1]->stuck = true;
    for (unsigned i = 0; i < 300; i++) {
        send_thousandfold(deaf[0], ping, sizeof ping);
        send_thousandfold(deaf[1], release, sizeof release);
    }
    /* Beside the limit: what one reading brings, and what of it could not be handled. */
    assert_in_range(rig->memory.bytes, 0, before + 2 * (size_t)1024 * 1024);
    assert_int_equal(guest_publish(talker, "t", "alive", 1), 0);
    assert_message(listener, "t", "alive", 1);
    const uint64_t received = engine_stats(rig).packets_received;
    /* What was kept unread comes first: no more is read before it was handled. */
    assert_false(m5_conn_reading(deaf[0]->conn));
    const size_t by_hand = output_size(deaf[0]);
    m5_conn_sent(deaf[0]->conn, by_hand);
    assert_false(m5_conn_reading(deaf[0]->conn));
    assert_int_equal(m5_shard_deadline(m5_engine_shard(rig->engine, deaf[0]->shard)), 0);
    deaf[0]->stuck = deaf[1]->stuck = false; /* nothing was lost */
    engine_pump(rig);
    assert_int_equal(deaf[0]->input.size + deaf[1]->input.size, 0);
    assert_true(engine_stats(rig).packets_received > received + 100000);
    engine_advance(rig, 100);
    unsigned answers = 0;
    struct mqtt5_packet packet;
    assert_true(guest_take(deaf[0], &packet) && packet.type == MQTT5_PINGRESP);
    answers = (unsigned)(2 + by_hand + deaf[0]->output.size) / 2;
    assert_int_equal(answers, 300 * 1000);
}

/* ---- packets ---- */

#define CONNECT_WITH_WILL(properties) \
    "10 [0004'MQTT' 05 06 0000 00 0002'id' [" properties "] 0001'w' 0001'x']"

static void security_case_03_every_property_in_every_place(void **state)
{
    (void)state;
    static const char *const packets[] = {"10 [0004'MQTT' 05 02 0000 [%s] 0002'id']",
                                          CONNECT_WITH_WILL("%s"),
                                          "30 [0001'a' [%s]]",
                                          "32 [0001'a' 0001 [%s]]",
                                          "40 [0001 00 [%s]]",
                                          "50 [0001 00 [%s]]",
                                          "62 [0001 00 [%s]]",
                                          "70 [0001 00 [%s]]",
                                          "82 [0001 [%s] 0001'a' 00]",
                                          "a2 [0001 [%s] 0001'a']",
                                          "e0 [00 [%s]]",
                                          "f0 [18 [%s]]"};
    static const char *const values[] = {"", "00", "0000", "0001'v'", "00000001", "0001'k'0001'v'"};
    engine_rig_start(rig);
    for (unsigned i = 0; i < M5_COUNT_OF(packets); i++) {
        for (unsigned id = 0; id < 128; id++) {
            char property[64], packet[256];
            snprintf(property, sizeof property, "%02x %s", id, values[id % M5_COUNT_OF(values)]);
            snprintf(packet, sizeof packet, packets[i], property);
            struct engine_peer *peer = i < 2 ? guest_open(rig, V5) : guest_connect(rig, V5, "peer");
            guest_send_hex(peer, packet);
            guest_lose(peer);
        }
    }
    assert_int_equal(engine_stats(rig).connections, 0);
    assert_in_range(engine_stats(rig).errors_malformed, 300, 10000);
    guest_connect(rig, V5, "after"); /* leaks are found at the end */
}

static void security_case_04_user_properties_have_a_count(void **state)
{
    (void)state;
    engine_rig_start(rig);
    struct mqtt5_user_property *items = calloc(13000, sizeof *items);
    assert_non_null(items);
    struct mqtt5_connect connect = guest_connect_packet(V5, "peer");
    MQTT5_SET(&connect.properties, USER_PROPERTY);
    connect.properties.user_property.items = items;
    connect.properties.user_property.count = 13000;
    assert_int_equal(guest_say_connect(guest_open(rig, V5), &connect), MQTT5_REASON_QUOTA_EXCEEDED);
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    struct mqtt5_publish publish = {.topic = m5_bytes_of("a")};
    publish.properties = connect.properties;
    guest_say_publish(peer, &publish);
    free(items);
    assert_int_equal(guest_end(peer), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(engine_stats(rig).limit_user_properties, 2);
}

static void security_case_06_empty_topics(void **state)
{
    (void)state;
    unsigned end;
    engine_rig_start(rig);
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    guest_send_hex(peer, "30 [0000 00 'x']");
    say_little(peer, &end);
    assert_int_equal(end, MQTT5_REASON_PROTOCOL_ERROR);
    peer = guest_connect(rig, V5, "peer");
    guest_send_hex(peer, "30 [0000 [23 0001] 'x']"); /* an alias that was never set */
    say_little(peer, &end);
    assert_int_equal(end, MQTT5_REASON_PROTOCOL_ERROR);
    peer = guest_connect(rig, V311, "peer");
    guest_send_hex(peer, "32 [0000 0001 'x']");
    say_little(peer, &end);
    assert_int_equal(end, 0);
    peer = guest_connect(rig, V5, "peer");
    guest_subscribe(peer, "a", 0);
    guest_send_hex(peer, "30 [0001'a' [23 0001] '1'] 30 [0000 [23 0001] '2']");
    assert_message(peer, "a", "1", 0);
    assert_message(peer, "a", "2", 0);
}

static void security_case_07_packets_that_only_a_server_sends(void **state)
{
    (void)state;
    static const char *const packets[] = {
        "20 [00 00 00]", "20 [00 00]",           "90 [0001 00 00]", "b0 [0001 00 00]", "d0 00",
        "f0 00",         "f0 [18 [15 0001'm']]", "00 00",           "90 [0001]",       "b0 [0001]",
        "20 00"};
    engine_rig_start(rig);
    for (unsigned i = 0; i < M5_COUNT_OF(packets); i++) {
        for (uint8_t version = V311; version <= V5; version++) {
            struct engine_peer *peer = guest_connect(rig, version, "peer");
            unsigned end;
            guest_send_hex(peer, packets[i]);
            say_little(peer, &end);
            if (version == V5)
                assert_in_range(end, 0x81, 0x82);
            else
                assert_int_equal(end, 0);
            peer = guest_open(rig, version);
            guest_send_hex(peer, packets[i]);
            assert_int_equal(peer->output.size, 0);
            say_little(peer, &end);
            assert_int_equal(end, 0);
        }
    }
}

static void security_case_08_connect_twice_and_cut_anywhere(void **state)
{
    (void)state;
    static const uint8_t whole[] = {0x10, 40, 0,   4, 'M', 'Q', 'T', 'T', 5, 0xc6, 0, 60, 5,   0x11,
                                    0,    0,  0,   9, 0,   2,   'i', 'd', 5, 0x18, 0, 0,  0,   1,
                                    0,    1,  'w', 0, 2,   'b', 'y', 0,   1, 'u',  0, 2,  'p', 'w'};
    engine_rig_start(rig);
    for (size_t size = 0; size < sizeof whole; size++) {
        struct engine_peer *peer = guest_open(rig, V5);
        guest_send(peer, m5_bytes(whole, size));
        assert_quiet(peer);
        guest_lose(peer);
    }
    for (uint8_t length = 0; length < 40; length++) { /* whole, but its length is too small */
        struct engine_peer *peer = guest_open(rig, V5);
        uint8_t cut[sizeof whole];
        memcpy(cut, whole, sizeof whole);
        cut[1] = length;
        guest_send(peer, m5_bytes(cut, 2u + length));
        assert_true(peer->closed);
        guest_lose(peer);
    }
    assert_int_equal(engine_stats(rig).sessions, 0);
    struct engine_peer *peer = guest_connect(rig, V5, "id");
    const struct mqtt5_packet again = {.type = MQTT5_CONNECT,
                                       .as.connect = guest_connect_packet(V5, "id")};
    guest_send_packet(peer, &again);
    assert_int_equal(guest_end(peer), MQTT5_REASON_PROTOCOL_ERROR); /* [MQTT-3.1.0-2] */
    assert_int_equal(engine_stats(rig).sessions, 0);
}

static void security_case_22_lengths_of_five_bytes(void **state)
{
    (void)state;
    static const char *const streams[] = {"30 80808080", "30 ffffffff", "30 8080808001", "c0 8000",
                                          "30 80808000"};
    engine_rig_start(rig);
    for (unsigned i = 0; i < M5_COUNT_OF(streams); i++) {
        struct engine_peer *peer = guest_connect(rig, V5, "peer");
        unsigned end;
        guest_send_hex(peer, streams[i]);
        say_little(peer, &end);
        assert_int_equal(end, MQTT5_REASON_MALFORMED_PACKET);
    }
    assert_int_equal(engine_stats(rig).errors_malformed, M5_COUNT_OF(streams));
}

static void security_case_26_malformed_shared_filters_are_not_stored(void **state)
{
    (void)state;
    static const char *const filters[] = {"$share/",     "$share/x",    "$share//a",  "$share/g/",
                                          "$share/+/a",  "$share/#",    "$share/#/a", "$share/g#/a",
                                          "$share/g/a#", "$share/g/#/a"};
    engine_rig_start(rig);
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    for (unsigned i = 0; i < M5_COUNT_OF(filters); i++) {
        assert_int_equal(guest_subscribe(peer, filters[i], 1), MQTT5_REASON_TOPIC_FILTER_INVALID);
        assert_int_equal(guest_unsubscribe(peer, filters[i]), MQTT5_REASON_TOPIC_FILTER_INVALID);
    }
    assert_int_equal(engine_stats(rig).subscriptions, 0);
    assert_int_equal(guest_publish(publisher, "a", "x", 1), MQTT5_REASON_NO_MATCHING_SUBSCRIBERS);
    assert_quiet(peer);
}

/* A topic or filter of 65,535 bytes '/'. */
static const char *slashes(void)
{
    static char text[65536];
    memset(text, '/', sizeof text - 1);
    return text;
}

static void security_case_13_and_39_topics_of_65536_levels(void **state)
{
    (void)state;
    engine_rig_start(rig);
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    assert_int_equal(guest_subscribe(peer, slashes(), 1), MQTT5_REASON_TOPIC_FILTER_INVALID);
    assert_int_equal(guest_unsubscribe(peer, slashes()), MQTT5_REASON_TOPIC_FILTER_INVALID);
    assert_int_equal(guest_publish(peer, slashes(), "x", 1), MQTT5_REASON_TOPIC_NAME_INVALID);
    assert_int_equal(guest_publish(peer, slashes(), "x", 2), MQTT5_REASON_TOPIC_NAME_INVALID);
    assert_int_equal(guest_retain(peer, slashes(), "x", 1), MQTT5_REASON_TOPIC_NAME_INVALID);
    assert_int_equal(engine_stats(rig).retained_messages, 0);
    guest_publish(peer, slashes(), "x", 0);
    assert_int_equal(guest_end(peer), MQTT5_REASON_TOPIC_NAME_INVALID);
    struct mqtt5_connect connect = guest_connect_packet(V5, "dying");
    connect.has_will = true;
    connect.will.topic = m5_bytes_of(slashes());
    connect.will.topic.len = 60000; /* CONNECT is to stay below its own limit */
    assert_int_equal(guest_say_connect(guest_open(rig, V5), &connect),
                     MQTT5_REASON_TOPIC_NAME_INVALID);
    assert_int_equal(engine_stats(rig).limit_topic_levels, 7);
}

static void security_case_32_retained_with_everything_in_it(void **state)
{
    (void)state;
    engine_rig_start(rig);
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    guest_send_hex(publisher, "31 [0001'r' [01 01 02 0000000a 03 0001't' 08 0001'a' 09 0001'c'"
                              "26 0001'k' 0001'v' 23 0001 26 0000 0000] 'p']");
    guest_send_hex(publisher, "31 [0001's' [02 00000000] 'expired at once']");
    assert_quiet(publisher);
    for (uint8_t version = V311; version <= V5; version++) {
        struct engine_peer *peer = guest_connect(rig, version, "peer");
        guest_subscribe(peer, "#", 2);
        assert_message(peer, "r", "p", 0);
        assert_quiet(peer);
        guest_lose(peer);
    }
    engine_advance(rig, 10000);
    struct engine_peer *late = guest_connect(rig, V5, "late");
    guest_subscribe(late, "+", 2);
    assert_quiet(late);
}

/* ---- sequences ---- */

static void security_case_10_plain_and_shared_of_one_filter_at_random(void **state)
{
    (void)state;
    static const char *const filters[] = {"f", "$share/g/f", "$share/h/f", "+", "$share/g/+"};
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(10));
    engine_rig_start(rig);
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *peers[3];
    bool has[3][M5_COUNT_OF(filters)] = {{false}};
    for (unsigned i = 0; i < 3; i++)
        peers[i] = guest_connect(rig, V5, i == 0 ? "p0" : i == 1 ? "p1" : "p2");
    for (unsigned round = 0; round < 600; round++) {
        const unsigned who = (unsigned)m5_rng_below(&rng, 3);
        const unsigned which = (unsigned)m5_rng_below(&rng, M5_COUNT_OF(filters));
        if (has[who][which])
            assert_int_equal(guest_unsubscribe(peers[who], filters[which]), 0);
        else
            assert_int_equal(guest_subscribe(peers[who], filters[which], 1), 1);
        has[who][which] = !has[who][which];
        unsigned expected = 0;
        for (unsigned i = 0; i < 3; i++)
            expected += has[i][0] || has[i][3]; /* overlapping plain ones give one copy */
        for (unsigned group = 1; group <= 4; group++)
            if (group != 3)
                expected += has[0][group] || has[1][group] || has[2][group];
        guest_publish(publisher, "f", "x", 1);
        assert_int_equal(guests_drain(peers, 3, NULL), expected);
    }
}

static void will_delay_of(uint32_t delay_s, uint32_t expiry_s)
{
    struct engine_peer *watcher = guest_connect(rig, V5, "watcher");
    guest_subscribe(watcher, "w", 0);
    struct mqtt5_connect connect = guest_connect_packet(V5, "dying");
    connect.has_will = true;
    connect.will = (struct mqtt5_will){.topic = m5_bytes_of("w"), .payload = m5_bytes_of("x")};
    MQTT5_SET(&connect.will.properties, WILL_DELAY_INTERVAL);
    connect.will.properties.will_delay_interval_s = delay_s;
    MQTT5_SET(&connect.properties, SESSION_EXPIRY_INTERVAL);
    connect.properties.session_expiry_interval_s = expiry_s;
    struct engine_peer *peer = guest_open(rig, V5);
    assert_int_equal(guest_say_connect(peer, &connect), 0);
    guest_lose(peer);
    const uint32_t due_s = delay_s < expiry_s ? delay_s : expiry_s;
    if (due_s > 0) {
        engine_advance(rig, due_s * 1000 - 1);
        assert_quiet(watcher);
        engine_advance(rig, 1);
    }
    assert_message(watcher, "w", "x", 0);
    engine_advance(rig, 200000);
    assert_quiet(watcher);
    assert_int_equal(engine_stats(rig).sessions, 1);
    guest_lose(watcher);
}

static void security_case_14_will_delay_against_session_expiry(void **state)
{
    (void)state;
    static const uint32_t times_s[] = {0, 1, 9, 10, 11, 100};
    engine_rig_start(rig);
    for (unsigned i = 0; i < M5_COUNT_OF(times_s); i++)
        for (unsigned j = 0; j < M5_COUNT_OF(times_s); j++)
            will_delay_of(times_s[i], times_s[j]);
}

static void security_case_24_takeover_storm(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(24));
    engine_rig_start(rig);
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *peer = NULL;
    for (unsigned i = 0; i < 300; i++) {
        struct engine_peer *next = m5_rng_below(&rng, 2) == 0 ? guest_resume(rig, V5, "victim")
                                                              : guest_connect(rig, V5, "victim");
        if (peer != NULL) {
            guest_drain(peer);
            assert_true(peer->closed);
            guest_lose(peer);
        }
        peer = next;
        const char *filter = m5_rng_below(&rng, 2) == 0 ? "s/+" : "$share/g/s/+";
        if (m5_rng_below(&rng, 3) == 0)
            guest_unsubscribe(peer, filter);
        else
            guest_subscribe(peer, filter, 2);
        guest_publish(publisher, "s/t", "x", (uint8_t)m5_rng_below(&rng, 3));
    }
    assert_int_equal(engine_stats(rig).sessions, 2);
    assert_int_equal(engine_stats(rig).connections, 2);
    assert_int_equal(engine_stats(rig).clients_connected, 2);
}

static void security_case_42_a_second_client_of_the_same_name(void **state)
{
    (void)state;
    engine_rig_start(rig);
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *first = guest_connect(rig, V5, "device");
    guest_subscribe(first, "a", 1);
    struct engine_peer *second = guest_connect(rig, V311, "device");
    assert_int_equal(guest_end(first), MQTT5_REASON_SESSION_TAKEN_OVER); /* [MQTT-3.1.4-3] */
    assert_int_equal(guest_publish(publisher, "a", "x", 1), MQTT5_REASON_NO_MATCHING_SUBSCRIBERS);
    guest_subscribe(second, "a", 1);
    guest_publish(publisher, "a", "y", 1);
    assert_message(second, "a", "y", 1);
    assert_int_equal(first->output.size, 0);
    struct engine_peer *third = guest_connect(rig, V5, "device");
    assert_int_equal(guest_end(second), 0); /* 3.1.1 has no words for it */
    assert_quiet(third);
}

static void security_case_29_connections_lost_in_every_state(void **state)
{
    (void)state;
    char id[ENGINE_ID_SIZE], filter[ENGINE_ID_SIZE + 16], topic[ENGINE_ID_SIZE];
    engine_rig_start(rig);
    const uint32_t last = rig->shards - 1;
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    guest_lose(guest_open(rig, V5));                      /* new */
    struct engine_peer *peer = guest_open_on(rig, V5, 0); /* half a CONNECT */
    guest_send_hex(peer, "10 20 0004");
    guest_lose(peer);
    engine_text_on(rig, "c", last, 0, id); /* a CONNECT that has not moved yet */
    peer = guest_open_on(rig, V5, 0);
    rig->asleep = last == 0 ? 0 : (uint64_t)1 << last;
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT,
                                  .as.connect = guest_connect_packet(V5, id)};
    guest_send_packet(peer, &packet);
    rig->asleep = 0;
    guest_lose(peer);
    engine_text_on(rig, "c", 0, 0, id); /* a SUBSCRIBE that another shard has not answered */
    engine_text_on(rig, "t", last, 0, topic);
    snprintf(filter, sizeof filter, "$share/g/%s", topic);
    peer = guest_connect(rig, V5, id);
    rig->asleep = last == 0 ? 0 : (uint64_t)1 << last;
    assert_int_equal(guest_subscribe(peer, filter, 1), last == 0 ? 1 : GUEST_OPEN);
    guest_lose(peer);
    rig->asleep = 0;
    engine_pump(rig);
    assert_int_equal(engine_stats(rig).shared_subscriptions, 0);
    assert_in_range(guest_publish(publisher, topic, "x", 1), 0, 0x10);
    peer = guest_resume(rig, V5, "half"); /* exchanges of QoS 2 half done, both ways */
    guest_subscribe(peer, "a", 2);
    guest_publish(publisher, "a", "1", 2);
    guest_publish(publisher, "a", "2", 2);
    guest_send_ack(peer, MQTT5_PUBREC, 1, 0);
    guest_send_hex(peer, "34 [0001'a' 0009 00] 34 09 0001'a' 000a");
    guest_lose(peer);
    peer = guest_connect(rig, V5, "closing"); /* closing, and does not read */
    peer->stuck = true;
    guest_send_hex(peer, "20 00");
    assert_false(peer->closed);
    guest_lose(peer);
    assert_int_equal(engine_stats(rig).connections, 1);
    assert_int_equal(engine_stats(rig).sessions, 2);
}

/* One who does not even let himself be closed: the last packets wait for 5 s. */
static void security_case_29_closing_does_not_wait_for_ever(void **state)
{
    (void)state;
    engine_rig_start(rig);
    struct engine_peer *peer = guest_connect(rig, V5, "closing");
    peer->stuck = true;
    guest_send_hex(peer, "20 00");
    engine_advance(rig, 4999);
    assert_false(peer->closed);
    engine_advance(rig, 1);
    assert_true(peer->closed);
}

/* ---- rights ---- */

static void security_case_05_subscriptions_do_not_outlive_rights(void **state)
{
    (void)state;
    start_with_access();
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *peer = guest_resume(rig, V5, "durable");
    guest_subscribe(peer, "+", 2);
    guest_lose(peer);
    guest_publish(publisher, "secret", "1", 1);
    guest_publish(publisher, "open", "2", 1);
    revoked = true;
    peer = guest_resume(rig, V5, "durable");
    assert_true(peer->session_present);
    assert_message(peer, "open", "2", 1);
    assert_quiet(peer);
}

static void security_case_15_rights_lost_between_publish_and_pubrel(void **state)
{
    (void)state;
    start_with_access();
    struct engine_peer *subscriber = guest_connect(rig, V5, "subscriber");
    guest_subscribe(subscriber, "+", 2);
    struct engine_peer *publisher = guest_resume(rig, V5, "publisher");
    guest_send_hex(publisher, "34 [0006'secret' 0005 00 'x']");
    assert_message(subscriber, "secret", "x", 2); /* it was allowed when it was published */
    guest_lose(publisher);
    revoked = true;
    publisher = guest_resume(rig, V5, "publisher");
    guest_send_hex(publisher, "3c [0006'secret' 0005 00 'x'] 34 [0006'secret' 0006 00 'y']");
    struct mqtt5_packet packet;
    assert_true(guest_take(publisher, &packet));
    assert_int_equal(packet.as.ack.packet_id, 5);
    assert_int_equal(packet.as.ack.reason_code, 0); /* known: only acknowledged [MQTT-4.3.3-10] */
    assert_true(guest_take(publisher, &packet));
    assert_int_equal(packet.as.ack.packet_id, 6);
    assert_int_equal(packet.as.ack.reason_code, MQTT5_REASON_NOT_AUTHORIZED);
    guest_send_ack(publisher, MQTT5_PUBREL, 5, 0);
    assert_true(guest_take(publisher, &packet));
    assert_int_equal(packet.type, MQTT5_PUBCOMP);
    assert_quiet(subscriber);
}

static void security_case_35_retained_and_replay_ask_for_rights(void **state)
{
    (void)state;
    start_with_access();
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    guest_retain(publisher, "secret", "1", 1);
    guest_retain(publisher, "open", "2", 1);
    struct engine_peer *resumed = guest_resume(rig, V5, "resumed");
    guest_subscribe(resumed, "#", 1);
    guest_lose(resumed); /* both sent, nothing acknowledged */
    revoked = true;
    struct engine_peer *late = guest_connect(rig, V5, "late");
    guest_subscribe(late, "#", 1);
    assert_message(late, "open", "2", 1);
    assert_quiet(late);
    resumed = guest_resume(rig, V5, "resumed");
    assert_message(resumed, "open", "2", 1);
    assert_quiet(resumed);
}

static void security_case_36_shared_filters_are_asked_as_plain_ones(void **state)
{
    (void)state;
    start_with_access();
    revoked = true;
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    assert_int_equal(guest_subscribe(peer, "secret", 1), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(guest_subscribe(peer, "$share/g/secret", 1), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(guest_subscribe(peer, "$share/g/#", 1), 1);
    revoked = false;
    guest_publish(publisher, "secret", "1", 1);
    assert_message(peer, "secret", "1", 1);
    revoked = true;
    assert_int_equal(guest_publish(publisher, "secret", "2", 1), MQTT5_REASON_NOT_AUTHORIZED);
    assert_quiet(peer);
}

static void security_case_17_and_34_wills_into_the_brokers_topics(void **state)
{
    (void)state;
    static const char *const topics[] = {"$CONTROL/dynamic-security/v1", "$CONTROL", "$SYS/a",
                                         "$SYS/broker/version", "$share/g/a"};
    engine_rig_start(rig);
    for (unsigned i = 0; i < M5_COUNT_OF(topics); i++) {
        for (uint8_t version = V311; version <= V5; version++) {
            struct mqtt5_connect connect = guest_connect_packet(version, "dying");
            connect.has_will = true;
            connect.will = (struct mqtt5_will){
                .topic = m5_bytes_of(topics[i]), .payload = m5_bytes_of("x"), .retain = i % 2 == 0};
            struct engine_peer *peer = guest_open(rig, version);
            assert_in_range(guest_say_connect(peer, &connect), version == V5 ? 0x80 : 1, 0xff);
            assert_true(peer->closed);
            guest_lose(peer);
        }
    }
    assert_int_equal(engine_stats(rig).retained_messages, 0);
    assert_int_equal(engine_stats(rig).sessions, 0);
}

/* What the broker keeps for itself is reached by no wildcard, and written by nobody. */
static void security_case_34_the_brokers_topics_are_its_own(void **state)
{
    (void)state;
    static const char *const wildcards[] = {"#", "+/#", "+/+", "+/broker/#", "$share/g/#"};
    static const char *const topics[] = {"$SYS/broker/uptime", "$SYS/x", "$CONTROL/x", "$share/x"};
    rig->config.sys_interval_s = 1;
    engine_rig_start(rig);
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    struct engine_peer *knowing = guest_connect(rig, V5, "knowing");
    for (unsigned i = 0; i < M5_COUNT_OF(wildcards); i++)
        assert_int_equal(guest_subscribe(peer, wildcards[i], 1), 1);
    assert_int_equal(guest_subscribe(knowing, "$SYS/x", 1), 1);
    for (unsigned i = 0; i < M5_COUNT_OF(topics); i++) {
        assert_in_range(guest_publish(peer, topics[i], "forged", 1), 0x80, 0xff);
        assert_in_range(guest_retain(peer, topics[i], "", 1), 0x80, 0xff);
    }
    engine_advance(rig, 3000);
    assert_quiet(peer);
    assert_quiet(knowing);
}

/* The publisher's side of one message, as far as the broker answers. */
static void send_qos2(struct engine_peer *publisher, bool *received, bool *completed)
{
    struct mqtt5_packet packet;
    if (!*received) {
        guest_send_hex(publisher, publisher->session_present ? "3c [0001't' 0007 00 'x']"
                                                             : "34 [0001't' 0007 00 'x']");
        *received = guest_take_type(publisher, MQTT5_PUBREC, &packet);
    }
    if (*received && !*completed) {
        guest_send_ack(publisher, MQTT5_PUBREL, 7, 0);
        *completed = guest_take_type(publisher, MQTT5_PUBCOMP, &packet);
    }
}

static unsigned deliveries_after_crash(struct disk_sim *disk, unsigned commits)
{
    bool received = false, completed = false;
    disk_sim_init(disk);
    rig->disk = disk;
    engine_rig_start(rig);
    struct engine_peer *subscriber = guest_resume(rig, V5, "subscriber");
    assert_int_equal(guest_subscribe(subscriber, "t", 2), 2);
    guest_lose(subscriber);
    struct engine_peer *publisher = guest_resume(rig, V5, "publisher");
    rig->last_commit = disk->commits + commits;
    send_qos2(publisher, &received, &completed);
    assert_true(commits > 0 || !received); /* nothing is promised that is not kept */
    engine_rig_crash(rig);
    rig->last_commit = 0;
    publisher = guest_resume(rig, V5, "publisher");
    assert_true(publisher->session_present);
    send_qos2(publisher, &received, &completed);
    assert_true(completed);
    const unsigned count = guest_drain(guest_resume(rig, V5, "subscriber"));
    engine_rig_fini(rig);
    disk_sim_fini(disk);
    return count;
}

static void security_case_20_qos2_once_wherever_the_power_goes(void **state)
{
    (void)state;
    const uint32_t shards = rig->shards;
    static struct disk_sim disk;
    for (unsigned commits = 0; commits < 8; commits++) {
        assert_int_equal(deliveries_after_crash(&disk, commits), 1);
        engine_rig_init(rig, shards);
    }
    engine_rig_start(rig);
}

static void security_case_44_nobody_holds_a_place_for_hours(void **state)
{
    (void)state;
    rig->config.keep_alive_max_s = 60;
    engine_rig_start(rig);
    struct engine_peer *slow = guest_open(rig, V5), *lazy = guest_open(rig, V5);
    struct mqtt5_connect connect = guest_connect_packet(V5, "lazy");
    connect.keep_alive_s = 65535;
    assert_int_equal(guest_say_connect(lazy, &connect), 0);
    for (unsigned i = 0; i < 9; i++) { /* a byte each second */
        static const uint8_t connect_bytes[] = {0x10, 60, 0, 4, 'M', 'Q', 'T', 'T', 5};
        guest_send(slow, m5_bytes(connect_bytes + i, 1));
        engine_advance(rig, 1000);
    }
    assert_quiet(slow);
    engine_advance(rig, 1000);
    assert_true(slow->closed);
    engine_advance(rig, 80000);
    assert_int_equal(guest_end(lazy), MQTT5_REASON_KEEP_ALIVE_TIMEOUT);
    assert_int_equal(engine_stats(rig).connections, 0);
}

#define TEST(name) ENGINE_TEST(name, &one, &three, " on 3 shards")

int main(void)
{
    static const uint32_t one = 1, three = 3;
    const struct CMUnitTest tests[] = {
        TEST(security_case_01_qos2_same_id_again_and_again_costs_nothing),
        TEST(security_case_02_nothing_is_allocated_for_what_is_announced_first),
        TEST(security_case_03_every_property_in_every_place),
        TEST(security_case_04_user_properties_have_a_count),
        TEST(security_case_05_subscriptions_do_not_outlive_rights),
        TEST(security_case_06_empty_topics),
        TEST(security_case_07_packets_that_only_a_server_sends),
        TEST(security_case_08_connect_twice_and_cut_anywhere),
        TEST(security_case_10_plain_and_shared_of_one_filter_at_random),
        TEST(security_case_13_and_39_topics_of_65536_levels),
        TEST(security_case_14_will_delay_against_session_expiry),
        TEST(security_case_15_rights_lost_between_publish_and_pubrel),
        TEST(security_case_17_and_34_wills_into_the_brokers_topics),
        TEST(security_case_18_announced_lengths_cost_what_has_come),
        TEST(security_case_20_qos2_once_wherever_the_power_goes),
        TEST(security_case_22_lengths_of_five_bytes),
        TEST(security_case_24_takeover_storm),
        TEST(security_case_26_malformed_shared_filters_are_not_stored),
        TEST(security_case_28_answers_that_nobody_reads_have_a_bound),
        TEST(security_case_29_connections_lost_in_every_state),
        TEST(security_case_29_closing_does_not_wait_for_ever),
        TEST(security_case_31_expired_sessions_leave_nothing),
        TEST(security_case_32_retained_with_everything_in_it),
        TEST(security_case_33_retained_bytes_have_one_budget),
        TEST(security_case_34_the_brokers_topics_are_its_own),
        TEST(security_case_35_retained_and_replay_ask_for_rights),
        TEST(security_case_36_shared_filters_are_asked_as_plain_ones),
        TEST(security_case_41_refused_connects_leave_no_connection),
        TEST(security_case_42_a_second_client_of_the_same_name),
        TEST(security_case_44_nobody_holds_a_place_for_hours),
    };
    return cmocka_run_group_tests_name("engine security", tests, NULL, NULL);
}
