/* Logins of one worker that wait for the threads which check passwords.
 *
 * The engine's question is passed on to the policy (auth/policy.h). What that knows at once is
 * answered at once; what it has to compute comes back on another thread, into a list that the
 * worker takes at the start of its next turn. A connection may have gone by then: answers are
 * matched by number, never by pointer.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_LOGIN_H
#define M5_HOST_LOGIN_H

#include "base/list.h"
#include "broker/engine.h"
#include "host/auth/policy.h"

#include <pthread.h>

struct m5_loop;
struct m5_login_answered;

struct m5_logins {
    struct m5_policy *policy; /* NULL: the engine asks nobody */
    struct m5_loop *loop;     /* to be woken */
    struct m5_list waiting;   /* struct waiting, in login.c */
    uint64_t token;           /* the last one given */
    pthread_mutex_t mutex;
    struct m5_login_answered *answered; /* by other threads; latest first */
    atomic_bool any;
};

void m5_logins_init(struct m5_logins *logins, struct m5_policy *policy, struct m5_loop *loop);

/* The policy's threads have ended, or there is no policy. */
void m5_logins_fini(struct m5_logins *logins);

/* At the end of a turn: asks for every connection of @p shard that wants it. @p descriptor tells
 * the socket of a connection. */
void m5_logins_ask(struct m5_logins *logins, struct m5_shard *shard,
                   int (*descriptor)(const struct m5_conn *conn));

/* At the start of a turn, within it: hands the answers to the engine. */
void m5_logins_answer(struct m5_logins *logins);

/* @p conn is about to be freed. Cheap when nobody waits. */
void m5_logins_forget(struct m5_logins *logins, const struct m5_conn *conn);

#endif
