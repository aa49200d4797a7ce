/* Sums of encoded sizes that cannot overflow: beyond the largest packet there is only one value.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_PROTOCOL_SIZES_H
#define M5_PROTOCOL_SIZES_H

#include "base/bytes.h"

#include <mqtt5/packet.h>

#define M5_UNENCODABLE SIZE_MAX

/* Two sizes within bounds add up to less than 2^30, which any size_t holds. */
static inline size_t m5_size_add(size_t total, size_t more)
{
    if (total > MQTT5_REMAINING_LENGTH_MAX || more > MQTT5_REMAINING_LENGTH_MAX)
        return M5_UNENCODABLE;
    return total + more <= MQTT5_REMAINING_LENGTH_MAX ? total + more : M5_UNENCODABLE;
}

/* A string or binary data behind its two bytes of length. */
static inline size_t m5_size_text(struct mqtt5_bytes text)
{
    return text.len <= MQTT5_STRING_MAX ? 2 + text.len : M5_UNENCODABLE;
}

static inline uint8_t *m5_write_text(uint8_t *out, struct mqtt5_bytes text)
{
    return m5_copy(m5_write_u16(out, (uint16_t)text.len), text);
}

#endif
