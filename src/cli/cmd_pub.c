/* `mqttv5 pub`: publishes messages, and waits for responses when asked to.
 *
 * Messages are handed to the client as fast as it takes them; only what is not yet complete is
 * bounded. The client has a thread of its own, so that standard input may block.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/connection.h"
#include "cli/input.h"
#include "cli/print.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIELD(name)       offsetof(struct pub_options, name)
#define PENDING_MAX       4096u                        /* messages handed over and not complete */
#define PAYLOAD_MAX       (MQTT5_REMAINING_LENGTH_MAX) /* bytes; the exact bound is the client's */
#define SUBSCRIBE_WAIT_MS 30000
#define U32_MAX           4294967295u
#define ERRORS_SHOWN_MAX  5u /* of refused messages; the rest is only counted */

struct pub_options {
    struct cli_connection connection;
    const char *topic, *message, *file;
    bool use_stdin, stdin_lines, retain;
    uint64_t qos;
    uint64_t expiry_s, topic_alias;
    const char *response_topic, *correlation_data, *content_type;
    struct cli_strings user_properties;
    bool wait_response;
    uint64_t timeout_s, response_count;
    int output_format; /* enum cli_print_form */
    uint64_t delay_s, repeat, interval_ms;
};

static const struct cli_choice formats[] = {
    {"raw", CLI_PRINT_RAW}, {"verbose", CLI_PRINT_VERBOSE}, {"json", CLI_PRINT_JSON}, {NULL, 0}};

static const struct cli_option pub_table[] = {
    {.group = "Message",
     .name = "topic",
     .alias = 't',
     .type = CLI_STRING,
     .offset = FIELD(topic),
     .value = "TOPIC",
     .help = "where to publish"},
    {.name = "message",
     .alias = 'm',
     .type = CLI_STRING,
     .offset = FIELD(message),
     .value = "TEXT",
     .help = "the payload"},
    {.name = "file",
     .alias = 'f',
     .type = CLI_STRING,
     .offset = FIELD(file),
     .value = "PATH",
     .help = "the payload is what is in this file"},
    {.name = "stdin",
     .type = CLI_BOOL,
     .offset = FIELD(use_stdin),
     .help = "the payload is all of standard input"},
    {.name = "stdin-lines",
     .alias = 'l',
     .type = CLI_BOOL,
     .offset = FIELD(stdin_lines),
     .help = "each line of standard input is a message"},
    {.name = "qos",
     .alias = 'q',
     .type = CLI_INTEGER,
     .max = 2,
     .offset = FIELD(qos),
     .value = "QOS",
     .fallback = "0",
     .help = "0 = at most once, 1 = at least once, 2 = exactly once"},
    {.name = "retain",
     .alias = 'r',
     .type = CLI_BOOL,
     .offset = FIELD(retain),
     .help = "let the server keep the message for later subscribers"},
    {.group = "Properties (MQTT 5)",
     .name = "message-expiry-interval",
     .type = CLI_SECONDS,
     .max = U32_MAX,
     .offset = FIELD(expiry_s),
     .value = "TIME",
     .help = "how long the message is worth being delivered"},
    {.name = "topic-alias",
     .type = CLI_INTEGER,
     .min = 1,
     .max = 65535,
     .offset = FIELD(topic_alias),
     .value = "N",
     .help = "let this number stand for the topic after the first message"},
    {.name = "content-type",
     .type = CLI_STRING,
     .offset = FIELD(content_type),
     .value = "TYPE",
     .help = "what the payload is, as text/plain"},
    {.name = "user-property",
     .type = CLI_STRING,
     .repeatable = true,
     .offset = FIELD(user_properties),
     .value = "NAME=VALUE",
     .help = "a property of your own"},
    {.name = "response-topic",
     .type = CLI_STRING,
     .offset = FIELD(response_topic),
     .value = "TOPIC",
     .help = "where a response should go"},
    {.name = "correlation-data",
     .type = CLI_STRING,
     .offset = FIELD(correlation_data),
     .value = "HEX",
     .help = "bytes that a response will carry, in hexadecimal"},
    {.group = "Responses (MQTT 5)",
     .name = "wait-response",
     .type = CLI_BOOL,
     .offset = FIELD(wait_response),
     .help = "print the responses to the message"},
    {.name = "timeout",
     .type = CLI_SECONDS,
     .max = 86400,
     .offset = FIELD(timeout_s),
     .value = "TIME",
     .fallback = "30",
     .help = "how long to wait for them"},
    {.name = "response-count",
     .type = CLI_INTEGER,
     .offset = FIELD(response_count),
     .value = "N",
     .fallback = "1",
     .help = "how many to wait for; 0 = all until the timeout"},
    {.name = "output-format",
     .type = CLI_CHOICE,
     .offset = FIELD(output_format),
     .choices = formats,
     .value = "FORMAT",
     .fallback = "raw",
     .help = "how to print them: raw, verbose or json"},
    {.group = "Time",
     .name = "delay",
     .type = CLI_SECONDS,
     .max = U32_MAX,
     .offset = FIELD(delay_s),
     .value = "TIME",
     .fallback = "0",
     .help = "wait so long before the first message"},
    {.name = "repeat",
     .type = CLI_INTEGER,
     .offset = FIELD(repeat),
     .value = "N",
     .fallback = "1",
     .help = "publish so often; 0 = until interrupted"},
    {.name = "interval",
     .type = CLI_MILLISECONDS,
     .max = U32_MAX,
     .offset = FIELD(interval_ms),
     .value = "MS",
     .fallback = "1000",
     .help = "time between repetitions; 0 = as fast as the server takes them"},
    {0},
};

static const struct cli_option *const tables[] = {pub_table, cli_connection_options, NULL};

/* A publisher at work. What the client's thread touches is guarded by the lock. */
struct pub {
    const struct cli_call *call;
    const struct pub_options *options;
    struct mqtt5_client *client;
    struct mqtt5_publish publish; /* the message, but for its payload */
    struct mqtt5_user_property *user_properties;
    uint8_t *correlation_data;
    char response_topic[128]; /* made up, when none was given */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t pending, failed, responses;
    bool ending;       /* the connection is over; on_change() will tell, and then why is known */
    bool disconnected; /* on_change() has told */
    bool output_closed;
};

static struct mqtt5_bytes bytes_of(const char *text)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- from the client's thread ---- */

static void report_failure(const struct pub *pub, const struct mqtt5_client_result *result)
{
    if (result->error == MQTT5_ERR_REFUSED)
        cli_error(pub->call, "the server refused the message: %s (0x%02X)",
                  cli_reason_text(result->reason_code), result->reason_code);
    else if (result->error != MQTT5_ERR_CLOSED) /* that is told once, for the connection */
        cli_error(pub->call, "cannot publish: %s", mqtt5_error_text(result->error));
}

static void on_done(void *ctx, const struct mqtt5_client_result *result)
{
    struct pub *pub = ctx;
    pthread_mutex_lock(&pub->lock);
    pub->pending--;
    if (result->error != MQTT5_OK && ++pub->failed <= ERRORS_SHOWN_MAX)
        report_failure(pub, result);
    if (result->error == MQTT5_ERR_CLOSED)
        pub->ending = true;
    pthread_cond_broadcast(&pub->changed);
    pthread_mutex_unlock(&pub->lock);
}

static void on_change(void *ctx, const struct mqtt5_client_change *change)
{
    struct pub *pub = ctx;
    pthread_mutex_lock(&pub->lock);
    pub->disconnected = change->state == MQTT5_CLIENT_DISCONNECTED;
    pthread_cond_broadcast(&pub->changed);
    pthread_mutex_unlock(&pub->lock);
}

/* A response counts when it carries our correlation data. */
static void on_response(void *ctx, const struct mqtt5_message *message)
{
    struct pub *pub = ctx;
    const struct mqtt5_bytes ours = pub->publish.properties.correlation_data;
    const struct mqtt5_bytes theirs = message->publish->properties.correlation_data;
    if (MQTT5_HAS(&pub->publish.properties, CORRELATION_DATA) &&
        (!MQTT5_HAS(&message->publish->properties, CORRELATION_DATA) || ours.len != theirs.len ||
         memcmp(ours.data, theirs.data, ours.len) != 0))
        return;
    pthread_mutex_lock(&pub->lock);
    const uint64_t wanted = pub->options->response_count;
    if (wanted == 0 || pub->responses < wanted) {
        cli_print_message(stdout, message->publish,
                          (enum cli_print_form)pub->options->output_format,
                          pub->options->output_format == CLI_PRINT_VERBOSE);
        pub->responses++;
        pub->output_closed = !cli_print_flush(stdout);
    }
    pthread_cond_broadcast(&pub->changed);
    pthread_mutex_unlock(&pub->lock);
}

/* ---- waiting ---- */

/* Waits for a change, at most until @p until_ms; wakes now and then to look for a signal, which can
 * not be sent through a condition variable. Lock held. */
static void wait_change(struct pub *pub, uint64_t until_ms)
{
    const uint64_t look = now_ms() + 100;
    const uint64_t end = until_ms < look ? until_ms : look;
    const struct timespec at = {.tv_sec = (time_t)(end / 1000),
                                .tv_nsec = (long)(end % 1000) * 1000000};
    pthread_cond_timedwait(&pub->changed, &pub->lock, &at);
}

static bool is_over(const struct pub *pub)
{
    return pub->ending || pub->disconnected || cli_signals_caught();
}

static bool is_over_now(struct pub *pub)
{
    pthread_mutex_lock(&pub->lock);
    const bool over = is_over(pub);
    pthread_mutex_unlock(&pub->lock);
    return over;
}

/* Waits until fewer than @p count messages are not complete. False when it is over before. */
static bool wait_pending_below(struct pub *pub, uint64_t count)
{
    pthread_mutex_lock(&pub->lock);
    while (pub->pending >= count && !is_over(pub))
        wait_change(pub, UINT64_MAX);
    const bool reached = pub->pending < count;
    pthread_mutex_unlock(&pub->lock);
    return reached;
}

/* False when it is over before the time has passed. */
static bool pause_ms(struct pub *pub, uint64_t duration_ms)
{
    const uint64_t end = now_ms() + duration_ms;
    pthread_mutex_lock(&pub->lock);
    while (now_ms() < end && !is_over(pub))
        wait_change(pub, end);
    pthread_mutex_unlock(&pub->lock);
    return !is_over_now(pub);
}

/* ---- the message ---- */

#define SET_TEXT(properties, NAME, field, text) \
    do {                                        \
        MQTT5_SET(properties, NAME);            \
        (properties)->field = bytes_of(text);   \
    } while (0)

static int set_user_properties(struct pub *pub, struct mqtt5_properties *properties)
{
    const struct cli_strings *given = &pub->options->user_properties;
    if (given->count == 0)
        return CLI_OK;
    pub->user_properties = calloc(given->count, sizeof *pub->user_properties);
    if (pub->user_properties == NULL)
        return cli_failed(pub->call, "out of memory");
    for (size_t i = 0; i < given->count; i++) {
        const char *equals = strchr(given->items[i], '=');
        if (equals == NULL)
            return cli_usage(pub->call, "--user-property wants NAME=VALUE, not \"%s\"",
                             given->items[i]);
        pub->user_properties[i].name = (struct mqtt5_bytes){
            .data = (const uint8_t *)given->items[i], .len = (size_t)(equals - given->items[i])};
        pub->user_properties[i].value = bytes_of(equals + 1);
    }
    MQTT5_SET(properties, USER_PROPERTY);
    properties->user_property = (struct mqtt5_user_properties){.items = pub->user_properties,
                                                               .count = (uint32_t)given->count};
    return CLI_OK;
}

static int set_correlation(struct pub *pub, struct mqtt5_properties *properties)
{
    const char *text = pub->options->correlation_data;
    size_t size = 0;
    if (text == NULL)
        return CLI_OK;
    pub->correlation_data = malloc(strlen(text) / 2 + 1);
    if (pub->correlation_data == NULL)
        return cli_failed(pub->call, "out of memory");
    if (!cli_read_hex(text, pub->correlation_data, &size))
        return cli_usage(pub->call,
                         "--correlation-data wants pairs of hexadecimal digits, not "
                         "\"%s\"",
                         text);
    MQTT5_SET(properties, CORRELATION_DATA);
    properties->correlation_data = (struct mqtt5_bytes){.data = pub->correlation_data, .len = size};
    return CLI_OK;
}

static int make_message(struct pub *pub)
{
    const struct pub_options *options = pub->options;
    struct mqtt5_properties *properties = &pub->publish.properties;
    pub->publish.topic = bytes_of(options->topic);
    pub->publish.qos = (uint8_t)options->qos;
    pub->publish.retain = options->retain;
    if (cli_given(pub->call, "message-expiry-interval")) {
        MQTT5_SET(properties, MESSAGE_EXPIRY_INTERVAL);
        properties->message_expiry_interval_s = (uint32_t)options->expiry_s;
    }
    if (options->topic_alias > 0) {
        MQTT5_SET(properties, TOPIC_ALIAS);
        properties->topic_alias = (uint32_t)options->topic_alias;
    }
    if (options->content_type != NULL)
        SET_TEXT(properties, CONTENT_TYPE, content_type, options->content_type);
    if (options->response_topic != NULL)
        SET_TEXT(properties, RESPONSE_TOPIC, response_topic, options->response_topic);
    const int code = set_correlation(pub, properties);
    return code != CLI_OK ? code : set_user_properties(pub, properties);
}

/* ---- publishing ---- */

static int report_refusal(const struct pub *pub, enum mqtt5_error error)
{
    if (error == MQTT5_ERR_INVALID_STATE)
        return CLI_OK; /* disconnected: told at the end */
    if (error == MQTT5_ERR_TOPIC_ALIAS)
        return cli_failed(pub->call, "the server takes no topic alias %llu",
                          (unsigned long long)pub->options->topic_alias);
    if (error == MQTT5_ERR_PACKET_TOO_LARGE)
        return cli_failed(pub->call, "the message is larger than the server takes");
    if (error == MQTT5_ERR_UNSUPPORTED)
        return cli_failed(pub->call, "the server does not take such messages (QoS or retain)");
    return cli_failed(pub->call, "cannot publish to \"%s\": %s", pub->options->topic,
                      mqtt5_error_text(error));
}

/* Hands one message over; waits only while too many are under way. */
static int publish(struct pub *pub, struct mqtt5_bytes payload)
{
    enum mqtt5_error error = MQTT5_ERR_QUEUE_FULL;
    uint64_t pending_max = PENDING_MAX;
    pub->publish.payload = payload;
    while (error == MQTT5_ERR_QUEUE_FULL && wait_pending_below(pub, pending_max)) {
        pthread_mutex_lock(&pub->lock);
        pub->pending++;
        pending_max = pub->pending;
        pthread_mutex_unlock(&pub->lock);
        error = mqtt5_client_publish_async(pub->client, &pub->publish, on_done, pub);
        if (error == MQTT5_OK)
            return CLI_OK;
        pthread_mutex_lock(&pub->lock);
        pub->pending--;
        pthread_mutex_unlock(&pub->lock);
        if (error == MQTT5_ERR_QUEUE_FULL && pending_max <= 1)
            return cli_failed(pub->call, "the message is larger than this client queues");
        pending_max--; /* full by bytes: wait for one of the others to be complete */
    }
    return error == MQTT5_ERR_QUEUE_FULL ? CLI_OK : report_refusal(pub, error);
}

static int publish_repeatedly(struct pub *pub, struct mqtt5_bytes payload)
{
    const struct pub_options *options = pub->options;
    int code = CLI_OK;
    for (uint64_t i = 0; options->repeat == 0 || i < options->repeat; i++) {
        if (i > 0 && options->interval_ms > 0 && !pause_ms(pub, options->interval_ms))
            break;
        code = publish(pub, payload);
        if (code != CLI_OK || is_over_now(pub))
            break;
    }
    return code;
}

static int publish_lines(struct pub *pub)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size;
    int code = CLI_OK;
    while (code == CLI_OK && !is_over_now(pub) && (size = getline(&line, &capacity, stdin)) >= 0) {
        if (size > 0 && line[size - 1] == '\n')
            size--;
        code = publish_repeatedly(
            pub, (struct mqtt5_bytes){.data = (const uint8_t *)line, .len = (size_t)size});
    }
    if (code == CLI_OK && ferror(stdin) && errno != EINTR)
        code = cli_failed(pub->call, "cannot read standard input: %s", strerror(errno));
    free(line);
    return code;
}

static int read_payload(const struct pub *pub, struct cli_content *content)
{
    const char *path = pub->options->file;
    FILE *file = path == NULL ? stdin : fopen(path, "rb");
    const char *name = path == NULL ? "standard input" : path;
    if (file == NULL)
        return cli_failed(pub->call, "cannot open %s: %s", name, strerror(errno));
    const bool ok = cli_read_all(file, PAYLOAD_MAX, content);
    const int error = errno;
    if (file != stdin)
        fclose(file);
    return ok ? CLI_OK : cli_failed(pub->call, "cannot read %s: %s", name, strerror(error));
}

/* ---- responses ---- */

/* Fills in a response topic and correlation data of our own where none was given, and subscribes.
 */
static int prepare_responses(struct pub *pub)
{
    struct mqtt5_properties *properties = &pub->publish.properties;
    char id[64];
    mqtt5_client_id(pub->client, id, sizeof id);
    if (!MQTT5_HAS(properties, RESPONSE_TOPIC)) {
        snprintf(pub->response_topic, sizeof pub->response_topic, "mqttv5/response/%s", id);
        SET_TEXT(properties, RESPONSE_TOPIC, response_topic, pub->response_topic);
    }
    if (!MQTT5_HAS(properties, CORRELATION_DATA)) {
        pub->correlation_data = malloc(sizeof id);
        if (pub->correlation_data == NULL)
            return cli_failed(pub->call, "out of memory");
        const int size = snprintf((char *)pub->correlation_data, sizeof id, "%08llx",
                                  (unsigned long long)now_ms());
        MQTT5_SET(properties, CORRELATION_DATA);
        properties->correlation_data =
            (struct mqtt5_bytes){.data = pub->correlation_data, .len = (size_t)size};
    }
    const struct mqtt5_subscription_request item = {.filter = properties->response_topic,
                                                    .qos = (uint8_t)pub->options->qos};
    const struct mqtt5_subscribe request = {.count = 1, .items = &item};
    uint8_t reason = 0;
    const enum mqtt5_error error =
        mqtt5_client_subscribe(pub->client, &request, on_response, pub, SUBSCRIBE_WAIT_MS, &reason);
    if (error == MQTT5_OK)
        return CLI_OK;
    return cli_failed(pub->call, "cannot subscribe to %.*s for the response: %s",
                      (int)item.filter.len, (const char *)item.filter.data,
                      error == MQTT5_ERR_REFUSED ? cli_reason_text(reason)
                                                 : mqtt5_error_text(error));
}

static int await_responses(struct pub *pub)
{
    const uint64_t wanted = pub->options->response_count;
    const uint64_t end = now_ms() + pub->options->timeout_s * 1000;
    pthread_mutex_lock(&pub->lock);
    while ((wanted == 0 || pub->responses < wanted) && now_ms() < end && !is_over(pub) &&
           !pub->output_closed)
        wait_change(pub, end);
    const uint64_t responses = pub->responses;
    pthread_mutex_unlock(&pub->lock);
    if (responses == 0)
        return cli_failed(pub->call, "no response in time");
    if (responses < wanted && !pub->output_closed)
        cli_error(pub->call, "%llu of %llu responses in time", (unsigned long long)responses,
                  (unsigned long long)wanted);
    return CLI_OK;
}

/* ---- the command ---- */

static int publish_all(struct pub *pub, const struct cli_content *content)
{
    const struct pub_options *options = pub->options;
    if (options->delay_s > 0 && !pause_ms(pub, options->delay_s * 1000))
        return CLI_OK;
    if (options->stdin_lines)
        return publish_lines(pub);
    const struct mqtt5_bytes payload =
        options->message != NULL
            ? bytes_of(options->message)
            : (struct mqtt5_bytes){.data = content->data, .len = content->size};
    return publish_repeatedly(pub, payload);
}

/* What is to be said at the end, when nothing was before. */
static int conclude(struct pub *pub)
{
    pthread_mutex_lock(&pub->lock);
    while (pub->ending && !pub->disconnected)
        wait_change(pub, UINT64_MAX);
    pthread_mutex_unlock(&pub->lock);
    if (pub->disconnected)
        return cli_connection_lost(pub->call, pub->client);
    if (pub->failed > ERRORS_SHOWN_MAX)
        cli_error(pub->call, "%llu messages failed in all", (unsigned long long)pub->failed);
    if (pub->failed > 0)
        return CLI_FAILED;
    if (cli_signals_caught() && pub->options->repeat != 0)
        return cli_failed(pub->call, "interrupted");
    return CLI_OK;
}

static int work(struct pub *pub, const struct cli_content *content)
{
    int code = pub->options->wait_response ? prepare_responses(pub) : CLI_OK;
    if (code == CLI_OK)
        code = publish_all(pub, content);
    wait_pending_below(pub, 1);
    if (code == CLI_OK && pub->options->wait_response && pub->failed == 0 && !is_over_now(pub))
        code = await_responses(pub);
    return code == CLI_OK ? conclude(pub) : code;
}

static int connect_and_work(struct pub *pub, const struct cli_content *content)
{
    struct mqtt5_client_config config;
    mqtt5_client_config_init(&config);
    config.on_change = on_change;
    config.ctx = pub;
    if (!cli_connect(pub->call, &pub->options->connection, &config, &pub->client))
        return CLI_FAILED;
    const int code = work(pub, content);
    /* Should this take too long, the server sees the connection end all the same. */
    (void)!mqtt5_client_disconnect(pub->client, NULL, CLI_DISCONNECT_WAIT_MS);
    cli_signals_catch(NULL);
    mqtt5_client_free(pub->client);
    return code;
}

static int check(const struct cli_call *call, const struct pub_options *options)
{
    const int sources = (options->message != NULL) + (options->file != NULL) + options->use_stdin +
                        options->stdin_lines;
    if (options->topic == NULL)
        return cli_usage(call, "--topic is missing: where to publish? (see mqttv5 pub --help)");
    if (sources == 0)
        return cli_usage(call, "what to publish? Give --message, --file, --stdin or "
                               "--stdin-lines");
    if (sources > 1)
        return cli_usage(call, "give one of --message, --file, --stdin and --stdin-lines");
    if (options->stdin_lines && options->repeat == 0)
        return cli_usage(call, "--repeat 0 would never come to the second line");
    static const char *const v5_only[] = {
        "message-expiry-interval", "topic-alias",      "content-type", "user-property",
        "response-topic",          "correlation-data", "wait-response"};
    for (size_t i = 0; i < sizeof v5_only / sizeof *v5_only; i++) {
        if (options->connection.version != MQTT5_VERSION_5 && cli_given(call, v5_only[i]))
            return cli_usage(call, "--%s needs --protocol-version 5", v5_only[i]);
    }
    return cli_connection_check(call, &options->connection);
}

static void init_lock(struct pub *pub)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pub->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&pub->lock, NULL);
}

static int run(const struct cli_call *call)
{
    struct pub pub = {.call = call, .options = call->options};
    struct cli_content content = {0};
    int code = check(call, pub.options);
    if (code == CLI_OK)
        code = make_message(&pub);
    if (code == CLI_OK && (pub.options->file != NULL || pub.options->use_stdin))
        code = read_payload(&pub, &content);
    if (code == CLI_OK) {
        init_lock(&pub);
        code = connect_and_work(&pub, &content);
    }
    free(content.data);
    free(pub.correlation_data);
    free(pub.user_properties);
    return code;
}

const struct cli_command cmd_pub = {
    .name = "pub",
    .summary = "publish messages",
    .usage = "--topic TOPIC --message TEXT [options]",
    .notes = "Examples:\n"
             "  mqttv5 pub --topic sensors/temperature --message 23.5\n"
             "  sensor | mqttv5 pub -t sensors/log --stdin-lines -q 1\n"
             "  mqttv5 pub -t service/add -m '1 2' --wait-response --timeout 5s\n",
    .tables = tables,
    .options_size = sizeof(struct pub_options),
    .run = run,
};
