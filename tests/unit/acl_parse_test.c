/* Access control files: both formats read, every mistake told with its place.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/acl/acl.h"
#include "support/test_allocator.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char ours[] = "# who may do what\n"
                           "user alice topic home/# permission readwrite\n"
                           "\tuser  bob\ttopic home/+/light permission write\r\n"
                           "\n"
                           "user * topic # permission deny\n"
                           "role guest topic # permission read\n"
                           "assign bob guest";

static bool parse(struct m5_acl_source *out, const char *text, enum m5_acl_format format,
                  struct m5_text_error *error)
{
    return m5_acl_parse(&m5_libc_allocator, m5_bytes_of(text), format, out, error);
}

static void expect_rule(const struct m5_acl_rule *rule, enum m5_acl_kind kind, const char *subject,
                        const char *pattern, uint8_t rights, uint32_t line)
{
    assert_int_equal(rule->kind, kind);
    assert_true(m5_text_equals(rule->subject, subject));
    assert_true(m5_text_equals(rule->pattern, pattern));
    assert_int_equal(rule->rights, rights);
    assert_int_equal(rule->line, line);
}

static void our_format_is_read(void **state)
{
    (void)state;
    struct m5_acl_source source;
    struct m5_text_error error;
    assert_true(parse(&source, ours, M5_ACL_DETECT, &error));
    assert_int_equal(source.format, M5_ACL_OURS);
    assert_int_equal(source.rule_count, 4);
    expect_rule(&source.rules[0], M5_ACL_USER, "alice", "home/#", M5_ACL_BOTH, 2);
    expect_rule(&source.rules[1], M5_ACL_USER, "bob", "home/+/light", M5_ACL_WRITE, 3);
    expect_rule(&source.rules[2], M5_ACL_EVERYBODY, "", "#", 0, 5);
    expect_rule(&source.rules[3], M5_ACL_ROLE, "guest", "#", M5_ACL_READ, 6);
    assert_int_equal(source.assignment_count, 1);
    assert_true(m5_text_equals(source.assignments[0].user, "bob"));
    assert_true(m5_text_equals(source.assignments[0].role, "guest"));
    assert_int_equal(source.rules[0].weight, 50 - 10 + 6);
    m5_acl_source_fini(&source);
}

static void mosquitto_format_is_read(void **state)
{
    (void)state;
    struct m5_acl_source source;
    struct m5_text_error error;
    static const char text[] = "topic read public/#\n"
                               "user joe smith\n"
                               "topic a/b\n"
                               "topic write two words/x  \n"
                               "topic deny secret/#\n"
                               "pattern readwrite dev/%u/%c\n";
    assert_true(parse(&source, text, M5_ACL_DETECT, &error));
    assert_int_equal(source.format, M5_ACL_MOSQUITTO);
    assert_int_equal(source.rule_count, 5);
    expect_rule(&source.rules[0], M5_ACL_ANONYMOUS, "", "public/#", M5_ACL_READ, 1);
    expect_rule(&source.rules[1], M5_ACL_USER, "joe smith", "a/b", M5_ACL_BOTH, 3);
    expect_rule(&source.rules[2], M5_ACL_USER, "joe smith", "two words/x", M5_ACL_WRITE, 4);
    expect_rule(&source.rules[3], M5_ACL_USER, "joe smith", "secret/#", 0, 5);
    expect_rule(&source.rules[4], M5_ACL_PATTERN, "", "dev/%u/%c", M5_ACL_BOTH, 6);
    m5_acl_source_fini(&source);
}

static void the_format_is_told_by_the_first_rule(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum m5_acl_format format;
    } cases[] = {
        {"", M5_ACL_OURS},
        {"# nothing\n\n", M5_ACL_OURS},
        {"user alice\ntopic a\n", M5_ACL_MOSQUITTO},
        {"user joe smith\ntopic a\n", M5_ACL_MOSQUITTO},
        {"# first\npattern read %u\n", M5_ACL_MOSQUITTO},
        {"user alice topic a permission read\n", M5_ACL_OURS},
        {"role r topic a permission read\n", M5_ACL_OURS},
        {"assign alice r\n", M5_ACL_OURS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_acl_source source;
        struct m5_text_error error;
        assert_true(parse(&source, cases[i].text, M5_ACL_DETECT, &error));
        assert_int_equal(source.format, cases[i].format);
        m5_acl_source_fini(&source);
    }
}

static void every_permission_word_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        uint8_t rights;
    } words[] = {{"read", 1}, {"subscribe", 1}, {"write", 2}, {"publish", 2}, {"readwrite", 3},
                 {"rw", 3},   {"all", 3},       {"deny", 0},  {"none", 0}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        uint8_t rights = 99;
        assert_true(m5_acl_rights_of(m5_bytes_of(words[i].word), &rights));
        assert_int_equal(rights, words[i].rights);
    }
    uint8_t rights;
    assert_false(m5_acl_rights_of(m5_bytes_of("Read"), &rights));
    assert_false(m5_acl_rights_of(m5_bytes_of(""), &rights));
}

static const struct {
    const char *text;
    uint32_t line, column;
    const char *says;
} mistakes[] = {
    {"usr alice topic a permission read", 1, 1, "write user, role or assign"},
    {"# ok\n user alice topic a permission", 2, 2, "it should be: user NAME"},
    {"user alice topic a permission read now", 1, 36, "the line has 7 words"},
    {"user alice topics a permission read", 1, 12, "\"topics\" stands where \"topic\" should"},
    {"user alice topic a permit read", 1, 20, "\"permit\" stands where \"permission\""},
    {"user alice topic a permission reed", 1, 31, "\"reed\" is no permission"},
    {"user alice topic a/#/b permission read", 1, 18, "no topic pattern"},
    {"user alice topic a+ permission read", 1, 18, "'+' stands alone"},
    {"user alice topic $share/g/a permission read", 1, 18, "leave out $share"},
    {"assign alice", 1, 1, "assign USER ROLE"},
    {"role x\n", 1, 1, "role NAME topic"},
    {"assign * admin", 1, 8, "user *"},
    {"user alice\ntopic\n", 2, 1, "the topic is missing"},
    {"user alice\nuser\n", 2, 1, "the user's name is missing"},
    {"topic reed a b\n", 1, 7, "\"reed\" is no permission"},
    {"topic read a/#/b\n", 1, 12, "no topic pattern"},
    {"topic a\nassign x y\n", 2, 1, "write user, topic or pattern"},
    {"user alice topic a\x01 permission read", 1, 19, "byte 0x01"},
    {"user al\xC3\x28 topic a permission read", 1, 1, "not UTF-8"},
};

/* CVE-2018-12550 and others of row 46: what cannot be understood does not open anything. */
static void case_46_a_mistake_refuses_the_file_and_says_where(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct m5_acl_source source;
        struct m5_text_error error = {0};
        assert_false(parse(&source, mistakes[i].text, M5_ACL_DETECT, &error));
        if (strstr(error.text, mistakes[i].says) == NULL || error.line != mistakes[i].line ||
            error.column != mistakes[i].column)
            fail_msg("%s: %u:%u %s", mistakes[i].text, error.line, error.column, error.text);
        m5_acl_source_fini(&source);
    }
    struct m5_text_error error = {.line = 3, .column = 7, .text = "wrong"};
    char line[64];
    m5_text_error_format(&error, "acl.txt", line, sizeof line);
    assert_string_equal(line, "acl.txt:3:7: wrong");
}

static void limits_are_kept(void **state)
{
    (void)state;
    struct m5_acl_source source;
    struct m5_text_error error;
    char *text = malloc(M5_TEXT_LINE_MAX + 64);
    assert_non_null(text);
    static const char head[] = "user a topic ", tail[] = " permission read";
    const size_t fits = M5_TEXT_LINE_MAX - (sizeof head - 1) - (sizeof tail - 1);
    for (size_t more = 0; more < 2; more++) {
        memcpy(text, head, sizeof head - 1);
        memset(text + sizeof head - 1, 'x', fits + more);
        memcpy(text + sizeof head - 1 + fits + more, tail, sizeof tail);
        assert_int_equal(parse(&source, text, M5_ACL_DETECT, &error), more == 0);
        m5_acl_source_fini(&source);
    }
    assert_non_null(strstr(error.text, "8193 bytes"));
    for (unsigned levels = M5_ACL_LEVELS_MAX; levels <= M5_ACL_LEVELS_MAX + 1; levels++) {
        memcpy(text, head, sizeof head - 1);
        for (unsigned i = 0; i < levels; i++)
            memcpy(text + sizeof head - 1 + 2 * i, "x/", 2);
        memcpy(text + sizeof head - 2 + 2 * levels, tail, sizeof tail);
        assert_int_equal(parse(&source, text, M5_ACL_DETECT, &error), levels == M5_ACL_LEVELS_MAX);
        m5_acl_source_fini(&source);
    }
    assert_non_null(strstr(error.text, "128 levels"));
    free(text);
}

/* @p count lines made by @p format out of numbers; free() it. */
static char *repeated(const char *first, const char *format, unsigned count)
{
    const size_t size = strlen(first) + count * 64ul + 1;
    char *text = malloc(size);
    assert_non_null(text);
    size_t used = (size_t)snprintf(text, size, "%s", first);
    for (unsigned i = 0; i < count; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        used += (size_t)snprintf(text + used, size - used, format, i, i);
#pragma GCC diagnostic pop
    }
    return text;
}

static void expect_count_limit(const char *first, const char *format, unsigned max,
                               const char *says)
{
    for (unsigned more = 0; more < 2; more++) {
        struct m5_text_error error = {0};
        char *text = repeated(first, format, max + more);
        struct m5_acl *acl = m5_acl_new(&m5_libc_allocator, m5_bytes_of(text), M5_ACL_OURS, &error);
        if ((acl != NULL) != (more == 0) || (more == 1 && strstr(error.text, says) == NULL))
            fail_msg("%u lines like %s: %s", max + more, format, error.text);
        m5_acl_free(acl);
        free(text);
    }
}

static void counts_are_limited(void **state)
{
    (void)state;
    expect_count_limit("", "user u%u topic t/%u permission read\n", M5_ACL_RULES_MAX,
                       "more than 100000 rules");
    expect_count_limit("role r topic t permission read\n", "assign u%u r\n", M5_ACL_ASSIGNMENTS_MAX,
                       "more than 100000 assignments");
    expect_count_limit("", "user u topic %%u%u permission read\n", M5_ACL_TEMPLATES_MAX,
                       "more than 256 different levels");
    expect_count_limit("", "role r%u topic t permission read\nassign u r%u\n",
                       M5_ACL_USER_ROLES_MAX, "more than 64 roles");
}

static void files_are_read_with_care(void **state)
{
    (void)state;
    struct m5_text_error error;
    char path[] = "/tmp/mqtt5-acl-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, ours, sizeof ours - 1), (ssize_t)sizeof ours - 1);
    struct m5_acl *acl = m5_acl_load(path, M5_ACL_DETECT, &error);
    assert_non_null(acl);
    assert_int_equal(m5_acl_source_of(acl)->rule_count, 4);
    m5_acl_free(acl);
    assert_int_equal(ftruncate(fd, (off_t)M5_TEXT_FILE_MAX + 1), 0);
    assert_null(m5_acl_load(path, M5_ACL_DETECT, &error));
    assert_non_null(strstr(error.text, "larger than 16 MiB"));
    close(fd);
    unlink(path);
    assert_null(m5_acl_load(path, M5_ACL_DETECT, &error));
    assert_non_null(strstr(error.text, "cannot be opened"));
    assert_null(m5_acl_load("/tmp", M5_ACL_DETECT, &error));
    assert_null(m5_acl_load("/dev/zero", M5_ACL_DETECT, &error));
    assert_non_null(strstr(error.text, "no regular file"));
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
        struct m5_acl *acl = m5_acl_new(&allocator.table, m5_bytes_of(ours), M5_ACL_DETECT, &error);
        if (test_allocator_failed(&allocator)) {
            assert_null(acl);
            assert_string_equal(error.text, "out of memory");
        }
        m5_acl_free(acl);
        test_allocator_check(&allocator);
    } while (test_allocator_failed(&allocator));
    assert_true(nth > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_format_is_read),
        cmocka_unit_test(mosquitto_format_is_read),
        cmocka_unit_test(the_format_is_told_by_the_first_rule),
        cmocka_unit_test(every_permission_word_is_known),
        cmocka_unit_test(case_46_a_mistake_refuses_the_file_and_says_where),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(counts_are_limited),
        cmocka_unit_test(files_are_read_with_care),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
