/* The pump: turns of timers, sockets, events and output, and the sleep between them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/host.h"

#include "host/client/mock.h"
#include "host/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define SENDS_PER_TURN 16   /* then the input gets its turn again */
#define LINGER_MS      1000 /* for the server to close after our DISCONNECT */

uint64_t m5_client_host_clock_ms(void)
{
    return m5_clock_ms();
}

uint64_t m5_client_host_now(const struct mqtt5_client *client)
{
    return client->mock != NULL ? m5_client_mock_now(client->mock) : m5_client_host_clock_ms();
}

/* ---- waking ---- */

bool m5_client_host_in_callback(const struct mqtt5_client *client)
{
    return client->calling_back && pthread_equal(client->pump, pthread_self());
}

bool m5_client_host_may_not_wait(const struct mqtt5_client *client)
{
    return m5_client_host_in_callback(client) || m5_client_host_on_loop_thread(client);
}

void m5_client_host_wake(void *context)
{
    struct mqtt5_client *client = context;
    if (client->loop != NULL)
        m5_client_host_loop_wake(client);
    else if (client->wake_fd >= 0)
        mqtt5_client_wake(client);
}

void m5_client_host_nudge(struct mqtt5_client *client)
{
    if (client->pumping && pthread_equal(client->pump, pthread_self()))
        return; /* the turn goes on */
    if (client->loop != NULL) {
        m5_client_host_loop_wake(client);
        return;
    }
    const bool nobody = !client->pumping && client->fd_given;
    if ((!client->sleeping && !nobody) || client->wake_pending)
        return;
    client->wake_pending = true;
    mqtt5_client_wake(client);
}

/* ---- bytes ---- */

static void fail_socket(struct mqtt5_client *client, int error)
{
    struct m5_link_failure failure;
    m5_link_explain(&client->link, error, &failure);
    m5_client_host_fail_at_url(client, &failure);
}

static bool is_later(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

static void receive(struct mqtt5_client *client)
{
    if (client->link.state != M5_LINK_UP || !client->ready || !m5_client_wants_read(client->engine))
        return;
    const struct m5_client_space space = m5_client_read_space(client->engine);
    if (space.size == 0)
        return; /* no memory: the connection is closing */
    const ssize_t size = m5_link_receive(&client->link, space.data, space.size);
    client->ready = size > 0 && ((size_t)size == space.size || m5_link_holds(&client->link));
    if (size > 0)
        m5_client_received(client->engine, (size_t)size);
    else if (size == 0)
        m5_client_host_drop_link(client);
    else if (!is_later(errno))
        fail_socket(client, errno);
}

/* A send failed. What the server said before it closed may still wait to be read; reading then
 * finds the end of the connection as well. */
static void end_output(struct mqtt5_client *client, int error)
{
    if (is_later(error))
        return;
    if ((error == EPIPE || error == ECONNRESET) && m5_client_wants_read(client->engine))
        return;
    fail_socket(client, error);
}

static void transmit(struct mqtt5_client *client)
{
    if (client->link.state == M5_LINK_UP && !m5_link_flush(&client->link))
        end_output(client, errno);
    for (int i = 0; i < SENDS_PER_TURN && client->link.state == M5_LINK_UP; i++) {
        const struct mqtt5_bytes bytes = m5_client_output(client->engine);
        if (bytes.len == 0)
            return;
        const ssize_t size = m5_link_send(&client->link, bytes.data, bytes.len);
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
        size = m5_link_receive(&client->link, bytes, sizeof bytes);
    while (size > 0 && ++reads < SENDS_PER_TURN);
    const bool later = size > 0 || (size < 0 && is_later(errno));
    if (!later || m5_client_host_now(client) >= client->linger_deadline_ms)
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
    } else if (m5_client_wants_close(client->engine) && !m5_link_has_output(&client->link)) {
        m5_link_finish(&client->link);
        client->linger_deadline_ms = m5_client_host_now(client) + LINGER_MS;
        discard_input(client);
    }
}

/* ---- turns ---- */

/* The user has ended a wait for the next connection: no event of the engine tells of that. */
static bool show_stop(struct mqtt5_client *client)
{
    if (!client->stopped_due)
        return false;
    client->stopped_due = false;
    const struct m5_client_event event = {.type = M5_CLIENT_DISCONNECTED};
    m5_client_host_dispatch(client, &event);
    return true;
}

static bool show_room(struct mqtt5_client *client)
{
    if (!client->room_wanted || !m5_client_has_room(client->engine))
        return false;
    client->room_wanted = false;
    pthread_cond_broadcast(&client->changed);
    if (client->config->on_room == NULL)
        return false;
    m5_client_host_call_begin(client);
    client->config->on_room(client->config->ctx, client);
    m5_client_host_call_end(client);
    return true;
}

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
    const uint64_t now = m5_client_host_now(client);
    m5_client_tick(client->engine, now);
    m5_client_host_advance(client);
    receive(client);
    bool shown = m5_client_host_drain(client);
    transmit(client);
    close_if_over(client);
    shown |= m5_client_host_drain(client); /* messages of QoS 0 that went out, the end */
    if (client->free_asked)
        return true;
    shown |= show_stop(client);
    if (client->requests != NULL && now >= m5_client_host_requests_deadline_ms(client))
        m5_client_host_requests_expire(client);
    shown |= !client->free_asked && show_room(client);
    return shown || client->link.state != before;
}

/* ---- sleeping ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t deadline_ms(const struct mqtt5_client *client)
{
    if (client->link.state == M5_LINK_LINGERING)
        return client->linger_deadline_ms;
    uint64_t deadline = m5_client_deadline_ms(client->engine);
    if (client->course.waiting)
        deadline = earlier(deadline, client->course.retry_at_ms);
    if (client->requests != NULL)
        deadline = earlier(deadline, m5_client_host_requests_deadline_ms(client));
    return earlier(deadline, m5_link_deadline_ms(&client->link));
}

/* An attempt that has begun wants its link, or the link its bytes: that does not wait. */
static bool is_due(const struct mqtt5_client *client)
{
    const enum mqtt5_client_state state = m5_client_state(client->engine);
    return (client->link.state == M5_LINK_DOWN && state != MQTT5_CLIENT_DISCONNECTED) ||
           client->stopped_due ||
           (client->link.state == M5_LINK_UP && client->ready &&
            m5_client_wants_read(client->engine));
}

int m5_client_host_wait_ms(struct mqtt5_client *client, uint32_t timeout_ms)
{
    const uint64_t now = m5_client_host_now(client), deadline = deadline_ms(client);
    if (is_due(client))
        return 0;
    uint64_t wait = deadline > now ? deadline - now : 0;
    if (timeout_ms < wait)
        wait = timeout_ms;
    if (deadline == UINT64_MAX && timeout_ms == MQTT5_FOREVER)
        return -1;
    return wait > INT_MAX ? INT_MAX : (int)wait;
}

void m5_client_host_watch(struct mqtt5_client *client)
{
    if (client->link.state == M5_LINK_UP)
        m5_link_watch(&client->link, m5_client_wants_read(client->engine),
                      m5_client_output(client->engine).len > 0 ||
                          m5_link_has_output(&client->link));
    else if (client->link.state == M5_LINK_LINGERING)
        m5_link_watch(&client->link, true, false);
}

void m5_client_host_sleep(struct mqtt5_client *client, uint32_t timeout_ms)
{
    struct epoll_event events[4];
    m5_client_host_watch(client);
    const int wait = m5_client_host_wait_ms(client, timeout_ms);
    if (wait != 0) {
        m5_client_relax(client->engine);
        m5_link_relax(&client->link);
    }
    if (client->mock != NULL) {
        m5_client_mock_sleep(client->mock, wait);
        client->ready = true;
        return;
    }
    client->sleeping = true;
    pthread_mutex_unlock(&client->lock);
    const int count = epoll_wait(client->epoll_fd, events, 4, wait);
    pthread_mutex_lock(&client->lock);
    client->sleeping = false;
    for (int i = 0; i < count; i++) { /* an interruption is as good as a wake-up */
        uint64_t wakes;
        if (events[i].data.ptr == client)
            client->ready = true;
        else if (read(client->wake_fd, &wakes, sizeof wakes) > 0)
            client->wake_pending = false;
    }
}
