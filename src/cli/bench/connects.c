/* A load of connections: how many can be made and closed in a time, and how long each takes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/connects.h"

#include "cli/connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define TURN_MS     100
#define PROGRESS_NS 200000000u

struct connects {
    const struct bench_plan *plan;
    struct bench_connects *result;
    struct m5_loop loop;
    struct m5_pipe_room room;
    struct bench_link *links;
    uint32_t count;
    uint64_t start_ns, end_ns, progress_ns;
    bool measuring;
};

double bench_cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void count_failure(struct connects *connects, const char *why)
{
    struct bench_connects *result = connects->result;
    if (!connects->measuring)
        return;
    result->failed++;
    if (result->why[0] == 0)
        snprintf(result->why, sizeof result->why, "%s", why);
}

static void begin(struct connects *connects, struct bench_link *link)
{
    connects->result->total += connects->measuring;
    link->since_ns = bench_now_ns();
    if (!bench_link_connect(link, &connects->plan->publish_to, connects->plan->stack))
        count_failure(connects, link->why);
}

static void take_event(struct connects *connects, struct bench_link *link,
                       const struct m5_client_event *event)
{
    if (event->type == M5_CLIENT_CONNECTED) {
        if (link->since_ns >= connects->start_ns && connects->measuring) {
            connects->result->successful++;
            bench_histogram_add(&connects->result->latency, bench_now_ns() - link->since_ns);
        }
        link->since_ns = 0; /* what comes now is its end */
        (void)!m5_client_disconnect(link->client, NULL);
    } else if (event->type == M5_CLIENT_DISCONNECTED && link->since_ns != 0) {
        count_failure(connects, event->by_server    ? mqtt5_reason_text(event->result.reason_code)
                                : link->why[0] != 0 ? link->why
                                                    : "closed by the server");
    }
}

static void serve(struct connects *connects, struct bench_link *link, unsigned events)
{
    struct m5_client_event event;
    (void)bench_link_ready(link, events);
    while (m5_client_next_event(link->client, &event))
        take_event(connects, link, &event);
    bench_link_flush(link);
    while (m5_client_next_event(link->client, &event))
        take_event(connects, link, &event);
    if (link->state == BENCH_LINK_DOWN && connects->measuring)
        begin(connects, link);
}

static void print_progress(struct connects *connects)
{
    const uint64_t now_ns = bench_now_ns();
    if (!connects->plan->progress || now_ns < connects->progress_ns)
        return;
    connects->progress_ns = now_ns + PROGRESS_NS;
    fprintf(stderr, "\r\033[K%5.1f / %.1f s  %llu connections, %llu failed",
            (double)(now_ns - connects->start_ns) / 1e9, (double)connects->plan->duration_ns / 1e9,
            (unsigned long long)connects->result->successful,
            (unsigned long long)connects->result->failed);
}

static void turn(struct connects *connects)
{
    const unsigned count = m5_loop_wait(&connects->loop, TURN_MS);
    for (unsigned i = 0; i < count; i++) {
        const struct m5_loop_event event = m5_loop_event(&connects->loop, i);
        serve(connects, event.handle, event.events);
    }
    if (count == 0) { /* those that could not even begin */
        for (uint32_t i = 0; connects->measuring && i < connects->count; i++) {
            if (connects->links[i].state == BENCH_LINK_DOWN)
                begin(connects, &connects->links[i]);
        }
    }
    print_progress(connects);
}

static bool make(struct connects *connects)
{
    char id[128];
    struct mqtt5_client_options options = connects->plan->options;
    options.client_id = id;
    options.clean_start = true;
    connects->links = calloc(connects->count, sizeof *connects->links);
    if (connects->links == NULL || !m5_loop_init(&connects->loop))
        return false;
    for (uint32_t i = 0; i < connects->count; i++) {
        snprintf(id, sizeof id, "%.64s-%d-%u", connects->plan->id_prefix, (int)getpid(), i);
        if (bench_link_init(&connects->links[i], &connects->loop, &connects->room, &options) !=
            MQTT5_OK)
            return false;
    }
    return true;
}

static void run(struct connects *connects)
{
    struct bench_connects *result = connects->result;
    const double cpu = bench_cpu_seconds();
    connects->measuring = true;
    connects->start_ns = bench_now_ns();
    connects->end_ns = connects->start_ns + connects->plan->duration_ns;
    for (uint32_t i = 0; i < connects->count; i++)
        begin(connects, &connects->links[i]);
    while (bench_now_ns() < connects->end_ns && !cli_signals_caught())
        turn(connects);
    connects->measuring = false;
    result->elapsed_s = (double)(bench_now_ns() - connects->start_ns) / 1e9;
    result->cpu = (bench_cpu_seconds() - cpu) / result->elapsed_s;
    result->total = result->successful + result->failed; /* not those under way */
    if (connects->plan->progress)
        fputs("\r\033[K", stderr);
}

bool bench_connects_run(const struct bench_plan *plan, uint32_t concurrency,
                        struct bench_connects *result)
{
    struct connects connects = {.plan = plan, .result = result, .count = concurrency};
    const bool ok = make(&connects);
    if (ok)
        run(&connects);
    else
        snprintf(result->why, sizeof result->why, "no memory or descriptors: %s", strerror(errno));
    for (uint32_t i = 0; connects.links != NULL && i < concurrency; i++)
        bench_link_fini(&connects.links[i]);
    m5_pipe_room_fini(&connects.room);
    m5_loop_fini(&connects.loop);
    free(connects.links);
    return ok;
}
