/* What --check-config says about configurations that work, but should not be so.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/auth/text.h"
#include "host/config/config.h"
#include "support/certificate.h"

#include "support/unit.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct test_folder folder;
static struct test_certificate fresh, soon, over;

static void write_key(const char *name, const struct test_certificate *certificate, mode_t mode)
{
    char file[64];
    snprintf(file, sizeof file, "%s.pem", name);
    test_folder_write(&folder, file, test_bytes_of(&certificate->pem));
    snprintf(file, sizeof file, "%s.key", name);
    assert_int_equal(
        chmod(test_folder_write(&folder, file, test_bytes_of(&certificate->key_pem)), mode), 0);
}

static void write_text(const char *name, const char *text, mode_t mode)
{
    assert_int_equal(chmod(test_folder_write(&folder, name, m5_bytes_of(text)), mode), 0);
}

#define PASSWORD "ann:$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$uZ4bXkvXMXL4b2cDmvNPGQ\n"

static int set_up(void **state)
{
    (void)state;
    test_folder_make(&folder);
    struct test_certificate_spec spec = {.common_name = m5_bytes_of("localhost"),
                                         .begins_s = -(int64_t)60 * TEST_DAY_S,
                                         .ends_s = (int64_t)90 * TEST_DAY_S};
    test_certificate_make(&fresh, &spec);
    spec.ends_s = (int64_t)5 * TEST_DAY_S + TEST_DAY_S / 2;
    test_certificate_make(&soon, &spec);
    spec.ends_s = -TEST_DAY_S;
    test_certificate_make(&over, &spec);
    write_key("fresh", &fresh, 0600);
    write_key("loose", &fresh, 0644);
    write_key("soon", &soon, 0600);
    write_key("over", &over, 0600);
    write_text("pw", PASSWORD, 0600);
    write_text("pw-read", PASSWORD, 0604);
    write_text("pw-none", "# nobody\n", 0600);
    write_text("pw-bad", "ann\n", 0600);
    write_text("acl", "user ann topic a permission readwrite\n", 0644);
    write_text("acl-written", "user ann topic a permission readwrite\n", 0646);
    write_text("acl-all", "user anonymous topic # permission readwrite\n", 0600);
    write_text("acl-bad", "user\n", 0600);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_certificate_free(&fresh);
    test_certificate_free(&soon);
    test_certificate_free(&over);
    test_folder_free(&folder);
    return 0;
}

/* The codes in order, of warnings; those of errors with a '!'. */
static const struct {
    const char *text, *codes, *words;
} cases[] = {
    {"{}", "", ""},
    {"bind_addresses: ['127.0.0.1:1']", "", ""},
    {"{bind_addresses: ['0.0.0.0:1'], auth_config: {allow_anonymous: true}}", "open",
     "everybody who reaches 0.0.0.0:1 may read and write everything"},
    {"{bind_addresses: ['0.0.0.0:1'], auth_config: {allow_anonymous: true, acl_file: acl}}", "open",
     "is served without a name"},
    {"{bind_addresses: ['0.0.0.0:1'], auth_config: {password_file: pw}}", "plain-passwords",
     "passwords and tokens reach 0.0.0.0:1 in the clear"},
    {"{bind_addresses: ['0.0.0.0:1'], auth_config: {password_file: pw},\n"
     " proxy_config: {protocol: v2, trusted: [10.0.0.0/8]}}",
     "", ""},
    {"{tls_config: {bind_addresses: '*:1', cert_file: fresh.pem, key_file: fresh.key},\n"
     " auth_config: {password_file: pw}}",
     "", ""},
    {"{tls_config: {bind_addresses: '*:1', cert_file: fresh.pem, key_file: loose.key},\n"
     " auth_config: {password_file: pw}}",
     "readable-secret", "loose.key holds secrets"},
    {"{tls_config: {bind_addresses: '*:1', cert_file: soon.pem, key_file: soon.key},\n"
     " auth_config: {password_file: pw}}",
     "certificate", "a certificate expires in 5 days"},
    {"{tls_config: {bind_addresses: '*:1', cert_file: over.pem, key_file: over.key},\n"
     " auth_config: {password_file: pw}}",
     "certificate", "a certificate has expired"},
    {"{tls_config: {bind_addresses: '*:1', cert_file: fresh.pem, key_file: fresh.key,\n"
     "   priorities: 'NORMAL:+VERS-TLS1.1'}, auth_config: {password_file: pw}}",
     "weak-tls", "these priorities allow versions older than TLS 1.2"},
    {"{tls_config: {bind_addresses: '*:1', cert_file: fresh.pem, key_file: fresh.key,\n"
     "   priorities: 'SECURE256:-VERS-ALL:+VERS-TLS1.2:+3DES-CBC'},\n"
     " auth_config: {password_file: pw}}",
     "weak-tls", "these priorities allow ciphers that are broken"},
    {"{tls_config: {bind_addresses: '*:1', cert_file: fresh.pem, key_file: fresh.key,\n"
     "   keylog_file: keys}, auth_config: {password_file: pw}}",
     "keylog", "the secrets of connections are written to"},
    {"{tls_config: {bind_addresses: '*:1', cert_file: fresh.pem, key_file: over.key},\n"
     " auth_config: {password_file: pw}}",
     "!tls", ""},
    {"{tls_config: {bind_addresses: '*:1', cert_file: gone.pem, key_file: fresh.key},\n"
     " auth_config: {password_file: pw}}",
     "!no-file !tls", "gone.pem cannot be read: "},
    {"auth_config: {password_file: pw-read}", "readable-secret", "pw-read holds secrets"},
    {"auth_config: {password_file: pw-none}", "no-users", "there is nobody in"},
    {"auth_config: {password_file: pw-bad}", "!bad-file", "pw-bad:1"},
    {"auth_config: {password_file: pw-gone}", "!no-file", "pw-gone cannot be read: "},
    {"auth_config: {password_file: pw, acl_file: acl-bad}", "!bad-file", "acl-bad:1"},
    {"auth_config: {password_file: pw, acl_file: acl-written}", "writable-file",
     "every user of this machine may change"},
    {"auth_config: {acl_file: acl-all}", "acl-open acl-open",
     "lets clients without a name read everything (#)"},
    {"auth_config: {password_file: pw, acl_file: acl-all}", "", ""},
    {"auth_config: {password_file: pw, plain_without_tls: true}", "plain-passwords",
     "passwords may cross the network in the clear"},
    {"websocket_config: {bind_addresses: '127.0.0.1:1'}", "any-origin",
     "pages of any web site that a browser shows may connect"},
    {"websocket_config: {bind_addresses: '127.0.0.1:1', origins: 'https://a'}", "", ""},
    {"{unix_config: {path: s, mode: 0666}, auth_config: {allow_anonymous: true}}", "open",
     "every user of this machine may use the socket"},
    {"{unix_config: {path: s, mode: 0660}, auth_config: {allow_anonymous: true}}", "", ""},
    {"{tls_config: {cert_file: fresh.pem, key_file: fresh.key}}", "default-listener",
     "has no bind_addresses (--tls-host), so TLS is served on this machine only"},
};

/* "a !b": the codes of all problems. */
static void list_codes(const struct m5_problems *problems, char *out, size_t size)
{
    size_t used = 0;
    *out = 0;
    for (uint32_t i = 0; i < problems->count && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s%s", i > 0 ? " " : "",
                                 problems->items[i].level == M5_PROBLEM_ERROR ? "!" : "",
                                 problems->items[i].code);
}

static bool has_words(const struct m5_problems *problems, const char *words)
{
    bool found = *words == 0;
    for (uint32_t i = 0; i < problems->count; i++)
        found = found || strstr(problems->items[i].text, words) != NULL;
    return found;
}

static void each_weakness_is_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct m5_problems problems;
        char codes[256];
        m5_problems_init(&problems);
        struct m5_config *config = m5_config_new(&m5_libc_allocator);
        assert_true(
            m5_config_read_text(config, "f", folder.path, m5_bytes_of(cases[i].text), &problems) &&
            m5_config_finish(config, &problems));
        m5_config_lint(config, &problems);
        list_codes(&problems, codes, sizeof codes);
        if (strcmp(codes, cases[i].codes) != 0 || !has_words(&problems, cases[i].words))
            fail_msg("%s: \"%s\", wanted \"%s\": %s; the first is: %s", cases[i].text, codes,
                     cases[i].codes, cases[i].words,
                     problems.count > 0 ? problems.items[0].text : "");
        m5_config_free(config);
        m5_problems_fini(&problems);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_weakness_is_said)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
