/* Batches of changes: written by a shard, read by a store.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/journal.h"

#include "broker/hold.h"
#include "broker/shard.h"

#define PART_CAPACITY (16u * 1024u)
#define CHANGE_HEADER 6u /* operation, size of the key, size of the value */

static uint8_t *part_bytes(struct m5_batch_part *part)
{
    return (uint8_t *)(part + 1);
}

/* ---- reading ---- */

void m5_batch_read(const struct m5_batch *batch, struct m5_batch_cursor *cursor)
{
    *cursor = (struct m5_batch_cursor){.part = batch->parts};
}

bool m5_batch_next(struct m5_batch_cursor *cursor, struct m5_store_change *out)
{
    while (cursor->part != NULL && cursor->at == cursor->part->size) {
        cursor->part = cursor->part->next;
        cursor->at = 0;
    }
    if (cursor->part == NULL)
        return false;
    const uint8_t *at = (const uint8_t *)(cursor->part + 1) + cursor->at;
    out->op = (enum m5_store_op)at[0];
    out->key = m5_bytes(at + CHANGE_HEADER, at[1]);
    out->value = m5_bytes(at + CHANGE_HEADER + at[1], m5_read_u32(at + 2));
    cursor->at += CHANGE_HEADER + at[1] + out->value.len;
    return true;
}

/* ---- writing ---- */

static uint8_t *write_change(struct m5_batch *batch, enum m5_store_op op, struct mqtt5_bytes key,
                             size_t value_size)
{
    struct m5_batch_part *part = batch->last_part;
    uint8_t *at = part_bytes(part) + part->size;
    at[0] = (uint8_t)op;
    at[1] = (uint8_t)key.len;
    at = m5_copy(m5_write_u32(at + 2, (uint32_t)value_size), key);
    part->size += (uint32_t)(CHANGE_HEADER + key.len + value_size);
    M5_ASSERT(part->size <= part->capacity);
    batch->changes++;
    return at;
}

static struct m5_batch_part *part_new(const struct mqtt5_allocator *allocator, size_t capacity)
{
    struct m5_batch_part *part = m5_alloc(allocator, sizeof *part + capacity);
    if (part != NULL)
        *part = (struct m5_batch_part){.allocator = allocator, .capacity = (uint32_t)capacity};
    return part;
}

static void part_free(struct m5_batch_part *part)
{
    m5_free(part->allocator, part, sizeof *part + part->capacity);
}

static void free_parts(struct m5_batch *batch, struct m5_batch_part **spare)
{
    for (struct m5_batch_part *part = batch->parts, *next; part != NULL; part = next) {
        next = part->next;
        if (spare != NULL && *spare == NULL && part->capacity == PART_CAPACITY)
            *spare = part;
        else
            part_free(part);
    }
}

static void batch_free(struct m5_shard *shard, struct m5_batch *batch)
{
    shard->journal.bytes -= batch->bytes;
    free_parts(batch, &shard->journal.spare);
    m5_free(shard->engine->allocator, batch, sizeof *batch);
}

/* What this turn has written goes with it: half a change is none. */
static void end_journal(struct m5_shard *shard)
{
    struct m5_journal *journal = &shard->journal;
    journal->ended = true;
    if (journal->open != NULL)
        batch_free(shard, journal->open);
    journal->open = NULL;
    M5_COUNT(shard, limit_memory, 1);
    m5_event_limit(shard, NULL, "memory for what is to be stored");
}

static bool add_part(struct m5_shard *shard, size_t size)
{
    struct m5_journal *journal = &shard->journal;
    struct m5_batch_part *part = journal->spare;
    size_t capacity = size > PART_CAPACITY ? size : PART_CAPACITY;
    if (part != NULL && part->capacity >= size)
        journal->spare = NULL;
    else if (journal->restoring || (part = part_new(shard->allocator, capacity)) == NULL)
        part = part_new(shard->engine->allocator, capacity);
    if (part == NULL)
        return false;
    part->next = NULL;
    part->size = 0;
    struct m5_batch *batch = journal->open;
    if (batch->parts == NULL)
        batch->parts = part;
    else
        batch->last_part->next = part;
    batch->last_part = part;
    batch->bytes += part->capacity;
    journal->bytes += part->capacity;
    return true;
}

/* The batch that this turn writes; NULL: the journal has ended. */
static struct m5_batch *open_batch(struct m5_shard *shard)
{
    struct m5_journal *journal = &shard->journal;
    if (journal->open != NULL || journal->ended)
        return journal->ended ? NULL : journal->open;
    journal->open = m5_alloc_zero(shard->engine->allocator, sizeof *journal->open);
    if (journal->open == NULL)
        end_journal(shard);
    else
        journal->open->shard = shard->index;
    return journal->open;
}

uint8_t *m5_journal_put(struct m5_shard *shard, enum m5_store_op op, struct mqtt5_bytes key,
                        size_t value_size)
{
    struct m5_journal *journal = &shard->journal;
    M5_ASSERT(key.len > 0 && key.len <= M5_STORE_KEY_MAX);
    if (!journal->on)
        return NULL;
    journal->position++;
    struct m5_batch *batch = open_batch(shard);
    if (batch == NULL)
        return NULL;
    size_t size = CHANGE_HEADER + key.len + value_size;
    struct m5_batch_part *part = batch->last_part;
    if ((part == NULL || part->capacity - part->size < size) && !add_part(shard, size)) {
        end_journal(shard);
        return NULL;
    }
    return write_change(batch, op, key, value_size);
}

void m5_journal_touch(struct m5_shard *shard)
{
    if (!shard->journal.on)
        return;
    shard->journal.position++;
    open_batch(shard);
}

void m5_journal_urge(struct m5_shard *shard, bool until_written)
{
    struct m5_batch *batch = shard->journal.open;
    if (batch == NULL)
        return;
    batch->prompt |= until_written;
    batch->urgent |= !until_written;
}

/* ---- out and back ---- */

struct m5_batch *m5_shard_seal(struct m5_shard *shard)
{
    m5_shard_settle(shard);
    struct m5_journal *journal = &shard->journal;
    if (journal->on && !journal->ended && m5_retained_announce(shard->engine->retained))
        m5_journal_touch(shard);
    struct m5_batch *batch = journal->open;
    if (batch == NULL)
        return NULL;
    journal->open = NULL;
    batch->position = journal->sealed = journal->position;
    return batch;
}

void m5_shard_stored(struct m5_shard *shard, struct m5_batch *batch)
{
    struct m5_journal *journal = &shard->journal;
    M5_ASSERT(batch->shard == shard->index && batch->position > journal->stored);
    journal->stored = batch->position;
    m5_lingerers_release(shard, journal->stored);
    bool was_full = m5_journal_full(shard);
    batch_free(shard, batch);
    if (was_full && !m5_journal_full(shard))
        m5_hold_resume(shard);
    m5_shard_written(shard, journal->stored);
    m5_hold_release(shard, &shard->holds, journal->stored);
}

void m5_shard_written(struct m5_shard *shard, uint64_t position)
{
    if (position <= shard->journal.written)
        return;
    shard->journal.written = position;
    m5_hold_release(shard, &shard->relaxed_holds, position);
}

void m5_shard_store_failing(struct m5_shard *shard, bool failing)
{
    shard->journal.failing = failing;
}

/* Moves the parts of @p from to the end of @p to. */
static void append_parts(struct m5_batch *to, struct m5_batch *from)
{
    if (from->parts == NULL)
        return;
    if (to->parts == NULL)
        to->parts = from->parts;
    else
        to->last_part->next = from->parts;
    to->last_part = from->last_part;
    to->changes += from->changes;
    to->bytes += from->bytes;
    from->parts = from->last_part = NULL;
    from->changes = 0;
    from->bytes = 0;
}

void m5_journal_gather(struct m5_engine *engine)
{
    struct m5_shard *first = &engine->shards[0];
    for (uint32_t i = 0; i < engine->shard_count; i++)
        engine->shards[i].journal.restoring = false;
    for (uint32_t i = 1; i < engine->shard_count; i++) {
        struct m5_journal *journal = &engine->shards[i].journal;
        if (journal->open == NULL || open_batch(first) == NULL)
            continue;
        first->journal.open->urgent |= journal->open->urgent;
        first->journal.open->prompt |= journal->open->prompt;
        journal->bytes -= journal->open->bytes;
        first->journal.bytes += journal->open->bytes;
        append_parts(first->journal.open, journal->open);
        if (first->journal.position == 0)
            first->journal.position = 1;
    }
}

static void set(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

void m5_shard_store_figures(struct m5_shard *shard, const struct m5_store_figures *figures)
{
    M5_ASSERT(shard->index == 0);
    struct m5_counters *counters = &shard->counters;
    set(&counters->store_failing, figures->failing);
    set(&counters->store_commits, figures->commits);
    set(&counters->store_changes, figures->changes);
    set(&counters->store_failures, figures->failures);
    set(&counters->store_commit_us, figures->commit_us);
    set(&counters->store_bytes_used, figures->bytes_used);
    set(&counters->store_bytes_file, figures->bytes_file);
}

void m5_shard_unstored(struct m5_shard *shard, struct m5_batch *batch)
{
    batch_free(shard, batch);
}

void m5_journal_fini(struct m5_shard *shard)
{
    struct m5_journal *journal = &shard->journal;
    if (journal->open != NULL)
        batch_free(shard, journal->open);
    if (journal->spare != NULL)
        part_free(journal->spare);
    journal->open = NULL;
    journal->spare = NULL;
}

/* ---- batches of their own ---- */

struct m5_batch *m5_batch_single(const struct mqtt5_allocator *allocator, enum m5_store_op op,
                                 struct mqtt5_bytes key, size_t value_size, uint8_t **value)
{
    size_t capacity = CHANGE_HEADER + key.len + value_size + CHANGE_HEADER + M5_STORE_KEY_MAX;
    struct m5_batch *batch = m5_alloc_zero(allocator, sizeof *batch);
    if (batch == NULL)
        return NULL;
    batch->parts = batch->last_part = part_new(allocator, capacity);
    if (batch->parts == NULL) {
        m5_free(allocator, batch, sizeof *batch);
        return NULL;
    }
    batch->bytes = capacity;
    *value = write_change(batch, op, key, value_size);
    return batch;
}

void m5_batch_add_delete(struct m5_batch *batch, struct mqtt5_bytes key)
{
    write_change(batch, M5_STORE_DELETE, key, 0);
}

void m5_batch_rename(struct m5_batch *batch, struct mqtt5_bytes key)
{
    uint8_t *at = part_bytes(batch->parts);
    M5_ASSERT(at[1] == key.len);
    m5_copy(at + CHANGE_HEADER, key);
}

void m5_batch_free(const struct mqtt5_allocator *allocator, struct m5_batch *batch)
{
    free_parts(batch, NULL);
    m5_free(allocator, batch, sizeof *batch);
}
