/* The log: groups of changes, appended and synced one after the other, in segments.
 *
 * A group is a header and the changes, and starts at a multiple of 4 KiB, so that no write touches
 * what was synced before. Groups are numbered 1, 2, 3 ... for the life of the store; a segment is
 * named after its first one, and a group that the next segment has (or may have) too is void in the
 * one before: that is how a write that failed is done again elsewhere.
 *
 * Header, numbers big-endian:
 *      0  magic "m5lg"            4  format
 *      8  store                  16  number of the group
 *     24  wall clock, ms         32  bytes of changes
 *     40  changes                44  checksum of the changes
 *     48  checksum of the 48 bytes above; zeros up to 64
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_STORE_WAL_H
#define M5_HOST_STORE_WAL_H

#include "host/store/change.h"

#include <pthread.h>
#include <stdatomic.h>

struct m5_wal_segment {
    struct m5_wal_segment *next;
    uint64_t first; /* group that it starts with */
    int fd;
    _Atomic uint64_t bytes; /* of the file */
};

struct m5_wal {
    int dir_fd; /* borrowed */
    uint64_t store, segment_bytes;
    pthread_mutex_t mutex; /* for the list */
    struct m5_wal_segment *oldest, *newest;
    uint64_t next;   /* number of the next group */
    uint64_t end;    /* of the good groups in the newest segment */
    bool start_anew; /* the newest segment cannot be written any more */
    uint8_t *buffer; /* a group as it is written */
    size_t buffer_size;
};

/* Opens all segments that there are; @p writable or not. MQTT5_ERR_IO with a sentence, or
 * MQTT5_ERR_NOMEM; m5_wal_close() either way. */
enum mqtt5_error m5_wal_open(struct m5_wal *log, int dir_fd, bool writable, char *why);
void m5_wal_close(struct m5_wal *log);

/* Makes the next group of @p changes and appends it, synced; @p written (may be NULL) is called
 * when it is written and not synced yet. MQTT5_ERR_IO with a sentence, or MQTT5_ERR_NOMEM: it is to
 * be tried again, and may or may not be found after a crash now. */
enum mqtt5_error m5_wal_append(struct m5_wal *log, const struct m5_change_list *changes,
                               uint64_t wall_ms, void (*written)(void *ctx), void *ctx, char *why);

/* Removes all segments, durably. False with errno. */
bool m5_wal_clear(struct m5_wal *log);

/* Bytes of all segments. */
uint64_t m5_wal_bytes(struct m5_wal *log);

/* Name of the segment that starts with group @p first. */
#define M5_WAL_NAME_SIZE 24
void m5_wal_name(uint64_t first, char out[M5_WAL_NAME_SIZE]);

/* ---- reading ---- */

struct m5_wal_group {
    uint64_t number, wall_ms;
    uint8_t *bytes; /* the changes, malloc()ed */
    size_t size;
    uint64_t file_size; /* what the group takes in the segment */
};

struct m5_wal_reader {
    struct m5_wal *log;
    struct m5_wal_segment *segment; /* NULL at first */
    uint64_t at;                    /* in the segment */
    uint64_t next;                  /* number of the group wanted */
};

enum m5_wal_found {
    M5_WAL_GROUP,   /* it is good, and the caller's to free */
    M5_WAL_END,     /* there is none, as far as this log goes */
    M5_WAL_DAMAGED, /* there was more: `why` says what */
    M5_WAL_LATER,   /* written by a later version of this program */
    M5_WAL_FAILED   /* the system failed (errno) or memory was short (ENOMEM) */
};

/* Reads on from group @p next. */
void m5_wal_read(struct m5_wal *log, uint64_t next, struct m5_wal_reader *reader);

/* The next group. At the end it is told apart whether the last group was cut short, as a crash
 * leaves it, or something after it is good: damage. @p why gets a sentence unless a group was found
 * or the end. */
enum m5_wal_found m5_wal_next(struct m5_wal_reader *reader, struct m5_wal_group *out, char *why);

/* Removes the segments before the one that @p reader wants to read next. */
void m5_wal_drop(struct m5_wal_reader *reader);

#endif
