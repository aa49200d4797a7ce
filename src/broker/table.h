/* Hash table of pointers that is read without locks while one writer at a time changes it.
 *
 * Open addressing, linear probing. The array is two: 32-bit tags, which alone decide a miss (one
 * cache line, usually), and the pointers. A tag is the top of the hash, and its own top is where a
 * search begins; so a table is rebuilt from tags alone and in one pass over both arrays.
 *
 * A slot is written pointer first, tag last; readers load in the other order and compare the key of
 * what they find, so a slot that is used again under them is at worst something else, never
 * garbage. What is removed leaves a mark unless the search would end behind it anyway.
 *
 * When marks and entries fill 3/4, a new array for twice the entries takes over. It is published
 * empty, with the old one behind it; every later change of the table moves a few dozen slots, so
 * that no writer waits for a million. Moved entries stay in the old array as well: whoever does not
 * find an entry in the new one yet finds it there. When all are moved the old array is retired.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_TABLE_H
#define M5_BROKER_TABLE_H

#include "broker/reclaim.h"

#include <mqtt5/allocator.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tags of slots that hold nothing. */
#define M5_TABLE_EMPTY   0u /* a search ends here */
#define M5_TABLE_REMOVED 1u /* a search goes on */

struct m5_table_array {
    struct m5_reclaim_item retired;
    uint32_t capacity; /* a power of two */
    uint32_t shift;    /* 32 - log2(capacity) */
    uint32_t moved;    /* slots of `previous` whose entries are in this array too; the writer's */
    _Atomic(struct m5_table_array *) previous; /* what this one takes over from, or NULL */
    _Atomic uint32_t *tags;
    _Atomic(void *) values[]; /* capacity; meaningful under a tag only */
};

struct m5_table {
    const struct mqtt5_allocator *allocator; /* borrowed */
    struct m5_reclaim *reclaim; /* takes replaced arrays; NULL: nobody reads without the lock */
    unsigned kind;              /* as which they are retired */
    _Atomic(struct m5_table_array *) array; /* NULL before the first entry */
    uint32_t count;                         /* entries; the writer's */
    uint32_t filled; /* slots that entries and marks take when all is moved; the writer's */
};

/* True when @p value is the one that @p key names. */
typedef bool m5_table_same_fn(const void *value, const void *key);

void m5_table_init(struct m5_table *table, const struct mqtt5_allocator *allocator,
                   struct m5_reclaim *reclaim, unsigned kind);

/* Frees the arrays at once; the values are the caller's. */
void m5_table_fini(struct m5_table *table);

/* Frees an array that was retired with @p allocator's memory. */
void m5_table_free_retired(const struct mqtt5_allocator *allocator, struct m5_reclaim_item *item);

/* Makes room for one more entry; false without memory, the table unchanged. Writers only. */
bool m5_table_reserve(struct m5_table *table);

/* Adds @p value, for which there is room and which is not in the table. Writers only. */
void m5_table_insert(struct m5_table *table, uint64_t hash, void *value);

/* Removes @p value, which is in the table. Writers only. */
void m5_table_remove(struct m5_table *table, uint64_t hash, const void *value);

/* Moves what is still to be moved, whatever it costs; m5_table_next() needs it. Writers only. */
void m5_table_settle(struct m5_table *table);

/* The entry in the first slot from *cursor (0 at first) on, or NULL. The table is settled and stays
 * unchanged meanwhile. Writers only. */
void *m5_table_next(const struct m5_table *table, uint32_t *cursor);

static inline uint32_t m5_table_tag(uint64_t hash)
{
    const uint32_t tag = (uint32_t)(hash >> 32);
    return tag > M5_TABLE_REMOVED ? tag : tag + 2;
}

static inline void *m5_table_array_find(const struct m5_table_array *array, uint32_t tag,
                                        m5_table_same_fn *same, const void *key)
{
    const uint32_t mask = array->capacity - 1;
    for (uint32_t i = tag >> array->shift;; i = (i + 1) & mask) {
        const uint32_t seen = atomic_load_explicit(&array->tags[i], memory_order_acquire);
        if (seen == M5_TABLE_EMPTY)
            return NULL;
        if (seen != tag)
            continue;
        void *value = atomic_load_explicit(&array->values[i], memory_order_acquire);
        if (same(value, key))
            return value;
    }
}

/* The entry of this hash for which @p same holds, or NULL. Any thread. */
static inline void *m5_table_find(const struct m5_table *table, uint64_t hash,
                                  m5_table_same_fn *same, const void *key)
{
    const uint32_t tag = m5_table_tag(hash);
    const struct m5_table_array *array = atomic_load_explicit(&table->array, memory_order_acquire);
    while (array != NULL) {
        /* Asked first: if there is none any more, all its entries are in this one by now. */
        const struct m5_table_array *previous =
            atomic_load_explicit(&array->previous, memory_order_acquire);
        void *value = m5_table_array_find(array, tag, same, key);
        if (value != NULL)
            return value;
        array = previous;
    }
    return NULL;
}

#endif
