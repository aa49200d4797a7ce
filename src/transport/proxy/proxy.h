/* The header of the PROXY protocol, versions 1 and 2: who the client of a proxy is. A pure function
 * over the first bytes of a connection; whether their sender may be believed is for the host.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_PROXY_PROXY_H
#define M5_TRANSPORT_PROXY_PROXY_H

#include <mqtt5/bytes.h>
#include <mqtt5/listener.h>

/* A header that needs more bytes than this is malformed; of version 1 its own 107. */
#define M5_PROXY_SIZE_MAX 1024u
#define M5_PROXY_TEXT_MAX 107u /* bytes of a socket's path */
#define M5_PROXY_NAME_MAX 255u /* bytes of a common name or a server name */

enum m5_proxy_answer {
    M5_PROXY_MORE, /* right so far */
    M5_PROXY_DONE,
    M5_PROXY_MALFORMED /* the connection is to be closed without a word */
};

enum m5_proxy_family {
    M5_PROXY_NONE, /* LOCAL, UNKNOWN: the proxy speaks for itself or does not know */
    M5_PROXY_IPV4,
    M5_PROXY_IPV6,
    M5_PROXY_UNIX
};

struct m5_proxy_end {
    uint8_t address[16]; /* network order; 4 or 16 bytes */
    uint16_t port;
};

/* What a header says. */
struct m5_proxy_header {
    size_t size; /* bytes it took: what follows is the client's */
    uint8_t version;
    enum m5_proxy_family family;
    struct m5_proxy_end source, destination; /* IPv4, IPv6 */
    char path[M5_PROXY_TEXT_MAX + 1];        /* UNIX: of the client; "" = unnamed; '?' for others
                                                than printable ASCII */
    /* Version 2 only, as the proxy tells it. Names are UTF-8 without control characters; others,
     * and longer ones, are treated as if they were not there. */
    bool tls;                                /* the client spoke TLS to the proxy */
    bool certificate;                        /* it showed a certificate that the proxy verified */
    char common_name[M5_PROXY_NAME_MAX + 1]; /* of that certificate; "" = none, or unfit: then the
                                                client is nobody in particular */
    char server_name[M5_PROXY_NAME_MAX + 1]; /* that the client asked for (SNI); "" = none */
    const char *wrong;                       /* M5_PROXY_MALFORMED: a sentence part; static */
};

/* Reads the header at the beginning of @p in, which holds all bytes that have come so far.
 * @p allowed says which versions count; MQTT5_PROXY_OFF takes none. *out is whole after
 * M5_PROXY_DONE; after M5_PROXY_MALFORMED `wrong` is. */
enum m5_proxy_answer m5_proxy_parse(struct mqtt5_bytes in, enum mqtt5_proxy_protocol allowed,
                                    struct m5_proxy_header *out);

#endif
