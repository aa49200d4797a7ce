/* The power goes: connections and memory are lost, the disk has what it had. After a while the
 * broker starts again, perhaps with another number of shards, from what it finds.
 *
 * The model goes back, too: messages that were not stored are forgotten, retained messages and
 * sessions are as they were at the cut. What clients know stays.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define WALL_MS 1700000000000u /* the wall clock when ours is 0 */

static struct m5_engine *engine_new(struct sim_world *world)
{
    world->store.clock_ms = sim_below(world, 1000000);
    struct m5_engine_env env = {.allocator = &world->heap.table,
                                .shard_count = world->profile.shards,
                                .now_ms = world->now_ms + world->store.clock_ms,
                                .events = true,
                                .store = world->profile.store,
                                .wall_ms = WALL_MS + world->now_ms};
    for (uint32_t i = 0; i < 4; i++)
        env.seed[i] = m5_rng_next(&world->rng);
    struct m5_engine *engine = m5_engine_new(&world->config, &env);
    if (engine == NULL)
        abort();
    return engine;
}

/* ---- what is lost ---- */

/* What was written may still arrive, or not. */
static void lose_link(struct sim_world *world, struct sim_link *link)
{
    size_t down = sim_pipe_under_way(&link->down);
    sim_pipe_cut(&link->up, 0);
    sim_pipe_cut(&link->down, down > 0 ? (size_t)m5_rng_below(&world->rng, down + 1) : 0);
    link->conn = NULL;
    link->opened = true;
    link->carrying = link->blocked = false;
    link->down_ended = true;
    if (link->end == SIM_ALIVE) {
        link->end = SIM_END_LOST;
        link->end_ms = world->now_ms;
    }
}

/* QoS 1 needs no memory at the receiver; at QoS 2 it is what makes once of it. */
static void forget_held(struct sim_client *client)
{
    for (uint32_t i = client->held.count; i-- > 0;)
        if (client->held.items[i].qos == 1)
            SIM_REMOVE(&client->held, i);
        else if (client->held.items[i].recorded_turn != SIM_NEVER)
            client->held.items[i].recorded_turn = 0; /* it may be stored already */
}

static void forget_message(struct sim_world *world, uint32_t index, const struct sim_cut *cut)
{
    struct sim_message *message = sim_message_at(world, index);
    enum mqtt5_durability level = world->topics.items[message->topic].durability;
    if (message->will != SIM_NOT_A_WILL || message->transmissions == 0)
        return;
    if (message->fed_turn != SIM_NEVER) { /* else it was not seen since the last crash */
        bool stored = message->fed_turn < cut->turn && level != MQTT5_DURABILITY_MEMORY &&
                      !message->refusable;
        message->stored = stored;
        message->voided = message->voided || (!stored && level != MQTT5_DURABILITY_STRICT);
    }
    message->forgotten = true;
    message->kept = false;
    message->fed_turn = SIM_NEVER;
    if (message->released_turn != SIM_NEVER)
        message->released_turn = 0;
}

/* ---- retained messages as they were ---- */

static void return_retained(struct sim_world *world, struct sim_topic *topic,
                            const struct sim_cut *cut)
{
    uint32_t now = SIM_NONE;
    while (topic->history.count > 0) {
        const struct sim_retained_was *was = &topic->history.items[topic->history.count - 1];
        now = was->message;
        if (was->turn < cut->retained_turn)
            break;
        if (now != SIM_NONE) /* what was sealed, and when, is not known to the turn */
            sim_message_at(world, now)->superseded_tick = SIM_NEVER;
        topic->history.count--;
        now = SIM_NONE;
    }
    topic->retained = now;
    if (now != SIM_NONE)
        sim_message_at(world, now)->superseded_tick = SIM_NEVER;
    for (uint32_t i = 0; i < topic->history.count; i++)
        topic->history.items[i].turn = 0;
}

static void go_back(struct sim_world *world, const struct sim_cut *cut)
{
    sim_log(world, "the store has all before turn %llu, and retained messages before %llu",
            cut->turn, cut->retained_turn);
    for (uint32_t i = 0; i < world->messages.count; i++)
        forget_message(world, i, cut);
    for (uint32_t i = 0; i < world->topics.count; i++)
        return_retained(world, &world->topics.items[i], cut);
    for (uint32_t i = 0; i < world->clients.count; i++)
        forget_held(world->clients.items[i]);
    for (uint32_t i = 0; i < SIM_HOMES; i++)
        world->groups[i].left_tick = world->tick;
    sim_past_return(world, cut);
}

/* ---- the engine ---- */

static void keep_figures(struct sim_world *world)
{
    struct m5_stats stats;
    m5_engine_stats(world->engine, &stats);
    world->store.dropped += stats.publish_dropped;
    world->store.limit_queued += stats.limit_queued;
    world->bytes_fed = world->bytes_taken = world->packets_fed = world->publishes_fed = 0;
    world->packets_taken = world->publishes_taken = 0;
    world->output_lost = false;
}

static void end_engine(struct sim_world *world, bool survives)
{
    keep_figures(world);
    disk_sim_crash(&world->store.disk, survives);
    m5_engine_free(world->engine);
    world->engine = NULL;
    if (world->heap.used != 0)
        sim_fail(world, "%zu bytes leaked at a crash", world->heap.used);
}

/* For people: each key, and which messages its value holds. */
static void print_disk(const struct sim_world *world)
{
    struct disk_record record;
    for (size_t i = 0; disk_sim_at(&world->store.disk, i, &record); i++) {
        printf("             %c", record.key.data[0]);
        for (size_t k = 1; k < record.key.len; k++)
            printf(" %02x", record.key.data[k]);
        printf(" (%zu bytes)", record.value.len);
        for (size_t k = 0; k + 8 <= record.value.len; k++)
            if (memcmp(record.value.data + k, "m5sm", 4) == 0)
                printf(" message %u", (unsigned)m5_read_u32(record.value.data + k + 4));
        printf("\n");
    }
}

static void lie_about_disk(struct sim_world *world)
{
    struct disk_sim *disk = &world->store.disk;
    struct disk_record record;
    if (disk->records > 4 && sim_lie(world, SIM_BREAK_RECORD_LOST) &&
        disk_sim_at(disk, sim_below(world, (uint32_t)disk->records), &record))
        disk_sim_delete(disk, record.key);
    if (disk->gone.key_size > 0 && sim_lie(world, SIM_BREAK_RECORD_BACK))
        disk_sim_put(disk, m5_bytes(disk->gone.key, disk->gone.key_size),
                     m5_bytes(disk->gone.value, disk->gone.value_size));
}

void sim_engine_start(struct sim_world *world)
{
    struct m5_restore_report report = {0};
    world->engine = engine_new(world);
    world->heap_start = world->heap.used;
    if (!world->profile.store)
        return;
    sim_store_start(world);
    lie_about_disk(world);
    if (world->trace.verbose)
        print_disk(world);
    enum mqtt5_error error = disk_sim_restore(&world->store.disk, &report, world->turn);
    SIM_PUSH(&world->store.seals, (struct sim_seal){world->turn, world->now_ms});
    sim_log(world, "restored: %llu sessions, %llu subscriptions, %llu messages, %llu retained",
            report.sessions, report.subscriptions, report.messages, report.retained);
    if (error != MQTT5_OK)
        sim_fail(world, "the store cannot be read: %s", mqtt5_error_text(error));
    if (report.damaged != 0 || report.refused != 0)
        sim_fail(world, "%llu records are damaged, %llu refused, of a sound store",
                 (unsigned long long)report.damaged, (unsigned long long)report.refused);
}

static uint64_t some_rest_ms(struct sim_world *world)
{
    if (sim_chance(world, 3)) {
        world->store.slept_long = true;
        return 4000000;
    }
    return sim_chance(world, 50) ? sim_below(world, 500) : sim_below(world, 8000);
}

void sim_crash(struct sim_world *world)
{
    struct sim_store *store = &world->store;
    bool orderly = sim_chance(world, 15), survives = sim_chance(world, 50);
    if (orderly)
        disk_sim_commit_all(&store->disk);
    sim_log(world, "the power goes; orderly %llu, the commit under way survives %llu", orderly,
            survives);
    if (orderly)
        store->retained_turn = world->turn;
    struct sim_cut cut = sim_store_cut(world, survives);
    store->crashed_ms = world->now_ms;
    for (uint32_t i = 0; i < world->links.count; i++)
        lose_link(world, world->links.items[i]);
    end_engine(world, survives);
    uint64_t rest_ms = some_rest_ms(world);
    store->restarted_ms = world->now_ms + rest_ms;
    for (uint32_t i = 0; i < world->links.count; i++)
        world->links.items[i]->client_notices_ms = world->now_ms + rest_ms + sim_below(world, 100);
    go_back(world, &cut);
    world->now_ms = store->restarted_ms;
    memset(world->shard_rests_until_ms, 0, sizeof world->shard_rests_until_ms);
    memset(world->late_turns, 0, sizeof world->late_turns);
    world->turn++;
    store->restarts++;
    if (world->options.shards == 0)
        world->profile.shards = sim_between(world, 1, SIM_SHARDS);
    sim_engine_start(world);
}
