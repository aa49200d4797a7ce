/* The journal of a shard: what this turn changes in the store, in order.
 *
 * A change is written in place: m5_journal_put() gives the room for its value. Nobody can undo one,
 * so memory for it is looked for twice: within the shard's budget, then beyond it. When there is
 * none at all the journal ends for good where it is: what is stored stays as it was, consistent;
 * nothing that depends on later changes is ever acknowledged.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_JOURNAL_H
#define M5_BROKER_JOURNAL_H

#include "broker/store.h"

#include <mqtt5/allocator.h>

struct m5_batch_part {
    struct m5_batch_part *next;
    const struct mqtt5_allocator *allocator;
    uint32_t size, capacity; /* bytes used and there are, after this header */
};

struct m5_journal {
    bool on;           /* there is a store */
    bool ended;        /* no memory: see above */
    bool failing;      /* commits fail at present */
    uint64_t position; /* changes so far */
    uint64_t sealed;   /* position of the last batch that was sealed */
    uint64_t stored;   /* every change up to here is durable */
    uint64_t written;  /* ... is written, at least */
    size_t bytes;      /* of batches that are not stored yet */
    struct m5_batch *open;
    bool restoring; /* its batches will be handed to another shard */
    struct m5_batch_part *spare;
};

/* Writes a change; the room for its value is the caller's to fill at once. NULL: the journal has
 * ended, or there is no store. */
uint8_t *m5_journal_put(struct m5_shard *shard, enum m5_store_op op, struct mqtt5_bytes key,
                        size_t value_size);

/* A change that is none: what waits for the position that it makes, waits for all retained messages
 * that were set before. */
void m5_journal_touch(struct m5_shard *shard);

/* The batch being written has somebody waiting for it. */
void m5_journal_urge(struct m5_shard *shard, bool until_written);

/* After a restart: what all shards have written becomes one batch, that of shard 0. */
void m5_journal_gather(struct m5_engine *engine);

void m5_journal_fini(struct m5_shard *shard);

/* A batch of its own with a single change, for what is not a shard's; NULL without memory.
 * *@p value: where its value is to be written. */
struct m5_batch *m5_batch_single(const struct mqtt5_allocator *allocator, enum m5_store_op op,
                                 struct mqtt5_bytes key, size_t value_size, uint8_t **value);

/* Adds a DELETE of @p key to a batch of m5_batch_single(), which has kept room for one. */
void m5_batch_add_delete(struct m5_batch *batch, struct mqtt5_bytes key);

/* Gives the first change of a batch another key, of the same size. */
void m5_batch_rename(struct m5_batch *batch, struct mqtt5_bytes key);

void m5_batch_free(const struct mqtt5_allocator *allocator, struct m5_batch *batch);

#endif
