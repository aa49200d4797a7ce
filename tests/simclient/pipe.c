/* Bytes of the simulation: buffers, pipes, and packets seen in them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "simclient/simclient.h"

#include <stdlib.h>

#define PIPE_ROOM 65536u
#define PIECES    64u

void sc_bytes_add(struct sc_bytes *bytes, struct mqtt5_bytes more)
{
    if (bytes->room - bytes->size < more.len) {
        bytes->room = 2 * (bytes->size + more.len);
        bytes->data = realloc(bytes->data, bytes->room);
        if (bytes->data == NULL)
            abort();
    }
    m5_copy(bytes->data == NULL ? NULL : bytes->data + bytes->size, more);
    bytes->size += more.len;
}

void sc_bytes_cut(struct sc_bytes *bytes, size_t size)
{
    if (size < bytes->size)
        memmove(bytes->data, bytes->data + size, bytes->size - size);
    bytes->size -= size;
}

void sc_bytes_fini(struct sc_bytes *bytes)
{
    free(bytes->data);
    *bytes = (struct sc_bytes){0};
}

size_t sc_pipe_push(struct sc_pipe *pipe, struct mqtt5_bytes bytes, uint64_t ready_ms)
{
    const size_t room = PIPE_ROOM - pipe->bytes.size;
    const size_t size = pipe->count == PIECES ? 0 : bytes.len < room ? bytes.len : room;
    if (size == 0)
        return 0;
    sc_bytes_add(&pipe->bytes, m5_bytes(bytes.data, size));
    const unsigned last = (pipe->first + pipe->count + PIECES - 1) % PIECES;
    if (pipe->count > 0 && pipe->pieces[last].ready_ms > ready_ms)
        ready_ms = pipe->pieces[last].ready_ms; /* nothing overtakes */
    const unsigned next = (pipe->first + pipe->count++) % PIECES;
    pipe->pieces[next].ready_ms = ready_ms;
    pipe->pieces[next].size = size;
    return size;
}

struct mqtt5_bytes sc_pipe_ready(const struct sc_pipe *pipe, uint64_t now_ms)
{
    size_t size = 0;
    if (now_ms < pipe->stalled_until_ms)
        return m5_bytes(NULL, 0);
    for (unsigned i = 0; i < pipe->count; i++) {
        const unsigned at = (pipe->first + i) % PIECES;
        if (pipe->pieces[at].ready_ms > now_ms)
            break;
        size += pipe->pieces[at].size;
    }
    return m5_bytes(pipe->bytes.data, size);
}

void sc_pipe_take(struct sc_pipe *pipe, size_t size)
{
    sc_bytes_cut(&pipe->bytes, size);
    while (size > 0) {
        const size_t piece = pipe->pieces[pipe->first].size;
        const size_t part = piece < size ? piece : size;
        pipe->pieces[pipe->first].size -= part;
        size -= part;
        if (part == piece) {
            pipe->first = (pipe->first + 1) % PIECES;
            pipe->count--;
        }
    }
}

void sc_pipe_clear(struct sc_pipe *pipe)
{
    struct sc_bytes bytes = pipe->bytes;
    bytes.size = 0;
    *pipe = (struct sc_pipe){.bytes = bytes};
}

void sc_tap_add(struct sc_tap *tap, struct mqtt5_bytes bytes)
{
    sc_bytes_add(&tap->bytes, bytes);
}

bool sc_tap_next(struct sc_tap *tap, uint8_t version, struct mqtt5_packet *out)
{
    static uint8_t memory[1u << 17]; /* the views of `out`: one thread, one packet at a time */
    struct mqtt5_decode_limits limits;
    struct mqtt5_frame frame;
    mqtt5_decode_limits_init(&limits);
    while (!tap->blind && tap->bytes.size > 0) {
        const enum mqtt5_error error =
            mqtt5_frame_read(m5_bytes(tap->bytes.data, tap->bytes.size), sizeof memory, &frame);
        if (error == MQTT5_NEED_MORE)
            return false;
        tap->blind = error != MQTT5_OK;
        if (tap->blind)
            return false;
        memcpy(memory, tap->bytes.data, frame.size);
        sc_bytes_cut(&tap->bytes, frame.size);
        frame.body.data = memory + frame.header_size;
        if (mqtt5_packet_decode(&frame, version, &limits, out) == MQTT5_OK)
            return true;
    }
    return false;
}

void sc_tap_reset(struct sc_tap *tap)
{
    sc_bytes_fini(&tap->bytes);
    tap->blind = false;
}
