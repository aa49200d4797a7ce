/* Packets in hex and in words: enough to see what went wrong, not a decoder.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "golden/golden_words.h"

#include "golden/golden_pattern.h"

#include <stdio.h>

#define HEX_MAX 96

static const char *const names[] = {"type 0",    "CONNECT",  "CONNACK",     "PUBLISH",
                                    "PUBACK",    "PUBREC",   "PUBREL",      "PUBCOMP",
                                    "SUBSCRIBE", "SUBACK",   "UNSUBSCRIBE", "UNSUBACK",
                                    "PINGREQ",   "PINGRESP", "DISCONNECT",  "AUTH"};

static void print_hex(struct mqtt5_bytes bytes)
{
    for (size_t i = 0; i < bytes.len && i < HEX_MAX; i++)
        printf(" %02x", bytes.data[i]);
    if (bytes.len > HEX_MAX)
        printf(" ... (%zu bytes)", bytes.len);
    printf("\n");
}

static size_t u16_at(struct mqtt5_bytes bytes, size_t at)
{
    return at + 2 <= bytes.len ? (size_t)bytes.data[at] << 8 | bytes.data[at + 1] : 0;
}

static void print_publish(uint8_t flags, struct mqtt5_bytes body)
{
    const size_t topic = u16_at(body, 0);
    printf(" qos %d%s%s", flags >> 1 & 3, flags & 8 ? " dup" : "", flags & 1 ? " retain" : "");
    if (topic + 2 > body.len)
        return;
    printf(" topic \"%.*s\"", (int)(topic < 60 ? topic : 60), (const char *)body.data + 2);
    if (flags & 6)
        printf(" id %zu", u16_at(body, topic + 2));
}

static void print_body(uint8_t type, uint8_t flags, struct mqtt5_bytes body)
{
    if (type == 3)
        print_publish(flags, body);
    else if (type == 2 && body.len >= 2)
        printf(" session present %d, reason 0x%02x", body.data[0], body.data[1]);
    else if (type >= 4 && type <= 11 && body.len >= 2)
        printf(" id %zu", u16_at(body, 0));
    if (type >= 4 && type <= 7 && body.len >= 3)
        printf(" reason 0x%02x", body.data[2]);
    if (type == 14 && body.len >= 1)
        printf(" reason 0x%02x", body.data[0]);
}

void golden_print_packet(const char *label, struct mqtt5_bytes packet)
{
    uint32_t length;
    printf("  %-9s", label);
    print_hex(packet);
    if (packet.len < 2)
        return;
    const struct mqtt5_bytes rest = {packet.data + 1, packet.len - 1};
    const size_t head = golden_read_length(rest, &length);
    printf("            %s", names[packet.data[0] >> 4]);
    if (head > 0)
        print_body(packet.data[0] >> 4, packet.data[0] & 15,
                   (struct mqtt5_bytes){rest.data + head, rest.len - head});
    printf("\n");
}
