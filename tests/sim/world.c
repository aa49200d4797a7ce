/* A run: a world from a seed, steps at random, then everything heals, resumes and drains; then
 * everybody goes, and nothing may be left.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define DRAIN_TURNS_MAX 60000u
#define QUIET_TURNS     12u

/* ---- a world ---- */

static void draw_disk(struct sim_world *world)
{
    struct sim_profile *profile = &world->profile;
    profile->store = sim_chance(world, 60);
    profile->slow_disk = sim_chance(world, 40);
    profile->failing_disk = sim_chance(world, 30);
    profile->levels = sim_chance(world, 30);
    profile->crashes = sim_chance(world, 80) ? sim_between(world, 1, 4) : 0;
    if (world->options.disk != SIM_DISK_DRAWN)
        profile->store = world->options.disk == SIM_DISK_YES;
    if (!profile->store)
        profile->crashes = 0;
}

static void draw_profile(struct sim_world *world)
{
    struct sim_profile *profile = &world->profile;
    const struct sim_options *options = &world->options;
    profile->faults = sim_chance(world, 30)   ? SIM_FAULTS_NONE
                      : sim_chance(world, 50) ? SIM_FAULTS_SOME
                                              : SIM_FAULTS_MANY;
    profile->shards = sim_between(world, 1, SIM_SHARDS);
    profile->clients =
        sim_chance(world, 85) ? sim_between(world, 10, 24) : sim_between(world, 25, 60);
    profile->steps = sim_between(world, 80, 220);
    profile->small_limits = sim_chance(world, 15);
    profile->expiry = sim_chance(world, 50);
    profile->monitor = sim_chance(world, 50);
    profile->jumps = sim_chance(world, 60);
    profile->large = sim_chance(world, 25);
    profile->shutdown = sim_chance(world, 10);
    draw_disk(world);
    if (options->shards != 0)
        profile->shards = options->shards;
    if (options->clients != 0)
        profile->clients = options->clients;
    if (options->steps != 0)
        profile->steps = options->steps;
}

static void draw_config(struct sim_world *world)
{
    struct mqtt5_broker_config *config = &world->config;
    mqtt5_broker_config_init(config);
    config->allow_anonymous = true;
    config->sys_interval_s = sim_chance(world, 20) ? sim_between(world, 1, 5) : 0;
    config->shared_strategy = (enum mqtt5_shared_strategy)sim_below(world, 6);
    if (sim_chance(world, 30))
        config->receive_maximum = (uint16_t)sim_between(world, 1, 10);
    if (sim_chance(world, 30))
        config->inflight_max = (uint16_t)sim_between(world, 1, 10);
    if (sim_chance(world, 30))
        config->topic_alias_maximum = (uint16_t)sim_below(world, 5);
    if (sim_chance(world, 30))
        config->topic_alias_outgoing_max = (uint16_t)sim_below(world, 5);
    if (sim_chance(world, 20))
        config->server_keep_alive_s = (uint16_t)sim_between(world, 1, 3);
    if (world->profile.small_limits) {
        config->queued_messages_max = sim_between(world, 1, 10);
        config->queued_bytes_max = sim_between(world, 1000, 20000);
        config->output_bytes_max = sim_between(world, 1000, 20000);
        config->queue_policy = (enum mqtt5_queue_policy)sim_below(world, 2);
    }
}

/* A level of its own for some of the plain topics. */
static void draw_levels(struct sim_world *world)
{
    struct mqtt5_durability_rule *rules = world->store.rules;
    if (!world->profile.store || !world->profile.levels)
        return;
    rules[0] = (struct mqtt5_durability_rule){"t/a/#", MQTT5_DURABILITY_MEMORY};
    rules[1] = (struct mqtt5_durability_rule){"t/b/#", MQTT5_DURABILITY_RELAXED};
    world->config.durability_rules = rules;
    world->config.durability_rule_count = 2;
    for (uint32_t i = 0; i < world->topics.count; i++)
        for (uint32_t k = 0; k < 2; k++)
            if (sim_filter_matches(rules[k].filter, world->topics.items[i].name))
                world->topics.items[i].durability = rules[k].durability;
}

static void make_clients(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->profile.clients; i++)
        SIM_PUSH(&world->clients, sim_client_new(world, i));
    if (!world->profile.monitor)
        return;
    struct sim_client *monitor = world->clients.items[0];
    monitor->version = MQTT5_VERSION_5;
    monitor->monitor = monitor->durable = true;
    monitor->anonymous = false;
    snprintf(monitor->id, sizeof monitor->id, "monitor");
    monitor->packet_size_max = 0;
    monitor->home = SIM_NONE;
    monitor->connect_at_ms = 0;
}

struct sim_world *sim_world_new(const struct sim_options *options)
{
    struct sim_world *world = calloc(1, sizeof *world);
    if (world == NULL)
        abort();
    world->options = *options;
    world->trace.verbose = options->verbose;
    m5_rng_init(&world->rng, options->seed);
    world->now_ms = sim_below(world, 100000);
    draw_profile(world);
    draw_config(world);
    sim_heap_init(&world->heap);
    sim_model_init(world);
    draw_levels(world);
    make_clients(world);
    world->lie_countdown = options->lie == SIM_BREAK_NONE ? 0 : sim_below(world, 4);
    disk_sim_init(&world->store.disk);
    sim_engine_start(world);
    return world;
}

void sim_world_free(struct sim_world *world)
{
    sim_links_free(world);
    for (uint32_t i = 0; i < world->clients.count; i++)
        sim_client_free(world->clients.items[i]);
    free(world->clients.items);
    sim_model_free(world);
    sim_store_free(world);
    free(world->leak);
    free(world);
}

/* ---- steps ---- */

static void step(struct sim_world *world)
{
    sim_store_step(world);
    sim_server_turns(world);
    sim_receive(world);
    sim_links_sweep(world);
}

/* Seconds in which nobody does anything but keep alive; or, now and then, in which nobody runs. */
static void pass_seconds(struct sim_world *world)
{
    uint64_t until_ms = world->now_ms + sim_between(world, 200, 3000);
    bool sleeps = sim_chance(world, 20);
    while (world->now_ms < until_ms && !sleeps && !world->failed) {
        world->now_ms += 100;
        step(world);
    }
    world->now_ms = until_ms > world->now_ms ? until_ms : world->now_ms;
}

static void pass_time(struct sim_world *world)
{
    if (world->profile.jumps && sim_chance(world, 2))
        pass_seconds(world);
    else
        world->now_ms += sim_below(world, 12);
}

/* The monitor joins before anything else happens, and never goes. */
static void start_monitor(struct sim_world *world)
{
    struct sim_client *monitor = world->clients.items[0];
    if (!monitor->monitor)
        return;
    struct sim_terms terms = sim_actions_terms(world, monitor);
    sim_client_connect(world, monitor, &terms);
    for (uint32_t i = 0; i < 500 && !world->failed; i++) {
        world->now_ms++;
        step(world);
        if (monitor->link != NULL && monitor->link->online)
            break;
    }
    struct sim_subscription all = {.filter = "#", .home = SIM_NONE, .qos = 2};
    if (world->failed || monitor->link == NULL || !monitor->link->online)
        sim_fail(world, "the monitor could not connect");
    else
        sim_client_subscribe(world, monitor, &all, 1);
}

/* ---- everything heals ---- */

static void heal(struct sim_world *world)
{
    world->final = true;
    sim_log(world, "everything heals", 0);
    memset(world->shard_rests_until_ms, 0, sizeof world->shard_rests_until_ms);
    for (uint32_t i = 0; i < world->links.count; i++) {
        struct sim_link *link = world->links.items[i];
        link->paused_until_ms = 0;
        link->up.stalled_until_ms = link->down.stalled_until_ms = 0;
        link->down.room = SIZE_MAX;
        bool broken = link->down.cut || link->left;
        if (broken && link->client_open)
            link->client_notices_ms = world->now_ms;
        if (broken && link->server_notices_ms > world->now_ms)
            link->server_notices_ms = world->now_ms;
    }
}

static void resume_session(struct sim_world *world, struct sim_client *client)
{
    if (client->link != NULL || client->anonymous || !client->session.exists)
        return;
    struct sim_terms terms = sim_actions_terms(world, client);
    terms.clean = terms.has_will = false;
    terms.expiry_s = UINT32_MAX;
    sim_client_connect(world, client, &terms);
}

static bool is_quiet(struct sim_world *world)
{
    if (sim_server_busy(world))
        return false;
    for (uint32_t i = 0; i < world->clients.count; i++) {
        const struct sim_client *client = world->clients.items[i];
        if (!sim_client_idle(client) || client->session.will != SIM_NONE)
            return false;
        if (client->link == NULL && client->session.exists && !client->anonymous && !world->ending)
            return false;
    }
    if (!sim_store_idle(world))
        return false;
    struct m5_stats stats;
    m5_engine_stats(world->engine, &stats);
    return stats.messages_queued == 0 && (stats.messages_inflight == 0 || world->ending);
}

static void explain_unrest(struct sim_world *world)
{
    struct m5_stats stats;
    m5_engine_stats(world->engine, &stats);
    const char *who = "";
    for (uint32_t i = 0; i < world->clients.count; i++)
        if (!sim_client_idle(world->clients.items[i]))
            who = world->clients.items[i]->id;
    sim_fail(world,
             "it does not come to rest: %llu messages queued, %llu in flight; busy client: "
             "'%s', bytes under way: %d",
             (unsigned long long)stats.messages_queued, (unsigned long long)stats.messages_inflight,
             who, sim_server_busy(world));
}

static void drain(struct sim_world *world)
{
    uint32_t quiet = 0;
    for (uint32_t i = 0; i < DRAIN_TURNS_MAX && quiet < QUIET_TURNS && !world->failed; i++) {
        if (!world->ending)
            for (uint32_t k = 0; k < world->clients.count; k++)
                resume_session(world, world->clients.items[k]);
        world->now_ms++;
        step(world);
        quiet = is_quiet(world) ? quiet + 1 : 0;
    }
    if (quiet < QUIET_TURNS)
        explain_unrest(world);
}

/* ---- the retained messages, as a newcomer sees them ---- */

static struct sim_client *newcomer(struct sim_world *world)
{
    struct sim_client *client = sim_client_new(world, world->clients.count);
    client->version = MQTT5_VERSION_5;
    client->monitor = true;
    client->anonymous = false;
    client->packet_size_max = 0;
    client->home = SIM_NONE;
    snprintf(client->id, sizeof client->id, "newcomer");
    SIM_PUSH(&world->clients, client);
    struct sim_terms terms = {.clean = true, .receive_maximum = UINT16_MAX};
    sim_client_connect(world, client, &terms);
    drain(world);
    return client;
}

static bool came_to(const struct sim_client *client, uint32_t index)
{
    const struct sim_epoch *epoch = client->session.epoch;
    return index < epoch->copies.count && epoch->copies.items[index].fresh > 0;
}

static void check_retained(struct sim_world *world, const struct sim_client *client)
{
    uint64_t count = 0;
    bool sure = true;
    for (uint32_t i = 0; i < world->topics.count; i++) {
        const struct sim_topic *topic = &world->topics.items[i];
        bool known = !topic->retained_unsure && !topic->retained_race && !world->fog;
        sure = sure && known;
        if (topic->retained == SIM_NONE)
            continue;
        bool lasts = sim_message_at(world, topic->retained)->expiry_s == 0;
        sure = sure && lasts;
        count++;
        if (lasts && known && !world->profile.small_limits && !came_to(client, topic->retained))
            sim_fail(world, "the retained message %u of %s is not there [MQTT-3.3.1-5]",
                     (unsigned)topic->retained, topic->name);
    }
    struct m5_stats stats;
    m5_engine_stats(world->engine, &stats);
    sure = sure && world->store.restarts == 0;
    if (sure && stats.retained_messages != count)
        sim_fail(world, "%llu retained messages are counted, there are %llu",
                 (unsigned long long)stats.retained_messages, (unsigned long long)count);
}

static void lie_about_retained(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->topics.count; i++) {
        struct sim_topic *topic = &world->topics.items[i];
        if (topic->retained != SIM_NONE && sim_message_at(world, topic->retained)->expiry_s == 0) {
            if (sim_lie(world, SIM_BREAK_RETAINED_STALE))
                topic->retained = SIM_NONE;
            return;
        }
    }
}

static void look_at_retained(struct sim_world *world)
{
    struct sim_client *client = newcomer(world);
    if (world->failed)
        return;
    struct sim_subscription all = {
        .filter = "#", .home = SIM_NONE, .qos = 1, .retain_as_published = true};
    sim_client_subscribe(world, client, &all, 1);
    drain(world);
    struct sim_epoch *epoch = client->session.epoch;
    if (epoch->copies.count > 0 && sim_lie(world, SIM_BREAK_RETAINED_LOST))
        epoch->copies.count = 0;
    lie_about_retained(world);
    if (!world->failed)
        check_retained(world, client);
}

static void clear_retained(struct sim_world *world)
{
    struct sim_client *client = world->clients.items[world->clients.count - 1];
    world->cleared_tick = world->tick;
    for (uint32_t i = 0; i < world->topics.count; i++) {
        struct sim_topic *topic = &world->topics.items[i];
        if (topic->family != SIM_RETAINED && topic->family != SIM_WILLS)
            continue;
        topic->family = SIM_RETAINED;
        struct sim_message clear = {
            .publisher = client, .topic = i, .qos = 1, .retain = true, .clears = true};
        sim_client_publish(world, client, sim_message_new(world, &clear));
    }
    drain(world);
}

/* ---- everybody goes ---- */

static bool is_detached(const struct sim_client *client)
{
    return client->session.attached == NULL;
}

static bool is_online(const struct sim_client *client)
{
    return client->link == NULL || client->link->online;
}

static void step_until(struct sim_world *world, const struct sim_client *client,
                       bool (*holds)(const struct sim_client *))
{
    for (uint32_t i = 0; i < 300 && !world->failed && !holds(client); i++) {
        world->now_ms++;
        step(world);
    }
}

/* A 3.1.1 client ends its session by coming back with Clean Session; a v5 one says when it goes how
 * many seconds it is to last. */
static void go(struct sim_world *world, struct sim_client *client)
{
    if (client->link == NULL || !client->link->online)
        return;
    bool lingers = client->link->expiry_s != 0 && client->version == MQTT5_VERSION_5;
    sim_client_disconnect(world, client, 0, lingers ? sim_below(world, 4) : 0);
    if (client->version == MQTT5_VERSION_5)
        return;
    step_until(world, client, is_detached);
    struct sim_terms terms = {.clean = true, .receive_maximum = UINT16_MAX};
    sim_client_connect(world, client, &terms);
    step_until(world, client, is_online);
    if (client->link == NULL || !client->link->online)
        sim_fail(world, "%s could not connect once more", client->id);
    else
        sim_client_disconnect(world, client, 0, 0);
}

static void everybody_goes(struct sim_world *world)
{
    world->ending = true;
    sim_log(world, "everybody goes", 0);
    for (uint32_t i = 0; i < world->clients.count && !world->failed; i++)
        go(world, world->clients.items[i]);
    drain(world);
    for (uint32_t i = 0; i < 40 && !world->failed; i++) {
        world->now_ms += 1000;
        step(world);
    }
    size_t records = world->store.disk.records;
    if (world->profile.store && sim_lie(world, SIM_BREAK_RESIDUE))
        records += SIM_RECORDS_KEPT + 1;
    if (records > SIM_RECORDS_KEPT)
        sim_fail(world, "%zu records are left in the store after everybody has gone", records);
}

/* The broker goes first: everybody is told who can be [MQTT-3.14.4-1]. What sessions are left, the
 * engine frees. Wills may or may not be published. */
static void shut_down(struct sim_world *world)
{
    uint32_t expected = 0;
    for (uint32_t i = 0; i < world->messages.count; i++)
        if (world->messages.items[i].will != SIM_NOT_A_WILL)
            world->messages.items[i].will = SIM_WILL_UNSURE;
    for (uint32_t i = 0; i < world->clients.count; i++) {
        const struct sim_client *client = world->clients.items[i];
        expected += client->link != NULL && client->version == MQTT5_VERSION_5;
    }
    world->ending = true;
    world->shutting_down = (1u << world->profile.shards) - 1;
    sim_log(world, "the broker shuts down", 0);
    for (uint32_t i = 0; i < 200 && !world->failed; i++) {
        world->now_ms++;
        step(world);
    }
    struct m5_stats stats;
    m5_engine_stats(world->engine, &stats);
    if (stats.connections != 0)
        sim_fail(world, "%llu connections are open after the shutdown",
                 (unsigned long long)stats.connections);
    if (world->farewells != expected)
        sim_fail(world, "%u clients were told of the shutdown, %u should have been",
                 (unsigned)world->farewells, (unsigned)expected);
}

static void check_equal(struct sim_world *world, const char *name, uint64_t engine, uint64_t seen)
{
    if (engine != seen)
        sim_fail(world, "%s is %llu according to the engine, but %llu were seen", name,
                 (unsigned long long)engine, (unsigned long long)seen);
}

/* A retained will that was published when all retained messages had been cleared. */
static bool will_came_late(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->messages.count; i++) {
        const struct sim_message *message = sim_message_at(world, i);
        if (message->will != SIM_NOT_A_WILL && message->retain &&
            message->accepted_tick != SIM_NEVER && message->accepted_tick > world->cleared_tick)
            return true;
    }
    return false;
}

static void check_figures(struct sim_world *world)
{
    struct m5_stats stats;
    m5_engine_stats(world->engine, &stats);
    if (sim_lie(world, SIM_BREAK_BYTES))
        world->bytes_fed++;
    check_equal(world, "bytes_received", stats.bytes_received, world->bytes_fed);
    check_equal(world, "bytes_sent", stats.bytes_sent, world->bytes_taken);
    if (!world->fog) {
        check_equal(world, "packets_received", stats.packets_received, world->packets_fed);
        check_equal(world, "publish_received", stats.publish_received, world->publishes_fed);
    }
    if (!world->output_lost) {
        check_equal(world, "packets_sent", stats.packets_sent, world->packets_taken);
        check_equal(world, "publish_sent", stats.publish_sent, world->publishes_taken);
    }
    check_equal(world, "connections", stats.connections, 0);
    check_equal(world, "clients_connected", stats.clients_connected, 0);
    check_equal(world, "sessions", stats.sessions, 0);
    check_equal(world, "subscriptions", stats.subscriptions, 0);
    check_equal(world, "shared_subscriptions", stats.shared_subscriptions, 0);
    check_equal(world, "messages_queued", stats.messages_queued, 0);
    check_equal(world, "messages_queued_bytes", stats.messages_queued_bytes, 0);
    check_equal(world, "messages_inflight", stats.messages_inflight, 0);
    if (will_came_late(world))
        return;
    check_equal(world, "retained_messages", stats.retained_messages, 0);
    check_equal(world, "retained_bytes", stats.retained_bytes, 0);
}

/* What a shard keeps for good once it has been used, and a pair of shards for the mail between
 * them; nothing may be left of clients, sessions and messages. */
#define SHARD_KEEPS   34000u
#define ENGINE_KEEPS  8000u   /* the table of clients and addresses whose rates are known */
#define STORE_KEEPS   300000u /* the ring of what was held back, as large as it ever was */
#define CHANNEL_KEEPS 65000u

static void check_memory(struct sim_world *world)
{
    size_t shards = world->profile.shards;
    size_t most = world->heap_start + ENGINE_KEEPS + shards * SHARD_KEEPS +
                  shards * (shards - 1) * CHANNEL_KEEPS;
    if (world->profile.store)
        most += shards * STORE_KEEPS;
    if (world->heap.used > most)
        sim_fail(world,
                 "%zu bytes are in use after everybody has gone; at the start it were %zu, allowed "
                 "are %zu",
                 world->heap.used, world->heap_start, most);
}

static void finish(struct sim_world *world)
{
    heal(world);
    drain(world);
    if (!world->failed)
        sim_judge_end(world);
    if (world->profile.shutdown && !world->failed) {
        shut_down(world);
        return;
    }
    if (!world->failed)
        look_at_retained(world);
    if (!world->failed)
        clear_retained(world);
    if (!world->failed)
        everybody_goes(world);
    if (!world->failed)
        check_figures(world);
    if (!world->failed)
        check_memory(world);
}

void sim_world_run(struct sim_world *world)
{
    start_monitor(world);
    for (uint32_t i = 0; i < world->profile.steps && !world->failed; i++) {
        sim_actions(world);
        pass_time(world);
        step(world);
        if (sim_below(world, world->profile.steps) < world->profile.crashes && !world->failed)
            sim_crash(world);
    }
    if (!world->failed)
        finish(world);
    if (world->profile.store)
        disk_sim_crash(&world->store.disk, true);
    m5_engine_free(world->engine);
    world->engine = NULL;
    if (sim_lie(world, SIM_BREAK_LEAK))
        world->heap.used += 64;
    if (world->heap.used != 0)
        sim_fail(world, "%zu bytes leaked", world->heap.used);
}
