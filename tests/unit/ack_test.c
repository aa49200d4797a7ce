/* PUBACK, PUBREC, PUBREL and PUBCOMP, decoded; PINGREQ, PINGRESP, DISCONNECT and AUTH.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/packet.h>

#include "support/decode_cases.h"
#include "support/hex.h"
#include "support/unit.h"

static void acks_are_checked(void **state)
{
    (void)state;
    static const struct decode_case cases[] = {
        {"PUBACK", 5, 0x40, "0001", MQTT5_OK},
        {"PUBACK with reason", 5, 0x40, "0001 10", MQTT5_OK},
        {"PUBACK with reason and property length", 5, 0x40, "0001 00 00", MQTT5_OK},
        {"PUBACK with properties", 5, 0x40, "0001 87 0b 1f 0001'r' 26 0001'k' 0001'v'", MQTT5_OK},
        {"packet identifier 0", 5, 0x40, "0000", MQTT5_ERR_PACKET_ID_ZERO},
        {"half a packet identifier", 5, 0x40, "01", MQTT5_ERR_TRUNCATED},
        {"nothing", 5, 0x40, "", MQTT5_ERR_TRUNCATED},
        {"PUBACK flags [MQTT-2.1.3-1]", 5, 0x42, "0001", MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.4.2-1] PUBACK reason", 5, 0x40, "0001 92", MQTT5_ERR_REASON_CODE},
        {"[MQTT-3.5.2-1] PUBREC reason", 5, 0x50, "0001 92", MQTT5_ERR_REASON_CODE},
        {"PUBREC", 5, 0x50, "0001 97", MQTT5_OK},
        {"[MQTT-3.6.2-1] PUBREL reason", 5, 0x62, "0001 87", MQTT5_ERR_REASON_CODE},
        {"PUBREL", 5, 0x62, "0001 92", MQTT5_OK},
        {"[MQTT-3.6.1-1] PUBREL flags 0", 5, 0x60, "0001", MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.6.1-1] PUBREL flags 3", 5, 0x63, "0001", MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.6.1-1] PUBREL with DUP", 5, 0x6a, "0001", MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.7.2-1] PUBCOMP reason", 5, 0x70, "0001 10", MQTT5_ERR_REASON_CODE},
        {"PUBCOMP", 5, 0x70, "0001 92", MQTT5_OK},
        {"trailing", 5, 0x40, "0001 00 00 00", MQTT5_ERR_TRAILING_BYTES},
        {"3.1.1 PUBACK", 4, 0x40, "0001", MQTT5_OK},
        {"3.1.1 PUBACK with reason", 4, 0x40, "0001 00", MQTT5_ERR_TRAILING_BYTES},
        {"3.1.1 PUBREL with DUP", 4, 0x6a, "0001", MQTT5_ERR_RESERVED_BITS},
        {"3.1 PUBREL with DUP", 3, 0x6a, "0001", MQTT5_OK},
        {"3.1 PUBREL at QoS 0", 3, 0x60, "0001", MQTT5_ERR_RESERVED_BITS},
    };
    DECODE_CASES_PASS(cases);
}

static void pings_are_checked(void **state)
{
    (void)state;
    static const struct decode_case cases[] = {
        {"PINGREQ", 5, 0xc0, "", MQTT5_OK},
        {"PINGRESP", 5, 0xd0, "", MQTT5_OK},
        {"PINGREQ flags", 5, 0xc1, "", MQTT5_ERR_RESERVED_BITS},
        {"PINGRESP flags", 5, 0xd8, "", MQTT5_ERR_RESERVED_BITS},
        {"PINGREQ with a body", 5, 0xc0, "00", MQTT5_ERR_TRAILING_BYTES},
        {"PINGRESP with a body", 4, 0xd0, "00", MQTT5_ERR_TRAILING_BYTES},
    };
    DECODE_CASES_PASS(cases);
}

static void disconnect_and_auth_are_checked(void **state)
{
    (void)state;
    static const struct decode_case cases[] = {
        {"DISCONNECT", 5, 0xe0, "", MQTT5_OK},
        {"DISCONNECT with reason", 5, 0xe0, "04", MQTT5_OK},
        {"DISCONNECT with properties", 5, 0xe0, "00 09 11 00000000 1f 0001'r'", MQTT5_OK},
        {"[MQTT-3.14.1-1] flags", 5, 0xe2, "", MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.14.2-1] reason", 5, 0xe0, "01", MQTT5_ERR_REASON_CODE},
        {"[MQTT-3.14.2-1] reason of CONNACK", 5, 0xe0, "84", MQTT5_ERR_REASON_CODE},
        {"DISCONNECT trailing", 5, 0xe0, "00 00 00", MQTT5_ERR_TRAILING_BYTES},
        {"3.1.1 DISCONNECT", 4, 0xe0, "", MQTT5_OK},
        {"3.1.1 DISCONNECT with reason", 4, 0xe0, "00", MQTT5_ERR_TRAILING_BYTES},
        {"AUTH", 5, 0xf0, "", MQTT5_OK},
        {"AUTH that goes on", 5, 0xf0, "18 08 15 0001'm' 16 0001'd'", MQTT5_OK},
        {"[MQTT-3.15.1-1] flags", 5, 0xf1, "", MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.15.2-1] reason", 5, 0xf0, "80 04 15 0001'm'", MQTT5_ERR_REASON_CODE},
        {"AUTH with a reason alone", 5, 0xf0, "18", MQTT5_ERR_TRUNCATED},
        {"AUTH without method", 5, 0xf0, "18 00", MQTT5_ERR_PROTOCOL},
        {"AUTH without method but with data", 5, 0xf0, "18 04 16 0001'd'", MQTT5_ERR_PROTOCOL},
        {"3.1.1 AUTH", 4, 0xf0, "", MQTT5_ERR_PACKET_TYPE},
        {"type 0", 5, 0x00, "", MQTT5_ERR_PACKET_TYPE},
        {"3.1.1 type 0", 4, 0x00, "", MQTT5_ERR_PACKET_TYPE},
    };
    DECODE_CASES_PASS(cases);
}

static void what_is_left_out_means_success(void **state)
{
    (void)state;
    struct mqtt5_decode_limits limits;
    struct mqtt5_frame frame;
    struct mqtt5_ack ack;
    struct mqtt5_packet packet;
    uint8_t room[8];
    mqtt5_decode_limits_init(&limits);
    assert_int_equal(mqtt5_frame_read(hex_read("50 02 0102", room, 8), 8, &frame), MQTT5_OK);
    assert_int_equal(mqtt5_ack_decode(&frame, 5, &limits, &ack), MQTT5_OK);
    assert_int_equal(ack.packet_id, 0x0102);
    assert_int_equal(ack.reason_code, MQTT5_REASON_SUCCESS);
    assert_int_equal(ack.properties.present, 0);
    assert_int_equal(mqtt5_frame_read(hex_read("50 03 0102 97", room, 8), 8, &frame), MQTT5_OK);
    assert_int_equal(mqtt5_ack_decode(&frame, 5, &limits, &ack), MQTT5_OK);
    assert_int_equal(ack.reason_code, MQTT5_REASON_QUOTA_EXCEEDED);
    assert_int_equal(mqtt5_frame_read(hex_read("e0 00", room, 8), 8, &frame), MQTT5_OK);
    assert_int_equal(mqtt5_packet_decode(&frame, 5, &limits, &packet), MQTT5_OK);
    assert_int_equal(packet.type, MQTT5_DISCONNECT);
    assert_int_equal(packet.as.disconnect.reason_code, MQTT5_REASON_SUCCESS);
    assert_int_equal(packet.as.disconnect.properties.present, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acks_are_checked),
        cmocka_unit_test(pings_are_checked),
        cmocka_unit_test(disconnect_and_auth_are_checked),
        cmocka_unit_test(what_is_left_out_means_success),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
