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
    M5_CLIENT_START_RESUME         /* Clean Start 0, while there is a session to resume */
};

/* Says whether another connection will follow the one that ends: subscriptions then wait for it
 * instead of ending as MQTT5_ERR_CLOSED. Going from true to false ends those that wait. */
void m5_client_set_returning(struct m5_client *client, bool returning);

/* User name and password for connections to come, instead of the configuration's; copied. NULL: the
 * configuration's. False without memory: as before. */
bool m5_client_set_credentials(struct m5_client *client, const char *username,
                               const char *password);

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

/* Gives buffers back that hold nothing: the host is going to sleep, and idle should be free. */
void m5_client_relax(struct m5_client *client);

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

/* Queues PINGREQ; COMPLETED comes with its PINGRESP. MQTT5_ERR_INVALID_STATE, _NOMEM. */
enum mqtt5_error m5_client_ping(struct m5_client *client, void *ctx);

/* A connection has begun and its CONNECT waits for Authentication Data: m5_client_auth(). */
bool m5_client_wants_auth(const struct m5_client *client);

/* Answers the AUTH event that was shown last, with data.data NULL for none; _reauthenticate begins
 * an exchange, whose end is COMPLETED. MQTT5_ERR_INVALID_STATE when it is not our turn. */
enum mqtt5_error m5_client_auth(struct m5_client *client, struct mqtt5_bytes data);
enum mqtt5_error m5_client_reauthenticate(struct m5_client *client, struct mqtt5_bytes data,
                                          void *ctx);

/* Ends the exchange that m5_client_reauthenticate() has begun, with COMPLETED. */
void m5_client_auth_done(struct m5_client *client, enum mqtt5_error error);

/* As mqtt5_message_defer(), for the message that is being shown, and mqtt5_client_ack(). */
enum mqtt5_error m5_client_defer(struct m5_client *client, uint64_t number);
enum mqtt5_error m5_client_acknowledge(struct m5_client *client, uint64_t number,
                                       uint8_t reason_code);

/* Half of the queue is free. */
bool m5_client_has_room(const struct m5_client *client);

/* Queues DISCONNECT behind all that may be sent now; NULL = reason code 0. */
enum mqtt5_error m5_client_disconnect(struct m5_client *client,
                                      const struct mqtt5_reasoned *disconnect);

/* ---- events ---- */

enum m5_client_event_type {
    M5_CLIENT_CONNECTED,
    M5_CLIENT_MESSAGE,
    M5_CLIENT_COMPLETED,    /* of a publish, subscribe, unsubscribe, ping or reauthentication */
    M5_CLIENT_RESUBSCRIBED, /* a subscription was made again, or could not be */
    M5_CLIENT_AUTH,         /* 0x18: answer with m5_client_auth(); 0: accepted */
    M5_CLIENT_DISCONNECTED  /* after m5_client_lost(); also when CONNACK refused */
};

struct m5_client_event {
    enum m5_client_event_type type;
    bool by_server;                    /* DISCONNECTED: the server sent CONNACK or DISCONNECT */
    void *ctx;                         /* COMPLETED: what the operation was given */
    struct mqtt5_client_result result; /* all but MESSAGE */
    uint64_t number;                   /* MESSAGE: for m5_client_defer(); 0: it cannot be */
    union {
        struct mqtt5_publish publish; /* MESSAGE */
        struct mqtt5_bytes filters;   /* RESUBSCRIBED: for mqtt5_subscribe_next() */
    };
};

/* Takes the next event; false when there is none. Its views live until the next call of this
 * function, of m5_client_read_space(), m5_client_input() or m5_client_free(). */
bool m5_client_next_event(struct m5_client *client, struct m5_client_event *out);

/* ---- looking ---- */

/* Views are not in it: what they pointed at is the caller's of m5_client_new(). */
const struct mqtt5_client_options *m5_client_options(const struct m5_client *client);

void m5_client_info(const struct m5_client *client, struct mqtt5_client_info *out);

/* Valid until the next CONNACK. */
struct mqtt5_bytes m5_client_id(const struct m5_client *client);

/* The host names its own reason for the end of the connection (a failed read), before lost(). */
void m5_client_fail(struct m5_client *client, enum mqtt5_error error);

/* Checks every invariant; traps when one is broken. */
void m5_client_check(const struct m5_client *client);

#endif
