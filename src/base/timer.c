/* Timer wheel of eleven levels: a level for each six bits of the clock.
 *
 * A running timer's place follows from the clock and its deadline alone: the highest group of six
 * bits in which the two differ is its level, and the deadline's bits there are its slot. All timers
 * of one deadline therefore always share one list, in start order, and a slot below the clock's own
 * is never occupied. The first deadline lies in the lowest slot of the lowest level in use; moving
 * the clock to where that slot begins leaves every other timer where it is, and takes those of the
 * slot at least one level down. A timer is moved at most ten times in its life, and a jump of the
 * clock costs what is in its way, not its length.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/timer.h"

#include <assert.h>

#define LEVEL_BITS 6u

static_assert(M5_TIMER_SLOTS == 1 << LEVEL_BITS, "a slot for each value of a group of bits");
static_assert(M5_TIMER_LEVELS * LEVEL_BITS >= 64, "the levels cover the clock");

struct place {
    unsigned level, slot;
};

/* @p deadline_ms lies after the wheel's clock. */
static struct place place_of(const struct m5_timer_wheel *wheel, uint64_t deadline_ms)
{
    const unsigned top = 63u - (unsigned)__builtin_clzll(deadline_ms ^ wheel->now_ms);
    const unsigned level = top / LEVEL_BITS;
    return (struct place){
        .level = level,
        .slot = (unsigned)(deadline_ms >> level * LEVEL_BITS) & (M5_TIMER_SLOTS - 1),
    };
}

/* The first slot in use; false when there is none. */
static bool first_place(const struct m5_timer_wheel *wheel, struct place *out)
{
    for (unsigned level = 0; level < M5_TIMER_LEVELS; level++) {
        if (wheel->occupied[level] != 0) {
            out->level = level;
            out->slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
            return true;
        }
    }
    return false;
}

/* The first millisecond that belongs to @p place. */
static uint64_t place_begins(const struct m5_timer_wheel *wheel, struct place place)
{
    const unsigned shift = place.level * LEVEL_BITS;
    const uint64_t below = ((uint64_t)M5_TIMER_SLOTS << shift) - 1; /* the top level wraps to ~0 */
    const uint64_t above = shift + LEVEL_BITS >= 64 ? 0 : wheel->now_ms & ~below;
    return above | (uint64_t)place.slot << shift;
}

static void put(struct m5_timer_wheel *wheel, struct m5_timer *timer)
{
    const struct place place = place_of(wheel, timer->deadline_ms);
    m5_list_push_back(&wheel->slots[place.level][place.slot], &timer->node);
    wheel->occupied[place.level] |= (uint64_t)1 << place.slot;
}

/* Moves the clock to the beginning of @p place and spreads its timers over the levels below. */
static void enter(struct m5_timer_wheel *wheel, struct place place)
{
    struct m5_list *slot = &wheel->slots[place.level][place.slot];
    M5_ASSERT(!m5_list_empty(slot));
    wheel->now_ms = place_begins(wheel, place);
    wheel->occupied[place.level] &= ~((uint64_t)1 << place.slot);
    for (struct m5_list *node; (node = m5_list_pop_front(slot)) != NULL;) {
        struct m5_timer *timer = M5_CONTAINER_OF(node, struct m5_timer, node);
        M5_ASSERT(timer->deadline_ms >= wheel->now_ms);
        if (timer->deadline_ms == wheel->now_ms)
            m5_list_push_back(&wheel->expired, node);
        else
            put(wheel, timer);
    }
}

void m5_timer_wheel_init(struct m5_timer_wheel *wheel, uint64_t now_ms)
{
    wheel->now_ms = now_ms;
    wheel->count = 0;
    m5_list_init(&wheel->overdue);
    m5_list_init(&wheel->expired);
    for (unsigned level = 0; level < M5_TIMER_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < M5_TIMER_SLOTS; slot++)
            m5_list_init(&wheel->slots[level][slot]);
    }
}

void m5_timer_start(struct m5_timer_wheel *wheel, struct m5_timer *timer, uint64_t deadline_ms)
{
    m5_timer_stop(wheel, timer);
    wheel->count++;
    if (deadline_ms <= wheel->now_ms) {
        timer->deadline_ms = wheel->now_ms;
        m5_list_push_back(&wheel->overdue, &timer->node);
        return;
    }
    timer->deadline_ms = deadline_ms;
    put(wheel, timer);
}

void m5_timer_stop(struct m5_timer_wheel *wheel, struct m5_timer *timer)
{
    if (!m5_timer_running(timer))
        return;
    M5_ASSERT(wheel->count > 0);
    wheel->count--;
    m5_list_remove(&timer->node);
    if (timer->deadline_ms <= wheel->now_ms)
        return;
    const struct place place = place_of(wheel, timer->deadline_ms);
    if (m5_list_empty(&wheel->slots[place.level][place.slot]))
        wheel->occupied[place.level] &= ~((uint64_t)1 << place.slot);
}

void m5_timer_advance(struct m5_timer_wheel *wheel, uint64_t now_ms)
{
    for (struct m5_list *node; (node = m5_list_pop_front(&wheel->overdue)) != NULL;)
        m5_list_push_back(&wheel->expired, node);
    struct place first;
    while (first_place(wheel, &first) && place_begins(wheel, first) <= now_ms)
        enter(wheel, first);
    if (now_ms > wheel->now_ms)
        wheel->now_ms = now_ms;
}

struct m5_timer *m5_timer_pop(struct m5_timer_wheel *wheel)
{
    struct m5_list *node = m5_list_pop_front(&wheel->expired);
    if (node == NULL)
        return NULL;
    M5_ASSERT(wheel->count > 0);
    wheel->count--;
    return M5_CONTAINER_OF(node, struct m5_timer, node);
}

uint64_t m5_timer_next_deadline(const struct m5_timer_wheel *wheel)
{
    if (!m5_list_empty(&wheel->expired) || !m5_list_empty(&wheel->overdue))
        return 0;
    struct place first;
    return first_place(wheel, &first) ? place_begins(wheel, first) : M5_NEVER;
}
