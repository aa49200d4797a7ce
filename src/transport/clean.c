/* Text of strangers on its way into logs and pages.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/clean.h"

#include "base/bytes.h"
#include "protocol/utf8.h"

/* Bytes of the character that @p text begins with; 0: none, or a control character. */
static size_t character(struct mqtt5_bytes text)
{
    const uint8_t lead = text.data[0];
    if (lead < 0x80)
        return lead >= 0x20 && lead != 0x7F ? 1 : 0;
    const size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (size > text.len || m5_utf8_check(m5_bytes(text.data, size)) != MQTT5_OK)
        return 0;
    return lead == 0xC2 && text.data[1] < 0xA0 ? 0 : size;
}

size_t m5_clean(struct mqtt5_bytes text, char *out, size_t size)
{
    size_t length = 0, taken = 0;
    while (taken < text.len) {
        const struct mqtt5_bytes rest = m5_bytes(text.data + taken, text.len - taken);
        const size_t whole = character(rest), step = whole > 0 ? whole : 1;
        if (length + step >= size)
            break;
        if (whole > 0)
            m5_copy((uint8_t *)out + length, m5_bytes(rest.data, whole));
        else
            out[length] = '?';
        length += step;
        taken += step;
    }
    out[length] = 0;
    return length;
}

bool m5_is_clean(struct mqtt5_bytes text)
{
    size_t taken = 0, whole = 1;
    while (taken < text.len && whole > 0) {
        whole = character(m5_bytes(text.data + taken, text.len - taken));
        taken += whole;
    }
    return whole > 0;
}
