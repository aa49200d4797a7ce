/* mqtt5_simclient: runs clients in a simulated network, seed by seed.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "simclient/simclient.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LIE_SEEDS_MAX 60u /* that a lie may need until there is an occasion for it */

static const char usage[] =
    "usage: mqtt5_simclient [--seed N] [--seeds N] [--verbose] [--break LIE|all]\n"
    "Runs simulated clients from each of N seeds. --break tells one lie about what was seen and\n"
    "expects that it is noticed.\n";

static const struct {
    const char *name, *text, *complaint;
} lies[] = {
#define X(name, text, complaint) {#name, text, complaint},
    SC_LIE_TABLE(X)
#undef X
};

/* For the signal handler: an assert of client or engine ends the process. */
static volatile uint64_t current_seed;

void sc_fail(struct sc_run *run, const char *format, ...)
{
    va_list arguments;
    if (run->failed)
        return;
    run->failed = true;
    va_start(arguments, format);
    vsnprintf(run->complaint, sizeof run->complaint, format, arguments);
    va_end(arguments);
}

void sc_say(const struct sc_run *run, const char *format, ...)
{
    va_list arguments;
    if (!run->verbose)
        return;
    printf("%8" PRIu64 " ", run->now_ms);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

bool sc_lies(struct sc_run *run, enum sc_lie lie)
{
    if (run->lie != lie || run->lied)
        return false;
    if (run->lie_countdown > 0) {
        run->lie_countdown--;
        return false;
    }
    run->lied = true;
    return true;
}

uint64_t sc_below(struct sc_run *run, uint64_t bound)
{
    return m5_rng_below(&run->rng, bound);
}

bool sc_chance(struct sc_run *run, uint32_t percent)
{
    return sc_below(run, 100) < percent;
}

static void run_world(struct sc_run *run, uint64_t salt, void (*world)(struct sc_run *))
{
    m5_rng_init(&run->rng, run->seed * 2 + salt);
    run->lie_countdown = run->lie == SC_LIE_NONE ? 0 : (uint32_t)sc_below(run, 20);
    run->now_ms = 1000;
    if (!run->failed)
        world(run);
}

static struct sc_run run_seed(uint64_t seed, enum sc_lie lie, bool verbose)
{
    struct sc_run run = {.seed = seed, .lie = lie, .verbose = verbose};
    current_seed = seed;
    run_world(&run, 0, sc_run_engine);
    run_world(&run, 1, sc_run_hostile);
    return run;
}

static void on_trap(int number)
{
    /* Not safe by the book; the process ends either way, and the seed is what counts. */
    printf("seed %" PRIu64 " CRASHED\nreplay: mqtt5_simclient --seed %" PRIu64
           " --verbose\n0 passed, 1 failed\n",
           (uint64_t)current_seed, (uint64_t)current_seed);
    fflush(stdout);
    signal(number, SIG_DFL);
    raise(number);
}

static int run_seeds(uint64_t first, uint64_t count, bool verbose)
{
    uint64_t failed = 0, publishes = 0, deliveries = 0, breaks = 0, packets = 0;
    for (uint64_t i = 0; i < count; i++) {
        const struct sc_run run = run_seed(first + i, SC_LIE_NONE, verbose);
        publishes += run.publishes;
        deliveries += run.deliveries;
        breaks += run.breaks;
        packets += run.packets;
        if (!run.failed)
            continue;
        failed++;
        printf("seed %" PRIu64 ": %s\nreplay: mqtt5_simclient --seed %" PRIu64 " --verbose\n",
               run.seed, run.complaint, run.seed);
    }
    printf("%" PRIu64 " seeds from %" PRIu64 ": %" PRIu64 " publishes, %" PRIu64
           " deliveries, %" PRIu64 " broken connections, %" PRIu64 " hostile packets\n",
           count, first, publishes, deliveries, breaks, packets);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", count - failed, failed);
    return failed == 0 ? 0 : 1;
}

/* True when the lie was told in one of the seeds, and noticed for what it is. */
static bool try_lie(uint64_t first, enum sc_lie lie)
{
    for (uint64_t i = 0; i < LIE_SEEDS_MAX; i++) {
        const struct sc_run run = run_seed(first + i, lie, false);
        if (!run.lied && !run.failed)
            continue;
        const bool noticed =
            run.lied && run.failed && strstr(run.complaint, lies[lie].complaint) != NULL;
        printf("%s: %s: %s\n", noticed ? "noticed" : "NOT NOTICED", lies[lie].text,
               run.failed ? run.complaint : "(no complaint)");
        return noticed;
    }
    printf("NOT TOLD: %s\n", lies[lie].text);
    return false;
}

static int run_lies(uint64_t first, const char *name)
{
    unsigned passed = 0, failed = 0;
    for (unsigned i = 0; i < SC_LIE_COUNT; i++) {
        if (strcmp(name, "all") != 0 && strcmp(name, lies[i].name) != 0)
            continue;
        if (try_lie(first, (enum sc_lie)i))
            passed++;
        else
            failed++;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return passed > 0 && failed == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, seeds = 1;
    const char *lie = NULL;
    bool verbose = false;
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        if (strcmp(argv[i], "--seed") == 0 && more)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--seeds") == 0 && more)
            seeds = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--break") == 0 && more)
            lie = argv[++i];
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else {
            fputs(usage, stderr);
            return 2;
        }
    }
    signal(SIGILL, on_trap);
    signal(SIGTRAP, on_trap);
    signal(SIGSEGV, on_trap);
    signal(SIGABRT, on_trap);
    return lie != NULL ? run_lies(seed, lie) : run_seeds(seed, seeds, verbose);
}
