/* Listening sockets: opening them, and taking connections from them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
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

/* ---- Unix sockets ---- */

/* True when @p address is a socket's file that nobody listens on. */
static bool is_stale(const struct sockaddr_un *address, socklen_t size)
{
    struct stat status;
    if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    const bool refused =
        connect(fd, (const struct sockaddr *)address, size) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

/* Binds; what is left over of a broker before is removed first. */
static bool bind_unix(int fd, const struct sockaddr_un *address, socklen_t size)
{
    if (bind(fd, (const struct sockaddr *)address, size) == 0)
        return true;
    if (errno != EADDRINUSE || address->sun_path[0] == 0 || !is_stale(address, size)) {
        return false;
    }
    return unlink(address->sun_path) == 0 && bind(fd, (const struct sockaddr *)address, size) == 0;
}

/* A number, or the name of a user or group, looked up by one of the two below. */
static bool read_id(const char *text, bool (*look_up)(const char *name, uint32_t *out),
                    uint32_t *out)
{
    char *end;
    errno = 0;
    const unsigned long number = strtoul(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == 0 && errno == 0 && number < UINT32_MAX) {
        *out = (uint32_t)number;
        return true;
    }
    return look_up(text, out);
}

static bool find_user(const char *name, uint32_t *out)
{
    char buffer[4096];
    struct passwd entry, *found = NULL;
    if (getpwnam_r(name, &entry, buffer, sizeof buffer, &found) != 0 || found == NULL)
        return false;
    *out = found->pw_uid;
    return true;
}

static bool find_group(const char *name, uint32_t *out)
{
    char buffer[4096];
    struct group entry, *found = NULL;
    if (getgrnam_r(name, &entry, buffer, sizeof buffer, &found) != 0 || found == NULL)
        return false;
    *out = found->gr_gid;
    return true;
}

/* Gives the socket's file to whom it is to belong; its mode is that of the socket already, as far
 * as the umask let it. */
static bool hand_over(const struct mqtt5_listener *listener, uint32_t mode, char *why, size_t size)
{
    uint32_t user = UINT32_MAX, group = UINT32_MAX;
    if (listener->owner != NULL && !read_id(listener->owner, find_user, &user))
        snprintf(why, size, "%s: there is no user %s", listener->path, listener->owner);
    else if (listener->group != NULL && !read_id(listener->group, find_group, &group))
        snprintf(why, size, "%s: there is no group %s", listener->path, listener->group);
    else if ((user != UINT32_MAX || group != UINT32_MAX) &&
             lchown(listener->path, user, group) != 0)
        snprintf(why, size, "%s: cannot be given to its owner: %s", listener->path,
                 strerror(errno));
    else if (chmod(listener->path, mode) != 0)
        snprintf(why, size, "%s: cannot set its mode: %s", listener->path, strerror(errno));
    else
        return true;
    return false;
}

int m5_listener_open_unix(const struct mqtt5_listener *listener, char *why, size_t why_size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = listener->path == NULL ? "" : listener->path;
    const size_t length = strlen(path);
    const bool abstract = path[0] == '@';
    const uint32_t mode = listener->mode != 0 ? listener->mode : 0660;
    if (length == 0 || length >= sizeof address.sun_path) {
        snprintf(why, why_size, "the path of a Unix socket has 1 to %zu bytes",
                 sizeof address.sun_path - 1);
        errno = EINVAL;
        return -1;
    }
    memcpy(address.sun_path, path, length);
    if (abstract)
        address.sun_path[0] = 0;
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + !abstract);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* The mode of the socket, before it is bound, becomes that of the file: nobody slips in. */
    if (fd < 0 || fchmod(fd, mode) != 0 || !bind_unix(fd, &address, size)) {
        snprintf(why, why_size, "cannot listen on %s: %s", path, strerror(errno));
    } else if (abstract || hand_over(listener, mode, why, why_size)) {
        if (listen(fd, BACKLOG) == 0)
            return fd;
        snprintf(why, why_size, "cannot listen on %s: %s", path, strerror(errno));
    }
    const int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
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
