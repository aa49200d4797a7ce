/* The mock client, and on it, in virtual time, how a client comes back to its connection.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "base/bytes.h"
#include "support/unit.h"

#include <mqtt5/mock.h>

#include <string.h>

/* ---- what callbacks leave behind ---- */

struct seen {
    int connected, waiting, disconnected, messages, done, refused, room;
    uint32_t retry_ms[16], attempt;
    enum mqtt5_error error;
    uint8_t reason_code;
    uint8_t refused_code;
    struct mqtt5_ack_token token;
    bool defer;
};

static void on_change(void *ctx, const struct mqtt5_client_change *change)
{
    struct seen *seen = ctx;
    seen->error = change->result.error;
    switch (change->state) {
    case MQTT5_CLIENT_CONNECTED: seen->connected++; break;
    case MQTT5_CLIENT_WAITING:
        if (seen->waiting < 16)
            seen->retry_ms[seen->waiting] = change->retry_ms;
        seen->waiting++;
        seen->attempt = change->attempt;
        break;
    default: seen->disconnected++; break;
    }
}

static void on_message(void *ctx, const struct mqtt5_message *message)
{
    struct seen *seen = ctx;
    seen->messages++;
    if (seen->defer)
        assert_int_equal(mqtt5_message_defer(message, &seen->token), MQTT5_OK);
}

static void on_done(void *ctx, const struct mqtt5_client_result *result)
{
    struct seen *seen = ctx;
    seen->done++;
    seen->error = result->error;
    seen->reason_code = result->reason_code;
}

static void on_refused(void *ctx, struct mqtt5_bytes filter, uint8_t reason_code)
{
    struct seen *seen = ctx;
    (void)filter;
    seen->refused++;
    seen->refused_code = reason_code;
}

static void on_room(void *ctx, struct mqtt5_client *client)
{
    struct seen *seen = ctx;
    (void)client;
    seen->room++;
}

static void prepare(struct mqtt5_client_options *options, struct seen *seen)
{
    *seen = (struct seen){0};
    mqtt5_client_options_init(options);
    options->client_id = "mocked";
    options->url = "mqtt://broker";
    options->on_message = on_message;
    options->on_change = on_change;
    options->on_refused = on_refused;
    options->on_room = on_room;
    options->ctx = seen;
    options->reconnect.jitter_percent = 0;
}

static struct mqtt5_client *make(const struct mqtt5_client_options *options)
{
    struct mqtt5_client *client;
    assert_int_equal(mqtt5_client_mock_new(options, &client), MQTT5_OK);
    return client;
}

static struct mqtt5_client *make_connected(struct seen *seen)
{
    struct mqtt5_client_options options;
    prepare(&options, seen);
    struct mqtt5_client *client = make(&options);
    assert_int_equal(mqtt5_client_connect(client, NULL, 1000), MQTT5_OK);
    assert_int_equal(seen->connected, 1);
    return client;
}

static void script(struct mqtt5_client *client, struct mqtt5_mock_step step)
{
    assert_int_equal(mqtt5_mock_script(client, &step), MQTT5_OK);
}

static enum mqtt5_client_state state_of(struct mqtt5_client *client)
{
    struct mqtt5_client_info info;
    mqtt5_client_get_info(client, &info);
    return info.state;
}

static const struct mqtt5_publish hello = {
    .topic = {(const uint8_t *)"t/1", 3}, .payload = {(const uint8_t *)"hello", 5}, .qos = 1};

/* ---- the mock itself ---- */

static void everything_succeeds_and_is_recorded(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_mock_called call;
    struct mqtt5_client *client = make_connected(&seen);
    uint16_t id = 0;
    uint8_t granted = 9;
    assert_int_equal(mqtt5_client_subscribe_one(client, "t/+", 1, NULL, NULL, 1000, &id, &granted),
                     MQTT5_OK);
    assert_int_equal(id, 1);
    assert_int_equal(granted, 1);
    struct mqtt5_publish message = hello;
    for (uint8_t qos = 0; qos < 3; qos++) {
        message.qos = qos;
        assert_int_equal(mqtt5_client_publish(client, &message, 1000, NULL), MQTT5_OK);
    }
    assert_int_equal(mqtt5_client_ping(client, 1000), MQTT5_OK);
    assert_int_equal(mqtt5_client_disconnect(client, NULL, 1000), MQTT5_OK);
    assert_int_equal(mqtt5_mock_call_count(client), 7);
    assert_int_equal(mqtt5_mock_call(client, 0, &call), MQTT5_OK);
    assert_int_equal(call.operation, MQTT5_MOCK_CONNECT);
    assert_memory_equal(call.topic.data, "mqtt://broker", 13);
    assert_int_equal(mqtt5_mock_call(client, 1, &call), MQTT5_OK);
    assert_int_equal(call.operation, MQTT5_MOCK_SUBSCRIBE);
    assert_memory_equal(call.topic.data, "t/+", 3);
    assert_int_equal(mqtt5_mock_call(client, 4, &call), MQTT5_OK);
    assert_int_equal(call.operation, MQTT5_MOCK_PUBLISH);
    assert_int_equal(call.qos, 2);
    assert_memory_equal(call.payload.data, "hello", 5);
    assert_int_equal(mqtt5_mock_call(client, 6, &call), MQTT5_OK);
    assert_int_equal(call.operation, MQTT5_MOCK_DISCONNECT);
    assert_int_equal(mqtt5_mock_call(client, 7, &call), MQTT5_ERR_INVALID_ARGUMENT);
    mqtt5_mock_forget_calls(client);
    assert_int_equal(mqtt5_mock_call_count(client), 0);
    mqtt5_client_free(client);
}

static void results_are_scripted(void **state)
{
    (void)state;
    struct seen seen;
    uint8_t reason = 0;
    struct mqtt5_client *client = make_connected(&seen);
    script(client, (struct mqtt5_mock_step){
                       .operation = MQTT5_MOCK_PUBLISH, .reason_code = 0x97, .times = 1});
    script(client, (struct mqtt5_mock_step){
                       .operation = MQTT5_MOCK_PUBLISH, .error = MQTT5_ERR_QUEUE_FULL, .times = 1});
    script(client,
           (struct mqtt5_mock_step){.operation = MQTT5_MOCK_SUBSCRIBE, .reason_code = 0x87});
    assert_int_equal(mqtt5_client_publish(client, &hello, 1000, &reason), MQTT5_ERR_REFUSED);
    assert_int_equal(reason, 0x97);
    assert_int_equal(mqtt5_client_publish_async(client, &hello, NULL, NULL), MQTT5_ERR_QUEUE_FULL);
    assert_int_equal(mqtt5_client_publish(client, &hello, 1000, &reason), MQTT5_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(mqtt5_client_subscribe_one(client, "a", 0, NULL, NULL, 1000, NULL, NULL),
                         MQTT5_ERR_REFUSED);
    mqtt5_client_free(client);
}

static void delays_and_silence_are_virtual(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client *client = make_connected(&seen);
    script(client,
           (struct mqtt5_mock_step){.operation = MQTT5_MOCK_PUBLISH, .delay_ms = 500, .times = 1});
    script(client, (struct mqtt5_mock_step){
                       .operation = MQTT5_MOCK_PUBLISH, .fault = MQTT5_MOCK_SILENCE, .times = 1});
    assert_int_equal(mqtt5_client_publish_async(client, &hello, on_done, &seen), MQTT5_OK);
    mqtt5_mock_advance(client, 499);
    assert_int_equal(seen.done, 0);
    mqtt5_mock_advance(client, 1);
    assert_int_equal(seen.done, 1);
    assert_int_equal(mqtt5_client_publish(client, &hello, 5000, NULL), MQTT5_ERR_TIMEOUT);
    mqtt5_client_free(client);
}

static void messages_are_simulated(void **state)
{
    (void)state;
    struct seen seen, handler = {0};
    struct mqtt5_client *client = make_connected(&seen);
    assert_int_equal(
        mqtt5_client_subscribe_one(client, "t/+", 1, on_message, &handler, 1000, NULL, NULL),
        MQTT5_OK);
    assert_int_equal(mqtt5_mock_deliver(client, &hello), MQTT5_OK);
    assert_int_equal(handler.messages, 1);
    assert_int_equal(seen.messages, 0);
    struct mqtt5_publish other = hello;
    other.topic = m5_bytes_of("u");
    other.qos = 2;
    assert_int_equal(mqtt5_mock_deliver(client, &other), MQTT5_OK);
    assert_int_equal(seen.messages, 1); /* no filter: the client's own function */
    assert_int_equal(mqtt5_mock_acknowledged(client), 2);
    other.topic = m5_bytes_of("");
    assert_int_equal(mqtt5_mock_deliver(client, &other), MQTT5_ERR_INVALID_ARGUMENT);
    mqtt5_client_free(client);
}

static void acknowledgement_can_be_deferred(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client_options options;
    prepare(&options, &seen);
    options.deferred_acks = true;
    struct mqtt5_client *client = make(&options);
    assert_int_equal(mqtt5_client_connect(client, NULL, 1000), MQTT5_OK);
    seen.defer = true;
    assert_int_equal(mqtt5_mock_deliver(client, &hello), MQTT5_OK);
    mqtt5_mock_advance(client, 1000);
    assert_int_equal(mqtt5_mock_acknowledged(client), 0);
    assert_int_equal(mqtt5_client_ack(client, seen.token, 0), MQTT5_OK);
    mqtt5_mock_run(client);
    assert_int_equal(mqtt5_mock_acknowledged(client), 1);
    assert_int_equal(mqtt5_client_ack(client, seen.token, 0), MQTT5_ERR_CLOSED);
    mqtt5_client_free(client);
}

static void calls_keep_the_whole_result(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client *client = make_connected(&seen);
    struct mqtt5_call *call = mqtt5_call_new(client), *other = mqtt5_call_new(client);
    assert_int_equal(mqtt5_call_wait(call, 10), MQTT5_ERR_INVALID_STATE);
    script(client, (struct mqtt5_mock_step){
                       .operation = MQTT5_MOCK_PUBLISH, .reason_code = 0x10, .delay_ms = 100});
    assert_int_equal(mqtt5_client_publish_async(client, &hello, mqtt5_call_done, call), MQTT5_OK);
    assert_int_equal(mqtt5_client_publish_async(client, &hello, mqtt5_call_done, other), MQTT5_OK);
    assert_null(mqtt5_call_result(call));
    assert_int_equal(mqtt5_call_wait(call, 10), MQTT5_ERR_TIMEOUT);
    assert_int_equal(mqtt5_call_wait(call, 1000), MQTT5_OK);
    assert_int_equal(mqtt5_call_result(call)->packet_id, 1);
    assert_int_equal(mqtt5_call_result(call)->reason_code, 0x10);
    assert_int_equal(mqtt5_client_publish_async(client, &hello, mqtt5_call_done, call), MQTT5_OK);
    mqtt5_call_free(call); /* under way: it goes on */
    mqtt5_call_free(other);
    mqtt5_mock_advance(client, 1000);
    struct mqtt5_publish wrong = hello;
    wrong.topic = m5_bytes_of("#");
    call = mqtt5_call_new(client);
    assert_int_not_equal(mqtt5_client_publish_async(client, &wrong, mqtt5_call_done, call),
                         MQTT5_OK);
    assert_int_equal(mqtt5_call_wait(call, 10), MQTT5_ERR_INVALID_STATE);
    mqtt5_call_free(call);
    mqtt5_call_free(NULL);
    mqtt5_client_free(client);
}

/* ---- coming back ---- */

static void lost_connection_is_made_again(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client *client = make_connected(&seen);
    mqtt5_mock_advance(client, 20000); /* stable */
    script(client, (struct mqtt5_mock_step){
                       .operation = MQTT5_MOCK_CONNECT, .fault = MQTT5_MOCK_CUT, .times = 3});
    assert_int_equal(mqtt5_mock_cut(client), MQTT5_OK);
    assert_int_equal(seen.waiting, 1);
    assert_int_equal(state_of(client), MQTT5_CLIENT_WAITING);
    mqtt5_mock_advance(client, 999);
    assert_int_equal(seen.waiting, 1);
    mqtt5_mock_advance(client, 1);
    assert_int_equal(seen.waiting, 2);
    mqtt5_mock_advance(client, 2000 + 4000 + 8000);
    assert_int_equal(seen.connected, 2);
    static const uint32_t waits[] = {1000, 2000, 4000, 8000};
    for (int i = 0; i < 4; i++)
        assert_int_equal(seen.retry_ms[i], waits[i]);
    assert_int_equal(seen.disconnected, 0);
    assert_int_equal(mqtt5_mock_cut(client), MQTT5_OK); /* not stable: the row goes on */
    assert_int_equal(seen.retry_ms[4], 16000);
    mqtt5_mock_advance(client, 16000 + 10000);
    assert_int_equal(seen.connected, 3);
    assert_int_equal(mqtt5_mock_cut(client), MQTT5_OK); /* stable: it begins anew */
    assert_int_equal(seen.retry_ms[5], 1000);
    mqtt5_client_free(client);
}

static void first_connection_that_fails_is_an_error(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client_options options;
    prepare(&options, &seen);
    struct mqtt5_client *client = make(&options);
    script(client, (struct mqtt5_mock_step){
                       .operation = MQTT5_MOCK_CONNECT, .fault = MQTT5_MOCK_CUT, .times = 1});
    assert_int_equal(mqtt5_client_connect(client, NULL, 5000), MQTT5_ERR_IO);
    assert_int_equal(state_of(client), MQTT5_CLIENT_DISCONNECTED);
    assert_int_equal(seen.waiting, 0);
    assert_int_equal(seen.disconnected, 1);
    assert_int_equal(mqtt5_client_connect(client, NULL, 5000), MQTT5_OK);
    mqtt5_client_free(client);
}

static void first_connection_may_be_tried_again(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client_options options;
    prepare(&options, &seen);
    options.reconnect.first = true;
    struct mqtt5_client *client = make(&options);
    script(client, (struct mqtt5_mock_step){
                       .operation = MQTT5_MOCK_CONNECT, .fault = MQTT5_MOCK_CUT, .times = 2});
    assert_int_equal(mqtt5_client_connect(client, NULL, 10000), MQTT5_OK);
    assert_int_equal(seen.waiting, 2);
    assert_int_equal(mqtt5_client_disconnect(client, NULL, 1000), MQTT5_OK);
    script(client,
           (struct mqtt5_mock_step){.operation = MQTT5_MOCK_CONNECT, .fault = MQTT5_MOCK_CUT});
    assert_int_equal(mqtt5_client_connect(client, NULL, 10000), MQTT5_ERR_TIMEOUT);
    assert_int_equal(state_of(client), MQTT5_CLIENT_DISCONNECTED); /* given up */
    const int waits = seen.waiting;
    mqtt5_mock_advance(client, 1000000);
    assert_int_equal(seen.waiting, waits);
    mqtt5_client_free(client);
}

static void permanent_errors_end_it(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client *client = make_connected(&seen);
    script(client, (struct mqtt5_mock_step){.operation = MQTT5_MOCK_CONNECT, .reason_code = 0x86});
    assert_int_equal(mqtt5_mock_cut(client), MQTT5_OK);
    mqtt5_mock_advance(client, 1000);
    assert_int_equal(seen.disconnected, 1);
    assert_int_equal(seen.error, MQTT5_ERR_REFUSED);
    assert_int_equal(state_of(client), MQTT5_CLIENT_DISCONNECTED);
    mqtt5_client_free(client);
}

static void session_that_was_taken_over_is_left_alone(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client *client = make_connected(&seen);
    assert_int_equal(mqtt5_mock_end(client, MQTT5_REASON_SESSION_TAKEN_OVER), MQTT5_OK);
    assert_int_equal(seen.disconnected, 1);
    assert_int_equal(seen.waiting, 0);
    mqtt5_client_free(client);
}

static void attempts_are_bounded_if_asked(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client_options options;
    prepare(&options, &seen);
    options.reconnect.attempts_max = 2;
    options.offline_queue = true;
    struct mqtt5_client *client = make(&options);
    assert_int_equal(mqtt5_client_connect(client, NULL, 1000), MQTT5_OK);
    script(client,
           (struct mqtt5_mock_step){.operation = MQTT5_MOCK_CONNECT, .fault = MQTT5_MOCK_CUT});
    assert_int_equal(mqtt5_mock_cut(client), MQTT5_OK);
    mqtt5_mock_advance(client, 100000);
    assert_int_equal(seen.waiting, 2);
    assert_int_equal(seen.disconnected, 1);
    assert_int_equal(mqtt5_client_publish_async(client, &hello, on_done, &seen), MQTT5_OK);
    assert_int_equal(seen.done, 0); /* waits for a connection that the user makes */
    mqtt5_client_free(client);
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.error, MQTT5_ERR_CLOSED);
}

static void disconnecting_ends_the_waiting(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client *client = make_connected(&seen);
    for (int aborts = 0; aborts < 2; aborts++) {
        const int before = seen.disconnected;
        assert_int_equal(mqtt5_mock_cut(client), MQTT5_OK);
        assert_int_equal(state_of(client), MQTT5_CLIENT_WAITING);
        assert_int_equal(mqtt5_client_connect(client, NULL, 10), MQTT5_ERR_INVALID_STATE);
        if (aborts != 0)
            assert_int_equal(mqtt5_client_abort(client), MQTT5_OK);
        else
            assert_int_equal(mqtt5_client_disconnect(client, NULL, 1000), MQTT5_OK);
        mqtt5_mock_run(client);
        assert_int_equal(seen.disconnected, before + 1);
        assert_int_equal(state_of(client), MQTT5_CLIENT_DISCONNECTED);
        assert_int_equal(mqtt5_client_abort(client), MQTT5_ERR_INVALID_STATE);
        assert_int_equal(mqtt5_client_connect(client, NULL, 1000), MQTT5_OK);
    }
    mqtt5_client_free(client);
}

static void messages_and_subscriptions_survive_a_loss(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client_options options;
    prepare(&options, &seen);
    options.offline_queue = true;
    struct mqtt5_client *client = make(&options);
    assert_int_equal(mqtt5_client_connect(client, NULL, 1000), MQTT5_OK);
    struct seen handler = {0};
    assert_int_equal(
        mqtt5_client_subscribe_one(client, "t/+", 1, on_message, &handler, 1000, NULL, NULL),
        MQTT5_OK);
    assert_int_equal(mqtt5_mock_cut(client), MQTT5_OK);
    assert_int_equal(mqtt5_client_publish_async(client, &hello, on_done, &seen), MQTT5_OK);
    script(client, (struct mqtt5_mock_step){
                       .operation = MQTT5_MOCK_SUBSCRIBE, .reason_code = 0x8f, .times = 1});
    mqtt5_mock_advance(client, 1000);
    assert_int_equal(seen.connected, 2);
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.error, MQTT5_OK);
    assert_int_equal(seen.refused, 1); /* made again, and refused */
    assert_int_equal(seen.refused_code, 0x8f);
    assert_int_equal(mqtt5_mock_deliver(client, &hello), MQTT5_OK);
    assert_int_equal(handler.messages, 0);
    assert_int_equal(seen.messages, 1);
    mqtt5_client_free(client);
}

static void blocking_publish_waits_through_a_reconnection(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client_options options;
    prepare(&options, &seen);
    options.offline_queue = true;
    struct mqtt5_client *client = make(&options);
    assert_int_equal(mqtt5_client_connect(client, NULL, 1000), MQTT5_OK);
    assert_int_equal(mqtt5_mock_cut(client), MQTT5_OK);
    assert_int_equal(mqtt5_client_publish(client, &hello, 5000, NULL), MQTT5_OK);
    assert_int_equal(seen.connected, 2);
    mqtt5_client_free(client);
}

static void room_is_told_and_waited_for(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_client_options options;
    prepare(&options, &seen);
    options.queued_messages_max = 2;
    struct mqtt5_client *client = make(&options);
    assert_int_equal(mqtt5_client_connect(client, NULL, 1000), MQTT5_OK);
    script(client, (struct mqtt5_mock_step){.operation = MQTT5_MOCK_PUBLISH, .delay_ms = 100});
    for (int i = 0; i < 2; i++)
        assert_int_equal(mqtt5_client_publish_async(client, &hello, NULL, NULL), MQTT5_OK);
    assert_int_equal(mqtt5_client_publish_async(client, &hello, NULL, NULL), MQTT5_ERR_QUEUE_FULL);
    assert_int_equal(mqtt5_client_wait_room(client, 50), MQTT5_ERR_TIMEOUT);
    assert_int_equal(mqtt5_client_wait_room(client, 1000), MQTT5_OK);
    assert_int_equal(seen.room, 1);
    for (int i = 0; i < 2; i++)
        (void)!mqtt5_client_publish_async(client, &hello, NULL, NULL);
    assert_int_equal(mqtt5_client_publish(client, &hello, 1000, NULL), MQTT5_OK); /* waits */
    mqtt5_client_free(client);
}

/* ---- hooks ---- */

static uint32_t add_trace(void *ctx, const struct mqtt5_publish *publish,
                          struct mqtt5_user_property *out, uint32_t max)
{
    (void)ctx;
    (void)publish;
    assert_true(max >= 1);
    out[0] = (struct mqtt5_user_property){.name = m5_bytes_of("traceparent"),
                                          .value = m5_bytes_of("00-1-2-01")};
    return 1;
}

static void *look_at_trace(void *ctx, const struct mqtt5_message *message, void *span)
{
    int *steps = ctx;
    (void)message;
    assert_true((span == NULL) == (*steps % 2 == 0));
    ++*steps;
    return steps;
}

static void trace_context_goes_out_and_comes_in(void **state)
{
    (void)state;
    struct seen seen;
    int steps = 0;
    struct mqtt5_client_options options;
    prepare(&options, &seen);
    options.on_trace_publish = add_trace;
    options.on_trace_deliver = look_at_trace;
    options.trace_ctx = &steps;
    options.maximum_packet_size = 1000;
    struct mqtt5_client *client = make(&options);
    assert_int_equal(mqtt5_client_connect(client, NULL, 1000), MQTT5_OK);
    assert_int_equal(mqtt5_client_publish(client, &hello, 1000, NULL), MQTT5_OK);
    assert_int_equal(mqtt5_mock_deliver(client, &hello), MQTT5_OK);
    assert_int_equal(steps, 2);
    mqtt5_client_free(client);
}

static void rules_of_a_namespace_are_obeyed(void **state)
{
    (void)state;
    struct seen seen;
    struct mqtt5_namespace_rules rules;
    struct mqtt5_client_options options;
    char why[300];
    prepare(&options, &seen);
    mqtt5_namespace_rules_init(&rules, MQTT5_NAMESPACE_AWS_IOT);
    rules.device_id = "d1";
    options.rules = &rules;
    struct mqtt5_client *client = make(&options);
    assert_int_equal(mqtt5_client_connect(client, NULL, 1000), MQTT5_OK);
    struct mqtt5_publish message = hello;
    message.topic = m5_bytes_of("$aws/things/d1/shadow/update");
    assert_int_equal(mqtt5_client_publish(client, &message, 1000, NULL), MQTT5_OK);
    message.topic = m5_bytes_of("$aws/things/d1/shadow/update/accepted");
    assert_int_equal(mqtt5_client_publish(client, &message, 1000, NULL), MQTT5_ERR_NOT_AUTHORIZED);
    mqtt5_client_why(client, why, sizeof why);
    assert_true(why[0] != 0);
    assert_int_equal(
        mqtt5_client_subscribe_one(client, "$aws/things/d2/#", 0, NULL, NULL, 1000, NULL, NULL),
        MQTT5_ERR_NOT_AUTHORIZED);
    mqtt5_client_free(client);
}

static void clones_own_what_they_show(void **state)
{
    (void)state;
    const struct mqtt5_user_property user = {.name = m5_bytes_of("n"), .value = m5_bytes_of("v")};
    struct mqtt5_publish message = hello;
    MQTT5_SET(&message.properties, RESPONSE_TOPIC);
    message.properties.response_topic = m5_bytes_of("back");
    MQTT5_SET(&message.properties, USER_PROPERTY);
    message.properties.user_property = (struct mqtt5_user_properties){.items = &user, .count = 1};
    struct mqtt5_publish *clone = mqtt5_publish_clone(&message, NULL);
    assert_non_null(clone);
    assert_ptr_not_equal(clone->payload.data, hello.payload.data);
    assert_memory_equal(clone->payload.data, "hello", 5);
    assert_memory_equal(clone->topic.data, "t/1", 3);
    assert_memory_equal(clone->properties.response_topic.data, "back", 4);
    assert_ptr_not_equal(clone->properties.user_property.items, &user);
    assert_memory_equal(clone->properties.user_property.items[0].value.data, "v", 1);
    mqtt5_publish_free(clone, NULL);
    mqtt5_publish_free(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_succeeds_and_is_recorded),
        cmocka_unit_test(results_are_scripted),
        cmocka_unit_test(delays_and_silence_are_virtual),
        cmocka_unit_test(messages_are_simulated),
        cmocka_unit_test(acknowledgement_can_be_deferred),
        cmocka_unit_test(calls_keep_the_whole_result),
        cmocka_unit_test(lost_connection_is_made_again),
        cmocka_unit_test(first_connection_that_fails_is_an_error),
        cmocka_unit_test(first_connection_may_be_tried_again),
        cmocka_unit_test(permanent_errors_end_it),
        cmocka_unit_test(session_that_was_taken_over_is_left_alone),
        cmocka_unit_test(attempts_are_bounded_if_asked),
        cmocka_unit_test(disconnecting_ends_the_waiting),
        cmocka_unit_test(messages_and_subscriptions_survive_a_loss),
        cmocka_unit_test(blocking_publish_waits_through_a_reconnection),
        cmocka_unit_test(room_is_told_and_waited_for),
        cmocka_unit_test(trace_context_goes_out_and_comes_in),
        cmocka_unit_test(rules_of_a_namespace_are_obeyed),
        cmocka_unit_test(clones_own_what_they_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
