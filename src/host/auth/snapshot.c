/* A pointer that many threads read and somebody replaces now and then.
 *
 * A version is counted by the snapshot while it is the current one, and by each reader that holds
 * it. Counts change under the lock, which a reader takes only when the version has changed. A
 * reader compares addresses of versions: the one it holds cannot have been freed, so a new version
 * never has the same address.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/snapshot.h"

#include <stdlib.h>

struct m5_snapshot_version {
    void *value;
    uint64_t generation;
    uint32_t holders; /* under the lock */
};

struct m5_snapshot_reader {
    struct m5_snapshot *snapshot;
    struct m5_snapshot_version *held;
    struct m5_snapshot_reader *previous, *next; /* under the lock */
};

/* Lock held; the version to free once it is not, or NULL. */
static struct m5_snapshot_version *release(struct m5_snapshot_version *version)
{
    return version != NULL && --version->holders == 0 ? version : NULL;
}

static void free_version(const struct m5_snapshot *snapshot, struct m5_snapshot_version *version)
{
    if (version == NULL)
        return;
    if (version->value != NULL)
        snapshot->free_value(version->value);
    free(version);
}

/* Called for a thread that ends. */
static void drop_reader(void *memory)
{
    struct m5_snapshot_reader *reader = memory;
    struct m5_snapshot *snapshot = reader->snapshot;
    pthread_mutex_lock(&snapshot->lock);
    if (reader->previous != NULL)
        reader->previous->next = reader->next;
    else
        snapshot->readers = reader->next;
    if (reader->next != NULL)
        reader->next->previous = reader->previous;
    struct m5_snapshot_version *last = release(reader->held);
    pthread_mutex_unlock(&snapshot->lock);
    free_version(snapshot, last);
    free(reader);
}

bool m5_snapshot_init(struct m5_snapshot *snapshot, void *value, void (*free_value)(void *value))
{
    struct m5_snapshot_version *version = calloc(1, sizeof *version);
    *snapshot = (struct m5_snapshot){.free_value = free_value};
    if (version == NULL || pthread_key_create(&snapshot->key, drop_reader) != 0) {
        free(version);
        return false;
    }
    version->value = value;
    version->holders = 1;
    pthread_mutex_init(&snapshot->lock, NULL);
    atomic_init(&snapshot->current, version);
    return true;
}

void m5_snapshot_fini(struct m5_snapshot *snapshot)
{
    struct m5_snapshot_version *current = atomic_load(&snapshot->current);
    if (current == NULL)
        return;
    pthread_key_delete(snapshot->key);
    while (snapshot->readers != NULL) {
        struct m5_snapshot_reader *reader = snapshot->readers;
        snapshot->readers = reader->next;
        free_version(snapshot, release(reader->held));
        free(reader);
    }
    free_version(snapshot, release(current));
    pthread_mutex_destroy(&snapshot->lock);
    *snapshot = (struct m5_snapshot){.free_value = NULL};
}

static struct m5_snapshot_reader *add_reader(struct m5_snapshot *snapshot)
{
    struct m5_snapshot_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL || pthread_setspecific(snapshot->key, reader) != 0) {
        free(reader);
        return NULL;
    }
    reader->snapshot = snapshot;
    pthread_mutex_lock(&snapshot->lock);
    reader->next = snapshot->readers;
    if (reader->next != NULL)
        reader->next->previous = reader;
    snapshot->readers = reader;
    pthread_mutex_unlock(&snapshot->lock);
    return reader;
}

/* The version has changed: holds the current one instead. */
static void catch_up(struct m5_snapshot *snapshot, struct m5_snapshot_reader *reader)
{
    pthread_mutex_lock(&snapshot->lock);
    struct m5_snapshot_version *last = release(reader->held);
    reader->held = atomic_load_explicit(&snapshot->current, memory_order_relaxed);
    reader->held->holders++;
    pthread_mutex_unlock(&snapshot->lock);
    free_version(snapshot, last);
}

void *m5_snapshot_get(struct m5_snapshot *snapshot, uint64_t *generation)
{
    struct m5_snapshot_reader *reader = pthread_getspecific(snapshot->key);
    if (reader == NULL && (reader = add_reader(snapshot)) == NULL)
        return NULL;
    if (reader->held != atomic_load_explicit(&snapshot->current, memory_order_acquire))
        catch_up(snapshot, reader);
    if (generation != NULL)
        *generation = reader->held->generation;
    return reader->held->value;
}

bool m5_snapshot_set(struct m5_snapshot *snapshot, void *value)
{
    struct m5_snapshot_version *version = calloc(1, sizeof *version);
    if (version == NULL)
        return false;
    version->value = value;
    version->holders = 1;
    pthread_mutex_lock(&snapshot->lock);
    struct m5_snapshot_version *old =
        atomic_load_explicit(&snapshot->current, memory_order_relaxed);
    version->generation = old->generation + 1;
    atomic_store_explicit(&snapshot->current, version, memory_order_release);
    struct m5_snapshot_version *last = release(old);
    pthread_mutex_unlock(&snapshot->lock);
    free_version(snapshot, last);
    return true;
}
