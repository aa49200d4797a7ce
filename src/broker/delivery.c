/* The delivery ring of a session: see session.h for its rules.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/delivery.h"

#include "broker/publish_frame.h"
#include "broker/shard.h"

#define RING_MIN  16u
#define RING_KEPT 64u    /* a ring that is no longer stays while the connection is busy */
#define RESERVED  256u   /* packet identifiers at a time, of what is not stored itself */
#define SPAN_MAX  65535u /* packet identifiers */

/* ---- the ring ---- */

static uint32_t capacity_of(const struct m5_session *session)
{
    return session->deliveries == NULL ? 0 : session->deliveries_mask + 1;
}

static void free_ring(struct m5_shard *shard, struct m5_session *session)
{
    m5_free(shard->allocator, session->deliveries,
            capacity_of(session) * sizeof *session->deliveries);
    session->deliveries = NULL;
    session->deliveries_mask = 0;
}

/* Room for @p count more; false without memory, nothing changed. */
static bool reserve(struct m5_shard *shard, struct m5_session *session, uint32_t count)
{
    uint64_t needed = session->tail - session->head + count;
    uint32_t capacity = capacity_of(session);
    if (needed <= capacity)
        return true;
    if (needed > UINT32_MAX / 4)
        return false;
    uint32_t larger = capacity == 0 ? RING_MIN : capacity;
    while (larger < needed)
        larger *= 2;
    struct m5_delivery *ring = m5_alloc(shard->allocator, larger * sizeof *ring);
    if (ring == NULL)
        return false;
    for (uint64_t at = session->head; at != session->tail; at++)
        ring[at & (larger - 1)] = *m5_delivery_at(session, at);
    free_ring(shard, session);
    session->deliveries = ring;
    session->deliveries_mask = larger - 1;
    return true;
}

static void free_ids(struct m5_shard *shard, struct m5_delivery *delivery)
{
    if (delivery->id_count > 1)
        m5_free(shard->allocator, delivery->ids.many, delivery->id_count * sizeof(uint32_t));
    delivery->id_count = 0;
}

static void forget_message(struct m5_shard *shard, struct m5_delivery *delivery)
{
    free_ids(shard, delivery);
    if (delivery->message != NULL)
        m5_message_release(&shard->messages, delivery->message);
    delivery->message = NULL;
}

/* The delivery is over, however it ended. */
static void complete(struct m5_shard *shard, struct m5_session *session, uint64_t sequence)
{
    struct m5_delivery *delivery = m5_delivery_at(session, sequence);
    m5_persist_delivery_gone(shard, session, delivery, sequence);
    forget_message(shard, delivery);
    if (delivery->ticket != 0)
        m5_share_done(shard, delivery->ticket);
    delivery->ticket = 0;
    delivery->state = M5_DELIVERY_DONE;
}

static void stop_waiting(struct m5_shard *shard, struct m5_session *session,
                         const struct m5_delivery *delivery)
{
    session->waiting--;
    session->waiting_bytes -= delivery->message->block_size;
    M5_UNCOUNT(shard, messages_queued, 1);
    M5_UNCOUNT(shard, messages_queued_bytes, delivery->message->block_size);
    if (session->waiting == 0)
        session->queue_full_reported = false;
}

static void start_waiting(struct m5_shard *shard, struct m5_session *session,
                          const struct m5_delivery *delivery)
{
    session->waiting++;
    session->waiting_bytes += delivery->message->block_size;
    M5_COUNT(shard, messages_queued, 1);
    M5_COUNT(shard, messages_queued_bytes, delivery->message->block_size);
}

/* Completed deliveries leave at the head; an empty ring that was long is given back. */
static void advance_head(struct m5_shard *shard, struct m5_session *session)
{
    while (session->head != session->tail &&
           m5_delivery_at(session, session->head)->state == M5_DELIVERY_DONE) {
        session->head++;
        if (session->sent < session->head)
            session->sent = session->head;
    }
    if (session->head == session->tail && capacity_of(session) > RING_KEPT)
        free_ring(shard, session);
}

void m5_delivery_trim(struct m5_shard *shard, struct m5_session *session)
{
    if (session->head == session->tail)
        free_ring(shard, session);
    if (session->incoming.count == 0)
        m5_id_set_clear(&session->incoming, shard->allocator);
}

/* A delivery that never had a packet identifier needs none when no later one has been given out:
 * then ids stay without a gap. Not for a session that is stored: its ids have to be the same after
 * a restart. */
static void skip_number(struct m5_session *session, uint64_t sequence)
{
    if (sequence == session->head && session->sent == session->head && sequence >= session->given &&
        !session->stored)
        session->skipped++;
}

/* ---- sending ---- */

enum sent { SENT, DISCARDED, NOT_NOW };

/* A packet that is too large for the client is treated as if it had been delivered
 * [MQTT-3.1.2-25]. */
static enum sent send_publish(struct m5_shard *shard, struct m5_session *session,
                              struct m5_conn *conn, struct m5_delivery *delivery)
{
    struct m5_message_view view = m5_message_read(delivery->message);
    struct m5_publish_shape shape = {.v5 = conn->version == MQTT5_VERSION_5,
                                     .retain = delivery->retain,
                                     .dup = delivery->dup,
                                     .qos = delivery->qos,
                                     .packet_id = m5_packet_id_of(session, session->sent),
                                     .ids = m5_delivery_ids(delivery),
                                     .id_count = delivery->id_count};
    switch (m5_conn_write_message(conn, &view, &shape)) {
    case M5_WRITE_TOO_LARGE: M5_COUNT(shard, publish_dropped, 1); return DISCARDED;
    case M5_WRITE_FAILED: return NOT_NOW;
    case M5_WRITE_OK: break;
    }
    return SENT;
}

static bool is_expired(const struct m5_shard *shard, const struct m5_delivery *delivery)
{
    /* A message that has been sent once is not expired any more [MQTT-4.3.3-7]. */
    return delivery->message->expires_at_ms <= shard->now_ms && !delivery->dup;
}

/* A message of QoS 2 is not sent before it is durable: its packet identifier would be given out
 * again after a crash, and the client would take the next message for this one. For one that is not
 * stored itself it is enough that the store knows that the identifier may have been given out. */
static bool is_unsettled(struct m5_shard *shard, struct m5_session *session,
                         const struct m5_delivery *delivery)
{
    if (delivery->qos != 2 || delivery->dup || !session->stored)
        return false;
    if (delivery->stored != M5_STORED_NOT)
        return session->sent >= session->settled;
    if (session->sent >= session->reserved) {
        m5_persist_reserve(shard, session, session->sent + RESERVED);
        m5_hold_deliveries(session, shard, session->settled, session->reserved_position);
    }
    return session->reserved_position > shard->journal.stored;
}

/* Sends or discards the delivery at `sent`; false when the connection cannot take it. */
static bool send_next(struct m5_shard *shard, struct m5_session *session, struct m5_conn *conn)
{
    struct m5_delivery *delivery = m5_delivery_at(session, session->sent);
    if (delivery->state == M5_DELIVERY_WAITING) {
        enum sent result = SENT;
        if (is_unsettled(shard, session, delivery))
            return false;
        if (is_expired(shard, delivery)) {
            M5_COUNT(shard, messages_expired, 1); /* [MQTT-3.3.2-5] */
            result = DISCARDED;
        } else if (!m5_may_deliver(shard, session, m5_message_read(delivery->message).topic, 1)) {
            result = DISCARDED; /* rights may have gone since it was queued */
        } else {
            result = send_publish(shard, session, conn, delivery);
        }
        if (result == NOT_NOW)
            return false;
        stop_waiting(shard, session, delivery);
        if (result == DISCARDED) {
            complete(shard, session, session->sent);
            skip_number(session, session->sent);
        } else {
            delivery->state = M5_DELIVERY_SENT;
            session->inflight++;
            M5_COUNT(shard, messages_inflight, 1);
        }
    }
    session->sent++;
    if (session->given < session->sent)
        session->given = session->sent;
    return true;
}

/* Counts only PUBLISH packets of this connection and PUBRELs [MQTT-3.3.4-9] [MQTT-4.9.0-2]; no
 * other packet waits for it [MQTT-3.3.4-10]. */
static bool window_open(const struct m5_session *session)
{
    return session->inflight < session->window && session->sent - session->head < SPAN_MAX;
}

void m5_delivery_pump(struct m5_shard *shard, struct m5_session *session)
{
    if (session->waiting == 0)
        return;
    struct m5_conn *conn = m5_session_conn(session);
    while (conn != NULL && session->sent != session->tail && window_open(session) &&
           conn->output.size < M5_OUTPUT_HIGH_WATER &&
           (conn->meter == NULL || m5_meter_wait_open(conn)))
        if (!send_next(shard, session, conn))
            break;
    advance_head(shard, session);
}

bool m5_delivery_ready(struct m5_shard *shard, struct m5_session *session, uint32_t count)
{
    return session->sent == session->tail && session->inflight + count <= session->window &&
           session->tail - session->head + count <= SPAN_MAX &&
           session->conn->output.size < M5_OUTPUT_HIGH_WATER && reserve(shard, session, count);
}

uint16_t m5_delivery_record(struct m5_session *session, struct m5_message *message, uint8_t qos,
                            bool retain)
{
    uint64_t sequence = session->tail++;
    session->given = ++session->sent;
    session->inflight++;
    *m5_delivery_at(session, sequence) = (struct m5_delivery){.message = m5_message_hold(message),
                                                              .state = M5_DELIVERY_SENT,
                                                              .qos = qos,
                                                              .retain = retain};
    return m5_packet_id_of(session, sequence);
}

/* ---- queueing ---- */

static void report_full(struct m5_shard *shard, struct m5_session *session)
{
    M5_COUNT(shard, publish_dropped, 1);
    M5_COUNT(shard, limit_queued, 1);
    if (session->queue_full_reported)
        return;
    session->queue_full_reported = true;
    struct m5_event *event = m5_event_new(shard, M5_EVENT_QUEUE_FULL, session->conn);
    if (event != NULL)
        m5_event_text(event->client_id, sizeof event->client_id, &event->client_id_size,
                      session->principal.client_id);
}

/* As many numbers as may lie between two deliveries of one session. */
static uint64_t gap_max(const struct m5_shard *shard)
{
    return 4u * (uint64_t)SPAN_MAX + shard->config->queued_messages_max;
}

/* Drops the oldest delivery that waits for the first time; false when there is none. */
static bool drop_oldest(struct m5_shard *shard, struct m5_session *session)
{
    if (session->tail - session->head > gap_max(shard))
        return false; /* numbers of what was dropped pile up behind one that was sent */
    for (uint64_t at = session->sent; at != session->tail; at++) {
        struct m5_delivery *delivery = m5_delivery_at(session, at);
        if (delivery->state != M5_DELIVERY_WAITING || delivery->dup)
            continue;
        stop_waiting(shard, session, delivery);
        complete(shard, session, at);
        skip_number(session, at);
        report_full(shard, session);
        advance_head(shard, session);
        return true;
    }
    return false;
}

static bool queue_full(const struct m5_shard *shard, const struct m5_session *session, size_t size)
{
    return session->waiting >= shard->config->queued_messages_max ||
           session->waiting_bytes + size > shard->config->queued_bytes_max;
}

/* Makes room for @p size bytes as the policy says; false: the new message is dropped. */
static bool make_room(struct m5_shard *shard, struct m5_session *session, size_t size)
{
    if (size > shard->config->queued_bytes_max)
        return false;
    while (queue_full(shard, session, size))
        if (shard->config->queue_policy != MQTT5_QUEUE_DROP_OLDEST || !drop_oldest(shard, session))
            return false;
    return true;
}

static bool copy_ids(struct m5_shard *shard, struct m5_delivery *delivery,
                     const struct m5_offer *offer)
{
    if (offer->id_count == 0)
        return true;
    if (offer->id_count == 1) {
        delivery->ids.one = offer->ids[0];
    } else {
        size_t size = offer->id_count * sizeof(uint32_t);
        delivery->ids.many = m5_alloc(shard->allocator, size);
        if (delivery->ids.many == NULL)
            return false;
        memcpy(delivery->ids.many, offer->ids, size);
    }
    delivery->id_count = offer->id_count;
    return true;
}

/* False: it cannot wait for the store, since there is no memory. */
static bool store(struct m5_shard *shard, struct m5_session *session, const struct m5_offer *offer)
{
    m5_persist_delivery(shard, session, session->tail - 1, offer->shared);
    return offer->qos < 2 ||
           m5_hold_deliveries(session, shard, session->tail, shard->journal.position);
}

static void drop_last(struct m5_shard *shard, struct m5_session *session)
{
    M5_COUNT(shard, publish_dropped, 1);
    M5_COUNT(shard, limit_memory, 1);
    stop_waiting(shard, session, m5_delivery_at(session, session->tail - 1));
    complete(shard, session, session->tail - 1);
    advance_head(shard, session);
}

bool m5_delivery_offer(struct m5_shard *shard, struct m5_session *session,
                       const struct m5_offer *offer)
{
    M5_ASSERT(offer->qos > 0);
    if (!make_room(shard, session, offer->message->block_size)) {
        report_full(shard, session);
        return false;
    }
    struct m5_delivery delivery = {.ticket = offer->ticket,
                                   .state = M5_DELIVERY_WAITING,
                                   .qos = offer->qos,
                                   .retain = offer->retain};
    if (!reserve(shard, session, 1) || !copy_ids(shard, &delivery, offer)) {
        M5_COUNT(shard, publish_dropped, 1);
        M5_COUNT(shard, limit_memory, 1);
        return false;
    }
    delivery.message = m5_message_hold(offer->message);
    *m5_delivery_at(session, session->tail++) = delivery;
    start_waiting(shard, session, &delivery);
    if (offer->store && session->stored && !store(shard, session, offer)) {
        drop_last(shard, session);
        return false;
    }
    m5_delivery_pump(shard, session);
    return true;
}

void m5_delivery_store(struct m5_shard *shard, struct m5_session *session, bool shared)
{
    m5_persist_delivery(shard, session, session->tail - 1, shared);
}

/* ---- resumption ---- */

void m5_delivery_rewind(struct m5_shard *shard, struct m5_session *session)
{
    for (uint64_t at = session->head; at != session->sent; at++) {
        struct m5_delivery *delivery = m5_delivery_at(session, at);
        if (delivery->state != M5_DELIVERY_SENT)
            continue;
        delivery->state = M5_DELIVERY_WAITING;
        delivery->dup = true;
        start_waiting(shard, session, delivery);
    }
    M5_UNCOUNT(shard, messages_inflight, session->inflight);
    session->inflight = 0;
    session->sent = session->head;
}

void m5_delivery_resume(struct m5_shard *shard, struct m5_session *session)
{
    M5_ASSERT(session->sent == session->head && session->inflight == 0);
    for (uint64_t at = session->head; at != session->tail; at++) {
        if (m5_delivery_at(session, at)->state != M5_DELIVERY_RELEASED)
            continue;
        m5_conn_answer(session->conn, MQTT5_PUBREL, m5_packet_id_of(session, at),
                       MQTT5_REASON_SUCCESS, 0);
        session->inflight++;
        M5_COUNT(shard, messages_inflight, 1);
    }
    m5_delivery_pump(shard, session);
}

/* ---- after a restart ---- */

/* Numbers that are over, up to @p sequence. */
static bool fill_gap(struct m5_shard *shard, struct m5_session *session, uint64_t sequence)
{
    if (session->head == session->tail) {
        session->head = session->sent = session->tail = sequence;
        return reserve(shard, session, 1);
    }
    if (!reserve(shard, session, (uint32_t)(sequence - session->tail) + 1))
        return false;
    while (session->tail != sequence)
        *m5_delivery_at(session, session->tail++) =
            (struct m5_delivery){.state = M5_DELIVERY_DONE, .qos = 1};
    return true;
}

static bool restore_ids(struct m5_shard *shard, struct m5_delivery *delivery,
                        const struct m5_delivery_record *record)
{
    uint32_t count = record->id_count;
    if (count > 1 && (delivery->ids.many = m5_alloc(shard->allocator, count * 4)) == NULL)
        return false;
    uint32_t *ids = count > 1 ? delivery->ids.many : &delivery->ids.one;
    for (uint32_t i = 0; i < count; i++)
        ids[i] = m5_read_u32(record->ids.data + 4 * (size_t)i);
    delivery->id_count = count;
    return true;
}

bool m5_delivery_restore(struct m5_shard *shard, struct m5_session *session,
                         const struct m5_delivery_restored *restored, bool *sound)
{
    const struct m5_delivery_record *record = restored->record;
    uint64_t sequence = restored->sequence;
    bool empty = session->head == session->tail;
    *sound = empty || (sequence >= session->tail && sequence - session->tail <= gap_max(shard));
    struct m5_delivery delivery = {.ticket = record->ticket,
                                   .state = record->released ? M5_DELIVERY_RELEASED
                                                             : M5_DELIVERY_WAITING,
                                   .qos = record->qos,
                                   .retain = record->retain,
                                   .dup = restored->sent,
                                   .stored = (uint8_t)record->body};
    if (!*sound || !fill_gap(shard, session, sequence) || !restore_ids(shard, &delivery, record))
        return false;
    if (restored->message != NULL)
        delivery.message = m5_message_hold(restored->message);
    if (record->body == M5_STORED_APART)
        delivery.message->stored_references++;
    *m5_delivery_at(session, session->tail++) = delivery;
    if (!record->released)
        start_waiting(shard, session, &delivery);
    return true;
}

void m5_delivery_restored(struct m5_shard *shard, struct m5_session *session, bool connected)
{
    /* Identifiers that were given out are not given out again: see is_unsettled(). */
    bool fits = session->given < session->tail || session->given - session->tail <= gap_max(shard);
    if (session->given > session->tail && (!fits || !fill_gap(shard, session, session->given)))
        session->given = session->tail;
    if (connected)
        session->given = session->tail;
    session->settled = session->tail;
    session->reserved = session->given;
    for (uint64_t at = session->head; at != session->tail; at++)
        m5_persist_moved(shard, session, at);
}

/* ---- acknowledgements ---- */

/* The delivery that @p packet_id names and its number, or NULL. */
static struct m5_delivery *find(struct m5_session *session, uint16_t packet_id, uint64_t *sequence)
{
    uint64_t span = session->tail - session->head;
    uint64_t first = (session->head - session->skipped) % SPAN_MAX;
    uint64_t offset = (packet_id - 1u + SPAN_MAX - first) % SPAN_MAX;
    if (packet_id == 0 || offset >= span)
        return NULL;
    *sequence = session->head + offset;
    return m5_delivery_at(session, *sequence);
}

static void acknowledged(struct m5_shard *shard, struct m5_session *session, uint64_t sequence)
{
    complete(shard, session, sequence);
    session->inflight--;
    M5_UNCOUNT(shard, messages_inflight, 1);
    advance_head(shard, session);
    m5_delivery_pump(shard, session);
    if (session->retained != NULL)
        m5_retained_continue(shard, session);
}

bool m5_delivery_puback(struct m5_shard *shard, struct m5_session *session, uint16_t packet_id)
{
    /* A PUBACK with an error code ends the delivery as well [MQTT-4.4.0-2] [MQTT-4.8.2-6]. */
    uint64_t sequence;
    struct m5_delivery *delivery = find(session, packet_id, &sequence);
    if (delivery == NULL || delivery->state != M5_DELIVERY_SENT || delivery->qos != 1)
        return false;
    acknowledged(shard, session, sequence);
    return true;
}

bool m5_delivery_pubrec(struct m5_shard *shard, struct m5_session *session, uint16_t packet_id,
                        bool refused)
{
    uint64_t sequence;
    struct m5_delivery *delivery = find(session, packet_id, &sequence);
    if (delivery == NULL || delivery->qos != 2 ||
        (delivery->state != M5_DELIVERY_SENT && delivery->state != M5_DELIVERY_RELEASED))
        return false;
    if (refused) {
        acknowledged(shard, session, sequence);
        return true;
    }
    /* From here on only PUBREL is sent for this id [MQTT-4.3.3-4] [MQTT-4.3.3-6]. */
    if (delivery->state != M5_DELIVERY_RELEASED)
        m5_persist_released(shard, session, delivery, sequence);
    forget_message(shard, delivery);
    delivery->state = M5_DELIVERY_RELEASED;
    m5_conn_answer(session->conn, MQTT5_PUBREL, packet_id, MQTT5_REASON_SUCCESS,
                   m5_persist_position(shard, session, true));
    return true;
}

bool m5_delivery_pubcomp(struct m5_shard *shard, struct m5_session *session, uint16_t packet_id)
{
    uint64_t sequence;
    struct m5_delivery *delivery = find(session, packet_id, &sequence);
    if (delivery == NULL || delivery->state != M5_DELIVERY_RELEASED)
        return false;
    acknowledged(shard, session, sequence);
    return true;
}

/* ---- ends ---- */

/* QoS 2 that was sent stays with this client [MQTT-4.8.2-4] [MQTT-4.8.2-5]. */
static bool may_hand_back(const struct m5_delivery *delivery, uint64_t ticket)
{
    if (delivery->ticket == 0 || (ticket != 0 && delivery->ticket != ticket))
        return false;
    return delivery->state == M5_DELIVERY_WAITING && (!delivery->dup || delivery->qos == 1);
}

void m5_delivery_hand_back(struct m5_shard *shard, struct m5_session *session, uint64_t ticket)
{
    /* What comes back to this very session, when nobody else is left, stands behind `end`. */
    for (uint64_t at = session->head, end = session->tail; at < end; at++) {
        struct m5_delivery *delivery = m5_delivery_at(session, at);
        if (at < session->head || !may_hand_back(delivery, ticket))
            continue;
        struct m5_subscription *subscription = m5_shared_find(shard, delivery->ticket);
        struct m5_message *message = m5_message_hold(delivery->message);
        bool stored = delivery->stored != M5_STORED_NOT;
        stop_waiting(shard, session, delivery);
        complete(shard, session, at);
        struct m5_message_view view = m5_message_read(message);
        if (subscription != NULL)
            m5_share_return(shard, subscription, &view, stored);
        else
            M5_COUNT(shard, publish_dropped, 1);
        m5_message_release(&shard->messages, message);
    }
    advance_head(shard, session);
}

void m5_delivery_clear(struct m5_shard *shard, struct m5_session *session)
{
    for (uint64_t at = session->head; at != session->tail; at++) {
        struct m5_delivery *delivery = m5_delivery_at(session, at);
        if (delivery->state == M5_DELIVERY_WAITING)
            stop_waiting(shard, session, delivery);
        if (delivery->state != M5_DELIVERY_DONE)
            complete(shard, session, at);
    }
    M5_UNCOUNT(shard, messages_inflight, session->inflight);
    session->inflight = 0;
    session->head = session->sent = session->tail;
    free_ring(shard, session);
}
