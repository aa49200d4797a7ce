/* Subscriptions across connections: asked for again when, and only when, the session was lost.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/client_rig.h"
#include "support/unit.h"

#include <stdio.h>

static int mark[4];

static void make(struct client_rig *rig)
{
    rig_init(rig);
    rig->config.session_expiry_s = 60;
    rig->config.clean_start = false;
    rig_make(rig);
    m5_client_set_returning(rig->client, true);
    assert_true(rig_connect(rig, RIG_CONNACK));
}

/* Subscribes to @p filter, which is granted, as packet @p id. */
static void subscribe(struct client_rig *rig, const char *filter, const char *suback)
{
    assert_int_equal(rig_subscribe(rig, filter, 1, &mark[0]), MQTT5_OK);
    rig_drop_output(rig);
    rig_feed(rig, suback);
    assert_int_equal(rig_completed(rig, NULL), MQTT5_OK);
}

static void lose(struct client_rig *rig)
{
    struct m5_client_event event;
    rig_lose(rig);
    assert_true(rig_event(rig, &event));
    assert_int_equal(event.type, M5_CLIENT_DISCONNECTED);
}

/* [MQTT-3.1.2-6] */
static void kept_session_needs_no_subscription(void **state)
{
    (void)state;
    struct client_rig rig;
    make(&rig);
    subscribe(&rig, "a/+", "90 [0001 00 01]");
    lose(&rig);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_sent(&rig, ""));
    rig_fini(&rig);
}

/* [MQTT-3.2.2-5] */
static void lost_session_is_subscribed_again(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    make(&rig);
    subscribe(&rig, "a/+", "90 [0001 00 01]");
    subscribe(&rig, "b", "90 [0002 00 01]");
    lose(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_sent(&rig, "82 [0003 00 0003'a/+' 01 0001'b' 01]"));
    rig_feed(&rig, "90 [0003 00 01 87]");
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_RESUBSCRIBED);
    assert_int_equal(event.result.reason_codes.len, 2);
    assert_true(rig_quiet(&rig));
    lose(&rig); /* what was refused is not asked for again */
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_sent(&rig, "82 [0004 00 0003'a/+' 01]"));
    rig_fini(&rig);
}

static void what_was_unsubscribed_is_forgotten(void **state)
{
    (void)state;
    struct client_rig rig;
    const struct mqtt5_bytes filter = m5_bytes_of("a");
    const struct mqtt5_unsubscribe unsubscribe = {.count = 1, .items = &filter};
    make(&rig);
    subscribe(&rig, "a", "90 [0001 00 01]");
    assert_int_equal(m5_client_unsubscribe(rig.client, &unsubscribe, &mark[1]), MQTT5_OK);
    rig_drop_output(&rig);
    rig_feed(&rig, "b0 [0002 00 00]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    lose(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_sent(&rig, ""));
    rig_fini(&rig);
}

static void options_and_identifiers_are_kept(void **state)
{
    (void)state;
    struct client_rig rig;
    const struct mqtt5_subscription_request items[] = {
        {.filter = m5_bytes_of("a"), .qos = 2, .no_local = true, .retain_handling = 2},
        {.filter = m5_bytes_of("b"), .qos = 0, .retain_as_published = true}};
    struct mqtt5_subscribe subscribe_packet = {.count = 2, .items = items};
    MQTT5_SET(&subscribe_packet.properties, SUBSCRIPTION_IDENTIFIER);
    subscribe_packet.properties.subscription_identifier = 7;
    make(&rig);
    assert_int_equal(m5_client_subscribe(rig.client, &subscribe_packet, &mark[0]), MQTT5_OK);
    rig_drop_output(&rig);
    rig_feed(&rig, "90 [0001 00 02 00]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    lose(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_sent(&rig, "82 [0002 02 0b07 0001'a' 26 0001'b' 08]"));
    rig_fini(&rig);
}

/* A SUBSCRIBE without an answer is sent with the next connection, when one follows. */
static void unanswered_subscriptions_wait_for_the_next_connection(void **state)
{
    (void)state;
    struct client_rig rig;
    void *ctx;
    make(&rig);
    assert_int_equal(rig_subscribe(&rig, "a", 1, &mark[2]), MQTT5_OK);
    rig_drop_output(&rig);
    lose(&rig);
    assert_int_equal(rig_subscribe(&rig, "b", 0, &mark[3]), MQTT5_OK); /* while waiting */
    assert_true(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_sent(&rig, "82 [0002 00 0001'a' 01] 82 [0003 00 0001'b' 00]"));
    rig_feed(&rig, "90 [0002 00 01]");
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_OK);
    assert_ptr_equal(ctx, &mark[2]);
    lose(&rig);
    m5_client_set_returning(rig.client, false); /* no other follows after all */
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_ERR_CLOSED);
    assert_ptr_equal(ctx, &mark[3]);
    assert_int_equal(rig_subscribe(&rig, "c", 0, &mark[3]), MQTT5_ERR_INVALID_STATE);
    rig_fini(&rig);
}

/* The user who connects by hand, with Clean Start, begins anew. */
static void clean_start_forgets_subscriptions(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_start(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    subscribe(&rig, "a", "90 [0001 00 01]");
    lose(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_sent(&rig, ""));
    rig_fini(&rig);
}

/* Many filters go in packets of a bounded size. */
static void many_subscriptions_go_in_several_packets(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    make(&rig);
    for (int i = 0; i < 150; i++) {
        char filter[16], suback[32];
        snprintf(filter, sizeof filter, "f/%d", i);
        snprintf(suback, sizeof suback, "90 [%04x 00 01]", i + 1);
        subscribe(&rig, filter, suback);
    }
    lose(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    uint32_t packets = 0, filters = 0;
    struct mqtt5_bytes out = m5_client_output(rig.client);
    while (out.len > 0) {
        struct mqtt5_decode_limits limits;
        struct mqtt5_frame frame;
        struct mqtt5_packet packet;
        mqtt5_decode_limits_init(&limits);
        assert_int_equal(mqtt5_frame_read(out, UINT32_MAX, &frame), MQTT5_OK);
        assert_int_equal(mqtt5_packet_decode(&frame, 5, &limits, &packet), MQTT5_OK);
        assert_int_equal(packet.type, MQTT5_SUBSCRIBE);
        filters += packet.as.subscribe.count;
        packets++;
        m5_client_sent(rig.client, frame.size);
        out = m5_client_output(rig.client);
    }
    assert_int_equal(filters, 150);
    assert_int_equal(packets, 3);
    rig_lose(&rig); /* before any answer: nothing is shown of that, and it is asked again */
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_DISCONNECTED);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(m5_client_output(rig.client).len > 150 * 5);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_session_needs_no_subscription),
        cmocka_unit_test(lost_session_is_subscribed_again),
        cmocka_unit_test(what_was_unsubscribed_is_forgotten),
        cmocka_unit_test(options_and_identifiers_are_kept),
        cmocka_unit_test(unanswered_subscriptions_wait_for_the_next_connection),
        cmocka_unit_test(clean_start_forgets_subscriptions),
        cmocka_unit_test(many_subscriptions_go_in_several_packets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
