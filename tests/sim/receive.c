/* What a client makes of the packets that reach it: the rules of one link and one session are
 * checked here, what a message may do is judge.c's.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "sim/sim.h"

#include <string.h>

/* ---- PUBLISH ---- */

static uint32_t topic_of(struct sim_world *world, struct sim_link *link,
                         const struct mqtt5_publish *publish)
{
    uint32_t topic = publish->topic.len > 0 ? sim_topic_find(world, publish->topic) : SIM_NONE;
    if (publish->topic.len > 0 && topic == SIM_NONE) {
        sim_fail(world, "a message came to %s with an unknown topic name", link->client->id);
        return SIM_NONE;
    }
    if (!MQTT5_HAS(&publish->properties, TOPIC_ALIAS)) {
        if (topic == SIM_NONE)
            sim_fail(world, "a message came to %s without topic and alias", link->client->id);
        return topic;
    }
    uint32_t alias = publish->properties.topic_alias;
    uint32_t most = sim_lie(world, SIM_BREAK_ALIAS) ? 0 : link->terms.alias_maximum;
    if (alias == 0 || alias > most || alias >= 64) {
        sim_fail(world, "topic alias %u towards %s is out of range [MQTT-3.1.2-26]",
                 (unsigned)alias, link->client->id);
        return SIM_NONE;
    }
    if (topic != SIM_NONE)
        link->aliases_in[alias] = topic;
    if (link->aliases_in[alias] == SIM_NONE)
        sim_fail(world, "topic alias %u towards %s was never set", (unsigned)alias,
                 link->client->id);
    return link->aliases_in[alias];
}

static void read_properties(struct sim_world *world, const struct sim_link *link,
                            const struct mqtt5_properties *properties, struct sim_receipt *receipt)
{
    struct mqtt5_bytes rest = properties->raw;
    struct mqtt5_property property;
    receipt->has_expiry = MQTT5_HAS(properties, MESSAGE_EXPIRY_INTERVAL);
    receipt->expiry_s = receipt->has_expiry ? properties->message_expiry_interval_s : 0;
    while (mqtt5_property_next(&rest, &property)) {
        receipt->user_properties += property.id == MQTT5_PROPERTY_USER_PROPERTY;
        if (property.id != MQTT5_PROPERTY_SUBSCRIPTION_IDENTIFIER)
            continue;
        if (receipt->id_count < SIM_IDS_MAX)
            receipt->ids[receipt->id_count++] = property.number;
    }
    if (receipt->id_count > 0 && sim_lie(world, SIM_BREAK_LOST_IDENTIFIER))
        receipt->id_count = 0;
    if (link->client->version == MQTT5_VERSION_5 && sim_lie(world, SIM_BREAK_IDENTIFIER))
        receipt->ids[receipt->id_count++ % SIM_IDS_MAX] = 999;
}

static void check_decoration(struct sim_world *world, const struct sim_link *link, uint32_t index,
                             const struct sim_receipt *receipt)
{
    const struct sim_message *message = sim_message_at(world, index);
    uint32_t expected = message->decorated ? 2 : 0;
    if (link->client->version == MQTT5_VERSION_5 && receipt->user_properties != expected)
        sim_fail(world,
                 "message %u came to %s with %u user properties instead of %u "
                 "[MQTT-3.3.2-17]",
                 (unsigned)index, link->client->id, (unsigned)receipt->user_properties,
                 (unsigned)expected);
}

static struct sim_held *find_held(struct sim_client *client, uint16_t packet_id)
{
    for (uint32_t i = 0; i < client->held.count; i++)
        if (client->held.items[i].packet_id == packet_id)
            return &client->held.items[i];
    return NULL;
}

static void answer(struct sim_world *world, struct sim_client *client, uint8_t type,
                   uint16_t packet_id)
{
    uint32_t delay_ms = world->final || sim_chance(world, 50) ? 0 : sim_below(world, 80);
    uint32_t count = client->answers.count;
    uint64_t due_ms = world->now_ms + delay_ms;
    if (count > 0 && client->answers.items[count - 1].due_ms > due_ms)
        due_ms = client->answers.items[count - 1].due_ms;
    SIM_PUSH(&client->answers,
             (struct sim_answer){.due_ms = due_ms, .type = type, .packet_id = packet_id});
}

/* A PUBLISH without DUP: its id counts up in the session, and nothing that must be sent again may
 * be left [MQTT-4.4.0-1]. */
static void check_fresh(struct sim_world *world, struct sim_link *link, uint16_t packet_id)
{
    struct sim_epoch *epoch = link->epoch;
    uint32_t expected = epoch->last_packet_id + 1;
    if (find_held(link->client, packet_id) != NULL)
        sim_fail(world, "packet id %u towards %s is in use [MQTT-2.2.1-4]", packet_id,
                 link->client->id);
    if (packet_id < expected)
        sim_fail(world, "packet id %u towards %s comes after %u", packet_id, link->client->id,
                 (unsigned)epoch->last_packet_id);
    bool exact = epoch->connections == 1 && !epoch->packet_ids_skip;
    if (exact && packet_id != expected)
        sim_fail(world, "packet id %u towards %s, expected was %u", packet_id, link->client->id,
                 (unsigned)expected);
    if (link->resends_due > 0 && world->profile.small_limits == false)
        sim_fail(world,
                 "something new came to %s while %u unacknowledged messages were not sent "
                 "again [MQTT-4.4.0-1]",
                 link->client->id, (unsigned)link->resends_due);
}

static void check_again(struct sim_world *world, struct sim_link *link, uint16_t packet_id)
{
    if (link->epoch->connections < 2)
        sim_fail(world,
                 "packet id %u came to %s with DUP although the session was never resumed "
                 "[MQTT-3.3.1-1]",
                 packet_id, link->client->id);
    if (packet_id <= link->resumed_id)
        sim_fail(world,
                 "packet id %u was sent again to %s after %u, out of order "
                 "[MQTT-4.6.0-1]",
                 packet_id, link->client->id, (unsigned)link->resumed_id);
    link->resumed_id = packet_id;
}

static void check_window(struct sim_world *world, struct sim_link *link)
{
    uint32_t most = link->terms.receive_maximum;
    if (sim_lie(world, SIM_BREAK_RECEIVE_MAXIMUM))
        most = 0;
    if (++link->unacknowledged > most)
        sim_fail(world,
                 "%u messages to %s are unacknowledged, its Receive Maximum is %u "
                 "[MQTT-3.3.4-9]",
                 (unsigned)link->unacknowledged, link->client->id, (unsigned)most);
}

/* Returns true when the application gets the message. */
static bool hold(struct sim_world *world, struct sim_link *link, uint32_t index,
                 const struct mqtt5_publish *publish)
{
    struct sim_client *client = link->client;
    uint16_t packet_id = publish->packet_id;
    if (sim_lie(world, SIM_BREAK_PACKET_ID))
        packet_id = 0;
    check_window(world, link);
    if (publish->dup)
        check_again(world, link, packet_id);
    else
        check_fresh(world, link, packet_id);
    if (packet_id > link->epoch->last_packet_id)
        link->epoch->last_packet_id = packet_id;
    answer(world, client, publish->qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC, packet_id);
    struct sim_held *held = find_held(client, packet_id);
    if (held == NULL) {
        SIM_PUSH(&client->held, (struct sim_held){.packet_id = packet_id,
                                                  .message = index,
                                                  .qos = publish->qos,
                                                  .here = true,
                                                  .recorded_turn = SIM_NEVER});
        return true;
    }
    if (link->epoch->restarts > 0 && publish->dup && sim_lie(world, SIM_BREAK_PUBREL_LOST))
        held->released = true;
    if (held->message != index || held->qos != publish->qos || held->released)
        sim_fail(world, "packet id %u towards %s named message %u and now names %u", packet_id,
                 client->id, (unsigned)held->message, (unsigned)index);
    if (!held->answered && link->resends_due > 0)
        link->resends_due--;
    held->here = true;
    return publish->qos == 1;
}

static void lie_about(struct sim_world *world, struct sim_link *link, uint32_t index,
                      struct sim_receipt *receipt)
{
    uint8_t qos = receipt->qos;
    const struct sim_message *message = sim_message_at(world, index);
    bool once = !message->retain && (message->qos == qos || message->qos == 2);
    bool old = link->epoch->restarts > 0 && message->last_fed_ms <= world->store.crashed_ms;
    if ((qos == 2 && !message->retain && sim_lie(world, SIM_BREAK_DUP_QOS2)) ||
        (qos == 2 && !message->retain && old && sim_lie(world, SIM_BREAK_CRASH_TWICE)) ||
        (qos == 1 && once && !receipt->dup && sim_lie(world, SIM_BREAK_DUP_QOS1)) ||
        (qos == 0 && once && sim_lie(world, SIM_BREAK_DUP_QOS0)))
        for (uint32_t i = 0; i < 5; i++)
            sim_judge_delivery(world, link, index, receipt);
    bool shared = world->topics.items[message->topic].family == SIM_SHARED;
    if (shared && !link->client->monitor && message->qos == 2 &&
        sim_lie(world, SIM_BREAK_GROUP_TWICE))
        sim_message_at(world, index)->group_copies[link->client->home] = 1;
    if (sim_lie(world, SIM_BREAK_QOS))
        receipt->qos = 3;
    if (!message->retain && sim_lie(world, SIM_BREAK_RETAIN))
        receipt->retain = true;
    if (message->expiry_s == 0 && sim_lie(world, SIM_BREAK_STRANGER))
        link->epoch->subscriptions.count = 0;
}

/* True when the delivery is to be hidden from the judge. */
static bool is_hidden(struct sim_world *world, const struct sim_link *link, uint32_t index)
{
    const struct sim_message *message = sim_message_at(world, index);
    bool shared = world->topics.items[message->topic].family == SIM_SHARED;
    bool will = message->will != SIM_NOT_A_WILL;
    bool steady =
        message->qos > 0 && !message->retain && message->expiry_s == 0 && link->client->durable;
    bool old = world->store.restarts > 0 && message->last_fed_ms <= world->store.crashed_ms;
    return (steady && !shared && !will && sim_lie(world, SIM_BREAK_DROP)) ||
           (steady && !shared && !will && old && sim_lie(world, SIM_BREAK_CRASH_LOST)) ||
           (steady && will && sim_lie(world, SIM_BREAK_WILL_LOST)) ||
           (steady && shared && !link->client->monitor && sim_lie(world, SIM_BREAK_GROUP_LOST));
}

static void lie_about_order(struct sim_world *world, struct sim_link *link, uint32_t index,
                            const struct sim_receipt *receipt)
{
    const struct sim_message *message = sim_message_at(world, index);
    uint32_t place = message->stream * 3 + receipt->qos;
    struct sim_epoch *epoch = link->epoch;
    if (place < epoch->last_sequence.count && message->transmissions == 1 && !message->retain &&
        world->topics.items[message->topic].family == SIM_PLAIN &&
        epoch->last_sequence.items[place] == message->sequence && !receipt->dup &&
        sim_lie(world, SIM_BREAK_SWAP)) {
        epoch->last_sequence.items[place]++;
        epoch->copies.items[index] = (struct sim_copies){0};
        sim_judge_delivery(world, link, index, receipt);
    }
}

static void on_publish(struct sim_world *world, struct sim_link *link,
                       const struct mqtt5_publish *publish)
{
    uint32_t topic = topic_of(world, link, publish);
    if (topic == SIM_NONE)
        return;
    struct mqtt5_bytes payload = publish->payload;
    if (payload.len > 0 && sim_lie(world, SIM_BREAK_PAYLOAD))
        payload.len--;
    uint32_t index = sim_payload_read(world, topic, payload);
    struct sim_receipt receipt = {
        .qos = publish->qos, .dup = publish->dup, .retain = publish->retain};
    read_properties(world, link, &publish->properties, &receipt);
    if (sim_lie(world, SIM_BREAK_DUP_FLAG))
        receipt.dup = true, receipt.qos = 0;
    if (receipt.qos == 0 && receipt.dup)
        sim_fail(world, "a message came to %s at QoS 0 with DUP [MQTT-3.3.1-2]", link->client->id);
    if (publish->qos > 0 && !hold(world, link, index, publish))
        return;
    if (world->failed)
        return;
    if (index == SIM_NONE) {
        sim_judge_anonymous(world, link, topic);
        return;
    }
    check_decoration(world, link, index, &receipt);
    if (is_hidden(world, link, index))
        return;
    lie_about(world, link, index, &receipt);
    sim_judge_delivery(world, link, index, &receipt);
    lie_about_order(world, link, index, &receipt);
}

/* ---- acknowledgements ---- */

/* The first of the client's flows on this link that waits for a @p type: the broker answers in
 * order [MQTT-4.6.0-2] [MQTT-4.6.0-3]. */
static struct sim_flow *awaited(struct sim_client *client, uint8_t type)
{
    uint8_t state = type == MQTT5_PUBCOMP ? SIM_FLOW_PUBREL : SIM_FLOW_PUBLISH;
    uint8_t qos = type == MQTT5_PUBACK ? 1 : 2;
    for (uint32_t i = 0; i < client->flows.count; i++) {
        struct sim_flow *flow = &client->flows.items[i];
        if (flow->sent_here && flow->state == state && flow->qos == qos)
            return flow;
    }
    return NULL;
}

static void accept_message(struct sim_world *world, const struct sim_flow *flow, uint8_t reason)
{
    struct sim_message *message = sim_message_at(world, flow->message);
    if (message->accepted_tick == SIM_NEVER)
        message->accepted_tick = world->tick;
    if (reason >= 0x80) {
        message->refused = true;
        world->topics.items[message->topic].retained_unsure = true;
        if (reason == MQTT5_REASON_QUOTA_EXCEEDED &&
            sim_store_failed_since(world, message->first_fed_ms))
            return;
        sim_fail(world, "message %u was refused with 0x%02x", (unsigned)flow->message, reason);
    }
    if (reason == MQTT5_REASON_NO_MATCHING_SUBSCRIBERS && sim_judge_wanted(world, flow->message))
        sim_fail(world, "message %u was acknowledged as without subscribers, but it has some",
                 (unsigned)flow->message);
}

static void end_flow(struct sim_world *world, struct sim_client *client, struct sim_flow *flow)
{
    uint32_t place = (uint32_t)(flow - client->flows.items);
    SIM_REMOVE(&client->flows, place);
    sim_client_release(world, client);
}

static void on_ack(struct sim_world *world, struct sim_client *client, uint8_t type,
                   const struct mqtt5_ack *ack)
{
    struct sim_flow *flow = awaited(client, type);
    uint16_t packet_id = ack->packet_id;
    if (sim_lie(world, SIM_BREAK_ACK_ORDER))
        packet_id++;
    if (flow == NULL || flow->packet_id != packet_id) {
        sim_fail(world, "a %s for packet %u came to %s; the next to acknowledge is %u",
                 mqtt5_packet_type_text(type), packet_id, client->id,
                 flow == NULL ? 0 : flow->packet_id);
        return;
    }
    sim_log(world, "c%llu gets packet type %llu for message %llu, reason %llu", client->number,
            type, flow->message, ack->reason_code);
    if (type != MQTT5_PUBCOMP)
        accept_message(world, flow, ack->reason_code);
    if (type != MQTT5_PUBCOMP)
        sim_promise_publish(world, client->link, flow->message);
    else
        sim_promise_complete(world, client->link, flow->message);
    if (type == MQTT5_PUBREC && ack->reason_code < 0x80) {
        flow->state = SIM_FLOW_PUBREL;
        struct mqtt5_packet packet = {.type = MQTT5_PUBREL};
        packet.as.ack = (struct mqtt5_ack){.packet_id = packet_id};
        sim_client_send(world, client, &packet,
                        (struct sim_mark){.type = SIM_MARK_PUBREL, .packet_id = packet_id});
        return;
    }
    end_flow(world, client, flow);
}

static void on_pubrel(struct sim_world *world, struct sim_client *client,
                      const struct mqtt5_ack *ack)
{
    struct sim_held *held = find_held(client, ack->packet_id);
    if (held != NULL) {
        if (held->qos != 2 || !held->answered)
            sim_fail(world, "a PUBREL for packet %u came to %s before its PUBREC", ack->packet_id,
                     client->id);
        sim_promise_release(world, client->link, held);
        held->released = true;
    } else if (client->link->epoch->connections < 2) {
        sim_fail(world, "a PUBREL for packet %u came to %s, which does not know it", ack->packet_id,
                 client->id);
    }
    answer(world, client, MQTT5_PUBCOMP, ack->packet_id);
}

/* ---- SUBACK, UNSUBACK ---- */

static void confirm(struct sim_world *world, struct sim_epoch *epoch,
                    const struct sim_request *request, uint32_t item)
{
    for (uint32_t i = 0; i < epoch->subscriptions.count; i++) {
        struct sim_subscription *subscription = &epoch->subscriptions.items[i];
        if (request->subscribes && i == request->first + item)
            subscription->confirmed_tick = world->tick;
        else if (i < request->first + item && subscription->end_confirmed_tick == SIM_NEVER &&
                 strcmp(subscription->filter, request->filters[item]) == 0)
            subscription->end_confirmed_tick = world->tick;
    }
}

/* While commits fail, no subscription is made that would have to be stored. */
static bool is_refusal(const struct sim_world *world, const struct sim_request *request,
                       uint8_t code)
{
    return request->subscribes && sim_store_failed_since(world, request->asked_ms) &&
           (code == MQTT5_REASON_QUOTA_EXCEEDED || code == MQTT5_REASON_UNSPECIFIED_ERROR);
}

/* The subscription was never made; one that it was to replace may still be there. */
static void withdraw(struct sim_world *world, struct sim_epoch *epoch, uint32_t index)
{
    struct sim_subscription *subscription = &epoch->subscriptions.items[index];
    subscription->end_requested_tick = subscription->requested_tick;
    subscription->end_confirmed_tick = world->tick;
    world->refusals++;
}

static bool is_right_code(struct sim_epoch *epoch, const struct sim_request *request, uint32_t item,
                          uint8_t code)
{
    if (!request->subscribes)
        return code == 0 || code == MQTT5_REASON_NO_SUBSCRIPTION_EXISTED;
    return code == epoch->subscriptions.items[request->first + item].qos;
}

static void on_suback(struct sim_world *world, struct sim_link *link, bool subscribes,
                      const struct mqtt5_suback *suback)
{
    struct sim_client *client = link->client;
    if (client->requests.count == 0 || client->requests.items[0].packet_id != suback->packet_id ||
        client->requests.items[0].subscribes != subscribes) {
        sim_fail(world, "an unexpected %s for packet %u came to %s",
                 subscribes ? "SUBACK" : "UNSUBACK", suback->packet_id, client->id);
        return;
    }
    struct sim_request request = client->requests.items[0];
    SIM_REMOVE(&client->requests, 0);
    bool codes = subscribes || client->version == MQTT5_VERSION_5;
    if (suback->reason_codes.len != (codes ? request.count : 0u)) {
        sim_fail(world, "%zu reason codes for %u filters [MQTT-3.8.4-6]", suback->reason_codes.len,
                 request.count);
        return;
    }
    sim_log(world, "c%llu gets the answer to request %llu", client->number, request.packet_id);
    bool refused = false;
    for (uint32_t i = 0; i < request.count; i++) {
        if (codes && is_refusal(world, &request, suback->reason_codes.data[i])) {
            withdraw(world, link->epoch, request.first + i);
            refused = true;
            continue;
        }
        if (codes && !is_right_code(link->epoch, &request, i, suback->reason_codes.data[i]))
            sim_fail(world, "%s to '%s' was answered with 0x%02x",
                     subscribes ? "SUBSCRIBE" : "UNSUBSCRIBE", request.filters[i],
                     suback->reason_codes.data[i]);
        confirm(world, link->epoch, &request, i);
    }
    if (!refused)
        sim_promise_request(world, link, &request);
}

/* ---- CONNACK, DISCONNECT ---- */

static bool id_is_taken(const struct sim_world *world, const struct sim_client *self,
                        struct mqtt5_bytes id)
{
    for (uint32_t i = 0; i < world->clients.count; i++) {
        const struct sim_client *client = world->clients.items[i];
        if (client != self && m5_bytes_equal(m5_bytes_of(client->id), id))
            return true;
    }
    return false;
}

static void adopt_id(struct sim_world *world, struct sim_link *link,
                     const struct mqtt5_properties *properties)
{
    struct sim_client *client = link->client;
    struct mqtt5_bytes id = properties->assigned_client_identifier;
    if (!MQTT5_HAS(properties, ASSIGNED_CLIENT_IDENTIFIER) || id.len == 0 ||
        id.len >= sizeof client->id || id_is_taken(world, client, id)) {
        sim_fail(world, "no usable client id was assigned [MQTT-3.2.2-16]");
        return;
    }
    memcpy(client->id, id.data, id.len);
    client->id[id.len] = '\0';
    client->anonymous = false;
    sim_session_adopt(world, link);
}

static void on_connack(struct sim_world *world, struct sim_link *link,
                       const struct mqtt5_connack *connack)
{
    const struct mqtt5_properties *properties = &connack->properties;
    struct sim_client *client = link->client;
    link->online = true;
    if (MQTT5_HAS(properties, RECEIVE_MAXIMUM))
        link->server_receive_maximum = (uint16_t)properties->receive_maximum;
    if (MQTT5_HAS(properties, TOPIC_ALIAS_MAXIMUM))
        link->server_alias_maximum = (uint16_t)properties->topic_alias_maximum;
    if (link->terms.anonymous)
        adopt_id(world, link, properties);
    else if (MQTT5_HAS(properties, ASSIGNED_CLIENT_IDENTIFIER))
        sim_fail(world, "%s has an id, but another was assigned", client->id);
    uint32_t keep_alive_s = link->keep_alive_s;
    client->next_ping_ms = keep_alive_s == 0 ? SIM_NEVER : world->now_ms + keep_alive_s * 800u;
    sim_client_resume(world, link, connack->session_present);
}

static void on_disconnect(struct sim_world *world, struct sim_link *link, uint8_t reason)
{
    bool right = false;
    sim_log(world, "c%llu gets DISCONNECT %llu on link %llu", link->client->number, reason,
            link->number);
    switch (link->end) {
    case SIM_END_TAKEN_OVER: right = reason == MQTT5_REASON_SESSION_TAKEN_OVER; break;
    case SIM_END_KEEP_ALIVE: right = reason == MQTT5_REASON_KEEP_ALIVE_TIMEOUT; break;
    case SIM_END_GARBAGE: right = reason == MQTT5_REASON_MALFORMED_PACKET; break;
    case SIM_END_CLOSED: right = reason == MQTT5_REASON_SERVER_SHUTTING_DOWN; break;
    default: break;
    }
    if (!right || link->client->version != MQTT5_VERSION_5)
        sim_fail(world, "DISCONNECT 0x%02x came to %s, whose link ended for cause %d", reason,
                 link->client->id, (int)link->end);
    link->disconnect_received = true;
    world->farewells += reason == MQTT5_REASON_SERVER_SHUTTING_DOWN;
}

/* ---- packets ---- */

static void handle(struct sim_world *world, struct sim_link *link,
                   const struct mqtt5_packet *packet)
{
    struct sim_client *client = link->client;
    if (link->disconnect_received)
        sim_fail(world, "a packet came to %s after DISCONNECT [MQTT-3.14.4-1]", client->id);
    if (packet->type == MQTT5_DISCONNECT) {
        on_disconnect(world, link, packet->as.disconnect.reason_code);
        return;
    }
    if (link->left)
        return;
    if ((packet->type == MQTT5_CONNACK) == link->online) {
        sim_fail(world, "%s came to %s at the wrong time", mqtt5_packet_type_text(packet->type),
                 client->id);
        return;
    }
    switch (packet->type) {
    case MQTT5_CONNACK: on_connack(world, link, &packet->as.connack); break;
    case MQTT5_PUBLISH: on_publish(world, link, &packet->as.publish); break;
    case MQTT5_PUBACK:
    case MQTT5_PUBREC:
    case MQTT5_PUBCOMP: on_ack(world, client, packet->type, &packet->as.ack); break;
    case MQTT5_PUBREL: on_pubrel(world, client, &packet->as.ack); break;
    case MQTT5_SUBACK: on_suback(world, link, true, &packet->as.suback); break;
    case MQTT5_UNSUBACK: on_suback(world, link, false, &packet->as.suback); break;
    case MQTT5_PINGRESP: break;
    default: sim_fail(world, "%s came to %s", mqtt5_packet_type_text(packet->type), client->id);
    }
}

/* Returns the size of the first packet, or 0 when it is not complete. */
static size_t receive_packet(struct sim_world *world, struct sim_link *link,
                             struct mqtt5_bytes stream)
{
    struct mqtt5_frame frame;
    struct mqtt5_packet packet;
    struct mqtt5_decode_limits limits;
    enum mqtt5_error error = mqtt5_frame_read(stream, UINT32_MAX, &frame);
    if (error == MQTT5_NEED_MORE)
        return 0;
    mqtt5_decode_limits_init(&limits);
    if (error == MQTT5_OK)
        error = mqtt5_packet_decode(&frame, link->client->version, &limits, &packet);
    if (error != MQTT5_OK) {
        sim_fail(world, "a packet of type %u to %s is not valid: %s", frame.type, link->client->id,
                 mqtt5_error_text(error));
        return 0;
    }
    uint32_t most = link->client->packet_size_max;
    if (most != 0 && sim_lie(world, SIM_BREAK_PACKET_SIZE))
        most = frame.size - 1;
    if (most != 0 && frame.size > most)
        sim_fail(world, "%u bytes came to %s, whose Maximum Packet Size is %u [MQTT-3.1.2-24]",
                 (unsigned)frame.size, link->client->id, (unsigned)most);
    handle(world, link, &packet);
    return frame.size;
}

static void parse(struct sim_world *world, struct sim_link *link)
{
    size_t at = 0;
    while (!world->failed) {
        size_t size =
            receive_packet(world, link, m5_bytes(link->input.items + at, link->input.count - at));
        if (size == 0)
            break;
        at += size;
    }
    link->input.count -= (uint32_t)at;
    if (at > 0 && link->input.count > 0)
        memmove(link->input.items, link->input.items + at, link->input.count);
}

static void close_client(struct sim_world *world, struct sim_link *link)
{
    sim_log(world, "c%llu sees the end of link %llu", link->client->number, link->number);
    link->client_open = false;
    link->down.cut = true;
    if (link->conn != NULL && link->server_notices_ms == SIM_NEVER)
        link->server_notices_ms = world->now_ms;
    if (!link->left)
        sim_client_leave(world, link->client);
}

static void receive_on(struct sim_world *world, struct sim_link *link)
{
    if (world->now_ms < link->paused_until_ms)
        return;
    struct mqtt5_bytes ready = sim_pipe_ready(&link->down, world->now_ms);
    bool splits = !world->final && world->profile.faults != SIM_FAULTS_NONE;
    if (ready.len > 0 && splits && sim_chance(world, 30))
        ready.len = 1 + (size_t)m5_rng_below(&world->rng, ready.len);
    if (ready.len > 0) {
        sim_append(&link->input, ready);
        sim_pipe_take(&link->down, ready.len);
        parse(world, link);
    }
    bool noticed = world->now_ms >= link->client_notices_ms;
    if ((link->down_ended && sim_pipe_under_way(&link->down) == 0) || noticed)
        close_client(world, link);
}

void sim_receive(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->links.count && !world->failed; i++)
        if (world->links.items[i]->client_open)
            receive_on(world, world->links.items[i]);
    for (uint32_t i = 0; i < world->clients.count && !world->failed; i++)
        sim_client_answers(world, world->clients.items[i]);
}
