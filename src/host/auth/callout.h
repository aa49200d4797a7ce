/* Logins that a service decides, asked over HTTP: POST of username, password and clientid as form
 * fields; 200 is right, 4xx wrong, anything else means that nobody knows.
 *
 * Requests wait in a bounded queue for a few threads, a bounded number of each address; a service
 * that fails three times is left alone for a minute. What was right is remembered for cache_s as in
 * success_cache.h. Any thread.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_CALLOUT_H
#define M5_HOST_AUTH_CALLOUT_H

#include "host/auth/verifier.h"

#include <mqtt5/auth.h>

#define M5_CALLOUT_THREADS        4u
#define M5_CALLOUT_QUEUE_MAX      256u /* waiting or being asked */
#define M5_CALLOUT_PER_SOURCE_MAX 64u

struct m5_callout;

/* @p options, @p allocator and @p guard are borrowed. NULL with a sentence in @p error. */
struct m5_callout *m5_callout_new(const struct mqtt5_allocator *allocator,
                                  const struct mqtt5_http_auth *options, struct m5_guard *guard,
                                  struct m5_text_error *error);

/* Ends the threads; what waits is answered M5_LOGIN_FAILED. Accepts NULL. */
void m5_callout_free(struct m5_callout *callout);

/* As m5_verifier_ask(). */
enum m5_login_answer m5_callout_ask(struct m5_callout *callout, const struct m5_login *login,
                                    struct mqtt5_bytes client_id);

bool m5_callout_cancel(struct m5_callout *callout, const void *ctx, uint64_t token);

#endif
