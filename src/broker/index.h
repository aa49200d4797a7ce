/* Route index: which subscriptions match a topic. One per broker, shared by its shards.
 *
 * A node stands for one topic filter (without "$share/name/") that at least one shard has pinned.
 * Readers (m5_index_find, m5_index_match) take no lock and do no atomic operation but loads.
 * Writers (m5_index_pin, m5_index_unpin) are serialised by a spin lock that is held for a bounded,
 * short time; what they replace is retired and freed once no reader can hold it (reclaim.h).
 *
 * Filters without a wildcard are found by one hash of the whole topic, whatever its depth; the
 * trie of levels holds only filters with wildcards and is not walked while there are none. The walk
 * is iterative: hostile depth costs no stack.
 *
 * A node carries one list per shard. Only its shard reads and writes it; the index does not look
 * inside. A node found by one shard may be handed to another through a ring: it stays valid until
 * the receiver's turn is over.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_INDEX_H
#define M5_BROKER_INDEX_H

#include "base/hash.h"

#include <mqtt5/allocator.h>
#include <mqtt5/topic.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct m5_index;
struct m5_sub_list; /* the engine's, see subscription.h */

struct m5_index_node {
    _Atomic uint64_t shards;    /* bit i: shard i has pinned this node */
    _Atomic uint64_t stored;    /* bit i: on shard i there is a session that is stored */
    struct m5_sub_list **lists; /* one per shard, NULL at first; each its shard's own */
    struct mqtt5_bytes filter;  /* the text, owned by the node */
    /* ... the index's own part follows in index.c */
};

/* Nodes that a topic matched. Reused from publish to publish; init once, fini at the end. */
struct m5_match {
    const struct mqtt5_allocator *allocator;
    struct m5_index_node **nodes;
    uint32_t count, capacity;
    uint64_t shards, stored; /* unions of the nodes' masks */
    void *scratch;           /* the walk's stack, as deep as the deepest wildcard filter */
    size_t scratch_size;
};

/* @p allocator must be safe for threads when shard_count > 1. NULL without memory. */
struct m5_index *m5_index_new(const struct mqtt5_allocator *allocator, uint32_t shard_count,
                              const struct m5_hash_key *key);
void m5_index_free(struct m5_index *index); /* frees nodes, never lists */

/* The node of exactly this filter text, pinned by anybody, or NULL. */
struct m5_index_node *m5_index_find(struct m5_index *index, struct mqtt5_bytes filter);

/* Finds or makes the node of @p filter (parsed; `filter->filter` is the key) and sets the bit of
 * @p shard. Idempotent. NULL without memory, nothing changed. */
struct m5_index_node *m5_index_pin(struct m5_index *index, uint32_t shard,
                                   const struct mqtt5_filter *filter);

/* Clears the bit of @p shard, whose list must be NULL again. The last unpin retires the node. */
void m5_index_unpin(struct m5_index *index, uint32_t shard, struct m5_index_node *node);

/* Sets or clears the bit of @p shard, which has pinned @p node, in its `stored`. */
void m5_index_mark_stored(struct m5_index_node *node, uint32_t shard, bool stored);

void m5_match_init(struct m5_match *match, const struct mqtt5_allocator *allocator);
void m5_match_fini(struct m5_match *match);

/* Collects every pinned node whose filter matches @p topic (a valid topic name) [MQTT-3.3.2-3]
 * [MQTT-4.7.2-1].
 * False without memory (what was found so far is in @p match). */
bool m5_index_match(struct m5_index *index, struct mqtt5_bytes topic, struct m5_match *match);

/* Shard @p shard holds no pointer into the index (nodes included) now, except what it put into
 * rings since its last call: call once per turn, after it has taken in all mail that was there when
 * the turn began. Frees what has become free. */
void m5_index_quiescent(struct m5_index *index, uint32_t shard);

/* True while retired memory waits for other shards to call m5_index_quiescent(). */
bool m5_index_has_garbage(const struct m5_index *index);

uint64_t m5_index_node_count(const struct m5_index *index);
size_t m5_index_bytes(const struct m5_index *index); /* memory held, garbage included */

#endif
