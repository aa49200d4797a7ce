/* Routes of incoming messages: a map of plain filters and a trie of those with wildcards.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/route.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "protocol/level.h"

#include <mqtt5/topic.h>

/* A plain filter as a whole, or a branch of the trie, which is one level of its filters. */
struct m5_route_node {
    uint64_t hash;                /* a branch: of its path from the root; else of the text */
    struct m5_route_node *parent; /* NULL for the root and for plain filters */
    struct m5_route_node *any;    /* the child '+' */
    struct m5_route_node *rest;   /* the child '#', which has no children */
    struct m5_route_node *next;   /* while matching: of the branches that fit as well */
    uint32_t named;               /* children that are in the map: those without wildcards */
    struct m5_list entries;       /* oldest first */
    size_t size;                  /* bytes of text[] */
    uint8_t text[];
};

/* What a node in one of the maps is looked for by. */
struct wanted {
    const struct m5_route_node *parent;
    struct mqtt5_bytes text;
};

static bool same_node(const void *value, const void *key)
{
    const struct m5_route_node *node = (const struct m5_route_node *)value;
    const struct wanted *wanted = (const struct wanted *)key;
    return node->parent == wanted->parent &&
           m5_bytes_equal(m5_bytes(node->text, node->size), wanted->text);
}

/* The product makes the order of levels count; what is multiplied is keyed already. */
static uint64_t path_hash(const struct m5_route_node *parent, uint64_t level_hash)
{
    const uint64_t turned = level_hash << 29 | level_hash >> 35;
    return (parent->hash ^ turned) * 0x9E3779B97F4A7C15u;
}

static uint32_t slot_hash(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

static struct m5_route_node *find_exact(const struct m5_route *route, struct mqtt5_bytes text,
                                        uint64_t hash)
{
    const struct wanted wanted = {.text = text};
    return m5_map_find(&route->exact, slot_hash(hash), same_node, &wanted);
}

static struct m5_route_node *find_named(const struct m5_route *route,
                                        const struct m5_route_node *parent,
                                        struct mqtt5_bytes level, uint64_t level_hash)
{
    const struct wanted wanted = {.parent = parent, .text = level};
    return m5_map_find(&route->branches, slot_hash(path_hash(parent, level_hash)), same_node,
                       &wanted);
}

/* Where @p level hangs when it is a wildcard; NULL: it is in the map. */
static struct m5_route_node **wildcard_of(struct m5_route_node *parent, struct mqtt5_bytes level)
{
    if (level.len != 1)
        return NULL;
    return level.data[0] == '+' ? &parent->any : level.data[0] == '#' ? &parent->rest : NULL;
}

static struct m5_route_node *find_child(const struct m5_route *route, struct m5_route_node *parent,
                                        struct mqtt5_bytes level)
{
    struct m5_route_node **wildcard = wildcard_of(parent, level);
    return wildcard != NULL ? *wildcard
                            : find_named(route, parent, level, m5_hash(&route->key, level));
}

/* ---- nodes come and go ---- */

static struct m5_route_node *make_node(const struct m5_route *route, struct mqtt5_bytes text)
{
    struct m5_route_node *node = m5_alloc(route->allocator, sizeof *node + text.len);
    if (node == NULL)
        return NULL;
    *node = (struct m5_route_node){.size = text.len};
    m5_list_init(&node->entries);
    m5_copy(node->text, text);
    return node;
}

static void free_node(const struct m5_route *route, struct m5_route_node *node)
{
    m5_free(route->allocator, node, sizeof *node + node->size);
}

static struct m5_route_node *add_exact(struct m5_route *route, struct mqtt5_bytes text)
{
    const uint64_t hash = m5_hash(&route->key, text);
    struct m5_route_node *node = find_exact(route, text, hash);
    if (node != NULL)
        return node;
    node = make_node(route, text);
    if (node == NULL)
        return NULL;
    node->hash = hash;
    if (m5_map_add(&route->exact, slot_hash(hash), node))
        return node;
    free_node(route, node);
    return NULL;
}

static struct m5_route_node *add_child(struct m5_route *route, struct m5_route_node *parent,
                                       struct mqtt5_bytes level)
{
    struct m5_route_node *child = make_node(route, level);
    if (child == NULL)
        return NULL;
    child->parent = parent;
    child->hash = path_hash(parent, m5_hash(&route->key, level));
    struct m5_route_node **wildcard = wildcard_of(parent, level);
    if (wildcard != NULL) {
        *wildcard = child;
    } else if (m5_map_add(&route->branches, slot_hash(child->hash), child)) {
        parent->named++;
    } else {
        free_node(route, child);
        return NULL;
    }
    return child;
}

static void cut_child(struct m5_route *route, struct m5_route_node *child)
{
    struct m5_route_node **wildcard =
        wildcard_of(child->parent, m5_bytes(child->text, child->size));
    if (wildcard != NULL) {
        *wildcard = NULL;
        return;
    }
    child->parent->named--;
    const bool found = m5_map_remove(&route->branches, slot_hash(child->hash), child);
    M5_ASSERT(found);
}

static bool is_bare(const struct m5_route_node *node)
{
    return m5_list_empty(&node->entries) && node->any == NULL && node->rest == NULL &&
           node->named == 0;
}

/* Frees @p node and what is above it, as far as nothing needs them. */
static void prune(struct m5_route *route, struct m5_route_node *node)
{
    while (node != NULL && is_bare(node)) {
        struct m5_route_node *parent = node->parent;
        if (parent != NULL)
            cut_child(route, node);
        else
            route->root = NULL;
        free_node(route, node);
        node = parent;
    }
}

static struct m5_route_node *add_path(struct m5_route *route, struct mqtt5_bytes filter)
{
    if (route->root == NULL)
        route->root = make_node(route, m5_bytes(NULL, 0));
    struct m5_route_node *node = route->root;
    bool more = true;
    while (node != NULL && more) {
        struct mqtt5_bytes level;
        struct m5_route_node *parent = node;
        more = m5_take_level(&filter, &level);
        node = find_child(route, parent, level);
        if (node == NULL)
            node = add_child(route, parent, level);
        if (node == NULL)
            prune(route, parent);
    }
    return node;
}

static struct m5_route_node *find_path(const struct m5_route *route, struct mqtt5_bytes filter)
{
    struct m5_route_node *node = route->root;
    bool more = true;
    while (node != NULL && more) {
        struct mqtt5_bytes level;
        more = m5_take_level(&filter, &level);
        node = find_child(route, node, level);
    }
    return node;
}

/* ---- matching ---- */

static struct m5_route_entry *entry_of(struct m5_list *same)
{
    return M5_CONTAINER_OF(same, struct m5_route_entry, same);
}

static struct m5_route_entry *pending_of(struct m5_list *pending)
{
    return M5_CONTAINER_OF(pending, struct m5_route_entry, pending);
}

/* Puts the entries of @p node (may be NULL) at the end of the match. */
static void collect(struct m5_route *route, const struct m5_route_node *node)
{
    if (node == NULL)
        return;
    for (struct m5_list *at = node->entries.next; at != &node->entries; at = at->next)
        m5_list_push_back(&route->pending, &entry_of(at)->pending);
}

static void add_to(struct m5_route_node **branches, struct m5_route_node *branch)
{
    if (branch == NULL)
        return;
    branch->next = *branches;
    *branches = branch;
}

/* Goes through the trie level by level. A branch is one level of one path, so it fits at one level
 * of the topic only: it is in one list of branches, and once. */
static void match_wildcards(struct m5_route *route, struct mqtt5_bytes topic)
{
    const bool hidden = topic.len > 0 && topic.data[0] == '$'; /* [MQTT-4.7.2-1] */
    struct m5_route_node *branches = route->root;
    bool more = true;
    if (branches != NULL)
        branches->next = NULL;
    while (branches != NULL && more) {
        struct m5_route_node *fitting = NULL;
        struct mqtt5_bytes level;
        more = m5_take_level(&topic, &level);
        const uint64_t hash = m5_hash(&route->key, level);
        for (struct m5_route_node *at = branches; at != NULL; at = at->next) {
            const bool wild = !(hidden && at == route->root);
            if (wild)
                collect(route, at->rest);
            if (wild)
                add_to(&fitting, at->any);
            if (at->named > 0)
                add_to(&fitting, find_named(route, at, level, hash));
        }
        branches = fitting;
    }
    for (; branches != NULL; branches = branches->next) {
        collect(route, branches);
        collect(route, branches->rest); /* "a/#" matches "a" too */
    }
}

/* ---- order ---- */

/* Merges two chains (linked by `next`, the last one's is NULL). */
static struct m5_list *merge(struct m5_list *a, struct m5_list *b)
{
    struct m5_list head = {0};
    struct m5_list *last = &head;
    while (a != NULL && b != NULL) {
        struct m5_list **first = pending_of(a)->number < pending_of(b)->number ? &a : &b;
        last->next = *first;
        last = *first;
        *first = (*first)->next;
    }
    last->next = a != NULL ? a : b;
    return head.next;
}

/* Sorts by merging chains of 1, 2, 4... entries: bins[i] is empty or holds 2^i. */
static void sort_pending(struct m5_list *list)
{
    struct m5_list *bins[32] = {0};
    struct m5_list *at = list->next;
    list->prev->next = NULL;
    while (at != NULL) {
        struct m5_list *chain = at;
        at = at->next;
        chain->next = NULL;
        unsigned i = 0;
        for (; bins[i] != NULL; bins[i++] = NULL)
            chain = merge(bins[i], chain);
        bins[i] = chain;
    }
    struct m5_list *sorted = NULL;
    for (unsigned i = 0; i < M5_COUNT_OF(bins); i++)
        sorted = merge(bins[i], sorted);
    struct m5_list *last = list;
    for (at = sorted; at != NULL; last = at, at = at->next) {
        last->next = at;
        at->prev = last;
    }
    last->next = list;
    list->prev = last;
}

static bool is_sorted(const struct m5_list *list)
{
    uint64_t number = 0;
    for (struct m5_list *at = list->next; at != list; at = at->next) {
        if (pending_of(at)->number <= number)
            return false;
        number = pending_of(at)->number;
    }
    return true;
}

/* ---- for all ---- */

void m5_route_init(struct m5_route *route, const struct mqtt5_allocator *allocator, uint64_t seed)
{
    *route = (struct m5_route){
        .allocator = allocator,
        .key = {.k0 = seed, .k1 = ~seed},
    };
    m5_map_init(&route->exact, allocator);
    m5_map_init(&route->branches, allocator);
    m5_list_init(&route->pending);
}

static void forget_entries(struct m5_route_node *node)
{
    struct m5_list *same;
    while ((same = m5_list_pop_front(&node->entries)) != NULL) {
        m5_list_remove(&entry_of(same)->pending);
        entry_of(same)->at = NULL;
    }
}

/* Frees a branch that the map has, and its wildcards; "+/+/+" hangs on no map but on them. */
static void free_wildcards(const struct m5_route *route, struct m5_route_node *node)
{
    while (node != NULL) {
        struct m5_route_node *any = node->any;
        if (node->rest != NULL) {
            forget_entries(node->rest);
            free_node(route, node->rest);
        }
        forget_entries(node);
        free_node(route, node);
        node = any;
    }
}

static void free_all(const struct m5_route *route, struct m5_map *map)
{
    struct m5_route_node *node;
    for (uint32_t cursor = 0; (node = m5_map_next(map, &cursor)) != NULL;)
        free_wildcards(route, node);
    m5_map_fini(map);
}

void m5_route_fini(struct m5_route *route)
{
    free_all(route, &route->exact);
    free_all(route, &route->branches);
    free_wildcards(route, route->root);
    route->root = NULL;
    route->count = 0;
}

enum mqtt5_error m5_route_add(struct m5_route *route, struct mqtt5_bytes filter,
                              struct m5_route_entry *entry)
{
    struct mqtt5_filter parsed;
    const enum mqtt5_error error = mqtt5_filter_parse(filter, UINT32_MAX, &parsed);
    if (error != MQTT5_OK)
        return error;
    struct m5_route_node *node =
        parsed.has_wildcard ? add_path(route, parsed.filter) : add_exact(route, parsed.filter);
    if (node == NULL)
        return MQTT5_ERR_NOMEM;
    *entry = (struct m5_route_entry){.at = node, .number = ++route->last_number};
    m5_list_init(&entry->pending);
    m5_list_push_back(&node->entries, &entry->same);
    route->count++;
    return MQTT5_OK;
}

void m5_route_remove(struct m5_route *route, struct m5_route_entry *entry)
{
    struct m5_route_node *node = entry->at;
    M5_ASSERT(node != NULL);
    m5_list_remove(&entry->same);
    m5_list_remove(&entry->pending);
    entry->at = NULL;
    route->count--;
    if (node->parent != NULL) {
        prune(route, node);
    } else if (m5_list_empty(&node->entries)) {
        const bool found = m5_map_remove(&route->exact, slot_hash(node->hash), node);
        M5_ASSERT(found);
        free_node(route, node);
    }
}

struct m5_route_entry *m5_route_find(const struct m5_route *route, struct mqtt5_bytes filter)
{
    struct mqtt5_filter parsed;
    if (mqtt5_filter_parse(filter, UINT32_MAX, &parsed) != MQTT5_OK)
        return NULL;
    const struct m5_route_node *node =
        parsed.has_wildcard ? find_path(route, parsed.filter)
                            : find_exact(route, parsed.filter, m5_hash(&route->key, parsed.filter));
    return node == NULL || m5_list_empty(&node->entries) ? NULL : entry_of(node->entries.next);
}

struct m5_route_entry *m5_route_next_same(const struct m5_route_entry *entry)
{
    M5_ASSERT(entry->at != NULL);
    return entry->same.next == &entry->at->entries ? NULL : entry_of(entry->same.next);
}

void m5_route_match(struct m5_route *route, struct mqtt5_bytes topic)
{
    while (m5_list_pop_front(&route->pending) != NULL)
        continue;
    if (route->exact.count > 0)
        collect(route, find_exact(route, topic, m5_hash(&route->key, topic)));
    match_wildcards(route, topic);
    if (!is_sorted(&route->pending))
        sort_pending(&route->pending);
}

struct m5_route_entry *m5_route_next(struct m5_route *route)
{
    struct m5_list *pending = m5_list_pop_front(&route->pending);
    return pending == NULL ? NULL : pending_of(pending);
}

static uint32_t check_node(const struct m5_route_node *node)
{
    uint32_t count = 0;
    uint64_t number = 0;
    for (struct m5_list *at = node->entries.next; at != &node->entries; at = at->next, count++) {
        M5_ASSERT(entry_of(at)->at == node);
        M5_ASSERT(entry_of(at)->number > number);
        number = entry_of(at)->number;
    }
    return count;
}

/* A branch and the wildcards that hang on it; counts the entries. */
static uint32_t check_branch(const struct m5_route_node *node)
{
    uint32_t count = 0;
    for (; node != NULL; node = node->any) {
        M5_ASSERT(node->parent == NULL || !is_bare(node));
        M5_ASSERT(node->any == NULL || node->any->parent == node);
        M5_ASSERT(node->rest == NULL || (node->rest->parent == node && !is_bare(node->rest)));
        count += check_node(node) + (node->rest == NULL ? 0 : check_node(node->rest));
    }
    return count;
}

void m5_route_check(const struct m5_route *route)
{
    const struct m5_route_node *node;
    uint32_t count = check_branch(route->root);
    for (uint32_t cursor = 0; (node = m5_map_next(&route->exact, &cursor)) != NULL;) {
        M5_ASSERT(node->parent == NULL && !is_bare(node));
        count += check_node(node);
    }
    for (uint32_t cursor = 0; (node = m5_map_next(&route->branches, &cursor)) != NULL;)
        count += check_branch(node);
    M5_ASSERT(count == route->count);
    M5_ASSERT(route->root == NULL || !is_bare(route->root));
    M5_ASSERT(is_sorted(&route->pending));
}
