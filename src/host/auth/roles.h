/* The roles that a token's claims give.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_ROLES_H
#define M5_HOST_AUTH_ROLES_H

#include <mqtt5/auth.h>

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define M5_ROLES_MAX     64u  /* of one login */
#define M5_ROLE_NAME_MAX 128u /* bytes */
#define M5_ROLES_SIZE    4096u

/* Names, each ended by a zero, none of them twice. */
struct m5_roles {
    size_t size, count;
    char text[M5_ROLES_SIZE];
};

/* What @p issuer's mode makes of @p claims. Names that are empty, too long, not UTF-8 or have
 * blanks or control characters in them are passed over, and those beyond the bounds. */
void m5_roles_of(const struct mqtt5_jwt_issuer *issuer, const json_t *claims, struct m5_roles *out);

/* False with a sentence in *why: a mapping without roles, or with an expression that is none. */
bool m5_roles_check(const struct mqtt5_jwt_issuer *issuer, const char **why);

#endif
