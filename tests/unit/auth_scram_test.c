/* SCRAM on both sides: the example of RFC 7677, and every way to do it wrong; PLAIN.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/base64.h"
#include "base/bytes.h"
#include "host/auth/scram.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

static const uint8_t secret[M5_SCRAM_SECRET_SIZE] = {1, 2, 3};

/* RFC 7677, section 3: user "user", password "pencil". */
#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define FIRST        "n,,n=user,r=" CLIENT_NONCE
#define CHALLENGE    "r=" CLIENT_NONCE SERVER_NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define WITHOUT      "c=biws,r=" CLIENT_NONCE SERVER_NONCE
#define FINAL        WITHOUT ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SUCCESS      "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
/* The keys of it, and those of SHA-512 with the same salt, by another program. */
#define KEYS_256                     \
    "W22ZaJ0SNY7soEsUEjb6gQ==:4096:" \
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define KEYS_512                                                                                \
    "W22ZaJ0SNY7soEsUEjb6gQ==:4096:"                                                            \
    "6AAub3065EYRmyFpM2RNwqK+eGnrkYuEWbXn19LsEmBqzu8QaCXNc1FwpnX9NhH2hK/60dzj9DoO5DvVkOHbvg==:" \
    "jZHbYjC1aHh0/hKbxyBuGFjDrgjgKTT1esA7awWiKcRZ0o/0b1yWEebBeSVkkCFewf91nLDfKF24mvD5nmE6rA=="

static struct m5_users *users;

static struct m5_users *users_of(const char *text, struct m5_text_error *error)
{
    return m5_users_new(&m5_libc_allocator, m5_bytes_of(text), m5_users_scram_check, error);
}

static int set_up(void **state)
{
    struct m5_text_error error;
    (void)state;
    users = users_of("user:" KEYS_256 "\nuser:" KEYS_512 "\nonly512:" KEYS_512 "\n", &error);
    return users == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    m5_users_free(users);
    return 0;
}

static struct mqtt5_bytes text_of(const struct m5_scram_message *message)
{
    return m5_bytes(message->text, message->size);
}

static void expect_text(const struct m5_scram_message *message, const char *text)
{
    if (!m5_text_equals(text_of(message), text))
        fail_msg("%.*s instead of %s", (int)message->size, message->text, text);
}

static enum m5_scram_answer first(struct m5_scram_server *server, const char *text,
                                  struct m5_scram_message *out)
{
    m5_scram_server_init(server, M5_SCRAM_SHA256);
    return m5_scram_server_first(server, m5_bytes_of(text), users, secret, SERVER_NONCE, out);
}

static void the_server_does_as_the_rfc(void **state)
{
    (void)state;
    struct m5_scram_server server;
    struct m5_scram_message out;
    assert_int_equal(first(&server, FIRST, &out), M5_SCRAM_CONTINUE);
    expect_text(&out, CHALLENGE);
    assert_int_equal(m5_scram_server_final(&server, m5_bytes_of(FINAL), &out), M5_SCRAM_DONE);
    expect_text(&out, SUCCESS);
    assert_true(m5_text_equals(m5_scram_server_user(&server), "user"));
    assert_int_equal(m5_scram_server_final(&server, m5_bytes_of(FINAL), &out), M5_SCRAM_REFUSED);
}

static enum m5_scram_answer client_first(struct m5_scram_client *client, const char *user,
                                         const char *password, struct m5_scram_message *out)
{
    return m5_scram_client_first(client, M5_SCRAM_SHA256, m5_bytes_of(user), m5_bytes_of(password),
                                 CLIENT_NONCE, out);
}

static void the_client_does_as_the_rfc(void **state)
{
    (void)state;
    struct m5_scram_client client;
    struct m5_scram_message out;
    assert_int_equal(client_first(&client, "user", "pencil", &out), M5_SCRAM_CONTINUE);
    expect_text(&out, FIRST);
    assert_int_equal(m5_scram_client_next(&client, m5_bytes_of(CHALLENGE), &out),
                     M5_SCRAM_CONTINUE);
    expect_text(&out, FINAL);
    assert_int_equal(m5_scram_client_finish(&client, m5_bytes_of(SUCCESS)), M5_SCRAM_DONE);
}

/* A whole exchange; the answer of the side that ended it. */
static enum m5_scram_answer exchange(enum m5_scram_hash hash, const char *user,
                                     const char *password, struct m5_scram_message *challenge)
{
    struct m5_scram_server server;
    struct m5_scram_client client;
    struct m5_scram_message mine, theirs;
    char nonce[M5_SCRAM_NONCE_SIZE];
    m5_scram_server_init(&server, hash);
    assert_true(m5_scram_nonce(nonce));
    assert_int_equal(m5_scram_client_first(&client, hash, m5_bytes_of(user), m5_bytes_of(password),
                                           nonce, &mine),
                     M5_SCRAM_CONTINUE);
    assert_true(m5_scram_nonce(nonce));
    assert_int_equal(m5_scram_server_first(&server, text_of(&mine), users, secret, nonce, &theirs),
                     M5_SCRAM_CONTINUE);
    *challenge = theirs;
    assert_int_equal(m5_scram_client_next(&client, text_of(&theirs), &mine), M5_SCRAM_CONTINUE);
    if (m5_scram_server_final(&server, text_of(&mine), &theirs) != M5_SCRAM_DONE)
        return M5_SCRAM_REFUSED;
    return m5_scram_client_finish(&client, text_of(&theirs));
}

static void both_hashes_work(void **state)
{
    (void)state;
    struct m5_scram_message challenge;
    assert_int_equal(exchange(M5_SCRAM_SHA256, "user", "pencil", &challenge), M5_SCRAM_DONE);
    assert_int_equal(exchange(M5_SCRAM_SHA512, "user", "pencil", &challenge), M5_SCRAM_DONE);
    assert_int_equal(exchange(M5_SCRAM_SHA512, "only512", "pencil", &challenge), M5_SCRAM_DONE);
    assert_int_equal(exchange(M5_SCRAM_SHA256, "user", "pencils", &challenge), M5_SCRAM_REFUSED);
    assert_int_equal(exchange(M5_SCRAM_SHA512, "user", "", &challenge), M5_SCRAM_REFUSED);
    assert_int_equal(exchange(M5_SCRAM_SHA256, "only512", "pencil", &challenge), M5_SCRAM_REFUSED);
}

static void made_keys_are_good(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        const enum m5_scram_hash hash = i == 0 ? M5_SCRAM_SHA256 : M5_SCRAM_SHA512;
        char line[M5_SCRAM_TEXT_SIZE + 8] = "new=,:", *keys = line + 6;
        struct m5_text_error error;
        struct m5_scram_message challenge;
        assert_true(m5_scram_make(m5_bytes_of("p"), hash, M5_SCRAM_ITERATIONS_MIN, keys));
        m5_users_free(users);
        users = users_of(line, &error);
        assert_non_null(users);
        assert_int_equal(exchange(hash, "new=,", "p", &challenge), M5_SCRAM_DONE);
        assert_int_equal(exchange(hash, "new=,", "q", &challenge), M5_SCRAM_REFUSED);
    }
}

/* The challenge of a user who does not exist looks like any other and stays the same. */
static void unknown_users_get_a_challenge(void **state)
{
    (void)state;
    struct m5_scram_message one, again, other;
    struct m5_scram_server server;
    assert_int_equal(first(&server, "n,,n=mallory,r=" CLIENT_NONCE, &one), M5_SCRAM_CONTINUE);
    assert_int_equal(first(&server, "n,,n=mallory,r=" CLIENT_NONCE, &again), M5_SCRAM_CONTINUE);
    assert_int_equal(first(&server, "n,,n=malory,r=" CLIENT_NONCE, &other), M5_SCRAM_CONTINUE);
    assert_int_equal(one.size, strlen(CHALLENGE));
    assert_memory_equal(one.text, again.text, one.size);
    assert_memory_not_equal(one.text, other.text, one.size);
    assert_memory_equal(one.text + one.size - 7, ",i=4096", 7);
    assert_int_equal(exchange(M5_SCRAM_SHA256, "mallory", "pencil", &one), M5_SCRAM_REFUSED);
}

static void wrong_first_messages_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=user,r=abc",
        "p=tls-unique,,n=user,r=abc",
        "p=tls-exporter,,n=user,r=abc",
        "n,a=other,n=user,r=abc",
        "n,a=,n=user,r=abc",
        "n,b=user,n=user,r=abc",
        "n,,m=x,n=user,r=abc",
        "n,,n=,r=abc",
        "n,,r=abc,n=user",
        "n,,n=us=er,r=abc",
        "n,,n=us=2cer,r=abc",
        "n,,n=user=2,r=abc",
        "n,,n=user,r=",
        "n,,n=user",
        "n,,n=user,r=a b",
        "n,,n=us\xFF\xFE,r=abc",
        "n,a=user",
    };
    struct m5_scram_server server;
    struct m5_scram_message out;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (first(&server, wrong[i], &out) != M5_SCRAM_REFUSED || server.why == NULL ||
            out.size != 0)
            fail_msg("taken: %s", wrong[i]);
        assert_int_equal(m5_scram_server_final(&server, m5_bytes_of(FINAL), &out),
                         M5_SCRAM_REFUSED);
    }
    char large[M5_SCRAM_MESSAGE_MAX + 2];
    memset(large, 'x', sizeof large);
    memcpy(large, FIRST, strlen(FIRST));
    m5_scram_server_init(&server, M5_SCRAM_SHA256);
    assert_int_equal(m5_scram_server_first(&server, m5_bytes(large, M5_SCRAM_MESSAGE_MAX + 1),
                                           users, secret, SERVER_NONCE, &out),
                     M5_SCRAM_REFUSED);
    m5_scram_server_init(&server, M5_SCRAM_SHA256);
    assert_int_equal(m5_scram_server_first(&server, m5_bytes(large, M5_SCRAM_MESSAGE_MAX), users,
                                           secret, SERVER_NONCE, &out),
                     M5_SCRAM_REFUSED); /* no room for our nonce */
}

static void a_client_that_could_bind_channels_is_served(void **state)
{
    (void)state;
    struct m5_scram_server server;
    struct m5_scram_message out;
    assert_int_equal(first(&server, "y,,n=user,r=abc", &out), M5_SCRAM_CONTINUE);
    /* But not when it says something else in the end: someone changed the first message. */
    assert_int_equal(
        m5_scram_server_final(&server, m5_bytes_of("c=biws,r=abc" SERVER_NONCE ",p=AAAA"), &out),
        M5_SCRAM_REFUSED);
    assert_non_null(strstr(server.why, "channel binding"));
    assert_int_equal(first(&server, "n,a=user,n=user,r=abc", &out), M5_SCRAM_CONTINUE);
}

/* Each byte of the second message counts. */
static void a_changed_second_message_is_refused(void **state)
{
    (void)state;
    struct m5_scram_server server;
    struct m5_scram_message out;
    for (size_t i = 0; i < strlen(FINAL); i++) {
        char text[] = FINAL;
        text[i] = text[i] == 'A' ? 'B' : 'A';
        assert_int_equal(first(&server, FIRST, &out), M5_SCRAM_CONTINUE);
        if (m5_scram_server_final(&server, m5_bytes_of(text), &out) != M5_SCRAM_REFUSED)
            fail_msg("taken: %s", text);
        assert_int_equal(out.size, 0);
    }
    for (size_t size = 0; size < strlen(FINAL); size++) {
        assert_int_equal(first(&server, FIRST, &out), M5_SCRAM_CONTINUE);
        assert_int_equal(m5_scram_server_final(&server, m5_bytes(FINAL, size), &out),
                         M5_SCRAM_REFUSED);
    }
    m5_scram_server_init(&server, M5_SCRAM_SHA256);
    assert_int_equal(m5_scram_server_final(&server, m5_bytes_of(FINAL), &out), M5_SCRAM_REFUSED);
}

static void the_client_trusts_no_server(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "e=other-error",
        "m=x,r=" CLIENT_NONCE "abc,s=c2FsdHNhbHQ=,i=4096",
        "r=" CLIENT_NONCE ",s=c2FsdHNhbHQ=,i=4096",
        "r=another" CLIENT_NONCE ",s=c2FsdHNhbHQ=,i=4096",
        "r=" CLIENT_NONCE "abc,s=,i=4096",
        "r=" CLIENT_NONCE "abc,s=!,i=4096",
        "r=" CLIENT_NONCE "abc,s=c2FsdHNhbHQ=,i=4095",
        "r=" CLIENT_NONCE "abc,s=c2FsdHNhbHQ=,i=2000001",
        "r=" CLIENT_NONCE "abc,s=c2FsdHNhbHQ=,i=99999999999",
        "r=" CLIENT_NONCE "abc,s=c2FsdHNhbHQ=,i=-1",
        "r=" CLIENT_NONCE "abc,s=c2FsdHNhbHQ=",
    };
    struct m5_scram_client client;
    struct m5_scram_message out;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(client_first(&client, "user", "pencil", &out), M5_SCRAM_CONTINUE);
        if (m5_scram_client_next(&client, m5_bytes_of(wrong[i]), &out) != M5_SCRAM_REFUSED)
            fail_msg("taken: %s", wrong[i]);
    }
    for (size_t i = 0; i < strlen(SUCCESS); i++) {
        char text[] = SUCCESS;
        text[i] = text[i] == 'A' ? 'B' : 'A';
        client_first(&client, "user", "pencil", &out);
        assert_int_equal(m5_scram_client_next(&client, m5_bytes_of(CHALLENGE), &out),
                         M5_SCRAM_CONTINUE);
        assert_int_equal(m5_scram_client_finish(&client, m5_bytes_of(text)), M5_SCRAM_REFUSED);
    }
    assert_int_equal(client_first(&client, "", "pencil", &out), M5_SCRAM_REFUSED);
    assert_int_equal(m5_scram_client_finish(&client, m5_bytes_of(SUCCESS)), M5_SCRAM_REFUSED);
}

static void files_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"user:c2FsdA==:4096:AAAA:AAAA", "salt"},
        {"user:W22ZaJ0SNY7soEsUEjb6gQ==:4095:AAAA:AAAA", "iterations"},
        {"user:W22ZaJ0SNY7soEsUEjb6gQ==:2000001:AAAA:AAAA", "iterations"},
        {"user:W22ZaJ0SNY7soEsUEjb6gQ==:4096:AAAA:AAAA", "keys"},
        {"user:" KEYS_256 ":", "keys"},
        {"user:" KEYS_256 "\nuser:" KEYS_256, "already"},
        {"user", "colon"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_text_error error = {0};
        struct m5_users *made = users_of(cases[i].text, &error);
        if (i != 4) /* an empty fifth field is none */
            assert_null(made);
        m5_users_free(made);
        if (made == NULL && strstr(error.text, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].text, error.text);
    }
}

static void methods_have_names(void **state)
{
    (void)state;
    enum m5_scram_hash hash;
    assert_true(m5_scram_hash_of(m5_bytes_of("SCRAM-SHA-256"), &hash));
    assert_int_equal(hash, M5_SCRAM_SHA256);
    assert_true(m5_scram_hash_of(m5_bytes_of("SCRAM-SHA-512"), &hash));
    assert_int_equal(hash, M5_SCRAM_SHA512);
    assert_false(m5_scram_hash_of(m5_bytes_of("SCRAM-SHA-1"), &hash));
    assert_false(m5_scram_hash_of(m5_bytes_of("SCRAM-SHA-256-PLUS"), &hash));
    assert_false(m5_scram_hash_of(m5_bytes(NULL, 0), &hash));
}

static void plain_is_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        const char *user, *password; /* NULL: refused */
    } cases[] = {
        {"\0tim\0tanstaaftanstaaf", 21, "tim", "tanstaaftanstaaf"},
        {"tim\0tim\0x", 9, "tim", "x"},
        {"\0tim\0", 5, "tim", ""},
        {"other\0tim\0x", 11, NULL, NULL},
        {"\0\0x", 3, NULL, NULL},
        {"\0tim", 4, NULL, NULL},
        {"tim", 3, NULL, NULL},
        {"", 0, NULL, NULL},
        {"\0tim\0x\0y", 8, NULL, NULL},
        {"\0\xFF\0x", 4, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mqtt5_bytes user, password;
        const bool taken = m5_plain_parse(m5_bytes(cases[i].text, cases[i].size), &user, &password);
        assert_int_equal(taken, cases[i].user != NULL);
        assert_true(!taken || m5_text_equals(user, cases[i].user));
        assert_true(!taken || m5_text_equals(password, cases[i].password));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_server_does_as_the_rfc),
        TEST(the_client_does_as_the_rfc),
        TEST(both_hashes_work),
        TEST(made_keys_are_good),
        TEST(unknown_users_get_a_challenge),
        TEST(wrong_first_messages_are_refused),
        TEST(a_client_that_could_bind_channels_is_served),
        TEST(a_changed_second_message_is_refused),
        TEST(the_client_trusts_no_server),
        TEST(files_are_checked),
        cmocka_unit_test(methods_have_names),
        cmocka_unit_test(plain_is_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
