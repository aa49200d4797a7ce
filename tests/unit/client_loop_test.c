/* Where the work is done: many clients on one loop, a loop of the user's, look-ups and races of
 * addresses.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/client/host.h"
#include "support/client_broker.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <mqtt5/client.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS 20000 /* only a bound: every wait ends by an event */

/* ---- a broker to talk to ---- */

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

/* ---- what callbacks leave behind ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void count(uint32_t *counter)
{
    pthread_mutex_lock(&lock);
    ++*counter;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_count(const uint32_t *counter, uint32_t least)
{
    pthread_mutex_lock(&lock);
    while (*counter < least)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void see_message(void *ctx, const struct mqtt5_message *message)
{
    (void)message;
    count(ctx);
}

static void see_done(void *ctx, const struct mqtt5_client_result *result)
{
    (void)result;
    count(ctx);
}

static struct mqtt5_client *make(struct mqtt5_client_loop *loop, bool own_thread)
{
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    mqtt5_client_options_init(&options);
    options.loop = loop;
    options.own_thread = own_thread;
    assert_int_equal(mqtt5_client_new(&options, &client), MQTT5_OK);
    return client;
}

/* ---- one loop, many clients ---- */

#define CLIENTS 50

static void many_clients_share_a_loop(void **state)
{
    (void)state;
    struct mqtt5_client_loop *loop;
    struct mqtt5_client *clients[CLIENTS];
    uint32_t messages = 0, done = 0;
    assert_int_equal(mqtt5_client_loop_new(&loop), MQTT5_OK);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = make(loop, false);
        assert_int_equal(mqtt5_client_connect_async(clients[i], url, see_done, &done), MQTT5_OK);
        assert_int_equal(mqtt5_client_process(clients[i], 0), MQTT5_ERR_INVALID_STATE);
        assert_int_equal(mqtt5_client_fd(clients[i]), -1);
    }
    wait_count(&done, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(mqtt5_client_subscribe_one(clients[i], "all", 1, see_message, &messages,
                                                    WAIT_MS, NULL, NULL),
                         MQTT5_OK);
    for (int i = 0; i < CLIENTS; i++) {
        const struct mqtt5_publish message = {.topic = m5_bytes_of("all"), .qos = (uint8_t)(i % 3)};
        assert_int_equal(mqtt5_client_publish(clients[i], &message, WAIT_MS, NULL), MQTT5_OK);
    }
    wait_count(&messages, CLIENTS * CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        if (i % 2 == 0)
            assert_int_equal(mqtt5_client_disconnect(clients[i], NULL, WAIT_MS), MQTT5_OK);
        mqtt5_client_free(clients[i]);
    }
    mqtt5_client_loop_free(loop);
    mqtt5_client_loop_free(NULL);
}

struct pair {
    struct mqtt5_client *self, *other;
    enum mqtt5_error blocking;
    uint32_t calls;
};

/* On the loop's thread: blocking would wait for the loop itself; freeing another client is fine. */
static void free_the_other(void *ctx, const struct mqtt5_message *message)
{
    struct pair *pair = ctx;
    (void)message;
    pair->blocking = mqtt5_client_ping(pair->other, WAIT_MS);
    mqtt5_client_free(pair->other);
    mqtt5_client_free(pair->self); /* deferred: it is our own */
    count(&pair->calls);
}

static void callbacks_on_a_loop_may_free_clients(void **state)
{
    (void)state;
    struct mqtt5_client_loop *loop;
    assert_int_equal(mqtt5_client_loop_new(&loop), MQTT5_OK);
    struct pair pair = {.self = make(loop, false), .other = make(loop, false)};
    assert_int_equal(mqtt5_client_connect(pair.self, url, WAIT_MS), MQTT5_OK);
    assert_int_equal(mqtt5_client_connect(pair.other, url, WAIT_MS), MQTT5_OK);
    assert_int_equal(mqtt5_client_subscribe_one(pair.self, "free", 0, free_the_other, &pair,
                                                WAIT_MS, NULL, NULL),
                     MQTT5_OK);
    const struct mqtt5_publish message = {.topic = m5_bytes_of("free")};
    assert_int_equal(mqtt5_client_publish_async(pair.self, &message, NULL, NULL), MQTT5_OK);
    wait_count(&pair.calls, 1);
    assert_int_equal(pair.blocking, MQTT5_ERR_INVALID_STATE);
    mqtt5_client_loop_free(loop);
}

/* Memory of an idle client without a thread of its own. */
static void idle_client_takes_less_than_4_kib(void **state)
{
    (void)state;
    struct mqtt5_client_loop *loop;
    struct test_allocator allocator;
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    test_allocator_init(&allocator);
    assert_int_equal(mqtt5_client_loop_new(&loop), MQTT5_OK);
    mqtt5_client_options_init(&options);
    options.allocator = &allocator.table;
    options.loop = loop;
    assert_int_equal(mqtt5_client_new(&options, &client), MQTT5_OK);
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    assert_int_equal(mqtt5_client_ping(client, WAIT_MS), MQTT5_OK);
    size_t used;
    do { /* until the loop has seen that there is nothing more to do */
        pthread_mutex_lock(&client->lock); /* all that allocates holds it */
        used = allocator.bytes;
        pthread_mutex_unlock(&client->lock);
        sched_yield();
    } while (used >= 4096);
    printf("an idle client takes %zu bytes\n", used);
    mqtt5_client_free(client);
    test_allocator_check(&allocator);
    mqtt5_client_loop_free(loop);
}

/* ---- a loop of the user's ---- */

static void a_foreign_loop_needs_a_descriptor_and_a_deadline(void **state)
{
    (void)state;
    struct mqtt5_client *client = make(NULL, false);
    uint32_t connected = 0, messages = 0, done = 0;
    struct pollfd descriptor = {.fd = mqtt5_client_fd(client), .events = POLLIN};
    assert_true(descriptor.fd >= 0);
    assert_int_equal(mqtt5_client_timeout_ms(client), MQTT5_FOREVER);
    assert_int_equal(mqtt5_client_connect_async(client, url, see_done, &connected), MQTT5_OK);
    bool subscribed = false, published = false;
    while (messages < 1) {
        const uint32_t wait = mqtt5_client_timeout_ms(client);
        assert_true(poll(&descriptor, 1, wait < WAIT_MS ? (int)wait : WAIT_MS) >= 0);
        assert_int_equal(mqtt5_client_process(client, 0), MQTT5_OK);
        if (connected > 0 && !subscribed) {
            const struct mqtt5_subscription_request item = {.filter = m5_bytes_of("loop")};
            const struct mqtt5_subscribe request = {.count = 1, .items = &item};
            const struct mqtt5_subscribe_callbacks callbacks = {.on_message = see_message,
                                                                .message_ctx = &messages,
                                                                .done = see_done,
                                                                .done_ctx = &done};
            subscribed = true;
            assert_int_equal(mqtt5_client_subscribe_async(client, &request, &callbacks), MQTT5_OK);
        }
        if (done > 0 && !published) {
            const struct mqtt5_publish message = {.topic = m5_bytes_of("loop")};
            published = true;
            assert_int_equal(mqtt5_client_publish_async(client, &message, NULL, NULL), MQTT5_OK);
        }
    }
    const uint32_t wait = mqtt5_client_timeout_ms(client); /* of the keep-alive */
    assert_in_range(wait, 1, 45000);
    mqtt5_client_free(client);
}

static void *publish_elsewhere(void *ctx)
{
    const struct mqtt5_publish message = {.topic = m5_bytes_of("elsewhere")};
    assert_int_equal(mqtt5_client_publish_async(ctx, &message, NULL, NULL), MQTT5_OK);
    return NULL;
}

/* What another thread queues makes the descriptor readable. */
static void the_descriptor_wakes_for_other_threads(void **state)
{
    (void)state;
    struct mqtt5_client *client = make(NULL, false);
    uint32_t messages = 0;
    pthread_t thread;
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    assert_int_equal(mqtt5_client_subscribe_one(client, "elsewhere", 0, see_message, &messages,
                                                WAIT_MS, NULL, NULL),
                     MQTT5_OK);
    struct pollfd descriptor = {.fd = mqtt5_client_fd(client), .events = POLLIN};
    assert_int_equal(pthread_create(&thread, NULL, publish_elsewhere, client), 0);
    while (messages < 1) {
        assert_int_equal(poll(&descriptor, 1, WAIT_MS), 1);
        assert_int_equal(mqtt5_client_process(client, 0), MQTT5_OK);
    }
    pthread_join(thread, NULL);
    mqtt5_client_free(client);
}

/* ---- names and addresses ---- */

static void names_are_looked_up_beside_the_loop(void **state)
{
    (void)state;
    char why[200];
    for (int own_thread = 0; own_thread < 2; own_thread++) {
        struct mqtt5_client *client = make(NULL, own_thread != 0);
        assert_int_equal(mqtt5_client_connect(client, named_url, WAIT_MS), MQTT5_OK);
        assert_int_equal(mqtt5_client_disconnect(client, NULL, WAIT_MS), MQTT5_OK);
        assert_int_equal(mqtt5_client_connect(client, "mqtt://no.such.host.invalid", WAIT_MS),
                         MQTT5_ERR_IO);
        mqtt5_client_why(client, why, sizeof why);
        assert_non_null(strstr(why, "no.such.host.invalid"));
        /* Freed while the look-up is under way: nobody waits for it. */
        assert_int_equal(mqtt5_client_connect_async(client, named_url, NULL, NULL), MQTT5_OK);
        mqtt5_client_free(client);
    }
}

static struct m5_address address_of(int family, uint8_t last)
{
    struct m5_address address = {.size = sizeof(struct sockaddr_in)};
    address.storage.ss_family = (sa_family_t)family;
    ((uint8_t *)&address.storage)[sizeof address.storage - 1] = last;
    return address;
}

/* RFC 8305 section 4 */
static void families_take_turns(void **state)
{
    (void)state;
    struct m5_address a[5] = {address_of(AF_INET6, 1), address_of(AF_INET6, 2),
                              address_of(AF_INET6, 3), address_of(AF_INET, 4),
                              address_of(AF_INET, 5)};
    static const uint8_t expected[] = {1, 4, 2, 5, 3};
    m5_link_interleave(a, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(((uint8_t *)&a[i].storage)[sizeof a[i].storage - 1], expected[i]);
    m5_link_interleave(a, 0);
}

static void a_unix_socket_is_a_server_too(void **state)
{
    (void)state;
    char path[64], where[80];
    snprintf(path, sizeof path, "/tmp/mqtt5-client-%d.sock", (int)getpid());
    snprintf(where, sizeof where, "unix://%s", path);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    struct mqtt5_client *client = make(NULL, false);
    assert_int_equal(mqtt5_client_connect_async(client, where, NULL, NULL), MQTT5_OK);
    struct pollfd descriptor = {.fd = listener, .events = POLLIN};
    while (poll(&descriptor, 1, 0) == 0)
        assert_int_equal(mqtt5_client_process(client, 10), MQTT5_OK);
    const int peer = accept(listener, NULL, NULL);
    assert_int_equal(mqtt5_client_process(client, 100), MQTT5_OK);
    uint8_t first = 0;
    assert_int_equal(recv(peer, &first, 1, 0), 1);
    assert_int_equal(first, 0x10); /* CONNECT */
    mqtt5_client_free(client);
    close(peer);
    close(listener);
    unlink(path);
}

/* ---- the dial hook ---- */

static int dial_pair(void *ctx, const char *where, char *why, size_t why_size)
{
    int *peer = ctx, pair[2];
    if (strcmp(where, "mqtt://wrong:1883") == 0) {
        snprintf(why, why_size, "nobody there");
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    *peer = pair[1];
    return pair[0];
}

static void a_hook_may_connect(void **state)
{
    (void)state;
    int peer = -1;
    char why[200];
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    mqtt5_client_options_init(&options);
    options.own_thread = false;
    options.dial = dial_pair;
    options.dial_ctx = &peer;
    assert_int_equal(mqtt5_client_new(&options, &client), MQTT5_OK);
    assert_int_equal(mqtt5_client_connect(client, "mqtt://wrong", WAIT_MS), MQTT5_ERR_IO);
    mqtt5_client_why(client, why, sizeof why);
    assert_string_equal(why, "nobody there");
    assert_int_equal(mqtt5_client_connect_async(client, "wss://user:secret@right", NULL, NULL),
                     MQTT5_OK);
    while (peer < 0)
        assert_int_equal(mqtt5_client_process(client, 10), MQTT5_OK);
    static const uint8_t connack[] = {0x20, 6, 0, 0, 3, 0x12, 0, 0};
    uint8_t bytes[256];
    assert_int_equal(mqtt5_client_process(client, 10), MQTT5_OK);
    const ssize_t size = recv(peer, bytes, sizeof bytes, 0);
    assert_true(size > 20);
    assert_memory_equal(bytes + size - 6, "secret", 6); /* the password ends the CONNECT */
    assert_int_equal(send(peer, connack, sizeof connack, 0), sizeof connack);
    struct mqtt5_client_info info;
    do { /* an empty assigned identifier is none: the client closes [MQTT-3.2.2-16] */
        assert_int_equal(mqtt5_client_process(client, 10), MQTT5_OK);
        mqtt5_client_get_info(client, &info);
    } while (info.state != MQTT5_CLIENT_DISCONNECTED);
    mqtt5_client_free(client);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_clients_share_a_loop),
        cmocka_unit_test(callbacks_on_a_loop_may_free_clients),
        cmocka_unit_test(idle_client_takes_less_than_4_kib),
        cmocka_unit_test(a_foreign_loop_needs_a_descriptor_and_a_deadline),
        cmocka_unit_test(the_descriptor_wakes_for_other_threads),
        cmocka_unit_test(names_are_looked_up_beside_the_loop),
        cmocka_unit_test(families_take_turns),
        cmocka_unit_test(a_unix_socket_is_a_server_too),
        cmocka_unit_test(a_hook_may_connect),
    };
    return cmocka_run_group_tests(tests, start_broker, client_broker_stop);
}
