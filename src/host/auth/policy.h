/* Who may connect and what they may do, out of files: the password file, the access control list,
 * the list of banned networks. What the engine asks (struct m5_access) and what the host does
 * around it.
 *
 * How to use it: make one, give m5_policy_access() to the engine. When a listener accepts, ask
 * m5_policy_bans(). At the end of a turn, for each connection of m5_shard_next_check(), call
 * m5_policy_login(); when it is pending, its callback (on another thread) says what to give to
 * m5_conn_verified(). On SIGHUP call m5_policy_reload() on any thread.
 *
 * A name that nobody verified is worth nothing: without a password file, clients count as anonymous
 * for the list, whatever they call themselves.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_POLICY_H
#define M5_HOST_AUTH_POLICY_H

#include "broker/access.h"
#include "broker/engine.h"
#include "host/acl/acl.h"
#include "host/auth/verifier.h"

struct m5_policy_options {
    const char *password_file; /* NULL: passwords are not checked */
    const char *acl_file;      /* NULL: everybody who is connected may do everything */
    const char *ban_file;      /* NULL: no network is banned */
    enum m5_acl_format acl_format;
    bool allow_anonymous;        /* clients without a user name may connect */
    bool names_proved_elsewhere; /* names without a password file count: certificates, tokens */
    struct m5_verifier_config verifier;
};

/* No files, nobody anonymous, m5_verifier_defaults. */
void m5_policy_options_init(struct m5_policy_options *options);

#define M5_POLICY_ERROR_SIZE 512 /* of a sentence with file, line and column */

struct m5_policy;

/* Reads the files and, with a password file, starts the threads that hash. NULL with a sentence in
 * @p error. @p allocator and the paths are borrowed; the allocator is used by several threads. */
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

/* What the engine asks; valid as long as the policy. `connect` answers M5_ACCESS_PENDING for
 * whoever gives a name and has to prove it. */
struct m5_access m5_policy_access(struct m5_policy *policy);

/* True for an address that may not connect at all. */
bool m5_policy_bans(struct m5_policy *policy, const struct m5_address *address);

/* Checks the credentials of a connection from @p address. Other than M5_LOGIN_PENDING it is the
 * answer, and @p done is not called. Any thread. */
enum m5_login_answer m5_policy_login(struct m5_policy *policy,
                                     const struct m5_credentials *credentials,
                                     const struct m5_address *address, m5_login_done_fn *done,
                                     void *ctx, uint64_t token);

/* A connection whose login was pending is gone: see m5_verifier_cancel(). */
bool m5_policy_cancel(struct m5_policy *policy, const void *ctx, uint64_t token);

/* The reason code of CONNACK for an answer that is neither right nor pending: wrong 0x86, busy
 * 0x89, locked out 0x9F, failed 0x88. */
enum mqtt5_reason_code m5_policy_reason(enum m5_login_answer answer);

struct m5_verifier_counts m5_policy_counts(struct m5_policy *policy); /* zeros without passwords */

#endif
