/* PUBLISH, decoded.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/packet.h>

#include "base/bytes.h"
#include "support/decode_cases.h"
#include "support/hex.h"
#include "support/unit.h"

static void publish_is_checked(void **state)
{
    (void)state;
    static const struct decode_case cases[] = {
        {"QoS 0", 5, 0x30, "0003'a/b' 00 'payload'", MQTT5_OK},
        {"no payload", 5, 0x30, "0003'a/b' 00", MQTT5_OK},
        {"QoS 1 with DUP and RETAIN", 5, 0x3b, "0003'a/b' 0001 00 'x'", MQTT5_OK},
        {"QoS 2", 5, 0x34, "0003'a/b' ffff 00 'x'", MQTT5_OK},
        {"all properties", 5, 0x30,
         "0001't' [01 01 02 0000000a 03 0002'ct' 08 0002'rt' 09 0001ff 0b 01 0b ffffff7f 23 0001"
         "26 0001'k' 0001'v' 26 0001'k' 0001'v'] 'x'",
         MQTT5_OK},
        {"[MQTT-3.3.1-4] QoS 3", 5, 0x36, "0003'a/b' 0001 00", MQTT5_ERR_QOS},
        {"[MQTT-3.3.1-2] DUP at QoS 0", 5, 0x38, "0003'a/b' 00", MQTT5_ERR_DUP_QOS0},
        {"packet identifier 0", 5, 0x32, "0003'a/b' 0000 00", MQTT5_ERR_PACKET_ID_ZERO},
        {"[MQTT-2.2.1-2] no packet identifier at QoS 0", 5, 0x30, "0003'a/b' 00 0001", MQTT5_OK},
        {"[MQTT-3.3.2-1] topic longer than the packet", 5, 0x30, "0004'a/b'", MQTT5_ERR_TRUNCATED},
        {"[MQTT-3.3.2-1] no topic", 5, 0x30, "00", MQTT5_ERR_TRUNCATED},
        {"[MQTT-3.3.2-1] topic not UTF-8", 5, 0x30, "0003 61ff62 00", MQTT5_ERR_UTF8},
        {"[MQTT-1.5.4-1] surrogate in the topic", 5, 0x30, "0003 eda080 00", MQTT5_ERR_UTF8},
        {"[MQTT-4.7.3-2] U+0000 in the topic", 5, 0x30, "0003 610062 00", MQTT5_ERR_UTF8_NUL},
        {"[MQTT-3.3.2-2] wildcard +", 5, 0x30, "0003'a/+' 00", MQTT5_ERR_TOPIC_WILDCARD},
        {"[MQTT-3.3.2-2] wildcard #", 5, 0x30, "0003'a/#' 00", MQTT5_ERR_TOPIC_WILDCARD},
        {"[MQTT-4.7.0-1] wildcard inside a level", 5, 0x30, "000c'longer/a+b/c' 00",
         MQTT5_ERR_TOPIC_WILDCARD},
        {"[MQTT-1.5.4-3] byte order mark", 5, 0x30, "0004 efbbbf61 00", MQTT5_OK},
        {"empty topic beside an alias", 5, 0x30, "0000 03 23 0001 'x'", MQTT5_OK},
        {"empty topic without an alias", 5, 0x30, "0000 00 'x'", MQTT5_ERR_PROTOCOL},
        {"[MQTT-3.3.2-8] alias 0", 5, 0x30, "0001't' 03 23 0000", MQTT5_ERR_TOPIC_ALIAS},
        {"[MQTT-3.3.2-13] response topic not UTF-8", 5, 0x30, "0001't' 04 08 0001ff",
         MQTT5_ERR_UTF8},
        {"[MQTT-3.3.2-14] response topic with a wildcard", 5, 0x30, "0001't' 04 08 0001'#'",
         MQTT5_ERR_PROPERTY_VALUE},
        {"[MQTT-3.3.2-19] content type not UTF-8", 5, 0x30, "0001't' 04 03 000180", MQTT5_ERR_UTF8},
        {"[MQTT-1.5.7-1] user property name not UTF-8", 5, 0x30, "0001't' 06 26 0001ff 0000",
         MQTT5_ERR_UTF8},
        {"[MQTT-1.5.7-1] user property value not UTF-8", 5, 0x30, "0001't' 06 26 0000 0001ff",
         MQTT5_ERR_UTF8},
        {"[MQTT-2.2.2-1] no property length", 5, 0x30, "0001't'", MQTT5_ERR_TRUNCATED},
        {"3.1.1", 4, 0x32, "0003'a/b' 0001 'x'", MQTT5_OK},
        {"3.1.1 empty topic", 4, 0x30, "0000 'x'", MQTT5_ERR_TOPIC_EMPTY},
        {"3.1.1 payload of what would be properties", 4, 0x30, "0001't' 03 23 0000", MQTT5_OK},
        {"3.1.1 DUP at QoS 0", 4, 0x38, "0003'a/b'", MQTT5_ERR_DUP_QOS0},
        {"3.1.1 QoS 3", 4, 0x36, "0003'a/b' 0001", MQTT5_ERR_QOS},
    };
    DECODE_CASES_PASS(cases);
}

static enum mqtt5_error decode(const char *text, uint8_t version,
                               const struct mqtt5_decode_limits *limits, struct mqtt5_publish *out)
{
    static uint8_t room[256];
    struct mqtt5_frame frame;
    assert_int_equal(mqtt5_frame_read(hex_read(text, room, sizeof room), 256, &frame), MQTT5_OK);
    return mqtt5_publish_decode(&frame, version, limits, out);
}

static void publish_fields_are_those_of_the_packet(void **state)
{
    (void)state;
    struct mqtt5_decode_limits limits;
    struct mqtt5_publish publish;
    mqtt5_decode_limits_init(&limits);
    assert_int_equal(
        decode("3d [0003'a/b' 1234 08 02 00000009 23 0007 'xy']", 5, &limits, &publish), MQTT5_OK);
    assert_true(publish.dup && publish.retain);
    assert_int_equal(publish.qos, 2);
    assert_int_equal(publish.packet_id, 0x1234);
    assert_true(m5_bytes_equal(publish.topic, m5_bytes_of("a/b")));
    assert_true(m5_bytes_equal(publish.payload, m5_bytes_of("xy")));
    assert_int_equal(publish.properties.message_expiry_interval_s, 9);
    assert_int_equal(publish.properties.topic_alias, 7);
    assert_int_equal(publish.properties.raw.len, 8);

    assert_int_equal(decode("30 [0003'a/b']", 4, &limits, &publish), MQTT5_OK);
    assert_int_equal(publish.packet_id, 0);
    assert_int_equal(publish.properties.present, 0);
    assert_int_equal(publish.properties.raw.len, 0);
    assert_int_equal(publish.payload.len, 0);
}

/* A publisher whose topic is too deep is told so in its PUBACK: the rest must be known. */
static void too_many_levels_leave_all_other_fields_decoded(void **state)
{
    (void)state;
    struct mqtt5_decode_limits limits = {.topic_levels_max = 2, .user_properties_max = 1};
    struct mqtt5_publish publish;
    assert_int_equal(decode("32 [0003'a/b' 1234 00 'xy']", 5, &limits, &publish), MQTT5_OK);
    assert_int_equal(decode("32 [0004'a/b/' 1234 03 23 0001 'xy']", 5, &limits, &publish),
                     MQTT5_ERR_TOPIC_LEVELS);
    assert_int_equal(publish.packet_id, 0x1234);
    assert_int_equal(publish.qos, 1);
    assert_int_equal(publish.properties.topic_alias, 1);
    assert_true(m5_bytes_equal(publish.payload, m5_bytes_of("xy")));
}

static void user_properties_keep_to_their_limit(void **state)
{
    (void)state;
    struct mqtt5_decode_limits limits = {.topic_levels_max = 2, .user_properties_max = 2};
    struct mqtt5_publish publish;
    const char *text = "30 [0001't' [26 0000 0000 26 0000 0000 26 0000 0000]]";
    assert_int_equal(decode(text, 5, &limits, &publish), MQTT5_ERR_PROPERTY_COUNT);
    limits.user_properties_max = 3;
    assert_int_equal(decode(text, 5, &limits, &publish), MQTT5_OK);
    assert_int_equal(publish.properties.user_property.count, 3);
    assert_null(publish.properties.user_property.items);
}

/* [MQTT-3.3.2-18]: the order is that of the packet, equal names included. */
static void repeated_properties_come_out_in_order(void **state)
{
    (void)state;
    struct mqtt5_decode_limits limits;
    struct mqtt5_publish publish;
    mqtt5_decode_limits_init(&limits);
    assert_int_equal(decode("30 [0001't' [26 0001'k' 0001'2' 0b 05 26 0001'k' 0001'1'"
                            "01 00 0b 8101]]",
                            5, &limits, &publish),
                     MQTT5_OK);
    assert_int_equal(publish.properties.subscription_identifier, 5);
    assert_int_equal(publish.properties.user_property.count, 2);
    static const struct {
        enum mqtt5_property_id id;
        uint32_t number;
        const char *value;
    } expected[] = {
        {MQTT5_PROPERTY_USER_PROPERTY, 0, "2"},
        {MQTT5_PROPERTY_SUBSCRIPTION_IDENTIFIER, 5, ""},
        {MQTT5_PROPERTY_USER_PROPERTY, 0, "1"},
        {MQTT5_PROPERTY_PAYLOAD_FORMAT_INDICATOR, 0, ""},
        {MQTT5_PROPERTY_SUBSCRIPTION_IDENTIFIER, 129, ""},
    };
    struct mqtt5_bytes rest = publish.properties.raw;
    struct mqtt5_property property;
    for (unsigned i = 0; i < 5; i++) {
        assert_true(mqtt5_property_next(&rest, &property));
        assert_int_equal(property.id, expected[i].id);
        assert_int_equal(property.number, expected[i].number);
        assert_true(m5_bytes_equal(property.value, m5_bytes_of(expected[i].value)));
    }
    assert_false(mqtt5_property_next(&rest, &property));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_is_checked),
        cmocka_unit_test(publish_fields_are_those_of_the_packet),
        cmocka_unit_test(too_many_levels_leave_all_other_fields_decoded),
        cmocka_unit_test(user_properties_keep_to_their_limit),
        cmocka_unit_test(repeated_properties_come_out_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
