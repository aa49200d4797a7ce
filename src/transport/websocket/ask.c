/* The client's request to speak WebSocket (RFC 6455, 4.1), and the judgement of its answer.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/websocket/ask.h"

#include "base/bytes.h"
#include "transport/clean.h"
#include "transport/websocket/http.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- the request ---- */

/* Something that stands in a line: printable ASCII without blanks. */
static bool is_word(const char *text)
{
    if (*text == 0)
        return false;
    for (; *text != 0; text++) {
        if (*text <= 0x20 || *text == 0x7F)
            return false;
    }
    return true;
}

static bool is_token(const char *text)
{
    size_t size = 0;
    while (m5_http_is_token_char((uint8_t)text[size]))
        size++;
    return size > 0 && text[size] == 0;
}

const char *m5_websocket_header_wrong(const char *header)
{
    static const char *const ours[] = {
        "Host", "Upgrade", "Connection", "Content-Length", "Transfer-Encoding",
    };
    struct m5_http_field field;
    if (!m5_http_field(m5_bytes_of(header), &field))
        return "a header is written \"Name: value\", in one line";
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (m5_http_equals(field.name, ours[i]))
            return "that header is the handshake's own";
    }
    if (field.name.len >= 14 && m5_http_equals(m5_bytes(field.name.data, 14), "Sec-WebSocket-"))
        return "that header is the handshake's own";
    return NULL;
}

static bool check(const struct m5_websocket_client_config *config, const char *path,
                  const char *subprotocol)
{
    struct m5_http_field field;
    char agent[M5_WEBSOCKET_TEXT_MAX + 16];
    for (size_t i = 0; i < config->header_count; i++) {
        if (m5_websocket_header_wrong(config->headers[i]) != NULL)
            return false;
    }
    if (config->user_agent != NULL) {
        const int size = snprintf(agent, sizeof agent, "User-Agent: %s", config->user_agent);
        if ((size_t)size >= sizeof agent || !m5_http_field(m5_bytes_of(agent), &field))
            return false;
    }
    return is_word(config->host) && path[0] == '/' && is_word(path) &&
           strlen(subprotocol) <= M5_ASK_SUBPROTOCOL_MAX &&
           (subprotocol[0] == 0 || is_token(subprotocol));
}

/* Appends the texts up to a NULL. */
static bool append(struct m5_outbox *out, ...)
{
    va_list texts;
    bool done = true;
    va_start(texts, out);
    for (const char *text = va_arg(texts, const char *); text != NULL && done;
         text = va_arg(texts, const char *))
        done = m5_outbox_append(out, m5_bytes_of(text));
    va_end(texts);
    return done;
}

bool m5_ask_write(const struct m5_websocket_client_config *config, const uint8_t key[16],
                  struct m5_ask *ask, struct m5_outbox *out)
{
    const char *const none = NULL;
    const char *path = config->path != NULL ? config->path : "/mqtt";
    const char *subprotocol =
        config->subprotocol != NULL ? config->subprotocol : M5_WEBSOCKET_SUBPROTOCOL;
    char text[M5_BASE64_SIZE(16)];
    if (!check(config, path, subprotocol))
        return false;
    m5_base64_encode(m5_bytes(key, 16), M5_BASE64_PADDED, text);
    snprintf(ask->subprotocol, sizeof ask->subprotocol, "%s", subprotocol);
    if (!m5_websocket_accept(m5_bytes_of(text), ask->accept) ||
        !append(out, "GET ", path, " HTTP/1.1\r\nHost: ", config->host,
                "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ", text,
                "\r\nSec-WebSocket-Version: 13\r\n", none))
        return false;
    /* [MQTT-6.0.0-3] */
    if (subprotocol[0] != 0 && !append(out, "Sec-WebSocket-Protocol: ", subprotocol, "\r\n", none))
        return false;
    if (config->user_agent != NULL &&
        !append(out, "User-Agent: ", config->user_agent, "\r\n", none))
        return false;
    for (size_t i = 0; i < config->header_count; i++) {
        if (!append(out, config->headers[i], "\r\n", none))
            return false;
    }
    return append(out, "\r\n", none);
}

/* ---- the answer ---- */

struct answer {
    bool upgrade, connection, extension;
    struct mqtt5_bytes accept, subprotocol;
};

/* False when a line is none of HTTP. */
static bool take_fields(struct mqtt5_bytes rest, struct answer *answer)
{
    struct mqtt5_bytes line;
    struct m5_http_field field;
    for (unsigned count = 0; m5_http_line(&rest, &line) && line.len > 0; count++) {
        if (count == M5_WEBSOCKET_FIELDS_MAX || !m5_http_field(line, &field))
            return false;
        if (m5_http_equals(field.name, "Upgrade"))
            answer->upgrade |= m5_http_lists(field.value, "websocket");
        else if (m5_http_equals(field.name, "Connection"))
            answer->connection |= m5_http_lists(field.value, "upgrade");
        else if (m5_http_equals(field.name, "Sec-WebSocket-Accept"))
            answer->accept = field.value;
        else if (m5_http_equals(field.name, "Sec-WebSocket-Protocol"))
            answer->subprotocol = field.value;
        else if (m5_http_equals(field.name, "Sec-WebSocket-Extensions"))
            answer->extension |= field.value.len > 0;
    }
    return true;
}

/* 0 when the line is none of HTTP/1. */
static unsigned status_of(struct mqtt5_bytes line, struct mqtt5_bytes *reason)
{
    struct mqtt5_bytes parts[3] = {{0}};
    unsigned status = 0;
    /* Some servers leave out the reason and its blank. */
    if (!m5_http_start_line(line, parts) && parts[0].len < line.len)
        parts[1] = m5_bytes(line.data + parts[0].len + 1, line.len - parts[0].len - 1);
    if (parts[0].len != 8 || memcmp(parts[0].data, "HTTP/1.", 7) != 0 || parts[1].len != 3)
        return 0;
    for (size_t i = 0; i < 3; i++) {
        if (parts[1].data[i] < '0' || parts[1].data[i] > '9')
            return 0;
        status = status * 10 + (unsigned)(parts[1].data[i] - '0');
    }
    *reason = parts[2];
    return status >= 100 ? status : 0;
}

static const char *judge_answer(const struct m5_ask *ask, const struct answer *answer)
{
    if (!answer->upgrade || !answer->connection)
        return "the server's answer does not change to WebSocket";
    if (!m5_bytes_equal(answer->accept, m5_bytes_of(ask->accept)))
        return "the server's answer is not to our key: something between us answers for it";
    if (answer->extension)
        return "the server wants an extension of WebSocket that was not offered";
    if (!m5_bytes_equal(answer->subprotocol, m5_bytes_of(ask->subprotocol)))
        return "the server does not speak the WebSocket subprotocol that was asked for";
    return NULL;
}

bool m5_ask_judge(const struct m5_ask *ask, struct mqtt5_bytes head, unsigned *status,
                  char failure[M5_ASK_FAILURE_SIZE])
{
    struct mqtt5_bytes line, reason = {0};
    struct answer answer = {0};
    char words[64];
    *status = m5_http_line(&head, &line) ? status_of(line, &reason) : 0;
    if (*status == 0 || !take_fields(head, &answer)) {
        snprintf(failure, M5_ASK_FAILURE_SIZE, "what the server answers is no HTTP");
        return false;
    }
    if (*status != 101) {
        m5_clean(reason, words, sizeof words);
        snprintf(failure, M5_ASK_FAILURE_SIZE,
                 "the server answers the request for WebSocket with %u%s%s", *status,
                 words[0] != 0 ? " " : "", words);
        return false;
    }
    const char *wrong = judge_answer(ask, &answer);
    if (wrong != NULL)
        snprintf(failure, M5_ASK_FAILURE_SIZE, "%s", wrong);
    return wrong == NULL;
}
