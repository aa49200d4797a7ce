/* `mqttv5 passwd`: the users of a password file.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/user_file.h"
#include "host/auth/password.h"

#include <stddef.h>
#include <string.h>

#define FIELD(name) offsetof(struct passwd_options, name)

struct passwd_options {
    struct cli_user_file file;
    uint64_t memory_kib, passes;
};

static const struct cli_option passwd_table[] = {
    {.group = "Cost of a hash",
     .name = "memory",
     .type = CLI_INTEGER,
     .min = 8,
     .max = M5_PASSWORD_MEMORY_MAX,
     .offset = FIELD(memory_kib),
     .value = "KIB",
     .fallback = "19456",
     .env = "MQTT5_PASSWD_MEMORY",
     .help = "memory that a login takes"},
    {.name = "passes",
     .type = CLI_INTEGER,
     .min = 1,
     .max = M5_PASSWORD_PASSES_MAX,
     .offset = FIELD(passes),
     .value = "N",
     .fallback = "2",
     .env = "MQTT5_PASSWD_PASSES",
     .help = "passes over it"},
    {0},
};

static const struct cli_option *const tables[] = {cli_user_file_options, passwd_table, NULL};

static bool make(const struct cli_call *call, struct mqtt5_bytes password,
                 char out[CLI_STORED_SIZE])
{
    const struct passwd_options *options = call->options;
    struct m5_password like = m5_password_defaults;
    char text[M5_PASSWORD_TEXT_SIZE];
    like.memory_kib = (uint32_t)options->memory_kib;
    like.passes = (uint32_t)options->passes;
    if (!m5_password_make(password, &like, text))
        return false;
    memcpy(out, text, strlen(text) + 1);
    return true;
}

static int run(const struct cli_call *call)
{
    static const struct cli_user_kind kind = {.check = m5_users_password_check, .make = make};
    const struct passwd_options *options = call->options;
    if (options->memory_kib * options->passes > M5_PASSWORD_WORK_MAX)
        return cli_usage(call, "--memory times --passes may be %u at most: a broker refuses more",
                         M5_PASSWORD_WORK_MAX);
    return cli_user_file_run(call, &kind);
}

const struct cli_command cmd_passwd = {
    .name = "passwd",
    .summary = "change the users of a password file",
    .usage = "[options] USER [FILE]",
    .notes = "Without --batch, --stdin or MQTT5_NEW_PASSWORD it asks for the password twice.\n"
             "Hashes are argon2id. Files of mosquitto_passwd can be changed too; their other\n"
             "lines stay as they are.\n"
             "The file is replaced as a whole, keeping owner and mode; a new one has mode 0600.\n"
             "Exit code: 0 done, 1 it could not be done, 2 wrong usage.\n",
    .tables = tables,
    .options_size = sizeof(struct passwd_options),
    .operands_max = 2,
    .run = run,
};
