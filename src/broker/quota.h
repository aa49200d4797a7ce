/* What one client, one user and one address may do in a second, and how much of it they have.
 *
 * A quota is shared by all connections it is for, on whatever shard, so its buckets are atomic
 * numbers (rate.h: 8 bytes each). A share of the rate for each shard would leave a user with one
 * connection a fraction of it; a lock would make shards wait. Quotas are found under a spin lock
 * when a client connects and when it goes, never in between. One that nobody uses is kept until its
 * buckets are full, so that coming back does not fill them: 65,536 of these at most.
 *
 * A connection has a meter only when there is something to count: without limits it costs nothing.
 * What is over a limit waits: no message is lost, and all versions of the protocol can do it. The
 * connection is not read from until what it took is paid. See enum mqtt5_rate_action for the rest.
 *
 * Addresses are those of the peer's text, IPv6 by /64; what is no address is not counted by it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_QUOTA_H
#define M5_BROKER_QUOTA_H

#include "broker/access.h"
#include "broker/alarm.h"

#include <mqtt5/allocator.h>
#include <mqtt5/broker.h>

struct m5_conn;
struct m5_engine;
struct m5_shard;

enum m5_quota_kind { M5_QUOTA_CLIENT, M5_QUOTA_USER, M5_QUOTA_ADDRESS, M5_QUOTA_KINDS };

#define M5_QUOTA_IDLE_MAX 65536u

struct m5_quota;
struct m5_quota_table;

struct m5_meter {
    struct m5_alarm alarm;
    struct m5_conn *conn;
    struct m5_quota *quotas[M5_QUOTA_KINDS]; /* NULL: not limited by it */
    uint64_t read_ms;     /* nothing is read before; M5_NEVER: nothing is waited for */
    uint64_t write_ms;    /* the same for what is sent */
    uint64_t reported_ms; /* when the log was last told; M5_NEVER: never */
};

/* NULL without memory. */
struct m5_quota_table *m5_quota_table_new(const struct mqtt5_allocator *allocator);
void m5_quota_table_free(struct m5_quota_table *table); /* accepts NULL; nothing is attached */

/* A client is about to be accepted: counts the connection and gives it a meter. False: a limit is
 * reached or there is no memory (counted), *reason is for CONNACK. A connection that the client
 * takes over does not stand in its own way. */
bool m5_quota_attach(struct m5_conn *conn, const struct m5_principal *who, uint8_t *reason);

/* The limits are others now: connections that had none are counted, too, however many there are. */
void m5_quota_revise(struct m5_shard *shard);

/* The connection is closing; harmless when it has no meter. */
void m5_quota_detach(struct m5_conn *conn);

/* Subscriptions of a user, on whatever connection: full when there may not be another one. */
bool m5_quota_subscriptions_full(struct m5_shard *shard, const struct m5_principal *who);
bool m5_quota_subscribed(struct m5_shard *shard,
                         const struct m5_principal *who); /* false: memory */
void m5_quota_unsubscribed(struct m5_shard *shard, const struct m5_principal *who);

/* The functions below are for connections that have a meter. */

/* May another message come in? Always true when what is too much waits. */
bool m5_meter_admits(const struct m5_conn *conn);

/* So many messages have come in, in so many bytes. Stops reading when it was too much and that
 * @p waits. */
void m5_meter_took(struct m5_conn *conn, uint64_t messages, uint64_t bytes, bool waits);

/* A message was refused: counts it and tells the log now and then. */
void m5_meter_refused(struct m5_conn *conn);

/* True when what it is sent is limited. */
bool m5_meter_limits_output(const struct m5_conn *conn);

/* May a message be sent now? */
bool m5_meter_open(const struct m5_conn *conn);

/* The same; when it may not, what waits is sent as soon as it may. */
bool m5_meter_wait_open(struct m5_conn *conn);

void m5_meter_sent(struct m5_conn *conn, uint64_t bytes);

/* A message of QoS 0 was dropped instead of sent: counts it. */
void m5_meter_dropped(struct m5_conn *conn);

/* Reading waits for tokens. */
static inline bool m5_meter_stops(const struct m5_meter *meter)
{
    return meter->read_ms != M5_NEVER;
}

void m5_meter_alarm(struct m5_shard *shard, struct m5_meter *meter);

#endif
