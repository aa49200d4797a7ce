/* Sessions: made, found, away, ended; and their wills.
 *
 * A session without a connection has up to two things to wait for, one alarm for both: the will's
 * delay and its own expiry. The will is due at the earlier of the two [MQTT-3.1.2-8].
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/session.h"

#include "broker/shard.h"

static bool has_client_id(const void *value, const void *key)
{
    const struct m5_session *session = value;
    return m5_bytes_equal(session->principal.client_id, *(const struct mqtt5_bytes *)key);
}

struct m5_session *m5_session_find(const struct m5_shard *shard, struct mqtt5_bytes client_id)
{
    uint32_t hash = (uint32_t)m5_shard_hash(shard, client_id);
    return m5_map_find(&shard->sessions, hash, has_client_id, &client_id);
}

/* Bytes of roles, without the last zero. */
static size_t roles_size(const char *roles)
{
    size_t size = 0;
    while (roles != NULL && roles[size] != 0)
        size += strlen(roles + size) + 1;
    return size;
}

static void free_roles(struct m5_shard *shard, struct m5_principal *who)
{
    m5_free(shard->allocator, (void *)(uintptr_t)who->roles, roles_size(who->roles) + 1);
    who->roles = NULL;
}

struct m5_session *m5_session_new(struct m5_shard *shard, struct mqtt5_bytes client_id,
                                  const struct mqtt5_bytes *username)
{
    size_t strings_size = client_id.len + (username != NULL ? username->len : 0);
    struct m5_session *session = m5_pool_take(&shard->session_pool);
    uint8_t *strings = m5_alloc(shard->allocator, strings_size);
    if (session == NULL || strings == NULL)
        goto fail;
    *session = (struct m5_session){.window = shard->config->inflight_max,
                                   .serial = m5_serial_next(shard),
                                   .hash = (uint32_t)m5_shard_hash(shard, client_id),
                                   .expires_at_ms = M5_NEVER,
                                   .will_at_ms = M5_NEVER};
    m5_alarm_init(&session->alarm, M5_ALARM_SESSION);
    m5_list_init(&session->subscriptions);
    uint8_t *end = m5_copy(strings, client_id);
    session->principal = (struct m5_principal){.client_id = m5_bytes(strings, client_id.len),
                                               .serial = m5_login_next(shard),
                                               .anonymous = username == NULL};
    if (username != NULL) {
        m5_copy(end, *username);
        session->principal.username = m5_bytes(end, username->len);
    }
    if (!m5_map_add(&shard->sessions, session->hash, session)) {
        session->serial = 0;
        goto fail;
    }
    M5_COUNT(shard, sessions, 1);
    return session;

fail:
    if (session != NULL)
        m5_pool_give(&shard->session_pool, session);
    m5_free(shard->allocator, strings, strings_size);
    return NULL;
}

bool m5_session_logged_in(struct m5_shard *shard, struct m5_session *session, uint16_t listener,
                          struct mqtt5_bytes roles)
{
    struct m5_principal *who = &session->principal;
    char *copy = NULL;
    if (roles.len > 0) {
        copy = m5_alloc_zero(shard->allocator, roles.len + 1);
        if (copy == NULL)
            return false;
        memcpy(copy, roles.data, roles.len);
        M5_ASSERT(roles_size(copy) == roles.len); /* no empty names */
    }
    free_roles(shard, who);
    who->roles = copy;
    who->listener = listener;
    who->serial = m5_login_next(shard);
    return true;
}

void m5_session_drop_will(struct m5_shard *shard, struct m5_session *session)
{
    m5_persist_will_gone(shard, session);
    if (session->will.message != NULL)
        m5_message_release(&shard->messages, session->will.message);
    session->will.message = NULL;
    session->will_at_ms = M5_NEVER;
}

/* Checked again when it is due: rights may have changed since CONNECT. */
static bool may_publish_will(struct m5_shard *shard, const struct m5_session *session,
                             const struct m5_message_view *view)
{
    const struct m5_access *access = shard->access;
    if (access->allow_everything || access->publish(access->ctx, &session->principal, view->topic,
                                                    view->qos, view->retain) == M5_ACCESS_ALLOW)
        return true;
    M5_COUNT(shard, denied_publish, 1);
    return false;
}

void m5_session_publish_will(struct m5_shard *shard, struct m5_session *session)
{
    struct m5_message *message = session->will.message;
    if (message == NULL)
        return;
    m5_persist_will_gone(shard, session);
    session->will.message = NULL; /* once only [MQTT-3.1.2-10] */
    session->will_at_ms = M5_NEVER;
    struct m5_message_view view = m5_message_read(message);
    if (session->will.expires)
        view.expires_at_ms = shard->now_ms + (uint64_t)session->will.expiry_s * 1000u;
    /* Retained or not as the will says [MQTT-3.1.2-14] [MQTT-3.1.2-15]. */
    if (may_publish_will(shard, session, &view))
        m5_publish(shard, session, &view);
    m5_message_release(&shard->messages, message);
}

static struct m5_subscription *first_subscription(const struct m5_session *session)
{
    return M5_CONTAINER_OF(session->subscriptions.next, struct m5_subscription, in_session);
}

/* Leaves every group before anything is handed back, so that nothing comes back here. */
static void leave_groups(struct m5_shard *shard, struct m5_session *session)
{
    if (session->share_count == 0)
        return;
    struct m5_list *at = session->subscriptions.next;
    for (; at != &session->subscriptions; at = at->next) {
        struct m5_subscription *subscription =
            M5_CONTAINER_OF(at, struct m5_subscription, in_session);
        if (subscription->shared != NULL)
            m5_share_leave(shard, subscription);
    }
    m5_delivery_hand_back(shard, session, 0);
}

void m5_session_end(struct m5_shard *shard, struct m5_session *session)
{
    M5_ASSERT(session->conn == NULL);
    m5_session_publish_will(shard, session);
    m5_retained_cancel(shard, session);
    leave_groups(shard, session);
    m5_session_bury(shard, session);
}

void m5_session_bury(struct m5_shard *shard, struct m5_session *session)
{
    m5_timer_stop(&shard->wheel, &session->alarm.timer);
    m5_persist_session_gone(shard, session);
    m5_hold_forget(shard, &session->held);
    while (!m5_list_empty(&session->subscriptions))
        m5_subscription_remove(shard, first_subscription(session));
    m5_delivery_clear(shard, session);
    m5_id_set_clear(&session->incoming, shard->allocator);
    m5_map_remove(&shard->sessions, session->hash, session);
    free_roles(shard, &session->principal);
    m5_free(shard->allocator, (void *)(uintptr_t)session->principal.client_id.data,
            session->principal.client_id.len + session->principal.username.len);
    M5_UNCOUNT(shard, sessions, 1);
    session->serial = 0;
    m5_pool_give(&shard->session_pool, session);
}

static void set_alarm(struct m5_shard *shard, struct m5_session *session)
{
    uint64_t due =
        session->will_at_ms < session->expires_at_ms ? session->will_at_ms : session->expires_at_ms;
    if (due == M5_NEVER)
        m5_timer_stop(&shard->wheel, &session->alarm.timer);
    else
        m5_timer_start(&shard->wheel, &session->alarm.timer, due);
}

void m5_session_offline(struct m5_shard *shard, struct m5_session *session, bool keep_will)
{
    M5_ASSERT(session->conn == NULL);
    if (!keep_will)
        m5_session_drop_will(shard, session); /* [MQTT-3.14.4-3] */
    m5_delivery_rewind(shard, session);
    if (session->expiry_s == 0) {
        m5_session_end(shard, session); /* [MQTT-4.1.0-2] */
        return;
    }
    m5_delivery_trim(shard, session);
    session->expires_at_ms = session->expiry_s == M5_EXPIRY_NEVER
                                 ? M5_NEVER
                                 : shard->now_ms + session->expiry_s * (uint64_t)1000;
    if (session->will.message != NULL) {
        session->will_at_ms = shard->now_ms + session->will.delay_s * (uint64_t)1000;
        if (session->will.delay_s == 0)
            m5_session_publish_will(shard, session);
    }
    set_alarm(shard, session);
    m5_persist_session(shard, session);
    m5_share_status(shard, session, false);
}

void m5_session_wake(struct m5_shard *shard, struct m5_session *session)
{
    set_alarm(shard, session);
}

void m5_session_alarm(struct m5_shard *shard, struct m5_session *session)
{
    M5_ASSERT(session->conn == NULL);
    if (session->expires_at_ms <= shard->now_ms) {
        M5_COUNT(shard, sessions_expired, 1);
        struct m5_event *event = m5_event_new(shard, M5_EVENT_SESSION_EXPIRED, NULL);
        if (event != NULL)
            m5_event_text(event->client_id, sizeof event->client_id, &event->client_id_size,
                          session->principal.client_id);
        m5_session_end(shard, session);
        return;
    }
    if (session->will_at_ms <= shard->now_ms) {
        m5_session_publish_will(shard, session);
        m5_persist_session(shard, session);
    }
    set_alarm(shard, session);
}
