/* Reason codes: names, the packets they belong to, and what 3.1.1 has for them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/reason_code.h>

/* A bit per packet type; 0 for numbers that are not reason codes. */
static const uint32_t packets_of[256] = {
#define X(name, value, packets, text) [value] = packets,
    MQTT5_REASON_CODE_TABLE(X)
#undef X
};

const char *mqtt5_reason_text(uint8_t reason)
{
    switch (reason) {
#define X(name, value, packets, text) \
    case value: return text;
        MQTT5_REASON_CODE_TABLE(X)
#undef X
    default: return "Unknown reason code";
    }
}

bool mqtt5_reason_allowed(uint8_t reason, uint8_t packet_type)
{
    return packet_type < 16 && (packets_of[reason] >> packet_type & 1) != 0;
}

enum mqtt5_v3_return_code mqtt5_reason_to_v3(uint8_t reason)
{
    switch (reason) {
    case MQTT5_REASON_SUCCESS: return MQTT5_V3_ACCEPTED;
    case MQTT5_REASON_UNSUPPORTED_PROTOCOL_VERSION: return MQTT5_V3_UNACCEPTABLE_PROTOCOL_VERSION;
    case MQTT5_REASON_CLIENT_IDENTIFIER_NOT_VALID: return MQTT5_V3_IDENTIFIER_REJECTED;
    case MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD: return MQTT5_V3_BAD_USER_NAME_OR_PASSWORD;
    case MQTT5_REASON_NOT_AUTHORIZED:
    case MQTT5_REASON_BANNED:
    case MQTT5_REASON_BAD_AUTHENTICATION_METHOD:
    case MQTT5_REASON_TOPIC_NAME_INVALID:
    case MQTT5_REASON_RETAIN_NOT_SUPPORTED:
    case MQTT5_REASON_QOS_NOT_SUPPORTED: return MQTT5_V3_NOT_AUTHORIZED;
    default: return MQTT5_V3_SERVER_UNAVAILABLE;
    }
}
