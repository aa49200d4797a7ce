/* What the parts of the reader of mosquitto.conf share.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CONFIG_MOSQUITTO_H
#define M5_HOST_CONFIG_MOSQUITTO_H

#include "host/config/data.h"

#define M5_MOSQUITTO_LISTENERS_MAX 32
#define M5_MOSQUITTO_DEPTH_MAX     4 /* of include_dir in include_dir */

/* One listener, as its keys say; the first is the default listener, in front of any `listener`. */
struct m5_mosquitto_listener {
    struct m5_place place;
    bool is_used;     /* default listener: some key is about it */
    bool has_address; /* port or bind_address was given */
    bool is_websocket, wants_certificate, identity, has_psk;
    uint16_t port;
    const char *host;   /* NULL = all addresses; begins with '/': a Unix socket */
    const char *domain; /* "ipv4", "ipv6" or NULL */
    const char *ca_file, *cert_file, *key_file, *crl_file, *tls_version;
    struct m5_place tls_place; /* of the first key about TLS; line 0 = none */
    uint32_t connections_max;
    enum m5_switch allow_anonymous; /* these two: per_listener_settings */
    const char *password_file;
};

struct m5_mosquitto {
    struct m5_config *config;
    struct m5_problems *problems;
    struct m5_mosquitto_listener listeners[M5_MOSQUITTO_LISTENERS_MAX];
    size_t count; /* at least 1; the last is the one that keys are about */
    bool per_listener_settings, persistence, in_bridge, has_log_type, has_dynamic_security;
    const char *psk_file, *persistence_location;
    unsigned depth;
    /* the line that is read */
    struct m5_place place;
    const char *key;
};

struct m5_mosquitto_key;

/* Takes one line's key and value; false after a problem. */
bool m5_mosquitto_take(struct m5_mosquitto *state, const char *key, const char *value);

/* Reads the files *.conf of a folder, in the order of their names. */
bool m5_mosquitto_include(struct m5_mosquitto *state, const char *folder);

/* Makes listeners of a configuration of what was read. */
bool m5_mosquitto_build(struct m5_mosquitto *state);

/* Adds a problem with the line that is read. */
bool m5_mosquitto_refuse(const struct m5_mosquitto *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void m5_mosquitto_warn(const struct m5_mosquitto *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
