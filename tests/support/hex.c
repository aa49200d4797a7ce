/* Packets as tests write them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/hex.h"

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

struct mqtt5_bytes hex_read(const char *text, uint8_t *out, size_t size_max)
{
    size_t size = 0;
    for (const char *at = text; *at != 0;) {
        if (isspace((unsigned char)*at)) {
            at++;
            continue;
        }
        if (size == size_max)
            fail("too long", text);
        if (*at == '\'') {
            for (at++; *at != '\'' && size < size_max; at++) {
                if (*at == 0)
                    fail("no closing quote", text);
                out[size++] = (uint8_t)*at;
            }
            at += *at == '\'';
            continue;
        }
        out[size++] = (uint8_t)(digit(at[0], text) << 4 | digit(at[1], text));
        at += 2;
    }
    return (struct mqtt5_bytes){.data = out, .len = size};
}

void hex_print(const char *title, struct mqtt5_bytes bytes)
{
    fprintf(stderr, "%s (%zu bytes):", title, bytes.len);
    for (size_t i = 0; i < bytes.len && i < 256; i++)
        fprintf(stderr, " %02x", bytes.data[i]);
    fprintf(stderr, "%s\n", bytes.len > 256 ? " ..." : "");
}
