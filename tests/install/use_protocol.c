/* A user of the codec alone: writes a PINGREQ and reads it back.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/packet.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    struct mqtt5_packet packet;
    struct mqtt5_frame frame;
    uint8_t wire[16];

    memset(&packet, 0, sizeof packet);
    packet.type = MQTT5_PINGREQ;
    size_t size = mqtt5_packet_size(&packet, 5);
    if (size == 0 || size > sizeof wire || mqtt5_packet_write(&packet, 5, wire, size) == NULL) {
        return 1;
    }
    struct mqtt5_bytes stream = {wire, size};
    if (mqtt5_frame_read(stream, 1024, &frame) != MQTT5_OK || frame.type != MQTT5_PINGREQ) {
        return 1;
    }
    puts(mqtt5_packet_type_text(frame.type));
    return 0;
}
