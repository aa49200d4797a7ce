/* Measures the client's routes against a scan of all filters: nanoseconds per message.
 *
 *     bench_route [filters ...]     default: 1 100 10000
 *
 * One filter of three is plain, one ends in '+', one in '#'; each message meets one of them. The
 * scan is what the client did before it had routes: every filter is compared with every topic.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "base/rng.h"
#include "client/route.h"

#include <mqtt5/topic.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TOPICS = 4096, TEXT_MAX = 64, ROUNDS = 5 };

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void heap_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct mqtt5_allocator heap = {.alloc = heap_alloc, .free = heap_free};

struct handler {
    struct m5_route_entry entry;
    char filter[TEXT_MAX];
};

static char topics[TOPICS][TEXT_MAX];

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void make_texts(struct handler *handlers, unsigned count)
{
    struct m5_rng rng;
    m5_rng_init(&rng, 42);
    for (unsigned i = 0; i < count; i++)
        snprintf(handlers[i].filter, TEXT_MAX, "factory/line%06u/%s", i,
                 i % 3 == 0   ? "state"
                 : i % 3 == 1 ? "+"
                              : "#");
    for (unsigned i = 0; i < TOPICS; i++)
        snprintf(topics[i], TEXT_MAX, "factory/line%06u/state",
                 (unsigned)m5_rng_below(&rng, count));
}

static unsigned route_one(struct m5_route *route, const char *topic)
{
    unsigned met = 0;
    m5_route_match(route, m5_bytes_of(topic));
    while (m5_route_next(route) != NULL)
        met++;
    return met;
}

static unsigned scan_one(const struct handler *handlers, unsigned count, const char *topic)
{
    unsigned met = 0;
    for (unsigned i = 0; i < count; i++)
        met += mqtt5_filter_matches(m5_bytes_of(handlers[i].filter), m5_bytes_of(topic));
    return met;
}

/* The best of some rounds: what the code costs, without what others on the machine cost. */
static double measure(struct m5_route *route, const struct handler *handlers, unsigned count)
{
    const unsigned messages = route != NULL || count <= 100 ? TOPICS : TOPICS / 64;
    double best = 1e12;
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned met = 0;
        const double begin = now_ns();
        for (unsigned i = 0; i < messages; i++)
            met +=
                route != NULL ? route_one(route, topics[i]) : scan_one(handlers, count, topics[i]);
        const double each = (now_ns() - begin) / messages;
        if (met != messages)
            abort();
        best = each < best ? each : best;
    }
    return best;
}

static void compare(unsigned count)
{
    struct m5_route route;
    struct handler *handlers = calloc(count, sizeof *handlers);
    if (handlers == NULL)
        abort();
    make_texts(handlers, count);
    m5_route_init(&route, &heap, 1);
    for (unsigned i = 0; i < count; i++) {
        if (m5_route_add(&route, m5_bytes_of(handlers[i].filter), &handlers[i].entry) != MQTT5_OK)
            abort();
    }
    const double routed = measure(&route, handlers, count),
                 scanned = measure(NULL, handlers, count);
    printf("%8u %10.0f %10.0f\n", count, routed, scanned);
    m5_route_fini(&route);
    free(handlers);
}

int main(int argc, char **argv)
{
    printf(" filters   route ns    scan ns\n");
    for (int i = 1; i < argc; i++)
        compare((unsigned)strtoul(argv[i], NULL, 10));
    if (argc == 1) {
        compare(1);
        compare(100);
        compare(10000);
    }
    return 0;
}
