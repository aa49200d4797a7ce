/* One client of a load: a state machine of src/client and its socket, on a loop that many share.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/link.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t bench_now_ms(void)
{
    return bench_now_ns() / 1000000;
}

static void *allocate(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void release(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct mqtt5_allocator allocator = {.alloc = allocate, .free = release};

enum mqtt5_error bench_link_init(struct bench_link *link, struct m5_loop *loop,
                                 const struct mqtt5_client_options *options)
{
    *link = (struct bench_link){.loop = loop, .fd = -1};
    return m5_client_new(options, &allocator, bench_now_ms(), &link->client);
}

static void close_socket(struct bench_link *link)
{
    if (link->fd >= 0)
        close(link->fd); /* which takes it off the loop */
    link->fd = -1;
    link->registered = false;
    link->state = BENCH_LINK_DOWN;
}

void bench_link_fini(struct bench_link *link)
{
    if (link->client == NULL)
        return;
    close_socket(link);
    m5_client_free(link->client);
    link->client = NULL;
}

void bench_link_drop(struct bench_link *link, int error)
{
    link->error = error;
    close_socket(link);
    m5_client_lost(link->client);
}

static void watch(struct bench_link *link, unsigned events)
{
    if (link->fd < 0 || (link->registered && link->watched == events))
        return;
    if (!link->registered && !m5_loop_add(link->loop, link->fd, link, events)) {
        bench_link_drop(link, errno);
        return;
    }
    if (link->registered)
        m5_loop_change(link->loop, link->fd, link, events);
    link->registered = true;
    link->watched = events;
}

bool bench_link_connect(struct bench_link *link, const struct m5_address *address)
{
    const int on = 1;
    link->error = 0;
    link->fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) {
        link->error = errno;
        return false;
    }
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(link->fd, (const struct sockaddr *)&address->storage, address->size) != 0 &&
        errno != EINPROGRESS) {
        link->error = errno;
        close_socket(link);
        return false;
    }
    const enum mqtt5_error error =
        m5_client_open(link->client, M5_CLIENT_START_AS_CONFIGURED, bench_now_ms());
    if (error != MQTT5_OK) {
        link->error = ENOMEM;
        close_socket(link);
        return false;
    }
    link->state = BENCH_LINK_CONNECTING;
    watch(link, M5_LOOP_READ | M5_LOOP_WRITE);
    return link->state != BENCH_LINK_DOWN;
}

/* A socket that was connecting has become ready. */
static bool finish_connecting(struct bench_link *link)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
        m5_client_fail(link->client, MQTT5_ERR_IO);
        bench_link_drop(link, error);
        return false;
    }
    link->state = BENCH_LINK_UP;
    return true;
}

static bool read_once(struct bench_link *link)
{
    if (!m5_client_wants_read(link->client) && link->state != BENCH_LINK_LEAVING)
        return false;
    uint8_t rest[4096]; /* what comes after our DISCONNECT is nobody's business */
    struct m5_client_space space = {.data = rest, .size = sizeof rest};
    if (link->state == BENCH_LINK_UP)
        space = m5_client_read_space(link->client);
    if (space.size == 0)
        return false;
    const ssize_t size = recv(link->fd, space.data, space.size, 0);
    if (size > 0) {
        if (link->state == BENCH_LINK_UP)
            m5_client_received(link->client, (size_t)size);
        return (size_t)size == space.size;
    }
    if (size == 0 || (errno != EAGAIN && errno != EINTR))
        bench_link_drop(link, size == 0 ? 0 : errno);
    return false;
}

bool bench_link_ready(struct bench_link *link, unsigned events)
{
    if (link->state == BENCH_LINK_CONNECTING) {
        if (finish_connecting(link))
            bench_link_flush(link);
        return false;
    }
    return link->state != BENCH_LINK_DOWN && (events & (M5_LOOP_READ | M5_LOOP_ENDED)) != 0 &&
           read_once(link);
}

void bench_link_flush(struct bench_link *link)
{
    struct mqtt5_bytes bytes = {.len = 0};
    while (link->state == BENCH_LINK_UP && (bytes = m5_client_output(link->client)).len > 0) {
        const ssize_t size = send(link->fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (size < 0) {
            if (errno != EAGAIN && errno != EINTR)
                bench_link_drop(link, errno);
            break;
        }
        m5_client_sent(link->client, (size_t)size);
        if ((size_t)size < bytes.len)
            break;
        bytes.len = 0;
    }
    if (link->state == BENCH_LINK_UP && m5_client_wants_close(link->client)) {
        shutdown(link->fd, SHUT_WR);
        link->state = BENCH_LINK_LEAVING;
    }
    const bool reads = link->state == BENCH_LINK_LEAVING || m5_client_wants_read(link->client);
    if (link->state != BENCH_LINK_CONNECTING)
        watch(link, (reads ? M5_LOOP_READ : 0) | (bytes.len > 0 ? M5_LOOP_WRITE : 0));
}
