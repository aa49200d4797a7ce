/* What a receiver makes of numbered messages: which are new, came twice or too late.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/sequence.h"

#include <stdbool.h>
#include <string.h>

static bool is_set(const struct bench_sequence *sequence, uint32_t number)
{
    const uint32_t bit = number % BENCH_WINDOW;
    return (sequence->window[bit / 64] >> (bit % 64) & 1u) != 0;
}

static void set(struct bench_sequence *sequence, uint32_t number)
{
    const uint32_t bit = number % BENCH_WINDOW;
    sequence->window[bit / 64] |= (uint64_t)1 << (bit % 64);
}

static void clear(struct bench_sequence *sequence, uint32_t number)
{
    const uint32_t bit = number % BENCH_WINDOW;
    sequence->window[bit / 64] &= ~((uint64_t)1 << (bit % 64));
}

enum bench_arrival bench_sequence_take(struct bench_sequence *sequence, uint32_t number)
{
    if (number >= sequence->next) {
        if (number - sequence->next >= BENCH_WINDOW)
            memset(sequence->window, 0, sizeof sequence->window);
        else
            for (uint32_t missing = sequence->next; missing < number; missing++)
                clear(sequence, missing);
        set(sequence, number);
        sequence->next = number + 1;
        sequence->received++;
        return BENCH_IN_ORDER;
    }
    if (sequence->next - number > BENCH_WINDOW || is_set(sequence, number)) {
        sequence->duplicates++;
        return BENCH_DUPLICATE;
    }
    set(sequence, number);
    sequence->received++;
    sequence->reordered++;
    return BENCH_REORDERED;
}
