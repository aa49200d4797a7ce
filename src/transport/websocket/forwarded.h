/* Who is behind a proxy: X-Forwarded-For and Forwarded (RFC 7239), read from the right.
 *
 * Each proxy appends the address it was called from, so only what trusted proxies have appended
 * counts: from the right, the first address that is no trusted proxy's is the client's. What stands
 * further left the client may have written itself.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_WEBSOCKET_FORWARDED_H
#define M5_TRANSPORT_WEBSOCKET_FORWARDED_H

#include "transport/websocket/websocket.h"

#define M5_FORWARDED_TEXT_SIZE 46u /* of a numeric address and its zero */

struct m5_forwarded_address {
    char text[M5_FORWARDED_TEXT_SIZE]; /* "" = unknown */
    uint16_t port;                     /* 0 = not said */
};

/* The chain of one kind of field, from left to right. Zeroed is ready. */
struct m5_forwarded_chain {
    bool any; /* there is an element */
    struct m5_forwarded_address
        address; /* of the last that is no trusted proxy's, else the first */
};

/* Adds the value of a field "X-Forwarded-For", or of "Forwarded". */
void m5_forwarded_add_list(struct m5_forwarded_chain *chain, struct mqtt5_bytes value,
                           const struct m5_websocket_server_config *config);
void m5_forwarded_add_elements(struct m5_forwarded_chain *chain, struct mqtt5_bytes value,
                               const struct m5_websocket_server_config *config);

/* The client's address. When both kinds were sent and differ, one of them the proxy has only
 * passed on, so neither counts. */
struct m5_forwarded_address m5_forwarded_client(const struct m5_forwarded_chain *list,
                                                const struct m5_forwarded_chain *elements);

#endif
