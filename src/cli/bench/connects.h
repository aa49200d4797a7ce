/* A load of connections: how many can be made and closed in a time, and how long each takes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BENCH_CONNECTS_H
#define M5_CLI_BENCH_CONNECTS_H

#include "cli/bench/load.h"

struct bench_connects {
    char why[BENCH_WHY_SIZE]; /* the first failure; "" = none */
    uint64_t total, successful, failed;
    double elapsed_s, cpu;
    struct bench_histogram latency; /* ns, from connect(2) to CONNACK */
};

/* Keeps @p concurrency connections under way for the plan's duration; each ends with DISCONNECT as
 * soon as it is accepted. False when it could not begin. */
bool bench_connects_run(const struct bench_plan *plan, uint32_t concurrency,
                        struct bench_connects *result);

/* The time this process has spent on processors, in seconds. */
double bench_cpu_seconds(void);

#endif
