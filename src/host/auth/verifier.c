/* Logins with user name and password: threads that hash, in front of them a cache and a guard.
 *
 * Order: a locked address is refused whatever it brings. Then the cache is asked, and only then
 * whether the user is locked: who proved his password minutes ago is not kept out by others who
 * guess at it.
 *
 * Logins wait in lanes, one an address. Lanes with logins stand in a ring; a thread takes the first
 * login of the first lane, and the lane goes to the ring's end.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/verifier.h"
#include "host/clock.h"
#include "host/thread.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "host/auth/password.h"
#include "host/auth/success_cache.h"
#include "host/auth/users.h"

#include <gnutls/crypto.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define THREADS_MAX 64
#define NICENESS    5 /* added to that of the process */

const struct m5_verifier_config m5_verifier_defaults = {
    .threads = 2,
    .queue_max = 256,
    .queue_per_source_max = 64,
    .cache_entries_max = 65536,
    .cache_ttl_ms = 300000,
    .guard = M5_GUARD_DEFAULTS,
};

/* A login that waits; user and password follow in the same block. */
struct job {
    struct m5_list node; /* in its lane */
    struct m5_login login;
    size_t size; /* of the block */
};

/* The logins of one address. */
struct lane {
    struct m5_list node; /* in the ring, while jobs wait */
    struct m5_list jobs;
    struct m5_source source;
    uint32_t count; /* waiting or being hashed */
};

struct m5_verifier {
    const struct mqtt5_allocator *allocator;
    struct m5_verifier_config config;
    struct m5_snapshot *users;
    struct m5_success_cache *cache;
    struct m5_guard *guard;
    struct m5_hash_key key; /* of `lanes` */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work;
    struct m5_map lanes;
    struct m5_list ring;
    uint32_t count; /* in all lanes */
    bool stopping;

    pthread_t threads[THREADS_MAX];
    uint32_t thread_count;
    atomic_ullong right, wrong, busy, locked, from_cache, hashes;
};

/* ---- the queue, lock held ---- */

static bool has_source(const void *value, const void *key)
{
    const struct lane *lane = value;
    return memcmp(&lane->source, key, sizeof lane->source) == 0;
}

static uint32_t hash_source(const struct m5_verifier *verifier, const struct m5_source *source)
{
    return (uint32_t)m5_hash(&verifier->key, m5_bytes(source->bytes, sizeof source->bytes));
}

static struct lane *find_lane(struct m5_verifier *verifier, const struct m5_source *source)
{
    return m5_map_find(&verifier->lanes, hash_source(verifier, source), has_source, source);
}

static struct lane *add_lane(struct m5_verifier *verifier, const struct m5_source *source)
{
    struct lane *lane = m5_alloc_zero(verifier->allocator, sizeof *lane);
    if (lane == NULL)
        return NULL;
    lane->source = *source;
    m5_list_init(&lane->jobs);
    m5_list_init(&lane->node);
    if (m5_map_add(&verifier->lanes, hash_source(verifier, source), lane))
        return lane;
    m5_free(verifier->allocator, lane, sizeof *lane);
    return NULL;
}

/* One login of @p lane is over; an empty lane goes. */
static void leave(struct m5_verifier *verifier, struct lane *lane)
{
    verifier->count--;
    if (--lane->count > 0)
        return;
    m5_map_remove(&verifier->lanes, hash_source(verifier, &lane->source), lane);
    m5_free(verifier->allocator, lane, sizeof *lane);
}

/* Takes the next job in turn; the ring is not empty. */
static struct job *take(struct m5_verifier *verifier, struct lane **out)
{
    struct lane *lane = M5_CONTAINER_OF(m5_list_pop_front(&verifier->ring), struct lane, node);
    struct job *job = M5_CONTAINER_OF(m5_list_pop_front(&lane->jobs), struct job, node);
    m5_list_init(&lane->node);
    if (!m5_list_empty(&lane->jobs))
        m5_list_push_back(&verifier->ring, &lane->node);
    *out = lane;
    return job;
}

static enum m5_login_answer put(struct m5_verifier *verifier, struct job *job)
{
    struct lane *lane = find_lane(verifier, &job->login.source);
    if (verifier->count >= verifier->config.queue_max ||
        (lane != NULL && lane->count >= verifier->config.queue_per_source_max))
        return M5_LOGIN_BUSY;
    if (lane == NULL && (lane = add_lane(verifier, &job->login.source)) == NULL)
        return M5_LOGIN_FAILED;
    if (m5_list_empty(&lane->jobs))
        m5_list_push_back(&verifier->ring, &lane->node);
    m5_list_push_back(&lane->jobs, &job->node);
    lane->count++;
    verifier->count++;
    pthread_cond_signal(&verifier->work);
    return M5_LOGIN_PENDING;
}

/* ---- jobs ---- */

static struct job *job_new(const struct m5_verifier *verifier, const struct m5_login *login)
{
    const size_t size = sizeof(struct job) + login->user.len + login->password.len;
    struct job *job = m5_alloc(verifier->allocator, size);
    if (job == NULL)
        return NULL;
    uint8_t *user = (uint8_t *)(job + 1);
    uint8_t *password = m5_copy(user, login->user);
    m5_copy(password, login->password);
    *job = (struct job){.login = *login, .size = size};
    job->login.user.data = user;
    job->login.password.data = password;
    return job;
}

static void job_free(const struct m5_verifier *verifier, struct job *job)
{
    const size_t size = job->size;
    m5_wipe(job, size);
    m5_free(verifier->allocator, job, size);
}

/* The user, or for a name that nobody has, one whose hash costs as much. NULL: there are none. */
static const struct m5_user *find_user(const struct m5_users *users, struct mqtt5_bytes name,
                                       bool *exists)
{
    const struct m5_user *user = m5_users_find(users, name, 0);
    *exists = user != NULL;
    return user != NULL ? user : m5_users_decoy(users, name);
}

/* Hashes in any case. */
static enum m5_login_answer compare(struct m5_verifier *verifier, const struct m5_user *user,
                                    bool exists, struct mqtt5_bytes password)
{
    const char *why;
    struct m5_password stored = m5_password_defaults;
    stored.salt_size = M5_PASSWORD_SALT_MIN;
    stored.key_size = M5_PASSWORD_KEY_MIN;
    const bool readable = user == NULL || m5_password_parse(user->stored, &stored, &why);
    M5_ASSERT(readable); /* the table has no others */
    const enum m5_password_answer answer = m5_password_verify(&stored, password);
    atomic_fetch_add_explicit(&verifier->hashes, 1, memory_order_relaxed);
    if (answer == M5_PASSWORD_FAILED)
        return M5_LOGIN_FAILED;
    return exists && answer == M5_PASSWORD_RIGHT ? M5_LOGIN_RIGHT : M5_LOGIN_WRONG;
}

static void count(struct m5_verifier *verifier, enum m5_login_answer answer)
{
    atomic_ullong *counter = answer == M5_LOGIN_RIGHT    ? &verifier->right
                             : answer == M5_LOGIN_WRONG  ? &verifier->wrong
                             : answer == M5_LOGIN_BUSY   ? &verifier->busy
                             : answer == M5_LOGIN_LOCKED ? &verifier->locked
                                                         : NULL;
    if (counter != NULL)
        atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* What is known without hashing: M5_LOGIN_PENDING when nothing is. */
static enum m5_login_answer ask_first(struct m5_verifier *verifier, const struct m5_login *login)
{
    bool exists;
    struct m5_proof proof;
    const uint64_t now_ms = verifier->config.now_ms();
    const enum m5_guard_answer guard =
        m5_guard_ask(verifier->guard, login->source, login->user, now_ms);
    if (guard == M5_GUARD_ADDRESS_LOCKED)
        return M5_LOGIN_LOCKED;
    const struct m5_users *users = m5_snapshot_get(verifier->users, NULL);
    if (users == NULL)
        return M5_LOGIN_FAILED;
    const struct m5_user *user = find_user(users, login->user, &exists);
    if (user != NULL &&
        m5_success_cache_prove(verifier->cache, login->user, user, login->password, &proof) &&
        m5_success_cache_knows(verifier->cache, &proof, now_ms) && exists) {
        atomic_fetch_add_explicit(&verifier->from_cache, 1, memory_order_relaxed);
        return M5_LOGIN_RIGHT;
    }
    return guard == M5_GUARD_USER_LOCKED ? M5_LOGIN_LOCKED : M5_LOGIN_PENDING;
}

/* On a thread of the verifier: asks again, because the same login may have been proved, or its
 * address locked, while it waited. */
static enum m5_login_answer decide(struct m5_verifier *verifier, const struct m5_login *login)
{
    enum m5_login_answer answer = ask_first(verifier, login);
    if (answer != M5_LOGIN_PENDING)
        return answer;
    bool exists;
    struct m5_proof proof;
    const struct m5_users *users = m5_snapshot_get(verifier->users, NULL);
    const struct m5_user *user = find_user(users, login->user, &exists);
    answer = compare(verifier, user, exists, login->password);
    if (answer == M5_LOGIN_WRONG)
        m5_guard_note_failure(verifier->guard, login->source, login->user,
                              verifier->config.now_ms());
    if (answer == M5_LOGIN_RIGHT &&
        m5_success_cache_prove(verifier->cache, login->user, user, login->password, &proof))
        m5_success_cache_add(verifier->cache, &proof, verifier->config.now_ms());
    return answer;
}

/* ---- threads ---- */

static void answer_job(struct m5_verifier *verifier, struct job *job, enum m5_login_answer answer)
{
    count(verifier, answer);
    job->login.done(job->login.ctx, job->login.token, answer);
    job_free(verifier, job);
}

static void *work(void *ctx)
{
    struct m5_verifier *verifier = ctx;
    setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + NICENESS);
    pthread_mutex_lock(&verifier->lock);
    while (!verifier->stopping) {
        if (m5_list_empty(&verifier->ring)) {
            pthread_cond_wait(&verifier->work, &verifier->lock);
            continue;
        }
        struct lane *lane;
        struct job *job = take(verifier, &lane);
        pthread_mutex_unlock(&verifier->lock);
        const enum m5_login_answer answer = decide(verifier, &job->login);
        pthread_mutex_lock(&verifier->lock);
        leave(verifier, lane);
        pthread_mutex_unlock(&verifier->lock);
        answer_job(verifier, job, answer);
        pthread_mutex_lock(&verifier->lock);
    }
    pthread_mutex_unlock(&verifier->lock);
    return NULL;
}

static bool start_threads(struct m5_verifier *verifier)
{
    const uint32_t wanted = verifier->config.threads < 1             ? 1
                            : verifier->config.threads > THREADS_MAX ? THREADS_MAX
                                                                     : verifier->config.threads;
    while (verifier->thread_count < wanted &&
           m5_thread_start(&verifier->threads[verifier->thread_count], work, verifier) == 0)
        verifier->thread_count++;
    return verifier->thread_count == wanted;
}

/* ---- life ---- */

struct m5_verifier *m5_verifier_new(const struct mqtt5_allocator *allocator,
                                    const struct m5_verifier_config *config,
                                    struct m5_snapshot *users)
{
    struct m5_verifier *verifier = m5_alloc_zero(allocator, sizeof *verifier);
    if (verifier == NULL)
        return NULL;
    verifier->allocator = allocator;
    verifier->config = *config;
    verifier->users = users;
    if (config->now_ms == NULL)
        verifier->config.now_ms = m5_clock_ms;
    pthread_mutex_init(&verifier->lock, NULL);
    pthread_cond_init(&verifier->work, NULL);
    m5_map_init(&verifier->lanes, allocator);
    m5_list_init(&verifier->ring);
    verifier->cache =
        m5_success_cache_new(allocator, config->cache_entries_max, config->cache_ttl_ms);
    verifier->guard = config->shared_guard != NULL ? config->shared_guard
                                                   : m5_guard_new(allocator, &config->guard);
    if (verifier->cache != NULL && verifier->guard != NULL &&
        gnutls_rnd(GNUTLS_RND_NONCE, &verifier->key, sizeof verifier->key) == 0 &&
        start_threads(verifier))
        return verifier;
    m5_verifier_free(verifier);
    return NULL;
}

static void stop_threads(struct m5_verifier *verifier)
{
    pthread_mutex_lock(&verifier->lock);
    verifier->stopping = true;
    pthread_cond_broadcast(&verifier->work);
    pthread_mutex_unlock(&verifier->lock);
    for (uint32_t i = 0; i < verifier->thread_count; i++)
        pthread_join(verifier->threads[i], NULL);
}

void m5_verifier_free(struct m5_verifier *verifier)
{
    if (verifier == NULL)
        return;
    stop_threads(verifier);
    while (!m5_list_empty(&verifier->ring)) {
        struct lane *lane;
        struct job *job = take(verifier, &lane);
        leave(verifier, lane);
        answer_job(verifier, job, M5_LOGIN_FAILED);
    }
    m5_map_fini(&verifier->lanes);
    m5_success_cache_free(verifier->cache);
    if (verifier->config.shared_guard == NULL)
        m5_guard_free(verifier->guard);
    pthread_cond_destroy(&verifier->work);
    pthread_mutex_destroy(&verifier->lock);
    m5_free(verifier->allocator, verifier, sizeof *verifier);
}

/* ---- for the loops ---- */

enum m5_login_answer m5_verifier_ask(struct m5_verifier *verifier, const struct m5_login *login)
{
    enum m5_login_answer answer = ask_first(verifier, login);
    if (answer == M5_LOGIN_PENDING) {
        struct job *job = job_new(verifier, login);
        if (job == NULL)
            return M5_LOGIN_FAILED;
        pthread_mutex_lock(&verifier->lock);
        answer = put(verifier, job);
        pthread_mutex_unlock(&verifier->lock);
        if (answer != M5_LOGIN_PENDING)
            job_free(verifier, job);
    }
    count(verifier, answer);
    return answer;
}

/* Lock held. */
static struct job *find_job(struct m5_verifier *verifier, const void *ctx, uint64_t token,
                            struct lane **out)
{
    for (struct m5_list *l = verifier->ring.next; l != &verifier->ring; l = l->next) {
        struct lane *lane = M5_CONTAINER_OF(l, struct lane, node);
        for (struct m5_list *j = lane->jobs.next; j != &lane->jobs; j = j->next) {
            struct job *job = M5_CONTAINER_OF(j, struct job, node);
            *out = lane;
            if (job->login.ctx == ctx && job->login.token == token)
                return job;
        }
    }
    return NULL;
}

bool m5_verifier_cancel(struct m5_verifier *verifier, const void *ctx, uint64_t token)
{
    struct lane *lane = NULL;
    pthread_mutex_lock(&verifier->lock);
    struct job *job = find_job(verifier, ctx, token, &lane);
    if (job != NULL) {
        m5_list_remove(&job->node);
        if (m5_list_empty(&lane->jobs)) {
            m5_list_remove(&lane->node);
            m5_list_init(&lane->node);
        }
        leave(verifier, lane);
    }
    pthread_mutex_unlock(&verifier->lock);
    if (job == NULL)
        return false;
    job_free(verifier, job);
    return true;
}

struct m5_verifier_counts m5_verifier_counts(struct m5_verifier *verifier)
{
    return (struct m5_verifier_counts){
        .right = atomic_load_explicit(&verifier->right, memory_order_relaxed),
        .wrong = atomic_load_explicit(&verifier->wrong, memory_order_relaxed),
        .busy = atomic_load_explicit(&verifier->busy, memory_order_relaxed),
        .locked = atomic_load_explicit(&verifier->locked, memory_order_relaxed),
        .from_cache = atomic_load_explicit(&verifier->from_cache, memory_order_relaxed),
        .hashes = atomic_load_explicit(&verifier->hashes, memory_order_relaxed),
    };
}

struct m5_guard *m5_verifier_guard(struct m5_verifier *verifier)
{
    return verifier->guard;
}
