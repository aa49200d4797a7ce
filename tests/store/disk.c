/* The file calls of the C library, as a disk that fails when it is told to; and its record.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#undef _FORTIFY_SOURCE /* it makes inline functions of those that are defined here */
#include "store/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FDS_MAX = 1024, FILES_MAX = 512, NAME_SIZE = 64 };

/* ---- what is recorded ---- */

enum step_kind {
    STEP_WRITE,
    STEP_TRUNCATE,
    STEP_SYNC,
    STEP_SYNC_FOLDER,
    STEP_CREATE,
    STEP_RENAME,
    STEP_UNLINK,
    STEP_NOTE
};

struct step {
    enum step_kind kind;
    int file;
    uint64_t at; /* offset, size, or number */
    uint8_t *bytes;
    size_t size;
    char name[NAME_SIZE], new_name[NAME_SIZE];
};

/* ---- state; the tests have one disk ---- */

static struct {
    pthread_mutex_t mutex;
    const char *dir;
    int dir_fds[8];
    unsigned dir_fd_count;
    struct {
        int file;   /* 0: not watched; -1: the folder */
        bool syncs; /* O_DSYNC */
        char name[NAME_SIZE];
    } fds[FDS_MAX];
    unsigned fail_calls, fail_after;
    const char *fail_prefix;
    int fail_error;
    uint64_t room;
    bool hangs;
    pthread_cond_t goes_on;
    uint64_t counts[6];
    bool recording;
    int files; /* made so far */
    struct {
        char name[NAME_SIZE];
        int file;
    } names[FILES_MAX];
    unsigned name_count;
    struct step *steps;
    size_t step_count, step_capacity;
} disk = {
    .mutex = PTHREAD_MUTEX_INITIALIZER, .goes_on = PTHREAD_COND_INITIALIZER, .room = UINT64_MAX};

static struct step *add_step(enum step_kind kind, int file)
{
    static struct step none;
    if (!disk.recording)
        return &none;
    if (disk.step_count == disk.step_capacity) {
        disk.step_capacity = disk.step_capacity == 0 ? 1024 : disk.step_capacity * 2;
        disk.steps = realloc(disk.steps, disk.step_capacity * sizeof *disk.steps);
        if (disk.steps == NULL)
            abort();
    }
    struct step *step = &disk.steps[disk.step_count++];
    *step = (struct step){.kind = kind, .file = file};
    return step;
}

static void record_write(int file, uint64_t at, const void *bytes, size_t size)
{
    struct step *step = add_step(STEP_WRITE, file);
    if (!disk.recording)
        return;
    step->at = at;
    step->size = size;
    step->bytes = malloc(size + 1);
    if (step->bytes == NULL)
        abort();
    memcpy(step->bytes, bytes, size);
}

static unsigned call_index(enum disk_call call)
{
    unsigned i = 0;
    while ((1u << i) != (unsigned)call)
        i++;
    return i;
}

/* Counts a call; the error that it is to fail with, or 0. */
static int meet(enum disk_call call, const char *name)
{
    disk.counts[call_index(call)]++;
    if ((disk.fail_calls & (unsigned)call) == 0 ||
        strncmp(name, disk.fail_prefix, strlen(disk.fail_prefix)) != 0)
        return 0;
    if (disk.fail_after > 0) {
        disk.fail_after--;
        return 0;
    }
    return disk.fail_error;
}

static int file_of(const char *name)
{
    for (unsigned i = 0; i < disk.name_count; i++) {
        if (strcmp(disk.names[i].name, name) == 0)
            return disk.names[i].file;
    }
    return 0;
}

static void set_name(const char *name, int file)
{
    for (unsigned i = 0; i < disk.name_count; i++) {
        if (strcmp(disk.names[i].name, name) == 0) {
            disk.names[i] = disk.names[--disk.name_count];
            break;
        }
    }
    if (file == 0)
        return;
    if (disk.name_count == FILES_MAX)
        abort();
    snprintf(disk.names[disk.name_count].name, NAME_SIZE, "%s", name);
    disk.names[disk.name_count++].file = file;
}

/* The name within the watched folder, or NULL: not there. "" is the folder itself. */
static const char *name_within(int dir_fd, const char *path)
{
    if (disk.dir == NULL)
        return NULL;
    if (path[0] == '/') {
        const size_t size = strlen(disk.dir);
        if (strncmp(path, disk.dir, size) != 0 || (path[size] != '/' && path[size] != 0))
            return NULL;
        return path[size] == 0 ? "" : path + size + 1;
    }
    if (dir_fd < 0 || dir_fd >= FDS_MAX || disk.fds[dir_fd].file != -1)
        return NULL;
    return strcmp(path, ".") == 0 ? "" : path;
}

/* ---- calls ---- */

/* The build hides functions by default; these are for other libraries. */
#pragma GCC visibility push(default)

static int open_watched(const char *name, int dir_fd, const char *path, int flags, mode_t mode)
{
    const bool there = faccessat(dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    const bool creates = (flags & O_CREAT) != 0 && !there;
    const int error = creates ? meet(DISK_CREATE, name) : 0;
    if (error != 0) {
        errno = error;
        return -1;
    }
    const int fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    if (fd < 0 || fd >= FDS_MAX)
        return fd;
    disk.fds[fd].file = -1;
    if (name[0] == 0)
        return fd;
    int file = file_of(name);
    if (creates || file == 0) {
        file = ++disk.files;
        set_name(name, file);
    }
    if (creates)
        snprintf(add_step(STEP_CREATE, file)->name, NAME_SIZE, "%s", name);
    disk.fds[fd].file = file;
    disk.fds[fd].syncs = (flags & O_DSYNC) != 0;
    snprintf(disk.fds[fd].name, NAME_SIZE, "%s", name);
    return fd;
}

static int do_open(int dir_fd, const char *path, int flags, mode_t mode)
{
    pthread_mutex_lock(&disk.mutex);
    const char *name = name_within(dir_fd, path);
    int fd;
    if (name != NULL)
        fd = open_watched(name, dir_fd, path, flags, mode);
    else
        fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    if (name == NULL && fd >= 0 && fd < FDS_MAX)
        disk.fds[fd].file = 0;
    const int error = errno;
    pthread_mutex_unlock(&disk.mutex);
    errno = error;
    return fd;
}

#define MODE_OF(flags, mode)           \
    do {                               \
        va_list arguments;             \
        va_start(arguments, flags);    \
        mode = va_arg(arguments, int); \
        va_end(arguments);             \
    } while (0)

int open(const char *path, int flags, ...)
{
    int mode = 0;
    if (flags & O_CREAT)
        MODE_OF(flags, mode);
    return do_open(AT_FDCWD, path, flags, (mode_t)mode);
}

int openat(int dir_fd, const char *path, int flags, ...)
{
    int mode = 0;
    if (flags & O_CREAT)
        MODE_OF(flags, mode);
    return do_open(dir_fd, path, flags, (mode_t)mode);
}

/* What the two are called when the compiler checks them. */
int __open_2(const char *path, int flags);
int __openat_2(int dir_fd, const char *path, int flags);

int __open_2(const char *path, int flags)
{
    return do_open(AT_FDCWD, path, flags, 0);
}

int __openat_2(int dir_fd, const char *path, int flags)
{
    return do_open(dir_fd, path, flags, 0);
}

int close(int fd)
{
    pthread_mutex_lock(&disk.mutex);
    if (fd >= 0 && fd < FDS_MAX)
        disk.fds[fd].file = 0;
    pthread_mutex_unlock(&disk.mutex);
    return (int)syscall(SYS_close, fd);
}

static bool is_watched(int fd)
{
    return disk.dir != NULL && fd >= 0 && fd < FDS_MAX && disk.fds[fd].file != 0;
}

/* Takes room for a write; how much of it there is. */
static size_t take_room(int fd, size_t size, uint64_t at)
{
    struct stat status;
    if (disk.room == UINT64_MAX || fstat(fd, &status) != 0 || at + size <= (uint64_t)status.st_size)
        return size;
    const uint64_t grows = at + size - (uint64_t)status.st_size;
    const uint64_t short_of = grows > disk.room ? grows - disk.room : 0;
    disk.room -= grows - short_of;
    return short_of >= size ? 0 : size - (size_t)short_of;
}

static ssize_t write_watched(int fd, const void *bytes, size_t size, uint64_t at)
{
    int error = meet(DISK_WRITE, disk.fds[fd].name);
    if (error == 0 && disk.fds[fd].syncs)
        error = meet(DISK_SYNC, disk.fds[fd].name);
    size_t whole = error != 0 ? size / 2 : take_room(fd, size, at);
    if (whole < size && error == 0 && whole == 0)
        error = ENOSPC;
    const ssize_t n = (ssize_t)syscall(SYS_pwrite64, fd, bytes, whole, at);
    if (n < 0)
        return n;
    record_write(disk.fds[fd].file, at, bytes, (size_t)n);
    if (error != 0) {
        errno = error;
        return -1;
    }
    if (disk.fds[fd].syncs) {
        struct step *step = add_step(STEP_SYNC, disk.fds[fd].file);
        step->at = at; /* of this range only */
        step->size = (size_t)n;
    }
    return n;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    pthread_mutex_lock(&disk.mutex);
    const bool watched = is_watched(fd);
    const ssize_t n = watched ? write_watched(fd, bytes, size, (uint64_t)at)
                              : (ssize_t)syscall(SYS_pwrite64, fd, bytes, size, at);
    const int error = errno;
    pthread_mutex_unlock(&disk.mutex);
    errno = error;
    return n;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    pthread_mutex_lock(&disk.mutex);
    const bool watched = is_watched(fd);
    ssize_t n;
    if (watched) {
        const off_t at = lseek(fd, 0, SEEK_CUR);
        n = write_watched(fd, bytes, size, (uint64_t)at);
        if (n > 0)
            lseek(fd, at + n, SEEK_SET);
    } else {
        n = (ssize_t)syscall(SYS_write, fd, bytes, size);
    }
    const int error = errno;
    pthread_mutex_unlock(&disk.mutex);
    errno = error;
    return n;
}

/* Whole or not at all, in one piece: that is how it is called. */
ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    uint8_t *bytes = malloc(size + 1);
    if (bytes == NULL)
        abort();
    size = 0;
    for (int i = 0; i < count; i++) {
        memcpy(bytes + size, pieces[i].iov_base, pieces[i].iov_len);
        size += pieces[i].iov_len;
    }
    const ssize_t n = write(fd, bytes, size);
    free(bytes);
    return n;
}

int ftruncate(int fd, off_t size)
{
    pthread_mutex_lock(&disk.mutex);
    int error = is_watched(fd) ? meet(DISK_TRUNCATE, disk.fds[fd].name) : 0;
    if (error == 0 && syscall(SYS_ftruncate, fd, size) != 0)
        error = errno;
    if (error == 0 && is_watched(fd))
        add_step(STEP_TRUNCATE, disk.fds[fd].file)->at = (uint64_t)size;
    pthread_mutex_unlock(&disk.mutex);
    errno = error;
    return error == 0 ? 0 : -1;
}

static int do_sync(int fd)
{
    pthread_mutex_lock(&disk.mutex);
    int error = 0;
    while (disk.hangs && is_watched(fd))
        pthread_cond_wait(&disk.goes_on, &disk.mutex);
    if (is_watched(fd)) {
        const bool folder = disk.fds[fd].file == -1;
        error = meet(folder ? DISK_SYNC_FOLDER : DISK_SYNC, folder ? "" : disk.fds[fd].name);
        if (error == 0)
            add_step(folder ? STEP_SYNC_FOLDER : STEP_SYNC, disk.fds[fd].file);
    }
    pthread_mutex_unlock(&disk.mutex);
    errno = error;
    return error == 0 ? 0 : -1;
}

int fsync(int fd)
{
    return do_sync(fd);
}

int fdatasync(int fd)
{
    return do_sync(fd);
}

static int do_rename(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    pthread_mutex_lock(&disk.mutex);
    const char *name = name_within(from_fd, from), *new_name = name_within(to_fd, to);
    int error = name != NULL ? meet(DISK_RENAME, name) : 0;
    if (error == 0 && syscall(SYS_renameat2, from_fd, from, to_fd, to, flags) != 0)
        error = errno;
    if (error == 0 && name != NULL && new_name != NULL) {
        struct step *step = add_step(STEP_RENAME, file_of(name));
        snprintf(step->name, NAME_SIZE, "%s", name);
        snprintf(step->new_name, NAME_SIZE, "%s", new_name);
        set_name(new_name, file_of(name));
        set_name(name, 0);
    }
    pthread_mutex_unlock(&disk.mutex);
    errno = error;
    return error == 0 ? 0 : -1;
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return do_rename(from_fd, from, to_fd, to, flags);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return do_rename(from_fd, from, to_fd, to, 0);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
    pthread_mutex_lock(&disk.mutex);
    const char *name = name_within(dir_fd, path);
    const int result = (int)syscall(SYS_unlinkat, dir_fd, path, flags);
    const int error = errno;
    if (result == 0 && name != NULL) {
        snprintf(add_step(STEP_UNLINK, file_of(name))->name, NAME_SIZE, "%s", name);
        set_name(name, 0);
    }
    pthread_mutex_unlock(&disk.mutex);
    errno = error;
    return result;
}

#pragma GCC visibility pop

/* ---- what tests say ---- */

void disk_watch(const char *dir)
{
    pthread_mutex_lock(&disk.mutex);
    disk.dir = dir;
    disk.fail_calls = 0;
    disk.room = UINT64_MAX;
    disk.hangs = false;
    disk.name_count = 0;
    memset(disk.counts, 0, sizeof disk.counts);
    memset(disk.fds, 0, sizeof disk.fds);
    pthread_mutex_unlock(&disk.mutex);
}

void disk_fail(unsigned calls, const char *prefix, int error, unsigned after)
{
    pthread_mutex_lock(&disk.mutex);
    disk.fail_calls = error == 0 ? 0 : calls;
    disk.fail_prefix = prefix;
    disk.fail_error = error;
    disk.fail_after = after;
    pthread_mutex_unlock(&disk.mutex);
}

void disk_set_room(uint64_t bytes)
{
    pthread_mutex_lock(&disk.mutex);
    disk.room = bytes;
    pthread_mutex_unlock(&disk.mutex);
}

void disk_hang(bool hangs)
{
    pthread_mutex_lock(&disk.mutex);
    disk.hangs = hangs;
    pthread_cond_broadcast(&disk.goes_on);
    pthread_mutex_unlock(&disk.mutex);
}

uint64_t disk_count(unsigned calls)
{
    uint64_t count = 0;
    pthread_mutex_lock(&disk.mutex);
    for (unsigned i = 0; i < 6; i++)
        count += (calls & 1u << i) != 0 ? disk.counts[i] : 0;
    pthread_mutex_unlock(&disk.mutex);
    return count;
}

/* ---- power cuts ---- */

/* A file as it is on the disk, and what was not synced. */
struct disk_file {
    uint8_t *bytes;
    size_t size;
    size_t pending[4096]; /* steps */
    unsigned pending_count;
};

struct entry {
    char name[NAME_SIZE];
    int file;
};

static struct {
    size_t done; /* steps that are in it */
    uint64_t noted;
    struct disk_file *files;
    struct entry entries[FILES_MAX]; /* of the folder, synced */
    unsigned entry_count;
    size_t pending[FILES_MAX]; /* steps that change the folder */
    unsigned pending_count;
} platter;

void disk_record(void)
{
    pthread_mutex_lock(&disk.mutex);
    disk.recording = true;
    pthread_mutex_unlock(&disk.mutex);
}

void disk_note(uint64_t number)
{
    pthread_mutex_lock(&disk.mutex);
    add_step(STEP_NOTE, 0)->at = number;
    pthread_mutex_unlock(&disk.mutex);
}

size_t disk_record_end(void)
{
    pthread_mutex_lock(&disk.mutex);
    disk.recording = false;
    platter.files = calloc((size_t)disk.files + 1, sizeof *platter.files);
    if (platter.files == NULL)
        abort();
    pthread_mutex_unlock(&disk.mutex);
    return disk.step_count;
}

void disk_forget(void)
{
    for (size_t i = 0; i < disk.step_count; i++)
        free(disk.steps[i].bytes);
    for (int i = 1; platter.files != NULL && i <= disk.files; i++)
        free(platter.files[i].bytes);
    free(disk.steps);
    free(platter.files);
    memset(&platter, 0, sizeof platter);
    disk.steps = NULL;
    disk.step_count = disk.step_capacity = 0;
    disk.files = 0;
}

static void resize(struct disk_file *file, size_t size)
{
    if (size > file->size) {
        file->bytes = realloc(file->bytes, size);
        if (file->bytes == NULL)
            abort();
        memset(file->bytes + file->size, 0, size - file->size);
    }
    file->size = size;
}

static void apply_whole(struct disk_file *file, const struct step *step)
{
    if (step->kind == STEP_TRUNCATE) {
        resize(file, (size_t)step->at);
        return;
    }
    if (step->size == 0)
        return;
    if (file->size < step->at + step->size)
        resize(file, (size_t)step->at + step->size);
    memcpy(file->bytes + step->at, step->bytes, step->size);
}

/* What of an unsynced step got to the disk. */
static void apply_some(struct disk_file *file, const struct step *step, struct m5_rng *rng)
{
    const uint64_t luck = m5_rng_below(rng, 3);
    if (luck == 0)
        return;
    if (luck == 1 || step->kind == STEP_TRUNCATE) {
        apply_whole(file, step);
        return;
    }
    for (size_t at = 0, size; at < step->size; at += size) {
        size = 512 - (step->at + at) % 512;
        size = size < step->size - at ? size : step->size - at;
        if (m5_rng_below(rng, 2) == 0)
            continue;
        const struct step piece = {
            .kind = STEP_WRITE, .at = step->at + at, .bytes = step->bytes + at, .size = size};
        apply_whole(file, &piece);
    }
}

static void sync_file(const struct step *sync)
{
    struct disk_file *file = &platter.files[sync->file];
    unsigned kept = 0;
    for (unsigned i = 0; i < file->pending_count; i++) {
        const struct step *step = &disk.steps[file->pending[i]];
        const bool covered = sync->size == 0 || (step->kind == STEP_WRITE && step->at == sync->at &&
                                                 step->size == sync->size);
        if (covered)
            apply_whole(file, step);
        else
            file->pending[kept++] = file->pending[i];
    }
    file->pending_count = kept;
}

static void set_entry(struct entry *entries, unsigned *count, const char *name, int file)
{
    for (unsigned i = 0; i < *count; i++) {
        if (strcmp(entries[i].name, name) == 0) {
            entries[i] = entries[--*count];
            break;
        }
    }
    if (file == 0)
        return;
    snprintf(entries[*count].name, NAME_SIZE, "%s", name);
    entries[(*count)++].file = file;
}

static void apply_to_folder(struct entry *entries, unsigned *count, const struct step *step)
{
    if (step->kind == STEP_CREATE) {
        set_entry(entries, count, step->name, step->file);
    } else {
        set_entry(entries, count, step->name, 0);
        if (step->kind == STEP_RENAME)
            set_entry(entries, count, step->new_name, step->file);
    }
}

static void pass_step(size_t i)
{
    const struct step *step = &disk.steps[i];
    struct disk_file *file = &platter.files[step->file > 0 ? step->file : 0];
    switch (step->kind) {
    case STEP_WRITE:
    case STEP_TRUNCATE:
        if (file->pending_count == 4096)
            abort();
        file->pending[file->pending_count++] = i;
        break;
    case STEP_SYNC: sync_file(step); break;
    case STEP_SYNC_FOLDER:
        for (unsigned k = 0; k < platter.pending_count; k++)
            apply_to_folder(platter.entries, &platter.entry_count, &disk.steps[platter.pending[k]]);
        platter.pending_count = 0;
        break;
    case STEP_CREATE:
    case STEP_RENAME:
    case STEP_UNLINK:
        if (platter.pending_count == FILES_MAX)
            abort();
        platter.pending[platter.pending_count++] = i;
        break;
    case STEP_NOTE: platter.noted = step->at; break;
    }
}

static void write_image(const char *dir, const struct entry *entry, struct m5_rng *rng)
{
    const struct disk_file *synced = &platter.files[entry->file];
    struct disk_file file = {0};
    resize(&file, synced->size);
    if (synced->size > 0)
        memcpy(file.bytes, synced->bytes, synced->size);
    for (unsigned i = 0; i < synced->pending_count; i++)
        apply_some(&file, &disk.steps[synced->pending[i]], rng);
    char path[512];
    snprintf(path, sizeof path, "%.400s/%.63s", dir, entry->name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || (file.size > 0 && write(fd, file.bytes, file.size) != (ssize_t)file.size))
        abort();
    close(fd);
    free(file.bytes);
}

uint64_t disk_cut(size_t step, struct m5_rng *rng, const char *dir)
{
    while (platter.done < step)
        pass_step(platter.done++);
    struct entry entries[FILES_MAX];
    unsigned count = platter.entry_count;
    memcpy(entries, platter.entries, sizeof entries);
    /* Changes of a folder get to the disk in their order, but not all of them. */
    const uint64_t some = m5_rng_below(rng, platter.pending_count + 1);
    for (unsigned i = 0; i < some; i++)
        apply_to_folder(entries, &count, &disk.steps[platter.pending[i]]);
    for (unsigned i = 0; i < count; i++)
        write_image(dir, &entries[i], rng);
    return platter.noted;
}
