/* Timer wheel: starting, moving and stopping a timer is O(1), for millions of them. Hierarchical,
 * 1 ms ticks, 64 slots a level. Polled: nothing is called back. Expired timers come out ordered by
 * deadline, ties by start order, so that a run is reproducible; a deadline in the past counts as
 * the present.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_TIMER_H
#define M5_BASE_TIMER_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

#define M5_TIMER_LEVELS 11 /* 64^11 > 2^64: every deadline has a slot */
#define M5_TIMER_SLOTS  64
#define M5_NEVER        UINT64_MAX

struct m5_timer {
    struct m5_list node;  /* linked while running */
    uint64_t deadline_ms; /* of the wheel's clock */
};

struct m5_timer_wheel {
    uint64_t now_ms;
    uint64_t occupied[M5_TIMER_LEVELS]; /* a bit per slot that is not empty */
    struct m5_list slots[M5_TIMER_LEVELS][M5_TIMER_SLOTS];
    struct m5_list overdue; /* started with a deadline in the past: due at the next advance */
    struct m5_list expired; /* due, not yet popped */
    uint64_t count;         /* running timers, those in both lists included */
};

void m5_timer_wheel_init(struct m5_timer_wheel *wheel, uint64_t now_ms);

/* A timer must be initialised once before any other call. */
static inline void m5_timer_init(struct m5_timer *timer)
{
    m5_list_init(&timer->node);
    timer->deadline_ms = M5_NEVER;
}

static inline bool m5_timer_running(const struct m5_timer *timer)
{
    return m5_list_linked(&timer->node);
}

/* Starts or moves @p timer; a deadline in the past is due at the next advance (not before). */
void m5_timer_start(struct m5_timer_wheel *wheel, struct m5_timer *timer, uint64_t deadline_ms);

/* Stops @p timer; harmless when it is not running. */
void m5_timer_stop(struct m5_timer_wheel *wheel, struct m5_timer *timer);

/* Moves the clock (a step back is ignored) and collects what became due. */
void m5_timer_advance(struct m5_timer_wheel *wheel, uint64_t now_ms);

/* The next due timer, stopped, or NULL. Timers started while popping with a deadline in the past
 * come out at the next advance. */
struct m5_timer *m5_timer_pop(struct m5_timer_wheel *wheel);

/* When to advance next at the latest: never after the first deadline, possibly before it (a
 * cascade); M5_NEVER when no timer runs. 0 when a timer is due already. */
uint64_t m5_timer_next_deadline(const struct m5_timer_wheel *wheel);

#endif
