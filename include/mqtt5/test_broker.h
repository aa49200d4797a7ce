/* A broker for tests of programs that use MQTT: the real engine, in this process, without ports,
 * that misbehaves when told to.
 *
 *     struct mqtt5_test_broker *broker;
 *     struct mqtt5_client_options options;
 *     mqtt5_test_broker_new(NULL, &broker);
 *     mqtt5_client_options_init(&options);
 *     options.dial = mqtt5_test_broker_dial;
 *     options.dial_ctx = broker;
 *     ...                                       // the URL to connect to may be any
 *     const struct mqtt5_test_fault fault = {
 *         .packet_type = MQTT5_PUBACK, .action = MQTT5_FAULT_SWALLOW, .count = 1};
 *     mqtt5_test_broker_fault(broker, &fault);  // the next PUBACK is lost
 *     ...
 *     mqtt5_test_broker_wait_publishes(broker, "a/#", 2, 5000);
 *
 * Clients reach it through pairs of connected sockets that mqtt5_test_broker_dial() makes; a
 * program with a client of another make can do the same with mqtt5_test_broker_connect(). It works
 * on a thread of its own. Every function may be called from any thread, but not from two at once
 * with mqtt5_test_broker_free(). What is told to it holds from the next packet on: a packet that is
 * already on its way may still get through.
 *
 * It forgets all when it is freed, and keeps everything that it saw until then (up to 64 MiB).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_TEST_BROKER_H
#define MQTT5_TEST_BROKER_H

#include <mqtt5/broker.h>
#include <mqtt5/packet.h>

struct mqtt5_test_broker;

/** What happens to a packet. */
enum mqtt5_fault_action {
    MQTT5_FAULT_SWALLOW,   /**< it is lost */
    MQTT5_FAULT_DELAY,     /**< it comes `delay_ms` later; towards the client others overtake it,
                                from the client nothing behind it is read meanwhile */
    MQTT5_FAULT_CORRUPT,   /**< the byte at `offset` is exclusive-or'ed with `mask` */
    MQTT5_FAULT_REPEAT,    /**< it comes twice */
    MQTT5_FAULT_CUT,       /**< it is lost, and the connection with it */
    MQTT5_FAULT_CUT_BEHIND /**< it comes, and then the connection is cut */
};

/** A fault, for packets of one type in one direction. */
struct mqtt5_test_fault {
    uint8_t packet_type; /**< enum mqtt5_packet_type; 0 = any */
    bool from_client;    /**< false: towards the client */
    enum mqtt5_fault_action action;
    const char *client_id; /**< of this client only; NULL = of any; copied */
    uint32_t skip;         /**< so many such packets pass first */
    uint32_t count;        /**< then it happens to so many; 0 = to all, for ever */
    uint32_t delay_ms;     /**< MQTT5_FAULT_DELAY; by the broker's clock */
    uint32_t offset; /**< MQTT5_FAULT_CORRUPT: from the packet's first byte, its length modulo */
    uint8_t mask;    /**< MQTT5_FAULT_CORRUPT: 0 = all bits */
};

/** What CONNACK announces instead of the truth, to v5 clients; -1 = the truth. The broker itself
 *  goes on as configured, so a client that does not listen is not stopped but seen. */
struct mqtt5_test_limits {
    int32_t receive_maximum, maximum_qos, retain_available, topic_alias_maximum;
    int32_t server_keep_alive_s;
    int32_t wildcard_subscription_available, shared_subscription_available;
    int64_t maximum_packet_size, session_expiry_s;
};

/** A packet that was seen. Views live until mqtt5_test_broker_forget() or _free(). */
struct mqtt5_test_packet {
    bool from_client;             /**< false: from the broker, or mqtt5_test_broker_send() */
    bool lost;                    /**< a fault has swallowed it */
    uint8_t type;                 /**< enum mqtt5_packet_type */
    uint8_t version;              /**< enum mqtt5_version of the connection */
    uint32_t connection;          /**< 1 = the first that was made */
    struct mqtt5_bytes client_id; /**< empty before CONNECT (assigned: before CONNACK) */
    struct mqtt5_bytes topic;     /**< PUBLISH: with its alias looked up */
    struct mqtt5_bytes raw;       /**< all of it, as it came or before it was corrupted */
    bool decoded;                 /**< `packet` is set */
    struct mqtt5_packet packet;   /**< views into `raw` */
};

#ifdef __cplusplus
extern "C" {
#endif

/** Starts a broker. @p config is copied; NULL: the defaults of mqtt5_broker_config_init() with
 *  anonymous clients and without $SYS.
 *  @return MQTT5_OK, MQTT5_ERR_CONFIG, MQTT5_ERR_NOMEM or MQTT5_ERR_IO (no thread, no descriptors).
 *  On failure *out is NULL. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_test_broker_new(
    const struct mqtt5_broker_config *config, struct mqtt5_test_broker **out);

/** Cuts all connections, ends the thread and frees @p broker; NULL is accepted. */
MQTT5_API void mqtt5_test_broker_free(struct mqtt5_test_broker *broker);

/* ---- connections ---- */

/** Makes a connection: a mqtt5_dial_fn whose @p broker is the struct mqtt5_test_broker.
 *  @return the client's end, non-blocking, or -1 with the reason in @p why. */
MQTT5_API int mqtt5_test_broker_dial(void *broker, const char *url, char *why, size_t why_size);

/** The same for those without a `dial`. */
MQTT5_API int mqtt5_test_broker_connect(struct mqtt5_test_broker *broker);

/** How often it was dialled, also when that was refused, and the URL of the last time (zero-
 *  terminated, cut to @p size; @p url may be NULL). */
MQTT5_API uint32_t mqtt5_test_broker_dials(struct mqtt5_test_broker *broker, char *url,
                                           size_t size);

/** Cuts the connections of @p client_id; NULL: all there are. Nothing is said before. */
MQTT5_API void mqtt5_test_broker_cut(struct mqtt5_test_broker *broker, const char *client_id);

/** Sends @p bytes, whatever they are, to @p client_id (NULL: to all connections) between two
 *  packets of the broker.
 *  @return how many connections get them. */
MQTT5_API uint32_t mqtt5_test_broker_send(struct mqtt5_test_broker *broker, const char *client_id,
                                          struct mqtt5_bytes bytes);

/** Publishes a message as somebody else would; `packet_id` and `dup` are not looked at.
 *  @return MQTT5_OK; MQTT5_ERR_INVALID_ARGUMENT: it cannot be encoded; MQTT5_ERR_NOMEM. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_test_broker_publish(
    struct mqtt5_test_broker *broker, const struct mqtt5_publish *publish);

/* ---- misbehaviour ---- */

/** Adds a fault. Of several that fit a packet the oldest counts. A fault that has happened to
 *  `count` packets is gone.
 *  @return MQTT5_OK, MQTT5_ERR_INVALID_ARGUMENT or MQTT5_ERR_NOMEM. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_test_broker_fault(
    struct mqtt5_test_broker *broker, const struct mqtt5_test_fault *fault);

/** Takes back all faults, refusals, limits and mqtt5_test_broker_stop_reading(). */
MQTT5_API void mqtt5_test_broker_behave(struct mqtt5_test_broker *broker);

/** Answers the next @p count CONNECTs with @p reason_code (3.1.1: the return code) and closes;
 *  UINT32_MAX: all. @p server_reference (v5; NULL: none; copied, cut to 255 bytes) goes with it:
 *  with 0x9C or 0x9D the client is sent elsewhere, which comes to the same `dial`. */
MQTT5_API void mqtt5_test_broker_refuse(struct mqtt5_test_broker *broker, uint32_t count,
                                        uint8_t reason_code, const char *server_reference);

/** Lets the next @p count dials fail; UINT32_MAX: all. */
MQTT5_API void mqtt5_test_broker_refuse_dials(struct mqtt5_test_broker *broker, uint32_t count);

/** Announces @p limits in every CONNACK from now on; mqtt5_test_limits_init() first. */
MQTT5_API void mqtt5_test_limits_init(struct mqtt5_test_limits *limits);
MQTT5_API void mqtt5_test_broker_announce(struct mqtt5_test_broker *broker,
                                          const struct mqtt5_test_limits *limits);

/** Reads nothing any more (@p stop true), so that what clients send backs up to them; or goes on.
 */
MQTT5_API void mqtt5_test_broker_stop_reading(struct mqtt5_test_broker *broker, bool stop);

/** Stops the broker's clock (@p pause true): no keep-alive, expiry or delay runs out; or goes on
 *  from where it was. */
MQTT5_API void mqtt5_test_broker_pause_time(struct mqtt5_test_broker *broker, bool pause);

/** Moves the broker's clock, paused or not. */
MQTT5_API void mqtt5_test_broker_advance_time(struct mqtt5_test_broker *broker, uint32_t ms);

/* ---- looking ---- */

/** Waits until @p count PUBLISH packets whose topic matches @p filter have come from clients since
 *  the beginning, or since mqtt5_test_broker_forget(); repeated ones count, lost ones do not.
 *  @return false after @p timeout_ms, or when @p filter is none. */
MQTT5_API bool mqtt5_test_broker_wait_publishes(struct mqtt5_test_broker *broker,
                                                const char *filter, uint32_t count,
                                                uint32_t timeout_ms);

/** Waits until @p count packets of @p type were seen in one direction, lost ones included; 0 for
 *  the timeout just looks. */
MQTT5_API bool mqtt5_test_broker_wait_packets(struct mqtt5_test_broker *broker, uint8_t type,
                                              bool from_client, uint32_t count,
                                              uint32_t timeout_ms);

/** Waits until exactly @p count clients are connected: from CONNACK with success on until the
 *  connection has ended. */
MQTT5_API bool mqtt5_test_broker_wait_clients(struct mqtt5_test_broker *broker, uint32_t count,
                                              uint32_t timeout_ms);

/** Gives the packet at @p index, 0 = the oldest that is not forgotten, in the order they were seen.
 *  @return false behind the last. */
MQTT5_API bool mqtt5_test_broker_packet(struct mqtt5_test_broker *broker, uint32_t index,
                                        struct mqtt5_test_packet *out);

/** Forgets the packets seen so far. */
MQTT5_API void mqtt5_test_broker_forget(struct mqtt5_test_broker *broker);

/** Waits until there are exactly @p count sessions, connected or not. */
MQTT5_API bool mqtt5_test_broker_wait_sessions(struct mqtt5_test_broker *broker, uint32_t count,
                                               uint32_t timeout_ms);

/** Counts sessions, connected or not. */
MQTT5_API uint32_t mqtt5_test_broker_sessions(struct mqtt5_test_broker *broker);

/** Tells whether @p client_id is connected. */
MQTT5_API bool mqtt5_test_broker_has_client(struct mqtt5_test_broker *broker,
                                            const char *client_id);

/** Gives the QoS that @p client_id was granted for @p filter ("$share/" included), as long as its
 *  session has it; -1: it is not subscribed. */
MQTT5_API int mqtt5_test_broker_subscription(struct mqtt5_test_broker *broker,
                                             const char *client_id, const char *filter);

#ifdef __cplusplus
}
#endif
#endif
