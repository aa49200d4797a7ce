/* What the broker must know of each client id: whether there is a session, until when, and what
 * becomes of its will. Everything is decided from what the engine has read and when.
 *
 * A will is ARMED while its connection lives. When that ends other than by DISCONNECT it is PENDING
 * until due: the delay, or the session's end if that is earlier [MQTT-3.1.2-8] [MQTT-3.1.3-9]. A
 * connection that resumes the session before then cancels it; one that starts afresh ends the
 * session, which makes it due at once. Nothing more happens to it here: judge.c sees it come.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

#include <string.h>

uint64_t sim_after_s(uint64_t from_ms, uint32_t seconds)
{
    return seconds == UINT32_MAX ? SIM_NEVER : from_ms + (uint64_t)seconds * 1000;
}

/* ---- wills ---- */

static void cancel_will(struct sim_world *world, uint32_t will)
{
    struct sim_message *message = sim_message_at(world, will);
    bool close = world->now_ms + SIM_SLACK_MS >= message->due_ms;
    if (message->will == SIM_WILL_UNSURE)
        return;
    message->will = close ? SIM_WILL_UNSURE : SIM_WILL_CANCELLED;
    if (close)
        world->topics.items[message->topic].retained_unsure = true;
    sim_log(world, "will %llu is cancelled", will);
}

static void await_will(struct sim_world *world, uint32_t will, uint64_t due_ms)
{
    struct sim_message *message = sim_message_at(world, will);
    if (message->will != SIM_WILL_UNSURE || message->first_fed_tick == SIM_NEVER) {
        message->first_fed_tick = world->tick; /* else it may have been published before */
        message->first_fed_ms = world->now_ms;
    }
    if (message->will != SIM_WILL_UNSURE)
        message->will = SIM_WILL_PENDING;
    message->due_ms = message->due_late_ms = due_ms;
    message->last_fed_ms = SIM_NEVER / 2;
    sim_log(world, "will %llu is due at %llu", will, due_ms);
}

/* A will whose time has come counts as accepted, and its retained message as stored. */
static void publish_will(struct sim_world *world, uint32_t will)
{
    struct sim_message *message = sim_message_at(world, will);
    sim_log(world, "will %llu is published", will);
    if (message->will == SIM_WILL_UNSURE) {
        world->topics.items[message->topic].retained_unsure |= message->retain;
        return;
    }
    message->accepted_tick = world->tick;
    message->transmissions = 1;
    if (message->retain)
        sim_message_retained(world, will, false);
}

void sim_session_wills_due(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->clients.count; i++) {
        struct sim_session *session = &world->clients.items[i]->session;
        if (session->will == SIM_NONE ||
            world->now_ms < sim_message_at(world, session->will)->due_late_ms)
            continue;
        publish_will(world, session->will);
        session->will = SIM_NONE;
    }
}

void sim_session_will_doubt(struct sim_world *world, uint32_t index)
{
    struct sim_message *message = sim_message_at(world, index);
    message->will = SIM_WILL_UNSURE;
    message->superseded_tick = SIM_NEVER;
    message->last_fed_ms = SIM_NEVER / 2;
    if (message->first_fed_tick == SIM_NEVER)
        message->first_fed_tick = 0; /* some time ago */
    world->topics.items[message->topic].retained_unsure |= message->retain;
}

bool sim_session_closed_unseen(const struct sim_world *world, const struct sim_client *client)
{
    return client->version != MQTT5_VERSION_5 && sim_store_failed_lately(world);
}

void sim_session_will_seen(struct sim_world *world, uint32_t index)
{
    struct sim_message *message = sim_message_at(world, index);
    enum sim_will_state state = message->will;
    if (state == SIM_WILL_PENDING && sim_lie(world, SIM_BREAK_WILL_CANCELLED))
        state = SIM_WILL_CANCELLED;
    if (state == SIM_WILL_PENDING && sim_lie(world, SIM_BREAK_WILL_EARLY))
        message->due_ms = world->now_ms + 1;
    if (state == SIM_WILL_ARMED && sim_session_closed_unseen(world, message->publisher)) {
        sim_session_will_doubt(world, index);
        return;
    }
    if (state == SIM_WILL_ARMED)
        sim_fail(world, "will %u of %s came before it was due: its connection lives",
                 (unsigned)index, message->publisher->id);
    if (state == SIM_WILL_PENDING && world->now_ms < message->due_ms)
        sim_fail(world, "will %u came at %llu before it was due at %llu [MQTT-3.1.3-9]",
                 (unsigned)index, (unsigned long long)world->now_ms,
                 (unsigned long long)message->due_ms);
    if (state == SIM_WILL_CANCELLED)
        sim_fail(world, "will %u came: a will that was cancelled [MQTT-3.1.2-10]", (unsigned)index);
}

/* ---- the end of a connection, as the engine sees it ---- */

static bool keeps_will(const struct sim_link *link, enum sim_end end)
{
    return end != SIM_END_DISCONNECT || link->keep_will;
}

static void end_session(struct sim_world *world, struct sim_session *session)
{
    session->exists = false;
    sim_epoch_end(world, session->epoch);
}

void sim_session_link_end(struct sim_world *world, struct sim_link *link, enum sim_end end)
{
    if (link->end != SIM_ALIVE)
        return;
    link->end = end;
    link->end_ms = world->now_ms;
    sim_log(world, "link %llu of c%llu ends, cause %llu", link->number, link->client->number, end);
    if (!link->accepted)
        return;
    sim_group_left(world, link->client);
    struct sim_session *session = &link->client->session;
    bool attached = session->attached == link;
    uint64_t session_end_ms = sim_after_s(world->now_ms, link->expiry_s);
    if (link->terms.has_will) {
        uint64_t due_ms = sim_after_s(world->now_ms, link->terms.will_delay_s);
        if (!keeps_will(link, end))
            sim_message_at(world, link->terms.will)->will = SIM_WILL_CANCELLED;
        else
            await_will(world, link->terms.will, due_ms < session_end_ms ? due_ms : session_end_ms);
        if (keeps_will(link, end))
            session->will = link->terms.will;
    }
    if (!attached) {
        sim_epoch_end(world, link->epoch);
        return;
    }
    session->attached = NULL;
    session->ended_ms = session->ended_late_ms = world->now_ms;
    session->expiry_s = link->expiry_s;
    if (link->expiry_s == 0)
        end_session(world, session);
    sim_past_note(world, link->client, link->shard, true);
}

/* ---- CONNECT, as soon as the engine has accepted it ---- */

/* What "session present" must be: 0, 1, or 2 when it is too close to call. */
static unsigned expected_presence(const struct sim_world *world, const struct sim_link *link,
                                  const struct sim_session *session)
{
    if (link->terms.clean || link->terms.anonymous || !session->exists)
        return 0;
    uint64_t end_ms = sim_after_s(session->ended_ms, session->expiry_s);
    uint64_t late_ms = sim_after_s(session->ended_late_ms, session->expiry_s);
    if (session->doubt)
        return 2;
    if (end_ms == SIM_NEVER || world->now_ms + SIM_SLACK_MS < end_ms)
        return 1;
    return world->now_ms > late_ms + SIM_LATENESS_MS ? 0 : 2;
}

static void settle_pending_will(struct sim_world *world, struct sim_session *session, bool resumed)
{
    uint32_t will = session->will;
    session->will = SIM_NONE;
    if (will == SIM_NONE)
        return;
    struct sim_message *message = sim_message_at(world, will);
    bool vague = message->due_late_ms > message->due_ms &&
                 world->now_ms + SIM_SLACK_MS >= message->due_ms &&
                 world->now_ms < message->due_late_ms + SIM_LATENESS_MS;
    if (resumed && vague) {
        sim_session_will_doubt(world, will);
        return;
    }
    if (resumed && world->now_ms < message->due_ms) {
        cancel_will(world, will);
        return;
    }
    if (world->now_ms < message->due_ms)
        message->due_ms = world->now_ms;
    message->due_late_ms = world->now_ms;
    publish_will(world, will);
}

static void attach(struct sim_world *world, struct sim_link *link, bool resumed)
{
    struct sim_session *session = &link->client->session;
    if (!resumed) {
        end_session(world, session);
        session->epoch = sim_epoch_new(world, link->client);
    } else if (session->expiry_s == 0 && link->expiry_s != 0) {
        session->epoch->late = true;
    }
    session->exists = true;
    session->doubt = false;
    session->attached = link;
    session->expiry_s = link->expiry_s;
    link->epoch = session->epoch;
    link->restarts = session->epoch->restarts;
    link->epoch->connections++;
}

void sim_session_connected(struct sim_world *world, struct sim_link *link, bool present)
{
    struct sim_client *client = link->client;
    struct sim_session *session = &client->session;
    sim_log(world, "link %llu of c%llu is accepted, session present %llu", link->number,
            client->number, present);
    link->accepted = true;
    link->present = present;
    link->expiry_s = link->terms.expiry_s;
    if (link->terms.has_will)
        sim_message_at(world, link->terms.will)->will = SIM_WILL_ARMED;
    if (link->terms.anonymous) {
        link->epoch = sim_epoch_new(world, client);
        link->epoch->connections = 1;
        if (present)
            sim_fail(world, "session present for an assigned client id");
        return;
    }
    if (session->attached != NULL) {
        sim_session_link_end(world, session->attached, SIM_END_TAKEN_OVER);
        session->ended_ms = session->ended_late_ms = world->now_ms;
    }
    unsigned expected = expected_presence(world, link, session);
    if (expected == 1 && session->epoch->restarts > 0 && sim_lie(world, SIM_BREAK_LOST_SESSION))
        expected = 0;
    if (expected != 2 && present != (expected == 1)) {
        sim_fail(world, "session present is %d for %s, expected was %u [MQTT-3.2.2-2]", present,
                 client->id, expected);
        return;
    }
    settle_pending_will(world, session, present);
    attach(world, link, present);
    sim_past_note(world, client, link->shard, false);
}

void sim_session_adopt(struct sim_world *world, struct sim_link *link)
{
    struct sim_session *session = &link->client->session;
    (void)world;
    if (link->end != SIM_ALIVE)
        return;
    *session = (struct sim_session){.exists = true,
                                    .attached = link,
                                    .expiry_s = link->expiry_s,
                                    .will = SIM_NONE,
                                    .epoch = link->epoch};
}

/* ---- keep-alive ---- */

/* After a turn of the link's shard: a silent client must be gone by now [MQTT-3.1.2-22]. */
void sim_session_keep_alive(struct sim_world *world, struct sim_link *link)
{
    if (link->conn == NULL || !link->accepted || link->end != SIM_ALIVE || link->keep_alive_s == 0)
        return;
    if (!link->connack_seen) /* the client waits for it */
        link->last_packet_ms = link->last_fed_ms = world->now_ms;
    if (sim_lie(world, SIM_BREAK_KEEP_ALIVE))
        link->last_packet_ms = link->last_fed_ms = 0;
    uint64_t allowed_ms = (uint64_t)link->keep_alive_s * 1500;
    uint64_t silent_ms = world->now_ms - link->last_packet_ms;
    if (silent_ms < allowed_ms)
        return;
    if (!m5_conn_reading(link->conn)) {
        sim_session_link_end(world, link, SIM_END_KEEP_ALIVE);
        return;
    }
    uint64_t heard_ms = world->now_ms - link->last_fed_ms;
    if (heard_ms > allowed_ms + SIM_LATENESS_MS)
        sim_fail(world,
                 "the keep-alive of link %u of %s is %u s, but after %u ms of silence its "
                 "connection is still open [MQTT-3.1.2-22]",
                 (unsigned)link->number, link->client->id, link->keep_alive_s, (unsigned)heard_ms);
}
