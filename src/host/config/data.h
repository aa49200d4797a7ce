/* What the keys of a configuration fill before m5_config_finish() makes options of it: the structs
 * of the sections in schema.c.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CONFIG_DATA_H
#define M5_HOST_CONFIG_DATA_H

#include "host/config/arena.h"
#include "host/config/config.h"
#include "host/config/schema.h"

#define M5_CONFIG_LISTENERS_MAX 64
#define M5_CONFIG_READ_MAX      64

struct m5_texts {
    const char *const *items;
    size_t count;
    struct m5_place place;
};

/* A certificate and its key. */
struct m5_config_certificate {
    struct mqtt5_tls_credential credential;
    const char *key_password_file;
};

/* `tls` of a listener, and `tls_config`. */
struct m5_config_tls {
    struct m5_place place;
    struct m5_texts bind; /* tls_config only */
    struct m5_config_certificate own;
    const struct m5_config_certificate *certificates; /* further ones, chosen by server name */
    size_t certificate_count;
    enum m5_switch require_client_cert;
    int client_certificate; /* 1 + enum mqtt5_tls_client_certificate; 0: as the above says */
    struct mqtt5_tls_server_options options;
};

/* One issuer of tokens. */
struct m5_config_issuer {
    struct m5_place place;
    struct mqtt5_jwt_issuer issuer;
    int algorithm; /* a choice; its name goes to issuer.algorithm */
    bool enabled;
    const char *role_claim;   /* of jwt_config: the claim that role_map is about */
    struct m5_texts role_map; /* "VALUE:ROLE" */
};

enum m5_auth_method {
    M5_AUTH_UNSET,
    M5_AUTH_NONE,
    M5_AUTH_PASSWORD,
    M5_AUTH_SCRAM,
    M5_AUTH_JWT,
    M5_AUTH_JWT_FEDERATED
};

/* `rate_limit` of auth_config. */
struct m5_config_rate_limit {
    bool enabled;
    struct mqtt5_lockout lockout;
};

/* `auth` of a listener, and `auth_config`. */
struct m5_config_auth {
    struct m5_place place;
    enum m5_switch allow_anonymous;
    enum m5_auth_method method;
    const char *acl_file; /* auth_config only, as the next */
    const char *dynamic_security_file;
    struct m5_config_issuer *jwt;
    struct m5_config_rate_limit *rate_limit;
    const struct m5_config_issuer *issuers;
    size_t issuer_count;
    struct mqtt5_auth_options options;
};

/* An entry of `listeners`. */
struct m5_config_listener {
    struct m5_place place;
    const char *bind; /* "host:port" */
    struct m5_config_tls *tls;
    struct m5_config_auth *auth;
    struct mqtt5_listener listener;
};

/* `websocket_config` and `websocket_tls_config`. */
struct m5_config_websocket {
    struct m5_place place;
    struct m5_texts bind;
    bool use_tls;
    const char *subprotocol;
    struct mqtt5_websocket_options options;
};

/* `unix_config`. */
struct m5_config_unix {
    struct m5_place place;
    struct mqtt5_listener listener;
};

enum m5_storage_backend { M5_STORAGE_FILE, M5_STORAGE_MEMORY };

struct m5_config_storage {
    enum m5_storage_backend backend;
    const char *base_dir;
    bool enable_persistence;
    const struct mqtt5_durability_rule *rules;
    size_t rule_count;
    struct m5_texts rule_texts; /* "FILTER=LEVEL", of the flag */
};

struct m5_config {
    const struct mqtt5_allocator *allocator;
    struct m5_arena arena;
    struct mqtt5_broker_options options; /* filled directly, and by m5_config_finish() */

    struct m5_texts bind;
    struct m5_config_tls *tls;
    struct m5_config_websocket *websocket, *websocket_tls;
    struct m5_config_unix *unix_socket;
    enum mqtt5_proxy_protocol proxy_protocol; /* of the listeners above */
    struct m5_texts proxy_trusted;
    bool proxy_identity;
    const struct m5_config_listener *listeners;
    size_t listener_count;
    struct m5_config_auth auth;
    struct m5_config_storage storage;
    bool sys_topics_enabled;
    bool watch_files;

    const char *file;                     /* that was read; NULL = none */
    const char *read[M5_CONFIG_READ_MAX]; /* it, and what it includes */
    size_t read_count;
    struct mqtt5_listener made[M5_CONFIG_LISTENERS_MAX];   /* options.listeners */
    struct m5_place places[M5_CONFIG_LISTENERS_MAX];       /* where each stands */
    const char *keys[M5_CONFIG_LISTENERS_MAX];             /* and by which key */
    struct m5_config_auth *auths[M5_CONFIG_LISTENERS_MAX]; /* its own, or NULL */
    bool finished;
};

/* Called for each field, also of sections in lists; @p path is "listeners[0].tls.cert_file". */
typedef void m5_config_walk_fn(void *ctx, const char *path, const struct m5_key *key,
                               const void *base);
void m5_config_walk(const struct m5_config *config, m5_config_walk_fn *each, void *ctx);

/* True when something can be proved to this listener's broker in MQTT. */
bool m5_config_can_login(const struct mqtt5_auth_options *auth);

/* True when only this machine reaches it; true when its transport proves who connects. */
bool m5_listener_is_local(const struct mqtt5_listener *listener);
bool m5_listener_proves(const struct mqtt5_listener *listener);

#define M5_CONFIG_ADDRESS_SIZE 320

/* Where it listens, for people. */
void m5_listener_write_address(const struct mqtt5_listener *listener,
                               char out[M5_CONFIG_ADDRESS_SIZE]);

/* Gives the fields of @p base, the struct of @p section, their defaults. False when one of them is
 * no value of its key: a mistake in the schema. */
bool m5_section_defaults(const struct m5_section *section, void *base,
                         struct m5_problems *problems);

/* Sets @p key, a field of the struct @p base, to @p text. False with a problem. */
struct m5_setting {
    struct m5_config *config;
    struct m5_problems *problems;
    const char *folder; /* where relative paths start; NULL: where the program runs */
    struct m5_place place;
    const char *path; /* of the key, for problems */
    bool is_quoted;   /* a number, true and false are none in quotes */
};
bool m5_key_set(const struct m5_setting *setting, const struct m5_key *key, void *base,
                const char *text);

/* True when the key's check allows @p text; else a problem. */
bool m5_text_allowed(const struct m5_setting *setting, const struct m5_key *key, const char *text);

/* As m5_config_set(), for a text at @p place; @p path names it in problems. */
bool m5_config_set_at(struct m5_config *config, const char *flag, const char *const *texts,
                      size_t count, struct m5_place place, const char *path,
                      struct m5_problems *problems);

/* A file's content, of malloc(). */
struct m5_config_bytes {
    char *data;
    size_t size;
};

/* Reads @p path whole, at most M5_CONFIG_FILE_MAX bytes. False with a reason in @p why, which
 * begins empty. */
bool m5_config_read_bytes(const char *path, struct m5_config_bytes *out, char why[256]);

/* A copy of @p text that lives as long as the configuration; NULL without memory. */
const char *m5_config_keep(struct m5_config *config, const char *text);

/* Adds the problem "out of memory"; gives false. */
bool m5_config_no_memory(struct m5_problems *problems);

#endif
