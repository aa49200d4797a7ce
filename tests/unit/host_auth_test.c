/* Who gets in at a broker as a whole: its listeners, the library's client, and what changes while
 * both run.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker_fixture.h"

#include "base/base64.h"
#include "base/bytes.h"
#include "host/auth/password.h"
#include "host/auth/scram.h"
#include "support/http_peer.h"

#include <mqtt5/client.h>
#include <mqtt5/client_auth.h>

#include <gnutls/crypto.h>

#define WAIT_MS 10000

static char folder[] = "/tmp/mqtt5-hostauth-XXXXXX";
static char users_path[64], scram_path[64], key_path[64], acl_path[64];

static void put_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void put_scram(const char *word)
{
    char keys[2][M5_SCRAM_TEXT_SIZE], lines[2048];
    const struct mqtt5_bytes secret = m5_bytes_of(word);
    assert_true(m5_scram_make(secret, M5_SCRAM_SHA256, M5_SCRAM_ITERATIONS_MIN, keys[0]));
    assert_true(m5_scram_make(secret, M5_SCRAM_SHA512, M5_SCRAM_ITERATIONS_MIN, keys[1]));
    snprintf(lines, sizeof lines, "bob:%s\nbob:%s\n", keys[0], keys[1]);
    put_file(scram_path, lines);
}

static int make_folder(void **state)
{
    (void)state;
    char stored[M5_PASSWORD_TEXT_SIZE], line[1024];
    struct m5_password like = m5_password_defaults;
    like.memory_kib = 8;
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(users_path, sizeof users_path, "%s/users", folder);
    snprintf(scram_path, sizeof scram_path, "%s/scram", folder);
    snprintf(key_path, sizeof key_path, "%s/key", folder);
    snprintf(acl_path, sizeof acl_path, "%s/acl", folder);
    if (!m5_password_make(m5_bytes_of("right"), &like, stored))
        return 1;
    snprintf(line, sizeof line, "alice:%s\n", stored);
    put_file(users_path, line);
    put_scram("right");
    put_file(key_path, "a secret of more than thirty-two bytes\n");
    put_file(acl_path, "user alice topic # permission rw\nuser bob topic # permission rw\n"
                       "role guard topic door/# permission rw\n");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(users_path);
    unlink(scram_path);
    unlink(key_path);
    unlink(acl_path);
    return rmdir(folder);
}

/* ---- a broker ---- */

static struct fixture fixture;
static struct mqtt5_listener listeners[2];
static struct mqtt5_auth_options open_ways;
static struct mqtt5_jwt_issuer issuer;

/* The first listener is guarded, at the second everybody may come in. */
static int set_up(void **state)
{
    (void)state;
    init(&fixture, "127.0.0.1", 2);
    fixture.options.config.allow_anonymous = false;
    issuer = (struct mqtt5_jwt_issuer){.key_file = key_path, .roles = MQTT5_JWT_ROLES_TRUSTED};
    fixture.options.auth = (struct mqtt5_auth_options){.password_file = users_path,
                                                       .scram_file = scram_path,
                                                       .jwt_issuers = &issuer,
                                                       .jwt_issuer_count = 1,
                                                       .plain_without_tls = true};
    fixture.options.acl_file = acl_path;
    open_ways = (struct mqtt5_auth_options){.allow_anonymous = true};
    listeners[0] = listeners[1] = fixture.listener;
    listeners[1].auth = &open_ways;
    listeners[1].name = "open";
    listeners[1].host = "127.0.0.2";
    fixture.options.listeners = listeners;
    fixture.options.listener_count = 2;
    start(&fixture);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop(&fixture);
    return 0;
}

/* ---- clients ---- */

struct user {
    struct mqtt5_client *client;
    struct mqtt5_client_auth *auth;
    struct mqtt5_client_options options;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    enum mqtt5_error error;
};

static void prepare(struct user *user, const char *id)
{
    *user = (struct user){0};
    mqtt5_client_options_init(&user->options);
    user->options.client_id = id;
    user->options.clean_start = true;
    pthread_mutex_init(&user->lock, NULL);
    pthread_cond_init(&user->changed, NULL);
}

static void use(struct user *user, enum mqtt5_client_auth_method method, const char *name,
                const char *secret)
{
    assert_int_equal(mqtt5_client_auth_new(method, name, m5_bytes_of(secret), &user->auth),
                     MQTT5_OK);
    mqtt5_client_auth_use(user->auth, &user->options);
}

/* The reason code of CONNACK; 0xFF when there was none. */
static unsigned enter(struct user *user, unsigned listener)
{
    char url[64];
    struct mqtt5_client_info info;
    snprintf(url, sizeof url, "mqtt://127.0.0.%u:%u", listener + 1,
             mqtt5_broker_port(fixture.broker, listener));
    assert_int_equal(mqtt5_client_new(&user->options, &user->client), MQTT5_OK);
    const enum mqtt5_error error = mqtt5_client_connect(user->client, url, WAIT_MS);
    mqtt5_client_get_info(user->client, &info);
    if (error != MQTT5_OK && error != MQTT5_ERR_REFUSED)
        return 0xFF;
    return info.reason_code;
}

static void leave(struct user *user)
{
    mqtt5_client_free(user->client);
    mqtt5_client_auth_free(user->auth);
    pthread_cond_destroy(&user->changed);
    pthread_mutex_destroy(&user->lock);
}

static unsigned publish(struct user *user, const char *topic)
{
    const struct mqtt5_publish message = {.topic = m5_bytes_of(topic), .qos = 1};
    uint8_t reason = 0xFF;
    const enum mqtt5_error error = mqtt5_client_publish(user->client, &message, WAIT_MS, &reason);
    return error == MQTT5_OK || error == MQTT5_ERR_REFUSED ? reason : 0xFF;
}

#define NOBODY_LISTENS MQTT5_REASON_NO_MATCHING_SUBSCRIBERS

static void on_reauthenticated(void *ctx, const struct mqtt5_client_result *result)
{
    struct user *user = ctx;
    pthread_mutex_lock(&user->lock);
    user->done = true;
    user->error = result->error;
    pthread_cond_signal(&user->changed);
    pthread_mutex_unlock(&user->lock);
}

static enum mqtt5_error reauthenticate(struct user *user)
{
    struct timespec until;
    int late = 0;
    user->done = false;
    assert_int_equal(mqtt5_client_reauthenticate_async(user->client, on_reauthenticated, user),
                     MQTT5_OK);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&user->lock);
    while (!user->done && late == 0)
        late = pthread_cond_timedwait(&user->changed, &user->lock, &until);
    pthread_mutex_unlock(&user->lock);
    assert_int_equal(late, 0);
    return user->error;
}

static const char *token_of(const char *subject, const char *more)
{
    static const char secret[] = "a secret of more than thirty-two bytes";
    static char token[2048];
    char claims[512];
    uint8_t signature[32];
    snprintf(claims, sizeof claims, "{\"sub\":\"%s\",\"exp\":%lld%s}", subject,
             (long long)time(NULL) + 600, more);
    size_t size = m5_base64_encode(m5_bytes_of("{\"alg\":\"HS256\"}"), M5_BASE64_URL, token);
    token[size++] = '.';
    size += m5_base64_encode(m5_bytes_of(claims), M5_BASE64_URL, token + size);
    gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, sizeof secret - 1, token, size, signature);
    token[size++] = '.';
    m5_base64_encode(m5_bytes(signature, sizeof signature), M5_BASE64_URL, token + size);
    return token;
}

/* ---- stories ---- */

static void each_method_lets_its_users_in(void **state)
{
    (void)state;
    static const struct {
        enum mqtt5_client_auth_method method;
        const char *user, *secret;
        unsigned reason;
    } cases[] = {
        {MQTT5_CLIENT_AUTH_SCRAM_SHA_256, "bob", "right", 0},
        {MQTT5_CLIENT_AUTH_SCRAM_SHA_512, "bob", "right", 0},
        {MQTT5_CLIENT_AUTH_SCRAM_SHA_256, "bob", "wrong", MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD},
        {MQTT5_CLIENT_AUTH_SCRAM_SHA_512, "eve", "right", MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD},
        {MQTT5_CLIENT_AUTH_PLAIN, "alice", "right", 0},
        {MQTT5_CLIENT_AUTH_PLAIN, "alice", "wrong", MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD},
        {MQTT5_CLIENT_AUTH_JWT, NULL, "e30.e30.e30", MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD},
    };
    for (size_t i = 0; i < 3 * sizeof cases / sizeof *cases; i++) { /* on either worker */
        char id[16];
        struct user user;
        const size_t which = i % (sizeof cases / sizeof *cases);
        snprintf(id, sizeof id, "c%zu", i);
        prepare(&user, id);
        use(&user, cases[which].method, cases[which].user, cases[which].secret);
        const unsigned reason = enter(&user, 0);
        if (reason != cases[which].reason)
            fail_msg("case %zu: 0x%02x", which, reason);
        if (reason == 0)
            assert_int_equal(publish(&user, "x"), NOBODY_LISTENS);
        leave(&user);
    }
}

static void a_method_that_is_not_offered_is_said_so(void **state)
{
    (void)state;
    struct user user;
    prepare(&user, "c");
    use(&user, MQTT5_CLIENT_AUTH_SCRAM_SHA_256, "bob", "right");
    assert_int_equal(enter(&user, 1), MQTT5_REASON_BAD_AUTHENTICATION_METHOD);
    leave(&user);
}

static void a_client_proves_itself_anew(void **state)
{
    (void)state;
    struct user user;
    prepare(&user, "c");
    use(&user, MQTT5_CLIENT_AUTH_SCRAM_SHA_256, "bob", "right");
    assert_int_equal(enter(&user, 0), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(reauthenticate(&user), MQTT5_OK);
        assert_int_equal(publish(&user, "x"), NOBODY_LISTENS);
    }
    /* The password changes: who is connected stays, until he is asked to prove it. */
    put_scram("other");
    assert_int_equal(mqtt5_broker_reload(fixture.broker, NULL), MQTT5_OK);
    assert_int_equal(publish(&user, "x"), NOBODY_LISTENS);
    assert_int_not_equal(reauthenticate(&user), MQTT5_OK);
    struct mqtt5_client_info info;
    mqtt5_client_get_info(user.client, &info);
    assert_int_equal(info.state, MQTT5_CLIENT_DISCONNECTED);
    assert_int_equal(info.reason_code, MQTT5_REASON_NOT_AUTHORIZED);
    put_scram("right");
    leave(&user);
}

/* Roles of a token are rights at once, and gone with the token that has none. */
static void a_new_token_changes_what_is_allowed(void **state)
{
    (void)state;
    struct user user;
    prepare(&user, "c");
    use(&user, MQTT5_CLIENT_AUTH_JWT, NULL, token_of("carol", ",\"roles\":[\"guard\"]"));
    assert_int_equal(enter(&user, 0), 0);
    assert_int_equal(publish(&user, "door/1"), NOBODY_LISTENS);
    assert_int_equal(publish(&user, "window/1"), MQTT5_REASON_NOT_AUTHORIZED);
    assert_int_equal(mqtt5_client_auth_set_secret(user.auth, m5_bytes_of(token_of("carol", ""))),
                     MQTT5_OK);
    assert_int_equal(reauthenticate(&user), MQTT5_OK);
    assert_int_equal(publish(&user, "door/1"), MQTT5_REASON_NOT_AUTHORIZED);
    /* Somebody else's token is no re-authentication. */
    assert_int_equal(mqtt5_client_auth_set_secret(user.auth, m5_bytes_of(token_of("dave", ""))),
                     MQTT5_OK);
    assert_int_not_equal(reauthenticate(&user), MQTT5_OK);
    leave(&user);
}

/* Row 19: a name that is merely said has neither the session nor the rights of who proved it. */
static void case_19_a_session_is_for_who_proved_the_name(void **state)
{
    (void)state;
    struct user owner, liar;
    prepare(&owner, "device");
    owner.options.clean_start = false;
    owner.options.session_expiry_s = 600;
    owner.options.username = "alice";
    owner.options.password = m5_bytes_of("right");
    assert_int_equal(enter(&owner, 0), 0);
    assert_int_equal(publish(&owner, "x"), NOBODY_LISTENS);
    mqtt5_client_free(owner.client);
    owner.client = NULL;
    prepare(&liar, "device");
    liar.options.username = "alice";
    liar.options.clean_start = false;
    liar.options.session_known = true;
    assert_int_equal(enter(&liar, 1), MQTT5_REASON_NOT_AUTHORIZED);
    leave(&liar);
    prepare(&liar, "other");
    liar.options.username = "alice";
    assert_int_equal(enter(&liar, 1), 0);
    assert_int_equal(publish(&liar, "x"), MQTT5_REASON_NOT_AUTHORIZED);
    leave(&liar);
    owner.options.session_known = true;
    struct mqtt5_client_info info;
    assert_int_equal(enter(&owner, 0), 0);
    mqtt5_client_get_info(owner.client, &info);
    assert_true(info.session_present);
    leave(&owner);
}

static void ways_in_change_while_it_runs(void **state)
{
    (void)state;
    struct user user;
    const char *why;
    struct mqtt5_broker_options options = fixture.options;
    prepare(&user, "c");
    assert_int_equal(enter(&user, 1), 0);
    leave(&user);
    listeners[1].auth = NULL; /* as the first now */
    if (mqtt5_broker_reconfigure(fixture.broker, &options, NULL, &why) != MQTT5_OK)
        fail_msg("%s", why);
    prepare(&user, "c");
    assert_int_equal(enter(&user, 1), MQTT5_REASON_NOT_AUTHORIZED);
    leave(&user);
    prepare(&user, "c");
    use(&user, MQTT5_CLIENT_AUTH_SCRAM_SHA_256, "bob", "right");
    assert_int_equal(enter(&user, 1), 0);
    assert_int_equal(publish(&user, "x"), NOBODY_LISTENS);
    options.acl_file = NULL; /* everything is allowed, at once */
    assert_int_equal(mqtt5_broker_reconfigure(fixture.broker, &options, NULL, &why), MQTT5_OK);
    assert_int_equal(publish(&user, "y"), NOBODY_LISTENS);
    options.auth.scram_file = "/nonexistent"; /* nothing of it */
    assert_int_equal(mqtt5_broker_reconfigure(fixture.broker, &options, NULL, &why),
                     MQTT5_ERR_CONFIG);
    assert_non_null(strstr(why, "/nonexistent"));
    assert_int_equal(reauthenticate(&user), MQTT5_OK);
    leave(&user);
}

static void on_request(void *ctx, const char *request, struct http_reply *reply)
{
    (void)ctx;
    reply->status = strstr(request, "username=erin&password=good&") != NULL ? 200 : 401;
}

static void a_service_lets_its_users_in(void **state)
{
    (void)state;
    struct user user;
    char url[64];
    const char *why;
    struct http_peer *peer = http_peer_start(on_request, NULL, 0);
    struct mqtt5_broker_options options = fixture.options;
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", http_peer_port(peer));
    options.auth.http.uri = url;
    options.auth.http.timeout_ms = 300;
    assert_int_equal(mqtt5_broker_reconfigure(fixture.broker, &options, NULL, &why), MQTT5_OK);
    static const struct {
        const char *name, *word;
        unsigned reason;
    } cases[] = {{"erin", "good", 0},
                 {"erin", "bad", MQTT5_REASON_BAD_USER_NAME_OR_PASSWORD},
                 {"alice", "right", 0}, /* of the file */
                 {"erin", "good", MQTT5_REASON_SERVER_UNAVAILABLE},
                 {"alice", "right", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_peer_stall(peer, i >= 3);
        prepare(&user, "c");
        user.options.username = cases[i].name;
        user.options.password = m5_bytes_of(cases[i].word);
        assert_int_equal(enter(&user, 0), cases[i].reason);
        leave(&user);
    }
    http_peer_stop(peer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_method_lets_its_users_in),
        TEST(a_method_that_is_not_offered_is_said_so),
        TEST(a_client_proves_itself_anew),
        TEST(a_new_token_changes_what_is_allowed),
        TEST(case_19_a_session_is_for_who_proved_the_name),
        TEST(ways_in_change_while_it_runs),
        TEST(a_service_lets_its_users_in),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
