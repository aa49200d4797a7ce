/* A broker's configuration: its defaults, and each key at its limits and one past them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/broker.h>

#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

static struct mqtt5_broker_config defaults(void)
{
    struct mqtt5_broker_config config;
    mqtt5_broker_config_init(&config);
    return config;
}

static void assert_good(const struct mqtt5_broker_config *config)
{
    const char *why = NULL;
    if (mqtt5_broker_config_check(config, &why) != MQTT5_OK)
        fail_msg("refused: %s", why);
}

/* Refused with a sentence that names @p key. */
static void assert_bad(const struct mqtt5_broker_config *config, const char *key)
{
    const char *why = NULL;
    assert_int_equal(mqtt5_broker_config_check(config, &why), MQTT5_ERR_CONFIG);
    if (strncmp(why, key, strlen(key)) != 0)
        fail_msg("the sentence for %s is: %s", key, why);
    assert_int_equal(mqtt5_broker_config_check(config, NULL), MQTT5_ERR_CONFIG);
}

static void defaults_are_good_and_as_documented(void **state)
{
    (void)state;
    const struct mqtt5_broker_config config = defaults();
    assert_good(&config);
    assert_int_equal(config.maximum_qos, 2);
    assert_int_equal(config.connect_timeout_ms, 10000);
    assert_int_equal(config.connect_packet_max, 65536);
    assert_int_equal(config.maximum_packet_size, 16777216);
    assert_int_equal(config.receive_maximum, 1024);
    assert_int_equal(config.topic_levels_max, 200);
    assert_int_equal(config.session_expiry_max_s, UINT32_MAX);
    assert_int_equal(config.queued_bytes_max, 67108864);
    assert_true(config.retain_available && config.wildcard_subscription_available &&
                config.subscription_identifier_available && config.shared_subscription_available);
    assert_false(config.allow_anonymous);
}

#define LIMITS(X)                                    \
    X(maximum_qos, 0, 2, 3)                          \
    X(connect_timeout_ms, 1, UINT32_MAX, 0)          \
    X(connect_packet_max, 64, 268435460, 63)         \
    X(connect_packet_max, 64, 268435460, 268435461)  \
    X(maximum_packet_size, 64, 268435460, 63)        \
    X(maximum_packet_size, 64, 268435460, 268435461) \
    X(receive_maximum, 1, 65535, 0)                  \
    X(client_id_size_max, 23, 65535, 22)             \
    X(client_id_size_max, 23, 65535, 65536)          \
    X(topic_levels_max, 1, 65535, 0)                 \
    X(topic_levels_max, 1, 65535, 65536)             \
    X(inflight_max, 1, 65535, 0)                     \
    X(output_bytes_max, 64, SIZE_MAX, 63)            \
    X(queue_policy, 0, 1, 2)                         \
    X(shared_strategy, 0, 5, 6)

static void each_number_is_checked_at_its_limits(void **state)
{
    (void)state;
    struct mqtt5_broker_config config = defaults();
#define X(key, least, most, beyond) \
    config.key = least;             \
    assert_good(&config);           \
    config.key = most;              \
    assert_good(&config);           \
    config.key = beyond;            \
    assert_bad(&config, #key);      \
    config = defaults();
    LIMITS(X)
#undef X
}

static void response_information_is_a_string_of_mqtt(void **state)
{
    (void)state;
    struct mqtt5_broker_config config = defaults();
    char *text = (char *)malloc(65537);
    assert_non_null(text);
    memset(text, 'a', 65536);
    text[65535] = 0;
    config.response_information = text;
    assert_good(&config);
    text[65535] = 'a';
    text[65536] = 0;
    assert_bad(&config, "response_information");
    config.response_information = "\xff";
    assert_bad(&config, "response_information");
    free(text);
}

static void a_struct_that_was_not_initialised_is_refused(void **state)
{
    (void)state;
    struct mqtt5_broker_config config = defaults();
    config.struct_size = 0;
    assert_bad(&config, "call mqtt5_broker_config_init()");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_good_and_as_documented),
        cmocka_unit_test(each_number_is_checked_at_its_limits),
        cmocka_unit_test(response_information_is_a_string_of_mqtt),
        cmocka_unit_test(a_struct_that_was_not_initialised_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
