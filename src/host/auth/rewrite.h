/* Changes a file so that every reader sees the old or the new content whole, whatever happens.
 *
 * The new content goes to a temporary file in the same folder, is synced, and renamed over the old
 * one, whose owner and mode it gets. A symbolic link is followed once, at the start, and stays: the
 * file it leads to is replaced. Two writers wait for each other by a lock on the folder.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_REWRITE_H
#define M5_HOST_AUTH_REWRITE_H

#include "host/auth/text.h"

#include <sys/types.h>

#define M5_REWRITE_WAIT_MS 10000 /* for another writer */

struct m5_rewrite {
    int folder;         /* descriptor, locked; -1: not begun */
    char *path;         /* resolved; points at its last part below */
    const char *name;   /* of the file in the folder */
    bool exists;        /* there is such a file */
    mode_t mode;        /* of it, or of the new one */
    uid_t owner;        /* of it */
    gid_t group;        /* of it */
    struct m5_text old; /* its content */
};

/* Locks and reads @p path; a file that does not exist is empty and will get @p mode. False with
 * @p error (line 0) when the folder or file cannot be used or another writer does not end in time.
 * m5_rewrite_end() either way. */
bool m5_rewrite_begin(struct m5_rewrite *rewrite, const char *path, mode_t mode,
                      struct m5_text_error *error);

/* Puts @p content in place, durably. False with @p error: the old file is as it was. */
bool m5_rewrite_commit(struct m5_rewrite *rewrite, struct mqtt5_bytes content,
                       struct m5_text_error *error);

/* Unlocks and gives back. */
void m5_rewrite_end(struct m5_rewrite *rewrite);

#endif
