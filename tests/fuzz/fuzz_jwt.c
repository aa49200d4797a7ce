/* Tokens as they come, claims that are signed well, and sets of keys.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/base64.h"
#include "base/bytes.h"
#include "host/auth/jwt.h"

#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW        1700000000u
#define CLAIMS_MAX 4096

static const char secret[] = "a secret of more than thirty-two bytes";
static const char public_keys[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
                                  "\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
                                  "\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},{"
                                  "\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                                  "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

/* Made once: the keys are not what is tested here. */
static const struct m5_jwt_keys *known_keys(void)
{
    static struct m5_jwt_keys *keys;
    struct m5_text_error error;
    if (keys != NULL)
        return keys;
    keys = m5_jwt_keys_new();
    M5_ASSERT(keys != NULL);
    M5_ASSERT(m5_jwt_keys_add_secret(keys, m5_bytes(NULL, 0), m5_bytes_of(secret), &error));
    M5_ASSERT(m5_jwt_keys_add_jwks(keys, m5_bytes_of(public_keys), &error));
    return keys;
}

static void verify(struct mqtt5_bytes token)
{
    static const struct m5_jwt_rules rules = {
        .issuer = "us", .audience = "mqtt", .clock_skew_s = 60, .lifetime_max_s = 86400};
    struct m5_jwt_claims claims;
    m5_jwt_says_issuer(token, "issuer"); /* of whatever it is */
    const char *why = m5_jwt_verify(known_keys(), &rules, token, NOW, &claims);
    M5_ASSERT((why == NULL) == (claims.payload != NULL));
    if (why == NULL) {
        M5_ASSERT(claims.subject_size > 0 && claims.subject_size <= M5_JWT_SUBJECT_MAX);
        M5_ASSERT(strlen(claims.subject) == claims.subject_size);
        M5_ASSERT(claims.expires_s + rules.clock_skew_s > NOW);
    }
    m5_jwt_claims_fini(&claims);
}

static void sign_and_verify(struct mqtt5_bytes claims)
{
    static char token[2 * CLAIMS_MAX];
    static const char header[] = "eyJhbGciOiJIUzI1NiJ9.";
    uint8_t signature[32];
    if (claims.len > CLAIMS_MAX)
        return;
    size_t size = sizeof header - 1;
    memcpy(token, header, size);
    size += m5_base64_encode(claims, M5_BASE64_URL, token + size);
    gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, sizeof secret - 1, token, size, signature);
    token[size++] = '.';
    size += m5_base64_encode(m5_bytes(signature, sizeof signature), M5_BASE64_URL, token + size);
    verify(m5_bytes(token, size));
}

static void read_keys(struct mqtt5_bytes text, bool is_pem)
{
    struct m5_text_error error;
    struct m5_jwt_keys *keys = m5_jwt_keys_new();
    M5_ASSERT(keys != NULL);
    if (is_pem)
        m5_jwt_keys_add_pem(keys, m5_bytes(NULL, 0), text, &error);
    else
        m5_jwt_keys_add_jwks(keys, text, &error);
    M5_ASSERT(m5_jwt_keys_count(keys) <= M5_JWT_KEYS_MAX);
    m5_jwt_keys_free(keys);
}

/* The first byte says what the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct mqtt5_bytes rest = m5_bytes(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0: verify(rest); break;
    case 1: sign_and_verify(rest); break;
    case 2: read_keys(rest, false); break;
    default: read_keys(rest, true); break;
    }
    return 0;
}
