/* The document of dynamic security, compiled.
 *
 * A client's roles stand in the order in which they are asked: its own by their priorities, then
 * those of its groups by the groups' priorities. Within a role the rules of one type stand by their
 * priorities, literal ones before patterns. The first rule that matches decides; where none does,
 * the default of what is asked.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/dynsec/view.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/map.h"
#include "host/acl/compiled.h"
#include "host/auth/password.h"
#include "protocol/level.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>

struct rule {
    struct mqtt5_bytes pattern;
    bool allow;
};

/* Rules by type: those of type t are rules[begin[t]] to rules[begin[t + 1] - 1]. */
struct role {
    struct mqtt5_bytes name;
    struct rule *rules;
    uint32_t begin[M5_DYNSEC_ACLS + 1];
};

/* Whose roles are asked: a client, or the group of those without a name. */
struct holder {
    struct mqtt5_bytes name, client_id; /* client_id empty: any */
    const json_t *client;               /* in the copy of the document */
    const struct role **roles;
    uint32_t role_count, role_capacity;
    bool disabled;
};

struct m5_dynsec_view {
    const struct mqtt5_allocator *allocator;
    json_t *document; /* a copy, which the views point into */
    struct m5_hash_key key;
    struct m5_map by_name, roles_by_name;
    struct holder *clients;
    struct role *roles;
    size_t client_count, role_count;
    struct holder anonymous;
    bool defaults[M5_DYNSEC_DEFAULTS];
};

/* ---- names ---- */

static struct mqtt5_bytes text_of(const json_t *item, const char *key)
{
    const json_t *value = json_object_get(item, key);
    return m5_bytes(json_string_value(value), json_string_length(value));
}

static bool is_holder(const void *value, const void *key)
{
    return m5_bytes_equal(((const struct holder *)value)->name, *(const struct mqtt5_bytes *)key);
}

static bool is_role(const void *value, const void *key)
{
    return m5_bytes_equal(((const struct role *)value)->name, *(const struct mqtt5_bytes *)key);
}

static uint32_t hash_of(const struct m5_dynsec_view *view, struct mqtt5_bytes name)
{
    return (uint32_t)m5_hash(&view->key, name);
}

static struct holder *find_client(const struct m5_dynsec_view *view, struct mqtt5_bytes name)
{
    return m5_map_find(&view->by_name, hash_of(view, name), is_holder, &name);
}

/* ---- making ---- */

static bool make_role(struct m5_dynsec_view *view, struct role *role, const json_t *source)
{
    const json_t *acls = json_object_get(source, "acls"), *acl;
    size_t i, count = 0;
    *role = (struct role){.name = text_of(source, "rolename")};
    role->rules = m5_alloc(view->allocator, (json_array_size(acls) + 1) * sizeof *role->rules);
    if (role->rules == NULL)
        return false;
    for (enum m5_dynsec_acl type = 0; type < M5_DYNSEC_ACLS; type++) {
        role->begin[type] = (uint32_t)count;
        json_array_foreach(acls, i, acl)
        {
            const char *name = json_string_value(json_object_get(acl, "acltype"));
            if (m5_dynsec_acl_of(name) == type)
                role->rules[count++] =
                    (struct rule){.pattern = text_of(acl, "topic"),
                                  .allow = json_is_true(json_object_get(acl, "allow"))};
        }
    }
    role->begin[M5_DYNSEC_ACLS] = (uint32_t)count;
    return m5_map_add(&view->roles_by_name, hash_of(view, role->name), role);
}

static bool make_roles(struct m5_dynsec_view *view)
{
    const json_t *source, *roles = m5_dynsec_list(view->document, "roles");
    size_t i;
    view->roles =
        m5_alloc_zero(view->allocator, (json_array_size(roles) + 1) * sizeof(struct role));
    if (view->roles == NULL)
        return false;
    view->role_count = json_array_size(roles);
    json_array_foreach(roles, i, source)
    {
        if (!make_role(view, &view->roles[i], source))
            return false;
    }
    return true;
}

/* Adds the roles that @p item (a client, a group) lists. */
static bool add_roles(struct m5_dynsec_view *view, struct holder *holder, const json_t *item)
{
    size_t i;
    const json_t *member;
    json_array_foreach(json_object_get(item, "roles"), i, member)
    {
        const struct mqtt5_bytes name = text_of(member, "rolename");
        void *roles = m5_make_room(view->allocator, (void *)holder->roles, sizeof *holder->roles,
                                   holder->role_count, &holder->role_capacity, 4);
        if (roles == NULL)
            return false;
        holder->roles = roles;
        const struct role *role =
            m5_map_find(&view->roles_by_name, hash_of(view, name), is_role, &name);
        M5_ASSERT(role != NULL); /* the document was checked */
        holder->roles[holder->role_count++] = role;
    }
    return true;
}

static bool make_clients(struct m5_dynsec_view *view)
{
    const json_t *source, *clients = m5_dynsec_list(view->document, "clients");
    size_t i;
    view->clients =
        m5_alloc_zero(view->allocator, (json_array_size(clients) + 1) * sizeof(struct holder));
    if (view->clients == NULL)
        return false;
    view->client_count = json_array_size(clients);
    json_array_foreach(clients, i, source)
    {
        struct holder *client = &view->clients[i];
        client->name = text_of(source, "username");
        client->client_id = text_of(source, "clientid");
        client->client = source;
        client->disabled = json_is_true(json_object_get(source, "disabled"));
        if (!add_roles(view, client, source) ||
            !m5_map_add(&view->by_name, hash_of(view, client->name), client))
            return false;
    }
    return true;
}

/* A client in a group, to be taken in order of priority. */
struct place {
    int priority;
    uint32_t order;
    struct holder *client;
    const json_t *group;
};

static int compare(const void *a, const void *b)
{
    const struct place *one = a, *other = b;
    if (one->priority != other->priority)
        return one->priority < other->priority ? 1 : -1;
    return one->order < other->order ? -1 : one->order > other->order;
}

/* All memberships of all groups, sorted: each client meets its groups in the right order. */
static bool add_groups(struct m5_dynsec_view *view)
{
    const json_t *group, *member, *groups = m5_dynsec_list(view->document, "groups");
    struct place *places = NULL;
    uint32_t count = 0, capacity = 0;
    size_t i, j;
    bool done = true;
    json_array_foreach(groups, i, group)
    {
        json_array_foreach(json_object_get(group, "clients"), j, member)
        {
            void *room =
                m5_make_room(view->allocator, places, sizeof *places, count, &capacity, 16);
            if (room == NULL) {
                done = false;
                break;
            }
            places = room;
            places[count] = (struct place){.priority = m5_dynsec_priority(member, -1),
                                           .order = count,
                                           .client = find_client(view, text_of(member, "username")),
                                           .group = group};
            count++;
        }
    }
    if (count > 0)
        qsort(places, count, sizeof *places, compare);
    for (uint32_t k = 0; done && k < count; k++)
        done = add_roles(view, places[k].client, places[k].group);
    m5_free(view->allocator, places, capacity * sizeof *places);
    return done;
}

static bool make(struct m5_dynsec_view *view)
{
    const char *name = json_string_value(json_object_get(view->document, "anonymousGroup"));
    const json_t *defaults = json_object_get(view->document, "defaultACLAccess");
    for (enum m5_dynsec_default type = 0; type < M5_DYNSEC_DEFAULTS; type++)
        view->defaults[type] =
            json_is_true(json_object_get(defaults, m5_dynsec_default_names[type]));
    if (!make_roles(view) || !make_clients(view) || !add_groups(view))
        return false;
    if (name == NULL)
        return true;
    const json_t *groups = m5_dynsec_list(view->document, "groups");
    view->anonymous.client = m5_dynsec_find(groups, "groupname", name, NULL);
    return add_roles(view, &view->anonymous, view->anonymous.client);
}

struct m5_dynsec_view *m5_dynsec_view_new(const struct mqtt5_allocator *allocator,
                                          const json_t *document)
{
    struct m5_dynsec_view *view = m5_alloc_zero(allocator, sizeof *view);
    if (view == NULL)
        return NULL;
    view->allocator = allocator;
    m5_map_init(&view->by_name, allocator);
    m5_map_init(&view->roles_by_name, allocator);
    view->document = json_deep_copy(document);
    if (view->document != NULL && gnutls_rnd(GNUTLS_RND_NONCE, &view->key, sizeof view->key) == 0 &&
        make(view))
        return view;
    m5_dynsec_view_free(view);
    return NULL;
}

static void holder_fini(const struct m5_dynsec_view *view, struct holder *holder)
{
    m5_free(view->allocator, (void *)holder->roles, holder->role_capacity * sizeof *holder->roles);
}

void m5_dynsec_view_free(struct m5_dynsec_view *view)
{
    if (view == NULL)
        return;
    const struct mqtt5_allocator *allocator = view->allocator;
    const json_t *roles = m5_dynsec_list(view->document, "roles");
    for (size_t i = 0; i < view->client_count; i++)
        holder_fini(view, &view->clients[i]);
    holder_fini(view, &view->anonymous);
    for (size_t i = 0; i < view->role_count; i++) {
        const json_t *acls = json_object_get(json_array_get(roles, i), "acls");
        m5_free(allocator, view->roles[i].rules,
                (json_array_size(acls) + 1) * sizeof *view->roles[i].rules);
    }
    m5_free(allocator, view->clients, (view->client_count + 1) * sizeof *view->clients);
    m5_free(allocator, view->roles, (view->role_count + 1) * sizeof *view->roles);
    m5_map_fini(&view->by_name);
    m5_map_fini(&view->roles_by_name);
    json_decref(view->document);
    m5_free(allocator, view, sizeof *view);
}

/* ---- questions ---- */

static bool is_wildcard(struct mqtt5_bytes level, char wanted)
{
    return level.len == 1 && level.data[0] == (uint8_t)wanted;
}

/* True when @p pattern matches everything that @p text, a topic or a filter, stands for. */
static bool covers(struct mqtt5_bytes pattern, struct mqtt5_bytes text,
                   const struct m5_principal *who)
{
    bool more = true, pattern_more = true;
    const bool hidden = text.len > 0 && text.data[0] == '$'; /* [MQTT-4.7.2-1] */
    for (uint32_t depth = 0;; depth++) {
        struct mqtt5_bytes level, other;
        if (!pattern_more)
            return !more;
        pattern_more = m5_take_level(&pattern, &level);
        if (is_wildcard(level, '#'))
            return depth > 0 || !hidden;
        if (!more)
            return false;
        more = m5_take_level(&text, &other);
        if (is_wildcard(other, '#'))
            return false;
        if (is_wildcard(level, '+')) {
            if (depth == 0 && hidden)
                return false;
        } else if (depth == 0 && hidden && level.len > 0 && level.data[0] != '$') {
            return false; /* not through %u or %c */
        } else if (!m5_acl_level_matches(who, level, other)) {
            return false;
        }
    }
}

/* The first rule of a type that matches, or NULL. */
static const struct rule *find_rule(const struct role *role, enum m5_dynsec_acl type,
                                    const struct m5_principal *who, struct mqtt5_bytes topic)
{
    const bool literal =
        type == M5_DYNSEC_SUBSCRIBE_LITERAL || type == M5_DYNSEC_UNSUBSCRIBE_LITERAL;
    for (uint32_t i = role->begin[type]; i < role->begin[type + 1]; i++) {
        const struct rule *rule = &role->rules[i];
        if (literal ? m5_bytes_equal(rule->pattern, topic) : covers(rule->pattern, topic, who))
            return rule;
    }
    return NULL;
}

/* What is asked: rules of this type, and then of the second one; else this default. */
struct matter {
    enum m5_dynsec_acl first, second;
    enum m5_dynsec_default otherwise;
};

static struct matter matter_of(enum m5_acl_action action)
{
    switch (action) {
    case M5_ACL_MAY_WRITE:
        return (struct matter){M5_DYNSEC_PUBLISH_SEND, M5_DYNSEC_ACLS, M5_DYNSEC_DEFAULT_SEND};
    case M5_ACL_MAY_READ:
        return (struct matter){M5_DYNSEC_PUBLISH_RECEIVE, M5_DYNSEC_ACLS,
                               M5_DYNSEC_DEFAULT_RECEIVE};
    case M5_ACL_MAY_SUBSCRIBE:
        return (struct matter){M5_DYNSEC_SUBSCRIBE_LITERAL, M5_DYNSEC_SUBSCRIBE_PATTERN,
                               M5_DYNSEC_DEFAULT_SUBSCRIBE};
    case M5_ACL_MAY_UNSUBSCRIBE: break;
    }
    return (struct matter){M5_DYNSEC_UNSUBSCRIBE_LITERAL, M5_DYNSEC_UNSUBSCRIBE_PATTERN,
                           M5_DYNSEC_DEFAULT_UNSUBSCRIBE};
}

enum m5_dynsec_verdict m5_dynsec_view_default(const struct m5_dynsec_view *view,
                                              enum m5_acl_action action, struct mqtt5_bytes topic)
{
    static const char control[] = "$CONTROL";
    const size_t size = sizeof control - 1;
    const bool of_the_broker = topic.len >= size && memcmp(topic.data, control, size) == 0;
    return view->defaults[matter_of(action).otherwise] && !of_the_broker ? M5_DYNSEC_ALLOW
                                                                         : M5_DYNSEC_DENY;
}

enum m5_dynsec_verdict m5_dynsec_view_ask(const struct m5_dynsec_view *view,
                                          const struct m5_principal *who, enum m5_acl_action action,
                                          struct mqtt5_bytes topic)
{
    const struct matter matter = matter_of(action);
    const struct holder *holder =
        who->anonymous ? &view->anonymous : find_client(view, who->username);
    if (holder == NULL || holder->client == NULL)
        return M5_DYNSEC_UNKNOWN;
    if (holder->disabled)
        return M5_DYNSEC_DENY;
    for (uint32_t i = 0; i < holder->role_count; i++) {
        const struct rule *rule = find_rule(holder->roles[i], matter.first, who, topic);
        if (rule == NULL && matter.second != M5_DYNSEC_ACLS)
            rule = find_rule(holder->roles[i], matter.second, who, topic);
        if (rule != NULL)
            return rule->allow ? M5_DYNSEC_ALLOW : M5_DYNSEC_DENY;
    }
    return m5_dynsec_view_default(view, action, topic);
}

enum m5_dynsec_verdict m5_dynsec_view_welcomes(const struct m5_dynsec_view *view,
                                               struct mqtt5_bytes username,
                                               struct mqtt5_bytes client_id)
{
    const struct holder *client = find_client(view, username);
    if (client == NULL)
        return M5_DYNSEC_UNKNOWN;
    const bool bound = client->client_id.len > 0;
    return client->disabled || (bound && !m5_bytes_equal(client->client_id, client_id))
               ? M5_DYNSEC_DENY
               : M5_DYNSEC_ALLOW;
}

/* ---- passwords ---- */

struct m5_users *m5_dynsec_view_users(const struct m5_dynsec_view *view)
{
    struct text {
        char stored[M5_PASSWORD_TEXT_SIZE];
    };
    const size_t room = view->client_count + 1;
    struct m5_user *items = m5_alloc(view->allocator, room * sizeof *items);
    struct text *texts = m5_alloc(view->allocator, room * sizeof *texts);
    struct m5_users *users = NULL;
    uint32_t count = 0;
    for (size_t i = 0; items != NULL && texts != NULL && i < view->client_count; i++) {
        const json_t *client = view->clients[i].client;
        const char *hash = json_string_value(json_object_get(client, "password"));
        const char *salt = json_string_value(json_object_get(client, "salt"));
        if (hash == NULL || salt == NULL)
            continue;
        snprintf(texts[count].stored, sizeof texts[count].stored,
                 "$7$%" JSON_INTEGER_FORMAT "$%s$%s",
                 json_integer_value(json_object_get(client, "iterations")), salt, hash);
        items[count] = (struct m5_user){.name = view->clients[i].name,
                                        .stored = m5_bytes_of(texts[count].stored)};
        count++;
    }
    if (items != NULL && texts != NULL)
        users = m5_users_of(view->allocator, items, count);
    m5_free(view->allocator, items, room * sizeof *items);
    m5_free(view->allocator, texts, room * sizeof *texts);
    return users;
}
