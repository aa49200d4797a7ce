/* The UTF-8 check against one that decodes every character.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/topic.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "support/guard_page.h"
#include "support/naive_topic.h"
#include "support/seed.h"
#include "support/unit.h"

static struct guard_page guard;

static int set_up(void **state)
{
    (void)state;
    guard_page_init(&guard, 64);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    guard_page_fini(&guard);
    return 0;
}

/* Judges the text where the memory ends: a sequence that is cut off must not be looked for there.
 */
static void same(struct mqtt5_bytes text)
{
    const struct mqtt5_bytes placed = guard_page_place(&guard, text);
    assert_int_equal(mqtt5_utf8_check(placed), naive_utf8_check(placed));
}

/* [MQTT-1.5.4-1] [MQTT-1.5.4-2]: all of one, two and three bytes; four where the second matters. */
static void every_short_sequence_is_judged_right(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 1u << 24; n++) {
        const uint8_t bytes[4] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, 0xBF};
        if (n < 256)
            same(m5_bytes(bytes + 2, 1));
        if (n < 65536)
            same(m5_bytes(bytes + 1, 2));
        if (bytes[0] >= 0xC0 || n % 61 == 0)
            same(m5_bytes(bytes, 3));
        if (bytes[0] >= 0xEF)
            same(m5_bytes(bytes, 4));
    }
}

/* A character of each size, whole and spoilt, at every offset of texts around the word size. */
static void place_in_the_text_does_not_matter(void **state)
{
    (void)state;
    static const char *const characters[] = {
        "\x01",         "\x7f",         "\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",
        "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbb\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
        "\xc1\xbf",     "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80",     "\x80",         "\xff",
    };
    for (size_t c = 0; c < sizeof characters / sizeof *characters; c++) {
        const size_t size = strlen(characters[c]);
        for (size_t len = size; len < 40; len++) {
            for (size_t at = 0; at + size <= len; at++) {
                uint8_t text[40];
                memset(text, 'a', len);
                memcpy(text + at, characters[c], size);
                same(m5_bytes(text, len));
                text[at] = 0;
                same(m5_bytes(text, len));
                for (uint8_t first = 0xC2; first < 0xF5; first++) {
                    text[len - 1] = first;
                    same(m5_bytes(text, len));
                }
            }
        }
    }
    assert_int_equal(mqtt5_utf8_check((struct mqtt5_bytes){0}), MQTT5_OK);
}

/* [MQTT-1.5.4-3]: a byte order mark is a character, and noncharacters and controls are allowed. */
static void unusual_characters_are_characters(void **state)
{
    (void)state;
    assert_int_equal(mqtt5_utf8_check(m5_bytes_of("\xef\xbb\xbf"
                                                  "a")),
                     MQTT5_OK);
    assert_int_equal(mqtt5_utf8_check(m5_bytes_of("\xef\xbf\xbf")), MQTT5_OK);
    assert_int_equal(mqtt5_utf8_check(m5_bytes_of("\x01\x1f\xc2\x9f")), MQTT5_OK);
}

static void random_bytes_are_judged_right(void **state)
{
    (void)state;
    static const uint8_t usual[] = {'a', '/', 0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0x80};
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(1));
    for (unsigned i = 0; i < 300000; i++) {
        uint8_t text[24];
        const size_t len = m5_rng_below(&rng, sizeof text + 1);
        m5_rng_fill(&rng, text, len);
        for (size_t at = 0; at < len; at++) {
            if (text[at] < 0xF0)
                text[at] = usual[text[at] % sizeof usual];
        }
        same(m5_bytes(text, len));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_sequence_is_judged_right),
        cmocka_unit_test(place_in_the_text_does_not_matter),
        cmocka_unit_test(unusual_characters_are_characters),
        cmocka_unit_test(random_bytes_are_judged_right),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
