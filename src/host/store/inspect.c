/* Looking at a store from outside.
 *
 * The map is held by a read transaction of LMDB, which keeps the broker from using its pages again,
 * but it is read by our own walk (pages.h), as it may be damaged. What the log adds is read into
 * memory and merged in. The log is opened before the map: so there is no gap between them, only an
 * overlap, which does no harm.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/store/inspect.h"

#include "base/bytes.h"
#include "broker/record.h"
#include "host/store/folder.h"
#include "host/store/pages.h"
#include "host/store/state.h"
#include "host/store/tree.h"
#include "host/store/wal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ATTEMPTS 20u /* a broker that commits all the time changes things while they are opened */

/* A change of the log, and where it stands among them. */
struct later {
    struct m5_store_change change;
    uint32_t order;
};

struct m5_inspect {
    char *dir;
    int dir_fd;
    struct m5_tree tree;
    struct m5_wal log;
    struct m5_pages_head head;
    struct m5_window window;
    /* What the log says of single keys, by key, the last of each only; and of prefixes. */
    struct later *keys, *prefixes;
    uint32_t key_count, prefix_count;
    uint64_t prefix_sizes; /* a bit for each size of a prefix */
    struct m5_inspect_report *report;
};

/* ---- what the log adds ---- */

static int compare_keys(struct mqtt5_bytes a, struct mqtt5_bytes b)
{
    const int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_later(const void *a, const void *b)
{
    const struct later *x = a, *y = b;
    const int order = compare_keys(x->change.key, y->change.key);
    return order != 0 ? order : (x->order > y->order) - (x->order < y->order);
}

/* Sorts by key and keeps the last of each. */
static uint32_t keep_last(struct later *items, uint32_t count)
{
    uint32_t kept = 0;
    if (count > 0)
        qsort(items, count, sizeof *items, compare_later);
    for (uint32_t i = 0; i < count; i++) {
        if (i + 1 < count && compare_keys(items[i].change.key, items[i + 1].change.key) == 0)
            continue;
        items[kept++] = items[i];
    }
    return kept;
}

static bool index_log(struct m5_inspect *inspect)
{
    const struct m5_change_list *list = &inspect->window.changes;
    inspect->keys = malloc((list->count + 1) * sizeof *inspect->keys);
    inspect->prefixes = malloc((list->count + 1) * sizeof *inspect->prefixes);
    if (inspect->keys == NULL || inspect->prefixes == NULL)
        return false;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct later item = {.change = list->items[i], .order = i};
        if (item.change.op == M5_STORE_DELETE_PREFIX) {
            inspect->prefixes[inspect->prefix_count++] = item;
            inspect->prefix_sizes |= (uint64_t)1 << item.change.key.len;
        } else {
            inspect->keys[inspect->key_count++] = item;
        }
    }
    inspect->key_count = keep_last(inspect->keys, inspect->key_count);
    inspect->prefix_count = keep_last(inspect->prefixes, inspect->prefix_count);
    return true;
}

static const struct later *find_prefix(const struct m5_inspect *inspect, struct mqtt5_bytes prefix)
{
    uint32_t low = 0, high = inspect->prefix_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = compare_keys(inspect->prefixes[middle].change.key, prefix);
        if (order == 0)
            return &inspect->prefixes[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Tells whether the log deletes @p key by a prefix, at place @p from or later. */
static bool is_deleted(const struct m5_inspect *inspect, struct mqtt5_bytes key, uint32_t from)
{
    for (size_t size = 1; size <= key.len; size++) {
        if ((inspect->prefix_sizes & (uint64_t)1 << size) == 0)
            continue;
        const struct later *found = find_prefix(inspect, m5_bytes(key.data, size));
        if (found != NULL && found->order >= from)
            return true;
    }
    return false;
}

/* Reads what the map does not have yet. */
static enum mqtt5_error read_log(struct m5_inspect *inspect)
{
    struct m5_inspect_report *report = inspect->report;
    const struct m5_store_options limits = {.apply_bytes = SIZE_MAX, .apply_changes = UINT32_MAX};
    struct m5_wal_reader reader;
    char what[M5_STORE_WHY_SIZE] = "";
    inspect->log.store = inspect->tree.store;
    m5_wal_read(&inspect->log, inspect->tree.number + 1, &reader);
    enum m5_wal_found found = M5_WAL_GROUP;
    /* While a group is being written there may seem to be a gap before the next. */
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
        found = m5_window_read(&inspect->window, &reader, UINT64_MAX, &limits, what);
        if (found != M5_WAL_DAMAGED || report->owner == 0)
            break;
        usleep(1000);
    }
    report->group = inspect->window.count > 0 ? inspect->window.number : inspect->tree.number;
    if (inspect->window.count > 0)
        report->written_ms = inspect->window.wall_ms;
    if (found == M5_WAL_DAMAGED && report->damage[0] == 0)
        m5_say(report->damage, "%s", what);
    if (found == M5_WAL_FAILED || found == M5_WAL_LATER) {
        m5_say(report->why, "%s", what);
        return found == M5_WAL_LATER ? MQTT5_ERR_CONFIG : MQTT5_ERR_IO;
    }
    return index_log(inspect) ? MQTT5_OK : MQTT5_ERR_NOMEM;
}

/* ---- opening ---- */

static enum mqtt5_error see_first(void *ctx, struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    struct m5_inspect *inspect = ctx;
    if (key.data[0] == 0 && value.data != NULL) {
        m5_tree_see_own(&inspect->tree, key, value);
        return MQTT5_OK;
    }
    inspect->report->records++;
    inspect->report->checksums += value.data == NULL;
    return MQTT5_OK;
}

/* Walks all pages once: finds damage, and what the map is. */
static enum mqtt5_error check_map(struct m5_inspect *inspect)
{
    struct m5_inspect_report *report = inspect->report;
    struct m5_pages_report pages = {0};
    char what[M5_STORE_WHY_SIZE] = "";
    const enum mqtt5_error error =
        m5_pages_walk(m5_tree_fd(&inspect->tree), &inspect->head, see_first, inspect, &pages, what);
    report->bytes_free = pages.pages_free * pages.page_size;
    report->format = inspect->tree.format;
    report->group_map = inspect->tree.number;
    report->written_ms = inspect->tree.wall_ms;
    if (error == MQTT5_ERR_TRUNCATED)
        m5_say(report->damage, "\"" M5_TREE_NAME "\": %.400s", what);
    else if (error != MQTT5_OK)
        m5_say(report->why, "%s", what);
    if (error != MQTT5_OK)
        return error;
    if (inspect->tree.format == 0) {
        m5_say(report->damage, "\"" M5_TREE_NAME "\" is not a store of this broker");
        return MQTT5_ERR_TRUNCATED;
    }
    if (inspect->tree.format > M5_STORE_FORMAT) {
        m5_say(report->why, "it was made by a later version of this program (format %u)",
               inspect->tree.format);
        return MQTT5_ERR_CONFIG;
    }
    if (report->checksums > 0)
        m5_say(report->damage, "%llu values have a wrong checksum",
               (unsigned long long)report->checksums);
    return MQTT5_OK;
}

/* Opens log and map as of one moment. */
static enum mqtt5_error open_moment(struct m5_inspect *inspect)
{
    struct m5_inspect_report *report = inspect->report;
    enum mqtt5_error error = MQTT5_ERR_INVALID_STATE;
    for (unsigned i = 0; i < ATTEMPTS && error == MQTT5_ERR_INVALID_STATE; i++) {
        uint64_t transaction;
        m5_tree_close(&inspect->tree);
        m5_wal_close(&inspect->log);
        error = m5_wal_open(&inspect->log, inspect->dir_fd, false, report->why);
        report->bytes_log = m5_wal_bytes(&inspect->log);
        if (error == MQTT5_OK)
            error = m5_tree_open_to_read(&inspect->tree, inspect->dir, inspect->dir_fd,
                                         report->owner != 0, &transaction, report->why);
        if (error == MQTT5_OK)
            error =
                m5_pages_head(m5_tree_fd(&inspect->tree), transaction, &inspect->head, report->why);
    }
    return error;
}

/* Looks at the file before LMDB does, which would crash on one that is too short. */
static enum mqtt5_error look_first(struct m5_inspect *inspect)
{
    struct m5_inspect_report *report = inspect->report;
    const int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW;
    const int fd = openat(inspect->dir_fd, M5_TREE_NAME, flags);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        if (fd < 0 && errno == ENOENT)
            m5_say(report->why, "there is no store in \"%s\"", inspect->dir);
        else
            m5_say(report->why, "\"%s/" M5_TREE_NAME "\" cannot be opened: %s", inspect->dir,
                   strerror(errno));
        if (fd >= 0)
            close(fd);
        return fd < 0 && errno == ENOENT ? MQTT5_ERR_CONFIG : MQTT5_ERR_IO;
    }
    report->bytes_map = (uint64_t)status.st_size;
    struct m5_pages_head head;
    char what[M5_STORE_WHY_SIZE] = "it is not a file";
    enum mqtt5_error error = MQTT5_ERR_TRUNCATED;
    if (S_ISREG(status.st_mode))
        error = m5_pages_head(fd, 0, &head, what);
    close(fd);
    if (error == MQTT5_ERR_TRUNCATED)
        m5_say(report->damage, "\"" M5_TREE_NAME "\": %.400s", what);
    else if (error != MQTT5_OK)
        m5_say(report->why, "%s", what);
    return error;
}

static enum mqtt5_error open_all(struct m5_inspect *inspect, const char *dir)
{
    struct m5_inspect_report *report = inspect->report;
    inspect->dir_fd = m5_folder_open(dir);
    if (inspect->dir_fd < 0 || (inspect->dir = realpath(dir, NULL)) == NULL) {
        m5_say(report->why, "the folder \"%s\" cannot be opened: %s", dir, strerror(errno));
        return MQTT5_ERR_CONFIG;
    }
    report->owner = m5_folder_owner(inspect->dir_fd);
    enum mqtt5_error error = look_first(inspect);
    if (error == MQTT5_OK)
        error = open_moment(inspect);
    if (error == MQTT5_OK)
        error = check_map(inspect);
    if (error == MQTT5_OK)
        error = read_log(inspect);
    return error;
}

enum mqtt5_error m5_inspect_open(const char *dir, struct m5_inspect **out,
                                 struct m5_inspect_report *report)
{
    *report = (struct m5_inspect_report){0};
    *out = NULL;
    struct m5_inspect *inspect = calloc(1, sizeof *inspect);
    if (inspect == NULL)
        return MQTT5_ERR_NOMEM;
    inspect->dir_fd = -1;
    inspect->report = report;
    pthread_mutex_init(&inspect->log.mutex, NULL);
    enum mqtt5_error error = open_all(inspect, dir);
    if (error == MQTT5_ERR_NOMEM && report->why[0] == 0)
        m5_say(report->why, "there is not enough memory");
    if (error == MQTT5_OK) {
        *out = inspect;
        report->why[0] = 0;
        return report->damage[0] != 0 ? MQTT5_ERR_TRUNCATED : MQTT5_OK;
    }
    m5_inspect_free(inspect);
    return error;
}

void m5_inspect_free(struct m5_inspect *inspect)
{
    if (inspect == NULL)
        return;
    m5_tree_close(&inspect->tree);
    m5_wal_close(&inspect->log);
    m5_window_fini(&inspect->window);
    free(inspect->keys);
    free(inspect->prefixes);
    free(inspect->dir);
    if (inspect->dir_fd >= 0)
        close(inspect->dir_fd);
    free(inspect);
}

/* ---- walking ---- */

struct merge {
    struct m5_inspect *inspect;
    uint32_t next; /* of the log's keys */
    m5_store_record_fn *fn;
    void *ctx;
};

/* Hands out what the log's next key says. */
static enum mqtt5_error give_later(struct merge *merge)
{
    const struct later *item = &merge->inspect->keys[merge->next++];
    if (item->change.op == M5_STORE_DELETE ||
        is_deleted(merge->inspect, item->change.key, item->order))
        return MQTT5_OK;
    return merge->fn(merge->ctx, item->change.key, item->change.value);
}

/* A record of the map: what the log has before it, or in its place, goes first. */
static enum mqtt5_error see_merged(void *ctx, struct mqtt5_bytes key, struct mqtt5_bytes value)
{
    struct merge *merge = ctx;
    if (key.data[0] == 0)
        return MQTT5_OK;
    while (merge->next < merge->inspect->key_count) {
        const int order = compare_keys(merge->inspect->keys[merge->next].change.key, key);
        if (order > 0)
            break;
        const enum mqtt5_error error = give_later(merge);
        if (error != MQTT5_OK || order == 0)
            return error;
    }
    return is_deleted(merge->inspect, key, 0) ? MQTT5_OK : merge->fn(merge->ctx, key, value);
}

enum mqtt5_error m5_inspect_walk(struct m5_inspect *inspect, m5_store_record_fn *fn, void *ctx)
{
    struct merge merge = {.inspect = inspect, .fn = fn, .ctx = ctx};
    struct m5_pages_report pages;
    char why[M5_STORE_WHY_SIZE];
    enum mqtt5_error error =
        m5_pages_walk(m5_tree_fd(&inspect->tree), &inspect->head, see_merged, &merge, &pages, why);
    while (error == MQTT5_OK && merge.next < inspect->key_count)
        error = give_later(&merge);
    return error;
}

/* ---- backup ---- */

static bool is_empty(int dir_fd)
{
    const int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL)
        return false;
    bool empty = true;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    closedir(dir);
    return empty;
}

/* Brings the copy up to the log. */
static enum mqtt5_error complete_copy(struct m5_inspect *inspect, const char *target, int target_fd)
{
    struct m5_inspect_report *report = inspect->report;
    struct m5_tree copy;
    enum mqtt5_error error = m5_tree_open(&copy, target, target_fd, 0, report->why);
    if (error != MQTT5_OK)
        return error;
    const struct m5_store_options limits = {.apply_bytes = 16 << 20, .apply_changes = 100000};
    struct m5_wal_reader reader;
    struct m5_window *window = &inspect->window;
    m5_window_clear(window);
    m5_wal_read(&inspect->log, copy.number + 1, &reader);
    /* No further than what was found whole: the log may have grown. */
    while (error == MQTT5_OK && reader.next <= report->group) {
        const enum m5_wal_found found =
            m5_window_read(window, &reader, report->group, &limits, report->why);
        if (found != M5_WAL_GROUP) {
            error = MQTT5_ERR_IO;
            break;
        }
        error =
            m5_tree_apply(&copy, &window->changes, window->number, window->wall_ms, report->why);
        m5_window_clear(window);
    }
    m5_tree_close(&copy);
    return error;
}

static enum mqtt5_error copy_into(struct m5_inspect *inspect, const char *target, int target_fd)
{
    struct m5_inspect_report *report = inspect->report;
    const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    const int fd = openat(target_fd, M5_TREE_NAME, flags, 0600);
    if (fd < 0) {
        m5_say(report->why, "\"%s/" M5_TREE_NAME "\" cannot be made: %s", target, strerror(errno));
        return MQTT5_ERR_IO;
    }
    enum mqtt5_error error = m5_tree_copy(&inspect->tree, fd, report->why);
    close(fd);
    if (error == MQTT5_OK)
        error = complete_copy(inspect, target, target_fd);
    unlinkat(target_fd, M5_TREE_LOCK, 0);
    if (error == MQTT5_OK && !m5_folder_sync(target_fd)) {
        m5_say(report->why, "\"%s\" cannot be synced: %s", target, strerror(errno));
        error = MQTT5_ERR_IO;
    }
    if (error != MQTT5_OK)
        unlinkat(target_fd, M5_TREE_NAME, 0);
    return error;
}

enum mqtt5_error m5_store_backup(const char *dir, const char *target,
                                 struct m5_inspect_report *report)
{
    struct m5_inspect *inspect;
    enum mqtt5_error error = m5_inspect_open(dir, &inspect, report);
    if (error != MQTT5_OK) {
        m5_inspect_free(inspect);
        return error;
    }
    const int target_fd = m5_folder_make(target, report->why);
    if (target_fd < 0) {
        error = MQTT5_ERR_IO;
    } else if (!is_empty(target_fd)) {
        m5_say(report->why, "the folder \"%s\" is not empty", target);
        error = MQTT5_ERR_CONFIG;
    } else {
        error = copy_into(inspect, target, target_fd);
    }
    if (target_fd >= 0)
        close(target_fd);
    m5_inspect_free(inspect);
    return error;
}
