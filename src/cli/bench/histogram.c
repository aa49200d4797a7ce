/* Values counted in bounded memory, each to three significant digits.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/histogram.h"

#include <string.h>

#define HALF ((uint64_t)1 << BENCH_HALF_BITS)

/* By how many bits the values of @p value's bucket are shifted: 0 below 2 * HALF. */
static unsigned shift_of(uint64_t value)
{
    const unsigned top =
        value < 2 * HALF ? BENCH_HALF_BITS : 63u - (unsigned)__builtin_clzll(value);
    return top - BENCH_HALF_BITS;
}

static size_t bucket_of(uint64_t value)
{
    const unsigned shift = shift_of(value);
    return ((size_t)shift << BENCH_HALF_BITS) + (size_t)(value >> shift);
}

/* The highest value that the bucket counts. */
static uint64_t end_of(size_t bucket)
{
    if (bucket < 2 * HALF)
        return bucket;
    const unsigned shift = (unsigned)(bucket >> BENCH_HALF_BITS) - 1;
    const uint64_t kept = (bucket & (HALF - 1)) + HALF;
    return ((kept + 1) << shift) - 1;
}

void bench_histogram_add(struct bench_histogram *histogram, uint64_t value)
{
    if (histogram->total == 0 || value < histogram->min)
        histogram->min = value;
    if (value > histogram->max)
        histogram->max = value;
    histogram->total++;
    histogram->sum += (double)value;
    histogram->counts[bucket_of(value < BENCH_VALUE_MAX ? value : BENCH_VALUE_MAX)]++;
}

void bench_histogram_merge(struct bench_histogram *histogram, const struct bench_histogram *other)
{
    if (other->total == 0)
        return;
    if (histogram->total == 0 || other->min < histogram->min)
        histogram->min = other->min;
    if (other->max > histogram->max)
        histogram->max = other->max;
    histogram->total += other->total;
    histogram->sum += other->sum;
    for (size_t i = 0; i < BENCH_BUCKETS; i++)
        histogram->counts[i] += other->counts[i];
}

void bench_histogram_reset(struct bench_histogram *histogram)
{
    if (histogram->total > 0)
        memset(histogram, 0, sizeof *histogram);
}

uint64_t bench_histogram_at(const struct bench_histogram *histogram, double percent)
{
    const double exact = percent / 100 * (double)histogram->total;
    uint64_t rank = (uint64_t)exact, seen = 0;
    rank += (double)rank < exact; /* the first value is rank 1 */
    if (rank == 0)
        rank = 1;
    for (size_t i = 0; histogram->total > 0 && i < BENCH_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen >= rank) {
            const uint64_t end = end_of(i);
            return end < histogram->max && i + 1 < BENCH_BUCKETS ? end : histogram->max;
        }
    }
    return histogram->max;
}

double bench_histogram_mean(const struct bench_histogram *histogram)
{
    return histogram->total == 0 ? 0 : histogram->sum / (double)histogram->total;
}
