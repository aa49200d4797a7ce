/* Rates and quotas of clients, users and addresses: at the limit, over it, after it; with the clock
 * in the test's hand.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/engine_peer.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "broker/rate.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define V5   MQTT5_VERSION_5
#define V311 MQTT5_VERSION_3_1_1

static struct engine_rig *rig;

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

static struct engine_peer *subscriber(const char *id, uint8_t qos)
{
    struct engine_peer *peer = guest_connect(rig, V5, id);
    assert_int_equal(guest_subscribe(peer, "t", qos), qos);
    return peer;
}

/* Sends @p count messages at once; their answers stay to be read. */
static void send_many(struct engine_peer *peer, unsigned count, uint8_t qos)
{
    for (unsigned i = 0; i < count; i++) {
        struct mqtt5_packet packet = {
            .type = MQTT5_PUBLISH,
            .as.publish = {.topic = m5_bytes_of("t"), .payload = m5_bytes_of("x"), .qos = qos}};
        if (qos > 0)
            packet.as.publish.packet_id = ++peer->packet_id;
        guest_send_packet(peer, &packet);
    }
}

static unsigned try_connect(struct engine_peer **out, uint8_t version, const char *id,
                            const char *user)
{
    struct engine_peer *peer = guest_open(rig, version);
    struct mqtt5_connect connect = guest_connect_packet(version, id);
    connect.has_username = user != NULL;
    if (user != NULL)
        connect.username = m5_bytes_of(user);
    if (out != NULL)
        *out = peer;
    return guest_say_connect(peer, &connect);
}

/* ---- the bucket ---- */

static void a_bucket_keeps_the_mean(void **state)
{
    (void)state;
    const uint64_t second = M5_RATE_SECOND_NS;
    static const uint32_t rates[] = {1, 3, 7, 1000, 999983, 4294967295u};
    for (size_t i = 0; i < M5_COUNT_OF(rates); i++) {
        uint64_t paid = 0, cost = m5_rate_cost(1, rates[i]), taken = 0, now = 10 * second;
        const uint64_t begin = now, step = 1 + 20 * second / 100000;
        for (; now < begin + 20 * second; now += step) {
            if (!m5_rate_open(paid, now, cost))
                continue;
            /* As many at once as there may be. */
            uint64_t many = (now - (paid > now - second ? paid : now - second)) / cost;
            paid = m5_rate_taken(paid, now, second, many * cost);
            taken += many;
        }
        const uint64_t rate = rates[i] < M5_RATE_SECOND_NS ? rates[i] : M5_RATE_SECOND_NS;
        assert_in_range(taken, rate * 21 - 1 - rate / 1000, rate * 21 + 1 + rate / 1000);
    }
}

static void a_bucket_owes_and_pays(void **state)
{
    (void)state;
    const uint64_t second = M5_RATE_SECOND_NS;
    uint64_t now = 10 * second, paid = 0;
    assert_true(m5_rate_full(paid, now, second));
    paid = m5_rate_taken(paid, now, second, m5_rate_cost(5000, 1000)); /* five times the burst */
    assert_false(m5_rate_open(paid, now, 1));
    assert_int_equal(m5_rate_open_ms(paid, 1), 14001);
    assert_false(m5_rate_open(paid, 14 * second, 1));
    assert_true(m5_rate_open(paid, 14001 * 1000000ull, 1));
    assert_false(m5_rate_full(paid, 15 * second - 1, second));
    assert_true(m5_rate_full(paid, 15 * second, second));
    /* Sleeping gathers no more than the burst. */
    paid = m5_rate_taken(paid, 100 * second, second, m5_rate_cost(1000, 1000));
    assert_int_equal(paid, 100 * second);
}

/* ---- messages in ---- */

static void what_comes_too_soon_waits(void **state)
{
    (void)state;
    rig->config.rate_per_client.messages_in = 10;
    engine_rig_start(rig);
    struct engine_peer *listener = subscriber("listener", 1);
    struct engine_peer *talker = guest_connect(rig, V5, "talker");
    struct engine_peer *other = guest_connect(rig, V311, "other");
    engine_advance(rig, 2000);
    send_many(talker, 25, 1);
    assert_int_equal(guest_drain(listener), 10);
    assert_false(m5_conn_reading(talker->conn));
    assert_int_equal(engine_stats(rig).limit_message_rate, 1);
    send_many(other, 10, 1);
    assert_int_equal(guest_drain(listener), 10); /* nobody else waits */
    engine_advance(rig, 520);
    assert_int_equal(guest_drain(listener), 5);
    engine_advance(rig, 2000);
    assert_int_equal(guest_drain(listener), 10); /* nothing is lost */
    assert_int_equal(guest_drain(talker), 0);
    assert_int_equal(engine_stats(rig).publish_dropped, 0);
    engine_advance(rig, 5000); /* a burst again, not five */
    send_many(talker, 25, 1);
    assert_int_equal(guest_drain(listener), 10);
    guest_lose(talker); /* with an alarm that runs */
    engine_advance(rig, 5000);
}

static void bytes_wait_too(void **state)
{
    (void)state;
    rig->config.rate_per_client.bytes_in = 1000;
    engine_rig_start(rig);
    struct engine_peer *listener = subscriber("listener", 1);
    struct engine_peer *talker = guest_connect(rig, V5, "talker");
    char payload[2501];
    memset(payload, 'x', sizeof payload - 1);
    payload[sizeof payload - 1] = 0;
    /* Larger than the burst: it passes, and is paid for. */
    assert_int_equal(guest_publish(talker, "t", payload, 1), 0);
    send_many(talker, 1, 1);
    assert_int_equal(guest_drain(listener), 1);
    engine_advance(rig, 1400);
    assert_int_equal(guest_drain(listener), 0);
    engine_advance(rig, 200);
    assert_int_equal(guest_drain(listener), 1);
}

static void subscriptions_count_as_messages(void **state)
{
    (void)state;
    rig->config.rate_per_client.messages_in = 2;
    engine_rig_start(rig);
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    assert_int_equal(guest_subscribe(peer, "a", 0), 0);
    assert_int_equal(guest_subscribe(peer, "b", 0), 0);
    assert_int_equal(guest_subscribe(peer, "c", 0), GUEST_OPEN); /* not answered yet */
    engine_advance(rig, 600);
    struct mqtt5_packet packet;
    assert_true(guest_take_type(peer, MQTT5_SUBACK, &packet));
}

static void who_is_not_read_from_is_not_dead(void **state)
{
    (void)state;
    rig->config.rate_per_client.bytes_in = 100;
    engine_rig_start(rig);
    struct engine_peer *peer = guest_open(rig, V5);
    struct mqtt5_connect connect = guest_connect_packet(V5, "peer");
    connect.keep_alive_s = 2;
    assert_int_equal(guest_say_connect(peer, &connect), 0);
    char payload[2001];
    memset(payload, 'x', sizeof payload - 1);
    payload[sizeof payload - 1] = 0;
    assert_int_equal(guest_publish(peer, "t", payload, 1), 0x10); /* 20 seconds' worth */
    engine_advance(rig, 15000);
    assert_int_equal(guest_end(peer), GUEST_OPEN);
    engine_advance(rig, 15000); /* read from again, and silent */
    assert_int_equal(guest_end(peer), MQTT5_REASON_KEEP_ALIVE_TIMEOUT);
}

static void refusing_says_so(void **state)
{
    (void)state;
    rig->config.rate_per_client.messages_in = 3;
    rig->config.rate_action = MQTT5_RATE_REFUSE;
    engine_rig_start(rig);
    struct engine_peer *listener = guest_connect(rig, V5, "listener");
    assert_int_equal(guest_subscribe(listener, "t", 2), 2);
    struct engine_peer *talker = guest_connect(rig, V5, "talker");
    for (uint8_t i = 0; i < 3; i++)
        guest_publish(talker, "t", "x", i);
    send_many(talker, 1, 1);
    struct mqtt5_packet answer;
    assert_true(guest_take(talker, &answer));
    assert_int_equal(answer.type, MQTT5_PUBACK);
    assert_int_equal(answer.as.ack.reason_code, MQTT5_REASON_QUOTA_EXCEEDED);
    assert_true(m5_bytes_equal(answer.as.ack.properties.reason_string,
                               m5_bytes_of("message rate too high")));
    assert_int_equal(guest_publish(talker, "t", "x", 2), MQTT5_REASON_QUOTA_EXCEEDED);
    guest_publish(talker, "t", "x", 0);
    assert_int_equal(guest_drain(listener), 3);
    assert_int_equal(engine_stats(rig).limit_message_rate, 3);
    assert_int_equal(engine_stats(rig).publish_dropped, 3);
    engine_advance(rig, 334);
    assert_int_equal(guest_publish(talker, "t", "x", 2), 0);
    assert_int_equal(guest_drain(listener), 1);
    /* Who cannot be refused waits. */
    struct engine_peer *old = guest_connect(rig, V311, "old");
    send_many(old, 5, 1);
    assert_int_equal(guest_drain(listener), 3);
    engine_advance(rig, 1000);
    assert_int_equal(guest_drain(listener), 2);
}

static void disconnecting_says_so(void **state)
{
    (void)state;
    rig->config.rate_per_client.messages_in = 2;
    rig->config.rate_action = MQTT5_RATE_DISCONNECT;
    engine_rig_start(rig);
    struct engine_peer *listener = subscriber("listener", 1);
    struct engine_peer *talker = guest_connect(rig, V5, "talker");
    send_many(talker, 3, 0);
    assert_int_equal(guest_end(talker), MQTT5_REASON_MESSAGE_RATE_TOO_HIGH);
    assert_int_equal(guest_drain(listener), 2);
    /* Coming back does not fill the bucket. */
    talker = guest_connect(rig, V5, "talker");
    send_many(talker, 1, 0);
    assert_int_equal(guest_end(talker), MQTT5_REASON_MESSAGE_RATE_TOO_HIGH);
    engine_advance(rig, 500);
    talker = guest_connect(rig, V5, "talker");
    send_many(talker, 1, 0);
    assert_int_equal(guest_end(talker), GUEST_OPEN);
    assert_int_equal(guest_drain(listener), 1);
}

/* ---- shared by many ---- */

static void a_user_has_one_bucket_on_all_shards(void **state)
{
    (void)state;
    engine_rig_fini(rig);
    engine_rig_init(rig, 3);
    rig->config.rate_per_user.messages_in = 6;
    engine_rig_start(rig);
    struct engine_peer *listener = subscriber("listener", 1), *peers[3], *bob;
    unsigned taken = 0;
    for (uint32_t i = 0; i < 3; i++) {
        char id[ENGINE_ID_SIZE];
        engine_text_on(rig, "c", i, 0, id);
        assert_int_equal(try_connect(&peers[i], V5, id, "alice"), 0);
    }
    assert_int_equal(try_connect(&bob, V5, "bob", "bob"), 0);
    for (uint32_t i = 0; i < 3; i++)
        send_many(peers[i], 4, 1);
    taken = guest_drain(listener);
    assert_in_range(taken, 6, 7); /* the last one to look may owe a message */
    send_many(bob, 6, 1);
    assert_int_equal(guest_drain(listener), 6);
    engine_advance(rig, 2000);
    assert_int_equal(taken + guest_drain(listener), 12);
}

static void an_address_has_one_bucket(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"192.0.2.1:1", "192.0.2.1:65535"},
        {"192.0.2.2:1", "[::ffff:192.0.2.2]:1"},
        {"[2001:db8::1]:1", "[2001:db8::ffff:0:0:2]:2"},
        {"[2001:db8:1:2:3:4:5:6]:1", "[2001:DB8:1:2::]:1"},
        {"[::1]:1", "[::2]:1"},
        {"[1::2:3:4:5:6:7]:1", "[1:0:2:3::]:1"},
    };
    static const char *const other[][2] = {
        {"192.0.2.10:1", "192.0.2.11:1"},
        {"[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1"},
        {"test", "test"},
        {"/run/socket", "/run/socket"},
    };
    rig->config.connections_per_address_max = 1;
    engine_rig_start(rig);
    for (size_t i = 0; i < M5_COUNT_OF(same); i++) {
        struct engine_peer *peer;
        guests_come_from(same[i][0]);
        assert_int_equal(try_connect(&peer, V5, "a", NULL), 0);
        guests_come_from(same[i][1]);
        assert_int_equal(try_connect(NULL, V5, "b", NULL), MQTT5_REASON_QUOTA_EXCEEDED);
        assert_int_equal(try_connect(NULL, V311, "b", NULL), 3);
        guest_lose(peer);
        assert_int_equal(try_connect(&peer, V5, "b", NULL), 0);
        guest_lose(peer);
    }
    assert_int_equal(engine_stats(rig).limit_address_clients, 2 * M5_COUNT_OF(same));
    for (size_t i = 0; i < M5_COUNT_OF(other); i++) {
        struct engine_peer *one, *two;
        guests_come_from(other[i][0]);
        assert_int_equal(try_connect(&one, V5, "a", NULL), 0);
        guests_come_from(other[i][1]);
        assert_int_equal(try_connect(&two, V5, "b", NULL), 0);
        guest_lose(one);
        guest_lose(two);
    }
    guests_come_from("test");
}

static void connections_of_a_user(void **state)
{
    (void)state;
    rig->config.connections_per_user_max = 2;
    engine_rig_start(rig);
    struct engine_peer *one;
    assert_int_equal(try_connect(&one, V5, "one", "alice"), 0);
    assert_int_equal(try_connect(NULL, V5, "two", "alice"), 0);
    assert_int_equal(try_connect(NULL, V5, "three", "alice"), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(try_connect(NULL, V5, "three", "bob"), 0);
    /* Who takes over his own connection needs no room for another. */
    struct engine_peer *again;
    assert_int_equal(try_connect(&again, V5, "one", "alice"), 0);
    assert_int_equal(guest_end(one), MQTT5_REASON_SESSION_TAKEN_OVER);
    assert_int_equal(try_connect(NULL, V5, "four", "alice"), MQTT5_REASON_QUOTA_EXCEEDED);
    guest_lose(again);
    assert_int_equal(try_connect(NULL, V5, "four", "alice"), 0);
    for (int i = 0; i < 5; i++) { /* nobody knows who these are */
        char id[16];
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(try_connect(NULL, V5, id, NULL), 0);
    }
    assert_int_equal(engine_stats(rig).limit_user_clients, 2);
}

static void subscriptions_of_a_user(void **state)
{
    (void)state;
    rig->config.subscriptions_per_user_max = 2;
    engine_rig_start(rig);
    struct engine_peer *one, *two;
    assert_int_equal(try_connect(&one, V5, "one", "alice"), 0);
    assert_int_equal(try_connect(&two, V5, "two", "alice"), 0);
    assert_int_equal(guest_subscribe(one, "a", 1), 1);
    assert_int_equal(guest_subscribe(two, "$share/g/a", 1), 1);
    assert_int_equal(guest_subscribe(two, "b", 1), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(guest_subscribe(one, "a", 2), 2); /* the same one */
    assert_int_equal(engine_stats(rig).limit_subscriptions, 1);
    assert_int_equal(guest_unsubscribe(one, "a"), 0);
    assert_int_equal(guest_subscribe(two, "b", 1), 1);
    guest_lose(two); /* its session ends, and they with it */
    assert_int_equal(guest_subscribe(one, "a", 1), 1);
    assert_int_equal(guest_subscribe(one, "b", 1), 1);
    assert_int_equal(guest_subscribe(one, "c", 1), MQTT5_REASON_QUOTA_EXCEEDED);
}

/* ---- messages out ---- */

static void what_goes_out_too_soon(void **state)
{
    (void)state;
    rig->config.rate_per_client.messages_out = 5;
    engine_rig_start(rig);
    struct engine_peer *zero = subscriber("zero", 0), *one = subscriber("one", 1);
    struct engine_peer *talker = guest_connect(rig, V5, "talker");
    send_many(talker, 12, 1);
    assert_int_equal(guest_drain(zero), 5); /* the rest is gone */
    assert_int_equal(guest_drain(one), 5);  /* the rest waits */
    assert_int_equal(engine_stats(rig).messages_queued, 7);
    assert_int_equal(engine_stats(rig).publish_dropped, 7);
    assert_int_equal(engine_stats(rig).limit_outbound_rate, 8);
    engine_advance(rig, 1000);
    assert_int_equal(guest_drain(zero), 0);
    assert_int_equal(guest_drain(one), 5);
    engine_advance(rig, 1000);
    assert_int_equal(guest_drain(one), 2);
    guest_drain(talker);
    engine_advance(rig, 5000);
    send_many(talker, 12, 1);
    guest_lose(one); /* while something waits */
    engine_advance(rig, 5000);
}

static void retained_messages_wait(void **state)
{
    (void)state;
    rig->config.rate_per_client.bytes_out = 100;
    engine_rig_start(rig);
    struct engine_peer *talker = guest_connect(rig, V5, "talker");
    for (int i = 0; i < 20; i++) {
        char topic[16];
        snprintf(topic, sizeof topic, "r/%02d", i);
        assert_int_equal(guest_retain(talker, topic, "twenty bytes of text", 1), 0x10);
    }
    struct engine_peer *zero = guest_connect(rig, V5, "zero");
    assert_int_equal(guest_subscribe(zero, "r/#", 0), 0);
    unsigned count = guest_drain(zero);
    assert_in_range(count, 3, 5);
    for (int i = 0; i < 10; i++) {
        engine_advance(rig, 1000);
        const unsigned more = guest_drain(zero);
        assert_true(more <= 5);
        count += more;
    }
    assert_int_equal(count, 20); /* QoS 0 as it is, none is dropped: nobody hurries them */
}

/* ---- while it runs ---- */

static void reconfigure(void)
{
    struct m5_shard *shard = m5_engine_shard(rig->engine, 0);
    m5_shard_begin(shard, rig->now_ms);
    m5_shard_reconfigure(shard, &rig->config);
    m5_shard_end(shard);
    engine_pump(rig);
}

static void limits_change_for_those_who_are_there(void **state)
{
    (void)state;
    engine_rig_start(rig);
    struct engine_peer *listener = subscriber("listener", 1);
    struct engine_peer *talker = guest_connect(rig, V5, "talker"), *one;
    assert_int_equal(try_connect(&one, V5, "one", "alice"), 0);
    assert_int_equal(try_connect(NULL, V5, "two", "alice"), 0);
    send_many(talker, 100, 1);
    assert_int_equal(guest_drain(listener), 100);
    rig->config.rate_per_client.messages_in = 10;
    rig->config.connections_per_user_max = 1;
    reconfigure();
    send_many(talker, 25, 1);
    assert_int_equal(guest_drain(listener), 10);
    assert_int_equal(try_connect(NULL, V5, "three", "alice"), MQTT5_REASON_QUOTA_EXCEEDED);
    guest_lose(one);
    assert_int_equal(try_connect(NULL, V5, "three", "alice"), MQTT5_REASON_QUOTA_EXCEEDED);
    rig->config.rate_per_client.messages_in = 0;
    rig->config.connections_per_user_max = 0;
    reconfigure();
    engine_advance(rig, 200); /* what waited goes on at the time that it was told */
    send_many(talker, 100, 1);
    assert_int_equal(guest_drain(listener), 115);
    assert_int_equal(try_connect(&one, V5, "three", "alice"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_keeps_the_mean),
        cmocka_unit_test(a_bucket_owes_and_pays),
        TEST(what_comes_too_soon_waits),
        TEST(bytes_wait_too),
        TEST(subscriptions_count_as_messages),
        TEST(who_is_not_read_from_is_not_dead),
        TEST(refusing_says_so),
        TEST(disconnecting_says_so),
        TEST(a_user_has_one_bucket_on_all_shards),
        TEST(an_address_has_one_bucket),
        TEST(connections_of_a_user),
        TEST(subscriptions_of_a_user),
        TEST(what_goes_out_too_soon),
        TEST(retained_messages_wait),
        TEST(limits_change_for_those_who_are_there),
    };
    return cmocka_run_group_tests_name("engine rates", tests, NULL, NULL);
}
