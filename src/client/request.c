/* One operation of the user, from the call to its end.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/request.h"

#include "base/alloc.h"

static const struct mqtt5_properties *properties_of(const struct mqtt5_packet *packet)
{
    switch (packet->type) {
    case MQTT5_PUBLISH: return &packet->as.publish.properties;
    case MQTT5_SUBSCRIBE: return &packet->as.subscribe.properties;
    default: return &packet->as.unsubscribe.properties;
    }
}

/* What the decoder lets pass because a server may send it. */
static enum mqtt5_error check_publish(const struct mqtt5_publish *publish)
{
    if (MQTT5_HAS(&publish->properties, SUBSCRIPTION_IDENTIFIER)) /* [MQTT-3.3.4-6] */
        return MQTT5_ERR_PROPERTY_NOT_ALLOWED;
    if (MQTT5_HAS(&publish->properties, TOPIC_ALIAS)) /* came in `raw`: not ours to tell apart */
        return MQTT5_ERR_TOPIC_ALIAS;
    return publish->topic.len == 0 ? MQTT5_ERR_TOPIC_EMPTY : MQTT5_OK;
}

enum mqtt5_error m5_client_packet_check(struct mqtt5_bytes bytes, uint8_t version,
                                        struct mqtt5_frame *frame, struct mqtt5_packet *decoded)
{
    struct mqtt5_decode_limits limits;
    mqtt5_decode_limits_init(&limits);
    enum mqtt5_error error = mqtt5_frame_read(bytes, UINT32_MAX, frame);
    if (error != MQTT5_OK)
        return error;
    error = mqtt5_packet_decode(frame, version, &limits, decoded);
    if (error == MQTT5_OK && decoded->type == MQTT5_PUBLISH)
        error = check_publish(&decoded->as.publish);
    return error;
}

static void note_expiry(struct m5_client_request *request, const struct mqtt5_publish *publish,
                        uint64_t now_ms)
{
    struct mqtt5_bytes rest = publish->properties.raw;
    struct mqtt5_property property;
    if (!MQTT5_HAS(&publish->properties, MESSAGE_EXPIRY_INTERVAL))
        return;
    while (mqtt5_property_next(&rest, &property)) {
        if (property.id != MQTT5_PROPERTY_MESSAGE_EXPIRY_INTERVAL)
            continue;
        request->expiry_offset = (uint32_t)(property.whole.data + 1 - request->bytes);
        request->expires_at_ms = now_ms + (uint64_t)property.number * 1000;
    }
}

static void describe(struct m5_client_request *request, const struct mqtt5_packet *decoded,
                     uint32_t header_size, uint64_t now_ms)
{
    request->expires_at_ms = UINT64_MAX;
    request->id_offset = header_size;
    if (request->kind == MQTT5_SUBSCRIBE) {
        request->count = decoded->as.subscribe.count;
    } else if (request->kind == MQTT5_UNSUBSCRIBE) {
        request->count = decoded->as.unsubscribe.count;
    } else {
        const struct mqtt5_publish *publish = &decoded->as.publish;
        request->qos = publish->qos;
        request->retain = publish->retain;
        request->id_offset += (uint32_t)(2 + publish->topic.len);
        note_expiry(request, publish, now_ms);
    }
}

enum mqtt5_error m5_client_request_new(const struct mqtt5_allocator *allocator,
                                       const struct mqtt5_packet *packet, uint8_t version,
                                       uint64_t now_ms, struct m5_client_request **out)
{
    const struct mqtt5_properties *properties = properties_of(packet);
    if (version != MQTT5_VERSION_5 && (properties->present != 0 || properties->raw.len > 0))
        return MQTT5_ERR_UNSUPPORTED;
    const size_t size = mqtt5_packet_size(packet, version);
    if (size == 0)
        return MQTT5_ERR_INVALID_ARGUMENT;
    struct m5_client_request *request = m5_alloc(allocator, m5_client_request_memory(size));
    if (request == NULL)
        return MQTT5_ERR_NOMEM;
    *request = (struct m5_client_request){.kind = packet->type, .size = (uint32_t)size};
    m5_list_init(&request->node);
    mqtt5_packet_write(packet, version, request->bytes, size);

    struct mqtt5_frame frame;
    struct mqtt5_packet decoded;
    const enum mqtt5_error error =
        m5_client_packet_check(m5_bytes(request->bytes, size), version, &frame, &decoded);
    if (error != MQTT5_OK) {
        m5_client_request_free(allocator, request);
        return error;
    }
    describe(request, &decoded, frame.header_size, now_ms);
    *out = request;
    return MQTT5_OK;
}

void m5_client_request_free(const struct mqtt5_allocator *allocator,
                            struct m5_client_request *request)
{
    m5_free(allocator, request, m5_client_request_memory(request->size));
}
