/* How a measurement went over time: counts and latencies of equal spans, in bounded memory.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BENCH_WINDOWS_H
#define M5_CLI_BENCH_WINDOWS_H

#include "cli/bench/histogram.h"

#include <stdbool.h>

#define BENCH_WINDOWS_MAX 600u
#define BENCH_WINDOW_NS   100000000u /* at least */

struct bench_window {
    uint64_t received, published;
    uint64_t p50_ns, p99_ns, max_ns; /* 0 when nothing came */
};

struct bench_windows {
    uint64_t start_ns, span_ns;
    uint32_t count;                    /* complete ones */
    uint64_t received, published;      /* of the one under way */
    struct bench_histogram *latencies; /* of the one under way */
    struct bench_window items[BENCH_WINDOWS_MAX];
};

/* Spans so that @p duration_ns has at most BENCH_WINDOWS_MAX of them. False without memory. */
bool bench_windows_init(struct bench_windows *windows, uint64_t start_ns, uint64_t duration_ns);
void bench_windows_fini(struct bench_windows *windows);

/* Closes the spans that are over at @p now_ns, which does not go back. */
void bench_windows_turn(struct bench_windows *windows, uint64_t now_ns);

void bench_windows_add(struct bench_windows *windows, uint64_t latency_ns);

/* Messages a second in window @p index. */
double bench_windows_rate(const struct bench_windows *windows, uint64_t messages);

#endif
