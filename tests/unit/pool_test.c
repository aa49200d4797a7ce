/* Pools of objects of one size.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/pool.h"

#include "base/rng.h"
#include "support/seed.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <stdalign.h>
#include <string.h>

static void objects_are_aligned_and_apart(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 100; size += 3) {
        struct test_allocator allocator;
        struct m5_pool pool;
        test_allocator_init(&allocator);
        m5_pool_init(&pool, &allocator.table, size, 512);
        uint8_t *objects[40];
        for (unsigned i = 0; i < 40; i++) {
            objects[i] = m5_pool_take(&pool);
            assert_int_equal((uintptr_t)objects[i] % alignof(max_align_t), 0);
            memset(objects[i], (int)i, size);
        }
        for (unsigned i = 0; i < 40; i++) {
            for (size_t at = 0; at < size; at++)
                assert_int_equal(objects[i][at], i);
        }
        m5_pool_fini(&pool);
        test_allocator_check(&allocator);
    }
}

static void a_slab_holds_at_least_one_object(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct m5_pool pool;
    test_allocator_init(&allocator);
    m5_pool_init(&pool, &allocator.table, 1000, 1);
    void *first = m5_pool_take(&pool);
    void *second = m5_pool_take(&pool);
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal(pool.slab_count, 2);
    m5_pool_fini(&pool);
    test_allocator_check(&allocator);
}

static void what_comes_back_last_goes_out_first(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct m5_pool pool;
    test_allocator_init(&allocator);
    m5_pool_init(&pool, &allocator.table, 24, 4096);
    void *first = m5_pool_take(&pool);
    void *second = m5_pool_take(&pool);
    m5_pool_give(&pool, first);
    m5_pool_give(&pool, second);
    assert_ptr_equal(m5_pool_take(&pool), second);
    assert_ptr_equal(m5_pool_take(&pool), first);
    m5_pool_fini(&pool);
}

static void trim_waits_for_the_last_object(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct m5_pool pool;
    test_allocator_init(&allocator);
    m5_pool_init(&pool, &allocator.table, 24, 4096);
    void *object = m5_pool_take(&pool);
    m5_pool_trim(&pool);
    assert_int_equal(allocator.blocks, 1);
    m5_pool_give(&pool, object);
    m5_pool_trim(&pool);
    assert_int_equal(allocator.blocks, 0);
    assert_int_equal(pool.slab_count, 0);
    assert_non_null(m5_pool_take(&pool));
    m5_pool_fini(&pool);
    test_allocator_check(&allocator);
}

static void without_memory_there_is_no_object_and_no_harm(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct m5_pool pool;
    test_allocator_init(&allocator);
    m5_pool_init(&pool, &allocator.table, 64, 128);
    test_allocator_fail_nth(&allocator, 1);
    assert_null(m5_pool_take(&pool));
    assert_int_equal(pool.used, 0);
    assert_non_null(m5_pool_take(&pool));
    assert_int_equal(pool.used, 1);
    m5_pool_fini(&pool);
    m5_pool_fini(&(struct m5_pool){0});
    test_allocator_check(&allocator);
}

/* Random takes and gives: no object is handed out twice, and the count is right. */
static void no_object_is_out_twice(void **state)
{
    (void)state;
    enum { OBJECTS = 500 };
    struct test_allocator allocator;
    struct m5_pool pool;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(1));
    test_allocator_init(&allocator);
    m5_pool_init(&pool, &allocator.table, sizeof(uint64_t) * 3, 1024);
    uint64_t *out[OBJECTS] = {0};
    size_t used = 0;
    for (unsigned step = 0; step < 100000; step++) {
        const uint64_t i = m5_rng_below(&rng, OBJECTS);
        if (out[i] == NULL) {
            out[i] = m5_pool_take(&pool);
            *out[i] = i;
            used++;
        } else {
            assert_int_equal(*out[i], i);
            m5_pool_give(&pool, out[i]);
            out[i] = NULL;
            used--;
        }
        assert_int_equal(pool.used, used);
    }
    m5_pool_fini(&pool);
    test_allocator_check(&allocator);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_aligned_and_apart),
        cmocka_unit_test(a_slab_holds_at_least_one_object),
        cmocka_unit_test(what_comes_back_last_goes_out_first),
        cmocka_unit_test(trim_waits_for_the_last_object),
        cmocka_unit_test(without_memory_there_is_no_object_and_no_harm),
        cmocka_unit_test(no_object_is_out_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
