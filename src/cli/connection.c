/* What `pub` and `sub` share: the options of a connection, and making one of them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/connection.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FIELD(name) offsetof(struct cli_connection, name)
#define U32_MAX     4294967295u

static const struct cli_choice versions[] = {
    {"5", MQTT5_VERSION_5},       {"5.0", MQTT5_VERSION_5},   {"3.1.1", MQTT5_VERSION_3_1_1},
    {"311", MQTT5_VERSION_3_1_1}, {"4", MQTT5_VERSION_3_1_1}, {NULL, 0},
};

const struct cli_option cli_connection_options[] = {
    {.group = "Connection",
     .name = "url",
     .alias = 'U',
     .type = CLI_STRING,
     .offset = FIELD(url),
     .value = "URL",
     .help = "server, as mqtt://host:port; instead of --host and --port"},
    {.name = "host",
     .alias = 'H',
     .type = CLI_STRING,
     .offset = FIELD(host),
     .value = "HOST",
     .fallback = "localhost",
     .help = "server's name or address"},
    {.name = "port",
     .alias = 'p',
     .type = CLI_INTEGER,
     .min = 1,
     .max = 65535,
     .offset = FIELD(port),
     .value = "PORT",
     .fallback = "1883",
     .help = "server's port"},
    {.name = "username",
     .alias = 'u',
     .type = CLI_STRING,
     .offset = FIELD(username),
     .value = "NAME",
     .help = "user name"},
    {.name = "password",
     .alias = 'P',
     .type = CLI_STRING,
     .offset = FIELD(password),
     .value = "TEXT",
     .help = "password (others can see it in a process list: prefer the variable)"},
    {.name = "protocol-version",
     .type = CLI_CHOICE,
     .offset = FIELD(version),
     .choices = versions,
     .value = "VERSION",
     .fallback = "5",
     .help = "5, 5.0, 3.1.1, 311 or 4"},
    {.name = "keep-alive",
     .alias = 'k',
     .type = CLI_SECONDS,
     .max = 65535,
     .offset = FIELD(keep_alive_s),
     .value = "TIME",
     .fallback = "60",
     .help = "ping the server when silent for so long; 0 = never"},
    {.group = "Session",
     .name = "client-id",
     .alias = 'c',
     .type = CLI_STRING,
     .offset = FIELD(client_id),
     .value = "ID",
     .help = "client identifier; without it a random one"},
    {.name = "no-clean-start",
     .type = CLI_BOOL,
     .offset = FIELD(no_clean_start),
     .help = "go on with the session that the server has kept"},
    {.name = "session-expiry",
     .type = CLI_SECONDS,
     .max = U32_MAX,
     .offset = FIELD(session_expiry_s),
     .value = "TIME",
     .fallback = "0",
     .help = "how long the server keeps the session; 4294967295 = for ever"},
    {.group = "Will",
     .name = "will-topic",
     .type = CLI_STRING,
     .offset = FIELD(will_topic),
     .value = "TOPIC",
     .help = "topic of the message for when this client is lost"},
    {.name = "will-message",
     .type = CLI_STRING,
     .offset = FIELD(will_message),
     .value = "TEXT",
     .help = "its payload"},
    {.name = "will-qos",
     .type = CLI_INTEGER,
     .max = 2,
     .offset = FIELD(will_qos),
     .value = "QOS",
     .fallback = "0",
     .help = "its QoS"},
    {.name = "will-retain",
     .type = CLI_BOOL,
     .offset = FIELD(will_retain),
     .help = "let the server keep it for later subscribers"},
    {.name = "will-delay",
     .type = CLI_SECONDS,
     .max = U32_MAX,
     .offset = FIELD(will_delay_s),
     .value = "TIME",
     .fallback = "0",
     .help = "how long the server waits for this client to come back"},
    {0},
};

int cli_connection_check(const struct cli_call *call, const struct cli_connection *options)
{
    const enum cli_source url = cli_source_of(call, "url");
    if (url == CLI_FROM_FLAG && (cli_source_of(call, "host") == CLI_FROM_FLAG ||
                                 cli_source_of(call, "port") == CLI_FROM_FLAG))
        return cli_usage(call, "--url stands for --host and --port: give one or the other");
    if (options->will_topic == NULL &&
        (options->will_message != NULL || options->will_retain || options->will_delay_s > 0))
        return cli_usage(call, "a will needs --will-topic");
    if (options->version != MQTT5_VERSION_5 && cli_given(call, "session-expiry"))
        return cli_usage(call, "--session-expiry needs --protocol-version 5; 3.1.1 keeps a session "
                               "with --no-clean-start");
    if (options->no_clean_start && options->client_id == NULL)
        return cli_usage(call, "--no-clean-start needs --client-id: a session belongs to it");
    return CLI_OK;
}

/* ---- connecting ---- */

/* Where to connect to, as a URL. An address of IPv6 gets its brackets. */
static void make_url(const struct cli_call *call, const struct cli_connection *options, char *out,
                     size_t size)
{
    const bool by_host = cli_source_of(call, "host") == CLI_FROM_FLAG ||
                         cli_source_of(call, "port") == CLI_FROM_FLAG;
    const bool bare = strchr(options->host, ':') != NULL && options->host[0] != '[';
    if (options->url != NULL && !by_host)
        snprintf(out, size, "%s", options->url);
    else
        snprintf(out, size, "mqtt://%s%s%s:%u", bare ? "[" : "", options->host, bare ? "]" : "",
                 (unsigned)options->port);
}

static void make_id(const struct cli_call *call, char out[64])
{
    uint32_t number = 0;
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number)
        number = (uint32_t)(uintptr_t)&number; /* at start-up of the system; only has to differ */
    snprintf(out, 64, "mqttv5-%s-%08x", call->command->name, number);
}

static struct mqtt5_bytes bytes_of(const char *text)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

static void set_will(const struct cli_connection *options, struct mqtt5_will *will)
{
    *will = (struct mqtt5_will){
        .qos = (uint8_t)options->will_qos,
        .retain = options->will_retain,
        .topic = bytes_of(options->will_topic),
        .payload = bytes_of(options->will_message != NULL ? options->will_message : ""),
    };
    if (options->will_delay_s > 0) {
        MQTT5_SET(&will->properties, WILL_DELAY_INTERVAL);
        will->properties.will_delay_interval_s = (uint32_t)options->will_delay_s;
    }
}

static struct mqtt5_client *make_client(const struct cli_call *call,
                                        const struct cli_connection *options,
                                        struct mqtt5_client_config *config)
{
    char id[64];
    struct mqtt5_will will;
    struct mqtt5_client *client;
    make_id(call, id);
    config->version = (uint8_t)options->version;
    config->client_id = options->client_id != NULL ? options->client_id : id;
    config->username = options->username;
    if (options->password != NULL)
        config->password = bytes_of(options->password);
    config->clean_start = !options->no_clean_start;
    config->session_known = true; /* the process before this one had the other part of it */
    config->session_expiry_s = (uint32_t)options->session_expiry_s;
    config->keep_alive_s = (uint16_t)options->keep_alive_s;
    if (options->will_topic != NULL) {
        set_will(options, &will);
        config->will = &will;
    }
    const enum mqtt5_error error = mqtt5_client_new(config, &client);
    config->will = NULL;
    if (error == MQTT5_OK)
        return client;
    cli_error(call, "these options make no connection: %s", mqtt5_error_text(error));
    return NULL;
}

static void explain_failure(const struct cli_call *call, struct mqtt5_client *client,
                            const char *url, enum mqtt5_error error)
{
    char why[512];
    mqtt5_client_why(client, why, sizeof why);
    if (error == MQTT5_ERR_IO && strstr(why, strerror(ECONNREFUSED)) != NULL)
        cli_error(call, "cannot connect to %s (is a broker running? start one with: mqttv5 broker)",
                  why);
    else if (error == MQTT5_ERR_IO)
        cli_error(call, "cannot connect to %s", why);
    else if (error == MQTT5_ERR_UNSUPPORTED || error == MQTT5_ERR_INVALID_ARGUMENT)
        cli_error(call, "%s", why);
    else
        cli_error(call, "cannot connect to %s: %s", url,
                  why[0] != 0 ? why : mqtt5_error_text(error));
}

bool cli_connect(const struct cli_call *call, const struct cli_connection *options,
                 struct mqtt5_client_config *config, struct mqtt5_client **client)
{
    char url[1024];
    *client = make_client(call, options, config);
    if (*client == NULL)
        return false;
    make_url(call, options, url, sizeof url);
    const enum mqtt5_error error = mqtt5_client_connect(*client, url, MQTT5_FOREVER);
    if (error == MQTT5_OK) {
        cli_signals_catch(*client); /* before, a signal just ends the process */
        return true;
    }
    explain_failure(call, *client, url, error);
    mqtt5_client_free(*client);
    *client = NULL;
    return false;
}

int cli_connection_lost(const struct cli_call *call, struct mqtt5_client *client)
{
    char why[512];
    mqtt5_client_why(client, why, sizeof why);
    return cli_failed(call, "connection lost: %s", why[0] != 0 ? why : "no reason known");
}

const char *cli_reason_text(uint8_t reason)
{
    return reason == 0x80 ? "refused, for no stated reason" : mqtt5_reason_text(reason);
}

/* ---- signals ---- */

static struct mqtt5_client *volatile woken_client;
static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    (void)number;
    struct mqtt5_client *client = woken_client;
    caught = 1;
    if (client != NULL)
        mqtt5_client_wake(client);
}

void cli_signals_catch(struct mqtt5_client *client)
{
    const struct sigaction catch = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    const bool first = woken_client == NULL;
    woken_client = client;
    sigaction(SIGPIPE, &ignore, NULL);
    if (client == NULL || !first)
        return;
    sigaction(SIGINT, &catch, NULL); /* once: a second one ends the process */
    sigaction(SIGTERM, &catch, NULL);
}

bool cli_signals_caught(void)
{
    return caught != 0;
}
