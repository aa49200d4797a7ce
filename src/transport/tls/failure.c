/* Sentences for what GnuTLS and the peer's alerts say.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/tls/failure.h"

#include <stddef.h>

struct sentence {
    int code;
    const char *to_client, *to_server; /* who reads it; the latter NULL: the same */
};

/* Alerts that the peer has sent. */
static const struct sentence alerts[] = {
    {GNUTLS_A_CERTIFICATE_REQUIRED, "the server demands a client certificate",
     "the client has refused: it demands a certificate"},
    {GNUTLS_A_BAD_CERTIFICATE, "the server refused our certificate",
     "the client refused our certificate (alert bad_certificate)"},
    {GNUTLS_A_UNSUPPORTED_CERTIFICATE, "the server refused the kind of our certificate",
     "the client refused the kind of our certificate"},
    {GNUTLS_A_CERTIFICATE_REVOKED, "the server says that our certificate is revoked",
     "the client says that our certificate is revoked"},
    {GNUTLS_A_CERTIFICATE_EXPIRED, "the server says that our certificate has expired",
     "the client says that our certificate has expired"},
    {GNUTLS_A_CERTIFICATE_UNKNOWN, "the server refused our certificate",
     "the client refused our certificate (alert certificate_unknown)"},
    {GNUTLS_A_UNKNOWN_CA, "the server does not trust who has issued our certificate",
     "the client does not trust who has issued our certificate; give it our CA"},
    {GNUTLS_A_ACCESS_DENIED, "the server knows our certificate, and no user for it",
     "the client denies us access"},
    {GNUTLS_A_HANDSHAKE_FAILURE,
     "the server has nothing in common with us (ciphers), or demands a client certificate",
     "the client has nothing in common with us (ciphers)"},
    {GNUTLS_A_PROTOCOL_VERSION, "the server does not speak our versions of TLS",
     "the client does not speak our versions of TLS"},
    {GNUTLS_A_UNKNOWN_PSK_IDENTITY, "the server does not know our pre-shared key", NULL},
    {GNUTLS_A_DECRYPT_ERROR,
     "the server could not verify what we sent; with a pre-shared key: it has another one",
     "the client could not verify what we sent"},
    {GNUTLS_A_ILLEGAL_PARAMETER,
     "the server can make no sense of what we sent; with a pre-shared key: it has another one",
     "the client can make no sense of what we sent"},
    {GNUTLS_A_BAD_RECORD_MAC,
     "the server could not decrypt what we sent; with a pre-shared key: it has another one",
     "the client could not decrypt what we sent"},
    {GNUTLS_A_UNRECOGNIZED_NAME, "the server does not know the name that we called it by", NULL},
    {GNUTLS_A_NO_APPLICATION_PROTOCOL, "the server does not speak our protocol here (ALPN)",
     "the client does not speak our protocol (ALPN)"},
    {GNUTLS_A_INTERNAL_ERROR, "the server has failed by itself (alert internal_error)",
     "the client has failed by itself (alert internal_error)"},
    {GNUTLS_A_USER_CANCELED, "the server has given up", "the client has given up"},
};

/* Codes of GnuTLS. */
static const struct sentence failures[] = {
    {GNUTLS_E_UNSUPPORTED_VERSION_PACKET, "the server does not speak our versions of TLS",
     "the client does not speak our versions of TLS"},
    {GNUTLS_E_NO_CIPHER_SUITES, "the server has no cipher in common with us",
     "the client has no cipher in common with us, or none for our certificate"},
    {GNUTLS_E_INSUFFICIENT_CREDENTIALS, "the server has no cipher in common with us",
     "the client has no cipher in common with us, or none for our certificate"},
    {GNUTLS_E_NO_COMMON_KEY_SHARE, "the server has no way to agree on keys in common with us",
     "the client has no way to agree on keys in common with us"},
    {GNUTLS_E_NO_APPLICATION_PROTOCOL, "the server does not speak our protocol here (ALPN)",
     "the client asks for other protocols than ours (ALPN)"},
    {GNUTLS_E_NO_CERTIFICATE_FOUND, "the server has presented no certificate",
     "the client has presented no certificate"},
    {GNUTLS_E_CERTIFICATE_REQUIRED, "the server demands a client certificate",
     "the client has presented no certificate"},
    {GNUTLS_E_UNEXPECTED_PACKET_LENGTH, "the server does not speak TLS here",
     "the client does not speak TLS"},
    {GNUTLS_E_UNEXPECTED_PACKET, "the server has sent a message of TLS out of turn",
     "the client has sent a message of TLS out of turn"},
    {GNUTLS_E_RECORD_OVERFLOW, "the server has sent a record that is too long",
     "the client has sent a record that is too long"},
    {GNUTLS_E_DECRYPTION_FAILED,
     "what the server sent cannot be decrypted: it is damaged, or keys differ",
     "what the client sent cannot be decrypted: it is damaged, or keys differ"},
    {GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER, "what the server sent makes no sense",
     "what the client sent makes no sense; with a pre-shared key: it has another one"},
    {GNUTLS_E_REHANDSHAKE, "the server wants to renegotiate, which we do not",
     "the client wants to renegotiate, which we do not"},
    {GNUTLS_E_TOO_MANY_HANDSHAKE_PACKETS, "the server changes keys too often",
     "the client changes keys too often"},
    {GNUTLS_E_PULL_ERROR, "the server sends more than a handshake can have",
     "the client sends more than a handshake can have"},
    {GNUTLS_E_PUSH_ERROR, "out of memory", NULL},
    {GNUTLS_E_MEMORY_ERROR, "out of memory", NULL},
};

static const char *find(const struct sentence *sentences, size_t count, int code, bool is_server)
{
    for (size_t i = 0; i < count; i++) {
        const struct sentence *found = &sentences[i];
        if (found->code == code)
            return is_server && found->to_server != NULL ? found->to_server : found->to_client;
    }
    return NULL;
}

static const char *alert_sentence(gnutls_session_t session, bool is_server)
{
    const gnutls_alert_description_t alert = gnutls_alert_get(session);
    const char *known = find(alerts, sizeof alerts / sizeof *alerts, (int)alert, is_server);
    const char *name = gnutls_alert_get_name(alert);
    if (known != NULL)
        return known;
    return name != NULL ? name : "the peer has sent an alert that is unknown";
}

const char *m5_tls_failure(gnutls_session_t session, int code, bool is_server)
{
    if (code == GNUTLS_E_FATAL_ALERT_RECEIVED || code == GNUTLS_E_WARNING_ALERT_RECEIVED)
        return alert_sentence(session, is_server);
    const char *known = find(failures, sizeof failures / sizeof *failures, code, is_server);
    return known != NULL ? known : gnutls_strerror(code);
}
