/* The listening sockets of a worker: taking connections from them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_RECEPTION_H
#define M5_HOST_RECEPTION_H

#include "host/socket.h"

#include <stdatomic.h>

struct m5_listening;

struct m5_reception {
    struct m5_list listening;    /* struct m5_listening, in reception.c */
    uint64_t accept_again_ms;    /* 0, or when paused sockets go on */
    int reserve_fd;              /* to turn connections away with when descriptors run out */
    uint64_t turned_away;        /* so far */
    uint64_t turned_away_log_ms; /* when that may be said again */

    struct m5_listening *orders; /* sockets to listen on, by other threads; under inbox_mutex */
    atomic_bool ordered;         /* look at the orders, and at doors that were closed */
};

void m5_reception_init(struct m5_reception *reception);

/* Closes everything; the worker does not run. */
void m5_reception_fini(struct m5_worker *worker);

/* Gives @p fd, a listening socket of the door in @p slot, to @p worker, which takes it with its
 * next turn. Any thread. False without memory: then it is still the caller's. */
bool m5_reception_order(struct m5_worker *worker, int fd, uint32_t slot);

/* Makes @p worker close the sockets whose doors are gone. Any thread. */
void m5_reception_recheck(struct m5_worker *worker);

/* Within a turn: does what was ordered. False when the event loop does not take a socket. */
bool m5_reception_take_orders(struct m5_worker *worker);

/* The socket of @p watch (M5_WATCH_LISTENER) is readable. */
void m5_reception_accept(struct m5_worker *worker, struct m5_watch *watch);

/* After a pause, goes on when it is time. */
void m5_reception_resume(struct m5_worker *worker);

/* No more connections: closes all. */
void m5_reception_close(struct m5_worker *worker);

#endif
