/* The public client against the test broker: everything that a server and a network may do to it
 * without anybody pulling a cable.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/unit.h"

#include "base/bytes.h"

#include <mqtt5/client.h>
#include <mqtt5/test_broker.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS  20000 /* only a bound: every wait ends by an event */
#define SOON_MS  10    /* between attempts to connect */
#define QUIET_MS 100   /* nothing happens for so long: nothing will */
#define URL      "mqtt://test.invalid:1883"
#define EXPIRY_S 3600u

/* What callbacks have seen. */
struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t messages, done, ups;
    uint32_t downs, ends;               /* of them, for good */
    uint32_t errors[MQTT5_ERROR_COUNT]; /* of `done` */
    struct mqtt5_client_change last;
    char payloads[512];
};

struct rig {
    struct mqtt5_test_broker *broker;
    struct mqtt5_client_options options;
    struct mqtt5_client *client;
    struct seen seen;
};

static void see_message(void *ctx, const struct mqtt5_message *message)
{
    struct seen *seen = ctx;
    const struct mqtt5_bytes payload = message->publish->payload;
    pthread_mutex_lock(&seen->lock);
    const size_t used = strlen(seen->payloads);
    snprintf(seen->payloads + used, sizeof seen->payloads - used, "%.*s ", (int)payload.len,
             (const char *)payload.data);
    seen->messages++;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void see_change(void *ctx, const struct mqtt5_client_change *change)
{
    struct seen *seen = ctx;
    pthread_mutex_lock(&seen->lock);
    seen->ups += change->state == MQTT5_CLIENT_CONNECTED;
    seen->downs += change->state != MQTT5_CLIENT_CONNECTED;
    seen->ends += change->state == MQTT5_CLIENT_DISCONNECTED;
    seen->last = *change;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void see_done(void *ctx, const struct mqtt5_client_result *result)
{
    struct seen *seen = ctx;
    pthread_mutex_lock(&seen->lock);
    seen->done++;
    seen->errors[result->error]++;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

/* Waits until *count, which callbacks raise, is @p wanted or more. */
static void wait_for(struct seen *seen, const uint32_t *count, uint32_t wanted)
{
    struct timespec end;
    int failed = 0;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&seen->lock);
    while (*count < wanted && failed == 0)
        failed = pthread_cond_timedwait(&seen->changed, &seen->lock, &end);
    const uint32_t there = *count;
    pthread_mutex_unlock(&seen->lock);
    if (there < wanted)
        fail_msg("%u instead of %u", (unsigned)there, (unsigned)wanted);
}

static uint32_t read_count(struct seen *seen, const uint32_t *count)
{
    pthread_mutex_lock(&seen->lock);
    const uint32_t value = *count;
    pthread_mutex_unlock(&seen->lock);
    return value;
}

/* A client with a session that lasts, which comes back at once. */
static void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    pthread_mutex_init(&rig->seen.lock, NULL);
    pthread_cond_init(&rig->seen.changed, NULL);
    assert_int_equal(mqtt5_test_broker_new(NULL, &rig->broker), MQTT5_OK);
    mqtt5_client_options_init(&rig->options);
    rig->options.client_id = "client";
    rig->options.clean_start = false;
    rig->options.session_expiry_s = EXPIRY_S;
    rig->options.dial = mqtt5_test_broker_dial;
    rig->options.dial_ctx = rig->broker;
    rig->options.reconnect.min_ms = SOON_MS;
    rig->options.reconnect.max_ms = SOON_MS;
    rig->options.on_change = see_change;
    rig->options.on_message = see_message;
    rig->options.ctx = &rig->seen;
}

static void rig_connect(struct rig *rig)
{
    assert_int_equal(mqtt5_client_new(&rig->options, &rig->client), MQTT5_OK);
    const enum mqtt5_error error = mqtt5_client_connect(rig->client, URL, WAIT_MS);
    if (error != MQTT5_OK) {
        char why[256];
        mqtt5_client_why(rig->client, why, sizeof why);
        fail_msg("%s: %s", mqtt5_error_name(error), why);
    }
}

static void rig_fini(struct rig *rig)
{
    mqtt5_client_free(rig->client);
    mqtt5_test_broker_free(rig->broker);
    pthread_cond_destroy(&rig->seen.changed);
    pthread_mutex_destroy(&rig->seen.lock);
}

static struct mqtt5_publish message(const char *payload, uint8_t qos)
{
    return (struct mqtt5_publish){
        .topic = m5_bytes_of("t"), .payload = m5_bytes_of(payload), .qos = qos};
}

static enum mqtt5_error publish(struct rig *rig, const char *payload, uint8_t qos)
{
    const struct mqtt5_publish one = message(payload, qos);
    return mqtt5_client_publish(rig->client, &one, WAIT_MS, NULL);
}

static enum mqtt5_error publish_async(struct rig *rig, const char *payload, uint8_t qos)
{
    const struct mqtt5_publish one = message(payload, qos);
    return mqtt5_client_publish_async(rig->client, &one, see_done, &rig->seen);
}

static void subscribe(struct rig *rig, const char *filter, uint8_t qos)
{
    uint8_t granted = 9;
    assert_int_equal(mqtt5_client_subscribe_one(rig->client, filter, qos, see_message, &rig->seen,
                                                WAIT_MS, NULL, &granted),
                     MQTT5_OK);
    assert_int_equal(granted, qos);
}

static void add_fault(struct rig *rig, struct mqtt5_test_fault fault)
{
    assert_int_equal(mqtt5_test_broker_fault(rig->broker, &fault), MQTT5_OK);
}

static uint32_t count_packets(struct rig *rig, uint8_t type, bool from_client)
{
    struct mqtt5_test_packet packet;
    uint32_t count = 0;
    for (uint32_t i = 0; mqtt5_test_broker_packet(rig->broker, i, &packet); i++)
        count += packet.type == type && packet.from_client == from_client;
    return count;
}

/* ---- the ordinary ---- */

static void messages_go_and_come_at_every_qos(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig_connect(&rig);
    subscribe(&rig, "t", 2);
    assert_int_equal(mqtt5_test_broker_subscription(rig.broker, "client", "t"), 2);
    assert_int_equal(publish(&rig, "zero", 0), MQTT5_OK);
    assert_int_equal(publish(&rig, "one", 1), MQTT5_OK);
    assert_int_equal(publish(&rig, "two", 2), MQTT5_OK);
    wait_for(&rig.seen, &rig.seen.messages, 3);
    assert_string_equal(rig.seen.payloads, "zero one two ");
    assert_true(mqtt5_test_broker_wait_publishes(rig.broker, "t", 3, 0));
    assert_int_equal(mqtt5_client_disconnect(rig.client, NULL, WAIT_MS), MQTT5_OK);
    assert_true(mqtt5_test_broker_wait_packets(rig.broker, MQTT5_DISCONNECT, true, 1, WAIT_MS));
    rig_fini(&rig);
}

/* ---- what is lost on the way ---- */

/* [MQTT-4.4.0-1] [MQTT-3.3.1-1]: the same message again, under its identifier, with DUP. */
static void a_lost_puback_brings_the_message_again(void **state)
{
    (void)state;
    struct rig rig;
    struct mqtt5_test_packet packet;
    uint16_t ids[2];
    bool dups[2];
    uint32_t found = 0;
    rig_init(&rig);
    rig_connect(&rig);
    add_fault(&rig, (struct mqtt5_test_fault){
                        .packet_type = MQTT5_PUBACK, .action = MQTT5_FAULT_CUT, .count = 1});
    assert_int_equal(publish_async(&rig, "one", 1), MQTT5_OK);
    wait_for(&rig.seen, &rig.seen.errors[MQTT5_OK], 1);
    assert_int_equal(read_count(&rig.seen, &rig.seen.ups), 2);
    for (uint32_t i = 0; mqtt5_test_broker_packet(rig.broker, i, &packet); i++) {
        if (packet.type != MQTT5_PUBLISH)
            continue;
        assert_true(found < 2);
        ids[found] = packet.packet.as.publish.packet_id;
        dups[found++] = packet.packet.as.publish.dup;
    }
    assert_int_equal(found, 2);
    assert_int_equal(ids[0], ids[1]);
    assert_false(dups[0]);
    assert_true(dups[1]);
    rig_fini(&rig);
}

/* [MQTT-4.3.3-1] to [MQTT-4.3.3-13]: wherever the exchange breaks, the message arrives once. */
static void qos_2_arrives_once_wherever_it_breaks(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        bool from_client;
    } steps[] = {
        {MQTT5_PUBLISH, true}, {MQTT5_PUBREC, false}, {MQTT5_PUBREL, true}, {MQTT5_PUBCOMP, false}};
    static const enum mqtt5_fault_action actions[] = {MQTT5_FAULT_CUT, MQTT5_FAULT_CUT_BEHIND,
                                                      MQTT5_FAULT_REPEAT};
    struct rig rig;
    rig_init(&rig);
    rig.options.offline_queue = true; /* a cut behind PUBCOMP may be noticed any time */
    struct mqtt5_client_options reader_options = rig.options;
    struct mqtt5_client *reader;
    rig_connect(&rig);
    reader_options.client_id = "reader";
    reader_options.on_change = NULL;
    assert_int_equal(mqtt5_client_new(&reader_options, &reader), MQTT5_OK);
    assert_int_equal(mqtt5_client_connect(reader, URL, WAIT_MS), MQTT5_OK);
    assert_int_equal(
        mqtt5_client_subscribe_one(reader, "t", 2, see_message, &rig.seen, WAIT_MS, NULL, NULL),
        MQTT5_OK);
    uint32_t sent = 0;
    for (unsigned i = 0; i < 12; i++) {
        char payload[16];
        add_fault(&rig, (struct mqtt5_test_fault){.packet_type = steps[i % 4].type,
                                                  .from_client = steps[i % 4].from_client,
                                                  .action = actions[i / 4],
                                                  .client_id = "client",
                                                  .count = 1});
        snprintf(payload, sizeof payload, "%u", i);
        assert_int_equal(publish_async(&rig, payload, 2), MQTT5_OK);
        wait_for(&rig.seen, &rig.seen.errors[MQTT5_OK], ++sent);
        wait_for(&rig.seen, &rig.seen.messages, sent);
        mqtt5_test_broker_behave(rig.broker);
    }
    assert_int_equal(publish(&rig, "end", 2), MQTT5_OK);
    wait_for(&rig.seen, &rig.seen.messages, sent + 1);
    assert_string_equal(rig.seen.payloads, "0 1 2 3 4 5 6 7 8 9 10 11 end ");
    assert_true(read_count(&rig.seen, &rig.seen.ups) >= 8);
    mqtt5_client_free(reader);
    rig_fini(&rig);
}

/* The same towards the client: whatever is repeated or breaks, it is shown once. */
static void qos_2_is_delivered_once_wherever_it_breaks(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        bool from_client;
    } steps[] = {
        {MQTT5_PUBLISH, false}, {MQTT5_PUBREC, true}, {MQTT5_PUBREL, false}, {MQTT5_PUBCOMP, true}};
    static const enum mqtt5_fault_action actions[] = {MQTT5_FAULT_CUT, MQTT5_FAULT_CUT_BEHIND};
    struct rig rig;
    rig_init(&rig);
    rig_connect(&rig);
    subscribe(&rig, "t", 2);
    for (unsigned i = 0; i < 8; i++) {
        char payload[16];
        add_fault(&rig, (struct mqtt5_test_fault){.packet_type = steps[i % 4].type,
                                                  .from_client = steps[i % 4].from_client,
                                                  .action = actions[i / 4],
                                                  .count = 1});
        snprintf(payload, sizeof payload, "%u", i);
        const struct mqtt5_publish one = message(payload, 2);
        assert_int_equal(mqtt5_test_broker_publish(rig.broker, &one), MQTT5_OK);
        wait_for(&rig.seen, &rig.seen.ups, i + 2);
        wait_for(&rig.seen, &rig.seen.messages, i + 1);
    }
    const struct mqtt5_publish end = message("end", 2);
    assert_int_equal(mqtt5_test_broker_publish(rig.broker, &end), MQTT5_OK);
    wait_for(&rig.seen, &rig.seen.messages, 9);
    assert_string_equal(rig.seen.payloads, "0 1 2 3 4 5 6 7 end ");
    rig_fini(&rig);
}

static void a_corrupted_answer_ends_the_connection_not_the_client(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.options.offline_queue = true;
    rig_connect(&rig);
    for (uint32_t offset = 0; offset < 4; offset++) {
        const uint32_t answers = count_packets(&rig, MQTT5_PUBACK, false);
        add_fault(&rig, (struct mqtt5_test_fault){.packet_type = MQTT5_PUBACK,
                                                  .action = MQTT5_FAULT_CORRUPT,
                                                  .offset = offset,
                                                  .mask = 0x80,
                                                  .count = 1});
        assert_int_equal(publish_async(&rig, "x", 1), MQTT5_OK);
        assert_true(
            mqtt5_test_broker_wait_packets(rig.broker, MQTT5_PUBACK, false, answers + 1, WAIT_MS));
        if (offset > 0) /* it is not seen to be wrong: too long, or an answer to nothing */
            mqtt5_test_broker_cut(rig.broker, NULL);
        wait_for(&rig.seen, &rig.seen.ups, offset + 2);
        wait_for(&rig.seen, &rig.seen.errors[MQTT5_OK], offset + 1);
    }
    rig_fini(&rig);
}

/* ---- servers that will not, or not here ---- */

static void a_redirect_is_followed(void **state)
{
    (void)state;
    struct rig rig;
    char url[64];
    rig_init(&rig);
    mqtt5_test_broker_refuse(rig.broker, 2, MQTT5_REASON_USE_ANOTHER_SERVER, "other.invalid:1999");
    rig_connect(&rig);
    assert_int_equal(mqtt5_test_broker_dials(rig.broker, url, sizeof url), 3);
    assert_non_null(strstr(url, "other.invalid:1999"));
    rig_fini(&rig);
}

static void redirects_without_end_are_not(void **state)
{
    (void)state;
    struct rig rig;
    struct mqtt5_client_info info;
    rig_init(&rig);
    rig.options.reconnect.enabled = false;
    mqtt5_test_broker_refuse(rig.broker, UINT32_MAX, MQTT5_REASON_SERVER_MOVED, "other.invalid");
    assert_int_equal(mqtt5_client_new(&rig.options, &rig.client), MQTT5_OK);
    assert_int_equal(mqtt5_client_connect(rig.client, URL, WAIT_MS), MQTT5_ERR_REFUSED);
    mqtt5_client_get_info(rig.client, &info);
    assert_int_equal(info.reason_code, MQTT5_REASON_SERVER_MOVED);
    assert_int_equal(mqtt5_test_broker_dials(rig.broker, NULL, 0), 4);
    rig_fini(&rig);
}

static void a_busy_server_is_tried_again_and_a_strict_one_is_not(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.options.reconnect.first = true;
    mqtt5_test_broker_refuse(rig.broker, 2, MQTT5_REASON_SERVER_UNAVAILABLE, NULL);
    rig_connect(&rig);
    assert_int_equal(mqtt5_test_broker_dials(rig.broker, NULL, 0), 3);
    mqtt5_test_broker_refuse(rig.broker, UINT32_MAX, MQTT5_REASON_NOT_AUTHORIZED, NULL);
    mqtt5_test_broker_cut(rig.broker, NULL);
    wait_for(&rig.seen, &rig.seen.ends, 1);
    assert_int_equal(mqtt5_test_broker_dials(rig.broker, NULL, 0), 4);
    assert_int_equal(rig.seen.last.result.reason_code, MQTT5_REASON_NOT_AUTHORIZED);
    rig_fini(&rig);
}

static void dials_that_fail_are_tried_again(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.options.reconnect.first = true;
    mqtt5_test_broker_refuse_dials(rig.broker, 3);
    rig_connect(&rig);
    assert_int_equal(mqtt5_test_broker_dials(rig.broker, NULL, 0), 4);
    rig_fini(&rig);
}

/* ---- what the server allows ---- */

/* [MQTT-3.3.4-9] */
static void no_more_are_in_flight_than_the_server_takes(void **state)
{
    (void)state;
    struct rig rig;
    struct mqtt5_test_limits limits;
    rig_init(&rig);
    mqtt5_test_limits_init(&limits);
    limits.receive_maximum = 3;
    mqtt5_test_broker_announce(rig.broker, &limits);
    rig_connect(&rig);
    mqtt5_test_broker_pause_time(rig.broker, true);
    add_fault(&rig, (struct mqtt5_test_fault){
                        .packet_type = MQTT5_PUBACK, .action = MQTT5_FAULT_DELAY, .delay_ms = 10});
    for (uint32_t i = 0; i < 12; i++)
        assert_int_equal(publish_async(&rig, "x", 1), MQTT5_OK);
    for (uint32_t seen = 3; seen <= 12; seen += 3) {
        assert_true(mqtt5_test_broker_wait_packets(rig.broker, MQTT5_PUBACK, false, seen, WAIT_MS));
        assert_false(
            mqtt5_test_broker_wait_publishes(rig.broker, "t", seen + 1, seen < 12 ? QUIET_MS : 0));
        mqtt5_test_broker_advance_time(rig.broker, 10);
    }
    wait_for(&rig.seen, &rig.seen.errors[MQTT5_OK], 12);
    rig_fini(&rig);
}

/* [MQTT-3.2.2-11] [MQTT-3.2.2-14] [MQTT-3.2.2-15] */
static void what_the_server_does_not_take_is_not_sent(void **state)
{
    (void)state;
    struct rig rig;
    struct mqtt5_test_limits limits;
    char payload[200];
    rig_init(&rig);
    mqtt5_test_limits_init(&limits);
    limits.maximum_qos = 1;
    limits.retain_available = 0;
    limits.maximum_packet_size = 100;
    mqtt5_test_broker_announce(rig.broker, &limits);
    rig_connect(&rig);
    assert_int_equal(publish(&rig, "x", 2), MQTT5_ERR_UNSUPPORTED);
    struct mqtt5_publish one = message("x", 1);
    one.retain = true;
    assert_int_equal(mqtt5_client_publish(rig.client, &one, WAIT_MS, NULL), MQTT5_ERR_UNSUPPORTED);
    memset(payload, 'x', sizeof payload);
    payload[sizeof payload - 1] = 0;
    assert_int_equal(publish(&rig, payload, 1), MQTT5_ERR_PACKET_TOO_LARGE);
    assert_int_equal(publish(&rig, "small", 1), MQTT5_OK);
    assert_int_equal(count_packets(&rig, MQTT5_PUBLISH, true), 1);
    rig_fini(&rig);
}

static void a_server_that_does_not_read_fills_the_queue_not_the_memory(void **state)
{
    (void)state;
    struct rig rig;
    static char payload[10000];
    struct mqtt5_client_info info;
    rig_init(&rig);
    rig.options.queued_bytes_max = 1u << 20;
    memset(payload, 'x', sizeof payload - 1);
    rig_connect(&rig);
    mqtt5_test_broker_stop_reading(rig.broker, true);
    uint32_t taken = 0;
    enum mqtt5_error error = MQTT5_OK;
    for (; taken < 1000 && error == MQTT5_OK; taken += error == MQTT5_OK)
        error = publish_async(&rig, payload, 1);
    assert_int_equal(error, MQTT5_ERR_QUEUE_FULL);
    assert_in_range(taken, 50, 110);
    mqtt5_client_get_info(rig.client, &info);
    assert_true(info.queued_bytes <= 1u << 20);
    assert_int_equal(mqtt5_client_wait_room(rig.client, QUIET_MS), MQTT5_ERR_TIMEOUT);
    mqtt5_test_broker_stop_reading(rig.broker, false);
    assert_int_equal(mqtt5_client_wait_room(rig.client, WAIT_MS), MQTT5_OK);
    wait_for(&rig.seen, &rig.seen.errors[MQTT5_OK], taken);
    rig_fini(&rig);
}

/* ---- sessions ---- */

static void subscriptions_are_made_again_only_where_the_session_was_lost(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig_connect(&rig);
    subscribe(&rig, "t", 1);
    mqtt5_test_broker_cut(rig.broker, NULL);
    wait_for(&rig.seen, &rig.seen.ups, 2);
    const struct mqtt5_publish one = message("kept", 1);
    assert_int_equal(mqtt5_test_broker_publish(rig.broker, &one), MQTT5_OK);
    wait_for(&rig.seen, &rig.seen.messages, 1);
    assert_int_equal(count_packets(&rig, MQTT5_SUBSCRIBE, true), 1);

    mqtt5_test_broker_refuse_dials(rig.broker, UINT32_MAX);
    mqtt5_test_broker_cut(rig.broker, NULL);
    assert_true(mqtt5_test_broker_wait_clients(rig.broker, 0, WAIT_MS));
    mqtt5_test_broker_advance_time(rig.broker, (EXPIRY_S + 1) * 1000);
    assert_true(mqtt5_test_broker_wait_sessions(rig.broker, 0, WAIT_MS));
    mqtt5_test_broker_behave(rig.broker);
    assert_true(mqtt5_test_broker_wait_packets(rig.broker, MQTT5_SUBACK, false, 2, WAIT_MS));
    assert_int_equal(mqtt5_test_broker_subscription(rig.broker, "client", "t"), 1);
    const struct mqtt5_publish two = message("again", 1);
    assert_int_equal(mqtt5_test_broker_publish(rig.broker, &two), MQTT5_OK);
    wait_for(&rig.seen, &rig.seen.messages, 2);
    assert_string_equal(rig.seen.payloads, "kept again ");
    rig_fini(&rig);
}

/* [MQTT-3.1.2-22] and half-open links: a server that does not answer PINGREQ is left. */
static void a_server_that_is_silent_is_left(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    rig.options.keep_alive_s = 1;
    rig_connect(&rig);
    add_fault(&rig, (struct mqtt5_test_fault){
                        .packet_type = MQTT5_PINGRESP, .action = MQTT5_FAULT_SWALLOW, .count = 1});
    wait_for(&rig.seen, &rig.seen.ups, 2);
    assert_true(mqtt5_test_broker_wait_packets(rig.broker, MQTT5_PINGREQ, true, 1, 0));
    assert_true(mqtt5_test_broker_wait_packets(rig.broker, MQTT5_CONNECT, true, 2, 0));
    rig_fini(&rig);
}

static void what_is_published_while_away_arrives_in_order(void **state)
{
    (void)state;
    struct rig rig;
    struct mqtt5_test_packet packet;
    char expected = '0';
    rig_init(&rig);
    rig.options.offline_queue = true;
    rig_connect(&rig);
    mqtt5_test_broker_refuse_dials(rig.broker, UINT32_MAX);
    mqtt5_test_broker_cut(rig.broker, NULL);
    wait_for(&rig.seen, &rig.seen.downs, 1);
    for (char i = '0'; i <= '9'; i++) {
        const char payload[2] = {i, 0};
        assert_int_equal(publish_async(&rig, payload, (uint8_t)(1 + i % 2)), MQTT5_OK);
    }
    mqtt5_test_broker_behave(rig.broker);
    wait_for(&rig.seen, &rig.seen.errors[MQTT5_OK], 10);
    for (uint32_t i = 0; mqtt5_test_broker_packet(rig.broker, i, &packet); i++) {
        if (packet.type != MQTT5_PUBLISH)
            continue;
        assert_int_equal(packet.packet.as.publish.payload.data[0], expected++);
        assert_false(packet.packet.as.publish.dup); /* they go out for the first time */
    }
    assert_int_equal(expected, '9' + 1);
    rig_fini(&rig);
}

/* A process that ends with messages in its queue, and another that finds them. */
static void a_queue_file_outlives_the_client(void **state)
{
    (void)state;
    struct rig rig;
    char folder[] = "/tmp/mqtt5-queue-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/queue", folder);
    rig_init(&rig);
    rig.options.offline_queue = true;
    rig.options.queue_file = path;
    rig.options.queue_file_sync = true;
    rig_connect(&rig);
    mqtt5_test_broker_refuse_dials(rig.broker, UINT32_MAX);
    mqtt5_test_broker_cut(rig.broker, NULL);
    wait_for(&rig.seen, &rig.seen.downs, 1);
    assert_int_equal(publish_async(&rig, "one", 1), MQTT5_OK);
    assert_int_equal(publish_async(&rig, "two", 2), MQTT5_OK);
    mqtt5_client_free(rig.client);
    assert_false(mqtt5_test_broker_wait_publishes(rig.broker, "t", 1, 0));
    mqtt5_test_broker_behave(rig.broker);
    rig.options.session_known = true; /* the server still has it [MQTT-3.2.2-4] */
    rig_connect(&rig);
    assert_true(mqtt5_test_broker_wait_publishes(rig.broker, "t", 2, WAIT_MS));
    assert_true(mqtt5_test_broker_wait_packets(rig.broker, MQTT5_PUBCOMP, false, 1, WAIT_MS));
    assert_int_equal(mqtt5_client_disconnect(rig.client, NULL, WAIT_MS), MQTT5_OK);
    rig_fini(&rig);
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- rubbish ---- */

/* Packets that a server may not send, or not now: the client leaves, says why, and comes back. */
static void what_a_server_may_not_send_ends_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        uint8_t reason; /* in the client's DISCONNECT */
    } cases[] = {
        {"\x00\x00", 2, MQTT5_REASON_MALFORMED_PACKET},
        {"\x10\x00", 2, 0},                                       /* CONNECT */
        {"\x20\x03\x00\x00\x00", 5, MQTT5_REASON_PROTOCOL_ERROR}, /* a second CONNACK */
        {"\x82\x06\x00\x01\x00\x00\x01x", 8, 0},                  /* SUBSCRIBE */
        {"\xC0\x00", 2, 0},                                       /* PINGREQ */
        {"\x30\xFF\xFF\xFF\xFF", 5, MQTT5_REASON_MALFORMED_PACKET},
        {"\x36\x06\x00\x01t\x00\x01\x00", 8, MQTT5_REASON_MALFORMED_PACKET}, /* QoS 3 */
        {"\x30\x04\x00\x01+\x00", 6, 0},                                     /* a wildcard */
    };
    struct rig rig;
    rig_init(&rig);
    rig_connect(&rig);
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            mqtt5_test_broker_send(rig.broker, NULL, m5_bytes(cases[i].bytes, cases[i].size)), 1);
        wait_for(&rig.seen, &rig.seen.ups, i + 2);
        struct mqtt5_test_packet packet, last = {0};
        for (uint32_t k = 0; mqtt5_test_broker_packet(rig.broker, k, &packet); k++) {
            if (packet.type == MQTT5_DISCONNECT && packet.from_client)
                last = packet;
        }
        if (last.type != MQTT5_DISCONNECT)
            fail_msg("case %u: no DISCONNECT", (unsigned)i);
        assert_true(last.decoded);
        assert_true(last.packet.as.disconnect.reason_code >= 0x80);
        if (cases[i].reason != 0)
            assert_int_equal(last.packet.as.disconnect.reason_code, cases[i].reason);
        mqtt5_test_broker_forget(rig.broker);
    }
    assert_int_equal(publish(&rig, "still here", 2), MQTT5_OK);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_and_come_at_every_qos),
        cmocka_unit_test(a_lost_puback_brings_the_message_again),
        cmocka_unit_test(qos_2_arrives_once_wherever_it_breaks),
        cmocka_unit_test(qos_2_is_delivered_once_wherever_it_breaks),
        cmocka_unit_test(a_corrupted_answer_ends_the_connection_not_the_client),
        cmocka_unit_test(a_redirect_is_followed),
        cmocka_unit_test(redirects_without_end_are_not),
        cmocka_unit_test(a_busy_server_is_tried_again_and_a_strict_one_is_not),
        cmocka_unit_test(dials_that_fail_are_tried_again),
        cmocka_unit_test(no_more_are_in_flight_than_the_server_takes),
        cmocka_unit_test(what_the_server_does_not_take_is_not_sent),
        cmocka_unit_test(a_server_that_does_not_read_fills_the_queue_not_the_memory),
        cmocka_unit_test(subscriptions_are_made_again_only_where_the_session_was_lost),
        cmocka_unit_test(a_server_that_is_silent_is_left),
        cmocka_unit_test(what_is_published_while_away_arrives_in_order),
        cmocka_unit_test(a_queue_file_outlives_the_client),
        cmocka_unit_test(what_a_server_may_not_send_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
