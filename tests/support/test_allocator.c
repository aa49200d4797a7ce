/* An allocator for tests: each block stands between a header and a tail that are looked at when it
 * comes back.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/test_allocator.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC_OUT  0x6F75744F75744F75u
#define MAGIC_BACK 0x4261636B6261636Bu
#define TAIL_SIZE  16u
#define BYTE_TAIL  0xE7
#define BYTE_FRESH 0xA5
#define BYTE_BACK  0xDD

struct header {
    alignas(max_align_t) uint64_t magic;
    size_t size;
    struct header *next, *prev;
};

static _Noreturn void fail(const char *what, const void *memory, size_t size)
{
    fprintf(stderr, "test allocator: %s (%zu bytes at %p)\n", what, size, memory);
    abort();
}

static uint8_t *memory_of(struct header *header)
{
    return (uint8_t *)(header + 1);
}

static void *allocate(void *ctx, size_t size)
{
    struct test_allocator *allocator = ctx;
    const uint64_t call = ++allocator->calls;
    if (size == 0)
        fail("asked for nothing", NULL, 0);
    if (allocator->fail_at != 0 &&
        (call == allocator->fail_at || (allocator->fail_on && call > allocator->fail_at)))
        return NULL;
    struct header *header = malloc(sizeof *header + size + TAIL_SIZE);
    if (header == NULL)
        fail("the system has no memory", NULL, size);
    *header = (struct header){.magic = MAGIC_OUT, .size = size, .next = allocator->first};
    if (header->next != NULL)
        header->next->prev = header;
    allocator->first = header;
    memset(memory_of(header), BYTE_FRESH, size);
    memset(memory_of(header) + size, BYTE_TAIL, TAIL_SIZE);
    allocator->blocks++;
    allocator->bytes += size;
    return memory_of(header);
}

static void check_block(struct header *header)
{
    for (size_t i = 0; i < TAIL_SIZE; i++) {
        if (memory_of(header)[header->size + i] != BYTE_TAIL)
            fail("written past its end", memory_of(header), header->size);
    }
}

static void give_back(void *ctx, void *memory, size_t size)
{
    struct test_allocator *allocator = ctx;
    if (memory == NULL)
        fail("NULL given back", NULL, size);
    struct header *header = (struct header *)memory - 1;
    if (header->magic != MAGIC_OUT)
        fail("given back twice, or never handed out", memory, size);
    if (header->size != size)
        fail("given back with another size than it was asked for", memory, size);
    check_block(header);
    if (header->next != NULL)
        header->next->prev = header->prev;
    if (header->prev != NULL)
        header->prev->next = header->next;
    else
        allocator->first = header->next;
    allocator->blocks--;
    allocator->bytes -= size;
    header->magic = MAGIC_BACK;
    memset(memory, BYTE_BACK, size);
    free(header);
}

void test_allocator_init(struct test_allocator *allocator)
{
    *allocator = (struct test_allocator){
        .table = {.ctx = allocator, .alloc = allocate, .free = give_back},
    };
}

void test_allocator_fail_nth(struct test_allocator *allocator, uint64_t nth)
{
    allocator->fail_at = nth == 0 ? 0 : allocator->calls + nth;
}

bool test_allocator_failed(const struct test_allocator *allocator)
{
    return allocator->fail_at != 0 && allocator->calls >= allocator->fail_at;
}

void test_allocator_check(const struct test_allocator *allocator)
{
    struct header *header = allocator->first;
    if (header != NULL)
        fail("never given back", memory_of(header), header->size);
}
