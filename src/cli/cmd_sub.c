/* `mqttv5 sub`: subscribes, and prints what arrives. Payloads go to standard output, all else to
 * standard error.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/connection.h"
#include "cli/print.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name)       offsetof(struct sub_options, name)
#define SUBSCRIBE_WAIT_MS 30000
#define PROCESS_WAIT_MS   1000 /* only a bound: whatever happens ends the wait */
#define IDENTIFIER_MAX    268435455u

struct sub_options {
    struct cli_connection connection;
    struct cli_strings topics;
    uint64_t qos, count, retain_handling, identifier;
    bool verbose, properties, json, no_local, retain_as_published;
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
    {.group = "Output",
     .name = "count",
     .alias = 'n',
     .type = CLI_INTEGER,
     .offset = FIELD(count),
     .value = "N",
     .fallback = "0",
     .help = "end after so many messages; 0 = never"},
    {.name = "verbose",
     .alias = 'v',
     .type = CLI_BOOL,
     .offset = FIELD(verbose),
     .help = "print \"topic: payload\""},
    {.name = "show-properties",
     .alias = 's',
     .type = CLI_BOOL,
     .offset = FIELD(properties),
     .help = "print the properties of each message below it"},
    {.name = "json",
     .type = CLI_BOOL,
     .offset = FIELD(json),
     .help = "print each message as a line of JSON, with all there is to know"},
    {0},
};

static const struct cli_option *const tables[] = {sub_table, cli_connection_options, NULL};

/* A subscription at work. */
struct sub {
    const struct cli_call *call;
    const struct sub_options *options;
    struct mqtt5_client *client;
    uint64_t received;
    bool output_closed; /* nobody reads standard output any more */
    bool connected;
};

/* Whether the user has had what was asked for. */
static bool has_enough(const struct sub *sub)
{
    return sub->output_closed || cli_signals_caught() ||
           (sub->options->count > 0 && sub->received >= sub->options->count);
}

static void on_message(void *ctx, const struct mqtt5_message *message)
{
    struct sub *sub = ctx;
    const struct sub_options *options = sub->options;
    const enum cli_print_form form = options->json      ? CLI_PRINT_JSON
                                     : options->verbose ? CLI_PRINT_VERBOSE
                                                        : CLI_PRINT_RAW;
    cli_print_message(stdout, message->publish, form, options->properties);
    sub->received++;
    if (!cli_print_flush(stdout))
        sub->output_closed = true;
    /* Now, not later: what came along in the same bytes is then neither acknowledged nor lost. */
    if (has_enough(sub))
        (void)!mqtt5_client_disconnect_async(sub->client, NULL);
}

static void on_change(void *ctx, const struct mqtt5_client_change *change)
{
    struct sub *sub = ctx;
    sub->connected = change->state == MQTT5_CLIENT_CONNECTED;
}

/* ---- subscribing ---- */

static int report_grants(const struct sub *sub, const uint8_t *reasons)
{
    const struct cli_strings *topics = &sub->options->topics;
    size_t granted = 0;
    for (size_t i = 0; i < topics->count; i++) {
        if (reasons[i] >= 0x80) {
            cli_error(sub->call, "the server refused %s: %s (0x%02X)", topics->items[i],
                      cli_reason_text(reasons[i]), reasons[i]);
            continue;
        }
        cli_status("Subscribed to %s (QoS %u)", topics->items[i], (unsigned)reasons[i]);
        granted++;
    }
    return granted > 0 ? CLI_OK : CLI_FAILED;
}

static void fill_requests(const struct sub_options *options,
                          struct mqtt5_subscription_request *items)
{
    for (size_t i = 0; i < options->topics.count; i++) {
        const char *filter = options->topics.items[i];
        items[i] = (struct mqtt5_subscription_request){
            .filter = {.data = (const uint8_t *)filter, .len = strlen(filter)},
            .qos = (uint8_t)options->qos,
            .no_local = options->no_local,
            .retain_as_published = options->retain_as_published,
            .retain_handling = (uint8_t)options->retain_handling,
        };
    }
}

/* Says what became of the SUBSCRIBE. */
static int judge(const struct sub *sub, enum mqtt5_error error, const uint8_t *reasons)
{
    if (error == MQTT5_OK || error == MQTT5_ERR_REFUSED)
        return report_grants(sub, reasons);
    if (has_enough(sub))
        return CLI_OK; /* a session that goes on brought it before the SUBACK */
    if (!sub->connected)
        return cli_connection_lost(sub->call, sub->client);
    return cli_failed(sub->call, "cannot subscribe: %s", mqtt5_error_text(error));
}

static int subscribe(struct sub *sub)
{
    const size_t count = sub->options->topics.count;
    struct mqtt5_subscription_request *items = calloc(count, sizeof *items);
    uint8_t *reasons = calloc(count, 1);
    int code = CLI_FAILED;
    if (items == NULL || reasons == NULL) {
        cli_error(sub->call, "out of memory");
    } else {
        struct mqtt5_subscribe request = {.count = (uint32_t)count, .items = items};
        fill_requests(sub->options, items);
        if (sub->options->identifier > 0) {
            MQTT5_SET(&request.properties, SUBSCRIPTION_IDENTIFIER);
            request.properties.subscription_identifier = (uint32_t)sub->options->identifier;
        }
        code = judge(
            sub,
            mqtt5_client_subscribe(sub->client, &request, NULL, NULL, SUBSCRIBE_WAIT_MS, reasons),
            reasons);
    }
    free(items);
    free(reasons);
    return code;
}

/* ---- the command ---- */

static int receive(struct sub *sub)
{
    int code = has_enough(sub) ? CLI_OK : subscribe(sub);
    while (code == CLI_OK && sub->connected && !has_enough(sub)) {
        if (mqtt5_client_process(sub->client, PROCESS_WAIT_MS) != MQTT5_OK)
            return cli_failed(sub->call, "the client cannot go on");
    }
    if (code == CLI_OK && !has_enough(sub))
        code = cli_connection_lost(sub->call, sub->client);
    return code;
}

static int check(const struct cli_call *call, const struct sub_options *options)
{
    const bool v5 = options->connection.version == MQTT5_VERSION_5;
    if (options->topics.count == 0)
        return cli_usage(call, "--topic is missing: what to subscribe to? (see mqttv5 sub --help)");
    if (options->json && (options->verbose || options->properties))
        return cli_usage(call, "--json shows everything already: leave --verbose and "
                               "--show-properties out");
    if (!v5 && (options->no_local || options->retain_as_published || options->identifier > 0 ||
                options->retain_handling > 0))
        return cli_usage(call, "subscription options need --protocol-version 5");
    return cli_connection_check(call, &options->connection);
}

static int run(const struct cli_call *call)
{
    const struct sub_options *options = call->options;
    struct sub sub = {.call = call, .options = options};
    struct mqtt5_client_config config;
    int code = check(call, options);
    if (code != CLI_OK)
        return code;
    mqtt5_client_config_init(&config);
    config.own_thread = false;
    config.on_message = on_message;
    config.on_change = on_change;
    config.ctx = &sub;
    if (!cli_connect(call, &options->connection, &config, &sub.client))
        return CLI_FAILED;
    code = receive(&sub);
    if (sub.connected) /* should it take too long, the server sees the connection end all the same
                        */
        (void)!mqtt5_client_disconnect(sub.client, NULL, CLI_DISCONNECT_WAIT_MS);
    cli_signals_catch(NULL);
    mqtt5_client_free(sub.client);
    return code;
}

const struct cli_command cmd_sub = {
    .name = "sub",
    .summary = "subscribe, and print what arrives",
    .usage = "--topic FILTER [options]",
    .notes = "Examples:\n"
             "  mqttv5 sub --topic 'sensors/+' --verbose\n"
             "  mqttv5 sub -t 'a/#' -t b --qos 1 --json | jq .payload\n"
             "  mqttv5 sub -t jobs -q 1 -c worker-1 --no-clean-start --session-expiry 1h\n",
    .tables = tables,
    .options_size = sizeof(struct sub_options),
    .run = run,
};
