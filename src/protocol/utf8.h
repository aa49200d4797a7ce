/* The UTF-8 check, with the case of nearly all strings inlined.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_PROTOCOL_UTF8_H
#define M5_PROTOCOL_UTF8_H

#include "base/word.h"

#include <mqtt5/bytes.h>
#include <mqtt5/error.h>

#include <stdbool.h>

/* As mqtt5_utf8_check(); right for any text. */
enum mqtt5_error m5_utf8_check_slow(struct mqtt5_bytes text);

/* True when all bytes are U+0001 to U+007F. */
static inline bool m5_utf8_is_ascii(struct mqtt5_bytes text)
{
    const uint8_t *at = text.data;
    size_t left = text.len;
    uint64_t bad = 0;
    for (; left >= 8; at += 8, left -= 8)
        bad |= m5_word_not_ascii(m5_read_le64(at));
    if (left == 0)
        return bad == 0;
    const uint64_t filler = M5_WORD_ONES << 8 * left;
    return (bad | m5_word_not_ascii(m5_read_le_part(at, left) | filler)) == 0;
}

static inline enum mqtt5_error m5_utf8_check(struct mqtt5_bytes text)
{
    return m5_utf8_is_ascii(text) ? MQTT5_OK : m5_utf8_check_slow(text);
}

#endif
