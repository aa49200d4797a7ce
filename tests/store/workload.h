/* Random batches of four shards, and the states that they make.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_STORE_WORKLOAD_H
#define TEST_STORE_WORKLOAD_H

#include "base/rng.h"
#include "store/rig.h"

enum { WORKLOAD_MAX = 20000 };

struct workload {
    struct m5_rng rng;
    struct model model; /* after all batches so far */
    uint64_t submitted;
    uint64_t positions[4];
    unsigned fresh;    /* keys put by PUT_NEW */
    bool counts;       /* each batch writes its number, to be found by workload_number() */
    uint64_t *digests; /* of the state after each batch, when it counts */
};

void workload_init(struct workload *load, uint64_t seed, bool counts);
void workload_fini(struct workload *load);

/* The next batch; it is in the model already. */
struct m5_batch *workload_next(struct workload *load);

/* The number of the last batch that is in @p model, 0: none. */
uint64_t workload_number(const struct model *model);

#endif
