/* Who may connect and what they may do, out of files.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/policy.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "host/acl/cache.h"
#include "host/auth/users.h"

#include <string.h>

/* A thread's memory of answers; given back with the policy. */
struct thread_cache {
    struct m5_acl_cache answers;
    struct thread_cache *next;
};

struct m5_policy {
    const struct mqtt5_allocator *allocator;
    struct m5_policy_options options;
    struct m5_snapshot users, acl,
        bans;                     /* of struct m5_users, m5_acl, m5_bans; values may be NULL */
    struct m5_verifier *verifier; /* NULL without a password file */
    pthread_key_t key;            /* of each thread: its struct thread_cache */
    bool has_key;
    pthread_mutex_t lock; /* guards `caches` */
    struct thread_cache *caches;
};

/* What the files say now. */
struct content {
    struct m5_users *users;
    struct m5_acl *acl;
    struct m5_bans *bans;
};

/* ---- files ---- */

static void free_users(void *users)
{
    m5_users_free(users);
}

static void free_acl(void *acl)
{
    m5_acl_free(acl);
}

static void free_bans(void *bans)
{
    m5_bans_free(bans);
}

static void content_fini(struct content *content)
{
    m5_users_free(content->users);
    m5_acl_free(content->acl);
    m5_bans_free(content->bans);
}

/* Reads all files, or none. */
static bool read_files(const struct m5_policy_options *options, struct content *out,
                       char error[M5_POLICY_ERROR_SIZE])
{
    struct m5_text_error wrong = {0};
    const char *path = NULL;
    *out = (struct content){0};
    if (options->password_file != NULL) {
        path = options->password_file;
        out->users = m5_users_load(path, m5_users_password_check, &wrong);
    }
    if (options->acl_file != NULL && wrong.text[0] == 0) {
        path = options->acl_file;
        out->acl = m5_acl_load(path, options->acl_format, &wrong);
    }
    if (options->ban_file != NULL && wrong.text[0] == 0) {
        path = options->ban_file;
        out->bans = m5_bans_load(path, &wrong);
    }
    if (wrong.text[0] == 0)
        return true;
    m5_text_error_format(&wrong, path, error, M5_POLICY_ERROR_SIZE);
    content_fini(out);
    return false;
}

static bool fail(char error[M5_POLICY_ERROR_SIZE], const char *why)
{
    snprintf(error, M5_POLICY_ERROR_SIZE, "%s", why);
    return false;
}

/* Hands @p value over; false without memory, and then it is gone. */
static bool replace(struct m5_snapshot *snapshot, void *value)
{
    if (m5_snapshot_set(snapshot, value))
        return true;
    if (value != NULL)
        snapshot->free_value(value);
    return false;
}

bool m5_policy_reload(struct m5_policy *policy, char error[M5_POLICY_ERROR_SIZE])
{
    struct content content;
    if (!read_files(&policy->options, &content, error))
        return false;
    const bool users = replace(&policy->users, content.users);
    const bool acl = replace(&policy->acl, content.acl);
    const bool bans = replace(&policy->bans, content.bans);
    return (users && acl && bans) || fail(error, "no memory for all files");
}

/* ---- the engine's questions ---- */

static struct thread_cache *add_cache(struct m5_policy *policy)
{
    struct thread_cache *cache = m5_alloc_zero(policy->allocator, sizeof *cache);
    if (cache == NULL || pthread_setspecific(policy->key, cache) != 0) {
        m5_free(policy->allocator, cache, sizeof *cache);
        return NULL;
    }
    pthread_mutex_lock(&policy->lock);
    cache->next = policy->caches;
    policy->caches = cache;
    pthread_mutex_unlock(&policy->lock);
    return cache;
}

/* Denies when there is no memory to find out. */
static enum m5_access_answer ask(struct m5_policy *policy, const struct m5_principal *who,
                                 enum m5_acl_action action, struct mqtt5_bytes topic)
{
    uint64_t generation;
    if (policy->options.acl_file == NULL)
        return M5_ACCESS_ALLOW;
    const struct m5_acl *acl = m5_snapshot_get(&policy->acl, &generation);
    struct thread_cache *cache = pthread_getspecific(policy->key);
    if (acl == NULL || (cache == NULL && (cache = add_cache(policy)) == NULL))
        return M5_ACCESS_DENY;
    struct m5_principal nobody;
    if (policy->verifier == NULL && !policy->options.names_proved_elsewhere) {
        nobody = (struct m5_principal){.client_id = who->client_id, .anonymous = true};
        who = &nobody;
    }
    return m5_acl_cache_ask(&cache->answers, acl, generation, who, action, topic) ? M5_ACCESS_ALLOW
                                                                                  : M5_ACCESS_DENY;
}

static enum m5_access_answer may_connect(void *ctx, const struct m5_credentials *shown,
                                         enum mqtt5_reason_code *reason)
{
    const struct m5_policy *policy = ctx;
    if (shown->has_method) {
        *reason = MQTT5_REASON_BAD_AUTHENTICATION_METHOD; /* [MQTT-4.12.0-1] */
        return M5_ACCESS_DENY;
    }
    if (shown->identity.len > 0)
        return M5_ACCESS_ALLOW;
    if (!shown->anonymous && policy->verifier != NULL)
        return M5_ACCESS_PENDING;
    if (policy->options.allow_anonymous)
        return M5_ACCESS_ALLOW;
    *reason =
        shown->anonymous ? MQTT5_REASON_NOT_AUTHORIZED : MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD;
    return M5_ACCESS_DENY;
}

static enum m5_access_answer may_publish(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic, uint8_t qos, bool retain)
{
    (void)qos;
    (void)retain;
    return ask(ctx, who, M5_ACL_MAY_WRITE, topic);
}

static enum m5_access_answer may_subscribe(void *ctx, const struct m5_principal *who,
                                           struct mqtt5_bytes filter, uint8_t qos)
{
    (void)qos;
    return ask(ctx, who, M5_ACL_MAY_SUBSCRIBE, filter);
}

static enum m5_access_answer may_deliver(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic)
{
    return ask(ctx, who, M5_ACL_MAY_READ, topic);
}

struct m5_access m5_policy_access(struct m5_policy *policy)
{
    return (struct m5_access){
        .ctx = policy,
        .allow_everything = policy->options.acl_file == NULL,
        .connect = may_connect,
        .publish = may_publish,
        .subscribe = may_subscribe,
        .deliver = may_deliver,
    };
}

/* ---- life ---- */

void m5_policy_options_init(struct m5_policy_options *options)
{
    *options = (struct m5_policy_options){.verifier = m5_verifier_defaults};
}

static bool start(struct m5_policy *policy, struct content *content,
                  char error[M5_POLICY_ERROR_SIZE])
{
    policy->has_key = pthread_key_create(&policy->key, NULL) == 0;
    bool started = policy->has_key;
    started = started && m5_snapshot_init(&policy->users, content->users, free_users);
    if (started)
        content->users = NULL; /* they belong to the snapshots from here on */
    started = started && m5_snapshot_init(&policy->acl, content->acl, free_acl);
    if (started)
        content->acl = NULL;
    started = started && m5_snapshot_init(&policy->bans, content->bans, free_bans);
    if (started)
        content->bans = NULL;
    if (started && policy->options.password_file != NULL) {
        policy->verifier =
            m5_verifier_new(policy->allocator, &policy->options.verifier, &policy->users);
        started = policy->verifier != NULL;
    }
    return started || fail(error, "no memory or threads to check passwords with");
}

struct m5_policy *m5_policy_new(const struct mqtt5_allocator *allocator,
                                const struct m5_policy_options *options,
                                char error[M5_POLICY_ERROR_SIZE])
{
    struct content content;
    if (options->password_file == NULL && !options->allow_anonymous &&
        !options->names_proved_elsewhere) {
        fail(error, "nobody could connect: give a password file, or allow anonymous clients");
        return NULL;
    }
    if (!read_files(options, &content, error))
        return NULL;
    struct m5_policy *policy = m5_alloc_zero(allocator, sizeof *policy);
    if (policy == NULL) {
        fail(error, "out of memory");
        content_fini(&content);
        return NULL;
    }
    policy->allocator = allocator;
    policy->options = *options;
    pthread_mutex_init(&policy->lock, NULL);
    if (start(policy, &content, error))
        return policy;
    content_fini(&content);
    m5_policy_free(policy);
    return NULL;
}

void m5_policy_free(struct m5_policy *policy)
{
    if (policy == NULL)
        return;
    m5_verifier_free(policy->verifier);
    m5_snapshot_fini(&policy->users);
    m5_snapshot_fini(&policy->acl);
    m5_snapshot_fini(&policy->bans);
    if (policy->has_key)
        pthread_key_delete(policy->key);
    while (policy->caches != NULL) {
        struct thread_cache *cache = policy->caches;
        policy->caches = cache->next;
        m5_free(policy->allocator, cache, sizeof *cache);
    }
    pthread_mutex_destroy(&policy->lock);
    m5_free(policy->allocator, policy, sizeof *policy);
}

/* ---- the host's part ---- */

bool m5_policy_bans(struct m5_policy *policy, const struct m5_address *address)
{
    const struct m5_bans *bans = m5_snapshot_get(&policy->bans, NULL);
    return bans != NULL && m5_bans_contain(bans, m5_source_of(address));
}

enum m5_login_answer m5_policy_login(struct m5_policy *policy,
                                     const struct m5_credentials *credentials,
                                     const struct m5_address *address, m5_login_done_fn *done,
                                     void *ctx, uint64_t token)
{
    if (policy->verifier == NULL || credentials->anonymous || !credentials->has_password)
        return M5_LOGIN_WRONG;
    const struct m5_login login = {
        .user = credentials->username,
        .password = credentials->password,
        .source = m5_source_counted(m5_source_of(address)),
        .done = done,
        .ctx = ctx,
        .token = token,
    };
    return m5_verifier_ask(policy->verifier, &login);
}

bool m5_policy_cancel(struct m5_policy *policy, const void *ctx, uint64_t token)
{
    return policy->verifier != NULL && m5_verifier_cancel(policy->verifier, ctx, token);
}

enum mqtt5_reason_code m5_policy_reason(enum m5_login_answer answer)
{
    switch (answer) {
    case M5_LOGIN_BUSY: return MQTT5_REASON_SERVER_BUSY;
    case M5_LOGIN_LOCKED: return MQTT5_REASON_CONNECTION_RATE_EXCEEDED;
    case M5_LOGIN_FAILED: return MQTT5_REASON_SERVER_UNAVAILABLE;
    case M5_LOGIN_RIGHT:
    case M5_LOGIN_PENDING:
    case M5_LOGIN_WRONG: break;
    }
    return MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD;
}

struct m5_verifier_counts m5_policy_counts(struct m5_policy *policy)
{
    return policy->verifier != NULL ? m5_verifier_counts(policy->verifier)
                                    : (struct m5_verifier_counts){0};
}
