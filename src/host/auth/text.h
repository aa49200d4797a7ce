/* Reading the line-based files of this folder: lines, words, and errors that say where.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_TEXT_H
#define M5_HOST_AUTH_TEXT_H

#include <mqtt5/allocator.h>
#include <mqtt5/bytes.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define M5_TEXT_FILE_MAX (16u << 20) /* bytes of a file of users, keys or rules */
#define M5_TEXT_LINE_MAX 8192u       /* bytes of one of its lines */

/* malloc() and free() as a table. */
extern const struct mqtt5_allocator m5_libc_allocator;

/* What is wrong with a file, and where: line 0 means the file as a whole. */
struct m5_text_error {
    uint32_t line, column; /* from 1, columns in bytes */
    char text[240];        /* a sentence: what is wrong; what to do */
};

/* Notes an error; gives false, so that a check can end with `return m5_text_fail(...)`. */
bool m5_text_fail(struct m5_text_error *error, uint32_t line, uint32_t column, const char *format,
                  ...) __attribute__((format(printf, 4, 5)));

/* Writes "FILE:LINE:COLUMN: text" as far as @p size goes. */
void m5_text_error_format(const struct m5_text_error *error, const char *file, char *out,
                          size_t size);

/* A text taken line by line. Zero-initialise all but `rest`. */
struct m5_text_lines {
    struct mqtt5_bytes rest;
    struct mqtt5_bytes line; /* the current one, without its end (LF or CR LF) */
    uint32_t number;         /* of the current one, from 1 */
};

/* Takes the next line; false at the end. An empty piece behind the last line feed is no line. */
bool m5_text_next_line(struct m5_text_lines *lines);

/* True when nothing but blanks stands there, or the first thing is '#'. */
bool m5_text_is_comment(struct mqtt5_bytes line);

/* True for a line that can be read at all: not too long, UTF-8, no control characters. */
bool m5_text_check_line(const struct m5_text_lines *lines, struct m5_text_error *error);

struct m5_text_word {
    struct mqtt5_bytes text;
    uint32_t column;
};

/* Splits @p line at blanks into at most @p words_max words; returns how many there are in all. */
size_t m5_text_split(struct mqtt5_bytes line, struct m5_text_word *words, size_t words_max);

bool m5_text_equals(struct mqtt5_bytes text, const char *word);

/* Reads a number of 1 to 10 digits without sign or blanks. False when it is no such, or above
 * @p max. */
bool m5_text_number(struct mqtt5_bytes text, uint32_t max, uint32_t *out);

/* A file's content; free with m5_text_free(). */
struct m5_text {
    uint8_t *data;
    size_t size, capacity;
};

/* Reads @p path whole. False with a sentence in @p error (line 0) when it cannot be read, is no
 * regular file or is larger than M5_TEXT_FILE_MAX. */
bool m5_text_read(const char *path, struct m5_text *out, struct m5_text_error *error);

/* Wipes and frees. Accepts a zeroed text. */
void m5_text_free(struct m5_text *text);

/* Fills memory with zeros in a way that no compiler leaves out. */
void m5_wipe(void *memory, size_t size);

#endif
