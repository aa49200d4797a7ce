/* A client and a server of TLS that talk through two buffers, in pieces of any size.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_TLS_RIG_H
#define TEST_TLS_RIG_H

#include "support/certificate.h"
#include "transport/tls/tls.h"

#define TLS_ALL SIZE_MAX /* as a size of pieces: all that there is */

struct tls_side {
    struct m5_transport *transport; /* NULL: none, what comes is kept in `raw` */
    struct m5_outbox out;
    struct m5_outbox plain; /* what it has read */
    struct m5_outbox raw;
    ptrdiff_t last;   /* of m5_transport_read() */
    size_t read_size; /* plain bytes a call asks for */
};

struct tls_rig {
    struct tls_side client, server;
};

/* malloc() and free() as a table. */
extern const struct mqtt5_allocator tls_rig_allocator;

/* Takes both transports; they may be NULL. */
void tls_rig_init(struct tls_rig *rig, struct m5_transport *client, struct m5_transport *server);
void tls_rig_fini(struct tls_rig *rig);

/* Reads @p bytes as they come from the wire, until the transport wants more or has ended. */
void tls_side_feed(struct tls_side *side, struct mqtt5_bytes bytes);

/* Begins (the client speaks first), and carries what is in the outboxes to and fro in pieces of at
 * most @p piece bytes, until there is no more. */
void tls_rig_run(struct tls_rig *rig, size_t piece);

/* Both have finished their handshake and nobody has failed. */
bool tls_rig_is_open(const struct tls_rig *rig);

/* The sentence, or "" without. */
const char *tls_side_failure(const struct tls_side *side);

/* Certificates and options that fit each other, for hosts named broker.example and 127.0.0.1;
 * change the options before making configs of them. */
struct tls_pki {
    struct test_folder folder;
    struct test_certificate root, intermediate, server, client;
    gnutls_datum_t server_chain;
    const char *root_file;
    struct mqtt5_tls_credential server_credential, client_credential;
};

void tls_pki_make(struct tls_pki *pki);
void tls_pki_free(struct tls_pki *pki);

/* What `server` is, and nothing is asked of clients. */
struct mqtt5_tls_server_options tls_pki_server(const struct tls_pki *pki);

/* `root` is trusted. */
struct mqtt5_tls_client_options tls_pki_client(const struct tls_pki *pki);

/* A rig of these options; configs are made for it alone. The client connects to @p host. */
void tls_rig_make(struct tls_rig *rig, const struct mqtt5_tls_client_options *client,
                  const struct mqtt5_tls_server_options *server, const char *host);

/* That must succeed. */
struct m5_tls_config *tls_client_config(const struct mqtt5_tls_client_options *options);
struct m5_tls_config *tls_server_config(const struct mqtt5_tls_server_options *options);

#endif
