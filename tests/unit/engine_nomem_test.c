/* The engine when memory runs out: one conversation with every feature in it, again and again, and
 * each time another allocation fails. Whatever fails, invariants hold, what is written are packets,
 * nothing leaks, an acknowledged message is delivered or counted as dropped, and as soon as there
 * is memory again the broker serves newcomers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "broker/engine.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <mqtt5/packet.h>

#include <string.h>

#define SHARDS     2u
#define OUTPUT_MAX 8192u

struct peer {
    struct m5_conn *conn; /* NULL: closed, or never opened */
    uint32_t shard;
    uint8_t version;
    uint8_t output[OUTPUT_MAX];
    size_t output_size;
    uint8_t carried[512]; /* to another shard */
    size_t carried_size;
    bool carrying;
    bool connected;
    uint32_t received[3]; /* PUBLISH packets by QoS */
    uint32_t accepted;    /* PUBACK and PUBREC without an error */
    uint32_t subscribed;  /* reason codes of SUBACK without an error */
};

struct world {
    struct test_allocator memory;
    struct m5_engine *engine;
    uint64_t now_ms;
};

static struct m5_shard *shard_of(const struct world *world, uint32_t index)
{
    return m5_engine_shard(world->engine, index);
}

/* ---- packets that come ---- */

static void send_packet(struct world *world, struct peer *peer, const struct mqtt5_packet *packet);

static void acknowledge(struct world *world, struct peer *peer, uint8_t type, uint16_t packet_id)
{
    struct mqtt5_packet packet = {.type = type};
    packet.as.ack = (struct mqtt5_ack){.packet_id = packet_id};
    send_packet(world, peer, &packet);
}

static void count_codes(struct peer *peer, struct mqtt5_bytes codes)
{
    for (size_t i = 0; i < codes.len; i++)
        peer->subscribed += codes.data[i] <= 2;
}

static void on_packet(struct world *world, struct peer *peer, const struct mqtt5_packet *packet)
{
    const struct mqtt5_ack *ack = &packet->as.ack;
    switch (packet->type) {
    case MQTT5_CONNACK: peer->connected = packet->as.connack.reason_code == 0; break;
    case MQTT5_PUBLISH:
        peer->received[packet->as.publish.qos]++;
        if (packet->as.publish.qos > 0)
            acknowledge(world, peer, packet->as.publish.qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC,
                        packet->as.publish.packet_id);
        break;
    case MQTT5_PUBACK: peer->accepted += ack->reason_code < 0x80; break;
    case MQTT5_PUBREC:
        peer->accepted += ack->reason_code < 0x80;
        if (ack->reason_code < 0x80)
            acknowledge(world, peer, MQTT5_PUBREL, ack->packet_id);
        break;
    case MQTT5_PUBREL: acknowledge(world, peer, MQTT5_PUBCOMP, ack->packet_id); break;
    case MQTT5_SUBACK: count_codes(peer, packet->as.suback.reason_codes); break;
    default: break;
    }
}

/* Whatever has come whole is read; each must be a packet that the decoder accepts. */
static void read_output(struct world *world, struct peer *peer)
{
    for (;;) {
        struct mqtt5_frame frame;
        struct mqtt5_packet packet;
        struct mqtt5_decode_limits limits;
        mqtt5_decode_limits_init(&limits);
        enum mqtt5_error error =
            mqtt5_frame_read(m5_bytes(peer->output, peer->output_size), UINT32_MAX, &frame);
        if (error == MQTT5_NEED_MORE)
            return;
        assert_int_equal(error, MQTT5_OK);
        assert_int_equal(mqtt5_packet_decode(&frame, peer->version, &limits, &packet), MQTT5_OK);
        on_packet(world, peer, &packet); /* its answers may add to the output */
        peer->output_size -= frame.size;
        memmove(peer->output, peer->output + frame.size, peer->output_size);
    }
}

/* ---- turns ---- */

static void flush(struct peer *peer)
{
    struct mqtt5_bytes views[8];
    size_t count = m5_conn_output(peer->conn, views, 8), size = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(peer->output_size + views[i].len <= OUTPUT_MAX);
        memcpy(peer->output + peer->output_size, views[i].data, views[i].len);
        peer->output_size += views[i].len;
        size += views[i].len;
    }
    assert_true(size > 0);
    m5_conn_sent(peer->conn, size);
}

static void carry(struct peer *peer)
{
    struct mqtt5_bytes unread = m5_conn_unread(peer->conn);
    assert_true(unread.len <= sizeof peer->carried);
    memcpy(peer->carried, unread.data, unread.len);
    peer->carried_size = unread.len;
    peer->carrying = true;
    peer->shard = m5_conn_target(peer->conn);
}

static void serve(struct peer *peer)
{
    for (;;) {
        enum m5_want want = m5_conn_want(peer->conn);
        if (want == M5_WANT_NOTHING)
            return;
        if (want == M5_WANT_FLUSH) {
            flush(peer);
            continue;
        }
        if (want == M5_WANT_MOVE)
            carry(peer);
        m5_conn_free(peer->conn);
        peer->conn = NULL;
        return;
    }
}

static void begin(struct world *world, uint32_t index)
{
    m5_shard_begin(shard_of(world, index), world->now_ms);
}

static void end(struct world *world, uint32_t index)
{
    struct m5_conn *conn;
    m5_shard_end(shard_of(world, index));
    while ((conn = m5_shard_next_dirty(shard_of(world, index))) != NULL)
        serve(m5_conn_host(conn));
    m5_shard_check(shard_of(world, index));
}

static void all_turns(struct world *world)
{
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < SHARDS; i++) {
            begin(world, i);
            end(world, i);
        }
    }
}

/* Turns until the answers are answered, for all peers. */
static void settle(struct world *world, struct peer *peers, uint32_t count)
{
    for (uint32_t round = 0; round < 6; round++) {
        all_turns(world);
        for (uint32_t i = 0; i < count; i++)
            read_output(world, &peers[i]);
    }
}

static void feed(struct world *world, struct peer *peer, struct mqtt5_bytes bytes)
{
    if (peer->conn == NULL || !m5_conn_reading(peer->conn))
        return;
    begin(world, peer->shard);
    m5_conn_feed(peer->conn, bytes);
    end(world, peer->shard);
    if (!peer->carrying)
        return;
    peer->carrying = false;
    begin(world, peer->shard);
    peer->conn = m5_conn_open(shard_of(world, peer->shard), peer,
                              &(struct m5_conn_origin){.peer = m5_bytes("move", 4)});
    if (peer->conn != NULL)
        m5_conn_refeed(peer->conn, m5_bytes(peer->carried, peer->carried_size));
    end(world, peer->shard);
    assert_false(peer->carrying);
}

static void send_packet(struct world *world, struct peer *peer, const struct mqtt5_packet *packet)
{
    uint8_t bytes[2048];
    size_t size = mqtt5_packet_size(packet, peer->version);
    assert_in_range(size, 1, sizeof bytes);
    mqtt5_packet_write(packet, peer->version, bytes, size);
    feed(world, peer, m5_bytes(bytes, size));
}

/* ---- what peers say ---- */

static void open_peer(struct world *world, struct peer *peer, uint8_t version)
{
    memset(peer, 0, sizeof *peer);
    peer->version = version;
    begin(world, 0);
    peer->conn = m5_conn_open(shard_of(world, 0), peer,
                              &(struct m5_conn_origin){.peer = m5_bytes("test", 4)});
    end(world, 0);
}

static void connect(struct world *world, struct peer *peer, uint8_t version, const char *id,
                    bool clean)
{
    open_peer(world, peer, version);
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT};
    struct mqtt5_connect *connect = &packet.as.connect;
    *connect = (struct mqtt5_connect){.version = version,
                                      .clean_start = clean,
                                      .keep_alive_s = 100,
                                      .client_id = m5_bytes_of(id)};
    if (version == MQTT5_VERSION_5) {
        MQTT5_SET(&connect->properties, SESSION_EXPIRY_INTERVAL);
        connect->properties.session_expiry_interval_s = 1000;
        MQTT5_SET(&connect->properties, TOPIC_ALIAS_MAXIMUM);
        connect->properties.topic_alias_maximum = 4;
        connect->has_will = true;
        connect->will = (struct mqtt5_will){.qos = 1,
                                            .retain = true,
                                            .topic = m5_bytes_of("a/will"),
                                            .payload = m5_bytes_of("gone")};
    }
    send_packet(world, peer, &packet);
}

static void subscribe(struct world *world, struct peer *peer, const char *filter)
{
    struct mqtt5_subscription_request item = {.filter = m5_bytes_of(filter), .qos = 2};
    struct mqtt5_packet packet = {.type = MQTT5_SUBSCRIBE};
    packet.as.subscribe = (struct mqtt5_subscribe){.packet_id = 9, .count = 1, .items = &item};
    if (peer->version == MQTT5_VERSION_5) {
        MQTT5_SET(&packet.as.subscribe.properties, SUBSCRIPTION_IDENTIFIER);
        packet.as.subscribe.properties.subscription_identifier = 1 + (uint32_t)strlen(filter);
    }
    send_packet(world, peer, &packet);
}

static void unsubscribe(struct world *world, struct peer *peer, const char *filter)
{
    struct mqtt5_bytes item = m5_bytes_of(filter);
    struct mqtt5_packet packet = {.type = MQTT5_UNSUBSCRIBE};
    packet.as.unsubscribe = (struct mqtt5_unsubscribe){.packet_id = 8, .count = 1, .items = &item};
    send_packet(world, peer, &packet);
}

static void publish(struct world *world, struct peer *peer, const char *topic, uint8_t qos,
                    bool retain)
{
    static const char payload[700] = "a payload that is not small enough for every buffer";
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    packet.as.publish = (struct mqtt5_publish){.qos = qos,
                                               .retain = retain,
                                               .packet_id = qos > 0 ? 77 : 0,
                                               .topic = m5_bytes_of(topic),
                                               .payload = m5_bytes(payload, sizeof payload)};
    send_packet(world, peer, &packet);
}

static void lose(struct world *world, struct peer *peer)
{
    if (peer->conn == NULL)
        return;
    begin(world, peer->shard);
    m5_conn_lost(peer->conn);
    peer->conn = NULL;
    end(world, peer->shard);
}

/* ---- the conversation ---- */

struct outcome {
    uint32_t connected, subscribed, accepted, received[3];
};

enum { SUBSCRIBER, MEMBER, PUBLISHER, NEWCOMER, PEERS };

/* What is new in a peer since it was last asked. */
static void add_up(struct outcome *outcome, const struct peer *peer)
{
    outcome->connected += peer->connected;
    outcome->subscribed += peer->subscribed;
    outcome->accepted += peer->accepted;
    for (uint32_t i = 0; i < 3; i++)
        outcome->received[i] += peer->received[i];
}

static void talk(struct world *world, struct peer *peers)
{
    connect(world, &peers[SUBSCRIBER], MQTT5_VERSION_5, "subscriber", false);
    connect(world, &peers[MEMBER], MQTT5_VERSION_3_1_1, "member", false);
    connect(world, &peers[PUBLISHER], MQTT5_VERSION_5, "publisher", true);
    settle(world, peers, PEERS);
    subscribe(world, &peers[SUBSCRIBER], "a/+");
    subscribe(world, &peers[SUBSCRIBER], "a/b");
    subscribe(world, &peers[MEMBER], "$share/g/a/b");
    subscribe(world, &peers[MEMBER], "#");
    settle(world, peers, PEERS);
    for (uint8_t qos = 0; qos < 3; qos++) {
        publish(world, &peers[PUBLISHER], "a/b", qos, qos == 1);
        settle(world, peers, PEERS);
    }
    lose(world, &peers[SUBSCRIBER]);
    publish(world, &peers[PUBLISHER], "a/offline", 1, true);
    settle(world, peers, PEERS);
    unsubscribe(world, &peers[MEMBER], "$share/g/a/b");
    settle(world, peers, PEERS);
}

/* The subscriber comes back, the publisher is taken over (its will is due), and one subscriber to
 * the retained messages arrives. */
static void talk_on(struct world *world, struct peer *peers, struct outcome *outcome)
{
    struct peer taker;
    add_up(outcome, &peers[SUBSCRIBER]);
    connect(world, &peers[SUBSCRIBER], MQTT5_VERSION_5, "subscriber", false);
    connect(world, &taker, MQTT5_VERSION_5, "publisher", true);
    settle(world, peers, PEERS);
    settle(world, &taker, 1);
    connect(world, &peers[NEWCOMER], MQTT5_VERSION_5, "newcomer", true);
    settle(world, peers, PEERS);
    subscribe(world, &peers[NEWCOMER], "a/#");
    settle(world, peers, PEERS);
    world->now_ms += 5000;
    all_turns(world);
    lose(world, &taker);
    for (uint32_t i = 0; i < PEERS; i++) {
        add_up(outcome, &peers[i]);
        lose(world, &peers[i]);
    }
}

/* With memory again, strangers must be served as if nothing had been. */
static void assert_broker_serves(struct world *world)
{
    static struct peer two[2];
    test_allocator_fail_nth(&world->memory, 0);
    connect(world, &two[0], MQTT5_VERSION_5, "afterwards-1", true);
    connect(world, &two[1], MQTT5_VERSION_5, "afterwards-2", true);
    settle(world, two, 2);
    assert_true(two[0].connected && two[1].connected);
    subscribe(world, &two[0], "after/all");
    settle(world, two, 2);
    assert_int_equal(two[0].subscribed, 1);
    for (uint8_t qos = 1; qos < 3; qos++) {
        publish(world, &two[1], "after/all", qos, false);
        settle(world, two, 2);
        assert_int_equal(two[0].received[qos], 1);
    }
    assert_int_equal(two[1].accepted, 2);
    lose(world, &two[0]);
    lose(world, &two[1]);
}

static struct m5_engine *engine_new(struct world *world)
{
    struct mqtt5_broker_config config;
    mqtt5_broker_config_init(&config);
    config.allow_anonymous = true;
    config.rate_per_client.messages_in = config.rate_per_client.messages_out = 1000000;
    config.subscriptions_per_user_max = 1000;
    struct m5_engine_env env = {.allocator = &world->memory.table,
                                .shard_count = SHARDS,
                                .seed = {1, 2, 3, 4},
                                .now_ms = 1000,
                                .events = true};
    return m5_engine_new(&config, &env);
}

/* One conversation in which the @p nth allocation fails (0: none), alone or with all that follow.
 * Returns whether it came to that. */
static bool converse(uint64_t nth, bool fail_on, struct outcome *outcome)
{
    static struct peer peers[PEERS];
    static struct world world;
    memset(peers, 0, sizeof peers);
    memset(&world, 0, sizeof world);
    memset(outcome, 0, sizeof *outcome);
    world.now_ms = 1000;
    test_allocator_init(&world.memory);
    world.engine = engine_new(&world);
    assert_non_null(world.engine);
    test_allocator_fail_nth(&world.memory, nth);
    world.memory.fail_on = fail_on;
    talk(&world, peers);
    if (fail_on)
        test_allocator_fail_nth(&world.memory, 0);
    talk_on(&world, peers, outcome);
    bool failed = nth == 0 || world.memory.calls >= nth;
    bool met = test_allocator_failed(&world.memory);
    assert_broker_serves(&world);
    struct m5_stats stats;
    m5_engine_stats(world.engine, &stats);
    if (outcome->accepted > outcome->received[1] + outcome->received[2])
        assert_true(stats.publish_dropped > 0);
    m5_engine_free(world.engine);
    test_allocator_check(&world.memory);
    return fail_on ? failed : met;
}

/* ---- tests ---- */

static void with_memory_everything_arrives(void **state)
{
    (void)state;
    struct outcome outcome;
    converse(0, false, &outcome);
    /* The subscriber twice, member, publisher, newcomer. */
    assert_int_equal(outcome.connected, 5);
    assert_int_equal(outcome.subscribed, 5);
    assert_int_equal(outcome.accepted, 3);
    /* QoS 0: one copy to the subscriber, two to the member (shared and not). */
    assert_int_equal(outcome.received[0], 3);
    assert_true(outcome.received[1] >= 5);
    assert_int_equal(outcome.received[2], 3);
}

static void engine_new_without_memory_is_null(void **state)
{
    (void)state;
    static struct world world;
    for (uint64_t nth = 1;; nth++) {
        memset(&world, 0, sizeof world);
        test_allocator_init(&world.memory);
        test_allocator_fail_nth(&world.memory, nth);
        world.engine = engine_new(&world);
        bool failed = test_allocator_failed(&world.memory);
        assert_int_equal(world.engine == NULL, failed);
        m5_engine_free(world.engine);
        test_allocator_check(&world.memory);
        if (!failed)
            return;
        assert_in_range(nth, 1, 1000);
    }
}

static void each_allocation_may_fail_once(void **state)
{
    (void)state;
    struct outcome outcome;
    uint64_t nth = 1;
    while (converse(nth, false, &outcome))
        assert_in_range(++nth, 1, 5000);
    assert_in_range(nth, 20, 5000);
    print_message("%u allocations failed, one at a time\n", (unsigned)(nth - 1));
}

static void all_allocations_may_fail_from_any_on(void **state)
{
    (void)state;
    struct outcome whole, outcome;
    converse(0, false, &whole);
    for (uint64_t nth = 1; nth < 400; nth++) {
        converse(nth, true, &outcome);
        assert_true(outcome.connected <= whole.connected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_memory_everything_arrives),
        cmocka_unit_test(engine_new_without_memory_is_null),
        cmocka_unit_test(each_allocation_may_fail_once),
        cmocka_unit_test(all_allocations_may_fail_from_any_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
