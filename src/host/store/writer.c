/* The writer: takes what is queued, makes it durable in the log, and hands it back.
 *
 * Groups make themselves: while one is synced others gather. It sleeps only when nothing is queued,
 * or nothing that anybody waits for.
 *
 * A group that cannot be written is kept and tried again; what was queued meanwhile joins it, up to
 * a bound, as what consumers have done may make it smaller.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "host/store/folder.h"
#include "host/store/state.h"

#include <string.h>
#include <time.h>

#define RETRY_GROUPS 4u /* a group that failed may grow to so many times the limit */

struct timespec m5_store_deadline(uint64_t at_us)
{
    return (struct timespec){.tv_sec = (time_t)(at_us / 1000000),
                             .tv_nsec = (long)(at_us % 1000000 * 1000)};
}

void m5_store_trouble(struct m5_store *store, enum m5_store_trouble trouble, const char *why)
{
    const struct m5_store_hooks *hooks = &store->options.hooks;
    pthread_mutex_lock(&store->trouble_mutex);
    const unsigned before = store->trouble;
    store->trouble = why != NULL ? before | trouble : before & ~(unsigned)trouble;
    const bool failing = store->trouble != 0;
    if (failing != (before != 0)) {
        atomic_store(&store->failing, failing);
        if (hooks->failing != NULL)
            hooks->failing(hooks->ctx, failing, why);
    }
    pthread_mutex_unlock(&store->trouble_mutex);
}

/* ---- gathering ---- */

/* Moves batches from the queue to the group, up to @p limit bytes in it, but one at least. */
static void take_queued(struct m5_store *store, size_t limit)
{
    while (
        store->queue.first != NULL &&
        (store->group.first == NULL || store->group_bytes + store->queue.first->bytes <= limit)) {
        struct m5_batch *batch = store->queue.first;
        store->queue.first = batch->next;
        store->queued_bytes -= batch->bytes;
        store->group_bytes += batch->bytes;
        m5_batches_add(&store->group, batch);
    }
    store->urgent = store->urgent && store->queue.first != NULL;
    store->queued_since_us = m5_steady_us();
}

/* Until when to wait for company; 0: not at all, UINT64_MAX: until something comes. */
static uint64_t wait_until(const struct m5_store *store, uint64_t now_us)
{
    if (store->stopping || store->urgent || store->queued_bytes >= store->options.group_bytes)
        return 0;
    if (store->queue.first == NULL)
        return UINT64_MAX;
    const uint64_t due = store->queued_since_us + (uint64_t)store->options.gather_ms * 1000;
    return due <= now_us ? 0 : due;
}

/* Waits for something to do and takes it. False: there is nothing more to come. */
static bool gather(struct m5_store *store)
{
    pthread_mutex_lock(&store->mutex);
    for (uint64_t until; (until = wait_until(store, m5_steady_us())) != 0;) {
        store->asleep = true;
        const struct timespec deadline = m5_store_deadline(until);
        if (until == UINT64_MAX)
            pthread_cond_wait(&store->work, &store->mutex);
        else
            pthread_cond_timedwait(&store->work, &store->mutex, &deadline);
        store->asleep = false;
    }
    take_queued(store, store->options.group_bytes);
    const bool over = store->stopping && store->group.first == NULL;
    pthread_mutex_unlock(&store->mutex);
    return !over;
}

/* Retained messages go after the batches of the shards (broker/store.h). */
static void take_retained(struct m5_store *store)
{
    const struct m5_store_hooks *hooks = &store->options.hooks;
    if (hooks->retained_seal == NULL)
        return;
    struct m5_batch_list more = {.first = hooks->retained_seal(hooks->ctx)};
    for (more.last = more.first; more.last != NULL && more.last->next != NULL;)
        more.last = more.last->next;
    m5_batches_append(&store->retained, &more);
}

static bool list_changes(struct m5_store *store)
{
    m5_changes_clear(&store->changes);
    const struct m5_batch_list *lists[] = {&store->group, &store->retained};
    for (unsigned i = 0; i < M5_COUNT_OF(lists); i++) {
        for (const struct m5_batch *batch = lists[i]->first; batch != NULL; batch = batch->next) {
            if (!m5_changes_add_batch(&store->changes, batch))
                return false;
        }
    }
    m5_changes_elide(&store->changes);
    return true;
}

/* ---- storing ---- */

/* Tells the applier of a group; wakes it for the first one, and when it is time. */
static void tell_applier(struct m5_store *store, uint64_t bytes)
{
    pthread_mutex_lock(&store->apply_mutex);
    const bool first = store->behind_bytes == 0;
    const bool was_due = store->behind_bytes >= store->options.apply_bytes ||
                         store->behind_changes >= store->options.apply_changes;
    store->durable = store->log.next - 1;
    store->behind_bytes += bytes;
    store->behind_changes += store->changes.live;
    if (first)
        store->behind_since_us = m5_steady_us();
    const bool due = store->behind_bytes >= store->options.apply_bytes ||
                     store->behind_changes >= store->options.apply_changes;
    if (first || (due && !was_due))
        pthread_cond_signal(&store->apply_work);
    pthread_mutex_unlock(&store->apply_mutex);
}

static bool log_is_full(struct m5_store *store)
{
    pthread_mutex_lock(&store->apply_mutex);
    const bool full = store->behind_bytes > store->options.log_bytes_max;
    pthread_mutex_unlock(&store->apply_mutex);
    return full;
}

/* The group is written and not synced yet: that is enough for some. */
static void group_written(void *ctx)
{
    struct m5_store *store = ctx;
    const struct m5_store_hooks *hooks = &store->options.hooks;
    uint64_t prompt = 0;
    for (const struct m5_batch *batch = store->group.first; batch != NULL; batch = batch->next) {
        atomic_store(&store->done[batch->shard].written, batch->position);
        prompt |= (uint64_t)batch->prompt << batch->shard;
    }
    for (uint32_t i = 0; i < store->options.shards && hooks->wake != NULL; i++)
        if (prompt >> i & 1)
            hooks->wake(hooks->ctx, i);
}

/* Makes the changes of the group durable; false with a sentence. */
static bool store_group(struct m5_store *store, char *why)
{
    if (!list_changes(store)) {
        m5_say(why, "there is no memory for what is to be stored");
        return false;
    }
    if (store->changes.live == 0)
        return true;
    if (log_is_full(store)) {
        m5_say(why, "the map is too far behind the log");
        return false;
    }
    const uint64_t begin_us = m5_steady_us();
    if (m5_wal_append(&store->log, &store->changes, m5_wall_ms(), group_written, store, why) !=
        MQTT5_OK)
        return false;
    atomic_store(&store->commit_us, m5_steady_us() - begin_us);
    atomic_fetch_add(&store->commits, 1);
    atomic_fetch_add(&store->changes_stored, store->changes.live);
    tell_applier(store, m5_changes_size(&store->changes));
    return true;
}

static void give_to_shard(struct m5_store *store, uint32_t shard, struct m5_batch_list *list)
{
    struct m5_store_done *done = &store->done[shard];
    pthread_mutex_lock(&done->mutex);
    const bool wake = done->list.first == NULL;
    m5_batches_append(&done->list, list);
    atomic_store(&done->any, true);
    pthread_mutex_unlock(&done->mutex);
    if (wake && store->options.hooks.wake != NULL)
        store->options.hooks.wake(store->options.hooks.ctx, shard);
}

/* The group is durable: gives every batch back. */
static void hand_back(struct m5_store *store)
{
    const struct m5_store_hooks *hooks = &store->options.hooks;
    struct m5_batch_list lists[M5_STORE_SHARDS_MAX] = {0};
    for (struct m5_batch *batch = store->group.first, *next; batch != NULL; batch = next) {
        next = batch->next;
        M5_ASSERT(batch->shard < store->options.shards);
        m5_batches_add(&lists[batch->shard], batch);
    }
    m5_changes_clear(&store->changes);
    store->group = (struct m5_batch_list){0};
    store->group_bytes = 0;
    if (store->retained.first != NULL)
        hooks->retained_stored(hooks->ctx, store->retained.first);
    store->retained = (struct m5_batch_list){0};
    for (uint32_t i = 0; i < store->options.shards; i++) {
        if (lists[i].first != NULL)
            give_to_shard(store, i, &lists[i]);
    }
}

/* Waits before the next attempt, then lets more join. False: it is time to give up. */
static bool wait_to_retry(struct m5_store *store, uint32_t pause_ms)
{
    pthread_mutex_lock(&store->mutex);
    const uint64_t now_us = m5_steady_us();
    uint64_t until_us = now_us + (uint64_t)pause_ms * 1000;
    while (m5_steady_us() < until_us) {
        if (store->stopping && store->give_up_us < until_us)
            until_us = store->give_up_us;
        const struct timespec deadline = m5_store_deadline(until_us);
        pthread_cond_timedwait(&store->work, &store->mutex, &deadline);
    }
    const bool over = store->stopping && m5_steady_us() >= store->give_up_us;
    if (!over)
        take_queued(store, store->options.group_bytes * RETRY_GROUPS);
    pthread_mutex_unlock(&store->mutex);
    return !over;
}

/* Stores the group, however often it takes. False: given up. */
static bool store_at_last(struct m5_store *store)
{
    char why[M5_STORE_WHY_SIZE];
    uint32_t pause_ms = store->options.retry_ms;
    for (;;) {
        why[0] = 0;
        take_retained(store);
        if (store_group(store, why))
            break;
        atomic_fetch_add(&store->failures, 1);
        m5_store_trouble(store, M5_TROUBLE_LOG, why);
        if (!wait_to_retry(store, pause_ms))
            return false;
        pause_ms = pause_ms * 2 < store->options.retry_most_ms ? pause_ms * 2
                                                               : store->options.retry_most_ms;
    }
    m5_store_trouble(store, M5_TROUBLE_LOG, NULL);
    hand_back(store);
    return true;
}

void *m5_store_write(void *ctx)
{
    struct m5_store *store = ctx;
    while (gather(store)) {
        if (!store_at_last(store))
            return NULL;
    }
    store_at_last(store); /* retained messages may be left */
    return NULL;
}
