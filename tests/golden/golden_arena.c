/* Memory of one kind: every piece is a block on one list.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "golden/golden_arena.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct golden_arena_block {
    alignas(max_align_t) struct golden_arena_block *next;
};

void *golden_arena_alloc(struct golden_arena *arena, size_t size)
{
    struct golden_arena_block *block = calloc(1, sizeof *block + size);
    if (block == NULL) {
        fprintf(stderr, "golden: no memory\n");
        abort();
    }
    block->next = arena->first;
    arena->first = block;
    return block + 1;
}

char *golden_arena_text(struct golden_arena *arena, const char *text, size_t size)
{
    char *copy = golden_arena_alloc(arena, size + 1);
    memcpy(copy, text, size);
    return copy;
}

void golden_arena_fini(struct golden_arena *arena)
{
    while (arena->first != NULL) {
        struct golden_arena_block *block = arena->first;
        arena->first = block->next;
        free(block);
    }
}
