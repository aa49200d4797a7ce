/* `mqttv5 broker`: flags to options, signals to a drain.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/broker_flags.h"
#include "cli/command.h"

#include "base/assert.h"
#include "host/address.h"
#include "host/broker.h"
#include "host/log.h"
#include "host/notify.h"

#include <mqtt5/broker.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define LISTENERS_MAX 64
#define DEFAULT_PORT  1883

/* What the command line says. */
struct broker_call {
    struct cli_strings hosts;
    uint64_t workers;
    bool allow_anonymous, no_sys_topics, log_json, verbose, debug, non_interactive;
    int storage_backend, storage_damaged, durability, queue_policy, shared_strategy, log_level;
    const char *storage_dir, *password_file, *acl_file, *ban_file;
    struct cli_strings durability_rules;
    const char *response_information;
#define X(group, field, ...) uint64_t field;
    CLI_BROKER_NUMBERS(X)
#undef X
#define X(field, ...) bool no_##field;
    CLI_BROKER_SWITCHES(X)
#undef X
};

enum storage_backend { STORAGE_FILE, STORAGE_MEMORY };

static const struct cli_choice storage_backends[] = {
    {"file", STORAGE_FILE}, {"memory", STORAGE_MEMORY}, {NULL, 0}};

static const struct cli_choice damaged_policies[] = {
    {"set_aside", MQTT5_STORAGE_SET_ASIDE}, {"refuse", MQTT5_STORAGE_REFUSE}, {NULL, 0}};

static const struct cli_choice durabilities[] = {{"strict", MQTT5_DURABILITY_STRICT},
                                                 {"relaxed", MQTT5_DURABILITY_RELAXED},
                                                 {"memory", MQTT5_DURABILITY_MEMORY},
                                                 {NULL, 0}};

static const struct cli_choice queue_policies[] = {
    {"drop_newest", MQTT5_QUEUE_DROP_NEWEST}, {"drop_oldest", MQTT5_QUEUE_DROP_OLDEST}, {NULL, 0}};

static const struct cli_choice shared_strategies[] = {
    {"round_robin", MQTT5_SHARED_ROUND_ROBIN},
    {"random", MQTT5_SHARED_RANDOM},
    {"sticky", MQTT5_SHARED_STICKY},
    {"least_inflight", MQTT5_SHARED_LEAST_INFLIGHT},
    {"hash_topic", MQTT5_SHARED_HASH_TOPIC},
    {"hash_clientid", MQTT5_SHARED_HASH_CLIENTID},
    {NULL, 0}};

static const struct cli_choice log_levels[] = {{"error", MQTT5_LOG_ERROR},
                                               {"warning", MQTT5_LOG_WARNING},
                                               {"info", MQTT5_LOG_INFO},
                                               {"debug", MQTT5_LOG_DEBUG},
                                               {NULL, 0}};

#define FIELD(name) .offset = offsetof(struct broker_call, name)

static const struct cli_option option_table[] = {
    {.group = "Listening",
     .name = "host",
     .alias = 'H',
     .type = CLI_STRING,
     .repeatable = true,
     FIELD(hosts),
     .value = "ADDRESS:PORT",
     .env = "MQTT5_BIND",
     .help = "where to listen (127.0.0.1:1883 and [::1]:1883 when not given)"},
    {.name = "allow-anonymous",
     .type = CLI_BOOL,
     FIELD(allow_anonymous),
     .help = "serve clients without user name; implied when listening on loopback only and "
             "without a password file"},
    {.name = "auth-password-file",
     .type = CLI_STRING,
     FIELD(password_file),
     .value = "FILE",
     .help = "users and their passwords (mqttv5 passwd, or Mosquitto's)"},
    {.name = "acl-file",
     .type = CLI_STRING,
     FIELD(acl_file),
     .value = "FILE",
     .help = "who may publish and subscribe to what (mqttv5 acl, or Mosquitto's)"},
    {.name = "ban-file",
     .type = CLI_STRING,
     FIELD(ban_file),
     .value = "FILE",
     .help = "addresses and networks that may not connect"},
    {.name = "workers",
     .type = CLI_INTEGER,
     FIELD(workers),
     .max = 64,
     .value = "N",
     .fallback = "0",
     .help = "threads that serve clients, 0 = one per core"},
    {.group = "Durability",
     .name = "storage-backend",
     .type = CLI_CHOICE,
     FIELD(storage_backend),
     .choices = storage_backends,
     .value = "file|memory",
     .fallback = "file",
     .help = "where sessions, queued and retained messages are kept"},
    {.name = "storage-dir",
     .type = CLI_STRING,
     FIELD(storage_dir),
     .value = "DIR",
     .fallback = "./mqtt_storage",
     .help = "folder of the file backend, made if it is missing"},
    {.name = "durability",
     .type = CLI_CHOICE,
     FIELD(durability),
     .choices = durabilities,
     .value = "strict|relaxed|memory",
     .fallback = "strict",
     .help = "what an acknowledgement promises: synced to disk, handed to the store, nothing"},
    {.name = "durability-for",
     .type = CLI_STRING,
     .repeatable = true,
     FIELD(durability_rules),
     .value = "FILTER=LEVEL",
     .help = "the same for topics that match; the first that does decides"},
    {.name = "storage-damaged",
     .type = CLI_CHOICE,
     FIELD(storage_damaged),
     .choices = damaged_policies,
     .value = "set_aside|refuse",
     .fallback = "set_aside",
     .help = "a store that cannot be read: rename it and start empty, or do not start"},
    {.group = "Log, on standard error",
     .name = "log-level",
     .type = CLI_CHOICE,
     FIELD(log_level),
     .choices = log_levels,
     .value = "error|warning|info|debug",
     .fallback = "info",
     .help = "least important lines to write"},
    {.name = "log-json", .type = CLI_BOOL, FIELD(log_json), .help = "write JSON lines"},
    {.name = "verbose",
     .alias = 'v',
     .type = CLI_BOOL,
     FIELD(verbose),
     .help = "as --log-level info"},
    {.name = "debug", .type = CLI_BOOL, FIELD(debug), .help = "as --log-level debug"},
    {.name = "non-interactive",
     .type = CLI_BOOL,
     FIELD(non_interactive),
     .help = "never ask (nothing is asked yet)"},
#define X(label, field, flag, kind, least, most, placeholder, standard, text) \
    {.group = label,                                                          \
     .name = flag,                                                            \
     .type = CLI_##kind,                                                      \
     FIELD(field),                                                            \
     .min = least,                                                            \
     .max = most,                                                             \
     .value = placeholder,                                                    \
     .fallback = standard,                                                    \
     .help = text},
    CLI_BROKER_NUMBERS(X)
#undef X
        {.group = "Behaviour",
         .name = "queue-policy",
         .type = CLI_CHOICE,
         FIELD(queue_policy),
         .choices = queue_policies,
         .value = "drop_newest|drop_oldest",
         .fallback = "drop_newest",
         .help = "what goes when a session's queue is full"},
    {.name = "shared-strategy",
     .type = CLI_CHOICE,
     FIELD(shared_strategy),
     .choices = shared_strategies,
     .value = "STRATEGY",
     .fallback = "round_robin",
     .help = "round_robin, random, sticky, least_inflight, hash_topic or hash_clientid"},
    {.name = "response-information",
     .type = CLI_STRING,
     FIELD(response_information),
     .value = "TEXT",
     .help = "given to clients that request it"},
    {.name = "no-sys-topics",
     .type = CLI_BOOL,
     FIELD(no_sys_topics),
     .help = "publish no $SYS figures"},
#define X(field, flag, text) {.name = flag, .type = CLI_BOOL, FIELD(no_##field), .help = text},
    CLI_BROKER_SWITCHES(X)
#undef X
        {.name = NULL},
};

/* ---- options ---- */

/* The table's defaults are those of the library: only what was given may differ. */
static void copy_numbers(const struct cli_call *call, struct mqtt5_broker_config *config)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
#define X(group, field, flag, ...)                                              \
    M5_ASSERT(cli_given(call, flag) || from->field == (uint64_t)config->field); \
    config->field = (__typeof__(config->field))from->field;
    CLI_BROKER_NUMBERS(X)
#undef X
}

static void copy_config(const struct cli_call *call, struct mqtt5_broker_config *config)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    copy_numbers(call, config);
#define X(field, ...) config->field = !from->no_##field;
    CLI_BROKER_SWITCHES(X)
#undef X
    config->queue_policy = (enum mqtt5_queue_policy)from->queue_policy;
    config->shared_strategy = (enum mqtt5_shared_strategy)from->shared_strategy;
    config->durability = (enum mqtt5_durability)from->durability;
    config->response_information = from->response_information;
    if (from->no_sys_topics)
        config->sys_interval_s = 0;
}

static enum mqtt5_log_level log_level(const struct cli_call *call)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    if (from->debug)
        return MQTT5_LOG_DEBUG;
    if (from->verbose && from->log_level < MQTT5_LOG_INFO)
        return MQTT5_LOG_INFO;
    return (enum mqtt5_log_level)from->log_level;
}

static bool on_loopback(const struct m5_endpoint *endpoint)
{
    struct m5_address addresses[M5_ADDRESSES_MAX];
    const char *why;
    const size_t count = m5_address_resolve(endpoint->host, endpoint->port, addresses, &why);
    for (size_t i = 0; i < count; i++)
        if (!m5_address_is_loopback(&addresses[i]))
            return false;
    return true; /* one without addresses fails when it is bound, with a better sentence */
}

/* The listeners of the command line. */
struct listeners {
    struct mqtt5_listener items[LISTENERS_MAX];
    struct m5_endpoint endpoints[LISTENERS_MAX];
    size_t count;
};

static int read_hosts(const struct cli_call *call, struct listeners *out)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    if (from->hosts.count > LISTENERS_MAX)
        return cli_usage(call, "at most %d addresses can be listened on", LISTENERS_MAX);
    for (size_t i = 0; i < from->hosts.count; i++) {
        const char *text = from->hosts.items[i];
        struct m5_endpoint *endpoint = &out->endpoints[i];
        const char *why = m5_endpoint_parse(text, DEFAULT_PORT, endpoint);
        if (why != NULL)
            return cli_usage(call, "--host %s: %s", text, why);
        if (!from->allow_anonymous && from->password_file == NULL && !on_loopback(endpoint))
            return cli_usage(call,
                             "--host %s can be reached from other machines: give an "
                             "--auth-password-file, or --allow-anonymous to serve everybody there",
                             text);
        out->items[i] = (struct mqtt5_listener){.host = endpoint->host, .port = endpoint->port};
        out->count++;
    }
    return CLI_OK;
}

static int check_call(const struct cli_call *call)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    if (from->storage_backend == STORAGE_MEMORY && cli_given(call, "storage-dir"))
        return cli_usage(call, "--storage-dir is of no use with --storage-backend memory");
    if (from->storage_dir == NULL || from->storage_dir[0] == 0)
        return cli_usage(call, "--storage-dir needs the name of a folder");
    if (cli_given(call, "allow-anonymous") && !from->allow_anonymous && from->password_file == NULL)
        return cli_usage(call, "--allow-anonymous=false would leave nobody who can connect: give "
                               "an --auth-password-file");
    return CLI_OK;
}

/* The rules of the command line; each text is cut at its last '='. */
struct rules {
    struct mqtt5_durability_rule items[MQTT5_DURABILITY_RULES_MAX];
    size_t count;
};

static int read_rule(const struct cli_call *call, const char *text,
                     struct mqtt5_durability_rule *rule)
{
    const char *cut = strrchr(text, '=');
    if (cut == NULL || cut == text)
        return cli_usage(call,
                         "--durability-for %s: write it as FILTER=LEVEL, for example "
                         "'telemetry/#=memory'",
                         text);
    const struct cli_choice *choice = durabilities;
    while (choice->name != NULL && strcmp(choice->name, cut + 1) != 0)
        choice++;
    if (choice->name == NULL)
        return cli_usage(call, "--durability-for %s: %s is none of strict, relaxed, memory", text,
                         cut + 1);
    char *filter = strndup(text, (size_t)(cut - text));
    if (filter == NULL)
        return cli_failed(call, "out of memory");
    *rule = (struct mqtt5_durability_rule){.filter = filter,
                                           .durability = (enum mqtt5_durability)choice->value};
    return CLI_OK;
}

static int read_rules(const struct cli_call *call, struct rules *out)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    if (from->durability_rules.count > M5_COUNT_OF(out->items))
        return cli_usage(call, "at most %d rules --durability-for can be given",
                         MQTT5_DURABILITY_RULES_MAX);
    int code = CLI_OK;
    for (size_t i = 0; i < from->durability_rules.count && code == CLI_OK; i++) {
        code = read_rule(call, from->durability_rules.items[i], &out->items[i]);
        out->count += code == CLI_OK;
    }
    return code;
}

static void free_rules(struct rules *rules)
{
    for (size_t i = 0; i < rules->count; i++)
        free((char *)(uintptr_t)rules->items[i].filter);
    free(rules);
}

/* ---- signals ---- */

/* Signals arrive as input of the first worker, so that what they cause is ordinary code and a
 * broker with one worker is a process with one thread. */
struct signal_watch {
    struct mqtt5_broker *broker;
    struct m5_log log;
    struct m5_log_sink sink;
    int fd;
    bool stopping;
};

static const char *signal_name(uint32_t number)
{
    return number == SIGTERM ? "SIGTERM" : number == SIGINT ? "SIGINT" : "SIGHUP";
}

static void reload(struct signal_watch *watch)
{
    const char *why;
    if (mqtt5_broker_reload(watch->broker, &why) == MQTT5_OK)
        m5_log_note(&watch->log, M5_LOG_FILES_RELOADED, "signal", "SIGHUP");
    else
        m5_log_note(&watch->log, M5_LOG_FILES_WRONG, "why", why);
}

static void on_signal(void *context)
{
    struct signal_watch *watch = (struct signal_watch *)context;
    struct signalfd_siginfo info;
    while (read(watch->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            reload(watch);
            continue;
        }
        if (watch->stopping)
            _exit(CLI_FAILED); /* asked twice: at once */
        watch->stopping = true;
        m5_log_note(&watch->log, M5_LOG_SIGNAL_RECEIVED, "signal", signal_name(info.ssi_signo));
        m5_notify("STOPPING=1");
        mqtt5_broker_stop(watch->broker);
    }
}

/* Blocks the signals; threads made later inherit that. False when the system refuses. */
static bool open_watch(struct signal_watch *watch, const struct mqtt5_broker_options *options)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    m5_log_sink_init(&watch->sink, options);
    m5_log_init(&watch->log, &watch->sink);
    watch->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return watch->fd >= 0;
}

static void close_watch(struct signal_watch *watch)
{
    if (watch->fd >= 0)
        close(watch->fd);
    m5_log_sink_fini(&watch->sink);
}

/* ---- running ---- */

/* A socket must not become what somebody else takes for standard error. */
static void open_standard_files(void)
{
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = dup(fd);
    if (fd > STDERR_FILENO)
        close(fd);
}

static int serve(const struct cli_call *call, const struct mqtt5_broker_options *options)
{
    struct signal_watch *watch = (struct signal_watch *)calloc(1, sizeof *watch);
    struct mqtt5_broker *broker = NULL;
    const char *why;
    if (watch == NULL)
        return cli_failed(call, "out of memory");
    bool watching = open_watch(watch, options);
    int code = CLI_FAILED;
    if (mqtt5_broker_new(options, &broker, &why) != MQTT5_OK) {
        cli_error(call, "%s", why);
    } else if (!watching || !m5_broker_watch(broker, watch->fd, on_signal, watch)) {
        cli_error(call, "cannot watch for signals: %s", strerror(errno));
    } else {
        watch->broker = broker;
        m5_notify("READY=1");
        if (mqtt5_broker_run(broker) == MQTT5_OK)
            code = CLI_OK;
        else
            cli_error(call, "a worker could not be started, or not everything was stored: see the "
                            "log");
    }
    close_watch(watch);
    mqtt5_broker_free(broker);
    free(watch);
    return code;
}

static int run(const struct cli_call *call)
{
    struct listeners *listeners = (struct listeners *)calloc(1, sizeof *listeners);
    struct rules *rules = (struct rules *)calloc(1, sizeof *rules);
    int code = CLI_OK;
    if (listeners == NULL || rules == NULL)
        code = cli_failed(call, "out of memory");
    if (code == CLI_OK)
        code = check_call(call);
    if (code == CLI_OK)
        code = read_hosts(call, listeners);
    if (code == CLI_OK)
        code = read_rules(call, rules);
    if (code == CLI_OK) {
        const struct broker_call *from = (const struct broker_call *)call->options;
        struct mqtt5_broker_options options;
        mqtt5_broker_options_init(&options);
        copy_config(call, &options.config);
        /* Without passwords there are only anonymous clients; read_hosts() has seen to where. */
        options.config.allow_anonymous = from->allow_anonymous || from->password_file == NULL;
        options.auth.password_file = from->password_file;
        options.acl_file = from->acl_file;
        options.ban_file = from->ban_file;
        options.config.durability_rules = rules->items;
        options.config.durability_rule_count = (uint32_t)rules->count;
        if (from->storage_backend == STORAGE_FILE)
            options.storage_dir = from->storage_dir;
        options.storage_damaged = (enum mqtt5_storage_damaged)from->storage_damaged;
        options.listeners = listeners->items;
        options.listener_count = listeners->count;
        options.workers = (uint32_t)from->workers;
        options.log_level = log_level(call);
        options.log_json = from->log_json;
        const char *why;
        open_standard_files();
        code = mqtt5_broker_config_check(&options.config, &why) == MQTT5_OK
                   ? serve(call, &options)
                   : cli_usage(call, "%s", why);
    }
    free(listeners);
    if (rules != NULL)
        free_rules(rules);
    return code;
}

static const struct cli_option *const tables[] = {option_table, NULL};

const struct cli_command cmd_broker = {
    .name = "broker",
    .summary = "serve MQTT clients",
    .usage = "[options]",
    .notes = "Without --host the broker serves this machine only, without authentication.\n"
             "SIGTERM and SIGINT end it: clients are told, what is written is sent, exit code 0.\n"
             "SIGHUP reads the password, access control and ban files again.\n",
    .tables = tables,
    .options_size = sizeof(struct broker_call),
    .run = run,
};
