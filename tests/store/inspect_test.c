/* Looking at a store from outside: while it is written, after a crash, damaged; and backups.
 *
 * What looks is another process, made before the store has threads: LMDB must not be opened twice
 * by one.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/inspect.h"

#include "base/bytes.h"
#include "store/disk.h"
#include "store/workload.h"
#include "support/seed.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- another process ---- */

struct order {
    bool backup;
    char dir[160], target[160];
};

struct answer {
    enum mqtt5_error error;
    struct m5_inspect_report report;
    uint64_t count, number, digest;
};

struct looker {
    pid_t pid;
    int orders, answers;
};

static enum mqtt5_error collect(void *ctx, struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    struct model *model = ctx;
    if (value.data == NULL)
        return MQTT5_ERR_INTERNAL;
    if (model->count > 0) {
        const struct model_entry *last = &model->entries[model->count - 1];
        const size_t size = last->key_size < key.len ? last->key_size : key.len;
        const int order = memcmp(last->key, key.data, size);
        if (order > 0 || (order == 0 && last->key_size >= key.len))
            return MQTT5_ERR_INTERNAL;
    }
    model_put(model, key, value);
    return MQTT5_OK;
}

static uint64_t last_number(const struct model *model)
{
    return model->count == 0
               ? 0
               : strtoull((const char *)model->entries[model->count - 1].value, NULL, 10);
}

static struct answer look(const struct order *order)
{
    struct answer answer = {0};
    if (order->backup) {
        answer.error = m5_store_backup(order->dir, order->target, &answer.report);
        return answer;
    }
    struct m5_inspect *inspect;
    struct model model = {0};
    answer.error = m5_inspect_open(order->dir, &inspect, &answer.report);
    if (inspect != NULL && answer.error == MQTT5_OK)
        answer.error = m5_inspect_walk(inspect, collect, &model);
    m5_inspect_free(inspect);
    answer.count = model.count;
    answer.number = last_number(&model);
    answer.digest = model_digest(&model);
    model_free(&model);
    return answer;
}

static void start_looker(struct looker *looker)
{
    int orders[2], answers[2];
    assert_int_equal(pipe(orders), 0);
    assert_int_equal(pipe(answers), 0);
    looker->pid = fork();
    assert_true(looker->pid >= 0);
    if (looker->pid == 0) {
        close(orders[1]);
        for (struct order order; read(orders[0], &order, sizeof order) == sizeof order;) {
            const struct answer answer = look(&order);
            if (write(answers[1], &answer, sizeof answer) != sizeof answer)
                break;
        }
        _exit(0);
    }
    close(orders[0]);
    close(answers[1]);
    looker->orders = orders[1];
    looker->answers = answers[0];
}

static struct answer ask(const struct looker *looker, const struct order *order)
{
    struct answer answer;
    assert_int_equal(write(looker->orders, order, sizeof *order), sizeof *order);
    size_t got = 0;
    while (got < sizeof answer) {
        const ssize_t n = read(looker->answers, (uint8_t *)&answer + got, sizeof answer - got);
        assert_true(n > 0); /* it has crashed */
        got += (size_t)n;
    }
    return answer;
}

static void end_looker(struct looker *looker)
{
    int status;
    close(looker->orders);
    close(looker->answers);
    assert_int_equal(waitpid(looker->pid, &status, 0), looker->pid);
    assert_int_equal(status, 0);
}

static struct order order_for(const struct rig *rig)
{
    struct order order = {0};
    snprintf(order.dir, sizeof order.dir, "%s", rig->dir);
    snprintf(order.target, sizeof order.target, "%s-copy", rig->dir);
    return order;
}

/* ---- tests ---- */

static void set_small_limits(struct m5_store_options *options)
{
    options->segment_bytes = 60000;
    options->apply_bytes = 20000;
    options->apply_ms = 2;
    options->gather_ms = 1;
    options->map_bytes = 1 << 20;
}

static uint64_t stored_from_the_start(struct rig *rig)
{
    pthread_mutex_lock(&rig->mutex);
    const uint64_t count = rig->stored;
    pthread_mutex_unlock(&rig->mutex);
    return count;
}

/* Batches go on while somebody looks. */
static void submit_some(struct rig *rig, struct workload *load)
{
    rig_wait_stored(rig, load->submitted);
    for (unsigned i = 0; i < 60; i++)
        m5_store_submit(rig->store, workload_next(load));
}

static void expect_moment(const struct answer *answer, const struct workload *load, uint64_t least)
{
    if (answer->error != MQTT5_OK)
        fail_msg("%d: %s%s", (int)answer->error, answer->report.why, answer->report.damage);
    assert_true(answer->number >= least);
    assert_true(answer->number <= load->submitted);
    assert_true(answer->digest == load->digests[answer->number]);
}

static void a_store_in_use_is_seen_as_of_one_moment(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    struct looker looker;
    start_looker(&looker);
    workload_init(&load, test_seed(31), true);
    rig_init(&rig);
    set_small_limits(&rig.options);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    const struct order order = order_for(&rig);
    for (unsigned i = 0; i < 80 / RIG_SLOWER; i++) {
        submit_some(&rig, &load);
        const uint64_t least = load.submitted - 60;
        const struct answer answer = ask(&looker, &order);
        expect_moment(&answer, &load, least);
        assert_int_equal(answer.report.owner, getpid());
        assert_true(answer.report.group >= answer.report.group_map);
    }
    rig_wait_stored(&rig, load.submitted);
    rig_close(&rig);
    const struct answer answer = ask(&looker, &order);
    expect_moment(&answer, &load, load.submitted);
    assert_int_equal(answer.report.owner, 0);
    assert_int_equal(answer.report.bytes_log, 0);
    end_looker(&looker);
    workload_fini(&load);
    rig_fini(&rig);
}

static void a_backup_of_a_store_in_use_is_a_store(void **state)
{
    (void)state;
    struct rig rig, copy;
    struct workload load;
    struct looker looker;
    start_looker(&looker);
    workload_init(&load, test_seed(32), true);
    rig_init(&rig);
    rig_init(&copy);
    remove_folder(copy.dir);
    set_small_limits(&rig.options);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    struct order order = order_for(&rig);
    order.backup = true;
    snprintf(copy.dir, sizeof copy.dir, "%.120s", order.target);
    for (unsigned i = 0; i < 25 / RIG_SLOWER; i++) {
        submit_some(&rig, &load);
        const uint64_t least = stored_from_the_start(&rig);
        const struct answer answer = ask(&looker, &order);
        assert_int_equal(answer.error, MQTT5_OK);
        assert_int_equal(rig_count_files(&copy, ""), 3); /* . .. data.mdb */
        const struct answer again = ask(&looker, &order);
        assert_int_equal(again.error, MQTT5_ERR_CONFIG);
        assert_non_null(strstr(again.report.why, "is not empty"));
        copy.options.damaged = MQTT5_STORAGE_REFUSE;
        struct model found = rig_load(&copy);
        const uint64_t number = workload_number(&found);
        assert_true(number >= least / 2 && number <= load.submitted);
        assert_true(model_digest(&found) == load.digests[number]);
        model_free(&found);
        remove_folder(copy.dir);
    }
    end_looker(&looker);
    rig_wait_stored(&rig, load.submitted);
    workload_fini(&load);
    rig_fini(&rig);
    rig_fini(&copy);
}

/* Names, sizes and times of what is in the folder, as a number. */
static uint64_t folder_digest(const struct rig *rig)
{
    uint64_t digest = 0;
    DIR *dir = opendir(rig->dir);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct stat status;
        if (strcmp(entry->d_name, "lock.mdb") == 0)
            continue; /* LMDB notes its readers there */
        assert_int_equal(fstatat(dirfd(dir), entry->d_name, &status, 0), 0);
        uint64_t one = (uint64_t)status.st_mtim.tv_nsec + (uint64_t)status.st_size * 31;
        for (const char *at = entry->d_name; *at != 0; at++)
            one = one * 131 + (uint8_t)*at;
        digest += one; /* in any order */
    }
    closedir(dir);
    return digest;
}

static void a_store_of_a_dead_broker_is_seen_with_its_log_and_not_touched(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    rig_init(&rig);
    workload_init(&load, test_seed(33), true);
    set_small_limits(&rig.options);
    for (unsigned i = 0; i < 10; i++) {
        rig.options.apply_ms = i % 2 == 0 ? 60000 : 1;
        assert_int_equal(rig_open(&rig), MQTT5_OK);
        for (unsigned k = 0; k < 200; k++)
            m5_store_submit(rig.store, workload_next(&load));
        rig_wait_stored(&rig, load.submitted);
        rig_abandon(&rig);
        const struct order order = order_for(&rig);
        const uint64_t before = folder_digest(&rig);
        const struct answer answer = look(&order);
        expect_moment(&answer, &load, load.submitted);
        if (i % 3 == 0) { /* a copy of the folder by hand has no lock file */
            char path[256];
            rig_path(&rig, "lock.mdb", path);
            assert_int_equal(unlink(path), 0);
            const struct answer again = look(&order);
            expect_moment(&again, &load, load.submitted);
            assert_int_equal(rig_count_files(&rig, "lock.mdb"), 0);
        } else {
            assert_true(folder_digest(&rig) == before);
        }
    }
    workload_fini(&load);
    rig_fini(&rig);
}

static void damage_is_told_and_crashes_nobody(void **state)
{
    (void)state;
    struct rig rig;
    struct workload load;
    struct looker looker;
    start_looker(&looker);
    rig_init(&rig);
    workload_init(&load, test_seed(34), true);
    assert_int_equal(rig_open(&rig), MQTT5_OK);
    for (unsigned i = 0; i < 1500; i++)
        m5_store_submit(rig.store, workload_next(&load));
    rig_wait_stored(&rig, load.submitted);
    rig_close(&rig);
    char path[256];
    rig_path(&rig, "data.mdb", path);
    const int fd = open(path, O_RDWR);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    struct order order = order_for(&rig);
    unsigned damaged = 0;
    for (unsigned i = 0; i < 500 / RIG_SLOWER; i++) {
        const bool head = i < 200 / RIG_SLOWER;
        const off_t at =
            head ? (off_t)(m5_rng_below(&load.rng, 160) + 4096 * m5_rng_below(&load.rng, 2))
                 : (off_t)m5_rng_below(&load.rng, (uint64_t)status.st_size);
        uint8_t byte, other;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        other = byte ^ (uint8_t)(1u << m5_rng_below(&load.rng, 8));
        assert_int_equal(pwrite(fd, &other, 1, at), 1);
        const struct answer answer = ask(&looker, &order);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        damaged += answer.error == MQTT5_ERR_TRUNCATED;
        if (answer.error == MQTT5_ERR_TRUNCATED)
            assert_true(answer.report.damage[0] != 0);
        else if (answer.error == MQTT5_OK)
            assert_true(answer.number <= load.submitted);
        else
            assert_int_equal(answer.error, MQTT5_ERR_CONFIG);
    }
    assert_true(damaged > 60 / RIG_SLOWER);
    order.backup = true;
    assert_int_equal(ftruncate(fd, status.st_size / 2), 0);
    const struct answer answer = ask(&looker, &order);
    assert_int_equal(answer.error, MQTT5_ERR_TRUNCATED);
    assert_int_not_equal(access(order.target, F_OK), 0);
    close(fd);
    end_looker(&looker);
    workload_fini(&load);
    rig_fini(&rig);
}

static void where_there_is_no_store_it_is_said(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct order order = order_for(&rig);
    struct answer answer = look(&order);
    assert_int_equal(answer.error, MQTT5_ERR_CONFIG);
    assert_non_null(strstr(answer.report.why, "there is no store"));
    assert_int_equal(rig_count_files(&rig, ""), 2);
    snprintf(order.dir, sizeof order.dir, "%s/nowhere", rig.dir);
    answer = look(&order);
    assert_int_equal(answer.error, MQTT5_ERR_CONFIG);
    assert_non_null(strstr(answer.report.why, "cannot be opened"));
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_in_use_is_seen_as_of_one_moment),
        cmocka_unit_test(a_backup_of_a_store_in_use_is_a_store),
        cmocka_unit_test(a_store_of_a_dead_broker_is_seen_with_its_log_and_not_touched),
        cmocka_unit_test(damage_is_told_and_crashes_nobody),
        cmocka_unit_test(where_there_is_no_store_it_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
