/* The inside of struct mqtt5_client, shared by the files of this folder.
 *
 * One lock guards everything. It is held while the engine works and sockets are read and written
 * (none of that blocks), and given up to sleep and to call back.
 *
 * Exactly one thread at a time is the pump: it does turns (timers, sockets, events, callbacks) and
 * sleeps between them. It is the client's own thread, the thread of its loop, or whoever is inside
 * mqtt5_client_process() or a blocking form while nobody else is. Only the pump reads input and
 * takes events, so the views it shows to callbacks stay valid while the lock is open to others, who
 * may publish meanwhile.
 *
 * Locks are taken in this order: client, resolution, loop.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_HOST_H
#define M5_HOST_CLIENT_HOST_H

#include "base/list.h"
#include "base/timer.h"
#include "client/backoff.h"
#include "client/client.h"
#include "client/route.h"
#include "host/client/link.h"
#include "host/client/stack.h"

#include <pthread.h>
#include <stdatomic.h>

/* An operation somebody waits for or wants to be called back about. */
struct m5_client_op {
    mqtt5_client_done_fn *done; /* NULL: a blocking form waits, or nobody does */
    void *ctx;
    uint64_t spooled; /* id of the message in the queue file; 0: it is not there */
    bool waited_for;  /* a blocking form owns it; else it is freed when it ends */
    bool finished;
    enum mqtt5_error error;
    uint8_t reason_code;
    uint16_t packet_id;
    uint32_t count; /* of reason_codes[] */
    uint8_t reason_codes[];
};

/* Who gets the messages of one filter. */
struct m5_client_handler {
    struct m5_list node;
    struct m5_route_entry route; /* only of one that has a function */
    uint64_t number;             /* in the order of subscription */
    mqtt5_message_fn *fn;        /* NULL: the configuration's */
    void *ctx;
    struct m5_client_op *op;      /* the SUBSCRIBE, until its answer */
    struct m5_client_op *leaving; /* an UNSUBSCRIBE, until its answer */
    uint32_t index;               /* of the filter in its SUBSCRIBE */
    size_t filter_size;           /* bytes */
    uint8_t filter[];
};

/* How a client comes to its connection, and comes back to it. */
struct m5_client_course {
    bool wanted;   /* connect, and stay connected */
    bool made;     /* has been connected since the user asked */
    bool waiting;  /* for retry_at_ms */
    bool away;     /* at a server that we were sent to for now, not at `home` */
    uint32_t hops; /* redirections in a row */
    uint64_t retry_at_ms;
    uint64_t connected_at_ms; /* 0: not since the last attempt */
    struct m5_backoff backoff;
    char *home, *url; /* where the user, or Server Moved, wants us; where we go now; NULL */
};

struct m5_client_requests; /* request.c */
struct m5_client_mock;     /* mock.c */
struct m5_spool;

struct mqtt5_client {
    const struct mqtt5_allocator *allocator;
    struct m5_client *engine;
    const struct mqtt5_client_options *config; /* the engine's copy; its views are not used, but for
                                                  `rules`, and the functions and their contexts */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* an operation has finished, the pump is free, there is room */
    int epoll_fd, wake_fd;  /* -1 for a client of a loop */
    bool fd_given;          /* the user's loop watches epoll_fd */
    bool wake_pending;

    pthread_t thread; /* the own one */
    bool has_thread, stopping;
    pthread_t pump; /* who it is, while pumping */
    bool pumping, calling_back, sleeping;
    uint32_t waiters; /* threads inside a blocking form; the client is not freed under them */
    bool free_asked;  /* by a callback */
    bool ending;      /* being freed: the queue file keeps what is not complete */

    /* with a loop; guarded by its lock: woken, woken_node; of its thread: the rest */
    struct mqtt5_client_loop *loop;
    struct m5_list woken_node, run_node;
    struct m5_timer timer;
    bool woken, leaving, left;

    struct m5_link link;
    struct m5_client_stack *stack;
    bool ready;                  /* the link's descriptor may have something for us */
    uint64_t linger_deadline_ms; /* while lingering */
    struct m5_client_course course;
    struct m5_client_op *connecting; /* the operation that mqtt5_client_connect() waits for */
    bool stopped_due;                /* a change to DISCONNECTED that is no engine's event */

    struct m5_list handlers;
    struct m5_route route;
    uint64_t handler_count_ever;
    uint64_t message_number;             /* of the message that callbacks look at; 0 = none */
    bool room_wanted;                    /* somebody was told that the queue is full */
    struct m5_client_requests *requests; /* NULL: none yet */
    struct m5_client_mock *mock;         /* NULL: a real one */
    struct m5_spool *spool;              /* NULL: none */
    char *response_prefix;               /* Response Information of the server; NULL */
    char *options_url;                   /* options.url; NULL */
    char why[320];
    bool why_said; /* by the link, of the connection that ends */
};

/* mqtt5_client_new(), with a mock's inside or NULL, which is taken when this succeeds. */
enum mqtt5_error m5_client_host_new(const struct mqtt5_client_options *options,
                                    struct m5_client_mock *mock, struct mqtt5_client **out);

uint64_t m5_client_host_clock_ms(void);

/* The client's time: of the clock, or of its mock. */
uint64_t m5_client_host_now(const struct mqtt5_client *client);

extern const struct mqtt5_allocator m5_client_host_malloc;

/* ---- operation.c ---- */

/* NULL without memory. @p count reason codes will be kept. */
struct m5_client_op *m5_client_host_op_new(struct mqtt5_client *client, mqtt5_client_done_fn *done,
                                           void *ctx, uint32_t count);
void m5_client_host_op_free(struct mqtt5_client *client, struct m5_client_op *op);

/* Ends @p op (may be NULL): wakes who waits, or calls back with the lock open, and frees it. */
void m5_client_host_op_finish(struct mqtt5_client *client, struct m5_client_op *op,
                              const struct mqtt5_client_result *result);

/* ---- dispatch.c ---- */

/* Opens the lock for a callback, and closes it behind. */
void m5_client_host_call_begin(struct mqtt5_client *client);
void m5_client_host_call_end(struct mqtt5_client *client);

/* Shows @p event to the user: callbacks run with the lock open. */
void m5_client_host_dispatch(struct mqtt5_client *client, const struct m5_client_event *event);

/* ---- handler.c ---- */

/* Adds a handler for every filter of @p subscribe; @p handlers has one for each, or one for all.
 * On failure settle_handlers() with op->error set takes back those that were added. */
enum mqtt5_error m5_client_host_add_handlers(struct mqtt5_client *client,
                                             const struct mqtt5_subscribe *subscribe,
                                             const struct mqtt5_subscription_handler *handlers,
                                             bool each, struct m5_client_op *op);

/* Takes back the handlers of a SUBSCRIBE that failed, or whose filter was refused; those that were
 * granted take the place of older ones for the same filter. */
void m5_client_host_settle_handlers(struct mqtt5_client *client, const struct m5_client_op *op);

void m5_client_host_mark_leaving(struct mqtt5_client *client,
                                 const struct mqtt5_unsubscribe *unsubscribe,
                                 struct m5_client_op *op);

/* Removes the handlers of @p filter. */
void m5_client_host_drop_filter(struct mqtt5_client *client, struct mqtt5_bytes filter);
void m5_client_host_free_handlers(struct mqtt5_client *client);

/* ---- connection.c ---- */

/* Starts towards @p url (NULL: options.url); @p op gets the end of the first connection. */
enum mqtt5_error m5_client_host_connect(struct mqtt5_client *client, const char *url,
                                        struct m5_client_op *op);

/* The user wants no connection any more. Tells nobody. */
void m5_client_host_stop(struct mqtt5_client *client);

/* Starts the next attempt when it is time, and carries on the one under way. */
void m5_client_host_advance(struct mqtt5_client *client);

/* A connection has ended: what now. Fills in what the user is told. */
void m5_client_host_decide(struct mqtt5_client *client, const struct m5_client_event *event,
                           struct mqtt5_client_change *change);
void m5_client_host_connected(struct mqtt5_client *client, const struct m5_client_event *event);

enum mqtt5_client_state m5_client_host_state(const struct mqtt5_client *client);

/* Neither connected nor on the way to it. */
bool m5_client_host_is_down(const struct mqtt5_client *client);

/* The connection could not be made or has failed: @p why in words; as an error of the network, or
 * as @p failure has it. */
void m5_client_host_fail_link(struct mqtt5_client *client, const char *why);
void m5_client_host_fail_link_as(struct mqtt5_client *client,
                                 const struct m5_link_failure *failure);

/* The same, with the server's URL before the words. */
void m5_client_host_fail_at_url(struct mqtt5_client *client, const struct m5_link_failure *failure);

/* The connection is over: closes the link and tells the engine. */
void m5_client_host_drop_link(struct mqtt5_client *client);

/* Does a step of an exchange of AUTH packets. */
void m5_client_host_auth(struct mqtt5_client *client, enum mqtt5_auth_step step,
                         struct mqtt5_bytes data);

/* ---- pump.c ---- */

/* One turn: timers, link, input, events, output. Lock held, pump only. True when something was
 * shown to the user or changed its state. */
bool m5_client_host_turn(struct mqtt5_client *client);

/* Tells the epoll what to wait for. */
void m5_client_host_watch(struct mqtt5_client *client);

/* In how many milliseconds a turn is due, at most @p timeout_ms; -1: never. */
int m5_client_host_wait_ms(struct mqtt5_client *client, uint32_t timeout_ms);

/* Sleeps until there is something to do, for at most @p timeout_ms (MQTT5_FOREVER: no limit). */
void m5_client_host_sleep(struct mqtt5_client *client, uint32_t timeout_ms);

/* Lets the pump look again, unless that is the caller. Lock held. */
void m5_client_host_nudge(struct mqtt5_client *client);

/* The same without the lock, from any thread. */
void m5_client_host_wake(void *client);

/* Tells whether the caller is in a callback of @p client, or would wait for its own thread. Lock
 * held. */
bool m5_client_host_in_callback(const struct mqtt5_client *client);
bool m5_client_host_may_not_wait(const struct mqtt5_client *client);

/* Shows every event that is due. */
bool m5_client_host_drain(struct mqtt5_client *client);

/* ---- wait.c ---- */

/* What a blocking form waits for. */
typedef bool m5_client_over_fn(const struct mqtt5_client *client, const void *ctx);

void m5_client_host_pump_begin(struct mqtt5_client *client);
void m5_client_host_pump_end(struct mqtt5_client *client);

/* Waits, as the pump while nobody else is. False after the deadline, or when the client is to be
 * freed. */
bool m5_client_host_wait(struct mqtt5_client *client, m5_client_over_fn *is_over, const void *ctx,
                         uint32_t timeout_ms);

/* Waits for @p op, which is then freed, or left to whoever finishes it. */
enum mqtt5_error m5_client_host_await(struct mqtt5_client *client, struct m5_client_op *op,
                                      uint32_t timeout_ms, struct m5_client_op *out,
                                      uint8_t *reasons);

/* Leaves a blocking form: lets the lock go, or frees the client as a callback has asked for. */
enum mqtt5_error m5_client_host_leave(struct mqtt5_client *client, enum mqtt5_error error);

/* Gives everything back; the lock is held, nobody else is inside. */
void m5_client_host_destroy(struct mqtt5_client *client);

/* ---- publish.c ---- */

/* Queues a message, or is told of the fault. @p op may be NULL. */
enum mqtt5_error m5_client_host_publish(struct mqtt5_client *client,
                                        const struct mqtt5_publish *publish,
                                        struct m5_client_op *op);

/* ---- request.c ---- */

uint64_t m5_client_host_requests_deadline_ms(const struct mqtt5_client *client);
void m5_client_host_requests_expire(struct mqtt5_client *client);
void m5_client_host_requests_free(struct mqtt5_client *client);

/* There is no connection any more, and none will follow by itself. */
void m5_client_host_requests_down(struct mqtt5_client *client);

/* ---- subscribe.c ---- */

/* Subscribes, with a handler for each filter or one for all; frees @p op on failure. */
enum mqtt5_error m5_client_host_subscribe(struct mqtt5_client *client,
                                          const struct mqtt5_subscribe *subscribe,
                                          const struct mqtt5_subscription_handler *handlers,
                                          bool each, struct m5_client_op *op);

/* ---- loop.c ---- */

bool m5_client_host_on_loop_thread(const struct mqtt5_client *client);
void m5_client_host_loop_add(struct mqtt5_client *client);
void m5_client_host_loop_wake(struct mqtt5_client *client);

/* Takes @p client off its loop; on the loop's thread at once, else waits for that. Lock held. */
void m5_client_host_loop_leave(struct mqtt5_client *client);

#endif
