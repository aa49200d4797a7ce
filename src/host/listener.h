/* Listening sockets: opening them, and taking connections from them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_LISTENER_H
#define M5_HOST_LISTENER_H

#include "host/address.h"

#include <mqtt5/listener.h>

/* Opens a socket that listens on @p address; with port 0, the port the system chose is written
 * back. -1, with errno, on failure.
 *
 * Shared sockets of one address (SO_REUSEPORT) spread its connections over the workers. The system
 * would also let a stranger's process of the same user share them, so the first socket of an
 * address is to be opened after m5_listener_probe(). */
int m5_listener_open(struct m5_address *address, bool shared);

/* The same for a Unix socket: @p listener has its path, owner, group and mode. A file that a broker
 * of before has left there is replaced, anything else is not. -1 with a sentence in @p why and
 * errno. */
int m5_listener_open_unix(const struct mqtt5_listener *listener, char *why, size_t why_size);

/* True when nobody listens on @p address; false, with errno, when it cannot be had. With port 0
 * always true. */
bool m5_listener_probe(const struct m5_address *address);

/* Takes a connection off @p listen_fd: non-blocking, close-on-exec, without Nagle's delay
 * (inherited from the listening socket). -1 with errno as accept4(2). */
int m5_listener_accept(int listen_fd, struct m5_address *peer);

/* What to do after m5_listener_accept() failed. */
enum m5_accept_error {
    M5_ACCEPT_DONE,      /* nobody is waiting */
    M5_ACCEPT_NEXT,      /* that one connection failed: go on */
    M5_ACCEPT_EXHAUSTED, /* no descriptors left */
    M5_ACCEPT_PAUSE      /* the system is short of something else */
};
enum m5_accept_error m5_listener_error(int error);

/* Turns the connection that waits on @p listen_fd away, with the descriptor that *reserve keeps for
 * that purpose, so that it neither hangs in the queue nor wakes us for ever. False when *reserve
 * could not be opened again: then pause. */
bool m5_listener_turn_away(int listen_fd, int *reserve);

/* A descriptor for m5_listener_turn_away(); -1 when there is none left. */
int m5_listener_reserve(void);

/* Raises the number of descriptors that this process may have to its hard limit; returns it. */
uint64_t m5_raise_descriptor_limit(void);

#endif
