/* Random packets that may be encoded, with every field and property that they can have.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_WIRE_RANDOM_H
#define TEST_WIRE_RANDOM_H

#include "base/rng.h"

#include <mqtt5/packet.h>

/* Where the texts and lists of one packet live. */
struct wire_room {
    uint8_t bytes[1u << 16];
    size_t used;
    struct mqtt5_user_property user_properties[2][4];
    struct mqtt5_subscription_request requests[4];
    struct mqtt5_bytes filters[4];
};

/* A valid packet of a random type that @p version has; views into @p room. */
void wire_random(struct m5_rng *rng, uint8_t version, struct wire_room *room,
                 struct mqtt5_packet *out);

#endif
