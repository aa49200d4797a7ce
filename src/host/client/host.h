/* The inside of struct mqtt5_client, shared by the files of this folder.
 *
 * One lock guards everything. It is held while the engine works and sockets are read and written
 * (none of that blocks), and given up to sleep, to look a name up and to call back.
 *
 * Exactly one thread at a time is the pump: it does turns (timers, sockets, events, callbacks) and
 * sleeps between them. It is the client's own thread, or whoever is inside mqtt5_client_process()
 * or a blocking form while nobody else is. Only the pump reads input and takes events, so the views
 * it shows to callbacks stay valid while the lock is open to others, who may publish meanwhile.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_HOST_H
#define M5_HOST_CLIENT_HOST_H

#include "base/list.h"
#include "client/client.h"
#include "host/client/link.h"

#include <pthread.h>

/* An operation somebody waits for or wants to be called back about. */
struct m5_client_op {
    mqtt5_client_done_fn *done; /* NULL: a blocking form waits, or nobody does */
    void *ctx;
    bool waited_for; /* a blocking form owns it; else it is freed when it ends */
    bool finished;
    enum mqtt5_error error;
    uint8_t reason_code;
    uint32_t count; /* of reason_codes[] */
    uint8_t reason_codes[];
};

/* Who gets the messages of one filter. */
struct m5_client_handler {
    struct m5_list node;
    uint64_t number;      /* in the order of subscription */
    mqtt5_message_fn *fn; /* NULL: the configuration's */
    void *ctx;
    struct m5_client_op *op;      /* the SUBSCRIBE, until its answer */
    struct m5_client_op *leaving; /* an UNSUBSCRIBE, until its answer */
    uint32_t index;               /* of the filter in its SUBSCRIBE */
    size_t filter_size;           /* bytes */
    size_t match_offset;          /* where the filter begins behind "$share/name/" */
    uint8_t filter[];
};

struct mqtt5_client {
    const struct mqtt5_allocator *allocator;
    struct mqtt5_client_options config; /* only the host's part and the numbers are used */
    struct m5_client *engine;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* an operation has finished, the pump is free */
    int wake_fd;

    pthread_t thread; /* the own one */
    bool has_thread, stopping;
    pthread_t pump; /* who it is, while pumping */
    bool pumping, calling_back, sleeping;
    bool free_asked; /* by a callback */

    struct m5_link link;
    uint64_t linger_deadline_ms;     /* while lingering */
    struct m5_client_op *connecting; /* the operation that mqtt5_client_connect() waits for */
    struct m5_list handlers;
    uint64_t handler_count_ever;
    char url[512]; /* what is connected to, without user name and password */
    char why[512];
};

uint64_t m5_client_host_clock_ms(void);

/* ---- operation.c ---- */

/* NULL without memory. @p count reason codes will be kept. */
struct m5_client_op *m5_client_host_op_new(struct mqtt5_client *client, mqtt5_client_done_fn *done,
                                           void *ctx, uint32_t count);
void m5_client_host_op_free(struct mqtt5_client *client, struct m5_client_op *op);

/* Ends @p op (may be NULL): wakes who waits, or calls back with the lock open, and frees it. */
void m5_client_host_op_finish(struct mqtt5_client *client, struct m5_client_op *op,
                              const struct mqtt5_client_result *result);

/* ---- dispatch.c ---- */

/* Shows @p event to the user: callbacks run with the lock open. */
void m5_client_host_dispatch(struct mqtt5_client *client, const struct m5_client_event *event);

/* Adds a handler for every filter of @p subscribe. False without memory; settle_handlers() with
 * op->error set then takes back those that were added. */
bool m5_client_host_add_handlers(struct mqtt5_client *client,
                                 const struct mqtt5_subscribe *subscribe,
                                 const struct mqtt5_subscribe_callbacks *callbacks,
                                 struct m5_client_op *op);

/* Takes back the handlers of a SUBSCRIBE that failed, or whose filter was refused; those that were
 * granted take the place of older ones for the same filter. */
void m5_client_host_settle_handlers(struct mqtt5_client *client, const struct m5_client_op *op);

void m5_client_host_mark_leaving(struct mqtt5_client *client,
                                 const struct mqtt5_unsubscribe *unsubscribe,
                                 struct m5_client_op *op);
void m5_client_host_free_handlers(struct mqtt5_client *client);

/* ---- pump.c ---- */

/* One turn: timers, link, input, events, output. Lock held, pump only. True when something was
 * shown to the user or changed its state. */
bool m5_client_host_turn(struct mqtt5_client *client);

/* Sleeps until there is something to do, for at most @p timeout_ms (MQTT5_FOREVER: no limit). */
void m5_client_host_sleep(struct mqtt5_client *client, uint32_t timeout_ms);

/* Lets the pump look again, unless that is the caller. Lock held. */
void m5_client_host_nudge(struct mqtt5_client *client);

/* Tells whether the caller is in a callback of @p client. Lock held. */
bool m5_client_host_in_callback(const struct mqtt5_client *client);

/* The connection is over: closes the link and tells the engine. */
void m5_client_host_drop_link(struct mqtt5_client *client);

/* Shows every event that is due. */
bool m5_client_host_drain(struct mqtt5_client *client);

#endif
