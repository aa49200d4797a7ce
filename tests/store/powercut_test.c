/* Power cuts at every step of the disk: what had been handed back is there, whole and in order.
 *
 * A run is recorded; then for each step the folder is built as a power cut could have left it, and
 * opened. It must be the state after some number of batches, not fewer than had been handed back by
 * then; and it must not look like damage.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/state.h"
#include "store/disk.h"
#include "store/workload.h"
#include "support/seed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CUTS_MAX = 700 / RIG_SLOWER };

struct order {
    struct rig rig;
    struct workload load;
    uint32_t shards[WORKLOAD_MAX + 1]; /* of each batch */
    uint64_t given[4];                 /* batches of each shard that came back */
    uint64_t first_out;                /* every batch before it came back */
};

/* Batches come back in order for each shard; what is promised is the longest beginning. */
static void note_stored(struct rig *rig, const struct m5_batch *batch)
{
    struct order *order = rig->ctx;
    uint64_t seen[4] = {0};
    order->given[batch->shard]++;
    uint64_t i = 1;
    while (i <= order->load.submitted && seen[order->shards[i]] < order->given[order->shards[i]])
        seen[order->shards[i++]]++;
    order->first_out = i;
    disk_note(i - 1);
}

static void run_workload(struct order *order, unsigned batches)
{
    struct rig *rig = &order->rig;
    assert_int_equal(rig_open_only(rig), MQTT5_OK);
    rig->store->tree.chunk = 7; /* a window takes many transactions */
    rig_start(rig);
    for (unsigned i = 0; i < batches; i++) {
        pthread_mutex_lock(&rig->mutex);
        struct m5_batch *batch = workload_next(&order->load);
        order->shards[order->load.submitted] = batch->shard;
        pthread_mutex_unlock(&rig->mutex);
        m5_store_submit(rig->store, batch);
        if (i % 16 == 0)
            rig_wait_stored(rig, order->load.submitted);
    }
    rig_wait_stored(rig, order->load.submitted);
    rig_close(rig);
}

static void set_small_limits(struct m5_store_options *options)
{
    options->segment_bytes = 60000;
    options->apply_bytes = 20000;
    options->apply_ms = 2;
    options->gather_ms = 1;
    options->group_bytes = 30000;
    options->map_bytes = 1 << 20;
    options->compact_bytes = 100000;
}

/* Opens what a cut left; the number of the batch whose state it is. */
static uint64_t open_image(const struct order *order, const char *dir, size_t step)
{
    struct rig rig;
    rig_init(&rig);
    remove_folder(rig.dir);
    snprintf(rig.dir, sizeof rig.dir, "%s", dir);
    set_small_limits(&rig.options);
    rig.options.damaged = MQTT5_STORAGE_REFUSE;
    if (rig_open_only(&rig) != MQTT5_OK)
        fail_msg("after step %zu: %s", step, rig.report.why);
    struct model found = rig_load(&rig);
    const uint64_t number = workload_number(&found);
    if (number > order->load.submitted || model_digest(&found) != order->load.digests[number])
        fail_msg("after step %zu: not the state after batch %llu", step,
                 (unsigned long long)number);
    model_free(&found);
    rig_fini(&rig); /* removes the folder */
    return number;
}

static void check_cuts(struct order *order, size_t steps, uint64_t seed)
{
    struct m5_rng rng;
    char dir[160];
    uint64_t beyond = 0;
    m5_rng_init(&rng, seed);
    snprintf(dir, sizeof dir, "%s-cut", order->rig.dir);
    const size_t stride = steps / CUTS_MAX + 1;
    for (size_t step = 0; step <= steps; step += stride) {
        remove_folder(dir);
        assert_int_equal(mkdir(dir, 0700), 0);
        const uint64_t promised = disk_cut(step, &rng, dir);
        const uint64_t found = open_image(order, dir, step);
        if (found < promised)
            fail_msg("after step %zu: batch %llu of %llu handed back", step,
                     (unsigned long long)found, (unsigned long long)promised);
        beyond += found > promised;
    }
    assert_true(beyond > 0); /* or nothing was ever in flight */
}

static void cut_everywhere(uint64_t seed, unsigned runs, unsigned batches)
{
    struct order *order = calloc(1, sizeof *order);
    assert_non_null(order);
    workload_init(&order->load, seed, true);
    rig_init(&order->rig);
    order->rig.ctx = order;
    order->rig.on_stored = note_stored;
    set_small_limits(&order->rig.options);
    disk_watch(order->rig.dir);
    disk_record();
    for (unsigned i = 0; i < runs; i++)
        run_workload(order, batches);
    const size_t steps = disk_record_end();
    disk_watch(NULL);
    check_cuts(order, steps, seed);
    disk_forget();
    workload_fini(&order->load);
    rig_fini(&order->rig);
    free(order);
}

static void a_power_cut_at_any_step_loses_nothing_that_was_handed_back(void **state)
{
    (void)state;
    cut_everywhere(test_seed(11), 1, 250);
}

static void starting_and_stopping_survive_power_cuts_too(void **state)
{
    (void)state;
    cut_everywhere(test_seed(12), 6, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_at_any_step_loses_nothing_that_was_handed_back),
        cmocka_unit_test(starting_and_stopping_survive_power_cuts_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
