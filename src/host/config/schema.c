/* The root of the configuration's keys, and how the tables are searched.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/schema.h"

#include "host/config/sections.h"

#include <string.h>

#define PACKET_MAX    268435460u /* the largest that a fixed header can announce, with it */
#define ENGINE(field) M5_AT(m5_config, options.config.field)

/* ---- words ---- */

static const struct m5_choice proxy_versions[] = {{"off", MQTT5_PROXY_OFF},
                                                  {"v1", MQTT5_PROXY_V1},
                                                  {"v2", MQTT5_PROXY_V2},
                                                  {"any", MQTT5_PROXY_ANY},
                                                  {NULL, 0}};
static const struct m5_choice storage_backends[] = {
    {"file", M5_STORAGE_FILE}, {"memory", M5_STORAGE_MEMORY}, {NULL, 0}};
static const struct m5_choice damaged_policies[] = {
    {"set_aside", MQTT5_STORAGE_SET_ASIDE}, {"refuse", MQTT5_STORAGE_REFUSE}, {NULL, 0}};
static const struct m5_choice durabilities[] = {{"strict", MQTT5_DURABILITY_STRICT},
                                                {"relaxed", MQTT5_DURABILITY_RELAXED},
                                                {"memory", MQTT5_DURABILITY_MEMORY},
                                                {NULL, 0}};
static const struct m5_choice queue_policies[] = {
    {"drop_newest", MQTT5_QUEUE_DROP_NEWEST}, {"drop_oldest", MQTT5_QUEUE_DROP_OLDEST}, {NULL, 0}};
static const struct m5_choice shared_strategies[] = {
    {"round_robin", MQTT5_SHARED_ROUND_ROBIN},
    {"random", MQTT5_SHARED_RANDOM},
    {"sticky", MQTT5_SHARED_STICKY},
    {"least_inflight", MQTT5_SHARED_LEAST_INFLIGHT},
    {"hash_topic", MQTT5_SHARED_HASH_TOPIC},
    {"hash_clientid", MQTT5_SHARED_HASH_CLIENTID},
    {NULL, 0}};
static const struct m5_choice rate_actions[] = {{"wait", MQTT5_RATE_WAIT},
                                                {"refuse", MQTT5_RATE_REFUSE},
                                                {"disconnect", MQTT5_RATE_DISCONNECT},
                                                {NULL, 0}};
static const struct m5_choice log_levels[] = {{"error", MQTT5_LOG_ERROR},
                                              {"warning", MQTT5_LOG_WARNING},
                                              {"info", MQTT5_LOG_INFO},
                                              {"debug", MQTT5_LOG_DEBUG},
                                              {NULL, 0}};

/* ---- sections of the root only ---- */

static const struct m5_key proxy_config_keys[] = {
    {.name = "protocol",
     .type = M5_KEY_CHOICE,
     M5_AT(m5_config, proxy_protocol),
     .choices = proxy_versions,
     .standard = "off",
     .flag = "proxy-protocol",
     .value = "off|v1|v2|any",
     .help = "version of the PROXY protocol that every connection must begin with, on all "
             "listeners of bind_addresses, tls_config and websocket_config"},
    {.name = "trusted",
     .type = M5_KEY_TEXTS,
     M5_TEXTS(m5_config, proxy_trusted),
     .check = m5_check_network,
     .flag = "proxy-trusted",
     .value = "NETWORK",
     .sample = "[10.0.0.0/8]",
     .help = "networks whose proxies are believed; others are closed"},
    {.name = "identity",
     .type = M5_KEY_BOOL,
     M5_AT(m5_config, proxy_identity),
     .standard = "false",
     .flag = "proxy-identity",
     .help = "the common name that PROXY v2 tells is the client's user name"},
    {.name = NULL},
};
static const struct m5_section proxy_config = {.keys = proxy_config_keys,
                                               .size = sizeof(struct m5_config)};

static const struct m5_key durability_rule_keys[] = {
    {.name = "filter",
     .type = M5_KEY_TEXT,
     M5_AT(mqtt5_durability_rule, filter),
     .check = m5_check_filter,
     .value = "FILTER",
     .sample = "telemetry/#",
     .help = "a topic filter without $share"},
    {.name = "durability",
     .type = M5_KEY_CHOICE,
     M5_AT(mqtt5_durability_rule, durability),
     .choices = durabilities,
     .standard = "strict",
     .help = "what an acknowledgement of these topics promises"},
    {.name = NULL},
};
static const struct m5_section durability_rule = {.keys = durability_rule_keys,
                                                  .size = sizeof(struct mqtt5_durability_rule)};

static const struct m5_key storage_keys[] = {
    {.name = "backend",
     .type = M5_KEY_CHOICE,
     M5_AT(m5_config, storage.backend),
     .choices = storage_backends,
     .standard = "file",
     .flag = "storage-backend",
     .value = "file|memory",
     .needs_restart = true,
     .help = "where sessions, queued and retained messages are kept"},
    {.name = "base_dir",
     .also = "storage_dir",
     .type = M5_KEY_PATH,
     M5_AT(m5_config, storage.base_dir),
     .standard = "./mqtt_storage",
     .is_output = true,
     .flag = "storage-dir",
     .value = "DIR",
     .needs_restart = true,
     .help = "folder of the file backend, made if it is missing"},
    {.name = "enable_persistence",
     .type = M5_KEY_BOOL,
     M5_AT(m5_config, storage.enable_persistence),
     .standard = "true",
     .flag = "no-persistence",
     .is_inverted = true,
     .flag_help = "keep everything in memory",
     .needs_restart = true,
     .help = "false is the same as the backend memory"},
    {.name = "durability",
     .type = M5_KEY_CHOICE,
     ENGINE(durability),
     .choices = durabilities,
     .standard = "strict",
     .flag = "durability",
     .value = "strict|relaxed|memory",
     .needs_restart = true,
     .help = "what an acknowledgement promises: synced to disk, handed to the store, nothing"},
    {.name = "durability_rules",
     .type = M5_KEY_LIST,
     M5_MANY(m5_config, storage.rules, storage.rule_count),
     .section = &durability_rule,
     .most = MQTT5_DURABILITY_RULES_MAX,
     .needs_restart = true,
     .help = "the same for topics that match a filter; the first that does decides"},
    {.name = "durability_for",
     .type = M5_KEY_TEXTS,
     M5_TEXTS(m5_config, storage.rule_texts),
     .most = MQTT5_DURABILITY_RULES_MAX,
     .flag = "durability-for",
     .value = "FILTER=LEVEL",
     .sample = "['telemetry/#=memory']",
     .needs_restart = true,
     .help = "durability_rules in short; these come first"},
    {.name = "damaged",
     .type = M5_KEY_CHOICE,
     M5_AT(m5_config, options.storage_damaged),
     .choices = damaged_policies,
     .standard = "set_aside",
     .flag = "storage-damaged",
     .value = "set_aside|refuse",
     .needs_restart = true,
     .help = "a store that cannot be read: rename it and start empty, or do not start"},
    {.name = "store_bytes_max",
     .type = M5_KEY_SIZE,
     ENGINE(store_bytes_max),
     .least = 65536,
     .most = SIZE_MAX,
     .standard = "64MiB",
     .flag = "store-bytes-max",
     .value = "SIZE",
     .help = "changes of one worker that wait to be stored (publishers then wait)"},
    {.name = "cleanup_interval",
     .type = M5_KEY_ABSENT,
     .is_harmless = true,
     .help = "the store needs no cleaning: leave it out"},
    {.name = NULL},
};
static const struct m5_section storage_config = {.keys = storage_keys,
                                                 .size = sizeof(struct m5_config)};

static const struct m5_key log_keys[] = {
    {.name = "level",
     .type = M5_KEY_CHOICE,
     M5_AT(m5_config, options.log_level),
     .choices = log_levels,
     .standard = "info",
     .flag = "log-level",
     .value = "error|warning|info|debug",
     .help = "least important lines to write"},
    {.name = "json",
     .type = M5_KEY_BOOL,
     M5_AT(m5_config, options.log_json),
     .standard = "false",
     .flag = "log-json",
     .needs_restart = true,
     .help = "write JSON lines"},
    {.name = NULL},
};
static const struct m5_section log_config = {.keys = log_keys, .size = sizeof(struct m5_config)};

#define RATE(key, who, field, kind, key_flag, placeholder, text)                   \
    {                                                                              \
        .name = key, .type = M5_KEY_##kind, ENGINE(who.field), .most = UINT32_MAX, \
        .standard = "0", .flag = key_flag, .value = placeholder, .help = text      \
    }
#define RATES(who, name, whose)                                                      \
    RATE("messages_in", who, messages_in, INTEGER, name "-messages-in", "N",         \
         "messages a second from " whose "; a filter of a SUBSCRIBE counts as one"), \
        RATE("bytes_in", who, bytes_in, SIZE, name "-bytes-in", "SIZE",              \
             "bytes a second from " whose),                                          \
        RATE("messages_out", who, messages_out, INTEGER, name "-messages-out", "N",  \
             "messages a second to " whose " (QoS 0 is dropped, QoS 1 and 2 wait)"), \
        RATE("bytes_out", who, bytes_out, SIZE, name "-bytes-out", "SIZE",           \
             "bytes a second to " whose)

static const struct m5_key client_rate_keys[] = {RATES(rate_per_client, "client", "one client"),
                                                 {.name = NULL}};
static const struct m5_section client_rates = {.keys = client_rate_keys,
                                               .size = sizeof(struct m5_config)};
static const struct m5_key user_rate_keys[] = {
    RATES(rate_per_user, "user", "all connections of a user"), {.name = NULL}};
static const struct m5_section user_rates = {.keys = user_rate_keys,
                                             .size = sizeof(struct m5_config)};
static const struct m5_key address_rate_keys[] = {
    RATES(rate_per_address, "address", "all connections of an address"), {.name = NULL}};
static const struct m5_section address_rates = {.keys = address_rate_keys,
                                                .size = sizeof(struct m5_config)};

static const struct m5_key rates_keys[] = {
    {.name = "per_client",
     .type = M5_KEY_SECTION,
     .has_flags = true,
     .section = &client_rates,
     .help = "of each connection"},
    {.name = "per_user",
     .type = M5_KEY_SECTION,
     .has_flags = true,
     .section = &user_rates,
     .help = "of all connections of a user together; clients without a name are no user"},
    {.name = "per_address",
     .type = M5_KEY_SECTION,
     .has_flags = true,
     .section = &address_rates,
     .help = "of all connections of an address together (IPv6: of a /64)"},
    {.name = "burst",
     .type = M5_KEY_MILLISECONDS,
     ENGINE(rate_burst_ms),
     .least = 1,
     .most = 3600000,
     .standard = "1s",
     .flag = "rate-burst",
     .value = "TIME",
     .help = "what may pass at once, after a rest, is worth so long"},
    {.name = "action",
     .type = M5_KEY_CHOICE,
     ENGINE(rate_action),
     .choices = rate_actions,
     .standard = "wait",
     .flag = "rate-action",
     .value = "wait|refuse|disconnect",
     .help = "what happens to a message that comes too soon: it is not read yet, it is answered "
             "0x97 (QoS 0: dropped), or the client is disconnected with 0x96"},
    {.name = NULL},
};
static const struct m5_section rates = {.keys = rates_keys, .size = sizeof(struct m5_config)};

/* ---- the root ---- */

#define NUMERIC(key, field, kind, from, to, default_text, key_flag, placeholder, text, restart) \
    {                                                                                           \
        .name = key, .type = M5_KEY_##kind, ENGINE(field), .least = from, .most = to,           \
        .standard = default_text, .flag = key_flag, .value = placeholder,                       \
        .needs_restart = restart, .help = text                                                  \
    }
#define NUMBER(...) NUMERIC(__VA_ARGS__, true)
#define LIVE(...)   NUMERIC(__VA_ARGS__, false)

static const struct m5_key root_keys[] = {
    {.group = "Listening",
     .name = "listeners",
     .type = M5_KEY_LIST,
     M5_MANY(m5_config, listeners, listener_count),
     .section = &m5_section_listener,
     .most = M5_CONFIG_LISTENERS_MAX,
     .help = "where clients connect, one entry for each address and transport; without any "
             "listener the broker serves this machine only, on 127.0.0.1:1883 and [::1]:1883"},
    {.name = "bind_addresses",
     .type = M5_KEY_TEXTS,
     M5_TEXTS(m5_config, bind),
     .check = m5_check_endpoint,
     .most = M5_CONFIG_LISTENERS_MAX,
     .flag = "host",
     .alias = 'H',
     .env = "MQTT5_BIND",
     .value = "ADDRESS:PORT",
     .sample = "['127.0.0.1:1883', '[::1]:1883']",
     .help = "where to listen for MQTT over TCP (127.0.0.1:1883 and [::1]:1883 when there is no "
             "other listener)"},
    {.name = "workers",
     .type = M5_KEY_INTEGER,
     M5_AT(m5_config, options.workers),
     .most = 64,
     .standard = "0",
     .flag = "workers",
     .value = "N",
     .needs_restart = true,
     .help = "threads that serve clients, 0 = one per core"},
    {.name = "tls_config",
     .type = M5_KEY_SECTION,
     .flag_group = "TLS",
     M5_INSIDE(m5_config, tls),
     .is_pointer = true,
     .has_flags = true,
     .section = &m5_section_tls_config,
     .help = "listeners for MQTT over TLS, in short"},
    {.name = "websocket_config",
     .type = M5_KEY_SECTION,
     .flag_group = "WebSocket",
     M5_INSIDE(m5_config, websocket),
     .is_pointer = true,
     .has_flags = true,
     .section = &m5_section_websocket_config,
     .help = "listeners for MQTT over WebSocket, in short"},
    {.name = "websocket_tls_config",
     .type = M5_KEY_SECTION,
     M5_INSIDE(m5_config, websocket_tls),
     .is_pointer = true,
     .has_flags = true,
     .section = &m5_section_websocket_tls_config,
     .help = "listeners for MQTT over WebSocket over TLS, in short; certificates are those of "
             "tls_config"},
    {.name = "unix_config",
     .type = M5_KEY_SECTION,
     .flag_group = "Unix sockets",
     M5_INSIDE(m5_config, unix_socket),
     .is_pointer = true,
     .has_flags = true,
     .section = &m5_section_unix_config,
     .help = "a Unix socket, in short"},
    {.name = "proxy_config",
     .type = M5_KEY_SECTION,
     .flag_group = "PROXY protocol",
     .has_flags = true,
     .section = &proxy_config,
     .help = "load balancers in front of the listeners in short form"},
    {.group = "Who may connect, and what they may do",
     .name = "ban_file",
     .type = M5_KEY_PATH,
     M5_AT(m5_config, options.ban_file),
     .sample = "bans.txt",
     .flag = "ban-file",
     .value = "FILE",
     .help = "addresses and networks that may not connect"},
    {.name = "auth_config",
     .type = M5_KEY_SECTION,
     M5_INSIDE(m5_config, auth),
     .has_flags = true,
     .section = &m5_section_auth_config,
     .help = "how clients prove who they are, on listeners without an auth of their own"},
    {.group = "Durability",
     .name = "storage_config",
     .type = M5_KEY_SECTION,
     .has_flags = true,
     .section = &storage_config,
     .help = "what outlives a restart"},
    {.group = "Log and reload",
     .name = "log_config",
     .type = M5_KEY_SECTION,
     .has_flags = true,
     .section = &log_config,
     .help = "lines on standard error"},
    {.name = "watch_files",
     .type = M5_KEY_BOOL,
     M5_AT(m5_config, watch_files),
     .standard = "true",
     .flag = "no-watch",
     .is_inverted = true,
     .flag_help = "reload at SIGHUP only, not when a file changes",
     .help = "reload when the configuration, or a file that it names, changes; SIGHUP always does"},
    {.group = "Capabilities",
     .name = "maximum_qos",
     .type = M5_KEY_INTEGER,
     ENGINE(maximum_qos),
     .most = 2,
     .standard = "2",
     .flag = "max-qos",
     .value = "0|1|2",
     .needs_restart = true,
     .help = "highest QoS served"},
    {.name = "retain_available",
     .type = M5_KEY_BOOL,
     ENGINE(retain_available),
     .standard = "true",
     .flag = "no-retain",
     .is_inverted = true,
     .flag_help = "refuse retained messages",
     .needs_restart = true,
     .help = "serve retained messages"},
    {.name = "wildcard_subscription_available",
     .type = M5_KEY_BOOL,
     ENGINE(wildcard_subscription_available),
     .standard = "true",
     .flag = "no-wildcards",
     .is_inverted = true,
     .flag_help = "refuse wildcard subscriptions",
     .needs_restart = true,
     .help = "serve wildcard subscriptions"},
    {.name = "shared_subscription_available",
     .type = M5_KEY_BOOL,
     ENGINE(shared_subscription_available),
     .standard = "true",
     .flag = "no-shared",
     .is_inverted = true,
     .flag_help = "refuse shared subscriptions",
     .needs_restart = true,
     .help = "serve shared subscriptions"},
    {.name = "subscription_identifier_available",
     .type = M5_KEY_BOOL,
     ENGINE(subscription_identifier_available),
     .standard = "true",
     .flag = "no-subscription-identifiers",
     .is_inverted = true,
     .flag_help = "refuse subscription identifiers",
     .needs_restart = true,
     .help = "serve subscription identifiers"},
    {.name = "server_keep_alive",
     .type = M5_KEY_SECONDS,
     ENGINE(server_keep_alive_s),
     .most = 65535,
     .standard = "0",
     .flag = "keep-alive",
     .value = "TIME",
     .help = "keep-alive imposed on v5 clients, 0 = their own"},
    LIVE("keep_alive_max", keep_alive_max_s, SECONDS, 0, 65535, "0", "keep-alive-max", "TIME",
         "longest keep-alive, 0 = any"),
    {.name = "session_expiry_interval",
     .also = "session_expiry_max",
     .type = M5_KEY_SECONDS,
     ENGINE(session_expiry_max_s),
     .most = UINT32_MAX,
     .is_endless = true,
     .standard = "never",
     .flag = "session-expiry",
     .value = "TIME",
     .help = "longest session expiry; never (or 4294967295) = sessions may be kept for ever"},
    NUMBER("topic_alias_maximum", topic_alias_maximum, INTEGER, 0, 65535, "256",
           "topic-alias-maximum", "N", "topic aliases a client may set"),
    NUMBER("topic_alias_outgoing_max", topic_alias_outgoing_max, INTEGER, 0, 65535, "64",
           "topic-alias-outgoing-max", "N", "topic aliases set towards a client that allows them"),
    {.name = "response_information",
     .type = M5_KEY_TEXT,
     ENGINE(response_information),
     .check = m5_check_utf8,
     .flag = "response-information",
     .value = "TEXT",
     .sample = "answers/",
     .needs_restart = true,
     .help = "given to clients that request it"},
    {.name = "sys_topics_enabled",
     .type = M5_KEY_BOOL,
     M5_AT(m5_config, sys_topics_enabled),
     .standard = "true",
     .flag = "no-sys-topics",
     .is_inverted = true,
     .flag_help = "publish no $SYS figures",
     .needs_restart = true,
     .help = "publish $SYS figures"},
    LIVE("sys_topics_interval", sys_interval_s, SECONDS, 0, UINT32_MAX, "10s", "sys-interval",
         "TIME", "between two rounds of $SYS figures, 0 = none"),
    {.group = "Limits (0 = none unless said otherwise)",
     .name = "max_clients",
     .also = "connections_max",
     .type = M5_KEY_INTEGER,
     ENGINE(connections_max),
     .most = UINT32_MAX,
     .standard = "10000",
     .flag = "max-clients",
     .value = "N",
     .help = "connections at a time"},
    LIVE("sessions_max", sessions_max, INTEGER, 0, UINT32_MAX, "0", "sessions-max", "N",
         "sessions kept"),
    LIVE("connect_timeout", connect_timeout_ms, MILLISECONDS, 1, UINT32_MAX, "10s",
         "connect-timeout", "TIME", "from accept to a complete CONNECT"),
    LIVE("connect_packet_max", connect_packet_max, SIZE, 64, PACKET_MAX, "64KiB",
         "connect-packet-max", "SIZE", "size of a CONNECT"),
    {.name = "max_packet_size",
     .also = "maximum_packet_size",
     .type = M5_KEY_SIZE,
     ENGINE(maximum_packet_size),
     .least = 64,
     .most = PACKET_MAX,
     .standard = "16MiB",
     .flag = "maximum-packet-size",
     .value = "SIZE",
     .needs_restart = true,
     .help = "size of a packet from a client"},
    {.name = "server_receive_maximum",
     .also = "receive_maximum",
     .type = M5_KEY_INTEGER,
     ENGINE(receive_maximum),
     .least = 1,
     .most = 65535,
     .standard = "1024",
     .flag = "receive-maximum",
     .value = "N",
     .needs_restart = true,
     .help = "unacknowledged QoS 1 and 2 messages from a client"},
    NUMBER("inflight_max", inflight_max, INTEGER, 1, 65535, "1024", "inflight-max", "N",
           "unacknowledged QoS 1 and 2 messages to a client"),
    LIVE("client_id_size_max", client_id_size_max, SIZE, 23, 65535, "65535", "client-id-size-max",
         "SIZE", "length of a client identifier"),
    LIVE("subscriptions_max", subscriptions_max, INTEGER, 0, UINT32_MAX, "0", "subscriptions-max",
         "N", "subscriptions of all sessions"),
    {.name = "max_subscriptions_per_client",
     .also = "subscriptions_per_session_max",
     .type = M5_KEY_INTEGER,
     ENGINE(subscriptions_per_session_max),
     .most = UINT32_MAX,
     .standard = "0",
     .flag = "subscriptions-per-session-max",
     .value = "N",
     .help = "subscriptions of one session"},
    LIVE("topic_levels_max", topic_levels_max, INTEGER, 1, 65535, "200", "topic-levels-max", "N",
         "levels of a topic or filter"),
    NUMBER("user_properties_max", user_properties_max, INTEGER, 0, UINT32_MAX, "256",
           "user-properties-max", "N", "user properties in a packet (0 refuses all)"),
    LIVE("queued_messages_max", queued_messages_max, INTEGER, 0, UINT32_MAX, "100000",
         "queued-messages-max", "N", "messages that wait for one session (0 keeps none)"),
    LIVE("queued_bytes_max", queued_bytes_max, SIZE, 0, SIZE_MAX, "64MiB", "queued-bytes-max",
         "SIZE", "their bytes (0 keeps none)"),
    LIVE("output_bytes_max", output_bytes_max, SIZE, 64, SIZE_MAX, "16MiB", "output-bytes-max",
         "SIZE", "bytes not sent yet to one client"),
    {.name = "max_retained_messages",
     .also = "retained_messages_max",
     .type = M5_KEY_INTEGER,
     ENGINE(retained_messages_max),
     .most = UINT32_MAX,
     .standard = "0",
     .flag = "retained-messages-max",
     .value = "N",
     .needs_restart = true,
     .help = "retained messages"},
    NUMBER("retained_bytes_max", retained_bytes_max, SIZE, 0, SIZE_MAX, "0", "retained-bytes-max",
           "SIZE", "their bytes"),
    {.name = "max_retained_message_size",
     .also = "retained_message_size_max",
     .type = M5_KEY_SIZE,
     ENGINE(retained_message_size_max),
     .most = UINT32_MAX,
     .standard = "0",
     .flag = "retained-message-size-max",
     .value = "SIZE",
     .needs_restart = true,
     .help = "payload of a retained message"},
    NUMBER("memory_max", memory_max, SIZE, 0, SIZE_MAX, "0", "memory-max", "SIZE",
           "memory of the engine; 0 = 3/4 of the machine's"),
    LIVE("connections_per_user_max", connections_per_user_max, INTEGER, 0, UINT32_MAX, "0",
         "connections-per-user-max", "N", "connections of one user at a time"),
    LIVE("connections_per_address_max", connections_per_address_max, INTEGER, 0, UINT32_MAX, "0",
         "connections-per-address-max", "N",
         "connected clients of one address (IPv6: of a /64) at a time"),
    NUMBER("subscriptions_per_user_max", subscriptions_per_user_max, INTEGER, 0, UINT32_MAX, "0",
           "subscriptions-per-user-max", "N", "subscriptions of all sessions of one user"),
    {.group = "Rates (0 = none)",
     .name = "rates",
     .type = M5_KEY_SECTION,
     .has_flags = true,
     .section = &rates,
     .help = "what may pass in a second"},
    {.name = "max_message_rate_per_client",
     .type = M5_KEY_INTEGER,
     ENGINE(rate_per_client.messages_in),
     .most = UINT32_MAX,
     .sample = "1000",
     .help = "another name of rates.per_client.messages_in"},
    {.name = "max_bandwidth_per_client",
     .type = M5_KEY_SIZE,
     ENGINE(rate_per_client.bytes_in),
     .most = UINT32_MAX,
     .sample = "1MiB",
     .help = "another name of rates.per_client.bytes_in"},
    {.name = "max_outbound_rate_per_client",
     .type = M5_KEY_INTEGER,
     ENGINE(rate_per_client.messages_out),
     .most = UINT32_MAX,
     .sample = "1000",
     .help = "another name of rates.per_client.messages_out"},
    {.group = "Behaviour",
     .name = "queue_policy",
     .type = M5_KEY_CHOICE,
     ENGINE(queue_policy),
     .choices = queue_policies,
     .standard = "drop_newest",
     .flag = "queue-policy",
     .value = "drop_newest|drop_oldest",
     .help = "what goes when a session's queue is full"},
    {.name = "shared_strategy",
     .type = M5_KEY_CHOICE,
     ENGINE(shared_strategy),
     .choices = shared_strategies,
     .standard = "round_robin",
     .flag = "shared-strategy",
     .value = "STRATEGY",
     .help = "who of a shared subscription gets a message: round_robin, random, sticky, "
             "least_inflight, hash_topic or hash_clientid"},
    {.name = "quic_config",
     .type = M5_KEY_ABSENT,
     .help = "there is no MQTT over QUIC in this version: take it out"},
    {.name = "cluster_listener_config",
     .type = M5_KEY_ABSENT,
     .help = "there are no clusters in this version: take it out"},
    {.name = "bridges",
     .type = M5_KEY_ABSENT,
     .help = "there are no bridges in this version: take it out"},
    {.name = "load_balancer",
     .type = M5_KEY_ABSENT,
     .help = "clients are not sent to other servers in this version: take it out"},
    {.name = "change_only_delivery_config",
     .type = M5_KEY_ABSENT,
     .help = "every message is delivered in this version, also one that changes nothing: take it "
             "out"},
    {.name = "echo_suppression_config",
     .type = M5_KEY_ABSENT,
     .help = "clients can subscribe with No Local instead: take it out"},
    {.name = "client_channel_capacity",
     .type = M5_KEY_ABSENT,
     .is_harmless = true,
     .help = "what waits for a client is limited by queued_messages_max, queued_bytes_max and "
             "output_bytes_max instead"},
    {.name = "server_delivery_strategy",
     .type = M5_KEY_ABSENT,
     .is_harmless = true,
     .help = "it is about QUIC, which this version does not have"},
    {.name = NULL},
};

const struct m5_section m5_schema_root = {.keys = root_keys, .size = sizeof(struct m5_config)};

/* ---- searching ---- */

enum m5_unit m5_key_unit(enum m5_key_type type)
{
    switch (type) {
    case M5_KEY_SECONDS: return M5_UNIT_SECONDS;
    case M5_KEY_MILLISECONDS: return M5_UNIT_MILLISECONDS;
    case M5_KEY_SIZE: return M5_UNIT_BYTES;
    default: return M5_UNIT_NONE;
    }
}

bool m5_key_is_scalar(enum m5_key_type type)
{
    return type <= M5_KEY_PATH;
}

bool m5_key_is_named(const struct m5_key *key, const char *name)
{
    const size_t size = strlen(name);
    if (strcmp(key->name, name) == 0)
        return true;
    for (const char *also = key->also; also != NULL && *also != 0;) {
        const size_t word = strcspn(also, " ");
        if (word == size && memcmp(also, name, size) == 0)
            return true;
        also += word + strspn(also + word, " ");
    }
    return false;
}

const struct m5_key *m5_section_find(const struct m5_section *section, const char *name)
{
    for (const struct m5_key *key = section->keys; key->name != NULL; key++)
        if (m5_key_is_named(key, name))
            return key;
    return NULL;
}

/* The nesting of sections with flags is that of the tables: three levels. */
static void walk_flags(const struct m5_section *section, const char **group, m5_flag_fn *each,
                       void *ctx)
{
    for (const struct m5_key *key = section->keys; key->name != NULL; key++) {
        if (key->group != NULL)
            *group = key->group;
        if (key->has_flags) {
            if (key->flag_group != NULL)
                *group = key->flag_group;
            walk_flags(key->section, group, each, ctx);
        } else if (key->flag != NULL) {
            each(ctx, key, *group);
            *group = NULL;
        }
    }
}

void m5_schema_flags(m5_flag_fn *each, void *ctx)
{
    const char *group = NULL;
    walk_flags(&m5_schema_root, &group, each, ctx);
}
