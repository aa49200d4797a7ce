/* SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677), server and client, without I/O: messages go
 * in, messages come out; nonces are handed in. Also the file of SCRAM users, and PLAIN.
 *
 * Channel binding is not offered: a client that asks for it ("p=") is refused, one that could do it
 * ("y") is served. Names are compared as they are, byte by byte (no SASLprep).
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_SCRAM_H
#define M5_HOST_AUTH_SCRAM_H

#include "host/auth/users.h"

#define M5_SCRAM_KEY_MAX        64u
#define M5_SCRAM_SALT_MIN       8u
#define M5_SCRAM_SALT_MAX       64u
#define M5_SCRAM_MESSAGE_MAX    1024u   /* bytes of any message, ours and theirs */
#define M5_SCRAM_NONCE_SIZE     33u     /* of a nonce of ours: 24 random bytes, base64, a zero */
#define M5_SCRAM_ITERATIONS     310000u /* of new entries */
#define M5_SCRAM_ITERATIONS_MIN 4096u
#define M5_SCRAM_ITERATIONS_MAX 2000000u
#define M5_SCRAM_TEXT_SIZE      320u /* of what m5_scram_make() writes, with the zero */
#define M5_SCRAM_SECRET_SIZE    32u
#define M5_SCRAM_STATE_TTL_MS   60000u /* how long an exchange may take: the host's to keep */

enum m5_scram_hash { M5_SCRAM_SHA256 = 1, M5_SCRAM_SHA512 = 2 }; /* variants of struct m5_user */

/* "SCRAM-SHA-256"; false when @p method is none of the two. */
bool m5_scram_hash_of(struct mqtt5_bytes method, enum m5_scram_hash *hash);
const char *m5_scram_method(enum m5_scram_hash hash);

/* What is stored of a user: line `NAME:SALT:ITERATIONS:STORED_KEY:SERVER_KEY`, base64 with padding;
 * the size of the keys tells the hash. A user may have one line of each. */
struct m5_scram_keys {
    enum m5_scram_hash hash;
    uint32_t iterations;
    size_t salt_size, key_size;
    uint8_t salt[M5_SCRAM_SALT_MAX], stored[M5_SCRAM_KEY_MAX], server[M5_SCRAM_KEY_MAX];
};

/* Reads what stands behind the name. On false *why is a sentence. */
bool m5_scram_parse(struct mqtt5_bytes text, struct m5_scram_keys *out, const char **why);

/* For m5_users_new(). */
bool m5_users_scram_check(struct mqtt5_bytes stored, uint32_t *variant, const char **why);

/* Derives keys with a new random salt of 16 bytes and writes them without the name. Takes a time
 * that grows with @p iterations (within the limits above). False without memory or randomness. */
bool m5_scram_make(struct mqtt5_bytes password, enum m5_scram_hash hash, uint32_t iterations,
                   char out[M5_SCRAM_TEXT_SIZE]);

/* A nonce for either side; false without randomness. */
bool m5_scram_nonce(char out[M5_SCRAM_NONCE_SIZE]);

/* ---- exchange ---- */

enum m5_scram_answer {
    M5_SCRAM_CONTINUE, /* send the message, wait for the other's */
    M5_SCRAM_DONE,     /* it is who it says it is; a server sends the message with its success */
    M5_SCRAM_REFUSED   /* over; `why` is a sentence for a log, not for the other side */
};

struct m5_scram_message {
    char text[M5_SCRAM_MESSAGE_MAX];
    size_t size;
};

struct m5_scram_server {
    enum m5_scram_hash hash;
    int step;    /* 0: nothing came; 1: challenge sent; 2: over */
    bool exists; /* the user does */
    struct m5_scram_keys keys;
    char user[M5_SCRAM_MESSAGE_MAX];
    size_t user_size;                  /* known after the first message */
    char header[M5_SCRAM_MESSAGE_MAX]; /* GS2 header of the first message */
    size_t header_size, nonce_size;
    char nonce[M5_SCRAM_MESSAGE_MAX];    /* both parts */
    char auth[4 * M5_SCRAM_MESSAGE_MAX]; /* RFC 5802's AuthMessage, as far as it is known */
    size_t auth_size;
    const char *why;
};

void m5_scram_server_init(struct m5_scram_server *server, enum m5_scram_hash hash);

/* Takes the client's first message. @p users is read during the call only; @p secret (the same for
 * the life of the process) makes the salt of users who do not exist; @p nonce is new. */
enum m5_scram_answer m5_scram_server_first(struct m5_scram_server *server,
                                           struct mqtt5_bytes message, const struct m5_users *users,
                                           const uint8_t secret[M5_SCRAM_SECRET_SIZE],
                                           const char *nonce, struct m5_scram_message *out);

/* Takes the client's second message: M5_SCRAM_DONE or M5_SCRAM_REFUSED. */
enum m5_scram_answer m5_scram_server_final(struct m5_scram_server *server,
                                           struct mqtt5_bytes message,
                                           struct m5_scram_message *out);

/* Who it is, once the first message was read; a view into @p server. */
struct mqtt5_bytes m5_scram_server_user(const struct m5_scram_server *server);

struct m5_scram_client {
    enum m5_scram_hash hash;
    int step;
    struct mqtt5_bytes password; /* borrowed until the second message is made */
    char nonce[M5_SCRAM_NONCE_SIZE];
    uint8_t signature[M5_SCRAM_KEY_MAX]; /* that the server must show */
    char bare[M5_SCRAM_MESSAGE_MAX];
    size_t bare_size;
    const char *why;
};

/* Makes the first message. M5_SCRAM_REFUSED when the user's name is empty or too long. */
enum m5_scram_answer m5_scram_client_first(struct m5_scram_client *client, enum m5_scram_hash hash,
                                           struct mqtt5_bytes user, struct mqtt5_bytes password,
                                           const char *nonce, struct m5_scram_message *out);

/* Takes the server's challenge and makes the proof. Takes a time that grows with the iterations
 * the server wants; outside M5_SCRAM_ITERATIONS_MIN and _MAX it is refused. */
enum m5_scram_answer m5_scram_client_next(struct m5_scram_client *client,
                                          struct mqtt5_bytes message, struct m5_scram_message *out);

/* Takes the server's last message: M5_SCRAM_DONE only if it knows the user's keys. */
enum m5_scram_answer m5_scram_client_finish(struct m5_scram_client *client,
                                            struct mqtt5_bytes message);

/* ---- PLAIN (RFC 4616) ---- */

/* Takes "AUTHZID NUL USER NUL PASSWORD" apart; the views are into @p message. False when it is
 * something else, the user is empty, or AUTHZID is neither empty nor the user. */
bool m5_plain_parse(struct mqtt5_bytes message, struct mqtt5_bytes *user,
                    struct mqtt5_bytes *password);

#endif
