/* An MQTT client: connect and reconnect, publish, subscribe, request and answer, with
 * acknowledgements, an offline queue, keep-alive and resumption.
 *
 * A client is one session with one server. Every operation has an `_async` form that calls back;
 * the common ones have a blocking form with a timeout, and any of them can be waited for with a
 * struct mqtt5_call. The work (sockets, timers, callbacks) is done, as the options say, by
 *
 *   own_thread = true   a thread of the client's own (the default);
 *   loop = ...          the thread of a struct mqtt5_client_loop, which many clients share;
 *   neither             whoever calls mqtt5_client_process() or a blocking form: mqtt5_client_fd()
 *                       and mqtt5_client_timeout_ms() tell an event loop when that is due.
 *
 * Threads: every function may be called from any thread, also from callbacks of the client, with
 * the exceptions that are named. Callbacks of a client come one at a time and without a lock held.
 * In a callback a blocking form answers MQTT5_ERR_INVALID_STATE when it would wait for the very
 * thread that calls it, and mqtt5_client_free() is carried out after the callback has returned.
 *
 * Transports of this build: TCP, "mqtt://user:password@host:port" or "tcp://..." (port 1883 when
 * left out, IPv6 addresses in brackets, name and password percent-encoded), or a bare "host:port";
 * TLS, "mqtts://", "ssl://" or "tls://" (8883); WebSocket, "ws://host:port/path" (80, "/mqtt"), and
 * that over TLS, "wss://" (443); "unix:///path". quic (14567) is read as well and answers
 * MQTT5_ERR_NOT_BUILT. Who a server of TLS is gets verified unless options.tls.insecure.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_CLIENT_H
#define MQTT5_CLIENT_H

#include <mqtt5/allocator.h>
#include <mqtt5/namespace.h>
#include <mqtt5/packet.h>
#include <mqtt5/tls.h>

struct mqtt5_client;
struct mqtt5_client_loop;

/** Waits for ever, where a timeout in milliseconds is asked for. */
#define MQTT5_FOREVER UINT32_MAX

/** A message that has arrived. Views and pointers die when the callback returns. */
struct mqtt5_message {
    const struct mqtt5_publish *publish; /**< with the topic filled in when an alias came */
    struct mqtt5_client *client;         /**< whose message it is */
};

/** Receives a message. It is acknowledged after this returns [MQTT-4.5.0-2], unless a callback
 *  has called mqtt5_message_defer(). */
typedef void mqtt5_message_fn(void *ctx, const struct mqtt5_message *message);

/** How an operation ended. Views die when the callback returns. */
struct mqtt5_client_result {
    /** MQTT5_OK; MQTT5_ERR_REFUSED (reason_code says why; for a subscription: every filter was
     *  refused); MQTT5_ERR_CLOSED (the connection or the session ended before the answer);
     *  MQTT5_ERR_TIMEOUT; MQTT5_ERR_PACKET_TOO_LARGE, _UNSUPPORTED (more than the server takes);
     *  MQTT5_ERR_EXPIRED, MQTT5_ERR_DROPPED (before it was sent); MQTT5_ERR_IO (no connection could
     *  be made). */
    enum mqtt5_error error;
    uint8_t reason_code;                /**< of the acknowledgement; SUBACK: of the first filter */
    bool session_present;               /**< CONNACK */
    uint16_t packet_id;                 /**< 0 when none was used */
    struct mqtt5_bytes reason_codes;    /**< SUBACK, UNSUBACK: one per filter (3.1.1: SUBACK) */
    struct mqtt5_bytes reason_string;   /**< the server's words, if it had any [MQTT-3.4.2-2] */
    struct mqtt5_properties properties; /**< of the acknowledgement */
};

typedef void mqtt5_client_done_fn(void *ctx, const struct mqtt5_client_result *result);

enum mqtt5_client_state {
    MQTT5_CLIENT_DISCONNECTED,
    MQTT5_CLIENT_CONNECTING, /**< until CONNACK */
    MQTT5_CLIENT_CONNECTED,
    MQTT5_CLIENT_CLOSING, /**< what is left is being sent; then DISCONNECTED or WAITING */
    MQTT5_CLIENT_WAITING  /**< not connected; the next attempt is due in a while */
};

/** What an error means for the next attempt to connect; by code, never by text. */
enum mqtt5_error_class {
    MQTT5_CLASS_NONE,      /**< no error */
    MQTT5_CLASS_TRANSIENT, /**< network, timeouts, a server that is busy or going down: try again */
    MQTT5_CLASS_SLOW,      /**< quotas, rates, an administrator, a broken answer: try again, but at
                                least ten times min_ms later */
    MQTT5_CLASS_REDIRECT,  /**< Use Another Server, Server Moved */
    MQTT5_CLASS_PERMANENT  /**< the same again would fail again: credentials, identifier, version,
                                session taken over, a certificate, a path that is not there, a
                                transport that is not built. A client that has been connected tries
                                again, as for _SLOW, when TLS or WebSocket are refused: somebody
                                may be renewing a certificate */
};

/** A change of state that has just happened. */
struct mqtt5_client_change {
    enum mqtt5_client_state state; /**< CONNECTED; WAITING: lost, or not made, and tried again in
                                        retry_ms; DISCONNECTED: for good */
    bool by_server;                /**< not CONNECTED: the server sent the reason code */
    uint32_t attempt;              /**< WAITING: number of the next attempt, 1 = the first again */
    uint32_t retry_ms;             /**< WAITING */
    struct mqtt5_client_result result;
};

typedef void mqtt5_client_change_fn(void *ctx, const struct mqtt5_client_change *change);

/** Connects instead of the built-in transports, TLS and WebSocket included, whatever the scheme of
 *  the URL: a test's pipe, a tunnel, a transport of the user's.
 *  Called on the thread that does the client's work, without a lock held; it may wait, but holds up
 *  the client that long. @p url is what the client connects to, without user name and password.
 *  @return a connected, non-blocking stream socket that the client then owns and closes, or -1
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

/** The queue had no room for a message, and is half empty again. */
typedef void mqtt5_room_fn(void *ctx, struct mqtt5_client *client);

/** A subscription was made again, as the server had lost the session, and was refused. */
typedef void mqtt5_refused_fn(void *ctx, struct mqtt5_bytes filter, uint8_t reason_code);

/** What to do with a message that finds the queue full. */
enum mqtt5_overflow {
    MQTT5_OVERFLOW_FAIL,        /**< the call answers MQTT5_ERR_QUEUE_FULL */
    MQTT5_OVERFLOW_DROP_OLDEST, /**< messages not sent yet end with MQTT5_ERR_DROPPED, oldest first
                                 */
    MQTT5_OVERFLOW_DROP_NEWEST  /**< it ends itself with MQTT5_ERR_DROPPED; the call succeeds */
};

/** A step of an exchange of AUTH packets (section 4.12). */
enum mqtt5_auth_step {
    MQTT5_AUTH_START,    /**< for CONNECT: gives the first data */
    MQTT5_AUTH_CONTINUE, /**< the server sent Continue Authentication with data: answers it */
    MQTT5_AUTH_AGAIN,    /**< for mqtt5_client_reauthenticate(): gives the first data */
    MQTT5_AUTH_SUCCESS   /**< the server has accepted, with data that may have to be verified */
};

/** Takes a step. @p data is what came; *reply is what goes out (views; they stay until the next
 *  step; empty = no data), not looked at for MQTT5_AUTH_SUCCESS. Called like any callback, but
 *  before mqtt5_client_connect() has answered.
 *  @return MQTT5_OK to go on; anything else ends the connection with that error. */
typedef enum mqtt5_error mqtt5_auth_fn(void *ctx, enum mqtt5_auth_step step,
                                       struct mqtt5_bytes data, struct mqtt5_bytes *reply);

/** Adds user properties to a message that is being published (trace context). Called on the thread
 *  that publishes, with the client's lock held: it must not call the client.
 *  @param out  room for @p max properties; views that stay until the publish call returns.
 *  @return how many were written. */
typedef uint32_t mqtt5_trace_publish_fn(void *ctx, const struct mqtt5_publish *publish,
                                        struct mqtt5_user_property *out, uint32_t max);

/** Looks at a message around its callbacks: once before the first and once after the last. What it
 *  returned before is handed in after (a span, say); NULL the first time. */
typedef void *mqtt5_trace_deliver_fn(void *ctx, const struct mqtt5_message *message, void *span);

/** The most user properties that a mqtt5_trace_publish_fn may add. */
#define MQTT5_TRACE_PROPERTIES_MAX 8

/** Of the schemes ws and wss. Zeros are the defaults. */
struct mqtt5_client_websocket {
    const char *const *headers; /**< sent with the request: "Name: value", in one line */
    size_t header_count;
    const char *subprotocol; /**< NULL = "mqtt" [MQTT-6.0.0-3]; "" = none is asked for */
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
    bool offline_queue;           /**< false; true: QoS > 0 may be published while not connected,
                                       and what the end of a session would cut off is sent again */
    bool offline_qos0;            /**< false; true: QoS 0 likewise; not without offline_queue */
    enum mqtt5_overflow overflow; /**< MQTT5_OVERFLOW_FAIL */
    const char *queue_file;       /**< NULL; a path: messages of QoS > 0 are kept there until they
                                       are acknowledged, and survive the process */
    bool queue_file_sync;         /**< true: on the disk before mqtt5_client_publish() returns */
    uint16_t auto_aliases_max;    /**< 0; topic aliases that the client sets by itself, if the
                                       server takes so many */
    bool deferred_acks;           /**< false; true: mqtt5_message_defer() may be used */
    uint32_t ack_lapse_ms;        /**< 0 = never; then a deferred acknowledgement lapses */
    uint8_t ack_lapse_reason;     /**< 0x80: how; 0 = accepted. 3.1.1 knows only accepted */
    const struct mqtt5_namespace_rules *rules; /**< for topics and filters; NULL = the protocol's
                                                    only. Borrowed for the client's life */

    /* where to */
    const char *url;     /**< for mqtt5_client_connect(client, NULL, ...); NULL */
    mqtt5_dial_fn *dial; /**< NULL = the transports of this build */
    void *dial_ctx;      /**< handed to it */
    /** Of mqtts and wss. Files are read by mqtt5_client_new(); what is wrong with them is the
     * answer of mqtt5_client_connect() (MQTT5_ERR_CONFIG) and mqtt5_client_why(). With nothing set
     * the system's certificate authorities are read when the first connection needs them. */
    struct mqtt5_tls_client_options tls;
    struct mqtt5_client_websocket websocket;
    struct mqtt5_client_reconnect reconnect;
    uint64_t seed; /**< of the jitter and of correlation data; 0 = from the system */

    /* who we are, by an exchange */
    const char *auth_method; /**< NULL = none */
    mqtt5_auth_fn *auth;     /**< its handler */
    void *auth_ctx;          /**< handed to it */

    /* trace context; each may be NULL */
    mqtt5_trace_publish_fn *on_trace_publish;
    mqtt5_trace_deliver_fn *on_trace_deliver;
    void *trace_ctx; /**< handed to both */

    /* the host */
    bool own_thread;                /**< true; not looked at with `loop` */
    struct mqtt5_client_loop *loop; /**< NULL; must outlive the client */
    mqtt5_message_fn *on_message;   /**< messages that no subscription's callback took; or NULL */
    mqtt5_client_change_fn *on_change; /**< connected, disconnected; or NULL */
    mqtt5_room_fn *on_room;            /**< a queue that was full has room again; or NULL */
    mqtt5_refused_fn *on_refused;      /**< or NULL */
    void *ctx;                         /**< handed to all of these */
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
    uint64_t connects;         /**< connections that were accepted, since mqtt5_client_new() */
    uint64_t dropped_messages; /**< by `overflow` */
    uint64_t expired_messages; /**< while they were queued */
};

#ifdef __cplusplus
extern "C" {
#endif

/** Sets the defaults that the fields name; all others are 0, false, NULL or empty. */
MQTT5_API void mqtt5_client_options_init(struct mqtt5_client_options *options);

/** Makes a client; nothing is sent before mqtt5_client_connect(). @p options is copied.
 *  @return MQTT5_OK, MQTT5_ERR_NOMEM, MQTT5_ERR_CONFIG (a limit of 0, an unknown version, 3.1.1
 *  with an empty id and no clean start, numbers of `reconnect` out of range, a method without a
 *  handler), MQTT5_ERR_UNSUPPORTED (what 3.1.1 does not have), MQTT5_ERR_IO (no descriptors; the
 *  queue file), or what is wrong with a string, the will or a property. On failure *out is NULL. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_new(
    const struct mqtt5_client_options *options, struct mqtt5_client **out);

/** Frees @p client (NULL is accepted) in any state; a connection is dropped without a DISCONNECT,
 *  so a will is published. Operations that are not complete end with MQTT5_ERR_CLOSED. */
MQTT5_API void mqtt5_client_free(struct mqtt5_client *client);

/** Connects, and waits until the server has accepted. While disconnected it may be called again,
 *  also with another URL (NULL: options.url): the session goes on unless `clean_start` is set. User
 *  name and password in the URL go before those of the options. A connection that is lost later is
 *  made again as options.reconnect says, until mqtt5_client_disconnect().
 *
 *  A first connection that fails is not tried again, whatever the reason, unless `reconnect.first`
 *  is set: then errors of MQTT5_CLASS_PERMANENT and `attempts_max` end it, and this waits on.
 *  @return MQTT5_OK, MQTT5_ERR_NOT_BUILT (a scheme of a transport that this build lacks),
 *  MQTT5_ERR_INVALID_ARGUMENT (no URL), MQTT5_ERR_INVALID_STATE (not disconnected),
 *  MQTT5_ERR_CONFIG (options.tls cannot be used), MQTT5_ERR_TLS (a certificate that cannot be
 *  trusted, ours refused, no version in common), MQTT5_ERR_WEBSOCKET (an answer like 404),
 *  MQTT5_ERR_IO, MQTT5_ERR_REFUSED (see mqtt5_client_get_info()), MQTT5_ERR_TIMEOUT (it has been
 *  given up), MQTT5_ERR_NOMEM, or what was wrong with the server's answer. mqtt5_client_why() has
 *  it in words. */
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
 *  MQTT5_ERR_TIMEOUT the message is still on its way, or, if it never found room in a full queue,
 *  MQTT5_ERR_QUEUE_FULL says that it is not; after MQTT5_ERR_CLOSED it is too, if its session is
 *  kept or with `offline_queue`: it then goes out with the next connection. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_publish(struct mqtt5_client *client,
                                                                const struct mqtt5_publish *publish,
                                                                uint32_t timeout_ms,
                                                                uint8_t *reason);

/** Queues a message and returns. Messages are sent in the order of the calls.
 *  @param done  gets the result; may be NULL. Not called when this fails.
 *  @return MQTT5_OK; MQTT5_ERR_QUEUE_FULL (try again when others are complete:
 *  mqtt5_client_wait_room(), options.on_room); MQTT5_ERR_INVALID_STATE (not connected and no
 *  `offline_queue`, or QoS 0 and no `offline_qos0`); MQTT5_ERR_NOT_AUTHORIZED and others of
 *  mqtt5_namespace_check_topic() when options.rules forbid it; MQTT5_ERR_UNSUPPORTED
 * [MQTT-3.2.2-11] [MQTT-3.2.2-14]; MQTT5_ERR_PACKET_TOO_LARGE [MQTT-3.2.2-15]; MQTT5_ERR_NOMEM; or
 * what is wrong with topic or properties. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_publish_async(
    struct mqtt5_client *client, const struct mqtt5_publish *publish, mqtt5_client_done_fn *done,
    void *ctx);

/** Waits until the queue has room for another message: fewer than half of `queued_messages_max` and
 *  of `queued_bytes_max` are taken.
 *  @return MQTT5_OK; MQTT5_ERR_TIMEOUT; MQTT5_ERR_INVALID_STATE in a callback. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_wait_room(struct mqtt5_client *client,
                                                                  uint32_t timeout_ms);

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

/** Subscribes to one filter, and waits for SUBACK: the short form for the common case.
 *  @param packet_id, @param granted  get the packet identifier and the QoS that the server grants;
 *         each may be NULL.
 *  @return as mqtt5_client_subscribe(). */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_subscribe_one(
    struct mqtt5_client *client, const char *filter, uint8_t qos, mqtt5_message_fn *on_message,
    void *ctx, uint32_t timeout_ms, uint16_t *packet_id, uint8_t *granted);

/** A handler of one filter, for mqtt5_client_subscribe_each_async(). */
struct mqtt5_subscription_handler {
    mqtt5_message_fn *on_message; /**< or NULL */
    void *ctx;
};

/** As mqtt5_client_subscribe_async() with a handler for each filter: @p handlers has `count` of
 *  them, in the order of the filters; it is copied. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_subscribe_each_async(
    struct mqtt5_client *client, const struct mqtt5_subscribe *subscribe,
    const struct mqtt5_subscription_handler *handlers, mqtt5_client_done_fn *done, void *ctx);

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

/** Ends the connection without DISCONNECT, so that the server publishes the will [MQTT-3.1.2-8],
 * and does not come back.
 *  @return MQTT5_OK or MQTT5_ERR_INVALID_STATE (disconnected already). */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_abort(struct mqtt5_client *client);

/** Sends PINGREQ; @p done (may be NULL) gets the result when PINGRESP has come.
 *  @return MQTT5_OK, MQTT5_ERR_INVALID_STATE (not connected), MQTT5_ERR_NOMEM. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_ping_async(struct mqtt5_client *client,
                                                                   mqtt5_client_done_fn *done,
                                                                   void *ctx);

/** Sends PINGREQ and waits for PINGRESP. @return as mqtt5_client_ping_async(), MQTT5_ERR_TIMEOUT,
 *  MQTT5_ERR_CLOSED. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_ping(struct mqtt5_client *client,
                                                             uint32_t timeout_ms);

/** Begins an exchange of AUTH packets anew [MQTT-4.12.1-1] with options.auth; @p done (may be NULL)
 *  gets its end. The connection goes on meanwhile.
 *  @return MQTT5_OK, MQTT5_ERR_INVALID_STATE (not connected, no method, or one is under way),
 *  MQTT5_ERR_NOMEM, or what the handler returned. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_reauthenticate_async(
    struct mqtt5_client *client, mqtt5_client_done_fn *done, void *ctx);

/* ---- deferred acknowledgement ---- */

/** Names a message that waits for its acknowledgement. A value: copy it as you like. */
struct mqtt5_ack_token {
    uint64_t number;
};

/** Only in a callback that has got @p message: it will be acknowledged by mqtt5_client_ack(), not
 *  when the callbacks have returned. The server's in-flight window (options.receive_maximum) is
 *  taken by it until then, which holds the server back: end-to-end back-pressure. Acknowledgements
 *  go out in the order of the messages whatever the order of the calls [MQTT-4.6.0-2]
 *  [MQTT-4.6.0-3]. Several callbacks of one message share the token; the first answer counts.
 *  @return MQTT5_OK; MQTT5_ERR_INVALID_STATE (no options.deferred_acks, not in such a callback);
 *  MQTT5_ERR_INVALID_ARGUMENT (a message of QoS 0); MQTT5_ERR_NOMEM (it is acknowledged as usual).
 */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_message_defer(const struct mqtt5_message *message,
                                                               struct mqtt5_ack_token *out);

/** Acknowledges a deferred message: @p reason_code 0 accepts it, one that PUBACK and PUBREC may
 *  carry (>= 0x80) rejects it; 3.1.1 cannot say so, there it is accepted.
 *
 *  When the connection is lost meanwhile, a message of QoS 1 comes again, with a new token, and the
 *  old one answers MQTT5_ERR_CLOSED. One of QoS 2 does not, as long as the session lives: its token
 *  stays good, and the answer is given when the server has sent the message again.
 *  @return MQTT5_OK; MQTT5_ERR_CLOSED (answered before, lapsed, or its connection or session is
 *  over); MQTT5_ERR_INVALID_STATE (answered, and behind others that are not);
 *  MQTT5_ERR_REASON_CODE. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_ack(struct mqtt5_client *client,
                                                            struct mqtt5_ack_token token,
                                                            uint8_t reason_code);

/* ---- requests and answers ---- */

/** An answer to a request; @p error as in a result, MQTT5_ERR_TIMEOUT when none has come in time;
 *  @p answer is NULL unless it is MQTT5_OK, and dies when this returns. */
typedef void mqtt5_answer_fn(void *ctx, enum mqtt5_error error, const struct mqtt5_publish *answer);

/** Publishes @p request with a response topic and correlation data of the client's own (those of
 *  @p request are not looked at), and hands the answer to @p answered. The first request subscribes
 *  to that topic, below what the server's Response Information names, if it gave one. An answer
 *  counts only when it carries the correlation data. Version 5 only.
 *  @return as mqtt5_client_publish_async(); MQTT5_ERR_UNSUPPORTED (3.1.1). */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_request_async(
    struct mqtt5_client *client, const struct mqtt5_publish *request, uint32_t timeout_ms,
    mqtt5_answer_fn *answered, void *ctx);

/** Publishes @p answer to the response topic of @p request with its correlation data; the topic of
 *  @p answer is not looked at. @return as mqtt5_client_publish_async();
 *  MQTT5_ERR_INVALID_ARGUMENT: the request asks for no answer. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_answer_async(
    struct mqtt5_client *client, const struct mqtt5_publish *request,
    const struct mqtt5_publish *answer, mqtt5_client_done_fn *done, void *ctx);

/* ---- waiting for anything ---- */

/** Waits for one `_async` operation and keeps its whole result:
 *
 *      struct mqtt5_call *call = mqtt5_call_new(client);
 *      error = mqtt5_client_publish_async(client, &publish, mqtt5_call_done, call);
 *      if (error == MQTT5_OK) error = mqtt5_call_wait(call, 5000);
 *      ... mqtt5_call_result(call)->reason_string ...
 *      mqtt5_call_free(call);
 *
 *  Several can be under way at once. A call may be used again after it has ended. */
struct mqtt5_call;

/** NULL without memory. @p client must outlive the call. */
MQTT5_API struct mqtt5_call *mqtt5_call_new(struct mqtt5_client *client);

/** Frees @p call (NULL is accepted), also while its operation is under way, which then goes on. */
MQTT5_API void mqtt5_call_free(struct mqtt5_call *call);

/** A mqtt5_client_done_fn whose `ctx` is the call. */
MQTT5_API void mqtt5_call_done(void *ctx, const struct mqtt5_client_result *result);

/** Waits for the end of the operation that was started with @p call.
 *  @return its result's error; MQTT5_ERR_TIMEOUT (it goes on; wait again); MQTT5_ERR_INVALID_STATE
 *  (in a callback, or nothing was started). */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_call_wait(struct mqtt5_call *call,
                                                           uint32_t timeout_ms);

/** The result, a copy that lives as long as @p call or until its next operation; NULL before. */
MQTT5_API const struct mqtt5_client_result *mqtt5_call_result(const struct mqtt5_call *call);

/* ---- a loop of one's own, or of many clients ---- */

/** A descriptor that is readable when mqtt5_client_process() has something to do, for clients with
 *  neither thread nor loop; to be watched for reading only, and left open. -1 for others. */
MQTT5_API int mqtt5_client_fd(struct mqtt5_client *client);

/** In how many milliseconds mqtt5_client_process() is due though the descriptor stays quiet; 0 =
 *  now; MQTT5_FOREVER = not at all. To be asked again after each call of a function on @p client.
 */
MQTT5_API uint32_t mqtt5_client_timeout_ms(struct mqtt5_client *client);

/** Makes a thread that does the work of all clients whose options name it.
 *  @return MQTT5_OK, MQTT5_ERR_NOMEM, MQTT5_ERR_IO. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_loop_new(struct mqtt5_client_loop **out);

/** Ends the thread. All its clients must have been freed, and it must not be called on the loop's
 *  own thread. NULL is accepted. */
MQTT5_API void mqtt5_client_loop_free(struct mqtt5_client_loop *loop);

/** Does the client's work for up to @p timeout_ms, or until something was done. For clients with
 *  neither thread nor loop. @return MQTT5_OK; MQTT5_ERR_INVALID_STATE for others or from a
 *  callback; MQTT5_ERR_CLOSED when a callback has freed the client: it is gone. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_process(struct mqtt5_client *client,
                                                                uint32_t timeout_ms);

/** Lets a mqtt5_client_process() that waits return. Safe in a signal handler. */
MQTT5_API void mqtt5_client_wake(struct mqtt5_client *client);

MQTT5_API void mqtt5_client_get_info(struct mqtt5_client *client, struct mqtt5_client_info *out);

/** What an error of an operation, or of a change, means for the next attempt: @p result of
 *  @p version (3.1.1 has return codes of its own). Any thread. */
MQTT5_API enum mqtt5_error_class mqtt5_client_classify(const struct mqtt5_client_result *result,
                                                       uint8_t version);

/** Copies @p publish into one block of memory of @p allocator (NULL: malloc), so that it outlives
 *  the callback. NULL without memory. */
MQTT5_API struct mqtt5_publish *mqtt5_publish_clone(const struct mqtt5_publish *publish,
                                                    const struct mqtt5_allocator *allocator);

/** Frees a clone; NULL is accepted. @p allocator is that of mqtt5_publish_clone(). */
MQTT5_API void mqtt5_publish_free(struct mqtt5_publish *clone,
                                  const struct mqtt5_allocator *allocator);

/** Writes the client id in use, also one that the server assigned, zero-terminated and cut to
 *  @p size bytes. @return its length in bytes. */
MQTT5_API size_t mqtt5_client_id(struct mqtt5_client *client, char *out, size_t size);

/** Writes the URL that the client is connected to, or goes to next, without user name and password;
 *  another than the user's after a redirection. Zero-terminated, cut to @p size (> 0) bytes; "" =
 *  none yet. */
MQTT5_API void mqtt5_client_url(struct mqtt5_client *client, char *out, size_t size);

/** Writes why the last operation failed or the connection ended, as a sentence part for people
 *  ("127.0.0.1:1883: Connection refused"); zero-terminated, cut to @p size (> 0) bytes. */
MQTT5_API void mqtt5_client_why(struct mqtt5_client *client, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
