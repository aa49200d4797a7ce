/* Checks for our own bugs; what a peer, a user or the system can cause is an error, not an assert.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BASE_ASSERT_H
#define M5_BASE_ASSERT_H

/* Asserts stay in release builds: a broker with a broken invariant must stop, not corrupt. */
#define M5_ASSERT(condition)                   \
    do {                                       \
        if (__builtin_expect(!(condition), 0)) \
            __builtin_trap();                  \
    } while (0)

/* Checks too costly for release: whole-structure invariants. */
#ifdef M5_DEBUG
#define M5_DEBUG_ASSERT(condition) M5_ASSERT(condition)
#else
#define M5_DEBUG_ASSERT(condition) ((void)0)
#endif

#define M5_UNREACHABLE() __builtin_trap()
#define M5_LIKELY(x)     __builtin_expect(!!(x), 1)
#define M5_UNLIKELY(x)   __builtin_expect(!!(x), 0)
#define M5_CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define M5_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
