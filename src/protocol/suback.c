/* SUBACK and UNSUBACK (sections 3.9 and 3.11).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "protocol/codec.h"
#include "protocol/property.h"

#define FAILURE_OF_3_1_1 0x80u

static bool code_allowed(uint8_t code, uint8_t type, uint8_t version)
{
    if (version < MQTT5_VERSION_5)
        return code <= 2 || code == FAILURE_OF_3_1_1;
    return mqtt5_reason_allowed(code, type); /* [MQTT-3.9.3-2] [MQTT-3.11.3-2] */
}

static void read_head(struct m5_reader *reader, const struct mqtt5_frame *frame, uint8_t version,
                      const struct mqtt5_decode_limits *limits, struct mqtt5_suback *out)
{
    m5_reader_need(reader, m5_flags_right(frame, version), MQTT5_ERR_RESERVED_BITS);
    out->packet_id = m5_take_packet_id(reader);
    m5_properties_clear(&out->properties);
    if (version >= MQTT5_VERSION_5)
        m5_properties_read(reader, 1u << frame->type, limits, &out->properties);
    out->reason_codes = (struct mqtt5_bytes){0};
}

static void read_codes(struct m5_reader *reader, uint8_t type, uint8_t version,
                       struct mqtt5_suback *out)
{
    m5_reader_need(reader, reader->at != reader->end, MQTT5_ERR_EMPTY_LIST);
    out->reason_codes = m5_take_bytes(reader, m5_reader_left(reader));
    for (size_t i = 0; i < out->reason_codes.len; i++)
        m5_reader_need(reader, code_allowed(out->reason_codes.data[i], type, version),
                       MQTT5_ERR_REASON_CODE);
}

enum mqtt5_error m5_suback_decode(const struct mqtt5_frame *frame, uint8_t version,
                                  const struct mqtt5_decode_limits *limits,
                                  struct mqtt5_packet *packet)
{
    struct m5_reader reader = m5_reader_of(frame->body);
    read_head(&reader, frame, version, limits, &packet->as.suback);
    read_codes(&reader, MQTT5_SUBACK, version, &packet->as.suback);
    return m5_reader_finish(&reader);
}

enum mqtt5_error m5_unsuback_decode(const struct mqtt5_frame *frame, uint8_t version,
                                    const struct mqtt5_decode_limits *limits,
                                    struct mqtt5_packet *packet)
{
    struct m5_reader reader = m5_reader_of(frame->body);
    read_head(&reader, frame, version, limits, &packet->as.suback);
    if (version >= MQTT5_VERSION_5)
        read_codes(&reader, MQTT5_UNSUBACK, version, &packet->as.suback);
    return m5_reader_finish(&reader);
}

static size_t head_size(const struct mqtt5_packet *packet, uint8_t version)
{
    if (packet->as.suback.packet_id == 0)
        return M5_UNENCODABLE;
    if (version < MQTT5_VERSION_5)
        return 2;
    return m5_size_add(2, m5_properties_size(&packet->as.suback.properties, 1u << packet->type));
}

static uint8_t *write_head(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    out = m5_write_u16(out, packet->as.suback.packet_id);
    return version < MQTT5_VERSION_5 ? out
                                     : m5_properties_write(&packet->as.suback.properties, out);
}

size_t m5_suback_size(const struct mqtt5_packet *packet, uint8_t version)
{
    const size_t codes = packet->as.suback.reason_codes.len;
    return codes > 0 ? m5_size_add(head_size(packet, version), codes) : M5_UNENCODABLE;
}

/* 3.1.1 has one code for every failure. */
uint8_t *m5_suback_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    const struct mqtt5_bytes codes = packet->as.suback.reason_codes;
    out = write_head(packet, version, out);
    if (version >= MQTT5_VERSION_5)
        return m5_copy(out, codes);
    for (size_t i = 0; i < codes.len; i++)
        *out++ = codes.data[i] <= 2 ? codes.data[i] : FAILURE_OF_3_1_1;
    return out;
}

size_t m5_unsuback_size(const struct mqtt5_packet *packet, uint8_t version)
{
    return version < MQTT5_VERSION_5 ? head_size(packet, version) : m5_suback_size(packet, version);
}

uint8_t *m5_unsuback_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    out = write_head(packet, version, out);
    return version < MQTT5_VERSION_5 ? out : m5_copy(out, packet->as.suback.reason_codes);
}
