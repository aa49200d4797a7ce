/* Records: what stands in the store for a session, a subscription, a message ... and its key.
 *
 *     'a'                        what the store belongs to: version, hash key, number of shards
 *     'b'                        when the broker was last seen alive
 *     'm' message                a message that several sessions wait for
 *     'p' shard, number          a message on its way between shards
 *     'r' number                 a retained message
 *     's' session, 0             a session
 *     's' session, 1, number     one of its subscriptions
 *     's' session, 2, sequence   one of its deliveries
 *     's' session, 3, packet id  a QoS 2 message that it sent and did not release yet
 *     's' session, 4             its will
 *
 * Numbers in keys are 8 bytes, big-endian (shard 1, packet id 2), so that the order of keys is the
 * order of things; all that belongs to a session lies side by side and goes with one prefix. Times
 * are of the wall clock, ms since 1970.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_RECORD_H
#define M5_BROKER_RECORD_H

#include "base/bytes.h"
#include "broker/message.h"

#include <mqtt5/error.h>

#define M5_RECORD_VERSION 1u

enum m5_record_kind {
    M5_RECORD_META,
    M5_RECORD_ALIVE,
    M5_RECORD_MESSAGE,
    M5_RECORD_MAIL,
    M5_RECORD_RETAINED,
    M5_RECORD_SESSION,
    M5_RECORD_SUBSCRIPTION,
    M5_RECORD_DELIVERY,
    M5_RECORD_INCOMING,
    M5_RECORD_WILL,
    M5_RECORD_UNKNOWN,
    M5_RECORD_KINDS = M5_RECORD_UNKNOWN
};

/* A key as it is built and taken apart. */
struct m5_record_key {
    uint8_t size;
    uint8_t bytes[18];
};

static inline struct mqtt5_bytes m5_key_bytes(const struct m5_record_key *key)
{
    return m5_bytes(key->bytes, key->size);
}

struct m5_record_key m5_key_of(enum m5_record_kind kind, uint64_t first, uint64_t second);

/* The prefix of everything that belongs to session @p serial. */
struct m5_record_key m5_key_session_prefix(uint64_t serial);

/* *@p first and *@p second: the numbers in the key, 0 where it has none. */
enum m5_record_kind m5_record_kind(struct mqtt5_bytes key, uint64_t *first, uint64_t *second);

/* The name of a kind, for people and JSON: "session", "delivery" ... */
const char *m5_record_kind_name(enum m5_record_kind kind);

/* ---- values; every write function has a size function, so that values are written in place ----
 */

struct m5_meta_record {
    uint64_t version, key[2];
    uint32_t shard_count;
};

struct m5_session_record {
    struct mqtt5_bytes client_id, username;
    bool anonymous, proved, connected;
    uint32_t expiry_s;
    uint64_t expires_wall_ms; /* while not connected; M5_NEVER */
    uint64_t will_wall_ms;    /* when its will is due, M5_NEVER */
    uint64_t given;           /* deliveries below it may have been sent */
};

struct m5_subscription_record {
    struct mqtt5_bytes share_name, filter;
    uint32_t id;
    uint8_t qos, flags;
};

enum m5_stored_body {
    M5_STORED_NOT,    /* there is no record */
    M5_STORED_NONE,   /* a record without the message: released, it is not needed any more */
    M5_STORED_WITHIN, /* the message is in the record */
    M5_STORED_APART   /* the message has a record of its own */
};

struct m5_delivery_record {
    uint64_t ticket, message; /* message: M5_STORED_APART */
    struct mqtt5_bytes ids;   /* read: four bytes each */
    uint32_t id_count;
    uint8_t qos;
    bool released, retain;
    enum m5_stored_body body;
    struct m5_message_view view; /* M5_STORED_WITHIN; times are of the wall clock */
};

struct m5_will_record {
    uint32_t delay_s, expiry_s;
    bool expires;
    struct m5_message_view view;
};

struct m5_retained_record {
    struct mqtt5_bytes publisher;
    struct m5_message_view view;
};

/* Our times and those of the wall clock; @p wall_ms: what to add to ours. What is past is past,
 * whenever the broker began. */
static inline uint64_t m5_to_wall(uint64_t time_ms, uint64_t wall_ms)
{
    return time_ms == M5_NEVER ? M5_NEVER : time_ms + wall_ms;
}

static inline uint64_t m5_from_wall(uint64_t time_ms, uint64_t wall_ms)
{
    if (time_ms == M5_NEVER)
        return M5_NEVER;
    return time_ms > wall_ms ? time_ms - wall_ms : 0;
}

/* @p wall_ms: what to add to the times of a view to have times of the wall clock. */
size_t m5_message_record_size(const struct m5_message_view *view);
uint8_t *m5_message_record_write(const struct m5_message_view *view, uint64_t wall_ms,
                                 uint8_t *out);

void m5_meta_record_write(const struct m5_meta_record *record, uint8_t *out);
#define M5_META_RECORD_SIZE  28u
#define M5_ALIVE_RECORD_SIZE 8u

size_t m5_session_record_size(const struct m5_session_record *record);
void m5_session_record_write(const struct m5_session_record *record, uint8_t *out);

size_t m5_subscription_record_size(const struct m5_subscription_record *record);
void m5_subscription_record_write(const struct m5_subscription_record *record, uint8_t *out);

/* @p ids: `id_count` of them. */
size_t m5_delivery_record_size(const struct m5_delivery_record *record);
void m5_delivery_record_write(const struct m5_delivery_record *record, const uint32_t *ids,
                              uint64_t wall_ms, uint8_t *out);

size_t m5_will_record_size(const struct m5_will_record *record);
void m5_will_record_write(const struct m5_will_record *record, uint64_t wall_ms, uint8_t *out);

size_t m5_retained_record_size(const struct m5_retained_record *record);
void m5_retained_record_write(const struct m5_retained_record *record, uint64_t wall_ms,
                              uint8_t *out);

/* Reading checks everything: false when the value makes no sense. Views point into it. */
bool m5_meta_record_read(struct mqtt5_bytes value, struct m5_meta_record *out);
bool m5_message_record_read(struct mqtt5_bytes value, struct m5_message_view *out);
bool m5_session_record_read(struct mqtt5_bytes value, struct m5_session_record *out);
bool m5_subscription_record_read(struct mqtt5_bytes value, struct m5_subscription_record *out);
bool m5_delivery_record_read(struct mqtt5_bytes value, struct m5_delivery_record *out);
bool m5_will_record_read(struct mqtt5_bytes value, struct m5_will_record *out);
bool m5_retained_record_read(struct mqtt5_bytes value, struct m5_retained_record *out);

#endif
