/* `mqttv5 bench`: loads a server, and measures what comes back.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/plot.h"
#include "cli/bench/report.h"
#include "cli/connection.h"
#include "cli/prompt.h"
#include "cli/property.h"
#include "host/client/url.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#define FIELD(name)  offsetof(struct bench_options, name)
#define LATENCY_RATE 1000 /* messages a second, where latency is the point and nobody says */
#define HOL_TOPICS   4
#define LINKS_MAX    60000 /* ports that one address of ours has towards one of theirs */
#define TOPICS_MAX   BENCH_STREAMS_MAX
#define DESCRIPTORS  32 /* besides the connections */

enum mode { THROUGHPUT, LATENCY, CONNECTIONS, HOL };

static const char *const mode_names[] = {"throughput", "latency", "connections", "hol-blocking"};

struct bench_options {
    struct cli_connection connection;
    int mode;
    uint64_t duration_ms, warmup_ms;
    uint64_t publishers, subscribers, topics, concurrency;
    uint64_t payload_size, qos, rate, inflight, trim_percent;
    const char *topic, *filter, *client_id, *publish_url, *plot;
    bool json;
};

static const struct cli_choice modes[] = {{"throughput", THROUGHPUT},
                                          {"latency", LATENCY},
                                          {"connections", CONNECTIONS},
                                          {"hol-blocking", HOL},
                                          {NULL, 0}};

static const struct cli_option bench_table[] = {
    {.group = "Load",
     .name = "mode",
     .type = CLI_CHOICE,
     .offset = FIELD(mode),
     .choices = modes,
     .value = "MODE",
     .fallback = "throughput",
     .env = "MQTT5_BENCH_MODE",
     .help = "what to measure: throughput, latency, connections or hol-blocking"},
    {.name = "duration",
     .type = CLI_MILLISECONDS,
     .min = 1,
     .max = 86400000,
     .offset = FIELD(duration_ms),
     .value = "TIME",
     .fallback = "10s",
     .help = "length of the window that is measured"},
    {.name = "warmup",
     .type = CLI_MILLISECONDS,
     .max = 3600000,
     .offset = FIELD(warmup_ms),
     .value = "TIME",
     .fallback = "2s",
     .help = "load without measuring before it"},
    {.name = "publishers",
     .type = CLI_INTEGER,
     .min = 1,
     .max = LINKS_MAX,
     .offset = FIELD(publishers),
     .value = "N",
     .fallback = "1",
     .help = "connections that publish"},
    {.name = "subscribers",
     .type = CLI_INTEGER,
     .max = LINKS_MAX,
     .offset = FIELD(subscribers),
     .value = "N",
     .fallback = "1",
     .help = "connections that subscribe"},
    {.name = "topics",
     .type = CLI_INTEGER,
     .min = 1,
     .max = TOPICS_MAX,
     .offset = FIELD(topics),
     .value = "N",
     .help = "topics; without it as many as publishers, or 4 for hol-blocking"},
    {.name = "rate",
     .type = CLI_INTEGER,
     .max = 100000000,
     .offset = FIELD(rate),
     .value = "N",
     .help = "messages a second in all, whatever comes back; 0 = as many as come back. Without it "
             "0 for throughput, else 1000"},
    {.name = "inflight",
     .type = CLI_INTEGER,
     .min = 1,
     .max = 65535,
     .offset = FIELD(inflight),
     .value = "N",
     .fallback = "100",
     .help = "without a rate: messages of each publisher and topic that are not complete"},
    {.name = "concurrency",
     .type = CLI_INTEGER,
     .min = 1,
     .max = LINKS_MAX,
     .offset = FIELD(concurrency),
     .value = "N",
     .fallback = "10",
     .help = "connections under way at a time, for the mode connections"},
    {.group = "Messages",
     .name = "topic",
     .alias = 't',
     .type = CLI_STRING,
     .offset = FIELD(topic),
     .value = "TOPIC",
     .fallback = "bench/test",
     .env = "MQTT5_BENCH_TOPIC",
     .help = "where to publish; with several topics, what stands before /0, /1, ..."},
    {.name = "filter",
     .alias = 'f',
     .type = CLI_STRING,
     .offset = FIELD(filter),
     .value = "FILTER",
     .help = "what every subscriber subscribes to, $share/... too; without it the topics are dealt "
             "out to them"},
    {.name = "qos",
     .alias = 'q',
     .type = CLI_INTEGER,
     .max = 2,
     .offset = FIELD(qos),
     .value = "QOS",
     .fallback = "0",
     .help = "of messages and subscriptions: 0, 1 or 2"},
    {.name = "payload-size",
     .type = CLI_SIZE,
     .min = BENCH_PAYLOAD_MIN,
     .max = BENCH_PAYLOAD_MAX,
     .offset = FIELD(payload_size),
     .value = "SIZE",
     .fallback = "64",
     .help = "bytes of a payload"},
    {.name = "client-id",
     .alias = 'c',
     .also = 'i',
     .type = CLI_STRING,
     .offset = FIELD(client_id),
     .value = "TEXT",
     .fallback = "mqttv5-bench",
     .help = "what the client identifiers begin with"},
    {.name = "pub-url",
     .type = CLI_STRING,
     .offset = FIELD(publish_url),
     .value = "URL",
     .help = "server for the publishers, when it is another one"},
    {.group = "Result",
     .name = "json",
     .type = CLI_BOOL,
     .offset = FIELD(json),
     .help = "print the result as a line of JSON instead of a table"},
    {.name = "plot",
     .type = CLI_STRING,
     .offset = FIELD(plot),
     .value = "PATH",
     .help = "draw latency over time into this file, as SVG"},
    {.name = "steady-trim",
     .type = CLI_INTEGER,
     .max = 40,
     .offset = FIELD(trim_percent),
     .value = "PERCENT",
     .fallback = "10",
     .help = "left out at both ends of the window for the steady rate"},
    {0},
};

static const struct cli_option *const tables[] = {bench_table, cli_server_options,
                                                  cli_transport_options, NULL};

static const struct cli_packet_name packets[] = {{NULL, 0}};

/* ---- the plan ---- */

static struct m5_address unix_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct m5_address out = {.size = sizeof address};
    snprintf(address.sun_path, sizeof address.sun_path, "%.107s",
             path); /* the URL's reader: it fits */
    memcpy(&out.storage, &address, sizeof address);
    return out;
}

static int find_server(const struct cli_call *call, const char *text, struct bench_place *out)
{
    struct m5_url *url = &out->url;
    struct m5_address addresses[M5_ADDRESSES_MAX];
    char why[BENCH_WHY_SIZE] = "";
    const char *reason = NULL;
    enum mqtt5_error error = m5_url_parse(text, url, why, sizeof why);
    if (error == MQTT5_OK)
        error = m5_url_built(url, why, sizeof why);
    if (error != MQTT5_OK)
        return cli_usage(call, "%s", why);
    if (url->kind == M5_URL_UNIX) {
        out->address = unix_address(url->path);
        return CLI_OK;
    }
    if (m5_address_resolve(url->endpoint.host, url->endpoint.port, addresses, &reason) == 0)
        return cli_failed(call, "cannot connect to %s: %s", url->endpoint.host, reason);
    out->address = addresses[0];
    return CLI_OK;
}

static void set_client(const struct bench_options *options, const struct m5_url *url,
                       struct bench_plan *plan)
{
    const struct cli_connection *connection = &options->connection;
    const char *password = url->has_password ? url->password : connection->password;
    mqtt5_client_options_init(&plan->options);
    cli_transport_set(&connection->transport, &plan->options);
    plan->options.version = (uint8_t)connection->version;
    plan->options.keep_alive_s = (uint16_t)connection->keep_alive_s;
    plan->options.username = url->has_username ? url->username : connection->username;
    if (password != NULL)
        plan->options.password =
            (struct mqtt5_bytes){.data = (const uint8_t *)password, .len = strlen(password)};
}

/* Each connection begins with a full handshake, as those of many clients do. */
static int make_stack(const struct cli_call *call, struct bench_plan *plan)
{
    char why[BENCH_WHY_SIZE];
    const enum mqtt5_error error =
        m5_client_stack_new(&plan->options, &bench_allocator, &plan->stack);
    if (error != MQTT5_OK)
        return cli_failed(call, "%s", mqtt5_error_text(error));
    m5_client_stack_forget_sessions(plan->stack);
    if (m5_client_stack_check(plan->stack, &plan->subscribe_at.url, why, sizeof why) != MQTT5_OK ||
        m5_client_stack_check(plan->stack, &plan->publish_to.url, why, sizeof why) != MQTT5_OK)
        return cli_failed(call, "%s", why);
    return CLI_OK;
}

static void set_load(const struct cli_call *call, const struct bench_options *options,
                     struct bench_plan *plan)
{
    const bool paced = options->mode == LATENCY || options->mode == HOL;
    plan->publishers = (uint32_t)options->publishers;
    plan->subscribers = (uint32_t)options->subscribers;
    plan->topics = (uint32_t)options->topics;
    if (!cli_given(call, "topics"))
        plan->topics = options->mode == HOL ? HOL_TOPICS : plan->publishers;
    plan->rate = cli_given(call, "rate") ? (double)options->rate : paced ? LATENCY_RATE : 0;
    plan->inflight = (uint32_t)options->inflight;
    plan->qos = (uint8_t)options->qos;
    plan->payload_size = options->payload_size;
    plan->topic = options->topic;
    plan->filter = options->filter;
    plan->id_prefix = options->client_id;
    plan->warmup_ns = options->warmup_ms * 1000000;
    plan->duration_ns = options->duration_ms * 1000000;
    plan->connect_timeout_ns = options->connection.connect_timeout_ms * 1000000;
    plan->progress = isatty(STDERR_FILENO) == 1 && !options->connection.quiet;
}

/* Each connection is a descriptor: the system's limit is raised as far as it goes. */
static int check_descriptors(const struct cli_call *call, uint64_t links)
{
    struct rlimit limit;
    const rlim_t wanted = links + DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return CLI_OK;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted)
        return CLI_OK;
    return cli_failed(call,
                      "%llu connections need more descriptors than this process may have "
                      "(ulimit -n)",
                      (unsigned long long)links);
}

static int check(const struct cli_call *call, const struct bench_options *options)
{
    const char *why = cli_check_topic_name(options->topic);
    const uint64_t links = options->mode == CONNECTIONS
                               ? options->concurrency
                               : options->publishers + options->subscribers;
    if (why != NULL)
        return cli_usage(call, "--topic %s: %s", options->topic, why);
    why = options->filter != NULL ? cli_check_topic_filter(options->filter) : NULL;
    if (why != NULL)
        return cli_usage(call, "--filter %s: %s", options->filter, why);
    if (strlen(options->topic) > 200 || strlen(options->client_id) > 64)
        return cli_usage(call, "--topic may have 200 bytes here, and --client-id 64");
    if (options->mode == HOL && cli_given(call, "topics") && options->topics > BENCH_HOL_TOPICS_MAX)
        return cli_usage(call, "hol-blocking compares up to %u topics", BENCH_HOL_TOPICS_MAX);
    if (options->mode == CONNECTIONS && options->plot != NULL)
        return cli_usage(call, "--plot draws messages: it does not go with connections");
    if ((options->mode == LATENCY || options->mode == HOL) && options->subscribers == 0)
        return cli_usage(call, "%s needs a subscriber", mode_names[options->mode]);
    const int code = cli_connection_check(call, &options->connection, packets);
    return code == CLI_OK ? check_descriptors(call, links) : code;
}

/* ---- the work ---- */

static int run_connects(const struct cli_call *call, const struct bench_options *options,
                        const struct bench_plan *plan)
{
    struct bench_connects *result = calloc(1, sizeof *result);
    const uint32_t concurrency = (uint32_t)options->concurrency;
    if (result == NULL)
        return cli_failed(call, "out of memory");
    int code = CLI_OK;
    if (!bench_connects_run(plan, concurrency, result))
        code = cli_failed(call, "%s", result->why);
    else if (options->json)
        bench_json_connects(stdout, result, concurrency);
    else
        bench_report_connects(stdout, result, concurrency);
    if (code == CLI_OK && (result->failed > 0 || result->successful == 0))
        code = cli_failed(call, "%llu connections failed%s%s", (unsigned long long)result->failed,
                          result->why[0] != 0 ? ": " : "", result->why);
    free(result);
    return code;
}

static int draw(const struct cli_call *call, const struct bench_options *options,
                const struct bench_plan *plan, const struct bench_result *result)
{
    char title[256];
    if (options->plot == NULL)
        return CLI_OK;
    FILE *file = fopen(options->plot, "w");
    if (file == NULL)
        return cli_failed(call, "cannot write %s: %s", options->plot, strerror(errno));
    snprintf(title, sizeof title, "mqttv5 bench, %s: %u : %u, QoS %u, %zu bytes, %.0f messages/s",
             mode_names[options->mode], plan->publishers, plan->subscribers, (unsigned)plan->qos,
             plan->payload_size,
             result->elapsed_s > 0 ? (double)result->received / result->elapsed_s : 0);
    bench_plot(file, &result->windows, title);
    const bool ok = ferror(file) == 0;
    return fclose(file) == 0 && ok
               ? CLI_OK
               : cli_failed(call, "cannot write %s: %s", options->plot, strerror(errno));
}

/* What must not happen: it makes the command fail. */
static int judge(const struct cli_call *call, const struct bench_plan *plan,
                 const struct bench_result *result)
{
    if (result->why[0] != 0)
        return cli_failed(call, "%s", result->why);
    if (plan->qos > 0 && result->lost > 0)
        return cli_failed(call, "%llu messages of QoS %u were lost",
                          (unsigned long long)result->lost, (unsigned)plan->qos);
    if (plan->qos == 2 && result->duplicates > 0)
        return cli_failed(call, "%llu messages of QoS 2 came twice",
                          (unsigned long long)result->duplicates);
    if (result->refused > 0)
        return cli_failed(call, "the server refused %llu messages",
                          (unsigned long long)result->refused);
    return CLI_OK;
}

static void report(const struct bench_options *options, const struct bench_plan *plan,
                   const struct bench_result *result, const struct bench_hol *hol)
{
    const double trim = (double)options->trim_percent / 100;
    const char *mode = mode_names[options->mode];
    if (options->json) {
        bench_json_load(stdout, mode, plan, result, trim, hol);
        return;
    }
    bench_report_load(stdout, mode, plan, result, trim);
    if (hol != NULL) {
        struct bench_hol_result sum;
        bench_hol_sum_up(hol, &sum);
        bench_report_hol(stdout, hol, &sum);
    }
}

static int run_load(const struct cli_call *call, const struct bench_options *options,
                    const struct bench_plan *plan)
{
    struct bench_result *result = calloc(1, sizeof *result);
    struct bench_load load = {.plan = plan};
    struct bench_hol hol = {0};
    int code = CLI_OK;
    if (result == NULL || (options->mode == HOL &&
                           !bench_hol_init(&hol, plan->topics, plan->duration_ns, plan->rate)))
        code = cli_failed(call, "out of memory");
    if (code == CLI_OK) {
        if (options->mode == HOL) {
            load.on_latency = bench_hol_add;
            load.ctx = &hol;
        }
        (void)bench_load_run(&load, plan, result);
        if (result->elapsed_s > 0)
            report(options, plan, result, options->mode == HOL ? &hol : NULL);
        code = judge(call, plan, result);
        if (code == CLI_OK)
            code = draw(call, options, plan, result);
        bench_load_fini(&load);
    }
    bench_hol_fini(&hol);
    free(result);
    return code;
}

static int run(const struct cli_call *call)
{
    const struct bench_options *options = call->options;
    struct bench_plan plan = {.rate = 0};
    char text[CLI_URL_SIZE];
    int code = check(call, options);
    if (code == CLI_OK)
        code = cli_connection_url(call, &options->connection, text, NULL);
    if (code == CLI_OK)
        code = find_server(call, text, &plan.subscribe_at);
    plan.publish_to = plan.subscribe_at;
    if (code == CLI_OK && options->publish_url != NULL)
        code = find_server(call, options->publish_url, &plan.publish_to);
    if (code != CLI_OK)
        return code;
    set_client(options, &plan.subscribe_at.url, &plan);
    set_load(call, options, &plan);
    prctl(PR_SET_TIMERSLACK, 1); /* ns: messages are to be sent when they are due */
    cli_signals_catch(NULL);
    code = make_stack(call, &plan);
    if (code == CLI_OK)
        code = options->mode == CONNECTIONS ? run_connects(call, options, &plan)
                                            : run_load(call, options, &plan);
    m5_client_stack_free(plan.stack);
    return code;
}

const struct cli_command cmd_bench = {
    .name = "bench",
    .summary = "load a server, and measure",
    .usage = "[options]",
    .notes = "Examples:\n"
             "  mqttv5 bench --publishers 10 --subscribers 10 --qos 1\n"
             "  mqttv5 bench --mode latency --rate 20000 --publishers 100 --plot latency.svg\n"
             "  mqttv5 bench --mode connections --concurrency 100 --json\n"
             "  mqttv5 bench --publishers 1 --subscribers 100 --topics 1\n"
             "  mqttv5 bench --url wss://broker.example --ca-cert ca.pem\n"
             "\n"
             "With a rate, messages are due at equal distances whatever the server\n"
             "does, and a latency counts from when a message was due: a server that\n"
             "stands still for a while cannot hide it (no coordinated omission).\n"
             "Without, each publisher and topic has --inflight messages under way.\n"
             "\n"
             "Everything runs on one thread. The result says how much of a core that\n"
             "took: near 100 % the figures are those of this program, and not of the\n"
             "server.\n",
    .exits = "1 also says that messages of QoS 1 or 2 were lost, or came twice at QoS 2.",
    .tables = tables,
    .options_size = sizeof(struct bench_options),
    .run = run,
};
