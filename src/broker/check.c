/* The invariants of a shard, looked at all at once: for tests, fuzzing and the simulator.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/shard.h"

struct sums {
    uint64_t subscriptions, shared, waiting, waiting_bytes, inflight, connected;
};

static void check_deliveries(const struct m5_session *session, struct sums *sums)
{
    M5_ASSERT(session->head <= session->sent && session->sent <= session->tail);
    M5_ASSERT(session->sent - session->head <= 65535);
    uint64_t waiting = 0, bytes = 0, inflight = 0, released = 0;
    for (uint64_t at = session->head; at != session->tail; at++) {
        const struct m5_delivery *delivery = m5_delivery_at(session, at);
        M5_ASSERT(delivery->qos == 1 || delivery->qos == 2);
        M5_ASSERT(delivery->stored == M5_STORED_NOT || session->stored);
        M5_ASSERT(delivery->stored != M5_STORED_APART ||
                  (delivery->message->stored_references > 0 && delivery->message->stored_id != 0));
        switch ((enum m5_delivery_state)delivery->state) {
        case M5_DELIVERY_WAITING:
            M5_ASSERT(at >= session->sent && delivery->message != NULL);
            waiting++;
            bytes += delivery->message->block_size;
            break;
        case M5_DELIVERY_SENT:
            M5_ASSERT(at < session->sent && delivery->message != NULL && session->conn != NULL);
            inflight++;
            break;
        case M5_DELIVERY_RELEASED:
            M5_ASSERT(delivery->qos == 2 && delivery->message == NULL);
            released++;
            break;
        case M5_DELIVERY_DONE: M5_ASSERT(delivery->message == NULL && at != session->head); break;
        }
    }
    M5_ASSERT(waiting == session->waiting && bytes == session->waiting_bytes);
    M5_ASSERT(session->inflight == (session->conn == NULL ? 0 : inflight + released));
    sums->waiting += waiting;
    sums->waiting_bytes += bytes;
    sums->inflight += session->inflight;
}

static void check_subscriptions(const struct m5_shard *shard, const struct m5_session *session,
                                struct sums *sums)
{
    uint32_t count = 0, shared = 0;
    const struct m5_list *at = session->subscriptions.next;
    for (; at != &session->subscriptions; at = at->next) {
        const struct m5_subscription *subscription =
            M5_CONTAINER_OF(at, const struct m5_subscription, in_session);
        M5_ASSERT(subscription->session == session && subscription->serial != 0);
        count++;
        if (subscription->shared != NULL) {
            shared++;
            continue;
        }
        const struct m5_sub_list *list = subscription->node->lists[shard->index];
        M5_ASSERT(list != NULL && subscription->position < list->count);
        M5_ASSERT(list->entries[subscription->position].subscription == subscription);
        M5_ASSERT(list->entries[subscription->position].session == session);
        M5_ASSERT(atomic_load(&subscription->node->shards) >> shard->index & 1);
        if (!session->stored || subscription->options.qos == 0)
            continue;
        M5_ASSERT(list->stored > 0);
        M5_ASSERT(atomic_load(&subscription->node->stored) >> shard->index & 1);
    }
    M5_ASSERT(count == session->subscription_count && shared == session->share_count);
    sums->subscriptions += count;
    sums->shared += shared;
}

static void check_session(const struct m5_shard *shard, const struct m5_session *session,
                          struct sums *sums)
{
    M5_ASSERT(session->serial != 0);
    const struct m5_conn *conn = session->conn;
    if (conn != NULL) {
        M5_ASSERT(conn->session == session && conn->shard == shard);
        M5_ASSERT(!m5_timer_running(&session->alarm.timer));
        sums->connected++;
    } else {
        M5_ASSERT(session->expiry_s != 0);
        M5_ASSERT(session->expires_at_ms == M5_NEVER || m5_timer_running(&session->alarm.timer));
    }
    if (session->will_at_ms != M5_NEVER)
        M5_ASSERT(session->will.message != NULL);
    check_deliveries(session, sums);
    check_subscriptions(shard, session, sums);
}

static void check_conns(const struct m5_shard *shard)
{
    uint32_t count = 0;
    const struct m5_list *at = shard->open.next;
    for (; at != &shard->open; at = at->next) {
        const struct m5_conn *conn = M5_CONTAINER_OF(at, const struct m5_conn, open);
        count++;
        M5_ASSERT(conn->shard == shard);
        M5_ASSERT(conn->state != M5_CONN_OPEN || conn->session != NULL);
        M5_ASSERT(conn->partial_size <= conn->partial_capacity);
        M5_ASSERT(conn->held == NULL || (conn->held->conn == conn && conn->held->entries > 0));
        M5_ASSERT(!conn->corked || conn->held != NULL);
        M5_ASSERT(conn->meter == NULL ||
                  (conn->meter->conn == conn && conn->state == M5_CONN_OPEN));
        const struct m5_exchange *exchange = conn->exchange;
        M5_ASSERT(exchange == NULL || exchange->conn == conn);
        M5_ASSERT(conn->state != M5_CONN_OPEN || conn->check == M5_CHECK_NONE ||
                  (exchange != NULL && exchange->method.len > 0));
        size_t unsent = 0;
        for (const struct m5_chunk *chunk = conn->output.first; chunk != NULL; chunk = chunk->next)
            unsent += chunk->end - chunk->start;
        M5_ASSERT(unsent == conn->output.size);
        M5_ASSERT((conn->output.first == NULL) == (conn->output.last == NULL));
    }
    M5_ASSERT(count == shard->conn_count && count == m5_get(&shard->counters.connections));
}

void m5_shard_check(const struct m5_shard *shard)
{
    struct sums sums = {0};
    uint32_t cursor = 0;
    const struct m5_session *session;
    while ((session = m5_map_next(&shard->sessions, &cursor)) != NULL)
        check_session(shard, session, &sums);
    const struct m5_counters *counters = &shard->counters;
    M5_ASSERT(shard->run.count == 0 && shard->mail_run.count == 0);
    M5_ASSERT(shard->sessions.count == m5_get(&counters->sessions));
    M5_ASSERT(sums.connected == m5_get(&counters->clients_connected));
    M5_ASSERT(sums.subscriptions == m5_get(&counters->subscriptions));
    M5_ASSERT(sums.subscriptions == shard->subscriptions.count);
    M5_ASSERT(sums.shared == m5_get(&counters->shared_subscriptions));
    M5_ASSERT(sums.waiting == m5_get(&counters->messages_queued));
    M5_ASSERT(sums.waiting_bytes == m5_get(&counters->messages_queued_bytes));
    M5_ASSERT(sums.inflight == m5_get(&counters->messages_inflight));
    uint64_t held = shard->holds.tail - shard->holds.head;
    held += shard->relaxed_holds.tail - shard->relaxed_holds.head;
    M5_ASSERT(held == m5_get(&counters->store_waiting));
    M5_ASSERT(shard->journal.stored <= shard->journal.written &&
              shard->journal.written <= shard->journal.sealed &&
              shard->journal.sealed <= shard->journal.position);
    check_conns(shard);
}
