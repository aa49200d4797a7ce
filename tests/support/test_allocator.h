/* An allocator for tests: finds leaks, wrong sizes at free, writes past the end and double frees,
 * spoils what is not initialised or given back, and fails when told to.
 *
 * For one thread. What it finds ends the program with a message: such a test has no way to go on.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_ALLOCATOR_H
#define TEST_ALLOCATOR_H

#include <mqtt5/allocator.h>
#include <stdbool.h>
#include <stdint.h>

struct test_allocator {
    struct mqtt5_allocator table; /* what to hand on; ctx points at this struct */
    void *first;                  /* blocks that are out */
    size_t blocks, bytes;         /* out */
    uint64_t calls;               /* allocations asked for, refused ones included */
    uint64_t fail_at;             /* the call (1 = the first) that is refused; 0: none */
    bool fail_on;                 /* refuse every call from fail_at on, not that one alone */
};

/* The struct must stay where it is. */
void test_allocator_init(struct test_allocator *allocator);

/* Refuses the @p nth allocation from now on (1 = the next); 0: none. */
void test_allocator_fail_nth(struct test_allocator *allocator, uint64_t nth);

/* True when the allocation that was to fail has been asked for. In a loop over nth, the first run
 * without it has seen every allocation fail once. */
bool test_allocator_failed(const struct test_allocator *allocator);

/* Ends the program unless everything has come back. */
void test_allocator_check(const struct test_allocator *allocator);

#endif
