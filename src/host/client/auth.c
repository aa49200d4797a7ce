/* Ready-made enhanced authentication for a client.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/client_auth.h>

#include "base/bytes.h"
#include "host/auth/scram.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct mqtt5_client_auth {
    enum mqtt5_client_auth_method method;
    struct m5_scram_client scram;
    struct m5_scram_message out;
    struct m5_text plain;  /* PLAIN's message, or the token on its way */
    struct m5_text in_use; /* the secret of the exchange that is under way */
    size_t user_size;
    uint8_t *user;
    pthread_mutex_t lock; /* guards `secret` */
    struct m5_text secret;
};

static const char *const names[] = {
    [MQTT5_CLIENT_AUTH_SCRAM_SHA_256] = "SCRAM-SHA-256",
    [MQTT5_CLIENT_AUTH_SCRAM_SHA_512] = "SCRAM-SHA-512",
    [MQTT5_CLIENT_AUTH_PLAIN] = "PLAIN",
    [MQTT5_CLIENT_AUTH_JWT] = "JWT",
};

static bool is_scram(const struct mqtt5_client_auth *auth)
{
    return auth->method == MQTT5_CLIENT_AUTH_SCRAM_SHA_256 ||
           auth->method == MQTT5_CLIENT_AUTH_SCRAM_SHA_512;
}

static bool make_text(struct m5_text *text, size_t size)
{
    m5_text_free(text);
    *text = (struct m5_text){.data = calloc(1, size + 1), .size = size, .capacity = size + 1};
    if (text->data != NULL)
        return true;
    *text = (struct m5_text){0};
    return false;
}

static bool take_secret(struct mqtt5_client_auth *auth)
{
    pthread_mutex_lock(&auth->lock);
    const bool made = make_text(&auth->in_use, auth->secret.size);
    if (made)
        memcpy(auth->in_use.data, auth->secret.data, auth->secret.size);
    pthread_mutex_unlock(&auth->lock);
    return made;
}

/* ---- steps ---- */

static enum mqtt5_error begin_scram(struct mqtt5_client_auth *auth)
{
    char nonce[M5_SCRAM_NONCE_SIZE];
    const enum m5_scram_hash hash =
        auth->method == MQTT5_CLIENT_AUTH_SCRAM_SHA_256 ? M5_SCRAM_SHA256 : M5_SCRAM_SHA512;
    if (!m5_scram_nonce(nonce))
        return MQTT5_ERR_IO;
    const enum m5_scram_answer answer =
        m5_scram_client_first(&auth->scram, hash, m5_bytes(auth->user, auth->user_size),
                              m5_bytes(auth->in_use.data, auth->in_use.size), nonce, &auth->out);
    return answer == M5_SCRAM_CONTINUE ? MQTT5_OK : MQTT5_ERR_CONFIG;
}

/* NUL, user, NUL, password. */
static bool write_plain(struct mqtt5_client_auth *auth)
{
    if (!make_text(&auth->plain, 2 + auth->user_size + auth->in_use.size))
        return false;
    uint8_t *at = m5_copy(auth->plain.data + 1, m5_bytes(auth->user, auth->user_size));
    m5_copy(at + 1, m5_bytes(auth->in_use.data, auth->in_use.size));
    return true;
}

static enum mqtt5_error begin(struct mqtt5_client_auth *auth, struct mqtt5_bytes *reply)
{
    if (!take_secret(auth))
        return MQTT5_ERR_NOMEM;
    if (is_scram(auth)) {
        const enum mqtt5_error error = begin_scram(auth);
        *reply = m5_bytes(auth->out.text, auth->out.size);
        return error;
    }
    if (auth->method == MQTT5_CLIENT_AUTH_PLAIN && !write_plain(auth))
        return MQTT5_ERR_NOMEM;
    const struct m5_text *text =
        auth->method == MQTT5_CLIENT_AUTH_PLAIN ? &auth->plain : &auth->in_use;
    *reply = m5_bytes(text->data, text->size);
    return MQTT5_OK;
}

static enum mqtt5_error go_on(struct mqtt5_client_auth *auth, struct mqtt5_bytes data,
                              struct mqtt5_bytes *reply)
{
    if (!is_scram(auth) ||
        m5_scram_client_next(&auth->scram, data, &auth->out) != M5_SCRAM_CONTINUE)
        return MQTT5_ERR_NOT_AUTHORIZED; /* it wants more than there is, or something else */
    *reply = m5_bytes(auth->out.text, auth->out.size);
    return MQTT5_OK;
}

/* A server that cannot show that it knows the user's keys is another. */
static enum mqtt5_error finish(struct mqtt5_client_auth *auth, struct mqtt5_bytes data)
{
    const bool known =
        !is_scram(auth) || m5_scram_client_finish(&auth->scram, data) == M5_SCRAM_DONE;
    m5_text_free(&auth->in_use);
    m5_text_free(&auth->plain);
    return known ? MQTT5_OK : MQTT5_ERR_NOT_AUTHORIZED;
}

static enum mqtt5_error handle(void *ctx, enum mqtt5_auth_step step, struct mqtt5_bytes data,
                               struct mqtt5_bytes *reply)
{
    struct mqtt5_client_auth *auth = ctx;
    switch (step) {
    case MQTT5_AUTH_START:
    case MQTT5_AUTH_AGAIN: return begin(auth, reply);
    case MQTT5_AUTH_CONTINUE: return go_on(auth, data, reply);
    case MQTT5_AUTH_SUCCESS: break;
    }
    return finish(auth, data);
}

/* ---- life ---- */

static bool set_user(struct mqtt5_client_auth *auth, const char *username)
{
    if (auth->method == MQTT5_CLIENT_AUTH_JWT)
        return true;
    if (username == NULL || username[0] == 0)
        return false;
    auth->user_size = strlen(username);
    auth->user = (uint8_t *)strdup(username);
    return auth->user != NULL;
}

enum mqtt5_error mqtt5_client_auth_set_secret(struct mqtt5_client_auth *auth,
                                              struct mqtt5_bytes secret)
{
    struct m5_text copy = {0};
    if (secret.len == 0 || auth->user_size + secret.len + 2 > UINT16_MAX)
        return MQTT5_ERR_CONFIG;
    if (!make_text(&copy, secret.len))
        return MQTT5_ERR_NOMEM;
    m5_copy(copy.data, secret);
    pthread_mutex_lock(&auth->lock);
    const struct m5_text before = auth->secret;
    auth->secret = copy;
    pthread_mutex_unlock(&auth->lock);
    copy = before;
    m5_text_free(&copy);
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_client_auth_new(enum mqtt5_client_auth_method method, const char *username,
                                       struct mqtt5_bytes secret, struct mqtt5_client_auth **out)
{
    *out = NULL;
    struct mqtt5_client_auth *auth = calloc(1, sizeof *auth);
    if (auth == NULL)
        return MQTT5_ERR_NOMEM;
    auth->method = method;
    pthread_mutex_init(&auth->lock, NULL);
    enum mqtt5_error error = set_user(auth, username) ? MQTT5_OK : MQTT5_ERR_CONFIG;
    if (error == MQTT5_OK)
        error = mqtt5_client_auth_set_secret(auth, secret);
    if (error == MQTT5_OK)
        *out = auth;
    else
        mqtt5_client_auth_free(auth);
    return error;
}

void mqtt5_client_auth_use(struct mqtt5_client_auth *auth, struct mqtt5_client_options *config)
{
    config->auth_method = names[auth->method];
    config->auth = handle;
    config->auth_ctx = auth;
}

void mqtt5_client_auth_free(struct mqtt5_client_auth *auth)
{
    if (auth == NULL)
        return;
    m5_text_free(&auth->secret);
    m5_text_free(&auth->in_use);
    m5_text_free(&auth->plain);
    m5_wipe(&auth->scram, sizeof auth->scram);
    free(auth->user);
    pthread_mutex_destroy(&auth->lock);
    free(auth);
}
