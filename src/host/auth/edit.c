/* Changing lines of the files of users and rules; every other byte stays as it is.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/edit.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

static bool append(struct m5_text *out, struct mqtt5_bytes more)
{
    if (more.len > out->capacity - out->size) {
        const size_t capacity = 2 * out->capacity + more.len + 256;
        uint8_t *data = malloc(capacity); /* not realloc(): what is left behind is wiped */
        if (data == NULL)
            return false;
        m5_copy(data, m5_bytes(out->data, out->size));
        const size_t size = out->size;
        m5_text_free(out);
        *out = (struct m5_text){.data = data, .size = size, .capacity = capacity};
    }
    m5_copy(out->data + out->size, more);
    out->size += more.len;
    return true;
}

static bool append_line(struct m5_text *out, const char *line)
{
    const bool open = out->size > 0 && out->data[out->size - 1] != '\n';
    return (!open || append(out, m5_bytes_of("\n"))) && append(out, m5_bytes_of(line)) &&
           append(out, m5_bytes_of("\n"));
}

bool m5_edit_apply(struct mqtt5_bytes text, const struct m5_edit *edit, struct m5_text *out,
                   uint32_t *matched)
{
    struct m5_text_lines lines = {.rest = text};
    bool done = true;
    *out = (struct m5_text){0};
    *matched = 0;
    while (done && m5_text_next_line(&lines)) {
        const struct mqtt5_bytes whole =
            m5_bytes(lines.line.data, (size_t)(lines.rest.data - lines.line.data));
        const bool matches = !m5_text_is_comment(lines.line) && edit->match(lines.line, edit->ctx);
        if (!matches)
            done = append(out, whole);
        else if (++*matched == 1 && edit->line != NULL)
            done = append_line(out, edit->line);
    }
    if (done && *matched == 0 && edit->line != NULL)
        done = append_line(out, edit->line);
    if (!done)
        m5_text_free(out);
    return done;
}

bool m5_edit_is_user(struct mqtt5_bytes line, const void *ctx)
{
    const struct m5_edit_user *user = ctx;
    const uint8_t *colon = line.len > 0 ? memchr(line.data, ':', line.len) : NULL;
    if (colon == NULL)
        return false;
    const struct mqtt5_bytes name = m5_bytes(line.data, (size_t)(colon - line.data));
    const struct mqtt5_bytes stored = m5_bytes(colon + 1, line.len - name.len - 1);
    return m5_bytes_equal(name, user->name) &&
           (user->same_kind == NULL || user->same_kind(stored, user->kind));
}

static bool fits(struct mqtt5_bytes word, const char *wanted)
{
    return wanted == NULL || m5_text_equals(word, wanted);
}

bool m5_edit_is_rule(struct mqtt5_bytes line, const void *ctx)
{
    const struct m5_edit_rule *rule = ctx;
    struct m5_text_word words[6] = {0};
    m5_text_split(line, words, 6);
    const size_t third = m5_text_equals(words[0].text, "assign") ? 2 : 3;
    return m5_text_equals(words[0].text, rule->keyword) && fits(words[1].text, rule->name) &&
           fits(words[third].text, rule->third);
}
