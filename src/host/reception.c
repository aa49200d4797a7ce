/* The listening sockets of a worker.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/reception.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "host/channel.h"
#include "host/door.h"
#include "host/listener.h"
#include "host/worker.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ACCEPT_BATCH       64    /* connections taken from a socket in one turn */
#define ACCEPT_PAUSE_MS    100   /* when the system is short of memory for sockets */
#define TURNED_AWAY_LOG_MS 10000 /* between two lines that say how many */

struct m5_listening {
    struct m5_watch watch;
    struct m5_list node;
    struct m5_listening *next; /* as an order */
    uint32_t slot;             /* of its door */
};

void m5_reception_init(struct m5_reception *reception)
{
    m5_list_init(&reception->listening);
    reception->reserve_fd = m5_listener_reserve();
}

static void discard(struct m5_worker *worker, struct m5_listening *listening)
{
    close(listening->watch.fd);
    m5_free(worker->crew->allocator, listening, sizeof *listening);
}

static struct m5_listening *take_all_orders(struct m5_worker *worker)
{
    pthread_mutex_lock(&worker->inbox_mutex);
    struct m5_listening *orders = worker->reception.orders;
    worker->reception.orders = NULL;
    atomic_store(&worker->reception.ordered, false);
    pthread_mutex_unlock(&worker->inbox_mutex);
    return orders;
}

void m5_reception_close(struct m5_worker *worker)
{
    struct m5_list *all = &worker->reception.listening;
    while (!m5_list_empty(all)) {
        struct m5_listening *listening = M5_CONTAINER_OF(all->next, struct m5_listening, node);
        m5_list_remove(&listening->node);
        discard(worker, listening);
    }
    worker->reception.accept_again_ms = 0;
}

void m5_reception_fini(struct m5_worker *worker)
{
    m5_reception_close(worker);
    for (struct m5_listening *order = take_all_orders(worker), *next; order != NULL; order = next) {
        next = order->next;
        discard(worker, order);
    }
    if (worker->reception.reserve_fd >= 0)
        close(worker->reception.reserve_fd);
}

/* ---- orders ---- */

bool m5_reception_order(struct m5_worker *worker, int fd, uint32_t slot)
{
    struct m5_listening *listening =
        (struct m5_listening *)m5_alloc_zero(worker->crew->allocator, sizeof *listening);
    if (listening == NULL)
        return false;
    listening->watch = (struct m5_watch){.fd = fd, .flags = M5_WATCH_LISTENER};
    listening->slot = slot;
    pthread_mutex_lock(&worker->inbox_mutex);
    listening->next = worker->reception.orders;
    worker->reception.orders = listening;
    pthread_mutex_unlock(&worker->inbox_mutex);
    m5_reception_recheck(worker);
    return true;
}

void m5_reception_recheck(struct m5_worker *worker)
{
    atomic_store(&worker->reception.ordered, true);
    m5_loop_wake(&worker->loop);
}

static void close_closed_doors(struct m5_worker *worker)
{
    struct m5_list *all = &worker->reception.listening;
    for (struct m5_list *node = all->next, *next; node != all; node = next) {
        next = node->next;
        struct m5_listening *listening = M5_CONTAINER_OF(node, struct m5_listening, node);
        if (m5_crew_door(worker->crew, listening->slot) != NULL)
            continue;
        m5_list_remove(&listening->node);
        discard(worker, listening);
    }
}

bool m5_reception_take_orders(struct m5_worker *worker)
{
    bool ok = true;
    if (!atomic_load_explicit(&worker->reception.ordered, memory_order_acquire))
        return true;
    for (struct m5_listening *order = take_all_orders(worker), *next; order != NULL; order = next) {
        next = order->next;
        if (m5_loop_add(&worker->loop, order->watch.fd, &order->watch, M5_LOOP_READ)) {
            m5_list_push_back(&worker->reception.listening, &order->node);
            continue;
        }
        m5_log_note(&worker->log, M5_LOG_LISTENER_SKIPPED, "why", strerror(errno));
        discard(worker, order);
        ok = false;
    }
    close_closed_doors(worker);
    return ok;
}

/* ---- pauses ---- */

static void set_unread(struct m5_worker *worker, bool unread)
{
    struct m5_list *all = &worker->reception.listening;
    for (struct m5_list *node = all->next; node != all; node = node->next) {
        struct m5_watch *watch = &M5_CONTAINER_OF(node, struct m5_listening, node)->watch;
        m5_socket_flag(worker, watch,
                       unread ? watch->flags | M5_WATCH_UNREAD : watch->flags & ~M5_WATCH_UNREAD);
    }
}

static void pause_all(struct m5_worker *worker, int error)
{
    set_unread(worker, true);
    worker->reception.accept_again_ms = worker->now_ms + ACCEPT_PAUSE_MS;
    m5_log_note(&worker->log, M5_LOG_LISTENER_PAUSED, "why", strerror(error));
}

void m5_reception_resume(struct m5_worker *worker)
{
    struct m5_reception *reception = &worker->reception;
    if (reception->accept_again_ms == 0 || worker->now_ms < reception->accept_again_ms)
        return;
    reception->accept_again_ms = 0;
    set_unread(worker, false);
}

static void turn_away(struct m5_worker *worker, int listen_fd, int error)
{
    struct m5_reception *reception = &worker->reception;
    if (!m5_listener_turn_away(listen_fd, &reception->reserve_fd))
        pause_all(worker, error);
    reception->turned_away++;
    if (worker->now_ms < reception->turned_away_log_ms ||
        !m5_log_begin(&worker->log, M5_LOG_DESCRIPTORS_EXHAUSTED))
        return;
    reception->turned_away_log_ms = worker->now_ms + TURNED_AWAY_LOG_MS;
    m5_log_number(&worker->log, "turned_away", reception->turned_away);
    m5_log_number(&worker->log, "connections", worker->open_count);
    m5_log_text(&worker->log, "hint", m5_bytes_of("raise the limit of open files (ulimit -n)"));
    m5_log_end(&worker->log);
}

/* ---- accepting ---- */

/* Whether there is time for one more in this turn; @p anyhow: whatever handshakes it has had. */
static bool may_accept(const struct m5_worker *worker, bool anyhow)
{
    return worker->reception.accept_again_ms == 0 &&
           (anyhow || worker->handshakes_ns <= M5_HANDSHAKES_NS);
}

void m5_reception_accept(struct m5_worker *worker, struct m5_watch *watch)
{
    struct m5_listening *listening = M5_CONTAINER_OF(watch, struct m5_listening, watch);
    struct m5_door *door = m5_crew_door(worker->crew, listening->slot);
    if (door == NULL)
        return; /* closed a moment ago: m5_reception_take_orders() closes the socket, too */
    const int batch = m5_door_secure(door) ? 1 : ACCEPT_BATCH;
    for (int i = 0; may_accept(worker, i < batch) && i < ACCEPT_BATCH; i++) {
        struct m5_address peer;
        const int fd = m5_listener_accept(watch->fd, &peer);
        if (fd >= 0) {
            m5_socket_welcome(worker, door, fd, &peer);
            continue;
        }
        const int error = errno;
        switch (m5_listener_error(error)) {
        case M5_ACCEPT_DONE: return;
        case M5_ACCEPT_NEXT: break;
        case M5_ACCEPT_EXHAUSTED: turn_away(worker, watch->fd, error); break;
        case M5_ACCEPT_PAUSE: pause_all(worker, error); break;
        }
    }
}
