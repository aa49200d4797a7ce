/* Little-endian words out of bytes of any length and alignment, and tests on their eight bytes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_WORD_H
#define M5_BASE_WORD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define M5_WORD_ONES  0x0101010101010101u
#define M5_WORD_HIGHS 0x8080808080808080u

/* The word whose lowest byte is p[0]. */
static inline uint64_t m5_read_le64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline uint64_t m5_read_le32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap32(word);
#endif
    return word;
}

/* @p size (0 to 7) bytes as the low bytes of a word, zeros above. Reads that overlap put the same
 * byte into the same place, so there is no loop and nothing beyond the end is touched. */
static inline uint64_t m5_read_le_part(const uint8_t *p, size_t size)
{
    if (size >= 4)
        return m5_read_le32(p) | m5_read_le32(p + size - 4) << 8 * (size - 4);
    if (size == 0)
        return 0;
    const size_t middle = size / 2, last = size - 1;
    return (uint64_t)p[0] | (uint64_t)p[middle] << 8 * middle | (uint64_t)p[last] << 8 * last;
}

/* Not 0 when a byte of @p word is 0 or over 0x7F. */
static inline uint64_t m5_word_not_ascii(uint64_t word)
{
    return ((word - M5_WORD_ONES) | word) & M5_WORD_HIGHS;
}

/* The high bit of each byte of @p word (all bytes under 0x80) that equals @p byte (the same). */
static inline uint64_t m5_word_equal(uint64_t word, uint8_t byte)
{
    const uint64_t differs = (word ^ byte * M5_WORD_ONES) + (M5_WORD_HIGHS - M5_WORD_ONES);
    return ~differs & M5_WORD_HIGHS;
}

#endif
