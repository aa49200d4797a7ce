/* One client of a load: a state machine of src/client and its socket, on a loop that many share.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BENCH_LINK_H
#define M5_CLI_BENCH_LINK_H

#include "client/client.h"
#include "host/address.h"
#include "host/loop.h"

enum bench_link_state {
    BENCH_LINK_DOWN,
    BENCH_LINK_CONNECTING, /* the socket is not connected yet */
    BENCH_LINK_UP,         /* bytes may go */
    BENCH_LINK_LEAVING     /* DISCONNECT is out: the server is to close first */
};

struct bench_link {
    struct m5_client *client;
    struct m5_loop *loop;
    int fd;
    bool registered;  /* with the loop */
    unsigned watched; /* M5_LOOP_... */
    enum bench_link_state state;
    int error;         /* errno of what has ended it, 0 = the server closed, or nothing */
    size_t index;      /* the user's */
    bool dirty;        /* the user's: there may be output */
    uint64_t since_ns; /* the user's */
};

uint64_t bench_now_ns(void);
uint64_t bench_now_ms(void);

/* Makes the client. MQTT5_OK or why not; bench_link_fini() either way (zeroed before). */
enum mqtt5_error bench_link_init(struct bench_link *link, struct m5_loop *loop,
                                 const struct mqtt5_client_options *options);
void bench_link_fini(struct bench_link *link);

/* Starts to connect, and queues CONNECT. False, with link->error, when that cannot even begin. */
bool bench_link_connect(struct bench_link *link, const struct m5_address *address);

/* The socket is ready for @p events: connects on, or reads once. True when there may be more to
 * read; take the events of link->client in any case. */
bool bench_link_ready(struct bench_link *link, unsigned events);

/* Sends what there is, and lets the loop watch for the rest. */
void bench_link_flush(struct bench_link *link);

/* Ends the connection without a word. */
void bench_link_drop(struct bench_link *link, int error);

#endif
