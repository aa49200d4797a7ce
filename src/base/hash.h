/* Keyed hash (SipHash-1-3): hostile keys cannot be made to collide without knowing the key.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_HASH_H
#define M5_BASE_HASH_H

#include <mqtt5/bytes.h>

struct m5_hash_key {
    uint64_t k0, k1;
};

/* SipHash-1-3 of @p bytes, 64 bits. */
uint64_t m5_hash(const struct m5_hash_key *key, struct mqtt5_bytes bytes);

/* The same with SipHash-2-4, whose output may be shown to strangers (assigned client ids). */
uint64_t m5_hash_strong(const struct m5_hash_key *key, struct mqtt5_bytes bytes);

#endif
