/* `mqttv5 scram`: the users of a file for SCRAM.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/user_file.h"
#include "host/auth/scram.h"

#include <stddef.h>
#include <string.h>

#define FIELD(name) offsetof(struct scram_options, name)

struct scram_options {
    struct cli_user_file file;
    uint64_t iterations;
    int hash; /* enum m5_scram_hash */
};

static const struct cli_choice hashes[] = {
    {"sha256", M5_SCRAM_SHA256}, {"sha512", M5_SCRAM_SHA512}, {NULL, 0}};

static const struct cli_option scram_table[] = {
    {.group = "Keys",
     .name = "iterations",
     .alias = 'i',
     .type = CLI_INTEGER,
     .min = 10000,
     .max = M5_SCRAM_ITERATIONS_MAX,
     .offset = FIELD(iterations),
     .value = "N",
     .fallback = "310000",
     .env = "MQTT5_SCRAM_ITERATIONS",
     .help = "how often the password is hashed; clients do it at each login"},
    {.name = "hash",
     .type = CLI_CHOICE,
     .offset = FIELD(hash),
     .choices = hashes,
     .value = "HASH",
     .fallback = "sha256",
     .env = "MQTT5_SCRAM_HASH",
     .help = "sha256 (method SCRAM-SHA-256) or sha512; a user may have a line of each"},
    {0},
};

static const struct cli_option *const tables[] = {cli_user_file_options, scram_table, NULL};

static bool make(const struct cli_call *call, struct mqtt5_bytes password,
                 char out[CLI_STORED_SIZE])
{
    const struct scram_options *options = call->options;
    char text[M5_SCRAM_TEXT_SIZE];
    if (!m5_scram_make(password, (enum m5_scram_hash)options->hash, (uint32_t)options->iterations,
                       text))
        return false;
    memcpy(out, text, strlen(text) + 1);
    m5_wipe(text, sizeof text);
    return true;
}

/* Lines that cannot be read are of both kinds: the new line replaces them. */
static bool same_hash(struct mqtt5_bytes stored, uint32_t hash)
{
    const char *why;
    uint32_t variant;
    return !m5_users_scram_check(stored, &variant, &why) || variant == hash;
}

static int run(const struct cli_call *call)
{
    const struct scram_options *options = call->options;
    struct cli_user_kind kind = {.check = m5_users_scram_check, .make = make};
    if (!options->file.delete_user || cli_given(call, "hash")) {
        kind.same_kind = same_hash;
        kind.kind = (uint32_t)options->hash;
    }
    return cli_user_file_run(call, &kind);
}

const struct cli_command cmd_scram = {
    .name = "scram",
    .summary = "change the users of a file for SCRAM",
    .usage = "[options] USER [FILE]",
    .notes = "Without --batch, --stdin or MQTT5_NEW_PASSWORD it asks for the password twice.\n"
             "--delete removes all lines of the user, with --hash only that of the hash.\n"
             "The file is replaced as a whole, keeping owner and mode; a new one has mode 0600.\n"
             "Exit code: 0 done, 1 it could not be done, 2 wrong usage.\n",
    .tables = tables,
    .options_size = sizeof(struct scram_options),
    .operands_max = 2,
    .run = run,
};
