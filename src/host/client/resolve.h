/* Looking a host name up on a thread of its own, as nobody can say how long the DNS takes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_RESOLVE_H
#define M5_HOST_CLIENT_RESOLVE_H

#include "host/address.h"

struct m5_resolution;

/* Called on the helper thread when there is a result. It must not call m5_resolution_*(). */
typedef void m5_resolved_fn(void *ctx);

/* Starts to look @p endpoint up; NULL without memory or threads. */
struct m5_resolution *m5_resolution_start(const struct m5_endpoint *endpoint,
                                          m5_resolved_fn *resolved, void *ctx);

/* False while there is no result. Else gives it, as m5_address_resolve() does, and @p resolution
 * must be freed. */
bool m5_resolution_take(struct m5_resolution *resolution,
                        struct m5_address addresses[M5_ADDRESSES_MAX], size_t *count,
                        const char **why);

/* Frees @p resolution (NULL is accepted); one under way is left to its thread, and does not call
 * back any more once this has returned. */
void m5_resolution_free(struct m5_resolution *resolution);

/* Tells whether @p host needs no looking up. */
bool m5_host_is_numeric(const char *host);

#endif
