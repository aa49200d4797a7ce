/* The log: writing groups, and reading them back.
 *
 * A file that grows has its size written with every sync, which costs a second write to the
 * filesystem's own journal: small groups go into zeros that were written ahead.
 *
 * After a write or a sync that failed nobody knows what the file holds: a second fsync() may report
 * success for pages that the system gave up. So the segment is left as it is, and the group is
 * written again to a new one, whose name makes the old copy void. Groups before it had been synced
 * with success and are not in doubt.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/wal.h"

#include "base/assert.h"
#include "broker/record.h"
#include "host/store/crc.h"
#include "host/store/folder.h"
#include "host/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC         0x6D356C67u
#define HEADER_SIZE   64u
#define HEADER_SUMMED 48u
#define ALIGNMENT     4096u
#define ZEROS_SIZE    (64u * 1024u)
#define AHEAD_BYTES   (256u * 1024u) /* zeros written at once, for groups no larger than ... */
#define AHEAD_GROUP   (32u * 1024u)
#define KEEP_BUFFER   (1024u * 1024u) /* a larger one is freed after use */

static const uint8_t zeros[ZEROS_SIZE];

void m5_wal_name(uint64_t first, char out[M5_WAL_NAME_SIZE])
{
    snprintf(out, M5_WAL_NAME_SIZE, "log-%016llx", (unsigned long long)first);
}

/* ---- segments ---- */

static struct m5_wal_segment *segment_new(uint64_t first, int fd)
{
    struct m5_wal_segment *segment = calloc(1, sizeof *segment);
    struct stat status;
    if (segment == NULL || fstat(fd, &status) != 0) {
        free(segment);
        close(fd);
        return NULL;
    }
    segment->first = first;
    segment->fd = fd;
    segment->bytes = (uint64_t)status.st_size;
    return segment;
}

static void segment_free(struct m5_wal_segment *segment)
{
    close(segment->fd);
    free(segment);
}

/* Puts @p segment where it belongs by number. */
static void add_segment(struct m5_wal *log, struct m5_wal_segment *segment)
{
    pthread_mutex_lock(&log->mutex);
    struct m5_wal_segment **link = &log->oldest;
    while (*link != NULL && (*link)->first < segment->first)
        link = &(*link)->next;
    segment->next = *link;
    *link = segment;
    if (segment->next == NULL)
        log->newest = segment;
    pthread_mutex_unlock(&log->mutex);
}

/* The number in a segment's name; false: it is not one. */
static bool read_name(const char *name, uint64_t *first)
{
    char again[M5_WAL_NAME_SIZE];
    if (strncmp(name, "log-", 4) != 0)
        return false;
    *first = strtoull(name + 4, NULL, 16);
    m5_wal_name(*first, again);
    return strcmp(name, again) == 0;
}

static enum mqtt5_error open_segment(struct m5_wal *log, const char *name, bool writable, char *why)
{
    uint64_t first;
    if (!read_name(name, &first))
        return MQTT5_OK;
    const int mode = writable ? O_RDWR : O_RDONLY;
    const int fd = openat(log->dir_fd, name, mode | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return MQTT5_OK;
    if (fd < 0) {
        m5_say(why, "\"%s\" cannot be opened: %s", name, strerror(errno));
        return MQTT5_ERR_IO;
    }
    struct m5_wal_segment *segment = segment_new(first, fd);
    if (segment == NULL)
        return MQTT5_ERR_NOMEM;
    add_segment(log, segment);
    return MQTT5_OK;
}

enum mqtt5_error m5_wal_open(struct m5_wal *log, int dir_fd, bool writable, char *why)
{
    *log = (struct m5_wal){.dir_fd = dir_fd, .start_anew = true};
    pthread_mutex_init(&log->mutex, NULL);
    const int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        m5_say(why, "the folder cannot be listed: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return MQTT5_ERR_IO;
    }
    enum mqtt5_error error = MQTT5_OK;
    for (struct dirent *entry; error == MQTT5_OK && (entry = readdir(dir)) != NULL;)
        error = open_segment(log, entry->d_name, writable, why);
    closedir(dir);
    return error;
}

void m5_wal_close(struct m5_wal *log)
{
    for (struct m5_wal_segment *segment = log->oldest, *next; segment != NULL; segment = next) {
        next = segment->next;
        segment_free(segment);
    }
    free(log->buffer);
    log->buffer = NULL;
    log->oldest = log->newest = NULL;
    pthread_mutex_destroy(&log->mutex);
}

static bool unlink_segment(struct m5_wal *log, const struct m5_wal_segment *segment)
{
    char name[M5_WAL_NAME_SIZE];
    m5_wal_name(segment->first, name);
    return unlinkat(log->dir_fd, name, 0) == 0 || errno == ENOENT;
}

/* Takes the oldest segment out of the list. */
static struct m5_wal_segment *take_oldest(struct m5_wal *log)
{
    struct m5_wal_segment *segment = log->oldest;
    log->oldest = segment->next;
    if (log->oldest == NULL)
        log->newest = NULL;
    return segment;
}

bool m5_wal_clear(struct m5_wal *log)
{
    for (const struct m5_wal_segment *segment = log->oldest; segment; segment = segment->next) {
        if (!unlink_segment(log, segment))
            return false;
    }
    if (log->oldest != NULL && !m5_folder_sync(log->dir_fd))
        return false;
    while (log->oldest != NULL)
        segment_free(take_oldest(log));
    log->start_anew = true;
    return true;
}

uint64_t m5_wal_bytes(struct m5_wal *log)
{
    uint64_t bytes = 0;
    pthread_mutex_lock(&log->mutex);
    for (const struct m5_wal_segment *segment = log->oldest; segment; segment = segment->next)
        bytes += segment->bytes;
    pthread_mutex_unlock(&log->mutex);
    return bytes;
}

/* ---- writing ---- */

static bool write_all(int fd, const uint8_t *bytes, size_t size, uint64_t at)
{
    while (size > 0) {
        const ssize_t n = pwrite(fd, bytes, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return false;
        }
        bytes += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

/* A new segment for the next group, in place of one of that name which was never synced. */
static bool start_segment(struct m5_wal *log)
{
    char name[M5_WAL_NAME_SIZE];
    m5_wal_name(log->next, name);
    if (log->newest != NULL && log->newest->first == log->next) {
        /* Nothing in it counts; readers were never told of its groups. */
        if (ftruncate(log->newest->fd, 0) != 0 || !m5_folder_sync(log->dir_fd))
            return false;
        log->newest->bytes = 0;
        return true;
    }
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    const int fd = openat(log->dir_fd, name, flags, 0600);
    if (fd < 0)
        return false;
    if (!m5_folder_sync(log->dir_fd)) {
        const int failed = errno;
        unlinkat(log->dir_fd, name, 0);
        close(fd);
        errno = failed;
        return false;
    }
    struct m5_wal_segment *segment = segment_new(log->next, fd);
    if (segment == NULL) {
        unlinkat(log->dir_fd, name, 0);
        errno = ENOMEM;
        return false;
    }
    add_segment(log, segment);
    return true;
}

/* Room of @p size bytes for a group; NULL without memory. */
static uint8_t *make_buffer(struct m5_wal *log, size_t size)
{
    if (log->buffer_size < size) {
        free(log->buffer);
        log->buffer_size = 0;
        log->buffer = malloc(size);
        if (log->buffer == NULL)
            return NULL;
        log->buffer_size = size;
    }
    return log->buffer;
}

/* The next group as bytes, whole blocks; its size, or 0 without memory. */
static size_t encode(struct m5_wal *log, const struct m5_change_list *changes, uint64_t wall_ms)
{
    const uint64_t payload = m5_changes_size(changes);
    const size_t size = (size_t)((HEADER_SIZE + payload + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    uint8_t *start = make_buffer(log, size);
    if (start == NULL)
        return 0;
    uint8_t *end = m5_changes_write(changes, start + HEADER_SIZE);
    M5_ASSERT((uint64_t)(end - start) == HEADER_SIZE + payload);
    memset(end, 0, size - (size_t)(end - start));
    memset(start, 0, HEADER_SIZE);
    uint8_t *at = m5_write_u32(m5_write_u32(start, MAGIC), M5_STORE_FORMAT);
    at = m5_write_u64(m5_write_u64(at, log->store), log->next);
    at = m5_write_u64(m5_write_u64(at, wall_ms), payload);
    at = m5_write_u32(at, changes->live);
    at = m5_write_u32(at, m5_crc32c(0, start + HEADER_SIZE, (size_t)payload));
    m5_write_u32(at, m5_crc32c(0, start, HEADER_SUMMED));
    return size;
}

static bool write_group(struct m5_wal *log, size_t size)
{
    struct m5_wal_segment *segment = log->newest;
    const uint64_t end = log->end + size;
    if (!write_all(segment->fd, log->buffer, size, log->end))
        return false;
    if (end > segment->bytes) {
        segment->bytes = end;
        /* For lack of room this is left out: then the next group has to grow the file itself. */
        for (unsigned i = 0; size <= AHEAD_GROUP && i < AHEAD_BYTES / ZEROS_SIZE; i++) {
            if (!write_all(segment->fd, zeros, ZEROS_SIZE, segment->bytes))
                break;
            segment->bytes += ZEROS_SIZE;
        }
    }
    return true;
}

/* Leaves the newest segment. Gives back what a group took that could not be written, where that is
 * possible: space may be what is missing. One that was written and could not be synced stays: it
 * may be acknowledged as written, and until it is in another segment it is found here. */
static void abandon_segment(struct m5_wal *log, bool whole)
{
    const int failed = errno;
    log->start_anew = true;
    if (!whole && log->newest != NULL && log->newest->first < log->next &&
        ftruncate(log->newest->fd, (off_t)log->end) == 0)
        log->newest->bytes = log->end;
    errno = failed;
}

enum mqtt5_error m5_wal_append(struct m5_wal *log, const struct m5_change_list *changes,
                               uint64_t wall_ms, void (*written)(void *ctx), void *ctx, char *why)
{
    const size_t size = encode(log, changes, wall_ms);
    if (size == 0) {
        m5_say(why, "there is no memory for what is to be stored");
        return MQTT5_ERR_NOMEM;
    }
    if (log->start_anew || log->end >= log->segment_bytes) {
        if (!start_segment(log)) {
            m5_say(why, "a new segment of the log cannot be made: %s", strerror(errno));
            return MQTT5_ERR_IO;
        }
        log->start_anew = false;
        log->end = 0;
    }
    const bool whole = write_group(log, size);
    if (whole && written != NULL)
        written(ctx);
    const bool done = whole && fdatasync(log->newest->fd) == 0;
    if (!done) {
        abandon_segment(log, whole);
        m5_say(why, "the log cannot be written: %s", strerror(errno));
    } else {
        log->end += size;
        log->next++;
    }
    if (log->buffer_size > KEEP_BUFFER) {
        free(log->buffer);
        log->buffer = NULL;
        log->buffer_size = 0;
    }
    return done ? MQTT5_OK : MQTT5_ERR_IO;
}

/* ---- reading ---- */

struct header {
    uint64_t store, number, wall_ms, payload;
    uint32_t format, changes, sum;
};

enum header_found { HEADER_GOOD, HEADER_NONE, HEADER_FAILED };

static enum header_found read_header(int fd, uint64_t at, struct header *out)
{
    uint8_t bytes[HEADER_SIZE];
    ssize_t n;
    do
        n = pread(fd, bytes, sizeof bytes, (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return HEADER_FAILED;
    if (n < (ssize_t)sizeof bytes || m5_read_u32(bytes) != MAGIC ||
        m5_read_u32(bytes + HEADER_SUMMED) != m5_crc32c(0, bytes, HEADER_SUMMED))
        return HEADER_NONE;
    *out = (struct header){
        .format = m5_read_u32(bytes + 4),
        .store = m5_read_u64(bytes + 8),
        .number = m5_read_u64(bytes + 16),
        .wall_ms = m5_read_u64(bytes + 24),
        .payload = m5_read_u64(bytes + 32),
        .changes = m5_read_u32(bytes + 40),
        .sum = m5_read_u32(bytes + 44),
    };
    return HEADER_GOOD;
}

static uint64_t group_size(const struct header *header)
{
    return (HEADER_SIZE + header->payload + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Reads exactly @p size bytes; false with errno, 0 when the file ends before. */
static bool read_all(int fd, uint8_t *bytes, size_t size, uint64_t at)
{
    while (size > 0) {
        const ssize_t n = pread(fd, bytes, size, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? 0 : errno;
            return false;
        }
        bytes += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return true;
}

void m5_wal_read(struct m5_wal *log, uint64_t next, struct m5_wal_reader *reader)
{
    *reader = (struct m5_wal_reader){.log = log, .next = next};
}

/* Moves to the segment that must hold the next group. False: there is no such segment. */
static bool find_segment(struct m5_wal_reader *reader)
{
    pthread_mutex_lock(&reader->log->mutex);
    struct m5_wal_segment *segment = reader->segment;
    if (segment == NULL)
        segment = reader->log->oldest;
    while (segment != NULL && segment->next != NULL && segment->next->first <= reader->next)
        segment = segment->next;
    pthread_mutex_unlock(&reader->log->mutex);
    if (segment == NULL || segment->first > reader->next)
        return false;
    if (segment != reader->segment)
        reader->at = 0;
    reader->segment = segment;
    return true;
}

static bool is_newest(const struct m5_wal_reader *reader)
{
    pthread_mutex_lock(&reader->log->mutex);
    const bool newest = reader->segment->next == NULL;
    pthread_mutex_unlock(&reader->log->mutex);
    return newest;
}

/* The group that is wanted is not good: was it the last one, which a crash cut short? */
static enum m5_wal_found judge_end(const struct m5_wal_reader *reader, char *why)
{
    const struct m5_wal_segment *segment = reader->segment;
    bool damaged = !is_newest(reader);
    for (uint64_t at = reader->at + ALIGNMENT; !damaged && at < segment->bytes; at += ALIGNMENT) {
        struct header header;
        const enum header_found found = read_header(segment->fd, at, &header);
        if (found == HEADER_FAILED)
            return M5_WAL_FAILED;
        damaged = found == HEADER_GOOD && header.store == reader->log->store &&
                  header.number >= reader->next;
    }
    if (!damaged)
        return M5_WAL_END;
    char name[M5_WAL_NAME_SIZE];
    m5_wal_name(segment->first, name);
    m5_say(why, "\"%s\" is damaged at byte %llu: group %llu cannot be read, and later ones exist",
           name, (unsigned long long)reader->at, (unsigned long long)reader->next);
    return M5_WAL_DAMAGED;
}

static enum m5_wal_found failed(char *why)
{
    m5_say(why, "the log cannot be read: %s", strerror(errno));
    return M5_WAL_FAILED;
}

/* Reads the changes of the group at the reader's place. */
static enum m5_wal_found read_group(struct m5_wal_reader *reader, const struct header *header,
                                    struct m5_wal_group *out, char *why)
{
    if (header->payload > reader->segment->bytes)
        return judge_end(reader, why);
    uint8_t *bytes = malloc(header->payload > 0 ? (size_t)header->payload : 1);
    if (bytes == NULL) {
        errno = ENOMEM;
        return failed(why);
    }
    const bool whole =
        read_all(reader->segment->fd, bytes, (size_t)header->payload, reader->at + HEADER_SIZE);
    const int error = whole ? 0 : errno;
    if (!whole || m5_crc32c(0, bytes, (size_t)header->payload) != header->sum) {
        free(bytes);
        errno = error;
        return error != 0 ? failed(why) : judge_end(reader, why);
    }
    *out = (struct m5_wal_group){.number = header->number,
                                 .wall_ms = header->wall_ms,
                                 .bytes = bytes,
                                 .size = (size_t)header->payload,
                                 .file_size = group_size(header)};
    reader->at += out->file_size;
    reader->next++;
    return M5_WAL_GROUP;
}

/* The log does not have a segment where the wanted group could be. */
static enum m5_wal_found judge_missing(const struct m5_wal_reader *reader, char *why)
{
    if (reader->log->oldest == NULL)
        return M5_WAL_END;
    m5_say(why, "the log starts with group %llu, but the map ends before group %llu",
           (unsigned long long)reader->log->oldest->first, (unsigned long long)reader->next);
    return M5_WAL_DAMAGED;
}

enum m5_wal_found m5_wal_next(struct m5_wal_reader *reader, struct m5_wal_group *out, char *why)
{
    if (!find_segment(reader))
        return judge_missing(reader, why);
    for (;;) {
        struct header header;
        const enum header_found found = read_header(reader->segment->fd, reader->at, &header);
        if (found == HEADER_FAILED)
            return failed(why);
        if (found == HEADER_NONE)
            return judge_end(reader, why);
        if (header.format > M5_STORE_FORMAT) {
            m5_say(why, "the log was written by a later version of this program (format %u)",
                   header.format);
            return M5_WAL_LATER;
        }
        if (header.store != reader->log->store || header.number > reader->next) {
            m5_say(why, "the log holds group %llu of store %016llx where group %llu was expected",
                   (unsigned long long)header.number, (unsigned long long)header.store,
                   (unsigned long long)reader->next);
            return M5_WAL_DAMAGED;
        }
        if (header.number == reader->next)
            return read_group(reader, &header, out, why);
        reader->at += group_size(&header);
    }
}

void m5_wal_drop(struct m5_wal_reader *reader)
{
    struct m5_wal *log = reader->log;
    if (!find_segment(reader))
        return;
    for (;;) {
        pthread_mutex_lock(&log->mutex);
        struct m5_wal_segment *segment = log->oldest;
        const bool done = segment == reader->segment;
        if (!done)
            take_oldest(log);
        pthread_mutex_unlock(&log->mutex);
        if (done)
            return;
        unlink_segment(log, segment);
        segment_free(segment);
    }
}
