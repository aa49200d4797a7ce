/* What must hold for any bytes that are decoded, whoever made them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_WIRE_CHECK_H
#define TEST_WIRE_CHECK_H

#include <mqtt5/packet.h>

/* Decodes the packet in @p bytes and returns the result. What is accepted is walked to its last
 * list entry and property, encoded, decoded and encoded again, which must not change it any more.
 * Ends the program, with the bytes in hex, when something does not hold. */
enum mqtt5_error wire_check(struct mqtt5_bytes bytes, uint8_t version);

/* Makes a decoded packet encodable: its properties stand in `raw` alone. */
void wire_pass_on(struct mqtt5_packet *packet);

/* The properties of @p packet and the mask of where they stand; NULL when its type has none. */
struct mqtt5_properties *wire_properties(struct mqtt5_packet *packet);

#endif
