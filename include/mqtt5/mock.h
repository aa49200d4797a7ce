/* A client for tests of programs that use one: the same type and functions, no network.
 *
 * Behind it is the client's own code and a small server in memory, so what is checked, refused and
 * called back is as with a real one. There is no thread and no socket, and time is virtual: it
 * passes while a blocking form or mqtt5_client_process() waits, and in mqtt5_mock_advance(); what
 * is asynchronous happens there, and in mqtt5_mock_run(). One thread at a time may use it.
 *
 *     mqtt5_client_mock_new(&options, &client);
 *     mqtt5_mock_script(client, &(struct mqtt5_mock_step){
 *         .operation = MQTT5_MOCK_PUBLISH, .reason_code = 0x97, .times = 1});
 *     ... the code to be tested ...
 *     assert(mqtt5_mock_call_count(client) == 2);
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_MOCK_H
#define MQTT5_MOCK_H

#include <mqtt5/client.h>

enum mqtt5_mock_operation {
    MQTT5_MOCK_CONNECT,
    MQTT5_MOCK_PUBLISH,
    MQTT5_MOCK_SUBSCRIBE,
    MQTT5_MOCK_UNSUBSCRIBE,
    MQTT5_MOCK_PING,
    MQTT5_MOCK_DISCONNECT,
    MQTT5_MOCK_ABORT
};

enum mqtt5_mock_fault {
    MQTT5_MOCK_ANSWER,  /**< none: the server answers */
    MQTT5_MOCK_SILENCE, /**< the server takes it and never answers */
    MQTT5_MOCK_CUT      /**< the connection breaks instead of the answer; CONNECT: it is refused by
                             the network */
};

/** What happens to operations of a kind. Without any step everything succeeds at once. */
struct mqtt5_mock_step {
    enum mqtt5_mock_operation operation; /**< not DISCONNECT, ABORT */
    enum mqtt5_error error;              /**< the call itself fails with this (PUBLISH only) */
    enum mqtt5_mock_fault fault;
    uint8_t reason_code;  /**< of the answer; SUBSCRIBE below 0x80: the QoS asked for is granted */
    uint32_t delay_ms;    /**< before the answer, or the cut */
    bool session_present; /**< CONNECT */
    const char *server_reference; /**< CONNECT refused by 0x9C, 0x9D: where to instead; NULL: not
                                       said. Borrowed until the step has been used */
    uint32_t times; /**< how often it counts; 0: always, until another step is scripted */
};

/** An operation that the program has called. Views live until mqtt5_mock_forget_calls(). */
struct mqtt5_mock_called {
    enum mqtt5_mock_operation operation;
    struct mqtt5_bytes topic;   /**< PUBLISH; SUBSCRIBE, UNSUBSCRIBE: one call for each filter;
                                     CONNECT: the URL */
    struct mqtt5_bytes payload; /**< PUBLISH */
    uint8_t qos;                /**< PUBLISH, SUBSCRIBE */
    bool retain;                /**< PUBLISH */
    uint64_t at_ms;             /**< virtual time */
};

#ifdef __cplusplus
extern "C" {
#endif

/** Makes a mock. @p options may be NULL; `own_thread`, `loop` and `dial` are not looked at.
 *  @return as mqtt5_client_new(). It is freed by mqtt5_client_free(). */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_mock_new(
    const struct mqtt5_client_options *options, struct mqtt5_client **out);

/* The functions below are for mocks only; with any other client they do nothing and return
 * MQTT5_ERR_INVALID_ARGUMENT or 0. */

/** Adds a step behind those of its operation that still count `times`; a step without `times` is
 *  used when there are none. @return MQTT5_OK, MQTT5_ERR_NOMEM, MQTT5_ERR_INVALID_ARGUMENT. */
MQTT5_API enum mqtt5_error mqtt5_mock_script(struct mqtt5_client *client,
                                             const struct mqtt5_mock_step *step);

/** Lets a message arrive, and runs the callbacks; `packet_id` and `dup` are not looked at.
 *  @return MQTT5_OK; MQTT5_ERR_INVALID_STATE (not connected); MQTT5_ERR_NOMEM;
 *  MQTT5_ERR_INVALID_ARGUMENT (it cannot be encoded). */
MQTT5_API enum mqtt5_error mqtt5_mock_deliver(struct mqtt5_client *client,
                                              const struct mqtt5_publish *publish);

/** Breaks the connection. @return MQTT5_OK or MQTT5_ERR_INVALID_STATE. */
MQTT5_API enum mqtt5_error mqtt5_mock_cut(struct mqtt5_client *client);

/** Lets the server end the connection with DISCONNECT. @return as mqtt5_mock_cut(). */
MQTT5_API enum mqtt5_error mqtt5_mock_end(struct mqtt5_client *client, uint8_t reason_code);

/** Runs all callbacks that are due, at the present time. */
MQTT5_API enum mqtt5_error mqtt5_mock_run(struct mqtt5_client *client);

/** Lets @p ms pass, and runs all callbacks that become due, each at its time. */
MQTT5_API enum mqtt5_error mqtt5_mock_advance(struct mqtt5_client *client, uint64_t ms);

/** What the program has called, in order. */
MQTT5_API size_t mqtt5_mock_call_count(struct mqtt5_client *client);
MQTT5_API enum mqtt5_error mqtt5_mock_call(struct mqtt5_client *client, size_t index,
                                           struct mqtt5_mock_called *out);
MQTT5_API void mqtt5_mock_forget_calls(struct mqtt5_client *client);

/** The number of messages whose acknowledgement (PUBACK, PUBREC) the client has sent. */
MQTT5_API size_t mqtt5_mock_acknowledged(struct mqtt5_client *client);

#ifdef __cplusplus
}
#endif
#endif
