/* The client under a server and a user that do anything: a program of steps, in any order, with
 * allocations that fail. After every step its invariants are checked; in the end every operation
 * must have ended once and all memory must be back.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/assert.h"
#include "base/bytes.h"
#include "client/client.h"
#include "support/test_allocator.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    const uint8_t *at, *end; /* the program */
    struct test_allocator allocator;
    struct m5_client *client;
    uint64_t now_ms;
    uint32_t accepted, ended;
    uint64_t last_number; /* of the message that was shown last */
    int mark;
};

static uint8_t take(struct run *run)
{
    return run->at < run->end ? *run->at++ : 0;
}

static struct mqtt5_bytes take_bytes(struct run *run, size_t size)
{
    const size_t left = (size_t)(run->end - run->at);
    const struct mqtt5_bytes bytes = m5_bytes(run->at, size < left ? size : left);
    run->at += bytes.len;
    return bytes;
}

/* ---- what the user may do ---- */

static void drain(struct run *run)
{
    struct m5_client_event event;
    while (m5_client_next_event(run->client, &event)) {
        if (event.type == M5_CLIENT_COMPLETED) {
            M5_ASSERT(event.ctx == &run->mark);
            run->ended++;
        } else if (event.type == M5_CLIENT_MESSAGE) {
            M5_ASSERT(event.publish.topic.len > 0);
            M5_ASSERT(event.number == 0 || event.number > run->last_number);
            if (event.number != 0)
                run->last_number = event.number;
            if (event.number % 4 != 0) /* most are deferred */
                M5_ASSERT(m5_client_defer(run->client, event.number) == MQTT5_OK);
        } else if (event.type == M5_CLIENT_AUTH && event.result.reason_code == 0) {
            m5_client_auth_done(run->client, MQTT5_OK);
        } else if (event.type == M5_CLIENT_RESUBSCRIBED) {
            M5_ASSERT(event.filters.len > 0);
        }
    }
}

static void acknowledge(struct run *run)
{
    const uint8_t what = take(run);
    const uint64_t back = what & 15;
    const uint64_t number = run->last_number > back ? run->last_number - back : 0;
    (void)m5_client_acknowledge(run->client, number, (what & 16) != 0 ? 0x80 : 0);
}

static void authenticate(struct run *run)
{
    const uint8_t what = take(run);
    const struct mqtt5_bytes data = take_bytes(run, what & 7);
    if ((what & 8) != 0)
        (void)m5_client_auth(run->client, data);
    else
        run->accepted += m5_client_reauthenticate(run->client, data, &run->mark) == MQTT5_OK;
}

static void publish(struct run *run)
{
    const uint8_t what = take(run);
    struct mqtt5_publish message = {.qos = what & 3, .retain = (what & 4) != 0};
    if ((what & 8) != 0) {
        MQTT5_SET(&message.properties, TOPIC_ALIAS);
        message.properties.topic_alias = take(run);
    }
    if ((what & 16) != 0)
        message.properties.raw = take_bytes(run, take(run) & 31);
    if ((what & 136) == 128) {
        MQTT5_SET(&message.properties, MESSAGE_EXPIRY_INTERVAL);
        message.properties.message_expiry_interval_s = take(run);
    }
    message.topic =
        (what & 96) == 96 ? m5_bytes_of("a/longer/topic") : take_bytes(run, take(run) & 15);
    message.payload = take_bytes(run, what >> 5);
    run->accepted += m5_client_publish(run->client, &message, &run->mark) == MQTT5_OK;
}

static void subscribe(struct run *run)
{
    const uint8_t what = take(run);
    const struct mqtt5_subscription_request items[] = {
        {.filter = take_bytes(run, take(run) & 15), .qos = what & 3},
        {.filter = m5_bytes_of("$share/g/x"), .retain_handling = what >> 2 & 3}};
    struct mqtt5_subscribe request = {.count = 1 + (what >> 4 & 1), .items = items};
    request.properties.raw = take_bytes(run, what >> 5);
    run->accepted += m5_client_subscribe(run->client, &request, &run->mark) == MQTT5_OK;
}

static void unsubscribe(struct run *run)
{
    const struct mqtt5_bytes items[] = {take_bytes(run, take(run) & 15), m5_bytes_of("b")};
    const struct mqtt5_unsubscribe request = {.count = 2, .items = items};
    run->accepted += m5_client_unsubscribe(run->client, &request, &run->mark) == MQTT5_OK;
}

static void disconnect(struct run *run)
{
    struct mqtt5_reasoned reason = {.reason_code = take(run)};
    reason.properties.raw = take_bytes(run, take(run) & 15);
    (void)!m5_client_disconnect(run->client, &reason);
}

/* ---- what the server and the network may do ---- */

static void feed(struct run *run, struct mqtt5_bytes bytes)
{
    m5_client_input(run->client, bytes);
}

/* A packet that is likely to fit: the first byte and the identifier come from the program. */
static void feed_answer(struct run *run)
{
    static const uint8_t firsts[] = {0x20, 0x40, 0x50, 0x62, 0x70, 0x90, 0xb0, 0xd0};
    const uint8_t what = take(run), first = firsts[what & 7];
    const uint8_t connack[] = {0x20, 3, what >> 7, 0, 0};
    const uint8_t ack[] = {first, 2, 0, what >> 3};
    const uint8_t suback[] = {first, 4, 0, what >> 3, 0, 0};
    if (first == 0x20)
        feed(run, m5_bytes(connack, sizeof connack));
    else if (first == 0x90 || first == 0xb0)
        feed(run, m5_bytes(suback, sizeof suback));
    else if (first == 0xd0)
        feed(run, m5_bytes("\xd0\x00", 2));
    else
        feed(run, m5_bytes(ack, sizeof ack));
}

static void send_some(struct run *run)
{
    const struct mqtt5_bytes out = m5_client_output(run->client);
    const size_t some = take(run);
    const size_t size = some == 255 || some > out.len ? out.len : some;
    if (size > 0)
        m5_client_sent(run->client, size);
}

static void set_returning(struct run *run)
{
    const uint8_t what = take(run);
    m5_client_set_returning(run->client, (what & 1) != 0);
    if ((what & 2) != 0)
        (void)m5_client_set_credentials(run->client, (what & 4) != 0 ? "name" : NULL,
                                        (what & 8) != 0 ? "secret" : NULL);
    m5_client_relax(run->client);
}

static void open(struct run *run)
{
    const enum m5_client_start start =
        (take(run) & 1) != 0 ? M5_CLIENT_START_RESUME : M5_CLIENT_START_AS_CONFIGURED;
    (void)m5_client_open(run->client, start, run->now_ms);
}

/* Opens, is accepted and has sent all. */
static void connect(struct run *run)
{
    static const uint8_t connack[] = {0x20, 9, 0, 0, 6, 0x22, 0, 9, 0x21, 0, 9};
    open(run);
    if (m5_client_wants_auth(run->client))
        (void)m5_client_auth(run->client, (struct mqtt5_bytes){0});
    while (m5_client_output(run->client).len > 0)
        m5_client_sent(run->client, m5_client_output(run->client).len);
    feed(run, m5_bytes(connack, sizeof connack));
    drain(run);
}

static void step(struct run *run)
{
    switch (take(run) % 18) {
    case 0: feed(run, take_bytes(run, take(run))); break;
    case 1:
    case 2: feed_answer(run); break;
    case 3:
    case 4: publish(run); break;
    case 5: subscribe(run); break;
    case 6: unsubscribe(run); break;
    case 7:
        run->now_ms += (uint64_t)take(run) * 500;
        m5_client_tick(run->client, run->now_ms);
        break;
    case 8: send_some(run); break;
    case 9: m5_client_lost(run->client); break;
    case 10: open(run); break;
    case 11: disconnect(run); break;
    case 12: test_allocator_fail_nth(&run->allocator, take(run) & 15); break;
    case 13: acknowledge(run); break;
    case 14: authenticate(run); break;
    case 15: set_returning(run); break;
    case 16: run->accepted += m5_client_ping(run->client, &run->mark) == MQTT5_OK; break;
    default: connect(run); break;
    }
    m5_client_check(run->client);
    if (run->at < run->end && (*run->at & 1) != 0)
        drain(run); /* else events wait */
    if (m5_client_wants_close(run->client))
        m5_client_lost(run->client);
    m5_client_check(run->client);
}

/* The host's to call, never the engine's. */
static enum mqtt5_error no_handler(void *ctx, enum mqtt5_auth_step step, struct mqtt5_bytes data,
                                   struct mqtt5_bytes *reply)
{
    (void)ctx;
    (void)step;
    (void)data;
    (void)reply;
    M5_UNREACHABLE();
}

static bool make(struct run *run)
{
    struct mqtt5_client_options config;
    const uint8_t what = take(run), habits = take(run);
    mqtt5_client_options_init(&config);
    config.version = (what & 1) != 0 ? MQTT5_VERSION_3_1_1 : MQTT5_VERSION_5;
    config.clean_start = (what & 2) != 0;
    config.session_known = (what & 4) != 0;
    config.session_expiry_s = (what & 8) != 0 ? 60 : 0;
    config.offline_queue = (what & 16) != 0;
    config.client_id = (what & 32) != 0 ? "" : "c";
    config.receive_maximum = (uint16_t)(1 + (what >> 6));
    config.maximum_packet_size = 4096;
    config.connect_timeout_ms = 1000;
    config.reconnect.enabled = (habits & 1) != 0;
    config.deferred_acks = (habits & 2) != 0;
    config.ack_lapse_ms = (habits & 4) != 0 ? 5000 : 0;
    config.auto_aliases_max = (habits & 8) != 0 ? 4 : 0;
    config.overflow = (enum mqtt5_overflow)((habits >> 4) % 3);
    config.queued_messages_max = (habits & 64) != 0 ? 3 : 64;
    config.offline_qos0 = (habits & 128) != 0;
    if ((what & 128) != 0 && config.version == MQTT5_VERSION_5 && (habits & 64) != 0) {
        config.auth_method = "M";
        config.auth = no_handler;
    }
    return m5_client_new(&config, &run->allocator.table, run->now_ms, &run->client) == MQTT5_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run run = {.at = data, .end = data + size};
    test_allocator_init(&run.allocator);
    if (size == 0 || !make(&run)) {
        test_allocator_check(&run.allocator);
        return 0;
    }
    while (run.at < run.end)
        step(&run);
    m5_client_lost(run.client);
    m5_client_abandon(run.client);
    drain(&run);
    m5_client_check(run.client);
    M5_ASSERT(run.accepted == run.ended);
    m5_client_free(run.client);
    test_allocator_check(&run.allocator);
    return 0;
}
