/* The fixed header: where a packet ends in a stream of bytes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/packet.h>

#define LENGTH_BYTES_MAX 4u

/* Reads the Remaining Length at @p p; NEED_MORE when @p size bytes do not hold all of it. */
static enum mqtt5_error read_length(const uint8_t *p, size_t size, struct mqtt5_frame *out,
                                    uint32_t *length)
{
    *length = 0;
    for (unsigned i = 0; i < LENGTH_BYTES_MAX; i++) {
        if (i == size)
            return MQTT5_NEED_MORE;
        *length |= (uint32_t)(p[i] & 0x7F) << 7 * i;
        if (p[i] < 0x80) {
            out->header_size = (uint8_t)(2 + i);
            return p[i] == 0 && i > 0 ? MQTT5_ERR_VARINT_NOT_MINIMAL : MQTT5_OK;
        }
    }
    return MQTT5_ERR_VARINT_TOO_LONG;
}

enum mqtt5_error mqtt5_frame_read(struct mqtt5_bytes stream, uint32_t size_max,
                                  struct mqtt5_frame *out)
{
    *out = (struct mqtt5_frame){0};
    if (stream.len == 0)
        return MQTT5_NEED_MORE;
    out->type = stream.data[0] >> 4;
    out->flags = stream.data[0] & 0x0F;
    uint32_t length;
    const enum mqtt5_error error = read_length(stream.data + 1, stream.len - 1, out, &length);
    if (error != MQTT5_OK)
        return error;
    out->size = out->header_size + length;
    if (out->size > size_max)
        return MQTT5_ERR_PACKET_TOO_LARGE;
    if (stream.len < out->size)
        return MQTT5_NEED_MORE;
    out->body = (struct mqtt5_bytes){.data = stream.data + out->header_size, .len = length};
    return MQTT5_OK;
}
