/* CONNECT and CONNACK, decoded.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/packet.h>

#include "base/bytes.h"
#include "support/decode_cases.h"
#include "support/hex.h"
#include "support/unit.h"

#define V5   "0004'MQTT'05"
#define V311 "0004'MQTT'04"
#define V31  "0006'MQIsdp'03"

static void connect_of_5_is_checked(void **state)
{
    (void)state;
    static const struct decode_case cases[] = {
        {"bare", 5, 0x10, V5 "02 003c 00 0000", MQTT5_OK},
        {"everything", 5, 0x10,
         V5 "f6 003c [11 00000010 21 0001 17 01] 0001'c'"
            "[18 00000005 01 01 03 0001't' 08 0001'r'] 0001'w' 0002'hi' 0001'u' 0001'p'",
         MQTT5_OK},
        {"[MQTT-3.1.2-1] name", 5, 0x10, "0004'MQTX'05 02 003c 00 0000", MQTT5_ERR_PROTOCOL_NAME},
        {"[MQTT-3.1.2-1] name in lower case", 5, 0x10, "0004'mqtt'05 02 003c 00 0000",
         MQTT5_ERR_PROTOCOL_NAME},
        {"[MQTT-3.1.2-2] version 6", 5, 0x10, "0004'MQTT'06 02 003c 00 0000",
         MQTT5_ERR_PROTOCOL_VERSION},
        {"version 5 with the bridge bit", 5, 0x10, "0004'MQTT'85 02 003c 00 0000",
         MQTT5_ERR_PROTOCOL_VERSION},
        {"fixed header flags [MQTT-2.1.3-1]", 5, 0x11, V5 "02 003c 00 0000",
         MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.1.2-3] reserved flag", 5, 0x10, V5 "03 003c 00 0000", MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.1.2-11] will QoS without a will", 5, 0x10, V5 "0a 003c 00 0000",
         MQTT5_ERR_CONNECT_FLAGS},
        {"[MQTT-3.1.2-13] will retain without a will", 5, 0x10, V5 "22 003c 00 0000",
         MQTT5_ERR_CONNECT_FLAGS},
        {"[MQTT-3.1.2-12] will QoS 2", 5, 0x10, V5 "16 003c 00 0000 00 0001'w' 0000", MQTT5_OK},
        {"[MQTT-3.1.2-12] will QoS 3", 5, 0x10, V5 "1e 003c 00 0000 00 0001'w' 0000",
         MQTT5_ERR_QOS},
        {"[MQTT-3.1.2-9] will flag without a will", 5, 0x10, V5 "06 003c 00 0000",
         MQTT5_ERR_TRUNCATED},
        {"[MQTT-3.1.2-9] no will payload", 5, 0x10, V5 "06 003c 00 0000 00 0001'w'",
         MQTT5_ERR_TRUNCATED},
        {"[MQTT-3.1.2-17] user name flag without a name", 5, 0x10, V5 "82 003c 00 0000",
         MQTT5_ERR_TRUNCATED},
        {"[MQTT-3.1.2-16] user name without the flag", 5, 0x10, V5 "02 003c 00 0000 0001'u'",
         MQTT5_ERR_TRAILING_BYTES},
        {"[MQTT-3.1.2-19] password flag without a password", 5, 0x10, V5 "c2 003c 00 0000 0001'u'",
         MQTT5_ERR_TRUNCATED},
        {"[MQTT-3.1.2-18] password without the flag", 5, 0x10, V5 "82 003c 00 0000 0001'u' 0001'p'",
         MQTT5_ERR_TRAILING_BYTES},
        {"password without user name", 5, 0x10, V5 "42 003c 00 0000 0001'p'", MQTT5_OK},
        {"password of any bytes", 5, 0x10, V5 "42 003c 00 0000 0003ff0000", MQTT5_OK},
        {"[MQTT-3.1.3-3] no client identifier", 5, 0x10, V5 "02 003c 00", MQTT5_ERR_TRUNCATED},
        {"[MQTT-3.1.3-4] client identifier not UTF-8", 5, 0x10, V5 "02 003c 00 0001ff",
         MQTT5_ERR_UTF8},
        {"[MQTT-1.5.4-2] client identifier with U+0000", 5, 0x10, V5 "02 003c 00 0002 6100",
         MQTT5_ERR_UTF8_NUL},
        {"[MQTT-3.1.3-12] user name not UTF-8", 5, 0x10, V5 "82 003c 00 0000 0002c328",
         MQTT5_ERR_UTF8},
        {"[MQTT-3.1.3-11] will topic not UTF-8", 5, 0x10, V5 "06 003c 00 0000 00 0001c1 0000",
         MQTT5_ERR_UTF8},
        {"[MQTT-4.7.3-1] empty will topic", 5, 0x10, V5 "06 003c 00 0000 00 0000 0000",
         MQTT5_ERR_TOPIC_EMPTY},
        {"[MQTT-4.7.0-1] wildcard in the will topic", 5, 0x10,
         V5 "06 003c 00 0000 00 0003'w/#' 0000", MQTT5_ERR_TOPIC_WILDCARD},
        {"[MQTT-3.1.3-1] will after the user name is not found", 5, 0x10,
         V5 "86 003c 00 0000 0001'u' 00 0001'w' 0000", MQTT5_ERR_TRUNCATED},
        {"authentication method and data", 5, 0x10, V5 "02 003c 08 15 0001'm' 16 0001ff 0000",
         MQTT5_OK},
        {"authentication data without method", 5, 0x10, V5 "02 003c 04 16 0001ff 0000",
         MQTT5_ERR_PROTOCOL},
        {"no properties length", 5, 0x10, V5 "02 003c", MQTT5_ERR_TRUNCATED},
        {"properties longer than the packet", 5, 0x10, V5 "02 003c 05 17 01 0000",
         MQTT5_ERR_TRUNCATED},
    };
    DECODE_CASES_PASS(cases);
}

static void connect_of_3_is_checked(void **state)
{
    (void)state;
    static const struct decode_case cases[] = {
        {"3.1.1", 4, 0x10, V311 "02 003c 0000", MQTT5_OK},
        {"3.1.1 with everything", 4, 0x10, V311 "f6 003c 0001'c' 0001'w' 0002'hi' 0001'u' 0001'p'",
         MQTT5_OK},
        {"3.1.1 of a bridge", 4, 0x10, "0004'MQTT'84 02 003c 0001'b'", MQTT5_OK},
        {"3.1.1 reserved flag", 4, 0x10, V311 "03 003c 0000", MQTT5_ERR_RESERVED_BITS},
        {"3.1.1 password without user name", 4, 0x10, V311 "42 003c 0000 0001'p'",
         MQTT5_ERR_CONNECT_FLAGS},
        {"3.1.1 empty client identifier for a lasting session", 4, 0x10, V311 "00 003c 0000",
         MQTT5_ERR_CLIENT_ID},
        {"3.1.1 will flags without will", 4, 0x10, V311 "0a 003c 0001'c'", MQTT5_ERR_CONNECT_FLAGS},
        {"3.1.1 user name missing", 4, 0x10, V311 "82 003c 0001'c'", MQTT5_ERR_TRUNCATED},
        {"3.1.1 trailing byte", 4, 0x10, V311 "02 003c 0001'c' 00", MQTT5_ERR_TRAILING_BYTES},
        {"3.1", 3, 0x10, V31 "02 003c 0001'c'", MQTT5_OK},
        {"3.1 of a bridge", 3, 0x10, "0006'MQIsdp'83 02 003c 0001'c'", MQTT5_OK},
        {"3.1 without client identifier", 3, 0x10, V31 "02 003c 0000", MQTT5_ERR_CLIENT_ID},
        {"3.1 does not look at unused flags", 3, 0x10, V31 "2b 003c 0001'c'", MQTT5_OK},
        {"3.1 user name and password flags with neither", 3, 0x10, V31 "c2 003c 0001'c'", MQTT5_OK},
        {"3.1 user name and password flags with a name", 3, 0x10, V31 "c2 003c 0001'c' 0001'u'",
         MQTT5_OK},
        {"3.1 half a user name", 3, 0x10, V31 "82 003c 0001'c' 0002'u'", MQTT5_ERR_TRUNCATED},
        {"the name of 3.1 with the version of 3.1.1", 4, 0x10, "0006'MQIsdp'04 02 003c 0001'c'",
         MQTT5_ERR_PROTOCOL_VERSION},
        {"the name of 3.1.1 with the version of 3.1", 3, 0x10, "0004'MQTT'03 02 003c 0001'c'",
         MQTT5_ERR_PROTOCOL_VERSION},
    };
    DECODE_CASES_PASS(cases);
}

static enum mqtt5_error decode(const char *text, struct mqtt5_packet *packet)
{
    static uint8_t room[256];
    struct mqtt5_decode_limits limits;
    struct mqtt5_frame frame;
    mqtt5_decode_limits_init(&limits);
    limits.topic_levels_max = 3;
    assert_int_equal(mqtt5_frame_read(hex_read(text, room, sizeof room), 256, &frame), MQTT5_OK);
    return mqtt5_packet_decode(&frame, 0, &limits, packet);
}

static void connect_fields_are_those_of_the_packet(void **state)
{
    (void)state;
    struct mqtt5_packet packet;
    assert_int_equal(decode("10 [0004'MQTT'05 ee 1234 05 11 00000010 0002'id'"
                            "05 18 00000007 0003'w/t' 0002 ff00 0002'me' 0003 000102]",
                            &packet),
                     MQTT5_OK);
    const struct mqtt5_connect *connect = &packet.as.connect;
    assert_int_equal(connect->version, MQTT5_VERSION_5);
    assert_true(connect->clean_start);
    assert_false(connect->bridge);
    assert_int_equal(connect->keep_alive_s, 0x1234);
    assert_true(MQTT5_HAS(&connect->properties, SESSION_EXPIRY_INTERVAL));
    assert_int_equal(connect->properties.session_expiry_interval_s, 16);
    assert_true(m5_bytes_equal(connect->client_id, m5_bytes_of("id")));
    assert_true(connect->has_will && connect->will.retain);
    assert_int_equal(connect->will.qos, 1);
    assert_int_equal(connect->will.properties.will_delay_interval_s, 7);
    assert_true(m5_bytes_equal(connect->will.topic, m5_bytes_of("w/t")));
    assert_true(m5_bytes_equal(connect->will.payload, m5_bytes("\xff", 2)));
    assert_true(connect->has_username && connect->has_password);
    assert_true(m5_bytes_equal(connect->username, m5_bytes_of("me")));
    assert_true(m5_bytes_equal(connect->password, m5_bytes("\0\1\2", 3)));
}

/* The refusal is told in the dialect of who asked. */
static void version_is_known_after_an_error(void **state)
{
    (void)state;
    struct mqtt5_packet packet;
    assert_int_equal(decode("10 [0004'MQTT'04 03 003c 0000]", &packet), MQTT5_ERR_RESERVED_BITS);
    assert_int_equal(packet.as.connect.version, 4);
    assert_int_equal(decode("10 [0004'MQTT'05]", &packet), MQTT5_ERR_TRUNCATED);
    assert_int_equal(packet.as.connect.version, 5);
    assert_int_equal(decode("10 [0004'MQTT'09]", &packet), MQTT5_ERR_PROTOCOL_VERSION);
    assert_int_equal(packet.as.connect.version, 9);
    assert_int_equal(decode("10 [0004'NOPE'05]", &packet), MQTT5_ERR_PROTOCOL_NAME);
    assert_int_equal(packet.as.connect.version, 0);
    assert_int_equal(decode("10 [0004'M']", &packet), MQTT5_ERR_TRUNCATED);
    assert_int_equal(packet.as.connect.version, 0);
}

static void will_topic_keeps_to_the_level_limit(void **state)
{
    (void)state;
    struct mqtt5_packet packet;
    assert_int_equal(decode("10 [0004'MQTT'04 06 003c 0001'c' 0005'a/b/c' 0000]", &packet),
                     MQTT5_OK);
    assert_int_equal(decode("10 [0004'MQTT'04 06 003c 0001'c' 0005'a/b//' 0000]", &packet),
                     MQTT5_ERR_TOPIC_LEVELS);
}

static void connack_is_checked(void **state)
{
    (void)state;
    static const struct decode_case cases[] = {
        {"bare", 5, 0x20, "00 00 00", MQTT5_OK},
        {"session present", 5, 0x20, "01 00 00", MQTT5_OK},
        {"with properties", 5, 0x20,
         "00 00 [11 00000001 21 0400 24 01 25 01 27 00100000 12 0002'id' 22 000a 1f 0001'r'"
         "26 0001'a' 0001'b' 28 01 29 00 2a 00 13 0010]",
         MQTT5_OK},
        {"[MQTT-3.2.2-1] reserved flags", 5, 0x20, "02 00 00", MQTT5_ERR_RESERVED_BITS},
        {"fixed header flags", 5, 0x21, "00 00 00", MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.2.2-8] unknown reason", 5, 0x20, "00 01 00", MQTT5_ERR_REASON_CODE},
        {"[MQTT-3.2.2-8] reason of other packets", 5, 0x20, "00 8e 00", MQTT5_ERR_REASON_CODE},
        {"[MQTT-3.2.2-6] session present at a refusal", 5, 0x20, "01 87 00", MQTT5_ERR_PROTOCOL},
        {"refused", 5, 0x20, "00 87 00", MQTT5_OK},
        {"no property length", 5, 0x20, "00 00", MQTT5_ERR_TRUNCATED},
        {"trailing", 5, 0x20, "00 00 00 00", MQTT5_ERR_TRAILING_BYTES},
        {"3.1.1", 4, 0x20, "01 00", MQTT5_OK},
        {"3.1.1 refused", 4, 0x20, "00 05", MQTT5_OK},
        {"3.1.1 unknown code", 4, 0x20, "00 06", MQTT5_ERR_REASON_CODE},
        {"3.1.1 session present at a refusal", 4, 0x20, "01 05", MQTT5_ERR_PROTOCOL},
        {"3.1.1 with properties", 4, 0x20, "00 00 00", MQTT5_ERR_TRAILING_BYTES},
        {"3.1 does not use the first byte", 3, 0x20, "ff 00", MQTT5_OK},
    };
    DECODE_CASES_PASS(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connect_of_5_is_checked),
        cmocka_unit_test(connect_of_3_is_checked),
        cmocka_unit_test(connect_fields_are_those_of_the_packet),
        cmocka_unit_test(version_is_known_after_an_error),
        cmocka_unit_test(will_topic_keeps_to_the_level_limit),
        cmocka_unit_test(connack_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
