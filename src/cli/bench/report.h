/* What a load came to, for people and as JSON.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BENCH_REPORT_H
#define M5_CLI_BENCH_REPORT_H

#include "cli/bench/connects.h"
#include "cli/bench/hol.h"
#include "cli/bench/load.h"

#include <stdio.h>

/* Whether this process, and not the server, has set the pace: a sentence that says so, or NULL. */
const char *bench_limited(const struct bench_plan *plan, const struct bench_result *result);

/* Messages a second received over the middle of the window: without the first and the last
 * @p trim (0 to 0.4) of it. */
double bench_steady_rate(const struct bench_result *result, double trim);

void bench_report_load(FILE *out, const char *mode, const struct bench_plan *plan,
                       const struct bench_result *result, double trim);
void bench_report_hol(FILE *out, const struct bench_hol *hol, const struct bench_hol_result *sum);
void bench_report_connects(FILE *out, const struct bench_connects *result, uint32_t concurrency);

/* One object in one line; @p hol may be NULL. */
void bench_json_load(FILE *out, const char *mode, const struct bench_plan *plan,
                     const struct bench_result *result, double trim, const struct bench_hol *hol);
void bench_json_connects(FILE *out, const struct bench_connects *result, uint32_t concurrency);

#endif
