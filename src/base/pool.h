/* Objects of one size, taken and given back in a few instructions; memory comes in slabs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_POOL_H
#define M5_BASE_POOL_H

#include <mqtt5/allocator.h>

#include <stddef.h>
#include <stdint.h>

/* Under the address sanitizer, objects that are not out cannot be touched. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define M5_POOL_GUARDED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define M5_POOL_GUARDED
#endif
#ifdef M5_POOL_GUARDED
void __asan_poison_memory_region(const volatile void *memory, size_t size);
void __asan_unpoison_memory_region(const volatile void *memory, size_t size);
#define M5_POOL_HIDE(object, size)   __asan_poison_memory_region((object), (size))
#define M5_POOL_UNHIDE(object, size) __asan_unpoison_memory_region((object), (size))
#else
#define M5_POOL_HIDE(object, size)   ((void)0)
#define M5_POOL_UNHIDE(object, size) ((void)0)
#endif

struct m5_pool_free {
    struct m5_pool_free *next;
};

struct m5_pool {
    const struct mqtt5_allocator *allocator;
    struct m5_pool_free *free; /* last given back first: it is warm */
    void *slabs;               /* linked through their first word */
    size_t object_size;        /* bytes, rounded up to the alignment of any object */
    size_t slab_size;          /* bytes of one slab */
    size_t used;               /* objects out */
    size_t slab_count;
};

/* @p slab_bytes is what to ask the allocator for at a time (at least one object fits). */
void m5_pool_init(struct m5_pool *pool, const struct mqtt5_allocator *allocator, size_t object_size,
                  size_t slab_bytes);

/* Gives all slabs back; objects still out die with them. Accepts a zeroed pool. */
void m5_pool_fini(struct m5_pool *pool);

/* Grows by one slab; 0 without memory, else 1. */
int m5_pool_grow(struct m5_pool *pool);

/* An object with undefined contents, or NULL without memory. */
static inline void *m5_pool_take(struct m5_pool *pool)
{
    if (__builtin_expect(pool->free == NULL, 0) && !m5_pool_grow(pool))
        return NULL;
    struct m5_pool_free *object = pool->free;
    M5_POOL_UNHIDE(object, pool->object_size);
    pool->free = object->next;
    pool->used++;
    return object;
}

/* Takes @p object (from this pool, not NULL) back. Slabs stay: see m5_pool_trim(). */
static inline void m5_pool_give(struct m5_pool *pool, void *object)
{
    struct m5_pool_free *node = (struct m5_pool_free *)object;
    node->next = pool->free;
    pool->free = node;
    pool->used--;
    M5_POOL_HIDE(object, pool->object_size);
}

/* Gives all slabs back when no object is out; call it now and then, off the hot path. */
void m5_pool_trim(struct m5_pool *pool);

#endif
