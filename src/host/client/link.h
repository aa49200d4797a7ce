/* A client's TCP connection: tries the server's addresses one after the other, without blocking
 * except to look its name up.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_LINK_H
#define M5_HOST_CLIENT_LINK_H

#include "host/address.h"

enum m5_link_state {
    M5_LINK_DOWN,
    M5_LINK_RESOLVE,    /* the name has to be looked up: m5_link_resolve(), m5_link_start() */
    M5_LINK_CONNECTING, /* wait for writable, then m5_link_continue() */
    M5_LINK_UP,
    M5_LINK_LINGERING /* all is sent; the server is to close */
};

struct m5_link {
    enum m5_link_state state;
    int fd; /* -1 unless connecting or up */
    struct m5_endpoint endpoint;
    struct m5_address addresses[M5_ADDRESSES_MAX];
    size_t count, next;           /* addresses; the one to try next */
    uint32_t attempt_ms;          /* time for each address */
    uint64_t attempt_deadline_ms; /* while connecting */
};

/* What the last failure was: an errno of @p address, or a sentence. */
struct m5_link_failure {
    char text[512];
};

/* Looks the name up; may wait. Touches only @p link->endpoint and what it gives. */
size_t m5_link_resolve(const struct m5_endpoint *endpoint,
                       struct m5_address addresses[M5_ADDRESSES_MAX],
                       struct m5_link_failure *failure);

/* Begins with the first address, @p timeout_ms for all of them. False when none can be tried. */
bool m5_link_start(struct m5_link *link, uint32_t timeout_ms, uint64_t now_ms,
                   struct m5_link_failure *failure);

/* Looks how the attempt under way stands (@p ready: the socket is writable or has failed), goes on
 * with the next address when it failed. False when none is left. */
bool m5_link_continue(struct m5_link *link, bool ready, uint64_t now_ms,
                      struct m5_link_failure *failure);

void m5_link_close(struct m5_link *link);

#endif
