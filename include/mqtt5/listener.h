/** Where a broker is reached: one listener each for an address, its transport, its limits and who
 *  may come in by it.
 *  SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_LISTENER_H
#define MQTT5_LISTENER_H

#include <mqtt5/auth.h>
#include <mqtt5/tls.h>

enum mqtt5_transport {
    MQTT5_TRANSPORT_TCP,
    MQTT5_TRANSPORT_TLS,
    MQTT5_TRANSPORT_WS,  /**< WebSocket over TCP */
    MQTT5_TRANSPORT_WSS, /**< WebSocket over TLS */
    MQTT5_TRANSPORT_UNIX /**< a Unix socket */
};

/** Which versions of the PROXY protocol a listener demands: every connection then begins with it.
 */
enum mqtt5_proxy_protocol {
    MQTT5_PROXY_OFF,
    MQTT5_PROXY_V1,
    MQTT5_PROXY_V2,
    MQTT5_PROXY_ANY /**< either */
};

/** Of transports WS and WSS. */
struct mqtt5_websocket_options {
    const char *path;           /**< NULL = "/mqtt"; other paths are answered 404 */
    const char *const *origins; /**< browsers' pages that may connect (403); none = all */
    size_t origin_count;
    bool subprotocol_optional; /**< false: clients must offer "mqtt" (400) */
    /** Networks whose X-Forwarded-For or Forwarded is believed; none = nobody's. */
    const char *const *forwarders;
    size_t forwarder_count;
};

/** Zero-initialise it: TCP on all addresses and any free port. Limits are per listener, on top of
 *  the broker's; 0 = none but that. */
struct mqtt5_listener {
    const char *host; /**< numeric IPv4 or IPv6 address or a name; "" or "*" = all addresses */
    uint16_t port;    /**< 0 = any free port: see mqtt5_broker_port() */
    enum mqtt5_transport transport;
    const char *name; /**< for logs and configuration; NULL = its address */

    /* MQTT5_TRANSPORT_UNIX */
    const char *path;  /**< of the socket; a leading "@" is the abstract namespace */
    const char *owner; /**< user name or number; NULL = ours */
    const char *group; /**< NULL = ours */
    uint32_t mode;     /**< access bits of the socket's file; 0 = 0660 */

    const struct mqtt5_tls_server_options *tls; /**< TLS and WSS: needed */
    struct mqtt5_websocket_options websocket;

    enum mqtt5_proxy_protocol proxy_protocol;
    /** Networks ("10.0.0.0/8") that may speak it: at least one, or every connection is closed. */
    const char *const *proxy_trusted;
    size_t proxy_trusted_count;
    bool proxy_identity; /**< the common name that PROXY v2 tells is the client's user name */

    uint32_t connections_max;             /**< at a time (closed) */
    uint32_t connections_per_address_max; /**< at a time, of one address (closed) */
    uint32_t
        connection_rate_max; /**< new ones a second, of one address; counted before TLS (closed) */
    uint32_t maximum_packet_size; /**< bytes; lower than the broker's */
    uint16_t keep_alive_max_s;

    const struct mqtt5_auth_options *auth; /**< NULL = the broker's */
};

#endif
