/* Runs golden conversations against the sans-I/O engine in virtual time.
 *
 * Each conversation runs whole, byte by byte and split, with one shard and with three, in a process
 * of its own, so that one that crashes the engine does not hide the others.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "golden/golden_script.h"
#include "golden/golden_self_test.h"
#include "golden/golden_words.h"
#include "golden/golden_world.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_MAX    60
#define SMALL_BYTES    4096   /* conversations that send more are not cut into pieces */
#define SMALL_ADVANCE  600000 /* ms; the same for those that wait longer */
#define SPLITS_DEFAULT 12

struct options {
    const char *only;
    size_t splits;
    bool verbose, fork, first; /* first: stop at the first failure */
};

struct counts {
    unsigned passed, failed;
};

/* One run of one scenario. */
struct run {
    const struct golden_scenario *scenario;
    struct golden_world world;
    struct golden_captures captures;
};

static bool say(const struct run *run, const struct golden_step *step, const char *what)
{
    static const char *const feedings[] = {"whole", "byte by byte", "split"};
    const struct golden_mode *mode = &run->world.mode;
    printf("%s:%u: %s\n  (%s", run->scenario->path, step != NULL ? step->line : run->scenario->line,
           what, feedings[mode->feeding]);
    if (mode->feeding == GOLDEN_SPLIT)
        printf(" at %zu", mode->split);
    printf(", %u shard%s%s)\n", mode->shards, mode->shards == 1 ? "" : "s",
           mode->store ? ", with a store" : "");
    return false;
}

static void print_wanted(const struct run *run, const struct golden_step *step)
{
    printf("  wanted    %c < %s\n", step->name, step->text);
    for (const struct golden_list *one = step->list; one != NULL; one = one->next) {
        uint8_t *bytes;
        size_t size;
        if (one->special != GOLDEN_PACKET || !golden_build(one, &run->captures, &bytes, &size))
            continue;
        golden_print_packet("expected", (struct mqtt5_bytes){bytes, size});
        free(bytes);
    }
}

static void print_got(const struct golden_link *link)
{
    const struct mqtt5_bytes packet = golden_link_packet(link);
    if (packet.len > 0)
        golden_print_packet("got", packet);
    else if (link->received.size > 0)
        golden_print_packet("got part",
                            (struct mqtt5_bytes){link->received.data, link->received.size});
    else
        printf("  got       %s\n", link->closed ? "closed" : "nothing");
}

static bool matches_one(struct run *run, const struct golden_list *one, struct golden_link *link)
{
    if (one->special == GOLDEN_CLOSED)
        return link->closed && link->received.size == 0;
    if (one->special == GOLDEN_NOTHING)
        return !link->closed && link->received.size == 0;
    const struct mqtt5_bytes packet = golden_link_packet(link);
    if (packet.len == 0 || !golden_match(one, packet, &run->captures))
        return false;
    golden_link_take(link, packet.len);
    return true;
}

static bool matches(struct run *run, const struct golden_step *step)
{
    struct golden_link *link = golden_world_link(&run->world, step->name);
    for (const struct golden_list *one = step->list; one != NULL; one = one->next) {
        if (matches_one(run, one, link))
            return true;
    }
    return false;
}

static bool expect(struct run *run, const struct golden_step *step)
{
    if (matches(run, step))
        return true;
    say(run, step, "not what the conversation says");
    print_wanted(run, step);
    print_got(golden_world_link(&run->world, step->name));
    return false;
}

/* A run of `<&` lines: each packet that comes must be one of those that are left. */
static bool expect_unordered(struct run *run, const struct golden_step *steps, size_t count)
{
    bool done[64] = {false};
    for (size_t left = count; left > 0; left--) {
        size_t i = 0;
        while (i < count && (done[i] || !matches(run, &steps[i])))
            i++;
        if (i < count) {
            done[i] = true;
            continue;
        }
        say(run, &steps[0], "none of those that may come in any order");
        for (i = 0; i < count; i++) {
            if (!done[i])
                print_wanted(run, &steps[i]);
        }
        print_got(golden_world_link(&run->world, steps[0].name));
        return false;
    }
    return true;
}

static size_t unordered_count(const struct golden_scenario *scenario, size_t from)
{
    size_t n = 0;
    while (from + n < scenario->step_count && n < 64 &&
           scenario->steps[from + n].verb == GOLDEN_EXPECT_UNORDERED &&
           scenario->steps[from + n].name == scenario->steps[from].name)
        n++;
    return n;
}

static bool send(struct run *run, const struct golden_step *step)
{
    uint8_t *bytes;
    size_t size;
    if (!golden_build(step->list, &run->captures, &bytes, &size))
        return say(run, step, "a wildcard or an empty capture cannot be sent");
    golden_world_send(&run->world, step->name, (struct mqtt5_bytes){bytes, size});
    free(bytes);
    return true;
}

static bool nothing_left(struct run *run)
{
    for (char name = 'A'; name <= 'Z'; name++) {
        const struct golden_link *link = golden_world_link(&run->world, name);
        if (link->open && link->received.size > 0) {
            say(run, NULL, "more came than the conversation says");
            printf("  on %c\n", name);
            print_got(link);
            return false;
        }
    }
    return true;
}

static bool do_step(struct run *run, const struct golden_step *step)
{
    if (step->name != 0 && step->verb != GOLDEN_OPEN &&
        !golden_world_link(&run->world, step->name)->open)
        return say(run, step, "this connection is not open");
    switch (step->verb) {
    case GOLDEN_OPEN: golden_world_open(&run->world, step->name); return true;
    case GOLDEN_BREAK: golden_world_break(&run->world, step->name); return true;
    case GOLDEN_SEND: return send(run, step);
    case GOLDEN_EXPECT: return expect(run, step);
    case GOLDEN_EXPECT_OPTIONAL: (void)matches(run, step); return true;
    case GOLDEN_ADVANCE: golden_world_advance(&run->world, step->ms); return true;
    case GOLDEN_STOP: golden_world_stop(&run->world); return true;
    case GOLDEN_RESTART:
        if (!nothing_left(run))
            return false;
        golden_world_restart(&run->world, step->ms);
        return true;
    case GOLDEN_CRASH:
        if (!nothing_left(run))
            return false;
        golden_world_crash(&run->world, step->ms);
        return true;
    case GOLDEN_STORE: golden_world_store(&run->world, step->store); return true;
    case GOLDEN_EXPECT_UNORDERED: break; /* done in runs */
    }
    return true;
}

static bool do_steps(struct run *run)
{
    const struct golden_scenario *scenario = run->scenario;
    for (size_t i = 0; i < scenario->step_count; i++) {
        const size_t unordered = unordered_count(scenario, i);
        if (unordered > 0) {
            if (!expect_unordered(run, &scenario->steps[i], unordered))
                return false;
            i += unordered - 1;
        } else if (!do_step(run, &scenario->steps[i])) {
            return false;
        }
        if (run->world.error[0] != '\0')
            return say(run, &scenario->steps[i], run->world.error);
    }
    return nothing_left(run);
}

static bool run_once(const struct golden_scenario *scenario, struct golden_mode mode)
{
    struct run run = {.scenario = scenario, .captures = scenario->captures};
    if (!golden_world_init(&run.world, scenario->settings, mode))
        return say(&run, NULL, run.world.error);
    bool good = do_steps(&run);
    if (!golden_world_fini(&run.world) && good)
        good = say(&run, NULL, run.world.error);
    golden_captures_fini(&run.captures);
    return good;
}

/* The length of the longest sending, or 0 when the conversation is not to be cut. */
static size_t longest_piece(const struct golden_scenario *scenario)
{
    const struct golden_captures none = {0};
    size_t longest = 0, total = 0;
    uint64_t ms = 0;
    for (size_t i = 0; i < scenario->step_count; i++) {
        const struct golden_step *step = &scenario->steps[i];
        uint8_t *bytes;
        size_t size;
        ms += step->ms;
        if (step->verb != GOLDEN_SEND || !golden_build(step->list, &none, &bytes, &size))
            continue;
        free(bytes);
        longest = size > longest ? size : longest;
        total += size;
    }
    return total > SMALL_BYTES || ms > SMALL_ADVANCE ? 0 : longest;
}

static bool run_modes(const struct golden_scenario *scenario, const struct options *options,
                      bool store)
{
    const size_t longest = longest_piece(scenario);
    for (uint32_t shards = 1; shards <= 3; shards += 2) {
        if (!run_once(scenario, (struct golden_mode){shards, GOLDEN_WHOLE, 0, store}))
            return false;
        if (longest > 0 &&
            !run_once(scenario, (struct golden_mode){shards, GOLDEN_BYTEWISE, 0, store}))
            return false;
        const size_t splits = store ? 0 : options->splits;
        for (size_t at = 1; at < longest && at <= splits; at += shards) {
            if (!run_once(scenario, (struct golden_mode){shards, GOLDEN_SPLIT, at, store}))
                return false;
        }
    }
    return true;
}

/* A store that commits at once must not show, unless a conversation is about it. */
static bool run_all_modes(const struct golden_scenario *scenario, const struct options *options)
{
    return (scenario->needs_store || run_modes(scenario, options, false)) &&
           run_modes(scenario, options, true);
}

/* ---- processes and files ---- */

static bool run_apart(const struct golden_scenario *scenario, const struct options *options)
{
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS_MAX);
        const bool good = run_all_modes(scenario, options);
        fflush(stdout);
        _exit(good ? 0 : 1);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("golden_runner");
        return false;
    }
    if (WIFSIGNALED(status))
        printf("%s:%u: the engine ended the program: %s\n", scenario->path, scenario->line,
               strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) > 1)
        printf("%s:%u: the program ended with status %d\n", scenario->path, scenario->line,
               WEXITSTATUS(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool run_file(const char *path, const struct options *options, struct counts *counts)
{
    struct golden_file file;
    const bool read = golden_file_read(&file, path);
    if (!read)
        fprintf(stderr, "error: %s\n", file.error);
    for (const struct golden_scenario *one = read ? file.scenarios : NULL; one != NULL;
         one = one->next) {
        if (options->only != NULL && strstr(one->title, options->only) == NULL)
            continue;
        const bool good = options->fork ? run_apart(one, options) : run_all_modes(one, options);
        counts->passed += good;
        counts->failed += !good;
        if (!good)
            printf("FAILED %s:%u: %s\n\n", one->path, one->line, one->title);
        if (!good && options->first)
            break;
        if (good && options->verbose)
            printf("passed %s:%u: %s\n", one->path, one->line, one->title);
    }
    golden_file_fini(&file);
    return read;
}

/* A folder stands for its .txt files. */
static bool run_path(const char *path, const struct options *options, struct counts *counts)
{
    char pattern[4096];
    struct stat info;
    glob_t found;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return run_file(path, options, counts);
    snprintf(pattern, sizeof pattern, "%s/*.txt", path);
    if (glob(pattern, 0, NULL, &found) != 0) {
        fprintf(stderr, "error: no conversations in %s\n", path);
        return false;
    }
    bool good = true;
    for (size_t i = 0; i < found.gl_pathc && !(options->first && counts->failed > 0); i++)
        good &= run_file(found.gl_pathv[i], options, counts);
    globfree(&found);
    return good;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: golden_runner [-v] [-x] [--no-fork] [-k TITLE] [--splits N] FILE|FOLDER...\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct options options = {.splits = SPLITS_DEFAULT, .fork = true};
    struct counts counts = {0, 0};
    bool read = true;
    int paths = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            options.verbose = true;
        else if (strcmp(argv[i], "-x") == 0)
            options.first = true;
        else if (strcmp(argv[i], "--no-fork") == 0)
            options.fork = false;
        else if (strcmp(argv[i], "-k") == 0 && i + 1 < argc)
            options.only = argv[++i];
        else if (strcmp(argv[i], "--splits") == 0 && i + 1 < argc)
            options.splits = strtoul(argv[++i], NULL, 10);
        else if (argv[i][0] == '-')
            return usage();
        else
            read &= run_path(argv[i], &options, &counts), paths++;
    }
    if (paths == 0)
        return usage();
    read &= golden_self_test();
    printf("%u passed, %u failed, 0 skipped\n", counts.passed, counts.failed);
    return read && counts.failed == 0 && counts.passed > 0 ? 0 : 1;
}
