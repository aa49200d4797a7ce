/* A YAML or JSON text as a tree of mappings, lists and scalars, each with its place; small, finite
 * and without surprises: no anchors, aliases, tags, merge keys, second documents or duplicate keys.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CONFIG_DOCUMENT_H
#define M5_HOST_CONFIG_DOCUMENT_H

#include "host/config/arena.h"
#include "host/config/problem.h"

#include <mqtt5/bytes.h>

#define M5_DOCUMENT_DEPTH_MAX   16
#define M5_DOCUMENT_NODES_MAX   20000
#define M5_DOCUMENT_ENTRIES_MAX 1000 /* of one mapping or list */

enum m5_node_kind { M5_NODE_SCALAR, M5_NODE_MAPPING, M5_NODE_LIST };

struct m5_node {
    enum m5_node_kind kind;
    bool is_quoted;        /* scalar: 'so' or "so" */
    bool is_null;          /* scalar: nothing, ~ or null */
    struct m5_place place; /* of the value */
    const char *text;      /* scalar */
    const char *key;       /* of an entry of a mapping, else NULL */
    struct m5_place key_place;
    struct m5_node *children, *last, *next;
    uint32_t child_count;
};

/* Reads @p text, whose name in problems is @p file. An empty text gives an empty mapping. The tree
 * lives in @p arena. NULL with a problem. */
struct m5_node *m5_document_read(struct m5_arena *arena, const char *file, struct mqtt5_bytes text,
                                 struct m5_problems *problems);

#endif
