/* A client's side of the protocol: what it sends, and what it keeps from one link to the next.
 * It keeps the rules that bind clients, so that whatever goes wrong is the broker's.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define PACKET SIM_MARK_PACKET

/* ---- making and sending ---- */

struct sim_client *sim_client_new(struct sim_world *world, uint32_t number)
{
    struct sim_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        abort();
    client->number = number;
    client->version = sim_chance(world, 65) ? MQTT5_VERSION_5 : MQTT5_VERSION_3_1_1;
    client->durable = sim_chance(world, 60);
    client->anonymous = client->version == MQTT5_VERSION_5 && sim_chance(world, 10);
    if (!client->anonymous)
        snprintf(client->id, sizeof client->id, "client-%u", (unsigned)number);
    if (client->version == MQTT5_VERSION_5 && sim_chance(world, 10))
        client->packet_size_max = sim_between(world, 300, 3000);
    client->home = client->packet_size_max == 0 ? sim_below(world, SIM_HOMES) : SIM_NONE;
    char name[32];
    snprintf(name, sizeof name, "w/%u", (unsigned)number);
    client->wills = sim_topic_add(world, name, SIM_WILLS, 0);
    client->session.will = SIM_NONE;
    client->connect_at_ms = world->now_ms + sim_below(world, 300);
    client->connect_turn = SIM_NEVER;
    return client;
}

void sim_client_free(struct sim_client *client)
{
    free(client->flows.items);
    free(client->held.items);
    free(client->answers.items);
    free(client->requests.items);
    free(client->waiting.items);
    free(client->history.items);
    free(client);
}

/* Whatever a packet's size, it is written to memory of exactly that size: a writer that goes
 * beyond is caught by the address sanitizer. */
static bool send_on(struct sim_world *world, struct sim_link *link,
                    const struct mqtt5_packet *packet, struct sim_mark mark)
{
    uint8_t version = link->client->version;
    size_t size = mqtt5_packet_size(packet, version);
    uint8_t *bytes = size > 0 ? malloc(size) : NULL;
    if (bytes == NULL || mqtt5_packet_write(packet, version, bytes, size) != bytes + size) {
        sim_fail(world, "a %s could not be encoded", mqtt5_packet_type_text(packet->type));
        free(bytes);
        return false;
    }
    uint64_t ready_ms = world->now_ms + (world->final ? 0 : sim_below(world, 3));
    link->sent_up += size;
    mark.offset = link->sent_up;
    if (!link->up.cut)
        SIM_PUSH(&link->marks, mark);
    sim_pipe_write(&link->up, m5_bytes(bytes, size), ready_ms);
    free(bytes);
    return true;
}

bool sim_client_send(struct sim_world *world, struct sim_client *client,
                     const struct mqtt5_packet *packet, struct sim_mark mark)
{
    struct sim_link *link = client->link;
    if (link == NULL || !link->online)
        return false;
    uint32_t seconds = link->keep_alive_s;
    client->next_ping_ms = seconds == 0 ? SIM_NEVER : world->now_ms + seconds * 800u;
    return send_on(world, link, packet, mark);
}

static uint16_t new_packet_id(struct sim_client *client)
{
    client->next_packet_id = client->next_packet_id == UINT16_MAX ? 1 : client->next_packet_id + 1;
    return client->next_packet_id;
}

/* ---- connecting ---- */

static void fill_will(struct sim_world *world, const struct sim_terms *terms, uint8_t version,
                      uint8_t *payload, struct mqtt5_will *will)
{
    const struct sim_message *message = sim_message_at(world, terms->will);
    const struct sim_topic *topic = &world->topics.items[message->topic];
    sim_payload_write(world, terms->will, payload);
    *will = (struct mqtt5_will){.qos = message->qos,
                                .retain = message->retain,
                                .topic = m5_bytes(topic->name, topic->size),
                                .payload = m5_bytes(payload, message->size)};
    if (version == MQTT5_VERSION_5 && terms->will_delay_s > 0) {
        MQTT5_SET(&will->properties, WILL_DELAY_INTERVAL);
        will->properties.will_delay_interval_s = terms->will_delay_s;
    }
}

static void fill_connect_properties(const struct sim_client *client, const struct sim_terms *terms,
                                    struct mqtt5_properties *properties)
{
    if (terms->expiry_s > 0) {
        MQTT5_SET(properties, SESSION_EXPIRY_INTERVAL);
        properties->session_expiry_interval_s = terms->expiry_s;
    }
    if (terms->receive_maximum != UINT16_MAX) {
        MQTT5_SET(properties, RECEIVE_MAXIMUM);
        properties->receive_maximum = terms->receive_maximum;
    }
    if (client->packet_size_max != 0) {
        MQTT5_SET(properties, MAXIMUM_PACKET_SIZE);
        properties->maximum_packet_size = client->packet_size_max;
    }
    if (terms->alias_maximum != 0) {
        MQTT5_SET(properties, TOPIC_ALIAS_MAXIMUM);
        properties->topic_alias_maximum = terms->alias_maximum;
    }
}

void sim_client_connect(struct sim_world *world, struct sim_client *client,
                        const struct sim_terms *terms)
{
    sim_client_leave(world, client);
    struct sim_link *link = sim_link_open(world, client);
    client->link = link;
    link->terms = *terms;
    link->server_receive_maximum = UINT16_MAX;
    uint8_t will_payload[SIM_PAYLOAD * 4];
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT};
    packet.as.connect = (struct mqtt5_connect){
        .version = client->version,
        .clean_start = terms->clean,
        .has_will = terms->has_will,
        .keep_alive_s = terms->keep_alive_s,
        .client_id = terms->anonymous ? m5_bytes(NULL, 0) : m5_bytes_of(client->id),
    };
    if (terms->has_will)
        fill_will(world, terms, client->version, will_payload, &packet.as.connect.will);
    if (client->version == MQTT5_VERSION_5)
        fill_connect_properties(client, terms, &packet.as.connect.properties);
    sim_log(world, "c%llu connects on link %llu, clean %llu, expiry %llu, keep-alive %llu",
            client->number, link->number, terms->clean, terms->expiry_s, terms->keep_alive_s);
    send_on(world, link, &packet, (struct sim_mark){.type = SIM_MARK_CONNECT});
}

void sim_client_leave(struct sim_world *world, struct sim_client *client)
{
    if (client->link != NULL)
        client->link->left = true;
    client->link = NULL;
    client->answers.count = 0;
    client->requests.count = 0;
    client->next_ping_ms = SIM_NEVER;
    client->connect_at_ms = world->now_ms + sim_below(world, 1500);
}

/* ---- publishing ---- */

struct decoration {
    struct mqtt5_user_property items[2];
    char value[16];
};

static void decorate(struct decoration *decoration, uint32_t index, struct mqtt5_properties *out)
{
    snprintf(decoration->value, sizeof decoration->value, "%u", (unsigned)index);
    struct mqtt5_bytes name = m5_bytes_of("n");
    decoration->items[0] = (struct mqtt5_user_property){name, m5_bytes_of(decoration->value)};
    decoration->items[1] = (struct mqtt5_user_property){name, m5_bytes_of("")};
    MQTT5_SET(out, USER_PROPERTY);
    out->user_property.items = decoration->items;
    out->user_property.count = 2;
    MQTT5_SET(out, CONTENT_TYPE);
    out->content_type = m5_bytes_of("sim");
}

/* Topic aliases towards the broker: by slot, now with the topic, now without. */
static void use_alias(struct sim_world *world, struct sim_link *link, uint32_t topic,
                      struct mqtt5_publish *publish)
{
    uint32_t most = link->server_alias_maximum < 8 ? link->server_alias_maximum : 8u;
    if (most == 0 || sim_chance(world, 50))
        return;
    uint32_t slot = topic % most;
    MQTT5_SET(&publish->properties, TOPIC_ALIAS);
    publish->properties.topic_alias = slot + 1;
    if (link->aliases_out[slot] == topic && sim_chance(world, 80))
        publish->topic = m5_bytes("", 0);
    link->aliases_out[slot] = topic;
}

static void send_publish(struct sim_world *world, struct sim_client *client, uint32_t index,
                         uint16_t packet_id, bool dup)
{
    const struct sim_message *message = sim_message_at(world, index);
    const struct sim_topic *topic = &world->topics.items[message->topic];
    struct decoration decoration;
    uint8_t *payload = malloc(message->size + 1);
    if (payload == NULL)
        abort();
    sim_payload_write(world, index, payload);
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    struct mqtt5_publish *publish = &packet.as.publish;
    *publish = (struct mqtt5_publish){.dup = dup,
                                      .retain = message->retain,
                                      .qos = message->qos,
                                      .packet_id = packet_id,
                                      .topic = m5_bytes(topic->name, topic->size),
                                      .payload = m5_bytes(payload, message->size)};
    if (client->version == MQTT5_VERSION_5) {
        if (message->expiry_s > 0) {
            MQTT5_SET(&publish->properties, MESSAGE_EXPIRY_INTERVAL);
            publish->properties.message_expiry_interval_s = message->expiry_s;
        }
        if (message->decorated)
            decorate(&decoration, index, &publish->properties);
        use_alias(world, client->link, message->topic, publish);
    }
    sim_log(world, "c%llu publishes message %llu to topic %llu at QoS %llu, flags %llu",
            client->number, index, message->topic, message->qos,
            dup + message->retain * 2u + message->clears * 4u);
    sim_client_send(world, client, &packet,
                    (struct sim_mark){.type = SIM_MARK_PUBLISH, .message = index});
    free(payload);
}

static bool may_publish(const struct sim_client *client)
{
    return client->link != NULL && client->link->online &&
           client->flows.count < client->link->server_receive_maximum;
}

static void start_flow(struct sim_world *world, struct sim_client *client, uint32_t index)
{
    struct sim_flow flow = {.packet_id = new_packet_id(client),
                            .message = index,
                            .qos = sim_message_at(world, index)->qos,
                            .sent_here = true};
    SIM_PUSH(&client->flows, flow);
    send_publish(world, client, index, flow.packet_id, false);
}

void sim_client_publish(struct sim_world *world, struct sim_client *client, uint32_t index)
{
    if (sim_message_at(world, index)->qos > 0)
        SIM_PUSH(&client->waiting, index);
    else if (client->link != NULL && client->link->online)
        send_publish(world, client, index, 0, false);
    sim_client_release(world, client);
}

void sim_client_release(struct sim_world *world, struct sim_client *client)
{
    while (client->waiting.count > 0 && may_publish(client)) {
        uint32_t index = client->waiting.items[0];
        SIM_REMOVE(&client->waiting, 0);
        start_flow(world, client, index);
    }
}

static void send_pubrel(struct sim_world *world, struct sim_client *client, uint16_t packet_id)
{
    struct mqtt5_packet packet = {.type = MQTT5_PUBREL};
    packet.as.ack = (struct mqtt5_ack){.packet_id = packet_id};
    sim_client_send(world, client, &packet,
                    (struct sim_mark){.type = SIM_MARK_PUBREL, .packet_id = packet_id});
}

/* What came at QoS 1 before the power went, or after it from the network, may not be known to the
 * broker, and its packet ids are given out again. The CONNACK may have come from the network, too:
 * then more of the sort follows. */
static void forget_unstored(struct sim_client *client, const struct sim_link *link)
{
    struct sim_epoch *epoch = link->epoch;
    if (link->restarts == epoch->restarts_known)
        return;
    epoch->restarts_known = link->restarts;
    epoch->last_packet_id = 0;
    for (uint32_t i = client->held.count; i-- > 0;)
        if (client->held.items[i].qos == 1)
            SIM_REMOVE(&client->held, i);
}

/* After CONNACK: what was under way is sent again in its order, or forgotten with the session
 * [MQTT-4.4.0-1]. It is also forgotten when the session is not the one that the client knew: the
 * CONNACK that said so was lost, but a client knows when its session has expired. */
void sim_client_resume(struct sim_world *world, struct sim_link *link, bool session_present)
{
    struct sim_client *client = link->client;
    bool known = session_present && link->epoch == client->epoch;
    sim_promise_session(world, link);
    bool older = client->epoch != NULL && client->epoch->number > link->epoch->number;
    if (link->epoch->restarts > 0 && sim_lie(world, SIM_BREAK_OLD_SESSION))
        older = true;
    if (session_present && older)
        sim_fail(world, "session present came to %s for an older session than the one it had",
                 client->id);
    client->epoch = link->epoch;
    if (!known) {
        client->flows.count = 0;
        client->held.count = 0;
    }
    for (uint32_t i = 0; i < client->flows.count; i++) {
        struct sim_flow *flow = &client->flows.items[i];
        flow->sent_here = true;
        if (flow->state == SIM_FLOW_PUBREL)
            send_pubrel(world, client, flow->packet_id);
        else
            send_publish(world, client, flow->message, flow->packet_id, true);
    }
    forget_unstored(client, link);
    for (uint32_t i = 0; i < client->held.count; i++) {
        struct sim_held *held = &client->held.items[i];
        const struct sim_message *message =
            held->message == SIM_NONE ? NULL : sim_message_at(world, held->message);
        held->here = false;
        const struct sim_topic *topic =
            message == NULL ? NULL : &world->topics.items[message->topic];
        /* Too large where no alias stands for the topic: that may have been otherwise. */
        bool may_be_gone = topic != NULL && (topic->family == SIM_SHARED ||
                                             topic->durability == MQTT5_DURABILITY_MEMORY ||
                                             !sim_message_fits(client, message));
        if (!held->answered && !may_be_gone)
            link->resends_due++;
    }
    sim_client_release(world, client);
}

/* ---- subscribing ---- */

static void end_older(struct sim_world *world, struct sim_epoch *epoch, const char *filter)
{
    for (uint32_t i = 0; i < epoch->subscriptions.count; i++) {
        struct sim_subscription *subscription = &epoch->subscriptions.items[i];
        if (strcmp(subscription->filter, filter) == 0 &&
            subscription->end_requested_tick == SIM_NEVER)
            subscription->end_requested_tick = world->tick;
    }
}

static bool has_filter(const struct sim_epoch *epoch, const char *filter)
{
    for (uint32_t i = 0; i < epoch->subscriptions.count; i++) {
        const struct sim_subscription *subscription = &epoch->subscriptions.items[i];
        if (strcmp(subscription->filter, filter) == 0 &&
            subscription->confirmed_tick != SIM_NEVER &&
            subscription->end_requested_tick == SIM_NEVER)
            return true;
    }
    return false;
}

static void note_subscription(struct sim_world *world, struct sim_epoch *epoch,
                              const struct sim_subscription *wanted)
{
    struct sim_subscription subscription = *wanted;
    end_older(world, epoch, wanted->filter);
    subscription.requested_tick = world->tick;
    subscription.requested_ms = world->now_ms;
    subscription.confirmed_tick = SIM_NEVER;
    subscription.end_requested_tick = subscription.end_confirmed_tick = SIM_NEVER;
    SIM_PUSH(&epoch->subscriptions, subscription);
    sim_log(world, "  subscription %llu: QoS %llu, id %llu, retain handling %llu, flags %llu",
            epoch->subscriptions.count - 1, wanted->qos, wanted->id, wanted->retain_handling,
            wanted->no_local * 2u + wanted->retain_as_published);
    if (world->trace.verbose)
        printf("             to '%s'\n", wanted->filter);
}

void sim_client_subscribe(struct sim_world *world, struct sim_client *client,
                          const struct sim_subscription *wanted, uint32_t count)
{
    struct sim_epoch *epoch = client->link->epoch;
    struct sim_request request = {.packet_id = new_packet_id(client),
                                  .subscribes = true,
                                  .count = (uint8_t)count,
                                  .first = epoch->subscriptions.count,
                                  .asked_ms = world->now_ms,
                                  .fed_turn = SIM_NEVER};
    struct mqtt5_subscription_request items[4];
    sim_log(world, "c%llu subscribes with packet %llu to %llu filters", client->number,
            request.packet_id, count);
    for (uint32_t i = 0; i < count; i++) {
        note_subscription(world, epoch, &wanted[i]);
        memcpy(request.filters[i], wanted[i].filter, sizeof request.filters[i]);
        items[i] = (struct mqtt5_subscription_request){
            .filter = m5_bytes_of(wanted[i].filter),
            .qos = wanted[i].qos,
            .no_local = wanted[i].no_local,
            .retain_as_published = wanted[i].retain_as_published,
            .retain_handling = wanted[i].retain_handling};
    }
    SIM_PUSH(&client->requests, request);
    struct mqtt5_packet packet = {.type = MQTT5_SUBSCRIBE};
    packet.as.subscribe =
        (struct mqtt5_subscribe){.packet_id = request.packet_id, .count = count, .items = items};
    if (wanted[0].id != 0) {
        MQTT5_SET(&packet.as.subscribe.properties, SUBSCRIPTION_IDENTIFIER);
        packet.as.subscribe.properties.subscription_identifier = wanted[0].id;
    }
    sim_client_send(world, client, &packet,
                    (struct sim_mark){.type = SIM_MARK_REQUEST, .packet_id = request.packet_id});
}

void sim_client_unsubscribe(struct sim_world *world, struct sim_client *client, const char *filter)
{
    struct sim_epoch *epoch = client->link->epoch;
    struct sim_request request = {.packet_id = new_packet_id(client),
                                  .count = 1,
                                  .first = epoch->subscriptions.count,
                                  .asked_ms = world->now_ms,
                                  .fed_turn = SIM_NEVER};
    snprintf(request.filters[0], sizeof request.filters[0], "%s", filter);
    request.ends = has_filter(epoch, filter);
    sim_log(world, "c%llu unsubscribes with packet %llu", client->number, request.packet_id);
    end_older(world, epoch, filter);
    sim_group_left(world, client);
    if (client->home != SIM_NONE && strncmp(filter, "$share/", 7) == 0)
        world->groups[client->home].unsubscribed_ms = world->now_ms;
    epoch->packet_ids_skip = true;
    SIM_PUSH(&client->requests, request);
    struct mqtt5_bytes item = m5_bytes_of(filter);
    struct mqtt5_packet packet = {.type = MQTT5_UNSUBSCRIBE};
    packet.as.unsubscribe =
        (struct mqtt5_unsubscribe){.packet_id = request.packet_id, .count = 1, .items = &item};
    sim_client_send(world, client, &packet,
                    (struct sim_mark){.type = SIM_MARK_REQUEST, .packet_id = request.packet_id});
}

/* ---- leaving ---- */

static void close_by_client(struct sim_world *world, struct sim_link *link)
{
    link->client_open = false;
    link->down.cut = true;
    link->server_notices_ms = world->now_ms + sim_below(world, 20);
}

void sim_client_disconnect(struct sim_world *world, struct sim_client *client, uint8_t reason,
                           uint32_t expiry_s)
{
    struct sim_link *link = client->link;
    struct mqtt5_packet packet = {.type = MQTT5_DISCONNECT};
    packet.as.disconnect = (struct mqtt5_reasoned){.reason_code = reason};
    struct sim_mark mark = {
        .type = SIM_MARK_DISCONNECT, .expiry_s = SIM_NONE - 1, .keep_will = reason != 0};
    if (client->version == MQTT5_VERSION_5 && expiry_s != link->expiry_s) {
        MQTT5_SET(&packet.as.disconnect.properties, SESSION_EXPIRY_INTERVAL);
        packet.as.disconnect.properties.session_expiry_interval_s = expiry_s;
        mark.expiry_s = expiry_s;
    }
    sim_log(world, "c%llu disconnects with %llu, expiry %llu", client->number, reason, expiry_s);
    sim_client_send(world, client, &packet, mark);
    close_by_client(world, link);
    sim_client_leave(world, client);
}

/* A packet type that does not exist: the broker must close the connection. */
void sim_client_garbage(struct sim_world *world, struct sim_client *client)
{
    static const uint8_t bytes[] = {0x00, 0x00};
    struct sim_link *link = client->link;
    sim_log(world, "c%llu sends garbage", client->number);
    link->sent_up += sizeof bytes;
    if (!link->up.cut)
        SIM_PUSH(&link->marks,
                 (struct sim_mark){.offset = link->sent_up, .type = SIM_MARK_GARBAGE});
    sim_pipe_write(&link->up, m5_bytes(bytes, sizeof bytes), world->now_ms);
    sim_client_leave(world, client);
}

/* ---- answering ---- */

static void settle_answer(struct sim_client *client, const struct sim_answer *answer)
{
    for (uint32_t i = 0; i < client->held.count; i++) {
        struct sim_held *held = &client->held.items[i];
        if (held->packet_id != answer->packet_id)
            continue;
        held->answered = true;
        if (answer->type == MQTT5_PUBREC)
            return;
        if (held->here)
            client->link->unacknowledged--;
        SIM_REMOVE(&client->held, i);
        return;
    }
}

void sim_client_answers(struct sim_world *world, struct sim_client *client)
{
    if (client->link == NULL || !client->link->online)
        return;
    while (client->answers.count > 0 && client->answers.items[0].due_ms <= world->now_ms) {
        struct sim_answer answer = client->answers.items[0];
        SIM_REMOVE(&client->answers, 0);
        struct mqtt5_packet packet = {.type = answer.type};
        packet.as.ack = (struct mqtt5_ack){.packet_id = answer.packet_id};
        bool records = answer.type == MQTT5_PUBREC;
        sim_client_send(world, client, &packet,
                        (struct sim_mark){.type = records ? SIM_MARK_PUBREC : PACKET,
                                          .packet_id = answer.packet_id});
        settle_answer(client, &answer);
    }
    if (world->now_ms >= client->next_ping_ms) {
        struct mqtt5_packet packet = {.type = MQTT5_PINGREQ};
        sim_client_send(world, client, &packet, (struct sim_mark){.type = PACKET});
    }
}

bool sim_client_idle(const struct sim_client *client)
{
    if (client->link == NULL)
        return true;
    return client->link->online && client->flows.count == 0 && client->answers.count == 0 &&
           client->requests.count == 0 && client->waiting.count == 0;
}
