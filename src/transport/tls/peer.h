/* What a certificate says of its holder.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_TLS_PEER_H
#define M5_TRANSPORT_TLS_PEER_H

#include "transport/tls/config.h"

#define M5_TLS_SENTENCE_SIZE 400u

/* The common name of the subject: false unless there is exactly one, and it is a name. */
bool m5_tls_common_name(gnutls_x509_crt_t certificate, char out[M5_TLS_NAME_SIZE]);

/* The alternative name with number @p index among those of DNS, e-mail and URI. False when there
 * are not so many; "" in @p out when it is no name. */
bool m5_tls_alternative_name(gnutls_x509_crt_t certificate, size_t index,
                             char out[M5_TLS_NAME_SIZE]);

bool m5_tls_fingerprint(gnutls_x509_crt_t certificate, uint8_t out[M5_TLS_FINGERPRINT_SIZE]);

/* The user name that @p certificate proves by the rule of @p config. False, with a sentence of
 * M5_TLS_SENTENCE_SIZE bytes in @p why, when the rule wants one and there is none. */
bool m5_tls_identify(const struct m5_tls_config *config, gnutls_x509_crt_t certificate,
                     char out[M5_TLS_NAME_SIZE], char *why);

/* The certificate that the peer has presented; NULL when there is none. Call
 * gnutls_x509_crt_deinit() in the end. */
gnutls_x509_crt_t m5_tls_certificate_of(gnutls_session_t session);

/* Why the certificate of the peer is not to be trusted: GNUTLS_CERT_... in @p status, not 0. The
 * sentence goes to @p why, the alert to be sent is returned. @p host is whom a client wanted, NULL
 * for a server. */
gnutls_alert_description_t m5_tls_explain(gnutls_session_t session, unsigned status,
                                          const char *host, char *why);

#endif
