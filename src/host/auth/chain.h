/* The ways in at one listener, or at all that have none of their own: enhanced authentication,
 * tokens, password files, a service that is asked over HTTP. The first that is for what a client
 * shows, or knows its user, decides.
 *
 * Any thread may ask; what takes long is done on threads of the chain, which call back.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_CHAIN_H
#define M5_HOST_AUTH_CHAIN_H

#include "broker/access.h"
#include "host/auth/issuer.h"
#include "host/auth/scram.h"
#include "host/auth/verifier.h"

#include <mqtt5/auth.h>

struct m5_chain;
struct m5_dynsec;

/* One client that proves who it is, from its CONNECT or its AUTH to the verdict. Zero-initialise
 * it; give it back by m5_attempt_fini(). */
struct m5_attempt {
    /* what has been found out */
    bool has_data, named;
    struct m5_scram_message data; /* for the client */
    struct m5_token_user user;    /* if `named` */
    /* between two steps of an exchange */
    struct m5_chain *chain;        /* a reference */
    struct m5_dynsec *dynsec;      /* that checks its password; NULL: the chain does */
    struct m5_scram_server *scram; /* NULL: none has begun */
    uint64_t begun_ms;
};

void m5_attempt_fini(struct m5_attempt *attempt);

/* Reads the files that @p options name and starts threads as they need. One reference. NULL with
 * a sentence in @p error. */
struct m5_chain *m5_chain_new(const struct mqtt5_allocator *allocator,
                              const struct mqtt5_auth_options *options,
                              const struct m5_verifier_config *verifier,
                              const struct m5_issuer_report *report, char *error,
                              size_t error_size);
struct m5_chain *m5_chain_hold(struct m5_chain *chain);
void m5_chain_release(struct m5_chain *chain); /* the last one ends it; accepts NULL */

bool m5_chain_is_last(const struct m5_chain *chain); /* the caller's reference is the only one */

/* Ends its threads, whoever still holds it: after that `done` is not called any more. Nobody asks
 * it any more. */
void m5_chain_stop(struct m5_chain *chain);

const struct mqtt5_auth_options *m5_chain_options(const struct m5_chain *chain);

/* Reads the files again, for m5_chain_adopt() or m5_chain_files_free(). NULL with a sentence. */
struct m5_chain_files;
struct m5_chain_files *m5_chain_read(const struct m5_chain *chain, char *error, size_t error_size);
bool m5_chain_adopt(struct m5_chain *chain, struct m5_chain_files *files); /* false: no memory */
void m5_chain_files_free(struct m5_chain_files *files);                    /* accepts NULL */

/* For struct m5_access: PENDING when there is something to check. */
enum m5_access_answer m5_chain_admits(const struct m5_chain *chain,
                                      const struct m5_credentials *shown,
                                      enum mqtt5_reason_code *reason);

/* Checks what a client shows. PENDING: @p login's `done` will be called, and @p attempt says who it
 * would be. CONTINUE: the client is to be sent `data`; @p attempt is needed for its answer. Of
 * @p login user and password are set here. */
enum m5_login_answer m5_chain_login(struct m5_chain *chain, struct m5_attempt *attempt,
                                    const struct m5_credentials *shown, struct m5_login *login);

bool m5_chain_cancel(struct m5_chain *chain, const void *ctx, uint64_t token);
struct m5_verifier_counts m5_chain_counts(struct m5_chain *chain); /* zeros without passwords */

#endif
