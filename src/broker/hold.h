/* What waits until the store has what it depends on: answers to clients, connections that may not
 * be told yet that their session was found, deliveries at QoS 2.
 *
 * Answers of one connection leave in the order in which they were written, whatever they wait for
 * [MQTT-4.6.0-2] [MQTT-4.6.0-3]; messages and PINGRESP pass them by.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_HOLD_H
#define M5_BROKER_HOLD_H

#include "broker/output.h"

struct m5_conn;
struct m5_session;
struct m5_shard;

/* What is held for one connection or session; lives until its last entry has left. */
struct m5_held {
    struct m5_conn *conn;       /* NULL: it has gone */
    struct m5_session *session; /* likewise */
    struct m5_output answers;
    uint32_t entries; /* in the shard's queues */
    uint64_t written; /* position of its last entry that waits until it is written */
    uint32_t strict;  /* of them: those that wait until it is durable */
};

enum m5_hold_kind { M5_HOLD_ANSWERS, M5_HOLD_CONN, M5_HOLD_DELIVERIES };

struct m5_hold_entry {
    struct m5_held *held;
    uint64_t position; /* of the journal */
    uint64_t amount;   /* ANSWERS: bytes; DELIVERIES: those before this number may be sent */
    enum m5_hold_kind kind;
};

/* Said with a position: it is enough that it is written. */
#define M5_WHEN_WRITTEN ((uint64_t)1 << 63)

/* A ring, by position. */
struct m5_holds {
    struct m5_hold_entry *entries;
    uint32_t capacity; /* a power of two, or 0 */
    uint64_t head, tail;
};

/* Room for @p size bytes of an answer that may leave when @p position is stored (or written:
 * M5_WHEN_WRITTEN), and all answers before it have left. NULL without memory. */
uint8_t *m5_hold_answer(struct m5_conn *conn, size_t size, uint64_t position);

/* Nothing of @p conn is sent before @p position is stored, or written; false without memory. */
bool m5_hold_conn(struct m5_conn *conn, uint64_t position);

/* The deliveries of @p session before @p sequence may be sent when @p position is stored; false
 * without memory. */
bool m5_hold_deliveries(struct m5_session *session, struct m5_shard *shard, uint64_t sequence,
                        uint64_t position);

/* Lets go what waits in @p holds for positions up to @p stored. */
void m5_hold_release(struct m5_shard *shard, struct m5_holds *holds, uint64_t stored);

/* True when the journal has got to @p position, which may say M5_WHEN_WRITTEN. */
bool m5_hold_reached(const struct m5_shard *shard, uint64_t position);

/* Connections that were not read from, since the journal was full, go on. */
void m5_hold_resume(struct m5_shard *shard);

/* The connection or session goes: what is held for it is forgotten. */
void m5_hold_forget(struct m5_shard *shard, struct m5_held **held);

void m5_hold_fini(struct m5_shard *shard);

#endif
