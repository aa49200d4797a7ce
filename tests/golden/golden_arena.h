/* Memory of one kind: taken piece by piece, given back all at once.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef GOLDEN_ARENA_H
#define GOLDEN_ARENA_H

#include <stddef.h>

struct golden_arena_block;

struct golden_arena {
    struct golden_arena_block *first;
};

/* Zeroed; ends the program when there is no memory. @p size may be 0. */
void *golden_arena_alloc(struct golden_arena *arena, size_t size);

/* A terminated copy of @p size characters. */
char *golden_arena_text(struct golden_arena *arena, const char *text, size_t size);

void golden_arena_fini(struct golden_arena *arena);

#endif
