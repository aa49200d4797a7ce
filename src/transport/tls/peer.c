/* What a certificate says of its holder, and why it is not to be trusted.
 *
 * Names are read as the bytes that were signed, with their length, never as text that somebody has
 * escaped or cut at a NUL; what is no plain UTF-8 is no name. Of several common names none is
 * taken: programs differ in which.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/tls/peer.h"

#include "base/bytes.h"

#include <time.h>

/* ASN.1 tags of strings whose bytes are ASCII or UTF-8. */
enum { TAG_UTF8 = 12, TAG_PRINTABLE = 19, TAG_IA5 = 22 };

/* Counts the common names of @p dn and copies the last. */
static size_t count_common_names(gnutls_x509_dn_t dn, char *out)
{
    gnutls_x509_ava_st ava;
    size_t count = 0;
    for (int rdn = 0; gnutls_x509_dn_get_rdn_ava(dn, rdn, 0, &ava) >= 0; rdn++) {
        for (int i = 0; gnutls_x509_dn_get_rdn_ava(dn, rdn, i, &ava) >= 0; i++) {
            const struct mqtt5_bytes oid = m5_bytes(ava.oid.data, ava.oid.size);
            if (!m5_bytes_equal(m5_bytes(oid.data, strnlen((const char *)oid.data, oid.len)),
                                m5_bytes_of(GNUTLS_OID_X520_COMMON_NAME)))
                continue;
            const bool is_text = ava.value_tag == TAG_UTF8 || ava.value_tag == TAG_PRINTABLE ||
                                 ava.value_tag == TAG_IA5;
            m5_tls_copy_name(m5_bytes(ava.value.data, is_text ? ava.value.size : 0), out);
            count++;
        }
    }
    return count;
}

static bool common_name_of(gnutls_x509_dn_t dn, char out[M5_TLS_NAME_SIZE])
{
    out[0] = 0;
    if (count_common_names(dn, out) != 1)
        out[0] = 0;
    return out[0] != 0;
}

bool m5_tls_common_name(gnutls_x509_crt_t certificate, char out[M5_TLS_NAME_SIZE])
{
    gnutls_x509_dn_t dn;
    out[0] = 0;
    return gnutls_x509_crt_get_subject(certificate, &dn) >= 0 && common_name_of(dn, out);
}

bool m5_tls_alternative_name(gnutls_x509_crt_t certificate, size_t index,
                             char out[M5_TLS_NAME_SIZE])
{
    size_t seen = 0;
    out[0] = 0;
    for (unsigned i = 0;; i++) {
        char name[M5_TLS_NAME_SIZE];
        size_t size = sizeof name;
        const int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, name, &size, NULL);
        const bool is_long = type == GNUTLS_E_SHORT_MEMORY_BUFFER;
        if (type < 0 && !is_long)
            return false;
        if (!is_long && type != GNUTLS_SAN_DNSNAME && type != GNUTLS_SAN_RFC822NAME &&
            type != GNUTLS_SAN_URI)
            continue;
        if (seen++ < index)
            continue;
        m5_tls_copy_name(m5_bytes(name, is_long ? 0 : size), out);
        return true;
    }
}

bool m5_tls_fingerprint(gnutls_x509_crt_t certificate, uint8_t out[M5_TLS_FINGERPRINT_SIZE])
{
    size_t size = M5_TLS_FINGERPRINT_SIZE;
    return gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, out, &size) >= 0;
}

/* ---- the user name ---- */

static bool name_by_fingerprint(const struct m5_tls_config *config, gnutls_x509_crt_t certificate,
                                char out[M5_TLS_NAME_SIZE])
{
    uint8_t fingerprint[M5_TLS_FINGERPRINT_SIZE];
    const struct m5_tls_user *user = m5_tls_fingerprint(certificate, fingerprint)
                                         ? m5_tls_users_find(&config->users, fingerprint)
                                         : NULL;
    return user != NULL && m5_tls_copy_name(m5_bytes_of(user->name), out);
}

bool m5_tls_identify(const struct m5_tls_config *config, gnutls_x509_crt_t certificate,
                     char out[M5_TLS_NAME_SIZE], char *why)
{
    const char *lacks = NULL;
    out[0] = 0;
    switch (config->identity) {
    case MQTT5_TLS_IDENTITY_NONE: return true;
    case MQTT5_TLS_IDENTITY_CN:
        if (!m5_tls_common_name(certificate, out))
            lacks = "it has not exactly one common name that is plain UTF-8";
        break;
    case MQTT5_TLS_IDENTITY_SAN:
        if (!m5_tls_alternative_name(certificate, 0, out) || out[0] == 0)
            lacks = "its first DNS name, e-mail address or URI is missing or not plain UTF-8";
        break;
    case MQTT5_TLS_IDENTITY_FINGERPRINT:
        if (!name_by_fingerprint(config, certificate, out))
            lacks = "no user has its fingerprint";
        break;
    }
    if (lacks != NULL)
        m5_tls_print(why, M5_TLS_SENTENCE_SIZE, "the certificate of the client names no user: %s",
                     lacks);
    return lacks == NULL;
}

gnutls_x509_crt_t m5_tls_certificate_of(gnutls_session_t session)
{
    unsigned count = 0;
    gnutls_x509_crt_t certificate = NULL;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    if (chain == NULL || count == 0 || gnutls_x509_crt_init(&certificate) < 0)
        return NULL;
    if (gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) >= 0)
        return certificate;
    gnutls_x509_crt_deinit(certificate);
    return NULL;
}

/* ---- why it is not to be trusted ---- */

/* Dates of the certificate in the peer's chain that has @p status: the first one outside of its
 * time. */
static time_t find_date(gnutls_session_t session, bool is_expired)
{
    unsigned count = 0;
    const time_t now = time(NULL);
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    time_t found = (time_t)-1;
    for (unsigned i = 0; i < count && found == (time_t)-1; i++) {
        gnutls_x509_crt_t certificate;
        if (gnutls_x509_crt_init(&certificate) < 0)
            break;
        if (gnutls_x509_crt_import(certificate, &chain[i], GNUTLS_X509_FMT_DER) >= 0) {
            const time_t date = is_expired ? gnutls_x509_crt_get_expiration_time(certificate)
                                           : gnutls_x509_crt_get_activation_time(certificate);
            if (is_expired ? date < now : date > now)
                found = date;
        }
        gnutls_x509_crt_deinit(certificate);
    }
    return found;
}

static void explain_names(gnutls_x509_crt_t certificate, const char *host, const char *whose,
                          char *why)
{
    char name[M5_TLS_NAME_SIZE], second[M5_TLS_NAME_SIZE];
    const bool has_names = m5_tls_alternative_name(certificate, 0, name);
    if (!has_names)
        m5_tls_common_name(certificate, name);
    const char *and_others =
        has_names && m5_tls_alternative_name(certificate, 1, second) ? " (and others)" : "";
    m5_tls_print(why, M5_TLS_SENTENCE_SIZE,
                 "the certificate of the %s is for %.120s%s, not for "
                 "%.120s",
                 whose, name[0] != 0 ? name : "no name that is readable", and_others, host);
}

static void explain_issuer(gnutls_x509_crt_t certificate, const char *whose, char *why)
{
    char issuer[M5_TLS_NAME_SIZE] = "";
    gnutls_x509_dn_t dn;
    if (gnutls_x509_crt_check_issuer(certificate, certificate) != 0) {
        m5_tls_print(why, M5_TLS_SENTENCE_SIZE,
                     "the certificate of the %s is its own issuer, and not one we trust", whose);
        return;
    }
    if (gnutls_x509_crt_get_issuer(certificate, &dn) >= 0)
        common_name_of(dn, issuer);
    m5_tls_print(why, M5_TLS_SENTENCE_SIZE,
                 "the certificate of the %s is issued by somebody we do not trust (%.120s)", whose,
                 issuer[0] != 0 ? issuer : "without a readable name");
}

/* A kind of failure: the first that is there is told. */
struct reason {
    unsigned status;
    gnutls_alert_description_t alert;
    const char *text; /* behind "the certificate of the client|server " */
};

static const struct reason reasons[] = {
    {GNUTLS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED, "has been revoked"},
    {GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED, NULL},
    {GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_BAD_CERTIFICATE, NULL},
    {GNUTLS_CERT_SIGNER_NOT_FOUND, GNUTLS_A_UNKNOWN_CA, NULL},
    {GNUTLS_CERT_SIGNER_NOT_CA, GNUTLS_A_UNKNOWN_CA, "is issued by somebody who may not issue any"},
    {GNUTLS_CERT_UNEXPECTED_OWNER, GNUTLS_A_BAD_CERTIFICATE, NULL},
    {GNUTLS_CERT_PURPOSE_MISMATCH, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
     "is not meant for this use (its extended key usage says for what)"},
    {GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED, GNUTLS_A_CERTIFICATE_UNKNOWN,
     "cannot be checked: the word on its revocation is out of date"},
    {GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE, GNUTLS_A_CERTIFICATE_UNKNOWN,
     "cannot be checked: the word on its revocation is from the future; is our clock right?"},
    {GNUTLS_CERT_MISSING_OCSP_STATUS, GNUTLS_A_BAD_CERTIFICATE,
     "wants an OCSP response to come with it, and there is none"},
    {GNUTLS_CERT_INVALID_OCSP_STATUS, GNUTLS_A_BAD_CERTIFICATE,
     "comes with an OCSP response that is not good"},
    {GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
     "has a key or a signature that is not secure any more"},
    {GNUTLS_CERT_SIGNATURE_FAILURE, GNUTLS_A_BAD_CERTIFICATE, "has a wrong signature"},
    {GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, GNUTLS_A_BAD_CERTIFICATE,
     "is for something that its issuer may not vouch for"},
};

static const struct reason *find_reason(unsigned status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if ((status & reasons[i].status) != 0)
            return &reasons[i];
    }
    return NULL;
}

static void explain_with_date(gnutls_session_t session, const struct reason *reason,
                              const char *whose, char *why)
{
    char date[M5_TLS_DATE_SIZE];
    const bool is_expired = reason->status == GNUTLS_CERT_EXPIRED;
    const char *text = m5_tls_date(find_date(session, is_expired), date);
    m5_tls_print(why, M5_TLS_SENTENCE_SIZE,
                 is_expired
                     ? "the certificate of the %s has expired on %s"
                     : "the certificate of the %s is not valid before %s; is our clock right?",
                 whose, text);
}

gnutls_alert_description_t m5_tls_explain(gnutls_session_t session, unsigned status,
                                          const char *host, char *why)
{
    const char *whose = host != NULL ? "server" : "client";
    const struct reason *reason = find_reason(status);
    gnutls_x509_crt_t certificate = m5_tls_certificate_of(session);
    if (certificate == NULL)
        m5_tls_print(why, M5_TLS_SENTENCE_SIZE, "the certificate of the %s cannot be read", whose);
    else if (reason == NULL)
        m5_tls_print(why, M5_TLS_SENTENCE_SIZE, "the certificate of the %s is not valid", whose);
    else if (reason->status == GNUTLS_CERT_SIGNER_NOT_FOUND)
        explain_issuer(certificate, whose, why);
    else if (reason->status == GNUTLS_CERT_UNEXPECTED_OWNER)
        explain_names(certificate, host != NULL ? host : "us", whose, why);
    else if (reason->text == NULL)
        explain_with_date(session, reason, whose, why);
    else
        m5_tls_print(why, M5_TLS_SENTENCE_SIZE, "the certificate of the %s %s", whose,
                     reason->text);
    if (certificate != NULL)
        gnutls_x509_crt_deinit(certificate);
    return certificate == NULL || reason == NULL ? GNUTLS_A_BAD_CERTIFICATE : reason->alert;
}
