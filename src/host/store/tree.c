/* The map of the store, in LMDB.
 *
 * What LMDB does not do by itself:
 * - It does not sync the folder after it made a file, so the file may be gone after a power cut:
 *   the map is made under another name, synced, renamed, and the folder synced.
 * - After a sync that failed it goes on with what the system's cache holds, which the disk need not
 *   hold (the kernel tells of a failed write once). Pages are written anew by every attempt, so
 * they are not in doubt; but the page that names the latest transaction may be the new one on the
 * disk and the old one in the cache, and the next attempt would overwrite pages that it refers to.
 * So the map is then rewritten to a new file, synced as a whole, before anything else is done to
 * it.
 * - Its lock file remembers the last transaction: a file with other transactions needs a new one.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/tree.h"

#include "base/assert.h"
#include "broker/record.h"
#include "host/store/folder.h"
#include "host/store/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_LEAST   ((uint64_t)1 << 20)
#define READ_BYTES  ((uint64_t)(sizeof(size_t) > 4 ? 64 : 1) << 30) /* or what the file takes */
#define PATH_SIZE   4096
#define CHUNK       100000u /* changes of a transaction: its changed pages are in memory */
#define FORMAT_SIZE 12u
#define GROUP_SIZE  16u

static const uint8_t format_key[] = {0, 'f'};
static const uint8_t group_key[] = {0, 'g'};

static enum mqtt5_error failed(int code, const char *what, char *why)
{
    m5_say(why, "%s: %s", what, mdb_strerror(code));
    return code == ENOMEM ? MQTT5_ERR_NOMEM : MQTT5_ERR_IO;
}

/* ---- records ---- */

static MDB_val val_of(struct mqtt5_bytes bytes)
{
    return (MDB_val){.mv_size = bytes.len, .mv_data = (void *)(uintptr_t)bytes.data};
}

static struct mqtt5_bytes bytes_of(const MDB_val *val)
{
    return m5_bytes(val->mv_data, val->mv_size);
}

static int put(MDB_cursor *cursor, struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    MDB_val k = val_of(key);
    MDB_val v = {.mv_size = M5_VALUE_SUM_SIZE + value.len};
    const int code = mdb_cursor_put(cursor, &k, &v, MDB_RESERVE);
    if (code == 0)
        m5_copy(m5_write_u32(v.mv_data, m5_value_sum(key, value)), value);
    return code;
}

static int delete (MDB_cursor *cursor, struct mqtt5_bytes key)
{
    MDB_val k = val_of(key);
    const int code = mdb_cursor_get(cursor, &k, NULL, MDB_SET);
    if (code == 0)
        return mdb_cursor_del(cursor, 0);
    return code == MDB_NOTFOUND ? 0 : code;
}

static int delete_prefix(MDB_cursor *cursor, struct mqtt5_bytes prefix)
{
    for (;;) {
        MDB_val k = val_of(prefix);
        int code = mdb_cursor_get(cursor, &k, NULL, MDB_SET_RANGE);
        if (code == MDB_NOTFOUND)
            return 0;
        if (code != 0)
            return code;
        if (k.mv_size < prefix.len || memcmp(k.mv_data, prefix.data, prefix.len) != 0)
            return 0;
        code = mdb_cursor_del(cursor, 0);
        if (code != 0)
            return code;
    }
}

static int change(MDB_cursor *cursor, const struct m5_store_change *item)
{
    switch (item->op) {
    case M5_STORE_PUT:
    case M5_STORE_PUT_NEW: return put(cursor, item->key, item->value);
    case M5_STORE_DELETE: return delete (cursor, item->key);
    case M5_STORE_DELETE_PREFIX: return delete_prefix(cursor, item->key);
    }
    return 0; /* left out */
}

static int put_group(MDB_cursor *cursor, uint64_t number, uint64_t wall_ms)
{
    uint8_t value[GROUP_SIZE];
    m5_write_u64(m5_write_u64(value, number), wall_ms);
    return put(cursor, m5_bytes(group_key, sizeof group_key), m5_bytes(value, sizeof value));
}

/* Reads a record of the store's own of @p size bytes; false: there is none. */
static bool get_own(MDB_txn *txn, MDB_dbi dbi, const uint8_t key[2], uint8_t *out, size_t size)
{
    const struct mqtt5_bytes name = m5_bytes(key, 2);
    MDB_val k = val_of(name), v;
    if (mdb_get(txn, dbi, &k, &v) != 0 || v.mv_size != M5_VALUE_SUM_SIZE + size)
        return false;
    const uint8_t *data = v.mv_data;
    const struct mqtt5_bytes value = m5_bytes(data + M5_VALUE_SUM_SIZE, size);
    if (m5_read_u32(data) != m5_value_sum(name, value))
        return false;
    memcpy(out, value.data, size);
    return true;
}

void m5_tree_see_own(struct m5_tree *tree, struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    if (m5_bytes_equal(key, m5_bytes(format_key, 2)) && value.len == FORMAT_SIZE) {
        tree->format = m5_read_u32(value.data);
        tree->store = m5_read_u64(value.data + 4);
    } else if (m5_bytes_equal(key, m5_bytes(group_key, 2)) && value.len == GROUP_SIZE) {
        tree->number = m5_read_u64(value.data);
        tree->wall_ms = m5_read_u64(value.data + 8);
    }
}

/* ---- opening ---- */

static enum mqtt5_error open_env(struct m5_tree *tree, const char *path, unsigned flags, char *why)
{
    int code = mdb_env_create(&tree->env);
    if (code == 0 && tree->map_bytes != 0)
        code = mdb_env_set_mapsize(tree->env, (size_t)tree->map_bytes);
    if (code == 0)
        code = mdb_env_open(tree->env, path, flags, 0600);
    if (code == 0)
        return MQTT5_OK;
    if (tree->env != NULL)
        mdb_env_close(tree->env);
    tree->env = NULL;
    return failed(code, "the map cannot be opened", why);
}

/* As open_env(); takes less address space where there is not enough. */
static enum mqtt5_error open_env_to_fit(struct m5_tree *tree, const char *path, unsigned flags,
                                        char *why)
{
    enum mqtt5_error error = open_env(tree, path, flags, why);
    while (error == MQTT5_ERR_NOMEM && tree->map_bytes / 2 >= MAP_LEAST) {
        tree->map_bytes /= 2;
        error = open_env(tree, path, flags, why);
    }
    if (error == MQTT5_OK)
        why[0] = 0;
    return error;
}

static void note_sizes(struct m5_tree *tree, MDB_txn *txn)
{
    MDB_stat stat;
    if (mdb_stat(txn, tree->dbi, &stat) != 0)
        return;
    tree->records = stat.ms_entries;
    tree->bytes_used = (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages + 2) *
                       (uint64_t)stat.ms_psize;
}

/* Reads what the map is from @p txn. */
static enum mqtt5_error read_own(struct m5_tree *tree, MDB_txn *txn, char *why)
{
    uint8_t format[FORMAT_SIZE], group[GROUP_SIZE];
    if (!get_own(txn, tree->dbi, format_key, format, sizeof format) ||
        !get_own(txn, tree->dbi, group_key, group, sizeof group)) {
        m5_say(why, "\"%s/" M5_TREE_NAME "\" is not a store of this broker", tree->dir);
        return MQTT5_ERR_TRUNCATED;
    }
    m5_tree_see_own(tree, m5_bytes(format_key, 2), m5_bytes(format, sizeof format));
    m5_tree_see_own(tree, m5_bytes(group_key, 2), m5_bytes(group, sizeof group));
    note_sizes(tree, txn);
    return MQTT5_OK;
}

static enum mqtt5_error open_map(struct m5_tree *tree, char *why)
{
    enum mqtt5_error error = open_env_to_fit(tree, tree->dir, MDB_NOTLS, why);
    if (error != MQTT5_OK)
        return error;
    int dead;
    mdb_reader_check(tree->env, &dead); /* readers that died: they would keep pages from reuse */
    MDB_txn *txn;
    int code = mdb_txn_begin(tree->env, NULL, MDB_RDONLY, &txn);
    if (code != 0)
        return failed(code, "the map cannot be read", why);
    code = mdb_dbi_open(txn, NULL, 0, &tree->dbi);
    if (code != 0) {
        mdb_txn_abort(txn);
        return failed(code, "the map cannot be read", why);
    }
    error = read_own(tree, txn, why);
    if (mdb_txn_commit(txn) != 0 && error == MQTT5_OK) /* keeps the handle open */
        error = MQTT5_ERR_IO;
    return error;
}

enum mqtt5_error m5_tree_open(struct m5_tree *tree, const char *dir, int dir_fd, uint64_t map_bytes,
                              char *why)
{
    *tree = (struct m5_tree){.dir = dir, .dir_fd = dir_fd, .map_bytes = map_bytes, .chunk = CHUNK};
    const enum mqtt5_error error = open_map(tree, why);
    if (error != MQTT5_OK)
        m5_tree_close(tree);
    return error;
}

void m5_tree_close(struct m5_tree *tree)
{
    m5_tree_walk_end(tree);
    if (tree->env != NULL)
        mdb_env_close(tree->env);
    tree->env = NULL;
}

int m5_tree_fd(const struct m5_tree *tree)
{
    int fd = -1;
    return tree->env != NULL && mdb_env_get_fd(tree->env, &fd) == 0 ? fd : -1;
}

/* ---- making ---- */

static int write_first(MDB_env *env, uint64_t store)
{
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor;
    int code = mdb_txn_begin(env, NULL, 0, &txn);
    if (code != 0)
        return code;
    code = mdb_dbi_open(txn, NULL, 0, &dbi);
    if (code == 0)
        code = mdb_cursor_open(txn, dbi, &cursor);
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    uint8_t value[FORMAT_SIZE];
    m5_write_u64(m5_write_u32(value, M5_STORE_FORMAT), store);
    code = put(cursor, m5_bytes(format_key, sizeof format_key), m5_bytes(value, sizeof value));
    if (code == 0)
        code = put_group(cursor, 0, 0);
    mdb_cursor_close(cursor);
    if (code == 0)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return code;
}

/* Puts M5_TREE_NEW in the place of the map, if there is one. */
static enum mqtt5_error put_in_place(int dir_fd, char *why)
{
    if ((unlinkat(dir_fd, M5_TREE_LOCK, 0) != 0 && errno != ENOENT) ||
        renameat(dir_fd, M5_TREE_NEW, dir_fd, M5_TREE_NAME) != 0 || !m5_folder_sync(dir_fd)) {
        m5_say(why, "the map cannot be put in its place: %s", strerror(errno));
        return MQTT5_ERR_IO;
    }
    return MQTT5_OK;
}

enum mqtt5_error m5_tree_create(int dir_fd, const char *dir, uint64_t store, char *why)
{
    struct m5_tree tree = {.dir = dir, .dir_fd = dir_fd, .map_bytes = MAP_LEAST};
    char path[PATH_SIZE];
    if (snprintf(path, sizeof path, "%s/" M5_TREE_NEW, dir) >= (int)sizeof path) {
        m5_say(why, "the name of the folder is too long");
        return MQTT5_ERR_IO;
    }
    unlinkat(dir_fd, M5_TREE_NEW, 0); /* of an attempt that was cut short */
    enum mqtt5_error error = open_env(&tree, path, MDB_NOSUBDIR | MDB_NOLOCK, why);
    if (error != MQTT5_OK)
        return error;
    int code = write_first(tree.env, store);
    if (code == 0)
        code = mdb_env_sync(tree.env, 1);
    mdb_env_close(tree.env);
    error = code == 0 ? put_in_place(dir_fd, why) : failed(code, "the map cannot be made", why);
    if (error != MQTT5_OK)
        unlinkat(dir_fd, M5_TREE_NEW, 0);
    return error;
}

/* ---- bringing it up to the log ---- */

/* Applies items from *@p at on, as many as one transaction takes; the number of the group with the
 * last of them. */
static int apply_chunk(struct m5_tree *tree, MDB_txn *txn, const struct m5_change_list *list,
                       uint32_t *at)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, tree->dbi, &cursor);
    if (code != 0)
        return code;
    uint32_t i = *at;
    for (uint32_t changes = 0; code == 0 && i < list->count && changes < tree->chunk; i++) {
        code = change(cursor, &list->items[i]);
        changes += list->items[i].op != 0;
    }
    mdb_cursor_close(cursor);
    if (code == 0)
        *at = i;
    return code;
}

static int set_group(struct m5_tree *tree, MDB_txn *txn, uint64_t number, uint64_t wall_ms)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, tree->dbi, &cursor);
    if (code != 0)
        return code;
    code = put_group(cursor, number, wall_ms);
    mdb_cursor_close(cursor);
    return code;
}

/* One transaction; *@p at moves on when it is durable. */
static int commit_chunk(struct m5_tree *tree, const struct m5_change_list *list, uint32_t *at,
                        uint64_t number, uint64_t wall_ms)
{
    MDB_txn *txn;
    uint32_t end = *at;
    int code = mdb_txn_begin(tree->env, NULL, 0, &txn);
    if (code != 0)
        return code;
    code = apply_chunk(tree, txn, list, &end);
    if (code == 0 && end == list->count)
        code = set_group(tree, txn, number, wall_ms);
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    note_sizes(tree, txn);
    code = mdb_txn_commit(txn);
    if (code == 0)
        *at = end;
    else
        tree->doubtful = code != ENOSPC && code != ENOMEM && code != MDB_MAP_FULL;
    return code;
}

/* Makes the map larger; no transaction is open. */
static int grow(struct m5_tree *tree)
{
    MDB_envinfo info;
    mdb_env_info(tree->env, &info);
    const int code = mdb_env_set_mapsize(tree->env, info.me_mapsize * 2);
    if (code == 0)
        tree->map_bytes = info.me_mapsize * 2;
    return code;
}

/* Opens the map again after a failure that leaves it in doubt. */
static enum mqtt5_error reopen(struct m5_tree *tree, char *why)
{
    m5_tree_close(tree);
    const enum mqtt5_error error = open_map(tree, why);
    if (error != MQTT5_OK)
        m5_tree_close(tree);
    return error;
}

enum mqtt5_error m5_tree_apply(struct m5_tree *tree, const struct m5_change_list *list,
                               uint64_t number, uint64_t wall_ms, char *why)
{
    if (tree->env == NULL || tree->doubtful) {
        enum mqtt5_error error = reopen(tree, why);
        if (error == MQTT5_OK && tree->doubtful)
            error = m5_tree_rewrite(tree, why);
        if (error != MQTT5_OK)
            return error;
    }
    if (tree->number >= number)
        return MQTT5_OK; /* the commit that seemed to fail did not */
    for (uint32_t at = 0;;) {
        int code = commit_chunk(tree, list, &at, number, wall_ms);
        if (code == 0 && at == list->count) {
            tree->number = number;
            tree->wall_ms = wall_ms;
            return MQTT5_OK;
        }
        if (code == MDB_MAP_FULL)
            code = grow(tree);
        if (code != 0)
            return failed(code, "the map cannot be written", why);
    }
}

/* ---- reading ---- */

static enum mqtt5_error walk_cursor(MDB_cursor *cursor, m5_store_record_fn *fn, void *ctx)
{
    MDB_val k, v;
    int code = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
    for (; code == 0; code = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        const struct mqtt5_bytes key = bytes_of(&k);
        if (key.data[0] == 0)
            continue;
        const uint8_t *data = v.mv_data;
        if (v.mv_size < M5_VALUE_SUM_SIZE)
            return MQTT5_ERR_IO;
        const struct mqtt5_bytes value =
            m5_bytes(data + M5_VALUE_SUM_SIZE, v.mv_size - M5_VALUE_SUM_SIZE);
        if (m5_read_u32(data) != m5_value_sum(key, value))
            return MQTT5_ERR_IO;
        const enum mqtt5_error error = fn(ctx, key, value);
        if (error != MQTT5_OK)
            return error;
    }
    return code == MDB_NOTFOUND ? MQTT5_OK : MQTT5_ERR_IO;
}

enum mqtt5_error m5_tree_walk(struct m5_tree *tree, m5_store_record_fn *fn, void *ctx)
{
    MDB_cursor *cursor;
    M5_ASSERT(tree->reading == NULL);
    if (mdb_txn_begin(tree->env, NULL, MDB_RDONLY, &tree->reading) != 0) {
        tree->reading = NULL;
        return MQTT5_ERR_IO;
    }
    if (mdb_cursor_open(tree->reading, tree->dbi, &cursor) != 0)
        return MQTT5_ERR_IO;
    const enum mqtt5_error error = walk_cursor(cursor, fn, ctx);
    mdb_cursor_close(cursor);
    return error;
}

void m5_tree_walk_end(struct m5_tree *tree)
{
    if (tree->reading != NULL)
        mdb_txn_abort(tree->reading);
    tree->reading = NULL;
}

static bool same_file(int dir_fd, const char *name, const struct stat *other)
{
    struct stat now;
    return fstatat(dir_fd, name, &now, 0) == 0 && now.st_ino == other->st_ino &&
           now.st_dev == other->st_dev;
}

enum mqtt5_error m5_tree_open_to_read(struct m5_tree *tree, const char *dir, int dir_fd, bool lives,
                                      uint64_t *transaction, char *why)
{
    /* The lock file and the map are replaced one after the other when the map is rewritten; both
     * must be of a pair. Without a lock file LMDB would make one. */
    for (unsigned attempt = 0; attempt < 50; attempt++) {
        *tree = (struct m5_tree){.dir = dir, .dir_fd = dir_fd, .map_bytes = READ_BYTES};
        struct stat lock;
        const bool locks = fstatat(dir_fd, M5_TREE_LOCK, &lock, 0) == 0;
        if (!locks && lives) {
            usleep(20000);
            continue;
        }
        const unsigned flags = MDB_RDONLY | MDB_NOTLS | (locks ? 0 : MDB_NOLOCK);
        enum mqtt5_error error = open_env_to_fit(tree, dir, flags, why);
        if (error != MQTT5_OK)
            return error;
        const int code = mdb_txn_begin(tree->env, NULL, MDB_RDONLY, &tree->reading);
        if (code != 0) {
            tree->reading = NULL;
            m5_tree_close(tree);
            return failed(code, "the map cannot be read", why);
        }
        *transaction = mdb_txn_id(tree->reading);
        struct stat file;
        if (fstat(m5_tree_fd(tree), &file) == 0 && same_file(dir_fd, M5_TREE_NAME, &file) &&
            (!locks || same_file(dir_fd, M5_TREE_LOCK, &lock)))
            return MQTT5_OK;
        m5_tree_close(tree);
    }
    m5_say(why, "the map changes all the time");
    return MQTT5_ERR_IO;
}

/* ---- copying ---- */

enum mqtt5_error m5_tree_copy(struct m5_tree *tree, int fd, char *why)
{
    int code = mdb_env_copyfd2(tree->env, fd, MDB_CP_COMPACT);
    if (code == 0 && fsync(fd) != 0)
        code = errno;
    return code == 0 ? MQTT5_OK : failed(code, "the map cannot be copied", why);
}

enum mqtt5_error m5_tree_rewrite(struct m5_tree *tree, char *why)
{
    unlinkat(tree->dir_fd, M5_TREE_NEW, 0);
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    const int fd = openat(tree->dir_fd, M5_TREE_NEW, flags, 0600);
    if (fd < 0)
        return failed(errno, "the map cannot be rewritten", why);
    enum mqtt5_error error = m5_tree_copy(tree, fd, why);
    close(fd);
    if (error == MQTT5_OK) {
        m5_tree_close(tree);
        error = put_in_place(tree->dir_fd, why);
    }
    if (error != MQTT5_OK) {
        unlinkat(tree->dir_fd, M5_TREE_NEW, 0);
        return error;
    }
    tree->doubtful = false;
    error = open_map(tree, why);
    if (error != MQTT5_OK)
        m5_tree_close(tree);
    return error;
}
