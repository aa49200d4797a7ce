/* Configs of TLS: what can be read, and what is said of what cannot.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/tls_rig.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOST "broker.example"

static struct tls_pki pki;

static int make_pki(void **state)
{
    (void)state;
    tls_pki_make(&pki);
    return 0;
}

static int free_pki(void **state)
{
    (void)state;
    tls_pki_free(&pki);
    return 0;
}

static const char *write_text(const char *name, const char *text)
{
    return test_folder_write(&pki.folder, name, m5_bytes_of(text));
}

static const char *write_datum(const char *name, const gnutls_datum_t *datum)
{
    return test_folder_write(&pki.folder, name, test_bytes_of(datum));
}

/* The handshake succeeds. */
static void expect_good(const struct mqtt5_tls_client_options *client,
                        const struct mqtt5_tls_server_options *server)
{
    struct tls_rig rig;
    tls_rig_make(&rig, client, server, HOST);
    tls_rig_run(&rig, TLS_ALL);
    assert_string_equal(tls_side_failure(&rig.client), "");
    assert_true(tls_rig_is_open(&rig));
    tls_rig_fini(&rig);
}

/* No config: the sentence begins with "@p file: " (if there is one) and has @p words in it. */
static void expect_bad(const struct mqtt5_tls_server_options *server, const char *file,
                       const char *words)
{
    struct m5_tls_error error;
    char begin[300];
    assert_null(m5_tls_server_config_new(server, M5_TLS_MQTT, &error));
    snprintf(begin, sizeof begin, "%s%s", file != NULL ? file : "", file != NULL ? ":" : "");
    assert_memory_equal(error.text, begin, strlen(begin));
    if (strstr(error.text, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, error.text);
}

static void files_and_memory_in_both_formats(void **state)
{
    (void)state;
    struct test_certificate keys[3];
    const struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    for (int i = 0; i < 3; i++) {
        struct test_certificate *made = &keys[i];
        test_certificate_make(
            made, &(struct test_certificate_spec){.common_name = m5_bytes_of(HOST),
                                                  .names = {{GNUTLS_SAN_DNSNAME, HOST, 0}},
                                                  .issuer = &pki.root,
                                                  .key = (enum test_key)i});
        gnutls_datum_t both = {.size = made->pem.size + made->key_pem.size};
        both.data = gnutls_malloc(both.size);
        memcpy(both.data, made->key_pem.data, made->key_pem.size);
        memcpy(both.data + made->key_pem.size, made->pem.data, made->pem.size);
        const struct mqtt5_tls_credential ways[] = {
            {.certificate_file = write_datum("a", &made->pem),
             .key_file = write_datum("b", &made->key_pem)},
            {.certificate_file = write_datum("c", &made->der),
             .key_file = write_datum("d", &made->key_der)},
            {.certificate = test_bytes_of(&made->der), .key = test_bytes_of(&made->key_der)},
            {.certificate = test_bytes_of(&made->pem), .key = test_bytes_of(&made->key_der)},
            {.certificate_file = write_datum("e", &both)},
            {.certificate = test_bytes_of(&both)},
        };
        for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
            server.credentials = &ways[way];
            expect_good(&client, &server);
        }
        gnutls_free(both.data);
        test_certificate_free(made);
    }
}

static void encrypted_keys(void **state)
{
    (void)state;
    const struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    static const gnutls_x509_crt_fmt_t formats[] = {GNUTLS_X509_FMT_PEM, GNUTLS_X509_FMT_DER};
    for (size_t i = 0; i < 2; i++) {
        gnutls_datum_t locked = test_certificate_locked_key(&pki.server, "open sesame", formats[i]);
        const char *file = write_datum("locked", &locked);
        struct mqtt5_tls_credential credential = {.certificate = test_bytes_of(&pki.server_chain),
                                                  .key_file = file,
                                                  .key_password = "open sesame"};
        server.credentials = &credential;
        if (i == 0) /* each try takes its time, on purpose */
            expect_good(&client, &server);
        else
            m5_tls_config_unref(tls_server_config(&server));
        credential.key_password = "open barley";
        expect_bad(&server, file, "the private key cannot be decrypted; is the password right?");
        credential.key_password = NULL;
        expect_bad(&server, file, "the private key is encrypted; give its password");
        credential.key_file = NULL;
        credential.key = test_bytes_of(&locked);
        expect_bad(&server, "the private key", "is encrypted");
        gnutls_free(locked.data);
    }
}

static void who_may_vouch(void **state)
{
    (void)state;
    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    client.ca_file = write_datum("ca.der", &pki.root.der);
    expect_good(&client, &server);
    client.ca_file = NULL;
    client.ca = test_bytes_of(&pki.root.pem);
    expect_good(&client, &server);
    client.ca = test_bytes_of(&pki.root.der);
    expect_good(&client, &server);

    char folder[128], path[160];
    snprintf(folder, sizeof folder, "%s/cas", pki.folder.path);
    assert_int_equal(mkdir(folder, 0700), 0);
    client.ca_file = folder;
    struct m5_tls_error error;
    assert_null(m5_tls_client_config_new(&client, &error));
    assert_non_null(strstr(error.text, "/cas: there is no certificate in any of its files"));
    snprintf(path, sizeof path, "%s/root.pem", folder);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(pki.root.pem.data, 1, pki.root.pem.size, file), pki.root.pem.size);
    fclose(file);
    expect_good(&client, &server);
    remove(path);
    rmdir(folder);

    client.ca_file = write_text("nothing", "nothing of the kind\n");
    assert_null(m5_tls_client_config_new(&client, &error));
    assert_non_null(strstr(error.text, "/nothing: no certificate can be read from it"));
    client.ca_file = "/nonexistent/ca";
    assert_null(m5_tls_client_config_new(&client, &error));
    assert_string_equal(error.text, "/nonexistent/ca: cannot be opened: No such file or directory");
}

static void credentials_that_do_not_fit(void **state)
{
    (void)state;
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct mqtt5_tls_credential credential = pki.server_credential;
    server.credentials = &credential;
    const char *other = write_datum("other", &pki.client.key_pem);
    credential.key_file = other;
    expect_bad(&server, other, "this private key is not that of the certificate in memory");
    const char *text = write_text("text", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
    credential.key_file = text;
    expect_bad(&server, text, "no private key can be read from it");
    credential.key_file = write_text("empty", "");
    expect_bad(&server, credential.key_file, "the file is empty");
    credential.key_file = pki.folder.path;
    expect_bad(&server, pki.folder.path, "this is not a file; name the file itself");
    credential.certificate_file = text;
    expect_bad(&server, text, "no certificate can be read from it");
    credential = (struct mqtt5_tls_credential){.key = test_bytes_of(&pki.server.key_pem)};
    expect_bad(&server, NULL, "a private key or OCSP response without its certificate");
    credential = (struct mqtt5_tls_credential){.certificate = test_bytes_of(&pki.server_chain)};
    expect_bad(&server, "the private key", "no private key can be read from it");
    credential = pki.server_credential;
    credential.ocsp_file = write_text("ocsp", "no response");
    expect_bad(&server, NULL, "the OCSP response cannot be used");
}

static void options_that_contradict_each_other(void **state)
{
    (void)state;
    struct mqtt5_tls_server_options server;
    mqtt5_tls_server_options_init(&server);
    assert_true(server.session_tickets);
    expect_bad(&server, NULL, "needs a certificate with its private key");
    server = tls_pki_server(&pki);
    server.client_certificate = MQTT5_TLS_CLIENT_CERTIFICATE_OPTIONAL;
    expect_bad(&server, NULL, "nobody may vouch for them; name a CA file");
    server = tls_pki_server(&pki);
    server.identity = MQTT5_TLS_IDENTITY_CN;
    expect_bad(&server, NULL, "no client certificate is asked for");
    server.client_certificate = MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED;
    server.ca_file = pki.root_file;
    server.identity = MQTT5_TLS_IDENTITY_FINGERPRINT;
    expect_bad(&server, NULL, "name the file with lines FINGERPRINT:USERNAME");
    server = tls_pki_server(&pki);
    server.crl_file = "/some/crl";
    expect_bad(&server, "/some/crl", "of no use while none are asked for");
    server = tls_pki_server(&pki);
    server.priorities = "NORMAL:+NO-SUCH-THING:-VERS-ALL";
    expect_bad(&server, NULL, "the priorities are wrong from here on: \"+NO-SUCH-THING");
    server.priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.0";
    expect_bad(&server, NULL, "the priorities leave nothing to agree upon");
    server = tls_pki_server(&pki);
    server.keylog_file = "/nonexistent/keys";
    expect_bad(&server, "/nonexistent/keys", "cannot be opened for the key log");

    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    struct m5_tls_error error;
    client.psk_identity = "bob";
    assert_null(m5_tls_client_config_new(&client, &error));
    assert_string_equal(error.text, "a pre-shared key and its identity go together");
    client.psk_key = "0011";
    assert_null(m5_tls_client_config_new(&client, &error));
    assert_string_equal(error.text, "the pre-shared key is not 32 to 128 hex digits");
    client.psk_identity = "bob\n";
    assert_null(m5_tls_client_config_new(&client, &error));
    assert_non_null(strstr(error.text, "control characters"));
}

/* The files of lines, each with its mistake and the number of its line. */
static void lines_that_are_wrong(void **state)
{
    (void)state;
#define KEY "00112233445566778899aabbccddeeff"
    static const char good[] = KEY KEY ":carol\n", psk[] = "carol:" KEY "\n";
    static const struct {
        const char *after; /* a good first line */
        const char *line;
        const char *words;
    } cases[] = {
        {good, "alice", "a line is FINGERPRINT:USERNAME"},
        {good, KEY ":alice", "a line is FINGERPRINT:USERNAME"},
        {good, KEY KEY "00:alice", "a line is FINGERPRINT:USERNAME"},
        {good, KEY KEY, "a line is FINGERPRINT:USERNAME"},
        {good, KEY KEY ":", "the user name is empty"},
        {good, KEY KEY ":a\tb", "control characters"},
        {good, KEY KEY ":\xFF", "not UTF-8"},
        {psk, "anna", "a line is IDENTITY:KEY"},
        {psk, ":" KEY, "the identity is empty"},
        {psk, "a\x01:" KEY, "control characters"},
        {psk, "anna:0011", "the key is not 32 to 128 hex digits"},
        {psk, "anna:" KEY "0", "the key is not 32 to 128 hex digits"},
        {psk, "anna:" KEY "0g", "the key is not 32 to 128 hex digits"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400], place[200];
        struct mqtt5_tls_server_options server = tls_pki_server(&pki);
        snprintf(text, sizeof text, "# first\n%s%s\n", cases[i].after, cases[i].line);
        const char *file = write_text("lines", text);
        snprintf(place, sizeof place, "%s:3", file);
        if (cases[i].after == psk)
            server.psk_file = file;
        else
            server.identity_file = file;
        expect_bad(&server, place, cases[i].words);
    }
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    server.identity_file = write_text("twice", KEY KEY ":carol\n" KEY KEY ":dave\n");
    expect_bad(&server, server.identity_file, "have the same fingerprint");
    server = tls_pki_server(&pki);
    server.psk_file = write_text("twice", "carol:" KEY "\ncarol:" KEY "\n");
    expect_bad(&server, server.psk_file, "identity carol is there twice");
}

static void sentences_are_printable(void **state)
{
    (void)state;
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct m5_tls_error error;
    server.psk_file = "/nonexistent/\x1B[2J\n\xC2\x85\xFF";
    assert_null(m5_tls_server_config_new(&server, M5_TLS_MQTT, &error));
    assert_string_equal(error.text,
                        "/nonexistent/?[2J????: cannot be opened: No such file or directory");
    server.psk_file = "/nonexistent/Zo\xC3\xAB\xC2\x85";
    assert_null(m5_tls_server_config_new(&server, M5_TLS_MQTT, &error));
    assert_string_equal(error.text, "/nonexistent/Zo\xC3\xAB??: cannot be opened: No such file or "
                                    "directory");
}

/* What the system trusts vouches for no certificate of ours. */
static void the_system_is_trusted_by_default(void **state)
{
    (void)state;
    struct mqtt5_tls_client_options client;
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct m5_tls_error error;
    struct tls_rig rig;
    mqtt5_tls_client_options_init(&client);
    struct m5_tls_config *config = m5_tls_client_config_new(&client, &error);
    if (config == NULL) {
        assert_non_null(strstr(error.text, "ca-certificates"));
        return;
    }
    m5_tls_config_unref(config);
    tls_rig_make(&rig, &client, &server, HOST);
    tls_rig_run(&rig, TLS_ALL);
    assert_non_null(strstr(tls_side_failure(&rig.client), "issued by somebody we do not trust"));
    tls_rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_and_memory_in_both_formats),
        cmocka_unit_test(encrypted_keys),
        cmocka_unit_test(who_may_vouch),
        cmocka_unit_test(credentials_that_do_not_fit),
        cmocka_unit_test(options_that_contradict_each_other),
        cmocka_unit_test(lines_that_are_wrong),
        cmocka_unit_test(sentences_are_printable),
        cmocka_unit_test(the_system_is_trusted_by_default),
    };
    return cmocka_run_group_tests(tests, make_pki, free_pki);
}
