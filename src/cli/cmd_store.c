/* `mqttv5 store`: looks at the store of a broker, which may be running.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "broker/record.h"
#include "cli/command.h"
#include "cli/json.h"
#include "cli/record.h"
#include "host/store/inspect.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

struct store_options {
    bool json;
};

static const struct cli_option store_table[] = {
    {.group = "Output",
     .name = "json",
     .type = CLI_BOOL,
     .offset = offsetof(struct store_options, json),
     .help = "print JSON: one object, or with dump one object a line"},
    {0},
};

/* What is counted of each kind of record. */
struct tally {
    uint64_t count, key_bytes, value_bytes;
};

struct survey {
    struct tally kinds[M5_RECORD_KINDS + 1];
    uint64_t records, senseless;
    FILE *out; /* where records are printed, or NULL */
    bool json;
};

static enum mqtt5_error see(void *ctx, struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    struct survey *survey = ctx;
    uint64_t first, second;
    struct tally *tally = &survey->kinds[m5_record_kind(key, &first, &second)];
    tally->count++;
    tally->key_bytes += key.len;
    tally->value_bytes += value.len;
    survey->records++;
    survey->senseless += !cli_record_print(survey->out, key, value, survey->json);
    return survey->out != NULL && ferror(survey->out) ? MQTT5_ERR_IO : MQTT5_OK;
}

/* ---- printing ---- */

static void put_text(const char *name, const char *text)
{
    printf(",\"%s\":", name);
    cli_json_string(stdout, m5_bytes_of(text));
}

static void put_time(const char *name, uint64_t time_ms, bool json)
{
    const time_t seconds = (time_t)(time_ms / 1000);
    struct tm utc;
    char text[32] = "never";
    if (time_ms != 0 && gmtime_r(&seconds, &utc) != NULL)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (json)
        put_text(name, text);
    else
        printf("%-20s %s\n", name, text);
}

static void print_kinds_as_json(const struct survey *survey)
{
    fputs(",\"kinds\":{", stdout);
    const char *comma = "";
    for (unsigned i = 0; i <= M5_RECORD_KINDS; i++) {
        const struct tally *tally = &survey->kinds[i];
        if (tally->count == 0)
            continue;
        printf("%s\"%s\":{\"count\":%" PRIu64 ",\"key_bytes\":%" PRIu64 ",\"value_bytes\":%" PRIu64
               "}",
               comma, m5_record_kind_name((enum m5_record_kind)i), tally->count, tally->key_bytes,
               tally->value_bytes);
        comma = ",";
    }
    fputs("}", stdout);
}

static void print_numbers(const struct m5_inspect_report *report, bool json)
{
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"format", report->format},         {"group", report->group},
        {"group_map", report->group_map},   {"map_bytes", report->bytes_map},
        {"free_bytes", report->bytes_free}, {"log_bytes", report->bytes_log},
    };
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        printf(json ? ",\"%s\":%" PRIu64 : "%-20s %" PRIu64 "\n", numbers[i].name,
               numbers[i].value);
    put_time("written", report->written_ms, json);
    if (report->owner > 0)
        printf(json ? ",\"%s\":%ld" : "%-20s %ld\n", "broker_process", report->owner);
}

static void print_stats(const struct m5_inspect_report *report, const struct survey *survey,
                        bool json)
{
    if (json) {
        printf("{\"records\":%" PRIu64, survey->records);
        print_kinds_as_json(survey);
        print_numbers(report, true);
        puts("}");
        return;
    }
    printf("%-20s %12s %14s %14s\n", "kind", "records", "key bytes", "value bytes");
    for (unsigned i = 0; i <= M5_RECORD_KINDS; i++) {
        const struct tally *tally = &survey->kinds[i];
        if (tally->count > 0)
            printf("%-20s %12" PRIu64 " %14" PRIu64 " %14" PRIu64 "\n",
                   m5_record_kind_name((enum m5_record_kind)i), tally->count, tally->key_bytes,
                   tally->value_bytes);
    }
    puts("");
    print_numbers(report, false);
}

static void print_check(const struct m5_inspect_report *report, const struct survey *survey,
                        bool json)
{
    const bool good = report->damage[0] == 0 && survey->senseless == 0;
    if (!json && good)
        printf("good: %" PRIu64 " records, group %" PRIu64 "\n", survey->records, report->group);
    if (!json)
        return;
    printf("{\"good\":%s,\"records\":%" PRIu64 ",\"checksums\":%" PRIu64 ",\"senseless\":%" PRIu64,
           good ? "true" : "false", survey->records, report->checksums, survey->senseless);
    if (report->damage[0] != 0)
        put_text("damage", report->damage);
    print_numbers(report, true);
    puts("}");
}

/* ---- actions ---- */

/* Opens the store and sees all of it; CLI_OK, or CLI_FAILED after a sentence. Damage is not a
 * failure here: *@p report says it. */
static int survey_store(const struct cli_call *call, struct m5_inspect_report *report,
                        struct survey *survey)
{
    struct m5_inspect *inspect;
    const char *dir = call->operands.items[1];
    const enum mqtt5_error error = m5_inspect_open(dir, &inspect, report);
    if (error != MQTT5_OK && report->damage[0] == 0)
        return cli_failed(call, "%s", report->why);
    const enum mqtt5_error walked =
        inspect != NULL ? m5_inspect_walk(inspect, see, survey) : MQTT5_OK;
    m5_inspect_free(inspect);
    if (walked != MQTT5_OK)
        return cli_failed(call, "\"%s\" cannot be read to its end: %s", dir,
                          mqtt5_error_text(walked));
    return CLI_OK;
}

/* What damage makes of the exit code. */
static int judge(const struct cli_call *call, const struct m5_inspect_report *report,
                 const struct survey *survey)
{
    if (fflush(stdout) != 0)
        return cli_failed(call, "the output cannot be written");
    if (report->damage[0] != 0)
        return cli_failed(call, "the store is damaged: %s", report->damage);
    if (survey->senseless > 0)
        return cli_failed(call, "%" PRIu64 " records make no sense", survey->senseless);
    return CLI_OK;
}

static int run_check(const struct cli_call *call, bool json)
{
    struct m5_inspect_report report;
    struct survey survey = {.json = json};
    const int result = survey_store(call, &report, &survey);
    if (result != CLI_OK)
        return result;
    print_check(&report, &survey, json);
    return judge(call, &report, &survey);
}

static int run_stats(const struct cli_call *call, bool json)
{
    struct m5_inspect_report report;
    struct survey survey = {.json = json};
    const int result = survey_store(call, &report, &survey);
    if (result != CLI_OK)
        return result;
    print_stats(&report, &survey, json);
    return judge(call, &report, &survey);
}

static int run_dump(const struct cli_call *call, bool json)
{
    struct m5_inspect_report report;
    struct survey survey = {.out = stdout, .json = json};
    const int result = survey_store(call, &report, &survey);
    return result != CLI_OK ? result : judge(call, &report, &survey);
}

static int run_backup(const struct cli_call *call, bool json)
{
    struct m5_inspect_report report;
    const char *target = call->operands.items[2];
    if (m5_store_backup(call->operands.items[1], target, &report) != MQTT5_OK)
        return cli_failed(call, "%s%s", report.damage[0] != 0 ? "the store is damaged: " : "",
                          report.damage[0] != 0 ? report.damage : report.why);
    if (json) {
        printf("{\"group\":%" PRIu64, report.group);
        put_text("folder", target);
        puts("}");
    } else {
        printf("\"%s\" holds the store as of group %" PRIu64 "\n", target, report.group);
    }
    return CLI_OK;
}

static const struct verb {
    const char *name, *usage;
    size_t operands;
    int (*run)(const struct cli_call *call, bool json);
} verbs[] = {
    {"check", "DIR", 1, run_check},
    {"stats", "DIR", 1, run_stats},
    {"dump", "DIR", 1, run_dump},
    {"backup", "DIR TARGET", 2, run_backup},
};
#define VERBS (sizeof verbs / sizeof *verbs)

static int run(const struct cli_call *call)
{
    const struct store_options *options = call->options;
    const char *name = call->operands.count > 0 ? call->operands.items[0] : "";
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, name) != 0)
            continue;
        if (call->operands.count != verbs[i].operands + 1)
            return cli_usage(call, "usage: mqttv5 store %s %s", name, verbs[i].usage);
        return verbs[i].run(call, options->json);
    }
    if (name[0] == 0)
        return cli_usage(call, "say what to do: check, stats, dump or backup");
    return cli_usage(call, "unknown action \"%s\": check, stats, dump or backup", name);
}

static const struct cli_option *const tables[] = {store_table, NULL};

const struct cli_command cmd_store = {
    .name = "store",
    .summary = "check, count, print or copy what a broker has stored",
    .usage = "check|stats|dump DIR, backup DIR TARGET",
    .notes = "Actions:\n"
             "  check DIR          read all of it and say whether it is good\n"
             "  stats DIR          print what there is of each kind, and how large it is\n"
             "  dump DIR           print a line for each record, payloads by their size only\n"
             "  backup DIR TARGET  write it to the folder TARGET, which is made or empty\n"
             "DIR is the folder of the store (--storage-dir of the broker). A broker may be\n"
             "running on it: what is seen is the state of one moment. Only TARGET is written to;\n"
             "a broker can be started on it.\n"
             "Exit code: 0 done, and the store is good; 1 it is damaged, or it could not be\n"
             "done; 2 wrong usage.\n",
    .tables = tables,
    .options_size = sizeof(struct store_options),
    .operands_max = 3,
    .run = run,
};
