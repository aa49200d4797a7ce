/* Passwords as they are stored: argon2id, and the two older forms of Mosquitto.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/password.h"

#include "base/base64.h"
#include "base/bytes.h"
#include "host/auth/text.h"

#include <argon2.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>

#define NEW_SALT_SIZE 16
#define NEW_KEY_SIZE  32
#define SHA512_SIZE   64

const struct m5_password m5_password_defaults = {
    .kind = M5_PASSWORD_ARGON2ID, .memory_kib = 19456, .passes = 2, .lanes = 1};

/* ---- reading ---- */

/* Takes what stands before the next '$' (or the end) off @p rest. */
static struct mqtt5_bytes next_field(struct mqtt5_bytes *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, '$', rest->len) : NULL;
    const struct mqtt5_bytes field =
        m5_bytes(rest->data, end != NULL ? (size_t)(end - rest->data) : rest->len);
    const size_t taken = end != NULL ? field.len + 1 : field.len;
    *rest = m5_bytes(rest->data + taken, rest->len - taken);
    return field;
}

static bool has_prefix(struct mqtt5_bytes text, const char *prefix)
{
    const size_t size = strlen(prefix);
    return text.len >= size && memcmp(text.data, prefix, size) == 0;
}

/* Takes "m=NUMBER" and the comma behind it off @p rest. */
static bool next_parameter(struct mqtt5_bytes *rest, const char *name, uint32_t max,
                           uint32_t *value)
{
    if (!has_prefix(*rest, name))
        return false;
    const size_t size = strlen(name);
    struct mqtt5_bytes text = m5_bytes(rest->data + size, rest->len - size);
    const uint8_t *comma = text.len > 0 ? memchr(text.data, ',', text.len) : NULL;
    if (comma != NULL)
        text.len = (size_t)(comma - text.data);
    const size_t taken = size + text.len + (comma != NULL);
    *rest = m5_bytes(rest->data + taken, rest->len - taken);
    return m5_text_number(text, max, value) && *value > 0;
}

static bool parse_salt_and_key(struct mqtt5_bytes rest, enum m5_base64_form form,
                               struct m5_password *out, const char **why)
{
    const struct mqtt5_bytes salt = next_field(&rest), key = next_field(&rest);
    if (!m5_base64_decode(salt, form, out->salt, sizeof out->salt, &out->salt_size) ||
        out->salt_size < M5_PASSWORD_SALT_MIN) {
        *why = "the salt is not base64 of 8 to 64 bytes";
        return false;
    }
    if (rest.len > 0 || !m5_base64_decode(key, form, out->key, sizeof out->key, &out->key_size) ||
        out->key_size < M5_PASSWORD_KEY_MIN) {
        *why = "the hash is not base64 of 16 to 64 bytes";
        return false;
    }
    return true;
}

/* v=19$m=...,t=...,p=...$SALT$HASH */
static bool parse_argon2id(struct mqtt5_bytes rest, struct m5_password *out, const char **why)
{
    out->kind = M5_PASSWORD_ARGON2ID;
    if (!m5_text_equals(next_field(&rest), "v=19")) {
        *why = "argon2id of another version than v=19";
        return false;
    }
    struct mqtt5_bytes parameters = next_field(&rest);
    if (!next_parameter(&parameters, "m=", M5_PASSWORD_MEMORY_MAX, &out->memory_kib) ||
        !next_parameter(&parameters, "t=", M5_PASSWORD_PASSES_MAX, &out->passes) ||
        !next_parameter(&parameters, "p=", M5_PASSWORD_LANES_MAX, &out->lanes) ||
        parameters.len > 0) {
        *why = "its parameters are not m=KIB,t=PASSES,p=LANES within 262144, 16 and 16";
        return false;
    }
    if (out->memory_kib < 8 * out->lanes ||
        (uint64_t)out->memory_kib * out->passes > M5_PASSWORD_WORK_MAX) {
        *why = "it takes too little memory for its lanes, or more than 1 GiB times passes";
        return false;
    }
    return parse_salt_and_key(rest, M5_BASE64_UNPADDED, out, why);
}

/* ITERATIONS$SALT$HASH */
static bool parse_pbkdf2(struct mqtt5_bytes rest, struct m5_password *out, const char **why)
{
    out->kind = M5_PASSWORD_PBKDF2;
    if (!m5_text_number(next_field(&rest), M5_PASSWORD_ITERATIONS_MAX, &out->iterations) ||
        out->iterations == 0) {
        *why = "its iterations are not 1 to 2000000";
        return false;
    }
    return parse_salt_and_key(rest, M5_BASE64_PADDED, out, why);
}

static bool parse_sha512(struct mqtt5_bytes rest, struct m5_password *out, const char **why)
{
    out->kind = M5_PASSWORD_SHA512;
    if (!parse_salt_and_key(rest, M5_BASE64_PADDED, out, why))
        return false;
    *why = "the hash does not have the 64 bytes of SHA-512";
    return out->key_size == SHA512_SIZE;
}

bool m5_password_parse(struct mqtt5_bytes text, struct m5_password *out, const char **why)
{
    *out = (struct m5_password){0};
    *why = "it is no argon2id, $7$ or $6$ hash; make one with mqttv5 passwd";
    struct mqtt5_bytes rest = text;
    if (next_field(&rest).len > 0)
        return false;
    const struct mqtt5_bytes name = next_field(&rest);
    if (m5_text_equals(name, "argon2id"))
        return parse_argon2id(rest, out, why);
    if (m5_text_equals(name, "7"))
        return parse_pbkdf2(rest, out, why);
    return m5_text_equals(name, "6") && parse_sha512(rest, out, why);
}

/* ---- hashing ---- */

/* The lanes are computed one after the other, by this thread alone. */
static bool hash_argon2id(const struct m5_password *like, struct mqtt5_bytes password, uint8_t *out)
{
    uint8_t nothing = 0;
    argon2_context context = {
        .out = out,
        .outlen = (uint32_t)like->key_size,
        .pwd = password.len > 0 ? (uint8_t *)(uintptr_t)password.data : &nothing,
        .pwdlen = (uint32_t)password.len,
        .salt = (uint8_t *)(uintptr_t)like->salt,
        .saltlen = (uint32_t)like->salt_size,
        .t_cost = like->passes,
        .m_cost = like->memory_kib,
        .lanes = like->lanes,
        .threads = 1,
        .version = ARGON2_VERSION_13,
    };
    return argon2id_ctx(&context) == ARGON2_OK;
}

static bool hash_pbkdf2(const struct m5_password *like, struct mqtt5_bytes password, uint8_t *out)
{
    const gnutls_datum_t key = {.data = (uint8_t *)(uintptr_t)password.data,
                                .size = (unsigned)password.len};
    const gnutls_datum_t salt = {.data = (uint8_t *)(uintptr_t)like->salt,
                                 .size = (unsigned)like->salt_size};
    return gnutls_pbkdf2(GNUTLS_MAC_SHA512, &key, &salt, like->iterations, out, like->key_size) ==
           0;
}

static bool hash_sha512(const struct m5_password *like, struct mqtt5_bytes password, uint8_t *out)
{
    gnutls_hash_hd_t hash;
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA512) != 0)
        return false;
    const bool done = (password.len == 0 || gnutls_hash(hash, password.data, password.len) == 0) &&
                      gnutls_hash(hash, like->salt, like->salt_size) == 0;
    gnutls_hash_deinit(hash, out);
    return done;
}

static bool hash(const struct m5_password *like, struct mqtt5_bytes password, uint8_t *out)
{
    switch (like->kind) {
    case M5_PASSWORD_ARGON2ID: return hash_argon2id(like, password, out);
    case M5_PASSWORD_PBKDF2: return hash_pbkdf2(like, password, out);
    case M5_PASSWORD_SHA512: break;
    }
    return hash_sha512(like, password, out);
}

enum m5_password_answer m5_password_verify(const struct m5_password *stored,
                                           struct mqtt5_bytes password)
{
    uint8_t key[M5_PASSWORD_KEY_MAX] = {0};
    if (!hash(stored, password, key))
        return M5_PASSWORD_FAILED;
    const bool same = gnutls_memcmp(key, stored->key, stored->key_size) == 0;
    m5_wipe(key, sizeof key);
    return same ? M5_PASSWORD_RIGHT : M5_PASSWORD_WRONG;
}

bool m5_password_make(struct mqtt5_bytes password, const struct m5_password *like,
                      char out[M5_PASSWORD_TEXT_SIZE])
{
    struct m5_password made = *like;
    made.kind = M5_PASSWORD_ARGON2ID;
    made.salt_size = NEW_SALT_SIZE;
    made.key_size = NEW_KEY_SIZE;
    if (gnutls_rnd(GNUTLS_RND_NONCE, made.salt, made.salt_size) != 0 ||
        !hash_argon2id(&made, password, made.key))
        return false;
    char salt[M5_BASE64_SIZE(NEW_SALT_SIZE)], key[M5_BASE64_SIZE(NEW_KEY_SIZE)];
    m5_base64_encode(m5_bytes(made.salt, made.salt_size), M5_BASE64_UNPADDED, salt);
    m5_base64_encode(m5_bytes(made.key, made.key_size), M5_BASE64_UNPADDED, key);
    snprintf(out, M5_PASSWORD_TEXT_SIZE, "$argon2id$v=19$m=%u,t=%u,p=%u$%s$%s", made.memory_kib,
             made.passes, made.lanes, salt, key);
    return true;
}
