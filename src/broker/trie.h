/* What the tries of filters and of retained topics share: levels, and edges named by them.
 *
 * A trie has no child tables: all its edges are in one hash table, under the hash of the path that
 * they end. A level with a million children and a million levels with one cost the same, and there
 * is one array to grow.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_TRIE_H
#define M5_BROKER_TRIE_H

#include "base/bytes.h"
#include "broker/table.h"

/* The edge from a branch to one of its children; embedded first in the child. */
struct m5_edge {
    struct m5_edge *parent;   /* NULL for the root */
    uint64_t hash;            /* of the path from the root */
    struct mqtt5_bytes level; /* owned by the branch */
};

/* The hash of a path and one level more. Level hashes are keyed, so what comes of them cannot be
 * foreseen; the product makes the order of levels count. */
static inline uint64_t m5_edge_hash(const struct m5_edge *parent, uint64_t level_hash)
{
    const uint64_t turned = level_hash << 29 | level_hash >> 35;
    const uint64_t mixed = (parent->hash ^ turned) * 0x9E3779B97F4A7C15u;
    return mixed ^ mixed >> 32;
}

/* For m5_table_find(): the key is an edge with a parent and a level. */
static inline bool m5_edge_same(const void *value, const void *key)
{
    const struct m5_edge *edge = (const struct m5_edge *)value;
    const struct m5_edge *wanted = (const struct m5_edge *)key;
    return edge->parent == wanted->parent && m5_bytes_equal(edge->level, wanted->level);
}

/* The child of @p parent named @p level, or NULL. */
static inline void *m5_edge_find(const struct m5_table *edges, struct m5_edge *parent,
                                 struct mqtt5_bytes level, uint64_t level_hash)
{
    const struct m5_edge wanted = {
        .parent = parent,
        .hash = m5_edge_hash(parent, level_hash),
        .level = level,
    };
    return m5_table_find(edges, wanted.hash, m5_edge_same, &wanted);
}

/* The levels of a topic or filter, one after the other; empty ones are levels too. */
struct m5_levels {
    const uint8_t *at; /* NULL behind the last */
    const uint8_t *end;
};

static inline struct m5_levels m5_levels_of(struct mqtt5_bytes text)
{
    return (struct m5_levels){.at = text.data, .end = text.data + text.len};
}

static inline bool m5_levels_left(const struct m5_levels *levels)
{
    return levels->at != NULL;
}

/* Takes the next level; there is one. */
static inline struct mqtt5_bytes m5_levels_next(struct m5_levels *levels)
{
    const uint8_t *begin = levels->at;
    const size_t left = (size_t)(levels->end - begin);
    const uint8_t *slash = left > 0 ? (const uint8_t *)memchr(begin, '/', left) : NULL;
    levels->at = slash == NULL ? NULL : slash + 1;
    return m5_bytes(begin, (size_t)((slash == NULL ? levels->end : slash) - begin));
}

static inline bool m5_level_is(struct mqtt5_bytes level, char wildcard)
{
    return level.len == 1 && level.data[0] == (uint8_t)wildcard;
}

#endif
