/* Makes tries out of the rules of an access control list.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/acl/compiled.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "protocol/level.h"

#include <string.h>

/* ---- what check.c looks up too ---- */

static struct m5_acl_subject *find_hashed(const struct m5_acl_names *names, struct mqtt5_bytes name,
                                          uint32_t hash)
{
    if (names->slot_count == 0)
        return NULL;
    for (uint32_t i = hash & (names->slot_count - 1);; i = (i + 1) & (names->slot_count - 1)) {
        if (names->slots[i] == 0)
            return NULL;
        struct m5_acl_subject *item = &names->items[names->slots[i] - 1];
        if (item->hash == hash && m5_bytes_equal(item->name, name))
            return item;
    }
}

const struct m5_acl_subject *m5_acl_find_name(const struct m5_acl_names *names,
                                              struct mqtt5_bytes name)
{
    return find_hashed(names, name, m5_acl_hash(name));
}

uint32_t m5_acl_find_child(const struct m5_acl *acl, uint32_t parent, struct mqtt5_bytes level,
                           uint32_t hash)
{
    if (acl->edge_capacity == 0)
        return 0;
    for (uint32_t i = m5_acl_edge_slot(acl, parent, hash);;
         i = (i + 1) & (acl->edge_capacity - 1)) {
        const struct m5_acl_edge *edge = &acl->edges[i];
        if (edge->child == 0)
            return 0;
        if (edge->hash == hash && edge->parent == parent && edge->size == level.len &&
            (level.len == 0 || memcmp(edge->text, level.data, level.len) == 0))
            return edge->child;
    }
}

/* ---- names ---- */

/* Makes room for one more slot at half full. */
static bool grow_slots(const struct mqtt5_allocator *allocator, struct m5_acl_names *names)
{
    if ((names->count + 1) * 2 <= names->slot_count)
        return true;
    const uint32_t size = names->slot_count == 0 ? 16 : names->slot_count * 2;
    uint32_t *slots = m5_alloc_zero(allocator, size * sizeof *slots);
    if (slots == NULL)
        return false;
    for (uint32_t i = 0; i < names->count; i++) {
        uint32_t at = names->items[i].hash & (size - 1);
        while (slots[at] != 0)
            at = (at + 1) & (size - 1);
        slots[at] = i + 1;
    }
    m5_free(allocator, names->slots, names->slot_count * sizeof *slots);
    names->slots = slots;
    names->slot_count = size;
    return true;
}

/* The subject of that name, made when there is none; NULL without memory. */
static struct m5_acl_subject *intern(const struct mqtt5_allocator *allocator,
                                     struct m5_acl_names *names, struct mqtt5_bytes name)
{
    const uint32_t hash = m5_acl_hash(name);
    struct m5_acl_subject *item = find_hashed(names, name, hash);
    if (item != NULL)
        return item;
    if (!grow_slots(allocator, names))
        return NULL;
    struct m5_acl_subject *items =
        m5_make_room(allocator, names->items, sizeof *items, names->count, &names->capacity, 16);
    if (items == NULL)
        return NULL;
    names->items = items;
    item = &items[names->count++];
    *item = (struct m5_acl_subject){.name = name, .hash = hash};
    uint32_t at = hash & (names->slot_count - 1);
    while (names->slots[at] != 0)
        at = (at + 1) & (names->slot_count - 1);
    names->slots[at] = names->count;
    return item;
}

/* ---- nodes ---- */

static uint32_t add_node(struct m5_acl *acl)
{
    struct m5_acl_node *nodes = m5_make_room(acl->source.allocator, acl->nodes, sizeof *nodes,
                                             acl->node_count, &acl->node_capacity, 32);
    if (nodes == NULL)
        return 0;
    acl->nodes = nodes;
    nodes[acl->node_count] = (struct m5_acl_node){0};
    return ++acl->node_count;
}

static void put_edge(struct m5_acl *acl, struct m5_acl_edge edge)
{
    uint32_t i = m5_acl_edge_slot(acl, edge.parent, edge.hash);
    while (acl->edges[i].child != 0)
        i = (i + 1) & (acl->edge_capacity - 1);
    acl->edges[i] = edge;
    acl->edge_count++;
}

static bool grow_edges(struct m5_acl *acl)
{
    const struct mqtt5_allocator *allocator = acl->source.allocator;
    if ((acl->edge_count + 1) * 2 <= acl->edge_capacity)
        return true;
    struct m5_acl_edge *old = acl->edges;
    const uint32_t old_capacity = acl->edge_capacity;
    const uint32_t capacity = old_capacity == 0 ? 32 : old_capacity * 2;
    struct m5_acl_edge *edges = m5_alloc_zero(allocator, capacity * sizeof *edges);
    if (edges == NULL)
        return false;
    acl->edges = edges;
    acl->edge_capacity = capacity;
    acl->edge_count = 0;
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i].child != 0)
            put_edge(acl, old[i]);
    }
    m5_free(allocator, old, old_capacity * sizeof *old);
    return true;
}

static uint32_t literal_child(struct m5_acl *acl, uint32_t parent, struct mqtt5_bytes level)
{
    const uint32_t hash = m5_acl_hash(level);
    uint32_t child = m5_acl_find_child(acl, parent, level, hash);
    if (child != 0 || !grow_edges(acl) || (child = add_node(acl)) == 0)
        return child;
    acl->nodes[parent - 1].literals++;
    put_edge(acl, (struct m5_acl_edge){.parent = parent,
                                       .hash = hash,
                                       .child = child,
                                       .size = (uint32_t)level.len,
                                       .text = level.data});
    return child;
}

static uint32_t template_child(struct m5_acl *acl, uint32_t parent, struct mqtt5_bytes level)
{
    uint32_t child = acl->nodes[parent - 1].template_head;
    while (child != 0 && !m5_bytes_equal(acl->nodes[child - 1].level, level))
        child = acl->nodes[child - 1].template_next;
    if (child == 0 && acl->nodes[parent - 1].templates == M5_ACL_TEMPLATES_MAX) {
        acl->template_refused = true;
        return 0;
    }
    if (child != 0 || (child = add_node(acl)) == 0)
        return child;
    acl->nodes[parent - 1].templates++;
    acl->uses_client_id = acl->uses_client_id || memmem(level.data, level.len, "%c", 2) != NULL;
    acl->nodes[child - 1].level = level;
    acl->nodes[child - 1].template_next = acl->nodes[parent - 1].template_head;
    acl->nodes[parent - 1].template_head = child;
    return child;
}

static bool is_one(struct mqtt5_bytes level, char wanted)
{
    return level.len == 1 && level.data[0] == (uint8_t)wanted;
}

/* Only our format's rules and Mosquitto's patterns replace %u and %c. */
static bool is_template(const struct m5_acl_rule *rule, struct mqtt5_bytes level,
                        enum m5_acl_format format)
{
    if (format == M5_ACL_MOSQUITTO && rule->kind != M5_ACL_PATTERN)
        return false;
    for (size_t i = 0; i + 1 < level.len; i++) {
        if (level.data[i] == '%' && (level.data[i + 1] == 'u' || level.data[i + 1] == 'c'))
            return true;
    }
    return false;
}

static uint32_t wildcard_child(struct m5_acl *acl, uint32_t parent, bool is_plus)
{
    const struct m5_acl_node *node = &acl->nodes[parent - 1];
    uint32_t child = is_plus ? node->plus : node->hash;
    if (child != 0 || (child = add_node(acl)) == 0)
        return child;
    if (is_plus)
        acl->nodes[parent - 1].plus = child;
    else
        acl->nodes[parent - 1].hash = child;
    return child;
}

static uint32_t enter_level(struct m5_acl *acl, const struct m5_acl_rule *rule, uint32_t parent,
                            struct mqtt5_bytes level)
{
    if (is_one(level, '+') || is_one(level, '#'))
        return wildcard_child(acl, parent, level.data[0] == '+');
    return is_template(rule, level, acl->source.format) ? template_child(acl, parent, level)
                                                        : literal_child(acl, parent, level);
}

/* ---- rules ---- */

static bool add_rule(struct m5_acl *acl, struct m5_acl_subject *subject, uint32_t position)
{
    struct m5_acl_rule *rule = &acl->source.rules[position];
    if (subject->root == 0 && (subject->root = add_node(acl)) == 0)
        return false;
    uint32_t node = subject->root;
    struct mqtt5_bytes rest = rule->pattern, level;
    bool goes_on = true;
    while (goes_on) {
        goes_on = m5_take_level(&rest, &level);
        node = enter_level(acl, rule, node, level);
        if (node == 0)
            return false;
    }
    rule->next = acl->nodes[node - 1].rule_head;
    acl->nodes[node - 1].rule_head = position + 1;
    return true;
}

static struct m5_acl_subject *subject_of(struct m5_acl *acl, const struct m5_acl_rule *rule)
{
    const struct mqtt5_allocator *allocator = acl->source.allocator;
    switch (rule->kind) {
    case M5_ACL_USER: return intern(allocator, &acl->users, rule->subject);
    case M5_ACL_ROLE: return intern(allocator, &acl->roles, rule->subject);
    case M5_ACL_EVERYBODY: return &acl->everybody;
    case M5_ACL_ANONYMOUS: return &acl->anonymous;
    case M5_ACL_PATTERN: return &acl->patterns;
    }
    M5_UNREACHABLE();
}

static bool add_rules(struct m5_acl *acl, struct m5_text_error *error)
{
    for (uint32_t i = 0; i < acl->source.rule_count; i++) {
        struct m5_acl_subject *subject = subject_of(acl, &acl->source.rules[i]);
        if (subject != NULL && add_rule(acl, subject, i))
            continue;
        if (acl->template_refused)
            return m5_text_fail(error, acl->source.rules[i].line, 1,
                                "more than %u different levels with %%u or %%c in this place",
                                M5_ACL_TEMPLATES_MAX);
        return m5_text_fail(error, 0, 0, "out of memory");
    }
    return true;
}

static bool has_role(const struct m5_acl_subject *user, uint32_t root)
{
    for (uint32_t i = 0; i < user->role_count; i++) {
        if (user->roles[i] == root)
            return true;
    }
    return false;
}

/* A role without rules gives nothing and is passed over. */
static bool add_assignment(struct m5_acl *acl, const struct m5_acl_assignment *assignment,
                           struct m5_text_error *error)
{
    const struct mqtt5_allocator *allocator = acl->source.allocator;
    const struct m5_acl_subject *role = m5_acl_find_name(&acl->roles, assignment->role);
    struct m5_acl_subject *user = intern(allocator, &acl->users, assignment->user);
    if (user == NULL)
        return m5_text_fail(error, 0, 0, "out of memory");
    if (role == NULL || has_role(user, role->root))
        return true;
    if (user->role_count == M5_ACL_USER_ROLES_MAX)
        return m5_text_fail(error, assignment->line, 1,
                            "the user has more than %u roles; put rules together in fewer",
                            M5_ACL_USER_ROLES_MAX);
    uint32_t *roles = m5_make_room(allocator, user->roles, sizeof *roles, user->role_count,
                                   &user->role_capacity, 2);
    if (roles == NULL)
        return m5_text_fail(error, 0, 0, "out of memory");
    user->roles = roles;
    user->roles[user->role_count++] = role->root;
    return true;
}

static bool add_assignments(struct m5_acl *acl, struct m5_text_error *error)
{
    for (uint32_t i = 0; i < acl->source.assignment_count; i++) {
        if (!add_assignment(acl, &acl->source.assignments[i], error))
            return false;
    }
    return true;
}

/* ---- life ---- */

static void names_fini(const struct mqtt5_allocator *allocator, struct m5_acl_names *names)
{
    for (uint32_t i = 0; i < names->count; i++)
        m5_free(allocator, names->items[i].roles,
                names->items[i].role_capacity * sizeof *names->items[i].roles);
    m5_free(allocator, names->items, names->capacity * sizeof *names->items);
    m5_free(allocator, names->slots, names->slot_count * sizeof *names->slots);
}

void m5_acl_free(struct m5_acl *acl)
{
    if (acl == NULL)
        return;
    const struct mqtt5_allocator *allocator = acl->source.allocator;
    names_fini(allocator, &acl->users);
    names_fini(allocator, &acl->roles);
    m5_free(allocator, acl->nodes, acl->node_capacity * sizeof *acl->nodes);
    m5_free(allocator, acl->edges, acl->edge_capacity * sizeof *acl->edges);
    m5_acl_source_fini(&acl->source);
    m5_free(allocator, acl, sizeof *acl);
}

struct m5_acl *m5_acl_new(const struct mqtt5_allocator *allocator, struct mqtt5_bytes text,
                          enum m5_acl_format format, struct m5_text_error *error)
{
    struct m5_acl *acl = m5_alloc_zero(allocator, sizeof *acl);
    if (acl == NULL) {
        m5_text_fail(error, 0, 0, "out of memory");
        return NULL;
    }
    if (m5_acl_parse(allocator, text, format, &acl->source, error) && add_rules(acl, error) &&
        add_assignments(acl, error))
        return acl;
    m5_acl_free(acl);
    return NULL;
}

struct m5_acl *m5_acl_load(const char *path, enum m5_acl_format format, struct m5_text_error *error)
{
    struct m5_text text;
    if (!m5_text_read(path, &text, error))
        return NULL;
    struct m5_acl *acl =
        m5_acl_new(&m5_libc_allocator, m5_bytes(text.data, text.size), format, error);
    m5_text_free(&text);
    return acl;
}

const struct m5_acl_source *m5_acl_source_of(const struct m5_acl *acl)
{
    return &acl->source;
}

bool m5_acl_uses_client_id(const struct m5_acl *acl)
{
    return acl->uses_client_id;
}
