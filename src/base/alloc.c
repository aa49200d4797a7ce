/* Allocation through the table that an object was given, counted against a budget.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"

#include "base/assert.h"

#include <stdbool.h>
#include <string.h>

void *m5_alloc(const struct mqtt5_allocator *allocator, size_t size)
{
    M5_ASSERT(size > 0);
    return allocator->alloc(allocator->ctx, size);
}

void *m5_alloc_zero(const struct mqtt5_allocator *allocator, size_t size)
{
    void *memory = m5_alloc(allocator, size);
    if (memory != NULL)
        memset(memory, 0, size);
    return memory;
}

void m5_free(const struct mqtt5_allocator *allocator, void *memory, size_t size)
{
    if (memory != NULL)
        allocator->free(allocator->ctx, memory, size);
}

void *m5_resize(const struct mqtt5_allocator *allocator, void *memory, size_t old_size,
                size_t new_size)
{
    M5_ASSERT((memory == NULL) == (old_size == 0));
    if (new_size == old_size)
        return memory;
    void *moved = m5_alloc(allocator, new_size);
    if (moved == NULL || memory == NULL)
        return moved;
    memcpy(moved, memory, old_size < new_size ? old_size : new_size);
    m5_free(allocator, memory, old_size);
    return moved;
}

void *m5_make_room(const struct mqtt5_allocator *allocator, void *items, size_t item_size,
                   uint32_t count, uint32_t *capacity, uint32_t least)
{
    if (count < *capacity)
        return items;
    uint32_t larger = *capacity == 0 ? least : *capacity * 2;
    void *moved = m5_resize(allocator, items, *capacity * item_size, larger * item_size);
    if (moved != NULL)
        *capacity = larger;
    return moved;
}

static void *budget_alloc(void *ctx, size_t size)
{
    struct m5_budget *budget = ctx;
    M5_ASSERT(budget->limit == 0 || budget->used <= budget->limit);
    const bool fits = budget->limit == 0 || size <= budget->limit - budget->used;
    void *memory = fits ? m5_alloc(budget->parent, size) : NULL;
    if (memory == NULL) {
        budget->refused++;
        return NULL;
    }
    budget->used += size;
    if (budget->used > budget->used_max_seen)
        budget->used_max_seen = budget->used;
    return memory;
}

static void budget_free(void *ctx, void *memory, size_t size)
{
    struct m5_budget *budget = ctx;
    M5_ASSERT(size <= budget->used);
    budget->used -= size;
    m5_free(budget->parent, memory, size);
}

void m5_budget_init(struct m5_budget *budget, const struct mqtt5_allocator *parent, size_t limit)
{
    *budget = (struct m5_budget){
        .table = {.ctx = budget, .alloc = budget_alloc, .free = budget_free},
        .parent = parent,
        .limit = limit,
    };
}
