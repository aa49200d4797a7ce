/* Packets as tests write them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/hex.h"

#include "base/bytes.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void fail(const char *what, const char *text)
{
    fprintf(stderr, "hex: %s: %s\n", what, text);
    abort();
}

static unsigned digit(char c, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = c == 0 ? NULL : strchr(digits, tolower((unsigned char)c));
    if (found == NULL)
        fail("not a hex digit", text);
    return (unsigned)(found - digits);
}

struct writer {
    const char *text; /* for messages */
    uint8_t *out;
    size_t size, size_max;
};

static void put(struct writer *writer, uint8_t byte)
{
    if (writer->size == writer->size_max)
        fail("too long", writer->text);
    writer->out[writer->size++] = byte;
}

/* Puts the length of what was written since @p start in front of it. */
static void insert_length(struct writer *writer, size_t start)
{
    const size_t content = writer->size - start;
    const size_t prefix = m5_varint_size((uint32_t)content);
    for (size_t i = 0; i < prefix; i++)
        put(writer, 0);
    memmove(writer->out + start + prefix, writer->out + start, content);
    m5_varint_write(writer->out + start, (uint32_t)content);
}

static const char *read_quoted(struct writer *writer, const char *at)
{
    for (; *at != '\''; at++) {
        if (*at == 0)
            fail("no closing quote", writer->text);
        put(writer, (uint8_t)*at);
    }
    return at + 1;
}

struct mqtt5_bytes hex_read(const char *text, uint8_t *out, size_t size_max)
{
    struct writer writer = {.text = text, .out = out, .size_max = size_max};
    size_t starts[8];
    unsigned depth = 0;
    for (const char *at = text; *at != 0;) {
        if (isspace((unsigned char)*at)) {
            at++;
        } else if (*at == '\'') {
            at = read_quoted(&writer, at + 1);
        } else if (*at == '[' && depth < 8) {
            starts[depth++] = writer.size;
            at++;
        } else if (*at == ']' && depth > 0) {
            insert_length(&writer, starts[--depth]);
            at++;
        } else {
            put(&writer, (uint8_t)(digit(at[0], text) << 4 | digit(at[1], text)));
            at += 2;
        }
    }
    if (depth != 0)
        fail("a bracket is open", text);
    return m5_bytes(out, writer.size);
}

void hex_print(const char *title, struct mqtt5_bytes bytes)
{
    fprintf(stderr, "%s (%zu bytes):", title, bytes.len);
    for (size_t i = 0; i < bytes.len && i < 256; i++)
        fprintf(stderr, " %02x", bytes.data[i]);
    fprintf(stderr, "%s\n", bytes.len > 256 ? " ..." : "");
}
