/* Who is behind a proxy: X-Forwarded-For and Forwarded (RFC 7239), read from the right.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/websocket/forwarded.h"

#include "base/bytes.h"
#include "transport/websocket/http.h"

#include <arpa/inet.h>

static bool read_port(struct mqtt5_bytes digits, uint16_t *out)
{
    uint32_t port = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9' || port > UINT16_MAX)
            return false;
        port = port * 10 + (digits.data[i] - '0');
    }
    *out = (uint16_t)port;
    return digits.len > 0 && port <= UINT16_MAX;
}

/* Writes @p text as the one form that its address has; an IPv4 address mapped into IPv6 is IPv4. */
static bool normalise(struct mqtt5_bytes text, struct m5_forwarded_address *out)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    char copy[M5_FORWARDED_TEXT_SIZE];
    uint8_t bytes[16];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.data, 0, text.len) != NULL)
        return false;
    *m5_copy((uint8_t *)copy, text) = 0;
    if (inet_pton(AF_INET, copy, bytes) == 1)
        return inet_ntop(AF_INET, bytes, out->text, sizeof out->text) != NULL;
    if (inet_pton(AF_INET6, copy, bytes) != 1)
        return false;
    if (memcmp(bytes, mapped, sizeof mapped) == 0)
        return inet_ntop(AF_INET, bytes + 12, out->text, sizeof out->text) != NULL;
    return inet_ntop(AF_INET6, bytes, out->text, sizeof out->text) != NULL;
}

/* Reads "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]" or "[2001:db8::1]:80". */
static bool read_address(struct mqtt5_bytes text, struct m5_forwarded_address *out)
{
    *out = (struct m5_forwarded_address){0};
    const uint8_t *end = text.len > 0 ? (const uint8_t *)memchr(text.data, ']', text.len) : NULL;
    if (end != NULL && text.data[0] == '[') {
        const size_t size = (size_t)(end - text.data) + 1;
        const struct mqtt5_bytes rest = m5_bytes(text.data + size, text.len - size);
        if (rest.len > 0 &&
            (rest.data[0] != ':' || !read_port(m5_bytes(rest.data + 1, rest.len - 1), &out->port)))
            return false;
        return normalise(m5_bytes(text.data + 1, size - 2), out);
    }
    const uint8_t *first = text.len > 0 ? (const uint8_t *)memchr(text.data, ':', text.len) : NULL;
    const uint8_t *last = text.len > 0 ? (const uint8_t *)memrchr(text.data, ':', text.len) : NULL;
    if (first == NULL || first != last)
        return normalise(text, out);
    const size_t size = (size_t)(first - text.data);
    return read_port(m5_bytes(first + 1, text.len - size - 1), &out->port) &&
           normalise(m5_bytes(text.data, size), out);
}

/* What is no address stands for somebody unknown, who is nobody's trusted proxy: so is an element
 * whose quotes a client left open to swallow what the proxies append. */
static void add(struct m5_forwarded_chain *chain, struct mqtt5_bytes text,
                const struct m5_websocket_server_config *config)
{
    struct m5_forwarded_address address;
    if (!read_address(text, &address))
        address = (struct m5_forwarded_address){0};
    const bool trusted = address.text[0] != 0 && config->trusted != NULL &&
                         config->trusted(config->trusted_ctx, address.text);
    if (!trusted || !chain->any)
        chain->address = address;
    chain->any = true;
}

void m5_forwarded_add_list(struct m5_forwarded_chain *chain, struct mqtt5_bytes value,
                           const struct m5_websocket_server_config *config)
{
    struct mqtt5_bytes element;
    while (m5_http_element(&value, ',', &element))
        add(chain, element, config);
}

/* The value of the parameter "for"; empty when there is none. */
static struct mqtt5_bytes find_for(struct mqtt5_bytes element)
{
    struct mqtt5_bytes pair;
    while (m5_http_element(&element, ';', &pair)) {
        if (pair.len < 4 || !m5_http_equals(m5_bytes(pair.data, 4), "for="))
            continue;
        pair = m5_bytes(pair.data + 4, pair.len - 4);
        if (pair.len >= 2 && pair.data[0] == '"' && pair.data[pair.len - 1] == '"')
            pair = m5_bytes(pair.data + 1, pair.len - 2);
        return pair;
    }
    return (struct mqtt5_bytes){0};
}

void m5_forwarded_add_elements(struct m5_forwarded_chain *chain, struct mqtt5_bytes value,
                               const struct m5_websocket_server_config *config)
{
    struct mqtt5_bytes element;
    while (m5_http_element(&value, ',', &element))
        add(chain, find_for(element), config);
}

struct m5_forwarded_address m5_forwarded_client(const struct m5_forwarded_chain *list,
                                                const struct m5_forwarded_chain *elements)
{
    if (list->any && elements->any && strcmp(list->address.text, elements->address.text) != 0)
        return (struct m5_forwarded_address){0};
    return list->any ? list->address : elements->address;
}
