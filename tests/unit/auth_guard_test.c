/* The guard against guessing, networks that are banned, and the snapshot that threads share.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/auth/guard.h"
#include "host/auth/snapshot.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static const char alice[] = "alice";

static struct m5_source source_of(const char *text)
{
    struct m5_address address = {.size = sizeof(struct sockaddr_in6)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
        memcpy(&address.storage, &four, sizeof four);
    else if (inet_pton(AF_INET6, text, &six.sin6_addr) == 1)
        memcpy(&address.storage, &six, sizeof six);
    return m5_source_of(&address);
}

static bool same(struct m5_source a, struct m5_source b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static void ipv6_is_counted_by_network(void **state)
{
    (void)state;
    const struct m5_source a = source_of("2001:db8:1:2:3:4:5:6");
    const struct m5_source b = source_of("2001:db8:1:2:ffff::1");
    assert_false(same(a, b));
    assert_true(same(m5_source_counted(a), m5_source_counted(b)));
    assert_false(same(m5_source_counted(a), m5_source_counted(source_of("2001:db8:1:3::1"))));
    const struct m5_source four = source_of("192.0.2.7");
    assert_true(same(four, m5_source_counted(four)));
    assert_true(same(four, source_of("::ffff:192.0.2.7")));
    assert_false(same(m5_source_counted(source_of("::1")), source_of("")));
}

static const struct m5_guard_config config = {
    .address = {.failures = 3, .window_ms = 100, .lock_ms = 1000},
    .user = {.failures = 4, .window_ms = 100, .lock_ms = 50},
    .entries_max = 3,
};

static void failures_lock_and_time_unlocks(void **state)
{
    (void)state;
    struct m5_guard *guard = m5_guard_new(&m5_libc_allocator, &config);
    const struct m5_source here = source_of("192.0.2.1");
    const struct mqtt5_bytes user = m5_bytes_of(alice);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(m5_guard_ask(guard, here, user, 10 + i), M5_GUARD_FREE);
        m5_guard_note_failure(guard, here, user, 10 + i);
    }
    assert_int_equal(m5_guard_ask(guard, here, user, 13), M5_GUARD_ADDRESS_LOCKED);
    assert_int_equal(m5_guard_ask(guard, source_of("192.0.2.2"), user, 13), M5_GUARD_FREE);
    m5_guard_note_failure(guard, source_of("192.0.2.2"), user, 13);
    assert_int_equal(m5_guard_ask(guard, source_of("192.0.2.2"), user, 14), M5_GUARD_USER_LOCKED);
    assert_int_equal(m5_guard_ask(guard, source_of("192.0.2.2"), user, 63), M5_GUARD_FREE);
    assert_int_equal(m5_guard_ask(guard, here, user, 1011), M5_GUARD_ADDRESS_LOCKED);
    assert_int_equal(m5_guard_ask(guard, here, user, 1012), M5_GUARD_FREE);
    m5_guard_note_failure(guard, here, user, 1012); /* a new window: one failure */
    assert_int_equal(m5_guard_ask(guard, here, user, 1013), M5_GUARD_FREE);
    m5_guard_reset(guard);
    m5_guard_free(guard);
}

static void the_oldest_is_forgotten_first(void **state)
{
    (void)state;
    struct m5_guard *guard = m5_guard_new(&m5_libc_allocator, &config);
    const char *const addresses[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"};
    const char *const users[] = {"a", "b", "c", "d"};
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < 3; j++)
            m5_guard_note_failure(guard, source_of(addresses[i]), m5_bytes_of(users[i]), 1);
    }
    assert_int_equal(m5_guard_ask(guard, source_of(addresses[0]), m5_bytes_of("x"), 2),
                     M5_GUARD_FREE);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(m5_guard_ask(guard, source_of(addresses[i]), m5_bytes_of("x"), 2),
                         M5_GUARD_ADDRESS_LOCKED);
    m5_guard_free(guard);
}

static void the_guard_does_without_memory(void **state)
{
    (void)state;
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    uint64_t nth = 0;
    do {
        test_allocator_fail_nth(&allocator, ++nth);
        struct m5_guard *guard = m5_guard_new(&allocator.table, &config);
        for (unsigned i = 0; guard != NULL && i < 5; i++) {
            m5_guard_note_failure(guard, source_of("192.0.2.1"), m5_bytes_of(alice), 1);
            m5_guard_ask(guard, source_of("192.0.2.1"), m5_bytes_of(alice), 1);
        }
        m5_guard_free(guard);
        test_allocator_check(&allocator);
    } while (test_allocator_failed(&allocator));
    assert_true(nth > 4);
}

/* ---- networks ---- */

static void banned_networks_are_found(void **state)
{
    (void)state;
    struct m5_text_error error = {0};
    static const char text[] = "# banned\n192.0.2.7\n 198.51.100.0/24\n203.0.113.64/26\n"
                               "2001:db8::/32\n2001:db9::1\n10.1.2.3/8\n";
    static const struct {
        const char *address;
        bool banned;
    } cases[] = {
        {"192.0.2.7", true},
        {"192.0.2.8", false},
        {"198.51.100.0", true},
        {"198.51.100.255", true},
        {"198.51.101.0", false},
        {"203.0.113.63", false},
        {"203.0.113.64", true},
        {"203.0.113.127", true},
        {"203.0.113.128", false},
        {"2001:db8:ffff::", true},
        {"2001:db9::1", true},
        {"2001:db9::2", false},
        {"10.200.1.1", true},
        {"::ffff:192.0.2.7", true},
        {"", false},
        {"::1", false},
    };
    struct m5_bans *bans = m5_bans_new(&m5_libc_allocator, m5_bytes_of(text), &error);
    assert_non_null(bans);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (m5_bans_contain(bans, source_of(cases[i].address)) != cases[i].banned)
            fail_msg("%s: %d", cases[i].address, !cases[i].banned);
    }
    m5_bans_free(bans);
    bans = m5_bans_new(&m5_libc_allocator, m5_bytes_of("0.0.0.0/0\n"), &error);
    assert_true(m5_bans_contain(bans, source_of("192.0.2.8")));
    assert_false(m5_bans_contain(bans, source_of("2001:db8::1")));
    m5_bans_free(bans);
}

static void mistakes_in_a_list_are_told(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "192.0.2.7/33",   "192.0.2",
        "2001:db8::/129", "x",
        "1.2.3.4/",       "1.2.3.4 # me",
        "1.2.3.4/-1",     "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct m5_text_error error = {0};
        assert_null(m5_bans_new(&m5_libc_allocator, m5_bytes_of(wrong[i]), &error));
        assert_int_equal(error.line, 1);
        assert_true(strlen(error.text) > 0);
    }
}

/* ---- snapshots ---- */

#define READERS 4
#define VALUES  300

static struct value {
    atomic_int alive; /* 1 until freed */
} values[VALUES];

static struct m5_snapshot shared;
static atomic_bool reading_ends;

static void free_value(void *value)
{
    atomic_store(&((struct value *)value)->alive, 0);
}

static void *read_on(void *ctx)
{
    uint64_t last = 0;
    (void)ctx;
    do {
        uint64_t generation;
        struct value *value = m5_snapshot_get(&shared, &generation);
        if (value == NULL || atomic_load(&value->alive) != 1 || generation < last ||
            value != &values[generation])
            return (void *)1;
        last = generation;
    } while (!atomic_load(&reading_ends));
    return NULL;
}

static void readers_never_see_what_is_gone(void **state)
{
    (void)state;
    pthread_t threads[READERS];
    for (unsigned i = 0; i < VALUES; i++)
        atomic_store(&values[i].alive, 1);
    assert_true(m5_snapshot_init(&shared, &values[0], free_value));
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, NULL), 0);
    for (unsigned i = 1; i < VALUES; i++) {
        assert_true(m5_snapshot_set(&shared, &values[i]));
        assert_ptr_equal(m5_snapshot_get(&shared, NULL), &values[i]);
    }
    atomic_store(&reading_ends, true);
    for (unsigned i = 0; i < READERS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    /* Threads that ended hold nothing; this one holds the last. */
    for (unsigned i = 0; i + 1 < VALUES; i++)
        assert_int_equal(atomic_load(&values[i].alive), 0);
    assert_int_equal(atomic_load(&values[VALUES - 1].alive), 1);
    m5_snapshot_fini(&shared);
    assert_int_equal(atomic_load(&values[VALUES - 1].alive), 0);
    m5_snapshot_fini(&shared); /* a zeroed one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv6_is_counted_by_network),
        cmocka_unit_test(failures_lock_and_time_unlocks),
        cmocka_unit_test(the_oldest_is_forgotten_first),
        cmocka_unit_test(the_guard_does_without_memory),
        cmocka_unit_test(banned_networks_are_found),
        cmocka_unit_test(mistakes_in_a_list_are_told),
        cmocka_unit_test(readers_never_see_what_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
