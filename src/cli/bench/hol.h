/* Head-of-line blocking: whether a delay of one topic's messages is a delay of all topics'.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BENCH_HOL_H
#define M5_CLI_BENCH_HOL_H

#include "cli/bench/histogram.h"

#include <stdbool.h>

#define BENCH_HOL_TOPICS_MAX  64u
#define BENCH_HOL_WINDOWS_MAX 36000u /* an hour of them */
#define BENCH_HOL_WINDOW_NS   100000000u

/* Sums for a correlation of pairs. */
struct bench_correlation {
    double n, x, y, xx, yy, xy;
};

void bench_correlation_add(struct bench_correlation *sums, double x, double y);
double bench_correlation_of(const struct bench_correlation *sums); /* -1 to 1; 0 when unknown */

struct bench_hol {
    uint32_t topics, windows;
    uint64_t start_ns, gap_ns;         /* gap: between two messages as they were sent; 0 unknown */
    double *sums;                      /* [topic * windows + window], ns */
    uint32_t *counts;                  /* the same way */
    struct bench_histogram *latencies; /* [topic] */
    struct bench_correlation neighbours;
    uint32_t last_topic;
    double last_latency_ns;
    uint64_t arrivals, clustered, last_ns;
};

struct bench_hol_result {
    double raw_correlation;       /* of each message and the one before it, of another topic */
    double windowed_correlation;  /* of the topics' mean latencies in windows of 100 ms */
    double detrended_correlation; /* of their changes from window to window */
    double spread_mean_ns, spread_p95_ns, spread_max_ns; /* between topics, in a window */
    double spike_isolation_ratio; /* 1: every spike hits all topics; 0: each its own only */
    double cluster_ratio;         /* arrivals less than a tenth of the gap after another */
};

/* False without memory. */
bool bench_hol_init(struct bench_hol *hol, uint32_t topics, uint64_t duration_ns, double rate);
void bench_hol_fini(struct bench_hol *hol);

/* A message of @p stream has arrived at @p now_ns; ctx is the struct bench_hol. */
void bench_hol_add(void *ctx, uint32_t stream, uint64_t now_ns, uint64_t latency_ns);

void bench_hol_sum_up(const struct bench_hol *hol, struct bench_hol_result *out);

#endif
