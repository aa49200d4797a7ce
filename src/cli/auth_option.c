/* How `pub` and `sub` prove who they are.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/auth_option.h"

#include "cli/connection.h"
#include "cli/text.h"

#include <mqtt5/client_auth.h>

#include <stddef.h>

#define FIELD(name) offsetof(struct cli_connection, auth.name)

enum cli_auth_method { AUTH_PASSWORD, AUTH_SCRAM, AUTH_SCRAM_512, AUTH_PLAIN, AUTH_JWT };

static const struct cli_choice methods[] = {
    {"password", AUTH_PASSWORD},
    {"scram", AUTH_SCRAM},
    {"scram-sha-256", AUTH_SCRAM},
    {"plain", AUTH_PLAIN},
    {"scram-sha-512", AUTH_SCRAM_512},
    {"jwt", AUTH_JWT},
    {NULL, 0},
};

const struct cli_option cli_auth_options[] = {
    {.group = "Authentication",
     .name = "auth-method",
     .type = CLI_CHOICE,
     .offset = FIELD(method),
     .choices = methods,
     .value = "METHOD",
     .fallback = "password",
     .help = "how --username and --password, or --jwt-token, are proved: password (in CONNECT), "
             "scram or scram-sha-512 (without showing the password), plain (over TLS), jwt"},
    {.name = "jwt-token",
     .type = CLI_STRING,
     .offset = FIELD(token),
     .value = "TOKEN",
     .help = "JSON Web Token, for jwt (others can see it in a process list: prefer the variable)"},
    {0},
};

int cli_auth_check(const struct cli_call *call, const struct cli_connection *options)
{
    const int method = options->auth.method;
    if (method == AUTH_PASSWORD)
        return options->auth.token == NULL || !cli_given(call, "jwt-token")
                   ? CLI_OK
                   : cli_usage(call, "--jwt-token needs --auth-method jwt");
    if (options->version != MQTT5_VERSION_5)
        return cli_usage(call, "--auth-method needs --protocol-version 5");
    if (method == AUTH_JWT)
        return options->auth.token != NULL ? CLI_OK
                                           : cli_usage(call, "--auth-method jwt needs --jwt-token");
    return options->username != NULL && options->password != NULL
               ? CLI_OK
               : cli_usage(call, "--auth-method needs --username and --password");
}

static enum mqtt5_client_auth_method method_of(int method)
{
    switch (method) {
    case AUTH_SCRAM: return MQTT5_CLIENT_AUTH_SCRAM_SHA_256;
    case AUTH_SCRAM_512: return MQTT5_CLIENT_AUTH_SCRAM_SHA_512;
    case AUTH_PLAIN: return MQTT5_CLIENT_AUTH_PLAIN;
    default: return MQTT5_CLIENT_AUTH_JWT;
    }
}

/* For the life of the process, which has one client. */
static struct mqtt5_client_auth *in_use;

bool cli_auth_set(const struct cli_call *call, const struct cli_connection *options,
                  struct mqtt5_client_options *config)
{
    const int method = options->auth.method;
    if (method == AUTH_PASSWORD)
        return true;
    const char *secret = method == AUTH_JWT ? options->auth.token : options->password;
    mqtt5_client_auth_free(in_use);
    const enum mqtt5_error error =
        mqtt5_client_auth_new(method_of(method), options->username, cli_bytes(secret), &in_use);
    if (error != MQTT5_OK) {
        cli_error(call, "--auth-method: %s", mqtt5_error_text(error));
        return false;
    }
    mqtt5_client_auth_use(in_use, config);
    config->password = (struct mqtt5_bytes){0};
    return true;
}
