/* The password file: who there is, and how each password is stored.
 *
 * Lines `NAME:HASH` (see host/auth/password.h), comments with '#'. The table never changes once it
 * is made: any number of threads may read it. A file with a line that makes no sense is refused as
 * a whole.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_USERS_H
#define M5_HOST_AUTH_USERS_H

#include "host/auth/text.h"

#include <mqtt5/allocator.h>

#include <stddef.h>

#define M5_USERS_MAX     200000u
#define M5_USER_NAME_MAX 1024u /* bytes */

struct m5_user {
    struct mqtt5_bytes name;
    struct mqtt5_bytes stored; /* what stands behind the colon; it can be read */
    uint32_t line;
    uint32_t variant; /* as the check told it: a name may come once with each */
};

struct m5_users;

/* How a line's second part is checked: m5_users_password_check (all of variant 0), or another
 * file's own rules. */
typedef bool m5_users_check_fn(struct mqtt5_bytes stored, uint32_t *variant, const char **why);
bool m5_users_password_check(struct mqtt5_bytes stored, uint32_t *variant, const char **why);

/* NULL with @p error for a line without colon, without name, with a name that comes twice, or that
 * @p check refuses; and without memory. */
struct m5_users *m5_users_new(const struct mqtt5_allocator *allocator, struct mqtt5_bytes text,
                              m5_users_check_fn *check, struct m5_text_error *error);

/* A table of @p count items (copied; their stored hashes can be read). NULL without memory or when
 * a name comes twice. */
struct m5_users *m5_users_of(const struct mqtt5_allocator *allocator, const struct m5_user *items,
                             uint32_t count);

/* The table of the file @p path, with memory of malloc(). */
struct m5_users *m5_users_load(const char *path, m5_users_check_fn *check,
                               struct m5_text_error *error);
void m5_users_free(struct m5_users *users); /* accepts NULL */

size_t m5_users_count(const struct m5_users *users);

/* NULL when there is no such user. */
const struct m5_user *m5_users_find(const struct m5_users *users, struct mqtt5_bytes name,
                                    uint32_t variant);

/* The user whose parameters are used for @p name, who does not exist, so that it costs what an
 * existing one would: always the same for the same name, and nobody outside knows which. NULL when
 * there are no users. */
const struct m5_user *m5_users_decoy(const struct m5_users *users, struct mqtt5_bytes name);

#endif
