/* A disk that fails: nothing is handed back that is not stored, and it goes on by itself.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/store/state.h"
#include "store/disk.h"
#include "store/workload.h"
#include "support/seed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void submit(struct rig *rig, struct workload *load, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        m5_store_submit(rig->store, workload_next(load));
}

/* Submits until storing fails. */
static void submit_until_failing(struct rig *rig, struct workload *load)
{
    const unsigned before = rig_failed(rig);
    submit(rig, load, 30);
    rig_wait_failed(rig, before + 1);
    assert_true(m5_store_failing(rig->store));
}

static uint64_t stored(struct rig *rig)
{
    pthread_mutex_lock(&rig->mutex);
    const uint64_t count = rig->stored;
    pthread_mutex_unlock(&rig->mutex);
    return count;
}

/* A rig with a workload, on a disk that can fail. */
static void start(struct rig *rig, struct workload *load, uint64_t seed)
{
    rig_init(rig);
    workload_init(load, seed, true);
    disk_watch(rig->dir);
    rig->options.apply_ms = 2;
    assert_int_equal(rig_open(rig), MQTT5_OK);
    submit(rig, load, 50);
    rig_wait_stored(rig, load->submitted);
}

/* Everything is stored now, and is there after a restart. */
static void finish(struct rig *rig, struct workload *load)
{
    rig_wait_stored(rig, load->submitted);
    rig_close(rig);
    rig_expect(rig, &load->model);
    disk_watch(NULL);
    workload_fini(load);
    rig_fini(rig);
}

/* What fails, and a word that the host must be told. */
static void fail_and_recover(unsigned calls, const char *prefix, int error, const char *word)
{
    struct rig rig;
    struct workload load;
    start(&rig, &load, test_seed(21));
    for (unsigned round = 1; round <= 5; round++) {
        const uint64_t before = stored(&rig);
        disk_fail(calls, prefix, error, 0);
        submit_until_failing(&rig, &load);
        assert_non_null(strstr(rig.why, word));
        usleep(20000); /* some attempts */
        assert_int_equal(rig_failed(&rig), round);
        assert_int_equal(rig_healed(&rig), round - 1);
        if (strcmp(prefix, "log-") == 0)
            assert_int_equal(stored(&rig), before);
        disk_fail(0, "", 0, 0);
        rig_wait_stored(&rig, load.submitted);
        rig_wait_healed(&rig, round);
        assert_false(m5_store_failing(rig.store));
    }
    struct m5_store_figures figures;
    m5_store_figures(rig.store, &figures);
    assert_true(figures.failures >= 5);
    finish(&rig, &load);
}

static void a_full_disk_holds_everything_back_until_there_is_room(void **state)
{
    (void)state;
    fail_and_recover(DISK_WRITE | DISK_CREATE, "log-", ENOSPC, strerror(ENOSPC));
}

static void a_log_that_cannot_be_written_is_begun_anew(void **state)
{
    (void)state;
    fail_and_recover(DISK_WRITE, "log-", EIO, strerror(EIO));
}

static void a_log_that_cannot_be_synced_is_begun_anew(void **state)
{
    (void)state;
    fail_and_recover(DISK_SYNC, "log-", EIO, strerror(EIO));
}

static void a_map_that_cannot_be_written_is_tried_again(void **state)
{
    (void)state;
    fail_and_recover(DISK_WRITE, "data.mdb", ENOSPC, strerror(ENOSPC));
}

static void a_map_that_cannot_be_synced_is_rewritten(void **state)
{
    (void)state;
    fail_and_recover(DISK_SYNC, "data.mdb", EIO, strerror(EIO));
}

/* LMDB syncs the pages, then writes the page that names them: only that fails. */
static void a_map_whose_head_cannot_be_written_is_rewritten(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    start(&rig, &load, test_seed(22));
    for (unsigned round = 1; round <= 5; round++) {
        disk_fail(DISK_SYNC, "data.mdb", EIO, 1);
        submit_until_failing(&rig, &load);
        disk_fail(0, "", 0, 0);
        rig_wait_stored(&rig, load.submitted);
        rig_wait_healed(&rig, round);
    }
    assert_true(disk_count(DISK_RENAME) >= 5);
    finish(&rig, &load);
}

static void a_sync_that_failed_once_is_not_believed_the_second_time(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    start(&rig, &load, test_seed(23));
    const uint64_t made = disk_count(DISK_CREATE);
    const uint64_t written = disk_count(DISK_WRITE);
    disk_fail(DISK_SYNC, "log-", EIO, 0);
    m5_store_submit(rig.store, workload_next(&load));
    rig_wait_failed(&rig, 1);
    disk_fail(0, "", 0, 0);
    rig_wait_healed(&rig, 1);
    assert_true(disk_count(DISK_CREATE) > made); /* a new segment, and all of it written again */
    assert_true(disk_count(DISK_WRITE) >= written + 2);
    finish(&rig, &load);
}

static void a_disk_that_fills_up_and_is_cleared_again_and_again(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    start(&rig, &load, test_seed(24));
    for (unsigned round = 0; round < 20; round++) {
        disk_set_room(m5_rng_below(&load.rng, 400000));
        submit(&rig, &load, 100);
        usleep(3000);
        disk_set_room(UINT64_MAX);
        submit(&rig, &load, 10);
        rig_wait_stored(&rig, load.submitted);
    }
    finish(&rig, &load);
}

static void random_calls_that_fail_lose_nothing(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    start(&rig, &load, test_seed(25));
    for (unsigned round = 0; round < 60 / RIG_SLOWER + 4; round++) {
        const unsigned calls = 1 + (unsigned)m5_rng_below(&load.rng, DISK_ALL);
        disk_fail(calls, "", round % 2 == 0 ? EIO : ENOSPC, (unsigned)m5_rng_below(&load.rng, 9));
        submit(&rig, &load, 40);
        usleep(2000);
        disk_fail(0, "", 0, 0);
        rig_wait_stored(&rig, load.submitted);
        if (round % 10 != 9)
            continue;
        rig_close(&rig);
        rig_expect(&rig, &load.model);
        assert_int_equal(rig_open(&rig), MQTT5_OK);
    }
    finish(&rig, &load);
}

static void opening_on_a_failing_disk_fails_in_words_and_harms_nothing(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    unsigned failed = 0;
    start(&rig, &load, test_seed(26));
    rig_close(&rig);
    for (unsigned after = 0; after < 40; after++) {
        rig.options.apply_ms = 60000;
        assert_int_equal(rig_open(&rig), MQTT5_OK);
        submit(&rig, &load, 20);
        rig_wait_stored(&rig, load.submitted);
        rig_abandon(&rig); /* the next start has something to do */
        disk_fail(DISK_ALL, "", EIO, after);
        const enum mqtt5_error error = rig_open_only(&rig);
        disk_fail(0, "", 0, 0);
        failed += error != MQTT5_OK;
        if (error == MQTT5_OK)
            rig_close(&rig);
        rig.options.damaged = MQTT5_STORAGE_REFUSE;
        rig_expect(&rig, &load.model);
    }
    assert_true(failed >= 5);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    finish(&rig, &load);
}

static void stopping_on_a_failing_disk_ends_in_time_and_says_what_is_left(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    start(&rig, &load, test_seed(27));
    const uint64_t number = load.submitted;
    const uint64_t digest = load.digests[number];
    disk_fail(DISK_WRITE, "log-", ENOSPC, 0);
    submit_until_failing(&rig, &load);
    const uint64_t begin_ms = now_ms();
    assert_int_equal(m5_store_stop(rig.store, 200), MQTT5_ERR_IO);
    assert_in_range(now_ms() - begin_ms, 150, 3000);
    struct m5_batch *retained, *left = m5_store_left(rig.store, &retained);
    uint64_t count = 0;
    for (const struct m5_batch *batch = left; batch != NULL; batch = batch->next)
        count++;
    assert_int_equal(count, load.submitted - number);
    assert_null(retained);
    batch_free_all(left);
    m5_store_free(rig.store);
    rig.store = NULL;
    disk_fail(0, "", 0, 0);
    struct model found = rig_load(&rig);
    assert_int_equal(workload_number(&found), number);
    assert_true(model_digest(&found) == digest);
    model_free(&found);
    disk_watch(NULL);
    workload_fini(&load);
    rig_fini(&rig);
}

static void stopping_while_the_map_fails_leaves_everything_in_the_log(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    start(&rig, &load, test_seed(28));
    disk_fail(DISK_WRITE, "data.mdb", EIO, 0);
    submit_until_failing(&rig, &load);
    rig_wait_stored(&rig, load.submitted);
    rig_close(&rig); /* MQTT5_OK: it is durable */
    disk_fail(0, "", 0, 0);
    rig_expect(&rig, &load.model);
    assert_true(rig.report.replayed > 0);
    disk_watch(NULL);
    workload_fini(&load);
    rig_fini(&rig);
}

/* Half of a window is in the map when the broker is killed; after the restart the window is another
 * one, in which what is in the map already is put and deleted. */
static void what_is_half_in_the_map_is_still_deleted(void **state)
{
    (void)state;
    for (unsigned after = 1; after < 12; after++) {
        struct rig rig;
        rig_init(&rig);
        disk_watch(rig.dir);
        rig.options.apply_ms = 1;
        assert_int_equal(rig_open_only(&rig), MQTT5_OK);
        rig.store->tree.chunk = 1;
        rig_start(&rig);
        disk_fail(DISK_WRITE, "data.mdb", ENOSPC, after);
        struct m5_batch *batch = batch_new(0, true);
        for (char key[] = "a"; key[0] <= 'k'; key[0]++)
            batch_text(batch, M5_STORE_PUT_NEW, key, "new");
        rig_store(&rig, batch);
        rig_wait_failed(&rig, 1);
        batch = batch_new(0, true);
        for (char key[] = "a"; key[0] <= 'j'; key[0]++)
            batch_text(batch, M5_STORE_DELETE, key, NULL);
        rig_store(&rig, batch);
        rig_abandon(&rig);
        disk_watch(NULL);
        struct model found = rig_load(&rig);
        assert_int_equal(found.count, 1);
        model_free(&found);
        rig_fini(&rig);
    }
}

static void a_map_that_stays_behind_ends_acknowledging(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    rig_init(&rig);
    workload_init(&load, test_seed(29), true);
    disk_watch(rig.dir);
    rig.options.apply_ms = 1;
    rig.options.log_bytes_max = 20000;
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    disk_fail(DISK_WRITE, "data.mdb", EIO, 0);
    while (stored(&rig) + 200 > load.submitted && load.submitted < 5000) {
        submit(&rig, &load, 10);
        usleep(1000);
    }
    assert_true(load.submitted < 5000);
    disk_fail(0, "", 0, 0);
    finish(&rig, &load);
}

static void a_disk_that_hangs_makes_groups_and_blocks_nobody(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    start(&rig, &load, test_seed(30));
    struct m5_store_figures before, after;
    m5_store_figures(rig.store, &before);
    disk_hang(true);
    submit(&rig, &load, 1000); /* or this would never end */
    disk_hang(false);
    rig_wait_stored(&rig, load.submitted);
    m5_store_figures(rig.store, &after);
    assert_in_range(after.commits - before.commits, 1, 3);
    finish(&rig, &load);
}

/* The threads are left behind and the store is not freed; nothing is said to be stored. Here they
 * end after all, when the disk wakes up. */
static void stopping_on_a_disk_that_hangs_gives_up(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    start(&rig, &load, test_seed(31));
    struct m5_store *store = rig.store;
    const uint64_t before = load.submitted;
    store->options.hang_ms = 100;
    disk_hang(true);
    submit(&rig, &load, 20);
    const uint64_t begin_ms = now_ms();
    assert_int_equal(m5_store_stop(store, 100), MQTT5_ERR_TIMEOUT);
    assert_in_range(now_ms() - begin_ms, 200, 5000);
    assert_int_equal(stored(&rig), before);
    m5_store_free(store); /* does nothing */
    disk_hang(false);
    pthread_join(store->writer, NULL);
    pthread_join(store->applier, NULL);
    rig_wait_stored(&rig, load.submitted);
    assert_null(m5_store_left(store, NULL));
    store->running = store->hung = false;
    m5_store_free(store);
    rig.store = NULL;
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    finish(&rig, &load);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_holds_everything_back_until_there_is_room),
        cmocka_unit_test(a_log_that_cannot_be_written_is_begun_anew),
        cmocka_unit_test(a_log_that_cannot_be_synced_is_begun_anew),
        cmocka_unit_test(a_map_that_cannot_be_written_is_tried_again),
        cmocka_unit_test(a_map_that_cannot_be_synced_is_rewritten),
        cmocka_unit_test(a_map_whose_head_cannot_be_written_is_rewritten),
        cmocka_unit_test(a_sync_that_failed_once_is_not_believed_the_second_time),
        cmocka_unit_test(a_disk_that_fills_up_and_is_cleared_again_and_again),
        cmocka_unit_test(random_calls_that_fail_lose_nothing),
        cmocka_unit_test(opening_on_a_failing_disk_fails_in_words_and_harms_nothing),
        cmocka_unit_test(stopping_on_a_failing_disk_ends_in_time_and_says_what_is_left),
        cmocka_unit_test(stopping_while_the_map_fails_leaves_everything_in_the_log),
        cmocka_unit_test(what_is_half_in_the_map_is_still_deleted),
        cmocka_unit_test(a_map_that_stays_behind_ends_acknowledging),
        cmocka_unit_test(a_disk_that_hangs_makes_groups_and_blocks_nobody),
        cmocka_unit_test(stopping_on_a_disk_that_hangs_gives_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
