/* What `mqttv5 passwd` and `mqttv5 scram` have in common: a file of users, one line each.
 *
 * The password is asked for before the file is locked, so that nobody waits for somebody who
 * types.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/user_file.h"

#include "base/bytes.h"
#include "cli/json.h"
#include "host/auth/edit.h"
#include "host/auth/rewrite.h"

#include <mqtt5/topic.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define FIELD(name) offsetof(struct cli_user_file, name)
#define NEW_MODE    0600

const struct cli_option cli_user_file_options[] = {
    {.group = "What to do",
     .name = "create",
     .alias = 'c',
     .type = CLI_BOOL,
     .offset = FIELD(create),
     .env = "MQTT5_PASSWD_CREATE",
     .help = "make FILE anew, with this user only; what was in it is gone"},
    {.name = "delete",
     .alias = 'D',
     .type = CLI_BOOL,
     .offset = FIELD(delete_user),
     .env = "MQTT5_PASSWD_DELETE",
     .help = "remove the user"},
    {.name = "stdout",
     .alias = 'n',
     .type = CLI_BOOL,
     .offset = FIELD(to_stdout),
     .env = "MQTT5_PASSWD_STDOUT",
     .help = "print the line and change no file"},
    {.group = "Password",
     .name = "batch",
     .alias = 'b',
     .type = CLI_STRING,
     .offset = FIELD(password),
     .value = "PASSWORD",
     .env = "MQTT5_NEW_PASSWORD",
     .help = "the password; others can see it in the list of processes, but not the variable"},
    {.name = "stdin",
     .type = CLI_BOOL,
     .offset = FIELD(use_stdin),
     .env = "MQTT5_PASSWD_STDIN",
     .help = "the password is the first line of standard input"},
    {.group = "Output",
     .name = "json",
     .type = CLI_BOOL,
     .offset = FIELD(json),
     .env = "MQTT5_PASSWD_JSON",
     .help = "say what was done as a JSON object"},
    {0},
};

/* A command at work. */
struct job {
    const struct cli_call *call;
    const struct cli_user_file *options;
    const struct cli_user_kind *kind;
    const char *user, *path;
    char *line; /* NAME:STORED; NULL to delete */
};

/* NULL, or why no user can have this name. */
static const char *check_name(const char *name)
{
    const struct mqtt5_bytes text = m5_bytes_of(name);
    if (text.len == 0 || text.len > M5_USER_NAME_MAX)
        return "a user name has 1 to 1024 bytes";
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == ':')
            return "a user name has no ':': it ends the name in the file";
        if (text.data[i] < 0x20 || text.data[i] == 0x7F)
            return "a user name has no control characters";
    }
    if (name[0] == '#' || name[0] == ' ')
        return "a user name begins neither with '#' nor with a blank: the line would be a comment";
    return mqtt5_utf8_check(text) == MQTT5_OK ? NULL : "a user name is UTF-8";
}

/* NULL, or what is wrong with the command line. */
static const char *check_call(const struct job *job)
{
    const struct cli_user_file *options = job->options;
    if (job->user == NULL)
        return "name a user";
    if (options->to_stdout && (options->create || options->delete_user))
        return "--stdout changes no file: leave out --create and --delete";
    if (options->to_stdout && job->path != NULL)
        return "--stdout changes no file: leave out FILE";
    if (options->create && options->delete_user)
        return "--create and --delete do not go together";
    if (!options->to_stdout && job->path == NULL)
        return "name a file, or use --stdout";
    if (options->delete_user &&
        (options->use_stdin || cli_source_of(job->call, "batch") == CLI_FROM_FLAG))
        return "--delete needs no password";
    if (options->use_stdin && cli_source_of(job->call, "batch") == CLI_FROM_FLAG)
        return "the password comes from --batch or from --stdin";
    return check_name(job->user);
}

static const char *get_password(const struct job *job, struct cli_secret *out)
{
    if (job->options->use_stdin)
        return cli_secret_read(out);
    if (job->options->password != NULL)
        return cli_secret_copy(job->options->password, out);
    return cli_secret_ask("Password", out);
}

static int make_line(struct job *job)
{
    char stored[CLI_STORED_SIZE];
    struct cli_secret secret;
    const char *why = get_password(job, &secret);
    if (why != NULL)
        return cli_failed(job->call, "%s", why);
    const bool made = job->kind->make(job->call, m5_bytes(secret.text, secret.size), stored);
    cli_secret_free(&secret);
    const size_t size = strlen(job->user) + sizeof stored + 2;
    job->line = made ? malloc(size) : NULL;
    if (job->line == NULL)
        return cli_failed(job->call, "no memory to hash the password");
    snprintf(job->line, size, "%s:%s", job->user, stored);
    m5_wipe(stored, sizeof stored);
    return CLI_OK;
}

/* Says what was done. */
static void report(const struct job *job, const char *done)
{
    if (!job->options->json) {
        if (!job->options->to_stdout)
            cli_status("%s: user %s %s", job->path, job->user, done);
        return;
    }
    fputs("{\"user\":", stdout);
    cli_json_string(stdout, m5_bytes_of(job->user));
    if (job->path != NULL) {
        fputs(",\"file\":", stdout);
        cli_json_string(stdout, m5_bytes_of(job->path));
    }
    printf(",\"done\":\"%s\"", done);
    if (job->options->to_stdout) {
        fputs(",\"line\":", stdout);
        cli_json_string(stdout, m5_bytes_of(job->line));
    }
    puts("}");
}

/* Warns when the broker would refuse the file for another line. */
static void check_file(const struct job *job, struct mqtt5_bytes content)
{
    struct m5_text_error error;
    char text[512];
    struct m5_users *users = m5_users_new(&m5_libc_allocator, content, job->kind->check, &error);
    if (users == NULL) {
        m5_text_error_format(&error, job->path, text, sizeof text);
        cli_error(job->call, "warning: a broker will refuse the file: %s", text);
    }
    m5_users_free(users);
}

static int change(const struct job *job, struct m5_rewrite *file)
{
    const struct m5_edit_user user = {
        .name = m5_bytes_of(job->user), .same_kind = job->kind->same_kind, .kind = job->kind->kind};
    const struct m5_edit edit = {.match = m5_edit_is_user, .ctx = &user, .line = job->line};
    const struct mqtt5_bytes old =
        m5_bytes(file->old.data, job->options->create ? 0 : file->old.size);
    struct m5_text content;
    struct m5_text_error error;
    uint32_t matched;
    if (!file->exists && !job->options->create)
        return cli_failed(job->call, "%s: there is no such file; --create makes it", job->path);
    if (!m5_edit_apply(old, &edit, &content, &matched))
        return cli_failed(job->call, "out of memory");
    int code = CLI_OK;
    const struct mqtt5_bytes made = m5_bytes(content.data, content.size);
    if (job->line == NULL && matched == 0)
        code = cli_failed(job->call, "%s: there is no user %s", job->path, job->user);
    else if (!m5_rewrite_commit(file, made, &error))
        code = cli_failed(job->call, "%s: %s", job->path, error.text);
    if (code == CLI_OK) {
        check_file(job, made);
        report(job, job->line == NULL ? "deleted" : matched > 0 ? "changed" : "added");
    }
    m5_text_free(&content);
    return code;
}

static int change_file(const struct job *job)
{
    struct m5_rewrite file;
    struct m5_text_error error;
    const int code = m5_rewrite_begin(&file, job->path, NEW_MODE, &error)
                         ? change(job, &file)
                         : cli_failed(job->call, "%s: %s", job->path, error.text);
    m5_rewrite_end(&file);
    return code;
}

int cli_user_file_run(const struct cli_call *call, const struct cli_user_kind *kind)
{
    struct job job = {.call = call, .options = call->options, .kind = kind};
    if (call->operands.count > 0)
        job.user = call->operands.items[0];
    if (call->operands.count > 1)
        job.path = call->operands.items[1];
    const char *why = check_call(&job);
    if (why != NULL)
        return cli_usage(call, "%s", why);
    int code = job.options->delete_user ? CLI_OK : make_line(&job);
    if (code == CLI_OK && job.options->to_stdout) {
        if (!job.options->json)
            puts(job.line);
        report(&job, "printed");
    } else if (code == CLI_OK) {
        code = change_file(&job);
    }
    if (job.line != NULL)
        m5_wipe(job.line, strlen(job.line));
    free(job.line);
    return code;
}
