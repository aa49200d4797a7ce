/* A client's byte stream to its server.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/link.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "transport/websocket/websocket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WIRE_BYTES     16384u /* of one read: a record of TLS */
#define READS_PER_TURN 16     /* that give nothing plain; then others get their turn */

struct m5_link_race {
    struct m5_resolution *resolution; /* until the addresses are known */
    char host[M5_HOST_NAME_SIZE];
    struct m5_address addresses[M5_ADDRESSES_MAX];
    int fds[M5_ADDRESSES_MAX]; /* -1: not started, or failed */
    size_t count, next;        /* addresses; the one to start next */
    size_t running;
    uint64_t next_at_ms, deadline_ms;
    struct m5_link_failure failure; /* the last one of an address */
};

static struct m5_pipe_room *room_of(struct m5_link *link)
{
    return link->room != NULL ? link->room : &link->own_room;
}

/* ---- addresses ---- */

void m5_link_interleave(struct m5_address *addresses, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        size_t other = i;
        while (other < count &&
               addresses[other].storage.ss_family == addresses[i - 1].storage.ss_family)
            other++;
        if (other == count)
            return; /* one family is used up */
        const struct m5_address moved = addresses[other];
        memmove(&addresses[i + 1], &addresses[i], (other - i) * sizeof *addresses);
        addresses[i] = moved;
    }
}

static void add_unix(struct m5_link_race *race, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1); /* the URL's reader has seen that it fits */
    race->addresses[0] = (struct m5_address){.size = sizeof address};
    memcpy(&race->addresses[0].storage, &address, sizeof address);
    race->count = 1;
}

static void name_address(const struct m5_address *address, char *out, size_t size)
{
    char text[M5_ADDRESS_TEXT_SIZE];
    if (address->storage.ss_family == AF_UNIX) {
        struct sockaddr_un unix_address;
        memcpy(&unix_address, &address->storage, sizeof unix_address);
        snprintf(out, size, "%s", unix_address.sun_path);
        return;
    }
    m5_address_format(address, text);
    snprintf(out, size, "%s", text);
}

/* ---- attempts ---- */

static void note_failure(struct m5_link_race *race, size_t index, int error)
{
    char name[128];
    name_address(&race->addresses[index], name, sizeof name);
    snprintf(race->failure.text, sizeof race->failure.text, "%s: %s", name, strerror(error));
}

static void watch(const struct m5_link *link, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = link->handle};
    if (link->epoll_fd >= 0)
        (void)epoll_ctl(link->epoll_fd, operation, fd, &event);
}

/* Starts on the next address; false when that has failed at once. */
static bool start_next(struct m5_link *link, uint64_t now_ms)
{
    struct m5_link_race *race = link->race;
    const size_t index = race->next++;
    const struct m5_address *address = &race->addresses[index];
    const int on = 1;
    race->next_at_ms = now_ms + M5_LINK_STAGGER_MS;
    const int fd =
        socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        note_failure(race, index, errno);
        return false;
    }
    /* Small packets must not wait for the acknowledgement of others. A failure only costs time. */
    if (address->storage.ss_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)&address->storage, address->size) != 0 &&
        errno != EINPROGRESS) {
        note_failure(race, index, errno);
        close(fd);
        return false;
    }
    race->fds[index] = fd;
    race->running++;
    watch(link, EPOLL_CTL_ADD, fd, EPOLLOUT);
    return true;
}

/* 0: connected; EINPROGRESS; or what the attempt failed with. */
static int look(int fd)
{
    struct pollfd descriptor = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;
    if (poll(&descriptor, 1, 0) <= 0)
        return EINPROGRESS;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

static void free_race(struct m5_link *link)
{
    struct m5_link_race *race = link->race;
    if (race == NULL)
        return;
    for (size_t i = 0; i < race->count; i++) {
        if (race->fds[i] >= 0)
            close(race->fds[i]);
    }
    m5_resolution_free(race->resolution);
    m5_free(link->allocator, race, sizeof *race);
    link->race = NULL;
}

/* Attempt @p index has won: the others are given up. */
static void win(struct m5_link *link, size_t index)
{
    const int fd = link->race->fds[index];
    link->race->fds[index] = -1;
    link->deadline_ms = link->race->deadline_ms;
    free_race(link);
    link->fd = fd;
    link->state = link->pipe.layer_count > 0 ? M5_LINK_SHAKING : M5_LINK_UP;
    link->interest = EPOLLIN;
    watch(link, EPOLL_CTL_MOD, fd, EPOLLIN);
}

/* Looks at all attempts; true when one has won. */
static bool look_at_all(struct m5_link *link)
{
    struct m5_link_race *race = link->race;
    for (size_t i = 0; i < race->next; i++) {
        const int error = race->fds[i] >= 0 ? look(race->fds[i]) : EINPROGRESS;
        if (error == 0) {
            win(link, i);
            return true;
        }
        if (error == EINPROGRESS)
            continue;
        note_failure(race, i, error);
        close(race->fds[i]);
        race->fds[i] = -1;
        race->running--;
        race->next_at_ms = 0; /* the next one need not wait */
    }
    return false;
}

static bool fail(struct m5_link *link, const char *text, struct m5_link_failure *failure)
{
    snprintf(failure->text, sizeof failure->text, "%s", text);
    m5_link_close(link);
    return false;
}

/* Takes the result of the look-up when there is one. False when it has failed. */
static bool take_addresses(struct m5_link *link, struct m5_link_failure *failure)
{
    struct m5_link_race *race = link->race;
    const char *why = "";
    if (race->resolution == NULL ||
        !m5_resolution_take(race->resolution, race->addresses, &race->count, &why))
        return true;
    m5_resolution_free(race->resolution);
    race->resolution = NULL;
    m5_link_interleave(race->addresses, race->count);
    if (race->count > 0)
        return true;
    char text[sizeof failure->text];
    snprintf(text, sizeof text, "%.150s: %.100s", race->host, why);
    return fail(link, text, failure);
}

/* Steps of the race, until one has won. */
static bool step_race(struct m5_link *link, uint64_t now_ms, struct m5_link_failure *failure)
{
    struct m5_link_race *race = link->race;
    if (!take_addresses(link, failure))
        return false;
    if (race->resolution == NULL && look_at_all(link))
        return true;
    while (race->resolution == NULL && race->next < race->count &&
           (race->running == 0 || now_ms >= race->next_at_ms))
        start_next(link, now_ms);
    if (race->resolution == NULL && race->running == 0)
        return fail(link, race->failure.text, failure);
    if (now_ms < race->deadline_ms)
        return true;
    char text[sizeof failure->text];
    snprintf(text, sizeof text, "%s: %s", race->host, strerror(ETIMEDOUT));
    return fail(link, text, failure);
}

/* ---- handshakes ---- */

void m5_link_push(struct m5_link *link, struct m5_transport *transport)
{
    if (link->pipe.layer_count == 0)
        m5_pipe_init(&link->pipe);
    room_of(link)->allocator = link->allocator;
    m5_pipe_push(&link->pipe, transport);
}

static bool is_later(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/* Refusals of an HTTP server that would be given again. */
static bool is_lasting(unsigned status)
{
    return status >= 300 && status < 500 && status != 408 && status != 425 && status != 429;
}

/* What a transport's failure is for the user. Without a name for it, it is one of the network. */
static enum mqtt5_error error_of(const struct m5_transport *transport)
{
    if (strcmp(transport->kind->name, "tls") == 0)
        return MQTT5_ERR_TLS;
    if (transport->open)
        return MQTT5_ERR_PROTOCOL;
    return is_lasting(m5_websocket_status(transport)) ? MQTT5_ERR_WEBSOCKET : MQTT5_ERR_IO;
}

void m5_link_explain(const struct m5_link *link, int error, struct m5_link_failure *failure)
{
    failure->error = MQTT5_ERR_IO;
    if (error != EPROTO) {
        snprintf(failure->text, sizeof failure->text, "%s", strerror(error));
        return;
    }
    snprintf(failure->text, sizeof failure->text, "%s", m5_pipe_failure(&link->pipe));
    for (unsigned i = 0; i < link->pipe.layer_count; i++) {
        if (link->pipe.layers[i]->failure != NULL) {
            failure->error = error_of(link->pipe.layers[i]);
            return;
        }
    }
}

static bool fail_with(struct m5_link *link, int error, struct m5_link_failure *failure)
{
    m5_link_explain(link, error, failure);
    m5_link_close(link);
    return false;
}

/* Reads from the socket into the pipe's view @p wire. As recv(2). */
static ssize_t fill(struct m5_link *link, uint8_t wire[WIRE_BYTES])
{
    const ssize_t size = recv(link->fd, wire, WIRE_BYTES, 0);
    if (size > 0)
        m5_pipe_receive(&link->pipe, m5_bytes(wire, (size_t)size));
    return size;
}

bool m5_link_flush(struct m5_link *link)
{
    struct mqtt5_bytes output;
    while (link->pipe.layer_count > 0 && (output = m5_pipe_output(&link->pipe)).len > 0) {
        const ssize_t size = send(link->fd, output.data, output.len, MSG_NOSIGNAL);
        if (size < 0)
            return is_later(errno);
        m5_pipe_sent(&link->pipe, room_of(link), (size_t)size);
    }
    return true;
}

/* One read of a handshake: 1 = go on, 0 = wait for the server, -1 = @p failure says why not. */
static int shake_once(struct m5_link *link, uint8_t wire[WIRE_BYTES],
                      struct m5_link_failure *failure)
{
    uint8_t early[16];
    const ptrdiff_t got = m5_pipe_read(&link->pipe, room_of(link), early, sizeof early);
    const bool sent = m5_link_flush(link);
    ssize_t size = -1;
    if (got == M5_TRANSPORT_AGAIN && m5_pipe_open(&link->pipe))
        return 0;
    if (got == M5_TRANSPORT_AGAIN)
        size = fill(link, wire);
    if (size > 0)
        return 1;
    if (got == M5_TRANSPORT_AGAIN && size < 0 && is_later(errno) && sent)
        return 0;
    if (got > 0)
        fail(link, "the server speaks before it is asked", failure);
    else if (got == M5_TRANSPORT_CLOSED || size == 0)
        fail(link, "the server closes the connection during the handshake", failure);
    else
        fail_with(link, got == M5_TRANSPORT_FAILED ? EPROTO : errno, failure);
    return -1;
}

static bool shake(struct m5_link *link, uint64_t now_ms, struct m5_link_failure *failure)
{
    uint8_t wire[WIRE_BYTES];
    int more = 1;
    for (int i = 0; i < READS_PER_TURN && more > 0; i++)
        more = shake_once(link, wire, failure);
    if (more < 0)
        return false;
    if (!m5_pipe_leave(&link->pipe, room_of(link)))
        return fail(link, strerror(ENOMEM), failure);
    if (m5_pipe_open(&link->pipe))
        link->state = M5_LINK_UP;
    else if (now_ms >= link->deadline_ms)
        return fail_with(link, ETIMEDOUT, failure);
    m5_link_watch(link, true, m5_link_has_output(link));
    return true;
}

bool m5_link_step(struct m5_link *link, uint64_t now_ms, struct m5_link_failure *failure)
{
    *failure = (struct m5_link_failure){.error = MQTT5_ERR_IO};
    if (link->state == M5_LINK_CONNECTING && !step_race(link, now_ms, failure)) {
        failure->named = true;
        return false;
    }
    return link->state != M5_LINK_SHAKING || shake(link, now_ms, failure);
}

uint64_t m5_link_deadline_ms(const struct m5_link *link)
{
    const struct m5_link_race *race = link->race;
    if (link->state == M5_LINK_SHAKING)
        return link->deadline_ms;
    if (race == NULL)
        return UINT64_MAX;
    const bool more = race->resolution == NULL && race->next < race->count;
    return more && race->next_at_ms < race->deadline_ms ? race->next_at_ms : race->deadline_ms;
}

/* ---- life ---- */

static bool find_addresses(struct m5_link_race *race, const struct m5_url *url,
                           m5_resolved_fn *resolved, void *ctx, struct m5_link_failure *failure)
{
    const char *why = "";
    if (url->kind == M5_URL_UNIX) {
        add_unix(race, url->path);
        return true;
    }
    snprintf(race->host, sizeof race->host, "%s", url->endpoint.host);
    if (m5_host_is_numeric(url->endpoint.host)) {
        race->count =
            m5_address_resolve(url->endpoint.host, url->endpoint.port, race->addresses, &why);
    } else {
        race->resolution = m5_resolution_start(&url->endpoint, resolved, ctx);
        why = "no thread to look it up";
    }
    if (race->count == 0 && race->resolution == NULL)
        snprintf(failure->text, sizeof failure->text, "%.150s: %.100s", race->host, why);
    return race->count > 0 || race->resolution != NULL;
}

static struct m5_link_race *begin(struct m5_link *link, uint32_t timeout_ms, uint64_t now_ms)
{
    struct m5_link_race *race = m5_alloc_zero(link->allocator, sizeof *race);
    if (race == NULL)
        return NULL;
    for (size_t i = 0; i < M5_ADDRESSES_MAX; i++)
        race->fds[i] = -1;
    race->deadline_ms = now_ms + timeout_ms;
    link->race = race;
    link->state = M5_LINK_CONNECTING;
    return race;
}

bool m5_link_race_addresses(struct m5_link *link, const struct m5_address *addresses, size_t count,
                            uint32_t timeout_ms, uint64_t now_ms)
{
    struct m5_link_race *race = begin(link, timeout_ms, now_ms);
    if (race == NULL)
        return false;
    memcpy(race->addresses, addresses, count * sizeof *addresses);
    race->count = count;
    struct m5_link_failure failure;
    return m5_link_step(link, now_ms, &failure);
}

bool m5_link_start(struct m5_link *link, const struct m5_url *url, uint32_t timeout_ms,
                   uint64_t now_ms, m5_resolved_fn *resolved, void *ctx,
                   struct m5_link_failure *failure)
{
    struct m5_link_race *race = begin(link, timeout_ms, now_ms);
    *failure = (struct m5_link_failure){.error = MQTT5_ERR_IO, .named = true};
    if (race == NULL)
        return fail(link, strerror(ENOMEM), failure);
    if (find_addresses(race, url, resolved, ctx, failure))
        return m5_link_step(link, now_ms, failure);
    m5_link_close(link);
    return false;
}

void m5_link_adopt(struct m5_link *link, int fd, const struct m5_stream *stream)
{
    link->fd = fd;
    link->stream = stream;
    link->state = link->pipe.layer_count > 0 ? M5_LINK_SHAKING : M5_LINK_UP;
    link->deadline_ms = UINT64_MAX;
    link->interest = EPOLLIN;
    if (fd >= 0)
        watch(link, EPOLL_CTL_ADD, fd, EPOLLIN);
}

void m5_link_watch(struct m5_link *link, bool read, bool write)
{
    const uint32_t interest = (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u);
    if (link->fd < 0 || interest == link->interest)
        return;
    link->interest = interest;
    watch(link, EPOLL_CTL_MOD, link->fd, interest);
}

/* Plain bytes out of the pipe, with as many reads of the socket as that takes. */
static ssize_t receive_through(struct m5_link *link, uint8_t *out, size_t size)
{
    uint8_t wire[WIRE_BYTES];
    ptrdiff_t got;
    ssize_t filled = 1;
    for (int i = 0;; i++) {
        got = m5_pipe_read(&link->pipe, room_of(link), out, size);
        if (got != M5_TRANSPORT_AGAIN || i == READS_PER_TURN)
            break;
        filled = fill(link, wire);
        if (filled <= 0)
            break;
    }
    const int error = filled < 0 ? errno : EAGAIN;
    const bool kept = m5_pipe_leave(&link->pipe, room_of(link));
    (void)m5_link_flush(link); /* what fails here fails again when there is something to send */
    if (got == M5_TRANSPORT_CLOSED || (got == M5_TRANSPORT_AGAIN && filled == 0))
        return 0;
    errno = got == M5_TRANSPORT_FAILED || !kept ? EPROTO : error;
    return got > 0 ? got : -1;
}

ssize_t m5_link_receive(struct m5_link *link, void *out, size_t size)
{
    if (link->stream != NULL)
        return link->stream->receive(link->stream->ctx, out, size);
    return link->pipe.layer_count > 0 ? receive_through(link, (uint8_t *)out, size)
                                      : recv(link->fd, out, size, 0);
}

/* One record or frame for all of it; not before the last one has gone. */
static ssize_t send_through(struct m5_link *link, const void *bytes, size_t size)
{
    const struct mqtt5_bytes view = m5_bytes(bytes, size);
    if (!m5_link_flush(link))
        return -1;
    errno = EAGAIN;
    if (m5_link_has_output(link))
        return -1;
    errno = EPROTO;
    if (!m5_pipe_write(&link->pipe, room_of(link), &view, 1))
        return -1;
    return m5_link_flush(link) ? (ssize_t)size : -1;
}

ssize_t m5_link_send(struct m5_link *link, const void *bytes, size_t size)
{
    if (link->stream != NULL)
        return link->stream->send(link->stream->ctx, bytes, size);
    return link->pipe.layer_count > 0 ? send_through(link, bytes, size)
                                      : send(link->fd, bytes, size, MSG_NOSIGNAL);
}

bool m5_link_has_output(const struct m5_link *link)
{
    return link->pipe.layer_count > 0 && m5_pipe_output(&link->pipe).len > 0;
}

bool m5_link_holds(const struct m5_link *link)
{
    return link->pipe.layer_count > 0 && m5_pipe_holds(&link->pipe);
}

void m5_link_relax(struct m5_link *link)
{
    m5_pipe_room_fini(&link->own_room);
}

void m5_link_finish(struct m5_link *link)
{
    if (link->pipe.layer_count > 0) {
        m5_pipe_finish(&link->pipe, room_of(link));
        (void)m5_link_flush(link); /* a goodbye that does not fit is not waited for */
    }
    if (link->stream == NULL)
        shutdown(link->fd, SHUT_WR);
    link->state = M5_LINK_LINGERING;
}

void m5_link_close(struct m5_link *link)
{
    free_race(link);
    if (link->pipe.layer_count > 0)
        m5_pipe_fini(&link->pipe, room_of(link));
    m5_pipe_room_fini(&link->own_room);
    if (link->stream != NULL)
        link->stream->close(link->stream->ctx);
    if (link->fd >= 0)
        close(link->fd);
    link->stream = NULL;
    link->fd = -1;
    link->state = M5_LINK_DOWN;
}
