/* The commands of clients.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/base64.h"
#include "base/bytes.h"
#include "host/dynsec/document.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>

#define HASH_SIZE  64
#define SALT_SIZE  16
#define ITERATIONS 20000 /* costs about as much as the argon2id of a password file */

static json_t *clients_of(const struct m5_dynsec_call *call)
{
    return m5_dynsec_list(call->document, "clients");
}

/* The client that the command names, or NULL and why. */
static json_t *named(const struct m5_dynsec_call *call, const char **why)
{
    const char *name = m5_dynsec_text(call, "username");
    *why = "Invalid/missing username";
    if (name == NULL)
        return NULL;
    *why = "Client not found";
    return m5_dynsec_find(clients_of(call), "username", name, NULL);
}

/* ---- passwords ---- */

static bool set_password(json_t *client, const char *password)
{
    uint8_t salt[SALT_SIZE], hash[HASH_SIZE];
    char salt_text[M5_BASE64_SIZE(SALT_SIZE)], hash_text[M5_BASE64_SIZE(HASH_SIZE)];
    const gnutls_datum_t secret = {.data = (uint8_t *)(uintptr_t)password,
                                   .size = (unsigned)strlen(password)};
    const gnutls_datum_t salted = {.data = salt, .size = sizeof salt};
    if (gnutls_rnd(GNUTLS_RND_RANDOM, salt, sizeof salt) != 0 ||
        gnutls_pbkdf2(GNUTLS_MAC_SHA512, &secret, &salted, ITERATIONS, hash, sizeof hash) != 0)
        return false;
    m5_base64_encode(m5_bytes(salt, sizeof salt), M5_BASE64_PADDED, salt_text);
    m5_base64_encode(m5_bytes(hash, sizeof hash), M5_BASE64_PADDED, hash_text);
    return json_object_set_new(client, "password", json_string(hash_text)) == 0 &&
           json_object_set_new(client, "salt", json_string(salt_text)) == 0 &&
           json_object_set_new(client, "iterations", json_integer(ITERATIONS)) == 0;
}

static const char *set_client_password(struct m5_dynsec_call *call)
{
    const char *why, *password = m5_dynsec_text(call, "password");
    json_t *client = named(call, &why);
    if (m5_dynsec_text(call, "username") == NULL)
        return why;
    if (password == NULL)
        return "Invalid/missing password";
    if (password[0] == 0)
        return "Empty password is not allowed";
    if (client == NULL)
        return why;
    if (!set_password(client, password))
        return "Internal error";
    call->changed = true;
    return NULL;
}

/* ---- groups of a client stand in the groups ---- */

/* Checks `groups` of the command. */
static const char *check_groups(const struct m5_dynsec_call *call)
{
    const json_t *asked = json_object_get(call->command, "groups");
    size_t i;
    const json_t *item;
    if (asked != NULL && !json_is_array(asked))
        return "'groups' not an array";
    json_array_foreach(asked, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "groupname"));
        if (name == NULL)
            return "Invalid/missing groupname";
        if (m5_dynsec_find(m5_dynsec_list(call->document, "groups"), "groupname", name, NULL) ==
            NULL)
            return "Group not found";
    }
    return NULL;
}

static void set_groups(const struct m5_dynsec_call *call, const char *username)
{
    json_t *groups = m5_dynsec_list(call->document, "groups");
    const json_t *asked = json_object_get(call->command, "groups");
    size_t i;
    const json_t *item;
    if (asked == NULL)
        return;
    m5_dynsec_forget(groups, "clients", "username", username);
    json_array_foreach(asked, i, item)
    {
        const char *name = json_string_value(json_object_get(item, "groupname"));
        json_t *members =
            json_object_get(m5_dynsec_find(groups, "groupname", name, NULL), "clients");
        json_t *member = json_pack("{s:s}", "username", username);
        if (m5_dynsec_priority(item, -1) != -1)
            json_object_set_new(member, "priority", json_integer(m5_dynsec_priority(item, -1)));
        if (m5_dynsec_find(members, "username", username, NULL) == NULL)
            m5_dynsec_insert(members, member, -1);
        json_decref(member);
    }
}

json_t *m5_dynsec_show_client(const json_t *document, const json_t *client)
{
    static const char *const keys[] = {"username",        "clientid", "textname",
                                       "textdescription", "disabled", "roles"};
    json_t *shown = json_object(), *groups = json_array();
    for (size_t i = 0; i < M5_COUNT_OF(keys); i++) {
        json_t *value = json_object_get(client, keys[i]);
        if (value != NULL && !json_is_false(value))
            json_object_set(shown, keys[i], value);
    }
    size_t i;
    const json_t *group;
    json_array_foreach(m5_dynsec_list(document, "groups"), i, group)
    {
        const char *name = json_string_value(json_object_get(client, "username"));
        const json_t *member =
            m5_dynsec_find(json_object_get(group, "clients"), "username", name, NULL);
        if (member == NULL)
            continue;
        json_t *entry = json_object();
        json_object_set(entry, "groupname", json_object_get(group, "groupname"));
        if (m5_dynsec_priority(member, -1) != -1)
            json_object_set_new(entry, "priority", json_integer(m5_dynsec_priority(member, -1)));
        m5_dynsec_insert(groups, entry, -1);
        json_decref(entry);
    }
    json_object_set_new(shown, "groups", groups);
    return shown;
}

/* ---- commands ---- */

static const char *create_client(struct m5_dynsec_call *call)
{
    const char *name = m5_dynsec_text(call, "username");
    const char *password = m5_dynsec_text(call, "password");
    const json_t *id = json_object_get(call->command, "clientid");
    json_t *roles = NULL;
    if (name == NULL || !m5_dynsec_is_name(name))
        return "Invalid/missing username";
    if (json_object_get(call->command, "password") != NULL && password == NULL)
        return "Invalid/missing password";
    if (id != NULL && !json_is_string(id))
        return "Invalid/missing client id";
    if (m5_dynsec_find(clients_of(call), "username", name, NULL) != NULL)
        return "Client already exists";
    if (json_array_size(clients_of(call)) >= M5_DYNSEC_ITEMS_MAX)
        return "Too many clients";
    const char *why = m5_dynsec_read_roles(call, &roles);
    if (why == NULL)
        why = check_groups(call);
    if (why != NULL) {
        json_decref(roles);
        return why;
    }
    json_t *client = json_pack("{s:s}", "username", name);
    if (json_string_length(id) > 0)
        json_object_set(client, "clientid", json_object_get(call->command, "clientid"));
    m5_dynsec_set_texts(call, client);
    json_object_set_new(client, "roles", roles != NULL ? roles : json_array());
    if (password != NULL && password[0] != 0 && !set_password(client, password)) {
        json_decref(client);
        return "Internal error";
    }
    json_array_append_new(clients_of(call), client);
    set_groups(call, name);
    call->changed = true;
    return NULL;
}

static const char *delete_client(struct m5_dynsec_call *call)
{
    const char *why, *name = m5_dynsec_text(call, "username");
    size_t at;
    if (named(call, &why) == NULL)
        return why;
    m5_dynsec_find(clients_of(call), "username", name, &at);
    m5_dynsec_forget(m5_dynsec_list(call->document, "groups"), "clients", "username", name);
    json_array_remove(clients_of(call), at);
    call->changed = true;
    return NULL;
}

static const char *modify_client(struct m5_dynsec_call *call)
{
    const char *why, *password = m5_dynsec_text(call, "password");
    json_t *client = named(call, &why), *roles = NULL;
    json_t *id = json_object_get(call->command, "clientid");
    if (client == NULL)
        return why;
    why = m5_dynsec_read_roles(call, &roles);
    if (why == NULL)
        why = check_groups(call);
    if (why == NULL && password != NULL && password[0] != 0 && !set_password(client, password))
        why = "Internal error";
    if (why != NULL) {
        json_decref(roles);
        return why;
    }
    if (json_string_length(id) > 0)
        json_object_set(client, "clientid", id);
    else if (json_is_string(id))
        json_object_del(client, "clientid");
    m5_dynsec_set_texts(call, client);
    if (roles != NULL)
        json_object_set_new(client, "roles", roles);
    set_groups(call, m5_dynsec_text(call, "username"));
    call->changed = true;
    return NULL;
}

static const char *set_client_id(struct m5_dynsec_call *call)
{
    const char *why;
    json_t *client = named(call, &why), *id = json_object_get(call->command, "clientid");
    if (client == NULL)
        return why;
    if (id != NULL && !json_is_string(id))
        return "Invalid/missing client id";
    if (json_string_length(id) > 0)
        json_object_set(client, "clientid", id);
    else
        json_object_del(client, "clientid");
    call->changed = true;
    return NULL;
}

static const char *switch_client(struct m5_dynsec_call *call, bool disabled)
{
    const char *why;
    json_t *client = named(call, &why);
    if (client == NULL)
        return why;
    if (disabled)
        json_object_set_new(client, "disabled", json_true());
    else
        json_object_del(client, "disabled");
    call->changed = true;
    return NULL;
}

static const char *enable_client(struct m5_dynsec_call *call)
{
    return switch_client(call, false);
}

static const char *disable_client(struct m5_dynsec_call *call)
{
    return switch_client(call, true);
}

static const char *get_client(struct m5_dynsec_call *call)
{
    const char *why;
    const json_t *client = named(call, &why);
    if (client == NULL)
        return why;
    call->data = json_pack("{s:o}", "client", m5_dynsec_show_client(call->document, client));
    return NULL;
}

static const char *list_clients(struct m5_dynsec_call *call)
{
    return m5_dynsec_answer_list(call, "clients", "username", m5_dynsec_show_client);
}

/* The client and the role that the command names; NULL, or what is wrong. */
static const char *find_both(const struct m5_dynsec_call *call, json_t **client, const char **role)
{
    const char *why;
    *client = named(call, &why);
    *role = m5_dynsec_text(call, "rolename");
    if (m5_dynsec_text(call, "username") == NULL)
        return why;
    if (*role == NULL)
        return "Invalid/missing rolename";
    if (*client == NULL)
        return why;
    const json_t *roles = m5_dynsec_list(call->document, "roles");
    return m5_dynsec_find(roles, "rolename", *role, NULL) == NULL ? "Role not found" : NULL;
}

static const char *add_client_role(struct m5_dynsec_call *call)
{
    json_t *client;
    const char *name, *why = find_both(call, &client, &name);
    const int priority = m5_dynsec_priority(call->command, -1);
    if (why != NULL)
        return why;
    json_t *roles = json_object_get(client, "roles");
    if (m5_dynsec_find(roles, "rolename", name, NULL) != NULL)
        return "Internal error"; /* that is what Mosquitto says when it is there already */
    json_t *member = json_pack("{s:s}", "rolename", name);
    if (priority != -1)
        json_object_set_new(member, "priority", json_integer(priority));
    m5_dynsec_insert(roles, member, -1);
    json_decref(member);
    call->changed = true;
    return NULL;
}

static const char *remove_client_role(struct m5_dynsec_call *call)
{
    json_t *client;
    size_t at;
    const char *name, *why = find_both(call, &client, &name);
    if (why != NULL)
        return why;
    json_t *roles = json_object_get(client, "roles");
    if (m5_dynsec_find(roles, "rolename", name, &at) != NULL) {
        json_array_remove(roles, at);
        call->changed = true;
    }
    return NULL;
}

const struct m5_dynsec_word m5_dynsec_client_commands[] = {
    {"createClient", create_client},
    {"deleteClient", delete_client},
    {"modifyClient", modify_client},
    {"setClientPassword", set_client_password},
    {"setClientId", set_client_id},
    {"enableClient", enable_client},
    {"disableClient", disable_client},
    {"getClient", get_client},
    {"listClients", list_clients},
    {"addClientRole", add_client_role},
    {"removeClientRole", remove_client_role},
    {NULL, NULL},
};
