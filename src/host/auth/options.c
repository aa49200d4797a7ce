/* Copies of what an operator wants of logins.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/options.h"

#include <stdlib.h>
#include <string.h>

/* ---- copies ---- */

struct m5_auth_block {
    struct m5_auth_block *next;
    max_align_t data[];
};

/* NULL for NULL, or without memory, which *good notes. */
static void *keep(struct m5_auth_copy *copy, const void *data, size_t size, bool *good)
{
    if (data == NULL || size == 0)
        return NULL;
    struct m5_auth_block *block = malloc(sizeof *block + size);
    if (block == NULL) {
        *good = false;
        return NULL;
    }
    block->next = copy->blocks;
    copy->blocks = block;
    memcpy(block->data, data, size);
    return block->data;
}

static const char *keep_text(struct m5_auth_copy *copy, const char *text, bool *good)
{
    return keep(copy, text, text != NULL ? strlen(text) + 1 : 0, good);
}

static const char *const *keep_texts(struct m5_auth_copy *copy, const char *const *texts,
                                     size_t count, bool *good)
{
    const char **own = keep(copy, texts, count * sizeof *texts, good);
    for (size_t i = 0; own != NULL && i < count; i++)
        own[i] = keep_text(copy, texts[i], good);
    return own;
}

static const struct mqtt5_role_mapping *keep_mappings(struct m5_auth_copy *copy,
                                                      const struct mqtt5_jwt_issuer *issuer,
                                                      bool *good)
{
    struct mqtt5_role_mapping *own =
        keep(copy, issuer->role_mappings, issuer->role_mapping_count * sizeof *own, good);
    for (size_t i = 0; own != NULL && i < issuer->role_mapping_count; i++) {
        own[i].claim_path = keep_text(copy, own[i].claim_path, good);
        own[i].value = keep_text(copy, own[i].value, good);
        own[i].roles = keep_texts(copy, own[i].roles, own[i].role_count, good);
    }
    return own;
}

static void keep_issuer(struct m5_auth_copy *copy, struct mqtt5_jwt_issuer *issuer, bool *good)
{
    issuer->name = keep_text(copy, issuer->name, good);
    issuer->issuer = keep_text(copy, issuer->issuer, good);
    issuer->audience = keep_text(copy, issuer->audience, good);
    issuer->algorithm = keep_text(copy, issuer->algorithm, good);
    issuer->key_file = keep_text(copy, issuer->key_file, good);
    issuer->jwks_uri = keep_text(copy, issuer->jwks_uri, good);
    issuer->user_prefix = keep_text(copy, issuer->user_prefix, good);
    issuer->role_mappings = keep_mappings(copy, issuer, good);
    issuer->role_claims = keep_texts(copy, issuer->role_claims, issuer->role_claim_count, good);
    issuer->default_roles =
        keep_texts(copy, issuer->default_roles, issuer->default_role_count, good);
}

bool m5_auth_copy_init(struct m5_auth_copy *copy, const struct mqtt5_auth_options *from)
{
    bool good = true;
    *copy = (struct m5_auth_copy){.options = *from};
    struct mqtt5_auth_options *own = &copy->options;
    own->password_file = keep_text(copy, from->password_file, &good);
    own->scram_file = keep_text(copy, from->scram_file, &good);
    own->http.uri = keep_text(copy, from->http.uri, &good);
    own->http.ca_file = keep_text(copy, from->http.ca_file, &good);
    struct mqtt5_jwt_issuer *issuers =
        keep(copy, from->jwt_issuers, from->jwt_issuer_count * sizeof *issuers, &good);
    for (size_t i = 0; issuers != NULL && i < from->jwt_issuer_count; i++)
        keep_issuer(copy, &issuers[i], &good);
    own->jwt_issuers = issuers;
    return good;
}

void m5_auth_copy_fini(struct m5_auth_copy *copy)
{
    while (copy->blocks != NULL) {
        struct m5_auth_block *block = copy->blocks;
        copy->blocks = block->next;
        free(block);
    }
    *copy = (struct m5_auth_copy){0};
}

/* ---- comparing ---- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_texts(const char *const *a, const char *const *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!same_text(a[i], b[i]))
            return false;
    }
    return true;
}

static bool same_mapping(const struct mqtt5_role_mapping *a, const struct mqtt5_role_mapping *b)
{
    return same_text(a->claim_path, b->claim_path) && a->match == b->match &&
           same_text(a->value, b->value) && a->role_count == b->role_count &&
           same_texts(a->roles, b->roles, a->role_count);
}

static bool same_roles(const struct mqtt5_jwt_issuer *a, const struct mqtt5_jwt_issuer *b)
{
    if (a->roles != b->roles || a->role_mapping_count != b->role_mapping_count ||
        a->role_claim_count != b->role_claim_count ||
        a->default_role_count != b->default_role_count)
        return false;
    for (size_t i = 0; i < a->role_mapping_count; i++) {
        if (!same_mapping(&a->role_mappings[i], &b->role_mappings[i]))
            return false;
    }
    return same_texts(a->role_claims, b->role_claims, a->role_claim_count) &&
           same_texts(a->default_roles, b->default_roles, a->default_role_count);
}

static bool same_issuer(const struct mqtt5_jwt_issuer *a, const struct mqtt5_jwt_issuer *b)
{
    return same_text(a->name, b->name) && same_text(a->issuer, b->issuer) &&
           same_text(a->audience, b->audience) && same_text(a->algorithm, b->algorithm) &&
           same_text(a->key_file, b->key_file) && same_text(a->jwks_uri, b->jwks_uri) &&
           same_text(a->user_prefix, b->user_prefix) && a->jwks_refresh_s == b->jwks_refresh_s &&
           a->jwks_cache_s == b->jwks_cache_s && a->clock_skew_s == b->clock_skew_s &&
           same_roles(a, b);
}

static bool same_lockout(const struct mqtt5_lockout *a, const struct mqtt5_lockout *b)
{
    return a->failures == b->failures && a->window_s == b->window_s && a->lock_s == b->lock_s;
}

bool m5_auth_options_equal(const struct mqtt5_auth_options *a, const struct mqtt5_auth_options *b)
{
    if (a->allow_anonymous != b->allow_anonymous || a->plain_without_tls != b->plain_without_tls ||
        a->jwt_issuer_count != b->jwt_issuer_count || a->http.timeout_ms != b->http.timeout_ms ||
        a->http.cache_s != b->http.cache_s)
        return false;
    for (size_t i = 0; i < a->jwt_issuer_count; i++) {
        if (!same_issuer(&a->jwt_issuers[i], &b->jwt_issuers[i]))
            return false;
    }
    return same_text(a->password_file, b->password_file) &&
           same_text(a->scram_file, b->scram_file) && same_text(a->http.uri, b->http.uri) &&
           same_text(a->http.ca_file, b->http.ca_file) &&
           same_lockout(&a->address_lockout, &b->address_lockout) &&
           same_lockout(&a->user_lockout, &b->user_lockout);
}
