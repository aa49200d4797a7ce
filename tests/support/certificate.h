/* Certificates for tests, made as they run: nothing lies in the repository, nothing expires.
 *
 * All functions end the program when something fails that never should.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_CERTIFICATE_H
#define TEST_CERTIFICATE_H

#include <gnutls/x509.h>
#include <mqtt5/bytes.h>
#include <stdbool.h>
#include <stdint.h>

#define TEST_NAMES_MAX 4
#define TEST_DAY_S     86400

/* RSA has 2048 bits; the weak one, 1024, is to be refused. */
enum test_key { TEST_KEY_EC, TEST_KEY_RSA, TEST_KEY_ED25519, TEST_KEY_WEAK_RSA };
enum test_purpose { TEST_FOR_ALL, TEST_FOR_SERVERS, TEST_FOR_CLIENTS };

/* An alternative name; of type 0 there is none. */
struct test_name {
    gnutls_x509_subject_alt_name_t type;
    const char *text;
    size_t size; /* 0: up to the zero */
};

struct test_certificate_spec {
    struct mqtt5_bytes common_name; /* any bytes, marked as UTF-8; empty: none */
    struct mqtt5_bytes second_common_name;
    struct test_name names[TEST_NAMES_MAX];
    const struct test_certificate *issuer; /* NULL: signs itself */
    enum test_key key;
    enum test_purpose purpose;
    bool is_authority;
    int64_t begins_s, ends_s; /* from now; both 0: from yesterday to tomorrow */
};

struct test_certificate {
    gnutls_x509_crt_t certificate;
    gnutls_x509_privkey_t key;
    gnutls_datum_t pem, der, key_pem, key_der;
};

void test_certificate_make(struct test_certificate *out, const struct test_certificate_spec *spec);
void test_certificate_free(struct test_certificate *certificate);

/* To be freed with gnutls_free(). */
gnutls_datum_t test_certificate_chain(const struct test_certificate *leaf,
                                      const struct test_certificate *issuer);
gnutls_datum_t test_certificate_locked_key(const struct test_certificate *certificate,
                                           const char *password, gnutls_x509_crt_fmt_t format);
gnutls_datum_t test_certificate_crl(const struct test_certificate *issuer,
                                    const struct test_certificate *revoked, int64_t next_s);

static inline struct mqtt5_bytes test_bytes_of(const gnutls_datum_t *datum)
{
    return (struct mqtt5_bytes){.data = datum->data, .len = datum->size};
}

/* A folder for the files of one test program, gone with test_folder_free(). */
struct test_folder {
    char path[64];
};

void test_folder_make(struct test_folder *folder);
void test_folder_free(struct test_folder *folder);

/* Writes a file there; its path stays good until the next call but seven. */
const char *test_folder_write(const struct test_folder *folder, const char *name,
                              struct mqtt5_bytes content);

#endif
