/* How a compiled access control list lies in memory: between compile.c and check.c only.
 *
 * Each subject (a user, a role, everybody...) has a trie of its own, one node a level. The literal
 * children of all nodes lie in one hash table, by node and level, so that a walk does one lookup
 * a level. A level with %u or %c in it is a "template": its text depends on who asks, so templates
 * are compared one by one.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_ACL_COMPILED_H
#define M5_HOST_ACL_COMPILED_H

#include "base/word.h"
#include "host/acl/acl.h"

/* Nodes and rules are named by position + 1; 0 is none. */
struct m5_acl_node {
    uint32_t plus, hash;      /* children for '+' and '#' */
    uint32_t template_head;   /* first child that is a template */
    uint32_t template_next;   /* of a template: the next child of the same parent that is one */
    uint32_t rule_head;       /* rules that end here */
    uint32_t literals;        /* how many literal children there are */
    uint32_t templates;       /* how many children are templates */
    struct mqtt5_bytes level; /* of a template: its text */
};

struct m5_acl_edge {
    uint32_t parent, hash, child; /* child 0: an empty slot */
    uint32_t size;
    const uint8_t *text;
};

struct m5_acl_subject {
    struct mqtt5_bytes name;
    uint32_t hash;
    uint32_t root;   /* its trie, or 0 */
    uint32_t *roles; /* of a user: the roots of its roles' tries */
    uint32_t role_count, role_capacity;
};

/* Subjects by name: open addressing, at most half full. */
struct m5_acl_names {
    struct m5_acl_subject *items;
    uint32_t count, capacity;
    uint32_t *slots; /* position + 1 */
    uint32_t slot_count;
};

struct m5_acl {
    struct m5_acl_source source;
    struct m5_acl_node *nodes;
    uint32_t node_count, node_capacity;
    struct m5_acl_edge *edges;
    uint32_t edge_count, edge_capacity; /* a power of two, or 0 */
    struct m5_acl_names users, roles;
    struct m5_acl_subject everybody, anonymous, patterns;
    bool template_refused; /* while compiling: there were too many */
    bool uses_client_id;   /* a template has %c */
};

/* A hash of a level or a name; the tables it serves do not change once made, so that nobody can
 * make them slow by his choice of topics. */
static inline uint32_t m5_acl_hash(struct mqtt5_bytes text)
{
    const uint64_t factor = 0x9E3779B97F4A7C15u;
    uint64_t hash = (text.len + 1) * factor;
    const uint8_t *at = text.data;
    size_t left = text.len;
    for (; left >= 8; at += 8, left -= 8) {
        hash = (hash ^ m5_read_le64(at)) * factor;
        hash ^= hash >> 32;
    }
    if (left > 0)
        hash = (hash ^ m5_read_le_part(at, left)) * factor;
    return (uint32_t)(hash >> 32);
}

static inline uint32_t m5_acl_edge_slot(const struct m5_acl *acl, uint32_t parent, uint32_t hash)
{
    return ((hash + parent * 0x85EBCA6Bu) * 0x9E3779B1u >> 7) & (acl->edge_capacity - 1);
}

/* The subject of that name, or NULL. */
const struct m5_acl_subject *m5_acl_find_name(const struct m5_acl_names *names,
                                              struct mqtt5_bytes name);

/* The literal child of @p parent for @p level, or 0. */
uint32_t m5_acl_find_child(const struct m5_acl *acl, uint32_t parent, struct mqtt5_bytes level,
                           uint32_t hash);

/* True when @p level is what @p template stands for: a level of a pattern, perhaps with %u or %c.
 */
bool m5_acl_level_matches(const struct m5_principal *who, struct mqtt5_bytes template,
                          struct mqtt5_bytes level);

#endif
