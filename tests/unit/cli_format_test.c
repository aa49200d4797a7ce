/* The language of `sub --format`, and JSON: every letter, flag and mistake, on one message.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/format.h"
#include "cli/json.h"
#include "cli/print.h"
#include "support/unit.h"

#include <mqtt5/packet.h>

#include <stdlib.h>
#include <string.h>

static const struct timespec at = {.tv_sec = 1795361489, .tv_nsec = 123456789};

static struct mqtt5_bytes bytes_of(const char *text)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

static struct mqtt5_bytes payload;
static bool has_properties;
static uint8_t wire[512];

/* Encodes a message and decodes it again, so that it has properties as they come in. */
static struct mqtt5_publish make_message(void)
{
    static const struct mqtt5_user_property users[] = {
        {{(const uint8_t *)"a", 1}, {(const uint8_t *)"1", 1}},
        {{(const uint8_t *)"b", 1}, {(const uint8_t *)"x y", 3}}};
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    struct mqtt5_publish *publish = &packet.as.publish, out;
    struct mqtt5_properties *properties = &publish->properties;
    struct mqtt5_decode_limits limits;
    struct mqtt5_frame frame;
    publish->topic = bytes_of("f/topic");
    publish->payload = payload;
    publish->qos = 1;
    publish->retain = true;
    publish->packet_id = 7;
    if (has_properties) {
        properties->content_type = bytes_of("text/plain");
        properties->response_topic = bytes_of("re/ply");
        properties->correlation_data = bytes_of("corr");
        properties->message_expiry_interval_s = 100;
        properties->payload_format_indicator = 1;
        properties->subscription_identifier = 77;
        properties->topic_alias = 3;
        properties->user_property = (struct mqtt5_user_properties){.items = users, .count = 2};
        MQTT5_SET(properties, CONTENT_TYPE);
        MQTT5_SET(properties, RESPONSE_TOPIC);
        MQTT5_SET(properties, CORRELATION_DATA);
        MQTT5_SET(properties, MESSAGE_EXPIRY_INTERVAL);
        MQTT5_SET(properties, PAYLOAD_FORMAT_INDICATOR);
        MQTT5_SET(properties, SUBSCRIPTION_IDENTIFIER);
        MQTT5_SET(properties, TOPIC_ALIAS);
        MQTT5_SET(properties, USER_PROPERTY);
    }
    const size_t size = mqtt5_packet_size(&packet, MQTT5_VERSION_5);
    assert_in_range(size, 1, sizeof wire);
    mqtt5_packet_write(&packet, MQTT5_VERSION_5, wire, size);
    mqtt5_decode_limits_init(&limits);
    assert_int_equal(
        mqtt5_frame_read((struct mqtt5_bytes){.data = wire, .len = size}, (uint32_t)size, &frame),
        MQTT5_OK);
    assert_int_equal(mqtt5_publish_decode(&frame, MQTT5_VERSION_5, &limits, &out), MQTT5_OK);
    return out;
}

static char *output;
static size_t output_size;

/* Prints the message by @p text; the result is in `output`. */
static bool print(const char *text)
{
    const struct mqtt5_publish message = make_message();
    struct cli_format format;
    char error[256];
    free(output);
    FILE *out = open_memstream(&output, &output_size);
    assert_true(cli_format_read(text, &format, error, sizeof error));
    const bool ok = cli_format_print(out, &format, &message, at);
    cli_format_free(&format);
    fclose(out);
    return ok;
}

struct example {
    const char *format, *expected;
};

static void expect(const struct example *examples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_true(print(examples[i].format));
        if (strcmp(output, examples[i].expected) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", examples[i].format, output, examples[i].expected);
    }
}

static void every_letter_prints_its_part(void **state)
{
    static const struct example examples[] = {
        {"A=%A C=%C D=%D E=%E F=%F", "A=3 C=text/plain D=corr E=100 F=1"},
        {"P=%P R=%R S=%S", "P=a:1 b:x y R=re/ply S=77"},
        {"%t|%p|%l|%q|%r|%m", "f/topic|hello|5|1|1|7"},
        {"%x %X", "68656c6c6f 68656C6C6F"},
        {"%% %5%", "% %"},
        {"%U", "1795361489.123456789"},
        {"@N", "123456789"},
        {"@@", "@"},
        {"a\\n\\r\\t\\a\\e\\v\\\\b", "a\n\r\t\a\033\v\\b"},
        {"", ""},
    };
    (void)state;
    payload = bytes_of("hello");
    has_properties = true;
    expect(examples, sizeof examples / sizeof *examples);
    assert_true(print("a\\0b"));
    assert_int_equal(output_size, 3);
    assert_memory_equal(output, "a\0b", 3);
}

static void widths_and_flags_pad_and_cut(void **state)
{
    static const struct example examples[] = {
        {"%10t|%-10t|%.3t|%10.3t|%-10.3t|%010t|", "   f/topic|f/topic   |f/t|       f/t|"
                                                  "f/t       |   f/topic|"},
        {"%5l|%05l|%-5l|%-05l|%0-5l|", "    5|00005|5    |5    |5    |"},
        {"%5A|%05E|%-8E|%3F|", "    3|00100|100     |  1|"},
        {"%12C|%-12C|%.2C|%012C|", "  text/plain|text/plain  |te|  text/plain|"},
        {"%8R|%.2R|", "  re/ply|re|"},
        {"%5m|%05S|", "    7|00077|"},
        {"%7p|%-7p|%2p|%07p|", "  hello|hello  |hello|00hello|"},
        {"%12x|%-12X|%2x|", "  68656c6c6f|68656C6C6F  |68656c6c6f|"},
    };
    (void)state;
    payload = bytes_of("hello");
    has_properties = true;
    expect(examples, sizeof examples / sizeof *examples);
}

static void what_is_missing_is_blank(void **state)
{
    static const struct example examples[] = {
        {"%A|%C|%D|%E|%F|%P|%R|%S|", "||||||||"},
        {"%5A|%05E|%-5S|%5C|%5R|", "     |00000|     |     ||"},
        {"%p|%x|%l|", "||0|"},
    };
    (void)state;
    payload = bytes_of("");
    has_properties = false;
    expect(examples, sizeof examples / sizeof *examples);
}

static void times_are_local(void **state)
{
    static const struct example examples[] = {
        {"%I", "2026-11-22T16:31:29+0100"},
        {"%25I|%-25I|%.10I", " 2026-11-22T16:31:29+0100|2026-11-22T16:31:29+0100 |2026-11-22"},
        {"@Y-@m-@d @H:@M:@S @z", "2026-11-22 16:31:29 +0100"},
    };
    (void)state;
    setenv("TZ", "XYZ-1", 1);
    tzset();
    expect(examples, sizeof examples / sizeof *examples);
    setenv("TZ", "UTC", 1);
    tzset();
}

static void json_holds_all_of_it(void **state)
{
    (void)state;
    has_properties = true;
    payload = bytes_of("say \"h\"\n\x01\xC3\xA9\xFF");
    assert_true(print("%j"));
    assert_string_equal(
        output, "{\"tst\":\"2026-11-22T15:31:29.123456+0000\",\"topic\":\"f/topic\",\"qos\":1,"
                "\"retain\":1,\"payloadlen\":12,\"mid\":7,\"properties\":{"
                "\"payload-format-indicator\":1,\"message-expiry-interval\":100,"
                "\"content-type\":\"text/plain\",\"response-topic\":\"re/ply\","
                "\"correlation-data\":\"corr\",\"subscription-identifier\":77,\"topic-alias\":3,"
                "\"user-properties\":{\"a\":\"1\",\"b\":\"x y\"}},"
                "\"payload\":\"say \\\"h\\\"\\n\\u0001\xC3\xA9\\ufffd\"}");
    has_properties = false;
    payload = bytes_of(" { \"a\" : [ 1 , -2.50e+3 , \"x \\u00e9\" ] } ");
    assert_true(print("%J"));
    assert_string_equal(output,
                        "{\"tst\":\"2026-11-22T15:31:29.123456+0000\",\"topic\":\"f/topic\","
                        "\"qos\":1,\"retain\":1,\"payloadlen\":41,\"mid\":7,"
                        "\"payload\":{\"a\":[1,-2.50e+3,\"x \\u00e9\"]}}");
    payload = bytes_of("{\"a\":}");
    assert_false(print("<%J>"));
    assert_string_equal(output, "<>");
}

static void mistakes_in_a_format_are_named(void **state)
{
    static const struct example mistakes[] = {
        {"%", "within a parameter"},   {"%5", "within a parameter"},
        {"%i", "%i, and there is no"}, {"%.-5l", "%-, and there is no"},
        {"@", "behind a @"},           {"@Q", "@Q, and strftime"},
        {"\\", "behind a backslash"},  {"\\q", "\\q, which means nothing"},
        {"%99999999t", "over 1000000"}};
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct cli_format format;
        char error[256] = "";
        assert_false(cli_format_read(mistakes[i].format, &format, error, sizeof error));
        if (strstr(error, mistakes[i].expected) == NULL)
            fail_msg("%s: %s", mistakes[i].format, error);
        cli_format_free(&format);
    }
}

static void json_is_told_from_what_is_none(void **state)
{
    static const char *const good[] = {"null",
                                       "true",
                                       "false",
                                       "0",
                                       "-0.5e-3",
                                       "\"\"",
                                       "[]",
                                       "{}",
                                       "[[[]]]",
                                       "[1,2]",
                                       "{\"a\":{\"b\":[{}]},\"c\":1}",
                                       "\"\\\\\\\"\\/\\b\\u00Af\"",
                                       "\t[ ]\n"};
    static const char *const bad[] = {
        "",        " ",          "nul",       "tru",   "01",      "-",           "1.",
        ".5",      "1e",         "+1",        "\"",    "\"\\x\"", "\"\\u12g4\"", "\"\n\"",
        "[",       "]",          "[1,]",      "[1 2]", "[,1]",    "{",           "{a:1}",
        "{\"a\"}", "{\"a\":1,}", "{\"a\":1]", "[1}",   "1 2",     "nullx",       "\"\xFF\""};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!cli_json_check(bytes_of(good[i])))
            fail_msg("refused: %s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (cli_json_check(bytes_of(bad[i])))
            fail_msg("taken: %s", bad[i]);
    }
}

static void json_may_be_nested_to_a_limit(void **state)
{
    static char text[4 * CLI_JSON_DEPTH_MAX];
    (void)state;
    for (size_t depth = CLI_JSON_DEPTH_MAX; depth <= CLI_JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = 0;
        assert_int_equal(cli_json_check(bytes_of(text)), depth == CLI_JSON_DEPTH_MAX);
    }
}

static void payloads_are_printed_in_other_forms(void **state)
{
    static const struct {
        struct cli_print_style style;
        const char *expected;
    } cases[] = {
        {{.form = CLI_PRINT_RAW}, "\xFF\x01z\n"},
        {{.form = CLI_PRINT_RAW, .no_line_end = true}, "\xFF\x01z"},
        {{.form = CLI_PRINT_RAW, .payload = CLI_PAYLOAD_HEX}, "ff017a\n"},
        {{.form = CLI_PRINT_VERBOSE, .payload = CLI_PAYLOAD_BASE64}, "f/topic: /wF6\n"},
        {{.form = CLI_PRINT_JSON},
         "{\"topic\":\"f/topic\",\"qos\":1,\"retain\":true,\"dup\":false,"
         "\"payload_base64\":\"/wF6\",\"received_at\":\"2026-11-22T15:31:29.123456Z\"}\n"},
    };
    (void)state;
    has_properties = false;
    payload = bytes_of("\xFF\x01z");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mqtt5_publish message = make_message();
        free(output);
        FILE *out = open_memstream(&output, &output_size);
        assert_true(cli_print_message(out, &message, &cases[i].style, at));
        fclose(out);
        assert_string_equal(output, cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_letter_prints_its_part),
        cmocka_unit_test(widths_and_flags_pad_and_cut),
        cmocka_unit_test(what_is_missing_is_blank),
        cmocka_unit_test(times_are_local),
        cmocka_unit_test(json_holds_all_of_it),
        cmocka_unit_test(mistakes_in_a_format_are_named),
        cmocka_unit_test(json_is_told_from_what_is_none),
        cmocka_unit_test(json_may_be_nested_to_a_limit),
        cmocka_unit_test(payloads_are_printed_in_other_forms),
    };
    setenv("TZ", "UTC", 1);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(output);
    return failed;
}
