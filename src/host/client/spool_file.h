/* The file of a spool: its header, its records, its lock. What the records mean to each other
 * (which are there, which go when it is full) is spool.c's; the format is told in spool.h.
 *
 * After a failure m5_spool_file.why says what happened.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_SPOOL_FILE_H
#define M5_HOST_CLIENT_SPOOL_FILE_H

#include "base/hash.h"

#include <mqtt5/allocator.h>
#include <mqtt5/bytes.h>
#include <mqtt5/error.h>
#include <stdbool.h>

#define M5_SPOOL_HEADER_SIZE 80u        /* both copies */
#define M5_SPOOL_RECORD_SIZE 32u        /* without its message */
#define M5_SPOOL_GONE        UINT32_MAX /* the mark of a message that was removed */
#define M5_SPOOL_WHY_SIZE    256u

struct m5_spool_file {
    const struct mqtt5_allocator *allocator;
    char *path; /* owned */
    int fd;     /* -1: not open; locked while open */
    struct m5_hash_key key;
    uint32_t marker;
    uint64_t end;    /* where the next record goes */
    bool uncertain;  /* a sync has failed */
    uint8_t *buffer; /* for records on their way; owned */
    size_t buffer_size;
    uint64_t window_at; /* what of the file the buffer holds, for reading */
    size_t window_size;
    char why[M5_SPOOL_WHY_SIZE];
};

struct m5_spool_record {
    uint64_t id, offset;
    uint32_t size; /* of the message */
    uint32_t mark;
    bool mark_damaged; /* `mark` is a guess: waits, not sent */
};

/* Allocates a copy of @p path; nothing is opened. False without memory. */
bool m5_spool_file_init(struct m5_spool_file *file, const struct mqtt5_allocator *allocator,
                        const char *path);
/* Closes what is open. */
void m5_spool_file_fini(struct m5_spool_file *file);

enum m5_spool_found {
    M5_SPOOL_FOUND_NOTHING, /* it was made, or held nothing yet: a header was written */
    M5_SPOOL_FOUND_RECORDS, /* records may follow */
    M5_SPOOL_FOUND_RUINS    /* a spool whose header is not readable, and so nothing is */
};

/* Opens and locks the file, and makes it when there is none. *@p size gets its size as found.
 * MQTT5_ERR_INVALID_STATE, _CONFIG, _IO, _NOMEM as m5_spool_open(). */
enum mqtt5_error m5_spool_file_open(struct m5_spool_file *file, enum m5_spool_found *found,
                                    uint64_t *size);

/* Bytes that a record with a message of @p size takes. */
uint64_t m5_spool_record_bytes(uint32_t size);

/* Finds the next record at or behind @p offset and before @p size, the file's size. True: there is
 * one; its message is not looked at again. False: none, or *error says why nobody knows. */
bool m5_spool_file_scan(struct m5_spool_file *file, uint64_t offset, uint64_t size,
                        struct m5_spool_record *out, enum mqtt5_error *error);

/* Writes a record at the end. On failure the file is as before. MQTT5_ERR_IO or _NOMEM. */
enum mqtt5_error m5_spool_file_append(struct m5_spool_file *file, uint64_t id, uint32_t mark,
                                      struct mqtt5_bytes message, uint64_t *offset);

/* Reads the message of a record; the view lives until the next call. MQTT5_ERR_IO when it is not
 * what was written. */
enum mqtt5_error m5_spool_file_read(struct m5_spool_file *file,
                                    const struct m5_spool_record *record, struct mqtt5_bytes *out);

/* Writes a mark in place. */
enum mqtt5_error m5_spool_file_mark(struct m5_spool_file *file,
                                    const struct m5_spool_record *record, uint32_t mark);

/* To the disk. After a failure the file is uncertain: nothing is appended any more. */
enum mqtt5_error m5_spool_file_sync(struct m5_spool_file *file);

/* Cuts the file at @p end. */
enum mqtt5_error m5_spool_file_cut(struct m5_spool_file *file, uint64_t end);

/* Begins a file that is to take the place of @p file: "<path>.new", locked, with a header. */
enum mqtt5_error m5_spool_file_begin_new(const struct m5_spool_file *file,
                                         struct m5_spool_file *fresh);

/* Puts @p fresh, synced, into the place of @p file, which is closed; with @p keep_damaged the old
 * one stays as "<path>.damaged". On failure @p file is as before, and @p fresh to be given up. */
enum mqtt5_error m5_spool_file_replace(struct m5_spool_file *file, struct m5_spool_file *fresh,
                                       bool keep_damaged);

/* Closes and deletes a new file that is not wanted. */
void m5_spool_file_give_up(struct m5_spool_file *fresh);

#endif
