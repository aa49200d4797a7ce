/* A disk that fails and loses power when it is told to, below the files of one folder.
 *
 * The file calls of the C library are replaced in the test's program, and with them those of the
 * libraries that it uses. Calls on files in the watched folder can be made to fail, and can be
 * recorded, so that what a power cut would have left can be built in another folder: everything
 * that was synced, and of the rest any part, in pieces of 512 bytes.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_STORE_DISK_H
#define TEST_STORE_DISK_H

#include "base/rng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum disk_call {
    DISK_WRITE = 1,
    DISK_SYNC = 2, /* fsync and fdatasync of files, and writes that sync */
    DISK_SYNC_FOLDER = 4,
    DISK_CREATE = 8,
    DISK_RENAME = 16,
    DISK_TRUNCATE = 32,
    DISK_ALL = 63
};

/* Watches files in @p dir (absolute, borrowed); NULL: none any more. Forgets what was set. */
void disk_watch(const char *dir);

/* Calls of these kinds (a set of enum disk_call) on files whose name begins with @p prefix
 * (borrowed text, "" for all) fail with @p error, after @p after of them went well. A write that
 * fails has written a part. 0: none fail. */
void disk_fail(unsigned calls, const char *prefix, int error, unsigned after);

/* Bytes that may still be written beyond the end of files before ENOSPC; UINT64_MAX: no limit. */
void disk_set_room(uint64_t bytes);

/* While it hangs, syncs wait. */
void disk_hang(bool hangs);

/* Calls of these kinds so far. */
uint64_t disk_count(unsigned calls);

/* ---- power cuts ---- */

/* Records everything from here on; the folder is empty now. */
void disk_record(void);

/* Notes in the record that the test saw @p number come true. */
void disk_note(uint64_t number);

/* Ends recording: the number of steps. */
size_t disk_record_end(void);

/* Builds in @p dir (empty) what a power cut after @p step steps (0 to all; it must not decrease)
 * could have left. The highest number noted by then. */
uint64_t disk_cut(size_t step, struct m5_rng *rng, const char *dir);

/* Forgets the record. */
void disk_forget(void);

#endif
