/* An issuer of JSON Web Tokens.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/issuer.h"
#include "host/clock.h"
#include "host/thread.h"

#include "base/bytes.h"
#include "host/auth/http.h"
#include "host/auth/snapshot.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FETCH_MS       10000u /* for one request */
#define AGAIN_MS       5000u  /* after a failure, before the breaker rests */
#define UNKNOWN_KEY_MS 10000u /* tokens with an unknown key ask no more often than this */
#define REFRESH_S      3600u
#define CACHE_S        86400u
#define SKEW_S         60u

struct m5_issuer {
    const struct mqtt5_jwt_issuer *options;
    struct m5_issuer_report report;
    struct m5_snapshot keys; /* of struct m5_jwt_keys; NULL: none */
    bool has_keys;           /* `keys` is to be given back */

    pthread_t thread;
    bool has_thread;
    atomic_bool stopping;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    bool wanted;         /* a token has a key that we do not know */
    uint64_t asked_ms;   /* when the URL was asked last */
    uint64_t fetched_ms; /* when it answered last; 0: the keys are the file's */
    uint64_t next_ms;
    struct m5_breaker breaker;
    struct m5_issuer_figures figures;
};

static void free_keys(void *keys)
{
    m5_jwt_keys_free(keys);
}

/* ---- keys ---- */

/* NULL without a file; *good tells whether all is well. */
static struct m5_jwt_keys *read_file(const struct mqtt5_jwt_issuer *options, bool *good,
                                     struct m5_text_error *error)
{
    *good = true;
    if (options->key_file == NULL)
        return NULL;
    struct m5_jwt_keys *keys = m5_jwt_keys_new();
    *good = keys != NULL ? m5_jwt_keys_add_file(keys, options->key_file, error)
                         : m5_text_fail(error, 0, 0, "out of memory");
    if (*good && options->algorithm != NULL)
        m5_jwt_keys_only(keys, options->algorithm);
    if (*good && m5_jwt_keys_count(keys) == 0)
        *good = m5_text_fail(error, 0, 0, "%s: there is no key in it for this algorithm",
                             options->key_file);
    if (*good)
        return keys;
    m5_jwt_keys_free(keys);
    return NULL;
}

/* The set that the URL gives; NULL with the reason. */
static struct m5_jwt_keys *fetch(struct m5_issuer *issuer, char *why, size_t why_size)
{
    struct m5_http_answer answer;
    struct m5_text_error error = {0};
    const struct m5_http_request request = {
        .url = issuer->options->jwks_uri, .timeout_ms = FETCH_MS, .stop = &issuer->stopping};
    if (!m5_http_do(&request, &answer)) {
        snprintf(why, why_size, "%s", answer.why);
        return NULL;
    }
    struct m5_jwt_keys *keys = m5_jwt_keys_new();
    bool good = keys != NULL && answer.status == 200;
    if (!good)
        snprintf(why, why_size, "the answer has status %ld", answer.status);
    if (good) {
        good = m5_jwt_keys_add_jwks(keys, m5_bytes(answer.body.data, answer.body.size), &error);
        m5_jwt_keys_only(keys, NULL); /* a secret that is on the network is none */
        if (issuer->options->algorithm != NULL)
            m5_jwt_keys_only(keys, issuer->options->algorithm);
        if (good && m5_jwt_keys_count(keys) == 0)
            good = m5_text_fail(&error, 0, 0, "there is no key of ours in the set");
        snprintf(why, why_size, "%s", error.text);
    }
    m5_text_free(&answer.body);
    if (good)
        return keys;
    m5_jwt_keys_free(keys);
    return NULL;
}

static uint64_t seconds(uint32_t value, uint32_t otherwise)
{
    return (value != 0 ? value : otherwise) * (uint64_t)1000;
}

static bool replace(struct m5_issuer *issuer, struct m5_jwt_keys *keys)
{
    if (m5_snapshot_set(&issuer->keys, keys))
        return true;
    m5_jwt_keys_free(keys);
    return false;
}

/* Lock held. What was fetched has served its time: the file's keys, or none, take its place. */
static void expire(struct m5_issuer *issuer, uint64_t now_ms)
{
    bool good;
    struct m5_text_error error;
    const uint64_t cache_ms = seconds(issuer->options->jwks_cache_s, CACHE_S);
    if (issuer->fetched_ms == 0)
        return;
    if (now_ms - issuer->fetched_ms >= cache_ms) {
        if (replace(issuer, read_file(issuer->options, &good, &error)))
            issuer->fetched_ms = 0;
    } else if (issuer->fetched_ms + cache_ms < issuer->next_ms) {
        issuer->next_ms = issuer->fetched_ms + cache_ms;
    }
}

/* Lock held, but not while somebody is told. Says so when it is another answer than the last. */
static void report(struct m5_issuer *issuer, bool good, const char *why)
{
    const struct mqtt5_jwt_issuer *options = issuer->options;
    const bool first = issuer->figures.fetched + issuer->figures.failed == 0;
    const bool was_good = issuer->figures.why[0] == 0;
    good ? issuer->figures.fetched++ : issuer->figures.failed++;
    snprintf(issuer->figures.why, sizeof issuer->figures.why, "%s", good ? "" : why);
    if (issuer->report.tell == NULL || (!first && good == was_good))
        return;
    pthread_mutex_unlock(&issuer->lock);
    issuer->report.tell(issuer->report.ctx,
                        options->name != NULL ? options->name : options->jwks_uri,
                        good ? NULL : why);
    pthread_mutex_lock(&issuer->lock);
}

/* Lock held, but not while the URL is asked. */
static void ask(struct m5_issuer *issuer)
{
    char why[sizeof issuer->figures.why] = "";
    struct m5_jwt_keys *keys = NULL;
    const uint64_t refresh_ms = seconds(issuer->options->jwks_refresh_s, REFRESH_S);
    const bool allowed = m5_breaker_allows(&issuer->breaker, m5_clock_ms());
    issuer->wanted = false;
    if (allowed) {
        pthread_mutex_unlock(&issuer->lock);
        keys = fetch(issuer, why, sizeof why);
        pthread_mutex_lock(&issuer->lock);
    }
    const uint64_t now_ms = m5_clock_ms();
    bool good = keys != NULL && replace(issuer, keys);
    if (allowed) {
        issuer->asked_ms = now_ms;
        m5_breaker_note(&issuer->breaker, good, now_ms);
        report(issuer, good, why[0] != 0 ? why : "out of memory");
    }
    if (good)
        issuer->fetched_ms = now_ms;
    issuer->next_ms = now_ms + (good || refresh_ms < AGAIN_MS ? refresh_ms : AGAIN_MS);
    if (issuer->breaker.rests_until_ms > issuer->next_ms)
        issuer->next_ms = issuer->breaker.rests_until_ms;
    expire(issuer, now_ms);
}

static void *work(void *ctx)
{
    struct m5_issuer *issuer = ctx;
    pthread_mutex_lock(&issuer->lock);
    while (!atomic_load(&issuer->stopping)) {
        if (m5_clock_ms() >= issuer->next_ms || issuer->wanted) {
            ask(issuer);
            continue;
        }
        const struct timespec until = {.tv_sec = (time_t)(issuer->next_ms / 1000),
                                       .tv_nsec = (long)(issuer->next_ms % 1000) * 1000000};
        pthread_cond_timedwait(&issuer->wake, &issuer->lock, &until);
    }
    pthread_mutex_unlock(&issuer->lock);
    return NULL;
}

static bool start(struct m5_issuer *issuer)
{
    issuer->has_thread = m5_thread_start(&issuer->thread, work, issuer) == 0;
    return issuer->has_thread;
}

/* ---- life ---- */

static bool check(const struct mqtt5_jwt_issuer *options, struct m5_text_error *error)
{
    const char *why;
    if (options->key_file == NULL && options->jwks_uri == NULL)
        return m5_text_fail(error, 0, 0, "an issuer of tokens has neither key_file nor jwks_uri");
    if (options->jwks_uri != NULL && !m5_http_url_check(options->jwks_uri, &why))
        return m5_text_fail(error, 0, 0, "jwks_uri: %s", why);
    if (options->algorithm != NULL && !m5_jwt_algorithm_known(options->algorithm))
        return m5_text_fail(error, 0, 0, "algorithm: HS256, RS256, ES256 or EdDSA");
    if (options->user_prefix != NULL && strlen(options->user_prefix) > M5_ISSUER_PREFIX_MAX)
        return m5_text_fail(error, 0, 0, "user_prefix has more than 255 bytes");
    return m5_roles_check(options, &why) || m5_text_fail(error, 0, 0, "%s", why);
}

static bool init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0)
        return false;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    const bool made = pthread_cond_init(condition, &monotonic) == 0;
    pthread_condattr_destroy(&monotonic);
    return made;
}

struct m5_issuer *m5_issuer_new(const struct mqtt5_jwt_issuer *options,
                                const struct m5_issuer_report *to, struct m5_text_error *error)
{
    bool good;
    if (!check(options, error))
        return NULL;
    struct m5_jwt_keys *keys = read_file(options, &good, error);
    if (!good)
        return NULL;
    struct m5_issuer *issuer = calloc(1, sizeof *issuer);
    if (issuer == NULL || !init_condition(&issuer->wake)) {
        m5_jwt_keys_free(keys);
        free(issuer);
        m5_text_fail(error, 0, 0, "out of memory");
        return NULL;
    }
    issuer->options = options;
    issuer->report = *to;
    pthread_mutex_init(&issuer->lock, NULL);
    issuer->has_keys = m5_snapshot_init(&issuer->keys, keys, free_keys);
    if (!issuer->has_keys)
        m5_jwt_keys_free(keys);
    if (issuer->has_keys && (options->jwks_uri == NULL || start(issuer)))
        return issuer;
    m5_issuer_free(issuer);
    m5_text_fail(error, 0, 0, "out of memory, or of threads, for an issuer's keys");
    return NULL;
}

void m5_issuer_free(struct m5_issuer *issuer)
{
    if (issuer == NULL)
        return;
    atomic_store(&issuer->stopping, true);
    pthread_mutex_lock(&issuer->lock);
    pthread_cond_signal(&issuer->wake);
    pthread_mutex_unlock(&issuer->lock);
    if (issuer->has_thread)
        pthread_join(issuer->thread, NULL);
    if (issuer->has_keys)
        m5_snapshot_fini(&issuer->keys);
    pthread_cond_destroy(&issuer->wake);
    pthread_mutex_destroy(&issuer->lock);
    free(issuer);
}

bool m5_issuer_read(const struct m5_issuer *issuer, struct m5_jwt_keys **out,
                    struct m5_text_error *error)
{
    bool good;
    *out = read_file(issuer->options, &good, error);
    return good;
}

bool m5_issuer_adopt(struct m5_issuer *issuer, struct m5_jwt_keys *keys)
{
    bool good = true;
    pthread_mutex_lock(&issuer->lock);
    if (issuer->fetched_ms == 0)
        good = replace(issuer, keys);
    else
        m5_jwt_keys_free(keys);
    pthread_mutex_unlock(&issuer->lock);
    return good;
}

/* ---- tokens ---- */

/* Wakes the thread, unless it has asked just now. */
static void want_keys(struct m5_issuer *issuer)
{
    pthread_mutex_lock(&issuer->lock);
    if (issuer->asked_ms == 0 || m5_clock_ms() - issuer->asked_ms >= UNKNOWN_KEY_MS) {
        issuer->wanted = true;
        pthread_cond_signal(&issuer->wake);
    }
    pthread_mutex_unlock(&issuer->lock);
}

/* A token with a key that we do not have may be good all the same: its issuer may have a new one.
 * Who shows it is not to be locked out for that. */
static bool may_be_good(const struct m5_issuer *issuer, struct mqtt5_bytes token)
{
    return issuer->has_thread &&
           (issuer->options->issuer == NULL || m5_jwt_says_issuer(token, issuer->options->issuer));
}

/* "prefix:sub": with a prefix, a colon in the subject could make it another prefix's. */
static bool name_user(const struct m5_issuer *issuer, const struct m5_jwt_claims *claims,
                      struct m5_token_user *out)
{
    const char *prefix = issuer->options->user_prefix;
    uint8_t *at = out->name;
    if (prefix != NULL) {
        if (memchr(claims->subject, ':', claims->subject_size) != NULL)
            return false;
        at = m5_copy(at, m5_bytes_of(prefix));
        *at++ = ':';
    }
    at = m5_copy(at, m5_bytes(claims->subject, claims->subject_size));
    out->name_size = (size_t)(at - out->name);
    return true;
}

enum m5_issuer_answer m5_issuer_verify(struct m5_issuer *issuer, struct mqtt5_bytes token,
                                       uint64_t now_s, struct m5_token_user *out)
{
    const struct mqtt5_jwt_issuer *options = issuer->options;
    const struct m5_jwt_rules rules = {
        .issuer = options->issuer,
        .audience = options->audience,
        .clock_skew_s = options->clock_skew_s != 0 ? options->clock_skew_s : SKEW_S};
    struct m5_jwt_claims claims;
    const struct m5_jwt_keys *keys = m5_snapshot_get(&issuer->keys, NULL);
    const char *why =
        keys != NULL ? m5_jwt_verify(keys, &rules, token, now_s, &claims) : m5_jwt_no_key;
    if (why == m5_jwt_no_key && may_be_good(issuer, token)) {
        want_keys(issuer);
        return M5_ISSUER_UNKNOWN;
    }
    if (why != NULL)
        return M5_ISSUER_WRONG;
    const bool named = name_user(issuer, &claims, out);
    if (named)
        m5_roles_of(options, claims.payload, &out->roles);
    m5_jwt_claims_fini(&claims);
    return named ? M5_ISSUER_RIGHT : M5_ISSUER_WRONG;
}

void m5_issuer_figures(struct m5_issuer *issuer, struct m5_issuer_figures *out)
{
    pthread_mutex_lock(&issuer->lock);
    *out = issuer->figures;
    pthread_mutex_unlock(&issuer->lock);
}
