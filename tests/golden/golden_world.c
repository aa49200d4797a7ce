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
    SETTING(queue_policy, SETTING_U32),
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

static bool apply_setting(struct golden_world *world, struct mqtt5_broker_config *config,
                          const struct golden_setting *setting)
{
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
    link->conn = m5_conn_open(m5_engine_shard(world->engine, link->shard), link, no_peer());
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

static bool turn(struct golden_world *world, uint32_t index)
{
    struct m5_shard *shard = m5_engine_shard(world->engine, index);
    m5_shard_begin(shard, world->now_ms);
    bool busy = give_input(world, index);
    busy |= m5_shard_end(shard) != 0;
    for (struct m5_conn *conn; (conn = m5_shard_next_dirty(shard)) != NULL;) {
        serve(conn);
        busy = true;
    }
    m5_shard_check(shard);
    return busy || m5_shard_deadline(shard) <= world->now_ms;
}

static bool shards_turn(struct golden_world *world)
{
    bool busy = false;
    for (uint32_t i = 0; i < world->mode.shards; i++)
        busy |= turn(world, i);
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

bool golden_world_init(struct golden_world *world, const struct golden_setting *settings,
                       struct golden_mode mode)
{
    memset(world, 0, sizeof *world);
    world->mode = mode;
    world->now_ms = START_MS;
    struct mqtt5_broker_config config;
    mqtt5_broker_config_init(&config);
    config.allow_anonymous = true;
    for (; settings != NULL; settings = settings->next) {
        if (!apply_setting(world, &config, settings))
            return false;
    }
    test_allocator_init(&world->allocator);
    const struct m5_engine_env env = {.allocator = &world->allocator.table,
                                      .shard_count = mode.shards,
                                      .seed = {1, 2, 3, 4},
                                      .now_ms = world->now_ms};
    world->engine = m5_engine_new(&config, &env);
    if (world->engine == NULL)
        return fail(world, "the engine refuses this configuration");
    guard_page_init(&world->guard, GUARD_SIZE);
    run_until_rest(world);
    return true;
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

void golden_world_break(struct golden_world *world, char name)
{
    struct golden_link *link = golden_world_link(world, name);
    if (link->conn != NULL) {
        struct m5_shard *shard = m5_engine_shard(world->engine, link->shard);
        m5_shard_begin(shard, world->now_ms);
        m5_conn_lost(link->conn);
        (void)m5_shard_end(shard);
    }
    queue_fini(&link->sent);
    queue_fini(&link->received);
    *link = (struct golden_link){.open = false};
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
    return next;
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
        struct m5_shard *shard = m5_engine_shard(world->engine, i);
        m5_shard_begin(shard, world->now_ms);
        m5_shard_shutdown(shard);
        (void)m5_shard_end(shard);
    }
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
    m5_engine_free(world->engine);
    world->engine = NULL;
    guard_page_fini(&world->guard);
    test_allocator_check(&world->allocator);
    return world->error[0] == '\0';
}
