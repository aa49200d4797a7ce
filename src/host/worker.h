/* A worker: one thread, one event loop, one shard of the engine, its own listening sockets.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_WORKER_H
#define M5_HOST_WORKER_H

#include "base/list.h"
#include "base/pool.h"
#include "broker/engine.h"
#include "host/log.h"
#include "host/login.h"
#include "host/loop.h"

#include <assert.h>
#include <pthread.h>

/* What the loop watches; the first member of listening sockets and connections. */
struct m5_watch {
    int fd;
    uint32_t flags; /* M5_WATCH_... */
};

#define M5_WATCH_LISTENER  1u
#define M5_WATCH_LINGERS   2u  /* our side is closed: waiting for the peer to close its own */
#define M5_WATCH_UNREAD    4u  /* the engine does not want to read now: input is not watched */
#define M5_WATCH_UNWRITTEN 8u  /* output is left over: waiting until the socket takes more */
#define M5_WATCH_BROKEN    16u /* writing failed: output is thrown away, what arrived is read */
#define M5_WATCH_GUEST     32u /* a descriptor of the program's own: see m5_broker_watch() */

/* A connection, as small as can be: there may be a million idle ones. */
struct m5_socket {
    struct m5_watch watch;
    union {
        struct m5_conn *conn;
        uint64_t linger_until_ms; /* M5_WATCH_LINGERS */
    };
    struct m5_list node; /* in worker->open or worker->lingering */
};
static_assert(sizeof(struct m5_socket) <= 32, "idle connections are counted by the million");

struct m5_policy;
struct m5_store;
struct m5_worker;

/* What the workers of a broker share. */
struct m5_crew {
    const struct mqtt5_allocator *allocator;
    struct m5_engine *engine;
    struct m5_log_sink *sink;
    struct m5_worker *workers;
    uint32_t worker_count;
    struct m5_policy *policy;  /* NULL: who may do what is the engine's configuration alone */
    struct m5_store *store;    /* NULL: everything is in memory only */
    atomic_bool store_failing; /* commits fail at present */
    atomic_bool stopping;
};

struct m5_worker {
    struct m5_crew *crew;
    uint32_t index;
    struct m5_shard *shard;
    pthread_t thread;
    bool store_failing;      /* as the shard has been told */
    uint64_t figures_ms;     /* of worker 0: when the shard is given the store's figures again */
    bool pipelined;          /* the last turn had many packets from few sockets: see let_gather() */
    uint64_t now_ms;         /* monotonic, read once a turn */
    uint64_t drain_until_ms; /* 0 until it drains */

    struct m5_watch *listeners;
    size_t listeners_size; /* bytes */
    size_t listener_count;
    uint64_t accept_again_ms;    /* 0, or when paused listeners go on */
    int reserve_fd;              /* to turn connections away with when descriptors run out */
    uint64_t turned_away;        /* so far */
    uint64_t turned_away_log_ms; /* when that may be said again */

    struct m5_watch guest; /* of the first worker: a descriptor that the program wants watched */
    void (*guest_ready)(void *ctx);
    void *guest_ctx;

    struct m5_logins logins;
    struct m5_pool sockets;
    struct m5_list open;
    struct m5_list lingering; /* the oldest first */
    uint32_t open_count, lingering_count;
    uint32_t open_peak; /* since memory was last given back */

    pthread_mutex_t inbox_mutex;
    struct m5_moved *inbox; /* connections from other workers, the latest first */
    atomic_bool inbox_full; /* inbox is not empty */

    struct m5_loop loop;
    struct m5_log log;
};

/* Prepares @p worker (zeroed); its listening sockets are added by m5_worker_listen(). False, with
 * errno, when the system or memory refuses; m5_worker_fini() either way. */
bool m5_worker_init(struct m5_worker *worker, struct m5_crew *crew, uint32_t index);

/* Closes everything that is open; the worker does not run. Accepts a zeroed worker. */
void m5_worker_fini(struct m5_worker *worker);

/* Takes over @p fd, a listening socket; false without memory (then it is still the caller's). */
bool m5_worker_listen(struct m5_worker *worker, int fd);

/* Makes all workers of @p crew drain and end; any thread, signal handlers too. */
void m5_crew_stop(struct m5_crew *crew);

/* Serves until m5_crew_stop(), then drains. False when the event loop did not take the listening
 * sockets; the crew then stops. */
bool m5_worker_run(struct m5_worker *worker);

#endif
