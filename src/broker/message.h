/* An application message: made once, kept by all who still have to deliver it.
 *
 * Belongs to one shard, is counted without atomics and never changes once made. Another shard gets
 * a copy of its own through the mail (mail.h).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_MESSAGE_H
#define M5_BROKER_MESSAGE_H

#include "base/bytes.h"
#include "base/pool.h"
#include "base/timer.h"

/* A message as its parts, wherever they lie. */
struct m5_message_view {
    struct mqtt5_bytes topic;
    struct mqtt5_bytes properties; /* encoded; without Topic Alias and Message Expiry Interval */
    struct mqtt5_bytes payload;
    uint64_t expires_at_ms; /* M5_NEVER: it has no Message Expiry Interval */
    uint8_t qos;            /* as published */
    bool retain;            /* as published */
};

struct m5_message {
    uint32_t references;
    uint32_t block_size; /* bytes of the allocation */
    uint64_t expires_at_ms;
    uint32_t properties_size, payload_size;
    uint16_t topic_size;
    uint8_t qos;
    bool retain;
    bool moved;                 /* it has got a record of its own since the start */
    uint32_t stored_references; /* records of deliveries that refer to its own record */
    uint64_t stored_id;         /* of that record */
    uint8_t data[];             /* topic, properties, payload */
};

#define M5_MESSAGE_CLASSES 6 /* 128 bytes to 4 KiB; larger ones are allocated singly */

struct m5_message_store {
    const struct mqtt5_allocator *allocator;
    struct m5_pool classes[M5_MESSAGE_CLASSES];
};

void m5_message_store_init(struct m5_message_store *store, const struct mqtt5_allocator *allocator);
void m5_message_store_fini(struct m5_message_store *store);
/* Gives free memory back; true when another call would give more. */
bool m5_message_store_trim(struct m5_message_store *store);

/* Copies the parts; one reference is the caller's. NULL without memory. */
struct m5_message *m5_message_new(struct m5_message_store *store,
                                  const struct m5_message_view *view);

void m5_message_destroy(struct m5_message_store *store, struct m5_message *message);

static inline struct m5_message *m5_message_hold(struct m5_message *message)
{
    message->references++;
    return message;
}

static inline void m5_message_release(struct m5_message_store *store, struct m5_message *message)
{
    if (--message->references == 0)
        m5_message_destroy(store, message);
}

static inline struct m5_message_view m5_message_read(const struct m5_message *message)
{
    const uint8_t *data = message->data;
    return (struct m5_message_view){
        .topic = m5_bytes(data, message->topic_size),
        .properties = m5_bytes(data + message->topic_size, message->properties_size),
        .payload =
            m5_bytes(data + message->topic_size + message->properties_size, message->payload_size),
        .expires_at_ms = message->expires_at_ms,
        .qos = message->qos,
        .retain = message->retain,
    };
}

#endif
