/* Subscriptions: records in their session, entries in the lists that the route index carries.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_SUBSCRIPTION_H
#define M5_BROKER_SUBSCRIPTION_H

#include "base/list.h"
#include "broker/index.h"

#include <mqtt5/packet.h>

struct m5_session;
struct m5_shard;
struct m5_share_group;

#define M5_SUB_NO_LOCAL            1u
#define M5_SUB_RETAIN_AS_PUBLISHED 2u

/* What a subscriber asked for, in the form that delivery uses. */
struct m5_sub_options {
    uint32_t id; /* subscription identifier, 0 = none */
    uint8_t qos; /* granted */
    uint8_t flags;
};

/* One subscription of one session; from a pool of the shard. */
struct m5_subscription {
    struct m5_list in_session;
    struct m5_session *session;
    struct m5_index_node *node;
    uint64_t serial; /* never used twice on its shard */
    struct m5_sub_options options;
    uint32_t position;        /* in the node's list (not shared) */
    uint32_t hash;            /* in the shard's map */
    struct m5_shared *shared; /* shared subscriptions only, then node is NULL */
};

/* What a shared subscription has instead of a place in a list. One block with its strings. */
struct m5_shared {
    struct mqtt5_bytes name, filter;
    uint32_t home; /* shard that keeps the group */
    size_t size;   /* of the block */
    uint8_t strings[];
};

/* What a publish reads for each subscriber: side by side in memory. */
struct m5_sub_entry {
    struct m5_session *session;
    struct m5_subscription *subscription;
    struct m5_sub_options options;
};

/* The subscribers of one node on one shard; and, on a group's home shard, its groups. */
struct m5_sub_list {
    struct m5_share_group *groups; /* linked */
    uint32_t count, capacity;
    uint32_t stored;    /* subscribers, and members of groups, whose messages are stored */
    uint32_t lingering; /* of these: those that have ended */
    struct m5_sub_entry entries[];
};

static inline struct mqtt5_bytes m5_subscription_filter(const struct m5_subscription *subscription)
{
    return subscription->shared != NULL ? subscription->shared->filter : subscription->node->filter;
}

/* The session's subscription to exactly this filter and share name [MQTT-3.10.4-1], or NULL. */
struct m5_subscription *m5_subscription_find(const struct m5_shard *shard,
                                             const struct m5_session *session,
                                             const struct mqtt5_filter *filter);

/* The shared subscription of this serial number, or NULL: it has gone. Tickets and mail name shared
 * subscriptions so, never by pointer. */
struct m5_subscription *m5_shared_find(const struct m5_shard *shard, uint64_t serial);

/* Makes a subscription that did not exist, with this serial number (0: a new one); a shared one
 * still has to join its group (share.h). NULL without memory, nothing changed. */
struct m5_subscription *m5_subscription_add(struct m5_shard *shard, struct m5_session *session,
                                            const struct mqtt5_filter *filter,
                                            struct m5_sub_options options, uint64_t serial);

/* Changes the options of an existing one [MQTT-3.8.4-3]. */
void m5_subscription_change(struct m5_shard *shard, struct m5_subscription *subscription,
                            struct m5_sub_options options);

/* Frees @p subscription; a shared one must have left its group. */
void m5_subscription_remove(struct m5_shard *shard, struct m5_subscription *subscription);

/* All subscriptions of @p session get stored messages from now on, or none does any more; groups of
 * other shards learn it when it joins or leaves. */
void m5_subscriptions_stored(struct m5_shard *shard, struct m5_session *session, bool stored);

/* A stored subscription that has ended lingers: its node counts it as stored until its end is. Else
 * a message that it would have got might be acknowledged, and a crash bring it back without. From
 * other shards such a message comes as mail, which is in the store until this shard has stored what
 * it made of it: nothing, and that is behind the end. */
struct m5_lingerer {
    struct m5_index_node *node;
    uint64_t position; /* of the journal */
};

/* A ring, by position. */
struct m5_lingerers {
    struct m5_lingerer *items;
    uint32_t capacity; /* a power of two, or 0 */
    uint64_t head, tail;
};

/* Lets go what ended up to @p position. */
void m5_lingerers_release(struct m5_shard *shard, uint64_t position);
void m5_lingerers_fini(struct m5_shard *shard);

/* @p change more subscribers of the node's list on this shard have their messages stored. */
void m5_sub_list_stored(struct m5_shard *shard, struct m5_index_node *node, int change);

/* The node's list on this shard, made on demand and pinned; NULL without memory. */
struct m5_sub_list *m5_sub_list_pin(struct m5_shard *shard, const struct mqtt5_filter *filter,
                                    struct m5_index_node **node);

/* Frees and unpins the node's list when it has nothing left. */
void m5_sub_list_settle(struct m5_shard *shard, struct m5_index_node *node);

#endif
