/* A pointer that many threads read and somebody replaces now and then: a policy, a table of users.
 *
 * Each reading thread holds on to the object it saw last, so that reading is a load and a
 * comparison: no lock, no counter that cores fight over. A replaced object is freed when the last
 * thread that saw it has read again or ended; at most one old object a thread is kept.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_SNAPSHOT_H
#define M5_HOST_AUTH_SNAPSHOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct m5_snapshot_version;
struct m5_snapshot_reader;

struct m5_snapshot {
    _Atomic(struct m5_snapshot_version *) current;
    pthread_mutex_t lock; /* guards the counts of versions, and `readers` */
    pthread_key_t key;    /* of each thread: its reader */
    struct m5_snapshot_reader *readers;
    void (*free_value)(void *value);
};

/* Starts with @p value, which may be NULL and is the snapshot's from then on. False when the system
 * has no thread-specific key or no memory left: the value is still the caller's. */
bool m5_snapshot_init(struct m5_snapshot *snapshot, void *value, void (*free_value)(void *value));

/* No thread may read any more. Accepts a zeroed snapshot. */
void m5_snapshot_fini(struct m5_snapshot *snapshot);

/* The current value: valid until the same thread calls this again on the same snapshot, or ends.
 * NULL when that is the value, or when a thread's first call finds no memory. *generation (unless
 * NULL) tells versions apart: it grows by one with each replacement. */
void *m5_snapshot_get(struct m5_snapshot *snapshot, uint64_t *generation);

/* Replaces the value; any thread. False without memory: nothing has changed and @p value is still
 * the caller's. */
bool m5_snapshot_set(struct m5_snapshot *snapshot, void *value);

#endif
