/* Reading what to publish: files, standard input, hexadecimal text.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_INPUT_H
#define M5_CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Bytes that were read; free(data). */
struct cli_content {
    uint8_t *data;
    size_t size, capacity;
};

/* Appends all that @p file still has. False, with errno, when reading fails or it has more than
 * @p size_max bytes (EFBIG). */
bool cli_read_all(FILE *file, size_t size_max, struct cli_content *content);

/* Appends what one read(2) of @p fd gives; *at_end tells of the end. False, with errno, when it
 * fails or there are more than @p size_max bytes (EFBIG). */
bool cli_read_some(int fd, size_t size_max, struct cli_content *content, bool *at_end);

/* Reads "01ab..." into @p out, which has room for half of its length. False when it is no such
 * text. */
bool cli_read_hex(const char *text, uint8_t *out, size_t *size);

#endif
