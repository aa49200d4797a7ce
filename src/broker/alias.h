/* Topic aliases of one connection, in each direction [MQTT-3.3.2-7].
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_ALIAS_H
#define M5_BROKER_ALIAS_H

#include "base/bytes.h"

#include <mqtt5/allocator.h>

/* Aliases that the client has set: alias -> topic. Grows to the highest one used. */
struct m5_alias_in {
    struct mqtt5_bytes *topics; /* owned copies; by alias - 1 */
    uint16_t capacity;
};

/* Sets or replaces @p alias (>= 1); false without memory. */
bool m5_alias_in_set(struct m5_alias_in *in, const struct mqtt5_allocator *allocator,
                     uint16_t alias, struct mqtt5_bytes topic);

/* What @p alias stands for; empty when it was never set. */
struct mqtt5_bytes m5_alias_in_get(const struct m5_alias_in *in, uint16_t alias);

void m5_alias_in_fini(struct m5_alias_in *in, const struct mqtt5_allocator *allocator);

/* Aliases that we have set: topic -> alias, first come, first served. */
struct m5_alias_out {
    struct mqtt5_bytes *topics; /* owned copies; by alias - 1 */
    uint32_t *hashes;
    uint16_t count, maximum;
};

/* NULL without memory: the connection then goes without aliases. */
struct m5_alias_out *m5_alias_out_new(const struct mqtt5_allocator *allocator, uint16_t maximum);

/* The alias for @p topic, or 0 when it has none and none is free. *@p known tells whether the peer
 * has been told already; if not, the topic must be sent along. */
uint16_t m5_alias_out_get(struct m5_alias_out *out, const struct mqtt5_allocator *allocator,
                          struct mqtt5_bytes topic, uint32_t hash, bool *known);

/* Takes back the alias handed out last, whose packet was not sent after all. */
void m5_alias_out_undo(struct m5_alias_out *out, const struct mqtt5_allocator *allocator);

void m5_alias_out_free(struct m5_alias_out *out, const struct mqtt5_allocator *allocator);

#endif
