/* What must hold for any bytes that are decoded.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/wire_check.h"

#include "base/bytes.h"
#include "support/hex.h"

#include <stdio.h>
#include <stdlib.h>

struct encoded {
    uint8_t *data;
    size_t size;
};

static _Noreturn void fail(const char *what, struct mqtt5_bytes bytes, uint8_t version)
{
    fprintf(stderr, "wire check, version %u: %s\n", version, what);
    hex_print("packet", bytes);
    abort();
}

struct mqtt5_properties *wire_properties(struct mqtt5_packet *packet)
{
    switch ((enum mqtt5_packet_type)packet->type) {
    case MQTT5_CONNECT: return &packet->as.connect.properties;
    case MQTT5_CONNACK: return &packet->as.connack.properties;
    case MQTT5_PUBLISH: return &packet->as.publish.properties;
    case MQTT5_PUBACK:
    case MQTT5_PUBREC:
    case MQTT5_PUBREL:
    case MQTT5_PUBCOMP: return &packet->as.ack.properties;
    case MQTT5_SUBSCRIBE: return &packet->as.subscribe.properties;
    case MQTT5_UNSUBSCRIBE: return &packet->as.unsubscribe.properties;
    case MQTT5_SUBACK:
    case MQTT5_UNSUBACK: return &packet->as.suback.properties;
    case MQTT5_DISCONNECT: return &packet->as.disconnect.properties;
    case MQTT5_AUTH: return &packet->as.auth.properties;
    case MQTT5_PINGREQ:
    case MQTT5_PINGRESP: break;
    }
    return NULL;
}

/* Everything but an empty topic next to an alias survives with `raw` alone; that needs its bit. */
void wire_pass_on(struct mqtt5_packet *packet)
{
    struct mqtt5_properties *properties = wire_properties(packet);
    if (properties != NULL)
        properties->present = 0;
    if (packet->type == MQTT5_CONNECT)
        packet->as.connect.will.properties.present = 0;
}

/* Every property comes out of the list, and together they are the list. */
static bool properties_add_up(const struct mqtt5_properties *properties)
{
    struct mqtt5_bytes rest = properties->raw;
    struct mqtt5_property property;
    uint64_t seen = 0;
    uint32_t user_properties = 0;
    const uint8_t *at = rest.data;
    while (mqtt5_property_next(&rest, &property)) {
        if (property.whole.data != at || mqtt5_property_text(property.id) == NULL)
            return false;
        at += property.whole.len;
        seen |= (uint64_t)1 << property.id;
        user_properties += property.id == MQTT5_PROPERTY_USER_PROPERTY;
    }
    if (MQTT5_HAS(properties, USER_PROPERTY) && properties->user_property.count != user_properties)
        return false;
    return rest.len == 0 && seen == properties->present;
}

static bool lists_add_up(const struct mqtt5_packet *packet, uint8_t version)
{
    uint32_t count = 0;
    if (packet->type == MQTT5_SUBSCRIBE) {
        struct mqtt5_bytes rest = packet->as.subscribe.raw;
        struct mqtt5_subscription_request request;
        for (; mqtt5_subscribe_next(&rest, version, &request); count++) {
            if (request.filter.len == 0 || request.qos > 2 || request.retain_handling > 2)
                return false;
        }
        return rest.len == 0 && count == packet->as.subscribe.count && count > 0;
    }
    if (packet->type == MQTT5_UNSUBSCRIBE) {
        struct mqtt5_bytes rest = packet->as.unsubscribe.raw, filter;
        for (; mqtt5_unsubscribe_next(&rest, &filter); count++)
            if (filter.len == 0)
                return false;
        return rest.len == 0 && count == packet->as.unsubscribe.count && count > 0;
    }
    return true;
}

static enum mqtt5_error decode(struct mqtt5_bytes bytes, uint8_t version,
                               struct mqtt5_packet *packet)
{
    struct mqtt5_decode_limits limits;
    struct mqtt5_frame frame;
    mqtt5_decode_limits_init(&limits);
    const enum mqtt5_error error = mqtt5_frame_read(bytes, UINT32_MAX, &frame);
    return error != MQTT5_OK ? error : mqtt5_packet_decode(&frame, version, &limits, packet);
}

/* Encodes a decoded packet into memory of exactly its size. */
static struct encoded encode(const struct mqtt5_packet *packet, uint8_t version)
{
    struct mqtt5_packet passed = *packet;
    wire_pass_on(&passed);
    if (packet->type == MQTT5_PUBLISH && packet->as.publish.topic.len == 0) {
        /* The encoder looks for the alias itself, so it is given by field, without the others. */
        passed.as.publish.properties.present = (uint64_t)1 << MQTT5_PROPERTY_TOPIC_ALIAS;
        passed.as.publish.properties.raw = (struct mqtt5_bytes){0};
    }
    const size_t size = mqtt5_packet_size(&passed, version);
    uint8_t *data = size > 0 ? malloc(size) : NULL;
    if (data != NULL && mqtt5_packet_write(&passed, version, data, size) != data + size)
        abort();
    return (struct encoded){.data = data, .size = size};
}

enum mqtt5_error wire_check(struct mqtt5_bytes bytes, uint8_t version)
{
    struct mqtt5_packet packet, again;
    const enum mqtt5_error error = decode(bytes, version, &packet);
    if (error != MQTT5_OK)
        return error;
    struct mqtt5_properties *properties = wire_properties(&packet);
    if (properties != NULL && !properties_add_up(properties))
        fail("properties do not add up", bytes, version);
    if (packet.type == MQTT5_CONNECT && !properties_add_up(&packet.as.connect.will.properties))
        fail("will properties do not add up", bytes, version);
    if (!lists_add_up(&packet, version))
        fail("the list does not add up", bytes, version);

    const struct encoded first = encode(&packet, version);
    if (first.data == NULL || first.size > bytes.len)
        fail("accepted, but encoded not at all or larger", bytes, version);
    if (decode(m5_bytes(first.data, first.size), version, &again) != MQTT5_OK)
        fail("what was encoded is not accepted", bytes, version);
    const struct encoded second = encode(&again, version);
    if (!m5_bytes_equal(m5_bytes(first.data, first.size), m5_bytes(second.data, second.size)))
        fail("encoded again it is different", bytes, version);
    free(first.data);
    free(second.data);
    return MQTT5_OK;
}
