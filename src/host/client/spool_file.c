/* The file of a spool: bytes in, bytes out, and what is wrong with them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/spool_file.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_COPY   (M5_SPOOL_HEADER_SIZE / 2)
#define HEADER_SUMMED 32u /* bytes of a copy before its checksum */
#define WINDOW_SIZE   (64u << 10)
#define STATE_OFFSET  8u
#define SUMMED_OFFSET 16u /* of a record: the checksum is of what begins here, the marker */
#define SIZE_OFFSET   20u
#define ID_OFFSET     24u
#define OPEN_TRIES    16 /* the file may be replaced between open and lock, by a rewrite each */

static const uint8_t magic[8] = {'m', '5', 's', 'p', 'o', 'o', 'l', 1};

/* The checksum of headers: their key is in what it protects. */
static const struct m5_hash_key header_key = {.k0 = 0x6d35, .k1 = 0x73706f6f6c};

__attribute__((format(printf, 3, 4))) static enum mqtt5_error fail(struct m5_spool_file *file,
                                                                   enum mqtt5_error error,
                                                                   const char *format, ...)
{
    va_list arguments;
    const int size = snprintf(file->why, sizeof file->why, "%s: ", file->path);
    const size_t used = size < 0                          ? 0
                        : (size_t)size < sizeof file->why ? (size_t)size
                                                          : sizeof file->why - 1;
    va_start(arguments, format);
    vsnprintf(file->why + used, sizeof file->why - used, format, arguments);
    va_end(arguments);
    return error;
}

/* By the system's own words. */
static enum mqtt5_error fail_errno(struct m5_spool_file *file)
{
    char text[128];
    return fail(file, MQTT5_ERR_IO, "%s", strerror_r(errno, text, sizeof text));
}

/* ---- memory ---- */

bool m5_spool_file_init(struct m5_spool_file *file, const struct mqtt5_allocator *allocator,
                        const char *path)
{
    const size_t size = strlen(path) + 1;
    *file = (struct m5_spool_file){.allocator = allocator, .fd = -1};
    file->path = m5_alloc(allocator, size);
    if (file->path == NULL)
        return false;
    memcpy(file->path, path, size);
    return true;
}

void m5_spool_file_fini(struct m5_spool_file *file)
{
    if (file->path == NULL)
        return;
    if (file->fd >= 0)
        close(file->fd);
    m5_free(file->allocator, file->path, strlen(file->path) + 1);
    m5_free(file->allocator, file->buffer, file->buffer_size);
    *file = (struct m5_spool_file){.fd = -1};
}

/* A buffer of at least @p size bytes; what it held is lost. */
static bool reserve(struct m5_spool_file *file, size_t size)
{
    file->window_size = 0;
    if (size <= file->buffer_size)
        return true;
    const size_t wanted = size < WINDOW_SIZE ? WINDOW_SIZE : size;
    uint8_t *buffer = m5_alloc(file->allocator, wanted);
    if (buffer == NULL)
        return false;
    m5_free(file->allocator, file->buffer, file->buffer_size);
    file->buffer = buffer;
    file->buffer_size = wanted;
    return true;
}

/* ---- the system ---- */

/* As pread(), of all @p size bytes unless the file ends before. Returns the bytes read, or -1. */
static ssize_t read_all(int fd, uint8_t *out, size_t size, uint64_t offset)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t n = pread(fd, out + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static bool write_all(int fd, const uint8_t *bytes, size_t size, uint64_t offset)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t n = pwrite(fd, bytes + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* A name that was made or replaced is on the disk when its folder is. */
static bool sync_folder(const char *path)
{
    char copy[4096];
    const int size = snprintf(copy, sizeof copy, "%s", path);
    if (size < 0 || (size_t)size >= sizeof copy)
        return false;
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool done = fsync(fd) == 0;
    close(fd);
    return done;
}

/* ---- the header ---- */

static void take_key(struct m5_spool_file *file, const uint8_t *bytes)
{
    file->key = (struct m5_hash_key){.k0 = m5_read_u64(bytes), .k1 = m5_read_u64(bytes + 8)};
    file->marker = (uint32_t)m5_hash(&file->key, m5_bytes(magic, sizeof magic)) | 1;
}

static bool read_header_copy(struct m5_spool_file *file, const uint8_t *copy)
{
    const uint64_t sum = m5_hash(&header_key, m5_bytes(copy, HEADER_SUMMED));
    if (memcmp(copy, magic, sizeof magic) != 0 || m5_read_u64(copy + HEADER_SUMMED) != sum)
        return false;
    take_key(file, copy + sizeof magic);
    return true;
}

/* A header with a key that no other file has: what lay on the disk before is no record of it. */
static enum mqtt5_error write_header(struct m5_spool_file *file)
{
    uint8_t header[M5_SPOOL_HEADER_SIZE] = {0};
    memcpy(header, magic, sizeof magic);
    if (getrandom(header + sizeof magic, 16, 0) != 16)
        return fail_errno(file);
    take_key(file, header + sizeof magic);
    m5_write_u64(header + HEADER_SUMMED, m5_hash(&header_key, m5_bytes(header, HEADER_SUMMED)));
    memcpy(header + HEADER_COPY, header, HEADER_COPY);
    if (!write_all(file->fd, header, sizeof header, 0) || fdatasync(file->fd) != 0) {
        const enum mqtt5_error error = fail_errno(file);
        (void)!ftruncate(file->fd, 0);
        return error;
    }
    file->end = M5_SPOOL_HEADER_SIZE;
    return MQTT5_OK;
}

/* A file that a crash has left before its header was whole: a beginning of one, or zeros. */
static bool is_unborn(const uint8_t *bytes, size_t size)
{
    const size_t known = size < sizeof magic ? size : sizeof magic;
    bool zeros = true;
    for (size_t i = 0; i < size; i++)
        zeros = zeros && bytes[i] == 0;
    return zeros || (size < M5_SPOOL_HEADER_SIZE && memcmp(bytes, magic, known) == 0);
}

static enum mqtt5_error look_at_header(struct m5_spool_file *file, uint64_t size,
                                       enum m5_spool_found *found)
{
    uint8_t header[M5_SPOOL_HEADER_SIZE];
    const ssize_t n = read_all(file->fd, header, sizeof header, 0);
    if (n < 0)
        return fail_errno(file);
    if (size <= sizeof header && is_unborn(header, (size_t)n)) {
        *found = M5_SPOOL_FOUND_NOTHING;
        return write_header(file);
    }
    file->end = M5_SPOOL_HEADER_SIZE;
    *found = M5_SPOOL_FOUND_RECORDS;
    if (n == sizeof header &&
        (read_header_copy(file, header) || read_header_copy(file, header + HEADER_COPY)))
        return MQTT5_OK;
    *found = M5_SPOOL_FOUND_RUINS;
    if (memcmp(header, magic, sizeof magic) == 0)
        return MQTT5_OK;
    return fail(file, MQTT5_ERR_CONFIG, "not a queue of messages");
}

/* ---- opening ---- */

/* Locks what is open. False with MQTT5_OK: it is no longer what the path names, try again. */
static bool lock(struct m5_spool_file *file, enum mqtt5_error *error)
{
    struct stat opened, named;
    if (flock(file->fd, LOCK_EX | LOCK_NB) != 0) {
        *error = errno == EWOULDBLOCK
                     ? fail(file, MQTT5_ERR_INVALID_STATE, "another process is using it")
                     : fail_errno(file);
        return false;
    }
    *error = fstat(file->fd, &opened) == 0 ? MQTT5_OK : fail_errno(file);
    if (*error == MQTT5_OK && !S_ISREG(opened.st_mode))
        *error = fail(file, MQTT5_ERR_CONFIG, "not a file");
    return *error == MQTT5_OK && stat(file->path, &named) == 0 && named.st_dev == opened.st_dev &&
           named.st_ino == opened.st_ino;
}

static void close_file(struct m5_spool_file *file)
{
    close(file->fd);
    file->fd = -1;
}

static enum mqtt5_error open_locked(struct m5_spool_file *file)
{
    enum mqtt5_error error = MQTT5_OK;
    for (int i = 0; i < OPEN_TRIES && error == MQTT5_OK; i++) {
        file->fd = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
        if (file->fd < 0)
            return fail_errno(file);
        if (lock(file, &error))
            return MQTT5_OK;
        close_file(file);
    }
    return error != MQTT5_OK ? error
                             : fail(file, MQTT5_ERR_INVALID_STATE, "another process is using it");
}

enum mqtt5_error m5_spool_file_open(struct m5_spool_file *file, enum m5_spool_found *found,
                                    uint64_t *size)
{
    struct stat status;
    enum mqtt5_error error = open_locked(file);
    if (error != MQTT5_OK)
        return error;
    error = fstat(file->fd, &status) == 0 ? MQTT5_OK : fail_errno(file);
    if (error == MQTT5_OK) {
        *size = (uint64_t)status.st_size;
        error = look_at_header(file, *size, found);
    }
    if (error == MQTT5_OK && *found == M5_SPOOL_FOUND_NOTHING && !sync_folder(file->path))
        error = fail_errno(file);
    if (error != MQTT5_OK)
        close_file(file);
    return error;
}

/* ---- records ---- */

uint64_t m5_spool_record_bytes(uint32_t size)
{
    return M5_SPOOL_RECORD_SIZE + (((uint64_t)size + 7) & ~UINT64_C(7));
}

static void make_state(const struct m5_spool_file *file, uint64_t id, uint32_t mark, uint8_t *out)
{
    uint8_t text[12];
    m5_write_u64(text, id);
    m5_write_u32(text + 8, mark);
    const uint64_t check = m5_hash(&file->key, m5_bytes(text, sizeof text));
    m5_write_u32(m5_write_u32(out, mark), (uint32_t)check);
}

static void read_state(const struct m5_spool_file *file, const uint8_t *state,
                       struct m5_spool_record *record)
{
    uint8_t wanted[8];
    record->mark = m5_read_u32(state);
    make_state(file, record->id, record->mark, wanted);
    record->mark_damaged = memcmp(state, wanted, sizeof wanted) != 0;
    if (record->mark_damaged)
        record->mark = 0;
}

static uint64_t sum_of(const struct m5_spool_file *file, const uint8_t *record, uint32_t size)
{
    const size_t summed = M5_SPOOL_RECORD_SIZE - SUMMED_OFFSET + size;
    return m5_hash(&file->key, m5_bytes(record + SUMMED_OFFSET, summed));
}

/* @p size bytes of the file from @p offset on, or NULL: the file ends before, or *error. @p ahead
 * is how many bytes to read when they are not there yet. The view lives until the next call. */
static const uint8_t *fetch(struct m5_spool_file *file, uint64_t offset, size_t size, size_t ahead,
                            enum mqtt5_error *error)
{
    const bool held =
        offset >= file->window_at && offset + size <= file->window_at + file->window_size;
    if (held)
        return file->buffer + (offset - file->window_at);
    const size_t wanted = size > ahead ? size : ahead;
    if (!reserve(file, wanted)) {
        *error = fail(file, MQTT5_ERR_NOMEM, "%s", mqtt5_error_text(MQTT5_ERR_NOMEM));
        return NULL;
    }
    const ssize_t n = read_all(file->fd, file->buffer, wanted, offset);
    if (n < 0)
        *error = fail_errno(file);
    if (n < 0 || (size_t)n < size)
        return NULL;
    file->window_at = offset;
    file->window_size = (size_t)n;
    return file->buffer;
}

/* Tells whether @p bytes are a whole record with its message, but for the state. */
static bool is_whole(const struct m5_spool_file *file, const uint8_t *bytes, uint32_t size)
{
    return m5_read_u64(bytes) == sum_of(file, bytes, size);
}

/* Tells whether a whole record lies at @p offset. */
static bool is_record(struct m5_spool_file *file, uint64_t offset, uint64_t size,
                      struct m5_spool_record *out, enum mqtt5_error *error)
{
    const uint8_t *bytes = fetch(file, offset, M5_SPOOL_RECORD_SIZE, WINDOW_SIZE, error);
    if (bytes == NULL || m5_read_u32(bytes + SUMMED_OFFSET) != file->marker)
        return false;
    *out = (struct m5_spool_record){
        .id = m5_read_u64(bytes + ID_OFFSET),
        .offset = offset,
        .size = m5_read_u32(bytes + SIZE_OFFSET),
    };
    if (m5_spool_record_bytes(out->size) > size - offset)
        return false;
    bytes = fetch(file, offset, M5_SPOOL_RECORD_SIZE + out->size, WINDOW_SIZE, error);
    if (bytes == NULL || !is_whole(file, bytes, out->size))
        return false;
    read_state(file, bytes + STATE_OFFSET, out);
    return true;
}

bool m5_spool_file_scan(struct m5_spool_file *file, uint64_t offset, uint64_t size,
                        struct m5_spool_record *out, enum mqtt5_error *error)
{
    *error = MQTT5_OK;
    for (; offset + M5_SPOOL_RECORD_SIZE <= size; offset += 8) {
        if (is_record(file, offset, size, out, error))
            return true;
        if (*error != MQTT5_OK)
            return false;
    }
    return false;
}

enum mqtt5_error m5_spool_file_append(struct m5_spool_file *file, uint64_t id, uint32_t mark,
                                      struct mqtt5_bytes message, uint64_t *offset)
{
    const uint32_t size = (uint32_t)message.len;
    const size_t bytes = (size_t)m5_spool_record_bytes(size);
    if (file->uncertain)
        return fail(file, MQTT5_ERR_IO, "a sync has failed: what is on the disk is not known");
    if (!reserve(file, bytes))
        return fail(file, MQTT5_ERR_NOMEM, "%s", mqtt5_error_text(MQTT5_ERR_NOMEM));
    uint8_t *record = file->buffer;
    make_state(file, id, mark, record + STATE_OFFSET);
    m5_write_u32(m5_write_u32(record + SUMMED_OFFSET, file->marker), size);
    m5_write_u64(record + ID_OFFSET, id);
    uint8_t *end = m5_copy(record + M5_SPOOL_RECORD_SIZE, message);
    memset(end, 0, bytes - (size_t)(end - record));
    m5_write_u64(record, sum_of(file, record, size));
    if (!write_all(file->fd, record, bytes, file->end)) {
        const enum mqtt5_error error = fail_errno(file);
        (void)!ftruncate(file->fd, (off_t)file->end);
        return error;
    }
    *offset = file->end;
    file->end += bytes;
    return MQTT5_OK;
}

enum mqtt5_error m5_spool_file_read(struct m5_spool_file *file,
                                    const struct m5_spool_record *record, struct mqtt5_bytes *out)
{
    enum mqtt5_error error = MQTT5_OK;
    const uint8_t *bytes =
        fetch(file, record->offset, M5_SPOOL_RECORD_SIZE + record->size, 0, &error);
    if (error != MQTT5_OK)
        return error;
    if (bytes == NULL || m5_read_u64(bytes + ID_OFFSET) != record->id ||
        m5_read_u32(bytes + SIZE_OFFSET) != record->size || !is_whole(file, bytes, record->size))
        return fail(file, MQTT5_ERR_IO, "a message is damaged");
    *out = m5_bytes(bytes + M5_SPOOL_RECORD_SIZE, record->size);
    return MQTT5_OK;
}

enum mqtt5_error m5_spool_file_mark(struct m5_spool_file *file,
                                    const struct m5_spool_record *record, uint32_t mark)
{
    uint8_t state[8];
    make_state(file, record->id, mark, state);
    return write_all(file->fd, state, sizeof state, record->offset + STATE_OFFSET)
               ? MQTT5_OK
               : fail_errno(file);
}

enum mqtt5_error m5_spool_file_sync(struct m5_spool_file *file)
{
    if (fdatasync(file->fd) == 0)
        return MQTT5_OK;
    file->uncertain = true;
    return fail_errno(file);
}

enum mqtt5_error m5_spool_file_cut(struct m5_spool_file *file, uint64_t end)
{
    M5_ASSERT(end >= M5_SPOOL_HEADER_SIZE);
    if (ftruncate(file->fd, (off_t)end) != 0)
        return fail_errno(file);
    file->end = end;
    file->window_size = 0;
    return MQTT5_OK;
}

/* ---- one file in the place of another ---- */

/* "<path><suffix>", in memory of @p file; NULL without. */
static char *path_with(const struct m5_spool_file *file, const char *suffix, size_t *size)
{
    *size = strlen(file->path) + strlen(suffix) + 1;
    char *path = m5_alloc(file->allocator, *size);
    if (path != NULL)
        snprintf(path, *size, "%s%s", file->path, suffix);
    return path;
}

enum mqtt5_error m5_spool_file_begin_new(const struct m5_spool_file *file,
                                         struct m5_spool_file *fresh)
{
    *fresh = (struct m5_spool_file){.allocator = file->allocator, .fd = -1};
    size_t size;
    fresh->path = path_with(file, ".new", &size);
    if (fresh->path == NULL)
        return MQTT5_ERR_NOMEM;
    unlink(fresh->path); /* of a rewrite that did not come to its end */
    fresh->fd = open(fresh->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fresh->fd < 0 || flock(fresh->fd, LOCK_EX | LOCK_NB) != 0)
        return fail_errno(fresh);
    return write_header(fresh);
}

/* The file under a second name; an older one of that name goes. */
static bool keep_as(const struct m5_spool_file *file, const char *suffix)
{
    size_t size;
    char *path = path_with(file, suffix, &size);
    if (path == NULL)
        return false;
    unlink(path);
    const bool kept = link(file->path, path) == 0;
    m5_free(file->allocator, path, size);
    return kept;
}

enum mqtt5_error m5_spool_file_replace(struct m5_spool_file *file, struct m5_spool_file *fresh,
                                       bool keep_damaged)
{
    const enum mqtt5_error error = m5_spool_file_sync(fresh);
    if (error != MQTT5_OK)
        return error;
    if (keep_damaged && !keep_as(file, ".damaged"))
        return fail_errno(fresh);
    if (rename(fresh->path, file->path) != 0)
        return fail_errno(fresh);
    /* From here on there is no way back; a folder that cannot be synced leaves either file. */
    file->uncertain = !sync_folder(file->path);
    close(file->fd);
    file->fd = fresh->fd;
    file->key = fresh->key;
    file->marker = fresh->marker;
    file->end = fresh->end;
    file->window_size = 0;
    fresh->fd = -1;
    m5_spool_file_fini(fresh);
    return MQTT5_OK;
}

void m5_spool_file_give_up(struct m5_spool_file *fresh)
{
    if (fresh->path != NULL)
        unlink(fresh->path);
    m5_spool_file_fini(fresh);
}
