/* Command-line options, read by a table: flag, environment variable, default, help from one place.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_OPTIONS_H
#define M5_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What an option's text may be and which field it fills. */
enum cli_type {
    CLI_STRING,  /* const char *; repeatable: struct cli_strings */
    CLI_BOOL,    /* bool: --flag, --flag=true, --flag=false (true/false, yes/no, on/off, 1/0) */
    CLI_INTEGER, /* uint64_t in [min, max] */
    CLI_SECONDS, /* uint64_t, seconds in [min, max]: 30, 30s, 1m30s, 2h, 7d */
    CLI_MILLISECONDS, /* uint64_t, milliseconds in [min, max]: 2 (seconds), 2s, 250ms, 1m30s */
    CLI_INTERVAL,     /* uint64_t, milliseconds in [min, max]: 250, 250ms, 2s */
    CLI_SIZE,         /* uint64_t, bytes in [min, max]: 4096, 64KiB, 16MiB, 1GiB, 5kB */
    CLI_CHOICE,       /* int, the value of one of `choices` */
    CLI_PROPERTY      /* struct cli_strings, four a time: PACKET NAME VALUE, or, of a user property,
                         PACKET user-property NAME VALUE; the fourth is else NULL */
};

#define CLI_PROPERTY_WORDS 4u

/* Every value of a repeatable option, in order. An environment variable gives a comma list, unless
 * the option is `whole`. */
struct cli_strings {
    const char **items;
    size_t count;
};

struct cli_choice {
    const char *name; /* NULL ends the list */
    int value;
};

/* One option. A table ends with a zeroed entry. Several commands may share a table: the fields it
 * fills then lie in a struct that is the first member of each command's own. */
struct cli_option {
    const char *group;   /* heading in --help above this option; NULL: still the one before */
    const char *name;    /* without dashes */
    const char *synonym; /* another long name, or NULL */
    char alias;          /* short form, 0 = none */
    char also;           /* another one, for people who come from mosquitto_pub and mosquitto_sub */
    enum cli_type type;
    bool repeatable;                  /* CLI_STRING only; else the last one counts */
    bool whole;                       /* repeatable: commas are part of the value */
    bool is_text;                     /* the field is a const char *: somebody else reads it */
    bool endless;                     /* CLI_SECONDS: "never" stands for `max` */
    size_t offset;                    /* of the field, offsetof(struct ..., field) */
    uint64_t min, max;                /* numbers; both 0 = any */
    const struct cli_choice *choices; /* CLI_CHOICE */
    const char *value;                /* placeholder in --help ("TOPIC"); NULL for CLI_BOOL */
    const char *fallback;             /* default, as one would type it; NULL: zero, NULL or false */
    const char *env;                  /* NULL: MQTT5_ and the name in capitals; "": none */
    const char *help;
};

struct cli_command;

/* A command line, read. */
struct cli_call {
    const struct cli_command *command;
    void *options;               /* the command's options struct, filled */
    struct cli_strings operands; /* arguments that are not options */
    bool wants_help;             /* --help was given: nothing else was checked */
    unsigned char *given;        /* by position in the tables: enum cli_source */
    void *texts;                 /* copies made for comma lists */
};

enum cli_source { CLI_FROM_DEFAULT, CLI_FROM_FILE, CLI_FROM_ENVIRONMENT, CLI_FROM_FLAG };

#define CLI_OPTIONS_FILE "options-file" /* a command with this option reads a file of options */

/* Looks up an environment variable: getenv(), or a test's own. */
typedef const char *cli_env_fn(const char *name);

/* Reads @p argc arguments (the command's name not among them). Strings are borrowed from argv and
 * the environment. False after an error, with a sentence in @p error; cli_call_free() either way.
 */
bool cli_parse(const struct cli_command *command, int argc, char **argv, cli_env_fn *env,
               struct cli_call *call, char *error, size_t error_size);

void cli_call_free(struct cli_call *call);

/* Tells whether @p out may have colours: a terminal, and NO_COLOR is not set. */
bool cli_colours(FILE *out);

/* Tells where an option's value came from; @p name must be in the command's tables. */
enum cli_source cli_source_of(const struct cli_call *call, const char *name);

/* Tells whether the user gave the option at all: by flag, environment or file. */
bool cli_given(const struct cli_call *call, const char *name);

/* Prints --help: usage, options by group with defaults and variables, notes. */
void cli_print_help(const struct cli_command *command, FILE *out);

/* The option at @p position, counted through all tables of @p command, or NULL. */
const struct cli_option *cli_option_at(const struct cli_command *command, size_t position);

#define CLI_NAME_SIZE 64 /* bytes of an option's or variable's name, with the zero */

/* The environment variable of @p option; @p out may be used to make it. */
const char *cli_env_name(const struct cli_option *option, char out[CLI_NAME_SIZE]);

/* The name in @p names (NULL at the end) that @p text was probably meant to be, or NULL. */
const char *cli_suggest(const char *text, const char *const *names);

#endif
