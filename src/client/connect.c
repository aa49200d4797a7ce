/* CONNECT and CONNACK: what we ask for, what the server makes of it, whose session it is.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "client/state.h"

/* Numbers that hold when CONNACK does not mention them (section 3.2.2.3), and in 3.1.1. */
#define RECEIVE_MAXIMUM_ABSENT 65535u
#define PACKET_SIZE_ABSENT     (MQTT5_REMAINING_LENGTH_MAX + 5)

/* ---- CONNECT ---- */

static struct mqtt5_bytes text_or_empty(const char *text)
{
    return text == NULL ? (struct mqtt5_bytes){0} : m5_bytes_of(text);
}

static void set_properties(const struct mqtt5_client_options *config, struct mqtt5_properties *out)
{
    *out = config->properties;
    if (config->session_expiry_s > 0) {
        MQTT5_SET(out, SESSION_EXPIRY_INTERVAL);
        out->session_expiry_interval_s = config->session_expiry_s;
    }
    MQTT5_SET(out, RECEIVE_MAXIMUM);
    out->receive_maximum = config->receive_maximum;
    MQTT5_SET(out, MAXIMUM_PACKET_SIZE);
    out->maximum_packet_size = config->maximum_packet_size;
    MQTT5_SET(out, TOPIC_ALIAS_MAXIMUM);
    out->topic_alias_maximum = config->topic_alias_maximum;
    if (config->auth_method != NULL) {
        MQTT5_SET(out, AUTHENTICATION_METHOD);
        out->authentication_method = m5_bytes_of(config->auth_method);
    }
}

static void describe(const struct mqtt5_client_options *config, struct mqtt5_connect *connect)
{
    *connect = (struct mqtt5_connect){
        .version = config->version,
        .clean_start = config->clean_start,
        .keep_alive_s = config->keep_alive_s,
        .client_id = text_or_empty(config->client_id),
        .has_username = config->username != NULL, /* [MQTT-3.1.2-17] [MQTT-3.1.2-18] */
        .username = text_or_empty(config->username),
        .has_password = config->password.data != NULL,
        .password = config->password,
        .has_will = config->will != NULL,
    };
    if (config->will != NULL)
        connect->will = *config->will;
    if (config->version == MQTT5_VERSION_5)
        set_properties(config, &connect->properties);
}

/* What can be told without encoding. */
static enum mqtt5_error check_config(const struct mqtt5_client_options *config)
{
    const bool v5 = config->version == MQTT5_VERSION_5;
    const bool nameless = config->client_id == NULL || config->client_id[0] == 0;
    if (!v5 && config->version != MQTT5_VERSION_3_1_1 && config->version != MQTT5_VERSION_3_1)
        return MQTT5_ERR_CONFIG;
    if (config->receive_maximum == 0 || config->inflight_max == 0 ||
        config->maximum_packet_size == 0 || config->queued_messages_max == 0 ||
        config->connect_timeout_ms == 0)
        return MQTT5_ERR_CONFIG;
    if (!v5 && nameless && !config->clean_start) /* [MQTT3-3.1.3-7] */
        return MQTT5_ERR_CONFIG;
    if (config->auth_method != NULL && config->auth == NULL)
        return MQTT5_ERR_CONFIG;
    if (!v5 && config->auth_method != NULL)
        return MQTT5_ERR_UNSUPPORTED;
    if (!v5 && (config->properties.present != 0 || config->properties.raw.len > 0))
        return MQTT5_ERR_UNSUPPORTED;
    return MQTT5_OK;
}

enum mqtt5_error m5_client_make_connect(struct m5_client *client,
                                        const struct mqtt5_client_options *config)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT}, decoded;
    const enum mqtt5_error error = check_config(config);
    if (error != MQTT5_OK)
        return error;
    describe(config, &packet.as.connect);
    client->connect_size = mqtt5_packet_size(&packet, config->version);
    if (client->connect_size == 0)
        return MQTT5_ERR_INVALID_ARGUMENT;
    client->connect_packet = m5_alloc(client->allocator, client->connect_size);
    if (client->connect_packet == NULL)
        return MQTT5_ERR_NOMEM;
    mqtt5_packet_write(&packet, config->version, client->connect_packet, client->connect_size);
    const enum mqtt5_error wrong = m5_client_packet_check(
        m5_bytes(client->connect_packet, client->connect_size), config->version, &frame, &decoded);
    if (wrong != MQTT5_OK)
        return wrong;
    const struct mqtt5_properties *properties = &decoded.as.connect.properties;
    if (MQTT5_HAS(properties, AUTHENTICATION_METHOD) && config->auth_method == NULL)
        return MQTT5_ERR_UNSUPPORTED; /* without a handler there is no exchange */
    if (MQTT5_HAS(properties, AUTHENTICATION_METHOD))
        client->auth_method = properties->authentication_method;
    return MQTT5_OK;
}

/* Decoded properties as they are to be encoded again: all of them are in `raw`. */
static void only_raw(struct mqtt5_properties *properties)
{
    *properties = (struct mqtt5_properties){.raw = properties->raw};
}

bool m5_client_send_connect(struct m5_client *client, struct mqtt5_bytes auth_data)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet packet;
    const enum mqtt5_error error = m5_client_packet_check(
        m5_bytes(client->connect_packet, client->connect_size), client->version, &frame, &packet);
    M5_ASSERT(error == MQTT5_OK); /* make_connect() has read it before */
    struct mqtt5_connect *connect = &packet.as.connect;
    only_raw(&connect->properties);
    only_raw(&connect->will.properties);
    connect->clean_start = client->sent_clean_start;
    if (auth_data.data != NULL) {
        MQTT5_SET(&connect->properties, AUTHENTICATION_DATA);
        connect->properties.authentication_data = auth_data;
    }
    if (client->credentials != NULL) {
        connect->has_username = true;
        connect->username = m5_bytes(client->credentials, client->username_size);
        connect->has_password = client->has_url_password;
        connect->password = m5_bytes(client->credentials + client->username_size,
                                     client->credentials_size - client->username_size - 1);
    }
    if (client->assigned_id != NULL) /* so that the session can be resumed [MQTT-3.1.3-2] */
        connect->client_id = m5_bytes(client->assigned_id, client->assigned_id_size);
    return m5_client_send_packet(client, &packet);
}

/* ---- CONNACK ---- */

static bool flag_or_true(uint32_t value, bool present)
{
    return !present || value != 0;
}

#define NUMBER_OR(properties, NAME, field, absent) \
    (MQTT5_HAS(properties, NAME) ? (properties)->field : (absent))
#define FLAG(properties, NAME, field) flag_or_true((properties)->field, MQTT5_HAS(properties, NAME))

static void agree(struct m5_client *client, const struct mqtt5_connack *connack)
{
    const struct mqtt5_properties *p = &connack->properties;
    struct mqtt5_client_info *info = &client->info;
    info->session_present = connack->session_present;
    info->reason_code = connack->reason_code;
    info->maximum_qos = (uint8_t)NUMBER_OR(p, MAXIMUM_QOS, maximum_qos, 2);
    info->retain_available = FLAG(p, RETAIN_AVAILABLE, retain_available);
    /* [MQTT-3.1.2-21] [MQTT-3.2.2-21] */
    info->keep_alive_s =
        (uint16_t)NUMBER_OR(p, SERVER_KEEP_ALIVE, server_keep_alive_s, client->config.keep_alive_s);
    info->receive_maximum =
        (uint16_t)NUMBER_OR(p, RECEIVE_MAXIMUM, receive_maximum, RECEIVE_MAXIMUM_ABSENT);
    info->topic_alias_maximum = (uint16_t)NUMBER_OR(p, TOPIC_ALIAS_MAXIMUM, topic_alias_maximum, 0);
    info->maximum_packet_size =
        NUMBER_OR(p, MAXIMUM_PACKET_SIZE, maximum_packet_size, PACKET_SIZE_ABSENT);
    info->session_expiry_s = NUMBER_OR(p, SESSION_EXPIRY_INTERVAL, session_expiry_interval_s,
                                       client->config.session_expiry_s);
    client->wildcards = FLAG(p, WILDCARD_SUBSCRIPTION_AVAILABLE, wildcard_subscription_available);
    client->identifiers =
        FLAG(p, SUBSCRIPTION_IDENTIFIERS_AVAILABLE, subscription_identifiers_available);
    client->shared = FLAG(p, SHARED_SUBSCRIPTION_AVAILABLE, shared_subscription_available);
}

/* Keeps an Assigned Client Identifier; MQTT5_ERR_PROTOCOL when one is due and missing. */
static enum mqtt5_error keep_id(struct m5_client *client, const struct mqtt5_connack *connack)
{
    const struct mqtt5_bytes id = connack->properties.assigned_client_identifier;
    if (m5_client_id(client).len > 0 || client->version != MQTT5_VERSION_5)
        return MQTT5_OK;
    if (!MQTT5_HAS(&connack->properties, ASSIGNED_CLIENT_IDENTIFIER) || id.len == 0)
        return MQTT5_ERR_PROTOCOL; /* [MQTT-3.2.2-16] */
    client->assigned_id = m5_alloc(client->allocator, id.len);
    if (client->assigned_id == NULL)
        return MQTT5_ERR_NOMEM;
    m5_copy(client->assigned_id, id);
    client->assigned_id_size = id.len;
    return MQTT5_OK;
}

static enum mqtt5_error check_connack(const struct m5_client *client,
                                      const struct mqtt5_connack *connack)
{
    if (connack->session_present && client->sent_clean_start) /* [MQTT-3.2.2-2] */
        return MQTT5_ERR_PROTOCOL;
    if (connack->session_present && !client->has_session && !client->config.session_known)
        return MQTT5_ERR_PROTOCOL; /* [MQTT-3.2.2-4] */
    const bool has_method = MQTT5_HAS(&connack->properties, AUTHENTICATION_METHOD);
    if (client->auth_method.len == 0 && has_method) /* [MQTT-4.12.0-6] */
        return MQTT5_ERR_PROTOCOL;
    if (client->auth_method.len > 0 &&
        (client->auth_turn || !m5_client_auth_matches(client, &connack->properties)))
        return MQTT5_ERR_PROTOCOL; /* [MQTT-4.12.0-5] */
    return MQTT5_OK;
}

bool m5_client_take_connack(struct m5_client *client, const struct mqtt5_connack *connack,
                            struct m5_client_event *event)
{
    if (connack->reason_code != 0) {
        m5_client_close_now(client, &(struct m5_client_ending){.known = true,
                                                               .by_server = true,
                                                               .error = MQTT5_ERR_REFUSED,
                                                               .reason_code = connack->reason_code,
                                                               .properties = connack->properties});
        return false;
    }
    enum mqtt5_error error = check_connack(client, connack);
    if (error == MQTT5_OK)
        error = keep_id(client, connack);
    if (error != MQTT5_OK) {
        m5_client_close_with(client, error);
        return false;
    }
    agree(client, connack);
    client->state = MQTT5_CLIENT_CONNECTED;
    client->connack_seen = true;
    if (!connack->session_present) /* [MQTT-3.2.2-5] */
        m5_client_session_discard(client);
    client->has_session = true;
    client->info.connects++;
    m5_client_session_resume(client);
    if (!connack->session_present && !m5_client_resubscribe(client)) {
        m5_client_close_with(client, MQTT5_ERR_NOMEM);
        return false;
    }
    event->type = M5_CLIENT_CONNECTED;
    event->result = (struct mqtt5_client_result){.session_present = connack->session_present};
    m5_client_set_properties(&event->result, &connack->properties);
    return true;
}
