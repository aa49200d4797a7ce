/* A client on a bench.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/client_rig.h"

#include "base/bytes.h"
#include "support/hex.h"

#include <stdio.h>
#include <stdlib.h>

#define PACKET_MAX 4096u

static void die(const char *what)
{
    fprintf(stderr, "client rig: %s\n", what);
    abort();
}

void rig_init(struct client_rig *rig)
{
    *rig = (struct client_rig){.now_ms = 1000};
    test_allocator_init(&rig->allocator);
    mqtt5_client_options_init(&rig->config);
    rig->config.client_id = "c";
    rig->config.topic_alias_maximum = 0;
}

void rig_make(struct client_rig *rig)
{
    if (m5_client_new(&rig->config, &rig->allocator.table, rig->now_ms, &rig->client) != MQTT5_OK)
        die("the client cannot be made");
    m5_client_check(rig->client);
}

void rig_start(struct client_rig *rig)
{
    rig_init(rig);
    rig_make(rig);
}

void rig_fini(struct client_rig *rig)
{
    m5_client_free(rig->client);
    test_allocator_check(&rig->allocator);
}

void rig_feed_bytes(struct client_rig *rig, struct mqtt5_bytes bytes)
{
    if (m5_client_input(rig->client, bytes) != bytes.len)
        die("input was not taken");
    m5_client_check(rig->client);
}

void rig_feed(struct client_rig *rig, const char *hex)
{
    uint8_t bytes[PACKET_MAX];
    rig_feed_bytes(rig, hex_read(hex, bytes, sizeof bytes));
}

void rig_pass(struct client_rig *rig, uint64_t ms)
{
    rig->now_ms += ms;
    m5_client_tick(rig->client, rig->now_ms);
    m5_client_check(rig->client);
}

bool rig_event(struct client_rig *rig, struct m5_client_event *event)
{
    const bool found = m5_client_next_event(rig->client, event);
    m5_client_check(rig->client);
    return found;
}

bool rig_quiet(struct client_rig *rig)
{
    struct m5_client_event event;
    if (!rig_event(rig, &event))
        return true;
    fprintf(stderr, "client rig: an event of type %d where none should be\n", (int)event.type);
    return false;
}

/* Takes the output, up to @p size_max bytes of it, into @p out. */
static struct mqtt5_bytes take_output(struct client_rig *rig, uint8_t *out, size_t size_max)
{
    size_t size = 0;
    for (;;) {
        const struct mqtt5_bytes bytes = m5_client_output(rig->client);
        if (bytes.len == 0)
            break;
        if (bytes.len > size_max - size)
            die("more output than a test looks at");
        m5_copy(out + size, bytes);
        size += bytes.len;
        m5_client_sent(rig->client, bytes.len);
        m5_client_check(rig->client);
    }
    return m5_bytes(out, size);
}

bool rig_sent(struct client_rig *rig, const char *hex)
{
    uint8_t expected_bytes[PACKET_MAX], sent_bytes[PACKET_MAX];
    const struct mqtt5_bytes expected = hex_read(hex, expected_bytes, sizeof expected_bytes);
    const struct mqtt5_bytes sent = take_output(rig, sent_bytes, sizeof sent_bytes);
    if (m5_bytes_equal(sent, expected))
        return true;
    hex_print("expected", expected);
    hex_print("sent", sent);
    return false;
}

void rig_drop_output(struct client_rig *rig)
{
    struct mqtt5_bytes bytes;
    while ((bytes = m5_client_output(rig->client)).len > 0)
        m5_client_sent(rig->client, bytes.len);
    m5_client_check(rig->client);
}

void rig_lose(struct client_rig *rig)
{
    m5_client_lost(rig->client);
    m5_client_check(rig->client);
}

bool rig_connect(struct client_rig *rig, const char *connack)
{
    struct m5_client_event event;
    if (m5_client_open(rig->client, M5_CLIENT_START_AS_CONFIGURED, rig->now_ms) != MQTT5_OK)
        return false;
    m5_client_check(rig->client);
    rig_drop_output(rig);
    rig_feed(rig, connack);
    return rig_event(rig, &event) && event.type == M5_CLIENT_CONNECTED;
}

enum mqtt5_error rig_publish(struct client_rig *rig, uint8_t qos, const char *payload, void *ctx)
{
    const struct mqtt5_publish publish = {
        .qos = qos, .topic = m5_bytes_of("t"), .payload = m5_bytes_of(payload)};
    const enum mqtt5_error error = m5_client_publish(rig->client, &publish, ctx);
    m5_client_check(rig->client);
    return error;
}

enum mqtt5_error rig_subscribe(struct client_rig *rig, const char *filter, uint8_t qos, void *ctx)
{
    const struct mqtt5_subscription_request item = {.filter = m5_bytes_of(filter), .qos = qos};
    const struct mqtt5_subscribe subscribe = {.count = 1, .items = &item};
    const enum mqtt5_error error = m5_client_subscribe(rig->client, &subscribe, ctx);
    m5_client_check(rig->client);
    return error;
}

enum mqtt5_error rig_completed(struct client_rig *rig, void **ctx)
{
    struct m5_client_event event;
    if (!rig_event(rig, &event) || event.type != M5_CLIENT_COMPLETED)
        return MQTT5_ERROR_COUNT;
    if (ctx != NULL)
        *ctx = event.ctx;
    return event.result.error;
}

bool rig_ended(struct client_rig *rig, enum mqtt5_error error, uint8_t reason)
{
    struct m5_client_event event;
    char goodbye[32] = "";
    while (m5_client_state(rig->client) != MQTT5_CLIENT_CLOSING && rig_event(rig, &event))
        ;
    if (reason != 0)
        snprintf(goodbye, sizeof goodbye, "e0 01 %02x", reason);
    if (!rig_sent(rig, goodbye) || !m5_client_wants_close(rig->client))
        return false;
    rig_lose(rig);
    do {
        if (!rig_event(rig, &event))
            return false;
    } while (event.type != M5_CLIENT_DISCONNECTED);
    if (event.result.error == error)
        return true;
    fprintf(stderr, "ended as %s, not %s\n", mqtt5_error_name(event.result.error),
            mqtt5_error_name(error));
    return false;
}
