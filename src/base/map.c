/* Hash map of pointers: linear probing over 16-byte slots, so that a miss usually costs one line.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/map.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <assert.h>

#define CAPACITY_MIN 8u
#define CAPACITY_MAX (UINT32_C(1) << 30)

static_assert((CAPACITY_MIN & (CAPACITY_MIN - 1)) == 0, "capacities are powers of two");

/* Where a value with this hash belongs: the top bits of a product, because the low bits of the
 * hash may be the same for all values of a map (a shard's are, as they choose the shard). The fold
 * before it keeps hashes that are such products themselves from falling into step with it. */
static inline uint32_t home_of(const struct m5_map *map, uint32_t hash)
{
    return ((hash ^ hash >> 16) * 0x9E3779B1u) >> map->shift;
}

static inline uint32_t after(const struct m5_map *map, uint32_t index)
{
    return (index + 1) & (map->capacity - 1);
}

void m5_map_init(struct m5_map *map, const struct mqtt5_allocator *allocator)
{
    *map = (struct m5_map){.allocator = allocator};
}

void m5_map_fini(struct m5_map *map)
{
    if (map->slots != NULL)
        m5_free(map->allocator, map->slots, map->capacity * sizeof *map->slots);
    *map = (struct m5_map){.allocator = map->allocator};
}

void *m5_map_find(const struct m5_map *map, uint32_t hash, m5_map_same_fn *same, const void *key)
{
    if (map->count == 0)
        return NULL;
    for (uint32_t i = home_of(map, hash); map->slots[i].value != NULL; i = after(map, i)) {
        if (map->slots[i].hash == hash && same(map->slots[i].value, key))
            return map->slots[i].value;
    }
    return NULL;
}

static void put(struct m5_map *map, uint32_t hash, void *value)
{
    uint32_t i = home_of(map, hash);
    while (map->slots[i].value != NULL)
        i = after(map, i);
    map->slots[i] = (struct m5_map_slot){.value = value, .hash = hash};
}

static bool rehash(struct m5_map *map, uint32_t capacity)
{
    M5_ASSERT(capacity > map->count);
    struct m5_map grown = *map;
    grown.slots = m5_alloc_zero(map->allocator, capacity * sizeof *grown.slots);
    if (grown.slots == NULL)
        return false;
    grown.capacity = capacity;
    grown.shift = 32 - (uint32_t)__builtin_ctz(capacity);
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].value != NULL)
            put(&grown, map->slots[i].hash, map->slots[i].value);
    }
    m5_map_fini(map);
    *map = grown;
    return true;
}

bool m5_map_add(struct m5_map *map, uint32_t hash, void *value)
{
    M5_ASSERT(value != NULL);
    if (map->count >= map->capacity / 4 * 3) {
        if (map->capacity >= CAPACITY_MAX)
            return false;
        if (!rehash(map, map->capacity == 0 ? CAPACITY_MIN : map->capacity * 2))
            return false;
    }
    put(map, hash, value);
    map->count++;
    return true;
}

/* Closes the hole at @p hole: every value of the run behind it that may stand there moves up, so
 * that no search ends early and no mark of the removed value is needed. */
static void shift_back(struct m5_map *map, uint32_t hole)
{
    const uint32_t mask = map->capacity - 1;
    for (uint32_t i = after(map, hole); map->slots[i].value != NULL; i = after(map, i)) {
        const uint32_t distance = (i - home_of(map, map->slots[i].hash)) & mask;
        if (distance < ((i - hole) & mask))
            continue;
        map->slots[hole] = map->slots[i];
        hole = i;
    }
    map->slots[hole] = (struct m5_map_slot){0};
}

bool m5_map_remove(struct m5_map *map, uint32_t hash, const void *value)
{
    if (map->count == 0)
        return false;
    uint32_t i = home_of(map, hash);
    while (map->slots[i].value != value) {
        if (map->slots[i].value == NULL)
            return false;
        i = after(map, i);
    }
    if (value == NULL)
        return false;
    shift_back(map, i);
    map->count--;
    /* Without memory for a smaller table the large one still serves. */
    if (map->capacity > CAPACITY_MIN && map->count < map->capacity / 8)
        (void)rehash(map, map->capacity / 2);
    return true;
}

void *m5_map_next(const struct m5_map *map, uint32_t *cursor)
{
    while (*cursor < map->capacity) {
        void *value = map->slots[(*cursor)++].value;
        if (value != NULL)
            return value;
    }
    return NULL;
}
