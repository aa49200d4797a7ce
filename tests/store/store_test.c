/* The store as its host sees it: order, atomicity, starting again, refusing.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/store.h"

#include "base/bytes.h"
#include "base/rng.h"
#include "host/store/state.h"
#include "store/workload.h"
#include "support/seed.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A batch with one change, as texts. */
static struct m5_batch *single(uint32_t shard, enum m5_store_op op, const char *key,
                               const char *value)
{
    struct m5_batch *batch = batch_new(shard, true);
    batch_text(batch, op, key, value);
    return batch;
}

static void a_new_store_is_empty_and_private(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    char base[128];
    memcpy(base, rig.dir, sizeof base);
    snprintf(rig.dir + strlen(rig.dir), 16, "/a/b");
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    assert_true(rig.report.created);
    assert_string_equal(rig.report.damage, "");
    struct stat status;
    assert_int_equal(stat(rig.dir, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    rig_close(&rig);
    struct model nothing = {0};
    rig_expect(&rig, &nothing);
    memcpy(rig.dir, base, sizeof base);
    rig_fini(&rig);
}

static void what_is_handed_back_is_there_after_a_restart(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    rig_store(&rig, single(0, M5_STORE_PUT, "k1", "one"));
    rig_store(&rig, single(1, M5_STORE_PUT, "k2", ""));
    rig_store(&rig, single(2, M5_STORE_PUT_NEW, "k3", "three"));
    rig_store(&rig, single(3, M5_STORE_DELETE, "k1", NULL));
    rig_close(&rig);
    assert_int_equal(rig_count_files(&rig, "log-"), 0);
    struct model model = {0};
    model_put(&model, m5_bytes_of("k2"), m5_bytes(NULL, 0));
    model_put(&model, m5_bytes_of("k3"), m5_bytes_of("three"));
    rig_expect(&rig, &model);
    assert_false(rig.report.created);
    assert_int_equal(rig.report.replayed, 0);
    assert_true(rig.report.written_ms > 1600000000000);
    model_free(&model);
    rig_fini(&rig);
}

static void a_killed_broker_finds_everything_in_the_log(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.options.apply_ms = 60000; /* nothing gets into the map */
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    rig_store(&rig, single(0, M5_STORE_PUT_NEW, "k1", "one"));
    rig_store(&rig, single(0, M5_STORE_PUT_NEW, "k2", "two"));
    rig_store(&rig, single(0, M5_STORE_DELETE, "k1", NULL));
    rig_abandon(&rig);
    assert_int_equal(rig_count_files(&rig, "log-"), 1);
    struct model model = {0};
    model_put(&model, m5_bytes_of("k2"), m5_bytes_of("two"));
    rig_expect(&rig, &model);
    assert_int_equal(rig.report.replayed, 3);
    assert_int_equal(rig_count_files(&rig, "log-"), 0);
    rig_expect(&rig, &model);
    assert_int_equal(rig.report.replayed, 0);
    model_free(&model);
    rig_fini(&rig);
}

/* Small limits, so that segments, windows and transactions end in all places. */
static void random_batches_survive_restarts_of_both_kinds(void **state)
{
    (void)state;
    struct workload load;
    struct rig rig;
    workload_init(&load, test_seed(1), false);
    rig_init(&rig);
    rig.options.segment_bytes = 100000;
    rig.options.apply_bytes = 30000;
    rig.options.apply_ms = 3;
    rig.options.gather_ms = 1;
    rig.options.group_bytes = 40000;
    rig.options.map_bytes = 1 << 20; /* has to grow */
    for (unsigned round = 0; round < 20 / RIG_SLOWER + 4; round++) {
        assert_int_equal(rig_open_only(&rig), MQTT5_OK);
        rig.store->tree.chunk = 1 + (uint32_t)m5_rng_below(&load.rng, 300);
        rig_start(&rig);
        for (uint64_t left = m5_rng_below(&load.rng, 800); left > 0; left--)
            m5_store_submit(rig.store, workload_next(&load));
        rig_wait_stored(&rig, load.submitted);
        assert_int_equal(rig_failed(&rig), 0);
        if (round % 2 == 0)
            rig_close(&rig);
        else
            rig_abandon(&rig);
        rig_expect(&rig, &load.model);
    }
    workload_fini(&load);
    rig_fini(&rig);
}

struct submitter {
    struct rig *rig;
    pthread_t thread;
    uint32_t shard;
};

static void *submit_many(void *ctx)
{
    const struct submitter *me = ctx;
    for (unsigned i = 1; i <= 2000 / RIG_SLOWER; i++) {
        char key[32];
        snprintf(key, sizeof key, "%u-%05u", me->shard, i);
        struct m5_batch *batch = single(me->shard, M5_STORE_PUT, key, "value");
        batch->position = i;
        batch->urgent = i % 3 == 0;
        m5_store_submit(me->rig->store, batch);
    }
    return NULL;
}

static void one_shards_batches_come_back_in_order_from_all_threads(void **state)
{
    (void)state;
    struct rig rig;
    struct submitter submitters[4];
    const unsigned total = 4 * (2000 / RIG_SLOWER);
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    for (uint32_t i = 0; i < 4; i++) {
        submitters[i] = (struct submitter){.rig = &rig, .shard = i};
        assert_int_equal(pthread_create(&submitters[i].thread, NULL, submit_many, &submitters[i]),
                         0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(submitters[i].thread, NULL);
    rig_wait_stored(&rig, total); /* the hook checks the order */
    struct m5_store_figures figures;
    m5_store_figures(rig.store, &figures);
    assert_int_equal(figures.changes, total);
    assert_true(figures.commits >= 1 && figures.commits <= total);
    assert_true(figures.bytes_file > 0);
    rig_close(&rig);
    struct model found = rig_load(&rig);
    assert_int_equal(found.count, total);
    model_free(&found);
    rig_fini(&rig);
}

static void what_cancels_within_a_group_costs_no_commit(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    for (unsigned i = 1; i <= 10; i++) {
        struct m5_batch *batch = single(0, M5_STORE_PUT_NEW, "m", "body");
        batch_text(batch, M5_STORE_DELETE, "m", NULL);
        rig_store(&rig, batch);
        rig_store(&rig, batch_new(0, true)); /* nothing in it at all */
    }
    struct m5_store_figures figures;
    m5_store_figures(rig.store, &figures);
    assert_int_equal(figures.commits, 0);
    rig_close(&rig);
    rig_fini(&rig);
}

static void nobody_waits_for_what_is_not_urgent_but_it_is_stored(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.options.gather_ms = 30;
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    for (unsigned i = 1; i <= 20; i++) {
        struct m5_batch *batch = single(0, M5_STORE_PUT, "k", "v");
        batch->urgent = false;
        batch->position = i;
        m5_store_submit(rig.store, batch);
    }
    rig_wait_stored(&rig, 20);
    struct m5_store_figures figures;
    m5_store_figures(rig.store, &figures);
    assert_in_range(figures.commits, 1, 3);
    rig_close(&rig);
    rig_fini(&rig);
}

static void retained_messages_are_stored_with_and_without_batches(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    pthread_mutex_lock(&rig.mutex);
    rig.retained = single(0, M5_STORE_PUT, "r1", "a");
    rig.retained->next = single(0, M5_STORE_PUT, "r2", "b");
    pthread_mutex_unlock(&rig.mutex);
    rig_store(&rig, single(0, M5_STORE_PUT, "r1", "overwritten by what is applied after it"));
    assert_int_equal(rig.retained_stored, 2);
    pthread_mutex_lock(&rig.mutex);
    rig.retained = single(0, M5_STORE_PUT, "r3", "c");
    pthread_mutex_unlock(&rig.mutex);
    rig_close(&rig);
    assert_int_equal(rig.retained_stored, 3);
    assert_string_equal(rig_text(&rig, "r1"), "a");
    assert_string_equal(rig_text(&rig, "r3"), "c");
    rig_fini(&rig);
}

static void batches_submitted_before_the_start_are_stored(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    assert_int_equal(rig_open_only(&rig), MQTT5_OK);
    struct m5_batch *batch = single(2, M5_STORE_PUT, "early", "bird");
    batch->position = 1;
    m5_store_submit(rig.store, batch);
    rig_start(&rig);
    rig_wait_stored(&rig, 1);
    rig_close(&rig);
    assert_string_equal(rig_text(&rig, "early"), "bird");
    rig_fini(&rig);
}

static void large_batches_and_values_are_stored_whole(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.options.map_bytes = 1 << 20;
    rig.options.group_bytes = 1 << 20;
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    const size_t size = 5 << 20;
    uint8_t *value = malloc(size);
    assert_non_null(value);
    struct m5_rng rng;
    m5_rng_init(&rng, 7);
    m5_rng_fill(&rng, value, size);
    struct model model = {0};
    struct m5_batch *batch = batch_new(0, true);
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t key[2] = {'v', (uint8_t)i};
        batch_add(batch, M5_STORE_PUT, m5_bytes(key, 2), m5_bytes(value, size - i));
        model_put(&model, m5_bytes(key, 2), m5_bytes(value, size - i));
    }
    rig_store(&rig, batch);
    rig_abandon(&rig);
    rig_expect(&rig, &model);
    rig_expect(&rig, &model);
    model_free(&model);
    free(value);
    rig_fini(&rig);
}

/* ---- refusing ---- */

static void a_second_broker_is_refused_by_name_of_the_first(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    char pid[32];
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    struct m5_store *other;
    struct m5_store_report report;
    assert_int_equal(m5_store_open(&rig.options, &other, &report), MQTT5_ERR_CONFIG);
    assert_null(other);
    assert_non_null(strstr(report.why, "in use by another broker"));
    assert_non_null(strstr(report.why, pid));
    close(pipes[0]);
    close(pipes[1]);
    rig_store(&rig, single(0, M5_STORE_PUT, "still", "here"));
    rig_close(&rig);
    assert_string_equal(rig_text(&rig, "still"), "here");
    rig_fini(&rig);
}

static void expect_refused(struct rig *rig, const char *words)
{
    assert_int_equal(rig_open(rig), MQTT5_ERR_CONFIG);
    if (strstr(rig->report.why, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", rig->report.why, words);
}

static void what_is_not_a_folder_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    char base[128];
    memcpy(base, rig.dir, sizeof base);
    snprintf(rig.dir + strlen(rig.dir), 16, "/file");
    const int fd = open(rig.dir, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    expect_refused(&rig, "cannot be used as a folder");
    snprintf(rig.dir + strlen(rig.dir), 16, "/below");
    expect_refused(&rig, "cannot be");
    memcpy(rig.dir, base, sizeof base);
    rig_fini(&rig);
}

static void a_folder_that_cannot_be_written_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    /* Root may write everywhere: drop that in a child. */
    assert_int_equal(chmod(rig.dir, 0555), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (getuid() == 0 && (chmod(rig.dir, 0555) != 0 || setuid(65534) != 0))
            _exit(2);
        rig.options.dir = rig.dir;
        const enum mqtt5_error error = m5_store_open(&rig.options, &rig.store, &rig.report);
        _exit(error == MQTT5_ERR_CONFIG && strstr(rig.report.why, "cannot be written") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    chmod(rig.dir, 0700);
    rig_fini(&rig);
}

static void a_later_format_is_refused_and_left_alone(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    rig_store(&rig, single(0, M5_STORE_PUT, "from", "the future"));
    /* Written the way that the store writes its own records: through a batch. */
    uint8_t format[12] = {0, 0, 0, M5_STORE_FORMAT + 1};
    struct m5_batch *batch = batch_new(0, true);
    memcpy(format + 4, &rig.store->tree.store, 8);
    batch_add(batch, M5_STORE_PUT, m5_bytes("\0f", 2), m5_bytes(format, sizeof format));
    rig_store(&rig, batch);
    rig_close(&rig);
    expect_refused(&rig, "later version of this program (format 2");
    rig.options.damaged = MQTT5_STORAGE_SET_ASIDE;
    expect_refused(&rig, "later version");
    assert_int_equal(rig_count_files(&rig, "data.mdb.damaged"), 0);
    rig_fini(&rig);
}

/* ---- space ---- */

static void store_many(struct rig *rig, enum m5_store_op op, unsigned count, const char *value)
{
    for (unsigned i = 0; i < count;) {
        struct m5_batch *batch = batch_new(0, true);
        for (unsigned end = i + 5000; i < end; i++) {
            char key[32];
            snprintf(key, sizeof key, "m%08u", i);
            batch_text(batch, op, key, op == M5_STORE_DELETE ? NULL : value);
        }
        rig_store(rig, batch);
    }
}

static off_t map_size(const struct rig *rig)
{
    char path[256];
    struct stat status;
    rig_path(rig, "data.mdb", path);
    assert_int_equal(stat(path, &status), 0);
    return status.st_size;
}

/* Fills the map and drains it again. */
static void fill_and_drain(struct rig *rig)
{
    rig->options.apply_changes = 5000; /* else nothing would get there */
    assert_int_equal(rig_open(rig), MQTT5_OK);
    store_many(rig, M5_STORE_PUT, 40000, "0123456789012345678901234567890123456789");
    store_many(rig, M5_STORE_DELETE, 40000, NULL);
    rig_store(rig, single(0, M5_STORE_PUT, "left", "over"));
    rig_close(rig);
}

static void a_map_that_was_drained_is_rewritten_at_start(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.options.compact_bytes = 1 << 30;
    fill_and_drain(&rig);
    assert_true(map_size(&rig) > 1 << 20);
    rig.options.compact_bytes = 1 << 20;
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    assert_true(rig.report.compacted > 1 << 20);
    assert_true(rig.report.bytes_file < 1 << 18);
    rig_store(&rig, single(0, M5_STORE_PUT, "and", "on"));
    rig_close(&rig);
    assert_string_equal(rig_text(&rig, "left"), "over");
    assert_string_equal(rig_text(&rig, "and"), "on");
    rig_fini(&rig);
}

static void a_map_that_was_drained_is_rewritten_while_running(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.options.compact_bytes = 1 << 20;
    fill_and_drain(&rig);
    assert_true(map_size(&rig) < 1 << 20);
    assert_string_equal(rig_text(&rig, "left"), "over");
    assert_int_equal(rig.report.compacted, 0);
    rig_fini(&rig);
}

static void filling_and_draining_again_does_not_grow_the_map(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.options.apply_changes = 5000;
    off_t sizes[6];
    char path[256];
    rig_path(&rig, "data.mdb", path);
    for (unsigned round = 0; round < 6; round++) {
        struct stat status;
        assert_int_equal(rig_open(&rig), MQTT5_OK);
        store_many(&rig, M5_STORE_PUT, 20000, "0123456789012345678901234567890123456789");
        rig_close(&rig);
        assert_int_equal(rig_open(&rig), MQTT5_OK);
        store_many(&rig, M5_STORE_DELETE, 20000, NULL);
        rig_close(&rig);
        assert_int_equal(stat(path, &status), 0);
        sizes[round] = status.st_size;
    }
    assert_true(sizes[5] <= sizes[1] + sizes[1] / 4);
    rig_fini(&rig);
}

static void a_million_small_records(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    store_many(&rig, M5_STORE_PUT_NEW, 1000000 / RIG_SLOWER, "a value");
    rig_close(&rig);
    assert_int_equal(rig_open_only(&rig), MQTT5_OK);
    assert_int_equal(rig.report.records, 1000000 / RIG_SLOWER + 2);
    rig_close(&rig);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_store_is_empty_and_private),
        cmocka_unit_test(what_is_handed_back_is_there_after_a_restart),
        cmocka_unit_test(a_killed_broker_finds_everything_in_the_log),
        cmocka_unit_test(random_batches_survive_restarts_of_both_kinds),
        cmocka_unit_test(one_shards_batches_come_back_in_order_from_all_threads),
        cmocka_unit_test(what_cancels_within_a_group_costs_no_commit),
        cmocka_unit_test(nobody_waits_for_what_is_not_urgent_but_it_is_stored),
        cmocka_unit_test(retained_messages_are_stored_with_and_without_batches),
        cmocka_unit_test(batches_submitted_before_the_start_are_stored),
        cmocka_unit_test(large_batches_and_values_are_stored_whole),
        cmocka_unit_test(a_second_broker_is_refused_by_name_of_the_first),
        cmocka_unit_test(what_is_not_a_folder_is_refused),
        cmocka_unit_test(a_folder_that_cannot_be_written_is_refused),
        cmocka_unit_test(a_later_format_is_refused_and_left_alone),
        cmocka_unit_test(a_map_that_was_drained_is_rewritten_at_start),
        cmocka_unit_test(a_map_that_was_drained_is_rewritten_while_running),
        cmocka_unit_test(filling_and_draining_again_does_not_grow_the_map),
        cmocka_unit_test(a_million_small_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
