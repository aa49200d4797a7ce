/* Where a connection comes from, and lists of networks.
 *
 * A list is sorted by length of prefix and then by address: a question is one binary search for
 * each length that occurs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/source.h"

#include "base/alloc.h"
#include "base/bytes.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define IPV4_BITS  96 /* of the prefix ::ffff:0:0 */
#define PREFIX_MAX 128

static const uint8_t ipv4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

struct network {
    uint32_t bits;
    struct m5_source source; /* zeros behind the prefix */
};

struct m5_bans {
    const struct mqtt5_allocator *allocator;
    struct network *items;
    uint32_t count, capacity;
    uint32_t begin[PREFIX_MAX + 2]; /* where the networks of each length begin */
};

struct m5_source m5_source_of(const struct m5_address *address)
{
    struct m5_source source = {0};
    if (address->storage.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address->storage, sizeof in);
        memcpy(source.bytes, ipv4_prefix, sizeof ipv4_prefix);
        memcpy(source.bytes + 12, &in.sin_addr, 4);
    } else if (address->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, &address->storage, sizeof in);
        memcpy(source.bytes, &in.sin6_addr, M5_SOURCE_SIZE);
    }
    return source;
}

struct m5_source m5_source_counted(struct m5_source source)
{
    static const uint8_t loopback[M5_SOURCE_SIZE] = {[15] = 1};
    if (memcmp(source.bytes, ipv4_prefix, sizeof ipv4_prefix) != 0 &&
        memcmp(source.bytes, loopback, sizeof loopback) != 0)
        memset(source.bytes + 8, 0, 8);
    return source;
}

static struct m5_source masked(struct m5_source source, uint32_t bits)
{
    for (uint32_t i = 0; i < M5_SOURCE_SIZE; i++) {
        if (bits <= 8 * i)
            source.bytes[i] = 0;
        else if (bits < 8 * i + 8)
            source.bytes[i] &= (uint8_t)(0xFF00u >> (bits - 8 * i));
    }
    return source;
}

/* ---- reading ---- */

static bool parse_address(struct mqtt5_bytes text, struct network *out, uint32_t *bits_max)
{
    char copy[INET6_ADDRSTRLEN + 1];
    if (text.len >= sizeof copy)
        return false;
    m5_copy((uint8_t *)copy, text);
    copy[text.len] = 0;
    *bits_max = 32;
    memcpy(out->source.bytes, ipv4_prefix, sizeof ipv4_prefix);
    if (inet_pton(AF_INET, copy, out->source.bytes + 12) == 1)
        return true;
    *bits_max = PREFIX_MAX;
    return inet_pton(AF_INET6, copy, out->source.bytes) == 1;
}

static bool parse_network(struct mqtt5_bytes text, struct network *out)
{
    uint32_t bits_max = 0, bits = 0;
    const uint8_t *slash = text.len > 0 ? memchr(text.data, '/', text.len) : NULL;
    const struct mqtt5_bytes address =
        m5_bytes(text.data, slash != NULL ? (size_t)(slash - text.data) : text.len);
    if (!parse_address(address, out, &bits_max))
        return false;
    bits = bits_max;
    if (slash != NULL &&
        !m5_text_number(m5_bytes(slash + 1, text.len - address.len - 1), bits_max, &bits))
        return false;
    out->bits = bits_max == 32 ? IPV4_BITS + bits : bits;
    out->source = masked(out->source, out->bits);
    return true;
}

static int by_prefix(const void *a, const void *b)
{
    const struct network *first = a, *second = b;
    if (first->bits != second->bits)
        return first->bits < second->bits ? -1 : 1;
    return memcmp(first->source.bytes, second->source.bytes, M5_SOURCE_SIZE);
}

static bool add_network(struct m5_bans *bans, const struct m5_text_lines *lines,
                        struct m5_text_error *error)
{
    struct m5_text_word words[2];
    const size_t count = m5_text_split(lines->line, words, 2);
    struct network network = {0};
    if (count > 1)
        return m5_text_fail(error, lines->number, words[1].column,
                            "one network a line; put a comment on a line of its own");
    if (!parse_network(words[0].text, &network))
        return m5_text_fail(error, lines->number, words[0].column,
                            "this is no address; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32");
    if (bans->count == M5_BANS_MAX)
        return m5_text_fail(error, lines->number, 1, "more than %u networks", M5_BANS_MAX);
    struct network *items =
        m5_make_room(bans->allocator, bans->items, sizeof *items, bans->count, &bans->capacity, 16);
    if (items == NULL)
        return m5_text_fail(error, 0, 0, "out of memory");
    bans->items = items;
    items[bans->count++] = network;
    return true;
}

static void sort_networks(struct m5_bans *bans)
{
    if (bans->count > 0)
        qsort(bans->items, bans->count, sizeof *bans->items, by_prefix);
    for (uint32_t i = 0; i < bans->count; i++)
        bans->begin[bans->items[i].bits + 1] = i + 1;
    for (uint32_t bits = 1; bits <= PREFIX_MAX + 1; bits++) {
        if (bans->begin[bits] == 0)
            bans->begin[bits] = bans->begin[bits - 1];
    }
}

struct m5_bans *m5_bans_new(const struct mqtt5_allocator *allocator, struct mqtt5_bytes text,
                            struct m5_text_error *error)
{
    struct m5_text_lines lines = {.rest = text};
    struct m5_bans *bans = m5_alloc_zero(allocator, sizeof *bans);
    if (bans == NULL) {
        m5_text_fail(error, 0, 0, "out of memory");
        return NULL;
    }
    bans->allocator = allocator;
    while (m5_text_next_line(&lines)) {
        if (m5_text_check_line(&lines, error) &&
            (m5_text_is_comment(lines.line) || add_network(bans, &lines, error)))
            continue;
        m5_bans_free(bans);
        return NULL;
    }
    sort_networks(bans);
    return bans;
}

struct m5_bans *m5_bans_load(const char *path, struct m5_text_error *error)
{
    struct m5_text text;
    if (!m5_text_read(path, &text, error))
        return NULL;
    struct m5_bans *bans = m5_bans_new(&m5_libc_allocator, m5_bytes(text.data, text.size), error);
    m5_text_free(&text);
    return bans;
}

void m5_bans_free(struct m5_bans *bans)
{
    if (bans == NULL)
        return;
    const struct mqtt5_allocator *allocator = bans->allocator;
    m5_free(allocator, bans->items, bans->capacity * sizeof *bans->items);
    m5_free(allocator, bans, sizeof *bans);
}

bool m5_bans_contain(const struct m5_bans *bans, struct m5_source source)
{
    static const struct m5_source unix_socket = {{0}};
    if (memcmp(&source, &unix_socket, sizeof source) == 0)
        return false;
    for (uint32_t bits = 0; bits <= PREFIX_MAX; bits++) {
        const uint32_t begin = bans->begin[bits], count = bans->begin[bits + 1] - begin;
        const struct network wanted = {.bits = bits, .source = masked(source, bits)};
        if (count > 0 && bsearch(&wanted, bans->items + begin, count, sizeof wanted, by_prefix))
            return true;
    }
    return false;
}
