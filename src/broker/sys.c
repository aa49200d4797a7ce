/* $SYS: the broker's figures as retained messages, by the names that Mosquitto made common.
 *
 * Shard 0 adds up the figures of all shards and publishes what has changed since the last time.
 * Loads are averages per minute over 1, 5 and 15 minutes, exponentially weighted.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "broker/shard.h"

#include <mqtt5/version.h>

#define TOPIC_SIZE_MAX 80u
#define PREFIX         "$SYS/broker/"

/* X(topic below $SYS/broker/, expression of struct m5_stats *s) */
#define FIGURES(X)                                                                              \
    X("clients/connected", s->clients_connected)                                                \
    X("clients/active", s->clients_connected)                                                   \
    X("clients/total", s->sessions)                                                             \
    X("clients/disconnected", s->sessions - s->clients_connected)                               \
    X("clients/inactive", s->sessions - s->clients_connected)                                   \
    X("clients/maximum", s->clients_connected_max)                                              \
    X("clients/expired", s->sessions_expired)                                                   \
    X("connections/count", s->connections)                                                      \
    X("connections/opened", s->connections_opened)                                              \
    X("connections/refused", s->connections_refused)                                            \
    X("handshakes/done", s->handshakes)                                                         \
    X("handshakes/failed", s->handshakes_failed)                                                \
    X("bytes/received", s->bytes_received)                                                      \
    X("bytes/sent", s->bytes_sent)                                                              \
    X("messages/received", s->packets_received)                                                 \
    X("messages/sent", s->packets_sent)                                                         \
    X("messages/inflight", s->messages_inflight)                                                \
    X("messages/stored", s->messages_queued + s->messages_inflight + s->retained_messages)      \
    X("messages/queued", s->messages_queued)                                                    \
    X("messages/expired", s->messages_expired)                                                  \
    X("messages/publish/received", s->publish_received)                                         \
    X("messages/publish/sent", s->publish_sent)                                                 \
    X("publish/messages/received", s->publish_received)                                         \
    X("publish/messages/sent", s->publish_sent)                                                 \
    X("publish/messages/dropped", s->publish_dropped)                                           \
    X("publish/bytes/received", s->publish_bytes_received)                                      \
    X("publish/bytes/sent", s->publish_bytes_sent)                                              \
    X("retained messages/count", s->retained_messages)                                          \
    X("retained/count", s->retained_messages)                                                   \
    X("retained/bytes", s->retained_bytes)                                                      \
    X("store/messages/count", s->messages_queued + s->messages_inflight + s->retained_messages) \
    X("store/messages/bytes", s->messages_queued_bytes + s->retained_bytes)                     \
    X("subscriptions/count", s->subscriptions)                                                  \
    X("shared_subscriptions/count", s->shared_subscriptions)                                    \
    X("heap/current", s->memory_used)                                                           \
    X("heap/maximum", s->memory_used_max)                                                       \
    X("limits/connections", s->limit_connections)                                               \
    X("limits/sessions", s->limit_sessions)                                                     \
    X("limits/client_ids", s->limit_client_ids)                                                 \
    X("limits/subscriptions", s->limit_subscriptions)                                           \
    X("limits/topic_levels", s->limit_topic_levels)                                             \
    X("limits/user_properties", s->limit_user_properties)                                       \
    X("limits/packet_size", s->limit_packet_size)                                               \
    X("limits/receive_maximum", s->limit_receive_maximum)                                       \
    X("limits/queued", s->limit_queued)                                                         \
    X("limits/output", s->limit_output)                                                         \
    X("limits/retained", s->limit_retained)                                                     \
    X("limits/memory", s->limit_memory)                                                         \
    X("limits/connect_timeout", s->limit_connect_timeout)                                       \
    X("limits/keep_alive", s->limit_keep_alive)                                                 \
    X("limits/store", s->limit_store)                                                           \
    X("limits/message_rate", s->limit_message_rate)                                             \
    X("limits/outbound_rate", s->limit_outbound_rate)                                           \
    X("limits/user_connections", s->limit_user_clients)                                         \
    X("limits/address_connections", s->limit_address_clients)                                   \
    X("limits/control", s->limit_control)                                                       \
    X("store/failing", s->store_failing)                                                        \
    X("store/waiting", s->store_waiting)                                                        \
    X("store/pending/bytes", s->store_bytes)                                                    \
    X("store/commits", s->store_commits)                                                        \
    X("store/changes", s->store_changes)                                                        \
    X("store/failures", s->store_failures)                                                      \
    X("store/commit_us", s->store_commit_us)                                                    \
    X("store/bytes/used", s->store_bytes_used)                                                  \
    X("store/bytes/file", s->store_bytes_file)                                                  \
    X("errors/malformed", s->errors_malformed)                                                  \
    X("errors/protocol", s->errors_protocol)                                                    \
    X("denied/connect", s->denied_connect)                                                      \
    X("denied/publish", s->denied_publish)                                                      \
    X("denied/subscribe", s->denied_subscribe)                                                  \
    X("denied/deliver", s->denied_deliver)

/* X(topic below $SYS/broker/load/, expression): what is counted per minute. */
#define LOADS(X)                                \
    X("messages/received", s->packets_received) \
    X("messages/sent", s->packets_sent)         \
    X("publish/received", s->publish_received)  \
    X("publish/sent", s->publish_sent)          \
    X("publish/dropped", s->publish_dropped)    \
    X("bytes/received", s->bytes_received)      \
    X("bytes/sent", s->bytes_sent)              \
    X("sockets", s->connections_opened)         \
    X("connections", s->connections_opened)

#define X(topic, expression) +1
enum { FIGURE_COUNT = FIGURES(X), LOAD_COUNT = LOADS(X), WINDOWS = 3 };
#undef X

static const char *const figure_topics[] = {
#define X(topic, expression) topic,
    FIGURES(X)
#undef X
};
static const char *const load_topics[] = {
#define X(topic, expression) topic,
    LOADS(X)
#undef X
};
static const struct {
    const char *name;
    uint32_t seconds;
} windows[WINDOWS] = {{"1min", 60}, {"5min", 300}, {"15min", 900}};

struct m5_sys {
    struct m5_alarm alarm;
    bool started;
    uint64_t figures[FIGURE_COUNT]; /* as published */
    uint64_t counts[LOAD_COUNT];    /* at the last interval */
    double loads[LOAD_COUNT][WINDOWS];
};

/* ---- text ---- */

static uint8_t *write_number(uint8_t *out, uint64_t value)
{
    uint8_t digits[20];
    size_t count = 0;
    do {
        digits[count++] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (count > 0)
        *out++ = digits[--count];
    return out;
}

/* Two decimals, as Mosquitto has them. */
static uint8_t *write_load(uint8_t *out, double value)
{
    uint64_t hundredths = (uint64_t)(value * 100 + 0.5);
    out = write_number(out, hundredths / 100);
    *out++ = '.';
    *out++ = (uint8_t)('0' + hundredths / 10 % 10);
    *out++ = (uint8_t)('0' + hundredths % 10);
    return out;
}

/* e^-x for x >= 0, to a thousandth: (1 - x/4096)^4096. */
static double decay(double x)
{
    double result = 1 - x / 4096;
    if (result < 0)
        return 0;
    for (int i = 0; i < 12; i++)
        result *= result;
    return result;
}

static void publish(struct m5_shard *shard, const char *const parts[3], struct mqtt5_bytes payload)
{
    uint8_t topic[TOPIC_SIZE_MAX];
    uint8_t *end = m5_copy(topic, m5_bytes_of(PREFIX));
    for (size_t i = 0; i < 3 && parts[i] != NULL; i++)
        end = m5_copy(end, m5_bytes_of(parts[i]));
    struct m5_message_view view = {.topic = m5_bytes(topic, (size_t)(end - topic)),
                                   .payload = payload,
                                   .expires_at_ms = M5_NEVER,
                                   .retain = shard->config->retain_available};
    M5_ASSERT(view.topic.len <= TOPIC_SIZE_MAX);
    m5_publish(shard, NULL, &view);
}

static void publish_text(struct m5_shard *shard, const char *topic, const char *text)
{
    publish(shard, (const char *const[3]){topic}, m5_bytes_of(text));
}

/* ---- intervals ---- */

static void publish_uptime(struct m5_shard *shard)
{
    uint8_t text[40];
    uint8_t *end = write_number(text, (shard->now_ms - shard->engine->started_ms) / 1000);
    end = m5_copy(end, m5_bytes_of(" seconds"));
    publish(shard, (const char *const[3]){"uptime"}, m5_bytes(text, (size_t)(end - text)));
}

static void publish_figures(struct m5_shard *shard, const struct m5_stats *s)
{
    const uint64_t figures[] = {
#define X(topic, expression) expression,
        FIGURES(X)
#undef X
    };
    struct m5_sys *sys = shard->sys;
    for (size_t i = 0; i < FIGURE_COUNT; i++) {
        if (sys->started && sys->figures[i] == figures[i])
            continue;
        uint8_t text[24];
        uint8_t *end = write_number(text, figures[i]);
        sys->figures[i] = figures[i];
        publish(shard, (const char *const[3]){figure_topics[i]},
                m5_bytes(text, (size_t)(end - text)));
    }
}

static void publish_loads(struct m5_shard *shard, const struct m5_stats *s)
{
    const uint64_t counts[] = {
#define X(topic, expression) expression,
        LOADS(X)
#undef X
    };
    struct m5_sys *sys = shard->sys;
    double interval_s = shard->config->sys_interval_s;
    for (size_t i = 0; i < LOAD_COUNT; i++) {
        double per_minute = (double)(counts[i] - sys->counts[i]) * 60 / interval_s;
        sys->counts[i] = counts[i];
        for (size_t w = 0; w < WINDOWS; w++) {
            double *load = &sys->loads[i][w];
            double old = *load;
            *load = per_minute + decay(interval_s / windows[w].seconds) * (old - per_minute);
            if (sys->started && old == *load)
                continue;
            uint8_t text[32], topic[64];
            uint8_t *end = m5_copy(topic, m5_bytes_of(load_topics[i]));
            *m5_copy(end, m5_bytes_of("/")) = 0;
            uint8_t *text_end = write_load(text, *load);
            publish(shard, (const char *const[3]){"load/", (const char *)topic, windows[w].name},
                    m5_bytes(text, (size_t)(text_end - text)));
        }
    }
}

static void publish_static(struct m5_shard *shard)
{
    publish_text(shard, "version", "mqtt5 version " MQTT5_VERSION_STRING);
    publish_text(shard, "implementation", "mqtt5");
    publish_text(shard, "protocol_version", "5.0");
}

static void schedule(struct m5_shard *shard)
{
    uint64_t interval_ms = (uint64_t)shard->config->sys_interval_s * 1000;
    m5_timer_start(&shard->wheel, &shard->sys->alarm.timer, shard->now_ms + interval_ms);
}

void m5_sys_alarm(struct m5_shard *shard)
{
    if (!shard->sys->started)
        publish_static(shard);
    struct m5_stats stats;
    m5_engine_stats(shard->engine, &stats);
    publish_uptime(shard);
    publish_figures(shard, &stats);
    publish_loads(shard, &stats);
    shard->sys->started = true;
    schedule(shard);
}

struct m5_sys *m5_sys_new(struct m5_shard *shard)
{
    struct m5_sys *sys = m5_alloc_zero(shard->allocator, sizeof *sys);
    if (sys == NULL)
        return NULL;
    shard->sys = sys;
    m5_alarm_init(&sys->alarm, M5_ALARM_SYS);
    /* The first figures are there from the first turn on. */
    m5_timer_start(&shard->wheel, &sys->alarm.timer, shard->now_ms);
    return sys;
}

void m5_sys_free(struct m5_shard *shard)
{
    m5_free(shard->allocator, shard->sys, sizeof *shard->sys);
    shard->sys = NULL;
}
