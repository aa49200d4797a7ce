/* How `pub`, `sub` and `bench` reach the server: TLS, WebSocket, a Unix socket.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_TRANSPORT_H
#define M5_CLI_TRANSPORT_H

#include "cli/command.h"

#include <mqtt5/client.h>

/* A part of struct cli_connection, which cli_transport_options fill. */
struct cli_transport {
    bool tls, websocket, insecure;
    int version_min; /* enum mqtt5_tls_version */
    const char *ca_cert, *ca_path, *crl, *cert, *key, *key_password;
    const char *server_name, *alpn, *psk, *psk_identity, *key_log, *priorities;
    struct cli_strings headers;
    const char *subprotocol;
    const char *unix_path;
};

extern const struct cli_option cli_transport_options[];

/* Checks what the table cannot; @p url is --url, where that counts, else NULL. CLI_OK or CLI_USAGE,
 * with the error printed. */
int cli_transport_check(const struct cli_call *call, const struct cli_transport *options,
                        const char *url);

/* The scheme that --host is spoken to by: "mqtt", "mqtts", "ws" or "wss", and its usual port. */
const char *cli_transport_scheme(const struct cli_call *call, const struct cli_transport *options,
                                 unsigned *port);

/* Sets what @p config has of it; the strings stay the options'. */
void cli_transport_set(const struct cli_transport *options, struct mqtt5_client_options *config);

#endif
