/* Chunked output queues.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/output.h"

#include "base/alloc.h"
#include "base/assert.h"

/* 512 holds any acknowledgement and a CONNACK; 16 KiB holds what one turn usually has for one
 * subscriber (200 messages of 80 bytes). Larger frames get a chunk of their own size. */
#define SMALL_BLOCK    512u
#define LARGE_BLOCK    (16u * 1024u)
#define SMALL_CAPACITY (SMALL_BLOCK - (uint32_t)sizeof(struct m5_chunk))
#define LARGE_CAPACITY (LARGE_BLOCK - (uint32_t)sizeof(struct m5_chunk))

void m5_chunk_store_init(struct m5_chunk_store *store, const struct mqtt5_allocator *allocator)
{
    store->allocator = allocator;
    m5_pool_init(&store->small, allocator, SMALL_BLOCK, 32u * 1024u);
    m5_pool_init(&store->large, allocator, LARGE_BLOCK, 256u * 1024u);
}

void m5_chunk_store_fini(struct m5_chunk_store *store)
{
    m5_pool_fini(&store->small);
    m5_pool_fini(&store->large);
}

bool m5_chunk_store_trim(struct m5_chunk_store *store)
{
    bool more = m5_pool_trim(&store->small);
    return m5_pool_trim(&store->large) || more;
}

static struct m5_chunk *chunk_new(struct m5_chunk_store *store, size_t size)
{
    struct m5_chunk *chunk;
    uint32_t capacity;
    if (size <= SMALL_CAPACITY) {
        chunk = m5_pool_take(&store->small);
        capacity = SMALL_CAPACITY;
    } else if (size <= LARGE_CAPACITY) {
        chunk = m5_pool_take(&store->large);
        capacity = LARGE_CAPACITY;
    } else {
        chunk = m5_alloc(store->allocator, sizeof *chunk + size);
        capacity = (uint32_t)size;
    }
    if (chunk != NULL)
        *chunk = (struct m5_chunk){.capacity = capacity};
    return chunk;
}

static void chunk_free(struct m5_chunk_store *store, struct m5_chunk *chunk)
{
    if (chunk->capacity == SMALL_CAPACITY)
        m5_pool_give(&store->small, chunk);
    else if (chunk->capacity == LARGE_CAPACITY)
        m5_pool_give(&store->large, chunk);
    else
        m5_free(store->allocator, chunk, sizeof *chunk + chunk->capacity);
}

/* A connection that has output already gets large chunks: it is a stream. */
static struct m5_chunk *add_chunk(struct m5_output *output, struct m5_chunk_store *store,
                                  size_t size)
{
    if (output->last != NULL && size < LARGE_CAPACITY)
        size = LARGE_CAPACITY;
    struct m5_chunk *chunk = chunk_new(store, size);
    if (chunk == NULL)
        return NULL;
    if (output->last != NULL)
        output->last->next = chunk;
    else
        output->first = chunk;
    output->last = chunk;
    return chunk;
}

uint8_t *m5_output_reserve(struct m5_output *output, struct m5_chunk_store *store, size_t size)
{
    struct m5_chunk *chunk = output->last;
    if (chunk == NULL || chunk->capacity - chunk->end < size) {
        chunk = add_chunk(output, store, size);
        if (chunk == NULL)
            return NULL;
    }
    uint8_t *at = chunk->bytes + chunk->end;
    chunk->end += (uint32_t)size;
    output->size += size;
    return at;
}

void m5_output_give_back(struct m5_output *output, size_t size)
{
    M5_ASSERT(size <= output->last->end - output->last->start);
    output->last->end -= (uint32_t)size;
    output->size -= size;
}

bool m5_output_append(struct m5_output *output, struct m5_chunk_store *store,
                      struct mqtt5_bytes bytes)
{
    struct m5_chunk *chunk = output->last;
    size_t room = chunk == NULL ? 0 : chunk->capacity - chunk->end;
    size_t rest = bytes.len > room ? bytes.len - room : 0;
    struct m5_chunk *more = NULL;
    if (rest > 0 && (more = add_chunk(output, store, rest)) == NULL)
        return false;
    if (bytes.len > rest) {
        memcpy(chunk->bytes + chunk->end, bytes.data, bytes.len - rest);
        chunk->end += (uint32_t)(bytes.len - rest);
    }
    if (rest > 0) {
        memcpy(more->bytes, bytes.data + (bytes.len - rest), rest);
        more->end = (uint32_t)rest;
    }
    output->size += bytes.len;
    return true;
}

size_t m5_output_views(const struct m5_output *output, struct mqtt5_bytes *views, size_t max)
{
    size_t count = 0;
    for (const struct m5_chunk *chunk = output->first; chunk != NULL && count < max;
         chunk = chunk->next)
        if (chunk->end > chunk->start)
            views[count++] = m5_bytes(chunk->bytes + chunk->start, chunk->end - chunk->start);
    return count;
}

void m5_output_sent(struct m5_output *output, struct m5_chunk_store *store, size_t size)
{
    M5_ASSERT(size <= output->size);
    output->size -= size;
    struct m5_chunk *chunk = output->first;
    while (chunk != NULL) {
        uint32_t unsent = chunk->end - chunk->start;
        if (unsent > size) {
            chunk->start += (uint32_t)size;
            break;
        }
        size -= unsent;
        output->first = chunk->next;
        chunk_free(store, chunk);
        chunk = output->first;
    }
    if (output->first == NULL)
        output->last = NULL;
}

void m5_output_clear(struct m5_output *output, struct m5_chunk_store *store)
{
    while (output->first != NULL) {
        struct m5_chunk *next = output->first->next;
        chunk_free(store, output->first);
        output->first = next;
    }
    output->last = NULL;
    output->size = 0;
}
