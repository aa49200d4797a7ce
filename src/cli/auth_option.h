/* How `pub` and `sub` prove who they are: by password in CONNECT, or by enhanced authentication.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_AUTH_OPTION_H
#define M5_CLI_AUTH_OPTION_H

#include "cli/command.h"

#include <mqtt5/client.h>

/* A part of struct cli_connection, which cli_auth_options fill. */
struct cli_auth {
    int method; /* enum cli_auth_method, in auth_option.c */
    const char *token;
};

struct cli_connection;

extern const struct cli_option cli_auth_options[];

/* Checks what the table cannot. CLI_OK or CLI_USAGE, with the error printed. */
int cli_auth_check(const struct cli_call *call, const struct cli_connection *options);

/* Sets the method and its handler in @p config, and takes the password out of CONNECT where a
 * method proves it otherwise. False after an error, which is printed. */
bool cli_auth_set(const struct cli_call *call, const struct cli_connection *options,
                  struct mqtt5_client_options *config);

#endif
