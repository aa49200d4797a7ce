/* The route index against the specification's examples, against a list of filters, and without
 * memory.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/unit.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "broker/index.h"
#include "support/seed.h"
#include "support/test_allocator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct m5_hash_key key = {.k0 = 0x0706050403020100, .k1 = 0x0F0E0D0C0B0A0908};

struct fixture {
    struct test_allocator memory;
    struct m5_index *index;
    struct m5_match match;
};

static void set_up(struct fixture *f, uint32_t shard_count)
{
    test_allocator_init(&f->memory);
    f->index = m5_index_new(&f->memory.table, shard_count, &key);
    assert_non_null(f->index);
    m5_match_init(&f->match, &f->memory.table);
}

static void tear_down(struct fixture *f)
{
    m5_match_fini(&f->match);
    m5_index_free(f->index);
    test_allocator_check(&f->memory);
}

static struct mqtt5_filter filter_of(struct mqtt5_bytes text)
{
    struct mqtt5_filter filter;
    assert_int_equal(mqtt5_filter_parse(text, 70000, &filter), MQTT5_OK);
    return filter;
}

static struct m5_index_node *pin_bytes(struct fixture *f, uint32_t shard, struct mqtt5_bytes text)
{
    const struct mqtt5_filter filter = filter_of(text);
    return m5_index_pin(f->index, shard, &filter);
}

static struct m5_index_node *pin(struct fixture *f, uint32_t shard, const char *text)
{
    struct m5_index_node *node = pin_bytes(f, shard, m5_bytes_of(text));
    assert_non_null(node);
    return node;
}

static uint32_t match_count(struct fixture *f, const char *topic)
{
    assert_true(m5_index_match(f->index, m5_bytes_of(topic), &f->match));
    return f->match.count;
}

/* Enough calls for all that is retired to become free. */
static void settle(struct m5_index *index, uint32_t shard_count)
{
    for (unsigned turn = 0; turn < 5; turn++) {
        for (uint32_t shard = 0; shard < shard_count; shard++)
            m5_index_quiescent(index, shard);
    }
}

/* ---- what matches ---- */

static void filters_match_as_the_specification_says(void **state)
{
    (void)state;
    static const struct {
        const char *filter, *topic;
        bool matches;
    } cases[] = {
        /* section 4.7.1.2, the multi-level wildcard */
        {"sport/tennis/player1/#", "sport/tennis/player1", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
        {"sport/tennis/player1/#", "sport/tennis/player10", false},
        {"sport/#", "sport", true},
        {"#", "sport", true},
        {"#", "/", true},
        {"sport/#", "sports", false},
        /* section 4.7.1.3, the single-level wildcard */
        {"sport/tennis/+", "sport/tennis/player1", true},
        {"sport/tennis/+", "sport/tennis/player1/ranking", false},
        {"sport/+", "sport", false},
        {"sport/+", "sport/", true},
        {"+/tennis/#", "sport/tennis", true},
        {"+/tennis/#", "sport/tennis/a/b", true},
        {"sport/+/player1", "sport/tennis/player1", true},
        {"sport/+/player1", "sport/player1", false},
        {"/finance", "/finance", true},
        {"+/+", "/finance", true},
        {"/+", "/finance", true},
        {"+", "/finance", false},
        /* section 4.7.2, topics beginning with $ [MQTT-4.7.2-1] */
        {"#", "$SYS/x", false},
        {"+/monitor/Clients", "$SYS/monitor/Clients", false},
        {"+", "$SYS", false},
        {"$SYS/#", "$SYS/monitor", true},
        {"$SYS/#", "$SYS", true},
        {"$SYS/monitor/+", "$SYS/monitor/Clients", true},
        {"a/+", "a/$b", true},
        {"a/#", "a/$b/c", true},
        /* section 4.7.3: case, spaces and empty levels count, nothing is normalised [MQTT-4.7.3-4]
         */
        {"ACCOUNTS", "Accounts", false},
        {"Accounts payable", "Accounts payable", true},
        {"a//b", "a//b", true},
        {"a//b", "a/b", false},
        {"a/+/b", "a//b", true},
        {"a/+/b", "a/b", false},
        {"/", "/", true},
        {"+/+", "/", true},
        {"a/", "a", false},
        {"a/", "a/", true},
        {"+/", "a/", true},
        {"A\xC3\x85/+", "A\xC3\x85/x", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        set_up(&f, 1);
        struct m5_index_node *node = pin(&f, 0, cases[i].filter);
        const uint32_t count = match_count(&f, cases[i].topic);
        if (count != cases[i].matches)
            fail_msg("'%s' and '%s': %u nodes", cases[i].filter, cases[i].topic, count);
        if (count == 1) {
            assert_ptr_equal(f.match.nodes[0], node);
            assert_int_equal(f.match.shards, 1);
        }
        tear_down(&f);
    }
}

static void overlapping_filters_are_all_found_once(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 2);
    static const char *const filters[] = {"a/b/c", "a/b/+", "a/+/c", "+/b/c", "+/+/+",
                                          "a/b/#", "a/#",   "#",     "+/#",   "a/b/c/#"};
    static const char *const others[] = {"a/b", "a/b/c/+", "+/+", "b/#", "a/+/+/+", "$SYS/#"};
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        pin(&f, i % 2, filters[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        pin(&f, 0, others[i]);
    assert_int_equal(match_count(&f, "a/b/c"), sizeof filters / sizeof filters[0]);
    assert_int_equal(f.match.shards, 3);
    for (uint32_t i = 0; i < f.match.count; i++) {
        for (uint32_t j = 0; j < i; j++)
            assert_ptr_not_equal(f.match.nodes[i], f.match.nodes[j]);
    }
    tear_down(&f);
}

/* ---- pins ---- */

static void a_node_lives_while_a_shard_has_pinned_it(void **state)
{
    (void)state;
    static const char *const filters[] = {"a/b/c", "a/+/c", "a/b/#", "#", "+"};
    static const char *const topics[] = {"a/b/c", "a/b/c", "a/b", "a", "a"};
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        struct fixture f;
        set_up(&f, 3);
        const size_t empty = m5_index_bytes(f.index);
        struct m5_index_node *node = pin(&f, 0, filters[i]);
        assert_ptr_equal(pin(&f, 2, filters[i]), node);
        assert_ptr_equal(pin(&f, 2, filters[i]), node);
        assert_int_equal(node->shards, 5);
        assert_null(node->lists[0]);
        assert_null(node->lists[2]);
        assert_int_equal(m5_index_node_count(f.index), 1);
        assert_ptr_equal(m5_index_find(f.index, m5_bytes_of(filters[i])), node);

        m5_index_unpin(f.index, 0, node);
        assert_int_equal(match_count(&f, topics[i]), 1);
        assert_int_equal(f.match.shards, 4);
        assert_false(m5_index_has_garbage(f.index));

        m5_index_unpin(f.index, 2, node);
        assert_int_equal(match_count(&f, topics[i]), 0);
        assert_null(m5_index_find(f.index, m5_bytes_of(filters[i])));
        assert_int_equal(m5_index_node_count(f.index), 0);
        assert_true(m5_index_has_garbage(f.index));
        /* The text is still there for whoever found the node before. */
        assert_true(m5_bytes_equal(node->filter, m5_bytes_of(filters[i])));
        settle(f.index, 3);
        assert_false(m5_index_has_garbage(f.index));
        /* What is left beside the empty index is at most a small table of each kind. */
        assert_true(m5_index_bytes(f.index) <= empty + 512);
        tear_down(&f);
    }
}

static void nodes_of_a_match_stay_until_the_turn_ends(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct m5_index_node *exact = pin(&f, 0, "a/b");
    struct m5_index_node *wild = pin(&f, 0, "a/+");
    assert_int_equal(match_count(&f, "a/b"), 2);
    m5_index_unpin(f.index, 0, exact);
    m5_index_unpin(f.index, 0, wild);
    assert_int_equal(f.match.nodes[0]->shards, 0);
    assert_int_equal(f.match.nodes[1]->shards, 0);
    m5_index_quiescent(f.index, 0);
    assert_false(m5_index_has_garbage(f.index));
    tear_down(&f);
}

static void pruning_leaves_what_others_need(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    struct m5_index_node *deep = pin(&f, 0, "a/+/c/d/#");
    struct m5_index_node *same = pin(&f, 0, "a/+/c/d");
    struct m5_index_node *middle = pin(&f, 0, "a/+/c");
    pin(&f, 0, "a/+/#");
    m5_index_unpin(f.index, 0, deep);
    m5_index_quiescent(f.index, 0);
    assert_int_equal(match_count(&f, "a/x/c/d"), 2);
    m5_index_unpin(f.index, 0, middle);
    m5_index_quiescent(f.index, 0);
    assert_int_equal(match_count(&f, "a/x/c/d"), 2);
    assert_int_equal(match_count(&f, "a/x/c"), 1);
    m5_index_unpin(f.index, 0, same);
    m5_index_quiescent(f.index, 0);
    assert_int_equal(match_count(&f, "a/x/c/d"), 1);
    pin(&f, 0, "a/+/c/d/#");
    assert_int_equal(match_count(&f, "a/x/c/d/e"), 2);
    tear_down(&f);
}

/* ---- size ---- */

static void hostile_depth_costs_no_stack(void **state)
{
    (void)state;
    enum { LEVELS = 65535 };
    struct fixture f;
    set_up(&f, 1);
    char *topic = malloc(LEVELS), *filter = malloc(LEVELS * 2);
    memset(topic, '/', LEVELS - 1); /* 65,535 empty levels: the longest string MQTT has is 65,535 */
    for (size_t i = 0; i < LEVELS; i++) {
        filter[2 * i] = '+';
        filter[2 * i + 1] = '/';
    }
    const struct mqtt5_bytes plus = m5_bytes(filter, 2 * LEVELS - 1);
    struct m5_index_node *node = pin_bytes(&f, 0, plus);
    assert_non_null(node);
    pin(&f, 0, "#");
    const struct mqtt5_bytes name = m5_bytes(topic, LEVELS - 1);
    assert_true(m5_index_match(f.index, name, &f.match));
    assert_int_equal(f.match.count, 2);
    m5_index_unpin(f.index, 0, node);
    assert_true(m5_index_match(f.index, name, &f.match));
    assert_int_equal(f.match.count, 1);
    free(topic);
    free(filter);
    tear_down(&f);
}

/* Every level twice, by name and by "+": the walk visits all 2^k paths that there are, not more. */
static void all_combinations_of_wildcards_are_found(void **state)
{
    (void)state;
    enum { LEVELS = 8 };
    struct fixture f;
    set_up(&f, 1);
    for (unsigned bits = 0; bits < 1u << LEVELS; bits++) {
        char filter[2 * LEVELS + 1];
        for (unsigned i = 0; i < LEVELS; i++) {
            filter[2 * i] = (bits >> i & 1) != 0 ? '+' : 'a';
            filter[2 * i + 1] = '/';
        }
        filter[2 * LEVELS - 1] = '\0';
        pin(&f, 0, filter);
    }
    assert_int_equal(match_count(&f, "a/a/a/a/a/a/a/a"), 1u << LEVELS);
    assert_int_equal(match_count(&f, "a/a/a/a/a/a/a/b"), 1u << (LEVELS - 1));
    assert_int_equal(match_count(&f, "a/a/a/a/a/a/a"), 0);
    tear_down(&f);
}

static void many_filters_come_and_go_and_the_memory_with_them(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static struct m5_index_node *nodes[COUNT];
    struct fixture f;
    set_up(&f, 2);
    const size_t empty = m5_index_bytes(f.index);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            char text[40];
            snprintf(text, sizeof text, i % 2 == 0 ? "fleet/%u/state" : "fleet/+/%u/#", i);
            nodes[i] = pin(&f, i % 2, text);
        }
        assert_int_equal(m5_index_node_count(f.index), COUNT);
        assert_int_equal(match_count(&f, "fleet/500/state"), 1);
        assert_int_equal(match_count(&f, "fleet/x/501/y/z"), 1);
        assert_int_equal(match_count(&f, "fleet/x/500/y/z"), 0);
        for (unsigned i = 0; i < COUNT; i++)
            m5_index_unpin(f.index, i % 2, nodes[i]);
        while (m5_index_has_garbage(f.index))
            settle(f.index, 2);
        assert_int_equal(m5_index_node_count(f.index), 0);
        assert_true(m5_index_bytes(f.index) <= empty + 1024);
    }
    tear_down(&f);
}

/* ---- against a list ---- */

enum { MODEL_FILTERS = 300, MODEL_SHARDS = 3 };

struct model {
    char text[MODEL_FILTERS][48];
    struct m5_index_node *nodes[MODEL_FILTERS]; /* while pinned */
    uint64_t shards[MODEL_FILTERS];
};

/* Few different levels, so that paths share branches and topics meet filters. */
static void random_text(struct m5_rng *rng, bool is_filter, char *out)
{
    static const char *const names[] = {"a", "b", "", "$SYS", "longer name", "$", "ab"};
    const uint64_t levels = 1 + m5_rng_below(rng, 5);
    size_t len = 0;
    for (uint64_t i = 0; i < levels; i++) {
        if (i > 0)
            out[len++] = '/';
        if (is_filter && i + 1 == levels && m5_rng_below(rng, 4) == 0) {
            out[len++] = '#';
        } else if (is_filter && m5_rng_below(rng, 3) == 0) {
            out[len++] = '+';
        } else {
            const char *name = names[m5_rng_below(rng, i == 0 ? 7 : 4)];
            memcpy(out + len, name, strlen(name));
            len += strlen(name);
        }
        if (len > 24)
            break;
    }
    if (len == 0)
        out[len++] = 'a';
    out[len] = '\0';
}

static void make_model(struct model *model, struct m5_rng *rng)
{
    memset(model, 0, sizeof *model);
    for (unsigned i = 0; i < MODEL_FILTERS; i++) {
        bool is_new;
        do {
            random_text(rng, true, model->text[i]);
            is_new = true;
            for (unsigned j = 0; j < i; j++)
                is_new = is_new && strcmp(model->text[i], model->text[j]) != 0;
        } while (!is_new);
    }
}

static void check_match(struct fixture *f, const struct model *model, const char *topic)
{
    const struct mqtt5_bytes name = m5_bytes_of(topic);
    assert_true(m5_index_match(f->index, name, &f->match));
    uint32_t expected = 0;
    uint64_t shards = 0;
    for (unsigned i = 0; i < MODEL_FILTERS; i++) {
        if (model->shards[i] == 0 || !mqtt5_filter_matches(m5_bytes_of(model->text[i]), name))
            continue;
        expected++;
        shards |= model->shards[i];
        bool found = false;
        for (uint32_t n = 0; n < f->match.count; n++)
            found = found || f->match.nodes[n] == model->nodes[i];
        if (!found)
            fail_msg("'%s' is not found for '%s'", model->text[i], topic);
    }
    if (f->match.count != expected)
        fail_msg("%u nodes instead of %u for '%s'", f->match.count, expected, topic);
    assert_int_equal(f->match.shards, shards);
}

static void change_pin(struct fixture *f, struct model *model, unsigned i, uint32_t shard)
{
    const uint64_t bit = UINT64_C(1) << shard;
    if ((model->shards[i] & bit) != 0) {
        model->shards[i] &= ~bit;
        m5_index_unpin(f->index, shard, model->nodes[i]);
    } else {
        struct m5_index_node *node = pin(f, shard, model->text[i]);
        assert_true(model->shards[i] == 0 || node == model->nodes[i]);
        model->nodes[i] = node;
        model->shards[i] |= bit;
    }
    struct m5_index_node *found = m5_index_find(f->index, m5_bytes_of(model->text[i]));
    assert_ptr_equal(found, model->shards[i] == 0 ? NULL : model->nodes[i]);
}

static void random_pins_match_like_a_list_of_filters(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(20240517));
    static struct model model;
    for (unsigned run = 0; run < 4; run++) {
        struct fixture f;
        set_up(&f, MODEL_SHARDS);
        make_model(&model, &rng);
        for (unsigned step = 0; step < 4000; step++) {
            const unsigned i = (unsigned)m5_rng_below(&rng, MODEL_FILTERS);
            change_pin(&f, &model, i, (uint32_t)m5_rng_below(&rng, MODEL_SHARDS));
            char topic[64];
            random_text(&rng, false, topic);
            check_match(&f, &model, topic);
            m5_index_quiescent(f.index, (uint32_t)m5_rng_below(&rng, MODEL_SHARDS));
        }
        uint64_t count = 0;
        for (unsigned i = 0; i < MODEL_FILTERS; i++)
            count += model.shards[i] != 0;
        assert_int_equal(m5_index_node_count(f.index), count);
        tear_down(&f);
    }
}

/* ---- without memory ---- */

static const char *const scarce_filters[] = {
    "a/b/c", "a/+/c", "a/+/#", "x/y/z/+", "#",   "+/+/+", "a/b",  "k/+",  "l/+",  "m/+",  "n/+",
    "o/+",   "p/+",   "q/+",   "r/+",     "s/+", "t/+",   "u/+",  "v/+",  "w/+",  "1/2",  "1/3",
    "1/4",   "1/5",   "1/6",   "1/7",     "1/8", "1/9",   "1/10", "1/11", "1/12", "1/13", "1/14",
};

enum { SCARCE = sizeof scarce_filters / sizeof scarce_filters[0] };

/* Pins all, taking each failure as an answer, then checks that exactly what was pinned matches. */
static void pin_with_failure(struct fixture *f)
{
    struct m5_index_node *nodes[SCARCE];
    for (unsigned i = 0; i < SCARCE; i++) {
        const uint64_t before = m5_index_node_count(f->index);
        nodes[i] = pin_bytes(f, i % 2, m5_bytes_of(scarce_filters[i]));
        assert_int_equal(m5_index_node_count(f->index), before + (nodes[i] != NULL));
        assert_ptr_equal(m5_index_find(f->index, m5_bytes_of(scarce_filters[i])), nodes[i]);
    }
    uint32_t expected = 0;
    for (unsigned i = 0; i < SCARCE; i++)
        expected += nodes[i] != NULL &&
                    mqtt5_filter_matches(m5_bytes_of(scarce_filters[i]), m5_bytes_of("a/b/c"));
    if (m5_index_match(f->index, m5_bytes_of("a/b/c"), &f->match))
        assert_int_equal(f->match.count, expected);
    else
        assert_true(f->match.count < expected);
    assert_int_equal(match_count(f, "a/b/c"), expected);
    for (unsigned i = 0; i < SCARCE; i++) {
        if (nodes[i] != NULL)
            m5_index_unpin(f->index, i % 2, nodes[i]);
    }
    assert_int_equal(match_count(f, "a/b/c"), 0);
    settle(f->index, 2);
    assert_false(m5_index_has_garbage(f->index));
}

static void each_failing_allocation_leaves_the_index_whole(void **state)
{
    (void)state;
    bool failed = true;
    uint64_t nth = 1;
    for (; failed; nth++) {
        struct fixture f;
        test_allocator_init(&f.memory);
        test_allocator_fail_nth(&f.memory, nth);
        f.index = m5_index_new(&f.memory.table, 2, &key);
        if (f.index != NULL) {
            m5_match_init(&f.match, &f.memory.table);
            pin_with_failure(&f);
            m5_match_fini(&f.match);
            m5_index_free(f.index);
        }
        failed = test_allocator_failed(&f.memory);
        test_allocator_check(&f.memory);
    }
    assert_true(nth > SCARCE);
}

static void a_match_without_memory_says_so(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    pin(&f, 0, "a");
    pin(&f, 0, "+");
    test_allocator_fail_nth(&f.memory, 1);
    assert_false(m5_index_match(f.index, m5_bytes_of("a"), &f.match));
    assert_int_equal(f.match.count, 0);
    test_allocator_fail_nth(&f.memory, 2);
    assert_false(m5_index_match(f.index, m5_bytes_of("a"), &f.match));
    assert_int_equal(f.match.count, 1);
    assert_int_equal(match_count(&f, "a"), 2);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_match_as_the_specification_says),
        cmocka_unit_test(overlapping_filters_are_all_found_once),
        cmocka_unit_test(a_node_lives_while_a_shard_has_pinned_it),
        cmocka_unit_test(nodes_of_a_match_stay_until_the_turn_ends),
        cmocka_unit_test(pruning_leaves_what_others_need),
        cmocka_unit_test(hostile_depth_costs_no_stack),
        cmocka_unit_test(all_combinations_of_wildcards_are_found),
        cmocka_unit_test(many_filters_come_and_go_and_the_memory_with_them),
        cmocka_unit_test(random_pins_match_like_a_list_of_filters),
        cmocka_unit_test(each_failing_allocation_leaves_the_index_whole),
        cmocka_unit_test(a_match_without_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
