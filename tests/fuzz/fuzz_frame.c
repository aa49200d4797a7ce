/* Framing: what a longer prefix says agrees with what the shorter ones said.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/packet.h>

#include "base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ok(const struct mqtt5_frame *frame, struct mqtt5_bytes prefix, uint32_t size_max)
{
    M5_ASSERT(frame->size <= prefix.len && frame->size <= size_max);
    M5_ASSERT(frame->header_size >= 2 && frame->header_size <= 5);
    M5_ASSERT(frame->body.data == prefix.data + frame->header_size);
    M5_ASSERT(frame->body.len == frame->size - frame->header_size);
    M5_ASSERT(frame->type == prefix.data[0] >> 4 && frame->flags == (prefix.data[0] & 15));
}

/* The first two bytes are the largest packet, in steps that reach beyond four length bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const uint32_t size_max = (uint32_t)(data[0] + 1) << (data[1] % 32);
    struct mqtt5_frame last = {0};
    enum mqtt5_error last_error = MQTT5_NEED_MORE;
    for (size_t len = 0; len <= size - 2; len++) {
        const struct mqtt5_bytes prefix = {.data = data + 2, .len = len};
        struct mqtt5_frame frame;
        const enum mqtt5_error error = mqtt5_frame_read(prefix, size_max, &frame);
        M5_ASSERT(last.size == 0 || frame.size == last.size);
        M5_ASSERT(last_error == MQTT5_NEED_MORE || error == last_error);
        if (error == MQTT5_OK)
            check_ok(&frame, prefix, size_max);
        if (error == MQTT5_NEED_MORE)
            M5_ASSERT(frame.size == 0 || frame.size > len);
        last = frame;
        last_error = error;
    }
    return 0;
}
