/* A store of the engine in memory (see broker/store.h): an ordered map, what is queued for it and
 * the commit that is under way. When things happen, and what goes wrong, is for its host to say.
 *
 * It checks what the engine owes to a store: PUT_NEW of a key that is there, keys that are too
 * short or too long, batches of another shard, positions that do not count up. The first fault is
 * kept as a sentence.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef DISK_SIM_H
#define DISK_SIM_H

#include "broker/engine.h"
#include "broker/store.h"

#define DISK_LEVELS 12u

struct disk_node; /* a record */

struct disk_gone { /* the last record that was deleted and is not large */
    uint8_t key[M5_STORE_KEY_MAX], value[200];
    size_t key_size, value_size;
};

struct disk_item { /* a batch in the queue */
    struct m5_batch *batch;
    uint64_t tag;
};

struct disk_sim {
    struct disk_node *first[DISK_LEVELS]; /* skip list of what is durable */
    uint64_t coins;                       /* for its levels */
    size_t records, bytes;

    struct m5_engine *engine;
    uint32_t shards;
    struct disk_item *queue; /* oldest first */
    uint32_t count, capacity;
    uint32_t taken;            /* beginning of the queue that is under way */
    struct m5_batch *retained; /* the same commit's */
    bool under_way;
    struct m5_batch *done[M5_SHARDS_MAX], **done_end[M5_SHARDS_MAX]; /* to be handed back */
    struct m5_batch *done_retained;
    uint64_t position[M5_SHARDS_MAX]; /* of the newest batch of each shard */

    struct disk_gone gone;                    /* for tests that bring it back */
    uint64_t batches, commits, puts, deletes; /* since disk_sim_init(): sealed; applied */
    char error[160];                          /* the engine's first fault; empty */
};

void disk_sim_init(struct disk_sim *disk);
/* Frees the records. Nothing may be out. */
void disk_sim_fini(struct disk_sim *disk);

/* From now on @p engine writes to it. */
void disk_sim_attach(struct disk_sim *disk, struct m5_engine *engine, uint32_t shards);

/* Takes what the shard's turn changed, if anything; in the turn, before m5_shard_end(). @p tag is
 * the caller's, and must not go down. Returns true when there was something. */
bool disk_sim_seal(struct disk_sim *disk, uint32_t shard, uint64_t tag);

/* True when someone waits for what is in the queue and not under way. */
bool disk_sim_urgent(const struct disk_sim *disk);

/* Starts a commit of the first @p batches of the queue (0 is allowed), and of the retained messages
 * that changed; none may be under way. False: there was nothing to take. */
bool disk_sim_begin(struct disk_sim *disk, uint32_t batches);

/* It is durable. The batches are now to be handed back. */
void disk_sim_finish(struct disk_sim *disk);

/* Takes all, commits it, whole. */
void disk_sim_commit_all(struct disk_sim *disk);

/* Hands back what is durable to the shard, in its turn, right after m5_shard_begin(). True when
 * there was something. */
bool disk_sim_hand_back(struct disk_sim *disk, uint32_t shard);

/* What shard @p shard has sealed is written, if not durable; in its turn, as above. */
void disk_sim_written(struct disk_sim *disk, uint32_t shard);

/* True: every tag up to @p tag is durable, or nothing of it was ever sealed. */
bool disk_sim_has(const struct disk_sim *disk, uint64_t tag);

/* The power goes: the commit under way @p survives whole, or nothing of it does; the rest is lost.
 * What the engine had given out is freed; the engine is the caller's to free. */
void disk_sim_crash(struct disk_sim *disk, bool survives);

/* Feeds everything into a fresh engine that is attached, and takes what that changes. */
enum mqtt5_error disk_sim_restore(struct disk_sim *disk, struct m5_restore_report *report,
                                  uint64_t tag);

/* ---- for tests of tests, and of the restore ---- */

struct disk_record {
    struct mqtt5_bytes key, value;
};

/* The record @p index of the map; false when there are fewer. */
bool disk_sim_at(const struct disk_sim *disk, size_t index, struct disk_record *out);
void disk_sim_put(struct disk_sim *disk, struct mqtt5_bytes key, struct mqtt5_bytes value);
bool disk_sim_delete(struct disk_sim *disk, struct mqtt5_bytes key);

#endif
