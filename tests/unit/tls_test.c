/* TLS as a transport: handshakes and messages in pieces of every size, what is agreed upon, and
 * what ends a connection.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "base/rng.h"
#include "support/seed.h"
#include "support/test_allocator.h"
#include "support/tls_rig.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define HOST        "broker.example"
#define RECORD_HEAD 5

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

static void send_text(struct tls_side *side, const uint8_t *data, size_t size)
{
    const struct mqtt5_bytes view = m5_bytes(data, size);
    assert_true(m5_transport_write(side->transport, &view, 1, &side->out));
}

/* Sends to and fro and sees it arrive. */
static void exchange(struct tls_rig *rig, size_t size, size_t piece)
{
    uint8_t *data = malloc(size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    struct tls_side *sides[] = {&rig->client, &rig->server};
    for (size_t i = 0; i < 2; i++) {
        struct tls_side *from = sides[i], *to = sides[1 - i];
        to->plain.size = 0;
        send_text(from, data, size);
        tls_rig_run(rig, piece);
        assert_int_equal(to->plain.size, size);
        assert_memory_equal(to->plain.data, data, size);
    }
    free(data);
}

static const char *const versions[] = {"TLS1.2", "TLS1.3"};

/* Only that version, as a client asks for it. */
static const char *only(const char *version)
{
    return strcmp(version, "TLS1.2") == 0 ? "NORMAL:-VERS-ALL:+VERS-TLS1.2"
                                          : "NORMAL:-VERS-ALL:+VERS-TLS1.3";
}

static void both_versions_in_pieces_of_every_size(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 2, 3, 5, 7, 100, 1000, 16389, TLS_ALL};
    static const size_t read_sizes[] = {1, 100, 65536};
    for (size_t i = 0; i < 2 * 9 * 3; i++) {
        const char *version = versions[i % 2];
        const size_t piece = pieces[i / 2 % 9];
        struct mqtt5_tls_client_options client = tls_pki_client(&pki);
        const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
        struct tls_rig rig;
        struct m5_tls_peer peer;
        client.priorities = only(version);
        tls_rig_make(&rig, &client, &server, HOST);
        rig.client.read_size = rig.server.read_size = read_sizes[i / 18];
        assert_false(m5_tls_peer(rig.server.transport, &peer));
        tls_rig_run(&rig, piece);
        assert_true(tls_rig_is_open(&rig));
        exchange(&rig, 1, piece);
        exchange(&rig, 64, piece);
        exchange(&rig, 16384, piece);
        exchange(&rig, piece >= 1000 ? 50000 : 16385, piece);
        assert_true(m5_tls_peer(rig.server.transport, &peer));
        assert_string_equal(peer.version, version);
        assert_string_equal(peer.alpn, "mqtt");
        assert_string_equal(peer.server_name, HOST);
        assert_false(peer.resumed);
        assert_false(peer.certified);
        assert_string_equal(peer.identity, "");
        assert_true(m5_tls_peer(rig.client.transport, &peer));
        assert_true(peer.certified);
        assert_string_equal(peer.common_name, HOST);
        assert_int_equal(strlen(peer.fingerprint), 64);
        tls_rig_fini(&rig);
    }
}

/* Nobody waits for anybody: what both write is under way at the same time, in random pieces. */
static void random_pieces_and_writes(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, test_seed(20251));
    for (unsigned round = 0; round < 20; round++) {
        const struct mqtt5_tls_client_options client = tls_pki_client(&pki);
        const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
        struct tls_rig rig;
        uint8_t data[1500];
        size_t sent[2] = {0, 0};
        memset(data, 'x', sizeof data);
        tls_rig_make(&rig, &client, &server, HOST);
        tls_rig_run(&rig, 1 + m5_rng_below(&rng, 400));
        assert_true(tls_rig_is_open(&rig));
        for (unsigned turn = 0; turn < 50; turn++) {
            struct tls_side *sides[] = {&rig.client, &rig.server};
            const size_t who = m5_rng_below(&rng, 2);
            const size_t size = 1 + m5_rng_below(&rng, sizeof data);
            send_text(sides[who], data, size);
            sent[who] += size;
            if (m5_rng_below(&rng, 3) == 0)
                tls_rig_run(&rig, 1 + m5_rng_below(&rng, 2000));
        }
        tls_rig_run(&rig, TLS_ALL);
        assert_int_equal(rig.server.plain.size, sent[0]);
        assert_int_equal(rig.client.plain.size, sent[1]);
        tls_rig_fini(&rig);
    }
}

/* ---- records ---- */

/* Counts the records in @p box, all of which carry application data. */
static size_t count_records(const struct m5_outbox *box)
{
    size_t count = 0;
    for (size_t at = 0; at < box->size; count++) {
        assert_true(box->size - at >= RECORD_HEAD);
        assert_int_equal(box->data[at], 23);
        at += RECORD_HEAD + m5_read_u16(box->data + at + 3);
        assert_true(at <= box->size);
    }
    return count;
}

static void open_rig(struct tls_rig *rig)
{
    const struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    tls_rig_make(rig, &client, &server, HOST);
    tls_rig_run(rig, TLS_ALL);
    assert_true(tls_rig_is_open(rig));
}

static void what_a_turn_wrote_is_few_records(void **state)
{
    (void)state;
    static uint8_t data[40000];
    struct mqtt5_bytes views[100];
    struct tls_rig rig;
    open_rig(&rig);
    for (size_t i = 0; i < 100; i++)
        views[i] = m5_bytes(data + 64 * i, 64);
    assert_true(m5_transport_write(rig.server.transport, views, 100, &rig.server.out));
    assert_int_equal(count_records(&rig.server.out), 1);
    tls_rig_run(&rig, TLS_ALL);
    assert_int_equal(rig.client.plain.size, 6400);

    views[0] = m5_bytes(data, 100);
    views[1] = m5_bytes(data, sizeof data);
    views[2] = m5_bytes(NULL, 0);
    views[3] = m5_bytes(data, 9000);
    assert_true(m5_transport_write(rig.server.transport, views, 4, &rig.server.out));
    assert_int_equal(count_records(&rig.server.out), (100 + 40000 + 9000 + 16383) / 16384);
    tls_rig_run(&rig, 999);
    assert_int_equal(rig.client.plain.size, 6400 + 49100);

    assert_true(m5_transport_write(rig.server.transport, views, 0, &rig.server.out));
    assert_int_equal(rig.server.out.size, 0);
    tls_rig_fini(&rig);
}

static void the_end_is_told(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 4; piece++) {
        struct tls_rig rig;
        open_rig(&rig);
        send_text(&rig.client, (const uint8_t *)"last words", 10);
        m5_transport_finish(rig.client.transport, &rig.client.out);
        tls_rig_run(&rig, piece == 3 ? TLS_ALL : piece);
        assert_int_equal(rig.server.plain.size, 10);
        assert_int_equal(rig.server.last, M5_TRANSPORT_CLOSED);
        assert_null(rig.server.transport->failure);
        tls_rig_fini(&rig);
    }
}

/* ---- what is agreed upon ---- */

/* Who presents what: no matter how a handshake ends, both sides see the same. */
static void expect_run(const struct mqtt5_tls_client_options *client,
                       const struct mqtt5_tls_server_options *server, const char *client_says,
                       const char *server_says)
{
    struct tls_rig rig;
    tls_rig_make(&rig, client, server, HOST);
    tls_rig_run(&rig, TLS_ALL);
    assert_string_equal(tls_side_failure(&rig.client), client_says);
    assert_string_equal(tls_side_failure(&rig.server), server_says);
    const bool is_well = client_says[0] == 0 && server_says[0] == 0;
    assert_true(is_well == tls_rig_is_open(&rig));
    tls_rig_fini(&rig);
}

static void client_certificates(void **state)
{
    (void)state;
    struct test_certificate stranger;
    test_certificate_make(&stranger,
                          &(struct test_certificate_spec){.common_name = m5_bytes_of("alice")});
    const struct mqtt5_tls_credential theirs = {.certificate = test_bytes_of(&stranger.pem),
                                                .key = test_bytes_of(&stranger.key_pem)};
    static const char no_trust[] =
        "the certificate of the client is its own issuer, and not one we trust";
    for (size_t i = 0; i < 2; i++) {
        struct mqtt5_tls_client_options client = tls_pki_client(&pki), alice = client,
                                        fake = client;
        struct mqtt5_tls_server_options server = tls_pki_server(&pki);
        client.priorities = alice.priorities = fake.priorities = only(versions[i]);
        alice.credential = pki.client_credential;
        fake.credential = theirs;
        server.ca_file = pki.root_file;

        expect_run(&fake, &server, "", ""); /* none is asked for */
        server.client_certificate = MQTT5_TLS_CLIENT_CERTIFICATE_OPTIONAL;
        expect_run(&client, &server, "", "");
        expect_run(&alice, &server, "", "");
        expect_run(&fake, &server, "the server does not trust who has issued our certificate",
                   no_trust);
        server.client_certificate = MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED;
        expect_run(&client, &server,
                   i == 0 ? "the server has nothing in common with us (ciphers), or demands a "
                            "client certificate"
                          : "the server demands a client certificate",
                   "the client has presented no certificate");
        expect_run(&alice, &server, "", "");
        expect_run(&fake, &server, "the server does not trust who has issued our certificate",
                   no_trust);
    }
    test_certificate_free(&stranger);
}

static void make_named(struct test_certificate *out, const char *name, enum test_key key)
{
    test_certificate_make(out,
                          &(struct test_certificate_spec){.common_name = m5_bytes_of(name),
                                                          .names = {{GNUTLS_SAN_DNSNAME, name, 0}},
                                                          .issuer = &pki.root,
                                                          .key = key});
}

static struct mqtt5_tls_credential credential_of(const struct test_certificate *certificate)
{
    return (struct mqtt5_tls_credential){.certificate = test_bytes_of(&certificate->pem),
                                         .key = test_bytes_of(&certificate->key_pem)};
}

/* Connects to @p host and sees the certificate of @p name. */
static void expect_certificate(const struct mqtt5_tls_server_options *server, const char *host,
                               const char *priorities, const struct test_certificate *wanted)
{
    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    struct tls_rig rig;
    struct m5_tls_peer peer;
    uint8_t digest[32];
    size_t size = sizeof digest;
    char first[9];
    client.priorities = priorities;
    tls_rig_make(&rig, &client, server, host);
    tls_rig_run(&rig, TLS_ALL);
    assert_string_equal(tls_side_failure(&rig.client), "");
    assert_true(tls_rig_is_open(&rig));
    assert_true(m5_tls_peer(rig.client.transport, &peer));
    assert_true(gnutls_x509_crt_get_fingerprint(wanted->certificate, GNUTLS_DIG_SHA256, digest,
                                                &size) == 0);
    snprintf(first, sizeof first, "%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
    assert_memory_equal(peer.fingerprint, first, 8);
    tls_rig_fini(&rig);
}

static void the_name_asked_for_picks_the_certificate(void **state)
{
    (void)state;
    struct test_certificate other, rsa, eddsa;
    static const char only_rsa[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-SIGN-ALL:+SIGN-RSA-PSS-RSAE-"
                                   "SHA256:+SIGN-RSA-SHA256:+SIGN-ECDSA-SHA512";
    make_named(&other, "other.example", TEST_KEY_EC);
    make_named(&rsa, "other.example", TEST_KEY_RSA);
    make_named(&eddsa, "third.example", TEST_KEY_ED25519);
    const struct mqtt5_tls_credential all[] = {pki.server_credential, credential_of(&other),
                                               credential_of(&rsa), credential_of(&eddsa)};
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    server.credentials = all;
    server.credential_count = 4;
    for (size_t i = 0; i < 2; i++) {
        expect_certificate(&server, HOST, only(versions[i]), &pki.server);
        expect_certificate(&server, "a.wild.example", only(versions[i]), &pki.server);
        expect_certificate(&server, "127.0.0.1", only(versions[i]), &pki.server);
        expect_certificate(&server, "other.example", only(versions[i]), &other);
        expect_certificate(&server, "OTHER.example.", only(versions[i]), &other);
        expect_certificate(&server, "third.example", only(versions[i]), &eddsa);
    }
    expect_certificate(&server, "other.example", only_rsa, &rsa);
    test_certificate_free(&other);
    test_certificate_free(&rsa);
    test_certificate_free(&eddsa);
}

static void expect_alpn(const char *offered, enum m5_tls_protocol spoken, const char *agreed)
{
    struct m5_tls_error error;
    const struct m5_tls_target target = {HOST, 8883, spoken};
    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    client.alpn = offered;
    struct m5_tls_config *ours = tls_client_config(&client);
    struct m5_tls_config *theirs = m5_tls_server_config_new(&server, spoken, &error);
    assert_non_null(theirs);
    struct tls_rig rig;
    struct m5_tls_peer peer;
    tls_rig_init(&rig, m5_tls_client_new(ours, &target, NULL, &tls_rig_allocator),
                 m5_tls_server_new(theirs, &tls_rig_allocator));
    tls_rig_run(&rig, TLS_ALL);
    if (agreed == NULL) {
        assert_string_equal(tls_side_failure(&rig.server),
                            "the client asks for other protocols than ours (ALPN)");
        assert_string_equal(tls_side_failure(&rig.client),
                            "the server does not speak our protocol here (ALPN)");
    } else {
        assert_true(tls_rig_is_open(&rig));
        assert_true(m5_tls_peer(rig.server.transport, &peer));
        assert_string_equal(peer.alpn, agreed);
        assert_true(m5_tls_peer(rig.client.transport, &peer));
        assert_string_equal(peer.alpn, agreed);
    }
    tls_rig_fini(&rig);
    m5_tls_config_unref(ours);
    m5_tls_config_unref(theirs);
}

static void protocols_are_agreed_upon(void **state)
{
    (void)state;
    expect_alpn(NULL, M5_TLS_MQTT, "mqtt");
    expect_alpn(NULL, M5_TLS_HTTP, "http/1.1");
    expect_alpn("", M5_TLS_MQTT, ""); /* clients that know nothing of ALPN */
    expect_alpn("", M5_TLS_HTTP, "");
    expect_alpn("mqtt", M5_TLS_MQTT, "mqtt");
    expect_alpn("h2", M5_TLS_MQTT, NULL);
    expect_alpn("mqtt", M5_TLS_HTTP, NULL);
    expect_alpn("http/1.1", M5_TLS_MQTT, NULL);
}

/* What stands in the ClientHello of a client that goes to @p host and @p port. */
static bool asks_for(const char *host, uint16_t port, enum m5_tls_protocol protocol,
                     const char *alpn)
{
    const struct mqtt5_tls_client_options options = tls_pki_client(&pki);
    const struct m5_tls_target target = {host, port, protocol};
    struct m5_tls_config *config = tls_client_config(&options);
    struct tls_rig rig;
    tls_rig_init(&rig, m5_tls_client_new(config, &target, NULL, &tls_rig_allocator), NULL);
    tls_rig_run(&rig, TLS_ALL);
    const bool found = memmem(rig.server.raw.data, rig.server.raw.size, alpn, strlen(alpn)) != NULL;
    tls_rig_fini(&rig);
    m5_tls_config_unref(config);
    return found;
}

static void endpoints_of_aws_are_asked_in_their_way(void **state)
{
    (void)state;
    static const char aws[] = "abc-ats.iot.eu-west-1.amazonaws.com";
    assert_true(asks_for(aws, 443, M5_TLS_MQTT, "\x0Ex-amzn-mqtt-ca"));
    assert_false(asks_for(aws, 443, M5_TLS_MQTT, "\4mqtt"));
    assert_false(asks_for(aws, 8883, M5_TLS_MQTT, "x-amzn-mqtt-ca"));
    assert_true(asks_for(aws, 8883, M5_TLS_MQTT, "\4mqtt"));
    assert_true(asks_for(aws, 443, M5_TLS_HTTP, "\x08http/1.1"));
    assert_true(asks_for("abc.iot.cn-north-1.amazonaws.com.cn", 443, M5_TLS_MQTT, "x-amzn"));
    assert_false(asks_for("s3.amazonaws.com", 443, M5_TLS_MQTT, "x-amzn"));
    assert_false(asks_for("iot.example.org", 443, M5_TLS_MQTT, "x-amzn"));
}

static void names_are_asked_for_and_addresses_are_not(void **state)
{
    (void)state;
    assert_true(asks_for(HOST, 8883, M5_TLS_MQTT, "broker.example"));
    assert_false(asks_for("127.0.0.1", 8883, M5_TLS_MQTT, "127.0.0.1"));
    assert_false(asks_for("::1", 8883, M5_TLS_MQTT, "::1"));
}

/* ---- sessions that go on ---- */

struct resuming {
    struct m5_tls_config *client, *server;
    struct m5_tls_resumption slot;
    struct tls_rig rig;
};

static void connect_again(struct resuming *resuming)
{
    const struct m5_tls_target target = {HOST, 8883, M5_TLS_MQTT};
    tls_rig_init(&resuming->rig,
                 m5_tls_client_new(resuming->client, &target, &resuming->slot, &tls_rig_allocator),
                 m5_tls_server_new(resuming->server, &tls_rig_allocator));
    tls_rig_run(&resuming->rig, 100);
}

static bool was_resumed(const struct resuming *resuming, const char *identity)
{
    struct m5_tls_peer ours, theirs;
    assert_true(tls_rig_is_open(&resuming->rig));
    assert_true(m5_tls_peer(resuming->rig.client.transport, &ours));
    assert_true(m5_tls_peer(resuming->rig.server.transport, &theirs));
    assert_true(ours.resumed == theirs.resumed);
    assert_string_equal(theirs.identity, identity);
    assert_true(ours.certified);
    return theirs.resumed;
}

static void sessions_are_resumed_with_their_identity(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct mqtt5_tls_client_options client = tls_pki_client(&pki);
        struct mqtt5_tls_server_options server = tls_pki_server(&pki);
        client.priorities = only(versions[i]);
        client.credential = pki.client_credential;
        server.ca_file = pki.root_file;
        server.client_certificate = MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED;
        server.identity = MQTT5_TLS_IDENTITY_CN;
        struct resuming resuming = {.client = tls_client_config(&client),
                                    .server = tls_server_config(&server)};
        for (size_t round = 0; round < 3; round++) {
            connect_again(&resuming);
            assert_true(was_resumed(&resuming, "alice") == (round > 0));
            assert_non_null(resuming.slot.data);
            exchange(&resuming.rig, 100, TLS_ALL);
            tls_rig_fini(&resuming.rig);
        }
        /* Made anew, it does not take old tickets. */
        m5_tls_config_unref(resuming.server);
        resuming.server = tls_server_config(&server);
        connect_again(&resuming);
        assert_false(was_resumed(&resuming, "alice"));
        tls_rig_fini(&resuming.rig);
        m5_tls_resumption_fini(&resuming.slot);
        m5_tls_config_unref(resuming.client);
        m5_tls_config_unref(resuming.server);
    }
}

/* Moves all that @p from has to say, at once. */
static void carry(struct tls_side *from, struct tls_side *to)
{
    struct m5_outbox out = from->out;
    from->out = (struct m5_outbox){.allocator = out.allocator};
    tls_side_feed(to, m5_bytes(out.data, out.size));
    m5_outbox_fini(&out);
}

/* Clients without TCP_NODELAY would wait for an ACK before they send their CONNECT. */
static void a_ticket_answers_the_end_of_the_handshake(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct mqtt5_tls_client_options client = tls_pki_client(&pki);
        struct mqtt5_tls_server_options server = tls_pki_server(&pki);
        struct tls_rig rig;
        server.session_tickets = i == 0;
        tls_rig_make(&rig, &client, &server, HOST);
        tls_side_feed(&rig.client, m5_bytes(NULL, 0));
        carry(&rig.client, &rig.server);
        carry(&rig.server, &rig.client);
        assert_true(rig.client.transport->open);
        assert_false(rig.server.transport->open);
        carry(&rig.client, &rig.server);
        assert_true(rig.server.transport->open);
        assert_true((rig.server.out.size > 0) == server.session_tickets);
        assert_int_equal(count_records(&rig.server.out), server.session_tickets ? 1 : 0);
        tls_rig_fini(&rig);
    }
}

static void without_tickets_every_handshake_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct mqtt5_tls_client_options client = tls_pki_client(&pki);
        struct mqtt5_tls_server_options server = tls_pki_server(&pki);
        client.priorities = only(versions[i]);
        server.session_tickets = false;
        struct resuming resuming = {.client = tls_client_config(&client),
                                    .server = tls_server_config(&server)};
        for (size_t round = 0; round < 2; round++) {
            connect_again(&resuming);
            assert_false(was_resumed(&resuming, ""));
            tls_rig_fini(&resuming.rig);
        }
        assert_null(resuming.slot.data);
        m5_tls_config_unref(resuming.client);
        m5_tls_config_unref(resuming.server);
    }
}

static time_t time_shift_s;

static time_t shifted_time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec + time_shift_s;
    return now.tv_sec + time_shift_s;
}

/* A ticket is not worth more than the certificate for which it was given. */
static void a_ticket_does_not_outlive_the_certificate(void **state)
{
    (void)state;
    struct test_certificate brief;
    test_certificate_make(&brief,
                          &(struct test_certificate_spec){.common_name = m5_bytes_of("alice"),
                                                          .issuer = &pki.root,
                                                          .begins_s = -60,
                                                          .ends_s = 600});
    for (size_t i = 0; i < 2; i++) {
        struct mqtt5_tls_client_options client = tls_pki_client(&pki);
        struct mqtt5_tls_server_options server = tls_pki_server(&pki);
        client.priorities = only(versions[i]);
        client.credential = credential_of(&brief);
        server.ca_file = pki.root_file;
        server.client_certificate = MQTT5_TLS_CLIENT_CERTIFICATE_OPTIONAL;
        struct resuming resuming = {.client = tls_client_config(&client),
                                    .server = tls_server_config(&server)};
        connect_again(&resuming);
        assert_false(was_resumed(&resuming, ""));
        tls_rig_fini(&resuming.rig);
        time_shift_s = 1200;
        gnutls_global_set_time_function(shifted_time);
        connect_again(&resuming);
        assert_false(tls_rig_is_open(&resuming.rig));
        assert_non_null(
            strstr(tls_side_failure(&resuming.rig.server), "the client has expired on "));
        tls_rig_fini(&resuming.rig);
        time_shift_s = 0;
        m5_tls_resumption_fini(&resuming.slot);
        m5_tls_config_unref(resuming.client);
        m5_tls_config_unref(resuming.server);
    }
    test_certificate_free(&brief);
}

static void a_connection_keeps_its_config(void **state)
{
    (void)state;
    struct tls_rig rig;
    const struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct m5_tls_config *config = tls_server_config(&server);
    struct m5_tls_config *ours = tls_client_config(&client);
    const struct m5_tls_target target = {HOST, 8883, M5_TLS_MQTT};
    tls_rig_init(&rig, m5_tls_client_new(ours, &target, NULL, &tls_rig_allocator),
                 m5_tls_server_new(config, &tls_rig_allocator));
    assert_true(m5_tls_config_expires_s(config) > (uint64_t)time(NULL));
    assert_int_equal(m5_tls_config_expires_s(ours), 0);
    m5_tls_config_unref(m5_tls_config_ref(config));
    m5_tls_config_unref(config); /* what a reload does */
    m5_tls_config_unref(ours);
    tls_rig_run(&rig, TLS_ALL);
    assert_true(tls_rig_is_open(&rig));
    exchange(&rig, 1000, 10);
    tls_rig_fini(&rig);
}

/* ---- pre-shared keys ---- */

#define KEY_OF_BOB "00112233445566778899aabbccddeeff"

static void expect_psk(const char *identity, const char *key, const char *version, bool is_good)
{
    struct mqtt5_tls_client_options client;
    struct mqtt5_tls_server_options server;
    mqtt5_tls_client_options_init(&client);
    mqtt5_tls_server_options_init(&server);
    char priorities[128];
    snprintf(priorities, sizeof priorities, "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:-VERS-ALL:+VERS-%s",
             version);
    client.psk_identity = identity;
    client.psk_key = key;
    client.priorities = priorities;
    server.psk_file = test_folder_write(&pki.folder, "psk",
                                        m5_bytes_of("# devices\r\nanna:ffeeddccbbaa9988776655443322"
                                                    "1100\nbob:" KEY_OF_BOB "\r\n"));
    server.identity = MQTT5_TLS_IDENTITY_CN;
    struct tls_rig rig;
    struct m5_tls_peer peer;
    tls_rig_make(&rig, &client, &server, HOST);
    tls_rig_run(&rig, 50);
    assert_true(tls_rig_is_open(&rig) == is_good);
    if (is_good) {
        assert_true(m5_tls_peer(rig.server.transport, &peer));
        assert_string_equal(peer.psk_identity, identity);
        assert_string_equal(peer.identity, identity);
        assert_false(peer.certified);
        exchange(&rig, 100, 10);
    } else {
        assert_false(rig.server.transport->open);
        /* The same for a wrong key and for nobody's. */
        assert_string_equal(tls_side_failure(&rig.client),
                            version == versions[0]
                                ? "the server could not decrypt what we sent; with a pre-shared "
                                  "key: it has another one"
                                : "the server can make no sense of what we sent; with a pre-shared "
                                  "key: it has another one");
    }
    tls_rig_fini(&rig);
}

static void pre_shared_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        expect_psk("bob", KEY_OF_BOB, versions[i], true);
        expect_psk("bob", "00112233445566778899AABBCCDDEEFF", versions[i], true);
        expect_psk("bob", "00112233445566778899aabbccddeefe", versions[i], false);
        expect_psk("anna", KEY_OF_BOB, versions[i], false);
        expect_psk("nobody", KEY_OF_BOB, versions[i], false);
    }
}

/* With our own priorities, and certificates for those who have no key. */
static void keys_and_certificates_on_one_listener(void **state)
{
    (void)state;
    struct mqtt5_tls_client_options keyed, certified = tls_pki_client(&pki);
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    mqtt5_tls_client_options_init(&keyed);
    keyed.psk_identity = "bob";
    keyed.psk_key = KEY_OF_BOB;
    server.psk_file = test_folder_write(&pki.folder, "psk", m5_bytes_of("bob:" KEY_OF_BOB));
    expect_run(&certified, &server, "", "");
    struct tls_rig rig;
    struct m5_tls_peer peer;
    tls_rig_make(&rig, &keyed, &server, HOST);
    tls_rig_run(&rig, TLS_ALL);
    assert_true(tls_rig_is_open(&rig));
    assert_true(m5_tls_peer(rig.server.transport, &peer));
    assert_string_equal(peer.psk_identity, "bob");
    assert_string_equal(peer.identity, ""); /* nobody has asked for one */
    tls_rig_fini(&rig);
}

/* ---- what ends a connection ---- */

static void what_is_not_tls_is_told(void **state)
{
    (void)state;
    const struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct tls_rig rig;
    tls_rig_make(&rig, &client, &server, HOST);
    tls_side_feed(&rig.server, m5_bytes("\x10\x0C\0\4MQTT\5\2\0\x3C\0", 13));
    assert_int_equal(rig.server.last, M5_TRANSPORT_FAILED);
    assert_string_equal(
        tls_side_failure(&rig.server),
        "the client does not speak TLS; is it meant for a port without encryption?");
    assert_int_equal(rig.server.out.size, 0);
    tls_side_feed(&rig.client, m5_bytes(NULL, 0));
    tls_side_feed(&rig.client, m5_bytes_of("HTTP/1.1 400 Bad Request\r\n"));
    assert_int_equal(rig.client.last, M5_TRANSPORT_FAILED);
    assert_string_equal(tls_side_failure(&rig.client),
                        "the server does not speak TLS here; is this its port without encryption?");
    m5_transport_finish(rig.server.transport, &rig.server.out);
    assert_int_equal(rig.server.out.size, 0);
    tls_rig_fini(&rig);
}

/* Both sides of a handshake and a message as bytes, to be damaged. */
static void record_conversation(struct m5_outbox *to_server)
{
    struct tls_rig rig;
    const struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    *to_server = (struct m5_outbox){.allocator = &tls_rig_allocator};
    tls_rig_make(&rig, &client, &server, HOST);
    tls_side_feed(&rig.client, m5_bytes(NULL, 0));
    assert_true(m5_outbox_append(to_server, m5_bytes(rig.client.out.data, rig.client.out.size)));
    tls_rig_fini(&rig);
}

/* Every bit of a ClientHello: the server may take it or not, but what it then has is sound. */
static void damaged_hellos(void **state)
{
    (void)state;
    struct m5_outbox hello;
    record_conversation(&hello);
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct m5_tls_config *config = tls_server_config(&server);
    for (size_t i = 0; i < hello.size; i++) {
        struct tls_rig rig;
        tls_rig_init(&rig, NULL, m5_tls_server_new(config, &tls_rig_allocator));
        hello.data[i] ^= (uint8_t)(1u << i % 8);
        tls_side_feed(&rig.server, m5_bytes(hello.data, hello.size));
        assert_false(rig.server.transport->open);
        assert_int_equal(rig.server.plain.size, 0);
        assert_true((rig.server.last == M5_TRANSPORT_FAILED) ==
                    (rig.server.transport->failure != NULL));
        hello.data[i] ^= (uint8_t)(1u << i % 8);
        tls_rig_fini(&rig);
        /* And cut off there. */
        tls_rig_init(&rig, NULL, m5_tls_server_new(config, &tls_rig_allocator));
        tls_side_feed(&rig.server, m5_bytes(hello.data, i));
        assert_int_equal(rig.server.last, M5_TRANSPORT_AGAIN);
        assert_int_equal(rig.server.out.size, 0);
        tls_rig_fini(&rig);
    }
    m5_tls_config_unref(config);
    m5_outbox_fini(&hello);
}

static void a_damaged_record_is_never_read(void **state)
{
    (void)state;
    for (size_t i = RECORD_HEAD; i < 40; i++) {
        struct tls_rig rig;
        open_rig(&rig);
        send_text(&rig.client, (const uint8_t *)"a secret", 8);
        assert_true(rig.client.out.size > i || i >= 30);
        if (i < rig.client.out.size) {
            rig.client.out.data[i] ^= 0x10;
            tls_rig_run(&rig, TLS_ALL);
            assert_int_equal(rig.server.plain.size, 0);
            assert_int_equal(rig.server.last, M5_TRANSPORT_FAILED);
            assert_string_equal(
                tls_side_failure(&rig.server),
                "what the client sent cannot be decrypted: it is damaged, or keys differ");
            /* The alert arrived. */
            assert_int_equal(rig.client.last, M5_TRANSPORT_FAILED);
            assert_non_null(strstr(tls_side_failure(&rig.client), "could not decrypt"));
            /* Whoever does not read before writing is told, too. */
            const struct mqtt5_bytes view = m5_bytes("x", 1);
            assert_false(m5_transport_write(rig.server.transport, &view, 1, &rig.server.out));
        }
        tls_rig_fini(&rig);
    }
}

/* A good message and a bad one in one piece: the good one is read first. */
static void what_came_before_the_damage_is_read(void **state)
{
    (void)state;
    struct tls_rig rig;
    open_rig(&rig);
    send_text(&rig.client, (const uint8_t *)"good", 4);
    const size_t at = rig.client.out.size;
    send_text(&rig.client, (const uint8_t *)"bad", 3);
    rig.client.out.data[at + RECORD_HEAD] ^= 1;
    struct mqtt5_bytes wire = m5_bytes(rig.client.out.data, rig.client.out.size);
    uint8_t plain[100];
    struct m5_transport *server = rig.server.transport;
    assert_int_equal(m5_transport_read(server, &wire, &rig.server.out, plain, sizeof plain), 4);
    assert_int_equal(wire.len, 0);
    assert_true(server->pending); /* a host that waits for bytes would never hear of it */
    assert_null(server->failure);
    assert_int_equal(m5_transport_read(server, &wire, &rig.server.out, plain, sizeof plain),
                     M5_TRANSPORT_FAILED);
    assert_non_null(server->failure);
    tls_rig_fini(&rig);
}

static void the_lowest_version_is_kept(void **state)
{
    (void)state;
    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    client.priorities = only("TLS1.2");
    server.version_min = MQTT5_TLS_1_3;
    expect_run(&client, &server, "the server does not speak our versions of TLS",
               "the client does not speak our versions of TLS");
    client.priorities = NULL;
    expect_run(&client, &server, "", "");
    client.version_min = MQTT5_TLS_1_3;
    server.version_min = MQTT5_TLS_1_2;
    server.priorities = only("TLS1.2");
    struct tls_rig rig;
    tls_rig_make(&rig, &client, &server, HOST);
    tls_rig_run(&rig, TLS_ALL);
    assert_false(rig.client.transport->open);
    assert_false(rig.server.transport->open);
    tls_rig_fini(&rig);
}

static void secrets_are_logged_when_asked_for(void **state)
{
    (void)state;
    char path[128], line[512];
    snprintf(path, sizeof path, "%s/keys", pki.folder.path);
    for (size_t i = 0; i < 2; i++) {
        struct mqtt5_tls_client_options client = tls_pki_client(&pki);
        struct mqtt5_tls_server_options server = tls_pki_server(&pki);
        client.priorities = only(versions[i]);
        server.keylog_file = path;
        expect_run(&client, &server, "", "");
        FILE *file = fopen(path, "r");
        struct stat status;
        bool found = false;
        assert_non_null(file);
        while (fgets(line, sizeof line, file) != NULL)
            found =
                found || (i == 0 ? strncmp(line, "CLIENT_RANDOM ", 14) == 0 && strlen(line) == 176
                                 : strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0);
        assert_true(found);
        assert_int_equal(fstat(fileno(file), &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        fclose(file);
    }
    remove(path);
}

/* Our allocator fails at every call in turn: a connection is refused or ends, nothing is lost. */
static void without_memory(void **state)
{
    (void)state;
    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    server.ca_file = pki.root_file;
    server.client_certificate = MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED;
    server.identity = MQTT5_TLS_IDENTITY_CN;
    client.credential = pki.client_credential;
    struct m5_tls_config *ours = tls_client_config(&client), *theirs = tls_server_config(&server);
    const struct m5_tls_target target = {HOST, 8883, M5_TLS_MQTT};
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct test_allocator allocator;
        struct tls_rig rig;
        test_allocator_init(&allocator);
        test_allocator_fail_nth(&allocator, nth);
        struct m5_transport *a = m5_tls_client_new(ours, &target, NULL, &allocator.table);
        struct m5_transport *b = m5_tls_server_new(theirs, &allocator.table);
        failed = test_allocator_failed(&allocator);
        assert_true(failed == (a == NULL || b == NULL));
        if (!failed) {
            tls_rig_init(&rig, a, b);
            rig.client.out.allocator = rig.server.out.allocator = &allocator.table;
            tls_rig_run(&rig, TLS_ALL);
            failed = test_allocator_failed(&allocator);
            assert_true(failed != tls_rig_is_open(&rig));
            if (failed)
                assert_true(rig.client.last == M5_TRANSPORT_FAILED ||
                            rig.server.last == M5_TRANSPORT_FAILED);
            tls_rig_fini(&rig);
        } else {
            m5_transport_free(a);
            m5_transport_free(b);
        }
        test_allocator_check(&allocator);
        assert_true(nth < 100);
    }
    m5_tls_config_unref(ours);
    m5_tls_config_unref(theirs);
}

static void no_memory_for_a_record(void **state)
{
    (void)state;
    struct test_allocator allocator;
    struct tls_rig rig;
    const struct mqtt5_bytes view = m5_bytes("message", 7);
    test_allocator_init(&allocator);
    open_rig(&rig);
    struct m5_outbox out = {.allocator = &allocator.table};
    test_allocator_fail_nth(&allocator, 1);
    assert_false(m5_transport_write(rig.client.transport, &view, 1, &out));
    m5_outbox_fini(&out);
    test_allocator_check(&allocator);
    tls_rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_versions_in_pieces_of_every_size),
        cmocka_unit_test(random_pieces_and_writes),
        cmocka_unit_test(what_a_turn_wrote_is_few_records),
        cmocka_unit_test(the_end_is_told),
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(the_name_asked_for_picks_the_certificate),
        cmocka_unit_test(protocols_are_agreed_upon),
        cmocka_unit_test(endpoints_of_aws_are_asked_in_their_way),
        cmocka_unit_test(names_are_asked_for_and_addresses_are_not),
        cmocka_unit_test(sessions_are_resumed_with_their_identity),
        cmocka_unit_test(a_ticket_answers_the_end_of_the_handshake),
        cmocka_unit_test(without_tickets_every_handshake_is_whole),
        cmocka_unit_test(a_connection_keeps_its_config),
        cmocka_unit_test(pre_shared_keys),
        cmocka_unit_test(keys_and_certificates_on_one_listener),
        cmocka_unit_test(what_is_not_tls_is_told),
        cmocka_unit_test(damaged_hellos),
        cmocka_unit_test(a_damaged_record_is_never_read),
        cmocka_unit_test(what_came_before_the_damage_is_read),
        cmocka_unit_test(the_lowest_version_is_kept),
        cmocka_unit_test(secrets_are_logged_when_asked_for),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(no_memory_for_a_record),
        cmocka_unit_test(a_ticket_does_not_outlive_the_certificate), /* turns the clock: last */
    };
    return cmocka_run_group_tests(tests, make_pki, free_pki);
}
