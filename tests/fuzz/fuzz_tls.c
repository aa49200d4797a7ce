/* TLS fed with anything: servers and clients with bytes that are none of TLS or damaged ones, the
 * files of lines, and names of certificates.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "support/tls_rig.h"
#include "transport/tls/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOST        "broker.example"
#define CHANGES_MAX 16

static struct tls_pki pki;
static struct m5_tls_config *server_config, *client_config;

/* Made once: keys take their time. */
static void set_up(void)
{
    static struct mqtt5_tls_credential both[2];
    if (server_config != NULL)
        return;
    tls_pki_make(&pki);
    struct mqtt5_tls_server_options server = tls_pki_server(&pki);
    struct mqtt5_tls_client_options client = tls_pki_client(&pki);
    both[0] = pki.server_credential;
    both[1] = (struct mqtt5_tls_credential){.certificate = test_bytes_of(&pki.client.pem),
                                            .key = test_bytes_of(&pki.client.key_pem)};
    server.credentials = both;
    server.credential_count = 2;
    server.ca_file = pki.root_file;
    server.client_certificate = MQTT5_TLS_CLIENT_CERTIFICATE_OPTIONAL;
    server.identity = MQTT5_TLS_IDENTITY_CN;
    server.psk_file = test_folder_write(&pki.folder, "psk",
                                        m5_bytes_of("bob:00112233445566778899aabbccddeeff\n"));
    client.credential = pki.client_credential;
    server_config = tls_server_config(&server);
    client_config = tls_client_config(&client);
    test_folder_free(&pki.folder);
}

static void start(struct tls_rig *rig)
{
    const struct m5_tls_target target = {HOST, 8883, M5_TLS_MQTT};
    tls_rig_init(rig, m5_tls_client_new(client_config, &target, NULL, &tls_rig_allocator),
                 m5_tls_server_new(server_config, &tls_rig_allocator));
    M5_ASSERT(rig->client.transport != NULL && rig->server.transport != NULL);
}

static void check(const struct tls_side *side)
{
    M5_ASSERT(side->last <= 0);
    M5_ASSERT((side->last == M5_TRANSPORT_FAILED) == (side->transport->failure != NULL));
}

/* Nobody who has no key becomes our peer. */
static void feed(struct tls_side *side, struct mqtt5_bytes bytes, size_t piece)
{
    for (size_t at = 0; at < bytes.len; at += piece)
        tls_side_feed(side,
                      m5_bytes(bytes.data + at, piece < bytes.len - at ? piece : bytes.len - at));
    check(side);
    M5_ASSERT(!side->transport->open);
    M5_ASSERT(side->plain.size == 0);
}

static void feed_server(struct mqtt5_bytes bytes, size_t piece)
{
    struct tls_rig rig;
    start(&rig);
    feed(&rig.server, bytes, piece);
    tls_rig_fini(&rig);
}

static void feed_client(struct mqtt5_bytes bytes, size_t piece)
{
    struct tls_rig rig;
    start(&rig);
    tls_side_feed(&rig.client, m5_bytes(NULL, 0));
    feed(&rig.client, bytes, piece);
    tls_rig_fini(&rig);
}

/* Changes what is on its way by the next two bytes: where, and which bits. */
static void damage(struct m5_outbox *out, struct mqtt5_bytes *changes)
{
    if (out->size == 0 || changes->len < 3)
        return;
    const size_t at = m5_read_u16(changes->data) % out->size;
    out->data[at] ^= changes->data[2];
    *changes = m5_bytes(changes->data + 3, changes->len - 3);
}

/* A handshake and a message with damages: what arrives is what was sent, or nothing. */
static void damage_conversation(struct mqtt5_bytes changes)
{
    static const struct mqtt5_bytes message = {(const uint8_t *)"a message", 9};
    struct tls_rig rig;
    start(&rig);
    tls_side_feed(&rig.client, m5_bytes(NULL, 0));
    for (size_t turn = 0; turn < CHANGES_MAX; turn++) {
        struct tls_side *from = turn % 2 == 0 ? &rig.client : &rig.server;
        struct tls_side *to = turn % 2 == 0 ? &rig.server : &rig.client;
        if (turn >= CHANGES_MAX / 2 && from->transport->open && from->last >= 0)
            M5_ASSERT(m5_transport_write(from->transport, &message, 1, &from->out));
        damage(&from->out, &changes);
        struct m5_outbox out = from->out;
        from->out = (struct m5_outbox){.allocator = out.allocator};
        tls_side_feed(to, m5_bytes(out.data, out.size));
        m5_outbox_fini(&out);
        check(to);
    }
    for (size_t i = 0; i < rig.server.plain.size; i++)
        M5_ASSERT(rig.server.plain.data[i] == message.data[i % message.len]);
    tls_rig_fini(&rig);
}

/* The files of lines. */
static void read_lines(struct mqtt5_bytes text)
{
    struct m5_tls_users users = {0};
    struct m5_tls_keys keys = {0};
    struct m5_tls_error error;
    char path[64];
    const int file = memfd_create("lines", MFD_CLOEXEC);
    M5_ASSERT(file >= 0 && write(file, text.data, text.len) == (ssize_t)text.len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (m5_tls_users_load(&users, path, &error)) {
        for (size_t i = 0; i < users.count; i++) {
            M5_ASSERT(m5_tls_is_name(m5_bytes_of(users.items[i].name)));
            M5_ASSERT(m5_tls_users_find(&users, users.items[i].fingerprint) == &users.items[i]);
        }
    }
    if (m5_tls_keys_load(&keys, path, &error)) {
        for (size_t i = 0; i < keys.count; i++)
            M5_ASSERT(m5_tls_keys_find(&keys, m5_bytes_of(keys.items[i].identity)) ==
                      &keys.items[i]);
    }
    m5_tls_users_fini(&users);
    m5_tls_keys_fini(&keys);
    close(file);
}

static void read_certificate(struct mqtt5_bytes bytes)
{
    const gnutls_datum_t der = {.data = (uint8_t *)(uintptr_t)bytes.data,
                                .size = (unsigned)bytes.len};
    gnutls_x509_crt_t certificate;
    char name[M5_TLS_NAME_SIZE], why[M5_TLS_SENTENCE_SIZE];
    if (gnutls_x509_crt_init(&certificate) < 0)
        return;
    if (gnutls_x509_crt_import(certificate, &der, GNUTLS_X509_FMT_DER) >= 0) {
        M5_ASSERT(m5_tls_common_name(certificate, name) == m5_tls_is_name(m5_bytes_of(name)));
        for (size_t i = 0; i < 20 && m5_tls_alternative_name(certificate, i, name); i++)
            M5_ASSERT(name[0] == 0 || m5_tls_is_name(m5_bytes_of(name)));
        if (m5_tls_identify(server_config, certificate, name, why))
            M5_ASSERT(m5_tls_is_name(m5_bytes_of(name)));
    }
    gnutls_x509_crt_deinit(certificate);
}

/* The first byte says what the rest is, and in which pieces it comes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    set_up();
    if (size == 0)
        return 0;
    const struct mqtt5_bytes rest = m5_bytes(data + 1, size - 1);
    const size_t piece = data[0] < 128 ? SIZE_MAX : 1u + data[0] % 64u;
    switch (data[0] % 5) {
    case 0: feed_server(rest, piece); break;
    case 1: feed_client(rest, piece); break;
    case 2: damage_conversation(rest); break;
    case 3: read_lines(rest); break;
    default: read_certificate(rest); break;
    }
    return 0;
}
