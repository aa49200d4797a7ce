/* Log lines: their shape, and that no client can forge or flood them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/log.h"

#include "base/bytes.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the log has written. */
struct capture {
    char line[M5_LOG_LINE_MAX];
    char event[64];
    unsigned lines, reports;
    enum mqtt5_log_level level;
};

static void take_line(void *ctx, enum mqtt5_log_level level, const char *event, const char *line)
{
    struct capture *capture = (struct capture *)ctx;
    assert_true(strlen(line) < sizeof capture->line);
    memcpy(capture->line, line, strlen(line) + 1);
    memcpy(capture->event, event, strlen(event) + 1);
    capture->level = level;
    capture->lines++;
    capture->reports += strcmp(event, "log.suppressed") == 0;
}

struct fixture {
    struct capture capture;
    struct m5_log_sink sink;
    struct m5_log log;
};

static struct fixture *start(bool json, enum mqtt5_log_level level)
{
    struct fixture *fixture = (struct fixture *)calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    const struct mqtt5_broker_options options = {
        .log_level = level, .log_json = json, .log = take_line, .log_ctx = &fixture->capture};
    m5_log_sink_init(&fixture->sink, &options);
    m5_log_init(&fixture->log, &fixture->sink);
    return fixture;
}

static void stop(struct fixture *fixture)
{
    m5_log_sink_fini(&fixture->sink);
    free(fixture);
}

static void write_line(struct m5_log *log, struct mqtt5_bytes client)
{
    assert_true(m5_log_begin(log, M5_LOG_CLIENT_CONNECTED));
    m5_log_text(log, "client", client);
    m5_log_word(log, "peer", "127.0.0.1:4242");
    m5_log_number(log, "version", 5);
    m5_log_end(log);
}

/* "2026-11-22T12:00:00.123Z" with any digits. */
static void assert_time(const char *text)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    for (size_t i = 0; i < sizeof shape - 1; i++) {
        if (shape[i] == 'd')
            assert_in_range(text[i], '0', '9');
        else
            assert_int_equal(text[i], shape[i]);
    }
}

static void a_text_line_has_time_level_event_and_fields(void **state)
{
    (void)state;
    struct fixture *fixture = start(false, MQTT5_LOG_INFO);
    write_line(&fixture->log, m5_bytes_of("a"));
    assert_time(fixture->capture.line);
    assert_string_equal(fixture->capture.line + 24,
                        " info client.connected client=\"a\" peer=127.0.0.1:4242 version=5");
    assert_string_equal(fixture->capture.event, "client.connected");
    assert_int_equal(fixture->capture.level, MQTT5_LOG_INFO);
    stop(fixture);
}

static void a_json_line_is_an_object(void **state)
{
    (void)state;
    struct fixture *fixture = start(true, MQTT5_LOG_INFO);
    write_line(&fixture->log, m5_bytes_of("a\"b"));
    assert_memory_equal(fixture->capture.line, "{\"time\":\"", 9);
    assert_time(fixture->capture.line + 9);
    assert_string_equal(fixture->capture.line + 33,
                        "\",\"level\":\"info\",\"event\":\"client.connected\","
                        "\"client\":\"a\\\"b\",\"peer\":\"127.0.0.1:4242\",\"version\":5}");
    stop(fixture);
}

static void what_could_forge_a_line_is_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *value, *text, *json;
    } cases[] = {
        {"plain \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "plain \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
         "plain \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"a\nb\r\t", "a\\nb\\r\\t", "a\\nb\\r\\t"},
        {"\" x=\"\\", "\\\" x=\\\"\\\\", "\\\" x=\\\"\\\\"},
        {"\x1b[31m\x7f", "\\x1b[31m\\x7f", "\\u001b[31m\\u007f"},
        {"\xff\xc0\x80", "\\xff\\xc0\\x80", "\\ufffd\\ufffd\\ufffd"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd"}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
        {"\xe2\x82", "\\xe2\\x82", "\\ufffd\\ufffd"},                     /* cut off */
        {"\xc2\x85", "\\u0085", "\\u0085"},                               /* next line */
        {"\xe2\x80\xae\xe2\x80\xa8", "\\u202e\\u2028", "\\u202e\\u2028"}, /* turns, ends lines */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[256];
        size_t size = m5_log_escape(out, sizeof out - 1, m5_bytes_of(cases[i].value), false);
        out[size] = 0;
        assert_string_equal(out, cases[i].text);
        size = m5_log_escape(out, sizeof out - 1, m5_bytes_of(cases[i].value), true);
        out[size] = 0;
        assert_string_equal(out, cases[i].json);
    }
}

static void every_byte_is_escaped_or_printable(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        const uint8_t value[] = {(uint8_t)byte};
        for (int json = 0; json < 2; json++) {
            char out[16];
            const size_t size = m5_log_escape(out, sizeof out, m5_bytes(value, 1), json != 0);
            assert_true(size > 0);
            for (size_t i = 0; i < size; i++)
                assert_in_range(out[i], ' ', '~');
            assert_true(size > 1 || (out[0] != '"' && out[0] != '\\'));
        }
    }
}

static void escaping_never_writes_more_than_there_is_room(void **state)
{
    (void)state;
    const struct mqtt5_bytes value = m5_bytes_of("a\xe2\x82\xac\n\x01z");
    char whole[64];
    const size_t size = m5_log_escape(whole, sizeof whole, value, false);
    for (size_t room = 0; room <= size; room++) {
        char out[64];
        memset(out, '#', sizeof out);
        const size_t written = m5_log_escape(out, room, value, false);
        assert_true(written <= room);
        assert_memory_equal(out, whole, written);
        assert_int_equal(out[written], '#');
    }
}

static void a_line_that_is_too_long_stays_whole(void **state)
{
    (void)state;
    uint8_t value[M5_LOG_LINE_MAX];
    memset(value, 1, sizeof value);
    for (int json = 0; json < 2; json++) {
        struct fixture *fixture = start(json != 0, MQTT5_LOG_INFO);
        assert_true(m5_log_begin(&fixture->log, M5_LOG_CLIENT_LOST));
        for (int i = 0; i < 8; i++) {
            m5_log_text(&fixture->log, "client", m5_bytes(value, sizeof value));
            m5_log_word(&fixture->log, "word", "word");
            m5_log_number(&fixture->log, "number", UINT64_MAX);
        }
        m5_log_end(&fixture->log);
        const size_t size = strlen(fixture->capture.line);
        assert_true(size < M5_LOG_LINE_MAX);
        assert_string_equal(fixture->capture.line + size - (json != 0 ? 2 : 1),
                            json != 0 ? "\"}" : "\"");
        stop(fixture);
    }
}

static void lesser_levels_are_not_written(void **state)
{
    (void)state;
    struct fixture *fixture = start(false, MQTT5_LOG_WARNING);
    assert_false(m5_log_begin(&fixture->log, M5_LOG_CLIENT_CONNECTED));
    assert_false(m5_log_begin(&fixture->log, M5_LOG_CLIENT_SUBSCRIBED));
    assert_true(m5_log_begin(&fixture->log, M5_LOG_CLIENT_REFUSED));
    m5_log_end(&fixture->log);
    assert_int_equal(fixture->capture.lines, 1);
    stop(fixture);
}

/* 100,000 lines take a fraction of a second; a machine that needs minutes still passes. */
static void a_flood_of_one_event_is_cut_and_counted(void **state)
{
    (void)state;
    struct fixture *fixture = start(false, MQTT5_LOG_INFO);
    unsigned left_out = 0;
    for (int i = 0; i < 100000; i++) {
        if (m5_log_begin(&fixture->log, M5_LOG_CLIENT_REFUSED))
            m5_log_end(&fixture->log);
        else
            left_out++;
    }
    assert_true(left_out > 50000);
    assert_int_equal(fixture->capture.lines, 100000 - left_out);
    write_line(&fixture->log, m5_bytes_of("another event is written as ever"));
    m5_log_finish(&fixture->log);
    assert_int_equal(fixture->capture.reports, 1);
    char expected[64];
    snprintf(expected, sizeof expected, " of=client.refused lines=%u", left_out);
    assert_non_null(strstr(fixture->capture.line, expected));
    stop(fixture);
}

static void event_names_are_lower_case_words_and_unique(void **state)
{
    (void)state;
    for (unsigned i = 0; i < M5_LOG_EVENT_COUNT; i++) {
        const char *name = m5_log_event_name((enum m5_log_event)i);
        assert_non_null(strchr(name, '.'));
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz._"), strlen(name));
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(name, m5_log_event_name((enum m5_log_event)j));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_line_has_time_level_event_and_fields),
        cmocka_unit_test(a_json_line_is_an_object),
        cmocka_unit_test(what_could_forge_a_line_is_escaped),
        cmocka_unit_test(every_byte_is_escaped_or_printable),
        cmocka_unit_test(escaping_never_writes_more_than_there_is_room),
        cmocka_unit_test(a_line_that_is_too_long_stays_whole),
        cmocka_unit_test(lesser_levels_are_not_written),
        cmocka_unit_test(a_flood_of_one_event_is_cut_and_counted),
        cmocka_unit_test(event_names_are_lower_case_words_and_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
