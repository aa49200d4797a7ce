/* The ways in at one listener.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/chain.h"
#include "host/clock.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "host/auth/callout.h"
#include "host/auth/options.h"

#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct m5_chain_files {
    struct m5_users *users, *scram;
    struct m5_jwt_keys *keys[M5_ISSUERS_MAX];
};

struct m5_chain {
    const struct mqtt5_allocator *allocator;
    struct m5_auth_copy copy;
    const struct mqtt5_auth_options *options; /* of the copy */
    atomic_uint references;
    struct m5_snapshot users, scram; /* of struct m5_users */
    bool has_users, has_scram;
    uint8_t secret[M5_SCRAM_SECRET_SIZE];
    struct m5_guard *guard;
    struct m5_verifier *verifier; /* NULL without a password file */
    struct m5_callout *callout;   /* NULL without a service */
    struct m5_issuer *issuers[M5_ISSUERS_MAX];
    size_t issuer_count;
    uint64_t (*now_ms)(void);
};

void m5_attempt_fini(struct m5_attempt *attempt)
{
    if (attempt->scram != NULL) {
        m5_wipe(attempt->scram, sizeof *attempt->scram);
        free(attempt->scram);
    }
    m5_chain_release(attempt->chain);
    attempt->scram = NULL;
    attempt->chain = NULL;
}

/* ---- files ---- */

static void free_users(void *users)
{
    m5_users_free(users);
}

void m5_chain_files_free(struct m5_chain_files *files)
{
    if (files == NULL)
        return;
    m5_users_free(files->users);
    m5_users_free(files->scram);
    for (size_t i = 0; i < M5_ISSUERS_MAX; i++)
        m5_jwt_keys_free(files->keys[i]);
    free(files);
}

static bool read_users(const char *path, m5_users_check_fn *check, struct m5_users **out,
                       char *error, size_t error_size)
{
    struct m5_text_error wrong = {0};
    if (path == NULL)
        return true;
    *out = m5_users_load(path, check, &wrong);
    if (*out == NULL)
        m5_text_error_format(&wrong, path, error, error_size);
    return *out != NULL;
}

static bool read_keys(const struct m5_chain *chain, struct m5_chain_files *files, char *error,
                      size_t error_size)
{
    for (size_t i = 0; i < chain->issuer_count; i++) {
        struct m5_text_error wrong = {0};
        if (m5_issuer_read(chain->issuers[i], &files->keys[i], &wrong))
            continue;
        m5_text_error_format(&wrong, chain->options->jwt_issuers[i].key_file, error, error_size);
        return false;
    }
    return true;
}

struct m5_chain_files *m5_chain_read(const struct m5_chain *chain, char *error, size_t error_size)
{
    struct m5_chain_files *files = calloc(1, sizeof *files);
    if (files == NULL) {
        snprintf(error, error_size, "out of memory");
        return NULL;
    }
    if (read_users(chain->options->password_file, m5_users_password_check, &files->users, error,
                   error_size) &&
        read_users(chain->options->scram_file, m5_users_scram_check, &files->scram, error,
                   error_size) &&
        read_keys(chain, files, error, error_size))
        return files;
    m5_chain_files_free(files);
    return NULL;
}

static bool replace(struct m5_snapshot *snapshot, struct m5_users **users)
{
    if (*users == NULL)
        return true;
    if (!m5_snapshot_set(snapshot, *users))
        return false;
    *users = NULL;
    return true;
}

bool m5_chain_adopt(struct m5_chain *chain, struct m5_chain_files *files)
{
    bool good = replace(&chain->users, &files->users);
    good = replace(&chain->scram, &files->scram) && good;
    for (size_t i = 0; i < chain->issuer_count; i++) {
        if (files->keys[i] == NULL)
            continue;
        good = m5_issuer_adopt(chain->issuers[i], files->keys[i]) && good;
        files->keys[i] = NULL;
    }
    m5_chain_files_free(files);
    return good;
}

/* ---- life ---- */

static void set_limit(struct m5_guard_limit *limit, const struct mqtt5_lockout *wanted)
{
    if (wanted->failures != 0)
        limit->failures = wanted->failures == UINT32_MAX ? 0 : wanted->failures;
    if (wanted->window_s != 0)
        limit->window_ms = wanted->window_s * (uint64_t)1000;
    if (wanted->lock_s != 0)
        limit->lock_ms = wanted->lock_s * (uint64_t)1000;
}

static bool fail(char *error, size_t error_size, const char *why)
{
    snprintf(error, error_size, "%s", why);
    return false;
}

static bool start_issuers(struct m5_chain *chain, const struct m5_issuer_report *report,
                          char *error, size_t error_size)
{
    if (chain->options->jwt_issuer_count > M5_ISSUERS_MAX)
        return fail(error, error_size, "there are more than 16 issuers of tokens");
    for (size_t i = 0; i < chain->options->jwt_issuer_count; i++) {
        const struct mqtt5_jwt_issuer *options = &chain->options->jwt_issuers[i];
        struct m5_text_error wrong = {0};
        chain->issuers[i] = m5_issuer_new(options, report, &wrong);
        if (chain->issuers[i] != NULL) {
            chain->issuer_count++;
            continue;
        }
        const char *name = options->name != NULL ? options->name : options->issuer;
        snprintf(error, error_size, "issuer %s: %s", name != NULL ? name : "of tokens", wrong.text);
        return false;
    }
    return true;
}

/* Takes the files over. */
static bool start_files(struct m5_chain *chain, struct m5_chain_files *files)
{
    chain->has_users = m5_snapshot_init(&chain->users, files->users, free_users);
    if (chain->has_users)
        files->users = NULL;
    chain->has_scram = m5_snapshot_init(&chain->scram, files->scram, free_users);
    if (chain->has_scram)
        files->scram = NULL;
    m5_chain_files_free(files);
    return chain->has_users && chain->has_scram;
}

static bool start_verifier(struct m5_chain *chain, const struct m5_verifier_config *config)
{
    struct m5_verifier_config own = *config;
    set_limit(&own.guard.address, &chain->options->address_lockout);
    set_limit(&own.guard.user, &chain->options->user_lockout);
    chain->now_ms = config->now_ms != NULL ? config->now_ms : m5_clock_ms;
    chain->guard = m5_guard_new(chain->allocator, &own.guard);
    if (chain->guard == NULL)
        return false;
    own.shared_guard = chain->guard;
    if (chain->options->password_file != NULL)
        chain->verifier = m5_verifier_new(chain->allocator, &own, &chain->users);
    return chain->options->password_file == NULL || chain->verifier != NULL;
}

static bool start(struct m5_chain *chain, const struct m5_verifier_config *config,
                  const struct m5_issuer_report *report, char *error, size_t error_size)
{
    struct m5_text_error wrong = {0};
    struct m5_chain_files *files = m5_chain_read(chain, error, error_size);
    if (files == NULL)
        return false;
    if (!start_files(chain, files) || !start_verifier(chain, config) ||
        gnutls_rnd(GNUTLS_RND_KEY, chain->secret, sizeof chain->secret) != 0)
        return fail(error, error_size, "out of memory, or of threads, to check passwords with");
    if (!start_issuers(chain, report, error, error_size))
        return false;
    if (chain->options->http.uri == NULL)
        return true;
    chain->callout = m5_callout_new(chain->allocator, &chain->options->http, chain->guard, &wrong);
    return chain->callout != NULL || fail(error, error_size, wrong.text);
}

struct m5_chain *m5_chain_new(const struct mqtt5_allocator *allocator,
                              const struct mqtt5_auth_options *options,
                              const struct m5_verifier_config *verifier,
                              const struct m5_issuer_report *report, char *error, size_t error_size)
{
    struct m5_chain *chain = m5_alloc_zero(allocator, sizeof *chain);
    if (chain == NULL) {
        fail(error, error_size, "out of memory");
        return NULL;
    }
    chain->allocator = allocator;
    chain->references = 1;
    chain->options = &chain->copy.options;
    bool good =
        m5_auth_copy_init(&chain->copy, options) || fail(error, error_size, "out of memory");
    if (good && start(chain, verifier, report, error, error_size))
        return chain;
    m5_chain_release(chain);
    return NULL;
}

struct m5_chain *m5_chain_hold(struct m5_chain *chain)
{
    atomic_fetch_add(&chain->references, 1);
    return chain;
}

bool m5_chain_is_last(const struct m5_chain *chain)
{
    return atomic_load(&chain->references) == 1;
}

void m5_chain_stop(struct m5_chain *chain)
{
    m5_verifier_free(chain->verifier);
    m5_callout_free(chain->callout);
    for (size_t i = 0; i < chain->issuer_count; i++)
        m5_issuer_free(chain->issuers[i]);
    chain->verifier = NULL;
    chain->callout = NULL;
    chain->issuer_count = 0;
}

void m5_chain_release(struct m5_chain *chain)
{
    if (chain == NULL || atomic_fetch_sub(&chain->references, 1) > 1)
        return;
    m5_chain_stop(chain);
    m5_guard_free(chain->guard);
    if (chain->has_users)
        m5_snapshot_fini(&chain->users);
    if (chain->has_scram)
        m5_snapshot_fini(&chain->scram);
    m5_auth_copy_fini(&chain->copy);
    m5_wipe(chain->secret, sizeof chain->secret);
    m5_free(chain->allocator, chain, sizeof *chain);
}

const struct mqtt5_auth_options *m5_chain_options(const struct m5_chain *chain)
{
    return chain->options;
}

/* ---- what is for whom ---- */

enum method { METHOD_NONE, METHOD_SCRAM, METHOD_PLAIN, METHOD_JWT };

static bool says(struct mqtt5_bytes text, const char *word)
{
    return m5_bytes_equal(text, m5_bytes_of(word));
}

static enum method method_of(const struct m5_chain *chain, const struct m5_credentials *shown)
{
    enum m5_scram_hash hash;
    const bool quiet = shown->secure || chain->options->plain_without_tls;
    if (chain->options->scram_file != NULL && m5_scram_hash_of(shown->method, &hash))
        return METHOD_SCRAM;
    if (quiet && (chain->verifier != NULL || chain->callout != NULL) &&
        says(shown->method, "PLAIN"))
        return METHOD_PLAIN;
    return chain->issuer_count > 0 && says(shown->method, "JWT") ? METHOD_JWT : METHOD_NONE;
}

/* Base64 of '{"', and two dots. */
static bool looks_like_token(struct mqtt5_bytes text)
{
    unsigned dots = 0;
    for (size_t i = 0; i < text.len; i++)
        dots += text.data[i] == '.';
    return dots == 2 && text.len > 3 && memcmp(text.data, "eyJ", 3) == 0;
}

static bool shows_token(const struct m5_chain *chain, const struct m5_credentials *shown)
{
    return chain->issuer_count > 0 && shown->has_password && looks_like_token(shown->password);
}

enum m5_access_answer m5_chain_admits(const struct m5_chain *chain,
                                      const struct m5_credentials *shown,
                                      enum mqtt5_reason_code *reason)
{
    if (shown->has_method) {
        *reason = MQTT5_REASON_BAD_AUTHENTICATION_METHOD; /* [MQTT-4.12.0-1] */
        return method_of(chain, shown) != METHOD_NONE ? M5_ACCESS_PENDING : M5_ACCESS_DENY;
    }
    if (shown->identity.len > 0)
        return M5_ACCESS_ALLOW;
    if (shows_token(chain, shown) ||
        (!shown->anonymous && (chain->verifier != NULL || chain->callout != NULL)))
        return M5_ACCESS_PENDING;
    if (chain->options->allow_anonymous)
        return M5_ACCESS_ALLOW;
    *reason =
        shown->anonymous ? MQTT5_REASON_NOT_AUTHORIZED : MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD;
    return M5_ACCESS_DENY;
}

/* ---- passwords ---- */

static bool set_name(struct m5_attempt *attempt, struct mqtt5_bytes name)
{
    if (name.len > sizeof attempt->user.name)
        return false;
    m5_copy(attempt->user.name, name);
    attempt->user.name_size = name.len;
    attempt->user.roles.size = attempt->user.roles.count = 0;
    attempt->named = true;
    return true;
}

/* The file decides about users that it has, and about all when there is nobody else to ask. */
static bool file_decides(struct m5_chain *chain, struct mqtt5_bytes user)
{
    if (chain->verifier == NULL || chain->callout == NULL)
        return chain->verifier != NULL;
    const struct m5_users *users = m5_snapshot_get(&chain->users, NULL);
    return users != NULL && m5_users_find(users, user, 0) != NULL;
}

static enum m5_login_answer check_password(struct m5_chain *chain,
                                           const struct m5_credentials *shown,
                                           const struct m5_login *login)
{
    if (login->user.len == 0 || login->user.len > M5_USER_NAME_MAX)
        return M5_LOGIN_WRONG;
    if (file_decides(chain, login->user))
        return m5_verifier_ask(chain->verifier, login);
    return chain->callout != NULL ? m5_callout_ask(chain->callout, login, shown->client_id)
                                  : M5_LOGIN_WRONG;
}

static enum m5_login_answer plain(struct m5_chain *chain, struct m5_attempt *attempt,
                                  const struct m5_credentials *shown, struct m5_login *login)
{
    if (!shown->has_data || !m5_plain_parse(shown->data, &login->user, &login->password) ||
        !set_name(attempt, login->user))
        return M5_LOGIN_WRONG;
    return check_password(chain, shown, login);
}

/* ---- tokens ---- */

static enum m5_login_answer token(struct m5_chain *chain, struct m5_attempt *attempt,
                                  struct mqtt5_bytes text, const struct m5_login *login)
{
    const struct mqtt5_bytes nobody = {0};
    const uint64_t now_ms = chain->now_ms();
    bool unknown = false;
    if (m5_guard_ask(chain->guard, login->source, nobody, now_ms) == M5_GUARD_ADDRESS_LOCKED)
        return M5_LOGIN_LOCKED;
    for (size_t i = 0; i < chain->issuer_count; i++) {
        const enum m5_issuer_answer answer =
            m5_issuer_verify(chain->issuers[i], text, (uint64_t)time(NULL), &attempt->user);
        if (answer == M5_ISSUER_RIGHT) {
            attempt->named = true;
            return M5_LOGIN_RIGHT;
        }
        unknown = unknown || answer == M5_ISSUER_UNKNOWN;
    }
    if (unknown)
        return M5_LOGIN_FAILED; /* keys are on their way: try again */
    m5_guard_note_failure(chain->guard, login->source, nobody, now_ms);
    return M5_LOGIN_WRONG;
}

/* ---- SCRAM ---- */

static enum m5_login_answer scram_first(struct m5_chain *chain, struct m5_attempt *attempt,
                                        const struct m5_credentials *shown,
                                        const struct m5_login *login)
{
    enum m5_scram_hash hash;
    char nonce[M5_SCRAM_NONCE_SIZE];
    const struct m5_users *users = m5_snapshot_get(&chain->scram, NULL);
    if (!m5_scram_hash_of(shown->method, &hash) || users == NULL || !m5_scram_nonce(nonce))
        return M5_LOGIN_FAILED;
    attempt->scram = malloc(sizeof *attempt->scram);
    if (attempt->scram == NULL)
        return M5_LOGIN_FAILED;
    m5_scram_server_init(attempt->scram, hash);
    const enum m5_scram_answer answer = m5_scram_server_first(attempt->scram, shown->data, users,
                                                              chain->secret, nonce, &attempt->data);
    if (answer != M5_SCRAM_CONTINUE)
        return M5_LOGIN_WRONG;
    attempt->begun_ms = chain->now_ms();
    attempt->has_data = true;
    if (m5_guard_ask(chain->guard, login->source, m5_scram_server_user(attempt->scram),
                     attempt->begun_ms) != M5_GUARD_FREE)
        return M5_LOGIN_LOCKED;
    return M5_LOGIN_CONTINUE;
}

static enum m5_login_answer scram_final(struct m5_chain *chain, struct m5_attempt *attempt,
                                        const struct m5_credentials *shown,
                                        const struct m5_login *login)
{
    const uint64_t now_ms = chain->now_ms();
    const struct mqtt5_bytes user = m5_scram_server_user(attempt->scram);
    if (m5_guard_ask(chain->guard, login->source, user, now_ms) != M5_GUARD_FREE)
        return M5_LOGIN_LOCKED; /* guesses side by side are guesses */
    const enum m5_scram_answer answer =
        m5_scram_server_final(attempt->scram, shown->data, &attempt->data);
    if (answer == M5_SCRAM_DONE && now_ms - attempt->begun_ms < M5_SCRAM_STATE_TTL_MS &&
        set_name(attempt, user)) {
        attempt->has_data = true;
        return M5_LOGIN_RIGHT;
    }
    m5_guard_note_failure(chain->guard, login->source, user, now_ms);
    return M5_LOGIN_WRONG;
}

/* ---- logins ---- */

static enum m5_login_answer by_method(struct m5_chain *chain, struct m5_attempt *attempt,
                                      const struct m5_credentials *shown, struct m5_login *login)
{
    const enum method method = method_of(chain, shown);
    if (attempt->scram != NULL)
        return scram_final(chain, attempt, shown, login);
    switch (method) {
    case METHOD_SCRAM: return scram_first(chain, attempt, shown, login);
    case METHOD_PLAIN: return plain(chain, attempt, shown, login);
    case METHOD_JWT: return token(chain, attempt, shown->data, login);
    case METHOD_NONE: break;
    }
    return M5_LOGIN_METHOD;
}

/* A name that the transport has proved, and another that the client proves now, make nobody. */
static bool contradicts(const struct m5_credentials *shown, const struct m5_attempt *attempt)
{
    return shown->identity.len > 0 && attempt->named &&
           !m5_bytes_equal(shown->identity, m5_bytes(attempt->user.name, attempt->user.name_size));
}

enum m5_login_answer m5_chain_login(struct m5_chain *chain, struct m5_attempt *attempt,
                                    const struct m5_credentials *shown, struct m5_login *login)
{
    enum m5_login_answer answer = M5_LOGIN_WRONG;
    attempt->has_data = attempt->named = false;
    if (attempt->chain == NULL)
        attempt->chain = m5_chain_hold(chain);
    chain = attempt->chain; /* the files may have changed, who began it goes on */
    login->user = shown->username;
    login->password = shown->password;
    if (shown->has_method)
        answer = by_method(chain, attempt, shown, login);
    else if (shows_token(chain, shown))
        answer = token(chain, attempt, shown->password, login);
    else if (!shown->anonymous && shown->has_password)
        answer = check_password(chain, shown, login);
    if (answer == M5_LOGIN_RIGHT || answer == M5_LOGIN_PENDING)
        return contradicts(shown, attempt) ? M5_LOGIN_WRONG : answer;
    return answer;
}

bool m5_chain_cancel(struct m5_chain *chain, const void *ctx, uint64_t token)
{
    return (chain->verifier != NULL && m5_verifier_cancel(chain->verifier, ctx, token)) ||
           (chain->callout != NULL && m5_callout_cancel(chain->callout, ctx, token));
}

struct m5_verifier_counts m5_chain_counts(struct m5_chain *chain)
{
    return chain->verifier != NULL ? m5_verifier_counts(chain->verifier)
                                   : (struct m5_verifier_counts){0};
}
