/* Objects of one size, taken and given back in a few instructions; memory comes in slabs.
 *
 * What is given back goes to the front of one list, and the next object taken comes from there.
 * m5_pool_trim() moves what waits in that list to the slabs it came from, some objects per call,
 * and frees a slab as soon as all of its objects are back. Objects that wait in their slabs are
 * taken when the list is empty, before more memory is asked for.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_POOL_H
#define M5_BASE_POOL_H

#include "base/list.h"

#include <mqtt5/allocator.h>

#include <stdbool.h>
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

struct m5_pool_slab;

/* Stays where m5_pool_init() found it. */
struct m5_pool {
    struct m5_pool_free *free;  /* last given back first: it is warm */
    size_t used;                /* objects out */
    size_t object_size;         /* bytes, rounded up to the alignment of any object */
    size_t slab_size;           /* bytes of one slab */
    size_t slab_objects;        /* in one slab */
    size_t slab_count;          /* blank ones included */
    struct m5_pool_slab *slabs; /* root of a tree by address */
    struct m5_pool_slab *blank; /* the same of slabs to free, whose objects are in no list */
    struct m5_list sorted;      /* slabs that objects went back to */
    const struct mqtt5_allocator *allocator;
};

/* @p slab_bytes is what to ask the allocator for at a time (at least one object fits). */
void m5_pool_init(struct m5_pool *pool, const struct mqtt5_allocator *allocator, size_t object_size,
                  size_t slab_bytes);

/* Gives all slabs back; objects still out die with them. Accepts a zeroed pool. */
void m5_pool_fini(struct m5_pool *pool);

/* Fills the empty list of free objects from one slab, at need a new one; false without memory. */
bool m5_pool_refill(struct m5_pool *pool);

/* An object with undefined contents, or NULL without memory. */
static inline void *m5_pool_take(struct m5_pool *pool)
{
    if (__builtin_expect(pool->free == NULL, 0) && !m5_pool_refill(pool))
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

/* Frees slabs without an object out, when at least half of all objects and 64 KiB are free, or
 * all objects; call it now and then, off the hot path. One call looks at a bounded number of
 * objects (some milliseconds at worst) and needs no memory; true: the next one has more to do. */
bool m5_pool_trim(struct m5_pool *pool);

#endif
