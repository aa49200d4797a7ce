/* Topic filters the plain way.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/naive_topic.h"

#include <stdlib.h>
#include <string.h>

struct levels {
    struct mqtt5_bytes *items;
    size_t count;
};

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
