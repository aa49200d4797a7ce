/* SUBSCRIBE and UNSUBSCRIBE.
 *
 * A SUBSCRIBE is answered when all of its subscriptions are in place. A shared one whose group
 * lives on another shard is in place when that shard has said so; until then the connection's input
 * waits. Retained messages follow the SUBACK.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/shard.h"

struct suback_item {
    struct m5_subscription *subscription; /* NULL: refused */
    uint64_t serial;
    uint8_t code;
    bool awaited;  /* the group's home has not answered */
    bool retained; /* send retained messages */
};

struct m5_suback {
    uint16_t packet_id;
    uint32_t count, awaited;
    struct suback_item items[];
};

static size_t suback_size(uint32_t count)
{
    return sizeof(struct m5_suback) + count * sizeof(struct suback_item);
}

void m5_suback_free(struct m5_conn *conn)
{
    if (conn->suback != NULL)
        m5_free(conn->shard->allocator, conn->suback, suback_size(conn->suback->count));
    conn->suback = NULL;
}

/* ---- one filter ---- */

/* Why the subscription is refused, or MQTT5_REASON_SUCCESS. */
static uint8_t refusal(struct m5_conn *conn, const struct mqtt5_subscription_request *request,
                       bool with_id, struct mqtt5_filter *filter)
{
    struct m5_shard *shard = conn->shard;
    const struct mqtt5_broker_config *config = shard->config;
    enum mqtt5_error error = mqtt5_filter_parse(request->filter, config->topic_levels_max, filter);
    if (error == MQTT5_ERR_FILTER_LEVELS)
        M5_COUNT(shard, limit_topic_levels, 1);
    if (error != MQTT5_OK)
        return MQTT5_REASON_TOPIC_FILTER_INVALID;
    if (filter->has_wildcard && !config->wildcard_subscription_available)
        return MQTT5_REASON_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED;
    if (filter->share_name.len > 0 && !config->shared_subscription_available)
        return MQTT5_REASON_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
    if (with_id && !config->subscription_identifier_available)
        return MQTT5_REASON_SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED;
    const struct m5_access *access = shard->access;
    if (!access->allow_everything &&
        access->subscribe(access->ctx, &conn->session->principal, filter->filter, request->qos) ==
            M5_ACCESS_DENY) {
        M5_COUNT(shard, denied_subscribe, 1);
        return MQTT5_REASON_NOT_AUTHORIZED;
    }
    return MQTT5_REASON_SUCCESS;
}

static bool quota_reached(struct m5_conn *conn)
{
    struct m5_shard *shard = conn->shard;
    const struct mqtt5_broker_config *config = shard->config;
    uint64_t sum = 0;
    for (uint32_t i = 0; config->subscriptions_max != 0 && i < shard->engine->shard_count; i++)
        sum += m5_get(&shard->engine->shards[i].counters.subscriptions);
    bool full = config->subscriptions_max != 0 && sum >= config->subscriptions_max;
    uint32_t own_max = config->subscriptions_per_session_max;
    full = full || (own_max != 0 && conn->session->subscription_count >= own_max);
    full = full || m5_quota_subscriptions_full(shard, &conn->session->principal);
    if (full)
        M5_COUNT(shard, limit_subscriptions, 1);
    else if ((full = m5_engine_memory_full(shard->engine)))
        M5_COUNT(shard, limit_memory, 1);
    else if ((full = conn->session->stored && m5_journal_broken(shard)))
        M5_COUNT(shard, limit_store, 1);
    if (full)
        m5_event_limit(shard, conn, "subscriptions");
    return full;
}

static void report(struct m5_conn *conn, enum m5_event_type type, struct mqtt5_bytes filter,
                   uint8_t code)
{
    struct m5_event *event = m5_event_new(conn->shard, type, conn);
    if (event == NULL)
        return;
    event->reason_code = code;
    m5_event_text(event->topic, sizeof event->topic, &event->topic_size, filter);
}

static struct m5_sub_options options_of(const struct m5_shard *shard,
                                        const struct mqtt5_subscription_request *request,
                                        uint32_t id)
{
    uint8_t max = shard->config->maximum_qos; /* [MQTT-3.2.2-10] [MQTT-3.8.4-7] */
    return (struct m5_sub_options){
        .id = id,
        .qos = request->qos < max ? request->qos : max,
        .flags = (uint8_t)((request->no_local ? M5_SUB_NO_LOCAL : 0) |
                           (request->retain_as_published ? M5_SUB_RETAIN_AS_PUBLISHED : 0))};
}

/* Adds the subscription, and its membership if it is shared. */
static void add(struct m5_conn *conn, const struct mqtt5_filter *filter,
                struct m5_sub_options options, struct suback_item *item)
{
    struct m5_shard *shard = conn->shard;
    item->code = MQTT5_REASON_QUOTA_EXCEEDED;
    if (quota_reached(conn))
        return;
    struct m5_subscription *subscription =
        m5_subscription_add(shard, conn->session, filter, options, 0);
    enum m5_share_joined joined = M5_SHARE_JOINED;
    if (subscription != NULL && subscription->shared != NULL)
        joined = m5_share_join(shard, subscription);
    if (subscription == NULL || joined == M5_SHARE_FAILED) {
        M5_COUNT(shard, limit_memory, 1);
        if (subscription != NULL)
            m5_subscription_remove(shard, subscription);
        return;
    }
    m5_persist_subscription(shard, subscription);
    item->subscription = subscription;
    item->serial = subscription->serial;
    item->awaited = joined == M5_SHARE_AWAITED;
    item->code = options.qos;
}

static void subscribe_one(struct m5_conn *conn, const struct mqtt5_subscription_request *request,
                          uint32_t id, struct suback_item *item)
{
    struct m5_shard *shard = conn->shard;
    struct mqtt5_filter filter;
    *item = (struct suback_item){.code = refusal(conn, request, id != 0, &filter)};
    if (item->code != MQTT5_REASON_SUCCESS) {
        report(conn, M5_EVENT_SUBSCRIBED, request->filter, item->code);
        return;
    }
    struct m5_sub_options options = options_of(shard, request, id);
    struct m5_subscription *existing = m5_subscription_find(shard, conn->session, &filter);
    if (existing != NULL) { /* in place: no message is missed [MQTT-3.8.4-4] */
        m5_subscription_change(shard, existing, options);
        m5_persist_subscription(shard, existing);
        item->subscription = existing;
        item->serial = existing->serial;
        item->code = options.qos;
    } else {
        add(conn, &filter, options, item);
    }
    bool is_new = existing == NULL; /* [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] */
    item->retained = item->code < 0x80 && filter.share_name.len == 0 &&
                     (request->retain_handling == MQTT5_RETAIN_SEND ||
                      (request->retain_handling == MQTT5_RETAIN_SEND_IF_NEW && is_new));
    report(conn, M5_EVENT_SUBSCRIBED, request->filter, item->code);
}

/* ---- the answer ---- */

static void send_suback(struct m5_conn *conn, const struct m5_suback *suback)
{
    struct m5_shard *shard = conn->shard;
    uint8_t *codes = m5_alloc(shard->allocator, suback->count);
    if (codes == NULL) {
        m5_conn_abort(conn);
        return;
    }
    for (uint32_t i = 0; i < suback->count; i++) {
        uint8_t code = suback->items[i].code;
        codes[i] = conn->version != MQTT5_VERSION_5 && code >= 0x80 ? 0x80 : code;
    }
    /* Always, under the id of the SUBSCRIBE, one code for each filter, in their order
     * [MQTT-2.2.1-6] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-6] [MQTT-3.9.3-1]. */
    struct mqtt5_packet packet = {.type = MQTT5_SUBACK,
                                  .as.suback = {.packet_id = suback->packet_id,
                                                .reason_codes = m5_bytes(codes, suback->count)}};
    m5_conn_send_answer(conn, &packet, m5_persist_position(shard, conn->session, false));
    m5_free(shard->allocator, codes, suback->count);
}

static void finish(struct m5_conn *conn)
{
    struct m5_shard *shard = conn->shard;
    struct m5_suback *suback = conn->suback;
    conn->suback = NULL;
    send_suback(conn, suback);
    for (uint32_t i = 0; i < suback->count && conn->state == M5_CONN_OPEN; i++) {
        const struct suback_item *item = &suback->items[i];
        if (!item->retained || item->subscription == NULL ||
            item->subscription->serial != item->serial)
            continue;
        if (!m5_retained_start(shard, conn->session, item->subscription))
            M5_COUNT(shard, limit_memory, 1);
    }
    if (conn->state == M5_CONN_OPEN && conn->session->retained != NULL)
        m5_retained_continue(shard, conn->session);
    m5_free(shard->allocator, suback, suback_size(suback->count));
}

/* No Local on a shared subscription is an error of the whole packet [MQTT-3.8.3-4]. */
static bool has_shared_no_local(uint8_t version, const struct mqtt5_subscribe *packet)
{
    static const char prefix[] = "$share/";
    struct mqtt5_bytes rest = packet->raw;
    struct mqtt5_subscription_request request;
    while (mqtt5_subscribe_next(&rest, version, &request))
        if (request.no_local && request.filter.len >= sizeof prefix - 1 &&
            memcmp(request.filter.data, prefix, sizeof prefix - 1) == 0)
            return true;
    return false;
}

/* Several filters are as many subscriptions, with one answer [MQTT-3.8.4-5]. */
void m5_handle_subscribe(struct m5_conn *conn, const struct mqtt5_subscribe *packet)
{
    if (has_shared_no_local(conn->version, packet)) {
        m5_conn_fail(conn, MQTT5_ERR_NO_LOCAL_SHARED);
        return;
    }
    struct m5_suback *suback = m5_alloc(conn->shard->allocator, suback_size(packet->count));
    if (suback == NULL) {
        m5_conn_abort(conn);
        return;
    }
    *suback = (struct m5_suback){.packet_id = packet->packet_id, .count = packet->count};
    conn->suback = suback;
    uint32_t id = MQTT5_HAS(&packet->properties, SUBSCRIPTION_IDENTIFIER)
                      ? packet->properties.subscription_identifier
                      : 0;
    struct mqtt5_bytes rest = packet->raw;
    struct mqtt5_subscription_request request;
    for (uint32_t i = 0; mqtt5_subscribe_next(&rest, conn->version, &request); i++) {
        subscribe_one(conn, &request, id, &suback->items[i]);
        suback->awaited += suback->items[i].awaited;
    }
    if (suback->awaited == 0)
        finish(conn);
    else
        conn->paused = true;
}

void m5_suback_joined(struct m5_shard *shard, uint64_t serial, bool joined)
{
    struct m5_subscription *subscription = m5_shared_find(shard, serial);
    if (subscription == NULL)
        return; /* unsubscribed or ended meanwhile: the home has been told */
    struct m5_conn *conn = m5_session_conn(subscription->session);
    if (conn == NULL || conn->suback == NULL)
        return;
    struct m5_suback *suback = conn->suback;
    for (uint32_t i = 0; i < suback->count; i++) {
        struct suback_item *item = &suback->items[i];
        if (!item->awaited || item->serial != serial)
            continue;
        item->awaited = false;
        suback->awaited--;
        if (!joined) {
            M5_COUNT(shard, limit_memory, 1);
            m5_persist_subscription_gone(shard, item->subscription);
            m5_subscription_remove(shard, item->subscription);
            item->subscription = NULL;
            item->code = MQTT5_REASON_QUOTA_EXCEEDED;
        }
    }
    if (suback->awaited > 0)
        return;
    finish(conn);
    conn->paused = false;
    if (conn->state == M5_CONN_OPEN && !m5_list_linked(&conn->resumed))
        m5_list_push_back(&shard->resumed, &conn->resumed);
}

/* ---- UNSUBSCRIBE ---- */

static bool unsubscribe_denied(struct m5_conn *conn, struct mqtt5_bytes filter)
{
    const struct m5_access *access = conn->shard->access;
    if (access->allow_everything || access->unsubscribe == NULL ||
        access->unsubscribe(access->ctx, &conn->session->principal, filter) != M5_ACCESS_DENY)
        return false;
    M5_COUNT(conn->shard, denied_subscribe, 1);
    return true;
}

static uint8_t unsubscribe_one(struct m5_conn *conn, struct mqtt5_bytes text)
{
    struct m5_shard *shard = conn->shard;
    struct mqtt5_filter filter;
    uint8_t code = MQTT5_REASON_SUCCESS;
    enum mqtt5_error error = mqtt5_filter_parse(text, shard->config->topic_levels_max, &filter);
    if (error == MQTT5_ERR_FILTER_LEVELS)
        M5_COUNT(shard, limit_topic_levels, 1);
    if (error != MQTT5_OK)
        code = MQTT5_REASON_TOPIC_FILTER_INVALID;
    if (code == MQTT5_REASON_SUCCESS && unsubscribe_denied(conn, filter.filter))
        code = MQTT5_REASON_NOT_AUTHORIZED;
    struct m5_subscription *subscription =
        code == MQTT5_REASON_SUCCESS ? m5_subscription_find(shard, conn->session, &filter) : NULL;
    if (subscription == NULL && code == MQTT5_REASON_SUCCESS)
        code = MQTT5_REASON_NO_SUBSCRIPTION_EXISTED;
    if (subscription != NULL) {
        if (subscription->shared != NULL) {
            m5_share_leave(shard, subscription);
            /* What has been sent is completed [MQTT-3.10.4-3]; the rest goes to others. */
            m5_delivery_hand_back(shard, conn->session, subscription->serial);
        }
        m5_persist_subscription_gone(shard, subscription);
        m5_subscription_remove(shard, subscription); /* [MQTT-3.10.4-2] */
    }
    report(conn, M5_EVENT_UNSUBSCRIBED, text, code);
    return code;
}

/* Several filters are as many UNSUBSCRIBEs, with one answer [MQTT-3.10.4-6]. */
void m5_handle_unsubscribe(struct m5_conn *conn, const struct mqtt5_unsubscribe *packet)
{
    struct m5_shard *shard = conn->shard;
    uint8_t *codes = m5_alloc(shard->allocator, packet->count);
    if (codes == NULL) {
        m5_conn_abort(conn);
        return;
    }
    struct mqtt5_bytes rest = packet->raw, filter;
    for (uint32_t i = 0; mqtt5_unsubscribe_next(&rest, &filter); i++)
        codes[i] = unsubscribe_one(conn, filter);
    struct mqtt5_packet answer = {.type = MQTT5_UNSUBACK, .as.suback.packet_id = packet->packet_id};
    if (conn->version == MQTT5_VERSION_5)
        answer.as.suback.reason_codes = m5_bytes(codes, packet->count); /* [MQTT-3.11.3-1] */
    m5_conn_send_answer(conn, &answer, /* [MQTT-3.10.4-4] [MQTT-3.10.4-5] */
                        m5_persist_position(shard, conn->session, false));
    m5_free(shard->allocator, codes, packet->count);
}
