/** What a TLS server or client presents, trusts and insists on.
 *  SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef MQTT5_TLS_H
#define MQTT5_TLS_H

#include <mqtt5/api.h>
#include <mqtt5/bytes.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A certificate with its chain, and its private key: files or memory, PEM or DER. */
struct mqtt5_tls_credential {
    const char *certificate_file;   /**< the certificate first, then its chain */
    const char *key_file;           /**< NULL: in certificate_file too */
    struct mqtt5_bytes certificate; /**< instead of certificate_file */
    struct mqtt5_bytes key;         /**< instead of key_file */
    const char *key_password;       /**< of an encrypted key; NULL = none */
    const char *ocsp_file;          /**< server: the OCSP response to staple, DER; NULL = none */
};

enum mqtt5_tls_version { MQTT5_TLS_1_2, MQTT5_TLS_1_3 };

/** What a server asks of its clients. */
enum mqtt5_tls_client_certificate {
    MQTT5_TLS_CLIENT_CERTIFICATE_NONE,
    MQTT5_TLS_CLIENT_CERTIFICATE_OPTIONAL, /**< a wrong one is refused, none is accepted */
    MQTT5_TLS_CLIENT_CERTIFICATE_REQUIRED
};

/** What of a verified client certificate is the user name: 1 to 255 bytes of UTF-8
 *  without control characters. A certificate that does not give one is refused. With another than
 *  NONE, the identity of a pre-shared key is the user name, too. */
enum mqtt5_tls_identity {
    MQTT5_TLS_IDENTITY_NONE,       /**< nothing: the client authenticates in MQTT */
    MQTT5_TLS_IDENTITY_CN,         /**< the common name of its subject */
    MQTT5_TLS_IDENTITY_SAN,        /**< the first DNS name, e-mail address or URI it is for */
    MQTT5_TLS_IDENTITY_FINGERPRINT /**< what identity_file gives for its SHA-256 */
};

/** Call mqtt5_tls_server_options_init() first. Everything is borrowed until the broker is made. */
struct mqtt5_tls_server_options {
    /** At least one, unless there is psk_file; of several, the server name that the client asks for
     *  (SNI) picks the one with that name, else the first. */
    const struct mqtt5_tls_credential *credentials;
    size_t credential_count;
    const char *ca_file;  /**< who vouches for clients: a file or a folder; NULL = nobody */
    const char *crl_file; /**< revoked client certificates, PEM or DER; NULL = none; it is an error
                               when its next update is past */
    enum mqtt5_tls_client_certificate client_certificate; /**< NONE */
    enum mqtt5_tls_identity identity;                     /**< NONE */
    const char *identity_file; /**< lines "fingerprint:username"; for IDENTITY_FINGERPRINT */
    const char *psk_file;      /**< lines "identity:key in hex"; NULL = no pre-shared keys */
    enum mqtt5_tls_version version_min; /**< MQTT5_TLS_1_2 */
    const char *priorities;             /**< of GnuTLS, instead of ours; NULL = ours */
    bool session_tickets;               /**< true: clients that return need no full handshake */
    const char *keylog_file;            /**< NULL; else secrets are written there, for debugging */
};

/** Zeros, with session tickets. */
MQTT5_API void mqtt5_tls_server_options_init(struct mqtt5_tls_server_options *options);

/** Call mqtt5_tls_client_options_init() first. Everything is borrowed until the client is made. */
struct mqtt5_tls_client_options {
    const char *ca_file;                    /**< who may vouch for the server: a file or a folder */
    struct mqtt5_bytes ca;                  /**< or from memory; neither = those of the system */
    const char *crl_file;                   /**< revoked server certificates; NULL = none */
    struct mqtt5_tls_credential credential; /**< ours; empty = none */
    const char *server_name;                /**< for SNI and verification; NULL = the URL's host */
    const char *alpn;         /**< "mqtt", "x-amzn-mqtt-ca"; "" = none; NULL = by the URL: mqtt over
                                   TLS asks for "mqtt", at endpoints of AWS IoT on port 443 for
                                   "x-amzn-mqtt-ca" */
    const char *psk_identity; /**< NULL = no pre-shared key */
    const char *psk_key;      /**< in hex */
    enum mqtt5_tls_version version_min; /**< MQTT5_TLS_1_2 */
    const char *priorities;             /**< of GnuTLS, instead of ours; NULL = ours */
    const char *keylog_file;            /**< NULL; else secrets are written there, for debugging */
    bool insecure;                      /**< true: the server may be anybody */
};

/** Zeros: the server is verified, by whom the system trusts. */
MQTT5_API void mqtt5_tls_client_options_init(struct mqtt5_tls_client_options *options);

#ifdef __cplusplus
}
#endif
#endif
