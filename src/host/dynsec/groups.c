/* The commands of groups.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "host/dynsec/document.h"

#include <string.h>

static json_t *groups_of(const struct m5_dynsec_call *call)
{
    return m5_dynsec_list(call->document, "groups");
}

/* The group that the command names, or NULL and why. */
static json_t *named(const struct m5_dynsec_call *call, const char **why)
{
    const char *name = m5_dynsec_text(call, "groupname");
    *why = "Invalid/missing groupname";
    if (name == NULL)
        return NULL;
    *why = "Group not found";
    return m5_dynsec_find(groups_of(call), "groupname", name, NULL);
}

json_t *m5_dynsec_show_group(const json_t *document, const json_t *group)
{
    static const char *const keys[] = {"groupname", "textname", "textdescription", "clients",
                                       "roles"};
    json_t *shown = json_object();
    (void)document;
    for (size_t i = 0; i < M5_COUNT_OF(keys); i++) {
        json_t *value = json_object_get(group, keys[i]);
        if (value != NULL)
            json_object_set(shown, keys[i], value);
    }
    return shown;
}

/* `clients` of the command: those that exist, as Mosquitto takes them. NULL: there is none. */
static json_t *read_clients(const struct m5_dynsec_call *call)
{
    const json_t *asked = json_object_get(call->command, "clients");
    size_t i;
    json_t *item, *list = json_is_array(asked) ? json_array() : NULL;
    json_array_foreach(asked, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "username"));
        if (list == NULL || name == NULL ||
            m5_dynsec_find(m5_dynsec_list(call->document, "clients"), "username", name, NULL) ==
                NULL ||
            m5_dynsec_find(list, "username", name, NULL) != NULL)
            continue;
        json_t *member = json_pack("{s:s}", "username", name);
        if (m5_dynsec_priority(item, -1) != -1)
            json_object_set_new(member, "priority", json_integer(m5_dynsec_priority(item, -1)));
        m5_dynsec_insert(list, member, -1);
        json_decref(member);
    }
    return list;
}

static const char *create_group(struct m5_dynsec_call *call)
{
    const char *name = m5_dynsec_text(call, "groupname");
    json_t *roles = NULL;
    if (name == NULL || !m5_dynsec_is_name(name))
        return "Invalid/missing groupname";
    if (m5_dynsec_find(groups_of(call), "groupname", name, NULL) != NULL)
        return "Group already exists";
    if (json_array_size(groups_of(call)) >= M5_DYNSEC_ITEMS_MAX)
        return "Too many groups";
    const char *why = m5_dynsec_read_roles(call, &roles);
    if (why != NULL)
        return why;
    json_t *group = json_pack("{s:s}", "groupname", name);
    json_t *clients = read_clients(call);
    m5_dynsec_set_texts(call, group);
    json_object_set_new(group, "roles", roles != NULL ? roles : json_array());
    json_object_set_new(group, "clients", clients != NULL ? clients : json_array());
    json_array_append_new(groups_of(call), group);
    call->changed = true;
    return NULL;
}

static const char *delete_group(struct m5_dynsec_call *call)
{
    const char *why, *name = m5_dynsec_text(call, "groupname");
    const char *anonymous = json_string_value(json_object_get(call->document, "anonymousGroup"));
    size_t at;
    if (named(call, &why) == NULL)
        return why;
    if (anonymous != NULL && strcmp(anonymous, name) == 0)
        json_object_del(call->document, "anonymousGroup");
    m5_dynsec_find(groups_of(call), "groupname", name, &at);
    json_array_remove(groups_of(call), at);
    call->changed = true;
    return NULL;
}

static const char *modify_group(struct m5_dynsec_call *call)
{
    const char *why;
    json_t *group = named(call, &why), *roles = NULL;
    if (group == NULL)
        return why;
    why = m5_dynsec_read_roles(call, &roles);
    if (why != NULL)
        return why;
    json_t *clients = read_clients(call);
    m5_dynsec_set_texts(call, group);
    if (roles != NULL)
        json_object_set_new(group, "roles", roles);
    if (clients != NULL)
        json_object_set_new(group, "clients", clients);
    call->changed = true;
    return NULL;
}

static const char *get_group(struct m5_dynsec_call *call)
{
    const char *why;
    const json_t *group = named(call, &why);
    if (group == NULL)
        return why;
    call->data = json_pack("{s:o}", "group", m5_dynsec_show_group(call->document, group));
    return NULL;
}

static const char *list_groups(struct m5_dynsec_call *call)
{
    return m5_dynsec_answer_list(call, "groups", "groupname", m5_dynsec_show_group);
}

/* A role or a client comes to a group or leaves it. */
struct membership {
    const char *list;    /* of the group, and of the document */
    const char *key;     /* what its members are named by */
    const char *missing; /* "Invalid/missing ..." */
    const char *unknown; /* "... not found" */
    const char *already;
};
static const struct membership of_roles = {"roles", "rolename", "Invalid/missing rolename",
                                           "Role not found", "Group is already in this role"};
static const struct membership of_clients = {"clients", "username", "Invalid/missing username",
                                             "Client not found", "Client is already in this group"};

/* The list of the group that is to change, and the member's name; NULL and why. */
static json_t *members(const struct m5_dynsec_call *call, const struct membership *of,
                       const char **name, const char **why)
{
    const json_t *group = named(call, why);
    *name = m5_dynsec_text(call, of->key);
    if (m5_dynsec_text(call, "groupname") == NULL)
        return NULL;
    if (*name == NULL) {
        *why = of->missing;
        return NULL;
    }
    if (m5_dynsec_find(m5_dynsec_list(call->document, of->list), of->key, *name, NULL) == NULL) {
        *why = of->unknown;
        return NULL;
    }
    return group == NULL ? NULL : json_object_get(group, of->list);
}

static const char *add_member(struct m5_dynsec_call *call, const struct membership *of)
{
    const char *why, *name;
    json_t *list = members(call, of, &name, &why);
    const int priority = m5_dynsec_priority(call->command, -1);
    if (list == NULL)
        return why;
    if (m5_dynsec_find(list, of->key, name, NULL) != NULL)
        return of->already;
    json_t *member = json_pack("{s:s}", of->key, name);
    if (priority != -1)
        json_object_set_new(member, "priority", json_integer(priority));
    m5_dynsec_insert(list, member, -1);
    json_decref(member);
    call->changed = true;
    return NULL;
}

static const char *remove_member(struct m5_dynsec_call *call, const struct membership *of)
{
    const char *why, *name;
    json_t *list = members(call, of, &name, &why);
    size_t at;
    if (list == NULL)
        return why;
    if (m5_dynsec_find(list, of->key, name, &at) != NULL) {
        json_array_remove(list, at);
        call->changed = true;
    }
    return NULL;
}

static const char *add_group_role(struct m5_dynsec_call *call)
{
    return add_member(call, &of_roles);
}

static const char *remove_group_role(struct m5_dynsec_call *call)
{
    return remove_member(call, &of_roles);
}

static const char *add_group_client(struct m5_dynsec_call *call)
{
    return add_member(call, &of_clients);
}

static const char *remove_group_client(struct m5_dynsec_call *call)
{
    return remove_member(call, &of_clients);
}

static const char *set_anonymous_group(struct m5_dynsec_call *call)
{
    const char *why, *name = m5_dynsec_text(call, "groupname");
    if (name != NULL && name[0] == 0) {
        json_object_del(call->document, "anonymousGroup");
    } else {
        if (named(call, &why) == NULL)
            return why;
        json_object_set_new(call->document, "anonymousGroup", json_string(name));
    }
    call->changed = true;
    return NULL;
}

static const char *get_anonymous_group(struct m5_dynsec_call *call)
{
    const char *name = json_string_value(json_object_get(call->document, "anonymousGroup"));
    call->data = json_pack("{s:{s:s}}", "group", "groupname", name == NULL ? "" : name);
    return NULL;
}

const struct m5_dynsec_word m5_dynsec_group_commands[] = {
    {"createGroup", create_group},
    {"deleteGroup", delete_group},
    {"modifyGroup", modify_group},
    {"getGroup", get_group},
    {"listGroups", list_groups},
    {"addGroupClient", add_group_client},
    {"removeGroupClient", remove_group_client},
    {"addGroupRole", add_group_role},
    {"removeGroupRole", remove_group_role},
    {"setAnonymousGroup", set_anonymous_group},
    {"getAnonymousGroup", get_anonymous_group},
    {NULL, NULL},
};
