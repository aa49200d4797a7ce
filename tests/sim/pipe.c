/* One direction of a link: bytes that arrive in order and late, until the link breaks.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "sim/sim.h"

#include <stdlib.h>
#include <string.h>

size_t sim_pipe_under_way(const struct sim_pipe *pipe)
{
    return pipe->end - pipe->at;
}

static void make_room(struct sim_pipe *pipe, size_t size)
{
    if (pipe->end + size <= pipe->capacity)
        return;
    size_t used = sim_pipe_under_way(pipe);
    if (used > 0)
        memmove(pipe->data, pipe->data + pipe->at, used);
    pipe->at = 0;
    pipe->end = used;
    if (used + size <= pipe->capacity)
        return;
    pipe->capacity = (used + size) * 2;
    pipe->data = realloc(pipe->data, pipe->capacity);
    if (pipe->data == NULL)
        abort();
}

size_t sim_pipe_write(struct sim_pipe *pipe, struct mqtt5_bytes bytes, uint64_t ready_ms)
{
    if (pipe->cut)
        return bytes.len;
    size_t used = sim_pipe_under_way(pipe);
    size_t room = used < pipe->room ? pipe->room - used : 0;
    size_t size = bytes.len < room ? bytes.len : room;
    if (size == 0)
        return 0;
    make_room(pipe, size);
    memcpy(pipe->data + pipe->end, bytes.data, size);
    pipe->end += size;
    if (ready_ms < pipe->last_ready_ms)
        ready_ms = pipe->last_ready_ms;
    pipe->last_ready_ms = ready_ms;
    SIM_PUSH(&pipe->segments, (struct sim_segment){.ready_ms = ready_ms, .size = size});
    return size;
}

struct mqtt5_bytes sim_pipe_ready(struct sim_pipe *pipe, uint64_t now_ms)
{
    if (pipe->data == NULL || now_ms < pipe->stalled_until_ms)
        return (struct mqtt5_bytes){0};
    struct mqtt5_bytes ready = {.data = pipe->data + pipe->at, .len = 0};
    for (uint32_t i = pipe->first; i < pipe->segments.count; i++) {
        if (pipe->segments.items[i].ready_ms > now_ms)
            break;
        ready.len += pipe->segments.items[i].size;
    }
    return ready;
}

/* Segments that have been read whole leave the list when they are many, or all of them. */
static void forget_segments(struct sim_pipe *pipe)
{
    if (pipe->first < 64 && pipe->first < pipe->segments.count)
        return;
    pipe->segments.count -= pipe->first;
    if (pipe->segments.count > 0)
        memmove(pipe->segments.items, pipe->segments.items + pipe->first,
                pipe->segments.count * sizeof *pipe->segments.items);
    pipe->first = 0;
}

void sim_pipe_take(struct sim_pipe *pipe, size_t size)
{
    pipe->at += size;
    while (size > 0) {
        struct sim_segment *segment = &pipe->segments.items[pipe->first];
        size_t part = segment->size < size ? segment->size : size;
        segment->size -= part;
        size -= part;
        if (segment->size == 0)
            pipe->first++;
    }
    forget_segments(pipe);
}

void sim_pipe_cut(struct sim_pipe *pipe, size_t keep)
{
    pipe->cut = true;
    if (keep >= sim_pipe_under_way(pipe))
        return;
    pipe->end = pipe->at + keep;
    for (uint32_t i = pipe->first; i < pipe->segments.count; i++) {
        struct sim_segment *segment = &pipe->segments.items[i];
        if (segment->size > keep)
            segment->size = keep;
        keep -= segment->size;
    }
}

void sim_pipe_free(struct sim_pipe *pipe)
{
    free(pipe->data);
    free(pipe->segments.items);
}
