/* The public client against the embedded broker, over real sockets on loopback: blocking and async
 * forms, own thread and none, callbacks that do what they may and may not.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/client_broker.h"
#include "support/hex.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <mqtt5/client.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 20000 /* only a bound: every wait ends by an event */

/* ---- a broker to talk to ---- */

static char url[64];

static int start_broker(void **state)
{
    const int failed = client_broker_start(state);
    if (failed == 0)
        client_broker_url("127.0.0.1", url, sizeof url);
    return failed;
}

/* ---- what callbacks leave behind ---- */

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t messages, done, connects, disconnects;
    enum mqtt5_error last_error;
    char last_payload[64];
    struct mqtt5_client *client;
    enum mqtt5_error in_callback;
};

static void seen_init(struct seen *seen)
{
    memset(seen, 0, sizeof *seen);
    pthread_mutex_init(&seen->lock, NULL);
    pthread_cond_init(&seen->changed, NULL);
}

static void see_message(void *ctx, const struct mqtt5_message *message)
{
    struct seen *seen = ctx;
    const struct mqtt5_bytes payload = message->publish->payload;
    pthread_mutex_lock(&seen->lock);
    seen->messages++;
    snprintf(seen->last_payload, sizeof seen->last_payload, "%.*s", (int)payload.len,
             (const char *)payload.data);
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void see_done(void *ctx, const struct mqtt5_client_result *result)
{
    struct seen *seen = ctx;
    pthread_mutex_lock(&seen->lock);
    seen->done++;
    seen->last_error = result->error;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void see_change(void *ctx, const struct mqtt5_client_change *change)
{
    struct seen *seen = ctx;
    pthread_mutex_lock(&seen->lock);
    if (change->state == MQTT5_CLIENT_CONNECTED)
        seen->connects++;
    else
        seen->disconnects++;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void wait_for(struct seen *seen, const uint32_t *count, uint32_t wanted)
{
    pthread_mutex_lock(&seen->lock);
    while (*count < wanted)
        pthread_cond_wait(&seen->changed, &seen->lock);
    pthread_mutex_unlock(&seen->lock);
}

static struct mqtt5_client *make(struct seen *seen, bool own_thread)
{
    struct mqtt5_client_options config;
    struct mqtt5_client *client;
    mqtt5_client_options_init(&config);
    config.reconnect.enabled = false;
    config.own_thread = own_thread;
    config.on_message = see_message;
    config.on_change = see_change;
    config.ctx = seen;
    assert_int_equal(mqtt5_client_new(&config, &client), MQTT5_OK);
    seen->client = client;
    return client;
}

static enum mqtt5_error publish(struct mqtt5_client *client, const char *topic, uint8_t qos)
{
    const struct mqtt5_publish message = {
        .topic = m5_bytes_of(topic), .payload = m5_bytes_of("hi"), .qos = qos};
    return mqtt5_client_publish(client, &message, WAIT_MS, NULL);
}

static enum mqtt5_error subscribe(struct mqtt5_client *client, const char *filter,
                                  mqtt5_message_fn *on_message, void *ctx)
{
    const struct mqtt5_subscription_request item = {.filter = m5_bytes_of(filter), .qos = 2};
    const struct mqtt5_subscribe request = {.count = 1, .items = &item};
    return mqtt5_client_subscribe(client, &request, on_message, ctx, WAIT_MS, NULL);
}

/* ---- the tests ---- */

static void blocking_forms_work(bool own_thread)
{
    struct seen seen;
    seen_init(&seen);
    struct mqtt5_client *client = make(&seen, own_thread);
    char id[64];
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    assert_true(mqtt5_client_id(client, id, sizeof id) > 0); /* assigned */
    assert_int_equal(subscribe(client, "host/+", NULL, NULL), MQTT5_OK);
    for (uint8_t qos = 0; qos < 3; qos++)
        assert_int_equal(publish(client, "host/a", qos), MQTT5_OK);
    while (!own_thread && seen.messages < 3)
        assert_int_equal(mqtt5_client_process(client, WAIT_MS), MQTT5_OK);
    wait_for(&seen, &seen.messages, 3);
    assert_string_equal(seen.last_payload, "hi");
    assert_int_equal(mqtt5_client_disconnect(client, NULL, WAIT_MS), MQTT5_OK);
    assert_int_equal(publish(client, "host/a", 1), MQTT5_ERR_INVALID_STATE);
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    assert_int_equal(publish(client, "host/b", 1), MQTT5_OK);
    mqtt5_client_free(client);
    assert_int_equal(seen.connects, 2);
    assert_int_equal(seen.disconnects, 2);
}

static void blocking_forms_work_with_a_thread(void **state)
{
    (void)state;
    blocking_forms_work(true);
}

static void blocking_forms_work_without_a_thread(void **state)
{
    (void)state;
    blocking_forms_work(false);
}

static void async_forms_call_back(void **state)
{
    (void)state;
    struct seen seen;
    seen_init(&seen);
    struct mqtt5_client *client = make(&seen, true);
    assert_int_equal(mqtt5_client_connect_async(client, url, see_done, &seen), MQTT5_OK);
    const struct mqtt5_subscription_request item = {.filter = m5_bytes_of("async/#"), .qos = 1};
    const struct mqtt5_subscribe request = {.count = 1, .items = &item};
    const struct mqtt5_subscribe_callbacks callbacks = {
        .on_message = see_message, .message_ctx = &seen, .done = see_done, .done_ctx = &seen};
    /* At once, before anything is connected. */
    assert_int_equal(mqtt5_client_subscribe_async(client, &request, &callbacks), MQTT5_OK);
    wait_for(&seen, &seen.done, 2);
    const struct mqtt5_publish message = {.topic = m5_bytes_of("async/x"), .qos = 1};
    for (int i = 0; i < 500; i++)
        assert_int_equal(mqtt5_client_publish_async(client, &message, see_done, &seen), MQTT5_OK);
    wait_for(&seen, &seen.done, 502);
    wait_for(&seen, &seen.messages, 500);
    assert_int_equal(seen.last_error, MQTT5_OK);
    assert_int_equal(mqtt5_client_disconnect_async(client, NULL), MQTT5_OK);
    wait_for(&seen, &seen.disconnects, 1);
    mqtt5_client_free(client);
}

/* Each subscription's callback gets what matches it; $share is no part of the match. */
static void messages_go_to_the_callbacks_of_their_filters(void **state)
{
    (void)state;
    struct seen all, one, shared, rest;
    seen_init(&all);
    seen_init(&one);
    seen_init(&shared);
    seen_init(&rest);
    struct mqtt5_client *client = make(&rest, false);
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    assert_int_equal(subscribe(client, "route/#", see_message, &all), MQTT5_OK);
    assert_int_equal(subscribe(client, "route/one", see_message, &one), MQTT5_OK);
    assert_int_equal(subscribe(client, "$share/g/other", see_message, &shared), MQTT5_OK);
    assert_int_equal(publish(client, "route/one", 1), MQTT5_OK);
    assert_int_equal(publish(client, "other", 1), MQTT5_OK);
    while (one.messages < 1 || shared.messages < 1)
        assert_int_equal(mqtt5_client_process(client, WAIT_MS), MQTT5_OK);
    assert_int_equal(all.messages, 1);
    assert_int_equal(rest.messages, 0);
    /* Unsubscribed, its callback is gone; the other one stays. */
    const struct mqtt5_bytes filter = m5_bytes_of("route/one");
    const struct mqtt5_unsubscribe request = {.count = 1, .items = &filter};
    uint8_t reason = 0xFF;
    assert_int_equal(mqtt5_client_unsubscribe(client, &request, WAIT_MS, &reason), MQTT5_OK);
    assert_int_equal(reason, 0);
    assert_int_equal(publish(client, "route/one", 1), MQTT5_OK);
    while (all.messages < 2)
        assert_int_equal(mqtt5_client_process(client, WAIT_MS), MQTT5_OK);
    assert_int_equal(one.messages, 1);
    /* Subscribed again, the new callback takes the place of the old one. */
    assert_int_equal(subscribe(client, "route/#", see_message, &shared), MQTT5_OK);
    assert_int_equal(publish(client, "route/x", 1), MQTT5_OK);
    while (shared.messages < 2)
        assert_int_equal(mqtt5_client_process(client, WAIT_MS), MQTT5_OK);
    assert_int_equal(all.messages, 2);
    mqtt5_client_free(client);
}

static void try_to_block(void *ctx, const struct mqtt5_message *message)
{
    struct seen *seen = ctx;
    seen->in_callback = publish(seen->client, "cb/2", 1);
    if (seen->in_callback == MQTT5_ERR_INVALID_STATE)
        seen->in_callback = mqtt5_client_process(seen->client, 0);
    const struct mqtt5_publish answer = {.topic = m5_bytes_of("cb/answer"), .qos = 1};
    assert_int_equal(mqtt5_client_publish_async(seen->client, &answer, see_done, seen), MQTT5_OK);
    see_message(ctx, message);
}

static void callbacks_may_publish_but_not_block(void **state)
{
    (void)state;
    for (int own_thread = 0; own_thread < 2; own_thread++) {
        struct seen seen;
        seen_init(&seen);
        struct mqtt5_client *client = make(&seen, own_thread != 0);
        assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
        assert_int_equal(subscribe(client, "cb/1", try_to_block, &seen), MQTT5_OK);
        assert_int_equal(publish(client, "cb/1", 1), MQTT5_OK);
        while (own_thread == 0 && seen.done < 1)
            assert_int_equal(mqtt5_client_process(client, WAIT_MS), MQTT5_OK);
        wait_for(&seen, &seen.done, 1);
        assert_int_equal(seen.in_callback, MQTT5_ERR_INVALID_STATE);
        assert_int_equal(seen.messages, 1);
        mqtt5_client_free(client);
    }
}

static void free_in_callback(void *ctx, const struct mqtt5_message *message)
{
    struct seen *seen = ctx;
    (void)message;
    mqtt5_client_free(seen->client);
}

/* DESIGN: destroying is safe in every state, and deferred in a callback of the client itself. */
static void freeing_in_a_callback_is_deferred(void **state)
{
    (void)state;
    for (int own_thread = 0; own_thread < 2; own_thread++) {
        struct seen seen;
        seen_init(&seen);
        struct mqtt5_client *client = make(&seen, own_thread != 0);
        assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
        assert_int_equal(subscribe(client, "free/1", free_in_callback, &seen), MQTT5_OK);
        const struct mqtt5_publish message = {.topic = m5_bytes_of("free/1"), .qos = 0};
        assert_int_equal(mqtt5_client_publish_async(client, &message, NULL, NULL), MQTT5_OK);
        enum mqtt5_error error = MQTT5_OK;
        while (own_thread == 0 && error == MQTT5_OK)
            error = mqtt5_client_process(client, WAIT_MS);
        wait_for(&seen, &seen.disconnects, 1); /* destroying shows the end of the connection */
        assert_true(own_thread != 0 || error == MQTT5_ERR_CLOSED);
    }
}

/* A listener on loopback that never answers; closing it is the caller's. */
static int deaf_server(char *out, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    snprintf(out, size, "mqtt://127.0.0.1:%u", ntohs(address.sin_port));
    return fd;
}

static void freeing_ends_what_is_not_complete(void **state)
{
    (void)state;
    char deaf[64];
    const int fd = deaf_server(deaf, sizeof deaf);
    for (int own_thread = 0; own_thread < 2; own_thread++) {
        struct seen seen;
        seen_init(&seen);
        struct mqtt5_client *client = make(&seen, own_thread != 0);
        assert_int_equal(mqtt5_client_connect_async(client, deaf, see_done, &seen), MQTT5_OK);
        const struct mqtt5_publish message = {.topic = m5_bytes_of("x"), .qos = 1};
        assert_int_equal(mqtt5_client_publish_async(client, &message, see_done, &seen), MQTT5_OK);
        mqtt5_client_free(client);
        assert_int_equal(seen.done, 2);
    }
    close(fd);
    mqtt5_client_free(NULL);
}

/* ---- connections that do not come about ---- */

static void connecting_to_nobody_is_told_in_words(void **state)
{
    (void)state;
    char nobody[64], why[200];
    close(deaf_server(nobody, sizeof nobody)); /* a port that was free a moment ago */
    for (int own_thread = 0; own_thread < 2; own_thread++) {
        struct seen seen;
        seen_init(&seen);
        struct mqtt5_client *client = make(&seen, own_thread != 0);
        assert_int_equal(mqtt5_client_connect(client, nobody, WAIT_MS), MQTT5_ERR_IO);
        mqtt5_client_why(client, why, sizeof why);
        assert_non_null(strstr(why, "Connection refused"));
        assert_int_equal(mqtt5_client_connect(client, "quic://a", WAIT_MS), MQTT5_ERR_NOT_BUILT);
        mqtt5_client_why(client, why, sizeof why);
        assert_string_equal(why, "quic:// comes with QUIC, which this build does not have");
        assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK); /* and now it can */
        assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_ERR_INVALID_STATE);
        mqtt5_client_free(client);
    }
}

static void server_that_does_not_answer_times_out(void **state)
{
    (void)state;
    char deaf[64];
    const int fd = deaf_server(deaf, sizeof deaf);
    for (int own_thread = 0; own_thread < 2; own_thread++) {
        struct seen seen;
        seen_init(&seen);
        struct mqtt5_client *client = make(&seen, own_thread != 0);
        assert_int_equal(mqtt5_client_connect(client, deaf, 50), MQTT5_ERR_TIMEOUT);
        struct mqtt5_client_info info;
        mqtt5_client_get_info(client, &info);
        assert_int_equal(info.state, MQTT5_CLIENT_DISCONNECTED);
        assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
        mqtt5_client_free(client);
    }
    close(fd);
}

/* A server that answers the CONNECT with these bytes and then waits for the end. */
struct script {
    int listener;
    const char *hex;
};

static void *play(void *ctx)
{
    const struct script *script = ctx;
    uint8_t bytes[512], answer[64];
    const struct mqtt5_bytes all = hex_read(script->hex, answer, sizeof answer);
    const int fd = accept(script->listener, NULL, NULL);
    if (recv(fd, bytes, sizeof bytes, 0) > 0 && send(fd, all.data, all.len, MSG_NOSIGNAL) > 0) {
        while (recv(fd, bytes, sizeof bytes, 0) > 0)
            ;
    }
    close(fd);
    return NULL;
}

static void ends_are_told_in_words(void **state)
{
    static const struct {
        uint8_t version;
        const char *hex;
        enum mqtt5_error error;
        const char *why;
    } cases[] = {
        {5, "20 [00 87 [1f 0008'go away!']]", MQTT5_ERR_REFUSED,
         "the server refused: Not authorized (0x87): go away!"},
        {4, "20 [00 04]", MQTT5_ERR_REFUSED,
         "the server refused: bad user name or password (0x04)"},
        {5, "30 [0001't' 00]", MQTT5_ERR_PROTOCOL, "a packet that is not allowed here"},
        {5, "20 [00 00 00] e0 [8b]", MQTT5_OK,
         "the server disconnected us: Server shutting down (0x8B)"},
        {5, "20 [00 00 00] 34 [0001't' 0001]", MQTT5_OK, "a field ends after its packet"},
    };
    (void)state;
    struct script script;
    char where[64], why[200];
    script.listener = deaf_server(where, sizeof where);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pthread_t server;
        struct mqtt5_client_options config;
        struct mqtt5_client *client;
        struct mqtt5_client_info info;
        script.hex = cases[i].hex;
        mqtt5_client_options_init(&config);
        config.reconnect.enabled = false;
        config.version = cases[i].version;
        config.own_thread = false;
        config.client_id = "x";
        assert_int_equal(mqtt5_client_new(&config, &client), MQTT5_OK);
        assert_int_equal(pthread_create(&server, NULL, play, &script), 0);
        assert_int_equal(mqtt5_client_connect(client, where, WAIT_MS), cases[i].error);
        do {
            assert_int_equal(mqtt5_client_process(client, 10), MQTT5_OK);
            mqtt5_client_get_info(client, &info);
        } while (info.state != MQTT5_CLIENT_DISCONNECTED);
        mqtt5_client_why(client, why, sizeof why);
        assert_string_equal(why, cases[i].why);
        mqtt5_client_free(client);
        pthread_join(server, NULL);
    }
    close(script.listener);
}

/* A blocking form that gives up leaves the operation alone: its end must not touch the caller. */
static void publish_that_times_out_is_still_delivered(void **state)
{
    (void)state;
    struct seen seen;
    seen_init(&seen);
    struct mqtt5_client *client = make(&seen, false);
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    assert_int_equal(subscribe(client, "late", NULL, NULL), MQTT5_OK);
    const struct mqtt5_publish message = {.topic = m5_bytes_of("late"), .qos = 2};
    assert_int_equal(mqtt5_client_publish(client, &message, 0, NULL), MQTT5_ERR_TIMEOUT);
    struct mqtt5_client_info info;
    do {
        assert_int_equal(mqtt5_client_process(client, WAIT_MS), MQTT5_OK);
        mqtt5_client_get_info(client, &info);
    } while (seen.messages < 1 || info.queued_messages > 0);
    mqtt5_client_free(client);
}

/* Accepts a connection, and ends it as soon as a second packet comes. */
static void *accept_and_hang_up(void *listener)
{
    static const uint8_t connack[] = {0x20, 3, 0, 0, 0};
    uint8_t bytes[512];
    const int fd = accept(*(int *)listener, NULL, NULL);
    if (recv(fd, bytes, sizeof bytes, 0) > 0 &&
        send(fd, connack, sizeof connack, MSG_NOSIGNAL) == sizeof connack)
        (void)!recv(fd, bytes, sizeof bytes, 0);
    close(fd);
    return NULL;
}

/* A message of a session that is kept outlives its connection; a blocking form does not wait for
 * that, however long its timeout. */
static void blocking_publish_ends_with_its_connection(void **state)
{
    (void)state;
    char where[64];
    int listener = deaf_server(where, sizeof where);
    for (int own_thread = 0; own_thread < 2; own_thread++) {
        pthread_t server;
        struct mqtt5_client_options config;
        struct mqtt5_client *client;
        struct mqtt5_client_info info;
        mqtt5_client_options_init(&config);
        config.reconnect.enabled = false;
        config.own_thread = own_thread != 0;
        config.client_id = "keeper";
        config.session_expiry_s = 60;
        assert_int_equal(mqtt5_client_new(&config, &client), MQTT5_OK);
        assert_int_equal(pthread_create(&server, NULL, accept_and_hang_up, &listener), 0);
        assert_int_equal(mqtt5_client_connect(client, where, WAIT_MS), MQTT5_OK);
        const struct mqtt5_publish message = {.topic = m5_bytes_of("t"), .qos = 1};
        assert_int_equal(mqtt5_client_publish(client, &message, MQTT5_FOREVER, NULL),
                         MQTT5_ERR_CLOSED);
        mqtt5_client_get_info(client, &info);
        assert_int_equal(info.state, MQTT5_CLIENT_DISCONNECTED);
        assert_int_equal(info.queued_messages, 1); /* it waits for the next connection */
        pthread_join(server, NULL);
        mqtt5_client_free(client);
    }
    close(listener);
}

static void wake_ends_a_wait(void **state)
{
    (void)state;
    struct seen seen;
    seen_init(&seen);
    struct mqtt5_client *client = make(&seen, false);
    mqtt5_client_wake(client);
    assert_int_equal(mqtt5_client_process(client, MQTT5_FOREVER), MQTT5_OK);
    mqtt5_client_free(client);
}

/* ---- no memory ---- */

static void see_answer(void *ctx, enum mqtt5_error error, const struct mqtt5_publish *answer)
{
    struct seen *seen = ctx;
    (void)answer;
    seen->last_error = error;
}

/* One short life; what fails, fails in order. */
static void live(const struct mqtt5_allocator *allocator)
{
    struct seen seen;
    struct mqtt5_client_options config;
    struct mqtt5_client *client;
    seen_init(&seen);
    mqtt5_client_options_init(&config);
    config.reconnect.enabled = false;
    config.allocator = allocator;
    config.own_thread = false;
    if (mqtt5_client_new(&config, &client) != MQTT5_OK) {
        assert_null(client);
        return;
    }
    const struct mqtt5_subscription_request items[] = {{.filter = m5_bytes_of("mem/+"), .qos = 1},
                                                       {.filter = m5_bytes_of("mem/a")}};
    const struct mqtt5_subscribe request = {.count = 2, .items = items};
    const struct mqtt5_publish message = {.topic = m5_bytes_of("mem/a"), .qos = 2};
    (void)!mqtt5_client_connect(client, url, WAIT_MS);
    (void)!mqtt5_client_subscribe(client, &request, see_message, &seen, WAIT_MS, NULL);
    (void)!mqtt5_client_publish_async(client, &message, see_done, &seen);
    (void)!mqtt5_client_publish(client, &message, WAIT_MS, NULL);
    (void)!mqtt5_client_request_async(client, &message, 20, see_answer, &seen);
    struct mqtt5_call *call = mqtt5_call_new(client);
    if (call != NULL && mqtt5_client_ping_async(client, mqtt5_call_done, call) == MQTT5_OK)
        (void)!mqtt5_call_wait(call, WAIT_MS);
    mqtt5_call_free(call);
    (void)!mqtt5_client_disconnect(client, NULL, WAIT_MS);
    mqtt5_client_free(client);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct test_allocator allocator;
    uint64_t nth = 0;
    do {
        test_allocator_init(&allocator);
        test_allocator_fail_nth(&allocator, ++nth);
        live(&allocator.table);
        test_allocator_check(&allocator);
    } while (test_allocator_failed(&allocator));
    assert_true(nth > 15);
}

/* ---- many threads ---- */

#define THREADS          4
#define MESSAGES_OF_EACH 500

static void *publish_many(void *ctx)
{
    struct seen *seen = ctx;
    for (int i = 0; i < MESSAGES_OF_EACH; i++) {
        const struct mqtt5_publish message = {.topic = m5_bytes_of("many"),
                                              .qos = (uint8_t)(i % 3)};
        if (i % 50 == 0)
            assert_int_equal(publish(seen->client, "many", 1), MQTT5_OK);
        else
            assert_int_equal(mqtt5_client_publish_async(seen->client, &message, see_done, seen),
                             MQTT5_OK);
    }
    return NULL;
}

static void one_client_serves_many_threads(void **state)
{
    (void)state;
    struct seen seen;
    pthread_t threads[THREADS];
    seen_init(&seen);
    struct mqtt5_client *client = make(&seen, true);
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    assert_int_equal(subscribe(client, "many", NULL, NULL), MQTT5_OK);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, publish_many, &seen), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    wait_for(&seen, &seen.messages, THREADS * MESSAGES_OF_EACH);
    wait_for(&seen, &seen.done, THREADS * (MESSAGES_OF_EACH - MESSAGES_OF_EACH / 50));
    mqtt5_client_free(client);
}

static void one_mebibyte_comes_back_whole(void **state)
{
    (void)state;
    struct seen seen;
    seen_init(&seen);
    struct mqtt5_client *client = make(&seen, false);
    const size_t size = 1 << 20;
    uint8_t *payload = malloc(size);
    memset(payload, 'x', size);
    const struct mqtt5_publish message = {
        .topic = m5_bytes_of("large"), .payload = m5_bytes(payload, size), .qos = 1};
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    assert_int_equal(subscribe(client, "large", NULL, NULL), MQTT5_OK);
    assert_int_equal(mqtt5_client_publish(client, &message, WAIT_MS, NULL), MQTT5_OK);
    while (seen.messages < 1)
        assert_int_equal(mqtt5_client_process(client, WAIT_MS), MQTT5_OK);
    free(payload);
    mqtt5_client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocking_forms_work_with_a_thread),
        cmocka_unit_test(blocking_forms_work_without_a_thread),
        cmocka_unit_test(async_forms_call_back),
        cmocka_unit_test(messages_go_to_the_callbacks_of_their_filters),
        cmocka_unit_test(callbacks_may_publish_but_not_block),
        cmocka_unit_test(freeing_in_a_callback_is_deferred),
        cmocka_unit_test(freeing_ends_what_is_not_complete),
        cmocka_unit_test(connecting_to_nobody_is_told_in_words),
        cmocka_unit_test(server_that_does_not_answer_times_out),
        cmocka_unit_test(ends_are_told_in_words),
        cmocka_unit_test(publish_that_times_out_is_still_delivered),
        cmocka_unit_test(blocking_publish_ends_with_its_connection),
        cmocka_unit_test(wake_ends_a_wait),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(one_client_serves_many_threads),
        cmocka_unit_test(one_mebibyte_comes_back_whole),
    };
    return cmocka_run_group_tests(tests, start_broker, client_broker_stop);
}
