/* What the files of the store share: the store itself.
 *
 * Who may touch what. `mutex` guards the queue, `apply_mutex` what the writer tells the applier;
 * a shard's `done` has its own. The log is the writer's, but for its list of segments; the map is
 * the applier's. Before the threads run and after they ended everything is the caller's.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_STORE_STATE_H
#define M5_HOST_STORE_STATE_H

#include "host/store/change.h"
#include "host/store/store.h"
#include "host/store/tree.h"
#include "host/store/wal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* A list of batches by `next`, in order. */
struct m5_batch_list {
    struct m5_batch *first, *last;
};

/* What a shard may take back. */
struct m5_store_done {
    pthread_mutex_t mutex;
    atomic_bool any;
    _Atomic uint64_t written; /* position of the last batch that is written */
    struct m5_batch_list list;
};

/* Groups of the log that go into the map as one. */
struct m5_window {
    struct m5_change_list changes;
    uint8_t **groups; /* what the changes are views of */
    uint32_t count, capacity;
    uint64_t number, wall_ms; /* of the last group */
    uint64_t bytes;           /* in the log */
};

enum m5_store_trouble { M5_TROUBLE_LOG = 1, M5_TROUBLE_MAP = 2 };

struct m5_store {
    struct m5_store_options options;
    char *dir; /* absolute */
    int dir_fd, lock_fd;
    struct m5_tree tree;
    struct m5_wal log;
    bool running, hung;
    pthread_t writer, applier;

    /* the queue */
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct m5_batch_list queue;
    size_t queued_bytes;
    uint64_t queued_since_us; /* the first of the queue */
    bool urgent;              /* somebody waits for what is queued */
    bool asleep;              /* the writer is to be woken */
    bool stopping;
    uint64_t give_up_us; /* once stopping: when to try no more */

    /* the writer's own: the group that is being stored */
    struct m5_batch_list group, retained;
    size_t group_bytes;
    struct m5_change_list changes;

    struct m5_store_done done[M5_STORE_SHARDS_MAX];

    /* the applier */
    pthread_mutex_t apply_mutex;
    pthread_cond_t apply_work;
    uint64_t durable;                                       /* the last group that is */
    uint64_t behind_changes, behind_bytes, behind_since_us; /* log that is not in the map yet */
    bool apply_stopping;
    uint64_t compact_again_us;
    struct m5_wal_reader reader;
    struct m5_window window;

    pthread_mutex_t trouble_mutex;
    unsigned trouble; /* enum m5_store_trouble */
    atomic_bool failing;

    _Atomic uint64_t commits, changes_stored, failures, commit_us, bytes_used, bytes_file;
};

/* Takes over the whole of @p from, which is empty then. */
static inline void m5_batches_append(struct m5_batch_list *list, struct m5_batch_list *from)
{
    if (from->first == NULL)
        return;
    if (list->first == NULL)
        list->first = from->first;
    else
        list->last->next = from->first;
    list->last = from->last;
    *from = (struct m5_batch_list){0};
}

static inline void m5_batches_add(struct m5_batch_list *list, struct m5_batch *batch)
{
    batch->next = NULL;
    if (list->first == NULL)
        list->first = batch;
    else
        list->last->next = batch;
    list->last = batch;
}

/* Storing fails for a reason, or works again (@p why NULL); tells the host when that changes
 * whether it fails at all. */
void m5_store_trouble(struct m5_store *store, enum m5_store_trouble trouble, const char *why);

/* The two threads. */
void *m5_store_write(void *store);
void *m5_store_apply(void *store);

/* Reads the groups of the log up to number @p last, or until the window is full. What m5_wal_next()
 * says when it was not a group; M5_WAL_GROUP: the window ends because it is full or at @p last. */
enum m5_wal_found m5_window_read(struct m5_window *window, struct m5_wal_reader *reader,
                                 uint64_t last, const struct m5_store_options *limits, char *why);
void m5_window_clear(struct m5_window *window);
void m5_window_fini(struct m5_window *window);

/* Puts @p us after now into @p out, for pthread_cond_timedwait() on the store's conditions. */
struct timespec m5_store_deadline(uint64_t at_us);

#endif
