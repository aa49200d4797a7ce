/* What a load came to, for people and as JSON.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/report.h"

#include "cli/json.h"

#include <inttypes.h>
#include <string.h>

#define CPU_LIMIT   0.90                /* of one core: above, this process sets the pace */
#define LATENESS_NS (10 * 1000 * 1000u) /* at 99 %: above, the messages were not sent in time */

static const double percentiles[] = {50, 75, 90, 95, 99, 99.9, 99.99};

const char *bench_limited(const struct bench_plan *plan, const struct bench_result *result)
{
    const bool is_late =
        plan->rate > 0 &&
        (result->late > 0 || bench_histogram_at(&result->lateness, 99) > LATENESS_NS);
    if (result->cpu > CPU_LIMIT)
        return "this generator was the bottleneck: it has used its core up, and the server may do "
               "better";
    if (is_late && result->blocked > 0)
        return "the messages were not sent at their rate: the server has not taken them in time";
    if (is_late)
        return "this generator was the bottleneck: it was not run in time to send the messages at "
               "their rate";
    return NULL;
}

double bench_steady_rate(const struct bench_result *result, double trim)
{
    const struct bench_windows *windows = &result->windows;
    const uint32_t cut = (uint32_t)(trim * windows->count);
    uint64_t received = 0;
    uint32_t count = 0;
    for (uint32_t i = cut; i + cut < windows->count; i++, count++)
        received += windows->items[i].received;
    return count == 0 ? 0 : bench_windows_rate(windows, received) / count;
}

static double per_second(uint64_t count, double elapsed_s)
{
    return elapsed_s > 0 ? (double)count / elapsed_s : 0;
}

static double delivered_ratio(const struct bench_result *result)
{
    return result->expected_in_all == 0
               ? 1
               : (double)result->received_in_all / (double)result->expected_in_all;
}

static double us(uint64_t ns)
{
    return (double)ns / 1000;
}

/* ---- tables ---- */

static void put_latencies(FILE *out, const char *name, const struct bench_histogram *histogram)
{
    fprintf(out, "\n%-34s", name);
    if (histogram->total == 0) {
        fputs("none\n", out);
        return;
    }
    fprintf(out, "min %.1f us, mean %.1f us, max %.1f us\n", us(histogram->min),
            bench_histogram_mean(histogram) / 1000, us(histogram->max));
    for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles; i++)
        fprintf(out, "  %6g %%  %12.1f us\n", percentiles[i],
                us(bench_histogram_at(histogram, percentiles[i])));
}

static void put_rate(FILE *out, const char *name, uint64_t count, double elapsed_s)
{
    fprintf(out, "%-16s %12" PRIu64 "  %12.0f /s\n", name, count, per_second(count, elapsed_s));
}

static void put_counts(FILE *out, const struct bench_result *result, bool is_shared)
{
    fprintf(out, "with warm-up     %12" PRIu64 "  messages, %" PRIu64 " deliveries due\n",
            result->sent_in_all, result->expected_in_all);
    fprintf(out, "lost             %12" PRIu64 "  (%.4f %% delivered)\n", result->lost,
            delivered_ratio(result) * 100);
    fprintf(out, "duplicates       %12" PRIu64 "\n", result->duplicates);
    fprintf(out, "out of order     %12" PRIu64 "%s\n", result->reordered,
            is_shared ? "  (that of several subscribers is nobody's)" : "");
    if (result->refused > 0)
        fprintf(out, "refused          %12" PRIu64 "\n", result->refused);
    if (result->late > 0)
        fprintf(out, "not sent in time %12" PRIu64 "\n", result->late);
    if (result->foreign > 0)
        fprintf(out, "of others        %12" PRIu64 "  messages on these topics\n", result->foreign);
}

void bench_report_load(FILE *out, const char *mode, const struct bench_plan *plan,
                       const struct bench_result *result, double trim)
{
    const char *limited = bench_limited(plan, result);
    fprintf(out, "%s: %u publishers, %u subscribers, %u topics, QoS %u, %zu bytes, ", mode,
            plan->publishers, plan->subscribers, plan->topics, (unsigned)plan->qos,
            plan->payload_size);
    if (plan->rate > 0)
        fprintf(out, "%g messages/s\n\n", plan->rate);
    else
        fprintf(out, "%u in flight each\n\n", plan->inflight);
    put_rate(out, "published", result->published, result->elapsed_s);
    put_rate(out, "received", result->received, result->elapsed_s);
    fprintf(out, "steady           %12s  %12.0f /s\n", "", bench_steady_rate(result, trim));
    put_counts(out, result, plan->filter != NULL && strncmp(plan->filter, "$share/", 7) == 0);
    put_latencies(out, plan->rate > 0 ? "latency, from when it was due" : "latency",
                  &result->latency);
    if (plan->rate > 0)
        put_latencies(out, "latency, from when it was sent", &result->service);
    fprintf(out, "\nthis process     %11.0f %%  of one core\n", result->cpu * 100);
    if (limited != NULL)
        fprintf(out, "note: %s.\n", limited);
}

void bench_report_hol(FILE *out, const struct bench_hol *hol, const struct bench_hol_result *sum)
{
    fputs("\ntopic        p50 us        p95 us        p99 us\n", out);
    for (uint32_t i = 0; i < hol->topics; i++)
        fprintf(out, "%5u  %12.1f  %12.1f  %12.1f\n", i,
                us(bench_histogram_at(&hol->latencies[i], 50)),
                us(bench_histogram_at(&hol->latencies[i], 95)),
                us(bench_histogram_at(&hol->latencies[i], 99)));
    fprintf(out,
            "\nbetween topics   spread mean %.1f us, 95 %% %.1f us, max %.1f us\n"
            "correlation      raw %.3f, windowed %.3f, detrended %.3f\n"
            "spikes shared    %.3f (1: each delay hits all topics, 0: its own only)\n"
            "clustered        %.3f of the arrivals\n",
            sum->spread_mean_ns / 1000, sum->spread_p95_ns / 1000, sum->spread_max_ns / 1000,
            sum->raw_correlation, sum->windowed_correlation, sum->detrended_correlation,
            sum->spike_isolation_ratio, sum->cluster_ratio);
}

void bench_report_connects(FILE *out, const struct bench_connects *result, uint32_t concurrency)
{
    fprintf(out, "connections: %u at a time\n\n", concurrency);
    put_rate(out, "successful", result->successful, result->elapsed_s);
    fprintf(out, "failed           %12" PRIu64 "%s%s\n", result->failed,
            result->why[0] != 0 ? "  first: " : "", result->why);
    put_latencies(out, "from connect to CONNACK", &result->latency);
    fprintf(out, "\nthis process     %11.0f %%  of one core\n", result->cpu * 100);
    if (result->cpu > CPU_LIMIT)
        fputs("note: this generator was the bottleneck: it has used its core up, and the server "
              "may do better.\n",
              out);
}

/* ---- JSON ---- */

static void put_json_latencies(FILE *out, const char *name, const struct bench_histogram *histogram)
{
    fprintf(out,
            ",\"%s\":{\"messages\":%" PRIu64 ",\"min_us\":%.3f,\"max_us\":%.3f,\"avg_us\":%.3f",
            name, histogram->total, us(histogram->min), us(histogram->max),
            bench_histogram_mean(histogram) / 1000);
    for (size_t i = 0; i < sizeof percentiles / sizeof *percentiles; i++)
        fprintf(out, ",\"p%g_us\":%.3f", percentiles[i],
                us(bench_histogram_at(histogram, percentiles[i])));
    putc('}', out);
}

static void put_json_text(FILE *out, const char *name, const char *text)
{
    fprintf(out, ",\"%s\":", name);
    if (text == NULL)
        fputs("null", out);
    else
        cli_json_string(out,
                        (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)});
}

static void put_json_samples(FILE *out, const struct bench_windows *windows)
{
    fprintf(out, ",\"sample_secs\":%.6f,\"samples\":[", (double)windows->span_ns / 1e9);
    for (uint32_t i = 0; i < windows->count; i++)
        fprintf(out, "%s%.0f", i > 0 ? "," : "",
                bench_windows_rate(windows, windows->items[i].received));
    fputs("],\"offered_samples\":[", out);
    for (uint32_t i = 0; i < windows->count; i++)
        fprintf(out, "%s%.0f", i > 0 ? "," : "",
                bench_windows_rate(windows, windows->items[i].published));
    putc(']', out);
}

static void put_json_hol(FILE *out, const struct bench_hol *hol)
{
    struct bench_hol_result sum;
    bench_hol_sum_up(hol, &sum);
    fputs(",\"topics_us\":[", out);
    for (uint32_t i = 0; i < hol->topics; i++)
        fprintf(out, "%s{\"topic\":%u,\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f}", i > 0 ? "," : "", i,
                us(bench_histogram_at(&hol->latencies[i], 50)),
                us(bench_histogram_at(&hol->latencies[i], 95)),
                us(bench_histogram_at(&hol->latencies[i], 99)));
    fprintf(out,
            "],\"raw_correlation\":%.6f,\"windowed_correlation\":%.6f,"
            "\"detrended_correlation\":%.6f,\"inter_topic_spread_us\":{\"mean\":%.3f,\"p95\":%.3f,"
            "\"max\":%.3f},\"spike_isolation_ratio\":%.6f,\"inter_arrival_cluster_ratio\":%.6f",
            sum.raw_correlation, sum.windowed_correlation, sum.detrended_correlation,
            sum.spread_mean_ns / 1000, sum.spread_p95_ns / 1000, sum.spread_max_ns / 1000,
            sum.spike_isolation_ratio, sum.cluster_ratio);
}

void bench_json_load(FILE *out, const char *mode, const struct bench_plan *plan,
                     const struct bench_result *result, double trim, const struct bench_hol *hol)
{
    fprintf(out,
            "{\"mode\":\"%s\",\"publishers\":%u,\"subscribers\":%u,\"topics\":%u,\"qos\":%u,"
            "\"payload_size\":%zu,\"inflight\":%u,\"published\":%" PRIu64 ",\"received\":%" PRIu64
            ",\"elapsed_secs\":%.6f,\"offered_rate\":%.3f,\"throughput_avg\":%.3f,"
            "\"throughput_steady\":%.3f,\"delivered_ratio\":%.9f",
            mode, plan->publishers, plan->subscribers, plan->topics, (unsigned)plan->qos,
            plan->payload_size, plan->rate > 0 ? 0 : plan->inflight, result->published,
            result->received, result->elapsed_s,
            plan->rate > 0 ? plan->rate : per_second(result->published, result->elapsed_s),
            per_second(result->received, result->elapsed_s), bench_steady_rate(result, trim),
            delivered_ratio(result));
    fprintf(out,
            ",\"sent_in_all\":%" PRIu64 ",\"expected_in_all\":%" PRIu64
            ",\"received_in_all\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"duplicates\":%" PRIu64
            ",\"reordered\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"not_sent_in_time\":%" PRIu64
            ",\"foreign\":%" PRIu64 ",\"generator_cpu\":%.4f",
            result->sent_in_all, result->expected_in_all, result->received_in_all, result->lost,
            result->duplicates, result->reordered, result->refused, result->late, result->foreign,
            result->cpu);
    put_json_text(out, "note", bench_limited(plan, result));
    put_json_text(out, "error", result->why[0] != 0 ? result->why : NULL);
    put_json_latencies(out, "latency", &result->latency);
    put_json_latencies(out, "latency_from_send", &result->service);
    put_json_latencies(out, "lateness", &result->lateness);
    if (hol != NULL)
        put_json_hol(out, hol);
    put_json_samples(out, &result->windows);
    fputs("}\n", out);
}

void bench_json_connects(FILE *out, const struct bench_connects *result, uint32_t concurrency)
{
    fprintf(out,
            "{\"mode\":\"connections\",\"concurrency\":%u,\"total\":%" PRIu64
            ",\"successful\":%" PRIu64 ",\"failed\":%" PRIu64
            ",\"elapsed_secs\":%.6f,\"connections_per_sec\":%.3f,\"generator_cpu\":%.4f",
            concurrency, result->total, result->successful, result->failed, result->elapsed_s,
            per_second(result->successful, result->elapsed_s), result->cpu);
    put_json_text(out, "error", result->why[0] != 0 ? result->why : NULL);
    put_json_latencies(out, "latency", &result->latency);
    fputs("}\n", out);
}
