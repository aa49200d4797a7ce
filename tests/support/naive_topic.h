/* UTF-8 and topic filters the plain way, for tests to compare with: levels are split into arrays,
 * rules are applied one after the other as section 4.7 tells them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_NAIVE_TOPIC_H
#define TEST_NAIVE_TOPIC_H

#include <mqtt5/bytes.h>
#include <mqtt5/error.h>
#include <stdbool.h>

/* As mqtt5_utf8_check(), by decoding every character. */
enum mqtt5_error naive_utf8_check(struct mqtt5_bytes text);

/* True when @p filter, without $share, is placed right: '#' last and alone, '+' alone. Its text is
 * UTF-8 and not empty. */
bool naive_filter_valid(struct mqtt5_bytes filter);

/* Both valid; as mqtt5_filter_matches(). */
bool naive_filter_matches(struct mqtt5_bytes filter, struct mqtt5_bytes topic);

#endif
