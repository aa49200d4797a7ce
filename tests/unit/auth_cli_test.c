/* `mqttv5 passwd`, `scram` and `acl` as somebody at a shell meets them.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/command.h"

#include "base/bytes.h"
#include "host/acl/acl.h"
#include "host/auth/password.h"
#include "host/auth/scram.h"
#include "host/auth/users.h"
#include "support/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 16
#define FAST          "--memory", "8", "--passes", "1"

static char folder[] = "/tmp/mqtt5-auth-XXXXXX";
static char output[16384]; /* of the last command: standard output and error */

static const char *environment(const char *name)
{
    return getenv(name);
}

/* As main() does. */
static int run_here(const struct cli_command *command, const char *const *arguments)
{
    char *argv[ARGUMENTS_MAX] = {NULL};
    char error[512] = "";
    int argc = 0;
    for (; arguments[argc] != NULL; argc++)
        argv[argc] = strdup(arguments[argc]);
    struct cli_call call;
    const int code = cli_parse(command, argc, argv, environment, &call, error, sizeof error)
                         ? command->run(&call)
                         : cli_usage(&call, "%s", error);
    cli_call_free(&call);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    fflush(NULL);
    return code;
}

static void collect(int fd)
{
    size_t size = 0;
    ssize_t got;
    while ((got = read(fd, output + size, sizeof output - 1 - size)) > 0)
        size += (size_t)got;
    output[size] = 0;
    close(fd);
}

static int exit_code(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Runs a command in a process of its own, without a terminal; @p input goes to it. */
static int run(const struct cli_command *command, const char *input, const char *const *arguments)
{
    int to[2], from[2];
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60);
        setsid();
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        dup2(from[1], STDERR_FILENO);
        close(to[1]);
        close(from[0]);
        _exit(run_here(command, arguments));
    }
    close(to[0]);
    close(from[1]);
    assert_int_equal(write(to[1], input, strlen(input)), (ssize_t)strlen(input));
    close(to[1]);
    collect(from[0]);
    return exit_code(pid);
}

#define RUN(command, ...) run(&(command), "", (const char *const[]){__VA_ARGS__, NULL})
#define RUN_INPUT(command, input, ...) \
    run(&(command), input, (const char *const[]){__VA_ARGS__, NULL})

static void expect_output(const char *text)
{
    if (strstr(output, text) == NULL)
        fail_msg("no \"%s\" in: %s", text, output);
}

static char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static const char *file_text(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

static void expect_file(const char *path, const char *wanted)
{
    assert_string_equal(file_text(path), wanted);
}

/* ---- passwd ---- */

static void expect_password(const char *path, const char *name, const char *password)
{
    struct m5_text_error error = {0};
    struct m5_users *users = m5_users_load(path, m5_users_password_check, &error);
    if (users == NULL)
        fail_msg("%u: %s", error.line, error.text);
    const struct m5_user *user = m5_users_find(users, m5_bytes_of(name), 0);
    struct m5_password stored;
    const char *why;
    assert_non_null(user);
    assert_true(m5_password_parse(user->stored, &stored, &why));
    assert_int_equal(m5_password_verify(&stored, m5_bytes_of(password)), M5_PASSWORD_RIGHT);
    m5_users_free(users);
}

static void users_are_added_changed_and_deleted(void **state)
{
    (void)state;
    const char *path = path_of("passwd");
    assert_int_equal(RUN(cmd_passwd, "alice", path, "-b", "one", FAST), CLI_FAILED);
    expect_output("--create makes it");
    assert_int_equal(RUN(cmd_passwd, "-c", "alice", path, "-b", "one", FAST), CLI_OK);
    expect_output("user alice added");
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(RUN_INPUT(cmd_passwd, "t w o\r\nmore", "bob", path, "--stdin", FAST), CLI_OK);
    setenv("MQTT5_NEW_PASSWORD", "three", 1);
    assert_int_equal(RUN(cmd_passwd, "carol", path, FAST), CLI_OK);
    unsetenv("MQTT5_NEW_PASSWORD");
    expect_password(path, "alice", "one");
    expect_password(path, "bob", "t w o");
    expect_password(path, "carol", "three");
    assert_int_equal(RUN(cmd_passwd, "bob", path, "-b", "four", "--json", FAST), CLI_OK);
    expect_output("\"done\":\"changed\"");
    expect_password(path, "bob", "four");
    assert_int_equal(RUN(cmd_passwd, "-D", "alice", path), CLI_OK);
    assert_int_equal(RUN(cmd_passwd, "-D", "alice", path), CLI_FAILED);
    expect_output("there is no user alice");
    expect_password(path, "bob", "four");
    assert_null(strstr(file_text(path), "alice"));
}

static void a_line_is_printed(void **state)
{
    (void)state;
    assert_int_equal(RUN(cmd_passwd, "-n", "dave", "-b", "x", FAST), CLI_OK);
    assert_memory_equal(output, "dave:$argon2id$v=19$m=8,t=1,p=1$", 32);
    assert_int_equal(RUN(cmd_passwd, "-n", "dave", "-b", "x"), CLI_OK);
    assert_memory_equal(output, "dave:$argon2id$v=19$m=19456,t=2,p=1$", 36);
    const char *path = path_of("printed");
    put_file(path, output);
    expect_password(path, "dave", "x");
}

static void wrong_usage_is_told(void **state)
{
    (void)state;
    const char *path = path_of("none");
    assert_int_equal(RUN(cmd_passwd, "-b", "x"), CLI_USAGE);
    assert_int_equal(RUN(cmd_passwd, "alice", "-b", "x"), CLI_USAGE);
    expect_output("name a file, or use --stdout");
    assert_int_equal(RUN(cmd_passwd, "a:b", path, "-b", "x"), CLI_USAGE);
    expect_output("no ':'");
    assert_int_equal(RUN(cmd_passwd, "#a", path, "-b", "x"), CLI_USAGE);
    assert_int_equal(RUN(cmd_passwd, "a\nb", path, "-b", "x"), CLI_USAGE);
    assert_int_equal(RUN(cmd_passwd, "", path, "-b", "x"), CLI_USAGE);
    assert_int_equal(RUN(cmd_passwd, "-n", "-c", "a", "-b", "x"), CLI_USAGE);
    assert_int_equal(RUN(cmd_passwd, "-c", "-D", "a", path), CLI_USAGE);
    assert_int_equal(RUN(cmd_passwd, "-D", "a", path, "-b", "x"), CLI_USAGE);
    assert_int_equal(RUN(cmd_passwd, "a", path, "-b", "x", "--stdin"), CLI_USAGE);
    assert_int_equal(RUN(cmd_passwd, "a", path, "-b", "x", "--memory", "262144", "--passes", "16"),
                     CLI_USAGE);
    assert_int_equal(RUN(cmd_passwd, "-c", "a", path, "-b", ""), CLI_FAILED);
    expect_output("empty");
    assert_int_equal(RUN_INPUT(cmd_passwd, "\n", "-c", "a", path, "--stdin"), CLI_FAILED);
    assert_int_equal(RUN(cmd_passwd, "-c", "a", path), CLI_FAILED);
    expect_output("no terminal");
    assert_int_equal(access(path, F_OK), -1);
}

/* Other lines, comments and their ends stay, byte for byte; what a broker would refuse is told. */
static void the_rest_of_the_file_stays(void **state)
{
    (void)state;
    const char *path = path_of("rest");
    put_file(path, "# users\r\n\nnobody:x\r\nalice:y\nlast:z");
    assert_int_equal(RUN(cmd_passwd, "-D", "alice", path), CLI_OK);
    expect_file(path, "# users\r\n\nnobody:x\r\nlast:z");
    expect_output(":3:8: it is no argon2id");
    assert_int_equal(RUN(cmd_passwd, "new", path, "-b", "x", FAST), CLI_OK);
    assert_memory_equal(file_text(path), "# users\r\n\nnobody:x\r\nlast:z\nnew:$argon2id$", 40);
}

static void mode_and_links_are_kept(void **state)
{
    (void)state;
    char *path = path_of("real"), *link = path_of("link"), *dangling = path_of("dangling");
    struct stat before, after;
    put_file(path, "");
    assert_int_equal(chmod(path, 0640), 0);
    if (geteuid() == 0)
        assert_int_equal(chown(path, 1234, 4321), 0);
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(symlink("real", link), 0);
    assert_int_equal(symlink("nowhere", dangling), 0);
    assert_int_equal(RUN(cmd_passwd, "alice", link, "-b", "x", FAST), CLI_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_mode, before.st_mode);
    assert_int_equal(after.st_uid, before.st_uid);
    assert_int_equal(after.st_gid, before.st_gid);
    assert_true(after.st_ino != before.st_ino);
    assert_int_equal(lstat(link, &after), 0);
    assert_true(S_ISLNK(after.st_mode));
    expect_password(link, "alice", "x");
    assert_int_equal(RUN(cmd_passwd, "-c", "alice", dangling, "-b", "x", FAST), CLI_FAILED);
    assert_int_equal(access(path_of("nowhere"), F_OK), -1);
    assert_int_equal(RUN(cmd_passwd, "-c", "alice", folder, "-b", "x", FAST), CLI_FAILED);
    assert_int_equal(RUN(cmd_passwd, "-c", "alice", path_of("no/file"), "-b", "x", FAST),
                     CLI_FAILED);
}

/* Several writers at once: nobody's user is lost. */
static void writers_wait_for_each_other(void **state)
{
    (void)state;
    enum { WRITERS = 8 };
    const char *path = path_of("many");
    pid_t pids[WRITERS];
    put_file(path, "");
    for (int i = 0; i < WRITERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%d", i);
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            alarm(60);
            const int nothing = open("/dev/null", O_WRONLY);
            dup2(nothing, STDERR_FILENO);
            _exit(run_here(&cmd_passwd, (const char *const[]){name, path, "-b", "x", FAST, NULL}));
        }
    }
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(exit_code(pids[i]), CLI_OK);
    for (int i = 0; i < WRITERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%d", i);
        expect_password(path, name, "x");
    }
}

/* ---- at a terminal ---- */

static void await_text(int fd, const char *wanted)
{
    size_t size = strlen(output);
    while (strstr(output, wanted) == NULL) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&poller, 1, 20000), 1);
        const ssize_t got = read(fd, output + size, sizeof output - 1 - size);
        assert_true(got > 0);
        size += (size_t)got;
        output[size] = 0;
    }
}

static int type_passwords(const char *path, const char *first, const char *second)
{
    int terminal;
    output[0] = 0;
    const pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60);
        signal(SIGINT, SIG_DFL); /* who runs the tests in the background ignores it */
        _exit(run_here(&cmd_passwd, (const char *const[]){"-c", "erin", path, FAST, NULL}));
    }
    await_text(terminal, "Password: ");
    assert_true(write(terminal, first, strlen(first)) > 0);
    if (second != NULL) {
        await_text(terminal, "Password again: ");
        assert_true(write(terminal, second, strlen(second)) > 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    ssize_t got;
    size_t size = strlen(output);
    while ((got = read(terminal, output + size, sizeof output - 1 - size)) > 0)
        size += (size_t)got;
    output[size] = 0;
    close(terminal);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void a_terminal_is_asked_twice_and_shows_nothing(void **state)
{
    (void)state;
    const char *path = path_of("typed");
    assert_int_equal(type_passwords(path, "s3cret\n", "s3cret\n"), CLI_OK);
    assert_null(strstr(output, "s3cret"));
    expect_password(path, "erin", "s3cret");
    unlink(path);
    assert_int_equal(type_passwords(path, "s3cret\n", "secret\n"), CLI_FAILED);
    expect_output("the two passwords differ");
    assert_int_equal(type_passwords(path, "\n", NULL), CLI_FAILED);
    expect_output("empty");
    assert_int_equal(type_passwords(path, "s3c\x03", NULL), -SIGINT);
    assert_int_equal(access(path, F_OK), -1);
}

/* ---- scram ---- */

static void scram_lines_are_kept_by_hash(void **state)
{
    (void)state;
    const char *path = path_of("scram");
    struct m5_text_error error;
    assert_int_equal(RUN(cmd_scram, "-c", "alice", path, "-b", "x", "-i", "10000"), CLI_OK);
    assert_int_equal(RUN(cmd_scram, "alice", path, "-b", "x", "-i", "10000", "--hash", "sha512"),
                     CLI_OK);
    expect_output("added");
    assert_int_equal(RUN(cmd_scram, "alice", path, "-b", "y", "-i", "10001"), CLI_OK);
    expect_output("changed");
    struct m5_users *users = m5_users_load(path, m5_users_scram_check, &error);
    assert_non_null(users);
    assert_int_equal(m5_users_count(users), 2);
    assert_non_null(m5_users_find(users, m5_bytes_of("alice"), M5_SCRAM_SHA512));
    m5_users_free(users);
    assert_int_equal(RUN(cmd_scram, "-D", "alice", path, "--hash", "sha256"), CLI_OK);
    assert_non_null(strstr(file_text(path), "alice:"));
    assert_int_equal(RUN(cmd_scram, "-D", "alice", path), CLI_OK);
    expect_file(path, "");
    assert_int_equal(RUN(cmd_scram, "-n", "bob", "-b", "x", "-i", "9999"), CLI_USAGE);
    assert_int_equal(RUN(cmd_scram, "-n", "bob", "-b", "x"), CLI_OK);
    expect_output(":310000:");
}

/* ---- acl ---- */

static void rules_are_changed(void **state)
{
    (void)state;
    const char *path = path_of("acl");
    assert_int_equal(RUN(cmd_acl, "add", "alice", "home/#", "read", "-f", path), CLI_OK);
    put_file(path, "# rules\n\nuser alice topic home/# permission read # no comment");
    assert_int_equal(RUN(cmd_acl, "add", "bob", "x", "read", "-f", path), CLI_FAILED);
    expect_output(":3:41: the line has 9 words");
    put_file(path, "# rules\n\n  user  alice topic home/# permission read\n");
    assert_int_equal(RUN(cmd_acl, "add", "*", "public/+", "rw", "-f", path), CLI_OK);
    expect_output("added, 1 line");
    assert_int_equal(RUN(cmd_acl, "add", "alice", "home/#", "deny", "-f", path), CLI_OK);
    expect_output("changed, 1 line");
    assert_int_equal(RUN(cmd_acl, "role-add", "r", "a/b", "write", "-f", path), CLI_OK);
    assert_int_equal(RUN(cmd_acl, "assign", "alice", "r", "-f", path), CLI_OK);
    assert_int_equal(RUN(cmd_acl, "assign", "alice", "r", "-f", path), CLI_OK);
    expect_file(path, "# rules\n\nuser alice topic home/# permission deny\n"
                      "user * topic public/+ permission rw\n"
                      "role r topic a/b permission write\nassign alice r\n");
    assert_int_equal(RUN(cmd_acl, "list", "-f", path), CLI_OK);
    expect_output("user * topic public/+ permission readwrite\n");
    assert_int_equal(RUN(cmd_acl, "list", "alice", "-f", path), CLI_OK);
    assert_string_equal(output, "user alice topic home/# permission deny\n");
    assert_int_equal(RUN(cmd_acl, "role-list", "-f", path, "--json"), CLI_OK);
    assert_string_equal(output, "[{\"line\":5,\"kind\":\"role\",\"name\":\"r\",\"topic\":\"a/b\","
                                "\"permission\":\"write\"}]\n");
    assert_int_equal(RUN(cmd_acl, "user-roles", "alice", "-f", path), CLI_OK);
    assert_string_equal(output, "r\n");
    assert_int_equal(RUN(cmd_acl, "role-remove", "r", "-f", path), CLI_OK);
    expect_output("removed, 2 lines");
    assert_int_equal(RUN(cmd_acl, "unassign", "alice", "r", "-f", path), CLI_FAILED);
    assert_int_equal(RUN(cmd_acl, "remove", "alice", "x", "-f", path), CLI_FAILED);
    expect_output("there is no such rule");
    assert_int_equal(RUN(cmd_acl, "remove", "alice", "-f", path), CLI_OK);
    expect_file(path, "# rules\n\nuser * topic public/+ permission rw\n");
}

static void checks_explain_and_exit(void **state)
{
    (void)state;
    const char *path = path_of("check");
    put_file(path,
             "user alice topic a/# permission read\nuser alice topic a/s/# permission deny\n"
             "user * topic dev/%c/+ permission write\nuser anonymous topic p permission rw\n");
    assert_int_equal(RUN(cmd_acl, "check", "alice", "a/b", "read", "-f", path), CLI_OK);
    expect_output("ALLOWED: alice may read a/b\n  by ");
    expect_output("check:1: user alice topic a/# permission read");
    assert_int_equal(RUN(cmd_acl, "check", "alice", "a/s/x", "read", "-f", path), CLI_FAILED);
    expect_output("DENIED: alice may not read a/s/x");
    expect_output(":2: user alice topic a/s/# permission deny");
    assert_int_equal(RUN(cmd_acl, "check", "alice", "a/b", "write", "-f", path), CLI_FAILED);
    expect_output("no rule grants it");
    assert_int_equal(RUN(cmd_acl, "check", "alice", "#", "subscribe", "-f", path), CLI_FAILED);
    expect_output("no rule covers all");
    assert_int_equal(RUN(cmd_acl, "check", "alice", "$share/g/a/#", "subscribe", "-f", path),
                     CLI_OK);
    expect_output("withheld");
    assert_int_equal(RUN(cmd_acl, "check", "bob", "dev/7/x", "publish", "-f", path), CLI_FAILED);
    assert_int_equal(
        RUN(cmd_acl, "check", "bob", "dev/7/x", "publish", "-f", path, "--client-id", "7"), CLI_OK);
    assert_int_equal(RUN(cmd_acl, "check", "anonymous", "p", "write", "-f", path, "--json"),
                     CLI_OK);
    assert_string_equal(output, "{\"allowed\":true,\"user\":\"anonymous\",\"client_id\":\"client\","
                                "\"action\":\"write\",\"topic\":\"p\",\"rule\":{\"line\":4,"
                                "\"kind\":\"user\",\"name\":\"anonymous\",\"topic\":\"p\","
                                "\"permission\":\"readwrite\"}}\n");
    put_file(path, "user joe\ntopic read a/#\n");
    assert_int_equal(RUN(cmd_acl, "check", "joe", "a/b", "read", "-f", path), CLI_OK);
    assert_int_equal(RUN(cmd_acl, "add", "joe", "b", "read", "-f", path), CLI_FAILED);
    expect_output("Mosquitto's format");
}

static void wrong_use_of_acl_is_told(void **state)
{
    (void)state;
    const char *path = path_of("wrong");
    assert_int_equal(RUN(cmd_acl, "-f", path), CLI_USAGE);
    assert_int_equal(RUN(cmd_acl, "chek", "-f", path), CLI_USAGE);
    expect_output("did you mean check?");
    assert_int_equal(RUN(cmd_acl, "list"), CLI_USAGE);
    expect_output("--file");
    assert_int_equal(RUN(cmd_acl, "add", "a", "b", "-f", path), CLI_USAGE);
    expect_output("usage: mqttv5 acl add USER TOPIC PERMISSION");
    assert_int_equal(RUN(cmd_acl, "add", "a", "b", "reed", "-f", path), CLI_USAGE);
    assert_int_equal(RUN(cmd_acl, "add", "a", "b/#/c", "read", "-f", path), CLI_USAGE);
    assert_int_equal(RUN(cmd_acl, "add", "a b", "b", "read", "-f", path), CLI_USAGE);
    assert_int_equal(RUN(cmd_acl, "add", "a", "b\nassign a admin", "read", "-f", path), CLI_USAGE);
    assert_int_equal(RUN(cmd_acl, "assign", "*", "r", "-f", path), CLI_USAGE);
    assert_int_equal(RUN(cmd_acl, "check", "a", "b", "deny", "-f", path), CLI_USAGE);
    assert_int_equal(RUN(cmd_acl, "check", "a", "b/#", "write", "-f", path), CLI_USAGE);
    assert_int_equal(RUN(cmd_acl, "check", "a", "b", "read", "-f", path), CLI_FAILED);
    assert_int_equal(RUN(cmd_acl, "remove", "a", "-f", path), CLI_FAILED);
    assert_int_equal(access(path, F_OK), -1);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"passwd", "printed", "rest",  "real", "link", "dangling",
                                        "many",   "typed",   "scram", "acl",  "check"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    return rmdir(folder); /* fails when a temporary file was left behind */
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_are_added_changed_and_deleted),
        cmocka_unit_test(a_line_is_printed),
        cmocka_unit_test(wrong_usage_is_told),
        cmocka_unit_test(the_rest_of_the_file_stays),
        cmocka_unit_test(mode_and_links_are_kept),
        cmocka_unit_test(writers_wait_for_each_other),
        cmocka_unit_test(a_terminal_is_asked_twice_and_shows_nothing),
        cmocka_unit_test(scram_lines_are_kept_by_hash),
        cmocka_unit_test(rules_are_changed),
        cmocka_unit_test(checks_explain_and_exit),
        cmocka_unit_test(wrong_use_of_acl_is_told),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
