/* Heads of HTTP/1.1 messages (RFC 9112), as much as an upgrade needs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/websocket/http.h"

#include "base/bytes.h"
#include "transport/websocket/websocket.h"

static bool ends_with(const struct m5_outbox *head, const char *text, size_t size)
{
    return head->size >= size && memcmp(head->data + head->size - size, text, size) == 0;
}

/* Takes a line, or what there is of it. */
static enum m5_http_progress collect_line(struct m5_outbox *head, struct mqtt5_bytes *wire)
{
    const uint8_t *end = (const uint8_t *)memchr(wire->data, '\n', wire->len);
    const size_t size = end != NULL ? (size_t)(end - wire->data) + 1 : wire->len;
    if (size > M5_WEBSOCKET_HEAD_MAX - head->size)
        return M5_HTTP_TOO_LARGE;
    if (!m5_outbox_append(head, m5_bytes(wire->data, size)))
        return M5_HTTP_NOMEM;
    *wire = m5_bytes(wire->data + size, wire->len - size);
    if (end == NULL)
        return M5_HTTP_MORE;
    if (!ends_with(head, "\r\n", 2))
        return M5_HTTP_BROKEN;
    return ends_with(head, "\r\n\r\n", 4) || head->size == 2 ? M5_HTTP_WHOLE : M5_HTTP_MORE;
}

enum m5_http_progress m5_http_collect(struct m5_outbox *head, struct mqtt5_bytes *wire)
{
    enum m5_http_progress progress = M5_HTTP_MORE;
    while (progress == M5_HTTP_MORE && wire->len > 0)
        progress = collect_line(head, wire);
    return progress;
}

bool m5_http_line(struct mqtt5_bytes *rest, struct mqtt5_bytes *line)
{
    const uint8_t *end =
        rest->len > 0 ? (const uint8_t *)memchr(rest->data, '\n', rest->len) : NULL;
    if (end == NULL || end - rest->data < 2)
        return false;
    const size_t size = (size_t)(end - rest->data) + 1;
    *line = m5_bytes(rest->data, size - 2);
    *rest = m5_bytes(rest->data + size, rest->len - size);
    return true;
}

bool m5_http_start_line(struct mqtt5_bytes line, struct mqtt5_bytes parts[3])
{
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *blank =
            line.len > 0 ? (const uint8_t *)memchr(line.data, ' ', line.len) : NULL;
        if (blank == NULL || blank == line.data)
            return false;
        const size_t size = (size_t)(blank - line.data);
        parts[i] = m5_bytes(line.data, size);
        line = m5_bytes(blank + 1, line.len - size - 1);
    }
    parts[2] = line;
    return true;
}

/* ---- fields ---- */

bool m5_http_is_token_char(uint8_t c)
{
    if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'))
        return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct mqtt5_bytes trim(struct mqtt5_bytes text)
{
    while (text.len > 0 && is_blank(text.data[0]))
        text = m5_bytes(text.data + 1, text.len - 1);
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    return text;
}

static bool is_value(struct mqtt5_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if ((text.data[i] < 0x20 && text.data[i] != '\t') || text.data[i] == 0x7F)
            return false;
    }
    return true;
}

bool m5_http_field(struct mqtt5_bytes line, struct m5_http_field *out)
{
    size_t size = 0;
    while (size < line.len && m5_http_is_token_char(line.data[size]))
        size++;
    if (size == 0 || size == line.len || line.data[size] != ':')
        return false;
    out->name = m5_bytes(line.data, size);
    out->value = trim(m5_bytes(line.data + size + 1, line.len - size - 1));
    return is_value(out->value);
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool m5_http_equals(struct mqtt5_bytes bytes, const char *text)
{
    if (strlen(text) != bytes.len)
        return false;
    for (size_t i = 0; i < bytes.len; i++) {
        if (lower(bytes.data[i]) != lower((uint8_t)text[i]))
            return false;
    }
    return true;
}

bool m5_http_element(struct mqtt5_bytes *list, char separator, struct mqtt5_bytes *out)
{
    bool quoted = false;
    size_t size = 0;
    if (list->data == NULL)
        return false;
    while (size < list->len && (quoted || list->data[size] != (uint8_t)separator)) {
        if (quoted && list->data[size] == '\\' && size + 1 < list->len)
            size++;
        else if (list->data[size] == '"')
            quoted = !quoted;
        size++;
    }
    *out = quoted ? m5_bytes(list->data, 0) : trim(m5_bytes(list->data, size));
    *list = size < list->len ? m5_bytes(list->data + size + 1, list->len - size - 1)
                             : (struct mqtt5_bytes){0};
    return true;
}

bool m5_http_lists(struct mqtt5_bytes list, const char *text)
{
    struct mqtt5_bytes element;
    while (m5_http_element(&list, ',', &element)) {
        if (m5_http_equals(element, text))
            return true;
    }
    return false;
}
