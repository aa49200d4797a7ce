/* What both sides of SCRAM compute: between scram.c and scram_client.c only.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_SCRAM_CRYPTO_H
#define M5_HOST_AUTH_SCRAM_CRYPTO_H

#include "host/auth/scram.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

size_t m5_scram_key_size(enum m5_scram_hash hash);
gnutls_mac_algorithm_t m5_scram_mac(enum m5_scram_hash hash);

/* HMAC of @p text under @p key; both of m5_scram_key_size() bytes. */
bool m5_scram_hmac(enum m5_scram_hash hash, const uint8_t *key, size_t key_size,
                   struct mqtt5_bytes text, uint8_t *out);
bool m5_scram_digest(enum m5_scram_hash hash, const uint8_t *bytes, uint8_t *out);

/* RFC 5802's SaltedPassword, then ClientKey and ServerKey. */
bool m5_scram_derive(enum m5_scram_hash hash, struct mqtt5_bytes password, const uint8_t *salt,
                     size_t salt_size, uint32_t iterations, uint8_t *client_key,
                     uint8_t *server_key);

/* Takes the value of "NAME=VALUE" and the comma behind it off @p rest; false when the next
 * attribute has another name. */
bool m5_scram_attribute(struct mqtt5_bytes *rest, char name, struct mqtt5_bytes *value);

/* Appends to a text of at most @p size_max bytes; false when it does not fit. */
bool m5_scram_append(char *text, size_t *size, size_t size_max, struct mqtt5_bytes more);

/* True for a nonce: printable ASCII without a comma, not empty. */
bool m5_scram_nonce_valid(struct mqtt5_bytes nonce);

#endif
