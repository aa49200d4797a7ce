/* Rules for topic names and filters beyond the protocol's own: what a cloud service, or a house
 * rule, takes. A client that has them refuses a publish or a subscription before it is sent.
 *
 * Every rule holds for names (publish, will) and filters (subscribe, unsubscribe) unless it says
 * otherwise. A filter is looked at without "$share/name/". Nothing here keeps state: all functions
 * may be called from any thread.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_NAMESPACE_H
#define MQTT5_NAMESPACE_H

#include <mqtt5/bytes.h>
#include <mqtt5/error.h>
#include <stdbool.h>

enum mqtt5_namespace {
    /** The protocol's rules only [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2]. */
    MQTT5_NAMESPACE_STANDARD,

    /** ASCII letters, digits and `-` `_` `.` `:` `@` `=` `,`; at most 256 bytes and 16 levels, each
     *  of 1 to 64 bytes, so none is empty. */
    MQTT5_NAMESPACE_RESTRICTIVE,

    /** AWS IoT Core. At most 256 bytes and 8 levels, not counting "$aws/rules/<rule>/" in front of
     *  a name. Of what begins with '$' there is, and nothing else:
     *  - names: "$aws/rules/<rule>/..." and, below the own "$aws/things/<id>/": "get", "update" and
     *    "delete" of "shadow/" and of "shadow/name/<shadow>/", "jobs/get", "jobs/start-next",
     *    "jobs/<job>/get", "jobs/<job>/update", "streams/<stream>/get/<format>" and
     *    "/describe/<format>", "defender/metrics/<format>"; so never an answer of the service
     *    (".../accepted"), "$aws/certificates/" or "$aws/provisioning-templates/";
     *  - filters: "$aws/things/<id>/..." of the own thing and "$aws/events/...".
     *  Without a device id there is no own thing. */
    MQTT5_NAMESPACE_AWS_IOT,

    /** Azure IoT Hub, which knows no topics of one's own:
     *  - names: "devices/<id>/messages/events/" with a property bag behind, and the same of a
     *    module ("devices/<id>/modules/<module>/messages/events/"), "$iothub/twin/GET/?$rid=...",
     *    "$iothub/twin/PATCH/properties/reported/?$rid=...",
     *    "$iothub/methods/res/<status>/?$rid=...";
     *  - filters: "devices/<id>/messages/devicebound/#", "devices/<id>/modules/<module>/#",
     *    "$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#",
     *    "$iothub/methods/POST/#", and what is under them; no shared subscription.
     *  Without a device id, none of those with "devices/". */
    MQTT5_NAMESPACE_AZURE_IOT,

    /** Google Cloud IoT Core, and what took its place:
     *  - names: "/devices/<id>/events", "/devices/<id>/events/..." and "/devices/<id>/state";
     *  - filters: "/devices/<id>/config", "/devices/<id>/errors", "/devices/<id>/commands/#" and
     *    what is under it; no shared subscription.
     *  Without a device id, none. */
    MQTT5_NAMESPACE_GOOGLE_IOT
};

/** A namespace and what is changed in it. Call mqtt5_namespace_rules_init() first. All pointers are
 *  borrowed for as long as the rules are used. */
struct mqtt5_namespace_rules {
    size_t struct_size; /**< set by init; lets the struct grow */
    enum mqtt5_namespace kind;
    const char *device_id; /**< what <id> stands for above; NULL: none */

    /** "$SYS", and what begins with "$SYS/", may be used, whatever else the namespace says. */
    bool system_topics;

    /** Names and filters that begin with one of these ("internal/") are refused; a wildcard that
     *  covers them is not. */
    const char *const *reserved_prefixes;
    size_t reserved_prefix_count;

    uint32_t size_max;   /**< bytes of a name or filter; 0: the namespace's limit */
    uint32_t levels_max; /**< 0: the namespace's limit */
};

/** What was refused, and where. */
struct mqtt5_namespace_fault {
    enum mqtt5_error error; /**< as returned */
    const char *rule;       /**< in words, as part of a sentence; static */
    size_t offset;          /**< the byte at which the rule is broken; the length: at its end */
    uint32_t character;     /**< the code point there; 0 at the end, or where none can be read */
};

/** Bytes that mqtt5_namespace_explain() needs at most. */
#define MQTT5_NAMESPACE_EXPLAIN_MAX 256

#ifdef __cplusplus
extern "C" {
#endif

/** Sets rules for @p kind with no device id, `system_topics` true for MQTT5_NAMESPACE_STANDARD and
 *  false for all others, and nothing reserved. */
MQTT5_API void mqtt5_namespace_rules_init(struct mqtt5_namespace_rules *rules,
                                          enum mqtt5_namespace kind);

/** Tells whether the rules can be used: a known kind, and a device id that is one non-empty level
 *  without wildcards.
 *  @return MQTT5_OK or MQTT5_ERR_CONFIG. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_namespace_rules_check(
    const struct mqtt5_namespace_rules *rules);

/** Checks a topic name to publish to. @p rules as mqtt5_namespace_rules_check() takes them.
 *  @param fault  gets what is wrong; may be NULL, and is not touched when nothing is.
 *  @return MQTT5_OK; what mqtt5_topic_check() has against it; MQTT5_ERR_TOPIC_LEVELS;
 *  MQTT5_ERR_NOT_AUTHORIZED: it is not within the namespace. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_namespace_check_topic(
    const struct mqtt5_namespace_rules *rules, struct mqtt5_bytes topic,
    struct mqtt5_namespace_fault *fault);

/** Checks a topic filter to subscribe to, as mqtt5_namespace_check_topic(); offsets count from the
 *  beginning of @p filter, "$share/" included.
 *  @return MQTT5_OK; what mqtt5_filter_parse() has against it; MQTT5_ERR_FILTER_LEVELS;
 *  MQTT5_ERR_NOT_AUTHORIZED. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_namespace_check_filter(
    const struct mqtt5_namespace_rules *rules, struct mqtt5_bytes filter,
    struct mqtt5_namespace_fault *fault);

/** Writes @p fault as a sentence part, zero-terminated and cut to @p size (> 0) bytes: "a wildcard
 *  is not where it may be: U+0023 '#' at byte 4".
 *  @return the length of the whole text in bytes, without the zero. */
MQTT5_API size_t mqtt5_namespace_explain(const struct mqtt5_namespace_fault *fault, char *out,
                                         size_t size);

/** Tells whether @p host (a name, without scheme and port) is a device endpoint of AWS IoT Core, in
 *  any of its partitions: "abc123-ats.iot.eu-west-1.amazonaws.com", "...amazonaws.com.cn". The case
 *  of letters and a dot at the end do not matter. NULL: no. Such a server wants ALPN
 *  "x-amzn-mqtt-ca" on port 443, and takes a client certificate or a custom authoriser. */
MQTT5_API bool mqtt5_host_is_aws_iot(const char *host);

#ifdef __cplusplus
}
#endif
#endif
