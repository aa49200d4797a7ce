/* Where a client connects to: URLs of servers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_URL_H
#define M5_HOST_CLIENT_URL_H

#include "host/address.h"

#include <mqtt5/error.h>

/* Bytes with the zero: the path of a socket (108 at most) or of WebSocket, whose query may be a
 * signature of some hundred characters. */
#define M5_URL_PATH_SIZE 2048
#define M5_URL_USER_SIZE 256 /* bytes with the zero: user names and passwords in URLs are short */

enum m5_url_kind { M5_URL_TCP, M5_URL_UNIX, M5_URL_TLS, M5_URL_WS, M5_URL_WSS, M5_URL_QUIC };

struct m5_url {
    enum m5_url_kind kind;
    struct m5_endpoint endpoint; /* host "" for a unix socket */
    char path[M5_URL_PATH_SIZE]; /* unix: of the socket; ws, wss: with the query, "/mqtt" when left
                                    out; else "" */
    bool has_username, has_password;
    char username[M5_URL_USER_SIZE], password[M5_URL_USER_SIZE]; /* percent-decoded */
};

/* Reads "scheme://user:password@host:port/path", all but the host optional:
 *
 *     mqtt, tcp   1883      mqtts, ssl   8883      ws   80      wss   443      quic   14567
 *     unix:///path of a socket; tls:// is mqtts://
 *
 * MQTT5_ERR_INVALID_ARGUMENT for what is no such URL, with a sentence part in @p why of @p why_size
 * bytes, which never repeats a password. */
enum mqtt5_error m5_url_parse(const char *url, struct m5_url *out, char *why, size_t why_size);

/* MQTT5_ERR_NOT_BUILT, and why, for a transport that this build lacks. */
enum mqtt5_error m5_url_built(const struct m5_url *url, char *why, size_t why_size);

/* Writes @p url without user name and password; zero-terminated, cut to @p size bytes. */
void m5_url_format(const struct m5_url *url, char *out, size_t size);

#endif
