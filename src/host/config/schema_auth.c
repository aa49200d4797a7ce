/* The keys of authentication: password files, SCRAM, tokens, HTTP.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/config/sections.h"

static const struct m5_choice methods[] = {{"none", M5_AUTH_NONE},
                                           {"password", M5_AUTH_PASSWORD},
                                           {"scram", M5_AUTH_SCRAM},
                                           {"jwt", M5_AUTH_JWT},
                                           {"jwt-federated", M5_AUTH_JWT_FEDERATED},
                                           {"None", M5_AUTH_NONE},
                                           {"Password", M5_AUTH_PASSWORD},
                                           {"ScramSha256", M5_AUTH_SCRAM},
                                           {"Jwt", M5_AUTH_JWT},
                                           {"JwtFederated", M5_AUTH_JWT_FEDERATED},
                                           {NULL, 0}};
static const struct m5_choice role_modes[] = {{"none", MQTT5_JWT_ROLES_NONE},
                                              {"mapped", MQTT5_JWT_ROLES_MAPPED},
                                              {"trusted", MQTT5_JWT_ROLES_TRUSTED},
                                              {"identity-only", MQTT5_JWT_ROLES_NONE},
                                              {"claim-binding", MQTT5_JWT_ROLES_MAPPED},
                                              {"trusted-roles", MQTT5_JWT_ROLES_TRUSTED},
                                              {"IdentityOnly", MQTT5_JWT_ROLES_NONE},
                                              {"ClaimBinding", MQTT5_JWT_ROLES_MAPPED},
                                              {"TrustedRoles", MQTT5_JWT_ROLES_TRUSTED},
                                              {NULL, 0}};
static const struct m5_choice matches[] = {{"equals", MQTT5_CLAIM_EQUALS},
                                           {"contains", MQTT5_CLAIM_CONTAINS},
                                           {"starts_with", MQTT5_CLAIM_STARTS_WITH},
                                           {"ends_with", MQTT5_CLAIM_ENDS_WITH},
                                           {"regex", MQTT5_CLAIM_REGEX},
                                           {"any", MQTT5_CLAIM_ANY},
                                           {NULL, 0}};
static const struct m5_choice algorithms[] = {{"HS256", 1}, {"RS256", 2}, {"ES256", 3},
                                              {"EdDSA", 4}, {"hs256", 1}, {"rs256", 2},
                                              {"es256", 3}, {"eddsa", 4}, {NULL, 0}};

/* ---- issuers of tokens ---- */

static const struct m5_key static_file_keys[] = {
    {.name = "algorithm",
     .type = M5_KEY_CHOICE,
     M5_AT(m5_config_issuer, algorithm),
     .choices = algorithms,
     .sample = "RS256",
     .help = "as algorithm of the issuer"},
    {.name = "path",
     .type = M5_KEY_PATH,
     M5_AT(m5_config_issuer, issuer.key_file),
     .sample = "issuer.pem",
     .help = "as key_file of the issuer"},
    {.name = NULL},
};
static const struct m5_section static_file = {.keys = static_file_keys,
                                              .size = sizeof(struct m5_config_issuer)};

static const struct m5_key jwks_keys[] = {
    {.name = "uri",
     .type = M5_KEY_TEXT,
     M5_AT(m5_config_issuer, issuer.jwks_uri),
     .check = m5_check_url,
     .sample = "https://id.example.com/keys",
     .help = "as jwks_uri of the issuer"},
    {.name = "fallback_key_file",
     .type = M5_KEY_PATH,
     M5_AT(m5_config_issuer, issuer.key_file),
     .sample = "issuer.pem",
     .help = "as key_file of the issuer"},
    {.name = "refresh_interval_secs",
     .type = M5_KEY_SECONDS,
     M5_AT(m5_config_issuer, issuer.jwks_refresh_s),
     .least = 1,
     .most = UINT32_MAX,
     .sample = "3600",
     .help = "as jwks_refresh of the issuer"},
    {.name = "cache_ttl_secs",
     .type = M5_KEY_SECONDS,
     M5_AT(m5_config_issuer, issuer.jwks_cache_s),
     .most = UINT32_MAX,
     .sample = "86400",
     .help = "as jwks_cache of the issuer"},
    {.name = NULL},
};
static const struct m5_section jwks = {.keys = jwks_keys, .size = sizeof(struct m5_config_issuer)};

static const struct m5_key key_source_keys[] = {
    {.name = "StaticFile", .type = M5_KEY_SECTION, .section = &static_file, .help = "a file"},
    {.name = "Jwks", .type = M5_KEY_SECTION, .section = &jwks, .help = "a URL"},
    {.name = NULL},
};
static const struct m5_section key_source = {.keys = key_source_keys,
                                             .size = sizeof(struct m5_config_issuer)};

static const struct m5_key role_mapping_keys[] = {
    {.name = "claim_path",
     .type = M5_KEY_TEXT,
     M5_AT(mqtt5_role_mapping, claim_path),
     .sample = "realm_access.roles",
     .help = "the claim, with a dot between levels"},
    {.name = "match",
     .type = M5_KEY_CHOICE,
     M5_AT(mqtt5_role_mapping, match),
     .choices = matches,
     .standard = "equals",
     .help = "how its value, or one of its values, is compared"},
    {.name = "value",
     .type = M5_KEY_TEXT,
     M5_AT(mqtt5_role_mapping, value),
     .sample = "device",
     .help = "with what"},
    {.name = "pattern",
     .type = M5_KEY_PATTERN,
     .sample = "{Equals: device}",
     .help = "match and value in one: {Equals: text}, {Contains: text}, {StartsWith: text}, "
             "{EndsWith: text}, {Regex: text} or Any"},
    {.name = "roles",
     .also = "assign_roles",
     .type = M5_KEY_TEXTS,
     M5_MANY(mqtt5_role_mapping, roles, role_count),
     .most = 64,
     .sample = "[sensors]",
     .help = "roles of the ACL file that the token then gives"},
    {.name = NULL},
};
static const struct m5_section role_mapping = {.keys = role_mapping_keys,
                                               .size = sizeof(struct mqtt5_role_mapping)};

#define ISSUER_KEYS                                                                             \
    {.name = "name",                                                                            \
     .type = M5_KEY_TEXT,                                                                       \
     M5_AT(m5_config_issuer, issuer.name),                                                      \
     .sample = "id",                                                                            \
     .help = "for the log; the issuer when not given"},                                         \
        {.name = "issuer",                                                                      \
         .type = M5_KEY_TEXT,                                                                   \
         M5_AT(m5_config_issuer, issuer.issuer),                                                \
         .flag = "jwt-issuer",                                                                  \
         .value = "TEXT",                                                                       \
         .sample = "https://id.example.com",                                                    \
         .help = "what the claim iss must be; any when not given"},                             \
        {.name = "audience",                                                                    \
         .type = M5_KEY_TEXT,                                                                   \
         M5_AT(m5_config_issuer, issuer.audience),                                              \
         .flag = "jwt-audience",                                                                \
         .value = "TEXT",                                                                       \
         .sample = "mqtt",                                                                      \
         .help = "what the claim aud must be or contain; any when not given"},                  \
        {.name = "algorithm",                                                                   \
         .type = M5_KEY_CHOICE,                                                                 \
         M5_AT(m5_config_issuer, algorithm),                                                    \
         .choices = algorithms,                                                                 \
         .flag = "jwt-algorithm",                                                               \
         .value = "HS256|RS256|ES256|EdDSA",                                                    \
         .sample = "RS256",                                                                     \
         .help = "how tokens are signed; what the key allows when not given"},                  \
        {.name = "key_file",                                                                    \
         .also = "secret_or_key_file",                                                          \
         .type = M5_KEY_PATH,                                                                   \
         M5_AT(m5_config_issuer, issuer.key_file),                                              \
         .flag = "jwt-key-file",                                                                \
         .value = "FILE",                                                                       \
         .sample = "issuer.pem",                                                                \
         .help = "a secret (HS256), a PEM public key or a JWKS"},                               \
        {.name = "fallback_key_file",                                                           \
         .type = M5_KEY_PATH,                                                                   \
         M5_AT(m5_config_issuer, issuer.key_file),                                              \
         .flag = "jwt-fallback-key",                                                            \
         .value = "FILE",                                                                       \
         .sample = "issuer.pem",                                                                \
         .help = "the same, for as long as jwks_uri gives nothing"},                            \
        {.name = "jwks_uri",                                                                    \
         .type = M5_KEY_TEXT,                                                                   \
         M5_AT(m5_config_issuer, issuer.jwks_uri),                                              \
         .check = m5_check_url,                                                                 \
         .flag = "jwt-jwks-uri",                                                                \
         .value = "URL",                                                                        \
         .sample = "https://id.example.com/keys",                                               \
         .help = "where the issuer publishes its keys; https only"},                            \
        {.name = "jwks_refresh",                                                                \
         .type = M5_KEY_SECONDS,                                                                \
         M5_AT(m5_config_issuer, issuer.jwks_refresh_s),                                        \
         .least = 1,                                                                            \
         .most = UINT32_MAX,                                                                    \
         .standard = "1h",                                                                      \
         .flag = "jwt-jwks-refresh",                                                            \
         .value = "TIME",                                                                       \
         .help = "how often they are fetched"},                                                 \
        {.name = "jwks_cache",                                                                  \
         .type = M5_KEY_SECONDS,                                                                \
         M5_AT(m5_config_issuer, issuer.jwks_cache_s),                                          \
         .most = UINT32_MAX,                                                                    \
         .standard = "1d",                                                                      \
         .help = "how long fetched keys serve while the issuer cannot be reached"},             \
        {.name = "clock_skew",                                                                  \
         .also = "clock_skew_secs",                                                             \
         .type = M5_KEY_SECONDS,                                                                \
         M5_AT(m5_config_issuer, issuer.clock_skew_s),                                          \
         .most = 86400,                                                                         \
         .standard = "1m",                                                                      \
         .flag = "jwt-clock-skew",                                                              \
         .value = "TIME",                                                                       \
         .help = "how far clocks may differ"},                                                  \
        {.name = "user_prefix",                                                                 \
         .also = "issuer_prefix",                                                               \
         .type = M5_KEY_TEXT,                                                                   \
         M5_AT(m5_config_issuer, issuer.user_prefix),                                           \
         .flag = "jwt-issuer-prefix",                                                           \
         .value = "TEXT",                                                                       \
         .sample = "id",                                                                        \
         .help = "the user name is this, a colon and the claim sub; sub alone when not given"}, \
        {.name = "auth_mode",                                                                   \
         .type = M5_KEY_CHOICE,                                                                 \
         M5_AT(m5_config_issuer, issuer.roles),                                                 \
         .choices = role_modes,                                                                 \
         .standard = "none",                                                                    \
         .flag = "jwt-auth-mode",                                                               \
         .value = "none|mapped|trusted",                                                        \
         .help = "where roles come from: the ACL file only (none, or identity-only), the "      \
                 "role_mappings (mapped, claim-binding), or the token itself (trusted, "        \
                 "trusted-roles)"},                                                             \
        {.name = "role_mappings",                                                               \
         .type = M5_KEY_LIST,                                                                   \
         M5_MANY(m5_config_issuer, issuer.role_mappings, issuer.role_mapping_count),            \
         .section = &role_mapping,                                                              \
         .most = 256,                                                                           \
         .help = "claims that give roles"},                                                     \
        {.name = "role_claim",                                                                  \
         .type = M5_KEY_TEXT,                                                                   \
         M5_AT(m5_config_issuer, role_claim),                                                   \
         .flag = "jwt-role-claim",                                                              \
         .value = "CLAIM",                                                                      \
         .sample = "department",                                                                \
         .help = "the claim that role_map is about"},                                           \
        {.name = "role_map",                                                                    \
         .type = M5_KEY_TEXTS,                                                                  \
         M5_TEXTS(m5_config_issuer, role_map),                                                  \
         .most = 256,                                                                           \
         .flag = "jwt-role-map",                                                                \
         .value = "VALUE:ROLE",                                                                 \
         .sample = "['lab:sensors']",                                                           \
         .help = "role_mappings in short: a value of role_claim gives a role"},                 \
        {.name = "role_claims",                                                                 \
         .also = "trusted_role_claims",                                                         \
         .type = M5_KEY_TEXTS,                                                                  \
         M5_MANY(m5_config_issuer, issuer.role_claims, issuer.role_claim_count),                \
         .most = 64,                                                                            \
         .flag = "jwt-trusted-role-claim",                                                      \
         .value = "CLAIM",                                                                      \
         .sample = "[roles, groups, realm_access.roles]",                                       \
         .help = "for auth_mode trusted: claims that name roles (roles, groups and "            \
                 "realm_access.roles when not given)"},                                         \
        {.name = "default_roles",                                                               \
         .type = M5_KEY_TEXTS,                                                                  \
         M5_MANY(m5_config_issuer, issuer.default_roles, issuer.default_role_count),            \
         .most = 64,                                                                            \
         .flag = "jwt-default-roles",                                                           \
         .value = "ROLE",                                                                       \
         .sample = "[guest]",                                                                   \
         .help = "roles that every token of this issuer gives"},                                \
        {.name = "enabled",                                                                     \
         .type = M5_KEY_BOOL,                                                                   \
         M5_AT(m5_config_issuer, enabled),                                                      \
         .standard = "true",                                                                    \
         .help = "false: as if it were not there"},                                             \
        {.name = "key_source",                                                                  \
         .type = M5_KEY_SECTION,                                                                \
         .section = &key_source,                                                                \
         .help = "key_file or jwks_uri in another form"},                                       \
        {.name = "session_scoped_roles",                                                        \
         .type = M5_KEY_ABSENT,                                                                 \
         .is_harmless = true,                                                                   \
         .help = "roles of a token always count for its connection only"},                      \
    {                                                                                           \
        .name = "role_merge_mode", .type = M5_KEY_ABSENT, .is_harmless = true,                  \
        .help = "roles of the token and of the ACL file are always taken together"              \
    }

static const struct m5_key issuer_keys[] = {ISSUER_KEYS, {.name = NULL}};
static const struct m5_section issuer = {
    .keys = issuer_keys, .size = sizeof(struct m5_config_issuer), .has_place = true};

static const struct m5_key federated_keys[] = {
    {.name = "issuers",
     .type = M5_KEY_LIST,
     M5_MANY(m5_config_auth, issuers, issuer_count),
     .section = &issuer,
     .most = 64,
     .help = "issuers of tokens; the claim iss picks one"},
    {.name = "clock_skew",
     .also = "clock_skew_secs",
     .type = M5_KEY_ABSENT,
     .is_harmless = true,
     .help = "each issuer has its own clock_skew"},
    {.name = NULL},
};
static const struct m5_section federated = {.keys = federated_keys,
                                            .size = sizeof(struct m5_config_auth)};

/* ---- HTTP ---- */

static const struct m5_key http_keys[] = {
    {.name = "uri",
     .type = M5_KEY_TEXT,
     M5_AT(m5_config_auth, options.http.uri),
     .check = m5_check_url,
     .flag = "auth-http-uri",
     .value = "URL",
     .sample = "https://auth.example.com/mqtt",
     .help = "a service that is asked with a POST of username, password and clientid: 200 = right, "
             "4xx = wrong"},
    {.name = "ca_file",
     .type = M5_KEY_PATH,
     M5_AT(m5_config_auth, options.http.ca_file),
     .flag = "auth-http-ca-cert",
     .value = "FILE",
     .sample = "auth-ca.pem",
     .help = "who vouches for it; the system's certificates when not given"},
    {.name = "timeout",
     .type = M5_KEY_MILLISECONDS,
     M5_AT(m5_config_auth, options.http.timeout_ms),
     .least = 1,
     .most = 60000,
     .standard = "5s",
     .flag = "auth-http-timeout",
     .value = "TIME",
     .help = "how long an answer may take"},
    {.name = "cache",
     .type = M5_KEY_SECONDS,
     M5_AT(m5_config_auth, options.http.cache_s),
     .most = 86400,
     .standard = "0",
     .flag = "auth-http-cache",
     .value = "TIME",
     .help = "how long a success counts; 0 = it is asked each time"},
    {.name = NULL},
};
static const struct m5_section http = {.keys = http_keys, .size = sizeof(struct m5_config_auth)};

/* ---- lock-outs ---- */

#define LOCKOUT_KEYS(member, count, within, locked)                                           \
    {.name = "failures",                                                                      \
     .type = M5_KEY_INTEGER,                                                                  \
     M5_AT(m5_config_auth, options.member.failures),                                          \
     .least = 1,                                                                              \
     .most = UINT32_MAX,                                                                      \
     .is_endless = true,                                                                      \
     .standard = count,                                                                       \
     .help = "failed logins that lock; never = as many as they like"},                        \
        {.name = "window",                                                                    \
         .type = M5_KEY_SECONDS,                                                              \
         M5_AT(m5_config_auth, options.member.window_s),                                      \
         .least = 1,                                                                          \
         .most = UINT32_MAX,                                                                  \
         .standard = within,                                                                  \
         .help = "within this time, counted from the first"},                                 \
    {                                                                                         \
        .name = "lock", .type = M5_KEY_SECONDS, M5_AT(m5_config_auth, options.member.lock_s), \
        .least = 1, .most = UINT32_MAX, .standard = locked,                                   \
        .help = "how long, counted from the last"                                             \
    }

static const struct m5_key address_lockout_keys[] = {
    LOCKOUT_KEYS(address_lockout, "20", "10m", "15m"), {.name = NULL}};
static const struct m5_section address_lockout = {.keys = address_lockout_keys,
                                                  .size = sizeof(struct m5_config_auth)};
static const struct m5_key user_lockout_keys[] = {LOCKOUT_KEYS(user_lockout, "50", "10m", "1m"),
                                                  {.name = NULL}};
static const struct m5_section user_lockout = {.keys = user_lockout_keys,
                                               .size = sizeof(struct m5_config_auth)};

static const struct m5_key rate_limit_keys[] = {
    {.name = "enabled",
     .type = M5_KEY_BOOL,
     M5_AT(m5_config_rate_limit, enabled),
     .standard = "true",
     .help = "false: nobody is locked out"},
    {.name = "max_attempts",
     .type = M5_KEY_INTEGER,
     M5_AT(m5_config_rate_limit, lockout.failures),
     .least = 1,
     .most = UINT32_MAX,
     .standard = "5",
     .help = "as failures of both lock-outs"},
    {.name = "window_secs",
     .type = M5_KEY_SECONDS,
     M5_AT(m5_config_rate_limit, lockout.window_s),
     .least = 1,
     .most = UINT32_MAX,
     .standard = "1m",
     .help = "as window of both lock-outs"},
    {.name = "lockout_secs",
     .type = M5_KEY_SECONDS,
     M5_AT(m5_config_rate_limit, lockout.lock_s),
     .least = 1,
     .most = UINT32_MAX,
     .standard = "5m",
     .help = "as lock of both lock-outs"},
    {.name = NULL},
};
static const struct m5_section rate_limit = {.keys = rate_limit_keys,
                                             .size = sizeof(struct m5_config_rate_limit)};

/* ---- auth and auth_config ---- */

#define AUTH_KEYS                                                                                 \
    {.name = "allow_anonymous",                                                                   \
     .type = M5_KEY_SWITCH,                                                                       \
     M5_AT(m5_config_auth, allow_anonymous),                                                      \
     .flag = "allow-anonymous",                                                                   \
     .sample = "true",                                                                            \
     .help = "serve clients without user name; when not given: if there is no way to log in and " \
             "only this machine is listened on"},                                                 \
        {.name = "auth_method",                                                                   \
         .also = "method",                                                                        \
         .type = M5_KEY_CHOICE,                                                                   \
         M5_AT(m5_config_auth, method),                                                           \
         .choices = methods,                                                                      \
         .flag = "auth-method",                                                                   \
         .value = "none|password|scram|jwt|jwt-federated",                                        \
         .sample = "password",                                                                    \
         .help = "makes sure that what this method needs is configured; every method that is "    \
                 "configured can be used, with or without it"},                                   \
        {.name = "password_file",                                                                 \
         .type = M5_KEY_PATH,                                                                     \
         M5_AT(m5_config_auth, options.password_file),                                            \
         .flag = "auth-password-file",                                                            \
         .value = "FILE",                                                                         \
         .sample = "passwords.txt",                                                               \
         .help = "users and their passwords (mqttv5 passwd, or Mosquitto's)"},                    \
        {.name = "scram_file",                                                                    \
         .type = M5_KEY_PATH,                                                                     \
         M5_AT(m5_config_auth, options.scram_file),                                               \
         .flag = "scram-file",                                                                    \
         .value = "FILE",                                                                         \
         .sample = "scram.txt",                                                                   \
         .help = "users for SCRAM-SHA-256 and -512 (mqttv5 scram)"},                              \
        {.name = "jwt_config",                                                                    \
         .also = "jwt",                                                                           \
         .type = M5_KEY_SECTION,                                                                  \
         .flag_group = "JSON Web Tokens",                                                         \
         M5_INSIDE(m5_config_auth, jwt),                                                          \
         .is_pointer = true,                                                                      \
         .has_flags = true,                                                                       \
         .section = &issuer,                                                                      \
         .help = "one issuer of JSON Web Tokens"},                                                \
        {.name = "federated_jwt_config",                                                          \
         .type = M5_KEY_SECTION,                                                                  \
         .section = &federated,                                                                   \
         .help = "several issuers of JSON Web Tokens"},                                           \
        {.name = "http",                                                                          \
         .type = M5_KEY_SECTION,                                                                  \
         .flag_group = "Logins by HTTP",                                                          \
         .has_flags = true,                                                                       \
         .section = &http,                                                                        \
         .help = "a service that knows the users"},                                               \
        {.name = "address_lockout",                                                               \
         .type = M5_KEY_SECTION,                                                                  \
         .section = &address_lockout,                                                             \
         .help = "an address whose logins fail too often has to wait"},                           \
        {.name = "user_lockout",                                                                  \
         .type = M5_KEY_SECTION,                                                                  \
         .section = &user_lockout,                                                                \
         .help = "so does a user; shorter, since others could lock him out on purpose"},          \
        {.name = "rate_limit",                                                                    \
         .type = M5_KEY_SECTION,                                                                  \
         M5_INSIDE(m5_config_auth, rate_limit),                                                   \
         .is_pointer = true,                                                                      \
         .section = &rate_limit,                                                                  \
         .help = "both lock-outs in one"},                                                        \
        {.name = "plain_without_tls",                                                             \
         .type = M5_KEY_BOOL,                                                                     \
         M5_AT(m5_config_auth, options.plain_without_tls),                                        \
         .standard = "false",                                                                     \
         .help = "allow AUTH with PLAIN also where the transport is not encrypted"},              \
    {                                                                                             \
        .name = "auth_data", .type = M5_KEY_ABSENT, .is_harmless = true,                          \
        .help = "a server has none to send: leave it out"                                         \
    }

static const struct m5_key listener_auth_keys[] = {AUTH_KEYS, {.name = NULL}};
const struct m5_section m5_section_listener_auth = {
    .keys = listener_auth_keys, .size = sizeof(struct m5_config_auth), .has_place = true};

static const struct m5_key auth_config_keys[] = {
    {.name = "acl_file",
     .type = M5_KEY_PATH,
     M5_AT(m5_config_auth, acl_file),
     .flag = "acl-file",
     .value = "FILE",
     .sample = "acl.txt",
     .help = "who may publish and subscribe to what (mqttv5 acl, or Mosquitto's)"},
    {.name = "dynamic_security_file",
     .type = M5_KEY_PATH,
     M5_AT(m5_config_auth, dynamic_security_file),
     .is_output = true,
     .flag = "dynamic-security-file",
     .value = "FILE",
     .sample = "dynamic-security.json",
     .needs_restart = true,
     .help =
         "users, groups and roles that are changed by messages to $CONTROL/dynamic-security/v1, "
         "in the file of Mosquitto's plugin; the broker writes it"},
    AUTH_KEYS,
    {.name = NULL},
};
const struct m5_section m5_section_auth_config = {
    .keys = auth_config_keys, .size = sizeof(struct m5_config_auth), .has_place = true};
