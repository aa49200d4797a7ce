/* Matches bytes against a pattern, and builds bytes from one.
 *
 * Matching backtracks: what follows the current list is a chain of struct after on the stack, so
 * that a wildcard or an alternative is tried together with all that comes behind it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "golden/golden_pattern.h"

#include <stdlib.h>
#include <string.h>

#define PROPS_MAX 300

struct matcher {
    const uint8_t *data;
    struct golden_captures *captures;
};

/* What is to be matched when a list is done. */
struct after {
    const struct golden_node *node;
    size_t end;
    bool exact; /* the list that is done must have ended where its length said */
    const struct after *then;
};

static bool match_from(struct matcher *m, const struct golden_node *node, size_t pos, size_t end,
                       const struct after *then);

size_t golden_read_length(struct mqtt5_bytes bytes, uint32_t *value)
{
    *value = 0;
    for (size_t i = 0; i < 4 && i < bytes.len; i++) {
        *value |= (uint32_t)(bytes.data[i] & 127u) << (7 * i);
        if (bytes.data[i] < 128)
            return i > 0 && bytes.data[i] == 0 ? 0 : i + 1;
    }
    return 0;
}

static struct mqtt5_bytes rest_of(const struct matcher *m, size_t pos, size_t end)
{
    return (struct mqtt5_bytes){m->data + pos, end - pos};
}

static size_t read_u16(const uint8_t *data)
{
    return (size_t)data[0] << 8 | data[1];
}

/* ---- properties ---- */

struct property {
    size_t start, end;
};

/* The bytes of one string from @p rest on, its length included; 0 when it does not fit. */
static size_t string_size(struct mqtt5_bytes rest)
{
    const size_t size = rest.len < 2 ? 0 : 2 + read_u16(rest.data);
    return size <= rest.len ? size : 0;
}

static size_t pair_size(struct mqtt5_bytes rest)
{
    const size_t name = string_size(rest);
    if (name == 0)
        return 0;
    const size_t value = string_size((struct mqtt5_bytes){rest.data + name, rest.len - name});
    return value == 0 ? 0 : name + value;
}

/* The bytes of the value of property @p id from @p rest on; 0 when there is none that fits. */
static size_t value_size(uint8_t id, struct mqtt5_bytes rest)
{
    static const char kinds[] = "-14s----ss-v-----4s2-ss141s-s--s-2221" /* 0x00 to 0x24 */
                                "1p4111";
    uint32_t value;
    switch (id < sizeof kinds - 1 ? kinds[id] : '-') {
    case '1': return 1;
    case '2': return 2;
    case '4': return 4;
    case 'v': return golden_read_length(rest, &value);
    case 's': return string_size(rest);
    case 'p': return pair_size(rest);
    default: return 0;
    }
}

/* The properties of the block at @p pos; returns where the block ends, or 0. */
static size_t split_props(const struct matcher *m, size_t pos, size_t end,
                          struct property found[PROPS_MAX], size_t *count)
{
    uint32_t length;
    const size_t head = golden_read_length(rest_of(m, pos, end), &length);
    if (head == 0 || length > end - pos - head)
        return 0;
    *count = 0;
    const size_t stop = pos + head + length;
    for (pos += head; pos < stop; (*count)++) {
        const size_t size = value_size(m->data[pos], rest_of(m, pos + 1, stop));
        if (size == 0 || size > stop - pos - 1 || *count == PROPS_MAX)
            return 0;
        found[*count] = (struct property){pos, pos + 1 + size};
        pos += 1 + size;
    }
    return stop;
}

static bool has_absent(const struct golden_node *node, uint8_t id)
{
    return memchr(node->absent, id, node->absent_count) != NULL;
}

/* Takes the first property that @p item describes off the list. */
static bool take_prop(struct matcher *m, const struct golden_list *item,
                      struct property found[PROPS_MAX], size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        if (!match_from(m, item->first, found[i].start, found[i].end, NULL))
            continue;
        memmove(&found[i], &found[i + 1], (*count - i - 1) * sizeof found[0]);
        --*count;
        return true;
    }
    return false;
}

/* Where the block ends, or 0 when it is not the one described. */
static size_t match_props(struct matcher *m, const struct golden_node *node, size_t pos, size_t end)
{
    struct property found[PROPS_MAX];
    size_t count;
    const size_t stop = split_props(m, pos, end, found, &count);
    if (stop == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (has_absent(node, m->data[found[i].start]))
            return 0;
    }
    for (const struct golden_list *item = node->lists; item != NULL; item = item->next) {
        if (!take_prop(m, item, found, &count))
            return 0;
    }
    return node->others || count == 0 ? stop : 0;
}

/* ---- matching ---- */

static bool match_nested(struct matcher *m, const struct golden_node *node, size_t pos, size_t end,
                         const struct after *then)
{
    const struct mqtt5_bytes rest = rest_of(m, pos, end);
    uint32_t length = 0;
    size_t head = 2;
    if (node->kind == GOLDEN_GROUP)
        head = golden_read_length(rest, &length);
    else if (rest.len >= 2)
        length = (uint32_t)read_u16(rest.data);
    if (head == 0 || head > rest.len || length > rest.len - head)
        return false;
    const struct after next = {node->next, end, true, then};
    return match_from(m, node->lists->first, pos + head, pos + head + length, &next);
}

static bool match_either(struct matcher *m, const struct golden_node *node, size_t pos, size_t end,
                         const struct after *then)
{
    const struct after next = {node->next, end, false, then};
    for (const struct golden_list *one = node->lists; one != NULL; one = one->next) {
        if (match_from(m, one->first, pos, end, &next))
            return true;
    }
    return false;
}

static bool match_any(struct matcher *m, const struct golden_node *node, size_t pos, size_t end,
                      const struct after *then)
{
    for (size_t at = end + 1; at-- > pos;) {
        if (match_from(m, node->next, at, end, then))
            return true;
    }
    return false;
}

static void keep(struct golden_captures *captures, unsigned slot, const uint8_t *data, size_t size)
{
    free(captures->data[slot]);
    captures->data[slot] = malloc(size + 1);
    if (captures->data[slot] == NULL)
        abort();
    memcpy(captures->data[slot], data, size);
    captures->sizes[slot] = size;
}

/* How many bytes a node of known size takes at @p pos; SIZE_MAX when it is not there. */
static size_t match_plain(struct matcher *m, const struct golden_node *node, size_t pos, size_t end)
{
    const struct golden_captures *captures = m->captures;
    const uint8_t *data = node->data;
    size_t size = node->size;
    if (node->kind == GOLDEN_ONE)
        return pos < end ? 1 : SIZE_MAX;
    if (node->kind == GOLDEN_CAPTURE) {
        size = size == 0 ? string_size(rest_of(m, pos, end)) : size;
        if (size == 0 || size > end - pos)
            return SIZE_MAX;
        keep(m->captures, node->slot, m->data + pos, size);
        return size;
    }
    if (node->kind == GOLDEN_AGAIN) {
        data = captures->data[node->slot];
        size = captures->sizes[node->slot];
        if (data == NULL)
            return SIZE_MAX;
    }
    const bool same = size <= end - pos && (size == 0 || memcmp(m->data + pos, data, size) == 0);
    return same ? size : SIZE_MAX;
}

static bool match_from(struct matcher *m, const struct golden_node *node, size_t pos, size_t end,
                       const struct after *then)
{
    if (node == NULL) {
        if (then == NULL)
            return pos == end;
        return (!then->exact || pos == end) &&
               match_from(m, then->node, pos, then->end, then->then);
    }
    switch (node->kind) {
    case GOLDEN_GROUP:
    case GOLDEN_BLOCK: return match_nested(m, node, pos, end, then);
    case GOLDEN_EITHER: return match_either(m, node, pos, end, then);
    case GOLDEN_ANY: return match_any(m, node, pos, end, then);
    case GOLDEN_PROPS: {
        const size_t stop = match_props(m, node, pos, end);
        return stop != 0 && match_from(m, node->next, stop, end, then);
    }
    case GOLDEN_BYTES:
    case GOLDEN_ONE:
    case GOLDEN_CAPTURE:
    case GOLDEN_AGAIN: break;
    }
    const size_t size = match_plain(m, node, pos, end);
    return size != SIZE_MAX && match_from(m, node->next, pos + size, end, then);
}

bool golden_match(const struct golden_list *list, struct mqtt5_bytes bytes,
                  struct golden_captures *captures)
{
    struct matcher m = {.data = bytes.data, .captures = captures};
    return match_from(&m, list->first, 0, bytes.len, NULL);
}

void golden_captures_fini(struct golden_captures *captures)
{
    for (size_t i = 0; i < captures->count; i++)
        free(captures->data[i]);
    memset(captures, 0, sizeof *captures);
}

/* ---- building ---- */

struct builder {
    uint8_t *data;
    size_t size;
    const struct golden_captures *captures;
};

static void append(struct builder *b, const void *data, size_t size)
{
    if (size == 0)
        return;
    uint8_t *larger = realloc(b->data, b->size + size);
    if (larger == NULL)
        abort();
    memcpy(larger + b->size, data, size);
    b->data = larger;
    b->size += size;
}

static void append_length(struct builder *b, enum golden_kind kind, size_t size)
{
    if (kind == GOLDEN_BLOCK) {
        const uint8_t two[] = {(uint8_t)(size >> 8), (uint8_t)size};
        append(b, two, 2);
        return;
    }
    do {
        const uint8_t low = (uint8_t)((size & 127) | (size > 127 ? 128 : 0));
        append(b, &low, 1);
        size >>= 7;
    } while (size > 0);
}

static bool build_node(struct builder *b, const struct golden_node *node)
{
    if (node->kind == GOLDEN_BYTES) {
        append(b, node->data, node->size);
        return true;
    }
    if (node->kind == GOLDEN_AGAIN && b->captures->data[node->slot] != NULL) {
        append(b, b->captures->data[node->slot], b->captures->sizes[node->slot]);
        return true;
    }
    if (node->kind != GOLDEN_GROUP && node->kind != GOLDEN_BLOCK)
        return false;
    uint8_t *inner;
    size_t size;
    if (!golden_build(node->lists, b->captures, &inner, &size))
        return false;
    append_length(b, node->kind, size);
    append(b, inner, size);
    free(inner);
    return true;
}

bool golden_build(const struct golden_list *list, const struct golden_captures *captures,
                  uint8_t **out, size_t *size)
{
    struct builder b = {.captures = captures};
    for (const struct golden_node *node = list->first; node != NULL; node = node->next) {
        if (!build_node(&b, node)) {
            free(b.data);
            return false;
        }
    }
    *out = b.data;
    *size = b.size;
    return true;
}
