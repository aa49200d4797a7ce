/* Property lists: what is accepted obeys the table, and its fields encode to an equal list.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "protocol/property.h"

#include <stdlib.h>

#define USER_PROPERTIES_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t packets[] = {
    MQTT5_IN_CONNECT, MQTT5_IN_CONNACK,     MQTT5_IN_PUBLISH,  MQTT5_IN_PUBACK,
    MQTT5_IN_PUBREC,  MQTT5_IN_PUBREL,      MQTT5_IN_PUBCOMP,  MQTT5_IN_SUBSCRIBE,
    MQTT5_IN_SUBACK,  MQTT5_IN_UNSUBSCRIBE, MQTT5_IN_UNSUBACK, MQTT5_IN_DISCONNECT,
    MQTT5_IN_AUTH,    MQTT5_IN_WILL,
};

static enum mqtt5_error read(struct mqtt5_bytes bytes, uint32_t packet,
                             struct mqtt5_properties *out)
{
    const struct mqtt5_decode_limits limits = {.user_properties_max = USER_PROPERTIES_MAX};
    struct m5_reader reader = m5_reader_of(bytes);
    m5_properties_read(&reader, packet, &limits, out);
    return reader.error;
}

/* Counts each identifier and collects the user properties. */
static uint32_t walk(const struct mqtt5_properties *properties, uint32_t packet,
                     struct mqtt5_user_property *items)
{
    struct mqtt5_bytes rest = properties->raw;
    struct mqtt5_property property;
    unsigned seen[64] = {0};
    uint32_t count = 0;
    while (mqtt5_property_next(&rest, &property)) {
        M5_ASSERT((mqtt5_property_packets(property.id) & packet) != 0);
        M5_ASSERT(MQTT5_HAS(properties, USER_PROPERTY) ||
                  property.id != MQTT5_PROPERTY_USER_PROPERTY);
        if (property.id == MQTT5_PROPERTY_USER_PROPERTY)
            items[count++] =
                (struct mqtt5_user_property){.name = property.bytes, .value = property.value};
        const bool repeats =
            property.id == MQTT5_PROPERTY_USER_PROPERTY ||
            (property.id == MQTT5_PROPERTY_SUBSCRIPTION_IDENTIFIER && packet == MQTT5_IN_PUBLISH);
        M5_ASSERT(++seen[property.id] == 1 || repeats);
        M5_ASSERT((properties->present >> property.id & 1) != 0);
    }
    M5_ASSERT(rest.len == 0);
    return count;
}

static bool same_fields(const struct mqtt5_properties *a, const struct mqtt5_properties *b)
{
#define SAME_BYTE(x, y)   ((x) == (y))
#define SAME_U16(x, y)    ((x) == (y))
#define SAME_U32(x, y)    ((x) == (y))
#define SAME_VARINT(x, y) ((x) == (y))
#define SAME_UTF8(x, y)   m5_bytes_equal((x), (y))
#define SAME_BINARY(x, y) m5_bytes_equal((x), (y))
#define SAME_PAIR(x, y)   ((x).count == (y).count)
#define X(NAME, field, id, type, in, many, text)                \
    if (MQTT5_HAS(a, NAME) && !SAME_##type(a->field, b->field)) \
        return false;
    MQTT5_PROPERTY_TABLE(X)
#undef X
    return a->present == b->present;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const uint32_t packet = packets[data[0] % M5_COUNT_OF(packets)];
    struct mqtt5_properties first, second;
    if (read(m5_bytes(data + 1, size - 1), packet, &first) != MQTT5_OK)
        return 0;
    struct mqtt5_user_property items[USER_PROPERTIES_MAX];
    const uint32_t count = walk(&first, packet, items);
    M5_ASSERT(!MQTT5_HAS(&first, USER_PROPERTY) || first.user_property.count == count);

    struct mqtt5_properties own = first;
    own.raw = (struct mqtt5_bytes){0};
    own.user_property = (struct mqtt5_user_properties){.items = items, .count = count};
    const size_t encoded_size = m5_properties_size(&own, packet);
    M5_ASSERT(encoded_size != M5_UNENCODABLE && encoded_size < size);
    uint8_t *encoded = malloc(encoded_size);
    M5_ASSERT(encoded != NULL);
    M5_ASSERT(m5_properties_write(&own, encoded) == encoded + encoded_size);
    M5_ASSERT(read(m5_bytes(encoded, encoded_size), packet, &second) == MQTT5_OK);
    M5_ASSERT(same_fields(&first, &second));
    free(encoded);
    return 0;
}
