/* A load: publishers and subscribers on one thread, and what is seen of their messages.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/bench/load.h"

#include "cli/bench/connects.h"
#include "cli/connection.h"

#include <mqtt5/topic.h>

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SECOND_NS        1000000000u
#define BURST_MAX        256u               /* messages published before the sockets get a turn */
#define READS_MAX        8u                 /* of one socket in a turn */
#define CONNECT_MAX      256u               /* connections being made at a time */
#define QUIET_NS         (5ull * SECOND_NS) /* nothing came for so long: the rest is lost */
#define STALL_NS         (1ull * SECOND_NS) /* the same, for the window of a closed loop at QoS 0 */
#define LEAVE_NS         (2ull * SECOND_NS) /* for the servers to close after our DISCONNECTs */
#define CATCH_UP_NS      (5ull * SECOND_NS) /* after the end, for what was due before it */
#define PROGRESS_WINDOWS 5u                 /* whose mean rate is shown */
#define PROGRESS_NS      (SECOND_NS / 5)
#define TICK_MS          100
#define QUEUE_MAX        10000u /* messages that one client holds back */
#define QUEUE_BYTES      (64u << 20)
#define LATENESS_UNIT    1000u /* ns: how the lateness travels */

static void fail(struct bench_load *load, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct bench_load *load, const char *format, ...)
{
    va_list arguments;
    load->failed = true;
    if (load->result->why[0] != 0)
        return; /* the first reason is the one */
    va_start(arguments, format);
    vsnprintf(load->result->why, sizeof load->result->why, format, arguments);
    va_end(arguments);
}

static bool is_subscriber(const struct bench_load *load, const struct bench_link *link)
{
    return link->index >= load->plan->publishers;
}

static void mark_dirty(struct bench_load *load, struct bench_link *link)
{
    if (link->dirty)
        return;
    link->dirty = true;
    load->dirty[load->dirty_count++] = link;
}

/* ---- who subscribes to what ---- */

/* Whether subscriber @p subscriber is to get the messages of @p stream. */
static bool is_meant_for(const struct bench_load *load, uint32_t subscriber, uint32_t stream)
{
    const struct bench_plan *plan = load->plan;
    const uint32_t topic = stream % plan->topics;
    struct mqtt5_filter filter;
    const struct mqtt5_bytes name = {.data = (const uint8_t *)load->streams[stream].topic,
                                     .len = strlen(load->streams[stream].topic)};
    if (plan->filter == NULL)
        return plan->subscribers > plan->topics ? subscriber % plan->topics == topic
                                                : topic % plan->subscribers == subscriber;
    const struct mqtt5_bytes text = {.data = (const uint8_t *)plan->filter,
                                     .len = strlen(plan->filter)};
    return mqtt5_filter_parse(text, MQTT5_TOPIC_LEVELS_DEFAULT, &filter) == MQTT5_OK &&
           mqtt5_filter_matches(filter.filter, name);
}

static bool is_shared(const struct bench_plan *plan)
{
    return plan->filter != NULL && strncmp(plan->filter, "$share/", 7) == 0;
}

static void subscribe(struct bench_load *load, struct bench_link *link)
{
    const struct bench_plan *plan = load->plan;
    const uint32_t subscriber = (uint32_t)link->index - plan->publishers;
    const uint32_t room = plan->filter != NULL ? 1 : plan->topics;
    struct mqtt5_subscription_request *items = calloc(room, sizeof *items);
    struct mqtt5_subscribe request = {.items = items};
    for (uint32_t topic = 0; items != NULL && topic < room; topic++) {
        const char *filter = plan->filter != NULL ? plan->filter : load->streams[topic].topic;
        if (plan->filter == NULL && !is_meant_for(load, subscriber, topic))
            continue;
        items[request.count++] = (struct mqtt5_subscription_request){
            .filter = {.data = (const uint8_t *)filter, .len = strlen(filter)}, .qos = plan->qos};
    }
    const enum mqtt5_error error =
        items == NULL ? MQTT5_ERR_NOMEM : m5_client_subscribe(link->client, &request, link);
    free(items);
    if (error != MQTT5_OK)
        fail(load, "cannot subscribe: %s", mqtt5_error_text(error));
    mark_dirty(load, link);
}

/* ---- what comes ---- */

/* What is written into each payload, by its own machine for itself. */
struct stamp {
    uint64_t due_ns;
    uint32_t lateness; /* LATENESS_UNIT */
    uint16_t run, stream;
    uint32_t number;
};

static_assert(sizeof(struct stamp) >= BENCH_PAYLOAD_MIN, "the stamp fits");

static void measure(struct bench_load *load, const struct stamp *stamp, uint64_t now_ns)
{
    struct bench_result *result = load->result;
    const uint64_t latency = now_ns > stamp->due_ns ? now_ns - stamp->due_ns : 0;
    const uint64_t lateness = (uint64_t)stamp->lateness * LATENESS_UNIT;
    if (load->measuring) {
        result->received++;
        bench_windows_add(&result->windows, latency);
    }
    if (stamp->due_ns < load->measure_ns || stamp->due_ns >= load->end_ns)
        return;
    bench_histogram_add(&result->latency, latency);
    bench_histogram_add(&result->service, latency > lateness ? latency - lateness : 0);
    if (load->on_latency != NULL)
        load->on_latency(load->ctx, stamp->stream, now_ns, latency);
}

static void take_message(struct bench_load *load, const struct bench_link *link,
                         struct mqtt5_bytes payload, uint64_t now_ns)
{
    struct stamp stamp;
    struct bench_result *result = load->result;
    if (payload.len < BENCH_PAYLOAD_MIN) {
        result->foreign++;
        return;
    }
    memcpy(&stamp, payload.data, BENCH_PAYLOAD_MIN);
    if (stamp.run != load->run || stamp.stream >= load->stream_count) {
        result->foreign++;
        return;
    }
    const size_t group = is_shared(load->plan) ? 0 : link->index - load->plan->publishers;
    const uint32_t track = load->track_of[group * load->stream_count + stamp.stream];
    load->received_ns = now_ns;
    if (track == 0)
        result->foreign++;
    else if (bench_sequence_take(&load->tracks[track - 1], stamp.number) != BENCH_DUPLICATE)
        measure(load, &stamp, now_ns);
}

static void take_completion(struct bench_load *load, const struct m5_client_event *event,
                            struct bench_link *link)
{
    if (event->ctx == link) { /* SUBACK */
        if (event->result.error != MQTT5_OK)
            fail(load, "the server refused the subscription: %s",
                 event->result.error == MQTT5_ERR_REFUSED
                     ? mqtt5_reason_text(event->result.reason_code)
                     : mqtt5_error_text(event->result.error));
        load->subscribed++;
        return;
    }
    struct bench_stream *stream = event->ctx;
    if (stream == NULL)
        return;
    stream->complete++;
    if (event->result.error == MQTT5_ERR_REFUSED)
        load->result->refused++;
}

static void take_event(struct bench_load *load, struct bench_link *link,
                       const struct m5_client_event *event, uint64_t now_ns)
{
    switch (event->type) {
    case M5_CLIENT_CONNECTED:
        load->connected++;
        if (is_subscriber(load, link))
            subscribe(load, link);
        break;
    case M5_CLIENT_MESSAGE: take_message(load, link, event->publish.payload, now_ns); break;
    case M5_CLIENT_COMPLETED: take_completion(load, event, link); break;
    case M5_CLIENT_DISCONNECTED:
        if (event->result.error == MQTT5_ERR_REFUSED || event->by_server)
            fail(load, "the server ended a connection: %s",
                 mqtt5_reason_text(event->result.reason_code));
        else if (!load->leaving)
            fail(load, "%s: %s", load->start_ns == 0 ? "cannot connect" : "a connection broke",
                 link->why[0] != 0 ? link->why : "the server closed it");
        break;
    default: break; /* what a load does not use */
    }
}

static void drain_events(struct bench_load *load, struct bench_link *link)
{
    struct m5_client_event event;
    const uint64_t now_ns = bench_now_ns();
    while (m5_client_next_event(link->client, &event))
        take_event(load, link, &event, now_ns);
}

static void serve(struct bench_load *load, struct bench_link *link, unsigned events)
{
    for (unsigned i = 0; i < READS_MAX; i++) {
        const bool more = bench_link_ready(link, events);
        drain_events(load, link);
        if (!more)
            break;
    }
    mark_dirty(load, link);
}

/* Sends what there is. A flush may make events, and those at most one new entry for their own link,
 * which finds a place among those that are done with. */
static void flush_all(struct bench_load *load)
{
    const uint32_t count = load->dirty_count;
    load->dirty_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct bench_link *link = load->dirty[i];
        link->dirty = false;
        bench_link_flush(link);
        drain_events(load, link);
    }
}

/* ---- progress ---- */

static void print_progress(struct bench_load *load, uint64_t now_ns)
{
    const struct bench_windows *windows = &load->result->windows;
    if (!load->plan->progress || now_ns < load->progress_ns || load->start_ns == 0)
        return;
    load->progress_ns = now_ns + PROGRESS_NS;
    const double passed = (double)(now_ns - load->start_ns) / 1e9;
    const double whole = (double)(load->end_ns - load->start_ns) / 1e9;
    if (windows->count == 0) {
        fprintf(stderr, "\r\033[K%5.1f / %.1f s  warming up", passed, whole);
        return;
    }
    const uint32_t shown = windows->count < PROGRESS_WINDOWS ? windows->count : PROGRESS_WINDOWS;
    const struct bench_window *last = &windows->items[windows->count - 1];
    uint64_t published = 0, received = 0;
    for (uint32_t i = 0; i < shown; i++) {
        published += (last - i)->published;
        received += (last - i)->received;
    }
    fprintf(stderr,
            "\r\033[K%5.1f / %.1f s  %.0f sent/s  %.0f received/s  p50 %.0f us  p99 %.0f us",
            passed, whole, bench_windows_rate(windows, published) / shown,
            bench_windows_rate(windows, received) / shown, (double)last->p50_ns / 1000,
            (double)last->p99_ns / 1000);
}

static void end_progress(const struct bench_load *load)
{
    if (load->plan->progress)
        fputs("\r\033[K", stderr);
}

/* ---- turns ---- */

/* Waits for events, at most until @p until_ns, and handles them. */
static void turn(struct bench_load *load, uint64_t until_ns)
{
    const uint64_t now_ns = bench_now_ns();
    const uint64_t left_ms = until_ns > now_ns ? (until_ns - now_ns) / 1000000 : 0;
    const unsigned count = m5_loop_wait(&load->loop, left_ms < TICK_MS ? (int)left_ms : TICK_MS);
    for (unsigned i = 0; i < count; i++) {
        const struct m5_loop_event event = m5_loop_event(&load->loop, i);
        uint64_t expirations;
        if (event.handle == &load->timer_fd)
            (void)!read(load->timer_fd, &expirations, sizeof expirations);
        else
            serve(load, event.handle, event.events);
    }
    flush_all(load);
    if (load->measuring)
        bench_windows_turn(&load->result->windows, bench_now_ns());
    print_progress(load, bench_now_ns());
    load->stopped = cli_signals_caught();
}

/* Keep-alive and time limits of all clients. */
static void tick_all(struct bench_load *load)
{
    const uint64_t now_ms = bench_now_ms();
    for (uint32_t i = 0; i < load->link_count; i++) {
        struct bench_link *link = &load->links[i];
        if (link->state == BENCH_LINK_DOWN || m5_client_deadline_ms(link->client) > now_ms)
            continue;
        m5_client_tick(link->client, now_ms);
        drain_events(load, link);
        mark_dirty(load, link);
    }
}

/* Sleeps in the loop until the next message is due, more exactly than its timeout can. */
static void set_timer(struct bench_load *load, uint64_t at_ns)
{
    const struct itimerspec at = {
        .it_value = {.tv_sec = (time_t)(at_ns / SECOND_NS), .tv_nsec = (long)(at_ns % SECOND_NS)}};
    timerfd_settime(load->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

/* ---- publishing ---- */

static bool publish(struct bench_load *load, struct bench_stream *stream, uint64_t due_ns)
{
    const uint64_t now_ns = bench_now_ns();
    const uint64_t lateness = now_ns > due_ns ? (now_ns - due_ns) / LATENESS_UNIT : 0;
    const struct stamp stamp = {.due_ns = due_ns,
                                .lateness = lateness < UINT32_MAX ? (uint32_t)lateness : UINT32_MAX,
                                .run = load->run,
                                .stream = (uint16_t)(stream - load->streams),
                                .number = stream->sent};
    memcpy(load->payload, &stamp, BENCH_PAYLOAD_MIN);
    const struct mqtt5_publish message = {
        .topic = {.data = (const uint8_t *)stream->topic, .len = strlen(stream->topic)},
        .payload = {.data = load->payload, .len = load->plan->payload_size},
        .qos = load->plan->qos};
    struct bench_link *link = &load->links[stream->link];
    const enum mqtt5_error error = m5_client_publish(
        link->client, &message, load->plan->qos == 0 && stream->watcher >= 0 ? NULL : stream);
    if (error == MQTT5_ERR_QUEUE_FULL) {
        load->result->blocked++;
        return false;
    }
    if (error != MQTT5_OK) {
        fail(load, "cannot publish: %s", mqtt5_error_text(error));
        return false;
    }
    stream->sent++;
    mark_dirty(load, link);
    if (load->measuring) {
        load->result->published++;
        load->result->windows.published++;
        bench_histogram_add(&load->result->lateness, now_ns > due_ns ? now_ns - due_ns : 0);
    }
    return true;
}

static uint64_t due_at(const struct bench_load *load, uint64_t number)
{
    return load->start_ns + (uint64_t)((double)number * 1e9 / load->plan->rate);
}

/* Publishes what is due, a burst at most. */
static void publish_due(struct bench_load *load)
{
    const uint64_t now_ns = bench_now_ns();
    for (uint32_t i = 0; i < BURST_MAX; i++) {
        const uint64_t due_ns = due_at(load, load->due_count);
        if (due_ns > now_ns || due_ns >= load->end_ns)
            break;
        if (!publish(load, &load->streams[load->due_count % load->stream_count], due_ns))
            break;
        load->due_count++;
    }
    set_timer(load, due_at(load, load->due_count));
}

/* Messages of @p stream that are not complete. */
static uint32_t outstanding(const struct bench_load *load, const struct bench_stream *stream)
{
    uint32_t complete = stream->complete;
    if (load->plan->qos == 0 && stream->watcher >= 0)
        complete = load->tracks[stream->watcher].next;
    if (complete < stream->forgiven)
        complete = stream->forgiven;
    return stream->sent > complete ? stream->sent - complete : 0;
}

/* Fills the window of each stream. True when something was published. */
static bool publish_window(struct bench_load *load)
{
    const uint64_t now_ns = bench_now_ns();
    bool any = false;
    for (uint32_t i = 0; i < load->stream_count; i++) {
        struct bench_stream *stream = &load->streams[i];
        uint32_t room = load->plan->inflight;
        const uint32_t taken = outstanding(load, stream);
        if (taken >= room && load->plan->qos == 0 && now_ns > load->received_ns + STALL_NS) {
            stream->forgiven = stream->sent;
            load->received_ns = now_ns;
        }
        room = taken < room ? room - taken : 0;
        for (uint32_t j = 0; j < room && j < BURST_MAX; j++) {
            if (!publish(load, stream, bench_now_ns()))
                break;
            any = true;
        }
    }
    return any;
}

/* ---- phases ---- */

static bool is_over(const struct bench_load *load)
{
    return load->failed || load->stopped;
}

static bool connect_all(struct bench_load *load)
{
    const struct bench_plan *plan = load->plan;
    const uint64_t end_ns = bench_now_ns() + plan->connect_timeout_ns;
    uint32_t started = 0;
    while (!is_over(load) &&
           (load->connected < load->link_count || load->subscribed < plan->subscribers)) {
        while (started < load->link_count && started < load->connected + CONNECT_MAX) {
            struct bench_link *link = &load->links[load->link_count - ++started];
            if (!bench_link_connect(
                    link, is_subscriber(load, link) ? &plan->subscribe_at : &plan->publish_to,
                    plan->stack)) {
                fail(load, "cannot connect: %s", link->why);
                break;
            }
        }
        turn(load, end_ns);
        if (bench_now_ns() >= end_ns)
            fail(load, "%u of %u connections were made in time", load->connected, load->link_count);
    }
    return !is_over(load);
}

/* Messages that were due before @p until_ns and could not be sent in time are sent late. */
static bool is_behind(const struct bench_load *load, uint64_t until_ns, uint64_t now_ns)
{
    return load->plan->rate > 0 && due_at(load, load->due_count) < until_ns &&
           now_ns < until_ns + CATCH_UP_NS;
}

static void publish_until(struct bench_load *load, uint64_t until_ns)
{
    uint64_t ticked_ns = 0;
    for (uint64_t now_ns = bench_now_ns();
         !is_over(load) && (now_ns < until_ns || is_behind(load, until_ns, now_ns));
         now_ns = bench_now_ns()) {
        bool busy = false;
        if (load->plan->rate > 0)
            publish_due(load);
        else
            busy = publish_window(load);
        flush_all(load);
        turn(load, busy ? 0 : until_ns);
        if (bench_now_ns() > ticked_ns + SECOND_NS) {
            ticked_ns = bench_now_ns();
            tick_all(load);
        }
    }
}

static void measure_window(struct bench_load *load)
{
    struct bench_result *result = load->result;
    if (!bench_windows_init(&result->windows, load->measure_ns, load->plan->duration_ns)) {
        fail(load, "out of memory");
        return;
    }
    const double cpu = bench_cpu_seconds();
    const uint64_t start_ns = bench_now_ns();
    load->measuring = true;
    publish_until(load, load->end_ns);
    load->measuring = false;
    const uint64_t end_ns = bench_now_ns();
    bench_windows_turn(&result->windows, end_ns);
    result->elapsed_s = (double)(end_ns - start_ns) / 1e9;
    result->cpu = (bench_cpu_seconds() - cpu) / result->elapsed_s;
    if (load->plan->rate > 0) {
        const uint64_t last_ns = end_ns < load->end_ns ? end_ns : load->end_ns;
        const uint64_t due =
            (uint64_t)((double)(last_ns - load->start_ns) / 1e9 * load->plan->rate);
        result->late = due > load->due_count ? due - load->due_count : 0;
    }
}

static uint64_t deliveries_due(const struct bench_load *load)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < load->stream_count; i++)
        sum += (uint64_t)load->streams[i].sent * load->streams[i].expected_by;
    return sum;
}

static uint64_t deliveries_seen(const struct bench_load *load)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < load->track_count; i++)
        sum += load->tracks[i].received;
    return sum;
}

static bool all_acknowledged(const struct bench_load *load)
{
    for (uint32_t i = 0; i < load->stream_count; i++) {
        if (load->plan->qos > 0 && load->streams[i].complete < load->streams[i].sent)
            return false;
    }
    return true;
}

/* What is under way arrives, or nothing comes any more. */
static void wait_for_rest(struct bench_load *load)
{
    const uint64_t due = deliveries_due(load);
    load->received_ns = bench_now_ns();
    while (!load->failed && bench_now_ns() < load->received_ns + QUIET_NS &&
           (deliveries_seen(load) < due || !all_acknowledged(load)))
        turn(load, load->received_ns + QUIET_NS);
}

static void leave(struct bench_load *load)
{
    const uint64_t end_ns = bench_now_ns() + LEAVE_NS;
    load->leaving = true;
    for (uint32_t i = 0; i < load->link_count; i++) {
        struct bench_link *link = &load->links[i];
        if (link->state == BENCH_LINK_UP && m5_client_disconnect(link->client, NULL) == MQTT5_OK)
            mark_dirty(load, link);
    }
    flush_all(load);
    for (uint32_t up = 1; up > 0 && !load->failed && bench_now_ns() < end_ns;) {
        turn(load, end_ns);
        up = 0;
        for (uint32_t i = 0; i < load->link_count; i++)
            up += load->links[i].state != BENCH_LINK_DOWN;
    }
}

static void sum_up(struct bench_load *load)
{
    struct bench_result *result = load->result;
    for (uint32_t i = 0; i < load->stream_count; i++)
        result->sent_in_all += load->streams[i].sent;
    result->expected_in_all = deliveries_due(load);
    result->received_in_all = deliveries_seen(load);
    result->lost = result->expected_in_all > result->received_in_all
                       ? result->expected_in_all - result->received_in_all
                       : 0;
    for (uint32_t i = 0; i < load->track_count; i++) {
        result->duplicates += load->tracks[i].duplicates;
        result->reordered += load->tracks[i].reordered;
    }
}

/* ---- making it ---- */

static bool make_links(struct bench_load *load)
{
    const struct bench_plan *plan = load->plan;
    char id[128];
    struct mqtt5_client_options options = plan->options;
    options.client_id = id;
    options.clean_start = true;
    options.receive_maximum = UINT16_MAX;
    options.inflight_max = UINT16_MAX;
    options.queued_messages_max = QUEUE_MAX;
    options.queued_bytes_max = QUEUE_BYTES + plan->payload_size;
    for (uint32_t i = 0; i < load->link_count; i++) {
        snprintf(id, sizeof id, "%.64s-%04x-%u", plan->id_prefix, load->run, i);
        const enum mqtt5_error error =
            bench_link_init(&load->links[i], &load->loop, &load->room, &options);
        load->links[i].index = i;
        if (error != MQTT5_OK) {
            fail(load, "these options make no connection: %s", mqtt5_error_text(error));
            return false;
        }
    }
    return true;
}

static void make_streams(struct bench_load *load)
{
    const struct bench_plan *plan = load->plan;
    for (uint32_t i = 0; i < load->stream_count; i++) {
        struct bench_stream *stream = &load->streams[i];
        stream->link = i % plan->publishers;
        stream->watcher = -1;
        if (plan->topics == 1)
            snprintf(stream->topic, sizeof stream->topic, "%.200s", plan->topic);
        else
            snprintf(stream->topic, sizeof stream->topic, "%.200s/%u", plan->topic,
                     i % plan->topics);
    }
}

/* A track for everybody who is to get a stream. False without memory. */
static bool make_tracks(struct bench_load *load)
{
    for (uint32_t i = 0; i < load->stream_count; i++) {
        struct bench_stream *stream = &load->streams[i];
        for (uint32_t j = 0; j < load->group_count; j++) {
            if (!is_meant_for(load, j, i))
                continue;
            if (stream->watcher < 0)
                stream->watcher = load->track_count;
            load->track_of[(size_t)j * load->stream_count + i] = ++load->track_count;
            stream->expected_by++;
        }
    }
    load->tracks = calloc(load->track_count + 1, sizeof *load->tracks);
    return load->tracks != NULL;
}

static bool make(struct bench_load *load)
{
    const struct bench_plan *plan = load->plan;
    load->link_count = plan->publishers + plan->subscribers;
    load->stream_count = plan->topics > plan->publishers ? plan->topics : plan->publishers;
    load->group_count = is_shared(plan) ? 1 : plan->subscribers;
    load->links = calloc(load->link_count, sizeof *load->links);
    load->dirty = calloc(load->link_count, sizeof(struct bench_link *));
    load->streams = calloc(load->stream_count, sizeof *load->streams);
    load->track_of =
        calloc((size_t)load->group_count * load->stream_count + 1, sizeof *load->track_of);
    load->payload = calloc(1, plan->payload_size);
    if (getrandom(&load->run, sizeof load->run, GRND_NONBLOCK) != sizeof load->run)
        load->run = (uint16_t)getpid();
    if (load->links == NULL || load->dirty == NULL || load->streams == NULL ||
        load->track_of == NULL || load->payload == NULL) {
        fail(load, "out of memory");
        return false;
    }
    load->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (load->timer_fd < 0 || !m5_loop_init(&load->loop) ||
        !m5_loop_add(&load->loop, load->timer_fd, &load->timer_fd, M5_LOOP_READ)) {
        fail(load, "no descriptor is left: %s", strerror(errno));
        return false;
    }
    make_streams(load);
    if (!make_tracks(load)) {
        fail(load, "out of memory");
        return false;
    }
    return make_links(load);
}

bool bench_load_run(struct bench_load *load, const struct bench_plan *plan,
                    struct bench_result *result)
{
    load->plan = plan;
    load->result = result;
    load->timer_fd = -1;
    if (!make(load) || !connect_all(load)) {
        if (load->stopped)
            fail(load, "interrupted");
        return false;
    }
    load->start_ns = bench_now_ns();
    load->measure_ns = load->start_ns + plan->warmup_ns;
    load->end_ns = load->measure_ns + plan->duration_ns;
    publish_until(load, load->measure_ns);
    if (!is_over(load))
        measure_window(load);
    wait_for_rest(load);
    sum_up(load);
    end_progress(load);
    leave(load);
    if (load->stopped)
        fail(load, "interrupted");
    return !load->failed;
}

void bench_load_fini(struct bench_load *load)
{
    for (uint32_t i = 0; load->links != NULL && i < load->link_count; i++)
        bench_link_fini(&load->links[i]);
    m5_pipe_room_fini(&load->room);
    if (load->timer_fd >= 0)
        close(load->timer_fd);
    m5_loop_fini(&load->loop);
    free(load->links);
    free(load->dirty);
    free(load->streams);
    free(load->tracks);
    free(load->track_of);
    free(load->payload);
    bench_windows_fini(&load->result->windows);
}
