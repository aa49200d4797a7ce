/* Batches of records between shards.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/mail.h"

#include "broker/shard.h"

/* A batch holds a turn's traffic for one shard; a record that is larger gets one of its own. */
#define BATCH_CAPACITY (64u * 1024u)
#define RECORD_HEADER  ((uint32_t)sizeof(struct m5_mail_record))

static uint8_t *batch_bytes(struct m5_mail_batch *batch)
{
    return (uint8_t *)(batch + 1);
}

static struct m5_mail_batch *batch_new(struct m5_shard *shard, struct m5_channel *channel,
                                       size_t size)
{
    struct m5_mail_batch *batch = channel->spare;
    if (size <= BATCH_CAPACITY && batch != NULL) {
        channel->spare = NULL;
    } else {
        size_t capacity = size > BATCH_CAPACITY ? size : BATCH_CAPACITY;
        batch = m5_alloc(shard->allocator, sizeof *batch + capacity);
        if (batch == NULL)
            return NULL;
        batch->capacity = (uint32_t)capacity;
    }
    batch->next = NULL;
    batch->size = 0;
    return batch;
}

static void batch_free(struct m5_shard *shard, struct m5_channel *channel,
                       struct m5_mail_batch *batch)
{
    if (channel->spare == NULL && batch->capacity == BATCH_CAPACITY)
        channel->spare = batch;
    else
        m5_free(shard->allocator, batch, sizeof *batch + batch->capacity);
}

/* Behind what is held already, so that order is kept. */
static void hold(struct m5_channel *channel, struct m5_mail_batch *batch)
{
    if (channel->held_last != NULL)
        channel->held_last->next = batch;
    else
        channel->held = batch;
    channel->held_last = batch;
}

void *m5_mail_add(struct m5_shard *shard, uint32_t to, enum m5_mail_type type, size_t size)
{
    M5_ASSERT(to != shard->index);
    struct m5_channel *channel = &shard->out[to];
    uint32_t needed = RECORD_HEADER + (((uint32_t)size + 7u) & ~7u);
    struct m5_mail_batch *batch = channel->open;
    if (batch == NULL || batch->capacity - batch->size < needed) {
        struct m5_mail_batch *fresh = batch_new(shard, channel, needed);
        if (fresh == NULL)
            return NULL;
        if (batch != NULL)
            hold(channel, batch);
        channel->open = batch = fresh;
    }
    struct m5_mail_record *record = (void *)(batch_bytes(batch) + batch->size);
    *record = (struct m5_mail_record){.size = needed, .type = (uint32_t)type};
    batch->size += needed;
    return record + 1;
}

/* Takes back what the receiver has read. */
static void collect(struct m5_shard *shard, struct m5_channel *channel)
{
    uint32_t done = atomic_load_explicit(&channel->done, memory_order_acquire);
    while (channel->collected != done) {
        batch_free(shard, channel, channel->slots[channel->collected % M5_CHANNEL_SLOTS]);
        channel->collected++;
    }
}

/* Moves held batches into the ring; true if any went. */
static bool send_held(struct m5_channel *channel)
{
    uint32_t sent = atomic_load_explicit(&channel->sent, memory_order_relaxed);
    uint32_t start = sent;
    while (channel->held != NULL && sent - channel->collected < M5_CHANNEL_SLOTS) {
        struct m5_mail_batch *batch = channel->held;
        channel->held = batch->next;
        if (channel->held == NULL)
            channel->held_last = NULL;
        channel->slots[sent % M5_CHANNEL_SLOTS] = batch;
        sent++;
    }
    if (sent == start)
        return false;
    atomic_store_explicit(&channel->sent, sent, memory_order_release);
    return true;
}

uint64_t m5_mail_send(struct m5_shard *shard)
{
    uint64_t wakes = 0;
    for (uint32_t to = 0; to < shard->engine->shard_count; to++) {
        struct m5_channel *channel = &shard->out[to];
        if (channel->open != NULL && channel->open->size > 0) {
            hold(channel, channel->open);
            channel->open = NULL;
        }
        if (channel->held == NULL || to == shard->index)
            continue;
        collect(shard, channel);
        /* Pairs with the exchange in m5_mail_receive(): either that sees the new batch, or this
         * sees the flag cleared and wakes. */
        if (send_held(channel) &&
            !atomic_exchange_explicit(&shard->engine->shards[to].woken, true, memory_order_seq_cst))
            wakes |= (uint64_t)1 << to;
    }
    return wakes;
}

static void read_record(struct m5_shard *shard, uint32_t from, const struct m5_mail_record *record)
{
    if (record->type == M5_MAIL_RUN)
        m5_run_mail(shard, record);
    else
        m5_share_mail(shard, from, record);
}

static void read_batch(struct m5_shard *shard, uint32_t from, struct m5_mail_batch *batch)
{
    uint32_t at = 0;
    while (at < batch->size) {
        const struct m5_mail_record *record = (const void *)(batch_bytes(batch) + at);
        read_record(shard, from, record);
        at += record->size;
    }
}

static void receive_from(struct m5_shard *shard, uint32_t from)
{
    struct m5_channel *channel = &shard->engine->shards[from].out[shard->index];
    uint32_t done = atomic_load_explicit(&channel->done, memory_order_relaxed);
    uint32_t sent = atomic_load_explicit(&channel->sent, memory_order_acquire);
    while (done != sent) {
        read_batch(shard, from, channel->slots[done % M5_CHANNEL_SLOTS]);
        done++;
        atomic_store_explicit(&channel->done, done, memory_order_release);
    }
}

void m5_mail_receive(struct m5_shard *shard)
{
    if (shard->engine->shard_count == 1)
        return;
    atomic_exchange_explicit(&shard->woken, false, memory_order_seq_cst);
    for (uint32_t other = 0; other < shard->engine->shard_count; other++) {
        if (other == shard->index)
            continue;
        receive_from(shard, other);
        collect(shard, &shard->out[other]);
    }
}

bool m5_mail_held(const struct m5_shard *shard)
{
    for (uint32_t to = 0; to < shard->engine->shard_count; to++)
        if (shard->out[to].held != NULL)
            return true;
    return false;
}

void m5_mail_fini(struct m5_shard *shard)
{
    for (uint32_t to = 0; to < shard->engine->shard_count; to++) {
        struct m5_channel *channel = &shard->out[to];
        uint32_t sent = atomic_load_explicit(&channel->sent, memory_order_relaxed);
        for (; channel->collected != sent; channel->collected++)
            batch_free(shard, channel, channel->slots[channel->collected % M5_CHANNEL_SLOTS]);
        while (channel->held != NULL) {
            struct m5_mail_batch *next = channel->held->next;
            batch_free(shard, channel, channel->held);
            channel->held = next;
        }
        if (channel->open != NULL)
            batch_free(shard, channel, channel->open);
        if (channel->spare != NULL)
            m5_free(shard->allocator, channel->spare,
                    sizeof *channel->spare + channel->spare->capacity);
    }
}
