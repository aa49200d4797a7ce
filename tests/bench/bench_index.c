/* Measures the route index: nanoseconds per match and per pin, bytes per filter, worst pause.
 *
 *     bench_index [filters ...]     default: 1000 1000000
 *
 * "hot" repeats one topic; "cold" goes through topics in an order in which nothing is in a near
 * cache for long. The topics of an unmatched publish look like those that match.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "base/rng.h"
#include "broker/index.h"
#include "broker/retained.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TOPICS = 1 << 16, TOPIC_MAX = 48, ROUNDS = 9 };

static const struct m5_hash_key key = {.k0 = 1, .k1 = 2};

struct workload {
    const char *name;
    const char *filter; /* with one %06u */
    const char *hit;    /* a topic that matches that filter */
    const char *miss;   /* one that matches none */
};

static const struct workload workloads[] = {
    {"exact", "factory/line%06u/state", "factory/line%06u/state", "factory/line%06u/other"},
    {"+ at the end", "factory/line%06u/+", "factory/line%06u/state", "factory/lime%06u/state"},
    {"+ first", "+/line%06u/state", "factory/line%06u/state", "factory/lime%06u/state"},
    {"#", "factory/line%06u/#", "factory/line%06u/a/b/c", "factory/lime%06u/a/b/c"},
    {"deep", "a/b/c/d/e/f/g/+/line%06u", "a/b/c/d/e/f/g/h/line%06u", "a/b/c/d/e/f/g/h/lime%06u"},
};

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void heap_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct mqtt5_allocator heap = {.alloc = heap_alloc, .free = heap_free};

/* Time of this thread, so that what else runs on the machine counts less. */
static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static char topics[TOPICS][TOPIC_MAX];

#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void make_topics(const char *format, unsigned filters)
{
    struct m5_rng rng;
    m5_rng_init(&rng, 42);
    for (unsigned i = 0; i < TOPICS; i++)
        snprintf(topics[i], TOPIC_MAX, format, (unsigned)m5_rng_below(&rng, filters));
}

static struct m5_index_node *pin(struct m5_index *index, const char *format, unsigned i)
{
    char text[TOPIC_MAX];
    struct mqtt5_filter filter;
    snprintf(text, sizeof text, format, i);
    if (mqtt5_filter_parse(m5_bytes_of(text), 200, &filter) != MQTT5_OK)
        abort();
    struct m5_index_node *node = m5_index_pin(index, 0, &filter);
    if (node == NULL)
        abort();
    return node;
}

/* The best of some rounds: what the code costs, without what others on the machine cost. */
static double match_ns(struct m5_index *index, unsigned step, uint32_t expected)
{
    struct m5_match match;
    m5_match_init(&match, &heap);
    double best = 1e9;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const double begin = now_ns();
        for (unsigned i = 0; i < TOPICS; i++) {
            const char *topic = topics[i * step];
            if (!m5_index_match(index, m5_bytes_of(topic), &match) || match.count != expected)
                abort();
        }
        const double each = (now_ns() - begin) / TOPICS;
        best = each < best ? each : best;
    }
    m5_match_fini(&match);
    return best;
}

static void measure(const struct workload *load, unsigned filters)
{
    const size_t heap_before = mallinfo2().uordblks + mallinfo2().hblkhd;
    struct m5_index *index = m5_index_new(&heap, 1, &key);
    struct m5_index_node **nodes = malloc(filters * sizeof *nodes);
    const size_t list_size = malloc_usable_size(nodes);
    double worst = 0;
    const double begin = now_ns();
    for (unsigned i = 0; i < filters; i++) {
        const double at = now_ns();
        nodes[i] = pin(index, load->filter, i);
        const double took = now_ns() - at;
        worst = took > worst ? took : worst;
        m5_index_quiescent(index, 0);
    }
    const double pin_each = (now_ns() - begin) / filters;
    const size_t heap_now = mallinfo2().uordblks + mallinfo2().hblkhd - list_size;
    make_topics(load->hit, filters);
    const double hit_hot = match_ns(index, 0, 1), hit_cold = match_ns(index, 1, 1);
    make_topics(load->miss, filters);
    const double miss_hot = match_ns(index, 0, 0), miss_cold = match_ns(index, 1, 0);
    const double bytes = (double)m5_index_bytes(index) / filters;
    const double unpin_begin = now_ns();
    for (unsigned i = 0; i < filters; i++) {
        m5_index_unpin(index, 0, nodes[i]);
        m5_index_quiescent(index, 0);
    }
    const double unpin_each = (now_ns() - unpin_begin) / filters;
    printf("%-13s %8u | %6.0f %6.0f | %6.0f %6.0f | %6.0f %8.2f %6.0f | %6.0f %6.0f\n", load->name,
           filters, miss_hot, miss_cold, hit_hot, hit_cold, pin_each, worst / 1e6, unpin_each,
           bytes, (double)(heap_now - heap_before) / filters);
    free(nodes);
    m5_index_free(index);
}

static void measure_retained(unsigned count)
{
    static const struct m5_retained_limits no_limits;
    struct m5_retained_store *store = m5_retained_new(&heap, &key, &no_limits, 0);
    struct m5_retained_value value = {.payload = m5_bytes_of("21.5"), .expires_at_ms = UINT64_MAX};
    double set_ns[2], worst = 0;
    for (unsigned round = 0; round < 2; round++) {
        const double begin = now_ns();
        for (unsigned i = 0; i < count; i++) {
            char topic[TOPIC_MAX];
            snprintf(topic, sizeof topic, "factory/line%06u/state", i);
            value.topic = m5_bytes_of(topic);
            const double at = now_ns();
            if (m5_retained_set(store, &value) != MQTT5_OK)
                abort();
            const double took = now_ns() - at;
            worst = took > worst ? took : worst;
        }
        set_ns[round] = (now_ns() - begin) / count;
    }
    struct m5_retained_list list = {0};
    const double begin = now_ns();
    if (m5_retained_collect(store, m5_bytes_of("#"), 0, &list) != MQTT5_OK || list.count != count)
        abort();
    const double collect_ns = (now_ns() - begin) / count;
    m5_retained_list_fini(store, &list, 0);
    printf("retained %u: set new %.0f ns, again %.0f ns, worst %.2f ms; collect # %.0f ns each\n",
           count, set_ns[0], set_ns[1], worst / 1e6, collect_ns);
    m5_retained_free(store);
}

int main(int argc, char **argv)
{
    static char *const defaults[] = {"", "1000", "1000000"};
    char *const *counts = argc > 1 ? argv : defaults;
    const int count_end = argc > 1 ? argc : 3;
    printf("                       | ns per miss   | ns per match  | ns     worst ms ns     |"
           " bytes per filter\n");
    printf("filters          count |    hot   cold |    hot   cold |    pin      pin  unpin |"
           " asked   heap\n");
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
        for (int n = 1; n < count_end; n++)
            measure(&workloads[i], (unsigned)strtoul(counts[n], NULL, 10));
    }
    for (int n = 1; n < count_end; n++)
        measure_retained((unsigned)strtoul(counts[n], NULL, 10));
    return 0;
}
