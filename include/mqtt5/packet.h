/* The control packets of MQTT 5.0, 3.1.1 and (CONNECT) 3.1: decode and encode, without I/O.
 *
 * Decoding is in two steps: mqtt5_frame_read() finds the packet's end, mqtt5_packet_decode() (or
 * one of its per-type sisters) reads the fields. Everything decoded is a view into the caller's
 * bytes. Encoding is also in two steps, so that it never fails half-way: mqtt5_packet_size(), then
 * mqtt5_packet_write(). All functions are pure and may be called from any thread.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_PACKET_H
#define MQTT5_PACKET_H

#include <mqtt5/property.h>

enum mqtt5_packet_type {
    MQTT5_CONNECT = 1,
    MQTT5_CONNACK = 2,
    MQTT5_PUBLISH = 3,
    MQTT5_PUBACK = 4,
    MQTT5_PUBREC = 5,
    MQTT5_PUBREL = 6,
    MQTT5_PUBCOMP = 7,
    MQTT5_SUBSCRIBE = 8,
    MQTT5_SUBACK = 9,
    MQTT5_UNSUBSCRIBE = 10,
    MQTT5_UNSUBACK = 11,
    MQTT5_PINGREQ = 12,
    MQTT5_PINGRESP = 13,
    MQTT5_DISCONNECT = 14,
    MQTT5_AUTH = 15
};

/** Protocol version, as the level byte of CONNECT has it. */
enum mqtt5_version {
    MQTT5_VERSION_3_1 = 3,   /**< "MQIsdp" */
    MQTT5_VERSION_3_1_1 = 4, /**< "MQTT" */
    MQTT5_VERSION_5 = 5
};

enum mqtt5_retain_handling {
    MQTT5_RETAIN_SEND = 0,
    MQTT5_RETAIN_SEND_IF_NEW = 1,
    MQTT5_RETAIN_DO_NOT_SEND = 2
};

#define MQTT5_REMAINING_LENGTH_MAX 268435455u /**< bytes */
#define MQTT5_VARINT_MAX           268435455u
#define MQTT5_STRING_MAX           65535u /**< bytes */

/** What decoding may accept; mqtt5_decode_limits_init() gives the protocol's own limits. */
struct mqtt5_decode_limits {
    uint32_t user_properties_max; /**< in one packet */
    uint32_t topic_levels_max;    /**< levels of a topic name or filter */
};

/** A packet's place in a byte stream. */
struct mqtt5_frame {
    uint8_t type;            /**< enum mqtt5_packet_type, or 0 */
    uint8_t flags;           /**< low four bits of the first byte */
    uint8_t header_size;     /**< bytes before the body: 2 to 5 */
    uint32_t size;           /**< whole packet in bytes; 0 while its length is not known */
    struct mqtt5_bytes body; /**< what Remaining Length counts; set only on MQTT5_OK */
};

struct mqtt5_will {
    uint8_t qos;
    bool retain;
    struct mqtt5_bytes topic;
    struct mqtt5_bytes payload;
    struct mqtt5_properties properties;
};

struct mqtt5_connect {
    uint8_t version; /**< enum mqtt5_version */
    bool clean_start;
    bool bridge; /**< bit 7 of the version byte, as bridges of Mosquitto set it */
    bool has_will, has_username, has_password;
    uint16_t keep_alive_s;
    struct mqtt5_bytes client_id;
    struct mqtt5_bytes username;
    struct mqtt5_bytes password;
    struct mqtt5_will will;
    struct mqtt5_properties properties;
};

struct mqtt5_connack {
    bool session_present;
    uint8_t reason_code; /**< v5 reason code; v3: enum mqtt5_v3_return_code */
    struct mqtt5_properties properties;
};

struct mqtt5_publish {
    bool dup, retain;
    uint8_t qos;
    uint16_t packet_id; /**< 0 at QoS 0 */
    struct mqtt5_bytes topic;
    struct mqtt5_bytes payload;
    struct mqtt5_properties properties;
};

/** PUBACK, PUBREC, PUBREL, PUBCOMP. */
struct mqtt5_ack {
    uint16_t packet_id;
    uint8_t reason_code;
    struct mqtt5_properties properties;
};

struct mqtt5_subscription_request {
    struct mqtt5_bytes filter;
    uint8_t qos;
    bool no_local, retain_as_published;
    uint8_t retain_handling; /**< enum mqtt5_retain_handling */
};

/** SUBSCRIBE; decoded: walk `raw` with mqtt5_subscribe_next(); to encode: `items`. */
struct mqtt5_subscribe {
    uint16_t packet_id;
    uint32_t count;
    const struct mqtt5_subscription_request *items; /**< NULL after decoding */
    struct mqtt5_bytes raw;
    struct mqtt5_properties properties;
};

/** UNSUBSCRIBE; decoded: walk `raw` with mqtt5_unsubscribe_next(); to encode: `items`. */
struct mqtt5_unsubscribe {
    uint16_t packet_id;
    uint32_t count;
    const struct mqtt5_bytes *items; /**< NULL after decoding */
    struct mqtt5_bytes raw;
    struct mqtt5_properties properties;
};

/** SUBACK, UNSUBACK: one reason code for each filter, in their order. */
struct mqtt5_suback {
    uint16_t packet_id;
    struct mqtt5_bytes reason_codes; /**< empty for an UNSUBACK of 3.1.1 */
    struct mqtt5_properties properties;
};

/** DISCONNECT, AUTH. */
struct mqtt5_reasoned {
    uint8_t reason_code;
    struct mqtt5_properties properties;
};

struct mqtt5_packet {
    uint8_t type; /**< enum mqtt5_packet_type: says which member counts */
    union {
        struct mqtt5_connect connect;
        struct mqtt5_connack connack;
        struct mqtt5_publish publish;
        struct mqtt5_ack ack;
        struct mqtt5_subscribe subscribe;
        struct mqtt5_suback suback;
        struct mqtt5_unsubscribe unsubscribe;
        struct mqtt5_reasoned disconnect;
        struct mqtt5_reasoned auth;
    } as;
};

#ifdef __cplusplus
extern "C" {
#endif

/** Sets the protocol's own limits: no bound on user properties, no bound on levels. */
MQTT5_API void mqtt5_decode_limits_init(struct mqtt5_decode_limits *limits);

/** Finds the first packet in @p stream. @p size_max bounds the whole packet in bytes.
 *  @return MQTT5_OK; MQTT5_NEED_MORE (then out->size is the packet's size as soon as it is known);
 *  MQTT5_ERR_VARINT_TOO_LONG, MQTT5_ERR_VARINT_NOT_MINIMAL [MQTT-1.5.5-1];
 *  MQTT5_ERR_PACKET_TOO_LARGE. A five-byte length fails at its fourth byte. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_frame_read(struct mqtt5_bytes stream,
                                                            uint32_t size_max,
                                                            struct mqtt5_frame *out);

/** Reads the fields of a whole packet. @p version is ignored for CONNECT, which names its own.
 *  Everything that does not depend on connection state is checked: reserved bits, lengths, UTF-8,
 *  properties, reason codes, topic names and filters, lists, packet identifiers.
 *  @return MQTT5_OK or the MQTT5_ERR_ that says what is wrong; views into the frame's bytes. After
 *  an error in CONNECT, out->as.connect.version is set as far as it was read (else 0), so that the
 *  refusal can be in the peer's dialect: after MQTT5_ERR_PROTOCOL_VERSION it is the number that was
 *  asked for, after MQTT5_ERR_PROTOCOL_NAME it is 0.
 *
 *  Left to the caller, who knows its role and the connection's state: who may send a packet or a
 *  property (a Subscription Identifier from a client, a Server Reference from one), maxima and
 *  aliases, wildcard placement, $share and levels of the filters in SUBSCRIBE and UNSUBSCRIBE
 *  (mqtt5_filter_parse(): the answer to those is a reason code of one filter), payload formats. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_packet_decode(
    const struct mqtt5_frame *frame, uint8_t version, const struct mqtt5_decode_limits *limits,
    struct mqtt5_packet *out);

/** As mqtt5_packet_decode() for a PUBLISH, the packet that there are most of. The topic is empty
 *  only beside a Topic Alias (else MQTT5_ERR_PROTOCOL; in 3.1.1 MQTT5_ERR_TOPIC_EMPTY). It is
 *  checked last: after MQTT5_ERR_TOPIC_LEVELS, _TOPIC_WILDCARD and _TOPIC_EMPTY,
 *  every field of @p out is set, so that the caller may acknowledge instead of closing. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_publish_decode(
    const struct mqtt5_frame *frame, uint8_t version, const struct mqtt5_decode_limits *limits,
    struct mqtt5_publish *out);

/** As mqtt5_packet_decode() for PUBACK, PUBREC, PUBREL and PUBCOMP. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_ack_decode(
    const struct mqtt5_frame *frame, uint8_t version, const struct mqtt5_decode_limits *limits,
    struct mqtt5_ack *out);

/** Takes the next filter off a decoded SUBSCRIBE's `raw`; false at the end. */
MQTT5_API bool mqtt5_subscribe_next(struct mqtt5_bytes *rest, uint8_t version,
                                    struct mqtt5_subscription_request *out);

/** Takes the next filter off a decoded UNSUBSCRIBE's `raw`; false at the end. */
MQTT5_API bool mqtt5_unsubscribe_next(struct mqtt5_bytes *rest, struct mqtt5_bytes *out);

/** Computes what mqtt5_packet_write() will write, in bytes. CONNECT is encoded in its own version.
 *  Properties are left out where the version has none; those that a client or server decoded are
 *  passed on by `present` = 0 and `raw` as it was.
 *  @return the size, or 0 when the packet cannot be encoded in @p version at all: a string over
 *  65,535 bytes, a body over 268,435,455, QoS > 2, packet id 0 where one is needed (or another
 *  where there is none), an empty list or filter, no topic and no alias, a property that does not
 *  belong to the packet or whose number is too large for its type. Reason codes, UTF-8 and
 *  wildcards are the caller's to get right. */
MQTT5_API size_t mqtt5_packet_size(const struct mqtt5_packet *packet, uint8_t version);

/** Writes @p packet to @p out, which has room for @p size bytes, the result of
 *  mqtt5_packet_size() for the same packet and version (> 0). Cannot fail.
 *  @return one past the last byte written: out + size. */
MQTT5_API uint8_t *mqtt5_packet_write(const struct mqtt5_packet *packet, uint8_t version,
                                      uint8_t *out, size_t size);

/** Names a packet type ("PUBLISH"); "reserved" for 0. Static storage. */
MQTT5_API const char *mqtt5_packet_type_text(uint8_t type);

#ifdef __cplusplus
}
#endif
#endif
