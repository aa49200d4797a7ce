/* The seed of a randomised test: printed, and settable to run a failure again.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_SEED_H
#define TEST_SEED_H

#include <stdint.h>

/* MQTT5_TEST_SEED of the environment, or @p otherwise; says which on standard output. */
uint64_t test_seed(uint64_t otherwise);

#endif
