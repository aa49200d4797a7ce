/* The host: accepts, reads, writes, moves and closes connections as engine.h wants it, in turns of
 * the shards; keeps note of what the engine has read and written and when.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define VIEWS 8u

static const uint16_t latency_max_ms[] = {2, 20, 60};

static uint64_t arrival(struct sim_world *world)
{
    uint32_t most = world->final ? 1 : latency_max_ms[world->profile.faults];
    return world->now_ms + sim_below(world, most + 1);
}

void sim_counter_feed(struct sim_counter *counter, struct mqtt5_bytes bytes)
{
    for (size_t at = 0; at < bytes.len;) {
        if (counter->left > 0) {
            size_t part = bytes.len - at < counter->left ? bytes.len - at : counter->left;
            at += part;
            counter->left -= (uint32_t)part;
        } else if (counter->state == 0) {
            counter->type = bytes.data[at++] >> 4;
            counter->state = 1;
            counter->length = counter->shift = 0;
            continue;
        } else {
            uint8_t byte = bytes.data[at++];
            counter->length |= (uint32_t)(byte & 127) << counter->shift;
            counter->shift = (uint8_t)(counter->shift + 7);
            if (byte & 128)
                continue;
            counter->left = counter->length;
            counter->state = 2;
        }
        if (counter->state == 2 && counter->left == 0) {
            counter->packets++;
            counter->publishes += counter->type == MQTT5_PUBLISH;
            counter->state = 0;
        }
    }
}

/* ---- links ---- */

static void peer_name(const struct sim_link *link, char *out, size_t size)
{
    snprintf(out, size, "sim:%u", (unsigned)link->number);
}

struct sim_link *sim_link_open(struct sim_world *world, struct sim_client *client)
{
    struct sim_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        abort();
    link->world = world;
    link->client = client;
    link->number = world->link_numbers++;
    link->shard = sim_below(world, world->profile.shards);
    link->up.room = SIZE_MAX;
    bool narrow = world->profile.faults != SIM_FAULTS_NONE && sim_chance(world, 30);
    link->down.room = narrow && !client->monitor ? sim_between(world, 500, 5000) : 1u << 20;
    link->opened_ms = link->last_fed_ms = link->last_packet_ms = world->now_ms;
    link->server_notices_ms = link->client_notices_ms = SIM_NEVER;
    link->client_open = true;
    memset(link->aliases_in, 0xFF, sizeof link->aliases_in);
    memset(link->aliases_out, 0xFF, sizeof link->aliases_out);
    SIM_PUSH(&world->links, link);
    return link;
}

static void free_link(struct sim_link *link)
{
    sim_pipe_free(&link->up);
    sim_pipe_free(&link->down);
    free(link->carried.items);
    free(link->marks.items);
    free(link->input.items);
    free(link);
}

void sim_links_free(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->links.count; i++)
        free_link(world->links.items[i]);
    free(world->links.items);
}

void sim_links_sweep(struct sim_world *world)
{
    for (uint32_t i = world->links.count; i-- > 0;) {
        struct sim_link *link = world->links.items[i];
        if (link->client_open || link->conn != NULL || !link->opened || link->carrying ||
            link->client->link == link)
            continue;
        free_link(link);
        SIM_REMOVE(&world->links, i);
    }
}

void sim_link_break(struct sim_world *world, struct sim_link *link, uint64_t server_ms,
                    uint64_t client_ms)
{
    size_t up = sim_pipe_under_way(&link->up), down = sim_pipe_under_way(&link->down);
    sim_pipe_cut(&link->up, up > 0 ? (size_t)m5_rng_below(&world->rng, up + 1) : 0);
    sim_pipe_cut(&link->down, down > 0 ? (size_t)m5_rng_below(&world->rng, down + 1) : 0);
    link->server_notices_ms = server_ms;
    link->client_notices_ms = client_ms;
    sim_log(world, "link %llu of c%llu breaks; the broker notices at %llu", link->number,
            link->client->number, server_ms);
}

/* ---- what the engine has read ---- */

static void pass_pubrel(struct sim_world *world, struct sim_link *link, uint16_t packet_id)
{
    struct sim_client *client = link->client;
    for (uint32_t i = 0; i < client->flows.count; i++) {
        struct sim_message *message = sim_message_at(world, client->flows.items[i].message);
        if (client->flows.items[i].packet_id == packet_id && message->released_turn == SIM_NEVER)
            message->released_turn = world->turn;
    }
}

static void pass_pubrec(struct sim_world *world, struct sim_link *link, uint16_t packet_id)
{
    struct sim_client *client = link->client;
    for (uint32_t i = 0; i < client->held.count; i++) {
        struct sim_held *held = &client->held.items[i];
        if (held->packet_id == packet_id && held->recorded_turn == SIM_NEVER)
            held->recorded_turn = world->turn;
    }
}

static void pass_request(struct sim_world *world, struct sim_link *link, uint16_t packet_id)
{
    struct sim_client *client = link->client;
    for (uint32_t i = 0; i < client->requests.count && client->link == link; i++)
        if (client->requests.items[i].packet_id == packet_id)
            client->requests.items[i].fed_turn = world->turn;
}

static void pass_mark(struct sim_world *world, struct sim_link *link, const struct sim_mark *mark)
{
    link->last_packet_ms = world->now_ms;
    world->packets_fed++;
    switch (mark->type) {
    case SIM_MARK_PACKET: break;
    case SIM_MARK_CONNECT: link->connect_fed = true; break;
    case SIM_MARK_PUBLISH:
        world->publishes_fed++;
        sim_log(world, "the broker reads message %llu of c%llu", mark->message,
                link->client->number);
        sim_message_fed(world, mark->message);
        break;
    case SIM_MARK_PUBREL: pass_pubrel(world, link, mark->packet_id); break;
    case SIM_MARK_PUBREC: pass_pubrec(world, link, mark->packet_id); break;
    case SIM_MARK_REQUEST: pass_request(world, link, mark->packet_id); break;
    case SIM_MARK_DISCONNECT:
        if (mark->expiry_s != SIM_NONE - 1)
            link->expiry_s = mark->expiry_s;
        link->keep_will = mark->keep_will;
        sim_session_link_end(world, link, SIM_END_DISCONNECT);
        break;
    case SIM_MARK_GARBAGE: sim_session_link_end(world, link, SIM_END_GARBAGE); break;
    }
}

/* Packets that have been fed whole, but that the engine may not have read yet. */
static uint32_t unread_marks(const struct sim_link *link)
{
    uint32_t count = 0;
    for (uint32_t i = link->mark_first; i < link->marks.count; i++)
        count += link->marks.items[i].offset <= link->fed;
    return count;
}

/* The engine's own figure says how many it has read: it may hold some back until another shard has
 * answered, or until the peer reads. */
static uint64_t packets_read(const struct sim_world *world)
{
    struct m5_stats stats;
    m5_engine_stats(world->engine, &stats);
    return stats.packets_received;
}

static void pass_marks(struct sim_world *world, struct sim_link *link, uint64_t count)
{
    for (uint64_t i = 0; i < count && link->mark_first < link->marks.count; i++) {
        struct sim_mark mark = link->marks.items[link->mark_first++];
        pass_mark(world, link, &mark);
    }
}

static void pass_what_was_read(struct sim_world *world, struct sim_link *link, uint64_t count)
{
    uint32_t unread = unread_marks(link);
    if (!world->fog && (count > unread || (count < unread && m5_conn_reading(link->conn))))
        sim_fail(world,
                 "packets_received rose by %llu when the broker was to read %u packets of link %u",
                 (unsigned long long)count, (unsigned)unread, (unsigned)link->number);
    pass_marks(world, link, count);
}

/* ---- reading ---- */

static void feed(struct sim_world *world, struct sim_link *link, struct mqtt5_bytes bytes)
{
    if (sim_chance(world, 30)) {
        m5_conn_feed(link->conn, bytes);
        sim_pipe_take(&link->up, bytes.len);
        link->fed += bytes.len;
        return;
    }
    while (bytes.len > 0 && m5_conn_reading(link->conn)) {
        struct m5_span span = m5_conn_read_space(link->conn);
        size_t part = bytes.len < span.size ? bytes.len : span.size;
        if (part == 0) {
            sim_fail(world, "a connection that reads gives no space to read to");
            return;
        }
        memcpy(span.data, bytes.data, part);
        m5_conn_received(link->conn, part);
        sim_pipe_take(&link->up, part);
        link->fed += part;
        bytes = m5_bytes(bytes.data + part, bytes.len - part);
    }
}

/* ---- what the engine tells ---- */

static struct sim_link *link_of_peer(const struct sim_world *world, const struct m5_event *event)
{
    for (uint32_t i = 0; i < world->links.count; i++) {
        char peer[32];
        peer_name(world->links.items[i], peer, sizeof peer);
        if (m5_bytes_equal(m5_bytes_of(peer), m5_bytes(event->peer, event->peer_size)))
            return world->links.items[i];
    }
    return NULL;
}

/* A CONNECT counts from when the engine has accepted it, which it tells by an event at once; the
 * CONNACK may be held back. */
static void on_event(struct sim_world *world, uint32_t index, const struct m5_event *event)
{
    sim_log(world, "event %llu of shard %llu: reason %llu, error %llu", event->type, index,
            event->reason_code, event->error);
    if (event->type > M5_EVENT_LIMIT)
        sim_fail(world, "an event has the unknown type %d", (int)event->type);
    if (event->type != M5_EVENT_CLIENT_CONNECTED)
        return;
    struct sim_link *link = link_of_peer(world, event);
    if (link == NULL || link->accepted) {
        sim_fail(world, "an event says that somebody connected who did not");
        return;
    }
    link->keep_alive_s = event->keep_alive_s;
    link->last_fed_ms = link->last_packet_ms = world->now_ms;
    link->connected_turn = world->turn;
    sim_session_connected(world, link, event->session_present);
}

static void take_events(struct sim_world *world, uint32_t index)
{
    struct m5_event event;
    while (m5_shard_next_event(m5_engine_shard(world->engine, index), &event))
        on_event(world, index, &event);
}

static void read_link(struct sim_world *world, struct sim_link *link)
{
    if (!m5_conn_reading(link->conn))
        return;
    struct mqtt5_bytes ready = sim_pipe_ready(&link->up, world->now_ms);
    if (ready.len == 0)
        return;
    if (!link->connect_fed) {
        if (link->client->connect_turn == world->turn)
            return;
        link->client->connect_turn = world->turn;
    }
    bool splits = !world->final && world->profile.faults != SIM_FAULTS_NONE;
    if (splits && sim_chance(world, 50))
        ready.len = 1 + (size_t)m5_rng_below(&world->rng, ready.len);
    uint64_t before = link->fed, packets = packets_read(world);
    feed(world, link, ready);
    world->bytes_fed += link->fed - before;
    link->last_fed_ms = world->now_ms;
    if (link->connect_fed)
        pass_what_was_read(world, link, packets_read(world) - packets);
    else
        pass_marks(world, link, unread_marks(link));
    take_events(world, link->shard);
}

static bool holds_back(const struct sim_link *link, uint32_t shard)
{
    return link->shard == shard && link->conn != NULL && link->connect_fed &&
           unread_marks(link) > 0;
}

/* Passes up to @p count packets of the connections that are held back: of those that read again
 * (all of them have been read), or of the others. Returns how many are left. */
static uint64_t go_on(struct sim_world *world, uint32_t index, bool reading, uint64_t count)
{
    for (uint32_t i = 0; i < world->links.count; i++) {
        struct sim_link *link = world->links.items[i];
        if (!holds_back(link, index) || m5_conn_reading(link->conn) != reading)
            continue;
        uint64_t unread = unread_marks(link);
        uint64_t own = unread < count ? unread : count;
        pass_marks(world, link, own);
        count -= own;
    }
    return count;
}

static uint32_t held_back(const struct sim_world *world, uint32_t index)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->links.count; i++)
        count += holds_back(world->links.items[i], index);
    return count;
}

/* Time and mail have done their work: silent clients are gone, and connections that were held back
 * have gone on with @p count packets. When several still are held back it is not known whose they
 * were: all is taken for read, and from then on nothing is made of the count. */
static void after_begin(struct sim_world *world, uint32_t index, uint64_t count)
{
    world->resuming = true;
    count = go_on(world, index, true, count);
    world->fog = world->fog || (count > 0 && held_back(world, index) > 1);
    count = go_on(world, index, false, world->fog && count > 0 ? UINT64_MAX : count);
    world->resuming = false;
    if (count > 0 && !world->fog)
        sim_fail(world, "packets_received rose by %llu more than there was to read",
                 (unsigned long long)count);
    for (uint32_t i = 0; i < world->links.count; i++)
        if (world->links.items[i]->shard == index)
            sim_session_keep_alive(world, world->links.items[i]);
}

static void accept_link(struct sim_world *world, struct sim_link *link, struct m5_shard *shard)
{
    char peer[32];
    peer_name(link, peer, sizeof peer);
    link->opened = true;
    link->conn = m5_conn_open(shard, link, &(struct m5_conn_origin){.peer = m5_bytes_of(peer)});
    if (link->conn == NULL)
        sim_fail(world, "a connection was not accepted");
}

/* The connection arrives at the shard that its client id belongs to, with what had been read. */
static void take_over_link(struct sim_world *world, struct sim_link *link, struct m5_shard *shard)
{
    if (link->client->connect_turn == world->turn)
        return;
    link->client->connect_turn = world->turn;
    link->carrying = false;
    accept_link(world, link, shard);
    if (link->conn != NULL)
        m5_conn_refeed(link->conn, m5_bytes(link->carried.items, link->carried.count));
    take_events(world, link->shard);
}

static void lose_link(struct sim_world *world, struct sim_link *link)
{
    /* With a disk, answers may be held back for it. */
    if (m5_conn_want(link->conn) == M5_WANT_FLUSH || world->profile.store)
        world->output_lost = true;
    m5_conn_lost(link->conn);
    link->conn = NULL;
    sim_session_link_end(world, link, SIM_END_LOST);
}

static bool is_lost(const struct sim_world *world, struct sim_link *link)
{
    if (world->now_ms < link->server_notices_ms)
        return false;
    return sim_pipe_under_way(&link->up) == 0 || !m5_conn_reading(link->conn) ||
           world->now_ms > link->server_notices_ms + 2000;
}

/* ---- writing ---- */

static void read_connack(struct sim_world *world, struct sim_link *link,
                         const struct mqtt5_bytes *views, size_t count)
{
    uint8_t start[1024];
    size_t size = 0;
    for (size_t i = 0; i < count && size < sizeof start; i++) {
        size_t part = views[i].len < sizeof start - size ? views[i].len : sizeof start - size;
        memcpy(start + size, views[i].data, part);
        size += part;
    }
    struct mqtt5_frame frame;
    struct mqtt5_packet packet;
    struct mqtt5_decode_limits limits;
    mqtt5_decode_limits_init(&limits);
    link->connack_seen = true;
    if (mqtt5_frame_read(m5_bytes(start, size), sizeof start, &frame) != MQTT5_OK ||
        mqtt5_packet_decode(&frame, link->client->version, &limits, &packet) != MQTT5_OK ||
        packet.type != MQTT5_CONNACK) {
        sim_fail(world, "what comes first is no CONNACK [MQTT-3.2.0-1]");
        return;
    }
    const struct mqtt5_connack *connack = &packet.as.connack;
    bool present = connack->session_present;
    link->last_packet_ms = link->last_fed_ms =
        world->now_ms; /* the client may have waited for it */
    if (sim_lie(world, SIM_BREAK_SESSION_PRESENT))
        present = !present;
    sim_log(world, "link %llu of c%llu: CONNACK %llu, session present %llu", link->number,
            link->client->number, connack->reason_code, present);
    if (connack->reason_code != 0)
        sim_fail(world, "CONNECT of %s was refused with 0x%02x", link->client->id,
                 connack->reason_code);
    else if (!link->accepted || present != link->present)
        sim_fail(world, "CONNACK of %s says session present %d, its event said %d",
                 link->client->id, present, link->present);
}

/* The CONNACK is looked at as soon as the engine has written it, sent or not. */
static void look_for_connack(struct sim_world *world, struct sim_link *link)
{
    struct mqtt5_bytes views[VIEWS];
    if (link->conn == NULL || link->connack_seen || m5_conn_want(link->conn) != M5_WANT_FLUSH)
        return;
    size_t count = m5_conn_output(link->conn, views, VIEWS);
    read_connack(world, link, views, count);
}

/* Writes what the network takes; true when all is written. */
static bool write_views(struct sim_world *world, struct sim_link *link,
                        const struct mqtt5_bytes *views, size_t count)
{
    size_t written = 0, wanted = 0;
    uint64_t ready_ms = arrival(world);
    bool lazy = !world->final && world->profile.faults != SIM_FAULTS_NONE && sim_chance(world, 5);
    for (size_t i = 0; i < count && written == wanted; i++) {
        struct mqtt5_bytes view = views[i];
        wanted += view.len;
        if (lazy)
            view.len = (size_t)m5_rng_below(&world->rng, view.len + 1);
        size_t taken = sim_pipe_write(&link->down, view, ready_ms);
        sim_counter_feed(&link->out, m5_bytes(view.data, taken));
        written += taken;
    }
    world->bytes_taken += written;
    if (written > 0)
        m5_conn_sent(link->conn, written);
    return written == wanted;
}

static void flush(struct sim_world *world, struct sim_link *link)
{
    uint64_t packets = link->out.packets, publishes = link->out.publishes;
    link->blocked = false;
    while (!link->blocked && m5_conn_want(link->conn) == M5_WANT_FLUSH) {
        struct mqtt5_bytes views[VIEWS];
        size_t count = m5_conn_output(link->conn, views, sim_between(world, 1, VIEWS));
        if (count == 0) {
            sim_fail(world, "a connection wants to write, but has nothing to write");
            break;
        }
        link->blocked = !write_views(world, link, views, count);
    }
    world->packets_taken += link->out.packets - packets;
    world->publishes_taken += link->out.publishes - publishes;
}

/* ---- what a connection wants ---- */

/* To say no to a message is not possible in 3.1.1: while commits fail the broker closes instead. */
static bool refused(const struct sim_world *world, const struct sim_link *link)
{
    return link->client->version != MQTT5_VERSION_5 &&
           sim_store_failed_since(world, link->last_fed_ms - 1);
}

static bool may_be_closed(const struct sim_world *world, const struct sim_link *link)
{
    if (link->end != SIM_ALIVE || world->ending)
        return true;
    if (!link->accepted)
        return world->now_ms >= link->opened_ms + world->config.connect_timeout_ms;
    if (refused(world, link))
        return true;
    return link->keep_alive_s != 0 &&
           world->now_ms >= link->last_packet_ms + (uint64_t)link->keep_alive_s * 1500;
}

static void complain_of_close(struct sim_world *world, const struct sim_link *link)
{
    struct m5_stats stats;
    char counted[400] = "";
    size_t at = 0;
    m5_engine_stats(world->engine, &stats);
#define X(name)                                                                      \
    if (stats.name != 0 && at < sizeof counted &&                                    \
        (strncmp(#name, "limit", 5) == 0 || strncmp(#name, "errors", 6) == 0))       \
        at += (size_t)snprintf(counted + at, sizeof counted - at, " %s %llu", #name, \
                               (unsigned long long)stats.name);
    M5_STATS_TABLE(X)
#undef X
    sim_fail(world,
             "the broker closed a connection (link %u of %s, version %u) that did nothing "
             "wrong; counted are:%s",
             (unsigned)link->number, link->client->id, link->client->version, counted);
}

static void close_link(struct sim_world *world, struct sim_link *link)
{
    if (!may_be_closed(world, link) || sim_lie(world, SIM_BREAK_CLOSE))
        complain_of_close(world, link);
    world->output_lost |= world->profile.store || link->blocked;
    m5_conn_free(link->conn);
    link->conn = NULL;
    link->down_ended = true;
    if (link->end == SIM_ALIVE && link->accepted && link->terms.has_will && refused(world, link))
        sim_session_will_doubt(world, link->terms.will);
    bool silent = link->keep_alive_s != 0 && !world->ending;
    sim_session_link_end(world, link, silent ? SIM_END_KEEP_ALIVE : SIM_END_CLOSED);
}

static void carry_link(struct sim_world *world, struct sim_link *link)
{
    uint32_t target = m5_conn_target(link->conn);
    struct mqtt5_bytes unread = m5_conn_unread(link->conn);
    if (target >= world->profile.shards || target == link->shard || link->accepted) {
        sim_fail(world, "link %u is to move from shard %u to shard %u", (unsigned)link->number,
                 (unsigned)link->shard, (unsigned)target);
        return;
    }
    sim_log(world, "link %llu moves from shard %llu to %llu", link->number, link->shard, target);
    sim_append(&link->carried, unread);
    m5_conn_free(link->conn);
    link->conn = NULL;
    link->carrying = true;
    link->shard = target;
    link->carried_until_ms = world->now_ms + sim_below(world, 5);
}

static void serve(struct sim_world *world, struct sim_link *link)
{
    for (;;) {
        switch (m5_conn_want(link->conn)) {
        case M5_WANT_NOTHING: return;
        case M5_WANT_CLOSE: close_link(world, link); return;
        case M5_WANT_MOVE: carry_link(world, link); return;
        case M5_WANT_FLUSH:
            flush(world, link);
            if (link->blocked || world->failed)
                return;
        }
    }
}

/* ---- turns ---- */

static void input_of(struct sim_world *world, struct sim_link *link, struct m5_shard *shard)
{
    if (!link->opened) {
        accept_link(world, link, shard);
    } else if (link->carrying) {
        if (world->now_ms >= link->server_notices_ms)
            link->carrying = false; /* the peer has gone meanwhile */
        else if (world->now_ms >= link->carried_until_ms)
            take_over_link(world, link, shard);
    }
    if (link->conn == NULL)
        return;
    if (is_lost(world, link)) {
        lose_link(world, link);
        return;
    }
    read_link(world, link);
}

static void output_of(struct sim_world *world, uint32_t index)
{
    for (uint32_t i = 0; i < world->links.count; i++)
        if (world->links.items[i]->shard == index)
            look_for_connack(world, world->links.items[i]);
    for (uint32_t i = 0; i < world->links.count && !world->failed; i++) {
        struct sim_link *link = world->links.items[i];
        if (link->shard == index && link->conn != NULL && link->blocked)
            serve(world, link);
    }
}

static void after_turn(struct sim_world *world, uint32_t index, struct m5_shard *shard)
{
    take_events(world, index);
    for (uint32_t i = 0; i < world->links.count; i++)
        if (world->links.items[i]->shard == index)
            sim_session_keep_alive(world, world->links.items[i]);
    m5_shard_check(shard);
    bool late = m5_shard_deadline(shard) <= world->now_ms + world->store.clock_ms;
    world->late_turns[index] = late ? world->late_turns[index] + 1 : 0;
    if (world->late_turns[index] > 200)
        sim_fail(world, "shard %u has a deadline in the past for 200 turns", (unsigned)index);
}

static void turn(struct sim_world *world, uint32_t index)
{
    struct m5_shard *shard = m5_engine_shard(world->engine, index);
    uint64_t packets = packets_read(world);
    m5_shard_begin(shard, world->now_ms + world->store.clock_ms);
    sim_store_hand_back(world, index);
    after_begin(world, index, packets_read(world) - packets);
    if ((world->shutting_down >> index & 1) != 0)
        m5_shard_shutdown(shard);
    world->shutting_down &= ~(1u << index);
    uint32_t from = world->links.count > 0 ? sim_below(world, world->links.count) : 0;
    for (uint32_t i = 0; i < world->links.count && !world->failed; i++) {
        struct sim_link *link = world->links.items[(from + i) % world->links.count];
        if (link->shard == index)
            input_of(world, link, shard);
    }
    sim_store_seal(world, index);
    m5_shard_end(shard);
    output_of(world, index);
    struct m5_conn *conn;
    while ((conn = m5_shard_next_dirty(shard)) != NULL && !world->failed)
        serve(world, m5_conn_host(conn));
    after_turn(world, index, shard);
    world->turn++;
}

void sim_server_turns(struct sim_world *world)
{
    uint32_t from = sim_below(world, world->profile.shards);
    for (uint32_t i = 0; i < world->profile.shards && !world->failed; i++) {
        uint32_t index = (from + i) % world->profile.shards;
        if (world->now_ms < world->shard_rests_until_ms[index])
            continue;
        turn(world, index);
        if (!world->final && world->profile.faults != SIM_FAULTS_NONE && sim_chance(world, 10))
            world->shard_rests_until_ms[index] = world->now_ms + sim_below(world, SIM_SLACK_MS);
    }
    sim_session_wills_due(world);
}

bool sim_server_busy(const struct sim_world *world)
{
    for (uint32_t i = 0; i < world->links.count; i++) {
        const struct sim_link *link = world->links.items[i];
        if (!link->opened || link->carrying || link->blocked)
            return true;
        if (link->conn != NULL && sim_pipe_under_way(&link->up) > 0)
            return true;
        if (link->client_open && sim_pipe_under_way(&link->down) > 0)
            return true;
    }
    return false;
}
