/* Runs the engine's shards by turns, on one thread, until they are at rest.
 *
 * Each turn does what a host's loop does, in the order that broker/engine.h asks for. Time moves
 * only from one deadline of the engine to the next, so that a deadline that comes too late shows as
 * a timeout that comes too late.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "golden/golden_world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_MS   1000000u /* not 0, so that a forgotten epoch shows */
#define EPOCH_MS   700000u  /* by how much the engine's clock jumps at a restart */
#define WALL_MS    1700000000000u
#define ROUNDS_MAX 100000u
#define GUARD_SIZE (64u << 10) /* longer pieces come in several */
#define VIEWS      16

static bool fail(struct golden_world *world, const char *what)
{
    if (world->error[0] == '\0')
        snprintf(world->error, sizeof world->error, "%s", what);
    return false;
}

/* ---- queues ---- */

static void queue_add(struct golden_queue *queue, struct mqtt5_bytes bytes)
{
    if (bytes.len == 0)
        return;
    if (queue->size + bytes.len > queue->room) {
        queue->room = 2 * (queue->size + bytes.len);
        queue->data = realloc(queue->data, queue->room);
        if (queue->data == NULL)
            abort();
    }
    memcpy(queue->data + queue->size, bytes.data, bytes.len);
    queue->size += bytes.len;
}

static void queue_take(struct golden_queue *queue, size_t size)
{
    memmove(queue->data, queue->data + size, queue->size - size);
    queue->size -= size;
}

static void queue_fini(struct golden_queue *queue)
{
    free(queue->data);
    memset(queue, 0, sizeof *queue);
}

/* ---- settings ---- */

enum setting_type {
    SETTING_BOOL,
    SETTING_U8,
    SETTING_U16,
    SETTING_U32,
    SETTING_SIZE,
    SETTING_TEXT
};

static_assert(sizeof(enum mqtt5_queue_policy) == 4 && sizeof(enum mqtt5_shared_strategy) == 4,
              "enums are set as 32-bit numbers");

#define SETTING(key, type)                                    \
    {                                                         \
#key, offsetof(struct mqtt5_broker_config, key), type \
    }
static const struct {
    const char *key;
    size_t offset;
    enum setting_type type;
} known_settings[] = {
    SETTING(allow_anonymous, SETTING_BOOL),
    SETTING(maximum_qos, SETTING_U8),
    SETTING(retain_available, SETTING_BOOL),
    SETTING(wildcard_subscription_available, SETTING_BOOL),
    SETTING(subscription_identifier_available, SETTING_BOOL),
    SETTING(shared_subscription_available, SETTING_BOOL),
    SETTING(maximum_packet_size, SETTING_U32),
    SETTING(receive_maximum, SETTING_U16),
    SETTING(topic_alias_maximum, SETTING_U16),
    SETTING(topic_alias_outgoing_max, SETTING_U16),
    SETTING(server_keep_alive_s, SETTING_U16),
    SETTING(keep_alive_max_s, SETTING_U16),
    SETTING(session_expiry_max_s, SETTING_U32),
    SETTING(response_information, SETTING_TEXT),
    SETTING(connections_max, SETTING_U32),
    SETTING(sessions_max, SETTING_U32),
    SETTING(client_id_size_max, SETTING_U32),
    SETTING(subscriptions_max, SETTING_U32),
    SETTING(subscriptions_per_session_max, SETTING_U32),
    SETTING(topic_levels_max, SETTING_U32),
    SETTING(user_properties_max, SETTING_U32),
    SETTING(inflight_max, SETTING_U16),
    SETTING(queued_messages_max, SETTING_U32),
    SETTING(queued_bytes_max, SETTING_SIZE),
    SETTING(retained_messages_max, SETTING_U32),
    SETTING(retained_bytes_max, SETTING_SIZE),
    SETTING(retained_message_size_max, SETTING_U32),
    SETTING(connections_per_user_max, SETTING_U32),
    SETTING(connections_per_address_max, SETTING_U32),
    SETTING(subscriptions_per_user_max, SETTING_U32),
    SETTING(rate_per_client.messages_in, SETTING_U32),
    SETTING(rate_per_client.bytes_in, SETTING_U32),
    SETTING(rate_per_client.messages_out, SETTING_U32),
    SETTING(rate_per_user.messages_in, SETTING_U32),
    SETTING(rate_burst_ms, SETTING_U32),
    SETTING(rate_action, SETTING_U32),
    SETTING(queue_policy, SETTING_U32),
    SETTING(durability, SETTING_U32),
    SETTING(shared_strategy, SETTING_U32),
    SETTING(sys_interval_s, SETTING_U32),
};
#undef SETTING

static void store_setting(void *field, enum setting_type type, const char *text)
{
    const unsigned long value = strtoul(text, NULL, 10);
    switch (type) {
    case SETTING_BOOL: *(bool *)field = value != 0; break;
    case SETTING_U8: *(uint8_t *)field = (uint8_t)value; break;
    case SETTING_U16: *(uint16_t *)field = (uint16_t)value; break;
    case SETTING_U32: *(uint32_t *)field = (uint32_t)value; break;
    case SETTING_SIZE: *(size_t *)field = value; break;
    case SETTING_TEXT: *(const char **)field = text; break;
    }
}

/* `durability_for=filter:level,filter:level` */
static bool apply_rules(struct golden_world *world, const char *text)
{
    static const char *const levels[] = {"strict", "relaxed", "memory"};
    static char filters[GOLDEN_RULES][64];
    uint32_t count = 0;
    for (; *text != '\0' && count < GOLDEN_RULES; count++) {
        const size_t size = strcspn(text, ":"), end = size + strcspn(text + size, ",");
        snprintf(filters[count], sizeof filters[count], "%.*s", (int)size, text);
        world->rules[count].filter = filters[count];
        for (unsigned i = 0; i < 3; i++)
            if (end > size && strncmp(text + size + 1, levels[i], end - size - 1) == 0)
                world->rules[count].durability = (enum mqtt5_durability)i;
        text += end + (text[end] == ',');
    }
    world->config.durability_rules = world->rules;
    world->config.durability_rule_count = count;
    return *text == '\0' || fail(world, "too many rules in durability_for");
}

static bool apply_setting(struct golden_world *world, const struct golden_setting *setting)
{
    struct mqtt5_broker_config *config = &world->config;
    if (strcmp(setting->key, "methods") == 0) {
        world->has_methods = true;
        return true;
    }
    if (strcmp(setting->key, "durability_for") == 0)
        return apply_rules(world, setting->value);
    for (size_t i = 0; i < sizeof known_settings / sizeof known_settings[0]; i++) {
        if (strcmp(known_settings[i].key, setting->key) == 0) {
            store_setting((char *)config + known_settings[i].offset, known_settings[i].type,
                          setting->value);
            return true;
        }
    }
    fail(world, "unknown setting in broker:");
    return false;
}

/* ---- one turn ---- */

static struct mqtt5_bytes no_peer(void)
{
    return (struct mqtt5_bytes){(const uint8_t *)"golden", 6};
}

/* Starts on this shard what another shard's connection became. */
static bool finish_move(struct golden_world *world, struct golden_link *link)
{
    link->moving = false;
    link->conn = m5_conn_open(m5_engine_shard(world->engine, link->shard), link,
                              &(struct m5_conn_origin){.peer = no_peer()});
    link->closed = link->conn == NULL;
    return true;
}

/* Writes into the engine's read space, as recv() would. */
static void give_whole(struct golden_link *link)
{
    const struct m5_span span = m5_conn_read_space(link->conn);
    const size_t size = span.size < link->sent.size ? span.size : link->sent.size;
    memcpy(span.data, link->sent.data, size);
    queue_take(&link->sent, size);
    m5_conn_received(link->conn, size);
}

/* Hands over bytes that end where memory ends. */
static void give_guarded(struct golden_world *world, struct golden_link *link)
{
    const size_t size = link->sent.size < GUARD_SIZE ? link->sent.size : GUARD_SIZE;
    const struct mqtt5_bytes piece = {link->sent.data, size};
    m5_conn_feed(link->conn, guard_page_place(&world->guard, piece));
    queue_take(&link->sent, size);
}

static bool give_input(struct golden_world *world, uint32_t shard)
{
    bool gave = false;
    for (size_t i = 0; i < GOLDEN_LINKS; i++) {
        struct golden_link *link = &world->links[i];
        if (!link->open || link->shard != shard)
            continue;
        if (link->moving)
            gave |= finish_move(world, link);
        if (link->conn == NULL || link->sent.size == 0 || !m5_conn_reading(link->conn))
            continue;
        gave = true;
        if (world->mode.feeding == GOLDEN_WHOLE)
            give_whole(link);
        else
            give_guarded(world, link);
    }
    return gave;
}

static void flush(struct m5_conn *conn, struct golden_link *link)
{
    struct mqtt5_bytes views[VIEWS];
    const size_t count = m5_conn_output(conn, views, VIEWS);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        queue_add(&link->received, views[i]);
        size += views[i].len;
    }
    m5_conn_sent(conn, size);
}

/* The bytes that the engine has not used yet go in front of those that it was not given yet. */
static void move(struct m5_conn *conn, struct golden_link *link)
{
    const struct golden_queue rest = link->sent;
    memset(&link->sent, 0, sizeof link->sent);
    queue_add(&link->sent, m5_conn_unread(conn));
    if (rest.size > 0)
        queue_add(&link->sent, (struct mqtt5_bytes){rest.data, rest.size});
    free(rest.data);
    link->shard = m5_conn_target(conn);
    link->moving = true;
    link->conn = NULL;
    m5_conn_free(conn);
}

static void serve(struct m5_conn *conn)
{
    struct golden_link *link = m5_conn_host(conn);
    for (;;) {
        switch (m5_conn_want(conn)) {
        case M5_WANT_NOTHING: return;
        case M5_WANT_FLUSH: flush(conn, link); break;
        case M5_WANT_CLOSE:
            link->conn = NULL;
            link->closed = true;
            m5_conn_free(conn);
            return;
        case M5_WANT_MOVE: move(conn, link); return;
        }
    }
}

static uint64_t engine_ms(const struct golden_world *world)
{
    return world->now_ms - world->epoch_ms;
}

/* Starts a turn, whoever asks for it; finish_turn() ends its input. */
static struct m5_shard *start_turn(struct golden_world *world, uint32_t index)
{
    struct m5_shard *shard = m5_engine_shard(world->engine, index);
    m5_shard_begin(shard, engine_ms(world));
    return shard;
}

static bool finish_turn(struct golden_world *world, struct m5_shard *shard, uint32_t index)
{
    bool busy = world->mode.store && disk_sim_seal(&world->disk, index, 0);
    busy |= m5_shard_end(shard) != 0;
    return busy;
}

static bool turn(struct golden_world *world, uint32_t index)
{
    struct m5_shard *shard = start_turn(world, index);
    bool busy = world->mode.store && disk_sim_hand_back(&world->disk, index);
    if (world->mode.store && !world->store_fails)
        disk_sim_written(&world->disk, index);
    busy |= give_input(world, index);
    busy |= world->has_methods && golden_methods_answer(shard);
    busy |= finish_turn(world, shard, index);
    for (struct m5_conn *conn; (conn = m5_shard_next_dirty(shard)) != NULL;) {
        serve(conn);
        busy = true;
    }
    m5_shard_check(shard);
    return busy || m5_shard_deadline(shard) <= engine_ms(world);
}

static bool shards_turn(struct golden_world *world)
{
    bool busy = false;
    for (uint32_t i = 0; i < world->mode.shards; i++)
        busy |= turn(world, i);
    if (world->mode.store && !world->store_waits)
        disk_sim_commit_all(&world->disk);
    if (world->disk.error[0] != '\0')
        fail(world, world->disk.error);
    return busy;
}

/* A shard may find its mail only in the turn after it was sent: rest is two quiet rounds. */
static void run_until_rest(struct golden_world *world)
{
    unsigned quiet = 0;
    for (unsigned round = 0; quiet < 2; round++) {
        if (round == ROUNDS_MAX) {
            fail(world, "the engine does not come to rest");
            return;
        }
        quiet = shards_turn(world) ? 0 : quiet + 1;
    }
}

/* ---- what the conversation does ---- */

static bool restore(struct golden_world *world)
{
    struct m5_restore_report report;
    disk_sim_attach(&world->disk, world->engine, world->mode.shards);
    if (disk_sim_restore(&world->disk, &report, 0) != MQTT5_OK)
        return fail(world, "the store cannot be read");
    return (report.damaged == 0 && report.refused == 0) ||
           fail(world, "the store has records that cannot be read");
}

static bool start_engine(struct golden_world *world)
{
    const struct m5_engine_env env = {.allocator = &world->allocator.table,
                                      .shard_count = world->mode.shards,
                                      .seed = {1, 2, 3, world->epoch_ms},
                                      .now_ms = engine_ms(world),
                                      .access = world->has_methods ? &golden_methods : NULL,
                                      .store = world->mode.store,
                                      .wall_ms = WALL_MS + world->now_ms};
    world->engine = m5_engine_new(&world->config, &env);
    if (world->engine == NULL)
        return fail(world, "the engine refuses this configuration");
    if (world->mode.store && !restore(world))
        return false;
    run_until_rest(world);
    return true;
}

bool golden_world_init(struct golden_world *world, const struct golden_setting *settings,
                       struct golden_mode mode)
{
    memset(world, 0, sizeof *world);
    world->mode = mode;
    world->now_ms = START_MS;
    mqtt5_broker_config_init(&world->config);
    world->config.allow_anonymous = true;
    for (; settings != NULL; settings = settings->next) {
        if (!apply_setting(world, settings))
            return false;
    }
    test_allocator_init(&world->allocator);
    disk_sim_init(&world->disk);
    guard_page_init(&world->guard, GUARD_SIZE);
    return start_engine(world);
}

struct golden_link *golden_world_link(struct golden_world *world, char name)
{
    return &world->links[name - 'A'];
}

void golden_world_open(struct golden_world *world, char name)
{
    struct golden_link *link = golden_world_link(world, name);
    if (link->open)
        golden_world_break(world, name);
    *link = (struct golden_link){.open = true, .moving = true};
    link->shard = world->opened++ % world->mode.shards;
    run_until_rest(world);
}

static void forget_link(struct golden_link *link)
{
    queue_fini(&link->sent);
    queue_fini(&link->received);
    *link = (struct golden_link){.open = false};
}

void golden_world_break(struct golden_world *world, char name)
{
    struct golden_link *link = golden_world_link(world, name);
    if (link->conn != NULL) {
        struct m5_shard *shard = start_turn(world, link->shard);
        m5_conn_lost(link->conn);
        (void)finish_turn(world, shard, link->shard);
    }
    forget_link(link);
    run_until_rest(world);
}

static void send_piece(struct golden_world *world, struct golden_link *link,
                       struct mqtt5_bytes piece)
{
    if (piece.len == 0 || link->closed)
        return;
    queue_add(&link->sent, piece);
    run_until_rest(world);
}

void golden_world_send(struct golden_world *world, char name, struct mqtt5_bytes bytes)
{
    struct golden_link *link = golden_world_link(world, name);
    size_t step = bytes.len;
    if (world->mode.feeding == GOLDEN_BYTEWISE)
        step = 1;
    if (world->mode.feeding == GOLDEN_SPLIT && world->mode.split < bytes.len)
        step = world->mode.split;
    for (size_t at = 0; at < bytes.len;) {
        const size_t size = step < bytes.len - at ? step : bytes.len - at;
        send_piece(world, link, (struct mqtt5_bytes){bytes.data + at, size});
        at += size;
        if (world->mode.feeding == GOLDEN_SPLIT)
            step = bytes.len - at;
    }
}

static uint64_t next_deadline(const struct golden_world *world)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < world->mode.shards; i++) {
        const uint64_t one = m5_shard_deadline(m5_engine_shard(world->engine, i));
        next = one < next ? one : next;
    }
    return next == UINT64_MAX ? next : next + world->epoch_ms;
}

void golden_world_advance(struct golden_world *world, uint64_t ms)
{
    const uint64_t end = world->now_ms + ms;
    while (world->now_ms < end && world->error[0] == '\0') {
        uint64_t next = next_deadline(world);
        next = next > world->now_ms ? next : world->now_ms + 1;
        world->now_ms = next < end ? next : end;
        run_until_rest(world);
    }
}

void golden_world_stop(struct golden_world *world)
{
    for (uint32_t i = 0; i < world->mode.shards; i++) {
        struct m5_shard *shard = start_turn(world, i);
        m5_shard_shutdown(shard);
        (void)finish_turn(world, shard, i);
    }
    run_until_rest(world);
}

/* ---- the end of a broker, and another one ---- */

static void end_engine(struct golden_world *world)
{
    if (world->mode.store)
        disk_sim_crash(&world->disk, false);
    m5_engine_free(world->engine);
    world->engine = NULL;
    for (size_t i = 0; i < GOLDEN_LINKS; i++)
        forget_link(&world->links[i]);
}

void golden_world_crash(struct golden_world *world, uint64_t down_ms)
{
    end_engine(world);
    test_allocator_check(&world->allocator);
    world->now_ms += down_ms;
    world->epoch_ms += EPOCH_MS / 2;
    world->mode.shards = world->mode.shards % 3 + 1;
    world->store_waits = world->store_fails = false;
    start_engine(world);
}

void golden_world_restart(struct golden_world *world, uint64_t down_ms)
{
    golden_world_stop(world);
    golden_world_crash(world, down_ms);
}

static void set_failing(struct golden_world *world, bool failing)
{
    for (uint32_t i = 0; i < world->mode.shards; i++) {
        struct m5_shard *shard = start_turn(world, i);
        m5_shard_store_failing(shard, failing);
        (void)finish_turn(world, shard, i);
    }
}

void golden_world_store(struct golden_world *world, enum golden_store_word word)
{
    world->store_waits = word == GOLDEN_FAILS || word == GOLDEN_HOLDS;
    world->store_fails = word == GOLDEN_FAILS;
    if (word == GOLDEN_FAILS || word == GOLDEN_WORKS)
        set_failing(world, word == GOLDEN_FAILS);
    run_until_rest(world);
}

struct mqtt5_bytes golden_link_packet(const struct golden_link *link)
{
    const struct golden_queue *in = &link->received;
    uint32_t length;
    if (in->size < 2)
        return (struct mqtt5_bytes){NULL, 0};
    const struct mqtt5_bytes rest = {in->data + 1, in->size - 1};
    const size_t head = golden_read_length(rest, &length);
    if (head == 0 || length > rest.len - head)
        return (struct mqtt5_bytes){NULL, 0};
    return (struct mqtt5_bytes){in->data, 1 + head + length};
}

void golden_link_take(struct golden_link *link, size_t size)
{
    queue_take(&link->received, size);
}

/* Half of the worlds end with their connections open, half break them first. */
static void end_links(struct golden_world *world)
{
    for (size_t i = 0; i < GOLDEN_LINKS; i++) {
        if (world->links[i].open && world->mode.feeding != GOLDEN_BYTEWISE)
            golden_world_break(world, (char)('A' + i));
        queue_fini(&world->links[i].sent);
        queue_fini(&world->links[i].received);
    }
}

bool golden_world_fini(struct golden_world *world)
{
    if (world->engine == NULL)
        return true;
    end_links(world);
    end_engine(world);
    disk_sim_fini(&world->disk);
    guard_page_fini(&world->guard);
    test_allocator_check(&world->allocator);
    return world->error[0] == '\0';
}
