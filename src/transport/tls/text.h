/* Texts of TLS: what may be a name, sentences about what went wrong, small files.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_TLS_TEXT_H
#define M5_TRANSPORT_TLS_TEXT_H

#include "transport/tls/tls.h"

#include <gnutls/gnutls.h>
#include <time.h>

/* True for UTF-8 of 1 to M5_TLS_NAME_SIZE - 1 bytes without NUL and control characters: what may
 * become a user name. */
bool m5_tls_is_name(struct mqtt5_bytes text);

/* Copies a name with its zero; "" (and false) when it is none. */
bool m5_tls_copy_name(struct mqtt5_bytes text, char out[M5_TLS_NAME_SIZE]);

/* Notes why a config cannot be made; gives false. The whole sentence is made printable. */
bool m5_tls_fail(struct m5_tls_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* snprintf(), after which nothing but printable UTF-8 is left: '?' stands for the rest. */
void m5_tls_print(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define M5_TLS_DATE_SIZE 16u

/* "2024-01-02", in UTC. */
const char *m5_tls_date(time_t when, char out[M5_TLS_DATE_SIZE]);

/* A file's content, or a copy of what lay in memory already; a zero follows it. */
struct m5_tls_blob {
    uint8_t *data; /* NULL: none */
    size_t size;
};

/* Reads @p file, or copies @p memory when that is NULL. */
bool m5_tls_blob_load(struct m5_tls_blob *blob, const char *file, struct mqtt5_bytes memory,
                      struct m5_tls_error *error);

/* Wipes and frees. Accepts a zeroed blob. */
void m5_tls_blob_fini(struct m5_tls_blob *blob);

static inline gnutls_datum_t m5_tls_datum(const struct m5_tls_blob *blob)
{
    return (gnutls_datum_t){.data = blob->data, .size = (unsigned)blob->size};
}

/* PEM when an armour line is in it, else DER. */
gnutls_x509_crt_fmt_t m5_tls_format_of(const struct m5_tls_blob *blob);

#endif
