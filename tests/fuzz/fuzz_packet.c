/* Every packet of every version: decoded, walked, encoded, decoded.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "support/wire_check.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Tight limits may refuse what wide ones accept, never the other way round. */
static void check_limits(const struct mqtt5_frame *frame, uint8_t version, enum mqtt5_error wide)
{
    const struct mqtt5_decode_limits limits = {.user_properties_max = 1, .topic_levels_max = 2};
    struct mqtt5_packet packet;
    const enum mqtt5_error error = mqtt5_packet_decode(frame, version, &limits, &packet);
    const bool of_limits = error == MQTT5_ERR_PROPERTY_COUNT || error == MQTT5_ERR_TOPIC_LEVELS;
    M5_ASSERT(error == wide || of_limits);
}

/* The first byte chooses the version; packets follow each other as in a connection. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const uint8_t version = (uint8_t)(MQTT5_VERSION_3_1 + data[0] % 3);
    struct mqtt5_bytes rest = m5_bytes(data + 1, size - 1);
    struct mqtt5_frame frame;
    while (mqtt5_frame_read(rest, UINT32_MAX, &frame) == MQTT5_OK) {
        /* A block of exactly the packet's size, so that a sanitizer sees a read past its end. */
        uint8_t *packet = malloc(frame.size);
        M5_ASSERT(packet != NULL);
        m5_copy(packet, m5_bytes(rest.data, frame.size));
        const enum mqtt5_error error = wire_check(m5_bytes(packet, frame.size), version);
        M5_ASSERT(error != MQTT5_NEED_MORE);
        check_limits(&frame, version, error);
        free(packet);
        rest = m5_bytes(rest.data + frame.size, rest.len - frame.size);
    }
    return 0;
}
