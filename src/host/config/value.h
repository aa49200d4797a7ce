/* Values as people write them: numbers with units, yes and no; and what a slip of the finger meant.
 * Used for files, flags and variables alike.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CONFIG_VALUE_H
#define M5_HOST_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum m5_unit {
    M5_UNIT_NONE,
    M5_UNIT_SECONDS,      /* 30, 30s, 1m30s, 2h, 7d */
    M5_UNIT_MILLISECONDS, /* 2, 2s, 250ms, 1m30s: seconds, too, when nothing else is said */
    M5_UNIT_INTERVAL,     /* 250, 250ms, 2s: milliseconds when nothing else is said */
    M5_UNIT_BYTES         /* 4096, 64KiB, 16MiB, 1GiB, 5kB */
};

/* Reads a number, or a sum of numbers with units. False when the text is none, or too large. */
bool m5_value_number(const char *text, enum m5_unit unit, uint64_t *out);

/* "a duration like 30, 30s or 1m30s": what m5_value_number() reads. */
const char *m5_value_kind(enum m5_unit unit);

/* true/false, yes/no, on/off, 1/0. */
bool m5_value_bool(const char *text, bool *out);

/* True for what stands for "without end": never, -1, the sign for infinity. */
bool m5_value_is_never(const char *text);

#define M5_VALUE_TEXT_SIZE 32

/* Writes @p number with the largest unit that it is a multiple of. */
void m5_value_write(uint64_t number, enum m5_unit unit, char out[M5_VALUE_TEXT_SIZE]);

/* The name in @p names (NULL at the end) that @p text was probably meant to be, or NULL. */
const char *m5_value_suggest(const char *text, const char *const *names);

#endif
