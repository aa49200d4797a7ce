/* Remembers for a while which logins were right.
 *
 * The time of an entry counts from the hash that proved it, not from its last use: after that time
 * the password is hashed again, whatever happens. So the oldest entry is the first to end.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/success_cache.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/map.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <string.h>

#define KEY_SIZE 32

struct entry {
    struct m5_list node; /* in `by_age`, the latest first */
    struct m5_proof proof;
    uint64_t until_ms;
};

struct m5_success_cache {
    const struct mqtt5_allocator *allocator;
    uint32_t entries_max;
    uint64_t ttl_ms;
    uint8_t key[KEY_SIZE];
    pthread_mutex_t lock;
    struct m5_map entries;
    struct m5_list by_age;
};

static bool is_proof(const void *value, const void *key)
{
    const struct entry *entry = value;
    return gnutls_memcmp(entry->proof.bytes, key, M5_PROOF_SIZE) == 0;
}

/* A proof is as good as random already. */
static uint32_t hash_of(const struct m5_proof *proof)
{
    return m5_read_u32(proof->bytes);
}

static void drop(struct m5_success_cache *cache, struct entry *entry)
{
    m5_map_remove(&cache->entries, hash_of(&entry->proof), entry);
    m5_list_remove(&entry->node);
    m5_wipe(entry, sizeof *entry);
    m5_free(cache->allocator, entry, sizeof *entry);
}

static struct entry *oldest(struct m5_success_cache *cache)
{
    return M5_CONTAINER_OF(cache->by_age.prev, struct entry, node);
}

static void drop_expired(struct m5_success_cache *cache, uint64_t now_ms)
{
    while (!m5_list_empty(&cache->by_age) && oldest(cache)->until_ms <= now_ms)
        drop(cache, oldest(cache));
}

struct m5_success_cache *m5_success_cache_new(const struct mqtt5_allocator *allocator,
                                              uint32_t entries_max, uint64_t ttl_ms)
{
    struct m5_success_cache *cache = m5_alloc_zero(allocator, sizeof *cache);
    if (cache == NULL)
        return NULL;
    if (gnutls_rnd(GNUTLS_RND_KEY, cache->key, sizeof cache->key) != 0) {
        m5_free(allocator, cache, sizeof *cache);
        return NULL;
    }
    cache->allocator = allocator;
    cache->entries_max = entries_max;
    cache->ttl_ms = ttl_ms;
    pthread_mutex_init(&cache->lock, NULL);
    m5_map_init(&cache->entries, allocator);
    m5_list_init(&cache->by_age);
    return cache;
}

void m5_success_cache_free(struct m5_success_cache *cache)
{
    if (cache == NULL)
        return;
    drop_expired(cache, UINT64_MAX);
    m5_map_fini(&cache->entries);
    pthread_mutex_destroy(&cache->lock);
    m5_wipe(cache->key, sizeof cache->key);
    m5_free(cache->allocator, cache, sizeof *cache);
}

/* Each part goes in behind its length, so that no two logins are the same text. */
static bool add_part(gnutls_hmac_hd_t hmac, struct mqtt5_bytes part)
{
    uint8_t size[4];
    m5_write_u32(size, (uint32_t)part.len);
    return gnutls_hmac(hmac, size, sizeof size) == 0 &&
           (part.len == 0 || gnutls_hmac(hmac, part.data, part.len) == 0);
}

bool m5_success_cache_prove(const struct m5_success_cache *cache, struct mqtt5_bytes name,
                            const struct m5_user *user, struct mqtt5_bytes password,
                            struct m5_proof *out)
{
    gnutls_hmac_hd_t hmac;
    if (gnutls_hmac_init(&hmac, GNUTLS_MAC_SHA256, cache->key, sizeof cache->key) != 0)
        return false;
    const bool done =
        add_part(hmac, name) && add_part(hmac, user->stored) && add_part(hmac, password);
    gnutls_hmac_deinit(hmac, out->bytes);
    return done;
}

bool m5_success_cache_knows(struct m5_success_cache *cache, const struct m5_proof *proof,
                            uint64_t now_ms)
{
    pthread_mutex_lock(&cache->lock);
    const struct entry *entry =
        m5_map_find(&cache->entries, hash_of(proof), is_proof, proof->bytes);
    const bool known = entry != NULL && now_ms < entry->until_ms;
    pthread_mutex_unlock(&cache->lock);
    return known;
}

/* Lock held. */
static void add_entry(struct m5_success_cache *cache, const struct m5_proof *proof, uint64_t now_ms)
{
    struct entry *entry = m5_map_find(&cache->entries, hash_of(proof), is_proof, proof->bytes);
    if (entry != NULL)
        drop(cache, entry);
    if (cache->entries.count >= cache->entries_max)
        drop(cache, oldest(cache));
    entry = m5_alloc_zero(cache->allocator, sizeof *entry);
    if (entry == NULL)
        return;
    entry->proof = *proof;
    entry->until_ms = now_ms + cache->ttl_ms;
    if (m5_map_add(&cache->entries, hash_of(proof), entry))
        m5_list_push_front(&cache->by_age, &entry->node);
    else
        m5_free(cache->allocator, entry, sizeof *entry);
}

void m5_success_cache_add(struct m5_success_cache *cache, const struct m5_proof *proof,
                          uint64_t now_ms)
{
    pthread_mutex_lock(&cache->lock);
    drop_expired(cache, now_ms);
    if (cache->entries_max > 0)
        add_entry(cache, proof, now_ms);
    pthread_mutex_unlock(&cache->lock);
}
