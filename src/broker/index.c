/* Route index: tables of filters by their text, and a trie of those with wildcards.
 *
 * Every node is in one of two tables, so finding a filter is one probe, and a topic, which has no
 * wildcard, meets at most the one node in `exact` that has its text. The nodes in `wild` hang on
 * the trie as well: the trie's branch for "a/+" holds the node of "a/+" (here) and of "a/+/#"
 * (below). A branch lives as long as something hangs on it or below it.
 *
 * Who may do what: readers only load, and only through the tables' arrays, `plus`, `here`, `below`
 * and `children`, which writers store with release after all they lead to is complete. Everything
 * else belongs to whoever holds the lock. A new filter is published last, by its terminal or its
 * slot: until then a reader meets branches that lead nowhere.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/index.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "broker/reclaim.h"
#include "broker/spin.h"
#include "broker/table.h"
#include "broker/trie.h"

#include <assert.h>

#define SHARDS_MAX       64u /* bits of a node's mask */
#define MATCH_COUNT_MIN  16u
#define SCRATCH_FRAMES   32u /* deep enough for almost all filters that are in use */
#define LEVELS_NOT_KNOWN UINT32_MAX

/* What is retired; the numbers are reclaim.h's kinds. */
enum kind { KIND_NODE, KIND_BRANCH, KIND_TABLE };

static_assert(KIND_TABLE < M5_RECLAIM_KINDS, "each kind has a chain");

struct branch {
    struct m5_edge edge; /* first: the edge table's values are edges */
    struct m5_reclaim_item retired;
    _Atomic(struct branch *) plus;         /* the child "+", which is not in the edge table */
    _Atomic(struct m5_index_node *) here;  /* the filter that ends at this level */
    _Atomic(struct m5_index_node *) below; /* the filter that ends in "#" after this level */
    _Atomic uint32_t children;             /* those in the edge table */
    uint8_t level[];
};

struct node {
    struct m5_index_node shared; /* first: what the engine sees */
    union {
        struct branch *branch; /* where it hangs; NULL without wildcards */
        struct m5_reclaim_item retired;
    };
    struct m5_sub_list *lists[]; /* one per shard; the filter's text follows */
};

struct m5_index {
    const struct mqtt5_allocator *allocator; /* borrowed */
    struct mqtt5_allocator memory;           /* counts what comes from it */
    _Atomic size_t bytes;
    struct m5_hash_key key;
    uint32_t shard_count;
    struct m5_spin lock;
    struct m5_table exact; /* struct node by filter text, without wildcards */
    struct m5_table wild;  /* the same, with wildcards */
    struct m5_table edges; /* struct branch by path */
    struct branch *root;
    _Atomic uint32_t depth_max; /* of all branches there have been: bounds a walk */
    _Atomic uint64_t wildcards; /* nodes that hang on the trie */
    _Atomic uint64_t node_count;
    struct m5_reclaim reclaim;
};

/* ---- memory ---- */

static void *count_alloc(void *ctx, size_t size)
{
    struct m5_index *index = ctx;
    void *memory = m5_alloc(index->allocator, size);
    if (memory != NULL)
        atomic_fetch_add_explicit(&index->bytes, size, memory_order_relaxed);
    return memory;
}

static void count_free(void *ctx, void *memory, size_t size)
{
    struct m5_index *index = ctx;
    atomic_fetch_sub_explicit(&index->bytes, size, memory_order_relaxed);
    m5_free(index->allocator, memory, size);
}

static size_t node_size(const struct m5_index *index, size_t filter_len)
{
    return sizeof(struct node) + index->shard_count * sizeof(struct m5_sub_list *) + filter_len;
}

static struct node *node_new(struct m5_index *index, struct mqtt5_bytes filter)
{
    struct node *node = m5_alloc(&index->memory, node_size(index, filter.len));
    if (node == NULL)
        return NULL;
    for (uint32_t i = 0; i < index->shard_count; i++)
        node->lists[i] = NULL;
    uint8_t *text = (uint8_t *)&node->lists[index->shard_count];
    m5_copy(text, filter);
    node->branch = NULL;
    node->shared.lists = node->lists;
    node->shared.filter = m5_bytes(text, filter.len);
    atomic_init(&node->shared.shards, 0);
    atomic_init(&node->shared.stored, 0);
    return node;
}

static void node_free(struct m5_index *index, struct node *node)
{
    m5_free(&index->memory, node, node_size(index, node->shared.filter.len));
}

static struct branch *branch_new(struct m5_index *index, struct branch *parent,
                                 struct mqtt5_bytes level, uint64_t hash)
{
    struct branch *branch = m5_alloc_zero(&index->memory, sizeof *branch + level.len);
    if (branch == NULL)
        return NULL;
    m5_copy(branch->level, level);
    branch->edge = (struct m5_edge){
        .parent = parent == NULL ? NULL : &parent->edge,
        .hash = hash,
        .level = m5_bytes(branch->level, level.len),
    };
    return branch;
}

static void branch_free(struct m5_index *index, struct branch *branch)
{
    if (branch != NULL)
        m5_free(&index->memory, branch, sizeof *branch + branch->edge.level.len);
}

static void free_retired(void *ctx, unsigned kind, struct m5_reclaim_item *item)
{
    struct m5_index *index = ctx;
    switch ((enum kind)kind) {
    case KIND_NODE: node_free(index, M5_CONTAINER_OF(item, struct node, retired)); break;
    case KIND_BRANCH: branch_free(index, M5_CONTAINER_OF(item, struct branch, retired)); break;
    case KIND_TABLE: m5_table_free_retired(&index->memory, item); break;
    }
}

/* ---- writers: the trie ---- */

static uint32_t children_of(const struct branch *branch)
{
    return atomic_load_explicit(&branch->children, memory_order_relaxed);
}

static struct branch *child_of(const struct m5_index *index, struct branch *branch,
                               struct mqtt5_bytes level, uint64_t level_hash)
{
    if (m5_level_is(level, '+'))
        return atomic_load_explicit(&branch->plus, memory_order_acquire);
    return m5_edge_find(&index->edges, &branch->edge, level, level_hash);
}

/* The child of @p branch for @p level, found or made; NULL without memory. */
static struct branch *grow_child(struct m5_index *index, struct branch *branch,
                                 struct mqtt5_bytes level)
{
    const uint64_t level_hash = m5_hash(&index->key, level);
    struct branch *child = child_of(index, branch, level, level_hash);
    if (child != NULL)
        return child;
    const bool is_plus = m5_level_is(level, '+');
    if (!is_plus && !m5_table_reserve(&index->edges))
        return NULL;
    child = branch_new(index, branch, level, m5_edge_hash(&branch->edge, level_hash));
    if (child == NULL)
        return NULL;
    if (is_plus) {
        atomic_store_explicit(&branch->plus, child, memory_order_release);
    } else {
        m5_table_insert(&index->edges, child->edge.hash, child);
        atomic_store_explicit(&branch->children, children_of(branch) + 1, memory_order_release);
    }
    return child;
}

static bool branch_is_needed(const struct m5_index *index, const struct branch *branch)
{
    return branch == index->root || children_of(branch) > 0 ||
           atomic_load_explicit(&branch->plus, memory_order_relaxed) != NULL ||
           atomic_load_explicit(&branch->here, memory_order_relaxed) != NULL ||
           atomic_load_explicit(&branch->below, memory_order_relaxed) != NULL;
}

/* Retires @p branch and what is above it as far as nothing else hangs there. */
static void prune(struct m5_index *index, struct branch *branch)
{
    while (!branch_is_needed(index, branch)) {
        struct branch *parent = M5_CONTAINER_OF(branch->edge.parent, struct branch, edge);
        if (atomic_load_explicit(&parent->plus, memory_order_relaxed) == branch) {
            atomic_store_explicit(&parent->plus, NULL, memory_order_release);
        } else {
            m5_table_remove(&index->edges, branch->edge.hash, branch);
            M5_ASSERT(children_of(parent) > 0);
            atomic_store_explicit(&parent->children, children_of(parent) - 1, memory_order_release);
        }
        m5_reclaim_retire(&index->reclaim, KIND_BRANCH, &branch->retired);
        branch = parent;
    }
}

/* The branch on which @p filter hangs, made as far as it is missing; NULL without memory. */
static struct branch *grow(struct m5_index *index, struct mqtt5_bytes filter)
{
    struct branch *branch = index->root;
    struct m5_levels levels = m5_levels_of(filter);
    uint32_t depth = 0;
    while (m5_levels_left(&levels)) {
        const struct mqtt5_bytes level = m5_levels_next(&levels);
        if (m5_level_is(level, '#'))
            break;
        struct branch *child = grow_child(index, branch, level);
        if (child == NULL) {
            prune(index, branch);
            return NULL;
        }
        branch = child;
        depth++;
    }
    if (depth > atomic_load_explicit(&index->depth_max, memory_order_relaxed))
        atomic_store_explicit(&index->depth_max, depth, memory_order_release);
    return branch;
}

/* Where @p filter, which has a wildcard, hangs on its branch. */
static _Atomic(struct m5_index_node *) *terminal_of(struct branch *branch,
                                                    struct mqtt5_bytes filter)
{
    return filter.data[filter.len - 1] == '#' ? &branch->below : &branch->here;
}

/* ---- writers: nodes ---- */

static bool same_filter(const void *value, const void *key)
{
    const struct node *node = value;
    const struct mqtt5_bytes *text = key;
    return m5_bytes_equal(node->shared.filter, *text);
}

/* Inlined into the match. */
static inline struct node *find(const struct m5_table *table, uint64_t hash,
                                struct mqtt5_bytes text)
{
    return m5_table_find(table, hash, same_filter, &text);
}

static bool has_wildcard(struct mqtt5_bytes filter)
{
    return memchr(filter.data, '+', filter.len) != NULL ||
           memchr(filter.data, '#', filter.len) != NULL;
}

static struct m5_table *table_of(struct m5_index *index, bool is_wild)
{
    return is_wild ? &index->wild : &index->exact;
}

/* What can fail comes first; then the node is shown to readers. */
static struct node *add(struct m5_index *index, const struct mqtt5_filter *filter, uint64_t hash)
{
    struct m5_table *table = table_of(index, filter->has_wildcard);
    if (!m5_table_reserve(table))
        return NULL;
    struct node *node = node_new(index, filter->filter);
    if (node == NULL)
        return NULL;
    if (filter->has_wildcard) {
        node->branch = grow(index, filter->filter);
        if (node->branch == NULL) {
            node_free(index, node);
            return NULL;
        }
        atomic_store_explicit(terminal_of(node->branch, filter->filter), &node->shared,
                              memory_order_release);
        atomic_fetch_add_explicit(&index->wildcards, 1, memory_order_release);
    }
    m5_table_insert(table, hash, node);
    atomic_fetch_add_explicit(&index->node_count, 1, memory_order_relaxed);
    return node;
}

/* Takes @p node off the trie; it stays in the table. */
static void detach(struct m5_index *index, struct node *node)
{
    struct branch *branch = node->branch;
    if (branch == NULL)
        return;
    atomic_fetch_sub_explicit(&index->wildcards, 1, memory_order_release);
    atomic_store_explicit(terminal_of(branch, node->shared.filter), NULL, memory_order_release);
    prune(index, branch);
}

static void drop(struct m5_index *index, struct node *node)
{
    struct m5_table *table = table_of(index, node->branch != NULL);
    m5_table_remove(table, m5_hash(&index->key, node->shared.filter), node);
    detach(index, node);
    m5_reclaim_retire(&index->reclaim, KIND_NODE, &node->retired);
    atomic_fetch_sub_explicit(&index->node_count, 1, memory_order_relaxed);
}

/* ---- readers: the match ---- */

/* A level of the topic, taken apart when the walk first gets there. */
struct level {
    struct mqtt5_bytes text;
    uint64_t hash;
    bool is_hashed;
};

struct step {
    struct branch *branch;
    uint32_t depth; /* levels of the topic that lead to the branch */
};

/* A walk in depth: a step that is taken off the stack puts at most two on it, one level deeper, so
 * one slot a level and one more are enough. */
struct walk {
    const struct m5_index *index;
    struct m5_match *match;
    struct m5_levels rest; /* what is not taken apart yet */
    struct level *levels;
    uint32_t levels_known;
    uint32_t topic_depth; /* LEVELS_NOT_KNOWN before the last level is known */
    uint32_t depth_max;   /* of branches; deeper ones are younger than this walk */
    struct step *steps;
    uint32_t step_count;
    bool is_hidden; /* no wildcard matches the first level [MQTT-4.7.2-1] */
};

static bool grow_match(struct m5_match *match)
{
    const uint32_t capacity = match->capacity == 0 ? MATCH_COUNT_MIN : match->capacity * 2;
    struct m5_index_node **nodes =
        m5_resize(match->allocator, match->nodes, match->capacity * sizeof(struct m5_index_node *),
                  capacity * sizeof(struct m5_index_node *));
    if (nodes == NULL)
        return false;
    match->nodes = nodes;
    match->capacity = capacity;
    return true;
}

static bool take(struct m5_match *match, struct m5_index_node *node)
{
    const uint64_t shards = atomic_load_explicit(&node->shards, memory_order_acquire);
    if (shards == 0)
        return true;
    if (match->count == match->capacity && !grow_match(match))
        return false;
    match->nodes[match->count++] = node;
    match->shards |= shards;
    match->stored |= atomic_load_explicit(&node->stored, memory_order_relaxed);
    return true;
}

static bool take_if_any(struct m5_match *match, const _Atomic(struct m5_index_node *) *terminal)
{
    struct m5_index_node *node = atomic_load_explicit(terminal, memory_order_acquire);
    return node == NULL || take(match, node);
}

/* The scratch is one block: the steps, then the levels. */
static bool reserve_scratch(struct m5_match *match, uint32_t frames)
{
    const size_t frame_size = sizeof(struct step) + sizeof(struct level);
    if (match->scratch_size >= frames * frame_size)
        return true;
    const size_t size = (frames < SCRATCH_FRAMES ? SCRATCH_FRAMES : frames) * frame_size;
    void *scratch = m5_alloc(match->allocator, size);
    if (scratch == NULL)
        return false;
    m5_free(match->allocator, match->scratch, match->scratch_size);
    match->scratch = scratch;
    match->scratch_size = size;
    return true;
}

static void push(struct walk *walk, struct branch *branch, uint32_t depth)
{
    M5_ASSERT(walk->step_count <= walk->depth_max);
    walk->steps[walk->step_count++] = (struct step){.branch = branch, .depth = depth};
}

/* The topic's level @p depth. A walk goes one level deeper at a time: all before it are known. */
static struct level *level_at(struct walk *walk, uint32_t depth)
{
    struct level *level = &walk->levels[depth];
    if (depth < walk->levels_known)
        return level;
    level->text = m5_levels_next(&walk->rest);
    level->is_hashed = false;
    walk->levels_known++;
    if (!m5_levels_left(&walk->rest))
        walk->topic_depth = walk->levels_known;
    return level;
}

static struct branch *named_child(const struct walk *walk, struct branch *branch,
                                  struct level *level)
{
    if (!level->is_hashed) {
        level->hash = m5_hash(&walk->index->key, level->text);
        level->is_hashed = true;
    }
    return m5_edge_find(&walk->index->edges, &branch->edge, level->text, level->hash);
}

/* Pushes the children of @p branch that the topic's next level leads to. */
static void descend(struct walk *walk, struct branch *branch, uint32_t depth)
{
    const bool is_hidden = walk->is_hidden && depth == 0;
    struct branch *plus = atomic_load_explicit(&branch->plus, memory_order_acquire);
    struct level *level = level_at(walk, depth);
    if (plus != NULL && !is_hidden)
        push(walk, plus, depth + 1);
    if (atomic_load_explicit(&branch->children, memory_order_acquire) == 0)
        return;
    struct branch *child = named_child(walk, branch, level);
    if (child != NULL)
        push(walk, child, depth + 1);
}

static bool visit(struct walk *walk, struct step step)
{
    /* "#" includes the level above it: "a/#" matches "a". */
    if (!(walk->is_hidden && step.depth == 0) && !take_if_any(walk->match, &step.branch->below))
        return false;
    if (step.depth == walk->topic_depth)
        return take_if_any(walk->match, &step.branch->here);
    if (step.depth < walk->depth_max)
        descend(walk, step.branch, step.depth);
    return true;
}

static bool match_wildcards(struct m5_index *index, struct mqtt5_bytes topic,
                            struct m5_match *match)
{
    const uint32_t depth_max = atomic_load_explicit(&index->depth_max, memory_order_acquire);
    if (!reserve_scratch(match, depth_max + 1))
        return false;
    struct step *steps = match->scratch;
    struct walk walk = {
        .index = index,
        .match = match,
        .rest = m5_levels_of(topic),
        .levels = (struct level *)(void *)(steps + depth_max + 1),
        .topic_depth = LEVELS_NOT_KNOWN,
        .depth_max = depth_max,
        .steps = steps,
        .is_hidden = topic.data[0] == '$',
    };
    push(&walk, index->root, 0);
    while (walk.step_count > 0) {
        if (!visit(&walk, walk.steps[--walk.step_count]))
            return false;
    }
    return true;
}

/* ---- the index ---- */

struct m5_index *m5_index_new(const struct mqtt5_allocator *allocator, uint32_t shard_count,
                              const struct m5_hash_key *key)
{
    M5_ASSERT(shard_count > 0 && shard_count <= SHARDS_MAX);
    struct m5_index *index = m5_alloc_zero(allocator, sizeof *index);
    if (index == NULL)
        return NULL;
    index->allocator = allocator;
    index->memory =
        (struct mqtt5_allocator){.ctx = index, .alloc = count_alloc, .free = count_free};
    atomic_init(&index->bytes, sizeof *index);
    index->key = *key;
    index->shard_count = shard_count;
    m5_spin_init(&index->lock);
    m5_table_init(&index->exact, &index->memory, &index->reclaim, KIND_TABLE);
    m5_table_init(&index->wild, &index->memory, &index->reclaim, KIND_TABLE);
    m5_table_init(&index->edges, &index->memory, &index->reclaim, KIND_TABLE);
    index->root = branch_new(index, NULL, m5_bytes(NULL, 0), 0);
    if (index->root == NULL ||
        !m5_reclaim_init(&index->reclaim, &index->memory, shard_count, free_retired, index)) {
        m5_index_free(index);
        return NULL;
    }
    return index;
}

static void free_nodes(struct m5_index *index, struct m5_table *table)
{
    uint32_t cursor = 0;
    m5_table_settle(table);
    for (struct node *node; (node = m5_table_next(table, &cursor)) != NULL;) {
        detach(index, node);
        node_free(index, node);
    }
}

void m5_index_free(struct m5_index *index)
{
    if (index == NULL)
        return;
    free_nodes(index, &index->exact);
    free_nodes(index, &index->wild);
    m5_reclaim_fini(&index->reclaim);
    m5_table_fini(&index->exact);
    m5_table_fini(&index->wild);
    m5_table_fini(&index->edges);
    branch_free(index, index->root);
    M5_ASSERT(m5_index_bytes(index) == sizeof *index);
    m5_free(index->allocator, index, sizeof *index);
}

struct m5_index_node *m5_index_find(struct m5_index *index, struct mqtt5_bytes filter)
{
    const struct m5_table *table = table_of(index, has_wildcard(filter));
    struct node *node = find(table, m5_hash(&index->key, filter), filter);
    if (node == NULL || atomic_load_explicit(&node->shared.shards, memory_order_acquire) == 0)
        return NULL;
    return &node->shared;
}

struct m5_index_node *m5_index_pin(struct m5_index *index, uint32_t shard,
                                   const struct mqtt5_filter *filter)
{
    M5_ASSERT(shard < index->shard_count);
    M5_ASSERT(filter->filter.len > 0);
    const uint64_t hash = m5_hash(&index->key, filter->filter);
    m5_spin_lock(&index->lock);
    struct node *node = find(table_of(index, filter->has_wildcard), hash, filter->filter);
    if (node == NULL)
        node = add(index, filter, hash);
    if (node != NULL)
        atomic_fetch_or_explicit(&node->shared.shards, UINT64_C(1) << shard, memory_order_release);
    m5_spin_unlock(&index->lock);
    return node == NULL ? NULL : &node->shared;
}

void m5_index_unpin(struct m5_index *index, uint32_t shard, struct m5_index_node *node)
{
    M5_ASSERT(shard < index->shard_count);
    M5_ASSERT(node->lists[shard] == NULL);
    const uint64_t bit = UINT64_C(1) << shard;
    m5_spin_lock(&index->lock);
    const uint64_t before = atomic_fetch_and_explicit(&node->shards, ~bit, memory_order_release);
    M5_ASSERT((before & bit) != 0);
    if (before == bit)
        drop(index, M5_CONTAINER_OF(node, struct node, shared));
    m5_spin_unlock(&index->lock);
}

void m5_index_mark_stored(struct m5_index_node *node, uint32_t shard, bool stored)
{
    const uint64_t bit = UINT64_C(1) << shard;
    if (stored)
        atomic_fetch_or_explicit(&node->stored, bit, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&node->stored, ~bit, memory_order_relaxed);
}

void m5_match_init(struct m5_match *match, const struct mqtt5_allocator *allocator)
{
    *match = (struct m5_match){.allocator = allocator};
}

void m5_match_fini(struct m5_match *match)
{
    m5_free(match->allocator, match->nodes, match->capacity * sizeof(struct m5_index_node *));
    m5_free(match->allocator, match->scratch, match->scratch_size);
    *match = (struct m5_match){.allocator = match->allocator};
}

bool m5_index_match(struct m5_index *index, struct mqtt5_bytes topic, struct m5_match *match)
{
    M5_ASSERT(topic.len > 0);
    match->count = 0;
    match->shards = match->stored = 0;
    struct node *node = find(&index->exact, m5_hash(&index->key, topic), topic);
    if (node != NULL && !take(match, &node->shared))
        return false;
    if (atomic_load_explicit(&index->wildcards, memory_order_acquire) == 0)
        return true;
    return match_wildcards(index, topic, match);
}

void m5_index_quiescent(struct m5_index *index, uint32_t shard)
{
    m5_reclaim_quiescent(&index->reclaim, shard);
}

bool m5_index_has_garbage(const struct m5_index *index)
{
    return m5_reclaim_pending(&index->reclaim) > 0;
}

uint64_t m5_index_node_count(const struct m5_index *index)
{
    return atomic_load_explicit(&index->node_count, memory_order_relaxed);
}

size_t m5_index_bytes(const struct m5_index *index)
{
    return atomic_load_explicit(&index->bytes, memory_order_relaxed);
}
