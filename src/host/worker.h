/* A worker: one thread, one event loop, one shard of the engine, its own listening sockets.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_WORKER_H
#define M5_HOST_WORKER_H

#include "base/list.h"
#include "base/pool.h"
#include "broker/engine.h"
#include "host/control.h"
#include "host/listeners.h"
#include "host/log.h"
#include "host/login.h"
#include "host/loop.h"
#include "host/pipe.h"
#include "host/reception.h"
#include "host/socket.h"

#include <pthread.h>

#define M5_WIRE_SIZE 65536u

struct m5_dynsec;
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
    struct m5_dynsec *dynsec; /* NULL: there is no dynamic security */
    struct m5_desk *desk;     /* NULL: nor are there commands */
    struct m5_policy *policy; /* NULL: who may do what is the engine's configuration alone */
    struct m5_store *store;   /* NULL: everything is in memory only */
    struct m5_admission_table *admission;
    pthread_mutex_t config_mutex;
    struct mqtt5_broker_config config; /* what the shards are to take over; under its mutex */
    _Atomic uint32_t config_version;
    _Atomic(struct m5_door *) doors[M5_DOORS_MAX]; /* by slot; NULL: closed */
    atomic_bool store_failing;                     /* commits fail at present */
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

    struct m5_reception reception;
    uint32_t config_version; /* of the crew's configuration, that the shard has */

    struct m5_watch guest; /* of the first worker: a descriptor that the program wants watched */
    void (*guest_ready)(void *ctx);
    void *guest_ctx;

    struct m5_logins logins;
    struct m5_desk_place desk;
    struct m5_pool sockets;
    struct m5_pipe_room room; /* of the channels */
    uint8_t *wire;            /* M5_WIRE_SIZE bytes for what they receive; NULL until needed */
    uint64_t handshakes_ns;   /* spent on them in this turn */
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

/* Prepares @p worker (zeroed); its listening sockets come by m5_reception_order(). False, with
 * errno, when the system or memory refuses; m5_worker_fini() either way. */
bool m5_worker_init(struct m5_worker *worker, struct m5_crew *crew, uint32_t index);

/* Closes everything that is open; the worker does not run. Accepts a zeroed worker. */
void m5_worker_fini(struct m5_worker *worker);

/* The door in @p slot; NULL: it is closed. Any thread; it stays as long as the broker. */
static inline struct m5_door *m5_crew_door(const struct m5_crew *crew, uint32_t slot)
{
    return atomic_load_explicit(&crew->doors[slot], memory_order_acquire);
}

/* Makes all shards take @p config over, as far as m5_shard_reconfigure() does. Any thread. */
void m5_crew_reconfigure(struct m5_crew *crew, const struct mqtt5_broker_config *config);

/* Makes all workers of @p crew drain and end; any thread, signal handlers too. */
void m5_crew_stop(struct m5_crew *crew);

/* Serves until m5_crew_stop(), then drains. False when the event loop did not take the listening
 * sockets; the crew then stops. */
bool m5_worker_run(struct m5_worker *worker);

#endif
