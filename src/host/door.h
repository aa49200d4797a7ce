/* A door: one of the broker's listeners as it runs. What its sockets speak, who may knock, and what
 * its connections are held to. Shared by the workers; only its TLS credentials ever change, and
 * connections keep those that they began with.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_DOOR_H
#define M5_HOST_DOOR_H

#include "broker/engine.h"
#include "host/admission.h"
#include "host/auth/source.h"
#include "transport/transport.h"

#include <mqtt5/listener.h>
#include <pthread.h>

#define M5_DOOR_WHY_SIZE 512 /* bytes of a sentence */

struct m5_tls_config;

struct m5_door {
    uint32_t index; /* of the listener, for authentication and admission: never used anew */
    enum mqtt5_transport transport;
    char *name; /* for logs */
    struct m5_conn_limits limits;

    enum mqtt5_proxy_protocol proxy;
    bool proxy_identity;
    char *networks;             /* what both of these were read from */
    struct m5_bans *proxies;    /* networks that may speak PROXY; NULL: none */
    struct m5_bans *forwarders; /* whose X-Forwarded-For counts; NULL: nobody's */

    bool counted; /* admission has to be asked */
    struct m5_admission_limits admission;

    char *path; /* WS, WSS */
    char **origins;
    size_t origin_count;
    bool subprotocol_optional;
    uint64_t message_size_max;

    pthread_mutex_t mutex;
    struct m5_tls_config *tls; /* under the mutex; NULL but for TLS and WSS */
};

/* Checks @p listener and reads what it names. NULL with a sentence in @p why. */
struct m5_door *m5_door_new(const struct mqtt5_listener *listener, uint32_t index,
                            uint64_t packet_size_max, char why[M5_DOOR_WHY_SIZE]);

/* Nobody comes in by it any more: gives back what only newcomers need. */
void m5_door_shut(struct m5_door *door);

/* No connection of it is left. Accepts NULL. */
void m5_door_free(struct m5_door *door);

/* True when both differ in nothing but their TLS credentials, which are not looked at. */
bool m5_door_same(const struct m5_door *a, const struct m5_door *b);

/* Takes the TLS credentials of @p from, for connections that come from now on. Any thread. */
void m5_door_adopt_tls(struct m5_door *door, struct m5_door *from);

/* True when connections through it are a struct m5_channel (channel.h): more than a TCP socket. */
static inline bool m5_door_channels(const struct m5_door *door)
{
    return (door->transport != MQTT5_TRANSPORT_TCP && door->transport != MQTT5_TRANSPORT_UNIX) ||
           door->proxy != MQTT5_PROXY_OFF || door->counted;
}

static inline bool m5_door_secure(const struct m5_door *door)
{
    return door->transport == MQTT5_TRANSPORT_TLS || door->transport == MQTT5_TRANSPORT_WSS ||
           door->transport == MQTT5_TRANSPORT_UNIX; /* nothing of it leaves this machine */
}

/* "tcp", "tls", "ws", "wss", "unix". */
const char *m5_door_transport(const struct m5_door *door);

/* The server's end of TLS, or of WebSocket, for a connection from @p peer. NULL without memory. */
struct m5_transport *m5_door_tls(struct m5_door *door, const struct mqtt5_allocator *allocator);
struct m5_transport *m5_door_websocket(struct m5_door *door, const struct m5_address *peer,
                                       const struct mqtt5_allocator *allocator);

#endif
