/* Remembers for a while which logins were right, so that clients that come back all at once do not
 * cost a password hash each.
 *
 * What is kept is an HMAC-SHA-256 of user, stored hash and password under a random key of this
 * process: of no use outside it, and of none once the user's password has changed. Any thread.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_SUCCESS_CACHE_H
#define M5_HOST_AUTH_SUCCESS_CACHE_H

#include "host/auth/users.h"

#define M5_PROOF_SIZE 32

struct m5_proof {
    uint8_t bytes[M5_PROOF_SIZE];
};

struct m5_success_cache;

/* @p entries_max 0: remembers nothing. NULL without memory or randomness. */
struct m5_success_cache *m5_success_cache_new(const struct mqtt5_allocator *allocator,
                                              uint32_t entries_max, uint64_t ttl_ms);
void m5_success_cache_free(struct m5_success_cache *cache); /* accepts NULL */

/* What stands for this login; @p name may differ from the user's (see m5_users_decoy()). False
 * without memory. */
bool m5_success_cache_prove(const struct m5_success_cache *cache, struct mqtt5_bytes name,
                            const struct m5_user *user, struct mqtt5_bytes password,
                            struct m5_proof *out);

/* True when the login was right less than the cache's time ago. */
bool m5_success_cache_knows(struct m5_success_cache *cache, const struct m5_proof *proof,
                            uint64_t now_ms);

/* Remembers it from @p now_ms on; the oldest makes room. Without memory it does not. */
void m5_success_cache_add(struct m5_success_cache *cache, const struct m5_proof *proof,
                          uint64_t now_ms);

#endif
