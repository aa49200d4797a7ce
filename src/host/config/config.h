/* The broker's configuration: out of a file (YAML or JSON), environment variables and flags into
 * the options of mqtt5_broker_new().
 *
 * One table of keys (host/config/schema.h) says what there is; reading, defaults, flags, variables,
 * generate-config and docs/configuration.md are made of it. How to use it: m5_config_new(), then in
 * the order of precedence, lowest first, m5_config_read_file() and m5_config_set() for variables
 * and for flags, then m5_config_finish(), which fills the options. What is wrong is collected, all
 * of it, in a list of problems.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CONFIG_CONFIG_H
#define M5_HOST_CONFIG_CONFIG_H

#include "host/config/problem.h"

#include <mqtt5/broker.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define M5_CONFIG_FILE_MAX (1u << 20) /* bytes of a configuration file */

struct m5_config;
struct m5_key;

/* A configuration of defaults only. NULL without memory. The allocator is borrowed. */
struct m5_config *m5_config_new(const struct mqtt5_allocator *allocator);
void m5_config_free(struct m5_config *config); /* accepts NULL */

/* Reads the file @p path; relative paths in it are relative to its folder. False when a problem of
 * level M5_PROBLEM_ERROR was added. */
bool m5_config_read_file(struct m5_config *config, const char *path, struct m5_problems *problems);

/* The same with @p text in memory; @p file is its name in problems, @p folder (may be NULL) where
 * relative paths start. */
bool m5_config_read_text(struct m5_config *config, const char *file, const char *folder,
                         struct mqtt5_bytes text, struct m5_problems *problems);

/* Reads a mosquitto.conf, and what it includes, instead of a file of ours: what cannot be taken
 * over is a problem each, of level M5_PROBLEM_WARNING where the broker does without it, and
 * M5_PROBLEM_ERROR where it would do something else than was asked. */
bool m5_config_read_mosquitto(struct m5_config *config, const char *path,
                              struct m5_problems *problems);

/* The same with a text in memory, which includes nothing. */
bool m5_config_read_mosquitto_text(struct m5_config *config, const char *file,
                                   struct mqtt5_bytes text, struct m5_problems *problems);

/* Gives the key that a flag or variable stands for the value @p text; lists are separated by
 * commas unless `count` texts are given. @p label ("--max-qos") names it in problems. */
bool m5_config_set(struct m5_config *config, const char *flag, const char *const *texts,
                   size_t count, const char *label, struct m5_problems *problems);

/* Checks what only the whole can tell and fills the options. Once, after the last of the above. */
bool m5_config_finish(struct m5_config *config, struct m5_problems *problems);

/* The options of a finished configuration, for mqtt5_broker_new(); they and everything they point
 * to belong to @p config. `log` and `allocator` are NULL. */
const struct mqtt5_broker_options *m5_config_options(const struct m5_config *config);

/* Adds a warning for everything that is insecure, though it works (docs/configuration.md lists
 * them). Looks at modes of files and at certificates; starts nothing. */
void m5_config_lint(const struct m5_config *config, struct m5_problems *problems);

/* Files that the configuration names, itself included, for a watch: absolute or relative as they
 * are opened. */
size_t m5_config_file_count(const struct m5_config *config);
const char *m5_config_file(const struct m5_config *config, size_t index);

/* False when the key `watch_files` says that a change of a file does not cause a reload. */
bool m5_config_watches(const struct m5_config *config);

/* One difference between two configurations. Listeners are told apart by their names (else by
 * where they listen). */
struct m5_config_change {
    enum { M5_CHANGE_SET, M5_CHANGE_ADDED, M5_CHANGE_REMOVED } kind;
    bool reloadable;  /* false: counts after a restart only */
    const char *path; /* "listeners[local].tls.cert_file" */
    const char *from; /* as one would write it; secrets are "..."; NULL: not set */
    const char *to;
};

typedef void m5_config_change_fn(void *ctx, const struct m5_config_change *change);

/* Calls @p each for every difference, in the order of the schema; returns how many there were. */
size_t m5_config_diff(const struct m5_config *before, const struct m5_config *after,
                      m5_config_change_fn *each, void *ctx);

enum m5_config_format { M5_CONFIG_YAML, M5_CONFIG_JSON };

/* Writes a configuration of all keys with their defaults; as YAML with explanations. What is
 * written can be read again and is then what it was. */
void m5_config_generate(enum m5_config_format format, FILE *out);

/* Writes the schema as JSON, from which docs/configuration.md is made. */
void m5_config_describe(FILE *out);

#endif
