/* What waits to be sent to one peer: a chain of chunks from the shard's pools, none while empty.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_OUTPUT_H
#define M5_BROKER_OUTPUT_H

#include "base/bytes.h"
#include "base/pool.h"

struct m5_chunk {
    struct m5_chunk *next;
    uint32_t start, end; /* unsent bytes */
    uint32_t capacity;   /* of bytes[] */
    uint8_t bytes[];
};

/* Where chunks come from: acknowledgements take small ones, streams of messages large ones. */
struct m5_chunk_store {
    const struct mqtt5_allocator *allocator;
    struct m5_pool small, large;
};

struct m5_output {
    struct m5_chunk *first, *last;
    size_t size; /* unsent bytes */
};

void m5_chunk_store_init(struct m5_chunk_store *store, const struct mqtt5_allocator *allocator);
void m5_chunk_store_fini(struct m5_chunk_store *store);
/* Gives free memory back; true when another call would give more. */
bool m5_chunk_store_trim(struct m5_chunk_store *store);

/* Appends @p size bytes, to be written by the caller at once, in one piece. NULL without memory. */
uint8_t *m5_output_reserve(struct m5_output *output, struct m5_chunk_store *store, size_t size);

/* Takes the last @p size bytes of the last m5_output_reserve() back. */
void m5_output_give_back(struct m5_output *output, size_t size);

/* Appends a copy of @p bytes; false without memory, then nothing was appended. */
bool m5_output_append(struct m5_output *output, struct m5_chunk_store *store,
                      struct mqtt5_bytes bytes);

/* Up to @p max views of what is unsent, in order. */
size_t m5_output_views(const struct m5_output *output, struct mqtt5_bytes *views, size_t max);

/* Drops the first @p size unsent bytes. */
void m5_output_sent(struct m5_output *output, struct m5_chunk_store *store, size_t size);

/* Drops everything. */
void m5_output_clear(struct m5_output *output, struct m5_chunk_store *store);

#endif
