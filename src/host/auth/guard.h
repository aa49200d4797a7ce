/* Counts failed logins and says who has to wait: against guessing of passwords.
 *
 * An address that fails too often is locked out for a while, whoever it claims to be; a user for
 * whom too many logins fail, from wherever, for a shorter while, because others could lock him out
 * on purpose. Memory is bounded: the one seen longest ago is forgotten first. Any thread.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_GUARD_H
#define M5_HOST_AUTH_GUARD_H

#include "host/auth/source.h"

#include <mqtt5/allocator.h>
#include <mqtt5/bytes.h>

struct m5_guard_limit {
    uint32_t failures;  /* so many within the window lock; 0: never */
    uint64_t window_ms; /* counted from the first failure */
    uint64_t lock_ms;   /* how long, from the last one */
};

struct m5_guard_config {
    struct m5_guard_limit address, user;
    uint32_t entries_max; /* of each kind */
};

/* Address: 20 failures in 10 minutes lock for 15 minutes. User: 50 in 10 minutes for 1 minute.
 * 65,536 of each are remembered. */
#define M5_GUARD_DEFAULTS                                                                     \
    {                                                                                         \
        .address = {.failures = 20, .window_ms = 600000, .lock_ms = 900000},                  \
        .user = {.failures = 50, .window_ms = 600000, .lock_ms = 60000}, .entries_max = 65536 \
    }

enum m5_guard_answer { M5_GUARD_FREE, M5_GUARD_ADDRESS_LOCKED, M5_GUARD_USER_LOCKED };

struct m5_guard;

/* NULL without memory or randomness. The allocator is borrowed. */
struct m5_guard *m5_guard_new(const struct mqtt5_allocator *allocator,
                              const struct m5_guard_config *config);
void m5_guard_free(struct m5_guard *guard); /* accepts NULL */

/* @p now_ms is monotonic. Use addresses as m5_source_counted() gives them. */
enum m5_guard_answer m5_guard_ask(struct m5_guard *guard, struct m5_source source,
                                  struct mqtt5_bytes user, uint64_t now_ms);

/* Notes a failed login. Without memory it is not counted. */
void m5_guard_note_failure(struct m5_guard *guard, struct m5_source source, struct mqtt5_bytes user,
                           uint64_t now_ms);

/* Forgets everything, as an operator may wish. */
void m5_guard_reset(struct m5_guard *guard);

#endif
