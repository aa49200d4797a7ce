/* What each packet's file gives to the table in packet.c. All of them see whole bodies: the fixed
 * header is frame.c's on the way in and packet.c's on the way out.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_PROTOCOL_CODEC_H
#define M5_PROTOCOL_CODEC_H

#include <mqtt5/packet.h>

typedef enum mqtt5_error m5_decode_fn(const struct mqtt5_frame *frame, uint8_t version,
                                      const struct mqtt5_decode_limits *limits,
                                      struct mqtt5_packet *out);

/* Bytes of the body, or M5_UNENCODABLE. */
typedef size_t m5_body_size_fn(const struct mqtt5_packet *packet, uint8_t version);

/* Writes the body that m5_body_size_fn measured; one past its last byte. */
typedef uint8_t *m5_body_write_fn(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out);

m5_decode_fn m5_connect_decode, m5_connack_decode, m5_publish_packet_decode, m5_ack_packet_decode,
    m5_subscribe_decode, m5_suback_decode, m5_unsubscribe_decode, m5_unsuback_decode,
    m5_ping_decode, m5_disconnect_decode, m5_auth_decode;
m5_body_size_fn m5_connect_size, m5_connack_size, m5_publish_size, m5_ack_size, m5_subscribe_size,
    m5_suback_size, m5_unsubscribe_size, m5_unsuback_size, m5_ping_size, m5_disconnect_size,
    m5_auth_size;
m5_body_write_fn m5_connect_write, m5_connack_write, m5_publish_write, m5_ack_write,
    m5_subscribe_write, m5_suback_write, m5_unsubscribe_write, m5_unsuback_write, m5_ping_write,
    m5_disconnect_write, m5_auth_write;

/* The flags that the fixed header of a packet other than PUBLISH has [MQTT-2.1.3-1]. */
static inline uint8_t m5_fixed_flags(uint8_t type)
{
    return type == MQTT5_PUBREL || type == MQTT5_SUBSCRIBE || type == MQTT5_UNSUBSCRIBE ? 2 : 0;
}

/* 3.1 sends PUBREL, SUBSCRIBE and UNSUBSCRIBE at "QoS 1", so there DUP may stand beside. */
static inline bool m5_flags_right(const struct mqtt5_frame *frame, uint8_t version)
{
    const uint8_t fixed = m5_fixed_flags(frame->type);
    const uint8_t dup = version == MQTT5_VERSION_3_1 && fixed == 2 ? 8 : 0;
    return (frame->flags & ~dup) == fixed;
}

#endif
