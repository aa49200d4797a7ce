/* Tokens: the examples of RFC 7515 and RFC 8037, claims, and every way to cheat.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/base64.h"
#include "base/bytes.h"
#include "host/auth/jwt.h"
#include "support/unit.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1700000000u

/* RFC 7515, A.1 to A.3: the payload is that of RFC 7519's example. */
#define PAYLOAD                                                  \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly" \
    "9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
static const char hs256_key[] =
    "{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0i"
    "PS4hcgUuTwjAzZr1Z9CAow\"}";
static const char hs256_token[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD
                                  ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
static const char rs256_key[] =
    "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp"
    "-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb"
    "_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxv"
    "b3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4F"
    "RWyuXpoQ\",\"e\":\"AQAB\"}";
static const char rs256_token[] =
    "eyJhbGciOiJSUzI1NiJ9." PAYLOAD
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2"
    "Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQ"
    "BMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6Ie"
    "YI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
static const char es256_key[] =
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
    "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";
static const char es256_token[] =
    "eyJhbGciOiJFUzI1NiJ9." PAYLOAD
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/* RFC 8037, A.2 and A.4. */
static const char eddsa_key[] = "{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
                                "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";
static const char eddsa_token[] =
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGc"
    "vMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

static const struct {
    const char *key, *token;
} examples[] = {{hs256_key, hs256_token},
                {rs256_key, rs256_token},
                {es256_key, es256_token},
                {eddsa_key, eddsa_token}};

static struct m5_jwt_keys *keys_of(const char *jwk)
{
    struct m5_text_error error = {0};
    struct m5_jwt_keys *keys = m5_jwt_keys_new();
    if (keys == NULL || !m5_jwt_keys_add_jwks(keys, m5_bytes_of(jwk), &error))
        fail_msg("%s: %s", jwk, error.text);
    return keys;
}

static void examples_of_the_rfcs_verify(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct m5_jwt_keys *keys = keys_of(examples[i].key);
        struct m5_text payload;
        const char *why = m5_jws_verify(keys, m5_bytes_of(examples[i].token), &payload);
        if (why != NULL)
            fail_msg("example %zu: %s", i, why);
        assert_memory_equal(payload.data, i == 3 ? "Example" : "{\"iss\":", 7);
        m5_text_free(&payload);
        for (size_t other = 0; other < 4; other++) {
            if (other != i)
                assert_non_null(m5_jws_verify(keys, m5_bytes_of(examples[other].token), &payload));
        }
        m5_jwt_keys_free(keys);
    }
}

/* Any other character anywhere, and it is not what was signed. */
static void every_character_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct m5_jwt_keys *keys = keys_of(examples[i].key);
        const size_t size = strlen(examples[i].token);
        char *text = strdup(examples[i].token);
        struct m5_text payload;
        for (size_t at = 0; at < size; at += i == 1 ? 5 : 1) {
            const char before = text[at];
            text[at] = before == 'A' ? 'B' : 'A';
            assert_non_null(m5_jws_verify(keys, m5_bytes(text, size), &payload));
            text[at] = before;
        }
        for (size_t shorter = 0; shorter < size; shorter += i == 1 ? 11 : 3)
            assert_non_null(m5_jws_verify(keys, m5_bytes(text, shorter), &payload));
        assert_null(m5_jws_verify(keys, m5_bytes(text, size), &payload));
        m5_text_free(&payload);
        free(text);
        m5_jwt_keys_free(keys);
    }
}

/* ---- tokens of our own ---- */

static const char secret[] = "a secret of more than thirty-two bytes";

static size_t encode(const char *text, char *out)
{
    return m5_base64_encode(m5_bytes_of(text), M5_BASE64_URL, out);
}

/* Signs with HS256; @p out has room for all. */
static const char *sign(const char *header, const char *claims, struct mqtt5_bytes with, char *out)
{
    uint8_t signature[32];
    size_t size = encode(header, out);
    out[size++] = '.';
    size += encode(claims, out + size);
    gnutls_hmac_fast(GNUTLS_MAC_SHA256, with.data, with.len, out, size, signature);
    out[size++] = '.';
    m5_base64_encode(m5_bytes(signature, sizeof signature), M5_BASE64_URL, out + size);
    return out;
}

static struct m5_jwt_keys *secret_keys(const char *kid)
{
    struct m5_text_error error;
    struct m5_jwt_keys *keys = m5_jwt_keys_new();
    assert_true(m5_jwt_keys_add_secret(keys, m5_bytes_of(kid), m5_bytes_of(secret), &error));
    return keys;
}

#define HS256 "{\"alg\":\"HS256\"}"

static void claims_are_checked(void **state)
{
    (void)state;
    static const struct m5_jwt_rules rules = {
        .issuer = "us", .audience = "mqtt", .clock_skew_s = 60, .lifetime_max_s = 86400};
    static const struct {
        const char *claims, *why; /* NULL: good */
    } cases[] = {
        {"{\"sub\":\"u\",\"exp\":1700000001,\"iss\":\"us\",\"aud\":\"mqtt\"}", NULL},
        {"{\"sub\":\"u\",\"exp\":1700000001,\"iss\":\"us\",\"aud\":[\"web\",\"mqtt\"]}", NULL},
        {"{\"sub\":\"u\",\"exp\":1699999941,\"iss\":\"us\",\"aud\":\"mqtt\"}", NULL},
        {"{\"sub\":\"u\",\"exp\":1699999940,\"iss\":\"us\",\"aud\":\"mqtt\"}", "expired"},
        {"{\"sub\":\"u\",\"exp\":1700000001.5,\"iss\":\"us\",\"aud\":\"mqtt\"}", NULL},
        {"{\"sub\":\"u\",\"exp\":\"1700000001\",\"iss\":\"us\",\"aud\":\"mqtt\"}", "exp"},
        {"{\"sub\":\"u\",\"exp\":-1,\"iss\":\"us\",\"aud\":\"mqtt\"}", "exp"},
        {"{\"sub\":\"u\",\"exp\":1e30,\"iss\":\"us\",\"aud\":\"mqtt\"}", "exp"},
        {"{\"sub\":\"u\",\"exp\":1700090000,\"iss\":\"us\",\"aud\":\"mqtt\"}", "longer"},
        {"{\"sub\":\"u\",\"iss\":\"us\",\"aud\":\"mqtt\"}", "exp"},
        {"{\"sub\":\"u\",\"exp\":1700000099,\"nbf\":1700000060,\"iss\":\"us\",\"aud\":\"mqtt\"}",
         NULL},
        {"{\"sub\":\"u\",\"exp\":1700000099,\"nbf\":1700000061,\"iss\":\"us\",\"aud\":\"mqtt\"}",
         "nbf"},
        {"{\"sub\":\"u\",\"exp\":1700000099,\"nbf\":true,\"iss\":\"us\",\"aud\":\"mqtt\"}", "nbf"},
        {"{\"sub\":\"u\",\"exp\":1700000001,\"iss\":\"them\",\"aud\":\"mqtt\"}", "iss"},
        {"{\"sub\":\"u\",\"exp\":1700000001,\"aud\":\"mqtt\"}", "iss"},
        {"{\"sub\":\"u\",\"exp\":1700000001,\"iss\":\"us\",\"aud\":\"mqt\"}", "aud"},
        {"{\"sub\":\"u\",\"exp\":1700000001,\"iss\":\"us\",\"aud\":[]}", "aud"},
        {"{\"sub\":\"u\",\"exp\":1700000001,\"iss\":\"us\",\"aud\":[[\"mqtt\"]]}", "aud"},
        {"{\"sub\":\"u\",\"exp\":1700000001,\"iss\":\"us\"}", "aud"},
        {"{\"exp\":1700000001,\"iss\":\"us\",\"aud\":\"mqtt\"}", "sub"},
        {"{\"sub\":\"\",\"exp\":1700000001,\"iss\":\"us\",\"aud\":\"mqtt\"}", "sub"},
        {"{\"sub\":7,\"exp\":1700000001,\"iss\":\"us\",\"aud\":\"mqtt\"}", "sub"},
        {"{\"sub\":\"a\\nb\",\"exp\":1700000001,\"iss\":\"us\",\"aud\":\"mqtt\"}", "control"},
        {"{\"sub\":\"a\\u0000b\",\"exp\":1700000001,\"iss\":\"us\",\"aud\":\"mqtt\"}", "JSON"},
        {"{\"sub\":\"u\",\"sub\":\"root\",\"exp\":1700000001}", "JSON"},
        {"{\"sub\":\"u\",\"exp\":1700000001} x", "JSON"},
        {"[\"sub\"]", "JSON"},
        {"", "JSON"},
        {"{\"a\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", "too deep"},
    };
    struct m5_jwt_keys *keys = secret_keys("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char token[2048];
        struct m5_jwt_claims claims;
        sign(HS256, cases[i].claims, m5_bytes_of(secret), token);
        const char *why = m5_jwt_verify(keys, &rules, m5_bytes_of(token), NOW, &claims);
        if ((why == NULL) != (cases[i].why == NULL) ||
            (why != NULL && strstr(why, cases[i].why) == NULL))
            fail_msg("%s: %s", cases[i].claims, why);
        if (why == NULL)
            assert_string_equal(claims.subject, "u");
        assert_int_equal(claims.payload != NULL, why == NULL);
        m5_jwt_claims_fini(&claims);
    }
    m5_jwt_keys_free(keys);
}

#define GOOD "{\"sub\":\"u\",\"exp\":1700000001}"

static void headers_are_checked(void **state)
{
    (void)state;
    static const struct m5_jwt_rules any = {.clock_skew_s = 60};
    static const struct {
        const char *header;
        bool good;
    } cases[] = {
        {HS256, true},
        {"{\"alg\":\"HS256\",\"kid\":\"k1\",\"typ\":\"JWT\"}", true},
        {"{\"alg\":\"HS256\",\"kid\":\"k2\"}", false},
        {"{\"alg\":\"HS256\",\"kid\":7}", false},
        {"{\"alg\":\"none\"}", false},
        {"{\"alg\":\"None\"}", false},
        {"{\"alg\":\"hs256\"}", false},
        {"{\"alg\":\"HS512\"}", false},
        {"{\"alg\":\"RS256\"}", false},
        {"{\"alg\":[\"HS256\"]}", false},
        {"{}", false},
        {"{\"alg\":\"none\",\"alg\":\"HS256\"}", false},
        {"{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", false},
        {"\"HS256\"", false},
    };
    struct m5_jwt_keys *keys = secret_keys("k1");
    char token[2048];
    struct m5_jwt_claims claims;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sign(cases[i].header, GOOD, m5_bytes_of(secret), token);
        const char *why = m5_jwt_verify(keys, &any, m5_bytes_of(token), NOW, &claims);
        if ((why == NULL) != cases[i].good)
            fail_msg("%s: %s", cases[i].header, why);
        m5_jwt_claims_fini(&claims);
    }
    /* Without a signature at all. */
    sign("{\"alg\":\"none\"}", GOOD, m5_bytes_of(secret), token);
    *(strrchr(token, '.') + 1) = 0;
    assert_non_null(m5_jwt_verify(keys, &any, m5_bytes_of(token), NOW, &claims));
    m5_jwt_keys_free(keys);
}

static void what_is_too_long_is_refused(void **state)
{
    (void)state;
    static char claims_text[M5_JWT_SIZE_MAX], token[2 * M5_JWT_SIZE_MAX];
    static const struct m5_jwt_rules any = {.clock_skew_s = 60};
    struct m5_jwt_keys *keys = secret_keys("");
    struct m5_jwt_claims claims;
    for (size_t size = 12000; size <= 12500; size += 500) {
        snprintf(claims_text, sizeof claims_text,
                 "{\"sub\":\"u\",\"exp\":1700000001,\"x\":\"%0*d\"}", (int)size - 80, 0);
        sign(HS256, claims_text, m5_bytes_of(secret), token);
        const bool fits = strlen(token) <= M5_JWT_SIZE_MAX;
        const char *why = m5_jwt_verify(keys, &any, m5_bytes_of(token), NOW, &claims);
        assert_int_equal(why == NULL, fits);
        assert_int_equal(fits, size == 12000);
        m5_jwt_claims_fini(&claims);
    }
    m5_jwt_keys_free(keys);
}

/* ---- keys ---- */

struct pair {
    gnutls_privkey_t private_key;
    gnutls_pubkey_t public_key;
    gnutls_datum_t pem;
};

static void pair_init(struct pair *pair, gnutls_pk_algorithm_t algorithm, unsigned bits)
{
    assert_int_equal(gnutls_privkey_init(&pair->private_key), 0);
    assert_int_equal(gnutls_privkey_generate(pair->private_key, algorithm, bits, 0), 0);
    assert_int_equal(gnutls_pubkey_init(&pair->public_key), 0);
    assert_int_equal(gnutls_pubkey_import_privkey(pair->public_key, pair->private_key, 0, 0), 0);
    assert_int_equal(gnutls_pubkey_export2(pair->public_key, GNUTLS_X509_FMT_PEM, &pair->pem), 0);
}

static void pair_fini(struct pair *pair)
{
    gnutls_privkey_deinit(pair->private_key);
    gnutls_pubkey_deinit(pair->public_key);
    gnutls_free(pair->pem.data);
}

static void keys_come_as_pem(void **state)
{
    (void)state;
    static const struct m5_jwt_rules any = {.clock_skew_s = 60};
    struct m5_text_error error;
    struct pair pair;
    pair_init(&pair, GNUTLS_PK_EDDSA_ED25519, 0);
    struct m5_jwt_keys *keys = m5_jwt_keys_new();
    const struct mqtt5_bytes pem = m5_bytes(pair.pem.data, pair.pem.size);
    assert_true(m5_jwt_keys_add_pem(keys, m5_bytes_of("ed"), pem, &error));
    char token[1024];
    size_t size = encode("{\"alg\":\"EdDSA\",\"kid\":\"ed\"}", token);
    token[size++] = '.';
    size += encode(GOOD, token + size);
    const gnutls_datum_t text = {.data = (uint8_t *)token, .size = (unsigned)size};
    gnutls_datum_t signature;
    assert_int_equal(gnutls_privkey_sign_data2(pair.private_key, GNUTLS_SIGN_EDDSA_ED25519, 0,
                                               &text, &signature),
                     0);
    token[size++] = '.';
    m5_base64_encode(m5_bytes(signature.data, signature.size), M5_BASE64_URL, token + size);
    gnutls_free(signature.data);
    struct m5_jwt_claims claims;
    assert_null(m5_jwt_verify(keys, &any, m5_bytes_of(token), NOW, &claims));
    m5_jwt_claims_fini(&claims);
    /* The public key as a secret: what a header says does not choose how it is checked. */
    sign(HS256, GOOD, pem, token);
    assert_non_null(m5_jwt_verify(keys, &any, m5_bytes_of(token), NOW, &claims));
    m5_jwt_keys_free(keys);
    pair_fini(&pair);
}

static void weak_and_strange_keys_are_refused(void **state)
{
    (void)state;
    struct m5_text_error error;
    struct m5_jwt_keys *keys = m5_jwt_keys_new();
    static const struct {
        gnutls_pk_algorithm_t algorithm;
        unsigned bits;
        const char *says;
    } weak[] = {
        {GNUTLS_PK_RSA, 1024, "2048"},
        {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), "P-256"},
        {GNUTLS_PK_EDDSA_ED448, 0, "neither"},
    };
    for (size_t i = 0; i < 3; i++) {
        struct pair pair;
        pair_init(&pair, weak[i].algorithm, weak[i].bits);
        assert_false(m5_jwt_keys_add_pem(keys, m5_bytes(NULL, 0),
                                         m5_bytes(pair.pem.data, pair.pem.size), &error));
        assert_non_null(strstr(error.text, weak[i].says));
        pair_fini(&pair);
    }
    assert_false(m5_jwt_keys_add_secret(keys, m5_bytes(NULL, 0), m5_bytes(secret, 31), &error));
    assert_true(m5_jwt_keys_add_secret(keys, m5_bytes(NULL, 0), m5_bytes(secret, 32), &error));
    assert_false(m5_jwt_keys_add_pem(keys, m5_bytes(NULL, 0), m5_bytes_of("nonsense"), &error));
    assert_int_equal(m5_jwt_keys_count(keys), 1);
    while (m5_jwt_keys_add_secret(keys, m5_bytes(NULL, 0), m5_bytes(secret, 32), &error))
        continue;
    assert_int_equal(m5_jwt_keys_count(keys), M5_JWT_KEYS_MAX);
    m5_jwt_keys_free(keys);
}

static void key_sets_are_read(void **state)
{
    (void)state;
    struct m5_text_error error;
    static const struct {
        const char *json;
        int count; /* -1: refused */
    } cases[] = {
        {"{\"keys\":[]}", 0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-521\"},{\"kty\":\"x\"},{\"use\":\"enc\","
         "\"kty\":\"RSA\"},{\"kty\":\"RSA\",\"alg\":\"RS512\"}]}",
         0},
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\"use\":\"sig\","
         "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
         1},
        {"{\"keys\":{}}", -1},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\"}]}", -1},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", -1},
        {"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AQAB\"}]}", -1},
        {"{\"keys\":[{\"kty\":\"oct\"}]}", -1},
        {"[]", -1},
        {"", -1},
        {"{", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_jwt_keys *keys = m5_jwt_keys_new();
        const bool read = m5_jwt_keys_add_jwks(keys, m5_bytes_of(cases[i].json), &error);
        if (read != (cases[i].count >= 0))
            fail_msg("%s", cases[i].json);
        assert_int_equal(m5_jwt_keys_count(keys), cases[i].count < 0 ? 0 : cases[i].count);
        m5_jwt_keys_free(keys);
    }
}

/* What a token says of itself, before anything is verified. */
static void whose_a_token_claims_to_be(void **state)
{
    (void)state;
    assert_true(m5_jwt_says_issuer(m5_bytes_of(hs256_token), "joe"));
    assert_false(m5_jwt_says_issuer(m5_bytes_of(hs256_token), "jo"));
    assert_false(m5_jwt_says_issuer(m5_bytes_of(eddsa_token), "joe")); /* no JSON */
    static const char *const rubbish[] = {"",  ".",     "..",    "a.b.c", "e30.e30.e30",
                                          "x", ".....", "e30..x"};
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++)
        assert_false(m5_jwt_says_issuer(m5_bytes_of(rubbish[i]), "joe"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfcs_verify),
        cmocka_unit_test(whose_a_token_claims_to_be),
        cmocka_unit_test(every_character_counts),
        cmocka_unit_test(claims_are_checked),
        cmocka_unit_test(headers_are_checked),
        cmocka_unit_test(what_is_too_long_is_refused),
        cmocka_unit_test(keys_come_as_pem),
        cmocka_unit_test(weak_and_strange_keys_are_refused),
        cmocka_unit_test(key_sets_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
