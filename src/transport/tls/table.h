/* The two files of lines that TLS reads: users by the fingerprints of their certificates, and
 * pre-shared keys by identity.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_TLS_TABLE_H
#define M5_TRANSPORT_TLS_TABLE_H

#include "transport/tls/text.h"

#define M5_TLS_FINGERPRINT_SIZE 32 /* SHA-256 */
#define M5_TLS_PSK_SIZE_MAX     64

struct m5_tls_user {
    uint8_t fingerprint[M5_TLS_FINGERPRINT_SIZE];
    char name[M5_TLS_NAME_SIZE];
};

struct m5_tls_key {
    char identity[M5_TLS_NAME_SIZE];
    uint8_t key[M5_TLS_PSK_SIZE_MAX];
    size_t size;
};

/* Zero-initialise both; sorted once they are read. */
struct m5_tls_users {
    struct m5_tls_user *items;
    size_t count, capacity;
};
struct m5_tls_keys {
    struct m5_tls_key *items;
    size_t count, capacity;
};

/* Lines "FINGERPRINT:USERNAME": 64 hex digits, with or without colons between the pairs. */
bool m5_tls_users_load(struct m5_tls_users *users, const char *file, struct m5_tls_error *error);
const struct m5_tls_user *m5_tls_users_find(const struct m5_tls_users *users,
                                            const uint8_t fingerprint[M5_TLS_FINGERPRINT_SIZE]);
void m5_tls_users_fini(struct m5_tls_users *users);

/* Lines "IDENTITY:KEY", the key as 32 to 128 hex digits. */
bool m5_tls_keys_load(struct m5_tls_keys *keys, const char *file, struct m5_tls_error *error);
const struct m5_tls_key *m5_tls_keys_find(const struct m5_tls_keys *keys,
                                          struct mqtt5_bytes identity);
void m5_tls_keys_fini(struct m5_tls_keys *keys); /* wipes */

/* Reads a pre-shared key of @p hex. False when it is none. */
bool m5_tls_parse_key(struct mqtt5_bytes hex, struct m5_tls_key *out);

#endif
