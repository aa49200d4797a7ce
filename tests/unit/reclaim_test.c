/* Reclaiming: nothing is freed while a shard or a ring may hold it, and everything is freed then.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/unit.h"

#include "base/assert.h"
#include "base/rng.h"
#include "broker/reclaim.h"
#include "support/seed.h"
#include "support/test_allocator.h"

#include <string.h>

enum { OBJECTS = 4000 };

struct object {
    struct m5_reclaim_item item;
    unsigned kind;
    unsigned times_freed;
};

static struct object objects[OBJECTS];

struct fixture {
    struct test_allocator memory;
    struct m5_reclaim reclaim;
    unsigned freed;
};

static void free_object(void *ctx, unsigned kind, struct m5_reclaim_item *item)
{
    struct fixture *f = ctx;
    struct object *object = M5_CONTAINER_OF(item, struct object, item);
    assert_int_equal(kind, object->kind);
    object->times_freed++;
    f->freed++;
}

static void set_up(struct fixture *f, uint32_t shard_count)
{
    memset(objects, 0, sizeof objects);
    f->freed = 0;
    test_allocator_init(&f->memory);
    assert_true(m5_reclaim_init(&f->reclaim, &f->memory.table, shard_count, free_object, f));
}

static void tear_down(struct fixture *f)
{
    m5_reclaim_fini(&f->reclaim);
    test_allocator_check(&f->memory);
}

static void retire(struct fixture *f, struct object *object, unsigned kind)
{
    object->kind = kind;
    m5_reclaim_retire(&f->reclaim, kind, &object->item);
}

static void one_shard_frees_at_its_next_quiescent_point(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    for (unsigned i = 0; i < 9; i++)
        retire(&f, &objects[i], i % M5_RECLAIM_KINDS);
    assert_int_equal(m5_reclaim_pending(&f.reclaim), 9);
    assert_int_equal(f.freed, 0);
    m5_reclaim_quiescent(&f.reclaim, 0);
    assert_int_equal(f.freed, 9);
    assert_int_equal(m5_reclaim_pending(&f.reclaim), 0);
    tear_down(&f);
}

static void one_call_frees_a_bounded_number(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 1);
    const unsigned count = 2 * M5_RECLAIM_FREE_BUDGET + 500;
    for (unsigned i = 0; i < count; i++)
        retire(&f, &objects[i], i % M5_RECLAIM_KINDS);
    m5_reclaim_quiescent(&f.reclaim, 0);
    assert_int_equal(f.freed, M5_RECLAIM_FREE_BUDGET);
    m5_reclaim_quiescent(&f.reclaim, 0);
    assert_int_equal(f.freed, 2 * M5_RECLAIM_FREE_BUDGET);
    assert_int_equal(m5_reclaim_pending(&f.reclaim), 500);
    m5_reclaim_quiescent(&f.reclaim, 0);
    assert_int_equal(f.freed, count);
    assert_int_equal(m5_reclaim_pending(&f.reclaim), 0);
    tear_down(&f);
}

static void a_fast_shard_does_not_free_what_a_slow_one_holds(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 2);
    retire(&f, &objects[0], 0);
    for (unsigned i = 0; i < 100; i++)
        m5_reclaim_quiescent(&f.reclaim, 1);
    assert_int_equal(f.freed, 0);
    /* Each call of the slow one ends at most one round, and three whole ones are needed. */
    for (unsigned i = 0; i < 3; i++) {
        m5_reclaim_quiescent(&f.reclaim, 0);
        for (unsigned n = 0; n < 100; n++)
            m5_reclaim_quiescent(&f.reclaim, 1);
        assert_int_equal(f.freed, i == 2);
    }
    tear_down(&f);
}

static void garbage_goes_after_a_bounded_number_of_turns(void **state)
{
    (void)state;
    for (uint32_t shard_count = 1; shard_count <= 64; shard_count++) {
        struct fixture f;
        set_up(&f, shard_count);
        retire(&f, &objects[0], 2);
        for (unsigned turn = 0; turn <= M5_RECLAIM_ROUNDS; turn++) {
            for (uint32_t shard = 0; shard < shard_count; shard++)
                m5_reclaim_quiescent(&f.reclaim, shard);
        }
        assert_int_equal(f.freed, 1);
        tear_down(&f);
    }
}

static void fini_frees_what_is_left(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f, 3);
    for (unsigned i = 0; i < 100; i++) {
        retire(&f, &objects[i], i % M5_RECLAIM_KINDS);
        m5_reclaim_quiescent(&f.reclaim, i % 3);
    }
    assert_true(m5_reclaim_pending(&f.reclaim) > 0);
    m5_reclaim_fini(&f.reclaim);
    assert_int_equal(f.freed, 100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(objects[i].times_freed, 1);
    m5_reclaim_fini(&f.reclaim);
    test_allocator_check(&f.memory);
}

static void init_without_memory_says_so(void **state)
{
    (void)state;
    struct fixture f;
    test_allocator_init(&f.memory);
    test_allocator_fail_nth(&f.memory, 1);
    assert_false(m5_reclaim_init(&f.reclaim, &f.memory.table, 2, free_object, &f));
    m5_reclaim_fini(&f.reclaim);
    test_allocator_check(&f.memory);
}

/* ---- shards with rings, in any order of steps ---- */

enum { SHARDS = 4, SLOTS = 6, MAIL_MAX = 64, HOLD_MAX = 64 };

struct mailbox {
    struct object *items[MAIL_MAX];
    unsigned count;
};

enum shard_step { STEP_BEGIN, STEP_TAKE_IN, STEP_WORK, STEP_QUIESCENT };

struct shard {
    enum shard_step next;
    unsigned mail_at_begin;
    struct mailbox mail;
    struct object *held[HOLD_MAX]; /* this turn */
    unsigned held_count;
};

struct world {
    struct fixture f;
    struct m5_rng rng;
    struct shard shards[SHARDS];
    struct object *visible[SLOTS]; /* what can be found */
    unsigned made;
};

static void use(const struct object *object)
{
    if (object->times_freed != 0)
        fail_msg("object %td is used after it was freed", object - objects);
}

static void hold(struct shard *shard, struct object *object)
{
    use(object);
    if (shard->held_count < HOLD_MAX)
        shard->held[shard->held_count++] = object;
}

static void take_in(struct shard *shard)
{
    for (unsigned i = 0; i < shard->mail_at_begin; i++)
        hold(shard, shard->mail.items[i]);
    shard->mail.count -= shard->mail_at_begin;
    memmove(shard->mail.items, shard->mail.items + shard->mail_at_begin,
            shard->mail.count * sizeof(struct object *));
}

/* Finds something and sends it (what came by mail is not sent on), uses what is held, replaces. */
static void work(struct world *world, struct shard *shard)
{
    const uint64_t slot = m5_rng_below(&world->rng, SLOTS);
    struct object *found = world->visible[slot];
    hold(shard, found);
    struct mailbox *to = &world->shards[m5_rng_below(&world->rng, SHARDS)].mail;
    if (to->count < MAIL_MAX)
        to->items[to->count++] = found;
    for (unsigned i = 0; i < shard->held_count; i++)
        use(shard->held[i]);
    if (m5_rng_below(&world->rng, 4) == 0 && world->made < OBJECTS) {
        struct object *old = world->visible[slot];
        world->visible[slot] = &objects[world->made++];
        retire(&world->f, old, (unsigned)m5_rng_below(&world->rng, M5_RECLAIM_KINDS));
    }
}

static void step(struct world *world, uint32_t i)
{
    struct shard *shard = &world->shards[i];
    switch (shard->next) {
    case STEP_BEGIN:
        shard->mail_at_begin = shard->mail.count;
        shard->next = STEP_TAKE_IN;
        return;
    case STEP_TAKE_IN:
        take_in(shard);
        shard->next = STEP_WORK;
        return;
    case STEP_WORK:
        work(world, shard);
        if (m5_rng_below(&world->rng, 3) == 0)
            shard->next = STEP_QUIESCENT;
        return;
    case STEP_QUIESCENT:
        shard->held_count = 0;
        m5_reclaim_quiescent(&world->f.reclaim, i);
        shard->next = STEP_BEGIN;
        return;
    }
}

static void nothing_is_used_after_it_was_freed(void **state)
{
    (void)state;
    static struct world world;
    const uint64_t seed = test_seed(5);
    for (uint64_t run = 0; run < 200; run++) {
        memset(&world, 0, sizeof world);
        set_up(&world.f, SHARDS);
        m5_rng_init(&world.rng, seed + run);
        for (; world.made < SLOTS; world.made++)
            world.visible[world.made] = &objects[world.made];
        /* Shards run at different speeds, which change. */
        for (unsigned phase = 0; phase < 40; phase++) {
            const uint64_t mostly = m5_rng_below(&world.rng, SHARDS);
            for (unsigned i = 0; i < 60; i++) {
                const bool is_other = m5_rng_below(&world.rng, 8) == 0;
                step(&world, (uint32_t)(is_other ? m5_rng_below(&world.rng, SHARDS) : mostly));
            }
        }
        assert_true(world.f.freed > 0);
        tear_down(&world.f);
        for (unsigned i = 0; i < world.made - SLOTS; i++)
            assert_true(objects[i].times_freed <= 1);
        assert_int_equal(world.f.freed, world.made - SLOTS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_shard_frees_at_its_next_quiescent_point),
        cmocka_unit_test(one_call_frees_a_bounded_number),
        cmocka_unit_test(a_fast_shard_does_not_free_what_a_slow_one_holds),
        cmocka_unit_test(garbage_goes_after_a_bounded_number_of_turns),
        cmocka_unit_test(fini_frees_what_is_left),
        cmocka_unit_test(init_without_memory_says_so),
        cmocka_unit_test(nothing_is_used_after_it_was_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
