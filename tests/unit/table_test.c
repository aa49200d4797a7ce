/* The table that is read without locks: against a list, and what it costs in slots and arrays.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/unit.h"

#include "base/rng.h"
#include "broker/table.h"
#include "support/seed.h"
#include "support/test_allocator.h"

enum { ENTRIES = 3000 };

struct entry {
    uint64_t hash;
    bool is_in;
};

static struct entry entries[ENTRIES];

struct fixture {
    struct test_allocator memory;
    struct m5_table table;
};

static void set_up(struct fixture *f)
{
    test_allocator_init(&f->memory);
    m5_table_init(&f->table, &f->memory.table, NULL, 0);
}

static void tear_down(struct fixture *f)
{
    m5_table_fini(&f->table);
    test_allocator_check(&f->memory);
}

static bool same_entry(const void *value, const void *key)
{
    return value == key;
}

static bool is_found(struct fixture *f, struct entry *entry)
{
    return m5_table_find(&f->table, entry->hash, same_entry, entry) == entry;
}

static void add(struct fixture *f, struct entry *entry)
{
    assert_true(m5_table_reserve(&f->table));
    m5_table_insert(&f->table, entry->hash, entry);
    entry->is_in = true;
}

static void drop(struct fixture *f, struct entry *entry)
{
    m5_table_remove(&f->table, entry->hash, entry);
    entry->is_in = false;
}

static const struct m5_table_array *array_of(const struct fixture *f)
{
    return f->table.array;
}

/* Hashes of which many share a tag, a place, or the last places of any array. */
static void make_entries(struct m5_rng *rng)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        uint64_t hash = m5_rng_next(rng);
        switch (m5_rng_below(rng, 4)) {
        case 0: hash |= UINT64_C(0xFFFFF) << 44; break;
        case 1: hash &= UINT64_C(0xF) << 32; break;
        default: break;
        }
        entries[i] = (struct entry){.hash = hash};
    }
}

/* The figures that decide when a table is rebuilt are those of the slots. */
static void check(const struct fixture *f)
{
    const struct m5_table_array *array = array_of(f), *previous = array->previous;
    uint32_t filled = 0, count = 0, behind = 0;
    for (uint32_t i = 0; i < array->capacity; i++) {
        filled += array->tags[i] != M5_TABLE_EMPTY;
        count += array->tags[i] > M5_TABLE_REMOVED;
    }
    for (uint32_t i = array->moved; previous != NULL && i < previous->capacity; i++)
        behind += previous->tags[i] > M5_TABLE_REMOVED;
    assert_int_equal(f->table.count, count + behind);
    assert_int_equal(f->table.filled, filled + behind);
    assert_true(f->table.filled <= array->capacity / 4 * 3);
}

static void random_changes_are_found_like_in_a_list(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(99));
    for (unsigned run = 0; run < 3; run++) {
        struct fixture f;
        set_up(&f);
        make_entries(&rng);
        uint64_t bias = 5;
        for (unsigned step = 0; step < 30000; step++) {
            /* Grows for a while, then shrinks, then grows. */
            if (step % 3000 == 0)
                bias = 2 + m5_rng_below(&rng, 8);
            struct entry *entry = &entries[m5_rng_below(&rng, ENTRIES)];
            const bool wanted = m5_rng_below(&rng, 10) < bias;
            if (wanted && !entry->is_in)
                add(&f, entry);
            else if (!wanted && entry->is_in)
                drop(&f, entry);
            struct entry *other = &entries[m5_rng_below(&rng, ENTRIES)];
            assert_int_equal(is_found(&f, other), other->is_in);
            if (step % 64 == 0 && array_of(&f) != NULL)
                check(&f);
        }
        m5_table_settle(&f.table);
        check(&f);
        uint32_t cursor = 0, count = 0;
        for (const struct entry *entry; (entry = m5_table_next(&f.table, &cursor)) != NULL; count++)
            assert_true(entry->is_in);
        assert_int_equal(count, f.table.count);
        for (unsigned i = 0; i < ENTRIES; i++)
            assert_int_equal(is_found(&f, &entries[i]), entries[i].is_in);
        tear_down(&f);
    }
}

static void coming_and_going_rebuilds_rarely(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(100));
    struct fixture f;
    set_up(&f);
    for (unsigned i = 0; i < ENTRIES; i++)
        entries[i] = (struct entry){.hash = m5_rng_next(&rng)};
    for (unsigned i = 0; i < ENTRIES / 2; i++)
        add(&f, &entries[i]);
    const uint64_t before = f.memory.calls;
    const unsigned changes = 100 * ENTRIES;
    for (unsigned i = 0; i < changes; i++) {
        drop(&f, &entries[i % ENTRIES]);
        add(&f, &entries[(i + ENTRIES / 2) % ENTRIES]);
    }
    /* A rebuild leaves at least a quarter of the slots for marks. */
    assert_true(f.memory.calls - before <= changes / (array_of(&f)->capacity / 4) + 1);
    tear_down(&f);
}

static void an_insertion_moves_a_bounded_number_of_slots(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(101));
    struct fixture f;
    set_up(&f);
    uint32_t moved = 0;
    unsigned moving = 0;
    const struct m5_table_array *array = NULL;
    for (unsigned i = 0; i < ENTRIES; i++) {
        entries[i] = (struct entry){.hash = m5_rng_next(&rng)};
        add(&f, &entries[i]);
        if (array_of(&f) == array) {
            assert_true(array->moved - moved <= 64);
            moving += array->previous != NULL;
        }
        array = array_of(&f);
        moved = array->moved;
        for (unsigned j = 0; array->previous != NULL && j <= i; j++)
            assert_true(is_found(&f, &entries[j]));
    }
    assert_true(moving > 30); /* it was seen half-way */
    tear_down(&f);
}

static void a_table_that_could_not_shrink_still_takes_new_entries(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(102));
    struct fixture f;
    set_up(&f);
    for (unsigned i = 0; i < ENTRIES; i++) {
        entries[i] = (struct entry){.hash = m5_rng_next(&rng)};
        add(&f, &entries[i]);
    }
    f.memory.fail_on = true;
    test_allocator_fail_nth(&f.memory, 1);
    for (unsigned i = 5; i < ENTRIES; i++)
        drop(&f, &entries[i]);
    test_allocator_fail_nth(&f.memory, 0);
    drop(&f, &entries[4]); /* now it shrinks to the smallest array, from one that is far larger */
    assert_int_equal(array_of(&f)->capacity, 16);
    assert_non_null(array_of(&f)->previous);
    for (unsigned i = 4; i < 60; i++) {
        add(&f, &entries[i]);
        check(&f);
    }
    for (unsigned i = 0; i < 60; i++)
        assert_true(is_found(&f, &entries[i]));
    tear_down(&f);
}

/* ---- a reader overtaken by a move ---- */

struct overtaken {
    struct fixture *f;
    struct entry *wanted;
    unsigned next; /* entry to add */
};

static void free_array(void *ctx, unsigned kind, struct m5_reclaim_item *item)
{
    (void)kind;
    struct fixture *f = ctx;
    m5_table_free_retired(&f->memory.table, item);
}

/* Called while a reader looks at a slot: meanwhile the writer moves all that is left. */
static bool same_after_the_move(const void *value, const void *key)
{
    struct overtaken *o = (struct overtaken *)(uintptr_t)key;
    while (array_of(o->f)->previous != NULL)
        add(o->f, &entries[o->next++]);
    return value == o->wanted;
}

/* The reader has passed the place in the new array to which its entry is then moved. */
static void an_entry_that_moves_behind_a_reader_is_found_where_it_was(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    struct m5_reclaim reclaim;
    assert_true(m5_reclaim_init(&reclaim, &f.memory.table, 1, free_array, &f));
    f.table.reclaim = &reclaim;
    struct m5_rng rng;
    m5_rng_init(&rng, 1);
    for (unsigned i = 0; i < ENTRIES; i++)
        entries[i] = (struct entry){.hash = m5_rng_next(&rng) >> 1};
    struct entry *wanted = &entries[0], *mark = &entries[1], *decoy = &entries[2];
    wanted->hash = mark->hash = decoy->hash = UINT64_C(0xE0000000) << 32;
    add(&f, wanted);
    unsigned next = 3;
    while (array_of(&f)->capacity < 1024)
        add(&f, &entries[next++]);
    add(&f, mark);
    add(&f, decoy);
    drop(&f, mark);
    assert_non_null(array_of(&f)->previous);
    struct overtaken o = {.f = &f, .wanted = wanted, .next = next};
    assert_ptr_equal(m5_table_find(&f.table, wanted->hash, same_after_the_move, &o), wanted);
    assert_null(array_of(&f)->previous);
    assert_true(is_found(&f, wanted));
    m5_reclaim_fini(&reclaim);
    tear_down(&f);
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    test_allocator_fail_nth(&f.memory, 1);
    assert_false(m5_table_reserve(&f.table));
    for (unsigned i = 0; i < 12; i++) {
        entries[i] = (struct entry){.hash = (uint64_t)i << 60};
        add(&f, &entries[i]);
    }
    test_allocator_fail_nth(&f.memory, 1);
    assert_false(m5_table_reserve(&f.table));
    for (unsigned i = 0; i < 12; i++)
        assert_true(is_found(&f, &entries[i]));
    assert_true(m5_table_reserve(&f.table));
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_changes_are_found_like_in_a_list),
        cmocka_unit_test(coming_and_going_rebuilds_rarely),
        cmocka_unit_test(an_insertion_moves_a_bounded_number_of_slots),
        cmocka_unit_test(a_table_that_could_not_shrink_still_takes_new_entries),
        cmocka_unit_test(an_entry_that_moves_behind_a_reader_is_found_where_it_was),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
