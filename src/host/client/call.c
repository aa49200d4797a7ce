/* Calls: waiting for any asynchronous operation, with all of its result.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/call.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/host.h"

enum call_state { CALL_IDLE, CALL_PENDING, CALL_DONE };

/* Guarded by the client's lock; `abandoned`: freed when its operation ends. */
struct mqtt5_call {
    struct mqtt5_client *client;
    enum call_state state;
    bool abandoned;
    struct mqtt5_client_result result;
    uint8_t *memory; /* of the views in it; NULL */
    size_t memory_size;
};

struct mqtt5_call *mqtt5_call_new(struct mqtt5_client *client)
{
    struct mqtt5_call *call = m5_alloc_zero(client->allocator, sizeof *call);
    if (call != NULL)
        call->client = client;
    return call;
}

static void forget(struct mqtt5_call *call)
{
    m5_free(call->client->allocator, call->memory, call->memory_size);
    call->memory = NULL;
    call->memory_size = 0;
    call->result = (struct mqtt5_client_result){0};
    call->state = CALL_IDLE;
}

void mqtt5_call_free(struct mqtt5_call *call)
{
    if (call == NULL)
        return;
    struct mqtt5_client *client = call->client;
    pthread_mutex_lock(&client->lock);
    if (call->state == CALL_PENDING) {
        call->abandoned = true;
    } else {
        forget(call);
        m5_free(client->allocator, call, sizeof *call);
    }
    pthread_mutex_unlock(&client->lock);
}

void m5_client_call_started(mqtt5_client_done_fn *done, void *ctx)
{
    struct mqtt5_call *call = ctx;
    if (done != mqtt5_call_done)
        return;
    forget(call);
    call->state = CALL_PENDING;
}

void m5_client_call_failed(mqtt5_client_done_fn *done, void *ctx)
{
    struct mqtt5_call *call = ctx;
    if (done == mqtt5_call_done && call->state == CALL_PENDING)
        call->state = CALL_IDLE;
}

/* Points @p view at the copy of what it showed within @p from. */
static void move_view(struct mqtt5_bytes *view, struct mqtt5_bytes from, const uint8_t *copy)
{
    if (view->data != NULL && view->data >= from.data && view->data < from.data + from.len)
        view->data = copy + (view->data - from.data);
    else
        *view = (struct mqtt5_bytes){0};
}

static void move_properties(struct mqtt5_properties *p, struct mqtt5_bytes from, uint8_t *copy)
{
    struct mqtt5_bytes *views[] = {&p->content_type,          &p->response_topic,
                                   &p->correlation_data,      &p->assigned_client_identifier,
                                   &p->authentication_method, &p->authentication_data,
                                   &p->response_information,  &p->server_reference,
                                   &p->reason_string};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        move_view(views[i], from, copy);
    p->raw = m5_bytes(copy, from.len);
}

/* Keeps a copy; without memory only the numbers are kept. All views of a result lie in the raw
 * properties, or are the reason codes. */
static void keep(struct mqtt5_call *call, const struct mqtt5_client_result *result)
{
    const struct mqtt5_bytes raw = result->properties.raw, codes = result->reason_codes;
    call->result = *result;
    call->result.reason_codes = call->result.reason_string = (struct mqtt5_bytes){0};
    call->memory_size = raw.len + codes.len;
    call->memory =
        call->memory_size > 0 ? m5_alloc(call->client->allocator, call->memory_size) : NULL;
    if (call->memory == NULL) {
        call->memory_size = 0;
        call->result.properties = (struct mqtt5_properties){0};
        return;
    }
    m5_copy(m5_copy(call->memory, raw), codes);
    move_properties(&call->result.properties, raw, call->memory);
    call->result.reason_codes = m5_bytes(call->memory + raw.len, codes.len);
    if (MQTT5_HAS(&call->result.properties, REASON_STRING))
        call->result.reason_string = call->result.properties.reason_string;
}

void mqtt5_call_done(void *ctx, const struct mqtt5_client_result *result)
{
    struct mqtt5_call *call = ctx;
    struct mqtt5_client *client = call->client;
    pthread_mutex_lock(&client->lock);
    if (call->abandoned) {
        forget(call);
        m5_free(client->allocator, call, sizeof *call);
    } else {
        keep(call, result);
        call->state = CALL_DONE;
        pthread_cond_broadcast(&client->changed);
    }
    pthread_mutex_unlock(&client->lock);
}

static bool is_done(const struct mqtt5_client *client, const void *ctx)
{
    const struct mqtt5_call *call = ctx;
    (void)client;
    return call->state == CALL_DONE;
}

enum mqtt5_error mqtt5_call_wait(struct mqtt5_call *call, uint32_t timeout_ms)
{
    struct mqtt5_client *client = call->client;
    pthread_mutex_lock(&client->lock);
    if (call->state == CALL_IDLE ||
        (call->state == CALL_PENDING && m5_client_host_may_not_wait(client)))
        return m5_client_host_leave(client, MQTT5_ERR_INVALID_STATE);
    const bool done = m5_client_host_wait(client, is_done, call, timeout_ms);
    const enum mqtt5_error error = done ? call->result.error : MQTT5_ERR_TIMEOUT;
    return m5_client_host_leave(client, error);
}

const struct mqtt5_client_result *mqtt5_call_result(const struct mqtt5_call *call)
{
    return call->state == CALL_DONE ? &call->result : NULL;
}
