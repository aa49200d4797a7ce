/* The turn of a worker: wait, read what has arrived, let the engine work, write once per
 * connection.
 *
 * Steady state: one epoll_wait, a recv per readable socket, a send per connection with output, and
 * a short pause while traffic is pipelined; no other system call, no allocation. Output that a
 * socket does not take at once is watched for with EPOLLOUT, and only then.
 *
 * How a connection ends. The engine wants it closed: our side is shut down and the socket lingers
 * until the peer has closed too, LINGER_MS at most, because close(2) with input unread would reset
 * the connection and the peer might lose the DISCONNECT or CONNACK that says why. The peer ended
 * it: m5_conn_lost() after everything that had arrived before was read, even when writing fails
 * earlier: a client that publishes and goes away at once must not lose what it has sent.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/worker.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "host/listener.h"
#include "host/log_event.h"
#include "host/store/store.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FIGURES_MS         1000u /* between two looks at the figures of the store */
#define ACCEPT_BATCH       64    /* connections taken from a listener in one turn */
#define ACCEPT_PAUSE_MS    100   /* when the system is short of memory for sockets */
#define TURNED_AWAY_LOG_MS 10000 /* between two lines that say how many */
#define LINGER_MS          1000  /* enough for the peer to read what is on its way */
#define LINGER_DRAIN_MS    200   /* as above, while the broker stops */
#define LINGERING_MAX      4096  /* sockets; beyond that they are closed at once */
#define DRAIN_MS           3000
#define VIEWS_MAX          64   /* views of output in one sendmsg(2) */
#define DISCARD_SIZE       4096 /* bytes thrown away by one recv(2) */
#define TRIM_LEAST         1000 /* connections that must have gone before memory is given back */

/* Traffic that is pipelined (several packets from a socket at once) gets a short pause between
 * turns, in which more of it gathers: reads and writes then carry more messages, and that is most
 * of what a message costs. A packet that comes alone, as in request and response, is never waited
 * for, and neither is traffic that fills turns by itself. docs/performance.md has what was
 * measured. */
#define GATHER_NS    60000
#define GATHER_LEAST 8 /* messages in the turn before; and two for each event */
#define GATHER_MOST  1024

/* A connection on its way to another worker. */
struct m5_moved {
    struct m5_moved *next;
    int fd;
    uint32_t peer_size;
    size_t size;
    uint8_t bytes[]; /* the peer's address, then what it had sent */
};

static uint64_t read_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- sockets ---- */

static void set_flags(struct m5_worker *worker, struct m5_watch *watch, uint32_t flags)
{
    if (watch->flags == flags)
        return;
    watch->flags = flags;
    m5_loop_change(&worker->loop, watch->fd, watch,
                   ((flags & M5_WATCH_UNREAD) != 0 ? 0 : M5_LOOP_READ) |
                       ((flags & M5_WATCH_UNWRITTEN) != 0 ? M5_LOOP_WRITE : 0));
}

static void discard_socket(struct m5_worker *worker, struct m5_socket *socket)
{
    close(socket->watch.fd);
    if ((socket->watch.flags & M5_WATCH_LINGERS) != 0)
        worker->lingering_count--;
    else
        worker->open_count--;
    m5_list_remove(&socket->node);
    m5_pool_give(&worker->sockets, socket);
}

static void lose(struct m5_worker *worker, struct m5_socket *socket)
{
    m5_logins_forget(&worker->logins, socket->conn);
    m5_conn_lost(socket->conn);
    discard_socket(worker, socket);
}

/* Throws input away; false when there will not be any more. */
static bool discard_input(const struct m5_socket *socket)
{
    uint8_t nowhere[DISCARD_SIZE];
    const ssize_t got = recv(socket->watch.fd, nowhere, sizeof nowhere, MSG_DONTWAIT);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

/* The engine has finished with the connection, all output is sent. */
static void finish(struct m5_worker *worker, struct m5_socket *socket)
{
    m5_logins_forget(&worker->logins, socket->conn);
    m5_conn_free(socket->conn);
    socket->conn = NULL;
    if (worker->lingering_count >= LINGERING_MAX || !discard_input(socket) ||
        shutdown(socket->watch.fd, SHUT_WR) != 0) {
        discard_socket(worker, socket);
        return;
    }
    set_flags(worker, &socket->watch,
              socket->watch.flags & ~(M5_WATCH_UNREAD | M5_WATCH_UNWRITTEN));
    socket->watch.flags |= M5_WATCH_LINGERS;
    socket->linger_until_ms =
        worker->now_ms + (worker->drain_until_ms != 0 ? LINGER_DRAIN_MS : LINGER_MS);
    worker->open_count--;
    worker->lingering_count++;
    m5_list_remove(&socket->node);
    m5_list_push_back(&worker->lingering, &socket->node);
}

static struct m5_socket *oldest_lingering(const struct m5_worker *worker)
{
    return m5_list_empty(&worker->lingering)
               ? NULL
               : M5_CONTAINER_OF(worker->lingering.next, struct m5_socket, node);
}

static void end_lingering(struct m5_worker *worker)
{
    struct m5_socket *socket;
    while ((socket = oldest_lingering(worker)) != NULL && socket->linger_until_ms <= worker->now_ms)
        discard_socket(worker, socket);
}

/* ---- connections come ---- */

static void log_refused(struct m5_worker *worker, struct mqtt5_bytes peer, const char *why)
{
    if (!m5_log_begin(&worker->log, M5_LOG_CONNECTION_REFUSED))
        return;
    m5_log_text(&worker->log, "peer", peer);
    m5_log_text(&worker->log, "why", m5_bytes_of(why));
    m5_log_end(&worker->log);
}

/* Starts to serve @p fd; NULL when it had to be closed. */
static struct m5_socket *adopt(struct m5_worker *worker, int fd, struct mqtt5_bytes peer)
{
    struct m5_socket *socket = (struct m5_socket *)m5_pool_take(&worker->sockets);
    const struct m5_conn_origin origin = {.peer = peer};
    struct m5_conn *conn = socket == NULL ? NULL : m5_conn_open(worker->shard, socket, &origin);
    if (conn == NULL) {
        log_refused(worker, peer, socket == NULL ? "no memory" : "limit, memory or stopping");
        goto fail;
    }
    *socket = (struct m5_socket){.watch = {.fd = fd}, .conn = conn};
    if (!m5_loop_add(&worker->loop, fd, &socket->watch, M5_LOOP_READ)) {
        log_refused(worker, peer, "the event loop is full");
        m5_conn_lost(conn);
        goto fail;
    }
    m5_list_push_back(&worker->open, &socket->node);
    if (++worker->open_count > worker->open_peak)
        worker->open_peak = worker->open_count;
    return socket;
fail:
    if (socket != NULL)
        m5_pool_give(&worker->sockets, socket);
    close(fd);
    return NULL;
}

static void pause_listeners(struct m5_worker *worker, int error)
{
    for (size_t i = 0; i < worker->listener_count; i++)
        set_flags(worker, &worker->listeners[i], worker->listeners[i].flags | M5_WATCH_UNREAD);
    worker->accept_again_ms = worker->now_ms + ACCEPT_PAUSE_MS;
    m5_log_note(&worker->log, M5_LOG_LISTENER_PAUSED, "why", strerror(error));
}

static void resume_listeners(struct m5_worker *worker)
{
    if (worker->accept_again_ms == 0 || worker->now_ms < worker->accept_again_ms)
        return;
    worker->accept_again_ms = 0;
    for (size_t i = 0; i < worker->listener_count; i++)
        set_flags(worker, &worker->listeners[i], worker->listeners[i].flags & ~M5_WATCH_UNREAD);
}

static void turn_away(struct m5_worker *worker, int listen_fd, int error)
{
    if (!m5_listener_turn_away(listen_fd, &worker->reserve_fd))
        pause_listeners(worker, error);
    worker->turned_away++;
    if (worker->now_ms < worker->turned_away_log_ms ||
        !m5_log_begin(&worker->log, M5_LOG_DESCRIPTORS_EXHAUSTED))
        return;
    worker->turned_away_log_ms = worker->now_ms + TURNED_AWAY_LOG_MS;
    m5_log_number(&worker->log, "turned_away", worker->turned_away);
    m5_log_number(&worker->log, "connections", worker->open_count);
    m5_log_text(&worker->log, "hint", m5_bytes_of("raise the limit of open files (ulimit -n)"));
    m5_log_end(&worker->log);
}

static void welcome(struct m5_worker *worker, int fd, const struct m5_address *peer)
{
    char text[M5_ADDRESS_TEXT_SIZE];
    const struct mqtt5_bytes name = m5_bytes(text, m5_address_format(peer, text));
    if (worker->crew->policy == NULL || !m5_policy_bans(worker->crew->policy, peer)) {
        adopt(worker, fd, name);
        return;
    }
    log_refused(worker, name, "the address is banned");
    close(fd);
}

static void accept_batch(struct m5_worker *worker, const struct m5_watch *listener)
{
    for (int i = 0; i < ACCEPT_BATCH && worker->accept_again_ms == 0; i++) {
        struct m5_address peer;
        const int fd = m5_listener_accept(listener->fd, &peer);
        if (fd >= 0) {
            welcome(worker, fd, &peer);
            continue;
        }
        const int error = errno;
        switch (m5_listener_error(error)) {
        case M5_ACCEPT_DONE: return;
        case M5_ACCEPT_NEXT: break;
        case M5_ACCEPT_EXHAUSTED: turn_away(worker, listener->fd, error); break;
        case M5_ACCEPT_PAUSE: pause_listeners(worker, error); break;
        }
    }
}

/* ---- connections move ---- */

static void move(struct m5_worker *worker, struct m5_socket *socket)
{
    struct m5_worker *to = &worker->crew->workers[m5_conn_target(socket->conn)];
    const struct mqtt5_bytes peer = m5_conn_peer(socket->conn);
    const struct mqtt5_bytes unread = m5_conn_unread(socket->conn);
    struct m5_moved *moved =
        (struct m5_moved *)m5_alloc(worker->crew->allocator, sizeof *moved + peer.len + unread.len);
    const int fd = moved == NULL ? -1 : socket->watch.fd;
    if (moved != NULL) {
        moved->fd = fd;
        moved->peer_size = (uint32_t)peer.len;
        moved->size = unread.len;
        m5_copy(m5_copy(moved->bytes, peer), unread);
    }
    m5_conn_free(socket->conn);
    if (moved == NULL) {
        discard_socket(worker, socket);
        return;
    }
    m5_loop_remove(&worker->loop, fd);
    m5_list_remove(&socket->node);
    m5_pool_give(&worker->sockets, socket);
    worker->open_count--;
    pthread_mutex_lock(&to->inbox_mutex);
    moved->next = to->inbox;
    to->inbox = moved;
    atomic_store(&to->inbox_full, true);
    pthread_mutex_unlock(&to->inbox_mutex);
    m5_loop_wake(&to->loop);
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

static void free_moved(struct m5_worker *worker, struct m5_moved *moved)
{
    m5_free(worker->crew->allocator, moved, sizeof *moved + moved->peer_size + moved->size);
}

static void adopt_moved(struct m5_worker *worker)
{
    if (!atomic_load(&worker->inbox_full))
        return;
    struct m5_moved *moved = take_inbox(worker);
    while (moved != NULL) {
        struct m5_moved *next = moved->next;
        struct m5_socket *socket =
            adopt(worker, moved->fd, m5_bytes(moved->bytes, moved->peer_size));
        if (socket != NULL)
            m5_conn_refeed(socket->conn, m5_bytes(moved->bytes + moved->peer_size, moved->size));
        free_moved(worker, moved);
        moved = next;
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
    set_flags(worker, &socket->watch, socket->watch.flags | M5_WATCH_UNWRITTEN);
    return false;
}

/* Does what the engine wants done with a connection; false when it is not the engine's any more. */
static bool settle(struct m5_worker *worker, struct m5_socket *socket)
{
    for (;;) {
        if ((socket->watch.flags & M5_WATCH_UNREAD) != 0 && m5_conn_reading(socket->conn))
            set_flags(worker, &socket->watch, socket->watch.flags & ~M5_WATCH_UNREAD);
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
            lose(worker, socket);
        else
            set_flags(worker, &socket->watch, socket->watch.flags | M5_WATCH_UNREAD);
        return;
    }
    const struct m5_span space = m5_conn_read_space(socket->conn);
    const ssize_t got = recv(socket->watch.fd, space.data, space.size, 0);
    if (got > 0)
        m5_conn_received(socket->conn, (size_t)got);
    else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        lose(worker, socket);
}

static void handle_socket(struct m5_worker *worker, struct m5_socket *socket, unsigned events)
{
    if ((socket->watch.flags & M5_WATCH_LINGERS) != 0) {
        if (!discard_input(socket))
            discard_socket(worker, socket);
        return;
    }
    const bool ended = (events & M5_LOOP_ENDED) != 0;
    if ((events & M5_LOOP_WRITE) != 0 && !ended) {
        set_flags(worker, &socket->watch, socket->watch.flags & ~M5_WATCH_UNWRITTEN);
        if (!settle(worker, socket) || (events & M5_LOOP_READ) == 0)
            return;
    }
    read_input(worker, socket, ended);
}

static void handle_events(struct m5_worker *worker, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct m5_loop_event event = m5_loop_event(&worker->loop, i);
        struct m5_watch *ready = (struct m5_watch *)event.handle;
        if ((ready->flags & M5_WATCH_LISTENER) != 0)
            accept_batch(worker, ready);
        else if ((ready->flags & M5_WATCH_GUEST) != 0)
            worker->guest_ready(worker->guest_ctx);
        else
            handle_socket(worker, M5_CONTAINER_OF(ready, struct m5_socket, watch), event.events);
    }
}

/* ---- the turn ---- */

static int timeout_ms(const struct m5_worker *worker)
{
    uint64_t deadline = m5_shard_deadline(worker->shard);
    const struct m5_socket *lingering = oldest_lingering(worker);
    if (lingering != NULL && lingering->linger_until_ms < deadline)
        deadline = lingering->linger_until_ms;
    if (worker->accept_again_ms != 0 && worker->accept_again_ms < deadline)
        deadline = worker->accept_again_ms;
    if (worker->drain_until_ms != 0 && worker->drain_until_ms < deadline)
        deadline = worker->drain_until_ms;
    if (deadline == UINT64_MAX)
        return -1;
    if (deadline <= worker->now_ms)
        return 0;
    const uint64_t left = deadline - worker->now_ms;
    return left > INT32_MAX ? INT32_MAX : (int)left;
}

/* Lets input gather if that promises larger batches. */
static void let_gather(const struct m5_worker *worker)
{
    if (!worker->pipelined || worker->drain_until_ms != 0)
        return;
    const struct timespec time = {.tv_nsec = GATHER_NS};
    nanosleep(&time, NULL);
}

/* Looks at what the turn had to do, of @p events and from other workers. */
static void judge(struct m5_worker *worker, unsigned events, uint64_t work)
{
    worker->pipelined = work >= GATHER_LEAST && work >= 2 * (uint64_t)events && work <= GATHER_MOST;
}

static void wake_others(struct m5_worker *worker, uint64_t wakes)
{
    for (; wakes != 0; wakes &= wakes - 1)
        m5_loop_wake(&worker->crew->workers[__builtin_ctzll(wakes)].loop);
}

/* After many connections have gone, the memory they used is the system's again. */
static void trim(struct m5_worker *worker)
{
    if (worker->open_peak < TRIM_LEAST || worker->open_count > worker->open_peak / 4)
        return;
    worker->open_peak = worker->open_count;
    m5_pool_trim(&worker->sockets);
    malloc_trim(0);
}

/* ---- the store ---- */

/* Takes in what has become durable since the last turn. */
static void take_stored(struct m5_worker *worker)
{
    struct m5_store *store = worker->crew->store;
    if (store == NULL)
        return;
    const bool failing = atomic_load_explicit(&worker->crew->store_failing, memory_order_relaxed);
    if (failing != worker->store_failing)
        m5_shard_store_failing(worker->shard, failing);
    worker->store_failing = failing;
    m5_shard_written(worker->shard, m5_store_written(store, worker->index));
    struct m5_batch *batch = m5_store_take(store, worker->index);
    while (batch != NULL) {
        struct m5_batch *next = batch->next;
        m5_shard_stored(worker->shard, batch);
        batch = next;
    }
    if (worker->index != 0 || worker->now_ms < worker->figures_ms)
        return;
    worker->figures_ms = worker->now_ms + FIGURES_MS;
    struct m5_store_figures figures;
    m5_store_figures(store, &figures);
    m5_shard_store_figures(worker->shard, &figures);
}

/* Hands over what this turn changed: before its mail goes. */
static void submit_changes(struct m5_worker *worker)
{
    if (worker->crew->store == NULL)
        return;
    struct m5_batch *batch = m5_shard_seal(worker->shard);
    if (batch != NULL)
        m5_store_submit(worker->crew->store, batch);
}

static int descriptor(const struct m5_conn *conn)
{
    return ((const struct m5_socket *)m5_conn_host(conn))->watch.fd;
}

static void turn(struct m5_worker *worker)
{
    let_gather(worker);
    const unsigned count = m5_loop_wait(&worker->loop, timeout_ms(worker));
    m5_loop_awake(&worker->loop);
    worker->now_ms = read_clock();
    const uint64_t before = m5_shard_work(worker->shard);
    m5_shard_begin(worker->shard, worker->now_ms);
    take_stored(worker);
    m5_logins_answer(&worker->logins);
    adopt_moved(worker);
    handle_events(worker, count);
    judge(worker, count, m5_shard_work(worker->shard) - before);
    m5_logins_ask(&worker->logins, worker->shard, descriptor);
    submit_changes(worker);
    const uint64_t wakes = m5_shard_end(worker->shard);
    struct m5_conn *conn;
    while ((conn = m5_shard_next_dirty(worker->shard)) != NULL)
        settle(worker, (struct m5_socket *)m5_conn_host(conn));
    wake_others(worker, wakes);
    m5_log_shard_events(&worker->log, worker->shard);
    end_lingering(worker);
    resume_listeners(worker);
    trim(worker);
    m5_log_flush(&worker->log);
}

/* ---- life ---- */

static void close_listeners(struct m5_worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; i++)
        close(worker->listeners[i].fd);
    worker->listener_count = 0;
    worker->accept_again_ms = 0;
}

static void drain(struct m5_worker *worker)
{
    close_listeners(worker);
    if (worker->index == 0 && m5_log_begin(&worker->log, M5_LOG_BROKER_STOPPING)) {
        m5_log_number(&worker->log, "worker_connections", worker->open_count);
        m5_log_end(&worker->log);
    }
    worker->now_ms = read_clock();
    worker->drain_until_ms = worker->now_ms + DRAIN_MS;
    for (struct m5_list *node = worker->lingering.next; node != &worker->lingering;
         node = node->next)
        M5_CONTAINER_OF(node, struct m5_socket, node)->linger_until_ms =
            worker->now_ms + LINGER_DRAIN_MS;
    m5_shard_begin(worker->shard, worker->now_ms);
    m5_shard_shutdown(worker->shard);
    m5_loop_wake(&worker->loop); /* so that the next turn writes what this has queued */
    while (worker->open_count + worker->lingering_count > 0 &&
           worker->now_ms < worker->drain_until_ms)
        turn(worker);
    if (worker->open_count > 0 && m5_log_begin(&worker->log, M5_LOG_DRAIN_TIMEOUT)) {
        m5_log_number(&worker->log, "connections", worker->open_count);
        m5_log_end(&worker->log);
    }
    m5_log_shard_events(&worker->log, worker->shard);
    m5_log_finish(&worker->log);
}

bool m5_worker_init(struct m5_worker *worker, struct m5_crew *crew, uint32_t index)
{
    worker->crew = crew;
    worker->index = index;
    worker->shard = m5_engine_shard(crew->engine, index);
    worker->reserve_fd = m5_listener_reserve();
    m5_pool_init(&worker->sockets, crew->allocator, sizeof(struct m5_socket), 4096);
    m5_list_init(&worker->open);
    m5_list_init(&worker->lingering);
    pthread_mutex_init(&worker->inbox_mutex, NULL);
    m5_log_init(&worker->log, crew->sink);
    m5_logins_init(&worker->logins, crew->policy, &worker->loop);
    return m5_loop_init(&worker->loop);
}

void m5_worker_fini(struct m5_worker *worker)
{
    if (worker->crew == NULL)
        return;
    close_listeners(worker);
    m5_free(worker->crew->allocator, worker->listeners, worker->listeners_size);
    while (!m5_list_empty(&worker->open))
        discard_socket(worker, M5_CONTAINER_OF(worker->open.next, struct m5_socket, node));
    while (!m5_list_empty(&worker->lingering))
        discard_socket(worker, M5_CONTAINER_OF(worker->lingering.next, struct m5_socket, node));
    for (struct m5_moved *moved = take_inbox(worker), *next; moved != NULL; moved = next) {
        next = moved->next;
        close(moved->fd);
        free_moved(worker, moved);
    }
    if (worker->reserve_fd >= 0)
        close(worker->reserve_fd);
    m5_logins_fini(&worker->logins);
    m5_loop_fini(&worker->loop);
    m5_pool_fini(&worker->sockets);
    pthread_mutex_destroy(&worker->inbox_mutex);
    worker->crew = NULL;
}

bool m5_worker_listen(struct m5_worker *worker, int fd)
{
    const size_t size = (worker->listener_count + 1) * sizeof *worker->listeners;
    struct m5_watch *grown = (struct m5_watch *)m5_resize(
        worker->crew->allocator, worker->listeners, worker->listeners_size, size);
    if (grown == NULL)
        return false;
    worker->listeners = grown;
    worker->listeners_size = size;
    worker->listeners[worker->listener_count++] =
        (struct m5_watch){.fd = fd, .flags = M5_WATCH_LISTENER};
    return true;
}

static bool watch_listeners(struct m5_worker *worker)
{
    for (size_t i = 0; i < worker->listener_count; i++)
        if (!m5_loop_add(&worker->loop, worker->listeners[i].fd, &worker->listeners[i],
                         M5_LOOP_READ))
            return false;
    return true;
}

void m5_crew_stop(struct m5_crew *crew)
{
    atomic_store(&crew->stopping, true);
    for (uint32_t i = 0; i < crew->worker_count; i++)
        m5_loop_wake(&crew->workers[i].loop);
}

bool m5_worker_run(struct m5_worker *worker)
{
    const bool ok = watch_listeners(worker);
    if (!ok)
        m5_crew_stop(worker->crew);
    worker->now_ms = read_clock();
    /* Sleeps of this thread are to end when they are asked to, not 50 us later. */
    const int slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    while (!atomic_load(&worker->crew->stopping))
        turn(worker);
    drain(worker);
    if (slack > 0) /* it may be the caller's thread */
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack, 0, 0, 0);
    return ok;
}
