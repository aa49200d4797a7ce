/* What a receiver makes of numbered messages: which are new, came twice or too late.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_BENCH_SEQUENCE_H
#define M5_CLI_BENCH_SEQUENCE_H

#include <stdint.h>

#define BENCH_WINDOW 4096u /* numbers behind the highest that are remembered one by one */

/* Zeroed, it waits for number 0. */
struct bench_sequence {
    uint64_t received; /* different numbers */
    uint64_t duplicates, reordered;
    uint32_t next;                      /* the highest number so far, and one */
    uint64_t window[BENCH_WINDOW / 64]; /* a bit for each of the last numbers that came */
};

enum bench_arrival {
    BENCH_IN_ORDER,
    BENCH_REORDERED, /* after a higher number; also counted as received */
    BENCH_DUPLICATE  /* or so late that nobody remembers */
};

enum bench_arrival bench_sequence_take(struct bench_sequence *sequence, uint32_t number);

#endif
