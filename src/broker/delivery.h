/* Deliveries at QoS 1 and 2 to one session: the window, the queue, the acknowledgements.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_DELIVERY_H
#define M5_BROKER_DELIVERY_H

#include "broker/session.h"

#include <mqtt5/error.h>

/* One copy of a message for one session. */
struct m5_offer {
    struct m5_message *message; /* a reference is taken when it is kept */
    const uint32_t *ids;
    uint32_t id_count;
    uint64_t ticket; /* see struct m5_delivery */
    uint8_t qos;     /* 1 or 2 */
    bool retain;
    bool store;  /* for sessions that are stored */
    bool shared; /* others may get the same message */
};

/* Adds a delivery: sent at once if the window allows, else queued within the session's limits.
 * Returns false when it was dropped (counted): a limit, or no memory. */
bool m5_delivery_offer(struct m5_shard *shard, struct m5_session *session,
                       const struct m5_offer *offer);

/* True when @p count more deliveries may be sent right now, one after the other, without a look at
 * each: m5_delivery_record() may then be called that many times. Room has been reserved. */
bool m5_delivery_ready(struct m5_shard *shard, struct m5_session *session, uint32_t count);

/* Records a delivery whose PUBLISH the caller writes itself; returns its packet identifier. */
uint16_t m5_delivery_record(struct m5_session *session, struct m5_message *message, uint8_t qos,
                            bool retain);

/* Stores the last delivery that m5_delivery_record() recorded. */
void m5_delivery_store(struct m5_shard *shard, struct m5_session *session, bool shared);

struct m5_delivery_record;

/* A delivery as the store has it. */
struct m5_delivery_restored {
    uint64_t sequence;
    const struct m5_delivery_record *record;
    struct m5_message *message; /* NULL: released; a reference is taken */
    bool sent;                  /* it may have been */
};

/* Puts a delivery back, sequence numbers ascending. False: no memory; or *@p sound is false, it
 * cannot be. */
bool m5_delivery_restore(struct m5_shard *shard, struct m5_session *session,
                         const struct m5_delivery_restored *restored, bool *sound);

/* All are back; @p connected: the client was there when the broker ended. */
void m5_delivery_restored(struct m5_shard *shard, struct m5_session *session, bool connected);

/* Sends what waits as far as the window and the output allow. */
void m5_delivery_pump(struct m5_shard *shard, struct m5_session *session);

/* The connection has gone: what was sent waits to be sent again. */
void m5_delivery_rewind(struct m5_shard *shard, struct m5_session *session);

/* After CONNACK with session present: sends everything unacknowledged again [MQTT-4.4.0-1]. */
void m5_delivery_resume(struct m5_shard *shard, struct m5_session *session);

/* Acknowledgements from the client. False: the packet id is not known in that state. */
bool m5_delivery_puback(struct m5_shard *shard, struct m5_session *session, uint16_t packet_id);
bool m5_delivery_pubrec(struct m5_shard *shard, struct m5_session *session, uint16_t packet_id,
                        bool refused);
bool m5_delivery_pubcomp(struct m5_shard *shard, struct m5_session *session, uint16_t packet_id);

/* Hands shared deliveries that may still go to somebody else back to their groups: all that wait,
 * and QoS 1 that was sent. QoS 2 that was sent stays [MQTT-4.8.2-4]. @p ticket: of this shared
 * subscription; 0: of all. */
void m5_delivery_hand_back(struct m5_shard *shard, struct m5_session *session, uint64_t ticket);

/* Gives memory back that an idle session does not need. */
void m5_delivery_trim(struct m5_shard *shard, struct m5_session *session);

/* Drops every delivery. */
void m5_delivery_clear(struct m5_shard *shard, struct m5_session *session);

#endif
