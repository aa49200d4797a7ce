/* `mqttv5 broker`: a configuration to a running broker, or to what is wrong with it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/broker.h"

#include "host/notify.h"

#include <mqtt5/broker.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_choice formats[] = {
    {"yaml", M5_CONFIG_YAML}, {"json", M5_CONFIG_JSON}, {NULL, 0}};

#define FIELD(name) .offset = offsetof(struct broker_call, name)

static const struct cli_option option_table[] = {
    {.group = "Configuration",
     .name = "config",
     .alias = 'c',
     .type = CLI_STRING,
     FIELD(config_file),
     .value = "FILE",
     .help = "configuration, YAML or JSON (docs/configuration.md; generate-config writes one)"},
    {.name = "mosquitto-conf",
     .type = CLI_STRING,
     FIELD(mosquitto_file),
     .value = "FILE",
     .help = "a mosquitto.conf instead; what cannot be taken over is said line by line"},
    {.name = "check-config",
     .type = CLI_BOOL,
     FIELD(check),
     .env = "",
     .help = "say what is wrong or insecure, and start nothing"},
    {.name = "json",
     .type = CLI_BOOL,
     FIELD(json),
     .env = "",
     .help = "say it as JSON, on standard output"},
    {.name = "output",
     .alias = 'o',
     .type = CLI_STRING,
     FIELD(output),
     .value = "FILE",
     .env = "",
     .help = "of generate-config: a new file instead of standard output"},
    {.name = "format",
     .alias = 'f',
     .type = CLI_CHOICE,
     FIELD(format),
     .choices = formats,
     .value = "yaml|json",
     .fallback = "yaml",
     .env = "",
     .help = "of generate-config; YAML has explanations"},
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
    {.name = NULL},
};

/* ---- generate-config ---- */

static int generate(const struct cli_call *call)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    FILE *out = stdout;
    if (from->output != NULL && strcmp(from->output, "-") != 0)
        out = fopen(from->output, "wxe"); /* what is there stays there */
    if (out == NULL)
        return cli_failed(call, "cannot write %s: %s", from->output, strerror(errno));
    m5_config_generate((enum m5_config_format)from->format, out);
    const bool ok = fflush(out) == 0 && !ferror(out);
    if (out != stdout && (fclose(out) != 0 || !ok))
        return cli_failed(call, "cannot write %s: %s", from->output, strerror(errno));
    return ok ? CLI_OK : CLI_FAILED;
}

/* ---- check-config ---- */

static int check(const struct cli_call *call, const struct m5_config *config,
                 struct m5_problems *problems)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    if (problems->errors == 0)
        m5_config_lint(config, problems);
    cli_broker_print(call, problems);
    if (problems->errors > 0)
        return CLI_USAGE;
    if (problems->warnings > 0)
        return CLI_FAILED;
    if (!from->json)
        cli_status("nothing is wrong with this configuration");
    return CLI_OK;
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

/* Takes the configuration. */
static int serve(const struct cli_call *call, struct m5_config *config)
{
    struct mqtt5_broker *broker = NULL;
    const char *why;
    int code = CLI_FAILED;
    struct broker_watch *watch = cli_broker_watch_new(call, config);
    if (watch == NULL)
        return cli_failed(call, "cannot watch for signals: %s", strerror(errno));
    if (mqtt5_broker_new(m5_config_options(config), &broker, &why) != MQTT5_OK) {
        cli_error(call, "%s", why);
    } else if (!cli_broker_watch_start(watch, broker)) {
        cli_error(call, "cannot watch for signals: %s", strerror(errno));
    } else {
        m5_notify("READY=1");
        if (mqtt5_broker_run(broker) == MQTT5_OK)
            code = CLI_OK;
        else
            cli_error(call, "a worker could not be started, or not everything was stored: see the "
                            "log");
    }
    cli_broker_watch_free(watch);
    mqtt5_broker_free(broker);
    return code;
}

static int configure(const struct cli_call *call)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    struct m5_problems problems;
    m5_problems_init(&problems);
    struct m5_config *config = cli_broker_configure(call, &problems);
    int code = CLI_USAGE;
    if (config == NULL) {
        code = cli_failed(call, "out of memory");
    } else if (from->check) {
        code = check(call, config, &problems);
    } else {
        cli_broker_print(call, &problems);
        if (problems.errors == 0) {
            open_standard_files();
            code = serve(call, config);
            config = NULL;
        }
    }
    m5_config_free(config);
    m5_problems_fini(&problems);
    return code;
}

static int run(const struct cli_call *call)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    if (call->operands.count == 0)
        return from->json && !from->check ? cli_usage(call, "--json is for --check-config")
                                          : configure(call);
    if (strcmp(call->operands.items[0], "generate-config") == 0)
        return generate(call);
    return cli_usage(call, "%s is no command of the broker: there is generate-config",
                     call->operands.items[0]);
}

static const struct cli_option *const tables[] = {option_table, NULL};

const struct cli_command cmd_broker = {
    .name = "broker",
    .summary = "serve MQTT clients",
    .usage = "[generate-config] [options]",
    .notes =
        "Without an address the broker serves this machine only, without authentication.\n"
        "SIGTERM and SIGINT end it: clients are told, what is written is sent, exit code 0.\n"
        "SIGHUP, or a change of a file, reloads the configuration and every file it names.\n"
        "mqttv5 broker generate-config writes a configuration of all keys, with explanations.\n"
        "With --check-config the exit code is 0 when nothing is wrong, 1 when the broker would\n"
        "start, but something is insecure or left out, and 2 when it would not start.\n",
    .tables = tables,
    .made = cli_broker_flags,
    .options_size = sizeof(struct broker_call),
    .operands_max = 1,
    .run = run,
};
