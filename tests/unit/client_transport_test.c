/* The client over TLS, WebSocket, both, and Unix sockets: messages come through, and what is wrong
 * has its error and its words.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/client/host.h"
#include "support/certificate.h"
#include "support/test_allocator.h"
#include "support/unit.h"
#include "transport/tls/tls.h"
#include "transport/websocket/websocket.h"

#include <mqtt5/broker.h>
#include <mqtt5/client.h>

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 20000 /* only a bound: every wait ends by an event */

/* ---- a broker with every kind of listener ---- */

enum place { TCP, TLS, MUTUAL, WS, WSS, UNIX, PLACES };

static struct test_folder folder;
static struct test_certificate authority, server, person, stranger;
static struct mqtt5_broker *broker;
static pthread_t broker_thread;
static char urls[PLACES][128], files[5][128];

static void no_log(void *ctx, enum mqtt5_log_level level, const char *event, const char *line)
{
    (void)ctx;
    (void)level;
    (void)event;
    (void)line;
}

static void *run_broker(void *unused)
{
    (void)unused;
    return (void *)(uintptr_t)mqtt5_broker_run(broker);
}

static void make_certificates(void)
{
    const struct test_certificate_spec root = {.common_name = m5_bytes_of("Test Authority"),
                                               .is_authority = true};
    const struct test_certificate_spec other = {.common_name = m5_bytes_of("Stranger"),
                                                .is_authority = true};
    const struct test_certificate_spec host = {
        .common_name = m5_bytes_of("localhost"),
        .issuer = &authority,
        .names = {{.type = GNUTLS_SAN_DNSNAME, .text = "localhost"},
                  {.type = GNUTLS_SAN_IPADDRESS, .text = "\x7F\0\0\1", .size = 4}}};
    const struct test_certificate_spec user = {.common_name = m5_bytes_of("anna"),
                                               .issuer = &authority};
    test_folder_make(&folder);
    test_certificate_make(&authority, &root);
    test_certificate_make(&stranger, &other);
    test_certificate_make(&server, &host);
    test_certificate_make(&person, &user);
    const struct {
        const char *name;
        struct mqtt5_bytes content;
    } parts[] = {{"ca.pem", test_bytes_of(&authority.pem)},
                 {"server.pem", test_bytes_of(&server.pem)},
                 {"server.key", test_bytes_of(&server.key_pem)},
                 {"stranger.pem", test_bytes_of(&stranger.pem)}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        snprintf(files[i], sizeof files[i], "%s",
                 test_folder_write(&folder, parts[i].name, parts[i].content));
}

static int start(void **state)
{
    (void)state;
    make_certificates();
    const struct mqtt5_tls_credential credential = {.certificate_file = files[1],
                                                    .key_file = files[2]};
    struct mqtt5_tls_server_options tls, mutual;
    mqtt5_tls_server_options_init(&tls);
    tls.credentials = &credential;
    tls.credential_count = 1;
    mutual = tls;
    mutual.ca_file = files[0];
    mutual.client_certificate = MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED;
    char path[sizeof folder.path + 16];
    snprintf(path, sizeof path, "%s/sock", folder.path);
    const struct mqtt5_listener listeners[PLACES] = {
        [TCP] = {.host = "127.0.0.1"},
        [TLS] = {.host = "127.0.0.1", .transport = MQTT5_TRANSPORT_TLS, .tls = &tls},
        [MUTUAL] = {.host = "127.0.0.1", .transport = MQTT5_TRANSPORT_TLS, .tls = &mutual},
        [WS] = {.host = "127.0.0.1", .transport = MQTT5_TRANSPORT_WS},
        [WSS] = {.host = "127.0.0.1", .transport = MQTT5_TRANSPORT_WSS, .tls = &tls},
        [UNIX] = {.transport = MQTT5_TRANSPORT_UNIX, .path = path},
    };
    struct mqtt5_broker_options options;
    const char *why = "";
    mqtt5_broker_options_init(&options);
    options.listeners = listeners;
    options.listener_count = PLACES;
    options.workers = 1;
    options.log = no_log;
    options.config.allow_anonymous = true;
    if (mqtt5_broker_new(&options, &broker, &why) != MQTT5_OK) {
        fprintf(stderr, "no broker: %s\n", why);
        return 1;
    }
    static const char *const schemes[] = {"mqtt", "mqtts", "mqtts", "ws", "wss"};
    for (unsigned i = TCP; i < UNIX; i++)
        snprintf(urls[i], sizeof urls[i], "%s://127.0.0.1:%u", schemes[i],
                 mqtt5_broker_port(broker, i));
    snprintf(urls[UNIX], sizeof urls[UNIX], "unix://%s", path);
    return pthread_create(&broker_thread, NULL, run_broker, NULL);
}

static int stop(void **state)
{
    (void)state;
    mqtt5_broker_stop(broker);
    pthread_join(broker_thread, NULL);
    mqtt5_broker_free(broker);
    test_certificate_free(&authority);
    test_certificate_free(&server);
    test_certificate_free(&person);
    test_certificate_free(&stranger);
    test_folder_free(&folder);
    return 0;
}

/* ---- a client ---- */

static void init_options(struct mqtt5_client_options *options)
{
    mqtt5_client_options_init(options);
    options->tls.ca_file = files[0];
    options->reconnect.enabled = false;
}

static struct mqtt5_client *make(const struct mqtt5_client_options *options)
{
    struct mqtt5_client *client;
    assert_int_equal(mqtt5_client_new(options, &client), MQTT5_OK);
    return client;
}

/* Connects in vain: the error, and words that have to be in the sentence about it. */
static void refuse(const struct mqtt5_client_options *options, const char *url,
                   enum mqtt5_error error, const char *words)
{
    struct mqtt5_client *client = make(options);
    char why[400];
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), error);
    mqtt5_client_why(client, why, sizeof why);
    if (strstr(why, words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, why);
    mqtt5_client_free(client);
}

static void accept_it(const struct mqtt5_client_options *options, const char *url)
{
    struct mqtt5_client *client = make(options);
    char why[400];
    if (mqtt5_client_connect(client, url, WAIT_MS) != MQTT5_OK) {
        mqtt5_client_why(client, why, sizeof why);
        fail_msg("%s: %s", url, why);
    }
    assert_int_equal(mqtt5_client_ping(client, WAIT_MS), MQTT5_OK);
    assert_int_equal(mqtt5_client_disconnect(client, NULL, WAIT_MS), MQTT5_OK);
    mqtt5_client_free(client);
}

/* ---- messages ---- */

static uint8_t sample[300000];

struct inbox {
    uint32_t wanted, count;
    size_t size; /* of each */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* Each is the sample from the byte on that is its number. */
static void see_message(void *ctx, const struct mqtt5_message *message)
{
    struct inbox *inbox = (struct inbox *)ctx;
    pthread_mutex_lock(&lock);
    assert_int_equal(message->publish->payload.len, inbox->size);
    assert_memory_equal(message->publish->payload.data, sample + inbox->count, inbox->size);
    inbox->count++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static uint32_t count_of(struct inbox *inbox)
{
    pthread_mutex_lock(&lock);
    const uint32_t count = inbox->count;
    pthread_mutex_unlock(&lock);
    return count;
}

static void await(struct mqtt5_client *client, struct inbox *inbox, bool threaded)
{
    while (!threaded && count_of(inbox) < inbox->wanted)
        assert_int_equal(mqtt5_client_process(client, WAIT_MS), MQTT5_OK);
    pthread_mutex_lock(&lock);
    while (inbox->count < inbox->wanted)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void echo(struct mqtt5_client *client, const char *url, bool threaded, struct inbox *inbox,
                 uint8_t qos)
{
    if (mqtt5_client_connect(client, url, WAIT_MS) != MQTT5_OK) {
        char why[400];
        mqtt5_client_why(client, why, sizeof why);
        fail_msg("%s: %s", url, why);
    }
    assert_int_equal(
        mqtt5_client_subscribe_one(client, "echo", qos, see_message, inbox, WAIT_MS, NULL, NULL),
        MQTT5_OK);
    for (uint32_t i = 0; i < inbox->wanted; i++) {
        const struct mqtt5_publish publish = {
            .topic = m5_bytes_of("echo"), .qos = qos, .payload = m5_bytes(sample + i, inbox->size)};
        assert_int_equal(mqtt5_client_publish_async(client, &publish, NULL, NULL), MQTT5_OK);
    }
    await(client, inbox, threaded);
    assert_int_equal(mqtt5_client_disconnect(client, NULL, WAIT_MS), MQTT5_OK);
}

/* [MQTT-6.0.0-1] [MQTT-6.0.0-2]: large ones cross records and frames, small ones share them. */
static void messages_come_through_everywhere(void **state)
{
    (void)state;
    static const struct inbox kinds[] = {{1, 0, 0}, {300, 0, 100}, {20, 0, 16384}, {2, 0, 250000}};
    struct mqtt5_client_loop *loop;
    for (size_t i = 0; i < sizeof sample; i++)
        sample[i] = (uint8_t)(i * 31 + i / 253);
    assert_int_equal(mqtt5_client_loop_new(&loop), MQTT5_OK);
    for (int place = TCP; place < PLACES; place++) {
        for (int mode = 0; mode < 3; mode++) { /* an own thread, a loop, nobody */
            struct mqtt5_client_options options;
            init_options(&options);
            options.loop = mode == 1 ? loop : NULL;
            options.own_thread = mode == 0;
            options.tls.credential.certificate = test_bytes_of(&person.pem);
            options.tls.credential.key = test_bytes_of(&person.key_pem);
            struct mqtt5_client *client = make(&options);
            for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
                struct inbox inbox = kinds[kind];
                echo(client, urls[place], mode != 2, &inbox, (uint8_t)(kind % 3));
            }
            mqtt5_client_free(client);
        }
    }
    mqtt5_client_loop_free(loop);
}

/* ---- who the server is ---- */

static void servers_are_verified_for_every_scheme(void **state)
{
    (void)state;
    static const int places[] = {TLS, WSS};
    for (size_t i = 0; i < 2; i++) {
        const char *url = urls[places[i]];
        struct mqtt5_client_options options;
        init_options(&options);
        accept_it(&options, url);
        options.tls.ca_file = files[3];
        refuse(&options, url, MQTT5_ERR_TLS, "do not trust");
        options.tls.ca_file = NULL; /* the system's authorities */
        refuse(&options, url, MQTT5_ERR_TLS, "do not trust");
        options.tls.insecure = true;
        accept_it(&options, url);
        init_options(&options);
        options.tls.server_name = "elsewhere.example";
        refuse(&options, url, MQTT5_ERR_TLS, "elsewhere.example");
        options.tls.server_name = "localhost";
        accept_it(&options, url);
    }
}

static void what_tls_refuses_is_for_good(void **state)
{
    (void)state;
    const struct mqtt5_client_result refused = {.error = MQTT5_ERR_TLS};
    const struct mqtt5_client_result missing = {.error = MQTT5_ERR_WEBSOCKET};
    assert_int_equal(mqtt5_client_classify(&refused, 5), MQTT5_CLASS_PERMANENT);
    assert_int_equal(mqtt5_client_classify(&missing, 5), MQTT5_CLASS_PERMANENT);
    struct mqtt5_client_options options;
    init_options(&options);
    options.tls.ca_file = files[3];
    options.reconnect.enabled = true;
    options.reconnect.first = true; /* tries again whatever is not permanent */
    options.reconnect.min_ms = 1;
    refuse(&options, urls[TLS], MQTT5_ERR_TLS, "do not trust");
}

static void a_server_may_demand_our_certificate(void **state)
{
    (void)state;
    struct mqtt5_client_options options;
    init_options(&options);
    refuse(&options, urls[MUTUAL], MQTT5_ERR_TLS, "certificate");
    options.tls.credential.certificate = test_bytes_of(&stranger.pem);
    options.tls.credential.key = test_bytes_of(&stranger.key_pem);
    refuse(&options, urls[MUTUAL], MQTT5_ERR_TLS, "certificate");
    options.tls.credential.certificate = test_bytes_of(&person.pem);
    options.tls.credential.key = test_bytes_of(&person.key_pem);
    accept_it(&options, urls[MUTUAL]);
}

static void files_that_cannot_be_used_are_named(void **state)
{
    (void)state;
    struct mqtt5_client_options options;
    init_options(&options);
    options.tls.ca_file = "/nowhere/ca.pem";
    refuse(&options, urls[TLS], MQTT5_ERR_CONFIG, "/nowhere/ca.pem");
    refuse(&options, urls[WSS], MQTT5_ERR_CONFIG, "/nowhere/ca.pem");
    accept_it(&options, urls[TCP]); /* which has no use for it */
    accept_it(&options, urls[WS]);
}

/* The second connection is a short one, also after a while at another server. */
static void sessions_of_tls_are_resumed(void **state)
{
    (void)state;
    struct mqtt5_client_options options;
    struct m5_tls_peer peer;
    init_options(&options);
    options.own_thread = false;
    struct mqtt5_client *client = make(&options);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mqtt5_client_connect(client, urls[TLS], WAIT_MS), MQTT5_OK);
        assert_int_equal(mqtt5_client_ping(client, WAIT_MS), MQTT5_OK);
        assert_true(m5_tls_peer(client->link.pipe.layers[0], &peer));
        assert_int_equal(peer.resumed, i > 0);
        assert_true(peer.certified);
        assert_string_equal(peer.alpn, "mqtt");
        assert_int_equal(mqtt5_client_disconnect(client, NULL, WAIT_MS), MQTT5_OK);
    }
    assert_int_equal(mqtt5_client_connect(client, urls[WSS], WAIT_MS), MQTT5_OK);
    assert_true(m5_tls_peer(client->link.pipe.layers[0], &peer));
    assert_false(peer.resumed);
    mqtt5_client_free(client);
}

/* ---- requests for WebSocket ---- */

static void paths_and_headers(void **state)
{
    (void)state;
    static const char *const headers[] = {"Authorization: Bearer abc", "Upgrade: h2c"};
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    char url[160];
    init_options(&options);
    snprintf(url, sizeof url, "%s/elsewhere?secret=1", urls[WS]);
    refuse(&options, url, MQTT5_ERR_WEBSOCKET,
           "/elsewhere: the server answers the request for WebSocket with 404 Not Found");
    snprintf(url, sizeof url, "%s/mqtt?secret=1", urls[WSS]);
    accept_it(&options, url);
    options.websocket.subprotocol = "amqp";
    refuse(&options, urls[WS], MQTT5_ERR_WEBSOCKET, "400 Bad Request");
    options.websocket.headers = headers;
    options.websocket.header_count = 2;
    assert_int_equal(mqtt5_client_new(&options, &client), MQTT5_ERR_CONFIG);
}

/* ---- servers that are no such ---- */

/* A listening socket, its URL with @p scheme. */
static int listen_at(const char *scheme, char url[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(url, 64, "%s://127.0.0.1:%u", scheme, ntohs(address.sin_port));
    return fd;
}

struct canned {
    int fd;
    const char *answer; /* to the first bytes; then the end */
    char request[2048];
};

static void *serve_canned(void *argument)
{
    struct canned *canned = (struct canned *)argument;
    const int fd = accept(canned->fd, NULL, NULL);
    const ssize_t size = recv(fd, canned->request, sizeof canned->request - 1, 0);
    canned->request[size > 0 ? size : 0] = 0;
    (void)!send(fd, canned->answer, strlen(canned->answer), MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (recv(fd, (char[512]){0}, 512, 0) > 0)
        ;
    close(fd);
    return NULL;
}

static void servers_of_something_else(void **state)
{
    (void)state;
    static const char *const headers[] = {"X-Tenant: 7"};
    static const struct {
        const char *scheme, *answer;
        enum mqtt5_error error;
        const char *words;
    } cases[] = {
        {"mqtts", "", MQTT5_ERR_IO, "closes the connection during the handshake"},
        {"ws", "", MQTT5_ERR_IO, "closes the connection during the handshake"},
        {"mqtts", "HTTP/1.1 400 Bad Request\r\n\r\n", MQTT5_ERR_TLS, "TLS"},
        {"ws", "\x20\x02\x05\r\n\r\n", MQTT5_ERR_IO, "is no HTTP"},
        {"ws", "HTTP/1.1 503 Busy\r\n\r\n", MQTT5_ERR_IO, "503 Busy"},
        {"ws", "HTTP/1.1 429 Slow down\r\n\r\n", MQTT5_ERR_IO, "429 Slow down"},
        {"ws", "HTTP/1.1 401 Unauthorized\r\n\r\n", MQTT5_ERR_WEBSOCKET, "401 Unauthorized"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct canned canned = {.answer = cases[i].answer};
        struct mqtt5_client_options options;
        pthread_t thread;
        char url[64];
        canned.fd = listen_at(cases[i].scheme, url);
        assert_int_equal(pthread_create(&thread, NULL, serve_canned, &canned), 0);
        init_options(&options);
        options.websocket.headers = headers;
        options.websocket.header_count = 1;
        refuse(&options, url, cases[i].error, cases[i].words);
        pthread_join(thread, NULL);
        close(canned.fd);
        if (cases[i].scheme[0] == 'w')
            assert_non_null(strstr(canned.request, "\r\nX-Tenant: 7\r\n\r\n"));
    }
}

static void silent_servers_are_given_up(void **state)
{
    (void)state;
    static const char *const schemes[] = {"mqtts", "ws", "wss"};
    for (size_t i = 0; i < 3; i++) {
        struct mqtt5_client_options options;
        char url[64];
        const int fd = listen_at(schemes[i], url);
        init_options(&options);
        options.connect_timeout_ms = 200;
        struct mqtt5_client *client = make(&options);
        const enum mqtt5_error error = mqtt5_client_connect(client, url, WAIT_MS);
        assert_true(error == MQTT5_ERR_TIMEOUT || error == MQTT5_ERR_IO);
        mqtt5_client_free(client);
        close(fd);
    }
}

/* ---- after a connection ---- */

/* Takes one client to its CONNACK and closes; refuses the next one's request for WebSocket. */
static void *serve_once(void *argument)
{
    static const struct m5_websocket_server_config config;
    static const uint8_t connack[] = {0x20, 3, 0, 0, 0};
    const struct mqtt5_bytes answer = m5_bytes(connack, sizeof connack);
    struct canned *canned = (struct canned *)argument;
    struct m5_outbox out = {.allocator = &m5_client_host_malloc};
    struct m5_transport *transport = m5_websocket_server_new(&config, out.allocator);
    uint8_t bytes[2048], plain[512];
    ptrdiff_t got = 0;
    const int fd = accept(canned->fd, NULL, NULL);
    while (got == 0) { /* until the CONNECT */
        const ssize_t size = recv(fd, bytes, sizeof bytes, 0);
        struct mqtt5_bytes wire = m5_bytes(bytes, size > 0 ? (size_t)size : 0);
        got = size > 0 ? m5_transport_read(transport, &wire, &out, plain, sizeof plain) : -1;
        if (got > 0)
            (void)!m5_transport_write(transport, &answer, 1, &out);
        (void)!send(fd, out.data, out.size, MSG_NOSIGNAL);
        out.size = 0;
    }
    m5_transport_free(transport);
    m5_outbox_fini(&out);
    close(fd);
    return serve_canned(argument);
}

struct changes {
    bool connected, refused;
    enum mqtt5_client_state after; /* the refusal */
    uint32_t retry_ms;
};

static void see_change(void *ctx, const struct mqtt5_client_change *change)
{
    struct changes *changes = (struct changes *)ctx;
    pthread_mutex_lock(&lock);
    changes->connected = changes->connected || change->state == MQTT5_CLIENT_CONNECTED;
    if (change->result.error == MQTT5_ERR_WEBSOCKET && !changes->refused) {
        changes->refused = true;
        changes->after = change->state;
        changes->retry_ms = change->retry_ms;
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* What has been right once may be under repair: it is tried again, but not soon. */
static void a_refusal_after_a_connection_is_not_for_good(void **state)
{
    (void)state;
    struct canned canned = {.answer = "HTTP/1.1 404 Not Found\r\n\r\n"};
    struct changes changes = {0};
    struct mqtt5_client_options options;
    pthread_t thread;
    char url[64];
    canned.fd = listen_at("ws", url);
    assert_int_equal(pthread_create(&thread, NULL, serve_once, &canned), 0);
    init_options(&options);
    options.reconnect.enabled = true;
    options.client_id = "once";
    options.reconnect.min_ms = 20;
    options.reconnect.jitter_percent = 0;
    options.on_change = see_change;
    options.ctx = &changes;
    struct mqtt5_client *client = make(&options);
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    pthread_mutex_lock(&lock);
    while (!changes.refused)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    assert_true(changes.connected);
    assert_int_equal(changes.after, MQTT5_CLIENT_WAITING);
    assert_true(changes.retry_ms >= 200);
    mqtt5_client_free(client);
    pthread_join(thread, NULL);
    close(canned.fd);
}

/* ---- memory ---- */

static void every_allocation_may_fail(void **state)
{
    (void)state;
    bool failed = true;
    uint64_t nth = 1;
    for (; failed && nth < 200; nth++) {
        struct test_allocator allocator;
        struct mqtt5_client_options options;
        struct mqtt5_client *client = NULL;
        test_allocator_init(&allocator);
        init_options(&options);
        options.own_thread = false;
        options.allocator = &allocator.table;
        test_allocator_fail_nth(&allocator, nth);
        enum mqtt5_error error = mqtt5_client_new(&options, &client);
        if (error == MQTT5_OK)
            error = mqtt5_client_connect(client, urls[WSS], WAIT_MS);
        if (error == MQTT5_OK)
            error = mqtt5_client_ping(client, WAIT_MS);
        failed = test_allocator_failed(&allocator);
        if (!failed)
            assert_int_equal(error, MQTT5_OK);
        mqtt5_client_free(client);
        test_allocator_check(&allocator);
    }
    assert_true(nth > 15);
    assert_false(failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_through_everywhere),
        cmocka_unit_test(servers_are_verified_for_every_scheme),
        cmocka_unit_test(what_tls_refuses_is_for_good),
        cmocka_unit_test(a_server_may_demand_our_certificate),
        cmocka_unit_test(files_that_cannot_be_used_are_named),
        cmocka_unit_test(sessions_of_tls_are_resumed),
        cmocka_unit_test(paths_and_headers),
        cmocka_unit_test(servers_of_something_else),
        cmocka_unit_test(silent_servers_are_given_up),
        cmocka_unit_test(a_refusal_after_a_connection_is_not_for_good),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
