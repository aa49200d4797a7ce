/* The broker's settings as flags: one table, from which flags, help and assignments are made.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BROKER_FLAGS_H
#define M5_CLI_BROKER_FLAGS_H

/* X(group, field of mqtt5_broker_config, flag, type, least, most, placeholder, default, help).
 * The defaults are those of mqtt5_broker_config_init(): checked at each start. */
#define CLI_BROKER_NUMBERS(X)                                                                     \
    X("Capabilities", maximum_qos, "max-qos", INTEGER, 0, 2, "0|1|2", "2", "highest QoS served")  \
    X(NULL, server_keep_alive_s, "keep-alive", SECONDS, 0, 65535, "TIME", "0",                    \
      "keep-alive imposed on v5 clients, 0 = their own")                                          \
    X(NULL, keep_alive_max_s, "keep-alive-max", SECONDS, 0, 65535, "TIME", "0",                   \
      "longest keep-alive, 0 = any")                                                              \
    X(NULL, session_expiry_max_s, "session-expiry", SECONDS, 0, 4294967295, "TIME", "4294967295", \
      "longest session expiry, 4294967295 = never expires")                                       \
    X(NULL, topic_alias_maximum, "topic-alias-maximum", INTEGER, 0, 65535, "N", "256",            \
      "topic aliases a client may set")                                                           \
    X(NULL, topic_alias_outgoing_max, "topic-alias-outgoing-max", INTEGER, 0, 65535, "N", "64",   \
      "topic aliases set towards a client that allows them")                                      \
    X(NULL, sys_interval_s, "sys-interval", SECONDS, 0, 4294967295, "TIME", "10",                 \
      "between two rounds of $SYS figures, 0 = none")                                             \
    X("Limits (0 = none unless said otherwise)", connections_max, "max-clients", INTEGER, 0,      \
      4294967295, "N", "10000", "connections at a time")                                          \
    X(NULL, sessions_max, "sessions-max", INTEGER, 0, 4294967295, "N", "0", "sessions kept")      \
    X(NULL, connect_timeout_ms, "connect-timeout", MILLISECONDS, 1, 4294967295, "TIME", "10s",    \
      "from accept to a complete CONNECT")                                                        \
    X(NULL, connect_packet_max, "connect-packet-max", SIZE, 64, 268435460, "SIZE", "64KiB",       \
      "size of a CONNECT")                                                                        \
    X(NULL, maximum_packet_size, "maximum-packet-size", SIZE, 64, 268435460, "SIZE", "16MiB",     \
      "size of a packet from a client")                                                           \
    X(NULL, receive_maximum, "receive-maximum", INTEGER, 1, 65535, "N", "1024",                   \
      "unacknowledged QoS 1 and 2 messages from a client")                                        \
    X(NULL, inflight_max, "inflight-max", INTEGER, 1, 65535, "N", "1024",                         \
      "unacknowledged QoS 1 and 2 messages to a client")                                          \
    X(NULL, client_id_size_max, "client-id-size-max", SIZE, 23, 65535, "SIZE", "65535",           \
      "length of a client identifier")                                                            \
    X(NULL, subscriptions_max, "subscriptions-max", INTEGER, 0, 4294967295, "N", "0",             \
      "subscriptions of all sessions")                                                            \
    X(NULL, subscriptions_per_session_max, "subscriptions-per-session-max", INTEGER, 0,           \
      4294967295, "N", "0", "subscriptions of one session")                                       \
    X(NULL, topic_levels_max, "topic-levels-max", INTEGER, 1, 65535, "N", "200",                  \
      "levels of a topic or filter")                                                              \
    X(NULL, user_properties_max, "user-properties-max", INTEGER, 0, 4294967295, "N", "256",       \
      "user properties in a packet (0 refuses all)")                                              \
    X(NULL, queued_messages_max, "queued-messages-max", INTEGER, 0, 4294967295, "N", "100000",    \
      "messages that wait for one session (0 keeps none)")                                        \
    X(NULL, queued_bytes_max, "queued-bytes-max", SIZE, 0, UINT64_MAX, "SIZE", "64MiB",           \
      "their bytes (0 keeps none)")                                                               \
    X(NULL, output_bytes_max, "output-bytes-max", SIZE, 64, UINT64_MAX, "SIZE", "16MiB",          \
      "bytes not sent yet to one client")                                                         \
    X(NULL, retained_messages_max, "retained-messages-max", INTEGER, 0, 4294967295, "N", "0",     \
      "retained messages")                                                                        \
    X(NULL, retained_bytes_max, "retained-bytes-max", SIZE, 0, UINT64_MAX, "SIZE", "0",           \
      "their bytes")                                                                              \
    X(NULL, retained_message_size_max, "retained-message-size-max", SIZE, 0, 4294967295, "SIZE",  \
      "0", "payload of a retained message")                                                       \
    X(NULL, store_bytes_max, "store-bytes-max", SIZE, 65536, UINT64_MAX, "SIZE", "64MiB",         \
      "changes of one worker that wait to be stored (publishers then wait)")                      \
    X(NULL, memory_max, "memory-max", SIZE, 0, UINT64_MAX, "SIZE", "0",                           \
      "memory of the engine; 0 = 3/4 of the machine's")

/* X(field, flag, help): capabilities that a flag switches off. */
#define CLI_BROKER_SWITCHES(X)                                                          \
    X(retain_available, "no-retain", "refuse retained messages")                        \
    X(wildcard_subscription_available, "no-wildcards", "refuse wildcard subscriptions") \
    X(shared_subscription_available, "no-shared", "refuse shared subscriptions")        \
    X(subscription_identifier_available, "no-subscription-identifiers",                 \
      "refuse subscription identifiers")

#endif
