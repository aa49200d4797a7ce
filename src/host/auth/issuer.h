/* An issuer of JSON Web Tokens: whose tokens count, its keys, and what its tokens say about who
 * logs in.
 *
 * Keys come from a file, or from a JSON Web Key Set at an URL, which a thread of the issuer's own
 * reads now and then: they serve for a time when the URL cannot be reached, then those of the file
 * do, if there is one. Any thread may verify.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_ISSUER_H
#define M5_HOST_AUTH_ISSUER_H

#include "host/auth/jwt.h"
#include "host/auth/roles.h"

#define M5_ISSUERS_MAX       16u
#define M5_TOKEN_NAME_MAX    512u /* bytes of prefix, colon and subject */
#define M5_ISSUER_PREFIX_MAX 255u

struct m5_issuer;

/* Who logs in. */
struct m5_token_user {
    uint8_t name[M5_TOKEN_NAME_MAX];
    size_t name_size;
    struct m5_roles roles;
};

/* Told when an issuer gives its keys after it did not (why: NULL), or does not any more, by the
 * issuer's thread. */
struct m5_issuer_report {
    void (*tell)(void *ctx, const char *issuer, const char *why); /* NULL: nobody is told */
    void *ctx;
};

/* Checks @p options, reads the key file and starts to ask the URL. The options are borrowed. NULL
 * with a sentence in @p error. */
struct m5_issuer *m5_issuer_new(const struct mqtt5_jwt_issuer *options,
                                const struct m5_issuer_report *report, struct m5_text_error *error);
void m5_issuer_free(struct m5_issuer *issuer); /* ends its thread; accepts NULL */

enum m5_issuer_answer {
    M5_ISSUER_RIGHT,
    M5_ISSUER_WRONG,
    M5_ISSUER_UNKNOWN /* it has no key for this token, and asks its URL for new ones */
};

/* @p now_s is Unix time. On RIGHT *@p out says who it is. */
enum m5_issuer_answer m5_issuer_verify(struct m5_issuer *issuer, struct mqtt5_bytes token,
                                       uint64_t now_s, struct m5_token_user *out);

/* Reads the key file again: false with a sentence. NULL in *out when there is none. */
bool m5_issuer_read(const struct m5_issuer *issuer, struct m5_jwt_keys **out,
                    struct m5_text_error *error);

/* Takes @p keys of the file; those of the URL go before them. False without memory. */
bool m5_issuer_adopt(struct m5_issuer *issuer, struct m5_jwt_keys *keys);

struct m5_issuer_figures {
    uint64_t fetched, failed; /* times */
    char why[256];            /* the last failure; "" when the last fetch was good */
};
void m5_issuer_figures(struct m5_issuer *issuer, struct m5_issuer_figures *out);

#endif
