/* What the server sends: messages, answers to subscriptions, and everything it must not send.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/client_rig.h"
#include "support/hex.h"
#include "support/seed.h"
#include "support/unit.h"

#include "base/rng.h"

static int mark[4];

static void connected(struct client_rig *rig)
{
    rig_start(rig);
    assert_true(rig_connect(rig, RIG_CONNACK));
}

static bool is_message(const struct m5_client_event *event, const char *topic, const char *payload)
{
    return event->type == M5_CLIENT_MESSAGE &&
           m5_bytes_equal(event->publish.topic, m5_bytes_of(topic)) &&
           m5_bytes_equal(event->publish.payload, m5_bytes_of(payload));
}

static bool next_message(struct client_rig *rig, const char *topic, const char *payload)
{
    struct m5_client_event event;
    return rig_event(rig, &event) && is_message(&event, topic, payload);
}

/* ---- messages ---- */

static void message_comes_with_all_its_properties(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    connected(&rig);
    rig_feed(&rig, "31 [0003'a/b' [01 01 02 00000009 03 0001'c' 08 0001'r' 09 0001'd' 0b 07 0b 09"
                   " 26 0001'k' 0001'v'] 'hi']");
    assert_true(rig_event(&rig, &event));
    assert_true(is_message(&event, "a/b", "hi"));
    assert_true(event.publish.retain);
    const struct mqtt5_properties *p = &event.publish.properties;
    assert_int_equal(p->message_expiry_interval_s, 9);
    assert_int_equal(p->subscription_identifier, 7);
    assert_int_equal(p->user_property.count, 1);
    struct mqtt5_bytes raw = p->raw;
    struct mqtt5_property property;
    int count = 0;
    while (mqtt5_property_next(&raw, &property))
        count++;
    assert_int_equal(count, 8);
    assert_true(rig_sent(&rig, ""));
    rig_fini(&rig);
}

/* [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.2-5] */
static void qos1_is_acknowledged_and_always_new(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig);
    rig_feed(&rig, "32 [0001't' 0005 00 'x'] 3a [0001't' 0005 00 'x']");
    assert_true(next_message(&rig, "t", "x"));
    assert_true(next_message(&rig, "t", "x"));
    assert_true(rig_sent(&rig, "40 [0005] 40 [0005]"));
    rig_fini(&rig);
}

/* [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12] */
static void qos2_is_shown_once_until_its_release(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig);
    rig_feed(&rig, "34 [0001't' 0005 00 'x'] 3c [0001't' 0005 00 'x']");
    assert_true(next_message(&rig, "t", "x"));
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "50 [0005] 50 [0005]"));
    rig_feed(&rig, "62 [0005]");
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "70 [0005]"));
    rig_feed(&rig, "34 [0001't' 0005 00 'y']");
    assert_true(next_message(&rig, "t", "y"));
    rig_fini(&rig);
}

static void release_of_an_unknown_identifier_is_answered(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig);
    rig_feed(&rig, "62 [0005]");
    assert_true(rig_quiet(&rig));
    assert_true(rig_sent(&rig, "70 [0005 92]"));
    rig_fini(&rig);
}

/* [MQTT-4.6.0-2] [MQTT-4.6.0-3] */
static void acknowledgements_keep_the_order_of_messages(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig);
    rig_feed(&rig, "32 [0001't' 0009 00] 34 [0001't' 0003 00] 32 [0001't' 0007 00]"
                   "34 [0001't' 0001 00]");
    for (int i = 0; i < 4; i++)
        assert_true(next_message(&rig, "t", ""));
    assert_true(rig_sent(&rig, "40 [0009] 50 [0003] 40 [0007] 50 [0001]"));
    rig_fini(&rig);
}

/* [MQTT-3.3.4-9] */
static void more_than_receive_maximum_ends_the_connection(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.receive_maximum = 2;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    rig_feed(&rig, "34 [0001't' 0001 00] 34 [0001't' 0002 00] 3c [0001't' 0002 00]");
    assert_true(next_message(&rig, "t", ""));
    assert_true(next_message(&rig, "t", ""));
    assert_true(rig_quiet(&rig)); /* the repeated one is not one more */
    assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CONNECTED);
    rig_drop_output(&rig);
    rig_feed(&rig, "32 [0001't' 0003 00]");
    assert_true(rig_ended(&rig, MQTT5_ERR_RECEIVE_MAXIMUM, 0x93));
    rig_fini(&rig);
}

static void packet_over_the_maximum_ends_the_connection(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.maximum_packet_size = 12;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    rig_feed(&rig, "30 [0001't' 00 'abcdef']");
    assert_true(next_message(&rig, "t", "abcdef"));
    rig_feed(&rig, "30 0b"); /* known from its second byte on */
    assert_true(rig_ended(&rig, MQTT5_ERR_PACKET_TOO_LARGE, 0x95));
    rig_fini(&rig);
}

/* ---- topic aliases inbound ---- */

/* [MQTT-3.3.2-10] [MQTT-3.3.2-7] */
static void alias_stands_for_its_topic_on_one_connection(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.topic_alias_maximum = 2;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    rig_feed(&rig, "30 [0001'a' [23 0002] '1'] 30 [0000 [23 0002] '2'] 30 [0001'b' [23 0002] '3']"
                   "30 [0000 [23 0002] '4'] 30 [0001'c' [23 0001] '5'] 30 [0000 [23 0002] '6']");
    assert_true(next_message(&rig, "a", "1"));
    assert_true(next_message(&rig, "a", "2"));
    assert_true(next_message(&rig, "b", "3"));
    assert_true(next_message(&rig, "b", "4"));
    assert_true(next_message(&rig, "c", "5"));
    assert_true(next_message(&rig, "b", "6"));
    rig_lose(&rig);
    struct m5_client_event event;
    assert_true(rig_event(&rig, &event));
    assert_true(rig_connect(&rig, RIG_CONNACK));
    rig_feed(&rig, "30 [0000 [23 0002] '7']");
    assert_true(rig_ended(&rig, MQTT5_ERR_PROTOCOL, 0x82));
    rig_fini(&rig);
}

static void alias_that_was_not_allowed_ends_the_connection(void **state)
{
    static const char *const packets[] = {"30 [0001'a' [23 0003] '1']", "30 [0000 [23 0003]]"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct client_rig rig;
        rig_init(&rig);
        rig.config.topic_alias_maximum = 2;
        rig_make(&rig);
        assert_true(rig_connect(&rig, RIG_CONNACK));
        rig_feed(&rig, packets[i]);
        assert_true(rig_ended(&rig, MQTT5_ERR_TOPIC_ALIAS, 0x94));
        rig_fini(&rig);
    }
}

/* ---- subscriptions ---- */

static void subscribe_goes_out_with_options_and_identifier(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    const struct mqtt5_subscription_request items[] = {
        {.filter = m5_bytes_of("a/+"),
         .qos = 2,
         .no_local = true,
         .retain_as_published = true,
         .retain_handling = MQTT5_RETAIN_DO_NOT_SEND},
        {.filter = m5_bytes_of("$share/g/b"), .qos = 1},
    };
    struct mqtt5_subscribe subscribe = {.count = 2, .items = items};
    MQTT5_SET(&subscribe.properties, SUBSCRIPTION_IDENTIFIER);
    subscribe.properties.subscription_identifier = 300;
    connected(&rig);
    assert_int_equal(m5_client_subscribe(rig.client, &subscribe, &mark[0]), MQTT5_OK);
    assert_true(rig_sent(&rig, "82 [0001 [0b ac02] 0003'a/+' 2e 000a'$share/g/b' 01]"));
    rig_feed(&rig, "90 [0001 00 02 87]");
    assert_true(rig_event(&rig, &event));
    assert_int_equal(event.type, M5_CLIENT_COMPLETED);
    assert_ptr_equal(event.ctx, &mark[0]);
    assert_int_equal(event.result.error, MQTT5_OK); /* one of them was granted */
    assert_int_equal(event.result.reason_codes.len, 2);
    assert_int_equal(event.result.reason_codes.data[1], 0x87);
    rig_fini(&rig);
}

static void subscription_that_is_refused_is_told(void **state)
{
    (void)state;
    struct client_rig rig;
    connected(&rig);
    assert_int_equal(rig_subscribe(&rig, "a", 1, &mark[0]), MQTT5_OK);
    rig_drop_output(&rig);
    rig_feed(&rig, "90 [0001 00 8f]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_ERR_REFUSED);
    rig_fini(&rig);
}

static void unsubscribe_is_done_at_unsuback(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    const struct mqtt5_bytes items[] = {m5_bytes_of("a"), m5_bytes_of("b")};
    const struct mqtt5_unsubscribe unsubscribe = {.count = 2, .items = items};
    connected(&rig);
    assert_int_equal(m5_client_unsubscribe(rig.client, &unsubscribe, &mark[1]), MQTT5_OK);
    assert_true(rig_sent(&rig, "a2 [0001 00 0001'a' 0001'b']"));
    rig_feed(&rig, "b0 [0001 00 00 11]");
    assert_true(rig_event(&rig, &event));
    assert_ptr_equal(event.ctx, &mark[1]);
    assert_int_equal(event.result.reason_codes.data[1], 0x11);
    rig_fini(&rig);
}

static void unsuback_of_3_1_1_has_no_codes(void **state)
{
    (void)state;
    struct client_rig rig;
    const struct mqtt5_bytes item = m5_bytes_of("a");
    const struct mqtt5_unsubscribe unsubscribe = {.count = 1, .items = &item};
    rig_init(&rig);
    rig.config.version = MQTT5_VERSION_3_1_1;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK_V3));
    assert_int_equal(m5_client_unsubscribe(rig.client, &unsubscribe, &mark[1]), MQTT5_OK);
    rig_drop_output(&rig);
    rig_feed(&rig, "b0 [0001]");
    assert_int_equal(rig_completed(&rig, NULL), MQTT5_OK);
    rig_fini(&rig);
}

static void empty_and_wrong_lists_are_refused(void **state)
{
    (void)state;
    struct client_rig rig;
    const struct mqtt5_subscribe nothing = {.count = 0};
    const struct mqtt5_unsubscribe none = {.count = 0};
    connected(&rig);
    assert_int_equal(m5_client_subscribe(rig.client, &nothing, NULL), MQTT5_ERR_EMPTY_LIST);
    assert_int_equal(m5_client_unsubscribe(rig.client, &none, NULL), MQTT5_ERR_EMPTY_LIST);
    assert_int_equal(rig_subscribe(&rig, "a/#/b", 0, NULL), MQTT5_ERR_FILTER_WILDCARD);
    assert_int_equal(rig_subscribe(&rig, "$share//b", 0, NULL), MQTT5_ERR_SHARE_NAME);
    assert_int_equal(rig_subscribe(&rig, "", 0, NULL), MQTT5_ERR_FILTER_EMPTY);
    assert_true(rig_sent(&rig, ""));
    rig_fini(&rig);
}

/* ---- what a server must not send ---- */

struct wrong_case {
    const char *what;
    const char *packet;
    enum mqtt5_error error;
};

/* After CONNACK, with a PUBLISH of QoS 1 (id 1), one of QoS 2 (2), SUBSCRIBE (3) and UNSUBSCRIBE of
 * two filters (4) in flight. */
static void set_up(struct client_rig *rig, uint8_t version)
{
    const struct mqtt5_bytes items[] = {m5_bytes_of("a"), m5_bytes_of("b")};
    const struct mqtt5_unsubscribe unsubscribe = {.count = 2, .items = items};
    rig_init(rig);
    rig->config.version = version;
    rig_make(rig);
    assert_true(rig_connect(rig, version == MQTT5_VERSION_5 ? RIG_CONNACK : RIG_CONNACK_V3));
    assert_int_equal(rig_publish(rig, 1, "x", NULL), MQTT5_OK);
    assert_int_equal(rig_publish(rig, 2, "x", NULL), MQTT5_OK);
    rig_drop_output(rig);
    assert_int_equal(rig_subscribe(rig, "f", 1, NULL), MQTT5_OK);
    assert_int_equal(m5_client_unsubscribe(rig->client, &unsubscribe, NULL), MQTT5_OK);
    rig_drop_output(rig);
}

static const struct wrong_case wrong_cases[] = {
    {"CONNECT", "10 [0004'MQTT' 05 02 003c 00 0001'c']", MQTT5_ERR_PROTOCOL},
    {"second CONNACK", "20 [00 00 00]", MQTT5_ERR_PROTOCOL}, /* [MQTT-3.2.0-2] */
    {"SUBSCRIBE", "82 [0001 00 0001'a' 00]", MQTT5_ERR_PROTOCOL},
    {"UNSUBSCRIBE", "a2 [0001 00 0001'a']", MQTT5_ERR_PROTOCOL},
    {"PINGREQ", "c0 00", MQTT5_ERR_PROTOCOL},
    {"AUTH", "f0 [18 [15 0001'm']]", MQTT5_ERR_PROTOCOL}, /* [MQTT-4.12.0-6] */
    {"packet type 0", "00 00", MQTT5_ERR_PACKET_TYPE},
    {"PUBACK for QoS 2", "40 [0002]", MQTT5_ERR_PROTOCOL},
    {"PUBREC for QoS 1", "50 [0001]", MQTT5_ERR_PROTOCOL},
    {"PUBCOMP for QoS 1", "70 [0001]", MQTT5_ERR_PROTOCOL},
    {"PUBCOMP before PUBREC", "70 [0002]", MQTT5_ERR_PROTOCOL},
    {"PUBACK for SUBSCRIBE", "40 [0003]", MQTT5_ERR_PROTOCOL},
    {"SUBACK for PUBLISH", "90 [0001 00 00]", MQTT5_ERR_PROTOCOL},
    {"SUBACK for UNSUBSCRIBE", "90 [0004 00 00 00]", MQTT5_ERR_PROTOCOL},
    {"UNSUBACK for SUBSCRIBE", "b0 [0003 00 00]", MQTT5_ERR_PROTOCOL},
    {"SUBACK without codes", "90 [0003 00]", MQTT5_ERR_EMPTY_LIST}, /* security case 12 */
    {"SUBACK with too many", "90 [0003 00 00 00]", MQTT5_ERR_PROTOCOL},
    {"UNSUBACK with too few", "b0 [0004 00 00]", MQTT5_ERR_PROTOCOL},
    {"SUBACK cut off", "90 [0003]", MQTT5_ERR_TRUNCATED},
    {"SUBACK empty", "90 00", MQTT5_ERR_TRUNCATED},
    {"PUBACK with id 0", "40 [0000]", MQTT5_ERR_PACKET_ID_ZERO},
    {"PUBLISH of QoS 3", "36 [0001't' 0001 00]", MQTT5_ERR_QOS},             /* [MQTT-3.3.1-4] */
    {"DISCONNECT with expiry", "e0 [00 [11 00000001]]", MQTT5_ERR_PROTOCOL}, /* [MQTT-3.14.2-2] */
    {"five length bytes", "30 ff ff ff ff 01", MQTT5_ERR_VARINT_TOO_LONG},
};

/* Every one is answered with its reason code and the end of the connection [MQTT-4.13.1-1]. */
static void wrong_packets_end_the_connection(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong_cases / sizeof *wrong_cases; i++) {
        const struct wrong_case *wrong = &wrong_cases[i];
        struct client_rig rig;
        set_up(&rig, MQTT5_VERSION_5);
        rig_feed(&rig, wrong->packet);
        if (!rig_ended(&rig, wrong->error, (uint8_t)mqtt5_error_reason(wrong->error)))
            fail_msg("%s", wrong->what);
        rig_fini(&rig);
    }
}

/* Before CONNACK nothing may come [MQTT-3.2.0-1], and there is nobody to explain it to. */
static void nothing_may_come_before_connack(void **state)
{
    static const char *const packets[] = {"10 [0004'MQTT' 05 02 003c 00 0001'c']",
                                          "30 [0001't' 00]",
                                          "40 [0001]",
                                          "50 [0001]",
                                          "62 [0001]",
                                          "70 [0001]",
                                          "82 [0001 00 0001'a' 00]",
                                          "90 [0001 00 00]",
                                          "a2 [0001 00 0001'a']",
                                          "b0 [0001 00 00]",
                                          "c0 00",
                                          "d0 00",
                                          "e0 00",
                                          "f0 00",
                                          "00 00"};
    (void)state;
    for (size_t i = 0; i < sizeof packets / sizeof *packets; i++) {
        struct client_rig rig;
        rig_start(&rig);
        assert_int_equal(m5_client_open(rig.client, M5_CLIENT_START_AS_CONFIGURED, rig.now_ms),
                         MQTT5_OK);
        rig_drop_output(&rig);
        rig_feed(&rig, packets[i]);
        assert_true(rig_quiet(&rig));
        assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CLOSING);
        assert_true(rig_sent(&rig, ""));
        assert_true(m5_client_wants_close(rig.client));
        rig_fini(&rig);
    }
}

static void packets_of_version_5_are_wrong_in_3_1_1(void **state)
{
    static const struct wrong_case cases[] = {
        {"DISCONNECT", "e0 00", MQTT5_ERR_PROTOCOL},
        {"AUTH", "f0 00", MQTT5_ERR_PACKET_TYPE},
        {"PUBACK with a reason", "40 [0001 00]", MQTT5_ERR_TRAILING_BYTES},
        {"SUBACK with too many", "90 [0003 00 00]", MQTT5_ERR_PROTOCOL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client_rig rig;
        set_up(&rig, MQTT5_VERSION_3_1_1);
        rig_feed(&rig, cases[i].packet);
        if (!rig_ended(&rig, cases[i].error, 0)) /* 3.1.1 has no words for it */
            fail_msg("%s", cases[i].what);
        rig_fini(&rig);
    }
}

/* ---- pieces, garbage, pressure ---- */

static const char conversation[] = "20 [00 00 [22 0004]] 31 [0003'a/b' [0b 07] 'hi']"
                                   "34 [0001't' 0005 00 'x'] 62 [0005] 32 [0001't' 0006 00 'y']"
                                   "40 [0001] 50 [0002] 70 [0002] 90 [0003 00 01] d0 00";

/* Plays the conversation in pieces and gives a digest of the events. */
static unsigned play(size_t first, size_t piece)
{
    uint8_t bytes[256];
    struct client_rig rig;
    struct m5_client_event event;
    unsigned digest = 0;
    rig_start(&rig);
    assert_int_equal(m5_client_open(rig.client, M5_CLIENT_START_AS_CONFIGURED, rig.now_ms),
                     MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 1, "x", NULL), MQTT5_OK);
    assert_int_equal(rig_publish(&rig, 2, "x", NULL), MQTT5_OK);
    const struct mqtt5_bytes all = hex_read(conversation, bytes, sizeof bytes);
    for (size_t at = 0, size = first; at < all.len; at += size, size = piece) {
        if (size > all.len - at)
            size = all.len - at;
        rig_feed_bytes(&rig, m5_bytes(all.data + at, size));
        while (rig_event(&rig, &event)) {
            digest = digest * 31 + (unsigned)event.type * 7 + (unsigned)event.result.error +
                     (unsigned)event.publish.payload.len;
            rig_drop_output(&rig);
            if (event.type == M5_CLIENT_CONNECTED)
                assert_int_equal(rig_subscribe(&rig, "f", 1, NULL), MQTT5_OK);
            rig_drop_output(&rig);
        }
        rig_drop_output(&rig);
    }
    assert_int_equal(m5_client_state(rig.client), MQTT5_CLIENT_CONNECTED);
    rig_fini(&rig);
    return digest;
}

static void bytes_may_come_in_any_pieces(void **state)
{
    (void)state;
    const unsigned whole = play(1000, 1000);
    for (size_t piece = 1; piece < 40; piece++)
        assert_int_equal(play(piece, piece), whole);
    for (size_t split = 1; split < 100; split++)
        assert_int_equal(play(split, 1000), whole);
}

/* Bytes from a generator, after a proper CONNACK: nothing but an orderly end may come of it. */
static void garbage_ends_the_connection_in_order(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(1));
    for (int round = 0; round < 3000; round++) {
        struct client_rig rig;
        struct m5_client_event event;
        uint8_t bytes[64];
        set_up(&rig, round % 2 == 0 ? MQTT5_VERSION_5 : MQTT5_VERSION_3_1_1);
        for (int i = 0; i < 20 && m5_client_state(rig.client) == MQTT5_CLIENT_CONNECTED; i++) {
            const size_t size = 1 + m5_rng_below(&rng, sizeof bytes);
            m5_rng_fill(&rng, bytes, size);
            bytes[0] =
                (uint8_t)(m5_rng_below(&rng, 16) << 4 | (m5_rng_below(&rng, 2) != 0 ? 2 : 0));
            bytes[1] = (uint8_t)(size - 2);
            m5_client_input(rig.client, m5_bytes(bytes, size));
            while (rig_event(&rig, &event))
                ;
            rig_drop_output(&rig);
        }
        rig_lose(&rig);
        while (rig_event(&rig, &event))
            ;
        rig_fini(&rig);
    }
}

/* A length of 256 MiB that is announced takes no memory before the bytes are there. */
static void announced_length_takes_no_memory(void **state)
{
    (void)state;
    struct client_rig rig;
    rig_init(&rig);
    rig.config.maximum_packet_size = UINT32_MAX;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK));
    rig_feed(&rig, "30 ff ff ff 7f 0001't' 00");
    assert_true(rig_quiet(&rig));
    for (int i = 0; i < 1000; i++)
        rig_feed(&rig, "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
    assert_true(rig_quiet(&rig));
    assert_true(rig.allocator.bytes < 100000);
    rig_fini(&rig);
}

/* A server that sends without reading our answers is not read any more. */
static void reading_stops_while_answers_pile_up(void **state)
{
    (void)state;
    struct client_rig rig;
    struct m5_client_event event;
    uint8_t packets[4096 * 7];
    size_t size = 0;
    for (int i = 0; i < 4096; i++) {
        static const uint8_t packet[] = {0x32, 5, 0, 1, 't', 0, 1};
        memcpy(packets + size, packet, sizeof packet);
        size += sizeof packet;
    }
    rig_init(&rig);
    rig.config.version = MQTT5_VERSION_3_1_1;
    rig_make(&rig);
    assert_true(rig_connect(&rig, RIG_CONNACK_V3));
    int rounds = 0;
    while (m5_client_wants_read(rig.client) && rounds < 1000) {
        rounds++;
        assert_int_equal(m5_client_input(rig.client, m5_bytes(packets, size)), size);
        while (m5_client_next_event(rig.client, &event))
            ;
    }
    assert_true(rounds >= 16 && rounds < 20); /* 256 KiB of PUBACKs */
    assert_int_equal(m5_client_input(rig.client, m5_bytes(packets, size)), 0);
    rig_drop_output(&rig);
    assert_true(m5_client_wants_read(rig.client));
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_comes_with_all_its_properties),
        cmocka_unit_test(qos1_is_acknowledged_and_always_new),
        cmocka_unit_test(qos2_is_shown_once_until_its_release),
        cmocka_unit_test(release_of_an_unknown_identifier_is_answered),
        cmocka_unit_test(acknowledgements_keep_the_order_of_messages),
        cmocka_unit_test(more_than_receive_maximum_ends_the_connection),
        cmocka_unit_test(packet_over_the_maximum_ends_the_connection),
        cmocka_unit_test(alias_stands_for_its_topic_on_one_connection),
        cmocka_unit_test(alias_that_was_not_allowed_ends_the_connection),
        cmocka_unit_test(subscribe_goes_out_with_options_and_identifier),
        cmocka_unit_test(subscription_that_is_refused_is_told),
        cmocka_unit_test(unsubscribe_is_done_at_unsuback),
        cmocka_unit_test(unsuback_of_3_1_1_has_no_codes),
        cmocka_unit_test(empty_and_wrong_lists_are_refused),
        cmocka_unit_test(wrong_packets_end_the_connection),
        cmocka_unit_test(nothing_may_come_before_connack),
        cmocka_unit_test(packets_of_version_5_are_wrong_in_3_1_1),
        cmocka_unit_test(bytes_may_come_in_any_pieces),
        cmocka_unit_test(garbage_ends_the_connection_in_order),
        cmocka_unit_test(announced_length_takes_no_memory),
        cmocka_unit_test(reading_stops_while_answers_pile_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
