/* Changing lines of the files of users and rules; every other byte stays as it is.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_HOST_AUTH_EDIT_H
#define M5_HOST_AUTH_EDIT_H

#include "host/auth/text.h"

/* True for a line that the edit is about. */
typedef bool m5_edit_match_fn(struct mqtt5_bytes line, const void *ctx);

struct m5_edit {
    m5_edit_match_fn *match; /* comments are not asked about */
    const void *ctx;
    const char *line; /* stands instead of the first match, or at the end; NULL: matches go */
};

/* Writes the changed text to @p out (m5_text_free() it) and how many lines matched. False without
 * memory. */
bool m5_edit_apply(struct mqtt5_bytes text, const struct m5_edit *edit, struct m5_text *out,
                   uint32_t *matched);

/* For files of users: matches lines `NAME:...`; ctx is a struct m5_edit_user. */
struct m5_edit_user {
    struct mqtt5_bytes name;
    bool (*same_kind)(struct mqtt5_bytes stored, uint32_t kind); /* NULL: every kind */
    uint32_t kind;
};
bool m5_edit_is_user(struct mqtt5_bytes line, const void *ctx);

/* For rules: matches `user NAME topic THIRD ...`, `role NAME topic THIRD ...`, `assign NAME THIRD`;
 * ctx is a struct m5_edit_rule. */
struct m5_edit_rule {
    const char *keyword;
    const char *name, *third; /* NULL: any */
};
bool m5_edit_is_rule(struct mqtt5_bytes line, const void *ctx);

#endif
