/* Between a worker's turn and those who check logins.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/login.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "host/loop.h"

#include <stdlib.h>
#include <string.h>

/* A connection that waits for an answer, or whose exchange waits for the client. */
struct waiting {
    struct m5_list node;
    struct m5_conn *conn;
    uint64_t token;
    bool exchange;
    struct m5_source source;
    struct m5_attempt attempt;
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

static void drop(struct m5_logins *logins, struct waiting *waiting)
{
    logins->exchange_count -= waiting->exchange;
    m5_attempt_fini(&waiting->attempt);
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
        drop(logins, waiting);
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

static void tell(struct m5_conn *conn, enum m5_login_answer answer,
                 const struct m5_attempt *attempt)
{
    struct m5_verdict verdict = {.kind = M5_VERDICT_DENY};
    if (answer == M5_LOGIN_RIGHT || answer == M5_LOGIN_CONTINUE) {
        verdict = (struct m5_verdict){.kind = answer == M5_LOGIN_RIGHT ? M5_VERDICT_ALLOW
                                                                       : M5_VERDICT_CONTINUE,
                                      .has_data = attempt->has_data,
                                      .named = attempt->named};
        if (attempt->has_data)
            verdict.data = m5_bytes(attempt->data.text, attempt->data.size);
        if (attempt->named) {
            verdict.username = m5_bytes(attempt->user.name, attempt->user.name_size);
            verdict.roles = m5_bytes(attempt->user.roles.text, attempt->user.roles.size);
        }
    } else {
        verdict.reason = (uint8_t)m5_policy_reason(answer);
    }
    m5_conn_verified(conn, &verdict);
}

/* ---- asking ---- */

/* The network that a login from @p conn is counted for. */
static struct m5_source source_of(const struct m5_conn *conn)
{
    const struct mqtt5_bytes peer = m5_conn_peer(conn);
    char text[64];
    struct m5_address address = {0};
    size_t size = 0;
    for (size_t i = 0; i < peer.len; i++)
        size = peer.data[i] == ':' ? i : size; /* the port is behind the last one */
    if (size >= sizeof text || peer.data[0] == 'u')
        size = 0; /* a Unix socket */
    const size_t from = size > 0 && peer.data[0] == '[' ? 1 : 0;
    const size_t length = size > 2 * from ? size - 2 * from : 0;
    memcpy(text, peer.data + from, length);
    text[length] = 0;
    if (!m5_address_read(text, 0, &address))
        return (struct m5_source){0};
    return m5_source_counted(m5_source_of(&address));
}

static struct waiting *find_conn(const struct m5_logins *logins, const struct m5_conn *conn)
{
    for (struct m5_list *at = logins->waiting.next; at != &logins->waiting; at = at->next) {
        struct waiting *waiting = M5_CONTAINER_OF(at, struct waiting, node);
        if (waiting->conn == conn)
            return waiting;
    }
    return NULL;
}

/* What goes on, or something new; NULL without memory. */
static struct waiting *waiting_for(struct m5_logins *logins, struct m5_conn *conn, bool going)
{
    struct waiting *waiting = find_conn(logins, conn);
    if (waiting != NULL && !going)
        drop(logins, waiting);
    if (waiting != NULL && going) {
        logins->exchange_count -= waiting->exchange;
        waiting->exchange = false;
        return waiting;
    }
    waiting = (struct waiting *)calloc(1, sizeof *waiting);
    if (waiting == NULL)
        return NULL;
    waiting->conn = conn;
    waiting->source = source_of(conn);
    m5_list_push_back(&logins->waiting, &waiting->node);
    return waiting;
}

/* Whether one more exchange may wait for its client. */
static bool has_room(const struct m5_logins *logins, const struct m5_source *source)
{
    uint32_t count = 0;
    for (struct m5_list *at = logins->waiting.next; at != &logins->waiting; at = at->next) {
        const struct waiting *waiting = M5_CONTAINER_OF(at, struct waiting, node);
        count += waiting->exchange && memcmp(&waiting->source, source, sizeof *source) == 0;
    }
    return logins->exchange_count < M5_EXCHANGES_MAX && count < M5_EXCHANGES_PER_SOURCE_MAX;
}

static void ask(struct m5_logins *logins, struct m5_conn *conn, const struct m5_credentials *shown)
{
    static const struct m5_attempt nothing;
    struct waiting *waiting = waiting_for(logins, conn, shown->going);
    if (waiting == NULL) {
        tell(conn, M5_LOGIN_FAILED, &nothing);
        return;
    }
    waiting->token = ++logins->token;
    enum m5_login_answer answer = m5_policy_login(logins->policy, &waiting->attempt, shown,
                                                  waiting->source, done, logins, waiting->token);
    if (answer == M5_LOGIN_PENDING)
        return;
    if (answer == M5_LOGIN_CONTINUE && !has_room(logins, &waiting->source))
        answer = M5_LOGIN_BUSY;
    if (answer == M5_LOGIN_CONTINUE) {
        waiting->exchange = true;
        logins->exchange_count++;
    }
    tell(conn, answer, &waiting->attempt);
    if (answer != M5_LOGIN_CONTINUE)
        drop(logins, waiting);
}

void m5_logins_ask(struct m5_logins *logins, struct m5_shard *shard)
{
    if (logins->policy == NULL)
        return;
    struct m5_credentials shown;
    struct m5_conn *conn;
    while ((conn = m5_shard_next_check(shard, &shown)) != NULL)
        ask(logins, conn, &shown);
}

/* ---- answers ---- */

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
            tell(waiting->conn, answered->answer, &waiting->attempt);
            drop(logins, waiting);
        }
        free(answered);
    }
}

void m5_logins_forget(struct m5_logins *logins, const struct m5_conn *conn)
{
    struct waiting *waiting = find_conn(logins, conn);
    if (waiting == NULL)
        return;
    m5_policy_cancel(&waiting->attempt, logins, waiting->token);
    drop(logins, waiting);
}
