/* `mqttv5 pub` and `mqttv5 sub`, each in a process of its own, against the embedded broker in a
 * third: what they print where, and how they end. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/command.h"
#include "support/unit.h"

#include <mqtt5/broker.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_MAX 65536u

static pid_t broker_pid;
static char port[8];

/* ---- processes ---- */

struct process {
    pid_t pid;
    int in, out, err; /* our ends of its standard streams */
    char output[OUTPUT_MAX], errors[OUTPUT_MAX];
    size_t errors_size;
};

static const char *no_environment(const char *name)
{
    (void)name;
    return NULL;
}

static _Noreturn void run_command(const struct cli_command *command, int argc, char **argv)
{
    struct cli_call call;
    char error[512];
    int code = CLI_USAGE;
    if (!cli_parse(command, argc, argv, no_environment, &call, error, sizeof error))
        code = cli_usage(&call, "%s", error);
    else
        code = command->run(&call);
    cli_call_free(&call);
    exit(fflush(stdout) != 0 && code == CLI_OK ? CLI_FAILED : code);
}

/* Starts @p command with @p count of @p arguments. */
static void launch(struct process *process, const struct cli_command *command, int count,
                   char **arguments)
{
    int in[2], out[2], err[2];
    assert_int_equal(pipe(in) | pipe(out) | pipe(err), 0);
    fflush(NULL);
    process->pid = fork();
    assert_true(process->pid >= 0);
    if (process->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        for (int fd = 3; fd < 256; fd++)
            close(fd);
        run_command(command, count, arguments);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    process->in = in[1];
    process->out = out[0];
    process->err = err[0];
    process->errors_size = 0;
    process->errors[0] = 0;
}

/* Starts @p command with "-p PORT" and the arguments, NULL at the end. */
static void start(struct process *process, const struct cli_command *command, ...)
{
    char *arguments[48] = {(char[]){"-p"}, port};
    int count = 2;
    va_list list;
    va_start(list, command);
    while ((arguments[count] = va_arg(list, char *)) != NULL)
        count++;
    va_end(list);
    launch(process, command, count, arguments);
}

/* The same without the port. */
static void start_without_port(struct process *process, const struct cli_command *command, ...)
{
    char *arguments[16];
    int count = 0;
    va_list list;
    va_start(list, command);
    while ((arguments[count] = va_arg(list, char *)) != NULL)
        count++;
    va_end(list);
    launch(process, command, count, arguments);
}

/* Reads its errors until @p text is among them. */
static void wait_for_error(struct process *process, const char *text)
{
    while (strstr(process->errors, text) == NULL) {
        const ssize_t size = read(process->err, process->errors + process->errors_size,
                                  OUTPUT_MAX - 1 - process->errors_size);
        if (size <= 0)
            fail_msg("\"%s\" is not in: %s", text, process->errors);
        process->errors_size += (size_t)size;
        process->errors[process->errors_size] = 0;
    }
}

static void read_to_end(int fd, char *out, size_t used)
{
    ssize_t size;
    while ((size = read(fd, out + used, OUTPUT_MAX - 1 - used)) > 0)
        used += (size_t)size;
    out[used] = 0;
    close(fd);
}

/* Waits for its end and gives its exit code. */
static int finish(struct process *process)
{
    int status;
    if (process->in >= 0)
        close(process->in);
    read_to_end(process->out, process->output, 0);
    read_to_end(process->err, process->errors, process->errors_size);
    waitpid(process->pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void feed(struct process *process, const char *text)
{
    assert_int_equal(write(process->in, text, strlen(text)), strlen(text));
    close(process->in);
    process->in = -1;
}

static void no_log(void *ctx, enum mqtt5_log_level level, const char *event, const char *line)
{
    (void)ctx;
    (void)level;
    (void)event;
    (void)line;
}

static struct mqtt5_broker *broker;

static void on_term(int number)
{
    (void)number;
    mqtt5_broker_stop(broker);
}

static _Noreturn void serve(int report)
{
    const struct mqtt5_listener listener = {.host = "127.0.0.1", .port = 0};
    struct mqtt5_broker_options options;
    mqtt5_broker_options_init(&options);
    options.listeners = &listener;
    options.listener_count = 1;
    options.workers = 1;
    options.log = no_log;
    options.config.allow_anonymous = true;
    options.config.retain_available = true;
    options.config.sys_interval_s = 0;
    if (mqtt5_broker_new(&options, &broker, NULL) != MQTT5_OK)
        _exit(1);
    signal(SIGTERM, on_term);
    const uint16_t number = mqtt5_broker_port(broker, 0);
    if (write(report, &number, sizeof number) != sizeof number)
        _exit(1);
    const enum mqtt5_error error = mqtt5_broker_run(broker);
    mqtt5_broker_free(broker);
    exit(error == MQTT5_OK ? 0 : 1);
}

/* In a process of its own, so that this one has no threads when it forks. */
static int start_broker(void **state)
{
    (void)state;
    int report[2];
    uint16_t number;
    if (pipe(report) != 0)
        return 1;
    broker_pid = fork();
    if (broker_pid == 0)
        serve(report[1]);
    close(report[1]);
    const bool ok = read(report[0], &number, sizeof number) == sizeof number;
    close(report[0]);
    snprintf(port, sizeof port, "%u", number);
    return ok ? 0 : 1;
}

static int stop_broker(void **state)
{
    (void)state;
    int status;
    kill(broker_pid, SIGTERM);
    waitpid(broker_pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}

/* ---- tests ---- */

static struct process sub, pub;

static void messages_go_to_standard_output(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "out/#", "-v", "-n", "3", "-q", "2", NULL);
    wait_for_error(&sub, "Subscribed to out/# (QoS 2)\n");
    for (int qos = 0; qos < 3; qos++) {
        const char *const levels[] = {"0", "1", "2"};
        start(&pub, &cmd_pub, "-t", "out/x", "-m", levels[qos], "-q", levels[qos], NULL);
        assert_int_equal(finish(&pub), CLI_OK);
        assert_string_equal(pub.output, "");
        assert_string_equal(pub.errors, "");
    }
    assert_int_equal(finish(&sub), CLI_OK);
    assert_string_equal(sub.output, "out/x: 0\nout/x: 1\nout/x: 2\n");
}

static void properties_are_shown(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "prop", "-s", "-n", "1", "--subscription-identifier", "7", NULL);
    wait_for_error(&sub, "Subscribed");
    start(&pub, &cmd_pub, "-t", "prop", "-m", "x", "--content-type", "text/plain",
          "--user-property", "a=1", "--user-property", "b=\n", "--response-topic", "r",
          "--correlation-data", "00ff", NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_non_null(strstr(sub.output, "x\n"));
    assert_non_null(strstr(sub.output, "  Content Type: text/plain\n"));
    assert_non_null(strstr(sub.output, "  User Property: a=1\n"));
    assert_non_null(strstr(sub.output, "  User Property: b=\\x0A\n"));
    assert_non_null(strstr(sub.output, "  Correlation Data: 00ff\n"));
    assert_non_null(strstr(sub.output, "  Subscription Identifier: 7\n"));
}

static void json_has_everything(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "json", "--json", "-n", "2", NULL);
    wait_for_error(&sub, "Subscribed");
    start(&pub, &cmd_pub, "-t", "json", "-m", "say \"hi\"\n", "--user-property", "k=1",
          "--user-property", "k=2", NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    start(&pub, &cmd_pub, "-t", "json", "--stdin", NULL);
    feed(&pub, "\xff\xfe");
    assert_int_equal(finish(&pub), CLI_OK);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_non_null(strstr(sub.output,
                           "{\"topic\":\"json\",\"qos\":0,\"retain\":false,\"dup\":false,"
                           "\"payload\":\"say \\\"hi\\\"\\n\""));
    assert_non_null(strstr(sub.output, "\"user_property\":[[\"k\",\"1\"],[\"k\",\"2\"]]"));
    assert_non_null(strstr(sub.output, "\"payload_base64\":\"//4=\""));
}

static void lines_are_messages(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "lines", "-n", "4", "-q", "1", NULL);
    wait_for_error(&sub, "Subscribed");
    start(&pub, &cmd_pub, "-t", "lines", "-l", "-q", "1", NULL);
    feed(&pub, "one\n\nthree\nlast");
    assert_int_equal(finish(&pub), CLI_OK);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_string_equal(sub.output, "one\n\nthree\nlast\n");
}

/* 3.1.1 talks to 5.0, and many messages are sent without a wait for each. */
static void repetitions_are_pipelined(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "rep", "-n", "9000", "-q", "2", "--protocol-version", "3.1.1",
          NULL);
    wait_for_error(&sub, "Subscribed");
    start(&pub, &cmd_pub, "-t", "rep", "-m", "abc", "-q", "2", "--repeat", "9000", "--interval",
          "0", NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_int_equal(strlen(sub.output), 9000 * 4);
}

static void signals_end_sub_in_order(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct process watcher;
        start(&watcher, &cmd_sub, "-t", "will", "-v", "-n", "1", NULL);
        wait_for_error(&watcher, "Subscribed");
        start(&sub, &cmd_sub, "-t", "sig", "--will-topic", "will", "--will-message", "dead", NULL);
        wait_for_error(&sub, "Subscribed");
        kill(sub.pid, signals[i]);
        assert_int_equal(finish(&sub), CLI_OK);
        /* A DISCONNECT was sent, so what comes is this and not the will. */
        start(&pub, &cmd_pub, "-t", "will", "-m", "alive", NULL);
        assert_int_equal(finish(&pub), CLI_OK);
        assert_int_equal(finish(&watcher), CLI_OK);
        assert_string_equal(watcher.output, "will: alive\n");
    }
}

static void will_is_published_when_a_client_is_lost(void **state)
{
    (void)state;
    struct process watcher;
    start(&watcher, &cmd_sub, "-t", "will", "-v", "-n", "1", NULL);
    wait_for_error(&watcher, "Subscribed");
    start(&sub, &cmd_sub, "-t", "sig", "--will-topic", "will", "--will-message", "dead", NULL);
    wait_for_error(&sub, "Subscribed");
    kill(sub.pid, SIGKILL);
    assert_int_equal(finish(&sub), -SIGKILL);
    assert_int_equal(finish(&watcher), CLI_OK);
    assert_string_equal(watcher.output, "will: dead\n");
}

static void reader_that_leaves_ends_sub_quietly(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "pipe", NULL);
    wait_for_error(&sub, "Subscribed to pipe (QoS 0)\n");
    close(sub.out);
    sub.out = open("/dev/null", O_RDONLY);
    start(&pub, &cmd_pub, "-t", "pipe", "-m", "x", NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_string_equal(sub.errors, "Subscribed to pipe (QoS 0)\n");
}

/* The same when nothing is printed any more that would find out. */
static void reader_that_leaves_is_noticed_in_silence(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "silence", NULL);
    wait_for_error(&sub, "Subscribed");
    close(sub.out);
    sub.out = open("/dev/null", O_RDONLY);
    assert_int_equal(finish(&sub), CLI_OK);
}

static void session_is_resumed_without_loss(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        start(&sub, &cmd_sub, "-t", "dur", "-q", "1", "-c", "dur", "--no-clean-start",
              "--session-expiry", "1h", "-n", "2", NULL);
        if (round == 0) {
            wait_for_error(&sub, "Subscribed");
            start(&pub, &cmd_pub, "-t", "dur", "-l", "-q", "1", NULL);
            feed(&pub, "1\n2\n3\n4\n5\n6\n");
            assert_int_equal(finish(&pub), CLI_OK);
        }
        assert_int_equal(finish(&sub), CLI_OK);
        static const char *const expected[] = {"1\n2\n", "3\n4\n", "5\n6\n"};
        assert_string_equal(sub.output, expected[round]);
    }
}

static void responses_are_waited_for(void **state)
{
    (void)state;
    struct process responder;
    start(&responder, &cmd_sub, "-t", "svc", "-n", "1", "--json", NULL);
    wait_for_error(&responder, "Subscribed");
    start(&pub, &cmd_pub, "-t", "svc", "-m", "question", "--wait-response", "--correlation-data",
          "abcd", "--response-topic", "svc/answer", NULL);
    assert_int_equal(finish(&responder),
                     CLI_OK); /* the question is there: so is the subscription */
    assert_non_null(strstr(responder.output, "\"response_topic\":\"svc/answer\""));
    struct process answer;
    start(&answer, &cmd_pub, "-t", "svc/answer", "-m", "wrong", "--correlation-data", "ffff", NULL);
    assert_int_equal(finish(&answer), CLI_OK);
    start(&answer, &cmd_pub, "-t", "svc/answer", "-m", "42", "--correlation-data", "abcd", NULL);
    assert_int_equal(finish(&answer), CLI_OK);
    assert_int_equal(finish(&pub), CLI_OK);
    assert_string_equal(pub.output, "42\n");
}

static void no_response_is_a_failure(void **state)
{
    (void)state;
    start(&pub, &cmd_pub, "-t", "svc", "-m", "q", "--wait-response", "--timeout", "0", NULL);
    assert_int_equal(finish(&pub), CLI_FAILED);
    assert_string_equal(pub.errors, "mqttv5 pub: no response in time\n");
}

static void sources_are_taken_in_turn(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "src", "-C", "7", "-F", "<%p>", "-N", NULL);
    wait_for_error(&sub, "Subscribed");
    start(&pub, &cmd_pub, "-t", "src", "-m", "a,b", "-m", "c", "--repeat", "2", "--interval", "0",
          NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    start(&pub, &cmd_pub, "-t", "src", "-n", NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    start(&pub, &cmd_pub, "-t", "src", "-f", "/dev/null", NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    start(&pub, &cmd_pub, "-t", "src", "-s", NULL);
    feed(&pub, "x\ny");
    assert_int_equal(finish(&pub), CLI_OK);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_string_equal(sub.output, "<a,b><c><a,b><c><><><x\ny>");
}

static void a_url_may_hold_the_topic(void **state)
{
    char url[64];
    (void)state;
    struct process other = {0};
    snprintf(url, sizeof url, "mqtt://me:secret@127.0.0.1:%s/url/topic", port);
    start(&sub, &cmd_sub, "-t", "url/#", "-C", "1", "-v", NULL);
    wait_for_error(&sub, "Subscribed");
    start_without_port(&other, &cmd_pub, "-L", url, "-m", "x", NULL);
    assert_int_equal(finish(&other), CLI_OK);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_string_equal(sub.output, "url/topic: x\n");
    start_without_port(&other, &cmd_pub, "-L", url, "-m", "x", "-t", "y", NULL);
    assert_int_equal(finish(&other), CLI_USAGE);
}

static void properties_come_from_d_as_well(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "dprop", "-C", "1", "-F", "%C|%E|%P|%S|%D", "-D", "subscribe",
          "subscription-identifier", "5", NULL);
    wait_for_error(&sub, "Subscribed");
    start(&pub, &cmd_pub, "-t", "dprop", "-m", "x", "-D", "publish", "content-type", "a/b", "-D",
          "publish", "user-property", "k", "v w", "--user-property", "k=2", "-D", "publish",
          "message-expiry-interval", "77", "-D", "publish", "correlation-data", "cd", NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_string_equal(sub.output, "a/b|77|k:v w k:2|5|cd\n");
}

static void messages_can_be_passed_over(void **state)
{
    (void)state;
    start(&pub, &cmd_pub, "-t", "pass/kept", "-m", "old", "-r", "-q", "1", NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    start(&sub, &cmd_sub, "-t", "pass/#", "-R", "-T", "pass/secret/#", "-T", "pass/x", "-C", "1",
          NULL);
    wait_for_error(&sub, "Subscribed");
    static const char *const topics[] = {"pass/secret/a", "pass/x", "pass/y"};
    for (size_t i = 0; i < 3; i++) {
        start(&pub, &cmd_pub, "-t", topics[i], "-m", topics[i], NULL);
        assert_int_equal(finish(&pub), CLI_OK);
    }
    assert_int_equal(finish(&sub), CLI_OK);
    assert_string_equal(sub.output, "pass/y\n");
}

static void retained_messages_are_removed(void **state)
{
    static const char *const topics[] = {"rem/a", "rem/keep", "rem/b"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        start(&pub, &cmd_pub, "-t", topics[i], "-m", topics[i], "-r", "-q", "1", NULL);
        assert_int_equal(finish(&pub), CLI_OK);
    }
    start(&sub, &cmd_sub, "-t", "rem/#", "--remove-retained", "--retained-only", "-T", "rem/keep",
          "-q", "1", NULL);
    /* The removals come back to it, and they are not retained. */
    assert_int_equal(finish(&sub), CLI_OK);
    start(&sub, &cmd_sub, "-t", "rem/#", "-W", "1", "-v", "-q", "1", NULL);
    assert_int_equal(finish(&sub), CLI_TIMED_OUT);
    assert_string_equal(sub.output, "rem/keep: rem/keep\n");
}

static void sessions_are_made_and_left(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "left/#", "-t", "stay", "-q", "1", "-i", "durable",
          "--no-clean-start", "-x", "never", "-E", NULL);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_string_equal(sub.output, "");
    start(&sub, &cmd_sub, "--unsubscribe", "left/#", "-i", "durable", "--no-clean-start", "-x",
          "never", "-E", NULL);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_non_null(strstr(sub.errors, "Unsubscribed from left/#\n"));
    start(&pub, &cmd_pub, "-t", "left/a", "-m", "lost", "-q", "1", NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    start(&pub, &cmd_pub, "-t", "stay", "-m", "kept", "-q", "1", NULL);
    assert_int_equal(finish(&pub), CLI_OK);
    start(&sub, &cmd_sub, "-t", "stay", "-q", "1", "-i", "durable", "--no-clean-start", "-C", "1",
          NULL);
    assert_int_equal(finish(&sub), CLI_OK);
    assert_string_equal(sub.output, "kept\n");
}

static void results_are_told_when_asked_for(void **state)
{
    (void)state;
    start(&pub, &cmd_pub, "-t", "res", "-l", "-q", "1", "--stats", "--json", NULL);
    feed(&pub, "a\nbcd\n");
    assert_int_equal(finish(&pub), CLI_OK);
    assert_non_null(strstr(pub.output, "{\"published\":2,\"failed\":0,\"bytes\":4,"));
    assert_non_null(strstr(pub.output, "\"reason_code\":16,"));
    assert_non_null(strstr(pub.errors, "2 messages published, 0 failed, 4 bytes, "));
}

/* Ctrl+C while it waits for the next line: what was read has been published. */
static void interrupted_pub_has_sent_what_it_read(void **state)
{
    (void)state;
    start(&sub, &cmd_sub, "-t", "int", "-C", "1", NULL);
    wait_for_error(&sub, "Subscribed");
    start(&pub, &cmd_pub, "-t", "int", "-l", "-q", "2", NULL);
    assert_int_equal(write(pub.in, "line\nhalf", 9), 9);
    assert_int_equal(finish(&sub), CLI_OK); /* so the line has gone out */
    kill(pub.pid, SIGINT);
    assert_int_equal(finish(&pub), CLI_FAILED);
    assert_string_equal(pub.errors, "mqttv5 pub: interrupted\n");
    assert_string_equal(sub.output, "line\n");
}

/* ---- servers that hang up ---- */

/* Accepts one connection and ends it as soon as a second packet comes; in a process of its own. */
static pid_t hang_up_at_publish(char *out, size_t size)
{
    static const uint8_t connack[] = {0x20, 3, 0, 0, 0};
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    uint8_t bytes[512];
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    snprintf(out, size, "%u", ntohs(address.sin_port));
    const pid_t pid = fork();
    if (pid != 0) {
        close(listener);
        return pid;
    }
    const int fd = accept(listener, NULL, NULL);
    if (recv(fd, bytes, sizeof bytes, 0) > 0 && write(fd, connack, sizeof connack) > 0)
        (void)!recv(fd, bytes, sizeof bytes, 0);
    _exit(0);
}

static void lost_connection_is_told_with_its_reason(void **state)
{
    (void)state;
    char its_port[8];
    const pid_t server = hang_up_at_publish(its_port, sizeof its_port);
    start(&pub, &cmd_pub, "-H", "127.0.0.1", "-p", its_port, "-t", "a", "-m", "x", "-q", "1", NULL);
    assert_int_equal(finish(&pub), CLI_FAILED);
    assert_string_equal(pub.errors,
                        "mqttv5 pub: connection lost: the server closed the connection\n");
    waitpid(server, NULL, 0);
}

/* ---- mistakes ---- */

struct mistake {
    const struct cli_command *command;
    const char *arguments[8];
    int code;
    const char *error; /* what standard error must have in it */
};

static void mistakes_are_told_in_words(void **state)
{
    static const struct mistake mistakes[] = {
        {&cmd_pub, {"-m", "x"}, CLI_USAGE, "mqttv5 pub: --topic is missing"},
        {&cmd_pub, {"-t", "a"}, CLI_USAGE, "what to publish?"},
        {&cmd_pub, {"-t", "a", "-m", "x", "--stdin"}, CLI_USAGE, "give one of"},
        {&cmd_pub, {"-t", "a", "-m", "x", "-q", "3"}, CLI_USAGE, "-q must be 0 to 2, not 3"},
        {&cmd_pub, {"-t", "a", "-m", "x", "--user-property", "x"}, CLI_USAGE, "NAME=VALUE"},
        {&cmd_pub, {"-t", "a", "-m", "x", "--correlation-data", "abc"}, CLI_USAGE, "hexadecimal"},
        {&cmd_pub, {"-t", "a", "-m", "x", "--no-clean-start"}, CLI_USAGE, "needs --client-id"},
        {&cmd_pub, {"-t", "a", "-m", "x", "--url", "mqtt://h"}, CLI_USAGE, "one or the other"},
        {&cmd_pub,
         {"-t", "a", "-m", "x", "--protocol-version", "4", "--content-type", "x"},
         CLI_USAGE,
         "--content-type needs --protocol-version 5"},
        {&cmd_pub, {"-t", "a/#", "-m", "x"}, CLI_FAILED, "a topic name contains a wildcard"},
        {&cmd_pub, {"-t", "a", "-f", "/nonexistent"}, CLI_FAILED, "cannot open /nonexistent"},
        {&cmd_pub,
         {"-t", "a", "-m", "x", "-p", "1"},
         CLI_FAILED,
         "cannot connect to 127.0.0.1:1: Connection refused (is a broker running? start one with: "
         "mqttv5 broker)"},
        {&cmd_pub, {"-t", "a", "-m", "x", "--topic-alias", "60000"}, CLI_FAILED, "topic alias"},
        {&cmd_sub, {NULL}, CLI_USAGE, "mqttv5 sub: --topic is missing"},
        {&cmd_sub, {"-t", "a", "--json", "-v"}, CLI_USAGE, "--json shows everything"},
        {&cmd_sub, {"-t", "a/#/b"}, CLI_USAGE, "a wildcard is not where it may be"},
        {&cmd_sub, {"-t", "a", "-F", "%i"}, CLI_USAGE, "there is no such parameter"},
        {&cmd_sub, {"-t", "a", "--json", "--hex"}, CLI_USAGE, "--json has a form of its own"},
        {&cmd_sub, {"-t", "a", "-T", "x#"}, CLI_USAGE, "--filter-out x#: a wildcard"},
        {&cmd_sub, {"-t", "a", "-R", "--retained-only"}, CLI_USAGE, "nothing to print"},
        {&cmd_sub,
         {"-t", "a", "-D", "publish", "content-type", "x"},
         CLI_USAGE,
         "not of \"publish\""},
        {&cmd_pub,
         {"-t", "a", "-n", "-D", "publish", "content-typ", "x"},
         CLI_USAGE,
         "no property content-typ (did you mean content-type?)"},
        {&cmd_pub,
         {"-t", "a", "-n", "-D", "publish", "topic-alias", "70000"},
         CLI_USAGE,
         "wants a number up to 65535, not \"70000\""},
        {&cmd_pub,
         {"-t", "a", "-n", "-D", "connect", "content-type", "x"},
         CLI_USAGE,
         "content-type is no property of connect"},
        {&cmd_pub, {"-t", "a", "-n", "--at", "25:00"}, CLI_USAGE, "--at wants HH:MM"},
        {&cmd_pub, {"-t", "a", "-n", "--at", "2001-01-01T00:00"}, CLI_USAGE, "is over"},
        {&cmd_pub, {"-t", "a", "-n", "--mesage", "x"}, CLI_USAGE, "did you mean --message?"},
        {&cmd_sub, {"-t", "a", "--will-retain"}, CLI_USAGE, "a will needs --will-topic"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        const char *const *a = mistakes[i].arguments;
        start(&pub, mistakes[i].command, "-H", "127.0.0.1", a[0], a[1], a[2], a[3], a[4], a[5],
              a[6], a[7], NULL);
        const int code = finish(&pub);
        if (code != mistakes[i].code || strstr(pub.errors, mistakes[i].error) == NULL)
            fail_msg("%zu: %d: %s", i, code, pub.errors);
        assert_string_equal(pub.output, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_to_standard_output),
        cmocka_unit_test(properties_are_shown),
        cmocka_unit_test(json_has_everything),
        cmocka_unit_test(lines_are_messages),
        cmocka_unit_test(repetitions_are_pipelined),
        cmocka_unit_test(signals_end_sub_in_order),
        cmocka_unit_test(will_is_published_when_a_client_is_lost),
        cmocka_unit_test(reader_that_leaves_ends_sub_quietly),
        cmocka_unit_test(reader_that_leaves_is_noticed_in_silence),
        cmocka_unit_test(session_is_resumed_without_loss),
        cmocka_unit_test(responses_are_waited_for),
        cmocka_unit_test(no_response_is_a_failure),
        cmocka_unit_test(sources_are_taken_in_turn),
        cmocka_unit_test(a_url_may_hold_the_topic),
        cmocka_unit_test(properties_come_from_d_as_well),
        cmocka_unit_test(messages_can_be_passed_over),
        cmocka_unit_test(retained_messages_are_removed),
        cmocka_unit_test(sessions_are_made_and_left),
        cmocka_unit_test(results_are_told_when_asked_for),
        cmocka_unit_test(interrupted_pub_has_sent_what_it_read),
        cmocka_unit_test(lost_connection_is_told_with_its_reason),
        cmocka_unit_test(mistakes_are_told_in_words),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, start_broker, stop_broker);
}
