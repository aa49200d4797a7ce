/* The host's own topic below $CONTROL: who may publish there, who gets the answer, and that nobody
 * else ever sees either.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/engine_peer.h"

#include "base/bytes.h"
#include "broker/control.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#define V5    MQTT5_VERSION_5
#define V311  MQTT5_VERSION_3_1_1
#define TOPIC "$CONTROL/dynamic-security/v1"
#define REPLY TOPIC "/response"

static struct engine_rig *rig;

/* "admin" may do everything, others everything outside $CONTROL but to unsubscribe from "kept". */
static enum m5_access_answer judge(const struct m5_principal *who, struct mqtt5_bytes topic)
{
    const bool admin = m5_bytes_equal(who->client_id, m5_bytes_of("admin"));
    return admin || topic.len < 8 || memcmp(topic.data, "$CONTROL", 8) != 0 ? M5_ACCESS_ALLOW
                                                                            : M5_ACCESS_DENY;
}

static enum m5_access_answer may_publish(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic, uint8_t qos, bool retain)
{
    (void)ctx;
    (void)qos;
    (void)retain;
    return judge(who, topic);
}

static enum m5_access_answer may_subscribe(void *ctx, const struct m5_principal *who,
                                           struct mqtt5_bytes filter, uint8_t qos)
{
    (void)ctx;
    (void)qos;
    return judge(who, filter);
}

static enum m5_access_answer may_unsubscribe(void *ctx, const struct m5_principal *who,
                                             struct mqtt5_bytes filter)
{
    (void)ctx;
    (void)who;
    return m5_bytes_equal(filter, m5_bytes_of("kept")) ? M5_ACCESS_DENY : M5_ACCESS_ALLOW;
}

static enum m5_access_answer may_deliver(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic)
{
    (void)ctx;
    return judge(who, topic);
}

static void start(uint32_t shards)
{
    engine_rig_init(rig, shards);
    rig->control_topic = TOPIC;
    rig->has_access = true;
    rig->access = (struct m5_access){.publish = may_publish,
                                     .subscribe = may_subscribe,
                                     .unsubscribe = may_unsubscribe,
                                     .deliver = may_deliver};
    engine_rig_start(rig);
}

static int set_up(void **state)
{
    (void)state;
    rig = malloc(sizeof *rig);
    assert_non_null(rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    engine_rig_fini(rig);
    free(rig);
    return 0;
}

/* Takes the next request of any shard. */
static struct m5_shard *next_control(struct m5_control *out)
{
    for (uint32_t i = 0; i < rig->shards; i++) {
        struct m5_shard *shard = m5_engine_shard(rig->engine, i);
        if (m5_shard_next_control(shard, out))
            return shard;
    }
    return NULL;
}

static void answer(struct m5_shard *shard, const struct m5_control *asked, const char *text)
{
    m5_shard_begin(shard, rig->now_ms);
    m5_shard_answer_control(shard, asked, m5_bytes_of(REPLY), m5_bytes_of(text));
    m5_shard_end(shard);
    engine_pump(rig);
}

static void whoever_may_asks_and_is_answered(void **state)
{
    (void)state;
    start(3);
    struct m5_control asked;
    struct engine_peer *admin = guest_connect(rig, V5, "admin");
    struct engine_peer *other = guest_connect(rig, V5, "other");
    assert_int_equal(guest_subscribe(other, "#", 0), 0);
    assert_int_equal(guest_subscribe(other, "$CONTROL/#", 0), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(guest_subscribe(admin, "$CONTROL/#", 0), 0);
    for (uint8_t qos = 0; qos < 3; qos++) {
        const unsigned reason = guest_publish(admin, TOPIC, "command", qos);
        assert_int_equal(reason, qos == 0 ? GUEST_OPEN : 0);
        struct m5_shard *shard = next_control(&asked);
        assert_non_null(shard);
        assert_true(m5_bytes_equal(asked.client_id, m5_bytes_of("admin")));
        assert_true(m5_bytes_equal(asked.payload, m5_bytes_of("command")));
        assert_quiet(admin); /* what it asked is not routed, not even to itself */
        answer(shard, &asked, "done");
        assert_message(admin, REPLY, "done", 0);
        assert_null(next_control(&asked));
    }
    assert_quiet(other);
}

static void whoever_may_not_is_refused(void **state)
{
    (void)state;
    start(1);
    struct m5_control asked;
    struct engine_peer *other = guest_connect(rig, V5, "other"), *old;
    assert_int_equal(guest_publish(other, TOPIC, "x", 1), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(guest_publish(other, TOPIC, "x", 2), MQTT5_REASON_NOT_AUTHORIZED);
    guest_publish(other, TOPIC, "x", 0);
    old = guest_connect(rig, V311, "old");
    assert_int_equal(guest_publish(old, TOPIC, "x", 1), 0); /* 3.1.1 cannot be told */
    assert_null(next_control(&asked));
    struct engine_peer *admin = guest_connect(rig, V5, "admin");
    assert_int_equal(guest_publish(admin, TOPIC "/x", "x", 1), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(guest_publish(admin, "$CONTROL/broker/v1", "x", 1),
                     MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(engine_stats(rig).denied_publish, 6);
}

static void without_a_policy_it_does_not_exist(void **state)
{
    (void)state;
    engine_rig_init(rig, 1);
    rig->control_topic = TOPIC;
    engine_rig_start(rig);
    struct m5_control asked;
    struct engine_peer *admin = guest_connect(rig, V5, "admin");
    assert_int_equal(guest_publish(admin, TOPIC, "x", 1), MQTT5_REASON_NOT_AUTHORIZED);
    assert_null(next_control(&asked));
}

/* No will goes there, whoever's it is. */
static void case_17_no_will_to_control(void **state)
{
    (void)state;
    start(1);
    struct m5_control asked;
    struct engine_peer *peer = guest_open(rig, V5);
    struct mqtt5_connect connect = guest_connect_packet(V5, "admin");
    connect.has_will = true;
    connect.will.topic = m5_bytes_of(TOPIC);
    connect.will.payload = m5_bytes_of("x");
    assert_int_equal(guest_say_connect(peer, &connect), MQTT5_REASON_NOT_AUTHORIZED);
    assert_null(next_control(&asked));
}

static void retained_commands_are_not_retained(void **state)
{
    (void)state;
    start(1);
    struct m5_control asked;
    struct engine_peer *admin = guest_connect(rig, V5, "admin");
    assert_int_equal(guest_retain(admin, TOPIC, "x", 1), 0);
    assert_non_null(next_control(&asked));
    assert_int_equal(engine_stats(rig).retained_messages, 0);
    assert_int_equal(guest_subscribe(admin, "$CONTROL/#", 0), 0);
    assert_quiet(admin);
}

static void what_waits_is_bounded(void **state)
{
    (void)state;
    start(1);
    struct m5_control asked;
    struct engine_peer *admin = guest_connect(rig, V5, "admin");
    for (unsigned i = 0; i < M5_CONTROLS_MAX; i++)
        assert_int_equal(guest_publish(admin, TOPIC, "x", 1), 0);
    assert_int_equal(guest_publish(admin, TOPIC, "x", 1), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(guest_publish(admin, TOPIC, "x", 2), MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(engine_stats(rig).limit_control, 2);
    assert_non_null(next_control(&asked));
    assert_int_equal(guest_publish(admin, TOPIC, "x", 2), 0);
    /* The rest goes with the engine. */
}

static void an_answer_finds_nobody_else(void **state)
{
    (void)state;
    start(1);
    struct m5_control asked;
    struct engine_peer *admin = guest_connect(rig, V5, "admin");
    guest_publish(admin, TOPIC, "x", 0);
    struct m5_shard *shard = next_control(&asked);
    guest_lose(admin);
    answer(shard, &asked, "gone");
    admin = guest_connect(rig, V5, "admin"); /* another session of the same name */
    answer(shard, &asked, "late");
    assert_quiet(admin);
}

static void not_everybody_may_unsubscribe(void **state)
{
    (void)state;
    start(1);
    struct engine_peer *peer = guest_connect(rig, V5, "peer");
    assert_int_equal(guest_subscribe(peer, "kept", 0), 0);
    assert_int_equal(guest_subscribe(peer, "free", 0), 0);
    assert_int_equal(guest_unsubscribe(peer, "kept"), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(guest_unsubscribe(peer, "free"), 0);
    guest_publish(peer, "kept", "x", 0);
    assert_message(peer, "kept", "x", 0);
}

static bool is_admin(void *ctx, const struct m5_principal *who)
{
    (void)ctx;
    return m5_bytes_equal(who->client_id, m5_bytes_of("admin"));
}

static void who_is_not_welcome_any_more_goes(void **state)
{
    (void)state;
    start(1);
    struct engine_peer *admin = guest_connect(rig, V5, "admin");
    struct engine_peer *one = guest_connect(rig, V5, "one"), *old = guest_connect(rig, V311, "old");
    struct engine_peer *silent = guest_open(rig, V5);
    struct m5_shard *shard = m5_engine_shard(rig->engine, 0);
    m5_shard_begin(shard, rig->now_ms);
    m5_shard_review(shard, is_admin, NULL);
    m5_shard_end(shard);
    engine_pump(rig);
    assert_int_equal(guest_end(one), MQTT5_REASON_ADMINISTRATIVE_ACTION);
    assert_int_equal(guest_end(old), 0);
    assert_int_equal(guest_end(admin), GUEST_OPEN);
    assert_int_equal(guest_end(silent), GUEST_OPEN);
    assert_int_equal(engine_stats(rig).clients_connected, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(whoever_may_asks_and_is_answered),   TEST(whoever_may_not_is_refused),
        TEST(without_a_policy_it_does_not_exist), TEST(case_17_no_will_to_control),
        TEST(retained_commands_are_not_retained), TEST(what_waits_is_bounded),
        TEST(an_answer_finds_nobody_else),        TEST(not_everybody_may_unsubscribe),
        TEST(who_is_not_welcome_any_more_goes),
    };
    return cmocka_run_group_tests_name("engine control", tests, NULL, NULL);
}
