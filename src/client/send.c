/* What goes out: acknowledgements at once, messages while the server's Receive Maximum allows.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
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

/* Puts the alias in, and leaves the topic out where the server has been told it on this connection.
 * False when the packet is to go as it is: that is always right. */
static bool write_with_alias(struct m5_client *client, const struct m5_client_request *request)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet packet;
    if (request->alias > client->info.topic_alias_maximum) /* [MQTT-3.2.2-17] [MQTT-3.2.2-18] */
        return false;
    if (m5_client_packet_check(m5_bytes(request->bytes, request->size), client->version, &frame,
                               &packet) != MQTT5_OK)
        return false;
    struct mqtt5_publish *publish = &packet.as.publish;
    publish->properties.present = 0; /* all of them are in `raw` */
    publish->properties.user_property = (struct mqtt5_user_properties){0};
    publish->properties.topic_alias = request->alias;
    MQTT5_SET(&publish->properties, TOPIC_ALIAS);
    publish->packet_id = request->qos > 0 ? request->packet_id : 0;
    publish->dup = request->sent_before;

    const bool known =
        m5_bytes_equal(m5_client_alias_get(&client->aliases_out, request->alias), publish->topic);
    if (mqtt5_packet_size(&packet, client->version) > client->info.maximum_packet_size)
        return false;
    if (!known && !m5_client_alias_set(&client->aliases_out, client->allocator, request->alias,
                                       publish->topic))
        return false;
    if (known)
        publish->topic = (struct mqtt5_bytes){0};
    return m5_client_send_packet(client, &packet);
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
    const bool written = (request->alias != 0 && write_with_alias(client, request)) ||
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
