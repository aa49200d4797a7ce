/* Retained messages: replacing, clearing, collecting, limits, expiry, and failing memory.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/unit.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "broker/retained.h"
#include "support/seed.h"
#include "support/test_allocator.h"

#include <mqtt5/topic.h>

#include <stdio.h>
#include <string.h>

#define NEVER UINT64_MAX

static const struct m5_hash_key key = {.k0 = 11, .k1 = 12};

struct fixture {
    struct test_allocator memory;
    struct m5_retained_store *store;
};

static void set_up_limited(struct fixture *f, struct m5_retained_limits limits)
{
    test_allocator_init(&f->memory);
    f->store = m5_retained_new(&f->memory.table, &key, &limits, 0);
    assert_non_null(f->store);
}

static void set_up(struct fixture *f)
{
    set_up_limited(f, (struct m5_retained_limits){0});
}

static void tear_down(struct fixture *f)
{
    m5_retained_free(f->store);
    test_allocator_check(&f->memory);
}

static struct m5_retained_value value_of(const char *topic, const char *payload, uint64_t expires)
{
    return (struct m5_retained_value){
        .topic = m5_bytes_of(topic),
        .payload = m5_bytes_of(payload),
        .expires_at_ms = expires,
        .qos = 1,
    };
}

static enum mqtt5_error set(struct fixture *f, const char *topic, const char *payload)
{
    const struct m5_retained_value value = value_of(topic, payload, NEVER);
    return m5_retained_set(f->store, &value);
}

static void set_until(struct fixture *f, const char *topic, uint64_t expires_at_ms)
{
    const struct m5_retained_value value = value_of(topic, "soon gone", expires_at_ms);
    assert_int_equal(m5_retained_set(f->store, &value), MQTT5_OK);
}

static uint32_t collect_count(struct fixture *f, const char *filter, uint64_t now_ms)
{
    struct m5_retained_list list = {0};
    assert_int_equal(m5_retained_collect(f->store, m5_bytes_of(filter), now_ms, &list), MQTT5_OK);
    const uint32_t count = list.count;
    m5_retained_list_fini(f->store, &list, 0);
    return count;
}

/* Asserts that @p topic alone is found, with this payload. */
static void assert_payload(struct fixture *f, const char *topic, const char *payload)
{
    struct m5_retained_list list = {0};
    assert_int_equal(m5_retained_collect(f->store, m5_bytes_of(topic), 0, &list), MQTT5_OK);
    assert_int_equal(list.count, 1);
    assert_true(m5_bytes_equal(list.items[0]->value.topic, m5_bytes_of(topic)));
    assert_true(m5_bytes_equal(list.items[0]->value.payload, m5_bytes_of(payload)));
    m5_retained_list_fini(f->store, &list, 0);
}

/* ---- one topic ---- */

static void a_record_is_a_copy_of_all_that_was_set(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    char topic[] = "a/b", properties[] = "\x01\x01", payload[] = "21.5", publisher[] = "sensor";
    const struct m5_retained_value value = {
        .topic = m5_bytes_of(topic),
        .properties = m5_bytes_of(properties),
        .payload = m5_bytes_of(payload),
        .publisher = m5_bytes_of(publisher),
        .expires_at_ms = 5000,
        .qos = 2,
    };
    assert_int_equal(m5_retained_set(f.store, &value), MQTT5_OK);
    topic[0] = properties[0] = payload[0] = publisher[0] = 'X';
    struct m5_retained_list list = {0};
    assert_int_equal(m5_retained_collect(f.store, m5_bytes_of("a/b"), 0, &list), MQTT5_OK);
    assert_int_equal(list.count, 1);
    const struct m5_retained *record = list.items[0];
    assert_true(m5_bytes_equal(record->value.topic, m5_bytes_of("a/b")));
    assert_true(m5_bytes_equal(record->value.properties, m5_bytes_of("\x01\x01")));
    assert_true(m5_bytes_equal(record->value.payload, m5_bytes_of("21.5")));
    assert_true(m5_bytes_equal(record->value.publisher, m5_bytes_of("sensor")));
    assert_int_equal(record->value.expires_at_ms, 5000);
    assert_int_equal(record->value.qos, 2);
    assert_int_equal(m5_retained_bytes(f.store), record->size);
    m5_retained_list_fini(f.store, &list, 0);
    tear_down(&f);
}

static void a_message_replaces_what_the_topic_had(void **state)
{
    (void)state; /* [MQTT-3.3.1-5] */
    struct fixture f;
    set_up(&f);
    assert_int_equal(set(&f, "t", "old"), MQTT5_OK);
    struct m5_retained_list list = {0};
    assert_int_equal(m5_retained_collect(f.store, m5_bytes_of("t"), 0, &list), MQTT5_OK);
    assert_false(list.items[0]->superseded);
    assert_int_equal(set(&f, "t", "new"), MQTT5_OK);
    assert_int_equal(m5_retained_count(f.store), 1);
    assert_payload(&f, "t", "new");
    /* Who collected the old one still holds it, and can tell. */
    assert_true(m5_bytes_equal(list.items[0]->value.payload, m5_bytes_of("old")));
    assert_true(list.items[0]->superseded);
    m5_retained_list_fini(f.store, &list, 0);
    tear_down(&f);
}

static void an_empty_payload_removes_and_is_not_kept(void **state)
{
    (void)state; /* [MQTT-3.3.1-6] [MQTT-3.3.1-7] */
    struct fixture f;
    set_up(&f);
    const size_t empty = f.memory.bytes;
    assert_int_equal(set(&f, "a/b/c", ""), MQTT5_OK);
    assert_int_equal(m5_retained_count(f.store), 0);
    assert_int_equal(f.memory.bytes, empty);
    assert_int_equal(set(&f, "a/b/c", "1"), MQTT5_OK);
    assert_int_equal(set(&f, "a/b", "2"), MQTT5_OK);
    assert_int_equal(set(&f, "a/b/c", ""), MQTT5_OK);
    assert_int_equal(collect_count(&f, "a/b/c", 0), 0);
    assert_int_equal(collect_count(&f, "#", 0), 1);
    assert_int_equal(set(&f, "a/b", ""), MQTT5_OK);
    assert_int_equal(m5_retained_count(f.store), 0);
    assert_int_equal(m5_retained_bytes(f.store), 0);
    tear_down(&f);
}

/* ---- filters ---- */

static void collection_follows_the_rules_of_filters(void **state)
{
    (void)state;
    static const char *const topics[] = {
        "sport", "sport/", "sport/tennis", "sport/tennis/p1", "/finance",
        "a//b",  "a/b",    "$SYS/uptime",  "$SYS/load",       "a/$b",
        "/",     "$SYS",   "sports",       "a/b/c/d",         "x/y/z"};
    static const char *const filters[] = {
        "#",         "+",       "+/+",   "sport/#", "sport/+", "sport/tennis", "sport/tennis/#",
        "/+",        "+/",      "a/+/b", "a/#",     "$SYS/#",  "$SYS/+",       "+/uptime",
        "+/+/+",     "+/#",     "/",     "a//b",    "nobody",  "nobody/#",     "+/+/#",
        "sport/+/#", "a/b/c/+", "x/#",   "x/+/z",   "$SYS",    "/#",           "x/y/z/#"};
    struct fixture f;
    set_up(&f);
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++)
        assert_int_equal(set(&f, topics[i], topics[i]), MQTT5_OK);
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        uint32_t expected = 0;
        for (size_t j = 0; j < sizeof topics / sizeof topics[0]; j++)
            expected += mqtt5_filter_matches(m5_bytes_of(filters[i]), m5_bytes_of(topics[j]));
        const uint32_t count = collect_count(&f, filters[i], 0);
        if (count != expected)
            fail_msg("'%s' collects %u instead of %u", filters[i], count, expected);
    }
    /* [MQTT-4.7.2-1]: "#" passes the three topics over that start with '$'. */
    assert_int_equal(collect_count(&f, "#", 0), sizeof topics / sizeof topics[0] - 3);
    tear_down(&f);
}

static void a_collection_appends_and_releases_from_where_it_is_told(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    set(&f, "a", "1");
    set(&f, "b", "2");
    struct m5_retained_list list = {0};
    assert_int_equal(m5_retained_collect(f.store, m5_bytes_of("a"), 0, &list), MQTT5_OK);
    assert_int_equal(m5_retained_collect(f.store, m5_bytes_of("#"), 0, &list), MQTT5_OK);
    assert_int_equal(list.count, 3);
    assert_int_equal(list.items[0]->references, 3);
    struct m5_retained *first = list.items[0];
    m5_retained_list_fini(f.store, &list, 1);
    assert_int_equal(first->references, 2);
    m5_retained_release(f.store, first);
    tear_down(&f);
}

/* More topics than one hold of the lock goes through. */
static void a_large_collection_is_whole(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct fixture f;
    set_up(&f);
    for (unsigned i = 0; i < COUNT; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "site/%u/room/%u", i % 70, i);
        assert_int_equal(set(&f, topic, "x"), MQTT5_OK);
    }
    assert_int_equal(collect_count(&f, "#", 0), COUNT);
    assert_int_equal(collect_count(&f, "site/+/room/+", 0), COUNT);
    assert_int_equal(collect_count(&f, "site/7/#", 0), COUNT / 70 + 1);
    assert_int_equal(collect_count(&f, "+/7/room/77", 0), 1);
    struct m5_retained_list list = {0};
    assert_int_equal(m5_retained_collect(f.store, m5_bytes_of("#"), 0, &list), MQTT5_OK);
    for (uint32_t i = 0; i < list.count; i++)
        assert_int_equal(list.items[i]->references, 2);
    m5_retained_list_fini(f.store, &list, 0);
    tear_down(&f);
}

static void hostile_depth_costs_no_stack(void **state)
{
    (void)state;
    enum { LENGTH = 65535 };
    static char topic[LENGTH + 1];
    struct fixture f;
    set_up(&f);
    memset(topic, '/', LENGTH);
    assert_int_equal(set(&f, topic, "deep"), MQTT5_OK);
    assert_int_equal(collect_count(&f, "#", 0), 1);
    assert_int_equal(collect_count(&f, "/+/#", 0), 1);
    assert_int_equal(collect_count(&f, topic, 0), 1);
    assert_int_equal(set(&f, topic, ""), MQTT5_OK);
    assert_int_equal(collect_count(&f, "#", 0), 0);
    tear_down(&f);
}

/* ---- changes while a collection rests ---- */

/* An allocator that clears all topics but the last when the collection asks for a longer list,
 * which is when it rests on a branch. */
struct meddler {
    struct mqtt5_allocator table;
    struct fixture *f;
    unsigned topics;
    bool is_armed, fails;
};

static void numbered_topic(char *out, size_t size, unsigned i)
{
    snprintf(out, size, "r/%u/t", i);
}

static void *meddle(void *ctx, size_t size)
{
    struct meddler *meddler = ctx;
    void *memory = meddler->f->memory.table.alloc(&meddler->f->memory, size);
    if (!meddler->is_armed || size % sizeof(struct m5_retained *) != 0 || size < 512)
        return memory;
    meddler->is_armed = false;
    for (unsigned i = 0; i + 1 < meddler->topics; i++) {
        char topic[32];
        numbered_topic(topic, sizeof topic, i);
        assert_int_equal(set(meddler->f, topic, ""), MQTT5_OK);
    }
    if (!meddler->fails)
        return memory;
    meddler->f->memory.table.free(&meddler->f->memory, memory, size);
    return NULL;
}

static void meddle_free(void *ctx, void *memory, size_t size)
{
    struct meddler *meddler = ctx;
    meddler->f->memory.table.free(&meddler->f->memory, memory, size);
}

enum { MEDDLED = 400, MEDDLED_TAKEN = 32 }; /* the list asks for room when it holds 32 */

static void set_up_meddled(struct fixture *f, struct meddler *meddler)
{
    static const struct m5_retained_limits no_limits;
    test_allocator_init(&f->memory);
    *meddler = (struct meddler){.f = f, .topics = MEDDLED};
    meddler->table = (struct mqtt5_allocator){meddler, meddle, meddle_free};
    f->store = m5_retained_new(&meddler->table, &key, &no_limits, 0);
    for (unsigned i = MEDDLED; i-- > 0;) { /* a walk begins with what came last: r/0/t */
        char topic[32];
        numbered_topic(topic, sizeof topic, i);
        assert_int_equal(set(f, topic, "x"), MQTT5_OK);
    }
    meddler->is_armed = true;
}

/* Beside the store, its root and its two tables, which may still be moving, nothing is left. */
static void check_meddled(struct fixture *f, const struct m5_retained_list *list)
{
    for (uint32_t i = 0; i < MEDDLED_TAKEN; i++)
        assert_true(list->items[i]->superseded);
    struct m5_retained_list taken = *list;
    m5_retained_list_fini(f->store, &taken, 0);
    char topic[32];
    numbered_topic(topic, sizeof topic, MEDDLED - 1);
    assert_int_equal(set(f, topic, ""), MQTT5_OK);
    assert_true(f->memory.blocks <= 2 + 4);
}

static void what_a_collection_rests_on_may_be_cleared(void **state)
{
    (void)state;
    struct fixture f;
    struct meddler meddler;
    set_up_meddled(&f, &meddler);
    struct m5_retained_list list = {0};
    assert_int_equal(m5_retained_collect(f.store, m5_bytes_of("r/+/t"), 0, &list), MQTT5_OK);
    assert_false(meddler.is_armed);
    /* What it had taken is its own; of the rest, only the last topic was there still. */
    assert_int_equal(list.count, MEDDLED_TAKEN + 1);
    assert_false(list.items[MEDDLED_TAKEN]->superseded);
    check_meddled(&f, &list);
    tear_down(&f);
}

static void a_collection_that_fails_there_leaves_nothing_behind(void **state)
{
    (void)state;
    struct fixture f;
    struct meddler meddler;
    set_up_meddled(&f, &meddler);
    meddler.fails = true;
    struct m5_retained_list list = {0};
    assert_int_equal(m5_retained_collect(f.store, m5_bytes_of("r/+/t"), 0, &list), MQTT5_ERR_NOMEM);
    assert_false(meddler.is_armed);
    assert_int_equal(list.count, MEDDLED_TAKEN);
    check_meddled(&f, &list);
    tear_down(&f);
}

/* ---- limits ---- */

static void the_number_of_messages_is_limited(void **state)
{
    (void)state;
    struct fixture f;
    set_up_limited(&f, (struct m5_retained_limits){.messages_max = 2});
    assert_int_equal(set(&f, "a", "1"), MQTT5_OK);
    assert_int_equal(set(&f, "b", "1"), MQTT5_OK);
    assert_int_equal(set(&f, "c", "1"), MQTT5_ERR_QUOTA);
    assert_int_equal(collect_count(&f, "#", 0), 2);
    assert_int_equal(set(&f, "a", "2"), MQTT5_OK);
    assert_payload(&f, "a", "2");
    assert_int_equal(set(&f, "b", ""), MQTT5_OK);
    assert_int_equal(set(&f, "c", "1"), MQTT5_OK);
    assert_int_equal(m5_retained_count(f.store), 2);
    tear_down(&f);
}

static void the_bytes_are_limited_and_a_refused_message_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    assert_int_equal(set(&f, "a", "1"), MQTT5_OK);
    const size_t one = m5_retained_bytes(f.store);
    tear_down(&f);

    set_up_limited(&f, (struct m5_retained_limits){.bytes_max = 2 * one});
    assert_int_equal(set(&f, "a", "1"), MQTT5_OK);
    assert_int_equal(set(&f, "b", "1"), MQTT5_OK);
    assert_int_equal(m5_retained_bytes(f.store), 2 * one);
    assert_int_equal(set(&f, "a", "12"), MQTT5_ERR_QUOTA);
    assert_payload(&f, "a", "1");
    assert_int_equal(set(&f, "a", "2"), MQTT5_OK);
    assert_payload(&f, "a", "2");
    assert_int_equal(set(&f, "b", ""), MQTT5_OK);
    assert_int_equal(set(&f, "a", "12"), MQTT5_OK);
    assert_int_equal(m5_retained_bytes(f.store), one + 1);
    tear_down(&f);
}

static void the_payload_is_limited(void **state)
{
    (void)state;
    struct fixture f;
    set_up_limited(&f, (struct m5_retained_limits){.payload_max = 4});
    assert_int_equal(set(&f, "a", "1234"), MQTT5_OK);
    assert_int_equal(set(&f, "a", "12345"), MQTT5_ERR_QUOTA);
    assert_payload(&f, "a", "1234");
    tear_down(&f);
}

static void what_is_exempt_is_neither_counted_nor_refused(void **state)
{
    (void)state;
    struct fixture f;
    set_up_limited(&f, (struct m5_retained_limits){.messages_max = 1, .bytes_max = 400});
    struct m5_retained_value value = value_of("$SYS/uptime", "1 seconds", NEVER);
    value.exempt = true;
    assert_int_equal(m5_retained_set(f.store, &value), MQTT5_OK);
    assert_int_equal(m5_retained_set(f.store, &value), MQTT5_OK);
    assert_int_equal(m5_retained_count(f.store), 0);
    assert_int_equal(m5_retained_bytes(f.store), 0);
    assert_int_equal(collect_count(&f, "$SYS/#", 0), 1);
    assert_int_equal(set(&f, "$SYS/uptime", "not exempt"), MQTT5_OK);
    assert_int_equal(m5_retained_count(f.store), 1);
    assert_int_equal(set(&f, "a", "1"), MQTT5_ERR_QUOTA);
    assert_int_equal(m5_retained_set(f.store, &value), MQTT5_OK);
    assert_int_equal(m5_retained_count(f.store), 0);
    assert_int_equal(set(&f, "a", "1"), MQTT5_OK);
    tear_down(&f);
}

/* ---- expiry ---- */

static void what_has_expired_is_not_collected_and_goes(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    set_until(&f, "a/1", 1000);
    set_until(&f, "a/2", 2000);
    set_until(&f, "b", 1000);
    set(&f, "a/3", "stays");
    assert_int_equal(collect_count(&f, "a/+", 999), 3);
    assert_int_equal(collect_count(&f, "a/+", 1000), 2);
    assert_int_equal(m5_retained_count(f.store), 3);
    assert_int_equal(collect_count(&f, "b", 1000), 0);
    assert_int_equal(m5_retained_count(f.store), 2);
    assert_int_equal(collect_count(&f, "#", 5000), 1);
    assert_int_equal(m5_retained_count(f.store), 1);
    tear_down(&f);
}

static void a_sweep_removes_as_many_as_it_may(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    struct fixture f;
    set_up(&f);
    for (unsigned i = 0; i < COUNT; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "t/%u", i);
        if (i % 4 == 0)
            set(&f, topic, "stays");
        else
            set_until(&f, topic, i % 2 == 0 ? 1000 : 9000);
    }
    assert_int_equal(m5_retained_expire(f.store, 999, 10000), 0);
    assert_int_equal(m5_retained_expire(f.store, 1000, 7), 7);
    assert_int_equal(m5_retained_expire(f.store, 1000, 10000), COUNT / 4 - 7);
    assert_int_equal(m5_retained_count(f.store), COUNT * 3 / 4);
    uint32_t removed = 0, part;
    while ((part = m5_retained_expire(f.store, 9000, 300)) > 0) {
        assert_true(part <= 300);
        removed += part;
    }
    assert_int_equal(removed, COUNT / 2);
    assert_int_equal(collect_count(&f, "#", 0), COUNT / 4);
    tear_down(&f);
}

static void the_sweep_comes_round_to_a_record_behind_many_that_stay(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct fixture f;
    set_up(&f);
    for (unsigned i = 0; i < COUNT; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "t/%u", i);
        set_until(&f, topic, i == COUNT - 1 ? 1000 : 9000);
    }
    uint32_t removed = 0;
    for (unsigned call = 0; call < COUNT && removed == 0; call++)
        removed = m5_retained_expire(f.store, 1000, 1);
    assert_int_equal(removed, 1);
    assert_int_equal(m5_retained_count(f.store), COUNT - 1);
    tear_down(&f);
}

static void a_replaced_record_no_longer_expires(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    set_until(&f, "a", 1000);
    set(&f, "a", "for ever");
    assert_int_equal(m5_retained_expire(f.store, 5000, 10), 0);
    assert_int_equal(collect_count(&f, "a", 5000), 1);
    set_until(&f, "a", 7000);
    assert_int_equal(m5_retained_expire(f.store, 7000, 10), 1);
    assert_int_equal(m5_retained_count(f.store), 0);
    tear_down(&f);
}

/* ---- against a list ---- */

enum { TOPICS = 120 };

struct model {
    char topic[TOPICS][40];
    uint64_t expires[TOPICS]; /* 0: not stored */
    char payload[TOPICS][16];
};

static void random_text(struct m5_rng *rng, bool is_filter, char *out)
{
    static const char *const names[] = {"a", "b", "", "$SYS", "level"};
    const uint64_t levels = 1 + m5_rng_below(rng, 4);
    size_t len = 0;
    for (uint64_t i = 0; i < levels; i++) {
        const char *name = names[m5_rng_below(rng, 5)];
        if (is_filter && i + 1 == levels && m5_rng_below(rng, 3) == 0)
            name = "#";
        else if (is_filter && m5_rng_below(rng, 3) == 0)
            name = "+";
        len += (size_t)snprintf(out + len, 40 - len, "%s%s", i == 0 ? "" : "/", name);
    }
    if (len == 0)
        snprintf(out, 40, "a");
}

static void make_model(struct model *model, struct m5_rng *rng)
{
    memset(model, 0, sizeof *model);
    for (unsigned i = 0; i < TOPICS; i++) {
        bool is_new;
        do {
            random_text(rng, false, model->topic[i]);
            is_new = true;
            for (unsigned j = 0; j < i; j++)
                is_new = is_new && strcmp(model->topic[i], model->topic[j]) != 0;
        } while (!is_new);
    }
}

static void change(struct fixture *f, struct model *model, unsigned i, struct m5_rng *rng,
                   uint64_t now_ms)
{
    const bool clear = m5_rng_below(rng, 3) == 0;
    const uint64_t expires = m5_rng_below(rng, 2) == 0 ? NEVER : now_ms + m5_rng_below(rng, 300);
    if (clear)
        model->payload[i][0] = '\0';
    else
        snprintf(model->payload[i], sizeof model->payload[i], "%llu",
                 (unsigned long long)m5_rng_below(rng, 1000000));
    model->expires[i] = clear ? 0 : expires;
    const struct m5_retained_value value = value_of(model->topic[i], model->payload[i], expires);
    assert_int_equal(m5_retained_set(f->store, &value), MQTT5_OK);
}

static void check_collection(struct fixture *f, const struct model *model, const char *filter,
                             uint64_t now_ms)
{
    struct m5_retained_list list = {0};
    assert_int_equal(m5_retained_collect(f->store, m5_bytes_of(filter), now_ms, &list), MQTT5_OK);
    uint32_t expected = 0;
    for (unsigned i = 0; i < TOPICS; i++) {
        const struct mqtt5_bytes topic = m5_bytes_of(model->topic[i]);
        if (model->expires[i] <= now_ms || !mqtt5_filter_matches(m5_bytes_of(filter), topic))
            continue;
        expected++;
        unsigned found = 0;
        for (uint32_t n = 0; n < list.count; n++)
            found += m5_bytes_equal(list.items[n]->value.topic, topic) &&
                     m5_bytes_equal(list.items[n]->value.payload, m5_bytes_of(model->payload[i]));
        if (found != 1)
            fail_msg("'%s' is found %u times for '%s'", model->topic[i], found, filter);
    }
    if (list.count != expected)
        fail_msg("%u records instead of %u for '%s'", list.count, expected, filter);
    m5_retained_list_fini(f->store, &list, 0);
}

static void random_sets_collect_like_a_list_of_topics(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(77));
    static struct model model;
    for (unsigned run = 0; run < 4; run++) {
        struct fixture f;
        set_up(&f);
        make_model(&model, &rng);
        for (uint64_t now_ms = 1; now_ms < 3000; now_ms++) {
            change(&f, &model, (unsigned)m5_rng_below(&rng, TOPICS), &rng, now_ms);
            char filter[40];
            random_text(&rng, true, filter);
            check_collection(&f, &model, filter, now_ms);
            if (m5_rng_below(&rng, 50) == 0)
                m5_retained_expire(f.store, now_ms, (uint32_t)m5_rng_below(&rng, 20));
        }
        while (m5_retained_expire(f.store, NEVER - 1, 10) > 0) {
        }
        uint64_t stored = 0;
        for (unsigned i = 0; i < TOPICS; i++)
            stored += model.expires[i] == NEVER;
        assert_int_equal(m5_retained_count(f.store), stored);
        for (unsigned i = 0; i < TOPICS; i++)
            set(&f, model.topic[i], "");
        assert_int_equal(m5_retained_count(f.store), 0);
        assert_int_equal(m5_retained_bytes(f.store), 0);
        tear_down(&f);
    }
}

/* ---- without memory ---- */

/* One allocation fails at most, so what has failed works the second time. */
static void collect_with_failure(struct fixture *f, const char *filter, uint32_t expected)
{
    struct m5_retained_list list = {0};
    if (m5_retained_collect(f->store, m5_bytes_of(filter), 0, &list) == MQTT5_OK)
        assert_int_equal(list.count, expected);
    else
        assert_true(list.count < expected && collect_count(f, filter, 0) == expected);
    m5_retained_list_fini(f->store, &list, 0);
}

static void use_with_failure(struct fixture *f)
{
    uint32_t stored = 0;
    for (unsigned i = 0; i < 40; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "a/%u/b/%u", i % 3, i);
        const enum mqtt5_error error = set(f, topic, "payload");
        assert_true(error == MQTT5_OK || error == MQTT5_ERR_NOMEM);
        stored += error == MQTT5_OK;
        assert_int_equal(m5_retained_count(f->store), stored);
    }
    const enum mqtt5_error replaced = set(f, "a/0/b/0", "other");
    assert_true(replaced == MQTT5_OK || replaced == MQTT5_ERR_NOMEM);
    stored = (uint32_t)m5_retained_count(f->store); /* one more if that topic had failed */
    assert_true(stored == 39 || stored == 40);
    collect_with_failure(f, "a/+/#", stored);
    collect_with_failure(f, "#", stored);
    for (unsigned i = 0; i < 40; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "a/%u/b/%u", i % 3, i);
        assert_int_equal(set(f, topic, ""), MQTT5_OK);
    }
    assert_int_equal(m5_retained_bytes(f->store), 0);
}

static void each_failing_allocation_leaves_the_store_whole(void **state)
{
    (void)state;
    static const struct m5_retained_limits no_limits;
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct fixture f;
        test_allocator_init(&f.memory);
        test_allocator_fail_nth(&f.memory, nth);
        f.store = m5_retained_new(&f.memory.table, &key, &no_limits, 0);
        if (f.store != NULL) {
            use_with_failure(&f);
            m5_retained_free(f.store);
        }
        failed = test_allocator_failed(&f.memory);
        test_allocator_check(&f.memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_a_copy_of_all_that_was_set),
        cmocka_unit_test(a_message_replaces_what_the_topic_had),
        cmocka_unit_test(an_empty_payload_removes_and_is_not_kept),
        cmocka_unit_test(collection_follows_the_rules_of_filters),
        cmocka_unit_test(a_collection_appends_and_releases_from_where_it_is_told),
        cmocka_unit_test(a_large_collection_is_whole),
        cmocka_unit_test(hostile_depth_costs_no_stack),
        cmocka_unit_test(what_a_collection_rests_on_may_be_cleared),
        cmocka_unit_test(a_collection_that_fails_there_leaves_nothing_behind),
        cmocka_unit_test(the_number_of_messages_is_limited),
        cmocka_unit_test(the_bytes_are_limited_and_a_refused_message_changes_nothing),
        cmocka_unit_test(the_payload_is_limited),
        cmocka_unit_test(what_is_exempt_is_neither_counted_nor_refused),
        cmocka_unit_test(what_has_expired_is_not_collected_and_goes),
        cmocka_unit_test(a_sweep_removes_as_many_as_it_may),
        cmocka_unit_test(the_sweep_comes_round_to_a_record_behind_many_that_stay),
        cmocka_unit_test(a_replaced_record_no_longer_expires),
        cmocka_unit_test(random_sets_collect_like_a_list_of_topics),
        cmocka_unit_test(each_failing_allocation_leaves_the_store_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
