/* Random batches of four shards.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "store/workload.h"

#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_KEY "zzz"

void workload_init(struct workload *load, uint64_t seed, bool counts)
{
    *load = (struct workload){.counts = counts};
    m5_rng_init(&load->rng, seed);
    load->digests = calloc(WORKLOAD_MAX + 1, sizeof *load->digests);
    assert_non_null(load->digests);
    load->digests[0] = model_digest(&load->model);
}

void workload_fini(struct workload *load)
{
    model_free(&load->model);
    free(load->digests);
}

static size_t random_value(struct m5_rng *rng, uint8_t out[3000])
{
    const size_t size = (size_t)m5_rng_below(rng, m5_rng_below(rng, 10) == 0 ? 3000 : 60);
    m5_rng_fill(rng, out, size);
    return size;
}

static void add_change(struct workload *load, struct m5_batch *batch)
{
    struct m5_rng *rng = &load->rng;
    uint8_t value[3000];
    const size_t size = random_value(rng, value);
    char key[32];
    snprintf(key, sizeof key, "s%02u%03u", (unsigned)m5_rng_below(rng, 30),
             (unsigned)m5_rng_below(rng, 50));
    switch (m5_rng_below(rng, 8)) {
    case 0:
    case 1:
        snprintf(key, sizeof key, "n%08u", load->fresh++);
        batch_add(batch, M5_STORE_PUT_NEW, m5_bytes_of(key), m5_bytes(value, size));
        break;
    case 2:
    case 3:
        snprintf(key, sizeof key, "n%08u",
                 load->fresh - (unsigned)m5_rng_below(rng, load->fresh < 100 ? 1 : 100));
        batch_text(batch, M5_STORE_DELETE, key, NULL);
        break;
    case 4:
        key[m5_rng_below(rng, 4) == 0 ? 2 : 4] = 0;
        batch_text(batch, M5_STORE_DELETE_PREFIX, key, NULL);
        break;
    default: batch_add(batch, M5_STORE_PUT, m5_bytes_of(key), m5_bytes(value, size)); break;
    }
}

struct m5_batch *workload_next(struct workload *load)
{
    const uint32_t shard = (uint32_t)m5_rng_below(&load->rng, 4);
    struct m5_batch *batch = batch_new(shard, m5_rng_below(&load->rng, 3) != 0);
    for (uint64_t left = m5_rng_below(&load->rng, 8); left > 0; left--)
        add_change(load, batch);
    load->submitted++;
    assert_true(load->submitted <= WORKLOAD_MAX);
    if (load->counts) {
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)load->submitted);
        batch_text(batch, M5_STORE_PUT, NUMBER_KEY, number);
    }
    batch->position = ++load->positions[shard];
    model_apply(&load->model, batch);
    if (load->counts)
        load->digests[load->submitted] = model_digest(&load->model);
    return batch;
}

uint64_t workload_number(const struct model *model)
{
    if (model->count == 0)
        return 0;
    const struct model_entry *last = &model->entries[model->count - 1];
    assert_int_equal(last->key_size, strlen(NUMBER_KEY));
    assert_memory_equal(last->key, NUMBER_KEY, last->key_size);
    return strtoull((const char *)last->value, NULL, 10);
}
