/* Passwords as they are stored: argon2id, and the two older forms of Mosquitto.
 *
 *   $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH     ours, and Mosquitto's since 2.1
 *   $7$ITERATIONS$SALT$HASH                      Mosquitto: PBKDF2 with HMAC-SHA-512
 *   $6$SALT$HASH                                 Mosquitto: SHA-512 of password and salt
 *
 * What a file asks for is capped, so that no file makes a login take all memory or a minute.
 * All functions are safe to call from any thread.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_PASSWORD_H
#define M5_HOST_AUTH_PASSWORD_H

#include <mqtt5/bytes.h>

#include <stdbool.h>
#include <stdint.h>

#define M5_PASSWORD_SALT_MIN       8u
#define M5_PASSWORD_SALT_MAX       64u
#define M5_PASSWORD_KEY_MIN        16u
#define M5_PASSWORD_KEY_MAX        64u
#define M5_PASSWORD_MEMORY_MAX     262144u /* KiB */
#define M5_PASSWORD_PASSES_MAX     16u
#define M5_PASSWORD_LANES_MAX      16u
#define M5_PASSWORD_WORK_MAX       1048576u /* KiB times passes */
#define M5_PASSWORD_ITERATIONS_MAX 2000000u
#define M5_PASSWORD_TEXT_SIZE      256u /* of what m5_password_make() writes, with the zero */

enum m5_password_kind { M5_PASSWORD_ARGON2ID, M5_PASSWORD_PBKDF2, M5_PASSWORD_SHA512 };

struct m5_password {
    enum m5_password_kind kind;
    uint32_t memory_kib, passes, lanes; /* argon2id */
    uint32_t iterations;                /* PBKDF2 */
    uint8_t salt[M5_PASSWORD_SALT_MAX], key[M5_PASSWORD_KEY_MAX];
    size_t salt_size, key_size;
};

/* What new hashes cost: 19 MiB, two passes, one lane. */
extern const struct m5_password m5_password_defaults;

/* Reads a stored hash. On false *why is a sentence. */
bool m5_password_parse(struct mqtt5_bytes text, struct m5_password *out, const char **why);

enum m5_password_answer {
    M5_PASSWORD_RIGHT,
    M5_PASSWORD_WRONG,
    M5_PASSWORD_FAILED /* no memory to find out */
};

/* Compares, in a time that does not depend on where they differ. Takes milliseconds of CPU. */
enum m5_password_answer m5_password_verify(const struct m5_password *stored,
                                           struct mqtt5_bytes password);

/* Hashes @p password with the parameters of @p like (argon2id) and a new random salt of 16 bytes.
 * False without memory or randomness. */
bool m5_password_make(struct mqtt5_bytes password, const struct m5_password *like,
                      char out[M5_PASSWORD_TEXT_SIZE]);

#endif
