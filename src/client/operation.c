/* Operations of the user: what is checked before they are queued or sent.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/state.h"

#include <mqtt5/topic.h>

static bool is_open(const struct m5_client *client)
{
    return client->state == MQTT5_CLIENT_CONNECTING || client->state == MQTT5_CLIENT_CONNECTED;
}

/* What can be told of a message before it is encoded. */
static enum mqtt5_error check_publish(const struct m5_client *client,
                                      const struct mqtt5_publish *publish)
{
    uint8_t reason_code;
    if (publish->qos > 2)
        return MQTT5_ERR_INVALID_ARGUMENT;
    if (publish->topic.len == 0)
        return MQTT5_ERR_TOPIC_EMPTY;
    if (!is_open(client) &&
        (!client->config.offline_queue || (publish->qos == 0 && !client->config.offline_qos0)))
        return MQTT5_ERR_INVALID_STATE;
    if (client->state != MQTT5_CLIENT_CONNECTED)
        return MQTT5_OK; /* what the server takes is asked again before it is sent */
    return m5_client_allowed(client, publish->qos, publish->retain, 0, &reason_code);
}

/* Takes the alias out of @p publish: it is put in again when the message is sent, as another
 * connection by then may allow others. [MQTT-3.3.2-8] [MQTT-3.3.2-9] */
static enum mqtt5_error take_alias(const struct m5_client *client, struct mqtt5_publish *publish,
                                   uint16_t *alias)
{
    struct mqtt5_properties *properties = &publish->properties;
    *alias = 0;
    if (!MQTT5_HAS(properties, TOPIC_ALIAS))
        return MQTT5_OK;
    const uint32_t wanted = properties->topic_alias;
    const bool known = client->state == MQTT5_CLIENT_CONNECTED;
    if (wanted == 0 || wanted > UINT16_MAX ||
        (known && wanted > client->info.topic_alias_maximum) || client->version != MQTT5_VERSION_5)
        return MQTT5_ERR_TOPIC_ALIAS;
    properties->present &= ~((uint64_t)1 << (unsigned)MQTT5_PROPERTY_TOPIC_ALIAS);
    *alias = (uint16_t)wanted;
    return MQTT5_OK;
}

/* Whether @p publish can go straight into the output: QoS 0, nobody waits for its end, nothing is
 * before it, and nothing but its topic has to be checked. */
static bool may_pass(const struct m5_client *client, const struct mqtt5_publish *publish,
                     uint16_t alias, const void *ctx)
{
    return publish->qos == 0 && ctx == NULL && alias == 0 &&
           client->state == MQTT5_CLIENT_CONNECTED && m5_list_empty(&client->waiting) &&
           m5_list_empty(&client->control) && publish->properties.present == 0 &&
           publish->properties.raw.len == 0 && publish->properties.user_property.count == 0 &&
           client->config.auto_aliases_max == 0 &&
           m5_client_buffer_size(&client->out) < M5_CLIENT_OUTPUT_LOW;
}

static enum mqtt5_error pass(struct m5_client *client, const struct mqtt5_packet *packet)
{
    const enum mqtt5_error error = mqtt5_topic_check(packet->as.publish.topic, UINT32_MAX);
    if (error != MQTT5_OK)
        return error;
    if (mqtt5_packet_size(packet, client->version) == 0)
        return MQTT5_ERR_INVALID_ARGUMENT;
    return m5_client_send_packet(client, packet) ? MQTT5_OK : MQTT5_ERR_NOMEM;
}

enum mqtt5_error m5_client_publish(struct m5_client *client, const struct mqtt5_publish *publish,
                                   void *ctx)
{
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH, .as.publish = *publish};
    uint16_t alias;
    enum mqtt5_error error = check_publish(client, publish);
    if (error == MQTT5_OK)
        error = take_alias(client, &packet.as.publish, &alias);
    if (error != MQTT5_OK)
        return error;
    packet.as.publish.dup = false; /* [MQTT-3.3.1-2] [MQTT-4.3.2-2] [MQTT-4.3.3-2] */
    packet.as.publish.packet_id = publish->qos > 0 ? 1 : 0; /* the real one is put in later */
    if (client->state == MQTT5_CLIENT_CONNECTED &&
        mqtt5_packet_size(&packet, client->version) > client->info.maximum_packet_size)
        return MQTT5_ERR_PACKET_TOO_LARGE; /* [MQTT-3.2.2-15] */
    if (may_pass(client, &packet.as.publish, alias, ctx))
        return pass(client, &packet);
    return m5_client_enqueue(client, &packet, alias, ctx, &client->waiting);
}

/* What CONNACK says about subscriptions [MQTT-3.2.2-10]. */
static enum mqtt5_error check_filters(const struct m5_client *client,
                                      const struct mqtt5_subscribe *subscribe)
{
    if (client->state != MQTT5_CLIENT_CONNECTED)
        return MQTT5_OK; /* not known yet: the SUBACK will tell */
    if (!client->identifiers && MQTT5_HAS(&subscribe->properties, SUBSCRIPTION_IDENTIFIER))
        return MQTT5_ERR_UNSUPPORTED;
    for (uint32_t i = 0; i < subscribe->count; i++) {
        struct mqtt5_filter filter;
        const enum mqtt5_error error =
            mqtt5_filter_parse(subscribe->items[i].filter, UINT16_MAX, &filter);
        if (error != MQTT5_OK)
            return error;
        if ((filter.has_wildcard && !client->wildcards) ||
            (filter.share_name.len > 0 && !client->shared))
            return MQTT5_ERR_UNSUPPORTED;
    }
    return MQTT5_OK;
}

enum mqtt5_error m5_client_subscribe(struct m5_client *client,
                                     const struct mqtt5_subscribe *subscribe, void *ctx)
{
    if (!is_open(client) && !client->returning)
        return MQTT5_ERR_INVALID_STATE;
    if (subscribe->count == 0 || subscribe->items == NULL)
        return MQTT5_ERR_EMPTY_LIST;
    const enum mqtt5_error error = check_filters(client, subscribe);
    if (error != MQTT5_OK)
        return error;
    struct mqtt5_packet packet = {.type = MQTT5_SUBSCRIBE, .as.subscribe = *subscribe};
    packet.as.subscribe.packet_id = 1;
    packet.as.subscribe.raw = (struct mqtt5_bytes){0};
    return m5_client_enqueue(client, &packet, 0, ctx, &client->control);
}

enum mqtt5_error m5_client_unsubscribe(struct m5_client *client,
                                       const struct mqtt5_unsubscribe *unsubscribe, void *ctx)
{
    if (!is_open(client) && !client->returning)
        return MQTT5_ERR_INVALID_STATE;
    if (unsubscribe->count == 0 || unsubscribe->items == NULL)
        return MQTT5_ERR_EMPTY_LIST;
    struct mqtt5_packet packet = {.type = MQTT5_UNSUBSCRIBE, .as.unsubscribe = *unsubscribe};
    packet.as.unsubscribe.packet_id = 1;
    packet.as.unsubscribe.raw = (struct mqtt5_bytes){0};
    return m5_client_enqueue(client, &packet, 0, ctx, &client->control);
}

/* ---- disconnect ---- */

static enum mqtt5_error check_disconnect(const struct m5_client *client,
                                         const struct mqtt5_packet *packet)
{
    const struct mqtt5_properties *properties = &packet->as.disconnect.properties;
    if (client->version != MQTT5_VERSION_5)
        return packet->as.disconnect.reason_code == 0 && properties->present == 0 &&
                       properties->raw.len == 0
                   ? MQTT5_OK
                   : MQTT5_ERR_UNSUPPORTED;
    /* Section 3.14.2.2.2: a session that was to end with its connection cannot be kept after all.
     */
    if (MQTT5_HAS(properties, SESSION_EXPIRY_INTERVAL) &&
        properties->session_expiry_interval_s > 0 && client->config.session_expiry_s == 0)
        return MQTT5_ERR_INVALID_ARGUMENT;
    const size_t size = mqtt5_packet_size(packet, client->version);
    if (size == 0)
        return MQTT5_ERR_INVALID_ARGUMENT;
    return size > client->info.maximum_packet_size ? MQTT5_ERR_PACKET_TOO_LARGE : MQTT5_OK;
}

/* Appends @p packet; takes it back when it does not read back as it should. */
static enum mqtt5_error append_checked(struct m5_client *client, const struct mqtt5_packet *packet)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet decoded;
    const size_t size = mqtt5_packet_size(packet, client->version);
    if (!m5_client_send_packet(client, packet))
        return MQTT5_ERR_NOMEM;
    const enum mqtt5_error error =
        m5_client_packet_check(m5_bytes(client->out.data + client->out.end - size, size),
                               client->version, &frame, &decoded);
    if (error != MQTT5_OK)
        client->out.end -= size;
    return error;
}

enum mqtt5_error m5_client_disconnect(struct m5_client *client,
                                      const struct mqtt5_reasoned *disconnect)
{
    struct mqtt5_packet packet = {.type = MQTT5_DISCONNECT};
    if (disconnect != NULL)
        packet.as.disconnect = *disconnect;
    if (!is_open(client))
        return MQTT5_ERR_INVALID_STATE;
    enum mqtt5_error error = check_disconnect(client, &packet);
    if (error != MQTT5_OK)
        return error;
    if (client->state == MQTT5_CLIENT_CONNECTED)
        m5_client_transmit(client, SIZE_MAX);
    error = is_open(client) ? append_checked(client, &packet) : MQTT5_ERR_NOMEM;
    if (error != MQTT5_OK)
        return error;
    if (MQTT5_HAS(&packet.as.disconnect.properties, SESSION_EXPIRY_INTERVAL))
        client->info.session_expiry_s = packet.as.disconnect.properties.session_expiry_interval_s;
    client->ending = (struct m5_client_ending){
        .known = true, .error = MQTT5_OK, .reason_code = packet.as.disconnect.reason_code};
    client->state = MQTT5_CLIENT_CLOSING; /* nothing more is sent [MQTT-3.14.4-1] */
    return MQTT5_OK;
}

/* ---- ping ---- */

enum mqtt5_error m5_client_ping(struct m5_client *client, void *ctx)
{
    if (client->state != MQTT5_CLIENT_CONNECTED)
        return MQTT5_ERR_INVALID_STATE;
    struct m5_client_request *request = m5_client_bare_request(client, MQTT5_PINGREQ, ctx);
    if (request == NULL)
        return MQTT5_ERR_NOMEM;
    if (!m5_client_send_ping(client)) {
        m5_client_drop_request(client, request);
        return MQTT5_ERR_NOMEM;
    }
    request->count = client->pings_sent;
    m5_list_push_back(&client->pings, &request->node);
    return MQTT5_OK;
}
