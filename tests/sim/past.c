/* What sessions and wills were, turn by turn, to go back to after a crash.
 *
 * The disk has everything of the turns before the cut and nothing of those after it. What a CONNECT
 * does belongs to its turn exactly; what the end of a connection does may be sealed by that turn or
 * by the next one of its shard: when the cut is in between, the session is in doubt.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

#define HISTORY_MAX 64u /* older ones are surely behind every cut */

/* ---- noting ---- */

void sim_past_note(struct sim_world *world, struct sim_client *client, uint32_t shard, bool late)
{
    const struct sim_session *session = &client->session;
    struct sim_session_was was = {.first_turn = world->turn,
                                  .turn = late ? SIM_NEVER : world->turn,
                                  .shard = shard,
                                  .session = *session,
                                  .online = session->attached != NULL,
                                  .will = session->will};
    if (!world->profile.store)
        return;
    if (was.online && session->attached->terms.has_will) {
        was.will = session->attached->terms.will;
        was.will_delay_s = session->attached->terms.will_delay_s;
    }
    was.session.attached = NULL;
    if (client->history.count >= HISTORY_MAX)
        SIM_REMOVE(&client->history, 0);
    SIM_PUSH(&client->history, was);
}

void sim_past_sealed(struct sim_world *world, uint32_t shard)
{
    for (uint32_t i = 0; i < world->clients.count; i++) {
        struct sim_client *client = world->clients.items[i];
        for (uint32_t k = client->history.count; k-- > 0;) {
            struct sim_session_was *was = &client->history.items[k];
            if (was->turn != SIM_NEVER && was->first_turn < world->turn)
                break;
            if (was->turn == SIM_NEVER && was->shard == shard && was->first_turn < world->turn)
                was->turn = world->turn;
        }
    }
}

/* ---- wills ---- */

/* It may have been published, and that be lost, or be published yet. */
static void doubt_will(struct sim_world *world, struct sim_message *message)
{
    sim_session_will_doubt(world, (uint32_t)(message - world->messages.items));
    message->accepted_tick = SIM_NEVER;
}

/* A will that the broker does not have any more, or has published. */
static void leave_will(struct sim_world *world, struct sim_message *message,
                       const struct sim_cut *cut)
{
    bool untimely = message->will == SIM_WILL_ARMED || message->due_ms > world->store.crashed_ms;
    if (message->will != SIM_WILL_ARMED && message->will != SIM_WILL_PENDING)
        return;
    bool closed =
        message->will == SIM_WILL_ARMED && sim_session_closed_unseen(world, message->publisher);
    if (closed) {
        doubt_will(world, message);
    } else if (untimely) {
        message->will = SIM_WILL_CANCELLED;
    } else if (message->due_late_ms + SIM_LATENESS_MS >= cut->ms) {
        doubt_will(world, message);
    }
}

/* The connection has broken at the crash, for all that the broker knows: the delay is counted from
 * then, or from the restart. */
static void arm_will(struct sim_world *world, const struct sim_session_was *was)
{
    struct sim_message *message = sim_message_at(world, was->will);
    const struct sim_store *store = &world->store;
    uint32_t delay_s = was->will_delay_s;
    if (delay_s > was->session.expiry_s)
        delay_s = was->session.expiry_s;
    uint64_t lost_ms = was->lost_ms != 0 ? was->lost_ms : store->crashed_ms;
    uint64_t due_ms = sim_after_s(lost_ms, delay_s);
    bool was_due = message->will == SIM_WILL_PENDING && message->due_ms <= store->crashed_ms;
    if (message->will != SIM_WILL_PENDING) {
        message->first_fed_tick = world->tick;
        message->first_fed_ms = store->crashed_ms;
    }
    message->due_ms = was_due ? message->due_ms : due_ms;
    message->due_late_ms = sim_after_s(store->restarted_ms, delay_s);
    message->last_fed_ms = SIM_NEVER / 2;
    message->will = was_due ? SIM_WILL_UNSURE : SIM_WILL_PENDING;
    message->accepted_tick = message->superseded_tick = SIM_NEVER;
}

/* What the broker has found in the store. Returns the will that is pending now. */
static uint32_t return_will(struct sim_world *world, const struct sim_session_was *was,
                            const struct sim_cut *cut)
{
    if (was->will == SIM_NONE)
        return SIM_NONE;
    struct sim_message *message = sim_message_at(world, was->will);
    /* Published in a turn that is lost: what it retained may be stored all the same, since retained
     * messages may be ahead of the shards (broker/store.h). */
    if (message->retain && message->accepted_tick != SIM_NEVER)
        world->topics.items[message->topic].retained_unsure = true;
    if (was->online) {
        arm_will(world, was);
        return was->will;
    }
    if (message->due_late_ms + SIM_LATENESS_MS < cut->ms)
        return SIM_NONE; /* published, and known to be */
    message->will = SIM_WILL_PENDING;
    if (message->due_ms > world->store.crashed_ms) {
        if (message->due_late_ms < world->store.restarted_ms)
            message->due_late_ms = world->store.restarted_ms;
        return was->will;
    }
    doubt_will(world, message);
    return SIM_NONE;
}

static void return_wills(struct sim_world *world, struct sim_client *client,
                         const struct sim_session_was *was, const struct sim_cut *cut)
{
    struct sim_session *session = &client->session;
    uint32_t kept = was != NULL && session->exists ? was->will : SIM_NONE;
    session->will = kept != SIM_NONE ? return_will(world, was, cut) : SIM_NONE;
    for (uint32_t i = 0; i < world->messages.count; i++) {
        struct sim_message *message = sim_message_at(world, i);
        if (message->publisher != client || message->will == SIM_NOT_A_WILL || i == kept)
            continue;
        bool open = message->will == SIM_WILL_ARMED || message->will == SIM_WILL_PENDING;
        if (session->doubt && open)
            doubt_will(world, message);
        else
            leave_will(world, message, cut);
    }
    if (session->doubt && kept != SIM_NONE) {
        doubt_will(world, sim_message_at(world, kept));
        session->will = SIM_NONE;
    }
}

/* ---- sessions ---- */

static bool is_stored(const struct sim_session_was *was)
{
    return was->session.exists && was->session.expiry_s != 0;
}

/* The newest state that is surely in the store, or NULL; @p doubt is set when a newer one may be
 * that says something else. */
static const struct sim_session_was *state_at(const struct sim_client *client,
                                              const struct sim_cut *cut, bool *doubt)
{
    const struct sim_session_was *newer = NULL;
    for (uint32_t i = client->history.count; i-- > 0;) {
        const struct sim_session_was *was = &client->history.items[i];
        if (was->first_turn >= cut->turn)
            continue;
        if (was->turn >= cut->turn && cut->turn != SIM_NEVER) {
            newer = newer == NULL ? was : newer;
            continue;
        }
        *doubt = newer != NULL;
        return was;
    }
    *doubt = newer != NULL;
    return NULL;
}

/* What the store says stays what it was until the broker has stored what it made of it, which is
 * what the next turn stands for: who was connected, is not any more. */
static void restart_history(struct sim_world *world, struct sim_client *client,
                            const struct sim_session_was *was)
{
    struct sim_session_was first = {.will = SIM_NONE};
    if (was != NULL)
        first = *was;
    first.session.doubt = client->session.doubt;
    first.first_turn = first.turn = 0;
    if (first.online && first.lost_ms == 0)
        first.lost_ms = world->store.crashed_ms;
    client->history.count = 0;
    SIM_PUSH(&client->history, first);
    sim_past_note(world, client, SIM_NONE, true);
    if (client->history.count > 1)
        client->history.items[1].turn = world->turn + 1;
}

static void return_session(struct sim_world *world, struct sim_client *client,
                           const struct sim_cut *cut)
{
    const struct sim_store *store = &world->store;
    bool doubt;
    const struct sim_session_was *was = state_at(client, cut, &doubt);
    struct sim_session *session = &client->session;
    struct sim_epoch *before = session->epoch;
    bool exists = was != NULL && is_stored(was);
    doubt = exists && (doubt || was->session.doubt);
    *session = (struct sim_session){.exists = exists, .doubt = doubt, .will = SIM_NONE};
    if (was != NULL) {
        session->expiry_s = was->session.expiry_s;
        session->epoch = was->session.epoch;
        session->ended_ms = was->lost_ms != 0 ? was->lost_ms
                            : was->online     ? store->crashed_ms
                                              : was->session.ended_ms;
        session->ended_late_ms = was->online ? store->restarted_ms : was->session.ended_late_ms;
    }
    if (before != NULL && (!exists || before != session->epoch))
        sim_epoch_end(world, before);
    if (exists) {
        session->epoch->over = false;
        session->epoch->restarts++;
        session->epoch->last_packet_id = 0;
        session->epoch->packet_ids_skip = true;
    }
    return_wills(world, client, was, cut);
    restart_history(world, client, was);
}

void sim_past_return(struct sim_world *world, const struct sim_cut *cut)
{
    for (uint32_t i = 0; i < world->clients.count; i++)
        return_session(world, world->clients.items[i], cut);
}
