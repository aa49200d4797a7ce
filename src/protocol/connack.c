/* CONNACK (section 3.2).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "protocol/codec.h"
#include "protocol/property.h"

#define FLAG_SESSION_PRESENT 0x01u

static bool code_allowed(uint8_t code, uint8_t version)
{
    if (version < MQTT5_VERSION_5)
        return code <= MQTT5_V3_NOT_AUTHORIZED;
    return mqtt5_reason_allowed(code, MQTT5_CONNACK); /* [MQTT-3.2.2-8] */
}

enum mqtt5_error m5_connack_decode(const struct mqtt5_frame *frame, uint8_t version,
                                   const struct mqtt5_decode_limits *limits,
                                   struct mqtt5_packet *packet)
{
    struct mqtt5_connack *out = &packet->as.connack;
    struct m5_reader reader = m5_reader_of(frame->body);
    m5_reader_need(&reader, m5_flags_right(frame, version), MQTT5_ERR_RESERVED_BITS);
    uint8_t flags = m5_take_u8(&reader);
    if (version == MQTT5_VERSION_3_1)
        flags = 0; /* the whole byte is unused there */
    out->session_present = (flags & FLAG_SESSION_PRESENT) != 0;
    out->reason_code = m5_take_u8(&reader);
    /* [MQTT-3.2.2-1] */
    m5_reader_need(&reader, (flags & ~FLAG_SESSION_PRESENT) == 0, MQTT5_ERR_RESERVED_BITS);
    m5_reader_need(&reader, code_allowed(out->reason_code, version), MQTT5_ERR_REASON_CODE);
    /* [MQTT-3.2.2-6] */
    m5_reader_need(&reader, !out->session_present || out->reason_code == 0, MQTT5_ERR_PROTOCOL);
    m5_properties_clear(&out->properties);
    if (version >= MQTT5_VERSION_5)
        m5_properties_read(&reader, MQTT5_IN_CONNACK, limits, &out->properties);
    return m5_reader_finish(&reader);
}

size_t m5_connack_size(const struct mqtt5_packet *packet, uint8_t version)
{
    const struct mqtt5_connack *connack = &packet->as.connack;
    if (version < MQTT5_VERSION_5)
        return code_allowed(connack->reason_code, version) ? 2 : M5_UNENCODABLE;
    return m5_size_add(2, m5_properties_size(&connack->properties, MQTT5_IN_CONNACK));
}

uint8_t *m5_connack_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    const struct mqtt5_connack *connack = &packet->as.connack;
    const bool has_flag = version != MQTT5_VERSION_3_1 && connack->session_present;
    *out++ = has_flag ? FLAG_SESSION_PRESENT : 0;
    *out++ = connack->reason_code;
    return version < MQTT5_VERSION_5 ? out : m5_properties_write(&connack->properties, out);
}
