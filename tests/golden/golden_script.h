/* Golden conversations as read from a file: scenarios made of steps.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef GOLDEN_SCRIPT_H
#define GOLDEN_SCRIPT_H

#include "golden/golden_arena.h"
#include "golden/golden_pattern.h"

enum golden_verb {
    GOLDEN_OPEN,
    GOLDEN_BREAK,            /* `A close` */
    GOLDEN_SEND,             /* `A > bytes` */
    GOLDEN_EXPECT,           /* `A < pattern` */
    GOLDEN_EXPECT_OPTIONAL,  /* `A <? pattern` */
    GOLDEN_EXPECT_UNORDERED, /* `A <& pattern`, one of a run */
    GOLDEN_ADVANCE,
    GOLDEN_STOP,
    GOLDEN_RESTART, /* told to go, and started again on the same store */
    GOLDEN_CRASH,   /* the same after a power cut */
    GOLDEN_STORE    /* `store fails` and so on */
};

enum golden_store_word { GOLDEN_FAILS, GOLDEN_WORKS, GOLDEN_HOLDS, GOLDEN_GOES_ON };

struct golden_step {
    enum golden_verb verb;
    char name; /* of the connection, 'A' to 'Z'; 0 for advance and stop */
    unsigned line;
    const char *text;               /* as written, for messages */
    const struct golden_list *list; /* bytes to send, or alternatives */
    uint64_t ms;                    /* advance; how long the broker is down */
    enum golden_store_word store;
};

struct golden_setting {
    const char *key, *value;
    struct golden_setting *next;
};

struct golden_scenario {
    const char *path, *title;
    unsigned line;
    const struct golden_setting *settings; /* `broker:` */
    struct golden_step *steps;
    size_t step_count;
    bool needs_store;
    struct golden_captures captures; /* names; a run starts from a copy */
    struct golden_scenario *next;
};

struct golden_file {
    struct golden_arena arena;
    struct golden_scenario *scenarios;
    char error[400]; /* "path:line: why", empty while all is well */
};

/* Reads @p path. False and file->error when it cannot be read or understood. */
bool golden_file_read(struct golden_file *file, const char *path);

/* The same from text, for tests of the reader. */
bool golden_file_parse(struct golden_file *file, const char *path, const char *text);

void golden_file_fini(struct golden_file *file);

#endif
