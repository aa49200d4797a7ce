/* A session: what a client has with the broker, whether it is connected or not.
 *
 * Deliveries at QoS 1 and 2 stand in one ring, oldest first, by an absolute sequence number:
 *
 *     head <= ... sent, not completed ... < sent <= ... waiting ... < tail
 *
 * The packet identifier of a delivery is its sequence number (without those that were dropped while
 * nothing was in flight) modulo 65,535, plus one: ids start at
 * 1 in each session, count up, and an acknowledgement finds its delivery by arithmetic. An id
 * cannot be in use twice because sent - head never exceeds 65,535. Deliveries that complete out of
 * order stay as M5_DELIVERY_DONE until the head reaches them.
 *
 * No id is given out while it is in use [MQTT-2.2.1-4]. A session is never discarded while its
 * connection is open [MQTT-4.1.0-1].
 *
 * When the connection is lost what was sent waits again, marked DUP, and keeps its number. On
 * resumption every PUBREL goes out again, then the PUBLISHes in order, as the window allows
 * [MQTT-4.4.0-1] [MQTT-3.3.1-1].
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_SESSION_H
#define M5_BROKER_SESSION_H

#include "base/list.h"
#include "broker/access.h"
#include "broker/alarm.h"
#include "broker/id_set.h"
#include "broker/message.h"
#include "broker/subscription.h"

struct m5_conn;
struct m5_shard;
struct m5_retained_job;

#define M5_EXPIRY_NEVER UINT32_MAX /* a Session Expiry Interval of 0xFFFFFFFF */

enum m5_delivery_state {
    M5_DELIVERY_WAITING,  /* -> SENT when the window allows, -> DONE when dropped or expired */
    M5_DELIVERY_SENT,     /* PUBLISH sent: QoS 1 -> DONE by PUBACK; QoS 2 -> RELEASED by PUBREC;
                             -> WAITING with DUP when the connection is lost */
    M5_DELIVERY_RELEASED, /* PUBREL sent: -> DONE by PUBCOMP */
    M5_DELIVERY_DONE      /* leaves when it is the head */
};

struct m5_delivery {
    struct m5_message *message; /* NULL once it is not needed any more */
    union {
        uint32_t one;
        uint32_t *many; /* id_count > 1: allocated */
    } ids;
    uint64_t ticket; /* serial of the shared subscription that it came for, to hand it back or
                        count it; 0: none */
    uint32_t id_count;
    uint8_t state; /* enum m5_delivery_state */
    uint8_t qos;
    bool retain;
    bool dup;       /* was sent on an earlier connection */
    uint8_t stored; /* enum m5_stored_body: what the store has of it */
};

/* Kept without an expiry deadline: the interval starts when the will is published. */
struct m5_will {
    struct m5_message *message;
    uint32_t delay_s;
    uint32_t expiry_s; /* Message Expiry Interval, if `expires` */
    bool expires;
};

struct m5_session {
    /* used by every delivery */
    struct m5_conn *conn;           /* NULL while offline */
    struct m5_delivery *deliveries; /* ring; NULL while empty */
    uint32_t deliveries_mask;       /* capacity - 1 */
    uint16_t inflight;              /* sent and not done */
    uint16_t window;                /* most that may be in flight */
    uint64_t head, sent, tail;
    uint64_t given;   /* every delivery below it has had a packet identifier */
    uint64_t skipped; /* numbers of deliveries that were dropped before any id was given out */
    uint64_t mark;    /* of the run that last touched this session */
    uint32_t target;  /* its place in that run's targets */
    uint32_t subscription_count, share_count;
    size_t waiting_bytes; /* of messages in state WAITING */
    uint32_t waiting;
    bool queue_full_reported;
    bool stored;       /* it outlives its connection, and there is a store: see persist.h */
    uint64_t reserved; /* the store knows that ids below this number may have been given out */
    uint64_t reserved_position; /* of the journal, which says so */
    uint64_t settled;           /* stored deliveries of QoS 2 below it may be sent */
    uint64_t position;          /* of the journal's last change that concerns it */
    struct m5_held *held;       /* what waits for the store */

    /* used now and then */
    uint64_t serial; /* 0 when the record is free */
    uint32_t hash;   /* of the client id */
    uint32_t expiry_s;
    uint64_t expires_at_ms, will_at_ms; /* while offline; M5_NEVER when not pending */
    struct m5_alarm alarm;
    struct m5_list subscriptions;
    struct m5_id_set incoming; /* QoS 2 received, PUBREL awaited */
    uint32_t incoming_stored;  /* 0: none of them is in the store */
    struct m5_will will;
    struct m5_retained_job *retained; /* what a SUBSCRIBE still has to send */
    struct m5_principal principal;    /* owned: its strings are one block, its roles another */
};

static inline uint16_t m5_packet_id_of(const struct m5_session *session, uint64_t sequence)
{
    return (uint16_t)((sequence - session->skipped) % 65535 + 1);
}

static inline struct m5_delivery *m5_delivery_at(const struct m5_session *session,
                                                 uint64_t sequence)
{
    return &session->deliveries[sequence & session->deliveries_mask];
}

static inline const uint32_t *m5_delivery_ids(const struct m5_delivery *delivery)
{
    return delivery->id_count > 1 ? delivery->ids.many : &delivery->ids.one;
}

struct m5_session *m5_session_find(const struct m5_shard *shard, struct mqtt5_bytes client_id);

/* Makes an offline session without subscriptions. NULL without memory. */
struct m5_session *m5_session_new(struct m5_shard *shard, struct mqtt5_bytes client_id,
                                  const struct mqtt5_bytes *username);

/* Its client has logged in by @p listener, which gave it @p roles (each ended by a zero). False
 * without memory: nothing has changed. */
bool m5_session_logged_in(struct m5_shard *shard, struct m5_session *session, uint16_t listener,
                          struct mqtt5_bytes roles);

/* Ends a session that has no connection: its will is published if it is still due
 * [MQTT-3.1.2-8], its subscriptions go, its shared messages go back to their groups. */
void m5_session_end(struct m5_shard *shard, struct m5_session *session);

/* Frees a session with its subscriptions and deliveries; nobody is told. */
void m5_session_bury(struct m5_shard *shard, struct m5_session *session);

/* The connection has gone (session->conn is cleared): the session ends, or waits for its expiry
 * and the will's delay. */
void m5_session_offline(struct m5_shard *shard, struct m5_session *session, bool keep_will);

/* The alarm of an offline session: will delay or expiry. */
void m5_session_alarm(struct m5_shard *shard, struct m5_session *session);

/* After a restart: its times begin to count. */
void m5_session_wake(struct m5_shard *shard, struct m5_session *session);

/* Publishes the will, if there is one, and forgets it. */
void m5_session_publish_will(struct m5_shard *shard, struct m5_session *session);
void m5_session_drop_will(struct m5_shard *shard, struct m5_session *session);

#endif
