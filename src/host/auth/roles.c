/* The roles that a token's claims give.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/roles.h"

#include "base/bytes.h"

#include <mqtt5/topic.h>

#include <regex.h>
#include <stdio.h>
#include <string.h>

#define PATH_PART_MAX 128u
#define VALUE_MAX     1024u /* bytes that are compared */

static void add(struct m5_roles *roles, const char *name, size_t size)
{
    if (size == 0 || size > M5_ROLE_NAME_MAX || roles->count == M5_ROLES_MAX ||
        size + 1 > sizeof roles->text - roles->size ||
        mqtt5_utf8_check(m5_bytes(name, size)) != MQTT5_OK)
        return;
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)name[i] <= ' ' || name[i] == 0x7F)
            return;
    }
    for (size_t at = 0; at < roles->size; at += strlen(roles->text + at) + 1) {
        if (strlen(roles->text + at) == size && memcmp(roles->text + at, name, size) == 0)
            return;
    }
    memcpy(roles->text + roles->size, name, size);
    roles->text[roles->size + size] = 0;
    roles->size += size + 1;
    roles->count++;
}

/* "realm_access.roles" is the member `roles` of the member `realm_access`; a member whose whole
 * name is the path, dots and all, comes first. */
static const json_t *find(const json_t *claims, const char *path)
{
    const json_t *whole = json_object_get(claims, path);
    while (whole == NULL) {
        char part[PATH_PART_MAX];
        const size_t size = strcspn(path, ".");
        if (size == 0 || size >= sizeof part)
            return NULL;
        memcpy(part, path, size);
        part[size] = 0;
        claims = json_object_get(claims, part);
        if (path[size] == 0 || claims == NULL)
            return claims;
        path += size + 1;
    }
    return whole;
}

/* ---- mappings ---- */

static bool ends_with(const char *text, const char *end)
{
    const size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

static bool matches_regex(const char *text, const char *pattern)
{
    regex_t regex;
    regmatch_t match;
    if (regcomp(&regex, pattern, REG_EXTENDED) != 0)
        return false;
    const bool matches =
        regexec(&regex, text, 1, &match, 0) == 0 && match.rm_so == 0 && text[match.rm_eo] == 0;
    regfree(&regex);
    return matches;
}

static bool matches(const struct mqtt5_role_mapping *mapping, const char *text, size_t size)
{
    const char *value = mapping->value != NULL ? mapping->value : "";
    if (size > VALUE_MAX || strlen(text) != size)
        return mapping->match == MQTT5_CLAIM_ANY;
    switch (mapping->match) {
    case MQTT5_CLAIM_EQUALS: return strcmp(text, value) == 0;
    case MQTT5_CLAIM_CONTAINS: return strstr(text, value) != NULL;
    case MQTT5_CLAIM_STARTS_WITH: return strncmp(text, value, strlen(value)) == 0;
    case MQTT5_CLAIM_ENDS_WITH: return ends_with(text, value);
    case MQTT5_CLAIM_REGEX: return matches_regex(text, value);
    case MQTT5_CLAIM_ANY: break;
    }
    return true;
}

/* One value, or one of a list. Numbers and switches as they are written. */
static bool claim_matches(const struct mqtt5_role_mapping *mapping, const json_t *claim)
{
    char number[32];
    if (json_is_string(claim))
        return matches(mapping, json_string_value(claim), json_string_length(claim));
    if (json_is_integer(claim)) {
        const int size =
            snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(claim));
        return matches(mapping, number, (size_t)size);
    }
    if (json_is_boolean(claim))
        return json_is_true(claim) ? matches(mapping, "true", 4) : matches(mapping, "false", 5);
    for (size_t i = 0; i < json_array_size(claim); i++) {
        const json_t *item = json_array_get(claim, i);
        if (!json_is_array(item) && claim_matches(mapping, item))
            return true;
    }
    return mapping->match == MQTT5_CLAIM_ANY && claim != NULL;
}

static void add_mapped(const struct mqtt5_jwt_issuer *issuer, const json_t *claims,
                       struct m5_roles *out)
{
    for (size_t i = 0; i < issuer->role_mapping_count; i++) {
        const struct mqtt5_role_mapping *mapping = &issuer->role_mappings[i];
        const json_t *claim = find(claims, mapping->claim_path);
        if (claim == NULL || !claim_matches(mapping, claim))
            continue;
        for (size_t j = 0; j < mapping->role_count; j++)
            add(out, mapping->roles[j], strlen(mapping->roles[j]));
    }
}

/* ---- trusted claims ---- */

/* A name, names with blanks between them as in "scope", or a list. */
static void add_named(const json_t *claim, struct m5_roles *out)
{
    for (size_t i = 0; i < json_array_size(claim); i++) {
        const json_t *item = json_array_get(claim, i);
        if (json_is_string(item))
            add(out, json_string_value(item), json_string_length(item));
    }
    const char *at = json_string_value(claim);
    while (at != NULL && *at != 0) {
        const size_t size = strcspn(at, " ");
        add(out, at, size);
        at += size + (at[size] == ' ');
    }
}

static void add_trusted(const struct mqtt5_jwt_issuer *issuer, const json_t *claims,
                        struct m5_roles *out)
{
    static const char *const usual[] = {"roles", "groups", "realm_access.roles"};
    const char *const *paths = issuer->role_claim_count > 0 ? issuer->role_claims : usual;
    const size_t count = issuer->role_claim_count > 0 ? issuer->role_claim_count : 3;
    for (size_t i = 0; i < count; i++)
        add_named(find(claims, paths[i]), out);
}

void m5_roles_of(const struct mqtt5_jwt_issuer *issuer, const json_t *claims, struct m5_roles *out)
{
    out->size = out->count = 0;
    if (issuer->roles == MQTT5_JWT_ROLES_NONE)
        return;
    if (issuer->roles == MQTT5_JWT_ROLES_MAPPED)
        add_mapped(issuer, claims, out);
    else
        add_trusted(issuer, claims, out);
    for (size_t i = 0; i < issuer->default_role_count; i++)
        add(out, issuer->default_roles[i], strlen(issuer->default_roles[i]));
}

bool m5_roles_check(const struct mqtt5_jwt_issuer *issuer, const char **why)
{
    for (size_t i = 0; i < issuer->role_mapping_count; i++) {
        const struct mqtt5_role_mapping *mapping = &issuer->role_mappings[i];
        regex_t regex;
        *why = "a role mapping has no claim_path, or no roles";
        if (mapping->claim_path == NULL || mapping->role_count == 0)
            return false;
        *why = "a role mapping has nothing to compare with: give a value";
        if (mapping->match != MQTT5_CLAIM_ANY && mapping->value == NULL)
            return false;
        *why = "a role mapping's value is no extended regular expression";
        if (mapping->match != MQTT5_CLAIM_REGEX)
            continue;
        if (regcomp(&regex, mapping->value, REG_EXTENDED) != 0)
            return false;
        regfree(&regex);
    }
    return true;
}
