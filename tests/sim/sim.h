/* A broker of several shards, its clients, their network and their clock in one thread, from one
 * seed; and a model that knows what must hold. The model accounts for messages, it does not route
 * them: it knows what every session asked for and when, what was published and when the engine read
 * it, and judges what the clients receive.
 *
 *     main.c     options, seeds, self-test       pipe.c     one direction of a link
 *     world.c    phases of a run, final checks   server.c   the host: turns of the shards
 *     actions.c  what clients do, at random      client.c   a client's side of the protocol
 *     receive.c  what a client makes of packets  model.c    topics, messages, subscriptions
 *     judge.c    was this delivery right?        session.c  sessions, wills, keep-alive
 *     trace.c    log, hash, failure              break.c    lies that the checks must notice
 *     store.c    the disk: commits, its faults   crash.c    the power goes, the broker comes back
 *     past.c     sessions and wills as they were promise.c  was this acknowledged too early?
 *
 * Three clocks: `now_ms` is virtual time; `tick` counts observations, so that "before" is exact;
 * `turn` counts turns of shards: what is in the store after a crash is what was done up to a turn.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/rng.h"
#include "broker/engine.h"
#include "support/disk_sim.h"

#include <mqtt5/packet.h>

#include <stdio.h>

#define SIM_NEVER        UINT64_MAX
#define SIM_NONE         UINT32_MAX
#define SIM_SHARDS       4u
#define SIM_IDS_MAX      16u /* subscription identifiers of one PUBLISH */
#define SIM_TRACE        64u
#define SIM_HOMES        3u    /* share names */
#define SIM_HOME_MIXED   2u    /* with a disk, the others have stored sessions only as members */
#define SIM_SLACK_MS     50u   /* how late a shard may be run */
#define SIM_MAIL_MS      400u  /* how long a message may be under way between shards */
#define SIM_PAYLOAD      20u   /* bytes that say which message it is */
#define SIM_UNDER_WAY_MS 4000u /* how long a packet may be on its way to the broker */
#define SIM_LATENESS_MS  1500u /* what timers of the engine may be late */
#define SIM_RECORDS_KEPT 8u    /* in the store, of nobody */

struct sim_world;
struct sim_client;
struct sim_link;
struct sim_epoch;

/* ---- what a run is like: drawn from the seed, world.c ---- */

enum sim_faults { SIM_FAULTS_NONE, SIM_FAULTS_SOME, SIM_FAULTS_MANY };

struct sim_profile {
    enum sim_faults faults;
    uint32_t shards, clients, steps;
    bool small_limits; /* of queues: messages may be dropped, and must then be counted */
    bool expiry;       /* messages expire */
    bool monitor;      /* one client on a perfect link subscribes to everything */
    bool jumps;        /* seconds pass at once, now and then */
    bool shutdown;     /* the broker goes before the clients do */
    bool large;        /* payloads up to 100 kB */
    bool store;        /* there is a disk */
    bool slow_disk, failing_disk;
    bool levels; /* of durability, that differ by topic */
    uint32_t crashes;
};

/* ---- lies, break.c ---- */

#define SIM_BREAK_TABLE(X)                                           \
    X(NONE, "none", "")                                              \
    X(DROP, "drop", "was not delivered")                             \
    X(DUP_QOS2, "dup-qos2", "more often than")                       \
    X(DUP_QOS1, "dup-qos1", "more often than")                       \
    X(DUP_QOS0, "dup-qos0", "more often than")                       \
    X(SWAP, "swap", "out of order")                                  \
    X(PACKET_ID, "packet-id", "packet id")                           \
    X(PAYLOAD, "payload", "payload")                                 \
    X(STRANGER, "stranger", "without a matching subscription")       \
    X(QOS, "qos", "wrong QoS")                                       \
    X(RETAIN, "retain", "retain flag")                               \
    X(IDENTIFIER, "identifier", "subscription identifier")           \
    X(LOST_IDENTIFIER, "lost-identifier", "subscription identifier") \
    X(DUP_FLAG, "dup-flag", "DUP")                                   \
    X(SESSION_PRESENT, "session-present", "session present")         \
    X(RECEIVE_MAXIMUM, "receive-maximum", "Receive Maximum")         \
    X(PACKET_SIZE, "packet-size", "Maximum Packet Size")             \
    X(ALIAS, "alias", "topic alias")                                 \
    X(WILL_EARLY, "will-early", "before it was due")                 \
    X(WILL_CANCELLED, "will-cancelled", "a will that was cancelled") \
    X(WILL_LOST, "will-lost", "was not delivered")                   \
    X(RETAINED_LOST, "retained-lost", "retained")                    \
    X(RETAINED_STALE, "retained-stale", "retained")                  \
    X(GROUP_TWICE, "group-twice", "shared group")                    \
    X(GROUP_LOST, "group-lost", "shared group")                      \
    X(KEEP_ALIVE, "keep-alive", "keep-alive")                        \
    X(BYTES, "bytes", "bytes_received")                              \
    X(LEAK, "leak", "leaked")                                        \
    X(ACK_ORDER, "ack-order", "acknowledge")                         \
    X(CLOSE, "close", "closed a connection")                         \
    X(ACK_EARLY, "ack-early", "before the store had it")             \
    X(RECORD_LOST, "record-lost", "")                                \
    X(MEMORY_STORED, "memory-stored", "level memory")                \
    X(CRASH_LOST, "crash-lost", "was not delivered")                 \
    X(CRASH_TWICE, "crash-twice", "more often than")                 \
    X(PUBREL_LOST, "pubrel-lost", "named message")                   \
    X(OLD_SESSION, "old-session", "older session")                   \
    X(LOST_SESSION, "lost-session", "session present")               \
    X(RECORD_BACK, "record-back", "")                                \
    X(RESIDUE, "residue", "left in the store")

enum sim_break {
#define X(name, text, expected) SIM_BREAK_##name,
    SIM_BREAK_TABLE(X)
#undef X
        SIM_BREAK_COUNT
};

struct sim_break_info {
    const char *name;
    const char *expected; /* what the failure's text contains */
};
extern const struct sim_break_info sim_breaks[SIM_BREAK_COUNT];

/* ---- trace.c ---- */

struct sim_entry {
    uint64_t now_ms;
    const char *format; /* static */
    unsigned long long args[5];
};

struct sim_trace {
    struct sim_entry entries[SIM_TRACE];
    uint64_t count, hash;
    bool verbose;
};

/* Notes what happened. @p format takes up to five %llu. */
void sim_log_args(struct sim_world *world, const char *format, const unsigned long long args[5]);
#define sim_log(world, format, ...) \
    sim_log_args((world), (format), (const unsigned long long[5]){__VA_ARGS__})

/* Notes that a rule was violated; only the first one counts. */
void sim_fail(struct sim_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void sim_trace_print(const struct sim_world *world, FILE *out);

/* ---- memory ---- */

/* A list: items, count, capacity. */
#define SIM_LIST(type)            \
    struct {                      \
        type *items;              \
        uint32_t count, capacity; \
    }

/* Makes room for one more; ends the program without memory. */
void *sim_room(void *items, uint32_t count, uint32_t *capacity, size_t item_size);
#define SIM_PUSH(list, ...)                                                                \
    ((list)->items =                                                                       \
         sim_room((list)->items, (list)->count, &(list)->capacity, sizeof *(list)->items), \
     (list)->items[(list)->count++] = (__VA_ARGS__))
void sim_remove_at(void *items, uint32_t *count, size_t item_size, uint32_t index);
#define SIM_REMOVE(list, index) \
    sim_remove_at((list)->items, &(list)->count, sizeof *(list)->items, (index))

struct sim_buffer {
    uint8_t *items;
    uint32_t count, capacity;
};
void sim_append(struct sim_buffer *buffer, struct mqtt5_bytes bytes);

/* Counts what the engine holds. */
struct sim_heap {
    struct mqtt5_allocator table;
    size_t used;
};
void sim_heap_init(struct sim_heap *heap);

/* ---- pipe.c ---- */

struct sim_segment {
    uint64_t ready_ms;
    size_t size;
};

/* Bytes under way in one direction. They arrive in order, each part when its time has come. */
struct sim_pipe {
    uint8_t *data;
    size_t at, end, capacity;
    SIM_LIST(struct sim_segment) segments;
    uint32_t first; /* segment */
    uint64_t last_ready_ms, stalled_until_ms;
    size_t room; /* a writer is refused more than this under way */
    bool cut;    /* what is written vanishes */
};

/* Takes up to `room` bytes; returns how many. */
size_t sim_pipe_write(struct sim_pipe *pipe, struct mqtt5_bytes bytes, uint64_t ready_ms);
size_t sim_pipe_under_way(const struct sim_pipe *pipe);
struct mqtt5_bytes sim_pipe_ready(struct sim_pipe *pipe, uint64_t now_ms);
void sim_pipe_take(struct sim_pipe *pipe, size_t size);
/* Keeps the first @p keep bytes that are under way and loses the rest, and what is yet written. */
void sim_pipe_cut(struct sim_pipe *pipe, size_t keep);
void sim_pipe_free(struct sim_pipe *pipe);

/* ---- model: topics and messages ---- */

enum sim_family {
    SIM_PLAIN,
    SIM_RETAINED, /* topics that retained messages go to */
    SIM_EMPTY,    /* one topic for each message without payload */
    SIM_WILLS,
    SIM_SHARED /* only shared subscriptions, and the monitor, match these */
};

struct sim_retained_was { /* as retained message of a topic, from a turn on */
    uint64_t turn;
    uint32_t message;
};

struct sim_topic {
    char name[32];
    size_t size;
    enum sim_family family;
    uint32_t kind;          /* of a shared topic: which filter of a home matches */
    uint32_t retained;      /* message, or SIM_NONE */
    uint64_t retained_turn; /* in which it was last set */
    bool retained_race;     /* and perhaps by another message */
    bool retained_unsure;   /* limits were in play */
    bool retained_seen;     /* by the final look */
    enum mqtt5_durability durability;
    SIM_LIST(struct sim_retained_was) history;
};

enum sim_will_state {
    SIM_NOT_A_WILL,
    SIM_WILL_ARMED,     /* its connection lives */
    SIM_WILL_PENDING,   /* -> CANCELLED, or published at due_ms */
    SIM_WILL_CANCELLED, /* must never be seen */
    SIM_WILL_UNSURE     /* too close to call */
};

struct sim_message {
    struct sim_client *publisher;
    uint32_t topic, stream, sequence, size;
    uint32_t expiry_s; /* 0: none */
    uint8_t qos;
    bool retain, clears; /* clears: empty payload to a retained topic, nobody can tell which */
    bool decorated;      /* has user properties and a content type */
    bool refused;
    uint32_t transmissions;                 /* times that the engine has read it */
    uint64_t first_fed_tick, last_fed_tick; /* SIM_NEVER, 0: not yet */
    uint64_t first_fed_ms, last_fed_ms;
    uint64_t accepted_tick;   /* SIM_NEVER: no acknowledgement */
    uint64_t superseded_tick; /* as retained message; SIM_NEVER */
    enum sim_will_state will;
    uint64_t due_ms, due_late_ms; /* a will: published in between */
    uint64_t fed_turn;            /* when the engine took it; SIM_NEVER: not yet */
    uint64_t released_turn;       /* when it read the PUBREL */
    bool forgotten;               /* since a crash the broker may not know its packet id */
    bool refusable;               /* commits failed when the engine took it, perhaps */
    bool stored;                  /* when the power went, it was */
    bool kept, id_kept;           /* somebody needs it, its QoS 2 packet id, to be in the store */
    bool voided;                  /* lost by a crash that may lose it: its level is not strict */
    uint16_t group_copies[SIM_HOMES]; /* first deliveries to members */
    uint16_t group_seen[SIM_HOMES];   /* any delivery */
};

/* ---- model: what sessions asked for ---- */

struct sim_subscription {
    char filter[48];
    uint32_t home; /* of a shared one, else SIM_NONE */
    uint32_t kind; /* of a shared one */
    uint32_t id;   /* 0: none */
    uint8_t qos, retain_handling;
    bool no_local, retain_as_published;
    uint64_t requested_tick, requested_ms, confirmed_tick; /* SIM_NEVER: not yet */
    uint64_t end_requested_tick, end_confirmed_tick;       /* SIM_NEVER: not yet */
    SIM_LIST(uint8_t) matches;                             /* by topic: 0 unknown, 1 no, 2 yes */
};

struct sim_copies {
    uint8_t fresh;       /* without DUP */
    uint8_t again;       /* with DUP */
    uint8_t first_again; /* of these: QoS 2 that the client did not know */
    uint8_t twos;        /* at QoS 2 */
};

/* One life of a session, from "session present" 0 to the next. */
struct sim_epoch {
    struct sim_client *client;
    uint32_t number;
    bool over;
    uint32_t connections;
    SIM_LIST(struct sim_subscription) subscriptions;
    SIM_LIST(struct sim_copies) copies; /* by message */
    SIM_LIST(uint32_t) last_sequence;   /* by stream and QoS */
    uint32_t last_packet_id;
    bool packet_ids_skip;    /* some may have been used that the client never saw */
    uint32_t restarts;       /* crashes that it has outlived */
    uint32_t restarts_known; /* to its client */
    bool late;               /* it was to end with its connection, at first */
};

/* ---- clients and links ---- */

struct sim_terms { /* of one CONNECT */
    bool clean, anonymous, has_will;
    uint32_t expiry_s; /* UINT32_MAX: never */
    uint16_t keep_alive_s, receive_maximum, alias_maximum;
    uint32_t will, will_delay_s; /* message */
};

enum sim_mark_type {
    SIM_MARK_PACKET,
    SIM_MARK_CONNECT,
    SIM_MARK_PUBLISH,
    SIM_MARK_PUBREL,  /* of message */
    SIM_MARK_PUBREC,  /* of packet_id, as the next two */
    SIM_MARK_REQUEST, /* SUBSCRIBE or UNSUBSCRIBE */
    SIM_MARK_DISCONNECT,
    SIM_MARK_GARBAGE
};

struct sim_mark { /* where a packet ends in what a client sends */
    uint64_t offset;
    enum sim_mark_type type;
    uint32_t message;
    uint16_t packet_id;
    uint32_t expiry_s; /* of a DISCONNECT */
    bool keep_will;
};

struct sim_counter { /* finds the packets in a stream of bytes */
    uint32_t left, length;
    uint8_t shift, state, type;
    uint64_t packets, publishes;
};
void sim_counter_feed(struct sim_counter *counter, struct mqtt5_bytes bytes);

enum sim_end {
    SIM_ALIVE,
    SIM_END_DISCONNECT,
    SIM_END_LOST,
    SIM_END_TAKEN_OVER,
    SIM_END_GARBAGE,
    SIM_END_KEEP_ALIVE,
    SIM_END_CLOSED
};

struct sim_link {
    struct sim_world *world;
    struct sim_client *client;
    uint32_t number;
    struct sim_pipe up, down;
    struct sim_terms terms;

    /* the host's side */
    uint32_t shard;
    struct m5_conn *conn;      /* NULL: closed */
    struct sim_buffer carried; /* CONNECT on its way to another shard */
    uint64_t carried_until_ms;
    bool opened, carrying, blocked;
    uint64_t opened_ms, server_notices_ms;
    SIM_LIST(struct sim_mark) marks;
    uint32_t mark_first;
    uint64_t sent_up, fed; /* bytes */
    uint64_t last_fed_ms, last_packet_ms;
    bool connect_fed;
    bool accepted, present; /* the engine has, and says that there was a session */
    uint64_t connected_turn;
    bool connack_seen;     /* in what the engine has to write */
    uint16_t keep_alive_s; /* in force */
    uint32_t expiry_s;     /* in force */
    bool keep_will;        /* its DISCONNECT wants the will */
    enum sim_end end;
    uint64_t end_ms;
    struct sim_counter out;
    struct sim_epoch *epoch; /* once accepted */
    uint32_t restarts;       /* that the epoch had outlived then */

    /* the client's side */
    bool client_open, left; /* left: the client has turned to another link */
    uint64_t client_notices_ms;
    bool online;     /* CONNACK received */
    bool down_ended; /* the server closed: end after the last byte */
    uint64_t paused_until_ms;
    struct sim_buffer input;
    uint32_t received_maximum_left; /* PUBLISHes that the broker may have unacknowledged */
    uint32_t unacknowledged;        /* received on this link */
    uint16_t server_receive_maximum, server_alias_maximum;
    uint32_t aliases_in[64]; /* topic by alias, SIM_NONE */
    uint32_t aliases_out[8];
    uint32_t resends_due; /* of client->held, that must come before anything new */
    bool disconnect_received;
    uint8_t disconnect_reason;
    uint32_t resumed_id; /* highest packet id seen again on this link */
};

enum sim_flow_state { SIM_FLOW_PUBLISH, SIM_FLOW_PUBREL };

struct sim_flow { /* of the client's own publishes */
    uint16_t packet_id;
    uint32_t message;
    uint8_t state; /* enum sim_flow_state */
    uint8_t qos;
    bool sent_here; /* on the current link */
};

struct sim_held { /* received and not completed */
    uint16_t packet_id;
    uint32_t message;
    uint8_t qos;
    bool released;          /* QoS 2: PUBREL received */
    bool answered;          /* an acknowledgement was sent, on any link */
    bool here;              /* received on the current link */
    uint64_t recorded_turn; /* when the engine read the PUBREC; SIM_NEVER: not yet */
};

struct sim_answer { /* to be sent, in order */
    uint64_t due_ms;
    uint8_t type;
    uint16_t packet_id;
};

struct sim_request { /* SUBSCRIBE or UNSUBSCRIBE without an answer */
    uint16_t packet_id;
    bool subscribes;
    bool ends; /* an UNSUBSCRIBE: of what surely is there */
    uint8_t count;
    char filters[4][48];
    uint32_t first; /* subscriptions that were asked for in the epoch before it */
    uint64_t asked_ms;
    uint64_t fed_turn; /* when the engine read it; SIM_NEVER: not yet */
};

struct sim_session { /* what the broker must have for a client id */
    bool exists;
    bool doubt; /* a crash has come too close to its end */
    struct sim_link *attached;
    uint64_t ended_ms, ended_late_ms; /* its connection: in between */
    uint32_t expiry_s;
    uint32_t will; /* pending message, or SIM_NONE */
    struct sim_epoch *epoch;
};

struct sim_session_was {       /* a session from a turn on */
    uint64_t first_turn, turn; /* it changed in between; turn is SIM_NEVER until that is known */
    uint32_t shard;
    struct sim_session session;
    bool online;
    uint64_t lost_ms; /* online, but the power has gone since then; 0: not yet */
    uint32_t will;    /* of the connection, or pending; SIM_NONE */
    uint32_t will_delay_s;
};

struct sim_client {
    uint32_t number;
    char id[64];
    bool anonymous; /* asks for an id at its first connection */
    uint8_t version;
    bool monitor, durable;
    uint32_t packet_size_max; /* 0: none */
    uint32_t home;            /* share name */
    uint32_t wills;           /* topic */
    struct sim_link *link;
    uint64_t connect_at_ms, next_ping_ms;
    uint64_t connect_turn; /* in which a CONNECT of it was last read: one a turn */
    uint16_t next_packet_id;
    const struct sim_epoch *epoch; /* that it has last been online in */
    SIM_LIST(struct sim_flow) flows;
    SIM_LIST(struct sim_held) held;
    SIM_LIST(struct sim_answer) answers;
    SIM_LIST(struct sim_request) requests;
    SIM_LIST(uint32_t) waiting; /* messages that the broker's Receive Maximum holds back */
    struct sim_session session;
    SIM_LIST(struct sim_session_was) history;
};

/* ---- the disk ---- */

struct sim_seal { /* a turn that had something to store */
    uint64_t turn, ms;
};

struct sim_store {
    struct disk_sim disk;
    uint64_t begins_ms, ends_ms;        /* the next commit, at the earliest; the one under way */
    uint64_t fails_until_ms, failed_ms; /* commits do; when one last did */
    bool failing;
    uint32_t told;                              /* shards that know whether it fails, as bits */
    uint64_t retained_turn, retained_next_turn; /* retained messages of all turns before it are
                                                   durable; will be with the commit under way */
    SIM_LIST(struct sim_seal) seals;
    uint64_t clock_ms; /* of the engine's clock, ahead of ours: it starts anew each time */
    uint32_t restarts;
    uint64_t crashed_ms, restarted_ms;
    bool slept_long;  /* sessions may have expired meanwhile */
    uint64_t dropped; /* publish_dropped and limit_queued of the engines before this one */
    uint64_t limit_queued;
    struct mqtt5_durability_rule rules[2];
};

/* What a crash leaves: everything of the turns before `turn`. */
struct sim_cut {
    uint64_t turn, retained_turn;
    uint64_t ms; /* when that turn was */
};

/* ---- the world ---- */

struct sim_stream { /* messages of one publisher to one topic at one QoS are ordered */
    uint32_t publisher, topic;
    uint8_t qos;
    uint32_t sequence;
};

struct sim_group {            /* a share name */
    uint64_t left_tick;       /* when a member last went, or may have */
    uint64_t unsubscribed_ms; /* when one last asked to; 0: never */
};

struct sim_options {
    uint64_t seed;
    uint32_t shards, clients, steps; /* 0: from the seed */
    enum { SIM_DISK_DRAWN, SIM_DISK_NO, SIM_DISK_YES } disk;
    bool verbose;
    enum sim_break lie;
};

struct sim_world {
    uint64_t cleared_tick; /* when all retained messages were cleared, at the end */
    struct sim_options options;
    struct sim_profile profile;
    struct m5_rng rng;
    uint64_t now_ms, tick;
    struct sim_trace trace;
    bool failed;
    char failure[400];
    struct sim_heap heap;
    size_t heap_start;
    void *leak; /* what the lie "leak" keeps */
    struct mqtt5_broker_config config;
    struct m5_engine *engine;
    struct sim_store store;
    uint64_t shard_rests_until_ms[SIM_SHARDS];
    uint32_t late_turns[SIM_SHARDS]; /* with a deadline in the past, one after the other */
    SIM_LIST(struct sim_client *) clients;
    SIM_LIST(struct sim_link *) links;
    SIM_LIST(struct sim_topic) topics;
    SIM_LIST(struct sim_stream) streams;
    SIM_LIST(struct sim_message) messages;
    SIM_LIST(struct sim_epoch *) epochs;
    struct sim_group groups[SIM_HOMES];
    uint32_t link_numbers;
    uint32_t plain_topics, retained_topics, shared_topics; /* first of each kind */
    uint32_t shutting_down;                                /* shards that are to be told, as bits */
    uint32_t farewells;                                    /* DISCONNECT 0x8B received */
    bool final, ending; /* phases: links are healthy; everybody goes */
    bool lied;
    uint32_t lie_countdown;
    /* seen from outside, to compare with the engine's own figures */
    uint64_t bytes_fed, bytes_taken, packets_fed, publishes_fed;
    uint64_t packets_taken, publishes_taken;
    uint64_t deliveries, obligations; /* judged; what had to arrive by the end */
    uint64_t refusals;                /* since commits failed */
    bool output_lost;                 /* a connection went before all its output was taken */
    uint64_t turn;
    bool fog;      /* it is not known how far every connection has been read */
    bool resuming; /* what connections had sent is being read, in an order nobody knows */
};

/* Random decisions. */
static inline uint32_t sim_below(struct sim_world *world, uint32_t bound)
{
    return (uint32_t)m5_rng_below(&world->rng, bound);
}

static inline uint32_t sim_between(struct sim_world *world, uint32_t low, uint32_t high)
{
    return low + sim_below(world, high - low + 1);
}

static inline bool sim_chance(struct sim_world *world, uint32_t percent)
{
    return sim_below(world, 100) < percent;
}

/* ---- model.c ---- */

void sim_model_init(struct sim_world *world);
void sim_model_free(struct sim_world *world);
uint32_t sim_topic_add(struct sim_world *world, const char *name, enum sim_family family,
                       uint32_t kind);
uint32_t sim_topic_find(const struct sim_world *world, struct mqtt5_bytes name);
uint32_t sim_message_new(struct sim_world *world, const struct sim_message *like);
struct sim_message *sim_message_at(struct sim_world *world, uint32_t index);
/* Whatever properties and aliases it is sent with, the client takes a packet of its size. */
bool sim_message_fits(const struct sim_client *client, const struct sim_message *message);
/* Writes the payload of a message to @p out, of message->size bytes. */
void sim_payload_write(const struct sim_world *world, uint32_t index, uint8_t *out);
/* Which message it is, or SIM_NONE after sim_fail(); SIM_NONE without when nobody can tell. */
uint32_t sim_payload_read(struct sim_world *world, uint32_t topic, struct mqtt5_bytes payload);
bool sim_filter_matches(const char *filter, const char *topic);
bool sim_subscription_matches(const struct sim_world *world, struct sim_subscription *subscription,
                              uint32_t topic);
struct sim_epoch *sim_epoch_new(struct sim_world *world, struct sim_client *client);
void sim_epoch_end(struct sim_world *world, struct sim_epoch *epoch);
/* A member of the client's share name has gone, or may have. */
void sim_group_left(struct sim_world *world, const struct sim_client *client);
/* The engine has read a PUBLISH. */
void sim_message_fed(struct sim_world *world, uint32_t index);
/* The engine has stored it as its topic's retained message; @p doubt: perhaps not. */
void sim_message_retained(struct sim_world *world, uint32_t index, bool doubt);

/* ---- judge.c ---- */

struct sim_receipt {
    uint8_t qos;
    bool dup, retain, has_expiry;
    uint32_t expiry_s;
    uint32_t ids[SIM_IDS_MAX], id_count;
    uint32_t user_properties;
};

/* A message came out of the broker for the session @p epoch over @p link. */
void sim_judge_delivery(struct sim_world *world, struct sim_link *link, uint32_t message,
                        const struct sim_receipt *receipt);
/* A message without identity: a cleared retained topic. */
void sim_judge_anonymous(struct sim_world *world, struct sim_link *link, uint32_t topic);
/* Everything has drained: is there anything that did not arrive? */
void sim_judge_end(struct sim_world *world);
/* True when some session must get @p message (for "no matching subscribers"). */
bool sim_judge_wanted(struct sim_world *world, uint32_t message);
/* True when a session that is stored must get @p message at QoS 1 or 2. */
bool sim_judge_stored(struct sim_world *world, uint32_t message);

/* ---- session.c ---- */

void sim_session_connected(struct sim_world *world, struct sim_link *link, bool session_present);
void sim_session_adopt(struct sim_world *world, struct sim_link *link);
void sim_session_link_end(struct sim_world *world, struct sim_link *link, enum sim_end end);
void sim_session_will_seen(struct sim_world *world, uint32_t message);
/* Nobody can know whether this will is published. */
void sim_session_will_doubt(struct sim_world *world, uint32_t message);
/* The broker may just have closed the client's connection: messages of 3.1.1 cannot be refused. */
bool sim_session_closed_unseen(const struct sim_world *world, const struct sim_client *client);
void sim_session_wills_due(struct sim_world *world);
void sim_session_keep_alive(struct sim_world *world, struct sim_link *link);
uint64_t sim_after_s(uint64_t from_ms, uint32_t seconds); /* UINT32_MAX: never */

/* ---- store.c ---- */

void sim_store_start(struct sim_world *world);
void sim_store_free(struct sim_world *world);
/* Time passes for the disk; between turns. */
void sim_store_step(struct sim_world *world);
/* In a turn of shard @p index: at its start, and after its input. */
void sim_store_hand_back(struct sim_world *world, uint32_t index);
void sim_store_seal(struct sim_world *world, uint32_t index);
/* What shard @p index did up to @p turn is durable. */
bool sim_store_has(const struct sim_world *world, uint32_t index, uint64_t turn);
/* True when commits have failed since @p ms, or there is no telling. */
bool sim_store_failed_since(const struct sim_world *world, uint64_t ms);
bool sim_store_failed_lately(const struct sim_world *world);
bool sim_store_idle(const struct sim_world *world);
struct sim_cut sim_store_cut(struct sim_world *world, bool survives);

/* ---- crash.c ---- */

/* Makes the engine from what the disk has, which may be nothing. */
void sim_engine_start(struct sim_world *world);
/* The power goes, or the broker is told to go, and it starts again. */
void sim_crash(struct sim_world *world);

/* ---- past.c ---- */

/* The client's session has just changed; @p late: perhaps only after this turn was sealed. */
void sim_past_note(struct sim_world *world, struct sim_client *client, uint32_t shard, bool late);
void sim_past_sealed(struct sim_world *world, uint32_t shard);
/* Sessions and wills are as they were at the cut. */
void sim_past_return(struct sim_world *world, const struct sim_cut *cut);

/* ---- promise.c ---- */

/* The engine takes @p message: is there a session that it is to be stored for? */
void sim_promise_fed(struct sim_world *world, uint32_t message);
void sim_promise_publish(struct sim_world *world, const struct sim_link *link, uint32_t message);
void sim_promise_complete(struct sim_world *world, const struct sim_link *link, uint32_t message);
void sim_promise_release(struct sim_world *world, const struct sim_link *link,
                         const struct sim_held *held);
void sim_promise_request(struct sim_world *world, const struct sim_link *link,
                         const struct sim_request *request);
void sim_promise_session(struct sim_world *world, const struct sim_link *link);

/* ---- server.c ---- */

struct sim_link *sim_link_open(struct sim_world *world, struct sim_client *client);
void sim_link_break(struct sim_world *world, struct sim_link *link, uint64_t server_ms,
                    uint64_t client_ms);
void sim_server_turns(struct sim_world *world);
bool sim_server_busy(const struct sim_world *world);
void sim_links_sweep(struct sim_world *world);
void sim_links_free(struct sim_world *world);

/* ---- client.c ---- */

struct sim_client *sim_client_new(struct sim_world *world, uint32_t number);
void sim_client_free(struct sim_client *client);
void sim_client_connect(struct sim_world *world, struct sim_client *client,
                        const struct sim_terms *terms);
/* Sends any packet; returns false when the client has no link. */
bool sim_client_send(struct sim_world *world, struct sim_client *client,
                     const struct mqtt5_packet *packet, struct sim_mark mark);
void sim_client_publish(struct sim_world *world, struct sim_client *client, uint32_t message);
void sim_client_subscribe(struct sim_world *world, struct sim_client *client,
                          const struct sim_subscription *wanted, uint32_t count);
void sim_client_unsubscribe(struct sim_world *world, struct sim_client *client, const char *filter);
void sim_client_disconnect(struct sim_world *world, struct sim_client *client, uint8_t reason,
                           uint32_t expiry_s);
void sim_client_garbage(struct sim_world *world, struct sim_client *client);
/* Leaves the current link as it is and has no other. */
void sim_client_leave(struct sim_world *world, struct sim_client *client);
void sim_client_resume(struct sim_world *world, struct sim_link *link, bool session_present);
void sim_client_release(struct sim_world *world, struct sim_client *client);
void sim_client_answers(struct sim_world *world, struct sim_client *client);
bool sim_client_idle(const struct sim_client *client);

/* ---- receive.c ---- */

/* Reads what has arrived on all links. */
void sim_receive(struct sim_world *world);

/* ---- actions.c ---- */

void sim_actions(struct sim_world *world);
struct sim_terms sim_actions_terms(struct sim_world *world, struct sim_client *client);

/* ---- break.c ---- */

/* True once per run, at a random one of the moments when it could lie: the lie is to be told now.
 */
bool sim_lie(struct sim_world *world, enum sim_break lie);

/* ---- world.c ---- */

struct sim_world *sim_world_new(const struct sim_options *options);
void sim_world_run(struct sim_world *world);
void sim_world_free(struct sim_world *world);

#endif
