/* A connection: input to packets, output to bytes, keep-alive.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_CONN_H
#define M5_BROKER_CONN_H

#include "base/list.h"
#include "broker/alarm.h"
#include "broker/alias.h"
#include "broker/engine.h"
#include "broker/output.h"
#include "broker/publish_frame.h"

#include <mqtt5/packet.h>

struct m5_exchange;
struct m5_session;
struct m5_suback;
struct m5_meter;

enum m5_conn_state {
    M5_CONN_NEW,    /* CONNECT awaited: -> OPEN, CLOSING, MOVING */
    M5_CONN_MOVING, /* CONNECT read, belongs to another shard: -> freed */
    M5_CONN_OPEN,   /* CONNACK sent: -> CLOSING */
    M5_CONN_CLOSING /* nothing is read; closes when the output is sent: -> freed */
};

/* Who may connect is decided at once, or by the host some time later; who is connected may prove
 * anew who it is. */
enum m5_conn_check {
    M5_CHECK_NONE,
    M5_CHECK_WANTED,    /* -> ASKED: the host has taken the credentials */
    M5_CHECK_ASKED,     /* -> ALLOWED, DENIED, CONTINUED: its answer; -> NONE when connected */
    M5_CHECK_CONTINUED, /* AUTH was sent, the client's is awaited: -> WANTED */
    M5_CHECK_ALLOWED,   /* -> NONE by CONNACK */
    M5_CHECK_DENIED
};

struct m5_conn {
    struct m5_shard *shard;
    void *host;
    struct m5_session *session; /* from CONNACK until it is detached */
    struct m5_list dirty;       /* in the shard's lists */
    struct m5_list open;
    struct m5_list leaving;
    struct m5_list resumed;
    struct m5_output output;
    uint32_t packet_size_max; /* what the peer accepts, bytes */
    uint8_t state;            /* enum m5_conn_state */
    uint8_t version;          /* 0 until CONNECT was read */
    bool paused;              /* input waits for another shard's answer */
    bool silent;              /* nothing more may be sent [MQTT-3.14.4-1] */
    bool counted;             /* its CONNECT has been, on the shard that it came from */
    bool over_limit;          /* beyond connections_max: CONNECT will be refused */
    bool problem_information; /* reason strings and user properties are wanted */
    bool will_kept;           /* false after DISCONNECT with reason code 0 */
    bool by_client;           /* the client said goodbye */
    uint8_t check;            /* enum m5_conn_check: of its credentials */
    uint8_t check_reason;     /* DENIED: what CONNACK says */
    bool corked;              /* nothing is sent before the store has the session */
    uint8_t close_reason;     /* for the log */
    bool secure;              /* nobody else can listen to the transport */
    uint16_t keep_alive_s;    /* until CONNECT is accepted: the most that the listener allows */
    uint16_t target;          /* shard, of a move */
    uint16_t listener;
    enum mqtt5_error error;         /* why it is closing, for the log */
    uint32_t input_size_max;        /* bytes of a packet of the peer */
    struct m5_exchange *exchange;   /* NULL: no name from the transport, no AUTH */
    struct m5_alias_out *alias_out; /* NULL: none wanted */
    struct m5_alias_in alias_in;
    struct m5_meter *meter; /* NULL: nothing is limited by rate */
    struct m5_alarm alarm;  /* CONNECT timeout; keep-alive; lingering */
    uint64_t last_packet_ms;
    /* a packet's beginning, while the rest has not come */
    uint8_t *partial;
    uint32_t partial_size, partial_capacity;
    uint32_t packet_awaited;  /* whole size of that packet, 0 while unknown */
    struct m5_held *held;     /* answers that wait for the store */
    struct m5_suback *suback; /* the answer to a SUBSCRIBE that waits for other shards */
    uint8_t peer_size;
    uint8_t peer[47];
};

/* Queues the connection for the host's attention. */
void m5_conn_touch(struct m5_conn *conn);

/* Room for @p size bytes of one packet, to be written at once; counted as one packet. NULL: no
 * memory (the connection is then being closed), or it may not send any more. */
uint8_t *m5_conn_packet_room(struct m5_conn *conn, size_t size);

/* Encodes and queues @p packet; Reason String and user properties are left out when the client
 * does not want them or they would make the packet too large for it. A packet that is too large
 * all the same is not sent, and counted [MQTT-3.1.2-24]. False: nothing was queued. */
bool m5_conn_send(struct m5_conn *conn, struct mqtt5_packet *packet);

/* As m5_conn_send(), for an answer that leaves when the journal's @p position is stored (0: at
 * once), and behind the answers before it. */
bool m5_conn_send_answer(struct m5_conn *conn, struct mqtt5_packet *packet, uint64_t position);

/* Queues PUBACK, PUBREC, PUBREL or PUBCOMP as an answer for @p position; 3.x has no reason codes,
 * there it is left out. */
void m5_conn_answer(struct m5_conn *conn, uint8_t type, uint16_t packet_id, uint8_t reason,
                    uint64_t position);

/* Room for @p count acknowledgements of four bytes each; NULL: see m5_conn_packet_room(). */
uint8_t *m5_conn_ack_room(struct m5_conn *conn, uint32_t count, uint64_t position);

enum m5_write { M5_WRITE_OK, M5_WRITE_TOO_LARGE, M5_WRITE_FAILED };

/* Queues a PUBLISH of this shape, with an alias where the client allows some. TOO_LARGE: more than
 * the client takes, nothing is sent [MQTT-3.1.2-24]. FAILED: see m5_conn_packet_room(). */
enum m5_write m5_conn_write_message(struct m5_conn *conn, const struct m5_message_view *message,
                                    struct m5_publish_shape *shape);

/* Closes after what is queued is sent. With @p reason >= 0x80 a DISCONNECT goes first where it may
 * (v5, after CONNACK) [MQTT-4.13.2-1] [MQTT-3.14.0-1]; @p text is its Reason String, or NULL. */
void m5_conn_close(struct m5_conn *conn, uint8_t reason, const char *text);

/* Closes because of what the peer sent. */
void m5_conn_fail(struct m5_conn *conn, enum mqtt5_error error);

/* The same; before CONNACK that carries the reason. */
void m5_conn_object(struct m5_conn *conn, enum mqtt5_error error);

/* Counts what was wrong with a packet: malformed, against the protocol, or which limit it broke. */
void m5_count_error(struct m5_shard *shard, enum mqtt5_error error);

/* Closes without another byte: memory has run out. */
void m5_conn_abort(struct m5_conn *conn);

/* Frees the answer to a SUBSCRIBE that is still waited for. */
void m5_suback_free(struct m5_conn *conn);

/* Goes on with input that waited for another shard. */
void m5_conn_resume_input(struct m5_conn *conn);

void m5_conn_alarm(struct m5_conn *conn);

/* Lets the connection's unread input be handled in the next turn. */
void m5_conn_resume_later(struct m5_conn *conn);

/* Separates the session from its connection: see m5_session_offline(). Not within a run. */
void m5_conn_detach(struct m5_conn *conn);

/* The packet handlers. The current run is flushed before all but PUBLISH. */
void m5_handle_connect(struct m5_conn *conn, const struct mqtt5_frame *frame);
void m5_handle_publish(struct m5_conn *conn, const struct mqtt5_frame *frame);
void m5_handle_subscribe(struct m5_conn *conn, const struct mqtt5_subscribe *packet);
void m5_handle_unsubscribe(struct m5_conn *conn, const struct mqtt5_unsubscribe *packet);

#endif
