/* Topic aliases of one connection in one direction: alias -> topic [MQTT-3.3.2-7].
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLIENT_ALIAS_H
#define M5_CLIENT_ALIAS_H

#include "base/bytes.h"

#include <mqtt5/allocator.h>

/* Grows to the highest alias that was set. A zeroed table is empty. */
struct m5_client_aliases {
    struct mqtt5_bytes *topics; /* owned copies, by alias - 1 */
    size_t capacity;
};

/* Sets or replaces @p alias (> 0); false without memory, then as before. */
bool m5_client_alias_set(struct m5_client_aliases *aliases, const struct mqtt5_allocator *allocator,
                         uint16_t alias, struct mqtt5_bytes topic);

/* What @p alias (> 0) stands for; empty when it was never set. */
struct mqtt5_bytes m5_client_alias_get(const struct m5_client_aliases *aliases, uint16_t alias);

/* Forgets everything: aliases end with their connection. */
void m5_client_aliases_fini(struct m5_client_aliases *aliases,
                            const struct mqtt5_allocator *allocator);

#endif
