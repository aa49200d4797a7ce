/* Reads the byte language: one character decides what comes next, lists nest by recursion.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "golden/golden_pattern.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_MAX (16u << 20)

static struct golden_list *parse_list(struct golden_parser *parser, const char *stops);

static void *fail(struct golden_parser *parser, const char *why)
{
    if (parser->error[0] == '\0')
        snprintf(parser->error, sizeof parser->error, "%s at: %.60s", why, parser->at);
    return NULL;
}

static void skip_blanks(struct golden_parser *parser)
{
    while (*parser->at == ' ' || *parser->at == '\t')
        parser->at++;
}

static bool starts_with(struct golden_parser *parser, const char *word)
{
    const size_t n = strlen(word);
    return strncmp(parser->at, word, n) == 0 && !isalnum((unsigned char)parser->at[n]);
}

static bool take(struct golden_parser *parser, char wanted)
{
    skip_blanks(parser);
    if (*parser->at != wanted)
        return false;
    parser->at++;
    return true;
}

static struct golden_node *new_node(struct golden_parser *parser, enum golden_kind kind)
{
    struct golden_node *node = golden_arena_alloc(parser->arena, sizeof *node);
    node->kind = kind;
    return node;
}

static struct golden_list *new_list(struct golden_parser *parser, struct golden_node *first)
{
    struct golden_list *list = golden_arena_alloc(parser->arena, sizeof *list);
    list->first = first;
    return list;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool hex_pair(const char *text, uint8_t *out)
{
    const int high = hex_digit(text[0]);
    const int low = high < 0 ? -1 : hex_digit(text[1]);
    if (low < 0)
        return false;
    *out = (uint8_t)(high * 16 + low);
    return true;
}

static struct golden_node *parse_hex(struct golden_parser *parser)
{
    uint8_t *data = golden_arena_alloc(parser->arena, strlen(parser->at) / 2 + 1);
    size_t size = 0;
    while (hex_pair(parser->at, &data[size])) {
        size++;
        parser->at += 2;
    }
    if (size == 0)
        return fail(parser, "cannot read");
    struct golden_node *node = new_node(parser, GOLDEN_BYTES);
    node->data = data;
    node->size = size;
    return node;
}

/* The characters up to the closing quote, escapes resolved; room is left in front for a length. */
static struct golden_node *parse_quoted(struct golden_parser *parser, bool with_length)
{
    const char quote = *parser->at++;
    uint8_t *data = golden_arena_alloc(parser->arena, strlen(parser->at) + 2);
    size_t size = with_length ? 2 : 0;
    while (*parser->at != quote) {
        if (*parser->at == '\0')
            return fail(parser, "a quote is not closed");
        if (*parser->at != '\\') {
            data[size++] = (uint8_t)*parser->at++;
        } else if (parser->at[1] == 'x' && hex_pair(parser->at + 2, &data[size])) {
            size++;
            parser->at += 4;
        } else {
            data[size++] = (uint8_t)parser->at[1];
            parser->at += 2;
        }
    }
    parser->at++;
    if (with_length) {
        data[0] = (uint8_t)((size - 2) >> 8);
        data[1] = (uint8_t)(size - 2);
    }
    struct golden_node *node = new_node(parser, GOLDEN_BYTES);
    node->data = data;
    node->size = size;
    return node;
}

static bool parse_repeat(struct golden_parser *parser, struct golden_node *before)
{
    char *end;
    const unsigned long count = strtoul(parser->at + 1, &end, 10);
    if (before == NULL || before->kind != GOLDEN_BYTES || count * before->size > BYTES_MAX) {
        fail(parser, "'*N' must follow bytes");
        return false;
    }
    uint8_t *data = golden_arena_alloc(parser->arena, before->size * count);
    for (size_t i = 0; i < count && before->size > 0; i++)
        memcpy(data + i * before->size, before->data, before->size);
    before->data = data;
    before->size *= count;
    parser->at = end;
    return true;
}

static unsigned capture_slot(struct golden_parser *parser, const char *name, size_t size)
{
    struct golden_captures *all = parser->captures;
    for (unsigned i = 0; i < all->count; i++) {
        if (strlen(all->names[i]) == size && memcmp(all->names[i], name, size) == 0)
            return i;
    }
    if (all->count == GOLDEN_CAPTURES_MAX) {
        fail(parser, "too many captures");
        return 0;
    }
    all->names[all->count] = golden_arena_text(parser->arena, name, size);
    return (unsigned)all->count++;
}

/* <name>, <name=2> or <name=str> */
static struct golden_node *parse_capture(struct golden_parser *parser)
{
    const char *name = ++parser->at;
    const size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    struct golden_node *node = new_node(parser, GOLDEN_AGAIN);
    node->slot = capture_slot(parser, name, size);
    parser->at += size;
    if (*parser->at == '=') {
        node->kind = GOLDEN_CAPTURE;
        parser->at++;
        if (starts_with(parser, "str"))
            parser->at += 3;
        else
            node->size = strtoul(parser->at, (char **)&parser->at, 10);
    }
    return take(parser, '>') ? node : fail(parser, "a capture is not closed");
}

static struct golden_node *parse_nested(struct golden_parser *parser, enum golden_kind kind,
                                        const char *stop)
{
    struct golden_node *node = new_node(parser, kind);
    parser->at++;
    node->lists = parse_list(parser, stop);
    if (node->lists == NULL)
        return NULL;
    return take(parser, stop[0]) ? node : fail(parser, "a bracket is not closed");
}

static struct golden_node *parse_either(struct golden_parser *parser)
{
    struct golden_node *node = new_node(parser, GOLDEN_EITHER);
    struct golden_list **end = &node->lists;
    do {
        parser->at++;
        *end = parse_list(parser, "|)");
        if (*end == NULL)
            return NULL;
        end = &(*end)->next;
    } while (*parser->at == '|');
    return take(parser, ')') ? node : fail(parser, "a bracket is not closed");
}

/* One entry of p{...}: `!23`, `**` or a property. */
static bool parse_prop(struct golden_parser *parser, struct golden_node *node,
                       struct golden_list ***end)
{
    skip_blanks(parser);
    if (*parser->at == '!') {
        if (node->absent_count == GOLDEN_ABSENT_MAX ||
            !hex_pair(parser->at + 1, &node->absent[node->absent_count++]))
            return fail(parser, "cannot read") != NULL;
        parser->at += 3;
    } else if (parser->at[0] == '*' && parser->at[1] == '*') {
        node->others = true;
        parser->at += 2;
    } else if (*parser->at != '}') {
        **end = parse_list(parser, ",}");
        if (**end == NULL)
            return false;
        *end = &(**end)->next;
    }
    return true;
}

static struct golden_node *parse_props(struct golden_parser *parser)
{
    struct golden_node *node = new_node(parser, GOLDEN_PROPS);
    struct golden_list **end = &node->lists;
    parser->at += 2;
    do {
        if (!parse_prop(parser, node, &end))
            return NULL;
    } while (take(parser, ','));
    return take(parser, '}') ? node : fail(parser, "a bracket is not closed");
}

/* Shorthands are texts of the language itself. */
static struct golden_node *parse_short(struct golden_parser *parser, const char *word,
                                       const char *meaning)
{
    const char *rest = parser->at + strlen(word);
    parser->at = meaning;
    struct golden_node *node = parse_either(parser);
    parser->at = rest;
    return node;
}

static struct golden_node *parse_atom(struct golden_parser *parser)
{
    const char *at = parser->at;
    if (starts_with(parser, "ok"))
        return parse_short(parser, "ok", "(|00 ...)");
    if (starts_with(parser, "done"))
        return parse_short(parser, "done", "(ok|10 ...)");
    if (strncmp(at, "...", 3) == 0)
        return parse_short(parser, "...", "(|{**})");
    if (strncmp(at, "p{", 2) == 0)
        return parse_props(parser);
    if (strncmp(at, "**", 2) == 0) {
        parser->at += 2;
        return new_node(parser, GOLDEN_ANY);
    }
    switch (*at) {
    case '{': return parse_nested(parser, GOLDEN_GROUP, "}");
    case '[': return parse_nested(parser, GOLDEN_BLOCK, "]");
    case '(': return parse_either(parser);
    case '"': return parse_quoted(parser, true);
    case '\'': return parse_quoted(parser, false);
    case '<': return parse_capture(parser);
    case '?': parser->at++; return new_node(parser, GOLDEN_ONE);
    default: return parse_hex(parser);
    }
}

/* Up to one of @p stops or the end of the text; NULL after an error. */
static struct golden_list *parse_list(struct golden_parser *parser, const char *stops)
{
    struct golden_list *list = new_list(parser, NULL);
    struct golden_node **end = &list->first;
    struct golden_node *last = NULL;
    for (;;) {
        skip_blanks(parser);
        if (*parser->at == '\0' || strchr(stops, *parser->at) != NULL)
            return list;
        if (parser->at[0] == '*' && isdigit((unsigned char)parser->at[1])) {
            if (!parse_repeat(parser, last))
                return NULL;
            continue;
        }
        last = parse_atom(parser);
        if (last == NULL || parser->error[0] != '\0')
            return NULL;
        *end = last;
        end = &last->next;
    }
}

struct golden_list *golden_parse_bytes(struct golden_parser *parser, const char *text)
{
    parser->at = text;
    return parse_list(parser, "");
}

static struct golden_list *parse_special(struct golden_parser *parser)
{
    static const struct {
        const char *word;
        enum golden_special special;
    } words[] = {{"closed", GOLDEN_CLOSED}, {"nothing", GOLDEN_NOTHING}};
    skip_blanks(parser);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (starts_with(parser, words[i].word)) {
            struct golden_list *list = new_list(parser, NULL);
            list->special = words[i].special;
            parser->at += strlen(words[i].word);
            return list;
        }
    }
    return NULL;
}

struct golden_list *golden_parse_expected(struct golden_parser *parser, const char *text)
{
    struct golden_list *first = NULL, **end = &first;
    parser->at = text;
    do {
        *end = parse_special(parser);
        if (*end == NULL)
            *end = parse_list(parser, "|");
        if (*end == NULL)
            return NULL;
        end = &(*end)->next;
    } while (take(parser, '|'));
    return *parser->at == '\0' ? first : fail(parser, "unexpected text");
}
