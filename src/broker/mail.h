/* Mail between shards: whole batches of records through bounded rings with one writer and one
 * reader each.
 *
 * A batch belongs to the shard that made it: the reader hands it back through a second ring, so
 * that memory is always freed where it was allocated. Records of one sender are taken in in the
 * order they were added. Messages are copied into the batch: shards share no message.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_MAIL_H
#define M5_BROKER_MAIL_H

#include <mqtt5/allocator.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum m5_mail_type {
    M5_MAIL_RUN,           /* a run for the lists of some nodes */
    M5_MAIL_SHARE_JOIN,    /* to a group's home: a member comes; answered by JOINED */
    M5_MAIL_SHARE_JOINED,  /* to the member's shard: its SUBACK may go */
    M5_MAIL_SHARE_LEAVE,   /* to the home */
    M5_MAIL_SHARE_STATUS,  /* to the home: a member went online or offline */
    M5_MAIL_SHARE_DELIVER, /* to the member's shard: a message */
    M5_MAIL_SHARE_RETURN,  /* to the home: a message whose member has gone */
    M5_MAIL_SHARE_RECALL,  /* to the member's shard: others are online, hand back what you can */
    M5_MAIL_SHARE_DONE     /* to the home: a member completed a delivery */
};

struct m5_mail_record {
    uint32_t size; /* of the record with this header, a multiple of 8 */
    uint32_t type; /* enum m5_mail_type */
    /* the type's own struct follows */
};

struct m5_mail_batch {
    struct m5_mail_batch *next;
    uint32_t size, capacity; /* bytes used and there are, after this header */
};

#define M5_CHANNEL_SLOTS 256u

/* One direction between two shards. */
struct m5_channel {
    /* written by the sender */
    _Atomic uint32_t sent;
    struct m5_mail_batch *slots[M5_CHANNEL_SLOTS];
    struct m5_mail_batch *open;             /* being filled */
    struct m5_mail_batch *held, *held_last; /* full ring: what waits, oldest first */
    struct m5_mail_batch *spare;            /* one standard batch kept for the next turn */
    uint32_t collected;                     /* batches taken back */
    /* written by the receiver, on a cache line of its own */
    uint8_t apart[64];
    _Atomic uint32_t done; /* batches read and given back */
    uint8_t apart_too[60];
};

struct m5_shard;

/* Room for a record of @p size bytes after its header, for shard @p to (another one), 8-aligned.
 * NULL without memory. */
void *m5_mail_add(struct m5_shard *shard, uint32_t to, enum m5_mail_type type, size_t size);

/* Hands over what was added; returns the mask of shards to wake. */
uint64_t m5_mail_send(struct m5_shard *shard);

/* Takes in everything that other shards had sent by now, and takes own batches back. */
void m5_mail_receive(struct m5_shard *shard);

/* True while mail waits for room in a ring. */
bool m5_mail_held(const struct m5_shard *shard);

void m5_mail_fini(struct m5_shard *shard);

#endif
