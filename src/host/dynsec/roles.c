/* The commands of roles and of default access, and which command is whose.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "host/dynsec/document.h"

#include <string.h>

static json_t *roles_of(const struct m5_dynsec_call *call)
{
    return m5_dynsec_list(call->document, "roles");
}

/* The role that the command names, or NULL and why. */
static json_t *named(const struct m5_dynsec_call *call, const char **why)
{
    const char *name = m5_dynsec_text(call, "rolename");
    *why = "Invalid/missing rolename";
    if (name == NULL)
        return NULL;
    *why = "Role not found";
    return m5_dynsec_find(roles_of(call), "rolename", name, NULL);
}

/* Type by type, as Mosquitto shows and stores them; within one, by priority. */
json_t *m5_dynsec_show_role(const json_t *document, const json_t *role)
{
    static const char *const keys[] = {"rolename", "textname", "textdescription"};
    json_t *shown = json_object(), *acls = json_array();
    (void)document;
    for (size_t i = 0; i < M5_COUNT_OF(keys); i++) {
        json_t *value = json_object_get(role, keys[i]);
        if (value != NULL)
            json_object_set(shown, keys[i], value);
    }
    for (enum m5_dynsec_acl type = 0; type < M5_DYNSEC_ACLS; type++) {
        size_t i;
        const json_t *acl;
        json_array_foreach(json_object_get(role, "acls"), i, acl)
        {
            const char *name = json_string_value(json_object_get(acl, "acltype"));
            if (m5_dynsec_acl_of(name) == type)
                json_array_append_new(acls, json_pack("{s:s, s:O, s:i, s:O}", "acltype", name,
                                                      "topic", json_object_get(acl, "topic"),
                                                      "priority", m5_dynsec_priority(acl, 0),
                                                      "allow", json_object_get(acl, "allow")));
        }
    }
    json_object_set_new(shown, "acls", acls);
    return shown;
}

/* ---- rules ---- */

/* A rule as the command or a part of it tells it; NULL and why. */
static json_t *read_acl(const json_t *item, const char **why)
{
    const char *type = json_string_value(json_object_get(item, "acltype"));
    const char *topic = json_string_value(json_object_get(item, "topic"));
    *why = type == NULL                               ? "Invalid/missing acltype"
           : m5_dynsec_acl_of(type) == M5_DYNSEC_ACLS ? "Unknown acltype"
           : topic == NULL                            ? "Invalid/missing topic"
           : !m5_dynsec_pattern_ok(topic)             ? "Invalid ACL topic"
                                                      : NULL;
    if (*why != NULL)
        return NULL;
    return json_pack("{s:s, s:s, s:i, s:b}", "acltype", type, "topic", topic, "priority",
                     m5_dynsec_priority(item, 0), "allow",
                     json_is_true(json_object_get(item, "allow")));
}

/* The rule of the same type and topic. */
static bool find_acl(const json_t *acls, const char *type, const char *topic, size_t *index)
{
    const json_t *acl;
    size_t i;
    json_array_foreach(acls, i, acl)
    {
        *index = i;
        if (strcmp(json_string_value(json_object_get(acl, "acltype")), type) == 0 &&
            strcmp(json_string_value(json_object_get(acl, "topic")), topic) == 0)
            return true;
    }
    return false;
}

/* `acls` of the command: those that make sense, as Mosquitto takes them. NULL: there is none. */
static json_t *read_acls(const struct m5_dynsec_call *call)
{
    const json_t *asked = json_object_get(call->command, "acls");
    json_t *list = json_is_array(asked) ? json_array() : NULL, *item;
    const char *why;
    size_t i, at;
    json_array_foreach(asked, i, item)
    {
        json_t *acl = read_acl(item, &why);
        if (acl != NULL && json_array_size(list) < M5_DYNSEC_ITEMS_MAX &&
            !find_acl(list, json_string_value(json_object_get(acl, "acltype")),
                      json_string_value(json_object_get(acl, "topic")), &at))
            m5_dynsec_insert(list, acl, 0);
        json_decref(acl);
    }
    return list;
}

static const char *add_role_acl(struct m5_dynsec_call *call)
{
    const char *why;
    json_t *role = named(call, &why);
    size_t at;
    if (role == NULL)
        return why;
    json_t *acl = read_acl(call->command, &why), *acls = json_object_get(role, "acls");
    if (acl == NULL)
        return why;
    if (find_acl(acls, m5_dynsec_text(call, "acltype"), m5_dynsec_text(call, "topic"), &at))
        why = "ACL with this topic already exists";
    else if (json_array_size(acls) >= M5_DYNSEC_ITEMS_MAX)
        why = "Too many acls";
    else
        m5_dynsec_insert(acls, acl, 0);
    json_decref(acl);
    call->changed |= why == NULL;
    return why;
}

static const char *remove_role_acl(struct m5_dynsec_call *call)
{
    const char *why, *type = m5_dynsec_text(call, "acltype"),
                     *topic = m5_dynsec_text(call, "topic");
    const json_t *role = named(call, &why);
    size_t at;
    if (role == NULL)
        return why;
    if (type == NULL)
        return "Invalid/missing acltype";
    if (m5_dynsec_acl_of(type) == M5_DYNSEC_ACLS)
        return "Unknown acltype";
    if (topic == NULL)
        return "Invalid/missing topic";
    if (!find_acl(json_object_get(role, "acls"), type, topic, &at))
        return "ACL not found";
    json_array_remove(json_object_get(role, "acls"), at);
    call->changed = true;
    return NULL;
}

/* ---- roles ---- */

static const char *create_role(struct m5_dynsec_call *call)
{
    const char *name = m5_dynsec_text(call, "rolename");
    if (name == NULL || !m5_dynsec_is_name(name))
        return "Invalid/missing rolename";
    if (m5_dynsec_find(roles_of(call), "rolename", name, NULL) != NULL)
        return "Role already exists";
    if (json_array_size(roles_of(call)) >= M5_DYNSEC_ITEMS_MAX)
        return "Too many roles";
    json_t *role = json_pack("{s:s}", "rolename", name), *acls = read_acls(call);
    m5_dynsec_set_texts(call, role);
    json_object_set_new(role, "acls", acls != NULL ? acls : json_array());
    json_array_append_new(roles_of(call), role);
    call->changed = true;
    return NULL;
}

static const char *delete_role(struct m5_dynsec_call *call)
{
    const char *why, *name = m5_dynsec_text(call, "rolename");
    size_t at;
    if (named(call, &why) == NULL)
        return why;
    m5_dynsec_forget(m5_dynsec_list(call->document, "clients"), "roles", "rolename", name);
    m5_dynsec_forget(m5_dynsec_list(call->document, "groups"), "roles", "rolename", name);
    m5_dynsec_find(roles_of(call), "rolename", name, &at);
    json_array_remove(roles_of(call), at);
    call->changed = true;
    return NULL;
}

static const char *modify_role(struct m5_dynsec_call *call)
{
    const char *why;
    json_t *role = named(call, &why);
    if (m5_dynsec_text(call, "rolename") == NULL)
        return why;
    if (role == NULL)
        return "Role does not exist";
    json_t *acls = read_acls(call);
    m5_dynsec_set_texts(call, role);
    if (acls != NULL)
        json_object_set_new(role, "acls", acls);
    call->changed = true;
    return NULL;
}

static const char *get_role(struct m5_dynsec_call *call)
{
    const char *why;
    const json_t *role = named(call, &why);
    if (role == NULL)
        return why;
    call->data = json_pack("{s:o}", "role", m5_dynsec_show_role(call->document, role));
    return NULL;
}

static const char *list_roles(struct m5_dynsec_call *call)
{
    return m5_dynsec_answer_list(call, "roles", "rolename", m5_dynsec_show_role);
}

/* ---- defaults ---- */

/* "allow": true, or "access": "allow" as mosquitto_ctrl 2.0 says it. */
static bool read_allow(const json_t *item, bool *allow)
{
    const json_t *value = json_object_get(item, "allow");
    const char *access = json_string_value(json_object_get(item, "access"));
    *allow = json_is_true(value) || (access != NULL && strcmp(access, "allow") == 0);
    return json_is_boolean(value) || *allow || (access != NULL && strcmp(access, "deny") == 0);
}

static const char *set_defaults(struct m5_dynsec_call *call)
{
    const json_t *asked = json_object_get(call->command, "acls");
    json_t *defaults = json_object_get(call->document, "defaultACLAccess"), *item;
    size_t i;
    if (!json_is_array(asked))
        return "Missing/invalid actions array";
    json_array_foreach(asked, i, item)
    {
        const char *type = json_string_value(json_object_get(item, "acltype"));
        bool allow;
        if (type == NULL || m5_dynsec_default_of(type) == M5_DYNSEC_DEFAULTS ||
            !read_allow(item, &allow))
            continue;
        json_object_set_new(defaults, type, json_boolean(allow));
        call->changed = true;
    }
    return NULL;
}

static const char *get_defaults(struct m5_dynsec_call *call)
{
    const json_t *defaults = json_object_get(call->document, "defaultACLAccess");
    json_t *acls = json_array();
    for (enum m5_dynsec_default type = 0; type < M5_DYNSEC_DEFAULTS; type++)
        json_array_append_new(
            acls, json_pack("{s:s, s:O}", "acltype", m5_dynsec_default_names[type], "allow",
                            json_object_get(defaults, m5_dynsec_default_names[type])));
    call->data = json_pack("{s:o}", "acls", acls);
    return NULL;
}

const struct m5_dynsec_word m5_dynsec_role_commands[] = {
    {"createRole", create_role},
    {"deleteRole", delete_role},
    {"modifyRole", modify_role},
    {"getRole", get_role},
    {"listRoles", list_roles},
    {"addRoleACL", add_role_acl},
    {"removeRoleACL", remove_role_acl},
    {"setDefaultACLAccess", set_defaults},
    {"getDefaultACLAccess", get_defaults},
    {NULL, NULL},
};

/* ---- dispatch ---- */

static m5_dynsec_command_fn *find_command(const char *name)
{
    const struct m5_dynsec_word *const tables[] = {
        m5_dynsec_client_commands, m5_dynsec_group_commands, m5_dynsec_role_commands};
    for (size_t i = 0; i < M5_COUNT_OF(tables); i++) {
        for (const struct m5_dynsec_word *word = tables[i]; word->name != NULL; word++) {
            if (strcmp(word->name, name) == 0)
                return word->execute;
        }
    }
    return NULL;
}

json_t *m5_dynsec_command(json_t *document, const json_t *command, bool *changed)
{
    struct m5_dynsec_call call = {.document = document, .command = command};
    const char *name = json_string_value(json_object_get(command, "command"));
    json_t *correlation = json_object_get(command, "correlationData");
    const char *why = NULL;
    if (!json_is_object(command)) {
        why = "Command not an object";
    } else if (name == NULL) {
        why = "Missing command";
    } else if (correlation != NULL && !json_is_string(correlation)) {
        why = "Invalid correlationData data type.";
        correlation = NULL;
    } else {
        m5_dynsec_command_fn *execute = find_command(name);
        why = execute == NULL ? "Unknown command" : execute(&call);
    }
    json_t *answer = json_pack("{s:s}", "command",
                               json_is_object(command) && name != NULL ? name : "Unknown command");
    if (why != NULL)
        json_object_set_new(answer, "error", json_string(why));
    else if (call.data != NULL)
        json_object_set(answer, "data", call.data);
    if (correlation != NULL)
        json_object_set(answer, "correlationData", correlation);
    json_decref(call.data);
    *changed |= call.changed;
    return answer;
}
