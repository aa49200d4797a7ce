/* What a config holds; of this folder only.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_TLS_CONFIG_H
#define M5_TRANSPORT_TLS_CONFIG_H

#include "transport/tls/table.h"

#include <gnutls/x509.h>
#include <stdatomic.h>

/* A certificate of ours as it was read: the leaf first. */
struct m5_tls_pair {
    gnutls_x509_crt_t *chain;
    unsigned chain_count;
    gnutls_x509_privkey_t key;
    struct m5_tls_blob ocsp;
};

struct m5_tls_config {
    atomic_size_t holders;
    bool is_server;
    gnutls_priority_t priorities;
    enum mqtt5_tls_version version_min;

    /* What GnuTLS is given for a session: one for each pair of ours, of which it is the first,
     * followed by those with the same name (EC and RSA, say); at least one. */
    gnutls_certificate_credentials_t *certificates;
    struct m5_tls_pair *pairs;
    size_t certificate_count, pair_count;
    uint64_t expires_s;
    bool keeps_tickets;
    int keylog; /* file descriptor; -1 */

    /* Server. */
    enum m5_tls_protocol protocol;
    enum mqtt5_tls_client_certificate client_certificate;
    enum mqtt5_tls_identity identity;
    struct m5_tls_users users;
    struct m5_tls_keys keys;
    gnutls_psk_server_credentials_t server_psk;
    gnutls_datum_t ticket_key; /* from which GnuTLS makes those it rotates */

    /* Client. */
    char *server_name; /* NULL = the target's host */
    char *alpn;        /* NULL = by the target */
    bool is_insecure;
    gnutls_psk_client_credentials_t client_psk;
};

/* Reads the certificates, keys and OCSP responses of @p credential, for us to present. */
bool m5_tls_pair_load(struct m5_tls_pair *pair, const struct mqtt5_tls_credential *credential,
                      struct m5_tls_error *error);
void m5_tls_pair_fini(struct m5_tls_pair *pair);

/* True when the first certificate of @p pair is for @p name. */
bool m5_tls_pair_is_for(const struct m5_tls_pair *pair, const char *name);

/* Makes config->certificates of config->pairs: at least one, which may present nothing. */
bool m5_tls_make_certificates(struct m5_tls_config *config, struct m5_tls_error *error);

/* Who may vouch for the peer, for all of config->certificates. */
bool m5_tls_trust(struct m5_tls_config *config, const char *ca_file, struct mqtt5_bytes ca,
                  struct m5_tls_error *error);
bool m5_tls_trust_system(struct m5_tls_config *config, struct m5_tls_error *error);
bool m5_tls_revoke(struct m5_tls_config *config, const char *crl_file, struct m5_tls_error *error);

/* Of the options: those of GnuTLS instead of ours or NULL, and the lowest version. */
struct m5_tls_priorities {
    const char *text;
    enum mqtt5_tls_version version_min;
    bool with_psk;
};

bool m5_tls_prioritise(struct m5_tls_config *config, const struct m5_tls_priorities *wanted,
                       struct m5_tls_error *error);

/* Opens the file that secrets are appended to. */
bool m5_tls_open_keylog(struct m5_tls_config *config, const char *file, struct m5_tls_error *error);

#endif
