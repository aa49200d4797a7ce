/* A run: consecutive PUBLISH packets of one publisher to one topic, routed and delivered together.
 *
 * What a message costs is mostly what is done once per message and subscriber. A run does it once
 * per run and subscriber: one match, one look at each session, one copy of the bytes. Nothing can
 * come between the packets of a run, since a shard handles one connection's input at a time; so
 * what subscribers see is exactly what they would see one message at a time,
 * in the order of the publisher [MQTT-4.6.0-5] [MQTT-4.6.0-6].
 *
 * The messages of a run are views into the publisher's input (or a mail from another shard) and are
 * gone when the run ends. Who keeps one longer asks for m5_run_message(), which copies it once.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_RUN_H
#define M5_BROKER_RUN_H

#include "base/assert.h"
#include "broker/index.h"
#include "broker/message.h"
#include "broker/subscription.h"

#define M5_RUN_MAX       64          /* messages */
#define M5_RUN_BYTES_MAX (64 * 1024) /* frames; one larger message is a run of its own */

struct m5_conn;
struct m5_mail_record;

struct m5_run_item {
    struct m5_message_view view;
    struct m5_message *message; /* NULL until somebody keeps it */
    uint32_t frame_size;        /* bytes: at least what any shape without alias and ids takes */
    uint16_t packet_id;         /* of the publisher, 0 at QoS 0 */
};

/* The run's messages encoded for one kind of subscriber, packet identifiers left open. */
struct m5_template {
    uint8_t *bytes; /* scratch, kept from run to run */
    uint32_t capacity, size;
    uint32_t id_at[M5_RUN_MAX]; /* offset of the packet identifier; 0: QoS 0 */
};

/* Protocol version (3.x, 5), RETAIN (cleared, as published), granted QoS (0, 1, 2). */
#define M5_TEMPLATES 12

/* One session that gets the run, all its matching subscriptions taken together. */
struct m5_target {
    struct m5_session *session;
    uint32_t first_id, last_id; /* into the ids of the run; 0: none */
    uint32_t id_count;
    uint8_t qos, flags;
};

struct m5_target_id {
    uint32_t id, next; /* next: index, 0 = end */
};

struct m5_run {
    struct m5_session *publisher; /* NULL: not of this shard; for No Local */
    struct m5_conn *conn;         /* to acknowledge to; NULL: nobody */
    uint64_t publisher_hash;      /* of the client identifier, for shared subscriptions */
    struct mqtt5_bytes topic;
    const uint8_t *wire, *wire_end; /* all messages as QoS 0 v5 packets in the input; or NULL */
    uint32_t count;
    uint32_t bytes, largest; /* of the items' frame sizes */
    size_t payload_bytes;
    bool alone;            /* there is one subscriber on this shard */
    uint32_t acknowledged; /* items with QoS > 0 */
    bool retain;           /* an item has RETAIN */
    uint8_t allowed_qos;   /* at which the policy let the publisher publish here, unretained */
    bool failed;           /* QoS > 0 could not be handed on: no memory */
    bool store;            /* sessions that are stored have it stored */
    uint32_t placed;       /* after a restart: only for sessions that were on this shard */
    struct m5_match match;
    struct m5_run_item items[M5_RUN_MAX];
    uint32_t id_at[M5_RUN_MAX]; /* as in a template, for a run that is encoded in place */
    uint32_t built;             /* bit i: template i is of this run */
    struct m5_template templates[M5_TEMPLATES];
    /* scratch of targets, when several nodes match */
    struct m5_target *targets;
    uint32_t target_count, target_capacity;
    struct m5_target_id *ids;
    uint32_t id_count, id_capacity;
    uint32_t *id_list; /* the ids of one target, side by side */
    uint32_t id_list_capacity;
};

void m5_run_init(struct m5_run *run, const struct mqtt5_allocator *allocator);
/* Gives scratch memory back; now and then, not within a run. */
void m5_run_trim(struct m5_run *run, const struct mqtt5_allocator *allocator);
void m5_run_fini(struct m5_run *run, const struct mqtt5_allocator *allocator);

/* Starts a run for @p topic and routes it; the run must be empty. */
void m5_run_begin(struct m5_shard *shard, struct m5_session *publisher, struct m5_conn *conn,
                  struct mqtt5_bytes topic);

static inline bool m5_run_full(const struct m5_run *run)
{
    return run->count == M5_RUN_MAX || run->bytes >= M5_RUN_BYTES_MAX;
}

/* Adds a message to the current run, which is not full. @p wire: the packet as it came, if it is
 * what a v5 subscriber at QoS 0 would be sent; else empty. */
static inline void m5_run_add(struct m5_run *run, const struct m5_message_view *view,
                              uint16_t packet_id, struct mqtt5_bytes wire)
{
    M5_ASSERT(!m5_run_full(run));
    if (run->count == 0 && wire.len > 0)
        run->wire = run->wire_end = wire.data;
    if (run->wire != NULL) {
        run->wire_end += wire.len;
        if (wire.len == 0 || run->wire_end != wire.data + wire.len)
            run->wire = NULL;
    }
    /* An upper bound: header 5, topic length 2, packet id 2, property length 4, expiry 5. */
    uint32_t size = (uint32_t)(view->topic.len + view->properties.len + view->payload.len) + 18;
    struct m5_run_item *item = &run->items[run->count++];
    item->view = *view;
    item->message = NULL;
    item->frame_size = size;
    item->packet_id = packet_id;
    run->bytes += size;
    run->payload_bytes += view->payload.len;
    if (size > run->largest)
        run->largest = size;
    run->acknowledged += view->qos > 0;
    run->retain |= view->retain;
}

/* Delivers the current run, acknowledges it to its publisher, and empties it. */
void m5_run_flush(struct m5_shard *shard);

/* Delivers @p run on this shard only, to the lists of @p nodes. */
void m5_run_deliver_local(struct m5_shard *shard, struct m5_run *run,
                          struct m5_index_node *const *nodes, uint32_t node_count);

/* The run's message @p index as an object of this shard; the run keeps a reference until it ends.
 * NULL without memory. */
struct m5_message *m5_run_message(struct m5_shard *shard, struct m5_run *run, uint32_t index);

/* Takes in a run from another shard. */
void m5_run_mail(struct m5_shard *shard, const struct m5_mail_record *record);

/* Takes in a run that was on its way to shard @p placed of the last broker when that ended; on
 * every shard of this one. False: @p record makes no sense. What there is no memory for is counted.
 */
bool m5_run_restore(struct m5_shard *shard, uint32_t placed, struct mqtt5_bytes record);

/* Publishes a message that no packet carried (a will, $SYS) with all that belongs to a publish. */
void m5_publish(struct m5_shard *shard, struct m5_session *publisher,
                const struct m5_message_view *view);

/* One message for one session at QoS 0, with what a template cannot have. */
struct m5_single {
    const struct m5_message_view *view;
    const uint32_t *ids;
    uint32_t id_count;
    bool retain; /* as sent */
};
/* PUBACK or PUBREC to a publisher when the journal's @p position is stored; the reason code is left
 * out where the version has none. */
void m5_publish_acknowledge(struct m5_conn *conn, uint8_t qos, uint16_t packet_id, uint8_t reason,
                            uint64_t position);

void m5_deliver_qos0(struct m5_shard *shard, struct m5_session *session,
                     const struct m5_single *single);

#endif
