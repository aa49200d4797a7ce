/* Clients that come and go while messages are published on many threads; for the thread sanitizer.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/client/host.h"
#include "support/client_broker.h"
#include "support/unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define WAIT_MS 20000 /* only a bound: every wait ends by an event */

static char url[64], named_url[64];

static int start_broker(void **state)
{
    const int failed = client_broker_start(state);
    if (failed == 0)
        client_broker_url("127.0.0.1", url, sizeof url);
    if (failed == 0)
        client_broker_url("localhost", named_url, sizeof named_url);
    return failed;
}

static struct mqtt5_client *make(struct mqtt5_client_loop *loop)
{
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    mqtt5_client_options_init(&options);
    options.loop = loop;
    assert_int_equal(mqtt5_client_new(&options, &client), MQTT5_OK);
    return client;
}

#define RACERS 4
#define LIVES  12

struct racer {
    pthread_t thread;
    struct mqtt5_client_loop *loop;
    unsigned number;
};

static void ignore(void *ctx, const struct mqtt5_client_result *result)
{
    (void)result;
    atomic_fetch_add((atomic_uint *)ctx, 1);
}

struct crowd {
    struct mqtt5_client *client;
    atomic_uint done;
};

static void *publish_until_full(void *ctx)
{
    struct crowd *crowd = ctx;
    for (unsigned i = 0; i < 100; i++) {
        const struct mqtt5_publish message = {.topic = m5_bytes_of("race"),
                                              .qos = (uint8_t)(i % 3)};
        (void)!mqtt5_client_publish_async(crowd->client, &message, ignore, &crowd->done);
    }
    return NULL;
}

/* One life: connect, publish from two threads, end it in one of several ways. */
static void live(const struct racer *racer, unsigned life)
{
    const unsigned way = (racer->number + life) % 6;
    struct crowd crowd = {.client = make(way % 2 == 0 ? racer->loop : NULL)};
    pthread_t other;
    if (way < 4)
        (void)!mqtt5_client_connect(crowd.client, life % 3 == 0 ? named_url : url, WAIT_MS);
    else
        (void)!mqtt5_client_connect_async(crowd.client, life % 3 == 0 ? named_url : url, ignore,
                                          &crowd.done);
    assert_int_equal(pthread_create(&other, NULL, publish_until_full, &crowd), 0);
    (void)publish_until_full(&crowd);
    pthread_join(other, NULL);
    if (way == 1)
        (void)!mqtt5_client_disconnect(crowd.client, NULL, WAIT_MS);
    else if (way == 2)
        (void)!mqtt5_client_abort(crowd.client);
    mqtt5_client_free(crowd.client);
}

static void *race(void *ctx)
{
    const struct racer *racer = ctx;
    for (unsigned life = 0; life < LIVES; life++)
        live(racer, life);
    return NULL;
}

static void clients_come_and_go_on_many_threads(void **state)
{
    (void)state;
    struct mqtt5_client_loop *loop;
    struct racer racers[RACERS];
    assert_int_equal(mqtt5_client_loop_new(&loop), MQTT5_OK);
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.loop = loop, .number = i};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < RACERS; i++)
        pthread_join(racers[i].thread, NULL);
    mqtt5_client_loop_free(loop);
}

static void *wait_for_ever(void *ctx)
{
    /* Nobody answers on that topic; the client is freed under us. */
    const enum mqtt5_error error = mqtt5_client_wait_room(ctx, MQTT5_FOREVER);
    return (void *)(uintptr_t)error;
}

static bool is_inside(struct mqtt5_client *client)
{
    pthread_mutex_lock(&client->lock);
    const bool inside = client->waiters > 0;
    pthread_mutex_unlock(&client->lock);
    return inside;
}

/* A thread inside a blocking form leaves it when the client is freed by another. */
static void freeing_lets_blocking_forms_go(void **state)
{
    (void)state;
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    pthread_t waiter;
    mqtt5_client_options_init(&options);
    options.offline_queue = true;
    options.queued_messages_max = 1;
    assert_int_equal(mqtt5_client_new(&options, &client), MQTT5_OK);
    const struct mqtt5_publish message = {.topic = m5_bytes_of("x"), .qos = 1};
    assert_int_equal(mqtt5_client_publish_async(client, &message, NULL, NULL), MQTT5_OK);
    assert_int_equal(pthread_create(&waiter, NULL, wait_for_ever, client), 0);
    while (!is_inside(client))
        sched_yield();
    mqtt5_client_free(client);
    void *error;
    pthread_join(waiter, &error);
    assert_int_not_equal((uintptr_t)error, MQTT5_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_come_and_go_on_many_threads),
        cmocka_unit_test(freeing_lets_blocking_forms_go),
    };
    return cmocka_run_group_tests(tests, start_broker, client_broker_stop);
}
