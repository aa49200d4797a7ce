/* TLS 1.2 and 1.3 as a transport (kind "tls"), by GnuTLS.
 *
 * What a listener or a client presents, trusts and insists on is made once, from its options, into
 * a config, which never changes. To reload, make a new one and put it in the old one's place:
 * connections keep the config that they began with, and the last of them gives it back.
 *
 * Calls of one transport come from one thread at a time. Configs may be shared by threads.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_TRANSPORT_TLS_H
#define M5_TRANSPORT_TLS_H

#include "transport/transport.h"

#include <mqtt5/tls.h>

/* ---- configs ---- */

/* What speaks inside of TLS; ALPN says so to the peer. A server of MQTT knows "mqtt", one of HTTP
 * "http/1.1"; clients without ALPN are taken, those that only offer other names get the alert
 * no_application_protocol. */
enum m5_tls_protocol { M5_TLS_MQTT, M5_TLS_HTTP };

/* Why a config cannot be made: "FILE: what is wrong; what to do", with "FILE:LINE:" where there
 * are lines. */
struct m5_tls_error {
    char text[400];
};

struct m5_tls_config;

/* Reads all files. NULL with a sentence in @p error; the options are not needed any more. */
struct m5_tls_config *m5_tls_server_config_new(const struct mqtt5_tls_server_options *options,
                                               enum m5_tls_protocol protocol,
                                               struct m5_tls_error *error);
struct m5_tls_config *m5_tls_client_config_new(const struct mqtt5_tls_client_options *options,
                                               struct m5_tls_error *error);

/* One more holder, who calls m5_tls_config_unref() too. Gives @p config. */
struct m5_tls_config *m5_tls_config_ref(struct m5_tls_config *config);
void m5_tls_config_unref(struct m5_tls_config *config); /* accepts NULL */

/* When the first of our own certificates expires, in seconds since 1970; 0 without any. */
uint64_t m5_tls_config_expires_s(const struct m5_tls_config *config);

/* ---- connections ---- */

/* The server's side of a new connection; holds @p config. NULL without memory. */
struct m5_transport *m5_tls_server_new(struct m5_tls_config *config,
                                       const struct mqtt5_allocator *allocator);

/* Whom a client connects to. */
struct m5_tls_target {
    const char *host; /* a name or a numeric address; borrowed for the call only */
    uint16_t port;
    enum m5_tls_protocol protocol;
};

/* What a client keeps of a server from one connection to the next, so that a handshake is short.
 * Zero-initialise it; one for each server and config, that outlives the connections made with it;
 * used by one thread at a time. */
struct m5_tls_resumption {
    uint8_t *data; /* secret */
    size_t size;
};

/* Forgets and wipes it. */
void m5_tls_resumption_fini(struct m5_tls_resumption *resumption);

/* The client's side of a new connection; holds @p config. @p resumption may be NULL. NULL without
 * memory. */
struct m5_transport *m5_tls_client_new(struct m5_tls_config *config,
                                       const struct m5_tls_target *target,
                                       struct m5_tls_resumption *resumption,
                                       const struct mqtt5_allocator *allocator);

/* ---- who is there ---- */

#define M5_TLS_NAME_SIZE 256 /* bytes of a name, with its zero */
#define M5_TLS_NAMES_MAX 8u  /* of a certificate's alternative names that are told */

/* All strings are UTF-8 without control characters; "" where there is nothing. A name that is none
 * such, or too long, is treated as if it were not there. */
struct m5_tls_peer {
    const char *version;      /* "TLS1.3" */
    const char *cipher_suite; /* "TLS_AES_128_GCM_SHA256" */
    bool resumed;
    char alpn[32];
    char server_name[M5_TLS_NAME_SIZE];  /* SNI */
    char psk_identity[M5_TLS_NAME_SIZE]; /* of the pre-shared key that was used */

    bool certified; /* the peer has a certificate and it was verified */
    char common_name[M5_TLS_NAME_SIZE];
    char names[M5_TLS_NAMES_MAX][M5_TLS_NAME_SIZE]; /* DNS, e-mail, URI; in its order */
    size_t name_count;
    char fingerprint[65]; /* SHA-256 of the certificate, lower-case hex */

    /* Server: the user name that certificate or pre-shared key prove, "" when none has to: no
     * certificate was asked for or (optional) given, or the options say IDENTITY_NONE. A
     * certificate that does not give the identity asked for has already failed the handshake, so
     * that "" never stands for that. */
    char identity[M5_TLS_NAME_SIZE];
};

/* What is known once `open` is set. @p transport is one of the two kinds above. False while it is
 * not open, or without memory: then nobody has been identified. */
bool m5_tls_peer(const struct m5_transport *transport, struct m5_tls_peer *out);

#endif
