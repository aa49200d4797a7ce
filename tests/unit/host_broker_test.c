/* The embedding API: a broker in a thread, spoken to with raw MQTT bytes over TCP.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/broker.h>

#include "host/log.h"
#include "support/hex.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CONNECT  "10 [0004'MQTT' 05 02 003c 00 0000]"
#define ANSWER_S 10 /* far beyond what any answer takes */

/* ---- a broker in a thread ---- */

struct fixture {
    struct mqtt5_broker_options options;
    struct mqtt5_listener listener;
    struct mqtt5_broker *broker;
    pthread_t thread;
    enum mqtt5_error result;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    char events[4096];               /* names in order, a blank after each */
    char connected[M5_LOG_LINE_MAX]; /* the last line of a client that connected */
};

static void note_event(void *ctx, enum mqtt5_log_level level, const char *event, const char *line)
{
    struct fixture *fixture = (struct fixture *)ctx;
    (void)level;
    pthread_mutex_lock(&fixture->mutex);
    if (strcmp(event, "client.connected") == 0)
        snprintf(fixture->connected, sizeof fixture->connected, "%s", line);
    const size_t used = strlen(fixture->events);
    snprintf(fixture->events + used, sizeof fixture->events - used, "%s ", event);
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->mutex);
}

static void *serve(void *ctx)
{
    struct fixture *fixture = (struct fixture *)ctx;
    fixture->result = mqtt5_broker_run(fixture->broker);
    return NULL;
}

static void init(struct fixture *fixture, const char *host, uint32_t workers)
{
    memset(fixture, 0, sizeof *fixture);
    pthread_mutex_init(&fixture->mutex, NULL);
    pthread_cond_init(&fixture->changed, NULL);
    fixture->listener = (struct mqtt5_listener){.host = host, .port = 0};
    mqtt5_broker_options_init(&fixture->options);
    fixture->options.config.allow_anonymous = true;
    fixture->options.listeners = &fixture->listener;
    fixture->options.listener_count = 1;
    fixture->options.workers = workers;
    fixture->options.log = note_event;
    fixture->options.log_ctx = fixture;
}

static void start(struct fixture *fixture)
{
    const char *why = "";
    if (mqtt5_broker_new(&fixture->options, &fixture->broker, &why) != MQTT5_OK)
        fail_msg("%s", why);
    assert_int_not_equal(mqtt5_broker_port(fixture->broker, 0), 0);
    assert_int_equal(pthread_create(&fixture->thread, NULL, serve, fixture), 0);
}

static void stop(struct fixture *fixture)
{
    mqtt5_broker_stop(fixture->broker);
    pthread_join(fixture->thread, NULL);
    mqtt5_broker_free(fixture->broker);
    pthread_cond_destroy(&fixture->changed);
    pthread_mutex_destroy(&fixture->mutex);
    assert_int_equal(fixture->result, MQTT5_OK);
}

static void await_event(struct fixture *fixture, const char *name)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ANSWER_S;
    int error = 0;
    pthread_mutex_lock(&fixture->mutex);
    while (strstr(fixture->events, name) == NULL && error == 0)
        error = pthread_cond_timedwait(&fixture->changed, &fixture->mutex, &until);
    pthread_mutex_unlock(&fixture->mutex);
    if (error != 0)
        fail_msg("no %s among: %s", name, fixture->events);
}

/* ---- a client of bytes ---- */

static int dial_family(const struct fixture *fixture, int family)
{
    const uint16_t port = htons(mqtt5_broker_port(fixture->broker, 0));
    const struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const struct timeval patience = {.tv_sec = ANSWER_S};
    const int fd = socket(family, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const int failed = family == AF_INET ? connect(fd, (const struct sockaddr *)&v4, sizeof v4)
                                         : connect(fd, (const struct sockaddr *)&v6, sizeof v6);
    assert_int_equal(failed, 0);
    return fd;
}

static void say(int fd, const char *hex)
{
    uint8_t bytes[1024];
    const struct mqtt5_bytes packet = hex_read(hex, bytes, sizeof bytes);
    assert_int_equal(send(fd, packet.data, packet.len, MSG_NOSIGNAL), packet.len);
}

static void receive(int fd, uint8_t *out, size_t size)
{
    for (size_t got = 0; got < size;) {
        const ssize_t n = recv(fd, out + got, size - got, 0);
        assert_true(n > 0);
        got += (size_t)n;
    }
}

static void expect(int fd, const char *hex)
{
    uint8_t wanted[1024], got[1024];
    const struct mqtt5_bytes packet = hex_read(hex, wanted, sizeof wanted);
    receive(fd, got, packet.len);
    assert_memory_equal(got, packet.data, packet.len);
}

static void expect_end(int fd)
{
    uint8_t byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

/* Connects; the CONNACK says yes. */
static int client(const struct fixture *fixture, const char *connect_packet)
{
    uint8_t head[4], rest[256];
    const int fd = dial_family(fixture, AF_INET);
    say(fd, connect_packet);
    receive(fd, head, sizeof head);
    assert_int_equal(head[0], 0x20);
    assert_int_equal(head[3], 0);
    assert_in_range(head[1], 3, 127);
    receive(fd, rest, (size_t)head[1] - 2);
    return fd;
}

static void hang_up(int fd)
{
    say(fd, "e0 00");
    expect_end(fd);
}

/* ---- tests ---- */

static void messages_reach_a_subscriber(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 1);
    start(&fixture);
    const int subscriber = client(&fixture, CONNECT), publisher = client(&fixture, CONNECT);
    say(subscriber, "82 [0001 00 0003'a/+' 00]");
    expect(subscriber, "90 [0001 00 00]");
    say(publisher, "30 [0003'a/b' 00 'hello']");
    expect(subscriber, "30 [0003'a/b' 00 'hello']");
    hang_up(publisher);
    hang_up(subscriber);
    await_event(&fixture, "client.disconnected client.disconnected");
    stop(&fixture);
    assert_non_null(strstr(fixture.events, "broker.starting listener.ready client.connected "));
    assert_non_null(strstr(fixture.events, "broker.stopping broker.stopped "));
}

static void messages_cross_workers(void **state)
{
    (void)state;
    enum { CLIENTS = 24 };
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 3);
    start(&fixture);
    int clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client(&fixture, CONNECT);
        say(clients[i], "82 [0001 00 0001't' 00]");
        expect(clients[i], "90 [0001 00 00]");
    }
    for (int i = 0; i < CLIENTS; i++) {
        say(clients[i], "30 [0001't' 00 'x']");
        for (int j = 0; j < CLIENTS; j++)
            expect(clients[j], "30 [0001't' 00 'x']");
    }
    for (int i = 0; i < CLIENTS; i++)
        hang_up(clients[i]);
    stop(&fixture);
}

static void a_message_of_a_megabyte_passes(void **state)
{
    (void)state;
    enum { PAYLOAD = 1000000 };
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 1);
    start(&fixture);
    const int fd = client(&fixture, CONNECT);
    say(fd, "82 [0001 00 0001't' 00]");
    expect(fd, "90 [0001 00 00]");
    /* 1,000,004 bytes follow the fixed header: topic, properties, payload */
    static const uint8_t head[] = {0x30, 0xC4, 0x84, 0x3D, 0, 1, 't', 0};
    uint8_t *packet = (uint8_t *)malloc(sizeof head + PAYLOAD);
    uint8_t *back = (uint8_t *)malloc(sizeof head + PAYLOAD);
    assert_non_null(packet);
    assert_non_null(back);
    memcpy(packet, head, sizeof head);
    for (size_t i = 0; i < PAYLOAD; i++)
        packet[sizeof head + i] = (uint8_t)(i * 7 + i / 251);
    for (int round = 0; round < 8; round++) {
        for (size_t sent = 0; sent < sizeof head + PAYLOAD;) {
            const ssize_t n = send(fd, packet + sent, sizeof head + PAYLOAD - sent, MSG_NOSIGNAL);
            assert_true(n > 0);
            sent += (size_t)n;
        }
    }
    for (int round = 0; round < 8; round++) {
        receive(fd, back, sizeof head + PAYLOAD);
        assert_memory_equal(back, packet, sizeof head + PAYLOAD);
    }
    free(packet);
    free(back);
    hang_up(fd);
    stop(&fixture);
}

static void the_reason_arrives_though_input_is_unread(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 1);
    start(&fixture);
    const int fd = client(&fixture, CONNECT);
    uint8_t bytes[8192] = {0x20}; /* a CONNACK towards a server, and more after it */
    assert_int_equal(send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
    uint8_t head[3];
    receive(fd, head, sizeof head);
    assert_int_equal(head[0], 0xE0);
    assert_in_range(head[2], 0x80, 0x82);
    close(fd);
    stop(&fixture);
}

static void what_was_published_before_the_link_broke_counts(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 1);
    start(&fixture);
    const int subscriber = client(&fixture, CONNECT);
    say(subscriber, "82 [0001 00 0001't' 00]");
    expect(subscriber, "90 [0001 00 00]");
    for (int i = 0; i < 50; i++) {
        const struct linger reset = {.l_onoff = 1, .l_linger = 0};
        const int fd = dial_family(&fixture, AF_INET);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        say(fd, CONNECT "32 [0001't' 0001 00 'x'] e0 00");
        shutdown(fd, SHUT_WR);
        expect(subscriber, "30 [0001't' 00 'x']");
        close(fd); /* with the CONNACK and the PUBACK unread */
    }
    hang_up(subscriber);
    stop(&fixture);
}

static void a_client_cannot_forge_a_log_line(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 1);
    start(&fixture);
    const int fd = client(&fixture, "10 [0004'MQTT' 05 00 003c 00 0006 'a' 22 'b=' c285]");
    await_event(&fixture, "client.connected");
    hang_up(fd);
    stop(&fixture);
    const char *event = strstr(fixture.connected, " info client.connected ");
    assert_non_null(event);
    assert_non_null(strstr(event, " client=\"a\\\"b=\\u0085\" peer=127.0.0.1:"));
    assert_non_null(strstr(event, " version=5 clean_start=false session_present=false "
                                  "keep_alive_s=60"));
}

static void stopping_tells_the_clients(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 2);
    start(&fixture);
    const int first = client(&fixture, CONNECT), second = client(&fixture, CONNECT);
    mqtt5_broker_stop(fixture.broker);
    expect(first, "e0 01 8b");
    expect(second, "e0 01 8b");
    expect_end(first);
    expect_end(second);
    stop(&fixture);
}

static void both_families_share_a_port(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "*", 2);
    start(&fixture);
    const int families[] = {AF_INET, AF_INET6};
    for (int i = 0; i < 2; i++) {
        const int fd = dial_family(&fixture, families[i]);
        say(fd, "10 [0004'MQTT' 04 02 003c 0000]");
        expect(fd, "20 [00 00]");
        close(fd);
    }
    stop(&fixture);
}

static void a_broker_that_is_never_run_can_be_freed(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "::1", 2);
    const char *why;
    assert_int_equal(mqtt5_broker_new(&fixture.options, &fixture.broker, &why), MQTT5_OK);
    assert_int_not_equal(mqtt5_broker_port(fixture.broker, 0), 0);
    assert_int_equal(mqtt5_broker_port(fixture.broker, 1), 0);
    mqtt5_broker_free(fixture.broker);
    mqtt5_broker_free(NULL);
}

static void a_stop_before_the_run_ends_it(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 2);
    assert_int_equal(mqtt5_broker_new(&fixture.options, &fixture.broker, NULL), MQTT5_OK);
    mqtt5_broker_stop(fixture.broker);
    assert_int_equal(mqtt5_broker_run(fixture.broker), MQTT5_OK);
    assert_int_equal(mqtt5_broker_run(fixture.broker), MQTT5_ERR_CLOSED);
    mqtt5_broker_free(fixture.broker);
}

static void a_port_in_use_is_said_so(void **state)
{
    (void)state;
    for (uint32_t workers = 1; workers <= 2; workers++) {
        struct fixture fixture, second;
        init(&fixture, "127.0.0.1", workers);
        start(&fixture);
        init(&second, "127.0.0.1", workers);
        second.listener.port = mqtt5_broker_port(fixture.broker, 0);
        const char *why = NULL;
        assert_int_equal(mqtt5_broker_new(&second.options, &second.broker, &why), MQTT5_ERR_IO);
        assert_null(second.broker);
        assert_non_null(strstr(why, "127.0.0.1:"));
        assert_non_null(strstr(why, strerror(EADDRINUSE)));
        stop(&fixture);
    }
}

static void options_that_serve_nobody_are_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    const char *why = NULL;
    init(&fixture, "127.0.0.1", 1);
    fixture.options.config.allow_anonymous = false;
    assert_int_equal(mqtt5_broker_new(&fixture.options, &fixture.broker, &why), MQTT5_ERR_CONFIG);
    assert_non_null(strstr(why, "allow_anonymous"));
    init(&fixture, "127.0.0.1", 65);
    assert_int_equal(mqtt5_broker_new(&fixture.options, &fixture.broker, &why), MQTT5_ERR_CONFIG);
    assert_non_null(strstr(why, "workers"));
    init(&fixture, "127.0.0.1", 1);
    fixture.options.config.maximum_qos = 3;
    assert_int_equal(mqtt5_broker_new(&fixture.options, &fixture.broker, &why), MQTT5_ERR_CONFIG);
    assert_non_null(strstr(why, "maximum_qos"));
    init(&fixture, "127.0.0.1", 1);
    fixture.options.struct_size = 8;
    assert_int_equal(mqtt5_broker_new(&fixture.options, &fixture.broker, &why), MQTT5_ERR_CONFIG);
}

/* Making a broker takes memory in many places; wherever it ends, nothing is left behind. */
static void no_memory_at_any_point_is_an_error(void **state)
{
    (void)state;
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    for (uint64_t nth = 1;; nth++) {
        struct fixture fixture;
        init(&fixture, "127.0.0.1", 2);
        fixture.options.allocator = &allocator.table;
        test_allocator_fail_nth(&allocator, nth);
        const enum mqtt5_error error = mqtt5_broker_new(&fixture.options, &fixture.broker, NULL);
        const bool failed = test_allocator_failed(&allocator);
        if (failed)
            assert_int_equal(error, MQTT5_ERR_NOMEM);
        else
            assert_int_equal(error, MQTT5_OK);
        mqtt5_broker_free(fixture.broker);
        test_allocator_check(&allocator);
        if (!failed)
            break;
        assert_true(nth < 10000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_reach_a_subscriber),
        cmocka_unit_test(messages_cross_workers),
        cmocka_unit_test(a_message_of_a_megabyte_passes),
        cmocka_unit_test(the_reason_arrives_though_input_is_unread),
        cmocka_unit_test(what_was_published_before_the_link_broke_counts),
        cmocka_unit_test(a_client_cannot_forge_a_log_line),
        cmocka_unit_test(stopping_tells_the_clients),
        cmocka_unit_test(both_families_share_a_port),
        cmocka_unit_test(a_broker_that_is_never_run_can_be_freed),
        cmocka_unit_test(a_stop_before_the_run_ends_it),
        cmocka_unit_test(a_port_in_use_is_said_so),
        cmocka_unit_test(options_that_serve_nobody_are_refused),
        cmocka_unit_test(no_memory_at_any_point_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
