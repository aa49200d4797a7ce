/* One client of a load: a state machine of src/client and its socket, on a loop that many share.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BENCH_LINK_H
#define M5_CLI_BENCH_LINK_H

#include "client/client.h"
#include "host/address.h"
#include "host/client/stack.h"
#include "host/loop.h"

enum bench_link_state {
    BENCH_LINK_DOWN,
    BENCH_LINK_CONNECTING, /* the socket is not connected yet */
    BENCH_LINK_SHAKING,    /* it is; TLS or WebSocket are not */
    BENCH_LINK_UP,         /* bytes may go */
    BENCH_LINK_LEAVING     /* DISCONNECT is out: the server is to close first */
};

struct bench_link {
    struct m5_client *client;
    struct m5_loop *loop;
    int fd;
    struct m5_link wire; /* fd, and the transports upon it */
    bool registered;     /* with the loop */
    unsigned watched;    /* M5_LOOP_... */
    enum bench_link_state state;
    char why[128];     /* what has ended it; "" = the server closed, or nothing */
    size_t index;      /* the user's */
    bool dirty;        /* the user's: there may be output */
    uint64_t since_ns; /* the user's */
};

/* Where to connect to. */
struct bench_place {
    struct m5_url url;
    struct m5_address address;
};

uint64_t bench_now_ns(void);
uint64_t bench_now_ms(void);

/* Makes the client; @p room is shared by all links of the thread. MQTT5_OK or why not;
 * bench_link_fini() either way (zeroed before). */
enum mqtt5_error bench_link_init(struct bench_link *link, struct m5_loop *loop,
                                 struct m5_pipe_room *room,
                                 const struct mqtt5_client_options *options);
void bench_link_fini(struct bench_link *link);

/* Starts to connect, and queues CONNECT. False, with link->why, when that cannot even begin. */
bool bench_link_connect(struct bench_link *link, const struct bench_place *place,
                        struct m5_client_stack *stack);

/* The socket is ready for @p events: connects on, or reads once. True when there may be more to
 * read; take the events of link->client in any case. */
bool bench_link_ready(struct bench_link *link, unsigned events);

/* Sends what there is, and lets the loop watch for the rest. */
void bench_link_flush(struct bench_link *link);

/* The allocator of links and their rooms. */
extern const struct mqtt5_allocator bench_allocator;

#endif
