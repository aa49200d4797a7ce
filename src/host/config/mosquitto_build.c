/* From the keys of a mosquitto.conf to a configuration of ours.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/mosquitto.h"

#include "host/config/sections.h"

#include <string.h>

#define STORE_FOLDER "mqttv5" /* below persistence_location, beside mosquitto.db */

static bool build_tls(struct m5_mosquitto *state, const struct m5_mosquitto_listener *from,
                      struct m5_config_listener *to)
{
    to->tls = (struct m5_config_tls *)m5_arena_alloc(&state->config->arena, sizeof *to->tls);
    if (to->tls == NULL || !m5_section_defaults(&m5_section_tls_config, to->tls, state->problems))
        return m5_config_no_memory(state->problems);
    to->tls->place = from->tls_place;
    to->tls->own.credential.certificate_file = from->cert_file;
    to->tls->own.credential.key_file = from->key_file;
    to->tls->options.ca_file = from->ca_file;
    to->tls->options.crl_file = from->crl_file;
    to->tls->options.psk_file = from->has_psk ? state->psk_file : NULL;
    /* Mosquitto looks at certificates only when it insists on them. */
    to->tls->client_certificate =
        1 + (from->wants_certificate ? MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED
                                     : MQTT5_TLS_CLIENT_CERTIFICATE_NONE);
    if (from->identity && from->wants_certificate)
        to->tls->options.identity = MQTT5_TLS_IDENTITY_CN;
    if (from->tls_version != NULL && strcmp(from->tls_version, "tlsv1.3") == 0)
        to->tls->options.version_min = MQTT5_TLS_1_3;
    return true;
}

/* TLS is on with a certificate or pre-shared keys; other keys about it alone do nothing there. */
static bool has_tls(struct m5_mosquitto *state, const struct m5_mosquitto_listener *from)
{
    const bool has = from->cert_file != NULL || from->has_psk;
    state->place = from->tls_place;
    state->key = "certfile";
    if (!has && from->tls_place.line > 0)
        m5_mosquitto_warn(state, "without a certfile this listener speaks no TLS, as it was with "
                                 "Mosquitto");
    if (from->has_psk && state->psk_file == NULL) {
        state->key = "psk_hint";
        m5_mosquitto_refuse(state, "needs a psk_file");
    }
    return has;
}

static bool build_auth(struct m5_mosquitto *state, const struct m5_mosquitto_listener *from,
                       struct m5_config_listener *to)
{
    if (!state->per_listener_settings)
        return true;
    to->auth = (struct m5_config_auth *)m5_arena_alloc(&state->config->arena, sizeof *to->auth);
    if (to->auth == NULL ||
        !m5_section_defaults(&m5_section_listener_auth, to->auth, state->problems))
        return m5_config_no_memory(state->problems);
    to->auth->place = from->place;
    to->auth->options.password_file = from->password_file;
    to->auth->allow_anonymous =
        from->allow_anonymous == M5_SWITCH_UNSET ? M5_SWITCH_OFF : from->allow_anonymous;
    return true;
}

/* "host:port" as the schema has it. */
static const char *bind_text(struct m5_mosquitto *state, const struct m5_mosquitto_listener *from)
{
    char text[512];
    const char *host = from->host;
    const unsigned port = from->port == 0 ? 1883 : from->port;
    if (host == NULL)
        host = from->domain == NULL ? "*" : strcmp(from->domain, "ipv4") == 0 ? "0.0.0.0" : "::";
    const bool is_v6 = strchr(host, ':') != NULL;
    snprintf(text, sizeof text, "%s%.400s%s:%u", is_v6 ? "[" : "", host, is_v6 ? "]" : "", port);
    const char *why = m5_check_endpoint(text);
    if (why == NULL)
        return m5_config_keep(state->config, text);
    state->place = from->place;
    state->key = "listener";
    m5_mosquitto_refuse(state, "\"%s\" %s", text, why);
    return NULL;
}

static bool build_listener(struct m5_mosquitto *state, const struct m5_mosquitto_listener *from,
                           struct m5_config_listener *to)
{
    if (!m5_section_defaults(&m5_section_listener, to, state->problems))
        return false;
    const bool tls = has_tls(state, from);
    to->place = from->place;
    to->listener.connections_max = from->connections_max;
    if (from->host != NULL && from->host[0] == '/') {
        to->listener.path = from->host;
        to->listener.transport = MQTT5_TRANSPORT_UNIX;
        return build_auth(state, from, to);
    }
    if (from->is_websocket)
        to->listener.transport = tls ? MQTT5_TRANSPORT_WSS : MQTT5_TRANSPORT_WS;
    else
        to->listener.transport = tls ? MQTT5_TRANSPORT_TLS : MQTT5_TRANSPORT_TCP;
    /* Mosquitto answers every path, and clients without the subprotocol. */
    to->listener.websocket.subprotocol_optional = true;
    to->bind = bind_text(state, from);
    return to->bind != NULL && (!tls || build_tls(state, from, to)) && build_auth(state, from, to);
}

/* The default listener without an address: keys about TLS do not open it to others. */
static bool build_default(struct m5_mosquitto *state, struct m5_config_listener *to, size_t *used)
{
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    struct m5_mosquitto_listener *from = &state->listeners[0];
    if (!from->is_used)
        return true;
    if (from->has_address)
        return build_listener(state, from, &to[(*used)++]);
    state->place = from->place;
    state->key = NULL;
    if (state->count > 1) {
        m5_mosquitto_warn(state, "keys of a listener in front of the first `listener` are about a "
                                 "default listener, which has no port: it is not opened");
        return true;
    }
    m5_mosquitto_warn(state, "keys of a listener without `listener` or `port`: it serves this "
                             "machine only, on 127.0.0.1:1883 and [::1]:1883");
    bool ok = true;
    for (size_t i = 0; i < 2; i++) {
        from->host = hosts[i];
        ok = build_listener(state, from, &to[(*used)++]) && ok;
    }
    return ok;
}

static bool build_storage(struct m5_mosquitto *state)
{
    struct m5_config_storage *storage = &state->config->storage;
    const char *location = state->persistence_location;
    storage->enable_persistence = state->persistence;
    if (!state->persistence || location == NULL)
        return true;
    const size_t size = strlen(location) + sizeof STORE_FOLDER + 1;
    char *folder = (char *)m5_arena_alloc(&state->config->arena, size + 1);
    if (folder == NULL)
        return m5_config_no_memory(state->problems);
    snprintf(folder, size, "%s%s%s", location, location[strlen(location) - 1] == '/' ? "" : "/",
             STORE_FOLDER);
    storage->base_dir = folder;
    return true;
}

bool m5_mosquitto_build(struct m5_mosquitto *state)
{
    struct m5_config *config = state->config;
    struct m5_config_listener *listeners = (struct m5_config_listener *)m5_arena_alloc(
        &config->arena, (state->count + 1) * sizeof *listeners);
    if (listeners == NULL)
        return m5_config_no_memory(state->problems);
    size_t used = 0;
    bool ok = build_default(state, listeners, &used);
    for (size_t i = 1; i < state->count; i++)
        ok = build_listener(state, &state->listeners[i], &listeners[used++]) && ok;
    config->listeners = listeners;
    config->listener_count = used;
    /* Without a listener Mosquitto serves this machine, everybody on it; else nobody without a
     * word. */
    config->auth.options.password_file = state->listeners[0].password_file;
    config->auth.allow_anonymous = state->listeners[0].allow_anonymous;
    if (config->auth.allow_anonymous == M5_SWITCH_UNSET && used > 0)
        config->auth.allow_anonymous = M5_SWITCH_OFF;
    return build_storage(state) && ok;
}
