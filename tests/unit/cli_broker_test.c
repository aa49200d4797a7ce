/* `mqttv5 broker`: what its command line means, and how it lives between its signals.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/command.h"

#include "support/unit.h"

#include <mqtt5/broker.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 16
#define ANSWER_MS     10000 /* far beyond what any answer takes */

static const char *environment(const char *name)
{
    return getenv(name);
}

/* Runs the command as main() does, in this process; the exit code. */
static int run_here(const char *const *arguments)
{
    char *argv[ARGUMENTS_MAX] = {NULL};
    char error[512] = "";
    int argc = 0;
    while (arguments[argc] != NULL) {
        assert_true(argc + 1 < ARGUMENTS_MAX);
        argv[argc] = strdup(arguments[argc]);
        argc++;
    }
    struct cli_call call;
    const int code = cli_parse(&cmd_broker, argc, argv, environment, &call, error, sizeof error)
                         ? cmd_broker.run(&call)
                         : cli_usage(&call, "%s", error);
    cli_call_free(&call);
    while (argc > 0)
        free(argv[--argc]);
    return code;
}

/* A broker in a process of its own. */
struct child {
    pid_t pid;
    int log; /* its standard error */
    char text[16384];
    size_t size;
};

static void start(struct child *child, const char *const *arguments)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    child->size = 0;
    child->pid = fork();
    assert_true(child->pid >= 0);
    if (child->pid == 0) {
        alarm(60); /* should the test die */
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        _exit(run_here(arguments));
    }
    close(ends[1]);
    child->log = ends[0];
}

/* False at the end of the log. */
static bool read_log(struct child *child)
{
    struct pollfd poller = {.fd = child->log, .events = POLLIN};
    assert_int_equal(poll(&poller, 1, ANSWER_MS), 1);
    const ssize_t got =
        read(child->log, child->text + child->size, sizeof child->text - 1 - child->size);
    assert_true(got >= 0);
    child->size += (size_t)got;
    child->text[child->size] = 0;
    return got > 0;
}

static void await_log(struct child *child, const char *wanted)
{
    child->text[child->size] = 0;
    while (strstr(child->text, wanted) == NULL)
        if (!read_log(child))
            fail_msg("no \"%s\" in the log:\n%s", wanted, child->text);
}

/* The exit code, once the log has ended. */
static int finish(struct child *child)
{
    int status;
    while (read_log(child))
        continue;
    close(child->log);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Runs to its own end; the exit code, what was written in child->text. */
static int run_to_end(struct child *child, const char *const *arguments)
{
    start(child, arguments);
    return finish(child);
}

/* ---- the command line ---- */

static void addresses_of_other_machines_want_a_word(void **state)
{
    (void)state;
    static const char *const hosts[] = {"0.0.0.0:0", "[::]:0", "*:0", ":0"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct child child;
        const char *const arguments[] = {"--host", hosts[i], NULL};
        assert_int_equal(run_to_end(&child, arguments), CLI_USAGE);
        assert_non_null(strstr(child.text, "--allow-anonymous"));
    }
}

static void what_cannot_work_is_a_usage_error(void **state)
{
    (void)state;
    static const struct {
        const char *arguments[4], *text;
    } cases[] = {
        {{"--durability-for", "a/#", NULL}, "FILTER=LEVEL"},
        {{"--durability-for", "a/#=often", NULL}, "none of strict, relaxed, memory"},
        {{"--durability-for", "$share/g/a=strict", NULL}, "$share"},
        {{"--storage-dir", "x", NULL}, "of no use"},
        {{"--storage-backend", "tape", NULL}, ""},
        {{"--allow-anonymous=false", NULL}, "nobody who can connect"},
        {{"--host", "::1:1883", NULL}, "brackets"},
        {{"--host", "127.0.0.1:x", NULL}, "port"},
        {{"--max-qos", "3", NULL}, ""},
        {{"--workers", "65", NULL}, ""},
        {{"--receive-maximum", "0", NULL}, ""},
        {{"--maximum-packet-size", "63", NULL}, ""},
        {{"--no-such-flag", NULL}, ""},
        {{"--config", "/nonexistent.yaml", NULL}, "/nonexistent.yaml: error: cannot be read: "},
        {{"--config", "/", NULL}, "it is a folder"},
        {{"--mosquitto-conf", "/nonexistent.conf", NULL}, "cannot be read: "},
        {{"-c", "/a", "--mosquitto-conf=/b", NULL}, "are both given"},
        {{"generate-conf", NULL}, "there is generate-config"},
        {{"--json", NULL}, "--json is for --check-config"},
        {{"--tls-host", "127.0.0.1:0", NULL}, "TLS needs a certificate"},
        {{"--ws-tls-host", "127.0.0.1:0", NULL}, "needs a certificate"},
        {{"--proxy-protocol", "v2", NULL}, "must name the networks"},
        {{"--proxy-trusted", "10.0.0.0/40", NULL}, "is no network"},
        {{"--auth-method", "scram", NULL}, "scram needs a scram_file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct child child;
        if (run_to_end(&child, cases[i].arguments) != CLI_USAGE)
            fail_msg("%s was accepted:\n%s", cases[i].arguments[0], child.text);
        assert_non_null(strstr(child.text, cases[i].text));
    }
}

static void a_flag_counts_before_its_variable(void **state)
{
    (void)state;
    struct child child;
    const char *const none[] = {"--durability-for", "a", NULL};
    const char *const flag[] = {"--max-qos", "1", "--durability-for", "a", NULL};
    setenv("MQTT5_MAX_QOS", "3", 1);
    assert_int_equal(run_to_end(&child, none), CLI_USAGE);
    assert_non_null(strstr(child.text, "MQTT5_MAX_QOS: error: must be 0 to 2, not 3"));
    assert_int_equal(run_to_end(&child, flag), CLI_USAGE);
    assert_non_null(strstr(child.text, "FILTER=LEVEL"));
    assert_null(strstr(child.text, "MQTT5_MAX_QOS"));
    unsetenv("MQTT5_MAX_QOS");
    setenv("MQTT5_BIND", "127.0.0.1:0,0.0.0.0:0", 1);
    const char *const nothing[] = {NULL};
    assert_int_equal(run_to_end(&child, nothing), CLI_USAGE);
    assert_non_null(
        strstr(child.text, "MQTT5_BIND: error: bind_addresses: 0.0.0.0:0 can be reached"));
    unsetenv("MQTT5_BIND");
}

/* ---- its life ---- */

static void a_signal_drains_whichever_it_is(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        struct child child;
        const char *const arguments[] = {"--host",    "127.0.0.1:0", "--host", "[::1]:0",
                                         "--workers", "2",           NULL};
        start(&child, arguments);
        await_log(&child, "listener.ready address=\"[::1]:");
        assert_non_null(strstr(child.text, "listener.ready address=\"127.0.0.1:"));
        kill(child.pid, SIGHUP);
        await_log(&child, "files.reloaded");
        kill(child.pid, signals[i]);
        assert_int_equal(finish(&child), CLI_OK);
        assert_non_null(strstr(child.text, "broker.stopped result=\"ok\""));
    }
}

static void a_port_in_use_is_a_failure_with_a_sentence(void **state)
{
    (void)state;
    struct child first, second;
    const char *const free_port[] = {"--host", "127.0.0.1:0", NULL};
    start(&first, free_port);
    await_log(&first, "listener.ready address=\"");
    await_log(&first, " transport=");
    char host[64] = "";
    assert_int_equal(sscanf(strstr(first.text, "address=") + 9, "%63[0-9.:]", host), 1);
    const char *const same_port[] = {"--host", host, NULL};
    assert_int_equal(run_to_end(&second, same_port), CLI_FAILED);
    assert_non_null(strstr(second.text, "cannot listen on 127.0.0.1:"));
    assert_non_null(strstr(second.text, strerror(EADDRINUSE)));
    kill(first.pid, SIGTERM);
    assert_int_equal(finish(&first), CLI_OK);
}

static void expect_datagram(int fd, const char *wanted)
{
    char text[64];
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poller, 1, ANSWER_MS), 1);
    const ssize_t size = recv(fd, text, sizeof text - 1, 0);
    assert_true(size > 0);
    text[size] = 0;
    assert_string_equal(text, wanted);
}

static void the_service_manager_is_told(void **state)
{
    (void)state;
    /* In the abstract namespace, a name of the system's choice. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(sa_family_t);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
    size = sizeof address;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    char name[sizeof address.sun_path + 1] = "@";
    memcpy(name + 1, address.sun_path + 1, size - offsetof(struct sockaddr_un, sun_path) - 1);
    setenv("NOTIFY_SOCKET", name, 1);
    struct child child;
    const char *const arguments[] = {"--host", "127.0.0.1:0", "--log-json", NULL};
    start(&child, arguments);
    unsetenv("NOTIFY_SOCKET");
    expect_datagram(fd, "READY=1");
    kill(child.pid, SIGTERM);
    expect_datagram(fd, "STOPPING=1");
    assert_int_equal(finish(&child), CLI_OK);
    assert_non_null(strstr(child.text, "\"event\":\"listener.ready\",\"address\":\"127.0.0.1:"));
    close(fd);
}

int main(void)
{
    setenv("MQTT5_STORAGE_BACKEND", "memory", 1); /* tests run side by side */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_other_machines_want_a_word),
        cmocka_unit_test(what_cannot_work_is_a_usage_error),
        cmocka_unit_test(a_flag_counts_before_its_variable),
        cmocka_unit_test(a_signal_drains_whichever_it_is),
        cmocka_unit_test(a_port_in_use_is_a_failure_with_a_sentence),
        cmocka_unit_test(the_service_manager_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
