/* A transport: a byte filter with wire bytes on one side and plain bytes on the other. TLS, and
 * WebSocket over it or over TCP, stand behind this one interface; there are no sockets, threads or
 * clocks in it. One connection's transport is used by one thread at a time.
 *
 * How a host drives one: what a socket has received is a view `wire`; m5_transport_read() takes
 * from its front and gives plain bytes until it answers M5_TRANSPORT_AGAIN, when all of `wire` is
 * taken. What has to go out (handshake, alerts, answers to pings) it appends to the outbox, to be
 * sent at once. A client starts its handshake by reading with an empty `wire`. Plain bytes may be
 * written once `open` is set; each call makes as few records or frames as it can, so a turn's
 * output should be written by one call. Over each other, the plain side of one transport is the
 * wire side of the next.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_TRANSPORT_H
#define M5_TRANSPORT_TRANSPORT_H

#include <mqtt5/allocator.h>
#include <mqtt5/bytes.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Wire bytes on their way out, in one piece. `data` is NULL while capacity is 0. */
struct m5_outbox {
    const struct mqtt5_allocator *allocator;
    uint8_t *data;
    size_t size, capacity;
};

/* Room for @p size more bytes at data + size, which the caller adds to `size` once written; NULL
 * without memory, and nothing is changed. */
uint8_t *m5_outbox_reserve(struct m5_outbox *outbox, size_t size);

/* Appends; false without memory. */
bool m5_outbox_append(struct m5_outbox *outbox, struct mqtt5_bytes bytes);

/* Gives the memory back. */
void m5_outbox_fini(struct m5_outbox *outbox);

/* Results of m5_transport_read() other than a number of plain bytes. */
#define M5_TRANSPORT_AGAIN  0    /* all of `wire` is taken: more is needed */
#define M5_TRANSPORT_CLOSED (-1) /* the peer has ended it in the transport's own way */
#define M5_TRANSPORT_FAILED                                               \
    (-2) /* `failure` says why; what is in the outbox is still to be sent \
          */

struct m5_transport;

struct m5_transport_kind {
    const char *name; /* "tls", "ws" */
    ptrdiff_t (*read)(struct m5_transport *transport, struct mqtt5_bytes *wire,
                      struct m5_outbox *out, uint8_t *plain, size_t size);
    bool (*write)(struct m5_transport *transport, const struct mqtt5_bytes *views, size_t count,
                  struct m5_outbox *out);
    void (*finish)(struct m5_transport *transport, struct m5_outbox *out);
    void (*free)(struct m5_transport *transport);
};

/* The head of every transport. */
struct m5_transport {
    const struct m5_transport_kind *kind;
    const char *failure; /* a sentence for logs and people, static or of the transport; NULL */
    bool open;           /* the handshake is done: plain bytes may be written */
    bool pending;        /* plain bytes are left inside: read again, though `wire` is empty */
};

/* Takes from the front of *wire and writes at most @p size (> 0) plain bytes to @p plain. Returns
 * how many (> 0) or M5_TRANSPORT_...; after CLOSED or FAILED it is not called again. */
static inline ptrdiff_t m5_transport_read(struct m5_transport *transport, struct mqtt5_bytes *wire,
                                          struct m5_outbox *out, uint8_t *plain, size_t size)
{
    return transport->kind->read(transport, wire, out, plain, size);
}

/* Appends the plain bytes of @p views, as wire bytes; `open` is set. False without memory, or after
 * a failure: the connection is then to be dropped. */
static inline bool m5_transport_write(struct m5_transport *transport,
                                      const struct mqtt5_bytes *views, size_t count,
                                      struct m5_outbox *out)
{
    return transport->kind->write(transport, views, count, out);
}

/* Appends what says that no more will be written (close_notify, a Close frame), if there still is a
 * peer to be told. */
static inline void m5_transport_finish(struct m5_transport *transport, struct m5_outbox *out)
{
    transport->kind->finish(transport, out);
}

/* Accepts NULL. */
static inline void m5_transport_free(struct m5_transport *transport)
{
    if (transport != NULL)
        transport->kind->free(transport);
}

#endif
