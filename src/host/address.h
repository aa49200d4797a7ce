/* Network addresses: reading "host:port", resolving, writing for logs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_ADDRESS_H
#define M5_HOST_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define M5_ADDRESS_TEXT_SIZE 64  /* "[ffff:...:255.255.255.255]:65535" and more */
#define M5_HOST_NAME_SIZE    256 /* a host name of DNS and its zero */
#define M5_ADDRESSES_MAX     8   /* of one host name */

struct m5_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

/* "host:port" taken apart. */
struct m5_endpoint {
    char host[M5_HOST_NAME_SIZE]; /* without brackets; "" = all addresses */
    uint16_t port;
};

/* Reads "127.0.0.1:1883", "[::1]:1883", "name:1883", "*:1883", ":1883" or any of them without
 * ":port" (then @p default_port). NULL when it could be read, else a sentence that says why not. */
const char *m5_endpoint_parse(const char *text, uint16_t default_port, struct m5_endpoint *out);

/* Looks @p host up ("" or "*": all addresses of this machine, IPv4 and IPv6) and gives at most
 * M5_ADDRESSES_MAX addresses with @p port. 0 and a sentence in @p why when there are none. May wait
 * for the DNS unless @p host is numeric. */
size_t m5_address_resolve(const char *host, uint16_t port, struct m5_address out[M5_ADDRESSES_MAX],
                          const char **why);

/* Reads a numeric address without brackets. */
bool m5_address_read(const char *text, uint16_t port, struct m5_address *out);

bool m5_address_is_loopback(const struct m5_address *address);

uint16_t m5_address_port(const struct m5_address *address);
void m5_address_set_port(struct m5_address *address, uint16_t port);

/* Writes "127.0.0.1:4242", "[::1]:4242" or "unix" and a zero; returns the length without it. Cheap
 * enough to be done for every connection. */
size_t m5_address_format(const struct m5_address *address, char out[M5_ADDRESS_TEXT_SIZE]);

#endif
