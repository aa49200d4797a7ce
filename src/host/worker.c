/* The turn of a worker: wait, read what has arrived, let the engine work, write once per
 * connection.
 *
 * Steady state: one epoll_wait, a recv per readable socket, a send per connection with output, and
 * a short pause while traffic is pipelined; no other system call, no allocation. Output that a
 * socket does not take at once is watched for with EPOLLOUT, and only then.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/worker.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "host/clock.h"
#include "host/log_event.h"
#include "host/store/store.h"

#include <malloc.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define FIGURES_MS 1000u /* between two looks at the figures of the store */
#define DRAIN_MS   3000
#define TRIM_LEAST 1000 /* connections that must have gone before memory is given back */

/* Traffic that is pipelined (several packets from a socket at once) gets a short pause between
 * turns, in which more of it gathers: reads and writes then carry more messages, and that is most
 * of what a message costs. A packet that comes alone, as in request and response, is never waited
 * for, and neither is traffic that fills turns by itself. docs/performance.md has what was
 * measured. */
#define GATHER_NS    60000
#define GATHER_LEAST 8 /* messages in the turn before; and two for each event */
#define GATHER_MOST  1024

static void handle_events(struct m5_worker *worker, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct m5_loop_event event = m5_loop_event(&worker->loop, i);
        struct m5_watch *ready = (struct m5_watch *)event.handle;
        if ((ready->flags & M5_WATCH_LISTENER) != 0)
            m5_reception_accept(worker, ready);
        else if ((ready->flags & M5_WATCH_GUEST) != 0)
            worker->guest_ready(worker->guest_ctx);
        else
            m5_socket_handle(worker, M5_CONTAINER_OF(ready, struct m5_socket, watch), event.events);
    }
}

/* ---- the turn ---- */

static int timeout_ms(const struct m5_worker *worker)
{
    uint64_t deadline = m5_shard_deadline(worker->shard);
    const uint64_t lingers_until = m5_socket_lingers_until(worker);
    if (lingers_until < deadline)
        deadline = lingers_until;
    const uint64_t accept_again_ms = worker->reception.accept_again_ms;
    if (accept_again_ms != 0 && accept_again_ms < deadline)
        deadline = accept_again_ms;
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

static void take_config(struct m5_worker *worker)
{
    struct m5_crew *crew = worker->crew;
    const uint32_t version = atomic_load_explicit(&crew->config_version, memory_order_acquire);
    if (version == worker->config_version)
        return;
    pthread_mutex_lock(&crew->config_mutex);
    m5_shard_reconfigure(worker->shard, &crew->config);
    pthread_mutex_unlock(&crew->config_mutex);
    worker->config_version = version;
}

static void turn(struct m5_worker *worker)
{
    let_gather(worker);
    const unsigned count = m5_loop_wait(&worker->loop, timeout_ms(worker));
    m5_loop_awake(&worker->loop);
    worker->now_ms = m5_clock_ms();
    const uint64_t before = m5_shard_work(worker->shard);
    m5_shard_begin(worker->shard, worker->now_ms);
    take_stored(worker);
    take_config(worker);
    m5_logins_answer(&worker->logins);
    m5_desk_receive(&worker->desk, worker->shard);
    worker->handshakes_ns = 0;
    m5_socket_take_moved(worker);
    handle_events(worker, count);
    judge(worker, count, m5_shard_work(worker->shard) - before);
    m5_logins_ask(&worker->logins, worker->shard);
    m5_desk_hand_in(&worker->desk, worker->shard);
    submit_changes(worker);
    const uint64_t wakes = m5_shard_end(worker->shard);
    struct m5_conn *conn;
    while ((conn = m5_shard_next_dirty(worker->shard)) != NULL)
        m5_socket_settle(worker, (struct m5_socket *)m5_conn_host(conn));
    wake_others(worker, wakes);
    m5_log_shard_events(&worker->log, worker->shard);
    m5_socket_end_lingering(worker);
    m5_reception_resume(worker);
    m5_reception_take_orders(worker); /* frees sockets: no event of this turn is left */
    trim(worker);
    m5_log_flush(&worker->log);
}

/* ---- life ---- */

static void drain(struct m5_worker *worker)
{
    m5_reception_close(worker);
    if (worker->index == 0 && m5_log_begin(&worker->log, M5_LOG_BROKER_STOPPING)) {
        m5_log_number(&worker->log, "worker_connections", worker->open_count);
        m5_log_end(&worker->log);
    }
    worker->now_ms = m5_clock_ms();
    worker->drain_until_ms = worker->now_ms + DRAIN_MS;
    m5_socket_hurry(worker);
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
    m5_reception_init(&worker->reception);
    worker->room.allocator = crew->allocator;
    m5_pool_init(&worker->sockets, crew->allocator, sizeof(struct m5_socket), 4096);
    m5_list_init(&worker->open);
    m5_list_init(&worker->lingering);
    pthread_mutex_init(&worker->inbox_mutex, NULL);
    m5_log_init(&worker->log, crew->sink);
    m5_logins_init(&worker->logins, crew->policy, &worker->loop);
    m5_desk_sit(&worker->desk, crew->desk, &worker->loop);
    return m5_loop_init(&worker->loop);
}

void m5_worker_fini(struct m5_worker *worker)
{
    if (worker->crew == NULL)
        return;
    m5_reception_fini(worker);
    m5_socket_discard_all(worker);
    m5_pipe_room_fini(&worker->room);
    m5_free(worker->crew->allocator, worker->wire, worker->wire == NULL ? 0 : M5_WIRE_SIZE);
    m5_logins_fini(&worker->logins);
    m5_loop_fini(&worker->loop);
    m5_pool_fini(&worker->sockets);
    pthread_mutex_destroy(&worker->inbox_mutex);
    worker->crew = NULL;
}

void m5_crew_reconfigure(struct m5_crew *crew, const struct mqtt5_broker_config *config)
{
    pthread_mutex_lock(&crew->config_mutex);
    crew->config = *config;
    pthread_mutex_unlock(&crew->config_mutex);
    atomic_fetch_add(&crew->config_version, 1);
    for (uint32_t i = 0; i < crew->worker_count; i++)
        m5_loop_wake(&crew->workers[i].loop);
}

void m5_crew_stop(struct m5_crew *crew)
{
    atomic_store(&crew->stopping, true);
    for (uint32_t i = 0; i < crew->worker_count; i++)
        m5_loop_wake(&crew->workers[i].loop);
}

bool m5_worker_run(struct m5_worker *worker)
{
    const bool ok = m5_reception_take_orders(worker);
    if (!ok)
        m5_crew_stop(worker->crew);
    worker->now_ms = m5_clock_ms();
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
