/* Reading what to publish: files, standard input, hexadecimal text.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_SIZE 65536u

static bool make_room(struct cli_content *content)
{
    if (content->capacity - content->size >= READ_SIZE)
        return true;
    const size_t capacity = content->capacity * 2 + READ_SIZE;
    uint8_t *data = realloc(content->data, capacity);
    if (data == NULL)
        return false;
    content->data = data;
    content->capacity = capacity;
    return true;
}

bool cli_read_all(FILE *file, size_t size_max, struct cli_content *content)
{
    for (;;) {
        if (!make_room(content))
            return false;
        const size_t size = fread(content->data + content->size, 1, READ_SIZE, file);
        content->size += size;
        if (content->size > size_max) {
            errno = EFBIG;
            return false;
        }
        if (size == 0)
            return ferror(file) == 0;
    }
}

bool cli_read_some(int fd, size_t size_max, struct cli_content *content, bool *at_end)
{
    if (!make_room(content))
        return false;
    const ssize_t size = read(fd, content->data + content->size, READ_SIZE);
    *at_end = size == 0;
    if (size < 0)
        return errno == EINTR || errno == EAGAIN;
    content->size += (size_t)size;
    if (content->size > size_max) {
        errno = EFBIG;
        return false;
    }
    return true;
}

static int digit(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *found = c != 0 ? strchr(digits, c) : NULL;
    return found == NULL ? -1 : (int)((found - digits) % 16);
}

bool cli_read_hex(const char *text, uint8_t *out, size_t *size)
{
    *size = 0;
    for (; *text != 0; text += 2) {
        const int high = digit(text[0]), low = high < 0 ? -1 : digit(text[1]);
        if (low < 0)
            return false;
        out[(*size)++] = (uint8_t)(high << 4 | low);
    }
    return true;
}
