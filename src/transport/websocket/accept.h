/* The keys of a WebSocket handshake: proof that the server speaks WebSocket and heard this client.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_WEBSOCKET_ACCEPT_H
#define M5_TRANSPORT_WEBSOCKET_ACCEPT_H

#include "base/base64.h"

#define M5_WEBSOCKET_KEY_CHARS   24u /* base64 of 16 bytes */
#define M5_WEBSOCKET_ACCEPT_SIZE M5_BASE64_SIZE(20)

/* True when @p key is base64 of 16 bytes. */
bool m5_websocket_key_check(struct mqtt5_bytes key);

/* Writes the answer to @p key, which has been checked, and a zero. False when the system's
 * cryptographic policy has no SHA-1. */
bool m5_websocket_accept(struct mqtt5_bytes key, char out[M5_WEBSOCKET_ACCEPT_SIZE]);

#endif
