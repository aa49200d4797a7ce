/* A broker in a thread, and clients that are raw bytes over sockets: for the tests of the host.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TESTS_UNIT_BROKER_FIXTURE_H
#define TESTS_UNIT_BROKER_FIXTURE_H

#include <mqtt5/broker.h>

#include "host/log.h"
#include "support/hex.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

#define M5_UNUSED __attribute__((unused)) /* by some of the tests */

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

M5_UNUSED static void note_event(void *ctx, enum mqtt5_log_level level, const char *event,
                                 const char *line)
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

M5_UNUSED static void *serve(void *ctx)
{
    struct fixture *fixture = (struct fixture *)ctx;
    fixture->result = mqtt5_broker_run(fixture->broker);
    return NULL;
}

M5_UNUSED static void init(struct fixture *fixture, const char *host, uint32_t workers)
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

M5_UNUSED static void start_any(struct fixture *fixture)
{
    const char *why = "";
    if (mqtt5_broker_new(&fixture->options, &fixture->broker, &why) != MQTT5_OK)
        fail_msg("%s", why);
    assert_int_equal(pthread_create(&fixture->thread, NULL, serve, fixture), 0);
}

M5_UNUSED static void start(struct fixture *fixture)
{
    start_any(fixture);
    assert_int_not_equal(mqtt5_broker_port(fixture->broker, 0), 0);
}

M5_UNUSED static void stop(struct fixture *fixture)
{
    mqtt5_broker_stop(fixture->broker);
    pthread_join(fixture->thread, NULL);
    mqtt5_broker_free(fixture->broker);
    pthread_cond_destroy(&fixture->changed);
    pthread_mutex_destroy(&fixture->mutex);
    assert_int_equal(fixture->result, MQTT5_OK);
}

M5_UNUSED static void await_event(struct fixture *fixture, const char *name)
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

M5_UNUSED static int dial_port(uint16_t to, int family)
{
    const uint16_t port = htons(to);
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

M5_UNUSED static void say(int fd, const char *hex)
{
    uint8_t bytes[1024];
    const struct mqtt5_bytes packet = hex_read(hex, bytes, sizeof bytes);
    assert_int_equal(send(fd, packet.data, packet.len, MSG_NOSIGNAL), packet.len);
}

M5_UNUSED static void receive(int fd, uint8_t *out, size_t size)
{
    for (size_t got = 0; got < size;) {
        const ssize_t n = recv(fd, out + got, size - got, 0);
        assert_true(n > 0);
        got += (size_t)n;
    }
}

M5_UNUSED static void expect(int fd, const char *hex)
{
    uint8_t wanted[1024], got[1024];
    const struct mqtt5_bytes packet = hex_read(hex, wanted, sizeof wanted);
    receive(fd, got, packet.len);
    assert_memory_equal(got, packet.data, packet.len);
}

M5_UNUSED static void expect_end(int fd)
{
    uint8_t byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

M5_UNUSED static int dial_family(const struct fixture *fixture, int family)
{
    return dial_port(mqtt5_broker_port(fixture->broker, 0), family);
}

/* Sends @p connect_packet; the CONNACK says yes. */
M5_UNUSED static int greet(int fd, const char *connect_packet)
{
    uint8_t head[4], rest[256];
    say(fd, connect_packet);
    receive(fd, head, sizeof head);
    assert_int_equal(head[0], 0x20);
    assert_int_equal(head[3], 0);
    assert_in_range(head[1], 3, 127);
    receive(fd, rest, (size_t)head[1] - 2);
    return fd;
}

/* Connects; the CONNACK says yes. */
M5_UNUSED static int client(const struct fixture *fixture, const char *connect_packet)
{
    return greet(dial_family(fixture, AF_INET), connect_packet);
}

M5_UNUSED static void hang_up(int fd)
{
    say(fd, "e0 00");
    expect_end(fd);
}

#endif
