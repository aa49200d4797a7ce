/* What the engine wants stored, and how it learns what is.
 *
 * The engine sees a store as an ordered map from short keys to values that is changed by atomic
 * groups. It writes the keys and values itself (record.h): a store never looks inside, so a file,
 * a simulated disk, a browser's database or a replicated log can stand behind it.
 *
 * Running. All changes of one turn of one shard are one batch; a store applies whole batches or
 * nothing of them. In each turn the host does, after all input and before m5_shard_end():
 *
 *     struct m5_batch *batch = m5_shard_seal(shard);
 *     if (batch != NULL)
 *         append it to the one queue of the store, which all shards share (a lock: the order of
 *         this queue must agree with the order of causes, see below)
 *
 * The store takes a beginning of that queue, then m5_retained_seal(), applies all of it in one
 * atomic commit, makes that durable, and only then hands every batch back on the thread of its
 * shard, in order, at the start of a turn (after m5_shard_begin(), before input):
 *
 *     m5_shard_stored(shard, batch);   // frees it, lets go the acknowledgements that waited for it
 *
 * and m5_retained_stored(engine, list). A batch with neither `urgent` nor `prompt` has nobody
 * waiting: it may wait some time for company, e.g. 50 ms.
 *
 * Order of causes: what shard B does because of mail from shard A is sealed after A sealed what
 * made it send that mail. So any beginning of the queue is a state that could have been: a message
 * that is on its way between shards is in the store until the receiver has stored what it made of
 * it.
 *
 * Failing. A commit that fails (disk full, I/O error) is tried again, later, whole; nothing is
 * handed back meanwhile, so nothing is acknowledged. The host says so by m5_shard_store_failing();
 * the engine then refuses what it would have to store.
 *
 * Starting. Between m5_engine_new() and the first turn the host feeds the stored map through
 * m5_restore_begin(), m5_restore_record(), m5_restore_end(). What that changes comes out of
 * m5_shard_seal(), which the host calls for every shard, shard 0 first, before any of them takes
 * its first turn: it is all in the batch of shard 0, as one change, and precedes all others.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_STORE_H
#define M5_BROKER_STORE_H

#include <mqtt5/bytes.h>
#include <mqtt5/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct m5_engine;
struct m5_shard;

#define M5_STORE_KEY_MAX 32u /* bytes; at least 1 */

enum m5_store_op {
    M5_STORE_PUT = 1,
    M5_STORE_PUT_NEW,      /* the key has never been in the store: a DELETE of it in the same commit
                              cancels both */
    M5_STORE_DELETE,       /* the key may be absent */
    M5_STORE_DELETE_PREFIX /* every key that begins with this one */
};

struct m5_store_change {
    enum m5_store_op op;
    struct mqtt5_bytes key, value; /* value: of a PUT; up to 4 GiB, often 20 to 300 bytes */
};

struct m5_batch_part; /* memory of a batch, see journal.h */

/* Changes in their order, to be applied as one. */
struct m5_batch {
    struct m5_batch *next; /* the host's own, from seal to stored */
    uint32_t shard;        /* whom to hand it back to */
    bool urgent;           /* an acknowledgement waits until it is durable */
    bool prompt;           /* an acknowledgement waits until it is written */
    uint64_t position;     /* of the last change, counted from 1 on each shard */
    uint64_t changes;
    size_t bytes; /* memory that it takes */
    struct m5_batch_part *parts, *last_part;
};

/* Reads the changes of a batch; views live as long as the batch. Any thread. */
struct m5_batch_cursor {
    const struct m5_batch_part *part;
    size_t at;
};

void m5_batch_read(const struct m5_batch *batch, struct m5_batch_cursor *cursor);
bool m5_batch_next(struct m5_batch_cursor *cursor, struct m5_store_change *out);

/* What this turn changed, the caller's until it is handed back; NULL: nothing, or the engine has
 * no store. Settles what the turn left open. */
struct m5_batch *m5_shard_seal(struct m5_shard *shard);

/* @p batch, the oldest one that is out, is durable. On the shard's thread, within a turn. */
void m5_shard_stored(struct m5_shard *shard, struct m5_batch *batch);

/* What was sealed up to @p position is written: it survives this process, not yet a power cut. For
 * acknowledgements of durability `relaxed`; a store that cannot tell leaves it to
 * m5_shard_stored(). On the shard's thread, within a turn. */
void m5_shard_written(struct m5_shard *shard, uint64_t position);

/* @p batch will not be stored: the broker ends. Frees it, lets nothing go. */
void m5_shard_unstored(struct m5_shard *shard, struct m5_batch *batch);

/* Changes of retained messages, of all shards, oldest first (a list by `next`); NULL: none. One
 * thread at a time, any thread. To be taken after the shards' batches, applied after them. When
 * there are new ones some shard's m5_shard_seal() gives a batch, be it without changes: nobody need
 * ask in between. */
struct m5_batch *m5_retained_seal(struct m5_engine *engine);
void m5_retained_stored(struct m5_engine *engine, struct m5_batch *list);

/* True: commits fail at present. QoS 1 and 2 messages that would have to be stored are refused
 * (0x97), as are new subscriptions of sessions that are stored. On the shard's thread. */
void m5_shard_store_failing(struct m5_shard *shard, bool failing);

/* Figures of the store for $SYS; on the thread of shard 0. */
struct m5_store_figures {
    uint64_t commits, changes, failures; /* since start */
    uint64_t commit_us;                  /* what the last commit took */
    uint64_t bytes_used, bytes_file;     /* on disk */
    bool failing;
};
void m5_shard_store_figures(struct m5_shard *shard, const struct m5_store_figures *figures);

/* ---- starting ---- */

struct m5_restore;

struct m5_restore_report {
    uint64_t sessions, subscriptions, messages, retained; /* taken over */
    uint64_t expired;                                     /* sessions, whose time had come */
    uint64_t damaged;                                     /* records that could not be read */
    uint64_t refused;                                     /* beyond a limit of the configuration */
};

/* Starts to take over a stored map into an engine without connections, made with `store`. NULL
 * without memory. */
struct m5_restore *m5_restore_begin(struct m5_engine *engine);

/* One record, keys in ascending order (memcmp). Views must live until m5_restore_end(). A record
 * that makes no sense is counted and left out, and deleted by the first batch.
 * @return MQTT5_OK, MQTT5_ERR_NOMEM, or MQTT5_ERR_CONFIG: the records are of a later version of
 * this program. */
enum mqtt5_error m5_restore_record(struct m5_restore *restore, struct mqtt5_bytes key,
                                   struct mqtt5_bytes value);

/* Brings everything to life and frees @p restore, whatever is returned: MQTT5_OK or
 * MQTT5_ERR_NOMEM. @p report may be NULL. */
enum mqtt5_error m5_restore_end(struct m5_restore *restore, struct m5_restore_report *report);

#endif
