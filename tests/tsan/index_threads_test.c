/* The route index and the retained store under threads: every shard on a thread of its own, some
 * matching while others pin and unpin. To be run under the thread and the address sanitizer.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/unit.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "broker/index.h"
#include "broker/retained.h"
#include "support/seed.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHARDS = 4,
    FILTERS = 240,
    FILTER_MAX = 32,
    TURNS = 1500,
    RING_SLOTS = 64,
};

static const struct m5_hash_key key = {.k0 = 3, .k1 = 4};

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void heap_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    memset(memory, 0xDD, size);
    free(memory);
}

static const struct mqtt5_allocator heap = {.alloc = heap_alloc, .free = heap_free};

/* cmocka's asserts belong to the main thread. */
#define CHECK(condition)                                                    \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

/* ---- pins, matches and rings ---- */

/* One producer, one consumer. */
struct ring {
    struct m5_index_node *slots[RING_SLOTS];
    _Atomic uint32_t head, tail;
};

struct world {
    struct m5_index *index;
    char filters[FILTERS][FILTER_MAX];
    struct ring rings[SHARDS][SHARDS]; /* from, to */
    uint64_t seed;
};

struct shard {
    struct world *world;
    uint32_t number;
    struct m5_rng rng;
    struct m5_match match;
    struct m5_index_node *pinned[FILTERS];
    uint64_t matched, received;
};

static void ring_put(struct ring *ring, struct m5_index_node *node)
{
    const uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) == RING_SLOTS)
        return;
    ring->slots[tail % RING_SLOTS] = node;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
}

static struct m5_index_node *ring_take(struct ring *ring)
{
    const uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head == atomic_load_explicit(&ring->tail, memory_order_acquire))
        return NULL;
    struct m5_index_node *node = ring->slots[head % RING_SLOTS];
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return node;
}

/* Reads all of a node that another shard sent, perhaps unpinned since. */
static void take_mail(struct shard *shard)
{
    for (uint32_t from = 0; from < SHARDS; from++) {
        struct ring *ring = &shard->world->rings[from][shard->number];
        for (struct m5_index_node *node; (node = ring_take(ring)) != NULL;) {
            struct mqtt5_filter parsed;
            CHECK(mqtt5_filter_parse(node->filter, 200, &parsed) == MQTT5_OK);
            CHECK(node->lists[shard->number] == NULL);
            shard->received++;
        }
    }
}

static void change_pin(struct shard *shard)
{
    const uint64_t i = m5_rng_below(&shard->rng, FILTERS);
    if (shard->pinned[i] != NULL) {
        m5_index_unpin(shard->world->index, shard->number, shard->pinned[i]);
        shard->pinned[i] = NULL;
        return;
    }
    struct mqtt5_filter filter;
    CHECK(mqtt5_filter_parse(m5_bytes_of(shard->world->filters[i]), 200, &filter) == MQTT5_OK);
    shard->pinned[i] = m5_index_pin(shard->world->index, shard->number, &filter);
    CHECK(shard->pinned[i] != NULL);
    CHECK(m5_index_find(shard->world->index, filter.filter) == shard->pinned[i]);
}

/* What this shard has pinned must be found; what is found must match. */
static void check_match(struct shard *shard, struct mqtt5_bytes topic)
{
    struct m5_match *match = &shard->match;
    CHECK(m5_index_match(shard->world->index, topic, match));
    uint32_t own = 0, expected = 0;
    for (uint32_t i = 0; i < match->count; i++) {
        CHECK(mqtt5_filter_matches(match->nodes[i]->filter, topic));
        own += (atomic_load(&match->nodes[i]->shards) >> shard->number & 1) != 0;
        const uint64_t to = m5_rng_below(&shard->rng, SHARDS);
        ring_put(&shard->world->rings[shard->number][to], match->nodes[i]);
    }
    for (unsigned i = 0; i < FILTERS; i++) {
        const struct mqtt5_bytes filter = m5_bytes_of(shard->world->filters[i]);
        expected += shard->pinned[i] != NULL && mqtt5_filter_matches(filter, topic);
    }
    CHECK(own == expected);
    CHECK(expected == 0 || (match->shards >> shard->number & 1) != 0);
    shard->matched += match->count;
}

static void *run_shard(void *argument)
{
    struct shard *shard = argument;
    m5_match_init(&shard->match, &heap);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        take_mail(shard);
        for (unsigned i = 0; i < 4; i++)
            change_pin(shard);
        char topic[FILTER_MAX];
        snprintf(topic, sizeof topic, "a/%u/%u", (unsigned)m5_rng_below(&shard->rng, 10),
                 (unsigned)m5_rng_below(&shard->rng, 10));
        check_match(shard, m5_bytes_of(topic));
        m5_index_quiescent(shard->world->index, shard->number);
    }
    m5_match_fini(&shard->match);
    return NULL;
}

static void make_filters(struct world *world)
{
    for (unsigned i = 0; i < FILTERS; i++) {
        const unsigned x = i / 6 % 10, y = i / 60 + i % 7;
        switch (i % 6) {
        case 0: snprintf(world->filters[i], FILTER_MAX, "a/%u/%u", x, y); break;
        case 1: snprintf(world->filters[i], FILTER_MAX, "a/+/%u", i / 6); break;
        case 2: snprintf(world->filters[i], FILTER_MAX, "a/%u/+", i / 6); break;
        case 3: snprintf(world->filters[i], FILTER_MAX, "a/%u/#", i / 6); break;
        case 4: snprintf(world->filters[i], FILTER_MAX, "+/%u/%u", x, y); break;
        default: snprintf(world->filters[i], FILTER_MAX, "+/+/%u", i / 6); break;
        }
    }
}

static void shards_match_while_others_pin_and_unpin(void **state)
{
    (void)state;
    struct world *world = calloc(1, sizeof *world);
    struct shard *shards = calloc(SHARDS, sizeof *shards);
    world->index = m5_index_new(&heap, SHARDS, &key);
    assert_non_null(world->index);
    make_filters(world);
    const uint64_t seed = test_seed(7);
    pthread_t threads[SHARDS];
    for (uint32_t i = 0; i < SHARDS; i++) {
        shards[i] = (struct shard){.world = world, .number = i};
        m5_rng_init(&shards[i].rng, seed + i);
        assert_int_equal(pthread_create(&threads[i], NULL, run_shard, &shards[i]), 0);
    }
    uint64_t matched = 0, received = 0;
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        matched += shards[i].matched;
        received += shards[i].received;
    }
    assert_true(matched > TURNS);
    assert_true(received > 0);
    for (uint32_t i = 0; i < SHARDS; i++) {
        for (unsigned n = 0; n < FILTERS; n++) {
            if (shards[i].pinned[n] != NULL)
                m5_index_unpin(world->index, i, shards[i].pinned[n]);
        }
    }
    assert_int_equal(m5_index_node_count(world->index), 0);
    m5_index_free(world->index);
    free(shards);
    free(world);
}

/* ---- the table while it grows ---- */

enum { GROWING = 20000 };

struct growth {
    struct m5_index *index;
    _Atomic uint32_t pinned; /* filters below this number are in the index */
};

static struct mqtt5_filter numbered(uint32_t number, char *text)
{
    struct mqtt5_filter filter;
    snprintf(text, FILTER_MAX, number % 2 == 0 ? "n/%u" : "n/+/%u", number);
    CHECK(mqtt5_filter_parse(m5_bytes_of(text), 200, &filter) == MQTT5_OK);
    return filter;
}

static void *grow(void *argument)
{
    struct growth *growth = argument;
    for (uint32_t i = 0; i < GROWING; i++) {
        char text[FILTER_MAX];
        const struct mqtt5_filter filter = numbered(i, text);
        CHECK(m5_index_pin(growth->index, 0, &filter) != NULL);
        atomic_store_explicit(&growth->pinned, i + 1, memory_order_release);
        if (i % 16 == 0)
            m5_index_quiescent(growth->index, 0);
    }
    return NULL;
}

/* What was pinned before is found at every moment, in whichever array it is. */
static void *look(void *argument)
{
    struct growth *growth = argument;
    struct m5_match match;
    struct m5_rng rng;
    m5_rng_init(&rng, 1);
    m5_match_init(&match, &heap);
    uint32_t pinned;
    do {
        pinned = atomic_load_explicit(&growth->pinned, memory_order_acquire);
        if (pinned == 0)
            continue;
        const uint32_t number = (uint32_t)m5_rng_below(&rng, pinned);
        char text[FILTER_MAX], topic[FILTER_MAX];
        const struct mqtt5_filter filter = numbered(number, text);
        CHECK(m5_index_find(growth->index, filter.filter) != NULL);
        snprintf(topic, sizeof topic, number % 2 == 0 ? "n/%u" : "n/x/%u", number);
        CHECK(m5_index_match(growth->index, m5_bytes_of(topic), &match) && match.count == 1);
        m5_index_quiescent(growth->index, 1);
    } while (pinned < GROWING);
    m5_match_fini(&match);
    return NULL;
}

static void what_is_pinned_is_found_while_the_tables_grow(void **state)
{
    (void)state;
    struct growth growth = {.index = m5_index_new(&heap, 2, &key)};
    assert_non_null(growth.index);
    pthread_t writer, reader;
    assert_int_equal(pthread_create(&reader, NULL, look, &growth), 0);
    assert_int_equal(pthread_create(&writer, NULL, grow, &growth), 0);
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_int_equal(m5_index_node_count(growth.index), GROWING);
    m5_index_free(growth.index);
}

/* ---- retained ---- */

enum { TOPICS = 600, SETS = 3000 };

struct publisher {
    struct m5_retained_store *store;
    unsigned number;
    uint64_t seed;
};

static void set(struct m5_retained_store *store, const char *topic, const char *payload)
{
    const struct m5_retained_value value = {
        .topic = m5_bytes_of(topic),
        .payload = m5_bytes_of(payload),
        .expires_at_ms = UINT64_MAX,
    };
    CHECK(m5_retained_set(store, &value) == MQTT5_OK);
}

/* Sets and clears topics that are its own, and finds exactly those among everybody's. */
static void *publish(void *argument)
{
    const struct publisher *publisher = argument;
    struct m5_rng rng;
    m5_rng_init(&rng, publisher->seed);
    static const char *const names[SHARDS] = {"p0", "p1", "p2", "p3"};
    bool *is_set = calloc(TOPICS, sizeof *is_set);
    uint32_t count = 0;
    for (unsigned i = 0; i < SETS; i++) {
        const uint64_t n = m5_rng_below(&rng, TOPICS);
        char topic[FILTER_MAX];
        snprintf(topic, sizeof topic, "%u/%s/t", (unsigned)n, names[publisher->number]);
        const bool clear = m5_rng_below(&rng, 3) == 0;
        set(publisher->store, topic, clear ? "" : topic);
        count += (uint32_t)(!clear && !is_set[n]);
        count -= (uint32_t)(clear && is_set[n]);
        is_set[n] = !clear;
        if (i % 64 != 0)
            continue;
        struct m5_retained_list list = {0};
        uint32_t own = 0;
        CHECK(m5_retained_collect(publisher->store, m5_bytes_of("#"), 0, &list) == MQTT5_OK);
        for (uint32_t k = 0; k < list.count; k++) {
            const struct m5_retained_value *value = &list.items[k]->value;
            CHECK(m5_bytes_equal(value->topic, value->payload));
            char filter[FILTER_MAX];
            snprintf(filter, sizeof filter, "+/%s/#", names[publisher->number]);
            own += mqtt5_filter_matches(m5_bytes_of(filter), value->topic);
        }
        CHECK(own == count);
        m5_retained_list_fini(publisher->store, &list, 0);
    }
    for (unsigned n = 0; n < TOPICS; n++) {
        char topic[FILTER_MAX];
        snprintf(topic, sizeof topic, "%u/%s/t", n, names[publisher->number]);
        set(publisher->store, topic, "");
    }
    free(is_set);
    return NULL;
}

static void retained_topics_change_while_others_collect(void **state)
{
    (void)state;
    static const struct m5_retained_limits no_limits;
    struct m5_retained_store *store = m5_retained_new(&heap, &key, &no_limits, 0);
    assert_non_null(store);
    const uint64_t seed = test_seed(8);
    pthread_t threads[SHARDS];
    struct publisher publishers[SHARDS];
    for (unsigned i = 0; i < SHARDS; i++) {
        publishers[i] = (struct publisher){.store = store, .number = i, .seed = seed + i};
        assert_int_equal(pthread_create(&threads[i], NULL, publish, &publishers[i]), 0);
    }
    for (unsigned i = 0; i < SHARDS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(m5_retained_count(store), 0);
    assert_int_equal(m5_retained_bytes(store), 0);
    m5_retained_free(store);
}

/* ---- never neither ---- */

enum { RACES = 3000 };

struct race {
    struct m5_index *index;
    struct m5_retained_store *store;
    _Atomic uint32_t arrived; /* both threads, before each race */
    bool is_live[RACES], is_retained[RACES];
};

static void meet(struct race *race, uint32_t number)
{
    atomic_fetch_add(&race->arrived, 1);
    while (atomic_load(&race->arrived) < 2 * (number + 1))
        sched_yield();
}

static void *publish_races(void *argument)
{
    struct race *race = argument;
    struct m5_match match;
    m5_match_init(&match, &heap);
    for (uint32_t i = 0; i < RACES; i++) {
        char topic[FILTER_MAX];
        snprintf(topic, sizeof topic, "race/%u", i);
        meet(race, i);
        set(race->store, topic, "x");
        CHECK(m5_index_match(race->index, m5_bytes_of(topic), &match));
        race->is_live[i] = match.count > 0;
        m5_index_quiescent(race->index, 0);
    }
    m5_match_fini(&match);
    return NULL;
}

static void *subscribe_races(void *argument)
{
    struct race *race = argument;
    for (uint32_t i = 0; i < RACES; i++) {
        char text[FILTER_MAX];
        struct mqtt5_filter filter;
        snprintf(text, sizeof text, i % 2 == 0 ? "race/%u" : "+/%u", i);
        CHECK(mqtt5_filter_parse(m5_bytes_of(text), 200, &filter) == MQTT5_OK);
        struct m5_retained_list list = {0};
        meet(race, i);
        CHECK(m5_index_pin(race->index, 1, &filter) != NULL);
        CHECK(m5_retained_collect(race->store, filter.filter, 0, &list) == MQTT5_OK);
        race->is_retained[i] = list.count > 0;
        m5_retained_list_fini(race->store, &list, 0);
        m5_index_quiescent(race->index, 1);
    }
    return NULL;
}

static void a_message_is_seen_live_or_retained_never_neither(void **state)
{
    (void)state;
    static const struct m5_retained_limits no_limits;
    struct race *race = calloc(1, sizeof *race);
    race->index = m5_index_new(&heap, 2, &key);
    race->store = m5_retained_new(&heap, &key, &no_limits, 0);
    pthread_t publisher, subscriber;
    assert_int_equal(pthread_create(&publisher, NULL, publish_races, race), 0);
    assert_int_equal(pthread_create(&subscriber, NULL, subscribe_races, race), 0);
    assert_int_equal(pthread_join(publisher, NULL), 0);
    assert_int_equal(pthread_join(subscriber, NULL), 0);
    for (unsigned i = 0; i < RACES; i++)
        assert_true(race->is_live[i] || race->is_retained[i]);
    m5_index_free(race->index);
    m5_retained_free(race->store);
    free(race);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_match_while_others_pin_and_unpin),
        cmocka_unit_test(what_is_pinned_is_found_while_the_tables_grow),
        cmocka_unit_test(retained_topics_change_while_others_collect),
        cmocka_unit_test(a_message_is_seen_live_or_retained_never_neither),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
