/* Values counted in bounded memory, each to three significant digits.
 *
 * A value below 2,048 has a bucket of its own; above, a bucket is at most 1/1,024 of its values
 * wide. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BENCH_HISTOGRAM_H
#define M5_CLI_BENCH_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define BENCH_VALUE_BITS 42 /* in nanoseconds, more than an hour */
#define BENCH_VALUE_MAX  (((uint64_t)1 << BENCH_VALUE_BITS) - 1)
#define BENCH_HALF_BITS  10 /* log2 of the buckets for each power of two */
#define BENCH_BUCKETS    ((size_t)(BENCH_VALUE_BITS - BENCH_HALF_BITS + 1) << BENCH_HALF_BITS)

/* Zeroed, it is empty. 270 KiB. */
struct bench_histogram {
    uint64_t total, min, max; /* min and max are exact, of the values as they were given */
    double sum;
    uint64_t counts[BENCH_BUCKETS];
};

/* Values above BENCH_VALUE_MAX are counted as that. */
void bench_histogram_add(struct bench_histogram *histogram, uint64_t value);

/* Adds all values of @p other. */
void bench_histogram_merge(struct bench_histogram *histogram, const struct bench_histogram *other);

void bench_histogram_reset(struct bench_histogram *histogram);

/* The value that @p percent of all values are not above, to the end of its bucket; 0 when there are
 * none. */
uint64_t bench_histogram_at(const struct bench_histogram *histogram, double percent);

double bench_histogram_mean(const struct bench_histogram *histogram);

#endif
