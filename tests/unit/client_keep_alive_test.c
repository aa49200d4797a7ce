/* Keep-alive of the client, on virtual time.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/client_rig.h"
#include "support/unit.h"

static void connected(struct client_rig *rig, uint16_t keep_alive_s, const char *connack)
{
    rig_init(rig);
    rig->config.keep_alive_s = keep_alive_s;
    rig_make(rig);
    assert_true(rig_connect(rig, connack));
}

/* [MQTT-3.1.2-20] */
static void silence_is_broken_by_pingreq(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig, 4, RIG_CONNACK);
    for (int i = 0; i < 10; i++) {
        rig_pass(&rig, 2999);
        assert_true(rig_sent(&rig, ""));
        rig_pass(&rig, 1);
        assert_true(rig_sent(&rig, "c0 00"));
        rig_feed(&rig, "d0 00");
        assert_true(rig_quiet(&rig));
    }
    rig_fini(&rig);
}

static void server_that_does_not_answer_is_dead_after_one_and_a_half(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig, 4, RIG_CONNACK);
    rig_pass(&rig, 3000);
    assert_true(rig_sent(&rig, "c0 00"));
    rig_pass(&rig, 2999);
    assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CONNECTED);
    assert_int_equal(m5_client_deadline_ms(rig.client), rig.now_ms + 1);
    rig_pass(&rig, 1);
    assert_true(rig_ended(&rig, MQTT5_ERR_TIMEOUT, 0));
    rig_fini(&rig);
}

/* What we send keeps the server content, but only its answers show that it lives. */
static void sending_alone_is_no_sign_of_life(void **state)
{
    (void)state;
    struct client_rig rig;
    uint64_t passed = 0;
    int pings = 0;
    connected(&rig, 4, RIG_CONNACK);
    while (m5_client_state(rig.client) == MQTT5_CLIENT_CONNECTED) {
        assert_int_equal(rig_publish(&rig, 0, "x", NULL), MQTT5_OK);
        struct mqtt5_bytes out = m5_client_output(rig.client);
        pings += out.data[0] == 0xc0;
        m5_client_sent(rig.client, out.len);
        struct m5_client_event event;
        while (rig_event(&rig, &event))
            ;
        rig_pass(&rig, 100);
        passed += 100;
        assert_true(passed <= 6000);
    }
    assert_int_equal(passed, 6000);
    assert_int_equal(pings, 1);
    rig_fini(&rig);
}

/* Any packet counts, not only PINGRESP; and receiving alone does not excuse our silence. */
static void any_packet_is_a_sign_of_life(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    connected(&rig, 4, RIG_CONNACK);
    for (int i = 0; i < 40; i++) {
        rig_pass(&rig, 1000);
        rig_feed(&rig, "30 [0001't' 00]");
        assert_true(rig_event(&rig, &event));
        assert_true(rig_sent(&rig, (i + 1) % 3 == 0 ? "c0 00" : ""));
    }
    assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CONNECTED);
    rig_fini(&rig);
}

/* [MQTT-3.1.2-21] [MQTT-3.2.2-21] */
static void server_keep_alive_counts(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig, 4, "20 [00 00 [13 0008]]");
    rig_pass(&rig, 5999);
    assert_true(rig_sent(&rig, ""));
    rig_pass(&rig, 1);
    assert_true(rig_sent(&rig, "c0 00"));
    rig_fini(&rig);
}

static void server_can_turn_keep_alive_on_and_off(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig, 0, "20 [00 00 [13 0004]]");
    assert_int_equal(m5_client_deadline_ms(rig.client), rig.now_ms + 3000);
    rig_fini(&rig);
    connected(&rig, 4, "20 [00 00 [13 0000]]");
    assert_int_equal(m5_client_deadline_ms(rig.client), UINT64_MAX);
    rig_fini(&rig);
}

static void keep_alive_0_never_pings(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig, 0, RIG_CONNACK);
    rig_pass(&rig, (uint64_t)1000 * 86400 * 365);
    assert_true(rig_sent(&rig, ""));
    assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CONNECTED);
    rig_fini(&rig);
}

/* A host that slept (a closed lid) asks first before it takes the server for dead. */
static void long_sleep_is_followed_by_a_question(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig, 4, RIG_CONNACK);
    rig_pass(&rig, 3600000);
    assert_true(rig_sent(&rig, "c0 00"));
    rig_pass(&rig, 2999);
    assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CONNECTED);
    rig_feed(&rig, "d0 00");
    assert_true(rig_quiet(&rig));
    rig_pass(&rig, 2);
    assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CONNECTED);
    rig_fini(&rig);
}

static void clock_that_steps_back_is_ignored(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig, 4, RIG_CONNACK);
    m5_client_tick(rig.client, 0);
    assert_int_equal(m5_client_deadline_ms(rig.client), rig.now_ms + 3000);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_is_broken_by_pingreq),
        cmocka_unit_test(server_that_does_not_answer_is_dead_after_one_and_a_half),
        cmocka_unit_test(sending_alone_is_no_sign_of_life),
        cmocka_unit_test(any_packet_is_a_sign_of_life),
        cmocka_unit_test(server_keep_alive_counts),
        cmocka_unit_test(server_can_turn_keep_alive_on_and_off),
        cmocka_unit_test(keep_alive_0_never_pings),
        cmocka_unit_test(long_sleep_is_followed_by_a_question),
        cmocka_unit_test(clock_that_steps_back_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
