/* The connections of a worker.
 *
 * How one ends. The engine wants it closed: our side is shut down and the socket lingers until the
 * peer has closed too, LINGER_MS at most, because close(2) with input unread would reset the
 * connection and the peer might lose the DISCONNECT or CONNACK that says why. The peer ended it:
 * m5_conn_lost() after everything that had arrived before was read, even when writing fails
 * earlier: a client that publishes and goes away at once must not lose what it has sent.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/socket.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "host/channel.h"
#include "host/clock.h"
#include "host/door.h"
#include "host/worker.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define LINGER_MS       1000 /* enough for the peer to read what is on its way */
#define LINGER_DRAIN_MS 200  /* as above, while the broker stops */
#define LINGERING_MAX   4096 /* sockets; beyond that they are closed at once */
#define VIEWS_MAX       64   /* views of output in one sendmsg(2) */
#define DISCARD_SIZE    4096 /* bytes thrown away by one recv(2) */

/* A connection on its way to another worker. */
struct m5_moved {
    struct m5_moved *next;
    int fd;
    struct m5_door *door;
    struct m5_channel *channel; /* NULL: it is a plain socket */
    uint32_t peer_size;
    size_t size;
    uint8_t bytes[]; /* the peer's address, then what it had sent */
};

static struct m5_channel *channel_of(struct m5_socket *socket)
{
    return (socket->watch.flags & M5_WATCH_CHANNEL) != 0
               ? M5_CONTAINER_OF(socket, struct m5_channel, socket)
               : NULL;
}

void m5_socket_flag(struct m5_worker *worker, struct m5_watch *watch, uint32_t flags)
{
    const uint32_t watched = M5_WATCH_UNREAD | M5_WATCH_UNWRITTEN;
    const bool changed = ((watch->flags ^ flags) & watched) != 0;
    watch->flags = flags;
    if (changed)
        m5_loop_change(&worker->loop, watch->fd, watch,
                       ((flags & M5_WATCH_UNREAD) != 0 ? 0 : M5_LOOP_READ) |
                           ((flags & M5_WATCH_UNWRITTEN) != 0 ? M5_LOOP_WRITE : 0));
}

/* ---- the end ---- */

static void give(struct m5_worker *worker, struct m5_socket *socket)
{
    struct m5_channel *channel = channel_of(socket);
    if (channel != NULL)
        m5_channel_free(worker, channel);
    else
        m5_pool_give(&worker->sockets, socket);
}

static void discard(struct m5_worker *worker, struct m5_socket *socket)
{
    close(socket->watch.fd);
    if ((socket->watch.flags & M5_WATCH_LINGERS) != 0)
        worker->lingering_count--;
    else
        worker->open_count--;
    m5_list_remove(&socket->node);
    give(worker, socket);
}

void m5_socket_lose(struct m5_worker *worker, struct m5_socket *socket)
{
    m5_logins_forget(&worker->logins, socket->conn);
    m5_conn_lost(socket->conn);
    discard(worker, socket);
}

/* Throws input away; false when there will not be any more. */
static bool discard_input(const struct m5_socket *socket)
{
    uint8_t nowhere[DISCARD_SIZE];
    const ssize_t got = recv(socket->watch.fd, nowhere, sizeof nowhere, MSG_DONTWAIT);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

/* What a channel has to say at the end; true when all is sent. */
static bool say_goodbye(struct m5_worker *worker, struct m5_socket *socket)
{
    struct m5_channel *channel = channel_of(socket);
    if (channel == NULL || (socket->watch.flags & M5_WATCH_PIPED) == 0)
        return true;
    if ((socket->watch.flags & M5_WATCH_LINGERS) == 0)
        m5_pipe_finish(&channel->pipe, &worker->room);
    return m5_channel_push(worker, channel);
}

/* Closes our side once all is sent; false when the socket is gone. */
static bool shut(struct m5_worker *worker, struct m5_socket *socket)
{
    if ((socket->watch.flags & M5_WATCH_SHUT) != 0 || !say_goodbye(worker, socket))
        return true;
    socket->watch.flags |= M5_WATCH_SHUT;
    if (discard_input(socket) && shutdown(socket->watch.fd, SHUT_WR) == 0)
        return true;
    discard(worker, socket);
    return false;
}

/* The engine has forgotten the connection. */
static void linger(struct m5_worker *worker, struct m5_socket *socket)
{
    struct m5_channel *channel = channel_of(socket);
    if (channel != NULL)
        m5_channel_leave(worker, channel);
    socket->conn = NULL;
    const bool sent = say_goodbye(worker, socket);
    if (worker->lingering_count >= LINGERING_MAX) {
        discard(worker, socket);
        return;
    }
    m5_socket_flag(worker, &socket->watch,
                   socket->watch.flags & ~(M5_WATCH_UNREAD | (sent ? M5_WATCH_UNWRITTEN : 0)));
    socket->watch.flags |= M5_WATCH_LINGERS;
    socket->linger_until_ms =
        worker->now_ms + (worker->drain_until_ms != 0 ? LINGER_DRAIN_MS : LINGER_MS);
    worker->open_count--;
    worker->lingering_count++;
    m5_list_remove(&socket->node);
    m5_list_push_back(&worker->lingering, &socket->node);
    if (sent)
        shut(worker, socket);
}

/* The engine has finished with the connection, all output is sent. */
static void finish(struct m5_worker *worker, struct m5_socket *socket)
{
    m5_logins_forget(&worker->logins, socket->conn);
    m5_conn_free(socket->conn);
    linger(worker, socket);
}

void m5_socket_part(struct m5_worker *worker, struct m5_socket *socket)
{
    m5_logins_forget(&worker->logins, socket->conn);
    m5_conn_lost(socket->conn);
    linger(worker, socket);
}

static struct m5_socket *oldest_lingering(const struct m5_worker *worker)
{
    return m5_list_empty(&worker->lingering)
               ? NULL
               : M5_CONTAINER_OF(worker->lingering.next, struct m5_socket, node);
}

void m5_socket_end_lingering(struct m5_worker *worker)
{
    struct m5_socket *socket;
    while ((socket = oldest_lingering(worker)) != NULL && socket->linger_until_ms <= worker->now_ms)
        discard(worker, socket);
}

uint64_t m5_socket_lingers_until(const struct m5_worker *worker)
{
    const struct m5_socket *socket = oldest_lingering(worker);
    return socket == NULL ? UINT64_MAX : socket->linger_until_ms;
}

void m5_socket_hurry(struct m5_worker *worker)
{
    for (struct m5_list *node = worker->lingering.next; node != &worker->lingering;
         node = node->next)
        M5_CONTAINER_OF(node, struct m5_socket, node)->linger_until_ms =
            worker->now_ms + LINGER_DRAIN_MS;
}

/* ---- the beginning ---- */

void m5_socket_refused(struct m5_worker *worker, const struct m5_door *door,
                       struct mqtt5_bytes peer, const char *why)
{
    m5_shard_count_refused(worker->shard);
    if (!m5_log_begin(&worker->log, M5_LOG_CONNECTION_REFUSED))
        return;
    m5_log_text(&worker->log, "peer", peer);
    m5_log_word(&worker->log, "transport", m5_door_transport(door));
    m5_log_text(&worker->log, "why", m5_bytes_of(why));
    m5_log_end(&worker->log);
}

/* The engine's side of a connection that is served from now on. False when there is none; @p socket
 * is still the caller's. */
static bool open_conn(struct m5_worker *worker, struct m5_door *door, struct m5_socket *socket,
                      struct mqtt5_bytes peer)
{
    const struct m5_conn_origin origin = {
        .peer = peer, .listener = door->index, .limits = &door->limits};
    socket->conn = m5_conn_open(worker->shard, socket, &origin);
    if (socket->conn == NULL) {
        m5_socket_refused(worker, door, peer, "limit, memory or stopping");
        return false;
    }
    if (!m5_loop_add(&worker->loop, socket->watch.fd, &socket->watch, M5_LOOP_READ)) {
        m5_socket_refused(worker, door, peer, "the event loop is full");
        m5_conn_lost(socket->conn);
        return false;
    }
    m5_list_push_back(&worker->open, &socket->node);
    if (++worker->open_count > worker->open_peak)
        worker->open_peak = worker->open_count;
    return true;
}

static void close_early(struct m5_worker *worker, struct m5_socket *socket)
{
    close(socket->watch.fd);
    give(worker, socket);
}

/* Serves @p fd as a plain socket; NULL when it had to be closed. */
static struct m5_socket *adopt(struct m5_worker *worker, struct m5_door *door, int fd,
                               struct mqtt5_bytes peer)
{
    struct m5_socket *socket = (struct m5_socket *)m5_pool_take(&worker->sockets);
    if (socket == NULL) {
        m5_socket_refused(worker, door, peer, "no memory");
        close(fd);
        return NULL;
    }
    *socket = (struct m5_socket){.watch = {.fd = fd}};
    if (!open_conn(worker, door, socket, peer)) {
        close_early(worker, socket);
        return NULL;
    }
    if (m5_door_secure(door))
        (void)m5_conn_identify(socket->conn, (struct mqtt5_bytes){0}, true); /* nothing to copy */
    return socket;
}

static void adopt_channel(struct m5_worker *worker, struct m5_door *door, int fd,
                          const struct m5_address *peer, struct mqtt5_bytes name)
{
    const uint64_t before = m5_clock_ns();
    struct m5_channel *channel = m5_channel_new(worker, door, peer);
    worker->handshakes_ns += m5_clock_ns() - before;
    if (channel == NULL) {
        m5_socket_refused(worker, door, name, "no memory");
        close(fd);
        return;
    }
    channel->socket.watch.fd = fd;
    const char *why = m5_channel_admit(worker, channel);
    if (why != NULL)
        m5_socket_refused(worker, door, name, why);
    if (why != NULL || !open_conn(worker, door, &channel->socket, name))
        close_early(worker, &channel->socket);
    else if (!m5_channel_identify(channel))
        m5_socket_lose(worker, &channel->socket);
}

void m5_socket_welcome(struct m5_worker *worker, struct m5_door *door, int fd,
                       const struct m5_address *peer)
{
    char text[M5_ADDRESS_TEXT_SIZE];
    const struct mqtt5_bytes name = m5_bytes(text, m5_address_format(peer, text));
    if (worker->crew->policy != NULL && m5_policy_bans(worker->crew->policy, peer)) {
        m5_socket_refused(worker, door, name, "the address is banned");
        close(fd);
        return;
    }
    if (m5_door_channels(door))
        adopt_channel(worker, door, fd, peer, name);
    else
        adopt(worker, door, fd, name);
}

/* ---- moving to another worker ---- */

static void free_moved(struct m5_worker *worker, struct m5_moved *moved)
{
    m5_free(worker->crew->allocator, moved, sizeof *moved + moved->peer_size + moved->size);
}

static void send_moved(struct m5_worker *to, struct m5_moved *moved)
{
    pthread_mutex_lock(&to->inbox_mutex);
    moved->next = to->inbox;
    to->inbox = moved;
    atomic_store(&to->inbox_full, true);
    pthread_mutex_unlock(&to->inbox_mutex);
    m5_loop_wake(&to->loop);
}

static void move(struct m5_worker *worker, struct m5_socket *socket)
{
    struct m5_worker *to = &worker->crew->workers[m5_conn_target(socket->conn)];
    const struct mqtt5_bytes peer = m5_conn_peer(socket->conn);
    const struct mqtt5_bytes unread = m5_conn_unread(socket->conn);
    struct m5_moved *moved =
        (struct m5_moved *)m5_alloc(worker->crew->allocator, sizeof *moved + peer.len + unread.len);
    if (moved != NULL) {
        moved->fd = socket->watch.fd;
        moved->channel = channel_of(socket);
        moved->door = moved->channel != NULL
                          ? moved->channel->door
                          : m5_crew_door(worker->crew, m5_conn_listener(socket->conn));
        moved->peer_size = (uint32_t)peer.len;
        moved->size = unread.len;
        m5_copy(m5_copy(moved->bytes, peer), unread);
    }
    m5_conn_free(socket->conn);
    if (moved == NULL) {
        discard(worker, socket);
        return;
    }
    m5_loop_remove(&worker->loop, moved->fd);
    m5_list_remove(&socket->node);
    worker->open_count--;
    if (moved->channel == NULL)
        m5_pool_give(&worker->sockets, socket);
    send_moved(to, moved);
}

static struct m5_moved *take_inbox(struct m5_worker *worker)
{
    pthread_mutex_lock(&worker->inbox_mutex);
    struct m5_moved *latest = worker->inbox, *oldest = NULL;
    worker->inbox = NULL;
    atomic_store(&worker->inbox_full, false);
    pthread_mutex_unlock(&worker->inbox_mutex);
    while (latest != NULL) {
        struct m5_moved *next = latest->next;
        latest->next = oldest;
        oldest = latest;
        latest = next;
    }
    return oldest;
}

static void take_channel(struct m5_worker *worker, const struct m5_moved *moved,
                         struct mqtt5_bytes peer, struct mqtt5_bytes unread)
{
    struct m5_channel *channel = moved->channel;
    channel->socket.watch.flags &=
        ~(uint32_t)(M5_WATCH_UNREAD | M5_WATCH_UNWRITTEN | M5_WATCH_LINGERS);
    if (!open_conn(worker, moved->door, &channel->socket, peer)) {
        close_early(worker, &channel->socket);
        return;
    }
    if (!m5_channel_identify(channel)) {
        m5_socket_lose(worker, &channel->socket);
        return;
    }
    m5_conn_refeed(channel->socket.conn, unread);
    if (m5_channel_push(worker, channel) && m5_pipe_holds(&channel->pipe))
        m5_channel_drain(worker, channel);
}

void m5_socket_take_moved(struct m5_worker *worker)
{
    if (!atomic_load(&worker->inbox_full))
        return;
    struct m5_moved *moved = take_inbox(worker);
    while (moved != NULL) {
        struct m5_moved *next = moved->next;
        const struct mqtt5_bytes peer = m5_bytes(moved->bytes, moved->peer_size);
        const struct mqtt5_bytes unread = m5_bytes(moved->bytes + moved->peer_size, moved->size);
        if (moved->channel != NULL) {
            take_channel(worker, moved, peer, unread);
        } else {
            struct m5_socket *socket = adopt(worker, moved->door, moved->fd, peer);
            if (socket != NULL)
                m5_conn_refeed(socket->conn, unread);
        }
        free_moved(worker, moved);
        moved = next;
    }
}

void m5_socket_discard_all(struct m5_worker *worker)
{
    while (!m5_list_empty(&worker->open))
        discard(worker, M5_CONTAINER_OF(worker->open.next, struct m5_socket, node));
    while (!m5_list_empty(&worker->lingering))
        discard(worker, M5_CONTAINER_OF(worker->lingering.next, struct m5_socket, node));
    for (struct m5_moved *moved = take_inbox(worker), *next; moved != NULL; moved = next) {
        next = moved->next;
        close(moved->fd);
        if (moved->channel != NULL)
            m5_channel_free(worker, moved->channel);
        free_moved(worker, moved);
    }
}

/* ---- output ---- */

static ssize_t send_views(int fd, const struct mqtt5_bytes *views, size_t count)
{
    if (count == 1)
        return send(fd, views[0].data, views[0].len, MSG_NOSIGNAL);
    struct iovec parts[VIEWS_MAX];
    for (size_t i = 0; i < count; i++)
        parts[i] =
            (struct iovec){.iov_base = (void *)(uintptr_t)views[i].data, .iov_len = views[i].len};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* Writes output once. False when the socket does not take more now. */
static bool flush(struct m5_worker *worker, struct m5_socket *socket)
{
    struct mqtt5_bytes views[VIEWS_MAX];
    if ((socket->watch.flags & M5_WATCH_PIPED) != 0)
        return m5_channel_flush(worker, channel_of(socket));
    const size_t count = m5_conn_output(socket->conn, views, VIEWS_MAX);
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += views[i].len;
    ssize_t sent = (ssize_t)size;
    if ((socket->watch.flags & M5_WATCH_BROKEN) == 0)
        sent = send_views(socket->watch.fd, views, count);
    if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM) {
        socket->watch.flags |= M5_WATCH_BROKEN;
        sent = (ssize_t)size;
    }
    if (sent > 0)
        m5_conn_sent(socket->conn, (size_t)sent);
    if (sent == (ssize_t)size)
        return true;
    m5_socket_flag(worker, &socket->watch, socket->watch.flags | M5_WATCH_UNWRITTEN);
    return false;
}

/* The engine reads again: watches the socket, and hands on what was left inside. False when the
 * socket is gone. */
static bool resume(struct m5_worker *worker, struct m5_socket *socket)
{
    m5_socket_flag(worker, &socket->watch, socket->watch.flags & ~M5_WATCH_UNREAD);
    struct m5_channel *channel = channel_of(socket);
    return channel == NULL || !m5_pipe_holds(&channel->pipe) || m5_channel_drain(worker, channel);
}

bool m5_socket_settle(struct m5_worker *worker, struct m5_socket *socket)
{
    for (;;) {
        if ((socket->watch.flags & M5_WATCH_UNREAD) != 0 && m5_conn_reading(socket->conn) &&
            !resume(worker, socket))
            return false;
        switch (m5_conn_want(socket->conn)) {
        case M5_WANT_NOTHING: return true;
        case M5_WANT_CLOSE: finish(worker, socket); return false;
        case M5_WANT_MOVE: move(worker, socket); return false;
        case M5_WANT_FLUSH:
            if ((socket->watch.flags & M5_WATCH_UNWRITTEN) != 0 || !flush(worker, socket))
                return true;
        }
    }
}

/* ---- input ---- */

static void read_input(struct m5_worker *worker, struct m5_socket *socket, bool ended)
{
    if (!m5_conn_reading(socket->conn)) {
        if (ended)
            m5_socket_lose(worker, socket);
        else
            m5_socket_flag(worker, &socket->watch, socket->watch.flags | M5_WATCH_UNREAD);
        return;
    }
    if ((socket->watch.flags & (M5_WATCH_PIPED | M5_WATCH_PREFACE)) != 0) {
        m5_channel_read(worker, channel_of(socket));
        return;
    }
    const struct m5_span space = m5_conn_read_space(socket->conn);
    const ssize_t got = recv(socket->watch.fd, space.data, space.size, 0);
    if (got > 0)
        m5_conn_received(socket->conn, (size_t)got);
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        m5_socket_lose(worker, socket);
}

static void handle_lingering(struct m5_worker *worker, struct m5_socket *socket, unsigned events)
{
    if ((events & M5_LOOP_WRITE) != 0) {
        m5_socket_flag(worker, &socket->watch, socket->watch.flags & ~M5_WATCH_UNWRITTEN);
        if (!shut(worker, socket))
            return;
    }
    if ((events & (M5_LOOP_READ | M5_LOOP_ENDED)) != 0 && !discard_input(socket))
        discard(worker, socket);
}

/* The socket takes more; false when it is gone. */
static bool handle_writable(struct m5_worker *worker, struct m5_socket *socket)
{
    m5_socket_flag(worker, &socket->watch, socket->watch.flags & ~M5_WATCH_UNWRITTEN);
    if ((socket->watch.flags & M5_WATCH_PIPED) != 0 && !m5_channel_push(worker, channel_of(socket)))
        return true;
    return m5_socket_settle(worker, socket);
}

void m5_socket_handle(struct m5_worker *worker, struct m5_socket *socket, unsigned events)
{
    if ((socket->watch.flags & M5_WATCH_LINGERS) != 0) {
        handle_lingering(worker, socket, events);
        return;
    }
    const bool ended = (events & M5_LOOP_ENDED) != 0;
    if ((events & M5_LOOP_WRITE) != 0 && !ended &&
        (!handle_writable(worker, socket) || (events & M5_LOOP_READ) == 0))
        return;
    read_input(worker, socket, ended);
}
