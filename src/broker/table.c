/* The writer's half of the table that is read without locks.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/table.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <assert.h>
#include <string.h>

#define CAPACITY_MIN 16u
#define CAPACITY_MAX (UINT32_C(1) << 30)

/* Slots moved by one change of the table. An array takes at least capacity / 4 changes before it
 * is full, and the one before it rarely has more than four times its slots: 16 would do. */
#define MOVE_STEP 64u

static_assert(sizeof(_Atomic uint32_t) == 4, "a tag is its four bytes");
static_assert(ATOMIC_POINTER_LOCK_FREE == 2, "readers take no lock, hidden ones included");

static size_t array_size(uint32_t capacity)
{
    return sizeof(struct m5_table_array) +
           capacity * (sizeof(_Atomic(void *)) + sizeof(_Atomic uint32_t));
}

static struct m5_table_array *array_new(const struct mqtt5_allocator *allocator, uint32_t capacity)
{
    struct m5_table_array *array = m5_alloc(allocator, array_size(capacity));
    if (array == NULL)
        return NULL;
    array->capacity = capacity;
    array->shift = 32 - (uint32_t)__builtin_ctz(capacity);
    array->moved = 0;
    atomic_init(&array->previous, NULL);
    array->tags = (_Atomic uint32_t *)(void *)&array->values[capacity];
    memset((void *)array->tags, 0, capacity * sizeof *array->tags);
    return array;
}

static void array_free(const struct mqtt5_allocator *allocator, struct m5_table_array *array)
{
    if (array != NULL)
        m5_free(allocator, array, array_size(array->capacity));
}

/* The writer reads its own stores. */
static struct m5_table_array *array_of(const struct m5_table *table)
{
    return atomic_load_explicit(&table->array, memory_order_relaxed);
}

static uint32_t tag_at(const struct m5_table_array *array, uint32_t i)
{
    return atomic_load_explicit(&array->tags[i], memory_order_relaxed);
}

static void *value_at(const struct m5_table_array *array, uint32_t i)
{
    return atomic_load_explicit(&array->values[i], memory_order_relaxed);
}

/* Returns true when the slot was empty, false when it held a mark. */
static bool put(struct m5_table_array *array, uint32_t tag, void *value)
{
    uint32_t i = tag >> array->shift;
    while (tag_at(array, i) > M5_TABLE_REMOVED)
        i = (i + 1) & (array->capacity - 1);
    const bool was_empty = tag_at(array, i) == M5_TABLE_EMPTY;
    atomic_store_explicit(&array->values[i], value, memory_order_release);
    atomic_store_explicit(&array->tags[i], tag, memory_order_release);
    return was_empty;
}

/* The smallest capacity that @p count entries fill at most by half; 0 when there is none. */
static uint32_t capacity_for(uint32_t count)
{
    uint32_t capacity = CAPACITY_MIN;
    while (capacity / 2 < count && capacity < CAPACITY_MAX)
        capacity *= 2;
    return capacity / 2 < count ? 0 : capacity;
}

static void discard(const struct m5_table *table, struct m5_table_array *array)
{
    if (array == NULL)
        return;
    if (table->reclaim != NULL)
        m5_reclaim_retire(table->reclaim, table->kind, &array->retired);
    else
        array_free(table->allocator, array);
}

static struct m5_table_array *previous_of(const struct m5_table_array *array)
{
    return atomic_load_explicit(&array->previous, memory_order_relaxed);
}

/* Moves up to @p step slots of the array before; the last one lets it go. Entries come in the order
 * of their places, so both arrays are gone through from end to end. */
static void move_some(struct m5_table *table, struct m5_table_array *array, uint32_t step)
{
    struct m5_table_array *previous = previous_of(array);
    if (previous == NULL)
        return;
    const uint32_t left = previous->capacity - array->moved;
    const uint32_t end = array->moved + (step < left ? step : left);
    for (; array->moved < end; array->moved++) {
        const uint32_t tag = tag_at(previous, array->moved);
        if (tag > M5_TABLE_REMOVED && !put(array, tag, value_at(previous, array->moved)))
            table->filled--;
    }
    if (end == previous->capacity) {
        atomic_store_explicit(&array->previous, NULL, memory_order_release);
        discard(table, previous);
    }
}

/* Begins to move to a new array. */
static bool rebuild(struct m5_table *table, uint32_t capacity)
{
    m5_table_settle(table);
    struct m5_table_array *old = array_of(table);
    struct m5_table_array *array = array_new(table->allocator, capacity);
    if (array == NULL)
        return false;
    atomic_store_explicit(&array->previous, old, memory_order_relaxed);
    atomic_store_explicit(&table->array, array, memory_order_release);
    table->filled = table->count;
    return true;
}

/* The slot of @p value, or the array's capacity when it is not there. */
static uint32_t slot_of(const struct m5_table_array *array, uint32_t tag, const void *value)
{
    uint32_t i = tag >> array->shift;
    while (tag_at(array, i) != tag || value_at(array, i) != value) {
        if (tag_at(array, i) == M5_TABLE_EMPTY)
            return array->capacity;
        i = (i + 1) & (array->capacity - 1);
    }
    return i;
}

/* Nothing is stored behind an empty slot's predecessor that a search would have to find, so the
 * marks that lead up to an empty slot can go. */
static void clear_marks_before(struct m5_table *table, struct m5_table_array *array, uint32_t i)
{
    const uint32_t mask = array->capacity - 1;
    if (tag_at(array, (i + 1) & mask) != M5_TABLE_EMPTY)
        return;
    for (; tag_at(array, i) == M5_TABLE_REMOVED; i = (i - 1) & mask) {
        atomic_store_explicit(&array->tags[i], M5_TABLE_EMPTY, memory_order_release);
        table->filled--;
    }
}

static bool mark_removed(struct m5_table *table, struct m5_table_array *array, uint32_t tag,
                         const void *value)
{
    const uint32_t i = slot_of(array, tag, value);
    if (i == array->capacity)
        return false;
    atomic_store_explicit(&array->tags[i], M5_TABLE_REMOVED, memory_order_release);
    if (array == array_of(table))
        clear_marks_before(table, array, i);
    return true;
}

void m5_table_init(struct m5_table *table, const struct mqtt5_allocator *allocator,
                   struct m5_reclaim *reclaim, unsigned kind)
{
    *table = (struct m5_table){.allocator = allocator, .reclaim = reclaim, .kind = kind};
}

void m5_table_fini(struct m5_table *table)
{
    struct m5_table_array *array = array_of(table);
    if (array != NULL)
        array_free(table->allocator, previous_of(array));
    array_free(table->allocator, array);
    *table = (struct m5_table){0};
}

void m5_table_free_retired(const struct mqtt5_allocator *allocator, struct m5_reclaim_item *item)
{
    array_free(allocator, M5_CONTAINER_OF(item, struct m5_table_array, retired));
}

bool m5_table_reserve(struct m5_table *table)
{
    const struct m5_table_array *array = array_of(table);
    if (array != NULL && table->filled < array->capacity / 4 * 3)
        return true;
    const uint32_t capacity = capacity_for(table->count + 1);
    return capacity != 0 && rebuild(table, capacity);
}

void m5_table_insert(struct m5_table *table, uint64_t hash, void *value)
{
    M5_ASSERT(value != NULL);
    struct m5_table_array *array = array_of(table);
    M5_ASSERT(array != NULL && table->filled < array->capacity / 4 * 3);
    if (put(array, m5_table_tag(hash), value))
        table->filled++;
    table->count++;
    move_some(table, array, MOVE_STEP);
}

void m5_table_remove(struct m5_table *table, uint64_t hash, const void *value)
{
    struct m5_table_array *array = array_of(table);
    M5_ASSERT(array != NULL);
    const uint32_t tag = m5_table_tag(hash);
    struct m5_table_array *previous = previous_of(array);
    const bool was_behind = previous != NULL && mark_removed(table, previous, tag, value);
    if (!mark_removed(table, array, tag, value)) {
        M5_ASSERT(was_behind);
        table->filled--;
    }
    table->count--;
    move_some(table, array, MOVE_STEP);
    /* Without memory for a smaller array the large one still serves. */
    if (array->capacity > CAPACITY_MIN && table->count < array->capacity / 8)
        (void)rebuild(table, capacity_for(table->count));
}

void m5_table_settle(struct m5_table *table)
{
    if (array_of(table) != NULL)
        move_some(table, array_of(table), UINT32_MAX);
}

void *m5_table_next(const struct m5_table *table, uint32_t *cursor)
{
    const struct m5_table_array *array = array_of(table);
    while (array != NULL && *cursor < array->capacity) {
        const uint32_t i = (*cursor)++;
        if (tag_at(array, i) > M5_TABLE_REMOVED)
            return value_at(array, i);
    }
    return NULL;
}
