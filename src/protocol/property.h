/* Property lists inside packets: decode, size, encode.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_PROTOCOL_PROPERTY_H
#define M5_PROTOCOL_PROPERTY_H

#include "protocol/reader.h"
#include "protocol/sizes.h"

#include <mqtt5/packet.h>

static inline void m5_properties_clear(struct mqtt5_properties *properties)
{
    properties->present = 0;
    properties->raw = (struct mqtt5_bytes){0};
}

/* Reads a Property Length and what it counts; @p packet is one bit of MQTT5_IN_... */
void m5_properties_read_list(struct m5_reader *reader, uint32_t packet,
                             const struct mqtt5_decode_limits *limits,
                             struct mqtt5_properties *out);

/* The same, with the usual case inlined: no properties [MQTT-2.2.2-1]. */
static inline void m5_properties_read(struct m5_reader *reader, uint32_t packet,
                                      const struct mqtt5_decode_limits *limits,
                                      struct mqtt5_properties *out)
{
    m5_properties_clear(out);
    if (reader->at != reader->end && *reader->at == 0)
        reader->at++;
    else
        m5_properties_read_list(reader, packet, limits, out);
}

static inline bool m5_properties_empty(const struct mqtt5_properties *properties)
{
    return properties->present == 0 && properties->raw.len == 0;
}

/* Bytes of the list with its Property Length, or M5_UNENCODABLE: a property that @p packet cannot
 * have, a number or a text that its type cannot hold, a list that is too long. */
size_t m5_properties_size(const struct mqtt5_properties *properties, uint32_t packet);

/* Writes the list with its Property Length; one past the last byte. */
uint8_t *m5_properties_write(const struct mqtt5_properties *properties, uint8_t *out);

#endif
