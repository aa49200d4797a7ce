/* Messages as text: payloads, topics, properties, JSON.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_PRINT_H
#define M5_CLI_PRINT_H

#include <mqtt5/packet.h>

#include <stdio.h>

enum cli_print_form {
    CLI_PRINT_RAW,     /* the payload and a line feed */
    CLI_PRINT_VERBOSE, /* "topic: payload" */
    CLI_PRINT_JSON     /* one object a line */
};

/* Prints @p message; with @p properties, raw and verbose are followed by "  Name: value" lines (in
 * JSON they are always there). Topics and names cannot break the format: control characters of
 * theirs are escaped. */
void cli_print_message(FILE *out, const struct mqtt5_publish *message, enum cli_print_form form,
                       bool properties);

/* Hands what was printed to whoever reads @p out, unless it is a file. False when nobody does any
 * more. */
bool cli_print_flush(FILE *out);

#endif
