/* The ways in at a listener: who is asked first, what each of them says, and what holds when those
 * that are asked over HTTP lie, fail or hang.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/base64.h"
#include "base/bytes.h"
#include "host/auth/chain.h"
#include "host/auth/http.h"
#include "host/auth/options.h"
#include "host/auth/password.h"
#include "support/http_peer.h"
#include "support/unit.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/mqtt5-chain-XXXXXX";
static char users_path[64], scram_path[64], key_path[64];
static char error[512];
static struct mqtt5_auth_options options;
static struct m5_verifier_config quick;

/* What an issuer's thread has told, in order: "+" keys, "-" none. */
static char told[64];

static void on_report(void *ctx, const char *issuer, const char *why)
{
    (void)ctx;
    assert_non_null(issuer);
    const size_t size = strlen(told);
    if (size < sizeof told - 1)
        told[size] = why == NULL ? '+' : '-';
}

static const struct m5_issuer_report report = {.tell = on_report};

static void put_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    options = (struct mqtt5_auth_options){0};
    quick = m5_verifier_defaults;
    return 0;
}

static int make_folder(void **state)
{
    (void)state;
    char stored[M5_PASSWORD_TEXT_SIZE], keys[M5_SCRAM_TEXT_SIZE], line[1024];
    struct m5_password like = m5_password_defaults;
    like.memory_kib = 8;
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(users_path, sizeof users_path, "%s/users", folder);
    snprintf(scram_path, sizeof scram_path, "%s/scram", folder);
    snprintf(key_path, sizeof key_path, "%s/key", folder);
    if (!m5_password_make(m5_bytes_of("right"), &like, stored))
        return 1;
    snprintf(line, sizeof line, "alice:%s\n", stored);
    put_file(users_path, line);
    if (!m5_scram_make(m5_bytes_of("right"), M5_SCRAM_SHA256, M5_SCRAM_ITERATIONS_MIN, keys))
        return 1;
    snprintf(line, sizeof line, "bob:%s\n", keys);
    put_file(scram_path, line);
    put_file(key_path, "a secret of more than thirty-two bytes\n");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(users_path);
    unlink(scram_path);
    unlink(key_path);
    return rmdir(folder);
}

static struct m5_chain *make(void)
{
    struct m5_chain *chain =
        m5_chain_new(&m5_libc_allocator, &options, &quick, &report, error, sizeof error);
    if (chain == NULL)
        fail_msg("%s", error);
    return chain;
}

/* ---- logins ---- */

static struct answer {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int value;
} answered = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_done(void *ctx, uint64_t token, enum m5_login_answer value)
{
    (void)ctx;
    (void)token;
    pthread_mutex_lock(&answered.lock);
    answered.value = (int)value;
    pthread_cond_signal(&answered.changed);
    pthread_mutex_unlock(&answered.lock);
}

static struct m5_attempt attempt;
static uint8_t where; /* the last byte of the address that logins come from */

static enum m5_login_answer login(struct m5_chain *chain, const struct m5_credentials *shown)
{
    struct m5_login asked = {.done = on_done, .token = 1};
    asked.source.bytes[15] = where;
    answered.value = -1;
    const enum m5_login_answer at_once = m5_chain_login(chain, &attempt, shown, &asked);
    if (at_once != M5_LOGIN_PENDING)
        return at_once;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&answered.lock);
    while (answered.value < 0)
        assert_int_not_equal(pthread_cond_timedwait(&answered.changed, &answered.lock, &until),
                             ETIMEDOUT);
    pthread_mutex_unlock(&answered.lock);
    return (enum m5_login_answer)answered.value;
}

/* A login of one step; NULL: absent. */
static enum m5_login_answer login_with(struct m5_chain *chain, const struct m5_credentials *shown)
{
    attempt = (struct m5_attempt){0};
    const enum m5_login_answer answer = login(chain, shown);
    m5_attempt_fini(&attempt);
    return answer;
}

static struct m5_credentials password(const char *user, const char *word)
{
    return (struct m5_credentials){.client_id = m5_bytes_of("c"),
                                   .username = m5_bytes_of(user != NULL ? user : ""),
                                   .password = m5_bytes_of(word != NULL ? word : ""),
                                   .anonymous = user == NULL,
                                   .has_password = word != NULL};
}

static struct m5_credentials method(const char *name, struct mqtt5_bytes data)
{
    return (struct m5_credentials){.client_id = m5_bytes_of("c"),
                                   .method = m5_bytes_of(name),
                                   .data = data,
                                   .anonymous = true,
                                   .has_method = true,
                                   .has_data = true,
                                   .secure = true};
}

static enum m5_access_answer admits(const struct m5_chain *chain, struct m5_credentials shown,
                                    unsigned *reason)
{
    enum mqtt5_reason_code why = MQTT5_REASON_SUCCESS;
    const enum m5_access_answer answer = m5_chain_admits(chain, &shown, &why);
    *reason = why;
    return answer;
}

static bool is_user(const char *name)
{
    return attempt.named &&
           m5_bytes_equal(m5_bytes(attempt.user.name, attempt.user.name_size), m5_bytes_of(name));
}

/* ---- methods ---- */

static void only_what_is_configured_is_offered(void **state)
{
    (void)state;
    unsigned reason;
    struct m5_chain *chain = make();
    static const char *const names[] = {"SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "JWT", "X"};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(admits(chain, method(names[i], m5_bytes_of("x")), &reason),
                         M5_ACCESS_DENY);
        assert_int_equal(reason, MQTT5_REASON_BAD_AUTHENTICATION_METHOD);
    }
    assert_int_equal(admits(chain, password(NULL, NULL), &reason), M5_ACCESS_DENY);
    assert_int_equal(reason, MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(admits(chain, password("alice", "right"), &reason), M5_ACCESS_DENY);
    assert_int_equal(reason, MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD);
    m5_chain_release(chain);
    options.password_file = users_path;
    options.scram_file = scram_path;
    chain = make();
    struct m5_credentials plain = method("PLAIN", m5_bytes_of("x"));
    assert_int_equal(admits(chain, method("SCRAM-SHA-256", m5_bytes_of("x")), &reason),
                     M5_ACCESS_PENDING);
    assert_int_equal(admits(chain, method("JWT", m5_bytes_of("x")), &reason), M5_ACCESS_DENY);
    assert_int_equal(admits(chain, plain, &reason), M5_ACCESS_PENDING);
    plain.secure = false; /* somebody may listen */
    assert_int_equal(admits(chain, plain, &reason), M5_ACCESS_DENY);
    m5_chain_release(chain);
    options.plain_without_tls = true;
    chain = make();
    assert_int_equal(admits(chain, plain, &reason), M5_ACCESS_PENDING);
    m5_chain_release(chain);
}

static void a_name_of_the_transport_comes_first(void **state)
{
    (void)state;
    unsigned reason;
    options.password_file = users_path;
    struct m5_chain *chain = make();
    struct m5_credentials shown = password(NULL, NULL);
    shown.identity = m5_bytes_of("alice");
    assert_int_equal(admits(chain, shown, &reason), M5_ACCESS_ALLOW);
    /* Both, and they contradict each other. */
    shown = method("PLAIN", m5_bytes("\0alice\0right", 12));
    shown.identity = m5_bytes_of("alice");
    assert_int_equal(login_with(chain, &shown), M5_LOGIN_RIGHT);
    shown.identity = m5_bytes_of("bob");
    assert_int_equal(login_with(chain, &shown), M5_LOGIN_WRONG);
    m5_chain_release(chain);
}

static void plain_is_a_password(void **state)
{
    (void)state;
    options.password_file = users_path;
    struct m5_chain *chain = make();
    static const struct {
        const char *text;
        size_t size;
        enum m5_login_answer answer;
    } cases[] = {{"\0alice\0right", 12, M5_LOGIN_RIGHT},
                 {"alice\0alice\0right", 17, M5_LOGIN_RIGHT},
                 {"bob\0alice\0right", 15, M5_LOGIN_WRONG}, /* as somebody else */
                 {"\0alice\0wrong", 12, M5_LOGIN_WRONG},
                 {"\0nobody\0right", 13, M5_LOGIN_WRONG},
                 {"\0alice", 6, M5_LOGIN_WRONG},
                 {"", 0, M5_LOGIN_WRONG}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct m5_credentials shown = method("PLAIN", m5_bytes(cases[i].text, cases[i].size));
        attempt = (struct m5_attempt){0};
        assert_int_equal(login(chain, &shown), cases[i].answer);
        if (cases[i].answer == M5_LOGIN_RIGHT)
            assert_true(is_user("alice"));
        m5_attempt_fini(&attempt);
    }
    m5_chain_release(chain);
}

/* ---- SCRAM ---- */

static enum m5_login_answer scram(struct m5_chain *chain, const char *user, const char *word,
                                  const char *name)
{
    struct m5_scram_client client;
    struct m5_scram_message out;
    char nonce[M5_SCRAM_NONCE_SIZE];
    assert_true(m5_scram_nonce(nonce));
    assert_int_equal(m5_scram_client_first(&client, M5_SCRAM_SHA256, m5_bytes_of(user),
                                           m5_bytes_of(word), nonce, &out),
                     M5_SCRAM_CONTINUE);
    attempt = (struct m5_attempt){0};
    struct m5_credentials shown = method(name, m5_bytes(out.text, out.size));
    enum m5_login_answer answer = login(chain, &shown);
    if (answer == M5_LOGIN_CONTINUE) {
        assert_true(attempt.has_data);
        assert_int_equal(
            m5_scram_client_next(&client, m5_bytes(attempt.data.text, attempt.data.size), &out),
            M5_SCRAM_CONTINUE);
        shown.data = m5_bytes(out.text, out.size);
        shown.going = true;
        answer = login(chain, &shown);
        if (answer == M5_LOGIN_RIGHT) {
            assert_true(is_user(user));
            assert_int_equal(
                m5_scram_client_finish(&client, m5_bytes(attempt.data.text, attempt.data.size)),
                M5_SCRAM_DONE);
        }
    }
    m5_attempt_fini(&attempt);
    return answer;
}

static void scram_proves_both_sides(void **state)
{
    (void)state;
    options.scram_file = scram_path;
    struct m5_chain *chain = make();
    assert_int_equal(scram(chain, "bob", "right", "SCRAM-SHA-256"), M5_LOGIN_RIGHT);
    assert_int_equal(scram(chain, "bob", "wrong", "SCRAM-SHA-256"), M5_LOGIN_WRONG);
    /* A stranger gets as far as the proof. */
    assert_int_equal(scram(chain, "nobody", "right", "SCRAM-SHA-256"), M5_LOGIN_WRONG);
    const struct m5_credentials rubbish = method("SCRAM-SHA-256", m5_bytes_of("rubbish"));
    assert_int_equal(login_with(chain, &rubbish), M5_LOGIN_WRONG);
    m5_chain_release(chain);
}

static uint64_t clock_ms;

static uint64_t read_clock(void)
{
    return clock_ms;
}

static void a_proof_that_comes_late_does_not_count(void **state)
{
    (void)state;
    struct m5_scram_client client;
    struct m5_scram_message out;
    options.scram_file = scram_path;
    quick.now_ms = read_clock;
    clock_ms = 1000;
    struct m5_chain *chain = make();
    for (unsigned late = 0; late < 2; late++) {
        m5_scram_client_first(&client, M5_SCRAM_SHA256, m5_bytes_of("bob"), m5_bytes_of("right"),
                              "abcdefghijkl", &out);
        attempt = (struct m5_attempt){0};
        struct m5_credentials shown = method("SCRAM-SHA-256", m5_bytes(out.text, out.size));
        assert_int_equal(login(chain, &shown), M5_LOGIN_CONTINUE);
        m5_scram_client_next(&client, m5_bytes(attempt.data.text, attempt.data.size), &out);
        shown.data = m5_bytes(out.text, out.size);
        shown.going = true;
        clock_ms += late != 0 ? M5_SCRAM_STATE_TTL_MS : M5_SCRAM_STATE_TTL_MS - 1;
        assert_int_equal(login(chain, &shown), late != 0 ? M5_LOGIN_WRONG : M5_LOGIN_RIGHT);
        m5_attempt_fini(&attempt);
    }
    m5_chain_release(chain);
}

/* An address that guesses is locked out, by whichever way it guesses, and the owner is not. */
static void guessing_locks_the_address_out(void **state)
{
    (void)state;
    options.scram_file = scram_path;
    options.password_file = users_path;
    options.address_lockout = (struct mqtt5_lockout){.failures = 3, .window_s = 10, .lock_s = 20};
    quick.now_ms = read_clock;
    clock_ms = 1000;
    struct m5_chain *chain = make();
    const struct m5_credentials right = password("alice", "right");
    where = 1;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(scram(chain, "bob", "guess", "SCRAM-SHA-256"), M5_LOGIN_WRONG);
    assert_int_equal(scram(chain, "bob", "right", "SCRAM-SHA-256"), M5_LOGIN_LOCKED);
    assert_int_equal(login_with(chain, &right), M5_LOGIN_LOCKED);
    where = 2;
    assert_int_equal(scram(chain, "bob", "right", "SCRAM-SHA-256"), M5_LOGIN_RIGHT);
    assert_int_equal(login_with(chain, &right), M5_LOGIN_RIGHT);
    where = 1;
    clock_ms += 20000;
    assert_int_equal(scram(chain, "bob", "right", "SCRAM-SHA-256"), M5_LOGIN_RIGHT);
    where = 0;
    m5_chain_release(chain);
}

/* ---- tokens ---- */

static char token[8192];

static size_t encode(const char *text, char *out)
{
    return m5_base64_encode(m5_bytes_of(text), M5_BASE64_URL, out);
}

static const char *hs256(const char *claims)
{
    static const char secret[] = "a secret of more than thirty-two bytes";
    uint8_t signature[32];
    size_t size = encode("{\"alg\":\"HS256\"}", token);
    token[size++] = '.';
    size += encode(claims, token + size);
    gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, sizeof secret - 1, token, size, signature);
    token[size++] = '.';
    m5_base64_encode(m5_bytes(signature, sizeof signature), M5_BASE64_URL, token + size);
    return token;
}

static const char *claims_of(const char *more)
{
    static char claims[2048];
    snprintf(claims, sizeof claims, "{\"sub\":\"carol\",\"exp\":%lld%s}",
             (long long)time(NULL) + 600, more);
    return claims;
}

static bool has_role(const char *name)
{
    for (size_t at = 0; at < attempt.user.roles.size;
         at += strlen(attempt.user.roles.text + at) + 1) {
        if (strcmp(attempt.user.roles.text + at, name) == 0)
            return true;
    }
    return false;
}

static void tokens_are_passwords_or_a_method(void **state)
{
    (void)state;
    unsigned reason;
    struct mqtt5_jwt_issuer issuer = {.key_file = key_path};
    options.jwt_issuers = &issuer;
    options.jwt_issuer_count = 1;
    struct m5_chain *chain = make();
    hs256(claims_of(""));
    const struct m5_credentials shown[] = {password(NULL, token), password("anybody", token),
                                           method("JWT", m5_bytes_of(token))};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(admits(chain, shown[i], &reason), M5_ACCESS_PENDING);
        attempt = (struct m5_attempt){0};
        assert_int_equal(login(chain, &shown[i]), M5_LOGIN_RIGHT);
        assert_true(is_user("carol"));
        assert_int_equal(attempt.user.roles.size, 0);
        m5_attempt_fini(&attempt);
    }
    token[10] ^= 1;
    const struct m5_credentials forged = method("JWT", m5_bytes_of(token));
    assert_int_equal(login_with(chain, &forged), M5_LOGIN_WRONG);
    m5_chain_release(chain);
}

static void roles_come_from_claims(void **state)
{
    (void)state;
    static const char *const guard[] = {"guard"}, *const all[] = {"one", "two"},
                             *const standard[] = {"everybody"};
    static const struct mqtt5_role_mapping mappings[] = {
        {"team", MQTT5_CLAIM_EQUALS, "doors", guard, 1},
        {"realm_access.level", MQTT5_CLAIM_ANY, NULL, all, 2},
        {"mail", MQTT5_CLAIM_REGEX, "[a-z]+@example\\.com", guard, 1}};
    static const struct {
        const char *claims;
        enum mqtt5_jwt_roles mode;
        const char *wanted;
        size_t count;
    } cases[] = {
        {"", MQTT5_JWT_ROLES_NONE, NULL, 0},
        {",\"roles\":[\"guard\"]", MQTT5_JWT_ROLES_NONE, NULL, 0},
        {",\"roles\":[\"guard\",\"x y\",7,\"\",\"guard\"]", MQTT5_JWT_ROLES_TRUSTED, "guard", 2},
        {",\"groups\":\"a b\"", MQTT5_JWT_ROLES_TRUSTED, "b", 3},
        {",\"realm_access\":{\"roles\":[\"deep\"]}", MQTT5_JWT_ROLES_TRUSTED, "deep", 2},
        {",\"roles\":[\"guard\"]", MQTT5_JWT_ROLES_MAPPED, "everybody", 1},
        {",\"team\":\"doors\"", MQTT5_JWT_ROLES_MAPPED, "guard", 2},
        {",\"team\":[\"x\",\"doors\"]", MQTT5_JWT_ROLES_MAPPED, "guard", 2},
        {",\"team\":\"doors2\"", MQTT5_JWT_ROLES_MAPPED, "everybody", 1},
        {",\"realm_access\":{\"level\":3}", MQTT5_JWT_ROLES_MAPPED, "two", 3},
        {",\"mail\":\"x@example.com\"", MQTT5_JWT_ROLES_MAPPED, "guard", 2},
        {",\"mail\":\"x@example.com.evil\"", MQTT5_JWT_ROLES_MAPPED, "everybody", 1},
        {",\"mail\":\"y x@example.com\"", MQTT5_JWT_ROLES_MAPPED, "everybody", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mqtt5_jwt_issuer issuer = {.key_file = key_path,
                                          .user_prefix = "corp",
                                          .roles = cases[i].mode,
                                          .role_mappings = mappings,
                                          .role_mapping_count = 3,
                                          .default_roles = standard,
                                          .default_role_count = 1};
        options.jwt_issuers = &issuer;
        options.jwt_issuer_count = 1;
        struct m5_chain *chain = make();
        const struct m5_credentials shown =
            method("JWT", m5_bytes_of(hs256(claims_of(cases[i].claims))));
        attempt = (struct m5_attempt){0};
        assert_int_equal(login(chain, &shown), M5_LOGIN_RIGHT);
        assert_true(is_user("corp:carol"));
        if (cases[i].wanted != NULL && !has_role(cases[i].wanted))
            fail_msg("%s: no role %s", cases[i].claims, cases[i].wanted);
        assert_int_equal(attempt.user.roles.count, cases[i].count);
        m5_attempt_fini(&attempt);
        m5_chain_release(chain);
    }
}

/* A subject with a colon could be another prefix's. */
static void a_prefix_cannot_be_forged(void **state)
{
    (void)state;
    char claims[256];
    struct mqtt5_jwt_issuer issuer = {.key_file = key_path, .user_prefix = "corp"};
    options.jwt_issuers = &issuer;
    options.jwt_issuer_count = 1;
    struct m5_chain *chain = make();
    snprintf(claims, sizeof claims, "{\"sub\":\"a:b\",\"exp\":%lld}", (long long)time(NULL) + 600);
    const struct m5_credentials shown = method("JWT", m5_bytes_of(hs256(claims)));
    assert_int_equal(login_with(chain, &shown), M5_LOGIN_WRONG);
    m5_chain_release(chain);
}

/* ---- keys from an URL ---- */

struct signer {
    gnutls_privkey_t key;
    char kid[16], jwk[512];
};

static void make_signer(struct signer *signer, const char *kid)
{
    gnutls_pubkey_t pub;
    gnutls_datum_t x = {0};
    gnutls_ecc_curve_t curve;
    char text[128];
    assert_int_equal(gnutls_privkey_init(&signer->key), 0);
    assert_int_equal(gnutls_privkey_generate(signer->key, GNUTLS_PK_EDDSA_ED25519,
                                             GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519), 0),
                     0);
    assert_int_equal(gnutls_pubkey_init(&pub), 0);
    assert_int_equal(gnutls_pubkey_import_privkey(pub, signer->key, 0, 0), 0);
    assert_int_equal(gnutls_pubkey_export_ecc_raw(pub, &curve, &x, NULL), 0);
    m5_base64_encode(m5_bytes(x.data, x.size), M5_BASE64_URL, text);
    snprintf(signer->kid, sizeof signer->kid, "%s", kid);
    snprintf(signer->jwk, sizeof signer->jwk,
             "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%s\",\"x\":\"%s\"}", kid, text);
    gnutls_free(x.data);
    gnutls_pubkey_deinit(pub);
}

static const char *eddsa(const struct signer *signer, const char *claims)
{
    char head[64];
    gnutls_datum_t signature;
    snprintf(head, sizeof head, "{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", signer->kid);
    size_t size = encode(head, token);
    token[size++] = '.';
    size += encode(claims, token + size);
    const gnutls_datum_t text = {.data = (uint8_t *)token, .size = (unsigned)size};
    assert_int_equal(
        gnutls_privkey_sign_data2(signer->key, GNUTLS_SIGN_EDDSA_ED25519, 0, &text, &signature), 0);
    token[size++] = '.';
    m5_base64_encode(m5_bytes(signature.data, signature.size), M5_BASE64_URL, token + size);
    gnutls_free(signature.data);
    return token;
}

static struct {
    pthread_mutex_t lock;
    struct http_reply reply;
    char request[4096];
} web = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_request(void *ctx, const char *request, struct http_reply *reply)
{
    (void)ctx;
    pthread_mutex_lock(&web.lock);
    snprintf(web.request, sizeof web.request, "%s", request);
    *reply = web.reply;
    pthread_mutex_unlock(&web.lock);
}

static void set_reply(int status, const char *format, const char *text)
{
    pthread_mutex_lock(&web.lock);
    web.reply.status = status;
    web.reply.location[0] = 0;
    snprintf(web.reply.body, sizeof web.reply.body, format, text);
    pthread_mutex_unlock(&web.lock);
}

static enum m5_login_answer token_login(struct m5_chain *chain, const char *text)
{
    const struct m5_credentials shown = method("JWT", m5_bytes_of(text));
    return login_with(chain, &shown);
}

/* Asks until the answer is that; keys come on another thread. */
static void await_login(struct m5_chain *chain, const char *text, enum m5_login_answer wanted)
{
    enum m5_login_answer answer = M5_LOGIN_PENDING;
    where = 77; /* whoever waits so long would be locked out */
    for (unsigned i = 0; i < 500 && answer != wanted; i++) {
        answer = token_login(chain, text);
        if (answer != wanted)
            usleep(20000);
    }
    where = 0;
    assert_int_equal(answer, wanted);
}

static struct mqtt5_jwt_issuer remote;
static char url[128];

static void use_url(const struct http_peer *peer, const char *path)
{
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", http_peer_port(peer), path);
    remote = (struct mqtt5_jwt_issuer){.jwks_uri = url, .jwks_refresh_s = 1, .jwks_cache_s = 3};
    options.jwt_issuers = &remote;
    options.jwt_issuer_count = 1;
    options.address_lockout.failures = UINT32_MAX;
}

/* Keys serve while the issuer is away, for as long as is allowed; then the file's do. */
static void keys_outlive_their_issuer(void **state)
{
    (void)state;
    struct signer signer;
    make_signer(&signer, "k1");
    set_reply(200, "{\"keys\":[%s]}", signer.jwk);
    struct http_peer *peer = http_peer_start(on_request, NULL, 0);
    use_url(peer, "/keys");
    remote.key_file = key_path;
    memset(told, 0, sizeof told);
    struct m5_chain *chain = make();
    char good[2048];
    snprintf(good, sizeof good, "%s", eddsa(&signer, claims_of("")));
    await_login(chain, good, M5_LOGIN_RIGHT);
    assert_non_null(strstr(web.request, "GET /keys HTTP/1.1"));
    http_peer_stop(peer);
    for (unsigned i = 0; i < 20; i++) { /* gone: two seconds */
        assert_int_equal(token_login(chain, good), M5_LOGIN_RIGHT);
        usleep(50000);
    }
    for (unsigned i = 0; i < 400 && token_login(chain, hs256(claims_of(""))) != M5_LOGIN_RIGHT; i++)
        usleep(20000);
    assert_int_equal(token_login(chain, hs256(claims_of(""))), M5_LOGIN_RIGHT); /* the file's */
    assert_int_equal(token_login(chain, good), M5_LOGIN_FAILED);                /* perhaps later */
    m5_chain_release(chain);
    assert_string_equal(told, "+-"); /* once each, however often it was asked */
    gnutls_privkey_deinit(signer.key);
}

static void keys_are_read_again(void **state)
{
    (void)state;
    struct signer first, second;
    char old[2048], fresh[2048];
    make_signer(&first, "k1");
    make_signer(&second, "k2");
    snprintf(old, sizeof old, "%s", eddsa(&first, claims_of("")));
    snprintf(fresh, sizeof fresh, "%s", eddsa(&second, claims_of("")));
    set_reply(200, "{\"keys\":[%s]}", first.jwk);
    struct http_peer *peer = http_peer_start(on_request, NULL, 0);
    use_url(peer, "/");
    options.address_lockout.failures = 0; /* the default */
    struct m5_chain *chain = make();
    await_login(chain, old, M5_LOGIN_RIGHT);
    for (unsigned i = 0; i < 30; i++) /* who has the new key early is not locked out for it */
        assert_int_equal(token_login(chain, fresh), M5_LOGIN_FAILED);
    set_reply(200, "{\"keys\":[%s]}", second.jwk);
    await_login(chain, fresh, M5_LOGIN_RIGHT);
    assert_int_not_equal(token_login(chain, old), M5_LOGIN_RIGHT);
    m5_chain_release(chain);
    http_peer_stop(peer);
    gnutls_privkey_deinit(first.key);
    gnutls_privkey_deinit(second.key);
}

/* What an URL may give instead of keys: nothing of it makes a key. */
static void what_is_no_key_set_is_none(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
    } cases[] = {
        {404, "{\"keys\":[]}"},
        {200, "{\"keys\":[]}"},
        {200, "<html>"},
        {200, ""},
        /* our own secret, as a key of the network */
        {200, "{\"keys\":[{\"kty\":\"oct\",\"k\":"
              "\"YSBzZWNyZXQgb2YgbW9yZSB0aGFuIHRoaXJ0eS10d28gYnl0ZXM\"}]}"},
        {302, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_reply(cases[i].status, "%s", cases[i].body);
        if (cases[i].status == 302)
            snprintf(web.reply.location, sizeof web.reply.location, "file://%s", key_path);
        struct http_peer *peer = http_peer_start(on_request, NULL, 0);
        use_url(peer, "/");
        struct m5_chain *chain = make();
        for (unsigned j = 0; j < 500 && http_peer_count(peer) == 0; j++)
            usleep(10000);
        assert_int_equal(token_login(chain, hs256(claims_of(""))), M5_LOGIN_FAILED);
        m5_chain_release(chain);
        http_peer_stop(peer);
    }
}

/* Row 45: which URLs are asked at all. */
static void case_45_only_https_and_this_machine(void **state)
{
    (void)state;
    static const char *const good[] = {"https://issuer.example/keys", "http://127.0.0.1:80/",
                                       "http://[::1]:8080/x", "http://localhost/",
                                       "HTTPS://h.example"};
    static const char *const bad[] = {"http://issuer.example/keys",
                                      "file:///etc/passwd",
                                      "gopher://127.0.0.1/",
                                      "ftp://127.0.0.1/",
                                      "ldap://127.0.0.1/",
                                      "dict://127.0.0.1/",
                                      "http://127.0.0.1.example/",
                                      "http://127.0.0.1@example.com/",
                                      "http://localhost.example/",
                                      "https:///x",
                                      "https://h/\r\nX: y",
                                      "https://h/ x",
                                      "keys",
                                      "//h/x",
                                      ""};
    const char *why;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!m5_http_url_check(good[i], &why))
            fail_msg("%s: %s", good[i], why);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (m5_http_url_check(bad[i], &why))
            fail_msg("%s is taken", bad[i]);
        assert_non_null(why);
        remote = (struct mqtt5_jwt_issuer){.jwks_uri = bad[i]};
        options = (struct mqtt5_auth_options){.jwt_issuers = &remote, .jwt_issuer_count = 1};
        assert_null(
            m5_chain_new(&m5_libc_allocator, &options, &quick, &report, error, sizeof error));
        options = (struct mqtt5_auth_options){.http.uri = bad[i]};
        assert_null(
            m5_chain_new(&m5_libc_allocator, &options, &quick, &report, error, sizeof error));
    }
}

/* ---- a service that is asked ---- */

static struct m5_chain *make_callout(const struct http_peer *peer)
{
    snprintf(url, sizeof url, "http://127.0.0.1:%u/auth", http_peer_port(peer));
    options.http.uri = url;
    options.address_lockout.failures = UINT32_MAX;
    return make();
}

static void a_service_decides(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum m5_login_answer answer;
    } cases[] = {{200, M5_LOGIN_RIGHT},  {401, M5_LOGIN_WRONG},  {403, M5_LOGIN_WRONG},
                 {500, M5_LOGIN_FAILED}, {302, M5_LOGIN_FAILED}, {200, M5_LOGIN_RIGHT},
                 {204, M5_LOGIN_FAILED}};
    set_reply(200, "%s", "");
    struct http_peer *peer = http_peer_start(on_request, NULL, 0);
    struct m5_chain *chain = make_callout(peer);
    const struct m5_credentials shown = password("al&i=ce", "p%+ \xc3\xa4");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set_reply(cases[i].status, "%s", "");
        assert_int_equal(login_with(chain, &shown), cases[i].answer);
    }
    assert_int_equal(http_peer_count(peer), 7);
    assert_non_null(strstr(web.request, "POST /auth HTTP/1.1"));
    assert_non_null(
        strstr(web.request, "username=al%26i%3Dce&password=p%25%2B%20%C3%A4&clientid=c"));
    m5_chain_release(chain);
    http_peer_stop(peer);
}

/* Row 27: no user name, no password, neither, and a zero in the middle. */
static void case_27_what_is_absent_is_not_asked_about(void **state)
{
    (void)state;
    unsigned reason;
    set_reply(200, "%s", "");
    struct http_peer *peer = http_peer_start(on_request, NULL, 0);
    struct m5_chain *chain = make_callout(peer);
    const struct m5_credentials cases[] = {password(NULL, NULL), password(NULL, "x"),
                                           password("u", NULL), password("", "x"),
                                           password("", NULL)};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(login_with(chain, &cases[i]), M5_LOGIN_WRONG);
    assert_int_equal(http_peer_count(peer), 0);
    assert_int_equal(admits(chain, cases[0], &reason), M5_ACCESS_DENY);
    struct m5_credentials zero = password("u", "x");
    zero.password = m5_bytes("a\0b", 3);
    assert_int_equal(login_with(chain, &zero), M5_LOGIN_RIGHT);
    assert_non_null(strstr(web.request, "password=a%00b&"));
    m5_chain_release(chain);
    http_peer_stop(peer);
}

static void a_file_comes_before_the_service(void **state)
{
    (void)state;
    set_reply(200, "%s", "");
    struct http_peer *peer = http_peer_start(on_request, NULL, 0);
    options.password_file = users_path;
    struct m5_chain *chain = make_callout(peer);
    const struct m5_credentials ours = password("alice", "wrong"), theirs = password("dora", "x");
    assert_int_equal(login_with(chain, &ours), M5_LOGIN_WRONG);
    assert_int_equal(http_peer_count(peer), 0);
    assert_int_equal(login_with(chain, &theirs), M5_LOGIN_RIGHT);
    assert_int_equal(http_peer_count(peer), 1);
    m5_chain_release(chain);
    http_peer_stop(peer);
}

static void a_service_that_is_down_is_left_alone(void **state)
{
    (void)state;
    set_reply(200, "%s", "");
    struct http_peer *peer = http_peer_start(on_request, NULL, 0);
    options.http.timeout_ms = 200;
    options.http.cache_s = 60;
    struct m5_chain *chain = make_callout(peer);
    const struct m5_credentials known = password("known", "x"), other = password("other", "x");
    assert_int_equal(login_with(chain, &known), M5_LOGIN_RIGHT);
    http_peer_stall(peer, true);
    for (unsigned i = 0; i < M5_BREAKER_FAILURES; i++)
        assert_int_equal(login_with(chain, &other), M5_LOGIN_FAILED);
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(login_with(chain, &other), M5_LOGIN_FAILED); /* at once */
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 <
                150);
    assert_int_equal(login_with(chain, &known), M5_LOGIN_RIGHT); /* remembered */
    const struct m5_credentials guess = password("known", "y");
    assert_int_equal(login_with(chain, &guess), M5_LOGIN_FAILED);
    m5_chain_release(chain);
    http_peer_stop(peer);
}

/* The end does not wait for a service that hangs. */
static void the_end_does_not_wait(void **state)
{
    (void)state;
    set_reply(200, "%s", "");
    struct http_peer *peer = http_peer_start(on_request, NULL, 0);
    http_peer_stall(peer, true);
    options.http.timeout_ms = 60000;
    struct m5_chain *chain = make_callout(peer);
    struct m5_login asked = {.done = on_done, .token = 1};
    const struct m5_credentials shown = password("u", "x");
    attempt = (struct m5_attempt){0};
    answered.value = -1;
    assert_int_equal(m5_chain_login(chain, &attempt, &shown, &asked), M5_LOGIN_PENDING);
    usleep(100000); /* it may have begun or not: both must end */
    const time_t before = time(NULL);
    m5_chain_stop(chain);
    assert_true(time(NULL) - before < 10);
    assert_int_equal(answered.value, M5_LOGIN_FAILED);
    m5_attempt_fini(&attempt);
    m5_chain_release(chain);
    http_peer_stop(peer);
}

/* ---- time ---- */

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* What the server's two steps of SCRAM cost for this user, the median of many. */
static uint64_t scram_cost(struct m5_chain *chain, const char *user)
{
    enum { ROUNDS = 301 };
    static uint64_t took[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++) {
        char first[128], last[512];
        snprintf(first, sizeof first, "n,,n=%s,r=abcdefghijkl", user);
        attempt = (struct m5_attempt){0};
        struct m5_credentials shown = method("SCRAM-SHA-256", m5_bytes_of(first));
        uint64_t from = cpu_ns();
        assert_int_equal(login(chain, &shown), M5_LOGIN_CONTINUE);
        took[i] = cpu_ns() - from;
        snprintf(last, sizeof last, "c=biws,r=%.*s,p=%s",
                 (int)(strcspn(attempt.data.text + 2, ",")), attempt.data.text + 2,
                 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        shown.data = m5_bytes_of(last);
        shown.going = true;
        from = cpu_ns();
        assert_int_equal(login(chain, &shown), M5_LOGIN_WRONG);
        took[i] += cpu_ns() - from;
        m5_attempt_fini(&attempt);
    }
    qsort(took, ROUNDS, sizeof *took, compare);
    return took[ROUNDS / 2];
}

/* Neither the challenge nor the time it takes tells whether there is such a user. */
static void strangers_cost_what_users_cost(void **state)
{
    (void)state;
    options.scram_file = scram_path;
    options.address_lockout.failures = options.user_lockout.failures = UINT32_MAX;
    struct m5_chain *chain = make();
    scram_cost(chain, "bob"); /* warm */
    const uint64_t user = scram_cost(chain, "bob"), stranger = scram_cost(chain, "eve");
    if (stranger > 2 * user || user > 2 * stranger)
        fail_msg("user %llu ns, stranger %llu ns", (unsigned long long)user,
                 (unsigned long long)stranger);
    m5_chain_release(chain);
}

/* ---- files and options ---- */

static void files_are_read_again_or_not_at_all(void **state)
{
    (void)state;
    char keys[M5_SCRAM_TEXT_SIZE], line[1024], before[1024];
    FILE *file = fopen(scram_path, "r");
    assert_non_null(fgets(before, sizeof before, file));
    fclose(file);
    options.scram_file = scram_path;
    struct m5_chain *chain = make();
    put_file(scram_path, "bob:rubbish\n");
    assert_null(m5_chain_read(chain, error, sizeof error));
    assert_non_null(strstr(error, "scram:1:"));
    assert_int_equal(scram(chain, "bob", "right", "SCRAM-SHA-256"), M5_LOGIN_RIGHT);
    assert_true(
        m5_scram_make(m5_bytes_of("other"), M5_SCRAM_SHA256, M5_SCRAM_ITERATIONS_MIN, keys));
    snprintf(line, sizeof line, "bob:%s\n", keys);
    put_file(scram_path, line);
    struct m5_chain_files *files = m5_chain_read(chain, error, sizeof error);
    assert_non_null(files);
    assert_true(m5_chain_adopt(chain, files));
    assert_int_equal(scram(chain, "bob", "right", "SCRAM-SHA-256"), M5_LOGIN_WRONG);
    assert_int_equal(scram(chain, "bob", "other", "SCRAM-SHA-256"), M5_LOGIN_RIGHT);
    m5_chain_release(chain);
    put_file(scram_path, before);
}

static void copies_are_equal_until_something_differs(void **state)
{
    (void)state;
    static const char *const roles[] = {"a", "b"};
    struct mqtt5_role_mapping mapping = {"x", MQTT5_CLAIM_EQUALS, "y", roles, 2};
    struct mqtt5_jwt_issuer issuer = {.name = "n",
                                      .key_file = "k",
                                      .role_mappings = &mapping,
                                      .role_mapping_count = 1,
                                      .default_roles = roles,
                                      .default_role_count = 2};
    options = (struct mqtt5_auth_options){
        .password_file = "p", .jwt_issuers = &issuer, .jwt_issuer_count = 1, .http.uri = "h"};
    struct m5_auth_copy copy;
    assert_true(m5_auth_copy_init(&copy, &options));
    assert_true(m5_auth_options_equal(&copy.options, &options));
    assert_ptr_not_equal(copy.options.jwt_issuers[0].role_mappings[0].roles[1], roles[1]);
    mapping.value = "z";
    assert_false(m5_auth_options_equal(&copy.options, &options));
    mapping.value = "y";
    issuer.default_role_count = 1;
    assert_false(m5_auth_options_equal(&copy.options, &options));
    issuer.default_role_count = 2;
    options.user_lockout.lock_s = 1;
    assert_false(m5_auth_options_equal(&copy.options, &options));
    m5_auth_copy_fini(&copy);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_what_is_configured_is_offered),
        TEST(a_name_of_the_transport_comes_first),
        TEST(plain_is_a_password),
        TEST(scram_proves_both_sides),
        TEST(a_proof_that_comes_late_does_not_count),
        TEST(guessing_locks_the_address_out),
        TEST(tokens_are_passwords_or_a_method),
        TEST(roles_come_from_claims),
        TEST(a_prefix_cannot_be_forged),
        TEST(keys_outlive_their_issuer),
        TEST(keys_are_read_again),
        TEST(what_is_no_key_set_is_none),
        TEST(case_45_only_https_and_this_machine),
        TEST(a_service_decides),
        TEST(case_27_what_is_absent_is_not_asked_about),
        TEST(a_file_comes_before_the_service),
        TEST(a_service_that_is_down_is_left_alone),
        TEST(the_end_does_not_wait),
        TEST(strangers_cost_what_users_cost),
        TEST(files_are_read_again_or_not_at_all),
        TEST(copies_are_equal_until_something_differs),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
