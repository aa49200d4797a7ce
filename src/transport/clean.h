/* Text of strangers on its way into logs and pages.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_CLEAN_H
#define M5_TRANSPORT_CLEAN_H

#include <mqtt5/bytes.h>

#include <stdbool.h>

/* Copies @p text and a zero to @p out of @p size (> 0) bytes, cut to whole characters; '?' stands
 * for each byte of what is no UTF-8 and for control characters. Returns the length. */
size_t m5_clean(struct mqtt5_bytes text, char *out, size_t size);

/* True when @p text is UTF-8 without control characters. */
bool m5_is_clean(struct mqtt5_bytes text);

#endif
