/* The byte language of golden conversations: what is sent, and what is expected.
 *
 * A text becomes a list of nodes; a list without wildcards can be built into bytes, any list can be
 * matched against bytes. README.md beside this file describes the language. Nothing here knows
 * the project's codec: that is the point of it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef GOLDEN_PATTERN_H
#define GOLDEN_PATTERN_H

#include "golden/golden_arena.h"

#include <mqtt5/bytes.h>
#include <stdbool.h>
#include <stdint.h>

#define GOLDEN_CAPTURES_MAX 16
#define GOLDEN_ABSENT_MAX   16

enum golden_kind {
    GOLDEN_BYTES,
    GOLDEN_ONE,     /* any byte */
    GOLDEN_ANY,     /* any bytes */
    GOLDEN_GROUP,   /* a variable byte integer and that many bytes, which are lists[0] */
    GOLDEN_BLOCK,   /* the same with a length of two bytes */
    GOLDEN_EITHER,  /* one of `lists` */
    GOLDEN_PROPS,   /* a property block with the properties in `lists`, in any order */
    GOLDEN_CAPTURE, /* `size` bytes, or a string with its length when 0, kept in `slot` */
    GOLDEN_AGAIN    /* what is in `slot` */
};

enum golden_special { GOLDEN_PACKET, GOLDEN_CLOSED, GOLDEN_NOTHING };

struct golden_list {
    struct golden_node *first;
    struct golden_list *next;
    enum golden_special special; /* of a whole expectation only */
};

struct golden_node {
    enum golden_kind kind;
    struct golden_node *next;
    const uint8_t *data;
    size_t size;
    struct golden_list *lists;
    unsigned slot;
    uint8_t absent[GOLDEN_ABSENT_MAX]; /* property identifiers that must not be there */
    size_t absent_count;
    bool others; /* further properties are allowed */
};

/* The names of captures, and what they hold. */
struct golden_captures {
    const char *names[GOLDEN_CAPTURES_MAX];
    uint8_t *data[GOLDEN_CAPTURES_MAX]; /* from malloc */
    size_t sizes[GOLDEN_CAPTURES_MAX];
    size_t count;
};

struct golden_parser {
    struct golden_arena *arena;
    struct golden_captures *captures; /* gains the names that are new */
    const char *at;
    char error[200]; /* empty while all is well */
};

/* What `A > ...` sends, or NULL and parser->error. */
struct golden_list *golden_parse_bytes(struct golden_parser *parser, const char *text);

/* What `A < ...` expects: one list for each alternative, or NULL and parser->error. */
struct golden_list *golden_parse_expected(struct golden_parser *parser, const char *text);

/* The bytes that @p list stands for, from malloc; false when it has a wildcard, or a capture that
 * nothing filled. */
bool golden_build(const struct golden_list *list, const struct golden_captures *captures,
                  uint8_t **out, size_t *size);

/* True when @p list describes all of @p bytes; fills captures. */
bool golden_match(const struct golden_list *list, struct mqtt5_bytes bytes,
                  struct golden_captures *captures);

void golden_captures_fini(struct golden_captures *captures);

/* Reads a variable byte integer of 1 to 4 bytes that is minimal: its length in bytes, or 0. */
size_t golden_read_length(struct mqtt5_bytes bytes, uint32_t *value);

#endif
