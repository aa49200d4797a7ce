/* Network addresses: reading "host:port", resolving, writing for logs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

/* ---- reading ---- */

static bool parse_port(const char *text, uint16_t *out)
{
    uint32_t port = 0;
    if (*text == 0)
        return false;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (uint32_t)(*text - '0');
        if (port > UINT16_MAX)
            return false;
    }
    *out = (uint16_t)port;
    return true;
}

/* Takes the host part off @p text; *rest is what follows it: "" or ":port". */
static const char *split_host(const char *text, struct m5_endpoint *out, const char **rest)
{
    const char *host = text, *end;
    if (*text == '[') {
        host = text + 1;
        end = strchr(host, ']');
        if (end == NULL || (end[1] != 0 && end[1] != ':'))
            return "an address in brackets is written [::1] or [::1]:1883";
        *rest = end + 1;
    } else {
        end = strchr(host, ':');
        if (end == NULL)
            end = host + strlen(host);
        else if (strchr(end + 1, ':') != NULL)
            return "an IPv6 address stands in brackets: [::1]:1883";
        *rest = end;
    }
    const size_t size = (size_t)(end - host);
    if (size >= sizeof out->host)
        return "the host name is too long";
    memcpy(out->host, host, size);
    out->host[size] = 0;
    return NULL;
}

const char *m5_endpoint_parse(const char *text, uint16_t default_port, struct m5_endpoint *out)
{
    if (*text == 0)
        return "the address is empty";
    const char *rest;
    const char *why = split_host(text, out, &rest);
    if (why != NULL)
        return why;
    if (strcmp(out->host, "*") == 0)
        out->host[0] = 0;
    out->port = default_port;
    if (*rest == ':' && !parse_port(rest + 1, &out->port))
        return "the port is a number from 0 to 65535";
    return NULL;
}

/* ---- resolving ---- */

static size_t add_any(uint16_t port, struct m5_address *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    out[0] = (struct m5_address){.size = sizeof v4};
    out[1] = (struct m5_address){.size = sizeof v6};
    memcpy(&out[0].storage, &v4, sizeof v4);
    memcpy(&out[1].storage, &v6, sizeof v6);
    return 2;
}

static bool known(const struct m5_address *addresses, size_t count, const struct addrinfo *info)
{
    for (size_t i = 0; i < count; i++)
        if (addresses[i].size == info->ai_addrlen &&
            memcmp(&addresses[i].storage, info->ai_addr, info->ai_addrlen) == 0)
            return true;
    return false;
}

size_t m5_address_resolve(const char *host, uint16_t port, struct m5_address out[M5_ADDRESSES_MAX],
                          const char **why)
{
    if (*host == 0 || strcmp(host, "*") == 0)
        return add_any(port, out);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    const int failed = getaddrinfo(host, NULL, &hints, &list);
    if (failed != 0) {
        *why = gai_strerror(failed);
        return 0;
    }
    size_t count = 0;
    for (const struct addrinfo *info = list; info != NULL; info = info->ai_next) {
        if (count == M5_ADDRESSES_MAX || info->ai_addrlen > sizeof out->storage ||
            known(out, count, info))
            continue;
        out[count] = (struct m5_address){.size = info->ai_addrlen};
        memcpy(&out[count].storage, info->ai_addr, info->ai_addrlen);
        count++;
    }
    freeaddrinfo(list);
    for (size_t i = 0; i < count; i++)
        m5_address_set_port(&out[i], port);
    *why = "the name has no addresses";
    return count;
}

/* ---- parts ---- */

bool m5_address_read(const char *text, uint16_t port, struct m5_address *out)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    *out = (struct m5_address){0};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        memcpy(&out->storage, &v4, sizeof v4);
        out->size = sizeof v4;
    } else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        memcpy(&out->storage, &v6, sizeof v6);
        out->size = sizeof v6;
    }
    return out->size > 0;
}

bool m5_address_is_loopback(const struct m5_address *address)
{
    if (address->storage.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->storage;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;
    return address->storage.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

uint16_t m5_address_port(const struct m5_address *address)
{
    if (address->storage.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&address->storage)->sin_port);
    if (address->storage.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address->storage)->sin6_port);
    return 0;
}

void m5_address_set_port(struct m5_address *address, uint16_t port)
{
    if (address->storage.ss_family == AF_INET)
        ((struct sockaddr_in *)&address->storage)->sin_port = htons(port);
    else
        ((struct sockaddr_in6 *)&address->storage)->sin6_port = htons(port);
}

/* ---- writing ---- */

static char *put_decimal(char *out, unsigned value)
{
    char digits[10];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (count > 0)
        *out++ = digits[--count];
    return out;
}

static char *put_v4(char *out, uint32_t address)
{
    for (int shift = 24; shift >= 0; shift -= 8) {
        out = put_decimal(out, address >> shift & 0xFF);
        if (shift > 0)
            *out++ = '.';
    }
    return out;
}

static char *put_v6(char *out, const struct sockaddr_in6 *v6)
{
    *out++ = '[';
    if (inet_ntop(AF_INET6, &v6->sin6_addr, out, INET6_ADDRSTRLEN) != NULL)
        out += strlen(out);
    *out++ = ']';
    return out;
}

size_t m5_address_format(const struct m5_address *address, char out[M5_ADDRESS_TEXT_SIZE])
{
    char *end = out;
    if (address->storage.ss_family == AF_UNIX) {
        memcpy(out, "unix", sizeof "unix");
        return sizeof "unix" - 1;
    }
    if (address->storage.ss_family == AF_INET)
        end = put_v4(end, ntohl(((const struct sockaddr_in *)&address->storage)->sin_addr.s_addr));
    else if (address->storage.ss_family == AF_INET6)
        end = put_v6(end, (const struct sockaddr_in6 *)&address->storage);
    *end++ = ':';
    end = put_decimal(end, m5_address_port(address));
    *end = 0;
    return (size_t)(end - out);
}
