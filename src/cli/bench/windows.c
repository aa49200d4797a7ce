/* How a measurement went over time: counts and latencies of equal spans, in bounded memory.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/windows.h"

#include <stdlib.h>
#include <string.h>

bool bench_windows_init(struct bench_windows *windows, uint64_t start_ns, uint64_t duration_ns)
{
    const uint64_t least = duration_ns / BENCH_WINDOWS_MAX + 1;
    memset(windows, 0, sizeof *windows);
    windows->start_ns = start_ns;
    windows->span_ns = least > BENCH_WINDOW_NS ? least : BENCH_WINDOW_NS;
    windows->latencies = calloc(1, sizeof *windows->latencies);
    return windows->latencies != NULL;
}

void bench_windows_fini(struct bench_windows *windows)
{
    free(windows->latencies);
    windows->latencies = NULL;
}

void bench_windows_turn(struct bench_windows *windows, uint64_t now_ns)
{
    while (windows->latencies != NULL && windows->count < BENCH_WINDOWS_MAX &&
           now_ns >= windows->start_ns + (windows->count + 1) * windows->span_ns) {
        struct bench_window *window = &windows->items[windows->count++];
        window->received = windows->received;
        window->published = windows->published;
        window->p50_ns = bench_histogram_at(windows->latencies, 50);
        window->p99_ns = bench_histogram_at(windows->latencies, 99);
        window->max_ns = windows->latencies->max;
        windows->received = windows->published = 0;
        bench_histogram_reset(windows->latencies);
    }
}

void bench_windows_add(struct bench_windows *windows, uint64_t latency_ns)
{
    windows->received++;
    bench_histogram_add(windows->latencies, latency_ns);
}

double bench_windows_rate(const struct bench_windows *windows, uint64_t messages)
{
    return (double)messages * 1e9 / (double)windows->span_ns;
}
