/* The engine with a store when memory runs out: while it starts from what is stored, and while it
 * stores. A start has everything or says that it has not; what was acknowledged is there after a
 * crash, or was counted as dropped. Nothing leaks, nothing spins.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/engine_peer.h"
#include "support/unit.h"

#include <string.h>

#define WALL_MS     1700000000000u
#define PAYLOAD     17000u /* bytes: more than there is room for in one part of a batch */
#define NTH_MAX     5000u
#define FAIL_ON_MAX 400u

static struct engine_rig rig;
static struct disk_sim disk;

static void start(uint32_t shards)
{
    disk_sim_init(&disk);
    engine_rig_init(&rig, shards);
    rig.disk = &disk;
    engine_rig_start(&rig);
}

static void end(void)
{
    engine_rig_fini(&rig);
    assert_string_equal(disk.error, "");
    disk_sim_fini(&disk);
}

/* ---- exchanges of which any part may fail ---- */

static unsigned resume(struct engine_peer *peer, const char *id, bool will)
{
    struct mqtt5_connect connect = guest_connect_packet(MQTT5_VERSION_5, id);
    connect.clean_start = false;
    MQTT5_SET(&connect.properties, SESSION_EXPIRY_INTERVAL);
    connect.properties.session_expiry_interval_s = 1000;
    connect.has_will = will;
    connect.will =
        (struct mqtt5_will){.qos = 1, .topic = m5_bytes_of("will"), .payload = m5_bytes_of("gone")};
    MQTT5_SET(&connect.will.properties, WILL_DELAY_INTERVAL);
    connect.will.properties.will_delay_interval_s = 500;
    return guest_say_connect(peer, &connect);
}

/* Without PUBREL; the reason code of the answer. */
static unsigned publish(struct engine_peer *peer, const char *topic, uint8_t qos, bool retain)
{
    static const char payload[PAYLOAD] = "what is stored";
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    packet.as.publish = (struct mqtt5_publish){.qos = qos,
                                               .retain = retain,
                                               .packet_id = ++peer->packet_id,
                                               .topic = m5_bytes_of(topic),
                                               .payload = m5_bytes(payload, sizeof payload)};
    guest_send_packet(peer, &packet);
    if (!guest_take_type(peer, qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC, &packet))
        return GUEST_OPEN;
    return packet.as.ack.reason_code;
}

static bool is_taken(unsigned reason)
{
    return reason < 0x80;
}

/* ---- starting ---- */

/* Something of everything that can be stored. */
static void fill_store(void)
{
    char id[ENGINE_ID_SIZE];
    engine_text_on(&rig, "publisher", 0, 0, id);
    struct engine_peer *publisher = guest_resume(&rig, MQTT5_VERSION_5, id);
    for (uint32_t i = 0; i < 4; i++) {
        engine_text_on(&rig, "subscriber", i % 2, i, id);
        struct engine_peer *peer = guest_open(&rig, MQTT5_VERSION_5);
        assert_int_equal(resume(peer, id, true), 0);
        assert_int_equal(guest_subscribe(peer, "t/+", 2), 2);
        assert_int_equal(guest_subscribe(peer, "$share/g/t/1", 1), 1);
        if (i > 0)
            guest_lose(peer);
        else
            peer->stuck = true;
    }
    for (uint8_t qos = 1; qos <= 2; qos++)
        for (uint32_t i = 0; i < 5; i++)
            assert_true(is_taken(publish(publisher, i % 2 == 0 ? "t/1" : "t/2", qos, i == 0)));
    rig.asleep = 2; /* what is on its way to it stays so */
    assert_true(is_taken(publish(publisher, "t/1", 1, false)));
    rig.asleep = 0;
}

static bool is_same(const struct m5_restore_report *a, const struct m5_restore_report *b)
{
    return a->sessions == b->sessions && a->subscriptions == b->subscriptions &&
           a->messages == b->messages && a->retained == b->retained && a->expired == b->expired &&
           a->damaged == b->damaged && a->refused == b->refused;
}

/* A start in which the @p nth allocation fails; false when it did not come to that. */
static bool start_again(uint64_t nth, bool fail_on, struct m5_restore_report *whole)
{
    const struct m5_engine_env env = {.allocator = &rig.memory.table,
                                      .shard_count = rig.shards,
                                      .seed = {1, 2, 3, 4},
                                      .now_ms = rig.now_ms,
                                      .store = true,
                                      .wall_ms = WALL_MS + rig.now_ms};
    struct m5_engine *engine = m5_engine_new(&rig.config, &env);
    assert_non_null(engine);
    disk_sim_attach(&disk, engine, rig.shards);
    struct m5_restore_report report = {0};
    test_allocator_fail_nth(&rig.memory, nth);
    rig.memory.fail_on = fail_on;
    const enum mqtt5_error error = disk_sim_restore(&disk, &report, 0);
    const bool failed = test_allocator_failed(&rig.memory);
    rig.memory.fail_on = false;
    test_allocator_fail_nth(&rig.memory, 0);
    if (nth == 0)
        *whole = report;
    if (!failed)
        assert_int_equal(error, MQTT5_OK);
    else
        assert_true(error == MQTT5_OK || error == MQTT5_ERR_NOMEM);
    if (error == MQTT5_OK)
        assert_true(is_same(&report, whole));
    disk_sim_crash(&disk, false);
    m5_engine_free(engine);
    test_allocator_check(&rig.memory);
    return failed;
}

static void a_start_has_everything_or_says_that_it_has_not(void **state)
{
    (void)state;
    static const uint32_t shards[] = {2, 1, 3};
    start(2);
    fill_store();
    engine_rig_fini(&rig);
    const size_t records = disk.records, bytes = disk.bytes;
    struct m5_restore_report whole;
    for (unsigned i = 0; i < sizeof shards / sizeof *shards; i++) {
        uint64_t nth = 1;
        rig.shards = shards[i];
        start_again(0, false, &whole);
        assert_int_equal(whole.sessions, 5);
        assert_int_equal(whole.damaged, 0);
        while (start_again(nth, false, &whole))
            assert_in_range(++nth, 1, NTH_MAX);
        assert_in_range(nth, 50, NTH_MAX);
        print_message("%u shards: %u allocations failed, one at a time\n", shards[i],
                      (unsigned)(nth - 1));
        for (uint64_t first = 1; first < nth; first++)
            start_again(first, true, &whole);
    }
    assert_int_equal(disk.records, records);
    assert_int_equal(disk.bytes, bytes);
    engine_rig_start(&rig);
    end();
}

/* ---- running ---- */

struct outcome {
    bool present;     /* the subscriber's session has been promised */
    bool subscribed;  /* its subscription */
    unsigned taken;   /* messages for it that were acknowledged */
    bool retained;    /* the retained message was */
    uint64_t dropped; /* that the broker has counted */
};

static void talk(struct outcome *outcome)
{
    struct engine_peer *subscriber = guest_open(&rig, MQTT5_VERSION_5);
    outcome->present = resume(subscriber, "subscriber", false) == 0;
    outcome->subscribed = outcome->present && guest_subscribe(subscriber, "t/+", 2) == 2;
    guest_lose(subscriber);
    struct engine_peer *publisher = guest_open(&rig, MQTT5_VERSION_5);
    if (resume(publisher, "publisher", true) == 0) {
        for (uint32_t i = 0; i < 6; i++) {
            const bool taken = is_taken(publish(publisher, "t/1", 1 + i % 2, false));
            outcome->taken += outcome->subscribed && taken;
        }
        outcome->retained = is_taken(publish(publisher, "kept", 1, true));
    }
    outcome->dropped = engine_stats(&rig).publish_dropped;
    guest_lose(publisher);
}

static void look(const struct outcome *outcome)
{
    struct engine_peer *newcomer = guest_connect(&rig, MQTT5_VERSION_5, "newcomer");
    assert_int_equal(guest_subscribe(newcomer, "kept", 0), 0);
    if (outcome->retained)
        assert_int_equal(guest_drain(newcomer), 1);
    struct engine_peer *subscriber = guest_resume(&rig, MQTT5_VERSION_5, "subscriber");
    if (outcome->subscribed)
        assert_true(subscriber->session_present);
    assert_true(guest_drain(subscriber) + outcome->dropped >= outcome->taken);
    assert_true(is_taken(guest_publish(newcomer, "t/1", "x", 1)));
    if (outcome->subscribed)
        assert_int_equal(guest_drain(subscriber), 1);
}

/* A conversation in which the @p nth allocation fails, and a crash; false when it did not. */
static bool converse(uint64_t nth, bool fail_on, struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    start(2);
    test_allocator_fail_nth(&rig.memory, nth);
    rig.memory.fail_on = fail_on;
    talk(outcome);
    const bool failed = test_allocator_failed(&rig.memory);
    rig.memory.fail_on = false;
    test_allocator_fail_nth(&rig.memory, 0);
    engine_rig_crash(&rig);
    look(outcome);
    end();
    return failed;
}

static void what_was_acknowledged_is_there(void **state)
{
    (void)state;
    struct outcome outcome;
    converse(0, false, &outcome);
    assert_true(outcome.subscribed && outcome.retained && outcome.taken == 6);
    assert_int_equal(outcome.dropped, 0);
    uint64_t nth = 1;
    while (converse(nth, false, &outcome))
        assert_in_range(++nth, 1, NTH_MAX);
    assert_in_range(nth, 50, NTH_MAX);
    print_message("%u allocations failed, one at a time\n", (unsigned)(nth - 1));
    for (nth = 1; nth < FAIL_ON_MAX && converse(nth, true, &outcome); nth++)
        ;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_has_everything_or_says_that_it_has_not),
        cmocka_unit_test(what_was_acknowledged_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
