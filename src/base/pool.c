/* Objects of one size out of slabs: a free list threaded through the objects that are not out.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/pool.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>

/* Objects are aligned for anything, and a slab's link takes one such unit, so that they stay so. */
#define UNIT alignof(max_align_t)

static size_t round_up(size_t size)
{
    return (size + UNIT - 1) & ~(UNIT - 1);
}

static_assert(sizeof(struct m5_pool_free) <= UNIT,
              "the link of a free object fits in the smallest");

void m5_pool_init(struct m5_pool *pool, const struct mqtt5_allocator *allocator, size_t object_size,
                  size_t slab_bytes)
{
    M5_ASSERT(object_size > 0);
    const size_t rounded = round_up(object_size);
    const size_t smallest = UNIT + rounded;
    *pool = (struct m5_pool){
        .allocator = allocator,
        .object_size = rounded,
        .slab_size = slab_bytes > smallest ? slab_bytes : smallest,
    };
}

static void free_slabs(struct m5_pool *pool)
{
    for (struct m5_pool_free *slab = pool->slabs; slab != NULL;) {
        struct m5_pool_free *next = slab->next;
        M5_POOL_UNHIDE(slab, pool->slab_size);
        m5_free(pool->allocator, slab, pool->slab_size);
        slab = next;
    }
    pool->slabs = NULL;
    pool->free = NULL;
    pool->slab_count = 0;
}

void m5_pool_fini(struct m5_pool *pool)
{
    free_slabs(pool);
    pool->used = 0;
}

int m5_pool_grow(struct m5_pool *pool)
{
    unsigned char *slab = m5_alloc(pool->allocator, pool->slab_size);
    if (slab == NULL)
        return false;
    struct m5_pool_free *link = (struct m5_pool_free *)(void *)slab;
    link->next = pool->slabs;
    pool->slabs = link;
    pool->slab_count++;
    /* From the back, so that objects are handed out by ascending address. */
    for (size_t n = (pool->slab_size - UNIT) / pool->object_size; n > 0; n--) {
        void *object = slab + UNIT + (n - 1) * pool->object_size;
        struct m5_pool_free *node = object;
        node->next = pool->free;
        pool->free = node;
        M5_POOL_HIDE(object, pool->object_size);
    }
    return true;
}

void m5_pool_trim(struct m5_pool *pool)
{
    if (pool->used == 0)
        free_slabs(pool);
}
