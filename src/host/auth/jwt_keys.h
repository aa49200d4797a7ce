/* A key that verifies tokens: between jwt.c and jwt_keys.c only.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_JWT_KEYS_H
#define M5_HOST_AUTH_JWT_KEYS_H

#include "host/auth/jwt.h"

#include <gnutls/abstract.h>

struct m5_jwt_key {
    enum m5_jwt_algorithm algorithm;
    char kid[M5_JWT_KID_MAX];
    size_t kid_size;
    gnutls_pubkey_t public_key; /* NULL for HS256 */
    struct m5_text secret;      /* HS256 */
};

struct m5_jwt_keys {
    struct m5_jwt_key items[M5_JWT_KEYS_MAX];
    size_t count;
};

#endif
