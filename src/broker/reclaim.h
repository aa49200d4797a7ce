/* Frees what readers without locks may still hold, once none of them can.
 *
 * An object is unlinked first, then retired. Every shard says now and then that it holds nothing
 * (m5_reclaim_quiescent); a round is complete when every shard has said so since it began, and only
 * then the next begins. An object is freed after three whole rounds:
 *   1. nobody can find it any more, and nobody puts it into a ring any more;
 *   2. every shard has ended the turn that it was in, begun before the last ring was filled;
 *   3. every shard has ended one more turn, and so has used what was in its rings.
 * Counting each shard's calls alone would not do: a fast shard would run ahead of a slow one that
 * has yet to put into the fast one's ring what it found before.
 *
 * With one shard there are no rings: a call frees what was retired before it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_RECLAIM_H
#define M5_BROKER_RECLAIM_H

#include "broker/spin.h"

#include <mqtt5/allocator.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define M5_RECLAIM_KINDS       3u
#define M5_RECLAIM_ROUNDS      4u    /* the one an object was retired in, and three whole ones */
#define M5_RECLAIM_FREE_BUDGET 1000u /* objects freed by one call */

/* Embedded in what can be retired. */
struct m5_reclaim_item {
    struct m5_reclaim_item *next;
};

/* Frees @p item, which was retired as one of @p kind. */
typedef void m5_reclaim_free_fn(void *ctx, unsigned kind, struct m5_reclaim_item *item);

struct m5_reclaim_chain {
    struct m5_reclaim_item *first, *last;
};

struct m5_reclaim_bag {
    struct m5_reclaim_chain chains[M5_RECLAIM_KINDS];
};

struct m5_reclaim_shard; /* reclaim.c */

struct m5_reclaim {
    const struct mqtt5_allocator *allocator; /* borrowed */
    m5_reclaim_free_fn *free_item;
    void *ctx;
    struct m5_reclaim_shard *shards;
    uint32_t shard_count;
    struct m5_spin lock;                           /* guards the bags and the end of a round */
    _Atomic uint64_t round;                        /* the one that is going on */
    _Atomic uint64_t pending;                      /* objects retired and not yet freed */
    struct m5_reclaim_bag bags[M5_RECLAIM_ROUNDS]; /* by round, modulo */
};

/* False without memory. */
bool m5_reclaim_init(struct m5_reclaim *reclaim, const struct mqtt5_allocator *allocator,
                     uint32_t shard_count, m5_reclaim_free_fn *free_item, void *ctx);

/* Frees everything that is left; all shards are at rest. Accepts a zeroed struct. */
void m5_reclaim_fini(struct m5_reclaim *reclaim);

/* Takes @p item, which no reader can find any more. Any thread. */
void m5_reclaim_retire(struct m5_reclaim *reclaim, unsigned kind, struct m5_reclaim_item *item);

/* Shard @p shard holds nothing now but what it put into rings since its last call, and has used
 * all that was in its own rings when its turn began. Frees up to M5_RECLAIM_FREE_BUDGET objects. */
void m5_reclaim_quiescent(struct m5_reclaim *reclaim, uint32_t shard);

/* Objects that are retired and not yet freed. Any thread. */
static inline uint64_t m5_reclaim_pending(const struct m5_reclaim *reclaim)
{
    return atomic_load_explicit(&reclaim->pending, memory_order_relaxed);
}

#endif
