/* What comes in: every packet a server may send, in every state.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/state.h"

/* The failures of a SUBACK or of an acknowledgement; 3.1.1 has only 0x80. */
static bool is_failure(uint8_t reason_code)
{
    return reason_code >= 0x80;
}

/* Makes @p request the one whose end the user is looking at. */
static void show_end(struct m5_client *client, struct m5_client_request *request,
                     struct m5_client_event *event)
{
    const uint16_t packet_id = request->packet_id;
    m5_client_unlink(client, request);
    request->state = M5_REQUEST_DONE;
    M5_ASSERT(client->current == NULL);
    client->current = request;
    event->type = M5_CLIENT_COMPLETED;
    event->ctx = request->ctx;
    event->result.packet_id = packet_id;
    if (request->internal)
        m5_client_describe_resubscription(client, request, event);
}

/* ---- messages from the server ---- */

/* Fills in the topic that an alias stands for, or learns it. */
static enum mqtt5_error resolve_alias(struct m5_client *client, struct mqtt5_publish *publish)
{
    if (!MQTT5_HAS(&publish->properties, TOPIC_ALIAS))
        return MQTT5_OK;
    const uint32_t alias = publish->properties.topic_alias;
    if (alias == 0 || alias > client->config.topic_alias_maximum) /* [MQTT-3.3.2-10] */
        return MQTT5_ERR_TOPIC_ALIAS;
    if (publish->topic.len > 0)
        return m5_client_alias_set(&client->aliases_in, client->allocator, (uint16_t)alias,
                                   publish->topic)
                   ? MQTT5_OK
                   : MQTT5_ERR_NOMEM;
    publish->topic = m5_client_alias_get(&client->aliases_in, (uint16_t)alias);
    return publish->topic.len > 0 ? MQTT5_OK : MQTT5_ERR_PROTOCOL;
}

/* Acknowledges a message of QoS > 0 [MQTT-4.5.0-2], at once and so in order [MQTT-4.6.0-2]
 * [MQTT-4.6.0-3]. At QoS 1 the same identifier is a new message [MQTT-4.3.2-5]. *again: a QoS 2
 * message has been shown before. */
static enum mqtt5_error acknowledge(struct m5_client *client, const struct mqtt5_publish *publish,
                                    struct m5_client_event *event, bool *again)
{
    const uint16_t id = publish->packet_id;
    *again = publish->qos == 2 && m5_client_received_has(client, id);
    /* What was answered with PUBACK no longer counts, as the answer is on its way. */
    if (publish->qos == 2 && !*again && m5_client_deferrals_again(client, publish)) {
        *again = true; /* it waits for its answer, or that has just been sent */
        return MQTT5_OK;
    }
    if (!*again && client->received_count + client->deferrals.count >=
                       client->config.receive_maximum) /* [MQTT-3.3.4-9] */
        return MQTT5_ERR_RECEIVE_MAXIMUM;
    if (client->config.deferred_acks && !*again && m5_client_deferrals_add(client, publish, event))
        return MQTT5_OK;
    if (publish->qos == 1) {
        m5_client_send_ack(client, MQTT5_PUBACK, id, 0); /* [MQTT-4.3.2-4] */
        return MQTT5_OK;
    }
    if (!*again && !m5_client_received_add(client, id))
        return MQTT5_ERR_NOMEM;
    m5_client_send_ack(client, MQTT5_PUBREC, id, 0); /* [MQTT-4.3.3-8] [MQTT-4.3.3-10] */
    return MQTT5_OK;
}

static enum mqtt5_error take_publish(struct m5_client *client, struct mqtt5_publish *publish,
                                     struct m5_client_event *event, bool *show)
{
    bool again = false;
    enum mqtt5_error error = resolve_alias(client, publish);
    if (error == MQTT5_OK && publish->qos > 0) /* [MQTT-3.3.4-1] */
        error = acknowledge(client, publish, event, &again);
    if (error != MQTT5_OK)
        return error;
    /* Without memory for the acknowledgement the connection has ended, and the server will send the
     * message again; a QoS 2 identifier that is remembered then keeps it from being shown twice. */
    *show = !again;
    event->type = M5_CLIENT_MESSAGE;
    event->publish = *publish;
    return MQTT5_OK;
}

static enum mqtt5_error take_pubrel(struct m5_client *client, const struct mqtt5_ack *ack)
{
    const bool known = m5_client_received_has(client, ack->packet_id);
    if (known)
        m5_client_received_remove(client, ack->packet_id);    /* [MQTT-4.3.3-12] */
    m5_client_send_ack(client, MQTT5_PUBCOMP, ack->packet_id, /* [MQTT-4.3.3-11] */
                       known ? 0 : MQTT5_REASON_PACKET_IDENTIFIER_NOT_FOUND);
    return MQTT5_OK;
}

/* ---- answers to our messages ---- */

static void show_ack(struct m5_client *client, struct m5_client_request *request,
                     const struct mqtt5_ack *ack, struct m5_client_event *event)
{
    show_end(client, request, event);
    m5_client_set_properties(&event->result, &ack->properties);
    event->result.reason_code = ack->reason_code;
    event->result.error = is_failure(ack->reason_code) ? MQTT5_ERR_REFUSED : MQTT5_OK;
}

static enum mqtt5_error take_pubrec(struct m5_client *client, struct m5_client_request *request,
                                    const struct mqtt5_ack *ack, struct m5_client_event *event,
                                    bool *show)
{
    if (is_failure(ack->reason_code) && request->state != M5_REQUEST_RELEASED) {
        show_ack(client, request, ack, event); /* [MQTT-4.4.0-2] */
        *show = true;
        return MQTT5_OK;
    }
    if (request->state == M5_REQUEST_WAITING) /* of an earlier connection, to be sent again */
        client->inflight++;
    if (request->state != M5_REQUEST_RELEASED) { /* never PUBLISH again [MQTT-4.3.3-6] */
        request->state = M5_REQUEST_RELEASED;
        request->reason_code = ack->reason_code;
        m5_list_remove(&request->node);
        m5_list_push_back(&client->released, &request->node);
    }
    m5_client_send_ack(client, MQTT5_PUBREL, ack->packet_id, 0); /* [MQTT-4.3.3-4] */
    return MQTT5_OK;
}

static enum mqtt5_error take_pubcomp(struct m5_client *client, struct m5_client_request *request,
                                     const struct mqtt5_ack *ack, struct m5_client_event *event,
                                     bool *show)
{
    if (request->state != M5_REQUEST_RELEASED)
        return MQTT5_ERR_PROTOCOL;
    const uint8_t pubrec_reason = request->reason_code;
    show_ack(client, request, ack, event);
    /* Not found means that an earlier PUBCOMP was lost: the message has arrived all the same. */
    event->result.error = MQTT5_OK;
    if (ack->reason_code == 0)
        event->result.reason_code = pubrec_reason;
    *show = true;
    return MQTT5_OK;
}

/* PUBACK, PUBREC, PUBCOMP: until then a message counts as unacknowledged [MQTT-4.3.2-3]
 * [MQTT-4.3.3-3] [MQTT-4.3.3-5]. */
static enum mqtt5_error take_ack(struct m5_client *client, uint8_t type,
                                 const struct mqtt5_ack *ack, struct m5_client_event *event,
                                 bool *show)
{
    struct m5_client_request *request = m5_client_window_find(&client->window, ack->packet_id);
    if (request == NULL) {
        /* Late, from before a session was discarded: only PUBREC wants an answer. */
        if (type == MQTT5_PUBREC && !is_failure(ack->reason_code))
            m5_client_send_ack(client, MQTT5_PUBREL, ack->packet_id,
                               MQTT5_REASON_PACKET_IDENTIFIER_NOT_FOUND);
        return MQTT5_OK;
    }
    if (request->kind != MQTT5_PUBLISH || (request->qos == 1) != (type == MQTT5_PUBACK))
        return MQTT5_ERR_PROTOCOL;
    if (type == MQTT5_PUBREC)
        return take_pubrec(client, request, ack, event, show);
    if (type == MQTT5_PUBCOMP)
        return take_pubcomp(client, request, ack, event, show);
    show_ack(client, request, ack, event);
    *show = true;
    return MQTT5_OK;
}

/* ---- answers to subscriptions ---- */

static bool all_failed(struct mqtt5_bytes reason_codes)
{
    for (size_t i = 0; i < reason_codes.len; i++) {
        if (!is_failure(reason_codes.data[i]))
            return false;
    }
    return reason_codes.len > 0;
}

static enum mqtt5_error take_suback(struct m5_client *client, uint8_t type,
                                    const struct mqtt5_suback *suback,
                                    struct m5_client_event *event, bool *show)
{
    struct m5_client_request *request = m5_client_window_find(&client->window, suback->packet_id);
    if (request == NULL)
        return MQTT5_OK;
    const uint8_t expected = type == MQTT5_SUBACK ? MQTT5_SUBSCRIBE : MQTT5_UNSUBSCRIBE;
    const bool has_codes = type == MQTT5_SUBACK || client->version == MQTT5_VERSION_5;
    if (request->kind != expected || (has_codes && suback->reason_codes.len != request->count))
        return MQTT5_ERR_PROTOCOL; /* one for each filter [MQTT-3.8.4-6] */
    if (!m5_client_subscriptions_settle(client, request, suback->reason_codes))
        return MQTT5_ERR_NOMEM;
    show_end(client, request, event);
    event->result.reason_codes = suback->reason_codes;
    event->result.reason_code = suback->reason_codes.len > 0 ? suback->reason_codes.data[0] : 0;
    m5_client_set_properties(&event->result, &suback->properties);
    event->result.error = all_failed(suback->reason_codes) ? MQTT5_ERR_REFUSED : MQTT5_OK;
    *show = true;
    return MQTT5_OK;
}

/* ---- the rest ---- */

static enum mqtt5_error take_disconnect(struct m5_client *client,
                                        const struct mqtt5_reasoned *disconnect)
{
    if (client->version != MQTT5_VERSION_5 ||
        MQTT5_HAS(&disconnect->properties, SESSION_EXPIRY_INTERVAL)) /* [MQTT-3.14.2-2] */
        return MQTT5_ERR_PROTOCOL;
    /* Whatever the reason, the connection is over [MQTT-4.13.2-1]. */
    const struct m5_client_ending ending = {.known = true,
                                            .by_server = true,
                                            .error = MQTT5_ERR_CLOSED,
                                            .reason_code = disconnect->reason_code,
                                            .properties = disconnect->properties};
    m5_client_close_now(client, &ending);
    return MQTT5_OK;
}

/* Answers come in the order of the questions, ours among them. */
static enum mqtt5_error take_pingresp(struct m5_client *client)
{
    if (client->pings_answered == client->pings_sent)
        return MQTT5_OK; /* nobody asked: harmless */
    client->pings_answered++;
    while (!m5_list_empty(&client->pings)) {
        struct m5_client_request *request = m5_client_request_of(client->pings.next);
        if (request->count > client->pings_answered)
            break;
        m5_client_finish(client, request, MQTT5_OK, 0);
    }
    return MQTT5_OK;
}

static enum mqtt5_error take_connected(struct m5_client *client, struct mqtt5_packet *packet,
                                       struct m5_client_event *event, bool *show)
{
    switch ((enum mqtt5_packet_type)packet->type) {
    case MQTT5_PUBLISH: return take_publish(client, &packet->as.publish, event, show);
    case MQTT5_PUBREL: return take_pubrel(client, &packet->as.ack);
    case MQTT5_PUBACK:
    case MQTT5_PUBREC:
    case MQTT5_PUBCOMP: return take_ack(client, packet->type, &packet->as.ack, event, show);
    case MQTT5_SUBACK:
    case MQTT5_UNSUBACK: return take_suback(client, packet->type, &packet->as.suback, event, show);
    case MQTT5_PINGRESP: return take_pingresp(client);
    case MQTT5_AUTH: return m5_client_take_auth(client, &packet->as.auth, event, show);
    case MQTT5_DISCONNECT: return take_disconnect(client, &packet->as.disconnect);
    case MQTT5_CONNACK: /* a second one [MQTT-3.2.0-2] */
    case MQTT5_CONNECT:
    case MQTT5_SUBSCRIBE:
    case MQTT5_UNSUBSCRIBE:
    case MQTT5_PINGREQ: return MQTT5_ERR_PROTOCOL; /* a client's packets */
    }
    return MQTT5_ERR_PACKET_TYPE;
}

bool m5_client_take_packet(struct m5_client *client, const struct mqtt5_frame *frame,
                           struct m5_client_event *event)
{
    struct mqtt5_decode_limits limits;
    struct mqtt5_packet packet;
    bool show = false;
    mqtt5_decode_limits_init(&limits);
    *event = (struct m5_client_event){.type = M5_CLIENT_MESSAGE};
    /* A client's packet is wrong whatever is in it, and CONNECT would not be read as our version.
     */
    enum mqtt5_error error = frame->type == MQTT5_CONNECT
                                 ? MQTT5_ERR_PROTOCOL
                                 : mqtt5_packet_decode(frame, client->version, &limits, &packet);
    if (error == MQTT5_OK && client->state == MQTT5_CLIENT_CONNECTING) {
        if (packet.type == MQTT5_CONNACK)
            return m5_client_take_connack(client, &packet.as.connack, event);
        error = packet.type == MQTT5_AUTH
                    ? m5_client_take_auth(client, &packet.as.auth, event, &show)
                    : MQTT5_ERR_PROTOCOL; /* [MQTT-3.2.0-1] */
    } else if (error == MQTT5_OK) {
        error = take_connected(client, &packet, event, &show);
    }
    if (error != MQTT5_OK) {
        m5_client_close_with(client, error);
        return false;
    }
    return show;
}
