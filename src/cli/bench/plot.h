/* A picture of a measurement: latencies over time, as SVG.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BENCH_PLOT_H
#define M5_CLI_BENCH_PLOT_H

#include "cli/bench/windows.h"

#include <stdio.h>

/* Draws the median, the 99th percentile and the maximum of each window on a logarithmic scale. */
void bench_plot(FILE *out, const struct bench_windows *windows, const char *title);

#endif
