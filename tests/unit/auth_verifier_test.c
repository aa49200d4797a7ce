/* Logins by threads: what costs a hash and what does not, whose turn it is, who is locked out.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/auth/password.h"
#include "host/auth/users.h"
#include "host/auth/verifier.h"
#include "support/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWER_S    20
#define ANSWERS_MAX 512

/* ---- what is tested with ---- */

static atomic_ullong clock_ms = 1000000;

static uint64_t test_clock(void)
{
    return atomic_load(&clock_ms);
}

/* Answers as they come, in order. With `gate`, the first one waits until it is opened. */
static struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t tokens[ANSWERS_MAX];
    enum m5_login_answer answers[ANSWERS_MAX];
    unsigned count;
    bool gate_closed;
} inbox = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void wait_changed(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ANSWER_S;
    assert_int_not_equal(pthread_cond_timedwait(&inbox.changed, &inbox.lock, &until), ETIMEDOUT);
}

static void on_done(void *ctx, uint64_t token, enum m5_login_answer answer)
{
    struct inbox *to = ctx;
    pthread_mutex_lock(&to->lock);
    to->tokens[to->count] = token;
    to->answers[to->count++] = answer;
    pthread_cond_broadcast(&to->changed);
    while (to->gate_closed)
        pthread_cond_wait(&to->changed, &to->lock);
    pthread_mutex_unlock(&to->lock);
}

static void await_count(unsigned count)
{
    pthread_mutex_lock(&inbox.lock);
    while (inbox.count < count)
        wait_changed();
    pthread_mutex_unlock(&inbox.lock);
}

static void set_gate(bool closed)
{
    pthread_mutex_lock(&inbox.lock);
    inbox.gate_closed = closed;
    pthread_cond_broadcast(&inbox.changed);
    pthread_mutex_unlock(&inbox.lock);
}

static void free_users(void *users)
{
    m5_users_free(users);
}

/* A table of @p names, blank between them, each with the password "right NAME". */
static struct m5_users *make_users(const char *names)
{
    char text[4096] = "", name[32], password[64], stored[M5_PASSWORD_TEXT_SIZE];
    struct m5_password like = m5_password_defaults;
    struct m5_text_error error;
    size_t used = 0;
    int taken;
    like.memory_kib = 8;
    like.passes = 1;
    for (; sscanf(names, "%31s%n", name, &taken) == 1; names += taken) {
        snprintf(password, sizeof password, "right %s", name);
        assert_true(m5_password_make(m5_bytes_of(password), &like, stored));
        used += (size_t)snprintf(text + used, sizeof text - used, "%s:%s\n", name, stored);
    }
    struct m5_users *users =
        m5_users_new(&m5_libc_allocator, m5_bytes_of(text), m5_users_password_check, &error);
    assert_non_null(users);
    return users;
}

static struct rig {
    struct m5_snapshot users;
    struct m5_verifier_config config;
    struct m5_verifier *verifier;
} rig;

static void start(const char *names)
{
    assert_true(m5_snapshot_init(&rig.users, make_users(names), free_users));
    rig.verifier = m5_verifier_new(&m5_libc_allocator, &rig.config, &rig.users);
    assert_non_null(rig.verifier);
}

static int set_up(void **state)
{
    (void)state;
    inbox.count = 0;
    inbox.gate_closed = false;
    rig.config = m5_verifier_defaults;
    rig.config.threads = 1;
    rig.config.now_ms = test_clock;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    m5_verifier_free(rig.verifier);
    m5_snapshot_fini(&rig.users);
    return 0;
}

static struct m5_source source_of(uint8_t last)
{
    return (struct m5_source){{[10] = 0xFF, [11] = 0xFF, [12] = 192, [14] = 2, [15] = last}};
}

static enum m5_login_answer ask_from(uint8_t source, const char *user, const char *password,
                                     uint64_t token)
{
    const struct m5_login login = {.user = m5_bytes_of(user),
                                   .password = m5_bytes_of(password),
                                   .source = source_of(source),
                                   .done = on_done,
                                   .ctx = &inbox,
                                   .token = token};
    return m5_verifier_ask(rig.verifier, &login);
}

/* Asks and waits for the answer. */
static enum m5_login_answer login_from(uint8_t source, const char *user, const char *password)
{
    const unsigned before = inbox.count;
    const enum m5_login_answer answer = ask_from(source, user, password, 1);
    if (answer != M5_LOGIN_PENDING)
        return answer;
    await_count(before + 1);
    return inbox.answers[before];
}

static uint64_t hashes(void)
{
    return m5_verifier_counts(rig.verifier).hashes;
}

/* ---- the tests ---- */

/* Holds the only thread in a callback, so that what comes next waits. */
static void occupy_thread(void)
{
    set_gate(true);
    assert_int_equal(ask_from(99, "nobody", "x", 999), M5_LOGIN_PENDING);
    await_count(1);
}

static void passwords_are_compared(void **state)
{
    (void)state;
    start("alice bob");
    assert_int_equal(login_from(1, "alice", "right alice"), M5_LOGIN_RIGHT);
    assert_int_equal(login_from(1, "alice", "right bob"), M5_LOGIN_WRONG);
    assert_int_equal(login_from(1, "bob", "right bob"), M5_LOGIN_RIGHT);
    assert_int_equal(login_from(1, "carol", "right alice"), M5_LOGIN_WRONG);
    assert_int_equal(login_from(1, "", ""), M5_LOGIN_WRONG);
    const struct m5_verifier_counts counts = m5_verifier_counts(rig.verifier);
    assert_int_equal(counts.right, 2);
    assert_int_equal(counts.wrong, 3);
    assert_int_equal(counts.hashes, 5);
}

/* The same work, whoever is asked for: told by the hashes and by their parameters. */
static void an_unknown_user_costs_what_a_known_one_costs(void **state)
{
    (void)state;
    start("alice");
    for (unsigned i = 0; i < 10; i++) {
        const uint64_t before = hashes();
        assert_int_equal(login_from(1, i % 2 == 0 ? "alice" : "mallory", "guess"), M5_LOGIN_WRONG);
        assert_int_equal(hashes(), before + 1);
    }
    const struct m5_users *users = m5_snapshot_get(&rig.users, NULL);
    const struct m5_user *alice = m5_users_find(users, m5_bytes_of("alice"), 0);
    assert_ptr_equal(m5_users_decoy(users, m5_bytes_of("mallory")), alice);
    /* Not even with the password of the user whose parameters stand in. */
    assert_int_equal(login_from(1, "mallory", "right alice"), M5_LOGIN_WRONG);
    assert_int_equal(login_from(1, "alice", "right alice"), M5_LOGIN_RIGHT);
    assert_int_equal(login_from(1, "mallory", "right alice"), M5_LOGIN_WRONG);
}

static void an_empty_table_hashes_too(void **state)
{
    (void)state;
    start("");
    assert_int_equal(login_from(1, "alice", "guess"), M5_LOGIN_WRONG);
    assert_int_equal(hashes(), 1);
}

/* A reconnect storm: one hash for each user, however many come at once and again. */
static void recent_successes_cost_no_hash(void **state)
{
    (void)state;
    start("alice bob");
    occupy_thread();
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(ask_from(1, "alice", "right alice", i), M5_LOGIN_PENDING);
    set_gate(false);
    await_count(51);
    for (unsigned i = 1; i < 51; i++)
        assert_int_equal(inbox.answers[i], M5_LOGIN_RIGHT);
    assert_int_equal(hashes(), 2); /* one for what kept the thread */
    assert_int_equal(ask_from(2, "alice", "right alice", 0), M5_LOGIN_RIGHT);
    assert_int_equal(login_from(1, "alice", "right alicE"), M5_LOGIN_WRONG);
    assert_int_equal(hashes(), 3);
    clock_ms += rig.config.cache_ttl_ms;
    assert_int_equal(login_from(1, "alice", "right alice"), M5_LOGIN_RIGHT);
    assert_int_equal(hashes(), 4);
}

static void the_cache_is_bounded(void **state)
{
    (void)state;
    rig.config.cache_entries_max = 2;
    start("a b c");
    static const char *const names[] = {"a", "b", "c"};
    static const char *const passwords[] = {"right a", "right b", "right c"};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(login_from(1, names[i], passwords[i]), M5_LOGIN_RIGHT);
    assert_int_equal(ask_from(1, "c", "right c", 0), M5_LOGIN_RIGHT);
    assert_int_equal(ask_from(1, "b", "right b", 0), M5_LOGIN_RIGHT);
    assert_int_equal(hashes(), 3);
    assert_int_equal(login_from(1, "a", "right a"), M5_LOGIN_RIGHT);
    assert_int_equal(hashes(), 4);
}

/* A changed password, and a user who is gone, count at once; others stay known. */
static void a_reload_counts_at_once(void **state)
{
    (void)state;
    start("alice bob");
    assert_int_equal(login_from(1, "alice", "right alice"), M5_LOGIN_RIGHT);
    assert_int_equal(login_from(1, "bob", "right bob"), M5_LOGIN_RIGHT);
    assert_true(m5_snapshot_set(&rig.users, make_users("alice")));
    assert_int_equal(login_from(1, "bob", "right bob"), M5_LOGIN_WRONG);
    const uint64_t before = hashes();
    assert_int_equal(login_from(1, "alice", "right alice"), M5_LOGIN_RIGHT);
    assert_int_equal(hashes(), before + 1); /* another salt: another stored hash */
}

static void too_much_is_refused_at_once(void **state)
{
    (void)state;
    rig.config.queue_max = 5;
    rig.config.queue_per_source_max = 3;
    start("alice");
    occupy_thread();
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask_from(1, "alice", "guess", i), M5_LOGIN_PENDING);
    assert_int_equal(ask_from(1, "alice", "guess", 3), M5_LOGIN_BUSY);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(ask_from(2, "alice", "guess", 10 + i), M5_LOGIN_PENDING);
    assert_int_equal(ask_from(3, "alice", "guess", 20), M5_LOGIN_BUSY);
    set_gate(false);
    await_count(6);
    assert_int_equal(login_from(3, "alice", "right alice"), M5_LOGIN_RIGHT);
    assert_int_equal(m5_verifier_counts(rig.verifier).busy, 2);
}

/* Who asks a lot waits for himself: addresses take turns. */
static void addresses_take_turns(void **state)
{
    (void)state;
    start("alice");
    occupy_thread();
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ask_from(1, "alice", "guess", 100 + i), M5_LOGIN_PENDING);
    assert_int_equal(ask_from(2, "alice", "guess", 200), M5_LOGIN_PENDING);
    assert_int_equal(ask_from(2, "alice", "guess", 201), M5_LOGIN_PENDING);
    assert_int_equal(ask_from(3, "alice", "guess", 300), M5_LOGIN_PENDING);
    set_gate(false);
    await_count(8);
    static const uint64_t order[] = {100, 200, 300, 101, 201, 102, 103};
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(inbox.tokens[1 + i], order[i]);
}

static void a_login_that_waits_can_be_cancelled(void **state)
{
    (void)state;
    start("alice");
    occupy_thread();
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask_from(1, "alice", "guess", i), M5_LOGIN_PENDING);
    assert_true(m5_verifier_cancel(rig.verifier, &inbox, 1));
    assert_false(m5_verifier_cancel(rig.verifier, &inbox, 1));
    assert_false(m5_verifier_cancel(rig.verifier, &inbox, 999));
    assert_false(m5_verifier_cancel(rig.verifier, &rig, 2));
    set_gate(false);
    await_count(3);
    assert_int_equal(inbox.tokens[1], 0);
    assert_int_equal(inbox.tokens[2], 2);
    assert_int_equal(hashes(), 3);
}

static void an_address_that_guesses_is_locked_out(void **state)
{
    (void)state;
    rig.config.guard.address.failures = 3;
    start("alice bob");
    assert_int_equal(login_from(1, "alice", "right alice"), M5_LOGIN_RIGHT);
    static const char *const users[] = {"alice", "bob", "mallory"};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(login_from(1, users[i], "guess"), M5_LOGIN_WRONG);
    const uint64_t before = hashes();
    assert_int_equal(login_from(1, "bob", "right bob"), M5_LOGIN_LOCKED);
    assert_int_equal(login_from(1, "alice", "right alice"), M5_LOGIN_LOCKED);
    assert_int_equal(hashes(), before);
    assert_int_equal(login_from(2, "bob", "right bob"), M5_LOGIN_RIGHT);
    clock_ms += rig.config.guard.address.lock_ms - 1;
    assert_int_equal(login_from(1, "bob", "right bob"), M5_LOGIN_LOCKED);
    clock_ms += 1;
    assert_int_equal(login_from(1, "bob", "right bob"), M5_LOGIN_RIGHT);
}

static void a_user_who_is_guessed_at_is_locked_but_for_those_known(void **state)
{
    (void)state;
    rig.config.guard.user.failures = 3;
    start("alice");
    assert_int_equal(login_from(9, "alice", "right alice"), M5_LOGIN_RIGHT);
    for (uint8_t i = 1; i <= 3; i++)
        assert_int_equal(login_from(i, "alice", "guess"), M5_LOGIN_WRONG);
    const uint64_t before = hashes();
    assert_int_equal(login_from(4, "alice", "guess"), M5_LOGIN_LOCKED);
    assert_int_equal(login_from(9, "alice", "right alice"), M5_LOGIN_RIGHT);
    assert_int_equal(hashes(), before);
    clock_ms += rig.config.guard.user.lock_ms;
    assert_int_equal(login_from(4, "alice", "guess"), M5_LOGIN_WRONG);
}

static void failures_are_forgotten_after_the_window(void **state)
{
    (void)state;
    rig.config.guard.address.failures = 3;
    start("alice");
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(login_from(1, "alice", "guess"), M5_LOGIN_WRONG);
        clock_ms += rig.config.guard.address.window_ms;
    }
    assert_int_equal(login_from(1, "alice", "right alice"), M5_LOGIN_RIGHT);
}

/* What waits when the verifier goes is answered. */
static void nothing_is_left_without_an_answer(void **state)
{
    (void)state;
    start("alice");
    occupy_thread();
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(ask_from((uint8_t)i, "alice", "guess", i), M5_LOGIN_PENDING);
    set_gate(false);
    m5_verifier_free(rig.verifier);
    rig.verifier = NULL;
    assert_int_equal(inbox.count, 5);
    for (unsigned i = 1; i < 5; i++)
        assert_true(inbox.answers[i] == M5_LOGIN_FAILED || inbox.answers[i] == M5_LOGIN_WRONG);
}

/* Several threads ask and the table is swapped under them: for the thread sanitizer. */
static void *asker(void *ctx)
{
    const uint8_t source = *(const uint8_t *)ctx;
    for (unsigned i = 0; i < 40; i++) {
        while (ask_from(source, i % 3 == 0 ? "bob" : "alice", i % 5 == 0 ? "guess" : "right alice",
                        i) == M5_LOGIN_BUSY)
            sched_yield();
    }
    return NULL;
}

static void many_threads_ask_while_the_table_changes(void **state)
{
    (void)state;
    rig.config.threads = 3;
    rig.config.guard.address.failures = 0;
    rig.config.guard.user.failures = 0;
    rig.config.queue_per_source_max = 4;
    start("alice bob");
    pthread_t threads[4];
    static const uint8_t sources[4] = {1, 2, 3, 4};
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, asker, (void *)(uintptr_t)&sources[i]),
                         0);
    for (unsigned i = 0; i < 10; i++)
        assert_true(m5_snapshot_set(&rig.users, make_users(i % 2 == 0 ? "alice" : "alice bob")));
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    m5_verifier_free(rig.verifier);
    rig.verifier = NULL;
    assert_in_range(inbox.count, 1, 160);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(passwords_are_compared),
        TEST(an_unknown_user_costs_what_a_known_one_costs),
        TEST(an_empty_table_hashes_too),
        TEST(recent_successes_cost_no_hash),
        TEST(the_cache_is_bounded),
        TEST(a_reload_counts_at_once),
        TEST(too_much_is_refused_at_once),
        TEST(addresses_take_turns),
        TEST(a_login_that_waits_can_be_cancelled),
        TEST(an_address_that_guesses_is_locked_out),
        TEST(a_user_who_is_guessed_at_is_locked_but_for_those_known),
        TEST(failures_are_forgotten_after_the_window),
        TEST(nothing_is_left_without_an_answer),
        TEST(many_threads_ask_while_the_table_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
