/* Rounds of quiescence, and the bags of what was retired in each of the last four.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/reclaim.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <assert.h>

#define CACHE_LINE 64u

/* One shard's part, on a cache line of its own: it is written once a turn while garbage waits. */
struct m5_reclaim_shard {
    _Atomic uint64_t seen;       /* the last round in which this shard was quiescent */
    struct m5_reclaim_bag ready; /* this shard's to free; nobody else looks at it */
    uint8_t padding[CACHE_LINE - sizeof(uint64_t) - sizeof(struct m5_reclaim_bag)];
};

static_assert(sizeof(struct m5_reclaim_shard) == CACHE_LINE, "one line for each shard");
static_assert((M5_RECLAIM_ROUNDS & (M5_RECLAIM_ROUNDS - 1)) == 0, "rounds are taken modulo");

static void append(struct m5_reclaim_chain *to, struct m5_reclaim_chain from)
{
    if (from.first == NULL)
        return;
    if (to->first == NULL)
        to->first = from.first;
    else
        to->last->next = from.first;
    to->last = from.last;
}

static void pour(struct m5_reclaim_bag *to, struct m5_reclaim_bag *from)
{
    for (unsigned kind = 0; kind < M5_RECLAIM_KINDS; kind++)
        append(&to->chains[kind], from->chains[kind]);
    *from = (struct m5_reclaim_bag){0};
}

/* Frees up to @p budget objects of @p bag and returns how many. */
static uint32_t free_some(const struct m5_reclaim *reclaim, struct m5_reclaim_bag *bag,
                          uint32_t budget)
{
    uint32_t freed = 0;
    for (unsigned kind = 0; kind < M5_RECLAIM_KINDS; kind++) {
        struct m5_reclaim_chain *chain = &bag->chains[kind];
        for (; chain->first != NULL && freed < budget; freed++) {
            struct m5_reclaim_item *item = chain->first;
            chain->first = item->next;
            reclaim->free_item(reclaim->ctx, kind, item);
        }
    }
    return freed;
}

/* The acquiring loads make what each shard read before it was quiescent happen before the free. */
static bool all_have_seen(const struct m5_reclaim *reclaim, uint64_t round)
{
    for (uint32_t i = 0; i < reclaim->shard_count; i++) {
        if (atomic_load_explicit(&reclaim->shards[i].seen, memory_order_acquire) != round)
            return false;
    }
    return true;
}

/* Ends @p round if all have seen it; the shard @p own frees what that makes free. The lock is only
 * tried: whoever holds it is retiring something or ending the round. */
static void end_round(struct m5_reclaim *reclaim, struct m5_reclaim_shard *own, uint64_t round)
{
    if (!all_have_seen(reclaim, round) || !m5_spin_try_lock(&reclaim->lock))
        return;
    if (atomic_load_explicit(&reclaim->round, memory_order_relaxed) == round) {
        pour(&own->ready, &reclaim->bags[(round + 1) % M5_RECLAIM_ROUNDS]);
        atomic_store_explicit(&reclaim->round, round + 1, memory_order_release);
    }
    m5_spin_unlock(&reclaim->lock);
}

bool m5_reclaim_init(struct m5_reclaim *reclaim, const struct mqtt5_allocator *allocator,
                     uint32_t shard_count, m5_reclaim_free_fn *free_item, void *ctx)
{
    M5_ASSERT(shard_count > 0);
    *reclaim = (struct m5_reclaim){
        .allocator = allocator,
        .free_item = free_item,
        .ctx = ctx,
        .shard_count = shard_count,
    };
    m5_spin_init(&reclaim->lock);
    reclaim->shards = m5_alloc_zero(allocator, shard_count * sizeof *reclaim->shards);
    return reclaim->shards != NULL;
}

void m5_reclaim_fini(struct m5_reclaim *reclaim)
{
    if (reclaim->shards == NULL)
        return;
    for (unsigned i = 0; i < M5_RECLAIM_ROUNDS; i++)
        free_some(reclaim, &reclaim->bags[i], UINT32_MAX);
    for (uint32_t i = 0; i < reclaim->shard_count; i++)
        free_some(reclaim, &reclaim->shards[i].ready, UINT32_MAX);
    m5_free(reclaim->allocator, reclaim->shards, reclaim->shard_count * sizeof *reclaim->shards);
    *reclaim = (struct m5_reclaim){0};
}

void m5_reclaim_retire(struct m5_reclaim *reclaim, unsigned kind, struct m5_reclaim_item *item)
{
    M5_ASSERT(kind < M5_RECLAIM_KINDS);
    item->next = NULL;
    m5_spin_lock(&reclaim->lock);
    const uint64_t round = atomic_load_explicit(&reclaim->round, memory_order_relaxed);
    append(&reclaim->bags[round % M5_RECLAIM_ROUNDS].chains[kind],
           (struct m5_reclaim_chain){.first = item, .last = item});
    atomic_fetch_add_explicit(&reclaim->pending, 1, memory_order_relaxed);
    m5_spin_unlock(&reclaim->lock);
}

void m5_reclaim_quiescent(struct m5_reclaim *reclaim, uint32_t shard)
{
    M5_ASSERT(shard < reclaim->shard_count);
    if (m5_reclaim_pending(reclaim) == 0)
        return;
    struct m5_reclaim_shard *own = &reclaim->shards[shard];
    const uint64_t round = atomic_load_explicit(&reclaim->round, memory_order_acquire);
    atomic_store_explicit(&own->seen, round, memory_order_release);
    if (reclaim->shard_count == 1)
        pour(&own->ready, &reclaim->bags[round % M5_RECLAIM_ROUNDS]);
    else
        end_round(reclaim, own, round);
    const uint32_t freed = free_some(reclaim, &own->ready, M5_RECLAIM_FREE_BUDGET);
    if (freed > 0)
        atomic_fetch_sub_explicit(&reclaim->pending, freed, memory_order_relaxed);
}
