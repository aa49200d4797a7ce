/* Messages to the server: QoS flows, the window, packet identifiers, what the server takes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/client_rig.h"
#include "support/unit.h"

#include <stdlib.h>

static int mark[8]; /* addresses that tell operations apart */

static void connected(struct client_rig *rig)
{
    rig_start(rig);
    assert_true(rig_connect(rig, RIG_CONNACK));
}

/* [MQTT-4.3.1-1] [MQTT-2.2.1-2] [MQTT-3.3.1-2] */
static void qos0_is_done_when_it_is_in_the_output(void **state)
{
    (void)state;
    struct client_rig rig;
    void *ctx;
    connected(&rig);
    assert_int_equal(rig_publish(&rig, 0, "hi", &mark[0]), MQTT5_OK);
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "30 [0001't' 00 'hi']"));
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_OK);
    assert_ptr_equal(ctx, &mark[0]);
    rig_fini(&rig);
}

/* [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.2-3] [MQTT-2.2.1-3] */
static void qos1_is_done_at_puback(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    connected(&rig);
    assert_int_equal(rig_publish(&rig, 1, "hi", &mark[0]), MQTT5_OK);
    assert_true(rig_sent(&rig, "32 [0001't' 0001 00 'hi']"));
    assert_true(rig_quiet(&rig));
    rig_feed(&rig, "40 [0001 10 [1f 0001'n']]");
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_COMPLETED);
    assert_ptr_equal(event.ctx, &mark[0]);
    assert_int_equal(event.result.error, MQTT5_OK);
    assert_int_equal(event.result.reason_code, MQTT5_REASON_NO_MATCHING_SUBSCRIBERS);
    assert_int_equal(event.result.packet_id, 1);
    assert_true(MQTT5_HAS(&event.result.properties, REASON_STRING));
    assert_true(rig_sent(&rig, ""));
    rig_fini(&rig);
}

/* [MQTT-4.3.3-1] to [MQTT-4.3.3-5] */
static void qos2_is_done_at_pubcomp(void **state)
{
    (void)state;
    struct client_rig rig;
    void *ctx;
    connected(&rig);
    assert_int_equal(rig_publish(&rig, 2, "hi", &mark[0]), MQTT5_OK);
    assert_true(rig_sent(&rig, "34 [0001't' 0001 00 'hi']"));
    rig_feed(&rig, "50 [0001]");
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "62 [0001]")); /* [MQTT-4.3.3-4] [MQTT-2.2.1-5] */
    rig_feed(&rig, "70 [0001]");
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_OK);
    assert_ptr_equal(ctx, &mark[0]);
    assert_true(rig_sent(&rig, ""));
    rig_fini(&rig);
}

/* [MQTT-4.4.0-2] */
static void refusal_ends_the_message(void **state)
{
    static const struct {
        uint8_t qos;
        const char *answer;
        uint8_t reason;
    } cases[] = {{1, "40 [0001 87]", 0x87}, {2, "50 [0001 97]", 0x97}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct client_rig rig;
        struct m5_client_event event;
        connected(&rig);
        assert_int_equal(rig_publish(&rig, cases[i].qos, "hi", NULL), MQTT5_OK);
        rig_drop_output(&rig);
        rig_feed(&rig, cases[i].answer);
        assert_true(rig_event(&rig, &event));
        assert_int_equal(event.result.error, MQTT5_ERR_REFUSED);
        assert_int_equal(event.result.reason_code, cases[i].reason);
        assert_true(rig_sent(&rig, "")); /* no PUBREL */
        rig_fini(&rig);
    }
}

/* A PUBCOMP that does not know the identifier means that an earlier one got lost. */
static void pubcomp_not_found_is_a_success(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig);
    assert_int_equal(rig_publish(&rig, 2, "hi", NULL), MQTT5_OK);
    rig_drop_output(&rig);
    rig_feed(&rig, "50 [0001] 70 [0001 92]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    rig_fini(&rig);
}

static void repeated_pubrec_gets_pubrel_again(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig);
    assert_int_equal(rig_publish(&rig, 2, "hi", NULL), MQTT5_OK);
    rig_drop_output(&rig);
    rig_feed(&rig, "50 [0001] 50 [0001]");
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "62 [0001] 62 [0001]"));
    rig_fini(&rig);
}

static void unknown_acknowledgements_are_answered_or_ignored(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig);
    rig_feed(&rig, "40 [0007] 70 [0007] 90 [0007 00 00] b0 [0007 00 00] 50 [0007]");
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "62 [0007 92]"));
    assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CONNECTED);
    rig_fini(&rig);
}

/* ---- window and identifiers ---- */

/* [MQTT-3.3.4-7] [MQTT-4.9.0-1] [MQTT-4.9.0-2] */
static void no_more_than_receive_maximum_is_in_flight(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_start(&rig);
    assert_true(rig_connect(&rig, "20 [00 00 [21 0002]]"));
    for (int i = 0; i < 4; i++)
        assert_int_equal(rig_publish(&rig, (uint8_t)(1 + i % 2), "x", NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "32 [0001't' 0001 00 'x'] 34 [0001't' 0002 00 'x']"));
    rig_feed(&rig, "50 [0002]");
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "62 [0002]")); /* PUBREC gives no room, PUBCOMP does */
    rig_feed(&rig, "70 [0002]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "32 [0001't' 0003 00 'x']"));
    rig_feed(&rig, "40 [0003]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "34 [0001't' 0004 00 'x']"));
    rig_feed(&rig, "50 [0004 80]"); /* so does a refusal */
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_ERR_REFUSED);
    rig_fini(&rig);
}

/* [MQTT-3.3.4-8] [MQTT-4.9.0-3] */
static void full_window_delays_nothing_but_publish(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_start(&rig);
    assert_true(rig_connect(&rig, "20 [00 00 [21 0001]]"));
    assert_int_equal(rig_publish(&rig, 1, "a", NULL), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "b", NULL), MQTT5_OK);
    rig_drop_output(&rig);
    assert_int_equal(rig_subscribe(&rig, "f", 1, NULL), MQTT5_OK);
    rig_feed(&rig, "32 [0001'q' 0009 00]");
    struct m5_client_event event;
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_MESSAGE);
    assert_true(rig_sent(&rig, "40 [0009] 82 [0002 00 0001'f' 01]"));
    rig_fini(&rig);
}

static void own_window_counts_as_well(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.inflight_max = 1;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(rig_publish(&rig, 1, "a", NULL), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "b", NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "32 [0001't' 0001 00 'a']"));
    rig_fini(&rig);
}

/* [MQTT-2.2.1-3] [MQTT-4.3.2-1]: 200,000 messages, of which one is never acknowledged: its
 * identifier is not given to another, though all others come round three times. */
static void identifiers_in_flight_are_never_reused(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig);
    assert_int_equal(rig_publish(&rig, 1, "first", &mark[0]), MQTT5_OK);
    rig_drop_output(&rig);
    uint16_t last = 1;
    for (uint32_t i = 0; i < 200000; i++) {
        assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
        const struct mqtt5_bytes out = m5_client_output(rig.client);
        const uint16_t id = m5_read_u16(out.data + 5);
        assert_int_not_equal(id, 0);
        assert_int_not_equal(id, 1);
        assert_true(id == last + 1 || id == last + 2 || id < 17); /* counting up */
        m5_client_sent(rig.client, out.len);
        const uint8_t puback[] = {0x40, 2, (uint8_t)(id >> 8), (uint8_t)id};
        assert_int_equal(m5_client_input(rig.client, m5_bytes(puback, 4)), 4);
        struct m5_client_event event;
        assert_true(m5_client_next_event(rig.client, &event));
        assert_int_equal(event.result.packet_id, id);
        last = id;
    }
    rig_feed(&rig, "40 [0001]");
    void *ctx;
    assert_int_equal(rig_completed(&rig, &ctx), MQTT5_OK);
    assert_ptr_equal(ctx, &mark[0]);
    rig_fini(&rig);
}

/* All 65,535 identifiers at once; the next message waits, and takes the one that becomes free. */
static void every_identifier_can_be_in_flight(void **state)
{
    (void)state;
    struct client_rig rig;
    uint8_t *seen = calloc(65536, 1);
    rig_init(&rig);
    rig.config.inflight_max = 65535;
    rig.config.queued_messages_max = 70000;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    for (uint32_t i = 0; i < 65536; i++) {
        const struct mqtt5_publish publish = {.qos = 1, .topic = m5_bytes_of("t")};
        assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
        const struct mqtt5_bytes out = m5_client_output(rig.client);
        if (i == 65535) {
            assert_int_equal(out.len, 0);
            break;
        }
        const uint16_t id = m5_read_u16(out.data + 5);
        assert_true(id != 0 && !seen[id]);
        seen[id] = 1;
        m5_client_sent(rig.client, out.len);
    }
    m5_client_check(rig.client);
    rig_feed(&rig, "40 [1234]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "32 [0001't' 1234 00]"));
    free(seen);
    rig_fini(&rig);
}

/* ---- what the server takes ---- */

/* [MQTT-3.2.2-11] [MQTT-3.2.2-14] [MQTT-3.2.2-15] */
static void what_the_server_does_not_take_is_not_sent(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_publish publish = {.topic = m5_bytes_of("t"), .retain = true};
    rig_start(&rig);
    assert_true(rig_connect(&rig, "20 [00 00 [24 01 25 00 27 00000010]]"));
    assert_int_equal(rig_publish(&rig, 2, "x", NULL), MQTT5_ERR_UNSUPPORTED);
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_ERR_UNSUPPORTED);
    assert_int_equal(rig_publish(&rig, 0, "0123456789", NULL), MQTT5_OK); /* 16 bytes */
    assert_int_equal(rig_publish(&rig, 0, "0123456789a", NULL), MQTT5_ERR_PACKET_TOO_LARGE);
    assert_true(rig_sent(&rig, "30 [0001't' 00 '0123456789']"));
    rig_fini(&rig);
}

/* The same where it is known only when CONNACK has come. */
static void what_was_queued_before_connack_is_checked_again(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    rig_start(&rig);
    assert_int_equal(m5_client_open(rig.client, M5_CLIENT_START_AS_CONFIGURED, rig.now_ms),
                     MQTT5_OK);
    rig_drop_output(&rig);
    assert_int_equal(rig_publish(&rig, 2, "x", &mark[0]), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "0123456789a", &mark[1]), MQTT5_OK);
    assert_int_equal(rig_subscribe(&rig, "0123456789abcdef", 0, &mark[2]), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 0, "y", &mark[3]), MQTT5_OK);
    assert_true(rig_sent(&rig, "")); /* nothing before CONNACK */
    rig_feed(&rig, "20 [00 00 [24 01 27 00000010]]");
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_CONNECTED);
    assert_true(rig_sent(&rig, "30 [0001't' 00 'y']"));
    static const struct {
        void *ctx;
        enum mqtt5_error error;
        uint8_t reason;
    } ends[] = {{&mark[2], MQTT5_ERR_PACKET_TOO_LARGE, 0x95},
                {&mark[0], MQTT5_ERR_UNSUPPORTED, 0x9B},
                {&mark[1], MQTT5_ERR_PACKET_TOO_LARGE, 0x95},
                {&mark[3], MQTT5_OK, 0}};
    for (size_t i = 0; i < 4; i++) {
        assert_true(rig_event(&rig, &event));
        assert_ptr_equal(event.ctx, ends[i].ctx);
        assert_int_equal(event.result.error, ends[i].error);
        assert_int_equal(event.result.reason_code, ends[i].reason);
    }
    rig_fini(&rig);
}

static void subscriptions_the_server_does_not_take_are_not_sent(void **state)
{
    (void)state;
    struct client_rig rig;
    const struct mqtt5_subscription_request item = {.filter = m5_bytes_of("a")};
    struct mqtt5_subscribe subscribe = {.count = 1, .items = &item};
    MQTT5_SET(&subscribe.properties, SUBSCRIPTION_IDENTIFIER);
    subscribe.properties.subscription_identifier = 1;
    rig_start(&rig);
    assert_true(rig_connect(&rig, "20 [00 00 [28 00 29 00 2a 00]]"));
    assert_int_equal(rig_subscribe(&rig, "a/+", 0, NULL), MQTT5_ERR_UNSUPPORTED);
    assert_int_equal(rig_subscribe(&rig, "$share/g/a", 0, NULL), MQTT5_ERR_UNSUPPORTED);
    assert_int_equal(m5_client_subscribe(rig.client, &subscribe, NULL), MQTT5_ERR_UNSUPPORTED);
    assert_int_equal(rig_subscribe(&rig, "a", 0, NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "82 [0001 00 0001'a' 00]"));
    rig_fini(&rig);
}

struct publish_case {
    const char *what;
    struct mqtt5_publish publish;
    enum mqtt5_error error;
};

static void messages_that_are_not_valid_are_not_sent(void **state)
{
    (void)state;
    struct publish_case cases[] = {
        {"empty topic", {.topic = m5_bytes_of("")}, MQTT5_ERR_TOPIC_EMPTY},
        {"wildcard", {.topic = m5_bytes_of("a/+")}, MQTT5_ERR_TOPIC_WILDCARD}, /* [MQTT-4.7.0-1] */
        {"not UTF-8", {.topic = m5_bytes_of("\xC0\x80")}, MQTT5_ERR_UTF8},
        {"null character", {.topic = m5_bytes("a\0", 2)}, MQTT5_ERR_UTF8_NUL}, /* [MQTT-4.7.3-2] */
        {"QoS 3", {.topic = m5_bytes_of("a"), .qos = 3}, MQTT5_ERR_INVALID_ARGUMENT},
        {"subscription identifier", {.topic = m5_bytes_of("a")}, MQTT5_ERR_PROPERTY_NOT_ALLOWED},
        {"alias 0", {.topic = m5_bytes_of("a")}, MQTT5_ERR_TOPIC_ALIAS}, /* [MQTT-3.3.2-8] */
        {"alias nobody allowed", {.topic = m5_bytes_of("a")}, MQTT5_ERR_TOPIC_ALIAS},
        {"alias hidden in raw", {.topic = m5_bytes_of("a")}, MQTT5_ERR_TOPIC_ALIAS},
        {"wildcard in response topic", {.topic = m5_bytes_of("a")}, MQTT5_ERR_PROPERTY_VALUE},
    };
    MQTT5_SET(&cases[5].publish.properties, SUBSCRIPTION_IDENTIFIER); /* [MQTT-3.3.4-6] */
    cases[5].publish.properties.subscription_identifier = 1;
    MQTT5_SET(&cases[6].publish.properties, TOPIC_ALIAS);
    MQTT5_SET(&cases[7].publish.properties, TOPIC_ALIAS);
    cases[7].publish.properties.topic_alias = 1; /* [MQTT-3.2.2-18] */
    cases[8].publish.properties.raw = m5_bytes("\x23\x00\x01", 3);
    MQTT5_SET(&cases[9].publish.properties, RESPONSE_TOPIC);
    cases[9].publish.properties.response_topic = m5_bytes_of("a/#");
    struct client_rig rig;
    connected(&rig);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const enum mqtt5_error error = m5_client_publish(rig.client, &cases[i].publish, NULL);
        if (error != cases[i].error)
            fail_msg("%s: %s", cases[i].what, mqtt5_error_name(error));
    }
    assert_true(rig_sent(&rig, ""));
    rig_fini(&rig);
}

static void properties_need_version_5(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_publish publish = {.topic = m5_bytes_of("t")};
    rig_init(&rig);
    rig.config.version = MQTT5_VERSION_3_1_1;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK_V3));
    MQTT5_SET(&publish.properties, CONTENT_TYPE);
    publish.properties.content_type = m5_bytes_of("x");
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_ERR_UNSUPPORTED);
    publish.properties.present = 0;
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "30 [0001't']"));
    rig_fini(&rig);
}

static void all_properties_go_out(void **state)
{
    (void)state;
    struct client_rig rig;
    const struct mqtt5_user_property pairs[] = {{m5_bytes_of("k"), m5_bytes_of("1")},
                                                {m5_bytes_of("k"), m5_bytes_of("2")}};
    struct mqtt5_publish publish = {.topic = m5_bytes_of("t"), .payload = m5_bytes_of("p")};
    struct mqtt5_properties *p = &publish.properties;
    MQTT5_SET(p, PAYLOAD_FORMAT_INDICATOR);
    p->payload_format_indicator = 1;
    MQTT5_SET(p, MESSAGE_EXPIRY_INTERVAL);
    p->message_expiry_interval_s = 9;
    MQTT5_SET(p, CONTENT_TYPE);
    p->content_type = m5_bytes_of("c");
    MQTT5_SET(p, RESPONSE_TOPIC);
    p->response_topic = m5_bytes_of("r");
    MQTT5_SET(p, CORRELATION_DATA);
    p->correlation_data = m5_bytes("\x00\xff", 2);
    MQTT5_SET(p, USER_PROPERTY);
    p->user_property = (struct mqtt5_user_properties){.items = pairs, .count = 2};
    connected(&rig);
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "30 [0001't' [01 01 02 00000009 03 0001'c' 08 0001'r' 09 0002 00ff"
                               " 26 0001'k' 0001'1' 26 0001'k' 0001'2'] 'p']"));
    rig_fini(&rig);
}

/* ---- topic aliases outbound ---- */

static struct mqtt5_publish with_alias(uint16_t alias, uint8_t qos)
{
    struct mqtt5_publish publish = {
        .topic = m5_bytes_of("t"), .payload = m5_bytes_of("p"), .qos = qos};
    MQTT5_SET(&publish.properties, TOPIC_ALIAS);
    publish.properties.topic_alias = alias;
    return publish;
}

/* [MQTT-3.3.2-9] [MQTT-3.2.2-17] [MQTT-3.3.2-7] */
static void alias_replaces_the_topic_from_the_second_message_on(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_publish publish = with_alias(2, 1);
    rig_start(&rig);
    assert_true(rig_connect(&rig, "20 [00 00 [22 0002]]"));
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
    publish.topic = m5_bytes_of("u");
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
    assert_true(rig_sent(&rig, "32 [0001't' 0001 [23 0002] 'p'] 32 [0000 0002 [23 0002] 'p']"
                               "32 [0001'u' 0003 [23 0002] 'p']"));
    publish.properties.topic_alias = 3;
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_ERR_TOPIC_ALIAS);
    rig_fini(&rig);
}

/* An alias ends with its connection; what is sent again comes with its topic, and without the alias
 * where the server now allows none. */
static void alias_is_not_carried_to_the_next_connection(void **state)
{
    (void)state;
    struct client_rig rig;
    const struct mqtt5_publish publish = with_alias(1, 1);
    rig_init(&rig);
    rig.config.clean_start = false;
    rig.config.session_expiry_s = 60;
    rig_make(&rig);
    assert_true(rig_connect(&rig, "20 [00 00 [22 0001]]"));
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
    rig_drop_output(&rig);
    rig_lose(&rig);
    assert_true(rig_connect(&rig, "20 [01 00 [22 0001]]"));
    assert_true(rig_sent(&rig, "3a [0001't' 0001 [23 0001] 'p'] 3a [0000 0002 [23 0001] 'p']"));
    rig_lose(&rig);
    assert_true(rig_connect(&rig, RIG_RESUMED));
    assert_true(rig_sent(&rig, "3a [0001't' 0001 00 'p'] 3a [0001't' 0002 00 'p']"));
    rig_fini(&rig);
}

/* ---- bounds ---- */

static void queue_is_bounded_in_messages_and_bytes(void **state)
{
    (void)state;
    struct client_rig rig;
    struct mqtt5_client_info info;
    static char large[2000];
    memset(large, 'x', sizeof large - 1);
    rig_init(&rig);
    rig.config.inflight_max = 1;
    rig.config.queued_messages_max = 3;
    rig.config.queued_bytes_max = 2000;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_int_equal(rig_publish(&rig, 1, large, NULL), MQTT5_ERR_QUEUE_FULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_ERR_QUEUE_FULL);
    assert_int_equal(rig_subscribe(&rig, "x", 1, NULL), MQTT5_ERR_QUEUE_FULL);
    m5_client_info(rig.client, &info);
    assert_int_equal(info.queued_messages, 3);
    rig_drop_output(&rig);
    rig_feed(&rig, "40 [0001]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    assert_true(rig_quiet(&rig)); /* now it is given back */
    assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    rig_fini(&rig);
}

/* Many small messages do not become one huge output. */
static void output_is_filled_in_portions(void **state)
{
    (void)state;
    struct client_rig rig;
    size_t total = 0, packets = 0;
    connected(&rig);
    for (int i = 0; i < 9000; i++) {
        const struct mqtt5_publish publish = {.topic = m5_bytes_of("t"),
                                              .payload = m5_bytes_of("0123456789012345")};
        assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
    }
    for (;;) {
        const struct mqtt5_bytes out = m5_client_output(rig.client);
        if (out.len == 0)
            break;
        assert_true(out.len < (64 << 10) + 64);
        const size_t part = out.len > 1000 ? 1000 : out.len; /* a transport that takes little */
        m5_client_sent(rig.client, part);
        total += part;
        packets++;
    }
    assert_int_equal(total, 9000 * 22);
    assert_true(packets > 190);
    m5_client_check(rig.client);
    rig_fini(&rig);
}

static void large_payload_goes_through(void **state)
{
    (void)state;
    struct client_rig rig;
    const size_t size = 3 << 20;
    uint8_t *payload = calloc(size, 1);
    const struct mqtt5_publish publish = {.topic = m5_bytes_of("t"),
                                          .payload = m5_bytes(payload, size)};
    size_t total = 0;
    connected(&rig);
    assert_int_equal(m5_client_publish(rig.client, &publish, NULL), MQTT5_OK);
    for (struct mqtt5_bytes out; (out = m5_client_output(rig.client)).len > 0;) {
        total += out.len;
        m5_client_sent(rig.client, out.len);
    }
    assert_int_equal(total, size + 1 + 4 + 4);
    free(payload);
    rig_fini(&rig);
}

/* ---- not connected ---- */

static void publishing_while_disconnected_needs_the_offline_queue(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_start(&rig);
    assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_ERR_INVALID_STATE);
    assert_int_equal(rig_subscribe(&rig, "x", 1, NULL), MQTT5_ERR_INVALID_STATE);
    rig_fini(&rig);
    rig_init(&rig);
    rig.config.offline_queue = true;
    rig_make(&rig);
    assert_int_equal(rig_publish(&rig, 0, "x", NULL), MQTT5_ERR_INVALID_STATE);
    assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    assert_true(rig_sent(&rig, "32 [0001't' 0001 00 'x']")); /* DUP is for what was sent before */
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qos0_is_done_when_it_is_in_the_output),
        cmocka_unit_test(qos1_is_done_at_puback),
        cmocka_unit_test(qos2_is_done_at_pubcomp),
        cmocka_unit_test(refusal_ends_the_message),
        cmocka_unit_test(pubcomp_not_found_is_a_success),
        cmocka_unit_test(repeated_pubrec_gets_pubrel_again),
        cmocka_unit_test(unknown_acknowledgements_are_answered_or_ignored),
        cmocka_unit_test(no_more_than_receive_maximum_is_in_flight),
        cmocka_unit_test(full_window_delays_nothing_but_publish),
        cmocka_unit_test(own_window_counts_as_well),
        cmocka_unit_test(identifiers_in_flight_are_never_reused),
        cmocka_unit_test(every_identifier_can_be_in_flight),
        cmocka_unit_test(what_the_server_does_not_take_is_not_sent),
        cmocka_unit_test(what_was_queued_before_connack_is_checked_again),
        cmocka_unit_test(subscriptions_the_server_does_not_take_are_not_sent),
        cmocka_unit_test(messages_that_are_not_valid_are_not_sent),
        cmocka_unit_test(properties_need_version_5),
        cmocka_unit_test(all_properties_go_out),
        cmocka_unit_test(alias_replaces_the_topic_from_the_second_message_on),
        cmocka_unit_test(alias_is_not_carried_to_the_next_connection),
        cmocka_unit_test(queue_is_bounded_in_messages_and_bytes),
        cmocka_unit_test(output_is_filled_in_portions),
        cmocka_unit_test(large_payload_goes_through),
        cmocka_unit_test(publishing_while_disconnected_needs_the_offline_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
