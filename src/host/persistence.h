/* A broker and its store: opened, read back, kept up, closed.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_PERSISTENCE_H
#define M5_HOST_PERSISTENCE_H

#include "host/store/store.h"
#include "host/worker.h"

/* How long a broker that ends tries to store what is left while storing fails. */
#define M5_STORE_STOP_MS 5000u

struct m5_persistence {
    struct m5_crew *crew;
    struct m5_log log; /* of the store's threads; under the mutex */
    pthread_mutex_t mutex;
    bool started;
};

/* Opens the store of @p options (storage_dir is not NULL) and fills the engine of @p crew from it;
 * the workers do not run yet. @p why: M5_STORE_WHY_SIZE bytes for a sentence on failure.
 * @return MQTT5_OK, or what m5_store_open() and m5_restore_end() return. */
enum mqtt5_error m5_persistence_open(struct m5_persistence *persistence, struct m5_crew *crew,
                                     const struct mqtt5_broker_options *options, struct m5_log *log,
                                     char *why);

/* Starts storing, before the workers run; false: no thread. */
bool m5_persistence_start(struct m5_persistence *persistence);

/* Stores what is left, when no worker runs any more. False: not everything could be. */
bool m5_persistence_stop(struct m5_persistence *persistence, struct m5_log *log);

/* Closes the store, started or not; a zeroed one is accepted. Before the engine is freed. */
void m5_persistence_close(struct m5_persistence *persistence);

#endif
