/* How `pub`, `sub` and `bench` reach the server: TLS, WebSocket, a Unix socket.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/transport.h"

#include "cli/connection.h"
#include "transport/websocket/websocket.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define FIELD(name) offsetof(struct cli_connection, transport.name)

static const struct cli_choice tls_versions[] = {
    {"1.2", MQTT5_TLS_1_2},
    {"1.3", MQTT5_TLS_1_3},
    {"tlsv1.2", MQTT5_TLS_1_2},
    {"tlsv1.3", MQTT5_TLS_1_3},
    {NULL, 0},
};

const struct cli_option cli_transport_options[] = {
    {.group = "TLS (mqtts:// and wss://, or --host with one of these)",
     .name = "tls",
     .synonym = "tls-use-os-certs",
     .type = CLI_BOOL,
     .offset = FIELD(tls),
     .help = "speak TLS; the authorities of the system vouch for the server"},
    {.name = "ca-cert",
     .synonym = "cafile",
     .type = CLI_STRING,
     .offset = FIELD(ca_cert),
     .value = "FILE",
     .help = "who may vouch for the server instead, PEM or DER"},
    {.name = "capath",
     .type = CLI_STRING,
     .offset = FIELD(ca_path),
     .value = "FOLDER",
     .help = "the same, all certificates of a folder"},
    {.name = "cert",
     .type = CLI_STRING,
     .offset = FIELD(cert),
     .value = "FILE",
     .help = "our certificate, then its chain; PEM or DER"},
    {.name = "key",
     .type = CLI_STRING,
     .offset = FIELD(key),
     .value = "FILE",
     .help = "its private key; without it the one in the file of --cert"},
    {.name = "key-password",
     .type = CLI_STRING,
     .offset = FIELD(key_password),
     .value = "TEXT",
     .help = "of an encrypted key (others can see it in a process list: prefer the variable)"},
    {.name = "insecure",
     .type = CLI_BOOL,
     .offset = FIELD(insecure),
     .help = "do not verify the server: anybody between us can read and change everything"},
    {.name = "tls-version",
     .type = CLI_CHOICE,
     .offset = FIELD(version_min),
     .choices = tls_versions,
     .value = "VERSION",
     .fallback = "1.2",
     .help = "oldest version that is spoken: 1.2 or 1.3"},
    {.name = "tls-server-name",
     .type = CLI_STRING,
     .offset = FIELD(server_name),
     .value = "NAME",
     .help = "the name that the server has to prove, when it is not that of the address"},
    {.name = "alpn",
     .synonym = "tls-alpn",
     .type = CLI_STRING,
     .offset = FIELD(alpn),
     .value = "NAME",
     .help = "protocol to ask for, '' = none; without it mqtt, at AWS IoT on port 443 "
             "x-amzn-mqtt-ca"},
    {.name = "crl",
     .type = CLI_STRING,
     .offset = FIELD(crl),
     .value = "FILE",
     .help = "revoked server certificates, PEM or DER"},
    {.name = "psk",
     .type = CLI_STRING,
     .offset = FIELD(psk),
     .value = "HEX",
     .help = "pre-shared key instead of certificates (prefer the variable)"},
    {.name = "psk-identity",
     .type = CLI_STRING,
     .offset = FIELD(psk_identity),
     .value = "NAME",
     .help = "whose key that is"},
    {.name = "tls-priorities",
     .type = CLI_STRING,
     .offset = FIELD(priorities),
     .value = "TEXT",
     .help = "priority string of GnuTLS: ciphers and versions, instead of ours"},
    {.name = "tls-key-log",
     .type = CLI_STRING,
     .offset = FIELD(key_log),
     .value = "FILE",
     .help = "write the secrets of connections there, to look into them with Wireshark"},
    {.group = "WebSocket and Unix sockets",
     .name = "ws",
     .type = CLI_BOOL,
     .offset = FIELD(websocket),
     .help = "speak WebSocket to --host, at path /mqtt; ws:// and wss:// URLs have any path"},
    {.name = "ws-header",
     .type = CLI_STRING,
     .repeatable = true,
     .whole = true,
     .offset = FIELD(headers),
     .value = "NAME:VALUE",
     .help =
         "a header to send along with the request, as: --ws-header 'Authorization: Bearer abc'"},
    {.name = "ws-subprotocol",
     .type = CLI_STRING,
     .offset = FIELD(subprotocol),
     .value = "NAME",
     .fallback = "mqtt",
     .help = "subprotocol to ask for; '' = none"},
    {.name = "unix",
     .type = CLI_STRING,
     .offset = FIELD(unix_path),
     .value = "PATH",
     .help = "connect to this Unix socket instead of --host and --port"},
    {0},
};

/* ---- what goes together ---- */

/* Options that want TLS. */
static const char *const of_tls[] = {"tls",  "ca-cert",         "capath",       "cert",
                                     "key",  "key-password",    "insecure",     "tls-version",
                                     "alpn", "tls-server-name", "psk-identity", "psk",
                                     "crl",  "tls-priorities",  "tls-key-log",  NULL};
static const char *const of_websocket[] = {"ws", "ws-header", "ws-subprotocol", NULL};

/* The first of @p names that was given at least as directly as @p source, or NULL. */
static const char *find_given(const struct cli_call *call, const char *const *names,
                              enum cli_source source)
{
    for (; *names != NULL; names++) {
        if (cli_source_of(call, *names) >= source)
            return *names;
    }
    return NULL;
}

static bool begins(const char *url, const char *scheme)
{
    return strncasecmp(url, scheme, strlen(scheme)) == 0;
}

/* A flag that the URL leaves no use for is a mistake, and one about TLS a dangerous one. Variables
 * and files of options may hold what other URLs need. */
static int check_url(const struct cli_call *call, const char *url)
{
    const bool ws = begins(url, "ws://"), wss = begins(url, "wss://");
    const bool tls = wss || begins(url, "mqtts://") || begins(url, "ssl://") ||
                     begins(url, "tls://") || begins(url, "quic");
    const char *name = find_given(call, of_tls, CLI_FROM_FLAG);
    if (name != NULL && !tls)
        return cli_usage(call, "--%s is about TLS, which %s has not: write %s://", name, url,
                         ws ? "wss" : "mqtts");
    name = find_given(call, of_websocket, CLI_FROM_FLAG);
    if (name != NULL && !ws && !wss)
        return cli_usage(call, "--%s is about WebSocket: write %s://", name, tls ? "wss" : "ws");
    return CLI_OK;
}

static int check_headers(const struct cli_call *call, const struct cli_strings *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        const char *wrong = m5_websocket_header_wrong(headers->items[i]);
        if (wrong != NULL)
            return cli_usage(call, "--ws-header '%.60s': %s", headers->items[i], wrong);
    }
    return CLI_OK;
}

int cli_transport_check(const struct cli_call *call, const struct cli_transport *options,
                        const char *url)
{
    if (options->ca_cert != NULL && options->ca_path != NULL)
        return cli_usage(call, "give one of --ca-cert and --capath");
    if (options->key != NULL && options->cert == NULL)
        return cli_usage(call, "--key is the key of a certificate: give --cert too");
    if ((options->psk != NULL) != (options->psk_identity != NULL))
        return cli_usage(call, "--psk and --psk-identity need each other");
    if (check_headers(call, &options->headers) != CLI_OK)
        return CLI_USAGE;
    const enum cli_source host = cli_source_of(call, "host"), port = cli_source_of(call, "port");
    if (cli_source_of(call, "unix") == CLI_FROM_FLAG) {
        if (cli_source_of(call, "url") == CLI_FROM_FLAG || host == CLI_FROM_FLAG ||
            port == CLI_FROM_FLAG)
            return cli_usage(call, "--unix stands for --url, --host and --port: give one of them");
        return check_url(call, "unix://");
    }
    return url != NULL ? check_url(call, url) : CLI_OK;
}

const char *cli_transport_scheme(const struct cli_call *call, const struct cli_transport *options,
                                 unsigned *port)
{
    const bool tls = find_given(call, of_tls, CLI_FROM_FILE) != NULL;
    if (options->websocket) {
        *port = tls ? 443 : 80;
        return tls ? "wss" : "ws";
    }
    *port = tls ? 8883 : 1883;
    return tls ? "mqtts" : "mqtt";
}

void cli_transport_set(const struct cli_transport *options, struct mqtt5_client_options *config)
{
    config->tls = (struct mqtt5_tls_client_options){
        .ca_file = options->ca_cert != NULL ? options->ca_cert : options->ca_path,
        .crl_file = options->crl,
        .credential = {.certificate_file = options->cert,
                       .key_file = options->key,
                       .key_password = options->key_password},
        .server_name = options->server_name,
        .alpn = options->alpn,
        .psk_identity = options->psk_identity,
        .psk_key = options->psk,
        .version_min = (enum mqtt5_tls_version)options->version_min,
        .priorities = options->priorities,
        .keylog_file = options->key_log,
        .insecure = options->insecure,
    };
    config->websocket = (struct mqtt5_client_websocket){
        .headers = options->headers.items,
        .header_count = options->headers.count,
        .subprotocol = options->subprotocol,
    };
}
