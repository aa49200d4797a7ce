/* Reads YAML, of which JSON is a part, by the events of libyaml; without recursion, and bounded in
 * depth and number before anything is built.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/document.h"

#include <string.h>
#include <yaml.h>

struct build {
    struct m5_arena *arena;
    struct m5_problems *problems;
    const char *file;
    struct m5_node *open[M5_DOCUMENT_DEPTH_MAX]; /* mappings and lists around what is read */
    uint32_t depth, node_count;
    struct m5_node *root;
    struct m5_node *key; /* of the open mapping, waiting for its value; scalar */
    uint32_t documents;
};

static struct m5_place place_of(const struct build *build, const yaml_mark_t *mark)
{
    return (struct m5_place){.file = build->file,
                             .line = (uint32_t)mark->line + 1,
                             .column = (uint32_t)mark->column + 1};
}

static bool refuse(const struct build *build, const yaml_event_t *event, const char *code,
                   const char *text)
{
    return m5_problem_add(build->problems, M5_PROBLEM_ERROR, code,
                          place_of(build, &event->start_mark), NULL, "%s", text);
}

static const char *anchor_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT: return (const char *)event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT: return (const char *)event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT: return (const char *)event->data.mapping_start.anchor;
    default: return NULL;
    }
}

static const char *tag_of(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT: return (const char *)event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT: return (const char *)event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT: return (const char *)event->data.mapping_start.tag;
    default: return NULL;
    }
}

static struct m5_node *new_node(struct build *build, const yaml_event_t *event)
{
    if (build->node_count++ == M5_DOCUMENT_NODES_MAX) {
        refuse(build, event, "too-large", "there are too many values in this file");
        return NULL;
    }
    struct m5_node *node = (struct m5_node *)m5_arena_alloc(build->arena, sizeof *node);
    if (node == NULL) {
        refuse(build, event, "no-memory", "out of memory");
        return NULL;
    }
    node->place = place_of(build, &event->start_mark);
    return node;
}

/* The mapping or list that the next value belongs to; NULL at the top. */
static struct m5_node *parent_of(const struct build *build)
{
    return build->depth == 0 ? NULL : build->open[build->depth - 1];
}

/* An earlier entry with this name, or NULL. */
static const struct m5_node *find_entry(const struct m5_node *mapping, const char *name)
{
    const struct m5_node *entry = mapping->children;
    while (entry != NULL && strcmp(entry->key, name) != 0)
        entry = entry->next;
    return entry;
}

static void append(struct m5_node *parent, struct m5_node *node)
{
    if (parent->last == NULL)
        parent->children = node;
    else
        parent->last->next = node;
    parent->last = node;
    parent->child_count++;
}

/* Puts a value where it belongs. A duplicate is a problem, but the rest is still read. */
static bool attach(struct build *build, struct m5_node *node, const yaml_event_t *event)
{
    struct m5_node *parent = parent_of(build);
    if (parent == NULL) {
        build->root = node;
        return true;
    }
    if (parent->child_count == M5_DOCUMENT_ENTRIES_MAX)
        return refuse(build, event, "too-large", "there are too many entries here (at most 1000)");
    if (parent->kind == M5_NODE_LIST) {
        append(parent, node);
        return true;
    }
    const struct m5_node *same = find_entry(parent, build->key->text);
    node->key = build->key->text;
    node->key_place = build->key->place;
    build->key = NULL;
    if (same != NULL)
        m5_problem_add(build->problems, M5_PROBLEM_ERROR, "duplicate-key", node->key_place,
                       node->key, "is given twice: first in line %u, column %u",
                       same->key_place.line, same->key_place.column);
    else
        append(parent, node);
    return true;
}

static bool wants_key(const struct build *build)
{
    const struct m5_node *parent = parent_of(build);
    return parent != NULL && parent->kind == M5_NODE_MAPPING && build->key == NULL;
}

static bool is_null(const char *text)
{
    return *text == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

static bool take_scalar(struct build *build, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    const size_t size = event->data.scalar.length;
    struct m5_node *node = new_node(build, event);
    if (node == NULL)
        return false;
    if (memchr(value, 0, size) != NULL)
        return refuse(build, event, "bad-text", "a text may not contain the character U+0000");
    node->text = m5_arena_text(build->arena, value, size);
    if (node->text == NULL)
        return refuse(build, event, "no-memory", "out of memory");
    node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->is_null = !node->is_quoted && is_null(node->text);
    if (!wants_key(build))
        return attach(build, node, event);
    if (!node->is_quoted && strcmp(node->text, "<<") == 0)
        return refuse(build, event, "merge-key", "merge keys (<<) are not allowed: write it out");
    build->key = node;
    return true;
}

static bool take_start(struct build *build, const yaml_event_t *event, enum m5_node_kind kind)
{
    if (wants_key(build))
        return refuse(build, event, "bad-key", "a key must be a word: name: value");
    if (build->depth == M5_DOCUMENT_DEPTH_MAX)
        return refuse(build, event, "too-deep", "this is nested too deeply (at most 16 levels)");
    struct m5_node *node = new_node(build, event);
    if (node == NULL)
        return false;
    node->kind = kind;
    if (!attach(build, node, event))
        return false;
    build->open[build->depth++] = node;
    return true;
}

static bool take(struct build *build, const yaml_event_t *event)
{
    if (anchor_of(event) != NULL || event->type == YAML_ALIAS_EVENT)
        return refuse(build, event, "anchor",
                      "anchors (&name) and aliases (*name) are not allowed; put a text that "
                      "begins with & or * in quotes");
    if (tag_of(event) != NULL)
        return refuse(build, event, "tag",
                      "tags (!name) are not allowed; put a text that begins with ! in quotes");
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return build->documents++ == 0 ||
               refuse(build, event, "two-documents", "a second document (---) is not allowed");
    case YAML_SCALAR_EVENT: return take_scalar(build, event);
    case YAML_SEQUENCE_START_EVENT: return take_start(build, event, M5_NODE_LIST);
    case YAML_MAPPING_START_EVENT: return take_start(build, event, M5_NODE_MAPPING);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: build->depth--; return true;
    default: return true;
    }
}

/* The sentence for what the parser itself refused. */
static void note_syntax(const struct build *build, const yaml_parser_t *parser)
{
    const char *what = parser->problem != NULL ? parser->problem : "cannot be read";
    if (parser->error == YAML_MEMORY_ERROR) {
        m5_problem_add(build->problems, M5_PROBLEM_ERROR, "no-memory",
                       (struct m5_place){.file = build->file}, NULL, "out of memory");
    } else if (parser->error == YAML_READER_ERROR) {
        m5_problem_add(build->problems, M5_PROBLEM_ERROR, "syntax", place_of(build, &parser->mark),
                       NULL, "%s (at byte %zu)", what, parser->problem_offset);
    } else {
        m5_problem_add(
            build->problems, M5_PROBLEM_ERROR, "syntax", place_of(build, &parser->problem_mark),
            NULL, "this is neither YAML nor JSON: %s%s%s", what, parser->context != NULL ? " " : "",
            parser->context != NULL ? parser->context : "");
    }
}

static bool read_events(struct build *build, yaml_parser_t *parser)
{
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event)) {
            note_syntax(build, parser);
            return false;
        }
        const bool at_end = event.type == YAML_STREAM_END_EVENT;
        const bool ok = take(build, &event);
        yaml_event_delete(&event);
        if (!ok || at_end)
            return ok;
    }
}

/* What stands at the top must be a mapping; nothing at all counts as an empty one. */
static struct m5_node *finish(struct build *build)
{
    struct m5_node *root = build->root;
    if (root == NULL || (root->kind == M5_NODE_SCALAR && root->is_null)) {
        root = (struct m5_node *)m5_arena_alloc(build->arena, sizeof *root);
        if (root == NULL)
            return NULL;
        root->kind = M5_NODE_MAPPING;
        root->place = (struct m5_place){.file = build->file, .line = 1, .column = 1};
    }
    if (root->kind == M5_NODE_MAPPING)
        return root;
    m5_problem_add(build->problems, M5_PROBLEM_ERROR, "wrong-type", root->place, NULL,
                   "a configuration is made of lines \"key: value\"");
    return NULL;
}

struct m5_node *m5_document_read(struct m5_arena *arena, const char *file, struct mqtt5_bytes text,
                                 struct m5_problems *problems)
{
    static const unsigned char nothing[1] = {0};
    struct build build = {.arena = arena, .problems = problems, .file = file};
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        m5_problem_add(problems, M5_PROBLEM_ERROR, "no-memory", (struct m5_place){.file = file},
                       NULL, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, text.data != NULL ? text.data : nothing, text.len);
    const bool ok = read_events(&build, &parser);
    yaml_parser_delete(&parser);
    return ok ? finish(&build) : NULL;
}
