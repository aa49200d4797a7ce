/* What is wrong with a configuration: sentences with their places, collected.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CONFIG_PROBLEM_H
#define M5_HOST_CONFIG_PROBLEM_H

#include <mqtt5/allocator.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define M5_PROBLEMS_MAX      200 /* further ones are only counted */
#define M5_PROBLEM_TEXT_SIZE 512
#define M5_PROBLEM_PATH_SIZE 128

enum m5_problem_level {
    M5_PROBLEM_WARNING, /* it works, but should not be so */
    M5_PROBLEM_ERROR    /* it cannot be used */
};

/* Where something stands. */
struct m5_place {
    const char *file; /* or the flag or variable; borrowed until the problems are freed */
    uint32_t line;    /* from 1; 0 = none */
    uint32_t column;  /* from 1, in characters; 0 = none */
};

struct m5_problem {
    enum m5_problem_level level;
    const char *code;                /* a stable name: "unknown-key"; static */
    char file[M5_PROBLEM_TEXT_SIZE]; /* cut when it is longer */
    uint32_t line, column;
    char key[M5_PROBLEM_PATH_SIZE]; /* "listeners[0].tls.cert_file"; "" = none */
    char text[M5_PROBLEM_TEXT_SIZE];
};

struct m5_problems {
    struct m5_problem *items;
    uint32_t count, capacity;
    uint32_t errors, warnings; /* of all, also of those that were not kept */
};

void m5_problems_init(struct m5_problems *problems);
void m5_problems_fini(struct m5_problems *problems);

/* Adds one; without memory, or beyond M5_PROBLEMS_MAX, it is only counted. Returns false, so that a
 * check can end with `return m5_problem_add(...)`. */
bool m5_problem_add(struct m5_problems *problems, enum m5_problem_level level, const char *code,
                    struct m5_place place, const char *key, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* Puts those of each file in the order of their places. */
void m5_problems_sort(struct m5_problems *problems);

/* Writes "FILE:LINE:COLUMN: error: KEY: text" as far as @p size goes. */
void m5_problem_format(const struct m5_problem *problem, char *out, size_t size);

#endif
