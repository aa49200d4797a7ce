/* Certificates for tests, made as they run.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/certificate.h"

#include <dirent.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TAG_UTF8     12
#define PATHS_MAX    8
#define DER_NAME_MAX 4096

/* What is done has to succeed. */
static void must(int result, const char *what)
{
    if (result >= 0)
        return;
    fprintf(stderr, "certificates: %s: %s\n", what, gnutls_strerror(result));
    abort();
}

static void make_key(struct test_certificate *out, enum test_key kind)
{
    must(gnutls_x509_privkey_init(&out->key), "a key");
    static const struct {
        gnutls_pk_algorithm_t algorithm;
        unsigned bits;
    } kinds[] = {
        [TEST_KEY_EC] = {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1)},
        [TEST_KEY_RSA] = {GNUTLS_PK_RSA, 2048},
        [TEST_KEY_ED25519] = {GNUTLS_PK_EDDSA_ED25519,
                              GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519)},
        [TEST_KEY_WEAK_RSA] = {GNUTLS_PK_RSA, 1024},
    };
    must(gnutls_x509_privkey_generate(out->key, kinds[kind].algorithm, kinds[kind].bits, 0),
         "a key pair");
}

/* Puts @p name into the subject as it is: GnuTLS would check what is text. */
static void set_common_name(gnutls_x509_crt_t certificate, struct mqtt5_bytes name)
{
    uint8_t der[DER_NAME_MAX];
    size_t used = 0;
    if (name.len == 0)
        return;
    if (name.len > sizeof der - 4)
        abort();
    der[used++] = TAG_UTF8;
    if (name.len > 0x7F) {
        der[used++] = 0x82;
        der[used++] = (uint8_t)(name.len >> 8);
    }
    der[used++] = (uint8_t)name.len;
    memcpy(der + used, name.data, name.len);
    used += name.len;
    must(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 1, der,
                                       (unsigned)used),
         "a common name");
}

/* Tags of GeneralName (RFC 5280, 4.2.1.6). */
static uint8_t tag_of(gnutls_x509_subject_alt_name_t type)
{
    switch (type) {
    case GNUTLS_SAN_RFC822NAME: return 0x81;
    case GNUTLS_SAN_URI: return 0x86;
    case GNUTLS_SAN_IPADDRESS: return 0x87;
    default: return 0x82;
    }
}

/* Written byte by byte: GnuTLS would cut names at a NUL. */
static void set_names(gnutls_x509_crt_t certificate, const struct test_certificate_spec *spec)
{
    uint8_t der[2 + TEST_NAMES_MAX * 32] = {0x30};
    size_t used = 2;
    for (size_t i = 0; i < TEST_NAMES_MAX && spec->names[i].type != 0; i++) {
        const struct test_name *name = &spec->names[i];
        const size_t size = name->size > 0 ? name->size : strlen(name->text);
        if (used + 2 + size > 0x7F)
            abort();
        der[used++] = tag_of(name->type);
        der[used++] = (uint8_t)size;
        memcpy(der + used, name->text, size);
        used += size;
    }
    der[1] = (uint8_t)(used - 2);
    if (used > 2)
        must(gnutls_x509_crt_set_extension_by_oid(certificate, "2.5.29.17", der, used, 0),
             "alternative names");
}

static void set_use(gnutls_x509_crt_t certificate, const struct test_certificate_spec *spec)
{
    must(gnutls_x509_crt_set_basic_constraints(certificate, spec->is_authority ? 1 : 0, -1), "CA");
    must(gnutls_x509_crt_set_key_usage(
             certificate, spec->is_authority ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN
                                             : GNUTLS_KEY_DIGITAL_SIGNATURE),
         "key usage");
    if (spec->purpose != TEST_FOR_ALL)
        must(gnutls_x509_crt_set_key_purpose_oid(certificate,
                                                 spec->purpose == TEST_FOR_SERVERS
                                                     ? GNUTLS_KP_TLS_WWW_SERVER
                                                     : GNUTLS_KP_TLS_WWW_CLIENT,
                                                 0),
             "purpose");
}

static void set_time(gnutls_x509_crt_t certificate, const struct test_certificate_spec *spec)
{
    const time_t now = time(NULL);
    const bool is_given = spec->begins_s != 0 || spec->ends_s != 0;
    const time_t begins = now + (time_t)(is_given ? spec->begins_s : -TEST_DAY_S);
    const time_t ends = now + (time_t)(is_given ? spec->ends_s : TEST_DAY_S);
    must(gnutls_x509_crt_set_activation_time(certificate, begins), "activation");
    must(gnutls_x509_crt_set_expiration_time(certificate, ends), "expiration");
}

static void set_serial(gnutls_x509_crt_t certificate)
{
    uint8_t serial[12];
    must(gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial), "random bytes");
    serial[0] = (uint8_t)(serial[0] & 0x3F) | 0x40; /* positive, and never shorter */
    must(gnutls_x509_crt_set_serial(certificate, serial, sizeof serial), "serial");
}

static void set_key_ids(gnutls_x509_crt_t certificate, gnutls_x509_crt_t issuer)
{
    uint8_t id[64];
    size_t size = sizeof id;
    must(gnutls_x509_crt_get_key_id(certificate, 0, id, &size), "key id");
    must(gnutls_x509_crt_set_subject_key_id(certificate, id, size), "subject key id");
    size = sizeof id;
    must(gnutls_x509_crt_get_key_id(issuer, 0, id, &size), "issuer's key id");
    must(gnutls_x509_crt_set_authority_key_id(certificate, id, size), "authority key id");
}

/* Ed25519 has its own digest. */
static gnutls_digest_algorithm_t digest_for(gnutls_x509_privkey_t key)
{
    return gnutls_x509_privkey_get_pk_algorithm(key) == GNUTLS_PK_EDDSA_ED25519 ? GNUTLS_DIG_SHA512
                                                                                : GNUTLS_DIG_SHA256;
}

/* PKCS #8, which all kinds of keys can be written as; encrypted if there is a password. */
static gnutls_datum_t export_key(gnutls_x509_privkey_t key, const char *password,
                                 gnutls_x509_crt_fmt_t format)
{
    gnutls_datum_t out = {0};
    must(gnutls_x509_privkey_export2_pkcs8(
             key, format, password,
             password != NULL ? GNUTLS_PKCS_PBES2_AES_128 : GNUTLS_PKCS_PLAIN, &out),
         "a private key");
    return out;
}

void test_certificate_make(struct test_certificate *out, const struct test_certificate_spec *spec)
{
    const struct test_certificate *issuer = spec->issuer != NULL ? spec->issuer : out;
    *out = (struct test_certificate){0};
    make_key(out, spec->key);
    must(gnutls_x509_crt_init(&out->certificate), "a certificate");
    must(gnutls_x509_crt_set_version(out->certificate, 3), "version");
    must(gnutls_x509_crt_set_key(out->certificate, out->key), "key");
    set_common_name(out->certificate, spec->common_name);
    set_common_name(out->certificate, spec->second_common_name);
    set_names(out->certificate, spec);
    set_use(out->certificate, spec);
    set_time(out->certificate, spec);
    set_serial(out->certificate);
    set_key_ids(out->certificate, issuer->certificate);
    must(gnutls_x509_crt_sign2(out->certificate, issuer->certificate, issuer->key,
                               digest_for(issuer->key), 0),
         "signature");
    must(gnutls_x509_crt_export2(out->certificate, GNUTLS_X509_FMT_PEM, &out->pem), "PEM");
    must(gnutls_x509_crt_export2(out->certificate, GNUTLS_X509_FMT_DER, &out->der), "DER");
    out->key_pem = export_key(out->key, NULL, GNUTLS_X509_FMT_PEM);
    out->key_der = export_key(out->key, NULL, GNUTLS_X509_FMT_DER);
}

void test_certificate_free(struct test_certificate *certificate)
{
    gnutls_x509_crt_deinit(certificate->certificate);
    gnutls_x509_privkey_deinit(certificate->key);
    gnutls_free(certificate->pem.data);
    gnutls_free(certificate->der.data);
    gnutls_free(certificate->key_pem.data);
    gnutls_free(certificate->key_der.data);
    *certificate = (struct test_certificate){0};
}

gnutls_datum_t test_certificate_chain(const struct test_certificate *leaf,
                                      const struct test_certificate *issuer)
{
    gnutls_datum_t chain = {.size = leaf->pem.size + issuer->pem.size};
    chain.data = gnutls_malloc(chain.size);
    if (chain.data == NULL)
        abort();
    memcpy(chain.data, leaf->pem.data, leaf->pem.size);
    memcpy(chain.data + leaf->pem.size, issuer->pem.data, issuer->pem.size);
    return chain;
}

gnutls_datum_t test_certificate_locked_key(const struct test_certificate *certificate,
                                           const char *password, gnutls_x509_crt_fmt_t format)
{
    return export_key(certificate->key, password, format);
}

gnutls_datum_t test_certificate_crl(const struct test_certificate *issuer,
                                    const struct test_certificate *revoked, int64_t next_s)
{
    const time_t now = time(NULL);
    const time_t made = now - 2 * TEST_DAY_S;
    gnutls_datum_t out = {0};
    gnutls_x509_crl_t crl;
    uint8_t number[] = {1}, id[64];
    size_t id_size = sizeof id;
    must(gnutls_x509_crl_init(&crl), "a CRL");
    must(gnutls_x509_crl_set_version(crl, 2), "version");
    must(gnutls_x509_crl_set_crt(crl, revoked->certificate, made), "a revoked certificate");
    must(gnutls_x509_crl_set_this_update(crl, made), "this update");
    must(gnutls_x509_crl_set_next_update(crl, now + (time_t)next_s), "next update");
    must(gnutls_x509_crl_set_number(crl, number, sizeof number), "number");
    must(gnutls_x509_crt_get_key_id(issuer->certificate, 0, id, &id_size), "key id");
    must(gnutls_x509_crl_set_authority_key_id(crl, id, id_size), "authority key id");
    must(gnutls_x509_crl_sign2(crl, issuer->certificate, issuer->key, digest_for(issuer->key), 0),
         "signature of a CRL");
    must(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &out), "PEM of a CRL");
    gnutls_x509_crl_deinit(crl);
    return out;
}

/* ---- files ---- */

void test_folder_make(struct test_folder *folder)
{
    snprintf(folder->path, sizeof folder->path, "/tmp/mqtt5-test-XXXXXX");
    if (mkdtemp(folder->path) == NULL)
        abort();
}

void test_folder_free(struct test_folder *folder)
{
    DIR *directory = opendir(folder->path);
    for (struct dirent *entry = NULL; directory != NULL && (entry = readdir(directory)) != NULL;)
        unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory != NULL)
        closedir(directory);
    rmdir(folder->path);
}

const char *test_folder_write(const struct test_folder *folder, const char *name,
                              struct mqtt5_bytes content)
{
    static char paths[PATHS_MAX][256];
    static unsigned turn;
    char *path = paths[turn++ % PATHS_MAX];
    snprintf(path, sizeof paths[0], "%s/%s", folder->path, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(content.data, 1, content.len, file) != content.len ||
        fclose(file) != 0)
        abort();
    return path;
}
