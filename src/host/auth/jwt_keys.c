/* Keys that verify tokens: secrets, PEM, JSON Web Keys.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/jwt_keys.h"

#include "base/base64.h"
#include "base/bytes.h"

#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 1024 /* bytes of a number or secret in a JSON Web Key */

static const char too_many[] = "there are more than 64 keys";

static gnutls_datum_t datum_of(struct mqtt5_bytes bytes)
{
    return (gnutls_datum_t){.data = (uint8_t *)(uintptr_t)bytes.data, .size = (unsigned)bytes.len};
}

struct m5_jwt_keys *m5_jwt_keys_new(void)
{
    return calloc(1, sizeof(struct m5_jwt_keys));
}

static void key_fini(struct m5_jwt_key *key)
{
    if (key->public_key != NULL)
        gnutls_pubkey_deinit(key->public_key);
    m5_text_free(&key->secret);
}

void m5_jwt_keys_free(struct m5_jwt_keys *keys)
{
    if (keys == NULL)
        return;
    for (size_t i = 0; i < keys->count; i++)
        key_fini(&keys->items[i]);
    free(keys);
}

size_t m5_jwt_keys_count(const struct m5_jwt_keys *keys)
{
    return keys->count;
}

/* The next free place, named; NULL with a sentence. */
static struct m5_jwt_key *begin_key(struct m5_jwt_keys *keys, struct mqtt5_bytes kid,
                                    const char **why)
{
    if (keys->count == M5_JWT_KEYS_MAX) {
        *why = too_many;
        return NULL;
    }
    if (kid.len > M5_JWT_KID_MAX) {
        *why = "the key's name (kid) has more than 256 bytes";
        return NULL;
    }
    struct m5_jwt_key *key = &keys->items[keys->count];
    *key = (struct m5_jwt_key){.kid_size = kid.len};
    m5_copy((uint8_t *)key->kid, kid);
    return key;
}

/* Keeps the key, or gives it back when there is a sentence. */
static const char *end_key(struct m5_jwt_keys *keys, struct m5_jwt_key *key, const char *why)
{
    if (why == NULL)
        keys->count++;
    else
        key_fini(key);
    return why;
}

static const char *add_secret(struct m5_jwt_keys *keys, struct mqtt5_bytes kid,
                              struct mqtt5_bytes secret)
{
    const char *why = NULL;
    struct m5_jwt_key *key = begin_key(keys, kid, &why);
    if (key == NULL)
        return why;
    if (secret.len < M5_JWT_SECRET_MIN)
        return "the secret has fewer than 32 bytes: it could be guessed";
    key->algorithm = M5_JWT_HS256;
    key->secret.data = malloc(secret.len);
    if (key->secret.data == NULL)
        return "out of memory";
    key->secret.size = key->secret.capacity = secret.len;
    m5_copy(key->secret.data, secret);
    return end_key(keys, key, NULL);
}

/* The algorithm that a public key is for; a sentence when it is for none of ours. */
static const char *classify(struct m5_jwt_key *key)
{
    unsigned bits = 0;
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    switch (gnutls_pubkey_get_pk_algorithm(key->public_key, &bits)) {
    case GNUTLS_PK_RSA:
        key->algorithm = M5_JWT_RS256;
        return bits < M5_JWT_RSA_MIN ? "the RSA key has fewer than 2048 bits" : NULL;
    case GNUTLS_PK_ECDSA:
        key->algorithm = M5_JWT_ES256;
        gnutls_pubkey_export_ecc_raw2(key->public_key, &curve, NULL, NULL, 0);
        return curve == GNUTLS_ECC_CURVE_SECP256R1 ? NULL : "the key is not on the curve P-256";
    case GNUTLS_PK_EDDSA_ED25519: key->algorithm = M5_JWT_EDDSA; return NULL;
    default: return "the key is neither RSA nor P-256 nor Ed25519";
    }
}

static bool import_certificate(gnutls_pubkey_t public_key, const gnutls_datum_t *pem)
{
    gnutls_x509_crt_t certificate;
    if (gnutls_x509_crt_init(&certificate) != 0)
        return false;
    const bool done = gnutls_x509_crt_import(certificate, pem, GNUTLS_X509_FMT_PEM) == 0 &&
                      gnutls_pubkey_import_x509(public_key, certificate, 0) == 0;
    gnutls_x509_crt_deinit(certificate);
    return done;
}

static const char *add_pem(struct m5_jwt_keys *keys, struct mqtt5_bytes kid, struct mqtt5_bytes pem)
{
    const char *why = NULL;
    struct m5_jwt_key *key = begin_key(keys, kid, &why);
    const gnutls_datum_t text = datum_of(pem);
    if (key == NULL)
        return why;
    if (gnutls_pubkey_init(&key->public_key) != 0)
        return end_key(keys, key, "out of memory");
    if (gnutls_pubkey_import(key->public_key, &text, GNUTLS_X509_FMT_PEM) != 0 &&
        !import_certificate(key->public_key, &text))
        return end_key(keys, key, "this is no public key and no certificate in PEM");
    return end_key(keys, key, classify(key));
}

/* ---- JSON Web Keys ---- */

/* A member in base64url, as bytes in @p out. */
static bool member(const json_t *jwk, const char *name, uint8_t out[NUMBER_MAX],
                   struct mqtt5_bytes *bytes)
{
    const json_t *value = json_object_get(jwk, name);
    size_t size = 0;
    if (!json_is_string(value) ||
        !m5_base64_decode(m5_bytes(json_string_value(value), json_string_length(value)),
                          M5_BASE64_URL, out, NUMBER_MAX, &size))
        return false;
    *bytes = m5_bytes(out, size);
    return size > 0;
}

static bool says(const json_t *jwk, const char *name, const char *text)
{
    const char *value = json_string_value(json_object_get(jwk, name));
    return value != NULL && strcmp(value, text) == 0;
}

static bool import_rsa(gnutls_pubkey_t public_key, const json_t *jwk)
{
    uint8_t buffers[2][NUMBER_MAX];
    struct mqtt5_bytes modulus, exponent;
    if (!member(jwk, "n", buffers[0], &modulus) || !member(jwk, "e", buffers[1], &exponent))
        return false;
    const gnutls_datum_t n = datum_of(modulus), e = datum_of(exponent);
    return gnutls_pubkey_import_rsa_raw(public_key, &n, &e) == 0;
}

static bool import_ec(gnutls_pubkey_t public_key, const json_t *jwk)
{
    uint8_t buffers[2][NUMBER_MAX];
    struct mqtt5_bytes across, up;
    if (!says(jwk, "crv", "P-256") || !member(jwk, "x", buffers[0], &across) ||
        !member(jwk, "y", buffers[1], &up))
        return false;
    const gnutls_datum_t x = datum_of(across), y = datum_of(up);
    return gnutls_pubkey_import_ecc_raw(public_key, GNUTLS_ECC_CURVE_SECP256R1, &x, &y) == 0;
}

static bool import_okp(gnutls_pubkey_t public_key, const json_t *jwk)
{
    uint8_t buffer[NUMBER_MAX];
    struct mqtt5_bytes point;
    if (!says(jwk, "crv", "Ed25519") || !member(jwk, "x", buffer, &point) || point.len != 32)
        return false;
    const gnutls_datum_t x = datum_of(point);
    return gnutls_pubkey_import_ecc_raw(public_key, GNUTLS_ECC_CURVE_ED25519, &x, NULL) == 0;
}

static const char *add_public_jwk(struct m5_jwt_keys *keys, struct mqtt5_bytes kid,
                                  const json_t *jwk)
{
    const char *why = NULL;
    struct m5_jwt_key *key = begin_key(keys, kid, &why);
    if (key == NULL)
        return why;
    if (gnutls_pubkey_init(&key->public_key) != 0)
        return end_key(keys, key, "out of memory");
    const bool done = says(jwk, "kty", "RSA")  ? import_rsa(key->public_key, jwk)
                      : says(jwk, "kty", "EC") ? import_ec(key->public_key, jwk)
                                               : import_okp(key->public_key, jwk);
    return end_key(keys, key, done ? classify(key) : "a key's numbers cannot be read");
}

static bool is_ours(const json_t *jwk)
{
    static const char *const algorithms[] = {"HS256", "RS256", "ES256", "EdDSA"};
    if (json_object_get(jwk, "use") != NULL && !says(jwk, "use", "sig"))
        return false;
    bool known = json_object_get(jwk, "alg") == NULL;
    for (size_t i = 0; i < 4; i++)
        known = known || says(jwk, "alg", algorithms[i]);
    const bool ours = says(jwk, "kty", "RSA") || says(jwk, "kty", "oct") ||
                      (says(jwk, "kty", "EC") && says(jwk, "crv", "P-256")) ||
                      (says(jwk, "kty", "OKP") && says(jwk, "crv", "Ed25519"));
    return known && ours;
}

static const char *add_jwk(struct m5_jwt_keys *keys, const json_t *jwk)
{
    uint8_t buffer[NUMBER_MAX];
    struct mqtt5_bytes secret;
    const json_t *name = json_object_get(jwk, "kid");
    const struct mqtt5_bytes kid = json_is_string(name)
                                       ? m5_bytes(json_string_value(name), json_string_length(name))
                                       : m5_bytes(NULL, 0);
    if (!is_ours(jwk))
        return NULL;
    if (!says(jwk, "kty", "oct"))
        return add_public_jwk(keys, kid, jwk);
    if (!member(jwk, "k", buffer, &secret))
        return "a key's secret cannot be read";
    const char *why = add_secret(keys, kid, secret);
    m5_wipe(buffer, sizeof buffer);
    return why;
}

/* ---- for others ---- */

static bool tell(const char *why, struct m5_text_error *error)
{
    return why == NULL || m5_text_fail(error, 0, 0, "%s", why);
}

bool m5_jwt_keys_add_secret(struct m5_jwt_keys *keys, struct mqtt5_bytes kid,
                            struct mqtt5_bytes secret, struct m5_text_error *error)
{
    return tell(add_secret(keys, kid, secret), error);
}

bool m5_jwt_keys_add_pem(struct m5_jwt_keys *keys, struct mqtt5_bytes kid, struct mqtt5_bytes pem,
                         struct m5_text_error *error)
{
    return tell(add_pem(keys, kid, pem), error);
}

bool m5_jwt_keys_add_jwks(struct m5_jwt_keys *keys, struct mqtt5_bytes json,
                          struct m5_text_error *error)
{
    const char *why = NULL;
    json_t *set = m5_jwt_json(json, &why);
    if (set == NULL)
        return tell(why, error);
    const json_t *list = json_object_get(set, "keys");
    if (list == NULL)
        why = add_jwk(keys, set);
    else if (!json_is_array(list))
        why = "\"keys\" is no list";
    for (size_t i = 0; why == NULL && i < json_array_size(list); i++)
        why = add_jwk(keys, json_array_get(list, i));
    json_decref(set);
    return tell(why, error);
}

/* ---- files ---- */

static struct mqtt5_bytes without_line_end(struct mqtt5_bytes text)
{
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    return text;
}

bool m5_jwt_keys_add_file(struct m5_jwt_keys *keys, const char *path, struct m5_text_error *error)
{
    struct m5_text text;
    const struct mqtt5_bytes no_kid = {0};
    if (!m5_text_read(path, &text, error))
        return false;
    const struct mqtt5_bytes bytes = m5_bytes(text.data, text.size);
    bool added;
    if (memmem(bytes.data, bytes.len, "-----BEGIN", 10) != NULL)
        added = m5_jwt_keys_add_pem(keys, no_kid, bytes, error);
    else if (bytes.len > 0 && bytes.data[0] == '{')
        added = m5_jwt_keys_add_jwks(keys, bytes, error);
    else
        added = m5_jwt_keys_add_secret(keys, no_kid, without_line_end(bytes), error);
    m5_text_free(&text);
    return added;
}

static const char *const algorithm_names[] = {"HS256", "RS256", "ES256", "EdDSA"};

bool m5_jwt_algorithm_known(const char *name)
{
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(name, algorithm_names[i]) == 0)
            return true;
    }
    return false;
}

void m5_jwt_keys_only(struct m5_jwt_keys *keys, const char *name)
{
    size_t kept = 0;
    for (size_t i = 0; i < keys->count; i++) {
        const enum m5_jwt_algorithm algorithm = keys->items[i].algorithm;
        const bool keep = name != NULL ? strcmp(name, algorithm_names[algorithm]) == 0
                                       : algorithm != M5_JWT_HS256;
        if (keep)
            keys->items[kept++] = keys->items[i];
        else
            key_fini(&keys->items[i]);
    }
    keys->count = kept;
}
