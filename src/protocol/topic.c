/* Topic names, topic filters, shared subscriptions: checked once, where they enter.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "protocol/topic.h"

#include "base/bytes.h"
#include "protocol/level.h"
#include "protocol/utf8.h"

#include <assert.h>

static const char share_prefix[] = "$share/";
#define SHARE_PREFIX_SIZE (sizeof share_prefix - 1)

static const uint8_t *find(struct mqtt5_bytes text, char wanted)
{
    return text.len > 0 ? memchr(text.data, wanted, text.len) : NULL;
}

static bool has_wildcard(struct mqtt5_bytes text)
{
    return find(text, '+') != NULL || find(text, '#') != NULL;
}

static bool too_many_levels(struct mqtt5_bytes text, uint32_t levels_max)
{
    /* A text of n bytes has at most n + 1 levels: short ones need no count. */
    return text.len >= levels_max && m5_topic_levels(text) > levels_max;
}

uint32_t m5_topic_levels(struct mqtt5_bytes text)
{
    uint32_t levels = 1;
    for (size_t i = 0; i < text.len; i++)
        levels += text.data[i] == '/';
    return levels;
}

/* '+' and '#' differ in one bit: without it they are one byte to look for. */
#define WILDCARD_BIT ((uint64_t)('+' ^ '#'))
static_assert(WILDCARD_BIT == 8, "a single bit");

/* Not 0 when a word holds a byte that a plain topic name cannot have. */
static inline uint64_t word_bad(uint64_t word)
{
    const uint64_t folded = word & ~(WILDCARD_BIT * M5_WORD_ONES);
    return m5_word_not_ascii(word) | m5_word_equal(folded, '+' & '#');
}

/* True for a topic name that is ASCII without U+0000, '+' and '#'; one pass, for the hot path. A
 * word with a byte over 0x7F is bad already, so what m5_word_equal() makes of it does not matter.
 */
static inline bool is_plain(struct mqtt5_bytes topic)
{
    const uint8_t *at = topic.data;
    size_t left = topic.len;
    uint64_t bad = 0;
    for (; left >= 8; at += 8, left -= 8)
        bad |= word_bad(m5_read_le64(at));
    if (left == 0)
        return bad == 0;
    const uint64_t filler = M5_WORD_ONES << 8 * left;
    return (bad | word_bad(m5_read_le_part(at, left) | filler)) == 0;
}

enum mqtt5_error mqtt5_topic_check(struct mqtt5_bytes topic, uint32_t levels_max)
{
    if (topic.len == 0) /* [MQTT-4.7.3-1] */
        return MQTT5_ERR_TOPIC_EMPTY;
    if (!is_plain(topic)) {
        const enum mqtt5_error error = m5_utf8_check(topic);
        if (error != MQTT5_OK)
            return error;
        if (has_wildcard(topic)) /* [MQTT-4.7.0-1] [MQTT-3.3.2-2] */
            return MQTT5_ERR_TOPIC_WILDCARD;
    }
    return too_many_levels(topic, levels_max) ? MQTT5_ERR_TOPIC_LEVELS : MQTT5_OK;
}

bool m5_filter_is_shared(struct mqtt5_bytes text)
{
    return text.len >= SHARE_PREFIX_SIZE && memcmp(text.data, share_prefix, SHARE_PREFIX_SIZE) == 0;
}

/* "$share/name/filter", neither part empty, no wildcard and no '/' in the name [MQTT-4.8.2-1]
 * [MQTT-4.8.2-2]. */
static enum mqtt5_error split_share(struct mqtt5_bytes text, struct mqtt5_filter *out)
{
    const struct mqtt5_bytes rest =
        m5_bytes(text.data + SHARE_PREFIX_SIZE, text.len - SHARE_PREFIX_SIZE);
    const uint8_t *slash = find(rest, '/');
    if (slash == NULL || slash == rest.data || slash + 1 == rest.data + rest.len)
        return MQTT5_ERR_SHARE_NAME;
    out->share_name = m5_bytes(rest.data, (size_t)(slash - rest.data));
    out->filter = m5_bytes(slash + 1, rest.len - out->share_name.len - 1);
    return has_wildcard(out->share_name) ? MQTT5_ERR_SHARE_NAME : MQTT5_OK;
}

/* '#' stands alone in the last level [MQTT-4.7.1-1], '+' alone in any [MQTT-4.7.1-2]. */
static bool wildcards_placed(struct mqtt5_bytes filter)
{
    for (size_t i = 0; i < filter.len; i++) {
        const uint8_t byte = filter.data[i];
        if (byte != '+' && byte != '#')
            continue;
        const bool begins = i == 0 || filter.data[i - 1] == '/';
        const bool last = i + 1 == filter.len;
        const bool ends = last || (byte == '+' && filter.data[i + 1] == '/');
        if (!begins || !ends)
            return false;
    }
    return true;
}

enum mqtt5_error mqtt5_filter_parse(struct mqtt5_bytes text, uint32_t levels_max,
                                    struct mqtt5_filter *out)
{
    *out = (struct mqtt5_filter){.filter = text};
    if (text.len == 0) /* [MQTT-4.7.3-1] */
        return MQTT5_ERR_FILTER_EMPTY;
    enum mqtt5_error error = m5_utf8_check(text);
    if (error == MQTT5_OK && m5_filter_is_shared(text))
        error = split_share(text, out);
    if (error != MQTT5_OK)
        return error;
    out->has_wildcard = has_wildcard(out->filter);
    out->levels = m5_topic_levels(out->filter);
    if (out->has_wildcard && !wildcards_placed(out->filter))
        return MQTT5_ERR_FILTER_WILDCARD;
    return out->levels > levels_max ? MQTT5_ERR_FILTER_LEVELS : MQTT5_OK;
}

static bool is_one(struct mqtt5_bytes level, char wanted)
{
    return level.len == 1 && level.data[0] == (uint8_t)wanted;
}

bool mqtt5_filter_matches(struct mqtt5_bytes filter, struct mqtt5_bytes topic)
{
    if (topic.len > 0 && topic.data[0] == '$' && filter.len > 0 &&
        (filter.data[0] == '+' || filter.data[0] == '#'))
        return false; /* [MQTT-4.7.2-1] */
    for (;;) {
        struct mqtt5_bytes wanted, level;
        const bool filter_goes_on = m5_take_level(&filter, &wanted);
        if (is_one(wanted, '#'))
            return true;
        const bool topic_goes_on = m5_take_level(&topic, &level);
        if (!is_one(wanted, '+') && !m5_bytes_equal(wanted, level))
            return false;
        if (!topic_goes_on) /* "a/#" matches "a" too: '#' includes the parent level */
            return !filter_goes_on || is_one(filter, '#');
        if (!filter_goes_on)
            return false;
    }
}
