/* Wire bytes on their way out.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/transport.h"

#include "base/alloc.h"
#include "base/bytes.h"

#define LEAST_CAPACITY 512u

uint8_t *m5_outbox_reserve(struct m5_outbox *outbox, size_t size)
{
    if (size > SIZE_MAX / 4 - outbox->size)
        return NULL;
    size_t capacity = outbox->capacity < LEAST_CAPACITY ? LEAST_CAPACITY : outbox->capacity;
    while (capacity < outbox->size + size)
        capacity *= 2;
    if (capacity != outbox->capacity) {
        uint8_t *data =
            (uint8_t *)m5_resize(outbox->allocator, outbox->data, outbox->capacity, capacity);
        if (data == NULL)
            return NULL;
        outbox->data = data;
        outbox->capacity = capacity;
    }
    return outbox->data + outbox->size;
}

bool m5_outbox_append(struct m5_outbox *outbox, struct mqtt5_bytes bytes)
{
    uint8_t *place = m5_outbox_reserve(outbox, bytes.len);
    if (place == NULL)
        return false;
    m5_copy(place, bytes);
    outbox->size += bytes.len;
    return true;
}

void m5_outbox_fini(struct m5_outbox *outbox)
{
    m5_free(outbox->allocator, outbox->data, outbox->capacity);
    outbox->data = NULL;
    outbox->size = outbox->capacity = 0;
}
