/* What outlives a connection: messages that are not acknowledged, QoS 2 identifiers.
 *
 * A message is the user's until it is acknowledged. When a connection ends:
 *
 *                      session kept              session over
 *   QoS 0, waiting     CLOSED, or stays with `offline_qos0`
 *   QoS > 0, waiting   stays                     CLOSED, or stays with `offline_queue`
 *   QoS 1, sent        again, DUP, same id       CLOSED, or again as new with `offline_queue`
 *   QoS 2, sent        again, DUP, same id       CLOSED: whether it arrived is not known
 *   PUBREC received    PUBREL again, same id     OK: the server has taken it
 *   subscriptions      CLOSED, or again if another connection follows
 *   pings, AUTH        CLOSED
 *
 * Should the server have lost a session that we kept, what was sent at QoS 1 is sent again as new,
 * which "at least once" allows; at QoS 2 it ends as CLOSED, as "exactly once" can no longer be
 * kept. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "client/state.h"

void m5_client_unlink(struct m5_client *client, struct m5_client_request *request)
{
    M5_ASSERT(request->state != M5_REQUEST_DONE);
    const bool counted = request->state == M5_REQUEST_SENT || request->state == M5_REQUEST_RELEASED;
    if (counted && request->kind == MQTT5_PUBLISH && request->qos > 0) {
        M5_ASSERT(client->inflight > 0);
        client->inflight--;
    }
    if (request->packet_id != 0)
        m5_client_window_remove(&client->window, request);
    m5_list_remove(&request->node);
}

void m5_client_finish(struct m5_client *client, struct m5_client_request *request,
                      enum mqtt5_error error, uint8_t reason_code)
{
    m5_client_unlink(client, request);
    request->state = M5_REQUEST_DONE;
    request->error = error;
    request->reason_code = reason_code;
    if (request->internal && error == MQTT5_ERR_CLOSED)
        m5_client_drop_request(client, request); /* the next connection makes it anew */
    else
        m5_list_push_back(&client->done, &request->node);
}

static void finish_closed(struct m5_client *client, struct m5_client_request *request)
{
    m5_client_finish(client, request, MQTT5_ERR_CLOSED, 0);
}

/* ---- QoS 2 received ---- */

bool m5_client_received_has(const struct m5_client *client, uint16_t id)
{
    return client->received_ids != NULL && (client->received_ids[id / 8] >> id % 8 & 1) != 0;
}

bool m5_client_received_add(struct m5_client *client, uint16_t id)
{
    M5_ASSERT(!m5_client_received_has(client, id));
    if (client->received_ids == NULL)
        client->received_ids = m5_alloc_zero(client->allocator, M5_CLIENT_RECEIVED_SIZE);
    if (client->received_ids == NULL)
        return false;
    client->received_ids[id / 8] |= (uint8_t)(1u << id % 8);
    client->received_count++;
    return true;
}

void m5_client_received_remove(struct m5_client *client, uint16_t id)
{
    M5_ASSERT(m5_client_received_has(client, id));
    client->received_ids[id / 8] &= (uint8_t) ~(1u << id % 8);
    client->received_count--;
}

void m5_client_received_forget(struct m5_client *client)
{
    m5_free(client->allocator, client->received_ids, M5_CLIENT_RECEIVED_SIZE);
    client->received_ids = NULL;
    client->received_count = 0;
}

/* ---- the end of a connection ---- */

/* Tells whether the server keeps the session now that the connection is gone [MQTT-3.1.2-23]. A
 * connection that was never accepted changes nothing. */
static bool is_kept(const struct m5_client *client)
{
    if (!client->connack_seen)
        return client->has_session;
    return client->version == MQTT5_VERSION_5 ? client->info.session_expiry_s > 0
                                              : !client->sent_clean_start;
}

/* Tells whether our CONNECT may have made a session whose CONNACK was lost: then Session Present is
 * what to expect next time, and nothing of that session is missing here [MQTT-3.2.2-4]. */
static bool may_have_begun(const struct m5_client *client)
{
    return !client->connack_seen && client->has_spoken && !client->ending.by_server &&
           (client->version == MQTT5_VERSION_5 ? client->config.session_expiry_s > 0
                                               : !client->sent_clean_start);
}

/* Makes a message that was sent a new one: for QoS 1, "at least once" allows that. */
static void renew(struct m5_client *client, struct m5_client_request *request)
{
    if (request->packet_id != 0)
        m5_client_window_remove(&client->window, request);
    request->packet_id = 0;
    request->sent_before = false;
}

/* Whether a message outlives its session. */
static bool outlives(const struct m5_client *client, const struct m5_client_request *request,
                     bool was_sent)
{
    if (!client->config.offline_queue)
        return false;
    return request->qos == 0 ? client->config.offline_qos0 : request->qos == 1 || !was_sent;
}

static void suspend_waiting(struct m5_client *client, bool kept)
{
    struct m5_list *node = client->waiting.next, *next;
    for (; node != &client->waiting; node = next) {
        struct m5_client_request *request = m5_client_request_of(node);
        next = node->next;
        if (kept && request->qos > 0)
            continue;
        if (outlives(client, request, request->sent_before))
            renew(client, request);
        else
            finish_closed(client, request);
    }
}

static void suspend_sent(struct m5_client *client, bool kept)
{
    struct m5_list *node = client->sent.next, *next;
    for (; node != &client->sent; node = next) {
        struct m5_client_request *request = m5_client_request_of(node);
        next = node->next;
        if (request->kind != MQTT5_PUBLISH && client->returning && !request->internal)
            continue;
        if (request->kind != MQTT5_PUBLISH || !(kept || outlives(client, request, true)))
            finish_closed(client, request);
    }
    /* From the last one back, so that the first one sent stands first again [MQTT-4.6.0-1]. */
    while (!m5_list_empty(&client->sent)) {
        struct m5_client_request *request = m5_client_request_of(client->sent.prev);
        const bool message = request->kind == MQTT5_PUBLISH;
        m5_list_remove(&request->node);
        m5_list_push_front(message ? &client->waiting : &client->control, &request->node);
        request->state = M5_REQUEST_WAITING;
        request->sent_before = message;
        client->inflight -= message;
        if (!message || !kept)
            renew(client, request);
    }
}

void m5_client_session_end_control(struct m5_client *client)
{
    while (!m5_list_empty(&client->control))
        finish_closed(client, m5_client_request_of(client->control.next));
}

/* Ends what belongs to the connection alone. */
static void suspend_rest(struct m5_client *client)
{
    struct m5_list *node = client->control.next, *next;
    for (; node != &client->control; node = next) {
        struct m5_client_request *request = m5_client_request_of(node);
        next = node->next;
        if (!client->returning || request->internal)
            finish_closed(client, request);
        else if (request->packet_id != 0)
            renew(client, request);
    }
    while (!m5_list_empty(&client->pings))
        finish_closed(client, m5_client_request_of(client->pings.next));
    m5_client_auth_done(client, MQTT5_ERR_CLOSED);
}

/* The server has taken these: PUBREC said so [MQTT-4.3.3-3]. */
static void finish_released(struct m5_client *client)
{
    while (!m5_list_empty(&client->released)) {
        struct m5_client_request *request = m5_client_request_of(client->released.next);
        m5_client_finish(client, request, MQTT5_OK, request->reason_code);
    }
}

void m5_client_session_suspend(struct m5_client *client)
{
    const bool kept = is_kept(client);
    suspend_waiting(client, kept);
    suspend_sent(client, kept);
    suspend_rest(client);
    m5_client_deferrals_lost(client, kept);
    if (!kept) {
        finish_released(client);
        m5_client_received_forget(client);
    }
    client->has_session = kept || may_have_begun(client);
}

/* ---- the next connection ---- */

void m5_client_session_resume(struct m5_client *client)
{
    /* In the order of their PUBREC [MQTT-4.6.0-4] [MQTT-4.4.0-1]. */
    for (struct m5_list *node = client->released.next; node != &client->released; node = node->next)
        m5_client_send_ack(client, MQTT5_PUBREL, m5_client_request_of(node)->packet_id, 0);
}

void m5_client_session_discard(struct m5_client *client)
{
    M5_ASSERT(m5_list_empty(&client->sent));
    struct m5_list *node = client->waiting.next, *next;
    for (; node != &client->waiting; node = next) {
        struct m5_client_request *request = m5_client_request_of(node);
        next = node->next;
        if (!request->sent_before)
            continue;
        if (request->qos == 2) {
            finish_closed(client, request);
            continue;
        }
        renew(client, request);
    }
    finish_released(client);
    m5_client_deferrals_lost(client, false);
    m5_client_received_forget(client);
}
