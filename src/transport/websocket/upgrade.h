/* A client's request to speak WebSocket (RFC 6455, 4.2): read, judged and answered.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_WEBSOCKET_UPGRADE_H
#define M5_TRANSPORT_WEBSOCKET_UPGRADE_H

#include "transport/websocket/forwarded.h"

/* Why a request is refused. */
struct m5_refusal {
    unsigned status;
    const char *reason;  /* of the status line */
    const char *field;   /* one more, with its CR LF; "" */
    const char *words;   /* of the page, for a person; NULL: `failure` says it all */
    const char *failure; /* for the log */
};

extern const struct m5_refusal m5_refusal_broken, m5_refusal_too_large;

/* Views are into the head. */
struct m5_upgrade {
    const struct m5_refusal *refusal; /* NULL: taken */
    struct mqtt5_bytes detail;        /* what was refused; empty */
    struct mqtt5_bytes path, origin, key, user_agent;
    const char *subprotocol; /* agreed on; "" = none */
    struct m5_forwarded_address client;
};

/* Judges a whole head. */
void m5_upgrade_read(struct mqtt5_bytes head, const struct m5_websocket_server_config *config,
                     struct m5_upgrade *out);

/* Appends 101 Switching Protocols. False without memory (or SHA-1). */
bool m5_upgrade_accept(const struct m5_upgrade *upgrade, struct m5_outbox *out);

/* Appends the answer to a request that is refused. False without memory. */
bool m5_upgrade_refuse(const struct m5_refusal *refusal,
                       const struct m5_websocket_server_config *config, struct m5_outbox *out);

/* The path that is served. */
const char *m5_upgrade_path(const struct m5_websocket_server_config *config);

#endif
