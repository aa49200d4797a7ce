/* Requests and answers: one response topic for all requests of a client, which are told apart by
 * their correlation data, a number.
 *
 * A pending request is freed when both its answer (or what stands for one) has been shown and its
 * publish has ended, in whichever order.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/host.h"

#include <inttypes.h>
#include <stdio.h>

#define PREFIX_MAX       200u /* bytes of Response Information that are used */
#define CORRELATION_SIZE 8u

struct pending {
    struct m5_list node;
    struct mqtt5_client *client;
    uint64_t number, deadline_ms;
    mqtt5_answer_fn *answered;
    void *ctx;
    bool is_answered, is_published;
};

struct m5_client_requests {
    struct m5_list pending; /* those not freed */
    uint64_t last_number, deadline_ms;
    bool subscribed; /* or about to be */
    char topic[PREFIX_MAX + 40];
};

/* ---- pending requests ---- */

static void free_if_over(struct mqtt5_client *client, struct pending *pending)
{
    if (!pending->is_answered || !pending->is_published)
        return;
    m5_list_remove(&pending->node);
    m5_free(client->allocator, pending, sizeof *pending);
}

/* Hands @p answer on with the lock open; @p pending may be gone afterwards. */
static void finish(struct mqtt5_client *client, struct pending *pending, enum mqtt5_error error,
                   const struct mqtt5_publish *answer)
{
    mqtt5_answer_fn *answered = pending->answered;
    void *ctx = pending->ctx;
    pending->is_answered = true;
    free_if_over(client, pending);
    const bool outer = client->calling_back; /* called from a callback of our own */
    client->calling_back = true;
    pthread_mutex_unlock(&client->lock);
    answered(ctx, error, answer);
    pthread_mutex_lock(&client->lock);
    client->calling_back = outer;
}

static struct pending *find(const struct m5_client_requests *requests, uint64_t number)
{
    for (struct m5_list *node = requests->pending.next; node != &requests->pending;
         node = node->next) {
        struct pending *pending = M5_CONTAINER_OF(node, struct pending, node);
        if (pending->number == number && !pending->is_answered)
            return pending;
    }
    return NULL;
}

/* The first that is over by its time; NULL, and the next deadline is known. */
static struct pending *next_expired(struct m5_client_requests *requests, uint64_t now_ms)
{
    requests->deadline_ms = UINT64_MAX;
    for (struct m5_list *node = requests->pending.next; node != &requests->pending;
         node = node->next) {
        struct pending *pending = M5_CONTAINER_OF(node, struct pending, node);
        if (pending->is_answered)
            continue;
        if (pending->deadline_ms <= now_ms)
            return pending;
        if (pending->deadline_ms < requests->deadline_ms)
            requests->deadline_ms = pending->deadline_ms;
    }
    return NULL;
}

uint64_t m5_client_host_requests_deadline_ms(const struct mqtt5_client *client)
{
    return client->requests->deadline_ms;
}

void m5_client_host_requests_expire(struct mqtt5_client *client)
{
    struct pending *pending;
    while (!client->free_asked &&
           (pending = next_expired(client->requests, m5_client_host_now(client))) != NULL)
        finish(client, pending, MQTT5_ERR_TIMEOUT, NULL);
}

static void fail_all(struct mqtt5_client *client, enum mqtt5_error error)
{
    struct m5_list *node = client->requests->pending.next;
    while (node != &client->requests->pending) {
        struct pending *pending = M5_CONTAINER_OF(node, struct pending, node);
        node = node->next;
        if (pending->is_answered)
            continue;
        finish(client, pending, error, NULL);
        node = client->requests->pending.next; /* the list may have changed */
    }
}

void m5_client_host_requests_free(struct mqtt5_client *client)
{
    struct m5_list *node;
    if (client->requests == NULL)
        return;
    fail_all(client, MQTT5_ERR_CLOSED);
    while ((node = m5_list_pop_front(&client->requests->pending)) != NULL)
        m5_free(client->allocator, M5_CONTAINER_OF(node, struct pending, node),
                sizeof(struct pending));
    m5_free(client->allocator, client->requests, sizeof *client->requests);
    client->requests = NULL;
}

void m5_client_host_requests_down(struct mqtt5_client *client)
{
    if (client->requests != NULL)
        client->requests->subscribed = false; /* the next request subscribes anew */
}

/* ---- what comes back ---- */

/* The handler of the response topic. */
static void on_answer(void *ctx, const struct mqtt5_message *message)
{
    struct mqtt5_client *client = ctx;
    const struct mqtt5_properties *properties = &message->publish->properties;
    if (!MQTT5_HAS(properties, CORRELATION_DATA) ||
        properties->correlation_data.len != CORRELATION_SIZE)
        return;
    const uint8_t *data = properties->correlation_data.data;
    const uint64_t number = (uint64_t)m5_read_u32(data) << 32 | m5_read_u32(data + 4);
    pthread_mutex_lock(&client->lock);
    struct pending *pending = find(client->requests, number);
    if (pending != NULL)
        finish(client, pending, MQTT5_OK, message->publish);
    pthread_mutex_unlock(&client->lock);
}

static void on_published(void *ctx, const struct mqtt5_client_result *result)
{
    struct pending *pending = ctx;
    struct mqtt5_client *client = pending->client;
    pthread_mutex_lock(&client->lock);
    pending->is_published = true;
    if (result->error != MQTT5_OK && !pending->is_answered)
        finish(client, pending, result->error, NULL);
    else
        free_if_over(client, pending);
    pthread_mutex_unlock(&client->lock);
}

static void on_subscribed(void *ctx, const struct mqtt5_client_result *result)
{
    struct mqtt5_client *client = ctx;
    if (result->error == MQTT5_OK)
        return;
    pthread_mutex_lock(&client->lock);
    if (client->requests != NULL) {
        client->requests->subscribed = false;
        fail_all(client, result->error);
    }
    pthread_mutex_unlock(&client->lock);
}

/* ---- requests ---- */

/* The topic is random: nobody else guesses it, and clients with one id do not meet in it. */
static struct m5_client_requests *make_requests(struct mqtt5_client *client)
{
    struct m5_client_requests *requests = m5_alloc_zero(client->allocator, sizeof *requests);
    if (requests == NULL)
        return NULL;
    const char *prefix =
        client->response_prefix != NULL ? client->response_prefix : "mqtt5/response";
    const uint64_t a = m5_rng_next(&client->course.backoff.rng);
    const uint64_t b = m5_rng_next(&client->course.backoff.rng);
    m5_list_init(&requests->pending);
    requests->deadline_ms = UINT64_MAX;
    requests->last_number = b;
    snprintf(requests->topic, sizeof requests->topic, "%.200s/%016" PRIx64, prefix, a);
    return requests;
}

static enum mqtt5_error subscribe(struct mqtt5_client *client)
{
    struct m5_client_requests *requests = client->requests;
    const struct mqtt5_subscription_handler handler = {.on_message = on_answer, .ctx = client};
    const struct mqtt5_subscription_request item = {.filter = m5_bytes_of(requests->topic),
                                                    .qos = 1};
    const struct mqtt5_subscribe packet = {.count = 1, .items = &item};
    if (requests->subscribed)
        return MQTT5_OK;
    struct m5_client_op *op = m5_client_host_op_new(client, on_subscribed, client, 1);
    const enum mqtt5_error error = m5_client_host_subscribe(client, &packet, &handler, false, op);
    requests->subscribed = error == MQTT5_OK;
    return error;
}

static enum mqtt5_error publish(struct mqtt5_client *client, const struct mqtt5_publish *request,
                                struct pending *pending)
{
    uint8_t correlation[CORRELATION_SIZE];
    struct mqtt5_publish copy = *request;
    m5_write_u32(m5_write_u32(correlation, (uint32_t)(pending->number >> 32)),
                 (uint32_t)pending->number);
    MQTT5_SET(&copy.properties, RESPONSE_TOPIC);
    copy.properties.response_topic = m5_bytes_of(client->requests->topic);
    MQTT5_SET(&copy.properties, CORRELATION_DATA);
    copy.properties.correlation_data = m5_bytes(correlation, sizeof correlation);
    struct m5_client_op *op = m5_client_host_op_new(client, on_published, pending, 0);
    if (op == NULL)
        return MQTT5_ERR_NOMEM;
    const enum mqtt5_error error = m5_client_host_publish(client, &copy, op);
    if (error != MQTT5_OK)
        m5_client_host_op_free(client, op);
    return error;
}

static enum mqtt5_error request(struct mqtt5_client *client, const struct mqtt5_publish *message,
                                struct pending *pending)
{
    if (client->config->version != MQTT5_VERSION_5)
        return MQTT5_ERR_UNSUPPORTED;
    if (client->requests == NULL && (client->requests = make_requests(client)) == NULL)
        return MQTT5_ERR_NOMEM;
    enum mqtt5_error error = subscribe(client);
    if (error != MQTT5_OK)
        return error;
    pending->number = ++client->requests->last_number;
    error = publish(client, message, pending);
    if (error != MQTT5_OK)
        return error;
    m5_list_push_back(&client->requests->pending, &pending->node);
    if (pending->deadline_ms < client->requests->deadline_ms)
        client->requests->deadline_ms = pending->deadline_ms;
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_client_request_async(struct mqtt5_client *client,
                                            const struct mqtt5_publish *message,
                                            uint32_t timeout_ms, mqtt5_answer_fn *answered,
                                            void *ctx)
{
    struct pending *pending = m5_alloc_zero(client->allocator, sizeof *pending);
    if (pending == NULL)
        return MQTT5_ERR_NOMEM;
    pthread_mutex_lock(&client->lock);
    *pending = (struct pending){.client = client, .answered = answered, .ctx = ctx};
    pending->deadline_ms =
        timeout_ms == MQTT5_FOREVER ? UINT64_MAX : m5_client_host_now(client) + timeout_ms;
    m5_list_init(&pending->node);
    const enum mqtt5_error error = request(client, message, pending);
    if (error != MQTT5_OK)
        m5_free(client->allocator, pending, sizeof *pending);
    pthread_mutex_unlock(&client->lock);
    return error;
}

enum mqtt5_error mqtt5_client_answer_async(struct mqtt5_client *client,
                                           const struct mqtt5_publish *message,
                                           const struct mqtt5_publish *answer,
                                           mqtt5_client_done_fn *done, void *ctx)
{
    struct mqtt5_publish copy = *answer;
    if (!MQTT5_HAS(&message->properties, RESPONSE_TOPIC))
        return MQTT5_ERR_INVALID_ARGUMENT;
    copy.topic = message->properties.response_topic;
    copy.properties.present &= ~((uint64_t)1 << (unsigned)MQTT5_PROPERTY_CORRELATION_DATA);
    if (MQTT5_HAS(&message->properties, CORRELATION_DATA)) {
        MQTT5_SET(&copy.properties, CORRELATION_DATA);
        copy.properties.correlation_data = message->properties.correlation_data;
    }
    return mqtt5_client_publish_async(client, &copy, done, ctx);
}
