/* Our TLS and peers that are not ours: bare sessions of GnuTLS which do what our own never do.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/tls_rig.h"
#include "support/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOST "broker.example"

static struct tls_pki pki;
static gnutls_certificate_credentials_t credentials; /* of bare servers and clients */

static int set_up(void **state)
{
    (void)state;
    tls_pki_make(&pki);
    return gnutls_certificate_allocate_credentials(&credentials) == 0 &&
                   gnutls_certificate_set_x509_key_mem2(credentials, &pki.server_chain,
                                                        &pki.server.key_pem, GNUTLS_X509_FMT_PEM,
                                                        NULL, 0) >= 0
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gnutls_certificate_free_credentials(credentials);
    tls_pki_free(&pki);
    return 0;
}

/* A bare session on one end, ours on the other. */
struct meeting {
    struct tls_side ours;
    gnutls_session_t bare;
    size_t taken; /* bytes of ours.out that the bare one has read */
    int result;   /* of its handshake */
};

static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t size)
{
    struct meeting *meeting = ptr;
    const size_t left = meeting->ours.out.size - meeting->taken;
    const size_t count = size < left ? size : left;
    if (count == 0) {
        gnutls_transport_set_errno(meeting->bare, EAGAIN);
        return -1;
    }
    memcpy(data, meeting->ours.out.data + meeting->taken, count);
    meeting->taken += count;
    return (ssize_t)count;
}

static int pull_at_once(gnutls_transport_ptr_t ptr, unsigned timeout_ms)
{
    (void)timeout_ms;
    const struct meeting *meeting = ptr;
    return meeting->ours.out.size > meeting->taken;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const void *data, size_t size)
{
    struct meeting *meeting = ptr;
    tls_side_feed(&meeting->ours, m5_bytes(data, size));
    return (ssize_t)size;
}

static void start_bare(struct meeting *meeting, unsigned flags, const char *priorities)
{
    assert_int_equal(gnutls_init(&meeting->bare, flags | GNUTLS_NONBLOCK), 0);
    assert_int_equal(gnutls_priority_set_direct(meeting->bare, priorities, NULL), 0);
    gnutls_credentials_set(meeting->bare, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_ptr(meeting->bare, meeting);
    gnutls_transport_set_pull_function(meeting->bare, pull);
    gnutls_transport_set_pull_timeout_function(meeting->bare, pull_at_once);
    gnutls_transport_set_push_function(meeting->bare, push);
    gnutls_handshake_set_timeout(meeting->bare, 0);
}

static void init_side(struct tls_side *side, struct m5_transport *transport)
{
    struct tls_rig rig;
    assert_non_null(transport);
    tls_rig_init(&rig, transport, NULL);
    *side = rig.client;
}

static void fini_meeting(struct meeting *meeting)
{
    struct tls_rig rig;
    gnutls_deinit(meeting->bare);
    tls_rig_init(&rig, NULL, NULL);
    rig.client = meeting->ours;
    tls_rig_fini(&rig);
}

/* Our server, and a bare client that is yet to begin. */
static void meet_client(struct meeting *meeting, const char *priorities,
                        const struct mqtt5_tls_server_options *options)
{
    struct m5_tls_config *config = tls_server_config(options);
    *meeting = (struct meeting){0};
    init_side(&meeting->ours, m5_tls_server_new(config, &tls_rig_allocator));
    m5_tls_config_unref(config);
    start_bare(meeting, GNUTLS_CLIENT, priorities);
}

static int shake_hands(struct meeting *meeting)
{
    size_t before = 0;
    do {
        before = meeting->taken;
        meeting->result = gnutls_handshake(meeting->bare);
    } while (meeting->result == GNUTLS_E_AGAIN && meeting->taken != before);
    return meeting->result;
}

/* What the bare session reads next. */
static ssize_t receive(struct meeting *meeting)
{
    uint8_t data[1000];
    return gnutls_record_recv(meeting->bare, data, sizeof data);
}

static void old_versions_are_refused(void **state)
{
    (void)state;
    static const char *const old[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.0:+SHA1:%PROFILE_LOW",
                                      "NORMAL:-VERS-ALL:+VERS-TLS1.1:+SHA1:%PROFILE_LOW",
                                      "NORMAL:-VERS-ALL:+VERS-TLS1.0:+VERS-TLS1.1"};
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    for (size_t i = 0; i < 6; i++) {
        struct meeting meeting;
        /* Whoever asks for all versions does not get those either. */
        server.priorities = i < 3 ? NULL : "NORMAL:+VERS-ALL";
        meet_client(&meeting, old[i % 3], &server);
        assert_int_equal(shake_hands(&meeting), GNUTLS_E_FATAL_ALERT_RECEIVED);
        assert_int_equal(gnutls_alert_get(meeting.bare), GNUTLS_A_PROTOCOL_VERSION);
        assert_int_equal(meeting.ours.last, M5_TRANSPORT_FAILED);
        assert_string_equal(tls_side_failure(&meeting.ours),
                            "the client does not speak our versions of TLS");
        fini_meeting(&meeting);
    }
}

static void weak_ciphers_are_refused(void **state)
{
    (void)state;
    static const char *const weak[] = {
        "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA",
        "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC:+AES-256-CBC:+SHA1",
        "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+3DES-CBC:+ARCFOUR-128",
        "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ANON-ECDH",
        "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+NULL"};
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    for (size_t i = 0; i < sizeof weak / sizeof *weak; i++) {
        struct meeting meeting;
        gnutls_anon_client_credentials_t nobody;
        assert_int_equal(gnutls_anon_allocate_client_credentials(&nobody), 0);
        meet_client(&meeting, weak[i], &server);
        gnutls_credentials_set(meeting.bare, GNUTLS_CRD_ANON, nobody);
        assert_int_equal(shake_hands(&meeting), GNUTLS_E_FATAL_ALERT_RECEIVED);
        assert_int_equal(gnutls_alert_get(meeting.bare), GNUTLS_A_HANDSHAKE_FAILURE);
        assert_false(meeting.ours.transport->open);
        fini_meeting(&meeting);
        gnutls_anon_free_client_credentials(nobody);
    }
}

static void case_47_clients_may_not_renegotiate(void **state)
{
    (void)state;
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct meeting meeting;
    meet_client(&meeting, "NORMAL:-VERS-ALL:+VERS-TLS1.2", &server);
    assert_int_equal(shake_hands(&meeting), 0);
    assert_true(meeting.ours.transport->open);
    assert_int_equal(shake_hands(&meeting), GNUTLS_E_WARNING_ALERT_RECEIVED);
    assert_int_equal(gnutls_alert_get(meeting.bare), GNUTLS_A_NO_RENEGOTIATION);
    assert_int_equal(meeting.ours.last, M5_TRANSPORT_FAILED);
    assert_string_equal(tls_side_failure(&meeting.ours),
                        "the client wants to renegotiate, which we do not");
    fini_meeting(&meeting);
}

static void case_47_servers_may_not_renegotiate(void **state)
{
    (void)state;
    const struct mqtt5_tls_client_options options = tls_pki_client(&pki);
    const struct m5_tls_target target = {HOST, 8883, M5_TLS_MQTT};
    struct m5_tls_config *config = tls_client_config(&options);
    struct meeting meeting = {0};
    init_side(&meeting.ours, m5_tls_client_new(config, &target, NULL, &tls_rig_allocator));
    m5_tls_config_unref(config);
    start_bare(&meeting, GNUTLS_SERVER, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    tls_side_feed(&meeting.ours, m5_bytes(NULL, 0));
    assert_int_equal(shake_hands(&meeting), 0);
    assert_true(meeting.ours.transport->open);
    gnutls_rehandshake(meeting.bare);
    assert_int_equal(meeting.ours.last, M5_TRANSPORT_FAILED);
    assert_string_equal(tls_side_failure(&meeting.ours),
                        "the server wants to renegotiate, which we do not");
    fini_meeting(&meeting);
}

static void keys_may_change(void **state)
{
    (void)state;
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    const struct mqtt5_bytes view = m5_bytes("pong", 4);
    struct meeting meeting;
    meet_client(&meeting, "NORMAL:-VERS-ALL:+VERS-TLS1.3", &server);
    assert_int_equal(shake_hands(&meeting), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(gnutls_session_key_update(meeting.bare, GNUTLS_KU_PEER), 0);
        assert_int_equal(gnutls_record_send(meeting.bare, "ping", 4), 4);
        assert_int_equal(meeting.ours.last, M5_TRANSPORT_AGAIN);
        assert_int_equal(meeting.ours.plain.size, 4 * (i + 1));
        assert_true(m5_transport_write(meeting.ours.transport, &view, 1, &meeting.ours.out));
        ssize_t count = 0;
        while ((count = receive(&meeting)) == GNUTLS_E_AGAIN &&
               meeting.taken < meeting.ours.out.size) {
        }
        assert_int_equal(count, 4);
    }
    /* But not without end. */
    for (size_t i = 0; i < 100 && meeting.ours.last == M5_TRANSPORT_AGAIN; i++)
        gnutls_session_key_update(meeting.bare, 0);
    assert_string_equal(tls_side_failure(&meeting.ours), "the client changes keys too often");
    fini_meeting(&meeting);
}

static void of_several_protocols_ours_is_chosen(void **state)
{
    (void)state;
    static const gnutls_datum_t names[] = {{(uint8_t *)(uintptr_t) "h2", 2},
                                           {(uint8_t *)(uintptr_t) "mqtt", 4},
                                           {(uint8_t *)(uintptr_t) "http/1.1", 8}};
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct meeting meeting;
    struct m5_tls_peer peer;
    meet_client(&meeting, "NORMAL", &server);
    gnutls_alpn_set_protocols(meeting.bare, names, 3, 0);
    assert_int_equal(shake_hands(&meeting), 0);
    assert_true(m5_tls_peer(meeting.ours.transport, &peer));
    assert_string_equal(peer.alpn, "mqtt");
    fini_meeting(&meeting);
}

/* Some clients of TLS 1.3 know nothing of tickets. */
static void clients_without_tickets(void **state)
{
    (void)state;
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3",
                                           "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    for (size_t i = 0; i < 2; i++) {
        struct meeting meeting;
        meet_client(&meeting, versions[i], &server);
        gnutls_deinit(meeting.bare);
        start_bare(&meeting, GNUTLS_CLIENT | GNUTLS_NO_TICKETS, versions[i]);
        assert_int_equal(shake_hands(&meeting), 0);
        assert_true(meeting.ours.transport->open);
        assert_int_equal(gnutls_record_send(meeting.bare, "ping", 4), 4);
        assert_int_equal(meeting.ours.plain.size, 4);
        fini_meeting(&meeting);
    }
}

/* SNI with control characters, or longer than any name, is nobody's name. */
static void hostile_server_names(void **state)
{
    (void)state;
    static const char *const names[] = {"bro\nker", "\x1B[2J", "..", "*", "127.0.0.1", "a b"};
    struct test_certificate other;
    test_certificate_make(
        &other, &(struct test_certificate_spec){.common_name = m5_bytes_of("other.example"),
                                                .names = {{GNUTLS_SAN_DNSNAME, "other.example", 0}},
                                                .issuer = &pki.root});
    const struct mqtt5_tls_credential both[] = {
        pki.server_credential,
        {.certificate = test_bytes_of(&other.pem), .key = test_bytes_of(&other.key_pem)}};
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    server.credentials = both;
    server.credential_count = 2;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct meeting meeting;
        struct m5_tls_peer peer;
        meet_client(&meeting, "NORMAL", &server);
        gnutls_server_name_set(meeting.bare, GNUTLS_NAME_DNS, names[i], strlen(names[i]));
        if (shake_hands(&meeting) == 0) {
            assert_true(m5_tls_peer(meeting.ours.transport, &peer));
            for (const char *c = peer.server_name; *c != 0; c++)
                assert_true(*c >= 0x20 && *c < 0x7F);
        } else {
            assert_true(tls_side_failure(&meeting.ours)[0] != 0);
        }
        fini_meeting(&meeting);
    }
    test_certificate_free(&other);
}

/* A handshake message that says it has 16 MiB takes no memory for them. */
static void endless_handshakes_are_refused(void **state)
{
    (void)state;
    static const uint8_t head[] = {22, 3, 1, 0x40, 0, 1, 0xFF, 0xFF, 0xFF};
    uint8_t record[5 + 0x4000] = {0};
    const struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct m5_tls_config *config = tls_server_config(&server);
    struct tls_rig rig;
    tls_rig_init(&rig, NULL, m5_tls_server_new(config, &tls_rig_allocator));
    memcpy(record, head, sizeof head);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(rig.server.last, M5_TRANSPORT_AGAIN);
        tls_side_feed(&rig.server, m5_bytes(record, sizeof record));
    }
    assert_int_equal(rig.server.last, M5_TRANSPORT_FAILED);
    assert_string_equal(tls_side_failure(&rig.server),
                        "the client sends more than a handshake can have");
    assert_true(rig.server.out.size <= 64);
    tls_rig_fini(&rig);
    m5_tls_config_unref(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(weak_ciphers_are_refused),
        cmocka_unit_test(case_47_clients_may_not_renegotiate),
        cmocka_unit_test(case_47_servers_may_not_renegotiate),
        cmocka_unit_test(keys_may_change),
        cmocka_unit_test(of_several_protocols_ours_is_chosen),
        cmocka_unit_test(clients_without_tickets),
        cmocka_unit_test(hostile_server_names),
        cmocka_unit_test(endless_handshakes_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
