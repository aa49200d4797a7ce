/* Asking for passwords: at a terminal without showing them, or from standard input.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/secret.h"

#include "host/auth/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* Signals that would leave the terminal without echo. */
static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
#define WATCHED (sizeof watched / sizeof *watched)

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

/* What was in force before the signals were caught. */
struct signals {
    struct sigaction actions[WATCHED];
    sigset_t mask; /* while input is waited for: they come then, and only then */
};

static void catch_signals(struct signals *before)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;
    sigemptyset(&action.sa_mask);
    sigemptyset(&blocked);
    caught = 0;
    for (size_t i = 0; i < WATCHED; i++) {
        sigaddset(&blocked, watched[i]);
        sigaction(watched[i], &action, &before->actions[i]);
    }
    sigprocmask(SIG_BLOCK, &blocked, &before->mask);
}

static void release_signals(const struct signals *before)
{
    sigprocmask(SIG_SETMASK, &before->mask, NULL);
    for (size_t i = 0; i < WATCHED; i++)
        sigaction(watched[i], &before->actions[i], NULL);
    if (caught != 0)
        raise(caught);
}

/* Waits for input, or for a signal: then it is false. */
static bool await_input(int fd, const struct signals *signals)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (ppoll(&poller, 1, NULL, &signals->mask) < 0)
        if (errno != EINTR || caught != 0)
            return false;
    return true;
}

/* Reads up to a line feed or the end, one byte at a time: what follows belongs to somebody else.
 * @p signals: that are caught; NULL: none. */
static const char *read_line(int fd, const struct signals *signals, struct cli_secret *out)
{
    out->size = 0;
    out->text = malloc(CLI_SECRET_MAX + 2);
    if (out->text == NULL)
        return "out of memory";
    for (;;) {
        if (signals != NULL && !await_input(fd, signals))
            return "the password cannot be read";
        const ssize_t got = read(fd, out->text + out->size, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return "the password cannot be read";
        if (got == 0 || out->text[out->size] == '\n')
            break;
        if (out->text[out->size] == 0)
            return "the password has a zero byte";
        if (++out->size > CLI_SECRET_MAX)
            return "the password has more than 65535 bytes";
    }
    if (out->size > 0 && out->text[out->size - 1] == '\r')
        out->size--;
    out->text[out->size] = 0;
    return out->size == 0 ? "the password is empty" : NULL;
}

static void put(int fd, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        const ssize_t done = write(fd, text, left);
        if (done <= 0)
            return;
        text += done;
        left -= (size_t)done;
    }
}

static const char *ask_once(int terminal, const struct signals *signals, const char *what,
                            const char *suffix, struct cli_secret *out)
{
    put(terminal, what);
    put(terminal, suffix);
    const char *why = read_line(terminal, signals, out);
    put(terminal, "\n"); /* the one that was typed is not shown */
    return why;
}

static const char *ask_twice(int terminal, const struct signals *signals, const char *what,
                             struct cli_secret *out)
{
    struct cli_secret again = {0};
    const char *why = ask_once(terminal, signals, what, ": ", out);
    if (why == NULL)
        why = ask_once(terminal, signals, what, " again: ", &again);
    if (why == NULL && strcmp(out->text, again.text) != 0)
        why = "the two passwords differ; nothing was changed";
    cli_secret_free(&again);
    return why;
}

const char *cli_secret_ask(const char *what, struct cli_secret *out)
{
    struct termios shown, hidden;
    struct signals before;
    *out = (struct cli_secret){0};
    const int terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (terminal < 0 || tcgetattr(terminal, &shown) != 0) {
        if (terminal >= 0)
            close(terminal);
        return "there is no terminal to ask at; use --stdin or the environment";
    }
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    catch_signals(&before);
    const char *why = "the terminal cannot be told to hide what is typed";
    if (tcsetattr(terminal, TCSAFLUSH, &hidden) == 0) {
        why = ask_twice(terminal, &before, what, out);
        tcsetattr(terminal, TCSAFLUSH, &shown);
    }
    close(terminal);
    release_signals(&before);
    if (why != NULL)
        cli_secret_free(out);
    return why;
}

const char *cli_secret_read(struct cli_secret *out)
{
    *out = (struct cli_secret){0};
    const char *why = read_line(STDIN_FILENO, NULL, out);
    if (why != NULL)
        cli_secret_free(out);
    return why;
}

const char *cli_secret_copy(const char *text, struct cli_secret *out)
{
    *out = (struct cli_secret){0};
    const size_t size = strlen(text);
    if (size == 0)
        return "the password is empty";
    if (size > CLI_SECRET_MAX)
        return "the password has more than 65535 bytes";
    out->text = strdup(text);
    out->size = size;
    return out->text == NULL ? "out of memory" : NULL;
}

void cli_secret_free(struct cli_secret *secret)
{
    if (secret->text != NULL)
        m5_wipe(secret->text, secret->size);
    free(secret->text);
    *secret = (struct cli_secret){0};
}
