/* JSON to print: strings, and other people's values without their blanks.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_JSON_H
#define M5_CLI_JSON_H

#include <mqtt5/bytes.h>

#include <stdbool.h>
#include <stdio.h>

/* Prints @p text in quotes. What is not UTF-8 becomes U+FFFD, a byte each. */
void cli_json_string(FILE *out, struct mqtt5_bytes text);

/* Tells whether @p text is one JSON value (RFC 8259), nested CLI_JSON_DEPTH_MAX deep at most. */
#define CLI_JSON_DEPTH_MAX 1024u
bool cli_json_check(struct mqtt5_bytes text);

/* Prints @p text, which cli_json_check() has accepted, without the blanks between its tokens. */
void cli_json_compact(FILE *out, struct mqtt5_bytes text);

void cli_base64(FILE *out, struct mqtt5_bytes bytes);
void cli_hex(FILE *out, struct mqtt5_bytes bytes);

#endif
