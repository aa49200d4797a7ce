/* Spin lock for sections of a few hundred instructions: shards share a process, not a scheduler.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_BROKER_SPIN_H
#define M5_BROKER_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>

struct m5_spin {
    _Atomic bool held;
};

static inline void m5_spin_init(struct m5_spin *spin)
{
    atomic_init(&spin->held, false);
}

/* Tells the processor that this is a wait, so that a sibling thread gets its units. */
static inline void m5_spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline bool m5_spin_try_lock(struct m5_spin *spin)
{
    return !atomic_exchange_explicit(&spin->held, true, memory_order_acquire);
}

static inline void m5_spin_lock(struct m5_spin *spin)
{
    while (!m5_spin_try_lock(spin)) {
        /* Waiting by loads keeps the cache line shared until the holder writes to it. */
        while (atomic_load_explicit(&spin->held, memory_order_relaxed))
            m5_spin_pause();
    }
}

static inline void m5_spin_unlock(struct m5_spin *spin)
{
    atomic_store_explicit(&spin->held, false, memory_order_release);
}

#endif
