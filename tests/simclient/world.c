/* The engine's world: clients, links, the engine and its witness, turn by turn.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "simclient/world.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

#define STEPS        200u
#define STEP_MS      60u
#define SETTLE_STEPS 20000u
#define VIEWS        8u

/* The whole of a client is looked at in some turns only: that takes ten times as long as a turn. */
#define CHECK_PERCENT 5u

static const char *const topics[SC_TOPICS] = {"a", "a/b", "c/d/e", "x"};

/* ---- the witness: a client next to the engine ---- */

static void witness_send(struct world *world, const struct mqtt5_packet *packet)
{
    uint8_t bytes[256];
    const size_t size = mqtt5_packet_size(packet, MQTT5_VERSION_5);
    if (size == 0 || size > sizeof bytes)
        abort();
    mqtt5_packet_write(packet, MQTT5_VERSION_5, bytes, size);
    m5_conn_feed(world->witness, m5_bytes(bytes, size));
}

static void witness_open(struct world *world)
{
    const struct mqtt5_subscription_request everything = {.filter = m5_bytes_of("#"), .qos = 2};
    const struct mqtt5_packet connect = {
        .type = MQTT5_CONNECT,
        .as.connect = {.version = MQTT5_VERSION_5,
                       .clean_start = true,
                       .client_id = m5_bytes_of("witness")},
    };
    const struct mqtt5_packet subscribe = {
        .type = MQTT5_SUBSCRIBE,
        .as.subscribe = {.packet_id = 1, .count = 1, .items = &everything},
    };
    world->witness =
        m5_conn_open(world->shard, NULL, &(struct m5_conn_origin){.peer = m5_bytes_of("witness")});
    if (world->witness == NULL)
        abort();
    witness_send(world, &connect);
    witness_send(world, &subscribe);
}

/* Answers what the engine has sent; each answer may bring more. */
static void witness_answer(struct world *world)
{
    struct mqtt5_packet packet;
    while (sc_tap_next(&world->witnessed, MQTT5_VERSION_5, &packet)) {
        struct mqtt5_packet answer = {0};
        if (packet.type == MQTT5_PUBLISH) {
            judge_accepted(world, &packet.as.publish);
            answer.as.ack.packet_id = packet.as.publish.packet_id;
            answer.type = packet.as.publish.qos == 2   ? MQTT5_PUBREC
                          : packet.as.publish.qos == 1 ? MQTT5_PUBACK
                                                       : 0;
        } else if (packet.type == MQTT5_PUBREL) {
            answer.as.ack.packet_id = packet.as.ack.packet_id;
            answer.type = MQTT5_PUBCOMP;
        }
        if (answer.type != 0)
            witness_send(world, &answer);
    }
}

/* ---- links ---- */

static void open_link(struct actor *actor)
{
    struct world *world = actor->world;
    if (m5_client_open(actor->client, M5_CLIENT_START_AS_CONFIGURED, world->run->now_ms) !=
        MQTT5_OK) {
        sc_fail(world->run, "client %u cannot open a connection", actor->index);
        return;
    }
    sc_pipe_clear(&actor->up);
    sc_pipe_clear(&actor->down);
    judge_connected(actor);
    actor->linked = true;
    actor->conn = m5_conn_open(world->shard, actor,
                               &(struct m5_conn_origin){.peer = m5_bytes_of("simulated")});
    if (actor->conn == NULL)
        abort();
}

static void drop_link(struct actor *actor)
{
    struct world *world = actor->world;
    sc_say(world->run, "the link of client %u breaks", (unsigned)actor->index);
    actor->linked = false;
    if (actor->conn != NULL)
        m5_conn_lost(actor->conn);
    actor->conn = NULL;
    m5_client_lost(actor->client);
    actor->reopen_ms = world->run->now_ms + sc_below(world->run, world->calm ? 50 : 2000);
    world->run->breaks++;
}

static uint64_t arrival_ms(struct world *world)
{
    struct sc_run *run = world->run;
    return run->now_ms + (sc_chance(run, 70) ? 0 : sc_below(run, 100));
}

/* Client to pipe, in pieces. */
static void client_writes(struct actor *actor)
{
    struct sc_run *run = actor->world->run;
    const struct mqtt5_bytes output = m5_client_output(actor->client);
    if (output.len == 0)
        return;
    const size_t size = sc_chance(run, 60) ? output.len : 1 + (size_t)sc_below(run, output.len);
    const size_t taken =
        sc_pipe_push(&actor->up, m5_bytes(output.data, size), arrival_ms(actor->world));
    if (taken == 0)
        return;
    judge_sent(actor, m5_bytes(output.data, taken));
    m5_client_sent(actor->client, taken);
}

static void client_reads(struct actor *actor)
{
    struct sc_run *run = actor->world->run;
    struct mqtt5_bytes ready = sc_pipe_ready(&actor->down, run->now_ms);
    if (ready.len == 0 || !m5_client_wants_read(actor->client))
        return;
    if (sc_chance(run, 30))
        ready.len = 1 + (size_t)sc_below(run, ready.len);
    const size_t taken = m5_client_input(actor->client, ready);
    if (taken == 0)
        return;
    judge_received(actor, m5_bytes(ready.data, taken));
    sc_pipe_take(&actor->down, taken);
}

static void client_shows(struct actor *actor)
{
    struct m5_client_event event;
    while (m5_client_next_event(actor->client, &event))
        judge_event(actor, &event);
}

static void client_turn(struct actor *actor)
{
    struct sc_run *run = actor->world->run;
    m5_client_tick(actor->client, run->now_ms);
    if (actor->linked)
        client_reads(actor);
    client_shows(actor);
    if (actor->linked)
        client_writes(actor);
    /* What the engine had to say before it closed is read first. */
    const bool deaf = actor->linked && actor->conn == NULL && actor->down.bytes.size == 0;
    if (actor->linked && (m5_client_wants_close(actor->client) || deaf)) {
        drop_link(actor);
        client_shows(actor);
    }
    if (!actor->linked && run->now_ms >= actor->reopen_ms)
        open_link(actor);
    if (sc_chance(run, CHECK_PERCENT))
        m5_client_check(actor->client);
}

/* ---- the engine ---- */

static void engine_reads(struct actor *actor)
{
    const struct mqtt5_bytes ready = sc_pipe_ready(&actor->up, actor->world->run->now_ms);
    if (actor->conn == NULL || ready.len == 0 || !m5_conn_reading(actor->conn))
        return;
    const struct m5_span space = m5_conn_read_space(actor->conn);
    const size_t size = ready.len < space.size ? ready.len : space.size;
    memcpy(space.data, ready.data, size);
    m5_conn_received(actor->conn, size);
    sc_pipe_take(&actor->up, size);
}

/* Engine to pipe, or to the witness. */
static size_t engine_writes(struct world *world, struct m5_conn *conn, struct actor *actor)
{
    struct mqtt5_bytes views[VIEWS];
    const size_t count = m5_conn_output(conn, views, VIEWS);
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        size_t taken = views[i].len;
        if (actor == NULL)
            sc_tap_add(&world->witnessed, views[i]);
        else
            taken = sc_pipe_push(&actor->down, views[i], arrival_ms(world));
        total += taken;
        if (taken < views[i].len)
            break;
    }
    if (total > 0)
        m5_conn_sent(conn, total);
    return total;
}

static void engine_serves(struct world *world, struct m5_conn *conn)
{
    struct actor *actor = m5_conn_host(conn);
    for (;;) {
        switch (m5_conn_want(conn)) {
        case M5_WANT_NOTHING: return;
        case M5_WANT_FLUSH:
            if (engine_writes(world, conn, actor) == 0)
                return;
            break;
        case M5_WANT_CLOSE:
            if (actor == NULL) {
                sc_fail(world->run, "the engine has closed the witness' connection");
                return;
            }
            m5_conn_free(conn);
            actor->conn = NULL;
            return;
        case M5_WANT_MOVE: abort(); /* there is one shard */
        }
    }
}

static void engine_turn(struct world *world)
{
    struct m5_conn *conn;
    m5_shard_begin(world->shard, world->run->now_ms);
    for (uint32_t i = 0; i < world->actor_count; i++)
        engine_reads(&world->actors[i]);
    witness_answer(world);
    (void)m5_shard_end(world->shard);
    while ((conn = m5_shard_next_dirty(world->shard)) != NULL)
        engine_serves(world, conn);
    for (uint32_t i = 0; i < world->actor_count; i++) {
        if (world->actors[i].conn != NULL)
            engine_serves(world, world->actors[i].conn);
    }
}

/* ---- what happens ---- */

static void publish_one(struct actor *actor)
{
    struct world *world = actor->world;
    struct sc_run *run = world->run;
    uint8_t payload[200] = {0};
    if (world->message_count == SC_MESSAGES)
        return;
    struct message *message = &world->messages[world->message_count];
    *message = (struct message){
        .qos = (uint8_t)sc_below(run, 3),
        .topic = (uint8_t)sc_below(run, SC_TOPICS),
        .publisher = actor->index,
        .may_fail = !actor->has_session && !actor->options.offline_queue,
    };
    m5_write_u32(payload, world->message_count);
    const struct mqtt5_publish publish = {
        .topic = m5_bytes_of(topics[message->topic]),
        .payload = m5_bytes(payload, 4 + (size_t)sc_below(run, sizeof payload - 3)),
        .qos = message->qos,
    };
    const enum mqtt5_error error = m5_client_publish(actor->client, &publish, message);
    run->publishes += error == MQTT5_OK;
    if (error == MQTT5_OK)
        sc_say(run, "client %u publishes message %u at QoS %u", (unsigned)actor->index,
               (unsigned)world->message_count, message->qos);
    world->message_count += error == MQTT5_OK;
    if (error != MQTT5_OK && error != MQTT5_ERR_QUEUE_FULL && error != MQTT5_ERR_INVALID_STATE)
        sc_fail(run, "client %u: publish answers %s", actor->index, mqtt5_error_name(error));
}

static void subscribe(struct actor *actor)
{
    struct mqtt5_subscription_request items[SC_TOPICS];
    for (uint32_t i = 0; i < SC_TOPICS; i++)
        items[i] = (struct mqtt5_subscription_request){
            .filter = m5_bytes_of(topics[i]),
            .qos = (uint8_t)sc_below(actor->world->run, 3),
        };
    const struct mqtt5_subscribe request = {.count = SC_TOPICS, .items = items};
    if (m5_client_subscribe(actor->client, &request, actor) == MQTT5_OK)
        actor->asked = 1;
}

static void act(struct actor *actor)
{
    struct sc_run *run = actor->world->run;
    for (uint64_t i = sc_chance(run, 25) ? sc_below(run, 5) : 0; i > 0; i--)
        publish_one(actor);
    if (sc_chance(run, 3))
        actor->down.stalled_until_ms = run->now_ms + sc_below(run, 3000);
    if (sc_chance(run, 2))
        actor->up.stalled_until_ms = run->now_ms + sc_below(run, 3000);
    if (actor->linked && sc_chance(run, 3)) {
        drop_link(actor); /* with all bytes that were on their way */
        client_shows(actor);
    }
}

static void step(struct world *world)
{
    struct sc_run *run = world->run;
    run->now_ms += sc_below(run, STEP_MS);
    for (uint32_t i = 0; i < world->actor_count; i++) {
        struct actor *actor = &world->actors[i];
        if (actor->asked == 0 && m5_client_state(actor->client) == MQTT5_CLIENT_CONNECTED)
            subscribe(actor);
        if (!world->calm)
            act(actor);
        client_turn(actor);
    }
    engine_turn(world);
}

/* ---- beginning and end ---- */

static void make_engine(struct world *world)
{
    struct sc_run *run = world->run;
    mqtt5_broker_config_init(&world->config);
    world->config.allow_anonymous = true;
    world->config.sys_interval_s = 0;
    world->config.receive_maximum = (uint16_t)(1 + sc_below(run, 12));
    world->config.topic_alias_maximum = (uint16_t)sc_below(run, 4);
    world->config.inflight_max = (uint16_t)(1 + sc_below(run, 12));
    test_allocator_init(&world->memory);
    const struct m5_engine_env env = {
        .allocator = &world->memory.table,
        .shard_count = 1,
        .seed = {run->seed, 1, 2, 3},
        .now_ms = run->now_ms,
    };
    world->engine = m5_engine_new(&world->config, &env);
    if (world->engine == NULL)
        abort();
    world->shard = m5_engine_shard(world->engine, 0);
    m5_shard_begin(world->shard, run->now_ms);
    witness_open(world);
    (void)m5_shard_end(world->shard);
}

static void make_actor(struct world *world, uint32_t index)
{
    struct sc_run *run = world->run;
    struct actor *actor = &world->actors[index];
    struct mqtt5_client_options *options = &actor->options;
    actor->world = world;
    actor->index = index;
    actor->version = sc_chance(run, 75) ? MQTT5_VERSION_5 : MQTT5_VERSION_3_1_1;
    snprintf(actor->id, sizeof actor->id, "client-%u", (unsigned)index);
    mqtt5_client_options_init(options);
    options->version = actor->version;
    options->client_id = actor->id;
    options->clean_start = false;
    options->session_expiry_s = MQTT5_SESSION_NEVER_EXPIRES;
    options->keep_alive_s = (uint16_t)(sc_chance(run, 50) ? 0 : 1 + sc_below(run, 10));
    options->receive_maximum = (uint16_t)(1 + sc_below(run, 12));
    options->inflight_max = (uint16_t)(1 + sc_below(run, 12));
    options->topic_alias_maximum = (uint16_t)sc_below(run, 4);
    options->auto_aliases_max = (uint16_t)sc_below(run, 4);
    options->queued_messages_max = (uint32_t)(1 + sc_below(run, 60));
    options->offline_queue = sc_chance(run, 60);
    for (uint32_t topic = 0; topic < SC_TOPICS; topic++)
        actor->granted[topic] = actor->since[topic] = SC_NOTHING;
    test_allocator_init(&actor->memory);
    if (m5_client_new(options, &actor->memory.table, run->now_ms, &actor->client) != MQTT5_OK)
        abort();
    m5_client_set_returning(actor->client, true);
    sc_say(run, "client %u: version %u, receive maximum %u, in flight %u, queue %u%s",
           (unsigned)index, actor->version, options->receive_maximum, options->inflight_max,
           (unsigned)options->queued_messages_max, options->offline_queue ? ", offline" : "");
    actor->reopen_ms = run->now_ms + sc_below(run, 100);
}

static void check_memory(struct world *world, struct test_allocator *memory, const char *whose)
{
    void *leak = sc_lies(world->run, SC_LIE_LEAK) ? memory->table.alloc(memory, 1) : NULL;
    if (memory->bytes > 0)
        sc_fail(world->run, "%zu bytes are not given back by %s", memory->bytes, whose);
    if (leak != NULL)
        memory->table.free(memory, leak, 1);
}

static void take_apart(struct world *world)
{
    for (uint32_t i = 0; i < world->actor_count; i++) {
        struct actor *actor = &world->actors[i];
        m5_client_free(actor->client);
        check_memory(world, &actor->memory, actor->id);
        sc_bytes_fini(&actor->up.bytes);
        sc_bytes_fini(&actor->down.bytes);
        sc_tap_reset(&actor->sent);
        sc_tap_reset(&actor->received);
    }
    m5_engine_free(world->engine);
    check_memory(world, &world->memory, "the engine");
    sc_tap_reset(&world->witnessed);
    free(world);
}

static void release_stalls(struct world *world)
{
    world->calm = true;
    for (uint32_t i = 0; i < world->actor_count; i++)
        world->actors[i].up.stalled_until_ms = world->actors[i].down.stalled_until_ms = 0;
}

void sc_run_engine(struct sc_run *run)
{
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL)
        abort();
    world->run = run;
    world->actor_count = 2 + (uint32_t)sc_below(run, SC_CLIENTS - 1);
    make_engine(world);
    for (uint32_t i = 0; i < world->actor_count; i++)
        make_actor(world, i);
    for (uint32_t i = 0; i < STEPS && !run->failed; i++)
        step(world);
    release_stalls(world);
    /* A lie hides what the end waits for: then the end comes as it is. */
    const uint32_t most = run->lied ? 2000 : SETTLE_STEPS;
    for (uint32_t i = 0; i < most && !run->failed && !judge_is_settled(world); i++)
        step(world);
    for (uint32_t i = 0; i < 50 && !run->failed; i++)
        step(world); /* whatever is still under way must not be too much */
    judge_end(world);
    take_apart(world);
}
