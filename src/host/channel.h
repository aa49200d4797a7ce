/* A channel: a connection that is more than a TCP socket. It has transports (TLS, WebSocket), began
 * with a PROXY header, or is counted by its address. Plain connections have none of this and pay
 * for none of it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CHANNEL_H
#define M5_HOST_CHANNEL_H

#include "host/address.h"
#include "host/pipe.h"
#include "host/socket.h"

/* Handshakes are the dearest thing that a stranger can ask for. Those of one turn, and what makes
 * ready for them, together begin no later than this: as a rule one, of half a millisecond. What is
 * left waits for the next turn, so that whoever is connected already hardly notices a flood. */
#define M5_HANDSHAKES_NS 100000u

struct m5_channel {
    struct m5_socket socket;
    struct m5_door *door;
    struct m5_pipe pipe;
    struct m5_address peer; /* the client's, as far as it is known */
    uint32_t ticket;        /* of admission; 0: not counted */
    char *identity;         /* user name that the transport has proven; NULL: none */
};

/* A channel for a connection from @p peer through @p door; it has no descriptor yet. NULL without
 * memory. */
struct m5_channel *m5_channel_new(struct m5_worker *worker, struct m5_door *door,
                                  const struct m5_address *peer);

/* Whether it may come in, as far as its address tells: why not, or NULL. */
const char *m5_channel_admit(struct m5_worker *worker, struct m5_channel *channel);

/* It does not count any more: whoever waits for its place may come. */
void m5_channel_leave(struct m5_worker *worker, struct m5_channel *channel);

/* Frees it; its socket is closed and off all lists. */
void m5_channel_free(struct m5_worker *worker, struct m5_channel *channel);

/* Tells the engine what the transports have proven; again after a move. False without memory, or
 * when it is no name of a user. */
bool m5_channel_identify(struct m5_channel *channel);

/* Reads from the socket and hands plain bytes to the engine; false when the channel is gone. */
bool m5_channel_read(struct m5_worker *worker, struct m5_channel *channel);

/* The same with what is left inside, when the engine reads again. */
bool m5_channel_drain(struct m5_worker *worker, struct m5_channel *channel);

/* Writes what the engine has to send, or a part; false when the socket does not take more now. */
bool m5_channel_flush(struct m5_worker *worker, struct m5_channel *channel);

/* Sends what waits in the pipe; false when the socket does not take all now. */
bool m5_channel_push(struct m5_worker *worker, struct m5_channel *channel);

#endif
