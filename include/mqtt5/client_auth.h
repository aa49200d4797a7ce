/** Ready-made enhanced authentication for a client: SCRAM, PLAIN, tokens.
 *  SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_CLIENT_AUTH_H
#define MQTT5_CLIENT_AUTH_H

#include <mqtt5/client.h>

/** A method of section 4.12, by the name that the server knows. */
enum mqtt5_client_auth_method {
    MQTT5_CLIENT_AUTH_SCRAM_SHA_256, /**< "SCRAM-SHA-256" (RFC 5802, 7677) */
    MQTT5_CLIENT_AUTH_SCRAM_SHA_512, /**< "SCRAM-SHA-512" */
    MQTT5_CLIENT_AUTH_PLAIN,         /**< "PLAIN" (RFC 4616): over TLS only */
    MQTT5_CLIENT_AUTH_JWT            /**< "JWT": a JSON Web Token */
};

/** What a client proves itself with. One client each. */
struct mqtt5_client_auth;

#ifdef __cplusplus
extern "C" {
#endif

/** Makes one. @p username is for SCRAM and PLAIN (UTF-8; NULL for JWT), @p secret the password or
 *  the token; both are copied. SCRAM derives keys when the server asks, on the client's thread: a
 *  time that grows with the server's iterations, of which at least 4,096 and at most 2,000,000 are
 *  accepted. It verifies that the server knows the user's keys, and ends the connection with
 *  MQTT5_ERR_NOT_AUTHORIZED if it does not.
 *  @return MQTT5_OK, MQTT5_ERR_CONFIG (no user name or secret, or one that is too long for the
 *  method), MQTT5_ERR_NOMEM. */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_auth_new(
    enum mqtt5_client_auth_method method, const char *username, struct mqtt5_bytes secret,
    struct mqtt5_client_auth **out);

/** Sets the method and the handler in @p config, before the client is made. @p auth must outlive
 * the client. */
MQTT5_API void mqtt5_client_auth_use(struct mqtt5_client_auth *auth,
                                     struct mqtt5_client_options *config);

/** Another password or token from the next exchange on: call it before the token expires, then
 *  mqtt5_client_reauthenticate_async(). Any thread. @return as mqtt5_client_auth_new(). */
MQTT5_API MQTT5_NODISCARD enum mqtt5_error mqtt5_client_auth_set_secret(
    struct mqtt5_client_auth *auth, struct mqtt5_bytes secret);

/** Wipes and frees; the client is gone. Accepts NULL. */
MQTT5_API void mqtt5_client_auth_free(struct mqtt5_client_auth *auth);

#ifdef __cplusplus
}
#endif
#endif
