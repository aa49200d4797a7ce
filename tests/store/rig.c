/* What the tests of the store share.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "store/rig.h"

#include "base/bytes.h"
#include "broker/journal.h"
#include "host/store/state.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- batches ---- */

struct m5_batch *batch_new(uint32_t shard, bool urgent)
{
    struct m5_batch *batch = calloc(1, sizeof *batch);
    assert_non_null(batch);
    batch->shard = shard;
    batch->urgent = urgent;
    return batch;
}

void batch_add(struct m5_batch *batch, enum m5_store_op op, struct mqtt5_bytes key,
               struct mqtt5_bytes value)
{
    const size_t size = 6 + key.len + value.len;
    struct m5_batch_part *part = batch->last_part;
    if (part == NULL || part->capacity - part->size < size) {
        const size_t capacity = size > 4096 ? size : 4096;
        part = calloc(1, sizeof *part + capacity);
        assert_non_null(part);
        part->capacity = (uint32_t)capacity;
        batch->bytes += capacity;
        if (batch->parts == NULL)
            batch->parts = part;
        else
            batch->last_part->next = part;
        batch->last_part = part;
    }
    uint8_t *at = (uint8_t *)(part + 1) + part->size;
    at[0] = (uint8_t)op;
    at[1] = (uint8_t)key.len;
    m5_copy(m5_copy(m5_write_u32(at + 2, (uint32_t)value.len), key), value);
    part->size += (uint32_t)size;
    batch->changes++;
}

void batch_text(struct m5_batch *batch, enum m5_store_op op, const char *key, const char *value)
{
    batch_add(batch, op, m5_bytes_of(key), m5_bytes_of(value == NULL ? "" : value));
}

void batch_free_all(struct m5_batch *list)
{
    for (struct m5_batch *next; list != NULL; list = next) {
        next = list->next;
        for (struct m5_batch_part *part = list->parts, *after; part != NULL; part = after) {
            after = part->next;
            free(part);
        }
        free(list);
    }
}

/* ---- the model ---- */

static struct mqtt5_bytes key_of(const struct model_entry *entry)
{
    return m5_bytes(entry->key, entry->key_size);
}

static int compare(struct mqtt5_bytes a, struct mqtt5_bytes b)
{
    const int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static size_t lower_bound(const struct model *model, struct mqtt5_bytes key)
{
    size_t low = 0, high = model->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (compare(key_of(&model->entries[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void remove_at(struct model *model, size_t i)
{
    free(model->entries[i].value);
    model->count--;
    memmove(&model->entries[i], &model->entries[i + 1],
            (model->count - i) * sizeof model->entries[0]);
}

static bool is_at(const struct model *model, size_t i, struct mqtt5_bytes key)
{
    return i < model->count && compare(key_of(&model->entries[i]), key) == 0;
}

void model_put(struct model *model, struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    const size_t i = lower_bound(model, key);
    if (is_at(model, i, key))
        remove_at(model, i);
    if (model->count == model->capacity) {
        model->capacity = model->capacity == 0 ? 64 : model->capacity * 2;
        model->entries = realloc(model->entries, model->capacity * sizeof model->entries[0]);
        assert_non_null(model->entries);
    }
    memmove(&model->entries[i + 1], &model->entries[i],
            (model->count - i) * sizeof model->entries[0]);
    struct model_entry *entry = &model->entries[i];
    *entry = (struct model_entry){.key_size = key.len, .value_size = value.len};
    memcpy(entry->key, key.data, key.len);
    entry->value = malloc(value.len + 1);
    assert_non_null(entry->value);
    *m5_copy(entry->value, value) = 0;
    model->count++;
}

void model_apply(struct model *model, const struct m5_batch *batch)
{
    struct m5_batch_cursor cursor;
    struct m5_store_change change;
    m5_batch_read(batch, &cursor);
    while (m5_batch_next(&cursor, &change)) {
        const size_t i = lower_bound(model, change.key);
        if (change.op == M5_STORE_DELETE && is_at(model, i, change.key))
            remove_at(model, i);
        while (change.op == M5_STORE_DELETE_PREFIX && i < model->count &&
               model->entries[i].key_size >= change.key.len &&
               memcmp(model->entries[i].key, change.key.data, change.key.len) == 0)
            remove_at(model, i);
        if (change.op == M5_STORE_PUT || change.op == M5_STORE_PUT_NEW)
            model_put(model, change.key, change.value);
    }
}

static uint64_t add_to_digest(uint64_t digest, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++)
        digest = (digest ^ at[i]) * 0x100000001b3u;
    return (digest ^ size) * 0x100000001b3u;
}

uint64_t model_digest(const struct model *model)
{
    uint64_t digest = 0xcbf29ce484222325u;
    for (size_t i = 0; i < model->count; i++) {
        const struct model_entry *entry = &model->entries[i];
        digest = add_to_digest(digest, entry->key, entry->key_size);
        digest = add_to_digest(digest, entry->value, entry->value_size);
    }
    return digest;
}

void model_free(struct model *model)
{
    for (size_t i = 0; i < model->count; i++)
        free(model->entries[i].value);
    free(model->entries);
    *model = (struct model){0};
}

/* ---- hooks ---- */

static void on_wake(void *ctx, uint32_t shard)
{
    struct rig *rig = ctx;
    struct m5_batch *list = m5_store_take(rig->store, shard);
    assert_non_null(list);
    pthread_mutex_lock(&rig->mutex);
    for (const struct m5_batch *batch = list; batch != NULL; batch = batch->next) {
        if (batch->shard != shard || batch->position <= rig->positions[shard])
            abort(); /* cmocka cannot fail a test from another thread */
        rig->positions[shard] = batch->position;
        rig->stored++;
        if (rig->on_stored != NULL)
            rig->on_stored(rig, batch);
    }
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->mutex);
    batch_free_all(list);
}

static struct m5_batch *on_retained_seal(void *ctx)
{
    struct rig *rig = ctx;
    pthread_mutex_lock(&rig->mutex);
    struct m5_batch *list = rig->retained;
    rig->retained = NULL;
    pthread_mutex_unlock(&rig->mutex);
    return list;
}

static void on_retained_stored(void *ctx, struct m5_batch *list)
{
    struct rig *rig = ctx;
    pthread_mutex_lock(&rig->mutex);
    for (const struct m5_batch *batch = list; batch != NULL; batch = batch->next)
        rig->retained_stored++;
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->mutex);
    batch_free_all(list);
}

static void on_failing(void *ctx, bool failing, const char *why)
{
    struct rig *rig = ctx;
    pthread_mutex_lock(&rig->mutex);
    if (failing) {
        rig->failed++;
        snprintf(rig->why, sizeof rig->why, "%s", why);
    } else {
        rig->healed++;
    }
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->mutex);
}

/* ---- the rig ---- */

void rig_init(struct rig *rig)
{
    *rig = (struct rig){0};
    const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(rig->dir, sizeof rig->dir, "%s/m5-store-XXXXXX", where);
    assert_non_null(mkdtemp(rig->dir));
    pthread_mutex_init(&rig->mutex, NULL);
    pthread_cond_init(&rig->changed, NULL);
    rig->options = (struct m5_store_options){
        .shards = 4,
        .retry_ms = 5,
        .retry_most_ms = 20,
        .hooks = {.ctx = rig,
                  .wake = on_wake,
                  .retained_seal = on_retained_seal,
                  .retained_stored = on_retained_stored,
                  .failing = on_failing},
    };
}

void remove_folder(const char *dir)
{
    DIR *folder = opendir(dir);
    char path[512];
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (unlink(path) != 0)
            remove_folder(path);
    }
    if (folder != NULL)
        closedir(folder);
    rmdir(dir);
}

void rig_fini(struct rig *rig)
{
    if (rig->store != NULL)
        rig_close(rig);
    remove_folder(rig->dir);
    pthread_mutex_destroy(&rig->mutex);
    pthread_cond_destroy(&rig->changed);
}

enum mqtt5_error rig_open_only(struct rig *rig)
{
    assert_null(rig->store);
    rig->options.dir = rig->dir;
    const enum mqtt5_error error = m5_store_open(&rig->options, &rig->store, &rig->report);
    assert_int_equal(error == MQTT5_OK, rig->store != NULL);
    assert_int_equal(error == MQTT5_OK, rig->report.why[0] == 0);
    return error;
}

void rig_start(struct rig *rig)
{
    assert_int_equal(m5_store_start(rig->store), MQTT5_OK);
}

enum mqtt5_error rig_open(struct rig *rig)
{
    const enum mqtt5_error error = rig_open_only(rig);
    if (error == MQTT5_OK)
        rig_start(rig);
    return error;
}

void rig_close(struct rig *rig)
{
    if (rig->store->running)
        assert_int_equal(m5_store_stop(rig->store, 5000), MQTT5_OK);
    m5_store_free(rig->store);
    rig->store = NULL;
}

void rig_abandon(struct rig *rig)
{
    /* The writer and the applier end without touching the folder any more. */
    struct m5_store *store = rig->store;
    pthread_mutex_lock(&store->mutex);
    assert_null(store->queue.first);
    store->stopping = true;
    pthread_cond_signal(&store->work);
    pthread_mutex_unlock(&store->mutex);
    pthread_join(store->writer, NULL);
    pthread_mutex_lock(&store->apply_mutex);
    store->durable = 0;
    store->apply_stopping = true;
    pthread_cond_signal(&store->apply_work);
    pthread_mutex_unlock(&store->apply_mutex);
    pthread_join(store->applier, NULL);
    store->running = false;
    m5_store_free(store);
    rig->store = NULL;
}

/* ---- waiting ---- */

static void wait_for(struct rig *rig, const uint64_t *wide, const unsigned *narrow, uint64_t count)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 60;
    int timed_out = 0;
    pthread_mutex_lock(&rig->mutex);
    while (timed_out == 0 && (wide != NULL ? *wide : *narrow) < count)
        timed_out = pthread_cond_timedwait(&rig->changed, &rig->mutex, &deadline);
    pthread_mutex_unlock(&rig->mutex);
    assert_int_equal(timed_out, 0);
}

void rig_wait_stored(struct rig *rig, uint64_t count)
{
    wait_for(rig, &rig->stored, NULL, count);
}

static unsigned read_count(struct rig *rig, const unsigned *count)
{
    pthread_mutex_lock(&rig->mutex);
    const unsigned value = *count;
    pthread_mutex_unlock(&rig->mutex);
    return value;
}

unsigned rig_failed(struct rig *rig)
{
    return read_count(rig, &rig->failed);
}

unsigned rig_healed(struct rig *rig)
{
    return read_count(rig, &rig->healed);
}

void rig_wait_failed(struct rig *rig, unsigned count)
{
    wait_for(rig, NULL, &rig->failed, count);
}

void rig_wait_healed(struct rig *rig, unsigned count)
{
    wait_for(rig, NULL, &rig->healed, count);
}

void rig_store(struct rig *rig, struct m5_batch *batch)
{
    pthread_mutex_lock(&rig->mutex);
    const uint64_t count = rig->stored + 1;
    if (batch->position == 0)
        batch->position = rig->positions[batch->shard] + 1;
    pthread_mutex_unlock(&rig->mutex);
    m5_store_submit(rig->store, batch);
    rig_wait_stored(rig, count);
}

/* ---- looking ---- */

static enum mqtt5_error collect(void *ctx, struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    struct model *model = ctx;
    if (model->count > 0 && compare(key_of(&model->entries[model->count - 1]), key) >= 0)
        return MQTT5_ERR_INTERNAL;
    model_put(model, key, value);
    return MQTT5_OK;
}

struct model rig_load(struct rig *rig)
{
    struct model model = {0};
    const bool opens = rig->store == NULL;
    if (opens)
        assert_int_equal(rig_open_only(rig), MQTT5_OK);
    assert_int_equal(m5_store_load(rig->store, collect, &model), MQTT5_OK);
    m5_store_load_end(rig->store);
    if (opens)
        rig_close(rig);
    return model;
}

void rig_expect(struct rig *rig, const struct model *model)
{
    struct model found = rig_load(rig);
    assert_int_equal(found.count, model->count);
    assert_true(model_digest(&found) == model_digest(model));
    model_free(&found);
}

const char *rig_text(struct rig *rig, const char *key)
{
    static char text[256];
    struct model found = rig_load(rig);
    const size_t i = lower_bound(&found, m5_bytes_of(key));
    text[0] = 0;
    if (is_at(&found, i, m5_bytes_of(key)))
        snprintf(text, sizeof text, "%s", (const char *)found.entries[i].value);
    model_free(&found);
    return text;
}

void rig_path(const struct rig *rig, const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", rig->dir, name);
}

unsigned rig_count_files(const struct rig *rig, const char *prefix)
{
    unsigned count = 0;
    DIR *folder = opendir(rig->dir);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(folder);
    return count;
}
