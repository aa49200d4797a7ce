/* Who gets what: messages to the callbacks of their filters, results to who asked.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/client/host.h"

#include <stdio.h>

void m5_client_host_call_begin(struct mqtt5_client *client)
{
    client->calling_back = true;
    pthread_mutex_unlock(&client->lock);
}

void m5_client_host_call_end(struct mqtt5_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->calling_back = false;
}

/* ---- messages ---- */

static void call(struct mqtt5_client *client, mqtt5_message_fn *fn, void *ctx,
                 const struct mqtt5_message *message)
{
    m5_client_host_call_begin(client);
    fn(ctx, message);
    m5_client_host_call_end(client);
}

static void *trace(struct mqtt5_client *client, const struct mqtt5_message *message, void *span)
{
    if (client->config->on_trace_deliver == NULL)
        return NULL;
    m5_client_host_call_begin(client);
    span = client->config->on_trace_deliver(client->config->trace_ctx, message, span);
    m5_client_host_call_end(client);
    return span;
}

/* Handlers may come and go while a callback runs: the route keeps its match true. */
static void dispatch_message(struct mqtt5_client *client, const struct m5_client_event *event)
{
    const struct mqtt5_message message = {.publish = &event->publish, .client = client};
    const struct m5_route_entry *entry;
    bool taken = false;
    client->message_number = event->number;
    void *span = trace(client, &message, NULL);
    m5_route_match(&client->route, event->publish.topic);
    while (!client->free_asked && (entry = m5_route_next(&client->route)) != NULL) {
        const struct m5_client_handler *handler =
            M5_CONTAINER_OF(entry, struct m5_client_handler, route);
        taken = true;
        call(client, handler->fn, handler->ctx, &message);
    }
    if (!taken && client->config->on_message != NULL)
        call(client, client->config->on_message, client->config->ctx, &message);
    if (!client->free_asked)
        trace(client, &message, span);
    client->message_number = 0;
}

/* ---- changes ---- */

static const char *v3_text(uint8_t code)
{
    switch (code) {
    case MQTT5_V3_UNACCEPTABLE_PROTOCOL_VERSION: return "unacceptable protocol version";
    case MQTT5_V3_IDENTIFIER_REJECTED: return "identifier rejected";
    case MQTT5_V3_SERVER_UNAVAILABLE: return "server unavailable";
    case MQTT5_V3_BAD_USER_NAME_OR_PASSWORD: return "bad user name or password";
    case MQTT5_V3_NOT_AUTHORIZED: return "not authorized";
    default: return "unknown return code";
    }
}

/* Says in words how the connection ended, unless the link has said it better. */
static void explain(struct mqtt5_client *client, const struct m5_client_event *event)
{
    const struct mqtt5_client_result *result = &event->result;
    const struct mqtt5_bytes reason = result->reason_string;
    const bool v5 = client->config->version == MQTT5_VERSION_5;
    const char *separator = reason.len > 0 ? ": " : "";
    const bool said = client->why_said;
    client->why_said = false;
    if (event->by_server)
        snprintf(client->why, sizeof client->why, "the server %s: %s (0x%02X)%s%.*s",
                 result->error == MQTT5_ERR_REFUSED ? "refused" : "disconnected us",
                 v5 ? mqtt5_reason_text(result->reason_code) : v3_text(result->reason_code),
                 result->reason_code, separator, (int)reason.len,
                 reason.len > 0 ? (const char *)reason.data : "");
    else if (result->error == MQTT5_OK)
        client->why[0] = 0;
    else if (!said && result->error != MQTT5_ERR_IO)
        snprintf(client->why, sizeof client->why, "%s",
                 result->error == MQTT5_ERR_CLOSED ? "the server closed the connection"
                                                   : mqtt5_error_text(result->error));
}

/* The last step of an exchange: the server's data in CONNACK may have to be verified. */
static void check_server(struct mqtt5_client *client, const struct m5_client_event *event)
{
    const struct mqtt5_properties *properties = &event->result.properties;
    if (MQTT5_HAS(properties, AUTHENTICATION_METHOD))
        m5_client_host_auth(client, MQTT5_AUTH_SUCCESS,
                            MQTT5_HAS(properties, AUTHENTICATION_DATA)
                                ? properties->authentication_data
                                : (struct mqtt5_bytes){0});
}

static void dispatch_change(struct mqtt5_client *client, const struct m5_client_event *event)
{
    const bool up = event->type == M5_CLIENT_CONNECTED;
    struct mqtt5_client_change change = {
        .state = MQTT5_CLIENT_CONNECTED, .by_server = event->by_server, .result = event->result};
    if (up) {
        m5_client_host_connected(client, event);
        check_server(client, event);
    } else {
        explain(client, event);
        m5_client_host_decide(client, event, &change);
    }
    struct m5_client_op *op = client->connecting;
    struct mqtt5_client_result result = event->result;
    if (!up && result.error == MQTT5_OK)
        result.error = MQTT5_ERR_CLOSED; /* we ended it ourselves: not what a connect waits for */
    pthread_cond_broadcast(&client->changed);
    if (change.state != MQTT5_CLIENT_WAITING) { /* else the first connection is still to come */
        client->connecting = NULL;
        m5_client_host_op_finish(client, op, &result);
    }
    if (client->config->on_change == NULL || client->free_asked)
        return;
    m5_client_host_call_begin(client);
    client->config->on_change(client->config->ctx, &change);
    m5_client_host_call_end(client);
}

static void dispatch_auth(struct mqtt5_client *client, const struct m5_client_event *event)
{
    const bool more = event->result.reason_code == MQTT5_REASON_CONTINUE_AUTHENTICATION;
    const struct mqtt5_bytes data = event->result.properties.authentication_data;
    m5_client_host_auth(
        client, more ? MQTT5_AUTH_CONTINUE : MQTT5_AUTH_SUCCESS,
        MQTT5_HAS(&event->result.properties, AUTHENTICATION_DATA) ? data : (struct mqtt5_bytes){0});
    if (!more && m5_client_state(client->engine) == MQTT5_CLIENT_CONNECTED)
        m5_client_auth_done(client->engine, MQTT5_OK);
}

/* A subscription that was made again: what was refused is over, and the user is told. */
static void dispatch_resubscribed(struct mqtt5_client *client, const struct m5_client_event *event)
{
    struct mqtt5_bytes rest = event->filters;
    struct mqtt5_subscription_request request;
    const struct mqtt5_bytes codes = event->result.reason_codes;
    for (size_t i = 0; mqtt5_subscribe_next(&rest, client->config->version, &request); i++) {
        const uint8_t code = i < codes.len ? codes.data[i] : event->result.reason_code;
        if (code < 0x80)
            continue;
        m5_client_host_drop_filter(client, request.filter);
        if (client->config->on_refused == NULL || client->free_asked)
            continue;
        m5_client_host_call_begin(client);
        client->config->on_refused(client->config->ctx, request.filter, code);
        m5_client_host_call_end(client);
    }
}

void m5_client_host_dispatch(struct mqtt5_client *client, const struct m5_client_event *event)
{
    switch (event->type) {
    case M5_CLIENT_MESSAGE: dispatch_message(client, event); break;
    case M5_CLIENT_COMPLETED: m5_client_host_op_finish(client, event->ctx, &event->result); break;
    case M5_CLIENT_AUTH: dispatch_auth(client, event); break;
    case M5_CLIENT_RESUBSCRIBED: dispatch_resubscribed(client, event); break;
    case M5_CLIENT_CONNECTED:
    case M5_CLIENT_DISCONNECTED: dispatch_change(client, event); break;
    }
}
