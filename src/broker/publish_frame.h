/* A PUBLISH on its way out: the parts of a message that are the same for everybody, and what
 * differs from subscriber to subscriber.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_PUBLISH_FRAME_H
#define M5_BROKER_PUBLISH_FRAME_H

#include "broker/message.h"

/* How one subscriber gets a message. */
struct m5_publish_shape {
    const uint32_t *ids; /* subscription identifiers */
    uint32_t id_count;
    uint16_t packet_id; /* 0 at QoS 0 */
    uint16_t alias;     /* 0: none */
    uint8_t qos;
    bool v5, retain, dup;
    bool topic_known; /* the peer knows `alias`: the topic is left out */
};

/* Size of the whole packet in bytes; UINT32_MAX when it would exceed the protocol's own limit. */
uint32_t m5_publish_frame_size(const struct m5_message_view *message,
                               const struct m5_publish_shape *shape);

/* Writes the packet of m5_publish_frame_size() bytes. A message that expires gets its remaining
 * seconds, rounded up [MQTT-3.3.2-6]. Returns one past the end; *@p packet_id_at (may be NULL)
 * points at the packet identifier at QoS > 0. */
uint8_t *m5_publish_frame_write(const struct m5_message_view *message,
                                const struct m5_publish_shape *shape, uint64_t now_ms, uint8_t *out,
                                uint8_t **packet_id_at);

#endif
