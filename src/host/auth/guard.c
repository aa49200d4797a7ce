/* Counts failed logins and says who has to wait.
 *
 * Users are remembered by a 128-bit keyed hash of their names, so that a name of 64 KiB costs no
 * more than another.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/guard.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"

#include <gnutls/crypto.h>
#include <pthread.h>
#include <string.h>

/* An address, or a user's name hashed. */
struct entry {
    struct m5_list node; /* in `recent`, the latest first */
    struct m5_source key;
    uint32_t failures;
    uint64_t since_ms;  /* first failure of the window */
    uint64_t locked_ms; /* until then, 0: not */
};

struct table {
    const struct m5_guard_limit *limit;
    struct m5_map entries;
    struct m5_list recent;
};

struct m5_guard {
    const struct mqtt5_allocator *allocator;
    struct m5_guard_config config;
    struct m5_hash_key keys[2];
    pthread_mutex_t lock;
    struct table addresses, users;
};

static bool has_key(const void *value, const void *key)
{
    const struct entry *entry = value;
    return memcmp(&entry->key, key, sizeof entry->key) == 0;
}

static struct m5_source key_of_user(const struct m5_guard *guard, struct mqtt5_bytes user)
{
    struct m5_source key;
    const uint64_t halves[2] = {m5_hash_strong(&guard->keys[0], user),
                                m5_hash_strong(&guard->keys[1], user)};
    memcpy(key.bytes, halves, sizeof halves);
    return key;
}

static uint32_t hash_of(const struct m5_guard *guard, const struct m5_source *key)
{
    return (uint32_t)m5_hash(&guard->keys[0], m5_bytes(key->bytes, sizeof key->bytes));
}

static struct entry *find(const struct m5_guard *guard, const struct table *table,
                          const struct m5_source *key)
{
    return m5_map_find(&table->entries, hash_of(guard, key), has_key, key);
}

static void drop(struct m5_guard *guard, struct table *table, struct entry *entry)
{
    m5_map_remove(&table->entries, hash_of(guard, &entry->key), entry);
    m5_list_remove(&entry->node);
    m5_free(guard->allocator, entry, sizeof *entry);
}

static struct entry *oldest(struct table *table)
{
    return M5_CONTAINER_OF(table->recent.prev, struct entry, node);
}

static struct entry *add(struct m5_guard *guard, struct table *table, const struct m5_source *key)
{
    if (table->entries.count >= guard->config.entries_max)
        drop(guard, table, oldest(table));
    struct entry *entry = m5_alloc_zero(guard->allocator, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->key = *key;
    if (!m5_map_add(&table->entries, hash_of(guard, key), entry)) {
        m5_free(guard->allocator, entry, sizeof *entry);
        return NULL;
    }
    m5_list_push_front(&table->recent, &entry->node);
    return entry;
}

static void note(struct m5_guard *guard, struct table *table, const struct m5_source *key,
                 uint64_t now_ms)
{
    if (table->limit->failures == 0)
        return;
    struct entry *entry = find(guard, table, key);
    if (entry == NULL && (entry = add(guard, table, key)) == NULL)
        return;
    m5_list_remove(&entry->node);
    m5_list_push_front(&table->recent, &entry->node);
    if (entry->failures == 0 || now_ms - entry->since_ms >= table->limit->window_ms) {
        entry->failures = 0;
        entry->since_ms = now_ms;
    }
    if (++entry->failures >= table->limit->failures)
        entry->locked_ms = now_ms + table->limit->lock_ms;
}

static bool is_locked(const struct m5_guard *guard, const struct table *table,
                      const struct m5_source *key, uint64_t now_ms)
{
    const struct entry *entry = find(guard, table, key);
    return entry != NULL && now_ms < entry->locked_ms;
}

enum m5_guard_answer m5_guard_ask(struct m5_guard *guard, struct m5_source source,
                                  struct mqtt5_bytes user, uint64_t now_ms)
{
    const struct m5_source name = key_of_user(guard, user);
    enum m5_guard_answer answer = M5_GUARD_FREE;
    pthread_mutex_lock(&guard->lock);
    if (is_locked(guard, &guard->addresses, &source, now_ms))
        answer = M5_GUARD_ADDRESS_LOCKED;
    else if (is_locked(guard, &guard->users, &name, now_ms))
        answer = M5_GUARD_USER_LOCKED;
    pthread_mutex_unlock(&guard->lock);
    return answer;
}

void m5_guard_note_failure(struct m5_guard *guard, struct m5_source source, struct mqtt5_bytes user,
                           uint64_t now_ms)
{
    const struct m5_source name = key_of_user(guard, user);
    pthread_mutex_lock(&guard->lock);
    note(guard, &guard->addresses, &source, now_ms);
    note(guard, &guard->users, &name, now_ms);
    pthread_mutex_unlock(&guard->lock);
}

static void empty(struct m5_guard *guard, struct table *table)
{
    while (!m5_list_empty(&table->recent))
        drop(guard, table, oldest(table));
}

void m5_guard_reset(struct m5_guard *guard)
{
    pthread_mutex_lock(&guard->lock);
    empty(guard, &guard->addresses);
    empty(guard, &guard->users);
    pthread_mutex_unlock(&guard->lock);
}

static void table_init(struct m5_guard *guard, struct table *table,
                       const struct m5_guard_limit *limit)
{
    table->limit = limit;
    m5_map_init(&table->entries, guard->allocator);
    m5_list_init(&table->recent);
}

struct m5_guard *m5_guard_new(const struct mqtt5_allocator *allocator,
                              const struct m5_guard_config *config)
{
    struct m5_guard *guard = m5_alloc_zero(allocator, sizeof *guard);
    if (guard == NULL)
        return NULL;
    if (gnutls_rnd(GNUTLS_RND_NONCE, guard->keys, sizeof guard->keys) != 0) {
        m5_free(allocator, guard, sizeof *guard);
        return NULL;
    }
    guard->allocator = allocator;
    guard->config = *config;
    if (guard->config.entries_max == 0)
        guard->config.entries_max = 1;
    pthread_mutex_init(&guard->lock, NULL);
    table_init(guard, &guard->addresses, &guard->config.address);
    table_init(guard, &guard->users, &guard->config.user);
    return guard;
}

void m5_guard_free(struct m5_guard *guard)
{
    if (guard == NULL)
        return;
    m5_guard_reset(guard);
    m5_map_fini(&guard->addresses.entries);
    m5_map_fini(&guard->users.entries);
    pthread_mutex_destroy(&guard->lock);
    m5_free(guard->allocator, guard, sizeof *guard);
}
