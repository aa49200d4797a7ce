/* SUBSCRIBE (section 3.8).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "protocol/codec.h"
#include "protocol/property.h"
#include "protocol/topic.h"

#define OPTION_QOS                 0x03u
#define OPTION_NO_LOCAL            0x04u
#define OPTION_RETAIN_AS_PUBLISHED 0x08u
#define OPTION_RESERVED            0xC0u

/* [MQTT-3.8.3-5] [MQTT-3.8.3-4]; 3.1.1 knows the QoS alone, 3.1 does not look at the rest. */
static enum mqtt5_error check_options(uint8_t options, struct mqtt5_bytes filter, uint8_t version)
{
    if ((options & OPTION_QOS) == 3)
        return MQTT5_ERR_SUBSCRIPTION_QOS;
    if (version == MQTT5_VERSION_3_1)
        return MQTT5_OK;
    const uint8_t reserved = version >= MQTT5_VERSION_5 ? OPTION_RESERVED : (uint8_t)~OPTION_QOS;
    if ((options & reserved) != 0)
        return MQTT5_ERR_SUBSCRIPTION_OPTIONS;
    if ((options >> 4 & 3) == 3)
        return MQTT5_ERR_RETAIN_HANDLING;
    if ((options & OPTION_NO_LOCAL) != 0 && m5_filter_is_shared(filter))
        return MQTT5_ERR_NO_LOCAL_SHARED;
    return MQTT5_OK;
}

static void read_subscription(struct m5_reader *reader, uint8_t version)
{
    const struct mqtt5_bytes filter = m5_take_utf8(reader); /* [MQTT-3.8.3-1] */
    const uint8_t options = m5_take_u8(reader);
    m5_reader_need(reader, filter.len > 0, MQTT5_ERR_FILTER_EMPTY); /* [MQTT-4.7.3-1] */
    const enum mqtt5_error error = check_options(options, filter, version);
    m5_reader_need(reader, error == MQTT5_OK, error);
}

enum mqtt5_error m5_subscribe_decode(const struct mqtt5_frame *frame, uint8_t version,
                                     const struct mqtt5_decode_limits *limits,
                                     struct mqtt5_packet *packet)
{
    struct mqtt5_subscribe *out = &packet->as.subscribe;
    if (!m5_flags_right(frame, version)) /* [MQTT-3.8.1-1] */
        return MQTT5_ERR_RESERVED_BITS;
    struct m5_reader reader = m5_reader_of(frame->body);
    out->packet_id = m5_take_packet_id(&reader);
    m5_properties_clear(&out->properties);
    if (version >= MQTT5_VERSION_5)
        m5_properties_read(&reader, MQTT5_IN_SUBSCRIBE, limits, &out->properties);
    out->raw = m5_bytes(reader.at, m5_reader_left(&reader));
    out->items = NULL;
    out->count = 0;
    /* [MQTT-3.8.3-2] */
    m5_reader_need(&reader, reader.at != reader.end, MQTT5_ERR_EMPTY_LIST);
    for (; reader.at != reader.end; out->count++)
        read_subscription(&reader, version);
    return m5_reader_finish(&reader);
}

bool mqtt5_subscribe_next(struct mqtt5_bytes *rest, uint8_t version,
                          struct mqtt5_subscription_request *out)
{
    struct m5_reader reader = m5_reader_of(*rest);
    out->filter = m5_take_binary(&reader);
    const uint8_t options = m5_take_u8(&reader);
    if (reader.error != MQTT5_OK)
        return false;
    const uint8_t used = version >= MQTT5_VERSION_5 ? options : options & OPTION_QOS;
    out->qos = used & OPTION_QOS;
    out->no_local = (used & OPTION_NO_LOCAL) != 0;
    out->retain_as_published = (used & OPTION_RETAIN_AS_PUBLISHED) != 0;
    out->retain_handling = used >> 4 & 3;
    *rest = m5_bytes(reader.at, m5_reader_left(&reader));
    return true;
}

static size_t item_size(const struct mqtt5_subscription_request *item)
{
    if (item->filter.len == 0 || item->qos > 2 || item->retain_handling > 2)
        return M5_UNENCODABLE;
    return m5_size_add(m5_size_text(item->filter), 1);
}

static size_t list_size(const struct mqtt5_subscribe *subscribe)
{
    if (subscribe->items == NULL)
        return subscribe->raw.len;
    size_t size = 0;
    for (uint32_t i = 0; i < subscribe->count; i++)
        size = m5_size_add(size, item_size(&subscribe->items[i]));
    return size;
}

size_t m5_subscribe_size(const struct mqtt5_packet *packet, uint8_t version)
{
    const struct mqtt5_subscribe *subscribe = &packet->as.subscribe;
    const size_t list = list_size(subscribe);
    if (subscribe->packet_id == 0 || list == 0)
        return M5_UNENCODABLE;
    if (version < MQTT5_VERSION_5)
        return m5_size_add(2, list);
    const size_t properties = m5_properties_size(&subscribe->properties, MQTT5_IN_SUBSCRIBE);
    return m5_size_add(m5_size_add(2, properties), list);
}

static uint8_t options_of(const struct mqtt5_subscription_request *item, uint8_t version)
{
    if (version < MQTT5_VERSION_5)
        return item->qos;
    return (uint8_t)(item->qos | (item->no_local ? OPTION_NO_LOCAL : 0) |
                     (item->retain_as_published ? OPTION_RETAIN_AS_PUBLISHED : 0) |
                     (unsigned)item->retain_handling << 4);
}

uint8_t *m5_subscribe_write(const struct mqtt5_packet *packet, uint8_t version, uint8_t *out)
{
    const struct mqtt5_subscribe *subscribe = &packet->as.subscribe;
    out = m5_write_u16(out, subscribe->packet_id);
    if (version >= MQTT5_VERSION_5)
        out = m5_properties_write(&subscribe->properties, out);
    if (subscribe->items == NULL)
        return m5_copy(out, subscribe->raw);
    for (uint32_t i = 0; i < subscribe->count; i++) {
        out = m5_write_text(out, subscribe->items[i].filter);
        *out++ = options_of(&subscribe->items[i], version);
    }
    return out;
}
