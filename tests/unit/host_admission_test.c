/* How many connections a listener takes: each limit at its edge, by address, and without memory.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/admission.h"

#include "support/test_allocator.h"
#include "support/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

struct bench {
    struct test_allocator memory;
    struct m5_admission_table *table;
};

static struct m5_address address_of(const char *text)
{
    struct m5_address address = {.size = sizeof(struct sockaddr_in6)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
        memcpy(&address.storage, &four, sizeof four);
    else if (inet_pton(AF_INET6, text, &six.sin6_addr) == 1)
        memcpy(&address.storage, &six, sizeof six);
    else
        address.storage.ss_family = AF_UNIX;
    return address;
}

static void bench_init(struct bench *bench, const struct m5_admission_limits *limits)
{
    test_allocator_init(&bench->memory);
    bench->table = m5_admission_new(&bench->memory.table);
    assert_non_null(bench->table);
    assert_true(m5_admission_limit(bench->table, 1, limits));
}

static void bench_fini(struct bench *bench)
{
    m5_admission_free(bench->table);
    test_allocator_check(&bench->memory);
}

static enum m5_admission ask(struct bench *bench, const char *text, uint64_t now_ms,
                             uint32_t *ticket)
{
    const struct m5_address address = address_of(text);
    uint32_t ignored;
    return m5_admission_ask(bench->table, 1, &address, now_ms, ticket == NULL ? &ignored : ticket);
}

static void without_limits_nothing_is_counted(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, &(struct m5_admission_limits){0});
    const struct m5_address address = address_of("192.0.2.1");
    uint32_t ticket = 7;
    for (uint32_t listener = 0; listener < 3; listener++) { /* 2 was never told of */
        assert_int_equal(m5_admission_ask(bench.table, listener, &address, 5, &ticket),
                         M5_ADMITTED);
        assert_int_equal(ticket, 0);
        m5_admission_leave(bench.table, ticket);
    }
    bench_fini(&bench);
}

static void a_listener_is_full(void **state)
{
    (void)state;
    struct bench bench;
    uint32_t first, second;
    bench_init(&bench, &(struct m5_admission_limits){.connections_max = 2});
    assert_int_equal(ask(&bench, "192.0.2.1", 5, &first), M5_ADMITTED);
    assert_int_equal(ask(&bench, "/a/unix/socket", 5, &second), M5_ADMITTED);
    assert_int_equal(ask(&bench, "192.0.2.2", 5, NULL), M5_ADMISSION_FULL);
    m5_admission_leave(bench.table, second);
    assert_int_equal(ask(&bench, "192.0.2.2", 5, &second), M5_ADMITTED);
    assert_int_equal(m5_admission_counts(bench.table).full, 1);
    /* A reload may change it while they are connected. */
    assert_true(
        m5_admission_limit(bench.table, 1, &(struct m5_admission_limits){.connections_max = 3}));
    assert_int_equal(ask(&bench, "192.0.2.3", 5, NULL), M5_ADMITTED);
    assert_int_equal(ask(&bench, "192.0.2.3", 5, NULL), M5_ADMISSION_FULL);
    m5_admission_leave(bench.table, first);
    assert_int_equal(ask(&bench, "192.0.2.3", 5, NULL), M5_ADMITTED);
    bench_fini(&bench);
}

static void case_44_an_address_is_crowded(void **state)
{
    (void)state;
    struct bench bench;
    uint32_t ticket;
    bench_init(&bench, &(struct m5_admission_limits){.connections_per_address_max = 1});
    assert_int_equal(ask(&bench, "2001:db8::1", 5, &ticket), M5_ADMITTED);
    assert_int_equal(ask(&bench, "2001:db8::ffff:2", 5, NULL), M5_ADMISSION_CROWDED); /* its /64 */
    assert_int_equal(ask(&bench, "2001:db8:0:1::1", 5, NULL), M5_ADMITTED);
    assert_int_equal(ask(&bench, "192.0.2.1", 5, NULL), M5_ADMITTED);
    assert_int_equal(ask(&bench, "::ffff:192.0.2.1", 5, NULL), M5_ADMISSION_CROWDED);
    m5_admission_leave(bench.table, ticket);
    assert_int_equal(ask(&bench, "2001:db8::ffff:2", 5, NULL), M5_ADMITTED);
    for (int i = 0; i < 3; i++) /* nobody knows where these come from */
        assert_int_equal(ask(&bench, "/a/unix/socket", 5, NULL), M5_ADMITTED);
    assert_int_equal(m5_admission_counts(bench.table).crowded, 2);
    bench_fini(&bench);
}

static void an_address_is_hasty(void **state)
{
    (void)state;
    struct bench bench;
    bench_init(&bench, &(struct m5_admission_limits){.connection_rate_max = 4});
    uint32_t admitted = 0, ticket;
    for (int i = 0; i < 10; i++) {
        if (ask(&bench, "192.0.2.1", 100, &ticket) == M5_ADMITTED) {
            admitted++;
            m5_admission_leave(bench.table, ticket); /* that it goes does not help */
        }
    }
    assert_int_equal(admitted, 4);
    assert_int_equal(ask(&bench, "192.0.2.2", 100, NULL), M5_ADMITTED);
    assert_int_equal(ask(&bench, "192.0.2.1", 349, NULL), M5_ADMISSION_HASTY);
    assert_int_equal(ask(&bench, "192.0.2.1", 350, NULL), M5_ADMITTED);
    assert_int_equal(ask(&bench, "192.0.2.1", 599, NULL), M5_ADMISSION_HASTY);
    admitted = 0;
    for (uint64_t now = 2000; now < 12000; now += 5) /* ten seconds: one burst, then four each */
        admitted += ask(&bench, "192.0.2.1", now, NULL) == M5_ADMITTED;
    assert_int_equal(admitted, 4 + 39); /* the last second is not over */
    assert_int_equal(m5_admission_counts(bench.table).hasty, 6 + 2 + 2000 - admitted);
    bench_fini(&bench);
}

/* A flood from ever new addresses: the table does not grow without end, who is connected stays
 * counted, and what is forgotten is what has been gone longest. */
static void memory_is_bounded(void **state)
{
    (void)state;
    struct bench bench;
    uint32_t ticket;
    bench_init(&bench, &(struct m5_admission_limits){.connections_per_address_max = 1,
                                                     .connection_rate_max = 1000});
    assert_int_equal(ask(&bench, "192.0.2.1", 1, NULL), M5_ADMITTED);
    size_t bytes = 0;
    for (uint32_t i = 0; i < 3 * M5_ADMISSION_IDLE_MAX; i++) {
        struct m5_address address = address_of("10.0.0.0");
        struct sockaddr_in in;
        memcpy(&in, &address.storage, sizeof in);
        in.sin_addr.s_addr = htonl(0x0A000000u + i);
        memcpy(&address.storage, &in, sizeof in);
        assert_int_equal(m5_admission_ask(bench.table, 1, &address, 2, &ticket), M5_ADMITTED);
        m5_admission_leave(bench.table, ticket);
        if (i == M5_ADMISSION_IDLE_MAX)
            bytes = bench.memory.bytes;
    }
    assert_int_equal(bench.memory.bytes, bytes);
    assert_int_equal(ask(&bench, "192.0.2.1", 3, NULL), M5_ADMISSION_CROWDED);
    /* Later everything that is idle says nothing any more, and goes by and by. */
    for (uint64_t i = 0; i < M5_ADMISSION_IDLE_MAX; i++)
        ask(&bench, "192.0.2.1", 5000 + i, NULL);
    assert_true(bench.memory.bytes < bytes / 4);
    bench_fini(&bench);
}

static void without_memory_nobody_comes_in(void **state)
{
    (void)state;
    uint64_t nth = 0;
    bool failed;
    do {
        struct test_allocator memory;
        test_allocator_init(&memory);
        test_allocator_fail_nth(&memory, ++nth);
        const struct m5_admission_limits limits = {.connections_per_address_max = 2};
        const struct m5_address address = address_of("192.0.2.1");
        struct m5_admission_table *table = m5_admission_new(&memory.table);
        uint32_t ticket = 0;
        if (table != NULL && m5_admission_limit(table, 0, &limits)) {
            const enum m5_admission answer = m5_admission_ask(table, 0, &address, 1, &ticket);
            assert_true(answer == M5_ADMITTED || answer == M5_ADMISSION_NOMEM);
            assert_int_equal(ticket != 0, answer == M5_ADMITTED);
            m5_admission_leave(table, ticket);
        }
        m5_admission_free(table);
        test_allocator_check(&memory);
        failed = test_allocator_failed(&memory);
    } while (failed);
    assert_true(nth > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_limits_nothing_is_counted),
        cmocka_unit_test(a_listener_is_full),
        cmocka_unit_test(case_44_an_address_is_crowded),
        cmocka_unit_test(an_address_is_hasty),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(without_memory_nobody_comes_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
