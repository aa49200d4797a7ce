/* Lists of changes: what may be left out, and that the rest says the same; checksums.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/change.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "host/store/crc.h"
#include "store/rig.h"
#include "support/seed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void crc_is_the_known_one(void **state)
{
    (void)state;
    assert_int_equal(m5_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(m5_crc32c_plain(0, "123456789", 9), 0xe3069283);
    uint8_t zeros[32] = {0};
    assert_int_equal(m5_crc32c(0, zeros, sizeof zeros), 0x8a9136aa);
}

static void crc_of_pieces_is_that_of_the_whole(void **state)
{
    (void)state;
    uint8_t bytes[100];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37);
    const uint32_t whole = m5_crc32c_plain(0, bytes, sizeof bytes);
    for (unsigned i = 0; i <= sizeof bytes; i++) {
        const uint32_t begin = m5_crc32c(0, bytes, i);
        assert_int_equal(m5_crc32c(begin, bytes + i, sizeof bytes - i), whole);
    }
}

/* The list of @p batch with everything left out that can be. */
static struct m5_change_list elided(const struct m5_batch *batch)
{
    struct m5_change_list list = {0};
    assert_true(m5_changes_add_batch(&list, batch));
    m5_changes_elide(&list);
    uint32_t live = 0;
    for (uint32_t i = 0; i < list.count; i++)
        live += list.items[i].op != 0;
    assert_int_equal(live, list.live);
    return list;
}

static void expect_left(const struct m5_batch *batch, unsigned count)
{
    struct m5_change_list list = elided(batch);
    assert_int_equal(list.live, count);
    m5_changes_fini(&list);
}

static void put_new_and_delete_leave_nothing(void **state)
{
    (void)state;
    struct m5_batch *batch = batch_new(0, true);
    batch_text(batch, M5_STORE_PUT_NEW, "m1", "body");
    batch_text(batch, M5_STORE_PUT_NEW, "m2", "body");
    batch_text(batch, M5_STORE_PUT, "m1", "again");
    batch_text(batch, M5_STORE_DELETE, "m1", NULL);
    batch_text(batch, M5_STORE_DELETE, "m1", NULL);
    expect_left(batch, 1);
    batch_text(batch, M5_STORE_DELETE, "m2", NULL);
    expect_left(batch, 0);
    batch_free_all(batch);
}

static void delete_of_what_may_be_stored_stays(void **state)
{
    (void)state;
    struct m5_batch *batch = batch_new(0, true);
    batch_text(batch, M5_STORE_PUT, "a", "1");
    batch_text(batch, M5_STORE_DELETE, "a", NULL);
    batch_text(batch, M5_STORE_DELETE, "b", NULL);
    batch_text(batch, M5_STORE_PUT_NEW, "b", "2");
    batch_text(batch, M5_STORE_DELETE, "b", NULL);
    struct m5_change_list list = elided(batch);
    assert_int_equal(list.live, 2);
    assert_int_equal(list.items[1].op, M5_STORE_DELETE);
    assert_int_equal(list.items[4].op, M5_STORE_DELETE);
    m5_changes_fini(&list);
    batch_free_all(batch);
}

static void last_value_of_a_new_key_is_new(void **state)
{
    (void)state;
    struct m5_batch *batch = batch_new(0, true);
    batch_text(batch, M5_STORE_PUT_NEW, "a", "1");
    batch_text(batch, M5_STORE_PUT, "a", "2");
    struct m5_change_list list = elided(batch);
    assert_int_equal(list.live, 1);
    assert_int_equal(list.items[1].op, M5_STORE_PUT_NEW);
    assert_memory_equal(list.items[1].value.data, "2", 1);
    m5_changes_fini(&list);
    batch_free_all(batch);
}

/* A batch of random changes to few keys; keys put by PUT_NEW have never been used before. */
static struct m5_batch *random_batch(struct m5_rng *rng, unsigned *fresh)
{
    struct m5_batch *batch = batch_new(0, true);
    const unsigned first = *fresh;
    for (unsigned i = 0, count = 1 + (unsigned)m5_rng_below(rng, 60); i < count; i++) {
        char key[32], value[32];
        const bool recent = *fresh > first && m5_rng_below(rng, 2) == 0;
        const unsigned number = recent ? first + (unsigned)m5_rng_below(rng, *fresh - first)
                                       : (unsigned)m5_rng_below(rng, 20);
        snprintf(key, sizeof key, recent ? "n%u" : "k%02u", number);
        snprintf(value, sizeof value, "%u", (unsigned)m5_rng_below(rng, 1000));
        switch (m5_rng_below(rng, 6)) {
        case 0:
            snprintf(key, sizeof key, "n%u", (*fresh)++);
            batch_text(batch, M5_STORE_PUT_NEW, key, value);
            break;
        case 1:
            key[2] = 0;
            batch_text(batch, M5_STORE_DELETE_PREFIX, key, NULL);
            break;
        case 2:
        case 3: batch_text(batch, M5_STORE_DELETE, key, NULL); break;
        default: batch_text(batch, M5_STORE_PUT, key, value); break;
        }
    }
    return batch;
}

/* The batch that a list writes and another reads. */
static struct m5_batch *through_bytes(const struct m5_change_list *list)
{
    const size_t size = (size_t)m5_changes_size(list);
    uint8_t *bytes = malloc(size + 1);
    assert_non_null(bytes);
    assert_ptr_equal(m5_changes_write(list, bytes), bytes + size);
    struct m5_change_list again = {0};
    assert_int_equal(m5_changes_read(&again, m5_bytes(bytes, size)), MQTT5_OK);
    assert_int_equal(again.count, list->live);
    struct m5_batch *batch = batch_new(0, true);
    for (uint32_t i = 0; i < again.count; i++)
        batch_add(batch, again.items[i].op, again.items[i].key, again.items[i].value);
    for (size_t cut = 1; cut < size && cut < 40; cut++) {
        m5_changes_clear(&again);
        const enum mqtt5_error error = m5_changes_read(&again, m5_bytes(bytes, size - cut));
        assert_true(error == MQTT5_ERR_TRUNCATED ||
                    (error == MQTT5_OK && again.count < list->live));
    }
    m5_changes_fini(&again);
    free(bytes);
    return batch;
}

static void what_is_left_has_the_same_effect(void **state)
{
    (void)state;
    const uint64_t seed = test_seed(20261122);
    struct m5_rng rng;
    m5_rng_init(&rng, seed);
    struct model plain = {0}, reduced = {0};
    unsigned fresh = 0;
    for (unsigned round = 0; round < 3000; round++) {
        struct m5_batch *batch = random_batch(&rng, &fresh);
        struct m5_change_list list = elided(batch);
        struct m5_batch *rest = through_bytes(&list);
        model_apply(&plain, batch);
        model_apply(&reduced, rest);
        assert_true(model_digest(&plain) == model_digest(&reduced));
        m5_changes_fini(&list);
        batch_free_all(batch);
        batch_free_all(rest);
    }
    model_free(&plain);
    model_free(&reduced);
}

static void bytes_without_sense_are_refused(void **state)
{
    (void)state;
    static const uint8_t bad[][8] = {
        {0, 1, 0, 0, 0, 1, 'k', 'v'},  /* no such operation */
        {5, 1, 0, 0, 0, 1, 'k', 'v'},  /* nor this one */
        {1, 0, 0, 0, 0, 2, 'k', 'v'},  /* no key */
        {1, 33, 0, 0, 0, 0, 'k', 'v'}, /* a key that is too long */
        {1, 1, 0, 0, 0, 2, 'k', 'v'},  /* a value that ends later */
        {1, 1, 255, 255, 255, 255, 'k', 'v'}, {1, 3, 0, 0, 0, 0, 'k', 'v'},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct m5_change_list list = {0};
        assert_int_equal(m5_changes_read(&list, m5_bytes(bad[i], 8)), MQTT5_ERR_TRUNCATED);
        assert_int_equal(list.count, 0);
        m5_changes_fini(&list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_is_the_known_one),
        cmocka_unit_test(crc_of_pieces_is_that_of_the_whole),
        cmocka_unit_test(put_new_and_delete_leave_nothing),
        cmocka_unit_test(delete_of_what_may_be_stored_stays),
        cmocka_unit_test(last_value_of_a_new_key_is_new),
        cmocka_unit_test(what_is_left_has_the_same_effect),
        cmocka_unit_test(bytes_without_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
