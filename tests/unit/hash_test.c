/* SipHash against numbers that other implementations give.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "base/hash.h"

#include "support/guard_page.h"
#include "support/unit.h"

/* The vectors of the reference implementation: key 00 01 .. 0f, input 00 01 .. of each length. */
static void strong_hash_gives_the_reference_vectors(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        uint64_t hash;
    } vectors[] = {
        {0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd},  {7, 0xab0200f58b01d137},
        {8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5},
    };
    const struct m5_hash_key key = {.k0 = 0x0706050403020100, .k1 = 0x0f0e0d0c0b0a0908};
    uint8_t input[16];
    for (uint8_t i = 0; i < sizeof input; i++)
        input[i] = i;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
        assert_int_equal(m5_hash_strong(&key, m5_bytes(input, vectors[i].len)), vectors[i].hash);
}

/* What CPython 3.11 (siphash13) gives as hash(b"...") with PYTHONHASHSEED=0, whose key is 0. */
static void hash_gives_what_another_implementation_gives(void **state)
{
    (void)state;
    const struct m5_hash_key key = {0};
    assert_int_equal(m5_hash(&key, m5_bytes_of("a")), 0x407448d2b89b1813);
    assert_int_equal(m5_hash(&key, m5_bytes_of("abcdefg")), 0x6db12aae9070f506);
    assert_int_equal(m5_hash(&key, m5_bytes_of("abcdefgh")), 0x3f7b849c0b8e35ea);
    assert_int_equal(m5_hash(&key, m5_bytes_of("sport/tennis")), 0xbd5310cb2ed91992);
    assert_int_equal(m5_hash(&key, m5_bytes_of("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")),
                     0x1ff91b165bb0419b);
}

static void every_length_stays_inside_its_bytes(void **state)
{
    (void)state;
    const struct m5_hash_key key = {.k0 = 1, .k1 = 2};
    struct guard_page guard;
    guard_page_init(&guard, 64);
    uint8_t input[64] = {0};
    uint64_t hashes[65];
    for (size_t len = 0; len <= sizeof input; len++) {
        hashes[len] = m5_hash(&key, guard_page_place(&guard, m5_bytes(input, len)));
        assert_int_equal(hashes[len], m5_hash(&key, m5_bytes(input, len)));
        for (size_t other = 0; other < len; other++) /* zeros of another length hash otherwise */
            assert_int_not_equal(hashes[other], hashes[len]);
    }
    assert_int_equal(m5_hash(&key, (struct mqtt5_bytes){0}), hashes[0]);
    guard_page_fini(&guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strong_hash_gives_the_reference_vectors),
        cmocka_unit_test(hash_gives_what_another_implementation_gives),
        cmocka_unit_test(every_length_stays_inside_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
