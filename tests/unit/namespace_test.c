/* Namespaces: for each rule what it takes and what it refuses, and why and where.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/unit.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "support/seed.h"

#include <mqtt5/namespace.h>
#include <mqtt5/topic.h>

#include <stdio.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

enum use { NAME, FILTER };

/* One text; `why` NULL: it is taken. */
struct example {
    enum use use;
    const char *text;
    const char *why; /* as mqtt5_namespace_explain() tells it */
};

static enum mqtt5_error check(const struct mqtt5_namespace_rules *rules, enum use use,
                              struct mqtt5_bytes text, struct mqtt5_namespace_fault *fault)
{
    return use == NAME ? mqtt5_namespace_check_topic(rules, text, fault)
                       : mqtt5_namespace_check_filter(rules, text, fault);
}

static void check_examples(const struct mqtt5_namespace_rules *rules,
                           const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct example *example = &examples[i];
        struct mqtt5_namespace_fault fault = {.rule = "nothing is wrong"};
        char why[MQTT5_NAMESPACE_EXPLAIN_MAX] = "";
        const enum mqtt5_error error =
            check(rules, example->use, m5_bytes_of(example->text), &fault);
        assert_int_equal(check(rules, example->use, m5_bytes_of(example->text), NULL), error);
        if (error != MQTT5_OK) {
            assert_int_equal(fault.error, error);
            assert_true(mqtt5_namespace_explain(&fault, why, sizeof why) < sizeof why);
        } else {
            assert_string_equal(fault.rule, "nothing is wrong"); /* it was not touched */
        }
        if (strcmp(why, example->why == NULL ? "" : example->why) != 0)
            fail_msg("%s \"%s\": \"%s\" instead of \"%s\"",
                     example->use == NAME ? "name" : "filter", example->text, why,
                     example->why == NULL ? "" : example->why);
    }
}

static struct mqtt5_namespace_rules rules_of(enum mqtt5_namespace kind, const char *device_id)
{
    struct mqtt5_namespace_rules rules;
    mqtt5_namespace_rules_init(&rules, kind);
    rules.device_id = device_id;
    assert_int_equal(mqtt5_namespace_rules_check(&rules), MQTT5_OK);
    return rules;
}

/* [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2] */
static void test_standard_is_the_protocol(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {NAME, "a", NULL},
        {NAME, "/", NULL},
        {NAME, "a//b c/é/\U0001F600", NULL},
        {NAME, "$SYS/broker/version", NULL},
        {NAME, "$aws/anything", NULL},
        {NAME, "", "the topic name is empty: at byte 0"},
        {NAME, "a/+", "a topic name contains a wildcard: U+002B '+' at byte 2"},
        {NAME, "é/b#", "a topic name contains a wildcard: U+0023 '#' at byte 4"},
        {NAME, "a/\xC3", "a string is not well-formed UTF-8: at byte 2"},
        {NAME, "\xC3\xA9/\xED\xA0\x80/x", "a string is not well-formed UTF-8: at byte 3"},
        {FILTER, "#", NULL},
        {FILTER, "+/+/#", NULL},
        {FILTER, "$share/g/a/+", NULL},
        {FILTER, "", "the topic filter is empty: at byte 0"},
        {FILTER, "a/b#", "a wildcard is not where it may be: U+0023 '#' at byte 3"},
        {FILTER, "+/#/a", "a wildcard is not where it may be: U+0023 '#' at byte 2"},
        {FILTER, "$share/g/a/+b", "a wildcard is not where it may be: U+002B '+' at byte 11"},
        {FILTER, "$share/g", "the $share name or its filter is not valid: at byte 8"},
        {FILTER, "a\xFF", "a string is not well-formed UTF-8: at byte 1"},
    };
    const struct mqtt5_namespace_rules rules = rules_of(MQTT5_NAMESPACE_STANDARD, NULL);
    check_examples(&rules, examples, COUNT_OF(examples));
    struct mqtt5_namespace_fault fault;
    assert_int_equal(mqtt5_namespace_check_topic(&rules, m5_bytes("a\0b", 3), &fault),
                     MQTT5_ERR_UTF8_NUL);
    assert_int_equal(fault.offset, 1);
    assert_int_equal(mqtt5_namespace_check_topic(&rules, m5_bytes(NULL, 0), &fault),
                     MQTT5_ERR_TOPIC_EMPTY);
}

static void test_restrictive_takes_letters_digits_and_some_marks(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {NAME, "Plant-1/line_2/t.max:x@y=z,9", NULL},
        {NAME, "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", NULL},
        {NAME, "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17",
         "more levels than the namespace allows: U+0031 '1' at byte 39"},
        {NAME, "a b", "a character that the namespace does not allow: U+0020 at byte 1"},
        {NAME, "ab/é", "a character that the namespace does not allow: U+00E9 at byte 3"},
        {NAME, "a/\U0001F600", "a character that the namespace does not allow: U+1F600 at byte 2"},
        {NAME, "a/€", "a character that the namespace does not allow: U+20AC at byte 2"},
        {NAME, "$me", "a character that the namespace does not allow: U+0024 '$' at byte 0"},
        {NAME, "a[", "a character that the namespace does not allow: U+005B '[' at byte 1"},
        {NAME, "a{", "a character that the namespace does not allow: U+007B '{' at byte 1"},
        {NAME, "a`", "a character that the namespace does not allow: U+0060 '`' at byte 1"},
        {NAME, "a\x01", "a character that the namespace does not allow: U+0001 at byte 1"},
        {NAME, "a//b", "an empty level: U+002F '/' at byte 2"},
        {NAME, "/a", "an empty level: U+002F '/' at byte 0"},
        {NAME, "a/", "an empty level: at byte 2"},
        {FILTER, "a/+/b/#", NULL},
        {FILTER, "$share/group/a/+", NULL},
        {FILTER, "$share/g/a//b", "an empty level: U+002F '/' at byte 11"},
        {FILTER, "a!/#", "a character that the namespace does not allow: U+0021 '!' at byte 1"},
        {FILTER, "$SYS/#", "a system topic: U+0024 '$' at byte 0"},
    };
    const struct mqtt5_namespace_rules rules = rules_of(MQTT5_NAMESPACE_RESTRICTIVE, NULL);
    check_examples(&rules, examples, COUNT_OF(examples));
}

/* A name of @p size bytes with a slash at every tenth. */
static struct mqtt5_bytes long_name(char *out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = i % 40 == 39 ? '/' : 'x';
    return m5_bytes(out, size);
}

static void test_sizes_are_limits_to_the_byte(void **state)
{
    (void)state;
    char text[300];
    struct mqtt5_namespace_fault fault;
    struct mqtt5_namespace_rules rules = rules_of(MQTT5_NAMESPACE_RESTRICTIVE, NULL);
    assert_int_equal(check(&rules, NAME, long_name(text, 256), NULL), MQTT5_OK);
    assert_int_equal(check(&rules, NAME, long_name(text, 257), &fault), MQTT5_ERR_NOT_AUTHORIZED);
    assert_int_equal(fault.offset, 256);
    assert_string_equal(fault.rule, "longer than the namespace allows");

    memset(text, 'x', sizeof text); /* one level */
    assert_int_equal(check(&rules, NAME, m5_bytes(text, 64), NULL), MQTT5_OK);
    assert_int_equal(check(&rules, NAME, m5_bytes(text, 65), &fault), MQTT5_ERR_NOT_AUTHORIZED);
    assert_int_equal(fault.offset, 64);

    rules.size_max = 10;
    assert_int_equal(check(&rules, FILTER, m5_bytes(text, 10), NULL), MQTT5_OK);
    assert_int_equal(check(&rules, FILTER, m5_bytes(text, 11), NULL), MQTT5_ERR_NOT_AUTHORIZED);

    struct mqtt5_namespace_rules standard = rules_of(MQTT5_NAMESPACE_STANDARD, NULL);
    assert_int_equal(check(&standard, NAME, long_name(text, 300), NULL), MQTT5_OK);
    standard.levels_max = 2;
    assert_int_equal(check(&standard, NAME, m5_bytes_of("a/b"), NULL), MQTT5_OK);
    assert_int_equal(check(&standard, NAME, m5_bytes_of("a/b/c"), &fault), MQTT5_ERR_TOPIC_LEVELS);
    assert_int_equal(fault.offset, 4);
    assert_int_equal(check(&standard, FILTER, m5_bytes_of("a/b/#"), NULL), MQTT5_ERR_FILTER_LEVELS);
}

/* A limit in the midst of a character names the character, not half of it. */
static void test_an_offset_is_the_beginning_of_a_character(void **state)
{
    (void)state;
    struct mqtt5_namespace_fault fault;
    struct mqtt5_namespace_rules rules = rules_of(MQTT5_NAMESPACE_STANDARD, NULL);
    rules.size_max = 4;
    assert_int_equal(check(&rules, NAME, m5_bytes_of("abc€"), &fault), MQTT5_ERR_NOT_AUTHORIZED);
    assert_int_equal(fault.offset, 3);
    assert_int_equal(fault.character, 0x20AC);
}

#define AWS_KEEPS "AWS IoT keeps this topic for itself, or for another thing: "

static void test_aws_iot(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {NAME, "sensors/room 1/t", NULL},
        {NAME, "1/2/3/4/5/6/7/8", NULL},
        {NAME, "1/2/3/4/5/6/7/8/9", "more levels than the namespace allows: U+0039 '9' at byte 16"},
        {NAME, "$aws/things/dev/shadow/update", NULL},
        {NAME, "$aws/things/dev/shadow/get", NULL},
        {NAME, "$aws/things/dev/shadow/delete", NULL},
        {NAME, "$aws/things/dev/shadow/name/s1/update", NULL},
        {NAME, "$aws/things/dev/jobs/get", NULL},
        {NAME, "$aws/things/dev/jobs/start-next", NULL},
        {NAME, "$aws/things/dev/jobs/j1/update", NULL},
        {NAME, "$aws/things/dev/streams/s/get/json", NULL},
        {NAME, "$aws/things/dev/defender/metrics/json", NULL},
        {NAME, "$aws/rules/rule1/a/b", NULL},
        {NAME, "$aws/rules/rule1/1/2/3/4/5/6/7/8", NULL},
        {NAME, "$aws/rules/rule1/1/2/3/4/5/6/7/8/9",
         "more levels than the namespace allows: U+0039 '9' at byte 33"},
        {NAME, "$aws/rules/rule1", AWS_KEEPS "at byte 16"},
        {NAME, "$aws/things/dev/shadow/update/accepted", AWS_KEEPS "U+0061 'a' at byte 30"},
        {NAME, "$aws/things/dev/shadow/name/s1/delta", AWS_KEEPS "U+0064 'd' at byte 31"},
        {NAME, "$aws/things/dev/jobs/notify-next", AWS_KEEPS "at byte 32"},
        {NAME, "$aws/things/other/shadow/update", AWS_KEEPS "U+006F 'o' at byte 12"},
        {NAME, "$aws/things/device/shadow/update", AWS_KEEPS "U+0064 'd' at byte 12"},
        {NAME, "$aws/certificates/create/json", AWS_KEEPS "U+0063 'c' at byte 5"},
        {NAME, "$aws/provisioning-templates/t/provision/json", AWS_KEEPS "U+0070 'p' at byte 5"},
        {NAME, "$other", AWS_KEEPS "U+0024 '$' at byte 0"},
        {NAME, "$SYS/x", "a system topic: U+0024 '$' at byte 0"},
        {FILTER, "sensors/#", NULL},
        {FILTER, "#", NULL},
        {FILTER, "$share/g/sensors/#", NULL},
        {FILTER, "$aws/things/dev/shadow/update/accepted", NULL},
        {FILTER, "$aws/things/dev/#", NULL},
        {FILTER, "$aws/things/dev/jobs/+/get/+", NULL},
        {FILTER, "$aws/events/presence/connected/+", NULL},
        {FILTER, "$aws/things/+/shadow/update", AWS_KEEPS "U+002B '+' at byte 12"},
        {FILTER, "$aws/things/#", AWS_KEEPS "U+0023 '#' at byte 12"},
        {FILTER, "$aws/#", AWS_KEEPS "U+0023 '#' at byte 5"},
        {FILTER, "$share/g/$aws/certificates/#", AWS_KEEPS "U+0063 'c' at byte 14"},
        {FILTER, "$SYS/#", "a system topic: U+0024 '$' at byte 0"},
    };
    const struct mqtt5_namespace_rules rules = rules_of(MQTT5_NAMESPACE_AWS_IOT, "dev");
    check_examples(&rules, examples, COUNT_OF(examples));
    char text[300];
    assert_int_equal(check(&rules, NAME, long_name(text, 256), NULL), MQTT5_OK);
    assert_int_equal(check(&rules, NAME, long_name(text, 257), NULL), MQTT5_ERR_NOT_AUTHORIZED);
}

static void test_aws_iot_without_a_thing(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {NAME, "a/b", NULL},
        {NAME, "$aws/rules/r/a", NULL},
        {NAME, "$aws/things/dev/shadow/update", AWS_KEEPS "U+0064 'd' at byte 12"},
        {FILTER, "$aws/things/dev/#", AWS_KEEPS "U+0064 'd' at byte 12"},
    };
    const struct mqtt5_namespace_rules rules = rules_of(MQTT5_NAMESPACE_AWS_IOT, NULL);
    check_examples(&rules, examples, COUNT_OF(examples));
}

#define AZURE_NONE "Azure IoT Hub has no such topic for this device: "

static void test_azure_iot(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {NAME, "devices/d1/messages/events/", NULL},
        {NAME, "devices/d1/messages/events/a=1&b=2", NULL},
        {NAME, "devices/d1/modules/m/messages/events/", NULL},
        {NAME, "$iothub/twin/GET/?$rid=1", NULL},
        {NAME, "$iothub/twin/PATCH/properties/reported/?$rid=2", NULL},
        {NAME, "$iothub/methods/res/200/?$rid=3", NULL},
        {NAME, "devices/d1/messages/events", AZURE_NONE "at byte 26"},
        {NAME, "devices/d2/messages/events/", AZURE_NONE "U+0064 'd' at byte 8"},
        {NAME, "devices/d1/modules//messages/events/", AZURE_NONE "U+002F '/' at byte 19"},
        {NAME, "my/topic", AZURE_NONE "U+006D 'm' at byte 0"},
        {NAME, "$iothub/twin/GET/", AZURE_NONE "at byte 17"},
        {NAME, "$iothub/methods/POST/reboot/", AZURE_NONE "U+0050 'P' at byte 16"},
        {FILTER, "devices/d1/messages/devicebound/#", NULL},
        {FILTER, "$iothub/twin/res/#", NULL},
        {FILTER, "$iothub/twin/PATCH/properties/desired/#", NULL},
        {FILTER, "$iothub/methods/POST/#", NULL},
        {FILTER, "$iothub/methods/POST/reboot/+", NULL},
        {FILTER, "devices/d1/modules/m/#", NULL},
        {FILTER, "#", AZURE_NONE "U+0023 '#' at byte 0"},
        {FILTER, "devices/+/messages/devicebound/#", AZURE_NONE "U+002B '+' at byte 8"},
        {FILTER, "$share/g/$iothub/twin/res/#",
         "the service has no shared subscriptions: U+0024 '$' at byte 0"},
    };
    const struct mqtt5_namespace_rules rules = rules_of(MQTT5_NAMESPACE_AZURE_IOT, "d1");
    check_examples(&rules, examples, COUNT_OF(examples));
}

#define GOOGLE_NONE "Google Cloud IoT has no such topic for this device: "

static void test_google_iot(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {NAME, "/devices/d1/events", NULL},
        {NAME, "/devices/d1/events/alerts/fire", NULL},
        {NAME, "/devices/d1/state", NULL},
        {NAME, "/devices/d1/state/x", GOOGLE_NONE "U+0078 'x' at byte 18"},
        {NAME, "/devices/d1/config", GOOGLE_NONE "U+0063 'c' at byte 12"},
        {NAME, "devices/d1/events", GOOGLE_NONE "U+0064 'd' at byte 0"},
        {FILTER, "/devices/d1/config", NULL},
        {FILTER, "/devices/d1/errors", NULL},
        {FILTER, "/devices/d1/commands/#", NULL},
        {FILTER, "/devices/d1/commands/light/+", NULL},
        {FILTER, "/devices/d1/#", GOOGLE_NONE "U+0023 '#' at byte 12"},
        {FILTER, "/devices/d1/commands", GOOGLE_NONE "at byte 20"},
        {FILTER, "$share/g//devices/d1/config",
         "the service has no shared subscriptions: U+0024 '$' at byte 0"},
    };
    const struct mqtt5_namespace_rules rules = rules_of(MQTT5_NAMESPACE_GOOGLE_IOT, "d1");
    check_examples(&rules, examples, COUNT_OF(examples));
    const struct mqtt5_namespace_rules none = rules_of(MQTT5_NAMESPACE_GOOGLE_IOT, NULL);
    assert_int_equal(check(&none, NAME, m5_bytes_of("/devices/d1/events"), NULL),
                     MQTT5_ERR_NOT_AUTHORIZED);
}

static void test_system_topics_and_reserved_prefixes(void **state)
{
    (void)state;
    static const char *const reserved[] = {"internal/", "private"};
    static const struct example examples[] = {
        {FILTER, "$SYS/#", NULL},
        {NAME, "$SYS", NULL},
        {NAME, "$SYSTEM", AWS_KEEPS "U+0024 '$' at byte 0"},
        {NAME, "internal", NULL},
        {NAME, "internal/x", "a reserved prefix: U+0069 'i' at byte 0"},
        {NAME, "privates", "a reserved prefix: U+0070 'p' at byte 0"},
        {NAME, "x/private", NULL},
        {FILTER, "$share/g/private/#", "a reserved prefix: U+0070 'p' at byte 9"},
    };
    struct mqtt5_namespace_rules rules = rules_of(MQTT5_NAMESPACE_AWS_IOT, NULL);
    rules.system_topics = true;
    rules.reserved_prefixes = reserved;
    rules.reserved_prefix_count = COUNT_OF(reserved);
    check_examples(&rules, examples, COUNT_OF(examples));
}

static void test_rules_that_cannot_be_used(void **state)
{
    (void)state;
    static const char *const ids[] = {"", "a/b", "a+", "#", "a\xFF"};
    struct mqtt5_namespace_rules rules;
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        mqtt5_namespace_rules_init(&rules, MQTT5_NAMESPACE_AWS_IOT);
        rules.device_id = ids[i];
        assert_int_equal(mqtt5_namespace_rules_check(&rules), MQTT5_ERR_CONFIG);
        assert_int_equal(check(&rules, NAME, m5_bytes_of("a"), NULL), MQTT5_ERR_CONFIG);
    }
    mqtt5_namespace_rules_init(&rules, (enum mqtt5_namespace)99);
    assert_int_equal(mqtt5_namespace_rules_check(&rules), MQTT5_ERR_CONFIG);
    mqtt5_namespace_rules_init(&rules, MQTT5_NAMESPACE_STANDARD);
    rules.reserved_prefix_count = 1;
    assert_int_equal(mqtt5_namespace_rules_check(&rules), MQTT5_ERR_CONFIG);
    mqtt5_namespace_rules_init(&rules, MQTT5_NAMESPACE_STANDARD);
    rules.struct_size = 0;
    assert_int_equal(mqtt5_namespace_rules_check(&rules), MQTT5_ERR_CONFIG);
}

static void test_an_explanation_is_cut_and_counted(void **state)
{
    (void)state;
    const struct mqtt5_namespace_fault fault = {.rule = "bad", .offset = 65535, .character = 'x'};
    char out[32];
    memset(out, '!', sizeof out);
    assert_int_equal(mqtt5_namespace_explain(&fault, out, 8),
                     strlen("bad: U+0078 'x' at byte 65535"));
    assert_string_equal(out, "bad: U+");
    assert_int_equal(out[8], '!');
    assert_int_equal(mqtt5_namespace_explain(&fault, out, sizeof out), 29);
    assert_string_equal(out, "bad: U+0078 'x' at byte 65535");
}

static void test_endpoints_of_aws_iot(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool is;
    } cases[] = {
        {"abc123-ats.iot.eu-west-1.amazonaws.com", true},
        {"ABC123-ATS.IoT.eu-west-1.AmazonAWS.com.", true},
        {"abc123.iot.cn-north-1.amazonaws.com.cn", true},
        {"abc.iot-fips.us-gov-west-1.amazonaws.com", true},
        {"abc.ats.iot.us-east-1.amazonaws.com", true},
        {"iot.eu-west-1.amazonaws.com", false}, /* where things are managed */
        {"abc.iot.amazonaws.com", false},
        {".iot.eu-west-1.amazonaws.com", false},
        {"abc.iot.eu-west-1.amazonaws.com.evil.org", false},
        {"abc.iot.eu-west-1.notamazonaws.com", false},
        {"s3.eu-west-1.amazonaws.com", false},
        {"localhost", false},
        {"", false},
        {".", false},
        {NULL, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (mqtt5_host_is_aws_iot(cases[i].host) != cases[i].is)
            fail_msg("%s", cases[i].host);
    }
}

/* Whatever the rules, what they take is valid, and a fault lies within the text. */
static void test_any_bytes_are_judged_within_their_bounds(void **state)
{
    (void)state;
    static const char *const parts[] = {"$aws",    "things",  "dev",    "/",      "/",    "/",
                                        "+",       "#",       "$SYS",   "é",      "€",    "\xFF",
                                        "$share/", "devices", "shadow", "update", "\x01", "x"};
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(7));
    unsigned taken = 0;
    for (unsigned round = 0; round < 40000; round++) {
        char text[80];
        size_t size = 0;
        for (uint64_t i = m5_rng_below(&rng, 9); i > 0; i--) {
            const char *part = parts[m5_rng_below(&rng, COUNT_OF(parts))];
            memcpy(text + size, part, strlen(part));
            size += strlen(part);
        }
        const enum use use = round % 2 == 0 ? NAME : FILTER;
        struct mqtt5_namespace_rules rules =
            rules_of((enum mqtt5_namespace)m5_rng_below(&rng, 5), "dev");
        rules.size_max = (uint32_t)m5_rng_below(&rng, 40);
        struct mqtt5_namespace_fault fault;
        struct mqtt5_filter filter;
        const struct mqtt5_bytes bytes = m5_bytes(text, size);
        if (check(&rules, use, bytes, &fault) == MQTT5_OK) {
            taken++;
            assert_int_equal(use == NAME ? mqtt5_topic_check(bytes, UINT32_MAX)
                                         : mqtt5_filter_parse(bytes, UINT32_MAX, &filter),
                             MQTT5_OK);
        } else {
            assert_true(fault.offset <= size);
            assert_true(fault.character == 0 || fault.offset < size);
            assert_non_null(fault.rule);
        }
    }
    assert_true(taken > 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_standard_is_the_protocol),
        cmocka_unit_test(test_restrictive_takes_letters_digits_and_some_marks),
        cmocka_unit_test(test_sizes_are_limits_to_the_byte),
        cmocka_unit_test(test_an_offset_is_the_beginning_of_a_character),
        cmocka_unit_test(test_aws_iot),
        cmocka_unit_test(test_aws_iot_without_a_thing),
        cmocka_unit_test(test_azure_iot),
        cmocka_unit_test(test_google_iot),
        cmocka_unit_test(test_system_topics_and_reserved_prefixes),
        cmocka_unit_test(test_rules_that_cannot_be_used),
        cmocka_unit_test(test_an_explanation_is_cut_and_counted),
        cmocka_unit_test(test_endpoints_of_aws_iot),
        cmocka_unit_test(test_any_bytes_are_judged_within_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
