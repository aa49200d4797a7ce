/* Making configs from options.
 *
 * Our priorities are what is known to be good: TLS 1.3 and 1.2, keys that are agreed upon anew for
 * each connection, and ciphers that authenticate. AES comes before ChaCha20, which GnuTLS has ten
 * times slower, and the server's order counts.
 *
 * The key of session tickets is new in every config: a ticket from before a reload asks for a full
 * handshake, and so for a look at what the reload has changed (CA, CRL, users).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/tls/config.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PRIORITIES_SIZE 1024u

static const char our_priorities[] =
    "NORMAL:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM"
    ":+CHACHA20-POLY1305:-MAC-ALL:+AEAD:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1"
    ":+GROUP-SECP384R1:+GROUP-SECP521R1:%SERVER_PRECEDENCE:%PROFILE_MEDIUM";
static const char psk_priorities[] = ":+ECDHE-PSK:+DHE-PSK:+GROUP-FFDHE2048";
static const char old_versions[] = ":-VERS-SSL3.0:-VERS-TLS1.0:-VERS-TLS1.1:-VERS-DTLS-ALL";

bool m5_tls_prioritise(struct m5_tls_config *config, const struct m5_tls_priorities *wanted,
                       struct m5_tls_error *error)
{
    char text[PRIORITIES_SIZE];
    const char *wrong = text;
    const char *base = wanted->text != NULL ? wanted->text : our_priorities;
    const bool adds_psk = wanted->text == NULL && wanted->with_psk;
    const int size =
        snprintf(text, sizeof text, "%s%s%s%s", base, adds_psk ? psk_priorities : "", old_versions,
                 wanted->version_min == MQTT5_TLS_1_3 ? ":-VERS-TLS1.2" : "");
    if (size < 0 || (size_t)size >= sizeof text)
        return m5_tls_fail(error, "the priorities have more than %u bytes",
                           PRIORITIES_SIZE - (unsigned)sizeof old_versions - 14u);
    config->version_min = wanted->version_min;
    const int result = gnutls_priority_init(&config->priorities, text, &wrong);
    if (result == GNUTLS_E_INVALID_REQUEST)
        return m5_tls_fail(error,
                           "the priorities are wrong from here on: \"%s\" (gnutls-cli "
                           "--priority TEXT --list tries them)",
                           wrong);
    if (result < 0)
        return m5_tls_fail(error, "the priorities leave nothing to agree upon (%s)",
                           gnutls_strerror(result));
    return true;
}

bool m5_tls_open_keylog(struct m5_tls_config *config, const char *file, struct m5_tls_error *error)
{
    config->keylog = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                          S_IRUSR | S_IWUSR);
    return config->keylog >= 0 ||
           m5_tls_fail(error, "%s: cannot be opened for the key log: %s", file, strerror(errno));
}

static void note_expiry(struct m5_tls_config *config, const struct m5_tls_pair *pair)
{
    for (unsigned i = 0; i < pair->chain_count; i++) {
        const time_t expires = gnutls_x509_crt_get_expiration_time(pair->chain[i]);
        if (expires > 0 && (config->expires_s == 0 || (uint64_t)expires < config->expires_s))
            config->expires_s = (uint64_t)expires;
    }
}

static bool load_pairs(struct m5_tls_config *config, const struct mqtt5_tls_credential *credentials,
                       size_t count, struct m5_tls_error *error)
{
    config->pairs = calloc(count, sizeof *config->pairs);
    if (config->pairs == NULL)
        return m5_tls_fail(error, "out of memory");
    for (size_t i = 0; i < count; i++) {
        config->pair_count = i + 1;
        if (!m5_tls_pair_load(&config->pairs[i], &credentials[i], error))
            return false;
        note_expiry(config, &config->pairs[i]);
    }
    return true;
}

static struct m5_tls_config *make_config(bool is_server, struct m5_tls_error *error)
{
    struct m5_tls_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        m5_tls_fail(error, "out of memory");
        return NULL;
    }
    atomic_init(&config->holders, 1);
    config->is_server = is_server;
    config->keylog = -1;
    error->text[0] = 0;
    return config;
}

/* @p config if it is complete, else NULL. */
static struct m5_tls_config *complete(struct m5_tls_config *config, bool is_done)
{
    if (is_done)
        return config;
    m5_tls_config_unref(config);
    return NULL;
}

/* ---- servers ---- */

void mqtt5_tls_server_options_init(struct mqtt5_tls_server_options *options)
{
    *options = (struct mqtt5_tls_server_options){.session_tickets = true};
}

/* Options that contradict each other. */
static bool check_server(const struct mqtt5_tls_server_options *options, struct m5_tls_error *error)
{
    const bool asks = options->client_certificate != MQTT5_TLS_CLIENT_CERTIFICATE_NONE;
    if (options->credential_count == 0 && options->psk_file == NULL)
        return m5_tls_fail(error, "a server of TLS needs a certificate with its private key, or a "
                                  "file of pre-shared keys");
    if (asks && options->ca_file == NULL)
        return m5_tls_fail(error, "client certificates are asked for, and nobody may vouch for "
                                  "them; name a CA file");
    if (asks && options->credential_count == 0)
        return m5_tls_fail(error, "client certificates can only be asked for by a server that has "
                                  "a certificate itself");
    if (options->identity != MQTT5_TLS_IDENTITY_NONE && !asks && options->psk_file == NULL)
        return m5_tls_fail(error, "a user name from the certificate is wanted, and no client "
                                  "certificate is asked for; make it optional or required");
    if (options->identity == MQTT5_TLS_IDENTITY_FINGERPRINT && options->identity_file == NULL)
        return m5_tls_fail(error, "user names by fingerprint are wanted; name the file with lines "
                                  "FINGERPRINT:USERNAME");
    if (options->crl_file != NULL && !asks)
        return m5_tls_fail(error,
                           "%s: a list of revoked client certificates is of no use while "
                           "none are asked for",
                           options->crl_file);
    return true;
}

/* Whoever names an identity that does not exist is told no more than who has the wrong key. */
static int give_key(gnutls_session_t session, const gnutls_datum_t *name, gnutls_datum_t *key)
{
    const struct m5_tls_config *config = gnutls_db_get_ptr(session);
    const struct m5_tls_key *found =
        m5_tls_keys_find(&config->keys, m5_bytes(name->data, name->size));
    const size_t size = found != NULL ? found->size : M5_TLS_PSK_SIZE_MAX;
    key->data = gnutls_malloc(size);
    key->size = (unsigned)size;
    if (key->data == NULL)
        return -1;
    if (found == NULL)
        return gnutls_rnd(GNUTLS_RND_RANDOM, key->data, size) == 0 ? 0 : -1;
    memcpy(key->data, found->key, size);
    return 0;
}

static bool load_server_psk(struct m5_tls_config *config, const char *file,
                            struct m5_tls_error *error)
{
    if (!m5_tls_keys_load(&config->keys, file, error))
        return false;
    if (gnutls_psk_allocate_server_credentials(&config->server_psk) < 0)
        return m5_tls_fail(error, "out of memory");
    gnutls_psk_set_server_credentials_function2(config->server_psk, give_key);
    return true;
}

static bool load_server(struct m5_tls_config *config,
                        const struct mqtt5_tls_server_options *options, struct m5_tls_error *error)
{
    const struct m5_tls_priorities wanted = {.text = options->priorities,
                                             .version_min = options->version_min,
                                             .with_psk = options->psk_file != NULL};
    if (options->credential_count > 0 &&
        !load_pairs(config, options->credentials, options->credential_count, error))
        return false;
    if (!m5_tls_make_certificates(config, error))
        return false;
    if (options->ca_file != NULL &&
        !m5_tls_trust(config, options->ca_file, m5_bytes(NULL, 0), error))
        return false;
    if (options->crl_file != NULL && !m5_tls_revoke(config, options->crl_file, error))
        return false;
    if (options->identity_file != NULL &&
        !m5_tls_users_load(&config->users, options->identity_file, error))
        return false;
    if (options->psk_file != NULL && !load_server_psk(config, options->psk_file, error))
        return false;
    if (options->keylog_file != NULL && !m5_tls_open_keylog(config, options->keylog_file, error))
        return false;
    if (options->session_tickets && gnutls_session_ticket_key_generate(&config->ticket_key) < 0)
        return m5_tls_fail(error, "out of memory");
    return m5_tls_prioritise(config, &wanted, error);
}

struct m5_tls_config *m5_tls_server_config_new(const struct mqtt5_tls_server_options *options,
                                               enum m5_tls_protocol protocol,
                                               struct m5_tls_error *error)
{
    struct m5_tls_config *config = make_config(true, error);
    if (config == NULL)
        return NULL;
    config->protocol = protocol;
    config->client_certificate = options->client_certificate;
    config->identity = options->identity;
    config->keeps_tickets = options->session_tickets;
    return complete(config, check_server(options, error) && load_server(config, options, error));
}

/* ---- clients ---- */

void mqtt5_tls_client_options_init(struct mqtt5_tls_client_options *options)
{
    *options = (struct mqtt5_tls_client_options){0};
}

static bool copy_text(char **out, const char *text, struct m5_tls_error *error)
{
    *out = text != NULL ? strdup(text) : NULL;
    return text == NULL || *out != NULL || m5_tls_fail(error, "out of memory");
}

static bool load_client_psk(struct m5_tls_config *config,
                            const struct mqtt5_tls_client_options *options,
                            struct m5_tls_error *error)
{
    struct m5_tls_key key = {0};
    if (options->psk_identity == NULL && options->psk_key == NULL)
        return true;
    if (options->psk_identity == NULL || options->psk_key == NULL)
        return m5_tls_fail(error, "a pre-shared key and its identity go together");
    if (!m5_tls_copy_name(m5_bytes_of(options->psk_identity), key.identity))
        return m5_tls_fail(error, "the identity of the pre-shared key is empty, too long, not "
                                  "UTF-8, or has control characters in it");
    if (!m5_tls_parse_key(m5_bytes_of(options->psk_key), &key))
        return m5_tls_fail(error, "the pre-shared key is not 32 to 128 hex digits");
    const gnutls_datum_t secret = {.data = key.key, .size = (unsigned)key.size};
    const bool done = gnutls_psk_allocate_client_credentials(&config->client_psk) >= 0 &&
                      gnutls_psk_set_client_credentials(config->client_psk, key.identity, &secret,
                                                        GNUTLS_PSK_KEY_RAW) >= 0;
    gnutls_memset(&key, 0, sizeof key);
    return done || m5_tls_fail(error, "out of memory");
}

/* Whom to trust; nobody has to be while the server may be anybody, or proves it with our key. */
static bool load_trust(struct m5_tls_config *config, const struct mqtt5_tls_client_options *options,
                       struct m5_tls_error *error)
{
    if (options->ca_file != NULL || options->ca.len > 0)
        return m5_tls_trust(config, options->ca_file, options->ca, error);
    return options->insecure || options->psk_key != NULL || m5_tls_trust_system(config, error);
}

static bool load_client(struct m5_tls_config *config,
                        const struct mqtt5_tls_client_options *options, struct m5_tls_error *error)
{
    const struct mqtt5_tls_credential *ours = &options->credential;
    const bool has_credential = ours->certificate_file != NULL || ours->certificate.len > 0 ||
                                ours->key_file != NULL || ours->key.len > 0;
    const struct m5_tls_priorities wanted = {.text = options->priorities,
                                             .version_min = options->version_min,
                                             .with_psk = options->psk_key != NULL};
    if (has_credential && !load_pairs(config, ours, 1, error))
        return false;
    if (!m5_tls_make_certificates(config, error) || !load_trust(config, options, error))
        return false;
    if (options->crl_file != NULL && !m5_tls_revoke(config, options->crl_file, error))
        return false;
    if (options->keylog_file != NULL && !m5_tls_open_keylog(config, options->keylog_file, error))
        return false;
    return load_client_psk(config, options, error) &&
           copy_text(&config->server_name, options->server_name, error) &&
           copy_text(&config->alpn, options->alpn, error) &&
           m5_tls_prioritise(config, &wanted, error);
}

struct m5_tls_config *m5_tls_client_config_new(const struct mqtt5_tls_client_options *options,
                                               struct m5_tls_error *error)
{
    struct m5_tls_config *config = make_config(false, error);
    if (config == NULL)
        return NULL;
    config->is_insecure = options->insecure;
    config->keeps_tickets = true;
    return complete(config, load_client(config, options, error));
}

/* ---- both ---- */

struct m5_tls_config *m5_tls_config_ref(struct m5_tls_config *config)
{
    atomic_fetch_add_explicit(&config->holders, 1, memory_order_relaxed);
    return config;
}

static void free_parts(struct m5_tls_config *config)
{
    for (size_t i = 0; i < config->certificate_count; i++)
        gnutls_certificate_free_credentials(config->certificates[i]);
    free(config->certificates);
    for (size_t i = 0; i < config->pair_count; i++)
        m5_tls_pair_fini(&config->pairs[i]);
    free(config->pairs);
    m5_tls_users_fini(&config->users);
    m5_tls_keys_fini(&config->keys);
    if (config->server_psk != NULL)
        gnutls_psk_free_server_credentials(config->server_psk);
    if (config->client_psk != NULL)
        gnutls_psk_free_client_credentials(config->client_psk);
    if (config->ticket_key.data != NULL)
        gnutls_memset(config->ticket_key.data, 0, config->ticket_key.size);
    gnutls_free(config->ticket_key.data);
    if (config->priorities != NULL)
        gnutls_priority_deinit(config->priorities);
    if (config->keylog >= 0)
        close(config->keylog);
    free(config->server_name);
    free(config->alpn);
}

void m5_tls_config_unref(struct m5_tls_config *config)
{
    if (config == NULL || atomic_fetch_sub_explicit(&config->holders, 1, memory_order_acq_rel) != 1)
        return;
    free_parts(config);
    free(config);
}

uint64_t m5_tls_config_expires_s(const struct m5_tls_config *config)
{
    return config->expires_s;
}
