/* The client against a broker of another make, Debian's Mosquitto, in both versions: messages of
 * every QoS, retained ones, a broker that dies and comes back.
 *
 * The broker runs on a port of loopback that was free a moment ago. Where it is not installed the
 * tests are skipped; tools/setup.sh installs it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/unit.h"

#include <mqtt5/client.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "/usr/sbin/mosquitto"
#define WAIT_MS 20000 /* only a bound: every wait ends by an event */

static char folder[] = "/tmp/mqtt5-mosquitto-XXXXXX", config_path[64], url[64];
static uint16_t port;
static pid_t broker;

/* ---- the broker ---- */

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        abort();
    close(fd);
    return ntohs(address.sin_port);
}

static bool answers(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const bool there = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return there;
}

/* Starts it and waits until it listens; it is asked again and again, as it tells nobody. */
static void start_broker(void)
{
    broker = fork();
    if (broker == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        execl(PROGRAM, PROGRAM, "-c", config_path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 2000 && !answers(); i++)
        (void)poll(NULL, 0, 10);
    assert_true(answers());
}

static void stop_broker(int signal_number)
{
    kill(broker, signal_number);
    waitpid(broker, NULL, 0);
    broker = 0;
}

static int set_up(void **state)
{
    (void)state;
    if (access(PROGRAM, X_OK) != 0)
        return 0;
    if (mkdtemp(folder) == NULL)
        return 1;
    port = free_port();
    snprintf(config_path, sizeof config_path, "%s/conf", folder);
    snprintf(url, sizeof url, "mqtt://127.0.0.1:%u", port);
    FILE *file = fopen(config_path, "w");
    if (file == NULL)
        return 1;
    fprintf(file, "listener %u 127.0.0.1\nallow_anonymous true\nmax_topic_alias 10\n", port);
    fclose(file);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (broker != 0)
        stop_broker(SIGTERM);
    if (config_path[0] != 0) {
        unlink(config_path);
        rmdir(folder);
    }
    return 0;
}

static bool installed(void)
{
    return access(PROGRAM, X_OK) == 0;
}

/* ---- a client ---- */

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t messages, connects, waits;
    char last[64];
};

static void see_message(void *ctx, const struct mqtt5_message *message)
{
    struct seen *seen = ctx;
    const struct mqtt5_bytes payload = message->publish->payload;
    pthread_mutex_lock(&seen->lock);
    seen->messages++;
    snprintf(seen->last, sizeof seen->last, "%.*s", (int)payload.len,
             payload.len > 0 ? (const char *)payload.data : "");
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void see_change(void *ctx, const struct mqtt5_client_change *change)
{
    struct seen *seen = ctx;
    pthread_mutex_lock(&seen->lock);
    seen->connects += change->state == MQTT5_CLIENT_CONNECTED;
    seen->waits += change->state == MQTT5_CLIENT_WAITING;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void wait_count(struct seen *seen, const uint32_t *counter, uint32_t least)
{
    pthread_mutex_lock(&seen->lock);
    while (*counter < least)
        pthread_cond_wait(&seen->changed, &seen->lock);
    pthread_mutex_unlock(&seen->lock);
}

static struct mqtt5_client *make(struct seen *seen, uint8_t version)
{
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    *seen = (struct seen){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    mqtt5_client_options_init(&options);
    options.client_id = "mqtt5-test";
    options.version = version;
    options.offline_queue = true;
    options.auto_aliases_max = 10;
    options.reconnect.min_ms = 50;
    options.reconnect.max_ms = 200;
    options.on_change = see_change;
    options.on_message = see_message;
    options.ctx = seen;
    assert_int_equal(mqtt5_client_new(&options, &client), MQTT5_OK);
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    return client;
}

static enum mqtt5_error publish(struct mqtt5_client *client, const char *topic, uint8_t qos,
                                bool retain, const char *payload)
{
    const struct mqtt5_publish message = {
        .topic = m5_bytes_of(topic), .payload = m5_bytes_of(payload), .qos = qos, .retain = retain};
    return mqtt5_client_publish(client, &message, WAIT_MS, NULL);
}

static void exchange(uint8_t version)
{
    struct seen seen;
    uint8_t granted = 9;
    struct mqtt5_client *client = make(&seen, version);
    assert_int_equal(mqtt5_client_subscribe_one(client, "test/topic/+", 2, see_message, &seen,
                                                WAIT_MS, NULL, &granted),
                     MQTT5_OK);
    assert_int_equal(granted, 2);
    for (uint8_t qos = 0; qos < 3; qos++)
        for (int i = 0; i < 20; i++)
            assert_int_equal(publish(client, "test/topic/one", qos, false, "hello"), MQTT5_OK);
    wait_count(&seen, &seen.messages, 60);
    assert_string_equal(seen.last, "hello");
    assert_int_equal(publish(client, "test/kept", 1, true, "retained"), MQTT5_OK);
    assert_int_equal(
        mqtt5_client_subscribe_one(client, "test/kept", 1, see_message, &seen, WAIT_MS, NULL, NULL),
        MQTT5_OK);
    wait_count(&seen, &seen.messages, 61);
    assert_string_equal(seen.last, "retained");
    assert_int_equal(publish(client, "test/kept", 1, true, ""), MQTT5_OK);
    assert_int_equal(mqtt5_client_ping(client, WAIT_MS), MQTT5_OK);
    assert_int_equal(mqtt5_client_disconnect(client, NULL, WAIT_MS), MQTT5_OK);
    mqtt5_client_free(client);
}

static void messages_go_to_mosquitto_and_back(void **state)
{
    (void)state;
    if (!installed())
        skip();
    start_broker();
    exchange(MQTT5_VERSION_5);
    exchange(MQTT5_VERSION_3_1_1);
    stop_broker(SIGTERM);
}

/* The broker is killed and forgets everything; the client comes back, subscribes again, and sends
 * what was published meanwhile. */
static void the_client_survives_the_broker(void **state)
{
    (void)state;
    if (!installed())
        skip();
    for (uint8_t version = MQTT5_VERSION_3_1_1; version <= MQTT5_VERSION_5; version++) {
        struct seen seen;
        start_broker();
        struct mqtt5_client *client = make(&seen, version);
        assert_int_equal(mqtt5_client_subscribe_one(client, "life/+", 1, see_message, &seen,
                                                    WAIT_MS, NULL, NULL),
                         MQTT5_OK);
        stop_broker(SIGKILL);
        wait_count(&seen, &seen.waits, 1);
        const struct mqtt5_publish message = {
            .topic = m5_bytes_of("life/1"), .payload = m5_bytes_of("again"), .qos = 1};
        assert_int_equal(mqtt5_client_publish_async(client, &message, NULL, NULL), MQTT5_OK);
        start_broker();
        wait_count(&seen, &seen.connects, 2);
        wait_count(&seen, &seen.messages, 1);
        assert_string_equal(seen.last, "again");
        mqtt5_client_free(client);
        stop_broker(SIGTERM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_to_mosquitto_and_back),
        cmocka_unit_test(the_client_survives_the_broker),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
