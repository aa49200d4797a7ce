/* Bytes in a row that grow at the end and are consumed from the front.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLIENT_BUFFER_H
#define M5_CLIENT_BUFFER_H

#include "base/bytes.h"

#include <mqtt5/allocator.h>

struct m5_client_buffer {
    uint8_t *data; /* NULL while capacity is 0 */
    size_t start, end, capacity;
};

static inline size_t m5_client_buffer_size(const struct m5_client_buffer *buffer)
{
    return buffer->end - buffer->start;
}

static inline struct mqtt5_bytes m5_client_buffer_view(const struct m5_client_buffer *buffer)
{
    return buffer->data == NULL
               ? (struct mqtt5_bytes){0}
               : m5_bytes(buffer->data + buffer->start, buffer->end - buffer->start);
}

/* Makes room for @p size bytes after the end, moving what is there when that helps; NULL without
 * memory. The caller writes and then adds to `end`. */
uint8_t *m5_client_buffer_reserve(struct m5_client_buffer *buffer,
                                  const struct mqtt5_allocator *allocator, size_t size);

/* Drops @p size bytes from the front; an empty buffer above @p keep bytes gives its memory back. */
void m5_client_buffer_consume(struct m5_client_buffer *buffer,
                              const struct mqtt5_allocator *allocator, size_t size, size_t keep);

/* Drops everything and gives the memory back. */
void m5_client_buffer_fini(struct m5_client_buffer *buffer,
                           const struct mqtt5_allocator *allocator);

#endif
