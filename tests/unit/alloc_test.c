/* Allocation and budgets.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"

#include "support/test_allocator.h"
#include "support/unit.h"

#include <string.h>

static void zeroed_memory_is_zero(void **state)
{
    (void)state;
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    static const uint8_t zeros[100];
    void *memory = m5_alloc_zero(&allocator.table, sizeof zeros);
    assert_memory_equal(memory, zeros, sizeof zeros);
    m5_free(&allocator.table, memory, sizeof zeros);
    m5_free(&allocator.table, NULL, 7);
    test_allocator_check(&allocator);
}

static void resize_keeps_the_contents_that_fit(void **state)
{
    (void)state;
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    char *memory = m5_resize(&allocator.table, NULL, 0, 4);
    memcpy(memory, "abcd", 4);
    memory = m5_resize(&allocator.table, memory, 4, 4);
    memory = m5_resize(&allocator.table, memory, 4, 1000);
    assert_memory_equal(memory, "abcd", 4);
    memory = m5_resize(&allocator.table, memory, 1000, 2);
    assert_memory_equal(memory, "ab", 2);
    test_allocator_fail_nth(&allocator, 1);
    assert_null(m5_resize(&allocator.table, memory, 2, 50));
    assert_memory_equal(memory, "ab", 2);
    m5_free(&allocator.table, memory, 2);
    test_allocator_check(&allocator);
}

static void room_is_made_by_doubling(void **state)
{
    (void)state;
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    uint32_t capacity = 0;
    uint64_t *items = m5_make_room(&allocator.table, NULL, sizeof *items, 0, &capacity, 3);
    assert_int_equal(capacity, 3);
    for (uint64_t i = 0; i < 3; i++)
        items[i] = i + 1;
    assert_ptr_equal(m5_make_room(&allocator.table, items, sizeof *items, 2, &capacity, 3), items);
    test_allocator_fail_nth(&allocator, 1);
    assert_null(m5_make_room(&allocator.table, items, sizeof *items, 3, &capacity, 3));
    assert_int_equal(capacity, 3);
    items = m5_make_room(&allocator.table, items, sizeof *items, 3, &capacity, 3);
    assert_int_equal(capacity, 6);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(items[i], i + 1);
    m5_free(&allocator.table, items, capacity * sizeof *items);
    test_allocator_check(&allocator);
}

static void budget_refuses_at_its_limit_and_not_before(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct m5_budget budget;
    test_allocator_init(&allocator);
    m5_budget_init(&budget, &allocator.table, 100);
    void *most = m5_alloc(&budget.table, 99);
    assert_non_null(most);
    assert_null(m5_alloc(&budget.table, 2));
    assert_null(m5_alloc(&budget.table, SIZE_MAX));
    void *last = m5_alloc(&budget.table, 1);
    assert_non_null(last);
    assert_int_equal(budget.used, 100);
    assert_int_equal(budget.refused, 2);
    m5_free(&budget.table, most, 99);
    assert_int_equal(budget.used, 1);
    assert_int_equal(budget.used_max_seen, 100);
    m5_free(&budget.table, last, 1);
    test_allocator_check(&allocator);
}

static void budget_counts_what_its_parent_refuses(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct m5_budget budget;
    test_allocator_init(&allocator);
    m5_budget_init(&budget, &allocator.table, 0);
    test_allocator_fail_nth(&allocator, 1);
    assert_null(m5_alloc(&budget.table, 10));
    assert_int_equal(budget.used, 0);
    assert_int_equal(budget.refused, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zeroed_memory_is_zero),
        cmocka_unit_test(resize_keeps_the_contents_that_fit),
        cmocka_unit_test(room_is_made_by_doubling),
        cmocka_unit_test(budget_refuses_at_its_limit_and_not_before),
        cmocka_unit_test(budget_counts_what_its_parent_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
