/* An MQTT broker to embed: configuration, start, stop.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_BROKER_H
#define MQTT5_BROKER_H

#include <mqtt5/allocator.h>
#include <mqtt5/api.h>
#include <mqtt5/error.h>
#include <mqtt5/listener.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What happens to a QoS 1 or 2 message for a session whose queue is full; counted either way. */
enum mqtt5_queue_policy {
    MQTT5_QUEUE_DROP_NEWEST, /**< the message that does not fit is dropped */
    MQTT5_QUEUE_DROP_OLDEST  /**< the oldest message not sent yet makes room */
};

/** How a shared subscription picks the member that gets a message. */
enum mqtt5_shared_strategy {
    MQTT5_SHARED_ROUND_ROBIN,
    MQTT5_SHARED_RANDOM,
    MQTT5_SHARED_STICKY,         /**< one member until it goes */
    MQTT5_SHARED_LEAST_INFLIGHT, /**< the member with the fewest unacknowledged messages */
    MQTT5_SHARED_HASH_TOPIC,     /**< same topic, same member */
    MQTT5_SHARED_HASH_CLIENTID   /**< same publisher, same member */
};

/** What an acknowledgement promises when the broker has a store; see docs/durability.md. */
enum mqtt5_durability {
    MQTT5_DURABILITY_STRICT,  /**< stored and synced before it is acknowledged */
    MQTT5_DURABILITY_RELAXED, /**< handed to the store, acknowledged at once */
    MQTT5_DURABILITY_MEMORY   /**< not stored */
};

/** A level for the messages whose topic matches a filter. */
struct mqtt5_durability_rule {
    const char *filter; /**< a topic filter without "$share/" */
    enum mqtt5_durability durability;
};

#define MQTT5_DURABILITY_RULES_MAX 64

/** What may pass in one second; 0 = no limit. A burst of more passes at once: see rate_burst_ms.
 *  Bytes are those of whole PUBLISH packets. */
struct mqtt5_rate_limits {
    uint32_t messages_in, bytes_in;   /**< from clients; a filter of a SUBSCRIBE counts as one */
    uint32_t messages_out, bytes_out; /**< to clients: QoS 0 is dropped, QoS 1 and 2 wait */
};

/** What happens to a message that comes too soon. */
enum mqtt5_rate_action {
    MQTT5_RATE_WAIT, /**< the connection is not read from until it is paid for: nothing is lost */
    /** QoS 1 and 2: 0x97, QoS 0: dropped. 3.1.1 has no way to refuse: QoS 1 and 2 wait. */
    MQTT5_RATE_REFUSE,
    MQTT5_RATE_DISCONNECT /**< DISCONNECT 0x96 */
};

/** Capabilities and limits of a broker's engine. Call mqtt5_broker_config_init() first, then change
 *  what is to differ. Every limit says in parentheses how it is answered and, in brackets, the
 *  $SYS counter below $SYS/broker/limits/ that counts it. 0 means "no limit" only where said. */
struct mqtt5_broker_config {
    size_t struct_size; /**< set by init; lets the struct grow */

    /* who */
    bool allow_anonymous; /**< connections without user name (CONNACK 0x87) */

    /* capabilities, announced in CONNACK and enforced */
    uint8_t maximum_qos;                    /**< 2 (0x9B) */
    bool retain_available;                  /**< true (0x9A) */
    bool wildcard_subscription_available;   /**< true (SUBACK 0xA2) */
    bool subscription_identifier_available; /**< true (SUBACK 0xA1) */
    bool shared_subscription_available;     /**< true (SUBACK 0x9E) */

    /* connection */
    uint32_t connect_timeout_ms;       /**< 10,000: from accept to a complete CONNECT (closed) */
    uint32_t connect_packet_max;       /**< 65,536 bytes before CONNECT is complete (closed) */
    uint32_t maximum_packet_size;      /**< 16 MiB, bytes a client may send (0x95) */
    uint16_t receive_maximum;          /**< 1,024: unacknowledged QoS > 0 towards us (0x93) */
    uint16_t topic_alias_maximum;      /**< 256: aliases a client may set (0x94) */
    uint16_t topic_alias_outgoing_max; /**< 64: aliases we set, if the client allows as many */
    uint16_t server_keep_alive_s;      /**< 0 = the client's own; else imposed on v5 clients */
    uint16_t keep_alive_max_s;     /**< 0 = none; else a longer or absent keep-alive is lowered */
    uint32_t session_expiry_max_s; /**< 0xFFFFFFFF: longer ones are lowered, as CONNACK says */
    const char *response_information; /**< NULL = none; borrowed until the broker is made */

    /* limits */
    uint32_t connections_max;    /**< 10,000, 0 = none (CONNACK 0x89) [connections] */
    uint32_t sessions_max;       /**< 0 = none (CONNACK 0x97) [sessions] */
    uint32_t client_id_size_max; /**< 65,535 bytes (CONNACK 0x85) [client_ids] */
    uint32_t subscriptions_max;  /**< broker-wide, 0 = none (SUBACK 0x97) [subscriptions] */
    uint32_t subscriptions_per_session_max; /**< 0 = none (SUBACK 0x97) [subscriptions] */
    uint32_t topic_levels_max;              /**< 200 (PUBACK 0x90, SUBACK 0x8F) [topic_levels] */
    uint32_t user_properties_max;           /**< 256 in one packet (0x97) [user_properties] */
    uint16_t inflight_max;                  /**< 1,024: unacknowledged towards one client (waits) */
    uint32_t queued_messages_max;           /**< 100,000 waiting for one session [queued] */
    size_t queued_bytes_max;                /**< 64 MiB waiting for one session [queued] */
    size_t output_bytes_max;            /**< 16 MiB unsent to one client; QoS 0 drops [output] */
    uint32_t retained_messages_max;     /**< 0 = none (0x97) [retained] */
    size_t retained_bytes_max;          /**< 0 = none (0x97) [retained] */
    uint32_t retained_message_size_max; /**< 0 = none, payload bytes (0x97) [retained] */
    /** Bytes that the engine may take (0x97, 0x89) [memory]; shared out evenly to the workers. 0 =
     *  three quarters of the machine's memory in mqtt5_broker_new(), no limit in a bare engine. */
    size_t memory_max;
    uint32_t connections_per_user_max;    /**< 0 = none (CONNACK 0x97) [user_connections] */
    uint32_t connections_per_address_max; /**< 0 = none (CONNACK 0x97) [address_connections] */
    uint32_t subscriptions_per_user_max;  /**< 0 = none (SUBACK 0x97) [subscriptions] */
    enum mqtt5_queue_policy queue_policy; /**< MQTT5_QUEUE_DROP_NEWEST */
    enum mqtt5_shared_strategy shared_strategy; /**< MQTT5_SHARED_ROUND_ROBIN */

    /* rates (see enum mqtt5_rate_action) [message_rate] [outbound_rate]. A user or address has all
     * its connections together, IPv6 addresses by /64; clients without a name are no user. */
    struct mqtt5_rate_limits rate_per_client, rate_per_user, rate_per_address;
    uint32_t rate_burst_ms;             /**< 1,000: what may pass at once is worth so long */
    enum mqtt5_rate_action rate_action; /**< MQTT5_RATE_WAIT */

    /* durability; of no effect without a store */
    enum mqtt5_durability durability; /**< MQTT5_DURABILITY_STRICT */
    /** What differs by topic; the first rule that matches decides. Borrowed until the broker is
     *  made; at most MQTT5_DURABILITY_RULES_MAX. */
    const struct mqtt5_durability_rule *durability_rules;
    uint32_t durability_rule_count;
    /** 64 MiB a worker: changes that wait to be stored. Beyond it publishers that wait for an
     *  acknowledgement are not read from (waits) [store]. */
    size_t store_bytes_max;

    /* $SYS */
    uint32_t sys_interval_s; /**< 10; 0 = no $SYS topics */
};

/** What to do with a store that cannot be read. */
enum mqtt5_storage_damaged {
    MQTT5_STORAGE_SET_ASIDE, /**< rename it, report it, start with an empty one */
    MQTT5_STORAGE_REFUSE     /**< mqtt5_broker_new() fails */
};

enum mqtt5_log_level { MQTT5_LOG_ERROR, MQTT5_LOG_WARNING, MQTT5_LOG_INFO, MQTT5_LOG_DEBUG };

/** Receives one finished log line (no line feed), from any worker's thread, one at a time.
 *  @p event is the line's stable name ("client.connected"). */
typedef void mqtt5_log_fn(void *ctx, enum mqtt5_log_level level, const char *event,
                          const char *line);

/** Everything that a broker on this machine needs; call mqtt5_broker_options_init() first. */
struct mqtt5_broker_options {
    size_t struct_size;
    struct mqtt5_broker_config config;
    const struct mqtt5_listener *listeners; /**< default: 127.0.0.1:1883 and [::1]:1883 */
    size_t listener_count;
    /** Who may connect, by listeners that have nothing of their own. Anonymous clients may if
     *  either this or config.allow_anonymous says so. Copied, with all that it names; files are
     *  read by mqtt5_broker_new() and mqtt5_broker_reload(). docs/security.md has the formats. */
    struct mqtt5_auth_options auth;
    const char *acl_file; /**< what they may do; NULL = everything. Read as the files of auth */
    /** Clients, groups and roles that are changed while the broker runs, by messages to
     *  $CONTROL/dynamic-security/v1, in the file and with the commands of Mosquitto's plugin. The
     *  broker writes it; read by mqtt5_broker_new() only. NULL = none. */
    const char *dynamic_security_file;
    const char *ban_file; /**< networks that may not connect */
    /** Folder of the store, made if it is missing; NULL = everything is in memory only. One broker
     *  per folder. */
    const char *storage_dir;
    enum mqtt5_storage_damaged storage_damaged; /**< MQTT5_STORAGE_SET_ASIDE */
    uint32_t workers;                           /**< threads; 0 = the number of cores; 1 to 64 */
    enum mqtt5_log_level log_level;             /**< MQTT5_LOG_INFO */
    bool log_json;                              /**< JSON lines instead of text */
    mqtt5_log_fn *log;                          /**< NULL: standard error */
    void *log_ctx;
    const struct mqtt5_allocator *allocator; /**< NULL: malloc; else safe for threads */
};

struct mqtt5_broker;

#ifdef __cplusplus
extern "C" {
#endif

MQTT5_API void mqtt5_broker_config_init(struct mqtt5_broker_config *config);
MQTT5_API void mqtt5_broker_options_init(struct mqtt5_broker_options *options);

/** Checks @p config. @return MQTT5_OK, or MQTT5_ERR_CONFIG and in @p why (may be NULL) a sentence
 *  that names the key and what it may be; static storage. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_broker_config_check(
    const struct mqtt5_broker_config *config, const char **why);

/** Makes a broker and binds its listeners; nothing is served before mqtt5_broker_run(). Options
 *  are copied. @p why (may be NULL) gets a sentence for people on failure, valid until the next
 *  call on this thread. With a storage_dir its sessions and retained messages are read back first.
 *  @return MQTT5_OK, MQTT5_ERR_CONFIG (also: another broker has the storage_dir, or it cannot be
 *  used), MQTT5_ERR_NOMEM, MQTT5_ERR_IO (an address cannot be bound, the store's disk fails). On
 *  failure *out is NULL. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_broker_new(
    const struct mqtt5_broker_options *options, struct mqtt5_broker **out, const char **why);

/** Serves until mqtt5_broker_stop(): the calling thread is the first worker. Then drains: listeners
 *  close, clients get DISCONNECT 0x8B, what is written is flushed for at most 3 s.
 *  With a store, what is left is then stored: for at most 5 s while storing fails.
 *  @return MQTT5_OK, or MQTT5_ERR_IO when a worker could not be started or something could not be
 *  stored (nothing that was acknowledged). */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_broker_run(struct mqtt5_broker *broker);

/** Reads the password, access control and ban files again; what they say counts at once, for live
 *  subscriptions and queued messages, too. Any thread, one at a time. @return MQTT5_OK, or
 *  MQTT5_ERR_CONFIG and in @p why (may be NULL) a sentence with file and line: all stay as they
 *  were. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_broker_reload(struct mqtt5_broker *broker,
                                                               const char **why);

/** What mqtt5_broker_reconfigure() did. */
struct mqtt5_broker_change {
    uint32_t listeners_opened, listeners_closed, listeners_changed;
    uint32_t listeners_failed; /**< left as they were, or not opened: see why */
};

/** Makes a broker that runs, or is about to, what @p options say, as far as that can be done
 *  without dropping a client: opens and closes listeners and changes their settings (TLS
 *  credentials are read anew), reads the files of who may connect and what they may do, changes the
 *  log level and those limits of `config` that no client was told. Connections that have come stay,
 *  also those of a listener that is closed now. The rest of @p options is not looked at: it counts
 *  at the next start. Any thread, one at a time; not with mqtt5_broker_reload() at once.
 *  @param out  may be NULL.
 *  @return MQTT5_OK; MQTT5_ERR_CONFIG and in @p why (may be NULL) a sentence: nothing has changed;
 *  MQTT5_ERR_IO: all is done but that a listener failed, as @p why and *out say. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_broker_reconfigure(
    struct mqtt5_broker *broker, const struct mqtt5_broker_options *options,
    struct mqtt5_broker_change *out, const char **why);

/** Asks mqtt5_broker_run() to end. Any thread, and safe in a signal handler. */
MQTT5_API void mqtt5_broker_stop(struct mqtt5_broker *broker);

/** The port that listener @p index is bound to, or 0. */
MQTT5_API uint16_t mqtt5_broker_port(const struct mqtt5_broker *broker, size_t index);

/** Frees a broker that is not running; NULL is accepted. */
MQTT5_API void mqtt5_broker_free(struct mqtt5_broker *broker);

#ifdef __cplusplus
}
#endif
#endif
