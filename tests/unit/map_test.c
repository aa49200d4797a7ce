/* The hash map against an array that is searched from end to end.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/map.h"

#include "base/rng.h"
#include "support/seed.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#define KEYS 300u

/* One value for each key; its place in the array is its key. */
struct value {
    uint32_t key;
    bool inside;
};

static bool same(const void *value, const void *key)
{
    return ((const struct value *)value)->key == *(const uint32_t *)key;
}

/* Three hashes: a good one, one where neighbours follow each other, one with hardly any values. */
static uint32_t hash_of(uint32_t key, unsigned kind)
{
    return kind == 0 ? key * 0x85EBCA6Bu ^ key >> 3 : kind == 1 ? key : key % 5;
}

static void check_all(const struct m5_map *map, const struct value *values, unsigned kind)
{
    uint32_t inside = 0;
    for (uint32_t key = 0; key < KEYS; key++) {
        const struct value *found = m5_map_find(map, hash_of(key, kind), same, &key);
        assert_ptr_equal(found, values[key].inside ? &values[key] : NULL);
        inside += values[key].inside;
    }
    assert_int_equal(map->count, inside);
    uint32_t cursor = 0, seen = 0;
    for (const struct value *v; (v = m5_map_next(map, &cursor)) != NULL; seen++)
        assert_true(v->inside);
    assert_int_equal(seen, inside);
}

static void step(struct m5_map *map, struct value *value, unsigned kind)
{
    const uint32_t hash = hash_of(value->key, kind);
    if (value->inside) {
        assert_true(m5_map_remove(map, hash, value));
        value->inside = false;
    } else {
        assert_false(m5_map_remove(map, hash, value));
        value->inside = m5_map_add(map, hash, value);
    }
}

/* The number of keys in play swells and shrinks, so that the table grows and shrinks too. */
static void random_changes_match_the_model(void **state)
{
    (void)state;
    const uint64_t seed = test_seed(1);
    for (unsigned kind = 0; kind < 3; kind++) {
        struct test_allocator allocator;
        struct m5_rng rng;
        struct m5_map map;
        struct value values[KEYS] = {0};
        for (uint32_t key = 0; key < KEYS; key++)
            values[key].key = key;
        m5_rng_init(&rng, seed + kind);
        test_allocator_init(&allocator);
        m5_map_init(&map, &allocator.table);
        for (unsigned i = 0; i < 20000; i++) {
            const uint64_t in_play = i / 1000 % 2 == 0 ? KEYS : 4;
            step(&map, &values[m5_rng_below(&rng, in_play)], kind);
            if (i % 1000 == 999) { /* nearly empty now and then: the table shrinks */
                for (uint32_t key = 4; key < KEYS && i % 2000 == 1999; key++) {
                    if (values[key].inside)
                        step(&map, &values[key], kind);
                }
            }
            if (i % 97 == 0)
                check_all(&map, values, kind);
            if (i % 400 == 0) /* a failure to grow or to shrink changes nothing that is seen */
                test_allocator_fail_nth(&allocator, 1);
        }
        check_all(&map, values, kind);
        m5_map_fini(&map);
        test_allocator_check(&allocator);
    }
}

static void an_empty_map_has_no_memory(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct m5_map map;
    const uint32_t key = 1;
    test_allocator_init(&allocator);
    m5_map_init(&map, &allocator.table);
    assert_null(m5_map_find(&map, 0, same, &key));
    assert_false(m5_map_remove(&map, 0, &key));
    uint32_t cursor = 0;
    assert_null(m5_map_next(&map, &cursor));
    assert_int_equal(allocator.calls, 0);
    m5_map_fini(&map);
}

static void table_grows_at_three_quarters_and_shrinks_below_an_eighth(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct m5_map map;
    struct value values[100] = {0};
    test_allocator_init(&allocator);
    m5_map_init(&map, &allocator.table);
    for (uint32_t i = 0; i < 48; i++)
        assert_true(m5_map_add(&map, i, &values[i]));
    assert_int_equal(map.capacity, 64);
    assert_true(m5_map_add(&map, 48, &values[48]));
    assert_int_equal(map.capacity, 128);
    for (uint32_t i = 48; i >= 16; i--)
        assert_true(m5_map_remove(&map, i, &values[i]));
    assert_int_equal(map.capacity, 128);
    assert_true(m5_map_remove(&map, 15, &values[15]));
    assert_int_equal(map.capacity, 64);
    for (uint32_t i = 0; i < 15; i++)
        assert_true(m5_map_remove(&map, i, &values[i]));
    assert_int_equal(map.capacity, 8);
    m5_map_fini(&map);
    test_allocator_check(&allocator);
}

static void add_without_memory_leaves_the_map_as_it_was(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct m5_map map;
    struct value values[7] = {{.key = 0}, {.key = 1}, {.key = 2}, {.key = 3},
                              {.key = 4}, {.key = 5}, {.key = 6}};
    test_allocator_init(&allocator);
    m5_map_init(&map, &allocator.table);
    test_allocator_fail_nth(&allocator, 1);
    assert_false(m5_map_add(&map, 0, &values[0]));
    for (uint32_t i = 0; i < 6; i++)
        assert_true(m5_map_add(&map, i, &values[i]));
    test_allocator_fail_nth(&allocator, 1);
    assert_false(m5_map_add(&map, 6, &values[6]));
    assert_int_equal(map.count, 6);
    for (uint32_t i = 0; i < 7; i++)
        assert_ptr_equal(m5_map_find(&map, i, same, &i), i < 6 ? &values[i] : NULL);
    m5_map_fini(&map);
    test_allocator_check(&allocator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_no_memory),
        cmocka_unit_test(table_grows_at_three_quarters_and_shrinks_below_an_eighth),
        cmocka_unit_test(add_without_memory_leaves_the_map_as_it_was),
        cmocka_unit_test(random_changes_match_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
