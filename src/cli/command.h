/* What every command of `mqttv5` is made of: one descriptor in one file, listed in main.c.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_COMMAND_H
#define M5_CLI_COMMAND_H

#include "cli/options.h"

/* Exit codes of the program. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,    /* the work could not be done */
    CLI_USAGE = 2,     /* the command line makes no sense */
    CLI_TIMED_OUT = 27 /* time was over before the work was done; as mosquitto_sub has it */
};

struct cli_command {
    const char *name;
    const char *summary;                     /* one line, lower case, no full stop */
    const char *usage;                       /* what follows the name: "[options]" */
    const char *notes;                       /* shown below the options; may be NULL */
    const char *exits;                       /* exit codes beyond 0, 1 and 2; may be NULL */
    const struct cli_option *const *tables;  /* NULL at the end */
    const struct cli_option *(*made)(void);  /* a table behind them, made at run time, or NULL */
    size_t options_size;                     /* of the struct that the tables fill */
    size_t operands_max;                     /* arguments that are not options */
    int (*run)(const struct cli_call *call); /* gives an enum cli_exit */
};

extern const struct cli_command cmd_broker;
extern const struct cli_command cmd_pub;
extern const struct cli_command cmd_sub;
extern const struct cli_command cmd_bench;
extern const struct cli_command cmd_passwd;
extern const struct cli_command cmd_scram;
extern const struct cli_command cmd_acl;
extern const struct cli_command cmd_store;
extern const struct cli_command cmd_completion;

extern const struct cli_command *const cli_commands[]; /* all of them; NULL at the end */

/* Prints every command and option as JSON. */
void cli_print_reference(FILE *out);

/* Prints "mqttv5 pub: ..." and a line feed to standard error. */
void cli_error(const struct cli_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* As cli_error(); gives CLI_USAGE, so that a check can end with `return cli_usage(...)`. */
int cli_usage(const struct cli_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* As cli_error(); gives CLI_FAILED. */
int cli_failed(const struct cli_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A status line for people, on standard error and without a prefix. */
void cli_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
