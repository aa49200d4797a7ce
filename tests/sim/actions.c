/* What clients and the network do, at random.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* None of these matches a topic that shared subscriptions are for. */
static const char *const filters[] = {
    "t/0",   "t/1", "t/2", "t/+", "t/#", "t/a/+", "t/+/0", "t/b/#", "+/0", "+/1", "t/+/c/+", "t//x",
    "t/+/x", "/+",  "/t",  "r/#", "r/+", "r/a/#", "r/0",   "w/+",   "w/#", "z/+", "z/#",     "+/+"};
static const char *const shared_filters[] = {"s/a/+", "s/b/#"}; /* by kind of topic */

/* ---- connecting ---- */

static uint32_t some_expiry(struct sim_world *world, const struct sim_client *client)
{
    if (client->durable)
        return sim_chance(world, 50) ? UINT32_MAX : 3600;
    switch (sim_below(world, 4)) {
    case 0: return 0;
    case 1: return sim_between(world, 1, 3);
    case 2: return 600;
    default: return UINT32_MAX;
    }
}

static void add_will(struct sim_world *world, struct sim_client *client, struct sim_terms *terms)
{
    struct sim_message will = {.publisher = client,
                               .topic = client->wills,
                               .size = sim_between(world, SIM_PAYLOAD, SIM_PAYLOAD * 4),
                               .qos = (uint8_t)sim_below(world, 3),
                               .retain = sim_chance(world, 20),
                               .will = SIM_WILL_ARMED};
    terms->has_will = true;
    terms->will = sim_message_new(world, &will);
    if (client->version == MQTT5_VERSION_5 && sim_chance(world, 60))
        terms->will_delay_s = sim_between(world, 1, 4);
}

struct sim_terms sim_actions_terms(struct sim_world *world, struct sim_client *client)
{
    struct sim_terms terms = {.receive_maximum = UINT16_MAX, .expiry_s = UINT32_MAX};
    if (client->monitor) {
        terms.clean = client->session.epoch == NULL;
        return terms;
    }
    if (client->version != MQTT5_VERSION_5) {
        terms.clean = !client->durable && sim_chance(world, 50);
        terms.expiry_s = terms.clean ? 0 : UINT32_MAX;
    } else if (client->anonymous) {
        terms.anonymous = terms.clean = true;
        terms.expiry_s = 0;
    } else {
        terms.clean = !client->durable && sim_chance(world, 30);
        terms.expiry_s = some_expiry(world, client);
        terms.alias_maximum = (uint16_t)(sim_chance(world, 50) ? sim_between(world, 1, 20) : 0);
        if (sim_chance(world, 50))
            terms.receive_maximum = (uint16_t)sim_between(world, 1, 12);
    }
    if (sim_chance(world, 60))
        terms.keep_alive_s = (uint16_t)(sim_chance(world, 70) ? sim_between(world, 1, 4) : 60);
    if (!terms.anonymous && sim_chance(world, 40))
        add_will(world, client, &terms);
    return terms;
}

static void connect(struct sim_world *world, struct sim_client *client)
{
    struct sim_terms terms = sim_actions_terms(world, client);
    sim_client_connect(world, client, &terms);
}

/* ---- publishing ---- */

static uint32_t some_size(struct sim_world *world)
{
    uint32_t dice = sim_below(world, 200);
    if (dice == 0 && world->profile.large)
        return sim_between(world, 10000, 100000);
    if (dice < 10)
        return sim_between(world, 500, 5000);
    return sim_between(world, SIM_PAYLOAD, 150);
}

static void choose_topic(struct sim_world *world, struct sim_message *message)
{
    uint32_t dice = sim_below(world, 100);
    message->size = some_size(world);
    if (dice < 5) {
        message->topic = SIM_NONE; /* one of its own */
        message->size = 0;
    } else if (dice < 30) {
        message->topic = world->retained_topics + sim_below(world, 6);
        message->retain = sim_chance(world, 80);
        message->clears = message->retain && sim_chance(world, 15);
        if (message->clears)
            message->size = 0;
    } else if (dice < 55) {
        message->topic = world->shared_topics + sim_below(world, 4);
    } else {
        message->topic = world->plain_topics + sim_below(world, 9);
    }
}

static void publish(struct sim_world *world, struct sim_client *client)
{
    struct sim_message message = {.publisher = client, .qos = (uint8_t)sim_below(world, 3)};
    choose_topic(world, &message);
    bool v5 = client->version == MQTT5_VERSION_5;
    if (v5 && world->profile.expiry && sim_chance(world, 25))
        message.expiry_s = sim_chance(world, 70) ? sim_between(world, 1, 3) : 1000;
    message.decorated = v5 && !message.clears && sim_chance(world, 20);
    sim_client_publish(world, client, sim_message_new(world, &message));
}

static void publish_some(struct sim_world *world, struct sim_client *client)
{
    uint32_t count = sim_chance(world, 20) ? sim_between(world, 2, 8) : 1;
    for (uint32_t i = 0; i < count; i++)
        publish(world, client);
}

/* ---- subscribing ---- */

static struct sim_subscription some_subscription(struct sim_world *world,
                                                 const struct sim_client *client)
{
    struct sim_subscription wanted = {.home = SIM_NONE};
    bool v5 = client->version == MQTT5_VERSION_5;
    bool stored = client->durable && client->link->terms.expiry_s != 0;
    bool fits = client->home == SIM_HOME_MIXED || stored || !world->profile.store;
    if (client->home != SIM_NONE && fits && sim_chance(world, 30)) {
        wanted.home = client->home;
        wanted.kind = sim_below(world, (uint32_t)COUNT_OF(shared_filters));
        wanted.qos = (uint8_t)(1 + client->home % 2);
        snprintf(wanted.filter, sizeof wanted.filter, "$share/h%u/%s", (unsigned)client->home,
                 shared_filters[wanted.kind]);
    } else {
        snprintf(wanted.filter, sizeof wanted.filter, "%s",
                 filters[sim_below(world, (uint32_t)COUNT_OF(filters))]);
        wanted.qos = (uint8_t)(sim_chance(world, 15) ? 0 : sim_between(world, 1, 2));
        wanted.no_local = v5 && sim_chance(world, 20);
    }
    if (v5) {
        wanted.retain_as_published = sim_chance(world, 30);
        wanted.retain_handling = (uint8_t)(sim_chance(world, 50) ? 0 : sim_below(world, 3));
    }
    return wanted;
}

static bool is_among(const struct sim_subscription *subscriptions, uint32_t count,
                     const char *filter)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(subscriptions[i].filter, filter) == 0)
            return true;
    return false;
}

/* No filter twice in one request: which of its options a retained message is sent with is open. */
static void subscribe(struct sim_world *world, struct sim_client *client)
{
    struct sim_subscription wanted[4];
    uint32_t count = sim_between(world, 1, 4);
    bool with_id = client->version == MQTT5_VERSION_5 && sim_chance(world, 40);
    uint32_t id = with_id ? sim_between(world, 1, 200) : 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        wanted[kept] = some_subscription(world, client);
        wanted[kept].id = id;
        if (!is_among(wanted, kept, wanted[kept].filter))
            kept++;
    }
    sim_client_subscribe(world, client, wanted, kept);
}

static void unsubscribe(struct sim_world *world, struct sim_client *client)
{
    const struct sim_epoch *epoch = client->link->epoch;
    uint32_t count = epoch->subscriptions.count;
    if (client->durable && sim_chance(world, 80))
        return;
    char filter[48];
    snprintf(filter, sizeof filter, "%s",
             count > 0 ? epoch->subscriptions.items[sim_below(world, count)].filter : "no/such");
    sim_client_unsubscribe(world, client, filter);
}

/* ---- leaving and trouble ---- */

static void disconnect(struct sim_world *world, struct sim_client *client)
{
    struct sim_link *link = client->link;
    bool v5 = client->version == MQTT5_VERSION_5;
    uint32_t expiry_s = link->terms.expiry_s;
    if (v5 && expiry_s != 0 && sim_chance(world, 30))
        expiry_s = some_expiry(world, client);
    uint8_t reason =
        v5 && sim_chance(world, 25) ? MQTT5_REASON_DISCONNECT_WITH_WILL : MQTT5_REASON_SUCCESS;
    sim_client_disconnect(world, client, reason, expiry_s);
}

static void break_link(struct sim_world *world, struct sim_client *client)
{
    struct sim_link *link = client->link;
    uint64_t now_ms = world->now_ms;
    uint64_t server_ms = now_ms + sim_below(world, 50), client_ms = now_ms + sim_below(world, 50);
    switch (sim_below(world, 4)) {
    case 0: server_ms = SIM_NEVER; break; /* half-open: only the keep-alive, or a takeover */
    case 1: client_ms += sim_below(world, 3000); break;
    case 2: server_ms += sim_below(world, 3000); break;
    default: break;
    }
    sim_link_break(world, link, server_ms, client_ms);
}

static void trouble(struct sim_world *world, struct sim_client *client)
{
    struct sim_link *link = client->link;
    uint64_t until_ms = world->now_ms + sim_below(world, 2500);
    switch (sim_below(world, 7)) {
    case 0: link->paused_until_ms = until_ms; break;
    case 1: link->up.stalled_until_ms = until_ms; break;
    case 2: link->down.stalled_until_ms = until_ms; break;
    case 3:
        if (!client->anonymous)
            connect(world, client); /* takes the session over */
        break;
    case 4:
        if (sim_chance(world, 30))
            sim_client_garbage(world, client);
        break;
    default: break_link(world, client);
    }
}

static void act(struct sim_world *world, struct sim_client *client)
{
    static const uint32_t trouble_percent[] = {0, 2, 8};
    if (client->link == NULL) {
        if (world->now_ms >= client->connect_at_ms)
            connect(world, client);
        return;
    }
    if (!client->link->online) {
        if (sim_chance(world, trouble_percent[world->profile.faults]))
            break_link(world, client);
        return;
    }
    if (client->monitor)
        return;
    uint32_t dice = sim_below(world, 100);
    bool new = client->link->epoch->subscriptions.count == 0;
    if (sim_chance(world, trouble_percent[world->profile.faults]))
        trouble(world, client);
    else if (dice < 20 || new)
        subscribe(world, client);
    else if (dice < 24)
        unsubscribe(world, client);
    else if (dice < 27 && !(world->profile.faults == SIM_FAULTS_NONE && sim_chance(world, 70)))
        disconnect(world, client);
    else
        publish_some(world, client);
}

void sim_actions(struct sim_world *world)
{
    uint32_t count = world->profile.clients / 8 + 1;
    for (uint32_t i = 0; i < count; i++)
        act(world, world->clients.items[sim_below(world, world->clients.count)]);
}
