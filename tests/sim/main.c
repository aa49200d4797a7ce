/* mqtt5_sim: runs the broker engine and dozens of clients in a simulated network, seed by seed.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: mqtt5_sim [--seed N] [--seeds N] [--shards N] [--clients N] [--steps N] [--disk "
    "yes|no]\n"
    "                 [--verbose] [--break RULE|all] [--list FILE]\n"
    "Runs a simulated broker from each of N seeds. --break tells one lie about what was seen and\n"
    "expects that the check for it fires. --list runs the seeds that FILE begins its lines with.\n";

/* Seeds that --break may need until the moment for its lie comes. */
#define LIE_SEEDS_MAX 60u

struct arguments {
    struct sim_options options;
    uint64_t seeds;
    const char *list; /* NULL: none */
    bool lies;        /* self-test: `lie` to `lie_last` */
    enum sim_break lie_last;
};

/* What the process is doing, for the signal handler: an assert of the engine ends it. */
static struct sim_world *volatile current_world;

static void print_command(const struct sim_options *options, FILE *out)
{
    fprintf(out, "replay: mqtt5_sim --seed %" PRIu64, options->seed);
    if (options->shards != 0)
        fprintf(out, " --shards %u", (unsigned)options->shards);
    if (options->clients != 0)
        fprintf(out, " --clients %u", (unsigned)options->clients);
    if (options->steps != 0)
        fprintf(out, " --steps %u", (unsigned)options->steps);
    if (options->disk != SIM_DISK_DRAWN)
        fprintf(out, " --disk %s", options->disk == SIM_DISK_YES ? "yes" : "no");
    fprintf(out, " --verbose\n");
}

/* A sanitizer that ends the process calls this, where there is one. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* Not safe in a handler by the book; the process ends either way, and the trace is what counts. */
static void on_death(void)
{
    struct sim_world *world = current_world;
    if (world == NULL)
        return;
    current_world = NULL;
    sim_trace_print(world, stdout);
    printf("seed %" PRIu64 " CRASHED at %" PRIu64 " ms\n", world->options.seed, world->now_ms);
    print_command(&world->options, stdout);
    printf("0 passed, 1 failed\n");
    fflush(stdout);
}

static void on_trap(int signal_number)
{
    signal(signal_number, SIG_DFL);
    on_death();
    raise(signal_number);
}

struct result {
    bool failed;
    uint64_t hash, count, deliveries, obligations;
    char failure[sizeof((struct sim_world *)0)->failure];
};

static struct result run(const struct sim_options *options, bool show)
{
    struct sim_world *world = sim_world_new(options);
    current_world = world;
    sim_world_run(world);
    struct result result = {.failed = world->failed,
                            .hash = world->trace.hash,
                            .count = world->trace.count,
                            .deliveries = world->deliveries,
                            .obligations = world->obligations};
    memcpy(result.failure, world->failure, sizeof result.failure);
    if (world->failed && show) {
        sim_trace_print(world, stdout);
        printf("seed %" PRIu64 " FAILED at %" PRIu64 " ms: %s\n", options->seed, world->now_ms,
               world->failure);
        print_command(options, stdout);
    }
    current_world = NULL;
    sim_world_free(world);
    return result;
}

/* The same seed again must give the same trace, to the last line. */
static bool replays(const struct sim_options *options, const struct result *first)
{
    struct result second = run(options, false);
    if (second.hash == first->hash && second.count == first->count)
        return true;
    printf("seed %" PRIu64 " FAILED: run again, it went another way\n", options->seed);
    return false;
}

static int run_seeds(const struct arguments *arguments)
{
    uint64_t passed = 0, failed = 0, deliveries = 0, obligations = 0;
    struct sim_options options = arguments->options;
    for (uint64_t i = 0; i < arguments->seeds; i++) {
        options.seed = arguments->options.seed + i;
        struct result result = run(&options, true);
        bool good = !result.failed && (i % 100 != 0 || replays(&options, &result));
        passed += good;
        failed += !good;
        deliveries += result.deliveries;
        obligations += result.obligations;
        if (options.verbose)
            printf("seed %" PRIu64 ": %s, trace %016" PRIx64 "\n", options.seed,
                   good ? "passed" : "failed", result.hash);
        fflush(stdout);
    }
    printf("%" PRIu64 " deliveries judged, %" PRIu64 " had to come and did\n", deliveries,
           obligations);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Seeds that once found something, with a disk. */
static int run_list(const struct arguments *arguments)
{
    char line[200];
    uint64_t passed = 0, failed = 0;
    struct sim_options options = arguments->options;
    options.disk = SIM_DISK_YES;
    FILE *file = fopen(arguments->list, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *end;
        options.seed = strtoull(line, &end, 10);
        if (end == line)
            continue;
        bool good = !run(&options, true).failed;
        passed += good;
        failed += !good;
    }
    if (file != NULL)
        fclose(file);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    return passed > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool lie_is_noticed(const struct arguments *arguments, enum sim_break lie)
{
    struct sim_options options = arguments->options;
    options.lie = lie;
    for (uint64_t i = 0; i < LIE_SEEDS_MAX; i++) {
        options.seed = arguments->options.seed + i;
        struct result result = run(&options, false);
        if (!result.failed)
            continue;
        bool right = strstr(result.failure, sim_breaks[lie].expected) != NULL;
        printf("%-16s seed %-4" PRIu64 " %s: %s\n", sim_breaks[lie].name, options.seed,
               right ? "noticed" : "WRONGLY TAKEN FOR", result.failure);
        return right;
    }
    printf("%-16s NOT NOTICED\n", sim_breaks[lie].name);
    return false;
}

static int run_lies(const struct arguments *arguments)
{
    uint32_t passed = 0, failed = 0;
    for (uint32_t i = arguments->options.lie; i <= arguments->lie_last; i++) {
        bool good = lie_is_noticed(arguments, (enum sim_break)i);
        passed += good;
        failed += !good;
    }
    printf("%u passed, %u failed\n", (unsigned)passed, (unsigned)failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- the command line ---- */

static bool parse_lie(const char *text, struct arguments *out)
{
    out->lies = true;
    out->options.lie = (enum sim_break)(SIM_BREAK_NONE + 1);
    out->lie_last = (enum sim_break)(SIM_BREAK_COUNT - 1);
    if (strcmp(text, "all") == 0)
        return true;
    for (uint32_t i = SIM_BREAK_NONE + 1; i < SIM_BREAK_COUNT; i++)
        if (strcmp(text, sim_breaks[i].name) == 0) {
            out->options.lie = out->lie_last = (enum sim_break)i;
            return true;
        }
    return false;
}

static bool parse_number(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    *out = strtoull(text, &end, 10);
    return *text != '\0' && *end == '\0' && *out <= most;
}

static bool parse_option(const char *name, const char *text, struct arguments *out)
{
    uint64_t number;
    if (strcmp(name, "--break") == 0)
        return parse_lie(text, out);
    if (strcmp(name, "--list") == 0) {
        out->list = text;
        return true;
    }
    if (strcmp(name, "--disk") == 0) {
        out->options.disk = *text == 'y' ? SIM_DISK_YES : SIM_DISK_NO;
        return strcmp(text, "yes") == 0 || strcmp(text, "no") == 0;
    }
    if (!parse_number(text, UINT64_MAX, &number))
        return false;
    if (strcmp(name, "--seed") == 0)
        out->options.seed = number;
    else if (strcmp(name, "--seeds") == 0)
        out->seeds = number;
    else if (strcmp(name, "--shards") == 0 && number <= SIM_SHARDS)
        out->options.shards = (uint32_t)number;
    else if (strcmp(name, "--clients") == 0 && number <= 5000)
        out->options.clients = (uint32_t)number;
    else if (strcmp(name, "--steps") == 0 && number <= 10000000)
        out->options.steps = (uint32_t)number;
    else
        return false;
    return true;
}

static bool parse(int argc, char **argv, struct arguments *out)
{
    *out = (struct arguments){.options = {.seed = 1}, .seeds = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0) {
            out->options.verbose = true;
        } else {
            if (i + 1 == argc || !parse_option(argv[i], argv[i + 1], out))
                return false;
            i++;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    if (!parse(argc, argv, &arguments)) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGILL, on_trap);
    signal(SIGTRAP, on_trap);
    signal(SIGABRT, on_trap);
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(on_death);
    else
        signal(SIGSEGV, on_trap);
    if (arguments.list != NULL)
        return run_list(&arguments);
    return arguments.lies ? run_lies(&arguments) : run_seeds(&arguments);
}
