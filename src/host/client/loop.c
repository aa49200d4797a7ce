/* Many clients on one thread: a loop, a timer wheel, and a list of those that want a turn.
 *
 * A client is in the run list when its descriptor is ready, its deadline has come, or somebody has
 * woken it. Only the loop's thread does turns, and only it takes a client off: whoever frees one
 * from elsewhere asks for that and waits.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "host/loop.h"

#include "base/alloc.h"
#include "host/client/host.h"
#include "host/thread.h"

#include <limits.h>
#include <stdlib.h>

struct mqtt5_client_loop {
    struct m5_loop base;
    pthread_t thread;
    atomic_bool stopping;
    struct m5_timer_wheel wheel; /* of the thread alone */
    struct m5_list run;          /* likewise */
    pthread_mutex_t lock;
    struct m5_list woken; /* guarded by the lock */
};

bool m5_client_host_on_loop_thread(const struct mqtt5_client *client)
{
    return client->loop != NULL && pthread_equal(client->loop->thread, pthread_self());
}

void m5_client_host_loop_add(struct mqtt5_client *client)
{
    client->link.epoll_fd = client->loop->base.epoll_fd;
}

void m5_client_host_loop_wake(struct mqtt5_client *client)
{
    struct mqtt5_client_loop *loop = client->loop;
    pthread_mutex_lock(&loop->lock);
    const bool first = !client->woken;
    client->woken = true;
    if (first)
        m5_list_push_back(&loop->woken, &client->woken_node);
    pthread_mutex_unlock(&loop->lock);
    if (first)
        m5_loop_wake(&loop->base);
}

/* ---- turns ---- */

static void want_turn(struct mqtt5_client_loop *loop, struct mqtt5_client *client)
{
    if (!m5_list_linked(&client->run_node))
        m5_list_push_back(&loop->run, &client->run_node);
}

/* Takes @p client out of everything; on the loop's thread. The link goes with it: the epoll must
 * not name a client that is about to be freed. */
static void detach(struct mqtt5_client_loop *loop, struct mqtt5_client *client)
{
    m5_client_host_stop(client);
    m5_client_host_drop_link(client);
    m5_timer_stop(&loop->wheel, &client->timer);
    m5_list_remove(&client->run_node);
    pthread_mutex_lock(&loop->lock);
    m5_list_remove(&client->woken_node);
    client->woken = true; /* nobody adds it again */
    pthread_mutex_unlock(&loop->lock);
    client->left = true;
    pthread_cond_broadcast(&client->changed);
}

static void set_timer(struct mqtt5_client_loop *loop, struct mqtt5_client *client)
{
    const int wait = m5_client_host_wait_ms(client, MQTT5_FOREVER);
    if (wait < 0)
        m5_timer_stop(&loop->wheel, &client->timer);
    else
        m5_timer_start(&loop->wheel, &client->timer, m5_client_host_clock_ms() + (uint64_t)wait);
}

static void run_client(struct mqtt5_client_loop *loop, struct mqtt5_client *client)
{
    pthread_mutex_lock(&client->lock);
    m5_list_remove(&client->run_node);
    if (client->leaving) {
        detach(loop, client);
        pthread_mutex_unlock(&client->lock);
        return;
    }
    m5_client_host_pump_begin(client);
    const bool progress = m5_client_host_turn(client);
    if (client->free_asked) {
        detach(loop, client);
        m5_client_host_pump_end(client);
        while (client->waiters > 0)
            pthread_cond_wait(&client->changed, &client->lock);
        m5_client_host_destroy(client);
        return;
    }
    m5_client_host_watch(client);
    m5_client_host_pump_end(client);
    if (progress) {
        want_turn(loop, client);
    } else {
        m5_client_relax(client->engine);
        m5_link_relax(&client->link);
        set_timer(loop, client);
    }
    pthread_mutex_unlock(&client->lock);
}

static void collect_woken(struct mqtt5_client_loop *loop)
{
    struct m5_list *node;
    pthread_mutex_lock(&loop->lock);
    while ((node = m5_list_pop_front(&loop->woken)) != NULL) {
        struct mqtt5_client *client = M5_CONTAINER_OF(node, struct mqtt5_client, woken_node);
        client->woken = false;
        want_turn(loop, client);
    }
    pthread_mutex_unlock(&loop->lock);
}

static int wait_ms(const struct mqtt5_client_loop *loop)
{
    const uint64_t now = m5_client_host_clock_ms(), next = m5_timer_next_deadline(&loop->wheel);
    if (!m5_list_empty(&loop->run) || next <= now)
        return 0;
    if (next == M5_NEVER)
        return -1;
    return next - now > INT_MAX ? INT_MAX : (int)(next - now);
}

/* One turn of each client that wants one; those that want another come after all others. */
static void run_all(struct mqtt5_client_loop *loop)
{
    struct m5_list end;
    m5_list_init(&end);
    m5_list_push_back(&loop->run, &end);
    while (loop->run.next != &end)
        run_client(loop, M5_CONTAINER_OF(loop->run.next, struct mqtt5_client, run_node));
    m5_list_remove(&end);
}

static void *run_thread(void *argument)
{
    struct mqtt5_client_loop *loop = argument;
    while (!atomic_load(&loop->stopping)) {
        const unsigned count = m5_loop_wait(&loop->base, wait_ms(loop));
        (void)m5_loop_awake(&loop->base);
        for (unsigned i = 0; i < count; i++) {
            struct mqtt5_client *client = m5_loop_event(&loop->base, i).handle;
            client->ready = true; /* of the pump, which is this thread */
            want_turn(loop, client);
        }
        collect_woken(loop);
        struct m5_timer *timer;
        m5_timer_advance(&loop->wheel, m5_client_host_clock_ms());
        while ((timer = m5_timer_pop(&loop->wheel)) != NULL)
            want_turn(loop, M5_CONTAINER_OF(timer, struct mqtt5_client, timer));
        run_all(loop);
    }
    return NULL;
}

/* ---- life ---- */

void m5_client_host_loop_leave(struct mqtt5_client *client)
{
    if (m5_client_host_on_loop_thread(client)) {
        detach(client->loop, client);
        return;
    }
    client->leaving = true;
    m5_client_host_loop_wake(client);
    while (!client->left)
        pthread_cond_wait(&client->changed, &client->lock);
}

enum mqtt5_error mqtt5_client_loop_new(struct mqtt5_client_loop **out)
{
    *out = NULL;
    struct mqtt5_client_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return MQTT5_ERR_NOMEM;
    m5_list_init(&loop->run);
    m5_list_init(&loop->woken);
    m5_timer_wheel_init(&loop->wheel, m5_client_host_clock_ms());
    pthread_mutex_init(&loop->lock, NULL);
    enum mqtt5_error error = MQTT5_OK;
    if (!m5_loop_init(&loop->base))
        error = MQTT5_ERR_IO;
    else if (m5_thread_start(&loop->thread, run_thread, loop) != 0)
        error = MQTT5_ERR_NOMEM;
    if (error == MQTT5_OK) {
        *out = loop;
        return MQTT5_OK;
    }
    m5_loop_fini(&loop->base);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
    return error;
}

void mqtt5_client_loop_free(struct mqtt5_client_loop *loop)
{
    if (loop == NULL)
        return;
    atomic_store(&loop->stopping, true);
    m5_loop_wake(&loop->base);
    pthread_join(loop->thread, NULL);
    m5_loop_fini(&loop->base);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}
