/* Listeners of every kind but TLS, their limits, and how they change while the broker runs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker_fixture.h"
#include "support/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>

#define UPGRADE                                                       \
    "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n" \
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"            \
    "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static const char *const everywhere[] = {"127.0.0.0/8"};
static const char *const nowhere[] = {"192.0.2.0/24"};

static int dial(const struct fixture *fixture, size_t index)
{
    return dial_port(mqtt5_broker_port(fixture->broker, index), AF_INET);
}

static void shout(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until the empty line that ends the head of an answer. */
static void read_head(int fd, char *out, size_t size)
{
    size_t at = 0;
    while (at < 4 || memcmp(out + at - 4, "\r\n\r\n", 4) != 0) {
        assert_true(at + 1 < size);
        assert_int_equal(recv(fd, out + at, 1, 0), 1);
        at++;
    }
    out[at] = 0;
}

/* A path for a socket, in a folder of its own. */
static void make_path(char path[80], char folder[40])
{
    snprintf(folder, 40, "/tmp/mqtt5-listener-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, 80, "%s/socket", folder);
}

static int dial_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = ANSWER_S};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* ---- Unix sockets ---- */

static void a_unix_socket_has_its_mode_and_goes_at_the_end(void **state)
{
    (void)state;
    struct fixture fixture;
    char path[80], folder[40];
    make_path(path, folder);
    init(&fixture, "", 2);
    fixture.listener =
        (struct mqtt5_listener){.transport = MQTT5_TRANSPORT_UNIX, .path = path, .mode = 0620};
    start_any(&fixture);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0620);
    const int fd = greet(dial_unix(path), CONNECT);
    hang_up(fd);
    stop(&fixture);
    assert_int_equal(stat(path, &status), -1);
    assert_int_equal(rmdir(folder), 0);
}

static void what_a_dead_broker_left_is_replaced_and_nothing_else(void **state)
{
    (void)state;
    struct fixture fixture, second;
    char path[80], folder[40];
    make_path(path, folder);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    const int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (const struct sockaddr *)&address, sizeof address), 0);
    close(dead); /* the file stays */
    init(&fixture, "", 1);
    fixture.listener = (struct mqtt5_listener){.transport = MQTT5_TRANSPORT_UNIX, .path = path};
    start_any(&fixture);
    init(&second, "", 1);
    second.listener = fixture.listener;
    const char *why = "";
    assert_int_equal(mqtt5_broker_new(&second.options, &second.broker, &why), MQTT5_ERR_IO);
    assert_non_null(strstr(why, path));
    hang_up(greet(dial_unix(path), CONNECT)); /* the first one still serves */
    stop(&fixture);
    const int file = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(mqtt5_broker_new(&second.options, &second.broker, &why), MQTT5_ERR_IO);
    assert_int_equal(unlink(path), 0); /* not by the broker */
    assert_int_equal(rmdir(folder), 0);
}

/* ---- WebSocket and PROXY ---- */

static void a_websocket_is_upgraded_and_carries_mqtt(void **state)
{
    (void)state;
    struct fixture fixture;
    char head[1024];
    init(&fixture, "127.0.0.1", 2);
    fixture.listener.transport = MQTT5_TRANSPORT_WS;
    start(&fixture);
    int fd = dial(&fixture, 0);
    shout(fd, UPGRADE "\r\n");
    read_head(fd, head, sizeof head);
    assert_non_null(strstr(head, "HTTP/1.1 101 "));
    assert_non_null(strstr(head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    say(fd, "82 8f 00000000 10 0d 0004'MQTT' 05 02 003c 00 0000");
    uint8_t frame[2];
    receive(fd, frame, sizeof frame);
    assert_int_equal(frame[0], 0x82);
    uint8_t packet[126];
    receive(fd, packet, frame[1]);
    assert_int_equal(packet[0], 0x20);
    assert_int_equal(packet[3], 0);
    say(fd, "88 82 00000000 03e8"); /* Close 1000 is answered, the connection ends */
    expect(fd, "88 02 03e8");
    expect_end(fd);
    fd = dial(&fixture, 0);
    shout(fd, "GET /other HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
              "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    read_head(fd, head, sizeof head);
    assert_non_null(strstr(head, "HTTP/1.1 404 "));
    close(fd);
    await_event(&fixture, "connection.refused");
    stop(&fixture);
}

static void who_is_behind_a_proxy_is_told_in_pieces(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 2);
    fixture.listener.proxy_protocol = MQTT5_PROXY_ANY;
    fixture.listener.proxy_trusted = everywhere;
    fixture.listener.proxy_trusted_count = 1;
    start(&fixture);
    static const char header[] = "PROXY TCP4 203.0.113.7 10.0.0.1 5555 1883\r\n";
    const int fd = dial(&fixture, 0);
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (size_t i = 0; header[i] != 0; i++)
        assert_int_equal(send(fd, &header[i], 1, MSG_NOSIGNAL), 1);
    greet(fd, CONNECT);
    await_event(&fixture, "client.connected");
    assert_non_null(strstr(fixture.connected, "peer=203.0.113.7:5555"));
    hang_up(fd);
    stop(&fixture);
}

static void only_trusted_proxies_may_speak_for_others(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 1);
    fixture.listener.proxy_protocol = MQTT5_PROXY_V1;
    fixture.listener.proxy_trusted = nowhere;
    fixture.listener.proxy_trusted_count = 1;
    start(&fixture);
    const int fd = dial(&fixture, 0);
    expect_end(fd);
    await_event(&fixture, "connection.refused");
    stop(&fixture);
    init(&fixture, "127.0.0.1", 1);
    fixture.listener.proxy_protocol = MQTT5_PROXY_V1;
    const char *why = "";
    assert_int_equal(mqtt5_broker_new(&fixture.options, &fixture.broker, &why), MQTT5_ERR_CONFIG);
    assert_non_null(strstr(why, "proxy_trusted"));
}

/* ---- limits ---- */

static void a_listener_takes_as_many_as_it_is_told(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 2);
    fixture.listener.connections_max = 2;
    start(&fixture);
    const int first = client(&fixture, CONNECT), second = client(&fixture, CONNECT);
    const int third = dial(&fixture, 0);
    expect_end(third);
    await_event(&fixture, "connection.refused");
    hang_up(first);
    await_event(&fixture, "client.disconnected");
    const int fourth = client(&fixture, CONNECT);
    hang_up(fourth);
    hang_up(second);
    stop(&fixture);
}

static void a_packet_may_be_as_large_as_the_listener_allows(void **state)
{
    (void)state;
    struct fixture fixture;
    init(&fixture, "127.0.0.1", 2);
    fixture.listener.maximum_packet_size = 64;
    start(&fixture);
    const int fd = client(&fixture, CONNECT);
    say(fd, "30 80 01 [0001't' 00] 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'");
    uint8_t head[3];
    receive(fd, head, sizeof head);
    assert_int_equal(head[0], 0xE0);
    assert_int_equal(head[2], 0x95);
    close(fd);
    stop(&fixture);
}

/* ---- changes ---- */

static void listeners_come_and_go_and_clients_stay(void **state)
{
    (void)state;
    struct fixture fixture;
    struct mqtt5_listener two[2];
    struct mqtt5_broker_change change;
    const char *why = "";
    init(&fixture, "127.0.0.1", 2);
    start(&fixture);
    const uint16_t port = mqtt5_broker_port(fixture.broker, 0);
    const int before = client(&fixture, CONNECT);
    /* Another port beside it. The first one was opened as "any port", and is that still. */
    two[0] = fixture.listener;
    two[1] =
        (struct mqtt5_listener){.host = "127.0.0.1", .port = 0, .transport = MQTT5_TRANSPORT_WS};
    fixture.options.listeners = two;
    fixture.options.listener_count = 2;
    if (mqtt5_broker_reconfigure(fixture.broker, &fixture.options, &change, &why) != MQTT5_OK)
        fail_msg("%s", why);
    assert_int_equal(change.listeners_opened, 1);
    assert_int_equal(change.listeners_closed + change.listeners_changed, 0);
    assert_int_equal(mqtt5_broker_port(fixture.broker, 0), port);
    char head[1024];
    const int other = dial(&fixture, 1);
    shout(other, UPGRADE "\r\n");
    read_head(other, head, sizeof head);
    assert_non_null(strstr(head, "101"));
    close(other);
    /* The first one gets a limit. */
    two[0].connections_max = 1;
    assert_int_equal(mqtt5_broker_reconfigure(fixture.broker, &fixture.options, &change, &why),
                     MQTT5_OK);
    assert_int_equal(change.listeners_changed, 1);
    const int counted = client(&fixture, CONNECT);
    expect_end(dial(&fixture, 0));
    hang_up(counted);
    /* And goes. */
    fixture.options.listeners = &two[1];
    fixture.options.listener_count = 1;
    two[1].port = 0;
    assert_int_equal(mqtt5_broker_reconfigure(fixture.broker, &fixture.options, &change, &why),
                     MQTT5_OK);
    assert_int_equal(change.listeners_closed, 2); /* "any port" is told apart by its place */
    assert_int_equal(change.listeners_opened, 1);
    await_event(&fixture, "listener.closed listener.closed");
    say(before, "82 [0001 00 0001't' 00]");
    expect(before, "90 [0001 00 00]");
    hang_up(before);
    stop(&fixture);
}

static void what_is_wrong_changes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    struct mqtt5_listener wrong = {
        .host = "127.0.0.1", .port = 0, .transport = MQTT5_TRANSPORT_TLS};
    struct mqtt5_broker_change change;
    const char *why = "";
    init(&fixture, "127.0.0.1", 2);
    start(&fixture);
    const int before = client(&fixture, CONNECT);
    fixture.options.listeners = &wrong;
    assert_int_equal(mqtt5_broker_reconfigure(fixture.broker, &fixture.options, &change, &why),
                     MQTT5_ERR_CONFIG);
    assert_non_null(strstr(why, "certificate"));
    const int after = client(&fixture, CONNECT);
    hang_up(after);
    hang_up(before);
    stop(&fixture);
}

static void a_limit_counts_from_now_on(void **state)
{
    (void)state;
    struct fixture fixture;
    struct mqtt5_broker_change change;
    const char *why = "";
    init(&fixture, "127.0.0.1", 1);
    start(&fixture);
    const int before = client(&fixture, CONNECT);
    fixture.options.config.topic_levels_max = 2;
    assert_int_equal(mqtt5_broker_reconfigure(fixture.broker, &fixture.options, &change, &why),
                     MQTT5_OK);
    /* The next turn has it: whoever connects now comes after that. */
    hang_up(client(&fixture, CONNECT));
    say(before, "82 [0001 00 0005'a/b/c' 00]");
    expect(before, "90 [0001 00 8f]");
    say(before, "82 [0002 00 0003'a/b' 00]");
    expect(before, "90 [0002 00 00]");
    hang_up(before);
    stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unix_socket_has_its_mode_and_goes_at_the_end),
        cmocka_unit_test(what_a_dead_broker_left_is_replaced_and_nothing_else),
        cmocka_unit_test(a_websocket_is_upgraded_and_carries_mqtt),
        cmocka_unit_test(who_is_behind_a_proxy_is_told_in_pieces),
        cmocka_unit_test(only_trusted_proxies_may_speak_for_others),
        cmocka_unit_test(a_listener_takes_as_many_as_it_is_told),
        cmocka_unit_test(a_packet_may_be_as_large_as_the_listener_allows),
        cmocka_unit_test(listeners_come_and_go_and_clients_stay),
        cmocka_unit_test(what_is_wrong_changes_nothing),
        cmocka_unit_test(a_limit_counts_from_now_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
