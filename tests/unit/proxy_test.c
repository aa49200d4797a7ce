/* Headers of the PROXY protocol, as proxies write them and as attackers do.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "transport/proxy/proxy.h"

#include "support/guard_page.h"
#include "support/unit.h"

#include <string.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"

struct header {
    uint8_t bytes[2048];
    size_t size;
};

static void add(struct header *header, const void *bytes, size_t size)
{
    memcpy(header->bytes + header->size, bytes, size);
    header->size += size;
    if (header->size >= 16)
        m5_write_u16(header->bytes + 14, (uint16_t)(header->size - 16));
}

static void begin(struct header *header, uint8_t command, uint8_t family)
{
    header->size = 0;
    add(header, V2, 12);
    add(header, (const uint8_t[]){command, family, 0, 0}, 4);
}

static void begin_ipv4(struct header *header)
{
    begin(header, 0x21, 0x11);
    add(header, (const uint8_t[]){192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0x07, 0x5B}, 12);
}

static void add_value(struct header *header, uint8_t type, const void *bytes, size_t size)
{
    add(header, (const uint8_t[]){type, (uint8_t)(size >> 8), (uint8_t)size}, 3);
    add(header, bytes, size);
}

/* The value of TLS: what the client did, whether it was verified (0 = yes), and the common name. */
static void add_tls(struct header *header, uint8_t client, uint32_t verify, const char *name)
{
    uint8_t value[600];
    const size_t size = strlen(name);
    value[0] = client;
    m5_write_u32(value + 1, verify);
    memcpy(value + 5, "\x21\0\7TLSv1.3\x22", 11);
    m5_write_u16(value + 16, (uint16_t)size);
    memcpy(value + 18, name, size);
    add_value(header, 0x20, value, 18 + size);
}

/* Parses in every way a stream can bring it: each shorter beginning asks for more, and what follows
 * the header changes nothing. Nothing beyond the end is read. */
static struct m5_proxy_header take(const void *bytes, size_t size)
{
    struct guard_page guard;
    struct m5_proxy_header out, again;
    uint8_t longer[2100];
    guard_page_init(&guard, 2100);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(
            m5_proxy_parse(guard_page_place(&guard, m5_bytes(bytes, i)), MQTT5_PROXY_ANY, &out),
            M5_PROXY_MORE);
    assert_int_equal(
        m5_proxy_parse(guard_page_place(&guard, m5_bytes(bytes, size)), MQTT5_PROXY_ANY, &out),
        M5_PROXY_DONE);
    assert_int_equal(out.size, size);
    memcpy(longer, bytes, size);
    memcpy(longer + size, "\x10\x0C", 2);
    assert_int_equal(m5_proxy_parse(guard_page_place(&guard, m5_bytes(longer, size + 2)),
                                    MQTT5_PROXY_ANY, &again),
                     M5_PROXY_DONE);
    assert_int_equal(again.size, size);
    guard_page_fini(&guard);
    return out;
}

static struct m5_proxy_header take_header(const struct header *header)
{
    return take(header->bytes, header->size);
}

static void refuse(const void *bytes, size_t size, const char *wrong)
{
    struct m5_proxy_header out;
    assert_int_equal(m5_proxy_parse(m5_bytes(bytes, size), MQTT5_PROXY_ANY, &out),
                     M5_PROXY_MALFORMED);
    assert_string_equal(out.wrong, wrong);
}

static void refuse_header(const struct header *header, const char *wrong)
{
    refuse(header->bytes, header->size, wrong);
}

static void v1_tells_ipv4(void **state)
{
    (void)state;
    static const char line[] = "PROXY TCP4 192.0.2.1 198.51.100.7 56324 1883\r\n";
    const struct m5_proxy_header out = take(line, sizeof line - 1);
    assert_int_equal(out.version, 1);
    assert_int_equal(out.family, M5_PROXY_IPV4);
    assert_memory_equal(out.source.address, ((uint8_t[]){192, 0, 2, 1}), 4);
    assert_int_equal(out.source.port, 56324);
    assert_memory_equal(out.destination.address, ((uint8_t[]){198, 51, 100, 7}), 4);
    assert_int_equal(out.destination.port, 1883);
}

static void v1_tells_ipv6_up_to_its_longest_line(void **state)
{
    (void)state;
    static const char line[] = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe "
                               "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    const struct m5_proxy_header out = take(line, sizeof line - 1);
    assert_int_equal(out.family, M5_PROXY_IPV6);
    assert_int_equal(out.source.address[15], 0xFE);
    assert_int_equal(out.destination.address[15], 0xFF);
    assert_int_equal(out.source.port, 65535);
    static const char small[] = "PROXY TCP6 ::1 2001:db8::5 0 1\r\n";
    assert_int_equal(take(small, sizeof small - 1).destination.address[15], 5);
}

static void v1_unknown_names_nobody(void **state)
{
    (void)state;
    static const char bare[] = "PROXY UNKNOWN\r\n", more[] = "PROXY UNKNOWN ::1 whatever 1 2\r\n";
    assert_int_equal(take(bare, sizeof bare - 1).family, M5_PROXY_NONE);
    assert_int_equal(take(more, sizeof more - 1).family, M5_PROXY_NONE);
}

static void v1_lines_that_are_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *line, *wrong;
    } cases[] = {
        {"PROXY \r\n", "it names no protocol"},
        {"PROXY\r\n", "the connection does not begin with it"},
        {"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n", "the connection does not begin with it"},
        {"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
         "it names another protocol than TCP4, TCP6 and UNKNOWN"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "it lacks an address or a port"},
        {"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", "it lacks an address or a port"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n", "its addresses and ports cannot be read"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n", "its addresses and ports cannot be read"},
        {"PROXY TCP4 ::1 ::1 1 1\r\n", "its addresses and ports cannot be read"},
        {"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n", "its addresses and ports cannot be read"},
        {"PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n", "its addresses and ports cannot be read"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", "its addresses and ports cannot be read"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", "its addresses and ports cannot be read"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n", "its addresses and ports cannot be read"},
        {"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", "its line does not end with CR LF"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].line, strlen(cases[i].line), cases[i].wrong);
    refuse("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n", 34, "its addresses and ports cannot be read");
}

static void v1_ends_at_107_bytes(void **state)
{
    (void)state;
    struct m5_proxy_header out;
    char line[200];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(m5_proxy_parse(m5_bytes(line, 106), MQTT5_PROXY_ANY, &out), M5_PROXY_MORE);
    refuse(line, 107, "it is too long");
    memcpy(line + 106, "\r\n", 2); /* one byte too late */
    refuse(line, 108, "it is too long");
    memcpy(line + 105, "\r\n", 2);
    take(line, 107);
}

static void v2_tells_ipv4_ipv6_and_unix(void **state)
{
    (void)state;
    struct header header;
    begin_ipv4(&header);
    struct m5_proxy_header out = take_header(&header);
    assert_int_equal(out.version, 2);
    assert_int_equal(out.family, M5_PROXY_IPV4);
    assert_memory_equal(out.source.address, ((uint8_t[]){192, 0, 2, 1}), 4);
    assert_memory_equal(out.destination.address, ((uint8_t[]){192, 0, 2, 2}), 4);
    assert_int_equal(out.source.port, 12345);
    assert_int_equal(out.destination.port, 1883);

    uint8_t addresses[216] = {0};
    begin(&header, 0x21, 0x21);
    addresses[15] = 1;
    addresses[31] = 2;
    m5_write_u16(addresses + 32, 40000);
    m5_write_u16(addresses + 34, 8883);
    add(&header, addresses, 36);
    out = take_header(&header);
    assert_int_equal(out.family, M5_PROXY_IPV6);
    assert_int_equal(out.source.address[15], 1);
    assert_int_equal(out.destination.address[15], 2);
    assert_int_equal(out.source.port, 40000);
    assert_int_equal(out.destination.port, 8883);

    memset(addresses, 0, sizeof addresses);
    memcpy(addresses, "/run/a\nb", 8);
    begin(&header, 0x21, 0x31);
    add(&header, addresses, 216);
    out = take_header(&header);
    assert_int_equal(out.family, M5_PROXY_UNIX);
    assert_string_equal(out.path, "/run/a?b");
    memset(addresses, 'p', sizeof addresses); /* no zero at all */
    begin(&header, 0x21, 0x31);
    add(&header, addresses, 216);
    assert_int_equal(strlen(take_header(&header).path), M5_PROXY_TEXT_MAX);
}

static void v2_local_and_unspecified_name_nobody(void **state)
{
    (void)state;
    struct header header;
    begin(&header, 0x20, 0);
    assert_int_equal(take_header(&header).family, M5_PROXY_NONE);
    begin(&header, 0x20, 0x11); /* addresses of LOCAL are to be ignored */
    add(&header, "whatever", 8);
    assert_int_equal(take_header(&header).family, M5_PROXY_NONE);
    begin(&header, 0x21, 0);
    add_tls(&header, 7, 0, "nobody");
    const struct m5_proxy_header out = take_header(&header);
    assert_int_equal(out.family, M5_PROXY_NONE);
    assert_string_equal(out.common_name, "");
}

static void v2_headers_that_are_wrong(void **state)
{
    (void)state;
    struct header header;
    begin(&header, 0x11, 0x11);
    refuse_header(&header, "it is of another version than 2, or no command that is known");
    begin(&header, 0x22, 0x11);
    refuse_header(&header, "it is of another version than 2, or no command that is known");
    begin(&header, 0x21, 0x12); /* datagrams */
    add(&header, "123456789012", 12);
    refuse_header(&header, "its addresses are of no kind that streams have");
    begin(&header, 0x21, 0x21);
    add(&header, "123456789012", 12);
    refuse_header(&header, "its addresses are cut off");
    begin_ipv4(&header);
    add(&header, "\x04\0", 2);
    refuse_header(&header, "a value in it is longer than it");
    begin_ipv4(&header);
    add(&header, "\x04\0\2x", 4);
    refuse_header(&header, "a value in it is longer than it");
    refuse("\r\n\r\n\0\r\nQUIT\r", 12, "the connection does not begin with it");
    refuse("\x10\x0C\0\4MQTT", 8, "the connection does not begin with it");
}

static void v2_ends_at_its_bound_before_the_bytes_have_come(void **state)
{
    (void)state;
    struct header header;
    struct m5_proxy_header out;
    begin_ipv4(&header);
    uint8_t filler[M5_PROXY_SIZE_MAX] = {0};
    add_value(&header, 0x04, filler, M5_PROXY_SIZE_MAX - header.size - 3);
    assert_int_equal(take_header(&header).size, M5_PROXY_SIZE_MAX);
    m5_write_u16(header.bytes + 14, M5_PROXY_SIZE_MAX - 16 + 1);
    assert_int_equal(m5_proxy_parse(m5_bytes(header.bytes, 16), MQTT5_PROXY_ANY, &out),
                     M5_PROXY_MALFORMED);
}

static void only_the_versions_that_are_allowed_count(void **state)
{
    (void)state;
    struct header header;
    struct m5_proxy_header out;
    static const char line[] = "PROXY UNKNOWN\r\n";
    const struct mqtt5_bytes v1 = m5_bytes(line, sizeof line - 1);
    begin_ipv4(&header);
    const struct mqtt5_bytes v2 = m5_bytes(header.bytes, header.size);
    assert_int_equal(m5_proxy_parse(v1, MQTT5_PROXY_V1, &out), M5_PROXY_DONE);
    assert_int_equal(m5_proxy_parse(v2, MQTT5_PROXY_V1, &out), M5_PROXY_MALFORMED);
    assert_int_equal(m5_proxy_parse(v1, MQTT5_PROXY_V2, &out), M5_PROXY_MALFORMED);
    assert_int_equal(m5_proxy_parse(v2, MQTT5_PROXY_V2, &out), M5_PROXY_DONE);
    assert_int_equal(m5_proxy_parse(v1, MQTT5_PROXY_OFF, &out), M5_PROXY_MALFORMED);
    assert_int_equal(m5_proxy_parse(v2, MQTT5_PROXY_OFF, &out), M5_PROXY_MALFORMED);
}

static void a_verified_certificate_gives_its_common_name(void **state)
{
    (void)state;
    struct header header;
    begin_ipv4(&header);
    add_value(&header, 0x02, "broker.example", 14);
    add_tls(&header, 7, 0, "J\xC3\xBCrgen@example");
    struct m5_proxy_header out = take_header(&header);
    assert_true(out.tls);
    assert_true(out.certificate);
    assert_string_equal(out.common_name, "J\xC3\xBCrgen@example");
    assert_string_equal(out.server_name, "broker.example");

    begin_ipv4(&header);
    add_tls(&header, 5, 0, "resumed"); /* the certificate was shown in the session before */
    assert_string_equal(take_header(&header).common_name, "resumed");
}

static void a_certificate_that_proves_nothing_gives_no_name(void **state)
{
    (void)state;
    struct header header;
    static const struct {
        uint8_t client;
        uint32_t verify;
    } cases[] = {{7, 18}, {1, 0}, {0, 0}, {6, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin_ipv4(&header);
        add_tls(&header, cases[i].client, cases[i].verify, "admin");
        const struct m5_proxy_header out = take_header(&header);
        assert_false(out.certificate);
        assert_string_equal(out.common_name, "");
    }
}

/* SECURITY-CASES 45: what a certificate's name injects elsewhere never gets out of here. */
static void names_that_are_unfit_are_not_given(void **state)
{
    (void)state;
    struct header header;
    static const char *const names[] = {"a\r\nadmin",   "a\tb",     "\x7F",   "\xC0\x80",
                                        "\xED\xA0\x80", "\xC2\x85", "caf\xE9"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        begin_ipv4(&header);
        add_value(&header, 0x02, names[i], strlen(names[i]));
        add_tls(&header, 7, 0, names[i]);
        const struct m5_proxy_header out = take_header(&header);
        assert_true(out.certificate);
        assert_string_equal(out.common_name, "");
        assert_string_equal(out.server_name, "");
    }
    begin_ipv4(&header);
    add_value(&header, 0x02, "a\0b", 3);
    assert_string_equal(take_header(&header).server_name, "");
    char name[M5_PROXY_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[M5_PROXY_NAME_MAX + 1] = 0;
    begin_ipv4(&header);
    add_tls(&header, 7, 0, name);
    assert_string_equal(take_header(&header).common_name, "");
    begin_ipv4(&header);
    add_tls(&header, 7, 0, name + 1);
    assert_string_equal(take_header(&header).common_name, name + 1);
}

static void tls_values_that_are_wrong(void **state)
{
    (void)state;
    struct header header;
    static const char wrong[] = "what it says of TLS cannot be read";
    begin_ipv4(&header);
    add_value(&header, 0x20, "\7\0\0\0", 4);
    refuse_header(&header, wrong);
    begin_ipv4(&header);
    add_value(&header, 0x20, "\7\0\0\0\0\x22\0\5ab", 10);
    refuse_header(&header, wrong);
    begin_ipv4(&header);
    add_value(&header, 0x20, "\7\0\0\0\0\x22\0\1a\x22\0\1b", 13);
    refuse_header(&header, wrong); /* which of the two would it be? */
    begin_ipv4(&header);
    add_tls(&header, 7, 0, "first");
    add_tls(&header, 7, 0, "second");
    refuse_header(&header, wrong);
}

static void a_checksum_is_checked(void **state)
{
    (void)state;
    struct header header;
    /* The value is that of another implementation, which gives 0xE3069283 for "123456789". */
    begin_ipv4(&header);
    add_value(&header, 0x03, "\x00\x00\x00\x00", 4);
    refuse_header(&header, "its checksum is wrong");
    memcpy(header.bytes + header.size - 4, "\x2E\xB7\xA6\x3C", 4);
    take_header(&header);
    header.bytes[16] ^= 1;
    refuse_header(&header, "its checksum is wrong");
    begin_ipv4(&header);
    add_value(&header, 0x03, "\x00\x00", 2);
    refuse_header(&header, "its checksum is wrong");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v1_tells_ipv4),
        cmocka_unit_test(v1_tells_ipv6_up_to_its_longest_line),
        cmocka_unit_test(v1_unknown_names_nobody),
        cmocka_unit_test(v1_lines_that_are_wrong),
        cmocka_unit_test(v1_ends_at_107_bytes),
        cmocka_unit_test(v2_tells_ipv4_ipv6_and_unix),
        cmocka_unit_test(v2_local_and_unspecified_name_nobody),
        cmocka_unit_test(v2_headers_that_are_wrong),
        cmocka_unit_test(v2_ends_at_its_bound_before_the_bytes_have_come),
        cmocka_unit_test(only_the_versions_that_are_allowed_count),
        cmocka_unit_test(a_verified_certificate_gives_its_common_name),
        cmocka_unit_test(a_certificate_that_proves_nothing_gives_no_name),
        cmocka_unit_test(names_that_are_unfit_are_not_given),
        cmocka_unit_test(tls_values_that_are_wrong),
        cmocka_unit_test(a_checksum_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
