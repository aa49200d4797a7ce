/* The disk in the world: when commits begin and end, and which of them fail.
 *
 * A commit takes a beginning of what waits, and time; a failing disk fails the same commit again
 * and again until it works. All that is random comes from the seed.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

#include <stdlib.h>

#define COMPANY_MS 50u /* how long a batch that nobody waits for waits for others */

void sim_store_start(struct sim_world *world)
{
    struct sim_store *store = &world->store;
    disk_sim_attach(&store->disk, world->engine, world->profile.shards);
    store->failing = false;
    store->told = ~0u;
    store->fails_until_ms = 0;
    store->begins_ms = world->now_ms;
    store->retained_turn = store->retained_next_turn = world->turn;
}

void sim_store_free(struct sim_world *world)
{
    disk_sim_fini(&world->store.disk);
    free(world->store.seals.items);
}

/* ---- commits ---- */

static uint32_t commit_takes_ms(struct sim_world *world)
{
    if (world->final)
        return 0;
    if (!world->profile.slow_disk)
        return sim_below(world, 4);
    return sim_chance(world, 5) ? sim_between(world, 300, 3000) : sim_between(world, 5, 200);
}

static uint32_t some_batches(struct sim_world *world)
{
    uint32_t count = world->store.disk.count;
    return sim_chance(world, 70) ? count : sim_below(world, count) + 1;
}

static void begin(struct sim_world *world)
{
    struct sim_store *store = &world->store;
    if (store->disk.count == 0) { /* no retained messages either, or there were a batch */
        store->retained_turn = world->turn;
        return;
    }
    if (!disk_sim_urgent(&store->disk) && world->now_ms < store->begins_ms + COMPANY_MS)
        return;
    store->retained_next_turn = world->turn;
    disk_sim_begin(&store->disk, some_batches(world));
    store->ends_ms = world->now_ms + commit_takes_ms(world);
    if (world->profile.failing_disk && !world->final && sim_chance(world, 3))
        store->fails_until_ms = store->ends_ms + sim_between(world, 100, 3000);
    sim_log(world, "the disk takes %llu batches of %llu until %llu", store->disk.taken,
            store->disk.count, store->ends_ms);
}

static void set_failing(struct sim_world *world, bool failing)
{
    struct sim_store *store = &world->store;
    if (store->failing != failing)
        store->told = 0;
    store->failing = failing;
    if (failing)
        store->failed_ms = world->now_ms;
}

static void end(struct sim_world *world)
{
    struct sim_store *store = &world->store;
    if (world->now_ms < store->fails_until_ms && !world->final) {
        sim_log(world, "a commit fails", 0);
        set_failing(world, true);
        store->ends_ms = world->now_ms + sim_between(world, 20, 300);
        return;
    }
    set_failing(world, false);
    disk_sim_finish(&store->disk);
    store->retained_turn = store->retained_next_turn;
    store->begins_ms = world->now_ms;
    sim_log(world, "the disk has %llu records", store->disk.records);
}

void sim_store_step(struct sim_world *world)
{
    struct sim_store *store = &world->store;
    if (!world->profile.store)
        return;
    if (store->disk.under_way && (world->now_ms >= store->ends_ms || world->final))
        end(world);
    if (!store->disk.under_way)
        begin(world);
    if (store->failing)
        store->failed_ms = world->now_ms;
    if (store->disk.error[0] != '\0')
        sim_fail(world, "%s", store->disk.error);
}

/* ---- in a turn ---- */

void sim_store_hand_back(struct sim_world *world, uint32_t index)
{
    struct sim_store *store = &world->store;
    if (!world->profile.store)
        return;
    if ((store->told >> index & 1) == 0)
        m5_shard_store_failing(m5_engine_shard(world->engine, index), store->failing);
    store->told |= 1u << index;
    disk_sim_hand_back(&store->disk, index);
    if (!store->failing && sim_chance(world, 30))
        disk_sim_written(&store->disk, index);
}

void sim_store_seal(struct sim_world *world, uint32_t index)
{
    struct sim_store *store = &world->store;
    sim_past_sealed(world, index);
    if (world->profile.store && disk_sim_seal(&store->disk, index, world->turn))
        SIM_PUSH(&store->seals, (struct sim_seal){world->turn, world->now_ms});
}

/* ---- what is durable ---- */

bool sim_store_has(const struct sim_world *world, uint32_t index, uint64_t turn)
{
    const struct disk_sim *disk = &world->store.disk;
    for (uint32_t i = 0; i < disk->count; i++)
        if (disk->queue[i].batch->shard == index && disk->queue[i].tag <= turn)
            return false;
    return true;
}

bool sim_store_failed_since(const struct sim_world *world, uint64_t ms)
{
    return world->profile.store && world->profile.failing_disk && world->store.failed_ms >= ms;
}

bool sim_store_failed_lately(const struct sim_world *world)
{
    uint64_t now_ms = world->now_ms;
    return sim_store_failed_since(world, now_ms > SIM_UNDER_WAY_MS ? now_ms - SIM_UNDER_WAY_MS : 1);
}

bool sim_store_idle(const struct sim_world *world)
{
    const struct disk_sim *disk = &world->store.disk;
    if (disk->under_way || disk->count > 0 || disk->done_retained != NULL)
        return false;
    for (uint32_t i = 0; i < world->profile.shards; i++)
        if (disk->done[i] != NULL)
            return false;
    return true;
}

struct sim_cut sim_store_cut(struct sim_world *world, bool survives)
{
    const struct sim_store *store = &world->store;
    struct sim_cut cut = {.turn = SIM_NEVER, .retained_turn = store->retained_turn};
    uint32_t kept = survives ? store->disk.taken : 0;
    if (survives && store->disk.under_way)
        cut.retained_turn = store->retained_next_turn;
    if (kept < store->disk.count)
        cut.turn = store->disk.queue[kept].tag;
    cut.ms = world->now_ms;
    for (uint32_t i = store->seals.count; i-- > 0 && store->seals.items[i].turn >= cut.turn;)
        cut.ms = store->seals.items[i].ms;
    return cut;
}
