/* How a program is tested against a server that misbehaves: store_reading() below is the program,
 * main() its test. Nothing is faked but the network; for a client without any server see
 * test_with_mock.c.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/mqtt5.h>
#include <mqtt5/test_broker.h>

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 10000

static struct mqtt5_bytes bytes_of(const char *text)
{
    return (struct mqtt5_bytes){.data = (const uint8_t *)text, .len = strlen(text)};
}

/* ---- the program ---- */

static enum mqtt5_error store_reading(struct mqtt5_client *client, const char *text)
{
    struct mqtt5_call *call = mqtt5_call_new(client);
    const struct mqtt5_publish reading = {
        .topic = bytes_of("readings"), .payload = bytes_of(text), .qos = 2};
    if (call == NULL)
        return MQTT5_ERR_NOMEM;
    enum mqtt5_error error = mqtt5_client_publish_async(client, &reading, mqtt5_call_done, call);
    if (error == MQTT5_OK)
        error = mqtt5_call_wait(call, TIMEOUT_MS);
    mqtt5_call_free(call);
    return error;
}

/* ---- its test ---- */

static int expect(bool condition, const char *what)
{
    if (!condition)
        fprintf(stderr, "not so: %s\n", what);
    return condition ? 0 : 1;
}

/* The connection breaks when the broker is about to confirm: the reading must arrive all the same,
 * and once. */
static int test_a_broken_connection(struct mqtt5_test_broker *broker, struct mqtt5_client *client)
{
    const struct mqtt5_test_fault fault = {
        .packet_type = MQTT5_PUBREC,
        .action = MQTT5_FAULT_CUT,
        .count = 1,
    };
    struct mqtt5_test_packet packet;
    uint32_t fresh = 0, again = 0;
    int wrong = expect(mqtt5_test_broker_fault(broker, &fault) == MQTT5_OK, "a fault is added");
    wrong += expect(store_reading(client, "21.5") == MQTT5_OK, "the reading is stored");
    for (uint32_t i = 0; mqtt5_test_broker_packet(broker, i, &packet); i++) {
        if (packet.type != MQTT5_PUBLISH || !packet.from_client)
            continue;
        fresh += !packet.packet.as.publish.dup;
        again += packet.packet.as.publish.dup;
    }
    wrong += expect(fresh == 1 && again == 1, "it is sent, and repeated as the same message");
    return wrong;
}

/* A server that takes no QoS 2 is an error, not a surprise. */
static int test_a_lesser_server(struct mqtt5_test_broker *broker, struct mqtt5_client *client)
{
    struct mqtt5_test_limits limits;
    mqtt5_test_limits_init(&limits);
    limits.maximum_qos = 1;
    mqtt5_test_broker_announce(broker, &limits);
    mqtt5_test_broker_forget(broker);
    mqtt5_test_broker_cut(broker, NULL); /* the client comes back, and is told */
    struct mqtt5_client_info info;
    mqtt5_client_get_info(client, &info);
    const uint64_t connects = info.connects;
    int wrong = 0;
    while (wrong == 0 && info.connects == connects) {
        wrong = expect(mqtt5_client_process(client, TIMEOUT_MS) == MQTT5_OK, "it works on");
        mqtt5_client_get_info(client, &info);
    }
    wrong += expect(store_reading(client, "22") == MQTT5_ERR_UNSUPPORTED, "QoS 2 is refused");
    wrong += expect(!mqtt5_test_broker_wait_publishes(broker, "readings", 1, 0), "nothing is sent");
    return wrong;
}

int main(void)
{
    struct mqtt5_test_broker *broker;
    struct mqtt5_client *client = NULL;
    struct mqtt5_client_options options;
    if (mqtt5_test_broker_new(NULL, &broker) != MQTT5_OK)
        return 1;
    mqtt5_client_options_init(&options);
    options.dial = mqtt5_test_broker_dial;
    options.dial_ctx = broker;
    options.clean_start = false;
    options.session_expiry_s = 60;
    options.offline_queue = true;
    options.own_thread = false;
    options.reconnect.min_ms = 10; /* a test does not like to wait */
    int wrong = expect(mqtt5_client_new(&options, &client) == MQTT5_OK, "a client is made");
    wrong += wrong == 0 &&
             expect(mqtt5_client_connect(client, "mqtt://any", TIMEOUT_MS) == MQTT5_OK, "connects");
    if (wrong == 0)
        wrong = test_a_broken_connection(broker, client);
    if (wrong == 0)
        wrong = test_a_lesser_server(broker, client);
    mqtt5_client_free(client);
    mqtt5_test_broker_free(broker);
    if (wrong == 0)
        printf("tested\n");
    return wrong == 0 ? 0 : 1;
}
