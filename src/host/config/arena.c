/* An arena: blocks in a list, each filled from its front.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/arena.h"

#include "base/alloc.h"

#include <stdalign.h>
#include <string.h>

#define BLOCK_SIZE 4096

struct m5_arena_block {
    struct m5_arena_block *next;
    size_t size, used;
    alignas(max_align_t) char bytes[];
};

void m5_arena_init(struct m5_arena *arena, const struct mqtt5_allocator *allocator)
{
    *arena = (struct m5_arena){.allocator = allocator};
}

void m5_arena_fini(struct m5_arena *arena)
{
    while (arena->blocks != NULL) {
        struct m5_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        m5_free(arena->allocator, block, sizeof *block + block->size);
    }
}

static struct m5_arena_block *add_block(struct m5_arena *arena, size_t size)
{
    struct m5_arena_block *block =
        (struct m5_arena_block *)m5_alloc_zero(arena->allocator, sizeof *block + size);
    if (block == NULL)
        return NULL;
    block->size = size;
    block->next = arena->blocks;
    arena->blocks = block;
    return block;
}

void *m5_arena_alloc(struct m5_arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);
    size = (size + align - 1) / align * align;
    struct m5_arena_block *block = arena->blocks;
    if (block == NULL || block->size - block->used < size)
        block = add_block(arena, size > BLOCK_SIZE ? size : BLOCK_SIZE);
    if (block == NULL)
        return NULL;
    void *out = block->bytes + block->used;
    block->used += size;
    return out;
}

char *m5_arena_text(struct m5_arena *arena, const char *text, size_t size)
{
    char *copy = (char *)m5_arena_alloc(arena, size + 1);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}
