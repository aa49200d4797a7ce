/* Retained messages on their way to a new subscription.
 *
 * What matches is collected at once, as references, and sent as the connection's output and the
 * window allow: a subscription to '#' costs its session a list of pointers, not a copy of the
 * store. Messages that were replaced meanwhile are passed over, since the new ones came live.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/shard.h"

struct m5_retained_job {
    struct m5_retained_job *next;
    struct m5_retained_list list;
    uint32_t position;
    struct m5_sub_options options;
};

static void job_free(struct m5_shard *shard, struct m5_retained_job *job)
{
    m5_retained_list_fini(shard->engine->retained, &job->list, job->position);
    m5_free(shard->allocator, job, sizeof *job);
}

bool m5_retained_start(struct m5_shard *shard, struct m5_session *session,
                       const struct m5_subscription *subscription)
{
    struct m5_retained_list list = {0};
    enum mqtt5_error error = m5_retained_collect(shard->engine->retained,
                                                 subscription->node->filter, shard->now_ms, &list);
    struct m5_retained_job *job = NULL;
    if (list.count > 0)
        job = m5_alloc(shard->allocator, sizeof *job);
    if (job == NULL) {
        m5_retained_list_fini(shard->engine->retained, &list, 0);
        return list.count == 0 && error == MQTT5_OK;
    }
    *job = (struct m5_retained_job){.list = list, .options = subscription->options};
    struct m5_retained_job **last = &session->retained;
    while (*last != NULL)
        last = &(*last)->next;
    *last = job;
    return error == MQTT5_OK;
}

static bool is_wanted(struct m5_shard *shard, const struct m5_session *session,
                      const struct m5_retained_job *job, const struct m5_retained *record)
{
    const struct m5_retained_value *value = &record->value;
    if (atomic_load_explicit(&record->superseded, memory_order_relaxed) ||
        value->expires_at_ms <= shard->now_ms)
        return false;
    if ((job->options.flags & M5_SUB_NO_LOCAL) != 0 &&
        m5_bytes_equal(value->publisher, session->principal.client_id))
        return false;
    return m5_may_deliver(shard, session, value->topic, 1);
}

static void send_one(struct m5_shard *shard, struct m5_session *session,
                     const struct m5_retained_job *job, const struct m5_retained *record)
{
    const struct m5_retained_value *value = &record->value;
    struct m5_message_view view = {.topic = value->topic,
                                   .properties = value->properties,
                                   .payload = value->payload,
                                   .expires_at_ms = value->expires_at_ms,
                                   .qos = value->qos,
                                   .retain = true};
    const uint32_t *ids = &job->options.id;
    uint32_t id_count = job->options.id != 0;
    uint8_t qos = value->qos < job->options.qos ? value->qos : job->options.qos;
    if (qos == 0) {
        struct m5_single single = {.view = &view, .ids = ids, .id_count = id_count, .retain = true};
        m5_deliver_qos0(shard, session, &single);
        return;
    }
    struct m5_message *message = m5_message_new(&shard->messages, &view);
    if (message == NULL) {
        M5_COUNT(shard, limit_memory, 1);
        M5_COUNT(shard, publish_dropped, 1);
        return;
    }
    struct m5_offer offer = {.message = message,
                             .ids = ids,
                             .id_count = id_count,
                             .qos = qos,
                             .retain = true,
                             .store = m5_is_stored_topic(shard, value->topic)};
    m5_delivery_offer(shard, session, &offer);
    m5_message_release(&shard->messages, message);
}

/* Sends until the connection has enough; true when the job is done. */
static bool job_continue(struct m5_shard *shard, struct m5_session *session,
                         struct m5_retained_job *job)
{
    while (job->position < job->list.count) {
        struct m5_conn *conn = m5_session_conn(session);
        /* What has been subscribed to is sent behind the SUBACK. */
        if (conn == NULL || conn->held != NULL || conn->output.size >= M5_OUTPUT_HIGH_WATER ||
            session->waiting > 0 || (conn->meter != NULL && !m5_meter_wait_open(conn)))
            return false;
        struct m5_retained *record = job->list.items[job->position++];
        if (is_wanted(shard, session, job, record))
            send_one(shard, session, job, record);
        m5_retained_release(shard->engine->retained, record);
    }
    return true;
}

void m5_retained_continue(struct m5_shard *shard, struct m5_session *session)
{
    while (session->retained != NULL && job_continue(shard, session, session->retained)) {
        struct m5_retained_job *done = session->retained;
        session->retained = done->next;
        job_free(shard, done);
    }
}

void m5_retained_cancel(struct m5_shard *shard, struct m5_session *session)
{
    while (session->retained != NULL) {
        struct m5_retained_job *job = session->retained;
        session->retained = job->next;
        job_free(shard, job);
    }
}
