/* Shared subscriptions: who gets a message, and what happens to it when he goes; on one shard, and
 * on three with members and group apart.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/engine_peer.h"

#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#define V5      MQTT5_VERSION_5
#define MEMBERS 3u

static struct engine_rig *rig;
static struct engine_peer *publisher, *members[MEMBERS];
static char ids[MEMBERS][ENGINE_ID_SIZE]; /* each member on another shard, if there are others */
static char topic[ENGINE_ID_SIZE];        /* the group's home is the last shard */
static char filter[ENGINE_ID_SIZE + 16];

static int set_up(void **state)
{
    rig = malloc(sizeof *rig);
    assert_non_null(rig);
    engine_rig_init(rig, *(const uint32_t *)*state);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    engine_rig_fini(rig);
    free(rig);
    return 0;
}

static void start(enum mqtt5_shared_strategy strategy)
{
    rig->config.shared_strategy = strategy;
    engine_rig_start(rig);
    publisher = guest_connect(rig, V5, "publisher");
    engine_text_on(rig, "t", rig->shards - 1, 0, topic);
    snprintf(filter, sizeof filter, "$share/g/%s", topic);
    for (unsigned i = 0; i < MEMBERS; i++)
        engine_text_on(rig, "m", i % rig->shards, i, ids[i]);
}

/* Durable members, the first @p count of them, subscribed at QoS 2. */
static void join(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        members[i] = guest_resume(rig, V5, ids[i]);
        assert_int_equal(guest_subscribe(members[i], filter, 2), 2);
    }
}

static void publish_many(unsigned count, uint8_t qos)
{
    for (unsigned i = 0; i < count; i++)
        guest_publish(publisher, topic, "x", qos);
}

/* ---- strategies ---- */

static void round_robin_is_exact(void **state)
{
    (void)state;
    unsigned counts[MEMBERS];
    start(MQTT5_SHARED_ROUND_ROBIN);
    join(MEMBERS);
    for (uint8_t qos = 0; qos < 3; qos++) {
        publish_many(30, qos);
        assert_int_equal(guests_drain(members, MEMBERS, counts), 30);
        for (unsigned i = 0; i < MEMBERS; i++)
            assert_int_equal(counts[i], 10);
    }
}

static void random_is_fair_enough(void **state)
{
    (void)state;
    unsigned counts[MEMBERS];
    start(MQTT5_SHARED_RANDOM);
    join(MEMBERS);
    publish_many(300, 0);
    assert_int_equal(guests_drain(members, MEMBERS, counts), 300);
    print_message("engine seed {1, 2, 3, 4}: %u %u %u\n", counts[0], counts[1], counts[2]);
    for (unsigned i = 0; i < MEMBERS; i++) /* 100, and five times the standard deviation of 8.2 */
        assert_in_range(counts[i], 59, 141);
    assert_false(counts[0] == 100 && counts[1] == 100); /* that would be round robin */
}

static void sticky_stays_until_he_goes(void **state)
{
    (void)state;
    unsigned counts[MEMBERS];
    start(MQTT5_SHARED_STICKY);
    join(MEMBERS);
    publish_many(10, 1);
    assert_int_equal(guests_drain(members, MEMBERS, counts), 10);
    unsigned chosen = 0;
    while (chosen < MEMBERS && counts[chosen] == 0)
        chosen++;
    assert_int_equal(counts[chosen], 10);
    guest_lose(members[chosen]);
    struct engine_peer *rest[MEMBERS - 1];
    for (unsigned i = 0, n = 0; i < MEMBERS; i++)
        if (i != chosen)
            rest[n++] = members[i];
    publish_many(10, 1);
    assert_int_equal(guests_drain(rest, MEMBERS - 1, counts), 10);
    assert_true(counts[0] == 10 || counts[1] == 10);
}

static void least_inflight_goes_to_who_acknowledges(void **state)
{
    (void)state;
    unsigned counts[MEMBERS];
    struct mqtt5_packet packet;
    start(MQTT5_SHARED_LEAST_INFLIGHT);
    join(MEMBERS);
    publish_many(6, 1); /* nobody acknowledges: two for each */
    for (unsigned i = 0; i < MEMBERS; i++) {
        assert_true(guest_take(members[i], &packet));
        assert_true(guest_take(members[i], &packet));
        assert_false(guest_take(members[i], &packet));
    }
    guest_send_ack(members[1], MQTT5_PUBACK, 1, 0);
    guest_send_ack(members[1], MQTT5_PUBACK, 2, 0);
    publish_many(2, 1);
    assert_int_equal(guests_drain(members, MEMBERS, counts), 2);
    assert_int_equal(counts[1], 2);
}

/* What needs no acknowledgement is no load, and neither is what was not taken. */
static void least_inflight_does_not_count_qos0(void **state)
{
    (void)state;
    unsigned counts[MEMBERS];
    start(MQTT5_SHARED_LEAST_INFLIGHT);
    join(2);
    publish_many(20, 0);
    assert_int_equal(guests_drain(members, 2, NULL), 20);
    members[2] = guest_resume(rig, V5, ids[2]);
    assert_int_equal(guest_subscribe(members[2], filter, 2), 2);
    publish_many(6, 1); /* all are alike: nobody has anything unacknowledged */
    struct mqtt5_packet packet;
    for (unsigned i = 0; i < MEMBERS; i++) {
        counts[i] = 0;
        while (guest_take(members[i], &packet))
            counts[i]++;
        assert_int_equal(counts[i], 2);
    }
}

static void hash_topic_is_stable(void **state)
{
    (void)state;
    unsigned chosen[20], used = 0;
    start(MQTT5_SHARED_HASH_TOPIC);
    snprintf(filter, sizeof filter, "$share/g/h/+");
    join(MEMBERS);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 20; i++) {
            char name[16];
            unsigned counts[MEMBERS], at = 0;
            snprintf(name, sizeof name, "h/%u", i);
            guest_publish(publisher, name, "x", (uint8_t)round);
            assert_int_equal(guests_drain(members, MEMBERS, counts), 1);
            while (counts[at] == 0)
                at++;
            if (round == 0)
                chosen[i] = at;
            assert_int_equal(chosen[i], at);
            used |= 1u << at;
        }
    }
    assert_int_equal(used, 7); /* 20 topics, 3 members: all have some */
}

static void hash_clientid_is_stable(void **state)
{
    (void)state;
    unsigned used = 0;
    start(MQTT5_SHARED_HASH_CLIENTID);
    join(MEMBERS);
    for (unsigned i = 0; i < 20; i++) {
        char id[16];
        unsigned counts[MEMBERS], at = 0;
        snprintf(id, sizeof id, "publisher%u", i);
        struct engine_peer *one = guest_connect(rig, V5, id);
        for (unsigned n = 0; n < 6; n++)
            guest_publish(one, topic, "x", (uint8_t)(n % 3));
        assert_int_equal(guests_drain(members, MEMBERS, counts), 6);
        while (counts[at] == 0)
            at++;
        assert_int_equal(counts[at], 6);
        used |= 1u << at;
        guest_lose(one);
    }
    assert_int_equal(used, 7);
}

/* ---- groups ---- */

static void groups_of_one_name_on_other_filters_are_others(void **state)
{
    (void)state;
    start(MQTT5_SHARED_ROUND_ROBIN);
    members[0] = guest_connect(rig, V5, ids[0]);
    members[1] = guest_connect(rig, V5, ids[1]);
    guest_subscribe(members[0], "$share/g/a/b", 1);
    guest_subscribe(members[1], "$share/g/a/+", 1);
    for (unsigned i = 0; i < 4; i++) {
        guest_publish(publisher, "a/b", "x", 1);
        assert_message(members[0], "a/b", "x", 1);
        assert_message(members[1], "a/b", "x", 1);
    }
    assert_quiet(members[0]);
    assert_quiet(members[1]);
}

static void a_client_in_a_group_and_with_a_plain_subscription_gets_both(void **state)
{
    (void)state;
    start(MQTT5_SHARED_ROUND_ROBIN);
    join(1);
    guest_subscribe(members[0], topic, 1);
    guest_publish(publisher, topic, "x", 1);
    assert_int_equal(guest_drain(members[0]), 2);
    assert_int_equal(guest_unsubscribe(members[0], filter), 0);
    guest_publish(publisher, topic, "x", 1);
    assert_int_equal(guest_drain(members[0]), 1);
}

static void qos_is_the_lower_of_message_and_member(void **state)
{
    (void)state;
    start(MQTT5_SHARED_ROUND_ROBIN);
    members[0] = guest_connect(rig, V5, ids[0]);
    for (uint8_t granted = 0; granted < 3; granted++) {
        assert_int_equal(guest_subscribe(members[0], filter, granted), granted);
        for (uint8_t qos = 0; qos < 3; qos++) {
            guest_publish(publisher, topic, "x", qos);
            assert_message(members[0], topic, "x", qos < granted ? qos : granted);
        }
    }
}

/* ---- members come ---- */

/* [MQTT-3.8.4-1]: what is published after the SUBACK arrives. */
static void suback_comes_when_the_home_has_answered(void **state)
{
    (void)state;
    start(MQTT5_SHARED_ROUND_ROBIN);
    const uint32_t home = rig->shards - 1;
    members[0] = guest_resume(rig, V5, ids[0]); /* of shard 0 */
    rig->asleep = rig->shards == 1 ? 0 : (uint64_t)1 << home;
    assert_int_equal(guest_subscribe(members[0], filter, 1), rig->shards == 1 ? 1 : GUEST_OPEN);
    assert_quiet(members[0]);
    guest_send_hex(members[0], "c0 00"); /* its input waits as well */
    if (rig->shards > 1)
        assert_quiet(members[0]);
    rig->asleep = 0;
    struct mqtt5_packet packet;
    for (unsigned round = 0; rig->shards > 1 && round < 10; round++) {
        for (uint32_t i = 0; i < rig->shards; i++)
            engine_turn(rig, i);
        if (guest_take(members[0], &packet))
            break;
    }
    if (rig->shards > 1) {
        assert_int_equal(packet.type, MQTT5_SUBACK);
        assert_int_equal(packet.as.suback.reason_codes.data[0], 1);
    }
    guest_publish(publisher, topic, "x", 1); /* without another turn in between */
    assert_true(guest_take(members[0], &packet));
    assert_int_equal(packet.type, MQTT5_PINGRESP);
    assert_message(members[0], topic, "x", 1);
}

/* ---- members go ---- */

static void offline_members_get_messages_only_when_nobody_is_online(void **state)
{
    (void)state;
    start(MQTT5_SHARED_ROUND_ROBIN);
    join(MEMBERS);
    guest_lose(members[0]);
    guest_lose(members[1]);
    publish_many(6, 1);
    assert_int_equal(guest_drain(members[2]), 6);
    guest_lose(members[2]);
    publish_many(6, 1);
    publish_many(1, 0); /* QoS 0 is for nobody then */
    assert_int_equal(engine_stats(rig).messages_queued, 6);
    unsigned sum = 0;
    for (unsigned i = 0; i < MEMBERS; i++) {
        members[i] = guest_resume(rig, V5, ids[i]);
        sum += guest_drain(members[i]);
    }
    sum += guests_drain(members, MEMBERS, NULL);
    assert_int_equal(sum, 6);
    assert_int_equal(engine_stats(rig).messages_queued, 0);
}

/* How a member goes, with two messages at QoS 1 unacknowledged. */
static void hands_back(void (*go)(void))
{
    start(MQTT5_SHARED_STICKY);
    join(1);
    guest_publish(publisher, topic, "1", 1);
    guest_publish(publisher, topic, "2", 1);
    assert_message_held(members[0], topic, "1", 1);
    assert_message_held(members[0], topic, "2", 1);
    members[1] = guest_resume(rig, V5, ids[1]);
    guest_subscribe(members[1], filter, 1);
    assert_quiet(members[1]);
    go();
    assert_message(members[1], topic, "1", 1);
    assert_message(members[1], topic, "2", 1);
    assert_quiet(members[1]);
}

static void lose_first(void)
{
    guest_lose(members[0]);
}

static void disconnect_first(void)
{
    guest_disconnect(members[0], 0);
}

static void end_first(void)
{
    guest_send_hex(members[0], "e0 [00 [11 00000000]]");
}

static void hand_back_when_the_connection_breaks(void **state)
{
    (void)state;
    hands_back(lose_first);
    members[0] = guest_resume(rig, V5, ids[0]);
    assert_true(members[0]->session_present);
    assert_quiet(members[0]); /* it is another's now */
}

static void hand_back_when_the_member_says_goodbye(void **state)
{
    (void)state;
    hands_back(disconnect_first);
}

static void hand_back_when_the_session_ends(void **state)
{
    (void)state;
    hands_back(end_first);
    assert_int_equal(engine_stats(rig).shared_subscriptions, 1);
}

/* What waits goes to others; what was sent is completed [MQTT-3.10.4-3]. */
static void hand_back_when_he_unsubscribes(void **state)
{
    (void)state;
    rig->config.inflight_max = 1;
    start(MQTT5_SHARED_STICKY);
    join(1);
    guest_publish(publisher, topic, "1", 1);
    guest_publish(publisher, topic, "2", 1);
    guest_publish(publisher, topic, "3", 2);
    const uint16_t first = assert_message_held(members[0], topic, "1", 1);
    members[1] = guest_resume(rig, V5, ids[1]);
    guest_subscribe(members[1], filter, 2);
    assert_int_equal(guest_unsubscribe(members[0], filter), 0);
    assert_message(members[1], topic, "2", 1);
    assert_message(members[1], topic, "3", 2);
    guest_send_ack(members[0], MQTT5_PUBACK, first, 0);
    assert_quiet(members[0]);
    assert_quiet(members[1]);
    assert_int_equal(engine_stats(rig).messages_queued, 0);
    assert_int_equal(engine_stats(rig).messages_inflight, 0);
}

/* He was alone; the others come later. */
static void hand_back_to_who_comes_later(void **state)
{
    (void)state;
    start(MQTT5_SHARED_ROUND_ROBIN);
    join(1);
    guest_lose(members[0]);
    guest_publish(publisher, topic, "1", 1);
    members[0] = guest_resume(rig, V5, ids[0]);
    assert_message(members[0], topic, "1", 1);
}

/* ---- QoS 2 ---- */

/* [MQTT-4.8.2-4]: it waits for the member that has begun with it. */
static void qos2_that_was_sent_stays_with_the_member(void **state)
{
    (void)state;
    start(MQTT5_SHARED_STICKY);
    join(1);
    guest_publish(publisher, topic, "1", 2);
    guest_publish(publisher, topic, "2", 2);
    const uint16_t first = assert_message_held(members[0], topic, "1", 2);
    assert_message_held(members[0], topic, "2", 2);
    guest_send_ack(members[0], MQTT5_PUBREC, first, 0); /* one of them half-way */
    members[1] = guest_resume(rig, V5, ids[1]);
    guest_subscribe(members[1], filter, 2);
    guest_lose(members[0]);
    assert_quiet(members[1]);
    guest_publish(publisher, topic, "3", 2);
    assert_message(members[1], topic, "3", 2);
    members[0] = guest_resume(rig, V5, ids[0]);
    struct mqtt5_packet packet;
    assert_true(guest_take(members[0], &packet));
    assert_int_equal(packet.type, MQTT5_PUBREL);
    guest_send_ack(members[0], MQTT5_PUBCOMP, first, 0);
    assert_message(members[0], topic, "2", 2);
    assert_quiet(members[0]);
    assert_quiet(members[1]);
}

/* [MQTT-4.8.2-5]: and if he never comes back, nobody gets it. */
static void qos2_that_was_sent_ends_with_the_session(void **state)
{
    (void)state;
    start(MQTT5_SHARED_STICKY);
    join(1);
    guest_publish(publisher, topic, "1", 2);
    assert_message_held(members[0], topic, "1", 2);
    members[1] = guest_resume(rig, V5, ids[1]);
    guest_subscribe(members[1], filter, 2);
    end_first();
    assert_quiet(members[1]);
    guest_publish(publisher, topic, "2", 2);
    assert_message(members[1], topic, "2", 2);
}

/* [MQTT-4.8.2-6] */
static void a_refused_message_is_not_passed_on(void **state)
{
    (void)state;
    start(MQTT5_SHARED_STICKY);
    join(1);
    guest_publish(publisher, topic, "1", 1);
    guest_publish(publisher, topic, "2", 2);
    members[1] = guest_resume(rig, V5, ids[1]);
    guest_subscribe(members[1], filter, 2);
    guest_send_ack(members[0], MQTT5_PUBACK, 1, MQTT5_REASON_QUOTA_EXCEEDED);
    guest_send_ack(members[0], MQTT5_PUBREC, 2, MQTT5_REASON_UNSPECIFIED_ERROR);
    guest_lose(members[0]);
    assert_quiet(members[1]);
    assert_int_equal(engine_stats(rig).messages_inflight, 0);
    members[0] = guest_resume(rig, V5, ids[0]);
    assert_quiet(members[0]);
}

#define TEST(name) ENGINE_TEST(name, &one, &three, " on 3 shards")

int main(void)
{
    static const uint32_t one = 1, three = 3;
    const struct CMUnitTest tests[] = {
        TEST(round_robin_is_exact),
        TEST(random_is_fair_enough),
        TEST(sticky_stays_until_he_goes),
        TEST(least_inflight_goes_to_who_acknowledges),
        TEST(least_inflight_does_not_count_qos0),
        TEST(hash_topic_is_stable),
        TEST(hash_clientid_is_stable),
        TEST(groups_of_one_name_on_other_filters_are_others),
        TEST(a_client_in_a_group_and_with_a_plain_subscription_gets_both),
        TEST(qos_is_the_lower_of_message_and_member),
        TEST(suback_comes_when_the_home_has_answered),
        TEST(offline_members_get_messages_only_when_nobody_is_online),
        TEST(hand_back_when_the_connection_breaks),
        TEST(hand_back_when_the_member_says_goodbye),
        TEST(hand_back_when_the_session_ends),
        TEST(hand_back_when_he_unsubscribes),
        TEST(hand_back_to_who_comes_later),
        TEST(qos2_that_was_sent_stays_with_the_member),
        TEST(qos2_that_was_sent_ends_with_the_session),
        TEST(a_refused_message_is_not_passed_on),
    };
    return cmocka_run_group_tests_name("engine shared", tests, NULL, NULL);
}
