/* The client without memory: every allocation of a whole life fails once, alone and with all that
 * follow; nothing leaks, nothing breaks, and what was promised still holds.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/client_rig.h"
#include "support/hex.h"
#include "support/unit.h"

#define MESSAGES 40u

struct life {
    struct client_rig rig;
    uint32_t accepted, ended; /* operations */
    uint32_t shown[2];        /* of the QoS 2 messages that are sent to us */
    int mark;
};

static void see_events(struct life *life)
{
    struct m5_client_event event;
    while (rig_event(&life->rig, &event)) {
        if (event.type == M5_CLIENT_COMPLETED)
            life->ended++;
        else if (event.type == M5_CLIENT_MESSAGE && event.publish.qos == 2)
            life->shown[event.publish.payload.data[0] == 'b']++;
    }
}

/* Takes input as long as the client takes it. */
static void feed(struct life *life, const char *hex)
{
    uint8_t bytes[256];
    m5_client_input(life->rig.client, hex_read(hex, bytes, sizeof bytes));
    m5_client_check(life->rig.client);
    see_events(life);
    rig_drop_output(&life->rig);
    see_events(life);
}

static void publish(struct life *life, uint8_t qos, uint16_t alias)
{
    struct mqtt5_publish message = {
        .topic = m5_bytes_of("t"), .payload = m5_bytes_of("x"), .qos = qos};
    if (alias > 0) {
        MQTT5_SET(&message.properties, TOPIC_ALIAS);
        message.properties.topic_alias = alias;
    }
    life->accepted += m5_client_publish(life->rig.client, &message, &life->mark) == MQTT5_OK;
    m5_client_check(life->rig.client);
}

/* One connection with everything that a client does; it may end early for want of memory. */
static void connection(struct life *life, const char *connack)
{
    if (m5_client_open(life->rig.client, M5_CLIENT_START_AS_CONFIGURED, life->rig.now_ms) !=
        MQTT5_OK)
        return;
    m5_client_check(life->rig.client);
    rig_drop_output(&life->rig);
    feed(life, connack);
    life->accepted += rig_subscribe(&life->rig, "a/#", 2, &life->mark) == MQTT5_OK;
    for (uint32_t i = 0; i < MESSAGES; i++)
        publish(life, (uint8_t)(i % 3), i % 4 == 0 ? 2 : 0);
    rig_drop_output(&life->rig);
    feed(life, "34 [0001'q' 0001 [23 0001] 'a'] 34 [0000 0002 [23 0001] 'b'] 62 [0001]");
    feed(life, "40 [0002] 50 [0003] 40 [0004] 50 [0005] 70 [0003]");
    rig_pass(&life->rig, 45000);
    rig_drop_output(&life->rig);
    rig_lose(&life->rig);
    see_events(life);
}

/* Lives once; false when the client could not even be made. */
static bool live(struct life *life, uint64_t nth, bool all_that_follow)
{
    *life = (struct life){0};
    rig_init(&life->rig);
    life->rig.config.session_expiry_s = 60;
    life->rig.config.clean_start = false;
    life->rig.config.client_id = "";
    life->rig.config.topic_alias_maximum = 4;
    test_allocator_fail_nth(&life->rig.allocator, nth);
    life->rig.allocator.fail_on = all_that_follow;
    if (m5_client_new(&life->rig.config, &life->rig.allocator.table, 0, &life->rig.client) !=
        MQTT5_OK) {
        assert_null(life->rig.client);
        return false;
    }
    connection(life, "20 [00 00 [12 0004'auto' 22 0004 21 0020]]");
    connection(life, "20 [01 00 [12 0004'auto' 22 0002]]");
    test_allocator_fail_nth(&life->rig.allocator, 0);
    connection(life, "20 [01 00 [12 0004'auto' 22 0002]]");
    return true;
}

static void check_life(struct life *life)
{
    assert_true(life->shown[0] <= 3 && life->shown[1] <= 3);
    m5_client_abandon(life->rig.client);
    see_events(life);
    assert_int_equal(life->ended, life->accepted); /* each operation ends, and once */
    struct mqtt5_client_info info;
    m5_client_info(life->rig.client, &info);
    assert_int_equal(info.queued_messages, 0);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (int all_that_follow = 0; all_that_follow < 2; all_that_follow++) {
        bool failed = true;
        uint64_t nth = 1;
        for (; failed; nth++) {
            struct life life;
            const bool lived = live(&life, nth, all_that_follow != 0);
            failed = !lived || life.rig.allocator.calls >= nth;
            if (lived)
                check_life(&life);
            rig_fini(&life.rig);
            if (nth > 2000)
                break;
        }
        assert_true(nth > 100); /* so many allocations a life has */
        assert_true(nth < 2000);
    }
}

/* The same with nothing failing: the scenario does what it is there for. */
static void the_life_is_a_full_one(void **state)
{
    (void)state;
    struct life life;
    assert_true(live(&life, 0, false));
    assert_int_equal(life.accepted, 3 * (1 + MESSAGES));
    assert_int_equal(life.shown[1], 1); /* not released, so not shown again */
    check_life(&life);
    rig_fini(&life.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_life_is_a_full_one),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
