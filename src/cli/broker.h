/* What the parts of `mqttv5 broker` share: its command line, its configuration, its reloads.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BROKER_H
#define M5_CLI_BROKER_H

#include "cli/command.h"
#include "host/config/config.h"
#include "host/log.h"

#define CLI_BROKER_FLAGS_MAX 128

/* A flag of the configuration's schema, as it was given: one text, or several. */
union broker_slot {
    const char *text;
    struct cli_strings texts;
};

/* What the command line says. */
struct broker_call {
    const char *config_file, *mosquitto_file, *output;
    bool check, json, verbose, debug, non_interactive;
    int format;
    union broker_slot slots[CLI_BROKER_FLAGS_MAX]; /* by position in cli_broker_flags() */
};

/* The flags of the schema as options that fill broker_call.slots; made when it is first called. */
const struct cli_option *cli_broker_flags(void);

/* Reads files, variables and flags into a configuration. NULL without memory; what is wrong is in
 * @p problems, and may be all there is. */
struct m5_config *cli_broker_configure(const struct cli_call *call, struct m5_problems *problems);

/* Prints problems, on standard error, or as JSON on standard output. */
void cli_broker_print(const struct cli_call *call, const struct m5_problems *problems);

/* The broker while it runs: signals, watched files, reloads. */
struct broker_watch;

/* NULL, with errno, when the system refuses. Blocks the signals; threads made later inherit that.
 * Takes @p config, which must be that of the options. */
struct broker_watch *cli_broker_watch_new(const struct cli_call *call, struct m5_config *config);

/* Waits for signals and files from now on. False, with errno, when the system refuses. */
bool cli_broker_watch_start(struct broker_watch *watch, struct mqtt5_broker *broker);
void cli_broker_watch_free(struct broker_watch *watch); /* and the configuration; accepts NULL */

#endif
