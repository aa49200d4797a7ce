/* The store: opening a folder whatever state it is in, and ending in good order.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/store.h"

#include "base/assert.h"
#include "host/store/folder.h"
#include "host/store/pages.h"
#include "host/store/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MIB          ((uint64_t)1 << 20)
#define NAME_SIZE    96
#define JOIN_STEP_MS 200u

static void set_defaults(struct m5_store_options *options)
{
#define DEFAULT(field, value) \
    if (options->field == 0)  \
    options->field = (value)
    DEFAULT(shards, 1);
    DEFAULT(gather_ms, 50);
    DEFAULT(group_bytes, 16 * MIB);
    DEFAULT(map_bytes, sizeof(size_t) > 4 ? 64 * 1024 * MIB : 512 * MIB);
    DEFAULT(segment_bytes, 32 * MIB);
    DEFAULT(log_bytes_max, 1024 * MIB);
    DEFAULT(apply_changes, 100000);
    DEFAULT(apply_bytes, 16 * MIB);
    DEFAULT(apply_ms, 1000);
    DEFAULT(compact_bytes, 64 * MIB);
    DEFAULT(retry_ms, 250);
    DEFAULT(retry_most_ms, 2000);
    DEFAULT(hang_ms, 5000);
#undef DEFAULT
}

/* ---- damage ---- */

/* Sets @p name aside and adds that to report->damage. */
static enum mqtt5_error set_aside(struct m5_store *store, const char *name,
                                  struct m5_store_report *report)
{
    char aside[NAME_SIZE];
    if (!m5_folder_set_aside(store->dir_fd, name, aside, sizeof aside)) {
        m5_say(report->why, "\"%s/%s\" is damaged and cannot be renamed: %s", store->dir, name,
               strerror(errno));
        return MQTT5_ERR_IO;
    }
    m5_say_more(report->damage, "; set aside as \"%s\"", aside);
    return MQTT5_OK;
}

/* Damage was found, @p what says which: refuses, if that is wished. */
static enum mqtt5_error admit_damage(struct m5_store *store, const char *what,
                                     struct m5_store_report *report)
{
    if (store->options.damaged == MQTT5_STORAGE_REFUSE) {
        m5_say(report->why, "the store in \"%s\" is damaged: %s", store->dir, what);
        return MQTT5_ERR_CONFIG;
    }
    m5_say(report->damage, "%s", what);
    return MQTT5_OK;
}

/* Sets aside the segments of the log that hold group @p from or later ones. */
static enum mqtt5_error set_log_aside(struct m5_store *store, uint64_t from,
                                      struct m5_store_report *report)
{
    for (const struct m5_wal_segment *at = store->log.oldest; at != NULL; at = at->next) {
        char name[M5_WAL_NAME_SIZE];
        if (at->next != NULL && at->next->first <= from)
            continue;
        m5_wal_name(at->first, name);
        const enum mqtt5_error error = set_aside(store, name, report);
        if (error != MQTT5_OK)
            return error;
    }
    return MQTT5_OK;
}

/* ---- the map ---- */

/* Looks at the map's file without LMDB. MQTT5_OK: it is good or there is none (*@p missing). */
static enum mqtt5_error look_at_map(struct m5_store *store, bool *missing,
                                    struct m5_pages_report *pages, char *why)
{
    const int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW; /* it may be a pipe */
    const int fd = openat(store->dir_fd, M5_TREE_NAME, flags);
    *missing = fd < 0 && errno == ENOENT;
    if (*missing)
        return MQTT5_OK;
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        m5_say(why, "\"%s/" M5_TREE_NAME "\" cannot be opened: %s", store->dir, strerror(errno));
        if (fd >= 0)
            close(fd);
        return errno == ELOOP ? MQTT5_ERR_TRUNCATED : MQTT5_ERR_IO;
    }
    enum mqtt5_error error = MQTT5_ERR_TRUNCATED;
    struct m5_pages_head head;
    if (!S_ISREG(status.st_mode))
        m5_say(why, "it is not a file");
    else if ((error = m5_pages_head(fd, 0, &head, why)) == MQTT5_OK)
        error = m5_pages_walk(fd, &head, NULL, NULL, pages, why);
    close(fd);
    return error == MQTT5_ERR_UNSUPPORTED ? MQTT5_OK : error;
}

static enum mqtt5_error make_map(struct m5_store *store, struct m5_store_report *report)
{
    uint64_t id;
    if (getrandom(&id, sizeof id, 0) != sizeof id)
        id = m5_wall_ms() << 20 ^ m5_steady_us() ^ (uint64_t)getpid();
    return m5_tree_create(store->dir_fd, store->dir, id, report->why);
}

/* Opens the log; segments without a map are damage. */
static enum mqtt5_error open_log(struct m5_store *store, bool belongs,
                                 struct m5_store_report *report)
{
    enum mqtt5_error error = m5_wal_open(&store->log, store->dir_fd, true, report->why);
    if (error != MQTT5_OK || belongs || store->log.oldest == NULL)
        return error;
    if (report->damage[0] == 0)
        error = admit_damage(store, "there is a log, but no map that it belongs to", report);
    if (error == MQTT5_OK)
        error = set_log_aside(store, 0, report);
    if (error != MQTT5_OK)
        return error;
    m5_wal_close(&store->log);
    return m5_wal_open(&store->log, store->dir_fd, true, report->why);
}

/* Opens the map, or sets it aside and makes a new one, or makes the first. */
static enum mqtt5_error open_map(struct m5_store *store, struct m5_store_report *report,
                                 struct m5_pages_report *pages)
{
    char what[M5_STORE_WHY_SIZE] = "";
    bool missing;
    unlinkat(store->dir_fd, M5_TREE_NEW, 0);
    enum mqtt5_error error = look_at_map(store, &missing, pages, what);
    if (error == MQTT5_OK && !missing) {
        what[0] = 0;
        error =
            m5_tree_open(&store->tree, store->dir, store->dir_fd, store->options.map_bytes, what);
    }
    const bool damaged = error == MQTT5_ERR_TRUNCATED;
    if (damaged) {
        char sentence[M5_STORE_WHY_SIZE];
        snprintf(sentence, sizeof sentence, "\"" M5_TREE_NAME "\" is damaged: %.400s", what);
        error = admit_damage(store, sentence, report);
        if (error == MQTT5_OK)
            error = set_aside(store, M5_TREE_NAME, report);
    } else if (error != MQTT5_OK) {
        m5_say(report->why, "the store in \"%s\" cannot be opened: %.400s", store->dir, what);
    }
    if (error == MQTT5_OK)
        error = open_log(store, !damaged && !missing, report);
    if (error != MQTT5_OK || (!damaged && !missing))
        return error;
    report->created = !damaged;
    *pages = (struct m5_pages_report){0};
    error = make_map(store, report);
    if (error == MQTT5_OK)
        error = m5_tree_open(&store->tree, store->dir, store->dir_fd, store->options.map_bytes,
                             report->why);
    return error == MQTT5_ERR_TRUNCATED ? MQTT5_ERR_IO : error;
}

/* ---- the rest of the log ---- */

/* Ends replaying: the log is not needed any more, or not usable. */
static enum mqtt5_error end_replay(struct m5_store *store, enum m5_wal_found found,
                                   const char *what, struct m5_store_report *report)
{
    enum mqtt5_error error = MQTT5_OK;
    if (found == M5_WAL_FAILED || found == M5_WAL_LATER) {
        m5_say(report->why, "the store in \"%s\" cannot be opened: %.400s", store->dir, what);
        return found == M5_WAL_LATER ? MQTT5_ERR_CONFIG : MQTT5_ERR_IO;
    }
    if (found == M5_WAL_DAMAGED) {
        error = admit_damage(store, what, report);
        if (error == MQTT5_OK)
            error = set_log_aside(store, store->tree.number + 1, report);
    }
    if (error == MQTT5_OK && !m5_wal_clear(&store->log)) {
        m5_say(report->why, "the log in \"%s\" cannot be removed: %s", store->dir, strerror(errno));
        error = MQTT5_ERR_IO;
    }
    store->log.next = store->tree.number + 1;
    store->log.segment_bytes = store->options.segment_bytes;
    return error;
}

/* Brings the map up to the log of the last run. Nothing is left out of the windows: parts of a
 * larger one may be in the map already (applier.c). */
static enum mqtt5_error replay(struct m5_store *store, struct m5_store_report *report)
{
    char what[M5_STORE_WHY_SIZE] = "";
    struct m5_window *window = &store->window;
    store->log.store = store->tree.store;
    m5_wal_read(&store->log, store->tree.number + 1, &store->reader);
    enum m5_wal_found found = M5_WAL_GROUP;
    while (found == M5_WAL_GROUP) {
        found = m5_window_read(window, &store->reader, UINT64_MAX, &store->options, what);
        if (window->count == 0)
            break;
        report->replayed += window->count;
        const enum mqtt5_error error = m5_tree_apply(&store->tree, &window->changes, window->number,
                                                     window->wall_ms, report->why);
        m5_window_clear(window);
        if (error != MQTT5_OK)
            return error;
    }
    return end_replay(store, found, what, report);
}

/* Rewrites a map that is large and mostly free. That it fails does not matter. */
static enum mqtt5_error compact(struct m5_store *store, const struct m5_pages_report *pages,
                                struct m5_store_report *report)
{
    struct stat before, after;
    if (pages->pages == 0 || fstat(m5_tree_fd(&store->tree), &before) != 0 ||
        (uint64_t)before.st_size <= store->options.compact_bytes ||
        pages->pages_free <= pages->pages / 4 * 3)
        return MQTT5_OK;
    char why[M5_STORE_WHY_SIZE];
    if (m5_tree_rewrite(&store->tree, why) == MQTT5_OK &&
        fstat(m5_tree_fd(&store->tree), &after) == 0 && after.st_size < before.st_size)
        report->compacted = (uint64_t)(before.st_size - after.st_size);
    if (store->tree.env != NULL)
        return MQTT5_OK;
    return m5_tree_open(&store->tree, store->dir, store->dir_fd, store->options.map_bytes,
                        report->why);
}

/* ---- opening ---- */

static uint64_t file_bytes(const struct m5_store *store)
{
    struct stat status;
    const int fd = openat(store->dir_fd, M5_TREE_NAME, O_PATH | O_CLOEXEC);
    uint64_t bytes = 0;
    if (fd >= 0 && fstat(fd, &status) == 0)
        bytes = (uint64_t)status.st_size;
    if (fd >= 0)
        close(fd);
    return bytes;
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

static struct m5_store *store_new(const struct m5_store_options *options)
{
    struct m5_store *store = calloc(1, sizeof *store);
    if (store == NULL)
        return NULL;
    store->options = *options;
    set_defaults(&store->options);
    store->dir_fd = store->lock_fd = -1;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_mutex_init(&store->apply_mutex, NULL);
    pthread_mutex_init(&store->trouble_mutex, NULL);
    pthread_mutex_init(&store->log.mutex, NULL);
    init_condition(&store->work);
    init_condition(&store->apply_work);
    for (unsigned i = 0; i < M5_STORE_SHARDS_MAX; i++)
        pthread_mutex_init(&store->done[i].mutex, NULL);
    return store;
}

static enum mqtt5_error open_all(struct m5_store *store, const char *dir,
                                 struct m5_store_report *report)
{
    store->dir_fd = m5_folder_make(dir, report->why);
    if (store->dir_fd < 0)
        return MQTT5_ERR_CONFIG;
    store->lock_fd = m5_folder_lock(store->dir_fd, dir, report->why);
    if (store->lock_fd < 0)
        return MQTT5_ERR_CONFIG;
    store->dir = realpath(dir, NULL);
    if (store->dir == NULL) {
        m5_say(report->why, "\"%s\" cannot be used as a folder: %s", dir, strerror(errno));
        return MQTT5_ERR_IO;
    }
    struct m5_pages_report pages = {0};
    enum mqtt5_error error = open_map(store, report, &pages);
    if (error == MQTT5_OK && store->tree.format > M5_STORE_FORMAT) {
        m5_say(report->why,
               "the store in \"%s\" was made by a later version of this program (format %u, this "
               "one knows %u)",
               store->dir, store->tree.format, M5_STORE_FORMAT);
        error = MQTT5_ERR_CONFIG;
    }
    if (error == MQTT5_OK)
        error = replay(store, report);
    return error == MQTT5_OK ? compact(store, &pages, report) : error;
}

enum mqtt5_error m5_store_open(const struct m5_store_options *options, struct m5_store **out,
                               struct m5_store_report *report)
{
    *report = (struct m5_store_report){0};
    *out = NULL;
    M5_ASSERT(options->shards <= M5_STORE_SHARDS_MAX);
    struct m5_store *store = store_new(options);
    if (store == NULL) {
        m5_say(report->why, "there is not enough memory to open the store");
        return MQTT5_ERR_NOMEM;
    }
    enum mqtt5_error error = open_all(store, options->dir, report);
    if (error == MQTT5_OK && !m5_folder_sync(store->dir_fd)) {
        m5_say(report->why, "the folder \"%s\" cannot be synced: %s", store->dir, strerror(errno));
        error = MQTT5_ERR_IO;
    }
    if (error != MQTT5_OK) {
        m5_store_free(store);
        return error;
    }
    report->why[0] = 0;
    report->records = store->tree.records;
    report->written_ms = store->tree.wall_ms;
    report->bytes_file = file_bytes(store) + m5_wal_bytes(&store->log);
    store->durable = store->tree.number;
    store->bytes_used = store->tree.bytes_used;
    m5_wal_read(&store->log, store->tree.number + 1, &store->reader);
    *out = store;
    return MQTT5_OK;
}

void m5_store_free(struct m5_store *store)
{
    if (store == NULL || store->hung)
        return;
    M5_ASSERT(!store->running);
    m5_tree_close(&store->tree);
    m5_wal_close(&store->log);
    m5_changes_fini(&store->changes);
    m5_window_fini(&store->window);
    if (store->dir_fd >= 0)
        close(store->dir_fd);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    for (unsigned i = 0; i < M5_STORE_SHARDS_MAX; i++)
        pthread_mutex_destroy(&store->done[i].mutex);
    pthread_cond_destroy(&store->work);
    pthread_cond_destroy(&store->apply_work);
    pthread_mutex_destroy(&store->mutex);
    pthread_mutex_destroy(&store->apply_mutex);
    pthread_mutex_destroy(&store->trouble_mutex);
    free(store->dir);
    free(store);
}

enum mqtt5_error m5_store_load(struct m5_store *store, m5_store_record_fn *fn, void *ctx)
{
    M5_ASSERT(!store->running);
    return m5_tree_walk(&store->tree, fn, ctx);
}

void m5_store_load_end(struct m5_store *store)
{
    m5_tree_walk_end(&store->tree);
}

/* ---- running ---- */

enum mqtt5_error m5_store_start(struct m5_store *store)
{
    m5_tree_walk_end(&store->tree); /* pages of a snapshot cannot be used again */
    store->apply_stopping = store->stopping = false;
    if (pthread_create(&store->applier, NULL, m5_store_apply, store) != 0)
        return MQTT5_ERR_IO;
    if (pthread_create(&store->writer, NULL, m5_store_write, store) == 0) {
        store->running = true;
        return MQTT5_OK;
    }
    pthread_mutex_lock(&store->apply_mutex);
    store->apply_stopping = true;
    pthread_cond_signal(&store->apply_work);
    pthread_mutex_unlock(&store->apply_mutex);
    pthread_join(store->applier, NULL);
    return MQTT5_ERR_IO;
}

void m5_store_submit(struct m5_store *store, struct m5_batch *batch)
{
    pthread_mutex_lock(&store->mutex);
    const bool first = store->queue.first == NULL;
    const bool was_urgent = store->urgent;
    if (first)
        store->queued_since_us = m5_steady_us();
    m5_batches_add(&store->queue, batch);
    store->queued_bytes += batch->bytes;
    const bool waited_for = batch->urgent || batch->prompt;
    store->urgent = was_urgent || waited_for;
    const bool full = store->queued_bytes >= store->options.group_bytes;
    const bool wake = store->asleep && (first || full || (waited_for && !was_urgent));
    pthread_mutex_unlock(&store->mutex);
    if (wake)
        pthread_cond_signal(&store->work);
}

uint64_t m5_store_written(const struct m5_store *store, uint32_t shard)
{
    return atomic_load_explicit(&store->done[shard].written, memory_order_acquire);
}

struct m5_batch *m5_store_take(struct m5_store *store, uint32_t shard)
{
    struct m5_store_done *done = &store->done[shard];
    if (!atomic_load_explicit(&done->any, memory_order_acquire))
        return NULL;
    pthread_mutex_lock(&done->mutex);
    struct m5_batch *batch = done->list.first;
    done->list = (struct m5_batch_list){0};
    atomic_store(&done->any, false);
    pthread_mutex_unlock(&done->mutex);
    return batch;
}

bool m5_store_failing(const struct m5_store *store)
{
    return atomic_load_explicit(&store->failing, memory_order_relaxed);
}

void m5_store_figures(const struct m5_store *store, struct m5_store_figures *figures)
{
    *figures = (struct m5_store_figures){
        .commits = atomic_load(&store->commits),
        .changes = atomic_load(&store->changes_stored),
        .failures = atomic_load(&store->failures),
        .commit_us = atomic_load(&store->commit_us),
        .bytes_used = atomic_load(&store->bytes_used),
        .bytes_file = file_bytes(store) + m5_wal_bytes((struct m5_wal *)(uintptr_t)&store->log),
        .failing = m5_store_failing(store),
    };
}

/* ---- stopping ---- */

/* Joins @p thread as long as it makes progress. */
static bool join(struct m5_store *store, pthread_t thread, uint32_t timeout_ms)
{
    const uint64_t patience_us = ((uint64_t)timeout_ms + store->options.hang_ms) * 1000;
    uint64_t commits = atomic_load(&store->commits);
    uint64_t until_us = m5_steady_us() + patience_us;
    while (m5_steady_us() < until_us) {
        struct timespec at;
        clock_gettime(CLOCK_REALTIME, &at);
        at.tv_nsec += (long)JOIN_STEP_MS * 1000000;
        at.tv_sec += at.tv_nsec / 1000000000;
        at.tv_nsec %= 1000000000;
        if (pthread_timedjoin_np(thread, NULL, &at) == 0)
            return true;
        if (atomic_load(&store->commits) == commits)
            continue;
        commits = atomic_load(&store->commits);
        until_us = m5_steady_us() + patience_us;
    }
    return false;
}

enum mqtt5_error m5_store_stop(struct m5_store *store, uint32_t timeout_ms)
{
    M5_ASSERT(store->running);
    pthread_mutex_lock(&store->mutex);
    store->stopping = true;
    store->give_up_us = m5_steady_us() + (uint64_t)timeout_ms * 1000;
    pthread_cond_signal(&store->work);
    pthread_mutex_unlock(&store->mutex);
    store->hung = !join(store, store->writer, timeout_ms);
    pthread_mutex_lock(&store->apply_mutex);
    store->apply_stopping = true;
    pthread_cond_signal(&store->apply_work);
    pthread_mutex_unlock(&store->apply_mutex);
    store->hung = !join(store, store->applier, timeout_ms) || store->hung;
    if (store->hung)
        return MQTT5_ERR_TIMEOUT;
    store->running = false;
    /* With everything in the map the log has nothing more to say. */
    if (store->tree.number + 1 == store->log.next)
        m5_wal_clear(&store->log);
    return store->group.first == NULL && store->queue.first == NULL && store->retained.first == NULL
               ? MQTT5_OK
               : MQTT5_ERR_IO;
}

struct m5_batch *m5_store_left(struct m5_store *store, struct m5_batch **retained)
{
    m5_batches_append(&store->group, &store->queue);
    struct m5_batch *left = store->group.first;
    if (retained != NULL) {
        *retained = store->retained.first;
        store->retained = (struct m5_batch_list){0};
    }
    store->group = (struct m5_batch_list){0};
    store->group_bytes = store->queued_bytes = 0;
    return left;
}
