/* Allocation through the table that an object was given, counted against a budget.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_ALLOC_H
#define M5_BASE_ALLOC_H

#include <mqtt5/allocator.h>

#include <stddef.h>
#include <stdint.h>

/* NULL when there is no memory; @p size > 0. */
void *m5_alloc(const struct mqtt5_allocator *allocator, size_t size);

/* As m5_alloc(), filled with zeros. */
void *m5_alloc_zero(const struct mqtt5_allocator *allocator, size_t size);

/* @p memory may be NULL; @p size is what was asked for. */
void m5_free(const struct mqtt5_allocator *allocator, void *memory, size_t size);

/* Moves @p memory (may be NULL with old_size 0) to @p new_size bytes; on NULL the old is intact. */
void *m5_resize(const struct mqtt5_allocator *allocator, void *memory, size_t old_size,
                size_t new_size);

/* Room for one more item in the array @p items (may be NULL) of @p item_size bytes each, @p count
 * of *@p capacity in use: the array, moved to twice the capacity (at first @p least) when it is
 * full. NULL without memory: the old array is intact. */
void *m5_make_room(const struct mqtt5_allocator *allocator, void *items, size_t item_size,
                   uint32_t count, uint32_t *capacity, uint32_t least);

/* An allocator in front of another that counts bytes and refuses beyond a limit. Used by one
 * thread (a shard). @ref table is what to hand on. */
struct m5_budget {
    struct mqtt5_allocator table;         /* ctx points at this budget */
    const struct mqtt5_allocator *parent; /* borrowed */
    size_t used;                          /* bytes */
    size_t used_max_seen;                 /* bytes, high-water mark */
    size_t limit;                         /* bytes, 0 = none */
    uint64_t refused;                     /* allocations that met the limit or an empty parent */
};

void m5_budget_init(struct m5_budget *budget, const struct mqtt5_allocator *parent, size_t limit);

#endif
