/* Answers of an access control list remembered, for one thread.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/acl/cache.h"

#include "base/bytes.h"
#include "base/word.h"

#include <string.h>

#define FACTOR 0x9E3779B97F4A7C15u

/* What an answer depends on. */
struct question {
    struct mqtt5_bytes user, client_id, topic;
    enum m5_acl_action action;
    bool anonymous;
};

static inline uint64_t mix(uint64_t hash, struct mqtt5_bytes text)
{
    const uint8_t *at = text.data;
    size_t left = text.len;
    hash = (hash ^ left) * FACTOR;
    for (; left >= 8; at += 8, left -= 8) {
        hash = (hash ^ m5_read_le64(at)) * FACTOR;
        hash ^= hash >> 29;
    }
    return left > 0 ? (hash ^ m5_read_le_part(at, left)) * FACTOR : hash;
}

/* The last eight bytes and the size: enough to tell clients apart. */
static inline uint64_t end_of(struct mqtt5_bytes text)
{
    if (text.len == 0)
        return 0;
    return text.len + (text.len >= 8 ? m5_read_le64(text.data + text.len - 8)
                                     : m5_read_le_part(text.data, text.len));
}

static uint32_t hash_of(const struct question *question)
{
    uint64_t hash = (uint64_t)question->action * 2 + question->anonymous + 1;
    hash = (hash ^ end_of(question->user) ^ end_of(question->client_id) * 31) * FACTOR;
    hash = mix(hash ^ hash >> 32, question->topic);
    return (uint32_t)(hash >> 32) | 1; /* never that of an empty slot */
}

/* Compares word by word, the last one overlapping: most texts here are two words long, and a call
 * of memcmp() costs more than both. */
static inline bool is_text(const uint8_t *at, struct mqtt5_bytes text)
{
    const uint8_t *other = text.data;
    size_t left = text.len;
    if (left == 0)
        return true;
    if (left < 8)
        return m5_read_le_part(at, left) == m5_read_le_part(other, left);
    uint64_t differs = m5_read_le64(at + left - 8) ^ m5_read_le64(other + left - 8);
    for (; left > 8; at += 8, other += 8, left -= 8)
        differs |= m5_read_le64(at) ^ m5_read_le64(other);
    return differs == 0;
}

static bool is_same(const struct m5_acl_slot *slot, const struct question *question)
{
    const uint8_t *client_id = slot->text + slot->user_size;
    const uint8_t *topic = client_id + slot->client_size;
    if (slot->topic_size != question->topic.len || slot->user_size != question->user.len ||
        slot->client_size != question->client_id.len || slot->action != question->action ||
        slot->anonymous != question->anonymous)
        return false;
    return is_text(topic, question->topic) && is_text(slot->text, question->user) &&
           is_text(client_id, question->client_id);
}

static void fill(struct m5_acl_slot *slot, uint32_t hash, const struct question *question,
                 bool allowed)
{
    const size_t size = question->user.len + question->client_id.len + question->topic.len;
    if (size > sizeof slot->text)
        return;
    slot->hash = hash;
    slot->user_size = (uint16_t)question->user.len;
    slot->client_size = (uint16_t)question->client_id.len;
    slot->topic_size = (uint16_t)question->topic.len;
    slot->action = (uint8_t)question->action;
    slot->anonymous = question->anonymous;
    slot->allowed = allowed;
    m5_copy(m5_copy(m5_copy(slot->text, question->user), question->client_id), question->topic);
}

static bool ask(const struct m5_acl *acl, const struct m5_principal *who, enum m5_acl_action action,
                struct mqtt5_bytes topic)
{
    switch (action) {
    case M5_ACL_MAY_WRITE: return m5_acl_may_write(acl, who, topic).allowed;
    case M5_ACL_MAY_READ: return m5_acl_may_read(acl, who, topic).allowed;
    case M5_ACL_MAY_UNSUBSCRIBE: return true;
    case M5_ACL_MAY_SUBSCRIBE: break;
    }
    return m5_acl_may_subscribe(acl, who, topic).allowed;
}

bool m5_acl_cache_ask(struct m5_acl_cache *cache, const struct m5_acl *acl, uint64_t generation,
                      const struct m5_principal *who, enum m5_acl_action action,
                      struct mqtt5_bytes topic)
{
    if (who->roles != NULL) /* what a login brings along is not part of what is remembered */
        return ask(acl, who, action, topic);
    struct question question = {
        .user = who->username, .topic = topic, .action = action, .anonymous = who->anonymous};
    if (m5_acl_uses_client_id(acl))
        question.client_id = who->client_id;
    if (cache->generation != generation) {
        memset(cache->slots, 0, sizeof cache->slots);
        cache->generation = generation;
    }
    const uint32_t hash = hash_of(&question);
    struct m5_acl_slot *slot = &cache->slots[(hash >> 1) % M5_ACL_CACHE_SLOTS];
    if (slot->hash == hash && is_same(slot, &question)) {
        cache->hits++;
        return slot->allowed;
    }
    cache->misses++;
    const bool allowed = ask(acl, who, action, topic);
    fill(slot, hash, &question, allowed);
    return allowed;
}
