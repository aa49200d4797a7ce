/* Bytes in a row that grow at the end and are consumed from the front.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/buffer.h"

#include "base/alloc.h"
#include "base/assert.h"

#define CAPACITY_MIN 1024 /* bytes: a few small packets */

static bool grow(struct m5_client_buffer *buffer, const struct mqtt5_allocator *allocator,
                 size_t needed)
{
    size_t capacity = buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : buffer->capacity * 2;
    if (capacity < needed)
        capacity = needed;
    uint8_t *data = m5_alloc(allocator, capacity);
    if (data == NULL)
        return false;
    const struct mqtt5_bytes kept = m5_client_buffer_view(buffer);
    m5_copy(data, kept);
    m5_free(allocator, buffer->data, buffer->capacity);
    *buffer = (struct m5_client_buffer){.data = data, .end = kept.len, .capacity = capacity};
    return true;
}

uint8_t *m5_client_buffer_reserve(struct m5_client_buffer *buffer,
                                  const struct mqtt5_allocator *allocator, size_t size)
{
    const size_t kept = m5_client_buffer_size(buffer);
    if (buffer->capacity - buffer->end >= size && buffer->data != NULL)
        return buffer->data + buffer->end;
    /* Moving pays only when it is cheap beside what was consumed: else a long output that drains
     * slowly would be moved again and again. */
    if (buffer->capacity >= kept + size && kept <= buffer->start) {
        memmove(buffer->data, buffer->data + buffer->start, kept);
        buffer->start = 0;
        buffer->end = kept;
    } else if (!grow(buffer, allocator, kept + size)) {
        return NULL;
    }
    return buffer->data + buffer->end;
}

void m5_client_buffer_consume(struct m5_client_buffer *buffer,
                              const struct mqtt5_allocator *allocator, size_t size, size_t keep)
{
    M5_ASSERT(size <= m5_client_buffer_size(buffer));
    buffer->start += size;
    if (buffer->start < buffer->end)
        return;
    buffer->start = buffer->end = 0;
    if (buffer->capacity > keep)
        m5_client_buffer_fini(buffer, allocator);
}

void m5_client_buffer_fini(struct m5_client_buffer *buffer, const struct mqtt5_allocator *allocator)
{
    m5_free(allocator, buffer->data, buffer->capacity);
    *buffer = (struct m5_client_buffer){0};
}
