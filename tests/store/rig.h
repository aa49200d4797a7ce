/* What the tests of the store share: batches made by hand, a plain model of the map, a folder.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_STORE_RIG_H
#define TEST_STORE_RIG_H

#include "host/store/store.h"
#include "support/unit.h"

#include <pthread.h>

/* ---- batches ---- */

struct m5_batch *batch_new(uint32_t shard, bool urgent);
void batch_add(struct m5_batch *batch, enum m5_store_op op, struct mqtt5_bytes key,
               struct mqtt5_bytes value);
/* The same with texts; @p value may be NULL. */
void batch_text(struct m5_batch *batch, enum m5_store_op op, const char *key, const char *value);
void batch_free_all(struct m5_batch *list);

/* ---- a model of the map: sorted, slow, obvious ---- */

struct model_entry {
    uint8_t key[M5_STORE_KEY_MAX], *value;
    size_t key_size, value_size;
};

struct model {
    struct model_entry *entries;
    size_t count, capacity;
};

void model_apply(struct model *model, const struct m5_batch *batch);
void model_put(struct model *model, struct mqtt5_bytes key, struct mqtt5_bytes value);
uint64_t model_digest(const struct model *model);
void model_free(struct model *model);

/* ---- a store in a folder of its own ---- */

struct rig {
    char dir[128];
    struct m5_store_options options; /* may be changed before rig_open() */
    struct m5_store *store;
    struct m5_store_report report;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t stored;                         /* batches handed back */
    uint64_t positions[M5_STORE_SHARDS_MAX]; /* the last of each shard */
    unsigned failed, healed;                 /* calls of the hook */
    char why[M5_STORE_WHY_SIZE];
    struct m5_batch *retained; /* to be sealed next */
    uint64_t retained_stored;
    void (*on_stored)(struct rig *rig, const struct m5_batch *batch); /* may be NULL */
    void *ctx;
};

/* Makes the folder; on a filesystem in memory where there is one. */
void rig_init(struct rig *rig);
/* Stops what runs and removes the folder. */
void rig_fini(struct rig *rig);

/* Opens, and starts unless it fails. */
enum mqtt5_error rig_open(struct rig *rig);
/* Opens without starting. */
enum mqtt5_error rig_open_only(struct rig *rig);
void rig_start(struct rig *rig);
/* Stops and closes; everything must have been stored. */
void rig_close(struct rig *rig);
/* Forgets the store as if the process had been killed: nothing is applied or removed on the way.
 * Whatever is queued must have been stored. */
void rig_abandon(struct rig *rig);

/* Submits and waits until it is stored. */
void rig_store(struct rig *rig, struct m5_batch *batch);
void rig_wait_stored(struct rig *rig, uint64_t count);
unsigned rig_failed(struct rig *rig); /* calls of the hook so far */
unsigned rig_healed(struct rig *rig);
void rig_wait_failed(struct rig *rig, unsigned count);
void rig_wait_healed(struct rig *rig, unsigned count);

/* What the store holds. Opens it if it is not open, and then closes it. */
struct model rig_load(struct rig *rig);
void rig_expect(struct rig *rig, const struct model *model);
/* The value of @p key, as text; "" when it is not there. */
const char *rig_text(struct rig *rig, const char *key);

/* Files of the folder. */
void rig_path(const struct rig *rig, const char *name, char out[256]);
unsigned rig_count_files(const struct rig *rig, const char *prefix);
void remove_folder(const char *dir);

/* Counts are divided by it where everything is slow. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define RIG_SLOWER 10
#else
#define RIG_SLOWER 1
#endif

#endif
