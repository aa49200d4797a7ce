/* The pump: turns of timers, sockets, events and output, and the sleep between them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/host.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SENDS_PER_TURN 16   /* then the input gets its turn again */
#define LINGER_MS      1000 /* for the server to close after our DISCONNECT */

uint64_t m5_client_host_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool m5_client_host_in_callback(const struct mqtt5_client *client)
{
    return client->calling_back && pthread_equal(client->pump, pthread_self());
}

void m5_client_host_nudge(struct mqtt5_client *client)
{
    if (client->sleeping)
        mqtt5_client_wake(client);
}

/* ---- the end of a connection ---- */

void m5_client_host_drop_link(struct mqtt5_client *client)
{
    m5_link_close(&client->link);
    m5_client_lost(client->engine);
}

static void fail_link(struct mqtt5_client *client, const char *why)
{
    snprintf(client->why, sizeof client->why, "%s", why);
    m5_client_fail(client->engine, MQTT5_ERR_IO);
    m5_client_host_drop_link(client);
}

static void fail_socket(struct mqtt5_client *client, int error)
{
    char why[sizeof client->why];
    snprintf(why, sizeof why, "%.300s: %s", client->url, strerror(error));
    fail_link(client, why);
}

/* ---- the link ---- */

/* Looks the name up with the lock open: that may wait for the network. */
static void resolve(struct mqtt5_client *client)
{
    struct m5_address addresses[M5_ADDRESSES_MAX];
    struct m5_link_failure failure = {""};
    const struct m5_endpoint endpoint = client->link.endpoint;
    pthread_mutex_unlock(&client->lock);
    const size_t count = m5_link_resolve(&endpoint, addresses, &failure);
    pthread_mutex_lock(&client->lock);
    if (client->link.state != M5_LINK_RESOLVE)
        return; /* given up meanwhile */
    memcpy(client->link.addresses, addresses, count * sizeof *addresses);
    client->link.count = count;
    if (!m5_link_start(&client->link, client->config.connect_timeout_ms, m5_client_host_clock_ms(),
                       &failure))
        fail_link(client, failure.text);
}

/* Lets the user's hook connect, with the lock open: it may wait. */
static void dial(struct mqtt5_client *client)
{
    char url[sizeof client->url], why[sizeof client->why] = "the dial hook has failed";
    memcpy(url, client->url, sizeof url);
    client->calling_back = true;
    pthread_mutex_unlock(&client->lock);
    const int fd = client->config.dial(client->config.dial_ctx, url, why, sizeof why);
    pthread_mutex_lock(&client->lock);
    client->calling_back = false;
    if (client->link.state != M5_LINK_RESOLVE) { /* given up meanwhile */
        if (fd >= 0)
            close(fd);
        return;
    }
    client->link.fd = fd;
    client->link.state = M5_LINK_UP;
    if (fd < 0)
        fail_link(client, why);
}

/* How the socket stands, without waiting. */
static short look(const struct mqtt5_client *client, short wanted)
{
    struct pollfd descriptor = {.fd = client->link.fd, .events = wanted};
    return poll(&descriptor, 1, 0) > 0 ? descriptor.revents : 0;
}

static void advance_link(struct mqtt5_client *client)
{
    struct m5_link_failure failure = {""};
    if (client->link.state == M5_LINK_RESOLVE && client->config.dial != NULL)
        dial(client);
    else if (client->link.state == M5_LINK_RESOLVE)
        resolve(client);
    if (client->link.state == M5_LINK_CONNECTING &&
        !m5_link_continue(&client->link, look(client, POLLOUT) != 0, m5_client_host_clock_ms(),
                          &failure))
        fail_link(client, failure.text);
}

/* ---- bytes ---- */

static void receive(struct mqtt5_client *client)
{
    if (client->link.state != M5_LINK_UP || !m5_client_wants_read(client->engine))
        return;
    const struct m5_client_space space = m5_client_read_space(client->engine);
    if (space.size == 0)
        return; /* no memory: the connection is closing */
    const ssize_t size = recv(client->link.fd, space.data, space.size, 0);
    if (size > 0)
        m5_client_received(client->engine, (size_t)size);
    else if (size == 0)
        m5_client_host_drop_link(client);
    else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        fail_socket(client, errno);
}

/* A send failed. What the server said before it closed may still wait to be read; reading then
 * finds the end of the connection as well. */
static void end_output(struct mqtt5_client *client, int error)
{
    if (error == EAGAIN || error == EWOULDBLOCK || error == EINTR)
        return;
    if ((error == EPIPE || error == ECONNRESET) && m5_client_wants_read(client->engine))
        return;
    fail_socket(client, error);
}

static void transmit(struct mqtt5_client *client)
{
    for (int i = 0; i < SENDS_PER_TURN && client->link.state == M5_LINK_UP; i++) {
        const struct mqtt5_bytes bytes = m5_client_output(client->engine);
        if (bytes.len == 0)
            return;
        const ssize_t size = send(client->link.fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        if (size < 0) {
            end_output(client, errno);
            return;
        }
        m5_client_sent(client->engine, (size_t)size);
        if ((size_t)size < bytes.len)
            return;
    }
}

/* Bytes nobody wants: only the end of the stream is waited for. */
static void discard_input(struct mqtt5_client *client)
{
    uint8_t bytes[4096];
    ssize_t size;
    int reads = 0; /* bounded: the deadline has to be looked at now and then */
    do
        size = recv(client->link.fd, bytes, sizeof bytes, 0);
    while (size > 0 && ++reads < SENDS_PER_TURN);
    const bool later = size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
    if (!later || m5_client_host_clock_ms() >= client->linger_deadline_ms)
        m5_client_host_drop_link(client);
}

/* Closes when the engine is done, or gave up while there was no connection yet. After a DISCONNECT
 * of ours the server closes first, if it does so in time: closing a socket that holds unread bytes
 * would reset the connection, and what we have said last could be lost. */
static void close_if_over(struct mqtt5_client *client)
{
    if (m5_client_state(client->engine) != MQTT5_CLIENT_CLOSING)
        return;
    if (client->link.state == M5_LINK_LINGERING) {
        discard_input(client);
    } else if (client->link.state != M5_LINK_UP || m5_client_drops_output(client->engine)) {
        m5_client_host_drop_link(client);
    } else if (m5_client_wants_close(client->engine)) {
        shutdown(client->link.fd, SHUT_WR);
        client->link.state = M5_LINK_LINGERING;
        client->linger_deadline_ms = m5_client_host_clock_ms() + LINGER_MS;
    }
}

/* ---- turns ---- */

bool m5_client_host_drain(struct mqtt5_client *client)
{
    struct m5_client_event event;
    bool shown = false;
    while (!client->free_asked && m5_client_next_event(client->engine, &event)) {
        m5_client_host_dispatch(client, &event);
        shown = true;
    }
    return shown;
}

bool m5_client_host_turn(struct mqtt5_client *client)
{
    const enum m5_link_state before = client->link.state;
    m5_client_tick(client->engine, m5_client_host_clock_ms());
    advance_link(client);
    receive(client);
    bool shown = m5_client_host_drain(client);
    transmit(client);
    close_if_over(client);
    shown |= m5_client_host_drain(client); /* messages of QoS 0 that went out, the end */
    return shown || client->link.state != before;
}

static int wait_ms(const struct mqtt5_client *client, uint32_t timeout_ms)
{
    const uint64_t now = m5_client_host_clock_ms();
    uint64_t deadline = m5_client_deadline_ms(client->engine);
    if (client->link.state == M5_LINK_CONNECTING && client->link.attempt_deadline_ms < deadline)
        deadline = client->link.attempt_deadline_ms;
    if (client->link.state == M5_LINK_LINGERING)
        deadline = client->linger_deadline_ms;
    uint64_t wait = deadline > now ? deadline - now : 0;
    if (timeout_ms < wait)
        wait = timeout_ms;
    if (deadline == UINT64_MAX && timeout_ms == MQTT5_FOREVER)
        return -1;
    return wait > INT_MAX ? INT_MAX : (int)wait;
}

void m5_client_host_sleep(struct mqtt5_client *client, uint32_t timeout_ms)
{
    struct pollfd descriptors[2] = {{.fd = client->wake_fd, .events = POLLIN},
                                    {.fd = client->link.fd}};
    if (client->link.state == M5_LINK_CONNECTING)
        descriptors[1].events = POLLOUT;
    else if (client->link.state == M5_LINK_LINGERING)
        descriptors[1].events = POLLIN;
    else if (client->link.state == M5_LINK_UP)
        descriptors[1].events = (short)((m5_client_wants_read(client->engine) ? POLLIN : 0) |
                                        (m5_client_output(client->engine).len > 0 ? POLLOUT : 0));
    const int wait = client->link.state == M5_LINK_RESOLVE ? 0 : wait_ms(client, timeout_ms);
    client->sleeping = true;
    pthread_mutex_unlock(&client->lock);
    (void)poll(descriptors, 2, wait); /* an interruption is as good as a wake-up */
    pthread_mutex_lock(&client->lock);
    client->sleeping = false;
    uint64_t count;
    if (descriptors[0].revents != 0)
        (void)!read(client->wake_fd, &count, sizeof count); /* empty already: no harm */
}
