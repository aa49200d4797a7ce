/* Users by the fingerprints of their certificates, and pre-shared keys by identity.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "transport/tls/table.h"

#include "base/bytes.h"

#include <gnutls/crypto.h>
#include <stdlib.h>

#define ITEMS_MAX    1000000u
#define KEY_SIZE_MIN 16u /* bytes: 128 bits are what the rest of a handshake is worth */

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const uint8_t letter = (uint8_t)(c | 0x20);
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* One byte of two digits at @p at; -1 when they are none. */
static int hex_byte(const uint8_t *at)
{
    const int high = hex_value(at[0]), low = hex_value(at[1]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* ---- lines ---- */

/* What a file of lines is read with: called for each line that is not empty or a comment; gives
 * what is wrong with it or NULL. */
typedef const char *line_fn(void *table, struct mqtt5_bytes line);

static bool read_lines(const char *file, line_fn *add, void *table, struct m5_tls_error *error)
{
    struct m5_tls_blob blob = {0};
    if (!m5_tls_blob_load(&blob, file, m5_bytes(NULL, 0), error)) {
        m5_tls_blob_fini(&blob);
        return false;
    }
    const char *wrong = NULL;
    size_t number = 0;
    for (const uint8_t *at = blob.data, *end = at + blob.size; at < end && wrong == NULL;) {
        const uint8_t *feed = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *next = feed != NULL ? feed + 1 : end;
        size_t size = (size_t)((feed != NULL ? feed : end) - at);
        if (size > 0 && at[size - 1] == '\r')
            size--;
        number++;
        if (size > 0 && at[0] != '#')
            wrong = add(table, m5_bytes(at, size));
        at = next;
    }
    m5_tls_blob_fini(&blob);
    return wrong == NULL || m5_tls_fail(error, "%s:%zu: %s", file, number, wrong);
}

/* Room for one more of @p item_size bytes; the old ones are wiped when they move. */
static void *make_room(void *items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return items;
    const size_t more = *capacity == 0 ? 16 : 2 * *capacity;
    void *moved = count < ITEMS_MAX ? calloc(more, item_size) : NULL;
    if (moved == NULL)
        return NULL;
    if (items != NULL) {
        memcpy(moved, items, count * item_size);
        gnutls_memset(items, 0, count * item_size);
        free(items);
    }
    *capacity = more;
    return moved;
}

/* ---- users ---- */

static int by_fingerprint(const void *a, const void *b)
{
    const struct m5_tls_user *first = a, *second = b;
    return memcmp(first->fingerprint, second->fingerprint, M5_TLS_FINGERPRINT_SIZE);
}

/* Takes the fingerprint at the front of *line and the colon behind it. */
static bool take_fingerprint(struct mqtt5_bytes *line, uint8_t *out)
{
    const uint8_t *at = line->data, *end = at + line->len;
    for (size_t i = 0; i < M5_TLS_FINGERPRINT_SIZE; i++) {
        if (i > 0 && at < end && *at == ':')
            at++;
        const int byte = end - at >= 2 ? hex_byte(at) : -1;
        if (byte < 0)
            return false;
        out[i] = (uint8_t)byte;
        at += 2;
    }
    if (at == end || *at != ':')
        return false;
    *line = m5_bytes(at + 1, (size_t)(end - at) - 1);
    return true;
}

static const char *add_user(void *table, struct mqtt5_bytes line)
{
    struct m5_tls_users *users = table;
    struct m5_tls_user *items =
        make_room(users->items, users->count, &users->capacity, sizeof *items);
    if (items == NULL)
        return "out of memory, or more than a million lines";
    users->items = items;
    struct m5_tls_user *user = &items[users->count];
    if (!take_fingerprint(&line, user->fingerprint))
        return "a line is FINGERPRINT:USERNAME; the fingerprint is SHA-256, in 64 hex digits";
    if (!m5_tls_copy_name(line, user->name))
        return "the user name is empty, too long, not UTF-8, or has control characters in it";
    users->count++;
    return NULL;
}

bool m5_tls_users_load(struct m5_tls_users *users, const char *file, struct m5_tls_error *error)
{
    if (!read_lines(file, add_user, users, error))
        return false;
    if (users->count > 0)
        qsort(users->items, users->count, sizeof *users->items, by_fingerprint);
    for (size_t i = 1; i < users->count; i++) {
        if (by_fingerprint(&users->items[i - 1], &users->items[i]) == 0)
            return m5_tls_fail(error, "%s: users %s and %s have the same fingerprint", file,
                               users->items[i - 1].name, users->items[i].name);
    }
    return true;
}

const struct m5_tls_user *m5_tls_users_find(const struct m5_tls_users *users,
                                            const uint8_t fingerprint[M5_TLS_FINGERPRINT_SIZE])
{
    struct m5_tls_user wanted;
    memcpy(wanted.fingerprint, fingerprint, sizeof wanted.fingerprint);
    return users->count == 0
               ? NULL
               : bsearch(&wanted, users->items, users->count, sizeof wanted, by_fingerprint);
}

void m5_tls_users_fini(struct m5_tls_users *users)
{
    free(users->items);
    *users = (struct m5_tls_users){0};
}

/* ---- pre-shared keys ---- */

static int by_identity(const void *a, const void *b)
{
    const struct m5_tls_key *first = a, *second = b;
    return strcmp(first->identity, second->identity);
}

bool m5_tls_parse_key(struct mqtt5_bytes hex, struct m5_tls_key *out)
{
    if (hex.len % 2 != 0 || hex.len < 2 * KEY_SIZE_MIN || hex.len > 2 * sizeof out->key)
        return false;
    for (size_t i = 0; i < hex.len / 2; i++) {
        const int byte = hex_byte(hex.data + 2 * i);
        if (byte < 0)
            return false;
        out->key[i] = (uint8_t)byte;
    }
    out->size = hex.len / 2;
    return true;
}

static const char *add_key(void *table, struct mqtt5_bytes line)
{
    struct m5_tls_keys *keys = table;
    struct m5_tls_key *items = make_room(keys->items, keys->count, &keys->capacity, sizeof *items);
    if (items == NULL)
        return "out of memory, or more than a million lines";
    keys->items = items;
    struct m5_tls_key *key = &items[keys->count];
    const uint8_t *colon = memrchr(line.data, ':', line.len);
    if (colon == NULL)
        return "a line is IDENTITY:KEY, the key in hex digits";
    const size_t size = (size_t)(colon - line.data);
    if (!m5_tls_copy_name(m5_bytes(line.data, size), key->identity))
        return "the identity is empty, too long, not UTF-8, or has control characters in it";
    if (!m5_tls_parse_key(m5_bytes(colon + 1, line.len - size - 1), key))
        return "the key is not 32 to 128 hex digits";
    keys->count++;
    return NULL;
}

bool m5_tls_keys_load(struct m5_tls_keys *keys, const char *file, struct m5_tls_error *error)
{
    if (!read_lines(file, add_key, keys, error))
        return false;
    if (keys->count > 0)
        qsort(keys->items, keys->count, sizeof *keys->items, by_identity);
    for (size_t i = 1; i < keys->count; i++) {
        if (by_identity(&keys->items[i - 1], &keys->items[i]) == 0)
            return m5_tls_fail(error, "%s: identity %s is there twice", file,
                               keys->items[i].identity);
    }
    return true;
}

const struct m5_tls_key *m5_tls_keys_find(const struct m5_tls_keys *keys,
                                          struct mqtt5_bytes identity)
{
    struct m5_tls_key wanted;
    return keys->count == 0 || !m5_tls_copy_name(identity, wanted.identity)
               ? NULL
               : bsearch(&wanted, keys->items, keys->count, sizeof wanted, by_identity);
}

void m5_tls_keys_fini(struct m5_tls_keys *keys)
{
    if (keys->items != NULL)
        gnutls_memset(keys->items, 0, keys->capacity * sizeof *keys->items);
    free(keys->items);
    *keys = (struct m5_tls_keys){0};
}
