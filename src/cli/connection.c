/* What `pub` and `sub` share: the options of a connection, and making one of them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/connection.h"

#include "cli/property.h"
#include "cli/text.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define FIELD(name) offsetof(struct cli_connection, name)
#define U32_MAX     4294967295u

static const struct cli_choice versions[] = {
    {"5", MQTT5_VERSION_5},
    {"5.0", MQTT5_VERSION_5},
    {"3.1.1", MQTT5_VERSION_3_1_1},
    {"311", MQTT5_VERSION_3_1_1},
    {"4", MQTT5_VERSION_3_1_1},
    {"mqttv5", MQTT5_VERSION_5},
    {"mqttv311", MQTT5_VERSION_3_1_1},
    {NULL, 0},
};

const struct cli_option cli_server_options[] = {
    {.group = "Connection",
     .name = "url",
     .alias = 'U',
     .also = 'L',
     .type = CLI_STRING,
     .offset = FIELD(url),
     .value = "URL",
     .help = "server, as mqtt://user:password@host:port/topic, where only the host must be; "
             "or mqtts:// (TLS), ws:// and wss:// (WebSocket), unix:///path; instead of --host "
             "and --port"},
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
     .help = "server's port; without it 8883 for TLS, 80 and 443 for WebSocket"},
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
     .alias = 'V',
     .type = CLI_CHOICE,
     .offset = FIELD(version),
     .choices = versions,
     .value = "VERSION",
     .fallback = "5",
     .help = "5, 5.0, 3.1.1, 311, 4, mqttv5 or mqttv311"},
    {.name = "keep-alive",
     .alias = 'k',
     .synonym = "keepalive",
     .type = CLI_SECONDS,
     .max = 65535,
     .offset = FIELD(keep_alive_s),
     .value = "TIME",
     .fallback = "60",
     .help = "ping the server when silent for so long; 0 = never"},
    {.name = "connect-timeout",
     .type = CLI_MILLISECONDS,
     .min = 1,
     .max = 3600000,
     .offset = FIELD(connect_timeout_ms),
     .value = "TIME",
     .fallback = "30s",
     .help = "give up a connection that is not made by then"},
    {.name = CLI_OPTIONS_FILE,
     .type = CLI_STRING,
     .offset = FIELD(options_file),
     .value = "PATH",
     .help = "read options from here, a line each; '' = from nowhere. Without it from "
             "~/.config/mqttv5/COMMAND.conf, if that is there"},
    {.name = "quiet",
     .type = CLI_BOOL,
     .offset = FIELD(quiet),
     .help = "say nothing but errors on standard error"},
    {0},
};

const struct cli_option cli_connection_options[] = {
    {.group = "Protocol",
     .name = "max-inflight",
     .alias = 'M',
     .type = CLI_INTEGER,
     .min = 1,
     .max = 65535,
     .offset = FIELD(inflight_max),
     .value = "N",
     .fallback = "1024",
     .help = "QoS 1 and 2 messages sent and not acknowledged; the server may allow fewer"},
    {.name = "receive-maximum",
     .type = CLI_INTEGER,
     .min = 1,
     .max = 65535,
     .offset = FIELD(receive_maximum),
     .value = "N",
     .fallback = "1024",
     .help = "QoS 1 and 2 messages that the server may send without our acknowledgement"},
    {.name = "property",
     .alias = 'D',
     .type = CLI_PROPERTY,
     .offset = FIELD(properties),
     .value = "PACKET NAME VALUE",
     .env = "",
     .help = "a property of a packet, as: -D connect receive-maximum 10, or -D publish "
             "user-property NAME VALUE"},
    {.name = "non-interactive",
     .type = CLI_BOOL,
     .offset = FIELD(non_interactive),
     .help = "do not ask for what is missing, on a terminal either"},
    {.group = "Reconnecting",
     .name = "auto-reconnect",
     .type = CLI_BOOL,
     .offset = FIELD(auto_reconnect),
     .help = "connect again when the connection is lost, and go on"},
    {.name = "reconnect-delay",
     .type = CLI_MILLISECONDS,
     .min = 1,
     .max = 86400000,
     .offset = FIELD(reconnect_delay_ms),
     .value = "TIME",
     .fallback = "1s",
     .help = "wait before the first attempt, doubled for each one after it"},
    {.name = "reconnect-delay-max",
     .type = CLI_MILLISECONDS,
     .min = 1,
     .max = 86400000,
     .offset = FIELD(reconnect_delay_max_ms),
     .value = "TIME",
     .fallback = "1m",
     .help = "longest wait"},
    {.name = "reconnect-attempts",
     .type = CLI_INTEGER,
     .max = U32_MAX,
     .offset = FIELD(reconnect_attempts),
     .value = "N",
     .fallback = "0",
     .help = "give up after so many in a row; 0 = never"},
    {.group = "Session",
     .name = "client-id",
     .alias = 'c',
     .also = 'i',
     .synonym = "id",
     .type = CLI_STRING,
     .offset = FIELD(client_id),
     .value = "ID",
     .help = "client identifier; without it a random one"},
    {.name = "id-prefix",
     .alias = 'I',
     .type = CLI_STRING,
     .offset = FIELD(id_prefix),
     .value = "TEXT",
     .help = "client identifier: this and the number of the process"},
    {.name = "no-clean-start",
     .synonym = "disable-clean-session",
     .type = CLI_BOOL,
     .offset = FIELD(no_clean_start),
     .help = "go on with the session that the server has kept"},
    {.name = "session-expiry",
     .alias = 'x',
     .type = CLI_SECONDS,
     .endless = true,
     .max = U32_MAX,
     .offset = FIELD(session_expiry_s),
     .value = "TIME",
     .fallback = "0",
     .help = "how long the server keeps the session; \"never\" = it does not expire"},
    {.group = "Will",
     .name = "will-topic",
     .type = CLI_STRING,
     .offset = FIELD(will_topic),
     .value = "TOPIC",
     .help = "topic of the message for when this client is lost"},
    {.name = "will-message",
     .synonym = "will-payload",
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

/* Whether --url counts, and not --host and --port: what was given more directly. */
static bool url_counts(const struct cli_call *call, const struct cli_connection *options)
{
    const enum cli_source host = cli_source_of(call, "host"), port = cli_source_of(call, "port");
    const enum cli_source other = host > port ? host : port;
    return options->url != NULL && cli_source_of(call, "url") >= other;
}

int cli_connection_check(const struct cli_call *call, const struct cli_connection *options,
                         const struct cli_packet_name *packets)
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
    if (options->version != MQTT5_VERSION_5 && options->properties.count > 0)
        return cli_usage(call, "properties (-D) need --protocol-version 5");
    if (options->no_clean_start && options->client_id == NULL)
        return cli_usage(call, "--no-clean-start needs --client-id: a session belongs to it");
    if (options->client_id != NULL && options->id_prefix != NULL)
        return cli_usage(call, "give one of --client-id and --id-prefix");
    if (cli_auth_check(call, options) != CLI_OK)
        return CLI_USAGE;
    const char *where = url_counts(call, options) ? options->url : NULL;
    if (cli_transport_check(call, &options->transport, where) != CLI_OK)
        return CLI_USAGE;
    return cli_properties_check(call, &options->properties, packets);
}

/* ---- where to ---- */

/* Tells whether the path of such a URL is the transport's, and no topic. */
static bool owns_path(const char *url)
{
    return strncasecmp(url, "ws", 2) == 0 || strncasecmp(url, "unix", 4) == 0;
}

/* A path is taken from where we are, which a URL cannot say. */
static int write_unix_url(const struct cli_call *call, const char *path, char *url)
{
    char folder[CLI_URL_SIZE / 2] = "";
    size_t size = strlen("unix://");
    if (path[0] != '/' && getcwd(folder, sizeof folder - 1) == NULL)
        return cli_usage(call, "--unix: the current folder is not known: give the whole path");
    const char *const parts[] = {folder, path[0] != '/' ? "/" : "", path};
    memcpy(url, "unix://", size);
    for (size_t i = 0; i < 3; i++) {
        for (const char *at = parts[i]; *at != 0; at++) {
            if (size + 4 > CLI_URL_SIZE)
                return cli_usage(call, "--unix is longer than any socket's path");
            size += (size_t)snprintf(url + size, 4, *at == '%' ? "%%25" : "%c", *at);
        }
    }
    return CLI_OK;
}

/* Whether --unix counts: it was given at least as directly as the others. */
static bool unix_counts(const struct cli_call *call, const struct cli_connection *options)
{
    const enum cli_source source = cli_source_of(call, "unix");
    return options->transport.unix_path != NULL && source >= cli_source_of(call, "url") &&
           source >= cli_source_of(call, "host") && source >= cli_source_of(call, "port");
}

int cli_connection_url(const struct cli_call *call, const struct cli_connection *options, char *url,
                       char *topic)
{
    const bool bare = strchr(options->host, ':') != NULL && options->host[0] != '[';
    if (topic != NULL)
        topic[0] = 0;
    if (unix_counts(call, options))
        return write_unix_url(call, options->transport.unix_path, url);
    if (!url_counts(call, options)) {
        unsigned port;
        const char *scheme = cli_transport_scheme(call, &options->transport, &port);
        if (cli_given(call, "port"))
            port = (unsigned)options->port;
        snprintf(url, CLI_URL_SIZE, "%s://%s%s%s:%u", scheme, bare ? "[" : "", options->host,
                 bare ? "]" : "", port);
        return CLI_OK;
    }
    if (strlen(options->url) >= CLI_URL_SIZE)
        return cli_usage(call, "--url is longer than any server's");
    snprintf(url, CLI_URL_SIZE, "%s", options->url);
    const char *scheme = strstr(url, "://");
    char *path = strchr(scheme != NULL ? scheme + 3 : url, '/');
    if (path == NULL || owns_path(url))
        return CLI_OK;
    *path++ = 0;
    if (*path != 0 && topic == NULL)
        return cli_usage(call, "the topic of --url does not go with --topic: give one of them");
    if (topic != NULL)
        snprintf(topic, CLI_URL_SIZE, "%s", path);
    return CLI_OK;
}

/* ---- connecting ---- */

#define ID_SIZE 512

static void make_id(const struct cli_call *call, const struct cli_connection *options,
                    char out[ID_SIZE])
{
    uint32_t number = 0;
    if (options->id_prefix != NULL) {
        snprintf(out, ID_SIZE, "%s%ld", options->id_prefix, (long)getpid());
        return;
    }
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number)
        number = (uint32_t)(uintptr_t)&number; /* at start-up of the system; only has to differ */
    snprintf(out, ID_SIZE, "mqttv5-%s-%08x", call->command->name, number);
}

/* What the properties of -D say of CONNECT, and of the will. */
struct packets {
    struct cli_properties connect, will;
    struct mqtt5_will message;
};

static void set_will(const struct cli_connection *options, struct packets *packets)
{
    packets->message = (struct mqtt5_will){
        .qos = (uint8_t)options->will_qos,
        .retain = options->will_retain,
        .topic = cli_bytes(options->will_topic),
        .payload = cli_bytes(options->will_message != NULL ? options->will_message : ""),
        .properties = packets->will.set,
    };
    if (options->will_delay_s > 0) {
        MQTT5_SET(&packets->message.properties, WILL_DELAY_INTERVAL);
        packets->message.properties.will_delay_interval_s = (uint32_t)options->will_delay_s;
    }
}

static void set_reconnect(const struct cli_connection *options, struct mqtt5_client_options *config)
{
    config->reconnect.enabled = options->auto_reconnect;
    config->reconnect.min_ms = (uint32_t)options->reconnect_delay_ms;
    config->reconnect.max_ms =
        (uint32_t)(options->reconnect_delay_max_ms > options->reconnect_delay_ms
                       ? options->reconnect_delay_max_ms
                       : options->reconnect_delay_ms);
    config->reconnect.attempts_max = (uint32_t)options->reconnect_attempts;
    config->offline_queue = options->auto_reconnect;
    config->offline_qos0 = options->auto_reconnect;
}

/* Properties that have a field of their own in the configuration. */
static void set_limits(const struct cli_connection *options,
                       const struct mqtt5_properties *properties,
                       struct mqtt5_client_options *config)
{
    config->session_expiry_s = MQTT5_HAS(properties, SESSION_EXPIRY_INTERVAL)
                                   ? properties->session_expiry_interval_s
                                   : (uint32_t)options->session_expiry_s;
    config->receive_maximum = MQTT5_HAS(properties, RECEIVE_MAXIMUM)
                                  ? (uint16_t)properties->receive_maximum
                                  : (uint16_t)options->receive_maximum;
    if (MQTT5_HAS(properties, MAXIMUM_PACKET_SIZE))
        config->maximum_packet_size = properties->maximum_packet_size;
    if (MQTT5_HAS(properties, TOPIC_ALIAS_MAXIMUM))
        config->topic_alias_maximum = (uint16_t)properties->topic_alias_maximum;
}

static struct mqtt5_client *new_client(const struct cli_call *call,
                                       const struct cli_connection *options,
                                       struct packets *packets, struct mqtt5_client_options *config)
{
    char id[ID_SIZE];
    struct mqtt5_client *client;
    make_id(call, options, id);
    config->version = (uint8_t)options->version;
    config->client_id = options->client_id != NULL ? options->client_id : id;
    config->username = options->username;
    if (options->password != NULL)
        config->password = cli_bytes(options->password);
    config->clean_start = !options->no_clean_start;
    config->session_known = true; /* the process before this one had the other part of it */
    config->keep_alive_s = (uint16_t)options->keep_alive_s;
    config->connect_timeout_ms = (uint32_t)options->connect_timeout_ms;
    config->inflight_max = (uint16_t)options->inflight_max;
    config->properties = packets->connect.set;
    set_limits(options, &packets->connect.set, config);
    set_reconnect(options, config);
    cli_transport_set(&options->transport, config);
    if (!cli_auth_set(call, options, config))
        return NULL;
    if (options->will_topic != NULL) {
        set_will(options, packets);
        config->will = &packets->message;
    }
    const enum mqtt5_error error = mqtt5_client_new(config, &client);
    config->will = NULL;
    if (error == MQTT5_OK)
        return client;
    cli_error(call, "these options make no connection: %s", mqtt5_error_text(error));
    return NULL;
}

static struct mqtt5_client *make_client(const struct cli_call *call,
                                        const struct cli_connection *options,
                                        struct mqtt5_client_options *config)
{
    struct packets packets = {0};
    struct mqtt5_client *client = NULL;
    if (cli_properties_set(call, &options->properties, "connect", NULL, &packets.connect) ==
            CLI_OK &&
        cli_properties_set(call, &options->properties, "will", NULL, &packets.will) == CLI_OK)
        client = new_client(call, options, &packets, config);
    cli_properties_free(&packets.connect);
    cli_properties_free(&packets.will);
    return client;
}

static void explain_failure(const struct cli_call *call, struct mqtt5_client *client,
                            const char *url, enum mqtt5_error error)
{
    char why[512];
    mqtt5_client_why(client, why, sizeof why);
    if (error == MQTT5_ERR_IO && strstr(why, strerror(ECONNREFUSED)) != NULL)
        cli_error(call, "cannot connect to %s (is a broker running? start one with: mqttv5 broker)",
                  why);
    else if (error == MQTT5_ERR_TLS && strstr(why, "we do not trust") != NULL)
        cli_error(call,
                  "cannot connect to %s (--ca-cert FILE says who else may vouch for a server)",
                  why);
    else if (error == MQTT5_ERR_IO || error == MQTT5_ERR_TLS || error == MQTT5_ERR_WEBSOCKET)
        cli_error(call, "cannot connect to %s", why);
    else if (error == MQTT5_ERR_NOT_BUILT || error == MQTT5_ERR_INVALID_ARGUMENT ||
             error == MQTT5_ERR_CONFIG)
        cli_error(call, "%s", why);
    else
        cli_error(call, "cannot connect to %s: %s", url,
                  why[0] != 0 ? why : mqtt5_error_text(error));
}

bool cli_connect(const struct cli_call *call, const struct cli_connection *options,
                 struct mqtt5_client_options *config, struct mqtt5_client **client)
{
    char url[CLI_URL_SIZE], topic[CLI_URL_SIZE];
    *client = NULL;
    if (cli_connection_url(call, options, url, topic) != CLI_OK)
        return false;
    *client = make_client(call, options, config);
    if (*client == NULL)
        return false;
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

void cli_connection_status(const struct cli_call *call, const struct cli_connection *options,
                           struct mqtt5_client *client, const struct mqtt5_client_change *change)
{
    char why[512];
    if (options->quiet || !options->auto_reconnect)
        return;
    mqtt5_client_why(client, why, sizeof why);
    if (change->state == MQTT5_CLIENT_WAITING)
        cli_error(call, "%s: %s; attempt %u in %.1f s",
                  change->attempt <= 1 ? "connection lost" : "cannot connect",
                  why[0] != 0 ? why : mqtt5_error_text(change->result.error), change->attempt,
                  change->retry_ms / 1000.0);
    else if (change->state == MQTT5_CLIENT_CONNECTED)
        cli_status("Connected%s", change->result.session_present ? ", the session goes on" : "");
}

void cli_disconnect(const struct cli_call *call, const struct cli_connection *options,
                    struct mqtt5_client *client)
{
    struct cli_properties properties;
    struct mqtt5_reasoned disconnect = {.reason_code = 0};
    const bool known =
        cli_properties_set(call, &options->properties, "disconnect", NULL, &properties) == CLI_OK;
    disconnect.properties = properties.set;
    /* Should this take too long, the server sees the connection end all the same. */
    (void)!mqtt5_client_disconnect(client, known ? &disconnect : NULL, CLI_DISCONNECT_WAIT_MS);
    cli_properties_free(&properties);
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
static int signal_fd = -1;

static void on_signal(int number)
{
    const uint64_t one = 1;
    const int error = errno;
    (void)number;
    struct mqtt5_client *client = woken_client;
    caught = 1;
    (void)!write(signal_fd, &one, sizeof one);
    if (client != NULL)
        mqtt5_client_wake(client);
    errno = error;
}

void cli_signals_catch(struct mqtt5_client *client)
{
    const struct sigaction catch = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    const bool first = signal_fd < 0;
    woken_client = client;
    sigaction(SIGPIPE, &ignore, NULL);
    if (!first)
        return;
    signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sigaction(SIGINT, &catch, NULL); /* once: a second one ends the process */
    sigaction(SIGTERM, &catch, NULL);
}

bool cli_signals_caught(void)
{
    return caught != 0;
}

int cli_signals_fd(void)
{
    return signal_fd;
}
