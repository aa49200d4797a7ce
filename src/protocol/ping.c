/* PINGREQ and PINGRESP (sections 3.12 and 3.13): nothing but a fixed header.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "protocol/codec.h"

enum mqtt5_error m5_ping_decode(const struct mqtt5_frame *frame, uint8_t version,
                                const struct mqtt5_decode_limits *limits,
                                struct mqtt5_packet *packet)
{
    (void)limits;
    (void)packet;
    if (!m5_flags_right(frame, version))
        return MQTT5_ERR_RESERVED_BITS;
    return frame->body.len == 0 ? MQTT5_OK : MQTT5_ERR_TRAILING_BYTES;
}

size_t m5_ping_size(const struct mqtt5_packet *packet, uint8_t version)
{
    (void)packet;
    (void)version;
    return 0;
}

uint8_t *m5_ping_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    (void)packet;
    (void)version;
    return out;
}
