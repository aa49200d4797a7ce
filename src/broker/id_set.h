/* Set of packet identifiers, in pages made on demand: the QoS 2 messages that a client has sent
 * and not released yet.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_ID_SET_H
#define M5_BROKER_ID_SET_H

#include <mqtt5/allocator.h>

#include <stdbool.h>
#include <stdint.h>

#define M5_ID_PAGES 64 /* of 1,024 ids */

struct m5_id_page {
    uint32_t count;
    uint64_t bits[16];
};

struct m5_id_set {
    struct m5_id_page **pages; /* NULL while the set is empty; else M5_ID_PAGES of them */
    uint32_t count;
};

bool m5_id_set_has(const struct m5_id_set *set, uint16_t id);

/* False without memory; true when @p id is in the set, however it got there. */
bool m5_id_set_add(struct m5_id_set *set, const struct mqtt5_allocator *allocator, uint16_t id);

/* False when @p id was not in the set. */
bool m5_id_set_remove(struct m5_id_set *set, uint16_t id);

void m5_id_set_clear(struct m5_id_set *set, const struct mqtt5_allocator *allocator);

#endif
