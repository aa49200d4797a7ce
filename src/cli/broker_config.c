/* From the command line of `mqttv5 broker` to a configuration, and what is said about it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/broker.h"

#include "base/bytes.h"
#include "cli/json.h"
#include "host/auth/text.h"

#include <string.h>

/* Variables before flags: the later one counts. Each option has one source only. */
static bool set_given(const struct cli_call *call, struct m5_config *config,
                      struct m5_problems *problems)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    const struct cli_option *options = cli_broker_flags();
    bool ok = true;
    for (size_t i = 0; options[i].name != NULL; i++) {
        const enum cli_source source = cli_source_of(call, options[i].name);
        const union broker_slot *slot = &from->slots[i];
        char label[CLI_NAME_SIZE + 2], variable[CLI_NAME_SIZE];
        if (source == CLI_FROM_DEFAULT)
            continue;
        if (source == CLI_FROM_FLAG)
            snprintf(label, sizeof label, "--%s", options[i].name);
        else
            snprintf(label, sizeof label, "%s", cli_env_name(&options[i], variable));
        ok = m5_config_set(config, options[i].name,
                           options[i].repeatable ? slot->texts.items : &slot->text,
                           options[i].repeatable ? slot->texts.count : 1, label, problems) &&
             ok;
    }
    return ok;
}

/* --verbose and --debug only ever say more. */
static bool set_log_level(const struct cli_call *call, struct m5_config *config,
                          struct m5_problems *problems)
{
    static const char *const debug[] = {"debug"}, *const info[] = {"info"};
    const struct broker_call *from = (const struct broker_call *)call->options;
    if (from->debug)
        return m5_config_set(config, "log-level", debug, 1, "--debug", problems);
    if (from->verbose && m5_config_options(config)->log_level < MQTT5_LOG_INFO)
        return m5_config_set(config, "log-level", info, 1, "--verbose", problems);
    return true;
}

static bool check_call(const struct cli_call *call, struct m5_problems *problems)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    const struct m5_place place = {.file = "--mosquitto-conf"};
    if (from->config_file == NULL || from->mosquitto_file == NULL)
        return true;
    return m5_problem_add(problems, M5_PROBLEM_ERROR, "contradiction", place, NULL,
                          "--config and --mosquitto-conf are both given: leave one out");
}

struct m5_config *cli_broker_configure(const struct cli_call *call, struct m5_problems *problems)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    struct m5_config *config = m5_config_new(&m5_libc_allocator);
    if (config == NULL)
        return NULL;
    bool ok = check_call(call, problems);
    if (ok && from->config_file != NULL)
        ok = m5_config_read_file(config, from->config_file, problems);
    else if (ok && from->mosquitto_file != NULL)
        ok = m5_config_read_mosquitto(config, from->mosquitto_file, problems);
    ok = set_given(call, config, problems) && set_log_level(call, config, problems) && ok;
    if (ok)
        m5_config_finish(config, problems);
    if (ok && cli_given(call, "storage-dir") && m5_config_options(config)->storage_dir == NULL)
        m5_problem_add(problems, M5_PROBLEM_ERROR, "contradiction",
                       (struct m5_place){.file = "--storage-dir"}, NULL,
                       "is of no use without the backend file");
    m5_problems_sort(problems);
    return config;
}

/* ---- saying it ---- */

static void print_json(const struct m5_problems *problems)
{
    printf("{\"errors\": %u, \"warnings\": %u, \"problems\": [", problems->errors,
           problems->warnings);
    for (uint32_t i = 0; i < problems->count; i++) {
        const struct m5_problem *problem = &problems->items[i];
        printf("%s\n  {\"level\": \"%s\", \"code\": \"%s\", \"file\": ", i > 0 ? "," : "",
               problem->level == M5_PROBLEM_ERROR ? "error" : "warning", problem->code);
        cli_json_string(stdout, m5_bytes_of(problem->file));
        printf(", \"line\": %u, \"column\": %u, \"key\": ", problem->line, problem->column);
        cli_json_string(stdout, m5_bytes_of(problem->key));
        fputs(", \"text\": ", stdout);
        cli_json_string(stdout, m5_bytes_of(problem->text));
        fputs("}", stdout);
    }
    fputs("]}\n", stdout);
}

void cli_broker_print(const struct cli_call *call, const struct m5_problems *problems)
{
    const struct broker_call *from = (const struct broker_call *)call->options;
    const uint32_t left_out = problems->errors + problems->warnings - problems->count;
    if (from->json) {
        print_json(problems);
        return;
    }
    for (uint32_t i = 0; i < problems->count; i++) {
        char text[2048];
        m5_problem_format(&problems->items[i], text, sizeof text);
        cli_error(call, "%s", text);
    }
    if (left_out > 0)
        cli_error(call, "and %u more", left_out);
}
