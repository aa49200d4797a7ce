/* The embedding API: a broker in a thread, spoken to with raw MQTT bytes over TCP.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker_fixture.h"
#include "support/test_allocator.h"

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
