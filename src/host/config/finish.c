/* From what the keys say to the options of a broker: listeners of the short form and of the long
 * one, certificates, authentication, the store; and what only the whole can tell to be wrong.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "host/address.h"
#include "host/config/data.h"
#include "host/config/sections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct finish {
    struct m5_config *config;
    struct m5_problems *problems;
    size_t count; /* of config->made */
};

static bool refuse(struct finish *finish, struct m5_place place, const char *key, const char *text)
{
    return m5_problem_add(finish->problems, M5_PROBLEM_ERROR, "contradiction", place, key, "%s",
                          text);
}

/* ---- TLS ---- */

/* The first line of a file that holds a secret. */
static bool read_secret(struct finish *finish, const struct m5_config_tls *tls, const char *path,
                        const char **out)
{
    struct m5_config_bytes bytes;
    char why[256] = "";
    if (!m5_config_read_bytes(path, &bytes, why))
        return m5_problem_add(finish->problems, M5_PROBLEM_ERROR, "no-file", tls->place,
                              "tls.key_password_file", "%s cannot be read: %s", path, why);
    size_t size = 0;
    while (size < bytes.size && bytes.data[size] != '\n' && bytes.data[size] != '\r' &&
           bytes.data[size] != 0)
        size++;
    *out = m5_arena_text(&finish->config->arena, bytes.data, size);
    explicit_bzero(bytes.data, bytes.size);
    free(bytes.data);
    return *out != NULL || m5_config_no_memory(finish->problems);
}

static bool make_credential(struct finish *finish, const struct m5_config_tls *tls,
                            const struct m5_config_certificate *from,
                            struct mqtt5_tls_credential *out)
{
    *out = from->credential;
    if (from->key_password_file == NULL)
        return true;
    if (out->key_password != NULL)
        return refuse(finish, tls->place, "tls.key_password",
                      "key_password and key_password_file are both given: leave one out");
    return read_secret(finish, tls, from->key_password_file, &out->key_password);
}

static enum mqtt5_tls_client_certificate client_certificate(const struct m5_config_tls *tls)
{
    if (tls->client_certificate > 0)
        return (enum mqtt5_tls_client_certificate)(tls->client_certificate - 1);
    if (tls->require_client_cert == M5_SWITCH_ON)
        return MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED;
    return tls->options.ca_file != NULL ? MQTT5_TLS_CLIENT_CERTIFICATE_OPTIONAL
                                        : MQTT5_TLS_CLIENT_CERTIFICATE_NONE;
}

static bool check_tls(struct finish *finish, const struct m5_config_tls *tls)
{
    const struct mqtt5_tls_server_options *options = &tls->options;
    const bool asks = options->client_certificate != MQTT5_TLS_CLIENT_CERTIFICATE_NONE;
    if (tls->own.credential.certificate_file == NULL && options->psk_file == NULL)
        return refuse(finish, tls->place, "tls.cert_file",
                      "TLS needs a certificate: give a cert_file (--tls-cert), and a key_file "
                      "unless the key is in it, too; or a psk_file");
    if (asks && options->ca_file == NULL)
        return refuse(finish, tls->place, "tls.ca_file",
                      "client certificates can only be asked for with a ca_file (--tls-ca-cert) "
                      "that says who vouches for them");
    if (options->identity != MQTT5_TLS_IDENTITY_NONE && !asks && options->psk_file == NULL)
        return refuse(finish, tls->place, "tls.identity",
                      "user names out of certificates need client certificates: give a ca_file, "
                      "and require_client_cert to insist on them");
    if ((options->identity == MQTT5_TLS_IDENTITY_FINGERPRINT) != (options->identity_file != NULL))
        return refuse(finish, tls->place, "tls.identity_file",
                      "identity: fingerprint and identity_file go together: give both or none");
    return true;
}

static bool make_tls(struct finish *finish, struct m5_config_tls *tls)
{
    const size_t count = tls->certificate_count + 1;
    struct mqtt5_tls_credential *credentials = (struct mqtt5_tls_credential *)m5_arena_alloc(
        &finish->config->arena, count * sizeof *credentials);
    if (credentials == NULL)
        return m5_config_no_memory(finish->problems);
    bool ok = true;
    size_t used = 0;
    if (tls->own.credential.certificate_file != NULL)
        ok = make_credential(finish, tls, &tls->own, &credentials[used++]);
    for (size_t i = 0; i < tls->certificate_count; i++) {
        if (tls->certificates[i].credential.certificate_file == NULL)
            ok = refuse(finish, tls->place, "tls.certificates", "each needs a cert_file");
        ok = make_credential(finish, tls, &tls->certificates[i], &credentials[used++]) && ok;
    }
    tls->options.credentials = credentials;
    tls->options.credential_count = used;
    tls->options.client_certificate = client_certificate(tls);
    return check_tls(finish, tls) && ok;
}

/* ---- authentication ---- */

static bool needs_word(const struct m5_config_issuer *issuer)
{
    return issuer->issuer.key_file == NULL && issuer->issuer.jwks_uri == NULL;
}

/* role_map as mappings behind those that there are. */
static bool add_role_map(struct finish *finish, const struct m5_config_issuer *from,
                         struct mqtt5_jwt_issuer *out)
{
    const size_t before = out->role_mapping_count, more = from->role_map.count;
    if (more == 0)
        return true;
    if (from->role_claim == NULL)
        return refuse(finish, from->place, "role_claim",
                      "role_map (--jwt-role-map) needs a role_claim (--jwt-role-claim)");
    struct mqtt5_role_mapping *items = (struct mqtt5_role_mapping *)m5_arena_alloc(
        &finish->config->arena, (before + more) * sizeof *items);
    const char **roles =
        (const char **)m5_arena_alloc(&finish->config->arena, more * sizeof *roles);
    if (items == NULL || roles == NULL)
        return m5_config_no_memory(finish->problems);
    for (size_t i = 0; i < before; i++)
        items[i] = out->role_mappings[i];
    for (size_t i = 0; i < more; i++) {
        const char *text = from->role_map.items[i], *cut = strrchr(text, ':');
        if (cut == NULL || cut == text || cut[1] == 0)
            return m5_problem_add(finish->problems, M5_PROBLEM_ERROR, "bad-text",
                                  from->role_map.place, "role_map",
                                  "\"%s\" is not written as VALUE:ROLE", text);
        roles[i] = cut + 1;
        items[before + i] = (struct mqtt5_role_mapping){
            .claim_path = from->role_claim,
            .value = m5_arena_text(&finish->config->arena, text, (size_t)(cut - text)),
            .roles = &roles[i],
            .role_count = 1};
        if (items[before + i].value == NULL)
            return m5_config_no_memory(finish->problems);
    }
    out->role_mappings = items;
    out->role_mapping_count = before + more;
    return true;
}

static bool add_issuer(struct finish *finish, const struct m5_config_issuer *from,
                       struct mqtt5_jwt_issuer *out)
{
    static const char *const algorithms[] = {NULL, "HS256", "RS256", "ES256", "EdDSA"};
    *out = from->issuer;
    out->algorithm = algorithms[from->algorithm];
    if (needs_word(from))
        return refuse(finish, from->place, "jwt_config.key_file",
                      "an issuer of tokens needs a key_file (--jwt-key-file) or a jwks_uri");
    return add_role_map(finish, from, out);
}

static bool make_issuers(struct finish *finish, struct m5_config_auth *auth)
{
    const size_t most = auth->issuer_count + 1;
    struct mqtt5_jwt_issuer *issuers =
        (struct mqtt5_jwt_issuer *)m5_arena_alloc(&finish->config->arena, most * sizeof *issuers);
    if (issuers == NULL)
        return m5_config_no_memory(finish->problems);
    bool ok = true;
    size_t count = 0;
    if (auth->jwt != NULL && auth->jwt->enabled)
        ok = add_issuer(finish, auth->jwt, &issuers[count++]);
    for (size_t i = 0; i < auth->issuer_count; i++)
        if (auth->issuers[i].enabled)
            ok = add_issuer(finish, &auth->issuers[i], &issuers[count++]) && ok;
    auth->options.jwt_issuers = issuers;
    auth->options.jwt_issuer_count = count;
    return ok;
}

static bool check_method(struct finish *finish, const struct m5_config_auth *auth)
{
    const struct mqtt5_auth_options *options = &auth->options;
    if (auth->method == M5_AUTH_PASSWORD && options->password_file == NULL)
        return refuse(finish, auth->place, "auth_method",
                      "password needs a password_file (--auth-password-file)");
    if (auth->method == M5_AUTH_SCRAM && options->scram_file == NULL)
        return refuse(finish, auth->place, "auth_method",
                      "scram needs a scram_file (--scram-file)");
    if ((auth->method == M5_AUTH_JWT || auth->method == M5_AUTH_JWT_FEDERATED) &&
        options->jwt_issuer_count == 0)
        return refuse(finish, auth->place, "auth_method",
                      "jwt needs an issuer: jwt_config (--jwt-key-file) or federated_jwt_config");
    return true;
}

bool m5_config_can_login(const struct mqtt5_auth_options *auth)
{
    return auth->password_file != NULL || auth->scram_file != NULL || auth->jwt_issuer_count > 0 ||
           auth->http.uri != NULL;
}

static bool make_auth(struct finish *finish, struct m5_config_auth *auth)
{
    const bool ok = make_issuers(finish, auth);
    if (auth->rate_limit != NULL) {
        struct mqtt5_lockout lockout = auth->rate_limit->lockout;
        if (!auth->rate_limit->enabled)
            lockout.failures = UINT32_MAX;
        auth->options.address_lockout = auth->options.user_lockout = lockout;
    }
    auth->options.allow_anonymous = auth->allow_anonymous == M5_SWITCH_ON;
    return check_method(finish, auth) && ok;
}

/* ---- listeners ---- */

static struct mqtt5_listener *new_listener(struct finish *finish, struct m5_place place,
                                           const char *key)
{
    if (finish->count < M5_CONFIG_LISTENERS_MAX) {
        struct mqtt5_listener *listener = &finish->config->made[finish->count];
        finish->config->places[finish->count] = place;
        finish->config->keys[finish->count] = key;
        finish->count++;
        *listener = (struct mqtt5_listener){.host = NULL};
        return listener;
    }
    m5_problem_add(finish->problems, M5_PROBLEM_ERROR, "too-many", place, NULL,
                   "there may be at most %d listeners", M5_CONFIG_LISTENERS_MAX);
    return NULL;
}

static uint16_t usual_port(enum mqtt5_transport transport)
{
    switch (transport) {
    case MQTT5_TRANSPORT_TCP: return 1883;
    case MQTT5_TRANSPORT_TLS: return 8883;
    case MQTT5_TRANSPORT_WS: return 8080;
    case MQTT5_TRANSPORT_WSS: return 8443;
    case MQTT5_TRANSPORT_UNIX: break;
    }
    return 0;
}

/* The text was checked when it was read. */
static bool set_address(struct finish *finish, struct mqtt5_listener *listener, const char *text)
{
    struct m5_endpoint endpoint;
    if (m5_endpoint_parse(text, usual_port(listener->transport), &endpoint) != NULL)
        return false;
    listener->host = m5_config_keep(finish->config, endpoint.host);
    listener->port = endpoint.port;
    return listener->host != NULL || m5_config_no_memory(finish->problems);
}

static const struct m5_texts *loopback(enum mqtt5_transport transport)
{
    static const char *const tls[] = {"127.0.0.1:8883", "[::1]:8883"};
    static const char *const ws[] = {"127.0.0.1:8080", "[::1]:8080"};
    static const char *const wss[] = {"127.0.0.1:8443", "[::1]:8443"};
    static const struct m5_texts texts[] = {[MQTT5_TRANSPORT_TLS] = {.items = tls, .count = 2},
                                            [MQTT5_TRANSPORT_WS] = {.items = ws, .count = 2},
                                            [MQTT5_TRANSPORT_WSS] = {.items = wss, .count = 2}};
    return &texts[transport];
}

/* A listener for each address of the short form, like @p model. */
static bool add_short(struct finish *finish, const struct m5_texts *bind, struct m5_place place,
                      const char *key, const struct mqtt5_listener *model)
{
    const struct m5_config *config = finish->config;
    for (size_t i = 0; i < bind->count; i++) {
        struct mqtt5_listener *listener = new_listener(finish, place, key);
        if (listener == NULL)
            return false;
        *listener = *model;
        listener->proxy_protocol = config->proxy_protocol;
        listener->proxy_trusted = config->proxy_trusted.items;
        listener->proxy_trusted_count = config->proxy_trusted.count;
        listener->proxy_identity = config->proxy_identity;
        if (!set_address(finish, listener, bind->items[i]))
            return false;
    }
    return true;
}

static bool add_tls(struct finish *finish)
{
    struct m5_config *config = finish->config;
    const bool elsewhere =
        config->websocket_tls != NULL || (config->websocket != NULL && config->websocket->use_tls);
    const struct mqtt5_listener model = {.transport = MQTT5_TRANSPORT_TLS,
                                         .tls = config->tls != NULL ? &config->tls->options : NULL};
    if (config->tls == NULL)
        return true;
    if (!make_tls(finish, config->tls))
        return false;
    if (config->tls->bind.count > 0)
        return add_short(finish, &config->tls->bind, config->tls->bind.place,
                         "tls_config.bind_addresses", &model);
    return elsewhere || add_short(finish, loopback(MQTT5_TRANSPORT_TLS), config->tls->place,
                                  "tls_config", &model);
}

static bool check_subprotocol(struct finish *finish, const struct m5_config_websocket *from)
{
    return strcmp(from->subprotocol, "mqtt") == 0 ||
           refuse(finish, from->place, "subprotocol",
                  "can only be mqtt; subprotocol_optional: true serves clients that offer none");
}

static bool add_websocket(struct finish *finish, const struct m5_config_websocket *from,
                          bool secure)
{
    const struct m5_config *config = finish->config;
    const enum mqtt5_transport transport = secure ? MQTT5_TRANSPORT_WSS : MQTT5_TRANSPORT_WS;
    const struct mqtt5_listener model = {
        .transport = transport,
        .tls = secure && config->tls != NULL ? &config->tls->options : NULL,
        .websocket = from->options};
    if (secure && config->tls == NULL)
        return refuse(finish, from->place, "websocket_tls_config",
                      "WebSocket over TLS needs a certificate: give a tls_config with cert_file "
                      "and key_file (--tls-cert, --tls-key)");
    if (!check_subprotocol(finish, from))
        return false;
    if (from->bind.count > 0)
        return add_short(finish, &from->bind, from->bind.place,
                         secure ? "websocket_tls_config.bind_addresses"
                                : "websocket_config.bind_addresses",
                         &model);
    /* With only flags like --ws-path the section is there for the other one. */
    if (!secure && config->websocket_tls != NULL)
        return true;
    return add_short(finish, loopback(transport), from->place,
                     secure ? "websocket_tls_config" : "websocket_config", &model);
}

/* What websocket_tls_config does not say is what websocket_config says. */
static void inherit(struct m5_config *config)
{
    if (config->websocket == NULL || config->websocket_tls == NULL)
        return;
    const struct mqtt5_websocket_options *from = &config->websocket->options;
    struct mqtt5_websocket_options *to = &config->websocket_tls->options;
    if (to->path == NULL)
        to->path = from->path;
    if (to->origin_count == 0) {
        to->origins = from->origins;
        to->origin_count = from->origin_count;
    }
    if (to->forwarder_count == 0) {
        to->forwarders = from->forwarders;
        to->forwarder_count = from->forwarder_count;
    }
}

static bool add_websockets(struct finish *finish)
{
    struct m5_config *config = finish->config;
    inherit(config);
    bool ok = true;
    if (config->websocket != NULL)
        ok = add_websocket(finish, config->websocket, config->websocket->use_tls);
    if (config->websocket_tls != NULL)
        ok = add_websocket(finish, config->websocket_tls, true) && ok;
    return ok;
}

static bool add_unix(struct finish *finish)
{
    const struct m5_config_unix *from = finish->config->unix_socket;
    if (from == NULL)
        return true;
    if (from->listener.path == NULL)
        return refuse(finish, from->place, "unix_config.path", "a Unix socket needs a path");
    struct mqtt5_listener *listener = new_listener(finish, from->place, "unix_config");
    if (listener == NULL)
        return false;
    *listener = from->listener;
    listener->transport = MQTT5_TRANSPORT_UNIX;
    return true;
}

static bool check_listener(struct finish *finish, const struct m5_config_listener *from)
{
    const enum mqtt5_transport transport = from->listener.transport;
    const bool is_unix = transport == MQTT5_TRANSPORT_UNIX;
    const bool is_tls = transport == MQTT5_TRANSPORT_TLS || transport == MQTT5_TRANSPORT_WSS;
    const uint32_t size = from->listener.maximum_packet_size;
    if (from->listener.proxy_protocol != MQTT5_PROXY_OFF && from->listener.proxy_trusted_count == 0)
        return refuse(finish, from->place, "listeners",
                      "proxy: trusted must name the networks of the proxies, or every connection "
                      "is closed");
    if (is_unix != (from->listener.path != NULL) || is_unix == (from->bind != NULL))
        return refuse(finish, from->place, "listeners",
                      is_unix ? "transport unix needs a path, and no bind"
                              : "needs bind: 'address:port'; a path is for transport unix only");
    if (is_tls != (from->tls != NULL))
        return refuse(finish, from->place, "listeners",
                      is_tls ? "transports tls and wss need a section tls with cert_file and "
                               "key_file"
                             : "has a section tls, but does not speak TLS: make its transport tls "
                               "or wss, or take the section out");
    if (size > 0 && (size < 64 || size > finish->config->options.config.maximum_packet_size))
        return refuse(finish, from->place, "listeners",
                      "max_packet_size must be 0, or 64 at least and the broker's at most");
    return true;
}

static bool add_listener(struct finish *finish, const struct m5_config_listener *from)
{
    bool ok = check_listener(finish, from);
    if (from->tls != NULL)
        ok = make_tls(finish, from->tls) && ok;
    if (from->auth != NULL)
        ok = make_auth(finish, from->auth) && ok;
    struct mqtt5_listener *listener = ok ? new_listener(finish, from->place, "listeners") : NULL;
    if (listener == NULL)
        return false;
    *listener = from->listener;
    listener->tls = from->tls != NULL ? &from->tls->options : NULL;
    listener->auth = from->auth != NULL ? &from->auth->options : NULL;
    if (from->auth != NULL)
        finish->config->auths[finish->count - 1] = from->auth;
    return from->bind == NULL || set_address(finish, listener, from->bind);
}

static bool check_names(struct finish *finish)
{
    const struct m5_config *config = finish->config;
    for (size_t i = 0; i < finish->count; i++)
        for (size_t j = 0; j < i && config->made[i].name != NULL; j++)
            if (config->made[j].name != NULL &&
                strcmp(config->made[i].name, config->made[j].name) == 0)
                return m5_problem_add(finish->problems, M5_PROBLEM_ERROR, "duplicate-name",
                                      config->places[i], "listeners",
                                      "two listeners have the name \"%s\"", config->made[i].name);
    return true;
}

/* Without bind_addresses nothing is listened on in plain TCP as soon as there is any other
 * listener: sections for TLS never open a plaintext port. */
static bool make_listeners(struct finish *finish)
{
    struct m5_config *config = finish->config;
    const struct mqtt5_listener model = {.transport = MQTT5_TRANSPORT_TCP};
    bool ok = add_short(finish, &config->bind, config->bind.place, "bind_addresses", &model);
    if (config->proxy_protocol != MQTT5_PROXY_OFF && config->proxy_trusted.count == 0)
        ok = refuse(finish, (struct m5_place){.file = config->file}, "proxy_config.trusted",
                    "must name the networks of the proxies (--proxy-trusted), or every connection "
                    "is closed");
    ok = add_tls(finish) && ok;
    ok = add_websockets(finish) && ok;
    ok = add_unix(finish) && ok;
    for (size_t i = 0; i < config->listener_count; i++)
        ok = add_listener(finish, &config->listeners[i]) && ok;
    config->options.listeners = config->made;
    config->options.listener_count = finish->count;
    return check_names(finish) && ok;
}

/* ---- who gets in ---- */

/* Names are not looked up: one that is not localhost counts as reachable. */
static bool is_local_host(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    return strcasecmp(host, "localhost") == 0;
}

bool m5_listener_is_local(const struct mqtt5_listener *listener)
{
    return listener->transport == MQTT5_TRANSPORT_UNIX || is_local_host(listener->host);
}

bool m5_listener_proves(const struct mqtt5_listener *listener)
{
    const bool by_proxy = listener->proxy_protocol != MQTT5_PROXY_OFF && listener->proxy_identity;
    return by_proxy ||
           (listener->tls != NULL && (listener->tls->identity != MQTT5_TLS_IDENTITY_NONE ||
                                      listener->tls->psk_file != NULL));
}

void m5_listener_write_address(const struct mqtt5_listener *listener,
                               char out[M5_CONFIG_ADDRESS_SIZE])
{
    if (listener->transport == MQTT5_TRANSPORT_UNIX)
        snprintf(out, M5_CONFIG_ADDRESS_SIZE, "%s", listener->path);
    else
        snprintf(out, M5_CONFIG_ADDRESS_SIZE,
                 strchr(listener->host, ':') != NULL ? "[%s]:%u" : "%s:%u",
                 listener->host[0] == 0 ? "*" : listener->host, (unsigned)listener->port);
}

/* True when clients without a name are served there; refuses a listener where nobody could be, and
 * one that would be open to the world without a word that says so. */
static bool check_entrance(struct finish *finish, size_t index, const struct m5_config_auth *auth)
{
    const struct m5_config *config = finish->config;
    const struct mqtt5_listener *listener = &config->made[index];
    char address[M5_CONFIG_ADDRESS_SIZE];
    m5_listener_write_address(listener, address);
    if (config->auth.dynamic_security_file != NULL || auth->allow_anonymous == M5_SWITCH_ON ||
        m5_config_can_login(&auth->options) || m5_listener_proves(listener))
        return true;
    if (auth->allow_anonymous == M5_SWITCH_OFF)
        return m5_problem_add(
            finish->problems, M5_PROBLEM_ERROR, "nobody", config->places[index],
            config->keys[index],
            "allow_anonymous is false and there is no way to log in, which leaves "
            "nobody who can connect to %s: give an --auth-password-file "
            "(auth_config.password_file)",
            address);
    if (m5_listener_is_local(listener))
        return true;
    return m5_problem_add(finish->problems, M5_PROBLEM_ERROR, "open", config->places[index],
                          config->keys[index],
                          "%s can be reached from other machines: give an --auth-password-file "
                          "(auth_config.password_file), or --allow-anonymous "
                          "(auth_config.allow_anonymous: true) to serve everybody there",
                          address);
}

/* The default listeners are there when no other is: on this machine only. */
static bool check_entrances(struct finish *finish)
{
    struct m5_config *config = finish->config;
    bool ok = true, open = !m5_config_can_login(&config->auth.options) &&
                           config->auth.dynamic_security_file == NULL;
    for (size_t i = 0; i < finish->count; i++) {
        struct m5_config_auth *own = config->auths[i];
        ok = check_entrance(finish, i, own != NULL ? own : &config->auth) && ok;
        open = open && (m5_listener_is_local(&config->made[i]) || own != NULL) &&
               !m5_listener_proves(&config->made[i]);
        if (own != NULL && own->allow_anonymous == M5_SWITCH_UNSET)
            own->options.allow_anonymous =
                !m5_config_can_login(&own->options) && !m5_listener_proves(&config->made[i]);
    }
    if (finish->count == 0 && config->auth.allow_anonymous == M5_SWITCH_OFF && open)
        ok = m5_problem_add(finish->problems, M5_PROBLEM_ERROR, "nobody", config->auth.place,
                            "auth_config.allow_anonymous",
                            "without a way to log in there would be nobody who can connect: give "
                            "an --auth-password-file (auth_config.password_file)");
    if (config->auth.allow_anonymous == M5_SWITCH_UNSET)
        config->auth.options.allow_anonymous = open;
    config->options.config.allow_anonymous = config->auth.options.allow_anonymous;
    return ok;
}

/* ---- the store ---- */

static bool read_rule(struct finish *finish, const char *text, struct mqtt5_durability_rule *rule)
{
    static const char *const levels[] = {"strict", "relaxed", "memory"};
    const struct m5_place place = finish->config->storage.rule_texts.place;
    const char *cut = strrchr(text, '=');
    if (cut == NULL || cut == text)
        return m5_problem_add(finish->problems, M5_PROBLEM_ERROR, "bad-text", place,
                              "durability_for",
                              "\"%s\" must be written as FILTER=LEVEL, for example "
                              "'telemetry/#=memory'",
                              text);
    size_t level = 0;
    while (level < M5_COUNT_OF(levels) && strcmp(levels[level], cut + 1) != 0)
        level++;
    if (level == M5_COUNT_OF(levels))
        return m5_problem_add(finish->problems, M5_PROBLEM_ERROR, "unknown-word", place,
                              "durability_for", "%s is none of strict, relaxed, memory", cut + 1);
    rule->durability = (enum mqtt5_durability)level;
    rule->filter = m5_arena_text(&finish->config->arena, text, (size_t)(cut - text));
    if (rule->filter == NULL)
        return m5_config_no_memory(finish->problems);
    const char *why = m5_check_filter(rule->filter);
    return why == NULL || m5_problem_add(finish->problems, M5_PROBLEM_ERROR, "bad-text", place,
                                         "durability_for", "\"%s\" %s", rule->filter, why);
}

static bool make_rules(struct finish *finish)
{
    struct m5_config *config = finish->config;
    const struct m5_config_storage *storage = &config->storage;
    const size_t count = storage->rule_texts.count + storage->rule_count;
    if (count > MQTT5_DURABILITY_RULES_MAX)
        return refuse(finish, storage->rule_texts.place, "storage_config.durability_rules",
                      "there may be at most 64 rules in all");
    struct mqtt5_durability_rule *rules =
        (struct mqtt5_durability_rule *)m5_arena_alloc(&config->arena, (count + 1) * sizeof *rules);
    if (rules == NULL)
        return m5_config_no_memory(finish->problems);
    bool ok = true;
    size_t used = 0;
    for (size_t i = 0; i < storage->rule_texts.count; i++)
        ok = read_rule(finish, storage->rule_texts.items[i], &rules[used++]) && ok;
    for (size_t i = 0; i < storage->rule_count; i++) {
        rules[used++] = storage->rules[i];
        if (storage->rules[i].filter == NULL)
            ok = refuse(finish, (struct m5_place){.file = config->file},
                        "storage_config.durability_rules", "each needs a filter");
    }
    config->options.config.durability_rules = rules;
    config->options.config.durability_rule_count = (uint32_t)count;
    return ok;
}

static bool make_storage(struct finish *finish)
{
    struct m5_config *config = finish->config;
    const bool stores =
        config->storage.enable_persistence && config->storage.backend == M5_STORAGE_FILE;
    config->options.storage_dir = stores ? config->storage.base_dir : NULL;
    return make_rules(finish);
}

bool m5_config_finish(struct m5_config *config, struct m5_problems *problems)
{
    struct finish finish = {.config = config, .problems = problems};
    const char *why;
    bool ok = make_auth(&finish, &config->auth);
    ok = make_listeners(&finish) && ok;
    ok = ok && check_entrances(&finish);
    ok = make_storage(&finish) && ok;
    config->options.auth = config->auth.options;
    config->options.acl_file = config->auth.acl_file;
    config->options.dynamic_security_file = config->auth.dynamic_security_file;
    if (!config->sys_topics_enabled)
        config->options.config.sys_interval_s = 0;
    if (ok && mqtt5_broker_config_check(&config->options.config, &why) != MQTT5_OK)
        ok = refuse(&finish, (struct m5_place){.file = config->file}, NULL, why);
    config->finished = ok && problems->errors == 0;
    return config->finished;
}
