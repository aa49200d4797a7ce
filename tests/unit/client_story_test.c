/* Longer stories of the public client: redirection, requests and answers, a queue that survives the
 * process, addresses that do not answer.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/client/link.h"
#include "support/client_broker.h"
#include "support/unit.h"

#include <mqtt5/mock.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void *libc_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void libc_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct mqtt5_allocator test_malloc = {.alloc = libc_alloc, .free = libc_free};

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

/* ---- redirection (section 4.11) ---- */

static struct mqtt5_client *redirected(uint32_t redirects_max, const char *const *references,
                                       size_t count, uint8_t reason_code)
{
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    mqtt5_client_options_init(&options);
    options.client_id = "wanderer";
    options.reconnect.redirects_max = redirects_max;
    options.reconnect.jitter_percent = 0;
    assert_int_equal(mqtt5_client_mock_new(&options, &client), MQTT5_OK);
    for (size_t i = 0; i < count; i++) {
        const struct mqtt5_mock_step step = {.operation = MQTT5_MOCK_CONNECT,
                                             .reason_code = reason_code,
                                             .server_reference = references[i],
                                             .times = 1};
        assert_int_equal(mqtt5_mock_script(client, &step), MQTT5_OK);
    }
    return client;
}

static void check_url(struct mqtt5_client *client, const char *expected)
{
    char text[200];
    mqtt5_client_url(client, text, sizeof text);
    assert_string_equal(text, expected);
}

static void servers_may_send_us_elsewhere(void **state)
{
    static const char *const references[] = {"second", "third:1884 fourth", "mqtt://[::1]:7"};
    (void)state;
    struct mqtt5_client *client = redirected(3, references, 3, MQTT5_REASON_USE_ANOTHER_SERVER);
    check_url(client, "");
    assert_int_equal(mqtt5_client_connect(client, "mqtt://me:pw@first", 100), MQTT5_OK);
    check_url(client, "mqtt://[::1]:7");
    assert_int_equal(mqtt5_mock_cut(client), MQTT5_OK); /* for that connection only */
    check_url(client, "mqtt://first:1883");
    mqtt5_client_free(client);
}

static void a_server_that_has_moved_stays_there(void **state)
{
    static const char *const references[] = {"second"};
    (void)state;
    struct mqtt5_client *client = redirected(3, references, 1, MQTT5_REASON_SERVER_MOVED);
    assert_int_equal(mqtt5_client_connect(client, "mqtt://first", 100), MQTT5_OK);
    assert_int_equal(mqtt5_mock_cut(client), MQTT5_OK);
    check_url(client, "mqtt://second:1883");
    mqtt5_client_free(client);
}

static void hops_are_bounded(void **state)
{
    static const char *const references[] = {"b", "c", "d", "e"};
    (void)state;
    for (uint32_t max = 0; max < 4; max++) {
        struct mqtt5_client *client =
            redirected(max, references, 4, MQTT5_REASON_USE_ANOTHER_SERVER);
        struct mqtt5_client_info info;
        assert_int_equal(mqtt5_client_connect(client, "mqtt://a", 100), MQTT5_ERR_REFUSED);
        mqtt5_client_get_info(client, &info);
        assert_int_equal(info.reason_code, MQTT5_REASON_USE_ANOTHER_SERVER);
        assert_int_equal(info.state, MQTT5_CLIENT_DISCONNECTED);
        mqtt5_client_free(client);
    }
}

static void references_that_lead_nowhere_are_refusals(void **state)
{
    static const char *const references[] = {NULL, "mqtts://not-built", "http://other", " "};
    (void)state;
    for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
        struct mqtt5_client *client =
            redirected(3, &references[i], 1, MQTT5_REASON_USE_ANOTHER_SERVER);
        const bool built = i == 1; /* a mock has every transport */
        assert_int_equal(mqtt5_client_connect(client, "mqtt://a", 100),
                         built ? MQTT5_OK : MQTT5_ERR_REFUSED);
        mqtt5_client_free(client);
    }
}

/* ---- requests and answers ---- */

struct talk {
    struct mqtt5_client *client;
    bool silent;
    int answers;
    enum mqtt5_error error;
    char text[32];
};

static void answer_request(void *ctx, const struct mqtt5_message *message)
{
    const struct talk *talk = ctx;
    const struct mqtt5_publish answer = {.payload = m5_bytes_of("pong"), .qos = 1};
    if (!talk->silent)
        assert_int_equal(
            mqtt5_client_answer_async(message->client, message->publish, &answer, NULL, NULL),
            MQTT5_OK);
}

static void take_answer(void *ctx, enum mqtt5_error error, const struct mqtt5_publish *answer)
{
    struct talk *talk = ctx;
    talk->answers++;
    talk->error = error;
    assert_true((answer != NULL) == (error == MQTT5_OK));
    if (answer != NULL)
        snprintf(talk->text, sizeof talk->text, "%.*s", (int)answer->payload.len,
                 (const char *)answer->payload.data);
}

static struct mqtt5_client *make(const char *id)
{
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    mqtt5_client_options_init(&options);
    options.client_id = id;
    options.own_thread = false;
    assert_int_equal(mqtt5_client_new(&options, &client), MQTT5_OK);
    assert_int_equal(mqtt5_client_connect(client, url, WAIT_MS), MQTT5_OK);
    return client;
}

static void requests_are_answered(void **state)
{
    (void)state;
    struct talk talk = {.client = make("talker")};
    assert_int_equal(mqtt5_client_subscribe_one(talk.client, "service", 1, answer_request, &talk,
                                                WAIT_MS, NULL, NULL),
                     MQTT5_OK);
    const struct mqtt5_publish request = {
        .topic = m5_bytes_of("service"), .payload = m5_bytes_of("ping"), .qos = 1};
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(
            mqtt5_client_request_async(talk.client, &request, WAIT_MS, take_answer, &talk),
            MQTT5_OK);
        while (talk.answers < i)
            assert_int_equal(mqtt5_client_process(talk.client, WAIT_MS), MQTT5_OK);
        assert_int_equal(talk.error, MQTT5_OK);
        assert_string_equal(talk.text, "pong");
    }
    talk.silent = true;
    assert_int_equal(mqtt5_client_request_async(talk.client, &request, 50, take_answer, &talk),
                     MQTT5_OK);
    while (talk.answers < 4)
        assert_int_equal(mqtt5_client_process(talk.client, WAIT_MS), MQTT5_OK);
    assert_int_equal(talk.error, MQTT5_ERR_TIMEOUT);
    assert_int_equal(
        mqtt5_client_request_async(talk.client, &request, MQTT5_FOREVER, take_answer, &talk),
        MQTT5_OK);
    const struct mqtt5_publish none = {.topic = m5_bytes_of("service")};
    assert_int_equal(mqtt5_client_answer_async(talk.client, &none, &none, NULL, NULL),
                     MQTT5_ERR_INVALID_ARGUMENT);
    mqtt5_client_free(talk.client);
    assert_int_equal(talk.answers, 5);
    assert_int_equal(talk.error, MQTT5_ERR_CLOSED);
}

static void requests_that_cannot_be_made_end(void **state)
{
    (void)state;
    struct talk talk = {0};
    struct mqtt5_client *client;
    struct mqtt5_client_options options;
    const struct mqtt5_publish request = {.topic = m5_bytes_of("service"), .qos = 1};
    const struct mqtt5_mock_step refuse = {.operation = MQTT5_MOCK_PUBLISH,
                                           .reason_code = MQTT5_REASON_NOT_AUTHORIZED};
    mqtt5_client_options_init(&options);
    options.client_id = "x";
    options.version = MQTT5_VERSION_3_1_1;
    assert_int_equal(mqtt5_client_mock_new(&options, &client), MQTT5_OK);
    assert_int_equal(mqtt5_client_connect(client, "mqtt://a", 100), MQTT5_OK);
    assert_int_equal(mqtt5_client_request_async(client, &request, 100, take_answer, &talk),
                     MQTT5_ERR_UNSUPPORTED);
    mqtt5_client_free(client);
    options.version = MQTT5_VERSION_5;
    assert_int_equal(mqtt5_client_mock_new(&options, &client), MQTT5_OK);
    assert_int_equal(mqtt5_client_request_async(client, &request, 100, take_answer, &talk),
                     MQTT5_ERR_INVALID_STATE);
    assert_int_equal(mqtt5_client_connect(client, "mqtt://a", 100), MQTT5_OK);
    assert_int_equal(mqtt5_mock_script(client, &refuse), MQTT5_OK);
    assert_int_equal(mqtt5_client_request_async(client, &request, 1000, take_answer, &talk),
                     MQTT5_OK);
    mqtt5_mock_run(client);
    assert_int_equal(talk.answers, 1);
    assert_int_equal(talk.error, MQTT5_ERR_REFUSED);
    mqtt5_client_free(client);
    assert_int_equal(talk.answers, 1);
}

/* ---- a queue that survives the process ---- */

static void file_options(struct mqtt5_client_options *options, const char *path)
{
    mqtt5_client_options_init(options);
    options->client_id = "filed";
    options->offline_queue = true;
    options->queue_file = path;
    options->queue_file_sync = false;
}

static void queued_messages_survive_the_process(void **state)
{
    (void)state;
    char path[64];
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    struct mqtt5_client_info info;
    struct mqtt5_mock_called unused;
    snprintf(path, sizeof path, "/tmp/mqtt5-queue-%d", (int)getpid());
    file_options(&options, path);
    assert_int_equal(mqtt5_client_mock_new(&options, &client), MQTT5_OK);
    struct mqtt5_publish message = {.topic = m5_bytes_of("t"), .payload = m5_bytes_of("kept")};
    const struct mqtt5_user_property user = {.name = m5_bytes_of("n"), .value = m5_bytes_of("v")};
    MQTT5_SET(&message.properties, MESSAGE_EXPIRY_INTERVAL);
    message.properties.message_expiry_interval_s = 1000;
    MQTT5_SET(&message.properties, USER_PROPERTY);
    message.properties.user_property = (struct mqtt5_user_properties){.items = &user, .count = 1};
    for (uint8_t qos = 1; qos <= 2; qos++) {
        message.qos = qos;
        assert_int_equal(mqtt5_client_publish_async(client, &message, NULL, NULL), MQTT5_OK);
    }
    mqtt5_client_free(client); /* the process ends */

    assert_int_equal(mqtt5_client_mock_new(&options, &client), MQTT5_OK);
    mqtt5_client_get_info(client, &info);
    assert_int_equal(info.queued_messages, 2);
    assert_int_equal(mqtt5_client_connect(client, "mqtt://a", 100), MQTT5_OK);
    mqtt5_mock_run(client);
    mqtt5_client_get_info(client, &info);
    assert_int_equal(info.queued_messages, 0);
    assert_int_equal(mqtt5_mock_call(client, 1, &unused), MQTT5_ERR_INVALID_ARGUMENT);
    mqtt5_client_free(client);

    assert_int_equal(mqtt5_client_mock_new(&options, &client), MQTT5_OK);
    mqtt5_client_get_info(client, &info);
    assert_int_equal(info.queued_messages, 0); /* what was acknowledged is gone */
    struct mqtt5_client *second;
    assert_int_not_equal(mqtt5_client_mock_new(&options, &second), MQTT5_OK); /* one at a time */
    mqtt5_client_free(client);
    options.offline_queue = false;
    assert_int_equal(mqtt5_client_mock_new(&options, &client), MQTT5_ERR_CONFIG);
    unlink(path);
}

static void what_is_refused_or_dropped_leaves_the_file(void **state)
{
    (void)state;
    char path[64];
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    struct mqtt5_client_info info;
    snprintf(path, sizeof path, "/tmp/mqtt5-dropped-%d", (int)getpid());
    file_options(&options, path);
    options.queued_messages_max = 2;
    options.overflow = MQTT5_OVERFLOW_DROP_OLDEST;
    assert_int_equal(mqtt5_client_mock_new(&options, &client), MQTT5_OK);
    const struct mqtt5_publish message = {.topic = m5_bytes_of("t"), .qos = 1};
    const struct mqtt5_publish wrong = {.topic = m5_bytes_of("#"), .qos = 1};
    for (int i = 0; i < 3; i++)
        assert_int_equal(mqtt5_client_publish_async(client, &message, NULL, NULL), MQTT5_OK);
    assert_int_equal(mqtt5_client_publish_async(client, &wrong, NULL, NULL),
                     MQTT5_ERR_TOPIC_WILDCARD);
    mqtt5_mock_run(client); /* the end of the dropped one is seen */
    mqtt5_client_free(client);
    assert_int_equal(mqtt5_client_mock_new(&options, &client), MQTT5_OK);
    mqtt5_client_get_info(client, &info);
    assert_int_equal(info.queued_messages, 2);
    mqtt5_client_free(client);
    unlink(path);
}

/* ---- addresses that do not answer ---- */

static struct m5_address local(const char *host, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct m5_address address = {.size = sizeof in};
    assert_int_equal(inet_pton(AF_INET, host, &in.sin_addr), 1);
    memcpy(&address.storage, &in, sizeof in);
    return address;
}

static int listen_at(struct m5_address *address, int backlog)
{
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address->storage, address->size), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address->storage, &address->size), 0);
    return fd;
}

/* Drives @p link in virtual time, a step each 10 ms, until it is up or has failed. */
static uint64_t drive(struct m5_link *link, struct m5_link_failure *failure)
{
    uint64_t now = 0;
    while (link->state == M5_LINK_CONNECTING && m5_link_step(link, now, failure)) {
        now += 10;
        (void)poll(NULL, 0, 1); /* the kernel's turn */
    }
    return now;
}

/* A refusal starts the next address at once; the last failure is told. */
static void refused_addresses_are_passed_over(void **state)
{
    (void)state;
    struct m5_link_failure failure = {.text = ""};
    struct m5_address addresses[3] = {local("127.0.0.1", 0), local("127.0.0.2", 0),
                                      local("127.0.0.3", 0)};
    for (int i = 0; i < 2; i++)
        close(listen_at(&addresses[i], 1)); /* free a moment ago: refused */
    const int listener = listen_at(&addresses[2], 1);
    struct m5_link link = {.fd = -1, .epoll_fd = -1, .allocator = &test_malloc};
    (void)m5_link_race_addresses(&link, addresses, 3, 5000, 0);
    drive(&link, &failure);
    assert_int_equal(link.state, M5_LINK_UP);
    m5_link_close(&link);
    close(listener);
    (void)m5_link_race_addresses(&link, addresses, 3, 5000, 0);
    drive(&link, &failure);
    assert_int_equal(link.state, M5_LINK_DOWN);
    assert_non_null(strstr(failure.text, "127.0.0.3"));
    assert_non_null(strstr(failure.text, "refused"));
}

/* An address that does not answer has 250 ms before the next one runs beside it (RFC 8305). */
static void silent_addresses_are_raced(void **state)
{
    (void)state;
    struct m5_link_failure failure = {.text = ""};
    struct m5_address addresses[2] = {local("127.0.0.1", 0), local("127.0.0.2", 0)};
    const int deaf = listen_at(&addresses[0], 0), listener = listen_at(&addresses[1], 1);
    int fillers[8]; /* a full backlog: the kernel does not answer any more */
    for (size_t i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fillers[i], (struct sockaddr *)&addresses[0].storage, addresses[0].size);
    }
    struct m5_link link = {.fd = -1, .epoll_fd = -1, .allocator = &test_malloc};
    (void)m5_link_race_addresses(&link, addresses, 2, 5000, 0);
    assert_int_equal(m5_link_deadline_ms(&link), M5_LINK_STAGGER_MS);
    const uint64_t took = drive(&link, &failure);
    assert_int_equal(link.state, M5_LINK_UP);
    assert_in_range(took, M5_LINK_STAGGER_MS, 1000);
    m5_link_close(&link);
    (void)m5_link_race_addresses(&link, addresses, 1, 400, 0);
    assert_true(drive(&link, &failure) >= 400);
    assert_int_equal(link.state, M5_LINK_DOWN);
    for (size_t i = 0; i < 8; i++)
        close(fillers[i]);
    close(deaf);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_may_send_us_elsewhere),
        cmocka_unit_test(a_server_that_has_moved_stays_there),
        cmocka_unit_test(hops_are_bounded),
        cmocka_unit_test(references_that_lead_nowhere_are_refusals),
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(requests_that_cannot_be_made_end),
        cmocka_unit_test(queued_messages_survive_the_process),
        cmocka_unit_test(what_is_refused_or_dropped_leaves_the_file),
        cmocka_unit_test(refused_addresses_are_passed_over),
        cmocka_unit_test(silent_addresses_are_raced),
    };
    return cmocka_run_group_tests(tests, start_broker, client_broker_stop);
}
