/* Byte views and big-endian numbers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_BYTES_H
#define M5_BASE_BYTES_H

#include <mqtt5/bytes.h>

#include <stdbool.h>
#include <string.h>

static inline struct mqtt5_bytes m5_bytes(const void *data, size_t len)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)data, .len = len};
}

/* A view of a string literal or a zero-terminated string. */
static inline struct mqtt5_bytes m5_bytes_of(const char *text)
{
    return m5_bytes(text, strlen(text));
}

static inline bool m5_bytes_equal(struct mqtt5_bytes a, struct mqtt5_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* memcpy that takes empty views with NULL data. */
static inline uint8_t *m5_copy(uint8_t *out, struct mqtt5_bytes from)
{
    if (from.len == 0)
        return out; /* perhaps NULL, to which nothing may be added */
    memcpy(out, from.data, from.len);
    return out + from.len;
}

static inline uint16_t m5_read_u16(const uint8_t *p)
{
    return (uint16_t)((uint16_t)p[0] << 8 | p[1]);
}

static inline uint32_t m5_read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t m5_read_u64(const uint8_t *p)
{
    return (uint64_t)m5_read_u32(p) << 32 | m5_read_u32(p + 4);
}

static inline uint8_t *m5_write_u16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
    return p + 2;
}

static inline uint8_t *m5_write_u32(uint8_t *p, uint32_t value)
{
    p = m5_write_u16(p, (uint16_t)(value >> 16));
    return m5_write_u16(p, (uint16_t)value);
}

static inline uint8_t *m5_write_u64(uint8_t *p, uint64_t value)
{
    return m5_write_u32(m5_write_u32(p, (uint32_t)(value >> 32)), (uint32_t)value);
}

/* Bytes that @p value takes as a variable byte integer: 1 to 4. */
static inline size_t m5_varint_size(uint32_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

/* Writes @p value (<= MQTT5_VARINT_MAX), always minimal [MQTT-1.5.5-1]. */
static inline uint8_t *m5_varint_write(uint8_t *p, uint32_t value)
{
    while (value >= 128) {
        *p++ = (uint8_t)(value | 128);
        value >>= 7;
    }
    *p++ = (uint8_t)value;
    return p;
}

#endif
