/* Stored passwords: each form read, compared and capped; files of users, ours and Mosquitto's.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/base64.h"
#include "base/bytes.h"
#include "base/rng.h"
#include "host/auth/password.h"
#include "host/auth/users.h"
#include "support/seed.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* "password" with "somesalt", out of the test of the Argon2 reference code. */
#define ARGON2ID                                             \
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/" \
    "uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
/* "secret" with "saltsaltsalt", by another program's hash functions. */
#define PBKDF2                                           \
    "$7$101$c2FsdHNhbHRzYWx0$"                           \
    "Hd71hnNoKcARd6Fkl1rUE+opfs3V78ZJB2AgXXC1kaKQiWfi5S" \
    "5qX7D1mY5b+bIzvyidWMnS8VA+YAsAygq9EA=="
#define SHA512                                           \
    "$6$c2FsdHNhbHRzYWx0$"                               \
    "3aiBbchfIZo+1WYrkPzJjQxZ79F/NmwLQ+wF073kTd+6ANhaic" \
    "8G/jWF/X4sqSFUKpLNdm1FZjBck6HQ8knM3A=="

static enum m5_password_answer verify(const char *stored, const char *password)
{
    struct m5_password parsed;
    const char *why = "";
    if (!m5_password_parse(m5_bytes_of(stored), &parsed, &why))
        fail_msg("%s: %s", stored, why);
    return m5_password_verify(&parsed, m5_bytes_of(password));
}

static void every_form_is_compared(void **state)
{
    (void)state;
    assert_int_equal(verify(ARGON2ID, "password"), M5_PASSWORD_RIGHT);
    assert_int_equal(verify(ARGON2ID, "Password"), M5_PASSWORD_WRONG);
    assert_int_equal(verify(ARGON2ID, ""), M5_PASSWORD_WRONG);
    assert_int_equal(verify(PBKDF2, "secret"), M5_PASSWORD_RIGHT);
    assert_int_equal(verify(PBKDF2, "secret "), M5_PASSWORD_WRONG);
    assert_int_equal(verify(PBKDF2, ""), M5_PASSWORD_WRONG);
    assert_int_equal(verify(SHA512, "secret"), M5_PASSWORD_RIGHT);
    assert_int_equal(verify(SHA512, "secre"), M5_PASSWORD_WRONG);
    assert_int_equal(verify(SHA512, ""), M5_PASSWORD_WRONG);
}

/* Row 27: an absent password is bytes of length 0 without an address. */
static void case_27_no_password_is_no_crash(void **state)
{
    (void)state;
    static const char *const stored[] = {ARGON2ID, PBKDF2, SHA512};
    for (size_t i = 0; i < 3; i++) {
        struct m5_password parsed;
        const char *why;
        assert_true(m5_password_parse(m5_bytes_of(stored[i]), &parsed, &why));
        assert_int_equal(m5_password_verify(&parsed, m5_bytes(NULL, 0)), M5_PASSWORD_WRONG);
    }
}

static void new_hashes_are_salted_and_verify(void **state)
{
    (void)state;
    struct m5_password like = m5_password_defaults;
    like.memory_kib = 64;
    like.lanes = 2;
    char first[M5_PASSWORD_TEXT_SIZE], second[M5_PASSWORD_TEXT_SIZE];
    assert_true(m5_password_make(m5_bytes_of("s\xC3\xA9same"), &like, first));
    assert_true(m5_password_make(m5_bytes_of("s\xC3\xA9same"), &like, second));
    assert_string_not_equal(first, second);
    assert_non_null(strstr(first, "$argon2id$v=19$m=64,t=2,p=2$"));
    assert_int_equal(verify(first, "s\xC3\xA9same"), M5_PASSWORD_RIGHT);
    assert_int_equal(verify(second, "sesame"), M5_PASSWORD_WRONG);
    assert_int_equal(m5_password_defaults.memory_kib, 19456);
    assert_int_equal(m5_password_defaults.passes, 2);
}

#define SALT_KEY "$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"

/* What a file asks for is capped: at the cap it is read, one beyond it is not. */
static void parameters_are_capped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool readable;
    } cases[] = {
        {"$argon2id$v=19$m=262144,t=4,p=1" SALT_KEY, true},
        {"$argon2id$v=19$m=262145,t=1,p=1" SALT_KEY, false},
        {"$argon2id$v=19$m=262144,t=5,p=1" SALT_KEY, false},
        {"$argon2id$v=19$m=4294967296,t=1,p=1" SALT_KEY, false},
        {"$argon2id$v=19$m=65536,t=16,p=1" SALT_KEY, true},
        {"$argon2id$v=19$m=64,t=17,p=1" SALT_KEY, false},
        {"$argon2id$v=19$m=128,t=1,p=16" SALT_KEY, true},
        {"$argon2id$v=19$m=136,t=1,p=17" SALT_KEY, false},
        {"$argon2id$v=19$m=127,t=1,p=16" SALT_KEY, false},
        {"$argon2id$v=19$m=0,t=1,p=1" SALT_KEY, false},
        {"$argon2id$v=19$m=64,t=0,p=1" SALT_KEY, false},
        {"$argon2id$v=19$m=64,t=1,p=0" SALT_KEY, false},
        {"$argon2id$v=16$m=64,t=1,p=1" SALT_KEY, false},
        {"$argon2id$m=64,t=1,p=1" SALT_KEY, false},
        {"$argon2id$v=19$t=1,m=64,p=1" SALT_KEY, false},
        {"$argon2id$v=19$m=64,t=1,p=1,data=x" SALT_KEY, false},
        {"$argon2i$v=19$m=64,t=1,p=1" SALT_KEY, false},
        {"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbA$nf65EOgLrQMR/uIPnA4rEg", false},
        {"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEg", true},
        {"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR", false},
        {"$argon2id$v=19$m=64,t=1,p=1" SALT_KEY "$x", false},
        {"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ", false},
        {"$7$2000000$c2FsdHNhbHRzYWx0$bmVpbiBuZWluIG5laW4hIQ==", true},
        {"$7$2000001$c2FsdHNhbHRzYWx0$bmVpbiBuZWluIG5laW4hIQ==", false},
        {"$7$0$c2FsdHNhbHRzYWx0$bmVpbiBuZWluIG5laW4hIQ==", false},
        {"$7$-1$c2FsdHNhbHRzYWx0$bmVpbiBuZWluIG5laW4hIQ==", false},
        {"$6$c2FsdHNhbHRzYWx0$bmVpbiBuZWluIG5laW4hIQ==", false},
        {"$1$salt$hash", false},
        {"plain", false},
        {"", false},
        {"$", false},
        {"$7$", false},
        {"$argon2id$", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_password parsed;
        const char *why = NULL;
        if (m5_password_parse(m5_bytes_of(cases[i].text), &parsed, &why) != cases[i].readable)
            fail_msg("%s: %s", cases[i].text, why);
        assert_true(cases[i].readable || why != NULL);
    }
}

static void base64_has_one_way_to_write_each_value(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(4648));
    for (unsigned round = 0; round < 3000; round++) {
        uint8_t bytes[64], back[64];
        char text[M5_BASE64_SIZE(sizeof bytes)];
        const enum m5_base64_form form = (enum m5_base64_form)m5_rng_below(&rng, 3);
        const size_t size = m5_rng_below(&rng, sizeof bytes + 1);
        size_t got;
        m5_rng_fill(&rng, bytes, size);
        const size_t length = m5_base64_encode(m5_bytes(bytes, size), form, text);
        assert_int_equal(length, strlen(text));
        assert_true(m5_base64_decode(m5_bytes_of(text), form, back, size, &got));
        assert_int_equal(got, size);
        assert_memory_equal(bytes, back, size);
        if (size > 0)
            assert_false(m5_base64_decode(m5_bytes_of(text), form, back, size - 1, &got));
    }
    static const char *const wrong[] = {
        "QQ=", "QQ", "Q===", "QR==", "Q Q=", "QUI", "QUJ=", "=", "QQ==QQ=="};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t out[16];
        size_t size;
        assert_false(m5_base64_decode(m5_bytes_of(wrong[i]), M5_BASE64_PADDED, out, 16, &size));
    }
    uint8_t out[16];
    size_t size;
    assert_false(m5_base64_decode(m5_bytes_of("-_"), M5_BASE64_UNPADDED, out, 16, &size));
    assert_false(m5_base64_decode(m5_bytes_of("+/"), M5_BASE64_URL, out, 16, &size));
}

/* ---- files ---- */

static struct m5_users *users_of(const char *text, struct m5_text_error *error)
{
    return m5_users_new(&m5_libc_allocator, m5_bytes_of(text), m5_users_password_check, error);
}

static void files_of_users_are_read(void **state)
{
    (void)state;
    struct m5_text_error error = {0};
    struct m5_users *users = users_of(
        "# users\n\nalice:" ARGON2ID "\r\nbob smith:" PBKDF2 " \n#c:x\ncarol:" SHA512, &error);
    if (users == NULL)
        fail_msg("%u:%u: %s", error.line, error.column, error.text);
    assert_int_equal(m5_users_count(users), 3);
    const struct m5_user *bob = m5_users_find(users, m5_bytes_of("bob smith"), 0);
    assert_non_null(bob);
    assert_int_equal(bob->line, 4);
    assert_true(m5_text_equals(bob->stored, PBKDF2));
    assert_null(m5_users_find(users, m5_bytes_of("bob"), 0));
    assert_null(m5_users_find(users, m5_bytes_of(""), 0));
    assert_null(m5_users_find(users, m5_bytes(NULL, 0), 0));
    const struct m5_user *decoy = m5_users_decoy(users, m5_bytes_of("mallory"));
    assert_ptr_equal(decoy, m5_users_decoy(users, m5_bytes_of("mallory")));
    m5_users_free(users);
    users = users_of("", &error);
    assert_non_null(users);
    assert_null(m5_users_decoy(users, m5_bytes_of("mallory")));
    m5_users_free(users);
}

/* Row 46, CVE-2018-12551: a malformed password file lets nobody in. */
static void case_46_a_malformed_file_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t line, column;
        const char *says;
    } cases[] = {
        {"alice", 1, 1, "no colon"},
        {"# x\n:" ARGON2ID, 2, 1, "the name has 0 bytes"},
        {"alice:", 1, 7, "no argon2id"},
        {"alice:secret", 1, 7, "make one with mqttv5 passwd"},
        {"alice:" ARGON2ID "\nalice:" PBKDF2, 2, 1, "stands in line 1 already"},
        {"alice:$argon2id$v=19$m=9999999,t=2,p=1" SALT_KEY, 1, 7, "parameters"},
        {"al\x01ice:" ARGON2ID, 1, 3, "control character"},
        {"al\xFFice:" ARGON2ID, 1, 1, "not UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_text_error error = {0};
        assert_null(users_of(cases[i].text, &error));
        if (strstr(error.text, cases[i].says) == NULL || error.line != cases[i].line ||
            error.column != cases[i].column)
            fail_msg("%s: %u:%u %s", cases[i].text, error.line, error.column, error.text);
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct test_allocator allocator;
    test_allocator_init(&allocator);
    uint64_t nth = 0;
    do {
        struct m5_text_error error = {0};
        test_allocator_fail_nth(&allocator, ++nth);
        struct m5_users *users = m5_users_new(&allocator.table, m5_bytes_of("alice:" ARGON2ID),
                                              m5_users_password_check, &error);
        if (test_allocator_failed(&allocator)) {
            assert_null(users);
            assert_string_equal(error.text, "out of memory");
        }
        m5_users_free(users);
        test_allocator_check(&allocator);
    } while (test_allocator_failed(&allocator));
    assert_true(nth > 4);
}

/* ---- files that mosquitto_passwd made ---- */

static bool run_mosquitto_passwd(const char *kind, const char *path, const char *user,
                                 const char *password)
{
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(20);
        execl("/usr/bin/mosquitto_passwd", "mosquitto_passwd", "-H", kind, "-b", path, user,
              password, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void files_of_mosquitto_passwd_are_read(void **state)
{
    (void)state;
    if (access("/usr/bin/mosquitto_passwd", X_OK) != 0)
        skip();
    static const char *const kinds[] = {"sha512", "sha512-pbkdf2"};
    static const char *const starts[] = {"$6$", "$7$"};
    char path[] = "/tmp/mqtt5-passwd-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < 2; i++)
        assert_true(run_mosquitto_passwd(kinds[i], path, kinds[i], "pass phrase"));
    struct m5_text_error error;
    struct m5_users *users = m5_users_load(path, m5_users_password_check, &error);
    unlink(path);
    assert_non_null(users);
    assert_int_equal(m5_users_count(users), 2);
    for (size_t i = 0; i < 2; i++) {
        const struct m5_user *user = m5_users_find(users, m5_bytes_of(kinds[i]), 0);
        char stored[256] = "";
        assert_non_null(user);
        memcpy(stored, user->stored.data, user->stored.len);
        assert_memory_equal(stored, starts[i], 3);
        assert_int_equal(verify(stored, "pass phrase"), M5_PASSWORD_RIGHT);
        assert_int_equal(verify(stored, "pass phrasE"), M5_PASSWORD_WRONG);
    }
    m5_users_free(users);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_compared),
        cmocka_unit_test(case_27_no_password_is_no_crash),
        cmocka_unit_test(new_hashes_are_salted_and_verify),
        cmocka_unit_test(parameters_are_capped),
        cmocka_unit_test(base64_has_one_way_to_write_each_value),
        cmocka_unit_test(files_of_users_are_read),
        cmocka_unit_test(case_46_a_malformed_file_is_refused),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(files_of_mosquitto_passwd_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
