/* A store in memory: a skip list for what is durable, an array for what waits.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/disk_sim.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct disk_node {
    struct disk_node *next[DISK_LEVELS];
    uint8_t *value;
    size_t value_size;
    uint8_t key_size, key[M5_STORE_KEY_MAX];
};

static void fail(struct disk_sim *disk, const char *what, struct mqtt5_bytes key)
{
    if (disk->error[0] != '\0')
        return;
    int at = snprintf(disk->error, sizeof disk->error, "store: %s, key", what);
    for (size_t i = 0; i < key.len && i < 40; i++)
        at += snprintf(disk->error + at, sizeof disk->error - (size_t)at, " %02x", key.data[i]);
}

static void *need(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

/* ---- the map ---- */

static struct mqtt5_bytes key_of(const struct disk_node *node)
{
    return m5_bytes(node->key, node->key_size);
}

static int compare(struct mqtt5_bytes a, struct mqtt5_bytes b)
{
    size_t both = a.len < b.len ? a.len : b.len;
    int order = both > 0 ? memcmp(a.data, b.data, both) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* The links, level by level, that lead to the first node whose key is not below @p key. */
static struct disk_node *seek(struct disk_sim *disk, struct mqtt5_bytes key,
                              struct disk_node **links[DISK_LEVELS])
{
    struct disk_node **row = disk->first;
    for (uint32_t level = DISK_LEVELS; level-- > 0;) {
        while (row[level] != NULL && compare(key_of(row[level]), key) < 0)
            row = row[level]->next;
        links[level] = &row[level];
    }
    return *links[0];
}

static uint32_t some_level(struct disk_sim *disk)
{
    disk->coins ^= disk->coins << 13;
    disk->coins ^= disk->coins >> 7;
    disk->coins ^= disk->coins << 17;
    uint32_t level = 1;
    for (uint64_t coins = disk->coins; (coins & 3) == 0 && level < DISK_LEVELS; coins >>= 2)
        level++;
    return level;
}

static bool is_at(const struct disk_node *node, struct mqtt5_bytes key)
{
    return node != NULL && compare(key_of(node), key) == 0;
}

static struct disk_node *insert(struct disk_sim *disk, struct mqtt5_bytes key,
                                struct disk_node **links[DISK_LEVELS])
{
    struct disk_node *node = need(calloc(1, sizeof *node));
    uint32_t levels = some_level(disk);
    m5_copy(node->key, key);
    node->key_size = (uint8_t)key.len;
    for (uint32_t i = 0; i < levels; i++) {
        node->next[i] = *links[i];
        *links[i] = node;
    }
    disk->records++;
    disk->bytes += key.len;
    return node;
}

static void set_value(struct disk_sim *disk, struct disk_node *node, struct mqtt5_bytes value)
{
    uint8_t *copy = need(malloc(value.len + 1));
    m5_copy(copy, value);
    disk->bytes = disk->bytes - node->value_size + value.len;
    free(node->value);
    node->value = copy;
    node->value_size = value.len;
}

static void remove_node(struct disk_sim *disk, struct disk_node **links[DISK_LEVELS])
{
    struct disk_node *node = *links[0];
    for (uint32_t i = 0; i < DISK_LEVELS; i++)
        if (*links[i] == node)
            *links[i] = node->next[i];
    struct disk_gone *gone = &disk->gone;
    if (node->value_size > 0 && node->value_size <= sizeof gone->value) {
        gone->key_size = node->key_size;
        gone->value_size = node->value_size;
        memcpy(gone->key, node->key, node->key_size);
        memcpy(gone->value, node->value, node->value_size);
    }
    disk->records--;
    disk->bytes -= node->key_size + node->value_size;
    free(node->value);
    free(node);
}

static bool begins_with(const struct disk_node *node, struct mqtt5_bytes prefix)
{
    return node != NULL && node->key_size >= prefix.len &&
           memcmp(node->key, prefix.data, prefix.len) == 0;
}

void disk_sim_put(struct disk_sim *disk, struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    struct disk_node **links[DISK_LEVELS];
    struct disk_node *node = seek(disk, key, links);
    if (!is_at(node, key))
        node = insert(disk, key, links);
    set_value(disk, node, value);
}

bool disk_sim_delete(struct disk_sim *disk, struct mqtt5_bytes key)
{
    struct disk_node **links[DISK_LEVELS];
    bool there = is_at(seek(disk, key, links), key);
    if (there)
        remove_node(disk, links);
    return there;
}

static void delete_prefix(struct disk_sim *disk, struct mqtt5_bytes prefix)
{
    struct disk_node **links[DISK_LEVELS];
    while (begins_with(seek(disk, prefix, links), prefix))
        remove_node(disk, links);
}

bool disk_sim_at(const struct disk_sim *disk, size_t index, struct disk_record *out)
{
    const struct disk_node *node = disk->first[0];
    while (node != NULL && index-- > 0)
        node = node->next[0];
    if (node != NULL)
        *out = (struct disk_record){key_of(node), m5_bytes(node->value, node->value_size)};
    return node != NULL;
}

/* ---- commits ---- */

static void apply_change(struct disk_sim *disk, const struct m5_store_change *change)
{
    struct disk_node **links[DISK_LEVELS];
    if (change->key.len == 0 || change->key.len > M5_STORE_KEY_MAX) {
        fail(disk, "a key of no or too many bytes", change->key);
        return;
    }
    switch (change->op) {
    case M5_STORE_PUT_NEW:
        if (is_at(seek(disk, change->key, links), change->key))
            fail(disk, "PUT_NEW of a record that is there", change->key);
        disk_sim_put(disk, change->key, change->value);
        disk->puts++;
        return;
    case M5_STORE_PUT:
        disk_sim_put(disk, change->key, change->value);
        disk->puts++;
        return;
    case M5_STORE_DELETE:
        disk_sim_delete(disk, change->key);
        disk->deletes++;
        return;
    case M5_STORE_DELETE_PREFIX:
        delete_prefix(disk, change->key);
        disk->deletes++;
        return;
    }
    fail(disk, "a change of an unknown kind", change->key);
}

static void apply_batch(struct disk_sim *disk, const struct m5_batch *batch)
{
    struct m5_batch_cursor cursor;
    struct m5_store_change change;
    uint64_t changes = 0;
    m5_batch_read(batch, &cursor);
    for (; m5_batch_next(&cursor, &change); changes++)
        apply_change(disk, &change);
    if (changes != batch->changes)
        fail(disk, "a batch counts its changes wrongly", (struct mqtt5_bytes){0});
}

static void apply_commit(struct disk_sim *disk)
{
    for (uint32_t i = 0; i < disk->taken; i++)
        apply_batch(disk, disk->queue[i].batch);
    for (const struct m5_batch *batch = disk->retained; batch != NULL; batch = batch->next)
        apply_batch(disk, batch);
    disk->commits++;
}

static void make_done(struct disk_sim *disk, struct m5_batch *batch)
{
    batch->next = NULL;
    *disk->done_end[batch->shard] = batch;
    disk->done_end[batch->shard] = &batch->next;
}

/* The batches that are under way leave the queue. */
static void settle_commit(struct disk_sim *disk)
{
    for (uint32_t i = 0; i < disk->taken; i++)
        make_done(disk, disk->queue[i].batch);
    disk->count -= disk->taken;
    if (disk->count > 0)
        memmove(disk->queue, disk->queue + disk->taken, disk->count * sizeof *disk->queue);
    disk->taken = 0;
    struct m5_batch **end = &disk->done_retained;
    while (*end != NULL)
        end = &(*end)->next;
    *end = disk->retained;
    disk->retained = NULL;
    disk->under_way = false;
}

/* ---- what a host calls ---- */

void disk_sim_init(struct disk_sim *disk)
{
    memset(disk, 0, sizeof *disk);
    disk->coins = 0x9E3779B97F4A7C15u;
}

void disk_sim_fini(struct disk_sim *disk)
{
    while (disk->first[0] != NULL)
        disk_sim_delete(disk, key_of(disk->first[0]));
    free(disk->queue);
    disk->queue = NULL;
}

void disk_sim_attach(struct disk_sim *disk, struct m5_engine *engine, uint32_t shards)
{
    disk->engine = engine;
    disk->shards = shards;
    memset(disk->position, 0, sizeof disk->position);
    for (uint32_t i = 0; i < M5_SHARDS_MAX; i++) {
        disk->done[i] = NULL;
        disk->done_end[i] = &disk->done[i];
    }
}

bool disk_sim_seal(struct disk_sim *disk, uint32_t shard, uint64_t tag)
{
    struct m5_batch *batch = m5_shard_seal(m5_engine_shard(disk->engine, shard));
    if (batch == NULL)
        return false;
    if (batch->shard != shard)
        fail(disk, "a batch names another shard", (struct mqtt5_bytes){0});
    if (batch->position <= disk->position[shard])
        fail(disk, "the position of a batch does not count up", (struct mqtt5_bytes){0});
    disk->position[shard] = batch->position;
    if (disk->count == disk->capacity) {
        disk->capacity = disk->capacity == 0 ? 64 : disk->capacity * 2;
        disk->queue = need(realloc(disk->queue, disk->capacity * sizeof *disk->queue));
    }
    batch->next = NULL;
    disk->queue[disk->count++] = (struct disk_item){batch, tag};
    disk->batches++;
    return true;
}

bool disk_sim_urgent(const struct disk_sim *disk)
{
    for (uint32_t i = disk->taken; i < disk->count; i++)
        if (disk->queue[i].batch->urgent)
            return true;
    return false;
}

bool disk_sim_begin(struct disk_sim *disk, uint32_t batches)
{
    disk->taken = batches < disk->count ? batches : disk->count;
    disk->retained = m5_retained_seal(disk->engine);
    disk->under_way = disk->taken > 0 || disk->retained != NULL;
    return disk->under_way;
}

void disk_sim_finish(struct disk_sim *disk)
{
    apply_commit(disk);
    settle_commit(disk);
}

void disk_sim_commit_all(struct disk_sim *disk)
{
    if (disk->under_way)
        disk_sim_finish(disk);
    if (disk_sim_begin(disk, disk->count))
        disk_sim_finish(disk);
}

bool disk_sim_hand_back(struct disk_sim *disk, uint32_t shard)
{
    struct m5_batch *batch = disk->done[shard];
    bool some = batch != NULL;
    disk->done[shard] = NULL;
    disk->done_end[shard] = &disk->done[shard];
    while (batch != NULL) {
        struct m5_batch *next = batch->next;
        m5_shard_stored(m5_engine_shard(disk->engine, shard), batch);
        batch = next;
    }
    if (disk->done_retained != NULL) {
        struct m5_batch *list = disk->done_retained;
        disk->done_retained = NULL;
        m5_retained_stored(disk->engine, list);
        some = true;
    }
    return some;
}

void disk_sim_written(struct disk_sim *disk, uint32_t shard)
{
    if (disk->position[shard] > 0)
        m5_shard_written(m5_engine_shard(disk->engine, shard), disk->position[shard]);
}

bool disk_sim_has(const struct disk_sim *disk, uint64_t tag)
{
    return disk->count == 0 || disk->queue[0].tag > tag;
}

static void drop_batches(struct disk_sim *disk, uint32_t shard)
{
    for (struct m5_batch *batch = disk->done[shard], *next; batch != NULL; batch = next) {
        next = batch->next;
        m5_shard_unstored(m5_engine_shard(disk->engine, shard), batch);
    }
}

void disk_sim_crash(struct disk_sim *disk, bool survives)
{
    if (disk->under_way && survives)
        apply_commit(disk);
    if (disk->under_way)
        settle_commit(disk);
    disk->taken = disk->count;
    disk->retained = m5_retained_seal(disk->engine);
    settle_commit(disk);
    for (uint32_t i = 0; i < disk->shards; i++)
        drop_batches(disk, i);
    m5_retained_stored(disk->engine, disk->done_retained);
    disk->done_retained = NULL;
    disk->engine = NULL;
}

enum mqtt5_error disk_sim_restore(struct disk_sim *disk, struct m5_restore_report *report,
                                  uint64_t tag)
{
    struct m5_restore *restore = m5_restore_begin(disk->engine);
    enum mqtt5_error error = restore == NULL ? MQTT5_ERR_NOMEM : MQTT5_OK;
    for (const struct disk_node *node = disk->first[0]; node != NULL && error == MQTT5_OK;
         node = node->next[0])
        error = m5_restore_record(restore, key_of(node), m5_bytes(node->value, node->value_size));
    if (restore == NULL)
        return error;
    enum mqtt5_error end = m5_restore_end(restore, report);
    for (uint32_t i = 0; i < disk->shards; i++)
        disk_sim_seal(disk, i, tag);
    return error != MQTT5_OK ? error : end;
}
