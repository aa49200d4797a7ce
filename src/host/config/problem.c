/* Collects problems of a configuration.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void m5_problems_init(struct m5_problems *problems)
{
    *problems = (struct m5_problems){.items = NULL};
}

void m5_problems_fini(struct m5_problems *problems)
{
    free(problems->items);
    m5_problems_init(problems);
}

static struct m5_problem *new_problem(struct m5_problems *problems)
{
    if (problems->count >= M5_PROBLEMS_MAX)
        return NULL;
    if (problems->count == problems->capacity) {
        const uint32_t capacity = problems->capacity == 0 ? 8 : problems->capacity * 2;
        struct m5_problem *items =
            (struct m5_problem *)realloc(problems->items, capacity * sizeof *items);
        if (items == NULL)
            return NULL;
        problems->items = items;
        problems->capacity = capacity;
    }
    return &problems->items[problems->count++];
}

bool m5_problem_add(struct m5_problems *problems, enum m5_problem_level level, const char *code,
                    struct m5_place place, const char *key, const char *format, ...)
{
    if (level == M5_PROBLEM_ERROR)
        problems->errors++;
    else
        problems->warnings++;
    struct m5_problem *problem = new_problem(problems);
    if (problem == NULL)
        return false;
    *problem = (struct m5_problem){
        .level = level, .code = code, .line = place.line, .column = place.column};
    snprintf(problem->file, sizeof problem->file, "%s", place.file == NULL ? "" : place.file);
    snprintf(problem->key, sizeof problem->key, "%s", key == NULL ? "" : key);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->text, sizeof problem->text, format, arguments);
    va_end(arguments);
    return false;
}

void m5_problem_format(const struct m5_problem *problem, char *out, size_t size)
{
    char place[64] = "";
    if (problem->line > 0 && problem->column > 0)
        snprintf(place, sizeof place, ":%u:%u", problem->line, problem->column);
    else if (problem->line > 0)
        snprintf(place, sizeof place, ":%u", problem->line);
    snprintf(out, size, "%s%s%s%s: %s%s%s", problem->file, place, problem->file[0] != 0 ? ": " : "",
             problem->level == M5_PROBLEM_ERROR ? "error" : "warning", problem->key,
             problem->key[0] != 0 ? ": " : "", problem->text);
}

static bool is_after(const struct m5_problem *a, const struct m5_problem *b)
{
    return strcmp(a->file, b->file) == 0 &&
           (a->line != b->line ? a->line > b->line : a->column > b->column);
}

void m5_problems_sort(struct m5_problems *problems)
{
    for (uint32_t i = 1; i < problems->count; i++) {
        const struct m5_problem moved = problems->items[i];
        uint32_t at = i;
        for (; at > 0 && is_after(&problems->items[at - 1], &moved); at--)
            problems->items[at] = problems->items[at - 1];
        problems->items[at] = moved;
    }
}
