/* Signals, changed files and reloads of a running broker.
 *
 * One descriptor, which the first worker's loop watches, tells of all of it: it is an epoll of a
 * signalfd, an inotify, a timer and the end of a reload. So what they cause is ordinary code, and a
 * broker with one worker is a process with one thread; only a reload, which reads files, has a
 * thread of its own for as long as it takes, one at a time.
 *
 * Files are watched by their folders, since editors and tools replace files instead of writing
 * them. An event only starts the timer; when that fires, the files are looked at, and a reload
 * begins if one of them is another than before.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/broker.h"

#include "base/bytes.h"
#include "host/broker.h"
#include "host/notify.h"
#include "host/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SETTLE_MS 200 /* from the first event of a folder to a look at the files */
#define EVENTS    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM)

enum source { SOURCE_SIGNAL, SOURCE_FILES, SOURCE_TIMER, SOURCE_RELOADED, SOURCE_COUNT };

struct broker_watch {
    const struct cli_call *call;
    struct mqtt5_broker *broker;
    struct m5_config *started; /* what the broker was started with */
    struct m5_config *config;  /* what it does now; changed by a reload's thread; NULL: that */
    struct m5_log log, reload_log;
    struct m5_log_sink sink;
    int all, fds[SOURCE_COUNT];
    uint64_t seen; /* of the files: see fingerprint() */
    pthread_t thread;
    const char *cause;
    bool stopping, is_reloading, again;
};

static const char *signal_name(uint32_t number)
{
    return number == SIGTERM ? "SIGTERM" : number == SIGINT ? "SIGINT" : "SIGHUP";
}

static const struct m5_config *current(const struct broker_watch *watch)
{
    return watch->config != NULL ? watch->config : watch->started;
}

/* ---- files ---- */

static uint64_t mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * UINT64_C(0x9E3779B97F4A7C15) + 1;
}

/* Changes when one of the files does, whichever way. */
static uint64_t fingerprint(const struct m5_config *config)
{
    const size_t count = m5_config_file_count(config);
    uint64_t sum = count;
    for (size_t i = 0; i < count; i++) {
        struct stat info;
        if (stat(m5_config_file(config, i), &info) != 0)
            info = (struct stat){.st_size = -1};
        sum = mix(sum, info.st_ino);
        sum = mix(sum, (uint64_t)info.st_size);
        sum = mix(sum, (uint64_t)info.st_mtim.tv_sec);
        sum = mix(sum, (uint64_t)info.st_mtim.tv_nsec);
    }
    return sum;
}

/* Adding a folder that is watched already changes nothing. */
static void watch_folders(struct broker_watch *watch)
{
    const struct m5_config *config = current(watch);
    const size_t count = m5_config_watches(config) ? m5_config_file_count(config) : 0;
    for (size_t i = 0; i < count; i++) {
        const char *path = m5_config_file(config, i), *slash = strrchr(path, '/');
        char *folder = slash == path   ? strdup("/")
                       : slash == NULL ? strdup(".")
                                       : strndup(path, (size_t)(slash - path));
        if (folder != NULL)
            inotify_add_watch(watch->fds[SOURCE_FILES], folder, EVENTS);
        free(folder);
    }
    watch->seen = fingerprint(current(watch));
}

/* ---- reloading ---- */

static void log_problems(struct broker_watch *watch, const struct m5_problems *problems)
{
    for (uint32_t i = 0; i < problems->count; i++) {
        char text[1024];
        if (problems->items[i].level != M5_PROBLEM_ERROR)
            continue;
        m5_problem_format(&problems->items[i], text, sizeof text);
        m5_log_note(&watch->reload_log, M5_LOG_FILES_WRONG, "why", text);
    }
}

static void log_change(struct broker_watch *watch, const struct m5_config_change *change)
{
    static const char *const kinds[] = {"set", "added", "removed"};
    if (!m5_log_begin(&watch->reload_log,
                      change->reloadable ? M5_LOG_CONFIG_CHANGED : M5_LOG_CONFIG_RESTART))
        return;
    m5_log_text(&watch->reload_log, "key", m5_bytes_of(change->path));
    m5_log_word(&watch->reload_log, "change", kinds[change->kind]);
    if (change->from != NULL)
        m5_log_text(&watch->reload_log, "from", m5_bytes_of(change->from));
    if (change->to != NULL)
        m5_log_text(&watch->reload_log, "to", m5_bytes_of(change->to));
    m5_log_end(&watch->reload_log);
}

static void log_live(void *ctx, const struct m5_config_change *change)
{
    if (change->reloadable)
        log_change((struct broker_watch *)ctx, change);
}

static void log_restart(void *ctx, const struct m5_config_change *change)
{
    if (!change->reloadable)
        log_change((struct broker_watch *)ctx, change);
}

/* What counts now is told once, what waits for a restart with each reload. */
static void take_over(struct broker_watch *watch, struct m5_config *config)
{
    m5_config_diff(current(watch), config, log_live, watch);
    m5_config_diff(watch->started, config, log_restart, watch);
    m5_config_free(watch->config);
    watch->config = config;
    m5_log_sink_level(&watch->sink, m5_config_options(config)->log_level);
    m5_log_note(&watch->reload_log, M5_LOG_FILES_RELOADED, "cause", watch->cause);
}

/* Makes the broker do what @p config says; false when it stays as it was. */
static bool apply(struct broker_watch *watch, const struct m5_config *config)
{
    struct mqtt5_broker_change change;
    const char *why;
    const enum mqtt5_error error =
        mqtt5_broker_reconfigure(watch->broker, m5_config_options(config), &change, &why);
    if (error != MQTT5_OK)
        m5_log_note(&watch->reload_log, M5_LOG_FILES_WRONG, "why", why);
    return error == MQTT5_OK || error == MQTT5_ERR_IO; /* else nothing has changed */
}

static void *reload(void *ctx)
{
    struct broker_watch *watch = (struct broker_watch *)ctx;
    struct m5_problems problems;
    m5_problems_init(&problems);
    struct m5_config *config = cli_broker_configure(watch->call, &problems);
    if (config == NULL || problems.errors > 0) {
        log_problems(watch, &problems);
        m5_config_free(config);
    } else if (apply(watch, config)) {
        take_over(watch, config);
    } else {
        m5_config_free(config);
    }
    m5_log_flush(&watch->reload_log);
    m5_problems_fini(&problems);
    eventfd_write(watch->fds[SOURCE_RELOADED], 1);
    return NULL;
}

static void start_reload(struct broker_watch *watch, const char *cause)
{
    if (watch->is_reloading) {
        watch->again = true;
        return;
    }
    watch->cause = cause;
    watch->is_reloading = m5_thread_start(&watch->thread, reload, watch) == 0;
    if (!watch->is_reloading)
        m5_log_note(&watch->log, M5_LOG_FILES_WRONG, "why", "no thread for a reload: try again");
}

static void join(struct broker_watch *watch)
{
    if (watch->is_reloading)
        pthread_join(watch->thread, NULL);
    watch->is_reloading = false;
}

/* ---- what happens ---- */

static void on_signal(struct broker_watch *watch)
{
    struct signalfd_siginfo info;
    while (read(watch->fds[SOURCE_SIGNAL], &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            start_reload(watch, "SIGHUP");
            continue;
        }
        if (watch->stopping)
            _exit(CLI_FAILED); /* asked twice: at once */
        watch->stopping = true;
        m5_log_note(&watch->log, M5_LOG_SIGNAL_RECEIVED, "signal", signal_name(info.ssi_signo));
        m5_notify("STOPPING=1");
        mqtt5_broker_stop(watch->broker);
    }
}

static void on_files(struct broker_watch *watch)
{
    static const struct itimerspec settle = {.it_value = {.tv_nsec = SETTLE_MS * 1000000L}};
    char events[4096];
    while (read(watch->fds[SOURCE_FILES], events, sizeof events) > 0)
        continue;
    timerfd_settime(watch->fds[SOURCE_TIMER], 0, &settle, NULL);
}

static void on_timer(struct broker_watch *watch)
{
    uint64_t times;
    if (read(watch->fds[SOURCE_TIMER], &times, sizeof times) != (ssize_t)sizeof times)
        return;
    if (watch->is_reloading) {
        watch->again = true; /* the files may be others than those that are being read */
        return;
    }
    const uint64_t now = fingerprint(current(watch));
    if (now == watch->seen || !m5_config_watches(current(watch)))
        return;
    watch->seen = now;
    start_reload(watch, "a file has changed");
}

static void on_reloaded(struct broker_watch *watch)
{
    eventfd_t times;
    eventfd_read(watch->fds[SOURCE_RELOADED], &times);
    join(watch);
    const uint64_t before = watch->seen;
    watch_folders(watch);
    if (watch->again || watch->seen != before) {
        watch->again = false;
        start_reload(watch, watch->cause);
    }
}

static void on_ready(void *ctx)
{
    struct broker_watch *watch = (struct broker_watch *)ctx;
    static void (*const handlers[])(struct broker_watch *) = {
        [SOURCE_SIGNAL] = on_signal,
        [SOURCE_FILES] = on_files,
        [SOURCE_TIMER] = on_timer,
        [SOURCE_RELOADED] = on_reloaded,
    };
    struct epoll_event events[SOURCE_COUNT];
    const int count = epoll_wait(watch->all, events, SOURCE_COUNT, 0);
    for (int i = 0; i < count; i++)
        handlers[events[i].data.u32](watch);
}

/* ---- beginning and end ---- */

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static bool open_sources(struct broker_watch *watch)
{
    watch->all = epoll_create1(EPOLL_CLOEXEC);
    watch->fds[SOURCE_SIGNAL] = open_signals();
    watch->fds[SOURCE_FILES] = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    watch->fds[SOURCE_TIMER] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    watch->fds[SOURCE_RELOADED] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    bool ok = watch->all >= 0;
    for (uint32_t i = 0; i < SOURCE_COUNT && ok; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = i}};
        ok = watch->fds[i] >= 0 && epoll_ctl(watch->all, EPOLL_CTL_ADD, watch->fds[i], &event) == 0;
    }
    return ok;
}

struct broker_watch *cli_broker_watch_new(const struct cli_call *call, struct m5_config *config)
{
    struct broker_watch *watch = (struct broker_watch *)calloc(1, sizeof *watch);
    if (watch == NULL) {
        m5_config_free(config);
        return NULL;
    }
    watch->call = call;
    watch->started = config;
    m5_log_sink_init(&watch->sink, m5_config_options(config));
    m5_log_init(&watch->log, &watch->sink);
    m5_log_init(&watch->reload_log, &watch->sink);
    if (open_sources(watch))
        return watch;
    const int error = errno;
    cli_broker_watch_free(watch);
    errno = error;
    return NULL;
}

bool cli_broker_watch_start(struct broker_watch *watch, struct mqtt5_broker *broker)
{
    watch->broker = broker;
    watch_folders(watch);
    return m5_broker_watch(broker, watch->all, on_ready, watch);
}

void cli_broker_watch_free(struct broker_watch *watch)
{
    if (watch == NULL)
        return;
    join(watch);
    for (int i = 0; i < SOURCE_COUNT; i++)
        if (watch->fds[i] >= 0)
            close(watch->fds[i]);
    if (watch->all >= 0)
        close(watch->all);
    m5_log_sink_fini(&watch->sink);
    m5_config_free(watch->config);
    m5_config_free(watch->started);
    free(watch);
}
