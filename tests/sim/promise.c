/* An acknowledgement is a promise: what it says must be in the store when the client reads it.
 * Only of what is stored at all: sessions that outlive their connection, and level `strict`.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

static bool lasts(const struct sim_world *world, const struct sim_link *link)
{
    return world->profile.store && link->expiry_s != 0;
}

static void keep(struct sim_world *world, const struct sim_link *link, uint64_t turn,
                 const char *what)
{
    bool has = turn == SIM_NEVER || sim_store_has(world, link->shard, turn);
    if (!has || sim_lie(world, SIM_BREAK_ACK_EARLY))
        sim_fail(world, "%s came to %s before the store had it: read in turn %llu of shard %u",
                 what, link->client->id, (unsigned long long)turn, (unsigned)link->shard);
}

static bool is_retained(const struct sim_world *world, const struct sim_message *message)
{
    return message->retain && message->qos > 0 &&
           world->topics.items[message->topic].family == SIM_RETAINED;
}

void sim_promise_fed(struct sim_world *world, uint32_t index)
{
    struct sim_message *message = sim_message_at(world, index);
    bool strict = world->topics.items[message->topic].durability == MQTT5_DURABILITY_STRICT;
    message->kept = world->profile.store && strict && !world->profile.small_limits &&
                    sim_judge_stored(world, index);
    message->id_kept = message->kept && message->publisher->session.expiry_s != 0;
}

void sim_promise_publish(struct sim_world *world, const struct sim_link *link, uint32_t index)
{
    const struct sim_message *message = sim_message_at(world, index);
    bool strict = world->topics.items[message->topic].durability == MQTT5_DURABILITY_STRICT;
    if (!world->profile.store || !strict || message->refused)
        return;
    if (message->kept)
        keep(world, link, message->fed_turn, "the acknowledgement of a message");
    if (is_retained(world, message) && message->fed_turn != SIM_NEVER &&
        message->fed_turn >= world->store.retained_turn)
        sim_fail(world,
                 "the acknowledgement of the retained message %u came before the store had it: "
                 "read in turn %llu, those before %llu are there",
                 (unsigned)index, (unsigned long long)message->fed_turn,
                 (unsigned long long)world->store.retained_turn);
}

void sim_promise_complete(struct sim_world *world, const struct sim_link *link, uint32_t index)
{
    const struct sim_message *message = sim_message_at(world, index);
    if (lasts(world, link) && message->id_kept)
        keep(world, link, message->released_turn, "a PUBCOMP");
}

void sim_promise_release(struct sim_world *world, const struct sim_link *link,
                         const struct sim_held *held)
{
    bool strict = held->message != SIM_NONE &&
                  world->topics.items[sim_message_at(world, held->message)->topic].durability ==
                      MQTT5_DURABILITY_STRICT;
    if (lasts(world, link) && strict)
        keep(world, link, held->recorded_turn, "a PUBREL");
}

void sim_promise_request(struct sim_world *world, const struct sim_link *link,
                         const struct sim_request *request)
{
    if (lasts(world, link) && (request->subscribes || request->ends))
        keep(world, link, request->fed_turn, request->subscribes ? "a SUBACK" : "an UNSUBACK");
}

void sim_promise_session(struct sim_world *world, const struct sim_link *link)
{
    if (lasts(world, link) && link->present)
        keep(world, link, link->connected_turn, "a CONNACK with session present");
}
