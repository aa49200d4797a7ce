/* What `mqttv5 passwd` and `mqttv5 scram` have in common: a file of users, one line each.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef M5_CLI_USER_FILE_H
#define M5_CLI_USER_FILE_H

#include "cli/command.h"
#include "cli/secret.h"
#include "host/auth/users.h"

#define CLI_STORED_SIZE 512 /* of what stands behind a name, with the zero */

/* The options of both; the first member of each command's own. */
struct cli_user_file {
    bool create, delete_user, to_stdout, use_stdin, json;
    const char *password;
};

extern const struct cli_option cli_user_file_options[];

/* In what the two differ. */
struct cli_user_kind {
    m5_users_check_fn *check; /* of a line, for warnings about the rest of the file */
    bool (*same_kind)(struct mqtt5_bytes stored, uint32_t kind); /* NULL: a name has one line */
    uint32_t kind;

    /* Writes what stands behind the name's colon. False without memory or randomness. */
    bool (*make)(const struct cli_call *call, struct mqtt5_bytes password,
                 char out[CLI_STORED_SIZE]);
};

/* The whole command; gives an enum cli_exit. */
int cli_user_file_run(const struct cli_call *call, const struct cli_user_kind *kind);

#endif
