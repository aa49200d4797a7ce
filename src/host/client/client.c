/* The public client: its life, connecting and disconnecting, looking at it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "host/client/host.h"
#include "host/client/mock.h"
#include "host/client/queue_file.h"
#include "host/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* ---- memory ---- */

static void *libc_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void libc_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

const struct mqtt5_allocator m5_client_host_malloc = {.alloc = libc_alloc, .free = libc_free};

/* ---- life ---- */

static void init_lock(struct mqtt5_client *client)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&client->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&client->lock, NULL);
}

/* What a client on its own waits with; one on a loop needs none of it. */
static bool open_descriptors(struct mqtt5_client *client)
{
    if (client->loop != NULL || client->mock != NULL)
        return true;
    struct epoll_event event = {.events = EPOLLIN}; /* data.ptr NULL: the wake */
    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    client->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    client->link.epoll_fd = client->epoll_fd;
    return client->epoll_fd >= 0 && client->wake_fd >= 0 &&
           epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->wake_fd, &event) == 0;
}

static void close_descriptors(struct mqtt5_client *client)
{
    if (client->wake_fd >= 0)
        close(client->wake_fd);
    if (client->epoll_fd >= 0)
        close(client->epoll_fd);
}

static uint64_t seed_of(const struct mqtt5_client_options *options)
{
    uint64_t seed = options->seed;
    if (seed == 0 && getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = m5_client_host_clock_ms(); /* jitter and correlation need no secret */
    return seed;
}

static void init_fields(struct mqtt5_client *client, const struct mqtt5_client_options *options,
                        uint64_t seed)
{
    client->loop = options->loop;
    client->epoll_fd = client->wake_fd = -1;
    client->link = (struct m5_link){
        .fd = -1, .epoll_fd = -1, .handle = client, .allocator = client->allocator};
    m5_list_init(&client->handlers);
    m5_list_init(&client->woken_node);
    m5_list_init(&client->run_node);
    m5_timer_init(&client->timer);
    m5_route_init(&client->route, client->allocator, seed);
}

static enum mqtt5_error take_home(struct mqtt5_client *client, const char *url)
{
    if (url == NULL)
        return MQTT5_OK;
    const size_t size = strlen(url) + 1;
    client->options_url = m5_alloc(client->allocator, size);
    if (client->options_url == NULL)
        return MQTT5_ERR_NOMEM;
    memcpy(client->options_url, url, size);
    return MQTT5_OK;
}

static void free_text(struct mqtt5_client *client, char *text)
{
    if (text != NULL)
        m5_free(client->allocator, text, strlen(text) + 1);
}

static void give_back(struct mqtt5_client *client)
{
    m5_client_queue_close(client);
    m5_client_free(client->engine);
    m5_route_fini(&client->route);
    close_descriptors(client);
    free_text(client, client->course.home);
    free_text(client, client->course.url);
    free_text(client, client->options_url);
    free_text(client, client->response_prefix);
    m5_client_stack_free(client->stack);
    if (client->mock != NULL)
        m5_client_mock_free(client->mock);
    m5_free(client->allocator, client, sizeof *client);
}

/* Makes what may fail, in turn. */
static enum mqtt5_error equip(struct mqtt5_client *client,
                              const struct mqtt5_client_options *options, uint64_t seed)
{
    enum mqtt5_error error = m5_backoff_init(&client->course.backoff, &options->reconnect, seed);
    if (error == MQTT5_OK && options->rules != NULL)
        error = mqtt5_namespace_rules_check(options->rules);
    if (error == MQTT5_OK)
        error =
            m5_client_new(options, client->allocator, m5_client_host_now(client), &client->engine);
    if (error == MQTT5_OK)
        error = m5_client_stack_new(options, client->allocator, &client->stack);
    if (error == MQTT5_OK)
        error = take_home(client, options->url);
    if (error == MQTT5_OK && !open_descriptors(client))
        error = MQTT5_ERR_IO;
    if (error != MQTT5_OK)
        return error;
    client->config = m5_client_options(client->engine);
    return m5_client_queue_open(client, options);
}

enum mqtt5_error m5_client_host_new(const struct mqtt5_client_options *options,
                                    struct m5_client_mock *mock, struct mqtt5_client **out)
{
    *out = NULL;
    if (options->struct_size != sizeof *options)
        return MQTT5_ERR_CONFIG;
    const struct mqtt5_allocator *allocator =
        options->allocator != NULL ? options->allocator : &m5_client_host_malloc;
    struct mqtt5_client *client = m5_alloc_zero(allocator, sizeof *client);
    if (client == NULL)
        return MQTT5_ERR_NOMEM;
    const uint64_t seed = seed_of(options);
    client->allocator = allocator;
    client->mock = mock;
    init_fields(client, options, seed);
    const enum mqtt5_error error = equip(client, options, seed);
    if (error != MQTT5_OK) {
        client->mock = NULL; /* the caller's */
        give_back(client);
        return error;
    }
    init_lock(client);
    if (client->loop != NULL)
        m5_client_host_loop_add(client);
    *out = client;
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_client_new(const struct mqtt5_client_options *options,
                                  struct mqtt5_client **out)
{
    return m5_client_host_new(options, NULL, out);
}

void m5_client_host_destroy(struct mqtt5_client *client)
{
    client->free_asked = false;
    client->ending = true;
    m5_client_host_pump_begin(client);
    m5_client_host_stop(client);
    m5_client_host_drop_link(client);
    m5_client_abandon(client->engine);
    m5_client_host_drain(client); /* what was not complete ends here */
    m5_client_host_requests_free(client);
    m5_client_host_free_handlers(client);
    pthread_mutex_unlock(&client->lock);
    pthread_mutex_destroy(&client->lock);
    pthread_cond_destroy(&client->changed);
    give_back(client);
}

/* ---- the own thread ---- */

static void *run_thread(void *argument)
{
    struct mqtt5_client *client = argument;
    pthread_mutex_lock(&client->lock);
    while (client->pumping && !client->stopping && !client->free_asked)
        pthread_cond_wait(&client->changed, &client->lock);
    m5_client_host_pump_begin(client);
    while (!client->stopping && !client->free_asked) {
        const bool progress = m5_client_host_turn(client);
        if (!client->stopping && !client->free_asked)
            m5_client_host_sleep(client, progress ? 0 : MQTT5_FOREVER);
    }
    m5_client_host_pump_end(client);
    if (client->free_asked && !client->stopping) { /* by a callback: nobody joins this thread */
        pthread_detach(pthread_self());
        m5_client_host_destroy(client);
    } else {
        pthread_mutex_unlock(&client->lock);
    }
    return NULL;
}

static enum mqtt5_error start_thread(struct mqtt5_client *client)
{
    if (!client->config->own_thread || client->loop != NULL || client->mock != NULL ||
        client->has_thread)
        return MQTT5_OK;
    if (m5_thread_start(&client->thread, run_thread, client) != 0)
        return MQTT5_ERR_NOMEM;
    client->has_thread = true;
    return MQTT5_OK;
}

void mqtt5_client_free(struct mqtt5_client *client)
{
    if (client == NULL)
        return;
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_in_callback(client)) {
        client->free_asked = true; /* the pump does it */
        pthread_mutex_unlock(&client->lock);
        return;
    }
    client->stopping = true;
    m5_client_host_wake(client);
    pthread_cond_broadcast(&client->changed);
    if (client->loop != NULL)
        m5_client_host_loop_leave(client);
    if (client->has_thread) {
        pthread_mutex_unlock(&client->lock);
        pthread_join(client->thread, NULL);
        pthread_mutex_lock(&client->lock);
        client->has_thread = false;
    }
    while (client->pumping || client->waiters > 0)
        pthread_cond_wait(&client->changed, &client->lock);
    m5_client_host_destroy(client);
}

void mqtt5_client_wake(struct mqtt5_client *client)
{
    const uint64_t one = 1;
    if (client->wake_fd >= 0)
        (void)!write(client->wake_fd, &one, sizeof one); /* full: a wake-up is pending already */
}

int mqtt5_client_fd(struct mqtt5_client *client)
{
    pthread_mutex_lock(&client->lock);
    const bool users = !client->config->own_thread && client->loop == NULL;
    client->fd_given = client->fd_given || users;
    pthread_mutex_unlock(&client->lock);
    return users ? client->epoll_fd : -1;
}

uint32_t mqtt5_client_timeout_ms(struct mqtt5_client *client)
{
    pthread_mutex_lock(&client->lock);
    const int wait = m5_client_host_wait_ms(client, MQTT5_FOREVER);
    if (!client->pumping)
        m5_client_host_watch(client); /* what was queued since is sent when there is room */
    pthread_mutex_unlock(&client->lock);
    return wait < 0 ? MQTT5_FOREVER : (uint32_t)wait;
}

/* ---- connect, disconnect ---- */

static enum mqtt5_error begin_connect(struct mqtt5_client *client, const char *url,
                                      struct m5_client_op *op)
{
    const char *where = url != NULL ? url : client->options_url;
    m5_client_mock_note(client, MQTT5_MOCK_CONNECT, where, NULL, 0);
    enum mqtt5_error error = start_thread(client);
    if (error == MQTT5_OK)
        error = m5_client_host_connect(client, where, op);
    return error;
}

enum mqtt5_error mqtt5_client_connect_async(struct mqtt5_client *client, const char *url,
                                            mqtt5_client_done_fn *done, void *ctx)
{
    pthread_mutex_lock(&client->lock);
    struct m5_client_op *op = m5_client_host_op_new(client, done, ctx, 0);
    const enum mqtt5_error error = op == NULL ? MQTT5_ERR_NOMEM : begin_connect(client, url, op);
    if (error != MQTT5_OK)
        m5_client_host_op_free(client, op);
    pthread_mutex_unlock(&client->lock);
    return error;
}

static bool is_down(const struct mqtt5_client *client, const void *ctx)
{
    (void)ctx;
    return m5_client_host_is_down(client);
}

/* The caller has given up, so the attempts end; the operation finishes when that is shown. */
static void give_up(struct mqtt5_client *client)
{
    client->stopped_due = client->course.waiting;
    m5_client_host_stop(client);
    m5_client_fail(client->engine, MQTT5_ERR_TIMEOUT);
    m5_client_host_nudge(client);
    m5_client_host_wait(client, is_down, NULL, client->config->connect_timeout_ms);
}

enum mqtt5_error mqtt5_client_connect(struct mqtt5_client *client, const char *url,
                                      uint32_t timeout_ms)
{
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_may_not_wait(client))
        return m5_client_host_leave(client, MQTT5_ERR_INVALID_STATE);
    struct m5_client_op *op = m5_client_host_op_new(client, NULL, NULL, 0);
    if (op == NULL)
        return m5_client_host_leave(client, MQTT5_ERR_NOMEM);
    op->waited_for = true;
    enum mqtt5_error error = begin_connect(client, url, op);
    if (error != MQTT5_OK) {
        m5_client_host_op_free(client, op);
        return m5_client_host_leave(client, error);
    }
    error = m5_client_host_await(client, op, timeout_ms, NULL, NULL);
    if (error == MQTT5_ERR_TIMEOUT && !client->free_asked && client->connecting == op)
        give_up(client);
    return m5_client_host_leave(client, error);
}

/* Ends the connection, or the wait for the next one. */
static enum mqtt5_error begin_disconnect(struct mqtt5_client *client,
                                         const struct mqtt5_reasoned *disconnect)
{
    m5_client_mock_note(client, MQTT5_MOCK_DISCONNECT, NULL, NULL, 0);
    if (m5_client_host_state(client) == MQTT5_CLIENT_WAITING) {
        client->stopped_due = true;
        m5_client_host_stop(client);
    } else {
        const enum mqtt5_error error = m5_client_disconnect(client->engine, disconnect);
        if (error != MQTT5_OK)
            return error;
        client->course.wanted = false;
    }
    m5_client_host_nudge(client);
    return MQTT5_OK;
}

enum mqtt5_error mqtt5_client_disconnect_async(struct mqtt5_client *client,
                                               const struct mqtt5_reasoned *disconnect)
{
    pthread_mutex_lock(&client->lock);
    const enum mqtt5_error error = begin_disconnect(client, disconnect);
    pthread_mutex_unlock(&client->lock);
    return error;
}

static bool is_down_and_shown(const struct mqtt5_client *client, const void *ctx)
{
    return is_down(client, ctx) && !client->stopped_due;
}

enum mqtt5_error mqtt5_client_disconnect(struct mqtt5_client *client,
                                         const struct mqtt5_reasoned *disconnect,
                                         uint32_t timeout_ms)
{
    pthread_mutex_lock(&client->lock);
    if (m5_client_host_may_not_wait(client))
        return m5_client_host_leave(client, MQTT5_ERR_INVALID_STATE);
    enum mqtt5_error error = begin_disconnect(client, disconnect);
    if (error == MQTT5_OK && !m5_client_host_wait(client, is_down_and_shown, NULL, timeout_ms))
        error = MQTT5_ERR_TIMEOUT;
    return m5_client_host_leave(client, error);
}

enum mqtt5_error mqtt5_client_abort(struct mqtt5_client *client)
{
    pthread_mutex_lock(&client->lock);
    m5_client_mock_note(client, MQTT5_MOCK_ABORT, NULL, NULL, 0);
    if (m5_client_host_is_down(client)) {
        pthread_mutex_unlock(&client->lock);
        return MQTT5_ERR_INVALID_STATE;
    }
    client->stopped_due = client->course.waiting;
    m5_client_host_stop(client);
    m5_client_fail(client->engine, MQTT5_OK);
    m5_client_host_nudge(client);
    pthread_mutex_unlock(&client->lock);
    return MQTT5_OK;
}

/* ---- looking ---- */

void mqtt5_client_get_info(struct mqtt5_client *client, struct mqtt5_client_info *out)
{
    pthread_mutex_lock(&client->lock);
    m5_client_info(client->engine, out);
    out->state = m5_client_host_state(client);
    pthread_mutex_unlock(&client->lock);
}

size_t mqtt5_client_id(struct mqtt5_client *client, char *out, size_t size)
{
    pthread_mutex_lock(&client->lock);
    const struct mqtt5_bytes id = m5_client_id(client->engine);
    if (size > 0)
        snprintf(out, size, "%.*s", (int)id.len, (const char *)id.data);
    pthread_mutex_unlock(&client->lock);
    return id.len;
}

void mqtt5_client_url(struct mqtt5_client *client, char *out, size_t size)
{
    pthread_mutex_lock(&client->lock);
    snprintf(out, size, "%s", client->course.url != NULL ? client->course.url : "");
    pthread_mutex_unlock(&client->lock);
}

void mqtt5_client_why(struct mqtt5_client *client, char *out, size_t size)
{
    pthread_mutex_lock(&client->lock);
    snprintf(out, size, "%s", client->why);
    pthread_mutex_unlock(&client->lock);
}
