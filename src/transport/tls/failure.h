/* Sentences for what GnuTLS and the peer's alerts say.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_TLS_FAILURE_H
#define M5_TRANSPORT_TLS_FAILURE_H

#include <gnutls/gnutls.h>
#include <stdbool.h>

/* Why a session has ended with @p code (< 0); a static sentence. */
const char *m5_tls_failure(gnutls_session_t session, int code, bool is_server);

#endif
