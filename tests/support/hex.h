/* Packets as tests write them: hex digits, 'text', and [bytes behind their length as a variable
 * byte integer], with blanks wherever they help.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_HEX_H
#define TEST_HEX_H

#include <mqtt5/bytes.h>

/* Reads "10 [0004'MQTT' 04 02 003c 0000]" into @p out; ends the program when @p text is wrong or
 * too long. */
struct mqtt5_bytes hex_read(const char *text, uint8_t *out, size_t size_max);

/* Prints @p bytes as hex after @p title, at most 256 of them, to standard error. */
void hex_print(const char *title, struct mqtt5_bytes bytes);

#endif
