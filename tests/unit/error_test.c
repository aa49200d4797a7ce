/* Error and reason code tables: complete, and mapped to what may be sent.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/error.h>

#include "support/unit.h"

#include <string.h>

static void every_error_has_a_name_of_its_own_and_a_text(void **state)
{
    (void)state;
    for (int error = 0; error < MQTT5_ERROR_COUNT; error++) {
        const char *name = mqtt5_error_name((enum mqtt5_error)error);
        assert_int_equal(strncmp(name, "MQTT5_", 6), 0);
        assert_true(strlen(mqtt5_error_text((enum mqtt5_error)error)) > 4);
        for (int other = 0; other < error; other++) {
            assert_string_not_equal(name, mqtt5_error_name((enum mqtt5_error)other));
            assert_string_not_equal(mqtt5_error_text((enum mqtt5_error)error),
                                    mqtt5_error_text((enum mqtt5_error)other));
        }
    }
    assert_string_equal(mqtt5_error_name(MQTT5_ERR_UTF8), "MQTT5_ERR_UTF8");
    assert_string_equal(mqtt5_error_name(MQTT5_OK), "MQTT5_OK");
    assert_string_equal(mqtt5_error_text(MQTT5_ERROR_COUNT), "unknown error");
    assert_string_equal(mqtt5_error_name((enum mqtt5_error)12345), "unknown error");
}

/* [MQTT-4.13.1-1]: what closes a connection has a code that CONNACK or DISCONNECT may carry. */
static void every_error_maps_to_a_code_that_closes(void **state)
{
    (void)state;
    for (int i = 0; i < MQTT5_ERROR_COUNT; i++) {
        const enum mqtt5_error error = (enum mqtt5_error)i;
        const enum mqtt5_reason_code reason = mqtt5_error_reason(error);
        const bool is_no_error =
            error == MQTT5_OK || error == MQTT5_NEED_MORE || error == MQTT5_ERR_CLOSED;
        assert_int_equal(reason < 0x80, is_no_error);
        assert_true(mqtt5_reason_allowed((uint8_t)reason, 2) ||
                    mqtt5_reason_allowed((uint8_t)reason, 14));
    }
    assert_int_equal(mqtt5_error_reason(MQTT5_ERR_UTF8), MQTT5_REASON_MALFORMED_PACKET);
    assert_int_equal(mqtt5_error_reason(MQTT5_ERR_RETAIN_HANDLING), MQTT5_REASON_PROTOCOL_ERROR);
    assert_int_equal(mqtt5_error_reason(MQTT5_ERR_TOPIC_ALIAS), MQTT5_REASON_TOPIC_ALIAS_INVALID);
    assert_int_equal(mqtt5_error_reason(MQTT5_ERROR_COUNT), MQTT5_REASON_UNSPECIFIED_ERROR);
}

/* Section 2.4 as a matrix: a letter for each packet that may carry the code, in the order CONNACK,
 * puback pubReC, pubreL pubcomP, Suback, Unsuback, Disconnect, Auth. */
static void reason_codes_belong_to_the_packets_of_section_2_4(void **state)
{
    (void)state;
    static const struct {
        uint8_t code;
        const char *packets;
    } rows[] = {
        {0x00, "KACLPSUDX"}, {0x01, "S"},      {0x02, "S"},  {0x04, "D"},      {0x10, "AC"},
        {0x11, "U"},         {0x18, "X"},      {0x19, "X"},  {0x80, "KACSUD"}, {0x81, "KD"},
        {0x82, "KD"},        {0x83, "KACSUD"}, {0x84, "K"},  {0x85, "K"},      {0x86, "K"},
        {0x87, "KACSUD"},    {0x88, "K"},      {0x89, "KD"}, {0x8A, "K"},      {0x8B, "D"},
        {0x8C, "KD"},        {0x8D, "D"},      {0x8E, "D"},  {0x8F, "SUD"},    {0x90, "KACD"},
        {0x91, "ACSU"},      {0x92, "LP"},     {0x93, "D"},  {0x94, "D"},      {0x95, "KD"},
        {0x96, "D"},         {0x97, "KACSD"},  {0x98, "D"},  {0x99, "KACD"},   {0x9A, "KD"},
        {0x9B, "KD"},        {0x9C, "KD"},     {0x9D, "KD"}, {0x9E, "SD"},     {0x9F, "KD"},
        {0xA0, "D"},         {0xA1, "SD"},     {0xA2, "SD"},
    };
    static const struct {
        char letter;
        uint8_t type;
    } letters[] = {{'K', 2}, {'A', 4},  {'C', 5},  {'L', 6}, {'P', 7},
                   {'S', 9}, {'U', 11}, {'D', 14}, {'X', 15}};
    size_t row = 0;
    for (unsigned code = 0; code < 256; code++) {
        const bool known = row < sizeof rows / sizeof *rows && rows[row].code == code;
        const char *packets = known ? rows[row++].packets : "";
        unsigned allowed = 0;
        for (uint8_t type = 0; type < 20; type++)
            allowed += mqtt5_reason_allowed((uint8_t)code, type);
        assert_int_equal(allowed, strlen(packets));
        for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
            assert_int_equal(mqtt5_reason_allowed((uint8_t)code, letters[i].type),
                             strchr(packets, letters[i].letter) != NULL);
        assert_int_equal(strcmp(mqtt5_reason_text((uint8_t)code), "Unknown reason code") != 0,
                         known);
    }
    assert_int_equal(row, sizeof rows / sizeof *rows);
    assert_string_equal(mqtt5_reason_text(0x87), "Not authorized");
}

/* A refusal of 3.1.1 is one of five numbers. */
static void refusals_have_a_number_in_3_1_1(void **state)
{
    (void)state;
    assert_int_equal(mqtt5_reason_to_v3(0x00), 0);
    assert_int_equal(mqtt5_reason_to_v3(0x84), 1);
    assert_int_equal(mqtt5_reason_to_v3(0x85), 2);
    assert_int_equal(mqtt5_reason_to_v3(0x88), 3);
    assert_int_equal(mqtt5_reason_to_v3(0x89), 3);
    assert_int_equal(mqtt5_reason_to_v3(0x86), 4);
    assert_int_equal(mqtt5_reason_to_v3(0x87), 5);
    for (unsigned code = 0x80; code < 256; code++)
        assert_in_range(mqtt5_reason_to_v3((uint8_t)code), 1, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_a_name_of_its_own_and_a_text),
        cmocka_unit_test(every_error_maps_to_a_code_that_closes),
        cmocka_unit_test(reason_codes_belong_to_the_packets_of_section_2_4),
        cmocka_unit_test(refusals_have_a_number_in_3_1_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
