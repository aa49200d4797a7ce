/* Files of users (passwords and SCRAM keys) and of banned networks; stored hashes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "host/auth/edit.h"
#include "host/auth/password.h"
#include "host/auth/scram.h"
#include "host/auth/source.h"
#include "host/auth/users.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHEAP_KIB        64u
#define CHEAP_ITERATIONS 50u

static bool is_cheap(const struct m5_password *stored)
{
    switch (stored->kind) {
    case M5_PASSWORD_ARGON2ID: return stored->memory_kib * stored->passes <= CHEAP_KIB;
    case M5_PASSWORD_PBKDF2: return stored->iterations <= CHEAP_ITERATIONS;
    case M5_PASSWORD_SHA512: break;
    }
    return true;
}

static void try_hash(struct mqtt5_bytes text)
{
    struct m5_password stored;
    const char *why;
    if (!m5_password_parse(text, &stored, &why)) {
        M5_ASSERT(why != NULL);
        return;
    }
    M5_ASSERT(stored.salt_size >= M5_PASSWORD_SALT_MIN && stored.key_size >= M5_PASSWORD_KEY_MIN);
    if (is_cheap(&stored))
        M5_ASSERT(m5_password_verify(&stored, m5_bytes_of("guess")) != M5_PASSWORD_FAILED);
}

/* Each line that could be read is found by its name, and by the editor. */
static void try_users(struct mqtt5_bytes text, m5_users_check_fn *check)
{
    struct m5_text_error error;
    struct m5_users *users = m5_users_new(&m5_libc_allocator, text, check, &error);
    if (users == NULL) {
        M5_ASSERT(error.text[0] != 0);
        return;
    }
    const struct m5_user *some = m5_users_decoy(users, m5_bytes_of("nobody"));
    M5_ASSERT((some == NULL) == (m5_users_count(users) == 0));
    if (some != NULL) {
        const struct m5_edit_user who = {.name = some->name};
        const struct m5_edit edit = {.match = m5_edit_is_user, .ctx = &who};
        struct m5_text left;
        uint32_t matched;
        M5_ASSERT(m5_users_find(users, some->name, some->variant) == some);
        M5_ASSERT(m5_edit_apply(text, &edit, &left, &matched) && matched >= 1);
        m5_text_free(&left);
    }
    m5_users_free(users);
}

static void try_bans(struct mqtt5_bytes text)
{
    struct m5_text_error error;
    const struct m5_source here = {{[10] = 0xFF, [11] = 0xFF, [12] = 192, [14] = 2, [15] = 7}};
    struct m5_bans *bans = m5_bans_new(&m5_libc_allocator, text, &error);
    if (bans == NULL)
        return;
    m5_bans_contain(bans, here);
    m5_bans_free(bans);
}

/* The first byte says what the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const struct mqtt5_bytes text = m5_bytes(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0: try_hash(text); break;
    case 1: try_users(text, m5_users_password_check); break;
    case 2: try_users(text, m5_users_scram_check); break;
    default: try_bans(text); break;
    }
    return 0;
}
