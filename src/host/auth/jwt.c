/* JSON Web Tokens: signatures and claims.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/jwt_keys.h"

#include "base/base64.h"
#include "base/bytes.h"

#include <mqtt5/topic.h>

#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAX    2048 /* bytes, decoded */
#define SIGNATURE_MAX 1024 /* of RSA with 8192 bits */
#define HS256_SIZE    32
#define ES256_SIZE    64
#define TIME_MAX      9007199254740991.0 /* what a double counts in ones */

/* A token's parts, still encoded. */
struct parts {
    struct mqtt5_bytes header, payload, signature;
    struct mqtt5_bytes is_signed; /* header, dot, payload */
};

struct header {
    enum m5_jwt_algorithm algorithm;
    struct mqtt5_bytes kid; /* into the JSON; empty: none */
};

/* ---- JSON ---- */

/* True when objects and lists do not go deeper than allowed: the reader calls itself. */
static bool is_shallow(struct mqtt5_bytes text)
{
    uint32_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t byte = text.data[i];
        if (quoted && byte == '\\')
            i++;
        else if (byte == '"')
            quoted = !quoted;
        else if (!quoted && (byte == '{' || byte == '[') && ++depth > M5_JWT_DEPTH_MAX)
            return false;
        else if (!quoted && (byte == '}' || byte == ']') && depth > 0)
            depth--;
    }
    return true;
}

json_t *m5_jwt_json(struct mqtt5_bytes text, const char **why)
{
    json_error_t error;
    *why = "objects in it are too deep";
    if (!is_shallow(text))
        return NULL;
    *why = "it is not valid JSON, or no object";
    if (text.len == 0)
        return NULL;
    json_t *json = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &error);
    if (json != NULL && json_is_object(json)) {
        *why = NULL;
        return json;
    }
    json_decref(json);
    return NULL;
}

/* ---- parts ---- */

static bool split(struct mqtt5_bytes token, struct parts *out)
{
    const uint8_t *first = token.len > 0 ? memchr(token.data, '.', token.len) : NULL;
    if (first == NULL)
        return false;
    out->header = m5_bytes(token.data, (size_t)(first - token.data));
    const struct mqtt5_bytes rest = m5_bytes(first + 1, token.len - out->header.len - 1);
    const uint8_t *second = rest.len > 0 ? memchr(rest.data, '.', rest.len) : NULL;
    if (second == NULL)
        return false;
    out->payload = m5_bytes(rest.data, (size_t)(second - rest.data));
    out->signature = m5_bytes(second + 1, rest.len - out->payload.len - 1);
    out->is_signed = m5_bytes(token.data, (size_t)(second - token.data));
    return true;
}

static const char *read_header(const json_t *json, struct header *out)
{
    static const char *const names[] = {"HS256", "RS256", "ES256", "EdDSA"};
    const char *name = json_string_value(json_object_get(json, "alg"));
    const json_t *kid = json_object_get(json, "kid");
    if (json_object_get(json, "crit") != NULL)
        return "its header wants an extension (crit)";
    if (kid != NULL && !json_is_string(kid))
        return "its key's name (kid) is no text";
    out->kid = m5_bytes(json_string_value(kid), json_string_length(kid));
    for (unsigned i = 0; name != NULL && i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            out->algorithm = (enum m5_jwt_algorithm)i;
            return NULL;
        }
    }
    return "its algorithm is none of HS256, RS256, ES256 and EdDSA";
}

/* ---- signatures ---- */

static gnutls_datum_t datum_of(struct mqtt5_bytes bytes)
{
    return (gnutls_datum_t){.data = (uint8_t *)(uintptr_t)bytes.data, .size = (unsigned)bytes.len};
}

static bool verify_hmac(const struct m5_jwt_key *key, struct mqtt5_bytes text,
                        struct mqtt5_bytes signature)
{
    uint8_t ours[HS256_SIZE];
    return signature.len == sizeof ours &&
           gnutls_hmac_fast(GNUTLS_MAC_SHA256, key->secret.data, key->secret.size, text.data,
                            text.len, ours) == 0 &&
           gnutls_memcmp(ours, signature.data, sizeof ours) == 0;
}

static bool verify_public(const struct m5_jwt_key *key, gnutls_sign_algorithm_t algorithm,
                          struct mqtt5_bytes text, struct mqtt5_bytes signature)
{
    const gnutls_datum_t data = datum_of(text), sig = datum_of(signature);
    return gnutls_pubkey_verify_data2(key->public_key, algorithm, 0, &data, &sig) >= 0;
}

/* A token has the two numbers one behind the other, the library wants them in DER. */
static bool verify_ecdsa(const struct m5_jwt_key *key, struct mqtt5_bytes text,
                         struct mqtt5_bytes signature)
{
    gnutls_datum_t der = {0};
    if (signature.len != ES256_SIZE)
        return false;
    const gnutls_datum_t r = datum_of(m5_bytes(signature.data, ES256_SIZE / 2));
    const gnutls_datum_t s = datum_of(m5_bytes(signature.data + ES256_SIZE / 2, ES256_SIZE / 2));
    if (gnutls_encode_rs_value(&der, &r, &s) != 0)
        return false;
    const bool good =
        verify_public(key, GNUTLS_SIGN_ECDSA_SHA256, text, m5_bytes(der.data, der.size));
    gnutls_free(der.data);
    return good;
}

static bool verify_with(const struct m5_jwt_key *key, struct mqtt5_bytes text,
                        struct mqtt5_bytes signature)
{
    switch (key->algorithm) {
    case M5_JWT_HS256: return verify_hmac(key, text, signature);
    case M5_JWT_RS256: return verify_public(key, GNUTLS_SIGN_RSA_SHA256, text, signature);
    case M5_JWT_ES256: return verify_ecdsa(key, text, signature);
    case M5_JWT_EDDSA: break;
    }
    return verify_public(key, GNUTLS_SIGN_EDDSA_ED25519, text, signature);
}

/* A key that has a name is for tokens that say it, or say none. */
static bool is_for(const struct m5_jwt_key *key, const struct header *header)
{
    return key->algorithm == header->algorithm &&
           (key->kid_size == 0 || header->kid.len == 0 ||
            m5_bytes_equal(m5_bytes(key->kid, key->kid_size), header->kid));
}

const char m5_jwt_no_key[] = "there is no key for it (kid and algorithm)";

static const char *verify_signature(const struct m5_jwt_keys *keys, const struct header *header,
                                    const struct parts *parts)
{
    uint8_t bytes[SIGNATURE_MAX];
    size_t size = 0;
    const char *why = m5_jwt_no_key;
    if (!m5_base64_decode(parts->signature, M5_BASE64_URL, bytes, sizeof bytes, &size))
        return "its signature cannot be read";
    for (size_t i = 0; i < keys->count; i++) {
        if (!is_for(&keys->items[i], header))
            continue;
        if (verify_with(&keys->items[i], parts->is_signed, m5_bytes(bytes, size)))
            return NULL;
        why = "its signature is wrong";
    }
    return why;
}

static const char *verify_parts(const struct m5_jwt_keys *keys, const struct parts *parts)
{
    uint8_t text[HEADER_MAX];
    size_t size = 0;
    const char *why = "its header cannot be read";
    struct header header;
    if (!m5_base64_decode(parts->header, M5_BASE64_URL, text, sizeof text, &size))
        return why;
    json_t *json = m5_jwt_json(m5_bytes(text, size), &why);
    if (json == NULL)
        return why;
    why = read_header(json, &header);
    if (why == NULL)
        why = verify_signature(keys, &header, parts);
    json_decref(json);
    return why;
}

const char *m5_jws_verify(const struct m5_jwt_keys *keys, struct mqtt5_bytes token,
                          struct m5_text *payload)
{
    struct parts parts;
    *payload = (struct m5_text){0};
    if (token.len > M5_JWT_SIZE_MAX)
        return "it is longer than 16384 bytes";
    if (!split(token, &parts))
        return "it is no token: two dots are missing";
    const char *why = verify_parts(keys, &parts);
    if (why != NULL)
        return why;
    payload->capacity = parts.payload.len + 1;
    payload->data = malloc(payload->capacity);
    if (payload->data == NULL)
        return "out of memory";
    if (m5_base64_decode(parts.payload, M5_BASE64_URL, payload->data, payload->capacity,
                         &payload->size))
        return NULL;
    m5_text_free(payload);
    return "its payload cannot be read";
}

/* ---- claims ---- */

/* 0 in *out when there is none and it is not required. */
static const char *read_time(const json_t *claims, const char *name, bool required,
                             const char *otherwise, uint64_t *out)
{
    const json_t *value = json_object_get(claims, name);
    *out = 0;
    if (value == NULL)
        return required ? otherwise : NULL;
    const double seconds = json_number_value(value);
    if (!json_is_number(value) || !(seconds >= 0) || seconds > TIME_MAX)
        return otherwise;
    *out = (uint64_t)seconds;
    return NULL;
}

static const char *check_times(const json_t *claims, const struct m5_jwt_rules *rules,
                               uint64_t now_s, uint64_t *expires_s)
{
    uint64_t not_before;
    const char *why = read_time(claims, "exp", true, "it does not say until when (exp)", expires_s);
    if (why == NULL)
        why =
            read_time(claims, "nbf", false, "since when it is good (nbf) is no time", &not_before);
    if (why != NULL)
        return why;
    if (now_s >= *expires_s + rules->clock_skew_s)
        return "it has expired";
    if (now_s + rules->clock_skew_s < not_before)
        return "it is not good yet (nbf)";
    if (rules->lifetime_max_s > 0 &&
        *expires_s > now_s + rules->lifetime_max_s + rules->clock_skew_s)
        return "it is good for longer than is allowed";
    return NULL;
}

static bool is_text(const json_t *value, const char *wanted)
{
    return json_is_string(value) &&
           m5_bytes_equal(m5_bytes(json_string_value(value), json_string_length(value)),
                          m5_bytes_of(wanted));
}

static bool names_audience(const json_t *audience, const char *wanted)
{
    for (size_t i = 0; i < json_array_size(audience); i++) {
        if (is_text(json_array_get(audience, i), wanted))
            return true;
    }
    return is_text(audience, wanted);
}

static const char *read_subject(const json_t *claims, struct m5_jwt_claims *out)
{
    const json_t *value = json_object_get(claims, "sub");
    const struct mqtt5_bytes text = m5_bytes(json_string_value(value), json_string_length(value));
    if (!json_is_string(value) || text.len == 0 || text.len > M5_JWT_SUBJECT_MAX)
        return "it names no user of 1 to 256 bytes (sub)";
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7F)
            return "its user (sub) has a control character";
    }
    if (mqtt5_utf8_check(text) != MQTT5_OK)
        return "its user (sub) is no text of MQTT";
    m5_copy((uint8_t *)out->subject, text);
    out->subject_size = text.len;
    return NULL;
}

static const char *check_claims(const json_t *claims, const struct m5_jwt_rules *rules,
                                uint64_t now_s, struct m5_jwt_claims *out)
{
    const char *why = check_times(claims, rules, now_s, &out->expires_s);
    if (why != NULL)
        return why;
    if (rules->issuer != NULL && !is_text(json_object_get(claims, "iss"), rules->issuer))
        return "it is from another issuer (iss)";
    if (rules->audience != NULL && !names_audience(json_object_get(claims, "aud"), rules->audience))
        return "it is for others (aud)";
    return read_subject(claims, out);
}

const char *m5_jwt_verify(const struct m5_jwt_keys *keys, const struct m5_jwt_rules *rules,
                          struct mqtt5_bytes token, uint64_t now_s, struct m5_jwt_claims *out)
{
    struct m5_text payload;
    *out = (struct m5_jwt_claims){0};
    const char *why = m5_jws_verify(keys, token, &payload);
    if (why != NULL)
        return why;
    json_t *claims = m5_jwt_json(m5_bytes(payload.data, payload.size), &why);
    m5_text_free(&payload);
    if (claims == NULL)
        return why;
    why = check_claims(claims, rules, now_s, out);
    if (why == NULL) {
        out->payload = claims;
        return NULL;
    }
    json_decref(claims);
    *out = (struct m5_jwt_claims){0};
    return why;
}

void m5_jwt_claims_fini(struct m5_jwt_claims *claims)
{
    json_decref(claims->payload);
    *claims = (struct m5_jwt_claims){0};
}

bool m5_jwt_says_issuer(struct mqtt5_bytes token, const char *issuer)
{
    struct parts parts;
    size_t size = 0;
    const char *why;
    if (token.len > M5_JWT_SIZE_MAX || !split(token, &parts))
        return false;
    uint8_t *text = malloc(parts.payload.len + 1);
    json_t *claims = NULL;
    if (text != NULL &&
        m5_base64_decode(parts.payload, M5_BASE64_URL, text, parts.payload.len, &size))
        claims = m5_jwt_json(m5_bytes(text, size), &why);
    const bool says = claims != NULL && is_text(json_object_get(claims, "iss"), issuer);
    json_decref(claims);
    free(text);
    return says;
}
