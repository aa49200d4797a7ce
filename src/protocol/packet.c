/* All packets by type: one table of who decodes, measures and writes what.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "protocol/codec.h"
#include "protocol/sizes.h"

struct codec {
    const char *text;
    m5_decode_fn *decode;
    m5_body_size_fn *size;
    m5_body_write_fn *write;
};

static const struct codec codecs[16] = {
    [0] = {.text = "reserved"},
#define CODEC(type, decoder, name) \
    [MQTT5_##type] = {#type, m5_##decoder##_decode, m5_##name##_size, m5_##name##_write}
    CODEC(CONNECT, connect, connect),
    CODEC(CONNACK, connack, connack),
    CODEC(PUBLISH, publish_packet, publish),
    CODEC(PUBACK, ack_packet, ack),
    CODEC(PUBREC, ack_packet, ack),
    CODEC(PUBREL, ack_packet, ack),
    CODEC(PUBCOMP, ack_packet, ack),
    CODEC(SUBSCRIBE, subscribe, subscribe),
    CODEC(SUBACK, suback, suback),
    CODEC(UNSUBSCRIBE, unsubscribe, unsubscribe),
    CODEC(UNSUBACK, unsuback, unsuback),
    CODEC(PINGREQ, ping, ping),
    CODEC(PINGRESP, ping, ping),
    CODEC(DISCONNECT, disconnect, disconnect),
    CODEC(AUTH, auth, auth),
#undef CODEC
};

void mqtt5_decode_limits_init(struct mqtt5_decode_limits *limits)
{
    /* A string of 65,535 slashes has 65,536 levels, but no more than that. */
    *limits =
        (struct mqtt5_decode_limits){.user_properties_max = UINT32_MAX, .topic_levels_max = 65536};
}

enum mqtt5_error mqtt5_packet_decode(const struct mqtt5_frame *frame, uint8_t version,
                                     const struct mqtt5_decode_limits *limits,
                                     struct mqtt5_packet *out)
{
    M5_ASSERT(frame->type < M5_COUNT_OF(codecs));
    out->type = frame->type;
    const struct codec *codec = &codecs[frame->type];
    return codec->decode != NULL ? codec->decode(frame, version, limits, out)
                                 : MQTT5_ERR_PACKET_TYPE;
}

size_t mqtt5_packet_size(const struct mqtt5_packet *packet, uint8_t version)
{
    M5_ASSERT(packet->type < M5_COUNT_OF(codecs));
    const struct codec *codec = &codecs[packet->type];
    const size_t body = codec->size != NULL ? codec->size(packet, version) : M5_UNENCODABLE;
    if (body > MQTT5_REMAINING_LENGTH_MAX)
        return 0;
    return 1 + m5_varint_size((uint32_t)body) + body;
}

static uint8_t flags_of(const struct mqtt5_packet *packet)
{
    if (packet->type != MQTT5_PUBLISH)
        return m5_fixed_flags(packet->type);
    const struct mqtt5_publish *publish = &packet->as.publish;
    return (uint8_t)((publish->dup ? 8u : 0) | (unsigned)publish->qos << 1 |
                     (publish->retain ? 1u : 0));
}

/* The Remaining Length of a packet of @p size bytes: the only one whose own encoding fills the
 * difference. */
static uint32_t body_size_of(size_t size)
{
    for (size_t header = 2; header <= 5; header++) {
        if (size >= header && 1 + m5_varint_size((uint32_t)(size - header)) == header)
            return (uint32_t)(size - header);
    }
    M5_UNREACHABLE();
}

uint8_t *mqtt5_packet_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out,
                            size_t size)
{
    M5_ASSERT(packet->type < M5_COUNT_OF(codecs));
    M5_ASSERT(size >= 2);
    uint8_t *at = out;
    *at++ = (uint8_t)(packet->type << 4 | flags_of(packet));
    at = m5_varint_write(at, body_size_of(size));
    at = codecs[packet->type].write(packet, version, at);
    M5_ASSERT(at == out + size);
    return at;
}

const char *mqtt5_packet_type_text(uint8_t type)
{
    return type < M5_COUNT_OF(codecs) ? codecs[type].text : codecs[0].text;
}
