/* Intrusive doubly linked list with a sentinel head.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_LIST_H
#define M5_BASE_LIST_H

#include "base/assert.h"

#include <stdbool.h>
#include <stddef.h>

struct m5_list {
    struct m5_list *next, *prev;
};

static inline void m5_list_init(struct m5_list *list)
{
    list->next = list->prev = list;
}

static inline bool m5_list_empty(const struct m5_list *list)
{
    return list->next == list;
}

/* An unlinked node is one that m5_list_init() or m5_list_remove() left pointing at itself. */
static inline bool m5_list_linked(const struct m5_list *node)
{
    return node->next != node;
}

static inline void m5_list_push_back(struct m5_list *list, struct m5_list *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

static inline void m5_list_push_front(struct m5_list *list, struct m5_list *node)
{
    m5_list_push_back(list->next, node);
}

static inline void m5_list_remove(struct m5_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    m5_list_init(node);
}

static inline struct m5_list *m5_list_pop_front(struct m5_list *list)
{
    struct m5_list *node = list->next;
    if (node == list)
        return NULL;
    m5_list_remove(node);
    return node;
}

#endif
