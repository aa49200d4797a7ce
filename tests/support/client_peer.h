/* A small server for tests of the client, with a session of its own and no idea of topics: it takes
 * numbered messages, gives numbered messages, and remembers what it promised across connections.
 *
 * Written apart from the broker, on the codec alone, so that client and broker cannot agree on the
 * same mistake.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_CLIENT_PEER_H
#define TEST_CLIENT_PEER_H

#include <mqtt5/packet.h>

#define PEER_MESSAGES 256u
#define PEER_BUFFER   65536u

enum peer_state { PEER_WAITING, PEER_SENT, PEER_RELEASED, PEER_DONE };

/* A message to the client: its number is its place, its payload that number in two bytes. */
struct peer_message {
    uint8_t qos;
    enum peer_state state;
    uint16_t id;
    bool sent_before;
};

struct peer {
    uint8_t version;
    uint16_t receive_maximum; /* ours, told in CONNACK */
    uint16_t client_receive_maximum;

    /* the session */
    bool has_session;
    uint32_t count; /* messages to the client */
    struct peer_message messages[PEER_MESSAGES];
    uint16_t last_id;
    bool received[65536]; /* QoS 2 identifiers */
    uint32_t received_count;

    /* what the client did, over all connections */
    uint32_t taken[PEER_MESSAGES]; /* how often each message of the client was taken */
    uint32_t order_errors, protocol_errors, quota_errors;
    int32_t last_taken; /* highest number that was taken first */

    /* the connection */
    bool connected;
    uint8_t in[PEER_BUFFER], out[PEER_BUFFER];
    size_t in_size, out_size;
};

void peer_init(struct peer *peer, uint8_t version);

/* A message of @p qos for the client. */
void peer_queue(struct peer *peer, uint8_t qos);

/* Bytes from the client; answers and what may be sent now go to peer->out. */
void peer_feed(struct peer *peer, struct mqtt5_bytes bytes);

/* The link is gone, with all bytes on it. */
void peer_lose(struct peer *peer);

/* Takes @p size bytes off peer->out. */
void peer_taken(struct peer *peer, size_t size);

/* Whether all that was queued is acknowledged. */
bool peer_is_done(const struct peer *peer);

#endif
