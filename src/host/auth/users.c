/* The password file: who there is, and how each password is stored.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/auth/users.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/map.h"
#include "host/auth/password.h"

#include <gnutls/crypto.h>
#include <string.h>

struct m5_users {
    const struct mqtt5_allocator *allocator;
    struct m5_hash_key key; /* of this table alone: random */
    uint8_t *text;
    size_t text_size;
    struct m5_user *items;
    uint32_t count, capacity;
    struct m5_map by_name;
};

static bool is_named(const void *value, const void *key)
{
    const struct m5_user *user = value;
    const struct m5_user *wanted = key;
    return user->variant == wanted->variant && m5_bytes_equal(user->name, wanted->name);
}

static uint32_t hash_of(const struct m5_users *users, struct mqtt5_bytes name)
{
    return (uint32_t)m5_hash(&users->key, name);
}

bool m5_users_password_check(struct mqtt5_bytes stored, uint32_t *variant, const char **why)
{
    *variant = 0;
    struct m5_password password;
    return m5_password_parse(stored, &password, why);
}

/* ---- reading ---- */

static struct mqtt5_bytes trim_end(struct mqtt5_bytes line)
{
    while (line.len > 0 && (line.data[line.len - 1] == ' ' || line.data[line.len - 1] == '\t'))
        line.len--;
    return line;
}

static bool read_line(struct m5_users *users, const struct m5_text_lines *lines,
                      m5_users_check_fn *check, struct m5_text_error *error)
{
    const struct mqtt5_bytes line = trim_end(lines->line);
    const uint8_t *colon = memchr(line.data, ':', line.len);
    if (colon == NULL)
        return m5_text_fail(error, lines->number, 1, "there is no colon; write NAME:HASH");
    const size_t size = (size_t)(colon - line.data);
    if (size == 0 || size > M5_USER_NAME_MAX)
        return m5_text_fail(error, lines->number, 1, "the name has %zu bytes, 1 to %u are allowed",
                            size, M5_USER_NAME_MAX);
    if (users->count == M5_USERS_MAX)
        return m5_text_fail(error, lines->number, 1, "more than %u users", M5_USERS_MAX);
    const char *why = NULL;
    struct m5_user user = {.name = m5_bytes(line.data, size),
                           .stored = m5_bytes(colon + 1, line.len - size - 1),
                           .line = lines->number};
    if (!check(user.stored, &user.variant, &why))
        return m5_text_fail(error, lines->number, (uint32_t)size + 2, "%s", why);
    struct m5_user *items = m5_make_room(users->allocator, users->items, sizeof *items,
                                         users->count, &users->capacity, 16);
    if (items == NULL)
        return m5_text_fail(error, 0, 0, "out of memory");
    users->items = items;
    items[users->count++] = user;
    return true;
}

static bool read_lines(struct m5_users *users, m5_users_check_fn *check,
                       struct m5_text_error *error)
{
    struct m5_text_lines lines = {.rest = m5_bytes(users->text, users->text_size)};
    while (m5_text_next_line(&lines)) {
        if (!m5_text_check_line(&lines, error))
            return false;
        if (!m5_text_is_comment(lines.line) && !read_line(users, &lines, check, error))
            return false;
    }
    return true;
}

/* Once all are read: their addresses do not change any more. */
static bool index_names(struct m5_users *users, struct m5_text_error *error)
{
    for (uint32_t i = 0; i < users->count; i++) {
        struct m5_user *user = &users->items[i];
        const uint32_t hash = hash_of(users, user->name);
        const struct m5_user *first = m5_map_find(&users->by_name, hash, is_named, user);
        if (first != NULL)
            return m5_text_fail(error, user->line, 1,
                                "the user stands in line %u already; remove one of the two",
                                first->line);
        if (!m5_map_add(&users->by_name, hash, user))
            return m5_text_fail(error, 0, 0, "out of memory");
    }
    return true;
}

static bool copy_text(struct m5_users *users, struct mqtt5_bytes text)
{
    if (text.len == 0)
        return true;
    users->text = m5_alloc(users->allocator, text.len);
    if (users->text == NULL)
        return false;
    users->text_size = text.len;
    m5_copy(users->text, text);
    return true;
}

struct m5_users *m5_users_new(const struct mqtt5_allocator *allocator, struct mqtt5_bytes text,
                              m5_users_check_fn *check, struct m5_text_error *error)
{
    struct m5_users *users = m5_alloc_zero(allocator, sizeof *users);
    if (users != NULL) {
        users->allocator = allocator;
        m5_map_init(&users->by_name, allocator);
    }
    if (users == NULL || !copy_text(users, text) ||
        gnutls_rnd(GNUTLS_RND_NONCE, &users->key, sizeof users->key) != 0) {
        m5_text_fail(error, 0, 0, "out of memory");
        m5_users_free(users);
        return NULL;
    }
    if (read_lines(users, check, error) && index_names(users, error))
        return users;
    m5_users_free(users);
    return NULL;
}

struct m5_users *m5_users_of(const struct mqtt5_allocator *allocator, const struct m5_user *items,
                             uint32_t count)
{
    struct m5_text_error error;
    struct m5_users *users = m5_users_new(allocator, m5_bytes(NULL, 0), NULL, &error);
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += items[i].name.len + items[i].stored.len;
    if (users == NULL || count == 0)
        return users;
    users->text = m5_alloc(allocator, size);
    users->text_size = users->text != NULL ? size : 0;
    users->items = m5_alloc(allocator, count * sizeof *users->items);
    users->capacity = users->items != NULL ? count : 0;
    if (users->text == NULL || users->items == NULL) {
        m5_users_free(users);
        return NULL;
    }
    uint8_t *at = users->text;
    for (; users->count < count; users->count++) {
        const struct m5_user *from = &items[users->count];
        struct m5_user *to = &users->items[users->count];
        *to = *from;
        to->name.data = at;
        to->stored.data = m5_copy(at, from->name);
        at = m5_copy(at + from->name.len, from->stored);
    }
    if (index_names(users, &error))
        return users;
    m5_users_free(users);
    return NULL;
}

struct m5_users *m5_users_load(const char *path, m5_users_check_fn *check,
                               struct m5_text_error *error)
{
    struct m5_text text;
    if (!m5_text_read(path, &text, error))
        return NULL;
    struct m5_users *users =
        m5_users_new(&m5_libc_allocator, m5_bytes(text.data, text.size), check, error);
    m5_text_free(&text);
    return users;
}

void m5_users_free(struct m5_users *users)
{
    if (users == NULL)
        return;
    const struct mqtt5_allocator *allocator = users->allocator;
    m5_map_fini(&users->by_name);
    if (users->text != NULL)
        m5_wipe(users->text, users->text_size);
    m5_free(allocator, users->text, users->text_size);
    m5_free(allocator, users->items, users->capacity * sizeof *users->items);
    m5_free(allocator, users, sizeof *users);
}

/* ---- looking up ---- */

size_t m5_users_count(const struct m5_users *users)
{
    return users->count;
}

const struct m5_user *m5_users_find(const struct m5_users *users, struct mqtt5_bytes name,
                                    uint32_t variant)
{
    const struct m5_user wanted = {.name = name, .variant = variant};
    return m5_map_find(&users->by_name, hash_of(users, name), is_named, &wanted);
}

const struct m5_user *m5_users_decoy(const struct m5_users *users, struct mqtt5_bytes name)
{
    if (users->count == 0)
        return NULL;
    return &users->items[m5_hash_strong(&users->key, name) % users->count];
}
