/* The transports between a byte stream and MQTT.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/pipe.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"

#define SPARE_MOST 262144u /* bytes of a buffer that is kept for the next one */

void m5_pipe_room_fini(struct m5_pipe_room *room)
{
    if (room->allocator == NULL)
        return;
    m5_free(room->allocator, room->between, room->between == NULL ? 0 : M5_PIPE_BETWEEN);
    room->between = NULL;
    m5_outbox_fini(&room->spare);
    m5_outbox_fini(&room->inner);
}

void m5_pipe_init(struct m5_pipe *pipe)
{
    *pipe = (struct m5_pipe){0};
}

void m5_pipe_push(struct m5_pipe *pipe, struct m5_transport *transport)
{
    M5_ASSERT(pipe->layer_count < M5_PIPE_LAYERS);
    pipe->layers[pipe->layer_count++] = transport;
}

static void drop_kept(struct m5_pipe *pipe, const struct m5_pipe_room *room)
{
    m5_free(room->allocator, pipe->kept, pipe->kept_size);
    pipe->kept = NULL;
    pipe->kept_size = 0;
}

/* A buffer that is empty goes back to the room, or to the system when the room has one. */
static void give_back(struct m5_pipe *pipe, struct m5_pipe_room *room)
{
    pipe->out.size = pipe->out_sent = 0;
    if (room->spare.capacity == 0 && pipe->out.capacity <= SPARE_MOST) {
        room->spare = pipe->out;
        pipe->out = (struct m5_outbox){0};
    } else {
        m5_outbox_fini(&pipe->out);
    }
}

static void borrow(struct m5_pipe *pipe, struct m5_pipe_room *room)
{
    if (pipe->out.capacity > 0)
        return;
    pipe->out = room->spare;
    pipe->out.allocator = room->allocator;
    pipe->out.size = 0;
    room->spare = (struct m5_outbox){.allocator = room->allocator};
}

void m5_pipe_fini(struct m5_pipe *pipe, struct m5_pipe_room *room)
{
    for (unsigned i = pipe->layer_count; i-- > 0;)
        m5_transport_free(pipe->layers[i]);
    drop_kept(pipe, room);
    if (pipe->out.capacity > 0)
        give_back(pipe, room);
    *pipe = (struct m5_pipe){0};
}

bool m5_pipe_open(const struct m5_pipe *pipe)
{
    for (unsigned i = 0; i < pipe->layer_count; i++)
        if (!pipe->layers[i]->open)
            return false;
    return !pipe->failed;
}

void m5_pipe_receive(struct m5_pipe *pipe, struct mqtt5_bytes wire)
{
    M5_ASSERT(pipe->wire.len == 0);
    pipe->wire = wire;
}

void m5_pipe_replace(struct m5_pipe *pipe, struct mqtt5_bytes wire)
{
    pipe->wire = wire;
}

bool m5_pipe_holds(const struct m5_pipe *pipe)
{
    if (pipe->failed)
        return false;
    bool holds = pipe->wire.len > 0 || pipe->between.len > 0;
    for (unsigned i = 0; i < pipe->layer_count; i++)
        holds = holds || pipe->layers[i]->pending;
    return holds;
}

/* ---- in ---- */

static ptrdiff_t fail(struct m5_pipe *pipe)
{
    pipe->failed = true;
    return M5_TRANSPORT_FAILED;
}

/* What the upper layer has to say goes out through the lower one. */
static bool pass_down(struct m5_pipe *pipe, struct m5_pipe_room *room)
{
    if (room->inner.size == 0)
        return true;
    const struct mqtt5_bytes view = m5_bytes(room->inner.data, room->inner.size);
    room->inner.size = 0;
    return m5_transport_write(pipe->layers[0], &view, 1, &pipe->out);
}

/* One step of the upper layer of two. */
static ptrdiff_t read_upper(struct m5_pipe *pipe, struct m5_pipe_room *room, uint8_t *plain,
                            size_t size)
{
    room->inner.allocator = room->allocator;
    room->inner.size = 0;
    const ptrdiff_t got =
        m5_transport_read(pipe->layers[1], &pipe->between, &room->inner, plain, size);
    return pass_down(pipe, room) ? got : M5_TRANSPORT_FAILED;
}

/* One step of the lower layer of two, into the buffer between them. */
static ptrdiff_t read_lower(struct m5_pipe *pipe, struct m5_pipe_room *room)
{
    if (room->between == NULL) {
        room->between = (uint8_t *)m5_alloc(room->allocator, M5_PIPE_BETWEEN);
        if (room->between == NULL)
            return M5_TRANSPORT_FAILED;
    }
    const ptrdiff_t got =
        m5_transport_read(pipe->layers[0], &pipe->wire, &pipe->out, room->between, M5_PIPE_BETWEEN);
    if (got > 0)
        pipe->between = m5_bytes(room->between, (size_t)got);
    return got;
}

static ptrdiff_t read_both(struct m5_pipe *pipe, struct m5_pipe_room *room, uint8_t *plain,
                           size_t size)
{
    for (;;) {
        if (pipe->layers[0]->open) {
            pipe->begun = true;
            const ptrdiff_t got = read_upper(pipe, room, plain, size);
            if (got != M5_TRANSPORT_AGAIN)
                return got;
        }
        const ptrdiff_t got = read_lower(pipe, room);
        if (got == M5_TRANSPORT_AGAIN && pipe->layers[0]->open && !pipe->begun)
            continue;
        if (got <= 0)
            return got;
    }
}

ptrdiff_t m5_pipe_read(struct m5_pipe *pipe, struct m5_pipe_room *room, uint8_t *plain, size_t size)
{
    if (pipe->failed)
        return M5_TRANSPORT_FAILED;
    borrow(pipe, room);
    const ptrdiff_t got = pipe->layer_count == 2 ? read_both(pipe, room, plain, size)
                                                 : m5_transport_read(pipe->layers[0], &pipe->wire,
                                                                     &pipe->out, plain, size);
    if (got == M5_TRANSPORT_FAILED)
        fail(pipe);
    if (pipe->out.size == 0)
        give_back(pipe, room);
    return got;
}

bool m5_pipe_leave(struct m5_pipe *pipe, struct m5_pipe_room *room)
{
    const size_t size = pipe->wire.len + pipe->between.len;
    if (size == 0 || pipe->failed) {
        drop_kept(pipe, room);
        pipe->wire = pipe->between = (struct mqtt5_bytes){0};
        return !pipe->failed;
    }
    uint8_t *kept = (uint8_t *)m5_alloc(room->allocator, size);
    if (kept == NULL) {
        pipe->wire = pipe->between = (struct mqtt5_bytes){0};
        drop_kept(pipe, room);
        fail(pipe);
        return false;
    }
    m5_copy(m5_copy(kept, pipe->between), pipe->wire);
    pipe->between = m5_bytes(kept, pipe->between.len);
    pipe->wire = m5_bytes(kept + pipe->between.len, pipe->wire.len);
    drop_kept(pipe, room);
    pipe->kept = kept;
    pipe->kept_size = size;
    return true;
}

/* ---- out ---- */

bool m5_pipe_write(struct m5_pipe *pipe, struct m5_pipe_room *room, const struct mqtt5_bytes *views,
                   size_t count)
{
    if (pipe->failed)
        return false;
    borrow(pipe, room);
    struct m5_transport *top = pipe->layers[pipe->layer_count - 1];
    bool ok;
    if (pipe->layer_count == 2) {
        room->inner.allocator = room->allocator;
        room->inner.size = 0;
        ok = m5_transport_write(top, views, count, &room->inner) && pass_down(pipe, room);
    } else {
        ok = m5_transport_write(top, views, count, &pipe->out);
    }
    if (!ok)
        fail(pipe);
    if (pipe->out.size == 0)
        give_back(pipe, room);
    return ok;
}

void m5_pipe_finish(struct m5_pipe *pipe, struct m5_pipe_room *room)
{
    if (pipe->failed)
        return;
    borrow(pipe, room);
    if (pipe->layer_count == 2 && pipe->layers[0]->open) {
        room->inner.allocator = room->allocator;
        room->inner.size = 0;
        m5_transport_finish(pipe->layers[1], &room->inner);
        pass_down(pipe, room);
    }
    m5_transport_finish(pipe->layers[0], &pipe->out);
    if (pipe->out.size == 0)
        give_back(pipe, room);
}

struct mqtt5_bytes m5_pipe_output(const struct m5_pipe *pipe)
{
    return pipe->out.size == pipe->out_sent
               ? (struct mqtt5_bytes){0}
               : m5_bytes(pipe->out.data + pipe->out_sent, pipe->out.size - pipe->out_sent);
}

void m5_pipe_sent(struct m5_pipe *pipe, struct m5_pipe_room *room, size_t size)
{
    pipe->out_sent += size;
    if (pipe->out_sent == pipe->out.size && pipe->out.capacity > 0)
        give_back(pipe, room);
}

const char *m5_pipe_failure(const struct m5_pipe *pipe)
{
    for (unsigned i = 0; i < pipe->layer_count; i++)
        if (pipe->layers[i]->failure != NULL)
            return pipe->layers[i]->failure;
    return "no memory";
}
