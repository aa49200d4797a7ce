/* Who may connect and what they may do: the ways in of each listener (chain.h), the access control
 * list, the list of banned networks. What the engine asks (struct m5_access) and what the host does
 * around it.
 *
 * How to use it: make one, give the engine what m5_policy_bind() fills. When a listener accepts,
 * ask m5_policy_bans(). At the end of a turn, for each connection of m5_shard_next_check(), call
 * m5_policy_login(); when it is pending, its callback (on another thread) says what to give to
 * m5_conn_verified(). On SIGHUP call m5_policy_reload() on any thread.
 *
 * A name that nobody has proved is worth nothing: for the list such a client counts as anonymous,
 * whatever it calls itself.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_POLICY_H
#define M5_HOST_AUTH_POLICY_H

#include "broker/access.h"
#include "broker/engine.h"
#include "host/acl/acl.h"
#include "host/auth/chain.h"

/* The ways in of one listener. */
struct m5_policy_listener {
    uint32_t slot; /* the number that struct m5_conn_origin gives */
    const struct mqtt5_auth_options *auth;
};

/* Everything is copied. */
struct m5_policy_options {
    const struct mqtt5_auth_options *auth; /* of all listeners that are not below; NULL: none */
    const struct m5_policy_listener *listeners; /* that have their own */
    size_t listener_count;
    const char *acl_file; /* NULL: everybody who is connected may do everything */
    const char *ban_file; /* NULL: no network is banned */
    enum m5_acl_format acl_format;
    struct m5_dynsec *dynsec; /* asked before the files; NULL: none. Borrowed, from the start on */
    struct m5_verifier_config verifier; /* counts at the start only */
    struct m5_issuer_report report;     /* counts at the start only */
};

/* No files, nobody anonymous, m5_verifier_defaults. */
void m5_policy_options_init(struct m5_policy_options *options);

#define M5_POLICY_ERROR_SIZE 512 /* of a sentence with file, line and column */

/* Whether that sentence says that there was no memory. */
bool m5_policy_no_memory(const char error[M5_POLICY_ERROR_SIZE]);

struct m5_policy;

/* Reads the files and starts threads as they need. NULL with a sentence in @p error. @p allocator
 * is borrowed, and used by several threads. */
struct m5_policy *m5_policy_new(const struct mqtt5_allocator *allocator,
                                const struct m5_policy_options *options,
                                char error[M5_POLICY_ERROR_SIZE]);

/* No thread may use the policy or its m5_access any more; logins that wait are answered
 * M5_LOGIN_FAILED. Accepts NULL. */
void m5_policy_free(struct m5_policy *policy);

/* Reads the files again. False with a sentence when one of them is wrong: all stay as they were.
 * What is replaced counts from each thread's next question on; live subscriptions and queued
 * messages too, since every delivery is asked about. Any thread, one at a time. */
bool m5_policy_reload(struct m5_policy *policy, char error[M5_POLICY_ERROR_SIZE]);

/* The same with other options. Ways in that stay the same keep what they remember: lock-outs,
 * logins that were right, keys of issuers. */
bool m5_policy_change(struct m5_policy *policy, const struct m5_policy_options *options,
                      char error[M5_POLICY_ERROR_SIZE]);

/* What the engine asks; valid as long as the policy. `connect` answers M5_ACCESS_PENDING for
 * whoever shows something that has to be checked. */
struct m5_access m5_policy_access(struct m5_policy *policy);

/* The same for the one that the engine has been given: its `allow_everything` is kept right. */
void m5_policy_bind(struct m5_policy *policy, struct m5_access *access);

/* True for an address that may not connect at all. */
bool m5_policy_bans(struct m5_policy *policy, const struct m5_address *address);

/* Checks the credentials of a connection from @p source (m5_source_counted()). PENDING: @p done
 * will be called, and @p attempt then says who it is. CONTINUE: the attempt goes on with the
 * client's answer. Any other is the answer. Any thread. */
enum m5_login_answer m5_policy_login(struct m5_policy *policy, struct m5_attempt *attempt,
                                     const struct m5_credentials *credentials,
                                     struct m5_source source, m5_login_done_fn *done, void *ctx,
                                     uint64_t token);

/* A connection whose login was pending is gone: see m5_verifier_cancel(). */
bool m5_policy_cancel(struct m5_attempt *attempt, const void *ctx, uint64_t token);

/* The reason code of CONNACK for an answer that is none of right, pending, continue: wrong 0x86,
 * busy 0x89, locked out 0x9F, failed 0x88, another method 0x8C. */
enum mqtt5_reason_code m5_policy_reason(enum m5_login_answer answer);

struct m5_verifier_counts m5_policy_counts(struct m5_policy *policy); /* of password files */

#endif
