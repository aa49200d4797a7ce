/* What of a shard is stored, and when: the engine's modules say what happened, this writes the
 * records. Every call is free of cost, but a test, without a store and for what is not stored.
 *
 * A session is stored (`session->stored`) when it outlives its connection. Only then is anything of
 * it stored: subscriptions, its will, the deliveries of QoS 1 and 2 whose topic's durability is not
 * `memory`, QoS 2 identifiers that it sent such messages with.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_PERSIST_H
#define M5_BROKER_PERSIST_H

#include "broker/record.h"
#include "broker/session.h"

struct m5_engine;

/* What the configuration says about messages of @p topic. */
enum mqtt5_durability m5_durability_of(const struct m5_engine *engine, struct mqtt5_bytes topic);

/* True when messages of @p topic are stored at all. */
bool m5_is_stored_topic(const struct m5_shard *shard, struct mqtt5_bytes topic);

/* True when so much waits to be stored that publishers have to wait. */
/* Nothing is stored at present: commits fail, or the journal has ended. */
bool m5_journal_broken(const struct m5_shard *shard);

bool m5_journal_full(const struct m5_shard *shard);

/* The position of the journal that an answer waits for: to be durable, to be written
 * (M5_WHEN_WRITTEN), or 0: it does not wait. */
uint64_t m5_durability_position(enum mqtt5_durability durability, uint64_t position);

/* The position that an answer to @p session waits for. @p always: until it is durable, whatever the
 * configuration says (steps of QoS 2, where going back would lose or double a later message). */
uint64_t m5_persist_position(const struct m5_shard *shard, const struct m5_session *session,
                             bool always);

/* The session as it is now: after CONNECT, and when its connection has gone. */
void m5_persist_session(struct m5_shard *shard, struct m5_session *session);

/* Packet identifiers of deliveries below @p sequence may be given out. */
void m5_persist_reserve(struct m5_shard *shard, struct m5_session *session, uint64_t sequence);

/* The session and all that belongs to it is stored no more. */
void m5_persist_session_gone(struct m5_shard *shard, struct m5_session *session);

void m5_persist_subscription(struct m5_shard *shard, const struct m5_subscription *subscription);
void m5_persist_subscription_gone(struct m5_shard *shard,
                                  const struct m5_subscription *subscription);

/* A delivery that came; @p shared: others may get its message, too, which is then stored once. */
void m5_persist_delivery(struct m5_shard *shard, struct m5_session *session, uint64_t sequence,
                         bool shared);

/* After a restart: a delivery whose message has no record on its new shard is stored again. */
void m5_persist_moved(struct m5_shard *shard, struct m5_session *session, uint64_t sequence);

/* PUBREC came: from now on only PUBREL is sent. Before its message is forgotten. */
void m5_persist_released(struct m5_shard *shard, struct m5_session *session,
                         struct m5_delivery *delivery, uint64_t sequence);

/* It is over. Before its message is forgotten. */
void m5_persist_delivery_gone(struct m5_shard *shard, struct m5_session *session,
                              struct m5_delivery *delivery, uint64_t sequence);

void m5_persist_incoming(struct m5_shard *shard, struct m5_session *session, uint16_t packet_id);
void m5_persist_incoming_gone(struct m5_shard *shard, struct m5_session *session,
                              uint16_t packet_id);

void m5_persist_will(struct m5_shard *shard, struct m5_session *session);
void m5_persist_will_gone(struct m5_shard *shard, struct m5_session *session);

/* A message on its way to shard @p to: room for @p size bytes, and its number, under which the
 * receiver strikes it out. NULL: the journal has ended. */
enum m5_mail_kind { M5_MAIL_OF_RUN, M5_MAIL_OF_SHARE };
uint8_t *m5_persist_mail(struct m5_shard *shard, uint32_t to, enum m5_mail_kind kind, size_t size,
                         uint64_t *number);
void m5_persist_mail_gone(struct m5_shard *shard, uint64_t number);

/* How often the store is told that the broker lives, ms: what crashed lived that long at most after
 * it was last told. */
#define M5_ALIVE_MS 60000u

/* Now and then: that the broker lives, if there are sessions that are stored. */
void m5_persist_alive(struct m5_shard *shard);

#endif
