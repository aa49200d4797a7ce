/* Retained messages of a broker, shared by its shards: set by topic, found by filter.
 *
 * The order that makes this right between shards: a publisher first sets the retained message,
 * then matches the route index; a subscriber is first in the index, then collects retained
 * messages. So a message is seen live, or retained, or (rarely, in a race) both, never neither.
 *
 * Guarded by a spin lock; a set is O(topic); a collection takes references only and copies nothing.
 * Records are immutable and counted atomically.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_RETAINED_H
#define M5_BROKER_RETAINED_H

#include "base/hash.h"

#include <mqtt5/allocator.h>
#include <mqtt5/bytes.h>
#include <mqtt5/error.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct m5_batch;
struct m5_retained_store;

/* What is kept of a message. All views point into the record itself once it is stored. */
struct m5_retained_value {
    struct mqtt5_bytes topic;
    struct mqtt5_bytes properties; /* encoded, as forwarded; without Topic Alias and expiry */
    struct mqtt5_bytes payload;
    struct mqtt5_bytes publisher; /* client id of the publisher, for No Local [MQTT-3.8.3-3] */
    uint64_t expires_at_ms;       /* monotonic; UINT64_MAX = never */
    uint8_t qos;
    bool stored;     /* the store has it, too: see m5_retained_seal() */
    uint64_t number; /* of its record there; set by m5_retained_set(), given by a restart */
    bool exempt;     /* the server's own: no limit counts it, nor do count and bytes */
};

struct m5_retained {
    _Atomic uint32_t references;
    _Atomic bool superseded; /* replaced, cleared or expired since: need not be delivered */
    size_t size;             /* bytes of the whole record */
    struct m5_retained_value value;
};

struct m5_retained_limits {
    uint32_t messages_max; /* 0 = none */
    size_t bytes_max;      /* records, 0 = none */
    uint32_t payload_max;  /* 0 = none */
};

/* A growing list of references, the holder's own. */
struct m5_retained_list {
    struct m5_retained **items;
    uint32_t count, capacity;
};

/* @p wall_ms: what to add to times for the store. */
struct m5_retained_store *m5_retained_new(const struct mqtt5_allocator *allocator,
                                          const struct m5_hash_key *key,
                                          const struct m5_retained_limits *limits,
                                          uint64_t wall_ms);
void m5_retained_free(struct m5_retained_store *store);

/* Stores a copy of @p value, replacing what the topic had [MQTT-3.3.1-5]. An empty payload removes
 * it [MQTT-3.3.1-6] [MQTT-3.3.1-7].
 * @return MQTT5_OK, MQTT5_ERR_QUOTA (a limit; what was there stays), MQTT5_ERR_NOMEM. */
enum mqtt5_error m5_retained_set(struct m5_retained_store *store,
                                 const struct m5_retained_value *value);

/* After a restart: @p value as the store has it, under `value->number`. What is older than another
 * one of its topic is left out; *@p superseded: number of the record that is to be deleted, 0 none.
 * Errors as of m5_retained_set(). */
enum mqtt5_error m5_retained_restore(struct m5_retained_store *store,
                                     const struct m5_retained_value *value, uint64_t *superseded);

/* True once when there are new changes for the store: it is to be told. Any thread. */
bool m5_retained_announce(struct m5_retained_store *store);

/* Changes for the store since the last call, oldest first; NULL: none. Any thread. */
struct m5_batch *m5_retained_take(struct m5_retained_store *store);

/* A record to be deleted from the store; false without memory. */
bool m5_retained_strike(struct m5_retained_store *store, uint64_t number);

/* Appends a reference to every live record whose topic matches @p filter (valid, without $share);
 * expired ones are removed on the way. Ordered by time of storing within one topic level group is
 * not promised. @return MQTT5_OK or MQTT5_ERR_NOMEM (the list keeps what it has). */
enum mqtt5_error m5_retained_collect(struct m5_retained_store *store, struct mqtt5_bytes filter,
                                     uint64_t now_ms, struct m5_retained_list *list);

void m5_retained_release(struct m5_retained_store *store, struct m5_retained *record);

/* Releases what is left in @p list from @p from on, and its memory. */
void m5_retained_list_fini(struct m5_retained_store *store, struct m5_retained_list *list,
                           uint32_t from);

/* Removes up to @p budget expired records; called now and then by one shard. */
uint32_t m5_retained_expire(struct m5_retained_store *store, uint64_t now_ms, uint32_t budget);

uint64_t m5_retained_count(const struct m5_retained_store *store);
size_t m5_retained_bytes(const struct m5_retained_store *store);

#endif
