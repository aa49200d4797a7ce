/* A client's request to speak WebSocket (RFC 6455, 4.2): read, judged and answered.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/websocket/upgrade.h"

#include "base/bytes.h"
#include "transport/websocket/accept.h"
#include "transport/websocket/http.h"

#include <stdio.h>

#define DEFAULT_PATH "/mqtt"

const struct m5_refusal m5_refusal_broken = {
    400, "Bad Request", "", NULL, "the request is no HTTP/1.1 as a client would write it"};
const struct m5_refusal m5_refusal_too_large = {431, "Request Header Fields Too Large", "", NULL,
                                                "the request has more headers than are read"};

static const struct m5_refusal wrong_version = {505, "HTTP Version Not Supported", "", NULL,
                                                "the request is not of HTTP/1.1"};
static const struct m5_refusal wrong_method = {405, "Method Not Allowed", "Allow: GET\r\n", NULL,
                                               "the request's method is not GET"};
static const struct m5_refusal wrong_path = {404, "Not Found", "",
                                             "There is nothing at this address.",
                                             "the request is for a path that is not served"};
static const struct m5_refusal wrong_origin = {
    403, "Forbidden", "", "Pages of this origin may not connect to this broker.",
    "a page of this origin may not connect"};
static const struct m5_refusal no_upgrade = {
    426, "Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "This is the address of an MQTT broker, not of a web page.",
    "a web request came, which does not ask for WebSocket"};
static const struct m5_refusal wrong_draft = {
    426, "Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    "This broker speaks version 13 of WebSocket (RFC 6455) only.",
    "the request is for another version of WebSocket than 13"};
static const struct m5_refusal has_body = {400, "Bad Request", "", NULL,
                                           "the request carries a body"};
static const struct m5_refusal no_host = {400, "Bad Request", "", NULL,
                                          "the request has no Host, or several"};
static const struct m5_refusal wrong_key = {400, "Bad Request", "", NULL,
                                            "Sec-WebSocket-Key is missing or not of 16 bytes"};
static const struct m5_refusal repeated = {400, "Bad Request", "", NULL,
                                           "the request says the same thing twice"};
static const struct m5_refusal wrong_subprotocol = {
    400, "Bad Request", "", "The client must offer the WebSocket subprotocol \"mqtt\".",
    "the client does not offer the subprotocol mqtt"};

/* ---- fields ---- */

enum field {
    HOST,
    UPGRADE,
    CONNECTION,
    VERSION,
    KEY,
    ORIGIN,
    PROTOCOL,
    USER_AGENT,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    X_FORWARDED_FOR,
    FORWARDED,
    FIELD_COUNT
};

static const char *const names[FIELD_COUNT] = {
    [HOST] = "Host",
    [UPGRADE] = "Upgrade",
    [CONNECTION] = "Connection",
    [VERSION] = "Sec-WebSocket-Version",
    [KEY] = "Sec-WebSocket-Key",
    [ORIGIN] = "Origin",
    [PROTOCOL] = "Sec-WebSocket-Protocol",
    [USER_AGENT] = "User-Agent",
    [CONTENT_LENGTH] = "Content-Length",
    [TRANSFER_ENCODING] = "Transfer-Encoding",
    [X_FORWARDED_FOR] = "X-Forwarded-For",
    [FORWARDED] = "Forwarded",
};

struct request {
    const struct m5_websocket_server_config *config;
    struct mqtt5_bytes values[FIELD_COUNT]; /* the first of each name */
    uint32_t counts[FIELD_COUNT];
    bool upgrade, connection, mqtt, mqtt_3_1;
    struct m5_forwarded_chain list, elements;
};

/* Subprotocols are compared as they are written: MQTT's are in small letters. */
static bool offers(struct mqtt5_bytes list, const char *subprotocol)
{
    struct mqtt5_bytes element;
    while (m5_http_element(&list, ',', &element)) {
        if (m5_bytes_equal(element, m5_bytes_of(subprotocol)))
            return true;
    }
    return false;
}

static void take_field(struct request *request, enum field name, struct mqtt5_bytes value)
{
    if (request->counts[name]++ == 0)
        request->values[name] = value;
    switch (name) {
    case UPGRADE: request->upgrade |= m5_http_lists(value, "websocket"); break;
    case CONNECTION: request->connection |= m5_http_lists(value, "upgrade"); break;
    case PROTOCOL:
        request->mqtt |= offers(value, "mqtt");
        request->mqtt_3_1 |= offers(value, "mqttv3.1");
        break;
    case X_FORWARDED_FOR:
        if (request->config->peer_trusted)
            m5_forwarded_add_list(&request->list, value, request->config);
        break;
    case FORWARDED:
        if (request->config->peer_trusted)
            m5_forwarded_add_elements(&request->elements, value, request->config);
        break;
    default: break;
    }
}

static const struct m5_refusal *take_fields(struct request *request, struct mqtt5_bytes rest)
{
    struct mqtt5_bytes line;
    struct m5_http_field field;
    for (unsigned count = 0; m5_http_line(&rest, &line) && line.len > 0; count++) {
        if (count == M5_WEBSOCKET_FIELDS_MAX)
            return &m5_refusal_too_large;
        if (!m5_http_field(line, &field))
            return &m5_refusal_broken;
        for (enum field name = 0; name < FIELD_COUNT; name++) {
            if (m5_http_equals(field.name, names[name]))
                take_field(request, name, field.value);
        }
    }
    return NULL;
}

/* ---- judgement ---- */

static bool begins(struct mqtt5_bytes text, const char *prefix)
{
    const size_t size = strlen(prefix);
    return text.len >= size && m5_http_equals(m5_bytes(text.data, size), prefix);
}

/* The path of "/path?query" or "http://host/path?query"; empty when it is neither. */
static struct mqtt5_bytes path_of(struct mqtt5_bytes target)
{
    const size_t scheme = begins(target, "http://") ? 7 : begins(target, "https://") ? 8 : 0;
    const uint8_t *start = (const uint8_t *)memchr(target.data + scheme, '/', target.len - scheme);
    if (start == NULL || (scheme == 0 && start != target.data))
        return (struct mqtt5_bytes){0};
    const size_t size = target.len - (size_t)(start - target.data);
    const uint8_t *query = (const uint8_t *)memchr(start, '?', size);
    return m5_bytes(start, query != NULL ? (size_t)(query - start) : size);
}

static const struct m5_refusal *judge_start(struct mqtt5_bytes line, struct m5_upgrade *out)
{
    struct mqtt5_bytes parts[3];
    if (!m5_http_start_line(line, parts) || !begins(parts[2], "HTTP/"))
        return &m5_refusal_broken;
    for (size_t i = 0; i < parts[0].len; i++) {
        if (!m5_http_is_token_char(parts[0].data[i]))
            return &m5_refusal_broken;
    }
    out->path = path_of(parts[1]);
    if (!m5_bytes_equal(parts[2], m5_bytes_of("HTTP/1.1")))
        return &wrong_version;
    return m5_bytes_equal(parts[0], m5_bytes_of("GET")) ? NULL : &wrong_method;
}

static const struct m5_refusal *judge_fields(const struct request *request)
{
    const struct mqtt5_bytes length = request->values[CONTENT_LENGTH];
    if (request->counts[TRANSFER_ENCODING] > 0 ||
        (request->counts[CONTENT_LENGTH] > 0 && !m5_bytes_equal(length, m5_bytes_of("0"))))
        return &has_body;
    if (request->counts[HOST] != 1)
        return &no_host;
    if (!request->upgrade || !request->connection)
        return &no_upgrade;
    if (request->counts[VERSION] > 1 || request->counts[KEY] > 1 || request->counts[ORIGIN] > 1)
        return &repeated;
    if (!m5_bytes_equal(request->values[VERSION], m5_bytes_of("13")))
        return &wrong_draft;
    return m5_websocket_key_check(request->values[KEY]) ? NULL : &wrong_key;
}

/* A client that says no origin is no browser. */
static bool origin_may(const struct request *request)
{
    const struct m5_websocket_server_config *config = request->config;
    if (config->origin_count == 0 || request->counts[ORIGIN] == 0)
        return true;
    for (size_t i = 0; i < config->origin_count; i++) {
        if (m5_http_equals(request->values[ORIGIN], config->origins[i]))
            return true;
    }
    return false;
}

/* [MQTT-6.0.0-3] [MQTT-6.0.0-4]; "mqttv3.1" is what clients from before 3.1.1 offer. */
static const struct m5_refusal *choose_subprotocol(const struct request *request,
                                                   struct m5_upgrade *out)
{
    out->subprotocol = request->mqtt ? "mqtt" : request->mqtt_3_1 ? "mqttv3.1" : "";
    if (request->mqtt || request->mqtt_3_1)
        return NULL;
    const bool none = request->counts[PROTOCOL] == 0;
    out->detail = request->values[PROTOCOL];
    return none && request->config->subprotocol_optional ? NULL : &wrong_subprotocol;
}

const char *m5_upgrade_path(const struct m5_websocket_server_config *config)
{
    return config->path != NULL ? config->path : DEFAULT_PATH;
}

static const struct m5_refusal *judge(struct mqtt5_bytes head, struct request *request,
                                      struct m5_upgrade *out)
{
    struct mqtt5_bytes line;
    if (!m5_http_line(&head, &line))
        return &m5_refusal_broken;
    const struct m5_refusal *refusal = judge_start(line, out);
    if (refusal == NULL)
        refusal = take_fields(request, head);
    if (refusal != NULL)
        return refusal;
    if (!m5_bytes_equal(out->path, m5_bytes_of(m5_upgrade_path(request->config)))) {
        out->detail = out->path;
        return &wrong_path;
    }
    refusal = judge_fields(request);
    if (refusal != NULL)
        return refusal;
    if (!origin_may(request)) {
        out->detail = request->values[ORIGIN];
        return &wrong_origin;
    }
    return choose_subprotocol(request, out);
}

void m5_upgrade_read(struct mqtt5_bytes head, const struct m5_websocket_server_config *config,
                     struct m5_upgrade *out)
{
    struct request request = {.config = config};
    *out = (struct m5_upgrade){.subprotocol = ""};
    out->refusal = judge(head, &request, out);
    out->origin = request.values[ORIGIN];
    out->key = request.values[KEY];
    out->user_agent = request.values[USER_AGENT];
    out->client = m5_forwarded_client(&request.list, &request.elements);
}

/* ---- answers ---- */

bool m5_upgrade_accept(const struct m5_upgrade *upgrade, struct m5_outbox *out)
{
    char accept[M5_WEBSOCKET_ACCEPT_SIZE], text[256];
    const bool agreed = upgrade->subprotocol[0] != 0;
    if (!m5_websocket_accept(upgrade->key, accept))
        return false;
    const int size = snprintf(text, sizeof text,
                              "HTTP/1.1 101 Switching Protocols\r\n"
                              "Upgrade: websocket\r\n"
                              "Connection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: %s\r\n%s%s%s\r\n",
                              accept, agreed ? "Sec-WebSocket-Protocol: " : "",
                              upgrade->subprotocol, agreed ? "\r\n" : "");
    return m5_outbox_append(out, m5_bytes(text, (size_t)size));
}

bool m5_upgrade_refuse(const struct m5_refusal *refusal,
                       const struct m5_websocket_server_config *config, struct m5_outbox *out)
{
    char page[512], head[512];
    const int page_size = snprintf(
        page, sizeof page,
        "%s\nMQTT clients reach the broker here by WebSocket: %s://<this host and port>%.200s\n",
        refusal->words != NULL ? refusal->words : refusal->failure, config->tls ? "wss" : "ws",
        m5_upgrade_path(config));
    const int head_size = snprintf(head, sizeof head,
                                   "HTTP/1.1 %u %s\r\n"
                                   "Content-Type: text/plain; charset=utf-8\r\n"
                                   "Content-Length: %d\r\n"
                                   "Connection: %sclose\r\n%s\r\n",
                                   refusal->status, refusal->reason, page_size,
                                   refusal->status == 426 ? "Upgrade, " : "", refusal->field);
    return m5_outbox_append(out, m5_bytes(head, (size_t)head_size)) &&
           m5_outbox_append(out, m5_bytes(page, (size_t)page_size));
}
