/* Reads an LMDB file page by page without LMDB: finds damage before anything maps the file.
 *
 * LMDB trusts what it maps: a page number or an offset that is wrong crashes the process. Here
 * every page that can be reached is read and checked (its number and kind, offsets within it, keys
 * in order, no page used twice or both used and free), and each value's checksum.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_STORE_PAGES_H
#define M5_HOST_STORE_PAGES_H

#include <mqtt5/bytes.h>
#include <mqtt5/error.h>

#include <stdint.h>

struct m5_pages_report {
    uint64_t transaction; /* the one that was looked at */
    uint64_t pages;       /* that the file has or will have */
    uint64_t pages_free;  /* of these */
    uint32_t page_size;   /* bytes */
    uint64_t records;     /* the store's own among them */
};

/* Sees one record of the map, keys in ascending order; @p value without its checksum, NULL when
 * that is wrong (then @p value.len counts all the same). Views live during the call. What it
 * returns other than MQTT5_OK ends the walk. */
typedef enum mqtt5_error m5_pages_fn(void *ctx, struct mqtt5_bytes key, struct mqtt5_bytes value);

/* What a walk starts from: a copy of the page that names the trees of a transaction. */
struct m5_pages_head {
    uint64_t words[17];
};

/* Reads the head of transaction @p transaction, 0: the latest.
 * @return MQTT5_OK; MQTT5_ERR_TRUNCATED: damaged; MQTT5_ERR_INVALID_STATE: later transactions have
 * taken its place; MQTT5_ERR_IO; MQTT5_ERR_CONFIG: written by a later version of LMDB;
 * MQTT5_ERR_UNSUPPORTED: the machine has another word size or byte order than this module knows.
 * @p why has a sentence unless it was MQTT5_OK. */
enum mqtt5_error m5_pages_head(int fd, uint64_t transaction, struct m5_pages_head *head, char *why);

/* Walks the file from @p head on; somebody must keep its pages from being used again. @p see may be
 * NULL: then a wrong checksum is damage.
 * @return MQTT5_OK; MQTT5_ERR_TRUNCATED: damaged; MQTT5_ERR_IO; MQTT5_ERR_NOMEM; or what @p see
 * returned. @p why has a sentence unless it was MQTT5_OK. */
enum mqtt5_error m5_pages_walk(int fd, const struct m5_pages_head *head, m5_pages_fn *see,
                               void *ctx, struct m5_pages_report *report, char *why);

/* Bytes of a value's checksum, in front of it. */
#define M5_VALUE_SUM_SIZE 4u

/* The checksum of a record. */
uint32_t m5_value_sum(struct mqtt5_bytes key, struct mqtt5_bytes value);

#endif
