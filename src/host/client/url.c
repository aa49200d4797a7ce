/* Where a client connects to: URLs of servers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/url.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#define AUTHORITY_BYTES 512 /* of "host:port"; more cannot be a name of DNS */

struct scheme {
    const char *name;
    enum m5_url_kind kind;
    uint16_t port;
    const char *lacks; /* what this build would need; NULL: it has it */
};

/* The first of each transport is how m5_url_format() writes it. */
static const struct scheme schemes[] = {
    {"mqtt", M5_URL_TCP, 1883, NULL},     {"tcp", M5_URL_TCP, 1883, NULL},
    {"unix", M5_URL_UNIX, 0, NULL},       {"mqtts", M5_URL_TLS, 8883, NULL},
    {"ssl", M5_URL_TLS, 8883, NULL},      {"tls", M5_URL_TLS, 8883, NULL},
    {"ws", M5_URL_WS, 80, NULL},          {"wss", M5_URL_WSS, 443, NULL},
    {"quic", M5_URL_QUIC, 14567, "QUIC"}, {"quics", M5_URL_QUIC, 14567, "QUIC"},
};

static const struct scheme *find_scheme(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (strlen(schemes[i].name) == size && strncasecmp(schemes[i].name, name, size) == 0)
            return &schemes[i];
    }
    return NULL;
}

static const struct scheme *scheme_of(enum m5_url_kind kind)
{
    const struct scheme *scheme = schemes;
    while (scheme->kind != kind)
        scheme++;
    return scheme;
}

/* ---- percent encoding ---- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Decodes @p size bytes of @p text; false when they are too many, or no encoding. */
static bool decode(const char *text, size_t size, char *out, size_t out_size)
{
    size_t length = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '%') {
            const int high = i + 2 < size ? hex_digit(text[i + 1]) : -1;
            const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
            if (low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (length + 1 >= out_size)
            return false;
        out[length++] = c;
    }
    out[length] = 0;
    return true;
}

/* ---- parts ---- */

/* Takes "user:password@" off @p authority. */
static const char *take_user(const char **authority, size_t *size, struct m5_url *out)
{
    const char *end = memrchr(*authority, '@', *size);
    if (end == NULL)
        return NULL;
    const size_t whole = (size_t)(end - *authority);
    const char *colon = memchr(*authority, ':', whole);
    const size_t name = colon != NULL ? (size_t)(colon - *authority) : whole;
    out->has_username = true;
    out->has_password = colon != NULL;
    if (!decode(*authority, name, out->username, sizeof out->username))
        return "the user name is too long or not percent-encoded";
    if (colon != NULL && !decode(colon + 1, whole - name - 1, out->password, sizeof out->password))
        return "the password is too long or not percent-encoded";
    *authority = end + 1;
    *size -= whole + 1;
    return NULL;
}

static const char *take_endpoint(const char *authority, size_t size, uint16_t port,
                                 struct m5_url *out)
{
    char text[AUTHORITY_BYTES];
    if (size == 0 || size >= sizeof text)
        return "a host name is missing or too long";
    memcpy(text, authority, size);
    text[size] = 0;
    const char *wrong = m5_endpoint_parse(text, port, &out->endpoint);
    if (wrong != NULL)
        return wrong;
    if (out->endpoint.host[0] == 0)
        return "a host name is missing";
    return out->endpoint.port == 0 ? "port 0 cannot be connected to" : NULL;
}

/* The path and query of a WebSocket; what follows a '#' is nobody's but the user's. */
static const char *take_web_path(const char *path, struct m5_url *out)
{
    const char *given = path[0] == '/' && path[1] != 0 && path[1] != '#' ? path : "/mqtt";
    const size_t size = strcspn(given, "#");
    if (size >= sizeof out->path)
        return "the path is too long";
    for (size_t i = 0; i < size; i++) {
        if (given[i] <= 0x20 || given[i] == 0x7F)
            return "the path has characters in it that have to be percent-encoded";
    }
    memcpy(out->path, given, size);
    out->path[size] = 0;
    return NULL;
}

static const char *take_path(const char *path, struct m5_url *out)
{
    if (out->kind == M5_URL_WS || out->kind == M5_URL_WSS)
        return take_web_path(path, out);
    return path[0] != 0 && strcmp(path, "/") != 0 ? "plain MQTT has no path behind host:port"
                                                  : NULL;
}

static const char *take_socket(const char *path, struct m5_url *out)
{
    const size_t size_max = sizeof((struct sockaddr_un *)0)->sun_path;
    if (path[0] != '/')
        return "a unix socket is written unix:///path/of/the/socket";
    if (strlen(path) >= size_max)
        return "the path of a unix socket has at most 107 bytes";
    return decode(path, strlen(path), out->path, size_max) ? NULL : "the path is no URL's";
}

static const char *parse(const char *rest, const struct scheme *scheme, struct m5_url *out)
{
    *out = (struct m5_url){.kind = scheme->kind};
    if (scheme->kind == M5_URL_UNIX)
        return take_socket(rest, out);
    size_t size = strcspn(rest, "/?#");
    const char *path = rest + size;
    const char *wrong = take_user(&rest, &size, out);
    if (wrong == NULL)
        wrong = take_endpoint(rest, size, scheme->port, out);
    return wrong != NULL ? wrong : take_path(path, out);
}

enum mqtt5_error m5_url_parse(const char *url, struct m5_url *out, char *why, size_t why_size)
{
    const char *colon = strstr(url, "://");
    const struct scheme *scheme = schemes;
    const char *rest = url;
    if (colon != NULL) {
        const int size = (int)(colon - url);
        scheme = find_scheme(url, (size_t)size);
        if (scheme == NULL) {
            snprintf(why, why_size, "%.*s:// is no scheme of MQTT (mqtt://host:port is)",
                     size < 64 ? size : 64, url);
            return MQTT5_ERR_INVALID_ARGUMENT;
        }
        rest = colon + 3;
    }
    const char *wrong = parse(rest, scheme, out);
    if (wrong == NULL)
        return MQTT5_OK;
    const char *at = strrchr(rest, '@'); /* a password is not shown */
    snprintf(why, why_size, "%s%s: %s", at != NULL ? "..." : "", at != NULL ? at : url, wrong);
    return MQTT5_ERR_INVALID_ARGUMENT;
}

enum mqtt5_error m5_url_built(const struct m5_url *url, char *why, size_t why_size)
{
    const struct scheme *scheme = scheme_of(url->kind);
    if (scheme->lacks == NULL)
        return MQTT5_OK;
    snprintf(why, why_size, "%s:// comes with %s, which this build does not have", scheme->name,
             scheme->lacks);
    return MQTT5_ERR_NOT_BUILT;
}

void m5_url_format(const struct m5_url *url, char *out, size_t size)
{
    const char *name = scheme_of(url->kind)->name;
    const bool v6 = strchr(url->endpoint.host, ':') != NULL;
    if (url->kind == M5_URL_UNIX)
        snprintf(out, size, "%s://%s", name, url->path);
    else
        snprintf(out, size, "%s://%s%s%s:%u%s", name, v6 ? "[" : "", url->endpoint.host,
                 v6 ? "]" : "", url->endpoint.port, url->path);
}
