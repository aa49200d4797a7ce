/* What goes out: acknowledgements at once, messages while the server's Receive Maximum allows.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/hash.h"
#include "client/state.h"

#define DUP_FLAG 8u /* in the first byte of a PUBLISH */

/* Room for @p size bytes of output, which are then counted as written. NULL without memory; then
 * the connection is ended: a packet that is left out would break the protocol. */
static uint8_t *reserve(struct m5_client *client, size_t size)
{
    uint8_t *out = m5_client_buffer_reserve(&client->out, client->allocator, size);
    if (out == NULL) {
        m5_client_close_now(client,
                            &(struct m5_client_ending){.known = true, .error = MQTT5_ERR_NOMEM});
        return NULL;
    }
    if (m5_client_buffer_size(&client->out) == 0)
        client->progress_at_ms = client->now_ms;
    client->out.end += size;
    client->sent_at_ms = client->now_ms;
    return out;
}

bool m5_client_send_packet(struct m5_client *client, const struct mqtt5_packet *packet)
{
    const size_t size = mqtt5_packet_size(packet, client->version);
    M5_ASSERT(size > 0);
    uint8_t *out = reserve(client, size);
    if (out == NULL)
        return false;
    mqtt5_packet_write(packet, client->version, out, size);
    return true;
}

void m5_client_send_ack(struct m5_client *client, uint8_t type, uint16_t id, uint8_t reason_code)
{
    const bool in_words = client->version == MQTT5_VERSION_5;
    const struct mqtt5_packet packet = {
        .type = type,
        .as.ack = {.packet_id = id, .reason_code = in_words ? reason_code : 0},
    };
    (void)m5_client_send_packet(client, &packet); /* without memory the connection has ended */
}

enum mqtt5_error m5_client_allowed(const struct m5_client *client, uint8_t qos, bool retain,
                                   size_t size, uint8_t *reason_code)
{
    *reason_code = 0;
    if (qos > client->info.maximum_qos) { /* [MQTT-3.2.2-11] */
        *reason_code = MQTT5_REASON_QOS_NOT_SUPPORTED;
        return MQTT5_ERR_UNSUPPORTED;
    }
    if (retain && !client->info.retain_available) { /* [MQTT-3.2.2-14] */
        *reason_code = MQTT5_REASON_RETAIN_NOT_SUPPORTED;
        return MQTT5_ERR_UNSUPPORTED;
    }
    if (size > client->info.maximum_packet_size) { /* [MQTT-3.2.2-15] */
        *reason_code = MQTT5_REASON_PACKET_TOO_LARGE;
        return MQTT5_ERR_PACKET_TOO_LARGE;
    }
    return MQTT5_OK;
}

/* ---- topic aliases ---- */

#define AUTO_TOPIC_MIN 8u /* bytes of a topic that is worth an alias, which takes 3 bytes */
#define AUTO_REPLACE   8u /* every so many misses a topic takes the alias of another */

/* An encoded PUBLISH of version 5, taken apart without being decoded. */
struct parts {
    struct mqtt5_bytes topic, id, properties, payload;
};

static uint32_t take_varint(const uint8_t **p)
{
    uint32_t value = 0, shift = 0;
    do {
        value |= (uint32_t)(**p & 127u) << shift;
        shift += 7;
    } while ((*(*p)++ & 128u) != 0);
    return value;
}

static struct parts take_apart(const struct m5_client_request *request)
{
    const uint8_t *p = request->bytes + 1, *end = request->bytes + request->size;
    struct parts parts = {0};
    (void)take_varint(&p);
    parts.topic = m5_bytes(p + 2, m5_read_u16(p));
    p += 2 + parts.topic.len;
    parts.id = m5_bytes(p, request->qos > 0 ? 2 : 0);
    p += parts.id.len;
    const uint32_t size = take_varint(&p);
    parts.properties = m5_bytes(p, size);
    parts.payload = m5_bytes(p + size, (size_t)(end - p) - size);
    return parts;
}

/* An alias for @p topic when the user has set none; 0: it goes as it is. A topic has two places; it
 * takes a free one, or now and then that of another topic. */
static uint16_t choose_alias(struct m5_client *client, struct mqtt5_bytes topic)
{
    const uint32_t max = client->config.auto_aliases_max < client->info.topic_alias_maximum
                             ? client->config.auto_aliases_max
                             : client->info.topic_alias_maximum;
    if (max == 0 || topic.len < AUTO_TOPIC_MIN)
        return 0;
    const uint64_t hash = m5_hash(&(struct m5_hash_key){0}, topic);
    const uint16_t places[2] = {(uint16_t)(1 + (uint32_t)hash % max),
                                (uint16_t)(1 + (uint32_t)(hash >> 32) % max)};
    uint16_t free = 0;
    for (int i = 0; i < 2; i++) {
        const struct mqtt5_bytes held = m5_client_alias_get(&client->aliases_out, places[i]);
        if (m5_bytes_equal(held, topic))
            return places[i];
        if (held.len == 0 && free == 0)
            free = places[i];
    }
    if (free != 0)
        return free;
    return ++client->alias_misses % AUTO_REPLACE == 0 ? places[0] : 0;
}

static void write_parts(uint8_t *out, const struct m5_client_request *request,
                        const struct parts *parts, uint32_t body, uint16_t alias)
{
    *out++ = (uint8_t)(request->bytes[0] | (request->sent_before ? DUP_FLAG : 0));
    out = m5_varint_write(out, body);
    out = m5_copy(m5_write_u16(out, (uint16_t)parts->topic.len), parts->topic);
    if (request->qos > 0)
        out = m5_write_u16(out, request->packet_id);
    out = m5_varint_write(out, (uint32_t)parts->properties.len + 3);
    *out++ = MQTT5_PROPERTY_TOPIC_ALIAS;
    out = m5_write_u16(out, alias);
    m5_copy(m5_copy(out, parts->properties), parts->payload);
}

/* Puts the alias in, and leaves the topic out where the server has been told it on this connection.
 * False when the packet is to go as it is: that is always right. */
static bool write_with_alias(struct m5_client *client, const struct m5_client_request *request)
{
    if (client->version != MQTT5_VERSION_5 || request->kind != MQTT5_PUBLISH)
        return false;
    struct parts parts = take_apart(request);
    const uint16_t alias = request->alias != 0 ? request->alias : choose_alias(client, parts.topic);
    if (alias == 0 ||
        alias > client->info.topic_alias_maximum) /* [MQTT-3.2.2-17] [MQTT-3.2.2-18] */
        return false;
    const struct mqtt5_bytes topic = parts.topic;
    const bool known = m5_bytes_equal(m5_client_alias_get(&client->aliases_out, alias), topic);
    if (known)
        parts.topic.len = 0;
    const size_t properties = parts.properties.len + 3;
    const size_t body = 2 + parts.topic.len + parts.id.len + m5_varint_size((uint32_t)properties) +
                        properties + parts.payload.len;
    const size_t size = 1 + m5_varint_size((uint32_t)body) + body;
    if (body > MQTT5_REMAINING_LENGTH_MAX || size > client->info.maximum_packet_size)
        return false;
    if (!known && !m5_client_alias_set(&client->aliases_out, client->allocator, alias, topic))
        return false;
    uint8_t *out = reserve(client, size);
    if (out == NULL)
        return false;
    write_parts(out, request, &parts, (uint32_t)body, alias);
    return true;
}

/* ---- queued requests ---- */

/* The identifier stays that of the first sending [MQTT-2.2.1-5] [MQTT-4.4.0-1]. */
static bool write_plain(struct m5_client *client, const struct m5_client_request *request)
{
    uint8_t *out = reserve(client, request->size);
    if (out == NULL)
        return false;
    m5_copy(out, m5_bytes(request->bytes, request->size));
    if (request->packet_id != 0)
        m5_write_u16(out + request->id_offset, request->packet_id);
    if (request->sent_before) /* [MQTT-3.3.1-1] */
        out[0] |= DUP_FLAG;
    return true;
}

/* Writes @p request, which waits and has its packet identifier if it needs one. It goes on waiting
 * when that ends the connection. */
static void write_request(struct m5_client *client, struct m5_client_request *request)
{
    const bool aliases = request->alias != 0 || client->config.auto_aliases_max > 0;
    const bool written = (aliases && write_with_alias(client, request)) ||
                         (client->state == MQTT5_CLIENT_CONNECTED && write_plain(client, request));
    if (!written)
        return;
    if (request->packet_id == 0) { /* QoS 0 ends here [MQTT-4.3.1-1] */
        m5_client_finish(client, request, MQTT5_OK, 0);
        return;
    }
    m5_list_remove(&request->node);
    m5_list_push_back(&client->sent, &request->node);
    request->state = M5_REQUEST_SENT;
    if (request->kind == MQTT5_PUBLISH)
        client->inflight++;
}

/* Sends SUBSCRIBEs and UNSUBSCRIBEs, which wait for no quota [MQTT-3.3.4-8] [MQTT-4.9.0-3]. */
static void transmit_control(struct m5_client *client)
{
    while (!m5_list_empty(&client->control) && client->state == MQTT5_CLIENT_CONNECTED) {
        struct m5_client_request *request = m5_client_request_of(client->control.next);
        if (request->size > client->info.maximum_packet_size)
            m5_client_finish(client, request, MQTT5_ERR_PACKET_TOO_LARGE,
                             MQTT5_REASON_PACKET_TOO_LARGE);
        else if (m5_client_window_add(&client->window, client->allocator, request))
            write_request(client, request);
        else
            return;
    }
}

/* Whether a PUBLISH of QoS > 0 may go out now [MQTT-3.3.4-7] [MQTT-4.9.0-1] [MQTT-4.9.0-2]. */
static bool has_quota(const struct m5_client *client)
{
    return client->inflight < client->info.receive_maximum &&
           client->inflight < client->config.inflight_max;
}

/* Sends the first message that waits, with an identifier that is free [MQTT-4.3.2-1]
 * [MQTT-4.3.3-1]; false when it has to wait on. */
static bool transmit_first(struct m5_client *client)
{
    struct m5_client_request *request = m5_client_request_of(client->waiting.next);
    uint8_t reason_code;
    const enum mqtt5_error error =
        m5_client_allowed(client, request->qos, request->retain, request->size, &reason_code);
    if (error != MQTT5_OK) {
        m5_client_finish(client, request, error, reason_code);
        return true;
    }
    if (!m5_client_age(client, request))
        return true;
    if (request->qos > 0) {
        if (!has_quota(client))
            return false;
        if (request->packet_id == 0 &&
            !m5_client_window_add(&client->window, client->allocator, request))
            return false;
    }
    write_request(client, request);
    return true;
}

void m5_client_transmit(struct m5_client *client, size_t output_max)
{
    transmit_control(client);
    while (client->state == MQTT5_CLIENT_CONNECTED && !m5_list_empty(&client->waiting) &&
           m5_client_buffer_size(&client->out) < output_max) {
        if (!transmit_first(client))
            return;
    }
}
