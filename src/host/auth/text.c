/* Reading the line-based files of this folder: lines, words, and errors that say where.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/text.h"

#include "base/bytes.h"

#include <mqtt5/topic.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- memory ---- */

static void *libc_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void libc_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

const struct mqtt5_allocator m5_libc_allocator = {.alloc = libc_alloc, .free = libc_free};

void m5_wipe(void *memory, size_t size)
{
    if (size > 0)
        explicit_bzero(memory, size);
}

/* ---- errors ---- */

bool m5_text_fail(struct m5_text_error *error, uint32_t line, uint32_t column, const char *format,
                  ...)
{
    error->line = line;
    error->column = column;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return false;
}

void m5_text_error_format(const struct m5_text_error *error, const char *file, char *out,
                          size_t size)
{
    if (error->line == 0)
        snprintf(out, size, "%s: %s", file, error->text);
    else
        snprintf(out, size, "%s:%u:%u: %s", file, error->line, error->column, error->text);
}

/* ---- lines and words ---- */

bool m5_text_next_line(struct m5_text_lines *lines)
{
    if (lines->rest.len == 0)
        return false;
    const uint8_t *feed = memchr(lines->rest.data, '\n', lines->rest.len);
    const size_t size = feed != NULL ? (size_t)(feed - lines->rest.data) : lines->rest.len;
    const size_t taken = feed != NULL ? size + 1 : size;
    lines->line = m5_bytes(lines->rest.data, size);
    if (size > 0 && lines->line.data[size - 1] == '\r')
        lines->line.len--;
    lines->rest = m5_bytes(lines->rest.data + taken, lines->rest.len - taken);
    lines->number++;
    return true;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static size_t skip_blanks(struct mqtt5_bytes line, size_t at)
{
    while (at < line.len && is_blank(line.data[at]))
        at++;
    return at;
}

bool m5_text_is_comment(struct mqtt5_bytes line)
{
    const size_t at = skip_blanks(line, 0);
    return at == line.len || line.data[at] == '#';
}

bool m5_text_check_line(const struct m5_text_lines *lines, struct m5_text_error *error)
{
    const struct mqtt5_bytes line = lines->line;
    if (line.len > M5_TEXT_LINE_MAX)
        return m5_text_fail(error, lines->number, M5_TEXT_LINE_MAX + 1,
                            "the line has %zu bytes, allowed are %u; is a line feed missing?",
                            line.len, M5_TEXT_LINE_MAX);
    for (size_t i = 0; i < line.len; i++) {
        if ((line.data[i] < 0x20 && line.data[i] != '\t') || line.data[i] == 0x7F)
            return m5_text_fail(error, lines->number, (uint32_t)i + 1,
                                "byte 0x%02X is a control character; remove it", line.data[i]);
    }
    if (mqtt5_utf8_check(line) != MQTT5_OK)
        return m5_text_fail(error, lines->number, 1, "the line is not UTF-8; save it as UTF-8");
    return true;
}

size_t m5_text_split(struct mqtt5_bytes line, struct m5_text_word *words, size_t words_max)
{
    size_t count = 0;
    for (size_t at = skip_blanks(line, 0); at < line.len; at = skip_blanks(line, at)) {
        const size_t start = at;
        while (at < line.len && !is_blank(line.data[at]))
            at++;
        if (count < words_max)
            words[count] = (struct m5_text_word){.text = m5_bytes(line.data + start, at - start),
                                                 .column = (uint32_t)start + 1};
        count++;
    }
    return count;
}

bool m5_text_equals(struct mqtt5_bytes text, const char *word)
{
    return m5_bytes_equal(text, m5_bytes_of(word));
}

bool m5_text_number(struct mqtt5_bytes text, uint32_t max, uint32_t *out)
{
    uint64_t value = 0;
    if (text.len == 0 || text.len > 10)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = (uint32_t)value;
    return value <= max;
}

/* ---- files ---- */

static bool read_open(int fd, struct m5_text *out)
{
    for (;;) {
        if (out->size > M5_TEXT_FILE_MAX) {
            errno = EFBIG;
            return false;
        }
        const ssize_t got = read(fd, out->data + out->size, out->capacity - out->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0;
        out->size += (size_t)got;
    }
}

/* Checks what was opened and makes room: one byte more than allowed, to see what is too large. */
static bool prepare(int fd, struct m5_text *out)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return false;
    if (!S_ISREG(info.st_mode)) {
        errno = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
        return false;
    }
    if (info.st_size > (off_t)M5_TEXT_FILE_MAX) {
        errno = EFBIG;
        return false;
    }
    out->capacity = M5_TEXT_FILE_MAX + 1;
    if (info.st_size < 65536) /* the usual case; a file that grows meanwhile is read again */
        out->capacity = 131072;
    out->data = malloc(out->capacity);
    return out->data != NULL;
}

bool m5_text_read(const char *path, struct m5_text *out, struct m5_text_error *error)
{
    *out = (struct m5_text){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return m5_text_fail(error, 0, 0, "cannot be opened: %s", strerror(errno));
    bool done = prepare(fd, out) && read_open(fd, out);
    if (done && out->size == out->capacity) {
        errno = EAGAIN;
        done = false;
    }
    const int why = errno;
    close(fd);
    if (done)
        return true;
    m5_text_free(out);
    if (why == EFBIG)
        return m5_text_fail(error, 0, 0, "is larger than %u MiB", M5_TEXT_FILE_MAX >> 20);
    if (why == EINVAL)
        return m5_text_fail(error, 0, 0, "is no regular file");
    return m5_text_fail(error, 0, 0, "cannot be read: %s", strerror(why));
}

void m5_text_free(struct m5_text *text)
{
    if (text->data != NULL)
        m5_wipe(text->data, text->size);
    free(text->data);
    *text = (struct m5_text){0};
}
