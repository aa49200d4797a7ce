/* Packets in hex and in words, for people.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef GOLDEN_WORDS_H
#define GOLDEN_WORDS_H

#include <mqtt5/bytes.h>

/* Prints "  <label> 30 05 ...", and the packet in words on the next line. */
void golden_print_packet(const char *label, struct mqtt5_bytes packet);

#endif
