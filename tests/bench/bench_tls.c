/* What TLS costs a server: our transport beside bare GnuTLS, in the same run, with the same client
 * and certificate. Only the server's side is on the clock.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/tls_rig.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WIRE_MAX   (4u << 20)
#define ROUNDS     5
#define HANDSHAKES 400
#define BATCH      100
#define MESSAGE    64
#define BATCHES    5000
#define BULK       (1u << 20)
#define BULKS      200
#define IDLE       1000
#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:-GROUP-ALL:+GROUP-X25519"

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Bytes on their way to one side. */
struct wire {
    uint8_t *data;
    size_t begin, end;
};

struct bare {
    gnutls_session_t session;
    struct wire *in, *out;
};

static struct wire to_client, to_server;
static struct tls_pki pki;
static gnutls_certificate_credentials_t bare_server, bare_client;
static gnutls_priority_t priorities, server_priorities;
static gnutls_datum_t ticket_key;

static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t size)
{
    struct bare *bare = ptr;
    const size_t left = bare->in->end - bare->in->begin, count = size < left ? size : left;
    if (count == 0) {
        gnutls_transport_set_errno(bare->session, EAGAIN);
        return -1;
    }
    memcpy(data, bare->in->data + bare->in->begin, count);
    bare->in->begin += count;
    if (bare->in->begin == bare->in->end)
        bare->in->begin = bare->in->end = 0;
    return (ssize_t)count;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const void *data, size_t size)
{
    struct bare *bare = ptr;
    if (size > WIRE_MAX - bare->out->end)
        abort();
    memcpy(bare->out->data + bare->out->end, data, size);
    bare->out->end += size;
    return (ssize_t)size;
}

static int pull_at_once(gnutls_transport_ptr_t ptr, unsigned timeout_ms)
{
    (void)ptr;
    (void)timeout_ms;
    return 0;
}

static void start_bare(struct bare *bare, bool is_server)
{
    bare->in = is_server ? &to_server : &to_client;
    bare->out = is_server ? &to_client : &to_server;
    gnutls_init(&bare->session, (is_server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK);
    gnutls_priority_set(bare->session, is_server ? server_priorities : priorities);
    gnutls_credentials_set(bare->session, GNUTLS_CRD_CERTIFICATE,
                           is_server ? bare_server : bare_client);
    gnutls_transport_set_ptr(bare->session, bare);
    gnutls_transport_set_pull_function(bare->session, pull);
    gnutls_transport_set_pull_timeout_function(bare->session, pull_at_once);
    gnutls_transport_set_push_function(bare->session, push);
    gnutls_handshake_set_timeout(bare->session, 0);
    if (is_server)
        gnutls_session_ticket_enable_server(bare->session, &ticket_key);
}

/* A server of either kind. */
struct server {
    struct m5_tls_config *config; /* NULL: bare */
    struct m5_transport *transport;
    struct bare bare;
    struct m5_outbox out;
    double spent_s;
};

static void make_server(struct server *server)
{
    const double begin = now_s();
    if (server->config != NULL)
        server->transport = m5_tls_server_new(server->config, &tls_rig_allocator);
    else
        start_bare(&server->bare, true);
    server->spent_s += now_s() - begin;
}

/* What lies in the wire is handled, the answer put into the other. Plain bytes are counted. */
static size_t turn_of_transport(struct server *server)
{
    static uint8_t plain[65536];
    struct mqtt5_bytes wire =
        m5_bytes(to_server.data + to_server.begin, to_server.end - to_server.begin);
    size_t total = 0;
    ptrdiff_t count = 0;
    server->out.size = 0;
    while ((count =
                m5_transport_read(server->transport, &wire, &server->out, plain, sizeof plain)) > 0)
        total += (size_t)count;
    if (count < 0)
        abort();
    to_server.begin = to_server.end = 0;
    if (server->out.size > 0)
        memcpy(to_client.data + to_client.end, server->out.data, server->out.size);
    to_client.end += server->out.size;
    return total;
}

static bool open_turn(struct server *server, bool *is_open)
{
    const double begin = now_s();
    if (server->config != NULL) {
        turn_of_transport(server);
        *is_open = server->transport->open;
    } else {
        const int result = gnutls_handshake(server->bare.session);
        *is_open = result == 0;
        if (result < 0 && result != GNUTLS_E_AGAIN)
            abort();
    }
    server->spent_s += now_s() - begin;
    return *is_open;
}

static void free_server(struct server *server)
{
    const double begin = now_s();
    if (server->config != NULL)
        m5_transport_free(server->transport);
    else
        gnutls_deinit(server->bare.session);
    server->spent_s += now_s() - begin;
}

/* A connection; @p ticket goes in and, if it is empty, comes out. */
static void open_both(struct server *server, struct bare *client, gnutls_datum_t *ticket)
{
    bool is_open = false;
    to_client = (struct wire){.data = to_client.data};
    to_server = (struct wire){.data = to_server.data};
    start_bare(client, false);
    if (ticket != NULL && ticket->data != NULL)
        gnutls_session_set_data(client->session, ticket->data, ticket->size);
    make_server(server);
    int result = gnutls_handshake(client->session);
    while (!open_turn(server, &is_open) || result != 0) {
        if (result != 0)
            result = gnutls_handshake(client->session);
        if (result < 0 && result != GNUTLS_E_AGAIN)
            abort();
    }
    if (ticket != NULL && ticket->data == NULL) {
        uint8_t byte;
        gnutls_record_recv(client->session, &byte, 1);
        gnutls_session_get_data2(client->session, ticket);
    }
    if (ticket == NULL && gnutls_session_is_resumed(client->session) != 0)
        abort();
}

static double handshakes_per_s(struct server *server, bool is_resumed)
{
    gnutls_datum_t ticket = {0};
    struct bare client;
    if (is_resumed) {
        open_both(server, &client, &ticket);
        free_server(server);
        gnutls_deinit(client.session);
    }
    server->spent_s = 0;
    for (int i = 0; i < HANDSHAKES; i++) {
        open_both(server, &client, is_resumed ? &ticket : NULL);
        if ((gnutls_session_is_resumed(client.session) != 0) != is_resumed)
            abort();
        free_server(server);
        gnutls_deinit(client.session);
    }
    gnutls_free(ticket.data);
    return HANDSHAKES / server->spent_s;
}

/* ---- data ---- */

static void drain(struct bare *client)
{
    static uint8_t plain[65536];
    while (gnutls_record_recv(client->session, plain, sizeof plain) > 0) {
    }
}

static void send_bare(struct bare *bare, const uint8_t *data, size_t size)
{
    while (size > 0) {
        const ssize_t sent = gnutls_record_send(bare->session, data, size);
        if (sent <= 0)
            abort();
        data += sent;
        size -= (size_t)sent;
    }
}

/* How a batch of views is written. */
enum way { WHOLE, EACH };

static void write_batch(struct server *server, const struct mqtt5_bytes *views, size_t count,
                        enum way way)
{
    static uint8_t gathered[BATCH * MESSAGE];
    if (server->config != NULL) {
        server->out.size = 0;
        if (!m5_transport_write(server->transport, views, count, &server->out))
            abort();
        return;
    }
    uint8_t *end = gathered;
    for (size_t i = 0; i < count; i++) {
        if (way == EACH || count == 1)
            send_bare(&server->bare, views[i].data, views[i].len);
        else
            end = m5_copy(end, views[i]);
    }
    if (end != gathered)
        send_bare(&server->bare, gathered, (size_t)(end - gathered));
}

/* Seconds the server needs to write @p rounds times these views. */
static double write_s(struct server *server, const struct mqtt5_bytes *views, size_t count,
                      int rounds, enum way way)
{
    struct bare client;
    open_both(server, &client, NULL);
    drain(&client);
    double spent = 0;
    for (int i = 0; i < rounds; i++) {
        const double begin = now_s();
        write_batch(server, views, count, way);
        spent += now_s() - begin;
        to_client = (struct wire){.data = to_client.data};
    }
    free_server(server);
    gnutls_deinit(client.session);
    return spent;
}

/* Seconds the server needs to read what the client sends @p rounds times. */
static double read_s(struct server *server, const uint8_t *data, size_t size, int rounds)
{
    static uint8_t plain[65536];
    struct bare client;
    open_both(server, &client, NULL);
    double spent = 0;
    for (int i = 0; i < rounds; i++) {
        size_t total = 0;
        send_bare(&client, data, size);
        const double begin = now_s();
        if (server->config != NULL)
            total = turn_of_transport(server);
        for (ssize_t count = 0; server->config == NULL && total < size; total += (size_t)count) {
            count = gnutls_record_recv(server->bare.session, plain, sizeof plain);
            if (count <= 0)
                abort();
        }
        spent += now_s() - begin;
        if (total != size)
            abort();
    }
    free_server(server);
    gnutls_deinit(client.session);
    return spent;
}

/* ---- memory ---- */

static double idle_bytes(struct server *servers, struct m5_tls_config *config)
{
    struct bare client;
    uint8_t data[200] = {0};
    const struct mqtt5_bytes view = m5_bytes(data, sizeof data);
    struct mallinfo2 before = {0}, after = {0};
    for (int i = 0; i < IDLE; i++) {
        if (i == 10)
            before = mallinfo2();
        servers[i] = (struct server){.config = config, .out = {.allocator = &tls_rig_allocator}};
        open_both(&servers[i], &client, NULL);
        send_bare(&client, data, sizeof data);
        if (config != NULL)
            turn_of_transport(&servers[i]);
        else if (gnutls_record_recv(servers[i].bare.session, data, sizeof data) <= 0)
            abort();
        write_batch(&servers[i], &view, 1, WHOLE);
        m5_outbox_fini(&servers[i].out); /* the host has one for all */
        gnutls_deinit(client.session);
    }
    after = mallinfo2();
    for (int i = 0; i < IDLE; i++)
        free_server(&servers[i]);
    return (double)(after.uordblks - before.uordblks) / (IDLE - 10);
}

/* ---- all of it ---- */

static int by_value(const void *a, const void *b)
{
    const double first = *(const double *)a, second = *(const double *)b;
    return first < second ? -1 : first > second;
}

/* One line: the medians of both, and their ratio. */
static void tell(const char *what, const char *unit, double *ours, double *bare)
{
    qsort(ours, ROUNDS, sizeof *ours, by_value);
    qsort(bare, ROUNDS, sizeof *bare, by_value);
    const double a = ours[ROUNDS / 2], b = bare[ROUNDS / 2];
    printf("%-40s %10.0f %10.0f %-8s %5.2f\n", what, a, b, unit, a / b);
}

static void bench_handshakes(struct server *ours, struct server *bare, const char *key)
{
    double a[ROUNDS], b[ROUNDS];
    char what[64];
    for (int is_resumed = 0; is_resumed < 2; is_resumed++) {
        for (int i = 0; i < ROUNDS; i++) {
            a[i] = handshakes_per_s(ours, is_resumed != 0);
            b[i] = handshakes_per_s(bare, is_resumed != 0);
        }
        snprintf(what, sizeof what, "%s handshakes, %s", is_resumed ? "resumed" : "full", key);
        tell(what, "/s", a, b);
    }
}

static void bench_data(struct server *ours, struct server *bare)
{
    static uint8_t data[BULK];
    struct mqtt5_bytes views[BATCH], bulk = m5_bytes(data, sizeof data);
    double a[ROUNDS], b[ROUNDS], c[ROUNDS], one[ROUNDS], one_bare[ROUNDS];
    for (size_t i = 0; i < BATCH; i++)
        views[i] = m5_bytes(data + i * MESSAGE, MESSAGE);
    for (int i = 0; i < ROUNDS; i++) {
        a[i] = write_s(ours, views, BATCH, BATCHES, WHOLE) * 1e9 / BATCH / BATCHES;
        b[i] = write_s(bare, views, BATCH, BATCHES, WHOLE) * 1e9 / BATCH / BATCHES;
        c[i] = write_s(bare, views, BATCH, BATCHES / 10, EACH) * 1e10 / BATCH / BATCHES;
        one[i] = write_s(ours, views, 1, BATCHES, WHOLE) * 1e9 / BATCHES;
        one_bare[i] = write_s(bare, views, 1, BATCHES, WHOLE) * 1e9 / BATCHES;
    }
    double copy[ROUNDS];
    memcpy(copy, a, sizeof copy);
    tell("write 64 B, batches of 100, one record", "ns", a, b);
    tell("  the same, bare: a record each", "ns", copy, c);
    tell("write 64 B, alone", "ns", one, one_bare);
    for (int i = 0; i < ROUNDS; i++) {
        a[i] = read_s(ours, data, BATCH * MESSAGE, BATCHES) * 1e9 / BATCH / BATCHES;
        b[i] = read_s(bare, data, BATCH * MESSAGE, BATCHES) * 1e9 / BATCH / BATCHES;
        one[i] = BULK / 1e6 * BULKS / write_s(ours, &bulk, 1, BULKS, WHOLE);
        one_bare[i] = BULK / 1e6 * BULKS / write_s(bare, &bulk, 1, BULKS, WHOLE);
    }
    tell("read 64 B, batches of 100", "ns", a, b);
    tell("write 1 MiB", "MB/s", one, one_bare);
    for (int i = 0; i < ROUNDS; i++) {
        a[i] = BULK / 1e6 * BULKS / read_s(ours, data, BULK, BULKS);
        b[i] = BULK / 1e6 * BULKS / read_s(bare, data, BULK, BULKS);
    }
    tell("read 1 MiB", "MB/s", a, b);
}

static void set_up(void)
{
    tls_pki_make(&pki);
    to_client.data = malloc(WIRE_MAX);
    to_server.data = malloc(WIRE_MAX);
    gnutls_certificate_allocate_credentials(&bare_server);
    gnutls_certificate_allocate_credentials(&bare_client);
    gnutls_certificate_set_x509_key_mem2(bare_server, &pki.server_chain, &pki.server.key_pem,
                                         GNUTLS_X509_FMT_PEM, NULL, 0);
    gnutls_session_ticket_key_generate(&ticket_key);
    if (to_client.data == NULL || to_server.data == NULL ||
        gnutls_priority_init(&priorities, PRIORITIES, NULL) != 0 ||
        gnutls_priority_init(&server_priorities, "NORMAL", NULL) != 0)
        abort();
}

int main(void)
{
    static struct server servers[IDLE];
    set_up();
    const struct mqtt5_tls_server_options options = tls_pki_server(&pki);
    struct server ours = {.config = tls_server_config(&options),
                          .out = {.allocator = &tls_rig_allocator}};
    struct server bare = {0};
    printf("%-40s %10s %10s %-8s %5s\n", "TLS 1.3, X25519, AES-128-GCM", "ours", "bare", "",
           "ratio");
    bench_handshakes(&ours, &bare, "ECDSA P-256");
    bench_data(&ours, &bare);
    const double mine = idle_bytes(servers, ours.config), theirs = idle_bytes(servers, NULL);
    printf("%-40s %10.0f %10.0f %-8s %5.2f\n", "idle connection", mine, theirs, "bytes",
           mine / theirs);
    m5_outbox_fini(&ours.out);
    m5_tls_config_unref(ours.config);
    gnutls_certificate_free_credentials(bare_server);
    gnutls_certificate_free_credentials(bare_client);
    gnutls_priority_deinit(priorities);
    gnutls_priority_deinit(server_priorities);
    gnutls_free(ticket_key.data);
    free(to_client.data);
    free(to_server.data);
    tls_pki_free(&pki);
    return 0;
}
