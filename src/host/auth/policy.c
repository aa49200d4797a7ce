/* Who may connect and what they may do.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/policy.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "host/acl/cache.h"
#include "host/auth/options.h"
#include "host/dynsec/dynsec.h"

#include <stdlib.h>
#include <string.h>

/* A thread's memory of answers; given back with the policy. */
struct thread_cache {
    struct m5_acl_cache answers;
    struct thread_cache *next;
};

/* Every chain that may still have threads: they call into the host, so the policy outlives them. */
struct known {
    struct m5_chain *chain; /* a reference */
    struct known *next;
};

struct way {
    uint32_t slot;
    struct m5_chain *chain;
};

/* What options and files say now; replaced as a whole. */
struct content {
    struct m5_chain *chain; /* of all listeners that have none of their own */
    struct way *ways;       /* of the others */
    size_t way_count;
    struct m5_acl *acl; /* NULL: everything is allowed */
    struct m5_bans *bans;
    char *acl_file, *ban_file;
    enum m5_acl_format acl_format;
};

struct m5_policy {
    const struct mqtt5_allocator *allocator;
    struct m5_verifier_config verifier;
    struct m5_issuer_report report;
    struct m5_dynsec *dynsec; /* NULL: none */
    struct m5_snapshot content;
    bool has_content;
    struct known *known;
    struct m5_access *bound; /* NULL, or what is kept right */
    pthread_key_t key;       /* of each thread: its struct thread_cache */
    bool has_key;
    pthread_mutex_t lock; /* guards `caches` */
    struct thread_cache *caches;
};

static bool fail(char error[M5_POLICY_ERROR_SIZE], const char *why)
{
    snprintf(error, M5_POLICY_ERROR_SIZE, "%s", why);
    return false;
}

bool m5_policy_no_memory(const char error[M5_POLICY_ERROR_SIZE])
{
    return strncmp(error, "out of memory", 13) == 0;
}

/* ---- content ---- */

static void free_content(void *value)
{
    struct content *content = value;
    if (content == NULL)
        return;
    m5_chain_release(content->chain);
    for (size_t i = 0; i < content->way_count; i++)
        m5_chain_release(content->ways[i].chain);
    free(content->ways);
    m5_acl_free(content->acl);
    m5_bans_free(content->bans);
    free(content->acl_file);
    free(content->ban_file);
    free(content);
}

static bool copy_text(char **out, const char *text)
{
    *out = text != NULL ? strdup(text) : NULL;
    return text == NULL || *out != NULL;
}

static bool read_lists(struct content *content, char error[M5_POLICY_ERROR_SIZE])
{
    struct m5_text_error wrong = {0};
    const char *path = content->acl_file;
    if (path != NULL)
        content->acl = m5_acl_load(path, content->acl_format, &wrong);
    if ((path == NULL || content->acl != NULL) && content->ban_file != NULL) {
        path = content->ban_file;
        content->bans = m5_bans_load(path, &wrong);
    }
    if (wrong.text[0] == 0)
        return true;
    m5_text_error_format(&wrong, path, error, M5_POLICY_ERROR_SIZE);
    return false;
}

static struct m5_chain *find_way(const struct content *content, uint32_t slot)
{
    for (size_t i = 0; i < content->way_count; i++) {
        if (content->ways[i].slot == slot)
            return content->ways[i].chain;
    }
    return NULL;
}

static const struct mqtt5_auth_options no_ways; /* nobody gets in */

/* The chain of @p before if it was for the same options, else a new one. */
static struct m5_chain *make_chain(struct m5_policy *policy,
                                   const struct mqtt5_auth_options *options,
                                   struct m5_chain *before, char error[M5_POLICY_ERROR_SIZE])
{
    if (before != NULL && m5_auth_options_equal(m5_chain_options(before), options))
        return m5_chain_hold(before);
    struct known *known = malloc(sizeof *known);
    struct m5_chain *chain = known == NULL
                                 ? NULL
                                 : m5_chain_new(policy->allocator, options, &policy->verifier,
                                                &policy->report, error, M5_POLICY_ERROR_SIZE);
    if (chain == NULL) {
        if (known == NULL)
            fail(error, "out of memory");
        free(known);
        return NULL;
    }
    *known = (struct known){.chain = m5_chain_hold(chain), .next = policy->known};
    policy->known = known;
    return chain;
}

/* Lets chains go that nobody uses any more; with @p all, the threads of the others end as well. */
static void sweep(struct m5_policy *policy, bool all)
{
    struct known **at = &policy->known;
    while (*at != NULL) {
        struct known *known = *at;
        if (all)
            m5_chain_stop(known->chain);
        if (!all && !m5_chain_is_last(known->chain)) {
            at = &known->next;
            continue;
        }
        *at = known->next;
        m5_chain_release(known->chain);
        free(known);
    }
}

static bool make_chains(struct m5_policy *policy, struct content *content,
                        const struct m5_policy_options *options, const struct content *before,
                        char error[M5_POLICY_ERROR_SIZE])
{
    const struct mqtt5_auth_options *auth = options->auth != NULL ? options->auth : &no_ways;
    content->chain = make_chain(policy, auth, before != NULL ? before->chain : NULL, error);
    if (content->chain == NULL)
        return false;
    if (options->listener_count == 0)
        return true;
    content->ways = calloc(options->listener_count, sizeof *content->ways);
    if (content->ways == NULL)
        return fail(error, "out of memory");
    for (size_t i = 0; i < options->listener_count; i++) {
        const struct m5_policy_listener *listener = &options->listeners[i];
        struct m5_chain *old = before != NULL ? find_way(before, listener->slot) : NULL;
        struct m5_chain *chain = make_chain(policy, listener->auth, old, error);
        if (chain == NULL)
            return false;
        content->ways[content->way_count++] = (struct way){listener->slot, chain};
    }
    return true;
}

static struct content *make_content(struct m5_policy *policy,
                                    const struct m5_policy_options *options,
                                    const struct content *before, char error[M5_POLICY_ERROR_SIZE])
{
    struct content *content = calloc(1, sizeof *content);
    bool good = content != NULL && copy_text(&content->acl_file, options->acl_file) &&
                copy_text(&content->ban_file, options->ban_file);
    if (!good)
        fail(error, "out of memory");
    if (good) {
        content->acl_format = options->acl_format;
        good = read_lists(content, error) && make_chains(policy, content, options, before, error);
    }
    if (good)
        return content;
    free_content(content);
    return NULL;
}

/* ---- files again ---- */

#define CHAINS_MAX 128u

/* The chains of @p content, the first one of all. */
static size_t list_chains(const struct content *content, struct m5_chain *out[CHAINS_MAX])
{
    size_t count = 0;
    out[count++] = content->chain;
    for (size_t i = 0; i < content->way_count && count < CHAINS_MAX; i++)
        out[count++] = content->ways[i].chain;
    return count;
}

/* Reads the files of all chains, or of none. */
static bool reread(const struct content *content, struct m5_chain_files *files[CHAINS_MAX],
                   char error[M5_POLICY_ERROR_SIZE])
{
    struct m5_chain *chains[CHAINS_MAX];
    const size_t count = list_chains(content, chains);
    for (size_t i = 0; i < count; i++) {
        files[i] = m5_chain_read(chains[i], error, M5_POLICY_ERROR_SIZE);
        if (files[i] != NULL)
            continue;
        while (i > 0)
            m5_chain_files_free(files[--i]);
        return false;
    }
    return true;
}

static bool adopt(const struct content *content, struct m5_chain_files *files[CHAINS_MAX])
{
    struct m5_chain *chains[CHAINS_MAX];
    const size_t count = list_chains(content, chains);
    bool good = true;
    for (size_t i = 0; i < count; i++)
        good = m5_chain_adopt(chains[i], files[i]) && good;
    return good;
}

static void tell_bound(struct m5_policy *policy, const struct content *content)
{
    if (policy->bound != NULL)
        policy->bound->allow_everything = content->acl == NULL && policy->dynsec == NULL;
}

bool m5_policy_change(struct m5_policy *policy, const struct m5_policy_options *options,
                      char error[M5_POLICY_ERROR_SIZE])
{
    struct m5_chain_files *files[CHAINS_MAX];
    const struct content *before = m5_snapshot_get(&policy->content, NULL);
    sweep(policy, false);
    struct content *content = make_content(policy, options, before, error);
    if (content == NULL)
        return false;
    if (!reread(content, files, error)) {
        free_content(content);
        return false;
    }
    const bool adopted = adopt(content, files);
    const bool allows = content->acl == NULL;
    if (!allows)
        tell_bound(policy, content); /* sooner rather than later */
    if (!m5_snapshot_set(&policy->content, content)) {
        free_content(content);
        return fail(error, "out of memory for all files");
    }
    tell_bound(policy, content);
    return adopted || fail(error, "out of memory for all files");
}

bool m5_policy_reload(struct m5_policy *policy, char error[M5_POLICY_ERROR_SIZE])
{
    const struct content *now = m5_snapshot_get(&policy->content, NULL);
    if (now == NULL)
        return fail(error, "out of memory");
    struct m5_policy_options options = {.auth = m5_chain_options(now->chain),
                                        .listener_count = now->way_count,
                                        .acl_file = now->acl_file,
                                        .ban_file = now->ban_file,
                                        .acl_format = now->acl_format};
    struct m5_policy_listener *listeners = calloc(now->way_count + 1, sizeof *listeners);
    if (listeners == NULL)
        return fail(error, "out of memory");
    for (size_t i = 0; i < now->way_count; i++)
        listeners[i] =
            (struct m5_policy_listener){now->ways[i].slot, m5_chain_options(now->ways[i].chain)};
    options.listeners = listeners;
    const bool done = m5_policy_change(policy, &options, error);
    free(listeners);
    return done;
}

/* ---- the engine's questions ---- */

static struct m5_chain *chain_of(struct m5_policy *policy, uint32_t slot)
{
    const struct content *content = m5_snapshot_get(&policy->content, NULL);
    if (content == NULL)
        return NULL;
    struct m5_chain *own = find_way(content, slot);
    return own != NULL ? own : content->chain;
}

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

/* What dynamic security says: of those whom it names, and of the others when there is no list. */
static enum m5_dynsec_verdict ask_dynsec(struct m5_policy *policy, const struct content *content,
                                         const struct m5_principal *who, enum m5_acl_action action,
                                         struct mqtt5_bytes topic)
{
    enum m5_dynsec_verdict verdict = M5_DYNSEC_UNKNOWN;
    if (policy->dynsec != NULL)
        verdict = m5_dynsec_ask(policy->dynsec, who, action, topic);
    if (verdict == M5_DYNSEC_UNKNOWN && policy->dynsec != NULL && content->acl == NULL)
        verdict = m5_dynsec_default(policy->dynsec, action, topic);
    return verdict;
}

/* Denies when there is no memory to find out. */
static enum m5_access_answer ask(struct m5_policy *policy, const struct m5_principal *who,
                                 enum m5_acl_action action, struct mqtt5_bytes topic)
{
    uint64_t generation;
    const struct content *content = m5_snapshot_get(&policy->content, &generation);
    if (content == NULL)
        return M5_ACCESS_DENY;
    struct m5_principal nobody;
    if (!who->proved && !who->anonymous) {
        nobody = (struct m5_principal){.client_id = who->client_id, .anonymous = true};
        who = &nobody;
    }
    const enum m5_dynsec_verdict verdict = ask_dynsec(policy, content, who, action, topic);
    if (verdict != M5_DYNSEC_UNKNOWN)
        return verdict == M5_DYNSEC_ALLOW ? M5_ACCESS_ALLOW : M5_ACCESS_DENY;
    if (content->acl == NULL || action == M5_ACL_MAY_UNSUBSCRIBE)
        return M5_ACCESS_ALLOW;
    struct thread_cache *cache = pthread_getspecific(policy->key);
    if (cache == NULL && (cache = add_cache(policy)) == NULL)
        return M5_ACCESS_DENY;
    return m5_acl_cache_ask(&cache->answers, content->acl, generation, who, action, topic)
               ? M5_ACCESS_ALLOW
               : M5_ACCESS_DENY;
}

/* What dynamic security knows of whom a client says it is. */
static enum m5_dynsec_verdict known_to_dynsec(struct m5_policy *policy,
                                              const struct m5_credentials *shown)
{
    if (policy->dynsec == NULL || shown->has_method || shown->anonymous)
        return M5_DYNSEC_UNKNOWN;
    return m5_dynsec_welcomes(policy->dynsec,
                              shown->identity.len > 0 ? shown->identity : shown->username,
                              shown->client_id);
}

static enum m5_access_answer may_connect(void *ctx, const struct m5_credentials *shown,
                                         enum mqtt5_reason_code *reason)
{
    const struct m5_chain *chain = chain_of(ctx, shown->listener);
    const enum m5_dynsec_verdict known = known_to_dynsec(ctx, shown);
    *reason = MQTT5_REASON_NOT_AUTHORIZED;
    if (known != M5_DYNSEC_UNKNOWN && shown->identity.len > 0)
        return known == M5_DYNSEC_ALLOW ? M5_ACCESS_ALLOW : M5_ACCESS_DENY;
    if (known != M5_DYNSEC_UNKNOWN)
        return M5_ACCESS_PENDING;
    *reason = MQTT5_REASON_SERVER_UNAVAILABLE;
    return chain != NULL ? m5_chain_admits(chain, shown, reason) : M5_ACCESS_DENY;
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

static enum m5_access_answer may_unsubscribe(void *ctx, const struct m5_principal *who,
                                             struct mqtt5_bytes filter)
{
    return ask(ctx, who, M5_ACL_MAY_UNSUBSCRIBE, filter);
}

static enum m5_access_answer may_deliver(void *ctx, const struct m5_principal *who,
                                         struct mqtt5_bytes topic)
{
    return ask(ctx, who, M5_ACL_MAY_READ, topic);
}

struct m5_access m5_policy_access(struct m5_policy *policy)
{
    const struct content *content = m5_snapshot_get(&policy->content, NULL);
    return (struct m5_access){
        .ctx = policy,
        .allow_everything = content != NULL && content->acl == NULL && policy->dynsec == NULL,
        .connect = may_connect,
        .publish = may_publish,
        .subscribe = may_subscribe,
        .unsubscribe = may_unsubscribe,
        .deliver = may_deliver,
    };
}

void m5_policy_bind(struct m5_policy *policy, struct m5_access *access)
{
    *access = m5_policy_access(policy);
    policy->bound = access;
}

/* ---- life ---- */

void m5_policy_options_init(struct m5_policy_options *options)
{
    *options = (struct m5_policy_options){.verifier = m5_verifier_defaults};
}

static bool start(struct m5_policy *policy, const struct m5_policy_options *options,
                  char error[M5_POLICY_ERROR_SIZE])
{
    policy->has_key = pthread_key_create(&policy->key, NULL) == 0;
    if (!policy->has_key)
        return fail(error, "the system has no room for a thread's memory");
    struct content *content = make_content(policy, options, NULL, error);
    if (content == NULL)
        return false;
    policy->has_content = m5_snapshot_init(&policy->content, content, free_content);
    if (policy->has_content)
        return true;
    free_content(content);
    return fail(error, "out of memory");
}

struct m5_policy *m5_policy_new(const struct mqtt5_allocator *allocator,
                                const struct m5_policy_options *options,
                                char error[M5_POLICY_ERROR_SIZE])
{
    struct m5_policy *policy = m5_alloc_zero(allocator, sizeof *policy);
    if (policy == NULL) {
        fail(error, "out of memory");
        return NULL;
    }
    policy->allocator = allocator;
    policy->verifier = options->verifier;
    policy->report = options->report;
    policy->dynsec = options->dynsec;
    pthread_mutex_init(&policy->lock, NULL);
    if (start(policy, options, error))
        return policy;
    m5_policy_free(policy);
    return NULL;
}

void m5_policy_free(struct m5_policy *policy)
{
    if (policy == NULL)
        return;
    sweep(policy, true);
    if (policy->has_content)
        m5_snapshot_fini(&policy->content);
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
    const struct content *content = m5_snapshot_get(&policy->content, NULL);
    return content != NULL && content->bans != NULL &&
           m5_bans_contain(content->bans, m5_source_of(address));
}

enum m5_login_answer m5_policy_login(struct m5_policy *policy, struct m5_attempt *attempt,
                                     const struct m5_credentials *credentials,
                                     struct m5_source source, m5_login_done_fn *done, void *ctx,
                                     uint64_t token)
{
    struct m5_login login = {.source = source, .done = done, .ctx = ctx, .token = token};
    struct m5_chain *chain = chain_of(policy, credentials->listener);
    const enum m5_dynsec_verdict known = known_to_dynsec(policy, credentials);
    if (known == M5_DYNSEC_DENY || (known == M5_DYNSEC_ALLOW && !credentials->has_password))
        return M5_LOGIN_WRONG;
    if (known == M5_DYNSEC_ALLOW) {
        login.user = credentials->username;
        login.password = credentials->password;
        attempt->dynsec = policy->dynsec;
        return m5_dynsec_login(policy->dynsec, &login);
    }
    return chain != NULL ? m5_chain_login(chain, attempt, credentials, &login) : M5_LOGIN_FAILED;
}

bool m5_policy_cancel(struct m5_attempt *attempt, const void *ctx, uint64_t token)
{
    if (attempt->dynsec != NULL)
        return m5_dynsec_cancel(attempt->dynsec, ctx, token);
    return attempt->chain != NULL && m5_chain_cancel(attempt->chain, ctx, token);
}

enum mqtt5_reason_code m5_policy_reason(enum m5_login_answer answer)
{
    switch (answer) {
    case M5_LOGIN_BUSY: return MQTT5_REASON_SERVER_BUSY;
    case M5_LOGIN_LOCKED: return MQTT5_REASON_CONNECTION_RATE_EXCEEDED;
    case M5_LOGIN_FAILED: return MQTT5_REASON_SERVER_UNAVAILABLE;
    case M5_LOGIN_METHOD: return MQTT5_REASON_BAD_AUTHENTICATION_METHOD;
    case M5_LOGIN_RIGHT:
    case M5_LOGIN_PENDING:
    case M5_LOGIN_CONTINUE:
    case M5_LOGIN_WRONG: break;
    }
    return MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD;
}

struct m5_verifier_counts m5_policy_counts(struct m5_policy *policy)
{
    struct m5_chain *chains[CHAINS_MAX];
    struct m5_verifier_counts sum = {0};
    const struct content *content = m5_snapshot_get(&policy->content, NULL);
    const size_t count = content != NULL ? list_chains(content, chains) : 0;
    for (size_t i = 0; i < count; i++) {
        const struct m5_verifier_counts one = m5_chain_counts(chains[i]);
        sum.right += one.right;
        sum.wrong += one.wrong;
        sum.busy += one.busy;
        sum.locked += one.locked;
        sum.from_cache += one.from_cache;
        sum.hashes += one.hashes;
    }
    return sum;
}
