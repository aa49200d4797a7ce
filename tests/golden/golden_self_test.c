/* Tests of the reader and the matcher: patterns against bytes, texts against steps.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "golden/golden_self_test.h"

#include "golden/golden_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct match_case {
    const char *pattern, *bytes; /* both in the language */
    bool same;
};

static const struct match_case match_cases[] = {
    {"c000", "c000", true},
    {"c000", "c001", false},
    {"c000", "c0", false},
    {"c0", "c000", false},
    {"20 {00 00 {}}", "20 03 000000", true},
    {"20 {00 00 {}}", "20 03 000001", false},
    {"20 {00 00 {**}}", "20 05 0000 02 2101", true},
    {"20 {00 00 {**}}", "20 06 0000 02 2101 00", false},
    {"20 {00 00}", "20 8200 0000", false}, /* a length that is not minimal */
    {"'a'*3", "616161", true},
    {"\"ab\"", "0002 6162", true},
    {"[ff 'x'*2]", "0003 ff7878", true},
    {"'\\x41\\'\\\\'", "41 27 5c", true},
    {"40 {0001 ok}", "40 02 0001", true},
    {"40 {0001 ok}", "40 03 0001 00", true},
    {"40 {0001 ok}", "40 04 0001 00 00", true},
    {"40 {0001 ok}", "40 03 0001 10", false},
    {"40 {0001 done}", "40 03 0001 10", true},
    {"40 {0001 done}", "40 04 0001 10 00", true},
    {"40 {0001 done}", "40 03 0001 80", false},
    {"e0 {81 ...}", "e0 01 81", true},
    {"e0 {81 ...}", "e0 06 81 04 1f 0001 61", true},
    {"e0 {81 ...}", "e0 00", false},
    {"e0 {(81|82) ...}", "e0 01 82", true},
    {"?? (aa|bb cc|)", "0102", true},
    {"?? (aa|bb cc|)", "0102 bbcc", true},
    {"?? (aa|bb cc|)", "0102 bb", false},
    {"** 05", "01 05 02 05", true},
    {"** 05", "01 05 02", false},
    {"p{01 01, 26 \"a\" \"b\"}", "09 26 0001 61 0001 62 0101", true},
    {"p{01 01, 26 \"a\" \"b\"}", "09 0101 26 0001 61 0001 62", true},
    {"p{01 01}", "09 0101 26 0001 61 0001 62", false},
    {"p{01 01, **}", "09 0101 26 0001 61 0001 62", true},
    {"p{!26, **}", "09 0101 26 0001 61 0001 62", false},
    {"p{!27, **}", "09 0101 26 0001 61 0001 62", true},
    {"p{0b 01, 0b 8001}", "05 0b8001 0b01", true},
    {"p{}", "00", true},
    {"p{}", "02 0101", false},
    {"p{**}", "02 2101", false}, /* a property that is cut */
    {"p{**}", "02 7e01", false}, /* and one that is none */
    {"12 <a=str> <a>", "12 0001 61 0001 61", true},
    {"12 <a=str> <a>", "12 0001 61 0001 62", false},
    {"<a=2> <b=1> <a>", "0102 03 0102", true},
};

static struct golden_list *parse(struct golden_arena *arena, struct golden_captures *captures,
                                 const char *text, char *error, size_t size)
{
    struct golden_parser parser = {.arena = arena, .captures = captures};
    struct golden_list *list = golden_parse_bytes(&parser, text);
    snprintf(error, size, "%s", parser.error);
    return list;
}

static bool test_match(const struct match_case *one)
{
    struct golden_arena arena = {NULL};
    struct golden_captures captures = {.count = 0};
    char error[200];
    uint8_t *bytes = NULL;
    size_t size = 0;
    const struct golden_list *pattern = parse(&arena, &captures, one->pattern, error, sizeof error);
    const struct golden_list *input = parse(&arena, &captures, one->bytes, error, sizeof error);
    bool good = pattern != NULL && input != NULL && golden_build(input, &captures, &bytes, &size);
    if (good)
        good = golden_match(pattern, (struct mqtt5_bytes){bytes, size}, &captures) == one->same;
    if (!good)
        printf("self test: %s against %s %s\n", one->pattern, one->bytes, error);
    free(bytes);
    golden_captures_fini(&captures);
    golden_arena_fini(&arena);
    return good;
}

/* What cannot be read must be refused, with a reason. */
static bool test_refused(const char *text)
{
    struct golden_arena arena = {NULL};
    struct golden_captures captures = {.count = 0};
    char error[200];
    const bool refused =
        parse(&arena, &captures, text, error, sizeof error) == NULL && error[0] != '\0';
    if (!refused)
        printf("self test: %s was read\n", text);
    golden_arena_fini(&arena);
    return refused;
}

static const char script[] = "# comment\n"
                             "--- first $1\n"
                             "req: MQTT-1.5.4-1\n"
                             "broker: maximum_qos=1 retain_available=0\n"
                             "each: one | 00 | \n"
                             "each: two | 01 | ff\n"
                             "A connect \"x\" flags=00 props={11 0000000a} present\n"
                             "A > $2 {$3}\n"
                             "advance 1500ms\n"
                             "--- second\n"
                             "B <? 00 | closed\n"
                             "crash down 2s\n"
                             "store goes on\n";

static bool check_script(const struct golden_file *file)
{
    const struct golden_scenario *one = file->scenarios;
    const struct golden_scenario *two = one == NULL ? NULL : one->next;
    const struct golden_scenario *three = two == NULL ? NULL : two->next;
    if (three == NULL || three->next != NULL)
        return false;
    return strcmp(one->title, "first one") == 0 && strcmp(two->title, "first two") == 0 &&
           one->step_count == 5 && one->settings != NULL && three->settings == NULL &&
           strcmp(one->steps[1].text, "10 {\"MQTT\" 05 00 0000 {11 0000000a} \"x\"}") == 0 &&
           strcmp(one->steps[2].text, "20 {01 00 {**}}") == 0 &&
           strcmp(one->steps[3].text, "00 {}") == 0 && strcmp(two->steps[3].text, "01 {ff}") == 0 &&
           one->steps[4].ms == 1500 && three->step_count == 3 && !one->needs_store &&
           three->needs_store && three->steps[1].verb == GOLDEN_CRASH &&
           three->steps[1].ms == 2000 && three->steps[2].store == GOLDEN_GOES_ON &&
           three->steps[0].verb == GOLDEN_EXPECT_OPTIONAL && three->steps[0].list->next != NULL &&
           three->steps[0].list->next->special == GOLDEN_CLOSED;
}

static bool test_script(void)
{
    struct golden_file file;
    const bool good = golden_file_parse(&file, "self", script) && check_script(&file);
    if (!good)
        printf("self test: the script is not read as written %s\n", file.error);
    golden_file_fini(&file);
    return good;
}

bool golden_self_test(void)
{
    static const char *const refused[] = {"0", "{", "\"a", "[00", "<a", "(00|", "zz", "*3", "p{01"};
    bool good = test_script();
    for (size_t i = 0; i < sizeof match_cases / sizeof match_cases[0]; i++)
        good &= test_match(&match_cases[i]);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        good &= test_refused(refused[i]);
    return good;
}
