/* The map of the store: an LMDB environment with one database, brought up to the log by groups.
 *
 * Values stand behind their checksum (pages.h). Keys that begin with a zero byte are the store's
 * own: 00 'f' names format and store, 00 'g' the last group of the log that is in the map. The
 * latter is set by the same transaction, so that it is true after a crash.
 *
 * All functions are for one thread at a time.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_STORE_TREE_H
#define M5_HOST_STORE_TREE_H

#include "host/store/change.h"
#include "host/store/store.h"

#define M5_TREE_NAME "data.mdb"
#define M5_TREE_NEW  "data.mdb.new"
#define M5_TREE_LOCK "lock.mdb"

struct MDB_env;
struct MDB_txn;

struct m5_tree {
    const char *dir; /* borrowed, absolute */
    int dir_fd;      /* borrowed */
    struct MDB_env *env;
    struct MDB_txn *reading;
    unsigned dbi;
    bool doubtful; /* a sync failed: nobody knows what is on the disk */
    uint64_t map_bytes;
    uint32_t chunk; /* changes of one transaction at most */
    uint32_t format;
    uint64_t store, number, wall_ms; /* what is in the map: the store's name, the last group */
    uint64_t records, bytes_used;    /* at the last commit */
};

/* Makes an empty map in the folder, durably, or nothing. MQTT5_ERR_IO with a sentence. */
enum mqtt5_error m5_tree_create(int dir_fd, const char *dir, uint64_t store, char *why);

/* Opens the map that is there and reads what it is. MQTT5_ERR_IO with a sentence. @p map_bytes: see
 * m5_store_options. */
enum mqtt5_error m5_tree_open(struct m5_tree *tree, const char *dir, int dir_fd, uint64_t map_bytes,
                              char *why);
void m5_tree_close(struct m5_tree *tree);

/* Makes what @p list has left, up to and with group @p number, part of the map, durably.
 * MQTT5_ERR_IO or MQTT5_ERR_NOMEM with a sentence: try again with the same list. */
enum mqtt5_error m5_tree_apply(struct m5_tree *tree, const struct m5_change_list *list,
                               uint64_t number, uint64_t wall_ms, char *why);

/* Hands out all records but the store's own; views live until m5_tree_walk_end(). */
enum mqtt5_error m5_tree_walk(struct m5_tree *tree, m5_store_record_fn *fn, void *ctx);
void m5_tree_walk_end(struct m5_tree *tree);

/* Writes the map to a new file without the free pages and puts that in place of the old one, as one
 * step. MQTT5_ERR_IO with a sentence: the old one is still in place. The map may be closed then:
 * m5_tree_apply() opens it. */
enum mqtt5_error m5_tree_rewrite(struct m5_tree *tree, char *why);

/* Writes the map as it is at this moment to @p fd; another process may be writing to it. */
enum mqtt5_error m5_tree_copy(struct m5_tree *tree, int fd, char *why);

/* Opens a map of another process, or of none, for reading: changes and creates nothing. @p lives: a
 * broker runs on it. The snapshot that it holds is *@p transaction. m5_tree_close() ends it. */
enum mqtt5_error m5_tree_open_to_read(struct m5_tree *tree, const char *dir, int dir_fd, bool lives,
                                      uint64_t *transaction, char *why);

/* Takes in a record of the store's own that somebody else has read; other records are passed by. */
void m5_tree_see_own(struct m5_tree *tree, struct mqtt5_bytes key, struct mqtt5_bytes value);

/* Descriptor of the map's file. */
int m5_tree_fd(const struct m5_tree *tree);

#endif
