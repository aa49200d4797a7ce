/* A pipe: the transports that stand between a byte stream and MQTT, one upon the other, with what
 * is on its way through them. Used by the broker and by the client; no sockets here.
 *
 * Buffers are borrowed from a room, which a thread has once and shares between its pipes: a pipe
 * holds memory of its own only for what its reader did not take or its socket did not send, so that
 * an idle one has none.
 *
 *     m5_pipe_receive(pipe, wire);                  // what the socket has given; borrowed
 *     while ((got = m5_pipe_read(pipe, out, size)) > 0) ...
 *     m5_pipe_leave(pipe);                          // the reader stops: what is left is kept
 *     m5_pipe_write(pipe, views, count);            // once m5_pipe_open()
 *     sent = send(fd, m5_pipe_output(pipe)); m5_pipe_sent(pipe, sent);
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_PIPE_H
#define M5_HOST_PIPE_H

#include "transport/transport.h"

#define M5_PIPE_LAYERS 2 /* WebSocket over TLS */

/* What the pipes of one thread share. Zeroed but for the allocator is ready. */
struct m5_pipe_room {
    const struct mqtt5_allocator *allocator;
    uint8_t
        *between; /* plain bytes of the lower layer on their way to the upper; M5_PIPE_BETWEEN */
    struct m5_outbox spare, inner;
};

#define M5_PIPE_BETWEEN 16384u

void m5_pipe_room_fini(struct m5_pipe_room *room);

struct m5_pipe {
    struct m5_transport *layers[M5_PIPE_LAYERS]; /* the one next to the wire first; owned */
    uint8_t layer_count;
    bool begun;                       /* the upper layer has been started */
    bool failed;                      /* no memory, or a transport failed: only output is left */
    struct mqtt5_bytes wire, between; /* not taken yet: borrowed, or of `kept` */
    uint8_t *kept;                    /* NULL, or kept_size bytes */
    size_t kept_size;
    struct m5_outbox out;
    size_t out_sent;
};

/* An empty stack. */
void m5_pipe_init(struct m5_pipe *pipe);

/* Puts @p transport on top and owns it. */
void m5_pipe_push(struct m5_pipe *pipe, struct m5_transport *transport);

/* Frees the transports and what is left. */
void m5_pipe_fini(struct m5_pipe *pipe, struct m5_pipe_room *room);

/* True when all handshakes are done. */
bool m5_pipe_open(const struct m5_pipe *pipe);

/* Hands in bytes of the wire: borrowed until m5_pipe_leave(). Nothing may be left of those before,
 * see m5_pipe_holds(). An empty view lets a client begin. */
void m5_pipe_receive(struct m5_pipe *pipe, struct mqtt5_bytes wire);

/* As m5_pipe_receive(), but what was left is forgotten: the caller has taken it. */
void m5_pipe_replace(struct m5_pipe *pipe, struct mqtt5_bytes wire);

/* Takes plain bytes out; results as m5_transport_read(). M5_TRANSPORT_FAILED also without memory.
 */
ptrdiff_t m5_pipe_read(struct m5_pipe *pipe, struct m5_pipe_room *room, uint8_t *plain,
                       size_t size);

/* There are bytes inside that m5_pipe_read() may give without more from the wire. */
bool m5_pipe_holds(const struct m5_pipe *pipe);

/* The reader stops for now: what is borrowed and left is copied. False without memory: the pipe has
 * failed. */
bool m5_pipe_leave(struct m5_pipe *pipe, struct m5_pipe_room *room);

/* Writes plain bytes; the pipe is open. False when it has failed. */
bool m5_pipe_write(struct m5_pipe *pipe, struct m5_pipe_room *room, const struct mqtt5_bytes *views,
                   size_t count);

/* Says goodbye in the transports' own way. */
void m5_pipe_finish(struct m5_pipe *pipe, struct m5_pipe_room *room);

/* Bytes that wait to be sent; valid until the next call. Empty: none. */
struct mqtt5_bytes m5_pipe_output(const struct m5_pipe *pipe);

/* The first @p size bytes of the output were sent. */
void m5_pipe_sent(struct m5_pipe *pipe, struct m5_pipe_room *room, size_t size);

/* Why it failed, for logs and people. */
const char *m5_pipe_failure(const struct m5_pipe *pipe);

#endif
