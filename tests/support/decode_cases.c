/* Tables of packets and what decoding must say of them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/decode_cases.h"

#include "base/bytes.h"
#include "support/guard_page.h"
#include "support/hex.h"
#include "support/wire_check.h"

#include <stdio.h>
#include <stdlib.h>

#define PACKET_MAX 4096u

struct frame_bytes {
    uint8_t data[PACKET_MAX + 5];
    size_t len;
};

static void make_frame(uint8_t first, struct mqtt5_bytes body, struct frame_bytes *out)
{
    uint8_t *at = out->data;
    *at++ = first;
    at = m5_varint_write(at, (uint32_t)body.len);
    at = m5_copy(at, body);
    out->len = (size_t)(at - out->data);
}

static enum mqtt5_error check_guarded(struct guard_page *guard, const struct frame_bytes *frame,
                                      uint8_t version)
{
    return wire_check(guard_page_place(guard, m5_bytes(frame->data, frame->len)), version);
}

/* A shorter body may be a right one (less payload, fewer filters): wire_check() sees to it that it
 * is never read past its end and means what it says. */
static void check_truncations(struct guard_page *guard, const struct decode_case *c,
                              struct mqtt5_bytes body)
{
    struct frame_bytes frame;
    for (size_t len = 0; len < body.len; len++) {
        make_frame(c->first, m5_bytes(body.data, len), &frame);
        (void)check_guarded(guard, &frame, c->version);
    }
}

static void check_flips(struct guard_page *guard, const struct decode_case *c,
                        const struct frame_bytes *whole)
{
    struct frame_bytes frame = *whole;
    for (size_t at = 0; at < frame.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            frame.data[at] ^= (uint8_t)(1u << bit);
            (void)check_guarded(guard, &frame, c->version);
            frame.data[at] = whole->data[at];
        }
    }
}

/* As the stream brings the packet byte by byte. */
static bool prefixes_need_more(struct guard_page *guard, const struct frame_bytes *whole)
{
    for (size_t len = 0; len < whole->len; len++) {
        struct mqtt5_frame frame;
        const struct mqtt5_bytes prefix = guard_page_place(guard, m5_bytes(whole->data, len));
        if (mqtt5_frame_read(prefix, UINT32_MAX, &frame) != MQTT5_NEED_MORE)
            return false;
        const bool length_known = len > 1 && whole->data[len - 1] < 0x80;
        if (length_known && len < 3 && frame.size != whole->len)
            return false;
    }
    return true;
}

static bool run(struct guard_page *guard, const struct decode_case *c)
{
    uint8_t room[PACKET_MAX];
    const struct mqtt5_bytes body = hex_read(c->body, room, sizeof room);
    struct frame_bytes frame;
    make_frame(c->first, body, &frame);
    const enum mqtt5_error error = check_guarded(guard, &frame, c->version);
    if (error != c->error) {
        fprintf(stderr, "%s: %s instead of %s\n", c->what, mqtt5_error_name(error),
                mqtt5_error_name(c->error));
        hex_print("packet", m5_bytes(frame.data, frame.len));
        return false;
    }
    if (!prefixes_need_more(guard, &frame)) {
        fprintf(stderr, "%s: a prefix is taken for the whole\n", c->what);
        return false;
    }
    if (error == MQTT5_OK) {
        check_truncations(guard, c, body);
        check_flips(guard, c, &frame);
    }
    return true;
}

unsigned decode_cases_run(const struct decode_case *cases, unsigned count)
{
    struct guard_page guard;
    guard_page_init(&guard, PACKET_MAX + 5);
    unsigned failed = 0;
    for (unsigned i = 0; i < count; i++)
        failed += !run(&guard, &cases[i]);
    guard_page_fini(&guard);
    return failed;
}
