/* Records of the store as lines for people, or as JSON.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_RECORD_H
#define M5_CLI_RECORD_H

#include <mqtt5/bytes.h>

#include <stdbool.h>
#include <stdio.h>

/* Prints a record as one line: its kind, the numbers in its key, and its fields; payloads by their
 * size only. @p out NULL: prints nothing. False: the value makes no sense (then the line says so);
 * value.data NULL: its checksum is wrong. */
bool cli_record_print(FILE *out, struct mqtt5_bytes key, struct mqtt5_bytes value, bool json);

#endif
