/* One connection of TLS, on the server's or the client's side.
 *
 * GnuTLS is given functions in place of a socket: it pulls from the view that a call of read() was
 * given, and pushes to the outbox, which takes everything. So nothing it does is ever half done but
 * for want of input. Between calls it holds no more than an incomplete record; what it has
 * decrypted and nobody has read yet is told by `pending`.
 *
 * A failure is found once: in read(), the alert for the peer goes to the outbox and the sentence
 * for us to `failure`. Certificates are verified when they come, so that the alert says what is
 * wrong with them, and again when a session is resumed, for its ticket may be older than what the
 * clock allows.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "transport/tls/config.h"
#include "transport/tls/failure.h"
#include "transport/tls/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define RECORD_SIZE_MAX       16384u /* plain bytes of a record (RFC 8446, 5.1) */
#define RECORD_OVERHEAD_MAX   64u    /* bytes: header, nonce, tag, padding */
#define SERVER_SILENCE_MAX    65536u /* bytes from a client in which there is no message */
#define CLIENT_SILENCE_MAX    262144u
#define TICKET_LIFETIME_S     7200u /* their keys change after three times that */
#define RECORD_TYPE_ALERT     21
#define RECORD_TYPE_HANDSHAKE 22
#define PEER_ENDED            GNUTLS_E_PREMATURE_TERMINATION /* by close_notify */
#define HOST_SIZE_MAX         255u

struct connection {
    struct m5_transport transport;
    const struct mqtt5_allocator *allocator;
    struct m5_tls_config *config;
    gnutls_session_t session;
    struct mqtt5_bytes *wire; /* during read() */
    struct m5_outbox *out;    /* during a call that may write */
    char *host;               /* client: who the server has to be; else NULL */
    size_t host_size;         /* with its zero */
    char *sentence;           /* M5_TLS_SENTENCE_SIZE bytes, once something was to be explained */
    struct m5_tls_resumption *resumption;
    size_t silent; /* wire bytes taken since there were plain ones */
    int deferred;  /* what follows the plain bytes that read() gave last: a code of GnuTLS, or 0 */
    gnutls_alert_description_t alert; /* for the failure of `sentence` */
    bool begun, failed, ended;
};

static const struct m5_transport_kind tls_kind;

static struct connection *connection_of(struct m5_transport *transport)
{
    M5_ASSERT(transport->kind == &tls_kind);
    return (struct connection *)transport;
}

/* ---- what GnuTLS calls ---- */

/* Messages of a handshake may have 16 MiB by their length, and GnuTLS keeps what it has of one. */
static size_t silence_max(const struct connection *connection)
{
    return connection->config->is_server ? SERVER_SILENCE_MAX : CLIENT_SILENCE_MAX;
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t size)
{
    struct connection *connection = ptr;
    struct mqtt5_bytes *wire = connection->wire;
    if (wire == NULL || wire->len == 0) {
        gnutls_transport_set_errno(connection->session, EAGAIN);
        return -1;
    }
    const size_t count = size < wire->len ? size : wire->len;
    connection->silent += count;
    if (connection->silent > silence_max(connection)) {
        gnutls_transport_set_errno(connection->session, EMSGSIZE);
        return -1;
    }
    memcpy(data, wire->data, count);
    *wire = m5_bytes(wire->data + count, wire->len - count);
    return (ssize_t)count;
}

static int pull_at_once(gnutls_transport_ptr_t ptr, unsigned timeout_ms)
{
    const struct connection *connection = ptr;
    (void)timeout_ms;
    return connection->wire != NULL && connection->wire->len > 0;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const giovec_t *views, int count)
{
    struct connection *connection = ptr;
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        if (connection->out == NULL ||
            !m5_outbox_append(connection->out, m5_bytes(views[i].iov_base, views[i].iov_len))) {
            gnutls_transport_set_errno(connection->session, ENOMEM);
            return -1;
        }
        size += views[i].iov_len;
    }
    return (ssize_t)size;
}

/* The certificate with the name that the client asks for, else the first. */
static int choose_certificate(gnutls_session_t session)
{
    const struct connection *connection = gnutls_session_get_ptr(session);
    const struct m5_tls_config *config = connection->config;
    char name[M5_TLS_NAME_SIZE];
    size_t size = sizeof name;
    unsigned type = 0;
    if (gnutls_server_name_get(session, name, &size, &type, 0) < 0 || type != GNUTLS_NAME_DNS)
        return 0;
    for (size_t i = 0; i < config->pair_count; i++) {
        if (m5_tls_pair_is_for(&config->pairs[i], name))
            return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, config->certificates[i]);
    }
    return 0;
}

static int log_key(gnutls_session_t session, const char *label, const gnutls_datum_t *secret)
{
    static const char digits[] = "0123456789abcdef";
    const struct connection *connection = gnutls_session_get_ptr(session);
    gnutls_datum_t client_random, server_random;
    char line[512];
    gnutls_session_get_random(session, &client_random, &server_random);
    if (strlen(label) > 64 || client_random.size != 32 || secret->size > 128)
        return 0;
    int size = snprintf(line, sizeof line, "%s ", label);
    for (unsigned i = 0; i < client_random.size; i++) {
        line[size++] = digits[client_random.data[i] >> 4];
        line[size++] = digits[client_random.data[i] & 15];
    }
    line[size++] = ' ';
    for (unsigned i = 0; i < secret->size; i++) {
        line[size++] = digits[secret->data[i] >> 4];
        line[size++] = digits[secret->data[i] & 15];
    }
    line[size++] = '\n';
    const ssize_t written = write(connection->config->keylog, line, (size_t)size);
    gnutls_memset(line, 0, sizeof line);
    (void)written; /* a log for debugging that has no room left is no reason to end connections */
    return 0;
}

/* ---- verification ---- */

/* Room for a sentence; NULL without memory. */
static char *sentence_of(struct connection *connection)
{
    if (connection->sentence == NULL)
        connection->sentence = m5_alloc(connection->allocator, M5_TLS_SENTENCE_SIZE);
    return connection->sentence;
}

/* Notes why the handshake has to end. */
static int refuse(struct connection *connection, gnutls_alert_description_t alert, char *why)
{
    connection->alert = alert;
    connection->transport.failure = why;
    return GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
}

static int check_trust(struct connection *connection)
{
    char *why = sentence_of(connection);
    unsigned status = 0;
    gnutls_typed_vdata_st wanted[2] = {
        {.type = GNUTLS_DT_KEY_PURPOSE_OID,
         .data = (unsigned char *)(connection->config->is_server ? GNUTLS_KP_TLS_WWW_CLIENT
                                                                 : GNUTLS_KP_TLS_WWW_SERVER)},
        {.type = GNUTLS_DT_DNS_HOSTNAME, .data = (unsigned char *)connection->host}};
    const unsigned count = connection->host != NULL ? 2 : 1;
    if (why == NULL)
        return GNUTLS_E_MEMORY_ERROR;
    const int result = gnutls_certificate_verify_peers(connection->session, wanted, count, &status);
    if (result < 0) {
        m5_tls_print(why, M5_TLS_SENTENCE_SIZE, "the certificate of the %s cannot be verified: %s",
                     connection->config->is_server ? "client" : "server", gnutls_strerror(result));
        return refuse(connection, GNUTLS_A_BAD_CERTIFICATE, why);
    }
    if (status == 0)
        return 0;
    return refuse(connection, m5_tls_explain(connection->session, status, connection->host, why),
                  why);
}

/* A certificate that proves no user where one is wanted is not let in. */
static int check_identity(struct connection *connection)
{
    char name[M5_TLS_NAME_SIZE];
    char *why = sentence_of(connection);
    gnutls_x509_crt_t certificate = m5_tls_certificate_of(connection->session);
    if (certificate == NULL || why == NULL) {
        if (certificate != NULL)
            gnutls_x509_crt_deinit(certificate);
        return GNUTLS_E_MEMORY_ERROR;
    }
    const bool is_known = m5_tls_identify(connection->config, certificate, name, why);
    gnutls_x509_crt_deinit(certificate);
    return is_known ? 0 : refuse(connection, GNUTLS_A_ACCESS_DENIED, why);
}

/* 0, or a code with which the handshake fails. */
static int check_peer(struct connection *connection)
{
    const struct m5_tls_config *config = connection->config;
    if (config->is_insecure)
        return 0;
    int result = check_trust(connection);
    if (result == 0 && config->is_server && config->identity != MQTT5_TLS_IDENTITY_NONE)
        result = check_identity(connection);
    if (result == 0) {
        m5_free(connection->allocator, connection->sentence, M5_TLS_SENTENCE_SIZE);
        connection->sentence = NULL;
    }
    return result;
}

static bool has_certificate(const struct connection *connection)
{
    unsigned count = 0;
    return gnutls_certificate_get_peers(connection->session, &count) != NULL && count > 0;
}

/* GnuTLS calls it, too, when an optional certificate has not come. */
static int verify(gnutls_session_t session)
{
    struct connection *connection = gnutls_session_get_ptr(session);
    const struct m5_tls_config *config = connection->config;
    if (!config->is_server || has_certificate(connection))
        return check_peer(connection);
    return config->client_certificate == MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED
               ? GNUTLS_E_CERTIFICATE_REQUIRED
               : 0;
}

/* A session that was resumed brings what was presented when it began. */
static int check_resumed(struct connection *connection)
{
    return gnutls_session_is_resumed(connection->session) != 0 && has_certificate(connection)
               ? check_peer(connection)
               : 0;
}

/* ---- reading ---- */

/* Takes the session's ticket once it has come. */
static void keep_ticket(struct connection *connection)
{
    struct m5_tls_resumption *slot = connection->resumption;
    gnutls_datum_t data = {0};
    if (slot == NULL ||
        (gnutls_session_get_flags(connection->session) & GNUTLS_SFLAGS_SESSION_TICKET) == 0)
        return;
    connection->resumption = NULL;
    if (gnutls_session_get_data2(connection->session, &data) < 0)
        return;
    m5_tls_resumption_fini(slot);
    slot->data = malloc(data.size);
    if (slot->data != NULL) {
        memcpy(slot->data, data.data, data.size);
        slot->size = data.size;
    }
    gnutls_memset(data.data, 0, data.size);
    gnutls_free(data.data);
}

/* To a server that wants TLS 1.3, GnuTLS says of a client that does not have it that its ciphers do
 * not fit. */
static bool is_too_old(const struct connection *connection, int code)
{
    return code == GNUTLS_E_NO_CIPHER_SUITES && connection->config->version_min == MQTT5_TLS_1_3 &&
           gnutls_protocol_get_version(connection->session) != GNUTLS_TLS1_3;
}

/* The alert for @p code, 0 for none. */
static int alert_for(const struct connection *connection, int code)
{
    int level = 0;
    if (connection->alert != 0)
        return (int)connection->alert;
    switch (code) {
    case GNUTLS_E_FATAL_ALERT_RECEIVED:
    case GNUTLS_E_PUSH_ERROR: return 0;
    case GNUTLS_E_NO_CERTIFICATE_FOUND: /* GnuTLS would say decode_error */
    case GNUTLS_E_CERTIFICATE_REQUIRED:
        return gnutls_protocol_get_version(connection->session) == GNUTLS_TLS1_3
                   ? GNUTLS_A_CERTIFICATE_REQUIRED
                   : GNUTLS_A_HANDSHAKE_FAILURE; /* RFC 5246, 7.4.6 */
    default: return gnutls_error_to_alert(code, &level);
    }
}

/* Ends the connection: the peer is told by an alert, we are told by a sentence. */
static ptrdiff_t fail(struct connection *connection, int code)
{
    connection->failed = true;
    if (is_too_old(connection, code))
        code = GNUTLS_E_UNSUPPORTED_VERSION_PACKET;
    if (connection->transport.failure == NULL)
        connection->transport.failure =
            m5_tls_failure(connection->session, code, connection->config->is_server);
    const int alert = alert_for(connection, code);
    if (alert > 0)
        gnutls_alert_send(connection->session,
                          alert == GNUTLS_A_NO_RENEGOTIATION ? GNUTLS_AL_WARNING : GNUTLS_AL_FATAL,
                          (gnutls_alert_description_t)alert);
    return M5_TRANSPORT_FAILED;
}

/* True when the peer's first byte begins a record of a handshake (or an alert). Otherwise it does
 * not speak TLS, and would not understand an alert. */
static bool is_tls(struct connection *connection)
{
    if (connection->begun || connection->wire->len == 0)
        return true;
    connection->begun = true;
    const uint8_t first = connection->wire->data[0];
    if (first == RECORD_TYPE_HANDSHAKE || first == RECORD_TYPE_ALERT)
        return true;
    connection->failed = true;
    connection->transport.failure =
        connection->config->is_server
            ? "the client does not speak TLS; is it meant for a port without encryption?"
            : "the server does not speak TLS here; is this its port without encryption?";
    return false;
}

/* True when a step has to be taken again: it was interrupted, or has dealt with a message that is
 * none of ours while there is more in `wire`, of which there were @p left bytes before it. */
static bool goes_on(const struct connection *connection, ptrdiff_t result, size_t left)
{
    return result == GNUTLS_E_INTERRUPTED || result == GNUTLS_E_WARNING_ALERT_RECEIVED ||
           (result == GNUTLS_E_AGAIN && connection->wire->len > 0 && connection->wire->len < left);
}

/* One ticket is enough for a client that comes back, and it goes out now: an answer to the last
 * message of the handshake keeps clients without TCP_NODELAY from waiting for an ACK. */
static int send_ticket(struct connection *connection)
{
    const struct m5_tls_config *config = connection->config;
    if (!config->is_server || !config->keeps_tickets ||
        gnutls_protocol_get_version(connection->session) != GNUTLS_TLS1_3)
        return 0;
    return gnutls_session_ticket_send(connection->session, 1, 0);
}

/* 0 once everything is agreed upon and verified. */
static int shake_hands(struct connection *connection)
{
    int result = 0;
    size_t left = 0;
    do {
        left = connection->wire->len;
        result = gnutls_handshake(connection->session);
    } while (goes_on(connection, result, left));
    if (result != 0)
        return result;
    result = check_resumed(connection);
    if (result == 0)
        result = send_ticket(connection);
    connection->transport.open = result == 0;
    return result;
}

/* Plain bytes, or a code of GnuTLS. */
static ptrdiff_t receive(struct connection *connection, uint8_t *plain, size_t size)
{
    ssize_t result = 0;
    size_t left = 0;
    do {
        left = connection->wire->len;
        result = gnutls_record_recv(connection->session, plain, size);
    } while (goes_on(connection, result, left));
    return result != 0 ? result : PEER_ENDED;
}

/* As much as there is of it, of however many records. */
static ptrdiff_t receive_all(struct connection *connection, uint8_t *plain, size_t size)
{
    size_t used = 0;
    while (used < size) {
        const ptrdiff_t result = receive(connection, plain + used, size - used);
        if (result < 0 && used == 0)
            return result;
        if (result < 0) {
            connection->deferred = result == GNUTLS_E_AGAIN ? 0 : (int)result;
            break;
        }
        used += (size_t)result;
        connection->silent = 0;
    }
    connection->transport.pending =
        connection->deferred != 0 || gnutls_record_check_pending(connection->session) > 0;
    return (ptrdiff_t)used;
}

static ptrdiff_t finish_read(struct connection *connection, ptrdiff_t result)
{
    if (result == PEER_ENDED) {
        connection->ended = true;
        return M5_TRANSPORT_CLOSED;
    }
    if (result == GNUTLS_E_AGAIN && connection->wire->len > 0)
        return fail(connection, GNUTLS_E_INTERNAL_ERROR);
    if (result == GNUTLS_E_AGAIN)
        return M5_TRANSPORT_AGAIN;
    return result >= 0 ? result : fail(connection, (int)result);
}

static ptrdiff_t read_plain(struct connection *connection, uint8_t *plain, size_t size)
{
    ptrdiff_t result = connection->deferred;
    if (result == 0 && !connection->transport.open)
        result = shake_hands(connection);
    if (result == 0)
        result = receive_all(connection, plain, size);
    if (connection->transport.open && connection->resumption != NULL)
        keep_ticket(connection);
    return result;
}

static ptrdiff_t tls_read(struct m5_transport *transport, struct mqtt5_bytes *wire,
                          struct m5_outbox *out, uint8_t *plain, size_t size)
{
    struct connection *connection = connection_of(transport);
    M5_ASSERT(!connection->failed && !connection->ended && size > 0);
    ptrdiff_t result = 0;
    connection->wire = wire;
    connection->out = out;
    if (!is_tls(connection))
        result = M5_TRANSPORT_FAILED;
    else
        result = finish_read(connection, read_plain(connection, plain, size));
    connection->wire = NULL;
    connection->out = NULL;
    return result;
}

/* ---- writing ---- */

static bool send_all(struct connection *connection, const uint8_t *data, size_t size)
{
    while (size > 0) {
        const ssize_t sent = gnutls_record_send(connection->session, data, size);
        if (sent <= 0)
            return false;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Full records, whatever the views are: short ones are gathered, long ones go as they are. */
static bool send_views(struct connection *connection, const struct mqtt5_bytes *views, size_t count)
{
    uint8_t record[RECORD_SIZE_MAX];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        struct mqtt5_bytes rest = views[i];
        while (rest.len > 0) {
            const size_t whole = rest.len - rest.len % RECORD_SIZE_MAX;
            if (used == 0 && whole > 0) {
                if (!send_all(connection, rest.data, whole))
                    return false;
                rest = m5_bytes(rest.data + whole, rest.len - whole);
                continue;
            }
            const size_t room = RECORD_SIZE_MAX - used;
            const size_t taken = rest.len < room ? rest.len : room;
            memcpy(record + used, rest.data, taken);
            used += taken;
            rest = m5_bytes(rest.data + taken, rest.len - taken);
            if (used == RECORD_SIZE_MAX && !send_all(connection, record, used))
                return false;
            used %= RECORD_SIZE_MAX;
        }
    }
    return send_all(connection, record, used);
}

static bool tls_write(struct m5_transport *transport, const struct mqtt5_bytes *views, size_t count,
                      struct m5_outbox *out)
{
    struct connection *connection = connection_of(transport);
    size_t size = 0;
    M5_ASSERT(transport->open);
    if (connection->failed)
        return false;
    for (size_t i = 0; i < count; i++)
        size += views[i].len;
    if (m5_outbox_reserve(out, size + (size / RECORD_SIZE_MAX + 1) * RECORD_OVERHEAD_MAX) == NULL)
        return false;
    connection->out = out;
    const bool done = count == 1 ? send_all(connection, views[0].data, views[0].len)
                                 : send_views(connection, views, count);
    connection->out = NULL;
    connection->failed = !done;
    return done;
}

static void tls_finish(struct m5_transport *transport, struct m5_outbox *out)
{
    struct connection *connection = connection_of(transport);
    if (!transport->open || connection->failed)
        return;
    connection->out = out;
    gnutls_bye(connection->session, GNUTLS_SHUT_WR);
    connection->out = NULL;
}

/* ---- life ---- */

static void tls_free(struct m5_transport *transport)
{
    struct connection *connection = connection_of(transport);
    const struct mqtt5_allocator *allocator = connection->allocator;
    if (connection->session != NULL)
        gnutls_deinit(connection->session);
    m5_tls_config_unref(connection->config);
    m5_free(allocator, connection->sentence, M5_TLS_SENTENCE_SIZE);
    m5_free(allocator, connection->host, connection->host_size);
    m5_free(allocator, connection, sizeof *connection);
}

static const struct m5_transport_kind tls_kind = {
    .name = "tls", .read = tls_read, .write = tls_write, .finish = tls_finish, .free = tls_free};

static bool start_session(struct connection *connection, unsigned flags)
{
    struct m5_tls_config *config = connection->config;
    gnutls_session_t *session = &connection->session;
    flags |= GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL;
    if (gnutls_init(session, config->keeps_tickets ? flags : flags | GNUTLS_NO_TICKETS) < 0) {
        *session = NULL;
        return false;
    }
    gnutls_session_set_ptr(*session, connection);
    gnutls_db_set_ptr(*session, config); /* what give_key() looks for; there is no database */
    gnutls_transport_set_ptr(*session, connection);
    gnutls_transport_set_pull_function(*session, pull);
    gnutls_transport_set_pull_timeout_function(*session, pull_at_once);
    gnutls_transport_set_vec_push_function(*session, push);
    gnutls_handshake_set_timeout(*session, 0);
    gnutls_session_set_verify_function(*session, verify);
    if (config->keylog >= 0)
        gnutls_session_set_keylog_function(*session, log_key);
    return gnutls_priority_set(*session, config->priorities) >= 0 &&
           gnutls_credentials_set(*session, GNUTLS_CRD_CERTIFICATE, config->certificates[0]) >= 0;
}

static struct connection *make_connection(struct m5_tls_config *config,
                                          const struct mqtt5_allocator *allocator)
{
    struct connection *connection = m5_alloc_zero(allocator, sizeof *connection);
    if (connection == NULL)
        return NULL;
    connection->transport.kind = &tls_kind;
    connection->allocator = allocator;
    connection->config = m5_tls_config_ref(config);
    return connection;
}

static struct m5_transport *made(struct connection *connection, bool is_done)
{
    if (is_done)
        return &connection->transport;
    tls_free(&connection->transport);
    return NULL;
}

static bool offer(gnutls_session_t session, const char *protocol, unsigned flags)
{
    const gnutls_datum_t name = {.data = (unsigned char *)(uintptr_t)protocol,
                                 .size = (unsigned)strlen(protocol)};
    return gnutls_alpn_set_protocols(session, &name, 1, flags) >= 0;
}

static const char *protocol_name(enum m5_tls_protocol protocol)
{
    return protocol == M5_TLS_HTTP ? "http/1.1" : "mqtt";
}

static bool start_server(struct connection *connection)
{
    static const gnutls_certificate_request_t requests[] = {
        [MQTT5_TLS_CLIENT_CERTIFICATE_NONE] = GNUTLS_CERT_IGNORE,
        [MQTT5_TLS_CLIENT_CERTIFICATE_OPTIONAL] = GNUTLS_CERT_REQUEST,
        [MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED] = GNUTLS_CERT_REQUIRE};
    const struct m5_tls_config *config = connection->config;
    gnutls_session_t session = connection->session;
    gnutls_certificate_server_set_request(session, requests[config->client_certificate]);
    gnutls_db_set_cache_expiration(session, TICKET_LIFETIME_S);
    if (config->pair_count > 1)
        gnutls_handshake_set_post_client_hello_function(session, choose_certificate);
    if (config->server_psk != NULL &&
        gnutls_credentials_set(session, GNUTLS_CRD_PSK, config->server_psk) < 0)
        return false;
    if (config->keeps_tickets &&
        gnutls_session_ticket_enable_server(session, &config->ticket_key) < 0)
        return false;
    return offer(session, protocol_name(config->protocol), GNUTLS_ALPN_MANDATORY);
}

struct m5_transport *m5_tls_server_new(struct m5_tls_config *config,
                                       const struct mqtt5_allocator *allocator)
{
    M5_ASSERT(config->is_server);
    struct connection *connection = make_connection(config, allocator);
    if (connection == NULL)
        return NULL;
    return made(connection, start_session(connection, GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET) &&
                                start_server(connection));
}

static bool ends_with(const char *text, const char *end)
{
    const size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcasecmp(text + size - end_size, end) == 0;
}

/* What a client asks for: at AWS IoT, MQTT on the port of HTTPS is told by a name of their own. */
static const char *alpn_of(const struct m5_tls_config *config, const struct m5_tls_target *target)
{
    const bool is_aws =
        ends_with(target->host, ".amazonaws.com") || ends_with(target->host, ".amazonaws.com.cn");
    if (config->alpn != NULL)
        return config->alpn;
    if (target->protocol == M5_TLS_MQTT && is_aws && target->port == 443 &&
        strcasestr(target->host, ".iot.") != NULL)
        return "x-amzn-mqtt-ca";
    return protocol_name(target->protocol);
}

static bool is_address(const char *host)
{
    uint8_t address[16];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

/* Copies the name without the dot that says it is complete. */
static bool copy_host(struct connection *connection, const char *host)
{
    size_t size = strlen(host);
    if (size > 1 && host[size - 1] == '.')
        size--;
    if (size == 0 || size > HOST_SIZE_MAX)
        return false;
    connection->host = m5_alloc(connection->allocator, size + 1);
    if (connection->host == NULL)
        return false;
    connection->host_size = size + 1;
    memcpy(connection->host, host, size);
    connection->host[size] = 0;
    return true;
}

static bool start_client(struct connection *connection, const struct m5_tls_target *target)
{
    const struct m5_tls_config *config = connection->config;
    const struct m5_tls_resumption *slot = connection->resumption;
    gnutls_session_t session = connection->session;
    const char *alpn = alpn_of(config, target);
    if (!copy_host(connection, config->server_name != NULL ? config->server_name : target->host))
        return false;
    if (!is_address(connection->host) &&
        gnutls_server_name_set(session, GNUTLS_NAME_DNS, connection->host,
                               connection->host_size - 1) < 0)
        return false;
    if (config->client_psk != NULL &&
        gnutls_credentials_set(session, GNUTLS_CRD_PSK, config->client_psk) < 0)
        return false;
    if (slot != NULL && slot->data != NULL)
        gnutls_session_set_data(session, slot->data, slot->size); /* or a full handshake */
    return alpn[0] == 0 || offer(session, alpn, 0);
}

struct m5_transport *m5_tls_client_new(struct m5_tls_config *config,
                                       const struct m5_tls_target *target,
                                       struct m5_tls_resumption *resumption,
                                       const struct mqtt5_allocator *allocator)
{
    M5_ASSERT(!config->is_server);
    struct connection *connection = make_connection(config, allocator);
    if (connection == NULL)
        return NULL;
    connection->resumption = resumption;
    return made(connection, start_session(connection, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT) &&
                                start_client(connection, target));
}

void m5_tls_resumption_fini(struct m5_tls_resumption *resumption)
{
    if (resumption->data != NULL)
        gnutls_memset(resumption->data, 0, resumption->size);
    free(resumption->data);
    *resumption = (struct m5_tls_resumption){0};
}

/* ---- who is there ---- */

static void tell_session(gnutls_session_t session, struct m5_tls_peer *out)
{
    char name[M5_TLS_NAME_SIZE];
    size_t size = sizeof name;
    unsigned type = 0;
    gnutls_datum_t alpn = {0}, identity = {0};
    out->version = gnutls_protocol_get_name(gnutls_protocol_get_version(session));
    out->cipher_suite = gnutls_ciphersuite_get(session);
    out->resumed = gnutls_session_is_resumed(session) != 0;
    if (gnutls_alpn_get_selected_protocol(session, &alpn) >= 0 && alpn.size < sizeof out->alpn &&
        m5_tls_is_name(m5_bytes(alpn.data, alpn.size)))
        memcpy(out->alpn, alpn.data, alpn.size);
    if (gnutls_server_name_get(session, name, &size, &type, 0) >= 0 && type == GNUTLS_NAME_DNS)
        m5_tls_copy_name(m5_bytes(name, strnlen(name, sizeof name)), out->server_name);
    if (gnutls_psk_server_get_username2(session, &identity) >= 0)
        m5_tls_copy_name(m5_bytes(identity.data, identity.size), out->psk_identity);
}

static bool tell_certificate(const struct connection *connection, struct m5_tls_peer *out)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t fingerprint[M5_TLS_FINGERPRINT_SIZE];
    char unused[M5_TLS_SENTENCE_SIZE];
    gnutls_x509_crt_t certificate = m5_tls_certificate_of(connection->session);
    if (certificate == NULL)
        return false;
    out->certified = true;
    m5_tls_common_name(certificate, out->common_name);
    char name[M5_TLS_NAME_SIZE];
    for (size_t i = 0;
         out->name_count < M5_TLS_NAMES_MAX && m5_tls_alternative_name(certificate, i, name); i++) {
        if (name[0] != 0)
            memcpy(out->names[out->name_count++], name, sizeof name);
    }
    const bool done = m5_tls_fingerprint(certificate, fingerprint) &&
                      m5_tls_identify(connection->config, certificate, out->identity, unused);
    gnutls_x509_crt_deinit(certificate);
    for (size_t i = 0; done && i < sizeof fingerprint; i++) {
        out->fingerprint[2 * i] = digits[fingerprint[i] >> 4];
        out->fingerprint[2 * i + 1] = digits[fingerprint[i] & 15];
    }
    return done;
}

bool m5_tls_peer(const struct m5_transport *transport, struct m5_tls_peer *out)
{
    M5_ASSERT(transport->kind == &tls_kind);
    const struct connection *connection = (const struct connection *)transport;
    const struct m5_tls_config *config = connection->config;
    *out = (struct m5_tls_peer){0};
    if (!transport->open)
        return false;
    tell_session(connection->session, out);
    if (config->is_server && config->identity != MQTT5_TLS_IDENTITY_NONE)
        memcpy(out->identity, out->psk_identity, sizeof out->identity);
    if (config->is_insecure || !has_certificate(connection))
        return true;
    return tell_certificate(connection, out);
}
