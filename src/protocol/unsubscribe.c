/* UNSUBSCRIBE (section 3.10).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "protocol/codec.h"
#include "protocol/property.h"

enum mqtt5_error m5_unsubscribe_decode(const struct mqtt5_frame *frame, uint8_t version,
                                       const struct mqtt5_decode_limits *limits,
                                       struct mqtt5_packet *packet)
{
    struct mqtt5_unsubscribe *out = &packet->as.unsubscribe;
    if (!m5_flags_right(frame, version)) /* [MQTT-3.10.1-1] */
        return MQTT5_ERR_RESERVED_BITS;
    struct m5_reader reader = m5_reader_of(frame->body);
    out->packet_id = m5_take_packet_id(&reader);
    m5_properties_clear(&out->properties);
    if (version >= MQTT5_VERSION_5)
        m5_properties_read(&reader, MQTT5_IN_UNSUBSCRIBE, limits, &out->properties);
    out->raw = m5_bytes(reader.at, m5_reader_left(&reader));
    out->items = NULL;
    out->count = 0;
    /* [MQTT-3.10.3-2] */
    m5_reader_need(&reader, reader.at != reader.end, MQTT5_ERR_EMPTY_LIST);
    for (; reader.at != reader.end; out->count++) {
        const struct mqtt5_bytes filter = m5_take_utf8(&reader);         /* [MQTT-3.10.3-1] */
        m5_reader_need(&reader, filter.len > 0, MQTT5_ERR_FILTER_EMPTY); /* [MQTT-4.7.3-1] */
    }
    return m5_reader_finish(&reader);
}

bool mqtt5_unsubscribe_next(struct mqtt5_bytes *rest, struct mqtt5_bytes *out)
{
    struct m5_reader reader = m5_reader_of(*rest);
    *out = m5_take_binary(&reader);
    if (reader.error != MQTT5_OK)
        return false;
    *rest = m5_bytes(reader.at, m5_reader_left(&reader));
    return true;
}

static size_t list_size(const struct mqtt5_unsubscribe *unsubscribe)
{
    if (unsubscribe->items == NULL)
        return unsubscribe->raw.len;
    size_t size = 0;
    for (uint32_t i = 0; i < unsubscribe->count; i++) {
        const struct mqtt5_bytes filter = unsubscribe->items[i];
        size = m5_size_add(size, filter.len > 0 ? m5_size_text(filter) : M5_UNENCODABLE);
    }
    return size;
}

size_t m5_unsubscribe_size(const struct mqtt5_packet *packet, uint8_t version)
{
    const struct mqtt5_unsubscribe *unsubscribe = &packet->as.unsubscribe;
    const size_t list = list_size(unsubscribe);
    if (unsubscribe->packet_id == 0 || list == 0)
        return M5_UNENCODABLE;
    if (version < MQTT5_VERSION_5)
        return m5_size_add(2, list);
    const size_t properties = m5_properties_size(&unsubscribe->properties, MQTT5_IN_UNSUBSCRIBE);
    return m5_size_add(m5_size_add(2, properties), list);
}

uint8_t *m5_unsubscribe_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    const struct mqtt5_unsubscribe *unsubscribe = &packet->as.unsubscribe;
    out = m5_write_u16(out, unsubscribe->packet_id);
    if (version >= MQTT5_VERSION_5)
        out = m5_properties_write(&unsubscribe->properties, out);
    if (unsubscribe->items == NULL)
        return m5_copy(out, unsubscribe->raw);
    for (uint32_t i = 0; i < unsubscribe->count; i++)
        out = m5_write_text(out, unsubscribe->items[i]);
    return out;
}
