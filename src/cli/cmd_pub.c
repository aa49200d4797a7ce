/* `mqttv5 pub`: publishes messages, and waits for responses when asked to.
 *
 * Messages are handed to the client as fast as it takes them; only what is not yet complete is
 * bounded. The client has a thread of its own, so that this one may wait for standard input. What
 * was handed over is awaited at the end, after Ctrl+C too: what was read is not lost.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/connection.h"
#include "cli/input.h"
#include "cli/json.h"
#include "cli/print.h"
#include "cli/prompt.h"
#include "cli/property.h"
#include "cli/schedule.h"
#include "cli/text.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FIELD(name)       offsetof(struct pub_options, name)
#define PENDING_MAX       4096u                        /* messages handed over and not complete */
#define PAYLOAD_MAX       (MQTT5_REMAINING_LENGTH_MAX) /* bytes; the exact bound is the client's */
#define SUBSCRIBE_WAIT_MS 30000
#define U32_MAX           4294967295u
#define ERRORS_SHOWN_MAX  5u     /* of refused messages; the rest is only counted */
#define DRAIN_WAIT_MS     5000u  /* after Ctrl+C, for what is under way */
#define LOOK_MS           60000u /* the clock on the wall may be set while --at waits */

struct pub_options {
    struct cli_connection connection;
    const char *topic;
    struct cli_strings messages, files;
    bool use_stdin, stdin_lines, null_message, retain;
    uint64_t qos;
    uint64_t expiry_s, topic_alias;
    const char *response_topic, *correlation_data, *content_type;
    struct cli_strings user_properties;
    bool wait_response;
    uint64_t timeout_s, response_count;
    int output_format; /* enum cli_print_form */
    uint64_t delay_s, repeat, interval_ms;
    const char *at;
    bool stats, json;
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
     .repeatable = true,
     .whole = true,
     .offset = FIELD(messages),
     .value = "TEXT",
     .help = "the payload"},
    {.name = "file",
     .alias = 'f',
     .type = CLI_STRING,
     .repeatable = true,
     .whole = true,
     .offset = FIELD(files),
     .value = "PATH",
     .help = "the payload is what is in this file"},
    {.name = "stdin",
     .alias = 's',
     .synonym = "stdin-file",
     .type = CLI_BOOL,
     .offset = FIELD(use_stdin),
     .help = "the payload is all of standard input"},
    {.name = "stdin-lines",
     .alias = 'l',
     .synonym = "stdin-line",
     .type = CLI_BOOL,
     .offset = FIELD(stdin_lines),
     .help = "each line of standard input is a message"},
    {.name = "null-message",
     .alias = 'n',
     .type = CLI_BOOL,
     .offset = FIELD(null_message),
     .help = "the payload is empty"},
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
    {.name = "at",
     .type = CLI_STRING,
     .offset = FIELD(at),
     .value = "TIME",
     .help = "wait until then: HH:MM or HH:MM:SS (tomorrow, when that is over), or "
             "2026-12-31T23:59:59, with Z or +01:00 behind if you like"},
    {.name = "repeat",
     .type = CLI_INTEGER,
     .offset = FIELD(repeat),
     .value = "N",
     .fallback = "1",
     .help = "publish so often; 0 = until interrupted"},
    {.name = "interval",
     .type = CLI_INTERVAL,
     .max = U32_MAX,
     .offset = FIELD(interval_ms),
     .value = "MS",
     .fallback = "1000",
     .help = "time from one to the next; 0 = as fast as the server takes them"},
    {.group = "Result",
     .name = "stats",
     .type = CLI_BOOL,
     .offset = FIELD(stats),
     .help = "say at the end what was published, and how fast"},
    {.name = "json",
     .type = CLI_BOOL,
     .offset = FIELD(json),
     .help = "the same as a line of JSON on standard output"},
    {0},
};

static const struct cli_option *const tables[] = {
    pub_table, cli_server_options, cli_auth_options, cli_transport_options, cli_connection_options,
    NULL};

static const struct cli_packet_name packets[] = {{"connect", MQTT5_IN_CONNECT},
                                                 {"publish", MQTT5_IN_PUBLISH},
                                                 {"disconnect", MQTT5_IN_DISCONNECT},
                                                 {"will", MQTT5_IN_WILL},
                                                 {NULL, 0}};

/* A publisher at work. What the client's thread touches is guarded by the lock. */
struct pub {
    const struct cli_call *call;
    const struct pub_options *options;
    struct mqtt5_client *client;
    struct mqtt5_publish publish; /* the message, but for its payload */
    struct cli_properties properties;
    uint8_t *correlation_data;
    char response_topic[128];     /* made up, when none was given */
    struct cli_content *contents; /* of files and standard input */
    size_t content_count;
    uint64_t started_ms, handed_over, bytes;
    time_t at;

    pthread_mutex_t lock;
    int wake_fd;  /* written to when something has changed and somebody is waiting */
    bool waiting; /* somebody is */
    uint64_t pending, failed, done, responses;
    uint8_t reason_code; /* of the last acknowledgement */
    bool ending;         /* the connection is over; on_change() will tell, and then why is known */
    bool disconnected;   /* on_change() has told */
    bool output_closed;
};

/* ---- from the client's thread ---- */

static void report_failure(const struct pub *pub, const struct mqtt5_client_result *result)
{
    if (result->error == MQTT5_ERR_REFUSED)
        cli_error(pub->call, "the server refused the message: %s (0x%02X)",
                  cli_reason_text(result->reason_code), result->reason_code);
    else if (result->error != MQTT5_ERR_CLOSED) /* that is told once, for the connection */
        cli_error(pub->call, "cannot publish: %s", mqtt5_error_text(result->error));
}

/* Wakes who waits; the lock is held. */
static void wake(struct pub *pub)
{
    const uint64_t one = 1;
    if (pub->waiting)
        (void)!write(pub->wake_fd, &one, sizeof one);
    pub->waiting = false;
}

static void on_done(void *ctx, const struct mqtt5_client_result *result)
{
    struct pub *pub = ctx;
    pthread_mutex_lock(&pub->lock);
    pub->pending--;
    pub->reason_code = result->reason_code;
    if (result->error == MQTT5_OK)
        pub->done++;
    else if (++pub->failed <= ERRORS_SHOWN_MAX)
        report_failure(pub, result);
    if (result->error == MQTT5_ERR_CLOSED && !pub->options->connection.auto_reconnect)
        pub->ending = true;
    wake(pub);
    pthread_mutex_unlock(&pub->lock);
}

static void on_change(void *ctx, const struct mqtt5_client_change *change)
{
    struct pub *pub = ctx;
    pthread_mutex_lock(&pub->lock);
    pub->disconnected = change->state == MQTT5_CLIENT_DISCONNECTED;
    if (change->state == MQTT5_CLIENT_WAITING || pub->handed_over > 0)
        cli_connection_status(pub->call, &pub->options->connection, pub->client, change);
    wake(pub);
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
    const enum cli_print_form form = (enum cli_print_form)pub->options->output_format;
    const struct cli_print_style style = {.form = form, .properties = form == CLI_PRINT_VERBOSE};
    const uint64_t wanted = pub->options->response_count;
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    pthread_mutex_lock(&pub->lock);
    if (wanted == 0 || pub->responses < wanted) {
        (void)cli_print_message(stdout, message->publish, &style, at);
        pub->responses++;
        pub->output_closed = !cli_print_flush(stdout);
    }
    wake(pub);
    pthread_mutex_unlock(&pub->lock);
}

/* ---- waiting ---- */

/* Waits for a change, for a signal that was not there yet, or for standard input to have something
 * (when @p input), at most until @p until_ms. Lock held; it is open meanwhile. */
static void wait_change(struct pub *pub, uint64_t until_ms, bool input)
{
    struct pollfd look[3] = {{.fd = pub->wake_fd, .events = POLLIN},
                             {.fd = cli_signals_fd(), .events = POLLIN},
                             {.fd = input ? STDIN_FILENO : -1, .events = POLLIN}};
    const uint64_t now = cli_now_ms();
    const uint64_t left = until_ms > now ? until_ms - now : 0;
    uint64_t count;
    if (cli_signals_caught())
        look[1].fd = -1; /* it stays readable */
    pub->waiting = true;
    pthread_mutex_unlock(&pub->lock);
    (void)poll(look, 3, until_ms == UINT64_MAX ? -1 : left < LOOK_MS ? (int)left : (int)LOOK_MS);
    pthread_mutex_lock(&pub->lock);
    pub->waiting = false;
    if (look[0].revents != 0)
        (void)!read(pub->wake_fd, &count, sizeof count);
}

static bool is_gone(const struct pub *pub)
{
    return pub->ending || pub->disconnected;
}

static bool is_over(const struct pub *pub)
{
    return is_gone(pub) || cli_signals_caught();
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
        wait_change(pub, UINT64_MAX, false);
    const bool reached = pub->pending < count;
    pthread_mutex_unlock(&pub->lock);
    return reached;
}

/* Waits until all that was handed over is complete: as long as the connection lives, but after a
 * signal for a while only. */
static void drain(struct pub *pub)
{
    uint64_t end = UINT64_MAX;
    pthread_mutex_lock(&pub->lock);
    while (pub->pending > 0 && !is_gone(pub) && cli_now_ms() < end) {
        if (cli_signals_caught() && end == UINT64_MAX)
            end = cli_now_ms() + DRAIN_WAIT_MS;
        wait_change(pub, end, false);
    }
    pthread_mutex_unlock(&pub->lock);
}

/* Waits until @p end of cli_now_ms(). False when it is over before. */
static bool pause_until(struct pub *pub, uint64_t end)
{
    pthread_mutex_lock(&pub->lock);
    while (cli_now_ms() < end && !is_over(pub))
        wait_change(pub, end, false);
    pthread_mutex_unlock(&pub->lock);
    return !is_over_now(pub);
}

/* Waits until the clock on the wall says @p at. */
static bool pause_until_time(struct pub *pub, time_t at)
{
    struct timespec now;
    while (clock_gettime(CLOCK_REALTIME, &now) == 0 && now.tv_sec < at) {
        const uint64_t left_ms =
            (uint64_t)(at - now.tv_sec) * 1000 - (uint64_t)now.tv_nsec / 1000000;
        if (!pause_until(pub, cli_now_ms() + (left_ms < LOOK_MS ? left_ms : LOOK_MS)))
            return false;
    }
    return true;
}

/* ---- the message ---- */

#define SET_TEXT(properties, NAME, field, text) \
    do {                                        \
        MQTT5_SET(properties, NAME);            \
        (properties)->field = cli_bytes(text);  \
    } while (0)

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
    int code = cli_properties_set(pub->call, &options->connection.properties, "publish",
                                  &options->user_properties, &pub->properties);
    *properties = pub->properties.set;
    if (code != CLI_OK)
        return code;
    pub->publish.topic = cli_bytes(options->topic);
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
    return set_correlation(pub, properties);
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
        if (error == MQTT5_OK) {
            pub->handed_over++;
            pub->bytes += payload.len;
            return CLI_OK;
        }
        pthread_mutex_lock(&pub->lock);
        pub->pending--;
        pthread_mutex_unlock(&pub->lock);
        if (error == MQTT5_ERR_QUEUE_FULL && pending_max <= 1)
            return cli_failed(pub->call, "the message is larger than this client queues");
        pending_max--; /* full by bytes: wait for one of the others to be complete */
    }
    return error == MQTT5_ERR_QUEUE_FULL ? CLI_OK : report_refusal(pub, error);
}

/* Publishes each of @p payloads, and all of them again as --repeat and --interval say. */
static int publish_repeatedly(struct pub *pub, const struct mqtt5_bytes *payloads, size_t count)
{
    const struct pub_options *options = pub->options;
    const uint64_t start = cli_now_ms();
    int code = CLI_OK;
    for (uint64_t i = 0; options->repeat == 0 || i < options->repeat; i++) {
        if (!pause_until(pub, cli_step_due(start, options->interval_ms, i)))
            break;
        for (size_t j = 0; code == CLI_OK && j < count && !is_over_now(pub); j++)
            code = publish(pub, payloads[j]);
        if (code != CLI_OK || is_over_now(pub))
            break;
    }
    return code;
}

/* ---- standard input ---- */

/* Bytes read of standard input, of which the lines before `at` have been taken. */
struct lines {
    struct cli_content content;
    size_t at;
    bool at_end;
};

/* Reads more, when there is more; false when it is over before. errno tells of a failed read. */
static bool read_more(struct pub *pub, struct lines *lines)
{
    pthread_mutex_lock(&pub->lock);
    wait_change(pub, UINT64_MAX, true);
    const bool over = is_over(pub);
    pthread_mutex_unlock(&pub->lock);
    if (over)
        return false;
    if (lines->at > 0) {
        memmove(lines->content.data, lines->content.data + lines->at,
                lines->content.size - lines->at);
        lines->content.size -= lines->at;
        lines->at = 0;
    }
    errno = 0;
    return cli_read_some(STDIN_FILENO, PAYLOAD_MAX, &lines->content, &lines->at_end);
}

/* Takes a line, without its end. False when there is none any more, or it is over. */
static bool next_line(struct pub *pub, struct lines *lines, struct mqtt5_bytes *out)
{
    size_t seen = 0; /* bytes that have no end of a line among them */
    for (;;) {
        const uint8_t *start = lines->content.data + lines->at;
        const size_t left = lines->content.size - lines->at;
        const uint8_t *end = left > seen ? memchr(start + seen, '\n', left - seen) : NULL;
        if (end != NULL || (lines->at_end && left > 0)) {
            out->data = start;
            out->len = end != NULL ? (size_t)(end - start) : left;
            lines->at += out->len + (end != NULL);
            return true;
        }
        seen = left;
        if (lines->at_end || !read_more(pub, lines))
            return false;
    }
}

static int publish_lines(struct pub *pub)
{
    struct lines lines = {.at = 0};
    struct mqtt5_bytes line;
    int code = CLI_OK;
    errno = 0;
    while (code == CLI_OK && !is_over_now(pub) && next_line(pub, &lines, &line))
        code = publish_repeatedly(pub, &line, 1);
    if (code == CLI_OK && !lines.at_end && !is_over_now(pub))
        code = cli_failed(pub->call, "cannot read standard input: %s", strerror(errno));
    free(lines.content.data);
    return code;
}

static int read_payload(const struct pub *pub, const char *path, struct cli_content *content)
{
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

/* Reads the files, or all of standard input, before there is a connection. */
static int read_payloads(struct pub *pub)
{
    const struct cli_strings *files = &pub->options->files;
    const size_t count = pub->options->use_stdin ? 1 : files->count;
    int code = CLI_OK;
    pub->contents = calloc(count + 1, sizeof *pub->contents);
    if (pub->contents == NULL)
        return cli_failed(pub->call, "out of memory");
    while (code == CLI_OK && pub->content_count < count) {
        const char *path = pub->options->use_stdin ? NULL : files->items[pub->content_count];
        code = read_payload(pub, path, &pub->contents[pub->content_count++]);
    }
    return code;
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
                                  (unsigned long long)cli_now_ms());
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
    const uint64_t end = cli_now_ms() + pub->options->timeout_s * 1000;
    pthread_mutex_lock(&pub->lock);
    while ((wanted == 0 || pub->responses < wanted) && cli_now_ms() < end && !is_over(pub) &&
           !pub->output_closed)
        wait_change(pub, end, false);
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

/* Every payload that is known beforehand. */
static int publish_known(struct pub *pub)
{
    const struct pub_options *options = pub->options;
    const size_t count = options->null_message ? 1 : options->messages.count + pub->content_count;
    struct mqtt5_bytes *payloads = calloc(count, sizeof *payloads);
    size_t used = 0;
    if (payloads == NULL)
        return cli_failed(pub->call, "out of memory");
    for (size_t i = 0; i < options->messages.count; i++)
        payloads[used++] = cli_bytes(options->messages.items[i]);
    for (size_t i = 0; i < pub->content_count; i++)
        payloads[used++] =
            (struct mqtt5_bytes){.data = pub->contents[i].data, .len = pub->contents[i].size};
    const int code = publish_repeatedly(pub, payloads, count);
    free(payloads);
    return code;
}

static int publish_all(struct pub *pub)
{
    const struct pub_options *options = pub->options;
    if (options->delay_s > 0 && !pause_until(pub, cli_now_ms() + options->delay_s * 1000))
        return CLI_OK;
    if (options->at != NULL && !pause_until_time(pub, pub->at))
        return CLI_OK;
    pub->started_ms = cli_now_ms();
    return options->stdin_lines ? publish_lines(pub) : publish_known(pub);
}

/* What is to be said at the end, when nothing was before. */
static int conclude(struct pub *pub)
{
    pthread_mutex_lock(&pub->lock);
    while (pub->ending && !pub->disconnected)
        wait_change(pub, UINT64_MAX, false);
    const bool disconnected = pub->disconnected;
    const uint64_t pending = pub->pending, failed = pub->failed;
    pthread_mutex_unlock(&pub->lock);
    if (disconnected)
        return cli_connection_lost(pub->call, pub->client);
    if (failed > ERRORS_SHOWN_MAX)
        cli_error(pub->call, "%llu messages failed in all", (unsigned long long)failed);
    if (failed > 0)
        return CLI_FAILED;
    if (pending > 0)
        return cli_failed(pub->call, "interrupted: %llu messages are not acknowledged",
                          (unsigned long long)pending);
    if (cli_signals_caught() && pub->options->repeat != 0)
        return cli_failed(pub->call, "interrupted");
    return CLI_OK;
}

static void report_stats(struct pub *pub, uint64_t elapsed_ms)
{
    const double seconds = (double)elapsed_ms / 1000;
    pthread_mutex_lock(&pub->lock);
    if (pub->options->stats)
        cli_status("%llu messages published, %llu failed, %llu bytes, %.3f s, %.0f messages/s",
                   (unsigned long long)pub->done, (unsigned long long)pub->failed,
                   (unsigned long long)pub->bytes, seconds,
                   seconds > 0 ? (double)pub->done / seconds : 0.0);
    if (pub->options->json) {
        printf("{\"published\":%llu,\"failed\":%llu,\"bytes\":%llu,\"elapsed_s\":%.3f,"
               "\"responses\":%llu,\"reason_code\":%u,\"reason\":",
               (unsigned long long)pub->done, (unsigned long long)pub->failed,
               (unsigned long long)pub->bytes, seconds, (unsigned long long)pub->responses,
               (unsigned)pub->reason_code);
        cli_json_string(stdout, cli_bytes(cli_reason_text(pub->reason_code)));
        puts("}");
    }
    pthread_mutex_unlock(&pub->lock);
}

static int work(struct pub *pub)
{
    int code = pub->options->wait_response ? prepare_responses(pub) : CLI_OK;
    if (code == CLI_OK)
        code = publish_all(pub);
    drain(pub);
    const uint64_t elapsed_ms = pub->started_ms > 0 ? cli_now_ms() - pub->started_ms : 0;
    if (code == CLI_OK && pub->options->wait_response && pub->failed == 0 && !is_over_now(pub))
        code = await_responses(pub);
    if (code == CLI_OK)
        code = conclude(pub);
    report_stats(pub, elapsed_ms);
    return code;
}

static int connect_and_work(struct pub *pub)
{
    struct mqtt5_client_options config;
    mqtt5_client_options_init(&config);
    config.on_change = on_change;
    config.ctx = pub;
    if (!cli_connect(pub->call, &pub->options->connection, &config, &pub->client))
        return CLI_FAILED;
    const int code = work(pub);
    cli_disconnect(pub->call, &pub->options->connection, pub->client);
    cli_signals_catch(NULL);
    mqtt5_client_free(pub->client);
    return code;
}

static int check_sources(const struct cli_call *call, const struct pub_options *options)
{
    const int sources = (options->messages.count > 0) + (options->files.count > 0) +
                        options->use_stdin + options->stdin_lines + options->null_message;
    if (sources == 0)
        return cli_usage(call, "what to publish? Give --message, --file, --stdin, --stdin-lines "
                               "or --null-message");
    if (sources > 1)
        return cli_usage(call, "give one of --message, --file, --stdin, --stdin-lines and "
                               "--null-message");
    if (options->stdin_lines && options->repeat == 0)
        return cli_usage(call, "--repeat 0 would never come to the second line");
    return CLI_OK;
}

static int check_time(struct pub *pub)
{
    const struct pub_options *options = pub->options;
    if (options->at == NULL)
        return CLI_OK;
    if (options->delay_s > 0)
        return cli_usage(pub->call, "give one of --at and --delay");
    switch (cli_at_read(options->at, time(NULL), &pub->at)) {
    case CLI_AT_OK: return CLI_OK;
    case CLI_AT_PAST: return cli_usage(pub->call, "--at %s is over", options->at);
    case CLI_AT_UNREADABLE: break;
    }
    return cli_usage(pub->call, "--at wants HH:MM, HH:MM:SS or 2026-12-31T23:59:59, not \"%s\"",
                     options->at);
}

static int check(struct pub *pub)
{
    const struct cli_call *call = pub->call;
    const struct pub_options *options = pub->options;
    if (options->topic == NULL)
        return cli_usage(call, "--topic is missing: where to publish? (see mqttv5 pub --help)");
    static const char *const v5_only[] = {
        "message-expiry-interval", "topic-alias",      "content-type", "user-property",
        "response-topic",          "correlation-data", "wait-response"};
    for (size_t i = 0; i < sizeof v5_only / sizeof *v5_only; i++) {
        if (options->connection.version != MQTT5_VERSION_5 && cli_given(call, v5_only[i]))
            return cli_usage(call, "--%s needs --protocol-version 5", v5_only[i]);
    }
    int code = check_sources(call, options);
    if (code == CLI_OK)
        code = check_time(pub);
    return code == CLI_OK ? cli_connection_check(call, &options->connection, packets) : code;
}

/* Asks for what is missing, where there is somebody. The answers live as long as the process. */
static int complete(const struct cli_call *call, struct pub_options *options)
{
    static char url[CLI_URL_SIZE], topic[CLI_URL_SIZE];
    static char *topic_answer, *message_answer;
    const int code =
        cli_connection_url(call, &options->connection, url, options->topic == NULL ? topic : NULL);
    if (code != CLI_OK)
        return code;
    if (topic[0] != 0)
        options->topic = topic;
    const bool has_source = options->messages.count > 0 || options->files.count > 0 ||
                            options->use_stdin || options->stdin_lines || options->null_message;
    if ((options->topic != NULL && has_source) || !cli_can_ask(&options->connection))
        return CLI_OK;
    if (options->topic == NULL &&
        (options->topic = topic_answer = cli_ask("Topic", NULL, cli_check_topic_name)) == NULL)
        return cli_failed(call, "no answer");
    if (!has_source) {
        message_answer = cli_ask("Message", NULL, NULL);
        options->messages.items = malloc(sizeof *options->messages.items);
        if (message_answer == NULL || options->messages.items == NULL)
            return cli_failed(call, "no answer");
        options->messages.items[options->messages.count++] = message_answer;
    }
    char *qos = cli_given(call, "qos") ? NULL : cli_ask("Quality of service", "0", cli_check_qos);
    if (qos != NULL)
        options->qos = (uint64_t)(qos[0] - '0');
    free(qos);
    return CLI_OK;
}

static int prepare_and_work(struct pub *pub)
{
    int code = check(pub);
    if (code == CLI_OK)
        code = make_message(pub);
    if (code == CLI_OK && (pub->options->files.count > 0 || pub->options->use_stdin))
        code = read_payloads(pub);
    if (code != CLI_OK)
        return code;
    pub->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pub->wake_fd < 0)
        return cli_failed(pub->call, "no descriptor is left: %s", strerror(errno));
    pthread_mutex_init(&pub->lock, NULL);
    code = connect_and_work(pub);
    close(pub->wake_fd);
    return code;
}

static int run(const struct cli_call *call)
{
    struct pub_options *options = call->options;
    struct pub pub = {.call = call, .options = options};
    int code = complete(call, options);
    if (code == CLI_OK)
        code = prepare_and_work(&pub);
    for (size_t i = 0; i < pub.content_count; i++)
        free(pub.contents[i].data);
    free(pub.contents);
    free(pub.correlation_data);
    cli_properties_free(&pub.properties);
    return code;
}

const struct cli_command cmd_pub = {
    .name = "pub",
    .summary = "publish messages",
    .usage = "--topic TOPIC --message TEXT [options]",
    .notes = "Examples:\n"
             "  mqttv5 pub --topic sensors/temperature --message 23.5\n"
             "  sensor | mqttv5 pub -t sensors/log --stdin-lines -q 1\n"
             "  mqttv5 pub -t service/add -m '1 2' --wait-response --timeout 5s\n"
             "  mqttv5 pub -t door -m open -q 2 --at 18:30 --auto-reconnect\n"
             "  mqttv5 pub -L mqtt://me:secret@host/a/topic -n -r\n"
             "\n"
             "At the end everything that was read has been handed to the server, and\n"
             "at QoS 1 and 2 acknowledged. Ctrl+C stops the reading and waits 5 s for\n"
             "what is under way; a second one ends at once.\n",
    .tables = tables,
    .options_size = sizeof(struct pub_options),
    .run = run,
};
