/* Listening sockets: opening them, and taking connections from them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <unistd.h>

/* Clients that may wait to be accepted; the system lowers it to net.core.somaxconn (4,096). */
#define BACKLOG 16384

static bool set_flag(int fd, int level, int name)
{
    const int on = 1;
    return setsockopt(fd, level, name, &on, sizeof on) == 0;
}

/* A bound socket that does not listen yet, or -1 with errno. */
static int bind_socket(const struct m5_address *address, bool shared)
{
    const int fd =
        socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (set_flag(fd, SOL_SOCKET, SO_REUSEADDR) &&
        (!shared || set_flag(fd, SOL_SOCKET, SO_REUSEPORT)) &&
        (address->storage.ss_family != AF_INET6 || set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY)) &&
        set_flag(fd, IPPROTO_TCP, TCP_NODELAY) &&
        bind(fd, (const struct sockaddr *)&address->storage, address->size) == 0)
        return fd;
    const int why = errno;
    close(fd);
    errno = why;
    return -1;
}

int m5_listener_open(struct m5_address *address, bool shared)
{
    const int fd = bind_socket(address, shared);
    if (fd < 0)
        return -1;
    socklen_t size = sizeof address->storage;
    if (listen(fd, BACKLOG) == 0 &&
        getsockname(fd, (struct sockaddr *)&address->storage, &size) == 0)
        return fd;
    const int why = errno;
    close(fd);
    errno = why;
    return -1;
}

bool m5_listener_probe(const struct m5_address *address)
{
    if (m5_address_port(address) == 0)
        return true;
    const int fd = bind_socket(address, false);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

int m5_listener_accept(int listen_fd, struct m5_address *peer)
{
    peer->size = sizeof peer->storage;
    return accept4(listen_fd, (struct sockaddr *)&peer->storage, &peer->size,
                   SOCK_NONBLOCK | SOCK_CLOEXEC);
}

enum m5_accept_error m5_listener_error(int error)
{
    switch (error) {
    case EAGAIN: return M5_ACCEPT_DONE;
    case EMFILE:
    case ENFILE: return M5_ACCEPT_EXHAUSTED;
    case ENOBUFS:
    case ENOMEM:
    case EBADF:
    case EINVAL: return M5_ACCEPT_PAUSE;
    default: return M5_ACCEPT_NEXT; /* accept(2) hands on what befell the connection meanwhile */
    }
}

int m5_listener_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

bool m5_listener_turn_away(int listen_fd, int *reserve)
{
    if (*reserve >= 0) {
        close(*reserve);
        const int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            close(fd);
    }
    *reserve = m5_listener_reserve();
    return *reserve >= 0;
}

uint64_t m5_raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        const struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
            limit = raised;
    }
    return (uint64_t)limit.rlim_cur;
}
