/* JSON Web Tokens (RFC 7515, 7517, 7519): signatures and claims.
 *
 * A key verifies tokens of one algorithm only, which is known from the key and not from the token:
 * a public key can not be taken for a secret. "none" is no algorithm. Headers with "crit" are
 * refused. JSON is read strictly: no duplicate names, no text behind it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_JWT_H
#define M5_HOST_AUTH_JWT_H

#include "host/auth/text.h"

#include <jansson.h>

#define M5_JWT_SIZE_MAX    16384u /* bytes of a token */
#define M5_JWT_DEPTH_MAX   16u    /* of objects and lists within each other */
#define M5_JWT_KEYS_MAX    64u    /* in a set */
#define M5_JWT_KID_MAX     256u   /* bytes */
#define M5_JWT_SUBJECT_MAX 256u   /* bytes */
#define M5_JWT_SECRET_MIN  32u    /* bytes of an HS256 secret */
#define M5_JWT_RSA_MIN     2048u  /* bits */

enum m5_jwt_algorithm { M5_JWT_HS256, M5_JWT_RS256, M5_JWT_ES256, M5_JWT_EDDSA };

/* A set of keys; once all are added it may be read by any thread. */
struct m5_jwt_keys;

struct m5_jwt_keys *m5_jwt_keys_new(void);       /* NULL without memory */
void m5_jwt_keys_free(struct m5_jwt_keys *keys); /* accepts NULL */
size_t m5_jwt_keys_count(const struct m5_jwt_keys *keys);

/* Add a key; @p kid may be empty: the key is then tried for every token. False with @p error when
 * it cannot be read, is too weak, or there are too many. */
bool m5_jwt_keys_add_secret(struct m5_jwt_keys *keys, struct mqtt5_bytes kid,
                            struct mqtt5_bytes secret, struct m5_text_error *error);
/* A public key or a certificate in PEM: RSA, NIST P-256 or Ed25519. */
bool m5_jwt_keys_add_pem(struct m5_jwt_keys *keys, struct mqtt5_bytes kid, struct mqtt5_bytes pem,
                         struct m5_text_error *error);
/* A JSON Web Key Set, or a single key. Keys of other kinds or for other uses are passed over. */
bool m5_jwt_keys_add_jwks(struct m5_jwt_keys *keys, struct mqtt5_bytes json,
                          struct m5_text_error *error);

/* Adds what the file @p path has: PEM, a JSON Web Key Set, or else a secret (without the line's
 * end). */
bool m5_jwt_keys_add_file(struct m5_jwt_keys *keys, const char *path, struct m5_text_error *error);

/* True for a name of struct m5_jwt_keys_only(): "HS256", "RS256", "ES256", "EdDSA". */
bool m5_jwt_algorithm_known(const char *name);

/* Takes out the keys of other algorithms than @p name, or with NULL the secrets: those that come
 * over a network are none. */
void m5_jwt_keys_only(struct m5_jwt_keys *keys, const char *name);

/* What m5_jwt_verify() answers when no key is meant for the token. */
extern const char m5_jwt_no_key[];

struct m5_jwt_rules {
    const char *issuer;      /* NULL: any */
    const char *audience;    /* NULL: any; else the token must name it */
    uint32_t clock_skew_s;   /* how far clocks may differ; usual: 60 */
    uint64_t lifetime_max_s; /* refuse tokens that are good for longer; 0: any */
};

/* What a valid token says. */
struct m5_jwt_claims {
    char subject[M5_JWT_SUBJECT_MAX + 1];
    size_t subject_size;
    uint64_t expires_s; /* Unix time, without the skew */
    json_t *payload;    /* all of it; given back by m5_jwt_claims_fini() */
};
void m5_jwt_claims_fini(struct m5_jwt_claims *claims); /* accepts a zeroed one */

/* Checks the signature and exp (required), nbf, iss, aud, sub (required) against @p now_s (Unix
 * time). NULL when the token is good; else a sentence for a log, and no claims. Never prints or
 * keeps the token. Takes some 10 to 100 us of CPU. */
const char *m5_jwt_verify(const struct m5_jwt_keys *keys, const struct m5_jwt_rules *rules,
                          struct mqtt5_bytes token, uint64_t now_s, struct m5_jwt_claims *out);

/* Whether the token says that it is from @p issuer; nothing of it is verified. */
bool m5_jwt_says_issuer(struct mqtt5_bytes token, const char *issuer);

/* The signature alone (a JWS): on NULL, @p payload has what was signed; free() its data. */
const char *m5_jws_verify(const struct m5_jwt_keys *keys, struct mqtt5_bytes token,
                          struct m5_text *payload);

/* Reads an object as this file wants JSON; NULL with a sentence in *why when it is none, else *why
 * is NULL. */
json_t *m5_jwt_json(struct mqtt5_bytes text, const char **why);

#endif
