/* Between a worker's turn and the threads that check passwords.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/login.h"

#include "base/assert.h"
#include "host/loop.h"

#include <stdlib.h>
#include <sys/socket.h>

/* A connection that waits for an answer. */
struct waiting {
    struct m5_list node;
    struct m5_conn *conn;
    uint64_t token;
};

/* An answer on its way back. */
struct m5_login_answered {
    struct m5_login_answered *next;
    uint64_t token;
    enum m5_login_answer answer;
};

void m5_logins_init(struct m5_logins *logins, struct m5_policy *policy, struct m5_loop *loop)
{
    *logins = (struct m5_logins){.policy = policy, .loop = loop};
    m5_list_init(&logins->waiting);
    pthread_mutex_init(&logins->mutex, NULL);
}

static struct waiting *first(const struct m5_logins *logins)
{
    return m5_list_empty(&logins->waiting)
               ? NULL
               : M5_CONTAINER_OF(logins->waiting.next, struct waiting, node);
}

static void drop(struct waiting *waiting)
{
    m5_list_remove(&waiting->node);
    free(waiting);
}

void m5_logins_fini(struct m5_logins *logins)
{
    if (logins->loop == NULL)
        return;
    for (struct m5_login_answered *at = logins->answered, *next; at != NULL; at = next) {
        next = at->next;
        free(at);
    }
    for (struct waiting *waiting; (waiting = first(logins)) != NULL;)
        drop(waiting);
    pthread_mutex_destroy(&logins->mutex);
    logins->loop = NULL;
}

/* On a thread of the policy. Without memory the client is told nothing and its time for CONNECT
 * runs out. */
static void done(void *ctx, uint64_t token, enum m5_login_answer answer)
{
    struct m5_logins *logins = (struct m5_logins *)ctx;
    struct m5_login_answered *answered = (struct m5_login_answered *)malloc(sizeof *answered);
    if (answered == NULL)
        return;
    *answered = (struct m5_login_answered){.token = token, .answer = answer};
    pthread_mutex_lock(&logins->mutex);
    answered->next = logins->answered;
    logins->answered = answered;
    atomic_store(&logins->any, true);
    pthread_mutex_unlock(&logins->mutex);
    m5_loop_wake(logins->loop);
}

static void tell(struct m5_conn *conn, enum m5_login_answer answer)
{
    struct m5_verdict verdict = {.kind = M5_VERDICT_ALLOW};
    if (answer != M5_LOGIN_RIGHT)
        verdict = (struct m5_verdict){.kind = M5_VERDICT_DENY,
                                      .reason = (uint8_t)m5_policy_reason(answer)};
    m5_conn_verified(conn, &verdict);
}

/* Asks for one connection; false when it has to wait and cannot, since there is no memory. */
static enum m5_login_answer ask(struct m5_logins *logins, struct m5_conn *conn, int fd,
                                const struct m5_credentials *credentials)
{
    struct m5_address address = {.size = sizeof address.storage};
    if (getpeername(fd, (struct sockaddr *)&address.storage, &address.size) != 0)
        return M5_LOGIN_FAILED; /* it has gone; so has whoever would read the answer */
    struct waiting *waiting = (struct waiting *)malloc(sizeof *waiting);
    if (waiting == NULL)
        return M5_LOGIN_FAILED;
    *waiting = (struct waiting){.conn = conn, .token = ++logins->token};
    m5_list_init(&waiting->node);
    m5_list_push_back(&logins->waiting, &waiting->node);
    const enum m5_login_answer answer =
        m5_policy_login(logins->policy, credentials, &address, done, logins, waiting->token);
    if (answer != M5_LOGIN_PENDING)
        drop(waiting);
    return answer;
}

void m5_logins_ask(struct m5_logins *logins, struct m5_shard *shard,
                   int (*descriptor)(const struct m5_conn *conn))
{
    if (logins->policy == NULL)
        return;
    struct m5_credentials credentials;
    struct m5_conn *conn;
    while ((conn = m5_shard_next_check(shard, &credentials)) != NULL) {
        const enum m5_login_answer answer = ask(logins, conn, descriptor(conn), &credentials);
        if (answer != M5_LOGIN_PENDING)
            tell(conn, answer);
    }
}

static struct waiting *find(const struct m5_logins *logins, uint64_t token)
{
    for (struct m5_list *at = logins->waiting.next; at != &logins->waiting; at = at->next) {
        struct waiting *waiting = M5_CONTAINER_OF(at, struct waiting, node);
        if (waiting->token == token)
            return waiting;
    }
    return NULL;
}

void m5_logins_answer(struct m5_logins *logins)
{
    if (!atomic_load_explicit(&logins->any, memory_order_acquire))
        return;
    pthread_mutex_lock(&logins->mutex);
    struct m5_login_answered *answered = logins->answered;
    logins->answered = NULL;
    atomic_store(&logins->any, false);
    pthread_mutex_unlock(&logins->mutex);
    for (struct m5_login_answered *next; answered != NULL; answered = next) {
        next = answered->next;
        struct waiting *waiting = find(logins, answered->token);
        if (waiting != NULL) {
            tell(waiting->conn, answered->answer);
            drop(waiting);
        }
        free(answered);
    }
}

void m5_logins_forget(struct m5_logins *logins, const struct m5_conn *conn)
{
    for (struct m5_list *at = logins->waiting.next; at != &logins->waiting; at = at->next) {
        struct waiting *waiting = M5_CONTAINER_OF(at, struct waiting, node);
        if (waiting->conn != conn)
            continue;
        m5_policy_cancel(logins->policy, logins, waiting->token);
        drop(waiting);
        return;
    }
}
