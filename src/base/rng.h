/* Seeded pseudo-random numbers (xoshiro256**, seeded by splitmix64). The seed comes from outside;
 * not for keys. Ids that must not be guessed take 128 bits of a host seed of real entropy.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_RNG_H
#define M5_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct m5_rng {
    uint64_t state[4];
};

void m5_rng_init(struct m5_rng *rng, uint64_t seed);
uint64_t m5_rng_next(struct m5_rng *rng);

/* Uniform in [0, bound); @p bound > 0. No modulo bias. */
uint64_t m5_rng_below(struct m5_rng *rng, uint64_t bound);

void m5_rng_fill(struct m5_rng *rng, uint8_t *out, size_t size);

#endif
