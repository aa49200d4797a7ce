/* The inside of a client, shared by the files of this folder.
 *
 * Who owns what: a request lies in exactly one list: waiting or control (WAITING), sent (SENT),
 * released (RELEASED), done (DONE), or it is `current`, whose event the user is looking at. One
 * that has a packet identifier is in the window as well. SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef M5_CLIENT_STATE_H
#define M5_CLIENT_STATE_H

#include "client/alias.h"
#include "client/buffer.h"
#include "client/client.h"
#include "client/defer.h"
#include "client/subscription.h"
#include "client/window.h"

#define M5_CLIENT_OUTPUT_LOW (64u << 10) /* bytes: more messages are encoded below this */
#define M5_CLIENT_OUTPUT_HIGH \
    (256u << 10) /* bytes: above, nothing is read: answers would pile up */
#define M5_CLIENT_READ_SIZE      (32u << 10)  /* bytes asked for at least at a time */
#define M5_CLIENT_BUFFER_KEEP    (256u << 10) /* bytes of an empty buffer that are kept */
#define M5_CLIENT_CLOSE_GRACE_MS 5000u /* without progress, the rest of the output is given up */
#define M5_CLIENT_RECEIVED_SIZE  8192u /* bytes: a bit for each packet identifier */

/* How the connection ended, or is ending. */
struct m5_client_ending {
    bool known;
    bool by_server;
    enum mqtt5_error error;
    uint8_t reason_code;
    struct mqtt5_properties properties; /* views into the input, which is left alone from then on */
};

struct m5_client {
    const struct mqtt5_allocator *allocator;
    struct mqtt5_client_options config; /* its pointers are not used: see connect_packet */
    uint8_t version;
    uint8_t *connect_packet; /* CONNECT as configured, encoded: the copy of all its strings */
    size_t connect_size;
    uint8_t *credentials; /* user name and password of the URL, which go before; NULL: none */
    size_t username_size, credentials_size; /* the password is the rest */
    bool has_url_password;
    bool returning;       /* another connection is to follow: operations may wait for it */
    uint8_t *assigned_id; /* by the server; NULL: none */
    size_t assigned_id_size;
    uint64_t now_ms;

    /* the connection */
    enum mqtt5_client_state state;
    bool connack_seen;
    bool sent_clean_start;
    bool has_spoken;  /* bytes of the CONNECT are out */
    bool drop_output; /* CLOSING: do not send what is left */
    bool ping_outstanding;
    bool auth_turn;   /* an AUTH of the server waits for ours, or CONNECT for data */
    bool connect_due; /* the latter */
    size_t ping_left; /* bytes of the output up to the end of the PINGREQ; 0: it is out */
    uint32_t pings_sent, pings_answered;
    uint32_t alias_misses; /* topics that found no alias free */
    struct m5_client_buffer in, out;
    struct m5_client_buffer past; /* the input of the connection before, for views on its end */
    size_t in_consumed;           /* bytes of the packet whose event the user is looking at */
    uint32_t in_needed;           /* size of the packet that is not complete yet, 0 = not known */
    uint64_t opened_at_ms, received_at_ms, sent_at_ms, pinged_at_ms, progress_at_ms;
    struct m5_client_aliases aliases_in, aliases_out;
    struct m5_client_ending ending;
    bool disconnected_event; /* is due */

    /* agreed with the server; of the last connection while there is none */
    struct mqtt5_client_info info;
    bool wildcards, identifiers, shared; /* subscriptions that the server takes */

    /* the session */
    bool has_session;
    struct m5_list waiting;  /* PUBLISH, first those to be sent again, in their first order */
    struct m5_list control;  /* SUBSCRIBE, UNSUBSCRIBE not sent yet */
    struct m5_list sent;     /* in the order they were sent */
    struct m5_list released; /* in the order of their PUBREC */
    struct m5_list done;     /* events to come */
    struct m5_list pings;    /* of the user, SENT, in their order */
    struct m5_client_request *reauth; /* SENT: an exchange of the user's; NULL: none */
    uint32_t dropped;                 /* requests in `done` that made room */
    struct m5_client_request *current;
    struct m5_client_window window;
    uint32_t inflight;     /* PUBLISH packets that count against the server's Receive Maximum */
    uint8_t *received_ids; /* bitmap: QoS 2 received, PUBREL not yet; NULL: never any */
    uint32_t received_count;
    struct m5_client_deferrals deferrals;
    struct m5_client_subscriptions subscriptions;
    uint64_t shown;                 /* number of the message the user is looking at; 0: none */
    struct mqtt5_bytes auth_method; /* view into connect_packet; empty: none */
};

/* ---- client.c ---- */

/* Ends the connection because of @p error: a DISCONNECT that says so, where one may be sent. */
void m5_client_close_with(struct m5_client *client, enum mqtt5_error error);

/* Ends the connection without sending what is left. */
void m5_client_close_now(struct m5_client *client, const struct m5_client_ending *ending);

/* Drops the event the user has seen: its request and its packet. */
void m5_client_release(struct m5_client *client);

/* Frees a request that is in no list. */
void m5_client_drop_request(struct m5_client *client, struct m5_client_request *request);

/* ---- queue.c ---- */

/* Makes a request of @p packet and puts it at the end of @p list. */
enum mqtt5_error m5_client_enqueue(struct m5_client *client, const struct mqtt5_packet *packet,
                                   uint16_t alias, void *ctx, struct m5_list *list);

/* Adds a bare request of @p kind, one that has no packet of its own. NULL without memory. */
struct m5_client_request *m5_client_bare_request(struct m5_client *client, uint8_t kind, void *ctx);

/* Ends what has expired and is not sent yet. */
void m5_client_expire(struct m5_client *client);

/* Writes what is left of its expiry interval into a request; false when nothing is. */
bool m5_client_age(struct m5_client *client, struct m5_client_request *request);

/* ---- event.c ---- */

/* Fills in the properties of a result, and the reason string out of them. */
void m5_client_set_properties(struct mqtt5_client_result *result,
                              const struct mqtt5_properties *properties);

/* Makes @p event tell of a subscription that was made again: @p request has ended. */
void m5_client_describe_resubscription(const struct m5_client *client,
                                       const struct m5_client_request *request,
                                       struct m5_client_event *event);

/* ---- time.c ---- */

/* Queues PINGREQ; false without memory: the connection has ended. */
bool m5_client_send_ping(struct m5_client *client);

/* ---- session.c: what outlives a connection ---- */

/* Ends @p request (in any list but done): its COMPLETED event will come. */
void m5_client_finish(struct m5_client *client, struct m5_client_request *request,
                      enum mqtt5_error error, uint8_t reason_code);

/* Takes @p request out of its list and the window, and out of the server's quota. */
void m5_client_unlink(struct m5_client *client, struct m5_client_request *request);

/* The connection is over: what can be resumed is put back, the rest is finished. */
void m5_client_session_suspend(struct m5_client *client);

/* No other connection will follow: subscriptions that wait for one end. */
void m5_client_session_end_control(struct m5_client *client);

/* The server has kept the session: PUBRELs go out again; messages will, in order. */
void m5_client_session_resume(struct m5_client *client);

/* There is no session any more, on either side [MQTT-3.2.2-5] [MQTT-3.1.2-4]. */
void m5_client_session_discard(struct m5_client *client);

/* QoS 2 identifiers received and not released. Adding is false without memory. */
bool m5_client_received_has(const struct m5_client *client, uint16_t id);
bool m5_client_received_add(struct m5_client *client, uint16_t id);
void m5_client_received_remove(struct m5_client *client, uint16_t id);
void m5_client_received_forget(struct m5_client *client);

/* ---- send.c ---- */

/* Appends @p packet to the output. False without memory; then the connection is ended. */
bool m5_client_send_packet(struct m5_client *client, const struct mqtt5_packet *packet);

/* Appends a PUBACK, PUBREC, PUBREL or PUBCOMP; ends the connection without memory. */
void m5_client_send_ack(struct m5_client *client, uint8_t type, uint16_t id, uint8_t reason_code);

/* Moves what may be sent into the output until that holds @p output_max bytes. */
void m5_client_transmit(struct m5_client *client, size_t output_max);

/* Whether the server takes such a PUBLISH: MQTT5_OK, _UNSUPPORTED, _PACKET_TOO_LARGE. */
enum mqtt5_error m5_client_allowed(const struct m5_client *client, uint8_t qos, bool retain,
                                   size_t size, uint8_t *reason_code);

/* ---- auth.c ---- */

/* Whether @p properties carry the method that we asked for [MQTT-4.12.0-5]. */
bool m5_client_auth_matches(const struct m5_client *client,
                            const struct mqtt5_properties *properties);

/* Takes AUTH; *show: @p event is to be shown. */
enum mqtt5_error m5_client_take_auth(struct m5_client *client, const struct mqtt5_reasoned *auth,
                                     struct m5_client_event *event, bool *show);

/* ---- acknowledge.c: messages whose acknowledgement waits ---- */

/* As m5_client_defer() may be called for it; false without memory: acknowledge it now. */
bool m5_client_deferrals_add(struct m5_client *client, const struct mqtt5_publish *publish,
                             struct m5_client_event *event);

/* The user has seen message @p number: unless deferred, it is acknowledged. */
void m5_client_deferrals_seen(struct m5_client *client, uint64_t number);

/* A QoS 2 message that came on an earlier connection is here again. */
bool m5_client_deferrals_again(struct m5_client *client, const struct mqtt5_publish *publish);

/* The connection is over; @p kept: the session is not. */
void m5_client_deferrals_lost(struct m5_client *client, bool kept);
void m5_client_deferrals_lapse(struct m5_client *client);

/* ---- subscription.c ---- */

/* Remembers or forgets what @p request, a SUBSCRIBE or UNSUBSCRIBE, has been granted. False without
 * memory. */
bool m5_client_subscriptions_settle(struct m5_client *client,
                                    const struct m5_client_request *request,
                                    struct mqtt5_bytes reason_codes);

/* Queues SUBSCRIBEs for all that is remembered. False without memory. */
bool m5_client_resubscribe(struct m5_client *client);

/* ---- connect.c ---- */

/* Encodes the configuration as a CONNECT and reads it back. */
enum mqtt5_error m5_client_make_connect(struct m5_client *client,
                                        const struct mqtt5_client_options *config);

/* Queues CONNECT, from the copy that make_connect() made. */
bool m5_client_send_connect(struct m5_client *client, struct mqtt5_bytes auth_data);

/* Takes CONNACK; true: @p event is to be shown. */
bool m5_client_take_connack(struct m5_client *client, const struct mqtt5_connack *connack,
                            struct m5_client_event *event);

/* ---- receive.c ---- */

/* Handles one packet; true: @p event is to be shown. */
bool m5_client_take_packet(struct m5_client *client, const struct mqtt5_frame *frame,
                           struct m5_client_event *event);

#endif
