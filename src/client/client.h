/* The client state machine as a host sees it: bytes and time go in; bytes, events and a deadline
 * come out. It does no I/O, knows no clock and calls nothing back.
 *
 * One turn of a host:
 *
 *     m5_client_tick(client, now);                        // timers
 *     if the transport is readable:
 *         space = m5_client_read_space(client);  n = recv(fd, space.data, space.size);
 *         m5_client_received(client, n);                  // or m5_client_lost() at the end
 *     while (m5_client_next_event(client, &event))        // publish, subscribe... as one likes
 *         ...
 *     if ((bytes = m5_client_output(client)).len > 0)     // until the transport takes no more
 *         m5_client_sent(client, send(fd, bytes.data, bytes.len));
 *     if (m5_client_wants_close(client)):  close(fd);  m5_client_lost(client);
 *     sleep until input, room for output, or m5_client_deadline_ms(client)
 *
 * The session outlives connections: m5_client_open() starts the next one on a new transport.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLIENT_CLIENT_H
#define M5_CLIENT_CLIENT_H

#include <mqtt5/client.h>

struct m5_client;

/* Of @p config the host's part is not looked at; all else is copied. @p allocator is borrowed. */
enum mqtt5_error m5_client_new(const struct mqtt5_client_options *config,
                               const struct mqtt5_allocator *allocator, uint64_t now_ms,
                               struct m5_client **out);

/* Operations that are not complete die without an event: to see them end, m5_client_abandon() and
 * drain m5_client_next_event() first. NULL is accepted. */
void m5_client_free(struct m5_client *client);

/* Ends every operation with MQTT5_ERR_CLOSED and the session with them. Only when disconnected. */
void m5_client_abandon(struct m5_client *client);

/* ---- the connection ---- */

enum m5_client_start {
    M5_CLIENT_START_AS_CONFIGURED, /* Clean Start as the configuration says */
    M5_CLIENT_START_RESUME         /* Clean Start 0 */
};

/* A new transport is there: queues CONNECT [MQTT-3.1.0-1]. MQTT5_ERR_INVALID_STATE unless
 * disconnected; MQTT5_ERR_NOMEM. */
enum mqtt5_error m5_client_open(struct m5_client *client, enum m5_client_start start,
                                uint64_t now_ms);

/* The transport is gone, or was closed because m5_client_wants_close() said so. Makes a
 * DISCONNECTED event, and COMPLETED ones for what has ended with the connection. */
void m5_client_lost(struct m5_client *client);

enum mqtt5_client_state m5_client_state(const struct m5_client *client);

/* Sets the clock (a step back is ignored) and looks at keep-alive and time limits. */
void m5_client_tick(struct m5_client *client, uint64_t now_ms);

/* When m5_client_tick() must be called at the latest; UINT64_MAX = never. */
uint64_t m5_client_deadline_ms(const struct m5_client *client);

/* Everything has been sent and the connection is over: close the transport. */
bool m5_client_wants_close(const struct m5_client *client);

/* Tells whether the connection ends at once, with no last words of ours. */
bool m5_client_drops_output(const struct m5_client *client);

/* ---- bytes ---- */

/* False while nothing should be read: the output is long, or the connection is over. */
bool m5_client_wants_read(const struct m5_client *client);

struct m5_client_space {
    uint8_t *data;
    size_t size; /* 0: do not read now */
};

/* Where the next bytes from the server are to be written. Valid until the next call. */
struct m5_client_space m5_client_read_space(struct m5_client *client);

/* @p size bytes (> 0) have been written to the last m5_client_read_space(). */
void m5_client_received(struct m5_client *client, size_t size);

/* The same with a copy, for tests and simulators; gives how many bytes were taken (all, unless
 * reading is off: drain events and output, then offer the rest). */
size_t m5_client_input(struct m5_client *client, struct mqtt5_bytes bytes);

/* What is to be sent now; moves queued messages into the output while the server's Receive Maximum
 * allows. Valid until the next call other than m5_client_sent(). */
struct mqtt5_bytes m5_client_output(struct m5_client *client);

/* The first @p size bytes of the output were taken by the transport. */
void m5_client_sent(struct m5_client *client, size_t size);

/* ---- operations ---- */

/* As mqtt5_client_publish_async(). @p ctx comes back in the COMPLETED event; with NULL a QoS 0
 * message may be done without any. */
enum mqtt5_error m5_client_publish(struct m5_client *client, const struct mqtt5_publish *publish,
                                   void *ctx);

/* As mqtt5_client_subscribe_async(); while connecting or connected. */
enum mqtt5_error m5_client_subscribe(struct m5_client *client,
                                     const struct mqtt5_subscribe *subscribe, void *ctx);
enum mqtt5_error m5_client_unsubscribe(struct m5_client *client,
                                       const struct mqtt5_unsubscribe *unsubscribe, void *ctx);

/* Queues DISCONNECT behind all that may be sent now; NULL = reason code 0. */
enum mqtt5_error m5_client_disconnect(struct m5_client *client,
                                      const struct mqtt5_reasoned *disconnect);

/* ---- events ---- */

enum m5_client_event_type {
    M5_CLIENT_CONNECTED,
    M5_CLIENT_MESSAGE,
    M5_CLIENT_COMPLETED,   /* of a publish, subscribe or unsubscribe */
    M5_CLIENT_DISCONNECTED /* after m5_client_lost(); also when CONNACK refused */
};

struct m5_client_event {
    enum m5_client_event_type type;
    bool by_server;                    /* DISCONNECTED: the server sent CONNACK or DISCONNECT */
    void *ctx;                         /* COMPLETED: what the operation was given */
    struct mqtt5_client_result result; /* all but MESSAGE */
    struct mqtt5_publish publish;      /* MESSAGE */
};

/* Takes the next event; false when there is none. Its views live until the next call of this
 * function, of m5_client_read_space(), m5_client_input() or m5_client_free(). */
bool m5_client_next_event(struct m5_client *client, struct m5_client_event *out);

/* ---- looking ---- */

void m5_client_info(const struct m5_client *client, struct mqtt5_client_info *out);

/* Valid until the next CONNACK. */
struct mqtt5_bytes m5_client_id(const struct m5_client *client);

/* The host names its own reason for the end of the connection (a failed read), before lost(). */
void m5_client_fail(struct m5_client *client, enum mqtt5_error error);

/* Checks every invariant; traps when one is broken. */
void m5_client_check(const struct m5_client *client);

#endif
