/* Commands to the broker, from the workers to the one thread that executes them, and the answers
 * back.
 *
 * A command may hash a password and writes a file, so no worker executes it: at the end of a turn
 * the worker hands what its shard has to the desk, whose thread works one request after the other
 * and leaves the answer for that worker. When a command has changed who may do what, every worker
 * looks in its next turn whether its clients may still be there.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CONTROL_H
#define M5_HOST_CONTROL_H

#include "base/list.h"
#include "broker/engine.h"

#include <pthread.h>
#include <stdatomic.h>

struct m5_dynsec;
struct m5_loop;

#define M5_DESK_WAITING_MAX 256u /* requests of all workers; more stay with their shards */

struct m5_desk;

/* A worker's place at the desk. */
struct m5_desk_place {
    struct m5_desk *desk; /* NULL: there is none */
    struct m5_loop *loop; /* to be woken */
    struct m5_desk_place *next;
    struct m5_list answers; /* under the desk's lock */
    atomic_bool any;        /* there are answers, or something has changed */
    uint64_t generation;    /* of what was changed, as this worker has seen it */
};

/* Starts the thread. @p dynsec is borrowed. NULL without memory or threads. */
struct m5_desk *m5_desk_new(struct m5_dynsec *dynsec);

/* Ends the thread after its current request; what waits is dropped. The workers do not run. Accepts
 * NULL. */
void m5_desk_free(struct m5_desk *desk);

/* @p desk may be NULL: then the place costs nothing. Before the workers run. */
void m5_desk_sit(struct m5_desk_place *place, struct m5_desk *desk, struct m5_loop *loop);

/* At the start of a turn, within it: answers go to their clients, those who may not stay go. */
void m5_desk_receive(struct m5_desk_place *place, struct m5_shard *shard);

/* At the end of a turn: what the shard was asked goes to the desk. */
void m5_desk_hand_in(struct m5_desk_place *place, struct m5_shard *shard);

#endif
