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

/* ---- trimming ---- */

/* A pool, what is out of it, and the slabs it was given. */
struct world {
    struct test_allocator inner;
    struct mqtt5_allocator table; /* notes slabs and hands on to inner */
    struct m5_pool pool;
    struct m5_rng rng;
    size_t object_size;
    uint8_t *out[20000];
    size_t out_count;
    uint8_t *slabs[4096];
    size_t slab_count;
};

static void fill(const struct world *world, uint8_t *object)
{
    memset(object, (int)((uintptr_t)object >> 4 & 0xFF), world->object_size);
}

static void check_contents(const struct world *world, const uint8_t *object)
{
    for (size_t at = 0; at < world->object_size; at++)
        assert_int_equal(object[at], (uintptr_t)object >> 4 & 0xFF);
}

static void *note_slab(void *ctx, size_t size)
{
    struct world *world = ctx;
    uint8_t *slab = world->inner.table.alloc(&world->inner, size);
    if (slab == NULL)
        return NULL;
    assert_true(world->slab_count < sizeof world->slabs / sizeof *world->slabs);
    world->slabs[world->slab_count++] = slab;
    return slab;
}

static bool has_object_out(const struct world *world, const uint8_t *slab)
{
    for (size_t i = 0; i < world->out_count; i++) {
        if ((uintptr_t)world->out[i] - (uintptr_t)slab < world->pool.slab_size)
            return true;
    }
    return false;
}

static void forget_slab(void *ctx, void *slab, size_t size)
{
    struct world *world = ctx;
    assert_false(has_object_out(world, slab));
    size_t i = 0;
    while (i < world->slab_count && world->slabs[i] != slab)
        i++;
    assert_true(i < world->slab_count);
    world->slabs[i] = world->slabs[--world->slab_count];
    world->inner.table.free(&world->inner, slab, size);
}

static void world_init(struct world *world, size_t object_size, size_t slab_bytes)
{
    world->table = (struct mqtt5_allocator){world, note_slab, forget_slab};
    world->object_size = object_size;
    world->out_count = 0;
    world->slab_count = 0;
    test_allocator_init(&world->inner);
    m5_pool_init(&world->pool, &world->table, object_size, slab_bytes);
}

static void world_fini(struct world *world)
{
    world->out_count = 0;
    m5_pool_fini(&world->pool);
    test_allocator_check(&world->inner);
}

static void take(struct world *world)
{
    assert_true(world->out_count < sizeof world->out / sizeof *world->out);
    uint8_t *object = m5_pool_take(&world->pool);
    assert_non_null(object);
    fill(world, object);
    world->out[world->out_count++] = object;
}

static void give(struct world *world, size_t i)
{
    check_contents(world, world->out[i]);
    m5_pool_give(&world->pool, world->out[i]);
    world->out[i] = world->out[--world->out_count];
}

static void give_random(struct world *world)
{
    give(world, m5_rng_below(&world->rng, world->out_count));
}

/* True when a trim has to free what it can. */
static bool worth_a_trim(const struct world *world)
{
    const size_t count = world->pool.slab_count * world->pool.slab_objects - world->out_count;
    return count >= world->out_count && count * world->pool.object_size >= 65536;
}

/* Trims until nothing is left to do; true when that is because all that is free was looked at, not
 * because too little of the pool was free any more. */
static bool trim_wholly(struct world *world)
{
    bool worth;
    unsigned calls = 0;
    do {
        assert_true(calls++ < 100);
        worth = worth_a_trim(world);
    } while (m5_pool_trim(&world->pool));
    return worth || world->out_count == 0;
}

static void check_world(const struct world *world)
{
    assert_int_equal(world->pool.used, world->out_count);
    assert_int_equal(world->pool.slab_count, world->slab_count);
    assert_int_equal(world->inner.bytes, world->slab_count * world->pool.slab_size);
}

static void check_trimmed(const struct world *world)
{
    for (size_t i = 0; i < world->slab_count; i++)
        assert_true(has_object_out(world, world->slabs[i]));
}

/* One step of the property below: some takes, some gives, or a trim. */
static void step(struct world *world, size_t out_max)
{
    const size_t count = m5_rng_below(&world->rng, out_max / 2);
    switch (m5_rng_below(&world->rng, 4)) {
    case 0:
        for (size_t i = 0; i < count && world->out_count < out_max; i++)
            take(world);
        break;
    case 1:
        for (size_t i = 0; i < count && world->out_count > 0; i++)
            give_random(world);
        break;
    case 2: m5_pool_trim(&world->pool); break;
    case 3:
        if (trim_wholly(world))
            check_trimmed(world);
        break;
    }
    check_world(world);
}

/* Objects keep what is written in them, no slab with an object out is freed (the allocator of the
 * world looks), and after a trim of all that is free every slab has one out. */
static void takes_gives_and_trims_by_chance(void **state)
{
    (void)state;
    static const struct {
        size_t object_size, slab_bytes, out_max;
    } rows[] = {
        {8, 4096, 20000}, {24, 1024, 9000}, {128, 65536, 4000}, {500, 4096, 1500}, {1000, 1, 800}};
    static struct world world;
    m5_rng_init(&world.rng, test_seed(1));
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        world_init(&world, rows[row].object_size, rows[row].slab_bytes);
        for (unsigned i = 0; i < 150; i++)
            step(&world, rows[row].out_max);
        for (size_t i = 0; i < world.out_count; i++)
            check_contents(&world, world.out[i]);
        world_fini(&world);
    }
}

static void one_object_out_keeps_one_slab(void **state)
{
    (void)state;
    static struct world world;
    m5_rng_init(&world.rng, test_seed(1));
    world_init(&world, 128, 65536);
    for (unsigned i = 0; i < 20000; i++)
        take(&world);
    assert_true(world.slab_count >= 39);
    while (world.out_count > 1)
        give_random(&world);
    trim_wholly(&world);
    assert_int_equal(world.slab_count, 1);
    check_contents(&world, world.out[0]);
    world_fini(&world);
}

/* Objects out all over the slabs keep them, and what is free in between is used again. */
static void sorted_objects_go_out_before_more_memory_is_asked_for(void **state)
{
    (void)state;
    static struct world world;
    m5_rng_init(&world.rng, test_seed(1));
    world_init(&world, 24, 4096);
    for (unsigned i = 0; i < 15000; i++)
        take(&world);
    while (world.out_count > 2000)
        give_random(&world);
    trim_wholly(&world);
    const size_t room = world.pool.slab_count * world.pool.slab_objects;
    test_allocator_fail_nth(&world.inner, 1);
    while (world.out_count < room)
        take(&world);
    assert_false(test_allocator_failed(&world.inner));
    assert_null(m5_pool_take(&world.pool));
    check_world(&world);
    world_fini(&world);
}

/* A long list is sorted over several calls, between which the pool is used. */
static void a_trim_is_bounded_and_goes_on_at_the_next(void **state)
{
    (void)state;
    static struct world world;
    m5_rng_init(&world.rng, test_seed(1));
    world_init(&world, 16, 8192);
    for (unsigned i = 0; i < 20000; i++)
        take(&world);
    while (world.out_count > 10)
        give_random(&world);
    unsigned calls = 1;
    for (; m5_pool_trim(&world.pool); calls++) {
        assert_true(calls < 10);
        give_random(&world);
        take(&world);
        check_world(&world);
    }
    assert_true(calls > 1);
    assert_true(world.slab_count <= world.out_count);
    check_trimmed(&world);
    world_fini(&world);
}

/* An empty pool frees a bounded number of slabs per call too, the rest is used again. */
static void an_emptied_pool_is_freed_in_steps(void **state)
{
    (void)state;
    static struct world world;
    m5_rng_init(&world.rng, test_seed(1));
    world_init(&world, 1000, 1);
    for (unsigned i = 0; i < 2000; i++)
        take(&world);
    while (world.out_count > 0)
        give(&world, 0);
    assert_true(m5_pool_trim(&world.pool));
    check_world(&world);
    const size_t left = world.slab_count;
    assert_in_range(left, 1, 1999);
    test_allocator_fail_nth(&world.inner, 1);
    while (world.out_count < left)
        take(&world);
    assert_false(test_allocator_failed(&world.inner));
    while (world.out_count > 0)
        give(&world, 0);
    trim_wholly(&world);
    assert_int_equal(world.slab_count, 0);
    world_fini(&world);
}

/* In a small pool the last objects stay where they are: nothing worth a search is free. */
static void little_is_left_alone(void **state)
{
    (void)state;
    static struct world world;
    world_init(&world, 24, 4096);
    for (unsigned i = 0; i < 1000; i++)
        take(&world);
    const size_t slabs = world.slab_count;
    while (world.out_count > 1)
        give(&world, 1);
    struct m5_pool_free *first = world.pool.free;
    assert_false(m5_pool_trim(&world.pool));
    assert_int_equal(world.slab_count, slabs);
    assert_ptr_equal(world.pool.free, first);
    world_fini(&world);
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
        cmocka_unit_test(takes_gives_and_trims_by_chance),
        cmocka_unit_test(one_object_out_keeps_one_slab),
        cmocka_unit_test(sorted_objects_go_out_before_more_memory_is_asked_for),
        cmocka_unit_test(a_trim_is_bounded_and_goes_on_at_the_next),
        cmocka_unit_test(an_emptied_pool_is_freed_in_steps),
        cmocka_unit_test(little_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
