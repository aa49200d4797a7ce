/* Seeded random numbers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/rng.h"

#include "support/unit.h"

#include <string.h>

/* The first outputs of the reference implementation for the state 1, 2, 3, 4. */
static void known_state_gives_known_numbers(void **state)
{
    (void)state;
    struct m5_rng rng = {.state = {1, 2, 3, 4}};
    assert_int_equal(m5_rng_next(&rng), 11520);
    assert_int_equal(m5_rng_next(&rng), 0);
    assert_int_equal(m5_rng_next(&rng), 1509978240);
    assert_int_equal(m5_rng_next(&rng), 1215971899390074240);
}

/* The first outputs of splitmix64 for this seed are published. */
static void the_seed_goes_through_splitmix(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, 1234567);
    assert_int_equal(rng.state[0], 6457827717110365317u);
    assert_int_equal(rng.state[1], 3203168211198807973u);
    m5_rng_init(&rng, 0);
    assert_true((rng.state[0] | rng.state[1] | rng.state[2] | rng.state[3]) != 0);
}

/* A bound just over half the range: with a plain remainder, low values would come twice as often.
 */
static void below_is_uniform(void **state)
{
    (void)state;
    struct m5_rng rng;
    m5_rng_init(&rng, 7);
    const uint64_t bound = ((uint64_t)1 << 63) + ((uint64_t)1 << 62);
    unsigned low = 0;
    for (unsigned i = 0; i < 30000; i++) {
        const uint64_t value = m5_rng_below(&rng, bound);
        assert_true(value < bound);
        low += value < bound / 3;
    }
    assert_in_range(low, 9500, 10500);
    assert_int_equal(m5_rng_below(&rng, 1), 0);
}

static void small_bounds_give_every_value(void **state)
{
    (void)state;
    struct m5_rng rng;
    unsigned count[6] = {0};
    m5_rng_init(&rng, 3);
    for (unsigned i = 0; i < 60000; i++)
        count[m5_rng_below(&rng, 6)]++;
    for (unsigned i = 0; i < 6; i++)
        assert_in_range(count[i], 9500, 10500);
}

static void fill_writes_exactly_its_bytes_and_repeats_with_the_seed(void **state)
{
    (void)state;
    for (size_t size = 0; size < 20; size++) {
        uint8_t first[24], second[24];
        struct m5_rng rng;
        memset(first, 0xEE, sizeof first);
        memset(second, 0xEE, sizeof second);
        m5_rng_init(&rng, 5);
        m5_rng_fill(&rng, first, size);
        m5_rng_init(&rng, 5);
        m5_rng_fill(&rng, second, size);
        assert_memory_equal(first, second, sizeof first);
        for (size_t i = size; i < sizeof first; i++)
            assert_int_equal(first[i], 0xEE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_state_gives_known_numbers),
        cmocka_unit_test(the_seed_goes_through_splitmix),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(small_bounds_give_every_value),
        cmocka_unit_test(fill_writes_exactly_its_bytes_and_repeats_with_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
