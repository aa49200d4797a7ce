/* Was this delivery right, and did everything arrive? Whatever is too close to call, because two
 * things were under way at the same time, is allowed; everything else is not.
 *
 * A subscription *may* have caused a delivery when it had been asked for and its end was not yet
 * confirmed; it *must* cause one when it was confirmed before the engine read the message and its
 * end has not been asked for since.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

#include <string.h>

struct verdict {
    bool may, must;
    bool as_published;     /* some subscription may show the publisher's retain flag */
    uint32_t replays;      /* requests that may have sent the retained message */
    int may_qos, must_qos; /* highest, -1: none */
    uint32_t may_ids[64], must_ids[64];
    uint32_t may_id_count, must_id_count;
};

static bool is_own(const struct sim_epoch *epoch, const struct sim_subscription *subscription,
                   const struct sim_message *message)
{
    return subscription->no_local && message->publisher == epoch->client;
}

static bool may_be_live(const struct sim_subscription *subscription,
                        const struct sim_message *message)
{
    /* What a member of a shared group hands back may go to one who came later. */
    bool in_time = subscription->home != SIM_NONE ||
                   subscription->requested_ms <= message->last_fed_ms + SIM_MAIL_MS;
    return in_time && subscription->end_confirmed_tick > message->first_fed_tick;
}

static bool may_be_replay(const struct sim_subscription *subscription,
                          const struct sim_message *message)
{
    return message->retain && subscription->home == SIM_NONE &&
           subscription->retain_handling != MQTT5_RETAIN_DO_NOT_SEND &&
           message->superseded_tick > subscription->requested_tick;
}

static bool must_be_live(const struct sim_subscription *subscription,
                         const struct sim_message *message)
{
    return subscription->confirmed_tick < message->first_fed_tick &&
           subscription->end_requested_tick == SIM_NEVER;
}

static void note_may(struct verdict *verdict, const struct sim_subscription *subscription)
{
    verdict->may = true;
    if (subscription->qos > verdict->may_qos)
        verdict->may_qos = subscription->qos;
    if (subscription->id != 0 && verdict->may_id_count < 64)
        verdict->may_ids[verdict->may_id_count++] = subscription->id;
}

static void note_must(struct verdict *verdict, const struct sim_subscription *subscription)
{
    verdict->must = true;
    if (subscription->qos > verdict->must_qos)
        verdict->must_qos = subscription->qos;
    if (subscription->id != 0 && verdict->must_id_count < 64)
        verdict->must_ids[verdict->must_id_count++] = subscription->id;
}

static struct verdict verdict_of(struct sim_world *world, struct sim_epoch *epoch,
                                 const struct sim_message *message)
{
    struct verdict verdict = {.may_qos = -1, .must_qos = -1};
    bool will = message->will != SIM_NOT_A_WILL;
    for (uint32_t i = 0; i < epoch->subscriptions.count; i++) {
        struct sim_subscription *subscription = &epoch->subscriptions.items[i];
        if (!sim_subscription_matches(world, subscription, message->topic))
            continue;
        bool own = is_own(epoch, subscription, message);
        bool replay = may_be_replay(subscription, message) && (!own || will);
        bool live = may_be_live(subscription, message) && (!own || will);
        if (replay)
            verdict.replays++;
        if (live && subscription->retain_as_published)
            verdict.as_published = true;
        if (live || replay)
            note_may(&verdict, subscription);
        if (!own && must_be_live(subscription, message))
            note_must(&verdict, subscription);
    }
    return verdict;
}

static bool contains(const uint32_t *items, uint32_t count, uint32_t item)
{
    for (uint32_t i = 0; i < count; i++)
        if (items[i] == item)
            return true;
    return false;
}

static void check_ids(struct sim_world *world, const struct sim_epoch *epoch, uint32_t index,
                      const struct verdict *verdict, const struct sim_receipt *receipt)
{
    for (uint32_t i = 0; i < receipt->id_count; i++)
        if (!contains(verdict->may_ids, verdict->may_id_count, receipt->ids[i]))
            sim_fail(world,
                     "message %u came to %s with subscription identifier %u, which none "
                     "of its matching subscriptions has [MQTT-3.3.4-4]",
                     (unsigned)index, epoch->client->id, (unsigned)receipt->ids[i]);
    if (sim_message_at(world, index)->retain)
        return;
    for (uint32_t i = 0; i < verdict->must_id_count; i++)
        if (!contains(receipt->ids, receipt->id_count, verdict->must_ids[i]))
            sim_fail(world,
                     "message %u came to %s without the subscription identifier %u of a "
                     "matching subscription [MQTT-3.3.4-4]",
                     (unsigned)index, epoch->client->id, (unsigned)verdict->must_ids[i]);
}

static int lower(int a, int b)
{
    return a < b ? a : b;
}

static void check_qos(struct sim_world *world, const struct sim_epoch *epoch, uint32_t index,
                      const struct verdict *verdict, const struct sim_receipt *receipt)
{
    const struct sim_message *message = sim_message_at(world, index);
    int highest = lower(message->qos, verdict->may_qos);
    int lowest = message->retain ? 0 : lower(message->qos, verdict->must_qos);
    if (receipt->qos > highest || receipt->qos < lowest)
        sim_fail(world,
                 "message %u, published at QoS %u, came to %s at the wrong QoS %u: allowed "
                 "are %d to %d [MQTT-3.3.4-2]",
                 (unsigned)index, message->qos, epoch->client->id, receipt->qos,
                 lowest < 0 ? 0 : lowest, highest);
}

static void check_retain(struct sim_world *world, const struct sim_epoch *epoch, uint32_t index,
                         const struct verdict *verdict, const struct sim_receipt *receipt)
{
    const struct sim_message *message = sim_message_at(world, index);
    if (receipt->retain && !(message->retain && (verdict->replays > 0 || verdict->as_published)))
        sim_fail(world,
                 "message %u came to %s with the retain flag, which it must not have "
                 "[MQTT-3.3.1-12]",
                 (unsigned)index, epoch->client->id);
}

static void check_expiry(struct sim_world *world, const struct sim_link *link, uint32_t index,
                         const struct sim_receipt *receipt)
{
    const struct sim_message *message = sim_message_at(world, index);
    if (link->client->version < MQTT5_VERSION_5)
        return;
    if (receipt->has_expiry != (message->expiry_s != 0)) {
        sim_fail(world, "message %u came to %s %s an expiry interval", (unsigned)index,
                 link->client->id, receipt->has_expiry ? "with" : "without");
        return;
    }
    if (!receipt->has_expiry || message->retain || message->will != SIM_NOT_A_WILL)
        return;
    uint64_t held_ms =
        link->opened_ms > message->last_fed_ms ? link->opened_ms - message->last_fed_ms : 0;
    if (receipt->expiry_s > message->expiry_s ||
        (receipt->expiry_s > 1 && receipt->expiry_s - 1 + held_ms / 1000 > message->expiry_s))
        sim_fail(world,
                 "message %u came to %s with %u s left to live of %u although the broker "
                 "held it for %u ms [MQTT-3.3.2-6]",
                 (unsigned)index, link->client->id, (unsigned)receipt->expiry_s,
                 (unsigned)message->expiry_s, (unsigned)held_ms);
    if (!receipt->dup && held_ms > message->expiry_s * 1000 + SIM_LATENESS_MS)
        sim_fail(world, "message %u came to %s although it had expired [MQTT-3.3.2-5]",
                 (unsigned)index, link->client->id);
}

static struct sim_copies *copies_of(struct sim_epoch *epoch, uint32_t index)
{
    while (epoch->copies.count <= index)
        SIM_PUSH(&epoch->copies, (struct sim_copies){0});
    return &epoch->copies.items[index];
}

/* A member of a shared group has gone since the message was read, and may have handed it back: then
 * it may come again, even to the same client; but never at QoS 2 [MQTT-4.8.2-5]. */
static bool may_be_handed_back(const struct sim_world *world, const struct sim_epoch *epoch,
                               const struct sim_message *message, const struct sim_receipt *receipt)
{
    return world->topics.items[message->topic].family == SIM_SHARED &&
           epoch->client->home != SIM_NONE && receipt->qos < 2 &&
           (world->groups[epoch->client->home].left_tick > message->first_fed_tick ||
            sim_store_failed_lately(world)); /* then it may have been closed, unseen as yet */
}

/* How much more often it may come because of crashes. What was not stored when it came is sent
 * again, by its publisher or from a session that does not know that it was: but not at QoS 2, where
 * nothing comes before it is stored. */
static uint32_t after_crash(const struct sim_world *world, const struct sim_epoch *epoch,
                            const struct sim_message *message, const struct sim_receipt *receipt)
{
    bool memory = world->topics.items[message->topic].durability == MQTT5_DURABILITY_MEMORY;
    if (epoch->restarts == 0 || (receipt->qos == 2 && !memory))
        return 0;
    return epoch->restarts + message->transmissions;
}

static void check_count(struct sim_world *world, struct sim_epoch *epoch, uint32_t index,
                        const struct verdict *verdict, const struct sim_receipt *receipt)
{
    const struct sim_message *message = sim_message_at(world, index);
    struct sim_copies *copies = copies_of(epoch, index);
    if (receipt->dup)
        copies->again++;
    else
        copies->fresh++;
    if (receipt->dup && receipt->qos == 2)
        copies->first_again++;
    bool once = message->qos == 2 || message->will != SIM_NOT_A_WILL;
    uint32_t allowed = (once ? 1 : message->transmissions) + verdict->replays;
    allowed += after_crash(world, epoch, message, receipt);
    if (receipt->qos == 2)
        copies->twos++;
    uint32_t seen = copies->fresh + copies->first_again;
    if (epoch->restarts > 0 && receipt->qos == 2)
        seen = copies->twos;
    if (seen > allowed && !may_be_handed_back(world, epoch, message, receipt))
        sim_fail(world,
                 "message %u (QoS %u) came to %s more often than it may: %u times, at QoS "
                 "%u, published %u times, replayed for %u subscriptions",
                 (unsigned)index, message->qos, epoch->client->id, (unsigned)seen, receipt->qos,
                 (unsigned)message->transmissions, (unsigned)verdict->replays);
}

/* Discarded, since the queue was full, or when its turn came, as too large or expired; after a
 * crash it may be there again: it may have been sent then, for all that the broker knows, or an
 * alias may stand for its topic. */
static bool may_return(const struct sim_world *world, const struct sim_epoch *epoch,
                       const struct sim_message *message)
{
    return epoch->restarts > 0 && (world->profile.small_limits || message->expiry_s != 0 ||
                                   !sim_message_fits(epoch->client, message));
}

/* First deliveries only; not where messages may rightly overtake: retained ones that are replayed,
 * wills, shared subscriptions, what the publisher had to send again, and what was discarded. */
static void check_order(struct sim_world *world, struct sim_epoch *epoch, uint32_t index,
                        const struct sim_receipt *receipt)
{
    const struct sim_message *message = sim_message_at(world, index);
    const struct sim_copies *copies = copies_of(epoch, index);
    if (copies->fresh + copies->again != 1 || message->retain || message->transmissions > 1 ||
        message->will != SIM_NOT_A_WILL ||
        world->topics.items[message->topic].family == SIM_SHARED ||
        may_return(world, epoch, message))
        return;
    uint32_t place = message->stream * 3 + receipt->qos;
    while (epoch->last_sequence.count <= place)
        SIM_PUSH(&epoch->last_sequence, 0);
    if (message->sequence < epoch->last_sequence.items[place])
        sim_fail(world,
                 "message %u (number %u of %s to %s at QoS %u) came to %s out of order, "
                 "after number %u [MQTT-4.6.0-5]",
                 (unsigned)index, (unsigned)message->sequence, message->publisher->id,
                 world->topics.items[message->topic].name, message->qos, epoch->client->id,
                 (unsigned)epoch->last_sequence.items[place]);
    epoch->last_sequence.items[place] = message->sequence;
}

static void check_group(struct sim_world *world, const struct sim_epoch *epoch, uint32_t index,
                        const struct sim_receipt *receipt)
{
    struct sim_message *message = sim_message_at(world, index);
    uint32_t home = epoch->client->home;
    if (world->topics.items[message->topic].family != SIM_SHARED || epoch->client->monitor)
        return;
    message->group_seen[home]++;
    if (!receipt->dup || receipt->qos == 2)
        message->group_copies[home]++;
    uint32_t allowed = message->qos == 2 ? 1 : message->transmissions;
    if (receipt->qos < 2 || home == SIM_HOME_MIXED)
        allowed += world->store.restarts;
    if (message->group_copies[home] > allowed &&
        !may_be_handed_back(world, epoch, message, receipt))
        sim_fail(world, "message %u came to %u members of the shared group h%u", (unsigned)index,
                 message->group_copies[home], (unsigned)home);
}

/* What is not to be stored must not be there after a crash. */
static void check_level(struct sim_world *world, const struct sim_link *link, uint32_t index)
{
    const struct sim_message *message = sim_message_at(world, index);
    const struct sim_store *store = &world->store;
    bool memory = world->topics.items[message->topic].durability == MQTT5_DURABILITY_MEMORY;
    if (memory && sim_lie(world, SIM_BREAK_MEMORY_STORED))
        world->store.restarts = 1, world->store.crashed_ms = world->now_ms;
    if (memory && store->restarts > 0 && message->last_fed_ms <= store->crashed_ms &&
        link->opened_ms >= store->restarted_ms)
        sim_fail(world, "message %u of level memory came to %s after a crash", (unsigned)index,
                 link->client->id);
}

void sim_judge_delivery(struct sim_world *world, struct sim_link *link, uint32_t index,
                        const struct sim_receipt *receipt)
{
    struct sim_epoch *epoch = link->epoch;
    const struct sim_message *message = sim_message_at(world, index);
    sim_log(world, "c%llu receives message %llu at QoS %llu, dup %llu, retain %llu",
            link->client->number, index, receipt->qos, receipt->dup, receipt->retain);
    world->deliveries++;
    if (message->will != SIM_NOT_A_WILL)
        sim_session_will_seen(world, index);
    else if (message->transmissions == 0)
        sim_fail(world, "message %u came to %s before the broker had read it", (unsigned)index,
                 epoch->client->id);
    check_level(world, link, index);
    struct verdict verdict = verdict_of(world, epoch, message);
    if (!verdict.may)
        sim_fail(world, "message %u to %s came to %s without a matching subscription",
                 (unsigned)index, world->topics.items[message->topic].name, epoch->client->id);
    check_count(world, epoch, index, &verdict, receipt);
    check_qos(world, epoch, index, &verdict, receipt);
    check_retain(world, epoch, index, &verdict, receipt);
    check_ids(world, epoch, index, &verdict, receipt);
    check_expiry(world, link, index, receipt);
    check_group(world, epoch, index, receipt);
    check_order(world, epoch, index, receipt);
}

void sim_judge_anonymous(struct sim_world *world, struct sim_link *link, uint32_t topic)
{
    struct sim_epoch *epoch = link->epoch;
    sim_log(world, "c%llu receives an empty message to topic %llu", link->client->number, topic);
    for (uint32_t i = 0; i < epoch->subscriptions.count; i++)
        if (sim_subscription_matches(world, &epoch->subscriptions.items[i], topic))
            return;
    sim_fail(world, "an empty message to %s came to %s without a matching subscription",
             world->topics.items[topic].name, epoch->client->id);
}

/* ---- the end ---- */

/* The publisher was told that the broker has it, and nothing has taken the promise back. */
static bool is_promised(const struct sim_world *world, const struct sim_message *message)
{
    /* A will that comes while commits fail has nobody to be refused to. */
    if (message->will != SIM_NOT_A_WILL && world->profile.store && world->profile.failing_disk)
        return false;
    return message->accepted_tick != SIM_NEVER && !message->refused && !message->clears &&
           message->qos > 0 && message->expiry_s == 0 && !message->voided;
}

static bool has_come(const struct sim_epoch *epoch, uint32_t index)
{
    return index < epoch->copies.count &&
           epoch->copies.items[index].fresh + epoch->copies.items[index].again > 0;
}

static bool epoch_is_current(const struct sim_epoch *epoch)
{
    const struct sim_link *link = epoch->client->link;
    return !epoch->over && link != NULL && link->online && link->epoch == epoch;
}

/* Plain subscriptions: whatever one of them must get has come. Returns how many did not. */
static uint32_t missing_in(struct sim_world *world, struct sim_epoch *epoch)
{
    uint32_t missing = 0;
    bool lossy = epoch->late && epoch->restarts > 0; /* what came at first was not stored */
    for (uint32_t index = 0; index < world->messages.count && !lossy; index++) {
        const struct sim_message *message = sim_message_at(world, index);
        if (!is_promised(world, message) || !sim_message_fits(epoch->client, message))
            continue;
        if (world->topics.items[message->topic].family == SIM_SHARED && !epoch->client->monitor)
            continue;
        struct verdict verdict = verdict_of(world, epoch, message);
        if (verdict.must_qos < 1)
            continue;
        world->obligations++;
        if (has_come(epoch, index))
            continue;
        missing++;
        if (!world->profile.small_limits)
            sim_fail(world,
                     "message %u (%s to %s at QoS %u) was acknowledged, but was not "
                     "delivered to %s",
                     (unsigned)index, message->publisher->id,
                     world->topics.items[message->topic].name, message->qos, epoch->client->id);
    }
    return missing;
}

static bool group_has_member(struct sim_world *world, uint32_t home,
                             const struct sim_message *message)
{
    for (uint32_t i = 0; i < world->epochs.count; i++) {
        struct sim_epoch *epoch = world->epochs.items[i];
        if (epoch->client->home != home || epoch->client->monitor || !epoch_is_current(epoch))
            continue;
        struct verdict verdict = verdict_of(world, epoch, message);
        if (verdict.must_qos >= 1)
            return true;
    }
    return false;
}

static uint32_t missing_in_groups(struct sim_world *world)
{
    uint32_t missing = 0;
    const struct sim_store *store = &world->store;
    for (uint32_t index = 0; index < world->messages.count; index++) {
        const struct sim_message *message = sim_message_at(world, index);
        if (world->topics.items[message->topic].family != SIM_SHARED ||
            !is_promised(world, message))
            continue;
        /* Members that are not stored may have taken it with them. */
        bool crashed = store->restarts > 0 && message->first_fed_ms <= store->crashed_ms;
        for (uint32_t home = 0; home < SIM_HOMES; home++) {
            if (crashed && (home == SIM_HOME_MIXED || store->slept_long))
                continue;
            bool gone = message->qos == 2 && home % 2 == 1 &&
                        world->groups[home].left_tick > message->first_fed_tick;
            if (gone || !group_has_member(world, home, message))
                continue;
            world->obligations++;
            if (message->group_seen[home] > 0)
                continue;
            /* It may have been under way to one who unsubscribed and then went for good. */
            uint64_t asked_ms = world->groups[home].unsubscribed_ms;
            if (asked_ms != 0 && asked_ms + SIM_UNDER_WAY_MS > message->first_fed_ms)
                continue;
            missing++;
            if (!world->profile.small_limits)
                sim_fail(world,
                         "message %u to %s was acknowledged, but no member of the shared "
                         "group h%u got it",
                         (unsigned)index, world->topics.items[message->topic].name, (unsigned)home);
        }
    }
    return missing;
}

void sim_judge_end(struct sim_world *world)
{
    uint32_t missing = missing_in_groups(world);
    for (uint32_t i = 0; i < world->epochs.count && !world->failed; i++)
        if (epoch_is_current(world->epochs.items[i]))
            missing += missing_in(world, world->epochs.items[i]);
    struct m5_stats stats;
    m5_engine_stats(world->engine, &stats);
    stats.publish_dropped += world->store.dropped;
    stats.limit_queued += world->store.limit_queued;
    if (missing > stats.publish_dropped)
        sim_fail(
            world,
            "%u messages were acknowledged and not delivered because of small limits, but only "
            "%llu are counted as dropped",
            (unsigned)missing, (unsigned long long)stats.publish_dropped);
    if (!world->profile.small_limits && stats.limit_queued > 0)
        sim_fail(world, "limit_queued is %llu though no queue was ever full",
                 (unsigned long long)stats.limit_queued);
}

bool sim_judge_wanted(struct sim_world *world, uint32_t index)
{
    const struct sim_message *message = sim_message_at(world, index);
    for (uint32_t i = 0; i < world->clients.count; i++) {
        const struct sim_client *client = world->clients.items[i];
        const struct sim_session *session = &client->session;
        if (!session->exists || session->epoch == NULL || session->attached == NULL)
            continue;
        if (session->expiry_s == 0 && sim_session_closed_unseen(world, client))
            continue; /* its session may have ended with it */
        if (verdict_of(world, session->epoch, message).must)
            return true;
    }
    return false;
}

bool sim_judge_stored(struct sim_world *world, uint32_t index)
{
    const struct sim_message *message = sim_message_at(world, index);
    if (message->qos == 0 || world->topics.items[message->topic].family == SIM_SHARED)
        return false;
    for (uint32_t i = 0; i < world->clients.count; i++) {
        struct sim_session *session = &world->clients.items[i]->session;
        if (!session->exists || session->doubt || session->epoch == NULL || session->expiry_s == 0)
            continue;
        uint64_t end_ms = sim_after_s(session->ended_ms, session->expiry_s);
        if (session->attached == NULL && end_ms <= world->now_ms + SIM_SLACK_MS)
            continue;
        if (sim_message_fits(world->clients.items[i], message) &&
            verdict_of(world, session->epoch, message).must_qos > 0) {
            sim_log(world, "message %llu is to be stored for c%llu", index,
                    world->clients.items[i]->number);
            return true;
        }
    }
    return false;
}
