/* Certificates: our own with their keys, and those of others whom we trust.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "transport/tls/config.h"

#include <errno.h>
#include <gnutls/ocsp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

/* How a file is called in sentences, or what came from memory. */
static const char *name_of(const char *file, const char *otherwise)
{
    return file != NULL ? file : otherwise;
}

/* ---- our own ---- */

static bool import_chain(struct m5_tls_pair *pair, const struct m5_tls_blob *blob, const char *name,
                         struct m5_tls_error *error)
{
    const gnutls_datum_t data = m5_tls_datum(blob);
    const int result = gnutls_x509_crt_list_import2(
        &pair->chain, &pair->chain_count, &data, m5_tls_format_of(blob), GNUTLS_X509_CRT_LIST_SORT);
    if (result < 0)
        return m5_tls_fail(error,
                           "%s: no certificate can be read from it (%s); PEM or DER is "
                           "wanted",
                           name, gnutls_strerror(result));
    return true;
}

/* True for PKCS #8 that is encrypted, without trying. */
static bool is_locked(const gnutls_datum_t *data, gnutls_x509_crt_fmt_t format)
{
    unsigned schema = 0;
    const int result = gnutls_pkcs8_info(data, format, &schema, NULL, NULL, NULL, NULL, NULL);
    return result == 0 || result == GNUTLS_E_UNKNOWN_CIPHER_TYPE;
}

static bool fail_key(int result, const char *name, bool lacks_password, struct m5_tls_error *error)
{
    if (lacks_password)
        return m5_tls_fail(error, "%s: the private key is encrypted; give its password", name);
    if (result == GNUTLS_E_DECRYPTION_FAILED)
        return m5_tls_fail(error, "%s: the private key cannot be decrypted; is the password right?",
                           name);
    return m5_tls_fail(error, "%s: no private key can be read from it (%s); PEM or DER is wanted",
                       name, gnutls_strerror(result));
}

static bool import_key(struct m5_tls_pair *pair, const struct m5_tls_blob *blob, const char *name,
                       const char *password, struct m5_tls_error *error)
{
    const gnutls_datum_t data = m5_tls_datum(blob);
    const gnutls_x509_crt_fmt_t format = m5_tls_format_of(blob);
    if (gnutls_x509_privkey_init(&pair->key) < 0)
        return m5_tls_fail(error, "out of memory");
    const int result = gnutls_x509_privkey_import2(pair->key, &data, format, password, 0);
    const bool lacks_password =
        password == NULL && (result == GNUTLS_E_DECRYPTION_FAILED || is_locked(&data, format));
    return result >= 0 || fail_key(result, name, lacks_password, error);
}

static bool is_pair(const struct m5_tls_pair *pair)
{
    unsigned char of_certificate[64], of_key[64];
    size_t size = sizeof of_certificate, key_size = sizeof of_key;
    return gnutls_x509_crt_get_key_id(pair->chain[0], 0, of_certificate, &size) >= 0 &&
           gnutls_x509_privkey_get_key_id(pair->key, 0, of_key, &key_size) >= 0 &&
           m5_bytes_equal(m5_bytes(of_certificate, size), m5_bytes(of_key, key_size));
}

static bool load_chain(struct m5_tls_pair *pair, const struct mqtt5_tls_credential *credential,
                       struct m5_tls_error *error)
{
    struct m5_tls_blob blob = {0};
    const bool done =
        m5_tls_blob_load(&blob, credential->certificate_file, credential->certificate, error) &&
        import_chain(pair, &blob, name_of(credential->certificate_file, "the certificate"), error);
    m5_tls_blob_fini(&blob);
    return done;
}

static bool load_key(struct m5_tls_pair *pair, const struct mqtt5_tls_credential *credential,
                     struct m5_tls_error *error)
{
    const bool is_apart = credential->key_file != NULL || credential->key.len > 0;
    const char *file = is_apart ? credential->key_file : credential->certificate_file;
    const struct mqtt5_bytes memory = is_apart ? credential->key : credential->certificate;
    struct m5_tls_blob blob = {0};
    const bool done =
        m5_tls_blob_load(&blob, file, memory, error) &&
        import_key(pair, &blob, name_of(file, "the private key"), credential->key_password, error);
    m5_tls_blob_fini(&blob);
    if (!done || is_pair(pair))
        return done;
    return m5_tls_fail(error, "%s: this private key is not that of the certificate in %s",
                       name_of(file, "the private key"),
                       name_of(credential->certificate_file, "memory"));
}

bool m5_tls_pair_load(struct m5_tls_pair *pair, const struct mqtt5_tls_credential *credential,
                      struct m5_tls_error *error)
{
    if (credential->certificate_file == NULL && credential->certificate.len == 0)
        return m5_tls_fail(error, "a private key or OCSP response without its certificate");
    return load_chain(pair, credential, error) && load_key(pair, credential, error) &&
           (credential->ocsp_file == NULL ||
            m5_tls_blob_load(&pair->ocsp, credential->ocsp_file, m5_bytes(NULL, 0), error));
}

void m5_tls_pair_fini(struct m5_tls_pair *pair)
{
    for (unsigned i = 0; i < pair->chain_count; i++)
        gnutls_x509_crt_deinit(pair->chain[i]);
    gnutls_free(pair->chain);
    if (pair->key != NULL)
        gnutls_x509_privkey_deinit(pair->key);
    m5_tls_blob_fini(&pair->ocsp);
    *pair = (struct m5_tls_pair){0};
}

bool m5_tls_pair_is_for(const struct m5_tls_pair *pair, const char *name)
{
    return gnutls_x509_crt_check_hostname2(pair->chain[0], name, 0) != 0;
}

/* Presents @p pair, too. */
static bool add_pair(gnutls_certificate_credentials_t certificates, const struct m5_tls_pair *pair,
                     struct m5_tls_error *error)
{
    const int index = gnutls_certificate_set_x509_key(certificates, pair->chain,
                                                      (int)pair->chain_count, pair->key);
    if (index < 0)
        return m5_tls_fail(error, "a certificate cannot be used: %s", gnutls_strerror(index));
    if (pair->ocsp.data == NULL)
        return true;
    const gnutls_datum_t response = m5_tls_datum(&pair->ocsp);
    const int result = gnutls_certificate_set_ocsp_status_request_mem(
        certificates, &response, (unsigned)index, m5_tls_format_of(&pair->ocsp));
    return result >= 0 ||
           m5_tls_fail(error, "the OCSP response cannot be used: %s; is it for this certificate?",
                       gnutls_strerror(result));
}

/* True when both are for the name that @p pair is for first. */
static bool has_same_name(const struct m5_tls_pair *pair, const struct m5_tls_pair *other)
{
    char name[M5_TLS_NAME_SIZE], others[M5_TLS_NAME_SIZE];
    size_t size = sizeof name, other_size = sizeof others;
    return gnutls_x509_crt_get_subject_alt_name(pair->chain[0], 0, name, &size, NULL) ==
               GNUTLS_SAN_DNSNAME &&
           gnutls_x509_crt_get_subject_alt_name(other->chain[0], 0, others, &other_size, NULL) ==
               GNUTLS_SAN_DNSNAME &&
           m5_bytes_equal(m5_bytes(name, size), m5_bytes(others, other_size));
}

static bool make_one(struct m5_tls_config *config, size_t first, struct m5_tls_error *error)
{
    gnutls_certificate_credentials_t *certificates = &config->certificates[first];
    if (gnutls_certificate_allocate_credentials(certificates) < 0)
        return m5_tls_fail(error, "out of memory");
    config->certificate_count = first + 1;
    gnutls_certificate_set_flags(*certificates, GNUTLS_CERTIFICATE_API_V2);
    if (config->pair_count == 0)
        return true;
    const struct m5_tls_pair *pairs = config->pairs;
    if (!add_pair(*certificates, &pairs[first], error))
        return false;
    for (size_t i = 0; i < config->pair_count; i++) {
        if (i != first && has_same_name(&pairs[first], &pairs[i]) &&
            !add_pair(*certificates, &pairs[i], error))
            return false;
    }
    return true;
}

bool m5_tls_make_certificates(struct m5_tls_config *config, struct m5_tls_error *error)
{
    const size_t count = config->pair_count > 0 ? config->pair_count : 1;
    config->certificates = calloc(count, sizeof(gnutls_certificate_credentials_t));
    if (config->certificates == NULL)
        return m5_tls_fail(error, "out of memory");
    for (size_t i = 0; i < count; i++) {
        if (!make_one(config, i, error))
            return false;
    }
    return true;
}

/* ---- whom we trust ---- */

static bool trust_folder(struct m5_tls_config *config, const char *folder,
                         struct m5_tls_error *error)
{
    for (size_t i = 0; i < config->certificate_count; i++) {
        const int pem = gnutls_certificate_set_x509_trust_dir(config->certificates[i], folder,
                                                              GNUTLS_X509_FMT_PEM);
        const int der = gnutls_certificate_set_x509_trust_dir(config->certificates[i], folder,
                                                              GNUTLS_X509_FMT_DER);
        if (pem <= 0 && der <= 0)
            return m5_tls_fail(error, "%s: there is no certificate in any of its files", folder);
    }
    return true;
}

static bool trust_blob(struct m5_tls_config *config, const struct m5_tls_blob *blob,
                       const char *name, struct m5_tls_error *error)
{
    const gnutls_datum_t data = m5_tls_datum(blob);
    for (size_t i = 0; i < config->certificate_count; i++) {
        const int count = gnutls_certificate_set_x509_trust_mem(config->certificates[i], &data,
                                                                m5_tls_format_of(blob));
        if (count <= 0)
            return m5_tls_fail(error,
                               "%s: no certificate can be read from it (%s); PEM or DER is "
                               "wanted",
                               name, count < 0 ? gnutls_strerror(count) : "there is none");
    }
    return true;
}

bool m5_tls_trust(struct m5_tls_config *config, const char *ca_file, struct mqtt5_bytes ca,
                  struct m5_tls_error *error)
{
    struct stat status;
    if (ca_file != NULL && stat(ca_file, &status) == 0 && S_ISDIR(status.st_mode))
        return trust_folder(config, ca_file, error);
    struct m5_tls_blob blob = {0};
    const bool done = m5_tls_blob_load(&blob, ca_file, ca, error) &&
                      trust_blob(config, &blob, name_of(ca_file, "the CA"), error);
    m5_tls_blob_fini(&blob);
    return done;
}

bool m5_tls_trust_system(struct m5_tls_config *config, struct m5_tls_error *error)
{
    const int count = gnutls_certificate_set_x509_system_trust(config->certificates[0]);
    return count > 0 ||
           m5_tls_fail(error, "this system knows nobody who may vouch for servers (Debian: package "
                              "ca-certificates); install that, or name a CA file");
}

/* GnuTLS would go on with a list that has had its day; while it is read, somebody can be told. */
static bool check_lists(gnutls_x509_crl_t *lists, unsigned count, const char *file,
                        struct m5_tls_error *error)
{
    for (unsigned i = 0; i < count; i++) {
        char date[M5_TLS_DATE_SIZE];
        const time_t next = gnutls_x509_crl_get_next_update(lists[i]);
        if (next != (time_t)-1 && next < time(NULL))
            return m5_tls_fail(error,
                               "%s: this list of revoked certificates is out of date since %s; "
                               "fetch the new one",
                               file, m5_tls_date(next, date));
    }
    return true;
}

static bool add_lists(struct m5_tls_config *config, gnutls_x509_crl_t *lists, unsigned count,
                      struct m5_tls_error *error)
{
    for (size_t i = 0; i < config->certificate_count; i++) {
        if (gnutls_certificate_set_x509_crl(config->certificates[i], lists, (int)count) < 0)
            return m5_tls_fail(error, "out of memory");
    }
    return true;
}

bool m5_tls_revoke(struct m5_tls_config *config, const char *crl_file, struct m5_tls_error *error)
{
    struct m5_tls_blob blob = {0};
    gnutls_x509_crl_t *lists = NULL;
    unsigned count = 0;
    bool done = m5_tls_blob_load(&blob, crl_file, m5_bytes(NULL, 0), error);
    const gnutls_datum_t data = m5_tls_datum(&blob);
    const int result =
        done ? gnutls_x509_crl_list_import2(&lists, &count, &data, m5_tls_format_of(&blob), 0) : 0;
    if (done && (result < 0 || count == 0))
        done = m5_tls_fail(error,
                           "%s: no list of revoked certificates can be read from it (%s); "
                           "PEM or DER is wanted",
                           crl_file, result < 0 ? gnutls_strerror(result) : "there is none");
    done = done && check_lists(lists, count, crl_file, error) &&
           add_lists(config, lists, count, error);
    for (unsigned i = 0; i < count; i++)
        gnutls_x509_crl_deinit(lists[i]);
    gnutls_free(lists);
    m5_tls_blob_fini(&blob);
    return done;
}
