/* The broker engine as a host sees it: bytes and time go in; bytes, events and deadlines come out.
 *
 * A broker is N shards. Each shard is used by one thread at a time and owns its connections and
 * sessions; what shards share (route index, retained messages, rings between them) is inside
 * struct m5_engine and safe for their N threads. A simulator may run all shards on one thread.
 *
 * One turn of a host, for each shard:
 *
 *     m5_shard_begin(shard, now);                 // clock, timers, what other shards sent
 *     for each readable socket:
 *         span = m5_conn_read_space(conn);  n = recv(fd, span.data, span.size);
 *         m5_conn_received(conn, n);              // or m5_conn_lost(conn) at the end of the stream
 *     for each writable socket that had output left: write as below
 *     batch = m5_shard_seal(shard);               // with a store: see store.h
 *     wakes = m5_shard_end(shard);                // hands batches to other shards
 *     while ((conn = m5_shard_next_dirty(shard))) // each connection at most once
 *         switch (m5_conn_want(conn)) {
 *         FLUSH: n = writev(m5_conn_output(...)); m5_conn_sent(conn, n); if some is left: wait for
 *                writable, else ask m5_conn_want() again (it may now be CLOSE)
 *         CLOSE: close(fd); m5_conn_free(conn);
 *         MOVE:  see m5_conn_target()
 *         }
 *     wake the shards in `wakes`;  while (m5_shard_next_event(...)) log it;
 *     sleep until input or m5_shard_deadline(shard)
 *
 * A connection stays valid until the host calls m5_conn_lost() or m5_conn_free(): the engine never
 * frees one by itself.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_ENGINE_H
#define M5_BROKER_ENGINE_H

#include "broker/access.h"

#include <mqtt5/allocator.h>
#include <mqtt5/broker.h>
#include <mqtt5/bytes.h>

#define M5_SHARDS_MAX 64

struct m5_engine;
struct m5_shard;
struct m5_conn;

/* What a host hands to the engine once. */
struct m5_engine_env {
    const struct mqtt5_allocator *allocator; /* safe for threads when shard_count > 1; borrowed */
    uint32_t shard_count;                    /* 1 to M5_SHARDS_MAX */
    uint64_t seed[4];                        /* real entropy; in a simulator: the seed */
    uint64_t now_ms;                         /* monotonic, any epoch */
    const struct m5_access *access;          /* who may do what, borrowed; NULL = all */
    bool events;                             /* produce log events */
    bool store;                              /* there is one: see store.h */
    uint64_t wall_ms;                        /* since 1970, at now_ms: for what is stored */
    const char *control_topic;               /* the host's own, below $CONTROL; NULL: none */
};

/* NULL without memory or when mqtt5_broker_config_check() refuses @p config (copied). */
struct m5_engine *m5_engine_new(const struct mqtt5_broker_config *config,
                                const struct m5_engine_env *env);

/* All shards must be at rest; connections that are left die with it, their sockets are the
 * host's. */
void m5_engine_free(struct m5_engine *engine);

struct m5_shard *m5_engine_shard(struct m5_engine *engine, uint32_t index);

/* ---- turns ---- */

/* Sets the clock (a step back is ignored), runs timers, takes in what other shards sent. */
void m5_shard_begin(struct m5_shard *shard, uint64_t now_ms);

/* Ends the input part of a turn. Bit i of the result: wake shard i, it has mail and may sleep. */
uint64_t m5_shard_end(struct m5_shard *shard);

/* When m5_shard_begin() must be called next at the latest (monotonic ms); 0 = at once,
 * UINT64_MAX = only on input or when woken. */
uint64_t m5_shard_deadline(const struct m5_shard *shard);

/* Queues DISCONNECT 0x8B to everybody and closes; new connections are refused from then on. */
void m5_shard_shutdown(struct m5_shard *shard);

/* Packets and messages of other shards that this shard has taken in so far: what a turn had to do.
 */
uint64_t m5_shard_work(const struct m5_shard *shard);

/* Connections that are open on this shard, in any state. */
uint32_t m5_shard_connections(const struct m5_shard *shard);

/* X(field): what of the configuration may change while the engine lives: limits that are looked at
 * when they are needed, and that no client was told. */
#define M5_CONFIG_LIVE(X)            \
    X(allow_anonymous)               \
    X(connect_timeout_ms)            \
    X(connect_packet_max)            \
    X(server_keep_alive_s)           \
    X(keep_alive_max_s)              \
    X(session_expiry_max_s)          \
    X(connections_max)               \
    X(sessions_max)                  \
    X(client_id_size_max)            \
    X(subscriptions_max)             \
    X(subscriptions_per_session_max) \
    X(topic_levels_max)              \
    X(queued_messages_max)           \
    X(queued_bytes_max)              \
    X(output_bytes_max)              \
    X(queue_policy)                  \
    X(shared_strategy)               \
    X(sys_interval_s)                \
    X(store_bytes_max)               \
    X(connections_per_user_max)      \
    X(connections_per_address_max)   \
    X(rate_per_client)               \
    X(rate_per_user)                 \
    X(rate_per_address)              \
    X(rate_burst_ms)                 \
    X(rate_action)

/* Takes these fields of @p config, which mqtt5_broker_config_check() has accepted, from now on;
 * sys_interval_s only when both are not 0. Within a turn. */
void m5_shard_reconfigure(struct m5_shard *shard, const struct mqtt5_broker_config *config);

/* ---- connections ---- */

/* What a listener allows on top of the broker's limits; 0: whatever that allows. */
struct m5_conn_limits {
    uint32_t maximum_packet_size;
    uint16_t keep_alive_max_s;
};

/* Where a connection comes from. */
struct m5_conn_origin {
    struct mqtt5_bytes peer;             /* its address for logs: copied, at most 47 bytes */
    uint32_t listener;                   /* below 65,536: the host's own number */
    const struct m5_conn_limits *limits; /* read during the call; NULL: none */
};

/* Starts a connection; @p host is the host's own pointer for it. After a move it is given the same
 * origin again. NULL without memory, over connections_max (counted), or draining: the host closes
 * the socket. */
struct m5_conn *m5_conn_open(struct m5_shard *shard, void *host,
                             const struct m5_conn_origin *origin);

/* What the transport knows, before the first byte is fed, and again after a move: @p identity is
 * the user name that it has proved (copied; empty: none), @p secure whether nobody else can listen.
 * False without memory, or when the name is no text of MQTT: the host closes the socket. */
bool m5_conn_identify(struct m5_conn *conn, struct mqtt5_bytes identity, bool secure);

/* It is known by now who the peer is behind proxies: another address for logs; before CONNECT. */
void m5_conn_readdress(struct m5_conn *conn, struct mqtt5_bytes peer);

void *m5_conn_host(const struct m5_conn *conn);

/* Where the next bytes from the peer are to be written; at least 1 byte unless m5_conn_reading()
 * is false. Valid until the next call on this shard. */
struct m5_span {
    uint8_t *data;
    size_t size;
};
struct m5_span m5_conn_read_space(struct m5_conn *conn);

/* @p size bytes (> 0) have been written to the last m5_conn_read_space(). */
void m5_conn_received(struct m5_conn *conn, size_t size);

/* Copies @p bytes in, of any length, as if they had arrived: for simulators and tests. */
void m5_conn_feed(struct m5_conn *conn, struct mqtt5_bytes bytes);

/* The same for what came along with a move: another shard has counted these bytes. */
void m5_conn_refeed(struct m5_conn *conn, struct mqtt5_bytes bytes);

/* False while the engine does not want to read from this connection (it is closing, moving, waits
 * for another shard or a credential check, or its peer does not read our answers). A change back to
 * true puts the connection on the dirty list. */
bool m5_conn_reading(const struct m5_conn *conn);

/* The transport ended without a DISCONNECT, or failed: the will may be due. Frees @p conn. */
void m5_conn_lost(struct m5_conn *conn);

/* Frees @p conn after M5_WANT_CLOSE, or after it was moved. */
void m5_conn_free(struct m5_conn *conn);

/* ---- output ---- */

enum m5_want {
    M5_WANT_NOTHING,
    M5_WANT_FLUSH, /* m5_conn_output() has bytes */
    M5_WANT_CLOSE, /* all output is sent: close the transport, then m5_conn_free() */
    M5_WANT_MOVE   /* hand the transport to shard m5_conn_target(), then m5_conn_free() */
};

/* The next connection with something to do, taken off the list; NULL when there is none. */
struct m5_conn *m5_shard_next_dirty(struct m5_shard *shard);

enum m5_want m5_conn_want(const struct m5_conn *conn);

/* Up to @p max views of the bytes to send, in order; returns how many. Valid until the next call
 * on this shard other than for output. */
size_t m5_conn_output(const struct m5_conn *conn, struct mqtt5_bytes *views, size_t max);

/* The first @p size bytes of the output were accepted by the transport. */
void m5_conn_sent(struct m5_conn *conn, size_t size);

/* For M5_WANT_MOVE: the shard, and the bytes to m5_conn_refeed() to a new connection there (they
 * start with the CONNECT). The views die with m5_conn_free(). */
uint32_t m5_conn_target(const struct m5_conn *conn);
struct mqtt5_bytes m5_conn_unread(const struct m5_conn *conn);

/* What was given to m5_conn_open() and m5_conn_identify(). */
struct mqtt5_bytes m5_conn_peer(const struct m5_conn *conn);
uint32_t m5_conn_listener(const struct m5_conn *conn);
struct mqtt5_bytes m5_conn_identity(const struct m5_conn *conn); /* until CONNACK */
bool m5_conn_secure(const struct m5_conn *conn);

/* ---- credentials ---- */

/* The next connection whose policy answered M5_ACCESS_PENDING, or that has sent AUTH, and what it
 * shows; NULL: none. At the end of a turn, until there are none. The views are valid until the next
 * call on this shard. The connection waits for m5_conn_verified(), or until it is lost or its time
 * (connect_timeout) is over: then the host frees it like any other and drops the answer when that
 * comes. A client that proves anew who it is goes on meanwhile. */
struct m5_conn *m5_shard_next_check(struct m5_shard *shard, struct m5_credentials *out);

enum m5_verdict_kind {
    M5_VERDICT_DENY,
    M5_VERDICT_ALLOW,
    M5_VERDICT_CONTINUE /* the client is sent `data`, its next AUTH is asked about; only of one that
                           has a method */
};

/* What the host found out. The views are copied. */
struct m5_verdict {
    enum m5_verdict_kind kind;
    uint8_t reason; /* DENY: the code (>= 0x80) that CONNACK carries */
    bool has_data;  /* ALLOW, CONTINUE: the client has a method and is sent `data` */
    bool named;     /* ALLOW: it is `username`, whatever CONNECT says */
    struct mqtt5_bytes data, username;
    struct mqtt5_bytes roles; /* ALLOW: names, each ended by a zero */
};

/* The answer, within a turn. Who proves anew that he is somebody else is denied. */
void m5_conn_verified(struct m5_conn *conn, const struct m5_verdict *verdict);

/* ---- the host's own topic ---- */

/* What a client has published to env.control_topic. */
struct m5_control {
    uint64_t session; /* that asked: for the answer */
    struct mqtt5_bytes client_id, username, payload;
};

/* The next one; false: there is none. At the end of a turn, until there are none. The views are
 * valid until the next call. A policy has to allow it: without one nobody can publish there. */
bool m5_shard_next_control(struct m5_shard *shard, struct m5_control *out);

/* Sends @p payload to the session that asked, at QoS 0, if it is still there and may read @p topic;
 * no subscription is needed. Within a turn, of the same shard. */
void m5_shard_answer_control(struct m5_shard *shard, const struct m5_control *asked,
                             struct mqtt5_bytes topic, struct mqtt5_bytes payload);

struct m5_principal;

/* False: it may not be connected any more. */
typedef bool m5_welcome_fn(void *ctx, const struct m5_principal *who);

/* Closes every connection that is not welcome, with DISCONNECT 0x98. Within a turn. */
void m5_shard_review(struct m5_shard *shard, m5_welcome_fn *welcomes, void *ctx);

/* ---- events, for logs ---- */

enum m5_event_type {
    M5_EVENT_CLIENT_CONNECTED,
    M5_EVENT_CLIENT_REFUSED,      /* by CONNACK; reason_code says why */
    M5_EVENT_CLIENT_DISCONNECTED, /* reason_code of the DISCONNECT either way; error if ours */
    M5_EVENT_CLIENT_LOST,         /* transport ended without DISCONNECT */
    M5_EVENT_CONNECTION_DROPPED,  /* before CONNECT was accepted */
    M5_EVENT_SESSION_TAKEN_OVER,
    M5_EVENT_SESSION_EXPIRED,
    M5_EVENT_SUBSCRIBED,
    M5_EVENT_UNSUBSCRIBED,
    M5_EVENT_QUEUE_FULL, /* first message dropped since the queue was last empty */
    M5_EVENT_LIMIT       /* a limit was met; `text` names it */
};

struct m5_event {
    enum m5_event_type type;
    uint8_t reason_code;
    uint8_t version; /* protocol, 0 when unknown */
    bool clean_start, session_present;
    uint16_t keep_alive_s;
    enum mqtt5_error error; /* MQTT5_OK when none */
    const char *text;       /* static, or NULL */
    size_t client_id_size, peer_size, topic_size;
    uint8_t client_id[64], peer[64], topic[128]; /* cut when longer; as the peer sent them */
};

/* Takes the oldest event; false when there is none. Events beyond a bound are dropped, counted. */
bool m5_shard_next_event(struct m5_shard *shard, struct m5_event *out);

/* ---- figures ---- */

/* X(name): what a shard counts since it began, or holds now. */
#define M5_STATS_TABLE(X)     \
    X(bytes_received)         \
    X(bytes_sent)             \
    X(packets_received)       \
    X(packets_sent)           \
    X(publish_received)       \
    X(publish_sent)           \
    X(publish_bytes_received) \
    X(publish_bytes_sent)     \
    X(publish_dropped)        \
    X(connections_opened)     \
    X(connections_refused)    \
    X(handshakes)             \
    X(handshakes_failed)      \
    X(connections)            \
    X(clients_connected)      \
    X(clients_connected_max)  \
    X(sessions)               \
    X(sessions_expired)       \
    X(subscriptions)          \
    X(shared_subscriptions)   \
    X(messages_queued)        \
    X(messages_queued_bytes)  \
    X(messages_inflight)      \
    X(retained_messages)      \
    X(retained_bytes)         \
    X(messages_expired)       \
    X(memory_used)            \
    X(memory_used_max)        \
    X(events_dropped)         \
    X(limit_connections)      \
    X(limit_sessions)         \
    X(limit_client_ids)       \
    X(limit_subscriptions)    \
    X(limit_topic_levels)     \
    X(limit_user_properties)  \
    X(limit_packet_size)      \
    X(limit_receive_maximum)  \
    X(limit_queued)           \
    X(limit_output)           \
    X(limit_retained)         \
    X(limit_memory)           \
    X(limit_store)            \
    X(limit_message_rate)     \
    X(limit_outbound_rate)    \
    X(limit_user_clients)     \
    X(limit_address_clients)  \
    X(limit_control)          \
    X(store_waiting)          \
    X(store_bytes)            \
    X(store_failing)          \
    X(store_commits)          \
    X(store_changes)          \
    X(store_failures)         \
    X(store_commit_us)        \
    X(store_bytes_used)       \
    X(store_bytes_file)       \
    X(limit_connect_timeout)  \
    X(limit_keep_alive)       \
    X(errors_malformed)       \
    X(errors_protocol)        \
    X(denied_connect)         \
    X(denied_publish)         \
    X(denied_subscribe)       \
    X(denied_deliver)

struct m5_stats {
#define X(name) uint64_t name;
    M5_STATS_TABLE(X)
#undef X
};

/* What the host has to say of its own: a connection was turned away before the engine saw it, and
 * the handshakes of a transport were done (or failed). */
void m5_shard_count_refused(struct m5_shard *shard);
void m5_shard_count_handshake(struct m5_shard *shard, bool done);

/* Adds up the figures of all shards; any thread. Each figure is exact, the set is no snapshot. */
void m5_engine_stats(const struct m5_engine *engine, struct m5_stats *out);

/* Checks every invariant of a shard's data (debug, fuzz, simulator); traps when one is broken. */
void m5_shard_check(const struct m5_shard *shard);

#endif
