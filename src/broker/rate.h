/* Rates: token buckets in integer arithmetic.
 *
 * A bucket is one number: the time up to which everything that was taken is paid for. What costs n
 * tokens moves it on by n / rate seconds; it never lies further back than the burst. A bucket is
 * open while that time lies `need` back: the cost of one message, or the least there is when bytes
 * are counted. Whoever finds it open may take as much as he has, be it more than the burst: what is
 * owed keeps it closed until it is paid. That way a packet larger than the burst passes, and the
 * mean is kept.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_RATE_H
#define M5_BROKER_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define M5_RATE_SECOND_NS 1000000000u

/* Times here are nanoseconds of the caller's clock; a new bucket (0) is full. The first second of a
 * clock that starts at 0 would count as a part of the first burst, so start it later. */

/* What @p amount tokens cost at @p rate tokens a second (> 0), rounded down so that a second pays
 * for as many, but never nothing. */
static inline uint64_t m5_rate_cost(uint64_t amount, uint32_t rate)
{
    uint64_t cost_ns = amount * M5_RATE_SECOND_NS / rate;
    return cost_ns > 0 ? cost_ns : 1;
}

static inline bool m5_rate_open(uint64_t paid_ns, uint64_t now_ns, uint64_t need_ns)
{
    return paid_ns + need_ns <= now_ns;
}

/* The bucket after something that costs @p cost_ns was taken. */
static inline uint64_t m5_rate_taken(uint64_t paid_ns, uint64_t now_ns, uint64_t burst_ns,
                                     uint64_t cost_ns)
{
    uint64_t earliest = now_ns > burst_ns ? now_ns - burst_ns : 0;
    return (paid_ns > earliest ? paid_ns : earliest) + cost_ns;
}

/* True when the bucket is full: it can be forgotten. */
static inline bool m5_rate_full(uint64_t paid_ns, uint64_t now_ns, uint64_t burst_ns)
{
    return paid_ns + burst_ns <= now_ns;
}

/* The first millisecond in which the bucket is open. */
static inline uint64_t m5_rate_open_ms(uint64_t paid_ns, uint64_t need_ns)
{
    return (paid_ns + need_ns + 999999u) / 1000000u;
}

#endif
