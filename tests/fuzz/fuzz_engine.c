/* Whole connections against the engine: the input says which connection opens, sends, stalls or
 * ends, and when time passes. After each step the engine's invariants must hold, what it writes
 * must be packets, and at the end no memory may be left.
 *
 * The first byte: shards (2 bits), small limits (1 bit). Then steps: an operation (low 3 bits) and
 * a connection (high bits modulo 8), followed by what the operation takes; see enum operation.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "broker/engine.h"

#include <mqtt5/packet.h>

#include <stdlib.h>
#include <string.h>

#define CONNECTIONS 8u
#define SHARDS_MAX  3u
#define STEPS_MAX   400u

enum operation {
    FEED,      /* a size byte, then as many bytes */
    FEED_LONG, /* as FEED, the size in two bytes */
    CONNECT,   /* a byte: version, clean start, expiry, client id */
    LOSE,      /* the transport ends */
    PASS_TIME, /* a byte: times 50 ms, or seconds with the highest bit */
    STALL,     /* nothing is read by this peer until the next STALL */
    TURN,      /* a byte: only these shards take a turn */
    FLOOD      /* a byte: so many PUBLISH packets of QoS 1 */
};

struct heap {
    struct mqtt5_allocator table;
    size_t used;
};

struct peer {
    struct m5_conn *conn;
    uint32_t shard;
    bool stalled;
    uint8_t start[8]; /* of the packet that is being read */
    uint8_t start_size;
    uint32_t left;    /* bytes of its body */
    uint8_t *carried; /* to another shard; NULL: nothing is */
    size_t carried_size;
};

struct world {
    struct heap heap;
    struct m5_engine *engine;
    uint32_t shard_count;
    uint64_t now_ms;
    struct peer peers[CONNECTIONS];
    struct mqtt5_bytes input;
};

static void *heap_alloc(void *ctx, size_t size)
{
    struct heap *heap = ctx;
    void *memory = malloc(size);
    M5_ASSERT(memory != NULL);
    heap->used += size;
    return memory;
}

static void heap_free(void *ctx, void *memory, size_t size)
{
    struct heap *heap = ctx;
    M5_ASSERT(heap->used >= size);
    heap->used -= size;
    free(memory);
}

static uint8_t next_byte(struct world *world)
{
    if (world->input.len == 0)
        return 0;
    world->input.len--;
    return *world->input.data++;
}

static struct mqtt5_bytes next_bytes(struct world *world, size_t size)
{
    struct mqtt5_bytes bytes = world->input;
    bytes.len = size < bytes.len ? size : bytes.len;
    world->input = m5_bytes(bytes.data + bytes.len, world->input.len - bytes.len);
    return bytes;
}

/* ---- what the engine writes ---- */

/* One byte of a packet's header. What is written must be a stream of frames. */
static void read_header(struct peer *peer, uint8_t byte)
{
    M5_ASSERT(peer->start_size < sizeof peer->start);
    peer->start[peer->start_size++] = byte;
    struct mqtt5_frame frame;
    enum mqtt5_error error =
        mqtt5_frame_read(m5_bytes(peer->start, peer->start_size), UINT32_MAX, &frame);
    M5_ASSERT(error == MQTT5_OK || error == MQTT5_NEED_MORE);
    if (error == MQTT5_NEED_MORE && frame.size == 0)
        return;
    M5_ASSERT(frame.type >= MQTT5_CONNECT && frame.type <= MQTT5_AUTH);
    peer->left = frame.size - peer->start_size;
    peer->start_size = 0;
}

static void read_output(struct peer *peer, struct mqtt5_bytes bytes)
{
    while (bytes.len > 0) {
        size_t part = 1;
        if (peer->left > 0) {
            part = bytes.len < peer->left ? bytes.len : peer->left;
            peer->left -= (uint32_t)part;
        } else {
            read_header(peer, *bytes.data);
        }
        bytes = m5_bytes(bytes.data + part, bytes.len - part);
    }
}

static void flush(struct peer *peer)
{
    struct mqtt5_bytes views[4];
    size_t count = m5_conn_output(peer->conn, views, 4), size = 0;
    M5_ASSERT(count > 0);
    for (size_t i = 0; i < count; i++) {
        read_output(peer, views[i]);
        size += views[i].len;
    }
    M5_ASSERT(size > 0);
    m5_conn_sent(peer->conn, size);
}

/* ---- who gets in ---- */

/* Every method is known; what its data begin with says what comes of it. */
enum verdict { DENY, ALLOW, CONTINUE, SILENCE };
#define NAMED 4u /* the client's name is that of the data */
#define ROLES 8u

static enum m5_access_answer may_connect(void *ctx, const struct m5_credentials *shown,
                                         enum mqtt5_reason_code *reason)
{
    (void)ctx;
    *reason = MQTT5_REASON_NOT_AUTHORIZED;
    return shown->has_method ? M5_ACCESS_PENDING : M5_ACCESS_ALLOW;
}

static void answer(struct m5_conn *conn, const struct m5_credentials *shown)
{
    const uint8_t wanted = shown->data.len > 0 ? shown->data.data[0] : DENY;
    struct m5_verdict verdict = {.kind = M5_VERDICT_DENY, .reason = 0x87};
    M5_ASSERT(shown->has_method && (!shown->going || shown->identity.len == 0));
    if ((wanted & 3) == SILENCE)
        return;
    if ((wanted & 3) == CONTINUE)
        verdict =
            (struct m5_verdict){.kind = M5_VERDICT_CONTINUE, .has_data = true, .data = shown->data};
    if ((wanted & 3) == ALLOW)
        verdict = (struct m5_verdict){.kind = M5_VERDICT_ALLOW, .named = (wanted & NAMED) != 0};
    if (verdict.named)
        verdict.username = shown->data;
    if ((wanted & ROLES) != 0)
        verdict.roles = m5_bytes("a\0b\0", 4);
    m5_conn_verified(conn, &verdict);
}

/* ---- connections ---- */

static void open_peer(struct world *world, struct peer *peer, uint32_t shard)
{
    *peer = (struct peer){.shard = shard};
    peer->conn = m5_conn_open(m5_engine_shard(world->engine, shard), peer,
                              &(struct m5_conn_origin){.peer = m5_bytes("fuzz", 4)});
}

/* Takes what the connection has read along, to the shard that its client id belongs to. */
static void carry(struct world *world, struct peer *peer)
{
    uint32_t target = m5_conn_target(peer->conn);
    struct mqtt5_bytes unread = m5_conn_unread(peer->conn);
    M5_ASSERT(target < world->shard_count && target != peer->shard);
    peer->carried = malloc(unread.len + 1);
    M5_ASSERT(peer->carried != NULL);
    memcpy(peer->carried, unread.data, unread.len);
    peer->carried_size = unread.len;
    m5_conn_free(peer->conn);
    peer->conn = NULL;
    peer->shard = target;
}

static void serve(struct world *world, struct peer *peer)
{
    while (peer->conn != NULL) {
        switch (m5_conn_want(peer->conn)) {
        case M5_WANT_NOTHING: return;
        case M5_WANT_MOVE: carry(world, peer); return;
        case M5_WANT_CLOSE:
            m5_conn_free(peer->conn);
            peer->conn = NULL;
            return;
        case M5_WANT_FLUSH:
            if (peer->stalled)
                return;
            flush(peer);
        }
    }
}

static void end_turn(struct world *world, uint32_t index)
{
    struct m5_shard *shard = m5_engine_shard(world->engine, index);
    struct m5_credentials shown;
    struct m5_conn *conn;
    while ((conn = m5_shard_next_check(shard, &shown)) != NULL)
        answer(conn, &shown);
    m5_shard_end(shard);
    while ((conn = m5_shard_next_dirty(shard)) != NULL)
        serve(world, m5_conn_host(conn));
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        if (world->peers[i].shard == index)
            serve(world, &world->peers[i]);
    struct m5_event event;
    while (m5_shard_next_event(shard, &event))
        M5_ASSERT(event.client_id_size <= sizeof event.client_id);
    m5_shard_check(shard);
}

/* Gives connections that are carried to their new shard. */
static void land(struct world *world)
{
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        struct peer *peer = &world->peers[i];
        uint8_t *bytes = peer->carried;
        size_t size = peer->carried_size;
        if (bytes == NULL)
            continue;
        m5_shard_begin(m5_engine_shard(world->engine, peer->shard), world->now_ms);
        open_peer(world, peer, peer->shard);
        if (peer->conn != NULL)
            m5_conn_refeed(peer->conn, m5_bytes(bytes, size));
        free(bytes);
        end_turn(world, peer->shard);
        M5_ASSERT(peer->carried == NULL);
    }
}

static void take_turns(struct world *world, uint32_t mask)
{
    for (uint32_t i = 0; i < world->shard_count; i++) {
        if ((mask >> i & 1) == 0)
            continue;
        m5_shard_begin(m5_engine_shard(world->engine, i), world->now_ms);
        end_turn(world, i);
    }
    land(world);
}

static void feed(struct world *world, struct peer *peer, struct mqtt5_bytes bytes)
{
    if (peer->conn == NULL)
        open_peer(world, peer, (uint32_t)(peer - world->peers) % world->shard_count);
    if (peer->conn == NULL || bytes.len == 0 || !m5_conn_reading(peer->conn))
        return;
    m5_shard_begin(m5_engine_shard(world->engine, peer->shard), world->now_ms);
    struct m5_span span = m5_conn_read_space(peer->conn);
    M5_ASSERT(span.size > 0);
    if (bytes.len <= span.size && bytes.len % 2 == 0) {
        memcpy(span.data, bytes.data, bytes.len);
        m5_conn_received(peer->conn, bytes.len);
    } else {
        m5_conn_feed(peer->conn, bytes);
    }
    end_turn(world, peer->shard);
    land(world);
}

/* ---- steps ---- */

static void send_packet(struct world *world, struct peer *peer, const struct mqtt5_packet *packet,
                        uint8_t version)
{
    uint8_t bytes[256];
    size_t size = mqtt5_packet_size(packet, version);
    M5_ASSERT(size > 0 && size <= sizeof bytes);
    M5_ASSERT(mqtt5_packet_write(packet, version, bytes, size) == bytes + size);
    feed(world, peer, m5_bytes(bytes, size));
}

static void connect(struct world *world, struct peer *peer, uint8_t choice)
{
    static const uint8_t versions[] = {MQTT5_VERSION_5, MQTT5_VERSION_5, MQTT5_VERSION_3_1_1,
                                       MQTT5_VERSION_3_1};
    static const uint32_t expiries[] = {0, 1, 100, UINT32_MAX};
    uint8_t version = versions[choice & 3];
    uint8_t name[2] = {'c', (uint8_t)('0' + (choice >> 5))};
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT};
    packet.as.connect = (struct mqtt5_connect){.version = version,
                                               .clean_start = (choice >> 2 & 1) != 0,
                                               .keep_alive_s = 10,
                                               .client_id = m5_bytes(name, sizeof name)};
    if (version == MQTT5_VERSION_5) {
        MQTT5_SET(&packet.as.connect.properties, SESSION_EXPIRY_INTERVAL);
        packet.as.connect.properties.session_expiry_interval_s = expiries[choice >> 3 & 3];
    }
    if ((choice & 3) == 1) { /* proves who it is in two steps */
        static const uint8_t data[] = {CONTINUE};
        MQTT5_SET(&packet.as.connect.properties, AUTHENTICATION_METHOD);
        MQTT5_SET(&packet.as.connect.properties, AUTHENTICATION_DATA);
        packet.as.connect.properties.authentication_method = m5_bytes("m", 1);
        packet.as.connect.properties.authentication_data = m5_bytes(data, 1);
    }
    send_packet(world, peer, &packet, version);
}

static void flood(struct world *world, struct peer *peer, uint8_t count)
{
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    for (uint16_t i = 1; i <= count; i++) {
        packet.as.publish = (struct mqtt5_publish){
            .qos = 1, .packet_id = i, .topic = m5_bytes("t", 1), .payload = m5_bytes("flood", 5)};
        send_packet(world, peer, &packet, MQTT5_VERSION_5);
    }
}

static void lose(struct world *world, struct peer *peer)
{
    if (peer->conn == NULL)
        return;
    m5_shard_begin(m5_engine_shard(world->engine, peer->shard), world->now_ms);
    m5_conn_lost(peer->conn);
    peer->conn = NULL;
    end_turn(world, peer->shard);
    land(world);
}

static void step(struct world *world)
{
    uint8_t first = next_byte(world);
    struct peer *peer = &world->peers[first >> 3 & 7];
    uint8_t byte = 0;
    if ((first & 7) != LOSE && (first & 7) != STALL)
        byte = next_byte(world);
    switch ((enum operation)(first & 7)) {
    case FEED: feed(world, peer, next_bytes(world, byte)); break;
    case FEED_LONG: feed(world, peer, next_bytes(world, byte * 256u + next_byte(world))); break;
    case CONNECT: connect(world, peer, byte); break;
    case LOSE: lose(world, peer); break;
    case PASS_TIME: world->now_ms += byte < 128 ? byte * 50u : (byte - 127u) * 1000u; break;
    case STALL: peer->stalled = !peer->stalled; break;
    case TURN: take_turns(world, byte); break;
    case FLOOD: flood(world, peer, byte); break;
    }
    if ((first >> 6) == 0)
        take_turns(world, UINT32_MAX);
}

static struct mqtt5_broker_config configuration(bool small)
{
    struct mqtt5_broker_config config;
    mqtt5_broker_config_init(&config);
    config.allow_anonymous = true;
    if (!small)
        return config;
    config.receive_maximum = 3;
    config.inflight_max = 2;
    config.queued_messages_max = 5;
    config.queued_bytes_max = 500;
    config.output_bytes_max = 2000;
    config.retained_messages_max = 2;
    config.sessions_max = 5;
    config.rate_per_client.messages_in = 20;
    config.rate_per_user.messages_out = 20;
    config.rate_per_user.bytes_in = 2000;
    config.connections_per_user_max = 3;
    config.subscriptions_per_user_max = 3;
    config.subscriptions_max = 6;
    config.topic_levels_max = 8;
    config.user_properties_max = 2;
    config.maximum_packet_size = 2000;
    config.queue_policy = MQTT5_QUEUE_DROP_OLDEST;
    config.sys_interval_s = 1;
    return config;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = {.input = m5_bytes(data, size), .now_ms = 1000};
    world.heap.table = (struct mqtt5_allocator){&world.heap, heap_alloc, heap_free};
    uint8_t first = next_byte(&world);
    world.shard_count = 1 + (first & 3u) % SHARDS_MAX;
    struct mqtt5_broker_config config = configuration((first >> 2 & 1) != 0);
    config.shared_strategy = (enum mqtt5_shared_strategy)((first >> 3) % 6u);
    config.rate_action = (enum mqtt5_rate_action)((first >> 3) % 3u);
    const struct m5_access access = {.allow_everything = true, .connect = may_connect};
    struct m5_engine_env env = {.allocator = &world.heap.table,
                                .access = &access,
                                .shard_count = world.shard_count,
                                .seed = {1, 2, 3, 4},
                                .now_ms = world.now_ms,
                                .events = true};
    world.engine = m5_engine_new(&config, &env);
    M5_ASSERT(world.engine != NULL);
    for (uint32_t i = 0; i < STEPS_MAX && world.input.len > 0; i++)
        step(&world);
    take_turns(&world, UINT32_MAX);
    m5_engine_free(world.engine);
    M5_ASSERT(world.heap.used == 0);
    return 0;
}
