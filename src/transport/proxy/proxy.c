/* The header of the PROXY protocol, versions 1 and 2.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/proxy/proxy.h"

#include "base/bytes.h"
#include "transport/clean.h"

#include <arpa/inet.h>

static enum m5_proxy_answer malformed(struct m5_proxy_header *out, const char *wrong)
{
    out->wrong = wrong;
    return M5_PROXY_MALFORMED;
}

/* ---- version 1: a line of words ---- */

#define V1_SIZE_MAX 107u /* "PROXY TCP6 " and two of the longest addresses, with CR LF */

static const char v1_begin[] = "PROXY ";

/* Takes the next word off @p line; words are divided by one blank. False when there is none. */
static bool take_word(struct mqtt5_bytes *line, struct mqtt5_bytes *word)
{
    const uint8_t *blank =
        line->len > 0 ? (const uint8_t *)memchr(line->data, ' ', line->len) : NULL;
    const size_t size = blank != NULL ? (size_t)(blank - line->data) : line->len;
    *word = m5_bytes(line->data, size);
    *line = blank != NULL ? m5_bytes(blank + 1, line->len - size - 1) : m5_bytes(NULL, 0);
    return size > 0;
}

static bool read_address(struct mqtt5_bytes word, int family, uint8_t out[16])
{
    char text[INET6_ADDRSTRLEN];
    if (word.len >= sizeof text || memchr(word.data, 0, word.len) != NULL)
        return false;
    *m5_copy((uint8_t *)text, word) = 0;
    return inet_pton(family, text, out) == 1;
}

/* 0 to 65535, without zeros in front. */
static bool read_port(struct mqtt5_bytes word, uint16_t *out)
{
    uint32_t port = 0;
    if (word.len > 5 || (word.len > 1 && word.data[0] == '0'))
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return false;
        port = port * 10 + (word.data[i] - '0');
    }
    *out = (uint16_t)port;
    return port <= UINT16_MAX;
}

static enum m5_proxy_answer read_line(struct mqtt5_bytes line, struct m5_proxy_header *out)
{
    struct mqtt5_bytes family, words[4];
    if (!take_word(&line, &family))
        return malformed(out, "it names no protocol");
    if (m5_bytes_equal(family, m5_bytes_of("UNKNOWN")))
        return M5_PROXY_DONE; /* the rest of the line is to be ignored */
    const bool v6 = m5_bytes_equal(family, m5_bytes_of("TCP6"));
    if (!v6 && !m5_bytes_equal(family, m5_bytes_of("TCP4")))
        return malformed(out, "it names another protocol than TCP4, TCP6 and UNKNOWN");
    for (size_t i = 0; i < 4; i++) {
        if (!take_word(&line, &words[i]))
            return malformed(out, "it lacks an address or a port");
    }
    const int kind = v6 ? AF_INET6 : AF_INET;
    if (line.data != NULL || !read_address(words[0], kind, out->source.address) ||
        !read_address(words[1], kind, out->destination.address) ||
        !read_port(words[2], &out->source.port) || !read_port(words[3], &out->destination.port))
        return malformed(out, "its addresses and ports cannot be read");
    out->family = v6 ? M5_PROXY_IPV6 : M5_PROXY_IPV4;
    return M5_PROXY_DONE;
}

static enum m5_proxy_answer parse_v1(struct mqtt5_bytes in, struct m5_proxy_header *out)
{
    const size_t begin = sizeof v1_begin - 1, look = in.len < V1_SIZE_MAX ? in.len : V1_SIZE_MAX;
    out->version = 1;
    const uint8_t *end = (const uint8_t *)memchr(in.data, '\n', look);
    if (end == NULL)
        return look == V1_SIZE_MAX ? malformed(out, "it is too long") : M5_PROXY_MORE;
    out->size = (size_t)(end - in.data) + 1;
    if (out->size < begin + 2 || end[-1] != '\r')
        return malformed(out, "its line does not end with CR LF");
    return read_line(m5_bytes(in.data + begin, out->size - begin - 2), out);
}

/* ---- version 2: binary ---- */

#define V2_HEAD_SIZE 16u

/* Types of values behind the addresses. */
#define TYPE_AUTHORITY       0x02
#define TYPE_CRC32C          0x03
#define TYPE_SSL             0x20
#define TYPE_SSL_COMMON_NAME 0x22

/* Bits of the first byte of TYPE_SSL. */
#define SSL_SPOKEN      0x01u
#define SSL_CERTIFICATE 0x06u /* in this connection, or in the session that it resumes */

static const uint8_t v2_begin[12] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                     '\n', 'Q',  'U',  'I',  'T', '\n'};

struct value {
    uint8_t type;
    struct mqtt5_bytes bytes;
};

/* Takes the next value; false when it does not fit. */
static bool take_value(struct mqtt5_bytes *rest, struct value *out)
{
    if (rest->len < 3)
        return false;
    const size_t size = m5_read_u16(rest->data + 1);
    if (size > rest->len - 3)
        return false;
    out->type = rest->data[0];
    out->bytes = m5_bytes(rest->data + 3, size);
    *rest = m5_bytes(rest->data + 3 + size, rest->len - 3 - size);
    return true;
}

/* A name that may stand where MQTT has one. '+', '#' and '/' may be in it: the access rules take
 * care that such a name stands for nothing in a pattern. */
static void take_name(struct mqtt5_bytes name, char out[M5_PROXY_NAME_MAX + 1])
{
    if (name.len <= M5_PROXY_NAME_MAX && m5_is_clean(name))
        m5_clean(name, out, M5_PROXY_NAME_MAX + 1);
}

static bool read_ssl(struct mqtt5_bytes bytes, struct m5_proxy_header *out)
{
    struct value value;
    bool named = false;
    if (bytes.len < 5)
        return false;
    const uint8_t client = bytes.data[0];
    out->tls = (client & SSL_SPOKEN) != 0;
    out->certificate =
        out->tls && (client & SSL_CERTIFICATE) != 0 && m5_read_u32(bytes.data + 1) == 0;
    for (bytes = m5_bytes(bytes.data + 5, bytes.len - 5); bytes.len > 0;) {
        if (!take_value(&bytes, &value))
            return false;
        if (value.type != TYPE_SSL_COMMON_NAME)
            continue;
        if (named)
            return false;
        named = true;
        if (out->certificate)
            take_name(value.bytes, out->common_name);
    }
    return true;
}

/* The checksum of RFC 3720, of all bytes with its own four as zeros. */
static uint32_t crc32c(struct mqtt5_bytes bytes, const uint8_t *zeros)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < bytes.len; i++) {
        const uint8_t *at = bytes.data + i;
        crc ^= at >= zeros && at < zeros + 4 ? 0 : *at;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82F63B78u & (0u - (crc & 1)));
    }
    return ~crc;
}

/* NULL, or what is wrong. */
static const char *read_values(struct mqtt5_bytes whole, struct mqtt5_bytes rest,
                               struct m5_proxy_header *out)
{
    struct value value;
    bool ssl = false;
    while (rest.len > 0) {
        if (!take_value(&rest, &value))
            return "a value in it is longer than it";
        if (value.type == TYPE_AUTHORITY)
            take_name(value.bytes, out->server_name);
        if (value.type == TYPE_SSL && (ssl || !read_ssl(value.bytes, out)))
            return "what it says of TLS cannot be read";
        ssl |= value.type == TYPE_SSL;
        if (value.type == TYPE_CRC32C &&
            (value.bytes.len != 4 ||
             m5_read_u32(value.bytes.data) != crc32c(whole, value.bytes.data)))
            return "its checksum is wrong";
    }
    return NULL;
}

static struct m5_proxy_end read_end(const uint8_t *address, size_t size, const uint8_t *port)
{
    struct m5_proxy_end out = {.port = m5_read_u16(port)};
    memcpy(out.address, address, size);
    return out;
}

static void read_path(const uint8_t *path, struct m5_proxy_header *out)
{
    size_t size = 0;
    for (; size < M5_PROXY_TEXT_MAX && path[size] != 0; size++)
        out->path[size] = path[size] > 0x20 && path[size] < 0x7F ? (char)path[size] : '?';
    out->path[size] = 0;
}

/* Bytes of the addresses of a family and protocol; 0: none of streams. */
static size_t addresses_size(uint8_t family)
{
    return family == 0x11 ? 12 : family == 0x21 ? 36 : family == 0x31 ? 216 : 0;
}

static enum m5_proxy_answer read_addresses(struct mqtt5_bytes whole, uint8_t family,
                                           struct m5_proxy_header *out)
{
    const size_t size = addresses_size(family);
    const uint8_t *at = whole.data + V2_HEAD_SIZE;
    if (size == 0)
        return malformed(out, "its addresses are of no kind that streams have");
    if (whole.len - V2_HEAD_SIZE < size)
        return malformed(out, "its addresses are cut off");
    if (family == 0x11) {
        out->family = M5_PROXY_IPV4;
        out->source = read_end(at, 4, at + 8);
        out->destination = read_end(at + 4, 4, at + 10);
    } else if (family == 0x21) {
        out->family = M5_PROXY_IPV6;
        out->source = read_end(at, 16, at + 32);
        out->destination = read_end(at + 16, 16, at + 34);
    } else {
        out->family = M5_PROXY_UNIX;
        read_path(at, out);
    }
    const char *wrong =
        read_values(whole, m5_bytes(at + size, whole.len - V2_HEAD_SIZE - size), out);
    return wrong != NULL ? malformed(out, wrong) : M5_PROXY_DONE;
}

static enum m5_proxy_answer parse_v2(struct mqtt5_bytes in, struct m5_proxy_header *out)
{
    out->version = 2;
    if (in.len < V2_HEAD_SIZE)
        return M5_PROXY_MORE;
    const uint8_t command = in.data[12], family = in.data[13];
    out->size = V2_HEAD_SIZE + m5_read_u16(in.data + 14);
    if (command != 0x20 && command != 0x21)
        return malformed(out, "it is of another version than 2, or no command that is known");
    if (out->size > M5_PROXY_SIZE_MAX)
        return malformed(out, "it is too long");
    if (in.len < out->size)
        return M5_PROXY_MORE;
    if (command == 0x20 || family == 0)
        return M5_PROXY_DONE; /* the proxy itself, or a client that it cannot tell */
    return read_addresses(m5_bytes(in.data, out->size), family, out);
}

/* ---- either ---- */

static bool begins(struct mqtt5_bytes in, const void *begin, size_t size)
{
    return memcmp(in.data, begin, in.len < size ? in.len : size) == 0;
}

enum m5_proxy_answer m5_proxy_parse(struct mqtt5_bytes in, enum mqtt5_proxy_protocol allowed,
                                    struct m5_proxy_header *out)
{
    const bool v1 = allowed == MQTT5_PROXY_V1 || allowed == MQTT5_PROXY_ANY;
    const bool v2 = allowed == MQTT5_PROXY_V2 || allowed == MQTT5_PROXY_ANY;
    *out = (struct m5_proxy_header){0};
    if (in.len == 0)
        return M5_PROXY_MORE;
    if (v1 && begins(in, v1_begin, sizeof v1_begin - 1))
        return parse_v1(in, out);
    if (v2 && begins(in, v2_begin, sizeof v2_begin))
        return parse_v2(in, out);
    return malformed(out, v1 || v2 ? "the connection does not begin with it"
                                   : "no version of it is allowed");
}
