/* What can go wrong, as numbers and words.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_ERROR_H
#define MQTT5_ERROR_H

#include <mqtt5/api.h>
#include <mqtt5/reason_code.h>

/** X(NAME, reason code a peer is told, text). The codes of the wire decoder name exactly what was
 *  wrong; mqtt5_error_reason() maps them to the reason code of the closing packet. */
#define MQTT5_ERROR_TABLE(X)                                                                       \
    X(OK, SUCCESS, "success")                                                                      \
    X(NEED_MORE, SUCCESS, "the packet is not complete yet")                                        \
    X(ERR_NOMEM, SERVER_BUSY, "out of memory")                                                     \
    X(ERR_INVALID_ARGUMENT, IMPLEMENTATION_SPECIFIC_ERROR, "an argument is not usable")            \
    X(ERR_INVALID_STATE, PROTOCOL_ERROR, "not possible in this state")                             \
    X(ERR_INTERNAL, UNSPECIFIED_ERROR, "an internal rule was broken")                              \
    X(ERR_BUFFER_TOO_SMALL, IMPLEMENTATION_SPECIFIC_ERROR, "the buffer is too small")              \
    X(ERR_PACKET_TOO_LARGE, PACKET_TOO_LARGE, "the packet is larger than allowed")                 \
    X(ERR_VARINT_TOO_LONG, MALFORMED_PACKET, "a variable byte integer has more than 4 bytes")      \
    X(ERR_VARINT_NOT_MINIMAL, MALFORMED_PACKET, "a variable byte integer is not minimal")          \
    X(ERR_TRUNCATED, MALFORMED_PACKET, "a field ends after its packet")                            \
    X(ERR_TRAILING_BYTES, MALFORMED_PACKET, "bytes are left after the last field")                 \
    X(ERR_PACKET_TYPE, MALFORMED_PACKET, "packet type 0 or 15 of 3.1.1 is reserved")               \
    X(ERR_RESERVED_BITS, MALFORMED_PACKET, "a reserved bit has the wrong value")                   \
    X(ERR_UTF8, MALFORMED_PACKET, "a string is not well-formed UTF-8")                             \
    X(ERR_UTF8_NUL, MALFORMED_PACKET, "a string contains U+0000")                                  \
    X(ERR_QOS, MALFORMED_PACKET, "QoS 3 does not exist")                                           \
    X(ERR_DUP_QOS0, MALFORMED_PACKET, "DUP is set at QoS 0")                                       \
    X(ERR_PACKET_ID_ZERO, PROTOCOL_ERROR, "packet identifier 0")                                   \
    X(ERR_REASON_CODE, PROTOCOL_ERROR, "the reason code does not belong to this packet")           \
    X(ERR_EMPTY_LIST, PROTOCOL_ERROR, "a list that needs an entry is empty")                       \
    X(ERR_PROPERTY_UNKNOWN, MALFORMED_PACKET, "an unknown property identifier")                    \
    X(ERR_PROPERTY_NOT_ALLOWED, MALFORMED_PACKET, "a property that this packet cannot have")       \
    X(ERR_PROPERTY_DUPLICATE, PROTOCOL_ERROR, "a property appears twice")                          \
    X(ERR_PROPERTY_VALUE, PROTOCOL_ERROR, "a property has a value that is not allowed")            \
    X(ERR_PROPERTY_COUNT, QUOTA_EXCEEDED, "more user properties than allowed")                     \
    X(ERR_PROTOCOL_NAME, UNSUPPORTED_PROTOCOL_VERSION, "the protocol name is not MQTT")            \
    X(ERR_PROTOCOL_VERSION, UNSUPPORTED_PROTOCOL_VERSION, "the protocol version is not supported") \
    X(ERR_CONNECT_FLAGS, MALFORMED_PACKET, "the connect flags contradict each other")              \
    X(ERR_CLIENT_ID, CLIENT_IDENTIFIER_NOT_VALID, "the client identifier is not acceptable")       \
    X(ERR_TOPIC_EMPTY, TOPIC_NAME_INVALID, "the topic name is empty")                              \
    X(ERR_TOPIC_WILDCARD, TOPIC_NAME_INVALID, "a topic name contains a wildcard")                  \
    X(ERR_TOPIC_LEVELS, TOPIC_NAME_INVALID, "the topic has too many levels")                       \
    X(ERR_FILTER_EMPTY, TOPIC_FILTER_INVALID, "the topic filter is empty")                         \
    X(ERR_FILTER_WILDCARD, TOPIC_FILTER_INVALID, "a wildcard is not where it may be")              \
    X(ERR_FILTER_LEVELS, TOPIC_FILTER_INVALID, "the topic filter has too many levels")             \
    X(ERR_SHARE_NAME, TOPIC_FILTER_INVALID, "the $share name or its filter is not valid")          \
    X(ERR_SUBSCRIPTION_OPTIONS, MALFORMED_PACKET, "subscription options are not valid")            \
    X(ERR_SUBSCRIPTION_QOS, PROTOCOL_ERROR, "a subscription asks for QoS 3")                       \
    X(ERR_RETAIN_HANDLING, PROTOCOL_ERROR, "retain handling 3 does not exist")                     \
    X(ERR_NO_LOCAL_SHARED, PROTOCOL_ERROR, "No Local on a shared subscription")                    \
    X(ERR_TOPIC_ALIAS, TOPIC_ALIAS_INVALID, "a topic alias is 0, too high or not known")           \
    X(ERR_RECEIVE_MAXIMUM, RECEIVE_MAXIMUM_EXCEEDED, "more than Receive Maximum in flight")        \
    X(ERR_PROTOCOL, PROTOCOL_ERROR, "a packet that is not allowed here")                           \
    X(ERR_NOT_AUTHORIZED, NOT_AUTHORIZED, "not authorized")                                        \
    X(ERR_QUOTA, QUOTA_EXCEEDED, "a quota is exceeded")                                            \
    X(ERR_REFUSED, UNSPECIFIED_ERROR, "the peer refused")                                          \
    X(ERR_CLOSED, SUCCESS, "the connection is closed")                                             \
    X(ERR_TIMEOUT, KEEP_ALIVE_TIMEOUT, "no answer in time")                                        \
    X(ERR_IO, UNSPECIFIED_ERROR, "the operating system reported an error")                         \
    X(ERR_CONFIG, IMPLEMENTATION_SPECIFIC_ERROR, "the configuration is not usable")                \
    X(ERR_UNSUPPORTED, IMPLEMENTATION_SPECIFIC_ERROR, "not supported by this build or peer")       \
    X(ERR_QUEUE_FULL, QUOTA_EXCEEDED, "the queue is full")                                         \
    X(ERR_NOT_BUILT, IMPLEMENTATION_SPECIFIC_ERROR, "this build lacks the transport")              \
    X(ERR_DROPPED, QUOTA_EXCEEDED, "dropped to make room in a full queue")                         \
    X(ERR_EXPIRED, UNSPECIFIED_ERROR, "the message expired before it was sent")                    \
    X(ERR_TLS, UNSPECIFIED_ERROR, "TLS was refused, by us or by the peer")                         \
    X(ERR_WEBSOCKET, UNSPECIFIED_ERROR, "the request for WebSocket was refused")

/** Result of almost every function; MQTT5_OK is 0. */
enum mqtt5_error {
#define X(name, reason, text) MQTT5_##name,
    MQTT5_ERROR_TABLE(X)
#undef X
        MQTT5_ERROR_COUNT
};

#ifdef __cplusplus
extern "C" {
#endif

/** Names @p error in lower-case words for people; never NULL. Static storage, any thread. */
MQTT5_API const char *mqtt5_error_text(enum mqtt5_error error);

/** Names @p error as the enumerator is spelled ("MQTT5_ERR_UTF8"); never NULL. Any thread. */
MQTT5_API const char *mqtt5_error_name(enum mqtt5_error error);

/** Maps @p error to the reason code that a DISCONNECT, CONNACK or acknowledgement would carry
 *  [MQTT-4.13.1-1]. Any thread. */
MQTT5_API enum mqtt5_reason_code mqtt5_error_reason(enum mqtt5_error error);

#ifdef __cplusplus
}
#endif
#endif
