/* Lists of changes: leaving out what cancels, writing and reading the rest.
 *
 * Only the last change of a key counts, as each says all about it; a DELETE_PREFIX stays where it
 * is, and what precedes it may be left out all the same when something later decides. Whether the
 * store can have had a key before is what the first change of it in the list tells: PUT_NEW, and
 * it had not, so that a DELETE at the end has nothing to delete.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/change.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <stdlib.h>

#define HEADER_SIZE 6u
#define KEEP_ITEMS  (256u * 1024u) /* more memory than for so many is given back at once */
#define GONE        UINT32_MAX     /* put and deleted again: the store never had the key */

struct m5_change_slot {
    uint32_t hash;  /* 0: empty */
    uint32_t item;  /* the key's last change that is left, or GONE */
    uint32_t named; /* a change with that key */
};

void m5_changes_fini(struct m5_change_list *list)
{
    free(list->items);
    free(list->slots);
    *list = (struct m5_change_list){0};
}

void m5_changes_clear(struct m5_change_list *list)
{
    if (list->capacity > KEEP_ITEMS)
        m5_changes_fini(list);
    list->count = list->live = 0;
}

static bool add(struct m5_change_list *list, const struct m5_store_change *change)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 256 : list->capacity * 2;
        void *items = realloc(list->items, capacity * sizeof *list->items);
        if (items == NULL)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *change;
    list->live++;
    return true;
}

static void forget_from(struct m5_change_list *list, uint32_t count)
{
    list->live -= list->count - count;
    list->count = count;
}

bool m5_changes_add_batch(struct m5_change_list *list, const struct m5_batch *batch)
{
    const uint32_t before = list->count;
    struct m5_batch_cursor cursor;
    struct m5_store_change change;
    m5_batch_read(batch, &cursor);
    while (m5_batch_next(&cursor, &change)) {
        M5_ASSERT(change.key.len > 0 && change.key.len <= M5_STORE_KEY_MAX);
        M5_ASSERT(change.value.len < UINT32_MAX - 4);
        if (!add(list, &change)) {
            forget_from(list, before);
            return false;
        }
    }
    return true;
}

static bool read_one(struct mqtt5_bytes *rest, struct m5_store_change *out)
{
    if (rest->len < HEADER_SIZE)
        return false;
    const uint8_t *at = rest->data;
    const size_t key_size = at[1], value_size = m5_read_u32(at + 2);
    if (at[0] < M5_STORE_PUT || at[0] > M5_STORE_DELETE_PREFIX)
        return false;
    if (key_size == 0 || key_size > M5_STORE_KEY_MAX || rest->len < HEADER_SIZE + key_size ||
        rest->len - HEADER_SIZE - key_size < value_size)
        return false;
    out->op = (enum m5_store_op)at[0];
    out->key = m5_bytes(at + HEADER_SIZE, key_size);
    out->value = m5_bytes(at + HEADER_SIZE + key_size, value_size);
    *rest = m5_bytes(out->value.data + value_size, rest->len - HEADER_SIZE - key_size - value_size);
    return true;
}

enum mqtt5_error m5_changes_read(struct m5_change_list *list, struct mqtt5_bytes bytes)
{
    const uint32_t before = list->count;
    while (bytes.len > 0) {
        struct m5_store_change change;
        const bool good = read_one(&bytes, &change);
        if (good && add(list, &change))
            continue;
        forget_from(list, before);
        return good ? MQTT5_ERR_NOMEM : MQTT5_ERR_TRUNCATED;
    }
    return MQTT5_OK;
}

/* ---- leaving out ---- */

/* Keys are ours, not strangers': mixing well is enough. Never 0. */
static uint32_t hash_key(struct mqtt5_bytes key)
{
    uint64_t hash = key.len;
    const uint8_t *at = key.data;
    size_t left = key.len;
    for (; left >= 8; at += 8, left -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    uint64_t word = 0;
    if (left > 0)
        memcpy(&word, at, left);
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(hash >> 32) | 1;
}

/* An empty table with room for all items; false without memory. */
static bool make_table(struct m5_change_list *list)
{
    uint32_t capacity = 64;
    while (capacity < list->count * 2)
        capacity *= 2;
    if (capacity > list->slots_capacity) {
        void *slots = realloc(list->slots, capacity * sizeof *list->slots);
        if (slots == NULL)
            return false;
        list->slots = slots;
        list->slots_capacity = capacity;
    }
    memset(list->slots, 0, capacity * sizeof *list->slots);
    return true;
}

static uint32_t table_mask(const struct m5_change_list *list)
{
    uint32_t capacity = 64;
    while (capacity < list->count * 2)
        capacity *= 2;
    return capacity - 1;
}

/* The slot of @p key, or the empty one where it belongs. */
static struct m5_change_slot *find(struct m5_change_list *list, uint32_t mask, uint32_t hash,
                                   struct mqtt5_bytes key)
{
    for (uint32_t i = hash >> 1;; i++) {
        struct m5_change_slot *slot = &list->slots[i & mask];
        if (slot->hash == 0)
            return slot;
        if (slot->hash == hash && m5_bytes_equal(list->items[slot->named].key, key))
            return slot;
    }
}

static void leave_out(struct m5_change_list *list, uint32_t i)
{
    list->items[i].op = (enum m5_store_op)0;
    list->live--;
}

/* Item @p i, when the list said something about its key before. */
static void supersede(struct m5_change_list *list, struct m5_change_slot *slot, uint32_t i)
{
    struct m5_store_change *item = &list->items[i];
    const bool deletes = item->op == M5_STORE_DELETE;
    bool never_stored = slot->item == GONE;
    if (!never_stored) {
        never_stored = list->items[slot->item].op == M5_STORE_PUT_NEW;
        leave_out(list, slot->item);
    }
    slot->item = i;
    if (never_stored && deletes) {
        leave_out(list, i);
        slot->item = GONE;
    } else if (!deletes) {
        item->op = never_stored ? M5_STORE_PUT_NEW : M5_STORE_PUT;
    }
}

void m5_changes_elide(struct m5_change_list *list)
{
    if (list->count < 2 || !make_table(list))
        return;
    const uint32_t mask = table_mask(list);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct m5_store_change *item = &list->items[i];
        if (item->op == M5_STORE_DELETE_PREFIX)
            continue;
        const uint32_t hash = hash_key(item->key);
        struct m5_change_slot *slot = find(list, mask, hash, item->key);
        if (slot->hash != 0)
            supersede(list, slot, i);
        else
            *slot = (struct m5_change_slot){.hash = hash, .item = i, .named = i};
    }
}

/* ---- writing ---- */

uint64_t m5_changes_size(const struct m5_change_list *list)
{
    uint64_t size = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct m5_store_change *item = &list->items[i];
        if (item->op != 0)
            size += HEADER_SIZE + item->key.len + item->value.len;
    }
    return size;
}

uint8_t *m5_changes_write(const struct m5_change_list *list, uint8_t *out)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct m5_store_change *item = &list->items[i];
        if (item->op == 0)
            continue;
        out[0] = (uint8_t)item->op;
        out[1] = (uint8_t)item->key.len;
        out = m5_copy(m5_write_u32(out + 2, (uint32_t)item->value.len), item->key);
        out = m5_copy(out, item->value);
    }
    return out;
}
