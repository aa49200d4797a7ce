/* The list of commands: what main(), the help, the completions and the reference go by.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/command.h"

const struct cli_command *const cli_commands[] = {&cmd_broker,     &cmd_pub,   &cmd_sub, &cmd_bench,
                                                  &cmd_passwd,     &cmd_scram, &cmd_acl, &cmd_store,
                                                  &cmd_completion, NULL};
