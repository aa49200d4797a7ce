/* DISCONNECT and AUTH (sections 3.14 and 3.15): a reason code and properties.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "protocol/codec.h"
#include "protocol/property.h"

/* Flags and reason code; a body that is empty means success, or a normal disconnection. */
static void read_reason(struct m5_reader *reader, const struct mqtt5_frame *frame, uint8_t version,
                        struct mqtt5_reasoned *out)
{
    out->reason_code = MQTT5_REASON_SUCCESS;
    m5_properties_clear(&out->properties);
    /* [MQTT-3.14.1-1] [MQTT-3.15.1-1] */
    m5_reader_need(reader, m5_flags_right(frame, version), MQTT5_ERR_RESERVED_BITS);
    if (version < MQTT5_VERSION_5 || reader->at == reader->end)
        return;
    out->reason_code = m5_take_u8(reader);
    /* [MQTT-3.14.2-1] [MQTT-3.15.2-1] */
    m5_reader_need(reader, mqtt5_reason_allowed(out->reason_code, frame->type),
                   MQTT5_ERR_REASON_CODE);
}

enum mqtt5_error m5_disconnect_decode(const struct mqtt5_frame *frame, uint8_t version,
                                      const struct mqtt5_decode_limits *limits,
                                      struct mqtt5_packet *packet)
{
    struct mqtt5_reasoned *out = &packet->as.disconnect;
    struct m5_reader reader = m5_reader_of(frame->body);
    read_reason(&reader, frame, version, out);
    /* Section 3.14.2.2.1: the Property Length may be missing behind the reason code. */
    if (version >= MQTT5_VERSION_5 && reader.at != reader.end)
        m5_properties_read(&reader, MQTT5_IN_DISCONNECT, limits, &out->properties);
    return m5_reader_finish(&reader);
}

/* Unlike in DISCONNECT, reason code and Property Length are left out together or not at all, and a
 * packet with properties has an Authentication Method (section 3.15.2). */
enum mqtt5_error m5_auth_decode(const struct mqtt5_frame *frame, uint8_t version,
                                const struct mqtt5_decode_limits *limits,
                                struct mqtt5_packet *packet)
{
    struct mqtt5_reasoned *out = &packet->as.auth;
    if (version < MQTT5_VERSION_5)
        return MQTT5_ERR_PACKET_TYPE;
    struct m5_reader reader = m5_reader_of(frame->body);
    read_reason(&reader, frame, version, out);
    if (frame->body.len > 0) {
        m5_properties_read(&reader, MQTT5_IN_AUTH, limits, &out->properties);
        m5_reader_need(&reader, MQTT5_HAS(&out->properties, AUTHENTICATION_METHOD),
                       MQTT5_ERR_PROTOCOL);
    }
    return m5_reader_finish(&reader);
}

size_t m5_disconnect_size(const struct mqtt5_packet *packet, uint8_t version)
{
    const struct mqtt5_reasoned *disconnect = &packet->as.disconnect;
    if (version < MQTT5_VERSION_5)
        return 0;
    if (m5_properties_empty(&disconnect->properties))
        return disconnect->reason_code == MQTT5_REASON_SUCCESS ? 0 : 1;
    return m5_size_add(1, m5_properties_size(&disconnect->properties, MQTT5_IN_DISCONNECT));
}

uint8_t *m5_disconnect_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    const struct mqtt5_reasoned *disconnect = &packet->as.disconnect;
    const bool bare = m5_properties_empty(&disconnect->properties);
    if (version < MQTT5_VERSION_5 || (bare && disconnect->reason_code == MQTT5_REASON_SUCCESS))
        return out;
    *out++ = disconnect->reason_code;
    return bare ? out : m5_properties_write(&disconnect->properties, out);
}

static bool auth_is_bare(const struct mqtt5_reasoned *auth)
{
    return auth->reason_code == MQTT5_REASON_SUCCESS && m5_properties_empty(&auth->properties);
}

size_t m5_auth_size(const struct mqtt5_packet *packet, uint8_t version)
{
    const struct mqtt5_reasoned *auth = &packet->as.auth;
    if (version < MQTT5_VERSION_5)
        return M5_UNENCODABLE;
    if (auth_is_bare(auth))
        return 0;
    return m5_size_add(1, m5_properties_size(&auth->properties, MQTT5_IN_AUTH));
}

uint8_t *m5_auth_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    (void)version;
    const struct mqtt5_reasoned *auth = &packet->as.auth;
    if (auth_is_bare(auth))
        return out;
    *out++ = auth->reason_code;
    return m5_properties_write(&auth->properties, out);
}
