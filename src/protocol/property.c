/* Property lists: everything out of MQTT5_PROPERTY_TABLE but the rules for values.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "protocol/property.h"

#include "base/assert.h"

#include <mqtt5/topic.h>

#include <assert.h>

enum repeat { ONCE, MANY };

struct descriptor {
    const char *text;
    uint32_t packets; /* MQTT5_IN_..., 0: no such property */
    uint16_t offset;  /* of the field in struct mqtt5_properties */
    uint8_t type;     /* enum mqtt5_property_type */
    uint8_t repeat;   /* enum repeat */
};

static const struct descriptor descriptors[] = {
#define X(name, field, id, wire_type, in_packets, once_or_many, words) \
    [id] = {.text = words,                                             \
            .packets = in_packets,                                     \
            .offset = offsetof(struct mqtt5_properties, field),        \
            .type = MQTT5_PROPERTY_TYPE_##wire_type,                   \
            .repeat = once_or_many},
    MQTT5_PROPERTY_TABLE(X)
#undef X
};

static_assert(M5_COUNT_OF(descriptors) <= 64, "every property has a bit in `present`");

static const struct descriptor unknown;

static const struct descriptor *descriptor_of(uint32_t id)
{
    return id < M5_COUNT_OF(descriptors) ? &descriptors[id] : &unknown;
}

/* ---- decode ---- */

/* Reads identifier and value; the value may still break a rule. */
static void read_property(struct m5_reader *reader, struct mqtt5_property *out)
{
    const uint8_t *const start = reader->at;
    const uint32_t id = m5_take_varint(reader);
    const struct descriptor *descriptor = descriptor_of(id);
    m5_reader_need(reader, descriptor->packets != 0, MQTT5_ERR_PROPERTY_UNKNOWN);
    out->id = (enum mqtt5_property_id)id;
    out->type = (enum mqtt5_property_type)descriptor->type;
    out->number = 0;
    out->bytes = out->value = (struct mqtt5_bytes){0};
    switch (out->type) {
    case MQTT5_PROPERTY_TYPE_BYTE: out->number = m5_take_u8(reader); break;
    case MQTT5_PROPERTY_TYPE_U16: out->number = m5_take_u16(reader); break;
    case MQTT5_PROPERTY_TYPE_U32: out->number = m5_take_u32(reader); break;
    case MQTT5_PROPERTY_TYPE_VARINT: out->number = m5_take_varint(reader); break;
    case MQTT5_PROPERTY_TYPE_UTF8:
    case MQTT5_PROPERTY_TYPE_BINARY: out->bytes = m5_take_binary(reader); break;
    case MQTT5_PROPERTY_TYPE_PAIR:
        out->bytes = m5_take_binary(reader);
        out->value = m5_take_binary(reader);
        break;
    }
    out->whole = m5_bytes(start, (size_t)(reader->at - start));
}

static enum mqtt5_error check_text(const struct mqtt5_property *property)
{
    if (property->type != MQTT5_PROPERTY_TYPE_UTF8 && property->type != MQTT5_PROPERTY_TYPE_PAIR)
        return MQTT5_OK;
    const enum mqtt5_error error = m5_utf8_check(property->bytes); /* [MQTT-1.5.7-1] */
    return error != MQTT5_OK ? error : m5_utf8_check(property->value);
}

/* What sections 3.1 to 3.15 say of single values. All properties of one byte are yes or no. */
static enum mqtt5_error check_value(const struct mqtt5_property *property)
{
    bool right = true;
    switch (property->id) {
    case MQTT5_PROPERTY_RECEIVE_MAXIMUM:
    case MQTT5_PROPERTY_MAXIMUM_PACKET_SIZE:
    case MQTT5_PROPERTY_SUBSCRIPTION_IDENTIFIER: right = property->number != 0; break;
    case MQTT5_PROPERTY_TOPIC_ALIAS: /* [MQTT-3.3.2-8] */
        return property->number != 0 ? MQTT5_OK : MQTT5_ERR_TOPIC_ALIAS;
    case MQTT5_PROPERTY_RESPONSE_TOPIC: /* [MQTT-3.3.2-13] [MQTT-3.3.2-14] */
        right = mqtt5_topic_check(property->bytes, UINT32_MAX) == MQTT5_OK;
        break;
    default: right = property->type != MQTT5_PROPERTY_TYPE_BYTE || property->number <= 1; break;
    }
    return right ? MQTT5_OK : MQTT5_ERR_PROPERTY_VALUE;
}

/* Section 3.8.2.1.2: many identifiers belong to a PUBLISH that is delivered, one to SUBSCRIBE. */
static bool may_repeat(const struct mqtt5_property *property, uint32_t packet)
{
    if (property->id == MQTT5_PROPERTY_SUBSCRIPTION_IDENTIFIER)
        return packet == MQTT5_IN_PUBLISH;
    return descriptor_of(property->id)->repeat == MANY;
}

static enum mqtt5_error check(const struct mqtt5_property *property, uint32_t packet, bool repeated)
{
    if ((descriptor_of(property->id)->packets & packet) == 0)
        return MQTT5_ERR_PROPERTY_NOT_ALLOWED;
    if (repeated && !may_repeat(property, packet))
        return MQTT5_ERR_PROPERTY_DUPLICATE;
    const enum mqtt5_error error = check_text(property);
    return error != MQTT5_OK ? error : check_value(property);
}

/* Keeps the first value of each property, and the count of user properties. */
static void store(const struct mqtt5_property *property, bool repeated,
                  struct mqtt5_properties *out)
{
    void *field = (char *)out + descriptor_of(property->id)->offset;
    switch (property->type) {
    case MQTT5_PROPERTY_TYPE_BYTE:
    case MQTT5_PROPERTY_TYPE_U16:
    case MQTT5_PROPERTY_TYPE_U32:
    case MQTT5_PROPERTY_TYPE_VARINT:
        if (!repeated)
            *(uint32_t *)field = property->number;
        break;
    case MQTT5_PROPERTY_TYPE_UTF8:
    case MQTT5_PROPERTY_TYPE_BINARY: *(struct mqtt5_bytes *)field = property->bytes; break;
    case MQTT5_PROPERTY_TYPE_PAIR:
        if (!repeated)
            *(struct mqtt5_user_properties *)field = (struct mqtt5_user_properties){0};
        ((struct mqtt5_user_properties *)field)->count++;
        break;
    }
    out->present |= (uint64_t)1 << property->id;
}

void m5_properties_read_list(struct m5_reader *reader, uint32_t packet,
                             const struct mqtt5_decode_limits *limits, struct mqtt5_properties *out)
{
    const uint32_t size = m5_take_varint(reader);
    out->raw = m5_take_bytes(reader, size);
    struct m5_reader list = m5_reader_of(out->raw);
    while (list.at != list.end) {
        struct mqtt5_property property;
        read_property(&list, &property);
        if (list.error != MQTT5_OK)
            break;
        const bool repeated = (out->present >> property.id & 1) != 0;
        list.error = check(&property, packet, repeated);
        if (list.error != MQTT5_OK)
            break;
        store(&property, repeated, out);
        if (property.id == MQTT5_PROPERTY_USER_PROPERTY)
            m5_reader_need(&list, out->user_property.count <= limits->user_properties_max,
                           MQTT5_ERR_PROPERTY_COUNT);
    }
    m5_reader_need(reader, list.error == MQTT5_OK, list.error);
}

/* ---- encode ---- */

#define USER_PROPERTIES ((uint64_t)1 << MQTT5_PROPERTY_USER_PROPERTY)

static size_t number_size(uint32_t number, enum mqtt5_property_type type)
{
    switch (type) {
    case MQTT5_PROPERTY_TYPE_BYTE: return number <= UINT8_MAX ? 1 : M5_UNENCODABLE;
    case MQTT5_PROPERTY_TYPE_U16: return number <= UINT16_MAX ? 2 : M5_UNENCODABLE;
    case MQTT5_PROPERTY_TYPE_U32: return 4;
    default: return number <= MQTT5_VARINT_MAX ? m5_varint_size(number) : M5_UNENCODABLE;
    }
}

static bool is_text(const struct descriptor *descriptor)
{
    return descriptor->type == MQTT5_PROPERTY_TYPE_UTF8 ||
           descriptor->type == MQTT5_PROPERTY_TYPE_BINARY;
}

/* Bytes of one property, or M5_UNENCODABLE when @p packet cannot have it. */
static size_t field_size(const struct mqtt5_properties *properties, unsigned id, uint32_t packet)
{
    const struct descriptor *descriptor = descriptor_of(id);
    if ((descriptor->packets & packet) == 0)
        return M5_UNENCODABLE;
    const void *field = (const char *)properties + descriptor->offset;
    if (is_text(descriptor))
        return m5_size_text(*(const struct mqtt5_bytes *)field);
    return number_size(*(const uint32_t *)field, (enum mqtt5_property_type)descriptor->type);
}

static size_t user_properties_size(const struct mqtt5_user_properties *list)
{
    size_t size = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        size = m5_size_add(size, m5_size_add(1, m5_size_text(list->items[i].name)));
        size = m5_size_add(size, m5_size_text(list->items[i].value));
    }
    return size;
}

/* Only a struct that was not decoded has user properties of its own; decoded ones are in `raw`. */
static bool has_user_properties(const struct mqtt5_properties *properties)
{
    return (properties->present & USER_PROPERTIES) != 0 && properties->user_property.items != NULL;
}

/* Bytes of the list without its Property Length. */
static size_t content_size(const struct mqtt5_properties *properties, uint32_t packet)
{
    size_t size = properties->raw.len;
    for (uint64_t bits = properties->present & ~USER_PROPERTIES; bits != 0; bits &= bits - 1) {
        const unsigned id = (unsigned)__builtin_ctzll(bits);
        size = m5_size_add(size, m5_size_add(1, field_size(properties, id, packet)));
    }
    if (!has_user_properties(properties))
        return size;
    if ((descriptors[MQTT5_PROPERTY_USER_PROPERTY].packets & packet) == 0)
        return M5_UNENCODABLE;
    return m5_size_add(size, user_properties_size(&properties->user_property));
}

size_t m5_properties_size(const struct mqtt5_properties *properties, uint32_t packet)
{
    if (m5_properties_empty(properties))
        return 1;
    const size_t content = content_size(properties, packet);
    if (content > MQTT5_VARINT_MAX)
        return M5_UNENCODABLE;
    return m5_size_add(m5_varint_size((uint32_t)content), content);
}

static uint8_t *write_field(const struct mqtt5_properties *properties, unsigned id, uint8_t *out)
{
    const struct descriptor *descriptor = &descriptors[id];
    const void *field = (const char *)properties + descriptor->offset;
    *out++ = (uint8_t)id;
    if (is_text(descriptor))
        return m5_write_text(out, *(const struct mqtt5_bytes *)field);
    const uint32_t number = *(const uint32_t *)field;
    switch ((enum mqtt5_property_type)descriptor->type) {
    case MQTT5_PROPERTY_TYPE_BYTE: *out = (uint8_t)number; return out + 1;
    case MQTT5_PROPERTY_TYPE_U16: return m5_write_u16(out, (uint16_t)number);
    case MQTT5_PROPERTY_TYPE_U32: return m5_write_u32(out, number);
    default: return m5_varint_write(out, number);
    }
}

static uint8_t *write_user_properties(const struct mqtt5_user_properties *list, uint8_t *out)
{
    for (uint32_t i = 0; i < list->count; i++) {
        *out++ = MQTT5_PROPERTY_USER_PROPERTY;
        out = m5_write_text(out, list->items[i].name);
        out = m5_write_text(out, list->items[i].value);
    }
    return out;
}

uint8_t *m5_properties_write(const struct mqtt5_properties *properties, uint8_t *out)
{
    if (m5_properties_empty(properties)) {
        *out = 0;
        return out + 1;
    }
    const size_t content = content_size(properties, UINT32_MAX);
    M5_ASSERT(content <= MQTT5_VARINT_MAX);
    out = m5_varint_write(out, (uint32_t)content);
    for (uint64_t bits = properties->present & ~USER_PROPERTIES; bits != 0; bits &= bits - 1)
        out = write_field(properties, (unsigned)__builtin_ctzll(bits), out);
    if (has_user_properties(properties))
        out = write_user_properties(&properties->user_property, out);
    return m5_copy(out, properties->raw);
}

/* ---- public ---- */

bool mqtt5_property_next(struct mqtt5_bytes *rest, struct mqtt5_property *out)
{
    if (rest->len == 0)
        return false;
    struct m5_reader reader = m5_reader_of(*rest);
    read_property(&reader, out);
    if (reader.error != MQTT5_OK)
        return false;
    *rest = m5_bytes(reader.at, m5_reader_left(&reader));
    return true;
}

const char *mqtt5_property_text(uint32_t id)
{
    return descriptor_of(id)->text;
}

uint32_t mqtt5_property_packets(uint32_t id)
{
    return descriptor_of(id)->packets;
}
