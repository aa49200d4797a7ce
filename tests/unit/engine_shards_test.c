/* Several shards: connections that move, order across shards, rings that overflow, garbage while
 * others sleep, the end of all, and sums of figures.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/engine_peer.h"

#include "base/bytes.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#define V5   MQTT5_VERSION_5
#define V311 MQTT5_VERSION_3_1_1

static struct engine_rig *rig;

static int set_up(void **state)
{
    rig = malloc(sizeof *rig);
    assert_non_null(rig);
    engine_rig_init(rig, *(const uint32_t *)*state);
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

static uint64_t all_but(uint32_t shard)
{
    return (((uint64_t)1 << rig->shards) - 1) & ~((uint64_t)1 << shard);
}

static struct engine_peer *connect_from(uint32_t shard, const char *id, bool clean)
{
    struct engine_peer *peer = guest_open_on(rig, V5, shard);
    struct mqtt5_connect connect = guest_connect_packet(V5, id);
    connect.clean_start = clean;
    MQTT5_SET(&connect.properties, SESSION_EXPIRY_INTERVAL);
    connect.properties.session_expiry_interval_s = 1000;
    assert_int_equal(guest_say_connect(peer, &connect), 0);
    assert_int_equal(peer->shard, engine_home(rig, id));
    return peer;
}

/* ---- moves ---- */

static void sessions_are_resumed_from_any_shard(void **state)
{
    (void)state;
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *peer = connect_from(0, "durable", true);
    guest_subscribe(peer, "a", 2);
    for (uint32_t from = 0; from < 2 * rig->shards; from++) {
        guest_lose(peer);
        guest_publish(publisher, "a", "1", 1);
        guest_publish(publisher, "a", "2", 2);
        peer = connect_from(from % rig->shards, "durable", false);
        assert_true(peer->session_present);
        assert_message(peer, "a", "1", 1);
        assert_message(peer, "a", "2", 2);
        assert_quiet(peer);
    }
    assert_int_equal(engine_stats(rig).sessions, 2);
}

static void takeover_comes_from_any_shard(void **state)
{
    (void)state;
    struct engine_peer *publisher = guest_connect(rig, V5, "publisher");
    struct engine_peer *old = connect_from(0, "durable", true);
    guest_subscribe(old, "a", 1);
    for (uint32_t from = 0; from < 2 * rig->shards; from++) {
        guest_publish(publisher, "a", "x", 1); /* not acknowledged by the old */
        struct engine_peer *next = connect_from(from % rig->shards, "durable", false);
        assert_true(next->session_present);
        assert_int_equal(guest_end(old), MQTT5_REASON_SESSION_TAKEN_OVER);
        struct mqtt5_packet packet;
        assert_true(guest_take(next, &packet));
        assert_int_equal(packet.type, MQTT5_PUBLISH);
        assert_true(packet.as.publish.dup);
        guest_send_ack(next, MQTT5_PUBACK, packet.as.publish.packet_id, 0);
        assert_quiet(next);
        guest_lose(old);
        old = next;
    }
    assert_int_equal(engine_stats(rig).connections, 2);
}

/* What came behind the CONNECT goes along, in its order. */
static void packets_behind_connect_move_with_it(void **state)
{
    (void)state;
    for (uint32_t home = 0; home < rig->shards; home++) {
        char id[ENGINE_ID_SIZE], text[256];
        engine_text_on(rig, "c", home, 0, id);
        struct engine_peer *peer = guest_open_on(rig, V5, 0);
        snprintf(text, sizeof text,
                 "10 [0004'MQTT' 05 02 0000 00 %04x'%s'] 82 [0001 00 0001'a' 00]"
                 "30 [0001'a' 00 '1'] 30 [0001'a' 00 '2'] c0",
                 (unsigned)strlen(id), id);
        guest_send_hex(peer, text);
        guest_send_hex(peer, "00");
        struct mqtt5_packet packet;
        assert_true(guest_take(peer, &packet) && packet.type == MQTT5_CONNACK);
        assert_true(guest_take(peer, &packet) && packet.type == MQTT5_SUBACK);
        assert_message(peer, "a", "1", 0);
        assert_message(peer, "a", "2", 0);
        assert_true(guest_take(peer, &packet) && packet.type == MQTT5_PINGRESP);
        guest_lose(peer);
    }
}

/* ---- order ---- */

/* Takes all that came; numbers of each of two publishers must go up by one. */
static void assert_in_order(struct engine_peer *peer, unsigned *next)
{
    struct mqtt5_packet packet;
    while (guest_take_type(peer, MQTT5_PUBLISH, &packet)) {
        char text[16] = "";
        const struct mqtt5_publish *publish = &packet.as.publish;
        assert_in_range(publish->payload.len, 2, 15);
        memcpy(text, publish->payload.data, publish->payload.len);
        assert_int_equal(strtoul(text + 1, NULL, 10), next[text[0] - 'a']);
        next[text[0] - 'a']++;
        if (publish->qos > 0)
            guest_send_ack(peer, MQTT5_PUBACK, publish->packet_id, 0);
    }
}

/* [MQTT-4.6.0-5]: QoS by QoS, for each publisher and topic. */
static void order_is_kept_across_shards(void **state)
{
    (void)state;
    struct engine_peer *publishers[2], *subscribers[4];
    unsigned next[4][2] = {{0}};
    char id[ENGINE_ID_SIZE];
    for (unsigned i = 0; i < 2; i++) {
        engine_text_on(rig, "p", i % rig->shards, 0, id);
        publishers[i] = guest_connect(rig, V5, id);
    }
    for (unsigned i = 0; i < 4; i++) {
        engine_text_on(rig, "s", i % rig->shards, i, id);
        subscribers[i] = guest_connect(rig, V5, id);
        guest_subscribe(subscribers[i], i % 2 == 0 ? "a/b" : "a/+", 1);
    }
    for (unsigned number = 0; number < 200; number++) {
        for (unsigned i = 0; i < 2; i++) {
            char payload[16];
            snprintf(payload, sizeof payload, "%c%u", (char)('a' + i), number);
            guest_publish(publishers[i], "a/b", payload, 1);
        }
        if (number % 37 == 0)
            assert_in_order(subscribers[number % 4], next[number % 4]);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_in_order(subscribers[i], next[i]);
        assert_int_equal(next[i][0], 200);
        assert_int_equal(next[i][1], 200);
    }
}

/* A shard that takes no turns for long: more batches than its ring has places. */
static void ring_overflow_loses_nothing_and_keeps_order(void **state)
{
    (void)state;
    char id[ENGINE_ID_SIZE];
    const uint32_t slow = rig->shards - 1;
    engine_text_on(rig, "s", slow, 0, id);
    struct engine_peer *subscriber = guest_connect(rig, V5, id);
    guest_subscribe(subscriber, "a/b", 1);
    engine_text_on(rig, "p", 0, 0, id);
    struct engine_peer *publisher = guest_connect(rig, V5, id);
    guest_publish(publisher, "a/b", "a0", 1);
    unsigned next[2] = {0, 0};
    assert_in_order(subscriber, next);
    const size_t before = rig->memory.bytes;
    rig->asleep = (uint64_t)1 << slow;
    for (unsigned number = 1; number <= 700; number++) {
        char payload[16];
        snprintf(payload, sizeof payload, "a%u", number);
        assert_int_equal(guest_publish(publisher, "a/b", payload, 1), 0);
    }
    assert_int_equal(subscriber->output.size, 0);
    assert_true(rig->memory.bytes > before);
    assert_int_not_equal(rig->wakes >> slow & 1, 0);
    rig->asleep = 0;
    engine_advance(rig, 100);
    assert_in_order(subscriber, next);
    assert_int_equal(next[0], 701);
    engine_advance(rig, 20000); /* pools give back what they do not need now and then */
    assert_in_range(rig->memory.bytes, 0, before + 256 * 1024);
}

/* ---- garbage ---- */

static void churn(struct engine_peer *peer, unsigned round)
{
    for (unsigned i = 0; i < 50; i++) {
        char filter[32];
        snprintf(filter, sizeof filter, "garbage/%u/%u/+", round, i);
        assert_int_equal(guest_subscribe(peer, filter, 0), 0);
        assert_int_equal(guest_unsubscribe(peer, filter), 0);
    }
}

/* Time passes; shard 0 is busy, each of the others takes a turn when it is woken or when the
 * deadline of its last turn has come, as a host does. Returns the shards that were woken. */
static uint64_t pass_with_sleepers(uint64_t *due_ms, uint64_t ms)
{
    uint64_t woken = 0;
    for (uint64_t passed = 0; passed < ms; passed += 10) {
        engine_advance(rig, 10);
        for (uint32_t i = 1; i < rig->shards; i++) {
            const uint64_t wakes = rig->wakes;
            if ((wakes >> i & 1) == 0 && due_ms[i] > rig->now_ms)
                continue;
            woken |= wakes & (uint64_t)1 << i;
            rig->wakes &= ~((uint64_t)1 << i);
            engine_turn(rig, i);
            due_ms[i] = m5_shard_deadline(m5_engine_shard(rig->engine, i));
        }
    }
    return woken;
}

static void garbage_is_freed_while_others_sleep(void **state)
{
    (void)state;
    char id[ENGINE_ID_SIZE];
    engine_text_on(rig, "c", 0, 0, id);
    struct engine_peer *peer = guest_connect(rig, V5, id);
    size_t most = 0;
    uint64_t woken = 0, due_ms[4] = {0};
    rig->asleep = all_but(0);
    for (uint32_t i = 0; i < rig->shards; i++)
        due_ms[i] = m5_shard_deadline(m5_engine_shard(rig->engine, i));
    rig->wakes = 0;
    for (unsigned round = 0; round < 40; round++) {
        churn(peer, round);
        woken |= pass_with_sleepers(due_ms, 100);
        if (round == 9)
            most = rig->memory.bytes;
    }
    assert_int_equal(woken, all_but(0));
    assert_in_range(rig->memory.bytes, 0, most + 64 * 1024); /* not 30 times 50 filters more */
    pass_with_sleepers(due_ms, 3000);
    assert_in_range(rig->memory.bytes, 0, most);
    assert_int_equal(pass_with_sleepers(due_ms, 3000), 0); /* nothing is left: they may sleep */
}

/* Without a turn of the others nothing is freed: they may be reading it. */
static void garbage_waits_for_a_sleeper(void **state)
{
    (void)state;
    char id[ENGINE_ID_SIZE];
    engine_text_on(rig, "c", 0, 0, id);
    struct engine_peer *peer = guest_connect(rig, V5, id);
    churn(peer, 0);
    engine_advance(rig, 1000);
    const size_t before = rig->memory.bytes;
    rig->asleep = (uint64_t)1 << (rig->shards - 1);
    for (unsigned round = 1; round < 10; round++)
        churn(peer, round);
    engine_advance(rig, 1000);
    const size_t held = rig->memory.bytes;
    assert_true(held > before + 450 * 32);
    rig->asleep = 0;
    engine_advance(rig, 1000);
    assert_true(rig->memory.bytes < held - 450 * 32);
}

/* ---- the end ---- */

static void shut_down(void)
{
    for (uint32_t i = 0; i < rig->shards; i++) {
        struct m5_shard *shard = m5_engine_shard(rig->engine, i);
        m5_shard_begin(shard, rig->now_ms);
        m5_shard_shutdown(shard);
        rig->wakes |= m5_shard_end(shard);
    }
}

static void shutdown_with_connections_in_every_state(void **state)
{
    (void)state;
    const uint32_t last = rig->shards - 1;
    char id[ENGINE_ID_SIZE], topic[ENGINE_ID_SIZE], filter[ENGINE_ID_SIZE + 16];
    struct engine_peer *fresh = guest_open(rig, V5), *half = guest_open(rig, V5);
    guest_send_hex(half, "10 20 0004");
    struct engine_peer *five = guest_connect(rig, V5, "five");
    struct engine_peer *four = guest_connect(rig, V311, "four");
    struct engine_peer *stuck = guest_connect(rig, V5, "stuck");
    stuck->stuck = true;
    guest_subscribe(five, "a", 2);
    guest_publish(five, "a", "x", 2);
    assert_message_held(five, "a", "x", 2);
    engine_text_on(rig, "c", 0, 0, id); /* waits for another shard's answer to a SUBSCRIBE */
    engine_text_on(rig, "t", last, 0, topic);
    snprintf(filter, sizeof filter, "$share/g/%s", topic);
    struct engine_peer *waiting = guest_connect(rig, V5, id);
    rig->asleep = (uint64_t)1 << last;
    assert_int_equal(guest_subscribe(waiting, filter, 1), GUEST_OPEN);
    engine_text_on(rig, "d", last, 0, id); /* has left for a shard that sleeps */
    struct engine_peer *moving = guest_open_on(rig, V5, 0);
    const struct mqtt5_packet connect = {.type = MQTT5_CONNECT,
                                         .as.connect = guest_connect_packet(V5, id)};
    guest_send_packet(moving, &connect);
    assert_true(moving->moving);
    shut_down();
    rig->asleep = 0;
    engine_pump(rig);
    assert_int_equal(guest_end(fresh), 0);
    assert_int_equal(guest_end(half), 0);
    assert_int_equal(guest_end(five), MQTT5_REASON_SERVER_SHUTTING_DOWN);
    assert_int_equal(guest_end(four), 0);
    assert_int_equal(guest_end(waiting), MQTT5_REASON_SERVER_SHUTTING_DOWN);
    assert_int_equal(guest_end(moving), 0);
    assert_true(guest_open(rig, V5)->closed);
    assert_int_equal(engine_stats(rig).connections, 1);
    engine_advance(rig, 5000);
    assert_true(stuck->closed);
    assert_int_equal(engine_stats(rig).connections, 0);
    assert_int_equal(engine_stats(rig).clients_connected, 0);
}

/* The end of the process comes as it likes: what is left is freed (the bench looks). */
static void engine_freed_with_everything_under_way(void **state)
{
    (void)state;
    const uint32_t last = rig->shards - 1;
    char id[ENGINE_ID_SIZE];
    engine_text_on(rig, "s", last, 0, id);
    struct engine_peer *subscriber = guest_resume(rig, V5, id);
    guest_subscribe(subscriber, "a", 2);
    guest_subscribe(subscriber, "$share/g/a", 2);
    engine_text_on(rig, "p", 0, 0, id);
    struct engine_peer *publisher = guest_connect(rig, V5, id);
    guest_retain(publisher, "a", "kept", 1);
    rig->asleep = (uint64_t)1 << last;
    for (unsigned i = 0; i < 300; i++)
        guest_publish(publisher, "a", "in the ring and behind it", 2);
    subscriber->stuck = true;
    guest_send_hex(subscriber, "34 [0001'a' 0009 00 'x'] 30 7f");
    assert_int_equal(engine_stats(rig).connections, 2);
}

/* ---- figures ---- */

static void figures_are_sums_and_moves_count_once(void **state)
{
    (void)state;
    size_t sent = 0, received = 0;
    struct engine_peer *peers[12];
    for (unsigned i = 0; i < 12; i++) {
        uint8_t connect[] = {0x10, 15, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, 2, 'c', 'a'};
        static const uint8_t subscribe[] = {0x82, 7, 0, 1, 0, 0, 1, 'a', 0};
        connect[16] = (uint8_t)('a' + i);
        peers[i] = guest_open_on(rig, V5, 0);
        guest_send(peers[i], m5_bytes(connect, sizeof connect));
        guest_send(peers[i], m5_bytes(subscribe, sizeof subscribe));
        sent += sizeof connect + sizeof subscribe;
    }
    static const uint8_t publish[] = {0x30, 7, 0, 1, 'a', 0, '1', '2', '3'};
    guest_send(peers[0], m5_bytes(publish, sizeof publish));
    sent += sizeof publish;
    for (unsigned i = 0; i < 12; i++)
        received += peers[i]->output.size;
    const struct m5_stats stats = engine_stats(rig);
    assert_int_equal(stats.bytes_received, sent);
    assert_int_equal(stats.bytes_sent, received);
    assert_int_equal(stats.packets_received, 12 * 2 + 1);
    assert_int_equal(stats.packets_sent, 12 * 3);
    assert_int_equal(stats.publish_received, 1);
    assert_int_equal(stats.publish_bytes_received, 3);
    assert_int_equal(stats.publish_sent, 12);
    assert_int_equal(stats.publish_bytes_sent, 36);
    assert_int_equal(stats.connections, 12);
    assert_int_equal(stats.clients_connected, 12);
    assert_int_equal(stats.sessions, 12);
    assert_int_equal(stats.subscriptions, 12);
    uint32_t open = 0;
    for (uint32_t i = 0; i < rig->shards; i++) {
        const uint32_t here = m5_shard_connections(m5_engine_shard(rig->engine, i));
        assert_in_range(here, 1, 11); /* they are spread */
        open += here;
    }
    assert_int_equal(open, 12);
}

#define TEST(name) ENGINE_TEST(name, &two, &four, " on 4 shards")

int main(void)
{
    static const uint32_t two = 2, four = 4;
    const struct CMUnitTest tests[] = {
        TEST(sessions_are_resumed_from_any_shard),
        TEST(takeover_comes_from_any_shard),
        TEST(packets_behind_connect_move_with_it),
        TEST(order_is_kept_across_shards),
        TEST(ring_overflow_loses_nothing_and_keeps_order),
        TEST(garbage_is_freed_while_others_sleep),
        TEST(garbage_waits_for_a_sleeper),
        TEST(shutdown_with_connections_in_every_state),
        TEST(engine_freed_with_everything_under_way),
        TEST(figures_are_sums_and_moves_count_once),
    };
    return cmocka_run_group_tests_name("engine shards", tests, NULL, NULL);
}
