/* Objects of one size out of slabs: a free list threaded through the objects that are not out.
 *
 * To find the slab of an object without a word in each object, and without memory that trimming
 * would need just when there is none left, the slabs themselves are the nodes of a search tree by
 * address: a treap, whose priorities are hashes of the addresses.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/pool.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <assert.h>
#include <stdalign.h>

/* Objects are aligned for anything, and a slab's header takes whole such units: they stay so. */
#define UNIT           alignof(max_align_t)
#define ROUND_UP(size) (((size) + UNIT - 1) & ~(UNIT - 1))
#define HEADER         ROUND_UP(sizeof(struct m5_pool_slab))

/* Fewer free bytes than this are not worth a search. */
#define TRIM_LEAST (64u * 1024u)

/* What one trim may cost, in steps through a list whose objects are at hand. An object of another
 * slab than the one before takes a search and most often cache misses; to free a slab takes what
 * the system needs to unmap its pages. */
#define TRIM_COST   65536u
#define SEARCH_COST 8u
#define FREE_COST   128u

struct m5_pool_slab {
    struct m5_pool_slab *left, *right; /* slabs at lower, at higher addresses */
    struct m5_pool_free *free;         /* objects that went back to this slab */
    size_t free_count;                 /* of them */
    struct m5_list sorted;             /* linked while free_count > 0 */
};

static_assert(sizeof(struct m5_pool_free) <= UNIT,
              "the link of a free object fits in the smallest");

/* ---- the tree ---- */

/* The finaliser of a common hash: neighbours in memory get unlike priorities. */
static uint64_t priority(const struct m5_pool_slab *slab)
{
    uint64_t bits = (uintptr_t)slab;
    bits = (bits ^ bits >> 33) * 0xFF51AFD7ED558CCDu;
    bits = (bits ^ bits >> 33) * 0xC4CEB9FE1A85EC53u;
    return bits ^ bits >> 33;
}

/* Goes down to the first node of lower priority, and splits what hangs there around @p slab. */
static void insert(struct m5_pool_slab **at, struct m5_pool_slab *slab)
{
    while (*at != NULL && priority(*at) >= priority(slab))
        at = (uintptr_t)slab < (uintptr_t)*at ? &(*at)->left : &(*at)->right;
    struct m5_pool_slab *rest = *at;
    struct m5_pool_slab **lower = &slab->left;
    struct m5_pool_slab **higher = &slab->right;
    *at = slab;
    while (rest != NULL) {
        if ((uintptr_t)rest < (uintptr_t)slab) {
            *lower = rest;
            lower = &rest->right;
            rest = rest->right;
        } else {
            *higher = rest;
            higher = &rest->left;
            rest = rest->left;
        }
    }
    *lower = *higher = NULL;
}

/* Puts the two subtrees of @p slab, joined, in its place. */
static void take_out(struct m5_pool_slab **at, const struct m5_pool_slab *slab)
{
    while (*at != slab)
        at = (uintptr_t)slab < (uintptr_t)*at ? &(*at)->left : &(*at)->right;
    struct m5_pool_slab *lower = slab->left;
    struct m5_pool_slab *higher = slab->right;
    while (lower != NULL && higher != NULL) {
        if (priority(lower) >= priority(higher)) {
            *at = lower;
            at = &lower->right;
            lower = *at;
        } else {
            *at = higher;
            at = &higher->left;
            higher = *at;
        }
    }
    *at = lower != NULL ? lower : higher;
}

static bool holds(const struct m5_pool *pool, const struct m5_pool_slab *slab, const void *object)
{
    return (uintptr_t)object - (uintptr_t)slab < pool->slab_size;
}

static struct m5_pool_slab *slab_of(const struct m5_pool *pool, const void *object)
{
    struct m5_pool_slab *slab = pool->slabs;
    while (!holds(pool, slab, object))
        slab = (uintptr_t)object < (uintptr_t)slab ? slab->left : slab->right;
    return slab;
}

/* Turns the tree until nothing is higher than its root, which comes off; NULL: none is left. Only
 * for trees in which nothing will be looked up. The highest goes first because a heap that ends
 * there can then shrink step by step, not by all that was freed below at once. */
static struct m5_pool_slab *pop(struct m5_pool_slab **tree)
{
    struct m5_pool_slab *slab = *tree;
    if (slab == NULL)
        return NULL;
    while (slab->right != NULL) {
        struct m5_pool_slab *root = slab->right;
        slab->right = root->left;
        root->left = slab;
        slab = root;
    }
    *tree = slab->left;
    return slab;
}

/* ---- slabs ---- */

static void free_slab(struct m5_pool *pool, struct m5_pool_slab *slab)
{
    M5_POOL_UNHIDE(slab, pool->slab_size);
    m5_free(pool->allocator, slab, pool->slab_size);
    pool->slab_count--;
}

static bool add_slab(struct m5_pool *pool)
{
    struct m5_pool_slab *slab = pop(&pool->blank);
    if (slab == NULL) {
        slab = m5_alloc(pool->allocator, pool->slab_size);
        if (slab == NULL)
            return false;
        pool->slab_count++;
    }
    slab->free = NULL;
    slab->free_count = 0;
    m5_list_init(&slab->sorted);
    insert(&pool->slabs, slab);
    /* From the back, so that objects are handed out by ascending address. */
    for (size_t n = pool->slab_objects; n > 0; n--) {
        void *object = (unsigned char *)slab + HEADER + (n - 1) * pool->object_size;
        struct m5_pool_free *node = object;
        M5_POOL_UNHIDE(object, sizeof *node);
        node->next = pool->free;
        pool->free = node;
        M5_POOL_HIDE(object, pool->object_size);
    }
    return true;
}

/* No object is out: what the slabs hold is forgotten, not sorted. */
static void blank_all(struct m5_pool *pool)
{
    M5_ASSERT(pool->used == 0);
    M5_ASSERT(pool->blank == NULL);
    pool->blank = pool->slabs;
    pool->slabs = NULL;
    pool->free = NULL;
    m5_list_init(&pool->sorted);
}

static unsigned free_blank(struct m5_pool *pool, unsigned cost)
{
    for (; pool->blank != NULL && cost < TRIM_COST; cost += FREE_COST)
        free_slab(pool, pop(&pool->blank));
    return cost;
}

/* Moves the first free object to @p slab, which is its own. */
static void sort_first(struct m5_pool *pool, struct m5_pool_slab *slab)
{
    struct m5_pool_free *object = pool->free;
    M5_POOL_UNHIDE(object, sizeof *object);
    pool->free = object->next;
    object->next = slab->free;
    M5_POOL_HIDE(object, sizeof *object);
    slab->free = object;
    if (slab->free_count++ == 0)
        m5_list_push_back(&pool->sorted, &slab->sorted);
}

/* Moves free objects to their slabs and frees those that get all of theirs. */
static void sort_some(struct m5_pool *pool, unsigned cost)
{
    struct m5_pool_slab *slab = NULL;
    for (; pool->free != NULL && cost < TRIM_COST; cost++) {
        if (slab == NULL || !holds(pool, slab, pool->free)) {
            slab = slab_of(pool, pool->free);
            cost += SEARCH_COST;
        }
        sort_first(pool, slab);
        if (slab->free_count == pool->slab_objects) {
            m5_list_remove(&slab->sorted);
            take_out(&pool->slabs, slab);
            free_slab(pool, slab);
            cost += FREE_COST;
            slab = NULL;
        }
    }
}

void m5_pool_init(struct m5_pool *pool, const struct mqtt5_allocator *allocator, size_t object_size,
                  size_t slab_bytes)
{
    M5_ASSERT(object_size > 0);
    const size_t rounded = ROUND_UP(object_size);
    const size_t smallest = HEADER + rounded;
    const size_t slab_size = slab_bytes > smallest ? slab_bytes : smallest;
    *pool = (struct m5_pool){
        .object_size = rounded,
        .slab_size = slab_size,
        .slab_objects = (slab_size - HEADER) / rounded,
        .allocator = allocator,
    };
    m5_list_init(&pool->sorted);
}

void m5_pool_fini(struct m5_pool *pool)
{
    while (pool->slabs != NULL)
        free_slab(pool, pop(&pool->slabs));
    while (pool->blank != NULL)
        free_slab(pool, pop(&pool->blank));
    M5_ASSERT(pool->slab_count == 0);
    pool->free = NULL;
    pool->used = 0;
    m5_list_init(&pool->sorted);
}

bool m5_pool_refill(struct m5_pool *pool)
{
    struct m5_list *node = m5_list_pop_front(&pool->sorted);
    if (node == NULL)
        return add_slab(pool);
    struct m5_pool_slab *slab = M5_CONTAINER_OF(node, struct m5_pool_slab, sorted);
    pool->free = slab->free;
    slab->free = NULL;
    slab->free_count = 0;
    return true;
}

bool m5_pool_trim(struct m5_pool *pool)
{
    unsigned cost = free_blank(pool, 0);
    if (pool->used == 0 && pool->blank == NULL) {
        blank_all(pool);
        cost = free_blank(pool, cost);
    }
    const size_t free_count = pool->slab_count * pool->slab_objects - pool->used;
    if (free_count < pool->used || free_count * pool->object_size < TRIM_LEAST)
        return pool->blank != NULL;
    sort_some(pool, cost);
    return pool->blank != NULL || pool->free != NULL;
}
