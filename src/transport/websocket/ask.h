/* The client's request to speak WebSocket (RFC 6455, 4.1), and the judgement of its answer.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_WEBSOCKET_ASK_H
#define M5_TRANSPORT_WEBSOCKET_ASK_H

#include "transport/websocket/accept.h"
#include "transport/websocket/websocket.h"

#define M5_ASK_SUBPROTOCOL_MAX 63u /* characters */
#define M5_ASK_FAILURE_SIZE    192u

/* What the answer has to be. */
struct m5_ask {
    char accept[M5_WEBSOCKET_ACCEPT_SIZE];
    char subprotocol[M5_ASK_SUBPROTOCOL_MAX + 1]; /* "" = none */
};

/* Appends the request. False without memory, or when a text of @p config cannot stand in it. */
bool m5_ask_write(const struct m5_websocket_client_config *config, const uint8_t key[16],
                  struct m5_ask *ask, struct m5_outbox *out);

/* Judges the whole head of the answer: true when it is what was asked for; else a sentence part in
 * @p failure. *status is what it says; 0 when it is no HTTP. */
bool m5_ask_judge(const struct m5_ask *ask, struct mqtt5_bytes head, unsigned *status,
                  char failure[M5_ASK_FAILURE_SIZE]);

#endif
