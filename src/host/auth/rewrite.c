/* Changes a file so that every reader sees the old or the new content whole.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/rewrite.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_PAUSE_MS  20
#define TEMPORARY_SIZE 320 /* of a temporary file's name */
#define NAME_PART_MAX  200 /* bytes of the file's own name in it */

static bool fail_with(struct m5_text_error *error, const char *what)
{
    return m5_text_fail(error, 0, 0, "%s: %s", what, strerror(errno));
}

/* ---- finding and locking ---- */

/* The path without symbolic links. One that leads nowhere is an error; a file that does not exist
 * is not. NULL with errno. */
static char *resolve(const char *path)
{
    struct stat info;
    char *resolved = realpath(path, NULL);
    if (resolved != NULL || errno != ENOENT)
        return resolved;
    if (lstat(path, &info) == 0) { /* a link */
        errno = ENOENT;
        return NULL;
    }
    return strdup(path);
}

/* Splits the path into folder and name, and opens the folder. */
static bool open_folder(struct m5_rewrite *rewrite, struct m5_text_error *error)
{
    char *slash = strrchr(rewrite->path, '/');
    const char *folder = slash == NULL ? "." : slash == rewrite->path ? "/" : rewrite->path;
    rewrite->name = slash != NULL ? slash + 1 : rewrite->path;
    if (slash != NULL)
        *slash = 0;
    rewrite->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rewrite->folder < 0)
        return fail_with(error, "its folder cannot be opened");
    if (rewrite->name[0] == 0)
        return m5_text_fail(error, 0, 0, "is a folder");
    return true;
}

/* The lock goes with the descriptor, so that a program that is killed leaves none behind. */
static bool lock_folder(const struct m5_rewrite *rewrite, struct m5_text_error *error)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000};
    for (int waited = 0; flock(rewrite->folder, LOCK_EX | LOCK_NB) != 0; waited += LOCK_PAUSE_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fail_with(error, "its folder cannot be locked");
        if (waited >= M5_REWRITE_WAIT_MS)
            return m5_text_fail(error, 0, 0, "another program is changing a file in its folder");
        nanosleep(&pause, NULL);
    }
    return true;
}

/* ---- reading ---- */

static bool read_all(int fd, struct m5_text *out)
{
    while (out->size < out->capacity) {
        const ssize_t got = read(fd, out->data + out->size, out->capacity - out->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        out->size += (size_t)got;
    }
    errno = EAGAIN; /* it grew while it was read */
    return false;
}

static bool read_old(struct m5_rewrite *rewrite, struct m5_text_error *error)
{
    struct stat info;
    const int fd =
        openat(rewrite->folder, rewrite->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || fail_with(error, "cannot be opened");
    bool done = fstat(fd, &info) == 0;
    if (done && !S_ISREG(info.st_mode)) {
        close(fd);
        return m5_text_fail(error, 0, 0, "is no regular file");
    }
    if (done && info.st_size > (off_t)M5_TEXT_FILE_MAX) {
        close(fd);
        return m5_text_fail(error, 0, 0, "is larger than %u MiB", M5_TEXT_FILE_MAX >> 20);
    }
    if (done) {
        rewrite->exists = true;
        rewrite->mode = info.st_mode & 07777;
        rewrite->owner = info.st_uid;
        rewrite->group = info.st_gid;
        rewrite->old.capacity = (size_t)info.st_size + 1;
        rewrite->old.data = malloc(rewrite->old.capacity);
        done = rewrite->old.data != NULL && read_all(fd, &rewrite->old);
    }
    const int why = errno;
    close(fd);
    errno = why;
    return done || fail_with(error, "cannot be read");
}

bool m5_rewrite_begin(struct m5_rewrite *rewrite, const char *path, mode_t mode,
                      struct m5_text_error *error)
{
    *rewrite = (struct m5_rewrite){.folder = -1, .mode = mode};
    rewrite->path = resolve(path);
    if (rewrite->path == NULL)
        return fail_with(error, "cannot be found");
    return open_folder(rewrite, error) && lock_folder(rewrite, error) && read_old(rewrite, error);
}

/* ---- writing ---- */

static bool write_all(int fd, struct mqtt5_bytes content)
{
    for (size_t done = 0; done < content.len;) {
        const ssize_t put = write(fd, content.data + done, content.len - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        done += (size_t)put;
    }
    return true;
}

/* Mode after owner: a change of owner takes bits of the mode away. */
static bool keep_rights(const struct m5_rewrite *rewrite, int fd)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return false;
    const bool others = info.st_uid != rewrite->owner || info.st_gid != rewrite->group;
    if (rewrite->exists && others && fchown(fd, rewrite->owner, rewrite->group) != 0)
        return false;
    return fchmod(fd, rewrite->mode) == 0;
}

static bool fill(const struct m5_rewrite *rewrite, int fd, struct mqtt5_bytes content,
                 struct m5_text_error *error)
{
    if (!keep_rights(rewrite, fd))
        return fail_with(error, "its owner and mode cannot be kept (be its owner, or root)");
    return (write_all(fd, content) && fsync(fd) == 0) || fail_with(error, "cannot be written");
}

static int create(const struct m5_rewrite *rewrite, char name[TEMPORARY_SIZE])
{
    uint32_t number;
    if (gnutls_rnd(GNUTLS_RND_NONCE, &number, sizeof number) != 0) {
        errno = EAGAIN;
        return -1;
    }
    snprintf(name, TEMPORARY_SIZE, ".%.*s.%08x.new", NAME_PART_MAX, rewrite->name, number);
    return openat(rewrite->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  0600);
}

bool m5_rewrite_commit(struct m5_rewrite *rewrite, struct mqtt5_bytes content,
                       struct m5_text_error *error)
{
    char name[TEMPORARY_SIZE];
    const int fd = create(rewrite, name);
    if (fd < 0)
        return fail_with(error, "no file can be made beside it");
    bool done = fill(rewrite, fd, content, error);
    if (close(fd) != 0 && done)
        done = fail_with(error, "cannot be written");
    if (done && renameat(rewrite->folder, name, rewrite->folder, rewrite->name) != 0)
        done = fail_with(error, "cannot be replaced");
    if (!done)
        unlinkat(rewrite->folder, name, 0);
    else if (fsync(rewrite->folder) != 0)
        done = fail_with(error, "was replaced, but its folder cannot be synced");
    return done;
}

void m5_rewrite_end(struct m5_rewrite *rewrite)
{
    if (rewrite->folder >= 0)
        close(rewrite->folder);
    free(rewrite->path);
    m5_text_free(&rewrite->old);
    *rewrite = (struct m5_rewrite){.folder = -1};
}
