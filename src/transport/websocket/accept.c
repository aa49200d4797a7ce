/* The keys of a WebSocket handshake (RFC 6455, 4.2.2).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/websocket/accept.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <gnutls/crypto.h>

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

bool m5_websocket_key_check(struct mqtt5_bytes key)
{
    uint8_t bytes[16];
    size_t size = 0;
    return key.len == M5_WEBSOCKET_KEY_CHARS &&
           m5_base64_decode(key, M5_BASE64_PADDED, bytes, sizeof bytes, &size) &&
           size == sizeof bytes;
}

bool m5_websocket_accept(struct mqtt5_bytes key, char out[M5_WEBSOCKET_ACCEPT_SIZE])
{
    uint8_t text[M5_WEBSOCKET_KEY_CHARS + sizeof guid - 1], digest[20];
    M5_ASSERT(key.len == M5_WEBSOCKET_KEY_CHARS);
    m5_copy(m5_copy(text, key), m5_bytes(guid, sizeof guid - 1));
    if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, sizeof text, digest) != 0)
        return false;
    m5_base64_encode(m5_bytes(digest, sizeof digest), M5_BASE64_PADDED, out);
    return true;
}
