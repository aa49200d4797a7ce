/* SCRAM messages to the server and to the client, and PLAIN.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "host/auth/scram.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* User "user", password "pencil". */
static const char file[] =
    "user:W22ZaJ0SNY7soEsUEjb6gQ==:4096:WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n";
static const char nonce[] = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
static const uint8_t secret[M5_SCRAM_SECRET_SIZE] = {7};

/* The table is made once: it is not what is tested here. */
static const struct m5_users *users_of_file(void)
{
    static struct m5_users *users;
    struct m5_text_error error;
    if (users == NULL)
        users = m5_users_new(&m5_libc_allocator, m5_bytes_of(file), m5_users_scram_check, &error);
    M5_ASSERT(users != NULL);
    return users;
}

static struct mqtt5_bytes next_part(struct mqtt5_bytes *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, 0xFE, rest->len) : NULL;
    const struct mqtt5_bytes part =
        m5_bytes(rest->data, end != NULL ? (size_t)(end - rest->data) : rest->len);
    const size_t taken = part.len + (end != NULL);
    *rest = m5_bytes(rest->data + taken, rest->len - taken);
    return part;
}

static void serve(struct mqtt5_bytes rest)
{
    static struct m5_scram_server server;
    struct m5_scram_message out;
    m5_scram_server_init(&server, M5_SCRAM_SHA256);
    const enum m5_scram_answer first =
        m5_scram_server_first(&server, next_part(&rest), users_of_file(), secret, nonce, &out);
    M5_ASSERT(first != M5_SCRAM_DONE && out.size <= sizeof out.text);
    M5_ASSERT((first == M5_SCRAM_REFUSED) == (out.size == 0));
    const enum m5_scram_answer last = m5_scram_server_final(&server, next_part(&rest), &out);
    M5_ASSERT(first == M5_SCRAM_CONTINUE || last == M5_SCRAM_REFUSED);
    /* Only who knows the password gets through, and only as the user whose it is. */
    if (last == M5_SCRAM_DONE)
        M5_ASSERT(m5_text_equals(m5_scram_server_user(&server), "user"));
}

static void answer(struct mqtt5_bytes rest)
{
    static struct m5_scram_client client;
    struct m5_scram_message out;
    M5_ASSERT(m5_scram_client_first(&client, M5_SCRAM_SHA256, m5_bytes_of("user"),
                                    m5_bytes_of("pencil"), "rOprNGfwEbeRWgbNEkqO",
                                    &out) == M5_SCRAM_CONTINUE);
    const struct mqtt5_bytes challenge = next_part(&rest);
    if (challenge.len >= 5 && memcmp(challenge.data + challenge.len - 4, "4096", 4) != 0)
        return; /* others take too long to hash */
    m5_scram_client_next(&client, challenge, &out);
    m5_scram_client_finish(&client, next_part(&rest));
}

/* The first byte says to whom; messages end with 0xFE. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mqtt5_bytes user, password;
    if (size == 0)
        return 0;
    const struct mqtt5_bytes rest = m5_bytes(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0: serve(rest); break;
    case 1: answer(rest); break;
    default:
        if (m5_plain_parse(rest, &user, &password))
            M5_ASSERT(user.len > 0 && user.len + password.len < rest.len);
        break;
    }
    return 0;
}
