/* The folder of a store.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/folder.h"

#include "host/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_NAME "lock"

void m5_say(char *why, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, M5_STORE_WHY_SIZE, format, arguments);
    va_end(arguments);
}

void m5_say_more(char *why, const char *format, ...)
{
    const size_t used = strnlen(why, M5_STORE_WHY_SIZE - 1);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why + used, M5_STORE_WHY_SIZE - used, format, arguments);
    va_end(arguments);
}

uint64_t m5_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t m5_steady_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

bool m5_folder_sync(int dir_fd)
{
    return fsync(dir_fd) == 0;
}

int m5_folder_open(const char *dir)
{
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* ---- making ---- */

/* Makes the entry of @p path in the folder above it durable. */
static bool sync_parent(const char *path)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return false;
    char *slash = strrchr(copy, '/');
    if (slash != NULL)
        slash[slash == copy ? 1 : 0] = 0;
    const int fd = m5_folder_open(slash == NULL ? "." : copy);
    free(copy);
    if (fd < 0)
        return false;
    const bool done = m5_folder_sync(fd);
    close(fd);
    return done;
}

/* Makes @p path, a copy that may be written to, from the top down. False with errno. */
static bool make_all(char *path)
{
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at != 0)
            continue;
        const char end = *at;
        *at = 0;
        const bool made = mkdir(path, 0700) == 0;
        if ((!made && errno != EEXIST) || (made && !sync_parent(path)))
            return false;
        *at = end;
        if (end == 0)
            return true;
    }
}

int m5_folder_make(const char *dir, char *why)
{
    int fd = m5_folder_open(dir);
    if (fd < 0 && errno == ENOENT) {
        char *path = strdup(dir[0] == 0 ? "." : dir);
        if (path == NULL || !make_all(path))
            m5_say(why, "the folder \"%s\" cannot be made: %s", path == NULL ? dir : path,
                   strerror(errno));
        else
            fd = m5_folder_open(dir);
        free(path);
        if (why[0] != 0)
            return -1;
    }
    if (fd < 0)
        m5_say(why, "\"%s\" cannot be used as a folder: %s", dir, strerror(errno));
    return fd;
}

/* ---- owning ---- */

/* The number in the lock file, or 0. */
static long read_owner(int fd)
{
    char text[32] = {0};
    return pread(fd, text, sizeof text - 1, 0) > 0 ? strtol(text, NULL, 10) : 0;
}

int m5_folder_lock(int dir_fd, const char *dir, char *why)
{
    const int fd = openat(dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        m5_say(why, "\"%s/" LOCK_NAME "\" cannot be written: %s", dir, strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            m5_say(why, "the folder \"%s\" is in use by another broker, process %ld", dir,
                   read_owner(fd));
        else
            m5_say(why, "\"%s/" LOCK_NAME "\" cannot be locked: %s", dir, strerror(errno));
        close(fd);
        return -1;
    }
    /* What is written is for people only: a full disk does not keep the broker from starting. */
    char text[32];
    const int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size)
        errno = 0;
    return fd;
}

long m5_folder_owner(int dir_fd)
{
    const int fd = openat(dir_fd, LOCK_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return 0;
    long owner = 0;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        owner = read_owner(fd);
        if (owner == 0)
            owner = -1;
    }
    close(fd);
    return owner;
}

/* ---- setting aside ---- */

bool m5_folder_set_aside(int dir_fd, const char *name, char *out, size_t out_size)
{
    const time_t now = (time_t)(m5_wall_ms() / 1000);
    struct tm utc;
    char stamp[32];
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &utc);
    for (unsigned i = 0; i < 1000; i++) {
        if (i == 0)
            snprintf(out, out_size, "%s.damaged-%s", name, stamp);
        else
            snprintf(out, out_size, "%s.damaged-%s-%u", name, stamp, i);
        if (renameat2(dir_fd, name, dir_fd, out, RENAME_NOREPLACE) == 0)
            return true;
        if (errno == EEXIST)
            continue;
        /* Not every filesystem knows the flag; whom else would it race with but ourselves? */
        if (errno == EINVAL && faccessat(dir_fd, out, F_OK, 0) != 0)
            return renameat(dir_fd, name, dir_fd, out) == 0;
        if (errno != EINVAL)
            return false;
    }
    errno = EEXIST;
    return false;
}
