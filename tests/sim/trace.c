/* The trace of a run, its hash, and how a run fails; memory of the simulator itself.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

static void print_entry(const struct sim_entry *entry, FILE *out)
{
    fprintf(out, "%9" PRIu64 "  ", entry->now_ms);
    fprintf(out, entry->format, entry->args[0], entry->args[1], entry->args[2], entry->args[3],
            entry->args[4]);
    fputc('\n', out);
}

void sim_log_args(struct sim_world *world, const char *format, const unsigned long long args[5])
{
    struct sim_trace *trace = &world->trace;
    struct sim_entry *entry = &trace->entries[trace->count++ % SIM_TRACE];
    entry->now_ms = world->now_ms;
    entry->format = format;
    memcpy(entry->args, args, sizeof entry->args);
    trace->hash = mix(trace->hash, world->now_ms);
    for (uint32_t i = 0; i < 5; i++)
        trace->hash = mix(trace->hash, args[i]);
    for (const char *at = format; *at != '\0'; at++)
        trace->hash = mix(trace->hash, (uint8_t)*at);
    world->tick++;
    if (trace->verbose)
        print_entry(entry, stdout);
}

void sim_fail(struct sim_world *world, const char *format, ...)
{
    if (world->failed)
        return;
    world->failed = true;
    va_list args;
    va_start(args, format);
    vsnprintf(world->failure, sizeof world->failure, format, args);
    va_end(args);
}

void sim_trace_print(const struct sim_world *world, FILE *out)
{
    const struct sim_trace *trace = &world->trace;
    uint64_t from = trace->count > SIM_TRACE ? trace->count - SIM_TRACE : 0;
    for (uint64_t i = from; i < trace->count; i++)
        print_entry(&trace->entries[i % SIM_TRACE], out);
}

void *sim_room(void *items, uint32_t count, uint32_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity == 0 ? 8 : *capacity * 2;
    items = realloc(items, *capacity * item_size);
    if (items == NULL)
        abort();
    return items;
}

void sim_append(struct sim_buffer *buffer, struct mqtt5_bytes bytes)
{
    if (bytes.len == 0)
        return;
    if (buffer->count + bytes.len > buffer->capacity) {
        buffer->capacity = (uint32_t)(buffer->count + bytes.len) * 2;
        buffer->items = realloc(buffer->items, buffer->capacity);
        if (buffer->items == NULL)
            abort();
    }
    memcpy(buffer->items + buffer->count, bytes.data, bytes.len);
    buffer->count += (uint32_t)bytes.len;
}

void sim_remove_at(void *items, uint32_t *count, size_t item_size, uint32_t index)
{
    uint8_t *at = (uint8_t *)items + index * item_size;
    memmove(at, at + item_size, (*count - index - 1) * item_size);
    --*count;
}

static void *heap_alloc(void *ctx, size_t size)
{
    struct sim_heap *heap = ctx;
    void *memory = malloc(size);
    if (memory != NULL)
        heap->used += size;
    return memory;
}

static void heap_free(void *ctx, void *memory, size_t size)
{
    struct sim_heap *heap = ctx;
    heap->used -= size;
    free(memory);
}

void sim_heap_init(struct sim_heap *heap)
{
    *heap = (struct sim_heap){
        .table = {.ctx = heap, .alloc = heap_alloc, .free = heap_free},
    };
}
