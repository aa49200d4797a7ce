/* Routes of incoming messages: against plain matching, in order, while handlers change them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/unit.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "client/route.h"
#include "support/naive_topic.h"
#include "support/seed.h"
#include "support/test_allocator.h"

#include <mqtt5/topic.h>

#include <stdio.h>
#include <string.h>

#define HANDLERS 300u
#define TEXT_MAX 64u

struct handler {
    struct m5_route_entry entry; /* first: an entry is its handler */
    bool in, due;                /* in the route; to be seen in this match */
    uint64_t number;
    char filter[TEXT_MAX];
};

struct rig {
    struct test_allocator memory;
    struct m5_route route;
    struct m5_rng rng;
    struct handler handlers[HANDLERS];
    uint64_t added;
};

static void rig_init(struct rig *rig, uint64_t seed)
{
    memset(rig, 0, sizeof *rig);
    test_allocator_init(&rig->memory);
    m5_route_init(&rig->route, &rig->memory.table, seed);
    m5_rng_init(&rig->rng, seed);
}

static void rig_fini(struct rig *rig)
{
    m5_route_check(&rig->route);
    m5_route_fini(&rig->route);
    test_allocator_check(&rig->memory);
}

static void add(struct rig *rig, unsigned i, const char *filter)
{
    struct handler *handler = &rig->handlers[i];
    assert_false(handler->in);
    snprintf(handler->filter, sizeof handler->filter, "%s", filter);
    assert_int_equal(m5_route_add(&rig->route, m5_bytes_of(filter), &handler->entry), MQTT5_OK);
    handler->in = true;
    handler->number = ++rig->added;
    m5_route_check(&rig->route);
}

static void drop(struct rig *rig, unsigned i)
{
    struct handler *handler = &rig->handlers[i];
    m5_route_remove(&rig->route, &handler->entry);
    handler->in = handler->due = false;
    m5_route_check(&rig->route);
}

/* What a match gives, as "0 3 2 ": the handlers' places. */
static const char *matches(struct rig *rig, const char *topic)
{
    static char out[4096];
    size_t size = 0;
    const struct m5_route_entry *entry;
    out[0] = 0;
    m5_route_match(&rig->route, m5_bytes_of(topic));
    while ((entry = m5_route_next(&rig->route)) != NULL)
        size += (size_t)snprintf(out + size, sizeof out - size, "%td ",
                                 (const struct handler *)(const void *)entry - rig->handlers);
    return out;
}

/* ---- by example ---- */

static void test_each_handler_is_called_once_in_the_order_of_registration(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 1);
    add(&rig, 0, "#");
    add(&rig, 1, "a/b");
    add(&rig, 2, "+/b");
    add(&rig, 3, "a/b/#");
    add(&rig, 4, "a/b");
    add(&rig, 5, "a/+");
    add(&rig, 6, "a/b/c");
    add(&rig, 7, "+/+");
    add(&rig, 8, "a/#");
    assert_string_equal(matches(&rig, "a/b"), "0 1 2 3 4 5 7 8 ");
    assert_string_equal(matches(&rig, "a"), "0 8 ");
    assert_string_equal(matches(&rig, "a/b/c"), "0 3 6 8 ");
    assert_string_equal(matches(&rig, "x"), "0 ");
    assert_string_equal(matches(&rig, "/b"), "0 2 7 ");
    drop(&rig, 1); /* and again, behind all others */
    add(&rig, 1, "a/b");
    assert_string_equal(matches(&rig, "a/b"), "0 2 3 4 5 7 8 1 ");
    rig_fini(&rig);
}

static void test_share_names_are_not_part_of_what_matches(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 2);
    add(&rig, 0, "$share/g/a/b");
    add(&rig, 1, "$share/h/a/+");
    add(&rig, 2, "a/b");
    assert_string_equal(matches(&rig, "a/b"), "0 1 2 ");
    assert_string_equal(matches(&rig, "g/a/b"), "");
    assert_ptr_equal(m5_route_find(&rig.route, m5_bytes_of("a/b")), &rig.handlers[0].entry);
    assert_ptr_equal(m5_route_next_same(&rig.handlers[0].entry), &rig.handlers[2].entry);
    assert_null(m5_route_next_same(&rig.handlers[2].entry));
    assert_ptr_equal(m5_route_find(&rig.route, m5_bytes_of("$share/x/a/+")),
                     &rig.handlers[1].entry);
    assert_null(m5_route_find(&rig.route, m5_bytes_of("a")));
    assert_null(m5_route_find(&rig.route, m5_bytes_of("+/+")));
    assert_null(m5_route_find(&rig.route, m5_bytes_of("a#")));
    rig_fini(&rig);
}

/* [MQTT-4.7.2-1] */
static void test_leading_wildcards_do_not_meet_dollar_topics(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 3);
    add(&rig, 0, "#");
    add(&rig, 1, "+/broker");
    add(&rig, 2, "$SYS/#");
    add(&rig, 3, "$SYS/+");
    add(&rig, 4, "$SYS/broker");
    add(&rig, 5, "+");
    assert_string_equal(matches(&rig, "$SYS/broker"), "2 3 4 ");
    assert_string_equal(matches(&rig, "$SYS"), "2 ");
    assert_string_equal(matches(&rig, "S/broker"), "0 1 ");
    assert_string_equal(matches(&rig, "x/$SYS"), "0 ");
    rig_fini(&rig);
}

static void test_what_is_no_filter_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        enum mqtt5_error error;
    } cases[] = {
        {"", MQTT5_ERR_FILTER_EMPTY},       {"a#", MQTT5_ERR_FILTER_WILDCARD},
        {"#/a", MQTT5_ERR_FILTER_WILDCARD}, {"$share/g", MQTT5_ERR_SHARE_NAME},
        {"a\xff", MQTT5_ERR_UTF8},
    };
    struct rig rig;
    struct m5_route_entry entry;
    rig_init(&rig, 4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(m5_route_add(&rig.route, m5_bytes_of(cases[i].filter), &entry),
                         cases[i].error);
    assert_int_equal(rig.memory.calls, 0);
    rig_fini(&rig);
}

static void test_a_filter_of_very_many_levels(void **state)
{
    (void)state;
    static char filter[65535 + 1];
    struct rig rig;
    rig_init(&rig, 5);
    memset(filter, '/', sizeof filter - 1);
    filter[0] = '+';
    assert_int_equal(m5_route_add(&rig.route, m5_bytes_of(filter), &rig.handlers[0].entry),
                     MQTT5_OK);
    assert_string_equal(matches(&rig, filter + 1), "0 ");
    assert_string_equal(matches(&rig, filter + 2), "");
    drop(&rig, 0);
    assert_true(rig.memory.blocks <= 1); /* a map keeps its smallest table */
    rig_fini(&rig);
}

/* ---- at random ---- */

static const char *any_level(struct rig *rig, bool filter)
{
    static const char *const levels[] = {"a", "b", "", "$x", "aa", "é", "+", "#"};
    return levels[m5_rng_below(&rig->rng, filter ? 8 : 6)];
}

/* Of few levels out of few words, so that much of it meets. */
static void make_text(struct rig *rig, bool filter, char out[TEXT_MAX])
{
    const uint64_t levels = 1 + m5_rng_below(&rig->rng, 5);
    size_t size = 0;
    out[0] = 0;
    if (filter && m5_rng_below(&rig->rng, 8) == 0)
        size += (size_t)snprintf(out, TEXT_MAX, "$share/g/");
    for (uint64_t i = 0; i < levels; i++) {
        const char *level = any_level(rig, filter);
        size += (size_t)snprintf(out + size, TEXT_MAX - size, "%s%s", i > 0 ? "/" : "", level);
        if (level[0] == '#')
            break;
    }
}

static void change(struct rig *rig)
{
    struct handler *handler = &rig->handlers[m5_rng_below(&rig->rng, HANDLERS)];
    if (handler->in) {
        drop(rig, (unsigned)(handler - rig->handlers));
        return;
    }
    char text[TEXT_MAX];
    struct mqtt5_filter parsed;
    make_text(rig, true, text);
    if (mqtt5_filter_parse(m5_bytes_of(text), 100, &parsed) == MQTT5_OK)
        add(rig, (unsigned)(handler - rig->handlers), text);
}

static void mark_due(struct rig *rig, const char *topic)
{
    for (unsigned i = 0; i < HANDLERS; i++) {
        struct handler *handler = &rig->handlers[i];
        struct mqtt5_filter parsed;
        handler->due = handler->in &&
                       mqtt5_filter_parse(m5_bytes_of(handler->filter), 100, &parsed) == MQTT5_OK &&
                       naive_filter_matches(parsed.filter, m5_bytes_of(topic));
    }
}

/* One match in which handlers come and go: those that were there when it began, and still are when
 * their turn comes, are seen once, the oldest first. */
static unsigned match_once(struct rig *rig, uint64_t changes)
{
    char topic[TEXT_MAX];
    struct m5_route_entry *entry;
    uint64_t number = 0;
    unsigned seen = 0;
    make_text(rig, false, topic);
    if (topic[0] == 0)
        return 0;
    mark_due(rig, topic);
    m5_route_match(&rig->route, m5_bytes_of(topic));
    while ((entry = m5_route_next(&rig->route)) != NULL) {
        struct handler *handler = (struct handler *)(void *)entry;
        assert_true(handler->due);
        assert_true(handler->number > number);
        number = handler->number;
        handler->due = false;
        seen++;
        for (uint64_t i = 0; i < changes; i++)
            change(rig);
    }
    for (unsigned i = 0; i < HANDLERS; i++)
        assert_false(rig->handlers[i].due);
    return seen;
}

static void test_matches_what_plain_matching_does(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, test_seed(20261122));
    unsigned seen = 0;
    for (unsigned round = 0; round < 4000; round++) {
        change(&rig);
        seen += match_once(&rig, 0);
    }
    assert_true(seen > 10000);
    rig_fini(&rig);
}

static void test_handlers_may_come_and_go_during_a_match(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, test_seed(99));
    unsigned seen = 0;
    for (unsigned round = 0; round < 1500; round++) {
        change(&rig);
        seen += match_once(&rig, m5_rng_below(&rig.rng, 4));
    }
    assert_true(seen > 3000);
    rig_fini(&rig);
}

/* A handler that takes itself and the next one out, and a match that is given up half-way. */
static void test_a_match_forgets_what_is_removed_and_what_was_left(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 6);
    add(&rig, 0, "a");
    add(&rig, 1, "+");
    add(&rig, 2, "#");
    m5_route_match(&rig.route, m5_bytes_of("a"));
    assert_ptr_equal(m5_route_next(&rig.route), &rig.handlers[0].entry);
    drop(&rig, 0);
    drop(&rig, 1);
    add(&rig, 3, "a");
    assert_ptr_equal(m5_route_next(&rig.route), &rig.handlers[2].entry);
    assert_null(m5_route_next(&rig.route));
    m5_route_match(&rig.route, m5_bytes_of("a"));
    assert_string_equal(matches(&rig, "x"), "2 ");
    rig_fini(&rig);
}

static void test_entries_left_at_the_end_are_let_go(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, 7);
    add(&rig, 0, "a/b");
    add(&rig, 1, "+/+/#");
    add(&rig, 2, "a/+/c");
    m5_route_match(&rig.route, m5_bytes_of("a/b"));
    rig_fini(&rig);
    assert_null(rig.handlers[0].entry.at);
    assert_null(rig.handlers[1].entry.at);
    assert_null(rig.handlers[2].entry.at);
}

/* ---- without memory ---- */

static void test_a_filter_that_finds_no_memory_changes_nothing(void **state)
{
    (void)state;
    static const char *const filters[] = {"a", "a/b/+/c/#", "a/b/+/d", "+/+", "b/#", "x/y/z"};
    for (unsigned which = 0; which < sizeof filters / sizeof *filters; which++) {
        struct rig rig;
        rig_init(&rig, which);
        for (unsigned i = 0; i < which; i++)
            add(&rig, i, filters[i]);
        struct handler *last = &rig.handlers[which];
        uint64_t nth = 0;
        enum mqtt5_error error;
        do {
            const size_t blocks = rig.memory.blocks;
            test_allocator_fail_nth(&rig.memory, ++nth);
            error = m5_route_add(&rig.route, m5_bytes_of(filters[which]), &last->entry);
            m5_route_check(&rig.route);
            /* A map that grew before the node was refused may stay grown. */
            assert_true(error == MQTT5_OK || rig.memory.blocks <= blocks + 1);
            assert_int_equal(error,
                             test_allocator_failed(&rig.memory) ? MQTT5_ERR_NOMEM : MQTT5_OK);
            assert_int_equal(rig.route.count, which + (error == MQTT5_OK));
        } while (error != MQTT5_OK);
        assert_true(nth > 1);
        test_allocator_fail_nth(&rig.memory, 0);
        rig_fini(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_handler_is_called_once_in_the_order_of_registration),
        cmocka_unit_test(test_share_names_are_not_part_of_what_matches),
        cmocka_unit_test(test_leading_wildcards_do_not_meet_dollar_topics),
        cmocka_unit_test(test_what_is_no_filter_is_refused),
        cmocka_unit_test(test_a_filter_of_very_many_levels),
        cmocka_unit_test(test_matches_what_plain_matching_does),
        cmocka_unit_test(test_handlers_may_come_and_go_during_a_match),
        cmocka_unit_test(test_a_match_forgets_what_is_removed_and_what_was_left),
        cmocka_unit_test(test_entries_left_at_the_end_are_let_go),
        cmocka_unit_test(test_a_filter_that_finds_no_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
