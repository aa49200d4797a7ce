/* Where a client connects to: URLs of servers.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/url.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PORT_PLAIN      1883
#define AUTHORITY_BYTES 512 /* of "host:port"; more cannot be a name of DNS */

struct scheme {
    const char *name;
    const char *lacks; /* what this build would need; NULL: it has it */
};

static const struct scheme schemes[] = {
    {"mqtt", NULL},   {"tcp", NULL},       {"mqtts", "TLS"},
    {"ssl", "TLS"},   {"ws", "WebSocket"}, {"wss", "TLS and WebSocket"},
    {"quic", "QUIC"}, {"quics", "QUIC"},
};

static const struct scheme *find_scheme(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (strlen(schemes[i].name) == size && strncasecmp(schemes[i].name, name, size) == 0)
            return &schemes[i];
    }
    return NULL;
}

/* Takes "scheme://" off @p *url. */
static enum mqtt5_error take_scheme(const char **url, char *why, size_t why_size)
{
    const char *end = strstr(*url, "://");
    if (end == NULL)
        return MQTT5_OK;
    const int size = (int)(end - *url);
    const struct scheme *scheme = find_scheme(*url, (size_t)size);
    if (scheme == NULL) {
        snprintf(why, why_size, "%.*s:// is no scheme of MQTT (mqtt://host:port is)", size, *url);
        return MQTT5_ERR_INVALID_ARGUMENT;
    }
    if (scheme->lacks != NULL) {
        snprintf(why, why_size, "%s:// comes with %s, which this build does not have", scheme->name,
                 scheme->lacks);
        return MQTT5_ERR_UNSUPPORTED;
    }
    *url = end + 3;
    return MQTT5_OK;
}

enum mqtt5_error m5_url_parse(const char *url, struct m5_endpoint *out, char *why, size_t why_size)
{
    char authority[AUTHORITY_BYTES];
    const char *rest = url;
    const enum mqtt5_error error = take_scheme(&rest, why, why_size);
    if (error != MQTT5_OK)
        return error;
    const size_t size = strcspn(rest, "/?#");
    const char *wrong = NULL;
    if (strcmp(rest + size, "") != 0 && strcmp(rest + size, "/") != 0)
        wrong = "plain MQTT has no path behind host:port";
    else if (memchr(rest, '@', size) != NULL)
        wrong = "user name and password do not go into the URL";
    else if (size == 0 || size >= sizeof authority)
        wrong = "a host name is missing or too long";
    if (wrong == NULL) {
        memcpy(authority, rest, size);
        authority[size] = 0;
        wrong = m5_endpoint_parse(authority, PORT_PLAIN, out);
    }
    if (wrong == NULL && out->host[0] == 0)
        wrong = "a host name is missing";
    if (wrong == NULL && out->port == 0)
        wrong = "port 0 cannot be connected to";
    if (wrong == NULL)
        return MQTT5_OK;
    snprintf(why, why_size, "%s: %s", url, wrong);
    return MQTT5_ERR_INVALID_ARGUMENT;
}
