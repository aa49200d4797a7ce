/* What `pub` and `sub` share: the options of a connection, and making one of them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_CONNECTION_H
#define M5_CLI_CONNECTION_H

#include "cli/command.h"

#include <mqtt5/client.h>

/* First member of the options of each command that connects. */
struct cli_connection {
    const char *url, *host;
    uint64_t port;
    const char *username, *password, *client_id;
    bool no_clean_start;
    uint64_t session_expiry_s, keep_alive_s;
    int version; /* enum mqtt5_version */
    const char *will_topic, *will_message;
    uint64_t will_qos, will_delay_s;
    bool will_retain;
};

extern const struct cli_option cli_connection_options[];

/* Checks what the table cannot; gives CLI_OK or CLI_USAGE, with the error printed. */
int cli_connection_check(const struct cli_call *call, const struct cli_connection *options);

#define CLI_DISCONNECT_WAIT_MS 5000 /* for the last bytes to go out */

/* Makes a client by @p options and connects it. The callbacks and own_thread of @p config count,
 * the rest is set here; *client is set before anything can be called back. False after an error,
 * which is printed; then there is no client. */
bool cli_connect(const struct cli_call *call, const struct cli_connection *options,
                 struct mqtt5_client_config *config, struct mqtt5_client **client);

/* Prints "connection lost: ..." with what the client knows; gives CLI_FAILED. */
int cli_connection_lost(const struct cli_call *call, struct mqtt5_client *client);

/* The words for a reason code of a refusal; 3.1.1 has only 0x80, which says nothing. */
const char *cli_reason_text(uint8_t reason);

/* Lets SIGINT and SIGTERM set a flag and wake @p client (NULL: nobody) instead of ending the
 * process, and lets a broken pipe be an error of write() only. */
void cli_signals_catch(struct mqtt5_client *client);
bool cli_signals_caught(void);

#endif
