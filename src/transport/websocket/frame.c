/* Heads and masks of WebSocket frames (RFC 6455, 5.2 and 5.3).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/websocket/frame.h"

#include "base/bytes.h"
#include "base/word.h"

#define FINAL     0x80u
#define RESERVED  0x70u
#define OPCODE    0x0Fu
#define MASKED    0x80u
#define LENGTH    0x7Fu
#define LENGTH_16 126u
#define LENGTH_64 127u

size_t m5_frame_head_size(const uint8_t first[2])
{
    const uint8_t length = first[1] & LENGTH;
    const size_t more = length == LENGTH_64 ? 8 : length == LENGTH_16 ? 2 : 0;
    return 2 + more + ((first[1] & MASKED) != 0 ? 4 : 0);
}

bool m5_frame_read_head(const uint8_t *bytes, struct m5_frame_head *out)
{
    const uint8_t length = bytes[1] & LENGTH;
    *out = (struct m5_frame_head){
        .final = (bytes[0] & FINAL) != 0,
        .masked = (bytes[1] & MASKED) != 0,
        .reserved = bytes[0] & RESERVED,
        .opcode = bytes[0] & OPCODE,
        .size = length,
    };
    uint64_t least = 0;
    if (length == LENGTH_16) {
        out->size = m5_read_u16(bytes + 2);
        least = LENGTH_16;
    } else if (length == LENGTH_64) {
        out->size = (uint64_t)m5_read_u32(bytes + 2) << 32 | m5_read_u32(bytes + 6);
        least = UINT16_MAX + 1u;
    }
    if (out->masked)
        memcpy(out->mask, bytes + m5_frame_head_size(bytes) - 4, sizeof out->mask);
    return out->size >= least && out->size <= INT64_MAX;
}

size_t m5_frame_write_head(const struct m5_frame_head *head, uint8_t out[M5_FRAME_HEAD_MAX])
{
    const uint8_t masked = head->masked ? MASKED : 0;
    uint8_t *at = out;
    *at++ = (uint8_t)((head->final ? FINAL : 0) | head->reserved | head->opcode);
    if (head->size < LENGTH_16) {
        *at++ = (uint8_t)(masked | head->size);
    } else if (head->size <= UINT16_MAX) {
        *at++ = masked | LENGTH_16;
        at = m5_write_u16(at, (uint16_t)head->size);
    } else {
        *at++ = masked | LENGTH_64;
        at = m5_write_u32(at, (uint32_t)(head->size >> 32));
        at = m5_write_u32(at, (uint32_t)head->size);
    }
    if (head->masked)
        at = m5_copy(at, m5_bytes(head->mask, sizeof head->mask));
    return (size_t)(at - out);
}

void m5_frame_mask(uint8_t *out, struct mqtt5_bytes from, const uint8_t mask[4], size_t phase)
{
    const uint64_t once = m5_read_le32(mask);
    const uint64_t turned = (once << 32 | once) >> 8 * (phase % 4) & UINT32_MAX;
    uint64_t pattern = turned << 32 | turned, word;
    size_t i = 0;
    for (; i + sizeof word <= from.len; i += sizeof word) {
        word = m5_read_le64(from.data + i) ^ pattern;
        word = m5_read_le64((const uint8_t *)&word); /* into the machine's order */
        memcpy(out + i, &word, sizeof word);
    }
    for (; i < from.len; i++, pattern >>= 8)
        out[i] = from.data[i] ^ (uint8_t)pattern;
}

bool m5_close_code_check(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}
