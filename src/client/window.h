/* Requests that wait for an acknowledgement, found by packet identifier.
 *
 * Identifiers count up from 1. One that would share its slot with a request still in flight is
 * passed over, so a look-up is one comparison, and an identifier is never handed out twice.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLIENT_WINDOW_H
#define M5_CLIENT_WINDOW_H

#include "client/request.h"

struct m5_client_window {
    struct m5_client_request **slots; /* by identifier modulo capacity */
    uint32_t capacity;                /* a power of two */
    uint32_t used;
    uint16_t last; /* identifier handed out last */
};

/* False without memory. */
bool m5_client_window_init(struct m5_client_window *window,
                           const struct mqtt5_allocator *allocator);
void m5_client_window_fini(struct m5_client_window *window,
                           const struct mqtt5_allocator *allocator);

/* Gives @p request an unused packet identifier [MQTT-2.2.1-3]. False when there is none now: all
 * are taken, or there is no memory to hold one more; an acknowledgement makes room. */
bool m5_client_window_add(struct m5_client_window *window, const struct mqtt5_allocator *allocator,
                          struct m5_client_request *request);

struct m5_client_request *m5_client_window_find(const struct m5_client_window *window, uint16_t id);

/* Frees the identifier of @p request, which must be in the window and keeps the number to look at.
 */
void m5_client_window_remove(struct m5_client_window *window, struct m5_client_request *request);

#endif
