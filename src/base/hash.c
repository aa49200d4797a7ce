/* SipHash by Aumasson and Bernstein, with 1+3 and 2+4 rounds.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/hash.h"

#include "base/word.h"

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline struct state mix(struct state s)
{
    s.v0 += s.v1;
    s.v1 = rotate_left(s.v1, 13) ^ s.v0;
    s.v0 = rotate_left(s.v0, 32);
    s.v2 += s.v3;
    s.v3 = rotate_left(s.v3, 16) ^ s.v2;
    s.v0 += s.v3;
    s.v3 = rotate_left(s.v3, 21) ^ s.v0;
    s.v2 += s.v1;
    s.v1 = rotate_left(s.v1, 17) ^ s.v2;
    s.v2 = rotate_left(s.v2, 32);
    return s;
}

static inline struct state mix_times(struct state s, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++)
        s = mix(s);
    return s;
}

static inline struct state absorb(struct state s, uint64_t word, unsigned rounds)
{
    s.v3 ^= word;
    s = mix_times(s, rounds);
    s.v0 ^= word;
    return s;
}

/* Inlined into both callers, where the numbers of rounds are constants. */
static inline uint64_t siphash(const struct m5_hash_key *key, struct mqtt5_bytes bytes,
                               unsigned rounds, unsigned final_rounds)
{
    struct state s = {
        .v0 = key->k0 ^ 0x736f6d6570736575u,
        .v1 = key->k1 ^ 0x646f72616e646f6du,
        .v2 = key->k0 ^ 0x6c7967656e657261u,
        .v3 = key->k1 ^ 0x7465646279746573u,
    };
    const uint8_t *at = bytes.data;
    size_t left = bytes.len;
    for (; left >= 8; at += 8, left -= 8)
        s = absorb(s, m5_read_le64(at), rounds);
    s = absorb(s, (uint64_t)bytes.len << 56 | m5_read_le_part(at, left), rounds);
    s.v2 ^= 0xFF;
    s = mix_times(s, final_rounds);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t m5_hash(const struct m5_hash_key *key, struct mqtt5_bytes bytes)
{
    return siphash(key, bytes, 1, 3);
}

uint64_t m5_hash_strong(const struct m5_hash_key *key, struct mqtt5_bytes bytes)
{
    return siphash(key, bytes, 2, 4);
}
