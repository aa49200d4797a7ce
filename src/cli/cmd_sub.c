/* `mqttv5 sub`: subscribes, and prints what arrives. Payloads go to standard output, all else to
 * standard error.
 *
 * What was printed is handed on when there is nothing more to read, so that a burst costs few
 * writes; a message of QoS 1 or 2 before it is acknowledged, so that none is lost on the way.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/connection.h"
#include "cli/print.h"
#include "cli/prompt.h"
#include "cli/property.h"
#include "cli/text.h"

#include <mqtt5/topic.h>

#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELD(name)       offsetof(struct sub_options, name)
#define SUBSCRIBE_WAIT_MS 30000
#define PROCESS_WAIT_MS   1000 /* only a bound: whatever happens ends the wait */
#define IDENTIFIER_MAX    268435455u
#define OUTPUT_SIZE       65536u
#define REMOVALS_MAX      1000u /* retained messages being removed; more wait */

struct sub_options {
    struct cli_connection connection;
    struct cli_strings topics, unsubscribe, filter_out;
    uint64_t qos, count, retain_handling, identifier, timeout_s;
    const char *format;
    bool verbose, properties, json, hex, base64, no_line_end;
    bool no_local, retain_as_published;
    bool no_retained, retained_only, remove_retained, exit_after_subscribe;
};

static const struct cli_option sub_table[] = {
    {.group = "Subscription",
     .name = "topic",
     .alias = 't',
     .type = CLI_STRING,
     .repeatable = true,
     .offset = FIELD(topics),
     .value = "FILTER",
     .help = "what to subscribe to, with + and # as wildcards"},
    {.name = "qos",
     .alias = 'q',
     .type = CLI_INTEGER,
     .max = 2,
     .offset = FIELD(qos),
     .value = "QOS",
     .fallback = "0",
     .help = "highest QoS to receive with: 0, 1 or 2"},
    {.name = "no-local",
     .type = CLI_BOOL,
     .offset = FIELD(no_local),
     .help = "not what this client publishes itself"},
    {.name = "retain-handling",
     .type = CLI_INTEGER,
     .max = 2,
     .offset = FIELD(retain_handling),
     .value = "N",
     .fallback = "0",
     .help = "retained messages: 0 = send, 1 = for a new subscription, 2 = do not send"},
    {.name = "retain-as-published",
     .type = CLI_BOOL,
     .offset = FIELD(retain_as_published),
     .help = "show the retain flag as the publisher has set it"},
    {.name = "subscription-identifier",
     .type = CLI_INTEGER,
     .min = 1,
     .max = IDENTIFIER_MAX,
     .offset = FIELD(identifier),
     .value = "N",
     .help = "a number that comes back with every message"},
    {.name = "unsubscribe",
     .type = CLI_STRING,
     .repeatable = true,
     .offset = FIELD(unsubscribe),
     .value = "FILTER",
     .help = "take a subscription of a session that goes on away, before all else"},
    {.group = "Which messages, and how long",
     .name = "filter-out",
     .alias = 'T',
     .type = CLI_STRING,
     .repeatable = true,
     .offset = FIELD(filter_out),
     .value = "FILTER",
     .help = "pass over messages whose topics match"},
    {.name = "no-retained",
     .alias = 'R',
     .type = CLI_BOOL,
     .offset = FIELD(no_retained),
     .help = "pass over retained messages"},
    {.name = "retained-only",
     .type = CLI_BOOL,
     .offset = FIELD(retained_only),
     .help = "print retained messages, and end at the first that is not"},
    {.name = "remove-retained",
     .type = CLI_BOOL,
     .offset = FIELD(remove_retained),
     .help = "remove each retained message that comes, unless --filter-out matches it"},
    {.name = "count",
     .alias = 'n',
     .also = 'C',
     .type = CLI_INTEGER,
     .offset = FIELD(count),
     .value = "N",
     .fallback = "0",
     .help = "end after so many messages; 0 = never"},
    {.name = "timeout",
     .alias = 'W',
     .type = CLI_SECONDS,
     .max = 4294967,
     .offset = FIELD(timeout_s),
     .value = "TIME",
     .fallback = "0",
     .help = "end after so long, with exit status 27; 0 = never"},
    {.name = "exit-after-subscribe",
     .alias = 'E',
     .type = CLI_BOOL,
     .offset = FIELD(exit_after_subscribe),
     .help = "end when the subscriptions are acknowledged"},
    {.group = "Output",
     .name = "verbose",
     .alias = 'v',
     .type = CLI_BOOL,
     .offset = FIELD(verbose),
     .help = "print \"topic: payload\""},
    {.name = "format",
     .alias = 'F',
     .type = CLI_STRING,
     .offset = FIELD(format),
     .value = "FORMAT",
     .help = "print by a format, as described below"},
    {.name = "json",
     .type = CLI_BOOL,
     .offset = FIELD(json),
     .help = "print each message as a line of JSON, with all there is to know"},
    {.name = "hex",
     .type = CLI_BOOL,
     .offset = FIELD(hex),
     .help = "print payloads in hexadecimal"},
    {.name = "base64",
     .type = CLI_BOOL,
     .offset = FIELD(base64),
     .help = "print payloads in Base64"},
    {.name = "show-properties",
     .alias = 's',
     .type = CLI_BOOL,
     .offset = FIELD(properties),
     .help = "print the properties of each message below it"},
    {.name = "no-line-end",
     .alias = 'N',
     .type = CLI_BOOL,
     .offset = FIELD(no_line_end),
     .help = "print no line feed after a message"},
    {0},
};

static const struct cli_option *const tables[] = {
    sub_table, cli_server_options, cli_auth_options, cli_transport_options, cli_connection_options,
    NULL};

static const struct cli_packet_name packets[] = {{"connect", MQTT5_IN_CONNECT},
                                                 {"subscribe", MQTT5_IN_SUBSCRIBE},
                                                 {"unsubscribe", MQTT5_IN_UNSUBSCRIBE},
                                                 {"disconnect", MQTT5_IN_DISCONNECT},
                                                 {"will", MQTT5_IN_WILL},
                                                 {NULL, 0}};

/* A subscription at work. */
struct sub {
    const struct cli_call *call;
    const struct sub_options *options;
    struct mqtt5_client *client;
    struct cli_print_style style;
    uint64_t received;
    uint64_t end_ms;    /* of --timeout; UINT64_MAX: none */
    uint32_t removing;  /* retained messages whose removal is not acknowledged */
    bool output_closed; /* nobody reads standard output any more */
    bool output_dirty;  /* something was printed and not handed on */
    bool not_retained;  /* --retained-only has seen its last */
    bool connected, over, subscribed, failed;
};

static bool has_timed_out(const struct sub *sub)
{
    return sub->end_ms != UINT64_MAX && cli_now_ms() >= sub->end_ms;
}

/* Whether the user has had what was asked for. */
static bool has_enough(const struct sub *sub)
{
    return sub->output_closed || sub->not_retained || cli_signals_caught() ||
           (sub->options->exit_after_subscribe && sub->subscribed) ||
           (sub->options->count > 0 && sub->received >= sub->options->count);
}

/* ---- messages ---- */

static bool is_filtered_out(const struct sub_options *options, struct mqtt5_bytes topic)
{
    for (size_t i = 0; i < options->filter_out.count; i++) {
        if (mqtt5_filter_matches(cli_bytes(options->filter_out.items[i]), topic))
            return true;
    }
    return false;
}

static void on_removed(void *ctx, const struct mqtt5_client_result *result)
{
    struct sub *sub = ctx;
    sub->removing--;
    if (result->error == MQTT5_ERR_REFUSED)
        cli_error(sub->call, "the server did not remove a retained message: %s (0x%02X)",
                  cli_reason_text(result->reason_code), result->reason_code);
    sub->failed |= result->error != MQTT5_OK;
}

/* A retained message is removed by an empty one [MQTT-3.3.1-6]. */
static void remove_retained(struct sub *sub, struct mqtt5_bytes topic)
{
    const struct mqtt5_publish empty = {.topic = topic, .qos = 1, .retain = true};
    const enum mqtt5_error error = mqtt5_client_publish_async(sub->client, &empty, on_removed, sub);
    if (error == MQTT5_OK) {
        sub->removing++;
        return;
    }
    cli_error(sub->call, "cannot remove the retained message of %.*s: %s", (int)topic.len,
              (const char *)topic.data, mqtt5_error_text(error));
    sub->failed = true;
}

static void flush(struct sub *sub)
{
    sub->output_dirty = false;
    if (!cli_print_flush(stdout))
        sub->output_closed = true;
}

static void print(struct sub *sub, const struct mqtt5_publish *message)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (!cli_print_message(stdout, message, &sub->style, at))
        cli_error(sub->call, "the payload on topic %.*s is no JSON", (int)message->topic.len,
                  (const char *)message->topic.data);
    sub->output_dirty = true;
    sub->received++;
}

static void on_message(void *ctx, const struct mqtt5_message *message)
{
    struct sub *sub = ctx;
    const struct sub_options *options = sub->options;
    const struct mqtt5_publish *publish = message->publish;
    if (has_enough(sub) || is_filtered_out(options, publish->topic))
        return;
    if (publish->retain && options->remove_retained)
        remove_retained(sub, publish->topic);
    sub->not_retained = options->retained_only && !publish->retain;
    if (!sub->not_retained && !(publish->retain && options->no_retained))
        print(sub, publish);
    if (publish->qos > 0 || has_enough(sub))
        flush(sub);
    /* Now, not later: what came along in the same bytes is then neither acknowledged nor lost. */
    if (has_enough(sub) && sub->removing == 0)
        (void)!mqtt5_client_disconnect_async(sub->client, NULL);
}

static void on_change(void *ctx, const struct mqtt5_client_change *change)
{
    struct sub *sub = ctx;
    sub->connected = change->state == MQTT5_CLIENT_CONNECTED;
    sub->over = change->state == MQTT5_CLIENT_DISCONNECTED;
    if (sub->subscribed)
        cli_connection_status(sub->call, &sub->options->connection, sub->client, change);
}

static void on_refused(void *ctx, struct mqtt5_bytes filter, uint8_t reason_code)
{
    struct sub *sub = ctx;
    cli_error(sub->call, "the server refused %.*s: %s (0x%02X)", (int)filter.len,
              (const char *)filter.data, cli_reason_text(reason_code), reason_code);
}

/* ---- subscribing ---- */

static int report_grants(const struct sub *sub, const struct cli_strings *filters,
                         const uint8_t *reasons, const char *done)
{
    size_t granted = 0;
    for (size_t i = 0; i < filters->count; i++) {
        if (reasons[i] >= 0x80) {
            cli_error(sub->call, "the server refused %s: %s (0x%02X)", filters->items[i],
                      cli_reason_text(reasons[i]), reasons[i]);
            continue;
        }
        granted++;
        if (sub->options->connection.quiet)
            continue;
        if (filters == &sub->options->topics)
            cli_status("%s %s (QoS %u)", done, filters->items[i], (unsigned)reasons[i]);
        else
            cli_status("%s %s", done, filters->items[i]);
    }
    return granted > 0 ? CLI_OK : CLI_FAILED;
}

/* Says what became of a SUBSCRIBE or UNSUBSCRIBE. */
static int judge(const struct sub *sub, enum mqtt5_error error, const struct cli_strings *filters,
                 const uint8_t *reasons, const char *done)
{
    if (error == MQTT5_OK || error == MQTT5_ERR_REFUSED)
        return report_grants(sub, filters, reasons, done);
    if (has_enough(sub))
        return CLI_OK; /* a session that goes on brought it before the SUBACK */
    if (!sub->connected)
        return cli_connection_lost(sub->call, sub->client);
    return cli_failed(sub->call, "cannot %s: %s",
                      filters == &sub->options->topics ? "subscribe" : "unsubscribe",
                      mqtt5_error_text(error));
}

static enum mqtt5_error send_subscribe(struct sub *sub, const struct mqtt5_properties *properties,
                                       uint8_t *reasons)
{
    const struct sub_options *options = sub->options;
    struct mqtt5_subscription_request *items = calloc(options->topics.count, sizeof *items);
    if (items == NULL)
        return MQTT5_ERR_NOMEM;
    for (size_t i = 0; i < options->topics.count; i++) {
        items[i] = (struct mqtt5_subscription_request){
            .filter = cli_bytes(options->topics.items[i]),
            .qos = (uint8_t)options->qos,
            .no_local = options->no_local,
            .retain_as_published = options->retain_as_published,
            .retain_handling = (uint8_t)options->retain_handling,
        };
    }
    struct mqtt5_subscribe request = {
        .count = (uint32_t)options->topics.count, .items = items, .properties = *properties};
    if (options->identifier > 0) {
        MQTT5_SET(&request.properties, SUBSCRIPTION_IDENTIFIER);
        request.properties.subscription_identifier = (uint32_t)options->identifier;
    }
    const enum mqtt5_error error =
        mqtt5_client_subscribe(sub->client, &request, NULL, NULL, SUBSCRIBE_WAIT_MS, reasons);
    free(items);
    return error;
}

static enum mqtt5_error send_unsubscribe(struct sub *sub, const struct mqtt5_properties *properties,
                                         uint8_t *reasons)
{
    const struct cli_strings *filters = &sub->options->unsubscribe;
    struct mqtt5_bytes *items = calloc(filters->count, sizeof *items);
    if (items == NULL)
        return MQTT5_ERR_NOMEM;
    for (size_t i = 0; i < filters->count; i++)
        items[i] = cli_bytes(filters->items[i]);
    const struct mqtt5_unsubscribe request = {
        .count = (uint32_t)filters->count, .items = items, .properties = *properties};
    const enum mqtt5_error error =
        mqtt5_client_unsubscribe(sub->client, &request, SUBSCRIBE_WAIT_MS, reasons);
    free(items);
    return error;
}

typedef enum mqtt5_error send_fn(struct sub *sub, const struct mqtt5_properties *properties,
                                 uint8_t *reasons);

/* Sends one of the two for all of @p filters. */
static int request(struct sub *sub, const struct cli_strings *filters, send_fn *send,
                   const char *packet, const char *done)
{
    struct cli_properties properties = {0};
    uint8_t *reasons = calloc(filters->count + 1, 1);
    int code = cli_properties_set(sub->call, &sub->options->connection.properties, packet, NULL,
                                  &properties);
    if (reasons == NULL)
        code = cli_failed(sub->call, "out of memory");
    if (code == CLI_OK)
        code = judge(sub, send(sub, &properties.set, reasons), filters, reasons, done);
    cli_properties_free(&properties);
    free(reasons);
    return code;
}

static int subscribe(struct sub *sub)
{
    const struct sub_options *options = sub->options;
    int code = CLI_OK;
    if (options->unsubscribe.count > 0)
        code = request(sub, &options->unsubscribe, send_unsubscribe, "unsubscribe",
                       "Unsubscribed from");
    if (code == CLI_OK && options->topics.count > 0 && !has_enough(sub))
        code = request(sub, &options->topics, send_subscribe, "subscribe", "Subscribed to");
    sub->subscribed = true;
    return code;
}

/* ---- the command ---- */

/* Looks whether the reader of a pipe has gone, though nothing was written to it meanwhile. */
static void look_at_output(struct sub *sub)
{
    struct pollfd output = {.fd = STDOUT_FILENO};
    if (poll(&output, 1, 0) > 0 && (output.revents & POLLERR) != 0)
        sub->output_closed = true;
}

/* How long the client may wait for its server before something is due. */
static uint32_t wait_ms(const struct sub *sub)
{
    const uint64_t now = cli_now_ms();
    const uint64_t left = sub->end_ms > now ? sub->end_ms - now : 0;
    return left < PROCESS_WAIT_MS ? (uint32_t)left : PROCESS_WAIT_MS;
}

/* The removals that are under way are waited for, if that does not take for ever. */
static void finish_removals(struct sub *sub)
{
    const uint64_t end = cli_now_ms() + CLI_DISCONNECT_WAIT_MS;
    while (sub->removing > 0 && sub->connected && cli_now_ms() < end &&
           mqtt5_client_process(sub->client, PROCESS_WAIT_MS) == MQTT5_OK)
        continue;
}

static int receive(struct sub *sub)
{
    int code = has_enough(sub) ? CLI_OK : subscribe(sub);
    while (code == CLI_OK && !sub->over && !has_enough(sub) && !has_timed_out(sub)) {
        if (sub->output_dirty)
            flush(sub);
        else if (mqtt5_client_process(sub->client, wait_ms(sub)) != MQTT5_OK)
            return cli_failed(sub->call, "the client cannot go on");
        look_at_output(sub);
    }
    finish_removals(sub);
    flush(sub);
    if (code == CLI_OK && sub->over && !has_enough(sub))
        return cli_connection_lost(sub->call, sub->client);
    if (code == CLI_OK && !has_enough(sub)) {
        if (!sub->options->connection.quiet)
            cli_status("Timed out");
        return CLI_TIMED_OUT;
    }
    return code == CLI_OK && sub->failed ? CLI_FAILED : code;
}

static int check_output(const struct cli_call *call, const struct sub_options *options)
{
    if (options->json && (options->verbose || options->properties))
        return cli_usage(call, "--json shows everything already: leave --verbose and "
                               "--show-properties out");
    if (options->json && (options->format != NULL || options->hex || options->base64))
        return cli_usage(call, "--json has a form of its own: leave --format, --hex and --base64 "
                               "out");
    if (options->hex && options->base64)
        return cli_usage(call, "give one of --hex and --base64");
    if (options->format != NULL && (options->hex || options->base64))
        return cli_usage(call, "--format says how the payload is printed: %%x is hexadecimal");
    if (options->no_retained && options->retained_only)
        return cli_usage(call, "--no-retained and --retained-only leave nothing to print");
    return CLI_OK;
}

static int check_filters(const struct cli_call *call, const struct cli_strings *filters,
                         const char *flag)
{
    for (size_t i = 0; i < filters->count; i++) {
        const char *why = cli_check_topic_filter(filters->items[i]);
        if (why != NULL)
            return cli_usage(call, "%s %s: %s", flag, filters->items[i], why);
    }
    return CLI_OK;
}

static int check(const struct cli_call *call, const struct sub_options *options)
{
    const bool v5 = options->connection.version == MQTT5_VERSION_5;
    if (options->topics.count == 0 && options->unsubscribe.count == 0)
        return cli_usage(call, "--topic is missing: what to subscribe to? (see mqttv5 sub --help)");
    if (!v5 && (options->no_local || options->retain_as_published || options->identifier > 0 ||
                options->retain_handling > 0))
        return cli_usage(call, "subscription options need --protocol-version 5");
    int code = check_output(call, options);
    if (code == CLI_OK)
        code = check_filters(call, &options->topics, "--topic");
    if (code == CLI_OK)
        code = check_filters(call, &options->unsubscribe, "--unsubscribe");
    if (code == CLI_OK)
        code = check_filters(call, &options->filter_out, "--filter-out");
    return code == CLI_OK ? cli_connection_check(call, &options->connection, packets) : code;
}

/* Adds @p text, which is kept to the end of the process. */
static bool add_topic(struct cli_strings *topics, const char *text)
{
    const char **items = realloc(topics->items, (topics->count + 1) * sizeof *items);
    if (items == NULL)
        return false;
    topics->items = items;
    items[topics->count++] = text;
    return true;
}

/* Asks for what is missing, where there is somebody. */
static int complete(const struct cli_call *call, struct sub_options *options)
{
    static char url[CLI_URL_SIZE], topic[CLI_URL_SIZE];
    int code = cli_connection_url(call, &options->connection, url, topic);
    if (code != CLI_OK)
        return code;
    if (topic[0] != 0 && !add_topic(&options->topics, topic))
        return cli_failed(call, "out of memory");
    if (options->topics.count > 0 || options->unsubscribe.count > 0 ||
        !cli_can_ask(&options->connection))
        return CLI_OK;
    static char *answer, *qos; /* for the life of the process */
    answer = cli_ask("Topic filter", NULL, cli_check_topic_filter);
    if (answer == NULL || !add_topic(&options->topics, answer))
        return cli_failed(call, "no answer");
    qos = cli_given(call, "qos") ? NULL : cli_ask("Quality of service", "0", cli_check_qos);
    if (qos != NULL)
        options->qos = (uint64_t)(qos[0] - '0');
    return CLI_OK;
}

static struct cli_print_style style_of(const struct sub_options *options,
                                       const struct cli_format *format)
{
    return (struct cli_print_style){
        .form = options->json             ? CLI_PRINT_JSON
                : options->format != NULL ? CLI_PRINT_FORMAT
                : options->verbose        ? CLI_PRINT_VERBOSE
                                          : CLI_PRINT_RAW,
        .payload = options->hex      ? CLI_PAYLOAD_HEX
                   : options->base64 ? CLI_PAYLOAD_BASE64
                                     : CLI_PAYLOAD_RAW,
        .properties = options->properties,
        .no_line_end = options->no_line_end,
        .format = format,
    };
}

static int connect_and_receive(struct sub *sub)
{
    const struct sub_options *options = sub->options;
    struct mqtt5_client_options config;
    mqtt5_client_options_init(&config);
    config.own_thread = false;
    config.topic_alias_maximum = 0; /* an alias of this hop is nothing to print */
    config.on_message = on_message;
    config.on_change = on_change;
    config.on_refused = on_refused;
    config.ctx = sub;
    setvbuf(stdout, NULL, _IOFBF, OUTPUT_SIZE);
    if (!cli_connect(sub->call, &options->connection, &config, &sub->client))
        return CLI_FAILED;
    sub->end_ms = options->timeout_s > 0 ? cli_now_ms() + options->timeout_s * 1000 : UINT64_MAX;
    const int code = receive(sub);
    if (!sub->over)
        cli_disconnect(sub->call, &options->connection, sub->client);
    cli_signals_catch(NULL);
    mqtt5_client_free(sub->client);
    return code;
}

static int run(const struct cli_call *call)
{
    struct sub_options *options = call->options;
    struct sub sub = {.call = call, .options = options};
    struct cli_format format = {0};
    char why[256];
    int code = complete(call, options);
    if (code == CLI_OK)
        code = check(call, options);
    if (code == CLI_OK && options->format != NULL &&
        !cli_format_read(options->format, &format, why, sizeof why))
        code = cli_usage(call, "%s", why);
    if (code == CLI_OK) {
        sub.style = style_of(options, &format);
        code = connect_and_receive(&sub);
    }
    cli_format_free(&format);
    return code;
}

const struct cli_command cmd_sub = {
    .name = "sub",
    .summary = "subscribe, and print what arrives",
    .usage = "--topic FILTER [options]",
    .notes = "Examples:\n"
             "  mqttv5 sub --topic 'sensors/+' --verbose\n"
             "  mqttv5 sub -t 'a/#' -t b --qos 1 --json | jq .payload\n"
             "  mqttv5 sub -t jobs -q 1 -c worker-1 --no-clean-start --session-expiry 1h\n"
             "  mqttv5 sub -t '#' -T 'private/#' -F '@H:@M:@S %t %p'\n"
             "  mqttv5 sub -t 'old/#' --remove-retained --retained-only -W 5s\n"
             "\n"
             "Formats (the language of mosquitto_sub -F):\n"
             "  %t topic               %p payload            %x %X in hexadecimal\n"
             "  %l length of payload   %q QoS                %r retain flag\n"
             "  %m packet identifier   %A topic alias        %C content type\n"
             "  %D correlation data    %E message expiry     %F payload format\n"
             "  %P user properties     %R response topic     %S subscription ident.\n"
             "  %I date and time       %U Unix time          %% a %\n"
             "  %j JSON, the payload as a string; %J JSON, the payload as JSON\n"
             "  @X what strftime makes of %X; @N nanoseconds; @@ a @\n"
             "  \\n \\r \\t \\0 \\a \\e \\v \\\\\n"
             "  Between % and the letter: - to the left, 0 with zeros, a least width,\n"
             "  and .N for at most N bytes of a text.\n"
             "\n"
             "Payloads are all that goes to standard output.\n",
    .exits = "27: --timeout was over (as with mosquitto_sub).",
    .tables = tables,
    .options_size = sizeof(struct sub_options),
    .run = run,
};
