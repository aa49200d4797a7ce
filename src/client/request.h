/* One operation of the user, from the call to its end: a PUBLISH, SUBSCRIBE or UNSUBSCRIBE, encoded
 * once when it is made. What differs when it is sent is patched: packet identifier, DUP; an alias
 * takes a new encoding.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLIENT_REQUEST_H
#define M5_CLIENT_REQUEST_H

#include "base/bytes.h"
#include "base/list.h"

#include <mqtt5/allocator.h>
#include <mqtt5/packet.h>

/* Edges: WAITING -> SENT (transmitted) -> DONE (PUBACK, SUBACK, UNSUBACK, refusing PUBREC);
 * SENT -> RELEASED (PUBREC) -> DONE (PUBCOMP); SENT -> WAITING (connection lost, session kept);
 * any -> DONE (refused before sending, connection or session over). */
enum m5_client_request_state {
    M5_REQUEST_WAITING,
    M5_REQUEST_SENT,
    M5_REQUEST_RELEASED,
    M5_REQUEST_DONE
};

struct m5_client_request {
    struct m5_list node; /* in the client's list of its state */
    void *ctx;           /* the user's */
    enum m5_client_request_state state;
    enum mqtt5_error error; /* DONE: how it ended */
    uint8_t kind;           /* MQTT5_PUBLISH, _SUBSCRIBE, _UNSUBSCRIBE; bare: _PINGREQ, _AUTH */
    uint8_t qos;
    uint8_t reason_code; /* DONE; RELEASED: of PUBREC */
    bool retain;
    bool internal;          /* a subscription made again: its end is not COMPLETED */
    bool was_dropped;       /* DONE: it made room for others */
    bool sent_before;       /* as this packet identifier, on an earlier connection: DUP */
    uint16_t packet_id;     /* 0: none yet */
    uint16_t alias;         /* that the user wants, 0 = none */
    uint32_t count;         /* filters; of a ping: its number */
    uint32_t id_offset;     /* of the packet identifier in bytes[], if it has one */
    uint32_t expiry_offset; /* of the Message Expiry Interval in bytes[]; 0: none */
    uint64_t expires_at_ms; /* UINT64_MAX: never */
    uint32_t size;          /* of bytes[] */
    uint8_t bytes[];        /* the packet */
};

/* Encodes @p packet (PUBLISH, SUBSCRIBE, UNSUBSCRIBE) with packet identifier 1 where it has one,
 * and reads it back, which checks it wholly. Gives MQTT5_ERR_INVALID_ARGUMENT for what cannot be
 * encoded, MQTT5_ERR_UNSUPPORTED for properties in 3.1.1, MQTT5_ERR_NOMEM, or the decoder's word.
 */
enum mqtt5_error m5_client_request_new(const struct mqtt5_allocator *allocator,
                                       const struct mqtt5_packet *packet, uint8_t version,
                                       uint64_t now_ms, struct m5_client_request **out);

void m5_client_request_free(const struct mqtt5_allocator *allocator,
                            struct m5_client_request *request);

/* Checks @p bytes, a packet of our own making, by reading it back. */
enum mqtt5_error m5_client_packet_check(struct mqtt5_bytes bytes, uint8_t version,
                                        struct mqtt5_frame *frame, struct mqtt5_packet *decoded);

static inline struct m5_client_request *m5_client_request_of(struct m5_list *node)
{
    return M5_CONTAINER_OF(node, struct m5_client_request, node);
}

/* Bytes of memory that a request of @p size encoded bytes takes. */
static inline size_t m5_client_request_memory(size_t size)
{
    return sizeof(struct m5_client_request) + size;
}

#endif
