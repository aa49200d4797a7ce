/* Topic names, filters and shared subscriptions.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/topic.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "support/guard_page.h"
#include "support/naive_topic.h"
#include "support/seed.h"
#include "support/unit.h"

static void topic_names_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *topic;
        uint32_t levels_max;
        enum mqtt5_error error;
    } cases[] = {
        {"a", 200, MQTT5_OK},
        {"/", 200, MQTT5_OK},
        {" ", 200, MQTT5_OK},
        {"$SYS/broker/uptime", 200, MQTT5_OK},
        {"sport/tennis/player1", 3, MQTT5_OK},
        {"caf\xc3\xa9/\xe2\x82\xac", 200, MQTT5_OK},
        {"", 200, MQTT5_ERR_TOPIC_EMPTY}, /* [MQTT-4.7.3-1] */
        {"sport/tennis/player1/", 3, MQTT5_ERR_TOPIC_LEVELS},
        {"///", 3, MQTT5_ERR_TOPIC_LEVELS},
        {"///", 4, MQTT5_OK},
        {"a/+/b", 200, MQTT5_ERR_TOPIC_WILDCARD}, /* [MQTT-4.7.0-1] */
        {"#", 200, MQTT5_ERR_TOPIC_WILDCARD},
        {"a+", 200, MQTT5_ERR_TOPIC_WILDCARD},
        {"caf\xc3\xa9/#", 200, MQTT5_ERR_TOPIC_WILDCARD},
        {"a/b/c/d/e/f/g/h/i#", 200, MQTT5_ERR_TOPIC_WILDCARD},
        {"a\xff", 200, MQTT5_ERR_UTF8},
        {"a\xed\xa0\x80/+", 200, MQTT5_ERR_UTF8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mqtt5_bytes topic = m5_bytes_of(cases[i].topic);
        const enum mqtt5_error error = mqtt5_topic_check(topic, cases[i].levels_max);
        if (error != cases[i].error)
            fail_msg("'%s': %s", cases[i].topic, mqtt5_error_name(error));
    }
    assert_int_equal(mqtt5_topic_check(m5_bytes("a\0b", 3), 9), MQTT5_ERR_UTF8_NUL);
}

/* A wildcard and U+0000 at every place of names of every length, at the end of the memory. */
static void place_in_the_name_does_not_matter(void **state)
{
    (void)state;
    struct guard_page guard;
    uint8_t text[48];
    guard_page_init(&guard, sizeof text);
    for (size_t len = 1; len <= sizeof text; len++) {
        memset(text, 'x', len);
        assert_int_equal(mqtt5_topic_check(guard_page_place(&guard, m5_bytes(text, len)), 9),
                         MQTT5_OK);
        for (size_t at = 0; at < len; at++) {
            static const struct {
                uint8_t byte;
                enum mqtt5_error error;
            } spoils[] = {{'+', MQTT5_ERR_TOPIC_WILDCARD},
                          {'#', MQTT5_ERR_TOPIC_WILDCARD},
                          {0, MQTT5_ERR_UTF8_NUL},
                          {0x80, MQTT5_ERR_UTF8},
                          {'*', MQTT5_OK},
                          {'$', MQTT5_OK},
                          {'"', MQTT5_OK},
                          {0x7F, MQTT5_OK}};
            for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
                text[at] = spoils[i].byte;
                assert_int_equal(
                    mqtt5_topic_check(guard_page_place(&guard, m5_bytes(text, len)), 9),
                    spoils[i].error);
            }
            text[at] = 'x';
        }
    }
    guard_page_fini(&guard);
}

static void filters_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum mqtt5_error error;
        const char *share_name, *filter;
        uint32_t levels;
        bool has_wildcard;
    } cases[] = {
        {"a/b", MQTT5_OK, "", "a/b", 2, false},
        {"#", MQTT5_OK, "", "#", 1, true},
        {"+", MQTT5_OK, "", "+", 1, true},
        {"/", MQTT5_OK, "", "/", 2, false},
        {"+/tennis/#", MQTT5_OK, "", "+/tennis/#", 3, true},
        {"a/+/b", MQTT5_OK, "", "a/+/b", 3, true},
        {"$SYS/#", MQTT5_OK, "", "$SYS/#", 2, true},
        {"$share", MQTT5_OK, "", "$share", 1, false},
        {"$shared/a", MQTT5_OK, "", "$shared/a", 2, false},
        {"$share/group/a/+", MQTT5_OK, "group", "a/+", 2, true},
        {"$share/g//", MQTT5_OK, "g", "/", 2, false},
        {"$share/g/#", MQTT5_OK, "g", "#", 1, true},
        {"", MQTT5_ERR_FILTER_EMPTY, NULL, NULL, 0, false},      /* [MQTT-4.7.3-1] */
        {"a#", MQTT5_ERR_FILTER_WILDCARD, NULL, NULL, 0, false}, /* [MQTT-4.7.1-1] */
        {"a/#/b", MQTT5_ERR_FILTER_WILDCARD, NULL, NULL, 0, false},
        {"#/", MQTT5_ERR_FILTER_WILDCARD, NULL, NULL, 0, false},
        {"##", MQTT5_ERR_FILTER_WILDCARD, NULL, NULL, 0, false},
        {"a+/b", MQTT5_ERR_FILTER_WILDCARD, NULL, NULL, 0, false}, /* [MQTT-4.7.1-2] */
        {"a/+b", MQTT5_ERR_FILTER_WILDCARD, NULL, NULL, 0, false},
        {"++", MQTT5_ERR_FILTER_WILDCARD, NULL, NULL, 0, false},
        {"$share/g/a#", MQTT5_ERR_FILTER_WILDCARD, NULL, NULL, 0, false},
        {"$share/", MQTT5_ERR_SHARE_NAME, NULL, NULL, 0, false}, /* [MQTT-4.8.2-1] */
        {"$share//a", MQTT5_ERR_SHARE_NAME, NULL, NULL, 0, false},
        {"$share/g", MQTT5_ERR_SHARE_NAME, NULL, NULL, 0, false}, /* [MQTT-4.8.2-2] */
        {"$share/g/", MQTT5_ERR_SHARE_NAME, NULL, NULL, 0, false},
        {"$share/+/a", MQTT5_ERR_SHARE_NAME, NULL, NULL, 0, false},
        {"$share/g#/a", MQTT5_ERR_SHARE_NAME, NULL, NULL, 0, false},
        {"a/b/c/d/e", MQTT5_ERR_FILTER_LEVELS, NULL, NULL, 0, false},
        {"$share/g/a/b/c/d", MQTT5_OK, "g", "a/b/c/d", 4, false},
        {"\xc0\x80", MQTT5_ERR_UTF8, NULL, NULL, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mqtt5_filter filter;
        const enum mqtt5_error error = mqtt5_filter_parse(m5_bytes_of(cases[i].text), 4, &filter);
        if (error != cases[i].error)
            fail_msg("'%s': %s", cases[i].text, mqtt5_error_name(error));
        if (error != MQTT5_OK)
            continue;
        assert_true(m5_bytes_equal(filter.share_name, m5_bytes_of(cases[i].share_name)));
        assert_true(m5_bytes_equal(filter.filter, m5_bytes_of(cases[i].filter)));
        assert_int_equal(filter.levels, cases[i].levels);
        assert_int_equal(filter.has_wildcard, cases[i].has_wildcard);
    }
}

static void filters_match_as_the_specification_tells(void **state)
{
    (void)state;
    static const struct {
        const char *filter, *topic;
        bool matches;
    } cases[] = {
        {"sport/tennis/player1/#", "sport/tennis/player1", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
        {"sport/#", "sport", true},
        {"sport/#", "sports", false},
        {"#", "a/b/c", true},
        {"sport/tennis/+", "sport/tennis/player1", true},
        {"sport/tennis/+", "sport/tennis/player1/ranking", false},
        {"sport/+", "sport", false},
        {"sport/+", "sport/", true},
        {"+/+", "/finance", true},
        {"/+", "/finance", true},
        {"+", "/finance", false},
        {"#", "$SYS/x", false}, /* [MQTT-4.7.2-1] */
        {"+/x", "$SYS/x", false},
        {"+", "$SYS", false},
        {"$SYS/#", "$SYS/x", true},
        {"$SYS/+", "$SYS/x", true},
        {"a/#", "a/$SYS", true},
        {"ACCOUNTS", "Accounts", false}, /* [MQTT-4.7.3-4] */
        {"a//b", "a/b", false},
        {"a/b", "a/b", true},
        {"a/b", "a/b/", false},
        {"+/b/#", "a/b", true},
        {"a/+/#", "a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct mqtt5_bytes filter = m5_bytes_of(cases[i].filter);
        const struct mqtt5_bytes topic = m5_bytes_of(cases[i].topic);
        if (mqtt5_filter_matches(filter, topic) != cases[i].matches)
            fail_msg("'%s' and '%s'", cases[i].filter, cases[i].topic);
        assert_int_equal(naive_filter_matches(filter, topic), cases[i].matches);
    }
}

static struct mqtt5_bytes random_text(struct m5_rng *rng, const char *letters, uint8_t *out)
{
    const size_t len = 1 + m5_rng_below(rng, 9);
    const size_t count = strlen(letters);
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)letters[m5_rng_below(rng, count)];
    return m5_bytes(out, len);
}

/* Few letters, so that filters are often valid and often match. */
static void random_filters_match_as_the_naive_matcher(void **state)
{
    (void)state;
    struct m5_rng rng;
    uint8_t first[16], second[16];
    unsigned matched = 0;
    m5_rng_init(&rng, test_seed(1));
    for (unsigned i = 0; i < 300000; i++) {
        struct mqtt5_filter parsed;
        const struct mqtt5_bytes filter = random_text(&rng, "//a+#$", first);
        const struct mqtt5_bytes topic = random_text(&rng, "///ab$", second);
        const bool valid = mqtt5_filter_parse(filter, UINT32_MAX, &parsed) == MQTT5_OK;
        assert_int_equal(valid, naive_filter_valid(filter));
        if (!valid)
            continue;
        const bool matches = mqtt5_filter_matches(filter, topic);
        if (matches != naive_filter_matches(filter, topic))
            fail_msg("'%.*s' and '%.*s'", (int)filter.len, (const char *)filter.data,
                     (int)topic.len, (const char *)topic.data);
        matched += matches;
    }
    assert_true(matched > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topic_names_are_checked),
        cmocka_unit_test(place_in_the_name_does_not_matter),
        cmocka_unit_test(filters_are_parsed),
        cmocka_unit_test(filters_match_as_the_specification_tells),
        cmocka_unit_test(random_filters_match_as_the_naive_matcher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
