/* Topic aliases of one connection in one direction.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/alias.h"

#include "base/alloc.h"
#include "base/assert.h"

static bool grow(struct m5_client_aliases *aliases, const struct mqtt5_allocator *allocator,
                 size_t needed)
{
    const size_t old = aliases->capacity, capacity = needed > old * 2 ? needed : old * 2;
    struct mqtt5_bytes *topics =
        m5_resize(allocator, aliases->topics, old * sizeof *topics, capacity * sizeof *topics);
    if (topics == NULL)
        return false;
    memset(topics + old, 0, (capacity - old) * sizeof *topics);
    *aliases = (struct m5_client_aliases){.topics = topics, .capacity = capacity};
    return true;
}

static void free_topic(const struct mqtt5_allocator *allocator, struct mqtt5_bytes topic)
{
    uint8_t *owned;
    memcpy(&owned, &topic.data, sizeof owned); /* ours, but seen through a view of const bytes */
    m5_free(allocator, owned, topic.len);
}

bool m5_client_alias_set(struct m5_client_aliases *aliases, const struct mqtt5_allocator *allocator,
                         uint16_t alias, struct mqtt5_bytes topic)
{
    M5_ASSERT(alias > 0 && topic.len > 0);
    if (alias > aliases->capacity && !grow(aliases, allocator, alias))
        return false;
    uint8_t *copy = m5_alloc(allocator, topic.len);
    if (copy == NULL)
        return false;
    m5_copy(copy, topic);
    free_topic(allocator, aliases->topics[alias - 1]);
    aliases->topics[alias - 1] = m5_bytes(copy, topic.len);
    return true;
}

struct mqtt5_bytes m5_client_alias_get(const struct m5_client_aliases *aliases, uint16_t alias)
{
    M5_ASSERT(alias > 0);
    return alias <= aliases->capacity ? aliases->topics[alias - 1] : (struct mqtt5_bytes){0};
}

void m5_client_aliases_fini(struct m5_client_aliases *aliases,
                            const struct mqtt5_allocator *allocator)
{
    for (size_t i = 0; i < aliases->capacity; i++)
        free_topic(allocator, aliases->topics[i]);
    m5_free(allocator, aliases->topics, aliases->capacity * sizeof *aliases->topics);
    *aliases = (struct m5_client_aliases){0};
}
