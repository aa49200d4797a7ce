/* One client of a load: a state machine of src/client and its socket, on a loop that many share.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/link.h"

#include "host/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t bench_now_ns(void)
{
    return m5_clock_ns();
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

const struct mqtt5_allocator bench_allocator = {.alloc = allocate, .free = release};

enum mqtt5_error bench_link_init(struct bench_link *link, struct m5_loop *loop,
                                 struct m5_pipe_room *room,
                                 const struct mqtt5_client_options *options)
{
    *link = (struct bench_link){
        .loop = loop,
        .fd = -1,
        .wire = {.fd = -1, .epoll_fd = -1, .allocator = &bench_allocator, .room = room},
    };
    return m5_client_new(options, &bench_allocator, bench_now_ms(), &link->client);
}

static void close_socket(struct bench_link *link)
{
    if (link->wire.fd < 0 && link->fd >= 0)
        close(link->fd); /* which takes it off the loop */
    m5_link_close(&link->wire);
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

static void say(struct bench_link *link, const char *why)
{
    snprintf(link->why, sizeof link->why, "%.127s", why);
}

/* Ends the connection without a word; @p why = "": the server has. */
static void drop(struct bench_link *link, const char *why)
{
    say(link, why);
    close_socket(link);
    m5_client_lost(link->client);
}

/* The same for errno @p error of the wire. */
static void drop_for(struct bench_link *link, int error)
{
    struct m5_link_failure failure;
    m5_link_explain(&link->wire, error, &failure);
    drop(link, failure.text);
}

static void watch(struct bench_link *link, unsigned events)
{
    if (link->fd < 0 || (link->registered && link->watched == events))
        return;
    if (!link->registered && !m5_loop_add(link->loop, link->fd, link, events)) {
        drop(link, strerror(errno));
        return;
    }
    if (link->registered)
        m5_loop_change(link->loop, link->fd, link, events);
    link->registered = true;
    link->watched = events;
}

static bool cannot_begin(struct bench_link *link, const char *why)
{
    say(link, why);
    close_socket(link);
    return false;
}

bool bench_link_connect(struct bench_link *link, const struct bench_place *place,
                        struct m5_client_stack *stack)
{
    const struct m5_address *address = &place->address;
    const int on = 1;
    struct m5_link_failure failure;
    link->why[0] = 0;
    if (!m5_client_stack_build(stack, &place->url, &link->wire, &failure))
        return cannot_begin(link, failure.text);
    link->fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        return cannot_begin(link, strerror(errno));
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(link->fd, (const struct sockaddr *)&address->storage, address->size) != 0 &&
        errno != EINPROGRESS)
        return cannot_begin(link, strerror(errno));
    if (m5_client_open(link->client, M5_CLIENT_START_AS_CONFIGURED, bench_now_ms()) != MQTT5_OK)
        return cannot_begin(link, strerror(ENOMEM));
    link->state = BENCH_LINK_CONNECTING;
    watch(link, M5_LOOP_READ | M5_LOOP_WRITE);
    return link->state != BENCH_LINK_DOWN;
}

/* A socket that was connecting has become ready. */
static void finish_connecting(struct bench_link *link)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
        m5_client_fail(link->client, MQTT5_ERR_IO);
        drop(link, strerror(error));
        return;
    }
    m5_link_adopt(&link->wire, link->fd, NULL);
    link->state = link->wire.state == M5_LINK_UP ? BENCH_LINK_UP : BENCH_LINK_SHAKING;
}

/* Carries on the handshakes; the link is closed when they fail. */
static void shake(struct bench_link *link)
{
    struct m5_link_failure failure;
    if (m5_link_step(&link->wire, bench_now_ms(), &failure)) {
        link->state = link->wire.state == M5_LINK_UP ? BENCH_LINK_UP : BENCH_LINK_SHAKING;
        return;
    }
    link->fd = -1; /* closed with the wire */
    m5_client_fail(link->client, failure.error);
    drop(link, failure.text);
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
    const ssize_t size = m5_link_receive(&link->wire, space.data, space.size);
    if (size > 0) {
        if (link->state == BENCH_LINK_UP)
            m5_client_received(link->client, (size_t)size);
        return (size_t)size == space.size || m5_link_holds(&link->wire);
    }
    if (size == 0)
        drop(link, "");
    else if (errno != EAGAIN && errno != EINTR)
        drop_for(link, errno);
    return false;
}

bool bench_link_ready(struct bench_link *link, unsigned events)
{
    if (link->state == BENCH_LINK_CONNECTING || link->state == BENCH_LINK_SHAKING) {
        if (link->state == BENCH_LINK_CONNECTING)
            finish_connecting(link);
        if (link->state == BENCH_LINK_SHAKING)
            shake(link);
        if (link->state != BENCH_LINK_DOWN)
            bench_link_flush(link);
        return link->state == BENCH_LINK_UP && m5_link_holds(&link->wire);
    }
    const bool readable =
        (events & (M5_LOOP_READ | M5_LOOP_ENDED)) != 0 || m5_link_holds(&link->wire);
    return link->state != BENCH_LINK_DOWN && readable && read_once(link);
}

/* Sends what the client has. False when some of it has to wait. */
static bool send_all(struct bench_link *link)
{
    struct mqtt5_bytes bytes;
    if (!m5_link_flush(&link->wire)) {
        drop_for(link, errno);
        return true;
    }
    while ((bytes = m5_client_output(link->client)).len > 0) {
        const ssize_t size = m5_link_send(&link->wire, bytes.data, bytes.len);
        if (size < 0 && errno != EAGAIN && errno != EINTR) {
            drop_for(link, errno);
            return true;
        }
        if (size > 0)
            m5_client_sent(link->client, (size_t)size);
        if (size < 0 || (size_t)size < bytes.len)
            return false;
    }
    return !m5_link_has_output(&link->wire);
}

void bench_link_flush(struct bench_link *link)
{
    const bool waits = link->state == BENCH_LINK_UP && !send_all(link);
    if (link->state == BENCH_LINK_UP && !waits && m5_client_wants_close(link->client)) {
        m5_link_finish(&link->wire);
        link->state = BENCH_LINK_LEAVING;
    }
    const bool reads = link->state == BENCH_LINK_LEAVING || link->state == BENCH_LINK_SHAKING ||
                       m5_client_wants_read(link->client);
    /* What is left inside no socket tells of, but there mostly is room to write. */
    const bool writes =
        waits || m5_link_has_output(&link->wire) || (reads && m5_link_holds(&link->wire));
    if (link->state != BENCH_LINK_CONNECTING)
        watch(link, (reads ? M5_LOOP_READ : 0) | (writes ? M5_LOOP_WRITE : 0));
}
