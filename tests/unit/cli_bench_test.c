/* The parts of `mqttv5 bench` that count: histogram, numbers, windows, head-of-line figures and the
 * picture, against plain computation. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/histogram.h"
#include "cli/bench/hol.h"
#include "cli/bench/plot.h"
#include "cli/bench/report.h"
#include "cli/bench/sequence.h"
#include "cli/bench/windows.h"
#include "support/seed.h"
#include "support/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct bench_histogram histogram, other;

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The value of rank ceil(percent of count), as the histogram defines it. */
static uint64_t exact_percentile(const uint64_t *sorted, size_t count, double percent)
{
    const double exact = percent / 100 * (double)count;
    size_t rank = (size_t)ceil(exact);
    return sorted[(rank == 0 ? 1 : rank) - 1];
}

static const double percents[] = {0, 0.01, 1, 10, 50, 75, 90, 95, 99, 99.9, 99.99, 100};

static void expect_percentiles(const uint64_t *values, size_t count)
{
    uint64_t *sorted = malloc(count * sizeof *sorted);
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare);
    assert_int_equal(histogram.total, count);
    assert_int_equal(histogram.min, sorted[0]);
    assert_int_equal(histogram.max, sorted[count - 1]);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        const uint64_t exact = exact_percentile(sorted, count, percents[i]);
        const uint64_t shown = bench_histogram_at(&histogram, percents[i]);
        if (shown < exact || (double)(shown - exact) > (double)exact / 1000)
            fail_msg("%g %%: %llu, not %llu", percents[i], (unsigned long long)shown,
                     (unsigned long long)exact);
    }
    free(sorted);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 2048; value++) {
        bench_histogram_reset(&histogram);
        bench_histogram_add(&histogram, value);
        bench_histogram_add(&histogram, 1000000);
        assert_int_equal(bench_histogram_at(&histogram, 50), value);
    }
}

static void large_values_have_three_digits(void **state)
{
    enum { COUNT = 200000 };
    uint64_t *values = malloc(COUNT * sizeof *values);
    (void)state;
    for (unsigned bits = 1; bits <= BENCH_VALUE_BITS; bits += 3) {
        bench_histogram_reset(&histogram);
        double sum = 0;
        for (size_t i = 0; i < COUNT; i++) {
            values[i] = next_random() >> (64 - bits) >> (next_random() % bits);
            sum += (double)values[i];
            bench_histogram_add(&histogram, values[i]);
        }
        expect_percentiles(values, COUNT);
        assert_true(fabs(bench_histogram_mean(&histogram) - sum / COUNT) < 1e-6 * sum + 1e-9);
    }
    free(values);
}

static void every_power_of_two_and_its_neighbours_fit(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < BENCH_VALUE_BITS; bits++) {
        for (int step = -1; step <= 1; step++) {
            const uint64_t value = ((uint64_t)1 << bits) + (uint64_t)(int64_t)step;
            bench_histogram_reset(&histogram);
            bench_histogram_add(&histogram, value);
            assert_int_equal(bench_histogram_at(&histogram, 50), value);
            bench_histogram_add(&histogram, BENCH_VALUE_MAX);
            const uint64_t shown = bench_histogram_at(&histogram, 50);
            assert_true(shown >= value && shown - value <= value / 1000);
        }
    }
}

static void values_beyond_the_end_are_kept_as_maximum(void **state)
{
    (void)state;
    bench_histogram_reset(&histogram);
    bench_histogram_add(&histogram, 5);
    bench_histogram_add(&histogram, UINT64_MAX / 2);
    assert_int_equal(histogram.max, UINT64_MAX / 2);
    assert_int_equal(bench_histogram_at(&histogram, 50), 5);
    assert_int_equal(bench_histogram_at(&histogram, 100), UINT64_MAX / 2);
}

static void merging_is_adding_all(void **state)
{
    enum { COUNT = 5000 };
    uint64_t values[2 * COUNT];
    (void)state;
    bench_histogram_reset(&histogram);
    bench_histogram_reset(&other);
    bench_histogram_merge(&histogram, &other); /* nothing and nothing */
    assert_int_equal(histogram.total, 0);
    for (size_t i = 0; i < 2 * COUNT; i++) {
        values[i] = next_random() % 100000000;
        bench_histogram_add(i < COUNT ? &histogram : &other, values[i]);
    }
    bench_histogram_merge(&histogram, &other);
    expect_percentiles(values, 2 * COUNT);
}

static void empty_histogram_is_zero(void **state)
{
    (void)state;
    bench_histogram_reset(&histogram);
    assert_int_equal(bench_histogram_at(&histogram, 99), 0);
    assert_true(bench_histogram_mean(&histogram) == 0);
}

/* ---- numbers ---- */

static void numbers_are_told_apart(void **state)
{
    static const struct {
        uint32_t number;
        enum bench_arrival arrival;
    } steps[] = {{0, BENCH_IN_ORDER},  {1, BENCH_IN_ORDER},  {1, BENCH_DUPLICATE},
                 {5, BENCH_IN_ORDER},  {3, BENCH_REORDERED}, {3, BENCH_DUPLICATE},
                 {4, BENCH_REORDERED}, {0, BENCH_DUPLICATE}, {6, BENCH_IN_ORDER},
                 {2, BENCH_REORDERED}};
    struct bench_sequence sequence = {0};
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        assert_int_equal(bench_sequence_take(&sequence, steps[i].number), steps[i].arrival);
    assert_int_equal(sequence.received, 7);
    assert_int_equal(sequence.duplicates, 3);
    assert_int_equal(sequence.reordered, 3);
}

static void window_of_numbers_has_an_edge(void **state)
{
    struct bench_sequence sequence = {0};
    (void)state;
    assert_int_equal(bench_sequence_take(&sequence, BENCH_WINDOW), BENCH_IN_ORDER);
    assert_int_equal(bench_sequence_take(&sequence, 1), BENCH_REORDERED);
    assert_int_equal(bench_sequence_take(&sequence, 0), BENCH_DUPLICATE); /* out of memory */
    assert_int_equal(bench_sequence_take(&sequence, 3 * BENCH_WINDOW), BENCH_IN_ORDER);
    assert_int_equal(bench_sequence_take(&sequence, 3 * BENCH_WINDOW - 1), BENCH_REORDERED);
}

/* Any order within the window, with losses and copies, against a list of what has come. */
static void numbers_agree_with_a_list(void **state)
{
    enum { COUNT = 20000 };
    static bool came[COUNT + 100];
    struct bench_sequence sequence = {0};
    uint64_t received = 0, duplicates = 0;
    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint32_t number = i + (uint32_t)(next_random() % 100);
        const bool again = came[number];
        assert_int_equal(bench_sequence_take(&sequence, number) == BENCH_DUPLICATE, again);
        received += !again;
        duplicates += again;
        came[number] = true;
    }
    assert_int_equal(sequence.received, received);
    assert_int_equal(sequence.duplicates, duplicates);
}

/* ---- windows ---- */

static struct bench_windows windows;

static void windows_close_by_the_clock(void **state)
{
    (void)state;
    assert_true(bench_windows_init(&windows, 1000, 1000000000));
    assert_int_equal(windows.span_ns, BENCH_WINDOW_NS);
    bench_windows_add(&windows, 500);
    bench_windows_add(&windows, 700);
    windows.published = 3;
    bench_windows_turn(&windows, 1000 + BENCH_WINDOW_NS - 1);
    assert_int_equal(windows.count, 0);
    bench_windows_turn(&windows, 1000 + 3 * (uint64_t)BENCH_WINDOW_NS);
    assert_int_equal(windows.count, 3);
    assert_int_equal(windows.items[0].received, 2);
    assert_int_equal(windows.items[0].published, 3);
    assert_int_equal(windows.items[0].p50_ns, 500);
    assert_int_equal(windows.items[0].max_ns, 700);
    assert_int_equal(windows.items[1].received, 0);
    assert_int_equal(windows.items[2].max_ns, 0);
    assert_true(bench_windows_rate(&windows, 2) == 20);
    bench_windows_fini(&windows);
}

static void windows_are_bounded(void **state)
{
    const uint64_t day_ns = 86400ull * 1000000000;
    (void)state;
    assert_true(bench_windows_init(&windows, 0, day_ns));
    bench_windows_turn(&windows, 2 * day_ns);
    assert_in_range(windows.count, 1, BENCH_WINDOWS_MAX);
    assert_true(windows.span_ns * BENCH_WINDOWS_MAX >= day_ns);
    bench_windows_fini(&windows);
}

static void steady_rate_leaves_the_ends_out(void **state)
{
    struct bench_result *result = calloc(1, sizeof *result);
    (void)state;
    result->windows.span_ns = BENCH_WINDOW_NS;
    result->windows.count = 20;
    for (uint32_t i = 0; i < 20; i++)
        result->windows.items[i].received = i < 2 || i >= 18 ? 1000000 : 10;
    assert_true(fabs(bench_steady_rate(result, 0.1) - 100) < 1e-6);
    assert_true(bench_steady_rate(result, 0) > 1000);
    result->windows.count = 0;
    assert_true(bench_steady_rate(result, 0.1) == 0);
    free(result);
}

static void who_set_the_pace_is_said(void **state)
{
    struct bench_result *result = calloc(1, sizeof *result);
    struct bench_plan plan = {.rate = 0};
    (void)state;
    result->cpu = 0.5;
    result->late = 7;
    assert_null(bench_limited(&plan, result)); /* without a rate nothing is late */
    plan.rate = 1000;
    assert_non_null(strstr(bench_limited(&plan, result), "not run in time"));
    result->blocked = 1;
    assert_non_null(strstr(bench_limited(&plan, result), "the server has not taken them"));
    result->cpu = 0.95;
    assert_non_null(strstr(bench_limited(&plan, result), "used its core up"));
    free(result);
}

/* ---- head of line ---- */

static void correlation_is_that_of_pearson(void **state)
{
    struct bench_correlation same = {0}, opposite = {0}, none = {0}, flat = {0};
    (void)state;
    for (int i = 0; i < 100; i++) {
        bench_correlation_add(&same, i, 3 * i + 7);
        bench_correlation_add(&opposite, i, -i);
        bench_correlation_add(&none, i % 2, i / 2 % 2);
        bench_correlation_add(&flat, 1, i);
    }
    assert_true(fabs(bench_correlation_of(&same) - 1) < 1e-9);
    assert_true(fabs(bench_correlation_of(&opposite) + 1) < 1e-9);
    assert_true(fabs(bench_correlation_of(&none)) < 1e-9);
    assert_true(bench_correlation_of(&flat) == 0);
}

/* 100 windows of two topics; @p hits_both: a delay in every tenth is one of both. */
static struct bench_hol_result run_hol(bool hits_both)
{
    struct bench_hol hol;
    struct bench_hol_result result;
    assert_true(bench_hol_init(&hol, 2, 100ull * BENCH_HOL_WINDOW_NS, 20));
    for (uint64_t window = 0; window < 100; window++) {
        for (uint32_t topic = 0; topic < 2; topic++) {
            const bool hit = window % 10 == (hits_both ? 3 : 3 + topic);
            bench_hol_add(&hol, topic, 1 + window * BENCH_HOL_WINDOW_NS + topic * 50000000,
                          hit ? 9000 : 1000 + window % 2);
        }
    }
    bench_hol_sum_up(&hol, &result);
    assert_int_equal(bench_histogram_at(&hol.latencies[1], 99) / 10, 900);
    bench_hol_fini(&hol);
    return result;
}

static void delays_of_all_topics_are_told_from_those_of_one(void **state)
{
    (void)state;
    struct bench_hol_result result = run_hol(true);
    assert_true(result.windowed_correlation > 0.99);
    assert_true(result.detrended_correlation > 0.99);
    assert_true(result.spread_max_ns < 1e-6);
    assert_true(fabs(result.spike_isolation_ratio - 1) < 1e-9);
    result = run_hol(false);
    assert_true(result.windowed_correlation < 0.1);
    assert_true(result.spread_max_ns > 7000 && result.spread_mean_ns < 2000);
    assert_true(result.spike_isolation_ratio < 1e-9);
    assert_true(result.cluster_ratio < 1e-9);
}

/* ---- the picture ---- */

static void picture_is_complete(void **state)
{
    char *text;
    size_t size;
    (void)state;
    memset(&windows, 0, sizeof windows);
    windows.span_ns = BENCH_WINDOW_NS;
    for (int filled = 0; filled < 2; filled++) {
        FILE *out = open_memstream(&text, &size);
        for (uint32_t i = 0; filled && i < 30; i++)
            windows.items[i] = (struct bench_window){.p50_ns = i % 7 == 0 ? 0 : 50000,
                                                     .p99_ns = i % 7 == 0 ? 0 : 900000,
                                                     .max_ns = i % 7 == 0 ? 0 : 2000000 + i};
        windows.count = filled ? 30 : 0;
        bench_plot(out, &windows, "a <title> & more");
        fclose(out);
        assert_non_null(strstr(text, "a &lt;title> &amp; more</text>"));
        assert_string_equal(text + size - 7, "</svg>\n");
        assert_null(strstr(text, "nan"));
        assert_null(strstr(text, "inf"));
        if (filled) {
            assert_non_null(strstr(text, "10 \xC2\xB5s</text>"));
            assert_non_null(strstr(text, "10 ms</text>"));
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(large_values_have_three_digits),
        cmocka_unit_test(every_power_of_two_and_its_neighbours_fit),
        cmocka_unit_test(values_beyond_the_end_are_kept_as_maximum),
        cmocka_unit_test(merging_is_adding_all),
        cmocka_unit_test(empty_histogram_is_zero),
        cmocka_unit_test(numbers_are_told_apart),
        cmocka_unit_test(window_of_numbers_has_an_edge),
        cmocka_unit_test(numbers_agree_with_a_list),
        cmocka_unit_test(windows_close_by_the_clock),
        cmocka_unit_test(windows_are_bounded),
        cmocka_unit_test(steady_rate_leaves_the_ends_out),
        cmocka_unit_test(who_set_the_pace_is_said),
        cmocka_unit_test(correlation_is_that_of_pearson),
        cmocka_unit_test(delays_of_all_topics_are_told_from_those_of_one),
        cmocka_unit_test(picture_is_complete),
    };
    random_state = test_seed(88172645463325252u);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
