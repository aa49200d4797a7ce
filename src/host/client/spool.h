/* The offline queue in a file: messages that wait for a server survive the process and a power cut.
 *
 * Why a log of our own and not LMDB, which the broker's store uses: the queue is read in the order
 * in which it was written, has one writer and no keys. An append costs one write and, where asked
 * for, one fdatasync; a B-tree would rewrite a handful of pages, sync twice, want its largest size
 * in advance and never give space back. And a client needs no library for it.
 *
 * The file: a header (twice, 40 bytes each), then records aligned to 8 bytes:
 *
 *     checksum    8  SipHash, under a key that each file has anew, of what follows the state
 *     state       8  mark (4) and its check (4): written again in place, see below
 *     marker      4  the same for all records of a file: where to go on behind a damaged one
 *     size        4  bytes of the message
 *     id          8
 *     message     `size` bytes, and zeros up to a multiple of 8
 *
 * A message is removed, or marked as sent, by writing its state in place: eight aligned bytes never
 * lie in two sectors, so they are old or new and never half; and a full disk cannot forbid it.
 * Removed ones leave room behind, which is given back by cutting the file when it is empty, and by
 * copying what is left to a new file when more than half (and 1 MiB) is waste.
 *
 * What a crash leaves: a record that was not complete is cut off at the next opening. A damaged one
 * in the middle is left out, counted, and the file as it was is kept under "<path>.damaged". A
 * state that is damaged means "waits, not sent": rather twice than never.
 *
 * One process has the file, by a lock that dies with it. One thread at a time uses a spool.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_CLIENT_SPOOL_H
#define M5_HOST_CLIENT_SPOOL_H

#include <mqtt5/allocator.h>
#include <mqtt5/bytes.h>
#include <mqtt5/error.h>
#include <stdbool.h>

#define M5_SPOOL_MESSAGE_MAX (UINT32_C(1) << 30) /* bytes of one message */
#define M5_SPOOL_UNMARKED    0u                  /* the mark of a message that was not sent yet */
#define M5_SPOOL_MARK_MAX    (UINT32_MAX - 1)

struct m5_spool;

/* What happens to a message for which there is no room. */
enum m5_spool_overflow {
    M5_SPOOL_FAIL,        /* it is refused */
    M5_SPOOL_DROP_OLDEST, /* the oldest that were not marked go, until it fits */
    M5_SPOOL_DROP_NEWEST  /* it is dropped, and counted */
};

struct m5_spool_config {
    const struct mqtt5_allocator *allocator; /* borrowed */
    const char *path;                        /* of the file; its folder exists */
    uint32_t messages_max;                   /* >= 1 */
    uint64_t bytes_max;                      /* of messages; the file may take twice that, and 1 MiB
                                                and 32 bytes a message more */
    enum m5_spool_overflow overflow;
    bool sync; /* a message is on the disk before m5_spool_append() returns */

    /* Told of each message that M5_SPOOL_DROP_OLDEST removes; may be NULL. It must not call back
     * into the spool. */
    void (*on_drop)(void *ctx, uint64_t id);
    void *ctx;
};

struct m5_spool_item {
    uint64_t id;   /* > 0, rising in the order of appending */
    uint32_t size; /* bytes */
    uint32_t mark;
};

struct m5_spool_stats {
    uint32_t messages;
    uint64_t bytes;         /* of messages */
    uint64_t file_bytes;    /* the size of the file */
    uint64_t dropped;       /* by either policy, since the opening */
    uint64_t cut_bytes;     /* behind the last whole record, cut off at the opening */
    uint64_t damaged_bytes; /* left out at the opening */
    uint32_t damaged_marks; /* states that were not readable at the opening */
    uint32_t rewrites;      /* of the file, since the opening */
};

/* Opens the file, or makes it (readable by its owner only), and reads what it holds. It may hold
 * more than the limits allow; then nothing is added until it fits.
 * @return MQTT5_OK; MQTT5_ERR_INVALID_STATE (another process, or spool, has the file);
 * MQTT5_ERR_CONFIG (a limit of 0, or the file is something else: it is left alone); MQTT5_ERR_IO;
 * MQTT5_ERR_NOMEM. On failure *out is NULL and @p why (may be NULL) says it in words. */
enum mqtt5_error m5_spool_open(const struct m5_spool_config *config, struct m5_spool **out,
                               char *why, size_t why_size);

/* Leaves the file for the next time. NULL is accepted. */
void m5_spool_close(struct m5_spool *spool);

/* Adds @p message (copied, up to M5_SPOOL_MESSAGE_MAX) at the end.
 * @p id  gets its number; 0 when M5_SPOOL_DROP_NEWEST has dropped it.
 * @return MQTT5_OK; MQTT5_ERR_QUEUE_FULL; MQTT5_ERR_PACKET_TOO_LARGE; MQTT5_ERR_NOMEM; or
 * MQTT5_ERR_IO (a full disk: the file is as before, try again later; after a sync that failed no
 * message is taken until the file was opened anew, as nobody knows what the disk has). */
enum mqtt5_error m5_spool_append(struct m5_spool *spool, struct mqtt5_bytes message, uint64_t *id);

/* Writes to the disk what was appended, marked and removed. */
enum mqtt5_error m5_spool_sync(struct m5_spool *spool);

/* The oldest message behind @p id (0: the oldest of all); false when there is none. */
bool m5_spool_next(const struct m5_spool *spool, uint64_t id, struct m5_spool_item *out);

/* Reads message @p id. The view lives until the next call on @p spool.
 * @return MQTT5_OK; MQTT5_ERR_INVALID_ARGUMENT (there is none); MQTT5_ERR_NOMEM; MQTT5_ERR_IO (the
 * disk, also when the message is damaged: remove it). */
enum mqtt5_error m5_spool_read(struct m5_spool *spool, uint64_t id, struct mqtt5_bytes *out);

/* Remembers @p mark (<= M5_SPOOL_MARK_MAX) for message @p id: a packet identifier and a state, say,
 * so that after a restart it is sent again as the same message. On the disk with the next sync.
 * @return MQTT5_OK, MQTT5_ERR_INVALID_ARGUMENT (there is none) or MQTT5_ERR_IO. */
enum mqtt5_error m5_spool_mark(struct m5_spool *spool, uint64_t id, uint32_t mark);

/* Message @p id is done with. On the disk with the next sync; after a crash before, it is there
 * again. @return as m5_spool_mark(); in any case it is gone from the spool in memory. */
enum mqtt5_error m5_spool_remove(struct m5_spool *spool, uint64_t id);

void m5_spool_stats(const struct m5_spool *spool, struct m5_spool_stats *out);

/* Why the last call failed, for people ("/var/x.spool: No space left on device"). */
const char *m5_spool_why(const struct m5_spool *spool);

#endif
