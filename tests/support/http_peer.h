/* A small HTTP server on 127.0.0.1 for tests: one request a connection, answered by a function.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef HTTP_PEER_H
#define HTTP_PEER_H

#include <stdbool.h>
#include <stdint.h>

struct http_peer;

struct http_reply {
    int status;
    char location[256]; /* "": none */
    char body[8192];
};

/* @p request is all of it, with a zero behind it: head, empty line, body. On the peer's thread. */
typedef void http_handler_fn(void *ctx, const char *request, struct http_reply *reply);

/* Listens on a free port, or on @p port if that is not 0. */
struct http_peer *http_peer_start(http_handler_fn *handler, void *ctx, uint16_t port);
uint16_t http_peer_port(const struct http_peer *peer);
unsigned http_peer_count(const struct http_peer *peer); /* requests so far */

/* Answers nothing, but takes connections, until it is told to go on. */
void http_peer_stall(struct http_peer *peer, bool stalls);

void http_peer_stop(struct http_peer *peer);

#endif
