/* Head-of-line blocking: whether a delay of one topic's messages is a delay of all topics'.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/hol.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SPIKE   2.0 /* times the median of a topic's windows */
#define CLUSTER 10u /* a gap less than one in so many of the usual one */

void bench_correlation_add(struct bench_correlation *sums, double x, double y)
{
    sums->n++;
    sums->x += x;
    sums->y += y;
    sums->xx += x * x;
    sums->yy += y * y;
    sums->xy += x * y;
}

double bench_correlation_of(const struct bench_correlation *sums)
{
    const double both = sums->n * sums->xy - sums->x * sums->y;
    const double one = sums->n * sums->xx - sums->x * sums->x;
    const double other = sums->n * sums->yy - sums->y * sums->y;
    if (sums->n < 2 || one <= 0 || other <= 0)
        return 0;
    return both / sqrt(one * other);
}

bool bench_hol_init(struct bench_hol *hol, uint32_t topics, uint64_t duration_ns, double rate)
{
    const uint64_t windows = duration_ns / BENCH_HOL_WINDOW_NS + 1;
    *hol = (struct bench_hol){
        .topics = topics < BENCH_HOL_TOPICS_MAX ? topics : BENCH_HOL_TOPICS_MAX,
        .windows = (uint32_t)(windows < BENCH_HOL_WINDOWS_MAX ? windows : BENCH_HOL_WINDOWS_MAX),
        .gap_ns = rate > 0 ? (uint64_t)(1e9 / rate) : 0,
    };
    hol->sums = calloc((size_t)hol->topics * hol->windows, sizeof *hol->sums);
    hol->counts = calloc((size_t)hol->topics * hol->windows, sizeof *hol->counts);
    hol->latencies = calloc(hol->topics, sizeof *hol->latencies);
    return hol->sums != NULL && hol->counts != NULL && hol->latencies != NULL;
}

void bench_hol_fini(struct bench_hol *hol)
{
    free(hol->sums);
    free(hol->counts);
    free(hol->latencies);
}

void bench_hol_add(void *ctx, uint32_t stream, uint64_t now_ns, uint64_t latency_ns)
{
    struct bench_hol *hol = ctx;
    const uint32_t topic = stream % hol->topics;
    if (hol->start_ns == 0)
        hol->start_ns = now_ns;
    const uint64_t window = (now_ns - hol->start_ns) / BENCH_HOL_WINDOW_NS;
    bench_histogram_add(&hol->latencies[topic], latency_ns);
    if (window < hol->windows) {
        hol->sums[topic * hol->windows + window] += (double)latency_ns;
        hol->counts[topic * hol->windows + window]++;
    }
    if (hol->arrivals > 0 && hol->last_topic != topic)
        bench_correlation_add(&hol->neighbours, hol->last_latency_ns, (double)latency_ns);
    if (hol->arrivals > 0 && now_ns - hol->last_ns < hol->gap_ns / CLUSTER)
        hol->clustered++;
    hol->arrivals++;
    hol->last_topic = topic;
    hol->last_latency_ns = (double)latency_ns;
    hol->last_ns = now_ns;
}

/* ---- the sum ---- */

/* Mean latency of a topic in a window; negative when nothing came. */
static double mean_of(const struct bench_hol *hol, uint32_t topic, uint32_t window)
{
    const size_t at = (size_t)topic * hol->windows + window;
    return hol->counts[at] == 0 ? -1 : hol->sums[at] / hol->counts[at];
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(const struct bench_hol *hol, uint32_t topic, double *scratch)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < hol->windows; i++) {
        const double mean = mean_of(hol, topic, i);
        if (mean >= 0)
            scratch[count++] = mean;
    }
    qsort(scratch, count, sizeof *scratch, compare);
    return count == 0 ? 0 : scratch[count / 2];
}

/* Mean over all pairs of topics; @p changes: of the differences from one window to the next. */
static double correlate(const struct bench_hol *hol, bool changes)
{
    double sum = 0, pairs = 0;
    for (uint32_t a = 0; a < hol->topics; a++) {
        for (uint32_t b = a + 1; b < hol->topics; b++) {
            struct bench_correlation sums = {0};
            for (uint32_t i = changes; i < hol->windows; i++) {
                const double x = mean_of(hol, a, i), y = mean_of(hol, b, i);
                const double x0 = changes ? mean_of(hol, a, i - 1) : 0;
                const double y0 = changes ? mean_of(hol, b, i - 1) : 0;
                if (x >= 0 && y >= 0 && x0 >= 0 && y0 >= 0)
                    bench_correlation_add(&sums, x - x0, y - y0);
            }
            sum += bench_correlation_of(&sums);
            pairs++;
        }
    }
    return pairs > 0 ? sum / pairs : 0;
}

static void sum_spread(const struct bench_hol *hol, double *scratch, struct bench_hol_result *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < hol->windows; i++) {
        double least = INFINITY, most = 0;
        for (uint32_t topic = 0; topic < hol->topics; topic++) {
            const double mean = mean_of(hol, topic, i);
            least = mean >= 0 && mean < least ? mean : least;
            most = mean > most ? mean : most;
        }
        if (least <= most)
            scratch[count++] = most - least;
    }
    if (count == 0)
        return;
    qsort(scratch, count, sizeof *scratch, compare);
    for (uint32_t i = 0; i < count; i++)
        out->spread_mean_ns += scratch[i] / count;
    out->spread_p95_ns = scratch[(count - 1) * 95 / 100];
    out->spread_max_ns = scratch[count - 1];
}

static double sum_spikes(const struct bench_hol *hol, double *scratch)
{
    double medians[BENCH_HOL_TOPICS_MAX];
    double spikes = 0, company = 0;
    for (uint32_t topic = 0; topic < hol->topics; topic++)
        medians[topic] = median_of(hol, topic, scratch);
    for (uint32_t i = 0; i < hol->windows; i++) {
        uint32_t hit = 0;
        for (uint32_t topic = 0; topic < hol->topics; topic++)
            hit += mean_of(hol, topic, i) > SPIKE * medians[topic];
        spikes += hit;
        if (hit > 0 && hol->topics > 1)
            company += hit * (double)(hit - 1) / (hol->topics - 1);
    }
    return spikes > 0 ? company / spikes : 0;
}

void bench_hol_sum_up(const struct bench_hol *hol, struct bench_hol_result *out)
{
    double *scratch = calloc(hol->windows, sizeof *scratch);
    *out = (struct bench_hol_result){
        .raw_correlation = bench_correlation_of(&hol->neighbours),
        .windowed_correlation = correlate(hol, false),
        .detrended_correlation = correlate(hol, true),
        .cluster_ratio = hol->arrivals > 0 ? (double)hol->clustered / (double)hol->arrivals : 0,
    };
    if (scratch == NULL)
        return;
    sum_spread(hol, scratch, out);
    out->spike_isolation_ratio = sum_spikes(hol, scratch);
    free(scratch);
}
