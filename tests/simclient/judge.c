/* What must hold in the engine's world: windows on the wire, order and number of deliveries, the
 * end of every operation.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "simclient/world.h"

#include <stdlib.h>

/* ---- the wire ---- */

void judge_connected(struct actor *actor)
{
    sc_tap_reset(&actor->sent);
    sc_tap_reset(&actor->received);
    actor->flying_count = 0;
    actor->server_spoke = false;
    actor->server_receive_maximum = UINT16_MAX;
}

static void land(struct actor *actor, uint16_t id)
{
    for (uint32_t i = 0; i < actor->flying_count; i++) {
        if (actor->flying[i] == id) {
            actor->flying[i] = actor->flying[--actor->flying_count];
            return;
        }
    }
}

/* [MQTT-3.3.4-7]: what counts is what was sent on this connection and is not acknowledged yet. */
static void fly(struct actor *actor, const struct mqtt5_publish *publish)
{
    struct sc_run *run = actor->world->run;
    for (uint32_t i = 0; i < actor->flying_count; i++) {
        if (actor->flying[i] == publish->packet_id)
            sc_fail(run, "client %u: packet id %u is used twice", actor->index, publish->packet_id);
    }
    if (actor->flying_count < SC_MESSAGES)
        actor->flying[actor->flying_count++] = publish->packet_id;
    const uint32_t most = actor->server_receive_maximum < actor->options.inflight_max
                              ? actor->server_receive_maximum
                              : actor->options.inflight_max;
    if (actor->flying_count > most)
        sc_fail(run, "client %u: %u messages in flight, %u are allowed", actor->index,
                (unsigned)actor->flying_count, (unsigned)most);
}

static void say_packet(const struct actor *actor, const char *verb,
                       const struct mqtt5_packet *packet)
{
    const uint16_t id = packet->type == MQTT5_PUBLISH ? packet->as.publish.packet_id
                        : packet->type >= MQTT5_PUBACK && packet->type <= MQTT5_PUBCOMP
                            ? packet->as.ack.packet_id
                            : 0;
    sc_say(actor->world->run, "client %u %s %s %u%s", (unsigned)actor->index, verb,
           mqtt5_packet_type_text(packet->type), id,
           packet->type == MQTT5_PUBLISH && packet->as.publish.dup ? ", dup" : "");
}

void judge_sent(struct actor *actor, struct mqtt5_bytes bytes)
{
    struct mqtt5_packet packet;
    sc_tap_add(&actor->sent, bytes);
    while (sc_tap_next(&actor->sent, actor->version, &packet)) {
        say_packet(actor, "sends", &packet);
        if (packet.type == MQTT5_PUBLISH && packet.as.publish.qos > 0)
            fly(actor, &packet.as.publish);
        if (packet.type != MQTT5_CONNECT && packet.type != MQTT5_AUTH && !actor->server_spoke)
            sc_fail(actor->world->run, "client %u: %s before CONNACK", actor->index,
                    mqtt5_packet_type_text(packet.type));
    }
    if (actor->sent.blind)
        sc_fail(actor->world->run, "client %u has sent what is no packet", actor->index);
}

void judge_received(struct actor *actor, struct mqtt5_bytes bytes)
{
    struct mqtt5_packet packet;
    sc_tap_add(&actor->received, bytes);
    while (sc_tap_next(&actor->received, actor->version, &packet)) {
        say_packet(actor, "gets", &packet);
        const bool lands = packet.type == MQTT5_PUBACK || packet.type == MQTT5_PUBCOMP ||
                           (packet.type == MQTT5_PUBREC && packet.as.ack.reason_code >= 0x80);
        if (lands && !sc_lies(actor->world->run, SC_LIE_WINDOW))
            land(actor, packet.as.ack.packet_id);
        if (packet.type != MQTT5_CONNACK)
            continue;
        actor->server_spoke = true;
        if (MQTT5_HAS(&packet.as.connack.properties, RECEIVE_MAXIMUM))
            actor->server_receive_maximum = (uint16_t)packet.as.connack.properties.receive_maximum;
    }
}

/* ---- messages ---- */

/* The number in a payload; SC_NOTHING: it is none of ours. */
static uint32_t number_of(const struct world *world, const struct mqtt5_publish *publish)
{
    if (publish->payload.len < 4)
        return SC_NOTHING;
    const uint32_t number = m5_read_u32(publish->payload.data);
    return number < world->message_count ? number : SC_NOTHING;
}

void judge_accepted(struct world *world, const struct mqtt5_publish *publish)
{
    const uint32_t number = number_of(world, publish);
    if (number == SC_NOTHING) {
        sc_fail(world->run, "the broker has accepted what nobody has published");
        return;
    }
    struct message *message = &world->messages[number];
    if (message->qos > 0 && sc_lies(world->run, SC_LIE_UNACCEPTED))
        return;
    message->accepted++;
    sc_say(world->run, "the broker has accepted message %u", (unsigned)number);
    if (message->qos == 2 && sc_lies(world->run, SC_LIE_REPEATED))
        message->accepted++;
}

/* [MQTT-4.6.0-6]: what one client publishes to one topic at one QoS comes in its order; repetitions
 * aside, which may come late. */
static void check_order(struct actor *actor, uint32_t number)
{
    const struct message *message = &actor->world->messages[number];
    uint32_t *last = &actor->last_seen[message->publisher][message->topic][message->qos];
    /* The first time of a message that is repeated may be lost to a subscription of QoS 0, or have
     * been before the subscription. */
    const bool lossy = message->qos > 0 && actor->granted[message->topic] == 0;
    if (message->delivered[actor->index] > 1 || number < actor->since[message->topic] || lossy)
        return;
    if (number + 1 < *last)
        sc_fail(actor->world->run, "client %u: message %u comes out of order, behind %u",
                actor->index, (unsigned)number, (unsigned)*last - 1);
    *last = number + 1;
    if (sc_lies(actor->world->run, SC_LIE_ORDER))
        *last = SC_NOTHING;
}

static void judge_message(struct actor *actor, const struct mqtt5_publish *publish)
{
    struct world *world = actor->world;
    const uint32_t number = number_of(world, publish);
    if (number == SC_NOTHING) {
        sc_fail(world->run, "client %u was shown what nobody has published", actor->index);
        return;
    }
    struct message *message = &world->messages[number];
    const uint32_t granted = actor->granted[message->topic];
    world->run->deliveries++;
    if (message->qos > 0 && granted != SC_NOTHING && granted > 0 &&
        number >= actor->since[message->topic] && sc_lies(world->run, SC_LIE_UNSEEN))
        return;
    message->delivered[actor->index]++;
    if (publish->qos == 2 && sc_lies(world->run, SC_LIE_TWICE))
        message->delivered[actor->index]++;
    check_order(actor, number);
}

/* ---- operations ---- */

static void judge_subscribed(struct actor *actor, const struct mqtt5_client_result *result)
{
    struct world *world = actor->world;
    actor->subscribe_ended++;
    if (result->error != MQTT5_OK || result->reason_codes.len != SC_TOPICS) {
        sc_fail(world->run, "client %u: SUBSCRIBE ended as %s", actor->index,
                mqtt5_error_name(result->error));
        return;
    }
    for (uint32_t topic = 0; topic < SC_TOPICS; topic++) {
        actor->granted[topic] = result->reason_codes.data[topic];
        actor->since[topic] = world->message_count;
    }
}

static void judge_published(struct actor *actor, struct message *message,
                            const struct mqtt5_client_result *result)
{
    if (message->qos > 0 && sc_lies(actor->world->run, SC_LIE_UNENDED))
        return;
    message->ended++;
    if (sc_lies(actor->world->run, SC_LIE_TWICE_ENDED))
        message->ended++;
    message->error = result->error;
}

static void say_event(const struct actor *actor, const struct m5_client_event *event)
{
    const struct sc_run *run = actor->world->run;
    if (event->type == M5_CLIENT_CONNECTED)
        sc_say(run, "client %u is connected%s", (unsigned)actor->index,
               event->result.session_present ? ", session resumed" : "");
    else if (event->type == M5_CLIENT_DISCONNECTED)
        sc_say(run, "client %u is disconnected: %s, 0x%02X%s", (unsigned)actor->index,
               mqtt5_error_name(event->result.error), event->result.reason_code,
               event->by_server ? " by the server" : "");
    else if (event->type == M5_CLIENT_MESSAGE)
        sc_say(run, "client %u is shown message %u%s", (unsigned)actor->index,
               (unsigned)number_of(actor->world, &event->publish),
               event->publish.dup ? ", dup" : "");
    else if (event->type == M5_CLIENT_COMPLETED && event->ctx != actor)
        sc_say(run, "client %u: message %u has ended: %s", (unsigned)actor->index,
               (unsigned)((struct message *)event->ctx - actor->world->messages),
               mqtt5_error_name(event->result.error));
}

void judge_event(struct actor *actor, const struct m5_client_event *event)
{
    say_event(actor, event);
    actor->has_session |= event->type == M5_CLIENT_CONNECTED;
    if (event->type == M5_CLIENT_MESSAGE)
        judge_message(actor, &event->publish);
    else if (event->type == M5_CLIENT_COMPLETED && event->ctx == actor)
        judge_subscribed(actor, &event->result);
    else if (event->type == M5_CLIENT_COMPLETED)
        judge_published(actor, event->ctx, &event->result);
}

/* ---- the end ---- */

/* What the publisher's client has promised: QoS > 0, and not given up where it may. */
static bool is_promised(const struct message *message)
{
    return message->qos > 0 && !(message->may_fail && message->error != MQTT5_OK);
}

/* The QoS of a message on its way to @p client, as far as that is known. */
static uint32_t qos_towards(const struct world *world, uint32_t number, uint32_t client)
{
    const struct message *message = &world->messages[number];
    const uint32_t granted = world->actors[client].granted[message->topic];
    return granted < message->qos ? granted : message->qos;
}

static bool is_due(const struct world *world, uint32_t number, uint32_t client)
{
    const struct message *message = &world->messages[number];
    return is_promised(message) && number >= world->actors[client].since[message->topic] &&
           world->actors[client].granted[message->topic] != SC_NOTHING &&
           qos_towards(world, number, client) > 0;
}

bool judge_is_settled(const struct world *world)
{
    for (uint32_t i = 0; i < world->actor_count; i++) {
        const struct actor *actor = &world->actors[i];
        if (actor->subscribe_ended == 0 || m5_client_state(actor->client) != MQTT5_CLIENT_CONNECTED)
            return false;
    }
    for (uint32_t number = 0; number < world->message_count; number++) {
        const struct message *message = &world->messages[number];
        if (message->ended == 0 || (is_promised(message) && message->accepted == 0))
            return false;
        for (uint32_t i = 0; i < world->actor_count; i++) {
            if (is_due(world, number, i) && message->delivered[i] == 0)
                return false;
        }
    }
    return true;
}

static void check_message(struct world *world, uint32_t number)
{
    const struct message *message = &world->messages[number];
    struct sc_run *run = world->run;
    if (message->ended != 1)
        sc_fail(run, "message %u has ended %u times", (unsigned)number, (unsigned)message->ended);
    else if (is_promised(message) && message->error != MQTT5_OK)
        sc_fail(run, "message %u has ended as %s", (unsigned)number,
                mqtt5_error_name(message->error));
    else if ((is_promised(message) && message->accepted == 0) ||
             (message->qos != 1 && message->accepted > 1))
        sc_fail(run, "message %u of QoS %u was accepted %u times", (unsigned)number, message->qos,
                (unsigned)message->accepted);
    for (uint32_t i = 0; i < world->actor_count; i++) {
        const bool may_repeat = message->qos == 1 || qos_towards(world, number, i) == 1;
        if ((message->delivered[i] > 1 && !may_repeat) ||
            (is_due(world, number, i) && message->delivered[i] == 0))
            sc_fail(run, "message %u of QoS %u was delivered %u times to client %u",
                    (unsigned)number, message->qos, (unsigned)message->delivered[i], (unsigned)i);
    }
}

void judge_end(struct world *world)
{
    for (uint32_t number = 0; number < world->message_count; number++)
        check_message(world, number);
    for (uint32_t i = 0; i < world->actor_count; i++) {
        if (world->actors[i].subscribe_ended != 1)
            sc_fail(world->run, "client %u: SUBSCRIBE has ended %u times", (unsigned)i,
                    (unsigned)world->actors[i].subscribe_ended);
    }
}
