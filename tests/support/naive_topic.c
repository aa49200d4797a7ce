/* UTF-8 and topic filters the plain way.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/naive_topic.h"

#include <stdlib.h>
#include <string.h>

struct levels {
    struct mqtt5_bytes *items;
    size_t count;
};

/* Decodes by RFC 3629, section 3, and then looks at the code point: written apart from the code
 * that is tested, which never computes one. */
enum mqtt5_error naive_utf8_check(struct mqtt5_bytes text)
{
    for (size_t at = 0; at < text.len;) {
        const uint8_t first = text.data[at];
        const size_t size = first < 0x80           ? 1
                            : (first >> 5) == 0x06 ? 2
                            : (first >> 4) == 0x0E ? 3
                            : (first >> 3) == 0x1E ? 4
                                                   : 0;
        if (size == 0 || at + size > text.len)
            return MQTT5_ERR_UTF8;
        uint32_t point = size == 1 ? first : first & (0x7Fu >> size);
        for (size_t i = 1; i < size; i++) {
            if ((text.data[at + i] >> 6) != 2)
                return MQTT5_ERR_UTF8;
            point = point << 6 | (text.data[at + i] & 0x3F);
        }
        static const uint32_t first_of_size[] = {0, 0, 0x80, 0x800, 0x10000};
        if (point < first_of_size[size] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF))
            return MQTT5_ERR_UTF8;
        if (point == 0)
            return MQTT5_ERR_UTF8_NUL;
        at += size;
    }
    return MQTT5_OK;
}

static struct levels split(struct mqtt5_bytes text)
{
    struct levels levels = {.items = malloc((text.len + 1) * sizeof *levels.items)};
    if (levels.items == NULL)
        abort();
    size_t start = 0;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.data[i] != '/')
            continue;
        levels.items[levels.count++] =
            (struct mqtt5_bytes){.data = text.data + start, .len = i - start};
        start = i + 1;
    }
    return levels;
}

static bool is(struct mqtt5_bytes level, char c)
{
    return level.len == 1 && level.data[0] == (uint8_t)c;
}

static bool contains(struct mqtt5_bytes level, char c)
{
    return level.len > 0 && memchr(level.data, c, level.len) != NULL;
}

bool naive_filter_valid(struct mqtt5_bytes filter)
{
    const struct levels levels = split(filter);
    bool valid = true;
    for (size_t i = 0; i < levels.count; i++) {
        const struct mqtt5_bytes level = levels.items[i];
        if (contains(level, '#') && !(is(level, '#') && i + 1 == levels.count))
            valid = false;
        if (contains(level, '+') && !is(level, '+'))
            valid = false;
    }
    free(levels.items);
    return valid;
}

static bool levels_match(const struct levels *filter, const struct levels *topic)
{
    for (size_t i = 0; i < filter->count; i++) {
        const struct mqtt5_bytes wanted = filter->items[i];
        if (is(wanted, '#'))
            return topic->count >= i;
        if (i >= topic->count)
            return false;
        const struct mqtt5_bytes level = topic->items[i];
        if (is(wanted, '+'))
            continue;
        if (wanted.len != level.len || memcmp(wanted.data, level.data, level.len) != 0)
            return false;
    }
    return filter->count == topic->count;
}

bool naive_filter_matches(struct mqtt5_bytes filter, struct mqtt5_bytes topic)
{
    const struct levels wanted = split(filter), levels = split(topic);
    const bool begins_with_wildcard = is(wanted.items[0], '+') || is(wanted.items[0], '#');
    const bool hidden = topic.len > 0 && topic.data[0] == '$' && begins_with_wildcard;
    const bool matches = !hidden && levels_match(&wanted, &levels);
    free(wanted.items);
    free(levels.items);
    return matches;
}
