/* The UTF-8 check of every string of the wire: ASCII at eight bytes a step, the rest by sequence.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "protocol/utf8.h"

#include <mqtt5/topic.h>

/* Bytes of the sequence that starts at @p p, or 0 when it is none. Overlong forms, surrogates and
 * code points over U+10FFFF are told by the second byte (RFC 3629, section 4) [MQTT-1.5.4-1]. */
static size_t sequence_size(const uint8_t *p, size_t left)
{
    const uint8_t first = p[0];
    const size_t size = first < 0xC2   ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
    if (size == 0 || size > left)
        return 0;
    const uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return size;
}

enum mqtt5_error m5_utf8_check_slow(struct mqtt5_bytes text)
{
    const uint8_t *at = text.data;
    const uint8_t *const end = at + text.len;
    while (at != end) {
        const size_t left = (size_t)(end - at);
        if (left >= 8 && m5_word_not_ascii(m5_read_le64(at)) == 0) {
            at += 8;
        } else if (*at < 0x80) {
            if (*at == 0) /* [MQTT-1.5.4-2] */
                return MQTT5_ERR_UTF8_NUL;
            at++;
        } else {
            const size_t size = sequence_size(at, left);
            if (size == 0)
                return MQTT5_ERR_UTF8;
            at += size;
        }
    }
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_utf8_check(struct mqtt5_bytes text)
{
    return m5_utf8_check(text);
}
