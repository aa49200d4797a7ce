/* What stands between a client's socket and MQTT: TLS and WebSocket, as its options have them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_STACK_H
#define M5_HOST_CLIENT_STACK_H

#include "host/client/link.h"

#include <mqtt5/client.h>

/* A client's copy of its options, and what it keeps from one connection to the next. */
struct m5_client_stack;

/* MQTT5_ERR_NOMEM; MQTT5_ERR_CONFIG for a header that cannot be sent. Files that cannot be used are
 * told by m5_client_stack_build(). */
enum mqtt5_error m5_client_stack_new(const struct mqtt5_client_options *options,
                                     const struct mqtt5_allocator *allocator,
                                     struct m5_client_stack **out);

/* Every connection is to begin with a full handshake. */
void m5_client_stack_forget_sessions(struct m5_client_stack *stack);

/* Accepts NULL. Links that were built with it have been closed. */
void m5_client_stack_free(struct m5_client_stack *stack);

/* MQTT5_OK, or why @p url could not be connected to, with the sentence in @p why. */
enum mqtt5_error m5_client_stack_check(struct m5_client_stack *stack, const struct m5_url *url,
                                       char *why, size_t why_size);

/* Puts on @p link, which is down, what @p url wants. False, with a failure; the link is closed. */
bool m5_client_stack_build(struct m5_client_stack *stack, const struct m5_url *url,
                           struct m5_link *link, struct m5_link_failure *failure);

#endif
