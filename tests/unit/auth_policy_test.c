/* The policy out of files: who connects, what he may do, and what a reload changes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/auth/password.h"
#include "host/auth/policy.h"
#include "support/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/mqtt5-policy-XXXXXX";
static char users_path[64], acl_path[64], bans_path[64];
static char error[M5_POLICY_ERROR_SIZE];

static const char rules[] = "user alice topic home/# permission rw\n"
                            "user alice topic home/secret permission deny\n"
                            "user anonymous topic public/# permission read\n";

static void put_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void put_users(const char *password)
{
    char stored[M5_PASSWORD_TEXT_SIZE], line[M5_PASSWORD_TEXT_SIZE + 16];
    struct m5_password like = m5_password_defaults;
    like.memory_kib = 8;
    assert_true(m5_password_make(m5_bytes_of(password), &like, stored));
    snprintf(line, sizeof line, "alice:%s\n", stored);
    put_file(users_path, line);
}

static struct mqtt5_auth_options auth;
static struct m5_policy_options options;

static int set_up(void **state)
{
    (void)state;
    m5_policy_options_init(&options);
    auth = (struct mqtt5_auth_options){.password_file = users_path};
    options.auth = &auth;
    options.acl_file = acl_path;
    put_users("right");
    put_file(acl_path, rules);
    return 0;
}

static struct m5_policy *make(void)
{
    struct m5_policy *policy = m5_policy_new(&m5_libc_allocator, &options, error);
    if (policy == NULL)
        fail_msg("%s", error);
    return policy;
}

static bool proved = true;

static struct m5_principal principal(const char *user)
{
    return (struct m5_principal){.client_id = m5_bytes_of("c"),
                                 .username = m5_bytes_of(user != NULL ? user : ""),
                                 .anonymous = user == NULL,
                                 .proved = user != NULL && proved};
}

static enum m5_access_answer connect_as(struct m5_policy *policy, const char *user,
                                        enum mqtt5_reason_code *reason)
{
    const struct m5_access access = m5_policy_access(policy);
    const struct m5_credentials shown = {.client_id = m5_bytes_of("c"),
                                         .username = m5_bytes_of(user != NULL ? user : ""),
                                         .anonymous = user == NULL};
    *reason = MQTT5_REASON_SUCCESS;
    return access.connect(access.ctx, &shown, reason);
}

static bool may_read(struct m5_policy *policy, const char *user, const char *topic)
{
    const struct m5_access access = m5_policy_access(policy);
    const struct m5_principal who = principal(user);
    return access.deliver(access.ctx, &who, m5_bytes_of(topic)) == M5_ACCESS_ALLOW;
}

static struct m5_address address_of(const char *text)
{
    struct m5_address address = {.size = sizeof(struct sockaddr_in)};
    struct sockaddr_in in = {.sin_family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, text, &in.sin_addr), 1);
    memcpy(&address.storage, &in, sizeof in);
    return address;
}

/* ---- logins ---- */

static struct answer {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int value; /* -1: not there yet */
} answer = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_done(void *ctx, uint64_t token, enum m5_login_answer value)
{
    struct answer *to = ctx;
    pthread_mutex_lock(&to->lock);
    to->value = token == 42 ? (int)value : 1000;
    pthread_cond_signal(&to->changed);
    pthread_mutex_unlock(&to->lock);
}

/* NULL as @p password: none. */
static enum m5_login_answer login(struct m5_policy *policy, const char *user, const char *password)
{
    struct m5_attempt attempt = {0};
    const struct m5_address address = address_of("192.0.2.1");
    const struct m5_credentials credentials = {
        .client_id = m5_bytes_of("c"),
        .username = m5_bytes_of(user != NULL ? user : ""),
        .password = m5_bytes_of(password != NULL ? password : ""),
        .anonymous = user == NULL,
        .has_password = password != NULL,
    };
    answer.value = -1;
    const enum m5_login_answer at_once =
        m5_policy_login(policy, &attempt, &credentials, m5_source_counted(m5_source_of(&address)),
                        on_done, &answer, 42);
    m5_attempt_fini(&attempt);
    if (at_once != M5_LOGIN_PENDING)
        return at_once;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&answer.lock);
    while (answer.value < 0)
        assert_int_not_equal(pthread_cond_timedwait(&answer.changed, &answer.lock, &until),
                             ETIMEDOUT);
    pthread_mutex_unlock(&answer.lock);
    return (enum m5_login_answer)answer.value;
}

static void names_wait_for_their_password(void **state)
{
    (void)state;
    enum mqtt5_reason_code reason;
    struct m5_policy *policy = make();
    assert_int_equal(connect_as(policy, "alice", &reason), M5_ACCESS_PENDING);
    assert_int_equal(connect_as(policy, NULL, &reason), M5_ACCESS_DENY);
    assert_int_equal(reason, MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(login(policy, "alice", "right"), M5_LOGIN_RIGHT);
    assert_int_equal(login(policy, "alice", "wrong"), M5_LOGIN_WRONG);
    assert_int_equal(login(policy, "mallory", "right"), M5_LOGIN_WRONG);
    const struct m5_verifier_counts counts = m5_policy_counts(policy);
    assert_int_equal(counts.hashes, 3);
    m5_policy_free(policy);
}

/* Row 27: no user name, no password, neither. */
static void case_27_what_is_absent_is_no_password(void **state)
{
    (void)state;
    auth.allow_anonymous = true;
    struct m5_policy *policy = make();
    enum mqtt5_reason_code reason;
    assert_int_equal(connect_as(policy, NULL, &reason), M5_ACCESS_ALLOW);
    assert_int_equal(connect_as(policy, "alice", &reason), M5_ACCESS_PENDING);
    assert_int_equal(connect_as(policy, "", &reason), M5_ACCESS_PENDING);
    assert_int_equal(login(policy, "alice", NULL), M5_LOGIN_WRONG);
    assert_int_equal(login(policy, "alice", ""), M5_LOGIN_WRONG);
    assert_int_equal(login(policy, "", NULL), M5_LOGIN_WRONG);
    assert_int_equal(login(policy, "", ""), M5_LOGIN_WRONG);
    assert_int_equal(login(policy, NULL, "right"), M5_LOGIN_WRONG);
    m5_policy_free(policy);
}

static void rules_are_asked(void **state)
{
    (void)state;
    struct m5_policy *policy = make();
    const struct m5_access access = m5_policy_access(policy);
    const struct m5_principal alice = principal("alice");
    assert_false(access.allow_everything);
    for (unsigned i = 0; i < 2; i++) { /* found, then remembered */
        assert_true(may_read(policy, "alice", "home/x"));
        assert_false(may_read(policy, "alice", "home/secret"));
        assert_false(may_read(policy, "bob", "home/x"));
        assert_true(may_read(policy, NULL, "public/x"));
        assert_int_equal(access.publish(access.ctx, &alice, m5_bytes_of("home/x"), 1, false),
                         M5_ACCESS_ALLOW);
        assert_int_equal(access.publish(access.ctx, &alice, m5_bytes_of("public/x"), 1, false),
                         M5_ACCESS_DENY);
        assert_int_equal(access.subscribe(access.ctx, &alice, m5_bytes_of("home/#"), 1),
                         M5_ACCESS_ALLOW);
        assert_int_equal(access.subscribe(access.ctx, &alice, m5_bytes_of("#"), 1), M5_ACCESS_DENY);
    }
    m5_policy_free(policy);
}

/* A name that nobody proved has no rights of its own. */
static void unproved_names_count_as_anonymous(void **state)
{
    (void)state;
    enum mqtt5_reason_code reason;
    auth = (struct mqtt5_auth_options){.allow_anonymous = true};
    struct m5_policy *policy = make();
    assert_int_equal(connect_as(policy, "alice", &reason), M5_ACCESS_ALLOW);
    proved = false;
    assert_false(may_read(policy, "alice", "home/x"));
    assert_true(may_read(policy, "alice", "public/x"));
    assert_int_equal(login(policy, "alice", "right"), M5_LOGIN_WRONG);
    proved = true;
    assert_true(may_read(policy, "alice", "home/x"));
    m5_policy_free(policy);
}

static void without_a_list_everything_is_allowed(void **state)
{
    (void)state;
    options.acl_file = NULL;
    struct m5_policy *policy = make();
    assert_true(m5_policy_access(policy).allow_everything);
    assert_true(may_read(policy, "bob", "x"));
    m5_policy_free(policy);
}

/* Rows 5 and 15: what is taken away is gone at once, for subscriptions and messages that exist. */
static void case_5_a_reload_takes_rights_away_at_once(void **state)
{
    (void)state;
    struct m5_policy *policy = make();
    assert_int_equal(login(policy, "alice", "right"), M5_LOGIN_RIGHT);
    assert_true(may_read(policy, "alice", "home/x"));
    put_file(acl_path, "user alice topic home/# permission write\n");
    put_users("other");
    assert_true(may_read(policy, "alice", "home/x"));
    assert_true(m5_policy_reload(policy, error));
    assert_false(may_read(policy, "alice", "home/x"));
    assert_int_equal(login(policy, "alice", "right"), M5_LOGIN_WRONG);
    assert_int_equal(login(policy, "alice", "other"), M5_LOGIN_RIGHT);
    m5_policy_free(policy);
}

/* Row 46: a bad file changes nothing, whichever it is; at the start it stops everything. */
static void case_46_a_bad_file_changes_nothing(void **state)
{
    (void)state;
    struct m5_policy *policy = make();
    put_file(acl_path, "user alice topic # permission rw\nuser bob\n");
    put_users("other");
    assert_false(m5_policy_reload(policy, error));
    assert_non_null(strstr(error, "acl:2:1: "));
    assert_false(may_read(policy, "alice", "x"));
    assert_int_equal(login(policy, "alice", "right"), M5_LOGIN_RIGHT);
    put_file(acl_path, rules);
    put_file(users_path, "alice:right\n");
    assert_false(m5_policy_reload(policy, error));
    assert_non_null(strstr(error, "users:1:7: "));
    assert_int_equal(login(policy, "alice", "right"), M5_LOGIN_RIGHT);
    unlink(acl_path);
    put_users("right");
    assert_false(m5_policy_reload(policy, error));
    assert_true(may_read(policy, "alice", "home/x"));
    m5_policy_free(policy);
    assert_null(m5_policy_new(&m5_libc_allocator, &options, error));
    assert_non_null(strstr(error, "cannot be opened"));
    options.acl_file = NULL;
    auth.password_file = "/nonexistent";
    assert_null(m5_policy_new(&m5_libc_allocator, &options, error));
    assert_non_null(strstr(error, "/nonexistent"));
}

static void networks_are_banned(void **state)
{
    (void)state;
    options.ban_file = bans_path;
    put_file(bans_path, "192.0.2.0/24\n");
    struct m5_policy *policy = make();
    const struct m5_address inside = address_of("192.0.2.7"), outside = address_of("192.0.3.7");
    assert_true(m5_policy_bans(policy, &inside));
    assert_false(m5_policy_bans(policy, &outside));
    put_file(bans_path, "");
    assert_true(m5_policy_reload(policy, error));
    assert_false(m5_policy_bans(policy, &inside));
    m5_policy_free(policy);
}

static void answers_have_reason_codes(void **state)
{
    (void)state;
    assert_int_equal(m5_policy_reason(M5_LOGIN_WRONG), 0x86);
    assert_int_equal(m5_policy_reason(M5_LOGIN_BUSY), 0x89);
    assert_int_equal(m5_policy_reason(M5_LOGIN_LOCKED), 0x9F);
    assert_int_equal(m5_policy_reason(M5_LOGIN_FAILED), 0x88);
}

/* ---- several threads ---- */

static struct m5_policy *shared;
static atomic_bool ends;

/* Whatever the list is at the moment, home/secret is denied. */
static void *ask_on(void *ctx)
{
    (void)ctx;
    do {
        if (may_read(shared, "alice", "home/secret") || !may_read(shared, "alice", "home/x"))
            return (void *)1;
    } while (!atomic_load(&ends));
    return NULL;
}

static void threads_ask_while_lists_change(void **state)
{
    (void)state;
    pthread_t threads[3];
    shared = make();
    atomic_store(&ends, false);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_on, NULL), 0);
    for (unsigned i = 0; i < 40; i++) {
        put_file(acl_path,
                 i % 2 == 0 ? rules : "user * topic home/x permission rw\n# another list\n");
        assert_true(m5_policy_reload(shared, error));
    }
    atomic_store(&ends, true);
    for (unsigned i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    m5_policy_free(shared);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(users_path, sizeof users_path, "%s/users", folder);
    snprintf(acl_path, sizeof acl_path, "%s/acl", folder);
    snprintf(bans_path, sizeof bans_path, "%s/bans", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(users_path);
    unlink(acl_path);
    unlink(bans_path);
    return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_wait_for_their_password),
        TEST(case_27_what_is_absent_is_no_password),
        TEST(rules_are_asked),
        TEST(unproved_names_count_as_anonymous),
        TEST(without_a_list_everything_is_allowed),
        TEST(case_5_a_reload_takes_rights_away_at_once),
        TEST(case_46_a_bad_file_changes_nothing),
        TEST(networks_are_banned),
        cmocka_unit_test(answers_have_reason_codes),
        TEST(threads_ask_while_lists_change),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
