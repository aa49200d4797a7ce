/* A client and a server of TLS that talk through two buffers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/tls_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_SIZE     4096
#define READ_SIZE_MAX 65536
#define PORT          8883

static void *allocate(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void release(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

const struct mqtt5_allocator tls_rig_allocator = {.alloc = allocate, .free = release};

static void init_side(struct tls_side *side, struct m5_transport *transport)
{
    const struct m5_outbox empty = {.allocator = &tls_rig_allocator};
    *side = (struct tls_side){
        .transport = transport, .out = empty, .plain = empty, .raw = empty, .read_size = READ_SIZE};
}

static void fini_side(struct tls_side *side)
{
    m5_transport_free(side->transport);
    m5_outbox_fini(&side->out);
    m5_outbox_fini(&side->plain);
    m5_outbox_fini(&side->raw);
}

void tls_rig_init(struct tls_rig *rig, struct m5_transport *client, struct m5_transport *server)
{
    init_side(&rig->client, client);
    init_side(&rig->server, server);
}

void tls_rig_fini(struct tls_rig *rig)
{
    fini_side(&rig->client);
    fini_side(&rig->server);
}

static void append(struct m5_outbox *box, const uint8_t *data, size_t size)
{
    if (size > 0 && !m5_outbox_append(box, (struct mqtt5_bytes){.data = data, .len = size}))
        abort();
}

/* What AGAIN promises: there is nothing left, on either side. */
static void check_again(const struct tls_side *side, const struct mqtt5_bytes *wire)
{
    if (wire->len == 0 && !side->transport->pending)
        return;
    fprintf(stderr, "tls: AGAIN with %zu bytes left of the wire\n", wire->len);
    abort();
}

static void read_all(struct tls_side *side, struct mqtt5_bytes wire)
{
    static uint8_t plain[READ_SIZE_MAX];
    do {
        side->last = m5_transport_read(side->transport, &wire, &side->out, plain, side->read_size);
        if (side->last > 0)
            append(&side->plain, plain, (size_t)side->last);
    } while (side->last > 0);
    if (side->last == M5_TRANSPORT_AGAIN)
        check_again(side, &wire);
}

void tls_side_feed(struct tls_side *side, struct mqtt5_bytes bytes)
{
    if (side->last < 0)
        return;
    if (side->transport == NULL) {
        append(&side->raw, bytes.data, bytes.len);
        return;
    }
    /* Of its own size, so that a sanitizer sees reads past the end. */
    uint8_t *copy = malloc(bytes.len > 0 ? bytes.len : 1);
    if (copy == NULL)
        abort();
    if (bytes.len > 0)
        memcpy(copy, bytes.data, bytes.len);
    read_all(side, (struct mqtt5_bytes){.data = copy, .len = bytes.len});
    free(copy);
}

static bool carry(struct m5_outbox *from, struct tls_side *to, size_t piece)
{
    if (from->size == 0)
        return false;
    const struct m5_outbox taken = *from;
    *from = (struct m5_outbox){.allocator = taken.allocator};
    for (size_t at = 0; at < taken.size;) {
        const size_t size = piece < taken.size - at ? piece : taken.size - at;
        tls_side_feed(to, (struct mqtt5_bytes){.data = taken.data + at, .len = size});
        at += size;
    }
    struct m5_outbox gone = taken;
    m5_outbox_fini(&gone);
    return true;
}

void tls_rig_run(struct tls_rig *rig, size_t piece)
{
    bool moved = true;
    if (rig->client.transport != NULL && !rig->client.transport->open)
        tls_side_feed(&rig->client, (struct mqtt5_bytes){0});
    while (moved) {
        moved = carry(&rig->client.out, &rig->server, piece);
        moved = carry(&rig->server.out, &rig->client, piece) || moved;
    }
}

bool tls_rig_is_open(const struct tls_rig *rig)
{
    return rig->client.transport->open && rig->server.transport->open && rig->client.last >= 0 &&
           rig->server.last >= 0;
}

const char *tls_side_failure(const struct tls_side *side)
{
    return side->transport->failure != NULL ? side->transport->failure : "";
}

/* ---- certificates and options ---- */

static struct mqtt5_bytes text_of(const char *text)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

void tls_pki_make(struct tls_pki *pki)
{
    *pki = (struct tls_pki){0};
    test_folder_make(&pki->folder);
    test_certificate_make(
        &pki->root,
        &(struct test_certificate_spec){.common_name = text_of("Test Root"), .is_authority = true});
    test_certificate_make(&pki->intermediate, &(struct test_certificate_spec){
                                                  .common_name = text_of("Test Intermediate"),
                                                  .issuer = &pki->root,
                                                  .is_authority = true});
    test_certificate_make(&pki->server, &(struct test_certificate_spec){
                                            .common_name = text_of("broker.example"),
                                            .names = {{GNUTLS_SAN_DNSNAME, "broker.example", 0},
                                                      {GNUTLS_SAN_DNSNAME, "*.wild.example", 0},
                                                      {GNUTLS_SAN_IPADDRESS, "\x7F\0\0\x01", 4}},
                                            .issuer = &pki->intermediate,
                                            .purpose = TEST_FOR_SERVERS});
    test_certificate_make(&pki->client, &(struct test_certificate_spec){
                                            .common_name = text_of("alice"),
                                            .names = {{GNUTLS_SAN_RFC822NAME, "alice@example", 0}},
                                            .issuer = &pki->root,
                                            .purpose = TEST_FOR_CLIENTS});
    pki->server_chain = test_certificate_chain(&pki->server, &pki->intermediate);
    pki->root_file = strdup(test_folder_write(&pki->folder, "root", test_bytes_of(&pki->root.pem)));
    pki->server_credential =
        (struct mqtt5_tls_credential){.certificate = test_bytes_of(&pki->server_chain),
                                      .key = test_bytes_of(&pki->server.key_pem)};
    pki->client_credential = (struct mqtt5_tls_credential){
        .certificate = test_bytes_of(&pki->client.pem), .key = test_bytes_of(&pki->client.key_pem)};
}

void tls_pki_free(struct tls_pki *pki)
{
    test_certificate_free(&pki->root);
    test_certificate_free(&pki->intermediate);
    test_certificate_free(&pki->server);
    test_certificate_free(&pki->client);
    gnutls_free(pki->server_chain.data);
    free((char *)(uintptr_t)pki->root_file);
    test_folder_free(&pki->folder);
}

struct mqtt5_tls_server_options tls_pki_server(const struct tls_pki *pki)
{
    struct mqtt5_tls_server_options options;
    mqtt5_tls_server_options_init(&options);
    options.credentials = &pki->server_credential;
    options.credential_count = 1;
    return options;
}

struct mqtt5_tls_client_options tls_pki_client(const struct tls_pki *pki)
{
    struct mqtt5_tls_client_options options;
    mqtt5_tls_client_options_init(&options);
    options.ca_file = pki->root_file;
    return options;
}

static struct m5_tls_config *must_have(struct m5_tls_config *config,
                                       const struct m5_tls_error *error)
{
    if (config != NULL)
        return config;
    fprintf(stderr, "tls: %s\n", error->text);
    abort();
}

struct m5_tls_config *tls_client_config(const struct mqtt5_tls_client_options *options)
{
    struct m5_tls_error error;
    return must_have(m5_tls_client_config_new(options, &error), &error);
}

struct m5_tls_config *tls_server_config(const struct mqtt5_tls_server_options *options)
{
    struct m5_tls_error error;
    return must_have(m5_tls_server_config_new(options, M5_TLS_MQTT, &error), &error);
}

void tls_rig_make(struct tls_rig *rig, const struct mqtt5_tls_client_options *client,
                  const struct mqtt5_tls_server_options *server, const char *host)
{
    const struct m5_tls_target target = {.host = host, .port = PORT, .protocol = M5_TLS_MQTT};
    struct m5_tls_config *ours = tls_client_config(client), *theirs = tls_server_config(server);
    tls_rig_init(rig, m5_tls_client_new(ours, &target, NULL, &tls_rig_allocator),
                 m5_tls_server_new(theirs, &tls_rig_allocator));
    if (rig->client.transport == NULL || rig->server.transport == NULL)
        abort();
    m5_tls_config_unref(ours);
    m5_tls_config_unref(theirs);
}
