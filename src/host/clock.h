/* The system's clocks: the one that only goes forward, and the calendar's.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLOCK_H
#define M5_HOST_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t m5_clock_read(clockid_t clock, uint64_t per_second)
{
    struct timespec now;
    clock_gettime(clock, &now); /* of these two clocks it cannot fail */
    return (uint64_t)now.tv_sec * per_second +
           (uint64_t)now.tv_nsec / (UINT64_C(1000000000) / per_second);
}

/* Monotonic, since an epoch of its own. */
static inline uint64_t m5_clock_ms(void)
{
    return m5_clock_read(CLOCK_MONOTONIC, 1000);
}

static inline uint64_t m5_clock_us(void)
{
    return m5_clock_read(CLOCK_MONOTONIC, 1000000);
}

static inline uint64_t m5_clock_ns(void)
{
    return m5_clock_read(CLOCK_MONOTONIC, 1000000000);
}

/* Since 1970, as far as the machine knows. */
static inline uint64_t m5_clock_wall_ms(void)
{
    return m5_clock_read(CLOCK_REALTIME, 1000);
}

#endif
