/* Logins with user name and password: threads that hash, in front of them a cache and a guard.
 *
 * A hash takes tens of milliseconds and 19 MiB, so no event loop does it: m5_verifier_ask() answers
 * at once when it can (locked out, known from the last minutes, too much to do) and otherwise
 * queues the login for a thread of its own, which calls back. The queue is bounded, as a whole and
 * for each address, and addresses take turns: who tries thousands of passwords delays himself. The
 * threads run at a lower priority than the loops. An unknown user costs the hash that an existing
 * one would.
 *
 * Any thread may call; nothing here is called under a lock.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_VERIFIER_H
#define M5_HOST_AUTH_VERIFIER_H

#include "host/auth/guard.h"
#include "host/auth/snapshot.h"

enum m5_login_answer {
    M5_LOGIN_RIGHT,
    M5_LOGIN_WRONG,    /* unknown user or wrong password; which of the two is not told */
    M5_LOGIN_PENDING,  /* `done` will be called */
    M5_LOGIN_BUSY,     /* the queue is full, as a whole or for this address: try again later */
    M5_LOGIN_LOCKED,   /* too many failures: see host/auth/guard.h */
    M5_LOGIN_FAILED,   /* no memory, nobody to ask at present, or the verifier is being freed */
    M5_LOGIN_CONTINUE, /* of exchanges only: the client has to answer */
    M5_LOGIN_METHOD    /* of exchanges only: not by this method */
};

/* Called once for each login that was pending, on a thread of the verifier: pass it on to the loop
 * and return. */
typedef void m5_login_done_fn(void *ctx, uint64_t token, enum m5_login_answer answer);

struct m5_login {
    struct mqtt5_bytes user, password; /* copied when it becomes pending */
    struct m5_source source;           /* as m5_source_counted() gives it */
    m5_login_done_fn *done;
    void *ctx;
    uint64_t token; /* what `done` is told, and m5_verifier_cancel() goes by */
};

struct m5_verifier_config {
    uint32_t threads;
    uint32_t queue_max;            /* logins waiting or being hashed */
    uint32_t queue_per_source_max; /* of one address */
    uint32_t cache_entries_max;
    uint64_t cache_ttl_ms;
    struct m5_guard_config guard;
    uint64_t (*now_ms)(void);      /* NULL: the system's monotonic clock */
    struct m5_guard *shared_guard; /* borrowed, instead of one by `guard`; NULL */
};

/* 2 threads, 256 logins, 64 of one address, 65,536 successes for 5 minutes. */
extern const struct m5_verifier_config m5_verifier_defaults;

struct m5_verifier_counts {
    uint64_t right, wrong, busy, locked; /* answers given */
    uint64_t from_cache;                 /* of `right`: without a hash */
    uint64_t hashes;                     /* computed */
};

struct m5_verifier;

/* Starts the threads. @p users (of struct m5_users, never NULL) is borrowed and must outlive the
 * verifier, as must @p allocator, which is used by several threads. NULL without memory, threads
 * or randomness. */
struct m5_verifier *m5_verifier_new(const struct mqtt5_allocator *allocator,
                                    const struct m5_verifier_config *config,
                                    struct m5_snapshot *users);

/* Ends the threads, each after its current hash; what still waits is answered M5_LOGIN_FAILED. No
 * other call may be under way. Accepts NULL. */
void m5_verifier_free(struct m5_verifier *verifier);

enum m5_login_answer m5_verifier_ask(struct m5_verifier *verifier, const struct m5_login *login);

/* Takes a login that waits out of the queue: true, and `done` is not called. False when there is no
 * such login or a thread has begun it: `done` was called or will be. */
bool m5_verifier_cancel(struct m5_verifier *verifier, const void *ctx, uint64_t token);

struct m5_verifier_counts m5_verifier_counts(struct m5_verifier *verifier);

/* The guard, for other ways to log in (SCRAM, tokens) to ask and to tell. */
struct m5_guard *m5_verifier_guard(struct m5_verifier *verifier);

#endif
