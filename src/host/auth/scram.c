/* SCRAM: stored keys, and the server's side.
 *
 * Whether a user exists shows neither in the challenge (a salt made of the name and a secret, the
 * iterations of some other user) nor in the work: both are checked alike, and only then does it
 * count that he does not.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/scram.h"

#include "base/base64.h"
#include "base/bytes.h"
#include "host/auth/scram_crypto.h"

#include <mqtt5/topic.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define NEW_SALT_SIZE   16
#define NONCE_BYTES     24
#define SHA256_KEY_SIZE 32
#define SHA512_KEY_SIZE 64

static const char method_256[] = "SCRAM-SHA-256", method_512[] = "SCRAM-SHA-512";

/* ---- what both sides compute ---- */

size_t m5_scram_key_size(enum m5_scram_hash hash)
{
    return hash == M5_SCRAM_SHA256 ? SHA256_KEY_SIZE : SHA512_KEY_SIZE;
}

gnutls_mac_algorithm_t m5_scram_mac(enum m5_scram_hash hash)
{
    return hash == M5_SCRAM_SHA256 ? GNUTLS_MAC_SHA256 : GNUTLS_MAC_SHA512;
}

bool m5_scram_hmac(enum m5_scram_hash hash, const uint8_t *key, size_t key_size,
                   struct mqtt5_bytes text, uint8_t *out)
{
    return gnutls_hmac_fast(m5_scram_mac(hash), key, key_size, text.data, text.len, out) == 0;
}

bool m5_scram_digest(enum m5_scram_hash hash, const uint8_t *bytes, uint8_t *out)
{
    return gnutls_hash_fast(hash == M5_SCRAM_SHA256 ? GNUTLS_DIG_SHA256 : GNUTLS_DIG_SHA512, bytes,
                            m5_scram_key_size(hash), out) == 0;
}

bool m5_scram_derive(enum m5_scram_hash hash, struct mqtt5_bytes password, const uint8_t *salt,
                     size_t salt_size, uint32_t iterations, uint8_t *client_key,
                     uint8_t *server_key)
{
    uint8_t salted[M5_SCRAM_KEY_MAX];
    const size_t size = m5_scram_key_size(hash);
    const gnutls_datum_t key = {.data = (uint8_t *)(uintptr_t)password.data,
                                .size = (unsigned)password.len};
    const gnutls_datum_t with = {.data = (uint8_t *)(uintptr_t)salt, .size = (unsigned)salt_size};
    const bool done =
        gnutls_pbkdf2(m5_scram_mac(hash), &key, &with, iterations, salted, size) == 0 &&
        m5_scram_hmac(hash, salted, size, m5_bytes_of("Client Key"), client_key) &&
        m5_scram_hmac(hash, salted, size, m5_bytes_of("Server Key"), server_key);
    m5_wipe(salted, sizeof salted);
    return done;
}

bool m5_scram_attribute(struct mqtt5_bytes *rest, char name, struct mqtt5_bytes *value)
{
    if (rest->len < 2 || rest->data[0] != (uint8_t)name || rest->data[1] != '=')
        return false;
    *value = m5_bytes(rest->data + 2, rest->len - 2);
    const uint8_t *comma = value->len > 0 ? memchr(value->data, ',', value->len) : NULL;
    if (comma != NULL)
        value->len = (size_t)(comma - value->data);
    const size_t taken = 2 + value->len + (comma != NULL);
    *rest = m5_bytes(rest->data + taken, rest->len - taken);
    return true;
}

bool m5_scram_append(char *text, size_t *size, size_t size_max, struct mqtt5_bytes more)
{
    if (more.len > size_max - *size)
        return false;
    m5_copy((uint8_t *)text + *size, more);
    *size += more.len;
    return true;
}

bool m5_scram_nonce_valid(struct mqtt5_bytes nonce)
{
    for (size_t i = 0; i < nonce.len; i++) {
        if (nonce.data[i] < 0x21 || nonce.data[i] > 0x7E || nonce.data[i] == ',')
            return false;
    }
    return nonce.len > 0;
}

bool m5_scram_hash_of(struct mqtt5_bytes method, enum m5_scram_hash *hash)
{
    *hash = m5_text_equals(method, method_256) ? M5_SCRAM_SHA256 : M5_SCRAM_SHA512;
    return m5_text_equals(method, m5_scram_method(*hash));
}

const char *m5_scram_method(enum m5_scram_hash hash)
{
    return hash == M5_SCRAM_SHA256 ? method_256 : method_512;
}

bool m5_scram_nonce(char out[M5_SCRAM_NONCE_SIZE])
{
    uint8_t bytes[NONCE_BYTES];
    static_assert(M5_BASE64_SIZE(NONCE_BYTES) == M5_SCRAM_NONCE_SIZE, "no padding");
    if (gnutls_rnd(GNUTLS_RND_NONCE, bytes, sizeof bytes) != 0)
        return false;
    m5_base64_encode(m5_bytes(bytes, sizeof bytes), M5_BASE64_PADDED, out);
    return true;
}

/* ---- stored keys ---- */

static struct mqtt5_bytes next_field(struct mqtt5_bytes *rest)
{
    const uint8_t *colon = rest->len > 0 ? memchr(rest->data, ':', rest->len) : NULL;
    const struct mqtt5_bytes field =
        m5_bytes(rest->data, colon != NULL ? (size_t)(colon - rest->data) : rest->len);
    const size_t taken = field.len + (colon != NULL);
    *rest = m5_bytes(rest->data + taken, rest->len - taken);
    return field;
}

static bool decode_key(struct mqtt5_bytes text, uint8_t out[M5_SCRAM_KEY_MAX], size_t *size)
{
    return m5_base64_decode(text, M5_BASE64_PADDED, out, M5_SCRAM_KEY_MAX, size) &&
           (*size == SHA256_KEY_SIZE || *size == SHA512_KEY_SIZE);
}

bool m5_scram_parse(struct mqtt5_bytes text, struct m5_scram_keys *out, const char **why)
{
    *out = (struct m5_scram_keys){0};
    size_t server_size = 0;
    struct mqtt5_bytes rest = text;
    const struct mqtt5_bytes salt = next_field(&rest), iterations = next_field(&rest);
    const struct mqtt5_bytes stored = next_field(&rest), server = next_field(&rest);
    *why = "the salt is not base64 of 8 to 64 bytes; make a line with mqttv5 scram";
    if (!m5_base64_decode(salt, M5_BASE64_PADDED, out->salt, sizeof out->salt, &out->salt_size) ||
        out->salt_size < M5_SCRAM_SALT_MIN)
        return false;
    *why = "the iterations are not 4096 to 2000000";
    if (!m5_text_number(iterations, M5_SCRAM_ITERATIONS_MAX, &out->iterations) ||
        out->iterations < M5_SCRAM_ITERATIONS_MIN)
        return false;
    *why = "the two keys are not base64 of 32 bytes each (SHA-256) or 64 (SHA-512)";
    if (rest.len > 0 || !decode_key(stored, out->stored, &out->key_size) ||
        !decode_key(server, out->server, &server_size) || server_size != out->key_size)
        return false;
    out->hash = out->key_size == SHA256_KEY_SIZE ? M5_SCRAM_SHA256 : M5_SCRAM_SHA512;
    return true;
}

bool m5_users_scram_check(struct mqtt5_bytes stored, uint32_t *variant, const char **why)
{
    struct m5_scram_keys keys;
    const bool readable = m5_scram_parse(stored, &keys, why);
    *variant = (uint32_t)keys.hash;
    m5_wipe(&keys, sizeof keys);
    return readable;
}

bool m5_scram_make(struct mqtt5_bytes password, enum m5_scram_hash hash, uint32_t iterations,
                   char out[M5_SCRAM_TEXT_SIZE])
{
    uint8_t salt[NEW_SALT_SIZE], client_key[M5_SCRAM_KEY_MAX], server_key[M5_SCRAM_KEY_MAX];
    uint8_t stored_key[M5_SCRAM_KEY_MAX];
    char salt_text[M5_BASE64_SIZE(NEW_SALT_SIZE)];
    char stored_text[M5_BASE64_SIZE(M5_SCRAM_KEY_MAX)], server_text[sizeof stored_text];
    const size_t size = m5_scram_key_size(hash);
    const bool done =
        gnutls_rnd(GNUTLS_RND_NONCE, salt, sizeof salt) == 0 &&
        m5_scram_derive(hash, password, salt, sizeof salt, iterations, client_key, server_key) &&
        m5_scram_digest(hash, client_key, stored_key);
    m5_wipe(client_key, sizeof client_key);
    if (!done)
        return false;
    m5_base64_encode(m5_bytes(salt, sizeof salt), M5_BASE64_PADDED, salt_text);
    m5_base64_encode(m5_bytes(stored_key, size), M5_BASE64_PADDED, stored_text);
    m5_base64_encode(m5_bytes(server_key, size), M5_BASE64_PADDED, server_text);
    snprintf(out, M5_SCRAM_TEXT_SIZE, "%s:%u:%s:%s", salt_text, iterations, stored_text,
             server_text);
    return true;
}

/* ---- the server's side ---- */

static enum m5_scram_answer refuse(struct m5_scram_server *server, const char *why)
{
    server->step = 2;
    server->why = why;
    return M5_SCRAM_REFUSED;
}

void m5_scram_server_init(struct m5_scram_server *server, enum m5_scram_hash hash)
{
    *server = (struct m5_scram_server){.hash = hash};
}

/* "n,," or "y,,", with an authorization identity in it or not. NULL when it is served. */
static const char *take_header(struct m5_scram_server *server, struct mqtt5_bytes *message,
                               struct mqtt5_bytes *identity)
{
    struct mqtt5_bytes rest = *message;
    *identity = m5_bytes(NULL, 0);
    if (rest.len >= 2 && rest.data[0] == 'p' && rest.data[1] == '=')
        return "channel binding is not supported";
    if (rest.len < 3 || (rest.data[0] != 'n' && rest.data[0] != 'y') || rest.data[1] != ',')
        return "the first message has no GS2 header";
    rest = m5_bytes(rest.data + 2, rest.len - 2);
    if (rest.data[0] == ',')
        rest = m5_bytes(rest.data + 1, rest.len - 1);
    else if (!m5_scram_attribute(&rest, 'a', identity) || identity->len == 0 ||
             identity->data + identity->len + 1 != rest.data)
        return "the authorization identity cannot be read";
    const struct mqtt5_bytes header = m5_bytes(message->data, message->len - rest.len);
    m5_scram_append(server->header, &server->header_size, sizeof server->header, header);
    *message = rest;
    return NULL;
}

/* "=2C" is a comma, "=3D" an equals sign; no other '=' may stand in a name. */
static bool decode_name(struct mqtt5_bytes text, char *out, size_t *size)
{
    *size = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        if (byte == '=') {
            const struct mqtt5_bytes code = m5_bytes(text.data + i, text.len - i < 3 ? 0 : 3);
            const bool comma = m5_text_equals(code, "=2C");
            if (!comma && !m5_text_equals(code, "=3D"))
                return false;
            byte = comma ? ',' : '=';
            i += 2;
        }
        out[(*size)++] = (char)byte;
    }
    return *size > 0 && mqtt5_utf8_check(m5_bytes(out, *size)) == MQTT5_OK;
}

/* Keys that nobody has the password of: the salt of a name is always the same. */
static bool make_up_keys(struct m5_scram_server *server, const struct m5_users *users,
                         const uint8_t secret[M5_SCRAM_SECRET_SIZE])
{
    const char *why;
    uint8_t digest[M5_SCRAM_KEY_MAX];
    const struct mqtt5_bytes name = m5_bytes(server->user, server->user_size);
    const struct m5_user *decoy = m5_users_decoy(users, name);
    struct m5_scram_keys keys = {.iterations = M5_SCRAM_ITERATIONS, .salt_size = NEW_SALT_SIZE};
    if (decoy != NULL && !m5_scram_parse(decoy->stored, &keys, &why))
        return false;
    if (!m5_scram_hmac(M5_SCRAM_SHA512, secret, M5_SCRAM_SECRET_SIZE, name, digest))
        return false;
    keys.hash = server->hash;
    keys.key_size = m5_scram_key_size(server->hash);
    memcpy(keys.salt, digest, keys.salt_size);
    memcpy(keys.stored, digest, sizeof keys.stored);
    memcpy(keys.server, digest, sizeof keys.server);
    server->keys = keys;
    return true;
}

static bool find_keys(struct m5_scram_server *server, const struct m5_users *users,
                      const uint8_t secret[M5_SCRAM_SECRET_SIZE])
{
    const char *why;
    const struct mqtt5_bytes name = m5_bytes(server->user, server->user_size);
    const struct m5_user *user = m5_users_find(users, name, (uint32_t)server->hash);
    server->exists = user != NULL;
    return user != NULL ? m5_scram_parse(user->stored, &server->keys, &why)
                        : make_up_keys(server, users, secret);
}

/* "n=NAME,r=NONCE", after the header. NULL when it could be read. */
static const char *take_bare(struct m5_scram_server *server, struct mqtt5_bytes bare,
                             struct mqtt5_bytes identity)
{
    struct mqtt5_bytes rest = bare, name, nonce, ignored;
    char identity_text[M5_SCRAM_MESSAGE_MAX];
    size_t identity_size = 0;
    if (m5_scram_attribute(&rest, 'm', &ignored))
        return "extensions are not supported";
    if (!m5_scram_attribute(&rest, 'n', &name) ||
        !decode_name(name, server->user, &server->user_size))
        return "the user name cannot be read";
    if (!m5_scram_attribute(&rest, 'r', &nonce) || !m5_scram_nonce_valid(nonce))
        return "the nonce cannot be read";
    if (identity.len > 0 && (!decode_name(identity, identity_text, &identity_size) ||
                             identity_size != server->user_size ||
                             memcmp(identity_text, server->user, identity_size) != 0))
        return "one user may not act as another";
    m5_scram_append(server->nonce, &server->nonce_size, sizeof server->nonce, nonce);
    m5_scram_append(server->auth, &server->auth_size, sizeof server->auth, bare);
    return NULL;
}

static bool write_challenge(struct m5_scram_server *server, const char *nonce,
                            struct m5_scram_message *out)
{
    char salt[M5_BASE64_SIZE(M5_SCRAM_SALT_MAX)];
    if (!m5_scram_append(server->nonce, &server->nonce_size, sizeof server->nonce,
                         m5_bytes_of(nonce)))
        return false;
    m5_base64_encode(m5_bytes(server->keys.salt, server->keys.salt_size), M5_BASE64_PADDED, salt);
    const int size =
        snprintf(out->text, sizeof out->text, "r=%.*s,s=%s,i=%u", (int)server->nonce_size,
                 server->nonce, salt, server->keys.iterations);
    if (size < 0 || (size_t)size >= sizeof out->text)
        return false;
    out->size = (size_t)size;
    return m5_scram_append(server->auth, &server->auth_size, sizeof server->auth,
                           m5_bytes_of(",")) &&
           m5_scram_append(server->auth, &server->auth_size, sizeof server->auth,
                           m5_bytes(out->text, out->size));
}

enum m5_scram_answer m5_scram_server_first(struct m5_scram_server *server,
                                           struct mqtt5_bytes message, const struct m5_users *users,
                                           const uint8_t secret[M5_SCRAM_SECRET_SIZE],
                                           const char *nonce, struct m5_scram_message *out)
{
    struct mqtt5_bytes identity;
    out->size = 0;
    if (server->step != 0)
        return refuse(server, "a message out of order");
    if (message.len > M5_SCRAM_MESSAGE_MAX)
        return refuse(server, "the first message is too long");
    const char *why = take_header(server, &message, &identity);
    if (why == NULL)
        why = take_bare(server, message, identity);
    if (why != NULL)
        return refuse(server, why);
    if (!find_keys(server, users, secret))
        return refuse(server, "no memory for the keys");
    if (!write_challenge(server, nonce, out))
        return refuse(server, "the nonce is too long");
    server->step = 1;
    return M5_SCRAM_CONTINUE;
}

/* Splits "c=...,r=...,p=PROOF" before ",p=": the proof is the last attribute. */
static bool split_proof(struct mqtt5_bytes message, struct mqtt5_bytes *before,
                        struct mqtt5_bytes *proof)
{
    for (size_t i = message.len; i >= 3; i--) {
        const uint8_t *at = message.data + i - 3;
        if (memcmp(at, ",p=", 3) != 0)
            continue;
        *before = m5_bytes(message.data, i - 3);
        *proof = m5_bytes(message.data + i, message.len - i);
        return true;
    }
    return false;
}

/* NULL when header and nonce are those of the first messages. */
static const char *check_final(const struct m5_scram_server *server, struct mqtt5_bytes rest)
{
    uint8_t header[M5_SCRAM_MESSAGE_MAX];
    size_t size = 0;
    struct mqtt5_bytes binding, nonce;
    if (!m5_scram_attribute(&rest, 'c', &binding) ||
        !m5_base64_decode(binding, M5_BASE64_PADDED, header, sizeof header, &size) ||
        !m5_bytes_equal(m5_bytes(header, size), m5_bytes(server->header, server->header_size)))
        return "the channel binding is another than at first";
    if (!m5_scram_attribute(&rest, 'r', &nonce) ||
        !m5_bytes_equal(nonce, m5_bytes(server->nonce, server->nonce_size)))
        return "the nonce is another than at first";
    return NULL;
}

/* True when the proof is made with the user's password. */
static bool check_proof(const struct m5_scram_server *server, struct mqtt5_bytes text)
{
    uint8_t proof[M5_SCRAM_KEY_MAX] = {0}, key[M5_SCRAM_KEY_MAX], digest[M5_SCRAM_KEY_MAX];
    size_t proof_size = 0;
    const struct m5_scram_keys *keys = &server->keys;
    const bool read =
        m5_base64_decode(text, M5_BASE64_PADDED, proof, keys->key_size, &proof_size) &&
        proof_size == keys->key_size;
    if (!m5_scram_hmac(keys->hash, keys->stored, keys->key_size,
                       m5_bytes(server->auth, server->auth_size), key))
        return false;
    for (size_t i = 0; i < keys->key_size; i++)
        key[i] ^= proof[i];
    const bool same = m5_scram_digest(keys->hash, key, digest) &&
                      gnutls_memcmp(digest, keys->stored, keys->key_size) == 0;
    m5_wipe(key, sizeof key);
    return same && read && server->exists;
}

static bool write_signature(const struct m5_scram_server *server, struct m5_scram_message *out)
{
    uint8_t signature[M5_SCRAM_KEY_MAX];
    if (!m5_scram_hmac(server->hash, server->keys.server, server->keys.key_size,
                       m5_bytes(server->auth, server->auth_size), signature))
        return false;
    memcpy(out->text, "v=", 2);
    out->size = 2 + m5_base64_encode(m5_bytes(signature, server->keys.key_size), M5_BASE64_PADDED,
                                     out->text + 2);
    return true;
}

enum m5_scram_answer m5_scram_server_final(struct m5_scram_server *server,
                                           struct mqtt5_bytes message, struct m5_scram_message *out)
{
    struct mqtt5_bytes before, proof;
    out->size = 0;
    if (server->step != 1)
        return refuse(server, "a message out of order");
    if (message.len > M5_SCRAM_MESSAGE_MAX || !split_proof(message, &before, &proof))
        return refuse(server, "the second message has no proof");
    const char *why = check_final(server, before);
    if (why != NULL)
        return refuse(server, why);
    if (!m5_scram_append(server->auth, &server->auth_size, sizeof server->auth, m5_bytes_of(",")) ||
        !m5_scram_append(server->auth, &server->auth_size, sizeof server->auth, before))
        return refuse(server, "the second message is too long");
    const bool proved = check_proof(server, proof);
    const bool written = proved && write_signature(server, out);
    m5_wipe(&server->keys, sizeof server->keys);
    if (!written)
        return refuse(server, "unknown user or wrong password");
    server->step = 2;
    return M5_SCRAM_DONE;
}

struct mqtt5_bytes m5_scram_server_user(const struct m5_scram_server *server)
{
    return m5_bytes(server->user, server->user_size);
}

/* ---- PLAIN ---- */

bool m5_plain_parse(struct mqtt5_bytes message, struct mqtt5_bytes *user,
                    struct mqtt5_bytes *password)
{
    const uint8_t *first = message.len > 0 ? memchr(message.data, 0, message.len) : NULL;
    if (first == NULL)
        return false;
    const struct mqtt5_bytes identity = m5_bytes(message.data, (size_t)(first - message.data));
    const struct mqtt5_bytes rest = m5_bytes(first + 1, message.len - identity.len - 1);
    const uint8_t *second = rest.len > 0 ? memchr(rest.data, 0, rest.len) : NULL;
    if (second == NULL)
        return false;
    *user = m5_bytes(rest.data, (size_t)(second - rest.data));
    *password = m5_bytes(second + 1, rest.len - user->len - 1);
    const bool more = password->len > 0 && memchr(password->data, 0, password->len) != NULL;
    return !more && user->len > 0 && mqtt5_utf8_check(*user) == MQTT5_OK &&
           (identity.len == 0 || m5_bytes_equal(identity, *user));
}
