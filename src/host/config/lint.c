/* What is insecure though it works, and files that the broker could not use: what an operator wants
 * to know before a start.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/acl/acl.h"
#include "host/auth/scram.h"
#include "host/auth/source.h"
#include "host/auth/users.h"
#include "host/config/data.h"
#include "transport/tls/tls.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SOON_S (14 * 86400) /* certificates that expire so soon are worth a word */

struct lint {
    const struct m5_config *config;
    struct m5_problems *problems;
    struct m5_acl *acl;
};

__attribute__((format(printf, 5, 6))) static void warn(struct lint *lint, const char *code,
                                                       struct m5_place place, const char *key,
                                                       const char *format, ...)
{
    char text[M5_PROBLEM_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    m5_problem_add(lint->problems, M5_PROBLEM_WARNING, code, place, key, "%s", text);
}

static struct m5_place whole_file(const struct lint *lint)
{
    return (struct m5_place){.file = lint->config->file};
}

/* ---- files ---- */

/* Keys of files that hold secrets, by the end of their path. */
static bool is_secret(const char *path)
{
    static const char *const names[] = {"password_file", "scram_file", "psk_file", "key_file",
                                        "fallback_key_file"};
    const char *name = strrchr(path, '.');
    name = name == NULL ? path : name + 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return strstr(path, "issuers[") == NULL; /* whose keys are public as a rule */
    return false;
}

static void lint_mode(struct lint *lint, const char *path, const char *file, bool secret)
{
    struct stat info;
    if (stat(file, &info) != 0) {
        m5_problem_add(lint->problems, M5_PROBLEM_ERROR, "no-file", whole_file(lint), path,
                       "%s cannot be read: %s", file, strerror(errno));
        return;
    }
    if (secret && (info.st_mode & S_IRWXO) != 0)
        warn(lint, "readable-secret", whole_file(lint), path,
             "%s holds secrets, and every user of this machine may read it: chmod o-rwx it", file);
    else if ((info.st_mode & S_IWOTH) != 0)
        warn(lint, "writable-file", whole_file(lint), path,
             "every user of this machine may change %s: chmod o-w it", file);
}

static void lint_field(void *ctx, const char *path, const struct m5_key *key, const void *base)
{
    struct lint *lint = (struct lint *)ctx;
    const char *text = key->type == M5_KEY_PATH || key->type == M5_KEY_SECRET
                           ? *(const char *const *)(const void *)((const char *)base + key->offset)
                           : NULL;
    if (text == NULL)
        return;
    if (key->type == M5_KEY_PATH && !key->is_output)
        lint_mode(lint, path, text, is_secret(path));
    if (strcmp(key->name, "dynamic_security_file") == 0 && access(text, F_OK) == 0)
        lint_mode(lint, path, text, true);
    if (key->type == M5_KEY_SECRET && lint->config->file != NULL)
        lint_mode(lint, path, lint->config->file, true);
    if (key->type == M5_KEY_PATH && strcmp(key->name, "keylog_file") == 0)
        warn(lint, "keylog", whole_file(lint), path,
             "the secrets of connections are written to %s: whoever reads it reads the traffic, "
             "too; for debugging only",
             text);
}

static void refuse_file(struct lint *lint, const char *key, const char *file,
                        const struct m5_text_error *error)
{
    char text[M5_PROBLEM_TEXT_SIZE];
    m5_text_error_format(error, file, text, sizeof text);
    m5_problem_add(lint->problems, M5_PROBLEM_ERROR, "bad-file", whole_file(lint), key, "%s", text);
}

static void check_users(struct lint *lint, const char *key, const char *file,
                        m5_users_check_fn *check)
{
    struct m5_text_error error;
    if (file == NULL || access(file, R_OK) != 0)
        return; /* said already when it is missing */
    struct m5_users *users = m5_users_load(file, check, &error);
    if (users == NULL)
        refuse_file(lint, key, file, &error);
    else if (m5_users_count(users) == 0)
        warn(lint, "no-users", whole_file(lint), key, "there is nobody in %s", file);
    m5_users_free(users);
}

static void check_auth(struct lint *lint, const struct mqtt5_auth_options *auth)
{
    check_users(lint, "auth_config.password_file", auth->password_file, m5_users_password_check);
    check_users(lint, "auth_config.scram_file", auth->scram_file, m5_users_scram_check);
    if (auth->plain_without_tls)
        warn(lint, "plain-passwords", whole_file(lint), "auth_config.plain_without_tls",
             "passwords may cross the network in the clear");
}

static void check_files(struct lint *lint)
{
    const struct m5_config *config = lint->config;
    struct m5_text_error error;
    check_auth(lint, &config->auth.options);
    for (size_t i = 0; i < config->options.listener_count; i++)
        if (config->made[i].auth != NULL)
            check_auth(lint, config->made[i].auth);
    const char *acl_file = config->auth.acl_file, *ban_file = config->options.ban_file;
    if (acl_file != NULL && access(acl_file, R_OK) == 0) {
        lint->acl = m5_acl_load(acl_file, M5_ACL_DETECT, &error);
        if (lint->acl == NULL)
            refuse_file(lint, "auth_config.acl_file", acl_file, &error);
    }
    if (ban_file != NULL && access(ban_file, R_OK) == 0) {
        struct m5_bans *bans = m5_bans_load(ban_file, &error);
        if (bans == NULL)
            refuse_file(lint, "ban_file", ban_file, &error);
        m5_bans_free(bans);
    }
}

/* ---- TLS ---- */

static void lint_expiry(struct lint *lint, struct m5_place place, const char *key,
                        const struct m5_tls_config *tls)
{
    const uint64_t expires = m5_tls_config_expires_s(tls);
    const time_t now = time(NULL);
    if (expires == 0 || now < 0)
        return;
    if (expires <= (uint64_t)now)
        warn(lint, "certificate", place, key, "a certificate has expired");
    else if (expires - (uint64_t)now < SOON_S)
        warn(lint, "certificate", place, key, "a certificate expires in %" PRIu64 " days",
             (expires - (uint64_t)now) / 86400);
}

static bool has_weak_version(gnutls_priority_t cache)
{
    const unsigned *list;
    const int count = gnutls_priority_protocol_list(cache, &list);
    for (int i = 0; i < count; i++)
        if (list[i] == GNUTLS_SSL3 || list[i] == GNUTLS_TLS1_0 || list[i] == GNUTLS_TLS1_1 ||
            list[i] == GNUTLS_DTLS1_0)
            return true;
    return false;
}

static bool has_weak_cipher(gnutls_priority_t cache)
{
    const unsigned *list;
    int count = gnutls_priority_cipher_list(cache, &list);
    for (int i = 0; i < count; i++)
        if (list[i] == GNUTLS_CIPHER_NULL || list[i] == GNUTLS_CIPHER_ARCFOUR_128 ||
            list[i] == GNUTLS_CIPHER_ARCFOUR_40 || list[i] == GNUTLS_CIPHER_3DES_CBC ||
            list[i] == GNUTLS_CIPHER_DES_CBC || list[i] == GNUTLS_CIPHER_RC2_40_CBC)
            return true;
    count = gnutls_priority_kx_list(cache, &list);
    for (int i = 0; i < count; i++)
        if (list[i] == GNUTLS_KX_ANON_DH || list[i] == GNUTLS_KX_ANON_ECDH)
            return true;
    return false;
}

static void lint_priorities(struct lint *lint, struct m5_place place, const char *key,
                            const char *priorities)
{
    gnutls_priority_t cache;
    const char *at = NULL;
    if (priorities == NULL || gnutls_priority_init(&cache, priorities, &at) != 0)
        return; /* what is wrong with it is said by whoever uses it */
    if (has_weak_version(cache))
        warn(lint, "weak-tls", place, key,
             "these priorities allow versions older than TLS 1.2: add "
             "-VERS-TLS1.0:-VERS-TLS1.1");
    if (has_weak_cipher(cache))
        warn(lint, "weak-tls", place, key,
             "these priorities allow ciphers that are broken, or connections without certificates");
    gnutls_priority_deinit(cache);
}

static void lint_tls(struct lint *lint, size_t index)
{
    const struct mqtt5_listener *listener = &lint->config->made[index];
    const struct m5_place place = lint->config->places[index];
    const char *key = lint->config->keys[index];
    struct m5_tls_error error;
    if (listener->tls == NULL)
        return;
    struct m5_tls_config *tls = m5_tls_server_config_new(
        listener->tls, listener->transport == MQTT5_TRANSPORT_WSS ? M5_TLS_HTTP : M5_TLS_MQTT,
        &error);
    if (tls == NULL)
        m5_problem_add(lint->problems, M5_PROBLEM_ERROR, "tls", place, key, "%s", error.text);
    else
        lint_expiry(lint, place, key, tls);
    m5_tls_config_unref(tls);
    lint_priorities(lint, place, key, listener->tls->priorities);
}

/* ---- listeners ---- */

static void lint_anonymous(struct lint *lint, size_t index, const char *address)
{
    const struct mqtt5_listener *listener = &lint->config->made[index];
    const struct m5_place place = lint->config->places[index];
    const char *key = lint->config->keys[index];
    const bool is_local = m5_listener_is_local(listener);
    const bool is_unix = listener->transport == MQTT5_TRANSPORT_UNIX;
    if (!is_local && lint->config->auth.acl_file == NULL)
        warn(lint, "open", place, key,
             "everybody who reaches %s may read and write everything: give an acl_file, or make "
             "clients log in",
             address);
    else if (!is_local)
        warn(lint, "open", place, key,
             "everybody who reaches %s is served without a name; the acl_file says what they may "
             "do",
             address);
    if (listener->transport == MQTT5_TRANSPORT_WS && listener->websocket.origin_count == 0)
        warn(lint, "any-origin", place, key,
             "pages of any web site that a browser shows may connect to %s without a name: give "
             "origins",
             address);
    if (is_unix && listener->path[0] != '@' && (listener->mode & S_IWOTH) != 0)
        warn(lint, "open", place, key,
             "every user of this machine may use the socket %s without a name: give it mode 0660",
             address);
}

static bool takes_passwords(const struct mqtt5_auth_options *auth)
{
    return auth->password_file != NULL || auth->http.uri != NULL || auth->jwt_issuer_count > 0;
}

static void lint_listener(struct lint *lint, size_t index)
{
    const struct mqtt5_listener *listener = &lint->config->made[index];
    const struct mqtt5_auth_options *auth =
        listener->auth != NULL ? listener->auth : &lint->config->auth.options;
    const bool is_plain =
        listener->transport == MQTT5_TRANSPORT_TCP || listener->transport == MQTT5_TRANSPORT_WS;
    char address[M5_CONFIG_ADDRESS_SIZE];
    m5_listener_write_address(listener, address);
    if (auth->allow_anonymous)
        lint_anonymous(lint, index, address);
    if (is_plain && !m5_listener_is_local(listener) && takes_passwords(auth) &&
        listener->proxy_protocol == MQTT5_PROXY_OFF)
        warn(lint, "plain-passwords", lint->config->places[index], lint->config->keys[index],
             "passwords and tokens reach %s in the clear: use TLS there, or listen on this machine "
             "only",
             address);
    lint_tls(lint, index);
}

/* A section for TLS without an address would be a surprise wherever it listened: it does so on
 * this machine only. */
static void lint_sections(struct lint *lint)
{
    const struct m5_config *config = lint->config;
    for (size_t i = 0; i < config->options.listener_count; i++)
        if (strcmp(config->keys[i], "tls_config") == 0 && config->made[i].host[0] != ':')
            warn(lint, "default-listener", config->places[i], "tls_config",
                 "has no bind_addresses (--tls-host), so TLS is served on this machine only");
}

static void lint_acl(struct lint *lint)
{
    const struct m5_principal nobody = {.anonymous = true};
    const struct mqtt5_bytes everything = m5_bytes_of("#");
    bool anonymous = lint->config->auth.options.allow_anonymous;
    for (size_t i = 0; i < lint->config->options.listener_count; i++)
        anonymous = anonymous || (lint->config->made[i].auth != NULL &&
                                  lint->config->made[i].auth->allow_anonymous);
    if (lint->acl == NULL || !anonymous)
        return;
    if (m5_acl_may_subscribe(lint->acl, &nobody, everything).allowed)
        warn(lint, "acl-open", whole_file(lint), "auth_config.acl_file",
             "lets clients without a name read everything (#)");
    if (m5_acl_may_write(lint->acl, &nobody, m5_bytes_of("any/topic/at-all")).allowed)
        warn(lint, "acl-open", whole_file(lint), "auth_config.acl_file",
             "lets clients without a name publish to every topic");
}

void m5_config_lint(const struct m5_config *config, struct m5_problems *problems)
{
    struct lint lint = {.config = config, .problems = problems};
    m5_config_walk(config, lint_field, &lint);
    check_files(&lint);
    lint_acl(&lint);
    lint_sections(&lint);
    for (size_t i = 0; i < config->options.listener_count; i++)
        lint_listener(&lint, i);
    m5_acl_free(lint.acl);
}
