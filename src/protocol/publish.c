/* PUBLISH (section 3.3), the packet that there are most of.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "protocol/codec.h"
#include "protocol/property.h"

#include <mqtt5/topic.h>

/* A topic may be missing where an alias stands for it (section 3.3.2.3.4). */
static enum mqtt5_error check_topic(const struct mqtt5_publish *publish, uint8_t version,
                                    const struct mqtt5_decode_limits *limits)
{
    if (M5_LIKELY(publish->topic.len > 0)) /* [MQTT-3.3.2-1] [MQTT-3.3.2-2] */
        return mqtt5_topic_check(publish->topic, limits->topic_levels_max);
    if (version < MQTT5_VERSION_5)
        return MQTT5_ERR_TOPIC_EMPTY;
    return MQTT5_HAS(&publish->properties, TOPIC_ALIAS) ? MQTT5_OK : MQTT5_ERR_PROTOCOL;
}

static enum mqtt5_error read_flags(uint8_t flags, uint8_t version, struct mqtt5_publish *out)
{
    const bool dup = (flags & 8) != 0;
    out->qos = flags >> 1 & 3;
    out->retain = (flags & 1) != 0;
    out->dup = dup && out->qos > 0;
    if (out->qos == 3) /* [MQTT-3.3.1-4] */
        return MQTT5_ERR_QOS;
    /* [MQTT-3.3.1-2]; 3.1 leaves DUP without a meaning there. */
    return dup && out->qos == 0 && version > MQTT5_VERSION_3_1 ? MQTT5_ERR_DUP_QOS0 : MQTT5_OK;
}

enum mqtt5_error mqtt5_publish_decode(const struct mqtt5_frame *frame, uint8_t version,
                                      const struct mqtt5_decode_limits *limits,
                                      struct mqtt5_publish *out)
{
    const enum mqtt5_error error = read_flags(frame->flags, version, out);
    if (error != MQTT5_OK)
        return error;
    struct m5_reader reader = m5_reader_of(frame->body);
    out->topic = m5_take_binary(&reader);
    out->packet_id = out->qos > 0 ? m5_take_packet_id(&reader) : 0; /* [MQTT-2.2.1-2] */
    if (version >= MQTT5_VERSION_5)
        m5_properties_read(&reader, MQTT5_IN_PUBLISH, limits, &out->properties);
    else
        m5_properties_clear(&out->properties);
    if (M5_UNLIKELY(reader.error != MQTT5_OK))
        return reader.error;
    out->payload = m5_bytes(reader.at, m5_reader_left(&reader));
    return check_topic(out, version, limits); /* last: see <mqtt5/packet.h> */
}

enum mqtt5_error m5_publish_packet_decode(const struct mqtt5_frame *frame, uint8_t version,
                                          const struct mqtt5_decode_limits *limits,
                                          struct mqtt5_packet *packet)
{
    return mqtt5_publish_decode(frame, version, limits, &packet->as.publish);
}

static bool encodable(const struct mqtt5_publish *publish, uint8_t version)
{
    if (publish->qos > 2 || (publish->qos > 0) != (publish->packet_id != 0))
        return false;
    if (publish->dup && publish->qos == 0)
        return false;
    if (publish->topic.len > 0)
        return true;
    return version >= MQTT5_VERSION_5 && MQTT5_HAS(&publish->properties, TOPIC_ALIAS);
}

size_t m5_publish_size(const struct mqtt5_packet *packet, uint8_t version)
{
    const struct mqtt5_publish *publish = &packet->as.publish;
    if (!encodable(publish, version))
        return M5_UNENCODABLE;
    size_t size = m5_size_add(m5_size_text(publish->topic), publish->qos > 0 ? 2 : 0);
    if (version >= MQTT5_VERSION_5)
        size = m5_size_add(size, m5_properties_size(&publish->properties, MQTT5_IN_PUBLISH));
    return m5_size_add(size, publish->payload.len);
}

uint8_t *m5_publish_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    const struct mqtt5_publish *publish = &packet->as.publish;
    out = m5_write_text(out, publish->topic);
    if (publish->qos > 0)
        out = m5_write_u16(out, publish->packet_id);
    if (version >= MQTT5_VERSION_5)
        out = m5_properties_write(&publish->properties, out);
    return m5_copy(out, publish->payload);
}
