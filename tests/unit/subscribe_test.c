/* SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK, decoded.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/packet.h>

#include "base/bytes.h"
#include "support/decode_cases.h"
#include "support/hex.h"
#include "support/unit.h"

static void subscribe_is_checked(void **state)
{
    (void)state;
    static const struct decode_case cases[] = {
        {"one filter", 5, 0x82, "0001 00 0003'a/b' 00", MQTT5_OK},
        {"all options", 5, 0x82, "0001 00 0003'a/#' 2e", MQTT5_OK},
        {"three filters and properties", 5, 0x82,
         "ffff 09 0b 05 26 0001'k' 0001'v' 0001'a' 00 0001'b' 01 0001'c' 02", MQTT5_OK},
        {"[MQTT-3.8.1-1] flags 0", 5, 0x80, "0001 00 0001'a' 00", MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.8.1-1] flags 3", 5, 0x83, "0001 00 0001'a' 00", MQTT5_ERR_RESERVED_BITS},
        {"packet identifier 0", 5, 0x82, "0000 00 0001'a' 00", MQTT5_ERR_PACKET_ID_ZERO},
        {"[MQTT-3.8.3-1] filter not UTF-8", 5, 0x82, "0001 00 0001ff 00", MQTT5_ERR_UTF8},
        {"[MQTT-4.7.3-2] U+0000 in a filter", 5, 0x82, "0001 00 000100 00", MQTT5_ERR_UTF8_NUL},
        {"[MQTT-3.8.3-2] no filter", 5, 0x82, "0001 00", MQTT5_ERR_EMPTY_LIST},
        {"[MQTT-4.7.3-1] empty filter", 5, 0x82, "0001 00 0000 00", MQTT5_ERR_FILTER_EMPTY},
        {"[MQTT-3.8.3-5] reserved bit 6", 5, 0x82, "0001 00 0001'a' 40",
         MQTT5_ERR_SUBSCRIPTION_OPTIONS},
        {"[MQTT-3.8.3-5] reserved bit 7 of the second", 5, 0x82, "0001 00 0001'a' 00 0001'b' 80",
         MQTT5_ERR_SUBSCRIPTION_OPTIONS},
        {"QoS 3", 5, 0x82, "0001 00 0001'a' 03", MQTT5_ERR_SUBSCRIPTION_QOS},
        {"retain handling 3", 5, 0x82, "0001 00 0001'a' 30", MQTT5_ERR_RETAIN_HANDLING},
        {"[MQTT-3.8.3-4] No Local, shared", 5, 0x82, "0001 00 000a'$share/g/a' 04",
         MQTT5_ERR_NO_LOCAL_SHARED},
        {"shared", 5, 0x82, "0001 00 000a'$share/g/a' 01", MQTT5_OK},
        {"wildcard where it may not be: the caller's answer", 5, 0x82, "0001 00 0002'a#' 00",
         MQTT5_OK},
        {"no options", 5, 0x82, "0001 00 0001'a'", MQTT5_ERR_TRUNCATED},
        {"filter longer than the packet", 5, 0x82, "0001 00 0003'a' 00", MQTT5_ERR_TRUNCATED},
        {"subscription identifier 0", 5, 0x82, "0001 02 0b 00 0001'a' 00",
         MQTT5_ERR_PROPERTY_VALUE},
        {"two subscription identifiers", 5, 0x82, "0001 04 0b 01 0b 01 0001'a' 00",
         MQTT5_ERR_PROPERTY_DUPLICATE},
        {"3.1.1", 4, 0x82, "0001 0001'a' 02 0001'b' 00", MQTT5_OK},
        {"3.1.1 reserved bits", 4, 0x82, "0001 0001'a' 04", MQTT5_ERR_SUBSCRIPTION_OPTIONS},
        {"3.1.1 QoS 3", 4, 0x82, "0001 0001'a' 03", MQTT5_ERR_SUBSCRIPTION_QOS},
        {"3.1.1 no filter", 4, 0x82, "0001", MQTT5_ERR_EMPTY_LIST},
        {"3.1.1 with DUP", 4, 0x8a, "0001 0001'a' 00", MQTT5_ERR_RESERVED_BITS},
        {"3.1 with DUP", 3, 0x8a, "0001 0001'a' 00", MQTT5_OK},
        {"3.1 does not look at unused bits", 3, 0x82, "0001 0001'a' fd", MQTT5_OK},
    };
    DECODE_CASES_PASS(cases);
}

static void unsubscribe_is_checked(void **state)
{
    (void)state;
    static const struct decode_case cases[] = {
        {"two filters", 5, 0xa2, "0001 00 0001'a' 0001'b'", MQTT5_OK},
        {"with properties", 5, 0xa2, "0001 07 26 0001'k' 0001'v' 0001'a'", MQTT5_OK},
        {"[MQTT-3.10.1-1] flags", 5, 0xa0, "0001 00 0001'a'", MQTT5_ERR_RESERVED_BITS},
        {"packet identifier 0", 5, 0xa2, "0000 00 0001'a'", MQTT5_ERR_PACKET_ID_ZERO},
        {"[MQTT-3.10.3-1] filter not UTF-8", 5, 0xa2, "0001 00 0001ff", MQTT5_ERR_UTF8},
        {"[MQTT-3.10.3-2] no filter", 5, 0xa2, "0001 00", MQTT5_ERR_EMPTY_LIST},
        {"empty filter", 5, 0xa2, "0001 00 0001'a' 0000", MQTT5_ERR_FILTER_EMPTY},
        {"half a length", 5, 0xa2, "0001 00 0001'a' 00", MQTT5_ERR_TRUNCATED},
        {"3.1.1", 4, 0xa2, "0001 0001'a'", MQTT5_OK},
        {"3.1 with DUP", 3, 0xaa, "0001 0001'a'", MQTT5_OK},
    };
    DECODE_CASES_PASS(cases);
}

static void suback_and_unsuback_are_checked(void **state)
{
    (void)state;
    static const struct decode_case cases[] = {
        {"SUBACK", 5, 0x90, "0001 00 00 01 02 80 83 87 8f 91 97 9e a1 a2", MQTT5_OK},
        {"SUBACK with properties", 5, 0x90, "0001 04 1f 0001'r' 00", MQTT5_OK},
        {"SUBACK flags", 5, 0x92, "0001 00 00", MQTT5_ERR_RESERVED_BITS},
        {"[MQTT-3.9.3-2] reason", 5, 0x90, "0001 00 00 03", MQTT5_ERR_REASON_CODE},
        {"[MQTT-3.9.3-2] reason of UNSUBACK", 5, 0x90, "0001 00 11", MQTT5_ERR_REASON_CODE},
        {"SUBACK without reasons", 5, 0x90, "0001 00", MQTT5_ERR_EMPTY_LIST},
        {"SUBACK packet identifier 0", 5, 0x90, "0000 00 00", MQTT5_ERR_PACKET_ID_ZERO},
        {"3.1.1 SUBACK", 4, 0x90, "0001 00 01 02 80", MQTT5_OK},
        {"3.1.1 SUBACK reason", 4, 0x90, "0001 81", MQTT5_ERR_REASON_CODE},
        {"3.1.1 SUBACK without reasons", 4, 0x90, "0001", MQTT5_ERR_EMPTY_LIST},
        {"UNSUBACK", 5, 0xb0, "0001 00 00 11 80 83 87 8f 91", MQTT5_OK},
        {"[MQTT-3.11.3-2] reason", 5, 0xb0, "0001 00 01", MQTT5_ERR_REASON_CODE},
        {"UNSUBACK without reasons", 5, 0xb0, "0001 00", MQTT5_ERR_EMPTY_LIST},
        {"3.1.1 UNSUBACK", 4, 0xb0, "0001", MQTT5_OK},
        {"3.1.1 UNSUBACK with reasons", 4, 0xb0, "0001 00", MQTT5_ERR_TRAILING_BYTES},
    };
    DECODE_CASES_PASS(cases);
}

static void decode(const char *text, uint8_t version, struct mqtt5_packet *packet)
{
    static uint8_t room[256];
    struct mqtt5_decode_limits limits;
    struct mqtt5_frame frame;
    mqtt5_decode_limits_init(&limits);
    assert_int_equal(mqtt5_frame_read(hex_read(text, room, sizeof room), 256, &frame), MQTT5_OK);
    assert_int_equal(mqtt5_packet_decode(&frame, version, &limits, packet), MQTT5_OK);
}

static void filters_and_options_come_out_in_order(void **state)
{
    (void)state;
    struct mqtt5_packet packet;
    struct mqtt5_subscription_request request;
    decode("82 0c 0007 00 0001'a' 2e 0002'b/' 11", 5, &packet);
    assert_int_equal(packet.as.subscribe.packet_id, 7);
    assert_int_equal(packet.as.subscribe.count, 2);
    struct mqtt5_bytes rest = packet.as.subscribe.raw;
    assert_true(mqtt5_subscribe_next(&rest, 5, &request));
    assert_true(m5_bytes_equal(request.filter, m5_bytes_of("a")));
    assert_int_equal(request.qos, 2);
    assert_true(request.no_local && request.retain_as_published);
    assert_int_equal(request.retain_handling, MQTT5_RETAIN_DO_NOT_SEND);
    assert_true(mqtt5_subscribe_next(&rest, 5, &request));
    assert_true(m5_bytes_equal(request.filter, m5_bytes_of("b/")));
    assert_int_equal(request.qos, 1);
    assert_false(request.no_local || request.retain_as_published);
    assert_int_equal(request.retain_handling, MQTT5_RETAIN_SEND_IF_NEW);
    assert_false(mqtt5_subscribe_next(&rest, 5, &request));

    struct mqtt5_bytes filter;
    decode("a2 09 0007 0001'a' 0002'b/'", 4, &packet);
    assert_int_equal(packet.as.unsubscribe.count, 2);
    rest = packet.as.unsubscribe.raw;
    assert_true(mqtt5_unsubscribe_next(&rest, &filter));
    assert_true(m5_bytes_equal(filter, m5_bytes_of("a")));
    assert_true(mqtt5_unsubscribe_next(&rest, &filter));
    assert_true(m5_bytes_equal(filter, m5_bytes_of("b/")));
    assert_false(mqtt5_unsubscribe_next(&rest, &filter));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subscribe_is_checked),
        cmocka_unit_test(unsubscribe_is_checked),
        cmocka_unit_test(suback_and_unsuback_are_checked),
        cmocka_unit_test(filters_and_options_come_out_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
