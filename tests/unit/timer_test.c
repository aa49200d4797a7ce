/* The timer wheel against an array that is searched for the first deadline.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/timer.h"

#include "base/rng.h"
#include "support/seed.h"
#include "support/unit.h"

#include <stdlib.h>

#define TIMERS 60u

/* A timer and what the model knows of it. */
struct entry {
    struct m5_timer timer;
    uint64_t deadline_ms; /* a deadline in the past counts as the present */
    uint64_t order;       /* of its start */
    bool running;
    bool due; /* found due by an advance, to be popped */
};

struct world {
    struct m5_timer_wheel wheel;
    struct entry entries[TIMERS];
    struct m5_rng rng;
    uint64_t now_ms;
    uint64_t starts;
};

static void world_init(struct world *world, uint64_t seed, uint64_t now_ms)
{
    *world = (struct world){.now_ms = now_ms};
    m5_rng_init(&world->rng, seed);
    m5_timer_wheel_init(&world->wheel, now_ms);
    for (unsigned i = 0; i < TIMERS; i++)
        m5_timer_init(&world->entries[i].timer);
}

static void start(struct world *world, struct entry *entry, uint64_t deadline_ms)
{
    m5_timer_start(&world->wheel, &entry->timer, deadline_ms);
    entry->deadline_ms = deadline_ms < world->now_ms ? world->now_ms : deadline_ms;
    entry->order = ++world->starts;
    entry->running = true;
    entry->due = false;
}

static void stop(struct world *world, struct entry *entry)
{
    m5_timer_stop(&world->wheel, &entry->timer);
    entry->running = entry->due = false;
}

static void advance(struct world *world, uint64_t now_ms)
{
    m5_timer_advance(&world->wheel, now_ms);
    if (now_ms > world->now_ms)
        world->now_ms = now_ms;
    for (unsigned i = 0; i < TIMERS; i++) {
        struct entry *entry = &world->entries[i];
        entry->due = entry->running && entry->deadline_ms <= world->now_ms;
    }
}

static struct entry *model_first(struct world *world, bool due_alone)
{
    struct entry *first = NULL;
    for (unsigned i = 0; i < TIMERS; i++) {
        struct entry *entry = &world->entries[i];
        if (!entry->running || (due_alone && !entry->due))
            continue;
        if (first == NULL || entry->deadline_ms < first->deadline_ms ||
            (entry->deadline_ms == first->deadline_ms && entry->order < first->order))
            first = entry;
    }
    return first;
}

static bool pop_one(struct world *world)
{
    struct entry *expected = model_first(world, true);
    struct m5_timer *timer = m5_timer_pop(&world->wheel);
    assert_ptr_equal(timer, expected == NULL ? NULL : &expected->timer);
    if (expected == NULL)
        return false;
    assert_false(m5_timer_running(timer));
    expected->running = expected->due = false;
    return true;
}

static void check(struct world *world)
{
    uint64_t running = 0;
    for (unsigned i = 0; i < TIMERS; i++) {
        running += world->entries[i].running;
        assert_int_equal(m5_timer_running(&world->entries[i].timer), world->entries[i].running);
    }
    assert_int_equal(world->wheel.count, running);
    const struct entry *first = model_first(world, false);
    const uint64_t next = m5_timer_next_deadline(&world->wheel);
    if (first == NULL)
        assert_int_equal(next, M5_NEVER);
    else if (first->deadline_ms <= world->now_ms)
        assert_int_equal(next, 0);
    else
        assert_true(next > world->now_ms && next <= first->deadline_ms);
}

/* Distances of every magnitude, and often the same ones, so that there are ties. */
static uint64_t random_distance(struct m5_rng *rng)
{
    const uint64_t bits = m5_rng_below(rng, m5_rng_below(rng, 50) == 0 ? 64 : 30);
    const uint64_t distance = m5_rng_next(rng) & (((uint64_t)1 << bits) - 1);
    return m5_rng_below(rng, 3) == 0 ? distance & ~(uint64_t)0x3F : distance;
}

static uint64_t random_deadline(struct world *world)
{
    const uint64_t distance = random_distance(&world->rng);
    if (m5_rng_below(&world->rng, 8) == 0) /* in the past */
        return distance < world->now_ms ? world->now_ms - distance : 0;
    return distance <= UINT64_MAX - world->now_ms ? world->now_ms + distance : UINT64_MAX;
}

static void random_step(struct world *world)
{
    struct entry *entry = &world->entries[m5_rng_below(&world->rng, TIMERS)];
    const uint64_t left = UINT64_MAX - world->now_ms;
    switch (m5_rng_below(&world->rng, 8)) {
    case 0:
    case 1:
    case 2: start(world, entry, random_deadline(world)); break;
    case 3: /* the same deadline as another's */
        start(world, entry, world->entries[m5_rng_below(&world->rng, TIMERS)].deadline_ms);
        break;
    case 4: stop(world, entry); break;
    case 5: {
        const uint64_t distance = random_distance(&world->rng) >> m5_rng_below(&world->rng, 20);
        advance(world, world->now_ms + (distance < left ? distance : left));
        break;
    }
    case 6: /* as a host does: to the next deadline, which may be a step on the way to it only */
        if (m5_timer_next_deadline(&world->wheel) != M5_NEVER)
            advance(world, m5_timer_next_deadline(&world->wheel));
        break;
    default:
        for (uint64_t n = m5_rng_below(&world->rng, 5); n > 0 && pop_one(world); n--)
            continue;
        break;
    }
}

static void random_use_matches_the_model(void **state)
{
    (void)state;
    const uint64_t first_seed = test_seed(1);
    for (uint64_t seed = first_seed; seed < first_seed + 60; seed++) {
        static const uint64_t clocks[] = {0, 63, 1u << 30, UINT64_MAX - (1u << 20)};
        struct world *world = malloc(sizeof *world);
        assert_non_null(world);
        world_init(world, seed, clocks[seed % 4]);
        for (unsigned i = 0; i < 3000; i++) {
            random_step(world);
            check(world);
        }
        advance(world, UINT64_MAX);
        while (pop_one(world))
            continue;
        check(world);
        free(world);
    }
}

static void ties_come_out_in_start_order_across_a_cascade(void **state)
{
    (void)state;
    struct m5_timer_wheel wheel;
    struct m5_timer early, late, other;
    m5_timer_init(&early);
    m5_timer_init(&late);
    m5_timer_init(&other);
    m5_timer_wheel_init(&wheel, 0);
    m5_timer_start(&wheel, &early, 5000);
    m5_timer_start(&wheel, &other, 4990);
    m5_timer_advance(&wheel, 4999);
    assert_ptr_equal(m5_timer_pop(&wheel), &other);
    m5_timer_start(&wheel, &late, 5000);
    m5_timer_advance(&wheel, 5000);
    assert_ptr_equal(m5_timer_pop(&wheel), &early);
    assert_ptr_equal(m5_timer_pop(&wheel), &late);
    assert_null(m5_timer_pop(&wheel));
}

static void a_deadline_in_the_past_waits_for_the_next_advance(void **state)
{
    (void)state;
    struct m5_timer_wheel wheel;
    struct m5_timer timer;
    m5_timer_init(&timer);
    m5_timer_wheel_init(&wheel, 1000);
    m5_timer_start(&wheel, &timer, 10);
    assert_int_equal(m5_timer_next_deadline(&wheel), 0);
    assert_null(m5_timer_pop(&wheel));
    m5_timer_advance(&wheel, 900); /* a step back */
    assert_int_equal(wheel.now_ms, 1000);
    assert_ptr_equal(m5_timer_pop(&wheel), &timer);
    assert_int_equal(wheel.count, 0);
}

static void an_expired_timer_can_be_stopped_before_it_is_popped(void **state)
{
    (void)state;
    struct m5_timer_wheel wheel;
    struct m5_timer timer;
    m5_timer_init(&timer);
    m5_timer_wheel_init(&wheel, 0);
    m5_timer_start(&wheel, &timer, 10);
    m5_timer_advance(&wheel, 20);
    m5_timer_stop(&wheel, &timer);
    m5_timer_stop(&wheel, &timer);
    assert_null(m5_timer_pop(&wheel));
    assert_int_equal(m5_timer_next_deadline(&wheel), M5_NEVER);
}

/* Following next_deadline reaches any deadline on time, with a wake-up a level at most. */
static void far_deadlines_are_reached_in_a_few_steps(void **state)
{
    (void)state;
    static const uint64_t deadlines[] = {
        1, 64, 65, 4095, 4096, 86400000, (uint64_t)1 << 40, (uint64_t)1 << 63, UINT64_MAX - 1};
    for (unsigned i = 0; i < sizeof deadlines / sizeof *deadlines; i++) {
        struct m5_timer_wheel wheel;
        struct m5_timer timer;
        m5_timer_init(&timer);
        m5_timer_wheel_init(&wheel, 0);
        m5_timer_start(&wheel, &timer, deadlines[i]);
        unsigned steps = 0;
        while (m5_timer_next_deadline(&wheel) != 0) {
            m5_timer_advance(&wheel, m5_timer_next_deadline(&wheel));
            steps++;
        }
        assert_true(steps <= M5_TIMER_LEVELS);
        assert_int_equal(wheel.now_ms, deadlines[i]);
        assert_ptr_equal(m5_timer_pop(&wheel), &timer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ties_come_out_in_start_order_across_a_cascade),
        cmocka_unit_test(a_deadline_in_the_past_waits_for_the_next_advance),
        cmocka_unit_test(an_expired_timer_can_be_stopped_before_it_is_popped),
        cmocka_unit_test(far_deadlines_are_reached_in_a_few_steps),
        cmocka_unit_test(random_use_matches_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
