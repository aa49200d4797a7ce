/* Messages as text: payloads, topics, properties, JSON.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_PRINT_H
#define M5_CLI_PRINT_H

#include "cli/format.h"

enum cli_print_form {
    CLI_PRINT_RAW,     /* the payload and a line feed */
    CLI_PRINT_VERBOSE, /* "topic: payload" */
    CLI_PRINT_JSON,    /* one object a line */
    CLI_PRINT_FORMAT   /* as `format` says */
};

enum cli_payload_form { CLI_PAYLOAD_RAW, CLI_PAYLOAD_HEX, CLI_PAYLOAD_BASE64 };

struct cli_print_style {
    enum cli_print_form form;
    enum cli_payload_form payload; /* raw and verbose */
    bool properties;               /* "  Name: value" lines below (in JSON they always are there) */
    bool no_line_end;
    const struct cli_format *format;
};

/* Prints @p message, which came at @p at. Topics and names cannot break the lines of "raw" and
 * "verbose": control characters of theirs are escaped. False when the format has %J and the payload
 * is no JSON. */
bool cli_print_message(FILE *out, const struct mqtt5_publish *message,
                       const struct cli_print_style *style, struct timespec at);

/* Hands what was printed to whoever reads @p out. False when nobody does any more. */
bool cli_print_flush(FILE *out);

#endif
