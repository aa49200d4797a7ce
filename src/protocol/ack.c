/* PUBACK, PUBREC, PUBREL, PUBCOMP (sections 3.4 to 3.7): one shape, four tables of reason codes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "protocol/codec.h"
#include "protocol/property.h"

/* Reason code and properties: both may be missing, or the properties alone (section 3.4.2.1). */
static void read_reason(struct m5_reader *reader, const struct mqtt5_frame *frame,
                        const struct mqtt5_decode_limits *limits, struct mqtt5_ack *out)
{
    out->reason_code = m5_take_u8(reader);
    /* [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] */
    m5_reader_need(reader, mqtt5_reason_allowed(out->reason_code, frame->type),
                   MQTT5_ERR_REASON_CODE);
    if (reader->at != reader->end)
        m5_properties_read(reader, 1u << frame->type, limits, &out->properties);
}

enum mqtt5_error mqtt5_ack_decode(const struct mqtt5_frame *frame, uint8_t version,
                                  const struct mqtt5_decode_limits *limits, struct mqtt5_ack *out)
{
    M5_ASSERT(frame->type >= MQTT5_PUBACK);
    M5_ASSERT(frame->type <= MQTT5_PUBCOMP);
    if (!m5_flags_right(frame, version)) /* [MQTT-3.6.1-1] */
        return MQTT5_ERR_RESERVED_BITS;
    struct m5_reader reader = m5_reader_of(frame->body);
    out->packet_id = m5_take_packet_id(&reader);
    out->reason_code = MQTT5_REASON_SUCCESS;
    m5_properties_clear(&out->properties);
    if (version >= MQTT5_VERSION_5 && reader.at != reader.end)
        read_reason(&reader, frame, limits, out);
    return m5_reader_finish(&reader);
}

enum mqtt5_error m5_ack_packet_decode(const struct mqtt5_frame *frame, uint8_t version,
                                      const struct mqtt5_decode_limits *limits,
                                      struct mqtt5_packet *packet)
{
    return mqtt5_ack_decode(frame, version, limits, &packet->as.ack);
}

size_t m5_ack_size(const struct mqtt5_packet *packet, uint8_t version)
{
    const struct mqtt5_ack *ack = &packet->as.ack;
    if (ack->packet_id == 0)
        return M5_UNENCODABLE;
    if (version < MQTT5_VERSION_5)
        return 2;
    if (m5_properties_empty(&ack->properties))
        return ack->reason_code == MQTT5_REASON_SUCCESS ? 2 : 3;
    return m5_size_add(3, m5_properties_size(&ack->properties, 1u << packet->type));
}

uint8_t *m5_ack_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    const struct mqtt5_ack *ack = &packet->as.ack;
    out = m5_write_u16(out, ack->packet_id);
    if (version < MQTT5_VERSION_5)
        return out;
    if (m5_properties_empty(&ack->properties)) {
        if (ack->reason_code != MQTT5_REASON_SUCCESS)
            *out++ = ack->reason_code;
        return out;
    }
    *out++ = ack->reason_code;
    return m5_properties_write(&ack->properties, out);
}
