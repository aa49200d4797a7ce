/* A borrowed view of bytes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_BYTES_H
#define MQTT5_BYTES_H

#include <stddef.h>
#include <stdint.h>

/** Borrowed bytes: not zero-terminated, never freed by who holds it. How long they live is said
 *  where they are handed out. `data` may be NULL only when `len` is 0. */
struct mqtt5_bytes {
    const uint8_t *data;
    size_t len; /**< bytes */
};

#endif
