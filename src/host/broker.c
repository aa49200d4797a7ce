/* mqtt5_broker: an engine, its workers and their listening sockets.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/broker.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "broker/engine.h"
#include "host/admission.h"
#include "host/broker.h"
#include "host/clock.h"
#include "host/dynsec/dynsec.h"
#include "host/listener.h"
#include "host/listeners.h"
#include "host/persistence.h"
#include "host/thread.h"
#include "host/worker.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define DESCRIPTORS_A_SHARD 8 /* event loop, wake-up, reserve, a few listeners */

struct mqtt5_broker {
    struct m5_crew crew;
    struct m5_log_sink sink;
    struct m5_log log; /* of the thread that makes and runs the broker */
    struct m5_persistence persistence;
    struct m5_access access; /* what the engine asks when there is a policy */
    struct m5_listeners listeners;
    pthread_mutex_t keys_mutex;
    struct m5_log keys_log; /* of the threads that read keys; under the mutex */
    char *dynsec_path;      /* owned copy, or NULL */
    bool ran;
};

/* Sentences for people; the last one of this thread. */
static _Thread_local char sentence[512];

__attribute__((format(printf, 2, 3))) static enum mqtt5_error fail(enum mqtt5_error error,
                                                                   const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return error;
}

/* ---- memory ---- */

static void *malloc_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void malloc_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct mqtt5_allocator malloc_allocator = {.alloc = malloc_alloc, .free = malloc_free};

/* ---- making ---- */

static uint32_t core_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    const int count = CPU_COUNT(&set);
    return count < 1 ? 1 : count > M5_SHARDS_MAX ? M5_SHARDS_MAX : (uint32_t)count;
}

static bool checks_logins(const struct mqtt5_auth_options *auth)
{
    return auth->password_file != NULL || auth->scram_file != NULL || auth->jwt_issuer_count > 0 ||
           auth->http.uri != NULL;
}

static bool lets_somebody_in(const struct mqtt5_broker_options *options,
                             const struct mqtt5_listener *listener)
{
    const struct mqtt5_auth_options *auth =
        listener->auth != NULL ? listener->auth : &options->auth;
    const struct mqtt5_tls_server_options *tls = listener->tls;
    const bool named =
        listener->proxy_identity ||
        (tls != NULL && (tls->identity != MQTT5_TLS_IDENTITY_NONE || tls->psk_file != NULL));
    return named || options->dynamic_security_file != NULL || auth->allow_anonymous ||
           checks_logins(auth) || (listener->auth == NULL && options->config.allow_anonymous);
}

static enum mqtt5_error check_options(const struct mqtt5_broker_options *options)
{
    const char *why;
    if (options->struct_size != sizeof *options)
        return fail(MQTT5_ERR_CONFIG, "call mqtt5_broker_options_init() first");
    if (options->workers > M5_SHARDS_MAX)
        return fail(MQTT5_ERR_CONFIG, "workers must be 0 (one per core) to %d", M5_SHARDS_MAX);
    if (mqtt5_broker_config_check(&options->config, &why) != MQTT5_OK)
        return fail(MQTT5_ERR_CONFIG, "%s", why);
    for (size_t i = 0; i < options->listener_count; i++)
        if (!lets_somebody_in(options, &options->listeners[i]))
            return fail(MQTT5_ERR_CONFIG, "nobody could connect: give a password_file, or set "
                                          "config.allow_anonymous for these listeners");
    return MQTT5_OK;
}

/* A broker that takes more than this would take the machine down with it. 0 when not known. */
static size_t three_quarters_of_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_size > 0 ? (size_t)pages / 4 * 3 * (size_t)page_size : 0;
}

/* The default listeners are on loopback only: without passwords everybody on this machine is
 * served. */
static bool allows_anonymous(const struct mqtt5_broker_options *options)
{
    return options->config.allow_anonymous || options->auth.allow_anonymous ||
           (options->listener_count == 0 && !checks_logins(&options->auth) &&
            options->dynamic_security_file == NULL);
}

static enum mqtt5_error make_dynsec(struct mqtt5_broker *broker,
                                    const struct mqtt5_broker_options *options)
{
    struct m5_text_error wrong = {0};
    struct m5_crew *crew = &broker->crew;
    char error[M5_POLICY_ERROR_SIZE];
    if (options->dynamic_security_file == NULL)
        return MQTT5_OK;
    broker->dynsec_path = strdup(options->dynamic_security_file);
    if (broker->dynsec_path == NULL)
        return fail(MQTT5_ERR_NOMEM, "no memory for the broker");
    crew->dynsec =
        m5_dynsec_new(crew->allocator, broker->dynsec_path, &m5_verifier_defaults, &wrong);
    if (crew->dynsec == NULL) {
        m5_text_error_format(&wrong, broker->dynsec_path, error, sizeof error);
        return fail(MQTT5_ERR_CONFIG, "%s", error);
    }
    crew->desk = m5_desk_new(crew->dynsec);
    return crew->desk != NULL ? MQTT5_OK : fail(MQTT5_ERR_NOMEM, "no thread for commands");
}

/* On the thread of an issuer of tokens. */
static void tell_keys(void *ctx, const char *issuer, const char *why)
{
    struct mqtt5_broker *broker = (struct mqtt5_broker *)ctx;
    pthread_mutex_lock(&broker->keys_mutex);
    if (m5_log_begin(&broker->keys_log, why == NULL ? M5_LOG_KEYS_READ : M5_LOG_KEYS_FAILING)) {
        m5_log_text(&broker->keys_log, "issuer", m5_bytes_of(issuer));
        if (why != NULL)
            m5_log_text(&broker->keys_log, "why", m5_bytes_of(why));
        m5_log_end(&broker->keys_log);
    }
    m5_log_flush(&broker->keys_log);
    pthread_mutex_unlock(&broker->keys_mutex);
}

/* Calls m5_policy_new() or m5_policy_change() with what @p options say of logins. */
static enum mqtt5_error set_policy(struct mqtt5_broker *broker,
                                   const struct mqtt5_broker_options *options)
{
    uint32_t slots[M5_LISTENERS_MAX];
    struct m5_policy_listener own[M5_LISTENERS_MAX];
    struct mqtt5_auth_options auth = options->auth;
    struct m5_policy_options policy;
    char error[M5_POLICY_ERROR_SIZE];
    const enum mqtt5_error assigned =
        m5_listeners_assign(&broker->listeners, options, slots, sentence);
    if (assigned != MQTT5_OK)
        return assigned;
    m5_policy_options_init(&policy);
    auth.allow_anonymous = allows_anonymous(options);
    policy.auth = &auth;
    policy.report = (struct m5_issuer_report){.tell = tell_keys, .ctx = broker};
    policy.listeners = own;
    policy.acl_file = options->acl_file;
    policy.ban_file = options->ban_file;
    policy.dynsec = broker->crew.dynsec;
    for (size_t i = 0; i < options->listener_count; i++)
        if (options->listeners[i].auth != NULL)
            own[policy.listener_count++] =
                (struct m5_policy_listener){slots[i], options->listeners[i].auth};
    bool set;
    if (broker->crew.policy != NULL) {
        set = m5_policy_change(broker->crew.policy, &policy, error);
    } else {
        broker->crew.policy = m5_policy_new(broker->crew.allocator, &policy, error);
        set = broker->crew.policy != NULL;
        if (set)
            m5_policy_bind(broker->crew.policy, &broker->access);
    }
    if (set)
        return MQTT5_OK;
    return fail(m5_policy_no_memory(error) ? MQTT5_ERR_NOMEM : MQTT5_ERR_CONFIG, "%s", error);
}

static enum mqtt5_error make_engine(struct mqtt5_broker *broker,
                                    const struct mqtt5_broker_options *options)
{
    struct mqtt5_broker_config config = options->config;
    config.allow_anonymous = allows_anonymous(options);
    if (config.memory_max == 0)
        config.memory_max = three_quarters_of_memory();
    struct m5_engine_env env = {
        .allocator = broker->crew.allocator,
        .shard_count = broker->crew.worker_count,
        .now_ms = m5_clock_ms(),
        .wall_ms = m5_clock_wall_ms(),
        .access = &broker->access,
        .store = options->storage_dir != NULL,
        .control_topic = broker->crew.dynsec != NULL ? M5_DYNSEC_TOPIC : NULL,
        .events = true, /* the level may change while it runs */
    };
    if (getrandom(env.seed, sizeof env.seed, 0) != (ssize_t)sizeof env.seed)
        return fail(MQTT5_ERR_IO, "the system gives no random numbers: %s", strerror(errno));
    broker->crew.engine = m5_engine_new(&config, &env);
    if (broker->crew.engine == NULL)
        return fail(MQTT5_ERR_NOMEM, "no memory for the broker");
    return MQTT5_OK;
}

static enum mqtt5_error make_workers(struct m5_crew *crew)
{
    crew->admission = m5_admission_new(crew->allocator);
    if (crew->admission == NULL)
        return fail(MQTT5_ERR_NOMEM, "no memory for the listeners");
    crew->workers = (struct m5_worker *)m5_alloc_zero(crew->allocator,
                                                      crew->worker_count * sizeof *crew->workers);
    if (crew->workers == NULL)
        return fail(MQTT5_ERR_NOMEM, "no memory for the workers");
    for (uint32_t i = 0; i < crew->worker_count; i++)
        if (!m5_worker_init(&crew->workers[i], crew, i))
            return fail(MQTT5_ERR_IO, "cannot make an event loop: %s", strerror(errno));
    return MQTT5_OK;
}

static void log_start(struct mqtt5_broker *broker, const struct mqtt5_broker_options *options,
                      uint64_t descriptors)
{
    const uint64_t wanted = (uint64_t)options->config.connections_max +
                            (uint64_t)broker->crew.worker_count * DESCRIPTORS_A_SHARD;
    if (m5_log_begin(&broker->log, M5_LOG_BROKER_STARTING)) {
        m5_log_number(&broker->log, "workers", broker->crew.worker_count);
        m5_log_number(&broker->log, "pid", (uint64_t)getpid());
        m5_log_end(&broker->log);
    }
    if (descriptors < wanted && m5_log_begin(&broker->log, M5_LOG_DESCRIPTORS_FEW)) {
        m5_log_number(&broker->log, "descriptors", descriptors);
        m5_log_number(&broker->log, "connections_max", options->config.connections_max);
        m5_log_text(&broker->log, "hint",
                    m5_bytes_of("raise the limit of open files (ulimit -n) or lower the maximum"));
        m5_log_end(&broker->log);
    }
}

static enum mqtt5_error open_store(struct mqtt5_broker *broker,
                                   const struct mqtt5_broker_options *options)
{
    char why[M5_STORE_WHY_SIZE];
    const enum mqtt5_error error =
        m5_persistence_open(&broker->persistence, &broker->crew, options, &broker->log, why);
    return error == MQTT5_OK ? MQTT5_OK : fail(error, "%s", why);
}

static enum mqtt5_error make(struct mqtt5_broker *broker,
                             const struct mqtt5_broker_options *options)
{
    enum mqtt5_error error = make_dynsec(broker, options);
    if (error == MQTT5_OK)
        error = set_policy(broker, options);
    if (error == MQTT5_OK)
        error = make_engine(broker, options);
    if (error == MQTT5_OK)
        error = make_workers(&broker->crew);
    if (error != MQTT5_OK)
        return error;
    log_start(broker, options, m5_raise_descriptor_limit());
    error = m5_listeners_open(&broker->listeners, options, sentence);
    if (error == MQTT5_OK && options->storage_dir != NULL)
        error = open_store(broker, options);
    m5_log_flush(&broker->log);
    return error;
}

void mqtt5_broker_options_init(struct mqtt5_broker_options *options)
{
    *options =
        (struct mqtt5_broker_options){.struct_size = sizeof *options, .log_level = MQTT5_LOG_INFO};
    mqtt5_broker_config_init(&options->config);
}

enum mqtt5_error mqtt5_broker_new(const struct mqtt5_broker_options *options,
                                  struct mqtt5_broker **out, const char **why)
{
    *out = NULL;
    if (why != NULL)
        *why = sentence;
    enum mqtt5_error error = check_options(options);
    if (error != MQTT5_OK)
        return error;
    const struct mqtt5_allocator *allocator =
        options->allocator != NULL ? options->allocator : &malloc_allocator;
    struct mqtt5_broker *broker = (struct mqtt5_broker *)m5_alloc_zero(allocator, sizeof *broker);
    if (broker == NULL)
        return fail(MQTT5_ERR_NOMEM, "no memory for the broker");
    broker->crew.allocator = allocator;
    broker->crew.worker_count = options->workers == 0 ? core_count() : options->workers;
    broker->crew.sink = &broker->sink;
    pthread_mutex_init(&broker->crew.config_mutex, NULL);
    m5_log_sink_init(&broker->sink, options);
    m5_log_init(&broker->log, &broker->sink);
    m5_log_init(&broker->keys_log, &broker->sink);
    pthread_mutex_init(&broker->keys_mutex, NULL);
    m5_listeners_init(&broker->listeners, &broker->crew, &broker->log);
    error = make(broker, options);
    if (error == MQTT5_OK)
        *out = broker;
    else
        mqtt5_broker_free(broker);
    return error;
}

bool m5_broker_watch(struct mqtt5_broker *broker, int fd, void (*ready)(void *ctx), void *ctx)
{
    struct m5_worker *worker = &broker->crew.workers[0];
    worker->guest = (struct m5_watch){.fd = fd, .flags = M5_WATCH_GUEST};
    worker->guest_ready = ready;
    worker->guest_ctx = ctx;
    return m5_loop_add(&worker->loop, fd, &worker->guest, M5_LOOP_READ);
}

/* ---- running ---- */

static void *run_thread(void *worker)
{
    return m5_worker_run((struct m5_worker *)worker) ? worker : NULL;
}

enum mqtt5_error mqtt5_broker_run(struct mqtt5_broker *broker)
{
    struct m5_crew *crew = &broker->crew;
    if (broker->ran)
        return MQTT5_ERR_CLOSED;
    broker->ran = true;
    if (!m5_persistence_start(&broker->persistence))
        return MQTT5_ERR_IO;
    uint32_t started = 1;
    while (started < crew->worker_count &&
           m5_thread_start(&crew->workers[started].thread, run_thread, &crew->workers[started]) ==
               0)
        started++;
    bool ok = started == crew->worker_count;
    if (!ok)
        mqtt5_broker_stop(broker);
    ok = m5_worker_run(&crew->workers[0]) && ok;
    for (uint32_t i = 1; i < started; i++) {
        void *result;
        pthread_join(crew->workers[i].thread, &result);
        ok = result != NULL && ok;
    }
    ok = m5_persistence_stop(&broker->persistence, &broker->log) && ok;
    m5_log_note(&broker->log, M5_LOG_BROKER_STOPPED, "result", ok ? "ok" : "failed");
    return ok ? MQTT5_OK : MQTT5_ERR_IO;
}

enum mqtt5_error mqtt5_broker_reload(struct mqtt5_broker *broker, const char **why)
{
    char error[M5_POLICY_ERROR_SIZE];
    if (why != NULL)
        *why = sentence;
    if (m5_policy_reload(broker->crew.policy, error))
        return MQTT5_OK;
    return fail(MQTT5_ERR_CONFIG, "%s", error);
}

enum mqtt5_error mqtt5_broker_reconfigure(struct mqtt5_broker *broker,
                                          const struct mqtt5_broker_options *options,
                                          struct mqtt5_broker_change *out, const char **why)
{
    if (why != NULL)
        *why = sentence;
    if (out != NULL)
        *out = (struct mqtt5_broker_change){0};
    struct m5_listeners_change change;
    enum mqtt5_error error = check_options(options);
    if (error == MQTT5_OK)
        error = m5_listeners_check(&broker->listeners, options, sentence);
    if (error == MQTT5_OK)
        error = set_policy(broker, options);
    if (error != MQTT5_OK)
        return error;
    struct mqtt5_broker_config config = options->config;
    config.allow_anonymous = allows_anonymous(options);
    m5_crew_reconfigure(&broker->crew, &config);
    m5_log_sink_level(&broker->sink, options->log_level);
    m5_listeners_change(&broker->listeners, options, &change);
    if (out != NULL)
        *out = (struct mqtt5_broker_change){.listeners_opened = change.opened,
                                            .listeners_closed = change.closed,
                                            .listeners_changed = change.changed,
                                            .listeners_failed = change.failed};
    return change.failed == 0 ? MQTT5_OK : fail(MQTT5_ERR_IO, "%s", change.why);
}

void mqtt5_broker_stop(struct mqtt5_broker *broker)
{
    m5_crew_stop(&broker->crew);
}

uint16_t mqtt5_broker_port(const struct mqtt5_broker *broker, size_t index)
{
    return m5_listeners_port(&broker->listeners, index);
}

void mqtt5_broker_free(struct mqtt5_broker *broker)
{
    if (broker == NULL)
        return;
    struct m5_crew *crew = &broker->crew;
    const struct mqtt5_allocator *allocator = crew->allocator;
    m5_persistence_close(&broker->persistence);
    m5_desk_free(crew->desk); /* these end their threads, which answer to the workers */
    m5_policy_free(crew->policy);
    m5_dynsec_free(crew->dynsec);
    free(broker->dynsec_path);
    for (uint32_t i = 0; crew->workers != NULL && i < crew->worker_count; i++)
        m5_worker_fini(&crew->workers[i]);
    if (broker->listeners.crew != NULL)
        m5_listeners_fini(&broker->listeners);
    m5_admission_free(crew->admission);
    m5_free(allocator, crew->workers, crew->worker_count * sizeof *crew->workers);
    if (crew->engine != NULL)
        m5_engine_free(crew->engine);
    pthread_mutex_destroy(&crew->config_mutex);
    pthread_mutex_destroy(&broker->keys_mutex);
    m5_log_sink_fini(&broker->sink);
    m5_free(allocator, broker, sizeof *broker);
}
