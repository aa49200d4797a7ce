/* The loop over epoll(7) and eventfd(2).
 *
 * A wake-up is a flag and, for a loop that may sleep, one write to the eventfd; it is watched
 * edge-triggered, so that nobody ever has to read it. Only the first of several wakers writes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/loop.h"

#include "base/assert.h"

#include <errno.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

static uint32_t epoll_mask(unsigned events)
{
    return ((events & M5_LOOP_READ) != 0 ? (uint32_t)EPOLLIN : 0) |
           ((events & M5_LOOP_WRITE) != 0 ? (uint32_t)EPOLLOUT : 0);
}

static bool control(struct m5_loop *loop, int operation, int fd, struct epoll_event event)
{
    return epoll_ctl(loop->epoll_fd, operation, fd, &event) == 0;
}

bool m5_loop_init(struct m5_loop *loop)
{
    atomic_init(&loop->woken, false);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd >= 0 && loop->wake_fd >= 0 &&
        control(loop, EPOLL_CTL_ADD, loop->wake_fd,
                (struct epoll_event){.events = EPOLLIN | EPOLLET, .data.ptr = NULL}))
        return true;
    const int why = errno;
    m5_loop_fini(loop);
    errno = why;
    return false;
}

void m5_loop_fini(struct m5_loop *loop)
{
    if (loop->epoll_fd > 0)
        close(loop->epoll_fd);
    if (loop->wake_fd > 0)
        close(loop->wake_fd);
    loop->epoll_fd = loop->wake_fd = 0;
}

bool m5_loop_add(struct m5_loop *loop, int fd, void *handle, unsigned events)
{
    M5_ASSERT(handle != NULL);
    return control(loop, EPOLL_CTL_ADD, fd,
                   (struct epoll_event){.events = epoll_mask(events), .data.ptr = handle});
}

void m5_loop_change(struct m5_loop *loop, int fd, void *handle, unsigned events)
{
    const bool changed =
        control(loop, EPOLL_CTL_MOD, fd,
                (struct epoll_event){.events = epoll_mask(events), .data.ptr = handle});
    M5_ASSERT(changed);
}

void m5_loop_remove(struct m5_loop *loop, int fd)
{
    control(loop, EPOLL_CTL_DEL, fd, (struct epoll_event){.events = 0});
}

unsigned m5_loop_wait(struct m5_loop *loop, int timeout_ms)
{
    if (atomic_load_explicit(&loop->woken, memory_order_acquire))
        timeout_ms = 0;
    const int found = epoll_wait(loop->epoll_fd, loop->events, M5_LOOP_BATCH, timeout_ms);
    if (found <= 0)
        return 0;
    /* The eventfd has done its work by ending the wait: the flag says the rest. */
    unsigned count = 0;
    for (int i = 0; i < found; i++)
        if (loop->events[i].data.ptr != NULL)
            loop->events[count++] = loop->events[i];
    return count;
}

void m5_loop_wake(struct m5_loop *loop)
{
    if (atomic_exchange(&loop->woken, true))
        return;
    const uint64_t one = 1;
    const int saved = errno;
    ssize_t written = write(loop->wake_fd, &one, sizeof one);
    (void)written; /* full means that it is readable already */
    errno = saved;
}
