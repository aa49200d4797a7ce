/* The inside of the test broker, shared by the files of this folder.
 *
 * Between each client and the engine stands a link: it cuts both streams into packets, shows them
 * to the record and to the faults, and passes on what is left of them. One lock guards everything;
 * the thread holds it for whole turns and gives it up to sleep. Only the thread touches the engine
 * and closes descriptors; other threads leave wishes (`cut`, bytes for `wire`) and wake it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_TESTING_TESTING_H
#define M5_HOST_TESTING_TESTING_H

#include "base/list.h"
#include "broker/engine.h"

#include <mqtt5/test_broker.h>
#include <pthread.h>

#define M5_TEST_HISTORY_MAX   (UINT64_C(64) << 20) /* bytes of packets that are kept */
#define M5_TEST_REFERENCE_MAX 256u

/* Bytes that grow; zeroed = empty. */
struct m5_test_bytes {
    uint8_t *data;
    size_t size, room;
};

/* False without memory; then it is as before. */
bool m5_test_bytes_add(struct m5_test_bytes *bytes, struct mqtt5_bytes more);
void m5_test_bytes_cut(struct m5_test_bytes *bytes, size_t size); /* the first ones */
void m5_test_bytes_fini(struct m5_test_bytes *bytes);
struct mqtt5_bytes m5_test_bytes_view(const struct m5_test_bytes *bytes);

/* A packet that was seen, in one piece of memory with its texts. */
struct m5_test_record {
    bool from_client, lost;
    uint8_t type, version;
    uint32_t connection;
    struct mqtt5_bytes client_id, topic, raw;
    uint8_t text[];
};

struct m5_test_history {
    struct m5_test_record **items;
    uint32_t count, capacity;
    uint64_t bytes;
    uint32_t seen[2][16]; /* by from_client and type */
    uint32_t generation;  /* how often it was forgotten */
};

struct m5_test_rule {
    struct m5_list node;
    struct mqtt5_test_fault fault;
    char *client_id; /* owned; NULL: any */
};

/* A granted subscription. */
struct m5_test_subscription {
    struct m5_list node;
    uint8_t qos;
    struct m5_test_bytes client_id, filter;
};

/* A packet that comes later. */
struct m5_test_delayed {
    struct m5_list node;
    uint64_t due_ms;
    struct m5_test_bytes bytes;
};

/* A SUBSCRIBE or UNSUBSCRIBE without its answer. */
struct m5_test_question {
    struct m5_list node;
    uint8_t type;
    uint16_t packet_id;
    struct m5_test_bytes raw;
};

/* What an alias stands for. */
struct m5_test_alias {
    struct m5_list node;
    bool from_client;
    uint16_t number;
    struct m5_test_bytes topic;
};

struct m5_test_link {
    struct m5_list node;
    struct mqtt5_test_broker *broker;
    uint32_t number;
    int fd;               /* -1: the broker's own publisher */
    struct m5_conn *conn; /* NULL: the engine is done with it */
    uint8_t version;      /* 0 before CONNECT */
    struct m5_test_bytes client_id;
    bool connected;               /* since CONNACK with success */
    bool ends_session;            /* the session ends with the connection */
    bool fresh;                   /* the engine has not heard of it yet */
    bool cut;                     /* is to be cut */
    bool ended;                   /* the client has closed its end */
    bool plain_in, plain_out;     /* no packets could be found: bytes are passed as they come */
    struct m5_test_bytes in, out; /* not cut into packets yet */
    struct m5_test_bytes wire;    /* for the client */
    struct m5_test_bytes held;    /* a packet that is to come later */
    uint64_t hold_until_ms;       /* when; nothing is taken from `in` before */
    struct m5_list delayed, questions, aliases;
};

struct mqtt5_test_broker {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    int wake_fd;
    bool stopping;
    bool busy; /* another turn is due at once */

    struct m5_engine *engine;
    struct m5_shard *shard;
    uint32_t packet_size_max;
    struct m5_list links;
    uint32_t links_made, dials, connected;
    char *url;                      /* of the last dial */
    struct m5_test_link *publisher; /* our own; NULL: never used */
    uint16_t publisher_id;

    /* the clock */
    bool paused;
    uint64_t clock_offset_ms; /* modulo 2^64; broker's clock = system's + this */
    uint64_t paused_at_ms;    /* the broker's clock while it is paused */

    /* misbehaviour */
    struct m5_list rules;
    uint32_t refuse_count, refuse_dials_count;
    uint8_t refuse_reason;
    char refuse_reference[M5_TEST_REFERENCE_MAX];
    struct mqtt5_test_limits limits;
    bool stop_reading;

    struct m5_test_history history;
    struct m5_list subscriptions;
};

/* The broker's clock. */
uint64_t m5_test_now_ms(const struct mqtt5_test_broker *broker);

void *m5_test_alloc(size_t size);

/* ---- link.c ---- */

/* NULL without memory; then @p fd is still the caller's. */
struct m5_test_link *m5_test_link_new(struct mqtt5_test_broker *broker, int fd);

/* Tells whether it wants to read from its descriptor. */
bool m5_test_link_reads(const struct m5_test_link *link);

/* Sends bytes of a test's; a whole packet is noted. False: it does not get them. */
bool m5_test_link_send_raw(struct m5_test_link *link, struct mqtt5_bytes bytes);

/* Takes what the client has sent and shows it to the engine; ends links that are over. */
void m5_test_link_input(struct m5_test_link *link);

/* Takes what the engine has for the client. */
void m5_test_link_output(struct m5_test_link *link);

/* Writes what may be written; true: the link is over, and freed. */
bool m5_test_link_flush(struct m5_test_link *link);

/* When it has something to do by itself; UINT64_MAX: never. */
uint64_t m5_test_link_due_ms(const struct m5_test_link *link);

/* Frees it with its descriptor; the engine's connection, if any, is gone already. */
void m5_test_link_free(struct m5_test_link *link);

bool m5_test_link_is(const struct m5_test_link *link, const char *client_id);

/* ---- fault.c ---- */

/* The fault that this packet meets, counted; false: none. */
bool m5_test_fault_meets(struct m5_test_link *link, uint8_t type, bool from_client,
                         struct mqtt5_test_fault *out);
void m5_test_faults_clear(struct mqtt5_test_broker *broker);

/* CONNACK as `limits` would have it; false: it stays as it is. */
bool m5_test_rewrite_connack(const struct m5_test_link *link, const struct mqtt5_packet *packet,
                             struct m5_test_bytes *out);

/* ---- record.c ---- */

/* Notes a packet; @p packet NULL: it could not be decoded. */
void m5_test_record(struct m5_test_link *link, bool from_client, bool lost,
                    const struct mqtt5_frame *frame, struct mqtt5_bytes raw,
                    const struct mqtt5_packet *packet);
void m5_test_history_clear(struct m5_test_history *history);

/* Keeps the list of subscriptions: the question, and its answer. */
void m5_test_note_question(struct m5_test_link *link, uint8_t type, uint16_t packet_id,
                           struct mqtt5_bytes raw);
void m5_test_note_answer(struct m5_test_link *link, const struct mqtt5_packet *packet);

/* The session of @p client_id is over; data NULL: all sessions. */
void m5_test_forget_session(struct mqtt5_test_broker *broker, struct mqtt5_bytes client_id);

#endif
