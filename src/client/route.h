/* Who gets a message: handlers by topic filter, found without looking at those that do not match.
 *
 * A filter without wildcards is found by one look into a hash map of whole filters. Filters with
 * wildcards are a trie of levels; a match goes through it level by level with all the branches that
 * still fit, so it needs no memory, does not recurse and meets each branch at most once.
 *
 * A handler is whatever its owner embeds a struct m5_route_entry in (M5_CONTAINER_OF leads back).
 * A match is a queue of entries that lies in the entries themselves:
 *
 *     m5_route_match(&route, topic);
 *     while ((entry = m5_route_next(&route)) != NULL)
 *         ...                      // entries may be added and removed here, this one too
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLIENT_ROUTE_H
#define M5_CLIENT_ROUTE_H

#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"

#include <mqtt5/error.h>

struct m5_route_node;

/* Embedded in a handler; its address stays from add to remove. */
struct m5_route_entry {
    struct m5_route_node *at; /* the filter; NULL: not in a route */
    struct m5_list same;      /* entries of that filter, oldest first */
    struct m5_list pending;   /* linked: a match has still to show it */
    uint64_t number;          /* in the order of m5_route_add() */
};

struct m5_route {
    const struct mqtt5_allocator *allocator;
    struct m5_hash_key key;
    struct m5_map exact;        /* filters without wildcards, by their text */
    struct m5_map branches;     /* of the trie, by their path */
    struct m5_route_node *root; /* of the trie; NULL: no filter has a wildcard */
    struct m5_list pending;     /* what m5_route_next() will give */
    uint64_t last_number;
    uint32_t count; /* entries */
};

/* @p seed keeps hostile topics from colliding. Allocates nothing. */
void m5_route_init(struct m5_route *route, const struct mqtt5_allocator *allocator, uint64_t seed);

/* Entries that are left are forgotten; they are their owners'. */
void m5_route_fini(struct m5_route *route);

/* Adds @p entry behind all others. @p filter is looked at without "$share/name/" and is copied.
 * MQTT5_OK, MQTT5_ERR_NOMEM, or what mqtt5_filter_parse() has against it: nothing has changed. */
enum mqtt5_error m5_route_add(struct m5_route *route, struct mqtt5_bytes filter,
                              struct m5_route_entry *entry);

/* Takes @p entry out, also of a match that has still to show it. */
void m5_route_remove(struct m5_route *route, struct m5_route_entry *entry);

/* The oldest entry of @p filter (looked at without "$share/name/"), and the next one of the same
 * filter; NULL: there is none. */
struct m5_route_entry *m5_route_find(const struct m5_route *route, struct mqtt5_bytes filter);
struct m5_route_entry *m5_route_next_same(const struct m5_route_entry *entry);

/* Finds what matches @p topic (valid): each entry once, whatever was left of the last match is
 * dropped. Wildcards at the first level do not match a topic that starts with '$' [MQTT-4.7.2-1].
 * Cannot fail. */
void m5_route_match(struct m5_route *route, struct mqtt5_bytes topic);

/* The next entry of the match, in the order in which they were added; NULL behind the last. What
 * was added since m5_route_match() is not among them, what was removed neither. */
struct m5_route_entry *m5_route_next(struct m5_route *route);

/* Checks every invariant; traps when one is broken. */
void m5_route_check(const struct m5_route *route);

#endif
