/* What `pub` and `sub` share: the options of a connection, and making one of them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_CONNECTION_H
#define M5_CLI_CONNECTION_H

#include "cli/auth_option.h"
#include "cli/command.h"
#include "cli/transport.h"

#include <mqtt5/client.h>

/* First member of the options of each command that connects. */
struct cli_connection {
    const char *url, *host;
    uint64_t port;
    const char *username, *password, *client_id, *id_prefix;
    bool no_clean_start;
    uint64_t session_expiry_s, keep_alive_s, connect_timeout_ms;
    uint64_t inflight_max, receive_maximum;
    int version; /* enum mqtt5_version */
    bool auto_reconnect;
    uint64_t reconnect_delay_ms, reconnect_delay_max_ms, reconnect_attempts;
    struct cli_strings properties; /* of CLI_PROPERTY */
    const char *options_file;
    bool non_interactive, quiet;
    const char *will_topic, *will_message;
    uint64_t will_qos, will_delay_s;
    bool will_retain;
    struct cli_transport transport;
    struct cli_auth auth;
};

extern const struct cli_option cli_server_options[];     /* where to connect to, as whom */
extern const struct cli_option cli_connection_options[]; /* the rest */

/* Checks what the table cannot; @p packets are those of -D. Gives CLI_OK or CLI_USAGE, with the
 * error printed. */
struct cli_packet_name;
int cli_connection_check(const struct cli_call *call, const struct cli_connection *options,
                         const struct cli_packet_name *packets);

#define CLI_DISCONNECT_WAIT_MS 5000 /* for the last bytes to go out */
#define CLI_URL_SIZE           4096

/* Where to connect to: --url, --unix, or --host and --port. A topic behind the server
 * ("mqtt://host/a/b") is taken off and written to @p topic (NULL: there must be none; CLI_URL_SIZE
 * bytes), "" when there is none. Gives CLI_OK or CLI_USAGE, with the error printed. */
int cli_connection_url(const struct cli_call *call, const struct cli_connection *options, char *url,
                       char *topic);

/* Makes a client by @p options and connects it. The callbacks and own_thread of @p config count,
 * the rest is set here; *client is set before anything can be called back. False after an error,
 * which is printed; then there is no client. */
bool cli_connect(const struct cli_call *call, const struct cli_connection *options,
                 struct mqtt5_client_options *config, struct mqtt5_client **client);

/* Says on standard error what @p change of a client that reconnects means to people. */
void cli_connection_status(const struct cli_call *call, const struct cli_connection *options,
                           struct mqtt5_client *client, const struct mqtt5_client_change *change);

/* Sends DISCONNECT, with the properties of -D disconnect, and waits until it is out. */
void cli_disconnect(const struct cli_call *call, const struct cli_connection *options,
                    struct mqtt5_client *client);

/* Prints "connection lost: ..." with what the client knows; gives CLI_FAILED. */
int cli_connection_lost(const struct cli_call *call, struct mqtt5_client *client);

/* The words for a reason code of a refusal; 3.1.1 has only 0x80, which says nothing. */
const char *cli_reason_text(uint8_t reason);

/* Lets SIGINT and SIGTERM set a flag and wake @p client (NULL: nobody) instead of ending the
 * process, and lets a broken pipe be an error of write() only. */
void cli_signals_catch(struct mqtt5_client *client);
bool cli_signals_caught(void);

/* A descriptor that is readable from the first such signal on, for poll(2); -1 before
 * cli_signals_catch(). */
int cli_signals_fd(void);

#endif
