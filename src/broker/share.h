/* Shared subscriptions: groups of (name, filter), each kept by one shard, its home.
 *
 * The home is decided by the filter's hash, so every shard knows it. A publish reaches the home
 * through the route index like any subscriber's shard; the home picks one member [MQTT-4.8.2-3] and
 * passes the message on to the member's shard if that is another one. There it becomes an ordinary
 * delivery that carries a ticket. A member that goes hands back what somebody else may get: see
 * m5_delivery_hand_back().
 *
 * Members are named by shard and serial number, which are never used twice: a name that no longer
 * fits finds nobody.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_SHARE_H
#define M5_BROKER_SHARE_H

#include "broker/message.h"
#include "broker/session.h"

struct m5_run;
struct m5_mail_record;

struct m5_share_member {
    uint64_t serial; /* of the subscription, on shard `shard` */
    uint32_t shard;
    uint32_t inflight; /* handed to it and not completed */
    bool online;
    bool stored; /* its session is */
};

struct m5_share_group {
    struct m5_share_group *next; /* in its node's list */
    struct m5_list in_shard;     /* all groups of the shard */
    struct m5_index_node *node;
    struct mqtt5_bytes name; /* owned */
    struct m5_share_member *members;
    uint32_t count, capacity;
    uint32_t cursor; /* round robin */
    uint64_t sticky; /* serial of the member, 0 = none */
};

/* The shard that keeps the groups of @p filter. */
uint32_t m5_share_home(const struct m5_shard *shard, struct mqtt5_bytes filter);

enum m5_share_joined { M5_SHARE_FAILED, M5_SHARE_JOINED, M5_SHARE_AWAITED };

/* Makes a new shared subscription known to its group. AWAITED: JOINED mail will come. */
enum m5_share_joined m5_share_join(struct m5_shard *shard, struct m5_subscription *subscription);

void m5_share_leave(struct m5_shard *shard, struct m5_subscription *subscription);

/* Tells the groups of all shared subscriptions of @p session whether it is online. */
void m5_share_status(struct m5_shard *shard, struct m5_session *session, bool online);

/* At home: passes each message of @p run to one member of each group of @p list. */
void m5_share_route(struct m5_shard *shard, struct m5_run *run, struct m5_sub_list *list);

/* A delivery with a ticket is complete, or was dropped. */
void m5_share_done(struct m5_shard *shard, uint64_t ticket);

/* Hands a message back to the group of @p subscription, for anybody but this member; @p stored: it
 * was stored for this one. */
void m5_share_return(struct m5_shard *shard, struct m5_subscription *subscription,
                     const struct m5_message_view *view, bool stored);

/* After a restart, before the first turn: @p subscription is a member of its group again, offline.
 * False without memory. */
bool m5_share_restore(struct m5_shard *shard, struct m5_subscription *subscription);

/* Likewise: a message of a group that was on its way between shards. False: it makes no sense. */
bool m5_share_restore_mail(struct m5_shard *shard, struct mqtt5_bytes record);

/* On the member's shard: its group's home has answered (subscribe.c).
 */
void m5_suback_joined(struct m5_shard *shard, uint64_t serial, bool joined);

/* Frees all groups of the shard, whose sessions are gone. */
void m5_share_fini(struct m5_shard *shard);

/* Mail for this module. */
void m5_share_mail(struct m5_shard *shard, uint32_t from, const struct m5_mail_record *record);

#endif
