/* Memory that is given back all at once.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CONFIG_ARENA_H
#define M5_HOST_CONFIG_ARENA_H

#include <mqtt5/allocator.h>

#include <stddef.h>

struct m5_arena_block;

struct m5_arena {
    const struct mqtt5_allocator *allocator; /* borrowed */
    struct m5_arena_block *blocks;           /* the newest first */
};

void m5_arena_init(struct m5_arena *arena, const struct mqtt5_allocator *allocator);
void m5_arena_fini(struct m5_arena *arena);

/* Zeroed and aligned for everything; NULL without memory. */
void *m5_arena_alloc(struct m5_arena *arena, size_t size);

/* A copy of @p size bytes and a zero. */
char *m5_arena_text(struct m5_arena *arena, const char *text, size_t size);

#endif
