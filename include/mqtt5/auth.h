/** How clients prove who they are: the methods of a broker, or of one of its listeners.
 *  SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_AUTH_H
#define MQTT5_AUTH_H

#include <mqtt5/bytes.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** How a claim's value is compared. */
enum mqtt5_claim_match {
    MQTT5_CLAIM_EQUALS,
    MQTT5_CLAIM_CONTAINS,
    MQTT5_CLAIM_STARTS_WITH,
    MQTT5_CLAIM_ENDS_WITH,
    MQTT5_CLAIM_REGEX, /**< POSIX extended, of the whole value */
    MQTT5_CLAIM_ANY    /**< the claim exists */
};

/** A claim of a token that gives roles. */
struct mqtt5_role_mapping {
    const char *claim_path; /**< "realm_access.roles" */
    enum mqtt5_claim_match match;
    const char *value; /**< what it is compared with; NULL for MQTT5_CLAIM_ANY */
    const char *const *roles;
    size_t role_count;
};

/** Where a token's roles come from. */
enum mqtt5_jwt_roles {
    MQTT5_JWT_ROLES_NONE,   /**< the token tells who it is; roles are those of the ACL file */
    MQTT5_JWT_ROLES_MAPPED, /**< role_mappings give them */
    MQTT5_JWT_ROLES_TRUSTED /**< the claims `role_claims` name them */
};

/** One issuer of JSON Web Tokens. */
struct mqtt5_jwt_issuer {
    const char *name;      /**< for logs; NULL = issuer */
    const char *issuer;    /**< the claim "iss" must be this; NULL = any */
    const char *audience;  /**< must be, or be among, the claim "aud"; NULL = any */
    const char *algorithm; /**< "HS256", "RS256", "ES256", "EdDSA"; NULL = as the key allows */
    const char *key_file;  /**< a secret, a PEM public key or a JWKS; the fallback with jwks_uri */
    const char *jwks_uri;  /**< https://...; NULL = none */
    uint32_t jwks_refresh_s; /**< 3,600 */
    uint32_t jwks_cache_s;   /**< 86,400: keys serve so long while the issuer cannot be reached */
    uint32_t clock_skew_s;   /**< 60 */
    const char *user_prefix; /**< user name is prefix:sub; NULL = sub alone */
    enum mqtt5_jwt_roles roles; /**< MQTT5_JWT_ROLES_NONE */
    const struct mqtt5_role_mapping *role_mappings;
    size_t role_mapping_count;
    const char *const *role_claims; /**< NULL: roles, groups, realm_access.roles */
    size_t role_claim_count;
    const char *const *default_roles; /**< of every token of this issuer, unless NONE */
    size_t default_role_count;
};

/** A service that is asked over HTTP: POST of username, password, clientid (as form fields) to
 *  uri; 200 = right, 4xx = wrong, anything else = ask again later (CONNACK 0x88). */
struct mqtt5_http_auth {
    const char *uri;     /**< NULL = not used */
    const char *ca_file; /**< NULL = the system's */
    uint32_t timeout_ms; /**< 0 = 5,000 */
    uint32_t cache_s;    /**< a success counts so long; 0 = asked each time */
};

/** After so many failed logins within a time no more are looked at for a while (CONNACK 0x9F). */
struct mqtt5_lockout {
    uint32_t failures; /**< 0 = the default; UINT32_MAX = never lock */
    uint32_t window_s; /**< counted from the first failure; 0 = the default */
    uint32_t lock_s;   /**< from the last one; 0 = the default */
};

/** Methods are asked in this order; the first that knows the user, or is for what CONNECT carries,
 *  decides: certificate identity, enhanced authentication, token, password files, HTTP. All strings
 *  are copied by mqtt5_broker_new(). Zero-initialise it: nobody gets in, unless allow_anonymous. A
 *  client that shows a name which no method checks counts as anonymous: the name is worth nothing.
 */
struct mqtt5_auth_options {
    bool allow_anonymous;      /**< clients without user name and method may connect */
    const char *password_file; /**< NULL = none; docs/security.md has the formats */
    const char *scram_file;    /**< for AUTH with SCRAM-SHA-256 and -512; NULL = none */
    const struct mqtt5_jwt_issuer *jwt_issuers; /**< tokens: as password, or AUTH with "JWT" */
    size_t jwt_issuer_count;
    struct mqtt5_http_auth http;
    bool plain_without_tls; /**< false: AUTH with "PLAIN" only where the transport is encrypted */
    struct mqtt5_lockout address_lockout; /**< of one address: 20 in 600 s lock for 900 s */
    struct mqtt5_lockout user_lockout;    /**< for one user: 50 in 600 s lock for 60 s */
};

#endif
