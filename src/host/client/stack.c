/* What stands between a client's socket and MQTT: TLS and WebSocket, as its options have them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/client/stack.h"

#include "base/alloc.h"
#include "transport/tls/tls.h"
#include "transport/websocket/websocket.h"

#include <mqtt5/version.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define AUTHORITY_SIZE (M5_HOST_NAME_SIZE + 16) /* "[host]:port" */

/* What makes the next handshake with a server a short one. */
struct session {
    struct m5_tls_resumption resumption;
    struct m5_endpoint server;
};

struct m5_client_stack {
    const struct mqtt5_allocator *allocator;
    bool tls_default;          /* nothing is set: the config is made when it is needed */
    struct m5_tls_config *tls; /* NULL: not made, or cannot be */
    char *wrong;               /* why it cannot be made, once that is known */
    bool forgetful;            /* sessions of TLS are not resumed */
    struct session *session;   /* of the last server of TLS; NULL */
    struct mqtt5_client_websocket websocket;
    size_t text_size; /* bytes of the block that websocket points at */
    char *text;
};

/* ---- copies ---- */

static enum mqtt5_error copy_websocket(struct m5_client_stack *stack,
                                       const struct mqtt5_client_websocket *from)
{
    const char *subprotocol =
        from->subprotocol != NULL ? from->subprotocol : M5_WEBSOCKET_SUBPROTOCOL;
    size_t size = from->header_count * sizeof(char *) + strlen(subprotocol) + 1;
    for (size_t i = 0; i < from->header_count; i++) {
        if (m5_websocket_header_wrong(from->headers[i]) != NULL)
            return MQTT5_ERR_CONFIG;
        size += strlen(from->headers[i]) + 1;
    }
    stack->text = (char *)m5_alloc(stack->allocator, size);
    if (stack->text == NULL)
        return MQTT5_ERR_NOMEM;
    stack->text_size = size;
    const char **headers = (const char **)(void *)stack->text;
    char *at = stack->text + from->header_count * sizeof(char *);
    for (size_t i = 0; i < from->header_count; i++) {
        headers[i] = at;
        at = stpcpy(at, from->headers[i]) + 1;
    }
    memcpy(at, subprotocol, strlen(subprotocol) + 1);
    stack->websocket = (struct mqtt5_client_websocket){
        .headers = headers, .header_count = from->header_count, .subprotocol = at};
    return MQTT5_OK;
}

static bool is_unset(const struct mqtt5_tls_credential *credential)
{
    return credential->certificate_file == NULL && credential->key_file == NULL &&
           credential->certificate.len == 0 && credential->key.len == 0 &&
           credential->key_password == NULL && credential->ocsp_file == NULL;
}

static bool is_default(const struct mqtt5_tls_client_options *tls)
{
    return tls->ca_file == NULL && tls->ca.len == 0 && tls->crl_file == NULL &&
           is_unset(&tls->credential) && tls->server_name == NULL && tls->alpn == NULL &&
           tls->psk_identity == NULL && tls->psk_key == NULL && tls->version_min == MQTT5_TLS_1_2 &&
           tls->priorities == NULL && tls->keylog_file == NULL && !tls->insecure;
}

static void make_config(struct m5_client_stack *stack,
                        const struct mqtt5_tls_client_options *options)
{
    struct m5_tls_error error = {""};
    stack->tls = m5_tls_client_config_new(options, &error);
    if (stack->tls != NULL)
        return;
    stack->wrong = (char *)m5_alloc(stack->allocator, strlen(error.text) + 1);
    if (stack->wrong != NULL)
        memcpy(stack->wrong, error.text, strlen(error.text) + 1);
}

enum mqtt5_error m5_client_stack_new(const struct mqtt5_client_options *options,
                                     const struct mqtt5_allocator *allocator,
                                     struct m5_client_stack **out)
{
    struct m5_client_stack *stack =
        (struct m5_client_stack *)m5_alloc_zero(allocator, sizeof *stack);
    *out = stack;
    if (stack == NULL)
        return MQTT5_ERR_NOMEM;
    stack->allocator = allocator;
    stack->tls_default = is_default(&options->tls);
    if (!stack->tls_default)
        make_config(stack, &options->tls);
    const enum mqtt5_error error = copy_websocket(stack, &options->websocket);
    if (error == MQTT5_OK)
        return MQTT5_OK;
    m5_client_stack_free(stack);
    *out = NULL;
    return error;
}

void m5_client_stack_forget_sessions(struct m5_client_stack *stack)
{
    stack->forgetful = true;
}

void m5_client_stack_free(struct m5_client_stack *stack)
{
    if (stack == NULL)
        return;
    m5_tls_config_unref(stack->tls);
    if (stack->session != NULL)
        m5_tls_resumption_fini(&stack->session->resumption);
    m5_free(stack->allocator, stack->session, sizeof *stack->session);
    if (stack->wrong != NULL)
        m5_free(stack->allocator, stack->wrong, strlen(stack->wrong) + 1);
    m5_free(stack->allocator, stack->text, stack->text_size);
    m5_free(stack->allocator, stack, sizeof *stack);
}

/* ---- for one URL ---- */

static bool uses_tls(const struct m5_url *url)
{
    return url->kind == M5_URL_TLS || url->kind == M5_URL_WSS;
}

static bool uses_websocket(const struct m5_url *url)
{
    return url->kind == M5_URL_WS || url->kind == M5_URL_WSS;
}

enum mqtt5_error m5_client_stack_check(struct m5_client_stack *stack, const struct m5_url *url,
                                       char *why, size_t why_size)
{
    struct mqtt5_tls_client_options defaults;
    if (!uses_tls(url) || stack->tls != NULL)
        return MQTT5_OK;
    if (stack->tls_default && stack->wrong == NULL) {
        mqtt5_tls_client_options_init(&defaults);
        make_config(stack, &defaults);
    }
    if (stack->tls != NULL)
        return MQTT5_OK;
    snprintf(why, why_size, "%s",
             stack->wrong != NULL ? stack->wrong : "no memory for what TLS needs");
    return MQTT5_ERR_CONFIG;
}

/* A session is resumed at the server that it was with. NULL: there will be none. */
static struct m5_tls_resumption *resumption_for(struct m5_client_stack *stack,
                                                const struct m5_endpoint *server)
{
    if (stack->forgetful)
        return NULL;
    if (stack->session == NULL)
        stack->session = (struct session *)m5_alloc_zero(stack->allocator, sizeof *stack->session);
    struct session *session = stack->session;
    if (session == NULL)
        return NULL;
    if (session->server.port != server->port ||
        strcasecmp(session->server.host, server->host) != 0) {
        m5_tls_resumption_fini(&session->resumption);
        session->resumption = (struct m5_tls_resumption){0};
        session->server = *server;
    }
    return &session->resumption;
}

static struct m5_transport *new_tls(struct m5_client_stack *stack, const struct m5_url *url)
{
    const struct m5_tls_target target = {
        .host = url->endpoint.host,
        .port = url->endpoint.port,
        .protocol = uses_websocket(url) ? M5_TLS_HTTP : M5_TLS_MQTT,
    };
    return m5_tls_client_new(stack->tls, &target, resumption_for(stack, &url->endpoint),
                             stack->allocator);
}

/* What stands in Host: the port only where it is not the scheme's own (RFC 9110, 7.2). */
static void write_authority(const struct m5_url *url, char out[AUTHORITY_SIZE])
{
    const bool v6 = strchr(url->endpoint.host, ':') != NULL;
    const uint16_t usual = url->kind == M5_URL_WSS ? 443 : 80;
    char port[8] = "";
    if (url->endpoint.port != usual)
        snprintf(port, sizeof port, ":%u", url->endpoint.port);
    snprintf(out, AUTHORITY_SIZE, "%s%s%s%s", v6 ? "[" : "", url->endpoint.host, v6 ? "]" : "",
             port);
}

static struct m5_transport *new_websocket(struct m5_client_stack *stack, const struct m5_url *url)
{
    char authority[AUTHORITY_SIZE];
    uint64_t seed;
    write_authority(url, authority);
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        return NULL;
    const struct m5_websocket_client_config config = {
        .host = authority,
        .path = url->path,
        .subprotocol = stack->websocket.subprotocol,
        .headers = stack->websocket.headers,
        .header_count = stack->websocket.header_count,
        .user_agent = "mqtt5/" MQTT5_VERSION_STRING,
        .seed = seed,
    };
    return m5_websocket_client_new(&config, stack->allocator);
}

bool m5_client_stack_build(struct m5_client_stack *stack, const struct m5_url *url,
                           struct m5_link *link, struct m5_link_failure *failure)
{
    *failure = (struct m5_link_failure){.named = true};
    failure->error = m5_client_stack_check(stack, url, failure->text, sizeof failure->text);
    if (failure->error != MQTT5_OK)
        return false;
    struct m5_transport *layers[M5_PIPE_LAYERS];
    size_t count = 0;
    if (uses_tls(url))
        layers[count++] = new_tls(stack, url);
    if (uses_websocket(url))
        layers[count++] = new_websocket(stack, url);
    bool built = true;
    for (size_t i = 0; i < count; i++) {
        if (layers[i] != NULL)
            m5_link_push(link, layers[i]);
        built = built && layers[i] != NULL;
    }
    if (built)
        return true;
    m5_link_close(link);
    failure->error = MQTT5_ERR_NOMEM;
    snprintf(failure->text, sizeof failure->text,
             "no memory for TLS or WebSocket, or a text that "
             "cannot stand in a request");
    return false;
}
