/* Records of what happens to sessions.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/persist.h"

#include "broker/shard.h"

/* ---- what is stored ---- */

enum mqtt5_durability m5_durability_of(const struct m5_engine *engine, struct mqtt5_bytes topic)
{
    const struct mqtt5_broker_config *config = &engine->config;
    for (uint32_t i = 0; i < config->durability_rule_count; i++) {
        const struct mqtt5_durability_rule *rule = &config->durability_rules[i];
        if (mqtt5_filter_matches(m5_bytes_of(rule->filter), topic))
            return rule->durability;
    }
    return config->durability;
}

bool m5_is_stored_topic(const struct m5_shard *shard, struct mqtt5_bytes topic)
{
    return shard->journal.on && m5_durability_of(shard->engine, topic) != MQTT5_DURABILITY_MEMORY;
}

bool m5_journal_broken(const struct m5_shard *shard)
{
    return shard->journal.failing || shard->journal.ended;
}

bool m5_journal_full(const struct m5_shard *shard)
{
    return shard->journal.bytes >= shard->config->store_bytes_max;
}

uint64_t m5_durability_position(enum mqtt5_durability durability, uint64_t position)
{
    switch (durability) {
    case MQTT5_DURABILITY_STRICT: return position;
    case MQTT5_DURABILITY_RELAXED: return position | M5_WHEN_WRITTEN;
    case MQTT5_DURABILITY_MEMORY: break;
    }
    return 0;
}

uint64_t m5_persist_position(const struct m5_shard *shard, const struct m5_session *session,
                             bool always)
{
    if (session == NULL || !session->stored)
        return 0;
    enum mqtt5_durability durability = always ? MQTT5_DURABILITY_STRICT : shard->config->durability;
    return m5_durability_position(durability, session->position);
}

/* ---- writing ---- */

static uint8_t *put(struct m5_shard *shard, struct m5_session *session, enum m5_store_op op,
                    const struct m5_record_key *key, size_t size)
{
    uint8_t *at = m5_journal_put(shard, op, m5_key_bytes(key), size);
    if (session != NULL)
        session->position = shard->journal.position;
    return at;
}

static void strike(struct m5_shard *shard, struct m5_session *session, enum m5_record_kind kind,
                   uint64_t second)
{
    struct m5_record_key key = m5_key_of(kind, session->serial, second);
    put(shard, session, M5_STORE_DELETE, &key, 0);
}

/* ---- the broker ---- */

static void note_alive(struct m5_shard *shard)
{
    if (shard->alive_ms != 0 && shard->now_ms - shard->alive_ms < M5_ALIVE_MS)
        return;
    shard->alive_ms = shard->now_ms;
    struct m5_record_key key = m5_key_of(M5_RECORD_ALIVE, 0, 0);
    uint8_t *at = m5_journal_put(shard, M5_STORE_PUT, m5_key_bytes(&key), M5_ALIVE_RECORD_SIZE);
    if (at != NULL)
        m5_write_u64(at, m5_to_wall(shard->now_ms, shard->engine->wall_ms));
}

void m5_persist_alive(struct m5_shard *shard)
{
    if (shard->journal.on && shard->stored_sessions > 0)
        note_alive(shard);
}

/* ---- sessions ---- */

void m5_persist_session(struct m5_shard *shard, struct m5_session *session)
{
    if (!session->stored)
        return;
    if (session->conn != NULL) /* after a crash its connection ended when we were last alive */
        note_alive(shard);
    struct m5_session_record record = {
        .client_id = session->principal.client_id,
        .username = session->principal.username,
        .anonymous = session->principal.anonymous,
        .proved = session->principal.proved,
        .connected = session->conn != NULL,
        .expiry_s = session->expiry_s,
        .expires_wall_ms = m5_to_wall(session->expires_at_ms, shard->engine->wall_ms),
        .will_wall_ms = m5_to_wall(session->will_at_ms, shard->engine->wall_ms),
        .given = session->given};
    if (record.connected && session->reserved > session->given)
        record.given = session->reserved;
    session->reserved = record.given;
    struct m5_record_key key = m5_key_of(M5_RECORD_SESSION, session->serial, 0);
    uint8_t *at = put(shard, session, M5_STORE_PUT, &key, m5_session_record_size(&record));
    if (at != NULL)
        m5_session_record_write(&record, at);
}

void m5_persist_reserve(struct m5_shard *shard, struct m5_session *session, uint64_t sequence)
{
    session->reserved = sequence;
    m5_persist_session(shard, session);
    session->reserved_position = session->position;
}

/* One session less waits for the message; the last one takes its record along. */
static void let_message_go(struct m5_shard *shard, struct m5_message *message)
{
    M5_ASSERT(message->stored_references > 0);
    if (--message->stored_references > 0)
        return;
    struct m5_record_key key = m5_key_of(M5_RECORD_MESSAGE, message->stored_id, 0);
    put(shard, NULL, M5_STORE_DELETE, &key, 0);
    message->stored_id = 0;
}

void m5_persist_session_gone(struct m5_shard *shard, struct m5_session *session)
{
    if (!session->stored)
        return;
    struct m5_record_key key = m5_key_session_prefix(session->serial);
    put(shard, session, M5_STORE_DELETE_PREFIX, &key, 0);
    for (uint64_t at = session->head; at != session->tail; at++) {
        struct m5_delivery *delivery = m5_delivery_at(session, at);
        if (delivery->stored == M5_STORED_APART)
            let_message_go(shard, delivery->message);
        delivery->stored = M5_STORED_NOT;
    }
    session->incoming_stored = 0;
    m5_subscriptions_stored(shard, session, false);
    session->stored = false;
    shard->stored_sessions--;
    shard->ended_position = shard->journal.position;
}

/* ---- subscriptions ---- */

void m5_persist_subscription(struct m5_shard *shard, const struct m5_subscription *subscription)
{
    struct m5_session *session = subscription->session;
    if (!session->stored)
        return;
    const struct m5_sub_options *options = &subscription->options;
    struct m5_subscription_record record = {.filter = m5_subscription_filter(subscription),
                                            .id = options->id,
                                            .qos = options->qos,
                                            .flags = options->flags};
    if (subscription->shared != NULL)
        record.share_name = subscription->shared->name;
    struct m5_record_key key =
        m5_key_of(M5_RECORD_SUBSCRIPTION, session->serial, subscription->serial);
    uint8_t *at = put(shard, session, M5_STORE_PUT, &key, m5_subscription_record_size(&record));
    if (at != NULL)
        m5_subscription_record_write(&record, at);
}

void m5_persist_subscription_gone(struct m5_shard *shard,
                                  const struct m5_subscription *subscription)
{
    if (subscription->session->stored)
        strike(shard, subscription->session, M5_RECORD_SUBSCRIPTION, subscription->serial);
}

/* ---- deliveries ---- */

static void write_message(struct m5_shard *shard, struct m5_message *message)
{
    message->stored_id = m5_serial_next(shard);
    struct m5_message_view view = m5_message_read(message);
    struct m5_record_key key = m5_key_of(M5_RECORD_MESSAGE, message->stored_id, 0);
    uint8_t *at = put(shard, NULL, M5_STORE_PUT_NEW, &key, m5_message_record_size(&view));
    if (at != NULL)
        m5_message_record_write(&view, shard->engine->wall_ms, at);
}

static void write_delivery(struct m5_shard *shard, struct m5_session *session, uint64_t sequence,
                           enum m5_store_op op)
{
    const struct m5_delivery *delivery = m5_delivery_at(session, sequence);
    struct m5_delivery_record record = {.ticket = delivery->ticket,
                                        .message = delivery->message->stored_id,
                                        .id_count = delivery->id_count,
                                        .qos = delivery->qos,
                                        .retain = delivery->retain,
                                        .body = (enum m5_stored_body)delivery->stored,
                                        .view = m5_message_read(delivery->message)};
    struct m5_record_key key = m5_key_of(M5_RECORD_DELIVERY, session->serial, sequence);
    uint8_t *at = put(shard, session, op, &key, m5_delivery_record_size(&record));
    if (at != NULL)
        m5_delivery_record_write(&record, m5_delivery_ids(delivery), shard->engine->wall_ms, at);
}

void m5_persist_delivery(struct m5_shard *shard, struct m5_session *session, uint64_t sequence,
                         bool shared)
{
    struct m5_delivery *delivery = m5_delivery_at(session, sequence);
    if (!session->stored)
        return;
    delivery->stored = shared ? M5_STORED_APART : M5_STORED_WITHIN;
    if (shared && delivery->message->stored_references++ == 0)
        write_message(shard, delivery->message);
    write_delivery(shard, session, sequence, M5_STORE_PUT_NEW);
}

void m5_persist_moved(struct m5_shard *shard, struct m5_session *session, uint64_t sequence)
{
    const struct m5_delivery *delivery = m5_delivery_at(session, sequence);
    if (delivery->stored != M5_STORED_APART)
        return;
    bool moved = delivery->message->moved || delivery->message->stored_id == 0;
    if (delivery->message->stored_id == 0)
        write_message(shard, delivery->message);
    delivery->message->moved = moved;
    if (moved)
        write_delivery(shard, session, sequence, M5_STORE_PUT);
}

void m5_persist_released(struct m5_shard *shard, struct m5_session *session,
                         struct m5_delivery *delivery, uint64_t sequence)
{
    if (delivery->stored == M5_STORED_NOT)
        return;
    struct m5_delivery_record record = {
        .ticket = delivery->ticket, .qos = 2, .released = true, .body = M5_STORED_NONE};
    struct m5_record_key key = m5_key_of(M5_RECORD_DELIVERY, session->serial, sequence);
    uint8_t *at = put(shard, session, M5_STORE_PUT, &key, m5_delivery_record_size(&record));
    if (at != NULL)
        m5_delivery_record_write(&record, NULL, 0, at);
    if (delivery->stored == M5_STORED_APART)
        let_message_go(shard, delivery->message);
    delivery->stored = M5_STORED_NONE;
}

void m5_persist_delivery_gone(struct m5_shard *shard, struct m5_session *session,
                              struct m5_delivery *delivery, uint64_t sequence)
{
    if (delivery->stored == M5_STORED_NOT)
        return;
    strike(shard, session, M5_RECORD_DELIVERY, sequence);
    if (delivery->stored == M5_STORED_APART)
        let_message_go(shard, delivery->message);
    delivery->stored = M5_STORED_NOT;
}

/* ---- QoS 2 messages that came ---- */

void m5_persist_incoming(struct m5_shard *shard, struct m5_session *session, uint16_t packet_id)
{
    if (!session->stored)
        return;
    struct m5_record_key key = m5_key_of(M5_RECORD_INCOMING, session->serial, packet_id);
    put(shard, session, M5_STORE_PUT_NEW, &key, 0);
    session->incoming_stored++;
}

void m5_persist_incoming_gone(struct m5_shard *shard, struct m5_session *session,
                              uint16_t packet_id)
{
    if (session->incoming_stored == 0)
        return;
    strike(shard, session, M5_RECORD_INCOMING, packet_id);
    if (session->incoming.count == 0)
        session->incoming_stored = 0;
}

/* ---- wills ---- */

void m5_persist_will(struct m5_shard *shard, struct m5_session *session)
{
    if (!session->stored || session->will.message == NULL)
        return;
    const struct m5_will *will = &session->will;
    struct m5_will_record record = {.delay_s = will->delay_s,
                                    .expiry_s = will->expiry_s,
                                    .expires = will->expires,
                                    .view = m5_message_read(will->message)};
    struct m5_record_key key = m5_key_of(M5_RECORD_WILL, session->serial, 0);
    uint8_t *at = put(shard, session, M5_STORE_PUT, &key, m5_will_record_size(&record));
    if (at != NULL)
        m5_will_record_write(&record, shard->engine->wall_ms, at);
}

void m5_persist_will_gone(struct m5_shard *shard, struct m5_session *session)
{
    if (session->stored && session->will.message != NULL)
        strike(shard, session, M5_RECORD_WILL, 0);
}

/* ---- between shards ---- */

/* The number names the receiver, so that whoever has it can strike the record out. */
uint8_t *m5_persist_mail(struct m5_shard *shard, uint32_t to, enum m5_mail_kind kind, size_t size,
                         uint64_t *number)
{
    uint64_t serial = m5_serial_next(shard);
    *number = serial * M5_SHARDS_MAX + to;
    struct m5_record_key key = m5_key_of(M5_RECORD_MAIL, to, serial);
    uint8_t *at = m5_journal_put(shard, M5_STORE_PUT_NEW, m5_key_bytes(&key), size + 1);
    if (at != NULL)
        *at++ = (uint8_t)kind;
    return at;
}

void m5_persist_mail_gone(struct m5_shard *shard, uint64_t number)
{
    if (number == 0)
        return;
    struct m5_record_key key =
        m5_key_of(M5_RECORD_MAIL, number % M5_SHARDS_MAX, number / M5_SHARDS_MAX);
    m5_journal_put(shard, M5_STORE_DELETE, m5_key_bytes(&key), 0);
}
