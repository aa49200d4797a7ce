/* Base64 (RFC 4648), strictly: one way to write each value.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static char letter_of(uint32_t value, enum m5_base64_form form)
{
    if (value < 62)
        return letters[value];
    if (form == M5_BASE64_URL)
        return value == 62 ? '-' : '_';
    return value == 62 ? '+' : '/';
}

/* -1 for a character that is none of the alphabet. */
static int value_of(uint8_t character, enum m5_base64_form form)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a' + 26;
    if (character >= '0' && character <= '9')
        return character - '0' + 52;
    if (character == (uint8_t)letter_of(62, form))
        return 62;
    return character == (uint8_t)letter_of(63, form) ? 63 : -1;
}

size_t m5_base64_encode(struct mqtt5_bytes bytes, enum m5_base64_form form, char *out)
{
    char *at = out;
    for (size_t i = 0; i < bytes.len; i += 3) {
        const size_t left = bytes.len - i;
        const uint32_t group = (uint32_t)bytes.data[i] << 16 |
                               (left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0) |
                               (left > 2 ? bytes.data[i + 2] : 0u);
        *at++ = letter_of(group >> 18, form);
        *at++ = letter_of(group >> 12 & 63, form);
        if (left > 1)
            *at++ = letter_of(group >> 6 & 63, form);
        if (left > 2)
            *at++ = letter_of(group & 63, form);
    }
    while (form == M5_BASE64_PADDED && (at - out) % 4 != 0)
        *at++ = '=';
    *at = 0;
    return (size_t)(at - out);
}

/* Takes the padding off @p text; false when there is not as much as there should be. */
static bool unpad(struct mqtt5_bytes *text)
{
    if (text->len % 4 != 0)
        return false;
    for (int i = 0; i < 2 && text->len > 0 && text->data[text->len - 1] == '='; i++)
        text->len--;
    return true;
}

bool m5_base64_decode(struct mqtt5_bytes text, enum m5_base64_form form, uint8_t *out,
                      size_t size_max, size_t *size)
{
    *size = 0;
    if (form == M5_BASE64_PADDED && !unpad(&text))
        return false;
    if (text.len % 4 == 1 || text.len / 4 * 3 + (text.len % 4 + 1) / 2 > size_max + 1)
        return false;
    uint32_t bits = 0, held = 0;
    for (size_t i = 0; i < text.len; i++) {
        const int value = value_of(text.data[i], form);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        if (*size == size_max)
            return false;
        out[(*size)++] = (uint8_t)(bits >> held);
        bits &= (1u << held) - 1;
    }
    return bits == 0;
}
