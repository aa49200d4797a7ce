/* A client's byte stream to its server: looks the name up, races the addresses, then carries bytes.
 * Nothing here waits. Descriptors are watched by an epoll of whoever drives the client.
 *
 * Addresses are tried as RFC 8305 has it: IPv6 and IPv4 take turns, the next one starts 250 ms
 * after the last or as soon as one has failed, and the first that connects wins.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_LINK_H
#define M5_HOST_CLIENT_LINK_H

#include "host/client/resolve.h"
#include "host/client/url.h"
#include "host/pipe.h"

#include <mqtt5/allocator.h>
#include <sys/types.h>

#define M5_LINK_STAGGER_MS 250u /* between two attempts, of RFC 8305 section 5 */

enum m5_link_state {
    M5_LINK_DOWN,
    M5_LINK_CONNECTING, /* m5_link_step() makes progress */
    M5_LINK_SHAKING,    /* the socket is connected, TLS or WebSocket are not; likewise */
    M5_LINK_UP,
    M5_LINK_LINGERING /* all is sent; the server is to close */
};

/* A stream that is no descriptor; as recv(2) and send(2) of a non-blocking socket, with errno. */
struct m5_stream {
    ssize_t (*receive)(void *ctx, void *out, size_t size);
    ssize_t (*send)(void *ctx, const void *bytes, size_t size);
    void (*close)(void *ctx);
    void *ctx;
};

struct m5_link_race;

struct m5_link {
    enum m5_link_state state;
    int fd;       /* while up or lingering; -1 */
    int epoll_fd; /* who watches; -1 = nobody */
    void *handle; /* what the epoll gives back */
    uint32_t interest;
    const struct mqtt5_allocator *allocator;
    struct m5_link_race *race;      /* while connecting */
    const struct m5_stream *stream; /* instead of fd; NULL */
    struct m5_pipe pipe;            /* the transports between fd and MQTT; mostly none */
    struct m5_pipe_room own_room;   /* of the pipe; empty between turns */
    struct m5_pipe_room *room;      /* NULL: own_room; else shared by links of one thread */
    uint64_t deadline_ms;           /* while shaking */
};

/* What the last failure was, in words and as the error that it is for the user. */
struct m5_link_failure {
    enum mqtt5_error error; /* MQTT5_OK = MQTT5_ERR_IO */
    bool named;             /* the text says which address it is about */
    char text[300];
};

/* Puts a transport between the socket and MQTT, upon those that are there, for the connection that
 * m5_link_start() makes next. The link owns it. */
void m5_link_push(struct m5_link *link, struct m5_transport *transport);

/* Begins to connect to @p url; a name is looked up on a helper thread, which calls @p resolved.
 * False, with a failure, when that cannot be done. */
bool m5_link_start(struct m5_link *link, const struct m5_url *url, uint32_t timeout_ms,
                   uint64_t now_ms, m5_resolved_fn *resolved, void *ctx,
                   struct m5_link_failure *failure);

/* The same for addresses that are known, at most M5_ADDRESSES_MAX, in this order. False without
 * memory. */
bool m5_link_race_addresses(struct m5_link *link, const struct m5_address *addresses, size_t count,
                            uint32_t timeout_ms, uint64_t now_ms);

/* Takes a descriptor, or a stream, that is connected: the link is up, or, with transports upon it,
 * shaking without a time limit. */
void m5_link_adopt(struct m5_link *link, int fd, const struct m5_stream *stream);

/* Looks how the attempts under way stand and starts the next. False when none is left or the time
 * is over: the link is down. */
bool m5_link_step(struct m5_link *link, uint64_t now_ms, struct m5_link_failure *failure);

/* When m5_link_step() is due though nothing is ready; UINT64_MAX: never. */
uint64_t m5_link_deadline_ms(const struct m5_link *link);

/* What to be woken for, while up. */
void m5_link_watch(struct m5_link *link, bool read, bool write);

/* As recv(2) and send(2); EPROTO: a transport has failed, m5_link_explain() tells more. */
ssize_t m5_link_receive(struct m5_link *link, void *out, size_t size);
ssize_t m5_link_send(struct m5_link *link, const void *bytes, size_t size);

/* Sends what transports have to say by themselves. False, with errno, when that fails. */
bool m5_link_flush(struct m5_link *link);

/* Bytes are waiting in transports: to be sent, or to be read without more from the socket. */
bool m5_link_has_output(const struct m5_link *link);
bool m5_link_holds(const struct m5_link *link);

/* What errno @p error of the functions above means. */
void m5_link_explain(const struct m5_link *link, int error, struct m5_link_failure *failure);

/* Gives back memory of its own that an idle link does not need. */
void m5_link_relax(struct m5_link *link);

/* No more will be sent: tells the server. */
void m5_link_finish(struct m5_link *link);

void m5_link_close(struct m5_link *link);

/* The order in which @p addresses are tried: families take turns, each in its own order. */
void m5_link_interleave(struct m5_address *addresses, size_t count);

#endif
