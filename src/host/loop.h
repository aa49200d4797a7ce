/* Readiness of file descriptors, and a way for other threads to end a wait: epoll(7) behind a small
 * interface that poll(2) or kqueue could stand behind as well. Level-triggered; a loop is used by
 * one thread, except for m5_loop_wake().
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_LOOP_H
#define M5_HOST_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#define M5_LOOP_BATCH 256 /* events that one wait returns at most */

/* Ended is only reported: an error or a hang-up is pending, and reading tells which. */
#define M5_LOOP_READ  1u
#define M5_LOOP_WRITE 2u
#define M5_LOOP_ENDED 4u

struct m5_loop {
    int epoll_fd, wake_fd;
    atomic_bool woken; /* a wake is pending: the next wait does not sleep */
    struct epoll_event events[M5_LOOP_BATCH];
};

struct m5_loop_event {
    void *handle;    /* what m5_loop_add() was given */
    unsigned events; /* M5_LOOP_... */
};

/* False, with errno, when the system refuses. m5_loop_fini() accepts a zeroed or failed loop. */
bool m5_loop_init(struct m5_loop *loop);
void m5_loop_fini(struct m5_loop *loop);

/* Watches @p fd for @p events; false, with errno, when the system refuses. @p handle is not NULL.
 */
bool m5_loop_add(struct m5_loop *loop, int fd, void *handle, unsigned events);
void m5_loop_change(struct m5_loop *loop, int fd, void *handle, unsigned events);

/* Needed only for descriptors that live on: closing one takes it off the loop. */
void m5_loop_remove(struct m5_loop *loop, int fd);

/* Waits at most @p timeout_ms (-1: for ever; 0: just looks) and returns how many events are ready
 * for m5_loop_event(). Does not sleep when woken. */
unsigned m5_loop_wait(struct m5_loop *loop, int timeout_ms);

static inline struct m5_loop_event m5_loop_event(const struct m5_loop *loop, unsigned index)
{
    const uint32_t ready = loop->events[index].events;
    return (struct m5_loop_event){
        .handle = loop->events[index].data.ptr,
        .events = ((ready & EPOLLIN) != 0 ? M5_LOOP_READ : 0) |
                  ((ready & EPOLLOUT) != 0 ? M5_LOOP_WRITE : 0) |
                  ((ready & (EPOLLHUP | EPOLLERR)) != 0 ? M5_LOOP_ENDED : 0),
    };
}

/* Ends the current or the next wait; any thread, signal handlers too. What the caller wrote before
 * is seen by the loop's thread after its next m5_loop_awake(). */
void m5_loop_wake(struct m5_loop *loop);

/* Takes the wake-up: call it after each wait, before looking at what wakers have left. */
static inline bool m5_loop_awake(struct m5_loop *loop)
{
    return atomic_load_explicit(&loop->woken, memory_order_relaxed) &&
           atomic_exchange(&loop->woken, false);
}

#endif
