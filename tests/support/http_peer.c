/* A small HTTP server for tests.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/http_peer.h"

#include "support/unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_MAX 65536

struct http_peer {
    http_handler_fn *handler;
    void *ctx;
    int fd, wake[2];
    uint16_t port;
    pthread_t thread;
    atomic_uint count;
    atomic_bool stalls;
};

/* True while more has to come. */
static bool is_part(const char *request, size_t size)
{
    const char *end = strstr(request, "\r\n\r\n");
    if (end == NULL)
        return true;
    const char *length = strcasestr(request, "\r\nContent-Length:");
    const size_t body = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    return (size_t)(end + 4 - request) + body > size;
}

static void answer(struct http_peer *peer, int fd, const char *request)
{
    struct http_reply *reply = calloc(1, sizeof *reply);
    char head[512];
    peer->handler(peer->ctx, request, reply);
    const bool moved = reply->location[0] != 0;
    const int size = snprintf(
        head, sizeof head,
        "HTTP/1.1 %d x\r\nContent-Length: %zu\r\nConnection: close\r\n%s%s%s\r\n", reply->status,
        strlen(reply->body), moved ? "Location: " : "", reply->location, moved ? "\r\n" : "");
    if (send(fd, head, (size_t)size, MSG_NOSIGNAL) > 0)
        (void)!send(fd, reply->body, strlen(reply->body), MSG_NOSIGNAL);
    free(reply);
}

static void serve(struct http_peer *peer, int fd)
{
    char *request = calloc(1, REQUEST_MAX + 1);
    size_t size = 0;
    while (size < REQUEST_MAX && is_part(request, size)) {
        const ssize_t got = recv(fd, request + size, REQUEST_MAX - size, 0);
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    if (!is_part(request, size)) {
        atomic_fetch_add(&peer->count, 1);
        answer(peer, fd, request);
    }
    free(request);
    close(fd);
}

static void *run(void *ctx)
{
    struct http_peer *peer = ctx;
    for (;;) {
        struct pollfd fds[2] = {{.fd = peer->wake[0], .events = POLLIN},
                                {.fd = peer->fd, .events = POLLIN}};
        const nfds_t count = atomic_load(&peer->stalls) ? 1 : 2;
        poll(fds, count, 20);
        if (fds[0].revents != 0)
            return NULL;
        const bool serves = !atomic_load(&peer->stalls) && count == 2 && fds[1].revents != 0;
        const int fd = serves ? accept(peer->fd, NULL, NULL) : -1;
        if (fd >= 0)
            serve(peer, fd);
    }
}

struct http_peer *http_peer_start(http_handler_fn *handler, void *ctx, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t size = sizeof address;
    const int on = 1;
    struct http_peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    peer->handler = handler;
    peer->ctx = ctx;
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(peer->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(peer->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(peer->fd, 64), 0);
    assert_int_equal(getsockname(peer->fd, (struct sockaddr *)&address, &size), 0);
    peer->port = ntohs(address.sin_port);
    assert_int_equal(pipe(peer->wake), 0);
    assert_int_equal(pthread_create(&peer->thread, NULL, run, peer), 0);
    return peer;
}

uint16_t http_peer_port(const struct http_peer *peer)
{
    return peer->port;
}

unsigned http_peer_count(const struct http_peer *peer)
{
    return atomic_load(&peer->count);
}

void http_peer_stall(struct http_peer *peer, bool stalls)
{
    atomic_store(&peer->stalls, stalls);
}

void http_peer_stop(struct http_peer *peer)
{
    (void)!write(peer->wake[1], "x", 1);
    pthread_join(peer->thread, NULL);
    close(peer->wake[0]);
    close(peer->wake[1]);
    close(peer->fd);
    free(peer);
}
