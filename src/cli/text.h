/* Small things that every client of the command line needs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_TEXT_H
#define M5_CLI_TEXT_H

#include <mqtt5/bytes.h>

#include <string.h>
#include <time.h>

/* Views @p text without its zero. */
static inline struct mqtt5_bytes cli_bytes(const char *text)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

/* Milliseconds of a clock that nobody sets. */
static inline uint64_t cli_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

#endif
