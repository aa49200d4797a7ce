/* Base64 (RFC 4648), strictly: one way to write each value.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_BASE64_H
#define M5_BASE_BASE64_H

#include <mqtt5/bytes.h>

#include <stdbool.h>

enum m5_base64_form {
    M5_BASE64_PADDED,   /* '+' and '/', '=' up to a multiple of four characters */
    M5_BASE64_UNPADDED, /* '+' and '/', no '=' */
    M5_BASE64_URL       /* '-' and '_', no '=' */
};

/* Bytes that base64 of @p size bytes takes at most, with a zero. */
#define M5_BASE64_SIZE(size) (((size) + 2) / 3 * 4 + 1)

/* Writes the characters and a zero; returns their number. @p out: M5_BASE64_SIZE(bytes.len). */
size_t m5_base64_encode(struct mqtt5_bytes bytes, enum m5_base64_form form, char *out);

/* Reads @p text into at most @p size_max bytes. False for other characters, wrong padding, bits
 * that stand for nothing, and what is too long. */
bool m5_base64_decode(struct mqtt5_bytes text, enum m5_base64_form form, uint8_t *out,
                      size_t size_max, size_t *size);

#endif
