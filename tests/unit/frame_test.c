/* The fixed header, and variable byte integers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/packet.h>

#include "base/bytes.h"
#include "protocol/reader.h"
#include "support/guard_page.h"
#include "support/hex.h"
#include "support/unit.h"

static enum mqtt5_error read(const char *text, uint32_t size_max, struct mqtt5_frame *frame)
{
    static uint8_t room[300];
    return mqtt5_frame_read(hex_read(text, room, sizeof room), size_max, frame);
}

static void size_is_reported_as_soon_as_it_is_known(void **state)
{
    (void)state;
    struct mqtt5_frame frame;
    assert_int_equal(read("", 100, &frame), MQTT5_NEED_MORE);
    assert_int_equal(frame.size, 0);
    assert_int_equal(read("35", 100, &frame), MQTT5_NEED_MORE);
    assert_int_equal(frame.type, MQTT5_PUBLISH);
    assert_int_equal(frame.flags, 5);
    assert_int_equal(frame.size, 0);
    assert_int_equal(read("30 ff", 10000, &frame), MQTT5_NEED_MORE);
    assert_int_equal(frame.size, 0);
    assert_int_equal(read("30 8001", 10000, &frame), MQTT5_NEED_MORE);
    assert_int_equal(frame.size, 3 + 128);
    assert_int_equal(read("30 02 00", 10000, &frame), MQTT5_NEED_MORE);
    assert_int_equal(frame.size, 4);
    assert_null(frame.body.data);
    assert_int_equal(read("30 02 0001 c000", 10000, &frame), MQTT5_OK);
    assert_int_equal(frame.size, 4);
    assert_int_equal(frame.header_size, 2);
    assert_int_equal(frame.body.len, 2);
    assert_int_equal(frame.body.data[1], 1);
    assert_int_equal(read("c0 00", 2, &frame), MQTT5_OK);
    assert_int_equal(frame.body.len, 0);
}

/* [MQTT-1.5.5-1], and section 1.5.5: four bytes at most. */
static void wrong_lengths_are_refused_at_their_last_possible_byte(void **state)
{
    (void)state;
    struct mqtt5_frame frame;
    assert_int_equal(read("30 8000", 1000, &frame), MQTT5_ERR_VARINT_NOT_MINIMAL);
    assert_int_equal(read("30 ff8000", 1000, &frame), MQTT5_ERR_VARINT_NOT_MINIMAL);
    assert_int_equal(read("30 80808000", 1000, &frame), MQTT5_ERR_VARINT_NOT_MINIMAL);
    assert_int_equal(read("30 ffffff", UINT32_MAX, &frame), MQTT5_NEED_MORE);
    assert_int_equal(read("30 ffffff80", UINT32_MAX, &frame), MQTT5_ERR_VARINT_TOO_LONG);
    assert_int_equal(read("30 8080808001", UINT32_MAX, &frame), MQTT5_ERR_VARINT_TOO_LONG);
    assert_int_equal(read("30 ffffff7f", UINT32_MAX, &frame), MQTT5_NEED_MORE);
    assert_int_equal(frame.size, 5 + MQTT5_REMAINING_LENGTH_MAX);
}

static void the_whole_packet_keeps_to_its_maximum(void **state)
{
    (void)state;
    struct mqtt5_frame frame;
    assert_int_equal(read("30 08", 10, &frame), MQTT5_NEED_MORE);
    assert_int_equal(read("30 09", 10, &frame), MQTT5_ERR_PACKET_TOO_LARGE);
    assert_int_equal(frame.size, 11);
    assert_int_equal(frame.type, MQTT5_PUBLISH);
    assert_int_equal(read("30 ffffff7f", 16u << 20, &frame), MQTT5_ERR_PACKET_TOO_LARGE);
}

/* Every boundary of section 1.5.5 and its neighbours: written minimal, read back, never past the
 * end, and truncated at each byte. */
static void varints_at_the_boundaries(void **state)
{
    (void)state;
    static const struct {
        uint32_t value;
        size_t size;
    } cases[] = {{0, 1},       {1, 1},         {127, 1},      {128, 2},     {129, 2},
                 {16383, 2},   {16384, 3},     {16385, 3},    {2097151, 3}, {2097152, 4},
                 {2097153, 4}, {268435454, 4}, {268435455, 4}};
    struct guard_page guard;
    guard_page_init(&guard, 8);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t bytes[4];
        assert_int_equal(m5_varint_size(cases[i].value), cases[i].size);
        assert_ptr_equal(m5_varint_write(bytes, cases[i].value), bytes + cases[i].size);
        for (size_t len = 0; len <= cases[i].size; len++) {
            struct m5_reader reader = m5_reader_of(guard_page_place(&guard, m5_bytes(bytes, len)));
            const uint32_t value = m5_take_varint(&reader);
            assert_int_equal(reader.error, len < cases[i].size ? MQTT5_ERR_TRUNCATED : MQTT5_OK);
            assert_int_equal(value, len < cases[i].size ? 0 : cases[i].value);
            assert_ptr_equal(reader.at, reader.end);
        }
    }
    guard_page_fini(&guard);
}

static void varints_of_fields_are_minimal(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum mqtt5_error error;
    } cases[] = {
        {"8000", MQTT5_ERR_VARINT_NOT_MINIMAL},
        {"818000", MQTT5_ERR_VARINT_NOT_MINIMAL},
        {"80808000", MQTT5_ERR_VARINT_NOT_MINIMAL},
        {"ffffffff", MQTT5_ERR_VARINT_TOO_LONG},
        {"8080808001", MQTT5_ERR_VARINT_TOO_LONG},
        {"8080", MQTT5_ERR_TRUNCATED},
        {"00", MQTT5_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t room[8];
        struct m5_reader reader = m5_reader_of(hex_read(cases[i].text, room, sizeof room));
        (void)m5_take_varint(&reader);
        assert_int_equal(reader.error, cases[i].error);
    }
}

static void the_first_error_of_a_reader_stays(void **state)
{
    (void)state;
    uint8_t room[8];
    struct m5_reader reader = m5_reader_of(hex_read("0002 61ff 00", room, sizeof room));
    (void)m5_take_utf8(&reader);
    assert_int_equal(reader.error, MQTT5_ERR_UTF8);
    assert_int_equal(m5_take_u8(&reader), 0);
    assert_int_equal(m5_take_u32(&reader), 0);
    assert_int_equal(m5_take_binary(&reader).len, 0);
    assert_int_equal(m5_reader_finish(&reader), MQTT5_ERR_UTF8);
}

static void every_packet_type_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(mqtt5_packet_type_text(0), "reserved");
    assert_string_equal(mqtt5_packet_type_text(MQTT5_CONNECT), "CONNECT");
    assert_string_equal(mqtt5_packet_type_text(MQTT5_UNSUBACK), "UNSUBACK");
    assert_string_equal(mqtt5_packet_type_text(MQTT5_AUTH), "AUTH");
    assert_string_equal(mqtt5_packet_type_text(16), "reserved");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_is_reported_as_soon_as_it_is_known),
        cmocka_unit_test(wrong_lengths_are_refused_at_their_last_possible_byte),
        cmocka_unit_test(the_whole_packet_keeps_to_its_maximum),
        cmocka_unit_test(varints_at_the_boundaries),
        cmocka_unit_test(varints_of_fields_are_minimal),
        cmocka_unit_test(the_first_error_of_a_reader_stays),
        cmocka_unit_test(every_packet_type_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
