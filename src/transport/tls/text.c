/* Texts of TLS: what may be a name, sentences about what went wrong, small files.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/tls/text.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <mqtt5/topic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE_MAX (16u << 20) /* bytes; certificate stores have about 256 KiB */

/* U+0000 to U+001F, U+007F to U+009F. @p left > 0 bytes are valid UTF-8 or not at all. */
static bool is_control(const uint8_t *at, size_t left)
{
    return at[0] < 0x20 || at[0] == 0x7F ||
           (at[0] == 0xC2 && left > 1 && at[1] >= 0x80 && at[1] <= 0x9F);
}

static bool has_control(struct mqtt5_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (is_control(text.data + i, text.len - i))
            return true;
    }
    return false;
}

bool m5_tls_is_name(struct mqtt5_bytes text)
{
    return text.len > 0 && text.len < M5_TLS_NAME_SIZE && mqtt5_utf8_check(text) == MQTT5_OK &&
           !has_control(text);
}

bool m5_tls_copy_name(struct mqtt5_bytes text, char out[M5_TLS_NAME_SIZE])
{
    const bool good = m5_tls_is_name(text);
    uint8_t *end = m5_copy((uint8_t *)out, good ? text : m5_bytes(NULL, 0));
    *end = 0;
    return good;
}

/* ---- sentences ---- */

static void make_printable(char *text)
{
    const size_t size = strlen(text);
    const bool ascii_only = mqtt5_utf8_check(m5_bytes(text, size)) != MQTT5_OK;
    for (size_t i = 0; i < size; i++) {
        const uint8_t *at = (const uint8_t *)text + i;
        if (!is_control(at, size - i) && !(ascii_only && *at >= 0x80))
            continue;
        if (*at == 0xC2 && i + 1 < size)
            text[i + 1] = '?';
        text[i] = '?';
    }
}

static void print(char *out, size_t size, const char *format, va_list arguments)
{
    vsnprintf(out, size, format, arguments);
    make_printable(out);
}

void m5_tls_print(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(out, size, format, arguments);
    va_end(arguments);
}

bool m5_tls_fail(struct m5_tls_error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    print(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return false;
}

const char *m5_tls_date(time_t when, char out[M5_TLS_DATE_SIZE])
{
    struct tm parts;
    if (when == (time_t)-1 || gmtime_r(&when, &parts) == NULL ||
        strftime(out, M5_TLS_DATE_SIZE, "%Y-%m-%d", &parts) == 0)
        return "an unknown date";
    return out;
}

/* ---- files ---- */

static bool make_blob(struct m5_tls_blob *blob, size_t size, struct m5_tls_error *error)
{
    blob->data = malloc(size + 1);
    if (blob->data == NULL)
        return m5_tls_fail(error, "out of memory");
    blob->data[size] = 0;
    blob->size = size;
    return true;
}

static bool read_all(int descriptor, struct m5_tls_blob *blob)
{
    size_t used = 0;
    while (used < blob->size) {
        const ssize_t count = read(descriptor, blob->data + used, blob->size - used);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return false;
        if (count == 0)
            break;
        used += (size_t)count;
    }
    blob->size = used;
    blob->data[used] = 0;
    return true;
}

static bool read_descriptor(struct m5_tls_blob *blob, const char *file, int descriptor,
                            struct m5_tls_error *error)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        return m5_tls_fail(error, "%s: cannot be read: %s", file, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return m5_tls_fail(error, "%s: this is not a file; name the file itself", file);
    if (status.st_size <= 0)
        return m5_tls_fail(error, "%s: the file is empty", file);
    if (status.st_size > FILE_SIZE_MAX)
        return m5_tls_fail(error, "%s: the file has more than %u bytes", file, FILE_SIZE_MAX);
    if (!make_blob(blob, (size_t)status.st_size, error))
        return false;
    if (!read_all(descriptor, blob))
        return m5_tls_fail(error, "%s: cannot be read: %s", file, strerror(errno));
    return true;
}

bool m5_tls_blob_load(struct m5_tls_blob *blob, const char *file, struct mqtt5_bytes memory,
                      struct m5_tls_error *error)
{
    if (file == NULL) {
        if (memory.len > FILE_SIZE_MAX)
            return m5_tls_fail(error, "more than %u bytes of certificates", FILE_SIZE_MAX);
        if (!make_blob(blob, memory.len, error))
            return false;
        m5_copy(blob->data, memory);
        return true;
    }
    const int descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (descriptor < 0)
        return m5_tls_fail(error, "%s: cannot be opened: %s", file, strerror(errno));
    const bool done = read_descriptor(blob, file, descriptor, error);
    close(descriptor);
    return done;
}

void m5_tls_blob_fini(struct m5_tls_blob *blob)
{
    if (blob->data != NULL)
        gnutls_memset(blob->data, 0, blob->size);
    free(blob->data);
    *blob = (struct m5_tls_blob){0};
}

gnutls_x509_crt_fmt_t m5_tls_format_of(const struct m5_tls_blob *blob)
{
    static const char armour[] = "-----BEGIN ";
    return blob->data != NULL && memmem(blob->data, blob->size, armour, sizeof armour - 1) != NULL
               ? GNUTLS_X509_FMT_PEM
               : GNUTLS_X509_FMT_DER;
}
