/* Reading the file of dynamic security, and what all commands share.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/dynsec/document.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "host/auth/password.h"
#include "host/dynsec/dynsec.h"

#include <limits.h>
#include <mqtt5/topic.h>
#include <string.h>

const char *const m5_dynsec_acl_names[M5_DYNSEC_ACLS] = {
    "publishClientSend", "publishClientReceive", "subscribeLiteral",
    "subscribePattern",  "unsubscribeLiteral",   "unsubscribePattern",
};
const char *const m5_dynsec_default_names[M5_DYNSEC_DEFAULTS] = {
    "publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"};

enum m5_dynsec_acl m5_dynsec_acl_of(const char *name)
{
    enum m5_dynsec_acl type = 0;
    while (type < M5_DYNSEC_ACLS && strcmp(m5_dynsec_acl_names[type], name) != 0)
        type++;
    return type;
}

enum m5_dynsec_default m5_dynsec_default_of(const char *name)
{
    enum m5_dynsec_default type = 0;
    while (type < M5_DYNSEC_DEFAULTS && strcmp(m5_dynsec_default_names[type], name) != 0)
        type++;
    return type;
}

bool m5_dynsec_pattern_ok(const char *topic)
{
    struct mqtt5_filter filter;
    return mqtt5_filter_parse(m5_bytes_of(topic), M5_ACL_LEVELS_MAX, &filter) == MQTT5_OK &&
           filter.share_name.len == 0;
}

bool m5_dynsec_is_name(const char *name)
{
    const size_t size = strlen(name);
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)name[i] < ' ')
            return false;
    }
    return size > 0 && size <= M5_DYNSEC_NAME_MAX;
}

json_t *m5_dynsec_list(const json_t *document, const char *name)
{
    return json_object_get(document, name);
}

json_t *m5_dynsec_find(const json_t *list, const char *key, const char *name, size_t *index)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *other = json_string_value(json_object_get(item, key));
        if (other == NULL || strcmp(other, name) != 0)
            continue;
        if (index != NULL)
            *index = i;
        return item;
    }
    return NULL;
}

int m5_dynsec_priority(const json_t *item, int otherwise)
{
    const json_t *value = json_object_get(item, "priority");
    const json_int_t number = json_integer_value(value);
    if (!json_is_integer(value))
        return otherwise;
    return number < INT_MIN ? INT_MIN : number > INT_MAX ? INT_MAX : (int)number;
}

void m5_dynsec_insert(json_t *list, json_t *item, int otherwise)
{
    const int priority = m5_dynsec_priority(item, otherwise);
    size_t at = 0;
    while (at < json_array_size(list) &&
           m5_dynsec_priority(json_array_get(list, at), otherwise) >= priority)
        at++;
    json_array_insert(list, at, item);
}

void m5_dynsec_forget(json_t *list, const char *members, const char *key, const char *name)
{
    size_t i, at;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        json_t *inner = json_object_get(item, members);
        while (m5_dynsec_find(inner, key, name, &at) != NULL)
            json_array_remove(inner, at);
    }
}

/* ---- reading ---- */

static bool fail(struct m5_text_error *error, const char *what, const char *name)
{
    return m5_text_fail(error, 0, 0, "%s: \"%.100s\"", what, name == NULL ? "" : name);
}

/* A list of objects with a name each, none twice. */
static bool check_list(const json_t *list, const char *key, struct m5_text_error *error)
{
    if (!json_is_array(list) || json_array_size(list) > M5_DYNSEC_ITEMS_MAX)
        return fail(error, "not a list, or one that is too long, of items with", key);
    json_t *seen = json_object();
    size_t i;
    json_t *item;
    bool right = seen != NULL;
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(json_object_get(item, key));
        if (right && (name == NULL || !m5_dynsec_is_name(name)))
            right = fail(error, "an item has no name, or one that cannot be, as", key);
        else if (right && json_object_get(seen, name) != NULL)
            right = fail(error, "this stands there twice", name);
        else if (right && json_object_set_new(seen, name, json_true()) != 0)
            right = fail(error, "out of memory", name);
    }
    json_decref(seen);
    return right;
}

/* The members that @p item lists exist, and stand in the order of their priorities. */
static bool check_members(json_t *item, const char *list, const char *key, const json_t *all,
                          struct m5_text_error *error)
{
    json_t *members = json_object_get(item, list);
    if (members == NULL)
        return json_object_set_new(item, list, json_array()) == 0;
    if (!check_list(members, key, error))
        return false;
    json_t *sorted = json_array();
    size_t i;
    json_t *member;
    bool right = sorted != NULL;
    json_array_foreach(members, i, member)
    {
        const char *name = json_string_value(json_object_get(member, key));
        if (right && m5_dynsec_find(all, key, name, NULL) == NULL)
            right = fail(error, "it is listed, but does not exist", name);
        m5_dynsec_insert(sorted, member, -1);
    }
    return json_object_set_new(item, list, sorted) == 0 && right;
}

static bool check_acls(json_t *role, struct m5_text_error *error)
{
    json_t *acls = json_object_get(role, "acls");
    const char *name = json_string_value(json_object_get(role, "rolename"));
    if (acls == NULL)
        return json_object_set_new(role, "acls", json_array()) == 0;
    if (!json_is_array(acls) || json_array_size(acls) > M5_DYNSEC_ITEMS_MAX)
        return fail(error, "the acls are not a list, or one that is too long, of role", name);
    size_t i;
    json_t *acl, *sorted = json_array();
    json_array_foreach(acls, i, acl) m5_dynsec_insert(sorted, acl, 0);
    if (json_object_set_new(role, "acls", sorted) != 0)
        return fail(error, "out of memory", name);
    json_array_foreach(sorted, i, acl)
    {
        const char *type = json_string_value(json_object_get(acl, "acltype"));
        const char *topic = json_string_value(json_object_get(acl, "topic"));
        if (type == NULL || m5_dynsec_acl_of(type) == M5_DYNSEC_ACLS)
            return fail(error, "an acl has no acltype that is known, in role", name);
        if (topic == NULL || !m5_dynsec_pattern_ok(topic))
            return fail(error, "an acl has no topic that can be, in role", name);
        if (!json_is_boolean(json_object_get(acl, "allow")))
            return fail(error, "an acl says neither true nor false to allow, in role", name);
    }
    return true;
}

/* A stored password can be read; both texts that go with it are there. */
static bool check_client(json_t *client, struct m5_text_error *error)
{
    const char *name = json_string_value(json_object_get(client, "username"));
    const char *hash = json_string_value(json_object_get(client, "password"));
    const char *salt = json_string_value(json_object_get(client, "salt"));
    const json_t *id = json_object_get(client, "clientid");
    json_t *text = json_object_get(client, "textName"); /* as mosquitto_ctrl 2.0 writes it */
    if (id != NULL && !json_is_string(id))
        return fail(error, "the clientid is no text, of client", name);
    if (text != NULL && (json_object_set(client, "textname", text) != 0 ||
                         json_object_del(client, "textName") != 0))
        return fail(error, "out of memory", name);
    if (hash == NULL && salt == NULL)
        return true;
    char stored[M5_PASSWORD_TEXT_SIZE];
    struct m5_password password;
    const char *why = "";
    const int size = snprintf(stored, sizeof stored, "$7$%" JSON_INTEGER_FORMAT "$%s$%s",
                              json_integer_value(json_object_get(client, "iterations")),
                              salt == NULL ? "" : salt, hash == NULL ? "" : hash);
    if (size < 0 || (size_t)size >= sizeof stored ||
        !m5_password_parse(m5_bytes_of(stored), &password, &why))
        return fail(error, "the password, salt and iterations cannot be, of client", name);
    return true;
}

static bool check_defaults(json_t *document, struct m5_text_error *error)
{
    json_t *defaults = json_object_get(document, "defaultACLAccess");
    if (defaults == NULL) {
        defaults = json_object();
        if (json_object_set_new(document, "defaultACLAccess", defaults) != 0)
            return fail(error, "out of memory", NULL);
    }
    if (!json_is_object(defaults))
        return fail(error, "not an object", "defaultACLAccess");
    for (enum m5_dynsec_default type = 0; type < M5_DYNSEC_DEFAULTS; type++) {
        const char *name = m5_dynsec_default_names[type];
        const json_t *value = json_object_get(defaults, name);
        const bool open =
            type == M5_DYNSEC_DEFAULT_RECEIVE || type == M5_DYNSEC_DEFAULT_UNSUBSCRIBE;
        if (value == NULL && json_object_set_new(defaults, name, json_boolean(open)) != 0)
            return fail(error, "out of memory", name);
        if (value != NULL && !json_is_boolean(value))
            return fail(error, "neither true nor false in defaultACLAccess", name);
    }
    return true;
}

static bool check_items(json_t *document, struct m5_text_error *error)
{
    size_t i;
    json_t *item, *clients = m5_dynsec_list(document, "clients");
    json_t *groups = m5_dynsec_list(document, "groups");
    json_t *roles = m5_dynsec_list(document, "roles");
    json_array_foreach(roles, i, item)
    {
        if (!check_acls(item, error))
            return false;
    }
    json_array_foreach(clients, i, item)
    {
        if (!check_client(item, error) || !check_members(item, "roles", "rolename", roles, error))
            return false;
    }
    json_array_foreach(groups, i, item)
    {
        if (!check_members(item, "roles", "rolename", roles, error) ||
            !check_members(item, "clients", "username", clients, error))
            return false;
    }
    const json_t *anonymous = json_object_get(document, "anonymousGroup");
    const char *name = json_string_value(anonymous);
    if (anonymous != NULL &&
        (name == NULL || m5_dynsec_find(groups, "groupname", name, NULL) == NULL))
        return fail(error, "the anonymousGroup does not exist", name);
    return true;
}

static bool check(json_t *document, struct m5_text_error *error)
{
    static const char *const lists[][2] = {
        {"clients", "username"}, {"groups", "groupname"}, {"roles", "rolename"}};
    for (size_t i = 0; i < M5_COUNT_OF(lists); i++) {
        const json_t *list = m5_dynsec_list(document, lists[i][0]);
        if (list == NULL && json_object_set_new(document, lists[i][0], json_array()) != 0)
            return fail(error, "out of memory", lists[i][0]);
        if (list != NULL && !check_list(list, lists[i][1], error))
            return false;
    }
    return check_defaults(document, error) && check_items(document, error);
}

json_t *m5_dynsec_read(struct mqtt5_bytes text, struct m5_text_error *error)
{
    json_error_t wrong;
    json_t *document = text.len == 0 ? json_object()
                                     : json_loadb((const char *)text.data, text.len,
                                                  JSON_REJECT_DUPLICATES, &wrong);
    if (document == NULL) {
        m5_text_fail(error, wrong.line > 0 ? (uint32_t)wrong.line : 0,
                     wrong.column > 0 ? (uint32_t)wrong.column : 0, "not JSON: %s", wrong.text);
        return NULL;
    }
    if (!json_is_object(document))
        fail(error, "not an object", "the file");
    else if (check(document, error))
        return document;
    json_decref(document);
    return NULL;
}

/* ---- what commands share ---- */

const char *m5_dynsec_text(const struct m5_dynsec_call *call, const char *key)
{
    return json_string_value(json_object_get(call->command, key));
}

void m5_dynsec_set_texts(struct m5_dynsec_call *call, json_t *item)
{
    static const char *const keys[] = {"textname", "textdescription"};
    for (size_t i = 0; i < M5_COUNT_OF(keys); i++) {
        json_t *text = json_object_get(call->command, keys[i]);
        if (json_is_string(text))
            json_object_set(item, keys[i], text);
    }
}

const char *m5_dynsec_read_roles(const struct m5_dynsec_call *call, json_t **out)
{
    const json_t *asked = json_object_get(call->command, "roles");
    const json_t *roles = m5_dynsec_list(call->document, "roles");
    *out = NULL;
    if (!json_is_array(asked))
        return asked == NULL ? NULL : "'roles' not an array";
    json_t *list = json_array();
    size_t i;
    json_t *item;
    json_array_foreach(asked, i, item)
    {
        json_t *name = json_object_get(item, "rolename");
        const char *text = json_string_value(name);
        json_t *member = json_object();
        if (text == NULL || m5_dynsec_find(roles, "rolename", text, NULL) == NULL) {
            json_decref(member);
            json_decref(list);
            return text == NULL ? "Invalid/missing rolename" : "Role not found";
        }
        json_object_set(member, "rolename", name);
        if (m5_dynsec_priority(item, -1) != -1)
            json_object_set_new(member, "priority", json_integer(m5_dynsec_priority(item, -1)));
        if (m5_dynsec_find(list, "rolename", text, NULL) == NULL)
            m5_dynsec_insert(list, member, -1);
        json_decref(member);
    }
    *out = list;
    return NULL;
}

const char *m5_dynsec_answer_list(struct m5_dynsec_call *call, const char *list, const char *key,
                                  json_t *(*show)(const json_t *document, const json_t *item))
{
    const json_t *items = m5_dynsec_list(call->document, list);
    const bool verbose = json_is_true(json_object_get(call->command, "verbose"));
    const json_int_t offset = json_integer_value(json_object_get(call->command, "offset"));
    const json_t *limit = json_object_get(call->command, "count");
    const json_int_t count = json_is_integer(limit) ? json_integer_value(limit) : -1;
    json_t *shown = json_array();
    for (size_t i = offset > 0 ? (size_t)offset : 0; i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        if (count >= 0 && json_array_size(shown) >= (size_t)count)
            break;
        if (verbose)
            json_array_append_new(shown, show(call->document, item));
        else
            json_array_append(shown, json_object_get(item, key));
    }
    call->data =
        json_pack("{s:I, s:o}", "totalCount", (json_int_t)json_array_size(items), list, shown);
    return NULL;
}
