/* Whom a certificate stands for, and whose are refused: names with every trick, dates, lists of
 * revoked ones, and the sentences that tell.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/tls_rig.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

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

static struct mqtt5_tls_credential credential_of(const struct test_certificate *certificate)
{
    return (struct mqtt5_tls_credential){.certificate = test_bytes_of(&certificate->pem),
                                         .key = test_bytes_of(&certificate->key_pem)};
}

/* A server that demands certificates, and takes the user name from them. */
static struct mqtt5_tls_server_options asking(enum mqtt5_tls_identity identity)
{
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    server.ca_file = pki.root_file;
    server.client_certificate = MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED;
    server.identity = identity;
    return server;
}

/* Runs a handshake with the client's @p certificate: the user name, or the server's sentence. */
static bool identify(const struct mqtt5_tls_server_options *server,
                     const struct test_certificate *certificate, struct m5_tls_peer *peer,
                     char *sentence)
{
    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    struct tls_rig rig;
    client.credential = credential_of(certificate);
    tls_rig_make(&rig, &client, server, HOST);
    tls_rig_run(&rig, TLS_ALL);
    const bool is_open = tls_rig_is_open(&rig);
    assert_true(m5_tls_peer(rig.server.transport, peer) == is_open);
    snprintf(sentence, 400, "%s", tls_side_failure(&rig.server));
    if (!is_open) /* the client is told, and not why */
        assert_true(tls_side_failure(&rig.client)[0] != 0);
    tls_rig_fini(&rig);
    return is_open;
}

/* ---- names ---- */

#define NAME(text)                                \
    {                                             \
        (const uint8_t *)(text), sizeof(text) - 1 \
    }

/* SECURITY-CASES 17 and 38: what is signed is the name, or there is none. */
static void case_17_and_38_common_names(void **state)
{
    (void)state;
    static char longest[M5_TLS_NAME_SIZE], too_long[M5_TLS_NAME_SIZE + 1];
    memset(longest, 'l', sizeof longest - 1);
    memset(too_long, 'l', sizeof too_long - 1);
    const struct {
        struct mqtt5_bytes name, second;
        const char *identity; /* NULL: refused */
    } cases[] = {
        {NAME("alice"), {0}, "alice"},
        {NAME("Zo\xC3\xAB"), {0}, "Zo\xC3\xAB"},
        {NAME("alice,O=admins"), {0}, "alice,O=admins"}, /* not escaped, not split */
        {NAME("alice/CN=root"), {0}, "alice/CN=root"},
        {NAME("CN=admin"), {0}, "CN=admin"},
        {NAME("a\"b\\c+d#e"), {0}, "a\"b\\c+d#e"},
        {NAME(" alice"), {0}, " alice"},
        {m5_bytes(longest, sizeof longest - 1), {0}, longest},
        {m5_bytes(too_long, sizeof too_long - 1), {0}, NULL},
        {NAME(""), {0}, NULL},
        {NAME("alice\0.evil"), {0}, NULL},
        {NAME("\0"), {0}, NULL},
        {NAME("alice\n"), {0}, NULL},
        {NAME("alice\r\nadmin"), {0}, NULL},
        {NAME("\x1B[2Jalice"), {0}, NULL},
        {NAME("alice\x7F"), {0}, NULL},
        {NAME("alice\xC2\x85"), {0}, NULL},   /* U+0085, a control character */
        {NAME("alice\xFF"), {0}, NULL},       /* no UTF-8 */
        {NAME("\xC0\x80"), {0}, NULL},        /* NUL, too long */
        {NAME("\xED\xA0\x80"), {0}, NULL},    /* a surrogate */
        {NAME("al\xC3"), {0}, NULL},          /* cut off */
        {NAME("alice"), NAME("admin"), NULL}, /* which? */
        {NAME("alice"), NAME("alice"), NULL},
    };
    const struct mqtt5_tls_server_options server = asking(MQTT5_TLS_IDENTITY_CN);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_certificate certificate;
        struct m5_tls_peer peer;
        char sentence[400];
        test_certificate_make(&certificate,
                              &(struct test_certificate_spec){.common_name = cases[i].name,
                                                              .second_common_name = cases[i].second,
                                                              .issuer = &pki.root});
        const bool is_open = identify(&server, &certificate, &peer, sentence);
        assert_true(is_open == (cases[i].identity != NULL));
        if (is_open) {
            assert_string_equal(peer.identity, cases[i].identity);
            assert_string_equal(peer.common_name, cases[i].identity);
        } else {
            assert_string_equal(sentence, "the certificate of the client names no user: it has not "
                                          "exactly one common name that is plain UTF-8");
        }
        test_certificate_free(&certificate);
    }
}

static void case_17_and_38_alternative_names(void **state)
{
    (void)state;
    const struct {
        struct test_name names[TEST_NAMES_MAX];
        const char *identity; /* NULL: refused */
        size_t count;
    } cases[] = {
        {{{GNUTLS_SAN_DNSNAME, "sensor-7.example", 0}}, "sensor-7.example", 1},
        {{{GNUTLS_SAN_RFC822NAME, "bob@example.org", 0}}, "bob@example.org", 1},
        {{{GNUTLS_SAN_URI, "urn:device:7", 0}}, "urn:device:7", 1},
        {{{GNUTLS_SAN_IPADDRESS, "\x7F\0\0\x01", 4}, {GNUTLS_SAN_DNSNAME, "a.example", 0}},
         "a.example",
         1},
        {{{GNUTLS_SAN_DNSNAME, "first.example", 0}, {GNUTLS_SAN_URI, "urn:second", 0}},
         "first.example",
         2},
        {{{GNUTLS_SAN_DNSNAME, "*.example", 0}}, "*.example", 1},
        {{{GNUTLS_SAN_IPADDRESS, "\x7F\0\0\x01", 4}}, NULL, 0},
        {{{0}}, NULL, 0},
        {{{GNUTLS_SAN_DNSNAME, "admin\0.evil.example", 19}}, NULL, 0},
        {{{GNUTLS_SAN_DNSNAME, "admin\nx", 0}}, NULL, 0},
        {{{GNUTLS_SAN_URI, "urn:\xFF", 0}}, NULL, 0},
        {{{GNUTLS_SAN_URI, "urn:\xC2\x9B", 0}, {GNUTLS_SAN_DNSNAME, "a.example", 0}}, NULL, 0},
    };
    const struct mqtt5_tls_server_options server = asking(MQTT5_TLS_IDENTITY_SAN);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_certificate certificate;
        struct m5_tls_peer peer;
        char sentence[400];
        struct test_certificate_spec spec = {.common_name = m5_bytes_of("admin"),
                                             .issuer = &pki.root};
        memcpy(spec.names, cases[i].names, sizeof spec.names);
        test_certificate_make(&certificate, &spec);
        const bool is_open = identify(&server, &certificate, &peer, sentence);
        assert_true(is_open == (cases[i].identity != NULL));
        if (is_open) {
            assert_string_equal(peer.identity, cases[i].identity);
            assert_int_equal(peer.name_count, cases[i].count);
            assert_string_equal(peer.names[0], cases[i].identity);
            assert_string_equal(peer.common_name, "admin");
        } else {
            assert_non_null(strstr(sentence, "names no user: its first DNS name, e-mail address"));
        }
        test_certificate_free(&certificate);
    }
}

static void case_38_fingerprints(void **state)
{
    (void)state;
    struct mqtt5_tls_server_options server = asking(MQTT5_TLS_IDENTITY_FINGERPRINT);
    struct m5_tls_peer peer;
    uint8_t digest[32];
    char text[400], sentence[400];
    size_t size = sizeof digest;
    assert_int_equal(
        gnutls_x509_crt_get_fingerprint(pki.client.certificate, GNUTLS_DIG_SHA256, digest, &size),
        0);
    for (size_t style = 0; style < 3; style++) {
        size_t used = (size_t)snprintf(text, sizeof text, "# who is who\n%064d:nobody\r\n\n", 0);
        for (size_t i = 0; i < sizeof digest; i++)
            used +=
                (size_t)snprintf(text + used, sizeof text - used, style == 1 ? "%s%02X" : "%s%02x",
                                 style == 1 && i > 0 ? ":" : "", digest[i] ^ (style == 2));
        snprintf(text + used, sizeof text - used, ":Alice: the first");
        server.identity_file = test_folder_write(&pki.folder, "users", m5_bytes_of(text));
        const bool is_open = identify(&server, &pki.client, &peer, sentence);
        assert_true(is_open == (style != 2));
        if (is_open)
            assert_string_equal(peer.identity, "Alice: the first");
        else
            assert_string_equal(sentence, "the certificate of the client names no user: no user "
                                          "has its fingerprint");
    }
}

static void without_a_rule_a_certificate_is_no_user(void **state)
{
    (void)state;
    const struct mqtt5_tls_server_options server = asking(MQTT5_TLS_IDENTITY_NONE);
    struct m5_tls_peer peer;
    char sentence[400];
    assert_true(identify(&server, &pki.client, &peer, sentence));
    assert_string_equal(peer.identity, "");
    assert_true(peer.certified);
    assert_string_equal(peer.common_name, "alice");
    assert_string_equal(peer.names[0], "alice@example");
    assert_int_equal(peer.name_count, 1);
}

/* ---- who is refused ---- */

static const char *date_in(int64_t days, char out[16])
{
    struct tm parts;
    const time_t when = time(NULL) + (time_t)(days * TEST_DAY_S);
    gmtime_r(&when, &parts);
    strftime(out, 16, "%Y-%m-%d", &parts);
    return out;
}

/* What both say of a server with this certificate, to a client that wants HOST. */
static void expect_server(const struct test_certificate_spec *spec, const char *client_says,
                          const char *server_says)
{
    struct test_certificate certificate;
    struct tls_rig rig;
    test_certificate_make(&certificate, spec);
    const struct mqtt5_tls_credential credential = credential_of(&certificate);
    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    server.credentials = &credential;
    for (size_t i = 0; i < 2; i++) {
        client.insecure = i == 1;
        tls_rig_make(&rig, &client, &server, HOST);
        tls_rig_run(&rig, TLS_ALL);
        assert_string_equal(tls_side_failure(&rig.client), client.insecure ? "" : client_says);
        assert_string_equal(tls_side_failure(&rig.server), client.insecure ? "" : server_says);
        struct m5_tls_peer peer;
        if (m5_tls_peer(rig.client.transport, &peer)) /* nobody has looked */
            assert_true(peer.certified == !client.insecure);
        tls_rig_fini(&rig);
    }
    test_certificate_free(&certificate);
}

static void servers_that_are_not_who_they_should_be(void **state)
{
    (void)state;
    char date[16], text[200];
    const struct test_certificate_spec good = {.common_name = m5_bytes_of(HOST),
                                               .names = {{GNUTLS_SAN_DNSNAME, HOST, 0}},
                                               .issuer = &pki.root};
    struct test_certificate_spec spec = good;
    expect_server(&spec, "", "");

    spec.begins_s = -3 * TEST_DAY_S;
    spec.ends_s = -2 * TEST_DAY_S;
    snprintf(text, sizeof text, "the certificate of the server has expired on %s",
             date_in(-2, date));
    expect_server(&spec, text, "the client says that our certificate has expired");

    spec.begins_s = 2 * TEST_DAY_S;
    spec.ends_s = 3 * TEST_DAY_S;
    snprintf(text, sizeof text,
             "the certificate of the server is not valid before %s; is our clock right?",
             date_in(2, date));
    expect_server(&spec, text, "the client refused our certificate (alert bad_certificate)");

    spec = good;
    spec.names[0].text = "other.example";
    expect_server(&spec,
                  "the certificate of the server is for other.example, not for broker.example",
                  "the client refused our certificate (alert bad_certificate)");
    spec.names[1] = (struct test_name){GNUTLS_SAN_DNSNAME, "third.example", 0};
    expect_server(&spec,
                  "the certificate of the server is for other.example (and others), not for "
                  "broker.example",
                  "the client refused our certificate (alert bad_certificate)");
    spec.names[0] = (struct test_name){GNUTLS_SAN_DNSNAME, HOST "\0.evil", sizeof HOST + 5};
    spec.names[1].type = 0;
    expect_server(&spec,
                  "the certificate of the server is for no name that is readable, not for "
                  "broker.example",
                  "the client refused our certificate (alert bad_certificate)");

    spec = good;
    spec.issuer = NULL;
    expect_server(&spec, "the certificate of the server is its own issuer, and not one we trust",
                  "the client does not trust who has issued our certificate; give it our CA");
    spec = good;
    spec.issuer = &pki.intermediate; /* and it does not come along */
    expect_server(&spec,
                  "the certificate of the server is issued by somebody we do not trust (Test "
                  "Intermediate)",
                  "the client does not trust who has issued our certificate; give it our CA");
    spec = good;
    spec.purpose = TEST_FOR_CLIENTS;
    expect_server(&spec,
                  "the certificate of the server is not meant for this use (its extended key usage "
                  "says for what)",
                  "the client refused the kind of our certificate");
    spec = good;
    spec.key = TEST_KEY_WEAK_RSA;
    expect_server(
        &spec, "the certificate of the server has a key or a signature that is not secure any more",
        "the client refused the kind of our certificate");
}

/* What a hostile issuer calls himself does not reach a terminal. */
static void sentences_cannot_be_forged(void **state)
{
    (void)state;
    struct test_certificate issuer;
    test_certificate_make(
        &issuer, &(struct test_certificate_spec){.common_name = m5_bytes_of("\x1B[2J\nall is well"),
                                                 .is_authority = true});
    const struct test_certificate_spec spec = {.common_name = m5_bytes_of(HOST),
                                               .names = {{GNUTLS_SAN_DNSNAME, HOST, 0}},
                                               .issuer = &issuer};
    expect_server(&spec,
                  "the certificate of the server is issued by somebody we do not trust (without a "
                  "readable name)",
                  "the client does not trust who has issued our certificate; give it our CA");
    test_certificate_free(&issuer);
}

static void expect_host(const char *host, const char *server_name, bool is_right)
{
    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct tls_rig rig;
    client.server_name = server_name;
    tls_rig_make(&rig, &client, &server, host);
    tls_rig_run(&rig, TLS_ALL);
    assert_true(tls_rig_is_open(&rig) == is_right);
    if (!is_right)
        assert_non_null(strstr(tls_side_failure(&rig.client), "not for "));
    tls_rig_fini(&rig);
}

static void hosts_by_name_and_by_address(void **state)
{
    (void)state;
    expect_host(HOST, NULL, true);
    expect_host("BROKER.example", NULL, true);
    expect_host("broker.example.", NULL, true);
    expect_host("127.0.0.1", NULL, true);
    expect_host("127.0.0.2", NULL, false);
    expect_host("::1", NULL, false);
    expect_host("broker.example.org", NULL, false);
    expect_host("a.wild.example", NULL, true);
    expect_host("a.b.wild.example", NULL, false);
    expect_host("wild.example", NULL, false);
    expect_host("10.0.0.1", HOST, true); /* found by address, known by name */
    expect_host(HOST, "other.example", false);
}

/* Servers and clients that are on a list of their issuer's. */
static void revoked_certificates(void **state)
{
    (void)state;
    struct test_certificate stolen;
    struct m5_tls_peer peer;
    char sentence[400];
    test_certificate_make(&stolen,
                          &(struct test_certificate_spec){.common_name = m5_bytes_of(HOST),
                                                          .names = {{GNUTLS_SAN_DNSNAME, HOST, 0}},
                                                          .issuer = &pki.root});
    gnutls_datum_t list = test_certificate_crl(&pki.root, &stolen, TEST_DAY_S);
    gnutls_datum_t stale = test_certificate_crl(&pki.root, &stolen, -TEST_DAY_S);
    struct mqtt5_tls_server_options server = asking(MQTT5_TLS_IDENTITY_CN);
    server.crl_file = test_folder_write(&pki.folder, "crl", test_bytes_of(&list));
    assert_true(identify(&server, &pki.client, &peer, sentence));
    assert_false(identify(&server, &stolen, &peer, sentence));
    assert_string_equal(sentence, "the certificate of the client has been revoked");
    struct m5_tls_error error;
    server.crl_file = test_folder_write(&pki.folder, "stale", test_bytes_of(&stale));
    assert_null(m5_tls_server_config_new(&server, M5_TLS_MQTT, &error));
    assert_non_null(strstr(error.text, "/stale: this list of revoked certificates is out of date"));

    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    const struct mqtt5_tls_credential credential = credential_of(&stolen);
    struct mqtt5_tls_server_options plain = tls_pki_server(&pki);
    struct tls_rig rig;
    plain.credentials = &credential;
    client.crl_file = test_folder_write(&pki.folder, "crl", test_bytes_of(&list));
    tls_rig_make(&rig, &client, &plain, HOST);
    tls_rig_run(&rig, TLS_ALL);
    assert_string_equal(tls_side_failure(&rig.client),
                        "the certificate of the server has been revoked");
    assert_string_equal(tls_side_failure(&rig.server),
                        "the client says that our certificate is revoked");
    tls_rig_fini(&rig);
    gnutls_free(list.data);
    gnutls_free(stale.data);
    test_certificate_free(&stolen);
}

static void clients_that_are_refused(void **state)
{
    (void)state;
    char date[16], text[200], sentence[400];
    struct m5_tls_peer peer;
    struct test_certificate expired, server_only;
    const struct mqtt5_tls_server_options server = asking(MQTT5_TLS_IDENTITY_CN);
    test_certificate_make(&expired,
                          &(struct test_certificate_spec){.common_name = m5_bytes_of("alice"),
                                                          .issuer = &pki.root,
                                                          .begins_s = -30 * TEST_DAY_S,
                                                          .ends_s = -20 * TEST_DAY_S});
    test_certificate_make(&server_only,
                          &(struct test_certificate_spec){.common_name = m5_bytes_of("alice"),
                                                          .issuer = &pki.root,
                                                          .purpose = TEST_FOR_SERVERS});
    assert_false(identify(&server, &expired, &peer, sentence));
    snprintf(text, sizeof text, "the certificate of the client has expired on %s",
             date_in(-20, date));
    assert_string_equal(sentence, text);
    assert_false(identify(&server, &server_only, &peer, sentence));
    assert_non_null(strstr(sentence, "is not meant for this use"));
    test_certificate_free(&expired);
    test_certificate_free(&server_only);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_17_and_38_common_names),
        cmocka_unit_test(case_17_and_38_alternative_names),
        cmocka_unit_test(case_38_fingerprints),
        cmocka_unit_test(without_a_rule_a_certificate_is_no_user),
        cmocka_unit_test(servers_that_are_not_who_they_should_be),
        cmocka_unit_test(sentences_cannot_be_forged),
        cmocka_unit_test(hosts_by_name_and_by_address),
        cmocka_unit_test(revoked_certificates),
        cmocka_unit_test(clients_that_are_refused),
    };
    return cmocka_run_group_tests(tests, make_pki, free_pki);
}
