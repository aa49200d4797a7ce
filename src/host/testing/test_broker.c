/* The test broker: its thread, its clock, and what a test may ask of it.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "host/testing/testing.h"

#include <mqtt5/topic.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PUBLISHER_ID "mqtt5-test-broker"

static void *heap_alloc(void *ctx, size_t size)
{
    (void)ctx;
    return malloc(size);
}

static void heap_free(void *ctx, void *memory, size_t size)
{
    (void)ctx;
    (void)size;
    free(memory);
}

static const struct mqtt5_allocator heap = {.alloc = heap_alloc, .free = heap_free};

void *m5_test_alloc(size_t size)
{
    return calloc(1, size);
}

/* ---- time ---- */

static uint64_t system_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t m5_test_now_ms(const struct mqtt5_test_broker *broker)
{
    return broker->paused ? broker->paused_at_ms : system_ms() + broker->clock_offset_ms;
}

/* ---- the thread ---- */

static struct m5_test_link *link_of(struct m5_list *node)
{
    return M5_CONTAINER_OF(node, struct m5_test_link, node);
}

static void wake(const struct mqtt5_test_broker *broker)
{
    const uint64_t one = 1;
    (void)!write(broker->wake_fd, &one, sizeof one);
}

static void note_expired(struct mqtt5_test_broker *broker, const struct m5_event *event)
{
    if (event->type == M5_EVENT_SESSION_EXPIRED)
        m5_test_forget_session(broker, m5_bytes(event->client_id, event->client_id_size));
}

/* One turn of the engine, as engine.h tells it. */
static void turn(struct mqtt5_test_broker *broker)
{
    struct m5_conn *conn;
    struct m5_event event;
    struct m5_list *next;
    broker->busy = false;
    m5_shard_begin(broker->shard, m5_test_now_ms(broker));
    for (struct m5_list *at = broker->links.next; at != &broker->links; at = at->next)
        m5_test_link_input(link_of(at));
    (void)m5_shard_end(broker->shard);
    while ((conn = m5_shard_next_dirty(broker->shard)) != NULL)
        m5_test_link_output(m5_conn_host(conn));
    for (struct m5_list *at = broker->links.next; at != &broker->links; at = next) {
        next = at->next;
        (void)m5_test_link_flush(link_of(at));
    }
    while (m5_shard_next_event(broker->shard, &event))
        note_expired(broker, &event);
    pthread_cond_broadcast(&broker->changed);
}

static uint64_t next_due_ms(const struct mqtt5_test_broker *broker)
{
    uint64_t due_ms = m5_shard_deadline(broker->shard);
    for (struct m5_list *at = broker->links.next; at != &broker->links; at = at->next) {
        const uint64_t one = m5_test_link_due_ms(link_of(at));
        due_ms = one < due_ms ? one : due_ms;
    }
    return due_ms;
}

/* How long to sleep, as poll() has it. While the clock is paused what is not due never will be. */
static int sleep_ms(const struct mqtt5_test_broker *broker)
{
    const uint64_t now_ms = m5_test_now_ms(broker), due_ms = next_due_ms(broker);
    if (broker->busy || due_ms <= now_ms)
        return 0;
    if (broker->paused || due_ms == UINT64_MAX)
        return -1;
    return due_ms - now_ms < 60000 ? (int)(due_ms - now_ms) : 60000;
}

/* Fills @p items, of which there is one for each link and one for wake-ups; returns how many. */
static nfds_t watch(const struct mqtt5_test_broker *broker, struct pollfd *items)
{
    nfds_t count = 0;
    items[count++] = (struct pollfd){.fd = broker->wake_fd, .events = POLLIN};
    for (struct m5_list *at = broker->links.next; at != &broker->links; at = at->next) {
        const struct m5_test_link *link = link_of(at);
        const short events =
            (short)((m5_test_link_reads(link) ? POLLIN : 0) | (link->wire.size > 0 ? POLLOUT : 0));
        if (link->fd >= 0 && events != 0)
            items[count++] = (struct pollfd){.fd = link->fd, .events = events};
    }
    return count;
}

static uint32_t count_links(const struct mqtt5_test_broker *broker)
{
    uint32_t count = 0;
    for (struct m5_list *at = broker->links.next; at != &broker->links; at = at->next)
        count++;
    return count;
}

static void sleep_once(struct mqtt5_test_broker *broker)
{
    uint64_t wakes;
    struct pollfd *items = calloc(count_links(broker) + 1, sizeof *items);
    if (items == NULL) { /* better to be busy than to be dead */
        pthread_mutex_unlock(&broker->lock);
        sched_yield();
        pthread_mutex_lock(&broker->lock);
        return;
    }
    const nfds_t count = watch(broker, items);
    const int timeout = sleep_ms(broker);
    pthread_mutex_unlock(&broker->lock);
    (void)poll(items, count, timeout);
    (void)!read(broker->wake_fd, &wakes, sizeof wakes);
    pthread_mutex_lock(&broker->lock);
    free(items);
}

static void *work(void *argument)
{
    struct mqtt5_test_broker *broker = argument;
    pthread_mutex_lock(&broker->lock);
    while (!broker->stopping) {
        turn(broker);
        if (!broker->stopping)
            sleep_once(broker);
    }
    pthread_mutex_unlock(&broker->lock);
    return NULL;
}

/* ---- making ---- */

static enum mqtt5_error make_engine(struct mqtt5_test_broker *broker,
                                    const struct mqtt5_broker_config *config)
{
    struct m5_engine_env env = {
        .allocator = &heap,
        .shard_count = 1,
        .now_ms = m5_test_now_ms(broker),
        .events = true,
    };
    if (getrandom(env.seed, sizeof env.seed, 0) != (ssize_t)sizeof env.seed)
        return MQTT5_ERR_IO;
    broker->engine = m5_engine_new(config, &env);
    if (broker->engine == NULL)
        return MQTT5_ERR_NOMEM;
    broker->shard = m5_engine_shard(broker->engine, 0);
    broker->packet_size_max = config->maximum_packet_size;
    return MQTT5_OK;
}

/* Waits are in real time, by a clock that is not set. */
static bool make_locks(struct mqtt5_test_broker *broker)
{
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&broker->lock, NULL) != 0)
        return false;
    bool done = pthread_condattr_init(&attributes) == 0;
    if (done) {
        done = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
               pthread_cond_init(&broker->changed, &attributes) == 0;
        pthread_condattr_destroy(&attributes);
    }
    if (!done)
        pthread_mutex_destroy(&broker->lock);
    return done;
}

static void dispose(struct mqtt5_test_broker *broker)
{
    m5_engine_free(broker->engine);
    while (!m5_list_empty(&broker->links)) {
        link_of(broker->links.next)->conn = NULL; /* it has died with the engine */
        m5_test_link_free(link_of(broker->links.next));
    }
    m5_test_faults_clear(broker);
    m5_test_forget_session(broker, m5_bytes(NULL, 0));
    m5_test_history_clear(&broker->history);
    if (broker->wake_fd >= 0)
        close(broker->wake_fd);
    pthread_cond_destroy(&broker->changed);
    pthread_mutex_destroy(&broker->lock);
    free(broker->url);
    free(broker);
}

static enum mqtt5_error start(struct mqtt5_test_broker *broker,
                              const struct mqtt5_broker_config *config)
{
    broker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (broker->wake_fd < 0)
        return MQTT5_ERR_IO;
    const enum mqtt5_error error = make_engine(broker, config);
    if (error != MQTT5_OK)
        return error;
    return pthread_create(&broker->thread, NULL, work, broker) == 0 ? MQTT5_OK : MQTT5_ERR_IO;
}

enum mqtt5_error mqtt5_test_broker_new(const struct mqtt5_broker_config *config,
                                       struct mqtt5_test_broker **out)
{
    struct mqtt5_broker_config defaults;
    *out = NULL;
    mqtt5_broker_config_init(&defaults);
    defaults.allow_anonymous = true;
    defaults.sys_interval_s = 0;
    config = config == NULL ? &defaults : config;
    if (mqtt5_broker_config_check(config, NULL) != MQTT5_OK)
        return MQTT5_ERR_CONFIG;
    struct mqtt5_test_broker *broker = m5_test_alloc(sizeof *broker);
    if (broker == NULL)
        return MQTT5_ERR_NOMEM;
    broker->wake_fd = -1;
    m5_list_init(&broker->links);
    m5_list_init(&broker->rules);
    m5_list_init(&broker->subscriptions);
    mqtt5_test_limits_init(&broker->limits);
    if (!make_locks(broker)) {
        free(broker);
        return MQTT5_ERR_IO;
    }
    const enum mqtt5_error error = start(broker, config);
    if (error != MQTT5_OK)
        dispose(broker);
    else
        *out = broker;
    return error;
}

void mqtt5_test_broker_free(struct mqtt5_test_broker *broker)
{
    if (broker == NULL)
        return;
    pthread_mutex_lock(&broker->lock);
    broker->stopping = true;
    pthread_mutex_unlock(&broker->lock);
    wake(broker);
    pthread_join(broker->thread, NULL);
    dispose(broker);
}

/* ---- connections ---- */

/* With the lock held. The client's end, or -1 with errno. */
static int make_link(struct mqtt5_test_broker *broker)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
        return -1;
    struct m5_test_link *link = m5_test_link_new(broker, ends[1]);
    if (link == NULL) {
        close(ends[0]);
        close(ends[1]);
        errno = ENOMEM;
        return -1;
    }
    link->number = ++broker->links_made;
    wake(broker);
    return ends[0];
}

int mqtt5_test_broker_connect(struct mqtt5_test_broker *broker)
{
    pthread_mutex_lock(&broker->lock);
    const int fd = make_link(broker);
    pthread_mutex_unlock(&broker->lock);
    return fd;
}

int mqtt5_test_broker_dial(void *argument, const char *url, char *why, size_t why_size)
{
    struct mqtt5_test_broker *broker = argument;
    pthread_mutex_lock(&broker->lock);
    const bool refused = broker->refuse_dials_count > 0;
    if (refused && broker->refuse_dials_count != UINT32_MAX)
        broker->refuse_dials_count--;
    broker->dials++;
    free(broker->url);
    broker->url = url == NULL ? NULL : strdup(url);
    const int fd = refused ? -1 : make_link(broker);
    if (fd < 0 && why_size > 0)
        snprintf(why, why_size, "%s",
                 refused ? "the test broker refuses to be dialled" : "no more descriptors");
    pthread_cond_broadcast(&broker->changed);
    pthread_mutex_unlock(&broker->lock);
    return fd;
}

uint32_t mqtt5_test_broker_dials(struct mqtt5_test_broker *broker, char *url, size_t size)
{
    pthread_mutex_lock(&broker->lock);
    const uint32_t dials = broker->dials;
    if (url != NULL && size > 0)
        snprintf(url, size, "%s", broker->url == NULL ? "" : broker->url);
    pthread_mutex_unlock(&broker->lock);
    return dials;
}

/* Tells whether a wish of a test is about @p link. */
static bool is_meant(const struct m5_test_link *link, const char *client_id)
{
    return link->fd >= 0 && (client_id == NULL || m5_test_link_is(link, client_id));
}

void mqtt5_test_broker_cut(struct mqtt5_test_broker *broker, const char *client_id)
{
    pthread_mutex_lock(&broker->lock);
    for (struct m5_list *at = broker->links.next; at != &broker->links; at = at->next)
        link_of(at)->cut |= is_meant(link_of(at), client_id);
    pthread_mutex_unlock(&broker->lock);
    wake(broker);
}

uint32_t mqtt5_test_broker_send(struct mqtt5_test_broker *broker, const char *client_id,
                                struct mqtt5_bytes bytes)
{
    uint32_t count = 0;
    pthread_mutex_lock(&broker->lock);
    for (struct m5_list *at = broker->links.next; at != &broker->links; at = at->next)
        count += is_meant(link_of(at), client_id) && m5_test_link_send_raw(link_of(at), bytes);
    pthread_mutex_unlock(&broker->lock);
    wake(broker);
    return count;
}

static bool add_packet(struct m5_test_link *link, const struct mqtt5_packet *packet)
{
    const size_t size = mqtt5_packet_size(packet, MQTT5_VERSION_5);
    uint8_t *bytes = malloc(size);
    if (bytes == NULL)
        return false;
    mqtt5_packet_write(packet, MQTT5_VERSION_5, bytes, size);
    const bool done = m5_test_bytes_add(&link->in, m5_bytes(bytes, size));
    free(bytes);
    return done;
}

/* With the lock held; NULL without memory. */
static struct m5_test_link *publisher_of(struct mqtt5_test_broker *broker)
{
    const struct mqtt5_packet connect = {
        .type = MQTT5_CONNECT,
        .as.connect = {.version = MQTT5_VERSION_5,
                       .clean_start = true,
                       .client_id = m5_bytes_of(PUBLISHER_ID)},
    };
    struct m5_test_link *old = broker->publisher;
    if (old != NULL && (old->fresh || old->conn != NULL))
        return old;
    if (old != NULL)
        m5_test_link_free(old);
    broker->publisher = m5_test_link_new(broker, -1);
    if (broker->publisher != NULL && !add_packet(broker->publisher, &connect)) {
        m5_test_link_free(broker->publisher);
        broker->publisher = NULL;
    }
    return broker->publisher;
}

enum mqtt5_error mqtt5_test_broker_publish(struct mqtt5_test_broker *broker,
                                           const struct mqtt5_publish *publish)
{
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH, .as.publish = *publish};
    packet.as.publish.dup = false;
    pthread_mutex_lock(&broker->lock);
    broker->publisher_id =
        broker->publisher_id == UINT16_MAX ? 1 : (uint16_t)(broker->publisher_id + 1);
    packet.as.publish.packet_id = publish->qos == 0 ? 0 : broker->publisher_id;
    enum mqtt5_error error = MQTT5_ERR_INVALID_ARGUMENT;
    if (mqtt5_packet_size(&packet, MQTT5_VERSION_5) > 0) {
        struct m5_test_link *link = publisher_of(broker);
        error = link != NULL && add_packet(link, &packet) ? MQTT5_OK : MQTT5_ERR_NOMEM;
    }
    pthread_mutex_unlock(&broker->lock);
    wake(broker);
    return error;
}

/* ---- misbehaviour ---- */

void mqtt5_test_broker_behave(struct mqtt5_test_broker *broker)
{
    pthread_mutex_lock(&broker->lock);
    m5_test_faults_clear(broker);
    broker->refuse_count = broker->refuse_dials_count = 0;
    broker->stop_reading = false;
    mqtt5_test_limits_init(&broker->limits);
    pthread_mutex_unlock(&broker->lock);
    wake(broker);
}

void mqtt5_test_broker_refuse(struct mqtt5_test_broker *broker, uint32_t count, uint8_t reason_code,
                              const char *server_reference)
{
    pthread_mutex_lock(&broker->lock);
    broker->refuse_count = count;
    broker->refuse_reason = reason_code;
    snprintf(broker->refuse_reference, sizeof broker->refuse_reference, "%s",
             server_reference == NULL ? "" : server_reference);
    pthread_mutex_unlock(&broker->lock);
}

void mqtt5_test_broker_refuse_dials(struct mqtt5_test_broker *broker, uint32_t count)
{
    pthread_mutex_lock(&broker->lock);
    broker->refuse_dials_count = count;
    pthread_mutex_unlock(&broker->lock);
}

void mqtt5_test_broker_announce(struct mqtt5_test_broker *broker,
                                const struct mqtt5_test_limits *limits)
{
    pthread_mutex_lock(&broker->lock);
    broker->limits = *limits;
    pthread_mutex_unlock(&broker->lock);
}

void mqtt5_test_broker_stop_reading(struct mqtt5_test_broker *broker, bool stop)
{
    pthread_mutex_lock(&broker->lock);
    broker->stop_reading = stop;
    pthread_mutex_unlock(&broker->lock);
    wake(broker);
}

void mqtt5_test_broker_pause_time(struct mqtt5_test_broker *broker, bool pause)
{
    pthread_mutex_lock(&broker->lock);
    const uint64_t now_ms = m5_test_now_ms(broker);
    if (pause)
        broker->paused_at_ms = now_ms;
    else
        broker->clock_offset_ms = now_ms - system_ms();
    broker->paused = pause;
    pthread_mutex_unlock(&broker->lock);
    wake(broker);
}

void mqtt5_test_broker_advance_time(struct mqtt5_test_broker *broker, uint32_t ms)
{
    pthread_mutex_lock(&broker->lock);
    broker->clock_offset_ms += ms;
    broker->paused_at_ms += ms;
    pthread_mutex_unlock(&broker->lock);
    wake(broker);
}

/* ---- looking ---- */

/* What somebody waits for; called with the lock held. */
struct wanted {
    bool (*is_so)(const struct mqtt5_test_broker *broker, struct wanted *wanted);
    struct mqtt5_filter filter;
    uint8_t type;
    bool from_client;
    uint32_t count;
    uint32_t found, looked_at, generation; /* of publishes */
};

static bool wait_until(struct mqtt5_test_broker *broker, struct wanted *wanted, uint32_t timeout_ms)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout_ms / 1000;
    end.tv_nsec += timeout_ms % 1000 * 1000000L;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    int failed = 0;
    pthread_mutex_lock(&broker->lock);
    wanted->generation = broker->history.generation;
    bool so = wanted->is_so(broker, wanted);
    while (!so && failed == 0 && timeout_ms > 0) {
        failed = pthread_cond_timedwait(&broker->changed, &broker->lock, &end);
        so = wanted->is_so(broker, wanted);
    }
    pthread_mutex_unlock(&broker->lock);
    return so;
}

static bool has_publishes(const struct mqtt5_test_broker *broker, struct wanted *wanted)
{
    const struct m5_test_history *history = &broker->history;
    if (wanted->generation != history->generation) {
        wanted->generation = history->generation;
        wanted->found = wanted->looked_at = 0;
    }
    for (; wanted->looked_at < history->count; wanted->looked_at++) {
        const struct m5_test_record *record = history->items[wanted->looked_at];
        wanted->found += record->type == MQTT5_PUBLISH && record->from_client && !record->lost &&
                         mqtt5_filter_matches(wanted->filter.filter, record->topic);
    }
    return wanted->found >= wanted->count;
}

bool mqtt5_test_broker_wait_publishes(struct mqtt5_test_broker *broker, const char *filter,
                                      uint32_t count, uint32_t timeout_ms)
{
    struct wanted wanted = {.is_so = has_publishes, .count = count};
    if (mqtt5_filter_parse(m5_bytes_of(filter), UINT32_MAX, &wanted.filter) != MQTT5_OK)
        return false;
    return wait_until(broker, &wanted, timeout_ms);
}

static bool has_packets(const struct mqtt5_test_broker *broker, struct wanted *wanted)
{
    return broker->history.seen[wanted->from_client][wanted->type & 15] >= wanted->count;
}

bool mqtt5_test_broker_wait_packets(struct mqtt5_test_broker *broker, uint8_t type,
                                    bool from_client, uint32_t count, uint32_t timeout_ms)
{
    struct wanted wanted = {
        .is_so = has_packets,
        .type = type,
        .from_client = from_client,
        .count = count,
    };
    return wait_until(broker, &wanted, timeout_ms);
}

static bool has_clients(const struct mqtt5_test_broker *broker, struct wanted *wanted)
{
    return broker->connected == wanted->count;
}

bool mqtt5_test_broker_wait_clients(struct mqtt5_test_broker *broker, uint32_t count,
                                    uint32_t timeout_ms)
{
    struct wanted wanted = {.is_so = has_clients, .count = count};
    return wait_until(broker, &wanted, timeout_ms);
}

static void show(const struct m5_test_record *record, struct mqtt5_test_packet *out)
{
    struct mqtt5_decode_limits limits;
    struct mqtt5_frame frame;
    *out = (struct mqtt5_test_packet){
        .from_client = record->from_client,
        .lost = record->lost,
        .type = record->type,
        .version = record->version,
        .connection = record->connection,
        .client_id = record->client_id,
        .topic = record->topic,
        .raw = record->raw,
    };
    mqtt5_decode_limits_init(&limits);
    out->decoded = mqtt5_frame_read(record->raw, MQTT5_REMAINING_LENGTH_MAX, &frame) == MQTT5_OK &&
                   mqtt5_packet_decode(&frame, record->version, &limits, &out->packet) == MQTT5_OK;
}

bool mqtt5_test_broker_packet(struct mqtt5_test_broker *broker, uint32_t index,
                              struct mqtt5_test_packet *out)
{
    pthread_mutex_lock(&broker->lock);
    const bool there = index < broker->history.count;
    if (there)
        show(broker->history.items[index], out);
    pthread_mutex_unlock(&broker->lock);
    return there;
}

void mqtt5_test_broker_forget(struct mqtt5_test_broker *broker)
{
    pthread_mutex_lock(&broker->lock);
    m5_test_history_clear(&broker->history);
    pthread_mutex_unlock(&broker->lock);
}

/* With the lock held; without the broker's own publisher. */
static uint32_t count_sessions(const struct mqtt5_test_broker *broker)
{
    struct m5_stats stats;
    m5_engine_stats(broker->engine, &stats);
    return (uint32_t)stats.sessions -
           (broker->publisher != NULL && broker->publisher->conn != NULL);
}

static bool has_sessions(const struct mqtt5_test_broker *broker, struct wanted *wanted)
{
    return count_sessions(broker) == wanted->count;
}

bool mqtt5_test_broker_wait_sessions(struct mqtt5_test_broker *broker, uint32_t count,
                                     uint32_t timeout_ms)
{
    struct wanted wanted = {.is_so = has_sessions, .count = count};
    return wait_until(broker, &wanted, timeout_ms);
}

uint32_t mqtt5_test_broker_sessions(struct mqtt5_test_broker *broker)
{
    pthread_mutex_lock(&broker->lock);
    const uint32_t count = count_sessions(broker);
    pthread_mutex_unlock(&broker->lock);
    return count;
}

bool mqtt5_test_broker_has_client(struct mqtt5_test_broker *broker, const char *client_id)
{
    bool there = false;
    pthread_mutex_lock(&broker->lock);
    for (struct m5_list *at = broker->links.next; at != &broker->links; at = at->next)
        there |= link_of(at)->connected && m5_test_link_is(link_of(at), client_id);
    pthread_mutex_unlock(&broker->lock);
    return there;
}

int mqtt5_test_broker_subscription(struct mqtt5_test_broker *broker, const char *client_id,
                                   const char *filter)
{
    int qos = -1;
    pthread_mutex_lock(&broker->lock);
    const struct m5_list *list = &broker->subscriptions;
    for (struct m5_list *at = list->next; at != list; at = at->next) {
        const struct m5_test_subscription *one =
            M5_CONTAINER_OF(at, struct m5_test_subscription, node);
        if (m5_bytes_equal(m5_test_bytes_view(&one->client_id), m5_bytes_of(client_id)) &&
            m5_bytes_equal(m5_test_bytes_view(&one->filter), m5_bytes_of(filter)))
            qos = one->qos;
    }
    pthread_mutex_unlock(&broker->lock);
    return qos;
}
