/* Topic names and filters against the naive judges.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "support/naive_topic.h"

#include <mqtt5/topic.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t count(struct mqtt5_bytes text, char wanted)
{
    uint32_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == (uint8_t)wanted;
    return n;
}

static enum mqtt5_error naive_topic_check(struct mqtt5_bytes topic, uint32_t levels_max)
{
    if (topic.len == 0)
        return MQTT5_ERR_TOPIC_EMPTY;
    const enum mqtt5_error error = naive_utf8_check(topic);
    if (error != MQTT5_OK)
        return error;
    if (count(topic, '+') + count(topic, '#') > 0)
        return MQTT5_ERR_TOPIC_WILDCARD;
    return count(topic, '/') + 1 > levels_max ? MQTT5_ERR_TOPIC_LEVELS : MQTT5_OK;
}

/* The share name, filter and error as sections 4.7 and 4.8.2 tell them. */
static enum mqtt5_error naive_filter_parse(struct mqtt5_bytes text, uint32_t levels_max,
                                           struct mqtt5_bytes *share, struct mqtt5_bytes *filter)
{
    *share = m5_bytes(text.data, 0);
    *filter = text;
    if (text.len == 0)
        return MQTT5_ERR_FILTER_EMPTY;
    const enum mqtt5_error error = naive_utf8_check(text);
    if (error != MQTT5_OK)
        return error;
    if (text.len >= 7 && memcmp(text.data, "$share/", 7) == 0) {
        size_t end = 7;
        while (end < text.len && text.data[end] != '/')
            end++;
        *share = m5_bytes(text.data + 7, end - 7);
        if (share->len == 0 || end + 1 >= text.len || count(*share, '+') + count(*share, '#') > 0)
            return MQTT5_ERR_SHARE_NAME;
        *filter = m5_bytes(text.data + end + 1, text.len - end - 1);
    }
    if (!naive_filter_valid(*filter))
        return MQTT5_ERR_FILTER_WILDCARD;
    return count(*filter, '/') + 1 > levels_max ? MQTT5_ERR_FILTER_LEVELS : MQTT5_OK;
}

static void check(struct mqtt5_bytes text, struct mqtt5_bytes topic, uint32_t levels_max)
{
    struct mqtt5_filter parsed;
    struct mqtt5_bytes share, filter;
    const enum mqtt5_error error = mqtt5_filter_parse(text, levels_max, &parsed);
    M5_ASSERT(error == naive_filter_parse(text, levels_max, &share, &filter));
    const enum mqtt5_error topic_error = mqtt5_topic_check(topic, levels_max);
    M5_ASSERT(topic_error == naive_topic_check(topic, levels_max));
    M5_ASSERT(mqtt5_utf8_check(topic) == naive_utf8_check(topic));
    if (error != MQTT5_OK)
        return;
    M5_ASSERT(m5_bytes_equal(parsed.share_name, share));
    M5_ASSERT(m5_bytes_equal(parsed.filter, filter));
    M5_ASSERT(parsed.levels == count(filter, '/') + 1);
    M5_ASSERT(parsed.has_wildcard == (count(filter, '+') + count(filter, '#') > 0));
    if (topic_error != MQTT5_OK)
        return;
    M5_ASSERT(mqtt5_filter_matches(parsed.filter, topic) == naive_filter_matches(filter, topic));
    M5_ASSERT(mqtt5_filter_matches(topic, topic)); /* a name is a filter that matches itself */
}

static uint8_t *copy(struct mqtt5_bytes bytes)
{
    uint8_t *memory = malloc(bytes.len > 0 ? bytes.len : 1);
    M5_ASSERT(memory != NULL);
    m5_copy(memory, bytes);
    return memory;
}

/* A byte for the level limit, then a filter and, behind the first 0xFE (never in UTF-8), a topic;
 * each in a block of its own, so that a sanitizer sees a read past its end. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const uint32_t levels_max = data[0] == 0 ? UINT32_MAX : data[0];
    size_t end = 1;
    while (end < size && data[end] != 0xFE)
        end++;
    const size_t begin = end < size ? end + 1 : size;
    const struct mqtt5_bytes first = m5_bytes(data + 1, end - 1);
    const struct mqtt5_bytes second = m5_bytes(data + begin, size - begin);
    uint8_t *text = copy(first), *topic = copy(second);
    check(m5_bytes(text, first.len), m5_bytes(topic, second.len), levels_max);
    free(text);
    free(topic);
    return 0;
}
