/* The output of `sub --format`: the language of mosquitto_sub -F.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_FORMAT_H
#define M5_CLI_FORMAT_H

#include <mqtt5/packet.h>

#include <stdio.h>
#include <time.h>

/* One piece of a format. */
struct cli_format_piece {
    char sign;   /* '%' a parameter, '@' for strftime(3), 0 plain text */
    char letter; /* behind the sign */
    bool zero, left;
    uint32_t width, precision; /* 0: none, UINT32_MAX: none */
    struct mqtt5_bytes text;
};

/* A format, read once. */
struct cli_format {
    struct cli_format_piece *pieces;
    size_t count;
    char *text; /* what the plain pieces view */
};

/* Reads @p text. False after an error, with a sentence in @p error; cli_format_free() either way.
 */
bool cli_format_read(const char *text, struct cli_format *out, char *error, size_t error_size);
void cli_format_free(struct cli_format *format);

/* Prints @p message, which came at @p at. False when it has %J and the payload is no JSON: then the
 * rest is printed all the same. */
bool cli_format_print(FILE *out, const struct cli_format *format,
                      const struct mqtt5_publish *message, struct timespec at);

#endif
