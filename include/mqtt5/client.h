/* An MQTT client: connect, publish, subscribe, with acknowledgements, keep-alive and resumption.
 *
 * A client is one session with one server. Every operation has a blocking form with a timeout and
 * an `_async` form that calls back. Its work (sockets, timers, callbacks) is done by a thread of
 * its own, or, with `own_thread` false, by whoever calls mqtt5_client_process() or a blocking form.
 *
 * Threads: every function may be called from any thread, also from callbacks of the client, with
 * the exceptions that are named. Callbacks come one at a time and without a lock held. In a
 * callback of its own client a blocking form answers MQTT5_ERR_INVALID_STATE, as it would wait for
 * itself, and mqtt5_client_free() is carried out after the callback has returned.
 *
 * Transports of this build: TCP, "mqtt://host:port" or "tcp://host:port" (port 1883 when left out,
 * IPv6 addresses in brackets), or a bare "host:port".
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_CLIENT_H
#define MQTT5_CLIENT_H

#include <mqtt5/allocator.h>
#include <mqtt5/packet.h>

struct mqtt5_client;

/** Waits for ever, where a timeout in milliseconds is asked for. */
#define MQTT5_FOREVER UINT32_MAX

/** A message that has arrived. Views and pointers die when the callback returns. */
struct mqtt5_message {
    const struct mqtt5_publish *publish; /**< with the topic filled in when an alias came */
};

/** Receives a message. It is acknowledged after this returns [MQTT-4.5.0-2]. */
typedef void mqtt5_message_fn(void *ctx, const struct mqtt5_message *message);

/** How an operation ended. Views die when the callback returns. */
struct mqtt5_client_result {
    /** MQTT5_OK; MQTT5_ERR_REFUSED (reason_code says why; for a subscription: every filter was
     *  refused); MQTT5_ERR_CLOSED (the connection or the session ended before the answer);
     *  MQTT5_ERR_TIMEOUT; MQTT5_ERR_PACKET_TOO_LARGE, _UNSUPPORTED (more than the server takes);
     *  MQTT5_ERR_IO (no connection could be made). */
    enum mqtt5_error error;
    uint8_t reason_code;                /**< of the acknowledgement; SUBACK: of the first filter */
    bool session_present;               /**< CONNACK */
    uint16_t packet_id;                 /**< 0 when none was used */
    struct mqtt5_bytes reason_codes;    /**< SUBACK, UNSUBACK: one per filter (3.1.1: SUBACK) */
    struct mqtt5_properties properties; /**< of the acknowledgement */
};

typedef void mqtt5_client_done_fn(void *ctx, const struct mqtt5_client_result *result);

enum mqtt5_client_state {
    MQTT5_CLIENT_DISCONNECTED,
    MQTT5_CLIENT_CONNECTING, /**< until CONNACK */
    MQTT5_CLIENT_CONNECTED,
    MQTT5_CLIENT_CLOSING /**< what is left is being sent; then DISCONNECTED */
};

/** A change of state that has just happened. */
struct mqtt5_client_change {
    enum mqtt5_client_state state; /**< CONNECTED or DISCONNECTED */
    bool by_server;                /**< DISCONNECTED: the server sent the reason code */
    struct mqtt5_client_result result;
};

typedef void mqtt5_client_change_fn(void *ctx, const struct mqtt5_client_change *change);

/** Connects instead of the built-in transports: a test's pipe, a tunnel, a transport of the user's.
 *  Called on the thread that does the client's work, without a lock held; it may wait, but holds up
 *  the client that long. @p url is what the client connects to, without user name and password.
 *  @return a connected, non-blocking stream descriptor that the client then owns and closes, or -1
 *  with a sentence part in @p why of @p why_size bytes. */
typedef int mqtt5_dial_fn(void *ctx, const char *url, char *why, size_t why_size);

/** How and when a connection that is lost, or cannot be made, is tried again. The wait before the
 *  n-th attempt in a row is min_ms * (factor_percent / 100)^(n-1), at most max_ms, of which a
 * random part of up to jitter_percent is taken off so that many clients do not come back at once.
 */
struct mqtt5_client_reconnect {
    bool enabled;            /**< true */
    bool first;              /**< false: a first connection that fails is an error of
                                  mqtt5_client_connect(); true: it is tried again like any other */
    uint32_t min_ms;         /**< 1,000 */
    uint32_t max_ms;         /**< 60,000 */
    uint32_t factor_percent; /**< 200; >= 100 */
    uint32_t jitter_percent; /**< 50; <= 100 */
    uint32_t attempts_max;   /**< 0 = unlimited; in a row */
    uint32_t stable_ms;      /**< 10,000: a connection that lasted so long starts the row anew */
    uint32_t redirects_max;  /**< 3: hops that Use Another Server (0x9C) and Server Moved (0x9D) may
                                  take us in a row; 0 = they are refusals. What the client tells its
                                  server, the password too, it then tells the other one */
};

/** What to do with a message that finds the queue full. */
enum mqtt5_overflow {
    MQTT5_OVERFLOW_FAIL,        /**< the call answers MQTT5_ERR_QUEUE_FULL */
    MQTT5_OVERFLOW_DROP_OLDEST, /**< messages not sent yet end with MQTT5_ERR_DROPPED, oldest first
                                 */
    MQTT5_OVERFLOW_DROP_NEWEST  /**< it ends itself with MQTT5_ERR_DROPPED; the call succeeds */
};

/** Certificates and keys from memory, PEM or DER; empty = none. Used by the schemes mqtts and wss,
 *  which this build does not have yet. */
struct mqtt5_client_tls {
    struct mqtt5_bytes ca;          /**< who may vouch for the server; empty = the system's */
    struct mqtt5_bytes certificate; /**< ours, with its chain */
    struct mqtt5_bytes key;         /**< ours */
    const char *key_password;       /**< NULL = none */
    const char *server_name;        /**< NULL = the URL's host */
    const char *alpn;               /**< "mqtt", "x-amzn-mqtt-ca"; NULL = none */
    bool insecure;                  /**< true: the server may be anybody */
};

/** Identity, session, limits and habits of a client. Call mqtt5_client_options_init() first;
 *  everything that it points at is borrowed until mqtt5_client_new() returns. */
struct mqtt5_client_options {
    size_t struct_size;                      /**< set by init; lets the struct grow */
    const struct mqtt5_allocator *allocator; /**< NULL: malloc; else safe for threads */

    /* who */
    uint8_t version;               /**< enum mqtt5_version: MQTT5_VERSION_5, or _3_1_1 */
    const char *client_id;         /**< "": the server assigns one (3.1.1: with clean_start only) */
    const char *username;          /**< NULL = none */
    struct mqtt5_bytes password;   /**< data NULL = none */
    const struct mqtt5_will *will; /**< NULL = none */

    /* session */
    bool clean_start;          /**< true: the first connection starts a new session */
    bool session_known;        /**< false; true: a session that the server has kept is welcome even
                                    though this client has no part of it [MQTT-3.2.2-4] */
    uint32_t session_expiry_s; /**< 0; MQTT5_SESSION_NEVER_EXPIRES. 3.1.1: clean_start decides */
    uint16_t keep_alive_s;     /**< 60; 0 = off, unless the server asks for it */
    uint32_t connect_timeout_ms; /**< 30,000: to reach each address, and for CONNACK */

    /** More for CONNECT: user properties, Request Problem/Response Information. What has a field
     *  of its own here is taken from there. Not for 3.1.1. */
    struct mqtt5_properties properties;

    /* limits */
    uint16_t receive_maximum;     /**< 1,024: QoS > 0 in flight towards us, >= 1 */
    uint32_t maximum_packet_size; /**< 16 MiB: bytes of a packet that we take */
    uint16_t topic_alias_maximum; /**< 16: aliases that the server may set */
    uint16_t inflight_max;        /**< 1,024: QoS > 0 in flight towards the server, >= 1 */
    uint32_t queued_messages_max; /**< 10,000: waiting or unacknowledged (MQTT5_ERR_QUEUE_FULL) */
    size_t queued_bytes_max;      /**< 64 MiB of them (MQTT5_ERR_QUEUE_FULL) */
    bool offline_queue;           /**< false; true: QoS > 0 may be published while disconnected */
    enum mqtt5_overflow overflow; /**< MQTT5_OVERFLOW_FAIL */

    /* where to */
    const char *url;     /**< for mqtt5_client_connect(client, NULL, ...); NULL */
    mqtt5_dial_fn *dial; /**< NULL = the transports of this build */
    void *dial_ctx;      /**< handed to it */
    struct mqtt5_client_tls tls;
    struct mqtt5_client_reconnect reconnect;

    /* the host */
    bool own_thread;              /**< true */
    mqtt5_message_fn *on_message; /**< messages that no subscription's callback took; or NULL */
    mqtt5_client_change_fn *on_change; /**< connected, disconnected; or NULL */
    void *ctx;                         /**< handed to both */
};

#define MQTT5_SESSION_NEVER_EXPIRES UINT32_MAX

/** What client and server have agreed on; of the last connection while disconnected. */
struct mqtt5_client_info {
    enum mqtt5_client_state state;
    bool session_present;
    uint8_t reason_code; /**< of CONNACK, or of the DISCONNECT that ended the connection */
    uint8_t maximum_qos;
    bool retain_available;
    uint16_t keep_alive_s;        /**< in force [MQTT-3.1.2-21] */
    uint16_t receive_maximum;     /**< the server's */
    uint16_t topic_alias_maximum; /**< the server's */
    uint32_t maximum_packet_size; /**< the server's */
    uint32_t session_expiry_s;    /**< in force */
    uint32_t queued_messages;     /**< waiting or unacknowledged */
    size_t queued_bytes;
};

#ifdef __cplusplus
extern "C" {
#endif

MQTT5_API void mqtt5_client_options_init(struct mqtt5_client_options *options);

/* The names of before, while programs move: a client that does not reconnect by itself. */
#define mqtt5_client_config mqtt5_client_options
MQTT5_API void mqtt5_client_config_init(struct mqtt5_client_options *options);

/** Makes a client; nothing is sent before mqtt5_client_connect(). @p options is copied.
 *  @return MQTT5_OK, MQTT5_ERR_NOMEM, MQTT5_ERR_CONFIG (a limit of 0, an unknown version, 3.1.1
 *  with an empty id and no clean start), or what is wrong with a string, the will or a property.
 *  On failure *out is NULL. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_new(
    const struct mqtt5_client_options *options, struct mqtt5_client **out);

/** Frees @p client (NULL is accepted) in any state; a connection is dropped without a DISCONNECT,
 *  so a will is published. Operations that are not complete end with MQTT5_ERR_CLOSED. */
MQTT5_API void mqtt5_client_free(struct mqtt5_client *client);

/** Connects, and waits until the server has accepted. While disconnected it may be called again,
 *  also with another URL: the session goes on unless `clean_start` is set.
 *  @return MQTT5_OK, MQTT5_ERR_UNSUPPORTED (a scheme of a transport that this build lacks),
 *  MQTT5_ERR_INVALID_ARGUMENT (no URL), MQTT5_ERR_INVALID_STATE (not disconnected),
 *  MQTT5_ERR_IO, MQTT5_ERR_REFUSED (see mqtt5_client_get_info()), MQTT5_ERR_TIMEOUT,
 *  MQTT5_ERR_NOMEM, or what was wrong with the server's answer. mqtt5_client_why() has it in words.
 */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_connect(struct mqtt5_client *client,
                                                                const char *url,
                                                                uint32_t timeout_ms);

/** As mqtt5_client_connect(); @p done (may be NULL) gets the result, unless this fails at once. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_connect_async(struct mqtt5_client *client,
                                                                      const char *url,
                                                                      mqtt5_client_done_fn *done,
                                                                      void *ctx);

/** Publishes, and waits: at QoS 0 until the message is handed to the transport, at QoS 1 for
 * PUBACK, at QoS 2 for PUBCOMP. `dup` and `packet_id` of @p publish are not looked at. It is
 * copied.
 *  @param reason  gets the reason code of the acknowledgement; may be NULL.
 *  @return MQTT5_OK; what mqtt5_client_publish_async() returns; or the error of the result. After
 *  MQTT5_ERR_TIMEOUT the message is still on its way; after MQTT5_ERR_CLOSED too, if its session is
 *  kept or with `offline_queue`: it then goes out with the next connection. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_publish(struct mqtt5_client *client,
                                                                const struct mqtt5_publish *publish,
                                                                uint32_t timeout_ms,
                                                                uint8_t *reason);

/** Queues a message and returns. Messages are sent in the order of the calls.
 *  @param done  gets the result; may be NULL. Not called when this fails.
 *  @return MQTT5_OK; MQTT5_ERR_QUEUE_FULL (try again when others are complete);
 *  MQTT5_ERR_INVALID_STATE (not connected and no `offline_queue`, or QoS 0);
 *  MQTT5_ERR_UNSUPPORTED [MQTT-3.2.2-11] [MQTT-3.2.2-14]; MQTT5_ERR_PACKET_TOO_LARGE
 *  [MQTT-3.2.2-15]; MQTT5_ERR_NOMEM; or what is wrong with topic or properties. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_publish_async(
    struct mqtt5_client *client, const struct mqtt5_publish *publish, mqtt5_client_done_fn *done,
    void *ctx);

/** Subscribes to `count` filters, and waits for SUBACK. `packet_id` and `raw` are not looked at.
 *  @param on_message  gets the messages that match one of the filters, until they are unsubscribed;
 *         NULL: config.on_message gets them.
 *  @param reasons  gets `count` reason codes (granted QoS or refusal); may be NULL.
 *  @return MQTT5_OK when at least one filter was granted; MQTT5_ERR_REFUSED; else as
 *  mqtt5_client_publish(). */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_subscribe(
    struct mqtt5_client *client, const struct mqtt5_subscribe *subscribe,
    mqtt5_message_fn *on_message, void *ctx, uint32_t timeout_ms, uint8_t *reasons);

/** What is called back by mqtt5_client_subscribe_async(). */
struct mqtt5_subscribe_callbacks {
    mqtt5_message_fn *on_message; /**< or NULL */
    void *message_ctx;
    mqtt5_client_done_fn *done; /**< or NULL */
    void *done_ctx;
};

MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_subscribe_async(
    struct mqtt5_client *client, const struct mqtt5_subscribe *subscribe,
    const struct mqtt5_subscribe_callbacks *callbacks);

/** Unsubscribes `count` filters, and waits for UNSUBACK; else as mqtt5_client_subscribe(). */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_unsubscribe(
    struct mqtt5_client *client, const struct mqtt5_unsubscribe *unsubscribe, uint32_t timeout_ms,
    uint8_t *reasons);

MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_unsubscribe_async(
    struct mqtt5_client *client, const struct mqtt5_unsubscribe *unsubscribe,
    mqtt5_client_done_fn *done, void *ctx);

/** Sends what is queued and may be sent, then DISCONNECT, and waits until the connection is closed.
 *  @param disconnect  reason code and properties (a new session expiry); NULL = normal.
 *  @return MQTT5_OK, MQTT5_ERR_INVALID_STATE (not connected), MQTT5_ERR_INVALID_ARGUMENT (an expiry
 *  for a session that had none), MQTT5_ERR_TIMEOUT, or what is wrong with a property. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_disconnect(
    struct mqtt5_client *client, const struct mqtt5_reasoned *disconnect, uint32_t timeout_ms);

/** As mqtt5_client_disconnect() without the wait; config.on_change tells when it is closed. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_disconnect_async(
    struct mqtt5_client *client, const struct mqtt5_reasoned *disconnect);

/** Does the client's work for up to @p timeout_ms, or until something was done. For clients with
 *  `own_thread` false. @return MQTT5_OK; MQTT5_ERR_INVALID_STATE when the client has its own thread
 *  or from a callback; MQTT5_ERR_CLOSED when a callback has freed the client: it is gone. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_process(struct mqtt5_client *client,
                                                                uint32_t timeout_ms);

/** Lets a mqtt5_client_process() that waits return. Safe in a signal handler. */
MQTT5_API void mqtt5_client_wake(struct mqtt5_client *client);

MQTT5_API void mqtt5_client_get_info(struct mqtt5_client *client, struct mqtt5_client_info *out);

/** Writes the client id in use, also one that the server assigned, zero-terminated and cut to
 *  @p size bytes. @return its length in bytes. */
MQTT5_API size_t mqtt5_client_id(struct mqtt5_client *client, char *out, size_t size);

/** Writes why the last operation failed or the connection ended, as a sentence part for people
 *  ("127.0.0.1:1883: Connection refused"); zero-terminated, cut to @p size (> 0) bytes. */
MQTT5_API void mqtt5_client_why(struct mqtt5_client *client, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
