/* Addresses: taken apart, resolved, written; listening sockets as the host opens them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/address.h"
#include "host/listener.h"

#include "support/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void endpoints_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
    } cases[] = {
        {"127.0.0.1:4242", "127.0.0.1", 4242},
        {"[::1]:0", "::1", 0},
        {"[::1]", "::1", 7},
        {"localhost:65535", "localhost", 65535},
        {"name", "name", 7},
        {"*:9", "", 9},
        {":9", "", 9},
        {"*", "", 7},
        {"[fe80::1%eth0]:1", "fe80::1%eth0", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_endpoint endpoint;
        assert_null(m5_endpoint_parse(cases[i].text, 7, &endpoint));
        assert_string_equal(endpoint.host, cases[i].host);
        assert_int_equal(endpoint.port, cases[i].port);
    }
}

static void endpoints_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",    "a:",       "a:65536", "a:-1",      "a:1x",   "a:99999999999",
        "::1", "::1:1883", "[::1",    "[::1]1883", "[::1]:", "a: 1"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_endpoint endpoint;
        if (m5_endpoint_parse(cases[i], 7, &endpoint) == NULL)
            fail_msg("\"%s\" was accepted", cases[i]);
    }
    char text[M5_HOST_NAME_SIZE + 1];
    struct m5_endpoint endpoint;
    memset(text, 'a', sizeof text);
    text[M5_HOST_NAME_SIZE] = 0;
    assert_non_null(m5_endpoint_parse(text, 7, &endpoint));
    text[M5_HOST_NAME_SIZE - 1] = 0;
    assert_null(m5_endpoint_parse(text, 7, &endpoint));
}

static struct m5_address numeric(const char *host, uint16_t port)
{
    struct m5_address addresses[M5_ADDRESSES_MAX];
    const char *why = "";
    assert_int_equal(m5_address_resolve(host, port, addresses, &why), 1);
    return addresses[0];
}

static void addresses_are_written_as_the_system_does(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        uint16_t port;
        const char *text;
    } cases[] = {
        {"127.0.0.1", 4242, "127.0.0.1:4242"},
        {"0.0.0.0", 0, "0.0.0.0:0"},
        {"255.255.255.255", 65535, "255.255.255.255:65535"},
        {"10.20.30.40", 1, "10.20.30.40:1"},
        {"::1", 1883, "[::1]:1883"},
        {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 65535,
         "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[M5_ADDRESS_TEXT_SIZE];
        const struct m5_address address = numeric(cases[i].host, cases[i].port);
        assert_int_equal(m5_address_format(&address, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
        assert_int_equal(m5_address_port(&address), cases[i].port);
    }
}

static void only_loopback_is_loopback(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        bool loopback;
    } cases[] = {{"127.0.0.1", true}, {"127.255.255.254", true}, {"::1", true},
                 {"0.0.0.0", false},  {"128.0.0.1", false},      {"::", false},
                 {"::2", false},      {"192.168.0.1", false},    {"::ffff:127.0.0.1", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct m5_address address = numeric(cases[i].host, 1);
        assert_int_equal(m5_address_is_loopback(&address), cases[i].loopback);
    }
}

static void all_addresses_are_both_families(void **state)
{
    (void)state;
    static const char *const all[] = {"", "*"};
    for (size_t i = 0; i < 2; i++) {
        struct m5_address out[M5_ADDRESSES_MAX];
        const char *why = NULL;
        char text[M5_ADDRESS_TEXT_SIZE];
        assert_int_equal(m5_address_resolve(all[i], 5, out, &why), 2);
        m5_address_format(&out[0], text);
        assert_string_equal(text, "0.0.0.0:5");
        m5_address_format(&out[1], text);
        assert_string_equal(text, "[::]:5");
    }
}

static void a_host_without_addresses_is_explained(void **state)
{
    (void)state;
    struct m5_address out[M5_ADDRESSES_MAX];
    const char *why = NULL;
    assert_int_equal(m5_address_resolve("300.1.1.1.invalid", 5, out, &why), 0);
    assert_non_null(why);
    assert_true(strlen(why) > 0);
}

/* ---- sockets ---- */

static int connect_to(const struct m5_address *address)
{
    const int fd = socket(address->storage.ss_family, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address->storage, address->size), 0);
    return fd;
}

static int accept_soon(int listen_fd, struct m5_address *peer)
{
    struct pollfd poller = {.fd = listen_fd, .events = POLLIN};
    assert_int_equal(poll(&poller, 1, 5000), 1);
    return m5_listener_accept(listen_fd, peer);
}

static void accepted_sockets_send_at_once_and_never_block(void **state)
{
    (void)state;
    struct m5_address address = numeric("127.0.0.1", 0), peer;
    const int listener = m5_listener_open(&address, false);
    assert_true(listener >= 0);
    assert_int_not_equal(m5_address_port(&address), 0);
    assert_int_equal(m5_listener_accept(listener, &peer), -1);
    assert_int_equal(m5_listener_error(errno), M5_ACCEPT_DONE);
    const int client = connect_to(&address);
    const int fd = accept_soon(listener, &peer);
    assert_true(fd >= 0);
    int on = 0;
    socklen_t size = sizeof on;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    assert_int_not_equal(on, 0);
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
    struct sockaddr_in local;
    size = sizeof local;
    getsockname(client, (struct sockaddr *)&local, &size);
    assert_int_equal(m5_address_port(&peer), ntohs(local.sin_port));
    close(fd);
    close(client);
    close(listener);
}

static void a_port_in_use_is_not_shared_with_strangers(void **state)
{
    (void)state;
    struct m5_address address = numeric("127.0.0.1", 0);
    const int first = m5_listener_open(&address, true), second = m5_listener_open(&address, true);
    assert_true(first >= 0 && second >= 0);
    assert_false(m5_listener_probe(&address));
    assert_int_equal(errno, EADDRINUSE);
    struct m5_address again = address;
    assert_int_equal(m5_listener_open(&again, false), -1);
    assert_int_equal(errno, EADDRINUSE);
    close(first);
    close(second);
    assert_true(m5_listener_probe(&address));
}

static void who_waits_while_descriptors_are_out_is_turned_away(void **state)
{
    (void)state;
    struct m5_address address = numeric("127.0.0.1", 0), peer;
    const int listener = m5_listener_open(&address, false);
    int reserve = m5_listener_reserve();
    const int client = connect_to(&address);
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    const struct rlimit none = {.rlim_cur = (rlim_t)client + 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const int fd = accept_soon(listener, &peer);
    const int error = errno;
    const bool turned_away = m5_listener_turn_away(listener, &reserve);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(fd, -1);
    assert_int_equal(m5_listener_error(error), M5_ACCEPT_EXHAUSTED);
    assert_true(turned_away);
    char byte;
    assert_int_equal(recv(client, &byte, 1, 0), 0); /* closed, not hanging */
    assert_int_equal(m5_listener_accept(listener, &peer), -1);
    assert_int_equal(errno, EAGAIN);
    close(reserve);
    close(client);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_are_taken_apart),
        cmocka_unit_test(endpoints_that_make_no_sense_are_refused),
        cmocka_unit_test(addresses_are_written_as_the_system_does),
        cmocka_unit_test(only_loopback_is_loopback),
        cmocka_unit_test(all_addresses_are_both_families),
        cmocka_unit_test(a_host_without_addresses_is_explained),
        cmocka_unit_test(accepted_sockets_send_at_once_and_never_block),
        cmocka_unit_test(a_port_in_use_is_not_shared_with_strangers),
        cmocka_unit_test(who_waits_while_descriptors_are_out_is_turned_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
