/* Reason codes of MQTT 5.0 (section 2.4) and return codes of MQTT 3.1.1.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_REASON_CODE_H
#define MQTT5_REASON_CODE_H

#include <mqtt5/api.h>
#include <stdbool.h>
#include <stdint.h>

/** Packets by type number, as a mask: which packets may carry a reason code or a property. */
#define MQTT5_IN_CONNECT     (1u << 1)
#define MQTT5_IN_CONNACK     (1u << 2)
#define MQTT5_IN_PUBLISH     (1u << 3)
#define MQTT5_IN_PUBACK      (1u << 4)
#define MQTT5_IN_PUBREC      (1u << 5)
#define MQTT5_IN_PUBREL      (1u << 6)
#define MQTT5_IN_PUBCOMP     (1u << 7)
#define MQTT5_IN_SUBSCRIBE   (1u << 8)
#define MQTT5_IN_SUBACK      (1u << 9)
#define MQTT5_IN_UNSUBSCRIBE (1u << 10)
#define MQTT5_IN_UNSUBACK    (1u << 11)
#define MQTT5_IN_DISCONNECT  (1u << 14)
#define MQTT5_IN_AUTH        (1u << 15)
#define MQTT5_IN_WILL        (1u << 16) /**< the will properties inside CONNECT */

#define MQTT5_IN_ACKS    (MQTT5_IN_PUBACK | MQTT5_IN_PUBREC)
#define MQTT5_IN_SUBACKS (MQTT5_IN_SUBACK | MQTT5_IN_UNSUBACK)
#define MQTT5_IN_CLOSERS (MQTT5_IN_CONNACK | MQTT5_IN_DISCONNECT)

/** X(NAME, value, packets that may carry it, text). Names given twice by the specification for one
 *  value (0x00) stand once here. */
#define MQTT5_REASON_CODE_TABLE(X)                                                                 \
    X(SUCCESS, 0x00,                                                                               \
      MQTT5_IN_CONNACK | MQTT5_IN_ACKS | MQTT5_IN_PUBREL | MQTT5_IN_PUBCOMP | MQTT5_IN_SUBACKS |   \
          MQTT5_IN_DISCONNECT | MQTT5_IN_AUTH,                                                     \
      "Success")                                                                                   \
    X(GRANTED_QOS_1, 0x01, MQTT5_IN_SUBACK, "Granted QoS 1")                                       \
    X(GRANTED_QOS_2, 0x02, MQTT5_IN_SUBACK, "Granted QoS 2")                                       \
    X(DISCONNECT_WITH_WILL, 0x04, MQTT5_IN_DISCONNECT, "Disconnect with Will Message")             \
    X(NO_MATCHING_SUBSCRIBERS, 0x10, MQTT5_IN_ACKS, "No matching subscribers")                     \
    X(NO_SUBSCRIPTION_EXISTED, 0x11, MQTT5_IN_UNSUBACK, "No subscription existed")                 \
    X(CONTINUE_AUTHENTICATION, 0x18, MQTT5_IN_AUTH, "Continue authentication")                     \
    X(RE_AUTHENTICATE, 0x19, MQTT5_IN_AUTH, "Re-authenticate")                                     \
    X(UNSPECIFIED_ERROR, 0x80, MQTT5_IN_CLOSERS | MQTT5_IN_ACKS | MQTT5_IN_SUBACKS,                \
      "Unspecified error")                                                                         \
    X(MALFORMED_PACKET, 0x81, MQTT5_IN_CLOSERS, "Malformed Packet")                                \
    X(PROTOCOL_ERROR, 0x82, MQTT5_IN_CLOSERS, "Protocol Error")                                    \
    X(IMPLEMENTATION_SPECIFIC_ERROR, 0x83, MQTT5_IN_CLOSERS | MQTT5_IN_ACKS | MQTT5_IN_SUBACKS,    \
      "Implementation specific error")                                                             \
    X(UNSUPPORTED_PROTOCOL_VERSION, 0x84, MQTT5_IN_CONNACK, "Unsupported Protocol Version")        \
    X(CLIENT_IDENTIFIER_NOT_VALID, 0x85, MQTT5_IN_CONNACK, "Client Identifier not valid")          \
    X(BAD_USER_NAME_OR_PASSWORD, 0x86, MQTT5_IN_CONNACK, "Bad User Name or Password")              \
    X(NOT_AUTHORIZED, 0x87, MQTT5_IN_CLOSERS | MQTT5_IN_ACKS | MQTT5_IN_SUBACKS, "Not authorized") \
    X(SERVER_UNAVAILABLE, 0x88, MQTT5_IN_CONNACK, "Server unavailable")                            \
    X(SERVER_BUSY, 0x89, MQTT5_IN_CLOSERS, "Server busy")                                          \
    X(BANNED, 0x8A, MQTT5_IN_CONNACK, "Banned")                                                    \
    X(SERVER_SHUTTING_DOWN, 0x8B, MQTT5_IN_DISCONNECT, "Server shutting down")                     \
    X(BAD_AUTHENTICATION_METHOD, 0x8C, MQTT5_IN_CLOSERS, "Bad authentication method")              \
    X(KEEP_ALIVE_TIMEOUT, 0x8D, MQTT5_IN_DISCONNECT, "Keep Alive timeout")                         \
    X(SESSION_TAKEN_OVER, 0x8E, MQTT5_IN_DISCONNECT, "Session taken over")                         \
    X(TOPIC_FILTER_INVALID, 0x8F, MQTT5_IN_SUBACKS | MQTT5_IN_DISCONNECT, "Topic Filter invalid")  \
    X(TOPIC_NAME_INVALID, 0x90, MQTT5_IN_CLOSERS | MQTT5_IN_ACKS, "Topic Name invalid")            \
    X(PACKET_IDENTIFIER_IN_USE, 0x91, MQTT5_IN_ACKS | MQTT5_IN_SUBACKS,                            \
      "Packet Identifier in use")                                                                  \
    X(PACKET_IDENTIFIER_NOT_FOUND, 0x92, MQTT5_IN_PUBREL | MQTT5_IN_PUBCOMP,                       \
      "Packet Identifier not found")                                                               \
    X(RECEIVE_MAXIMUM_EXCEEDED, 0x93, MQTT5_IN_DISCONNECT, "Receive Maximum exceeded")             \
    X(TOPIC_ALIAS_INVALID, 0x94, MQTT5_IN_DISCONNECT, "Topic Alias invalid")                       \
    X(PACKET_TOO_LARGE, 0x95, MQTT5_IN_CLOSERS, "Packet too large")                                \
    X(MESSAGE_RATE_TOO_HIGH, 0x96, MQTT5_IN_DISCONNECT, "Message rate too high")                   \
    X(QUOTA_EXCEEDED, 0x97, MQTT5_IN_CLOSERS | MQTT5_IN_ACKS | MQTT5_IN_SUBACK, "Quota exceeded")  \
    X(ADMINISTRATIVE_ACTION, 0x98, MQTT5_IN_DISCONNECT, "Administrative action")                   \
    X(PAYLOAD_FORMAT_INVALID, 0x99, MQTT5_IN_CLOSERS | MQTT5_IN_ACKS, "Payload format invalid")    \
    X(RETAIN_NOT_SUPPORTED, 0x9A, MQTT5_IN_CLOSERS, "Retain not supported")                        \
    X(QOS_NOT_SUPPORTED, 0x9B, MQTT5_IN_CLOSERS, "QoS not supported")                              \
    X(USE_ANOTHER_SERVER, 0x9C, MQTT5_IN_CLOSERS, "Use another server")                            \
    X(SERVER_MOVED, 0x9D, MQTT5_IN_CLOSERS, "Server moved")                                        \
    X(SHARED_SUBSCRIPTIONS_NOT_SUPPORTED, 0x9E, MQTT5_IN_SUBACK | MQTT5_IN_DISCONNECT,             \
      "Shared Subscriptions not supported")                                                        \
    X(CONNECTION_RATE_EXCEEDED, 0x9F, MQTT5_IN_CLOSERS, "Connection rate exceeded")                \
    X(MAXIMUM_CONNECT_TIME, 0xA0, MQTT5_IN_DISCONNECT, "Maximum connect time")                     \
    X(SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, 0xA1, MQTT5_IN_SUBACK | MQTT5_IN_DISCONNECT,         \
      "Subscription Identifiers not supported")                                                    \
    X(WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED, 0xA2, MQTT5_IN_SUBACK | MQTT5_IN_DISCONNECT,           \
      "Wildcard Subscriptions not supported")

/** A reason code of the wire, 0x80 and above are failures. */
enum mqtt5_reason_code {
#define X(name, value, packets, text) MQTT5_REASON_##name = value,
    MQTT5_REASON_CODE_TABLE(X)
#undef X
};

/** Return codes of a CONNACK of MQTT 3.1 and 3.1.1. */
enum mqtt5_v3_return_code {
    MQTT5_V3_ACCEPTED = 0,
    MQTT5_V3_UNACCEPTABLE_PROTOCOL_VERSION = 1,
    MQTT5_V3_IDENTIFIER_REJECTED = 2,
    MQTT5_V3_SERVER_UNAVAILABLE = 3,
    MQTT5_V3_BAD_USER_NAME_OR_PASSWORD = 4,
    MQTT5_V3_NOT_AUTHORIZED = 5
};

#ifdef __cplusplus
extern "C" {
#endif

/** Names @p reason as the specification does ("Not authorized"), or "Unknown reason code". */
MQTT5_API const char *mqtt5_reason_text(uint8_t reason);

/** Tells whether @p reason may stand in a packet of type @p packet_type (1 to 15). */
MQTT5_API bool mqtt5_reason_allowed(uint8_t reason, uint8_t packet_type);

/** Maps the reason code of a refusing CONNACK to what a 3.1.1 peer understands. */
MQTT5_API enum mqtt5_v3_return_code mqtt5_reason_to_v3(uint8_t reason);

#ifdef __cplusplus
}
#endif
#endif
