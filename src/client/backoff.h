/* When to try a connection again: exponential back-off with jitter, by classes of errors.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLIENT_BACKOFF_H
#define M5_CLIENT_BACKOFF_H

#include "base/rng.h"

#include <mqtt5/client.h>

struct m5_backoff {
    struct mqtt5_client_reconnect policy;
    struct m5_rng rng;
    uint32_t attempt; /* since the last connection that was stable */
};

/* MQTT5_ERR_CONFIG when the numbers make no sense. */
enum mqtt5_error m5_backoff_init(struct m5_backoff *backoff,
                                 const struct mqtt5_client_reconnect *policy, uint64_t seed);

/* After a failure of @p class: counts an attempt and gives the wait before it. False: there is
 * none, because of the class or of attempts_max. */
bool m5_backoff_next(struct m5_backoff *backoff, enum mqtt5_error_class class, uint32_t *wait_ms);

/* A connection that was accepted has lasted @p ms. */
void m5_backoff_lasted(struct m5_backoff *backoff, uint64_t ms);

/* The user begins anew. */
void m5_backoff_reset(struct m5_backoff *backoff);

#endif
