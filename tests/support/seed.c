/* The seed of a randomised test.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/seed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t test_seed(uint64_t otherwise)
{
    const char *text = getenv("MQTT5_TEST_SEED");
    const uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : otherwise;
    printf("MQTT5_TEST_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    return seed;
}
