/* When a connection is tried again: the numbers of the back-off, and the classes of errors.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/backoff.h"
#include "support/unit.h"

static struct mqtt5_client_reconnect usual(void)
{
    struct mqtt5_client_options options;
    mqtt5_client_options_init(&options);
    return options.reconnect;
}

static void make(struct m5_backoff *backoff, const struct mqtt5_client_reconnect *policy)
{
    assert_int_equal(m5_backoff_init(backoff, policy, 42), MQTT5_OK);
}

static void waits_double_from_a_second_to_a_minute(void **state)
{
    static const uint32_t expected[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
    (void)state;
    struct mqtt5_client_reconnect policy = usual();
    struct m5_backoff backoff;
    policy.jitter_percent = 0;
    make(&backoff, &policy);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        uint32_t wait = 0;
        assert_true(m5_backoff_next(&backoff, MQTT5_CLASS_TRANSIENT, &wait));
        assert_int_equal(wait, expected[i]);
    }
}

static void jitter_takes_off_up_to_its_part(void **state)
{
    (void)state;
    struct mqtt5_client_reconnect policy = usual();
    struct m5_backoff backoff;
    uint32_t least = UINT32_MAX, most = 0;
    make(&backoff, &policy);
    for (int i = 0; i < 2000; i++) {
        uint32_t wait = 0;
        m5_backoff_reset(&backoff);
        assert_true(m5_backoff_next(&backoff, MQTT5_CLASS_TRANSIENT, &wait));
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_in_range(least, 500, 510);
    assert_in_range(most, 990, 1000);
}

static void attempts_may_be_bounded(void **state)
{
    (void)state;
    struct mqtt5_client_reconnect policy = usual();
    struct m5_backoff backoff;
    uint32_t wait;
    policy.attempts_max = 2;
    make(&backoff, &policy);
    assert_true(m5_backoff_next(&backoff, MQTT5_CLASS_TRANSIENT, &wait));
    assert_true(m5_backoff_next(&backoff, MQTT5_CLASS_TRANSIENT, &wait));
    assert_false(m5_backoff_next(&backoff, MQTT5_CLASS_TRANSIENT, &wait));
    m5_backoff_lasted(&backoff, policy.stable_ms - 1);
    assert_false(m5_backoff_next(&backoff, MQTT5_CLASS_TRANSIENT, &wait));
    m5_backoff_lasted(&backoff, policy.stable_ms); /* a stable connection begins the row anew */
    assert_true(m5_backoff_next(&backoff, MQTT5_CLASS_TRANSIENT, &wait));
    assert_in_range(wait, 500, 1000);
}

static void quotas_are_waited_for_longer(void **state)
{
    (void)state;
    struct mqtt5_client_reconnect policy = usual();
    struct m5_backoff backoff;
    uint32_t wait;
    policy.jitter_percent = 0;
    make(&backoff, &policy);
    assert_true(m5_backoff_next(&backoff, MQTT5_CLASS_SLOW, &wait));
    assert_int_equal(wait, 10000);
    policy.max_ms = 5000;
    make(&backoff, &policy);
    assert_true(m5_backoff_next(&backoff, MQTT5_CLASS_SLOW, &wait));
    assert_int_equal(wait, 5000);
}

static void some_errors_are_not_tried_again(void **state)
{
    (void)state;
    struct mqtt5_client_reconnect policy = usual();
    struct m5_backoff backoff;
    uint32_t wait;
    make(&backoff, &policy);
    assert_false(m5_backoff_next(&backoff, MQTT5_CLASS_PERMANENT, &wait));
    assert_false(m5_backoff_next(&backoff, MQTT5_CLASS_NONE, &wait));
    policy.enabled = false;
    make(&backoff, &policy);
    assert_false(m5_backoff_next(&backoff, MQTT5_CLASS_TRANSIENT, &wait));
}

static void extreme_numbers_do_not_run_wild(void **state)
{
    (void)state;
    struct mqtt5_client_reconnect policy = usual();
    struct m5_backoff backoff;
    uint32_t wait = 0;
    policy.min_ms = 1;
    policy.max_ms = UINT32_MAX;
    policy.factor_percent = 101; /* lost in the rounding of 1 ms */
    policy.jitter_percent = 100;
    make(&backoff, &policy);
    for (int i = 0; i < 5000; i++)
        assert_true(m5_backoff_next(&backoff, MQTT5_CLASS_TRANSIENT, &wait));
    policy.factor_percent = 100;
    policy.jitter_percent = 0;
    make(&backoff, &policy);
    for (int i = 0; i < 10; i++)
        assert_true(m5_backoff_next(&backoff, MQTT5_CLASS_TRANSIENT, &wait));
    assert_int_equal(wait, 1);
}

static void numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    struct m5_backoff backoff;
    struct mqtt5_client_reconnect cases[4] = {usual(), usual(), usual(), usual()};
    cases[0].min_ms = 0;
    cases[1].max_ms = cases[1].min_ms - 1;
    cases[2].factor_percent = 99;
    cases[3].jitter_percent = 101;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(m5_backoff_init(&backoff, &cases[i], 1), MQTT5_ERR_CONFIG);
        cases[i].enabled = false;
        assert_int_equal(m5_backoff_init(&backoff, &cases[i], 1), MQTT5_OK);
    }
}

/* By code, never by text. */
static void errors_have_classes(void **state)
{
    static const struct {
        uint8_t version;
        enum mqtt5_error error;
        uint8_t reason_code;
        enum mqtt5_error_class class;
    } cases[] = {
        {5, MQTT5_OK, 0, MQTT5_CLASS_NONE},
        {5, MQTT5_ERR_IO, 0, MQTT5_CLASS_TRANSIENT},
        {5, MQTT5_ERR_TIMEOUT, 0, MQTT5_CLASS_TRANSIENT},
        {5, MQTT5_ERR_CLOSED, 0, MQTT5_CLASS_TRANSIENT},
        {5, MQTT5_ERR_CLOSED, 0x8b, MQTT5_CLASS_TRANSIENT},
        {5, MQTT5_ERR_CLOSED, 0x8e, MQTT5_CLASS_PERMANENT},
        {5, MQTT5_ERR_CLOSED, 0x97, MQTT5_CLASS_SLOW},
        {5, MQTT5_ERR_CLOSED, 0x98, MQTT5_CLASS_SLOW},
        {5, MQTT5_ERR_REFUSED, 0x88, MQTT5_CLASS_TRANSIENT},
        {5, MQTT5_ERR_REFUSED, 0x89, MQTT5_CLASS_TRANSIENT},
        {5, MQTT5_ERR_REFUSED, 0x9f, MQTT5_CLASS_SLOW},
        {5, MQTT5_ERR_REFUSED, 0x9c, MQTT5_CLASS_REDIRECT},
        {5, MQTT5_ERR_REFUSED, 0x9d, MQTT5_CLASS_REDIRECT},
        {5, MQTT5_ERR_REFUSED, 0x84, MQTT5_CLASS_PERMANENT},
        {5, MQTT5_ERR_REFUSED, 0x85, MQTT5_CLASS_PERMANENT},
        {5, MQTT5_ERR_REFUSED, 0x86, MQTT5_CLASS_PERMANENT},
        {5, MQTT5_ERR_REFUSED, 0x87, MQTT5_CLASS_PERMANENT},
        {5, MQTT5_ERR_REFUSED, 0x8a, MQTT5_CLASS_PERMANENT},
        {4, MQTT5_ERR_REFUSED, 3, MQTT5_CLASS_TRANSIENT},
        {4, MQTT5_ERR_REFUSED, 5, MQTT5_CLASS_PERMANENT},
        {5, MQTT5_ERR_NOT_BUILT, 0, MQTT5_CLASS_PERMANENT},
        {5, MQTT5_ERR_UTF8, 0, MQTT5_CLASS_SLOW},
        {5, MQTT5_ERR_PROTOCOL, 0x82, MQTT5_CLASS_SLOW},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mqtt5_client_result result = {.error = cases[i].error,
                                                   .reason_code = cases[i].reason_code};
        if (mqtt5_client_classify(&result, cases[i].version) != cases[i].class)
            fail_msg("%s 0x%02X", mqtt5_error_name(cases[i].error), cases[i].reason_code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_double_from_a_second_to_a_minute),
        cmocka_unit_test(jitter_takes_off_up_to_its_part),
        cmocka_unit_test(attempts_may_be_bounded),
        cmocka_unit_test(quotas_are_waited_for_longer),
        cmocka_unit_test(some_errors_are_not_tried_again),
        cmocka_unit_test(extreme_numbers_do_not_run_wild),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(errors_have_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
