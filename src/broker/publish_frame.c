/* Encoding of outgoing PUBLISH packets: the publisher's properties are a slice that is copied.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/publish_frame.h"

#include "base/assert.h"

#include <mqtt5/packet.h>

static uint32_t properties_size(const struct m5_message_view *message,
                                const struct m5_publish_shape *shape)
{
    size_t size = message->properties.len;
    if (message->expires_at_ms != M5_NEVER)
        size += 5;
    if (shape->alias != 0)
        size += 3;
    for (uint32_t i = 0; i < shape->id_count; i++)
        size += 1 + m5_varint_size(shape->ids[i]);
    return (uint32_t)size;
}

static size_t body_size(const struct m5_message_view *message, const struct m5_publish_shape *shape)
{
    size_t size = 2 + (shape->topic_known ? 0 : message->topic.len) + message->payload.len;
    if (shape->qos > 0)
        size += 2;
    if (shape->v5) {
        uint32_t properties = properties_size(message, shape);
        size += m5_varint_size(properties) + properties;
    }
    return size;
}

uint32_t m5_publish_frame_size(const struct m5_message_view *message,
                               const struct m5_publish_shape *shape)
{
    size_t body = body_size(message, shape);
    if (body > MQTT5_REMAINING_LENGTH_MAX)
        return UINT32_MAX;
    return (uint32_t)(1 + m5_varint_size((uint32_t)body) + body);
}

static uint32_t remaining_s(uint64_t expires_at_ms, uint64_t now_ms)
{
    if (expires_at_ms <= now_ms)
        return 0;
    uint64_t seconds = (expires_at_ms - now_ms + 999) / 1000;
    return seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

static uint8_t *write_properties(const struct m5_message_view *message,
                                 const struct m5_publish_shape *shape, uint64_t now_ms,
                                 uint8_t *out)
{
    out = m5_varint_write(out, properties_size(message, shape));
    if (message->expires_at_ms != M5_NEVER) {
        *out++ = MQTT5_PROPERTY_MESSAGE_EXPIRY_INTERVAL;
        out = m5_write_u32(out, remaining_s(message->expires_at_ms, now_ms));
    }
    if (shape->alias != 0) {
        *out++ = MQTT5_PROPERTY_TOPIC_ALIAS;
        out = m5_write_u16(out, shape->alias);
    }
    for (uint32_t i = 0; i < shape->id_count; i++) {
        *out++ = MQTT5_PROPERTY_SUBSCRIPTION_IDENTIFIER;
        out = m5_varint_write(out, shape->ids[i]);
    }
    /* Format, type, response topic, correlation and user properties go on unaltered and in order
     * [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18]
     * [MQTT-3.3.2-20]. */
    return m5_copy(out, message->properties);
}

uint8_t *m5_publish_frame_write(const struct m5_message_view *message,
                                const struct m5_publish_shape *shape, uint64_t now_ms, uint8_t *out,
                                uint8_t **packet_id_at)
{
    M5_ASSERT(!shape->dup || shape->qos > 0); /* [MQTT-3.3.1-2] */
    *out++ = (uint8_t)(MQTT5_PUBLISH << 4 | (shape->dup ? 8 : 0) | shape->qos << 1 |
                       (shape->retain ? 1 : 0));
    out = m5_varint_write(out, (uint32_t)body_size(message, shape));
    if (shape->topic_known) {
        out = m5_write_u16(out, 0);
    } else {
        out = m5_write_u16(out, (uint16_t)message->topic.len);
        out = m5_copy(out, message->topic);
    }
    if (shape->qos > 0) {
        if (packet_id_at != NULL)
            *packet_id_at = out;
        out = m5_write_u16(out, shape->packet_id);
    }
    if (shape->v5)
        out = write_properties(message, shape, now_ms, out);
    return m5_copy(out, message->payload);
}
