/* Hash map of pointers: open addressing, linear probing, no tombstones (backward shift). The map
 * stores a 32-bit hash beside each pointer and knows nothing of keys: the caller hashes and
 * compares. Grows at 3/4, shrinks at 1/8.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_MAP_H
#define M5_BASE_MAP_H

#include <mqtt5/allocator.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct m5_map_slot {
    void *value; /* NULL: empty */
    uint32_t hash;
};

struct m5_map {
    const struct mqtt5_allocator *allocator;
    struct m5_map_slot *slots; /* NULL while capacity is 0 */
    uint32_t capacity;         /* a power of two, or 0 */
    uint32_t count;
    uint32_t shift; /* 32 - log2(capacity) */
};

/* True when @p value is the one that @p key names. */
typedef bool m5_map_same_fn(const void *value, const void *key);

/* Allocates nothing. */
void m5_map_init(struct m5_map *map, const struct mqtt5_allocator *allocator);
void m5_map_fini(struct m5_map *map); /* the values are the caller's */

/* The value with this hash for which @p same holds, or NULL. */
void *m5_map_find(const struct m5_map *map, uint32_t hash, m5_map_same_fn *same, const void *key);

/* Adds @p value (not NULL, not in the map); false without memory, the map unchanged. */
bool m5_map_add(struct m5_map *map, uint32_t hash, void *value);

/* Removes exactly @p value; false when it is not in the map. */
bool m5_map_remove(struct m5_map *map, uint32_t hash, const void *value);

/* Iterates in slot order: start with *cursor = 0; NULL at the end. Adding or removing while
 * iterating may skip or repeat values. */
void *m5_map_next(const struct m5_map *map, uint32_t *cursor);

#endif
