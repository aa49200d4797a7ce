/* A listener as it runs.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/door.h"

#include "base/bytes.h"
#include "transport/tls/tls.h"
#include "transport/websocket/websocket.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *m5_door_transport(const struct m5_door *door)
{
    switch (door->transport) {
    case MQTT5_TRANSPORT_TCP: return "tcp";
    case MQTT5_TRANSPORT_TLS: return "tls";
    case MQTT5_TRANSPORT_WS: return "ws";
    case MQTT5_TRANSPORT_WSS: return "wss";
    case MQTT5_TRANSPORT_UNIX: return "unix";
    }
    return "?";
}

static bool fail(char why[M5_DOOR_WHY_SIZE], const char *text)
{
    snprintf(why, M5_DOOR_WHY_SIZE, "%s", text);
    return false;
}

/* Writes a line of two texts; its length. */
static size_t put_line(char *out, size_t size, const char *first, const char *second)
{
    const int written = snprintf(out, size, "%s%s\n", first, second);
    return written < 0 ? 0 : (size_t)written;
}

/* Adds a list of networks to the door's text of them, and reads it into *out, which stays NULL when
 * it is empty; @p key names it. */
static bool read_networks(struct m5_door *door, const char *const *networks, size_t count,
                          const char *key, struct m5_bans **out, char why[M5_DOOR_WHY_SIZE])
{
    struct m5_text_error error;
    const size_t before = door->networks == NULL ? 0 : strlen(door->networks);
    size_t size = before + strlen(key) + 4;
    for (size_t i = 0; i < count; i++)
        size += strlen(networks[i]) + 1;
    char *text = (char *)realloc(door->networks, size);
    if (text == NULL)
        return fail(why, "no memory");
    door->networks = text;
    char *at = text + before + put_line(text + before, size - before, "# ", key);
    for (size_t i = 0; i < count; i++)
        at += put_line(at, size - (size_t)(at - text), networks[i], "");
    if (count == 0)
        return true;
    *out = m5_bans_new(&m5_libc_allocator, m5_bytes(text + before, strlen(text + before)), &error);
    if (*out == NULL)
        snprintf(why, M5_DOOR_WHY_SIZE, "%s: %s", key, error.text);
    return *out != NULL;
}

static bool copy_text(const char *text, char **out)
{
    *out = text == NULL ? NULL : strdup(text);
    return text == NULL || *out != NULL;
}

static bool copy_websocket(struct m5_door *door, const struct mqtt5_websocket_options *from)
{
    door->subprotocol_optional = from->subprotocol_optional;
    if (!copy_text(from->path, &door->path))
        return false;
    if (from->origin_count == 0)
        return true;
    door->origins = (char **)calloc(from->origin_count, sizeof *door->origins);
    if (door->origins == NULL)
        return false;
    for (; door->origin_count < from->origin_count; door->origin_count++)
        if (!copy_text(from->origins[door->origin_count], &door->origins[door->origin_count]))
            return false;
    return true;
}

static struct m5_tls_config *read_tls(const struct mqtt5_listener *listener,
                                      char why[M5_DOOR_WHY_SIZE])
{
    struct m5_tls_error error;
    if (listener->tls == NULL) {
        fail(why, "a certificate is needed (tls)");
        return NULL;
    }
    struct m5_tls_config *config = m5_tls_server_config_new(
        listener->tls, listener->transport == MQTT5_TRANSPORT_WSS ? M5_TLS_HTTP : M5_TLS_MQTT,
        &error);
    if (config == NULL)
        fail(why, error.text);
    return config;
}

static bool uses_tls(const struct mqtt5_listener *listener)
{
    return listener->transport == MQTT5_TRANSPORT_TLS || listener->transport == MQTT5_TRANSPORT_WSS;
}

static bool fill(struct m5_door *door, const struct mqtt5_listener *listener,
                 char why[M5_DOOR_WHY_SIZE])
{
    if (!uses_tls(listener) && listener->tls != NULL)
        return fail(why, "tls is given, but the transport is not tls or wss");
    if (listener->proxy_protocol != MQTT5_PROXY_OFF && listener->proxy_trusted_count == 0 &&
        listener->transport != MQTT5_TRANSPORT_UNIX)
        return fail(why, "proxy_protocol needs proxy_trusted: the networks that may speak it");
    if (!copy_text(listener->name, &door->name) || !copy_websocket(door, &listener->websocket))
        return fail(why, "no memory");
    if (!read_networks(door, listener->proxy_trusted, listener->proxy_trusted_count,
                       "proxy_trusted", &door->proxies, why) ||
        !read_networks(door, listener->websocket.forwarders, listener->websocket.forwarder_count,
                       "websocket.forwarders", &door->forwarders, why))
        return false;
    if (uses_tls(listener))
        door->tls = read_tls(listener, why);
    return !uses_tls(listener) || door->tls != NULL;
}

struct m5_door *m5_door_new(const struct mqtt5_listener *listener, uint32_t index,
                            uint64_t packet_size_max, char why[M5_DOOR_WHY_SIZE])
{
    struct m5_door *door = (struct m5_door *)calloc(1, sizeof *door);
    if (door == NULL) {
        fail(why, "no memory");
        return NULL;
    }
    *door = (struct m5_door){
        .index = index,
        .transport = listener->transport,
        .limits = {.maximum_packet_size = listener->maximum_packet_size,
                   .keep_alive_max_s = listener->keep_alive_max_s},
        .proxy = listener->proxy_protocol,
        .proxy_identity = listener->proxy_identity,
        .counted = listener->connections_max > 0 || listener->connections_per_address_max > 0 ||
                   listener->connection_rate_max > 0,
        .admission = {.connections_max = listener->connections_max,
                      .connections_per_address_max = listener->connections_per_address_max,
                      .connection_rate_max = listener->connection_rate_max},
        .message_size_max = packet_size_max * 4,
    };
    pthread_mutex_init(&door->mutex, NULL);
    if (fill(door, listener, why))
        return door;
    m5_door_free(door);
    return NULL;
}

void m5_door_shut(struct m5_door *door)
{
    pthread_mutex_lock(&door->mutex);
    m5_tls_config_unref(door->tls);
    door->tls = NULL;
    pthread_mutex_unlock(&door->mutex);
}

void m5_door_free(struct m5_door *door)
{
    if (door == NULL)
        return;
    m5_tls_config_unref(door->tls);
    m5_bans_free(door->proxies);
    m5_bans_free(door->forwarders);
    for (size_t i = 0; i < door->origin_count; i++)
        free(door->origins[i]);
    free(door->origins);
    free(door->path);
    free(door->name);
    free(door->networks);
    pthread_mutex_destroy(&door->mutex);
    free(door);
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_websocket(const struct m5_door *a, const struct m5_door *b)
{
    if (!same_text(a->path, b->path) || a->origin_count != b->origin_count ||
        a->subprotocol_optional != b->subprotocol_optional)
        return false;
    for (size_t i = 0; i < a->origin_count; i++)
        if (!same_text(a->origins[i], b->origins[i]))
            return false;
    return true;
}

bool m5_door_same(const struct m5_door *a, const struct m5_door *b)
{
    return same_text(a->name, b->name) && same_text(a->networks, b->networks) &&
           a->proxy == b->proxy && a->proxy_identity == b->proxy_identity &&
           a->limits.maximum_packet_size == b->limits.maximum_packet_size &&
           a->limits.keep_alive_max_s == b->limits.keep_alive_max_s &&
           a->message_size_max == b->message_size_max && a->counted == b->counted &&
           a->admission.connections_max == b->admission.connections_max &&
           a->admission.connections_per_address_max == b->admission.connections_per_address_max &&
           a->admission.connection_rate_max == b->admission.connection_rate_max &&
           same_websocket(a, b);
}

void m5_door_adopt_tls(struct m5_door *door, struct m5_door *from)
{
    pthread_mutex_lock(&door->mutex);
    struct m5_tls_config *stale = door->tls;
    door->tls = from->tls;
    pthread_mutex_unlock(&door->mutex);
    from->tls = stale;
}

struct m5_transport *m5_door_tls(struct m5_door *door, const struct mqtt5_allocator *allocator)
{
    pthread_mutex_lock(&door->mutex);
    struct m5_tls_config *config = door->tls == NULL ? NULL : m5_tls_config_ref(door->tls);
    pthread_mutex_unlock(&door->mutex);
    if (config == NULL)
        return NULL;
    struct m5_transport *transport = m5_tls_server_new(config, allocator);
    m5_tls_config_unref(config);
    return transport;
}

/* Whether a proxy behind the proxy is believed, too. */
static bool trusts(void *ctx, const char *address)
{
    const struct m5_door *door = (const struct m5_door *)ctx;
    struct m5_address at;
    return m5_address_read(address, 0, &at) && m5_bans_contain(door->forwarders, m5_source_of(&at));
}

struct m5_transport *m5_door_websocket(struct m5_door *door, const struct m5_address *peer,
                                       const struct mqtt5_allocator *allocator)
{
    const struct m5_websocket_server_config config = {
        .path = door->path,
        .origins = (const char *const *)door->origins,
        .origin_count = door->origin_count,
        .subprotocol_optional = door->subprotocol_optional,
        .message_size_max = door->message_size_max,
        .tls = door->transport == MQTT5_TRANSPORT_WSS,
        .peer_trusted =
            door->forwarders != NULL && m5_bans_contain(door->forwarders, m5_source_of(peer)),
        .trusted = door->forwarders != NULL ? trusts : NULL,
        .trusted_ctx = door,
    };
    return m5_websocket_server_new(&config, allocator);
}
