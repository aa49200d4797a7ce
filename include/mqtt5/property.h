/* Properties of MQTT 5.0 (section 2.2.2): one table, and everything generated from it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_PROPERTY_H
#define MQTT5_PROPERTY_H

#include <mqtt5/bytes.h>
#include <mqtt5/error.h>
#include <mqtt5/reason_code.h>
#include <stdbool.h>

#define MQTT5_IN_REASONED                                                                        \
    (MQTT5_IN_CONNACK | MQTT5_IN_PUBACK | MQTT5_IN_PUBREC | MQTT5_IN_PUBREL | MQTT5_IN_PUBCOMP | \
     MQTT5_IN_SUBACK | MQTT5_IN_UNSUBACK | MQTT5_IN_DISCONNECT | MQTT5_IN_AUTH)
#define MQTT5_IN_MESSAGE (MQTT5_IN_PUBLISH | MQTT5_IN_WILL)

/** X(NAME, field, identifier, wire type, packets, ONCE or MANY, text), by identifier. */
#define MQTT5_PROPERTY_TABLE(X)                                                                   \
    X(PAYLOAD_FORMAT_INDICATOR, payload_format_indicator, 0x01, BYTE, MQTT5_IN_MESSAGE, ONCE,     \
      "Payload Format Indicator")                                                                 \
    X(MESSAGE_EXPIRY_INTERVAL, message_expiry_interval_s, 0x02, U32, MQTT5_IN_MESSAGE, ONCE,      \
      "Message Expiry Interval")                                                                  \
    X(CONTENT_TYPE, content_type, 0x03, UTF8, MQTT5_IN_MESSAGE, ONCE, "Content Type")             \
    X(RESPONSE_TOPIC, response_topic, 0x08, UTF8, MQTT5_IN_MESSAGE, ONCE, "Response Topic")       \
    X(CORRELATION_DATA, correlation_data, 0x09, BINARY, MQTT5_IN_MESSAGE, ONCE,                   \
      "Correlation Data")                                                                         \
    X(SUBSCRIPTION_IDENTIFIER, subscription_identifier, 0x0B, VARINT,                             \
      MQTT5_IN_PUBLISH | MQTT5_IN_SUBSCRIBE, MANY, "Subscription Identifier")                     \
    X(SESSION_EXPIRY_INTERVAL, session_expiry_interval_s, 0x11, U32,                              \
      MQTT5_IN_CONNECT | MQTT5_IN_CONNACK | MQTT5_IN_DISCONNECT, ONCE, "Session Expiry Interval") \
    X(ASSIGNED_CLIENT_IDENTIFIER, assigned_client_identifier, 0x12, UTF8, MQTT5_IN_CONNACK, ONCE, \
      "Assigned Client Identifier")                                                               \
    X(SERVER_KEEP_ALIVE, server_keep_alive_s, 0x13, U16, MQTT5_IN_CONNACK, ONCE,                  \
      "Server Keep Alive")                                                                        \
    X(AUTHENTICATION_METHOD, authentication_method, 0x15, UTF8,                                   \
      MQTT5_IN_CONNECT | MQTT5_IN_CONNACK | MQTT5_IN_AUTH, ONCE, "Authentication Method")         \
    X(AUTHENTICATION_DATA, authentication_data, 0x16, BINARY,                                     \
      MQTT5_IN_CONNECT | MQTT5_IN_CONNACK | MQTT5_IN_AUTH, ONCE, "Authentication Data")           \
    X(REQUEST_PROBLEM_INFORMATION, request_problem_information, 0x17, BYTE, MQTT5_IN_CONNECT,     \
      ONCE, "Request Problem Information")                                                        \
    X(WILL_DELAY_INTERVAL, will_delay_interval_s, 0x18, U32, MQTT5_IN_WILL, ONCE,                 \
      "Will Delay Interval")                                                                      \
    X(REQUEST_RESPONSE_INFORMATION, request_response_information, 0x19, BYTE, MQTT5_IN_CONNECT,   \
      ONCE, "Request Response Information")                                                       \
    X(RESPONSE_INFORMATION, response_information, 0x1A, UTF8, MQTT5_IN_CONNACK, ONCE,             \
      "Response Information")                                                                     \
    X(SERVER_REFERENCE, server_reference, 0x1C, UTF8, MQTT5_IN_CONNACK | MQTT5_IN_DISCONNECT,     \
      ONCE, "Server Reference")                                                                   \
    X(REASON_STRING, reason_string, 0x1F, UTF8, MQTT5_IN_REASONED, ONCE, "Reason String")         \
    X(RECEIVE_MAXIMUM, receive_maximum, 0x21, U16, MQTT5_IN_CONNECT | MQTT5_IN_CONNACK, ONCE,     \
      "Receive Maximum")                                                                          \
    X(TOPIC_ALIAS_MAXIMUM, topic_alias_maximum, 0x22, U16, MQTT5_IN_CONNECT | MQTT5_IN_CONNACK,   \
      ONCE, "Topic Alias Maximum")                                                                \
    X(TOPIC_ALIAS, topic_alias, 0x23, U16, MQTT5_IN_PUBLISH, ONCE, "Topic Alias")                 \
    X(MAXIMUM_QOS, maximum_qos, 0x24, BYTE, MQTT5_IN_CONNACK, ONCE, "Maximum QoS")                \
    X(RETAIN_AVAILABLE, retain_available, 0x25, BYTE, MQTT5_IN_CONNACK, ONCE, "Retain Available") \
    X(USER_PROPERTY, user_property, 0x26, PAIR,                                                   \
      MQTT5_IN_CONNECT | MQTT5_IN_MESSAGE | MQTT5_IN_SUBSCRIBE | MQTT5_IN_UNSUBSCRIBE |           \
          MQTT5_IN_REASONED,                                                                      \
      MANY, "User Property")                                                                      \
    X(MAXIMUM_PACKET_SIZE, maximum_packet_size, 0x27, U32, MQTT5_IN_CONNECT | MQTT5_IN_CONNACK,   \
      ONCE, "Maximum Packet Size")                                                                \
    X(WILDCARD_SUBSCRIPTION_AVAILABLE, wildcard_subscription_available, 0x28, BYTE,               \
      MQTT5_IN_CONNACK, ONCE, "Wildcard Subscription Available")                                  \
    X(SUBSCRIPTION_IDENTIFIERS_AVAILABLE, subscription_identifiers_available, 0x29, BYTE,         \
      MQTT5_IN_CONNACK, ONCE, "Subscription Identifiers Available")                               \
    X(SHARED_SUBSCRIPTION_AVAILABLE, shared_subscription_available, 0x2A, BYTE, MQTT5_IN_CONNACK, \
      ONCE, "Shared Subscription Available")

enum mqtt5_property_id {
#define X(name, field, id, type, packets, many, text) MQTT5_PROPERTY_##name = id,
    MQTT5_PROPERTY_TABLE(X)
#undef X
};

/** How a property's value looks on the wire. */
enum mqtt5_property_type {
    MQTT5_PROPERTY_TYPE_BYTE,
    MQTT5_PROPERTY_TYPE_U16,
    MQTT5_PROPERTY_TYPE_U32,
    MQTT5_PROPERTY_TYPE_VARINT,
    MQTT5_PROPERTY_TYPE_UTF8,
    MQTT5_PROPERTY_TYPE_BINARY,
    MQTT5_PROPERTY_TYPE_PAIR
};

/** A user property; equal names may repeat and their order counts [MQTT-3.1.3-10]. */
struct mqtt5_user_property {
    struct mqtt5_bytes name;
    struct mqtt5_bytes value;
};

/** The field types that the table's wire types have in struct mqtt5_properties. */
typedef uint32_t mqtt5_field_BYTE, mqtt5_field_U16, mqtt5_field_U32, mqtt5_field_VARINT;
typedef struct mqtt5_bytes mqtt5_field_UTF8, mqtt5_field_BINARY;
struct mqtt5_user_properties {
    const struct mqtt5_user_property *items; /**< encoding only; NULL after decoding */
    uint32_t count;                          /**< both ways */
};
typedef struct mqtt5_user_properties mqtt5_field_PAIR;

/** All properties that a packet can have. A field counts only when its bit is in `present`
 *  (1 << identifier), so a struct with `present` = 0 is empty and the rest need not be set.
 *
 *  After decoding: views into the packet; a repeatable property's field holds its first value
 *  (subscription_identifier) or its count (user_property.count); walk `raw` with
 *  mqtt5_property_next() for all of them, in order.
 *  For encoding: the present fields are written by identifier, then `user_property.items`, then
 *  `raw` as it is (already encoded properties, e.g. those of a message that is passed on). */
struct mqtt5_properties {
    uint64_t present;
    struct mqtt5_bytes raw;
#define X(name, field, id, type, packets, many, text) mqtt5_field_##type field;
    MQTT5_PROPERTY_TABLE(X)
#undef X
};

#define MQTT5_HAS(properties, NAME) \
    ((((properties)->present) >> (unsigned)MQTT5_PROPERTY_##NAME & 1u) != 0)
#define MQTT5_SET(properties, NAME) \
    ((properties)->present |= (uint64_t)1 << (unsigned)MQTT5_PROPERTY_##NAME)

/** One property as it stands in a packet. */
struct mqtt5_property {
    enum mqtt5_property_id id;
    enum mqtt5_property_type type;
    uint32_t number;          /**< BYTE, U16, U32, VARINT */
    struct mqtt5_bytes bytes; /**< UTF8, BINARY, and the name of a PAIR */
    struct mqtt5_bytes value; /**< the value of a PAIR */
    struct mqtt5_bytes whole; /**< identifier and value, as encoded */
};

#ifdef __cplusplus
extern "C" {
#endif

/** Takes the first property off @p rest (encoded properties that a decode function has accepted).
 *  @return false at the end, or when what is left is not a property. Views into @p rest. */
MQTT5_API bool mqtt5_property_next(struct mqtt5_bytes *rest, struct mqtt5_property *out);

/** Names the property @p id ("Topic Alias"), or NULL when there is none. Static storage. */
MQTT5_API const char *mqtt5_property_text(uint32_t id);

/** Tells in which packets @p id may stand, as a mask of MQTT5_IN_..., 0 when there is none. */
MQTT5_API uint32_t mqtt5_property_packets(uint32_t id);

#ifdef __cplusplus
}
#endif
#endif
