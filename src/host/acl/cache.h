/* Answers of an access control list remembered, for one thread: clients publish to the same topics
 * again and again, and looking an answer up is several times cheaper than finding it.
 *
 * Each answer stands with all it depends on, which is compared byte for byte; what does not fit
 * into a slot is not remembered. A question overwrites another that has the same slot.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_ACL_CACHE_H
#define M5_HOST_ACL_CACHE_H

#include "host/acl/acl.h"

#include <assert.h>

#define M5_ACL_CACHE_SLOTS 2048u /* a power of two; 256 KiB in all */
#define M5_ACL_SLOT_TEXT   114u  /* bytes of user name, client identifier and topic */

enum m5_acl_action {
    M5_ACL_MAY_WRITE,
    M5_ACL_MAY_READ,
    M5_ACL_MAY_SUBSCRIBE,
    M5_ACL_MAY_UNSUBSCRIBE /* everybody may, but for dynamic security */
};

struct m5_acl_slot {
    uint32_t hash; /* 0: empty */
    uint16_t user_size, client_size, topic_size;
    uint8_t action;
    bool anonymous, allowed;
    uint8_t text[M5_ACL_SLOT_TEXT];
};
static_assert(sizeof(struct m5_acl_slot) <= 128, "two cache lines");

struct m5_acl_cache {
    uint64_t generation; /* of the list whose answers these are */
    uint64_t hits, misses;
    struct m5_acl_slot slots[M5_ACL_CACHE_SLOTS];
};

/* What @p acl says, remembered or not. @p generation changes with the list: then all is forgotten.
 * Zero-initialise the cache. */
bool m5_acl_cache_ask(struct m5_acl_cache *cache, const struct m5_acl *acl, uint64_t generation,
                      const struct m5_principal *who, enum m5_acl_action action,
                      struct mqtt5_bytes topic);

#endif
