/* Topic names, topic filters and shared subscriptions (section 4.7, 4.8).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_TOPIC_H
#define MQTT5_TOPIC_H

#include <mqtt5/bytes.h>
#include <mqtt5/error.h>
#include <stdbool.h>

#define MQTT5_TOPIC_LEVELS_DEFAULT 200u

/** A topic filter, taken apart once. Views into the filter it was parsed from. */
struct mqtt5_filter {
    struct mqtt5_bytes share_name; /**< empty: not a shared subscription */
    struct mqtt5_bytes filter;     /**< without "$share/name/" */
    uint32_t levels;
    bool has_wildcard;
};

#ifdef __cplusplus
extern "C" {
#endif

/** Checks a topic name: UTF-8 without U+0000 [MQTT-4.7.3-2], at least one character
 *  [MQTT-4.7.3-1], no wildcard [MQTT-4.7.0-1], at most @p levels_max levels.
 *  @return MQTT5_OK, MQTT5_ERR_UTF8, _UTF8_NUL, _TOPIC_EMPTY, _TOPIC_WILDCARD, _TOPIC_LEVELS. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_topic_check(struct mqtt5_bytes topic,
                                                             uint32_t levels_max);

/** Checks and takes apart a topic filter [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.8.2-1]
 *  [MQTT-4.8.2-2].
 *  @return MQTT5_OK, MQTT5_ERR_UTF8, _UTF8_NUL, _FILTER_EMPTY, _FILTER_WILDCARD, _FILTER_LEVELS,
 *  _SHARE_NAME. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_filter_parse(struct mqtt5_bytes text,
                                                              uint32_t levels_max,
                                                              struct mqtt5_filter *out);

/** Tells whether @p topic (valid) matches @p filter (valid, without $share); a wildcard at the
 *  first level does not match a topic that starts with '$' [MQTT-4.7.2-1]. No normalisation
 *  [MQTT-4.7.3-4]. */
MQTT5_API bool mqtt5_filter_matches(struct mqtt5_bytes filter, struct mqtt5_bytes topic);

/** Tells whether the bytes are well-formed UTF-8 without U+0000 and surrogates [MQTT-1.5.4-1]
 *  [MQTT-1.5.4-2]: MQTT5_OK, MQTT5_ERR_UTF8 or MQTT5_ERR_UTF8_NUL. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_utf8_check(struct mqtt5_bytes text);

#ifdef __cplusplus
}
#endif
#endif
