/* Topics and filters taken apart at their separators.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_PROTOCOL_LEVEL_H
#define M5_PROTOCOL_LEVEL_H

#include "base/bytes.h"

#include <stdbool.h>
#include <string.h>

/* Takes the first level off @p rest; false: it was the last one, and @p rest stays. */
static inline bool m5_take_level(struct mqtt5_bytes *rest, struct mqtt5_bytes *level)
{
    const uint8_t *slash = rest->len > 0 ? memchr(rest->data, '/', rest->len) : NULL;
    *level = slash == NULL ? *rest : m5_bytes(rest->data, (size_t)(slash - rest->data));
    if (slash != NULL)
        *rest = m5_bytes(slash + 1, rest->len - level->len - 1);
    return slash != NULL;
}

#endif
