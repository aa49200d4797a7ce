/* Heads and masks of WebSocket frames (RFC 6455, 5.2 and 5.3).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_WEBSOCKET_FRAME_H
#define M5_TRANSPORT_WEBSOCKET_FRAME_H

#include <mqtt5/bytes.h>

#include <stdbool.h>

#define M5_FRAME_HEAD_MAX    14u  /* bytes: 2, 8 of length, 4 of mask */
#define M5_FRAME_CONTROL_MAX 125u /* bytes of payload of a control frame */

enum m5_frame_opcode {
    M5_FRAME_CONTINUATION = 0,
    M5_FRAME_TEXT = 1,
    M5_FRAME_BINARY = 2,
    M5_FRAME_CLOSE = 8,
    M5_FRAME_PING = 9,
    M5_FRAME_PONG = 10
};

/* Codes of a Close frame that are used here. */
enum m5_close_code {
    M5_CLOSE_NORMAL = 1000,
    M5_CLOSE_PROTOCOL_ERROR = 1002,
    M5_CLOSE_UNSUPPORTED = 1003,
    M5_CLOSE_NOT_UTF8 = 1007,
    M5_CLOSE_TOO_LARGE = 1009
};

struct m5_frame_head {
    bool final, masked;
    uint8_t reserved; /* the three RSV bits */
    uint8_t opcode;
    uint8_t mask[4];
    uint64_t size; /* bytes of payload */
};

/* Bytes that the head takes which begins with these two. */
size_t m5_frame_head_size(const uint8_t first[2]);

/* Reads a whole head. False when its length is not written in the shortest way or too large for 63
 * bits. */
bool m5_frame_read_head(const uint8_t *bytes, struct m5_frame_head *out);

/* Writes a head, the mask included; returns its size. */
size_t m5_frame_write_head(const struct m5_frame_head *head, uint8_t out[M5_FRAME_HEAD_MAX]);

/* Copies @p from to @p out, each byte combined with the mask that begins with byte @p phase % 4. */
void m5_frame_mask(uint8_t *out, struct mqtt5_bytes from, const uint8_t mask[4], size_t phase);

/* True for the codes that a peer may send. */
bool m5_close_code_check(uint16_t code);

#endif
