/* The test broker: that it is a broker, that its faults happen, that what it saw can be seen.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "support/unit.h"

#include "base/bytes.h"

#include <mqtt5/test_broker.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS  10000
#define QUIET_MS    100 /* nothing comes for so long: nothing will */
#define BUFFER_SIZE 65536u

/* A client by hand. */
struct peer {
    int fd;
    uint8_t version;
    uint8_t buffer[BUFFER_SIZE];
    size_t size, used; /* bytes in the buffer; of the packet shown last */
};

static struct mqtt5_test_broker *start(void)
{
    struct mqtt5_test_broker *broker;
    assert_int_equal(mqtt5_test_broker_new(NULL, &broker), MQTT5_OK);
    return broker;
}

static void send_bytes(const struct peer *peer, const void *bytes, size_t size)
{
    assert_int_equal(send(peer->fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void send_packet(const struct peer *peer, const struct mqtt5_packet *packet)
{
    uint8_t bytes[1024];
    const size_t size = mqtt5_packet_size(packet, peer->version);
    assert_in_range(size, 1, sizeof bytes);
    mqtt5_packet_write(packet, peer->version, bytes, size);
    send_bytes(peer, bytes, size);
}

/* The next packet, or false when nothing has come for @p timeout_ms, or the end has. */
static bool take_within(struct peer *peer, struct mqtt5_packet *out, int timeout_ms, bool *ended)
{
    struct mqtt5_frame frame;
    struct mqtt5_decode_limits limits;
    mqtt5_decode_limits_init(&limits);
    memmove(peer->buffer, peer->buffer + peer->used, peer->size -= peer->used);
    peer->used = 0;
    *ended = false;
    while (mqtt5_frame_read(m5_bytes(peer->buffer, peer->size), BUFFER_SIZE, &frame) != MQTT5_OK) {
        struct pollfd item = {.fd = peer->fd, .events = POLLIN};
        if (poll(&item, 1, timeout_ms) == 0)
            return false;
        const ssize_t n = recv(peer->fd, peer->buffer + peer->size, BUFFER_SIZE - peer->size, 0);
        *ended = n <= 0;
        if (n <= 0)
            return false;
        peer->size += (size_t)n;
    }
    peer->used = frame.size;
    assert_int_equal(mqtt5_packet_decode(&frame, peer->version, &limits, out), MQTT5_OK);
    return true;
}

static void take(struct peer *peer, uint8_t type, struct mqtt5_packet *out)
{
    bool ended;
    if (!take_within(peer, out, TIMEOUT_MS, &ended))
        fail_msg("%s instead of %s", ended ? "the end" : "nothing", mqtt5_packet_type_text(type));
    assert_string_equal(mqtt5_packet_type_text(out->type), mqtt5_packet_type_text(type));
}

static void assert_end(struct peer *peer)
{
    struct mqtt5_packet packet;
    bool ended;
    assert_false(take_within(peer, &packet, TIMEOUT_MS, &ended));
    assert_true(ended);
}

static void assert_quiet(struct peer *peer)
{
    struct mqtt5_packet packet;
    bool ended;
    assert_false(take_within(peer, &packet, QUIET_MS, &ended));
    assert_false(ended);
}

static void say_connect(const struct peer *peer, const char *id, uint32_t expiry_s)
{
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT};
    packet.as.connect.version = peer->version;
    packet.as.connect.client_id = m5_bytes_of(id);
    packet.as.connect.clean_start = expiry_s == 0;
    if (expiry_s > 0) {
        MQTT5_SET(&packet.as.connect.properties, SESSION_EXPIRY_INTERVAL);
        packet.as.connect.properties.session_expiry_interval_s = expiry_s;
    }
    send_packet(peer, &packet);
}

static struct peer *open_peer(struct mqtt5_test_broker *broker)
{
    struct peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    peer->version = MQTT5_VERSION_5;
    peer->fd = mqtt5_test_broker_connect(broker);
    assert_true(peer->fd >= 0);
    return peer;
}

static void close_peer(struct peer *peer)
{
    close(peer->fd);
    free(peer);
}

static struct peer *connect_for(struct mqtt5_test_broker *broker, const char *id, uint32_t expiry_s)
{
    struct peer *peer = open_peer(broker);
    struct mqtt5_packet packet;
    say_connect(peer, id, expiry_s);
    take(peer, MQTT5_CONNACK, &packet);
    assert_int_equal(packet.as.connack.reason_code, 0);
    return peer;
}

static void say_publish(const struct peer *peer, const char *topic, uint8_t qos, uint16_t id)
{
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    packet.as.publish.topic = m5_bytes_of(topic);
    packet.as.publish.payload = m5_bytes_of("payload");
    packet.as.publish.qos = qos;
    packet.as.publish.packet_id = id;
    send_packet(peer, &packet);
}

static void subscribe(struct peer *peer, const char *filter, uint8_t qos)
{
    const struct mqtt5_subscription_request item = {.filter = m5_bytes_of(filter), .qos = qos};
    struct mqtt5_packet packet = {.type = MQTT5_SUBSCRIBE};
    packet.as.subscribe.packet_id = 77;
    packet.as.subscribe.count = 1;
    packet.as.subscribe.items = &item;
    send_packet(peer, &packet);
    take(peer, MQTT5_SUBACK, &packet);
    assert_int_equal(packet.as.suback.reason_codes.data[0], qos);
}

static void take_puback(struct peer *peer, uint16_t id)
{
    struct mqtt5_packet packet;
    take(peer, MQTT5_PUBACK, &packet);
    assert_int_equal(packet.as.ack.packet_id, id);
}

static void add_fault(struct mqtt5_test_broker *broker, struct mqtt5_test_fault fault)
{
    assert_int_equal(mqtt5_test_broker_fault(broker, &fault), MQTT5_OK);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- a broker ---- */

static void test_it_is_a_broker(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *one = connect_for(broker, "one", 0), *two = connect_for(broker, "two", 100);
    struct mqtt5_packet packet;
    assert_true(mqtt5_test_broker_wait_clients(broker, 2, TIMEOUT_MS));
    assert_true(mqtt5_test_broker_has_client(broker, "two"));
    subscribe(two, "a/+", 1);
    assert_int_equal(mqtt5_test_broker_subscription(broker, "two", "a/+"), 1);
    assert_int_equal(mqtt5_test_broker_subscription(broker, "one", "a/+"), -1);
    say_publish(one, "a/b", 1, 5);
    take_puback(one, 5);
    take(two, MQTT5_PUBLISH, &packet);
    assert_int_equal(packet.as.publish.topic.len, 3);
    assert_true(mqtt5_test_broker_wait_publishes(broker, "a/#", 1, TIMEOUT_MS));
    assert_false(mqtt5_test_broker_wait_publishes(broker, "a/#", 2, 20));
    assert_false(mqtt5_test_broker_wait_publishes(broker, "b", 1, 0));
    assert_false(mqtt5_test_broker_wait_publishes(broker, "b#", 0, 0)); /* no filter */
    assert_int_equal(mqtt5_test_broker_sessions(broker), 2);
    close_peer(one);
    close_peer(two);
    assert_true(mqtt5_test_broker_wait_clients(broker, 0, TIMEOUT_MS));
    assert_int_equal(mqtt5_test_broker_subscription(broker, "two", "a/+"), 1);
    mqtt5_test_broker_advance_time(broker, 101000); /* two's session ends */
    assert_true(mqtt5_test_broker_wait_sessions(broker, 0, TIMEOUT_MS));
    assert_int_equal(mqtt5_test_broker_sessions(broker), 0);
    assert_int_equal(mqtt5_test_broker_subscription(broker, "two", "a/+"), -1);
    mqtt5_test_broker_free(broker);
}

static void test_what_was_seen_can_be_looked_at(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        bool from_client;
    } expected[] = {{MQTT5_CONNECT, true}, {MQTT5_CONNACK, false}, {MQTT5_SUBSCRIBE, true},
                    {MQTT5_SUBACK, false}, {MQTT5_PUBLISH, true},  {MQTT5_PUBACK, false}};
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = connect_for(broker, "looker", 0);
    struct mqtt5_test_packet seen;
    subscribe(peer, "x", 0);
    say_publish(peer, "a/b", 1, 5);
    take_puback(peer, 5);
    for (uint32_t i = 0; i < 6; i++) {
        assert_true(mqtt5_test_broker_packet(broker, i, &seen));
        assert_int_equal(seen.type, expected[i].type);
        assert_int_equal(seen.from_client, expected[i].from_client);
        assert_true(seen.decoded);
        assert_int_equal(seen.packet.type, expected[i].type);
        assert_int_equal(seen.connection, 1);
        assert_int_equal(seen.version, MQTT5_VERSION_5);
        assert_memory_equal(seen.client_id.data, "looker", 6);
        assert_false(seen.lost);
    }
    assert_true(mqtt5_test_broker_packet(broker, 4, &seen));
    assert_memory_equal(seen.topic.data, "a/b", 3);
    assert_int_equal(seen.packet.as.publish.payload.len, 7);
    assert_false(mqtt5_test_broker_packet(broker, 6, &seen));
    mqtt5_test_broker_forget(broker);
    assert_false(mqtt5_test_broker_packet(broker, 0, &seen));
    assert_false(mqtt5_test_broker_wait_publishes(broker, "#", 1, 0));
    close_peer(peer);
    mqtt5_test_broker_free(broker);
}

static void test_a_topic_behind_an_alias_is_known(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = connect_for(broker, "alias", 0);
    struct mqtt5_packet packet = {.type = MQTT5_PUBLISH};
    MQTT5_SET(&packet.as.publish.properties, TOPIC_ALIAS);
    packet.as.publish.properties.topic_alias = 3;
    packet.as.publish.topic = m5_bytes_of("long/name");
    send_packet(peer, &packet);
    packet.as.publish.topic = m5_bytes(NULL, 0);
    send_packet(peer, &packet);
    assert_true(mqtt5_test_broker_wait_publishes(broker, "long/name", 2, TIMEOUT_MS));
    close_peer(peer);
    mqtt5_test_broker_free(broker);
}

static void test_messages_of_the_test_itself(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = connect_for(broker, "reader", 0);
    struct mqtt5_packet packet;
    subscribe(peer, "t", 2);
    for (uint8_t qos = 0; qos <= 2; qos++) {
        const struct mqtt5_publish publish = {
            .topic = m5_bytes_of("t"), .payload = m5_bytes_of("hello"), .qos = qos};
        assert_int_equal(mqtt5_test_broker_publish(broker, &publish), MQTT5_OK);
        take(peer, MQTT5_PUBLISH, &packet);
        assert_int_equal(packet.as.publish.qos, qos);
    }
    const struct mqtt5_publish bad = {.topic = m5_bytes_of("t"), .qos = 3};
    assert_int_equal(mqtt5_test_broker_publish(broker, &bad), MQTT5_ERR_INVALID_ARGUMENT);
    /* The publisher is not among those a test looks at. */
    assert_int_equal(mqtt5_test_broker_sessions(broker), 1);
    assert_true(mqtt5_test_broker_wait_clients(broker, 1, 0));
    assert_false(mqtt5_test_broker_wait_packets(broker, MQTT5_PUBLISH, true, 1, 0));
    close_peer(peer);
    mqtt5_test_broker_free(broker);
}

static void test_3_1_1_as_well(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = open_peer(broker);
    struct mqtt5_packet packet;
    peer->version = MQTT5_VERSION_3_1_1;
    mqtt5_test_broker_refuse(broker, 1, 5, "elsewhere");
    say_connect(peer, "old", 0);
    take(peer, MQTT5_CONNACK, &packet);
    assert_int_equal(packet.as.connack.reason_code, 5);
    assert_end(peer);
    close_peer(peer);
    peer = open_peer(broker);
    peer->version = MQTT5_VERSION_3_1_1;
    say_connect(peer, "old", 0);
    take(peer, MQTT5_CONNACK, &packet);
    subscribe(peer, "a", 1);
    assert_int_equal(mqtt5_test_broker_subscription(broker, "old", "a"), 1);
    say_publish(peer, "a", 1, 9);
    assert_true(mqtt5_test_broker_wait_publishes(broker, "a", 1, TIMEOUT_MS));
    close_peer(peer);
    mqtt5_test_broker_free(broker);
}

/* ---- faults ---- */

static void test_packets_are_swallowed_as_many_as_asked_for(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = connect_for(broker, "c", 0);
    struct mqtt5_test_packet seen;
    add_fault(broker, (struct mqtt5_test_fault){.packet_type = MQTT5_PUBACK,
                                                .action = MQTT5_FAULT_SWALLOW,
                                                .skip = 1,
                                                .count = 2});
    for (uint16_t id = 1; id <= 4; id++)
        say_publish(peer, "a", 1, id);
    take_puback(peer, 1);
    take_puback(peer, 4);
    assert_true(mqtt5_test_broker_packet(broker, 5, &seen)); /* after CONNECT, CONNACK and so on */
    assert_true(mqtt5_test_broker_wait_packets(broker, MQTT5_PUBACK, false, 4, 0));
    uint32_t lost = 0;
    for (uint32_t i = 0; mqtt5_test_broker_packet(broker, i, &seen); i++)
        lost += seen.lost;
    assert_int_equal(lost, 2);

    /* From the client: the broker never sees it, and it does not count as received. */
    add_fault(broker, (struct mqtt5_test_fault){.packet_type = MQTT5_PUBLISH,
                                                .from_client = true,
                                                .action = MQTT5_FAULT_SWALLOW,
                                                .count = 1});
    say_publish(peer, "b", 1, 5);
    say_publish(peer, "b", 1, 6);
    take_puback(peer, 6);
    assert_true(mqtt5_test_broker_wait_publishes(broker, "b", 1, TIMEOUT_MS));
    assert_false(mqtt5_test_broker_wait_publishes(broker, "b", 2, 0));
    assert_quiet(peer);
    close_peer(peer);
    mqtt5_test_broker_free(broker);
}

static void test_a_fault_of_one_client_is_not_anothers(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *one = connect_for(broker, "one", 0), *two = connect_for(broker, "two", 0);
    add_fault(broker, (struct mqtt5_test_fault){.packet_type = MQTT5_PUBACK,
                                                .action = MQTT5_FAULT_SWALLOW,
                                                .client_id = "one"});
    say_publish(one, "a", 1, 1);
    say_publish(two, "a", 1, 2);
    take_puback(two, 2);
    assert_quiet(one);
    mqtt5_test_broker_behave(broker);
    say_publish(one, "a", 1, 3);
    take_puback(one, 3);
    close_peer(one);
    close_peer(two);
    mqtt5_test_broker_free(broker);
}

static void test_a_delayed_packet_comes_when_its_time_has_come(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = connect_for(broker, "c", 0);
    mqtt5_test_broker_pause_time(broker, true);
    add_fault(broker, (struct mqtt5_test_fault){.packet_type = MQTT5_PUBACK,
                                                .action = MQTT5_FAULT_DELAY,
                                                .delay_ms = 5000,
                                                .count = 1});
    say_publish(peer, "a", 1, 1);
    say_publish(peer, "a", 1, 2);
    take_puback(peer, 2); /* overtakes */
    mqtt5_test_broker_advance_time(broker, 4999);
    assert_quiet(peer);
    mqtt5_test_broker_advance_time(broker, 1);
    take_puback(peer, 1);

    add_fault(broker, (struct mqtt5_test_fault){.packet_type = MQTT5_PUBLISH,
                                                .from_client = true,
                                                .action = MQTT5_FAULT_DELAY,
                                                .delay_ms = 5000,
                                                .count = 1});
    say_publish(peer, "a", 1, 3);
    say_publish(peer, "a", 1, 4);
    assert_quiet(peer); /* what is behind waits as well */
    mqtt5_test_broker_advance_time(broker, 5000);
    take_puback(peer, 3);
    take_puback(peer, 4);

    mqtt5_test_broker_pause_time(broker, false);
    add_fault(broker, (struct mqtt5_test_fault){.packet_type = MQTT5_PUBACK,
                                                .action = MQTT5_FAULT_DELAY,
                                                .delay_ms = 150,
                                                .count = 1});
    const double begin = seconds();
    say_publish(peer, "a", 1, 5);
    take_puback(peer, 5);
    assert_true(seconds() - begin >= 0.149);
    close_peer(peer);
    mqtt5_test_broker_free(broker);
}

static void test_packets_are_corrupted_and_repeated(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = connect_for(broker, "c", 0);
    struct mqtt5_packet packet;
    add_fault(broker, (struct mqtt5_test_fault){.packet_type = MQTT5_PUBACK,
                                                .action = MQTT5_FAULT_CORRUPT,
                                                .offset = 3,
                                                .mask = 0x40,
                                                .count = 1});
    say_publish(peer, "a", 1, 1);
    take_puback(peer, 0x41); /* the low byte of the packet identifier */
    add_fault(broker, (struct mqtt5_test_fault){
                          .packet_type = MQTT5_PUBREC, .action = MQTT5_FAULT_REPEAT, .count = 1});
    say_publish(peer, "a", 2, 2);
    take(peer, MQTT5_PUBREC, &packet);
    take(peer, MQTT5_PUBREC, &packet);
    /* The broker is shown rubbish and ends the connection. */
    add_fault(broker, (struct mqtt5_test_fault){.packet_type = MQTT5_PINGREQ,
                                                .from_client = true,
                                                .action = MQTT5_FAULT_CORRUPT});
    packet = (struct mqtt5_packet){.type = MQTT5_PINGREQ};
    send_packet(peer, &packet);
    take(peer, MQTT5_DISCONNECT, &packet);
    assert_true(packet.as.disconnect.reason_code >= 0x80);
    assert_end(peer);
    close_peer(peer);
    mqtt5_test_broker_free(broker);
}

static void test_connections_are_cut(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = connect_for(broker, "c", 0);
    add_fault(broker, (struct mqtt5_test_fault){.packet_type = MQTT5_PUBLISH,
                                                .from_client = true,
                                                .action = MQTT5_FAULT_CUT,
                                                .skip = 2,
                                                .count = 1});
    for (uint16_t id = 1; id <= 3; id++)
        say_publish(peer, "a", 1, id);
    assert_true(mqtt5_test_broker_wait_clients(broker, 0, TIMEOUT_MS));
    assert_true(mqtt5_test_broker_wait_publishes(broker, "a", 2, 0));
    assert_false(mqtt5_test_broker_wait_publishes(broker, "a", 3, 0));
    close_peer(peer);

    peer = connect_for(broker, "c", 0);
    add_fault(broker, (struct mqtt5_test_fault){.packet_type = MQTT5_PUBACK,
                                                .action = MQTT5_FAULT_CUT_BEHIND,
                                                .count = 1});
    say_publish(peer, "a", 1, 7);
    take_puback(peer, 7);
    assert_end(peer);
    close_peer(peer);

    struct peer *one = connect_for(broker, "one", 0), *two = connect_for(broker, "two", 0);
    mqtt5_test_broker_cut(broker, "one");
    assert_end(one);
    assert_quiet(two);
    mqtt5_test_broker_cut(broker, NULL);
    assert_end(two);
    assert_true(mqtt5_test_broker_wait_clients(broker, 0, TIMEOUT_MS));
    close_peer(one);
    close_peer(two);
    mqtt5_test_broker_free(broker);
}

static void test_connects_are_refused_and_sent_elsewhere(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = open_peer(broker);
    struct mqtt5_packet packet;
    mqtt5_test_broker_refuse(broker, 1, MQTT5_REASON_USE_ANOTHER_SERVER, "other:1884");
    say_connect(peer, "c", 0);
    take(peer, MQTT5_CONNACK, &packet);
    assert_int_equal(packet.as.connack.reason_code, 0x9C);
    assert_true(MQTT5_HAS(&packet.as.connack.properties, SERVER_REFERENCE));
    assert_memory_equal(packet.as.connack.properties.server_reference.data, "other:1884", 10);
    assert_end(peer);
    assert_true(mqtt5_test_broker_wait_packets(broker, MQTT5_CONNACK, false, 1, 0));
    assert_int_equal(mqtt5_test_broker_sessions(broker), 0);
    close_peer(peer);
    close_peer(connect_for(broker, "c", 0));
    mqtt5_test_broker_free(broker);
}

static void test_dials_are_counted_and_refused(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    char text[64] = "";
    mqtt5_test_broker_refuse_dials(broker, 1);
    assert_int_equal(mqtt5_test_broker_dial(broker, "mqtt://a", text, sizeof text), -1);
    assert_string_equal(text, "the test broker refuses to be dialled");
    const int fd = mqtt5_test_broker_dial(broker, "mqtt://b:7", text, sizeof text);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(mqtt5_test_broker_dials(broker, text, sizeof text), 2);
    assert_string_equal(text, "mqtt://b:7");
    mqtt5_test_broker_free(broker);
}

static void test_other_limits_are_announced(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = open_peer(broker);
    struct mqtt5_test_limits limits;
    struct mqtt5_packet packet;
    mqtt5_test_limits_init(&limits);
    limits.receive_maximum = 2;
    limits.maximum_qos = 1;
    limits.retain_available = 0;
    limits.maximum_packet_size = 100;
    limits.server_keep_alive_s = 7;
    mqtt5_test_broker_announce(broker, &limits);
    say_connect(peer, "", 0); /* so that the truth has something to say as well */
    take(peer, MQTT5_CONNACK, &packet);
    const struct mqtt5_properties *properties = &packet.as.connack.properties;
    assert_int_equal(properties->receive_maximum, 2);
    assert_true(MQTT5_HAS(properties, MAXIMUM_QOS));
    assert_int_equal(properties->maximum_qos, 1);
    assert_true(MQTT5_HAS(properties, RETAIN_AVAILABLE));
    assert_int_equal(properties->retain_available, 0);
    assert_int_equal(properties->maximum_packet_size, 100);
    assert_int_equal(properties->server_keep_alive_s, 7);
    assert_true(MQTT5_HAS(properties, ASSIGNED_CLIENT_IDENTIFIER));
    assert_true(properties->assigned_client_identifier.len > 0);
    say_publish(peer, "a", 2, 1); /* the broker itself is as it was */
    take(peer, MQTT5_PUBREC, &packet);
    close_peer(peer);
    mqtt5_test_broker_free(broker);
}

static void test_any_bytes_are_sent(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *one = connect_for(broker, "one", 0), *two = connect_for(broker, "two", 0);
    struct mqtt5_packet packet;
    assert_int_equal(mqtt5_test_broker_send(broker, "one", m5_bytes("\xE0\x01\x8B", 3)), 1);
    take(one, MQTT5_DISCONNECT, &packet);
    assert_int_equal(packet.as.disconnect.reason_code, 0x8B);
    assert_quiet(two);
    assert_int_equal(mqtt5_test_broker_send(broker, NULL, m5_bytes("\xD0\0", 2)), 2);
    take(one, MQTT5_PINGRESP, &packet);
    take(two, MQTT5_PINGRESP, &packet);
    assert_int_equal(mqtt5_test_broker_send(broker, "nobody", m5_bytes("\xD0\0", 2)), 0);
    close_peer(one);
    close_peer(two);
    mqtt5_test_broker_free(broker);
}

static void test_what_is_not_read_backs_up(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = connect_for(broker, "c", 0);
    uint8_t block[4096] = {0};
    uint64_t sent = 0;
    mqtt5_test_broker_stop_reading(broker, true);
    say_publish(peer, "a", 1, 1);
    assert_quiet(peer);
    /* A PUBLISH that never ends: QoS 0, topic "t", 1 MiB. */
    const uint8_t head[] = {0x30, 0x80, 0x80, 0x40, 0, 1, 't', 0};
    send_bytes(peer, head, sizeof head);
    ssize_t n;
    while (sent < (8u << 20) && (n = send(peer->fd, block, sizeof block, MSG_NOSIGNAL)) > 0)
        sent += (uint64_t)n;
    assert_true(sent < (1u << 20) - 4);
    mqtt5_test_broker_stop_reading(broker, false);
    take_puback(peer, 1);
    close_peer(peer);
    mqtt5_test_broker_free(broker);
}

/* Keep-alive of a second: with the clock paused nobody is thrown out; moved on, everybody is. */
static void test_time_stands_still_and_goes_on(void **state)
{
    (void)state;
    struct mqtt5_test_broker *broker = start();
    struct peer *peer = open_peer(broker);
    struct mqtt5_packet packet = {.type = MQTT5_CONNECT};
    mqtt5_test_broker_pause_time(broker, true);
    packet.as.connect.version = MQTT5_VERSION_5;
    packet.as.connect.clean_start = true;
    packet.as.connect.keep_alive_s = 1;
    packet.as.connect.client_id = m5_bytes_of("c");
    send_packet(peer, &packet);
    take(peer, MQTT5_CONNACK, &packet);
    const struct timespec pause = {.tv_sec = 1, .tv_nsec = 700000000};
    nanosleep(&pause, NULL); /* real time must not count: there is nothing to wait for */
    assert_quiet(peer);
    mqtt5_test_broker_advance_time(broker, 1600);
    take(peer, MQTT5_DISCONNECT, &packet);
    assert_int_equal(packet.as.disconnect.reason_code, MQTT5_REASON_KEEP_ALIVE_TIMEOUT);
    assert_end(peer);
    close_peer(peer);
    mqtt5_test_broker_free(broker);
}

/* Whatever is said, however it is cut, the broker takes it and can be freed at any time. */
static void test_rubbish_is_the_engines_to_judge(void **state)
{
    (void)state;
    static const char *const rubbish[] = {
        "\x10\xFF\xFF\xFF\xFF\x7F", "\xFF", "\x00\x00", "\x10\x04\x00\x04MQ", "\x30\x00",
    };
    static const size_t sizes[] = {6, 1, 2, 6, 2};
    struct mqtt5_test_broker *broker = start();
    for (unsigned i = 0; i < 5; i++) {
        struct peer *peer = open_peer(broker);
        for (size_t at = 0; at < sizes[i]; at++)
            if (send(peer->fd, rubbish[i] + at, 1, MSG_NOSIGNAL) != 1)
                break;
        while (i != 1) { /* one byte may be the beginning of something */
            struct pollfd item = {.fd = peer->fd, .events = POLLIN};
            assert_int_equal(poll(&item, 1, TIMEOUT_MS), 1);
            if (recv(peer->fd, peer->buffer, BUFFER_SIZE, 0) <= 0)
                break; /* behind what it may have had to say */
        }
        close_peer(peer);
    }
    assert_int_equal(mqtt5_test_broker_sessions(broker), 0);
    mqtt5_test_broker_free(broker);
    mqtt5_test_broker_free(NULL);
}

static void test_what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct mqtt5_broker_config config;
    struct mqtt5_test_broker *broker;
    mqtt5_broker_config_init(&config);
    config.maximum_qos = 9;
    assert_int_equal(mqtt5_test_broker_new(&config, &broker), MQTT5_ERR_CONFIG);
    assert_null(broker);
    broker = start();
    const struct mqtt5_test_fault faults[] = {
        {.packet_type = 16, .action = MQTT5_FAULT_CUT},
        {.action = (enum mqtt5_fault_action)99},
    };
    assert_int_equal(mqtt5_test_broker_fault(broker, &faults[0]), MQTT5_ERR_INVALID_ARGUMENT);
    assert_int_equal(mqtt5_test_broker_fault(broker, &faults[1]), MQTT5_ERR_INVALID_ARGUMENT);
    mqtt5_test_broker_free(broker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_a_broker),
        cmocka_unit_test(test_what_was_seen_can_be_looked_at),
        cmocka_unit_test(test_a_topic_behind_an_alias_is_known),
        cmocka_unit_test(test_messages_of_the_test_itself),
        cmocka_unit_test(test_3_1_1_as_well),
        cmocka_unit_test(test_packets_are_swallowed_as_many_as_asked_for),
        cmocka_unit_test(test_a_fault_of_one_client_is_not_anothers),
        cmocka_unit_test(test_a_delayed_packet_comes_when_its_time_has_come),
        cmocka_unit_test(test_packets_are_corrupted_and_repeated),
        cmocka_unit_test(test_connections_are_cut),
        cmocka_unit_test(test_connects_are_refused_and_sent_elsewhere),
        cmocka_unit_test(test_dials_are_counted_and_refused),
        cmocka_unit_test(test_other_limits_are_announced),
        cmocka_unit_test(test_any_bytes_are_sent),
        cmocka_unit_test(test_what_is_not_read_backs_up),
        cmocka_unit_test(test_time_stands_still_and_goes_on),
        cmocka_unit_test(test_rubbish_is_the_engines_to_judge),
        cmocka_unit_test(test_what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
