/* The connections of a worker: sockets that the engine's connections stand upon.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_SOCKET_H
#define M5_HOST_SOCKET_H

#include "base/list.h"
#include "broker/engine.h"

#include <assert.h>

struct m5_address;
struct m5_door;
struct m5_worker;

/* What the loop watches; the first member of listening sockets and connections. */
struct m5_watch {
    int fd;
    uint32_t flags; /* M5_WATCH_... */
};

#define M5_WATCH_LISTENER  1u
#define M5_WATCH_LINGERS   2u    /* the engine has done: waiting for the peer to close its side */
#define M5_WATCH_UNREAD    4u    /* the engine does not want to read now: input is not watched */
#define M5_WATCH_UNWRITTEN 8u    /* output is left over: waiting until the socket takes more */
#define M5_WATCH_BROKEN    16u   /* writing failed: output is thrown away, what arrived is read */
#define M5_WATCH_GUEST     32u   /* a descriptor of the program's own: see m5_broker_watch() */
#define M5_WATCH_CHANNEL   64u   /* the socket is the first member of a struct m5_channel */
#define M5_WATCH_PIPED     128u  /* it has transports */
#define M5_WATCH_SHAKES    256u  /* their handshakes are not done */
#define M5_WATCH_PREFACE   512u  /* a PROXY header is to come first */
#define M5_WATCH_SHUT      1024u /* our side of a socket that lingers is closed */

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

/* Starts to serve @p fd, which came through @p door from @p peer; what cannot be served is
 * closed. */
void m5_socket_welcome(struct m5_worker *worker, struct m5_door *door, int fd,
                       const struct m5_address *peer);

/* Takes in the connections that other workers have sent. */
void m5_socket_take_moved(struct m5_worker *worker);

/* Reads and writes what @p events (M5_LOOP_...) allow. */
void m5_socket_handle(struct m5_worker *worker, struct m5_socket *socket, unsigned events);

/* Does what the engine wants done; false when the socket is not the engine's any more. */
bool m5_socket_settle(struct m5_worker *worker, struct m5_socket *socket);

/* The peer is gone, or will not be listened to: the engine forgets it. At once, or after it has had
 * time to read what we have said last. */
void m5_socket_lose(struct m5_worker *worker, struct m5_socket *socket);
void m5_socket_part(struct m5_worker *worker, struct m5_socket *socket);

/* Changes what is watched. */
void m5_socket_flag(struct m5_worker *worker, struct m5_watch *watch, uint32_t flags);

/* Closes sockets that have lingered long enough; when the next one has, UINT64_MAX: none. */
void m5_socket_end_lingering(struct m5_worker *worker);
uint64_t m5_socket_lingers_until(const struct m5_worker *worker);

/* The drain begins: those that linger have less time. */
void m5_socket_hurry(struct m5_worker *worker);

/* Closes all that there are, on their way to us too; the worker does not run. */
void m5_socket_discard_all(struct m5_worker *worker);

/* Says in the log why a connection was not served. */
void m5_socket_refused(struct m5_worker *worker, const struct m5_door *door,
                       struct mqtt5_bytes peer, const char *why);

#endif
