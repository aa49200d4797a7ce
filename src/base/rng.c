/* xoshiro256** by Blackman and Vigna, seeded through splitmix64.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/rng.h"

#include "base/assert.h"

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

/* One step of splitmix64: spreads any seed, 0 included, over a state that is not all zeros. */
static uint64_t split_next(uint64_t *seed)
{
    uint64_t z = *seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

void m5_rng_init(struct m5_rng *rng, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        rng->state[i] = split_next(&seed);
}

uint64_t m5_rng_next(struct m5_rng *rng)
{
    uint64_t *s = rng->state;
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    const uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t m5_rng_below(struct m5_rng *rng, uint64_t bound)
{
    M5_ASSERT(bound > 0);
    /* The lowest 2^64 mod bound values are drawn again: what remains is a multiple of bound. */
    const uint64_t unfair = (0 - bound) % bound;
    uint64_t value;
    do
        value = m5_rng_next(rng);
    while (value < unfair);
    return value % bound;
}

void m5_rng_fill(struct m5_rng *rng, uint8_t *out, size_t size)
{
    while (size > 0) {
        const uint64_t value = m5_rng_next(rng);
        const size_t part = size < sizeof value ? size : sizeof value;
        for (size_t i = 0; i < part; i++)
            out[i] = (uint8_t)(value >> 8 * i);
        out += part;
        size -= part;
    }
}
