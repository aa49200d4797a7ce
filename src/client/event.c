/* What the user is shown, one event at a time.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "client/state.h"

static bool is_open(const struct m5_client *client)
{
    return client->state == MQTT5_CLIENT_CONNECTING || client->state == MQTT5_CLIENT_CONNECTED;
}

void m5_client_release(struct m5_client *client)
{
    const uint64_t shown = client->shown;
    client->shown = 0;
    if (shown != 0)
        m5_client_deferrals_seen(client, shown);
    if (client->current != NULL)
        m5_client_drop_request(client, client->current);
    client->current = NULL;
    if (client->in_consumed > 0)
        m5_client_buffer_consume(&client->in, client->allocator, client->in_consumed,
                                 M5_CLIENT_BUFFER_KEEP);
    client->in_consumed = 0;
}

void m5_client_set_properties(struct mqtt5_client_result *result,
                              const struct mqtt5_properties *properties)
{
    result->properties = *properties;
    if (MQTT5_HAS(properties, REASON_STRING))
        result->reason_string = properties->reason_string;
}

void m5_client_describe_resubscription(const struct m5_client *client,
                                       const struct m5_client_request *request,
                                       struct m5_client_event *event)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet packet;
    const enum mqtt5_error error = m5_client_packet_check(m5_bytes(request->bytes, request->size),
                                                          client->version, &frame, &packet);
    M5_ASSERT(error == MQTT5_OK); /* it was read when it was made */
    event->type = M5_CLIENT_RESUBSCRIBED;
    event->filters = packet.as.subscribe.raw;
}

/* Shows the next operation that ended without a packet of its own. */
static bool take_done(struct m5_client *client, struct m5_client_event *event)
{
    struct m5_list *node = m5_list_pop_front(&client->done);
    if (node == NULL)
        return false;
    struct m5_client_request *request = m5_client_request_of(node);
    client->current = request;
    *event = (struct m5_client_event){.type = M5_CLIENT_COMPLETED, .ctx = request->ctx};
    if (request->internal)
        m5_client_describe_resubscription(client, request, event);
    event->result.error = request->error;
    event->result.reason_code = request->reason_code;
    event->result.packet_id = request->packet_id;
    return true;
}

/* Handles packets until one of them has something to show. */
static bool take_input(struct m5_client *client, struct m5_client_event *event)
{
    while (is_open(client)) {
        struct mqtt5_frame frame;
        const enum mqtt5_error error = mqtt5_frame_read(m5_client_buffer_view(&client->in),
                                                        client->config.maximum_packet_size, &frame);
        client->in_needed = error == MQTT5_NEED_MORE ? frame.size : 0;
        if (error == MQTT5_NEED_MORE)
            return false;
        if (error != MQTT5_OK) {
            m5_client_close_with(client, error);
            return false;
        }
        client->received_at_ms = client->now_ms;
        client->ping_outstanding = false; /* any packet is a sign of life */
        client->in_consumed = frame.size;
        if (m5_client_take_packet(client, &frame, event))
            return true;
        if (is_open(client))
            m5_client_release(client); /* else `ending` may have views into the packet */
    }
    return false;
}

static bool take_disconnected(struct m5_client *client, struct m5_client_event *event)
{
    if (!client->disconnected_event)
        return false;
    client->disconnected_event = false;
    *event = (struct m5_client_event){.type = M5_CLIENT_DISCONNECTED,
                                      .by_server = client->ending.by_server};
    event->result.error = client->ending.error;
    event->result.reason_code = client->ending.reason_code;
    m5_client_set_properties(&event->result, &client->ending.properties);
    return true;
}

bool m5_client_next_event(struct m5_client *client, struct m5_client_event *out)
{
    if (!is_open(client))
        client->in_consumed = 0; /* stays: `ending` may have views into it */
    m5_client_release(client);
    m5_client_buffer_fini(&client->past, client->allocator);
    return take_done(client, out) || take_input(client, out) || take_done(client, out) ||
           take_disconnected(client, out);
}
