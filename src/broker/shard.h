/* What a shard owns. Internal to the engine: hosts see engine.h.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_SHARD_H
#define M5_BROKER_SHARD_H

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/rng.h"
#include "broker/access.h"
#include "broker/conn.h"
#include "broker/control.h"
#include "broker/delivery.h"
#include "broker/engine.h"
#include "broker/exchange.h"
#include "broker/hold.h"
#include "broker/journal.h"
#include "broker/mail.h"
#include "broker/message.h"
#include "broker/persist.h"
#include "broker/quota.h"
#include "broker/retained.h"
#include "broker/run.h"
#include "broker/session.h"
#include "broker/share.h"

#define M5_READ_BUFFER (256u * 1024u)

/* Output beyond this waits as references to messages instead of as bytes. */
#define M5_OUTPUT_HIGH_WATER (256u * 1024u)

#define M5_EVENTS_MAX 256u

struct m5_counters {
#define X(name) _Atomic uint64_t name;
    M5_STATS_TABLE(X)
#undef X
};

struct m5_sys;

struct m5_shard {
    struct m5_engine *engine;
    const struct mqtt5_broker_config *config; /* = &live */
    struct mqtt5_broker_config live; /* the engine's, with what m5_shard_reconfigure() took */
    const struct m5_access *access;
    uint32_t index;
    bool draining;
    uint64_t now_ms;
    struct m5_budget budget;
    const struct mqtt5_allocator *allocator; /* = &budget.table */
    size_t memory_soft; /* bytes beyond which nothing new is taken: 7/8 of the budget */
    struct m5_rng rng;
    struct m5_timer_wheel wheel;

    struct m5_list dirty;     /* connections with something for the host */
    struct m5_list open;      /* all connections */
    struct m5_list leaving;   /* closing connections whose session is still to be detached */
    struct m5_list resumed;   /* connections whose unread input may be handled now */
    struct m5_list checks;    /* connections whose credentials are to be checked; by `resumed` */
    struct m5_list exchanges; /* of connected clients that have sent AUTH; by `node` */
    struct m5_list groups;    /* shared subscription groups whose home this is */
    uint32_t conn_count;

    struct m5_map sessions;      /* by client id */
    struct m5_map subscriptions; /* by session, filter and share name */
    struct m5_map shared;        /* shared subscriptions by serial number */
    uint64_t serial;             /* of m5_serial_next() */
    uint32_t logins;             /* of m5_login_next() */
    uint64_t mark;               /* of the current run, for sessions seen */

    struct m5_pool conn_pool, session_pool, subscription_pool;
    struct m5_journal journal;
    struct m5_holds holds;         /* until it is durable */
    struct m5_holds relaxed_holds; /* until it is written */
    uint64_t alive_ms;             /* when the store was last told that we live; 0: never */
    uint64_t ended_position;       /* of the journal, where the last stored session ended */
    struct m5_lingerers lingerers; /* stored subscriptions whose end is not stored yet */
    uint32_t stored_sessions;      /* sessions that are stored */
    bool retained_set;             /* a retained message that is stored, by the run that comes */
    struct m5_chunk_store chunks;
    struct m5_message_store messages;
    struct m5_run run;      /* of the connection whose input is being read */
    struct m5_run mail_run; /* of mail, wills, $SYS */
    uint8_t *read_buffer;
    const uint8_t *read_base; /* what the last m5_conn_read_space() belongs to */

    struct m5_channel *out; /* by receiver: channels that this shard sends on */
    uint8_t apart[64];      /* what other shards write has a cache line of its own */
    _Atomic bool woken;     /* a sender has asked for a wake that has not been seen */
    uint8_t apart_too[63];
    uint64_t mailed;   /* messages taken in from other shards */
    uint64_t poked_ms; /* last time other shards were woken to free garbage */

    struct m5_event *events; /* ring; NULL when the host wants none */
    uint32_t event_first, event_count;

    struct m5_alarm upkeep;
    struct m5_sys *sys; /* shard 0 */
    struct m5_controls_waiting controls;
    struct m5_counters counters;
};

struct m5_engine {
    struct mqtt5_broker_config config;
    char *response_information; /* owned copy */
    const struct mqtt5_allocator *allocator;
    uint32_t shard_count;
    struct m5_hash_key key;    /* of tables */
    struct m5_hash_key id_key; /* of assigned client ids */
    struct m5_access access;   /* what a host without a policy gets */
    char *control_topic;       /* owned copy, or NULL */
    uint64_t started_ms;
    uint64_t wall_ms;      /* what to add to now_ms to have the wall clock's time */
    size_t rules_size;     /* of config.durability_rules, an owned copy */
    uint32_t placed_count; /* shards of the broker whose store this was */
    struct m5_index *routes;
    struct m5_retained_store *retained;
    struct m5_quota_table *quotas;
    struct m5_channel *channels; /* shard_count squared: [from][to] */
    struct m5_shard *shards;
};

static inline void m5_add(_Atomic uint64_t *counter, uint64_t amount)
{
    /* One writer: a plain add that other threads may read at any time. */
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + amount, memory_order_relaxed);
}

static inline uint64_t m5_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#define M5_COUNT(shard, name, amount)   m5_add(&(shard)->counters.name, (uint64_t)(amount))
#define M5_UNCOUNT(shard, name, amount) m5_add(&(shard)->counters.name, -(uint64_t)(amount))

/* A number that no session, subscription or record of this broker ever had, on any shard. */
static inline uint64_t m5_serial_next(struct m5_shard *shard)
{
    return ++shard->serial * M5_SHARDS_MAX + shard->index;
}

/* A principal's serial; when the numbers run out there is none any more. */
static inline uint32_t m5_login_next(struct m5_shard *shard)
{
    if (shard->logins < UINT32_MAX)
        shard->logins++;
    return shard->logins == UINT32_MAX ? 0 : shard->logins;
}

static inline uint64_t m5_shard_hash(const struct m5_shard *shard, struct mqtt5_bytes bytes)
{
    return m5_hash(&shard->engine->key, bytes);
}

static inline struct mqtt5_decode_limits m5_shard_limits(const struct m5_shard *shard)
{
    return (struct mqtt5_decode_limits){.user_properties_max = shard->config->user_properties_max,
                                        .topic_levels_max = shard->config->topic_levels_max};
}

/* A stored subscription that @p match has found, on this shard, may only linger. */
static inline bool m5_lingers_here(const struct m5_shard *shard, const struct m5_match *match)
{
    return (match->stored >> shard->index & 1) != 0 &&
           shard->lingerers.head != shard->lingerers.tail;
}

/* The session's connection if packets may be sent on it, else NULL. */
static inline struct m5_conn *m5_session_conn(const struct m5_session *session)
{
    struct m5_conn *conn = session->conn;
    return conn != NULL && conn->state == M5_CONN_OPEN ? conn : NULL;
}

/* The shard that has the session of @p client_id in a broker of @p count shards. */
static inline uint32_t m5_place_of(const struct m5_shard *shard, struct mqtt5_bytes client_id,
                                   uint32_t count)
{
    return (uint32_t)((m5_shard_hash(shard, client_id) >> 32) % count);
}

#define M5_PLACED_ANYWHERE UINT32_MAX

/* The shard that had the session in the broker whose store this was. */
static inline uint32_t m5_placed_on(const struct m5_shard *shard, const struct m5_session *session)
{
    return m5_place_of(shard, session->principal.client_id, shard->engine->placed_count);
}

/* May this session be sent @p count messages of @p topic now? Asked for each delivery on every
 * path: live, queued, sent again, retained, shared. Refusals are counted. */
static inline bool m5_may_deliver(struct m5_shard *shard, const struct m5_session *session,
                                  struct mqtt5_bytes topic, uint32_t count)
{
    const struct m5_access *access = shard->access;
    if (M5_LIKELY(access->allow_everything) ||
        access->deliver(access->ctx, &session->principal, topic) == M5_ACCESS_ALLOW)
        return true;
    M5_COUNT(shard, denied_deliver, count);
    return false;
}

/* Detaches sessions of connections that are closing; may publish wills. Not within a run. */
void m5_shard_settle(struct m5_shard *shard);

/* A place for an event, cleared, or NULL (not wanted, or too many). */
struct m5_event *m5_event_new(struct m5_shard *shard, enum m5_event_type type,
                              const struct m5_conn *conn);
void m5_event_text(uint8_t *out, size_t max, size_t *size, struct mqtt5_bytes text);
void m5_event_limit(struct m5_shard *shard, const struct m5_conn *conn, const char *name);

/* Bytes that the whole engine holds; and whether @p more would exceed memory_max. */
size_t m5_engine_memory(const struct m5_engine *engine);
bool m5_engine_memory_full(const struct m5_engine *engine);

/* Topics that belong to the server: no client publishes there. */
bool m5_topic_reserved(struct mqtt5_bytes topic);

/* True when all of @p properties is for subscribers as it is. */
bool m5_properties_forwardable(const struct mqtt5_properties *properties);

/* A message with the properties that are for subscribers, and a view's other parts. NULL without
 * memory. */
struct m5_message *m5_message_of(struct m5_shard *shard, const struct m5_message_view *view,
                                 const struct mqtt5_properties *properties);

/* Stores @p view as the retained message of its topic; false when a limit refuses it (counted). */
bool m5_retain(struct m5_shard *shard, const struct m5_session *publisher,
               const struct m5_message_view *view);

struct m5_sys *m5_sys_new(struct m5_shard *shard);
void m5_sys_free(struct m5_shard *shard);
void m5_sys_alarm(struct m5_shard *shard);

/* Retained messages for one new subscription [MQTT-3.3.1-9]; false: no memory. */
bool m5_retained_start(struct m5_shard *shard, struct m5_session *session,
                       const struct m5_subscription *subscription);
void m5_retained_continue(struct m5_shard *shard, struct m5_session *session);
void m5_retained_cancel(struct m5_shard *shard, struct m5_session *session);

#endif
