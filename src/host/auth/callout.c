/* Logins that a service decides.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/callout.h"
#include "host/clock.h"
#include "host/thread.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/list.h"
#include "host/auth/http.h"
#include "host/auth/success_cache.h"

#include <string.h>

#define TIMEOUT_MS    5000u
#define CACHE_ENTRIES 65536u

/* A login that waits; its texts follow in the same block. */
struct call {
    struct m5_list node;
    struct m5_login login;
    struct mqtt5_bytes client_id;
    size_t size; /* of the block */
    bool begun;
};

struct m5_callout {
    const struct mqtt5_allocator *allocator;
    const struct mqtt5_http_auth *options;
    struct m5_guard *guard;
    struct m5_success_cache *cache; /* NULL: nothing is remembered */
    atomic_bool stopping;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work;
    struct m5_list calls; /* the oldest first, those that are being asked too */
    uint32_t count;
    struct m5_breaker breaker;
    pthread_t threads[M5_CALLOUT_THREADS];
    uint32_t thread_count;
};

/* ---- calls ---- */

static struct call *call_new(const struct m5_callout *callout, const struct m5_login *login,
                             struct mqtt5_bytes client_id)
{
    const size_t size = sizeof(struct call) + login->user.len + login->password.len + client_id.len;
    struct call *call = m5_alloc(callout->allocator, size);
    if (call == NULL)
        return NULL;
    *call = (struct call){.login = *login, .client_id = client_id, .size = size};
    uint8_t *at = (uint8_t *)(call + 1);
    call->login.user.data = at;
    at = m5_copy(at, login->user);
    call->login.password.data = at;
    at = m5_copy(at, login->password);
    call->client_id.data = at;
    m5_copy(at, client_id);
    return call;
}

static void call_free(const struct m5_callout *callout, struct call *call)
{
    const size_t size = call->size;
    m5_wipe(call, size);
    m5_free(callout->allocator, call, size);
}

/* What stands for a login that was right; false: it is not remembered. */
static bool prove(const struct m5_callout *callout, const struct m5_login *login,
                  struct mqtt5_bytes client_id, struct m5_proof *proof)
{
    const struct m5_user user = {.name = login->user, .stored = client_id};
    return callout->cache != NULL &&
           m5_success_cache_prove(callout->cache, login->user, &user, login->password, proof);
}

/* M5_LOGIN_PENDING when the service has to be asked. */
static enum m5_login_answer ask_first(struct m5_callout *callout, const struct m5_login *login,
                                      struct mqtt5_bytes client_id)
{
    struct m5_proof proof;
    const uint64_t now_ms = m5_clock_ms();
    const enum m5_guard_answer guard =
        m5_guard_ask(callout->guard, login->source, login->user, now_ms);
    if (guard == M5_GUARD_ADDRESS_LOCKED)
        return M5_LOGIN_LOCKED;
    if (prove(callout, login, client_id, &proof) &&
        m5_success_cache_knows(callout->cache, &proof, now_ms))
        return M5_LOGIN_RIGHT;
    return guard == M5_GUARD_USER_LOCKED ? M5_LOGIN_LOCKED : M5_LOGIN_PENDING;
}

/* ---- asking ---- */

static enum m5_login_answer judge(bool answered, long status)
{
    if (answered && status == 200)
        return M5_LOGIN_RIGHT;
    return answered && status >= 400 && status < 500 ? M5_LOGIN_WRONG : M5_LOGIN_FAILED;
}

static enum m5_login_answer request(struct m5_callout *callout, const struct call *call)
{
    struct m5_text form = {0};
    struct m5_http_answer answer = {0};
    bool answered = m5_http_form_add(&form, "username", call->login.user) &&
                    m5_http_form_add(&form, "password", call->login.password) &&
                    m5_http_form_add(&form, "clientid", call->client_id);
    const struct m5_http_request asked = {
        .url = callout->options->uri,
        .ca_file = callout->options->ca_file,
        .form = m5_bytes(form.data, form.size),
        .timeout_ms = callout->options->timeout_ms != 0 ? callout->options->timeout_ms : TIMEOUT_MS,
        .stop = &callout->stopping};
    answered = answered && m5_http_do(&asked, &answer);
    m5_text_free(&form);
    m5_text_free(&answer.body);
    return judge(answered, answer.status);
}

/* On a thread of ours, without the lock. */
static enum m5_login_answer decide(struct m5_callout *callout, const struct call *call)
{
    struct m5_proof proof;
    const struct m5_login *login = &call->login;
    enum m5_login_answer answer = ask_first(callout, login, call->client_id);
    if (answer != M5_LOGIN_PENDING)
        return answer;
    pthread_mutex_lock(&callout->lock);
    const bool allowed = m5_breaker_allows(&callout->breaker, m5_clock_ms());
    pthread_mutex_unlock(&callout->lock);
    if (!allowed)
        return M5_LOGIN_FAILED;
    answer = request(callout, call);
    const uint64_t now_ms = m5_clock_ms();
    pthread_mutex_lock(&callout->lock);
    m5_breaker_note(&callout->breaker, answer != M5_LOGIN_FAILED, now_ms);
    pthread_mutex_unlock(&callout->lock);
    if (answer == M5_LOGIN_WRONG)
        m5_guard_note_failure(callout->guard, login->source, login->user, now_ms);
    if (answer == M5_LOGIN_RIGHT && prove(callout, login, call->client_id, &proof))
        m5_success_cache_add(callout->cache, &proof, now_ms);
    return answer;
}

/* Lock held. The oldest call that nobody has begun; NULL: none. */
static struct call *next_call(struct m5_callout *callout)
{
    for (struct m5_list *at = callout->calls.next; at != &callout->calls; at = at->next) {
        struct call *call = M5_CONTAINER_OF(at, struct call, node);
        if (!call->begun)
            return call;
    }
    return NULL;
}

static void *work(void *ctx)
{
    struct m5_callout *callout = ctx;
    pthread_mutex_lock(&callout->lock);
    while (!atomic_load(&callout->stopping)) {
        struct call *call = next_call(callout);
        if (call == NULL) {
            pthread_cond_wait(&callout->work, &callout->lock);
            continue;
        }
        call->begun = true;
        pthread_mutex_unlock(&callout->lock);
        const enum m5_login_answer answer = decide(callout, call);
        pthread_mutex_lock(&callout->lock);
        m5_list_remove(&call->node);
        callout->count--;
        pthread_mutex_unlock(&callout->lock);
        call->login.done(call->login.ctx, call->login.token, answer);
        call_free(callout, call);
        pthread_mutex_lock(&callout->lock);
    }
    pthread_mutex_unlock(&callout->lock);
    return NULL;
}

/* ---- life ---- */

static bool start(struct m5_callout *callout)
{
    while (callout->thread_count < M5_CALLOUT_THREADS &&
           m5_thread_start(&callout->threads[callout->thread_count], work, callout) == 0)
        callout->thread_count++;
    return callout->thread_count == M5_CALLOUT_THREADS;
}

struct m5_callout *m5_callout_new(const struct mqtt5_allocator *allocator,
                                  const struct mqtt5_http_auth *options, struct m5_guard *guard,
                                  struct m5_text_error *error)
{
    const char *why;
    if (!m5_http_url_check(options->uri, &why)) {
        m5_text_fail(error, 0, 0, "http.uri: %s", why);
        return NULL;
    }
    struct m5_callout *callout = m5_alloc_zero(allocator, sizeof *callout);
    if (callout == NULL) {
        m5_text_fail(error, 0, 0, "out of memory");
        return NULL;
    }
    callout->allocator = allocator;
    callout->options = options;
    callout->guard = guard;
    m5_list_init(&callout->calls);
    pthread_mutex_init(&callout->lock, NULL);
    pthread_cond_init(&callout->work, NULL);
    if (options->cache_s > 0)
        callout->cache =
            m5_success_cache_new(allocator, CACHE_ENTRIES, options->cache_s * (uint64_t)1000);
    if ((options->cache_s == 0 || callout->cache != NULL) && start(callout))
        return callout;
    m5_callout_free(callout);
    m5_text_fail(error, 0, 0, "out of memory, or of threads, to ask about logins");
    return NULL;
}

void m5_callout_free(struct m5_callout *callout)
{
    if (callout == NULL)
        return;
    atomic_store(&callout->stopping, true);
    pthread_mutex_lock(&callout->lock);
    pthread_cond_broadcast(&callout->work);
    pthread_mutex_unlock(&callout->lock);
    for (uint32_t i = 0; i < callout->thread_count; i++)
        pthread_join(callout->threads[i], NULL);
    struct m5_list *node;
    while ((node = m5_list_pop_front(&callout->calls)) != NULL) {
        struct call *call = M5_CONTAINER_OF(node, struct call, node);
        call->login.done(call->login.ctx, call->login.token, M5_LOGIN_FAILED);
        call_free(callout, call);
    }
    m5_success_cache_free(callout->cache);
    pthread_cond_destroy(&callout->work);
    pthread_mutex_destroy(&callout->lock);
    m5_free(callout->allocator, callout, sizeof *callout);
}

/* ---- for the loops ---- */

/* Lock held. */
static uint32_t count_of(const struct m5_callout *callout, const struct m5_source *source)
{
    uint32_t count = 0;
    for (struct m5_list *at = callout->calls.next; at != &callout->calls; at = at->next) {
        const struct call *call = M5_CONTAINER_OF(at, struct call, node);
        count += memcmp(&call->login.source, source, sizeof *source) == 0;
    }
    return count;
}

static enum m5_login_answer put(struct m5_callout *callout, struct call *call)
{
    enum m5_login_answer answer = M5_LOGIN_BUSY;
    pthread_mutex_lock(&callout->lock);
    if (!m5_breaker_allows(&callout->breaker, m5_clock_ms())) {
        answer = M5_LOGIN_FAILED;
    } else if (callout->count < M5_CALLOUT_QUEUE_MAX &&
               count_of(callout, &call->login.source) < M5_CALLOUT_PER_SOURCE_MAX) {
        m5_list_push_back(&callout->calls, &call->node);
        callout->count++;
        pthread_cond_signal(&callout->work);
        answer = M5_LOGIN_PENDING;
    }
    pthread_mutex_unlock(&callout->lock);
    return answer;
}

enum m5_login_answer m5_callout_ask(struct m5_callout *callout, const struct m5_login *login,
                                    struct mqtt5_bytes client_id)
{
    enum m5_login_answer answer = ask_first(callout, login, client_id);
    if (answer != M5_LOGIN_PENDING)
        return answer;
    struct call *call = call_new(callout, login, client_id);
    if (call == NULL)
        return M5_LOGIN_FAILED;
    answer = put(callout, call);
    if (answer != M5_LOGIN_PENDING)
        call_free(callout, call);
    return answer;
}

bool m5_callout_cancel(struct m5_callout *callout, const void *ctx, uint64_t token)
{
    struct call *found = NULL;
    pthread_mutex_lock(&callout->lock);
    for (struct m5_list *at = callout->calls.next; at != &callout->calls; at = at->next) {
        struct call *call = M5_CONTAINER_OF(at, struct call, node);
        if (!call->begun && call->login.ctx == ctx && call->login.token == token)
            found = call;
    }
    if (found != NULL) {
        m5_list_remove(&found->node);
        callout->count--;
    }
    pthread_mutex_unlock(&callout->lock);
    if (found != NULL)
        call_free(callout, found);
    return found != NULL;
}
