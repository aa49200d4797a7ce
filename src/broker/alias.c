/* Topic alias tables.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/alias.h"

#include "base/alloc.h"
#include "base/assert.h"

static void free_topic(const struct mqtt5_allocator *allocator, struct mqtt5_bytes topic)
{
    m5_free(allocator, (void *)(uintptr_t)topic.data, topic.len);
}

static bool copy_topic(const struct mqtt5_allocator *allocator, struct mqtt5_bytes topic,
                       struct mqtt5_bytes *out)
{
    uint8_t *copy = m5_alloc(allocator, topic.len);
    if (copy == NULL)
        return false;
    m5_copy(copy, topic);
    *out = m5_bytes(copy, topic.len);
    return true;
}

static bool grow(struct m5_alias_in *in, const struct mqtt5_allocator *allocator, uint16_t alias)
{
    uint32_t capacity = in->capacity == 0 ? 8 : in->capacity;
    while (capacity < alias)
        capacity *= 2;
    if (capacity > UINT16_MAX)
        capacity = UINT16_MAX;
    struct mqtt5_bytes *topics =
        m5_resize(allocator, in->topics, in->capacity * sizeof *topics, capacity * sizeof *topics);
    if (topics == NULL)
        return false;
    memset(topics + in->capacity, 0, (capacity - in->capacity) * sizeof *topics);
    in->topics = topics;
    in->capacity = (uint16_t)capacity;
    return true;
}

bool m5_alias_in_set(struct m5_alias_in *in, const struct mqtt5_allocator *allocator,
                     uint16_t alias, struct mqtt5_bytes topic)
{
    M5_ASSERT(alias > 0);
    if (alias > in->capacity && !grow(in, allocator, alias))
        return false;
    struct mqtt5_bytes *slot = &in->topics[alias - 1];
    if (m5_bytes_equal(*slot, topic))
        return true;
    struct mqtt5_bytes old = *slot;
    if (!copy_topic(allocator, topic, slot))
        return false;
    free_topic(allocator, old);
    return true;
}

struct mqtt5_bytes m5_alias_in_get(const struct m5_alias_in *in, uint16_t alias)
{
    if (alias == 0 || alias > in->capacity)
        return (struct mqtt5_bytes){0};
    return in->topics[alias - 1];
}

void m5_alias_in_fini(struct m5_alias_in *in, const struct mqtt5_allocator *allocator)
{
    for (uint32_t i = 0; i < in->capacity; i++)
        free_topic(allocator, in->topics[i]);
    m5_free(allocator, in->topics, in->capacity * sizeof *in->topics);
    *in = (struct m5_alias_in){0};
}

struct m5_alias_out *m5_alias_out_new(const struct mqtt5_allocator *allocator, uint16_t maximum)
{
    struct m5_alias_out *out = m5_alloc_zero(allocator, sizeof *out);
    if (out == NULL)
        return NULL;
    out->maximum = maximum;
    out->topics = m5_alloc(allocator, maximum * sizeof *out->topics);
    out->hashes = m5_alloc(allocator, maximum * sizeof *out->hashes);
    if (out->topics == NULL || out->hashes == NULL) {
        m5_alias_out_free(out, allocator);
        return NULL;
    }
    return out;
}

uint16_t m5_alias_out_get(struct m5_alias_out *out, const struct mqtt5_allocator *allocator,
                          struct mqtt5_bytes topic, uint32_t hash, bool *known)
{
    /* A scan of at most topic_alias_outgoing_max (64) hashes, which lie side by side. */
    for (uint16_t i = 0; i < out->count; i++)
        if (out->hashes[i] == hash && m5_bytes_equal(out->topics[i], topic)) {
            *known = true;
            return (uint16_t)(i + 1);
        }
    *known = false;
    if (out->count == out->maximum || !copy_topic(allocator, topic, &out->topics[out->count]))
        return 0;
    out->hashes[out->count] = hash;
    return ++out->count;
}

void m5_alias_out_undo(struct m5_alias_out *out, const struct mqtt5_allocator *allocator)
{
    M5_ASSERT(out->count > 0);
    out->count--;
    free_topic(allocator, out->topics[out->count]);
}

void m5_alias_out_free(struct m5_alias_out *out, const struct mqtt5_allocator *allocator)
{
    if (out == NULL)
        return;
    for (uint16_t i = 0; i < out->count; i++)
        free_topic(allocator, out->topics[i]);
    m5_free(allocator, out->topics, out->maximum * sizeof *out->topics);
    m5_free(allocator, out->hashes, out->maximum * sizeof *out->hashes);
    m5_free(allocator, out, sizeof *out);
}
