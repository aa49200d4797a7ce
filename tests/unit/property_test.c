/* The property table: which property may stand where, how often, with which values.
 *
 * The expectations are written out from table 2-4 of the specification, not taken from the
 * project's own table.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/packet.h>

#include "base/bytes.h"
#include "support/hex.h"
#include "support/unit.h"
#include "support/wire_check.h"

#include <stdio.h>

/* Where a property list stands: a packet around it. The letter is the one of `rows` below. */
static const struct place {
    char letter;
    uint8_t first;
    const char *before, *after;
} places[] = {
    {'C', 0x10, "0004'MQTT'05 02 0000", "0000"},
    {'W', 0x10, "0004'MQTT'05 06 0000 00 0000", "0001'w' 0000"},
    {'K', 0x20, "00 00", ""},
    {'P', 0x30, "0001't'", "'payload'"},
    {'a', 0x40, "0001 00", ""},
    {'r', 0x50, "0001 00", ""},
    {'l', 0x62, "0001 00", ""},
    {'c', 0x70, "0001 00", ""},
    {'S', 0x82, "0001", "0001'f' 00"},
    {'s', 0x90, "0001", "00"},
    {'U', 0xA2, "0001", "0001'f'"},
    {'u', 0xB0, "0001", "00"},
    {'D', 0xE0, "00", ""},
    {'X', 0xF0, "00", ""},
};

static const struct row {
    uint8_t id;
    const char *places; /* letters */
    const char *value;  /* a right one, as hex_read() takes it */
    bool many;
} rows[] = {
    {0x01, "PW", "01", false},
    {0x02, "PW", "00000001", false},
    {0x03, "PW", "0001't'", false},
    {0x08, "PW", "0001'r'", false},
    {0x09, "PW", "0002 00ff", false},
    {0x0B, "PS", "ffffff7f", true},
    {0x11, "CKD", "ffffffff", false},
    {0x12, "K", "0002'id'", false},
    {0x13, "K", "0000", false},
    {0x15, "CKX", "0001'm'", false},
    {0x16, "CKX", "0002 ff00", false},
    {0x17, "C", "00", false},
    {0x18, "W", "00000000", false},
    {0x19, "C", "01", false},
    {0x1A, "K", "0000", false},
    {0x1C, "KD", "0001's'", false},
    {0x1F, "KarlcsuDX", "0001'r'", false},
    {0x21, "CK", "0001", false},
    {0x22, "CK", "0000", false},
    {0x23, "P", "ffff", false},
    {0x24, "K", "00", false},
    {0x25, "K", "01", false},
    {0x26, "CWKPSUarlcsuDX", "0001'k' 0001'v'", true},
    {0x27, "CK", "00000001", false},
    {0x28, "K", "00", false},
    {0x29, "K", "00", false},
    {0x2A, "K", "00", false},
};

static const struct row *row_of(unsigned id)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].id == id)
            return &rows[i];
    }
    return NULL;
}

/* Decodes the packet of @p place with @p properties (hex) for its list. */
static enum mqtt5_error decode_with(const struct place *place, const char *properties)
{
    char text[512];
    uint8_t room[256];
    /* Authentication Data needs a method, and AUTH always does. */
    const bool adds_method = (place->letter == 'X' || strncmp(properties, "16", 2) == 0) &&
                             strncmp(properties, "15", 2) != 0 && strchr("XC", place->letter);
    snprintf(text, sizeof text, "%02x [%s [%s %s] %s]", place->first, place->before, properties,
             adds_method ? "15 0001'm'" : "", place->after);
    return wire_check(hex_read(text, room, sizeof room), MQTT5_VERSION_5);
}

static enum mqtt5_error decode_one(const struct place *place, unsigned id, const char *value)
{
    char text[128];
    snprintf(text, sizeof text, "%02x %s", id, value);
    return decode_with(place, text);
}

#define FOR_EACH_PLACE(place)                                                                 \
    for (const struct place *place = places; place < places + sizeof places / sizeof *places; \
         place++)

static void properties_stand_where_table_2_4_lets_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t expected = 0;
        FOR_EACH_PLACE(place)
        {
            const bool allowed = strchr(rows[i].places, place->letter) != NULL;
            const enum mqtt5_error error = decode_one(place, rows[i].id, rows[i].value);
            if (error != (allowed ? MQTT5_OK : MQTT5_ERR_PROPERTY_NOT_ALLOWED))
                fail_msg("%02x in %c: %s", rows[i].id, place->letter, mqtt5_error_name(error));
            if (allowed)
                expected |= place->letter == 'W' ? MQTT5_IN_WILL : 1u << (place->first >> 4);
        }
        assert_int_equal(mqtt5_property_packets(rows[i].id), expected);
        assert_non_null(mqtt5_property_text(rows[i].id));
    }
}

static void unknown_identifiers_are_refused(void **state)
{
    (void)state;
    for (unsigned id = 0; id < 128; id++) {
        if (row_of(id) != NULL)
            continue;
        assert_int_equal(decode_one(&places[0], id, "00"), MQTT5_ERR_PROPERTY_UNKNOWN);
        assert_int_equal(mqtt5_property_packets(id), 0);
        assert_null(mqtt5_property_text(id));
    }
    assert_int_equal(decode_with(&places[0], "8101 00"), MQTT5_ERR_PROPERTY_UNKNOWN);
    assert_int_equal(decode_with(&places[0], "9700 00"), MQTT5_ERR_VARINT_NOT_MINIMAL);
    assert_int_equal(decode_with(&places[0], "97"), MQTT5_ERR_TRUNCATED);
    assert_null(mqtt5_property_text(UINT32_MAX));
}

static void properties_stand_once_unless_they_may_repeat(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char twice[128];
        snprintf(twice, sizeof twice, "%02x %s %02x %s", rows[i].id, rows[i].value, rows[i].id,
                 rows[i].value);
        FOR_EACH_PLACE(place)
        {
            if (strchr(rows[i].places, place->letter) == NULL)
                continue;
            /* Section 3.8.2.1.2: SUBSCRIBE has one identifier. */
            const bool may = rows[i].many && !(rows[i].id == 0x0B && place->letter == 'S');
            assert_int_equal(decode_with(place, twice),
                             may ? MQTT5_OK : MQTT5_ERR_PROPERTY_DUPLICATE);
        }
    }
}

static void every_value_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t value[64];
        const size_t size = hex_read(rows[i].value, value, sizeof value).len;
        FOR_EACH_PLACE(place)
        {
            for (size_t len = 0; len < size; len++) {
                char text[192];
                size_t at = (size_t)snprintf(text, sizeof text, "%02x", rows[i].id);
                for (size_t n = 0; n < len; n++)
                    at += (size_t)snprintf(text + at, sizeof text - at, "%02x", value[n]);
                if (strchr(rows[i].places, place->letter) != NULL && place->letter != 'X' &&
                    rows[i].id != 0x16)
                    assert_int_equal(decode_with(place, text), MQTT5_ERR_TRUNCATED);
            }
        }
    }
}

static void values_keep_to_their_rules(void **state)
{
    (void)state;
    static const struct {
        char place;
        uint8_t id;
        const char *value;
        enum mqtt5_error error;
    } cases[] = {
        {'P', 0x01, "02", MQTT5_ERR_PROPERTY_VALUE},
        {'W', 0x01, "ff", MQTT5_ERR_PROPERTY_VALUE},
        {'C', 0x17, "02", MQTT5_ERR_PROPERTY_VALUE},
        {'C', 0x19, "02", MQTT5_ERR_PROPERTY_VALUE},
        {'K', 0x24, "02", MQTT5_ERR_PROPERTY_VALUE},
        {'K', 0x25, "02", MQTT5_ERR_PROPERTY_VALUE},
        {'K', 0x28, "02", MQTT5_ERR_PROPERTY_VALUE},
        {'K', 0x29, "02", MQTT5_ERR_PROPERTY_VALUE},
        {'K', 0x2A, "02", MQTT5_ERR_PROPERTY_VALUE},
        {'C', 0x21, "0000", MQTT5_ERR_PROPERTY_VALUE},
        {'K', 0x21, "0000", MQTT5_ERR_PROPERTY_VALUE},
        {'C', 0x27, "00000000", MQTT5_ERR_PROPERTY_VALUE},
        {'P', 0x0B, "00", MQTT5_ERR_PROPERTY_VALUE},
        {'P', 0x0B, "8000", MQTT5_ERR_VARINT_NOT_MINIMAL},
        {'P', 0x0B, "ffffffff", MQTT5_ERR_VARINT_TOO_LONG},
        {'P', 0x23, "0000", MQTT5_ERR_TOPIC_ALIAS},         /* [MQTT-3.3.2-8] */
        {'P', 0x08, "0003'a/+'", MQTT5_ERR_PROPERTY_VALUE}, /* [MQTT-3.3.2-14] */
        {'P', 0x08, "0000", MQTT5_ERR_PROPERTY_VALUE},
        {'W', 0x08, "0001'#'", MQTT5_ERR_PROPERTY_VALUE},
        {'P', 0x03, "0001 00", MQTT5_ERR_UTF8_NUL},
        {'P', 0x03, "0003 eda080", MQTT5_ERR_UTF8},
        {'K', 0x12, "0001 ff", MQTT5_ERR_UTF8},
        {'K', 0x1A, "0001 ff", MQTT5_ERR_UTF8},
        {'K', 0x1C, "0001 ff", MQTT5_ERR_UTF8},
        {'K', 0x1F, "0001 ff", MQTT5_ERR_UTF8},
        {'C', 0x15, "0001 ff", MQTT5_ERR_UTF8},
        {'C', 0x26, "0001 00 0000", MQTT5_ERR_UTF8_NUL}, /* [MQTT-1.5.7-1] */
        {'C', 0x26, "0000 0001 ff", MQTT5_ERR_UTF8},
        {'C', 0x26, "0000 0000", MQTT5_OK},
        {'P', 0x09, "0003 00ff80", MQTT5_OK},
        {'P', 0x09, "0000", MQTT5_OK},
        {'P', 0x03, "0000", MQTT5_OK},
        {'C', 0x11, "00000000", MQTT5_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FOR_EACH_PLACE(place)
        {
            if (place->letter != cases[i].place)
                continue;
            const enum mqtt5_error error = decode_one(place, cases[i].id, cases[i].value);
            if (error != cases[i].error)
                fail_msg("%c %02x %s: %s", cases[i].place, cases[i].id, cases[i].value,
                         mqtt5_error_name(error));
        }
    }
}

/* What is not a property ends the walk, wherever it stands and whatever it is. */
static void walking_anything_ends(void **state)
{
    (void)state;
    uint8_t bytes[3];
    for (uint32_t n = 0; n < 1u << 16; n++) {
        struct mqtt5_property property;
        m5_write_u16(bytes, (uint16_t)n);
        bytes[2] = (uint8_t)(n >> 3);
        struct mqtt5_bytes rest = m5_bytes(bytes, 3);
        unsigned count = 0;
        while (mqtt5_property_next(&rest, &property))
            assert_true(++count <= 1);
    }
    struct mqtt5_bytes empty = {0};
    struct mqtt5_property property;
    assert_false(mqtt5_property_next(&empty, &property));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(properties_stand_where_table_2_4_lets_them),
        cmocka_unit_test(unknown_identifiers_are_refused),
        cmocka_unit_test(properties_stand_once_unless_they_may_repeat),
        cmocka_unit_test(every_value_is_whole),
        cmocka_unit_test(values_keep_to_their_rules),
        cmocka_unit_test(walking_anything_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
