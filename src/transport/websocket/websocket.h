/* MQTT in WebSocket frames (RFC 6455): the handshake in HTTP, then binary frames, both ends.
 *
 * The peer's payload streams through: a frame may hold many MQTT packets or a part of one, and
 * nothing of it is kept here. Each m5_transport_write() is one frame. Pings are answered, the
 * latest only when several wait. No extension is ever agreed to, so no frame is compressed.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_WEBSOCKET_WEBSOCKET_H
#define M5_TRANSPORT_WEBSOCKET_WEBSOCKET_H

#include "transport/transport.h"

/* Bounds on the head of a request or of an answer; beyond them it is refused (431). */
#define M5_WEBSOCKET_HEAD_MAX   8192u /* bytes, the empty line included */
#define M5_WEBSOCKET_FIELDS_MAX 100u

/* The subprotocol that is asked for unless told otherwise. */
#define M5_WEBSOCKET_SUBPROTOCOL "mqtt"

/* True when @p address, numeric and without port, is a proxy's whose word on addresses counts. */
typedef bool m5_websocket_trusted_fn(void *ctx, const char *address);

/* What a server insists on. The struct is copied; what it points at is borrowed until the transport
 * is open, has failed or is freed. Zeros are sensible. */
struct m5_websocket_server_config {
    const char *path; /* NULL = "/mqtt" */
    const char *const *origins;
    size_t origin_count;       /* 0 = any, also none */
    bool subprotocol_optional; /* a client may offer none; others than MQTT's are refused anyway */
    uint64_t message_size_max; /* bytes of one message, in one frame or several (1009); 0 = any */
    bool tls;                  /* the bytes come out of TLS: only for the words of answers */

    /* The peer itself is trusted: what it tells about who is behind it counts. */
    bool peer_trusted;
    m5_websocket_trusted_fn *trusted; /* for the other addresses that it tells; NULL = none is */
    void *trusted_ctx;
};

/* What a client asks for. Everything is borrowed until m5_websocket_client_new() returns. */
struct m5_websocket_client_config {
    const char *host;           /* for the Host field: "name", "name:port", "[::1]:port" */
    const char *path;           /* with its query; NULL = "/mqtt" */
    const char *subprotocol;    /* NULL = "mqtt"; "" = none is asked for */
    const char *const *headers; /* more: "Name: value"; see m5_websocket_header_wrong() */
    size_t header_count;
    const char *user_agent; /* NULL = none */
    uint64_t seed;          /* secret and random: of the key and the masks [RFC 6455 5.3] */
};

/* What the handshake said, zero-terminated, cut to the sizes below, control characters and what is
 * no UTF-8 replaced by '?'. "" = not said. */
struct m5_websocket_request {
    const char *path;
    const char *origin;
    const char *subprotocol; /* the one agreed on */
    const char *forwarded;   /* numeric address of the client, as trusted proxies tell it */
    const char *user_agent;
    uint16_t forwarded_port; /* 0 = not said */
};

#define M5_WEBSOCKET_TEXT_MAX 255u /* bytes of each of them */

/* The server's end; `open` once a client has been taken. NULL without memory. A client that is
 * refused has its answer in the outbox when read answers M5_TRANSPORT_FAILED. */
struct m5_transport *m5_websocket_server_new(const struct m5_websocket_server_config *config,
                                             const struct mqtt5_allocator *allocator);

/* The client's end; reading with an empty `wire` starts it. NULL without memory, or when a text
 * of @p config cannot stand in a request (see m5_websocket_header_wrong()). */
struct m5_transport *m5_websocket_client_new(const struct m5_websocket_client_config *config,
                                             const struct mqtt5_allocator *allocator);

/* Server, once open: what was asked for; lives until m5_websocket_forget() or the transport's end.
 * NULL before it is open, and after m5_websocket_forget(). */
const struct m5_websocket_request *m5_websocket_request(const struct m5_transport *transport);

/* Gives back the memory of the request, which an idle connection need not hold. */
void m5_websocket_forget(struct m5_transport *transport);

/* Client: the status that the server has answered (101, 404...); 0 = none yet. */
unsigned m5_websocket_status(const struct m5_transport *transport);

/* Why @p header ("Name: value") cannot be sent along, as a sentence part, or NULL when it can: the
 * handshake's own fields are not for users, and there are no line breaks in headers. */
const char *m5_websocket_header_wrong(const char *header);

#endif
