/* The keys of listeners: transports, TLS, WebSocket, Unix sockets, PROXY.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/sections.h"

#define PACKET_MAX 268435460u

static const struct m5_choice transports[] = {
    {"tcp", MQTT5_TRANSPORT_TCP}, {"tls", MQTT5_TRANSPORT_TLS},   {"ws", MQTT5_TRANSPORT_WS},
    {"wss", MQTT5_TRANSPORT_WSS}, {"unix", MQTT5_TRANSPORT_UNIX}, {NULL, 0}};
static const struct m5_choice proxy_versions[] = {{"off", MQTT5_PROXY_OFF},
                                                  {"v1", MQTT5_PROXY_V1},
                                                  {"v2", MQTT5_PROXY_V2},
                                                  {"any", MQTT5_PROXY_ANY},
                                                  {NULL, 0}};
static const struct m5_choice client_certificates[] = {
    {"none", 1 + MQTT5_TLS_CLIENT_CERTIFICATE_NONE},
    {"optional", 1 + MQTT5_TLS_CLIENT_CERTIFICATE_OPTIONAL},
    {"required", 1 + MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED},
    {NULL, 0}};
static const struct m5_choice identities[] = {{"none", MQTT5_TLS_IDENTITY_NONE},
                                              {"cn", MQTT5_TLS_IDENTITY_CN},
                                              {"san", MQTT5_TLS_IDENTITY_SAN},
                                              {"fingerprint", MQTT5_TLS_IDENTITY_FINGERPRINT},
                                              {NULL, 0}};
static const struct m5_choice versions[] = {
    {"1.2", MQTT5_TLS_1_2}, {"1.3", MQTT5_TLS_1_3}, {NULL, 0}};

/* ---- TLS ---- */

/* One certificate: X(type, member before the fields, flags or not). */
#define CERTIFICATE_KEYS(what, member, own_flag, key_flag)                                     \
    {.name = "cert_file",                                                                      \
     .also = "certificate_file",                                                               \
     .type = M5_KEY_PATH,                                                                      \
     M5_AT(what, member.credential.certificate_file),                                          \
     .flag = own_flag,                                                                         \
     .value = "FILE",                                                                          \
     .sample = "server.pem",                                                                   \
     .help = "certificate of the server, then its chain; PEM or DER"},                         \
        {.name = "key_file",                                                                   \
         .type = M5_KEY_PATH,                                                                  \
         M5_AT(what, member.credential.key_file),                                              \
         .flag = key_flag,                                                                     \
         .value = "FILE",                                                                      \
         .sample = "server-key.pem",                                                           \
         .help = "its private key; when it is missing, the key is in cert_file, too"},         \
        {.name = "key_password_file",                                                          \
         .type = M5_KEY_PATH,                                                                  \
         M5_AT(what, member.key_password_file),                                                \
         .sample = "server-key.pass",                                                          \
         .help = "file whose first line is the password of an encrypted key"},                 \
        {.name = "key_password",                                                               \
         .type = M5_KEY_SECRET,                                                                \
         M5_AT(what, member.credential.key_password),                                          \
         .value = "TEXT",                                                                      \
         .sample = "secret",                                                                   \
         .help = "that password; better in a file of its own: key_password_file"},             \
    {                                                                                          \
        .name = "ocsp_file", .type = M5_KEY_PATH, M5_AT(what, member.credential.ocsp_file),    \
        .sample = "server.ocsp", .help = "OCSP response to staple, DER; read again by reloads" \
    }

static const struct m5_key certificate_keys[] = {
    {.name = "cert_file",
     .also = "certificate_file",
     .type = M5_KEY_PATH,
     M5_AT(m5_config_certificate, credential.certificate_file),
     .sample = "other.pem",
     .help = "certificate of the server, then its chain; PEM or DER"},
    {.name = "key_file",
     .type = M5_KEY_PATH,
     M5_AT(m5_config_certificate, credential.key_file),
     .sample = "other-key.pem",
     .help = "its private key; when it is missing, the key is in cert_file, too"},
    {.name = "key_password_file",
     .type = M5_KEY_PATH,
     M5_AT(m5_config_certificate, key_password_file),
     .sample = "other-key.pass",
     .help = "file whose first line is the password of an encrypted key"},
    {.name = "key_password",
     .type = M5_KEY_SECRET,
     M5_AT(m5_config_certificate, credential.key_password),
     .sample = "secret",
     .help = "that password; better in a file of its own: key_password_file"},
    {.name = "ocsp_file",
     .type = M5_KEY_PATH,
     M5_AT(m5_config_certificate, credential.ocsp_file),
     .sample = "other.ocsp",
     .help = "OCSP response to staple, DER; read again by reloads"},
    {.name = NULL},
};
static const struct m5_section certificate = {.keys = certificate_keys,
                                              .size = sizeof(struct m5_config_certificate)};

/* What both kinds of TLS sections have; of the short form they are flags, too. */
#define TLS_KEYS                                                                                  \
    CERTIFICATE_KEYS(m5_config_tls, own, "tls-cert", "tls-key"),                                  \
        {.name = "certificates",                                                                  \
         .type = M5_KEY_LIST,                                                                     \
         M5_MANY(m5_config_tls, certificates, certificate_count),                                 \
         .section = &certificate,                                                                 \
         .most = 64,                                                                              \
         .help = "further certificates: the server name that a client asks for (SNI) picks one"}, \
        {.name = "ca_file",                                                                       \
         .type = M5_KEY_PATH,                                                                     \
         M5_AT(m5_config_tls, options.ca_file),                                                   \
         .flag = "tls-ca-cert",                                                                   \
         .value = "FILE",                                                                         \
         .sample = "clients-ca.pem",                                                              \
         .help = "who vouches for client certificates: a file or a folder"},                      \
        {.name = "crl_file",                                                                      \
         .type = M5_KEY_PATH,                                                                     \
         M5_AT(m5_config_tls, options.crl_file),                                                  \
         .flag = "tls-crl",                                                                       \
         .value = "FILE",                                                                         \
         .sample = "clients.crl",                                                                 \
         .help = "revoked client certificates, PEM or DER"},                                      \
        {.name = "require_client_cert",                                                           \
         .type = M5_KEY_SWITCH,                                                                   \
         M5_AT(m5_config_tls, require_client_cert),                                               \
         .flag = "tls-require-client-cert",                                                       \
         .sample = "true",                                                                        \
         .help = "refuse clients without a certificate; false: ask for one if there is a "        \
                 "ca_file"},                                                                      \
        {.name = "client_certificate",                                                            \
         .type = M5_KEY_CHOICE,                                                                   \
         M5_AT(m5_config_tls, client_certificate),                                                \
         .choices = client_certificates,                                                          \
         .sample = "required",                                                                    \
         .help = "the same in one word, instead of require_client_cert"},                         \
        {.name = "identity",                                                                      \
         .type = M5_KEY_CHOICE,                                                                   \
         M5_AT(m5_config_tls, options.identity),                                                  \
         .choices = identities,                                                                   \
         .standard = "none",                                                                      \
         .flag = "tls-identity",                                                                  \
         .value = "none|cn|san|fingerprint",                                                      \
         .help = "what of a verified client certificate is the user name"},                       \
        {.name = "identity_file",                                                                 \
         .type = M5_KEY_PATH,                                                                     \
         M5_AT(m5_config_tls, options.identity_file),                                             \
         .flag = "tls-identity-file",                                                             \
         .value = "FILE",                                                                         \
         .sample = "fingerprints.txt",                                                            \
         .help = "lines fingerprint:username, for identity: fingerprint"},                        \
        {.name = "psk_file",                                                                      \
         .type = M5_KEY_PATH,                                                                     \
         M5_AT(m5_config_tls, options.psk_file),                                                  \
         .flag = "tls-psk-file",                                                                  \
         .value = "FILE",                                                                         \
         .sample = "psk.txt",                                                                     \
         .help = "pre-shared keys, lines identity:key in hex; no certificate is needed then"},    \
        {.name = "version_min",                                                                   \
         .type = M5_KEY_CHOICE,                                                                   \
         M5_AT(m5_config_tls, options.version_min),                                               \
         .choices = versions,                                                                     \
         .standard = "1.2",                                                                       \
         .flag = "tls-version-min",                                                               \
         .value = "1.2|1.3",                                                                      \
         .help = "oldest version of TLS that is spoken"},                                         \
        {.name = "priorities",                                                                    \
         .type = M5_KEY_TEXT,                                                                     \
         M5_AT(m5_config_tls, options.priorities),                                                \
         .flag = "tls-priorities",                                                                \
         .value = "TEXT",                                                                         \
         .sample = "'SECURE192:-VERS-ALL:+VERS-TLS1.3'",                                          \
         .help = "priority string of GnuTLS: ciphers and versions, instead of ours"},             \
        {.name = "session_tickets",                                                               \
         .type = M5_KEY_BOOL,                                                                     \
         M5_AT(m5_config_tls, options.session_tickets),                                           \
         .standard = "true",                                                                      \
         .flag = "no-tls-session-tickets",                                                        \
         .flag_help = "make every client do a full handshake",                                    \
         .is_inverted = true,                                                                     \
         .help = "clients that return need no full handshake"},                                   \
    {                                                                                             \
        .name = "keylog_file", .type = M5_KEY_PATH, M5_AT(m5_config_tls, options.keylog_file),    \
        .is_output = true, .sample = "keys.log",                                                  \
        .help = "where to write the secrets of connections, for debugging"                        \
    }

static const struct m5_key tls_keys[] = {TLS_KEYS, {.name = NULL}};
static const struct m5_section tls = {
    .keys = tls_keys, .size = sizeof(struct m5_config_tls), .has_place = true};

static const struct m5_key tls_config_keys[] = {
    {.name = "bind_addresses",
     .type = M5_KEY_TEXTS,
     M5_TEXTS(m5_config_tls, bind),
     .check = m5_check_endpoint,
     .most = M5_CONFIG_LISTENERS_MAX,
     .flag = "tls-host",
     .env = "MQTT5_TLS_BIND",
     .value = "ADDRESS:PORT",
     .sample = "['0.0.0.0:8883', '[::]:8883']",
     .help = "where to listen for MQTT over TLS (with a certificate, but no address: "
             "127.0.0.1:8883 and [::1]:8883)"},
    TLS_KEYS,
    {.name = NULL},
};
const struct m5_section m5_section_tls_config = {
    .keys = tls_config_keys, .size = sizeof(struct m5_config_tls), .has_place = true};

/* ---- WebSocket ---- */

#define WEBSOCKET_KEYS(what, member)                                                             \
    {.name = "path",                                                                             \
     .type = M5_KEY_TEXT,                                                                        \
     M5_AT(what, member.path),                                                                   \
     .flag = "ws-path",                                                                          \
     .value = "PATH",                                                                            \
     .sample = "/mqtt",                                                                          \
     .help = "path of the URL, /mqtt when not given; others are answered 404"},                  \
        {.name = "origins",                                                                      \
         .also = "allowed_origins",                                                              \
         .type = M5_KEY_TEXTS,                                                                   \
         M5_MANY(what, member.origins, member.origin_count),                                     \
         .flag = "ws-origin",                                                                    \
         .value = "ORIGIN",                                                                      \
         .sample = "['https://example.com']",                                                    \
         .help = "web sites whose pages may connect (others: 403); none = all"},                 \
        {.name = "subprotocol_optional",                                                         \
         .type = M5_KEY_BOOL,                                                                    \
         M5_AT(what, member.subprotocol_optional),                                               \
         .standard = "false",                                                                    \
         .help = "serve clients that do not offer the subprotocol mqtt"},                        \
    {                                                                                            \
        .name = "forwarders", .type = M5_KEY_TEXTS,                                              \
        M5_MANY(what, member.forwarders, member.forwarder_count), .check = m5_check_network,     \
        .flag = "ws-forwarder", .value = "NETWORK", .sample = "[10.0.0.0/8]",                    \
        .help = "networks of proxies whose X-Forwarded-For or Forwarded is believed; none = of " \
                "nobody"                                                                         \
    }

static const struct m5_key websocket_keys[] = {WEBSOCKET_KEYS(mqtt5_listener, websocket),
                                               {.name = NULL}};
static const struct m5_section websocket = {.keys = websocket_keys,
                                            .size = sizeof(struct mqtt5_listener)};

#define SUBPROTOCOL_KEY                                                                      \
    {                                                                                        \
        .name = "subprotocol", .type = M5_KEY_TEXT, M5_AT(m5_config_websocket, subprotocol), \
        .standard = "mqtt", .help = "it can only be mqtt, as the specification says"         \
    }

static const struct m5_key websocket_config_keys[] = {
    {.name = "bind_addresses",
     .type = M5_KEY_TEXTS,
     M5_TEXTS(m5_config_websocket, bind),
     .check = m5_check_endpoint,
     .most = M5_CONFIG_LISTENERS_MAX,
     .flag = "ws-host",
     .env = "MQTT5_WS_BIND",
     .value = "ADDRESS:PORT",
     .sample = "['127.0.0.1:8080', '[::1]:8080']",
     .help = "where to listen for MQTT over WebSocket (with the section, but no address: "
             "127.0.0.1:8080 and [::1]:8080)"},
    {.name = "use_tls",
     .type = M5_KEY_BOOL,
     M5_AT(m5_config_websocket, use_tls),
     .standard = "false",
     .help = "the same as websocket_tls_config"},
    SUBPROTOCOL_KEY,
    WEBSOCKET_KEYS(m5_config_websocket, options),
    {.name = NULL},
};
const struct m5_section m5_section_websocket_config = {
    .keys = websocket_config_keys, .size = sizeof(struct m5_config_websocket), .has_place = true};

static const struct m5_key websocket_tls_config_keys[] = {
    {.name = "bind_addresses",
     .type = M5_KEY_TEXTS,
     M5_TEXTS(m5_config_websocket, bind),
     .check = m5_check_endpoint,
     .most = M5_CONFIG_LISTENERS_MAX,
     .flag = "ws-tls-host",
     .env = "MQTT5_WS_TLS_BIND",
     .value = "ADDRESS:PORT",
     .sample = "['0.0.0.0:8443', '[::]:8443']",
     .help = "where to listen for MQTT over WebSocket over TLS (with the section, but no address: "
             "127.0.0.1:8443 and [::1]:8443)"},
    {.name = "use_tls",
     .type = M5_KEY_BOOL,
     M5_AT(m5_config_websocket, use_tls),
     .standard = "true",
     .help = "it can only be true here"},
    SUBPROTOCOL_KEY,
    {.name = "path",
     .type = M5_KEY_TEXT,
     M5_AT(m5_config_websocket, options.path),
     .value = "PATH",
     .sample = "/mqtt",
     .help = "path of the URL; that of websocket_config when not given"},
    {.name = "origins",
     .also = "allowed_origins",
     .type = M5_KEY_TEXTS,
     M5_MANY(m5_config_websocket, options.origins, options.origin_count),
     .sample = "['https://example.com']",
     .help = "web sites whose pages may connect; those of websocket_config when not given"},
    {.name = "subprotocol_optional",
     .type = M5_KEY_BOOL,
     M5_AT(m5_config_websocket, options.subprotocol_optional),
     .standard = "false",
     .help = "serve clients that do not offer the subprotocol mqtt"},
    {.name = "forwarders",
     .type = M5_KEY_TEXTS,
     M5_MANY(m5_config_websocket, options.forwarders, options.forwarder_count),
     .check = m5_check_network,
     .sample = "[10.0.0.0/8]",
     .help = "networks of proxies that are believed; those of websocket_config when not given"},
    {.name = NULL},
};
const struct m5_section m5_section_websocket_tls_config = {.keys = websocket_tls_config_keys,
                                                           .size =
                                                               sizeof(struct m5_config_websocket),
                                                           .has_place = true};

/* ---- Unix sockets ---- */

#define UNIX_KEYS(what, member)                                                                \
    {.name = "path",                                                                           \
     .type = M5_KEY_PATH,                                                                      \
     M5_AT(what, member.path),                                                                 \
     .is_output = true,                                                                        \
     .flag = "unix",                                                                           \
     .value = "PATH",                                                                          \
     .sample = "/run/mqttv5/socket",                                                           \
     .help = "Unix socket to listen on; one that begins with @ is in the abstract namespace, " \
             "which has no owner or mode"},                                                    \
        {.name = "owner",                                                                      \
         .type = M5_KEY_TEXT,                                                                  \
         M5_AT(what, member.owner),                                                            \
         .value = "USER",                                                                      \
         .sample = "mqtt",                                                                     \
         .help = "user, by name or number, that the socket's file belongs to"},                \
        {.name = "group",                                                                      \
         .type = M5_KEY_TEXT,                                                                  \
         M5_AT(what, member.group),                                                            \
         .value = "GROUP",                                                                     \
         .sample = "mqtt",                                                                     \
         .help = "group of the socket's file"},                                                \
    {                                                                                          \
        .name = "mode", .type = M5_KEY_MODE, M5_AT(what, member.mode), .most = 0777,           \
        .standard = "0660", .help = "access bits of the socket's file, in octal"               \
    }

static const struct m5_key unix_keys[] = {UNIX_KEYS(m5_config_unix, listener), {.name = NULL}};
const struct m5_section m5_section_unix_config = {
    .keys = unix_keys, .size = sizeof(struct m5_config_unix), .has_place = true};

/* ---- an entry of listeners ---- */

static const struct m5_key listener_proxy_keys[] = {
    {.name = "protocol",
     .type = M5_KEY_CHOICE,
     M5_AT(m5_config_listener, listener.proxy_protocol),
     .choices = proxy_versions,
     .standard = "off",
     .help = "version of the PROXY protocol that every connection must begin with"},
    {.name = "trusted",
     .type = M5_KEY_TEXTS,
     M5_MANY(m5_config_listener, listener.proxy_trusted, listener.proxy_trusted_count),
     .check = m5_check_network,
     .sample = "[10.0.0.0/8]",
     .help = "networks whose proxies are believed; others are closed"},
    {.name = "identity",
     .type = M5_KEY_BOOL,
     M5_AT(m5_config_listener, listener.proxy_identity),
     .standard = "false",
     .help = "the common name that PROXY v2 tells is the client's user name"},
    {.name = NULL},
};
static const struct m5_section listener_proxy = {.keys = listener_proxy_keys,
                                                 .size = sizeof(struct m5_config_listener)};

#define LIMIT(key, field, kind, from, to, placeholder, text)                           \
    {                                                                                  \
        .name = key, .type = M5_KEY_##kind, M5_AT(m5_config_listener, listener.field), \
        .least = from, .most = to, .standard = "0", .value = placeholder, .help = text \
    }

static const struct m5_key listener_keys[] = {
    {.name = "name",
     .type = M5_KEY_TEXT,
     M5_AT(m5_config_listener, listener.name),
     .value = "NAME",
     .sample = "public",
     .help = "for the log and for reloads; its address when not given"},
    {.name = "transport",
     .type = M5_KEY_CHOICE,
     M5_AT(m5_config_listener, listener.transport),
     .choices = transports,
     .standard = "tcp",
     .help = "what is spoken there"},
    {.name = "bind",
     .also = "address bind_address",
     .type = M5_KEY_TEXT,
     M5_AT(m5_config_listener, bind),
     .check = m5_check_endpoint,
     .value = "ADDRESS:PORT",
     .sample = "'127.0.0.1:1884'",
     .help = "where: an address, a host name or * for all addresses, and a port (1883, 8883, 8080 "
             "or 8443, by transport, when not given)"},
    UNIX_KEYS(m5_config_listener, listener),
    {.name = "tls",
     .type = M5_KEY_SECTION,
     M5_INSIDE(m5_config_listener, tls),
     .is_pointer = true,
     .section = &tls,
     .help = "for tls and wss: certificates and what is asked of clients"},
    {.name = "websocket",
     .type = M5_KEY_SECTION,
     M5_INSIDE(m5_config_listener, listener),
     .section = &websocket,
     .help = "for ws and wss"},
    {.name = "proxy",
     .type = M5_KEY_SECTION,
     .section = &listener_proxy,
     .help = "load balancers in front of this listener"},
    LIMIT("max_connections", connections_max, INTEGER, 0, UINT32_MAX, "N",
          "connections at a time by this listener, 0 = no limit but max_clients (closed)"),
    LIMIT("max_connections_per_address", connections_per_address_max, INTEGER, 0, UINT32_MAX, "N",
          "connections at a time of one address, 0 = no limit (closed)"),
    LIMIT("max_connection_rate", connection_rate_max, INTEGER, 0, UINT32_MAX, "N",
          "new connections a second of one address, 0 = no limit (closed before TLS)"),
    LIMIT("max_packet_size", maximum_packet_size, SIZE, 0, PACKET_MAX, "SIZE",
          "size of a packet from a client, 0 = the broker's; at least 64 and no more than that"),
    LIMIT("keep_alive_max", keep_alive_max_s, SECONDS, 0, 65535, "TIME",
          "longest keep-alive, 0 = the broker's"),
    {.name = "auth",
     .type = M5_KEY_SECTION,
     M5_INSIDE(m5_config_listener, auth),
     .is_pointer = true,
     .section = &m5_section_listener_auth,
     .help = "how clients of this listener prove who they are, instead of auth_config"},
    {.name = NULL},
};
const struct m5_section m5_section_listener = {
    .keys = listener_keys, .size = sizeof(struct m5_config_listener), .has_place = true};
