/* What the codec and the engines share about topics, beside <mqtt5/topic.h>.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_PROTOCOL_TOPIC_H
#define M5_PROTOCOL_TOPIC_H

#include <mqtt5/topic.h>

/* Levels of a topic name or filter: one more than it has slashes. */
uint32_t m5_topic_levels(struct mqtt5_bytes text);

/* True when @p text starts with "$share/"; what follows may still be wrong. */
bool m5_filter_is_shared(struct mqtt5_bytes text);

#endif
