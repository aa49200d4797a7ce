/* The applier: follows the log and brings the map up to it, some time later.
 *
 * What a later group makes void is left out, over all the groups that go into the map as one
 * (m5_changes_elide()). That must not be done when a part of them may be in the map already: after
 * a start, and then the window is another one.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/store/folder.h"
#include "host/store/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define COMPACT_PAUSE_US 60000000u /* after a rewrite of the map that failed */

/* ---- windows ---- */

void m5_window_clear(struct m5_window *window)
{
    m5_changes_clear(&window->changes);
    for (uint32_t i = 0; i < window->count; i++)
        free(window->groups[i]);
    window->count = 0;
    window->bytes = 0;
}

void m5_window_fini(struct m5_window *window)
{
    m5_window_clear(window);
    m5_changes_fini(&window->changes);
    free(window->groups);
    *window = (struct m5_window){0};
}

/* Room for one more group; false without memory. */
static bool make_room(struct m5_window *window)
{
    if (window->count < window->capacity)
        return true;
    const uint32_t capacity = window->capacity == 0 ? 64 : window->capacity * 2;
    void *groups = realloc(window->groups, capacity * sizeof *window->groups);
    if (groups == NULL)
        return false;
    window->groups = groups;
    window->capacity = capacity;
    return true;
}

static enum m5_wal_found add_group(struct m5_window *window, const struct m5_wal_group *group,
                                   char *why)
{
    const enum mqtt5_error error =
        m5_changes_read(&window->changes, m5_bytes(group->bytes, group->size));
    if (error != MQTT5_OK) {
        free(group->bytes);
        errno = ENOMEM;
        m5_say(why, "group %llu of the log %s", (unsigned long long)group->number,
               error == MQTT5_ERR_NOMEM ? "does not fit into memory" : "has no sense");
        return error == MQTT5_ERR_NOMEM ? M5_WAL_FAILED : M5_WAL_DAMAGED;
    }
    window->groups[window->count++] = group->bytes;
    window->number = group->number;
    window->wall_ms = group->wall_ms;
    window->bytes += group->size;
    return M5_WAL_GROUP;
}

enum m5_wal_found m5_window_read(struct m5_window *window, struct m5_wal_reader *reader,
                                 uint64_t last, const struct m5_store_options *limits, char *why)
{
    enum m5_wal_found found = M5_WAL_GROUP;
    while (reader->next <= last && window->bytes < limits->apply_bytes &&
           window->changes.count < limits->apply_changes) {
        const struct m5_wal_reader before = *reader;
        struct m5_wal_group group;
        if (!make_room(window)) {
            m5_say(why, "there is no memory to read the log");
            errno = ENOMEM;
            return M5_WAL_FAILED;
        }
        found = m5_wal_next(reader, &group, why);
        if (found == M5_WAL_GROUP)
            found = add_group(window, &group, why);
        if (found == M5_WAL_GROUP)
            continue;
        *reader = before;
        break;
    }
    return found;
}

/* ---- the thread ---- */

/* Waits until it is time; false: everything is in the map and no more will come. */
static bool wait_for_log(struct m5_store *store)
{
    const struct m5_store_options *options = &store->options;
    pthread_mutex_lock(&store->apply_mutex);
    for (;;) {
        const bool some = store->durable >= store->reader.next;
        const uint64_t due_us = store->behind_since_us + (uint64_t)options->apply_ms * 1000;
        if (store->apply_stopping ||
            (some && (store->behind_bytes >= options->apply_bytes ||
                      store->behind_changes >= options->apply_changes || m5_steady_us() >= due_us)))
            break;
        const struct timespec deadline = m5_store_deadline(due_us);
        if (some)
            pthread_cond_timedwait(&store->apply_work, &store->apply_mutex, &deadline);
        else
            pthread_cond_wait(&store->apply_work, &store->apply_mutex);
    }
    const bool over = store->apply_stopping && store->durable < store->reader.next;
    pthread_mutex_unlock(&store->apply_mutex);
    return !over;
}

static uint64_t durable(struct m5_store *store)
{
    pthread_mutex_lock(&store->apply_mutex);
    const uint64_t number = store->durable;
    pthread_mutex_unlock(&store->apply_mutex);
    return number;
}

/* Waits before the next attempt; false: it is time to give up. */
static bool wait_to_retry(struct m5_store *store, uint32_t pause_ms)
{
    pthread_mutex_lock(&store->apply_mutex);
    const uint64_t until_us = m5_steady_us() + (uint64_t)pause_ms * 1000;
    while (!store->apply_stopping && m5_steady_us() < until_us) {
        const struct timespec deadline = m5_store_deadline(until_us);
        pthread_cond_timedwait(&store->apply_work, &store->apply_mutex, &deadline);
    }
    const bool over = store->apply_stopping;
    pthread_mutex_unlock(&store->apply_mutex);
    return !over;
}

static void note_progress(struct m5_store *store, uint64_t changes)
{
    pthread_mutex_lock(&store->apply_mutex);
    store->behind_bytes -= store->window.bytes;
    store->behind_changes -= changes;
    store->behind_since_us = m5_steady_us();
    pthread_mutex_unlock(&store->apply_mutex);
    m5_wal_drop(&store->reader);
    atomic_store(&store->bytes_used, store->tree.bytes_used);
}

/* A map that is large and mostly free, now that the queues have drained, is rewritten: only this
 * thread uses it. Readers of other processes keep the old file. */
static void give_space_back(struct m5_store *store)
{
    struct stat file;
    const int fd = m5_tree_fd(&store->tree);
    if (fd < 0 || m5_steady_us() < store->compact_again_us || fstat(fd, &file) != 0 ||
        (uint64_t)file.st_size <= store->options.compact_bytes ||
        store->tree.bytes_used > (uint64_t)file.st_size / 4)
        return;
    char why[M5_STORE_WHY_SIZE];
    if (m5_tree_rewrite(&store->tree, why) != MQTT5_OK) /* the old one is there: not now, then */
        store->compact_again_us = m5_steady_us() + COMPACT_PAUSE_US;
}

/* Brings one window into the map; false with a sentence. */
static bool apply_window(struct m5_store *store, char *why)
{
    struct m5_window *window = &store->window;
    if (window->count == 0) {
        const enum m5_wal_found found =
            m5_window_read(window, &store->reader, durable(store), &store->options, why);
        if (found != M5_WAL_GROUP && window->count == 0) {
            if (why[0] == 0)
                m5_say(why, "the log ends before what was written to it");
            return false;
        }
        m5_changes_elide(&window->changes);
    }
    if (m5_tree_apply(&store->tree, &window->changes, window->number, window->wall_ms, why) !=
        MQTT5_OK)
        return false;
    const uint64_t changes = window->changes.count;
    note_progress(store, changes);
    m5_window_clear(window);
    if (durable(store) < store->reader.next)
        give_space_back(store);
    return true;
}

void *m5_store_apply(void *ctx)
{
    struct m5_store *store = ctx;
    char why[M5_STORE_WHY_SIZE];
    uint32_t pause_ms = store->options.retry_ms;
    while (store->window.count > 0 || wait_for_log(store)) {
        why[0] = 0;
        if (apply_window(store, why)) {
            pause_ms = store->options.retry_ms;
            m5_store_trouble(store, M5_TROUBLE_MAP, NULL);
            continue;
        }
        atomic_fetch_add(&store->failures, 1);
        m5_store_trouble(store, M5_TROUBLE_MAP, why);
        if (!wait_to_retry(store, pause_ms))
            break;
        pause_ms = pause_ms * 2 < store->options.retry_most_ms ? pause_ms * 2
                                                               : store->options.retry_most_ms;
    }
    return NULL;
}
