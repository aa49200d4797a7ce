/* SCRAM: the client's side.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/base64.h"
#include "base/bytes.h"
#include "host/auth/scram_crypto.h"

#include <stdio.h>
#include <string.h>

static const char header[] = "n,,", header_base64[] = "biws"; /* no channel binding */

static enum m5_scram_answer refuse(struct m5_scram_client *client, const char *why)
{
    client->step = 3;
    client->why = why;
    return M5_SCRAM_REFUSED;
}

static bool append_text(struct m5_scram_message *message, const char *text)
{
    return m5_scram_append(message->text, &message->size, sizeof message->text, m5_bytes_of(text));
}

static bool append_name(struct m5_scram_message *message, struct mqtt5_bytes user)
{
    for (size_t i = 0; i < user.len; i++) {
        const char plain[2] = {(char)user.data[i], 0};
        const char *text = user.data[i] == ',' ? "=2C" : user.data[i] == '=' ? "=3D" : plain;
        if (user.data[i] == 0 || !append_text(message, text))
            return false;
    }
    return user.len > 0;
}

enum m5_scram_answer m5_scram_client_first(struct m5_scram_client *client, enum m5_scram_hash hash,
                                           struct mqtt5_bytes user, struct mqtt5_bytes password,
                                           const char *nonce, struct m5_scram_message *out)
{
    *client = (struct m5_scram_client){.hash = hash, .password = password};
    out->size = 0;
    const size_t nonce_size = strlen(nonce);
    if (nonce_size >= sizeof client->nonce)
        return refuse(client, "the nonce is too long");
    memcpy(client->nonce, nonce, nonce_size);
    if (!append_text(out, header) || !append_text(out, "n=") || !append_name(out, user) ||
        !append_text(out, ",r=") || !append_text(out, nonce))
        return refuse(client, "the user name is empty or too long");
    client->bare_size = out->size - (sizeof header - 1);
    memcpy(client->bare, out->text + sizeof header - 1, client->bare_size);
    client->step = 1;
    return M5_SCRAM_CONTINUE;
}

struct challenge {
    struct mqtt5_bytes nonce;
    uint8_t salt[M5_SCRAM_SALT_MAX];
    size_t salt_size;
    uint32_t iterations;
};

/* "r=NONCE,s=SALT,i=ITERATIONS"; NULL when it could be read and is fit to be answered. */
static const char *read_challenge(const struct m5_scram_client *client, struct mqtt5_bytes rest,
                                  struct challenge *out)
{
    struct mqtt5_bytes salt, iterations, ignored;
    if (m5_scram_attribute(&rest, 'e', &ignored))
        return "the server refused";
    if (m5_scram_attribute(&rest, 'm', &ignored))
        return "the server wants an extension";
    const size_t own = strlen(client->nonce);
    if (!m5_scram_attribute(&rest, 'r', &out->nonce) || !m5_scram_nonce_valid(out->nonce) ||
        out->nonce.len <= own || memcmp(out->nonce.data, client->nonce, own) != 0)
        return "the server's nonce does not go on from ours";
    if (!m5_scram_attribute(&rest, 's', &salt) ||
        !m5_base64_decode(salt, M5_BASE64_PADDED, out->salt, sizeof out->salt, &out->salt_size) ||
        out->salt_size == 0)
        return "the server's salt cannot be read";
    if (!m5_scram_attribute(&rest, 'i', &iterations) ||
        !m5_text_number(iterations, M5_SCRAM_ITERATIONS_MAX, &out->iterations) ||
        out->iterations < M5_SCRAM_ITERATIONS_MIN)
        return "the server wants fewer than 4096 iterations, or more than 2000000";
    return NULL;
}

/* AuthMessage: our first message, the challenge, and our second without its proof. */
static bool join(const struct m5_scram_client *client, struct mqtt5_bytes challenge,
                 const struct m5_scram_message *second, char *out, size_t *size)
{
    const size_t room = 4 * M5_SCRAM_MESSAGE_MAX;
    *size = 0;
    return m5_scram_append(out, size, room, m5_bytes(client->bare, client->bare_size)) &&
           m5_scram_append(out, size, room, m5_bytes_of(",")) &&
           m5_scram_append(out, size, room, challenge) &&
           m5_scram_append(out, size, room, m5_bytes_of(",")) &&
           m5_scram_append(out, size, room, m5_bytes(second->text, second->size));
}

/* Turns the client's key into the proof, and notes what the server will have to show. */
static bool sign(struct m5_scram_client *client, struct mqtt5_bytes auth, uint8_t *key,
                 const uint8_t *server_key)
{
    uint8_t stored[M5_SCRAM_KEY_MAX], signature[M5_SCRAM_KEY_MAX];
    const size_t size = m5_scram_key_size(client->hash);
    if (!m5_scram_digest(client->hash, key, stored) ||
        !m5_scram_hmac(client->hash, stored, size, auth, signature) ||
        !m5_scram_hmac(client->hash, server_key, size, auth, client->signature))
        return false;
    for (size_t i = 0; i < size; i++)
        key[i] ^= signature[i];
    m5_wipe(signature, sizeof signature);
    return true;
}

static bool append_proof(struct m5_scram_client *client, struct mqtt5_bytes challenge_text,
                         const struct challenge *challenge, struct m5_scram_message *out)
{
    uint8_t key[M5_SCRAM_KEY_MAX], server_key[M5_SCRAM_KEY_MAX];
    char auth[4 * M5_SCRAM_MESSAGE_MAX], proof[M5_BASE64_SIZE(M5_SCRAM_KEY_MAX)];
    size_t auth_size;
    const bool done =
        join(client, challenge_text, out, auth, &auth_size) &&
        m5_scram_derive(client->hash, client->password, challenge->salt, challenge->salt_size,
                        challenge->iterations, key, server_key) &&
        sign(client, m5_bytes(auth, auth_size), key, server_key);
    if (done)
        m5_base64_encode(m5_bytes(key, m5_scram_key_size(client->hash)), M5_BASE64_PADDED, proof);
    m5_wipe(key, sizeof key);
    m5_wipe(server_key, sizeof server_key);
    return done && append_text(out, ",p=") && append_text(out, proof);
}

enum m5_scram_answer m5_scram_client_next(struct m5_scram_client *client,
                                          struct mqtt5_bytes message, struct m5_scram_message *out)
{
    struct challenge challenge;
    out->size = 0;
    if (client->step != 1)
        return refuse(client, "a message out of order");
    if (message.len > M5_SCRAM_MESSAGE_MAX)
        return refuse(client, "the challenge is too long");
    const char *why = read_challenge(client, message, &challenge);
    if (why != NULL)
        return refuse(client, why);
    if (!append_text(out, "c=") || !append_text(out, header_base64) || !append_text(out, ",r=") ||
        !m5_scram_append(out->text, &out->size, sizeof out->text, challenge.nonce) ||
        !append_proof(client, message, &challenge, out))
        return refuse(client, "the proof could not be made");
    client->password = m5_bytes(NULL, 0);
    client->step = 2;
    return M5_SCRAM_CONTINUE;
}

enum m5_scram_answer m5_scram_client_finish(struct m5_scram_client *client,
                                            struct mqtt5_bytes message)
{
    uint8_t signature[M5_SCRAM_KEY_MAX];
    size_t size = 0;
    struct mqtt5_bytes rest = message, value;
    if (client->step != 2)
        return refuse(client, "a message out of order");
    if (m5_scram_attribute(&rest, 'e', &value))
        return refuse(client, "the server refused");
    if (!m5_scram_attribute(&rest, 'v', &value) ||
        !m5_base64_decode(value, M5_BASE64_PADDED, signature, sizeof signature, &size) ||
        size != m5_scram_key_size(client->hash) ||
        gnutls_memcmp(signature, client->signature, size) != 0)
        return refuse(client, "the server does not know the user's keys: it is not who it says");
    client->step = 3;
    return M5_SCRAM_DONE;
}
