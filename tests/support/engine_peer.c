/* An engine on a bench, with clients.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/engine_peer.h"

#include "base/bytes.h"
#include "broker/shard.h"
#include "support/hex.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#define WALL_MS    1700000000000u
#define START_MS   1000000u /* not 0, so that a forgotten epoch shows */
#define ROUNDS_MAX 20000u
#define VIEWS      16
#define HEX_MAX    4096u

/* ---- bytes ---- */

static void bytes_add(struct engine_bytes *bytes, struct mqtt5_bytes more)
{
    if (bytes->size + more.len > bytes->room) {
        bytes->room = 2 * (bytes->size + more.len);
        bytes->data = realloc(bytes->data, bytes->room);
        assert_non_null(bytes->data);
    }
    if (more.len > 0)
        memcpy(bytes->data + bytes->size, more.data, more.len);
    bytes->size += more.len;
}

static void bytes_cut(struct engine_bytes *bytes, size_t at, size_t size)
{
    memmove(bytes->data + at, bytes->data + at + size, bytes->size - at - size);
    bytes->size -= size;
}

static void bytes_fini(struct engine_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct engine_bytes){0};
}

/* ---- turns ---- */

static const char *origin = "test";

void guests_come_from(const char *text)
{
    origin = text;
}

static struct mqtt5_bytes address(void)
{
    return m5_bytes_of(origin);
}

static void finish_move(struct engine_peer *peer)
{
    const struct engine_rig *rig = peer->rig;
    const struct m5_conn_origin from = {
        .peer = address(), .listener = rig->listener, .limits = &rig->limits};
    peer->moving = false;
    peer->conn = m5_conn_open(m5_engine_shard(rig->engine, peer->shard), peer, &from);
    if (peer->conn != NULL && (rig->identity != NULL || rig->secure))
        assert_true(m5_conn_identify(
            peer->conn, m5_bytes_of(rig->identity != NULL ? rig->identity : ""), rig->secure));
    peer->closed = peer->conn == NULL;
    if (peer->conn != NULL && peer->carried.size > 0)
        m5_conn_refeed(peer->conn, m5_bytes(peer->carried.data, peer->carried.size));
    bytes_fini(&peer->carried);
}

static void give(struct engine_peer *peer)
{
    const struct m5_span span = m5_conn_read_space(peer->conn);
    const size_t size = span.size < peer->input.size ? span.size : peer->input.size;
    memcpy(span.data, peer->input.data, size);
    bytes_cut(&peer->input, 0, size);
    m5_conn_received(peer->conn, size);
}

static bool give_input(struct engine_rig *rig, uint32_t shard)
{
    bool gave = false;
    for (uint32_t i = 0; i < ENGINE_PEERS_MAX; i++) {
        struct engine_peer *peer = &rig->peers[i];
        if (!peer->used || peer->shard != shard)
            continue;
        if (peer->moving) {
            finish_move(peer);
            gave = true;
        }
        if (peer->conn == NULL || peer->input.size == 0 || !m5_conn_reading(peer->conn))
            continue;
        give(peer);
        gave = true;
    }
    return gave;
}

static void flush(struct m5_conn *conn, struct engine_peer *peer)
{
    struct mqtt5_bytes views[VIEWS];
    const size_t count = m5_conn_output(conn, views, VIEWS);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        bytes_add(&peer->output, views[i]);
        size += views[i].len;
    }
    assert_true(size > 0);
    m5_conn_sent(conn, size);
}

static void move(struct m5_conn *conn, struct engine_peer *peer)
{
    bytes_add(&peer->carried, m5_conn_unread(conn));
    peer->shard = m5_conn_target(conn);
    peer->moving = true;
    peer->conn = NULL;
    m5_conn_free(conn);
}

static void serve(struct m5_conn *conn)
{
    struct engine_peer *peer = m5_conn_host(conn);
    for (;;) {
        switch (m5_conn_want(conn)) {
        case M5_WANT_NOTHING: return;
        case M5_WANT_FLUSH:
            if (peer->stuck)
                return;
            flush(conn, peer);
            break;
        case M5_WANT_CLOSE:
            peer->conn = NULL;
            peer->closed = true;
            m5_conn_free(conn);
            return;
        case M5_WANT_MOVE: move(conn, peer); return;
        }
    }
}

/* A peer that was stuck and reads again is writable for its host. */
static void serve_writable(struct engine_rig *rig, uint32_t shard)
{
    for (uint32_t i = 0; i < ENGINE_PEERS_MAX; i++) {
        struct engine_peer *peer = &rig->peers[i];
        if (peer->used && peer->conn != NULL && peer->shard == shard && !peer->stuck)
            serve(peer->conn);
    }
}

static bool check(struct engine_rig *rig, struct m5_shard *shard)
{
    struct m5_credentials shown;
    struct m5_conn *conn;
    bool busy = false;
    while (rig->on_check != NULL && (conn = m5_shard_next_check(shard, &shown)) != NULL) {
        rig->on_check(conn, &shown);
        busy = true;
    }
    return busy;
}

bool engine_turn(struct engine_rig *rig, uint32_t index)
{
    struct m5_shard *shard = m5_engine_shard(rig->engine, index);
    m5_shard_begin(shard, rig->now_ms);
    bool busy = rig->disk != NULL && disk_sim_hand_back(rig->disk, index);
    busy |= give_input(rig, index);
    busy |= check(rig, shard);
    busy |= rig->disk != NULL && disk_sim_seal(rig->disk, index, 0);
    const uint64_t wakes = m5_shard_end(shard);
    rig->wakes |= wakes;
    busy |= (wakes & ~rig->asleep) != 0;
    for (struct m5_conn *conn; (conn = m5_shard_next_dirty(shard)) != NULL;) {
        serve(conn);
        busy = true;
    }
    serve_writable(rig, index);
    m5_shard_check(shard);
    return busy || m5_shard_deadline(shard) <= rig->now_ms;
}

void engine_pump(struct engine_rig *rig)
{
    unsigned quiet = 0;
    for (unsigned round = 0; quiet < 2; round++) {
        assert_in_range(round, 0, ROUNDS_MAX);
        bool busy = false;
        for (uint32_t i = 0; i < rig->shards; i++)
            if ((rig->asleep >> i & 1) == 0)
                busy |= engine_turn(rig, i);
        if (rig->disk != NULL && (rig->last_commit == 0 || rig->disk->commits < rig->last_commit))
            disk_sim_commit_all(rig->disk);
        quiet = busy ? 0 : quiet + 1;
    }
}

static uint64_t next_deadline(const struct engine_rig *rig)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < rig->shards; i++) {
        const uint64_t one = m5_shard_deadline(m5_engine_shard(rig->engine, i));
        if ((rig->asleep >> i & 1) == 0 && one < next)
            next = one;
    }
    return next;
}

void engine_advance(struct engine_rig *rig, uint64_t ms)
{
    const uint64_t end = rig->now_ms + ms;
    while (rig->now_ms < end) {
        uint64_t next = next_deadline(rig);
        next = next > rig->now_ms ? next : rig->now_ms + 1;
        rig->now_ms = next < end ? next : end;
        engine_pump(rig);
    }
}

/* ---- the rig ---- */

void engine_rig_init(struct engine_rig *rig, uint32_t shards)
{
    memset(rig, 0, sizeof *rig);
    rig->shards = shards;
    rig->now_ms = START_MS;
    test_allocator_init(&rig->memory);
    mqtt5_broker_config_init(&rig->config);
    rig->config.allow_anonymous = true;
    rig->config.sys_interval_s = 0;
}

static void restore(struct engine_rig *rig)
{
    struct m5_restore_report report;
    disk_sim_attach(rig->disk, rig->engine, rig->shards);
    assert_int_equal(disk_sim_restore(rig->disk, &report, 0), MQTT5_OK);
}

void engine_rig_start(struct engine_rig *rig)
{
    const struct m5_engine_env env = {.allocator = &rig->memory.table,
                                      .shard_count = rig->shards,
                                      .seed = {1, 2, 3, 4},
                                      .now_ms = rig->now_ms,
                                      .access = rig->has_access ? &rig->access : NULL,
                                      .store = rig->disk != NULL,
                                      .wall_ms = WALL_MS + rig->now_ms,
                                      .control_topic = rig->control_topic};
    rig->engine = m5_engine_new(&rig->config, &env);
    assert_non_null(rig->engine);
    if (rig->disk != NULL)
        restore(rig);
    engine_pump(rig);
}

static void forget(struct engine_peer *peer)
{
    bytes_fini(&peer->input);
    bytes_fini(&peer->carried);
    bytes_fini(&peer->output);
    bytes_fini(&peer->taken);
    *peer = (struct engine_peer){0};
}

void engine_rig_fini(struct engine_rig *rig)
{
    if (rig->disk != NULL)
        disk_sim_crash(rig->disk, false);
    m5_engine_free(rig->engine);
    for (uint32_t i = 0; i < ENGINE_PEERS_MAX; i++)
        forget(&rig->peers[i]);
    test_allocator_check(&rig->memory);
}

void engine_rig_crash(struct engine_rig *rig)
{
    engine_rig_fini(rig);
    engine_rig_start(rig);
}

struct m5_stats engine_stats(const struct engine_rig *rig)
{
    struct m5_stats stats;
    m5_engine_stats(rig->engine, &stats);
    return stats;
}

uint32_t engine_home(const struct engine_rig *rig, const char *text)
{
    return m5_share_home(m5_engine_shard(rig->engine, 0), m5_bytes_of(text));
}

void engine_text_on(const struct engine_rig *rig, const char *prefix, uint32_t shard, unsigned nth,
                    char out[ENGINE_ID_SIZE])
{
    for (unsigned number = 0; number < 10000; number++) {
        snprintf(out, ENGINE_ID_SIZE, "%s%u", prefix, number);
        if (engine_home(rig, out) == shard && nth-- == 0)
            return;
    }
    fail_msg("no text of this shard");
}

/* ---- connections ---- */

struct engine_peer *guest_open_on(struct engine_rig *rig, uint8_t version, uint32_t shard)
{
    struct engine_peer *peer = rig->peers;
    while (peer->used)
        assert_true(++peer < rig->peers + ENGINE_PEERS_MAX);
    *peer = (struct engine_peer){
        .rig = rig, .used = true, .moving = true, .shard = shard, .version = version};
    engine_pump(rig);
    return peer;
}

struct engine_peer *guest_open(struct engine_rig *rig, uint8_t version)
{
    return guest_open_on(rig, version, rig->opened++ % rig->shards);
}

struct mqtt5_connect guest_connect_packet(uint8_t version, const char *client_id)
{
    return (struct mqtt5_connect){
        .version = version, .clean_start = true, .client_id = m5_bytes_of(client_id)};
}

unsigned guest_say_connect(struct engine_peer *peer, const struct mqtt5_connect *connect)
{
    const struct mqtt5_packet packet = {.type = MQTT5_CONNECT, .as.connect = *connect};
    guest_send_packet(peer, &packet);
    struct mqtt5_packet answer;
    if (!guest_take_type(peer, MQTT5_CONNACK, &answer))
        return GUEST_OPEN;
    peer->session_present = answer.as.connack.session_present;
    return answer.as.connack.reason_code;
}

struct engine_peer *guest_connect(struct engine_rig *rig, uint8_t version, const char *client_id)
{
    struct engine_peer *peer = guest_open(rig, version);
    const struct mqtt5_connect connect = guest_connect_packet(version, client_id);
    assert_int_equal(guest_say_connect(peer, &connect), 0);
    return peer;
}

struct engine_peer *guest_resume(struct engine_rig *rig, uint8_t version, const char *client_id)
{
    struct engine_peer *peer = guest_open(rig, version);
    struct mqtt5_connect connect = guest_connect_packet(version, client_id);
    connect.clean_start = false;
    if (version == MQTT5_VERSION_5) {
        MQTT5_SET(&connect.properties, SESSION_EXPIRY_INTERVAL);
        connect.properties.session_expiry_interval_s = 1000;
    }
    assert_int_equal(guest_say_connect(peer, &connect), 0);
    return peer;
}

void guest_lose(struct engine_peer *peer)
{
    struct engine_rig *rig = peer->rig;
    if (peer->conn != NULL) {
        struct m5_shard *shard = m5_engine_shard(rig->engine, peer->shard);
        m5_shard_begin(shard, rig->now_ms);
        if (peer->conn != NULL)
            m5_conn_lost(peer->conn);
        rig->wakes |= m5_shard_end(shard);
    }
    forget(peer);
    engine_pump(rig);
}

void guest_disconnect(struct engine_peer *peer, uint8_t reason)
{
    const struct mqtt5_packet packet = {.type = MQTT5_DISCONNECT,
                                        .as.disconnect.reason_code = reason};
    guest_send_packet(peer, &packet);
    assert_true(peer->closed);
    guest_lose(peer);
}

unsigned guest_end(struct engine_peer *peer)
{
    struct mqtt5_packet packet;
    if (!peer->closed)
        return GUEST_OPEN;
    return guest_take_type(peer, MQTT5_DISCONNECT, &packet) ? packet.as.disconnect.reason_code : 0;
}

/* ---- packets out ---- */

void guest_send(struct engine_peer *peer, struct mqtt5_bytes bytes)
{
    if (!peer->closed)
        bytes_add(&peer->input, bytes);
    engine_pump(peer->rig);
}

void guest_send_hex(struct engine_peer *peer, const char *hex)
{
    uint8_t bytes[HEX_MAX];
    guest_send(peer, hex_read(hex, bytes, sizeof bytes));
}

void guest_send_packet(struct engine_peer *peer, const struct mqtt5_packet *packet)
{
    const size_t size = mqtt5_packet_size(packet, peer->version);
    assert_true(size > 0);
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    mqtt5_packet_write(packet, peer->version, bytes, size);
    guest_send(peer, m5_bytes(bytes, size));
    free(bytes);
}

void guest_send_ack(struct engine_peer *peer, uint8_t type, uint16_t packet_id, uint8_t reason)
{
    const struct mqtt5_packet packet = {.type = type,
                                        .as.ack = {.packet_id = packet_id, .reason_code = reason}};
    guest_send_packet(peer, &packet);
}

/* ---- packets in ---- */

/* Whatever the engine writes must be a packet that the decoder accepts. */
static void decode(struct engine_peer *peer, const struct mqtt5_frame *frame, size_t at,
                   struct mqtt5_packet *out)
{
    struct mqtt5_frame whole;
    struct mqtt5_decode_limits limits;
    mqtt5_decode_limits_init(&limits);
    peer->taken.size = 0;
    bytes_add(&peer->taken, m5_bytes(peer->output.data + at, frame->size));
    bytes_cut(&peer->output, at, frame->size);
    assert_int_equal(
        mqtt5_frame_read(m5_bytes(peer->taken.data, peer->taken.size), UINT32_MAX, &whole),
        MQTT5_OK);
    assert_int_equal(mqtt5_packet_decode(&whole, peer->version, &limits, out), MQTT5_OK);
}

bool guest_take_type(struct engine_peer *peer, uint8_t type, struct mqtt5_packet *out)
{
    for (size_t at = 0; at < peer->output.size;) {
        struct mqtt5_frame frame;
        const struct mqtt5_bytes rest = m5_bytes(peer->output.data + at, peer->output.size - at);
        if (mqtt5_frame_read(rest, UINT32_MAX, &frame) == MQTT5_NEED_MORE)
            return false;
        if (type == 0 || frame.type == type) {
            decode(peer, &frame, at, out);
            return true;
        }
        at += frame.size;
    }
    return false;
}

bool guest_take(struct engine_peer *peer, struct mqtt5_packet *out)
{
    return guest_take_type(peer, 0, out);
}

/* ---- whole exchanges ---- */

static uint16_t next_id(struct engine_peer *peer)
{
    peer->packet_id = (uint16_t)(peer->packet_id % UINT16_MAX + 1);
    return peer->packet_id;
}

unsigned guest_subscribe(struct engine_peer *peer, const char *filter, uint8_t qos)
{
    const struct mqtt5_subscription_request item = {.filter = m5_bytes_of(filter), .qos = qos};
    struct mqtt5_packet packet = {.type = MQTT5_SUBSCRIBE};
    packet.as.subscribe =
        (struct mqtt5_subscribe){.packet_id = next_id(peer), .count = 1, .items = &item};
    guest_send_packet(peer, &packet);
    if (!guest_take_type(peer, MQTT5_SUBACK, &packet))
        return GUEST_OPEN;
    assert_int_equal(packet.as.suback.packet_id, peer->packet_id);
    assert_int_equal(packet.as.suback.reason_codes.len, 1);
    return packet.as.suback.reason_codes.data[0];
}

unsigned guest_unsubscribe(struct engine_peer *peer, const char *filter)
{
    const struct mqtt5_bytes item = m5_bytes_of(filter);
    struct mqtt5_packet packet = {.type = MQTT5_UNSUBSCRIBE};
    packet.as.unsubscribe =
        (struct mqtt5_unsubscribe){.packet_id = next_id(peer), .count = 1, .items = &item};
    guest_send_packet(peer, &packet);
    if (!guest_take_type(peer, MQTT5_UNSUBACK, &packet))
        return GUEST_OPEN;
    assert_int_equal(packet.as.suback.packet_id, peer->packet_id);
    return packet.as.suback.reason_codes.len == 1 ? packet.as.suback.reason_codes.data[0] : 0;
}

unsigned guest_say_publish(struct engine_peer *peer, const struct mqtt5_publish *publish)
{
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH, .as.publish = *publish};
    if (publish->qos > 0 && publish->packet_id == 0)
        packet.as.publish.packet_id = next_id(peer);
    const uint16_t packet_id = packet.as.publish.packet_id;
    guest_send_packet(peer, &packet);
    if (publish->qos == 0)
        return GUEST_OPEN;
    if (!guest_take_type(peer, publish->qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC, &packet))
        return GUEST_OPEN;
    assert_int_equal(packet.as.ack.packet_id, packet_id);
    const unsigned reason = packet.as.ack.reason_code;
    if (publish->qos == 2 && reason < 0x80) {
        guest_send_ack(peer, MQTT5_PUBREL, packet_id, 0);
        assert_true(guest_take_type(peer, MQTT5_PUBCOMP, &packet));
        assert_int_equal(packet.as.ack.packet_id, packet_id);
    }
    return reason;
}

unsigned guest_publish(struct engine_peer *peer, const char *topic, const char *payload,
                       uint8_t qos)
{
    const struct mqtt5_publish publish = {
        .qos = qos, .topic = m5_bytes_of(topic), .payload = m5_bytes_of(payload)};
    return guest_say_publish(peer, &publish);
}

unsigned guest_retain(struct engine_peer *peer, const char *topic, const char *payload, uint8_t qos)
{
    const struct mqtt5_publish publish = {
        .qos = qos, .retain = true, .topic = m5_bytes_of(topic), .payload = m5_bytes_of(payload)};
    return guest_say_publish(peer, &publish);
}

static void answer(struct engine_peer *peer, const struct mqtt5_packet *packet)
{
    if (packet->type == MQTT5_PUBREL)
        guest_send_ack(peer, MQTT5_PUBCOMP, packet->as.ack.packet_id, 0);
    if (packet->type == MQTT5_PUBLISH && packet->as.publish.qos > 0)
        guest_send_ack(peer, packet->as.publish.qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC,
                       packet->as.publish.packet_id, 0);
}

unsigned guest_drain(struct engine_peer *peer)
{
    unsigned count = 0;
    struct mqtt5_packet packet;
    while (guest_take(peer, &packet)) {
        count += packet.type == MQTT5_PUBLISH;
        answer(peer, &packet);
    }
    return count;
}

unsigned guests_drain(struct engine_peer *const *peers, uint32_t count, unsigned *counts)
{
    unsigned sum = 0, round = 0;
    for (uint32_t i = 0; counts != NULL && i < count; i++)
        counts[i] = 0;
    do {
        round = 0;
        for (uint32_t i = 0; i < count; i++) {
            const unsigned got = guest_drain(peers[i]);
            round += got;
            if (counts != NULL)
                counts[i] += got;
        }
        sum += round;
    } while (round > 0);
    return sum;
}

/* ---- what must have come ---- */

static void refuse(const struct mqtt5_packet *packet, const char *wanted, const char *file,
                   int line)
{
    print_error("%s:%d: %s %.*s '%.*s' came instead of %s\n", file, line,
                mqtt5_packet_type_text(packet->type),
                packet->type == MQTT5_PUBLISH ? (int)packet->as.publish.topic.len : 0,
                (const char *)packet->as.publish.topic.data,
                packet->type == MQTT5_PUBLISH ? (int)packet->as.publish.payload.len : 0,
                (const char *)packet->as.publish.payload.data, wanted);
    _fail(file, line);
}

uint16_t guest_assert_held(struct engine_peer *peer, const char *topic, const char *payload,
                           uint8_t qos, const char *file, int line)
{
    struct mqtt5_packet packet = {0};
    const struct mqtt5_publish *publish = &packet.as.publish;
    if (!guest_take(peer, &packet) || packet.type != MQTT5_PUBLISH || publish->qos != qos ||
        !m5_bytes_equal(publish->topic, m5_bytes_of(topic)) ||
        !m5_bytes_equal(publish->payload, m5_bytes_of(payload)))
        refuse(&packet, payload, file, line);
    return publish->packet_id;
}

void guest_assert_message(struct engine_peer *peer, const char *topic, const char *payload,
                          uint8_t qos, const char *file, int line)
{
    const uint16_t packet_id = guest_assert_held(peer, topic, payload, qos, file, line);
    struct mqtt5_packet packet;
    if (qos > 0)
        guest_send_ack(peer, qos == 1 ? MQTT5_PUBACK : MQTT5_PUBREC, packet_id, 0);
    if (qos < 2)
        return;
    assert_true(guest_take_type(peer, MQTT5_PUBREL, &packet));
    assert_int_equal(packet.as.ack.packet_id, packet_id);
    guest_send_ack(peer, MQTT5_PUBCOMP, packet_id, 0);
}

void guest_assert_quiet(struct engine_peer *peer, const char *file, int line)
{
    struct mqtt5_packet packet;
    if (guest_take(peer, &packet))
        refuse(&packet, "nothing", file, line);
    if (peer->closed) {
        print_error("%s:%d: the connection is closed\n", file, line);
        _fail(file, line);
    }
}
