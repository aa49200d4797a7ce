/* The store of the native host: a folder that holds what the broker must not lose.
 *
 * How it keeps it. A group of batches is appended to a log and synced: one write, one flush, and
 * it is durable. A second thread follows the log and brings an LMDB map (data.mdb) up to it, some
 * time later; what is put and deleted meanwhile never gets there. At start the rest of the log is
 * applied first, so what is loaded is always the map. Committing each group to LMDB itself would
 * take two flushes one after the other (pages, then the page that names them) and some more
 * writing: for a publisher who waits that is half of what the disk can do.
 *
 * There is one store for all workers: one queue gives one order that agrees with the order of
 * causes (broker/store.h), one flush serves everybody, and the number of workers may change.
 *
 *     m5_store_open(&options, &store, &report)      no threads yet
 *     m5_store_load(store, fn, ctx)                 every record; views live until
 *     m5_store_load_end(store)
 *     m5_store_start(store)                         two threads
 *       m5_store_submit(store, batch)               any thread, in each turn
 *       hooks.wake(shard) ... m5_store_take(store, shard) -> m5_shard_stored() for each
 *     m5_store_stop(store, timeout_ms)              drains, syncs, ends the threads
 *       m5_store_take() once more for each shard, m5_store_left()
 *     m5_store_free(store)
 *
 * Files: `lock` (the broker's own lock, with its process id), `data.mdb` and `lock.mdb` (LMDB),
 * `log-<16 hex digits>` (segments, named after their first group), and
 * `<name>.damaged-<UTC time>` (what could not be read).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_STORE_STORE_H
#define M5_HOST_STORE_STORE_H

#include "broker/store.h"

#include <mqtt5/broker.h>

#define M5_STORE_FORMAT     1u  /* of the files; a later one is refused */
#define M5_STORE_SHARDS_MAX 64u /* workers of one broker */
#define M5_STORE_WHY_SIZE   512 /* bytes of a sentence for people, with its zero */

/* Whom the store calls, from its own threads; `ctx` is the first argument. Between m5_store_start()
 * and the end of m5_store_stop(). None may block for long: the next group waits. */
struct m5_store_hooks {
    void *ctx;
    /* There is something for m5_store_take(store, shard); once until it is taken. NULL: none. */
    void (*wake)(void *ctx, uint32_t shard);
    /* m5_retained_seal() and m5_retained_stored(), called by one thread; NULL: nothing to seal. */
    struct m5_batch *(*retained_seal)(void *ctx);
    void (*retained_stored)(void *ctx, struct m5_batch *list);
    /* Once when storing begins to fail (@p why: a sentence for the log, valid during the call) and
     * once when it works again (@p why NULL): tell every shard (m5_shard_store_failing()). */
    void (*failing)(void *ctx, bool failing, const char *why);
};

/* Zero is the default of every number. */
struct m5_store_options {
    const char *dir;                    /* made with its parents if it is missing, mode 0700 */
    enum mqtt5_storage_damaged damaged; /* what to do with a store that cannot be read */
    uint32_t shards;                    /* 1 to M5_STORE_SHARDS_MAX */
    struct m5_store_hooks hooks;
    uint32_t gather_ms;     /* 50: how long a batch that nobody waits for waits for company */
    size_t group_bytes;     /* 16 MiB: batches of one commit; a larger batch goes alone */
    uint64_t map_bytes;     /* 64 GiB: address space of the map, grows when it is full */
    uint64_t segment_bytes; /* 32 MiB: a segment of the log that is longer is ended */
    uint64_t log_bytes_max; /* 1 GiB: log not yet in the map; beyond it storing fails */
    uint32_t apply_changes; /* 100,000 changes, */
    size_t apply_bytes;     /* 16 MiB of log, or */
    uint32_t apply_ms;      /* 1,000 ms since the first: then the map is brought up to the log */
    uint64_t compact_bytes; /* 64 MiB: a map file larger than this and three quarters free is
                               rewritten, by m5_store_open() or when nothing is left to do */
    uint32_t retry_ms;      /* 250: first pause after a commit failed; doubles */
    uint32_t retry_most_ms; /* 2,000 */
    uint32_t hang_ms;       /* 5,000: no progress for so long, beyond the time that stopping has */
};

/* What m5_store_open() met. */
struct m5_store_report {
    char why[M5_STORE_WHY_SIZE]; /* what failed, in words; "" on success */
    bool created;                /* there was no store */
    /* Damage was found: what was wrong, and the new names of what was set aside, relative to the
     * folder. "" otherwise. The store that was opened is empty (the map was damaged), or lacks what
     * follows the damage (the log was). To be logged as an error. */
    char damage[M5_STORE_WHY_SIZE];
    uint64_t replayed;   /* groups of the log that the map did not have: the last run was killed */
    uint64_t compacted;  /* bytes given back to the system by rewriting the map */
    uint64_t records;    /* in the map */
    uint64_t bytes_file; /* of the map and the log */
    uint64_t written_ms; /* wall clock, of the last group; 0: none */
};

struct m5_store;

/* Opens the store in options->dir, or makes it. Copies the options but not the strings in them.
 * @return MQTT5_OK; MQTT5_ERR_CONFIG: not now or not by this program (another broker has the
 * folder, it cannot be made or written, a later version made it, it is damaged and that is to be
 * refused); MQTT5_ERR_IO: the system failed; MQTT5_ERR_NOMEM. report->why has a sentence then, and
 * *out is NULL. @p report is filled either way. */
enum mqtt5_error m5_store_open(const struct m5_store_options *options, struct m5_store **out,
                               struct m5_store_report *report);

/* Takes one record; what it returns other than MQTT5_OK ends the walk. */
typedef enum mqtt5_error m5_store_record_fn(void *ctx, struct mqtt5_bytes key,
                                            struct mqtt5_bytes value);

/* Hands every record to @p fn, keys in ascending order. Views live until m5_store_load_end().
 * Between m5_store_open() and m5_store_start(), by the same thread. @return MQTT5_OK, what @p fn
 * returned, or MQTT5_ERR_IO. */
enum mqtt5_error m5_store_load(struct m5_store *store, m5_store_record_fn *fn, void *ctx);
void m5_store_load_end(struct m5_store *store);

/* Starts the threads; hooks are called from here on. MQTT5_OK, or MQTT5_ERR_IO: no thread. */
enum mqtt5_error m5_store_start(struct m5_store *store);

/* Appends @p batch, the store's own from here on, to the queue; any thread. Never waits for the
 * disk. The order of calls must agree with the order of causes: call it in the turn that sealed
 * the batch, before mail of that turn is sent. Before m5_store_start() it is kept until then. */
void m5_store_submit(struct m5_store *store, struct m5_batch *batch);

/* Batches of @p shard that are durable, oldest first, a list by `next`, the caller's again; NULL:
 * none. Any thread, one at a time for a shard. Cheap when there is nothing. */
struct m5_batch *m5_store_take(struct m5_store *store, uint32_t shard);

/* The position up to which what @p shard submitted is written; it may not be durable yet. Moves on
 * for batches that are `prompt`, at least; `wake` tells. Any thread. */
uint64_t m5_store_written(const struct m5_store *store, uint32_t shard);

/* True from the `failing` hook's first call to its second. Any thread. */
bool m5_store_failing(const struct m5_store *store);

/* Any thread. */
void m5_store_figures(const struct m5_store *store, struct m5_store_figures *figures);

/* Stores what was submitted, brings the map up to the log, and ends the threads; tries for at most
 * @p timeout_ms while storing fails. Nothing may be submitted any more. No hook is called after it
 * returned.
 * @return MQTT5_OK: everything is durable. MQTT5_ERR_IO: not everything, see m5_store_left().
 * MQTT5_ERR_TIMEOUT: the disk hangs in a system call: the thread is left behind, m5_store_free()
 * frees nothing, batches that are out stay out, and the process should end. */
enum mqtt5_error m5_store_stop(struct m5_store *store, uint32_t timeout_ms);

/* After m5_store_stop(): batches that were submitted and could not be stored, oldest first, and in
 * *@p retained (may be NULL) what retained_seal() gave; the caller's again, to be freed. */
struct m5_batch *m5_store_left(struct m5_store *store, struct m5_batch **retained);

/* Closes and frees a store that does not run; NULL is accepted. */
void m5_store_free(struct m5_store *store);

#endif
