/* Exchanges of AUTH packets (section 4.12): whose turn it is, and what must be in them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/state.h"

bool m5_client_auth_matches(const struct m5_client *client,
                            const struct mqtt5_properties *properties)
{
    return client->auth_method.len > 0 && MQTT5_HAS(properties, AUTHENTICATION_METHOD) &&
           m5_bytes_equal(properties->authentication_method, client->auth_method);
}

enum mqtt5_error m5_client_take_auth(struct m5_client *client, const struct mqtt5_reasoned *auth,
                                     struct m5_client_event *event, bool *show)
{
    const bool connecting = client->state == MQTT5_CLIENT_CONNECTING;
    const bool again = client->state == MQTT5_CLIENT_CONNECTED && client->reauth != NULL;
    const bool success = auth->reason_code == MQTT5_REASON_SUCCESS;
    const bool more = auth->reason_code == MQTT5_REASON_CONTINUE_AUTHENTICATION;
    if (!m5_client_auth_matches(client, &auth->properties)) /* [MQTT-4.12.0-5] [MQTT-4.12.0-6] */
        return MQTT5_ERR_PROTOCOL;
    /* The server's turn comes with our CONNECT or AUTH [MQTT-4.12.0-2]; it has the last word of a
     * re-authentication in AUTH, of the first exchange in CONNACK [MQTT-4.12.1-2]. */
    if (client->auth_turn || !((connecting && more) || (again && (more || success))))
        return MQTT5_ERR_PROTOCOL;
    event->type = M5_CLIENT_AUTH;
    event->result.reason_code = auth->reason_code;
    m5_client_set_properties(&event->result, &auth->properties);
    client->auth_turn = more;
    *show = true;
    return MQTT5_OK;
}

static enum mqtt5_error send_auth(struct m5_client *client, uint8_t reason_code,
                                  struct mqtt5_bytes data)
{
    struct mqtt5_packet packet = {.type = MQTT5_AUTH, .as.auth = {.reason_code = reason_code}};
    struct mqtt5_properties *properties = &packet.as.auth.properties;
    MQTT5_SET(properties, AUTHENTICATION_METHOD);
    properties->authentication_method = client->auth_method;
    if (data.data != NULL) {
        MQTT5_SET(properties, AUTHENTICATION_DATA);
        properties->authentication_data = data;
    }
    const size_t size = mqtt5_packet_size(&packet, client->version);
    if (size == 0)
        return MQTT5_ERR_INVALID_ARGUMENT;
    if (client->state == MQTT5_CLIENT_CONNECTED && size > client->info.maximum_packet_size)
        return MQTT5_ERR_PACKET_TOO_LARGE;
    return m5_client_send_packet(client, &packet) ? MQTT5_OK : MQTT5_ERR_NOMEM;
}

bool m5_client_wants_auth(const struct m5_client *client)
{
    return client->state == MQTT5_CLIENT_CONNECTING && client->connect_due;
}

enum mqtt5_error m5_client_auth(struct m5_client *client, struct mqtt5_bytes data)
{
    if (m5_client_wants_auth(client)) {
        if (data.len > UINT16_MAX)
            return MQTT5_ERR_INVALID_ARGUMENT;
        client->connect_due = client->auth_turn = false;
        return m5_client_send_connect(client, data) ? MQTT5_OK : MQTT5_ERR_NOMEM;
    }
    if (!client->auth_turn ||
        (client->state != MQTT5_CLIENT_CONNECTING && client->state != MQTT5_CLIENT_CONNECTED))
        return MQTT5_ERR_INVALID_STATE;
    /* Always with Continue Authentication [MQTT-4.12.0-3]. */
    const enum mqtt5_error error = send_auth(client, MQTT5_REASON_CONTINUE_AUTHENTICATION, data);
    if (error == MQTT5_OK)
        client->auth_turn = false;
    return error;
}

enum mqtt5_error m5_client_reauthenticate(struct m5_client *client, struct mqtt5_bytes data,
                                          void *ctx)
{
    if (client->state != MQTT5_CLIENT_CONNECTED || client->auth_method.len == 0 ||
        client->reauth != NULL)
        return MQTT5_ERR_INVALID_STATE;
    struct m5_client_request *request = m5_client_bare_request(client, MQTT5_AUTH, ctx);
    if (request == NULL)
        return MQTT5_ERR_NOMEM;
    const enum mqtt5_error error = send_auth(client, MQTT5_REASON_RE_AUTHENTICATE, data);
    if (error != MQTT5_OK) {
        m5_client_drop_request(client, request);
        return error;
    }
    client->reauth = request;
    return MQTT5_OK;
}

void m5_client_auth_done(struct m5_client *client, enum mqtt5_error error)
{
    struct m5_client_request *request = client->reauth;
    client->reauth = NULL;
    client->auth_turn = false;
    if (request != NULL)
        m5_client_finish(client, request, error, 0);
}
