/* Messages to the broker itself.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/control.h"

#include "broker/shard.h"

struct request {
    struct m5_list node;
    uint64_t serial; /* of the session that asks */
    size_t size;     /* of all this */
    size_t client_size, username_size, payload_size;
    uint8_t bytes[];
};

void m5_controls_init(struct m5_controls_waiting *waiting)
{
    m5_list_init(&waiting->requests);
    m5_list_init(&waiting->taken);
}

static void drop_all(struct m5_shard *shard, struct m5_list *list)
{
    struct m5_list *node;
    while ((node = m5_list_pop_front(list)) != NULL) {
        struct request *request = M5_CONTAINER_OF(node, struct request, node);
        m5_free(shard->allocator, request, request->size);
    }
}

void m5_controls_fini(struct m5_shard *shard)
{
    drop_all(shard, &shard->controls.requests);
    drop_all(shard, &shard->controls.taken);
}

bool m5_is_control(const struct m5_shard *shard, struct mqtt5_bytes topic)
{
    const char *control = shard->engine->control_topic;
    return control != NULL && topic.len > 0 && topic.data[0] == '$' &&
           m5_bytes_equal(topic, m5_bytes_of(control));
}

uint8_t m5_control_keep(struct m5_conn *conn, const struct mqtt5_publish *publish)
{
    struct m5_shard *shard = conn->shard;
    struct m5_controls_waiting *waiting = &shard->controls;
    const struct m5_principal *who = &conn->session->principal;
    size_t size =
        sizeof(struct request) + who->client_id.len + who->username.len + publish->payload.len;
    struct request *request = NULL;
    if (waiting->count < M5_CONTROLS_MAX && waiting->bytes + size <= M5_CONTROL_BYTES_MAX)
        request = m5_alloc(shard->allocator, size);
    if (request == NULL) {
        M5_COUNT(shard, limit_control, 1);
        m5_event_limit(shard, conn, "control");
        return MQTT5_REASON_QUOTA_EXCEEDED;
    }
    *request = (struct request){.serial = conn->session->serial,
                                .size = size,
                                .client_size = who->client_id.len,
                                .username_size = who->username.len,
                                .payload_size = publish->payload.len};
    uint8_t *at = m5_copy(request->bytes, who->client_id);
    at = m5_copy(at, who->username);
    m5_copy(at, publish->payload);
    m5_list_push_back(&waiting->requests, &request->node);
    waiting->count++;
    waiting->bytes += size;
    return MQTT5_REASON_SUCCESS;
}

bool m5_shard_next_control(struct m5_shard *shard, struct m5_control *out)
{
    struct m5_controls_waiting *waiting = &shard->controls;
    drop_all(shard, &waiting->taken);
    struct m5_list *node = m5_list_pop_front(&waiting->requests);
    if (node == NULL)
        return false;
    m5_list_push_back(&waiting->taken, node);
    const struct request *request = M5_CONTAINER_OF(node, struct request, node);
    waiting->count--;
    waiting->bytes -= request->size;
    const uint8_t *username = request->bytes + request->client_size;
    *out = (struct m5_control){
        .session = request->serial,
        .client_id = m5_bytes(request->bytes, request->client_size),
        .username = m5_bytes(username, request->username_size),
        .payload = m5_bytes(username + request->username_size, request->payload_size)};
    return true;
}

void m5_shard_answer_control(struct m5_shard *shard, const struct m5_control *asked,
                             struct mqtt5_bytes topic, struct mqtt5_bytes payload)
{
    struct m5_session *session = m5_session_find(shard, asked->client_id);
    struct m5_message_view view = {
        .topic = topic, .payload = payload, .expires_at_ms = M5_NEVER, .qos = 0};
    struct m5_single single = {.view = &view};
    if (session == NULL || session->serial != asked->session ||
        !m5_may_deliver(shard, session, topic, 1))
        return;
    m5_deliver_qos0(shard, session, &single);
}

void m5_shard_review(struct m5_shard *shard, m5_welcome_fn *welcomes, void *ctx)
{
    struct m5_list *next, *at = shard->open.next;
    for (; at != &shard->open; at = next) {
        struct m5_conn *conn = M5_CONTAINER_OF(at, struct m5_conn, open);
        next = at->next;
        if (conn->state != M5_CONN_OPEN || welcomes(ctx, &conn->session->principal))
            continue;
        M5_COUNT(shard, denied_connect, 1);
        m5_conn_close(conn, MQTT5_REASON_ADMINISTRATIVE_ACTION, NULL);
    }
}
