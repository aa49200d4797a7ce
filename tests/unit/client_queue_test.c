/* The queue of the client: limits, what goes when it is full, what expires in it, what outlives a
 * session.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/client_rig.h"
#include "support/unit.h"

static int mark[16];

/* A client that is not connected and may queue. */
static void offline(struct client_rig *rig, enum mqtt5_overflow overflow, uint32_t messages_max)
{
    rig_init(rig);
    rig->config.offline_queue = true;
    rig->config.overflow = overflow;
    rig->config.queued_messages_max = messages_max;
    rig_make(rig);
}

static uint32_t queued(const struct client_rig *rig)
{
    struct mqtt5_client_info info;
    m5_client_info(rig->client, &info);
    return info.queued_messages;
}

static enum mqtt5_error publish_expiring(struct client_rig *rig, uint8_t qos, uint32_t expiry_s,
                                         void *ctx)
{
    struct mqtt5_publish publish = {
        .topic = m5_bytes_of("t"), .payload = m5_bytes_of("x"), .qos = qos};
    MQTT5_SET(&publish.properties, MESSAGE_EXPIRY_INTERVAL);
    publish.properties.message_expiry_interval_s = expiry_s;
    return m5_client_publish(rig->client, &publish, ctx);
}

static void full_queue_fails(void **state)
{
    (void)state;
    struct client_rig rig;
    offline(&rig, MQTT5_OVERFLOW_FAIL, 2);
    assert_int_equal(rig_publish(&rig, 1, "a", NULL), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "b", NULL), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "c", NULL), MQTT5_ERR_QUEUE_FULL);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_sent(&rig, "32 [0001't' 0001 00 'a'] 32 [0001't' 0002 00 'b']"));
    rig_fini(&rig);
}

static void full_queue_drops_the_oldest(void **state)
{
    (void)state;
    struct client_rig rig;
    void *ctx;
    offline(&rig, MQTT5_OVERFLOW_DROP_OLDEST, 2);
    for (int i = 0; i < 4; i++) {
        const char text[2] = {(char)('a' + i), 0};
        assert_int_equal(rig_publish(&rig, 1, text, &mark[i]), MQTT5_OK);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_DROPPED);
        assert_ptr_equal(ctx, &mark[i]);
    }
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_sent(&rig, "32 [0001't' 0001 00 'c'] 32 [0001't' 0002 00 'd']"));
    rig_fini(&rig);
}

static void full_queue_drops_the_newest(void **state)
{
    (void)state;
    struct client_rig rig;
    void *ctx;
    offline(&rig, MQTT5_OVERFLOW_DROP_NEWEST, 1);
    assert_int_equal(rig_publish(&rig, 1, "a", &mark[0]), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "b", &mark[1]), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "c", NULL), MQTT5_OK); /* nobody is told */
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_DROPPED);
    assert_ptr_equal(ctx, &mark[1]);
    assert_true(rig_quiet(&rig));
    assert_int_equal(queued(&rig), 1);
    struct mqtt5_client_info info;
    m5_client_info(rig.client, &info);
    assert_int_equal(info.dropped_messages, 2);
    rig_fini(&rig);
}

/* What was dropped is not forgotten, but bounded: as much of it as of the queue. */
static void drops_that_nobody_looks_at_are_bounded(void **state)
{
    (void)state;
    struct client_rig rig;
    offline(&rig, MQTT5_OVERFLOW_DROP_OLDEST, 4);
    int accepted = 0;
    while (accepted < 100 && rig_publish(&rig, 1, "x", &mark[0]) == MQTT5_OK)
        accepted++;
    assert_int_equal(accepted, 8);
    for (int i = 0; i < 4; i++)
        assert_int_equal(rig_completed(&rig, NULL), MQTT5_ERR_DROPPED);
    assert_true(rig_quiet(&rig));
    assert_int_equal(rig_publish(&rig, 1, "x", &mark[0]), MQTT5_OK);
    rig_fini(&rig);
}

static void bytes_are_bounded_too(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.offline_queue = true;
    rig.config.queued_bytes_max = 1000;
    rig.config.overflow = MQTT5_OVERFLOW_DROP_OLDEST;
    rig_make(&rig);
    uint8_t payload[2000] = {0};
    struct mqtt5_publish publish = {
        .topic = m5_bytes_of("t"), .payload = m5_bytes(payload, 400), .qos = 1};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
        m5_client_check(rig.client);
    }
    assert_int_equal(queued(&rig), 2);
    publish.payload.len = 2000; /* no dropping makes room for this */
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_ERR_QUEUE_FULL);
    assert_int_equal(queued(&rig), 2);
    rig_fini(&rig);
}

/* What was sent is in the server's hands: only what waits can be dropped. */
static void what_was_sent_is_not_dropped(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.session_expiry_s = 60;
    rig.config.offline_queue = true;
    rig.config.overflow = MQTT5_OVERFLOW_DROP_OLDEST;
    rig.config.queued_messages_max = 2;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(rig_publish(&rig, 1, "a", &mark[0]), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "b", &mark[1]), MQTT5_OK);
    rig_drop_output(&rig);
    assert_int_equal(rig_publish(&rig, 1, "c", &mark[2]), MQTT5_ERR_QUEUE_FULL);
    rig_lose(&rig);
    assert_int_equal(rig_publish(&rig, 1, "c", &mark[2]), MQTT5_ERR_QUEUE_FULL);
    rig_fini(&rig);
}

/* [MQTT-3.3.2-6] in the client's own queue: what is left of the interval is what is sent. */
static void expiry_is_counted_while_queued(void **state)
{
    (void)state;
    struct client_rig rig;
    void *ctx;
    offline(&rig, MQTT5_OVERFLOW_FAIL, 10);
    assert_int_equal(publish_expiring(&rig, 1, 10, &mark[0]), MQTT5_OK);
    assert_int_equal(publish_expiring(&rig, 1, 100, &mark[1]), MQTT5_OK);
    rig_pass(&rig, 10000);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_sent(&rig, "32 [0001't' 0001 05 02 0000005a 'x']"));
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_EXPIRED);
    assert_ptr_equal(ctx, &mark[0]);
    rig_fini(&rig);
}

/* A message in flight is sent again whatever its age [MQTT-4.4.0-1]. */
static void what_was_sent_does_not_expire(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    rig_init(&rig);
    rig.config.clean_start = false;
    rig.config.session_expiry_s = 60;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(publish_expiring(&rig, 1, 2, &mark[0]), MQTT5_OK);
    assert_true(rig_sent(&rig, "32 [0001't' 0001 05 02 00000002 'x']"));
    rig_lose(&rig);
    assert_true(rig_event(&rig, &event));
    rig_pass(&rig, 5000);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_sent(&rig, "3a [0001't' 0001 05 02 00000001 'x']"));
    rig_fini(&rig);
}

static void expired_messages_make_room(void **state)
{
    (void)state;
    struct client_rig rig;
    offline(&rig, MQTT5_OVERFLOW_FAIL, 1);
    assert_int_equal(publish_expiring(&rig, 1, 1, NULL), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "y", NULL), MQTT5_ERR_QUEUE_FULL);
    rig_pass(&rig, 1000);
    assert_int_equal(rig_publish(&rig, 1, "y", NULL), MQTT5_OK);
    assert_int_equal(queued(&rig), 1);
    rig_fini(&rig);
}

/* Session over, `offline_queue`: QoS 1 goes again as new, QoS 2 ends, QoS 0 as it is asked. */
static void what_outlives_a_session(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    void *ctx;
    rig_init(&rig);
    rig.config.offline_queue = rig.config.offline_qos0 = true;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(rig_publish(&rig, 1, "a", &mark[1]), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 2, "b", &mark[2]), MQTT5_OK);
    rig_drop_output(&rig);
    rig_lose(&rig);
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_CLOSED);
    assert_ptr_equal(ctx, &mark[2]);
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_DISCONNECTED);
    assert_int_equal(rig_publish(&rig, 0, "c", &mark[0]), MQTT5_OK);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_sent(&rig, "32 [0001't' 0003 00 'a'] 30 [0001't' 00 'c']"));
    rig_fini(&rig);
}

static void room_is_half_of_the_queue(void **state)
{
    (void)state;
    struct client_rig rig;
    offline(&rig, MQTT5_OVERFLOW_FAIL, 4);
    for (int i = 0; i < 2; i++)
        assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    assert_true(m5_client_has_room(rig.client));
    assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    assert_false(m5_client_has_room(rig.client));
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_queue_fails),
        cmocka_unit_test(full_queue_drops_the_oldest),
        cmocka_unit_test(full_queue_drops_the_newest),
        cmocka_unit_test(drops_that_nobody_looks_at_are_bounded),
        cmocka_unit_test(bytes_are_bounded_too),
        cmocka_unit_test(what_was_sent_is_not_dropped),
        cmocka_unit_test(expiry_is_counted_while_queued),
        cmocka_unit_test(what_was_sent_does_not_expire),
        cmocka_unit_test(expired_messages_make_room),
        cmocka_unit_test(what_outlives_a_session),
        cmocka_unit_test(room_is_half_of_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
