/* What the engine stores, counted; and starts from a store that another number of shards, or nobody
 * in his right mind, has written.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "base/rng.h"
#include "broker/record.h"
#include "support/engine_peer.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Records whose key begins with @p letter. */
static size_t count_of(char letter)
{
    struct disk_record record;
    size_t count = 0;
    for (size_t i = 0; disk_sim_at(&disk, i, &record); i++)
        count += record.key.data[0] == (uint8_t)letter;
    return count;
}

static struct engine_peer *durable(const char *prefix, unsigned number)
{
    char id[ENGINE_ID_SIZE];
    snprintf(id, sizeof id, "%s%u", prefix, number);
    return guest_resume(&rig, MQTT5_VERSION_5, id);
}

/* ---- what costs nothing ---- */

static void qos0_and_sessions_that_end_with_their_connection_change_nothing(void **state)
{
    (void)state;
    start(3);
    const uint64_t batches = disk.batches;
    struct engine_peer *publisher = guest_connect(&rig, MQTT5_VERSION_5, "publisher");
    struct engine_peer *subscriber = guest_connect(&rig, MQTT5_VERSION_5, "subscriber");
    struct engine_peer *member = guest_connect(&rig, MQTT5_VERSION_3_1_1, "member");
    assert_int_equal(guest_subscribe(subscriber, "t/+", 2), 2);
    assert_int_equal(guest_subscribe(member, "$share/g/t/1", 1), 1);
    for (uint8_t qos = 0; qos < 3; qos++)
        guest_publish(publisher, "t/1", "x", qos);
    assert_int_equal(guest_drain(subscriber), 3);
    assert_int_equal(guest_drain(member), 3);
    assert_int_equal(guest_unsubscribe(subscriber, "t/+"), 0);
    guest_lose(subscriber);
    guest_disconnect(member, 0);
    guest_lose(publisher);
    engine_advance(&rig, 100000);
    assert_int_equal(disk.batches, batches);
    end();
}

static void qos0_for_a_stored_session_changes_nothing(void **state)
{
    (void)state;
    start(2);
    struct engine_peer *publisher = guest_connect(&rig, MQTT5_VERSION_5, "publisher");
    struct engine_peer *subscriber = durable("s", 1);
    assert_int_equal(guest_subscribe(subscriber, "t", 2), 2);
    const uint64_t puts = disk.puts, deletes = disk.deletes;
    for (unsigned i = 0; i < 100; i++)
        guest_publish(publisher, "t", "x", 0);
    assert_int_equal(guest_drain(subscriber), 100);
    assert_int_equal(disk.puts, puts);
    assert_int_equal(disk.deletes, deletes);
    end();
}

static void a_retained_message_that_expires_is_announced(void **state)
{
    (void)state;
    start(2);
    struct engine_peer *publisher = guest_connect(&rig, MQTT5_VERSION_5, "publisher");
    struct mqtt5_publish publish = {.qos = 1,
                                    .retain = true,
                                    .topic = m5_bytes_of("t"),
                                    .payload = m5_bytes_of("for a second")};
    MQTT5_SET(&publish.properties, MESSAGE_EXPIRY_INTERVAL);
    publish.properties.message_expiry_interval_s = 1;
    assert_true(guest_say_publish(publisher, &publish) < 0x80);
    assert_int_equal(count_of('r'), 1);
    const uint64_t batches = disk.batches;
    engine_advance(&rig, 30000);
    assert_int_equal(count_of('r'), 0);
    assert_int_equal(disk.batches, batches + 1);
    end();
}

/* ---- what is stored once ---- */

#define SESSIONS 200u
#define PAYLOAD  10000u

static void fill(char *payload)
{
    memset(payload, 'x', PAYLOAD);
    payload[PAYLOAD] = '\0';
}

static void a_message_for_many_sessions_is_stored_once(void **state)
{
    (void)state;
    static char payload[PAYLOAD + 1];
    fill(payload);
    start(1);
    for (unsigned i = 0; i < SESSIONS; i++) {
        struct engine_peer *peer = durable("s", i);
        assert_int_equal(guest_subscribe(peer, "t", 1), 1);
        guest_lose(peer);
    }
    const size_t bytes = disk.bytes, records = disk.records;
    struct engine_peer *publisher = guest_connect(&rig, MQTT5_VERSION_5, "publisher");
    assert_int_equal(guest_publish(publisher, "t", payload, 1), 0);
    assert_int_equal(count_of('m'), 1);
    assert_int_equal(disk.records, records + 1 + SESSIONS);
    assert_in_range(disk.bytes - bytes, PAYLOAD, PAYLOAD + 200 + SESSIONS * 60);
    /* It goes with the last one that has got it. */
    for (unsigned i = 0; i < SESSIONS; i++) {
        assert_int_equal(count_of('m'), 1);
        struct engine_peer *peer = durable("s", i);
        assert_int_equal(guest_drain(peer), 1);
        guest_lose(peer);
    }
    assert_int_equal(count_of('m'), 0);
    assert_int_equal(disk.records, records);
    end();
}

static void space_comes_back_as_queues_drain_and_sessions_end(void **state)
{
    (void)state;
    start(3);
    const size_t empty = disk.records;
    struct engine_peer *publisher = durable("p", 1);
    for (unsigned i = 0; i < 10; i++) {
        struct engine_peer *peer = durable("s", i);
        guest_subscribe(peer, i % 2 == 0 ? "t/#" : "$share/g/t/#", 2);
        guest_lose(peer);
    }
    for (unsigned i = 0; i < 50; i++)
        guest_publish(publisher, "t/1", "x", (uint8_t)(1 + i % 2));
    guest_retain(publisher, "t/2", "kept", 1);
    assert_true(disk.records > empty + 5 * 50);
    engine_rig_crash(&rig);
    for (unsigned i = 0; i < 10; i++)
        guest_drain(durable("s", i));
    assert_int_equal(count_of('m') + count_of('p'), 0);
    publisher = durable("p", 1);
    guest_retain(publisher, "t/2", "", 1);
    guest_lose(publisher);
    engine_rig_crash(&rig);
    engine_advance(&rig, 1001 * 1000); /* all sessions expire */
    assert_int_equal(engine_stats(&rig).sessions, 0);
    assert_in_range(disk.records, 0, empty + 1); /* and when the broker was last alive */
    end();
}

/* ---- another number of shards ---- */

static void queue_for_all(struct engine_peer *publisher, unsigned round)
{
    char payload[16];
    snprintf(payload, sizeof payload, "round %u", round);
    assert_int_equal(guest_publish(publisher, "t/1", payload, 2), 0);
    assert_int_equal(guest_publish(publisher, "t/2", payload, 1), 0);
}

static void sessions_find_their_shard_when_the_number_changes(void **state)
{
    (void)state;
    static const uint32_t shards[] = {1, 4, 2, 7, 3, 1};
    start(3);
    for (unsigned i = 0; i < 40; i++) {
        struct engine_peer *peer = durable("s", i);
        assert_int_equal(guest_subscribe(peer, "t/+", 2), 2);
        guest_lose(peer);
    }
    for (unsigned round = 0; round < sizeof shards / sizeof *shards; round++) {
        struct engine_peer *publisher = guest_connect(&rig, MQTT5_VERSION_5, "publisher");
        queue_for_all(publisher, round);
        rig.shards = shards[round];
        engine_rig_crash(&rig);
        assert_int_equal(engine_stats(&rig).sessions, 40);
        assert_int_equal(engine_stats(&rig).subscriptions, 40);
        for (unsigned i = 0; i < 40; i++) {
            struct engine_peer *peer = durable("s", i);
            assert_true(peer->session_present);
            assert_int_equal(guest_drain(peer), 2);
            guest_lose(peer);
        }
        assert_int_equal(engine_stats(&rig).messages_queued, 0);
    }
    end();
}

/* ---- what no broker has written ---- */

static void strangers_are_served(void)
{
    struct engine_peer *publisher = guest_connect(&rig, MQTT5_VERSION_5, "stranger-1");
    struct engine_peer *subscriber = durable("stranger-", 2);
    assert_int_equal(guest_subscribe(subscriber, "strange", 1), 1);
    assert_int_equal(guest_publish(publisher, "strange", "x", 1), 0);
    assert_int_equal(guest_drain(subscriber), 1);
}

/* Starts from what is on the disk; what makes no sense is counted and struck out. */
static uint64_t start_from_garbage(void)
{
    engine_rig_init(&rig, 2);
    rig.disk = &disk;
    const struct m5_engine_env env = {.allocator = &rig.memory.table,
                                      .shard_count = 2,
                                      .seed = {1, 2, 3, 4},
                                      .now_ms = rig.now_ms,
                                      .store = true,
                                      .wall_ms = 1700000000000u};
    struct m5_restore_report report;
    rig.engine = m5_engine_new(&rig.config, &env);
    disk_sim_attach(&disk, rig.engine, 2);
    enum mqtt5_error error = disk_sim_restore(&disk, &report, 0);
    assert_true(error == MQTT5_OK || error == MQTT5_ERR_CONFIG);
    if (error == MQTT5_OK) {
        for (uint32_t i = 0; i < 2; i++)
            m5_shard_check(m5_engine_shard(rig.engine, i));
        engine_pump(&rig);
        strangers_are_served();
    }
    engine_rig_fini(&rig);
    return report.damaged;
}

static void put_garbage(struct m5_rng *rng)
{
    static const char kinds[] = "abmprsx";
    uint8_t key[M5_STORE_KEY_MAX], value[300];
    size_t key_size = 1 + (size_t)m5_rng_below(rng, 20);
    size_t value_size = (size_t)m5_rng_below(rng, sizeof value);
    for (size_t i = 0; i < key_size; i++)
        key[i] = (uint8_t)m5_rng_below(rng, m5_rng_below(rng, 3) == 0 ? 256 : 5);
    for (size_t i = 0; i < value_size; i++)
        value[i] = (uint8_t)m5_rng_below(rng, m5_rng_below(rng, 3) == 0 ? 256 : 5);
    key[0] = (uint8_t)kinds[m5_rng_below(rng, sizeof kinds - 1)];
    disk_sim_put(&disk, m5_bytes(key, key_size), m5_bytes(value, value_size));
}

static void random_records_are_counted_and_survived(void **state)
{
    (void)state;
    uint64_t damaged = 0;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct m5_rng rng;
        m5_rng_init(&rng, seed);
        disk_sim_init(&disk);
        for (unsigned i = 0; i < 60; i++)
            put_garbage(&rng);
        damaged += start_from_garbage();
        disk_sim_fini(&disk);
    }
    assert_true(damaged > 60 * 20);
}

/* A store with everything in it. */
static void make_full_store(void)
{
    start(2);
    struct engine_peer *publisher = durable("p", 1);
    struct engine_peer *subscriber = durable("s", 1);
    guest_subscribe(subscriber, "t/#", 2);
    guest_subscribe(subscriber, "$share/g/t/1", 1);
    guest_publish(publisher, "t/1", "one", 1);
    guest_lose(subscriber);
    subscriber = durable("s", 2);
    guest_subscribe(subscriber, "t/1", 2);
    guest_lose(subscriber);
    guest_publish(publisher, "t/1", "two", 2);
    guest_retain(publisher, "t/2", "kept", 1);
    struct mqtt5_connect connect = guest_connect_packet(MQTT5_VERSION_5, "willing");
    MQTT5_SET(&connect.properties, SESSION_EXPIRY_INTERVAL);
    connect.properties.session_expiry_interval_s = 1000;
    connect.has_will = true;
    connect.will = (struct mqtt5_will){.qos = 1, .topic = m5_bytes_of("t/w")};
    assert_int_equal(guest_say_connect(guest_open(&rig, MQTT5_VERSION_5), &connect), 0);
    engine_rig_fini(&rig);
}

static void damage_one(struct m5_rng *rng)
{
    struct disk_record record;
    uint8_t key[M5_STORE_KEY_MAX], value[2000];
    assert_true(disk_sim_at(&disk, (size_t)m5_rng_below(rng, disk.records), &record));
    size_t key_size = record.key.len, value_size = record.value.len;
    assert_true(value_size < sizeof value);
    m5_copy(key, record.key);
    m5_copy(value, record.value);
    disk_sim_delete(&disk, m5_bytes(key, key_size));
    switch (m5_rng_below(rng, 4)) {
    case 0: return; /* it is missing */
    case 1: value_size = (size_t)m5_rng_below(rng, value_size + 1); break;
    case 2: key[m5_rng_below(rng, key_size)] ^= (uint8_t)(1u << m5_rng_below(rng, 8)); break;
    default:
        if (value_size > 0)
            value[m5_rng_below(rng, value_size)] = (uint8_t)m5_rng_below(rng, 256);
    }
    disk_sim_put(&disk, m5_bytes(key, key_size), m5_bytes(value, value_size));
}

static void a_store_with_damaged_records_is_survived(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct m5_rng rng;
        m5_rng_init(&rng, seed);
        make_full_store();
        for (uint64_t i = m5_rng_below(&rng, 4) + 1; i > 0; i--)
            damage_one(&rng);
        start_from_garbage();
        disk_sim_fini(&disk);
    }
}

static void damaged_records_are_struck_out(void **state)
{
    (void)state;
    make_full_store();
    disk_sim_put(&disk, m5_bytes("x?", 2), m5_bytes("?", 1));
    disk_sim_put(&disk, m5_bytes("s12345678\1abcdefgh", 18), m5_bytes("?", 1));
    const size_t records = disk.records;
    assert_int_equal(start_from_garbage(), 2);
    struct disk_record record;
    for (size_t i = 0; disk_sim_at(&disk, i, &record); i++)
        assert_int_not_equal(record.key.data[0], 'x');
    assert_true(disk.records <= records + 3); /* those of the strangers */
    assert_int_equal(start_from_garbage(), 0);
    disk_sim_fini(&disk);
}

static void a_store_of_a_later_version_is_refused(void **state)
{
    (void)state;
    uint8_t value[M5_META_RECORD_SIZE];
    const struct m5_meta_record meta = {.version = M5_RECORD_VERSION + 1, .shard_count = 1};
    m5_meta_record_write(&meta, value);
    disk_sim_init(&disk);
    disk_sim_put(&disk, m5_bytes("a", 1), m5_bytes(value, sizeof value));
    engine_rig_init(&rig, 1);
    const struct m5_engine_env env = {
        .allocator = &rig.memory.table, .shard_count = 1, .now_ms = 1, .store = true};
    rig.engine = m5_engine_new(&rig.config, &env);
    rig.disk = &disk;
    disk_sim_attach(&disk, rig.engine, 1);
    assert_int_equal(disk_sim_restore(&disk, NULL, 0), MQTT5_ERR_CONFIG);
    engine_rig_fini(&rig);
    disk_sim_fini(&disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qos0_and_sessions_that_end_with_their_connection_change_nothing),
        cmocka_unit_test(qos0_for_a_stored_session_changes_nothing),
        cmocka_unit_test(a_retained_message_that_expires_is_announced),
        cmocka_unit_test(a_message_for_many_sessions_is_stored_once),
        cmocka_unit_test(space_comes_back_as_queues_drain_and_sessions_end),
        cmocka_unit_test(sessions_find_their_shard_when_the_number_changes),
        cmocka_unit_test(random_records_are_counted_and_survived),
        cmocka_unit_test(a_store_with_damaged_records_is_survived),
        cmocka_unit_test(damaged_records_are_struck_out),
        cmocka_unit_test(a_store_of_a_later_version_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
