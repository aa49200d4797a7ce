/* Logins of one worker that wait: for the threads which check them, or for the client's next word.
 *
 * The engine's question is passed on to the policy (auth/policy.h). What that knows at once is
 * answered at once; what it has to compute comes back on another thread, into a list that the
 * worker takes at the start of its next turn. A connection may have gone by then: answers are
 * matched by number, never by pointer. Of an exchange of AUTH packets the state stays here between
 * its steps, for so many connections at a time, and so many of one address.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_LOGIN_H
#define M5_HOST_LOGIN_H

#include "base/list.h"
#include "broker/engine.h"
#include "host/auth/policy.h"

#include <pthread.h>

#define M5_EXCHANGES_MAX            1000u /* of one worker, waiting for the client */
#define M5_EXCHANGES_PER_SOURCE_MAX 64u

struct m5_loop;
struct m5_login_answered;

struct m5_logins {
    struct m5_policy *policy; /* NULL: the engine asks nobody */
    struct m5_loop *loop;     /* to be woken */
    struct m5_list waiting;   /* struct waiting, in login.c */
    uint32_t exchange_count;  /* those of them that wait for the client */
    uint64_t token;           /* the last one given */
    pthread_mutex_t mutex;
    struct m5_login_answered *answered; /* by other threads; latest first */
    atomic_bool any;
};

void m5_logins_init(struct m5_logins *logins, struct m5_policy *policy, struct m5_loop *loop);

/* The policy's threads have ended, or there is no policy. */
void m5_logins_fini(struct m5_logins *logins);

/* At the end of a turn: asks for every connection of @p shard that wants it. Its address is what
 * m5_conn_peer() says: that behind a proxy, if the proxy told. */
void m5_logins_ask(struct m5_logins *logins, struct m5_shard *shard);

/* At the start of a turn, within it: hands the answers to the engine. */
void m5_logins_answer(struct m5_logins *logins);

/* @p conn is about to be freed. Cheap when nobody waits. */
void m5_logins_forget(struct m5_logins *logins, const struct m5_conn *conn);

#endif
